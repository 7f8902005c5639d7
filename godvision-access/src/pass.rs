//! Signed QR passes, format `GV1`: who, which doors, from when until when, how often; made once, checked offline.
//!
//! # Format
//! A pass is the text `GV1:` followed by 92 bytes in base 45 (RFC 9285): 142 characters, all of the QR alphanumeric
//! mode (37 x 37 modules at level L, 41 x 41 at M). Integers are big endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | key id: which of the site's keys signed it |
//! | 1 | how often it opens; 0: any number of times |
//! | 2..8 | pass id, unique under its key |
//! | 8..14 | person: SHA-256("godvision GV1 person" 00 name), first 6 bytes |
//! | 14..20 | doors: SHA-256("godvision GV1 door" 00 name) or SHA-256("godvision GV1 door group" 00 name), first 6 bytes; all zero: any door |
//! | 20..24 | not before, seconds since 1970-01-01 UTC |
//! | 24..28 | not at or after, likewise; later than not before |
//! | 28..92 | Ed25519 (RFC 8032) signature over "godvision GV1 pass" 00 followed by bytes 0..28 |
//!
//! A name is the UTF-8 text of a [`Name`]. The signature is verified strictly: no small-order keys, no second
//! signature for the same claims. A text that differs in one character is no pass, and there is no second text for one.
//!
//! # Test vector
//! The key whose seed is SHA-256("godvision demo pass key: opens nothing real"), key id 0, pass id `000000000001`,
//! person `ada`, door `yard/door`, 2020-01-01 to 2100-01-01, any number of times:
//! ```
//! # use godvision_access::pass::PassKey;
//! # use godvision_access::pass::{Doors, PassClaims, PassId, Uses};
//! # use godvision_core::WallTime;
//! # let claims = PassClaims {
//! #     id: PassId([0, 0, 0, 0, 0, 1]), person: "ada".parse()?, doors: Doors::One("yard/door".parse()?),
//! #     not_before: WallTime::from_unix_seconds(1_577_836_800), not_after: WallTime::from_unix_seconds(4_102_444_800),
//! #     uses: Uses::Any,
//! # };
//! let text = "GV1:000000000100.XISDF6ZN$7VDYU3%D0+B0KS3-U.:AI055 AN$CC%RSDRJGSQ.JOKKF:OIJUC26FYVU:6WUUFNBJ+GY.D368 6WL$3MWA1JVQ/UO8IC44N NB%2V1CP5OC BUZNHEH";
//! assert_eq!(PassKey::insecure_demo().sign(&claims)?.expose(), text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a signature does not do
//! It does not stop a copy: a photograph of a pass is the pass. [`Uses::Times`] does, if the use is kept durably *before*
//! the relay moves ([`crate::spent`]); doors that cannot reach one another cannot share that count.
//!
//! **Never:** a pass that opens by itself. A pass only says who holds it; the rules decide.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use godvision_core::signal::door::Reason;
use godvision_core::{Name, Secret, WallTime};
use sha2::{Digest, Sha256};

use crate::base45;
use crate::error::Error;

/// How a pass begins.
pub const PREFIX: &str = "GV1:";
/// Characters of a pass.
pub const TEXT_CHARS: usize = PREFIX.len() + BYTES / 2 * 3;
/// Most keys that a [`PassVerifier`] knows: as many as there are key ids.
pub const KEYS_MAX: usize = 256;

const CLAIMS_BYTES: usize = 28;
const SIGNATURE_BYTES: usize = 64;
const BYTES: usize = CLAIMS_BYTES + SIGNATURE_BYTES;
const DOMAIN: &[u8; 19] = b"godvision GV1 pass\0";

/// A pass's number, unique under its key. No secret: it opens nothing without the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PassId(pub [u8; 6]);

/// Twelve hexadecimal digits.
impl fmt::Display for PassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How often a pass opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Uses {
    /// As often as one likes while it is valid.
    Any,
    /// So many times, 1 to 255 (0 cannot be signed).
    Times(u8),
}

/// Which doors a pass is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doors {
    /// One door.
    One(Name),
    /// The doors of a group of the rule document.
    Group(Name),
    /// Every door of the site.
    All,
}

/// What a pass says, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassClaims {
    /// Its number.
    pub id: PassId,
    /// Whose it is.
    pub person: Name,
    /// What it is for.
    pub doors: Doors,
    /// Valid from this second on (fractions are cut off).
    pub not_before: WallTime,
    /// No longer valid from this second on.
    pub not_after: WallTime,
    /// How often it opens.
    pub uses: Uses,
}

