//! [`Revocations`]: passes that were withdrawn before their time, by pass, by key or by person, with reason and time.
//!
//! The list lives in memory; the application keeps it and gives it to every door. Because a pass ends by itself, its entry
//! need not be kept for ever: [`Revocations::prune`] drops what cannot be valid any more.
//!
//! Cards, PINs and plates are withdrawn in the directory ([`crate::credential::Directory::revoke_key`]); a person who is
//! withdrawn there has no passes either.
//!
//! **Never:** a withdrawal that is taken back by itself, the text of a pass.

use std::collections::BTreeMap;
use std::time::Duration;

use godvision_core::{Name, WallTime};

use super::{Pass, PassId};
use crate::error::Error;

/// Most withdrawals of one list (about 20 MB).
pub const REVOCATIONS_MAX: usize = 100_000;
/// Most characters of a reason.
pub const REASON_CHARS_MAX: usize = 200;
/// A pass's entry is kept so long after the pass has ended: a clock that is wrong by less does not revive it.
const KEPT_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// One pass.
    Pass {
        /// The key that signed it.
        key: u8,
        /// Its number under that key.
        id: PassId,
    },
    /// Everything that a key has signed.
    Key(u8),
    /// Every pass and rolling code of a person.
    Person(Name),
}

/// When and why something was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: WallTime,
    /// Why, in the operator's words: at most [`REASON_CHARS_MAX`] characters are kept.
    pub reason: String,
    /// When it would have ended anyhow (`not_after` of a pass); `None`: the entry is kept for ever.
    pub until: Option<WallTime>,
}

/// What was withdrawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations(BTreeMap<Revoked, Revocation>);

impl Revocations {
    /// Withdraws `what`. A second withdrawal of the same replaces reason and time.
    ///
    /// # Errors
    /// [`Error::RevocationsFull`] if there are [`REVOCATIONS_MAX`] already: prune, or withdraw the key.
    pub fn add(&mut self, what: Revoked, mut revocation: Revocation) -> Result<(), Error> {
        if self.0.len() >= REVOCATIONS_MAX && !self.0.contains_key(&what) {
            return Err(Error::RevocationsFull { limit: REVOCATIONS_MAX });
        }
        if let Some((end, _)) = revocation.reason.char_indices().nth(REASON_CHARS_MAX) {
            revocation.reason.truncate(end);
        }
        self.0.insert(what, revocation);
        Ok(())
    }

    /// Takes a withdrawal back.
    pub fn remove(&mut self, what: &Revoked) -> Option<Revocation> {
        self.0.remove(what)
    }

    /// Why `pass` is withdrawn: itself, its key or its person.
    pub fn of_pass(&self, pass: &Pass) -> Option<&Revocation> {
        let by_pass = self.0.get(&Revoked::Pass { key: pass.key, id: pass.claims.id });
        let by_key = || self.0.get(&Revoked::Key(pass.key));
        let by_person = || pass.claims.person.as_ref().and_then(|person| self.of_person(person));
        by_pass.or_else(by_key).or_else(by_person)
    }

    /// Why every pass of `person` is withdrawn.
    pub fn of_person(&self, person: &Name) -> Option<&Revocation> {
        self.0.get(&Revoked::Person(person.clone()))
    }

    /// Drops what has ended more than 30 days ago, and says how many entries that were. Passes beyond their end are
    /// refused without it; a clock that ran years ahead while this was called could revive one.
    pub fn prune(&mut self, now: WallTime) -> usize {
        let before = self.0.len();
        let kept_micros = i64::try_from(KEPT_AFTER.as_micros()).unwrap_or(i64::MAX);
        self.0.retain(|_, it| it.until.is_none_or(|until| now < until.plus_micros(kept_micros)));
        before - self.0.len()
    }

    /// Everything withdrawn: passes, then keys, then persons.
    pub fn iter(&self) -> impl Iterator<Item = (&Revoked, &Revocation)> {
        self.0.iter()
    }

    /// How many withdrawals.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is withdrawn.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::{Doors, PassClaims, Uses};

    fn at(seconds: i64) -> WallTime {
        WallTime::from_unix_seconds(seconds)
    }

    fn pass(key: u8, id: u8, person: Option<&str>) -> Pass {
        let claims = PassClaims {
            id: PassId([0, 0, 0, 0, 0, id]),
            person: person.map(|it| it.parse().unwrap()),
            doors: Doors::All,
            not_before: at(0),
            not_after: at(1_000),
            uses: Uses::Any,
        };
        Pass { key, claims }
    }

    fn lost(until: Option<i64>) -> Revocation {
        Revocation { at: at(500), reason: "lost".into(), until: until.map(at) }
    }

    #[test]
    fn a_pass_falls_with_itself_its_key_or_its_person() {
        let shown = pass(1, 7, Some("ada"));
        let [one, key] = [Revoked::Pass { key: 1, id: shown.claims.id }, Revoked::Key(1)];
        for what in [one, key, Revoked::Person("ada".parse().unwrap())] {
            let mut list = Revocations::default();
            assert_eq!(list.of_pass(&shown), None);
            list.add(what.clone(), lost(None)).unwrap();
            assert_eq!(list.of_pass(&shown), Some(&lost(None)), "{what:?}");
            assert_eq!(list.of_pass(&pass(2, 7, Some("bob"))), None);
            assert_eq!(list.of_pass(&pass(2, 7, None)), None);
            assert_eq!(list.remove(&what), Some(lost(None)));
            assert_eq!(list.of_pass(&shown), None);
        }
    }

    #[test]
    fn what_has_ended_is_dropped_a_month_later() {
        let mut list = Revocations::default();
        list.add(Revoked::Pass { key: 1, id: PassId([1; 6]) }, lost(Some(1_000))).unwrap();
        list.add(Revoked::Key(9), lost(None)).unwrap();
        let month = 30 * 24 * 3600;
        assert_eq!(list.prune(at(1_000 + month - 1)), 0);
        assert_eq!((list.prune(at(1_000 + month)), list.len()), (1, 1));
        assert_eq!(list.prune(at(1 << 40)), 0, "a key stays withdrawn");
    }

    #[test]
    fn the_list_has_an_end_and_so_has_a_reason() {
        let mut list = Revocations::default();
        let nth = |n: usize| Revoked::Pass { key: 0, id: PassId((n as u64).to_be_bytes()[2..].try_into().unwrap()) };
        for n in 0..REVOCATIONS_MAX {
            list.add(nth(n), lost(Some(1_000))).unwrap();
        }
        assert!(matches!(list.add(nth(REVOCATIONS_MAX), lost(None)), Err(Error::RevocationsFull { .. })));
        let long = Revocation { reason: "ж".repeat(REASON_CHARS_MAX + 1), ..lost(None) };
        list.add(nth(0), long).unwrap();
        assert_eq!(list.iter().next().unwrap().1.reason.chars().count(), REASON_CHARS_MAX);
    }
}
