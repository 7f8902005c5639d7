//! A known PIN, card and key go through every driver, whole, cut, spoilt and among garbage; they appear in no error, no
//! `Debug`, no log line, no journal entry.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use godvision_access::address::DeviceAddress;
use godvision_access::reader::ReaderRegistry;
use godvision_access::reader::bridge::{BridgeOptions, BridgeWire};
use godvision_access::reader::component::ReaderUnit;
use godvision_access::reader::fake::{FakeBridge, FakePort};
use godvision_access::reader::keypad::Keypad;
use godvision_access::reader::lines::{KeysWire, LineWire, key_records};
use godvision_access::reader::osdp::fake::FakeDevice;
use godvision_access::reader::osdp::frame::{Deframer, Found, parse};
use godvision_access::reader::osdp::{OsdpKey, OsdpOptions, OsdpWire};
use godvision_access::reader::soft::SoftReaders;
use godvision_access::reader::wedge::{Digits, KeyLine, key_code};
use godvision_access::reader::wiegand::{Collector, encode};
use godvision_access::reader::wire::{Wire, WireEvent};
use godvision_core::bus::{Host, HostOptions, Registry};
use godvision_core::journal::{MemoryJournal, Query};
use godvision_core::signal::door::Key;
use godvision_core::site::document::SiteDocument;
use godvision_core::{MonoTime, Secret, SystemClock};

const PIN: &str = "739146825";
/// As Wiegand, text and keys.
const CARD: u32 = 0xC5_7B1D;
const CARD_HEX: &str = "C57B1D";
const CARD_DECIMAL: &str = "12942109";
const OSDP_KEY: &str = "5ca1ab1e0ddba11cafe5ca1ab1e0ddba";

fn secrets() -> [String; 9] {
    let key = OsdpKey::from_hex(&OSDP_KEY.into()).unwrap();
    drop(key);
    [
        PIN.to_owned(),
        // Half of it is too much, too.
        PIN[..6].to_owned(),
        CARD_HEX.to_owned(),
        CARD_HEX.to_lowercase(),
        CARD_DECIMAL.to_owned(),
        format!("{CARD:024b}"),
        format!("{:?}", PIN.as_bytes()),
        OSDP_KEY.to_owned(),
        OSDP_KEY.to_uppercase(),
    ]
}

/// Every way in which an input is spoilt.
fn spoilt(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![bytes.to_vec(), bytes[..bytes.len() / 2].to_vec(), bytes[1..].to_vec()];
    all.push([b"\xff\x00garbage ", bytes, b" garbage\n"].concat());
    all.push([bytes, bytes].concat());
    for place in (0..bytes.len()).step_by(3) {
        let mut one = bytes.to_vec();
        one[place] ^= 0x15;
        all.push(one);
    }
    all.push(bytes.repeat(50));
    all
}

/// Feeds `wire` and writes down whatever it says. Returns how many credentials came out.
fn feed(wire: &mut dyn Wire, inputs: &[u8], told: &mut String) -> usize {
    let mut presented = 0;
    for (number, bytes) in spoilt(inputs).into_iter().enumerate() {
        let now = MonoTime::from_millis(20_000 * (number as u64 + 1));
        // What a new link begins with is not trusted for a while.
        wire.connected(now.saturating_sub(std::time::Duration::from_secs(1)));
        wire.receive(&bytes, now);
        wire.tick(now + std::time::Duration::from_millis(600));
        while let Some(event) = wire.poll_event() {
            presented += usize::from(matches!(event, WireEvent::Event(_)));
            writeln!(told, "{event:?}").unwrap();
        }
    }
    presented
}

fn assert_silent(told: &str) {
    for secret in secrets() {
        assert!(!told.contains(&secret), "{secret} in {told}");
    }
}

#[test]
fn protocols_tell_no_secret() {
    let mut told = String::new();
    let bits: String = encode(CARD.into(), 26).unwrap().iter().map(|bit| if bit { '1' } else { '0' }).collect();
    let mut lines = format!("bits 0 1000 {bits}\nbits 0 90000\n");
    for key in PIN.chars().chain(['#']) {
        writeln!(lines, "key 3 {key}").unwrap();
    }
    let mut bridge = BridgeWire::new("keypad", BridgeOptions::default());
    assert!(feed(&mut bridge, lines.as_bytes(), &mut told) > 2);
    assert!(feed(&mut LineWire::new(Digits::Hex), format!("{CARD_HEX}\n").as_bytes(), &mut told) > 1);
    assert!(feed(&mut LineWire::new(Digits::Decimal), format!("{CARD_DECIMAL}\n").as_bytes(), &mut told) > 1);
    let typed: Vec<u8> =
        format!("{CARD_HEX}\n").chars().flat_map(|char| key_records(key_code(char).unwrap())).collect();
    assert!(feed(&mut KeysWire::new(Digits::Hex), &typed, &mut told) > 1);

    for key in [None, OsdpKey::from_hex(&OSDP_KEY.into())] {
        let options = OsdpOptions { key: key.clone(), ..OsdpOptions::default() };
        write!(told, "{options:?}").unwrap();
        let mut wire = OsdpWire::new(options, Box::new(|| Some([1; 8])));
        let mut device = FakeDevice::new(0, key, 1);
        device.press(0, &format!("{PIN}#"));
        device.card(0, 24, &CARD.to_be_bytes()[1..]);
        device.formatted(0, CARD_HEX);
        let (mut now, mut presented) = (MonoTime::ZERO, 0);
        wire.connected(now);
        for round in 0..400 {
            let mut out = Vec::new();
            wire.poll_send(&mut out);
            if out.is_empty() {
                now = wire.next_wake().unwrap().max(now);
                wire.tick(now);
            } else {
                let mut answer = device.receive(&out);
                if round % 7 == 3 {
                    answer.truncate(answer.len() * 2 / 3);
                }
                let mut deframer = Deframer::default();
                deframer.push(&answer);
                write!(told, "{deframer:?}").unwrap();
                if let Some(Found::Packet(found)) = deframer.poll() {
                    write!(told, "{:?}", found.packet).unwrap();
                }
                if let Some(received) = parse(&answer) {
                    write!(told, "{:?}", received.packet).unwrap();
                }
                wire.receive(&answer, now);
            }
            while let Some(event) = wire.poll_event() {
                presented += usize::from(matches!(event, WireEvent::Event(_)));
                writeln!(told, "{event:?}").unwrap();
            }
        }
        assert_eq!(presented, 3);
    }
    assert!(told.lines().count() > 100);
    assert_silent(&told);
}

