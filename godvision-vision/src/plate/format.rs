//! What plates look like in a country: [`Country`], and [`resolve`], by which a place that can only be a digit turns a
//! letter `O` into a zero.
//!
//! Sources: GOST R 50577-2018 (types 1, 1A, 1B, 2, 4, 5, 9, 10, 15); the German FZV; France's SIV of 2009; Italy's
//! series of 1994; Spain's of 2000; Poland's of 2000 (common forms); the Dutch side codes 4 to 13.
//!
//! **Never:** a choice between two real candidates. If the text as read fits a format of any country in question, it
//! stays; if formats disagree about what it should be, it stays.

#![forbid(unsafe_code)]

use super::text::{PlateText, look_alike};

/// A country whose plates are known by their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Country {
    /// Russia.
    Russia,
    /// Germany.
    Germany,
    /// France, series of 2009.
    France,
    /// Italy, series of 1994.
    Italy,
    /// Spain, series of 2000.
    Spain,
    /// Poland.
    Poland,
    /// The Netherlands.
    Netherlands,
    /// Fifty states and their vanity plates: five to seven letters and digits in any order. Nothing is ever corrected.
    UnitedStates,
}

impl Country {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Russia,
        Self::Germany,
        Self::France,
        Self::Italy,
        Self::Spain,
        Self::Poland,
        Self::Netherlands,
        Self::UnitedStates,
    ];

    /// ISO 3166's two letters.
    pub fn code(self) -> &'static str {
        match self {
            Self::Russia => "RU",
            Self::Germany => "DE",
            Self::France => "FR",
            Self::Italy => "IT",
            Self::Spain => "ES",
            Self::Poland => "PL",
            Self::Netherlands => "NL",
            Self::UnitedStates => "US",
        }
    }

    /// The country with ISO 3166's two letters `code`, in either case.
    pub fn of(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|country| country.code().eq_ignore_ascii_case(code))
    }

    /// Its forms, one class a sign: see [`class`].
    fn forms(self) -> &'static [&'static str] {
        match self {
            Self::Russia => &[
                // Types 1, 1A and 1B of 2018; 1B before that and 2; 4 and 5; 9 and 10; 15.
                "r###rr##",
                "r###rr###",
                "rr#####",
                "rr######",
                "rr#######",
                "####rr##",
                "####rr###",
                "###CD###",
                "###CD####",
                "###D#####",
                "###D######",
                "###T#####",
                "###T######",
                "rr###r##",
                "rr###r###",
            ],
            Self::Germany => &[
                "ll1", "ll1#", "ll1##", "ll1###", "lll1", "lll1#", "lll1##", "lll1###", "llll1", "llll1#", "llll1##",
                "llll1###", "lllll1", "lllll1#", "lllll1##", "ll1#H", "ll1##H", "ll1###H", "lll1#H", "lll1##H",
                "llll1#H", "llll1##H", "ll1#E", "ll1##E", "ll1###E", "lll1#E", "lll1##E", "llll1#E", "llll1##E",
            ],
            Self::France => &["ff###ff"],
            Self::Italy => &["ii###ii"],
            Self::Spain => &["####sss"],
            Self::Poland => &[
                "ll#####", "ll####p", "ll###pp", "ll#p###", "ll#pp##", "lllp###", "lll##pp", "lll#p##", "lll##p#",
                "lll#pp#", "lllpp##", "lll#####", "lll####p", "lll###pp",
            ],
            Self::Netherlands => &[
                "nn##nn", "nnnn##", "##nnnn", "##nnn#", "#nnn##", "nn###n", "n###nn", "nnn##n", "n##nnn", "#nn###",
                "###nn#",
            ],
            Self::UnitedStates => &["aaaaa", "aaaaaa", "aaaaaaa"],
        }
    }
}

/// Whether `sign` may stand where a form says `class`.
fn is_allowed(class: u8, sign: u8) -> bool {
    match class {
        b'#' => sign.is_ascii_digit(),
        b'1' => matches!(sign, b'1'..=b'9'),
        b'l' => sign.is_ascii_uppercase(),
        b'a' => true,
        b'r' => b"ABCEHKMOPTXY".contains(&sign),
        b'f' => sign.is_ascii_uppercase() && !b"IOU".contains(&sign),
        b'i' => sign.is_ascii_uppercase() && !b"IOQU".contains(&sign),
        b's' => sign.is_ascii_uppercase() && !b"AEIOUQ".contains(&sign),
        b'p' => sign.is_ascii_uppercase() && !b"BDIOQZ".contains(&sign),
        b'n' => sign.is_ascii_uppercase() && !b"ACEIMOQUWY".contains(&sign),
        literal => literal == sign,
    }
}

/// The only sign of the class that `read` may have been, itself if it fits; `None` if there is none or more than one.
fn settle(class: u8, read: u8) -> Option<u8> {
    if is_allowed(class, read) {
        return Some(read);
    }
    let mut alike = (b'0'..=b'9').chain(b'A'..=b'Z').filter(|&sign| is_allowed(class, sign) && look_alike(read, sign));
    let only = alike.next()?;
    alike.next().is_none().then_some(only)
}

