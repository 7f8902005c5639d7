//! The index decides exactly as the linear specification: on random rule sets, and on every question of a small world.

use std::collections::{BTreeMap, BTreeSet};

use godvision_access::RuleSet;
use godvision_access::rule::{By, CredentialKind, DoorSet, Effect, Kinds, Question, Rule, Subject, spec};
use godvision_access::schedule::{
    Calendar, Calendars, Hours, MINUTES_A_DAY, MINUTES_A_WEEK, MinuteOfWeek, Schedule, Weekly, Zone,
};
use godvision_core::{Name, WallTime};
use proptest::prelude::*;
use proptest::sample::select;

const PERSONS: [&str; 4] = ["ada", "bob", "eve", "stranger"];
const GROUPS: [&str; 3] = ["staff", "guests", "nobody-names-it"];
const DOORS: [&str; 4] = ["yard/door", "yard/gate", "store", "elsewhere"];
const DOOR_GROUPS: [&str; 2] = ["yard", "all-but-one"];
const CALENDARS: [&str; 2] = ["public", "works"];
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

fn some_kinds(count: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Kinds> {
    proptest::sample::subsequence(&CredentialKind::ALL[..], count).prop_map(|kinds| kinds.into_iter().collect())
}

fn schedules() -> impl Strategy<Value = BTreeMap<String, Schedule>> {
    let spans = proptest::collection::vec((0..MINUTES_A_WEEK, 1u16..4000), 0..4);
    let schedule = (
        spans,
        proptest::sample::subsequence(&CALENDARS[..], 0..=CALENDARS.len()),
        proptest::collection::vec((0..MINUTES_A_DAY, 1..=MINUTES_A_DAY), CALENDARS.len()),
        select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "Asia/Tokyo", "Asia/Kathmandu"]),
    )
        .prop_map(|(spans, calendars, hours, zone)| Schedule {
            zone: Zone::named(zone).unwrap(),
            weekly: Weekly::from_minutes(
                spans.into_iter().map(|(start, length)| (MinuteOfWeek::new(start).unwrap(), length)),
            ),
            // Every third one has no hours at all.
            holidays: (calendars.into_iter().zip(hours))
                .map(|(calendar, span)| {
                    (name(calendar), Hours::from_minutes(Some(span).filter(|(start, _)| start % 3 > 0)))
                })
                .collect(),
        });
    proptest::collection::vec(schedule, SCHEDULES.len())
        .prop_map(|all| SCHEDULES.iter().map(|name| (*name).to_owned()).zip(all).collect())
}

/// Days around those that are asked about.
fn calendars() -> impl Strategy<Value = Calendars> {
    let days = proptest::collection::vec(
        select(vec!["2026-11-15", "2026-11-17/2026-11-18", "11-20", "2026-03-29", "10-25", "2026-11-27", "01-01"]),
        0..4,
    );
    proptest::collection::vec(days, CALENDARS.len()).prop_map(|all| {
        CALENDARS.iter().map(|it| name(it)).zip(all.into_iter().map(|days| Calendar::parse(days).unwrap())).collect()
    })
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
        2 => Just(By::ANYTHING),
        2 => Just(By::USUAL),
        5 => proptest::collection::vec(some_kinds(1..=2), 1..4)
            .prop_map(|all| all.into_iter().fold(By::default(), |by, kinds| by.or(kinds).unwrap())),
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
        -2..3i32,
    )
        .prop_map(|(effect, who, doors, by, during, from, until, priority)| {
            let until = until.filter(|until| from.is_none_or(|from| from < *until));
            let priority = if effect == Effect::Permit { priority } else { 0 };
            Rule { name: name("unnamed"), effect, who, doors, by, priority, during, from, until }
        })
}

