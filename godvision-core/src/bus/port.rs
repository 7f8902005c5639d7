//! Typed ports: [`Output`]s that try to send, [`Input`]s with a bounded queue and a [`Policy`].
//!
//! An output may be linked to many inputs and an input to many outputs; the host changes the links while both run. A
//! value is cloned once a further link, which for signals means a reference count. Whatever does not fit is dropped *at
//! the input*, by its policy, and counted there with its source and reason.
//!
//! **Never:** a send that waits, a drop that is not counted, a queue without a limit.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Notify;

use super::counter::{PortCounters, PortStatus};
use super::credit::Credit;
use crate::name::{Name, PortName};
use crate::signal::{Signal, SignalType};
use crate::time::{Clock, MonoTime};

/// How an input's queue behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Takes only signals that hold a [`Credit`]. Sized at load so that it cannot overflow.
    Credited {
        /// Most signals in the queue.
        capacity: usize,
    },
    /// Holds one signal: a newer one replaces it. For pictures and states.
    Latest,
    /// When full, the oldest makes room. For things where the newest matter most.
    DropOldest {
        /// Most signals in the queue.
        capacity: usize,
    },
    /// Nothing in it is ever dropped while its component runs; when full, the sender is told ([`Outcome::refused`]) and
    /// keeps or marks what it could not hand over. For recordings and security events.
    Lossless {
        /// Most signals in the queue.
        capacity: usize,
    },
}

impl Policy {
    /// Most signals in the queue.
    pub fn capacity(self) -> usize {
        match self {
            Self::Latest => 1,
            Self::Credited { capacity } | Self::DropOldest { capacity } | Self::Lossless { capacity } => capacity,
        }
    }
}

/// Why a signal was lost at an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The queue was full (and refused it, or dropped its oldest).
    Full,
    /// A newer signal took its place.
    Superseded,
    /// A credited input was sent a signal without a credit.
    NoCredit,
    /// The component is paused.
    Paused,
    /// The component is stopped or draining.
    Stopped,
    /// It was queued, but the component stopped without reading it.
    Abandoned,
}

impl DropReason {
    /// `full`, `superseded`, ...
    pub fn code(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Superseded => "superseded",
            Self::NoCredit => "no_credit",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What became of one send, over all links of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Inputs that took it.
    pub accepted: u32,
    /// Inputs that lost it by their policy (counted there).
    pub dropped: u32,
    /// Lossless inputs that were full: the sender must deal with it.
    pub refused: u32,
}

/// One port of a unit.
#[derive(Clone)]
pub struct PortSpec {
    /// Its name, unique in its direction.
    pub name: &'static str,
    /// What it carries.
    pub signal: SignalType,
    /// How its queue behaves; `None` for outputs.
    pub policy: Option<Policy>,
    /// For a source's credited output: the most signals it has in the graph at once. 0 otherwise.
    pub window: u32,
    make: Make,
}

#[derive(Clone, Copy)]
enum Make {
    Queue(fn(PortName, Policy, Arc<dyn Clock>) -> Arc<dyn AnyQueue>),
    Outlet(fn(Name) -> Arc<dyn AnyOutlet>),
}

impl PortSpec {
    /// An input.
    pub fn input<T: Signal>(name: &'static str, policy: Policy) -> Self {
        Self { name, signal: T::TYPE, policy: Some(policy), window: 0, make: Make::Queue(Queue::<T>::make) }
    }

    /// An output.
    pub fn output<T: Signal>(name: &'static str) -> Self {
        Self { name, signal: T::TYPE, policy: None, window: 0, make: Make::Outlet(Outlet::<T>::make) }
    }

    /// An output of a source that takes a [`Credit`] for each signal, at most `window` at once.
    pub fn credited_output<T: Signal>(name: &'static str, window: u32) -> Self {
        Self { window, ..Self::output::<T>(name) }
    }

    pub(super) fn make_queue(&self, port: PortName, clock: &Arc<dyn Clock>) -> Option<Arc<dyn AnyQueue>> {
        match (self.make, self.policy) {
            (Make::Queue(make), Some(policy)) => Some(make(port, policy, Arc::clone(clock))),
            _ => None,
        }
    }

