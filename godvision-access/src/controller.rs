//! The door as a component of the bus: unit `door`.
//!
//! ```text
//! credentials: Credential ----+                                  +--> decisions: Decision
//! sightings: Sighting (QR) ---+--> decide --> journal --> spend --+--> door machine --> relay
//! Doors::open (an operator) --+                                  +--> events: DoorEvent
//! ```
//! The order is the point: the decision is in the journal, durably, and the use of a pass is spent, durably, before the
//! relay hears of it. What cannot be journalled or spent is refused. Deciding, writing and switching go on side by side,
//! so a slow journal never keeps a door open longer.
//!
//! A component's name is the name of its door, which rules and passes speak of. An operator's click takes the same way
//! and is decided by the same rules (`by = ["manual"]`).
//!
//! **Never:** a decision (that is [`AccessControl`]), a timing (that is [`Door`]), opening on an error.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Fault, Input, Kind, Output, ParamError, ParamKind, ParamSpec, Params, Policy, PortSpec, Unit,
    UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{Contact, PulseTiming, Relay, checked_channel, checked_pulse};
use godvision_core::journal::{Entry, Journal, Level};
use godvision_core::signal::door::{Credential, Decision, DoorEvent, DoorState, Indication, Key, Reason, Verdict};
use godvision_core::signal::seen::{Finding, Sighting};
use godvision_core::time::{Clock, Stamp};
use godvision_core::{MonoTime, Name};
use tokio::sync::{mpsc, oneshot};

use crate::door::{Action, ActionResult, Command, CommandId, Door, DoorOptions, Event};
use crate::error::Error;
use crate::policy::{AccessControl, Ruling};
use crate::relay::RelayRegistry;
use crate::rule::Kinds;
use crate::spent::{Spend, SpentStore};

/// A credential that waited longer is not decided any more: nobody may stand there now.
pub const CREDENTIAL_AGE_MAX: Duration = Duration::from_secs(10);
/// A journal or spent store that takes longer is as good as failed: refuse.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// Things seen lately that are remembered for the hold-off.
pub const SEEN_MAX: usize = 16;
/// Decisions that [`Doors`] remembers of each door.
pub const DECISIONS_MAX: usize = 20;
/// Credentials and manual openings that may wait at one door.
pub const WAITING_MAX: usize = 16;

/// Journal entries about the door itself that may wait to be written.
const NOTES_MAX: usize = 64;
/// A relay without a timer gets so long to be switched off when the component stops.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// The policy in force, shared by all doors and swapped whole.
#[derive(Clone, Debug)]
pub struct SharedAccess(Arc<RwLock<Arc<AccessControl>>>);

impl SharedAccess {
    /// A policy in force.
    pub fn new(access: AccessControl) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(access))))
    }

    /// The policy in force now.
    pub fn current(&self) -> Arc<AccessControl> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another policy in force: the next decision is made by it.
    pub fn replace(&self, access: AccessControl) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }
}

/// What is known about one door, for pages and programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorView {
    /// The door: its component.
    pub door: Name,
    /// Its last change; `None` before the first.
    pub last: Option<DoorEvent>,
    /// The last [`DECISIONS_MAX`] decisions, newest first.
    pub decisions: Vec<Decision>,
}

struct Request {
    credential: Credential,
    reply: oneshot::Sender<Decision>,
}

struct DoorEntry {
    requests: mpsc::Sender<Request>,
    last: Option<DoorEvent>,
    decisions: VecDeque<Decision>,
}

/// The doors that a [`DoorUnit`] has made: their state, and a way to open one by hand.
#[derive(Clone, Default)]
pub struct Doors(Arc<Mutex<BTreeMap<Name, DoorEntry>>>);

impl Doors {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<Name, DoorEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every door that has run, by name.
    pub fn all(&self) -> Vec<DoorView> {
        self.locked().iter().map(|(name, entry)| entry.view(name)).collect()
    }

    /// One door.
    pub fn get(&self, door: &Name) -> Option<DoorView> {
        self.locked().get(door).map(|entry| entry.view(door))
    }

