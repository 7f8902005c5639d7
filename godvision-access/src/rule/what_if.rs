//! What the rules would say: who may, when next, and the week as intervals.
//!
//! Answers change only where a rule's period begins or ends, an interval of a schedule does, or a zone sets its clocks. So
//! these moments are listed, the engine is asked at each, and nothing in between is missed.
//!
//! **Never:** a second idea of what a rule means: every answer here is one of [`CompiledRules::decide`].

use godvision_core::signal::door::Verdict;
use godvision_core::{Name, WallTime};

use super::compile::{ALWAYS, CompiledRules};
use super::{Answer, Kinds, Question};
use crate::schedule::{MINUTES_A_DAY, is_plausible};

const SECOND_MICROS: i64 = 1_000_000;
const DAY_S: i64 = 86_400;
/// Moments are listed for so many days at once.
const STEP_DAYS: i64 = 7;
/// Farther than this nobody looks ahead: two years.
pub const HORIZON_DAYS_MAX: i64 = 731;

/// A time in which the door opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening<'a> {
    /// From this moment on.
    pub from: WallTime,
    /// Up to, and without, this one.
    pub until: WallTime,
    /// By this rule.
    pub rule: &'a Name,
}

impl CompiledRules {
    /// What each of `persons` would be told at `door` with `presented` at `at`, in their order. Allocates the list alone.
    pub fn who_may<'p>(
        &self,
        persons: impl IntoIterator<Item = &'p Name>,
        door: &Name,
        presented: Kinds,
        at: WallTime,
    ) -> Vec<(&'p Name, Answer<'_>)> {
        let ask = |person| (person, self.decide(&Question { person: Some(person), door, presented, at }));
        persons.into_iter().map(ask).collect()
    }

    /// The first moment after that of the question at which its answer is another one, and that answer; `None` if it stays
    /// the same until `until` (at most [`HORIZON_DAYS_MAX`] days ahead). A fraction of a millisecond for each month.
    pub fn next_change(&self, question: &Question<'_>, until: WallTime) -> Option<(WallTime, Answer<'_>)> {
        let now = self.decide(question);
        self.first(question, until, |answer| *answer != now)
    }

    /// The first moment, from that of the question on, at which it is answered yes, if there is one until `until` (at most
    /// [`HORIZON_DAYS_MAX`] days ahead).
    pub fn opens_at(&self, question: &Question<'_>, until: WallTime) -> Option<WallTime> {
        if self.decide(question).verdict == Verdict::Admit {
            return Some(question.at);
        }
        self.first(question, until, |answer| answer.verdict == Verdict::Admit).map(|(at, _)| at)
    }

    /// When this person may open this door with these: every opening of the local week (Monday to Sunday by the clocks of
    /// the document's zone) that holds the question's moment. Empty if no clock shows it.
    pub fn week_of(&self, question: &Question<'_>) -> Vec<Opening<'_>> {
        let Some(zone) = self.zones.first() else { return Vec::new() };
        let Some(local) = zone.local(question.at).filter(|_| is_plausible(question.at)) else { return Vec::new() };
        let monday = local.date.plus_days(-i32::from(local.date.weekday()));
        // The first moment that shows the day: midnight, or where clocks skip it, the moment of the skip.
        let begins = |days: i32| {
            let date = monday.plus_days(days);
            let midnight_s = i64::from(date.days()) * DAY_S;
            let changes = zone.changes(midnight_s - DAY_S, midnight_s + DAY_S);
            let moments = zone.instants(midnight_s).chain(changes).map(WallTime::from_unix_seconds);
            moments.filter(|at| zone.local(*at).is_some_and(|local| local.date == date)).min()
        };
        let (Some(from), Some(until)) = (begins(0), begins(7)) else { return Vec::new() };
        let mut openings: Vec<Opening<'_>> = Vec::new();
        let mut moments = self.moments(question, from, until);
        moments.push(from);
        moments.sort_unstable();
        moments.dedup();
        for (index, at) in moments.iter().enumerate() {
            let answer = self.decide(&Question { at: *at, ..*question });
            let (Verdict::Admit, Some(rule)) = (answer.verdict, answer.rule) else { continue };
            let until = moments.get(index + 1).copied().unwrap_or(until);
            match openings.last_mut() {
                Some(last) if last.until == *at && last.rule == rule => last.until = until,
                _ => openings.push(Opening { from: *at, until, rule }),
            }
        }
        openings
    }

    fn first(
        &self,
        question: &Question<'_>,
        until: WallTime,
        is_it: impl Fn(&Answer<'_>) -> bool,
    ) -> Option<(WallTime, Answer<'_>)> {
        let step = STEP_DAYS * DAY_S * SECOND_MICROS;
        let until = until.min(question.at.plus_micros(HORIZON_DAYS_MAX * DAY_S * SECOND_MICROS));
        let mut from = question.at;
        while from < until {
            let to = until.min(from.plus_micros(step));
            let mut moments = self.moments(question, from, to);
            moments.sort_unstable();
            moments.dedup();
            for at in moments.into_iter().filter(|at| *at > question.at) {
                let answer = self.decide(&Question { at, ..*question });
                if is_it(&answer) {
                    return Some((at, answer));
                }
            }
            from = to;
        }
        None
    }

    /// Every moment from `from` up to `until` at which an answer about this person and door may change.
    fn moments(&self, question: &Question<'_>, from: WallTime, until: WallTime) -> Vec<WallTime> {
        let mut whens = Vec::new();
        self.each_entry(question, |entry| {
            whens.push(entry.when);
            true
        });
        whens.sort_unstable();
        whens.dedup();
        let whens = || whens.iter().filter_map(|when| self.whens.get(*when as usize));
        let mut schedules: Vec<u32> = whens().map(|when| when.schedule).filter(|it| *it != ALWAYS).collect();
        schedules.sort_unstable();
        schedules.dedup();
        let ends = whens().flat_map(|when| [when.from_micros, when.until_micros]).map(WallTime::from_unix_micros);
        let mut moments: Vec<WallTime> = ends.collect();
        let (from_s, until_s) = (from.as_unix_seconds(), until.as_unix_seconds().saturating_add(1));
        // The ends of what a clock that can have been set shows.
        moments.extend(
            [crate::schedule::PLAUSIBLE_FROM_S, crate::schedule::PLAUSIBLE_UNTIL_S].map(WallTime::from_unix_seconds),
        );
        for times in schedules.iter().filter_map(|schedule| self.schedules.get(*schedule as usize)) {
            let Some(zone) = self.zones.get(times.zone as usize) else { continue };
            let mut minutes: Vec<u16> = vec![0];
            for (start, length) in times.all_hours().flat_map(|hours| hours.spans()) {
                minutes.extend([*start, (start + length) % MINUTES_A_DAY]);
            }
            minutes.sort_unstable();
            minutes.dedup();
            // Local days reach a day beyond those of UTC on either side.
            for day in from_s.div_euclid(DAY_S) - 1..=until_s.div_euclid(DAY_S) + 1 {
                for minute in &minutes {
                    moments
                        .extend(zone.instants(day * DAY_S + i64::from(*minute) * 60).map(WallTime::from_unix_seconds));
                }
            }
            moments.extend(zone.changes(from_s, until_s).map(WallTime::from_unix_seconds));
        }
        moments.retain(|at| (from..until).contains(at));
        moments
    }
}
