//! The index decides exactly as the linear specification: on random rule sets, and on every question of a small world.

use std::collections::{BTreeMap, BTreeSet};

use godvision_access::RuleSet;
use godvision_access::rule::{CredentialKind, DoorSet, Effect, Kinds, Question, Rule, Subject, spec};
use godvision_access::schedule::{MINUTES_A_WEEK, MinuteOfWeek, Schedule, Weekly, Zone};
use godvision_core::{Name, WallTime};
use proptest::prelude::*;
use proptest::sample::select;

const PERSONS: [&str; 4] = ["ada", "bob", "eve", "stranger"];
const GROUPS: [&str; 3] = ["staff", "guests", "nobody-names-it"];
const DOORS: [&str; 4] = ["yard/door", "yard/gate", "store", "elsewhere"];
const DOOR_GROUPS: [&str; 2] = ["yard", "all-but-one"];
const SCHEDULES: [&str; 3] = ["office", "night", "far"];
/// 2026-11-16, a Monday, 00:00 UTC.
const MONDAY_S: i64 = 1_794_787_200;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn members(
    of: &'static [&'static str],
    names: &'static [&'static str],
) -> impl Strategy<Value = BTreeMap<Name, BTreeSet<Name>>> {
    let some = proptest::collection::btree_set(select(names).prop_map(name), 0..=names.len());
    proptest::collection::vec(some, of.len()).prop_map(|sets| of.iter().map(|group| name(group)).zip(sets).collect())
}

fn schedules() -> impl Strategy<Value = BTreeMap<String, Schedule>> {
    let spans = proptest::collection::vec((0..MINUTES_A_WEEK, 1u16..4000), 0..4);
    let schedule = (
        spans,
        select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "Asia/Tokyo", "Asia/Kathmandu"]),
    )
        .prop_map(|(spans, zone)| Schedule {
            zone: Zone::named(zone).unwrap(),
            weekly: Weekly::from_minutes(
                spans.into_iter().map(|(start, length)| (MinuteOfWeek::new(start).unwrap(), length)),
            ),
        });
    proptest::collection::vec(schedule, SCHEDULES.len())
        .prop_map(|all| SCHEDULES.iter().map(|name| (*name).to_owned()).zip(all).collect())
}

fn rule() -> impl Strategy<Value = Rule> {
    let subject = prop_oneof![
        3 => select(&PERSONS[..3]).prop_map(|person| Subject::Person(name(person))),
        3 => select(&GROUPS[..2]).prop_map(|group| Subject::Group(name(group))),
        1 => Just(Subject::Anyone),
    ];
    let doors = prop_oneof![
        3 => select(&DOORS[..3]).prop_map(|door| DoorSet::Door(name(door))),
        3 => select(&DOOR_GROUPS[..]).prop_map(|group| DoorSet::Group(name(group))),
        1 => Just(DoorSet::Any),
    ];
    let kinds = prop_oneof![
        2 => Just(Kinds::ALL),
        2 => Just(Kinds::USUAL),
        3 => proptest::collection::vec(select(&CredentialKind::ALL[..]), 1..4).prop_map(|kinds| kinds.into_iter().collect()),
    ];
    let moment =
        || proptest::option::weighted(0.2, (0..10 * 86_400i64).prop_map(|s| WallTime::from_unix_seconds(MONDAY_S + s)));
    (
        prop_oneof![2 => Just(Effect::Permit), 1 => Just(Effect::Forbid)],
        proptest::collection::vec(subject, 0..4),
        proptest::collection::vec(doors, 0..4),
        kinds,
        proptest::option::weighted(0.5, select(&SCHEDULES[..]).prop_map(str::to_owned)),
        moment(),
        moment(),
    )
        .prop_map(|(effect, who, doors, by, during, from, until)| {
            let until = until.filter(|until| from.is_none_or(|from| from < *until));
            Rule { name: name("unnamed"), effect, who, doors, by, during, from, until }
        })
}

