//! [`SharedPremises`]: the one state of all doors and areas, shared by their components.
//!
//! Each call locks, steps the pure [`Premises`] and unlocks: no call waits for IO under the lock. Effects of a step that
//! belong to another door are put into that door's mailbox. What must outlive a power cut is written by whoever comes
//! first, the last word on each thing.
//!
//! **Never:** a decision.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_core::journal::{Entry, Journal, Level};
use godvision_core::signal::door::{AlarmKind, Reason};
use godvision_core::time::Stamp;
use godvision_core::{MonoTime, Name};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::premises::{
    Asked, Effect, Event, ForgetfulPremises, Grant, GrantId, Kept, Mode, Plan, Premises, PremisesStore, Thing,
};
use crate::rule::{CredentialKind, Kinds};

/// Effects that may wait for one door.
pub const EFFECTS_MAX: usize = 256;
/// A line of a command that the journal did not take is tried for so long.
const LATE_ENTRY_MAX: Duration = Duration::from_secs(24 * 3600);

struct Inner {
    premises: Mutex<Premises>,
    mailboxes: Mutex<BTreeMap<Name, mpsc::Sender<Effect>>>,
    store: Box<dyn PremisesStore>,
    /// The last word on each thing that waits to be written: as many as there are doors, sources and persons.
    unkept: Mutex<BTreeMap<Thing, Kept>>,
    /// Held over taking changes and writing them, so that a newer word is never written before an older one.
    writing: tokio::sync::Mutex<()>,
}

/// The state of all doors and areas of a site.
#[derive(Clone)]
pub struct SharedPremises(Arc<Inner>);

impl Default for SharedPremises {
    /// Without areas and interlocks, and forgotten at restart.
    fn default() -> Self {
        Self::new(Premises::default(), ForgetfulPremises)
    }
}

impl fmt::Debug for SharedPremises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("premises")
    }
}

/// What an operator does to the premises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PremisesCommand {
    /// Locks doors down, or ends that.
    Lockdown {
        /// Which.
        doors: Vec<Name>,
        /// Whether they are.
        is_on: bool,
    },
    /// Declares an emergency, or ends it.
    Emergency {
        /// Whether it is.
        is_on: bool,
    },
    /// Forgets where somebody was last seen, and their failures.
    Forgive {
        /// Whom.
        person: Name,
    },
    /// Lets a locked-out reader be used again.
    Unblock {
        /// Which.
        source: Name,
    },
    /// Ends the alarms of a door that do not end by themselves.
    Acknowledge {
        /// Which.
        door: Name,
    },
}

impl SharedPremises {
    /// Shares `premises`, whose durable changes are kept in `store`.
    pub fn new(premises: Premises, store: impl PremisesStore + 'static) -> Self {
        Self(Arc::new(Inner {
            premises: Mutex::new(premises),
            mailboxes: Mutex::default(),
            store: Box::new(store),
            unkept: Mutex::default(),
            writing: tokio::sync::Mutex::new(()),
        }))
    }

    fn premises(&self) -> MutexGuard<'_, Premises> {
        self.0.premises.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the state, under its lock: be brief.
    pub fn read<T>(&self, read: impl FnOnce(&Premises) -> T) -> T {
        read(&self.premises())
    }

    /// Puts another plan in force.
    pub fn replan(&self, plan: Plan, now: Stamp) {
        self.premises().replan(plan);
        self.step(None, Event::Tick, now);
    }

