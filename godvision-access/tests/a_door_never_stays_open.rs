//! The door's state machine on a virtual clock, with a relay that loses its link, its replies and its mind.

use std::time::Duration;

use godvision_access::door::{Action, Change, Command, CommandId, Door, DoorOptions, Event, FREE_PULSE, OPEN_PATIENCE};
use godvision_access::premises::{Freedom, Mode};
use godvision_core::MonoTime;
use godvision_core::driver::relay::{Contact, PulseTiming, RelayError};
use godvision_core::signal::door::{DoorState, Indication};
use proptest::prelude::*;

const PULSE: Duration = Duration::from_secs(3);
const DEVICE: PulseTiming =
    PulseTiming::Device { min: Duration::from_millis(1), max: Duration::from_secs(60), step: Duration::from_millis(1) };

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Good,
    /// Not carried out, and said so at once.
    Down,
    /// Carried out, but the answer is lost.
    AnswerLost,
    /// Not carried out, and no answer.
    CommandLost,
    /// Answers that it was done, but does nothing.
    Liar,
    /// Refused for good.
    WrongPassword,
    /// The driver never comes back at all.
    Hangs,
}

struct World {
    door: Door,
    now: MonoTime,
    link: Link,
    timing: PulseTiming,
    on: bool,
    off_at: Option<MonoTime>,
    reply_after: Duration,
    replies: Vec<(MonoTime, CommandId, Result<Option<Contact>, RelayError>)>,
    changes: Vec<(MonoTime, Change)>,
    alarms: Vec<String>,
    alarmed: bool,
    actions: Vec<(MonoTime, Action)>,
    in_flight: Option<CommandId>,
    /// How often the door said that it had let somebody in, and that it would not.
    opened: usize,
    gave_up: usize,
    /// Whether the relay's last word was off, with no pulse told since.
    confirmed_off: bool,
}

impl World {
    fn new(timing: PulseTiming) -> Self {
        let options = DoorOptions { pulse: PULSE, timing, poll: Duration::from_secs(30) };
        Self {
            door: Door::new(options),
            now: MonoTime::from_millis(1_000_000),
            link: Link::Good,
            timing,
            on: false,
            off_at: None,
            reply_after: Duration::from_millis(20),
            replies: Vec::new(),
            changes: Vec::new(),
            alarms: Vec::new(),
            alarmed: false,
            actions: Vec::new(),
            in_flight: None,
            opened: 0,
            gave_up: 0,
            confirmed_off: false,
        }
    }

    fn started(timing: PulseTiming) -> Self {
        let mut world = Self::new(timing);
        world.event(Event::Tick);
        world.run(Duration::from_millis(100));
        assert_eq!(world.door.state(), DoorState::Locked);
        world.actions.clear();
        world.changes.clear();
        world
    }

    fn event(&mut self, event: Event) {
        if let Event::Relay(id, result) = &event {
            if self.in_flight == Some(*id) {
                self.in_flight = None;
            }
            if let Ok(Some(contact)) = result {
                self.confirmed_off = *contact == Contact::Off;
            }
        }
        for command in self.door.step(event, self.now) {
            match command {
                Command::Relay(id, action) => self.carry_out(id, action),
                Command::Opened => self.opened += 1,
                Command::GaveUp => self.gave_up += 1,
                Command::Changed(change) => self.changes.push((self.now, change)),
                Command::Alarm { text } => {
                    assert!(!std::mem::replace(&mut self.alarmed, true), "an alarm is raised once");
                    self.alarms.push(text);
                }
                Command::AlarmOver => assert!(std::mem::replace(&mut self.alarmed, false), "there was an alarm"),
            }
        }
        if matches!(self.door.state(), DoorState::Locked | DoorState::LockedDown) {
            assert!(self.confirmed_off, "locked is what the relay says, not what is hoped");
        }
    }

