//! Weekly hours, holidays, midnight and daylight saving together, against a calendar that writes down every minute.
//!
//! The naive calendar knows days and minutes as people do: for each day it takes the hours that begin on it and marks the
//! minutes, also those after midnight. Which day and minute an instant is, the calendar library says alone.

use std::collections::{BTreeSet, HashSet};

use godvision_access::RuleSet;
use godvision_access::schedule::{Calendar, Hours, Schedule, Weekly, Zone};
use godvision_core::{Name, WallTime};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Clocks of these change at 01:00, 02:00, 03:00, by half an hour, at midnight, and not at all.
const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Havana",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Asia/Kathmandu",
];
/// Days around which clocks change somewhere, and a turn of the year.
const CENTRES: [(i16, i8, i8); 9] = [
    (2026, 3, 8),
    (2026, 3, 29),
    (2026, 4, 24),
    (2026, 10, 25),
    (2026, 10, 30),
    (2026, 11, 1),
    (2026, 4, 5),
    (2026, 10, 4),
    (2027, 1, 1),
];

type Spans = Vec<(u16, u16)>;

/// What begins on each weekday from Monday on; for each calendar its days and what begins on them.
#[derive(Clone, Debug)]
struct Plan {
    weekdays: [Spans; 7],
    calendars: Vec<(BTreeSet<Date>, Spans)>,
}

impl Plan {
    /// Every minute inside, of the days from `first` to `last`.
    fn minutes(&self, first: Date, last: Date) -> HashSet<(Date, u16)> {
        let mut minutes = HashSet::new();
        let mut day = first.yesterday().unwrap();
        while day <= last {
            let holiday = self.calendars.iter().find(|(days, _)| days.contains(&day)).map(|(_, spans)| spans);
            let spans = holiday.unwrap_or(&self.weekdays[day.weekday().to_monday_zero_offset() as usize]);
            for (start, length) in spans {
                for minute in *start..start + length {
                    let on = if minute < 1440 { day } else { day.tomorrow().unwrap() };
                    minutes.insert((on, minute % 1440));
                }
            }
            day = day.tomorrow().unwrap();
        }
        minutes
    }

    fn schedule(&self, zone: &str) -> (Schedule, std::collections::BTreeMap<Name, Calendar>) {
        const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let hours = |(start, length): &(u16, u16)| {
            let end = start + length;
            let end = if end <= 1440 { end } else { end - 1440 };
            format!("{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)
        };
        let weekly: Vec<String> = (self.weekdays.iter().enumerate())
            .flat_map(|(day, spans)| spans.iter().map(move |span| format!("{} {}", DAYS[day], hours(span))))
            .collect();
        let weekly = Weekly::parse(weekly.iter().map(String::as_str)).unwrap();
        let mut schedule = Schedule::weekly(Zone::named(zone).unwrap(), weekly);
        let mut calendars = std::collections::BTreeMap::new();
        for (number, (days, spans)) in self.calendars.iter().enumerate() {
            let name: Name = format!("calendar{number}").parse().unwrap();
            let texts: Vec<String> = days.iter().map(ToString::to_string).collect();
            calendars.insert(name.clone(), Calendar::parse(texts.iter().map(String::as_str)).unwrap());
            let text = spans.iter().map(hours).collect::<Vec<_>>().join(",");
            schedule.holidays.push((name, Hours::parse(if text.is_empty() { "none" } else { &text }).unwrap()));
        }
        (schedule, calendars)
    }
}

/// Intervals that begin at odd and even minutes, many near midnight and at the hours at which clocks change.
fn spans() -> impl Strategy<Value = Spans> {
    let start = prop_oneof![0u16..1440, select(vec![0, 1, 30, 60, 119, 120, 150, 179, 180, 1380, 1439])];
    proptest::collection::vec((start, prop_oneof![1u16..1440, 1u16..90]), 0..3)
}

fn plans() -> impl Strategy<Value = (Plan, Date)> {
    select(&CENTRES[..]).prop_flat_map(|(year, month, day)| {
        let centre = date(year, month, day);
        let near: Vec<Date> = (-4..=4).map(|days| centre.checked_add(days.days()).unwrap()).collect();
        let days = subsequence(near, 0..=4).prop_map(|days| days.into_iter().collect());
        let weekdays = proptest::collection::vec(spans(), 7).prop_map(|all| <[Spans; 7]>::try_from(all).unwrap());
        let calendars = proptest::collection::vec((days, spans()), 0..3);
        (weekdays, calendars).prop_map(move |(weekdays, calendars)| (Plan { weekdays, calendars }, centre))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn at_every_minute((plan, centre) in plans(), zone in select(&ZONES[..])) {
        let (schedule, calendars) = plan.schedule(zone);
        let set = RuleSet {
            holidays: calendars.clone(),
            schedules: [("plan".to_owned(), schedule.clone())].into(),
            ..RuleSet::default()
        };
        let rules = set.compile().unwrap();
        let (first, last) = (centre.checked_sub(6.days()).unwrap(), centre.checked_add(6.days()).unwrap());
        let inside = plan.minutes(first, last);
        let clock = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
        let middle = centre.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
        for minute in -5 * 1440..=5 * 1440i64 {
            // Any second of the minute.
            let second = middle + minute * 60 + minute.rem_euclid(60);
            let shown = Timestamp::from_second(second).unwrap().to_zoned(clock.clone());
            let expected = inside.contains(&(shown.date(), shown.hour() as u16 * 60 + shown.minute() as u16));
            let at = WallTime::from_unix_seconds(second);
            prop_assert_eq!(schedule.covers(at, &calendars), Some(expected), "{}", shown);
            prop_assert_eq!(rules.is_during("plan", at), Some(expected), "{}", shown);
        }
    }
}
