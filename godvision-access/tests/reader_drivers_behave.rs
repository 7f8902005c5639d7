//! Every reader driver of this crate passes the exported behaviour suite, each over its real wire on loopback.

use std::sync::Arc;
use std::time::Duration;

use godvision_access::reader::bridge::{BridgeOptions, BridgeWire};
use godvision_access::reader::fake::{Bytes, FakeBridge, FakePort, Peer};
use godvision_access::reader::indication::Profile;
use godvision_access::reader::lines::{KeysWire, LineWire, key_records};
use godvision_access::reader::link::Link;
use godvision_access::reader::osdp::fake::FakeDevice;
use godvision_access::reader::osdp::{OsdpBus, OsdpKey, OsdpOptions, OsdpWire};
use godvision_access::reader::stream::StreamReader;
use godvision_access::reader::wedge::{Digits, key_code};
use godvision_access::reader::wiegand::{self, Formats};
use godvision_access::reader::wire::Wire;
use godvision_core::SystemClock;
use godvision_core::driver::conformance::reader::ReaderBench;
use godvision_core::driver::reader::Reader;
use godvision_core::signal::door::{DoorSense, Indication, Key};

/// A driver connected to its fake, with whatever the device says of itself already heard.
async fn connected<P: Peer>(peer: P, wire: impl Wire + 'static) -> (FakePort<P>, StreamReader) {
    let port = FakePort::start(peer).await.unwrap();
    let mut reader = StreamReader::new(wire, Link::Tcp(port.address().to_string()), SystemClock::shared());
    while tokio::time::timeout(Duration::from_millis(150), reader.next()).await.is_ok() {}
    assert_eq!(port.connections(), 1);
    (port, reader)
}

/// Keypads and Wiegand readers behind a bridge.
struct BridgeBench {
    port: FakePort<FakeBridge>,
    reader: StreamReader,
    is_wiegand: bool,
    presented: u32,
}

impl BridgeBench {
    async fn start(is_wiegand: bool) -> Self {
        let channels = if is_wiegand { 2 } else { 8 };
        let options = BridgeOptions { channels, formats: Formats::Checked, profile: Profile::FULL };
        let wire = BridgeWire::new(if is_wiegand { "wiegand" } else { "keypad" }, options);
        let (port, reader) = connected(FakeBridge::new(SystemClock::shared()), wire).await;
        Self { port, reader, is_wiegand, presented: 0 }
    }

    fn bits(&self) -> String {
        let message = wiegand::encode(u128::from(self.presented * 4099), 26).unwrap();
        message.iter().map(|bit| if bit { '1' } else { '0' }).collect()
    }
}

impl ReaderBench for BridgeBench {
    fn reader(&mut self) -> &mut dyn Reader {
        &mut self.reader
    }

    fn present(&mut self, channel: u8) -> Key {
        self.presented += 1;
        if self.is_wiegand {
            // A second between cards, on the device's clock; the last line ends the message.
            let at_us = self.presented * 1_000_000;
            self.port.send(format!("bits {channel} {at_us} {}\n", self.bits()).as_bytes());
            self.port.send(format!("bits {channel} {}\n", at_us + 30_000).as_bytes());
            return Key::Card(format!("{:06X}", self.presented * 4099).into());
        }
        let pin = format!("{:06}", self.presented * 7919);
        for key in pin.chars().chain(['#']) {
            self.port.send(format!("key {channel} {key}\n").as_bytes());
        }
        Key::Pin(pin.into())
    }

    fn present_half(&mut self, channel: u8) {
        if self.is_wiegand {
            self.presented += 1;
            let (at_us, bits) = (self.presented * 1_000_000, self.bits());
            self.port.send(format!("bits {channel} {at_us} {}\nbits {channel} {at_us} 0", &bits[..20]).as_bytes());
        } else {
            self.port.send(format!("key {channel} 2\nkey {channel} 5\nkey {channel}").as_bytes());
        }
    }

    fn present_elsewhere(&mut self) -> bool {
        self.port.send(b"key 9 2\n");
        true
    }

    fn move_input(&mut self, channel: u8, sense: DoorSense) -> bool {
        let line = match sense {
            DoorSense::Ajar(is_open) => format!("ajar {channel} {}\n", u8::from(is_open)),
            DoorSense::Tampered(is_open) => format!("lid {channel} {}\n", u8::from(is_open)),
            DoorSense::ExitRequested => format!("exit {channel}\n"),
        };
        self.port.send(line.as_bytes());
        true
    }