    fn carry_out(&mut self, id: CommandId, action: Action) {
        self.actions.push((self.now, action));
        if matches!(action, Action::Pulse(_)) {
            self.confirmed_off = false;
        }
        let address = || "test".to_owned();
        let timeout = Err(RelayError::Timeout { address: address(), waited: Duration::from_secs(2) });
        let later = Duration::from_secs(2);
        let (done, after, result) = match self.link {
            Link::Good => (true, self.reply_after, Ok(None)),
            Link::Down => {
                (false, self.reply_after, Err(RelayError::Unreachable { address: address(), detail: "down".into() }))
            }
            Link::AnswerLost => (true, later, timeout),
            Link::CommandLost => (false, later, timeout),
            Link::Liar => (false, self.reply_after, Ok(None)),
            Link::WrongPassword => (false, self.reply_after, Err(RelayError::AuthFailed { address: address() })),
            Link::Hangs => {
                self.in_flight = Some(id);
                return;
            }
        };
        let mut result = result;
        if done {
            self.device(action);
        }
        if action == Action::Status && result.is_ok() {
            result = Ok(Some(if self.on { Contact::On } else { Contact::Off }));
        }
        self.in_flight = Some(id);
        self.replies.push((self.now + after, id, result));
    }

    fn device(&mut self, action: Action) {
        match action {
            Action::Pulse(duration) => {
                self.on = true;
                self.off_at = matches!(self.timing, PulseTiming::Device { .. }).then(|| self.now + duration);
            }
            Action::SwitchOff => (self.on, self.off_at) = (false, None),
            Action::Status => {}
        }
    }

    /// Lets time pass, from one thing that happens to the next.
    fn run(&mut self, by: Duration) {
        let end = self.now + by;
        for _ in 0..100_000 {
            let reply = self.replies.iter().map(|(at, ..)| *at).min();
            let wake = self.door.next_wake().max(self.now);
            let next = [reply, self.off_at, Some(wake)].into_iter().flatten().min().unwrap().max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if self.off_at.is_some_and(|at| at <= self.now) {
                (self.on, self.off_at) = (false, None);
            }
            match self.replies.iter().position(|(at, ..)| *at <= self.now) {
                Some(index) => {
                    let (_, id, result) = self.replies.remove(index);
                    self.event(Event::Relay(id, result));
                }
                None => self.event(Event::Tick),
            }
        }
        panic!("the door spins without time passing: {:?}", self.door);
    }

    fn states(&self) -> Vec<DoorState> {
        let mut states: Vec<DoorState> = self.changes.iter().map(|(_, change)| change.state).collect();
        states.dedup();
        states
    }

    fn sent(&self) -> Vec<Action> {
        self.actions.iter().map(|(_, action)| *action).collect()
    }
}

#[test]
fn a_good_opening_goes_by_the_book() {
    for timing in [DEVICE, PulseTiming::Host] {
        let mut world = World::started(timing);
        world.event(Event::Deciding);
        assert_eq!(world.door.indication(), Indication::Busy);
        world.event(Event::Open);
        world.run(Duration::from_millis(100));
        assert!(world.on);
        assert_eq!((world.door.state(), world.door.indication()), (DoorState::Unlocked, Indication::Open));
        assert_eq!(world.changes.last().unwrap().1.open_for, Some(PULSE));
        world.run(Duration::from_secs(4));
        assert!(!world.on);
        assert_eq!(
            world.states(),
            [DoorState::Locked, DoorState::Unlocking, DoorState::Unlocked, DoorState::Unknown, DoorState::Locked][..]
                .iter()
                .copied()
                .filter(|state| timing == PulseTiming::Host || *state != DoorState::Unknown)
                .collect::<Vec<_>>()
        );
        assert_eq!(world.door.indication(), Indication::Ready);
        let expected = match timing {
            PulseTiming::Host => vec![Action::Pulse(PULSE), Action::SwitchOff, Action::Status],
            PulseTiming::Device { .. } => vec![Action::Pulse(PULSE), Action::Status],
        };
        assert_eq!(world.sent(), expected);
        assert!(world.alarms.is_empty());
    }
}

#[test]
fn a_refusal_is_shown_and_passes() {
    let mut world = World::started(DEVICE);
    world.event(Event::Deciding);
    world.event(Event::Refused);
    assert_eq!(world.door.indication(), Indication::Refused);
    world.run(Duration::from_millis(1700));
    assert_eq!(world.door.indication(), Indication::Refused);
    world.run(Duration::from_millis(200));
    assert_eq!(world.door.indication(), Indication::Ready);
    assert!(world.sent().is_empty(), "a refusal moves nothing");
}

