//! What rules mean, written to be read: every rule is looked at, in order. The engine is held equal to this.
//!
//! **Never:** an index, a cache, a shortcut.

use godvision_core::signal::door::{Reason, Verdict};

use super::{Answer, CredentialKind, DoorSet, Effect, Kinds, Question, Rule, RuleSet, Subject};
use crate::schedule::is_plausible;

/// The answer to `question`. Linear in the rules.
pub fn decide<'a>(set: &'a RuleSet, question: &Question<'_>) -> Answer<'a> {
    if !is_plausible(question.at) {
        return Answer::refused(Reason::UnknownTime, None);
    }
    if let Some(rule) = of(set, Effect::Forbid).find(|rule| applies(set, rule, question)) {
        return Answer::refused(Reason::Forbidden, Some(&rule.name));
    }
    // The highest priority; of equal ones the first, which is why the order is turned round: `max_by_key` takes the last.
    let permits = of(set, Effect::Permit).rev().filter(|rule| applies(set, rule, question));
    if let Some(rule) = permits.max_by_key(|rule| rule.priority) {
        return Answer::permitted(&rule.name);
    }
    if of(set, Effect::Permit).any(|rule| applies_but_for_kind(set, rule, question) && waits_for_more(rule)) {
        return Answer::refused(Reason::NotEnough, None);
    }
    Answer::refused(Reason::NoRule, None)
}

/// The kinds any one of which, presented as well, would turn a refusal into admission.
pub fn completing(set: &RuleSet, question: &Question<'_>) -> Kinds {
    if !is_plausible(question.at) || decide(set, question).verdict == Verdict::Admit {
        return Kinds::NONE;
    }
    let completes = |kind: &CredentialKind| {
        let more = Question { presented: question.presented.with(*kind), ..*question };
        let admits =
            |rule: &Rule| applies_but_for_kind(set, rule, &more) && rule.by.at_the_door().is_met_by(more.presented);
        !of(set, Effect::Forbid).any(|rule| applies(set, rule, &more)) && of(set, Effect::Permit).any(admits)
    };
    CredentialKind::ALL.into_iter().filter(|kind| !question.presented.has(*kind)).filter(completes).collect()
}

fn of(set: &RuleSet, effect: Effect) -> impl DoubleEndedIterator<Item = &Rule> {
    set.rules.iter().filter(move |rule| rule.effect == effect)
}

/// Whether somebody at the door could satisfy the rule with more than they presented.
fn waits_for_more(rule: &Rule) -> bool {
    !rule.by.at_the_door().is_empty()
}

fn applies(set: &RuleSet, rule: &Rule, question: &Question<'_>) -> bool {
    rule.by.is_met_by(question.presented) && applies_but_for_kind(set, rule, question)
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
    let inside = |name| set.schedules.get(name).and_then(|schedule| schedule.covers(question.at, &set.holidays));
    rule.during.as_ref().is_none_or(|name| inside(name).unwrap_or(false))
}
