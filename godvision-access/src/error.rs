//! [`enum@Error`]: what goes wrong outside a decision (a decision that goes wrong is a refusal with a reason).

use std::path::PathBuf;

use godvision_core::driver::relay::RelayError;
use godvision_core::{Name, NameError};

/// What went wrong while building rules, a directory, a pass or a relay, or while keeping what was spent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The rule document was refused, whole.
    #[error("line {line}, column {column}, {key}: {fault}")]
    Document {
        /// Line, from 1.
        line: usize,
        /// Character in the line, from 1.
        column: usize,
        /// The key or table it is about.
        key: String,
        /// What is wrong.
        fault: RuleFault,
    },
    /// A rule set built by a program was refused.
    #[error("rule {rule}: {fault}")]
    Rule {
        /// The rule, group or schedule.
        rule: String,
        /// What is wrong.
        fault: RuleFault,
    },
    /// The bytes are no snapshot of rules that can be used.
    #[error("the snapshot of the rules cannot be used: {fault}")]
    Snapshot {
        /// What is wrong.
        fault: SnapshotFault,
    },
    /// The file of rules, or of their snapshot, cannot be read or written.
    #[error("the file of rules {path} cannot be used")]
    RuleFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A pass cannot be made from these claims.
    #[error("the pass cannot be made: {detail}")]
    BadClaims {
        /// What is wrong with them.
        detail: &'static str,
    },
    /// The bytes are no public key, or a weak one.
    #[error("the bytes of pass key {id} are not a usable Ed25519 public key")]
    BadPassKey {
        /// The key id.
        id: u8,
    },
    /// The person is in the directory already.
    #[error("{person} is in the directory already")]
    PersonTwice {
        /// The person.
        person: Name,
    },
    /// A name that rule documents have for everybody.
    #[error("{name} means everybody in rules and can be nobody's name: choose another")]
    PersonReserved {
        /// The name.
        name: Name,
    },
    /// The ring has a key of this id.
    #[error("there is a pass key {id} already, and an id is never used again: take another")]
    PassKeyTwice {
        /// The key id.
        id: u8,
    },
    /// No key of the ring signs now.
    #[error("no pass key signs at this time: add one, or set the clock")]
    NoPassKey,
    /// More passes, keys and persons withdrawn than the list holds.
    #[error("the list of withdrawn passes is full ({limit}): withdraw the key that signed them")]
    RevocationsFull {
        /// How many it holds.
        limit: usize,
    },
    /// More persons with rolling codes than a verifier holds.
    #[error("more than {limit} persons with rolling codes")]
    RollingFull {
        /// How many it holds.
        limit: usize,
    },
    /// A text is too long for any QR code that is drawn here, or has none.
    #[error("no QR code can be drawn: {detail}")]
    BadQr {
        /// Why.
        detail: &'static str,
    },
    /// Rolling codes could not tell two persons apart (once in 2^48).
    #[error("rolling codes cannot tell {person} from {other}: choose another name for one of them")]
    PersonAlike {
        /// The new person.
        person: Name,
        /// Who is there.
        other: Name,
    },
    /// Nobody of this name is in the directory.
    #[error("{person} is not in the directory")]
    NoSuchPerson {
        /// The name.
        person: Name,
    },
    /// Somebody has this card, PIN or plate already.
    #[error("this {kind} belongs to somebody already")]
    KeyTwice {
        /// `card`, `pin` or `plate`.
        kind: &'static str,
    },
    /// No card, PIN or plate looks like this. The text itself is not repeated.
    #[error("this is no {kind}: {detail}")]
    BadKey {
        /// `card`, `pin` or `plate`.
        kind: &'static str,
        /// What is expected.
        detail: &'static str,
    },
    /// A PIN was kept under a hash that is no longer used, so nothing matches it.
    #[error("this PIN was kept in an older way and can never match: set it anew")]
    OldPin,
    /// The address of a relay or reader is not understood.
    #[error("the device's address is wrong: {detail}")]
    BadDeviceUrl {
        /// What is wrong; never the address itself.
        detail: &'static str,
    },
    /// A part of the address of a relay or reader is missing, unknown or out of bounds.
    #[error("the device's address: {field} {expected}")]
    BadDeviceField {
        /// The part: `host`, `channels`, ...
        field: String,
        /// What is wrong with it, or what is expected there; never its value.
        expected: String,
    },
    /// No driver is registered for the scheme of the relay's address.
    #[error("there is no relay driver {scheme:?}; known are: {known}")]
    UnknownRelay {
        /// The scheme asked for.
        scheme: String,
        /// Those registered.
        known: String,
    },
    /// The relay itself failed.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// No driver is registered for the scheme of the reader's address.
    #[error("there is no reader driver {scheme:?}; known are: {known}")]
    UnknownReader {
        /// The scheme asked for.
        scheme: String,
        /// Those registered.
        known: String,
    },
    /// So many credentials wait at a reader of the application that no more is taken, or nobody drives it.
    #[error("the reader takes nothing now: wait a moment")]
    ReaderBusy,
    /// The file of spent passes cannot be read or written. Passes with a count are refused until it can.
    #[error("the file of spent passes {path} cannot be used")]
    SpentFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of spent passes is damaged before its end: somebody has to look.
    #[error("the file of spent passes {path} is damaged at byte {offset}")]
    SpentDamaged {
        /// The file.
        path: PathBuf,
        /// Where the first bad line begins.
        offset: u64,
    },
    /// More spent passes that are still valid than the store holds.
    #[error(
        "the store of spent passes is full ({limit}): give passes shorter periods, or withdraw the key and start a new store"
    )]
    SpentFull {
        /// How many it holds.
        limit: usize,
    },
    /// The file of what happened on the premises cannot be read or written.
    #[error("the file of the premises {path} cannot be used")]
    PremisesFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of what happened on the premises is damaged before its end: somebody has to look.
    #[error("the file of the premises {path} is damaged at byte {offset}")]
    PremisesDamaged {
        /// The file.
        path: PathBuf,
        /// Where the first bad line begins.
        offset: u64,
    },
    /// The journal did not take what had to be journalled first: nothing was done.
    #[error("the journal does not take it, so nothing was done: {detail}")]
    Journal {
        /// What the journal said.
        detail: String,
    },
    /// A lockdown or an emergency is in force though the journal did not take it: it is tried on.
    #[error("it is in force, but the journal did not take it yet: {detail}")]
    NotJournalled {
        /// What the journal said.
        detail: String,
    },
    /// The door is not running.
    #[error("the door does not run")]
    DoorStopped,
}