    fn send_garbage(&mut self) {
        self.port.send(b"\x00\xff SSH-2.0 no bridge\r\n");
    }

    fn set_link(&mut self, is_up: bool) {
        self.port.set_link(is_up);
    }

    fn shown(&self, channel: u8) -> Option<Indication> {
        self.port.peer().shown(channel)
    }
}

godvision_core::reader_conformance!(keypads, BridgeBench::start(false));
godvision_core::reader_conformance!(wiegand_readers, BridgeBench::start(true));

/// An OSDP reader with a contact and a button.
struct OsdpBench {
    port: FakePort<FakeDevice>,
    reader: StreamReader,
    presented: u32,
}

const KEY: [u8; 16] = *b"0123456789abcdef";

impl OsdpBench {
    async fn start(key: Option<[u8; 16]>) -> Self {
        let options = OsdpOptions {
            address: 3,
            key: key.map(OsdpKey::from),
            readers: 2,
            contact: Some(0),
            exit: Some(1),
            digits: Digits::Hex,
        };
        let mut random = 0_u64;
        let wire = OsdpWire::new(
            options,
            Box::new(move || {
                random += 1;
                Some(random.to_be_bytes())
            }),
        );
        let (port, reader) = connected(FakeDevice::new(3, key.map(OsdpKey::from), 2), wire).await;
        assert_eq!(port.peer().sessions(), u32::from(key.is_some()));
        Self { port, reader, presented: 0 }
    }
}

impl ReaderBench for OsdpBench {
    fn reader(&mut self) -> &mut dyn Reader {
        &mut self.reader
    }

    fn present(&mut self, channel: u8) -> Key {
        self.presented += 1;
        let mut device = self.port.peer();
        match self.presented % 3 {
            0 => {
                let pin = format!("{:06}", self.presented * 7919);
                device.press(channel, &format!("{pin}#"));
                Key::Pin(pin.into())
            }
            1 => {
                let number = self.presented * 4099;
                let message = wiegand::encode(number.into(), 26).unwrap();
                let bits: u32 = message.iter().fold(0, |bits, bit| bits << 1 | u32::from(bit));
                device.card(channel, 26, &(bits << 6).to_be_bytes());
                Key::Card(format!("{number:06X}").into())
            }
            _ => {
                let card = format!("04A1B2{:08X}", self.presented);
                device.formatted(channel, &card);
                Key::Card(card.into())
            }
        }
    }

    fn present_half(&mut self, _: u8) {
        self.port.send(&[0xFF, 0x53, 0x83, 0x20, 0x00, 0x05, 0x50, 0, 1]);
    }

    fn present_elsewhere(&mut self) -> bool {
        self.port.peer().card(2, 32, &[4, 1, 2, 3]);
        true
    }

    fn move_input(&mut self, _: u8, sense: DoorSense) -> bool {
        let mut device = self.port.peer();
        match sense {
            DoorSense::Ajar(is_open) => device.input(0, is_open),
            DoorSense::Tampered(is_open) => device.lid(is_open),
            DoorSense::ExitRequested => {
                device.input(1, true);
                device.input(1, false);
            }
        }
        true
    }

    fn send_garbage(&mut self) {
        self.port.send(b"\x00\x01 no packet");
    }

    fn set_link(&mut self, is_up: bool) {
        self.port.set_link(is_up);
    }

    fn shown(&self, channel: u8) -> Option<Indication> {
        self.port.peer().shown(channel)
    }
}

godvision_core::reader_conformance!(osdp_in_clear, OsdpBench::start(None));
godvision_core::reader_conformance!(osdp_secure, OsdpBench::start(Some(KEY)));

/// Two OSDP readers on one line, each with a key of the same site.
struct LineBench {
    port: FakePort<Vec<FakeDevice>>,
    reader: StreamReader,
    presented: u32,
}

impl LineBench {
    async fn start() -> Self {
        let mut random = 0_u64;
        let mut wire = |address| {
            random += 1 << 32;
            let mut count = random;
            let options = OsdpOptions { address, key: Some(OsdpKey::from(KEY)), ..OsdpOptions::default() };
            let random = move || {
                count += 1;
                Some(count.to_be_bytes())
            };
            OsdpWire::new(options, Box::new(random))
        };
        let bus = OsdpBus::new(vec![wire(4), wire(9)]);
        let devices = [4, 9].map(|address| FakeDevice::new(address, Some(OsdpKey::from(KEY)), 1));
        let (port, reader) = connected(devices.into(), bus).await;
        Self { port, reader, presented: 0 }
    }
}

