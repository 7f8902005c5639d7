//! What passes between readers, rules and doors: [`Credential`], [`Decision`], [`DoorEvent`].

use std::fmt;
use std::time::Duration;

use super::signal;
use crate::name::Name;
use crate::secret::Secret;
use crate::time::Stamp;

/// What a person showed, as it was read. Nothing here has been believed yet.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Key {
    /// The text of a QR code held up to a camera.
    Qr(Secret),
    /// Digits typed on a keypad.
    Pin(Secret),
    /// A card's number as its reader gives it, upper-case hexadecimal.
    Card(Secret),
    /// A number plate, upper case, Latin letters.
    Plate(Secret),
    /// A face the gallery knows; opens nothing unless `live` is true.
    Face {
        /// The gallery's identifier of the person.
        person: Name,
        /// Whether a liveness check passed.
        live: bool,
    },
    /// An operator's own act, by the name they are signed in with.
    Manual {
        /// The operator.
        operator: String,
    },
}

impl Key {
    /// `qr`, `pin`, `card`, `plate`, `face` or `manual`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Qr(_) => "qr",
            Self::Pin(_) => "pin",
            Self::Card(_) => "card",
            Self::Plate(_) => "plate",
            Self::Face { .. } => "face",
            Self::Manual { .. } => "manual",
        }
    }
}

/// Prints the kind, and whom it names if that is no secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Face { person, live } => write!(f, "face {person} (live: {live})"),
            Self::Manual { operator } => write!(f, "manual by {operator:?}"),
            other => f.write_str(other.kind()),
        }
    }
}

/// Something presented at a source: the dissertation's `{source id, key data}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Where it was presented: the reader or camera component.
    pub source: Name,
    /// What was presented.
    pub key: Key,
    /// When: for a camera, the capture time of the frame.
    pub at: Stamp,
}
signal!(Credential, "credential", 1);

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The door may be opened.
    Admit,
    /// It may not.
    Refuse,
}

/// Why a decision fell as it did. Exhaustive on purpose: whoever shows decisions must know them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A permitting rule matched and no forbidding one.
    Permitted,
    /// A forbidding rule matched.
    Forbidden,
    /// No rule matched: the default is no.
    NoRule,
    /// Nobody has this credential.
    UnknownCredential,
    /// The credential belongs to somebody but has been withdrawn.
    Revoked,
    /// The pass is not valid yet.
    NotYetValid,
    /// The pass is no longer valid.
    Expired,
    /// The pass has been used as often as it may.
    Spent,
    /// The text is no pass, or its signature is not ours.
    BadPass,
    /// The pass does not name this door.
    WrongDoor,
    /// A face without a passed liveness check.
    NotLive,
    /// This kind of credential may not open this door alone.
    NotEnough,
    /// Too many failures: the source waits.
    LockedOut,
    /// No door belongs to this source.
    NoDoor,
    /// The calendar is not known well enough to decide.
    UnknownTime,
    /// Something failed inside (a store, the journal): refused to be safe.
    Fault,
}

impl Reason {
    /// Stable code for the journal and API: `permitted`, `forbidden`, `no_rule`, ...
    pub fn code(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Forbidden => "forbidden",
            Self::NoRule => "no_rule",
            Self::UnknownCredential => "unknown_credential",
            Self::Revoked => "revoked",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Spent => "spent",
            Self::BadPass => "bad_pass",
            Self::WrongDoor => "wrong_door",
            Self::NotLive => "not_live",
            Self::NotEnough => "not_enough",
            Self::LockedOut => "locked_out",
            Self::NoDoor => "no_door",
            Self::UnknownTime => "unknown_time",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permitted => "a rule permits it",
            Self::Forbidden => "a rule forbids it",
            Self::NoRule => "no rule permits it",
            Self::UnknownCredential => "nobody has this credential",
            Self::Revoked => "the credential was withdrawn",
            Self::NotYetValid => "the pass is not valid yet",
            Self::Expired => "the pass has expired",
            Self::Spent => "the pass has already been used",
            Self::BadPass => "not a pass of this site",
            Self::WrongDoor => "the pass is for another door",
            Self::NotLive => "no liveness check passed",
            Self::NotEnough => "this credential does not open this door alone",
            Self::LockedOut => "too many failures, wait",
            Self::NoDoor => "no door belongs to this reader",
            Self::UnknownTime => "the time of day is not known",
            Self::Fault => "something failed inside, refused to be safe",
        })
    }
}

/// What was decided about one credential at one door: the dissertation's `{source, user, event}` with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The source of the credential.
    pub source: Name,
    /// The door asked for, if the source has one.
    pub door: Option<Name>,
    /// Whose credential it is, if anybody's.
    pub user: Option<Name>,
    /// `qr`, `pin`, ... ([`Key::kind`]).
    pub credential: &'static str,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The rule that decided, if one did.
    pub rule: Option<Name>,
    /// When the credential was presented.
    pub presented: Stamp,
    /// When it was decided.
    pub decided: Stamp,
}
signal!(Decision, "decision", 1);

/// What a door is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoorState {
    /// Nothing is known yet: after start, or the relay does not answer.
    Unknown,
    /// Locked.
    Locked,
    /// A command is on its way to the relay.
    Unlocking,
    /// Unlocked for a while.
    Unlocked,
    /// A command failed and the relay's state could not be confirmed: somebody must look.
    Fault,
}

impl fmt::Display for DoorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Locked => "locked",
            Self::Unlocking => "unlocking",
            Self::Unlocked => "unlocked",
            Self::Fault => "fault",
        })
    }
}

/// What a reader shows the person in front of it (the dissertation's `LikReader` and `LikLock`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Indication {
    /// Red steady: ready for a credential.
    Ready,
    /// All off: a credential is being checked.
    Busy,
    /// Green: open.
    Open,
    /// Three beeps with a red blink each, then [`Indication::Ready`].
    Refused,
}

/// A change at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorEvent {
    /// The door.
    pub door: Name,
    /// When.
    pub at: Stamp,
    /// What it does now.
    pub state: DoorState,
    /// What its readers show now.
    pub indication: Indication,
    /// For [`DoorState::Unlocked`]: how long.
    pub open_for: Option<Duration>,
    /// The error behind a fault, in words; never a secret.
    pub detail: String,
}
signal!(DoorEvent, "door-event", 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_print_their_secrets() {
        for key in [Key::Qr("s3cret".into()), Key::Pin("s3cret".into()), Key::Card("s3cret".into())] {
            assert!(!format!("{key:?}").contains("s3cret"));
        }
    }
}
