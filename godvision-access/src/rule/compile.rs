//! From a [`RuleSet`] to the index that decides: (door, subject) -> rules, forbidding ones first.
//!
//! Persons, doors and groups become numbers; the index is asked once for each pair of (a door key, a subject key), that
//! is (1 + groups of the door + any) x (1 + groups of the person + anyone) times, whatever the number of rules.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use godvision_core::Name;

use super::{DoorSet, Effect, GROUPS_EACH_MAX, PAIRS_MAX, RuleSet, Subject};
use crate::error::{Error, RuleFault};
use crate::schedule::{Weekly, Zone};

/// The key of "anyone" and of "any door".
pub(super) const EVERY: u32 = 0;
/// A rule without a schedule.
pub(super) const ALWAYS: u32 = u32::MAX;

/// A rule set ready to decide. Immutable: build a new one and swap.
#[derive(Clone, Debug, Default)]
pub struct CompiledRules {
    pub(super) persons: HashMap<Name, Keys>,
    pub(super) doors: HashMap<Name, Keys>,
    /// Group keys that [`Keys`] point into.
    pub(super) groups: Vec<u32>,
    pub(super) index: HashMap<u64, Bucket, BuildHasherDefault<PairHasher>>,
    /// Rule numbers that buckets point into; ascending within each half of a bucket.
    pub(super) members: Vec<u32>,
    pub(super) rules: Vec<Conditions>,
    pub(super) names: Vec<Name>,
    pub(super) schedules: Vec<(u32, Weekly)>,
    pub(super) zones: Vec<Zone>,
    door_groups: HashMap<Name, Vec<Name>>,
}

impl CompiledRules {
    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none: everything is refused.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The door groups that hold `door`.
    pub fn groups_of_door(&self, door: &Name) -> &[Name] {
        self.door_groups.get(door).map_or(&[], Vec::as_slice)
    }

    pub(super) fn groups_at(&self, keys: Option<&Keys>) -> &[u32] {
        keys.and_then(|keys| self.groups.get(keys.groups_from as usize..keys.groups_to as usize)).unwrap_or(&[])
    }
}

/// What the index knows about one person or door.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub(super) own: u32,
    groups_from: u32,
    groups_to: u32,
}

/// Rules about one pair: `members[start..forbids_end]` forbid, `members[forbids_end..end]` permit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    pub(super) start: u32,
    pub(super) forbids_end: u32,
    pub(super) end: u32,
}

/// When and by what a rule applies. 24 bytes, so that one cache line holds two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) from_micros: i64,
    pub(super) until_micros: i64,
    pub(super) schedule: u32,
    pub(super) by: super::Kinds,
}

pub(super) fn pair(door: u32, subject: u32) -> u64 {
    u64::from(door) << 32 | u64::from(subject)
}

/// One multiplication by an odd constant, its halves folded. The keys are our own numbers, so nobody can choose collisions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(value ^ 0x9e37_79b9_7f4a_7c15) * u128::from(0xd6e8_feb8_6659_fd93_u64);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

/// Gives names numbers from 1 on.
#[derive(Default)]
struct Numbers(HashMap<Name, u32>);

impl Numbers {
    fn of(&mut self, name: &Name, next: &mut u32) -> u32 {
        *self.0.entry(name.clone()).or_insert_with(|| {
            *next += 1;
            *next
        })
    }
}

