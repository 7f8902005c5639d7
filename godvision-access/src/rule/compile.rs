//! From a [`RuleSet`] to the index that decides.
//!
//! Persons, groups and doors become numbers (keys). The rules about one person stand together in one block behind the
//! person's name, so that one walk over a cache line or two finds those about this door. The rules about groups and about
//! anyone are few pairs for many persons: a table from (subject key, door key) to a block. A question asks it once for
//! each of (groups of the person + anyone) x (the door + its groups + any), whatever the number of rules. A person with
//! very many rules of their own is treated as a group of one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use godvision_core::Name;

use super::index::{Names, Pairs};
use super::{DoorSet, Effect, GROUPS_EACH_MAX, PAIRS_MAX, RuleSet, Subject};
use crate::error::{Error, RuleFault};
use crate::schedule::calendar::Days;
use crate::schedule::{Hours, Local, MINUTES_A_DAY, MINUTES_A_WEEK, MinuteOfWeek, Offsets, Schedule, Weekly, Zone};

/// The key of "anyone" and of "any door".
pub(super) const EVERY: u32 = 0;
/// A rule without a schedule.
pub(super) const ALWAYS: u32 = u32::MAX;
/// Most entries of a person's own block.
const OWN_MAX: usize = 16;

/// A rule set ready to decide. Immutable: build a new one and swap.
#[derive(Clone, Debug, Default)]
pub struct CompiledRules {
    pub(super) persons: Names,
    pub(super) doors: Names,
    /// Blocks of the persons' own rules.
    pub(super) own: Vec<Entry>,
    pub(super) pairs: Pairs,
    /// Blocks of the rules about groups and anyone, without their first entries: those that forbid first.
    pub(super) shared: Vec<Entry>,
    pub(super) whens: Vec<When>,
    /// Names of the rules by rank.
    pub(super) names: Vec<Name>,
    pub(super) schedules: Vec<Times>,
    schedule_numbers: BTreeMap<String, u32>,
    pub(super) zones: Vec<Offsets>,
    calendars: Vec<Days>,
    door_groups: HashMap<Name, Vec<Name>>,
    /// Whether a rule is about anyone, about any door.
    pub(super) has_anyone: bool,
    pub(super) has_any_door: bool,
}

impl CompiledRules {
    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none: everything is refused.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The door groups that hold `door`.
    pub fn groups_of_door(&self, door: &Name) -> &[Name] {
        self.door_groups.get(door).map_or(&[], Vec::as_slice)
    }

    /// Whether `at` is inside the schedule called `schedule`, holidays and all; `None` if there is none of this name or the
    /// clock was never set.
    pub fn is_during(&self, schedule: &str, at: godvision_core::WallTime) -> Option<bool> {
        let times = self.schedules.get(*self.schedule_numbers.get(schedule)? as usize)?;
        if !crate::schedule::is_plausible(at) {
            return None;
        }
        self.zones.get(times.zone as usize)?.local(at).map(|local| times.cover(local, &self.calendars))
    }

    pub(super) fn covers(&self, times: &Times, local: Local) -> bool {
        times.cover(local, &self.calendars)
    }
}

/// One rule about one pair. 16 bytes, so that a cache line holds four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The door key, in a person's own block.
    pub(super) door: u32,
    /// The place of the rule in the order in which one of several is named: prohibitions and permissions each ascending.
    pub(super) rank: u32,
    /// The bits of [`super::By`], and [`Entry::FORBIDS`].
    pub(super) by_bits: u32,
    /// Which of [`CompiledRules::whens`].
    pub(super) when: u32,
}

impl Entry {
    const FORBIDS: u32 = 1 << 31;
    /// For places in which there is none.
    pub(super) const NONE: Self = Self { door: 0, rank: 0, by_bits: 0, when: 0 };

    pub(super) fn forbids(self) -> bool {
        self.by_bits & Self::FORBIDS != 0
    }

    /// The alternatives as bits.
    pub(super) fn by(self) -> u32 {
        self.by_bits & !Self::FORBIDS
    }
}

/// A period and a schedule; rules share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct When {
    pub(super) from_micros: i64,
    pub(super) until_micros: i64,
    pub(super) schedule: u32,
}

/// A schedule for the engine.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) zone: u32,
    /// One bit for every minute of a week without holidays.
    week: Vec<u64>,
    pub(super) weekly: Weekly,
    /// Which of [`CompiledRules::calendars`], and what begins on its days.
    pub(super) holidays: Vec<(u32, Hours)>,
}