    /// Carries out what `operator`, whom the caller has authenticated, commands: journalled first, then in force, then
    /// kept durably. What was begun is finished when the future is dropped.
    ///
    /// # Errors
    /// The journal's or the store's. If the journal fails nothing happens, but for what saves lives: a lockdown and an
    /// emergency are in force all the same ([`Error::NotJournalled`]), and their line is written when the journal works
    /// again. If the store fails the command is in force and a power cut would undo it.
    pub async fn command(
        &self,
        command: PremisesCommand,
        operator: &str,
        journal: Arc<dyn Journal>,
        now: Stamp,
    ) -> Result<(), Error> {
        let word = |is_on: &bool| if *is_on { "on" } else { "off" };
        let is_urgent = matches!(
            command,
            PremisesCommand::Lockdown { is_on: true, .. } | PremisesCommand::Emergency { is_on: true }
        );
        let (code, text, events) = match command {
            PremisesCommand::Lockdown { doors, is_on } => {
                let names: Vec<&str> = doors.iter().map(Name::as_str).collect();
                let text = format!("{operator} turned the lockdown of {} {}", names.join(", "), word(&is_on));
                let events = doors.into_iter().map(|door| Event::Lockdown { door, is_on }).collect();
                ("premises.lockdown", text, events)
            }
            PremisesCommand::Emergency { is_on } => {
                let text = format!("{operator} turned the emergency {}", word(&is_on));
                ("premises.emergency", text, vec![Event::Emergency { is_on }])
            }
            PremisesCommand::Forgive { person } => {
                let text = format!("{operator} had it forgotten where {person} was");
                ("premises.forgiven", text, vec![Event::Forgive { person }])
            }
            PremisesCommand::Unblock { source } => {
                let text = format!("{operator} let {source} be used again");
                ("premises.unblocked", text, vec![Event::Unblock { source }])
            }
            PremisesCommand::Acknowledge { door } => {
                let text = format!("{operator} has looked at the alarms of {door}");
                ("premises.acknowledged", text, vec![Event::Acknowledged { door }])
            }
        };
        let entry = Entry::new(now, service(), Level::Security, code, text).with("operator", operator);
        let this = self.clone();
        let done = tokio::spawn(async move {
            let journalled = this.journal(&journal, &entry).await;
            if let Err(error) = &journalled
                && !is_urgent
            {
                return Err(Error::Journal { detail: error.clone() });
            }
            for event in events {
                this.step(None, event, now);
            }
            let kept = this.keep().await;
            let Err(detail) = journalled else { return kept };
            tracing::error!(error = detail, code, "in force, and the journal does not say so yet");
            tokio::spawn(async move {
                let until_written = async {
                    while this.journal(&journal, &entry).await.is_err() {
                        tokio::time::sleep(super::KEEP_RETRY).await;
                    }
                };
                if tokio::time::timeout(LATE_ENTRY_MAX, until_written).await.is_err() {
                    tracing::error!(code, "an entry of the journal is lost");
                }
            });
            Err(Error::NotJournalled { detail })
        });
        done.await.unwrap_or(Err(Error::DoorStopped))
    }

    async fn journal(&self, journal: &Arc<dyn Journal>, entry: &Entry) -> Result<(), String> {
        match tokio::time::timeout(super::STORE_TIMEOUT, journal.append(entry.clone())).await {
            Ok(kept) => kept.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", super::STORE_TIMEOUT.as_secs())),
        }
    }

    /// Follows `door`, and gives it the mailbox in which effects of others' steps arrive.
    pub(super) fn register(&self, door: &Name) -> mpsc::Receiver<Effect> {
        let (sender, receiver) = mpsc::channel(EFFECTS_MAX);
        self.premises().add_door(door.clone());
        self.0.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(door.clone(), sender);
        receiver
    }

    /// One event; returns the effects on `door`, and delivers the others.
    pub(super) fn step(&self, door: Option<&Name>, event: Event, now: Stamp) -> Vec<Effect> {
        let mut premises = self.premises();
        let effects = premises.step(event, now);
        self.deliver(door, effects)
    }

    pub(super) fn ask(&self, asked: &Asked<'_>, now: Stamp) -> (Result<Grant, Reason>, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut premises = self.premises();
        let result = premises.ask(asked, now, &mut effects);
        (result, self.deliver(Some(asked.door), effects))
    }

    /// Whether the lock may be told to open for `grant`; see [`Premises::begin`].
    pub(super) fn begin(&self, door: &Name, grant: GrantId, now: Stamp) -> (bool, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut premises = self.premises();
        let is_begun = premises.begin(door, grant, now, &mut effects);
        (is_begun, self.deliver(Some(door), effects))
    }

