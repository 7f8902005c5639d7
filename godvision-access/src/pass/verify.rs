//! [`PassVerifier`]: what a door needs to know to believe a pass, and no secret among it but the residents'.
//!
//! **Never:** whether the holder may pass (the rules), how often the pass was used ([`crate::spent`]).

use std::time::Duration;

use godvision_core::signal::door::Reason;
use godvision_core::{Name, Secret, WallTime};

use super::rolling::{RollingCode, RollingDefect, RollingVerifier};
use super::{PREFIX, Pass, PublicPassKey, Revocations, TEXT_CHARS_MAX, cose};
use crate::base45;

/// How much earlier than written a pass is believed, if nobody says otherwise: the clock that made it may be ahead of the
/// door's. Nothing is tolerated at its end: who has to be out by noon is not let in at a minute past.
pub const NOT_BEFORE_TOLERANCE: Duration = Duration::from_secs(60);

/// Why a text is no pass of this site. Each is [`Reason::BadPass`] to the person in front of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PassDefect {
    /// It does not begin with [`PREFIX`]: some other code, of a menu or a parcel.
    #[error("the text is not a pass")]
    NotAPass,
    /// A character, a length, an encoding or a claim that no pass has.
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
    /// Signed with a key of this site for another site.
    #[error("the pass is of another site")]
    OtherSite,
    /// It outlives the key that signed it, which that key's ring never lets happen.
    #[error("the pass is valid longer than its key")]
    OutlivesKey,
}

#[derive(Clone, Debug)]
struct KnownKey {
    key: PublicPassKey,
    believed_until: Option<WallTime>,
}

/// The site, the keys whose passes it accepts, the passes that were withdrawn, and the residents' rolling codes.
#[derive(Clone, Debug)]
pub struct PassVerifier {
    site: Name,
    keys: Vec<KnownKey>,
    tolerance: Duration,
    revocations: Revocations,
    rolling: Option<RollingVerifier>,
}

impl PassVerifier {
    /// Believes nothing yet: without a key, no text is a pass of `site`.
    pub fn new(site: Name) -> Self {
        let revocations = Revocations::default();
        Self { site, keys: Vec::new(), tolerance: NOT_BEFORE_TOLERANCE, revocations, rolling: None }
    }

    /// Accepts passes of `key`; replaces the key of the same id.
    #[must_use]
    pub fn with(self, key: PublicPassKey) -> Self {
        self.with_key(key, None)
    }

    /// Accepts passes of `key` that are not valid beyond `until`.
    #[must_use]
    pub fn with_until(self, key: PublicPassKey, until: WallTime) -> Self {
        self.with_key(key, Some(until))
    }

    fn with_key(mut self, key: PublicPassKey, believed_until: Option<WallTime>) -> Self {
        self.remove(key.id());
        self.keys.push(KnownKey { key, believed_until });
        self
    }

    /// Believes a pass so much earlier than it says ([`NOT_BEFORE_TOLERANCE`] if never called).
    #[must_use]
    pub fn with_tolerance(mut self, not_before: Duration) -> Self {
        self.tolerance = not_before;
        self
    }

    /// Accepts these residents' rolling codes.
    #[must_use]
    pub fn with_rolling(mut self, rolling: RollingVerifier) -> Self {
        self.rolling = Some(rolling);
        self
    }

    /// Refuses what `revocations` withdraws.
    #[must_use]
    pub fn with_revocations(mut self, revocations: Revocations) -> Self {
        self.revocations = revocations;
        self
    }

    /// No longer accepts passes of key `id`.
    pub fn remove(&mut self, id: u8) {
        self.keys.retain(|known| known.key.id() != id);
    }

    /// The site whose passes these are.
    pub fn site(&self) -> &Name {
        &self.site
    }

    /// What was withdrawn.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// What was withdrawn, to withdraw more.
    pub fn revocations_mut(&mut self) -> &mut Revocations {
        &mut self.revocations
    }

    /// Reads a pass and verifies its signature and site. Costs one verification (tens of microseconds) and a few
    /// allocations of at most [`TEXT_CHARS_MAX`] bytes.
    ///
    /// # Errors
    /// [`PassDefect`].
    pub fn read(&self, text: &Secret) -> Result<Pass, PassDefect> {
        let coded = text.expose().strip_prefix(PREFIX).ok_or(PassDefect::NotAPass)?;
        if text.expose().len() > TEXT_CHARS_MAX {
            return Err(PassDefect::Damaged);
        }
        let bytes = base45::decode(coded.as_bytes()).ok_or(PassDefect::Damaged)?;
        let message = cose::read(&bytes).ok_or(PassDefect::Damaged)?;
        let key = message.key;
        let known = self.keys.iter().find(|known| known.key.id() == key).ok_or(PassDefect::UnknownKey { key })?;
        let signed = cose::to_be_signed(key, &message.site, &message.claims).map_err(|_| PassDefect::Damaged)?;
        if !known.key.has_signed(&signed, &message.signature) {
            return Err(PassDefect::BadSignature);
        }
        if message.site != self.site {
            return Err(PassDefect::OtherSite);
        }
        if known.believed_until.is_some_and(|until| message.claims.not_after > until) {
            return Err(PassDefect::OutlivesKey);
        }
        Ok(Pass { key, claims: message.claims })
    }

    /// Whether a pass that [`PassVerifier::read`] gave is withdrawn, or not valid at `now`.
    ///
    /// # Errors
    /// [`Reason::Revoked`], [`Reason::NotYetValid`], [`Reason::Expired`].
    pub fn check(&self, pass: &Pass, now: WallTime) -> Result<(), Reason> {
        let tolerance = i64::try_from(self.tolerance.as_micros()).unwrap_or(i64::MAX);
        let (from, until) = (pass.claims.not_before.plus_micros(-tolerance), pass.claims.not_after);
        if self.revocations.of_pass(pass).is_some() {
            Err(Reason::Revoked)
        } else if now < from {
            Err(Reason::NotYetValid)
        } else if now >= until {
            Err(Reason::Expired)
        } else {
            Ok(())
        }
    }

    /// Reads a rolling code: see [`RollingVerifier::read`].
    ///
    /// # Errors
    /// [`RollingDefect`].
    pub fn read_rolling(&self, text: &Secret, now: WallTime) -> Result<RollingCode, RollingDefect> {
        let rolling = self.rolling.as_ref().ok_or(RollingDefect::NotACode)?;
        let code = rolling.read(text, now)?;
        if self.revocations.of_person(&code.person).is_some() {
            return Err(RollingDefect::Revoked);
        }
        Ok(code)
    }
}