impl Times {
    fn new(schedule: &Schedule, zone: u32, calendars: &BTreeMap<&Name, u32>) -> Self {
        let mut week = vec![0u64; usize::from(MINUTES_A_WEEK).div_ceil(64)];
        for minute in (0..MINUTES_A_WEEK).filter_map(MinuteOfWeek::new).filter(|it| schedule.weekly.covers(*it)) {
            week.iter_mut()
                .skip(usize::from(minute.get() / 64))
                .take(1)
                .for_each(|word| *word |= 1 << (minute.get() % 64));
        }
        let hours = |(name, hours): &(Name, Hours)| Some((*calendars.get(name)?, hours.clone()));
        Self {
            zone,
            week,
            weekly: schedule.weekly.clone(),
            holidays: schedule.holidays.iter().filter_map(hours).collect(),
        }
    }

    fn cover(&self, local: Local, calendars: &[Days]) -> bool {
        let special = |date| {
            let is_in =
                |(calendar, _): &&(u32, Hours)| calendars.get(*calendar as usize).is_some_and(|it| it.has(date));
            self.holidays.iter().find(is_in).map(|(_, hours)| hours)
        };
        let yesterday = local.date.plus_days(-1);
        match (special(local.date), special(yesterday)) {
            (None, None) => {
                let minute = local.minute_of_week().get();
                self.week.get(usize::from(minute / 64)).is_some_and(|word| word >> (minute % 64) & 1 != 0)
            }
            (today, before) => {
                today.unwrap_or_else(|| self.weekly.on(local.date.weekday())).cover(local.minute)
                    || before.unwrap_or_else(|| self.weekly.on(yesterday.weekday())).cover(local.minute + MINUTES_A_DAY)
            }
        }
    }

    /// What may begin on some day: of the week and of its holidays.
    pub(super) fn all_hours(&self) -> impl Iterator<Item = &Hours> {
        (0..7).map(|day| self.weekly.on(day)).chain(self.holidays.iter().map(|(_, hours)| hours))
    }
}

fn check(set: &RuleSet) -> Result<usize, Error> {
    set.check_parts().map_err(|(rule, fault)| Error::Rule { rule, fault })?;
    let mut seen = HashSet::with_capacity(set.rules.len());
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
    Ok(pairs_count)
}

/// Gives names numbers; several share one counter.
#[derive(Default)]
struct Numbers<'a>(HashMap<&'a Name, u32>);

impl<'a> Numbers<'a> {
    fn of(&mut self, name: &'a Name, next: &mut u32) -> u32 {
        *self.0.entry(name).or_insert_with(|| {
            *next += 1;
            *next
        })
    }
}