    /// Asks for `door` to be opened by `operator`, whom the caller has authenticated, and waits for the decision: a
    /// refusal is `Ok` too.
    ///
    /// # Errors
    /// [`Error::DoorStopped`] if no such door runs, or it is overwhelmed.
    pub async fn open(&self, door: &Name, operator: &str, at: Stamp) -> Result<Decision, Error> {
        let credential = Credential { source: door.clone(), key: Key::Manual { operator: operator.to_owned() }, at };
        self.present(door, credential).await
    }

    /// Presents `credential` at `door` and waits for the decision.
    ///
    /// # Errors
    /// [`Error::DoorStopped`].
    pub async fn present(&self, door: &Name, credential: Credential) -> Result<Decision, Error> {
        let requests = self.locked().get(door).map(|entry| entry.requests.clone()).ok_or(Error::DoorStopped)?;
        let (reply, decision) = oneshot::channel();
        requests.try_send(Request { credential, reply }).map_err(|_| Error::DoorStopped)?;
        decision.await.map_err(|_| Error::DoorStopped)
    }

    fn register(&self, door: &Name) -> mpsc::Receiver<Request> {
        let (requests, receiver) = mpsc::channel(WAITING_MAX);
        let fresh = DoorEntry { requests: requests.clone(), last: None, decisions: VecDeque::new() };
        self.locked().entry(door.clone()).or_insert(fresh).requests = requests;
        receiver
    }

    fn changed(&self, event: &DoorEvent) {
        if let Some(entry) = self.locked().get_mut(&event.door) {
            entry.last = Some(event.clone());
        }
    }

    fn decided(&self, door: &Name, decision: &Decision) {
        if let Some(entry) = self.locked().get_mut(door) {
            entry.decisions.truncate(DECISIONS_MAX - 1);
            entry.decisions.push_front(decision.clone());
        }
    }

    /// Forgets `door` unless a successor has already taken its place.
    fn forget_stopped(&self, door: &Name) {
        let mut doors = self.locked();
        if doors.get(door).is_some_and(|entry| entry.requests.is_closed()) {
            doors.remove(door);
        }
    }
}

impl DoorEntry {
    fn view(&self, door: &Name) -> DoorView {
        let decisions = self.decisions.iter().cloned().collect();
        DoorView { door: door.clone(), last: self.last.clone(), decisions }
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.locked().keys()).finish()
    }
}

/// Makes doors.
pub struct DoorUnit {
    spec: UnitSpec,
    access: SharedAccess,
    spent: Arc<dyn SpentStore>,
    relays: RelayRegistry,
    doors: Doors,
}

impl DoorUnit {
    /// Doors that decide by `access`, count uses in `spent` and find their relays in `relays`.
    pub fn new(access: SharedAccess, spent: Arc<dyn SpentStore>, relays: RelayRegistry) -> Self {
        let waiting = Policy::DropOldest { capacity: WAITING_MAX };
        let spec = UnitSpec {
            name: "door",
            about: "a door: decides about credentials by the rules of the site and moves its relay",
            kind: Kind::Complex,
            inputs: vec![
                PortSpec::input::<Credential>("credentials", waiting),
                PortSpec::input::<Sighting>("sightings", waiting),
            ],
            outputs: vec![PortSpec::output::<Decision>("decisions"), PortSpec::output::<DoorEvent>("events")],
            params: vec![
                ParamSpec::required(
                    "relay",
                    ParamKind::Secret,
                    "the relay: shelly://admin:password@host/, simulated://",
                ),
                ParamSpec::with_default(
                    "channel",
                    ParamKind::Integer { min: 0, max: 63 },
                    0_i64,
                    "its channel, from 0",
                ),
                ParamSpec::with_default(
                    "pulse",
                    ParamKind::Seconds { min: 0.1, max: 3600.0 },
                    3.0,
                    "how long it is unlocked",
                ),
                ParamSpec::with_default(
                    "poll",
                    ParamKind::Seconds { min: 1.0, max: 3600.0 },
                    30.0,
                    "how often an idle relay is asked",
                ),
                ParamSpec::with_default(
                    "hold_off",
                    ParamKind::Seconds { min: 0.0, max: 600.0 },
                    5.0,
                    "a code still in sight is decided again only after it was out of sight so long",
                ),
            ],
        };
        Self { spec, access, spent, relays, doors: Doors::default() }
    }