fn rule_set() -> impl Strategy<Value = RuleSet> {
    let zone = select(vec!["UTC", "Europe/Berlin"]).prop_map(|zone| Zone::named(zone).unwrap());
    let rules = proptest::collection::vec(rule(), 0..12);
    (zone, members(&GROUPS, &PERSONS[..3]), members(&DOOR_GROUPS, &DOORS[..3]), schedules(), rules).prop_map(
        |(zone, groups, door_groups, schedules, mut rules)| {
            for (number, rule) in rules.iter_mut().enumerate() {
                rule.name = name(&format!("rule-{number}"));
            }
            RuleSet { zone, groups, door_groups, schedules, rules, ..RuleSet::default() }
        },
    )
}

fn moments() -> impl Strategy<Value = WallTime> {
    prop_oneof![
        20 => (MONDAY_S - 86_400..MONDAY_S + 14 * 86_400).prop_map(WallTime::from_unix_seconds),
        // Around the nights when clocks change in Berlin.
        4 => (0i64..4 * 3600).prop_map(|s| WallTime::from_unix_seconds(1_774_738_800 + s)),
        4 => (0i64..4 * 3600).prop_map(|s| WallTime::from_unix_seconds(1_792_882_800 + s)),
        1 => Just(WallTime::from_unix_seconds(0)),
        1 => any::<i64>().prop_map(WallTime::from_unix_micros),
    ]
}

fn assert_equal(set: &RuleSet, at: impl Iterator<Item = WallTime>) {
    let compiled = set.compile().unwrap();
    let persons: Vec<Option<Name>> = PERSONS.iter().map(|it| Some(name(it))).chain([None]).collect();
    let doors = DOORS.map(name);
    // The very ends of every rule's period, and the microsecond before.
    let ends = set.rules.iter().flat_map(|rule| [rule.from, rule.until]).flatten();
    let ends: Vec<WallTime> = ends.flat_map(|end| [end, end.plus_micros(-1)]).collect();
    for at in at.chain(ends) {
        for person in &persons {
            for door in &doors {
                for kind in CredentialKind::ALL {
                    let question = Question { person: person.as_ref(), door, kind, at };
                    let (fast, naive) = (compiled.decide(&question), spec::decide(set, &question));
                    assert_eq!(fast, naive, "{question:?} of {set:#?}");
                    let explained = set.explain(&question);
                    assert_eq!(
                        (explained.verdict, explained.reason, explained.rule.as_ref()),
                        (naive.verdict, naive.reason, naive.rule)
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn on_random_rule_sets(set in rule_set(), at in proptest::collection::vec(moments(), 4)) {
        assert_equal(&set, at.into_iter());
    }
}

#[test]
fn on_every_pair_of_rules_of_a_small_world() {
    let mut rules = Vec::new();
    for effect in [Effect::Permit, Effect::Forbid] {
        for who in [Subject::Person(name("ada")), Subject::Group(name("staff")), Subject::Anyone] {
            for doors in [DoorSet::Door(name("yard/door")), DoorSet::Group(name("yard")), DoorSet::Any] {
                for by in [Kinds::USUAL, Kinds::default().with(CredentialKind::Plate)] {
                    for during in [None, Some("office".to_owned())] {
                        let (who, doors) = (vec![who.clone()], vec![doors.clone()]);
                        rules.push(Rule { name: name("x"), effect, who, doors, by, during, from: None, until: None });
                    }
                }
            }
        }
    }
    let base = RuleSet {
        groups: [(name("staff"), [name("ada"), name("bob")].into())].into(),
        door_groups: [(name("yard"), [name("yard/door")].into())].into(),
        schedules: [(
            "office".to_owned(),
            Schedule { zone: Zone::utc(), weekly: Weekly::parse(["Mon-Fri 08:00-18:00"]).unwrap() },
        )]
        .into(),
        ..RuleSet::default()
    };
    for first in &rules {
        for second in &rules {
            let rules =
                vec![Rule { name: name("first"), ..first.clone() }, Rule { name: name("second"), ..second.clone() }];
            let set = RuleSet { rules, ..base.clone() };
            assert_equal(&set, [9, 20].into_iter().map(|hour| WallTime::from_unix_seconds(MONDAY_S + hour * 3600)));
        }
    }
}
