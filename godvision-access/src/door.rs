//! [`Door`]: one door and its relay as a state machine, without IO and without a clock.
//!
//! ```text
//! Event + now --step--> Commands       the caller carries them out and reports back: Event::Relay(id, result)
//! next_wake() -> when to come again with Event::Tick
//! ```
//! What it ensures:
//! * It opens only when told ([`Event::Open`]), by a pulse; it never switches on for good. A door that is kept free
//!   ([`Mode::Free`]) is pulsed again and again, so a program that dies or a link that is cut locks it in
//!   [`FREE_PULSE`] where the device has a timer.
//! * One command is on its way at a time. One that gets no answer is given up after [`COMMAND_TIMEOUT`].
//! * After a pulse the door counts as locked only when the relay's own status says so. A pulse timed on the device is
//!   checked once it must be over; one that is not is switched off, again and again until confirmed, with an alarm.
//! * An error that leaves open whether the command was carried out is settled by asking the relay.
//! * At start it asks; a door found open is shut.
//!
//! On is unlocked: a door whose lock opens without power is wired to the contact that opens when the relay is on.
//!
//! **Never:** deciding who may enter (that is [`crate::premises`], which also says the [`Mode`]), waiting.

use std::time::Duration;

use godvision_core::MonoTime;
use godvision_core::driver::relay::{Contact, PulseTiming, RelayError};
use godvision_core::signal::door::{DoorState, Indication};

use crate::premises::Mode;

/// A command without an answer for so long counts as timed out. Longer than any driver waits.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an opening is tried after it was told. Later nobody stands there any more, and a door that opens then opens
/// to whoever does.
pub const OPEN_PATIENCE: Duration = Duration::from_secs(3);
/// A pulse timed on the device is checked so long after it should be over: the clocks of two devices differ.
pub const END_MARGIN: Duration = Duration::from_millis(300);
/// How long a refusal is shown: three beeps of 100 ms with a blink each, 500 ms apart, and a moment to see it.
pub const REFUSED_SHOWN: Duration = Duration::from_millis(1800);
/// How long a reader shows that it is busy if no decision comes.
pub const BUSY_SHOWN: Duration = Duration::from_secs(5);

/// A free door is unlocked by pulses of this length, or the device's longest, each renewed when half of it is over.
pub const FREE_PULSE: Duration = Duration::from_secs(20);

/// Retries wait 200 ms, 400 ms, ... up to 5 s.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Retries after an error that will not pass by itself (a wrong password).
const RETRY_PERMANENT: Duration = Duration::from_secs(30);
/// So many failed status queries in a row raise an alarm about a door that may be open: one lost packet does not.
const ALARM_FAILURES: u32 = 2;

/// What is fixed about a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorOptions {
    /// How long it is unlocked.
    pub pulse: Duration,
    /// Who ends a pulse: what the relay's driver says.
    pub timing: PulseTiming,
    /// How often the relay's status is read while nothing happens, so that a dead relay is known before it is needed.
    pub poll: Duration,
}

/// Counts commands; an answer names the command it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(u64);

/// What the relay is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// [`godvision_core::driver::relay::Relay::pulse`].
    Pulse(Duration),
    /// [`godvision_core::driver::relay::Relay::set`] to off.
    SwitchOff,
    /// [`godvision_core::driver::relay::Relay::status`].
    Status,
}

/// What came of an [`Action`]: the contact for a status, `None` for the others.
pub type ActionResult = Result<Option<Contact>, RelayError>;

/// What happens to a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A credential is being decided.
    Deciding,
    /// A credential was refused.
    Refused,
    /// Somebody may enter: journalled, and the pass spent.
    Open,
    /// Shut it now, whatever runs.
    Shut,
    /// It is kept so from now on.
    Mode(Mode),
    /// Another credential or person is awaited until this moment.
    Awaiting(MonoTime),
    /// Nothing is awaited any more.
    AwaitOver,
    /// The leaf stands open too long, or no longer.
    Held(bool),
    /// The relay answered, or did not.
    Relay(CommandId, ActionResult),
    /// Time has passed.
    Tick,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Tell the relay, and report with [`Event::Relay`].
    Relay(CommandId, Action),
    /// What [`Event::Open`] asked for is done: the relay has confirmed.
    Opened,
    /// What [`Event::Open`] asked for will not be done any more.
    GaveUp,
    /// The door's state or indication changed.
    Changed(Change),
    /// Somebody has to look: journal it and tell the owner.
    Alarm {
        /// What is wrong, in words.
        text: String,
    },
    /// What the last alarm was about is over.
    AlarmOver,
}

