//! Schedules: weekly hours in a named time zone, and other hours on holidays.
//!
//! A schedule is asked about an *instant*: the wall clock of that instant in its zone, which always exists exactly
//! once. So daylight saving needs no special case, and has this consequence: a window from 02:30 to 02:45 does not
//! occur on the night when clocks jump from 02:00 to 03:00, and occurs twice on the night when they go back.
//!
//! An interval belongs to the day on which it begins. On a day of a calendar that the schedule names, the hours given
//! for that calendar begin instead of those of the weekday. So a night shift that began at 22:00 on the eve goes on until
//! 06:00 of the holiday, and the one that would begin on the holiday does not, nor reach into the day after. A day in
//! several calendars counts for the first of them that the schedule names.
//!
//! **Never:** the current time (it is an argument), rules of recurrence (dates are written down).

pub(crate) mod calendar;
mod weekly;
mod zone;

use std::collections::BTreeMap;

use godvision_core::{Name, WallTime};

pub use calendar::{Calendar, DATES_MAX, Date};
pub use weekly::{Hours, Weekly};
pub(crate) use zone::Offsets;
pub use zone::{Local, Zone};

/// Minutes of a week.
pub const MINUTES_A_WEEK: u16 = 7 * MINUTES_A_DAY;
/// Minutes of a day by the clock.
pub const MINUTES_A_DAY: u16 = 24 * 60;
/// Most intervals of one schedule.
pub const INTERVALS_MAX: usize = 64;

/// Seconds at 2020-01-01 UTC: a clock before it was never set.
pub(crate) const PLAUSIBLE_FROM_S: i64 = 1_577_836_800;
/// Seconds at 2200-01-01 UTC.
pub(crate) const PLAUSIBLE_UNTIL_S: i64 = 7_258_118_400;

/// Whether a clock that shows `at` can have been set: 2020 to 2199. Nothing is decided by another clock.
pub fn is_plausible(at: WallTime) -> bool {
    (PLAUSIBLE_FROM_S..PLAUSIBLE_UNTIL_S).contains(&at.as_unix_seconds())
}

/// A minute of the week, 0 to 10 079; Monday 00:00 is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MinuteOfWeek(u16);

impl MinuteOfWeek {
    /// `minute`, if there is one.
    pub fn new(minute: u16) -> Option<Self> {
        (minute < MINUTES_A_WEEK).then_some(Self(minute))
    }

    /// The number, 0 to 10 079.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Calendars by name.
pub type Calendars = BTreeMap<Name, Calendar>;

/// Which minutes, by the clocks and calendars of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Whose clocks.
    pub zone: Zone,
    /// Which minutes of the week.
    pub weekly: Weekly,
    /// What begins on the days of a calendar instead; the first that has the day counts.
    pub holidays: Vec<(Name, Hours)>,
}

impl Schedule {
    /// Every week alike.
    pub fn weekly(zone: Zone, weekly: Weekly) -> Self {
        Self { zone, weekly, holidays: Vec::new() }
    }

    /// Whether `at` is inside; `None` if the calendar of the zone does not reach so far. A calendar that `calendars` does
    /// not have has no day ([`crate::RuleSet`] refuses such a schedule).
    pub fn covers(&self, at: WallTime, calendars: &Calendars) -> Option<bool> {
        let Local { date, minute } = self.zone.local(at)?;
        let (today, yesterday) = (self.hours_on(date, calendars), self.hours_on(date.plus_days(-1), calendars));
        Some(today.cover(minute) || yesterday.cover(minute + MINUTES_A_DAY))
    }

    /// What begins on `date`.
    pub fn hours_on(&self, date: Date, calendars: &Calendars) -> &Hours {
        let is_holiday = |(name, _): &&(Name, Hours)| calendars.get(name).is_some_and(|calendar| calendar.has(date));
        self.holidays.iter().find(is_holiday).map_or_else(|| self.weekly.on(date.weekday()), |(_, hours)| hours)
    }
}

#[cfg(test)]
fn at(text: &str) -> WallTime {
    Zone::utc().instant(text).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin(intervals: &[&str]) -> Schedule {
        Schedule::weekly(Zone::named("Europe/Berlin").unwrap(), Weekly::parse(intervals.iter().copied()).unwrap())
    }

    fn covers(schedule: &Schedule, text: &str) -> bool {
        schedule.covers(at(text), &Calendars::new()).unwrap()
    }

    #[test]
    fn intervals_across_midnight_and_the_end_of_the_week() {
        // 2026-11-22 is a Sunday; Berlin is one hour ahead of UTC in winter.
        let nights = berlin(&["Sun 22:00-06:00"]);
        for (text, inside) in [
            ("2026-11-22T20:59:59Z", false),
            ("2026-11-22T21:00:00Z", true),
            ("2026-11-22T23:30:00Z", true),
            ("2026-11-23T04:59:59Z", true),
            ("2026-11-23T05:00:00Z", false),
            ("2026-11-23T21:30:00Z", false),
        ] {
            assert_eq!(covers(&nights, text), inside, "{text}");
        }
    }

    #[test]
    fn the_skipped_half_hour_of_spring_never_comes_and_that_of_autumn_comes_twice() {
        let window = berlin(&["daily 02:30-02:45"]);
        let minutes_inside = |from: &str| {
            let minutes = (0..24 * 60).map(|minute| at(from).plus_micros(minute * 60_000_000));
            minutes.filter(|at| window.covers(*at, &Calendars::new()) == Some(true)).count()
        };
        assert_eq!(minutes_inside("2026-03-28T12:00:00Z"), 0, "clocks jump from 02:00 to 03:00");
        assert_eq!(minutes_inside("2026-10-24T12:00:00Z"), 30, "clocks show 02:30 twice");
        assert_eq!(minutes_inside("2026-06-01T12:00:00Z"), 15);
    }

    #[test]
    fn a_shift_belongs_to_the_day_on_which_it_begins() {
        let calendars: Calendars = [
            ("public".parse().unwrap(), Calendar::parse(["2026-12-25"]).unwrap()),
            ("eves".parse().unwrap(), Calendar::parse(["12-24", "12-25"]).unwrap()),
        ]
        .into();
        let mut shift = berlin(&["daily 22:00-06:00"]);
        shift.holidays = vec![
            ("public".parse().unwrap(), Hours::parse("none").unwrap()),
            ("eves".parse().unwrap(), Hours::parse("20:00-23:00,23:30-01:00").unwrap()),
        ];
        for (text, inside) in [
            ("2026-12-24T05:59:59+01:00", true),  // began on the 23rd
            ("2026-12-24T20:30:00+01:00", true),  // the eve's own hours
            ("2026-12-24T23:15:00+01:00", false), // between them
            ("2026-12-25T00:59:59+01:00", true),  // began on the eve, goes on into the holiday
            ("2026-12-25T05:00:00+01:00", false), // the eve's hours ended at one
            ("2026-12-25T23:00:00+01:00", false), // nothing begins on the holiday: the first calendar named counts
            ("2026-12-26T05:00:00+01:00", false), // nor reaches into the day after
            ("2026-12-26T22:00:00+01:00", true),
        ] {
            assert_eq!(shift.covers(at(text), &calendars), Some(inside), "{text}");
        }
    }

    #[test]
    fn clocks_that_were_never_set_are_not_believed() {
        assert!(!is_plausible(WallTime::from_unix_seconds(0)));
        assert!(!is_plausible(at("2019-12-31T23:59:59Z")));
        assert!(is_plausible(at("2020-01-01T00:00:00Z")));
        assert!(!is_plausible(at("2200-01-01T00:00:00Z")));
    }
}
