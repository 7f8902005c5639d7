//! [`Doors`]: the doors that run, for pages and programs.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use godvision_core::Name;
use godvision_core::signal::door::{AlarmKind, Credential, Decision, DoorEvent, DoorSense, Key};
use godvision_core::time::Stamp;
use tokio::sync::{mpsc, oneshot};

use super::shared::SharedPremises;
use super::{DECISIONS_MAX, WAITING_MAX};
use crate::error::Error;
use crate::premises::Mode;

/// What is known about one door, for pages and programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorView {
    /// The door: its component.
    pub door: Name,
    /// Its last change; `None` before the first.
    pub last: Option<DoorEvent>,
    /// The last [`DECISIONS_MAX`] decisions, newest first.
    pub decisions: Vec<Decision>,
    /// How it is kept.
    pub mode: Mode,
    /// Whether its leaf stands open; `None` without a contact.
    pub is_ajar: Option<bool>,
    /// The alarms that stand, those that nothing at the door may show among them.
    pub alarms: Vec<AlarmKind>,
}

/// What an application asks of a door.
pub(super) enum Request {
    Present { credential: Credential, note: Option<String>, reply: oneshot::Sender<Decision> },
    Sense { sense: DoorSense },
}

struct DoorEntry {
    requests: mpsc::Sender<Request>,
    last: Option<DoorEvent>,
    decisions: VecDeque<Decision>,
}

/// The doors that a [`super::DoorUnit`] has made: their state, and a way to open one by hand.
#[derive(Clone, Default)]
pub struct Doors {
    entries: Arc<Mutex<BTreeMap<Name, DoorEntry>>>,
    premises: SharedPremises,
}

impl Doors {
    pub(super) fn on(premises: SharedPremises) -> Self {
        Self { entries: Arc::default(), premises }
    }

    /// The state of all of them and of the areas.
    pub fn premises(&self) -> &SharedPremises {
        &self.premises
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Name, DoorEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every door that has run, by name.
    pub fn all(&self) -> Vec<DoorView> {
        self.locked().iter().map(|(name, entry)| self.view(name, entry)).collect()
    }

    /// One door.
    pub fn get(&self, door: &Name) -> Option<DoorView> {
        self.locked().get(door).map(|entry| self.view(door, entry))
    }

    /// Asks for `door` to be opened by `operator`, whom the caller has authenticated, for the reason in `note`, and waits
    /// for the decision: a refusal is `Ok` too.
    ///
    /// # Errors
    /// [`Error::DoorStopped`] if no such door runs, or it is overwhelmed.
    pub async fn open(&self, door: &Name, operator: &str, note: Option<&str>, at: Stamp) -> Result<Decision, Error> {
        let credential = Credential { source: door.clone(), key: Key::Manual { operator: operator.to_owned() }, at };
        self.ask(door, credential, note.map(str::to_owned)).await
    }

    /// Presents `credential` at `door` and waits for the decision.
    ///
    /// # Errors
    /// [`Error::DoorStopped`].
    pub async fn present(&self, door: &Name, credential: Credential) -> Result<Decision, Error> {
        self.ask(door, credential, None).await
    }

    /// Says what an input of `door` says, for an application that reads it by a way of its own.
    ///
    /// # Errors
    /// [`Error::DoorStopped`].
    pub fn sense(&self, door: &Name, sense: DoorSense) -> Result<(), Error> {
        self.requests(door)?.try_send(Request::Sense { sense }).map_err(|_| Error::DoorStopped)
    }

    async fn ask(&self, door: &Name, credential: Credential, note: Option<String>) -> Result<Decision, Error> {
        let (reply, decision) = oneshot::channel();
        let request = Request::Present { credential, note, reply };
        self.requests(door)?.try_send(request).map_err(|_| Error::DoorStopped)?;
        decision.await.map_err(|_| Error::DoorStopped)
    }

    fn view(&self, name: &Name, entry: &DoorEntry) -> DoorView {
        self.premises.read(|premises| DoorView {
            door: name.clone(),
            last: entry.last.clone(),
            decisions: entry.decisions.iter().cloned().collect(),
            mode: premises.mode(name),
            is_ajar: premises.is_ajar(name),
            alarms: premises.alarms(name).to_vec(),
        })
    }

    fn requests(&self, door: &Name) -> Result<mpsc::Sender<Request>, Error> {
        self.locked().get(door).map(|entry| entry.requests.clone()).ok_or(Error::DoorStopped)
    }

    pub(super) fn register(&self, door: &Name) -> mpsc::Receiver<Request> {
        let (requests, receiver) = mpsc::channel(WAITING_MAX);
        let fresh = DoorEntry { requests: requests.clone(), last: None, decisions: VecDeque::new() };
        self.locked().entry(door.clone()).or_insert(fresh).requests = requests;
        receiver
    }

    pub(super) fn changed(&self, event: &DoorEvent) {
        if let Some(entry) = self.locked().get_mut(&event.door) {
            entry.last = Some(event.clone());
        }
    }

    pub(super) fn decided(&self, door: &Name, decision: &Decision) {
        if let Some(entry) = self.locked().get_mut(door) {
            entry.decisions.truncate(DECISIONS_MAX - 1);
            entry.decisions.push_front(decision.clone());
        }
    }

    /// Forgets `door` unless a successor has already taken its place.
    pub(super) fn forget_stopped(&self, door: &Name) {
        let mut doors = self.locked();
        if doors.get(door).is_some_and(|entry| entry.requests.is_closed()) {
            doors.remove(door);
        }
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.locked().keys()).finish()
    }
}
