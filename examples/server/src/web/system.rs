//! [`System`]: what the pages and the API need from the running system, in the words of the design.
//!
//! The wiring implements it over the graph; tests implement it over a few values. Everything here is a snapshot: the web
//! layer asks again when somebody looks again.
//!
//! **Never:** HTTP, JSON, roles (the route table owns them), secrets.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use godvision_access::controller::PremisesCommand;
use godvision_access::driver_spec::DriverSpec;
use godvision_access::pass::PassId;
pub use godvision_access::premises::{Failing, Freedom, Mode};
use godvision_access::reader::soft::SoftHandle;
use godvision_core::bus::{ParamSpec, ParamValue};
use godvision_core::journal::BoxFuture;
use godvision_core::signal::door::{AlarmKind, Decision, DoorState, Indication};
use godvision_core::signal::media::{StreamState, VideoFormat};
use godvision_core::signal::seen::{Rest, Tamper};
use godvision_core::{Name, Secret, WallTime};

use crate::notify::telegram::Telegram;
pub use crate::store::Switch;

/// A camera as its owner sees it.
#[derive(Clone, Debug)]
pub struct Camera {
    /// The camera component.
    pub id: Name,
    /// What people call it.
    pub title: String,
    /// What it does.
    pub state: StreamState,
    /// Since when.
    pub since: WallTime,
    /// Stable code of the error behind the state: `auth_failed`, `refused`, ...
    pub code: Option<&'static str>,
    /// The error in words, with what to do; empty if there is none.
    pub detail: String,
    /// What its stream is made of, once known.
    pub format: Option<Arc<VideoFormat>>,
    /// Whether motion is looked for.
    pub detection: bool,
    /// Whether clips are kept and archived.
    pub archive: bool,
    /// What else can be done with its pictures, in the order of the page.
    pub analyses: Vec<Analysis>,
    /// What was left or taken and is still so, oldest first.
    pub rests: Vec<Rest>,
    /// What is wrong with its view.
    pub tampers: Vec<Tamper>,
    /// Whether a clip is being recorded now.
    pub is_recording: bool,
    /// What it counted since it started, as stable name and value: `frames`, `lost_packets`, `reconnects`, ...
    pub counters: Vec<(&'static str, u64)>,
}

/// Something that can be done with a camera's pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// What switches it.
    pub switch: Switch,
    /// Whether it is done.
    pub is_on: bool,
    /// Why it cannot be done, with what to do.
    pub missing: Option<String>,
}

/// What a camera's motion detector watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watching {
    /// `low`, `normal` or `high`.
    pub sensitivity: String,
    /// Zones as the site document has them: `name: x,y x,y x,y` in thousandths of the picture, `!name: ...` is ignored.
    pub zones: Vec<String>,
}

/// Where a clip is on its way to the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClipState {
    /// It still grows.
    Recording,
    /// Complete on the local disk, not yet begun to be stored.
    Waiting,
    /// Being stored.
    Uploading {
        /// 0 to 100.
        percent: u8,
    },
    /// In the archive, verified.
    Archived,
    /// On the local disk; storing it failed in a way that waits for a person.
    Parked {
        /// Why, with what to do.
        why: String,
    },
}

impl ClipState {
    /// `recording`, `waiting`, `uploading`, `archived` or `parked`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Waiting => "waiting",
            Self::Uploading { .. } => "uploading",
            Self::Archived => "archived",
            Self::Parked { .. } => "parked",
        }
    }
}

/// What is recorded for one event.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Never used twice; safe in a URL path once percent-encoded.
    pub id: String,
    /// The camera component it comes from.
    pub camera: Name,
    /// When its first frame was captured.
    pub from: WallTime,
    /// How long it is so far.
    pub duration: Duration,
    /// How large it is so far.
    pub size_bytes: u64,
    /// Frames in it so far.
    pub frames: u64,
    /// How long after its beginning the first motion was seen; `None` if none was.
    pub motion_after: Option<Duration>,
    /// Why it was recorded: `motion`, `door`, `manual`.
    pub cause: String,
    /// Where it is.
    pub state: ClipState,
}

/// Which clips to list: all conditions must hold. Newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClipQuery {
    /// Only of this camera.
    pub camera: Option<Name>,
    /// Not begun before.
    pub from: Option<WallTime>,
    /// Begun before this moment.
    pub to: Option<WallTime>,
    /// Only clips that follow this one in the list: the last id of the page before.
    pub before: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A clip's file, local or in the archive.
