//! Card readers without lamps: a card number in each line of a serial port ([`LineWire`]), or typed on a Linux input device
//! ([`KeysWire`]).
//!
//! Both have one channel and show nothing. What a line may be is the matter of [`wedge`](super::wedge). What a new link begins
//! with may be the end of a number: it is skipped up to the first line's end, a frame's beginning or a pause.
//!
//! Source for the input device: Linux `Documentation/input/input.rst`: records of two machine words of time, type, code
//! and value; `event-codes.rst` for `SYN_DROPPED`. A record's own time is not used: it is on another clock.
//!
//! **Not verified:** any reader of this kind.
//!
//! **Never:** anything to be sent to the device.

use std::time::Duration;

use godvision_core::MonoTime;
use godvision_core::driver::reader::{Capabilities, ReaderError};
use godvision_core::signal::door::{Indication, Key};

use super::wedge::{KeyLine, LINE_CHARS_MAX, NumberForm, REST_GAP, Rest, Typed, card_number};
use super::wire::{Events, Lines, Wire, WireEvent};

/// A line that is begun and not ended for so long is no number.
pub const LINE_GAP: Duration = Duration::from_millis(500);

const ONE_CHANNEL: u8 = 1;
const STX: u8 = 2;
const ETX: u8 = 3;

fn capabilities(driver: &'static str) -> Capabilities {
    Capabilities { driver, channels: ONE_CHANNEL, indicates: false }
}

fn nothing_to_show() -> Result<(), ReaderError> {
    Err(ReaderError::Unsupported { what: "show anything" })
}

/// Card numbers, a line each.
pub struct LineWire {
    capabilities: Capabilities,
    form: NumberForm,
    lines: Lines<LINE_CHARS_MAX>,
    rest: Rest,
    last: MonoTime,
    events: Events,
}

impl LineWire {
    /// A reader that writes its numbers in this form.
    pub fn new(form: impl Into<NumberForm>) -> Self {
        Self {
            capabilities: capabilities("lines"),
            form: form.into(),
            lines: Lines::default(),
            rest: Rest::default(),
            last: MonoTime::ZERO,
            events: Events::default(),
        }
    }
}

impl Wire for LineWire {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn connected(&mut self, now: MonoTime) {
        self.lines.clear();
        self.rest = Rest::until_a_pause_of(LINE_GAP);
        self.last = now;
    }

    fn receive(&mut self, bytes: &[u8], now: MonoTime) {
        self.tick(now);
        let mut is_rest = self.rest.goes_on_after(now.since(self.last));
        self.last = now;
        for byte in bytes {
            // Some readers frame a line by the control characters STX and ETX.
            let byte = match *byte {
                STX => {
                    if self.lines.is_begun() {
                        self.events.nonsense("a line without an end");
                    }
                    self.lines.clear();
                    self.rest.end();
                    is_rest = false;
                    continue;
                }
                ETX => b'\n',
                other => other,
            };
            if is_rest {
                if matches!(byte, b'\n' | b'\r') {
                    self.rest.end();
                    is_rest = false;
                } else if self.rest.skip() {
                    self.events.nonsense("the rest of a line whose beginning was not read");
                }
                continue;
            }
            match self.lines.push(byte).map(|line| line.ok().and_then(|line| card_number(line, self.form))) {
                Some(Some(card)) => self.events.present(0, Key::Card(card)),
                Some(None) => self.events.nonsense("a line that is no card number of this setting"),
                None => {}
            }
        }
    }

    fn tick(&mut self, now: MonoTime) {
        if self.next_wake().is_some_and(|at| at <= now) {
            self.lines.clear();
            self.rest = Rest::until_a_pause_of(REST_GAP);
            self.events.nonsense("a line without an end");
        }
    }

    fn next_wake(&self) -> Option<MonoTime> {
        self.lines.is_begun().then(|| self.last + LINE_GAP)
    }

    fn poll_event(&mut self) -> Option<WireEvent> {
        self.events.pop()
    }

    fn poll_send(&mut self, _: &mut Vec<u8>) {}

    fn indicate(&mut self, _: u8, _: Indication, _: MonoTime) -> Result<(), ReaderError> {
        nothing_to_show()
    }
}

/// Bytes of one `struct input_event` on this machine.
pub const RECORD_BYTES: usize = 2 * size_of::<usize>() + 8;