/// A name shortened to the 6 bytes that a pass has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameRef([u8; 6]);

impl NameRef {
    const ANY: Self = Self([0; 6]);

    /// The reference of a person.
    pub fn person(name: &Name) -> Self {
        Self::hashed(b"godvision GV1 person\0", name)
    }

    /// The reference of a door.
    pub fn door(name: &Name) -> Self {
        Self::hashed(b"godvision GV1 door\0", name)
    }

    /// The reference of a door group.
    pub fn door_group(name: &Name) -> Self {
        Self::hashed(b"godvision GV1 door group\0", name)
    }

    fn hashed(domain: &[u8], name: &Name) -> Self {
        let hash: [u8; 32] = Sha256::new().chain_update(domain).chain_update(name.as_str()).finalize().into();
        let [a, b, c, d, e, f, ..] = hash;
        Self([a, b, c, d, e, f])
    }
}

/// A pass whose signature has been verified. Whether it is valid now and here is still to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The key that signed it.
    pub key: u8,
    /// Its number under that key.
    pub id: PassId,
    /// Whose it is.
    pub person: NameRef,
    /// Which door or group it is for; see [`Pass::is_for`].
    doors: NameRef,
    /// Valid from this moment on.
    pub not_before: WallTime,
    /// No longer valid from this moment on.
    pub not_after: WallTime,
    /// How often it opens.
    pub uses: Uses,
}

impl Pass {
    /// Checks the period. There is no tolerance: a site whose clocks differ gives its passes a wider period.
    ///
    /// # Errors
    /// [`Reason::NotYetValid`], [`Reason::Expired`].
    pub fn check_time(&self, now: WallTime) -> Result<(), Reason> {
        if now < self.not_before {
            Err(Reason::NotYetValid)
        } else if now >= self.not_after {
            Err(Reason::Expired)
        } else {
            Ok(())
        }
    }

    /// Whether it names `door` or one of `groups`, the door groups that hold it.
    pub fn is_for<'a>(&self, door: &Name, groups: impl IntoIterator<Item = &'a Name>) -> bool {
        self.doors == NameRef::ANY
            || self.doors == NameRef::door(door)
            || groups.into_iter().any(|group| self.doors == NameRef::door_group(group))
    }
}

/// Why a text is no pass of this site. Each is [`Reason::BadPass`] to the person in front of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PassDefect {
    /// It does not begin with [`PREFIX`].
    #[error("the text is not a pass")]
    NotAPass,
    /// A character or a length that no pass has.
    #[error("the text of the pass is damaged")]
    Damaged,
    /// Signed with a key that the verifier does not know.
    #[error("the pass was signed with key {key}, which is not known here")]
    UnknownKey {
        /// The key id.
        key: u8,
    },
    /// The signature does not fit the claims.
    #[error("the signature of the pass is wrong")]
    BadSignature,
    /// Signed, but it makes no sense: it ends before it begins.
    #[error("the pass ends before it begins")]
    BadPeriod,
}

/// The secret half of a site's pass key. Whoever has it can make passes.
pub struct PassKey {
    id: u8,
    key: SigningKey,
}

impl PassKey {
    /// The key `id` from 32 secret bytes of good randomness.
    pub fn from_seed(id: u8, seed: &[u8; 32]) -> Self {
        Self { id, key: SigningKey::from_bytes(seed) }
    }

    /// **Insecure**: key 0 of the demo. Its seed stands in the documentation, so everybody can sign with it. A real
    /// site must never put its public half into a [`PassVerifier`].
    pub fn insecure_demo() -> Self {
        Self::from_seed(0, &Sha256::digest(b"godvision demo pass key: opens nothing real").into())
    }

    /// The half that verifies.
    pub fn public(&self) -> PublicPassKey {
        PublicPassKey { id: self.id, key: self.key.verifying_key() }
    }