#[test]
fn values_and_addresses_tell_no_secret() {
    let mut told = String::new();
    let mut keypad = Keypad::default();
    let mut line = KeyLine::default();
    let mut bits = Collector::default();
    for key in PIN.chars() {
        let typed = keypad.press(key, MonoTime::ZERO);
        let other = line.press(key_code(key).unwrap(), Digits::Decimal, MonoTime::ZERO);
        bits.push(true, 0);
        write!(told, "{keypad:?} {typed:?} {line:?} {other:?} {bits:?}").unwrap();
    }
    write!(told, "{:?}", keypad.press('#', MonoTime::ZERO)).unwrap();
    write!(told, "{:?}", line.press(28, Digits::Decimal, MonoTime::ZERO)).unwrap();
    write!(told, "{:?}", encode(CARD.into(), 26)).unwrap();
    let registry = ReaderRegistry::standard(SystemClock::shared());
    for url in [
        format!("osdp+tcp://:{OSDP_KEY}@127.0.0.1/?address=1"),
        format!("osdp+tcp://:{OSDP_KEY}00@127.0.0.1"),
        format!("osdp+tcp://:{OSDP_KEY}@127.0.0.1/?address=300"),
        format!("osdp+tcp://:{OSDP_KEY}@/"),
    ] {
        let url = Secret::from(url);
        write!(told, "{:?} {:?}", DeviceAddress::parse(&url), registry.open(&url).err()).unwrap();
    }
    let soft = SoftReaders::default();
    let (handle, reader) = (soft.handle("hall").unwrap(), soft.reader("hall").unwrap());
    for _ in 0..20 {
        write!(told, "{:?} {handle:?} {soft:?}", handle.present(Key::Pin(PIN.into()))).unwrap();
    }
    drop(reader);
    assert_silent(&told);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_running_reader_logs_and_journals_no_secret() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || written.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let port = FakePort::start(FakeBridge::new(SystemClock::shared())).await.unwrap();
    let journal = Arc::new(MemoryJournal::default());
    let options = HostOptions { journal: journal.clone(), ..HostOptions::default() };
    let unit = ReaderUnit::new(ReaderRegistry::standard(SystemClock::shared()));
    let host = Host::new(options, Registry::new().with(unit));
    let document = |user_info: &str| {
        let device = format!("keypad+tcp://{user_info}{}/", port.address());
        let document = format!(
            "version = 1\nsite = \"test\"\n[[component]]\nname = \"reader\"\nunit = \"reader\"\nparams = {{ device = \"{device}\" }}\n"
        );
        SiteDocument::parse(&document).unwrap()
    };
    // A bridge has no key: it is refused, and not repeated.
    let refused = host.apply(&document(&format!(":{OSDP_KEY}@"))).await.unwrap_err();
    assert_silent(&format!("{refused} {refused:?}"));
    host.apply(&document("")).await.unwrap();
    for key in PIN.chars().chain(['#']) {
        port.send(format!("key 0 {key}\n").as_bytes());
    }
    port.send(format!("key 0 {PIN}\nbits 0 0 {PIN}\n{CARD_HEX}\nkey 9 {PIN}\n").as_bytes());
    let count = |wanted: &str| {
        let status = host.component(&godvision_core::Name::new("reader").unwrap())?;
        status.counts.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
    };
    for _ in 0..1000 {
        if count("garbage") == Some(4) && count("presented") == Some(1) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!((count("garbage"), count("presented")), (Some(4), Some(1)));
    port.set_link(false);
    for _ in 0..1000 {
        if !journal.read(&Query::default()).iter().any(|entry| entry.code == "reader.lost") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    let entries = journal.read(&Query { limit: 1000, ..Query::default() });
    assert!(entries.iter().any(|entry| entry.code == "reader.lost"), "{entries:?}");
    let status = format!("{entries:?} {:?}", host.status());
    host.shutdown().await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("a reader sent nonsense"), "the log is heard: {text}");
    assert_silent(&text);
    assert_silent(&status);
}