pub trait ClipReader: Send + Sync {
    /// Its size now.
    fn size_bytes(&self) -> u64;

    /// Bytes of it; fewer than asked for only at its end.
    ///
    /// # Errors
    /// [`SystemError::Unavailable`] if the disk or archive does not give them.
    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SystemError>>;
}

/// A door as its operator sees it.
#[derive(Clone, Debug)]
pub struct Door {
    /// The door component.
    pub id: Name,
    /// What people call it.
    pub title: String,
    /// What it does.
    pub state: DoorState,
    /// Since when.
    pub since: WallTime,
    /// What its readers show.
    pub indication: Indication,
    /// How long an opening lasts.
    pub open_for: Option<Duration>,
    /// The error behind a fault, in words; empty if there is none.
    pub detail: String,
    /// The last decisions at it, newest first.
    pub decisions: Vec<Decision>,
    /// The cameras that see who stands there, in the order of the site document.
    pub cameras: Vec<Name>,
    /// How it is kept, apart from single openings.
    pub mode: Mode,
    /// Whether its leaf stands open; `None` without a contact.
    pub is_ajar: Option<bool>,
    /// The alarms that stand, a silent one among them: whoever stands at the door must not read of that.
    pub alarms: Vec<AlarmKind>,
}

/// An area and who was last seen in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaNow {
    /// The area.
    pub area: Name,
    /// Who, by name.
    pub inside: Vec<Name>,
}

/// Somebody, or a reader, that is locked out for guessing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedOut {
    /// Which.
    pub who: Failing,
    /// Until when.
    pub until: WallTime,
}

/// How the premises are beside their doors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PremisesNow {
    /// Whether an emergency is declared.
    pub is_emergency: bool,
    /// Every area of the rules.
    pub areas: Vec<AreaNow>,
    /// Who and what is locked out.
    pub locked_out: Vec<LockedOut>,
}

/// A parameter of a door, as a form shows it.
#[derive(Clone, Debug)]
pub struct DoorField {
    /// What it is.
    pub spec: ParamSpec,
    /// What the site document says; never what is secret.
    pub value: Option<ParamValue>,
    /// Whether the document says anything.
    pub is_set: bool,
}

/// Something that a door can be opened by what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorSource {
    /// The output: `qr/yard#sightings`.
    pub output: String,
    /// The door's input that takes it.
    pub input: &'static str,
    /// Whether it does.
    pub is_linked: bool,
}

/// A door as an administrator edits it.
#[derive(Clone, Debug)]
pub struct DoorSetup {
    /// Every parameter of a door.
    pub fields: Vec<DoorField>,
    /// What can be read at it.
    pub sources: Vec<DoorSource>,
}

/// What of a door is to be changed. What is not named stays.
#[derive(Clone, Debug, Default)]
pub struct DoorChange {
    /// Parameters; `None` for as it is when nothing is said.
    pub params: Vec<(String, Option<ParamValue>)>,
    /// The outputs that are read at it from then on; `None` for as it was.
    pub sources: Option<Vec<String>>,
}

/// A relay's address as a form fills it in.
#[derive(Clone, Debug, Default)]
pub struct RelayForm {
    /// The scheme of its driver.
    pub driver: String,
    /// What was filled in.
    pub fields: Vec<(String, Secret)>,
    /// Fields that stay as they are kept, because a form does not show them.
    pub keep: Vec<String>,
}

/// What a form may show of a relay's address: never a password, and no free text, which may hold one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayShown {
    /// The scheme of its driver.
    pub driver: String,
    /// Hosts, numbers, choices.
    pub fields: Vec<(&'static str, String)>,
    /// What else is set.
    pub kept: Vec<&'static str>,
}

/// Which relay is asked.
#[derive(Clone, Debug, Default)]
pub struct RelayAsk {
    /// That of this door.
    pub door: Option<Name>,
    /// An address that counts instead of the door's.
    pub relay: Option<Secret>,
    /// A channel that counts instead of the door's.
    pub channel: Option<i64>,
}

/// What a relay says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayReading {
    /// Whether its contact is on.
    pub is_on: bool,
    /// How long the answer took.
    pub took: Duration,
    /// The driver.
    pub driver: &'static str,
    /// Whether it ends a pulse by itself.
    pub is_timed_by_device: bool,
}

/// Which pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassRef {
    /// The key that signed it.
    pub key: u8,
    /// Its number under that key.
    pub id: PassId,
    /// When it ends.
    pub until: WallTime,
}