#[test]
fn a_refusal_while_open_does_not_lock_and_a_decision_that_never_comes_passes() {
    let mut world = World::started(DEVICE);
    world.event(Event::Open);
    world.run(Duration::from_millis(100));
    world.event(Event::Refused);
    assert_eq!((world.door.state(), world.door.indication()), (DoorState::Unlocked, Indication::Refused));
    world.run(Duration::from_secs(2));
    assert_eq!(world.door.indication(), Indication::Open);
    world.run(Duration::from_secs(10));
    world.event(Event::Deciding);
    world.run(Duration::from_secs(6));
    assert_eq!(world.door.indication(), Indication::Ready);
}

#[test]
fn two_credentials_at_once_open_once_and_a_later_one_starts_the_time_anew() {
    let mut world = World::started(DEVICE);
    world.event(Event::Open);
    world.event(Event::Open);
    world.run(Duration::from_millis(100));
    assert_eq!(world.sent(), [Action::Pulse(PULSE)], "both walk through the same opening");
    world.run(Duration::from_secs(2));
    world.event(Event::Open);
    world.run(Duration::from_secs(2));
    assert!(world.on, "the second opening counts from its own beginning");
    assert_eq!(world.door.state(), DoorState::Unlocked);
    world.run(Duration::from_secs(3));
    assert!(!world.on);
    assert_eq!(world.door.state(), DoorState::Locked);
}

#[test]
fn shutting_wins_over_a_pulse_on_its_way() {
    let mut world = World::started(DEVICE);
    world.event(Event::Open);
    world.event(Event::Shut);
    world.run(Duration::from_millis(200));
    assert!(!world.on);
    assert_eq!(world.door.state(), DoorState::Locked);
    assert_eq!(world.sent(), [Action::Pulse(PULSE), Action::SwitchOff, Action::Status]);
}

#[test]
fn a_door_found_open_at_start_is_shut() {
    let mut world = World::new(DEVICE);
    world.on = true;
    world.event(Event::Tick);
    world.run(Duration::from_millis(200));
    assert!(!world.on);
    assert_eq!(world.door.state(), DoorState::Locked);
    assert!(world.alarms.is_empty());
}

#[test]
fn a_lost_answer_is_settled_by_asking() {
    let mut world = World::started(DEVICE);
    world.link = Link::AnswerLost;
    world.event(Event::Open);
    world.run(Duration::from_millis(1900));
    world.link = Link::Good;
    world.run(Duration::from_millis(200));
    assert_eq!(world.door.state(), DoorState::Unlocked, "it was carried out");
    assert_eq!(world.sent(), [Action::Pulse(PULSE), Action::Status]);
    world.run(Duration::from_secs(5));
    assert_eq!(world.door.state(), DoorState::Locked);
}

#[test]
fn a_lost_command_is_repeated_while_somebody_waits() {
    let mut world = World::started(DEVICE);
    world.link = Link::CommandLost;
    world.event(Event::Open);
    world.run(Duration::from_millis(1900));
    world.link = Link::Good;
    world.run(Duration::from_millis(300));
    assert!(world.on);
    assert_eq!(world.sent(), [Action::Pulse(PULSE), Action::Status, Action::Pulse(PULSE)]);
}

#[test]
fn a_relay_that_comes_back_later_opens_to_nobody() {
    let mut world = World::started(DEVICE);
    world.link = Link::Down;
    world.event(Event::Open);
    world.run(OPEN_PATIENCE + Duration::from_millis(1));
    assert_eq!(world.door.state(), DoorState::Fault);
    assert!(world.changes.last().unwrap().1.detail.contains("cannot be reached"));
    world.link = Link::Good;
    world.run(Duration::from_secs(60));
    assert!(!world.on);
    assert_eq!(world.door.state(), DoorState::Locked);
    let pulses: Vec<MonoTime> =
        world.actions.iter().filter(|(_, action)| matches!(action, Action::Pulse(_))).map(|(at, _)| *at).collect();
    assert!(pulses.len() > 2, "it was tried again");
    assert!(*pulses.last().unwrap() - pulses[0] < OPEN_PATIENCE);
}

