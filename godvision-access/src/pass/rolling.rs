//! Rolling codes: the QR code on a resident's own page, another one every 30 seconds. Structure of RFC 6238 (TOTP).
//!
//! # Format
//! `GVR:` and then 26 bytes in base 45 (RFC 9285): 43 characters of the QR alphanumeric mode, 25 x 25 modules at level L.
//! Integers are big endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0..6 | person: [`NameRef::person`] |
//! | 6..10 | step: whole times 30 seconds since 1970-01-01 UTC |
//! | 10..26 | HMAC-SHA-256 (RFC 2104) under the person's 32 secret bytes, first 16 bytes, over "godvision rolling code 1" 00 site 00 and bytes 0..10 |
//!
//! A form of our own and no COSE_Mac0: only a page of the same site makes these, so no other program gains by an envelope
//! that it knows; and a code of 25 modules is read from 1.6 times as far as one of 45. Unlike a TOTP the text carries its step, so that a code a minute old is told from a guess.
//! Test vectors are in `tests/vectors/passes.txt`.
//!
//! # What is accepted
//! The step of the door's clock and its neighbours (one on each side, [`RollingVerifier::with_skew_steps`]): with the
//! default a code opens for 60 to 90 seconds. It is spent at one door when it has opened it once ([`crate::spent`]);
//! another door on the same way accepts the same code. Which doors, and when, the rules say.
//!
//! **Never:** a secret that leaves the server (the page shows codes), a second opening by one code at one door.

use std::collections::HashMap;
use std::fmt;

use godvision_core::signal::door::Reason;
use godvision_core::{Name, Secret, WallTime};
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use super::NameRef;
use crate::base45;
use crate::error::Error;

/// How a rolling code begins.
pub const ROLLING_PREFIX: &str = "GVR:";
/// Characters of a rolling code.
pub const ROLLING_CHARS: usize = ROLLING_PREFIX.len() + BYTES / 2 * 3;
/// Seconds of one step.
pub const STEP_SECONDS: u32 = 30;
/// Most steps of tolerance on each side: five minutes.
pub const SKEW_STEPS_MAX: u32 = 10;
/// Most persons of one [`RollingVerifier`] (about 15 MB).
pub const ROLLING_PERSONS_MAX: usize = 100_000;

const SKEW_STEPS: u32 = 1;
const MAC_BYTES: usize = 16;
const BODY_BYTES: usize = 10;
const BYTES: usize = BODY_BYTES + MAC_BYTES;
const DOMAIN: &[u8] = b"godvision rolling code 1\0";
const DERIVE_DOMAIN: &[u8] = b"godvision rolling secret 1\0";

/// A resident's secret: 32 bytes, kept sealed by the application. Overwritten when dropped.
#[derive(Clone)]
pub struct RollingSecret([u8; 32]);

impl RollingSecret {
    /// From 32 bytes of good randomness.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret of `person` from one of the site: HMAC-SHA-256 under `master` over "godvision rolling secret 1" 00
    /// person 00 and `generation` in four bytes, big endian. Another generation withdraws the codes of the one before.
    pub fn derived(master: &[u8; 32], person: &Name, generation: u32) -> Self {
        let mac = keyed(master).chain_update(DERIVE_DOMAIN).chain_update(person.as_str()).chain_update([0]);
        Self(mac.chain_update(generation.to_be_bytes()).finalize().into_bytes().into())
    }

    /// The code of `person` at `now`, and the moment from which the page must show another.
    ///
    /// # Errors
    /// [`Error::BadClaims`] outside 1970 to 6053.
    pub fn code(&self, site: &Name, person: &Name, now: WallTime) -> Result<(Secret, WallTime), Error> {
        let step = step_of(now).ok_or(Error::BadClaims { detail: "the clock shows a time before 1970" })?;
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(NameRef::person(person).to_bytes());
        bytes.extend(step.to_be_bytes());
        let mac = self.mac(site, &bytes).finalize().into_bytes();
        bytes.extend(mac.iter().take(MAC_BYTES));
        let mut text = String::with_capacity(ROLLING_CHARS);
        text.push_str(ROLLING_PREFIX);
        base45::encode_into(&bytes, &mut text);
        Ok((Secret::new(text), starts(i64::from(step) + 1)))
    }

    fn mac(&self, site: &Name, body: &[u8]) -> Hmac<Sha256> {
        keyed(&self.0).chain_update(DOMAIN).chain_update(site.as_str()).chain_update([0]).chain_update(body)
    }
}

impl Drop for RollingSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for RollingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rolling secret")
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // RFC 2104 fills a key shorter than a block with zeros.
    let mut block = [0; 64];
    if let Some((front, _)) = block.split_first_chunk_mut() {
        *front = *key;
    }
    let mac = Hmac::new(&block.into());
    block.zeroize();
    mac
}

fn step_of(at: WallTime) -> Option<u32> {
    u32::try_from(at.as_unix_seconds().div_euclid(STEP_SECONDS.into())).ok()
}