/// A keypad on a page: a reader without a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keypad {
    /// The reader component: the source that rules and the journal speak of.
    pub id: Name,
    /// The door it belongs to, if it is linked to one.
    pub door: Option<Name>,
}

/// How messages by Telegram are set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelegramSetup {
    /// Whether the site document has a bot.
    pub is_there: bool,
    /// The Bot API, where it is not Telegram's own.
    pub api: Option<String>,
}

/// How one part of the system is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The component or subsystem.
    pub component: String,
    /// Whether it does what it is for.
    pub is_well: bool,
    /// What is wrong, with what to do; empty if well.
    pub detail: String,
}

/// Why the system did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// There is no such camera, clip or door.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// `camera`, `clip` or `door`.
        what: &'static str,
        /// As it was asked for.
        id: String,
    },
    /// What was asked for is wrong; nothing has changed.
    #[error("{detail}")]
    Refused {
        /// What is wrong and what would be right.
        detail: String,
    },
    /// It exists but cannot serve now.
    #[error("{detail}")]
    Unavailable {
        /// Why, with what to do; never a secret.
        detail: String,
    },
}

/// The running system.
pub trait System: Send + Sync + 'static {
    /// All cameras, in the order of the site document.
    fn cameras(&self) -> Vec<Camera>;

    /// Turns a camera's switch. In force when it returns; keeping it for the next start is the caller's, unless
    /// [`Switch::is_in_document`].
    ///
    /// # Errors
    /// [`SystemError`].
    fn set_switch<'a>(&'a self, camera: &'a Name, switch: Switch, on: bool) -> BoxFuture<'a, Result<(), SystemError>>;

    /// What the camera's motion detector watches.
    ///
    /// # Errors
    /// [`SystemError::NotFound`] if there is no such camera or it has no detector.
    fn watching(&self, camera: &Name) -> Result<Watching, SystemError>;

    /// Makes the camera's motion detector watch this, now and after the next start.
    ///
    /// # Errors
    /// [`SystemError`]; then it watches what it did.
    fn set_watching<'a>(&'a self, camera: &'a Name, watching: Watching) -> BoxFuture<'a, Result<(), SystemError>>;

    /// A page of clips, newest first.
    ///
    /// # Errors
    /// [`SystemError`].
    fn clips(&self, query: ClipQuery) -> BoxFuture<'_, Result<Vec<Clip>, SystemError>>;

    /// Opens a clip's file for reading.
    ///
    /// # Errors
    /// [`SystemError`].
    fn open_clip<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Arc<dyn ClipReader>, SystemError>>;

    /// All doors, in the order of the site document.
    fn doors(&self) -> Vec<Door>;

    /// Presents an operator's own act at a door. The decision has been journalled, and the relay told, when it returns; a
    /// refusal is a [`Decision`], not an error.
    ///
    /// # Errors
    /// [`SystemError`].
    fn open_door<'a>(
        &'a self,
        door: &'a Name,
        operator: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<Decision, SystemError>>;

    /// How often a pass was used; [`u32::MAX`] once that is forgotten, because it has ended.
    ///
    /// # Errors
    /// [`SystemError::Unavailable`].
    fn pass_uses(&self, pass: PassRef) -> BoxFuture<'_, Result<u32, SystemError>>;

    /// Areas, lockouts, emergency.
    fn premises(&self) -> PremisesNow;

    /// Carries out what an operator commands: journalled first, in force when it returns.
    ///
    /// # Errors
    /// [`SystemError::NotFound`] for a door that is not there; [`SystemError::Unavailable`] if it could not be journalled,
    /// or is in force and could not be kept for the next start.
    fn command<'a>(&'a self, command: PremisesCommand, operator: &'a str) -> BoxFuture<'a, Result<(), SystemError>>;

    /// A door as it is edited; without one, a door that is still to be made.
    ///
    /// # Errors
    /// [`SystemError::NotFound`].
    fn door_setup(&self, door: Option<&Name>) -> Result<DoorSetup, SystemError>;

    /// Adds a door to the site document or changes it there, and puts it in force. [`SystemError::Refused`] begins with the
    /// parameter it is about, if it is about one.
    ///
    /// # Errors
    /// [`SystemError`]; then everything is as it was.
    fn put_door<'a>(&'a self, door: &'a Name, change: DoorChange) -> BoxFuture<'a, Result<(), SystemError>>;

    /// Takes a door out of the site document, with its links.
    ///
    /// # Errors
    /// [`SystemError`].
    fn remove_door<'a>(&'a self, door: &'a Name) -> BoxFuture<'a, Result<(), SystemError>>;

    /// Reads a relay's contact now. Moves nothing.
    ///
    /// # Errors
    /// [`SystemError`].
    fn read_relay(&self, ask: RelayAsk) -> BoxFuture<'_, Result<RelayReading, SystemError>>;

    /// Energises a relay's contact for `length`, and ends that itself where the device does not. Whoever calls it has
    /// journalled it first.
    ///
    /// # Errors
    /// [`SystemError`]; [`SystemError::Refused`] while its door is locked down.
    fn pulse_relay(&self, ask: RelayAsk, length: Duration) -> BoxFuture<'_, Result<RelayReading, SystemError>>;

    /// The relay drivers that say what their addresses hold.
    fn relay_drivers(&self) -> Vec<DriverSpec>;

    /// What a form may show of a door's relay; `None` if nothing can be.
    ///
    /// # Errors
    /// [`SystemError`].
    fn relay_shown<'a>(&'a self, door: &'a Name) -> BoxFuture<'a, Result<Option<RelayShown>, SystemError>>;

    /// The address that a form says, with what is kept of that of `door`.
    ///
    /// # Errors
    /// [`SystemError::Refused`] begins with the field: `relay.host: ...`.
    fn relay_address<'a>(
        &'a self,
        door: Option<&'a Name>,
        form: RelayForm,
    ) -> BoxFuture<'a, Result<Secret, SystemError>>;

    /// The keypads on pages, in the order of the site document.
    fn keypads(&self) -> Vec<Keypad> {
        Vec::new()
    }

    /// Where a page presents what is typed at a keypad, and sees what it shows.
    ///
    /// # Errors
    /// [`SystemError::NotFound`].
    fn keypad(&self, id: &Name) -> Result<SoftHandle, SystemError> {
        Err(SystemError::NotFound { what: "keypad", id: id.to_string() })
    }

    /// Adds a keypad to the site document, at `door`, and puts it in force.
    ///
    /// # Errors
    /// [`SystemError`]; then everything is as it was.
    fn add_keypad<'a>(&'a self, id: &'a Name, door: &'a Name) -> BoxFuture<'a, Result<(), SystemError>> {
        let _ = door;
        let refused = SystemError::Refused { detail: format!("{id}: this site has no keypads") };
        Box::pin(async move { Err(refused) })
    }

    /// Takes a keypad out of the site document.
    ///
    /// # Errors
    /// [`SystemError`].
    fn remove_keypad<'a>(&'a self, id: &'a Name) -> BoxFuture<'a, Result<(), SystemError>> {
        let missing = SystemError::NotFound { what: "keypad", id: id.to_string() };
        Box::pin(async move { Err(missing) })
    }

    /// Presents a person's own act from elsewhere at a door, for an application that has authenticated them. As
    /// [`System::open_door`], but with the rights of that person.
    ///
    /// # Errors
    /// [`SystemError`].
    fn open_remotely<'a>(&'a self, door: &'a Name, person: &'a Name) -> BoxFuture<'a, Result<Decision, SystemError>> {
        let _ = person;
        let missing = SystemError::NotFound { what: "door", id: door.to_string() };
        Box::pin(async move { Err(missing) })
    }

    /// The bot that runs, if one is set up.
    fn telegram(&self) -> Telegram {
        Telegram::default()
    }

    /// How the bot is set up.
    fn telegram_setup(&self) -> TelegramSetup {
        TelegramSetup::default()
    }

    /// Puts a bot into the site document, linked from every door, or changes it there; without a token it keeps the one it
    /// has. In force when it returns.
    ///
    /// # Errors
    /// [`SystemError`]; then everything is as it was.
    fn put_telegram(&self, token: Option<Secret>, api: Option<String>) -> BoxFuture<'_, Result<(), SystemError>> {
        let _ = (token, api);
        Box::pin(async { Err(SystemError::Refused { detail: "this site has no messages".to_owned() }) })
    }

    /// Takes the bot out of the site document, with its token.
    ///
    /// # Errors
    /// [`SystemError`].
    fn remove_telegram(&self) -> BoxFuture<'_, Result<(), SystemError>> {
        Box::pin(async { Err(SystemError::NotFound { what: "bot", id: "telegram".to_owned() }) })
    }

    /// How the parts are.
    fn health(&self) -> Vec<Health>;

    /// Counters of ports and components in Prometheus' text format; the web layer adds its own.
    fn metrics(&self) -> String;
}
