//! The text of a plate: [`PlateText`], upper-case Latin letters and digits, and what is easily taken for what.
//!
//! GOST R 50577 uses the twelve Cyrillic letters that have Latin twins, so that plates can be read abroad; a list kept by
//! a person has them in either alphabet, with spaces and lower case. All of that becomes one text here.
//!
//! **Never:** a text that was guessed: what is no letter, digit or separator is refused.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// Fewest signs: `M 1` is the shortest plate in Germany.
pub const SIGNS_MIN: usize = 2;

/// Most signs: German and Russian plates have up to 9, a British trader's 8, vanity plates 8.
pub const SIGNS_MAX: usize = 10;

/// Signs that plates are made of: ten digits and 26 letters.
pub const ALPHABET: usize = 36;

/// Longest text that is looked at in bytes, separators included.
const TEXT_BYTES_MAX: usize = 64;

/// Cyrillic letters and their Latin twins, as GOST R 50577-2018 and the Vienna Convention pair them.
const TWINS: [(char, u8); 12] = [
    ('А', b'A'),
    ('В', b'B'),
    ('Е', b'E'),
    ('К', b'K'),
    ('М', b'M'),
    ('Н', b'H'),
    ('О', b'O'),
    ('Р', b'P'),
    ('С', b'C'),
    ('Т', b'T'),
    ('У', b'Y'),
    ('Х', b'X'),
];

/// Signs that look alike on a plate: the readers of this crate take one for the other, and so do people.
const ALIKE: [(u8, u8); 14] = [
    (b'0', b'O'),
    (b'0', b'D'),
    (b'0', b'Q'),
    (b'O', b'D'),
    (b'O', b'Q'),
    (b'1', b'I'),
    (b'1', b'L'),
    (b'2', b'Z'),
    (b'4', b'A'),
    (b'5', b'S'),
    (b'6', b'G'),
    (b'7', b'T'),
    (b'8', b'B'),
    (b'V', b'Y'),
];

/// The text of a plate, such as `A123BC77`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlateText(String);

impl PlateText {
    /// The signs, nothing between them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn from_signs(signs: &[u8]) -> Option<Self> {
        let is_sane = (SIGNS_MIN..=SIGNS_MAX).contains(&signs.len())
            && signs.iter().all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit());
        is_sane.then(|| Self(signs.iter().map(|&sign| char::from(sign)).collect()))
    }
}

impl FromStr for PlateText {
    type Err = Error;

    /// Takes `а123вс 77`, `A123BC77`, `b-ab 1234`: either alphabet and case; spaces, hyphens, dots and `|` between.
    ///
    /// # Errors
    /// [`Error::BadOption`] for other signs, fewer than [`SIGNS_MIN`] or more than [`SIGNS_MAX`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason| Error::BadOption { option: "plate", reason };
        if text.len() > TEXT_BYTES_MAX {
            return Err(bad("a plate has 2 to 10 letters and digits"));
        }
        let mut signs = Vec::with_capacity(SIGNS_MAX);
        for letter in text.chars() {
            match sign_of(letter) {
                Some(sign) => signs.push(sign),
                None if is_separator(letter) => {}
                None => {
                    return Err(bad("only Latin letters, the twelve Cyrillic ones that look like them, and digits"));
                }
            }
        }
        Self::from_signs(&signs).ok_or(bad("a plate has 2 to 10 letters and digits"))
    }
}

impl fmt::Display for PlateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where somebody drives is personal: logs show the length alone.
impl fmt::Debug for PlateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plate of {} signs", self.0.len())
    }
}

/// The sign that `letter` stands for, `None` if plates have none like it.
pub(crate) fn sign_of(letter: char) -> Option<u8> {
    let letter = letter.to_uppercase().next().unwrap_or(letter);
    match u8::try_from(letter) {
        Ok(byte) if byte.is_ascii_uppercase() || byte.is_ascii_digit() => Some(byte),
        _ => TWINS.iter().find(|(twin, _)| *twin == letter).map(|&(_, sign)| sign),
    }
}

pub(crate) fn is_separator(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '-' | '.' | '|' | '·' | '•' | ':' | '_')
}

/// Where `sign` stands in the alphabet: digits, then letters.
pub(crate) fn index(sign: u8) -> Option<usize> {
    match sign {
        b'0'..=b'9' => Some(usize::from(sign - b'0')),
        b'A'..=b'Z' => Some(usize::from(sign - b'A') + 10),
        _ => None,
    }
}

/// The sign at `index` of the alphabet.
pub(crate) fn sign_at(index: usize) -> u8 {
    match index {
        0..10 => b'0' + index as u8,
        _ => b'A' + (index.min(ALPHABET - 1) - 10) as u8,
    }
}

/// Whether the two are easily taken for each other.
pub(crate) fn look_alike(a: u8, b: u8) -> bool {
    ALIKE.contains(&(a, b)) || ALIKE.contains(&(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_alphabets_are_one() {
        let latin: PlateText = "A123BC77".parse().unwrap();
        for text in ["а123вс77", "А 123 ВС 77", "a123bc|77", "А123BС-77"] {
            assert_eq!(text.parse::<PlateText>().unwrap(), latin, "{text}");
        }
        assert_eq!(format!("{latin} {latin:?}"), "A123BC77 plate of 8 signs");
    }

    #[test]
    fn what_is_no_plate_is_refused() {
        for text in ["", "A", "Ж123АА77", "A123BC77777", "A1;B", "京A12345", &"-".repeat(65)] {
            assert!(text.parse::<PlateText>().is_err(), "{text}");
        }
        assert!("A1".parse::<PlateText>().is_ok() && "A123456789".parse::<PlateText>().is_ok());
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_clean_and_stays_itself(text in ".{0,20}") {
            if let Ok(plate) = text.parse::<PlateText>() {
                prop_assert!(plate.as_str().bytes().all(|sign| index(sign).map(sign_at) == Some(sign)));
                prop_assert_eq!(plate.as_str().parse::<PlateText>().unwrap(), plate);
            }
        }
    }
}
