//! Keyboard wedges: card readers that type the number as a keyboard does, or send it as a line of text.
//!
//! Two ways in, one card out: keys of a Linux input device ([`KeyLine`], by key codes) and lines of a serial port
//! ([`card_number`]). What such a reader types differs by its setting ([`Digits`]); the key of the card is the same
//! upper-case hexadecimal text in every case:
//!
//! | typed | setting | key |
//! |---|---|---|
//! | `04a1b2c3` | hex | `04A1B2C3` |
//! | `0012345678` | decimal | `00BC614E`: 32 bits, 8 digits; 16 digits if it is larger |
//! | `123,45678` | facility | `7BB26E`: as the same card sends it by Wiegand 26 |
//!
//! Source: Linux `input-event-codes.h` for key codes; the three settings are what USB readers of EM4100 and Mifare cards
//! offer («8H», «10D», «3D,5D»).
//!
//! The tail of a number is a number, too, and mostly another card's. So what may be the rest of a line whose beginning was
//! not read (`Rest`) is skipped: behind a new link, behind lost keys, behind a line that a pause has cut.
//!
//! **Never:** modifiers, layouts (a wedge types by the codes of a US keyboard), a number that was typed with pauses.

use std::fmt;
use std::time::Duration;

use godvision_core::{MonoTime, Secret};

use super::wiegand::{Facility, facility_card, hex};

/// Longest line in characters.
pub const LINE_CHARS_MAX: usize = 40;
/// Most digits of a card in hexadecimal: 128 bits.
pub const HEX_DIGITS_MAX: usize = 32;
/// A reader types a key every few milliseconds; after a longer pause a new line begins.
pub const KEY_GAP: Duration = Duration::from_millis(200);

/// What comes so soon after a line that a pause has cut may still be its rest: this program may have been the one that paused.
pub const REST_GAP: Duration = Duration::from_secs(2);

/// How a reader writes a card's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digits {
    /// Hexadecimal, 4 to 32 digits.
    #[default]
    Hex,
    /// Decimal, up to 64 bits.
    Decimal,
    /// Facility and number in decimal with `,`, `:`, `-` or a space between them.
    Facility(Facility),
}

impl Digits {
    /// The setting of this name: `hex`, `decimal`, `facility26`, `facility34`, `facility37`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "hex" => Self::Hex,
            "decimal" => Self::Decimal,
            "facility26" => Self::Facility(Facility::Bits26),
            "facility34" => Self::Facility(Facility::Bits34),
            "facility37" => Self::Facility(Facility::Bits37),
            _ => return None,
        })
    }
}

/// What a card's number looks like in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberForm {
    /// How it is written.
    pub digits: Digits,
    /// How many characters it has, if that is always the same: a number that has lost some is then none.
    pub length: Option<u8>,
}

/// Of any length.
impl From<Digits> for NumberForm {
    fn from(digits: Digits) -> Self {
        Self { digits, length: None }
    }
}

/// The card whose number is written as `line`, with blanks around it; `None` if that is no number.
pub fn card_number(line: &[u8], form: impl Into<NumberForm>) -> Option<Secret> {
    let NumberForm { digits, length } = form.into();
    let line = line.trim_ascii();
    if line.len() > LINE_CHARS_MAX || length.is_some_and(|length| line.len() != usize::from(length)) {
        return None;
    }
    let text = std::str::from_utf8(line).ok()?;
    match digits {
        Digits::Hex => {
            let fits =
                (4..=HEX_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
            fits.then(|| Secret::new(text.to_ascii_uppercase()))
        }
        Digits::Decimal => {
            let number: u64 = decimal(text)?;
            Some(hex(number.into(), if number > u32::MAX.into() { 64 } else { 32 }))
        }
        Digits::Facility(format) => {
            let (facility, number) = text.split_once([',', ':', '-', ' '])?;
            facility_card(format, decimal(facility)?, decimal(number)?)
        }
    }
}

/// Digits alone: `parse` takes a sign, too.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// What may be the rest of a line whose beginning was not read. It lasts until a line ends, or until nothing has come for as
/// long as a line never pauses.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest {
    /// The pause that ends it; `None` if there is no rest to come.
    pause: Option<Duration>,
    has_skipped: bool,
}

impl Rest {
    pub(super) fn until_a_pause_of(pause: Duration) -> Self {
        Self { pause: Some(pause), has_skipped: false }
    }

    /// Whether what comes after a pause so long is still the rest.
    pub(super) fn goes_on_after(&mut self, pause: Duration) -> bool {
        if self.pause.is_some_and(|ends| pause >= ends) {
            *self = Self::default();
        }
        self.pause.is_some()
    }

    /// Skips a character; says whether it is the first one.
    pub(super) fn skip(&mut self) -> bool {
        !std::mem::replace(&mut self.has_skipped, true)
    }

    /// The line has ended; says whether anything of it was skipped.
    pub(super) fn end(&mut self) -> bool {
        std::mem::take(self).has_skipped
    }
}