/// What the plate looked like, as far as it tells forms apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Nothing is known, or nothing that tells.
    #[default]
    Unknown,
    /// One line, dark on bright. In Russia that is no motorcycle (two lines) and no military car (white on black), whose
    /// plates begin with four digits: so a zero before three digits is the letter.
    OneDarkLine,
}

impl Layout {
    fn allows(self, country: Country, form: &str) -> bool {
        !(self == Self::OneDarkLine && country == Country::Russia && form.starts_with("####r"))
    }
}

/// What became of a text that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The text, with the signs changed that could be only one thing.
    pub text: PlateText,
    /// A country whose form it has: the first of those asked for.
    pub country: Option<Country>,
    /// How many signs were changed.
    pub changed: usize,
}

/// Most signs that are changed. A text that needs more is more likely none of a plate.
pub const CHANGES_MAX: usize = 2;

/// Fits `read` to the forms of `countries`. See the module for what is left alone.
pub fn resolve(read: &PlateText, countries: &[Country], layout: Layout) -> Resolved {
    let signs = read.as_str().as_bytes();
    let mut best: Option<Resolved> = None;
    let mut is_disputed = false;
    for &country in countries {
        let forms = country.forms().iter().filter(|form| form.len() == signs.len() && layout.allows(country, form));
        for form in forms {
            let settled: Option<Vec<u8>> = form.bytes().zip(signs).map(|(class, &sign)| settle(class, sign)).collect();
            let Some(text) = settled.as_deref().and_then(PlateText::from_signs) else { continue };
            let changed = signs.iter().zip(text.as_str().bytes()).filter(|(before, after)| **before != *after).count();
            if changed > CHANGES_MAX {
                continue;
            }
            match &best {
                Some(found) if found.changed < changed => {}
                Some(found) if found.changed == changed => is_disputed |= found.text != text,
                _ => {
                    is_disputed = false;
                    best = Some(Resolved { text, country: Some(country), changed });
                }
            }
        }
    }
    let unchanged = || Resolved { text: read.clone(), country: None, changed: 0 };
    best.filter(|_| !is_disputed).unwrap_or_else(unchanged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolved(text: &str, countries: &[Country]) -> (String, Option<Country>, usize) {
        let found = resolve(&text.parse().unwrap(), countries, Layout::Unknown);
        (found.text.as_str().to_owned(), found.country, found.changed)
    }

    #[test]
    fn a_place_that_can_be_one_thing_only_decides() {
        for (read, text, country) in [
            ("A1238C77", "A123BC77", Country::Russia),
            ("AI23BC77", "A123BC77", Country::Russia),
            ("OOI2BC777", "OOI2BC777", Country::Spain),
            ("AB123CO", "AB123CO", Country::Germany),
            ("123ABCD", "123ABCD", Country::France),
            ("1234B8C", "1234BBC", Country::Spain),
            ("FZ2E5AA", "FZ2E5AA", Country::Italy),
            ("FZ2S5AA", "FZ255AA", Country::Italy),
            ("XX99BB", "XX99BB", Country::Netherlands),
        ] {
            let (got, _, changed) = resolved(read, &[country]);
            assert_eq!((got.as_str(), changed > 0), (text, text != read), "{country:?}");
        }
    }

    #[test]
    fn two_real_candidates_are_not_decided_between() {
        // In Germany a zero in the place of a letter may have been O, D or Q.
        assert_eq!(resolved("0A123", &[Country::Germany]), ("0A123".into(), None, 0));
        // Read as it is, it may be American: nothing is changed.
        let both = [Country::Germany, Country::UnitedStates];
        assert_eq!(resolved("8ABC123", &both), ("8ABC123".into(), Some(Country::UnitedStates), 0));
        assert_eq!(resolved("8ABC123", &both[..1]).0, "BABC123");
        // A car's O123BC77, or a motorcycle's 0123BC77.
        assert_eq!(resolved("0123BC77", &[Country::Russia]).0, "0123BC77");
        let car = resolve(&"0123BC77".parse().unwrap(), &[Country::Russia], Layout::OneDarkLine);
        assert_eq!(car.text.as_str(), "O123BC77");
        // More than two changes are no reading.
        assert_eq!(resolved("88888888", &[Country::Russia]), ("88888888".into(), None, 0));
    }

    #[test]
    fn every_form_is_of_known_classes_and_fits_a_plate() {
        for country in Country::ALL {
            assert_eq!(Country::of(country.code()), Some(country));
            for form in country.forms() {
                assert!((3..=10).contains(&form.len()), "{form}");
                assert!(form.bytes().all(|class| b"#1larfispnCDTHE".contains(&class)), "{form}");
            }
        }
    }

    proptest! {
        #[test]
        fn changes_are_between_signs_that_look_alike_and_are_final(text in "[0-9A-Z]{2,10}") {
            let read: PlateText = text.parse().unwrap();
            let found = resolve(&read, &Country::ALL, Layout::Unknown);
            prop_assert!(found.changed <= CHANGES_MAX);
            for (before, after) in text.bytes().zip(found.text.as_str().bytes()) {
                prop_assert!(before == after || look_alike(before, after));
            }
            prop_assert_eq!(resolve(&found.text, &Country::ALL, Layout::Unknown).text, found.text);
        }
    }
}