    pub(super) fn make_outlet(&self, component: Name) -> Option<Arc<dyn AnyOutlet>> {
        match self.make {
            Make::Outlet(make) => Some(make(component)),
            Make::Queue(_) => None,
        }
    }
}

impl fmt::Debug for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}{:?})", self.name, self.signal, self.policy)
    }
}

/// Whether an input's queue takes signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Paused,
    /// Takes signals for the instance to come; the one that reads now gets the end at once.
    Handover,
    /// Takes nothing; the component gets what is still there, then the end.
    Draining,
    /// Takes nothing; the component gets the end at once.
    Stopped,
}

/// An input's queue without its signal type.
pub(super) trait AnyQueue: Send + Sync {
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    fn port(&self) -> &PortName;
    fn set_gate(&self, gate: Gate);
    fn clear(&self);
    fn status(&self) -> PortStatus;
}

/// An output without its signal type.
pub(super) trait AnyOutlet: Send + Sync {
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// False if the signal types differ.
    fn link(&self, queue: &Arc<dyn AnyQueue>) -> bool;
    fn unlink(&self, port: &PortName);
    fn set_open(&self, open: bool);
}

struct Slot<T> {
    value: T,
    source: Name,
    credit: Option<Credit>,
    since: MonoTime,
}

struct Queued<T> {
    slots: VecDeque<Slot<T>>,
    gate: Gate,
}

pub(super) struct Queue<T> {
    port: PortName,
    policy: Policy,
    clock: Arc<dyn Clock>,
    queued: Mutex<Queued<T>>,
    ready: Notify,
    counters: PortCounters,
}

enum Offer {
    Accepted,
    Dropped,
    Refused,
}

impl<T: Signal> Queue<T> {
    fn make(port: PortName, policy: Policy, clock: Arc<dyn Clock>) -> Arc<dyn AnyQueue> {
        Arc::new(Self::new(port, policy, clock))
    }

    fn new(port: PortName, policy: Policy, clock: Arc<dyn Clock>) -> Self {
        // A long queue is grown when it is needed; a short one never allocates again.
        let slots = VecDeque::with_capacity(policy.capacity().min(64));
        let queued = Mutex::new(Queued { slots, gate: Gate::Stopped });
        Self { port, policy, clock, queued, ready: Notify::new(), counters: PortCounters::default() }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Queued<T>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants(&self) -> bool {
        let queued = self.locked();
        queued.gate == Gate::Open && queued.slots.len() < self.policy.capacity()
    }

    fn offer(&self, value: T, source: &Name, credit: Option<&Credit>) -> Offer {
        let shut = |reason| {
            self.counters.drop_one(source, reason);
            Offer::Dropped
        };
        if matches!(self.policy, Policy::Credited { .. }) && credit.is_none() {
            return shut(DropReason::NoCredit);
        }
        let bytes = value.payload_bytes() as u64;
        let since = self.clock.mono();
        let slot = Slot { value, source: source.clone(), credit: credit.cloned(), since };
        let mut queued = self.locked();
        match queued.gate {
            Gate::Open | Gate::Handover => {}
            Gate::Paused => return shut(DropReason::Paused),
            Gate::Draining | Gate::Stopped => return shut(DropReason::Stopped),
        }
        let mut displaced = None;
        if queued.slots.len() >= self.policy.capacity() {
            match self.policy {
                Policy::Latest => displaced = queued.slots.pop_front().map(|old| (old, DropReason::Superseded)),
                Policy::DropOldest { .. } => displaced = queued.slots.pop_front().map(|old| (old, DropReason::Full)),
                Policy::Credited { .. } | Policy::Lossless { .. } => {
                    drop(queued);
                    self.counters.drop_one(source, DropReason::Full);
                    return Offer::Refused;
                }
            }
        }
        queued.slots.push_back(slot);
        drop(queued);
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        self.counters.accepted_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.ready.notify_one();
        // Dropped outside the lock: its credit wakes a source.
        if let Some((old, reason)) = displaced {
            self.counters.drop_one(&old.source, reason);
        }
        Offer::Accepted
    }
}

impl<T: Signal> AnyQueue for Queue<T> {
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn port(&self) -> &PortName {
        &self.port
    }

