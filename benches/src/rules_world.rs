//! A large site for the rule engine and its peers: the same rules and questions in every run.
//!
//! Persons are in up to three groups, doors in up to two; 70 of 100 rules are about one person, 70 of 100 about one door,
//! two of 100 forbid, a quarter have office hours in one zone, some nights in another. Five questions of six are about a
//! pair that some rule permits, at any time of two weeks; the last is about any pair. They come in no order, so that what a
//! decision reads is seldom near.

use std::collections::{BTreeMap, BTreeSet};

use godvision_access::RuleSet;
use godvision_access::rule::{By, CredentialKind, DoorSet, Effect, Kinds, Question, Rule, Subject};
use godvision_access::schedule::{Calendar, Calendars, Hours, Schedule, Weekly, Zone};
use godvision_core::{Name, WallTime};

/// Monday 2026-11-16, 00:00 UTC.
const MONDAY_S: i64 = 1_794_787_200;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Some number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// One of `items`.
    pub fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

/// How large the site is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Rules.
    pub rules: usize,
    /// Persons.
    pub persons: u64,
    /// Groups of persons.
    pub groups: u64,
    /// Doors.
    pub doors: u64,
    /// Groups of doors.
    pub door_groups: u64,
}

/// Rules and who they are about.
#[derive(Clone, Debug)]
pub struct World {
    /// The rules.
    pub set: RuleSet,
    /// Everybody.
    pub persons: Vec<Name>,
    /// Every door.
    pub doors: Vec<Name>,
}

/// A question that owns its names.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who.
    pub person: Name,
    /// Where.
    pub door: Name,
    /// When.
    pub at: WallTime,
}

impl Asked {
    /// The question: a card was shown.
    pub fn question(&self) -> Question<'_> {
        Question {
            person: Some(&self.person),
            door: &self.door,
            presented: Kinds::NONE.with(CredentialKind::Card),
            at: self.at,
        }
    }
}

fn names(prefix: &str, count: u64) -> Vec<Name> {
    (0..count).map(|n| Name::new(&format!("{prefix}{n}")).expect("a name")).collect()
}

fn members(groups: &[Name], all: &[Name], each: u64, random: &mut Random) -> BTreeMap<Name, BTreeSet<Name>> {
    let mut map: BTreeMap<Name, BTreeSet<Name>> = groups.iter().map(|group| (group.clone(), BTreeSet::new())).collect();
    for member in all {
        for _ in 0..random.below(each + 1) {
            map.entry(random.of(groups).clone()).or_default().insert(member.clone());
        }
    }
    map
}

impl World {
    /// A site of this size.
    pub fn new(size: Size) -> Self {
        let mut random = Random(1);
        let (persons, groups) = (names("person", size.persons), names("group", size.groups));
        let (doors, door_groups) = (names("door", size.doors), names("area", size.door_groups));
        let schedule = |zone: &str, text: &str| {
            Schedule::weekly(Zone::named(zone).expect("a zone"), Weekly::parse([text]).expect("an interval"))
        };
        let mut office = schedule("Europe/Berlin", "Mon-Fri 06:00-20:00");
        let public = Name::new("public").expect("a name");
        office.holidays.push((public.clone(), Hours::default()));
        let holidays = Calendars::from([(public, Calendar::parse(["12-25", "2026-11-18"]).expect("days"))]);
        let schedules =
            [("office".to_owned(), office), ("night".to_owned(), schedule("America/St_Johns", "daily 22:00-06:00"))]
                .into();
        let rules = (0..size.rules)
            .map(|n| {
                let forbids = random.below(100) < 2;
                let person = random.below(100) < 70;
                let door = random.below(100) < 70;
                Rule {
                    name: Name::new(&format!("rule{n}")).expect("a name"),
                    effect: if forbids { Effect::Forbid } else { Effect::Permit },
                    who: vec![if person {
                        Subject::Person(random.of(&persons).clone())
                    } else {
                        Subject::Group(random.of(&groups).clone())
                    }],
                    doors: vec![if door {
                        DoorSet::Door(random.of(&doors).clone())
                    } else {
                        DoorSet::Group(random.of(&door_groups).clone())
                    }],
                    by: By::USUAL,
                    priority: 0,
                    during: match random.below(4) {
                        0 => Some("office".to_owned()),
                        1 if forbids => Some("night".to_owned()),
                        _ => None,
                    },
                    from: None,
                    until: (random.below(10) == 0).then(|| WallTime::from_unix_seconds(1_900_000_000)),
                }
            })
            .collect();
        let set = RuleSet {
            zone: Zone::named("Europe/Berlin").expect("a zone"),
            groups: members(&groups, &persons, 3, &mut random),
            door_groups: members(&door_groups, &doors, 2, &mut random),
            holidays,
            schedules,
            rules,
            ..RuleSet::default()
        };
        Self { set, persons, doors }
    }

    /// So many questions.
    pub fn questions(&self, count: usize) -> Vec<Asked> {
        let mut random = Random(2);
        let permits: Vec<&Rule> = self.set.rules.iter().filter(|rule| rule.effect == Effect::Permit).collect();
        // Sets are slow to pick from.
        let lists = |sets: &BTreeMap<Name, BTreeSet<Name>>| -> BTreeMap<Name, Vec<Name>> {
            sets.iter().map(|(group, members)| (group.clone(), members.iter().cloned().collect())).collect()
        };
        let (groups, door_groups) = (lists(&self.set.groups), lists(&self.set.door_groups));
        (0..count)
            .map(|_| {
                let at = WallTime::from_unix_seconds(MONDAY_S + random.below(14 * 86_400) as i64);
                let rule = *random.of(&permits);
                let is_any = random.below(6) == 0;
                let person = match &rule.who[0] {
                    Subject::Person(name) => Some(name),
                    Subject::Group(group) => Some(&groups[group]).filter(|it| !it.is_empty()).map(|it| random.of(it)),
                    Subject::Anyone => None,
                };
                let door = match &rule.doors[0] {
                    DoorSet::Door(name) => Some(name),
                    DoorSet::Group(group) => {
                        Some(&door_groups[group]).filter(|it| !it.is_empty()).map(|it| random.of(it))
                    }
                    DoorSet::Any => None,
                };
                let person = person.filter(|_| !is_any).unwrap_or_else(|| random.of(&self.persons));
                Asked {
                    person: person.clone(),
                    door: door.filter(|_| !is_any).unwrap_or_else(|| random.of(&self.doors)).clone(),
                    at,
                }
            })
            .collect()
    }
}
