//! Wiegand: bits with their times in, cards and keys out.
//!
//! A reader pulls one of two wires low for each bit, about 2 ms apart. Nothing on the wire says where a message ends, so a
//! pause of [`GAP`] does. What a message is, only its length says:
//!
//! | bits | what | checked by | key |
//! |---|---|---|---|
//! | 4 | a key of the keypad: 0-9, 10 `*`, 11 `#` | | the key |
//! | 8 | the same, its complement in the high half | complement | the key |
//! | 26 | H10301: facility 8, number 16 | two parities | 6 hexadecimal digits |
//! | 34 | facility 16, number 16 | two parities | 8 |
//! | 37 | H10302: number 35, or H10304: facility 16, number 19 | two parities | 9, the same for both |
//! | any other up to 128 | raw, only if allowed | nothing | the bits, padded in front to whole digits |
//!
//! The key of a card is its data bits without parities as upper-case hexadecimal digits: a card that is written as
//! facility and number ([`facility_card`]) is the same text.
//!
//! Source: HID's published descriptions of the formats H10301, H10302 and H10304. The 34-bit layout (even parity over the
//! first half, odd over the second, as in 26) is what readers sold as «Wiegand 34» do; no vendor's document was at hand.
//!
//! **Never:** a guess at a message whose parity is wrong; a raw message unless the owner allowed it (nothing protects it).

use std::fmt::Write as _;
use std::time::Duration;

use godvision_core::Secret;

/// A longer pause between two bits ends a message. Bits come every 1 to 3 ms.
pub const GAP: Duration = Duration::from_millis(25);
/// Longest message in bits.
pub const BITS_MAX: u32 = 128;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// A number of bits that no allowed format has.
    #[error("a message of a length that no format has")]
    Length,
    /// A parity bit does not fit.
    #[error("a parity bit does not fit")]
    Parity,
    /// A key whose two halves do not fit, or of a number that no key has.
    #[error("no key of a keypad")]
    NoKey,
    /// More bits than any message has.
    #[error("more bits than any message has")]
    TooLong,
}

/// Bits that came without a pause between them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    bits: u128,
    count: u32,
}

impl Burst {
    /// The lowest `count` bits of `bits`, the first one highest; `None` if there are more than [`BITS_MAX`].
    pub fn new(bits: u128, count: u32) -> Option<Self> {
        let mask = if count == BITS_MAX { u128::MAX } else { (1_u128 << count.min(127)) - 1 };
        (count <= BITS_MAX).then_some(Self { bits: bits & mask, count })
    }

    /// How many bits.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether it is as long as a card whose parities would show that it is not whole.
    pub fn has_parities(&self) -> bool {
        matches!(self.count, 26 | 34 | 37)
    }

    /// `count` bits from the `from`th on, counted from 0 at the first one that came.
    fn field(&self, from: u32, count: u32) -> u128 {
        let shift = self.count.saturating_sub(from.saturating_add(count));
        let mask = 1_u128.checked_shl(count).map_or(u128::MAX, |bit| bit - 1);
        (self.bits >> shift) & mask
    }

    fn ones(&self, from: u32, count: u32) -> u32 {
        self.field(from, count).count_ones()
    }
}

/// The number of bits; the bits are a card.
impl std::fmt::Debug for Burst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bits", self.count)
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A card's number.
    Card(Secret),
    /// A key: `0` to `9`, `*` or `#`.
    Pressed(char),
}

/// Which messages are believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formats {
    /// Keys, and cards of 26, 34 and 37 bits.
    #[default]
    Checked,
    /// Cards of any other length, too, with nothing that checks them.
    Raw,
}

/// What `burst` says.
///
/// # Errors
/// [`Defect`].
pub fn decode(burst: Burst, formats: Formats) -> Result<Reading, Defect> {
    match burst.count {
        4 => key(burst.field(0, 4)),
        8 if burst.field(0, 4) ^ burst.field(4, 4) == 0xF => key(burst.field(4, 4)),
        8 => Err(Defect::NoKey),
        26 | 34 => {
            let half = burst.count / 2;
            checked(burst, (0, half), (half, half))
        }
        // 18 bits behind each parity; the middle one counts for both.
        37 => checked(burst, (0, 19), (18, 19)),
        0..=3 => Err(Defect::Length),
        _ if formats == Formats::Raw => Ok(card(burst.bits, burst.count)),
        _ => Err(Defect::Length),
    }
}

fn key(number: u128) -> Result<Reading, Defect> {
    let key = match number {
        0..=9 => char::from_digit(u32::try_from(number).unwrap_or_default(), 10),
        10 => Some('*'),
        11 => Some('#'),
        _ => None,
    };
    key.map(Reading::Pressed).ok_or(Defect::NoKey)
}

