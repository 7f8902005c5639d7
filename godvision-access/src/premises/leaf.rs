//! The leaf of a door and its inputs: open, shut, held, forced, the exit button.

use std::time::Duration;

use godvision_core::signal::door::{AlarmKind, DoorSense};
use godvision_core::time::Stamp;
use godvision_core::{MonoTime, Name};

use super::{EXIT_GRACE, Effect, Lock, Mode, Premises};

/// What the contact in the frame says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Leaf {
    /// No contact, or it has not said yet.
    #[default]
    Unknown,
    Shut,
    Ajar {
        since: MonoTime,
    },
}

impl Leaf {
    pub(super) fn is_ajar(self) -> bool {
        matches!(self, Self::Ajar { .. })
    }

    pub(super) fn said(self) -> Option<bool> {
        (self != Self::Unknown).then_some(self.is_ajar())
    }

    /// When it will have stood open for `held_after`.
    pub(super) fn held_at(self, held_after: Duration) -> Option<MonoTime> {
        match self {
            Self::Ajar { since } => Some(since + held_after),
            Self::Unknown | Self::Shut => None,
        }
    }
}

impl Premises {
    pub(super) fn sensed(&mut self, door: &Name, sense: DoorSense, now: Stamp, effects: &mut Vec<Effect>) {
        match sense {
            DoorSense::Ajar(true) => self.opened(door, now, effects),
            DoorSense::Ajar(false) => self.shut(door, now, effects),
            DoorSense::ExitRequested => self.exit_requested(door, now, effects),
            DoorSense::Tampered(is_on) => self.alarm(door, AlarmKind::Tampered, is_on, None, now, effects),
        }
    }

    fn opened(&mut self, door: &Name, now: Stamp, effects: &mut Vec<Effect>) {
        let forced_is_alarm = self.plan.door(door).forced_is_alarm;
        let Some(entry) = self.doors.get_mut(door) else { return };
        if entry.leaf.is_ajar() {
            return;
        }
        let was_shut = entry.leaf == Leaf::Shut;
        entry.leaf = Leaf::Ajar { since: now.mono };
        let is_free = matches!(entry.mode, Mode::Free(_));
        // The word of the relay may come after the leaf has moved: that the lock was told is enough.
        let mut passing = std::mem::take(&mut entry.passing);
        passing.extend(entry.take_told());
        let is_lawful = !passing.is_empty() || is_free || entry.lock != Lock::Locked || entry.exit_until.is_some();
        self.passed(door, passing, now, effects);
        // A door found open at the start may have been opened by anybody.
        if !is_lawful && was_shut && forced_is_alarm {
            self.alarm(door, AlarmKind::Forced, true, None, now, effects);
        }
    }

    fn shut(&mut self, door: &Name, now: Stamp, effects: &mut Vec<Effect>) {
        let relocks = self.plan.door(door).relocks;
        let Some(entry) = self.doors.get_mut(door) else { return };
        let was_ajar = entry.leaf.is_ajar();
        entry.leaf = Leaf::Shut;
        let is_unlocked = entry.lock == Lock::Unlocked && !matches!(entry.mode, Mode::Free(_));
        if was_ajar && is_unlocked && relocks && entry.given.is_empty() {
            effects.push(Effect::Shut { door: door.clone() });
        }
        self.alarm(door, AlarmKind::Forced, false, None, now, effects);
    }

    fn exit_requested(&mut self, door: &Name, now: Stamp, effects: &mut Vec<Effect>) {
        let exits_in_lockdown = self.plan.door(door).exits_in_lockdown;
        let is_free_to_open = self.is_interlock_free(door);
        let Some(entry) = self.doors.get_mut(door) else { return };
        if matches!(entry.mode, Mode::Free(_)) {
            return;
        }
        if !is_free_to_open || (entry.is_locked_down && !exits_in_lockdown) {
            effects.push(Effect::ExitRefused { door: door.clone() });
            return;
        }
        entry.exit_until = Some(now.mono + EXIT_GRACE);
        // Nobody is counted, but the interlock must know.
        let grant = self.give_exit(door, now);
        effects.push(Effect::Unlock { door: door.clone(), grant });
    }
}