    fn set_gate(&self, gate: Gate) {
        self.locked().gate = gate;
        self.ready.notify_one();
    }

    fn clear(&self) {
        let left: Vec<Slot<T>> = self.locked().slots.drain(..).collect();
        for slot in left {
            self.counters.drop_one(&slot.source, DropReason::Abandoned);
        }
    }

    fn status(&self) -> PortStatus {
        PortStatus {
            port: self.port.clone(),
            signal: T::TYPE,
            policy: self.policy,
            accepted: self.counters.accepted.load(Ordering::Relaxed),
            accepted_bytes: self.counters.accepted_bytes.load(Ordering::Relaxed),
            delivered: self.counters.delivered.load(Ordering::Relaxed),
            dropped: self.counters.drops(),
            queued: self.locked().slots.len(),
            waited: std::time::Duration::from_nanos(self.counters.waited_ns.load(Ordering::Relaxed)),
            served: self.counters.served.read(),
        }
    }
}

/// The receiving end of a port. One component reads it.
pub struct Input<T: Signal> {
    queue: Arc<Queue<T>>,
    busy_ns: Arc<AtomicU64>,
}

impl<T: Signal> Input<T> {
    pub(super) fn new(queue: Arc<dyn AnyQueue>, busy_ns: Arc<AtomicU64>) -> Option<Self> {
        Some(Self { queue: queue.any().downcast().ok()?, busy_ns })
    }

    /// The next signal; `None` when the component is told to stop, or to drain and nothing is left. Dropping the
    /// future loses nothing.
    pub async fn recv(&mut self) -> Option<Delivery<T>> {
        loop {
            match self.take() {
                Ok(delivery) => return Some(delivery),
                Err(Gate::Open | Gate::Paused) => self.queue.ready.notified().await,
                Err(Gate::Draining | Gate::Handover | Gate::Stopped) => return None,
            }
        }
    }

    /// The next signal if one is there.
    pub fn try_recv(&mut self) -> Option<Delivery<T>> {
        self.take().ok()
    }

    fn take(&mut self) -> Result<Delivery<T>, Gate> {
        let mut queued = self.queue.locked();
        if matches!(queued.gate, Gate::Stopped | Gate::Handover) {
            return Err(queued.gate);
        }
        let slot = queued.slots.pop_front().ok_or(queued.gate)?;
        drop(queued);
        let taken = self.queue.clock.mono();
        let waited = taken - slot.since;
        self.queue.counters.delivered.fetch_add(1, Ordering::Relaxed);
        self.queue.counters.add_wait(waited);
        if let Some(credit) = &slot.credit {
            credit.add_waited(waited);
        }
        Ok(Delivery {
            value: slot.value,
            source: slot.source,
            credit: slot.credit,
            taken,
            queue: Arc::clone(&self.queue),
            busy_ns: Arc::clone(&self.busy_ns),
        })
    }
}

/// A signal in a component's hands. The time until it is dropped counts as work on it.
pub struct Delivery<T: Signal> {
    value: T,
    source: Name,
    credit: Option<Credit>,
    taken: MonoTime,
    queue: Arc<Queue<T>>,
    busy_ns: Arc<AtomicU64>,
}

impl<T: Signal> Delivery<T> {
    /// The component that sent it into the graph.
    pub fn source(&self) -> &Name {
        &self.source
    }

