//! Keys of a keypad into PINs: `#` enters, `*` clears, a pause clears.
//!
//! The dissertation's reader hands over whole codes and does not say how they are typed; this is what keypads on doors do.
//!
//! **Never:** judging a PIN (too short, wrong: whoever decides refuses it and counts it), showing what was typed.

use std::fmt;
use std::time::Duration;

use godvision_core::{MonoTime, Secret};

/// Most digits of a PIN; with more, what was typed is no PIN.
pub const DIGITS_MAX: usize = 12;
/// A longer pause between two keys clears what was typed: somebody went away.
pub const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a key did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Nothing yet.
    More,
    /// A PIN was entered.
    Pin(Secret),
    /// What was typed is forgotten: `*`, or `#` without digits.
    Cleared,
    /// More digits than a PIN has were typed, then `#`.
    TooLong,
    /// The key is none of `0` to `9`, `*` and `#`.
    NoKey,
}

/// What was typed so far at one keypad.
#[derive(Clone, Default)]
pub struct Keypad {
    digits: [u8; DIGITS_MAX],
    count: usize,
    is_too_long: bool,
    last: MonoTime,
}

impl Keypad {
    /// Takes a key pressed at `now`.
    pub fn press(&mut self, key: char, now: MonoTime) -> Typed {
        if now.since(self.last) > PAUSE_MAX {
            self.clear();
        }
        match key {
            '0'..='9' => {
                self.last = now;
                match self.digits.get_mut(self.count) {
                    Some(place) => {
                        // A digit is one byte.
                        *place = u8::try_from(key).unwrap_or(b'0');
                        self.count += 1;
                    }
                    None => self.is_too_long = true,
                }
                Typed::More
            }
            '*' => {
                self.clear();
                Typed::Cleared
            }
            '#' => {
                let typed = match self.digits.get(..self.count) {
                    _ if self.is_too_long => Typed::TooLong,
                    Some([]) | None => Typed::Cleared,
                    Some(digits) => {
                        Typed::Pin(digits.iter().map(|digit| char::from(*digit)).collect::<String>().into())
                    }
                };
                self.clear();
                typed
            }
            _ => Typed::NoKey,
        }
    }

    /// Forgets what was typed.
    pub fn clear(&mut self) {
        self.digits.fill(0);
        self.count = 0;
        self.is_too_long = false;
    }

    /// When what was typed is forgotten; `None` if nothing is typed.
    pub fn next_wake(&self) -> Option<MonoTime> {
        (self.count > 0).then_some(self.last + PAUSE_MAX + Duration::from_nanos(1))
    }

    /// Forgets what was typed if that is too long ago.
    pub fn tick(&mut self, now: MonoTime) {
        if self.next_wake().is_some_and(|at| at <= now) {
            self.clear();
        }
    }
}

/// Not even how many digits.
impl fmt::Debug for Keypad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.count == 0 { "idle" } else { "typing" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_all(keypad: &mut Keypad, keys: &str, from_ms: u64) -> Vec<Typed> {
        let at = |place: usize| MonoTime::from_millis(from_ms + 200 * place as u64);
        keys.chars()
            .enumerate()
            .map(|(place, key)| keypad.press(key, at(place)))
            .filter(|it| *it != Typed::More)
            .collect()
    }

    #[test]
    fn hash_enters_and_star_clears() {
        let mut keypad = Keypad::default();
        assert_eq!(type_all(&mut keypad, "2580#", 0), [Typed::Pin("2580".into())]);
        assert_eq!(type_all(&mut keypad, "99*13#", 5_000), [Typed::Cleared, Typed::Pin("13".into())]);
        assert_eq!(type_all(&mut keypad, "#*", 9_000), [Typed::Cleared, Typed::Cleared]);
        assert_eq!(type_all(&mut keypad, "1A2#", 9_500), [Typed::NoKey, Typed::Pin("12".into())]);
    }

    #[test]
    fn digits_are_bounded() {
        let mut keypad = Keypad::default();
        assert_eq!(type_all(&mut keypad, "123456789012#", 0), [Typed::Pin("123456789012".into())]);
        assert_eq!(type_all(&mut keypad, "1234567890123#7#", 9_000), [Typed::TooLong, Typed::Pin("7".into())]);
        for _ in 0..100_000 {
            assert_eq!(keypad.press('1', MonoTime::from_millis(60_000)), Typed::More);
        }
        assert_eq!(keypad.press('#', MonoTime::from_millis(60_001)), Typed::TooLong);
    }

    #[test]
    fn a_pause_clears() {
        let mut keypad = Keypad::default();
        let pause_ms = u64::try_from(PAUSE_MAX.as_millis()).unwrap();
        keypad.press('1', MonoTime::ZERO);
        assert_eq!(keypad.press('2', MonoTime::from_millis(pause_ms)), Typed::More);
        assert_eq!(
            keypad.press('#', MonoTime::from_millis(2 * pause_ms)),
            Typed::Pin("12".into()),
            "each pause just fits"
        );
        keypad.press('1', MonoTime::from_millis(3 * pause_ms));
        assert_eq!(keypad.press('#', MonoTime::from_millis(4 * pause_ms + 1)), Typed::Cleared);
        keypad.press('1', MonoTime::from_millis(5 * pause_ms));
        let wake = keypad.next_wake().unwrap();
        keypad.tick(wake.saturating_sub(Duration::from_nanos(1)));
        assert_eq!(format!("{keypad:?}"), "typing");
        keypad.tick(wake);
        assert_eq!(format!("{keypad:?}"), "idle");
        assert_eq!(keypad.next_wake(), None);
    }
}
