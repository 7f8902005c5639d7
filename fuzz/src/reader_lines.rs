//! Readers of `godvision-access` that speak in lines, keys and bits: whatever comes, what is made of it is a whole card or
//! PIN, and how it was cut into pieces does not matter.

use godvision_access::reader::bridge::{BridgeOptions, BridgeWire};
use godvision_access::reader::edges::{Bit, Data, Edge, EdgeDecoder, Seen};
use godvision_access::reader::indication::Profile;
use godvision_access::reader::lines::{KeysWire, LineWire};
use godvision_access::reader::wedge::Digits;
use godvision_access::reader::wiegand::{self, BITS_MAX, Burst, Formats, Reading};
use godvision_access::reader::wire::{EVENTS_MAX, Wire, WireEvent};
use godvision_core::MonoTime;
use godvision_core::driver::reader::{Presented, ReaderEvent};
use godvision_core::signal::door::Key;

use crate::{Input, Reached};

/// The first byte chooses the protocol; the rest is what the device sends.
pub fn reader_lines(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let kind = input.byte();
    let rest = input.rest();
    let digits = ["hex", "decimal", "facility26", "facility34", "facility37"][usize::from(kind >> 4) % 5];
    let digits = Digits::from_name(digits).expect("a setting");
    match kind % 4 {
        0 => {
            let formats = if kind & 0x10 == 0 { Formats::Checked } else { Formats::Raw };
            let options = BridgeOptions { channels: 8, formats, profile: Profile::FULL };
            pieces(|| BridgeWire::new("keypad", options), rest)
        }
        1 => pieces(|| LineWire::new(digits), rest),
        2 => pieces(|| KeysWire::new(digits), rest),
        _ if kind & 0x80 != 0 => edges(rest),
        _ => bits(rest),
    }
}

fn events(mut wire: impl Wire, data: &[u8], piece: usize) -> Vec<WireEvent> {
    // Long before: what a new link begins with is not trusted.
    wire.connected(MonoTime::ZERO);
    let now = MonoTime::from_millis(1000);
    let mut all = Vec::new();
    let mut out = Vec::new();
    for piece in data.chunks(piece) {
        wire.receive(piece, now);
        let mut waiting = 0;
        while let Some(event) = wire.poll_event() {
            waiting += 1;
            check(&event, wire.capabilities().channels);
            all.push(event);
        }
        assert!(waiting <= EVENTS_MAX + 1, "bounded");
        wire.poll_send(&mut out);
    }
    assert!(out.is_ascii());
    // Whatever is begun ends some time.
    for _ in 0..1000 {
        match wire.next_wake() {
            Some(wake) => wire.tick(wake),
            None => break,
        }
        while let Some(event) = wire.poll_event() {
            check(&event, wire.capabilities().channels);
        }
    }
    // The same nonsense many times in a row may be told once or often.
    all.dedup_by(|one, other| one == other && matches!(one, WireEvent::Nonsense(_)));
    all
}

fn pieces<W: Wire>(wire: impl Fn() -> W, data: &[u8]) -> Reached {
    let (one, seven) = (events(wire(), data, 1), events(wire(), data, 7));
    assert!(one == seven, "{one:?} {seven:?}");
    Reached::when(one.iter().any(|event| matches!(event, WireEvent::Event(_))))
}

fn check(event: &WireEvent, channels: u8) {
    match event {
        WireEvent::Event(ReaderEvent::Presented(Presented { channel, key })) => {
            assert!(*channel < channels);
            check_key(key);
        }
        WireEvent::Event(ReaderEvent::Input { channel, .. }) => assert!(*channel < channels),
        WireEvent::Nonsense(_) | WireEvent::Lost(_) => {}
    }
}

/// A card is upper-case hexadecimal digits, a PIN digits; both are bounded.
pub(crate) fn check_key(key: &Key) {
    match key {
        Key::Card(card) => {
            let card = card.expose();
            assert!((1..=32).contains(&card.len()), "{} digits", card.len());
            assert!(card.bytes().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit)));
        }
        Key::Pin(pin) => {
            let pin = pin.expose();
            assert!((1..=12).contains(&pin.len()) && pin.bytes().all(|digit| digit.is_ascii_digit()));
        }
        other => panic!("no reader reads a {}", other.kind()),
    }
}

/// Edges of any kind: bits come in order and bounded, each message has one end, and of a spoilt one nothing is told.
fn edges(data: &[u8]) -> Reached {
    let mut decoder = EdgeDecoder::default();
    let (mut at_ns, mut sequence) = (0_u64, 0_u32);
    let (mut count, mut last_us, mut spoilt_us, mut messages) = (0_u32, 0_u32, None::<u32>, 0);
    // Which wire and edge, how long after the last one, and now and then an edge that was lost or is out of time.
    for [what, later] in data.as_chunks::<2>().0 {
        let unit = [1_000, 10_000, 100_000, 1_000_000][usize::from(what >> 2 & 3)];
        at_ns += unit * u64::from(*later);
        sequence = sequence.wrapping_add(if what >> 4 == 0xF { 2 } else { 1 });
        let wire = if what & 1 == 0 { Data::Zero } else { Data::One };
        let at_ns = if what >> 4 == 0xE { at_ns.saturating_sub(5_000_000) } else { at_ns };
        decoder.take(Edge { wire, is_falling: what & 2 == 0, at_ns, sequence });
        if what >> 4 == 0xD {
            decoder.quiet();
        }
        while let Some(seen) = decoder.poll() {
            match seen {
                Seen::Bit(Bit { at_us, .. }) => {
                    let since = spoilt_us.take().map(|spoilt| at_us.wrapping_sub(spoilt));
                    // A pause, less the step back of a clock that is out of time.
                    assert!(since.is_none_or(|since| since >= 20_000), "nothing of a spoilt message");
                    assert!(count == 0 || at_us.wrapping_sub(last_us) >= 99, "bits have a distance");
                    (count, last_us) = (count + 1, at_us);
                    assert!(count <= BITS_MAX);
                }
                Seen::Pause { at_us } => {
                    assert!(count > 0 && at_us.wrapping_sub(last_us) > 25_000, "a message, and a pause behind it");
                    (count, messages) = (0, messages + 1);
                }
                Seen::Spoilt => (count, spoilt_us) = (0, u32::try_from(at_ns / 1000 % (1 << 32)).ok()),
            }
        }
    }
    decoder.quiet();
    Reached::when(messages > 0 || decoder.poll().is_some())
}

fn bits(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let count = u32::from(input.byte()) % (BITS_MAX + 2);
    let bits = u128::from_be_bytes(input.array());
    let Some(burst) = Burst::new(bits, count) else {
        assert!(count > BITS_MAX);
        return Reached::Refused;
    };
    let checked = wiegand::decode(burst, Formats::Checked);
    if let Ok(reading) = &checked {
        assert_eq!(wiegand::decode(burst, Formats::Raw).as_ref(), Ok(reading), "raw adds, it changes nothing");
    }
    match checked {
        Ok(Reading::Card(card)) => {
            let data = u128::from_str_radix(card.expose(), 16).expect("a number");
            assert!(wiegand::encode(data, count) == Some(burst), "one message for each card");
            check_key(&Key::Card(card));
        }
        Ok(Reading::Pressed(key)) => assert!(key.is_ascii_digit() || key == '*' || key == '#'),
        Err(_) => return Reached::Refused,
    }
    Reached::Checked
}