/// A parity bit first (even) and last (odd), each with its bits, as `(from, count)` with the parity bit itself.
fn checked(burst: Burst, even: (u32, u32), odd: (u32, u32)) -> Result<Reading, Defect> {
    let is_even = |(from, count)| burst.ones(from, count).is_multiple_of(2);
    let fits = is_even(even) && !is_even(odd);
    let data = burst.count - 2;
    if fits { Ok(card(burst.field(1, data), data)) } else { Err(Defect::Parity) }
}

fn card(bits: u128, count: u32) -> Reading {
    Reading::Card(hex(bits, count))
}

/// `count` bits as upper-case hexadecimal digits, padded in front.
pub(super) fn hex(bits: u128, count: u32) -> Secret {
    let width = usize::try_from(count.div_ceil(4)).unwrap_or(usize::MAX).min(32);
    let mut text = String::with_capacity(width);
    // Writing to a `String` cannot fail.
    let _ = write!(text, "{bits:0width$X}");
    Secret::new(text)
}

/// A format whose data bits are a facility and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Facility {
    /// H10301, 26 bits: facility 0-255, number 0-65535.
    #[default]
    Bits26,
    /// 34 bits: facility 0-65535, number 0-65535.
    Bits34,
    /// H10304, 37 bits: facility 0-65535, number 0-524287.
    Bits37,
}

/// The key of the card printed with this facility and number; `None` if the format has no room for them.
pub fn facility_card(format: Facility, facility: u32, number: u32) -> Option<Secret> {
    let (facility_bits, number_bits) = match format {
        Facility::Bits26 => (8, 16),
        Facility::Bits34 => (16, 16),
        Facility::Bits37 => (16, 19),
    };
    let fits = facility >> facility_bits == 0 && number >> number_bits == 0;
    let bits = u128::from(facility) << number_bits | u128::from(number);
    fits.then(|| hex(bits, facility_bits + number_bits))
}

/// Collects bits into [`Burst`]s. Times are microseconds of the clock of whoever saw the bits; they may wrap around.
#[derive(Clone, Default)]
pub struct Collector {
    bits: u128,
    count: u32,
    is_too_long: bool,
    last_us: u32,
}

impl Collector {
    /// Takes a bit that came at `at_us`. Gives the message before it, if the pause between them ended one.
    pub fn push(&mut self, bit: bool, at_us: u32) -> Option<Result<Burst, Defect>> {
        let ended = self.ended_before(at_us);
        self.last_us = at_us;
        if self.count < BITS_MAX {
            self.bits = self.bits << 1 | u128::from(bit);
            self.count += 1;
        } else {
            self.is_too_long = true;
        }
        ended
    }

    /// The message before `at_us`, if there is one and the pause since its last bit is longer than [`GAP`].
    pub fn ended_before(&mut self, at_us: u32) -> Option<Result<Burst, Defect>> {
        let pause = Duration::from_micros(at_us.wrapping_sub(self.last_us).into());
        (pause > GAP).then(|| self.end()).flatten()
    }

    /// Ends the message that is begun, if one is.
    pub fn end(&mut self) -> Option<Result<Burst, Defect>> {
        let (bits, count) = (std::mem::take(&mut self.bits), std::mem::take(&mut self.count));
        if std::mem::take(&mut self.is_too_long) {
            return Some(Err(Defect::TooLong));
        }
        (count > 0).then_some(Ok(Burst { bits, count }))
    }

    /// When the last bit came.
    pub fn last_us(&self) -> u32 {
        self.last_us
    }

    /// Whether bits wait for their end.
    pub fn is_begun(&self) -> bool {
        self.count > 0
    }
}

/// How many bits wait.
impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bits so far", self.count)
    }
}

/// The message of 26, 34 or 37 bits whose data bits are `data`, with its parities: for tests and fakes. `None` for another
/// number of bits.
pub fn encode(data: u128, count: u32) -> Option<Burst> {
    let (even, odd) = match count {
        26 | 34 => ((1, count / 2 - 1), (count / 2, count / 2 - 1)),
        37 => ((1, 18), (18, 18)),
        _ => return None,
    };
    let bare = Burst::new(data << 1, count).map(|burst| Burst { bits: burst.bits & !(1 << (count - 1)), ..burst })?;
    let first = u128::from(bare.ones(even.0, even.1) % 2);
    let last = u128::from(1 - bare.ones(odd.0, odd.1) % 2);
    Some(Burst { bits: bare.bits | first << (count - 1) | last, count })
}

