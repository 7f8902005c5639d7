//! Three evaluators, one verdict: the engine, the plain specification, and Cedar on our export, on random rule sets and on
//! every one of a small world. `GODVISION_ORACLE_CASES` asks for more random cases than the usual few thousand.

use std::collections::BTreeMap;

use cedar_policy::Authorizer;
use godvision_access::RuleSet;
use godvision_access::rule::{By, CredentialKind, DoorSet, Effect, Kinds, Question, Rule, Subject, spec};
use godvision_access::schedule::{Calendar, Hours, MINUTES_A_WEEK, MinuteOfWeek, Schedule, Weekly, Zone};
use godvision_benches::oracle::{Cedar, request};
use godvision_benches::rules_world::Random;
use godvision_core::signal::door::{Reason, Verdict};
use godvision_core::{Name, WallTime};

/// Monday 2026-11-16, 00:00 UTC.
const MONDAY_S: i64 = 1_794_787_200;
const QUESTIONS_A_SET: usize = 50;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// How often each verdict and reason came out: a run that only ever refuses shows nothing.
#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, usize>);

impl Counts {
    fn total(&self) -> usize {
        self.0.values().sum()
    }
}

fn hold_equal(set: &RuleSet, questions: &[Question<'_>], counts: &mut Counts) {
    let rules = set.compile().unwrap();
    let cedar = Cedar::new(set).unwrap_or_else(|error| panic!("{error} in {}", set.to_cedar().policies));
    let authorizer = Authorizer::new();
    for question in questions {
        let ours = rules.decide(question);
        assert_eq!(ours, spec::decide(set, question), "{question:?} of {}", set.to_text());
        let (verdict, mut deciding) = cedar.decide(&authorizer, &request(set, question).unwrap()).unwrap();
        assert_eq!(ours.verdict, verdict, "{question:?}, {ours:?} of {}", set.to_text());
        // The rule we name is one of those that Cedar says decided.
        deciding.retain(|rule| rule != "the clock was never set");
        assert_eq!(
            ours.rule.is_some(),
            !deciding.is_empty() && ours.reason != Reason::UnknownTime,
            "{ours:?}, {deciding:?}"
        );
        assert!(ours.rule.is_none_or(|rule| deciding.iter().any(|it| it == rule.as_str())), "{ours:?}, {deciding:?}");
        *counts.0.entry(ours.reason.code()).or_default() += 1;
    }
}

fn some<T: Clone>(random: &mut Random, items: &[T], most: u64) -> Vec<T> {
    (0..1 + random.below(most)).map(|_| random.of(items).clone()).collect()
}

fn random_set(random: &mut Random) -> RuleSet {
    let persons = ["ada", "bob", "eve"].map(name);
    let doors = ["yard/door", "yard/gate", "store"].map(name);
    let zones = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"];
    let mut set = RuleSet { zone: Zone::named("Europe/Berlin").unwrap(), ..RuleSet::default() };
    for group in ["staff", "guests"] {
        set.groups.insert(name(group), some(random, &persons, 3).into_iter().collect());
    }
    for group in ["yard", "all"] {
        set.door_groups.insert(name(group), some(random, &doors, 3).into_iter().collect());
    }
    let days = ["2026-11-15", "2026-11-17/2026-11-18", "11-20", "11-24", "2026-11-27"];
    for calendar in ["public", "works"] {
        set.holidays.insert(name(calendar), Calendar::parse(some(random, &days, 3)).unwrap());
    }
    for schedule in ["office", "night"] {
        let spans: Vec<_> = (0..random.below(4))
            .map(|_| {
                let start = MinuteOfWeek::new(random.below(MINUTES_A_WEEK.into()) as u16).unwrap();
                (start, 1 + random.below(4000) as u16)
            })
            .collect();
        let mut made = Schedule::weekly(Zone::named(random.of::<&str>(&zones)).unwrap(), Weekly::from_minutes(spans));
        for calendar in set.holidays.keys() {
            if random.below(2) == 0 {
                let span = (random.below(1440) as u16, 1 + random.below(1439) as u16);
                made.holidays.push((calendar.clone(), Hours::from_minutes(Some(span).filter(|_| random.below(3) > 0))));
            }
        }
        set.schedules.insert(schedule.to_owned(), made);
    }
    let subjects: Vec<Subject> = (persons.map(Subject::Person).into_iter())
        .chain(["staff", "guests"].map(|it| Subject::Group(name(it))))
        .chain([Subject::Anyone])
        .collect();
    let door_sets: Vec<DoorSet> = (doors.map(DoorSet::Door).into_iter())
        .chain(["yard", "all"].map(|it| DoorSet::Group(name(it))))
        .chain([DoorSet::Any])
        .collect();
    for number in 0..random.below(7) {
        let effect = if random.below(3) == 0 { Effect::Forbid } else { Effect::Permit };
        let by = match random.below(3) {
            0 => By::USUAL,
            1 => By::ANYTHING,
            _ => (0..1 + random.below(2)).fold(By::default(), |by, _| {
                let pair = Kinds::from(*random.of(&CredentialKind::ALL)).with(*random.of(&CredentialKind::ALL));
                by.or(pair).unwrap()
            }),
        };
        let moment = |random: &mut Random| {
            (random.below(5) == 0).then(|| WallTime::from_unix_seconds(MONDAY_S + random.below(10 * 86_400) as i64))
        };
        let from = moment(random);
        set.rules.push(Rule {
            name: name(&format!("rule{number}")),
            effect,
            who: some(random, &subjects, 3),
            doors: some(random, &door_sets, 3),
            by,
            priority: if effect == Effect::Permit { random.below(3) as i32 } else { 0 },
            during: [None, Some("office"), Some("night")][random.below(3) as usize].map(str::to_owned),
            from,
            until: moment(random).filter(|until| from.is_none_or(|from| from < *until)),
        });
    }
    set
}

#[test]
fn on_random_rule_sets() {
    let cases = std::env::var("GODVISION_ORACLE_CASES").map_or(4_000, |text| text.parse().expect("a number of cases"));
    let persons: Vec<Option<Name>> =
        ["ada", "bob", "eve", "stranger"].iter().map(|it| Some(name(it))).chain([None]).collect();
    let doors = ["yard/door", "yard/gate", "store", "elsewhere"].map(name);
    let (mut random, mut counts) = (Random(7), Counts::default());
    while counts.total() < cases {
        let set = random_set(&mut random);
        let questions: Vec<Question<'_>> = (0..QUESTIONS_A_SET)
            .map(|_| {
                let mut presented = Kinds::from(*random.of(&CredentialKind::ALL));
                if random.below(2) == 0 {
                    presented = presented.with(*random.of(&CredentialKind::ALL));
                }
                let at = match random.below(50) {
                    0 => WallTime::from_unix_seconds(random.below(1_577_836_800) as i64),
                    _ => WallTime::from_unix_seconds(MONDAY_S - 86_400 + random.below(14 * 86_400) as i64),
                };
                Question { person: random.of(&persons).as_ref(), door: random.of(&doors), presented, at }
            })
            .collect();
        hold_equal(&set, &questions, &mut counts);
    }
    println!("{} random cases, 0 disagreements: {:?}", counts.total(), counts.0);
    for reason in [Reason::Permitted, Reason::Forbidden, Reason::NotEnough, Reason::NoRule, Reason::UnknownTime] {
        let count = counts.0.get(reason.code()).copied().unwrap_or(0);
        assert!(count * 200 > counts.total(), "{reason:?} came out {count} times");
    }
}

#[test]
fn on_everything_in_a_small_world() {
    let rules_max: usize = if std::env::var_os("GODVISION_ORACLE_CASES").is_some() { 3 } else { 2 };
    let mut rules = Vec::new();
    for effect in [Effect::Permit, Effect::Forbid] {
        for who in [Subject::Person(name("ada")), Subject::Group(name("staff")), Subject::Anyone] {
            for doors in [DoorSet::Door(name("door")), DoorSet::Group(name("both"))] {
                for by in ["card", "pin+face"] {
                    for during in [None, Some("shift".to_owned())] {
                        rules.push(Rule {
                            name: name(&format!("rule{}", rules.len())),
                            effect,
                            who: vec![who.clone()],
                            doors: vec![doors.clone()],
                            by: By::default().or(Kinds::from_code(by).unwrap()).unwrap(),
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
    let mut shift = Schedule::weekly(Zone::utc(), Weekly::parse(["Mon 22:00-06:00"]).unwrap());
    shift.holidays.push((name("public"), Hours::parse("23:00-01:00").unwrap()));
    let base = RuleSet {
        groups: [(name("staff"), [name("ada"), name("bob")].into())].into(),
        door_groups: [(name("both"), [name("door"), name("gate")].into())].into(),
        holidays: [(name("public"), Calendar::parse(["2026-11-18"]).unwrap())].into(),
        schedules: [("shift".to_owned(), shift)].into(),
        ..RuleSet::default()
    };
    let (persons, doors) = (["ada", "bob"].map(name), ["door", "gate"].map(name));
    let mut questions = Vec::new();
    // Monday 21:00, Tuesday 00:30 (began on Monday), Wednesday 23:30 (a holiday), Thursday 00:30 (reached into).
    for minutes in [21 * 60, 24 * 60 + 30, 71 * 60 + 30, 72 * 60 + 30] {
        for person in &persons {
            for door in &doors {
                for presented in ["card", "pin", "pin+face"] {
                    let presented = Kinds::from_code(presented).unwrap();
                    let at = WallTime::from_unix_seconds(MONDAY_S + minutes * 60);
                    questions.push(Question { person: Some(person), door, presented, at });
                }
            }
        }
    }
    let mut counts = Counts::default();
    // Every choice of at most so many rules, as numbers that go up.
    let mut chosen: Vec<Vec<usize>> = vec![Vec::new()];
    while let Some(choice) = chosen.pop() {
        let set = RuleSet { rules: choice.iter().map(|it| rules[*it].clone()).collect(), ..base.clone() };
        hold_equal(&set, &questions, &mut counts);
        if choice.len() < rules_max {
            let first = choice.last().map_or(0, |last| last + 1);
            chosen.extend((first..rules.len()).map(|next| choice.iter().copied().chain([next]).collect()));
        }
    }
    println!("{} cases of a small world, 0 disagreements: {:?}", counts.total(), counts.0);
    assert!(counts.0[Reason::Permitted.code()] > 1000 && counts.0[Reason::Forbidden.code()] > 1000);
    assert_eq!(spec::decide(&base, &questions[0]).verdict, Verdict::Refuse);
}