/// What a key did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Nothing yet.
    More,
    /// A card's number.
    Card(Secret),
    /// A line that is no card's number.
    NoCard,
}

/// A line that is being typed on a Linux input device.
#[derive(Clone)]
pub struct KeyLine {
    line: [u8; LINE_CHARS_MAX],
    count: usize,
    is_spoilt: bool,
    rest: Rest,
    last: MonoTime,
}

/// Nothing is typed.
impl Default for KeyLine {
    fn default() -> Self {
        Self { line: [0; LINE_CHARS_MAX], count: 0, is_spoilt: false, rest: Rest::default(), last: MonoTime::ZERO }
    }
}

impl KeyLine {
    /// Takes a key that went down at `now`, by its Linux key code. Shift keys do not count.
    pub fn press(&mut self, code: u16, form: impl Into<NumberForm>, now: MonoTime) -> Typed {
        self.tick(now);
        let is_rest = self.rest.goes_on_after(now.since(self.last));
        self.last = now;
        match key(code) {
            Key::Shift => Typed::More,
            Key::Enter if is_rest => {
                if self.rest.end() {
                    Typed::NoCard
                } else {
                    Typed::More
                }
            }
            Key::Char(_) | Key::Other if is_rest => {
                self.rest.skip();
                Typed::More
            }
            Key::Enter => {
                let is_empty = self.count == 0 && !self.is_spoilt;
                let line = self.line.get(..self.count).filter(|_| !self.is_spoilt);
                let card = line.and_then(|line| card_number(line, form));
                self.clear();
                match card {
                    Some(card) => Typed::Card(card),
                    None if is_empty => Typed::More,
                    None => Typed::NoCard,
                }
            }
            Key::Char(char) => {
                match self.line.get_mut(self.count) {
                    Some(place) => {
                        *place = char;
                        self.count += 1;
                    }
                    None => self.is_spoilt = true,
                }
                Typed::More
            }
            Key::Other => {
                self.is_spoilt = true;
                Typed::More
            }
        }
    }

    /// Forgets what was typed; the next key begins a line.
    pub fn clear(&mut self) {
        self.line.fill(0);
        self.count = 0;
        self.is_spoilt = false;
        self.rest = Rest::default();
    }

    /// Keys before `now` were not seen: what comes may be the rest of a line, until one ends or nothing comes for [`KEY_GAP`].
    pub fn distrust(&mut self, now: MonoTime) {
        self.clear();
        self.rest = Rest::until_a_pause_of(KEY_GAP);
        self.last = now;
    }

    /// When what was typed is forgotten; `None` if nothing is typed.
    pub fn next_wake(&self) -> Option<MonoTime> {
        (self.count > 0 || self.is_spoilt).then_some(self.last + KEY_GAP + Duration::from_nanos(1))
    }

    /// Forgets what was typed if that is too long ago; says whether there was anything. Its rest may yet come.
    pub fn tick(&mut self, now: MonoTime) -> bool {
        let is_due = self.next_wake().is_some_and(|at| at <= now);
        if is_due {
            self.clear();
            self.rest = Rest::until_a_pause_of(REST_GAP);
        }
        is_due
    }
}

/// Not what was typed.
impl fmt::Debug for KeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.count == 0 { "idle" } else { "typing" })
    }
}

enum Key {
    Char(u8),
    Enter,
    Shift,
    Other,
}

/// Linux key codes of a US keyboard, as far as card numbers need them.
fn key(code: u16) -> Key {
    let char = match code {
        // KEY_1 to KEY_9, KEY_0.
        2..=10 => return u8::try_from(code).map_or(Key::Other, |code| Key::Char(b'1' + code - 2)),
        11 | 82 => b'0',
        12 | 74 => b'-',
        28 | 96 => return Key::Enter,
        42 | 54 => return Key::Shift,
        30 => b'A',
        48 => b'B',
        46 => b'C',
        32 => b'D',
        18 => b'E',
        33 => b'F',
        39 => b':',
        51 => b',',
        57 => b' ',
        // The numeric pad.
        71 => b'7',
        72 => b'8',
        73 => b'9',
        75 => b'4',
        76 => b'5',
        77 => b'6',
        79 => b'1',
        80 => b'2',
        81 => b'3',
        _ => return Key::Other,
    };
    Key::Char(char)
}