#[test]
fn a_pulse_whose_answer_was_lost_long_ago_is_no_reason_to_keep_the_door_open() {
    let mut world = World::started(PulseTiming::Host);
    world.link = Link::AnswerLost;
    world.event(Event::Open);
    world.run(Duration::from_millis(1900));
    world.link = Link::Down;
    world.run(Duration::from_secs(30));
    assert!(world.on, "it was carried out, and nobody could switch it off");
    assert_eq!((world.door.state(), world.alarms.len()), (DoorState::Fault, 1));
    world.link = Link::Good;
    let healed = world.actions.len();
    world.run(Duration::from_secs(6));
    assert!(!world.on);
    assert_eq!(world.sent()[healed..], [Action::Status, Action::SwitchOff, Action::Status], "shut at once");
    assert!(world.actions[healed + 1].0 - world.actions[healed].0 < Duration::from_millis(100));
    assert_eq!(world.door.state(), DoorState::Locked);
}

#[test]
fn a_wrong_password_is_tried_once_and_then_rarely() {
    let mut world = World::started(DEVICE);
    world.link = Link::WrongPassword;
    world.event(Event::Open);
    world.run(Duration::from_secs(20));
    assert_eq!(world.sent(), [Action::Pulse(PULSE)]);
    assert_eq!(world.door.state(), DoorState::Fault);
    assert!(world.changes.last().unwrap().1.detail.contains("password"));
}

#[test]
fn a_relay_without_a_timer_is_switched_off_until_confirmed_with_an_alarm() {
    let mut world = World::started(PulseTiming::Host);
    world.event(Event::Open);
    world.run(Duration::from_secs(1));
    world.link = Link::Down;
    world.run(Duration::from_secs(60));
    assert!(world.on, "the link is down");
    assert_eq!(world.door.state(), DoorState::Fault);
    assert_eq!(world.alarms.len(), 1);
    let tries = world.sent().iter().filter(|action| **action == Action::SwitchOff).count();
    assert!((10..40).contains(&tries), "{tries} tries in a minute");
    world.link = Link::Good;
    world.run(Duration::from_secs(6));
    assert!(!world.on && !world.alarmed);
    assert_eq!(world.door.state(), DoorState::Locked);
}

#[test]
fn a_relay_that_says_off_and_stays_on_is_an_alarm_not_a_spin() {
    let mut world = World::started(PulseTiming::Host);
    world.event(Event::Open);
    world.run(Duration::from_secs(1));
    world.link = Link::Liar;
    world.run(Duration::from_secs(60));
    assert_eq!((world.door.state(), world.alarms.len()), (DoorState::Fault, 1));
    assert!(world.alarms[0].contains("could not be locked"), "{}", world.alarms[0]);
    assert!(world.actions.len() < 60, "{} commands in a minute", world.actions.len());
}

#[test]
fn a_device_that_does_not_end_its_pulse_is_switched_off() {
    let mut world = World::started(DEVICE);
    world.event(Event::Open);
    world.run(Duration::from_secs(1));
    world.off_at = None;
    world.run(Duration::from_secs(3));
    assert!(!world.on && !world.alarmed);
    assert_eq!(world.alarms, ["the door is still open after its time: still open after its time"]);
    assert_eq!(world.door.state(), DoorState::Locked);
}

#[test]
fn a_button_at_the_device_is_seen_and_its_door_shut() {
    let mut world = World::started(DEVICE);
    world.on = true;
    world.run(Duration::from_secs(31));
    assert_eq!(world.door.state(), DoorState::Unlocked);
    let change = &world.changes.last().unwrap().1;
    assert_eq!((change.open_for, change.detail.as_str()), (None, "opened by something else than this program"));
    world.run(Duration::from_secs(5));
    assert!(!world.on);
    assert_eq!(world.door.state(), DoorState::Locked);
    assert_eq!(world.alarms.len(), 1);
}