impl Error {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Relay(error) => error.is_temporary(),
            Self::SpentFile { .. } | Self::PremisesFile { .. } | Self::RuleFile { .. } | Self::Journal { .. } => true,
            Self::DoorStopped | Self::ReaderBusy => true,
            _ => false,
        }
    }
}

/// What is wrong with a snapshot of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFault {
    /// The bytes begin otherwise, or are of a version that this program does not know.
    #[error("this is no snapshot of version 1")]
    NotOne,
    /// There are fewer or more bytes than it says.
    #[error("it has not the length that it says")]
    Cut,
    /// The digest is another one.
    #[error("it is damaged")]
    Damaged,
    /// What it says makes no sense, although its digest is right.
    #[error("it makes no sense before byte {offset}")]
    BadBody {
        /// Where reading stopped.
        offset: usize,
    },
    /// It is too long.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// How long it may be.
        limit: usize,
    },
}

/// What is wrong with a rule, group, schedule or zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// Not TOML.
    #[error("{detail}")]
    Syntax {
        /// What the parser said.
        detail: String,
    },
    /// A version this program does not know.
    #[error("this program reads version 1 of the rules, not {found}")]
    Version {
        /// The version found.
        found: String,
    },
    /// Something is missing.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// A key that means nothing here.
    #[error("this key means nothing here; known are: {known}")]
    UnknownKey {
        /// What could stand there.
        known: String,
    },
    /// A value of another kind.
    #[error("{expected} is expected")]
    Expected {
        /// What.
        expected: &'static str,
    },
    /// A name that is none.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// A word that means all of them, where the name of one is expected.
    #[error("{word} means every {of} and can be the name of none: choose another name")]
    Reserved {
        /// The word.
        word: &'static str,
        /// Of what: `person` or `door`.
        of: &'static str,
    },
    /// The same name or key again.
    #[error("{name} stands there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A zone that is not in the IANA database.
    #[error("there is no time zone {zone:?}; names look like Europe/Berlin")]
    UnknownZone {
        /// The name.
        zone: String,
    },
    /// An interval that is none.
    #[error("{text:?} is no interval: {reason}")]
    BadInterval {
        /// The interval.
        text: String,
        /// Why.
        reason: &'static str,
    },
    /// A text that names no moment.
    #[error("{text:?} is no moment; write 2026-11-21, 2026-11-21T09:30:00 or 2026-11-21T09:30:00Z")]
    NotAMoment {
        /// The text.
        text: String,
    },
    /// A local time that clocks skip or show twice.
    #[error("clocks show {text} never or twice that day; write it with an offset")]
    AmbiguousTime {
        /// The text.
        text: String,
    },
    /// It ends before it begins.
    #[error("it ends before it begins")]
    EmptyPeriod,
    /// A text that names no day.
    #[error("{text:?} is no day of 2020 to 2199; write 2026-12-24, 2026-12-24/2027-01-06, or 12-25 for every year")]
    BadDate {
        /// The text.
        text: String,
    },
    /// A schedule that is not defined.
    #[error("there is no schedule {name:?}{}", mean(near))]
    UnknownSchedule {
        /// The name.
        name: String,
        /// One that is spelt much the same.
        near: Option<String>,
    },
    /// A calendar of holidays that is not defined.
    #[error("there is no calendar {name} in [holidays]{}", mean(near))]
    UnknownCalendar {
        /// The name.
        name: Name,
        /// One that is spelt much the same.
        near: Option<String>,
    },
    /// A group that is not defined.
    #[error("there is no group {name}{}", mean(near))]
    UnknownGroup {
        /// The name.
        name: Name,
        /// One that is spelt much the same.
        near: Option<String>,
    },
    /// An area that is not defined.
    #[error("there is no area {name}")]
    UnknownArea {
        /// The name.
        name: Name,
    },
    /// A door that leads from an area into the same.
    #[error("a door leads from one area into another")]
    SameArea,
    /// A door of an interlock that would at times be free.
    #[error("a door of an interlock cannot be free by schedule or first card")]
    FreeInterlock,
    /// A text that is no length of time, or one that is too long.
    #[error("{text:?} is no length of time; write 30s, 5min or 16h, at most 7 days")]
    NotATime {
        /// The text.
        text: String,
    },
    /// A credential that does not exist.
    #[error(
        "{kind:?} is no credential; write one of qr, pin, card, plate, face, manual, remote, or two of them as card+pin"
    )]
    UnknownKind {
        /// The text.
        kind: String,
    },
    /// More than a limit.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
}

fn mean(near: &Option<String>) -> String {
    near.as_ref().map(|near| format!("; is {near} meant?")).unwrap_or_default()
}
