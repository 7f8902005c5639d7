//! Readers of `godvision-access` that speak in lines, keys and bits: whatever comes, what is made of it is a whole card or
//! PIN, and how it was cut into pieces does not matter.

use godvision_access::reader::bridge::{BridgeOptions, BridgeWire};
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