/// The code of the key that types `char`: for fakes.
pub fn key_code(char: char) -> Option<u16> {
    let char = u8::try_from(char.to_ascii_uppercase()).ok()?;
    (0..128).find(|code| match key(*code) {
        Key::Char(typed) => typed == char,
        Key::Enter => char == b'\n',
        Key::Shift | Key::Other => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, digits: Digits) -> Option<String> {
        card_number(line.as_bytes(), digits).map(|card| card.expose().to_owned())
    }

    #[test]
    fn three_ways_to_write_a_card() {
        assert_eq!(read(" 04a1b2c3 ", Digits::Hex).as_deref(), Some("04A1B2C3"));
        assert_eq!(read("0012345678", Digits::Decimal).as_deref(), Some("00BC614E"));
        assert_eq!(read("4294967295", Digits::Decimal).as_deref(), Some("FFFFFFFF"));
        assert_eq!(read("4294967296", Digits::Decimal).as_deref(), Some("0000000100000000"));
        for between in [",", ":", "-", " "] {
            let line = format!("123{between}45678");
            assert_eq!(read(&line, Digits::Facility(Facility::Bits26)).as_deref(), Some("7BB26E"));
        }
        for name in ["hex", "decimal", "facility26", "facility34", "facility37"] {
            assert!(Digits::from_name(name).is_some());
        }
    }

    #[test]
    fn a_number_may_have_a_length() {
        let ten = NumberForm { digits: Digits::Decimal, length: Some(10) };
        assert_eq!(card_number(b" 0012345678\r", ten), Some("00BC614E".into()));
        for line in ["12345678", "00012345678", ""] {
            assert_eq!(card_number(line.as_bytes(), ten), None, "{line}");
        }
    }

    #[test]
    fn what_is_no_card() {
        for line in ["", "123", "04A1G2", "-1234", "+1234", "٠١٢٣", &"A".repeat(33)] {
            assert_eq!(read(line, Digits::Hex), None, "{line}");
        }
        for line in ["", "+1", "1e9", "18446744073709551616", "12 34"] {
            assert_eq!(read(line, Digits::Decimal), None, "{line}");
        }
        for line in ["", "123", ",", "1,", ",1", "256,1", "1,65536", "1,2,3", "+1,2"] {
            assert_eq!(read(line, Digits::Facility(Facility::Bits26)), None, "{line}");
        }
        assert_eq!(card_number(b"\xff\xff\xff\xff", Digits::Hex), None);
    }

    fn type_all(line: &mut KeyLine, text: &str, from_ms: u64) -> Vec<Typed> {
        let at = |place: usize| MonoTime::from_millis(from_ms + 5 * place as u64);
        let codes = text.chars().map(|char| key_code(char).unwrap()).enumerate();
        let typed = codes.map(|(place, code)| line.press(code, Digits::Hex, at(place)));
        typed.filter(|it| *it != Typed::More).collect()
    }

    #[test]
    fn keys_become_a_card() {
        let mut line = KeyLine::default();
        assert_eq!(type_all(&mut line, "04a1b2c3\n\n", 0), [Typed::Card("04A1B2C3".into())]);
        assert_eq!(type_all(&mut line, "04-2\n", 1000), [Typed::NoCard]);
        assert_eq!(type_all(&mut line, &format!("{}\n", "1".repeat(41)), 2000), [Typed::NoCard], "bounded");
        line.press(42, Digits::Hex, MonoTime::from_millis(3000));
        assert_eq!(type_all(&mut line, "abcd\n", 3001), [Typed::Card("ABCD".into())], "shift does not count");
        line.press(59, Digits::Hex, MonoTime::from_millis(4000));
        assert_eq!(type_all(&mut line, "abcd\n", 4001), [Typed::NoCard], "an F key is no part of a number");
    }

    #[test]
    fn the_rest_of_a_number_is_no_card() {
        let mut line = KeyLine::default();
        type_all(&mut line, "04A1", 0);
        assert_eq!(type_all(&mut line, "B2C3D4\n04A1B2C3\n", 500), [Typed::NoCard, Typed::Card("04A1B2C3".into())]);
        type_all(&mut line, "04A1", 1000);
        let whole = 1015 + u64::try_from(REST_GAP.as_millis()).unwrap();
        assert_eq!(type_all(&mut line, "B2C3D4\n", whole), [Typed::Card("B2C3D4".into())], "nobody pauses so long");
        line.distrust(MonoTime::from_millis(9000));
        assert_eq!(type_all(&mut line, "\n04A1B2C3\n", 9001), [Typed::Card("04A1B2C3".into())], "nothing is lost");
        line.distrust(MonoTime::from_millis(9100));
        assert_eq!(type_all(&mut line, "C3D4\n04A1B2C3\n", 9101), [Typed::NoCard, Typed::Card("04A1B2C3".into())]);
        line.distrust(MonoTime::from_millis(9200));
        type_all(&mut line, "C3D4", 9399);
        assert_eq!(type_all(&mut line, "04A1B2C3\n", 9614), [Typed::Card("04A1B2C3".into())], "it began after a pause");
        let mut line = KeyLine::default();
        type_all(&mut line, "04A1", 1000);
        let wake = line.next_wake().unwrap();
        assert!(!line.tick(wake.saturating_sub(Duration::from_nanos(1))));
        assert!(line.tick(wake));
        assert_eq!((line.next_wake(), format!("{line:?}")), (None, "idle".into()));
    }
}
