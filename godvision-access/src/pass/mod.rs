//! Passes: signed QR codes of guests ([`PassKey`], [`PassVerifier`]) and rolling codes of residents ([`rolling`]).
//!
//! A guest's pass says whose it is, which doors it is for, from when until when and how often; it is made once and checked
//! without a network. A resident's code is made anew every 30 seconds and lives for about a minute.
//!
//! # Format of a guest's pass
//! `GV2:` and then, in base 45 (RFC 9285), a COSE_Sign1 (RFC 9052) that holds a CWT (RFC 8392): the way of the European
//! health certificate (`HC1:`), without its compression, which gains nothing on a signature. All characters are of the
//! QR alphanumeric mode. Everything is in the deterministic encoding of RFC 8949, section 4.2.1, and is accepted in no
//! other; hence a pass has one text.
//!
//! | part | content |
//! |---|---|
//! | tag | 18 (COSE_Sign1); no CWT tag |
//! | protected headers | `{1: -8, 4: kid}`: EdDSA with Ed25519; the key id, one byte |
//! | unprotected headers | `{}` |
//! | payload | the claims below |
//! | signature | Ed25519 (RFC 8032) over the Sig_structure of RFC 9052, section 4.4; external data is empty |
//!
//! | claim | | value |
//! |---|---|---|
//! | 2 `sub` | optional | the person's [`Name`]; a pass without it is for whoever holds it |
//! | 3 `aud` | | the site's [`Name`]: a pass of another site is refused, even under the same key |
//! | 4 `exp` | | seconds since 1970-01-01 UTC, 0 to 2^32 - 1: no longer valid from then on |
//! | 5 `nbf` | | likewise: valid from then on; earlier than `exp` |
//! | 7 `cti` | | 6 bytes, the pass id, unique under its key |
//! | -65537 | | doors: `"yard/door"` or `"group:yard"` or `"any"`, or a list of 2 to 8 doors (no groups) |
//! | -65538 | optional | how often it opens, 1 to 255; without it: any number of times |
//!
//! -8 is what libraries know; RFC 9864 has since given Ed25519 a number of its own, which is not accepted here. There are no
//! other claims and headers. The signature is verified strictly: no small-order keys, no second signature
//! for the same claims. The text has at most [`TEXT_CHARS_MAX`] characters (57 x 57 modules); one with short names has
//! about 200 (45 x 45).
//!
//! The format of rolling codes stands in [`rolling`]. Test vectors of both, good and bad, are in
//! `tests/vectors/passes.txt`.
//!
//! # Test vector
//! The key whose seed is SHA-256("godvision demo pass key: opens nothing real"), key id 0, site `demo`, pass id
//! `000000000001`, person `ada`, door `yard/door`, 2020-01-01 to 2100-01-01, any number of times:
//! ```
//! # use godvision_access::pass::{Doors, PassClaims, PassId, PassKey, Uses};
//! # use godvision_core::WallTime;
//! # let claims = PassClaims {
//! #     id: PassId([0, 0, 0, 0, 0, 1]), person: Some("ada".parse()?), doors: Doors::One("yard/door".parse()?),
//! #     not_before: WallTime::from_unix_seconds(1_577_836_800), not_after: WallTime::from_unix_seconds(4_102_444_800),
//! #     uses: Uses::Any,
//! # };
//! let text = "GV2:RRQ$-8P609O0P30U6BI:KGPC2VCDJ06VCP$DFN03-U.:A1T00+B0KSH-0000000100/E7V50F20NFFYKER:5.3EMKEN88JR6WYLE.TD-1NM8$V5A259W8$HMSMTHK5PSMYLQ%XAHIBOPL0HU.QGN7NM5F7JK$8ILVE+J4QEPAKOMM9WA4*Y5ZIA6HMD0";
//! assert_eq!(PassKey::insecure_demo().sign(&"demo".parse()?, &claims)?.expose(), text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a signature does not do
//! It does not stop a copy: a photograph of a pass is the pass. [`Uses::Times`] does, if the use is kept durably *before*
//! the relay moves ([`crate::spent`]); doors that cannot reach one another cannot share that count.
//!
//! # Keys
//! [`PassKeys`] is the ring of a site that signs: one key signs at a time, a new one takes over at a moment, and what the
//! old one signed stays valid until it expires. [`Revocations`] withdraws single passes, keys and persons.
//!
//! **Never:** a pass that opens by itself. A pass only says who holds it; the rules decide.