    /// The doors it has made. Take it before the unit is given to a host.
    pub fn doors(&self) -> Doors {
        self.doors.clone()
    }
}

impl Unit for DoorUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, name: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let seconds = |key| params.seconds(key).ok_or_else(|| params.error(key, "seconds are missing"));
        let url = params.secret("relay").ok_or_else(|| params.error("relay", "the relay's address is missing"))?;
        let relay = self.relays.open(url).map_err(|error| params.error("relay", error.to_string()))?;
        let channel = params.integer("channel").and_then(|channel| u8::try_from(channel).ok());
        let channel = channel.ok_or_else(|| params.error("channel", "no channel"))?;
        let capabilities = relay.capabilities();
        checked_channel(capabilities, channel).map_err(|error| params.error("channel", error.to_string()))?;
        let pulse = seconds("pulse")?;
        let pulse =
            checked_pulse(capabilities, channel, pulse).map_err(|error| params.error("pulse", error.to_string()))?;
        let options = DoorOptions { pulse, timing: capabilities.pulse, poll: seconds("poll")? };
        Ok(Box::new(DoorController {
            name: name.clone(),
            access: self.access.clone(),
            spent: Arc::clone(&self.spent),
            doors: self.doors.clone(),
            relay,
            channel,
            options,
            hold_off: seconds("hold_off")?,
        }))
    }
}

/// One door on the bus.
struct DoorController {
    name: Name,
    access: SharedAccess,
    spent: Arc<dyn SpentStore>,
    doors: Doors,
    relay: Arc<dyn Relay>,
    channel: u8,
    options: DoorOptions,
    hold_off: Duration,
}

impl Component for DoorController {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut running = Running::new(self, cx)?;
            running.work(cx).await;
            running.stop().await;
            drop(running);
            self.doors.forget_stopped(&self.name);
            Ok(())
        })
    }
}

/// What came of one credential.
struct Settled {
    decision: Decision,
    reply: Option<oneshot::Sender<Decision>>,
}

/// Something going on beside the rest: at most one of each kind.
type Going<T> = Option<BoxFuture<'static, T>>;

/// Waits for `going`, for ever if nothing is going on, and leaves `None` behind.
async fn finished<T>(going: &mut Going<T>) -> T {
    match going {
        Some(future) => {
            let result = future.await;
            *going = None;
            result
        }
        None => std::future::pending().await,
    }
}

/// A door while it runs.
struct Running<'a> {
    fixed: &'a DoorController,
    clock: Arc<dyn Clock>,
    journal: Arc<dyn Journal>,
    credentials: Input<Credential>,
    sightings: Input<Sighting>,
    requests: mpsc::Receiver<Request>,
    decisions: Output<Decision>,
    events: Output<DoorEvent>,
    door: Door,
    seen: VecDeque<(Name, Key, MonoTime)>,
    deciding: Going<Settled>,
    switching: Going<(CommandId, ActionResult)>,
    writing: Going<()>,
    notes: VecDeque<Entry>,
}

impl<'a> Running<'a> {
    fn new(fixed: &'a DoorController, cx: &Context) -> Result<Self, Fault> {
        Ok(Self {
            fixed,
            clock: Arc::clone(cx.clock()),
            journal: Arc::clone(cx.journal()),
            credentials: cx.input("credentials")?,
            sightings: cx.input("sightings")?,
            requests: fixed.doors.register(&fixed.name),
            decisions: cx.output("decisions")?,
            events: cx.output("events")?,
            door: Door::new(fixed.options),
            seen: VecDeque::with_capacity(SEEN_MAX),
            deciding: None,
            switching: None,
            writing: None,
            notes: VecDeque::new(),
        })
    }

