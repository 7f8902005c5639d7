//! The two kinds of time, and the one place where clocks are read.
//!
//! * [`MonoTime`] never jumps: nanoseconds on the host's monotonic clock. Durations, deadlines, recordings and every
//!   comparison of two moments use it.
//! * [`WallTime`] is what people read: microseconds since 1970-01-01 UTC. It may jump when the clock is set, so it
//!   labels things and decides schedules, and is never subtracted to get a duration.
//!
//! A [`Stamp`] carries both for one moment. Cores take `now` as an argument; only edges hold a [`Clock`].
//!
//! **Never:** time zones (a rule's schedule owns its zone), leap seconds, `std::time::Instant` in a signal (it has no
//! meaning outside its process and cannot be made in a test).

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A moment on the host's monotonic timeline, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoTime(u64);

impl MonoTime {
    /// The start of the timeline.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds since the start of the timeline.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the start of the timeline; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start of the timeline.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self - duration`, not before [`MonoTime::ZERO`].
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Saturates at the end of the timeline (584 years).
impl Add<Duration> for MonoTime {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

/// Zero if the right side is later.
impl Sub for MonoTime {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// A moment of the calendar, in microseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    /// From microseconds since the Unix epoch.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the Unix epoch; saturates.
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// From whole seconds since the Unix epoch; saturates.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_unix_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn as_unix_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment moved by `micros`, which may be negative; saturates.
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// UTC calendar parts: year, month 1-12, day 1-31, hour, minute, second.
    ///
    /// Civil-from-days after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"; valid for any `i64` second.
    pub fn utc_parts(self) -> (i64, u8, u8, u8, u8, u8) {
        let seconds = self.as_unix_seconds();
        let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = (doy - (153 * mp + 2) / 5 + 1) as u8;
        let month = (if mp < 10 { mp + 3 } else { mp - 9 }) as u8;
        let year = yoe + era * 400 + i64::from(month <= 2);
        (year, month, day, (of_day / 3600) as u8, (of_day / 60 % 60) as u8, (of_day % 60) as u8)
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-21T09:30:00.250Z`.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.utc_parts();
        let millis = self.0.rem_euclid(1_000_000) / 1000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// One moment on both timelines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// On the monotonic timeline: compare and subtract this one.
    pub mono: MonoTime,
    /// On the calendar: show this one.
    pub wall: WallTime,
}

impl Stamp {
    /// Both readings of one moment.
    pub const fn new(mono: MonoTime, wall: WallTime) -> Self {
        Self { mono, wall }
    }
}

/// Where an edge reads the time. Cores never hold one: they are told.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Both timelines, read as close together as the clock can.
    fn now(&self) -> Stamp;

    /// The monotonic timeline alone.
    fn mono(&self) -> MonoTime {
        self.now().mono
    }

    /// The calendar alone.
    fn wall(&self) -> WallTime {
        self.now().wall
    }
}

/// The operating system's clocks. All values made in one process share one monotonic timeline.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The process-wide clock behind the trait.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the process reads its clocks")]
    fn now(&self) -> Stamp {
        use std::sync::OnceLock;
        use std::time::{Instant, SystemTime, UNIX_EPOCH};
        static START: OnceLock<Instant> = OnceLock::new();
        // An hour of head room lets `MonoTime` name moments before the process started (a camera's older frames).
        const HEAD_ROOM: Duration = Duration::from_secs(3600);
        let start = START.get_or_init(Instant::now);
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Stamp::new(MonoTime::ZERO + HEAD_ROOM + start.elapsed(), WallTime::from_unix_micros(wall))
    }
}

/// A clock that moves only when told, for tests and simulation. Clones share the same hands.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    mono_nanos: Arc<AtomicU64>,
    wall_micros: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that shows `stamp`.
    pub fn at(stamp: Stamp) -> Self {
        let clock = Self::default();
        clock.mono_nanos.store(stamp.mono.as_nanos(), Ordering::SeqCst);
        clock.wall_micros.store(stamp.wall.as_unix_micros(), Ordering::SeqCst);
        clock
    }

    /// Moves both timelines forward together.
    pub fn advance(&self, by: Duration) {
        self.mono_nanos.fetch_add(nanos(by), Ordering::SeqCst);
        self.wall_micros.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the calendar alone, as an NTP step or an operator does.
    pub fn set_wall(&self, wall: WallTime) {
        self.wall_micros.store(wall.as_unix_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Stamp {
        Stamp::new(
            MonoTime::from_nanos(self.mono_nanos.load(Ordering::SeqCst)),
            WallTime::from_unix_micros(self.wall_micros.load(Ordering::SeqCst)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_is_printed_in_utc() {
        assert_eq!(WallTime::from_unix_seconds(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(WallTime::from_unix_millis(951_827_696_789).to_string(), "2000-02-29T12:34:56.789Z");
        assert_eq!(WallTime::from_unix_micros(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn monotonic_difference_never_goes_below_zero() {
        let (early, late) = (MonoTime::from_millis(5), MonoTime::from_millis(9));
        assert_eq!(late - early, Duration::from_millis(4));
        assert_eq!(early - late, Duration::ZERO);
    }

    #[test]
    fn setting_the_calendar_leaves_the_monotonic_timeline() {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(2));
        clock.set_wall(WallTime::from_unix_seconds(1_000_000));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.mono(), MonoTime::from_millis(3000));
        assert_eq!(clock.wall(), WallTime::from_unix_seconds(1_000_001));
    }

    #[test]
    fn system_clock_moves_forward() {
        let (first, second) = (SystemClock.now(), SystemClock.now());
        assert!(second.mono >= first.mono);
        assert!(first.wall.as_unix_seconds() > 1_700_000_000);
    }
}