    /// Makes a pass. Costs one signature and one allocation.
    ///
    /// # Errors
    /// [`Error::BadClaims`] if the period is empty or outside 1970 to 2106, if it could be used 0 times, or (once in
    /// 2^48 names) if the name of the door shortens to the reference that means any door.
    pub fn sign(&self, claims: &PassClaims) -> Result<Secret, Error> {
        let seconds = |at: WallTime| {
            u32::try_from(at.as_unix_seconds())
                .map_err(|_| Error::BadClaims { detail: "its period reaches outside 1970 to 2106" })
        };
        let (not_before, not_after) = (seconds(claims.not_before)?, seconds(claims.not_after)?);
        if not_before >= not_after {
            return Err(Error::BadClaims { detail: "it ends before it begins" });
        }
        let uses = match claims.uses {
            Uses::Any => 0,
            Uses::Times(0) => return Err(Error::BadClaims { detail: "it could be used 0 times" }),
            Uses::Times(times) => times,
        };
        let doors = match &claims.doors {
            Doors::One(name) => NameRef::door(name),
            Doors::Group(name) => NameRef::door_group(name),
            Doors::All => NameRef::ANY,
        };
        if doors == NameRef::ANY && claims.doors != Doors::All {
            return Err(Error::BadClaims { detail: "the name of its door cannot be used, rename the door" });
        }
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend([self.id, uses]);
        bytes.extend(claims.id.0);
        bytes.extend(NameRef::person(&claims.person).0);
        bytes.extend(doors.0);
        bytes.extend(not_before.to_be_bytes());
        bytes.extend(not_after.to_be_bytes());
        let signature = self.key.sign(&[DOMAIN, bytes.as_slice()].concat());
        bytes.extend(signature.to_bytes());
        let mut text = String::with_capacity(TEXT_CHARS);
        text.push_str(PREFIX);
        base45::encode_into(&bytes, &mut text);
        Ok(Secret::new(text))
    }
}

impl fmt::Debug for PassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret pass key {}", self.id)
    }
}

/// The public half of a pass key: may be shown and copied to every door.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicPassKey {
    id: u8,
    key: VerifyingKey,
}

impl PublicPassKey {
    /// The key `id` from its 32 public bytes.
    ///
    /// # Errors
    /// [`Error::BadPassKey`] if they are no point of the curve, or a weak one.
    pub fn from_bytes(id: u8, bytes: &[u8; 32]) -> Result<Self, Error> {
        let key = VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak());
        key.map(|key| Self { id, key }).ok_or(Error::BadPassKey { id })
    }

    /// Which key it is.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Its 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }
}

impl fmt::Debug for PublicPassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "public pass key {}", self.id)
    }
}

/// The keys whose passes a site accepts.
#[derive(Clone, Debug, Default)]
pub struct PassVerifier {
    keys: Vec<PublicPassKey>,
}

impl PassVerifier {
    /// Accepts passes of `key`; replaces the key of the same id. Without a key, no text is a pass.
    #[must_use]
    pub fn with(mut self, key: PublicPassKey) -> Self {
        self.remove(key.id);
        self.keys.push(key);
        self
    }

    /// No longer accepts passes of key `id`.
    pub fn remove(&mut self, id: u8) {
        self.keys.retain(|key| key.id != id);
    }

