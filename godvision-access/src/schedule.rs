//! Weekly schedules in a named time zone.
//!
//! A schedule is asked about an *instant*: the wall clock of that instant in its zone, which always exists exactly
//! once. So daylight saving needs no special case, and has this consequence: a window from 02:30 to 02:45 does not
//! occur on the night when clocks jump from 02:00 to 03:00, and occurs twice on the night when they go back.
//! Zones come from the IANA database that is built in, so every machine decides alike.
//!
//! **Never:** the current time (it is an argument), holidays (a calendar of replacement days is still to come).

use std::fmt;

use godvision_core::WallTime;
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::error::RuleFault;

/// Minutes of a week.
pub const MINUTES_A_WEEK: u16 = 7 * MINUTES_A_DAY;
/// Most intervals of one schedule.
pub const INTERVALS_MAX: usize = 64;

const MINUTES_A_DAY: u16 = 24 * 60;
/// 1970-01-01 was a Thursday.
const EPOCH_MINUTE: i64 = 3 * MINUTES_A_DAY as i64;
/// Seconds at 2020-01-01 UTC: a clock before it was never set.
const PLAUSIBLE_FROM_S: i64 = 1_577_836_800;
/// Seconds at 2200-01-01 UTC.
const PLAUSIBLE_UNTIL_S: i64 = 7_258_118_400;

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
}

/// A time zone by its IANA name.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone called `name`, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// [`RuleFault::UnknownZone`].
    pub fn named(name: &str) -> Result<Self, RuleFault> {
        if name == "UTC" {
            return Ok(Self::utc());
        }
        let zone = TimeZoneDatabase::bundled().get(name);
        zone.map(Self).map_err(|_| RuleFault::UnknownZone { zone: name.chars().take(64).collect() })
    }

    /// What clocks in this zone show at `at`. Seconds are cut off. About 30 ns, no allocation.
    pub fn minute_of_week(&self, at: WallTime) -> Option<MinuteOfWeek> {
        let seconds = at.as_unix_seconds();
        let offset = self.0.to_offset(Timestamp::from_second(seconds).ok()?).seconds();
        let minutes = seconds.checked_add(i64::from(offset))?.div_euclid(60).checked_add(EPOCH_MINUTE)?;
        u16::try_from(minutes.rem_euclid(i64::from(MINUTES_A_WEEK))).ok().map(MinuteOfWeek)
    }

    /// The instant that `text` names: RFC 3339 with an offset, or a local date (its midnight) or date and time in this
    /// zone.
    ///
    /// # Errors
    /// [`RuleFault::NotAMoment`]; [`RuleFault::AmbiguousTime`] for a local time that clocks skip or show twice.
    pub fn instant(&self, text: &str) -> Result<WallTime, RuleFault> {
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Ok(WallTime::from_unix_micros(instant.as_microsecond()));
        }
        let not_a_moment = || RuleFault::NotAMoment { text: text.chars().take(64).collect() };
        let local: jiff::civil::DateTime = text.parse().map_err(|_| not_a_moment())?;
        let instant = self.0.to_ambiguous_timestamp(local).unambiguous();
        let instant = instant.map_err(|_| RuleFault::AmbiguousTime { text: text.chars().take(64).collect() })?;
        Ok(WallTime::from_unix_micros(instant.as_microsecond()))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of minutes of the week, as intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Weekly {
    /// Half open, sorted, disjoint, not touching, inside one week.
    spans: Vec<(u16, u16)>,
}