    /// Until the component is told to stop.
    async fn work(&mut self, cx: &Context) {
        let mut stopping = cx.stopping();
        self.event(Event::Tick);
        loop {
            if self.writing.is_none()
                && let Some(note) = self.notes.pop_front()
            {
                self.write(note);
            }
            let is_free = self.deciding.is_none();
            let wake = self.door.next_wake().since(self.clock.mono()).max(Duration::from_millis(1));
            // Biased: the relay's answers and the door's time come before new credentials.
            tokio::select! {
                biased;
                () = stopping.wait() => return,
                (id, result) = finished(&mut self.switching) => self.event(Event::Relay(id, result)),
                settled = finished(&mut self.deciding) => self.settled(settled),
                () = tokio::time::sleep(wake) => self.event(Event::Tick),
                () = finished(&mut self.writing) => {}
                Some(request) = self.requests.recv(), if is_free => {
                    self.decide(request.credential, Some(request.reply));
                }
                credential = self.credentials.recv(), if is_free => match credential {
                    Some(credential) => self.presented(credential.into_value()),
                    None => return,
                },
                sighting = self.sightings.recv(), if is_free => match sighting {
                    Some(sighting) => {
                        if let Some(credential) = credential_of(&sighting) {
                            self.presented(credential);
                        }
                    }
                    None => return,
                },
            }
        }
    }

    fn presented(&mut self, credential: Credential) {
        if !self.is_held_off(&credential) {
            self.decide(credential, None);
        }
    }

    /// Whether the same thing was decided lately and has been in sight since.
    fn is_held_off(&mut self, credential: &Credential) -> bool {
        // What a camera reads, it reads ten times a second; what is typed or swiped is meant each time.
        if !matches!(credential.key, Key::Qr(_) | Key::Plate(_) | Key::Face { .. }) {
            return false;
        }
        let now = self.clock.mono();
        let hold_off = self.fixed.hold_off;
        self.seen.retain(|(_, _, at)| now.since(*at) < hold_off);
        let known =
            self.seen.iter_mut().find(|(source, key, _)| *source == credential.source && *key == credential.key);
        if let Some((.., at)) = known {
            *at = now;
            return true;
        }
        if self.seen.len() == SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((credential.source.clone(), credential.key.clone(), now));
        false
    }

    fn decide(&mut self, credential: Credential, reply: Option<oneshot::Sender<Decision>>) {
        let now = self.clock.now();
        if now.mono.since(credential.at.mono) > CREDENTIAL_AGE_MAX {
            let text = format!("a {} credential waited too long to be decided", credential.key.kind());
            self.note(Level::Warning, "access.stale", text);
            return;
        }
        self.event(Event::Deciding);
        let settling = Settling {
            access: self.fixed.access.current(),
            spent: Arc::clone(&self.fixed.spent),
            journal: Arc::clone(&self.journal),
            clock: Arc::clone(&self.clock),
            door: self.fixed.name.clone(),
        };
        self.deciding = Some(Box::pin(async move {
            let decision = settling.settle(credential).await;
            Settled { decision, reply }
        }));
    }

    /// Only here is a door told to open.
    fn settled(&mut self, Settled { decision, reply }: Settled) {
        self.event(if decision.verdict == Verdict::Admit { Event::Open } else { Event::Refused });
        self.fixed.doors.decided(&self.fixed.name, &decision);
        self.decisions.send(decision.clone());
        if let Some(reply) = reply {
            // Whoever asked may have gone away.
            let _ = reply.send(decision);
        }
    }

    fn event(&mut self, event: Event) {
        let now = self.clock.now();
        for command in self.door.step(event, now.mono) {
            match command {
                Command::Relay(id, action) => self.switch(id, action),
                Command::Changed(change) => {
                    let before = self.fixed.doors.get(&self.fixed.name).and_then(|view| view.last);
                    let event = DoorEvent {
                        door: self.fixed.name.clone(),
                        at: now,
                        state: change.state,
                        indication: change.indication,
                        open_for: change.open_for,
                        detail: change.detail,
                    };
                    if before.is_none_or(|before| before.state != event.state) {
                        self.note_state(&event);
                    }
                    self.fixed.doors.changed(&event);
                    self.events.send(event);
                }
                Command::Alarm { text } => self.note(Level::Error, "door.alarm", text),
                Command::AlarmOver => self.note(Level::Info, "door.alarm_over", "the door is in order again"),
            }
        }
    }