const EV_SYN: u16 = 0;
/// Says that the kernel's buffer was full: what came between this and what was read before is lost.
const SYN_DROPPED: u16 = 3;
const EV_KEY: u16 = 1;
const KEY_DOWN: i32 = 1;

/// Keys of a Linux input device, as its file gives them.
pub struct KeysWire {
    capabilities: Capabilities,
    form: NumberForm,
    record: Vec<u8>,
    line: KeyLine,
    events: Events,
}

impl KeysWire {
    /// A reader that types its numbers in this form.
    pub fn new(form: impl Into<NumberForm>) -> Self {
        Self {
            capabilities: capabilities("wedge"),
            form: form.into(),
            record: Vec::with_capacity(RECORD_BYTES),
            line: KeyLine::default(),
            events: Events::default(),
        }
    }

    fn take_record(&mut self, now: MonoTime) {
        let Some((_, [t0, t1, c0, c1, v0, v1, v2, v3])) = self.record.split_last_chunk::<8>() else { return };
        let kind = u16::from_ne_bytes([*t0, *t1]);
        let code = u16::from_ne_bytes([*c0, *c1]);
        let value = i32::from_ne_bytes([*v0, *v1, *v2, *v3]);
        if kind == EV_KEY && value == KEY_DOWN {
            match self.line.press(code, self.form, now) {
                Typed::Card(card) => self.events.present(0, Key::Card(card)),
                Typed::NoCard => self.events.nonsense("a line that is no card number of this setting"),
                Typed::More => {}
            }
        } else if kind == EV_SYN && code == SYN_DROPPED {
            self.line.distrust(now);
            self.events.nonsense("keys were lost: the system's buffer was full");
        }
    }
}

impl Wire for KeysWire {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn connected(&mut self, now: MonoTime) {
        self.record.clear();
        self.line.distrust(now);
    }

    fn receive(&mut self, bytes: &[u8], now: MonoTime) {
        for byte in bytes {
            self.record.push(*byte);
            if self.record.len() == RECORD_BYTES {
                self.take_record(now);
                self.record.clear();
            }
        }
    }

    fn tick(&mut self, now: MonoTime) {
        if self.line.tick(now) {
            self.events.nonsense("a number that was not typed to its end");
        }
    }

    fn next_wake(&self) -> Option<MonoTime> {
        self.line.next_wake()
    }

    fn poll_event(&mut self) -> Option<WireEvent> {
        self.events.pop()
    }

    fn poll_send(&mut self, _: &mut Vec<u8>) {}

    fn indicate(&mut self, _: u8, _: Indication, _: MonoTime) -> Result<(), ReaderError> {
        nothing_to_show()
    }
}

/// One record, its time left out.
pub(super) fn record(kind: u16, code: u16, value: i32) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    if let Some(what) = record.last_chunk_mut::<8>() {
        let fields = kind.to_ne_bytes().into_iter().chain(code.to_ne_bytes()).chain(value.to_ne_bytes());
        for (place, byte) in what.iter_mut().zip(fields) {
            *place = byte;
        }
    }
    record
}

/// The records of a key going down and up again, and of the report behind each, as a device's file gives them: for fakes.
pub fn key_records(code: u16) -> Vec<u8> {
    let report = record(0, 0, 0);
    [record(EV_KEY, code, KEY_DOWN), report, record(EV_KEY, code, 0), report].concat()
}

