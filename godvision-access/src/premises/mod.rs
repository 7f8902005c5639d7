//! [`Premises`]: the state of all doors and areas of a site, without IO and without a clock.
//!
//! ```text
//! rules say yes or no --ask--> Grant | Reason      may they, given where everybody is and what stands open?
//! journalled, spent --begin--> may the lock be told?  a lockdown since then says no
//! what happens        --step-> Effects             lock, leaf, exit button, lockdown, emergency, time
//! next_wake() -> when to come again with Event::Tick
//! Kept (an effect) --durably--> Premises::restore  what a power cut must not undo
//! ```
//! The rules are asked first and know no state; here nothing is ever permitted that they refused. What is added:
//! anti-passback (hard, soft, timed), occupancy, areas where nobody may be alone, two-person doors, escort, the wait for
//! a second credential, interlocks, first-card unlock and free passage by schedule, lockdown, emergency, the exit
//! button, doors held and forced open, duress, and a growing wait for whoever guesses PINs.
//!
//! # What it ensures
//! * A grant needs a yes of the rules, and none outlives [`GRANT_MAX`].
//! * Of an interlock's doors at most one is granted, unlocked or open; a door whose lock is not known counts as open.
//! * A door is free only for a reason that holds at that moment ([`Mode`]); after a power cut it is locked until the
//!   reason comes anew, except in a declared emergency.
//! * Whoever wants out is not held by anti-passback: leaving a place one was not seen to enter is noted, not refused.
//! * A lockout grows and never shrinks by anything but time, also across a power cut.
//!
//! **Never:** a decision about rules, a relay, a file.

mod ask;
mod kept;
mod layout;
mod leaf;
mod lockout;
mod presence;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use godvision_core::signal::door::{AlarmKind, DoorAlarm, DoorSense, DoorState};
use godvision_core::time::Stamp;
use godvision_core::{MonoTime, Name};

use crate::error::Error;

pub use ask::{Asked, Grant, GrantId, PARTY_MAX};
pub use kept::{Failing, Kept, LINE_BYTES_MAX, Ledger, NotKept, Thing};
pub use layout::{AreaPlan, DoorPlan, Escort, FirstCard, LockoutPlan, PARTS_MAX, Passback, Plan, TIME_MAX};

use ask::{Given, Party, Second};
use leaf::Leaf;
use lockout::Lockouts;
use presence::Presence;

pub use layout::Layout;

/// A grant that has not moved a lock after so long is over. Longer than a journal, a store and a relay may take together.
pub const GRANT_MAX: Duration = Duration::from_secs(30);
/// How long a door may be opened after the exit button was pressed, without being forced.
pub const EXIT_GRACE: Duration = Duration::from_secs(10);
/// Most doors that are followed.
pub const DOORS_MAX: usize = 10_000;
/// Schedules are looked at so often.
const SCHEDULE_STEP: Duration = Duration::from_secs(1);

/// Where [`Kept`] changes are kept durably.
pub trait PremisesStore: Send + Sync {
    /// Keeps `changes`, in this order, and returns once they would survive a power cut.
    ///
    /// # Errors
    /// [`Error`]; some of them may have been kept.
    fn keep(&self, changes: Vec<Kept>) -> BoxFuture<'_, Result<(), Error>>;
}

/// Keeps nothing: for tests and demos. After a restart nobody is anywhere and nothing is locked down.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForgetfulPremises;

impl PremisesStore for ForgetfulPremises {
    fn keep(&self, _: Vec<Kept>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

/// How a door is kept, apart from single openings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Locked; opened for one passage at a time.
    #[default]
    Normal,
    /// Unlocked until told otherwise, and why.
    Free(Freedom),
    /// Locked, and nothing but an override opens it.
    LockedDown,
}

/// Why a door is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freedom {
    /// An emergency was declared.
    Emergency,
    /// The first card of the interval was presented.
    FirstCard,
    /// Its schedule says so.
    Schedule,
}

