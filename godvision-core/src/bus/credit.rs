//! Credits: what a source may have in the graph at once.
//!
//! A source takes a [`Credit`] from its [`Credits`] before it emits; the credit rides on the signal and on everything
//! derived from it, and comes back when the last clone is dropped, also when a component panics or is stopped. Inputs
//! with the credited policy are sized so that what all sources may have admitted fits
//! (`K >= sum of W * m`, checked when a graph is loaded), so a credited send cannot fail.
//!
//! On its way a credit adds up how long the signal waited in queues and was worked on; the [`Trip`] is handed back with
//! the credit. Rate control needs nothing else: no global knowledge and no guess.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

/// What one credited signal saw on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trip {
    /// Time spent in queues, all copies together.
    pub waited: Duration,
    /// Time spent being worked on, all copies together.
    pub worked: Duration,
}

/// Trips remembered until [`Credits::take_trips`] is called; older ones are forgotten.
pub const TRIPS_MAX: usize = 256;

/// The credits of one source.
#[derive(Clone, Debug)]
pub struct Credits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    window: u32,
    in_flight: AtomicU32,
    returned: Notify,
    trips: Mutex<VecDeque<Trip>>,
}

impl Credits {
    /// A source that may have `window` signals in the graph at once.
    pub fn new(window: u32) -> Self {
        Self {
            shared: Arc::new(Shared {
                window,
                in_flight: AtomicU32::new(0),
                returned: Notify::new(),
                trips: Mutex::default(),
            }),
        }
    }

    /// The most signals that may be in the graph at once.
    pub fn window(&self) -> u32 {
        self.shared.window
    }

    /// Signals in the graph now.
    pub fn in_flight(&self) -> u32 {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// A credit, if one is free.
    pub fn try_take(&self) -> Option<Credit> {
        self.shared
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < self.shared.window).then_some(taken + 1)
            })
            .ok()?;
        Some(Credit { trip: Arc::new(Held { pool: Arc::clone(&self.shared), waited: 0.into(), worked: 0.into() }) })
    }

    /// Waits until a credit is free. Only a source does this; it holds nothing that others wait for.
    pub async fn take(&self) -> Credit {
        loop {
            let returned = self.shared.returned.notified();
            if let Some(credit) = self.try_take() {
                return credit;
            }
            returned.await;
        }
    }

    /// The trips that ended since the last call, oldest first, at most [`TRIPS_MAX`].
    pub fn take_trips(&self) -> Vec<Trip> {
        self.shared.trips.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..).collect()
    }
}

/// The right to be in the graph. Clones share one right; it returns when the last is dropped.
#[derive(Clone, Debug)]
pub struct Credit {
    trip: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    pool: Arc<Shared>,
    waited: AtomicU64,
    worked: AtomicU64,
}

impl Credit {
    pub(super) fn add_waited(&self, waited: Duration) {
        self.trip.waited.fetch_add(nanos(waited), Ordering::Relaxed);
    }

    pub(super) fn add_worked(&self, worked: Duration) {
        self.trip.worked.fetch_add(nanos(worked), Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Drop for Held {
    fn drop(&mut self) {
        let trip = Trip {
            waited: Duration::from_nanos(*self.waited.get_mut()),
            worked: Duration::from_nanos(*self.worked.get_mut()),
        };
        let mut trips = self.pool.trips.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if trips.len() == TRIPS_MAX {
            trips.pop_front();
        }
        trips.push_back(trip);
        drop(trips);
        self.pool.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credit_returns_with_its_last_clone() {
        let credits = Credits::new(2);
        let first = credits.try_take().unwrap();
        let second = credits.try_take().unwrap();
        assert!(credits.try_take().is_none());
        let copy = first.clone();
        drop(first);
        assert!(credits.try_take().is_none(), "a clone still holds it");
        copy.add_waited(Duration::from_millis(3));
        copy.add_worked(Duration::from_millis(2));
        drop(copy);
        assert_eq!(credits.in_flight(), 1);
        assert_eq!(credits.take_trips(), [Trip { waited: Duration::from_millis(3), worked: Duration::from_millis(2) }]);
        drop(second);
        assert_eq!(credits.in_flight(), 0);
    }

    #[test]
    fn a_credit_returns_from_a_panic() {
        let credits = Credits::new(1);
        let credit = credits.try_take().unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = credit;
            panic!("a component of somebody else");
        }));
        assert!(panicked.is_err());
        assert_eq!(credits.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_waiting_source_is_woken() {
        let credits = Credits::new(1);
        let held = credits.take().await;
        let waiter = tokio::spawn({
            let credits = credits.clone();
            async move { drop(credits.take().await) }
        });
        tokio::task::yield_now().await;
        drop(held);
        waiter.await.unwrap();
        assert_eq!(credits.in_flight(), 0);
    }
}