#[test]
fn a_driver_that_hangs_is_given_up() {
    let mut world = World::started(DEVICE);
    world.link = Link::Hangs;
    world.event(Event::Open);
    world.run(Duration::from_secs(14));
    // Once nobody waits any more, the pulse that hangs is dropped: it must not open late.
    assert_eq!(world.sent(), [Action::Pulse(PULSE), Action::SwitchOff]);
    world.run(Duration::from_secs(40));
    assert!(world.sent().len() > 2);
    assert_eq!((world.door.state(), world.alarms.len()), (DoorState::Fault, 1));
    world.link = Link::Good;
    world.run(Duration::from_secs(30));
    assert_eq!(world.door.state(), DoorState::Locked);
}

#[test]
fn a_relay_that_dies_is_known_before_it_is_needed() {
    let mut world = World::started(DEVICE);
    world.link = Link::Down;
    world.run(Duration::from_secs(31));
    assert_eq!(world.door.state(), DoorState::Fault);
    assert!(world.alarms.is_empty(), "it was locked, and nothing has moved it");
}

const FREE: Event = Event::Mode(Mode::Free(Freedom::Schedule));
const NORMAL: Event = Event::Mode(Mode::Normal);

#[test]
fn a_free_door_stays_unlocked_and_locks_when_its_time_is_over() {
    for timing in [DEVICE, PulseTiming::Host] {
        let mut world = World::started(timing);
        world.event(FREE);
        world.run(Duration::from_millis(100));
        for _ in 0..600 {
            world.run(Duration::from_secs(1));
            assert!(world.on, "{timing:?}");
            assert_eq!((world.door.state(), world.door.indication()), (DoorState::Free, Indication::Open));
        }
        let pulses = world.sent().len();
        assert!((55..=65).contains(&pulses), "renewed each 10 s, not at every tick: {pulses} commands in 10 min");
        world.event(Event::Open);
        assert_eq!((world.opened, world.sent().len()), (1, pulses), "who shows a card all the same just goes in");
        world.event(NORMAL);
        world.run(Duration::from_millis(200));
        assert!(!world.on, "{timing:?}: at once");
        assert_eq!(world.door.state(), DoorState::Locked);
        assert!(world.alarms.is_empty());
    }
}

#[test]
fn a_free_door_whose_link_is_cut_locks_itself_and_is_free_again_with_the_link() {
    let mut world = World::started(DEVICE);
    world.event(FREE);
    world.run(Duration::from_secs(15));
    world.link = Link::Down;
    world.run(FREE_PULSE + Duration::from_secs(1));
    assert!(!world.on, "nobody renews it");
    assert_eq!(world.door.state(), DoorState::Fault, "and nobody says that it is free");
    world.link = Link::Good;
    world.run(Duration::from_secs(6));
    assert!(world.on);
    assert_eq!(world.door.state(), DoorState::Free);
}

#[test]
fn a_lockdown_cuts_a_pulse_short_and_still_opens_for_who_may() {
    for timing in [DEVICE, PulseTiming::Host] {
        let mut world = World::started(timing);
        world.event(Event::Open);
        world.run(Duration::from_secs(1));
        assert!(world.on);
        world.event(Event::Mode(Mode::LockedDown));
        world.run(Duration::from_millis(200));
        assert!(!world.on, "{timing:?}");
        assert_eq!(world.door.state(), DoorState::LockedDown);
        world.event(Event::Open);
        world.run(Duration::from_secs(1));
        assert!(world.on, "whoever overrides it");
        world.run(Duration::from_secs(10));
        assert_eq!(world.door.state(), DoorState::LockedDown);
    }
}

#[test]
fn a_lockdown_while_a_pulse_is_on_its_way_shuts_what_it_opens() {
    for link in [Link::Good, Link::AnswerLost] {
        let mut world = World::started(PulseTiming::Host);
        world.link = link;
        world.reply_after = Duration::from_millis(500);
        world.event(Event::Open);
        world.event(Event::Mode(Mode::LockedDown));
        assert_eq!(world.gave_up, 1, "nobody is let in");
        world.run(Duration::from_secs(1));
        world.link = Link::Good;
        world.run(Duration::from_secs(5));
        assert!(!world.on, "{link:?}");
        assert_eq!(world.door.state(), DoorState::LockedDown);
    }
}

