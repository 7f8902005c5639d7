//! What was presented, and what a rule asks for: [`CredentialKind`], the set [`Kinds`], the alternatives [`By`].
//!
//! A rule says `by = ["card", "face+pin"]`: a card alone, or a face and a PIN together. It holds if one of its
//! alternatives is part of what was presented; so a card and a plate together still satisfy `card`, for rules that
//! permit and for rules that forbid alike (who forbids plates forbids a plate beside a PIN too).
//!
//! **Never:** three of a kind: two factors are what doors ask for, and what fits one machine word.

use std::fmt;

use godvision_core::signal::door::Key;

/// What kind of thing was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// A QR pass.
    Qr,
    /// A PIN.
    Pin,
    /// A card.
    Card,
    /// A number plate. Copied with a sheet of paper: opens only where a rule names it.
    Plate,
    /// A live face.
    Face,
    /// An operator's own act.
    Manual,
    /// A person's own act from elsewhere, by a button in a messenger. Nobody sees who holds the telephone, or who goes
    /// through the door: opens only where a rule names it.
    Remote,
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [Self::Qr, Self::Pin, Self::Card, Self::Plate, Self::Face, Self::Manual, Self::Remote];

    /// The kind of `key`; `None` for kinds that this version does not know.
    pub fn of(key: &Key) -> Option<Self> {
        Self::from_code(key.kind())
    }

    /// `qr`, `pin`, `card`, `plate`, `face`, `manual`, `remote`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Qr => "qr",
            Self::Pin => "pin",
            Self::Card => "card",
            Self::Plate => "plate",
            Self::Face => "face",
            Self::Manual => "manual",
            Self::Remote => "remote",
        }
    }

    /// The kind of a [`CredentialKind::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A set of [`CredentialKind`]: what one person has presented. Prints as `face+pin`, and `nothing` if it is empty.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self(0x7f);

    /// With `kind` too.
    #[must_use]
    pub const fn with(self, kind: CredentialKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Without `kind`.
    #[must_use]
    pub const fn without(self, kind: CredentialKind) -> Self {
        Self(self.0 & !(1 << kind as u8))
    }

    /// What is in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `kind` is in it.
    pub const fn has(self, kind: CredentialKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are in it.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// What is in it, in the order of [`CredentialKind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = CredentialKind> {
        CredentialKind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// Reads `card` or `face+pin`: any number of kinds, joined by `+`.
    pub fn from_code(text: &str) -> Option<Self> {
        text.split('+').try_fold(Self::NONE, |kinds, code| {
            CredentialKind::from_code(code).filter(|kind| !kinds.has(*kind)).map(|kind| kinds.with(kind))
        })
    }

    /// The alternatives that are part of this set, as the bits of a [`By`].
    pub(super) fn subsets(self) -> u32 {
        SUBSETS.get(usize::from(self.0)).copied().unwrap_or(0)
    }
}

impl From<CredentialKind> for Kinds {
    fn from(kind: CredentialKind) -> Self {
        Self::NONE.with(kind)
    }
}

impl FromIterator<CredentialKind> for Kinds {
    fn from_iter<T: IntoIterator<Item = CredentialKind>>(kinds: T) -> Self {
        kinds.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        self.iter().enumerate().try_for_each(|(index, kind)| {
            f.write_str(if index == 0 { "" } else { "+" })?;
            f.write_str(kind.code())
        })
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The kinds that there were when bits were first written into snapshots.
const FIRST_KINDS: u32 = 6;
/// Alternatives: 7 kinds alone and 21 pairs.
const ALTERNATIVES: usize = 28;

/// Every alternative as a set: the bits of [`By`] are its places here, and a place never changes, for they stand in
/// snapshots. First the first kinds alone, then their pairs; after these each later kind alone, then with each earlier.
#[expect(clippy::indexing_slicing, reason = "worked out by the compiler, which refuses an index that is wrong")]
const SETS: [Kinds; ALTERNATIVES] = {
    let mut sets = [Kinds::NONE; ALTERNATIVES];
    let (mut next, mut count, mut bits) = (0, 1, 1u32);
    while count <= 2 {
        while bits < 1 << FIRST_KINDS {
            if bits.count_ones() == count {
                sets[next] = Kinds(bits as u8);
                next += 1;
            }
            bits += 1;
        }
        count += 1;
        bits = 1;
    }
    let mut kind = FIRST_KINDS;
    while kind < CredentialKind::ALL.len() as u32 {
        sets[next] = Kinds(1 << kind);
        next += 1;
        let mut other = 0;
        while other < kind {
            sets[next] = Kinds(1 << kind | 1 << other);
            next += 1;
            other += 1;
        }
        kind += 1;
    }
    sets
};

/// For each of the 128 sets, the alternatives that are part of it.
#[expect(clippy::indexing_slicing, reason = "worked out by the compiler, which refuses an index that is wrong")]
const SUBSETS: [u32; 128] = {
    let mut table = [0; 128];
    let mut set = 0;
    while set < 128 {
        let mut alternative = 0;
        while alternative < ALTERNATIVES {
            if SETS[alternative].0 & !(set as u8) == 0 {
                table[set] |= 1 << alternative;
            }
            alternative += 1;
        }
        set += 1;
    }
    table
};

/// The bit of `kind` alone.
#[expect(clippy::indexing_slicing, reason = "the loop ends at the kind, which is among the alternatives")]
const fn alone(kind: CredentialKind) -> u32 {
    let mut place = 0;
    while SETS[place].0 != 1 << kind as u8 {
        place += 1;
    }
    1 << place
}

/// Each kind alone.
#[expect(clippy::indexing_slicing, reason = "worked out by the compiler, which refuses an index that is wrong")]
const EACH_ALONE: u32 = {
    let (mut bits, mut place) = (0, 0);
    while place < ALTERNATIVES {
        if SETS[place].0.count_ones() == 1 {
            bits |= 1 << place;
        }
        place += 1;
    }
    bits
};

/// What a rule asks for: alternatives, each one kind or two together.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct By(u32);

impl By {
    /// Any kind alone: what a prohibition means when it names none.
    pub const ANYTHING: Self = Self(EACH_ALONE);
    /// Any kind alone but a plate and a remote act: what a permission means when it names none.
    pub const USUAL: Self = Self(EACH_ALONE & !alone(CredentialKind::Plate) & !alone(CredentialKind::Remote));

    /// With the alternative `kinds` too; `None` unless these are one or two.
    #[must_use]
    pub fn or(self, kinds: impl Into<Kinds>) -> Option<Self> {
        let kinds = kinds.into();
        SETS.iter().position(|set| *set == kinds).map(|place| Self(self.0 | 1 << place))
    }

    /// Whether one of the alternatives is part of `presented`.
    pub fn is_met_by(self, presented: Kinds) -> bool {
        self.0 & presented.subsets() != 0
    }

    /// Whether there is no alternative, so that nothing satisfies it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The alternatives, in an order that does not change from version to version.
    pub fn alternatives(self) -> impl Iterator<Item = Kinds> {
        SETS.into_iter().enumerate().filter(move |(place, _)| self.0 & (1 << place) != 0).map(|(_, set)| set)
    }

    /// What the person at the door could present: everything but an operator's act alone and a remote one alone, which
    /// do not wait for anybody's second credential.
    pub(super) const fn at_the_door(self) -> Self {
        Self(self.0 & !alone(CredentialKind::Manual) & !alone(CredentialKind::Remote))
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// `None` for bits that mean nothing.
    pub(super) fn from_bits(bits: u32) -> Option<Self> {
        (bits >> ALTERNATIVES == 0).then_some(Self(bits))
    }
}

/// Each kind alone is an alternative.
impl FromIterator<CredentialKind> for By {
    fn from_iter<T: IntoIterator<Item = CredentialKind>>(kinds: T) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | alone(kind)))
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        self.alternatives().enumerate().try_for_each(|(index, kinds)| {
            f.write_str(if index == 0 { "" } else { ", " })?;
            fmt::Display::fmt(&kinds, f)
        })
    }
}

impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternative_is_met_by_what_contains_it() {
        for alternative in SETS {
            let by = By::default().or(alternative).unwrap();
            assert_eq!(by.alternatives().collect::<Vec<_>>(), [alternative]);
            for presented in (0..128).map(Kinds) {
                let contains = alternative.iter().all(|kind| presented.has(kind));
                assert_eq!(by.is_met_by(presented), contains, "{by} by {presented}");
            }
        }
        assert_eq!(By::default().or(Kinds::NONE), None);
        assert_eq!(By::default().or(Kinds::from_code("card+pin+qr").unwrap()), None, "three");
        assert!(!By::USUAL.is_met_by(CredentialKind::Plate.into()));
        assert!(By::ANYTHING.is_met_by(CredentialKind::Plate.into()));
        assert!(!By::USUAL.is_met_by(CredentialKind::Remote.into()));
        assert!(By::ANYTHING.is_met_by(CredentialKind::Remote.into()));
    }

    #[test]
    fn places_that_stand_in_snapshots_stay() {
        let place = |code: &str| By::default().or(Kinds::from_code(code).unwrap()).unwrap().bits().trailing_zeros();
        let places = ["qr", "manual", "qr+pin", "qr+card", "pin+card", "face+manual", "remote", "remote+qr"].map(place);
        assert_eq!(places, [0, 5, 6, 7, 8, 20, 21, 22]);
        let all: std::collections::BTreeSet<u8> = SETS.iter().map(|set| set.0).collect();
        assert_eq!(all.len(), ALTERNATIVES, "each once");
    }

    #[test]
    fn codes_are_read_and_printed() {
        assert_eq!(Kinds::from_code("pin+face").unwrap().to_string(), "pin+face");
        assert_eq!(Kinds::from_code("face+pin").unwrap().to_string(), "pin+face", "one order");
        for bad in ["", "+", "card+", "card+card", "Card", "card + pin"] {
            assert_eq!(Kinds::from_code(bad), None, "{bad:?}");
        }
        assert_eq!((Kinds::NONE.to_string(), By::default().to_string()), ("nothing".into(), "nothing".into()));
        assert_eq!(By::USUAL.to_string(), "qr, pin, card, face, manual");
    }
}