fn starts(step: i64) -> WallTime {
    WallTime::from_unix_seconds(step * i64::from(STEP_SECONDS))
}

/// A rolling code whose MAC has been verified and whose step is near enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollingCode {
    /// Whose it is.
    pub person: Name,
    /// Which step: spent once at each door.
    pub step: u32,
    /// From this moment on the step is accepted by no clock that shows the right time.
    pub until: WallTime,
}

/// Why a text is no rolling code that opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RollingDefect {
    /// It does not begin with [`ROLLING_PREFIX`], or nobody has rolling codes here.
    #[error("the text is not a rolling code")]
    NotACode,
    /// A character or a length that no code has.
    #[error("the text of the rolling code is damaged")]
    Damaged,
    /// Nobody has this reference, or the MAC is wrong: one answer for both.
    #[error("the rolling code is wrong")]
    Wrong,
    /// A good code, too old: a photograph, or a page that stands still.
    #[error("the rolling code is too old")]
    TooOld,
    /// A good code of a later step: one of the clocks is wrong.
    #[error("the rolling code is of a time to come")]
    TooEarly,
    /// The person's codes were withdrawn.
    #[error("the person's rolling codes were withdrawn")]
    Revoked,
}

impl RollingDefect {
    /// What the person in front of the door is told.
    pub fn reason(self) -> Reason {
        match self {
            Self::NotACode | Self::Damaged | Self::Wrong => Reason::BadPass,
            Self::TooOld => Reason::Expired,
            Self::TooEarly => Reason::NotYetValid,
            Self::Revoked => Reason::Revoked,
        }
    }
}

/// The residents' secrets of a site, by the reference that their codes carry.
#[derive(Clone)]
pub struct RollingVerifier {
    site: Name,
    skew_steps: u32,
    persons: HashMap<NameRef, (Name, RollingSecret)>,
}

impl RollingVerifier {
    /// Knows nobody yet.
    pub fn new(site: Name) -> Self {
        Self { site, skew_steps: SKEW_STEPS, persons: HashMap::new() }
    }

    /// Accepts so many steps before and after the door's own, at most [`SKEW_STEPS_MAX`]; 1 if never called.
    #[must_use]
    pub fn with_skew_steps(mut self, steps: u32) -> Self {
        self.skew_steps = steps.min(SKEW_STEPS_MAX);
        self
    }

    /// Accepts codes of `person`. Replaces the secret of the same person.
    ///
    /// # Errors
    /// [`Error::PersonAlike`] if the reference of `person` is somebody else's (once in 2^48),
    /// [`Error::RollingFull`] if there are [`ROLLING_PERSONS_MAX`].
    pub fn add(&mut self, person: &Name, secret: RollingSecret) -> Result<(), Error> {
        let reference = NameRef::person(person);
        match self.persons.get(&reference) {
            Some((other, _)) if other != person => {
                return Err(Error::PersonAlike { person: person.clone(), other: other.clone() });
            }
            None if self.persons.len() >= ROLLING_PERSONS_MAX => {
                return Err(Error::RollingFull { limit: ROLLING_PERSONS_MAX });
            }
            _ => {}
        }
        self.persons.insert(reference, (person.clone(), secret));
        Ok(())
    }

    /// No longer accepts codes of `person`.
    pub fn remove(&mut self, person: &Name) {
        self.persons.remove(&NameRef::person(person));
    }

    /// Reads a code and verifies it. The MAC is compared in constant time, and a stranger's reference takes as long as a
    /// wrong MAC. Costs one MAC and one small allocation: a few microseconds.
    ///
    /// # Errors
    /// [`RollingDefect`].
    pub fn read(&self, text: &Secret, now: WallTime) -> Result<RollingCode, RollingDefect> {
        let coded = text.expose().strip_prefix(ROLLING_PREFIX).ok_or(RollingDefect::NotACode)?;
        if text.expose().len() != ROLLING_CHARS {
            return Err(RollingDefect::Damaged);
        }
        let bytes = base45::decode(coded.as_bytes()).ok_or(RollingDefect::Damaged)?;
        let (body, mac) = bytes.split_first_chunk::<BODY_BYTES>().ok_or(RollingDefect::Damaged)?;
        let [p0, p1, p2, p3, p4, p5, step @ ..] = *body;
        let known = self.persons.get(&NameRef::from_bytes([p0, p1, p2, p3, p4, p5]));
        let nobody = RollingSecret([0; 32]);
        let secret = known.map_or(&nobody, |(_, secret)| secret);
        let is_right = secret.mac(&self.site, body).verify_truncated_left(mac).is_ok();
        let (person, _) = known.filter(|_| is_right && mac.len() == MAC_BYTES).ok_or(RollingDefect::Wrong)?;
        let step = u32::from_be_bytes(step);
        let current = step_of(now).ok_or(RollingDefect::TooEarly)?;
        if step < current.saturating_sub(self.skew_steps) {
            return Err(RollingDefect::TooOld);
        }
        if step > current.saturating_add(self.skew_steps) {
            return Err(RollingDefect::TooEarly);
        }
        let until = starts(i64::from(step) + i64::from(self.skew_steps) + 1);
        Ok(RollingCode { person: person.clone(), step, until })
    }
}