    /// Reads a pass and verifies its signature. Costs one verification (tens of microseconds), no allocation.
    ///
    /// # Errors
    /// [`PassDefect`].
    pub fn read(&self, text: &Secret) -> Result<Pass, PassDefect> {
        let coded = text.expose().strip_prefix(PREFIX).ok_or(PassDefect::NotAPass)?;
        let mut bytes = [0; BYTES];
        base45::decode_exact(coded.as_bytes(), &mut bytes).ok_or(PassDefect::Damaged)?;
        let (claims, signature) = bytes.split_first_chunk::<CLAIMS_BYTES>().ok_or(PassDefect::Damaged)?;
        let signature = Signature::from_slice(signature).map_err(|_| PassDefect::BadSignature)?;
        let [id, uses, p0, p1, p2, p3, p4, p5, rest @ ..] = *claims;
        let [w0, w1, w2, w3, w4, w5, d0, d1, d2, d3, d4, d5, rest @ ..] = rest;
        let [n0, n1, n2, n3, e0, e1, e2, e3] = rest;
        let key = self.keys.iter().find(|key| key.id == id).ok_or(PassDefect::UnknownKey { key: id })?;
        let mut signed = [0; DOMAIN.len() + CLAIMS_BYTES];
        if let Some((domain, body)) = signed.split_first_chunk_mut() {
            *domain = *DOMAIN;
            body.copy_from_slice(claims);
        }
        key.key.verify_strict(&signed, &signature).map_err(|_| PassDefect::BadSignature)?;
        let at = |bytes: [u8; 4]| WallTime::from_unix_seconds(i64::from(u32::from_be_bytes(bytes)));
        let (not_before, not_after) = (at([n0, n1, n2, n3]), at([e0, e1, e2, e3]));
        if not_before >= not_after {
            return Err(PassDefect::BadPeriod);
        }
        Ok(Pass {
            key: id,
            id: PassId([p0, p1, p2, p3, p4, p5]),
            person: NameRef([w0, w1, w2, w3, w4, w5]),
            doors: NameRef([d0, d1, d2, d3, d4, d5]),
            not_before,
            not_after,
            uses: if uses == 0 { Uses::Any } else { Uses::Times(uses) },
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims() -> PassClaims {
        PassClaims {
            id: PassId([1, 2, 3, 4, 5, 6]),
            person: Name::new("ada").unwrap(),
            doors: Doors::One(Name::new("yard/door").unwrap()),
            not_before: WallTime::from_unix_seconds(1_000),
            not_after: WallTime::from_unix_seconds(2_000),
            uses: Uses::Times(3),
        }
    }

    fn verifier() -> PassVerifier {
        PassVerifier::default().with(PassKey::insecure_demo().public())
    }

    #[test]
    fn a_pass_says_what_was_signed() {
        let text = PassKey::insecure_demo().sign(&claims()).unwrap();
        assert_eq!(text.expose().len(), TEXT_CHARS);
        const { assert!(TEXT_CHARS <= 154, "37 x 37 modules hold 154 characters at level L") };
        let pass = verifier().read(&text).unwrap();
        assert_eq!((pass.key, pass.id, pass.uses), (0, claims().id, Uses::Times(3)));
        assert_eq!(pass.person, NameRef::person(&claims().person));
        assert!(pass.is_for(&Name::new("yard/door").unwrap(), []));
        assert!(!pass.is_for(&Name::new("yard/gate").unwrap(), [&Name::new("yard/door").unwrap()]));
        for (second, expected) in
            [(999, Err(Reason::NotYetValid)), (1_000, Ok(())), (1_999, Ok(())), (2_000, Err(Reason::Expired))]
        {
            assert_eq!(pass.check_time(WallTime::from_unix_seconds(second)), expected);
        }
    }

    #[test]
    fn groups_and_any_door() {
        let (door, group) = (Name::new("yard/gate").unwrap(), Name::new("yard").unwrap());
        let signed = |doors| {
            let text = PassKey::insecure_demo().sign(&PassClaims { doors, ..claims() }).unwrap();
            verifier().read(&text).unwrap()
        };
        assert!(signed(Doors::Group(group.clone())).is_for(&door, [&group]));
        assert!(!signed(Doors::Group(group.clone())).is_for(&group, []), "a door is not the group of its name");
        assert!(signed(Doors::All).is_for(&door, []));
    }

    #[test]
    fn claims_that_make_no_sense_are_not_signed() {
        let key = PassKey::insecure_demo();
        for bad in [
            PassClaims { not_after: WallTime::from_unix_seconds(1_000), ..claims() },
            PassClaims { not_before: WallTime::from_unix_seconds(-1), ..claims() },
            PassClaims { not_after: WallTime::from_unix_seconds(1 << 32), ..claims() },
            PassClaims { uses: Uses::Times(0), ..claims() },
        ] {
            assert!(matches!(key.sign(&bad), Err(Error::BadClaims { .. })), "{bad:?}");
        }
    }

    #[test]
    fn only_known_keys_count() {
        let text = PassKey::from_seed(7, &[9; 32]).sign(&claims()).unwrap();
        assert_eq!(verifier().read(&text), Err(PassDefect::UnknownKey { key: 7 }));
        let impostor = PassKey::from_seed(0, &[9; 32]).sign(&claims()).unwrap();
        assert_eq!(verifier().read(&impostor), Err(PassDefect::BadSignature));
        let mut none = verifier();
        none.remove(0);
        let text = PassKey::insecure_demo().sign(&claims()).unwrap();
        assert_eq!(none.read(&text), Err(PassDefect::UnknownKey { key: 0 }));
    }

    #[test]
    fn weak_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(matches!(PublicPassKey::from_bytes(3, &identity), Err(Error::BadPassKey { id: 3 })));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = PassKey::insecure_demo().sign(&claims()).unwrap();
        let verifier = verifier();
        for position in 0..text.expose().len() {
            for replacement in ['0', 'A', ':', 'a', 'ä'] {
                let mut changed: Vec<char> = text.expose().chars().collect();
                if changed[position] == replacement {
                    continue;
                }
                changed[position] = replacement;
                let changed: String = changed.into_iter().collect();
                assert!(verifier.read(&changed.as_str().into()).is_err(), "{replacement:?} at {position}");
            }
        }
        for damaged in
            [&text.expose()[..TEXT_CHARS - 1], &format!("{}0", text.expose()), &format!(" {}", text.expose())]
        {
            assert!(verifier.read(&damaged.into()).is_err());
        }
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", PassKey::insecure_demo()), "secret pass key 0");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(GV1:)?\\PC{0,200}") {
            prop_assert!(verifier().read(&text.into()).is_err());
        }
    }
}
