//! [`PassKeys`]: the keys of a site that signs, and how one takes over from another.
//!
//! ```text
//! key 1  |--- signs ---|........ believed ........|
//! key 2                |--------- signs ---------|........ believed ........|
//!                   rotation
//! ```
//! A key is believed for the longest validity of a pass after it has signed for the last time, and signs nothing that
//! lasts longer. So a rotation invalidates no pass, and a key that was stolen after it retired makes passes for that rest
//! only; [`super::Revoked::Key`] ends it at once.
//!
//! **Never:** keeping keys (the application keeps seeds and periods sealed), making them.

use std::time::Duration;

use godvision_core::{Name, Secret, WallTime};

use super::{PassClaims, PassKey, PassVerifier};
use crate::error::Error;

/// The longest that a pass is valid after it was made, unless a ring says otherwise: a year and a month.
pub const VALID_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// When a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signing {
    /// From this moment on.
    pub from: WallTime,
    /// Not from this moment on; `None`: until it is followed by another.
    pub until: Option<WallTime>,
}

#[derive(Debug)]
struct RingKey {
    key: PassKey,
    signing: Signing,
}

/// The secret keys of a site: the one that signs, those that will, and those that did.
#[derive(Debug)]
pub struct PassKeys {
    site: Name,
    valid_max: Duration,
    keys: Vec<RingKey>,
}

impl PassKeys {
    /// A ring without keys, for passes of `site` that are valid for at most [`VALID_MAX`].
    pub fn new(site: Name) -> Self {
        Self { site, valid_max: VALID_MAX, keys: Vec::new() }
    }

    /// For passes that are valid for at most `valid_max`. Do not shorten it while passes of a longer period are out.
    #[must_use]
    pub fn with_valid_max(mut self, valid_max: Duration) -> Self {
        self.valid_max = valid_max;
        self
    }

    /// Adds a key that was kept, or the first one.
    ///
    /// # Errors
    /// [`Error::PassKeyTwice`]: a key id is never used again, since passes of both would be taken for one another.
    pub fn add(&mut self, key: PassKey, signing: Signing) -> Result<(), Error> {
        if self.keys.iter().any(|it| it.key.id() == key.id()) {
            return Err(Error::PassKeyTwice { id: key.id() });
        }
        self.keys.push(RingKey { key, signing });
        Ok(())
    }

    /// `next` signs from `at` on, and nobody else does. What was signed stays valid until it expires.
    ///
    /// # Errors
    /// [`Error::PassKeyTwice`].
    pub fn rotate(&mut self, next: PassKey, at: WallTime) -> Result<(), Error> {
        self.add(next, Signing { from: at, until: None })?;
        if let Some((_, before)) = self.keys.split_last_mut() {
            for RingKey { signing, .. } in before {
                signing.until = Some(signing.until.map_or(at, |until| until.min(at)));
            }
        }
        Ok(())
    }

    /// The key that signs at `now`; of several, the one that began last.
    pub fn current(&self, now: WallTime) -> Option<&PassKey> {
        let signs = |it: &&RingKey| it.signing.from <= now && it.signing.until.is_none_or(|until| now < until);
        self.keys.iter().filter(signs).max_by_key(|it| it.signing.from).map(|it| &it.key)
    }

    /// Makes a pass with the current key.
    ///
    /// # Errors
    /// [`Error::NoPassKey`] if no key signs at `now`; [`Error::BadClaims`] also if the pass would be valid longer than the
    /// ring allows.
    pub fn sign(&self, claims: &PassClaims, now: WallTime) -> Result<Secret, Error> {
        let key = self.current(now).ok_or(Error::NoPassKey)?;
        if claims.not_after > self.end_of(now) {
            return Err(Error::BadClaims { detail: "it would be valid longer than passes of this site may be" });
        }
        key.sign(&self.site, claims)
    }

    /// When a pass made at `at` has ended.
    fn end_of(&self, at: WallTime) -> WallTime {
        at.plus_micros(i64::try_from(self.valid_max.as_micros()).unwrap_or(i64::MAX))
    }

    /// What doors need: the public halves of all keys that are still believed.
    pub fn verifier(&self) -> PassVerifier {
        self.keys.iter().fold(PassVerifier::new(self.site.clone()), |verifier, it| match it.signing.until {
            None => verifier.with(it.key.public()),
            Some(until) => verifier.with_until(it.key.public(), self.end_of(until)),
        })
    }