impl Burst {
    /// Its bits, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        (0..self.count).map(|place| self.field(place, 1) == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn burst(bits: &str) -> Burst {
        let mut collector = Collector::default();
        for bit in bits.bytes().filter(|bit| *bit != b' ') {
            assert!(collector.push(bit == b'1', 7).is_none());
        }
        collector.end().unwrap().unwrap()
    }

    fn read(bits: &str) -> Result<String, Defect> {
        decode(burst(bits), Formats::Checked).map(|reading| match reading {
            Reading::Card(card) => card.expose().to_owned(),
            Reading::Pressed(key) => key.to_string(),
        })
    }

    #[test]
    fn the_formats_by_hand() {
        // Facility 123 (0x7B), number 45678 (0xB26E): 9 ones in the first half, 6 in the second.
        assert_eq!(read("1 01111011 1011 001001101110 1").unwrap(), "7BB26E");
        assert_eq!(read("0 01111011 1011 001001101110 1").unwrap_err(), Defect::Parity);
        assert_eq!(read("1 01111011 1011 001001101110 0").unwrap_err(), Defect::Parity);
        let h10301 = encode(0x7B_B26E, 26).unwrap();
        assert_eq!(decode(h10301, Formats::Checked), Ok(Reading::Card("7BB26E".into())));
        // All zeros: even parity 0, odd parity 1.
        assert_eq!(read(&format!("0{}1", "0".repeat(24))).unwrap(), "000000");
        assert_eq!(read(&format!("0{}1", "0".repeat(32))).unwrap(), "00000000");
        assert_eq!(read(&format!("0{}1", "0".repeat(35))).unwrap(), "000000000");
        // One bit in the first half turns the even parity, one in the second the odd one, the middle of 37 both.
        assert_eq!(read(&format!("1 1{} 1", "0".repeat(23))).unwrap(), "800000");
        assert_eq!(read(&format!("0{}1 0", "0".repeat(23))).unwrap(), "000001");
        assert_eq!(read(&format!("1 {}1{} 0", "0".repeat(17), "0".repeat(17))).unwrap(), "000020000");
    }

    #[test]
    fn keys_of_keypads() {
        for (number, key) in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"].iter().enumerate() {
            assert_eq!(read(&format!("{number:04b}")).unwrap(), *key);
            assert_eq!(read(&format!("{:04b}{number:04b}", number ^ 15)).unwrap(), *key);
            assert_eq!(read(&format!("{number:04b}{number:04b}")), Err(Defect::NoKey));
        }
        assert_eq!(read("1100"), Err(Defect::NoKey));
        assert_eq!(read("110"), Err(Defect::Length));
    }

    #[test]
    fn raw_only_if_allowed() {
        let odd = burst(&"1".repeat(33));
        assert_eq!(decode(odd, Formats::Checked), Err(Defect::Length));
        assert_eq!(decode(odd, Formats::Raw), Ok(Reading::Card("1FFFFFFFF".into())));
        let all = burst(&"1".repeat(128));
        assert_eq!(decode(all, Formats::Raw), Ok(Reading::Card("F".repeat(32).as_str().into())));
        // Raw or not, what has a parity must have the right one.
        assert_eq!(decode(burst(&"0".repeat(26)), Formats::Raw), Err(Defect::Parity));
    }

    #[test]
    fn a_pause_ends_a_message_even_when_the_clock_wraps() {
        let mut collector = Collector::default();
        let start = u32::MAX - 3000;
        for place in 0..4_u32 {
            assert!(collector.push(place % 2 == 1, start.wrapping_add(place * 2000)).is_none());
        }
        let gap_us = u32::try_from(GAP.as_micros()).unwrap();
        let last = start.wrapping_add(6000);
        assert!(collector.ended_before(last.wrapping_add(gap_us)).is_none(), "exactly the gap is no pause yet");
        let first = collector.push(true, last.wrapping_add(gap_us + 1)).unwrap().unwrap();
        assert_eq!((first.count(), first.bits), (4, 0b0101));
        assert!(collector.is_begun());
    }

    #[test]
    fn bits_without_end_are_one_defect() {
        let mut collector = Collector::default();
        for _ in 0..10_000 {
            assert!(collector.push(true, 0).is_none());
        }
        assert_eq!(collector.end(), Some(Err(Defect::TooLong)));
        assert_eq!(collector.end(), None);
    }

    #[test]
    fn a_printed_card_is_the_card_on_the_wire() {
        assert_eq!(facility_card(Facility::Bits26, 123, 45678), Some("7BB26E".into()));
        assert_eq!(facility_card(Facility::Bits34, 1, 2), Some("00010002".into()));
        assert_eq!(facility_card(Facility::Bits37, 0xFFFF, 0x7_FFFF), Some("7FFFFFFFF".into()));
        assert_eq!(facility_card(Facility::Bits26, 256, 0), None);
        assert_eq!(facility_card(Facility::Bits37, 0, 0x8_0000), None);
    }

    #[test]
    fn nothing_prints_the_bits() {
        assert_eq!(format!("{:?} {:?}", burst("1011"), Collector::default()), "4 bits 0 bits so far");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_and_one_wrong_bit_is_not(data: u64, which in 0..3_usize, wrong in 0..37_u32) {
            let count = [26, 34, 37][which];
            let data = u128::from(data) & ((1 << (count - 2)) - 1);
            let message = encode(data, count).unwrap();
            prop_assert_eq!(decode(message, Formats::Checked), Ok(card(data, count - 2)));
            let spoilt = Burst { bits: message.bits ^ 1 << (wrong % count), count };
            prop_assert_eq!(decode(spoilt, Formats::Checked), Err(Defect::Parity));
        }
    }
}