pub(super) fn compile(set: &RuleSet) -> Result<CompiledRules, Error> {
    let pairs_count = check(set)?;
    let mut compiled = CompiledRules::default();
    times(set, &mut compiled);
    for (group, doors) in &set.door_groups {
        for door in doors {
            compiled.door_groups.entry(door.clone()).or_default().push(group.clone());
        }
    }
    let mut ranked: Vec<&super::Rule> = set.rules.iter().collect();
    // Stable: the document's order decides among equals.
    ranked.sort_by_key(|rule| (rule.effect == Effect::Permit, Reverse(rule.priority)));
    compiled.names = ranked.iter().map(|rule| rule.name.clone()).collect();

    let (mut subject_next, mut door_next, mut person_next) = (EVERY, EVERY, 0);
    let (mut persons, mut groups) = (Numbers::default(), Numbers::default());
    let (mut doors, mut door_groups) = (Numbers::default(), Numbers::default());
    let mut when_numbers: HashMap<When, u32> = HashMap::new();
    let (mut own, mut shared) = (Vec::with_capacity(pairs_count), Vec::new());
    for (rank, rule) in (0u32..).zip(ranked) {
        let number = |name: &String| compiled.schedule_numbers.get(name).copied();
        let when = When {
            from_micros: rule.from.map_or(i64::MIN, |from| from.as_unix_micros()),
            until_micros: rule.until.map_or(i64::MAX, |until| until.as_unix_micros()),
            schedule: rule.during.as_ref().and_then(number).unwrap_or(ALWAYS),
        };
        let whens = &mut compiled.whens;
        let when = *when_numbers.entry(when).or_insert_with(|| {
            whens.push(when);
            whens.len() as u32 - 1
        });
        let forbids = if rule.effect == Effect::Forbid { Entry::FORBIDS } else { 0 };
        for door in &rule.doors {
            let door = match door {
                DoorSet::Any => EVERY,
                DoorSet::Door(name) => doors.of(name, &mut door_next),
                DoorSet::Group(name) => door_groups.of(name, &mut door_next),
            };
            compiled.has_any_door |= door == EVERY;
            let entry = Entry { door, rank, by_bits: rule.by.bits() | forbids, when };
            for subject in &rule.who {
                match subject {
                    Subject::Person(name) => own.push((persons.of(name, &mut person_next), entry)),
                    Subject::Group(name) => shared.push((groups.of(name, &mut subject_next), entry)),
                    Subject::Anyone => {
                        compiled.has_anyone = true;
                        shared.push((EVERY, entry));
                    }
                }
            }
        }
    }
    sort(&mut own, |entry| (entry.rank, entry.door));
    let keys = members(&set.groups, &groups, compiled.has_anyone)?;
    let door_keys = members(&set.door_groups, &door_groups, compiled.has_any_door)?;
    keys.keys().for_each(|name| _ = persons.of(name, &mut person_next));
    door_keys.keys().for_each(|name| _ = doors.of(name, &mut door_next));

    let mut blocks: Vec<(u32, u32)> = vec![(0, 0); person_next as usize];
    let mut own_keys: HashMap<u32, u32> = HashMap::new();
    for block in own.chunk_by(|(a, _), (b, _)| a == b) {
        let Some((person, _)) = block.first() else { continue };
        if block.len() > OWN_MAX {
            subject_next += 1;
            own_keys.insert(*person, subject_next);
            shared.extend(block.iter().map(|(_, entry)| (subject_next, *entry)));
            continue;
        }
        let from = compiled.own.len() as u32;
        compiled.own.extend(without_idle(block));
        blocks.iter_mut().skip(*person as usize - 1).take(1).for_each(|it| *it = (from, compiled.own.len() as u32));
    }
    drop(own);
    sort(&mut shared, |entry| (entry.door, entry.rank));
    let mut table = Vec::new();
    for block in shared.chunk_by(|(a, x), (b, y)| (a, x.door) == (b, y.door)) {
        let Some((subject, entry)) = block.first() else { continue };
        let mut entries = without_idle(block);
        let from = compiled.shared.len() as u32;
        let first = entries.next().unwrap_or(*entry);
        compiled.shared.extend(entries);
        table.push(((*subject, entry.door), first, from, compiled.shared.len() as u32 - from));
    }
    compiled.pairs = Pairs::new(&table);
    let every = |is_used: bool| is_used.then_some(EVERY);
    compiled.persons = Names::new(persons.0.iter().map(|(name, person)| {
        let groups = keys.get(name).cloned().unwrap_or_else(|| every(compiled.has_anyone).into_iter().collect());
        let block = blocks.get(*person as usize - 1).copied().unwrap_or_default();
        (*name, own_keys.get(person).copied().into_iter().chain(groups).collect(), block)
    }));
    compiled.doors = Names::new(doors.0.iter().map(|(name, own)| {
        let groups = door_keys.get(name).cloned().unwrap_or_else(|| every(compiled.has_any_door).into_iter().collect());
        (*name, [*own].into_iter().chain(groups).collect(), (0, 0))
    }));
    Ok(compiled)
}

/// By subject, then by `order`; each once. Ranks of prohibitions are lower than those of permissions, so they come first.
fn sort(entries: &mut Vec<(u32, Entry)>, order: impl Fn(&Entry) -> (u32, u32)) {
    entries.sort_unstable_by_key(|(subject, entry)| (*subject, order(entry)));
    entries.dedup();
}

/// Without the entries that say what an earlier one says: such a rule is never the one that is named, and adds nothing.
fn without_idle(block: &[(u32, Entry)]) -> impl Iterator<Item = Entry> {
    let mut seen = HashSet::with_capacity(block.len());
    let is_first = move |entry: &Entry| seen.insert((entry.door, entry.by_bits, entry.when));
    block.iter().map(|(_, entry)| *entry).filter(is_first)
}

/// The keys of every member of a group that a rule names, with [`EVERY`] if a rule is about all.
fn members<'a>(
    all: &'a BTreeMap<Name, BTreeSet<Name>>,
    group_keys: &Numbers<'_>,
    has_every: bool,
) -> Result<HashMap<&'a Name, Vec<u32>>, Error> {
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
        }
    }
    if has_every {
        of_member.values_mut().for_each(|keys| keys.push(EVERY));
    }
    Ok(of_member)
}

fn times(set: &RuleSet, compiled: &mut CompiledRules) {
    let calendar_numbers: BTreeMap<&Name, u32> = set.holidays.keys().zip(0..).collect();
    compiled.calendars = set.holidays.values().map(|calendar| calendar.to_days()).collect();
    // The document's own zone is the first: the week of a person is shown by its clocks.
    let mut zones: Vec<&Zone> = vec![&set.zone];
    for (number, (name, schedule)) in (0u32..).zip(&set.schedules) {
        let zone = zones.iter().position(|zone| **zone == schedule.zone).unwrap_or_else(|| {
            zones.push(&schedule.zone);
            zones.len() - 1
        });
        compiled.schedules.push(Times::new(schedule, zone as u32, &calendar_numbers));
        compiled.schedule_numbers.insert(name.clone(), number);
    }
    compiled.zones = zones.into_iter().map(Zone::offsets).collect();
}