fn rule_set() -> impl Strategy<Value = RuleSet> {
    let zone = select(vec!["UTC", "Europe/Berlin"]).prop_map(|zone| Zone::named(zone).unwrap());
    let rules = proptest::collection::vec(rule(), 0..12);
    let groups = (members(&GROUPS, &PERSONS[..3]), members(&DOOR_GROUPS, &DOORS[..3]));
    (zone, groups, calendars(), schedules(), rules).prop_map(
        |(zone, (groups, door_groups), holidays, schedules, mut rules)| {
            for (number, rule) in rules.iter_mut().enumerate() {
                rule.name = name(&format!("rule-{number}"));
            }
            RuleSet { zone, groups, door_groups, holidays, schedules, rules, ..RuleSet::default() }
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

/// Nothing, every kind alone, and some together.
const PRESENTED: [&str; 14] = [
    "",
    "qr",
    "pin",
    "card",
    "plate",
    "face",
    "manual",
    "remote",
    "pin+remote",
    "qr+plate",
    "pin+face",
    "pin+card+plate",
    "qr+pin+card+plate+face+manual",
    "qr+pin+card+plate+face+manual+remote",
];

fn assert_equal(
    set: &RuleSet,
    (persons, doors, presented): (&[&str], &[&str], &[&str]),
    at: impl Iterator<Item = WallTime>,
) {
    let compiled = set.compile().unwrap();
    let persons: Vec<Option<Name>> = persons.iter().map(|it| Some(name(it))).chain([None]).collect();
    let doors: Vec<Name> = doors.iter().map(|it| name(it)).collect();
    // The very ends of every rule's period, and the microsecond before.
    let ends = set.rules.iter().flat_map(|rule| [rule.from, rule.until]).flatten();
    let ends: Vec<WallTime> = ends.flat_map(|end| [end, end.plus_micros(-1)]).collect();
    for at in at.chain(ends) {
        for person in &persons {
            for door in &doors {
                for presented in presented {
                    let presented = Kinds::from_code(presented).unwrap_or_default();
                    let question = Question { person: person.as_ref(), door, presented, at };
                    let (fast, naive) = (compiled.decide(&question), spec::decide(set, &question));
                    assert_eq!(fast, naive, "{question:?} of {set:#?}");
                    assert_eq!(
                        compiled.completing(&question),
                        spec::completing(set, &question),
                        "{question:?} of {set:#?}"
                    );
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
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn on_random_rule_sets(set in rule_set(), at in proptest::collection::vec(moments(), 4)) {
        assert_equal(&set, (&PERSONS, &DOORS, &PRESENTED), at.into_iter());
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(mut set in rule_set()) {
        // A document refuses rules about nobody or no door.
        set.rules.retain(|rule| !rule.who.is_empty() && !rule.doors.is_empty());
        let text = set.to_text();
        let read = RuleSet::parse(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        prop_assert_eq!(&read, &set);
        prop_assert_eq!(read.to_text(), text);
        prop_assert_eq!(set.changes(&read), []);
        prop_assert_eq!(RuleSet::from_bytes(&set.to_bytes()).unwrap(), set);
    }
}

#[test]
fn on_every_pair_of_rules_of_a_small_world() {
    let mut rules = Vec::new();
    for effect in [Effect::Permit, Effect::Forbid] {
        for who in [Subject::Person(name("ada")), Subject::Group(name("staff")), Subject::Anyone] {
            for doors in [DoorSet::Door(name("yard/door")), DoorSet::Group(name("yard")), DoorSet::Any] {
                for by in [By::USUAL, By::default().or(Kinds::from_code("pin+plate").unwrap()).unwrap()] {
                    for during in [None, Some("office".to_owned())] {
                        let (who, doors) = (vec![who.clone()], vec![doors.clone()]);
                        rules.push(Rule {
                            name: name("x"),
                            effect,
                            who,
                            doors,
                            by,
                            priority: 0,
                            during,
                            from: None,
                            until: None,
                        });
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
            Schedule::weekly(Zone::utc(), Weekly::parse(["Mon-Fri 08:00-18:00"]).unwrap()),
        )]
        .into(),
        ..RuleSet::default()
    };
    for first in &rules {
        for second in &rules {
            let rules =
                vec![Rule { name: name("first"), ..first.clone() }, Rule { name: name("second"), ..second.clone() }];
            let set = RuleSet { rules, ..base.clone() };
            let asked: (&[&str], &[&str], &[&str]) =
                (&["ada"], &["yard/door", "elsewhere"], &["card", "pin", "pin+plate"]);
            assert_equal(
                &set,
                asked,
                [9, 20].map(|hour| WallTime::from_unix_seconds(MONDAY_S + hour * 3600)).into_iter(),
            );
        }
    }
}
