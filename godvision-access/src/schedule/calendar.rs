//! Days, and calendars of holidays.
//!
//! A [`Calendar`] is a set of dates: `2026-12-24`, a period `2026-12-24/2027-01-06` (both ends are in it, as in ISO 8601),
//! or every year's `12-25`. It has no hours: each schedule says what it does on such a day.
//!
//! **Never:** movable feasts (Easter): their dates are written down, so that a person can read what will happen.

use std::collections::BTreeSet;
use std::fmt;

use super::{PLAUSIBLE_FROM_S, PLAUSIBLE_UNTIL_S};
use crate::error::RuleFault;

/// Most days of one calendar, a period counted by its days.
pub const DATES_MAX: usize = 4096;

const DAY_S: i64 = 86_400;
/// The days on which clocks of any zone may stand, from 2020 to 2199, and the day before: from this one on.
const FIRST_DAY: i32 = (PLAUSIBLE_FROM_S / DAY_S) as i32 - 2;
/// Up to, and without, this one.
const END_DAY: i32 = (PLAUSIBLE_UNTIL_S / DAY_S) as i32 + 2;

/// A day of the Gregorian calendar. Prints as `2026-12-24`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// The day so many days after 1970-01-01.
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub const fn days(self) -> i32 {
        self.0
    }

    /// `None` unless there is such a day (month 1 to 12) in the years 2020 to 2199.
    pub fn new(year: i32, month: u8, day: u8) -> Option<Self> {
        if (2020..2200).contains(&year) { Self::civil(year, month, day) } else { None }
    }

    fn civil(year: i32, month: u8, day: u8) -> Option<Self> {
        if !(1..=12).contains(&month) {
            return None;
        }
        // Days from civil, after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let (y, m) = (year - i32::from(month <= 2), i32::from(month));
        let era = y.div_euclid(400);
        let (yoe, doy) = (y - era * 400, (153 * ((m + 9) % 12) + 2) / 5 + i32::from(day) - 1);
        let found = Self(era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468);
        // A day that the month does not have comes out as one of the next month.
        (found.parts() == (year, month, day)).then_some(found)
    }

    /// Year, month (1 to 12), day (1 to 31).
    pub fn parts(self) -> (i32, u8, u8) {
        let at = godvision_core::WallTime::from_unix_seconds(i64::from(self.0) * DAY_S);
        let (year, month, day, ..) = at.utc_parts();
        (year as i32, month, day)
    }

    /// 0 is Monday, 6 is Sunday.
    pub const fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday.
        (self.0 as i64 + 3).rem_euclid(7) as u8
    }

    /// The day so many days later.
    #[must_use]
    pub const fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Reads `2026-12-24`.
    pub fn parse(text: &str) -> Option<Self> {
        let [year, month, day] = numbers(text)?;
        (text.len() == 10).then_some(())?;
        Self::new(i32::from(year), u8::try_from(month).ok()?, u8::try_from(day).ok()?)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.parts();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Exactly `N` numbers of digits joined by `-`.
fn numbers<const N: usize>(text: &str) -> Option<[u16; N]> {
    let mut parts = text.split('-');
    let mut numbers = [0; N];
    for number in &mut numbers {
        let part = parts.next().filter(|part| part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// A set of days: the holidays of a country, the days on which the works are shut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    dates: BTreeSet<Date>,
    /// Month and day of every year.
    yearly: BTreeSet<(u8, u8)>,
}

impl Calendar {
    /// From texts such as `2026-12-24`, `2026-12-24/2027-01-06` (both are in it) and `12-25` (every year; `02-29` where
    /// there is one).
    ///
    /// # Errors
    /// [`RuleFault::BadDate`]; [`RuleFault::TooMany`] beyond [`DATES_MAX`] days.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, RuleFault> {
        let mut calendar = Self::default();
        texts.into_iter().try_for_each(|text| calendar.add(text))?;
        Ok(calendar)
    }

    /// Adds what one text says.
    ///
    /// # Errors
    /// As [`Calendar::parse`]; nothing is added then.
    pub fn add(&mut self, text: &str) -> Result<(), RuleFault> {
        let bad = || RuleFault::BadDate { text: text.chars().take(64).collect() };
        if let Some([month, day]) = numbers(text).filter(|_| text.len() == 5) {
            // 2024 has every day that a year can have.
            let (month, day) = (u8::try_from(month).ok(), u8::try_from(day).ok());
            let (_, month, day) = month.zip(day).and_then(|(m, d)| Date::new(2024, m, d)).ok_or_else(bad)?.parts();
            self.yearly.insert((month, day));
            return Ok(());
        }
        let (first, last) = text.split_once('/').unwrap_or((text, text));
        let (first, last) = Date::parse(first).zip(Date::parse(last)).filter(|(a, b)| a <= b).ok_or_else(bad)?;
        let count = (last.0 - first.0) as usize + 1;
        if self.dates.len() + count > DATES_MAX {
            return Err(RuleFault::TooMany { what: "days in one calendar", limit: DATES_MAX });
        }
        self.dates.extend((first.0..=last.0).map(Date));
        Ok(())
    }

    /// Whether `date` is in it.
    pub fn has(&self, date: Date) -> bool {
        let (_, month, day) = date.parts();
        self.dates.contains(&date) || self.yearly.contains(&(month, day))
    }

    /// Whether no day is in it.
    pub fn is_empty(&self) -> bool {
        self.dates.is_empty() && self.yearly.is_empty()
    }

    /// What [`Calendar::parse`] reads back: every year's days, then dates and periods, in order.
    pub fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.yearly.iter().map(|(month, day)| format!("{month:02}-{day:02}")).collect();
        let dates: Vec<Date> = self.dates.iter().copied().collect();
        for run in dates.chunk_by(|a, b| a.plus_days(1) == *b) {
            match run {
                [first, .., last] => texts.push(format!("{first}/{last}")),
                [one] => texts.push(one.to_string()),
                [] => {}
            }
        }
        texts
    }

    pub(crate) fn to_days(&self) -> Days {
        let mut days = Days(vec![0; (END_DAY - FIRST_DAY) as usize / 64 + 1]);
        // Beyond the years of dates by those of the days before the first and after the last.
        let years = || 2019..=2200;
        let yearly =
            self.yearly.iter().flat_map(|(month, day)| years().filter_map(|year| Date::civil(year, *month, *day)));
        for date in self.dates.iter().copied().chain(yearly).filter(|date| (FIRST_DAY..END_DAY).contains(&date.0)) {
            let place = (date.0 - FIRST_DAY) as usize;
            if let Some(word) = days.0.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        days
    }
}

/// A [`Calendar`] for the engine: one bit for every day on which a decision can fall, 8 KiB.
#[derive(Clone, Debug, Default)]
pub(crate) struct Days(Vec<u64>);

impl Days {
    pub(crate) fn has(&self, date: Date) -> bool {
        let Ok(place) = usize::try_from(i64::from(date.0) - i64::from(FIRST_DAY)) else { return false };
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_read_and_written() {
        let calendar =
            Calendar::parse(["2026-12-24/2026-12-26", "2026-12-27", "12-25", "02-29", "2027-01-06", "2026-12-25"])
                .unwrap();
        assert_eq!(calendar.texts(), ["02-29", "12-25", "2026-12-24/2026-12-27", "2027-01-06"]);
        let texts = calendar.texts();
        assert_eq!(Calendar::parse(texts.iter().map(String::as_str)), Ok(calendar.clone()));
        let day = |text| Date::parse(text).unwrap();
        for (text, is_in) in [("2026-12-23", false), ("2026-12-27", true), ("2099-12-25", true), ("2028-02-29", true)] {
            assert_eq!(calendar.has(day(text)), is_in, "{text}");
        }
        for bad in [
            "",
            "soon",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "13-01",
            "02-30",
            "1-1",
            "2026-12-26/2026-12-24",
            "2019-12-31",
            "2200-01-01",
            "2026-12-24/",
            "+026-12-24",
            "2026-12-24T00:00",
            "02026-12-24",
        ] {
            assert!(matches!(Calendar::parse([bad]), Err(RuleFault::BadDate { .. })), "{bad:?}");
        }
        assert!(matches!(Calendar::parse(["2026-01-01/2040-01-01"]), Err(RuleFault::TooMany { limit: DATES_MAX, .. })));
    }

    #[test]
    fn days_of_the_week_are_the_calendars() {
        assert_eq!(Date::parse("2026-11-16").map(Date::weekday), Some(0));
        assert_eq!(Date::parse("2026-11-22").map(Date::weekday), Some(6));
        assert_eq!(Date::from_days(-1).weekday(), 2);
    }

    #[test]
    fn the_bits_of_all_days_are_the_calendars() {
        let calendar = Calendar::parse(["2026-12-24/2027-01-06", "03-01", "02-29", "12-31", "2199-12-31"]).unwrap();
        let days = calendar.to_days();
        for date in (FIRST_DAY..END_DAY).map(Date) {
            assert_eq!(days.has(date), calendar.has(date), "{date}");
        }
        assert!(!days.has(Date(FIRST_DAY - 1)) && !days.has(Date(END_DAY)) && !days.has(Date(i32::MAX)));
    }

    proptest! {
        #[test]
        fn a_date_prints_what_the_calendar_library_prints(days in FIRST_DAY + 2..END_DAY - 2) {
            let date = Date::from_days(days);
            let civil = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
            prop_assert_eq!(date.to_string(), civil.to_string());
            prop_assert_eq!(Date::parse(&date.to_string()), Some(date));
            let calendar = Calendar::parse([date.to_string().as_str(), "03-01"]).unwrap();
            prop_assert!(calendar.has(date));
        }
    }
}