/// What happens on the premises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing came of a grant: it could not be journalled, its pass not be spent, or the lock did not move. The lock's own
    /// state ([`Event::Lock`]) is what an interlock goes by then.
    Withdrawn {
        /// The door.
        door: Name,
        /// Which grant.
        grant: GrantId,
    },
    /// What the lock of a door does, as its relay confirmed. Say [`DoorState::Unlocked`] anew after each opening, also
    /// of a door that was unlocked already.
    Lock {
        /// The door.
        door: Name,
        /// Until it has said that it is locked, an interlock counts it as open: also while it is
        /// [`DoorState::Unlocking`], when nobody waits any more but the relay may still open.
        state: DoorState,
    },
    /// What an input of a door says.
    Sense {
        /// The door.
        door: Name,
        /// What.
        sense: DoorSense,
    },
    /// A door is locked down, or no longer.
    Lockdown {
        /// The door.
        door: Name,
        /// Whether it is.
        is_on: bool,
    },
    /// An emergency is declared, or over.
    Emergency {
        /// Whether it is.
        is_on: bool,
    },
    /// An operator forgives somebody: where they were last seen, and their failures, are forgotten.
    Forgive {
        /// Whom.
        person: Name,
    },
    /// An operator lets a locked-out reader be used again.
    Unblock {
        /// The reader.
        source: Name,
    },
    /// An operator has looked: alarms that do not end by themselves are over.
    Acknowledged {
        /// The door.
        door: Name,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The door is kept so from now on.
    Mode {
        /// The door.
        door: Name,
        /// How.
        mode: Mode,
    },
    /// Unlock once: somebody pressed the exit button.
    Unlock {
        /// The door.
        door: Name,
        /// The grant that holds the interlock meanwhile.
        grant: GrantId,
    },
    /// Lock now: it is shut after a passage.
    Shut {
        /// The door.
        door: Name,
    },
    /// The door stands open too long (`true`), or no longer: shown at its readers.
    Held {
        /// The door.
        door: Name,
        /// Whether it does.
        is_held: bool,
    },
    /// What was awaited at the door did not come: its readers are ready again.
    AwaitOver {
        /// The door.
        door: Name,
    },
    /// The exit button was pressed and must not open now.
    ExitRefused {
        /// The door.
        door: Name,
    },
    /// Tell the owner.
    Alarm(DoorAlarm),
    /// Keep this, so that a power cut does not undo it.
    Keep(Kept),
    /// Somebody went through.
    Passed {
        /// The door.
        door: Name,
        /// Who.
        person: Name,
        /// Where they are now; `None`: outside.
        area: Option<Name>,
    },
}

impl Effect {
    /// The door that it is about; `None` for what is to be kept.
    pub fn door(&self) -> Option<&Name> {
        match self {
            Self::Mode { door, .. }
            | Self::Unlock { door, .. }
            | Self::Shut { door }
            | Self::Held { door, .. }
            | Self::AwaitOver { door }
            | Self::ExitRefused { door }
            | Self::Passed { door, .. } => Some(door),
            Self::Alarm(alarm) => Some(&alarm.door),
            Self::Keep(_) => None,
        }
    }
}

/// What the relay says of the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lock {
    #[default]
    Unknown,
    Locked,
    Unlocked,
}

/// One door.
#[derive(Clone, Debug, Default)]
struct DoorNow {
    lock: Lock,
    leaf: Leaf,
    /// Somebody may enter and the lock has not moved yet.
    given: Vec<Given>,
    /// Who may be on their way through: the lock is open, the leaf not yet.
    passing: Vec<Given>,
    second: Option<Second>,
    party: Option<Party>,
    /// Who of an escort was let in last, and when.
    escort: Option<(Name, MonoTime)>,
    exit_until: Option<MonoTime>,
    is_first_card: bool,
    is_locked_down: bool,
    /// The mode that was told last.
    mode: Mode,
    /// Alarms that stand.
    alarms: Vec<AlarmKind>,
}

