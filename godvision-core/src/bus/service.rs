//! Service time: how long a component holds one signal. [`ServiceTime`] is what the bus measures at each input and what a
//! unit declares as its [`ServiceProfile`]; a design check multiplies it with the rates of the streams, and sees before a
//! site is built whether its cores suffice.
//!
//! Mean and standard deviation are enough for the two-moment formulas of queueing theory (Whitt, "The Queueing Network
//! Analyzer", 1983): a queue's wait grows with the utilisation and with the squared coefficient of variation.
//!
//! **Never:** a profile that nobody measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a component holds a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceTime {
    /// The mean.
    pub mean: Duration,
    /// The standard deviation.
    pub deviation: Duration,
}

impl ServiceTime {
    /// From microseconds, for constants.
    pub const fn micros(mean: u64, deviation: u64) -> Self {
        Self { mean: Duration::from_micros(mean), deviation: Duration::from_micros(deviation) }
    }

    /// The squared coefficient of variation: 0 for a constant, 1 for an exponential distribution; 0 if the mean is 0.
    pub fn scv(&self) -> f64 {
        let mean = self.mean.as_secs_f64();
        if mean == 0.0 { 0.0 } else { (self.deviation.as_secs_f64() / mean).powi(2) }
    }

    /// The share of its time that a component works at `rate` signals a second; above 1.0 it cannot follow.
    pub fn utilisation(&self, rate: f64) -> f64 {
        self.mean.as_secs_f64() * rate
    }
}

/// How long a unit's components held the signals of an input when it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceProfile {
    /// The input.
    pub input: &'static str,
    /// What came in, with what parameters: `1080p, nothing moves`.
    pub condition: &'static str,
    /// How long it took.
    pub time: ServiceTime,
}

/// Sums of the service times at one input.
#[derive(Debug, Default)]
pub(super) struct Served {
    count: AtomicU64,
    ns: AtomicU64,
    /// In units of a microsecond squared: half a million years of signals that take 50 ms would overflow it.
    squared_us: AtomicU64,
}

impl Served {
    pub(super) fn add(&self, worked: Duration) {
        let micros = u64::try_from(worked.as_micros()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ns.fetch_add(u64::try_from(worked.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.squared_us.fetch_add(micros.saturating_mul(micros), Ordering::Relaxed);
    }

    /// Signals and their service time; nothing if there were none. The three sums are read one after another, so they may
    /// differ by the signals of an instant.
    pub(super) fn read(&self) -> Option<(u64, ServiceTime)> {
        let count = self.count.load(Ordering::Relaxed);
        if count == 0 {
            return None;
        }
        let mean_ns = self.ns.load(Ordering::Relaxed) as f64 / count as f64;
        let squared_us = self.squared_us.load(Ordering::Relaxed) as f64 / count as f64;
        let variance_us = (squared_us - (mean_ns / 1e3).powi(2)).max(0.0);
        let mean = Duration::from_nanos(mean_ns as u64);
        Some((count, ServiceTime { mean, deviation: Duration::from_nanos((variance_us.sqrt() * 1e3) as u64) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_those_of_what_was_served() {
        let served = Served::default();
        assert_eq!(served.read(), None);
        for millis in [2, 4, 4, 4, 5, 5, 7, 9] {
            served.add(Duration::from_millis(millis));
        }
        let (count, time) = served.read().unwrap();
        assert_eq!((count, time), (8, ServiceTime::micros(5000, 2000)));
        assert!((time.scv() - 0.16).abs() < 1e-12);
        assert!((time.utilisation(100.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_longest_times_saturate() {
        let served = Served::default();
        served.add(Duration::MAX);
        assert_eq!(served.read().unwrap().0, 1);
        assert_eq!(ServiceTime::default().scv(), 0.0);
    }
}