    fn note_state(&mut self, event: &DoorEvent) {
        match event.state {
            DoorState::Unlocked if event.detail.is_empty() => {
                let seconds = event.open_for.unwrap_or_default().as_secs_f64();
                self.note(Level::Security, "door.unlocked", format!("unlocked for {seconds} s"));
            }
            DoorState::Unlocked => self.note(Level::Security, "door.unlocked", event.detail.clone()),
            DoorState::Locked => self.note(Level::Info, "door.locked", "locked"),
            DoorState::Fault => self.note(Level::Error, "door.fault", event.detail.clone()),
            DoorState::Free => self.note(Level::Security, "door.free", "unlocked until told otherwise"),
            DoorState::LockedDown => self.note(Level::Security, "door.locked_down", "locked down"),
            DoorState::Unknown | DoorState::Unlocking => {}
        }
    }

    fn note(&mut self, level: Level, code: &str, text: impl Into<String>) {
        let entry = Entry::new(self.clock.now(), self.fixed.name.clone(), level, code, text);
        if self.notes.len() == NOTES_MAX {
            tracing::error!(door = %self.fixed.name, code, "the journal does not keep up, an entry about a door is lost");
            self.notes.pop_front();
        }
        self.notes.push_back(entry);
    }

    fn write(&mut self, entry: Entry) {
        let journal = Arc::clone(&self.journal);
        self.writing = Some(Box::pin(async move {
            let code = entry.code.clone();
            if let Err(error) = journal.append(entry).await {
                tracing::error!(%error, code, "cannot write the journal");
            }
        }));
    }

    fn switch(&mut self, id: CommandId, action: Action) {
        let (relay, channel) = (Arc::clone(&self.fixed.relay), self.fixed.channel);
        self.switching = Some(Box::pin(async move {
            let result = match action {
                Action::Pulse(duration) => relay.pulse(channel, duration).await.map(|()| None),
                Action::SwitchOff => relay.set(channel, Contact::Off).await.map(|()| None),
                Action::Status => relay.status(channel).await.map(Some),
            };
            (id, result)
        }));
    }

    /// A relay with a timer ends its pulse alone; one without is switched off before the program goes.
    async fn stop(&mut self) {
        if self.fixed.options.timing == PulseTiming::Host && self.door.state() != DoorState::Locked {
            let off = self.fixed.relay.set(self.fixed.channel, Contact::Off);
            match tokio::time::timeout(STOP_PATIENCE, off).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.note(Level::Error, "door.alarm", format!("stopped, perhaps unlocked: {error}")),
                Err(_) => self.note(Level::Error, "door.alarm", "stopped, perhaps unlocked: the relay does not answer"),
            }
        }
        let event = DoorEvent {
            door: self.fixed.name.clone(),
            at: self.clock.now(),
            state: DoorState::Unknown,
            indication: Indication::Ready,
            open_for: None,
            detail: "the door's component has stopped".into(),
        };
        self.events.send(event);
        while let Some(note) = self.notes.pop_front() {
            self.write(note);
            if tokio::time::timeout(STORE_TIMEOUT, finished(&mut self.writing)).await.is_err() {
                return;
            }
        }
    }
}

/// What was found in a camera's picture as a credential, if it is one: strangers and watched persons present nothing.
fn credential_of(sighting: &Sighting) -> Option<Credential> {
    let key = match &sighting.finding {
        Finding::Qr(text) => Key::Qr(text.clone()),
        Finding::Plate(text) => Key::Plate(text.clone()),
        Finding::Face { person, live } => Key::Face { person: person.clone(), live: *live },
        _ => return None,
    };
    Some(Credential { source: sighting.source.clone(), key, at: sighting.at })
}

/// What one decision needs, so that it can be made beside the rest.
struct Settling {
    access: Arc<AccessControl>,
    spent: Arc<dyn SpentStore>,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    door: Name,
}

