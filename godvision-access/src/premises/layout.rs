//! What is fixed about areas and doors: [`Layout`], as it stands in the rule document, and [`Plan`], with the groups and
//! schedules that it speaks of.
//!
//! **Never:** what happens (that is [`super::Premises`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use godvision_core::{Name, WallTime};

use crate::error::{Error, RuleFault};
use crate::rule::RuleSet;
use crate::rule::check::ANY_DOOR;
use crate::rule::near::nearest;
use crate::schedule::{Calendars, Schedule, is_plausible};

/// Most areas, and most doors with settings of their own.
pub const PARTS_MAX: usize = 4_096;
/// Longest time that may stand in a layout: a week.
pub const TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What becomes of somebody who enters an area that they never left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Passback {
    /// Nothing.
    #[default]
    Off,
    /// They are admitted, with an alarm.
    Soft,
    /// They are refused.
    Hard,
}

/// A space behind doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaPlan {
    /// Whether entering twice is noticed.
    pub passback: Passback,
    /// Where somebody was last seen counts for so long. A short time with [`Passback::Hard`] is timed anti-passback.
    pub forget_after: Duration,
    /// Most persons inside.
    pub occupancy_max: Option<u32>,
    /// Nobody may be inside alone: the first two enter together, and the last two leave together.
    pub is_two_person: bool,
}

impl Default for AreaPlan {
    /// Nothing is asked; whereabouts count for 16 hours, a long shift.
    fn default() -> Self {
        let forget_after = Duration::from_secs(16 * 3600);
        Self { passback: Passback::Off, forget_after, occupancy_max: None, is_two_person: false }
    }
}

/// Who must be accompanied, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escort {
    /// The group that may not enter alone.
    pub of: Name,
    /// The group that accompanies them.
    pub by: Name,
}

/// From the first admitted person of a group on, the door is free for the rest of the interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstCard {
    /// The group; `None`: anybody who is admitted.
    pub by: Option<Name>,
    /// The schedule.
    pub during: String,
}

/// How a door behaves beyond the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorPlan {
    /// The area before it; `None`: outside, which nobody counts.
    pub from: Option<Name>,
    /// The area behind it.
    pub into: Option<Name>,
    /// Sources on the inner side: whoever presents something there leaves [`DoorPlan::into`].
    pub exit_sources: BTreeSet<Name>,
    /// How long a first credential, a first person or a visitor waits for what is missing.
    pub await_for: Duration,
    /// Two different persons must present something, each time.
    pub is_two_person: bool,
    /// Who needs company here.
    pub escort: Option<Escort>,
    /// First-card unlock.
    pub first_card: Option<FirstCard>,
    /// It is free during this schedule.
    pub free_during: Option<String>,
    /// How long it may stand open after a passage.
    pub held_after: Duration,
    /// Whether opening it without being unlocked is an alarm. `false` where a handle inside opens it.
    pub forced_is_alarm: bool,
    /// Whether it is locked again as soon as it is shut after a passage.
    pub relocks: bool,
    /// Whether the exit button works in a lockdown. People who want out are let out unless the owner says otherwise.
    pub exits_in_lockdown: bool,
    /// The group whose credentials open it in a lockdown.
    pub lockdown_override: Option<Name>,
    /// Whether an emergency makes it free.
    pub opens_in_emergency: bool,
}

impl Default for DoorPlan {
    fn default() -> Self {
        Self {
            from: None,
            into: None,
            exit_sources: BTreeSet::new(),
            await_for: Duration::from_secs(15),
            is_two_person: false,
            escort: None,
            first_card: None,
            free_during: None,
            held_after: Duration::from_secs(30),
            forced_is_alarm: true,
            relocks: true,
            exits_in_lockdown: true,
            lockdown_override: None,
            opens_in_emergency: true,
        }
    }
}

impl DoorPlan {
    fn is_ever_free(&self) -> bool {
        self.first_card.is_some() || self.free_during.is_some()
    }
}

/// When guessing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockoutPlan {
    /// So many wrong PINs within [`LockoutPlan::forget_after`] lock a reader, or a person's second factor, out.
    pub failures: u32,
    /// For how long at first; each further failure doubles it.
    pub wait: Duration,
    /// At most.
    pub wait_max: Duration,
    /// Failures are forgotten after so long without one.
    pub forget_after: Duration,
}

impl Default for LockoutPlan {
    /// Five failures, then 30 s, 1 min, ... 30 min. At that pace a four-digit PIN takes seven months to try through.
    fn default() -> Self {
        Self {
            failures: 5,
            wait: Duration::from_secs(30),
            wait_max: Duration::from_secs(1800),
            forget_after: Duration::from_secs(3600),
        }
    }
}

