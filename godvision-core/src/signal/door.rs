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
    /// A person's own act from elsewhere: a button in a messenger. They are not seen at the door; that it is they, the
    /// application has checked.
    Remote {
        /// The person.
        person: Name,
    },
}

impl Key {
    /// `qr`, `pin`, `card`, `plate`, `face`, `manual` or `remote`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Qr(_) => "qr",
            Self::Pin(_) => "pin",
            Self::Card(_) => "card",
            Self::Plate(_) => "plate",
            Self::Face { .. } => "face",
            Self::Manual { .. } => "manual",
            Self::Remote { .. } => "remote",
        }
    }
}

/// Prints the kind, and whom it names if that is no secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Face { person, live } => write!(f, "face {person} (live: {live})"),
            Self::Manual { operator } => write!(f, "manual by {operator:?}"),
            Self::Remote { person } => write!(f, "remote by {person}"),
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
    /// Good, but not enough alone: another credential of the same person is awaited here.
    AwaitsSecond,
    /// Good, but another person must present theirs too (two-person rule).
    AwaitsPerson,
    /// Good, but somebody of the escort must present theirs too.
    AwaitsEscort,
    /// By the last passage this person is already on the other side (anti-passback).
    PassedBack,
    /// The area behind the door holds as many as it may.
    AreaFull,
    /// Another door of the same interlock is not shut.
    Interlocked,
    /// The door is locked down.
    LockedDown,
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
            Self::AwaitsSecond => "awaits_second",
            Self::AwaitsPerson => "awaits_person",
            Self::AwaitsEscort => "awaits_escort",
            Self::PassedBack => "passed_back",
            Self::AreaFull => "area_full",
            Self::Interlocked => "interlocked",
            Self::LockedDown => "locked_down",
            Self::NoDoor => "no_door",
            Self::UnknownTime => "unknown_time",
            Self::Fault => "fault",
        }
    }
}

impl Reason {
    /// Whether nothing is wrong and something more is awaited: no refusal to the person, though nothing opens yet.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::AwaitsSecond | Self::AwaitsPerson | Self::AwaitsEscort)
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
            Self::AwaitsSecond => "now present the second credential",
            Self::AwaitsPerson => "now a second person must present theirs",
            Self::AwaitsEscort => "now an escort must present theirs",
            Self::PassedBack => "by the last passage this person is already on the other side",
            Self::AreaFull => "the area is full",
            Self::Interlocked => "another door of the interlock is not shut",
            Self::LockedDown => "the door is locked down",
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
    /// Who else is let in by it: the first of two persons, visitors with their escort.
    pub with: Vec<Name>,
    /// `qr`, `pin`, ... ([`Key::kind`]).
    pub credential: &'static str,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The rule that decided, if one did.
    pub rule: Option<Name>,
    /// Why an operator opened by hand, in their words.
    pub note: Option<String>,
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
    /// Unlocked until told otherwise: free passage.
    Free,
    /// Locked down: nothing but an override opens it.
    LockedDown,
    /// A command failed and the relay's state could not be confirmed: somebody must look.
    Fault,
}

impl DoorState {
    /// Stable code for APIs and messages: `locked`, `locked_down`, ...
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Locked => "locked",
            Self::Unlocking => "unlocking",
            Self::Unlocked => "unlocked",
            Self::Free => "free",
            Self::LockedDown => "locked_down",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for DoorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Locked => "locked",
            Self::Unlocking => "unlocking",
            Self::Unlocked => "unlocked",
            Self::Free => "free",
            Self::LockedDown => "locked down",
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
    /// Red and green in turn: another credential or another person is awaited.
    Awaiting,
    /// Green: open.
    Open,
    /// Red blinking with a beep a second: the door stands open too long, shut it.
    Held,
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

/// What an input of a door says: a contact in its frame, a button beside it, the lid of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoorSense {
    /// The contact in the frame: the leaf stands open (`true`) or is shut.
    Ajar(bool),
    /// Somebody pressed the button to get out, or stands before the motion sensor inside.
    ExitRequested,
    /// The lid of a device was opened (`true`) or is shut again.
    Tampered(bool),
}

/// Something that a door's inputs say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorInput {
    /// The reader, relay or other component that saw it.
    pub source: Name,
    /// What.
    pub sense: DoorSense,
    /// When.
    pub at: Stamp,
}
signal!(DoorInput, "door-input", 1);

/// What is wrong at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// It was opened though nobody had unlocked it.
    Forced,
    /// It stands open longer than it may.
    Held,
    /// Somebody was made to open it. Silent: nothing at the door shows it.
    Duress,
    /// Too many wrong credentials at one reader or of one person.
    Guessing,
    /// Somebody passed twice in one direction where that is only noted.
    PassedBack,
    /// A device at the door is opened or not answering.
    Tampered,
    /// Everything is unlocked because of an emergency.
    Emergency,
}

impl AlarmKind {
    /// Stable code: `forced`, `held`, `duress`, ...
    pub fn code(self) -> &'static str {
        match self {
            Self::Forced => "forced",
            Self::Held => "held",
            Self::Duress => "duress",
            Self::Guessing => "guessing",
            Self::PassedBack => "passed_back",
            Self::Tampered => "tampered",
            Self::Emergency => "emergency",
        }
    }

    /// Whether nothing at the door may show it.
    pub fn is_silent(self) -> bool {
        self == Self::Duress
    }
}

/// Something is wrong at a door, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorAlarm {
    /// The door.
    pub door: Name,
    /// What is wrong.
    pub kind: AlarmKind,
    /// `true`: from now on; `false`: it is over.
    pub raised: bool,
    /// Whom it concerns, if anybody is known.
    pub person: Option<Name>,
    /// When.
    pub at: Stamp,
}
signal!(DoorAlarm, "door-alarm", 1);

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
