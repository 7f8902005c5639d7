//! What rules mean, written to be read: every rule is looked at, in order. The engine is held equal to this.
//!
//! **Never:** an index, a cache, a shortcut.

use godvision_core::signal::door::Reason;

use super::{Answer, DoorSet, Effect, Question, Rule, RuleSet, Subject};
use crate::schedule::is_plausible;

/// The answer to `question`. Linear in the rules.
pub fn decide<'a>(set: &'a RuleSet, question: &Question<'_>) -> Answer<'a> {
    if !is_plausible(question.at) {
        return Answer::refused(Reason::UnknownTime, None);
    }
    let of = |effect| set.rules.iter().filter(move |rule| rule.effect == effect);
    if let Some(rule) = of(Effect::Forbid).find(|rule| applies(set, rule, question)) {
        return Answer::refused(Reason::Forbidden, Some(&rule.name));
    }
    if let Some(rule) = of(Effect::Permit).find(|rule| applies(set, rule, question)) {
        return Answer::permitted(&rule.name);
    }
    if of(Effect::Permit).any(|rule| applies_but_for_kind(set, rule, question)) {
        return Answer::refused(Reason::NotEnough, None);
    }
    Answer::refused(Reason::NoRule, None)
}

fn applies(set: &RuleSet, rule: &Rule, question: &Question<'_>) -> bool {
    rule.by.has(question.kind) && applies_but_for_kind(set, rule, question)
}

fn applies_but_for_kind(set: &RuleSet, rule: &Rule, question: &Question<'_>) -> bool {
    is_about_person(set, rule, question)
        && is_about_door(set, rule, question)
        && is_in_schedule(set, rule, question)
        && rule.from.is_none_or(|from| from <= question.at)
        && rule.until.is_none_or(|until| question.at < until)
}

pub(super) fn is_about_person(set: &RuleSet, rule: &Rule, question: &Question<'_>) -> bool {
    rule.who.iter().any(|subject| match (subject, question.person) {
        (Subject::Anyone, _) => true,
        (_, None) => false,
        (Subject::Person(name), Some(person)) => name == person,
        (Subject::Group(group), Some(person)) => set.groups.get(group).is_some_and(|it| it.contains(person)),
    })
}

pub(super) fn is_about_door(set: &RuleSet, rule: &Rule, question: &Question<'_>) -> bool {
    rule.doors.iter().any(|doors| match doors {
        DoorSet::Any => true,
        DoorSet::Door(name) => name == question.door,
        DoorSet::Group(group) => set.door_groups.get(group).is_some_and(|it| it.contains(question.door)),
    })
}

pub(super) fn is_in_schedule(set: &RuleSet, rule: &Rule, question: &Question<'_>) -> bool {
    rule.during
        .as_ref()
        .is_none_or(|name| set.schedules.get(name).and_then(|schedule| schedule.covers(question.at)).unwrap_or(false))
}