impl Settling {
    /// Decides, journals, spends: in this order, and each before the next.
    async fn settle(self, credential: Credential) -> Decision {
        let ruling = self.rule(credential).await;
        let ruling = self.without_uses_left(ruling).await;
        if self.journal(&ruling).await.is_err() {
            return ruling.refused(Reason::Fault).decision;
        }
        let Some((pass, uses_max)) = ruling.to_spend() else { return ruling.decision };
        let refusal = match tokio::time::timeout(STORE_TIMEOUT, self.spent.spend(pass, uses_max)).await {
            Ok(Ok(Spend::Kept { .. })) => return ruling.decision,
            Ok(Ok(Spend::AlreadySpent)) => ruling.refused(Reason::Spent),
            Ok(Err(error)) => {
                tracing::error!(door = %self.door, %error, "cannot keep the use of a pass");
                ruling.refused(Reason::Fault)
            }
            Err(_) => ruling.refused(Reason::Fault),
        };
        // The journal says admitted; it must also say that nothing came of it. It stays shut either way.
        let _ = self.journal(&refusal).await;
        refusal.decision
    }

    async fn rule(&self, credential: Credential) -> Ruling {
        let now = self.clock.now();
        let (access, door) = (Arc::clone(&self.access), self.door.clone());
        if !matches!(credential.key, Key::Pin(_)) {
            return access.decide(&credential, &door, now);
        }
        // A PIN's hash costs milliseconds: not on a thread that others wait for.
        let asked = credential.clone();
        let ruled = tokio::task::spawn_blocking(move || access.decide(&asked, &door, now)).await;
        ruled.unwrap_or_else(|_| {
            let decision = Decision {
                source: credential.source,
                door: Some(self.door.clone()),
                user: None,
                credential: credential.key.kind(),
                verdict: Verdict::Refuse,
                reason: Reason::Fault,
                rule: None,
                presented: credential.at,
                decided: now,
            };
            Ruling { decision, pass: None, presented: Kinds::NONE, completing: Kinds::NONE }
        })
    }

    /// A pass that is used up is refused before the journal says anything else.
    async fn without_uses_left(&self, ruling: Ruling) -> Ruling {
        let Some((pass, uses_max)) = ruling.to_spend() else { return ruling };
        match tokio::time::timeout(STORE_TIMEOUT, self.spent.uses(pass)).await {
            Ok(Ok(uses)) if uses < uses_max => ruling,
            Ok(Ok(_)) => ruling.refused(Reason::Spent),
            Ok(Err(error)) => {
                tracing::error!(door = %self.door, %error, "cannot read the uses of a pass");
                ruling.refused(Reason::Fault)
            }
            Err(_) => ruling.refused(Reason::Fault),
        }
    }

    /// Keeps the decision; `Err` if it is not certain that it was kept.
    async fn journal(&self, ruling: &Ruling) -> Result<(), ()> {
        let entry = journal_entry(&self.door, ruling);
        match tokio::time::timeout(STORE_TIMEOUT, self.journal.append(entry)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::error!(door = %self.door, %error, "a decision could not be journalled: refused");
                Err(())
            }
            Err(_) => {
                tracing::error!(door = %self.door, "the journal does not answer: refused");
                Err(())
            }
        }
    }
}

/// A decision as the journal keeps it: `access.admitted` or `access.refused`, without any secret.
pub fn journal_entry(door: &Name, ruling: &Ruling) -> Entry {
    let decision = &ruling.decision;
    let admitted = decision.verdict == Verdict::Admit;
    let who = decision.user.as_ref().map_or("somebody unknown", Name::as_str);
    let word = if admitted { "admitted" } else { "refused" };
    let text = format!("{who} {word} at {door} by {}: {}", decision.credential, decision.reason);
    let code = if admitted { "access.admitted" } else { "access.refused" };
    let mut entry = Entry::new(decision.decided, door.clone(), Level::Security, code, text)
        .with("door", door)
        .with("source", &decision.source)
        .with("credential", decision.credential)
        .with("reason", decision.reason.code());
    if let Some(user) = &decision.user {
        entry = entry.with("person", user);
    }
    if let Some(rule) = &decision.rule {
        entry = entry.with("rule", rule);
    }
    if let Some(pass) = &ruling.pass {
        entry = entry.with("pass", format_args!("{}/{}", pass.key, pass.id));
    }
    entry
}
