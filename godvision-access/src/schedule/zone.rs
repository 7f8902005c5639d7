//! Time zones: what clocks show at an instant, and which instant a local time names.
//!
//! Zones come from the IANA database that is built in, so every machine decides alike. [`Offsets`] is one zone's changes
//! over the years in which decisions fall, worked out once: a look-up is a binary search over some hundred numbers.

use std::fmt;

use godvision_core::WallTime;
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::calendar::Date;
use super::{MINUTES_A_DAY, MinuteOfWeek, PLAUSIBLE_FROM_S, PLAUSIBLE_UNTIL_S};
use crate::error::RuleFault;

/// A time zone by its IANA name.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// What clocks and calendars show: a day, and a minute of it (0 to 1 439). Seconds are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    /// The day.
    pub date: Date,
    /// Minutes since its midnight, by the clock.
    pub minute: u16,
}

impl Local {
    fn from_local_seconds(seconds: i64) -> Option<Self> {
        let minutes = seconds.div_euclid(60);
        let date = Date::from_days(i32::try_from(minutes.div_euclid(i64::from(MINUTES_A_DAY))).ok()?);
        Some(Self { date, minute: minutes.rem_euclid(i64::from(MINUTES_A_DAY)) as u16 })
    }

    /// The same minute of the week.
    pub fn minute_of_week(self) -> MinuteOfWeek {
        MinuteOfWeek(u16::from(self.date.weekday()) * MINUTES_A_DAY + self.minute)
    }
}

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

    /// What clocks in this zone show at `at`; `None` where the calendar ends (year 9999). About 30 ns, no allocation.
    pub fn local(&self, at: WallTime) -> Option<Local> {
        let seconds = at.as_unix_seconds();
        let offset = self.0.to_offset(Timestamp::from_second(seconds).ok()?).seconds();
        Local::from_local_seconds(seconds.checked_add(i64::from(offset))?)
    }

    /// The minute of the week that clocks in this zone show at `at`.
    pub fn minute_of_week(&self, at: WallTime) -> Option<MinuteOfWeek> {
        self.local(at).map(Local::minute_of_week)
    }

    /// The instant that `text` names: RFC 3339 with an offset, or a local date (its midnight) or date and time in this
    /// zone. A text that names another zone (`[America/New_York]`) is refused, not read in this one.
    ///
    /// # Errors
    /// [`RuleFault::NotAMoment`]; [`RuleFault::AmbiguousTime`] for a local time that clocks skip or show twice.
    pub fn instant(&self, text: &str) -> Result<WallTime, RuleFault> {
        let not_a_moment = || RuleFault::NotAMoment { text: text.chars().take(64).collect() };
        // jiff takes an annotation, and passes over it wherever there is an offset or a local time is asked for.
        if text.contains('[') {
            return Err(not_a_moment());
        }
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Ok(WallTime::from_unix_micros(instant.as_microsecond()));
        }
        if !is_local(text) {
            return Err(not_a_moment());
        }
        let local: jiff::civil::DateTime = text.parse().map_err(|_| not_a_moment())?;
        let instant = self.0.to_ambiguous_timestamp(local).unambiguous();
        let instant = instant.map_err(|_| RuleFault::AmbiguousTime { text: text.chars().take(64).collect() })?;
        Ok(WallTime::from_unix_micros(instant.as_microsecond()))
    }

    /// The changes of this zone's clocks from 2020 to 2199.
    pub(crate) fn offsets(&self) -> Offsets {
        let begin = Timestamp::from_second(PLAUSIBLE_FROM_S).unwrap_or(Timestamp::UNIX_EPOCH);
        let first = (PLAUSIBLE_FROM_S, self.0.to_offset(begin).seconds());
        let changes = self.0.following(begin).map(|change| (change.timestamp().as_second(), change.offset().seconds()));
        Offsets(std::iter::once(first).chain(changes.take_while(|(from_s, _)| *from_s < PLAUSIBLE_UNTIL_S)).collect())
    }
}

/// Whether `text` can only be a local date or date and time: with an offset that is none, jiff would read it as if there
/// were no offset.
fn is_local(text: &str) -> bool {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, ""));
    let date = date.strip_prefix(['+', '-']).unwrap_or(date);
    let holds = |text: &str, more: &[u8]| text.bytes().all(|it| it.is_ascii_digit() || more.contains(&it));
    holds(date, b"-") && matches!(date.matches('-').count(), 0 | 2) && holds(time, b":.,")
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

/// From which Unix second on clocks are how many seconds ahead of UTC, from 2020 to 2199: at most a few changes a year.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offsets(Vec<(i64, i32)>);