impl DoorNow {
    /// Those whom the lock was told to let in. Who is still being journalled comes later, or not at all.
    fn take_told(&mut self) -> Vec<Given> {
        let (told, rest) = std::mem::take(&mut self.given).into_iter().partition(|given| given.is_told);
        self.given = rest;
        told
    }

    fn ends_waits(&mut self) {
        self.second = None;
        self.party = None;
    }

    fn waits_until(&self) -> impl Iterator<Item = MonoTime> {
        self.second.iter().map(|it| it.until).chain(self.party.iter().map(|it| it.until))
    }

    /// Whether nothing is open or about to be: what an interlock waits for.
    fn is_shut(&self) -> bool {
        self.lock == Lock::Locked
            && self.given.is_empty()
            && !self.leaf.is_ajar()
            && !matches!(self.mode, Mode::Free(_))
    }
}

/// All doors and areas of a site.
#[derive(Clone, Debug, Default)]
pub struct Premises {
    plan: Plan,
    doors: BTreeMap<Name, DoorNow>,
    presence: Presence,
    lockouts: Lockouts,
    is_emergency: bool,
    grants: u64,
    /// What was kept of doors that have not been seen since the start.
    locked_down: Ledger,
}

impl Premises {
    /// Premises on which nothing has happened. `doors` is every door of the site.
    pub fn new(plan: Plan, doors: impl IntoIterator<Item = Name>) -> Self {
        let doors = doors.into_iter().take(DOORS_MAX).map(|door| (door, DoorNow::default())).collect();
        Self { plan, doors, ..Self::default() }
    }

    /// Premises after a power cut, from what was kept. Locks and leaves are unknown, nothing is granted; the first
    /// [`Event::Tick`] says the modes.
    pub fn restore(plan: Plan, doors: impl IntoIterator<Item = Name>, kept: &Ledger, now: Stamp) -> Self {
        let mut premises = Self::new(plan, doors);
        for change in kept.changes() {
            match change {
                Kept::At { person, area, since } => premises.presence.set(person, area, since),
                Kept::Forgot { .. } => {}
                Kept::Failed { failing, count, until, last } => {
                    premises.lockouts.restore(failing, count, until, last, &premises.plan.layout.lockout, now);
                }
                Kept::Lockdown { door, is_on } => match premises.doors.get_mut(&door) {
                    Some(entry) => entry.is_locked_down = is_on,
                    // The door is away for now; its lockdown is not.
                    None => premises.locked_down.apply(Kept::Lockdown { door, is_on }),
                },
                Kept::Emergency { is_on } => premises.is_emergency = is_on,
            }
        }
        premises
    }

    /// Puts another plan in force. Where everybody is, what stands open and what is locked down stays; whoever waits for
    /// a second credential or person begins anew, since they were permitted under the old one.
    pub fn replan(&mut self, plan: Plan) {
        self.plan = plan;
        self.doors.values_mut().for_each(DoorNow::ends_waits);
    }

    /// The plan in force.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Follows a door that was built since. Does nothing if it is known, or beyond [`DOORS_MAX`].
    pub fn add_door(&mut self, door: Name) {
        if self.doors.contains_key(&door) || self.doors.len() >= DOORS_MAX {
            return;
        }
        let is_kept = |change: Kept| matches!(change, Kept::Lockdown { door: kept, .. } if kept == door);
        let is_locked_down = self.locked_down.changes().any(is_kept);
        self.doors.insert(door, DoorNow { is_locked_down, ..DoorNow::default() });
    }

    /// How `door` is kept.
    pub fn mode(&self, door: &Name) -> Mode {
        self.doors.get(door).map_or(Mode::Normal, |door| door.mode)
    }

    /// Whether `door` stands open; `None` if it has no contact or has not said yet.
    pub fn is_ajar(&self, door: &Name) -> Option<bool> {
        self.doors.get(door).and_then(|door| door.leaf.said())
    }

    /// Until when something more is awaited at `door`.
    pub fn awaits_until(&self, door: &Name) -> Option<MonoTime> {
        self.doors.get(door)?.waits_until().max()
    }