    pub(super) fn may_try(&self, source: &Name, kind: CredentialKind, now: Stamp) -> Result<(), Reason> {
        self.premises().may_try(source, kind, now)
    }

    pub(super) fn first_factor(&self, door: &Name, now: Stamp) -> Option<(Name, Kinds)> {
        self.premises().first_factor(door, now).map(|(person, kinds)| (person.clone(), kinds))
    }

    pub(super) fn mode(&self, door: &Name) -> Mode {
        self.premises().mode(door)
    }

    pub(super) fn next_wake(&self, door: &Name, now: MonoTime) -> MonoTime {
        self.premises().next_wake(door, now)
    }

    /// Called while the premises are locked, so that mailboxes and changes get effects in their order.
    fn deliver(&self, own: Option<&Name>, effects: Vec<Effect>) -> Vec<Effect> {
        let mut here = Vec::new();
        for effect in effects {
            match effect.door() {
                Some(door) if Some(door) != own => {
                    let mailboxes = self.0.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
                    let sent = mailboxes.get(door).map(|mailbox| mailbox.try_send(effect.clone()));
                    if let Some(Err(mpsc::error::TrySendError::Full(_))) = sent {
                        // Its mode is read anew at every turn; an alarm or a note of it is what is lost.
                        tracing::error!(%door, "a door does not take what is said to it");
                    }
                }
                Some(_) => here.push(effect),
                None => {
                    if let Effect::Keep(change) = effect {
                        self.unkept().insert(change.thing(), change);
                    }
                }
            }
        }
        here
    }

    fn unkept(&self) -> MutexGuard<'_, BTreeMap<Thing, Kept>> {
        self.0.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something waits to be kept.
    pub(super) fn has_unkept(&self) -> bool {
        !self.unkept().is_empty()
    }

    /// Keeps what waits to be kept. What was begun is finished when the future is dropped.
    ///
    /// # Errors
    /// The store's; what could not be kept waits on.
    pub async fn keep(&self) -> Result<(), Error> {
        let this = self.clone();
        tokio::spawn(async move { this.keep_waiting().await }).await.unwrap_or(Err(Error::DoorStopped))
    }

    async fn keep_waiting(&self) -> Result<(), Error> {
        let _turn = self.0.writing.lock().await;
        let changes = std::mem::take(&mut *self.unkept());
        if changes.is_empty() {
            return Ok(());
        }
        let kept = self.0.store.keep(changes.values().cloned().collect()).await;
        if kept.is_err() {
            let mut unkept = self.unkept();
            for (thing, change) in changes {
                // What was said of it since is newer.
                unkept.entry(thing).or_insert(change);
            }
        }
        kept
    }
}

/// Under which the journal keeps what concerns no single door.
fn service() -> Name {
    #[expect(clippy::expect_used, reason = "a name written here")]
    Name::new("premises").expect("a good name")
}

/// What an alarm is called in the journal, in words.
pub(super) fn alarm_text(kind: AlarmKind, raised: bool) -> &'static str {
    match (kind, raised) {
        (AlarmKind::Forced, true) => "the door was opened though nobody unlocked it",
        (AlarmKind::Forced, false) => "the door that was forced is shut",
        (AlarmKind::Held, true) => "the door stands open too long",
        (AlarmKind::Held, false) => "the door that stood open is shut",
        (AlarmKind::Duress, true) => "a duress code was used: somebody is made to open the door",
        (AlarmKind::Duress, false) => "somebody has looked after the duress code",
        (AlarmKind::Guessing, true) => "too many wrong codes: locked out for a while",
        (AlarmKind::Guessing, false) => "codes may be tried again",
        (AlarmKind::PassedBack, true) => "somebody passed who was last seen elsewhere",
        (AlarmKind::PassedBack, false) => "passed back: over",
        (AlarmKind::Tampered, true) => "a device at the door was opened or does not answer",
        (AlarmKind::Tampered, false) => "the device at the door is in order again",
        (AlarmKind::Emergency, true) => "emergency: unlocked",
        (AlarmKind::Emergency, false) => "the emergency is over",
    }
}