mod cbor;
mod cose;
mod key;
#[cfg(feature = "qr-image")]
pub mod qr;
mod revocation;
mod ring;
pub mod rolling;
mod verify;

use std::fmt;

use godvision_core::{Name, WallTime};
use sha2::{Digest, Sha256};

pub use key::{PassKey, PublicPassKey};
pub use revocation::{REASON_CHARS_MAX, REVOCATIONS_MAX, Revocation, Revocations, Revoked};
pub use ring::{PassKeys, Signing, VALID_MAX};
pub use verify::{NOT_BEFORE_TOLERANCE, PassDefect, PassVerifier};

/// How a guest's pass begins.
pub const PREFIX: &str = "GV2:";
/// Most characters of a pass: what 57 x 57 modules (version 10) hold at level L. Larger codes are read from too near only.
pub const TEXT_CHARS_MAX: usize = 395;
/// Most doors that one pass names one by one.
pub const DOORS_MAX: usize = 8;
/// Most keys that a [`PassVerifier`] knows: as many as there are key ids.
pub const KEYS_MAX: usize = 256;

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
    /// 2 to [`DOORS_MAX`] doors: the gate and the house.
    Each(Vec<Name>),
    /// The doors of a group of the rule document.
    Group(Name),
    /// Every door of the site.
    All,
}

impl Doors {
    /// Whether `door` is among them; `groups` are the door groups that hold it.
    pub fn has<'a>(&self, door: &Name, groups: impl IntoIterator<Item = &'a Name>) -> bool {
        match self {
            Self::One(one) => one == door,
            Self::Each(each) => each.contains(door),
            Self::Group(group) => groups.into_iter().any(|it| it == group),
            Self::All => true,
        }
    }
}

/// What a pass says, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassClaims {
    /// Its number.
    pub id: PassId,
    /// Whose it is; `None` for whoever holds it, whom only rules for `anyone` admit.
    pub person: Option<Name>,
    /// What it is for.
    pub doors: Doors,
    /// Valid from this second on (fractions are cut off).
    pub not_before: WallTime,
    /// No longer valid from this second on.
    pub not_after: WallTime,
    /// How often it opens.
    pub uses: Uses,
}

/// A name shortened to 6 bytes, for codes that have no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameRef([u8; 6]);

impl NameRef {
    /// The reference of a person: SHA-256("godvision person" 00 name), first 6 bytes.
    pub fn person(name: &Name) -> Self {
        Self::hashed(b"godvision person\0", name)
    }

    /// The reference of a door: SHA-256("godvision door" 00 name), first 6 bytes.
    pub fn door(name: &Name) -> Self {
        Self::hashed(b"godvision door\0", name)
    }

    fn hashed(domain: &[u8], name: &Name) -> Self {
        let hash: [u8; 32] = Sha256::new().chain_update(domain).chain_update(name.as_str()).finalize().into();
        let [a, b, c, d, e, f, ..] = hash;
        Self([a, b, c, d, e, f])
    }

    /// The six bytes.
    pub fn to_bytes(self) -> [u8; 6] {
        self.0
    }

    pub(crate) fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }
}

/// A pass whose signature has been verified. Whether it is valid now and here is still to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The key that signed it.
    pub key: u8,
    /// What it says.
    pub claims: PassClaims,
}

impl Pass {
    /// Its number under its key.
    pub fn id(&self) -> PassId {
        self.claims.id
    }

    /// Whether it is for `door`; `groups` are the door groups that hold it.
    pub fn is_for<'a>(&self, door: &Name, groups: impl IntoIterator<Item = &'a Name>) -> bool {
        self.claims.doors.has(door, groups)
    }
}
