//! What must hold of any rule set, whether a document or a program made it: limits, and that what is named is there.
//!
//! **Never:** a place in a document: [`super::text`] knows those, and asks here about each part as it reads it.

use std::collections::{BTreeMap, BTreeSet};

use godvision_core::Name;

use super::{
    CALENDARS_MAX, DoorSet, Effect, PRIORITY_MAX, RULE_PARTS_MAX, Rule, RuleSet, SCHEDULES_MAX, Subject, near,
};
use crate::error::RuleFault;
use crate::schedule::{INTERVALS_MAX, Schedule};

/// A word that documents have for all persons, or all doors: so none of them can be called by it. Else a rule for one
/// would be written as a rule for all, and a group of "anyone" would look like everybody and hold nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) text: &'static str,
    of: &'static str,
}

/// The word for every person.
pub(crate) const ANYONE: Word = Word { text: "anyone", of: "person" };
/// The word for every door.
pub(crate) const ANY_DOOR: Word = Word { text: "any", of: "door" };

impl Word {
    /// Refuses `name` if it is this word.
    pub(crate) fn is_not(self, name: &Name) -> Result<(), RuleFault> {
        if name.as_str() == self.text { Err(RuleFault::Reserved { word: self.text, of: self.of }) } else { Ok(()) }
    }
}

impl RuleSet {
    /// What must hold besides the rules themselves: names the group, schedule or calendar that is wrong.
    pub(super) fn check_parts(&self) -> Result<(), (String, RuleFault)> {
        for (groups, word) in [(&self.groups, ANYONE), (&self.door_groups, ANY_DOOR)] {
            for (group, members) in groups {
                members.iter().try_for_each(|it| word.is_not(it)).map_err(|fault| (group.to_string(), fault))?;
            }
        }
        if self.holidays.len() > CALENDARS_MAX {
            return Err(("holidays".into(), RuleFault::TooMany { what: "calendars", limit: CALENDARS_MAX }));
        }
        if self.schedules.len() > SCHEDULES_MAX {
            return Err(("schedules".into(), RuleFault::TooMany { what: "schedules", limit: SCHEDULES_MAX }));
        }
        let check = |(name, it)| self.check_schedule(it).map_err(|fault| (String::clone(name), fault));
        self.schedules.iter().try_for_each(check)
    }

    /// What must hold of one schedule, given the calendars.
    pub(super) fn check_schedule(&self, schedule: &Schedule) -> Result<(), RuleFault> {
        let hours = schedule.holidays.iter().map(|(_, hours)| hours.spans().len());
        if hours.chain([schedule.weekly.texts().len(), schedule.holidays.len()]).any(|count| count > INTERVALS_MAX) {
            return Err(RuleFault::TooMany { what: "intervals", limit: INTERVALS_MAX });
        }
        let mut seen = BTreeSet::new();
        for (calendar, _) in &schedule.holidays {
            if !self.holidays.contains_key(calendar) {
                let near = near::nearest(calendar.as_str(), self.holidays.keys().map(Name::as_str));
                return Err(RuleFault::UnknownCalendar { name: calendar.clone(), near });
            }
            if !seen.insert(calendar) {
                return Err(RuleFault::Twice { name: calendar.to_string() });
            }
        }
        Ok(())
    }

    /// What must hold of one rule, given groups and schedules.
    pub(super) fn check(&self, rule: &Rule) -> Result<(), RuleFault> {
        let unknown_group = |name: &Name, known: &BTreeMap<Name, BTreeSet<Name>>| {
            let near = near::nearest(name.as_str(), known.keys().map(Name::as_str));
            Err(RuleFault::UnknownGroup { name: name.clone(), near })
        };
        for subject in &rule.who {
            match subject {
                Subject::Group(name) if !self.groups.contains_key(name) => return unknown_group(name, &self.groups),
                Subject::Person(name) => ANYONE.is_not(name)?,
                Subject::Group(_) | Subject::Anyone => {}
            }
        }
        for door in &rule.doors {
            match door {
                DoorSet::Group(name) if !self.door_groups.contains_key(name) => {
                    return unknown_group(name, &self.door_groups);
                }
                DoorSet::Door(name) => ANY_DOOR.is_not(name)?,
                DoorSet::Group(_) | DoorSet::Any => {}
            }
        }
        if rule.who.len() > RULE_PARTS_MAX || rule.doors.len() > RULE_PARTS_MAX {
            return Err(RuleFault::TooMany { what: "subjects or doors in one rule", limit: RULE_PARTS_MAX });
        }
        if let Some(name) = &rule.during
            && !self.schedules.contains_key(name)
        {
            let near = near::nearest(name, self.schedules.keys().map(String::as_str));
            return Err(RuleFault::UnknownSchedule { name: name.clone(), near });
        }
        if rule.from.zip(rule.until).is_some_and(|(from, until)| from >= until) {
            return Err(RuleFault::EmptyPeriod);
        }
        if !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&rule.priority) {
            return Err(RuleFault::Expected { expected: "a priority from -1000 to 1000" });
        }
        if rule.effect == Effect::Forbid && rule.priority != 0 {
            return Err(RuleFault::Expected { expected: "no priority (a prohibition wins in any case)" });
        }
        Ok(())
    }
}
