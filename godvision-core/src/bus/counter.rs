//! Counters on every port and component, and what they read.
//!
//! Counting costs a few relaxed atomics a hop; drops, which are rare, take a small lock to name their source.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::port::{DropReason, Policy};
use super::service::{Served, ServiceTime};
use crate::name::{Name, PortName};
use crate::signal::SignalType;

/// Sources named apart in one port's drop counts; the rest are counted together.
pub const DROP_SOURCES_MAX: usize = 128;

/// How many signals one source lost at one input, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCount {
    /// The component whose signal it was; `None` counts the sources beyond [`DROP_SOURCES_MAX`].
    pub source: Option<Name>,
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub count: u64,
}

/// What an input port has seen since its component was added.
#[derive(Clone, Debug)]
pub struct PortStatus {
    /// The port.
    pub port: PortName,
    /// What it takes.
    pub signal: SignalType,
    /// How its queue behaves.
    pub policy: Policy,
    /// Signals that were put into the queue.
    pub accepted: u64,
    /// Payload bytes of those.
    pub accepted_bytes: u64,
    /// Signals taken out by the component.
    pub delivered: u64,
    /// Signals lost here.
    pub dropped: Vec<DropCount>,
    /// Signals in the queue now.
    pub queued: usize,
    /// Time that all delivered signals spent in the queue.
    pub waited: Duration,
    /// Signals that the component has let go of, and how long it held them; nothing before the first.
    pub served: Option<(u64, ServiceTime)>,
}

impl PortStatus {
    /// Signals lost here, all sources and reasons.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|drop| drop.count).sum()
    }
}

/// What a component is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComponentState {
    /// Not started, or told to stop.
    Stopped,
    /// Running.
    Running,
    /// Running, with its ports shut.
    Paused,
    /// Finishing what is in its queues.
    Draining,
    /// Failed; waiting to be started again.
    BackingOff,
    /// Ended by itself, without a fault.
    Finished,
    /// Failed in a way that starting again cannot mend.
    Failed,
}

impl ComponentState {
    /// `stopped`, `running`, ...
    pub fn code(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::BackingOff => "backing_off",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// What a component has done since it was added.
#[derive(Clone, Debug)]
pub struct ComponentStatus {
    /// Its name.
    pub name: Name,
    /// The unit that made it.
    pub unit: &'static str,
    /// What it is doing.
    pub state: ComponentState,
    /// Changes when the component is made anew because the site document changed.
    pub instance: u64,
    /// Times it was started.
    pub starts: u64,
    /// Times it ended with a fault or a panic.
    pub faults: u64,
    /// The last fault, in words.
    pub last_fault: Option<String>,
    /// Time it held signals it had taken from its inputs.
    pub busy: Duration,
    /// Its own counts ([`super::Context::show_count`]), by name.
    pub counts: Vec<(&'static str, u64)>,
    /// Its inputs.
    pub inputs: Vec<PortStatus>,
}

#[derive(Debug, Default)]
pub(super) struct PortCounters {
    pub(super) accepted: AtomicU64,
    pub(super) accepted_bytes: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) waited_ns: AtomicU64,
    pub(super) served: Served,
    drops: Mutex<BTreeMap<(Option<Name>, DropReason), u64>>,
}

impl PortCounters {
    pub(super) fn drop_one(&self, source: &Name, reason: DropReason) {
        let mut drops = self.drops.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let named = (Some(source.clone()), reason);
        let key = if drops.len() < DROP_SOURCES_MAX || drops.contains_key(&named) { named } else { (None, reason) };
        *drops.entry(key).or_default() += 1;
    }

    pub(super) fn drops(&self) -> Vec<DropCount> {
        let drops = self.drops.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        drops
            .iter()
            .map(|((source, reason), count)| DropCount { source: source.clone(), reason: *reason, count: *count })
            .collect()
    }

    pub(super) fn add_wait(&self, waited: Duration) {
        self.waited_ns.fetch_add(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_beyond_the_limit_are_counted_together() {
        let counters = PortCounters::default();
        for n in 0..DROP_SOURCES_MAX + 10 {
            counters.drop_one(&Name::new(&format!("camera-{n}")).unwrap(), DropReason::Full);
        }
        let drops = counters.drops();
        assert_eq!(drops.iter().map(|drop| drop.count).sum::<u64>(), DROP_SOURCES_MAX as u64 + 10);
        assert_eq!(drops.iter().find(|drop| drop.source.is_none()).unwrap().count, 10);
    }
}