/// Counts only.
impl fmt::Debug for RollingVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rolling codes of {} persons", self.persons.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> WallTime {
        WallTime::from_unix_seconds(1_800_000_000 + seconds)
    }

    fn verifier() -> RollingVerifier {
        let mut verifier = RollingVerifier::new(name("home"));
        verifier.add(&name("ada"), RollingSecret::from_bytes([7; 32])).unwrap();
        verifier.add(&name("bob"), RollingSecret::from_bytes([8; 32])).unwrap();
        verifier
    }

    fn code(person: &str, secret: u8, now: WallTime) -> Secret {
        RollingSecret::from_bytes([secret; 32]).code(&name("home"), &name(person), now).unwrap().0
    }

    #[test]
    fn a_code_lives_for_its_step_and_a_neighbour_on_each_side() {
        let text = code("ada", 7, at(0));
        assert_eq!(text.expose().len(), ROLLING_CHARS);
        const { assert!(ROLLING_CHARS <= 47, "25 x 25 modules hold 47 characters at level L") };
        let step = 60_000_000;
        for (seconds, expected) in [
            (-31, Err(RollingDefect::TooEarly)),
            (-30, Ok(step)),
            (0, Ok(step)),
            (59, Ok(step)),
            (60, Err(RollingDefect::TooOld)),
        ] {
            assert_eq!(verifier().read(&text, at(seconds)).map(|it| it.step), expected, "{seconds}");
        }
        let exact = verifier().with_skew_steps(0);
        assert_eq!(exact.read(&text, at(30)), Err(RollingDefect::TooOld));
        let read = exact.read(&text, at(29)).unwrap();
        assert_eq!((read.person, read.until), (name("ada"), at(30)));
        assert!(verifier().with_skew_steps(u32::MAX).read(&text, at(30 * 12)).is_err(), "the skew has an end");
    }

    #[test]
    fn the_page_knows_when_the_next_code_is_due() {
        let secret = RollingSecret::from_bytes([7; 32]);
        let (first, next) = secret.code(&name("home"), &name("ada"), at(12)).unwrap();
        assert_eq!(next, at(30));
        let (second, _) = secret.code(&name("home"), &name("ada"), next).unwrap();
        assert_ne!(first, second);
        assert!(secret.code(&name("home"), &name("ada"), WallTime::from_unix_seconds(-1)).is_err());
    }

    #[test]
    fn a_code_is_one_persons_at_one_site() {
        assert_eq!(verifier().read(&code("bob", 7, at(0)), at(0)), Err(RollingDefect::Wrong), "another's secret");
        assert_eq!(verifier().read(&code("eve", 7, at(0)), at(0)), Err(RollingDefect::Wrong), "a stranger");
        let elsewhere = RollingSecret::from_bytes([7; 32]).code(&name("office"), &name("ada"), at(0)).unwrap().0;
        assert_eq!(verifier().read(&elsewhere, at(0)), Err(RollingDefect::Wrong));
        let mut gone = verifier();
        gone.remove(&name("ada"));
        assert_eq!(gone.read(&code("ada", 7, at(0)), at(0)), Err(RollingDefect::Wrong));
        // The secret of nobody is known to everybody, and is nobody's.
        assert_eq!(verifier().read(&code("eve", 0, at(0)), at(0)), Err(RollingDefect::Wrong));
    }

    #[test]
    fn derived_secrets_differ_by_person_and_generation() {
        let secret = |person, generation| RollingSecret::derived(&[1; 32], &name(person), generation).0;
        assert_ne!(secret("ada", 0), secret("bob", 0));
        assert_ne!(secret("ada", 0), secret("ada", 1));
        assert_eq!(secret("ada", 0), secret("ada", 0));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = code("ada", 7, at(0));
        for position in 0..ROLLING_CHARS {
            for replacement in [b'0', b'A', b':', b'a'] {
                let mut changed = text.expose().as_bytes().to_vec();
                if changed[position] == replacement {
                    continue;
                }
                changed[position] = replacement;
                let changed = Secret::new(String::from_utf8(changed).unwrap());
                assert!(verifier().read(&changed, at(0)).is_err(), "{replacement:?} at {position}");
            }
        }
        let longer = format!("{}0", text.expose());
        assert_eq!(verifier().read(&longer.into(), at(0)), Err(RollingDefect::Damaged));
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", RollingSecret::from_bytes([7; 32])), "rolling secret");
        assert_eq!(format!("{:?}", verifier()), "rolling codes of 2 persons");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(GVR:)?\\PC{0,60}", seconds: i64) {
            prop_assert!(verifier().read(&text.into(), WallTime::from_unix_seconds(seconds)).is_err());
        }
    }
}
