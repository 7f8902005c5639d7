//! Hours of a day and of a week, and their text: `Mon-Fri 08:00-18:00`, `22:00-06:00`.
//!
//! An interval belongs to the day on which it begins, also where it reaches past midnight: that decides what a holiday
//! replaces.

use super::{INTERVALS_MAX, MINUTES_A_DAY, MINUTES_A_WEEK, MinuteOfWeek};
use crate::error::RuleFault;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Hours that begin on one day: `08:00-12:00,13:00-17:00`, or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hours {
    /// Start in minutes of the day, and length up to a day; sorted, each once.
    spans: Vec<(u16, u16)>,
}

impl Hours {
    /// Reads intervals joined by commas, or `none`. An interval that ends at or before its start reaches into the next
    /// day; a whole day is `00:00-24:00`.
    ///
    /// # Errors
    /// [`RuleFault::BadInterval`]; [`RuleFault::TooMany`] beyond [`INTERVALS_MAX`].
    pub fn parse(text: &str) -> Result<Self, RuleFault> {
        let bad = |reason| RuleFault::BadInterval { text: text.chars().take(64).collect(), reason };
        if text == "none" {
            return Ok(Self::default());
        }
        if text.split(',').count() > INTERVALS_MAX {
            return Err(RuleFault::TooMany { what: "intervals", limit: INTERVALS_MAX });
        }
        let mut spans = text.split(',').map(parse_hours).collect::<Result<Vec<_>, _>>().map_err(bad)?;
        spans.sort_unstable();
        spans.dedup();
        Ok(Self { spans })
    }

    /// From starts in minutes of the day (0 to 1 439) and lengths in minutes (1 to 1 439, from midnight 1 440); others are
    /// left out.
    pub fn from_minutes(spans: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let is_good = |(start, length): &(u16, u16)| {
            *start < MINUTES_A_DAY && (1..MINUTES_A_DAY + u16::from(*start == 0)).contains(length)
        };
        let mut spans: Vec<_> = spans.into_iter().filter(is_good).collect();
        spans.sort_unstable();
        spans.dedup();
        Self { spans }
    }

    /// Start in minutes of the day, and length in minutes.
    pub fn spans(&self) -> &[(u16, u16)] {
        &self.spans
    }

    /// Whether the minute so many minutes after the midnight with which the day began is inside: from 1 440 on it is one
    /// of the next day.
    pub fn cover(&self, minute: u16) -> bool {
        self.spans.iter().any(|(start, length)| (*start..start + length).contains(&minute))
    }
}

/// What [`Hours::parse`] reads.
impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.spans.is_empty() {
            return f.write_str("none");
        }
        self.spans.iter().enumerate().try_for_each(|(index, span)| {
            f.write_str(if index == 0 { "" } else { "," })?;
            f.write_str(&hours_text(*span))
        })
    }
}

/// Intervals of every week.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Weekly {
    /// What begins on each day from Monday on.
    days: [Hours; 7],
}

impl Weekly {
    /// Parses intervals such as `Mon-Fri 08:00-18:00`, `Sat,Sun 10:00-14:00`, `daily 22:00-06:00`. An interval that ends
    /// at or before its start reaches into the next day; the days are those on which it begins. A whole day is
    /// `00:00-24:00`.
    ///
    /// # Errors
    /// [`RuleFault::BadInterval`]; [`RuleFault::TooMany`] beyond [`INTERVALS_MAX`].
    pub fn parse<'a>(intervals: impl IntoIterator<Item = &'a str>) -> Result<Self, RuleFault> {
        let mut days = <[Vec<(u16, u16)>; 7]>::default();
        for (index, text) in intervals.into_iter().enumerate() {
            if index == INTERVALS_MAX {
                return Err(RuleFault::TooMany { what: "intervals", limit: INTERVALS_MAX });
            }
            let bad = |reason| RuleFault::BadInterval { text: text.chars().take(64).collect(), reason };
            let (names, hours) = text.split_once(' ').ok_or(bad("write days, a space, and hours"))?;
            let names = parse_days(names).ok_or(bad("days are Mon-Fri, Sat,Sun or daily"))?;
            let span = parse_hours(hours.trim()).map_err(bad)?;
            for (_, day) in days.iter_mut().enumerate().filter(|(day, _)| names & (1 << day) != 0) {
                day.push(span);
            }
        }
        Ok(Self { days: days.map(Hours::from_minutes) })
    }

    /// Every minute of the week.
    pub fn always() -> Self {
        Self { days: std::array::from_fn(|_| Hours { spans: vec![(0, MINUTES_A_DAY)] }) }
    }

    /// From starts and lengths in minutes; what reaches beyond the week's end goes on at its start. What is as long as a
    /// day, or longer, is cut at midnights, so that its parts belong to their own days; a week or more covers it whole.
    pub fn from_minutes(intervals: impl IntoIterator<Item = (MinuteOfWeek, u16)>) -> Self {
        let mut days = <[Vec<(u16, u16)>; 7]>::default();
        for (start, length) in intervals {
            let (mut start, mut left) = (start.0, length.min(MINUTES_A_WEEK));
            while left > 0 {
                let (day, minute) = (start / MINUTES_A_DAY, start % MINUTES_A_DAY);
                let is_one = left < MINUTES_A_DAY || (left, minute) == (MINUTES_A_DAY, 0);
                let piece = if is_one { left } else { MINUTES_A_DAY - minute };
                days.iter_mut().skip(day.into()).take(1).for_each(|spans| spans.push((minute, piece)));
                start = (start + piece) % MINUTES_A_WEEK;
                left -= piece;
            }
        }
        Self { days: days.map(Hours::from_minutes) }
    }

    /// What begins on a weekday, 0 for Monday.
    pub fn on(&self, weekday: u8) -> &Hours {
        let [first, ..] = &self.days;
        self.days.get(usize::from(weekday)).unwrap_or(first)
    }

    /// Whether `minute` is inside. No allocation.
    pub fn covers(&self, MinuteOfWeek(minute): MinuteOfWeek) -> bool {
        let (day, minute) = ((minute / MINUTES_A_DAY) as u8, minute % MINUTES_A_DAY);
        self.on(day).cover(minute) || self.on((day + 6) % 7).cover(minute + MINUTES_A_DAY)
    }

    /// What [`Weekly::parse`] reads back: equal hours of several days in one text, in the order of the week.
    pub fn texts(&self) -> Vec<String> {
        let mut by_span: Vec<((u16, u16), u8)> = Vec::new();
        for (day, hours) in self.days.iter().enumerate() {
            for span in &hours.spans {
                match by_span.iter_mut().find(|(known, _)| known == span) {
                    Some((_, days)) => *days |= 1 << day,
                    None => by_span.push((*span, 1 << day)),
                }
            }
        }
        by_span.into_iter().map(|(span, days)| format!("{} {}", days_text(days), hours_text(span))).collect()
    }
}