    /// A copy of the signal that no longer counts as work.
    pub fn into_value(self) -> T {
        self.value.clone()
    }
}

impl<T: Signal> Deref for Delivery<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Signal> Drop for Delivery<T> {
    fn drop(&mut self) {
        let worked = self.queue.clock.mono() - self.taken;
        self.queue.counters.served.add(worked);
        self.busy_ns.fetch_add(u64::try_from(worked.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(credit) = &self.credit {
            credit.add_worked(worked);
        }
    }
}

impl<T: Signal + fmt::Debug> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

pub(super) struct Outlet<T> {
    component: Name,
    open: AtomicBool,
    links: RwLock<Vec<Arc<Queue<T>>>>,
}

impl<T: Signal> Outlet<T> {
    fn make(component: Name) -> Arc<dyn AnyOutlet> {
        Arc::new(Self { component, open: AtomicBool::new(true), links: RwLock::default() })
    }
}

impl<T: Signal> AnyOutlet for Outlet<T> {
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn link(&self, queue: &Arc<dyn AnyQueue>) -> bool {
        let any = Arc::clone(queue).any();
        let Ok(queue) = any.downcast::<Queue<T>>() else { return false };
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        if !links.iter().any(|linked| linked.port == queue.port) {
            links.push(queue);
        }
        true
    }

    fn unlink(&self, port: &PortName) {
        self.links.write().unwrap_or_else(PoisonError::into_inner).retain(|queue| queue.port != *port);
    }

    fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }
}

/// The sending end of a port. Cheap to clone; every send is a try.
pub struct Output<T: Signal> {
    outlet: Arc<Outlet<T>>,
}

impl<T: Signal> Clone for Output<T> {
    fn clone(&self) -> Self {
        Self { outlet: Arc::clone(&self.outlet) }
    }
}

impl<T: Signal> Output<T> {
    pub(super) fn new(outlet: Arc<dyn AnyOutlet>) -> Option<Self> {
        Some(Self { outlet: outlet.any().downcast().ok()? })
    }

    /// Whether any linked input would take a signal now without losing another. A decoder asks before it decodes.
    pub fn is_wanted(&self) -> bool {
        self.outlet.open.load(Ordering::Relaxed)
            && self.outlet.links.read().unwrap_or_else(PoisonError::into_inner).iter().any(|queue| queue.wants())
    }