#[cfg(test)]
mod tests {
    use super::super::wedge::{Digits, KEY_GAP, key_code};
    use super::*;
    use godvision_core::driver::reader::Presented;

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }

    fn card(number: &str) -> WireEvent {
        WireEvent::Event(Presented { channel: 0, key: Key::Card(number.into()) }.into())
    }

    fn events(wire: &mut dyn Wire) -> Vec<WireEvent> {
        std::iter::from_fn(|| wire.poll_event()).collect()
    }

    #[test]
    fn lines_of_a_serial_reader() {
        let mut wire = LineWire::new(Digits::Hex);
        wire.receive(b"\x0204A1B2C3\r\n\x03", at(0));
        wire.receive(b"04a1", at(10));
        wire.receive(b"b2c4\r", at(20));
        assert_eq!(events(&mut wire), [card("04A1B2C3"), card("04A1B2C4")]);
        wire.receive(b"hello\n", at(30));
        wire.receive(&[b'9'; 5000], at(40));
        wire.receive(b"\n04A1B2C5\n", at(50));
        let no_card = WireEvent::Nonsense("a line that is no card number of this setting");
        assert_eq!(events(&mut wire), [no_card, card("04A1B2C5")]);
    }

    #[test]
    fn a_line_that_is_cut_is_no_card() {
        let mut wire = LineWire::new(Digits::Hex);
        wire.receive(b"04A1B2", at(0));
        assert_eq!(wire.next_wake(), Some(at(0) + LINE_GAP));
        wire.receive(b"C3C4\n04A1B2C3\n", at(600));
        let (cut, rest) = ("a line without an end", "the rest of a line whose beginning was not read");
        assert_eq!(events(&mut wire), [WireEvent::Nonsense(cut), WireEvent::Nonsense(rest), card("04A1B2C3")]);
        wire.receive(b"04A1B2", at(700));
        wire.tick(at(700) + LINE_GAP);
        wire.receive(b"04A1B2C3\n", at(700) + REST_GAP);
        assert_eq!(events(&mut wire), [WireEvent::Nonsense(cut), card("04A1B2C3")], "nobody pauses so long");
        wire.receive(b"\x0204A1", at(5000));
        wire.receive(b"\x0204A1B2C3\x03", at(5010));
        assert_eq!(events(&mut wire), [WireEvent::Nonsense(cut), card("04A1B2C3")], "a frame has a beginning");
    }

    #[test]
    fn what_a_new_link_begins_with_may_be_a_tail() {
        let mut wire = LineWire::new(Digits::Hex);
        let rest = WireEvent::Nonsense("the rest of a line whose beginning was not read");
        wire.connected(at(0));
        wire.receive(b"C3C4\r\n04A1B2C3\r\n", at(10));
        assert_eq!(events(&mut wire), [rest.clone(), card("04A1B2C3")]);
        wire.receive(b"04A1B2", at(700));
        wire.connected(at(710));
        wire.receive(b"C3", at(720));
        wire.receive(b"C4\n", at(730));
        wire.receive(b"04A1B2C3\n", at(740));
        assert_eq!(events(&mut wire), [rest, card("04A1B2C3")]);
        wire.connected(at(1000));
        wire.receive(b"04A1B2C3\n", at(1000) + LINE_GAP);
        assert_eq!(events(&mut wire), [card("04A1B2C3")], "after a pause it is whole");
        wire.connected(at(2000));
        wire.receive(b"\x0204A1B2C3\x03", at(2001));
        assert_eq!(events(&mut wire), [card("04A1B2C3")], "a frame says where it begins");
    }

    fn typed(text: &str) -> Vec<u8> {
        text.chars().flat_map(|char| key_records(key_code(char).unwrap())).collect()
    }

    #[test]
    fn what_was_typed_before_the_grab_is_missing_and_the_rest_is_no_card() {
        let mut wire = KeysWire::new(Digits::Decimal);
        let no_card = WireEvent::Nonsense("a line that is no card number of this setting");
        wire.connected(at(0));
        wire.receive(&typed("5678\n0012345678\n"), at(10));
        assert_eq!(events(&mut wire), [no_card, card("00BC614E")]);
        wire.connected(at(1000));
        wire.receive(&typed("0012345678\n"), at(1000) + KEY_GAP);
        assert_eq!(events(&mut wire), [card("00BC614E")], "after a pause it is whole");
    }

    #[test]
    fn lost_keys_spoil_the_number() {
        let mut wire = KeysWire::new(Digits::Decimal);
        let lost = WireEvent::Nonsense("keys were lost: the system's buffer was full");
        let no_card = WireEvent::Nonsense("a line that is no card number of this setting");
        wire.receive(&typed("0012"), at(10));
        wire.receive(&record(EV_SYN, SYN_DROPPED, 0), at(11));
        wire.receive(&typed("78\n0012345678\n"), at(12));
        assert_eq!(events(&mut wire), [lost, no_card, card("00BC614E")]);
    }

    #[test]
    fn keys_of_an_input_device() {
        let mut wire = KeysWire::new(Digits::Hex);
        for piece in typed("04a1b2c3\n").chunks(7) {
            wire.receive(piece, at(5));
        }
        assert_eq!(events(&mut wire), [card("04A1B2C3")]);
        wire.receive(&key_records(key_code('7').unwrap()), at(10));
        let wake = wire.next_wake().unwrap();
        wire.tick(wake);
        assert_eq!(events(&mut wire), [WireEvent::Nonsense("a number that was not typed to its end")]);
        assert!(wire.indicate(0, Indication::Open, wake).is_err());
    }
}