impl Offsets {
    /// What clocks show at `at`; `None` outside 2020 to 2199. About 5 ns.
    pub(crate) fn local(&self, at: WallTime) -> Option<Local> {
        let seconds = at.as_unix_seconds();
        let after = self.0.partition_point(|(from, _)| *from <= seconds);
        let (_, offset) = self.0.get(after.checked_sub(1)?)?;
        Local::from_local_seconds(seconds + i64::from(*offset))
    }

    /// The moments from `from_s` up to `until_s` at which clocks change.
    pub(crate) fn changes(&self, from_s: i64, until_s: i64) -> impl Iterator<Item = i64> {
        let first = self.0.partition_point(|(at, _)| *at < from_s);
        self.0.get(first..).unwrap_or(&[]).iter().map(|(at, _)| *at).take_while(move |at| *at < until_s)
    }

    /// Every instant that may show the local second `local_s` (counted as if it were UTC): one, or two where clocks go
    /// back. Where they skip it, the instants at which they would have shown it by the offset before and after.
    pub(crate) fn instants(&self, local_s: i64) -> impl Iterator<Item = i64> {
        const DAY_S: i64 = 86_400;
        let first = self.0.partition_point(|(at, _)| *at <= local_s - DAY_S).saturating_sub(1);
        let near = self.0.get(first..).unwrap_or(&[]).iter().take_while(move |(at, _)| *at <= local_s + DAY_S);
        near.map(move |(_, offset)| local_s - i64::from(*offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::at;
    use proptest::prelude::*;

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
        // What names another zone, or an offset that is none, is not read by the clocks of this one.
        for text in [
            "2026-11-21T18:00:00[America/New_York]",
            "2026-11-21T18:00:00+01:00[America/New_York]",
            "2026-11-21T18:00:00Z[Europe/Berlin]",
            "2026-11-21T18:00:00[!u-ca=hebrew]",
            "2026-11-21[America/New_York]",
            "2026-11-21T18+01[Europe/Berlin]",
            "2026-11-21T18:00:00+26:00",
            "2026-11-21T18:00:00-26:00",
            "2026-11-21T18:00:00 -05:00",
            "2026-11-21-05:00",
            "20261121-0500",
            "2026-11-21Z",
            "2026-11-21T18:00:00 EST",
        ] {
            assert!(
                matches!(zone.instant(text), Err(RuleFault::NotAMoment { .. })),
                "{text}: {:?}",
                zone.instant(text)
            );
        }
        assert_eq!(zone.instant("2026-11-21 18:00:00.5"), Ok(at("2026-11-21T17:00:00.5Z")));
        assert_eq!(zone.instant("+002026-11-21"), zone.instant("2026-11-21"));
        assert!(matches!(Zone::named("Europe/Atlantis"), Err(RuleFault::UnknownZone { .. })));
    }

    const ZONES: [&str; 8] = [
        "UTC",
        "Europe/Berlin",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
        "America/Sao_Paulo",
    ];

    #[test]
    fn the_table_knows_every_change_to_the_second() {
        for zone in ZONES.map(|name| Zone::named(name).unwrap()) {
            let offsets = zone.offsets();
            for (change, _) in &offsets.0 {
                for second in [change - 1, *change, change + 1] {
                    let at = WallTime::from_unix_seconds(second);
                    let expected = zone.local(at).filter(|_| second >= PLAUSIBLE_FROM_S);
                    assert_eq!(offsets.local(at), expected, "{zone} at {at}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn clocks_show_what_the_calendar_library_says(
            seconds in PLAUSIBLE_FROM_S..PLAUSIBLE_UNTIL_S, zone in proptest::sample::select(&ZONES[..]),
        ) {
            let zone = Zone::named(zone).unwrap();
            let shown = Timestamp::from_second(seconds).unwrap().to_zoned(zone.0.clone());
            let (day, minute) = (shown.weekday().to_monday_zero_offset() as u16, shown.hour() as u16 * 60 + shown.minute() as u16);
            let at = WallTime::from_unix_seconds(seconds);
            let local = zone.local(at).unwrap();
            prop_assert_eq!(local.date.to_string(), shown.date().to_string());
            prop_assert_eq!(local.minute, minute);
            prop_assert_eq!(Some(local.minute_of_week()), MinuteOfWeek::new(day * MINUTES_A_DAY + minute));
            prop_assert_eq!(zone.offsets().local(at), Some(local));
            let local_s = i64::from(local.date.days()) * 86_400 + i64::from(minute) * 60;
            prop_assert!(zone.offsets().instants(local_s).any(|instant| instant == seconds - seconds.rem_euclid(60)));
        }
    }
}