    /// Whether anything is linked at all.
    pub fn is_linked(&self) -> bool {
        !self.outlet.links.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Offers `value` to every linked input.
    pub fn send(&self, value: T) -> Outcome {
        self.offer(value, &self.outlet.component, None)
    }

    /// Offers `value`, admitted under `credit`, to every linked input.
    pub fn send_credited(&self, value: T, credit: &Credit) -> Outcome {
        self.offer(value, &self.outlet.component, Some(credit))
    }

    /// Offers `value`, which was made from `cause`: its source and credit go on with it.
    pub fn send_from<U: Signal>(&self, cause: &Delivery<U>, value: T) -> Outcome {
        self.offer(value, &cause.source, cause.credit.as_ref())
    }

    fn offer(&self, value: T, source: &Name, credit: Option<&Credit>) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.outlet.open.load(Ordering::Relaxed) {
            return outcome;
        }
        let links = self.outlet.links.read().unwrap_or_else(PoisonError::into_inner);
        let Some((last, others)) = links.split_last() else { return outcome };
        let mut count = |offer| match offer {
            Offer::Accepted => outcome.accepted += 1,
            Offer::Dropped => outcome.dropped += 1,
            Offer::Refused => outcome.refused += 1,
        };
        for queue in others {
            count(queue.offer(value.clone(), source, credit));
        }
        count(last.offer(value, source, credit));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::credit::Credits;
    use crate::time::{ManualClock, SystemClock};
    use std::time::Duration;

    #[derive(Clone, Debug, PartialEq)]
    struct Number(u32);
    impl Signal for Number {
        const TYPE: SignalType = SignalType { name: "number", version: 1 };
    }
    #[derive(Clone)]
    struct Other;
    impl Signal for Other {
        const TYPE: SignalType = SignalType { name: "other", version: 1 };
    }

    fn pair(policy: Policy, clock: Arc<dyn Clock>) -> (Output<Number>, Input<Number>, Arc<dyn AnyQueue>) {
        let queue = PortSpec::input::<Number>("in", policy).make_queue("b#in".parse().unwrap(), &clock).unwrap();
        queue.set_gate(Gate::Open);
        let outlet = PortSpec::output::<Number>("out").make_outlet(Name::new("a").unwrap()).unwrap();
        assert!(outlet.link(&queue));
        let input = Input::new(Arc::clone(&queue), Arc::default()).unwrap();
        (Output::new(outlet).unwrap(), input, queue)
    }

    fn system() -> Arc<dyn Clock> {
        SystemClock::shared()
    }

    fn received(input: &mut Input<Number>) -> Vec<u32> {
        std::iter::from_fn(|| input.try_recv().map(|number| number.0)).collect()
    }

    #[test]
    fn latest_keeps_the_newest_and_counts_the_rest() {
        let (output, mut input, queue) = pair(Policy::Latest, system());
        assert!(output.is_wanted());
        for n in 0..5 {
            assert_eq!(output.send(Number(n)).accepted, 1);
        }
        assert!(!output.is_wanted(), "one is waiting");
        assert_eq!(received(&mut input), [4]);
        let status = queue.status();
        assert_eq!((status.accepted, status.delivered, status.dropped_total()), (5, 1, 4));
        assert_eq!(status.dropped[0].source, Some(Name::new("a").unwrap()));
        assert_eq!(status.dropped[0].reason, DropReason::Superseded);
    }

    #[test]
    fn drop_oldest_keeps_the_last_in_order() {
        let (output, mut input, queue) = pair(Policy::DropOldest { capacity: 3 }, system());
        for n in 0..5 {
            output.send(Number(n));
        }
        assert_eq!(received(&mut input), [2, 3, 4]);
        assert_eq!(queue.status().dropped_total(), 2);
    }

    #[test]
    fn lossless_refuses_rather_than_drops() {
        let (output, mut input, _) = pair(Policy::Lossless { capacity: 2 }, system());
        assert_eq!(output.send(Number(0)).accepted, 1);
        assert_eq!(output.send(Number(1)).accepted, 1);
        assert_eq!(output.send(Number(2)), Outcome { refused: 1, ..Outcome::default() });
        assert_eq!(received(&mut input), [0, 1]);
    }

    #[test]
    fn credited_takes_nothing_without_credit_and_measures_the_trip() {
        let clock = ManualClock::default();
        let (output, mut input, queue) = pair(Policy::Credited { capacity: 1 }, Arc::new(clock.clone()));
        assert_eq!(output.send(Number(0)).dropped, 1);
        assert_eq!(queue.status().dropped[0].reason, DropReason::NoCredit);
        let credits = Credits::new(1);
        let credit = credits.try_take().unwrap();
        assert_eq!(output.send_credited(Number(1), &credit).accepted, 1);
        drop(credit);
        clock.advance(Duration::from_millis(7));
        let delivery = input.try_recv().unwrap();
        clock.advance(Duration::from_millis(2));
        assert_eq!(credits.in_flight(), 1);
        drop(delivery);
        assert_eq!(credits.in_flight(), 0);
        let trip = credits.take_trips()[0];
        assert_eq!((trip.waited, trip.worked), (Duration::from_millis(7), Duration::from_millis(2)));
    }

    #[test]
    fn links_join_only_equal_types_and_can_be_cut() {
        let (output, mut input, queue) = pair(Policy::Latest, system());
        let other = PortSpec::output::<Other>("out").make_outlet(Name::new("c").unwrap()).unwrap();
        assert!(!other.link(&queue));
        output.outlet.unlink(queue.port());
        assert_eq!(output.send(Number(1)), Outcome::default());
        assert!(!output.is_linked() && !output.is_wanted());
        assert_eq!(received(&mut input), []);
    }

    #[tokio::test]
    async fn draining_delivers_what_is_left_and_stopping_does_not() {
        let (output, mut input, queue) = pair(Policy::Lossless { capacity: 4 }, system());
        output.send(Number(1));
        queue.set_gate(Gate::Draining);
        assert_eq!(output.send(Number(2)).dropped, 1);
        assert_eq!(input.recv().await.unwrap().0, 1);
        assert!(input.recv().await.is_none());
        queue.set_gate(Gate::Open);
        output.send(Number(3));
        queue.set_gate(Gate::Stopped);
        assert!(input.recv().await.is_none());
        queue.clear();
        assert_eq!(queue.status().dropped.iter().map(|drop| drop.count).sum::<u64>(), 2);
    }
}