/// A change to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What the door does now.
    pub state: DoorState,
    /// What its readers show now.
    pub indication: Indication,
    /// When unlocked: how long in all.
    pub open_for: Option<Duration>,
    /// The error behind it, in words; empty without one.
    pub detail: String,
}

/// What is known about the contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Unknown,
    Off,
    /// On until about this moment.
    On {
        until: MonoTime,
    },
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    id: CommandId,
    action: Action,
    deadline: MonoTime,
}

/// One door.
#[derive(Clone, Debug)]
pub struct Door {
    options: DoorOptions,
    belief: Belief,
    /// The contact must be switched off and confirmed off.
    must_shut: bool,
    /// How often the relay said that it switched off since it was last seen off.
    shut_tries: u32,
    mode: Mode,
    /// Somebody may enter: try until this moment.
    open_until: Option<MonoTime>,
    /// A pulse was sent whose fate is not known; a status of on means that it was carried out.
    pulse_in_doubt: bool,
    in_flight: Option<InFlight>,
    commands: u64,
    failures: u32,
    /// Nothing is sent before this moment.
    retry_at: MonoTime,
    /// When the status is read if nothing else happens.
    poll_at: MonoTime,
    busy_until: Option<MonoTime>,
    refused_until: Option<MonoTime>,
    awaiting_until: Option<MonoTime>,
    is_held: bool,
    /// The last error, while it matters.
    error: String,
    alarmed: bool,
    shown: Option<(DoorState, Indication)>,
}

impl Door {
    /// A door of which nothing is known yet. The first [`Event::Tick`] asks the relay.
    pub fn new(options: DoorOptions) -> Self {
        Self {
            options,
            belief: Belief::Unknown,
            must_shut: false,
            shut_tries: 0,
            mode: Mode::Normal,
            open_until: None,
            pulse_in_doubt: false,
            in_flight: None,
            commands: 0,
            failures: 0,
            retry_at: MonoTime::ZERO,
            poll_at: MonoTime::ZERO,
            busy_until: None,
            refused_until: None,
            awaiting_until: None,
            is_held: false,
            error: String::new(),
            alarmed: false,
            shown: None,
        }
    }

    /// What the door does.
    pub fn state(&self) -> DoorState {
        let is_opening =
            self.open_until.is_some() || matches!(self.in_flight, Some(InFlight { action: Action::Pulse(_), .. }));
        match self.belief {
            _ if self.alarmed => DoorState::Fault,
            Belief::On { .. } if self.is_free() => DoorState::Free,
            Belief::On { .. } => DoorState::Unlocked,
            _ if is_opening => DoorState::Unlocking,
            Belief::Unknown if !self.error.is_empty() => DoorState::Fault,
            Belief::Unknown => DoorState::Unknown,
            Belief::Off if self.mode == Mode::LockedDown => DoorState::LockedDown,
            Belief::Off => DoorState::Locked,
        }
    }

    fn is_free(&self) -> bool {
        matches!(self.mode, Mode::Free(_))
    }

    /// How long one pulse of a free door is.
    fn free_pulse(&self) -> Duration {
        match self.options.timing {
            PulseTiming::Device { min, max, .. } => FREE_PULSE.clamp(min, max.max(min)),
            PulseTiming::Host => FREE_PULSE,
        }
    }