impl Weekly {
    /// Parses intervals such as `Mon-Fri 08:00-18:00`, `Sat,Sun 10:00-14:00`, `daily 22:00-06:00`. An interval that ends
    /// at or before its start reaches into the next day; the days are those on which it begins. A whole day is
    /// `00:00-24:00`.
    ///
    /// # Errors
    /// [`RuleFault::BadInterval`]; [`RuleFault::TooMany`] beyond [`INTERVALS_MAX`].
    pub fn parse<'a>(intervals: impl IntoIterator<Item = &'a str>) -> Result<Self, RuleFault> {
        let mut spans = Vec::new();
        for (index, text) in intervals.into_iter().enumerate() {
            if index == INTERVALS_MAX {
                return Err(RuleFault::TooMany { what: "intervals", limit: INTERVALS_MAX });
            }
            let bad = |reason| RuleFault::BadInterval { text: text.chars().take(64).collect(), reason };
            let (days, hours) = text.split_once(' ').ok_or(bad("write days, a space, and hours"))?;
            let days = parse_days(days).ok_or(bad("days are Mon-Fri, Sat,Sun or daily"))?;
            let (start, length) = parse_hours(hours.trim()).map_err(bad)?;
            for day in (0..7).filter(|day| days & (1 << day) != 0) {
                push_wrapped(&mut spans, day * MINUTES_A_DAY + start, length);
            }
        }
        Ok(Self::merged(spans))
    }

    /// Every minute of the week.
    pub fn always() -> Self {
        Self { spans: vec![(0, MINUTES_A_WEEK)] }
    }

    /// From half-open intervals of minutes of the week; what reaches beyond the week's end goes on at its start.
    /// Intervals of a week or more cover it whole.
    pub fn from_minutes(intervals: impl IntoIterator<Item = (MinuteOfWeek, u16)>) -> Self {
        let mut spans = Vec::new();
        for (start, length) in intervals {
            push_wrapped(&mut spans, start.0, length.min(MINUTES_A_WEEK));
        }
        Self::merged(spans)
    }

    /// Whether `minute` is inside. No allocation.
    pub fn covers(&self, MinuteOfWeek(minute): MinuteOfWeek) -> bool {
        let after = self.spans.partition_point(|(start, _)| *start <= minute);
        after.checked_sub(1).and_then(|index| self.spans.get(index)).is_some_and(|(_, end)| minute < *end)
    }

    fn merged(mut spans: Vec<(u16, u16)>) -> Self {
        spans.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(spans.len());
        for (start, end) in spans {
            match merged.last_mut() {
                Some((_, last_end)) if start <= *last_end => *last_end = end.max(*last_end),
                _ => merged.push((start, end)),
            }
        }
        Self { spans: merged }
    }
}

fn push_wrapped(spans: &mut Vec<(u16, u16)>, start: u16, length: u16) {
    let end = start.saturating_add(length);
    if length == 0 {
        return;
    }
    spans.push((start, end.min(MINUTES_A_WEEK)));
    if end > MINUTES_A_WEEK {
        spans.push((0, end - MINUTES_A_WEEK));
    }
}

/// Bits 0 (Monday) to 6.
fn parse_days(text: &str) -> Option<u8> {
    if text == "daily" {
        return Some(0x7f);
    }
    let day = |name: &str| ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter().position(|it| *it == name);
    text.split(',').try_fold(0, |days, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + 7 - first) % 7;
        Some((0..=count).fold(days, |days, step| days | (1 << ((first + step) % 7))))
    })
}

/// Start of day and length, in minutes.
fn parse_hours(text: &str) -> Result<(u16, u16), &'static str> {
    let time = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let two_digits = |text: &str| match text.as_bytes() {
            [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u16::from(a - b'0') * 10 + u16::from(b - b'0')),
            _ => None,
        };
        let minutes = two_digits(hour)? * 60 + two_digits(minute).filter(|minute| *minute < 60)?;
        (minutes <= MINUTES_A_DAY).then_some(minutes)
    };
    let (start, end) = text.split_once('-').ok_or("hours are 08:00-18:00")?;
    let (start, end) = time(start).zip(time(end)).ok_or("hours are 08:00-18:00, at most 24:00")?;
    if start == MINUTES_A_DAY {
        return Err("a day begins at 00:00, not at 24:00");
    }
    match end.cmp(&start) {
        std::cmp::Ordering::Greater => Ok((start, end - start)),
        std::cmp::Ordering::Less => Ok((start, end + MINUTES_A_DAY - start)),
        std::cmp::Ordering::Equal => Err("it is empty; a whole day is 00:00-24:00"),
    }
}

/// Minutes of the week by the clocks of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Whose clocks.
    pub zone: Zone,
    /// Which minutes.
    pub weekly: Weekly,
}