    /// Key ids and when they sign, in the order they were added: for a page, and to keep.
    pub fn periods(&self) -> impl Iterator<Item = (u8, Signing)> {
        self.keys.iter().map(|it| (it.key.id(), it.signing))
    }

    /// Drops the keys of which no pass can be valid any more, and says which. Their ids must not be used again.
    pub fn prune(&mut self, now: WallTime) -> Vec<u8> {
        let is_over = |it: &RingKey| it.signing.until.is_some_and(|until| self.end_of(until) <= now);
        let over: Vec<u8> = self.keys.iter().filter(|it| is_over(it)).map(|it| it.key.id()).collect();
        self.keys.retain(|it| !over.contains(&it.key.id()));
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::{Doors, PassDefect, PassId, Uses};
    use godvision_core::signal::door::Reason;

    const DAY: i64 = 24 * 3600;

    fn day(days: i64) -> WallTime {
        WallTime::from_unix_seconds(1_800_000_000 + days * DAY)
    }

    fn claims(from: i64, until: i64) -> PassClaims {
        PassClaims {
            id: PassId([1; 6]),
            person: None,
            doors: Doors::All,
            not_before: day(from),
            not_after: day(until),
            uses: Uses::Any,
        }
    }

    fn ring() -> PassKeys {
        let mut ring = PassKeys::new("home".parse().unwrap()).with_valid_max(Duration::from_secs(10 * DAY as u64));
        ring.add(PassKey::from_seed(1, &[1; 32]), Signing { from: day(0), until: None }).unwrap();
        ring
    }

    #[test]
    fn a_rotation_invalidates_no_pass_and_ends_the_old_key() {
        let mut ring = ring();
        let old = ring.sign(&claims(4, 14), day(4)).unwrap();
        ring.rotate(PassKey::from_seed(2, &[2; 32]), day(5)).unwrap();
        assert_eq!(ring.current(day(4)).unwrap().id(), 1, "the rotation was planned ahead");
        assert_eq!(ring.current(day(5)).unwrap().id(), 2);
        let new = ring.sign(&claims(5, 15), day(5)).unwrap();
        let verifier = ring.verifier();
        let (old, new) = (verifier.read(&old).unwrap(), verifier.read(&new).unwrap());
        assert_eq!((old.key, new.key), (1, 2));
        assert_eq!(verifier.check(&old, day(13)), Ok(()), "until it expires");
        assert_eq!(verifier.check(&old, day(14)), Err(Reason::Expired));
        // Somebody who has stolen the retired key cannot make passes that outlive it.
        let stolen = PassKey::from_seed(1, &[1; 32]).sign(&"home".parse().unwrap(), &claims(13, 16)).unwrap();
        assert_eq!(verifier.read(&stolen), Err(PassDefect::OutlivesKey));
        assert_eq!((ring.prune(day(14)), ring.prune(day(15))), (vec![], vec![1]));
        let stolen = PassKey::from_seed(1, &[1; 32]).sign(&"home".parse().unwrap(), &claims(13, 15)).unwrap();
        assert_eq!(ring.verifier().read(&stolen), Err(PassDefect::UnknownKey { key: 1 }));
    }

    #[test]
    fn nothing_is_signed_before_after_or_for_longer_than_allowed() {
        let mut ring = ring();
        assert!(matches!(ring.sign(&claims(0, 1), day(-1)), Err(Error::NoPassKey)));
        assert!(matches!(ring.sign(&claims(0, 11), day(0)), Err(Error::BadClaims { .. })));
        assert!(ring.sign(&claims(0, 10), day(0)).is_ok());
        assert!(matches!(ring.rotate(PassKey::from_seed(1, &[3; 32]), day(1)), Err(Error::PassKeyTwice { id: 1 })));
        assert_eq!(ring.current(day(2)).unwrap().id(), 1, "a rotation that was refused changes nothing");
        ring.rotate(PassKey::from_seed(2, &[2; 32]), day(1)).unwrap();
        ring.rotate(PassKey::from_seed(3, &[3; 32]), day(3)).unwrap();
        let periods: Vec<_> = ring.periods().map(|(id, it)| (id, it.from, it.until)).collect();
        assert_eq!(periods, [(1, day(0), Some(day(1))), (2, day(1), Some(day(3))), (3, day(3), None)]);
    }
}