pub(super) fn compile(set: &RuleSet) -> Result<CompiledRules, Error> {
    let mut seen = std::collections::HashSet::with_capacity(set.rules.len());
    let mut pairs_count = 0usize;
    for rule in &set.rules {
        let fault = |fault| Error::Rule { rule: rule.name.to_string(), fault };
        set.check(rule).map_err(fault)?;
        if !seen.insert(&rule.name) {
            return Err(fault(RuleFault::Twice { name: rule.name.to_string() }));
        }
        pairs_count = pairs_count.saturating_add(rule.who.len().saturating_mul(rule.doors.len()));
        if pairs_count > PAIRS_MAX {
            return Err(fault(RuleFault::TooMany { what: "pairs of subject and door", limit: PAIRS_MAX }));
        }
    }
    let mut compiled = CompiledRules {
        names: set.rules.iter().map(|rule| rule.name.clone()).collect(),
        zones: vec![set.zone.clone()],
        ..CompiledRules::default()
    };
    let mut schedule_numbers = HashMap::new();
    for (number, (name, schedule)) in (0u32..).zip(&set.schedules) {
        let zone = compiled.zones.iter().position(|zone| *zone == schedule.zone).unwrap_or_else(|| {
            compiled.zones.push(schedule.zone.clone());
            compiled.zones.len() - 1
        });
        compiled.schedules.push((zone as u32, schedule.weekly.clone()));
        schedule_numbers.insert(name.as_str(), number);
    }
    let (mut subject_next, mut door_next) = (EVERY, EVERY);
    let (mut person_keys, mut group_keys) = (Numbers::default(), Numbers::default());
    let (mut door_keys, mut door_group_keys) = (Numbers::default(), Numbers::default());
    let mut pairs: Vec<(u64, bool, u32)> = Vec::with_capacity(pairs_count);
    for (number, rule) in (0u32..).zip(&set.rules) {
        compiled.rules.push(Conditions {
            from_micros: rule.from.map_or(i64::MIN, |from| from.as_unix_micros()),
            until_micros: rule.until.map_or(i64::MAX, |until| until.as_unix_micros()),
            schedule: rule.during.as_deref().and_then(|name| schedule_numbers.get(name)).copied().unwrap_or(ALWAYS),
            by: rule.by,
        });
        for subject in &rule.who {
            let subject = match subject {
                Subject::Anyone => EVERY,
                Subject::Person(name) => person_keys.of(name, &mut subject_next),
                Subject::Group(name) => group_keys.of(name, &mut subject_next),
            };
            for door in &rule.doors {
                let door = match door {
                    DoorSet::Any => EVERY,
                    DoorSet::Door(name) => door_keys.of(name, &mut door_next),
                    DoorSet::Group(name) => door_group_keys.of(name, &mut door_next),
                };
                pairs.push((pair(door, subject), rule.effect == Effect::Permit, number));
            }
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    let groups = &mut compiled.groups;
    compiled.persons = memberships(&set.groups, &mut person_keys, &group_keys, &mut subject_next, groups)?;
    compiled.doors = memberships(&set.door_groups, &mut door_keys, &door_group_keys, &mut door_next, groups)?;
    for (group, doors) in &set.door_groups {
        for door in doors {
            compiled.door_groups.entry(door.clone()).or_default().push(group.clone());
        }
    }
    fill_index(&mut compiled, &pairs);
    Ok(compiled)
}

/// Keys of every member of a group and of everybody else a rule names. Groups that no rule names are left out.
fn memberships(
    all: &std::collections::BTreeMap<Name, std::collections::BTreeSet<Name>>,
    own: &mut Numbers,
    group_keys: &Numbers,
    next: &mut u32,
    groups: &mut Vec<u32>,
) -> Result<HashMap<Name, Keys>, Error> {
    let mut of_member: HashMap<&Name, Vec<u32>> = HashMap::new();
    for (group, members) in all {
        let Some(key) = group_keys.0.get(group) else { continue };
        for member in members {
            let keys = of_member.entry(member).or_default();
            if keys.len() == GROUPS_EACH_MAX {
                let fault = RuleFault::TooMany { what: "groups with the same member", limit: GROUPS_EACH_MAX };
                return Err(Error::Rule { rule: member.to_string(), fault });
            }
            keys.push(*key);
            own.of(member, next);
        }
    }
    let mut keys = HashMap::with_capacity(own.0.len());
    for (name, number) in &own.0 {
        let groups_from = groups.len() as u32;
        groups.extend(of_member.get(name).into_iter().flatten());
        keys.insert(name.clone(), Keys { own: *number, groups_from, groups_to: groups.len() as u32 });
    }
    Ok(keys)
}

/// `pairs` is sorted by pair, then forbids before permits, then by rule.
fn fill_index(compiled: &mut CompiledRules, pairs: &[(u64, bool, u32)]) {
    compiled.members = pairs.iter().map(|(_, _, rule)| *rule).collect();
    let mut start = 0u32;
    for same in pairs.chunk_by(|(a, ..), (b, ..)| a == b) {
        let forbids = same.iter().take_while(|(_, permits, _)| !permits).count() as u32;
        let end = start + same.len() as u32;
        if let Some((pair, ..)) = same.first() {
            compiled.index.insert(*pair, Bucket { start, forbids_end: start + forbids, end });
        }
        start = end;
    }
}