impl Schedule {
    /// Whether `at` is inside; `None` if the calendar of the zone does not reach so far.
    pub fn covers(&self, at: WallTime) -> Option<bool> {
        self.zone.minute_of_week(at).map(|minute| self.weekly.covers(minute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> WallTime {
        Zone::utc().instant(text).unwrap()
    }

    fn berlin(intervals: &[&str]) -> Schedule {
        Schedule {
            zone: Zone::named("Europe/Berlin").unwrap(),
            weekly: Weekly::parse(intervals.iter().copied()).unwrap(),
        }
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
            assert_eq!(nights.covers(at(text)), Some(inside), "{text}");
        }
    }

    #[test]
    fn days_may_wrap_around_the_week() {
        let weekly = Weekly::parse(["Fri-Mon 10:00-11:00"]).unwrap();
        let inside: Vec<u16> =
            (0..7).filter(|day| weekly.covers(MinuteOfWeek::new(day * MINUTES_A_DAY + 600).unwrap())).collect();
        assert_eq!(inside, [0, 4, 5, 6]);
    }

    #[test]
    fn the_skipped_half_hour_of_spring_never_comes_and_that_of_autumn_comes_twice() {
        let window = berlin(&["daily 02:30-02:45"]);
        let minutes_inside = |from: &str| {
            let from = at(from);
            (0..24 * 60).filter(|minute| window.covers(from.plus_micros(minute * 60_000_000)) == Some(true)).count()
        };
        assert_eq!(minutes_inside("2026-03-28T12:00:00Z"), 0, "clocks jump from 02:00 to 03:00");
        assert_eq!(minutes_inside("2026-10-24T12:00:00Z"), 30, "clocks show 02:30 twice");
        assert_eq!(minutes_inside("2026-06-01T12:00:00Z"), 15);
    }

    #[test]
    fn local_moments_that_do_not_exist_once_are_refused() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(zone.instant("2026-11-22"), Ok(at("2026-11-21T23:00:00Z")));
        assert_eq!(zone.instant("2026-07-01T08:00:00"), Ok(at("2026-07-01T06:00:00Z")));
        assert_eq!(zone.instant("2026-07-01T08:00:00Z"), Ok(at("2026-07-01T08:00:00Z")));
        for text in ["2026-03-29T02:30:00", "2026-10-25T02:30:00"] {
            assert!(matches!(zone.instant(text), Err(RuleFault::AmbiguousTime { .. })), "{text}");
        }
        for text in ["", "soon", "2026-13-01", "2026-02-30", "08:00"] {
            assert!(matches!(zone.instant(text), Err(RuleFault::NotAMoment { .. })), "{text}");
        }
    }

    #[test]
    fn bad_intervals_say_why() {
        for text in [
            "",
            "Mon",
            "Mon 08:00",
            "08:00-09:00",
            "Mon 8:00-9:00",
            "Mon 08:00-08:00",
            "Mon 24:00-08:00",
            "mon 08:00-09:00",
            "Mon 08:60-09:00",
            "Mon 08:00-24:01",
            "Mon- 08:00-09:00",
            "Mon,, 08:00-09:00",
            "Mon +8:00-09:00",
        ] {
            assert!(matches!(Weekly::parse([text]), Err(RuleFault::BadInterval { .. })), "{text:?}");
        }
        assert!(matches!(Zone::named("Europe/Atlantis"), Err(RuleFault::UnknownZone { .. })));
        assert!(Weekly::parse(std::iter::repeat_n("Mon 08:00-09:00", INTERVALS_MAX)).is_ok());
        let many = Weekly::parse(std::iter::repeat_n("Mon 08:00-09:00", INTERVALS_MAX + 1));
        assert!(matches!(many, Err(RuleFault::TooMany { limit: INTERVALS_MAX, .. })));
    }

    #[test]
    fn clocks_that_were_never_set_are_not_believed() {
        assert!(!is_plausible(WallTime::from_unix_seconds(0)));
        assert!(!is_plausible(at("2019-12-31T23:59:59Z")));
        assert!(is_plausible(at("2020-01-01T00:00:00Z")));
        assert!(!is_plausible(at("2200-01-01T00:00:00Z")));
    }

    proptest! {
        #[test]
        fn merging_keeps_every_minute(spans in proptest::collection::vec((0u16..MINUTES_A_WEEK, 0u16..2000), 0..12)) {
            let weekly = Weekly::from_minutes(spans.iter().map(|(start, length)| (MinuteOfWeek(*start), *length)));
            for minute in (0..MINUTES_A_WEEK).step_by(7) {
                let expected = spans.iter().any(|(start, length)| {
                    (u32::from(minute) + u32::from(MINUTES_A_WEEK) - u32::from(*start)) % u32::from(MINUTES_A_WEEK) < u32::from(*length)
                });
                prop_assert_eq!(weekly.covers(MinuteOfWeek(minute)), expected);
            }
        }

        #[test]
        fn minute_of_week_is_what_the_calendar_shows(seconds in PLAUSIBLE_FROM_S..PLAUSIBLE_UNTIL_S) {
            let zone = Zone::named("America/St_Johns").unwrap();
            let shown = Timestamp::from_second(seconds).unwrap().to_zoned(zone.0.clone());
            let day = shown.weekday().to_monday_zero_offset() as u16;
            let minute = day * MINUTES_A_DAY + shown.hour() as u16 * 60 + shown.minute() as u16;
            prop_assert_eq!(zone.minute_of_week(WallTime::from_unix_seconds(seconds)), MinuteOfWeek::new(minute));
        }
    }
}
