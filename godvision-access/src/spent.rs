//! What can be used up: the uses of a guest's pass, a resident's rolling code at a door. [`SpentStore`] keeps a use durably
//! *before* the door opens.
//!
//! A photographed pass is as good as the pass; only this count makes a guest's pass open once. So a use that could not
//! be kept is a refusal. [`crate::io::spent_log::SpentLog`] keeps the count in a file; a database of the application
//! implements the same trait.
//!
//! What has ended is forgotten a day later, and with it a *floor* rises: whatever ends at or before the floor and is not
//! known counts as spent. So forgetting never gives a use back, whatever a clock has shown in between.
//!
//! **Never:** a count in memory alone for a real door ([`MemorySpent`] forgets at restart).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use godvision_core::WallTime;
use godvision_core::driver::BoxFuture;

use crate::error::Error;
use crate::pass::{NameRef, PassId};

/// What has ended is remembered so much longer: a clock that is wrong by less than this has no effect at all.
pub const KEPT_AFTER_END: Duration = Duration::from_secs(24 * 3600);

/// Something that can be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spendable {
    /// A guest's pass.
    Pass {
        /// The key that signed it.
        key: u8,
        /// Its number under that key.
        id: PassId,
    },
    /// One step of a person's rolling code at one door.
    Step {
        /// Whose.
        person: NameRef,
        /// At which door: the gate and the house behind it are passed with one code.
        door: NameRef,
        /// Which step.
        step: u32,
    },
}

/// A use that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spending {
    /// Of what.
    pub what: Spendable,
    /// From this moment on it is not valid any more, in whole seconds.
    pub until: WallTime,
    /// When the use was decided.
    pub at: WallTime,
}

/// What became of an attempt to spend a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spend {
    /// This use is kept; it would survive a crash.
    Kept {
        /// How often it has been used now, this use included.
        uses: u32,
    },
    /// It has been used as often as it may. Nothing was written.
    AlreadySpent,
}

/// A durable count of uses.
pub trait SpentStore: Send + Sync {
    /// How often it has been used: [`u32::MAX`] where that was forgotten because it had ended.
    ///
    /// # Errors
    /// [`Error`], which is a refusal.
    fn uses(&self, spending: Spending) -> BoxFuture<'_, Result<u32, Error>>;

    /// Uses up one of at most `uses_max`, and returns once that would survive a crash. Of two attempts at the last use,
    /// one gets it.
    ///
    /// # Errors
    /// [`Error`], which is a refusal; the use may or may not have been kept.
    fn spend(&self, spending: Spending, uses_max: u32) -> BoxFuture<'_, Result<Spend, Error>>;
}

/// Below which end, in seconds since 1970, what is not known was forgotten. One for passes and one for steps: those end
/// within minutes, and a pass that ended in a year to come must not lock the residents out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Floors {
    pub(crate) passes: u32,
    pub(crate) steps: u32,
}

impl Floors {
    fn of(&mut self, what: Spendable) -> &mut u32 {
        match what {
            Spendable::Pass { .. } => &mut self.passes,
            Spendable::Step { .. } => &mut self.steps,
        }
    }
}

/// How often something was used, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) uses: u32,
    pub(crate) until: u32,
}

/// The count itself, without a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) used: HashMap<Spendable, Used>,
    pub(crate) floors: Floors,
}

impl Counts {
    pub(crate) fn uses(&self, spending: Spending) -> u32 {
        let mut floors = self.floors;
        match self.used.get(&spending.what) {
            Some(used) => used.uses,
            None if seconds(spending.until) <= *floors.of(spending.what) => u32::MAX,
            None => 0,
        }
    }

    /// Keeps that `what` was used `uses` times.
    pub(crate) fn keep(&mut self, what: Spendable, used: Used) {
        self.used.insert(what, used);
    }

    /// How many entries [`Counts::forget`] would drop.
    pub(crate) fn ended(&self, now: WallTime) -> usize {
        self.used.values().filter(|used| used.until < forgotten_before(now)).count()
    }

    /// Drops what ended more than [`KEPT_AFTER_END`] ago.
    pub(crate) fn forget(&mut self, now: WallTime) {
        let (before, floors) = (forgotten_before(now), &mut self.floors);
        self.used.retain(|what, used| {
            let is_kept = used.until >= before;
            if !is_kept {
                let floor = floors.of(*what);
                *floor = used.until.max(*floor);
            }
            is_kept
        });
    }
}

fn forgotten_before(now: WallTime) -> u32 {
    seconds(now).saturating_sub(u32::try_from(KEPT_AFTER_END.as_secs()).unwrap_or(u32::MAX))
}

/// Whole seconds since 1970, from 0 to 2^32 - 1.
pub(crate) fn seconds(at: WallTime) -> u32 {
    u32::try_from(at.as_unix_seconds().max(0)).unwrap_or(u32::MAX)
}

/// The count of one run of the program. For tests and demos: it forgets at restart.
#[derive(Debug, Default)]
pub struct MemorySpent(Mutex<Counts>);

/// Entries after which what has ended is looked for.
const MEMORY_FORGETS_AT: usize = 1_024;

impl SpentStore for MemorySpent {
    fn uses(&self, spending: Spending) -> BoxFuture<'_, Result<u32, Error>> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner).uses(spending);
        Box::pin(async move { Ok(uses) })
    }

    fn spend(&self, spending: Spending, uses_max: u32) -> BoxFuture<'_, Result<Spend, Error>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.used.len() >= MEMORY_FORGETS_AT {
            counts.forget(spending.at);
        }
        let uses = counts.uses(spending);
        let spend = if uses < uses_max {
            counts.keep(spending.what, Used { uses: uses + 1, until: seconds(spending.until) });
            Spend::Kept { uses: uses + 1 }
        } else {
            Spend::AlreadySpent
        };
        drop(counts);
        Box::pin(async move { Ok(spend) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn spending(id: u8, until: i64, at: i64) -> Spending {
        let what = Spendable::Pass { key: 1, id: PassId([id; 6]) };
        Spending { what, until: WallTime::from_unix_seconds(until), at: WallTime::from_unix_seconds(at) }
    }

    #[test]
    fn what_is_forgotten_is_spent_whatever_the_clock_shows() {
        let mut counts = Counts::default();
        let pass = spending(1, 10 * DAY, 0);
        counts.keep(pass.what, Used { uses: 1, until: seconds(pass.until) });
        counts.forget(WallTime::from_unix_seconds(11 * DAY));
        assert_eq!((counts.used.len(), counts.uses(pass)), (1, 1), "kept for a day");
        assert_eq!(counts.ended(WallTime::from_unix_seconds(11 * DAY + 1)), 1);
        counts.forget(WallTime::from_unix_seconds(11 * DAY + 1));
        assert_eq!((counts.used.len(), counts.uses(pass)), (0, u32::MAX));
        assert_eq!(counts.uses(spending(2, 10 * DAY, 0)), u32::MAX, "ends before what was forgotten");
        assert_eq!(counts.uses(spending(2, 10 * DAY + 1, 0)), 0);
        let step = Spendable::Step { person: NameRef::from_bytes([1; 6]), door: NameRef::from_bytes([2; 6]), step: 1 };
        assert_eq!(counts.uses(Spending { what: step, ..pass }), 0, "steps have a floor of their own");
    }
}