#[test]
fn every_opening_that_was_asked_for_is_done_or_given_up() {
    for link in [Link::Good, Link::Down, Link::AnswerLost, Link::CommandLost, Link::WrongPassword, Link::Hangs] {
        let mut world = World::started(DEVICE);
        world.link = link;
        world.event(Event::Open);
        world.run(Duration::from_secs(40));
        assert_eq!(world.opened + world.gave_up, 1, "{link:?}");
    }
}

#[test]
fn readers_show_what_is_awaited_and_that_the_door_stands_open() {
    let mut world = World::started(DEVICE);
    world.event(Event::Awaiting(world.now + Duration::from_secs(15)));
    assert_eq!(world.door.indication(), Indication::Awaiting);
    world.event(Event::Deciding);
    assert_eq!(world.door.indication(), Indication::Busy);
    world.event(Event::Awaiting(world.now + Duration::from_secs(15)));
    world.run(Duration::from_secs(14));
    assert_eq!(world.door.indication(), Indication::Awaiting);
    world.run(Duration::from_secs(1));
    assert_eq!(world.door.indication(), Indication::Ready);
    world.event(Event::Held(true));
    assert_eq!(world.door.indication(), Indication::Held);
    world.event(Event::Refused);
    assert_eq!(world.door.indication(), Indication::Refused);
    world.run(Duration::from_secs(2));
    assert_eq!(world.door.indication(), Indication::Held);
    world.event(Event::Held(false));
    assert_eq!(world.door.indication(), Indication::Ready);
}

#[derive(Clone, Debug)]
enum Act {
    Event(Event),
    Link(Link),
    Wait(u64),
    ReplyAfter(u64),
    Press(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let link = proptest::sample::select(vec![
        Link::Good,
        Link::Good,
        Link::Down,
        Link::AnswerLost,
        Link::CommandLost,
        Link::Liar,
        Link::WrongPassword,
        Link::Hangs,
    ]);
    let event = proptest::sample::select(vec![
        Event::Open,
        Event::Open,
        Event::Refused,
        Event::Deciding,
        Event::Shut,
        Event::Tick,
        FREE,
        NORMAL,
        NORMAL,
        Event::Mode(Mode::LockedDown),
    ]);
    let act = prop_oneof![
        4 => event.prop_map(Act::Event),
        3 => link.prop_map(Act::Link),
        6 => (0u64..6000).prop_map(Act::Wait),
        1 => (0u64..4000).prop_map(Act::ReplyAfter),
        1 => any::<bool>().prop_map(Act::Press),
    ];
    proptest::collection::vec(act, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_happens(acts in acts(), is_host in any::<bool>()) {
        let timing = if is_host { PulseTiming::Host } else { DEVICE };
        let mut world = World::new(timing);
        let mut opens: Vec<MonoTime> = Vec::new();
        let mut free_since = None;
        let mut before = 0;
        for act in acts {
            match act {
                Act::Event(event) => {
                    if event == Event::Open {
                        opens.push(world.now);
                    }
                    if let Event::Mode(mode) = event {
                        free_since = matches!(mode, Mode::Free(_)).then_some(world.now);
                    }
                    world.event(event);
                }
                Act::Link(link) => world.link = link,
                Act::Wait(ms) => world.run(Duration::from_millis(ms)),
                Act::ReplyAfter(ms) => world.reply_after = Duration::from_millis(ms),
                Act::Press(on) => (world.on, world.off_at) = (on, None),
            }
            for (at, action) in &world.actions[before..] {
                if matches!(action, Action::Pulse(_)) && free_since.is_none_or(|since| since > *at) {
                    let told = opens.iter().any(|open| *open <= *at && *at - *open < OPEN_PATIENCE);
                    prop_assert!(told, "a pulse at {at:?} that nobody asked for: {opens:?}");
                }
            }
            before = world.actions.len();
        }
        prop_assert!(world.opened + world.gave_up <= opens.len());
        // Once everything works again, the door gets locked, whatever was.
        world.event(NORMAL);
        world.link = Link::Good;
        world.reply_after = Duration::from_millis(20);
        world.run(Duration::from_secs(120));
        prop_assert!(!world.on);
        prop_assert!(!world.alarmed);
        prop_assert_eq!(world.door.state(), DoorState::Locked);
        prop_assert_eq!(world.door.indication(), Indication::Ready);
    }
}