    /// What its readers show.
    pub fn indication(&self) -> Indication {
        if self.refused_until.is_some() {
            Indication::Refused
        } else if matches!(self.belief, Belief::On { .. }) {
            Indication::Open
        } else if self.busy_until.is_some() || self.open_until.is_some() {
            Indication::Busy
        } else if self.awaiting_until.is_some() {
            Indication::Awaiting
        } else if self.is_held {
            Indication::Held
        } else {
            Indication::Ready
        }
    }

    /// When [`Event::Tick`] is due.
    pub fn next_wake(&self) -> MonoTime {
        let mut wake = match (self.in_flight, self.next_action()) {
            (Some(in_flight), _) => in_flight.deadline,
            (None, Some((_, at))) => at.max(self.retry_at),
            (None, None) => self.poll_at,
        };
        let shown = [self.busy_until, self.refused_until, self.awaiting_until, self.open_until, self.free_until()];
        for at in shown.into_iter().flatten() {
            wake = wake.min(at);
        }
        wake
    }

    /// Takes one event and says what is to be done, in this order.
    pub fn step(&mut self, event: Event, now: MonoTime) -> Vec<Command> {
        let mut commands = Vec::new();
        match event {
            Event::Deciding => {
                self.refused_until = None;
                self.busy_until = Some(now + BUSY_SHOWN);
            }
            Event::Refused => {
                self.busy_until = None;
                self.awaiting_until = None;
                self.refused_until = Some(now + REFUSED_SHOWN);
            }
            Event::Open => {
                self.busy_until = None;
                self.refused_until = None;
                self.awaiting_until = None;
                if self.is_free() && matches!(self.belief, Belief::On { .. }) {
                    commands.push(Command::Opened);
                } else {
                    self.open_until = Some(now + OPEN_PATIENCE);
                    // A person waits: an earlier back-off does not count.
                    self.retry_at = now;
                }
            }
            Event::Awaiting(until) => {
                self.busy_until = None;
                self.awaiting_until = Some(until);
            }
            Event::AwaitOver => self.awaiting_until = None,
            Event::Held(is_held) => self.is_held = is_held,
            Event::Mode(mode) => self.kept(mode, now, &mut commands),
            Event::Shut => {
                self.give_up(&mut commands);
                self.must_shut = true;
                self.retry_at = now;
            }
            Event::Relay(id, result) => {
                if let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.id == id) {
                    self.answered(in_flight.action, result, now, &mut commands);
                }
            }
            Event::Tick => {}
        }
        self.pass_time(now, &mut commands);
        if self.in_flight.is_none()
            && let Some((action, at)) = self.next_action()
            && at <= now
            && self.retry_at <= now
        {
            self.send(action, now, &mut commands);
        }
        self.show(&mut commands);
        commands
    }

    fn pass_time(&mut self, now: MonoTime, commands: &mut Vec<Command>) {
        self.busy_until = self.busy_until.filter(|until| *until > now);
        self.refused_until = self.refused_until.filter(|until| *until > now);
        self.awaiting_until = self.awaiting_until.filter(|until| *until > now);
        if self.free_until().is_some_and(|until| until <= now) {
            // It could not be renewed: a device with a timer has locked it.
            self.belief = Belief::Unknown;
        }
        if self.open_until.is_some_and(|until| until <= now) {
            self.give_up(commands);
            // A pulse that is on its way would open for nobody.
            if self.in_flight.take_if(|in_flight| matches!(in_flight.action, Action::Pulse(_))).is_some() {
                self.must_shut = true;
                self.belief = Belief::Unknown;
                self.retry_at = now;
            }
            if self.error.is_empty() {
                self.error = "the relay was too slow to open".into();
            }
        }
        if let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.deadline <= now) {
            let timeout = RelayError::Timeout { address: "of the door".into(), waited: COMMAND_TIMEOUT };
            self.answered(in_flight.action, Err(timeout), now, commands);
        }
    }

    /// When the last pulse of a free door is over.
    fn free_until(&self) -> Option<MonoTime> {
        match self.belief {
            Belief::On { until } if self.is_free() => Some(until),
            _ => None,
        }
    }

    fn kept(&mut self, mode: Mode, now: MonoTime, commands: &mut Vec<Command>) {
        let was_free = self.is_free();
        let before = std::mem::replace(&mut self.mode, mode);
        if before == mode {
            return;
        }
        self.retry_at = now;
        if self.is_free() {
            self.must_shut = false;
        } else if was_free || mode == Mode::LockedDown {
            self.give_up(commands);
            // Also what is on its way: a wish to shut outlives a pulse.
            self.must_shut = self.belief != Belief::Off || self.in_flight.is_some();
        }
    }

    /// Nobody is let in any more by what was asked before.
    fn give_up(&mut self, commands: &mut Vec<Command>) {
        if self.open_until.take().is_some() {
            commands.push(Command::GaveUp);
        }
    }

    fn let_in(&mut self, commands: &mut Vec<Command>) {
        if self.open_until.take().is_some() {
            commands.push(Command::Opened);
        }
    }

    /// What is to be sent next, and from when on.
    fn next_action(&self) -> Option<(Action, MonoTime)> {
        let at_once = MonoTime::ZERO;
        if self.pulse_in_doubt {
            return Some((Action::Status, at_once));
        }
        if self.open_until.is_some() && !self.is_free() {
            return Some((Action::Pulse(self.options.pulse), at_once));
        }
        if self.must_shut {
            return Some((Action::SwitchOff, at_once));
        }
        if self.is_free() {
            let pulse = self.free_pulse();
            let renew_at = match self.belief {
                Belief::On { until } => until.saturating_sub(pulse / 2),
                Belief::Off | Belief::Unknown => at_once,
            };
            return Some((Action::Pulse(pulse), renew_at));
        }
        Some(match (self.belief, self.options.timing) {
            (Belief::Unknown, _) => (Action::Status, at_once),
            (Belief::Off, _) => (Action::Status, self.poll_at),
            (Belief::On { until }, PulseTiming::Device { .. }) => (Action::Status, until),
            (Belief::On { until }, PulseTiming::Host) => (Action::SwitchOff, until),
        })
    }

    fn send(&mut self, action: Action, now: MonoTime, commands: &mut Vec<Command>) {
        if matches!(action, Action::Pulse(_)) {
            // A new pulse takes the place of an older wish to shut; a later wish to shut outlives the pulse.
            self.must_shut = false;
        }
        self.commands += 1;
        let id = CommandId(self.commands);
        self.in_flight = Some(InFlight { id, action, deadline: now + COMMAND_TIMEOUT });
        commands.push(Command::Relay(id, action));
    }

    fn answered(&mut self, action: Action, result: ActionResult, now: MonoTime, commands: &mut Vec<Command>) {
        match (action, result) {
            (Action::Pulse(pulse), Ok(_)) => {
                // Whoever it was for has been refused meanwhile.
                self.must_shut |= self.open_until.is_none() && !self.is_free();
                self.let_in(commands);
                self.shut_tries = 0;
                self.opened(pulse, now);
                self.succeeded(commands);
            }
            (Action::Pulse(_), Err(error)) => {
                self.pulse_in_doubt = error.is_ambiguous();
                if !error.is_temporary() {
                    self.give_up(commands);
                }
                if !matches!(self.belief, Belief::On { .. }) {
                    self.belief = Belief::Unknown;
                }
                self.failed(&error, now);
                if self.pulse_in_doubt {
                    // Asked at once: the answer may be that the door is open.
                    self.retry_at = now;
                }
            }
            (Action::SwitchOff, Ok(_)) => {
                // Believed only when the relay's status says so.
                self.must_shut = false;
                self.shut_tries = self.shut_tries.saturating_add(1);
                self.belief = Belief::Unknown;
            }
            (Action::SwitchOff, Err(error)) => {
                // It stays what is to be done next: `must_shut`, or the pulse that is over.
                self.failed(&error, now);
                if matches!(self.belief, Belief::On { .. }) || self.failures >= ALARM_FAILURES {
                    self.alarm("the door could not be locked", commands);
                }
            }
            (Action::Status, Ok(Some(Contact::Off))) => {
                self.pulse_in_doubt = false;
                self.must_shut = false;
                self.shut_tries = 0;
                self.belief = Belief::Off;
                self.poll_at = now + self.options.poll;
                self.succeeded(commands);
            }
            (Action::Status, Ok(Some(Contact::On))) => self.found_on(now, commands),
            (Action::Status, Ok(None)) => {
                let error =
                    RelayError::BadReply { address: "of the door".into(), detail: "a status without one".into() };
                self.status_failed(&error, now, commands);
            }
            (Action::Status, Err(error)) => self.status_failed(&error, now, commands),
        }
    }

    /// The relay says that it is on.
    fn found_on(&mut self, now: MonoTime, commands: &mut Vec<Command>) {
        let was_in_doubt = std::mem::take(&mut self.pulse_in_doubt);
        match self.belief {
            // The pulse in doubt was carried out, just now.
            _ if was_in_doubt && (self.open_until.is_some() || self.is_free()) => {
                self.let_in(commands);
                self.opened(if self.is_free() { self.free_pulse() } else { self.options.pulse }, now);
                self.succeeded(commands);
            }
            // Somebody else opened it (a button at the device): let their pulse run out before asking again.
            Belief::Off => {
                self.opened(self.options.pulse, now);
                self.error = "opened by something else than this program".into();
            }
            // It says that it switched off and does not.
            Belief::Unknown if self.shut_tries > 0 => {
                self.must_shut = true;
                self.wait_before_retry(now);
                self.error = "the relay is on after it was switched off".into();
                self.alarm("the door could not be locked", commands);
            }
            // At start, or after a pulse whose fate was unknown for long: shut it.
            Belief::Unknown => {
                self.must_shut = true;
                self.belief = Belief::On { until: now };
            }
            Belief::On { .. } => {
                self.must_shut = true;
                self.error = "still open after its time".into();
                self.alarm("the door is still open after its time", commands);
            }
        }
    }

    fn status_failed(&mut self, error: &RelayError, now: MonoTime, commands: &mut Vec<Command>) {
        self.failed(error, now);
        let may_be_open = matches!(self.belief, Belief::On { .. }) || self.pulse_in_doubt || self.shut_tries > 0;
        if !matches!(self.belief, Belief::On { .. }) {
            self.belief = Belief::Unknown;
        }
        if may_be_open && self.failures >= ALARM_FAILURES {
            self.alarm("whether the door is locked is not known", commands);
        }
    }

    fn opened(&mut self, pulse: Duration, now: MonoTime) {
        let margin =
            if matches!(self.options.timing, PulseTiming::Device { .. }) { END_MARGIN } else { Duration::ZERO };
        self.belief = Belief::On { until: now + pulse + margin };
    }

    fn succeeded(&mut self, commands: &mut Vec<Command>) {
        self.failures = 0;
        self.error.clear();
        if std::mem::take(&mut self.alarmed) {
            commands.push(Command::AlarmOver);
        }
    }

    fn failed(&mut self, error: &RelayError, now: MonoTime) {
        self.wait_before_retry(now);
        if !error.is_temporary() {
            self.retry_at = now + RETRY_PERMANENT;
        }
        self.error = error.to_string();
    }

    fn wait_before_retry(&mut self, now: MonoTime) {
        self.retry_at = now + RETRY_FIRST.saturating_mul(1 << self.failures.min(10)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
    }

    fn alarm(&mut self, what: &str, commands: &mut Vec<Command>) {
        if !std::mem::replace(&mut self.alarmed, true) {
            let text = if self.error.is_empty() { what.to_owned() } else { format!("{what}: {}", self.error) };
            commands.push(Command::Alarm { text });
        }
    }

    fn show(&mut self, commands: &mut Vec<Command>) {
        let (state, indication) = (self.state(), self.indication());
        if self.shown == Some((state, indication)) {
            return;
        }
        self.shown = Some((state, indication));
        let is_ours = state == DoorState::Unlocked && self.error.is_empty();
        let open_for = is_ours.then_some(self.options.pulse);
        commands.push(Command::Changed(Change { state, indication, open_for, detail: self.error.clone() }));
    }
}
