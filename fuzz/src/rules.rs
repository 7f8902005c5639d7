//! The rule document of `godvision-access`: the index decides as the specification does, and a prohibition wins.

use std::collections::BTreeSet;

use godvision_access::RuleSet;
use godvision_access::rule::{CredentialKind, DoorSet, Effect, Kinds, Question, Subject, spec};
use godvision_core::signal::door::{Reason, Verdict};
use godvision_core::{Name, WallTime};

use crate::Reached;

/// Names of each kind that questions are asked about.
const NAMES_MAX: usize = 6;
/// 2026-11-21 10:00 UTC, a Saturday; the other moments are night, the next Monday, the day a clock is set back, the
/// epoch (a clock that was never set) and far away.
const MOMENTS_S: [i64; 6] = [1_795_255_200, 1_795_303_800, 1_795_428_000, 1_792_890_000, 0, 7_000_000_000];

/// Reads `data` as a rule document and asks about everybody in it.
pub fn rules(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return Reached::Refused };
    let set = match RuleSet::parse(text) {
        Ok(set) => set,
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && !said.contains('\n'), "one line: {said:?}");
            return Reached::Refused;
        }
    };
    let again = set.to_text();
    assert_eq!(RuleSet::parse(&again).as_ref().map_err(ToString::to_string), Ok(&set), "written as {again}");
    let Ok(compiled) = set.compile() else { return Reached::Refused };
    let (persons, doors) = (persons(&set), doors(&set));
    for person in persons.iter().map(Some).chain([None]) {
        for door in &doors {
            for presented in CredentialKind::ALL.map(Kinds::from).into_iter().chain([Kinds::NONE, Kinds::ALL]) {
                for at in MOMENTS_S {
                    let question = Question { person, door, presented, at: WallTime::from_unix_seconds(at) };
                    check(&set, &question, compiled.decide(&question));
                    assert_eq!(compiled.completing(&question), spec::completing(&set, &question), "{question:?}");
                }
            }
        }
    }
    Reached::when(!set.rules.is_empty())
}

fn check(set: &RuleSet, question: &Question<'_>, answer: godvision_access::rule::Answer<'_>) {
    assert_eq!(answer, spec::decide(set, question), "{question:?}");
    let explained = set.explain(question);
    assert_eq!(
        (explained.verdict, explained.reason, explained.rule.as_ref()),
        (answer.verdict, answer.reason, answer.rule)
    );
    if answer.reason == Reason::UnknownTime {
        assert_eq!(answer.verdict, Verdict::Refuse);
        return;
    }
    let applies = |effect| explained.lines.iter().any(|line| line.effect == effect && line.missed.is_empty());
    let expected = if applies(Effect::Forbid) || !applies(Effect::Permit) { Verdict::Refuse } else { Verdict::Admit };
    assert_eq!(answer.verdict, expected, "{question:?}");
    assert!(answer.rule.is_some() || answer.verdict == Verdict::Refuse, "who admits, says by which rule");
}

fn persons(set: &RuleSet) -> BTreeSet<Name> {
    let subjects = set.rules.iter().flat_map(|rule| &rule.who).filter_map(|subject| match subject {
        Subject::Person(name) => Some(name),
        _ => None,
    });
    let members = set.groups.values().flatten();
    subjects.chain(members).take(NAMES_MAX).cloned().chain(["stranger".parse().expect("a name")]).collect()
}

fn doors(set: &RuleSet) -> BTreeSet<Name> {
    let named = set.rules.iter().flat_map(|rule| &rule.doors).filter_map(|door| match door {
        DoorSet::Door(name) => Some(name),
        _ => None,
    });
    let members = set.door_groups.values().flatten();
    named.chain(members).take(NAMES_MAX).cloned().chain(["elsewhere".parse().expect("a name")]).collect()
}