/// The areas, doors and interlocks of a rule document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Areas by name.
    pub areas: BTreeMap<Name, AreaPlan>,
    /// Doors that have settings of their own.
    pub doors: BTreeMap<Name, DoorPlan>,
    /// Doors of which at most one is not shut, by the interlock's name.
    pub interlocks: BTreeMap<Name, BTreeSet<Name>>,
    /// Guessing.
    pub lockout: LockoutPlan,
}

impl Layout {
    /// What is wrong with the door `name`, given the groups and schedules of `rules`.
    pub(crate) fn check_door(&self, rules: &RuleSet, name: &Name, door: &DoorPlan) -> Result<(), RuleFault> {
        ANY_DOOR.is_not(name)?;
        for area in [&door.from, &door.into].into_iter().flatten() {
            if !self.areas.contains_key(area) {
                return Err(RuleFault::UnknownArea { name: area.clone() });
            }
        }
        if door.into.is_some() && door.from == door.into {
            return Err(RuleFault::SameArea);
        }
        let escort = door.escort.iter().flat_map(|escort| [&escort.of, &escort.by]);
        let first = door.first_card.iter().filter_map(|first| first.by.as_ref());
        for group in escort.chain(first).chain(&door.lockdown_override) {
            if !rules.groups.contains_key(group) {
                let near = nearest(group.as_str(), rules.groups.keys().map(Name::as_str));
                return Err(RuleFault::UnknownGroup { name: group.clone(), near });
            }
        }
        for schedule in door.first_card.iter().map(|first| &first.during).chain(&door.free_during) {
            if !rules.schedules.contains_key(schedule) {
                let near = nearest(schedule, rules.schedules.keys().map(String::as_str));
                return Err(RuleFault::UnknownSchedule { name: schedule.clone(), near });
            }
        }
        if door.is_ever_free() && self.interlocks.values().any(|doors| doors.contains(name)) {
            return Err(RuleFault::FreeInterlock);
        }
        Ok(())
    }
}

/// A [`Layout`] with the groups and schedules that it speaks of: what [`super::Premises`] runs on.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) layout: Layout,
    groups: BTreeMap<Name, BTreeSet<Name>>,
    schedules: BTreeMap<String, Schedule>,
    holidays: Calendars,
    standard: DoorPlan,
}

impl Plan {
    /// The layout of `rules`.
    ///
    /// # Errors
    /// [`Error::Rule`] if a door speaks of an area, group or schedule that is not there, or makes an interlocked door
    /// free.
    pub fn of(rules: &RuleSet) -> Result<Self, Error> {
        let layout = rules.layout.clone();
        let mut plan = Self::default();
        for (name, door) in &layout.doors {
            let checked = layout.check_door(rules, name, door);
            checked.map_err(|fault| Error::Rule { rule: format!("doors.{name}"), fault })?;
            let escort = door.escort.iter().flat_map(|escort| [&escort.of, &escort.by]);
            let first = door.first_card.iter().filter_map(|first| first.by.as_ref());
            for group in escort.chain(first).chain(&door.lockdown_override) {
                if let Some(members) = rules.groups.get(group) {
                    plan.groups.insert(group.clone(), members.clone());
                }
            }
            for name in door.first_card.iter().map(|first| &first.during).chain(&door.free_during) {
                if let Some(schedule) = rules.schedules.get(name) {
                    plan.schedules.insert(name.clone(), schedule.clone());
                }
            }
        }
        plan.layout = layout;
        plan.holidays.clone_from(&rules.holidays);
        Ok(plan)
    }

    /// The settings of `door`; the usual ones if it has none of its own.
    pub fn door(&self, door: &Name) -> &DoorPlan {
        self.layout.doors.get(door).unwrap_or(&self.standard)
    }

    /// Every area, in alphabetical order.
    pub fn areas(&self) -> impl Iterator<Item = &Name> {
        self.layout.areas.keys()
    }

    /// An area.
    pub fn area(&self, area: &Name) -> Option<&AreaPlan> {
        self.layout.areas.get(area)
    }

    /// The other doors of the interlocks that `door` is in.
    pub fn interlocked_with<'a>(&'a self, door: &'a Name) -> impl Iterator<Item = &'a Name> {
        let groups = self.layout.interlocks.values().filter(move |doors| doors.contains(door));
        groups.flatten().filter(move |other| *other != door)
    }

    pub(super) fn is_member(&self, group: &Name, person: &Name) -> bool {
        self.groups.get(group).is_some_and(|members| members.contains(person))
    }

    /// Whether `schedule` covers `at`. A clock that was never set covers nothing.
    pub(super) fn covers(&self, schedule: &str, at: WallTime) -> bool {
        is_plausible(at)
            && self.schedules.get(schedule).and_then(|schedule| schedule.covers(at, &self.holidays)).unwrap_or(false)
    }
}