    /// The alarms that stand at `door`.
    pub fn alarms(&self, door: &Name) -> &[AlarmKind] {
        self.doors.get(door).map_or(&[], |door| &door.alarms)
    }

    /// Whether an emergency is declared.
    pub fn is_emergency(&self) -> bool {
        self.is_emergency
    }

    /// Who was last seen in `area` and is not forgotten, in alphabetical order. `None`: outside.
    pub fn inside<'a>(&'a self, area: &'a Name, now: Stamp) -> impl Iterator<Item = &'a Name> {
        let forget_after = self.plan.area(area).map_or(AreaPlan::default().forget_after, |area| area.forget_after);
        self.presence.inside(area, forget_after, now.wall)
    }

    /// Who is locked out for guessing, and for how long yet.
    pub fn locked_out(&self, now: MonoTime) -> impl Iterator<Item = (&Failing, Duration)> {
        self.lockouts.waiting(now)
    }

    /// Takes one event and says what is to be done, in this order. An event about a door that is not known does nothing.
    pub fn step(&mut self, event: Event, now: Stamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Withdrawn { door, grant } => {
                if let Some(entry) = self.doors.get_mut(&door) {
                    entry.given.retain(|given| given.id != grant);
                }
            }
            Event::Lock { door, state } => self.lock_said(&door, state, now, &mut effects),
            Event::Sense { door, sense } => self.sensed(&door, sense, now, &mut effects),
            Event::Lockdown { door, is_on } => self.lockdown(door, is_on, &mut effects),
            Event::Emergency { is_on } => {
                if std::mem::replace(&mut self.is_emergency, is_on) != is_on {
                    effects.push(Effect::Keep(Kept::Emergency { is_on }));
                    let doors: Vec<Name> = self.doors.keys().cloned().collect();
                    for door in doors {
                        self.alarm(&door, AlarmKind::Emergency, is_on, None, now, &mut effects);
                    }
                }
            }
            Event::Forgive { person } => {
                self.presence.forget(&person);
                effects.push(Effect::Keep(Kept::Forgot { person: person.clone() }));
                self.lockouts.forgive(&Failing::Person(person), now, &mut effects);
            }
            Event::Unblock { source } => self.lockouts.forgive(&Failing::Source(source), now, &mut effects),
            Event::Acknowledged { door } => {
                for kind in [AlarmKind::Duress, AlarmKind::Forced] {
                    self.alarm(&door, kind, false, None, now, &mut effects);
                }
            }
            Event::Tick => {}
        }
        self.pass_time(now, &mut effects);
        effects
    }

    /// When [`Event::Tick`] is due for `door`.
    pub fn next_wake(&self, door: &Name, now: MonoTime) -> MonoTime {
        let plan = self.plan.door(door);
        let Some(entry) = self.doors.get(door) else { return now + GRANT_MAX };
        let is_scheduled = plan.free_during.is_some() || entry.is_first_card;
        let scheduled = is_scheduled.then_some(now + SCHEDULE_STEP);
        let given = entry.given.iter().map(|given| given.until).min();
        let waiting = entry.waits_until().min();
        let may_be_held = !matches!(entry.mode, Mode::Free(_)) && !entry.alarms.contains(&AlarmKind::Held);
        let held = entry.leaf.held_at(plan.held_after).filter(|_| may_be_held);
        let due = [scheduled, given, waiting, held, entry.exit_until].into_iter().flatten().min();
        due.unwrap_or(now + GRANT_MAX)
    }

    fn lock_said(&mut self, door: &Name, state: DoorState, now: Stamp, effects: &mut Vec<Effect>) {
        let Some(entry) = self.doors.get_mut(door) else { return };
        let lock = match state {
            DoorState::Locked | DoorState::LockedDown => Lock::Locked,
            DoorState::Unlocked | DoorState::Free => Lock::Unlocked,
            DoorState::Unlocking | DoorState::Unknown | DoorState::Fault => Lock::Unknown,
        };
        entry.lock = lock;
        match lock {
            Lock::Unlocked => {
                let given = entry.take_told();
                if entry.leaf.said() == Some(false) {
                    entry.passing.extend(given);
                    entry.passing.truncate(PARTY_MAX);
                } else {
                    self.passed(door, given, now, effects);
                }
            }
            // Locked again and nobody opened: they did not go in. What has been granted since is still to come.
            Lock::Locked if !entry.leaf.is_ajar() => entry.passing.clear(),
            Lock::Locked | Lock::Unknown => {}
        }
    }

    fn lockdown(&mut self, door: Name, is_on: bool, effects: &mut Vec<Effect>) {
        match self.doors.get_mut(&door) {
            Some(entry) if entry.is_locked_down != is_on => {
                entry.is_locked_down = is_on;
                entry.ends_waits();
                entry.is_first_card = false;
                if is_on {
                    entry.given.clear();
                }
                self.locked_down.apply(Kept::Lockdown { door: door.clone(), is_on: false });
            }
            Some(_) => return,
            // It does not run now. When it does, it is locked down.
            None if self.locked_down.len() < DOORS_MAX || !is_on => {
                self.locked_down.apply(Kept::Lockdown { door: door.clone(), is_on });
            }
            None => return,
        }
        effects.push(Effect::Keep(Kept::Lockdown { door, is_on }));
    }

    /// Raises or ends an alarm, once.
    fn alarm(
        &mut self,
        door: &Name,
        kind: AlarmKind,
        raised: bool,
        person: Option<Name>,
        at: Stamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.doors.get_mut(door) else { return };
        let stands = entry.alarms.contains(&kind);
        if raised == stands {
            return;
        }
        if raised {
            entry.alarms.push(kind);
        } else {
            entry.alarms.retain(|standing| *standing != kind);
        }
        effects.push(Effect::Alarm(DoorAlarm { door: door.clone(), kind, raised, person, at }));
    }

    fn pass_time(&mut self, now: Stamp, effects: &mut Vec<Effect>) {
        let Self { plan, doors, is_emergency, .. } = self;
        let mut held = Vec::new();
        for (name, door) in doors.iter_mut() {
            let plan_of = plan.door(name);
            door.given.retain(|given| given.until > now.mono);
            door.exit_until.take_if(|until| *until <= now.mono);
            let ended = door.second.take_if(|it| it.until <= now.mono).is_some();
            let ended = door.party.take_if(|it| it.until <= now.mono).is_some() || ended;
            if ended && door.waits_until().next().is_none() {
                effects.push(Effect::AwaitOver { door: name.clone() });
            }
            if let Some(first) = &plan_of.first_card {
                door.is_first_card &= plan.covers(&first.during, now.wall);
            } else {
                door.is_first_card = false;
            }
            let free = plan_of.free_during.as_ref().is_some_and(|schedule| plan.covers(schedule, now.wall));
            let mode = match () {
                () if *is_emergency && plan_of.opens_in_emergency => Mode::Free(Freedom::Emergency),
                () if door.is_locked_down => Mode::LockedDown,
                () if door.is_first_card => Mode::Free(Freedom::FirstCard),
                () if free => Mode::Free(Freedom::Schedule),
                () => Mode::Normal,
            };
            if std::mem::replace(&mut door.mode, mode) != mode {
                effects.push(Effect::Mode { door: name.clone(), mode });
            }
            let is_free = matches!(mode, Mode::Free(_));
            let is_held = !is_free && door.leaf.held_at(plan_of.held_after).is_some_and(|at| at <= now.mono);
            if is_held != door.alarms.contains(&AlarmKind::Held) {
                held.push((name.clone(), is_held));
            }
        }
        for (door, is_held) in held {
            self.alarm(&door, AlarmKind::Held, is_held, None, now, effects);
            effects.push(Effect::Held { door, is_held });
        }
        for door in self.lockouts.ended(now.mono) {
            self.alarm(&door, AlarmKind::Guessing, false, None, now, effects);
        }
    }
}
