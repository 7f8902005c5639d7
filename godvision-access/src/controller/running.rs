//! A door while it runs: waits for what happens, steps the machines, carries out what they say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use godvision_core::bus::{Context, Fault, Input, Output};
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{Contact, PulseTiming, RelayError};
use godvision_core::journal::{Entry, Journal, Level};
use godvision_core::signal::door::{
    Credential, Decision, DoorAlarm, DoorEvent, DoorInput, DoorSense, DoorState, Indication, Key, Reason, Verdict,
};
use godvision_core::signal::seen::{Finding, Sighting};
use godvision_core::time::Clock;
use godvision_core::{MonoTime, Name};
use tokio::sync::{mpsc, oneshot};

use super::doors::Request;
use super::settle::{Settled, Settling};
use super::shared::{SharedPremises, alarm_text};
use super::{CREDENTIAL_AGE_MAX, DoorController, KEEP_RETRY, NOTES_MAX, SEEN_MAX, STOP_PATIENCE, STORE_TIMEOUT};
use crate::door::{Action, ActionResult, Command, CommandId, Door, Event};
use crate::premises::{self, Effect, GrantId, Mode};
use crate::rule::CredentialKind;

/// The premises' own time is looked at no more often than this, whatever is due.
const WAKE_MIN: Duration = Duration::from_millis(1);
/// What the contact and the exit button said, those of the two that are wired.
type Sensed = Result<[Option<Contact>; 2], RelayError>;

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

/// Something that a camera has in sight.
struct Seen {
    source: Name,
    key: Key,
    /// When it was seen last.
    at: MonoTime,
    /// When it was decided last.
    decided: MonoTime,
}

/// A door while it runs.
pub(super) struct Running<'a> {
    fixed: &'a DoorController,
    clock: Arc<dyn Clock>,
    journal: Arc<dyn Journal>,
    credentials: Input<Credential>,
    sightings: Input<Sighting>,
    inputs: Input<DoorInput>,
    mailbox: mpsc::Receiver<Effect>,
    requests: mpsc::Receiver<Request>,
    decisions: Output<Decision>,
    events: Output<DoorEvent>,
    alarms: Output<DoorAlarm>,
    door: Door,
    mode: Mode,
    /// Grants for which the relay has been told to open.
    opening: Vec<GrantId>,
    seen: VecDeque<Seen>,
    deciding: Going<Settled>,
    switching: Going<(CommandId, ActionResult)>,
    /// Gives back what could not be written.
    writing: Going<Option<Entry>>,
    keeping: Going<bool>,
    sensing: Going<Sensed>,
    sense_at: MonoTime,
    sensed: [Option<bool>; 2],
    inputs_failed: bool,
    notes: VecDeque<Entry>,
    /// Entries that found no room since the last that was written.
    notes_lost: u32,
    /// The journal failed: it is tried again at this moment.
    write_at: MonoTime,
}

impl<'a> Running<'a> {
    pub(super) fn new(fixed: &'a DoorController, cx: &Context) -> Result<Self, Fault> {
        Ok(Self {
            fixed,
            clock: Arc::clone(cx.clock()),
            journal: Arc::clone(cx.journal()),
            credentials: cx.input("credentials")?,
            sightings: cx.input("sightings")?,
            inputs: cx.input("inputs")?,
            mailbox: fixed.doors.premises().register(&fixed.name),
            requests: fixed.doors.register(&fixed.name),
            decisions: cx.output("decisions")?,
            events: cx.output("events")?,
            alarms: cx.output("alarms")?,
            door: Door::new(fixed.options),
            mode: Mode::Normal,
            opening: Vec::new(),
            seen: VecDeque::with_capacity(SEEN_MAX),
            deciding: None,
            switching: None,
            writing: None,
            keeping: None,
            sensing: None,
            sense_at: MonoTime::ZERO,
            sensed: [None; 2],
            inputs_failed: false,
            notes: VecDeque::new(),
            notes_lost: 0,
            write_at: MonoTime::ZERO,
        })
    }

