//! One decision of the rule engine: 1 thousand, 100 thousand and 1 million rules, half of the questions admitted.
//!
//! 10 000 persons in 100 groups (each in up to three), 1 000 doors in 50 groups (each in up to two), schedules in two
//! zones. Questions are drawn evenly from persons and doors of permitting rules (so about half are admitted) and from
//! all; they come in an order the cache does not know. The time is that of one question after another: throughput.

use std::collections::{BTreeMap, BTreeSet};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godvision_access::RuleSet;
use godvision_access::rule::{CompiledRules, CredentialKind, DoorSet, Effect, Kinds, Question, Rule, Subject};
use godvision_access::schedule::{Schedule, Weekly, Zone};
use godvision_core::signal::door::Verdict;
use godvision_core::{Name, WallTime};

const PERSONS: u64 = 10_000;
const GROUPS: u64 = 100;
const DOORS: u64 = 1_000;
const DOOR_GROUPS: u64 = 50;
const QUESTIONS: usize = 1 << 14;

/// SplitMix64 (Steele, Lea, Flood 2014): the same rules and questions in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn names(prefix: &str, count: u64) -> Vec<Name> {
    (0..count).map(|n| Name::new(&format!("{prefix}{n}")).expect("a name")).collect()
}

fn members(groups: &[Name], all: &[Name], each: u64, random: &mut Random) -> BTreeMap<Name, BTreeSet<Name>> {
    let mut map: BTreeMap<Name, BTreeSet<Name>> = groups.iter().map(|group| (group.clone(), BTreeSet::new())).collect();
    for member in all {
        for _ in 0..random.below(each + 1) {
            let group = &groups[random.below(groups.len() as u64) as usize];
            map.entry(group.clone()).or_default().insert(member.clone());
        }
    }
    map
}

struct World {
    set: RuleSet,
    persons: Vec<Name>,
    doors: Vec<Name>,
}

fn world(rule_count: usize) -> World {
    let mut random = Random(1);
    let (persons, groups) = (names("person", PERSONS), names("group", GROUPS));
    let (doors, door_groups) = (names("door", DOORS), names("area", DOOR_GROUPS));
    let schedule = |zone: &str, text: &str| Schedule {
        zone: Zone::named(zone).expect("a zone"),
        weekly: Weekly::parse([text]).expect("an interval"),
    };
    let schedules: BTreeMap<String, Schedule> = [
        ("office".to_owned(), schedule("Europe/Berlin", "Mon-Fri 06:00-20:00")),
        ("night".to_owned(), schedule("America/St_Johns", "daily 22:00-06:00")),
    ]
    .into();
    let rules = (0..rule_count)
        .map(|n| {
            let forbids = random.below(100) < 5;
            let pick = |names: &[Name], random: &mut Random| names[random.below(names.len() as u64) as usize].clone();
            let who = if random.below(100) < 70 {
                Subject::Person(pick(&persons, &mut random))
            } else {
                Subject::Group(pick(&groups, &mut random))
            };
            let door = if random.below(100) < 70 {
                DoorSet::Door(pick(&doors, &mut random))
            } else {
                DoorSet::Group(pick(&door_groups, &mut random))
            };
            let during = match random.below(4) {
                0 => Some("office".to_owned()),
                1 if forbids => Some("night".to_owned()),
                _ => None,
            };
            Rule {
                name: Name::new(&format!("rule{n}")).expect("a name"),
                effect: if forbids { Effect::Forbid } else { Effect::Permit },
                who: vec![who],
                doors: vec![door],
                by: Kinds::USUAL,
                during,
                from: None,
                until: (random.below(10) == 0).then(|| WallTime::from_unix_seconds(1_900_000_000)),
            }
        })
        .collect();
    let set = RuleSet {
        zone: Zone::named("Europe/Berlin").expect("a zone"),
        groups: members(&groups, &persons, 3, &mut random),
        door_groups: members(&door_groups, &doors, 2, &mut random),
        schedules,
        rules,
    };
    World { set, persons, doors }
}

/// Half of the questions are about a pair that some rule permits, half about any pair.
fn questions(world: &World) -> Vec<(Name, Name, WallTime)> {
    let mut random = Random(2);
    let pick = |names: &[Name], random: &mut Random| names[random.below(names.len() as u64) as usize].clone();
    let of = |names: &BTreeSet<Name>, random: &mut Random| {
        names.iter().nth(random.below(names.len().max(1) as u64) as usize).cloned()
    };
    (0..QUESTIONS)
        .map(|number| {
            let at = WallTime::from_unix_seconds(1_794_787_200 + random.below(14 * 86_400) as i64);
            let rule = &world.set.rules[random.below(world.set.rules.len() as u64) as usize];
            let person = match &rule.who[0] {
                _ if number % 3 == 0 => None,
                Subject::Person(name) => Some(name.clone()),
                Subject::Group(group) => of(&world.set.groups[group], &mut random),
                Subject::Anyone => None,
            };
            let door = match &rule.doors[0] {
                _ if number % 3 == 0 => None,
                DoorSet::Door(name) => Some(name.clone()),
                DoorSet::Group(group) => of(&world.set.door_groups[group], &mut random),
                DoorSet::Any => None,
            };
            let person = person.unwrap_or_else(|| pick(&world.persons, &mut random));
            (person, door.unwrap_or_else(|| pick(&world.doors, &mut random)), at)
        })
        .collect()
}

fn admitted(rules: &CompiledRules, questions: &[(Name, Name, WallTime)]) -> usize {
    questions
        .iter()
        .filter(|(person, door, at)| {
            let question = Question { person: Some(person), door, kind: CredentialKind::Qr, at: *at };
            rules.decide(&question).verdict == Verdict::Admit
        })
        .count()
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(QUESTIONS as u64)).sample_size(20);
    for count in [1_000, 100_000, 1_000_000] {
        let world = world(count);
        let rules = world.set.compile().expect("rules that compile");
        let questions = questions(&world);
        let share = admitted(&rules, &questions) as f64 / questions.len() as f64;
        println!("{count} rules: {:.0} % of {QUESTIONS} questions admitted", share * 100.0);
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| admitted(&rules, &questions))
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