/// Bits 0 (Monday) to 6.
fn parse_days(text: &str) -> Option<u8> {
    if text == "daily" {
        return Some(0x7f);
    }
    let day = |name: &str| DAYS.iter().position(|it| *it == name);
    text.split(',').try_fold(0, |days, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + 7 - first) % 7;
        Some((0..=count).fold(days, |days, step| days | (1 << ((first + step) % 7))))
    })
}

/// `Mon-Fri`, `Sat,Sun`, `Mon,Wed-Fri`, `daily`.
fn days_text(days: u8) -> String {
    if days == 0x7f {
        return "daily".to_owned();
    }
    let chosen: Vec<usize> = (0..7).filter(|day| days & (1 << day) != 0).collect();
    let name = |day: &usize| DAYS.get(*day).copied().unwrap_or_default();
    let run = |run: &[usize]| match run {
        [first, _, .., last] => format!("{}-{}", name(first), name(last)),
        few => few.iter().map(name).collect::<Vec<_>>().join(","),
    };
    chosen.chunk_by(|a, b| a + 1 == *b).map(run).collect::<Vec<_>>().join(",")
}

fn hours_text((start, length): (u16, u16)) -> String {
    let end = start + length;
    // 24:00 ends the day on which it began; later ends are shown by the next day's clock.
    let end = if end <= MINUTES_A_DAY { end } else { end - MINUTES_A_DAY };
    format!("{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_may_wrap_around_the_week() {
        let weekly = Weekly::parse(["Fri-Mon 10:00-11:00"]).unwrap();
        let inside: Vec<u16> =
            (0..7).filter(|day| weekly.covers(MinuteOfWeek::new(day * MINUTES_A_DAY + 600).unwrap())).collect();
        assert_eq!(inside, [0, 4, 5, 6]);
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
        for text in ["", "08:00", "08:00-09:00,", "None", "none,08:00-09:00"] {
            assert!(matches!(Hours::parse(text), Err(RuleFault::BadInterval { .. })), "{text:?}");
        }
        assert!(Weekly::parse(std::iter::repeat_n("Mon 08:00-09:00", INTERVALS_MAX)).is_ok());
        let many = Weekly::parse(std::iter::repeat_n("Mon 08:00-09:00", INTERVALS_MAX + 1));
        assert!(matches!(many, Err(RuleFault::TooMany { limit: INTERVALS_MAX, .. })));
        let many = vec!["08:00-09:00"; INTERVALS_MAX + 1].join(",");
        assert!(matches!(Hours::parse(&many), Err(RuleFault::TooMany { limit: INTERVALS_MAX, .. })));
    }

    #[test]
    fn texts_come_in_one_form() {
        let weekly =
            Weekly::parse(["Tue 08:00-18:00", "Sat,Sun 10:00-14:00", "Mon,Wed-Fri 08:00-18:00", "daily 22:00-06:00"])
                .unwrap();
        assert_eq!(weekly.texts(), ["Mon-Fri 08:00-18:00", "daily 22:00-06:00", "Sat,Sun 10:00-14:00"]);
        assert_eq!(Weekly::always().texts(), ["daily 00:00-24:00"]);
        assert_eq!(Hours::parse("13:00-17:00,08:00-12:00,08:00-12:00").unwrap().to_string(), "08:00-12:00,13:00-17:00");
    }

    proptest! {
        #[test]
        fn minutes_are_kept(spans in proptest::collection::vec((0u16..MINUTES_A_WEEK, 0u16..12_000), 0..12)) {
            let weekly = Weekly::from_minutes(spans.iter().map(|(start, length)| (MinuteOfWeek(*start), *length)));
            let texts = weekly.texts();
            if texts.len() <= INTERVALS_MAX {
                prop_assert_eq!(Weekly::parse(texts.iter().map(String::as_str)), Ok(weekly.clone()));
            }
            for minute in (0..MINUTES_A_WEEK).step_by(7) {
                let expected = spans.iter().any(|(start, length)| {
                    let since = (u32::from(minute) + u32::from(MINUTES_A_WEEK) - u32::from(*start)) % u32::from(MINUTES_A_WEEK);
                    since < u32::from(*length)
                });
                prop_assert_eq!(weekly.covers(MinuteOfWeek(minute)), expected);
            }
        }
    }
}