    /// Until the component is told to stop.
    pub(super) async fn work(&mut self, cx: &Context) {
        let mut stopping = cx.stopping();
        self.event(Event::Tick);
        self.happened(premises::Event::Tick);
        loop {
            self.begin_what_waits();
            let is_free = self.deciding.is_none();
            let wake = self.next_wake().since(self.clock.mono()).max(WAKE_MIN);
            // Biased: the relay's answers, the door's time and what others did come before new credentials.
            tokio::select! {
                biased;
                () = stopping.wait() => return,
                (id, result) = finished(&mut self.switching) => self.event(Event::Relay(id, result)),
                Some(effect) = self.mailbox.recv() => self.take_effect(effect),
                settled = finished(&mut self.deciding) => self.settled(settled),
                () = tokio::time::sleep(wake) => {
                    self.event(Event::Tick);
                    self.happened(premises::Event::Tick);
                }
                unwritten = finished(&mut self.writing) => self.written(unwritten),
                sensed = finished(&mut self.sensing) => self.inputs_read(sensed),
                kept = finished(&mut self.keeping) => {
                    if !kept {
                        self.keeping = Some(Box::pin(async { tokio::time::sleep(KEEP_RETRY).await; true }));
                    }
                }
                input = self.inputs.recv() => match input {
                    Some(input) => self.sense(input.into_value().sense),
                    None => return,
                },
                Some(request) = self.requests.recv(), if is_free => match request {
                    Request::Present { credential, note, reply } => self.decide(credential, note, Some(reply)),
                    Request::Sense { sense } => self.sense(sense),
                },
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

    fn next_wake(&self) -> MonoTime {
        let now = self.clock.mono();
        let mut wake = self.door.next_wake().min(self.premises().next_wake(&self.fixed.name, now));
        if self.has_inputs() && self.sensing.is_none() {
            wake = wake.min(self.sense_at);
        }
        if self.writing.is_none() && !self.notes.is_empty() {
            wake = wake.min(self.write_at);
        }
        wake
    }

    /// Starts what goes on beside the rest and is not going on yet.
    fn begin_what_waits(&mut self) {
        if self.writing.is_none()
            && self.write_at <= self.clock.mono()
            && let Some(note) = self.notes.pop_front()
        {
            self.write(note);
        }
        let premises = self.premises();
        if self.keeping.is_none() && premises.has_unkept() {
            let premises = premises.clone();
            self.keeping = Some(Box::pin(async move {
                let kept = premises.keep().await;
                if let Err(error) = &kept {
                    tracing::error!(%error, "what happened on the premises cannot be kept: a power cut would undo it");
                }
                kept.is_ok()
            }));
        }
        if self.has_inputs() && self.sensing.is_none() && self.sense_at <= self.clock.mono() {
            let (relay, inputs) = (Arc::clone(&self.fixed.relay), self.fixed.inputs);
            self.sensing = Some(Box::pin(async move {
                let mut sensed = [None, None];
                for (sensed, input) in sensed.iter_mut().zip([inputs.contact, inputs.exit_button]) {
                    if let Some(input) = input {
                        *sensed = Some(relay.input(input).await?);
                    }
                }
                Ok(sensed)
            }));
        }
    }

    fn has_inputs(&self) -> bool {
        self.fixed.inputs.contact.is_some() || self.fixed.inputs.exit_button.is_some()
    }

    fn inputs_read(&mut self, sensed: Sensed) {
        self.sense_at = self.clock.mono() + self.fixed.inputs.poll;
        let sensed = match sensed {
            Ok(sensed) => sensed,
            Err(error) => {
                // Once: a relay that is away is a fault of the door already.
                if !std::mem::replace(&mut self.inputs_failed, true) {
                    self.note(Level::Error, "door.inputs_lost", format!("the door's inputs are not known: {error}"));
                }
                return;
            }
        };
        if std::mem::take(&mut self.inputs_failed) {
            self.note(Level::Info, "door.inputs_back", "the door's inputs are known again");
        }
        // The contact is closed while the leaf is shut; the button closes while it is pressed.
        let is_closed = sensed.map(|contact| contact.map(|contact| contact == Contact::On));
        let [was_shut, was_pressed] = std::mem::replace(&mut self.sensed, is_closed);
        let [is_shut, is_pressed] = is_closed;
        if let Some(is_shut) = is_shut
            && was_shut != Some(is_shut)
        {
            self.sense(DoorSense::Ajar(!is_shut));
        }
        if is_pressed == Some(true) && was_pressed != Some(true) {
            self.sense(DoorSense::ExitRequested);
        }
    }

    fn sense(&mut self, sense: DoorSense) {
        self.happened(premises::Event::Sense { door: self.fixed.name.clone(), sense });
    }

    fn premises(&self) -> &'a SharedPremises {
        self.fixed.doors.premises()
    }

    /// Tells the premises, and does what they say about this door.
    fn happened(&mut self, event: premises::Event) {
        let effects = self.premises().step(Some(&self.fixed.name), event, self.clock.now());
        effects.into_iter().for_each(|effect| self.take_effect(effect));
        let mode = self.premises().mode(&self.fixed.name);
        if mode != self.mode {
            self.take_mode(mode);
        }
    }

    fn take_mode(&mut self, mode: Mode) {
        self.mode = mode;
        self.event(Event::Mode(mode));
    }

    fn take_effect(&mut self, effect: Effect) {
        match effect {
            // What it is now may be newer than what was said.
            Effect::Mode { .. } => {
                let mode = self.premises().mode(&self.fixed.name);
                if mode != self.mode {
                    self.take_mode(mode);
                }
            }
            Effect::Unlock { grant, .. } => {
                self.opening.push(grant);
                self.note(Level::Security, "door.exit", "opened by the exit button");
                self.event(Event::Open);
            }
            Effect::Shut { .. } => self.event(Event::Shut),
            Effect::Held { is_held, .. } => self.event(Event::Held(is_held)),
            Effect::AwaitOver { .. } => self.event(Event::AwaitOver),
            Effect::ExitRefused { .. } => {
                self.note(Level::Security, "door.exit_refused", "the exit button does not open now");
                self.event(Event::Refused);
            }
            Effect::Alarm(alarm) => {
                let level = if alarm.raised { Level::Error } else { Level::Info };
                let code = if alarm.raised { "door.alarm" } else { "door.alarm_over" };
                let text = alarm_text(alarm.kind, alarm.raised);
                let mut entry = self.entry(level, code, text).with("alarm", alarm.kind.code());
                if let Some(person) = &alarm.person {
                    entry = entry.with("person", person);
                }
                self.queue(entry);
                self.alarms.send(alarm);
            }
            Effect::Passed { person, area, .. } => {
                let place = area.as_ref().map_or("outside", Name::as_str);
                let text = format!("{person} went through and is now in {place}");
                self.queue(self.entry(Level::Info, "access.passed", text).with("person", &person).with("area", place));
            }
            Effect::Keep(_) => {}
        }
    }

    fn presented(&mut self, credential: Credential) {
        if !self.is_held_off(&credential) {
            self.decide(credential, None, None);
        }
    }

    /// Whether the same thing was decided lately and has been in sight since.
    fn is_held_off(&mut self, credential: &Credential) -> bool {
        // What a camera reads, it reads ten times a second; what is typed or swiped is meant each time.
        if !matches!(credential.key, Key::Qr(_) | Key::Plate(_) | Key::Face { .. }) {
            return false;
        }
        let now = self.clock.now();
        let hold_off = self.fixed.hold_off;
        self.seen.retain(|seen| now.mono.since(seen.at) < hold_off);
        let is_it = |seen: &&mut Seen| seen.source == credential.source && seen.key == credential.key;
        if let Some(seen) = self.seen.iter_mut().find(is_it) {
            seen.at = now.mono;
            // A plate that has stood there for a minute is the second credential of whoever shows a pass now.
            let kind = CredentialKind::of(&credential.key);
            let first = self.fixed.doors.premises().first_factor(&self.fixed.name, now);
            let may_complete = first.zip(kind).is_some_and(|((_, kinds), kind)| !kinds.has(kind));
            if may_complete && now.mono.since(seen.decided) >= hold_off {
                seen.decided = now.mono;
                return false;
            }
            return true;
        }
        if self.seen.len() == SEEN_MAX {
            self.seen.pop_front();
        }
        let (source, key) = (credential.source.clone(), credential.key.clone());
        self.seen.push_back(Seen { source, key, at: now.mono, decided: now.mono });
        false
    }

    fn decide(&mut self, credential: Credential, note: Option<String>, reply: Option<oneshot::Sender<Decision>>) {
        let now = self.clock.now();
        if now.mono.since(credential.at.mono) > CREDENTIAL_AGE_MAX {
            let text = format!("a {} credential waited too long to be decided", credential.key.kind());
            self.note(Level::Warning, "access.stale", text);
            return;
        }
        self.event(Event::Deciding);
        let settling = Settling {
            access: self.fixed.access.current(),
            premises: self.premises().clone(),
            spent: Arc::clone(&self.fixed.spent),
            journal: Arc::clone(&self.journal),
            clock: Arc::clone(&self.clock),
            door: self.fixed.name.clone(),
            note,
        };
        self.deciding = Some(Box::pin(async move {
            let (decision, grant, effects) = settling.settle(credential).await;
            Settled { decision, grant, effects, reply }
        }));
    }

    /// Only here is a door told to open.
    fn settled(&mut self, Settled { mut decision, grant, mut effects, reply }: Settled) {
        if decision.verdict == Verdict::Admit {
            let (door, now) = (&self.fixed.name, self.clock.now());
            match grant.map(|grant| (grant, self.premises().begin(door, grant, now))) {
                Some((grant, (true, begun))) => {
                    self.opening.push(grant);
                    effects.extend(begun);
                }
                // It was locked down while this was being journalled, or the journal and the store took too long.
                _ => {
                    let is_locked_down = self.premises().mode(door) == Mode::LockedDown;
                    decision.verdict = Verdict::Refuse;
                    decision.reason = if is_locked_down { Reason::LockedDown } else { Reason::Fault };
                    decision.rule = None;
                    let text = format!("not opened after all: {}", decision.reason);
                    self.note(Level::Security, "access.overtaken", text);
                }
            }
        }
        self.event(match decision.verdict {
            Verdict::Admit => Event::Open,
            Verdict::Refuse if decision.reason.is_waiting() => {
                let until = self.premises().read(|premises| premises.awaits_until(&self.fixed.name));
                Event::Awaiting(until.unwrap_or_else(|| self.clock.mono()))
            }
            Verdict::Refuse => Event::Refused,
        });
        effects.into_iter().for_each(|effect| self.take_effect(effect));
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
                    let state = event.state;
                    let is_new = before.is_none_or(|before| before.state != state);
                    if is_new {
                        self.note_state(&event);
                    }
                    self.fixed.doors.changed(&event);
                    self.events.send(event);
                    if is_new {
                        self.lock_is(state);
                    }
                }
                Command::Opened => {
                    self.opening.clear();
                    self.lock_is(DoorState::Unlocked);
                }
                Command::GaveUp => {
                    for grant in std::mem::take(&mut self.opening) {
                        self.happened(premises::Event::Withdrawn { door: self.fixed.name.clone(), grant });
                    }
                }
                Command::Alarm { text } => self.note(Level::Error, "door.alarm", text),
                Command::AlarmOver => self.note(Level::Info, "door.alarm_over", "the door is in order again"),
            }
        }
    }

    fn lock_is(&mut self, state: DoorState) {
        self.happened(premises::Event::Lock { door: self.fixed.name.clone(), state });
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

    fn entry(&self, level: Level, code: &str, text: impl Into<String>) -> Entry {
        Entry::new(self.clock.now(), self.fixed.name.clone(), level, code, text)
    }

    fn note(&mut self, level: Level, code: &str, text: impl Into<String>) {
        self.queue(self.entry(level, code, text));
    }

    /// What happens at a door is journalled when the journal has time; while it fails, what waits waits on.
    fn queue(&mut self, entry: Entry) {
        if self.notes.len() >= NOTES_MAX {
            // What is only told goes first, then what is oldest.
            let least = self.notes.iter().position(|note| note.level == Level::Info).unwrap_or(0);
            if let Some(lost) = self.notes.remove(least) {
                tracing::error!(door = %self.fixed.name, code = lost.code, "the journal does not keep up, an entry is lost");
            }
            self.notes_lost = self.notes_lost.saturating_add(1);
        }
        self.notes.push_back(entry);
    }

    /// An entry that came late is written twice rather than lost.
    fn write(&mut self, entry: Entry) {
        let journal = Arc::clone(&self.journal);
        self.writing = Some(Box::pin(async move {
            match tokio::time::timeout(STORE_TIMEOUT, journal.append(entry.clone())).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => {
                    tracing::error!(%error, code = entry.code, "cannot write the journal: tried again");
                    Some(entry)
                }
                Err(_) => {
                    tracing::error!(code = entry.code, "the journal does not answer: tried again");
                    Some(entry)
                }
            }
        }));
    }

    fn written(&mut self, unwritten: Option<Entry>) {
        match unwritten {
            Some(entry) => {
                self.notes.push_front(entry);
                self.write_at = self.clock.mono() + KEEP_RETRY;
            }
            None if self.notes_lost > 0 => {
                let lost = std::mem::take(&mut self.notes_lost);
                let text = format!("{lost} entries about this door were lost: the journal did not keep up");
                self.note(Level::Error, "door.entries_lost", text);
            }
            None => {}
        }
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
    pub(super) async fn stop(&mut self) {
        if self.fixed.options.timing == PulseTiming::Host && self.door.state() != DoorState::Locked {
            let off = self.fixed.relay.set(self.fixed.channel, Contact::Off);
            match tokio::time::timeout(STOP_PATIENCE, off).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.note(Level::Error, "door.alarm", format!("stopped, perhaps unlocked: {error}")),
                Err(_) => self.note(Level::Error, "door.alarm", "stopped, perhaps unlocked: the relay does not answer"),
            }
        }
        // What the lock does from now on, nobody here knows: an interlock counts it as open.
        self.lock_is(DoorState::Unknown);
        let event = DoorEvent {
            door: self.fixed.name.clone(),
            at: self.clock.now(),
            state: DoorState::Unknown,
            indication: Indication::Ready,
            open_for: None,
            detail: "the door's component has stopped".into(),
        };
        self.events.send(event);
        // What is being kept is waited for: dropping it halfway could lose it.
        let premises = self.premises().clone();
        let keep = async {
            if self.keeping.is_some() {
                finished(&mut self.keeping).await;
            }
            premises.keep().await
        };
        if !matches!(tokio::time::timeout(STORE_TIMEOUT, keep).await, Ok(Ok(()))) {
            tracing::error!(door = %self.fixed.name, "stopped before everything about the premises was kept");
        }
        while let Some(note) = self.notes.pop_front() {
            self.write(note);
            if finished(&mut self.writing).await.is_some() {
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
