//! The decision itself. No allocation, no lock, no clock; its time does not depend on the number of rules but on the
//! groups of the person and the door.

use std::iter::once;

use godvision_core::WallTime;
use godvision_core::signal::door::Reason;

use super::compile::{ALWAYS, Bucket, CompiledRules, Conditions, EVERY, pair};
use super::{Answer, Question};
use crate::schedule::{MinuteOfWeek, is_plausible};

/// Zones whose minute of week is worked out once a question; schedules of further zones work theirs out each time.
const ZONES_KEPT: usize = 4;

/// The minute of the week in each zone, worked out when first asked for.
struct Minutes<'a> {
    rules: &'a CompiledRules,
    at: WallTime,
    kept: [Option<Option<MinuteOfWeek>>; ZONES_KEPT],
}

impl Minutes<'_> {
    fn covers(&mut self, schedule: u32) -> bool {
        if schedule == ALWAYS {
            return true;
        }
        let Some((zone, weekly)) = self.rules.schedules.get(schedule as usize) else { return false };
        let (rules, at) = (self.rules, self.at);
        let work_out = || rules.zones.get(*zone as usize).and_then(|zone| zone.minute_of_week(at));
        let minute = match self.kept.get_mut(*zone as usize) {
            Some(kept) => *kept.get_or_insert_with(work_out),
            None => work_out(),
        };
        minute.is_some_and(|minute| weekly.covers(minute))
    }

    fn are_right_for(&mut self, conditions: &Conditions) -> bool {
        (conditions.from_micros..conditions.until_micros).contains(&self.at.as_unix_micros())
            && self.covers(conditions.schedule)
    }
}

impl CompiledRules {
    /// The answer to `question`. No allocation.
    pub fn decide(&self, question: &Question<'_>) -> Answer<'_> {
        if !is_plausible(question.at) {
            return Answer::refused(Reason::UnknownTime, None);
        }
        let person = question.person.and_then(|name| self.persons.get(name));
        let door = self.doors.get(question.door);
        let mut minutes = Minutes { rules: self, at: question.at, kept: [None; ZONES_KEPT] };
        let (mut forbid, mut permit, mut but_for_kind) = (None, None, false);
        for door in keys(door.map(|keys| keys.own), self.groups_at(door)) {
            for subject in keys(person.map(|keys| keys.own), self.groups_at(person)) {
                let Some(bucket) = self.index.get(&pair(door, subject)) else { continue };
                let Bucket { start, forbids_end, end } = *bucket;
                for (rule, conditions) in self.members(start, forbids_end) {
                    if forbid.is_some_and(|best| best <= rule) {
                        break;
                    }
                    if conditions.by.has(question.kind) && minutes.are_right_for(conditions) {
                        forbid = Some(rule);
                    }
                }
                if forbid.is_some() {
                    continue;
                }
                for (rule, conditions) in self.members(forbids_end, end) {
                    if permit.is_some_and(|best| best <= rule) {
                        break;
                    }
                    if minutes.are_right_for(conditions) {
                        if conditions.by.has(question.kind) {
                            permit = Some(rule);
                        } else {
                            but_for_kind = true;
                        }
                    }
                }
            }
        }
        let named = |rule: u32| self.names.get(rule as usize);
        match (forbid, permit.and_then(named)) {
            (Some(rule), _) => Answer::refused(Reason::Forbidden, named(rule)),
            (None, Some(rule)) => Answer::permitted(rule),
            (None, None) if but_for_kind => Answer::refused(Reason::NotEnough, None),
            (None, None) => Answer::refused(Reason::NoRule, None),
        }
    }

    fn members(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, &Conditions)> {
        let members = self.members.get(from as usize..to as usize).unwrap_or(&[]);
        members.iter().filter_map(|rule| Some((*rule, self.rules.get(*rule as usize)?)))
    }
}

fn keys(own: Option<u32>, groups: &[u32]) -> impl Iterator<Item = u32> {
    once(EVERY).chain(own).chain(groups.iter().copied())
}
