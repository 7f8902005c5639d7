//! A growing wait for whoever guesses.
//!
//! Failures are counted per reader, and per person where a first credential says who poses. Success does not clear the
//! count: whoever has one good PIN could else try others for ever in between. Only time does.
//!
//! Waits run on the monotonic clock, so setting the wall clock ends none; across a power cut they are kept as wall time,
//! and count in full if that clock makes no sense.

use std::collections::BTreeMap;
use std::time::Duration;

use godvision_core::time::Stamp;
use godvision_core::{MonoTime, Name, WallTime};

use super::Effect;
use super::kept::{Failing, Kept};
use super::layout::LockoutPlan;
use crate::schedule::is_plausible;

/// Most readers and persons whose failures are remembered; beyond, those that failed longest ago and wait no more go.
pub(super) const FAILING_MAX: usize = 10_000;

#[derive(Clone, Debug)]
struct Failures {
    count: u32,
    last: MonoTime,
    until: MonoTime,
    /// The door whose alarm stands for it.
    alarmed: Option<Name>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lockouts(BTreeMap<Failing, Failures>);

impl Lockouts {
    /// How long `failing` must still wait.
    pub(super) fn wait(&self, failing: &Failing, now: MonoTime) -> Option<Duration> {
        let until = self.0.get(failing)?.until;
        (until > now).then(|| until.since(now))
    }

    /// Who must wait, and how long.
    pub(super) fn waiting(&self, now: MonoTime) -> impl Iterator<Item = (&Failing, Duration)> {
        let waiting = self.0.iter().filter(move |(_, entry)| entry.until > now);
        waiting.map(move |(failing, entry)| (failing, entry.until.since(now)))
    }

    /// One more failure; `true` if it locks out from now on.
    pub(super) fn failed(
        &mut self,
        failing: Failing,
        door: &Name,
        plan: &LockoutPlan,
        now: Stamp,
        effects: &mut Vec<Effect>,
    ) -> bool {
        self.make_room(now.mono);
        let fresh = Failures { count: 0, last: now.mono, until: now.mono, alarmed: None };
        let entry = self.0.entry(failing.clone()).or_insert(fresh);
        if now.mono.since(entry.last) > plan.forget_after {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now.mono;
        let over = entry.count.checked_sub(plan.failures.max(1));
        if let Some(over) = over {
            let wait = plan.wait.saturating_mul(1 << over.min(20)).min(plan.wait_max);
            entry.until = now.mono + wait;
            entry.alarmed = Some(door.clone());
        }
        let until = wall_of(entry.until, now);
        effects.push(Effect::Keep(Kept::Failed { failing, count: entry.count, until, last: now.wall }));
        over.is_some()
    }

    pub(super) fn forgive(&mut self, failing: &Failing, now: Stamp, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.0.get_mut(failing) {
            entry.count = 0;
            // `ended` still has to end the alarm.
            entry.until = now.mono;
            let (failing, at) = (failing.clone(), now.wall);
            effects.push(Effect::Keep(Kept::Failed { failing, count: 0, until: at, last: at }));
        }
    }

    /// The doors whose alarms stood for a wait that is over, each once.
    pub(super) fn ended(&mut self, now: MonoTime) -> Vec<Name> {
        self.0.values_mut().filter(|entry| entry.until <= now).filter_map(|entry| entry.alarmed.take()).collect()
    }

    pub(super) fn restore(
        &mut self,
        failing: Failing,
        count: u32,
        until: WallTime,
        last: WallTime,
        plan: &LockoutPlan,
        now: Stamp,
    ) {
        let ahead = |at: WallTime| at.as_unix_micros().saturating_sub(now.wall.as_unix_micros());
        let was_locked_out = until > last;
        let wait = match u64::try_from(ahead(until)) {
            _ if !was_locked_out => Duration::ZERO,
            // Neither a clock that was never set nor one set back makes it longer than it can have been, or shorter.
            _ if !is_plausible(now.wall) => plan.wait_max,
            Ok(micros) => Duration::from_micros(micros).min(plan.wait_max),
            Err(_) => Duration::ZERO,
        };
        let since_last = Duration::from_micros(u64::try_from(ahead(last).saturating_neg()).unwrap_or(0));
        let since_last = if is_plausible(now.wall) { since_last } else { Duration::ZERO };
        if since_last > plan.forget_after && wait.is_zero() {
            return;
        }
        // The monotonic clock may be younger than the last failure: then it counts from the start.
        let last = now.mono.saturating_sub(since_last);
        self.0.insert(failing, Failures { count, last, until: now.mono + wait, alarmed: None });
    }

    fn make_room(&mut self, now: MonoTime) {
        if self.0.len() < FAILING_MAX {
            return;
        }
        let idle = self.0.iter().filter(|(_, entry)| entry.until <= now);
        if let Some(oldest) = idle.min_by_key(|(_, entry)| entry.last).map(|(failing, _)| failing.clone()) {
            self.0.remove(&oldest);
        }
    }
}

fn wall_of(at: MonoTime, now: Stamp) -> WallTime {
    let ahead = at.since(now.mono).as_micros();
    now.wall.plus_micros(i64::try_from(ahead).unwrap_or(i64::MAX))
}