impl ReaderBench for LineBench {
    fn reader(&mut self) -> &mut dyn Reader {
        &mut self.reader
    }

    fn present(&mut self, channel: u8) -> Key {
        self.presented += 1;
        let card = format!("04A1B2{:08X}", self.presented);
        self.port.peer()[usize::from(channel)].formatted(0, &card);
        Key::Card(card.into())
    }

    fn present_half(&mut self, _: u8) {
        self.port.send(&[0xFF, 0x53, 0x84, 0x20, 0x00, 0x05, 0x50, 0, 1]);
    }

    fn present_elsewhere(&mut self) -> bool {
        self.port.peer()[1].card(1, 32, &[4, 1, 2, 3]);
        true
    }

    fn move_input(&mut self, channel: u8, sense: DoorSense) -> bool {
        let DoorSense::Tampered(is_open) = sense else { return false };
        self.port.peer()[usize::from(channel)].lid(is_open);
        true
    }

    fn send_garbage(&mut self) {
        self.port.send(b"\x00\x01 no packet");
    }

    fn set_link(&mut self, is_up: bool) {
        self.port.set_link(is_up);
    }

    fn shown(&self, channel: u8) -> Option<Indication> {
        self.port.peer()[usize::from(channel)].shown(0)
    }
}

godvision_core::reader_conformance!(osdp_devices_on_one_line, LineBench::start());

/// Readers that write or type a number.
struct NumberBench {
    port: FakePort<Bytes>,
    reader: StreamReader,
    types: bool,
    presented: u32,
}

impl NumberBench {
    async fn start(types: bool) -> Self {
        let (port, reader) = if types {
            connected(Bytes, KeysWire::new(Digits::Decimal)).await
        } else {
            connected(Bytes, LineWire::new(Digits::Hex)).await
        };
        let bench = Self { port, reader, types, presented: 0 };
        // Where a line ends another begins: what comes now is whole.
        bench.send("\n");
        bench
    }

    fn send(&self, text: &str) {
        if self.types {
            for char in text.chars() {
                self.port.send(&key_records(key_code(char).unwrap()));
            }
        } else {
            self.port.send(text.as_bytes());
        }
    }
}

impl ReaderBench for NumberBench {
    fn reader(&mut self) -> &mut dyn Reader {
        &mut self.reader
    }

    fn present(&mut self, _: u8) -> Key {
        self.presented += 1;
        let number = 70_000 + self.presented;
        if self.types {
            self.send(&format!("{number:010}\n"));
            Key::Card(format!("{number:08X}").into())
        } else {
            self.send(&format!("04a1{number:08x}\n"));
            Key::Card(format!("04A1{number:08X}").into())
        }
    }

    fn present_half(&mut self, _: u8) {
        self.send("0123");
    }

    fn send_garbage(&mut self) {
        self.send("a-b\n");
    }

    fn set_link(&mut self, is_up: bool) {
        self.port.set_link(is_up);
    }

    fn shown(&self, _: u8) -> Option<Indication> {
        None
    }
}

godvision_core::reader_conformance!(readers_that_write_lines, NumberBench::start(false));
godvision_core::reader_conformance!(readers_that_type, NumberBench::start(true));

/// The same drivers by their addresses, so that the registry's wiring is what is tested.
#[tokio::test]
async fn a_driver_opened_by_its_address_reads_and_shows() {
    let port = FakePort::start(FakeDevice::new(5, Some(OsdpKey::from(KEY)), 1)).await.unwrap();
    let registry = godvision_access::reader::ReaderRegistry::standard(Arc::new(SystemClock));
    let key: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    let url = format!("osdp+tcp://:{key}@{}/?address=5", port.address());
    let mut reader = registry.open(&url.into()).unwrap();
    reader.indicate(0, Indication::Awaiting).await.unwrap();
    assert_eq!(port.peer().shown(0), Some(Indication::Awaiting));
    port.peer().press(0, "2580#");
    let read = tokio::time::timeout(Duration::from_secs(5), reader.next()).await.unwrap();
    let presented = godvision_core::driver::reader::Presented { channel: 0, key: Key::Pin("2580".into()) };
    assert_eq!(read, Ok(presented.into()));
    assert_eq!(port.peer().sessions(), 1);
}
