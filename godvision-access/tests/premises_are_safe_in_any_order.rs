//! Whatever happens in whatever order, and wherever the power fails: checked against a model that is written anew here,
//! as plainly as it can be, over every short sequence and over many long ones.

mod premises_world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use godvision_access::premises::{
    AreaPlan, Asked, DoorPlan, Effect, Event, FirstCard, Freedom, GRANT_MAX, GrantId, Ledger, Mode, Passback, Plan,
    Premises,
};
use godvision_access::rule::RuleSet;
use godvision_core::signal::door::{DoorSense, DoorState, Reason};
use godvision_core::{MonoTime, Name, Stamp, WallTime};
use premises_world::{MONDAY_0800_S, card, name, site};
use proptest::prelude::*;

/// Outer and inner door of a mantrap before the lab, and a side door into it.
const DOORS: [&str; 3] = ["outer", "inner", "side"];
const INTERLOCKED: [&str; 2] = ["outer", "inner"];
const PERSONS: [&str; 3] = ["ada", "bob", "vic"];
const OCCUPANCY_MAX: u32 = 2;

fn rules() -> RuleSet {
    site(|layout| {
        let area = AreaPlan { passback: Passback::Hard, occupancy_max: Some(OCCUPANCY_MAX), ..AreaPlan::default() };
        layout.areas.insert(name("lab"), area);
        layout.areas.insert(name("trap"), AreaPlan::default());
        let doors = [("outer", None, "trap"), ("inner", Some("trap"), "lab"), ("side", None, "lab")];
        for (door, from, into) in doors {
            let exit_sources = [name(&format!("{door}/in"))].into();
            let first = FirstCard { during: "office".into(), by: Some(name("staff")) };
            let first_card = (door == "side").then_some(first);
            let plan = DoorPlan {
                from: from.map(name),
                into: Some(name(into)),
                exit_sources,
                first_card,
                ..DoorPlan::default()
            };
            layout.doors.insert(name(door), plan);
        }
        layout.interlocks.insert(name("mantrap"), INTERLOCKED.map(name).into());
    })
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Person, door, leaving, permitted by the rules; the lock is told at once.
    Card(usize, usize, bool, bool),
    /// The same, and it is still being journalled.
    Ask(usize, usize, bool),
    /// The oldest of those is journalled: the lock may be told.
    Begin(usize),
    Exit(usize),
    /// The relay carries out what it was told, or says that the lock is shut again, or that nobody knows.
    Unlocks(usize),
    Locks(usize),
    Fails(usize),
    Opens(usize),
    Shuts(usize),
    Withdraws(usize),
    Lockdown(usize, bool),
    Emergency(bool),
    Wait(u16),
    PowerCut,
}

#[derive(Clone, Default)]
struct DoorModel {
    is_known: bool,
    is_unlocked: bool,
    leaf: Option<bool>,
    /// Granted, in this order, and not yet done.
    granted: Vec<Granted>,
    passing: Vec<(Vec<Name>, bool)>,
    is_locked_down: bool,
    /// Somebody of the staff went first.
    is_freed: bool,
}

#[derive(Clone)]
struct Granted {
    persons: Vec<Name>,
    is_leaving: bool,
    until: MonoTime,
    id: GrantId,
    /// The lock has been told.
    is_told: bool,
}

impl DoorModel {
    /// Those whom the lock was told to let in.
    fn take_told(&mut self) -> Vec<(Vec<Name>, bool)> {
        let (told, rest) = std::mem::take(&mut self.granted).into_iter().partition(|it: &Granted| it.is_told);
        self.granted = rest;
        told.into_iter().map(|it| (it.persons, it.is_leaving)).collect()
    }
}

/// The model: what must be true, kept apart from what is under test.
#[derive(Clone)]
struct Model {
    premises: Premises,
    now: Stamp,
    kept: Ledger,
    doors: BTreeMap<Name, DoorModel>,
    at: BTreeMap<Name, Option<&'static str>>,
    is_emergency: bool,
    plan: Plan,
}

fn target(door: &str, is_leaving: bool) -> Option<&'static str> {
    match (door, is_leaving) {
        ("outer", false) | ("inner", true) => Some("trap"),
        ("outer", true) | ("side", true) => None,
        _ => Some("lab"),
    }
}

impl Model {
    fn new() -> Self {
        let plan = Plan::of(&rules()).unwrap();
        let now = Stamp::new(MonoTime::from_millis(1_000), WallTime::from_unix_seconds(MONDAY_0800_S));
        let premises = Premises::new(plan.clone(), DOORS.map(name));
        let doors = DOORS.map(|door| (name(door), DoorModel::default())).into();
        let (kept, at) = (Ledger::default(), BTreeMap::new());
        Self { premises, now, kept, doors, at, is_emergency: false, plan }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Card(person, door, is_leaving, is_permitted) => {
                if let Some(id) = self.ask(person, door, is_leaving, is_permitted) {
                    assert!(self.begin(door, id), "nothing came between");
                }
            }
            Act::Ask(person, door, is_leaving) => drop(self.ask(person, door, is_leaving, true)),
            Act::Begin(door) => {
                if let Some(id) = self.door(door).granted.iter().find(|it| !it.is_told).map(|it| it.id) {
                    assert!(self.begin(door, id), "it stands");
                }
            }
            Act::Exit(door) => {
                let effects = self.step(Event::Sense { door: name(DOORS[door]), sense: DoorSense::ExitRequested });
                let unlock = effects.iter().find_map(|effect| match effect {
                    Effect::Unlock { door: it, grant } if *it == name(DOORS[door]) => Some(*grant),
                    _ => None,
                });
                if let Some(grant) = unlock {
                    self.check_interlock(DOORS[door]);
                    let until = self.now.mono + GRANT_MAX;
                    let granted = Granted { persons: vec![], is_leaving: true, until, id: grant, is_told: true };
                    self.door(door).granted.push(granted);
                }
            }
            Act::Unlocks(door) => self.unlocks(door),
            Act::Locks(door) => self.lock_says(door, DoorState::Locked),
            Act::Fails(door) => self.lock_says(door, DoorState::Fault),
            Act::Opens(door) => self.opens(door),
            Act::Shuts(door) => {
                self.door(door).leaf = Some(false);
                self.step(Event::Sense { door: name(DOORS[door]), sense: DoorSense::Ajar(false) });
            }
            Act::Withdraws(door) => {
                let Some(Granted { id: grant, .. }) = self.door(door).granted.pop() else { return };
                self.step(Event::Withdrawn { door: name(DOORS[door]), grant });
            }
            Act::Lockdown(door, is_on) => {
                let entry = self.door(door);
                if is_on && !entry.is_locked_down {
                    entry.granted.clear();
                }
                entry.is_freed &= entry.is_locked_down == is_on;
                entry.is_locked_down = is_on;
                self.step(Event::Lockdown { door: name(DOORS[door]), is_on });
            }
            Act::Emergency(is_on) => {
                self.is_emergency = is_on;
                self.step(Event::Emergency { is_on });
            }
            Act::Wait(seconds) => {
                let by = Duration::from_secs(seconds.into());
                self.now.mono = self.now.mono + by;
                self.now.wall = self.now.wall.plus_micros(i64::from(seconds) * 1_000_000);
                self.step(Event::Tick);
            }
            Act::PowerCut => {
                self.premises = Premises::restore(self.plan.clone(), DOORS.map(name), &self.kept, self.now);
                for door in self.doors.values_mut() {
                    // Relays with a timer have ended their pulses; nobody has said so yet.
                    let is_locked_down = door.is_locked_down;
                    *door = DoorModel { is_locked_down, ..DoorModel::default() };
                }
                self.step(Event::Tick);
            }
        }
        self.check();
    }

    fn door(&mut self, door: usize) -> &mut DoorModel {
        self.doors.get_mut(&name(DOORS[door])).unwrap()
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.premises.step(event, self.now);
        self.keep(&effects);
        effects
    }

    fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Keep(kept) = effect {
                self.kept.apply(kept.clone());
            }
        }
        let now = self.now.mono;
        let is_office = self.now.wall < WallTime::from_unix_seconds(MONDAY_0800_S + 10 * 3600);
        for door in self.doors.values_mut() {
            door.granted.retain(|it| it.until > now);
            door.is_freed &= is_office;
        }
    }

    fn ask(&mut self, person: usize, door: usize, is_leaving: bool, is_permitted: bool) -> Option<GrantId> {
        let (person, door_name) = (name(PERSONS[person]), name(DOORS[door]));
        let source = name(&format!("{}/{}", DOORS[door], if is_leaving { "in" } else { "out" }));
        let rules = if is_permitted { Ok(()) } else { Err(Reason::NoRule) };
        let asked = Asked { person: Some(&person), rules, ..card(&door_name, &source) };
        let mut effects = Vec::new();
        let result = self.premises.ask(&asked, self.now, &mut effects);
        self.keep(&effects);
        let Ok(grant) = result else { return None };
        assert!(is_permitted, "the rules refused");
        assert!(!self.doors[&door_name].is_locked_down, "locked down");
        self.check_interlock(DOORS[door]);
        if !is_leaving && target(DOORS[door], false) == Some("lab") {
            assert_ne!(self.at.get(&person), Some(&Some("lab")), "{person} is inside already");
            let coming = |(other, entry): (&Name, &DoorModel)| {
                let granted = entry.granted.iter().map(|it| (&it.persons, it.is_leaving));
                let on_their_way = granted.chain(entry.passing.iter().map(|(persons, leaving)| (persons, *leaving)));
                on_their_way
                    .filter(|(_, leaving)| target(other.as_str(), *leaving) == Some("lab"))
                    .flat_map(|(persons, _)| persons.clone())
                    .collect::<Vec<_>>()
            };
            let by_another_door = self.doors.iter().filter(|(other, _)| **other != door_name).flat_map(coming);
            assert!(!by_another_door.into_iter().any(|other| other == person), "{person} is on their way in already");
            let mut inside: BTreeSet<Name> = self.doors.iter().flat_map(coming).collect();
            inside.extend(self.at.iter().filter(|(_, at)| **at == Some("lab")).map(|(person, _)| person.clone()));
            inside.remove(&person);
            assert!(inside.len() < OCCUPANCY_MAX as usize, "the lab is full: {inside:?}");
        }
        let until = self.now.mono + GRANT_MAX;
        let granted = Granted { persons: vec![person], is_leaving, until, id: grant.id, is_told: false };
        self.door(door).granted.push(granted);
        Some(grant.id)
    }

    fn begin(&mut self, door: usize, id: GrantId) -> bool {
        let (now, mut effects) = (self.now, Vec::new());
        let is_begun = self.premises.begin(&name(DOORS[door]), id, now, &mut effects);
        let is_office = now.wall < WallTime::from_unix_seconds(MONDAY_0800_S + 10 * 3600);
        let entry = self.door(door);
        if let Some(granted) = entry.granted.iter_mut().find(|it| it.id == id) {
            granted.is_told = true;
            let is_staff = granted.persons.iter().any(|person| ["ada", "bob"].contains(&person.as_str()));
            entry.is_freed |= DOORS[door] == "side" && is_staff && is_office;
            entry.is_known = false;
        }
        self.keep(&effects);
        self.step(Event::Lock { door: name(DOORS[door]), state: DoorState::Unlocking });
        is_begun
    }

    /// Nothing opens beside another door of the interlock that is open, opening or unknown.
    fn check_interlock(&self, door: &str) {
        if !INTERLOCKED.contains(&door) {
            return;
        }
        for other in INTERLOCKED.into_iter().filter(|other| *other != door) {
            let other = &self.doors[&name(other)];
            assert!(other.is_known && !other.is_unlocked, "the other lock is open or unknown");
            assert!(other.leaf != Some(true), "the other leaf is open");
            assert!(other.granted.is_empty(), "the other is about to open");
        }
        assert!(!self.is_emergency, "everything is free");
    }

    /// A lock unlocks only if it was told to.
    fn unlocks(&mut self, door: usize) {
        let is_free = matches!(self.premises.mode(&name(DOORS[door])), Mode::Free(_));
        let entry = self.door(door);
        let came = entry.take_told();
        if came.is_empty() && !is_free {
            return;
        }
        (entry.is_unlocked, entry.is_known) = (true, true);
        if entry.leaf == Some(false) {
            entry.passing.extend(came);
        } else {
            self.pass(DOORS[door], came);
        }
        self.step(Event::Lock { door: name(DOORS[door]), state: DoorState::Unlocked });
    }

    fn pass(&mut self, door: &str, came: Vec<(Vec<Name>, bool)>) {
        for (persons, leaving) in came {
            for person in persons {
                self.at.insert(person, target(door, leaving));
            }
        }
    }

    fn lock_says(&mut self, door: usize, state: DoorState) {
        let entry = self.door(door);
        entry.is_known = state == DoorState::Locked;
        entry.is_unlocked &= state != DoorState::Locked;
        if state == DoorState::Locked && entry.leaf != Some(true) {
            entry.passing.clear();
        }
        self.step(Event::Lock { door: name(DOORS[door]), state });
    }

    fn opens(&mut self, door: usize) {
        let entry = self.door(door);
        if entry.leaf != Some(true) {
            entry.leaf = Some(true);
            let mut came = std::mem::take(&mut entry.passing);
            came.extend(entry.take_told());
            self.pass(DOORS[door], came);
        }
        self.step(Event::Sense { door: name(DOORS[door]), sense: DoorSense::Ajar(true) });
    }

    /// What holds at every moment.
    fn check(&self) {
        for (door, entry) in &self.doors {
            let expected = match () {
                () if self.is_emergency => Mode::Free(Freedom::Emergency),
                () if entry.is_locked_down => Mode::LockedDown,
                () if entry.is_freed => Mode::Free(Freedom::FirstCard),
                () => Mode::Normal,
            };
            assert_eq!(self.premises.mode(door), expected, "{door}");
            let wake = self.premises.next_wake(door, self.now.mono);
            assert!(wake > self.now.mono, "{door} would be looked at again and again");
        }
        for area in ["lab", "trap"] {
            let area_name = name(area);
            let inside: Vec<&Name> = self.premises.inside(&area_name, self.now).collect();
            let expected: Vec<&Name> =
                self.at.iter().filter(|(_, at)| **at == Some(area)).map(|(person, _)| person).collect();
            assert_eq!(inside, expected, "who is in the {area}");
        }
        // A power cut now would forget nobody's place and no lockdown.
        let after = Premises::restore(self.plan.clone(), DOORS.map(name), &self.kept, self.now);
        let lab = name("lab");
        assert!(after.inside(&lab, self.now).eq(self.premises.inside(&lab, self.now)), "kept: {:?}", self.kept);
        assert_eq!(after.is_emergency(), self.is_emergency);
    }

    /// When all is shut and quiet again, somebody permitted comes in by every door: nothing is stuck.
    fn check_nothing_is_stuck(mut self) {
        for door in 0..DOORS.len() {
            self.act(Act::Lockdown(door, false));
            self.act(Act::Shuts(door));
            self.act(Act::Locks(door));
        }
        self.act(Act::Emergency(false));
        self.act(Act::Wait(3600));
        for person in PERSONS {
            self.at.remove(&name(person));
            self.step(Event::Forgive { person: name(person) });
        }
        for (door, name) in DOORS.iter().enumerate() {
            let mut one = self.clone();
            one.act(Act::Card(0, door, false, true));
            assert!(!one.door(door).granted.is_empty(), "{name} opens to nobody any more");
        }
    }
}

fn short_acts() -> Vec<Act> {
    let mut acts = vec![Act::Emergency(true), Act::Wait(31), Act::PowerCut, Act::Lockdown(1, true), Act::Withdraws(0)];
    for door in 0..2 {
        acts.extend([Act::Card(0, door, false, true), Act::Exit(door), Act::Unlocks(door), Act::Locks(door)]);
        acts.extend([Act::Opens(door), Act::Shuts(door)]);
    }
    acts.extend([Act::Card(0, 2, false, true), Act::Ask(1, 2, false), Act::Begin(2), Act::Unlocks(2)]);
    acts
}

/// Every sequence of four acts (280 000 of them) from a locked site, and shorter ones from a site that has just started
/// and from one with somebody inside.
#[test]
fn every_short_sequence_is_safe() {
    fn deeper(model: &Model, acts: &[Act], depth: usize) {
        for act in acts {
            let mut next = model.clone();
            next.act(*act);
            if depth > 1 {
                deeper(&next, acts, depth - 1);
            }
        }
    }
    let acts = short_acts();
    let mut locked = Model::new();
    (0..DOORS.len()).for_each(|door| locked.act(Act::Locks(door)));
    deeper(&locked, &acts, 4);
    deeper(&Model::new(), &acts, 2);
    let mut inside = locked.clone();
    for act in [Act::Card(0, 2, false, true), Act::Unlocks(2), Act::Locks(2)] {
        inside.act(act);
    }
    assert_eq!(inside.at.get(&name("ada")), Some(&Some("lab")), "the model itself lets people in");
    deeper(&inside, &acts, 3);
}

fn any_act() -> impl Strategy<Value = Act> {
    let door = 0..DOORS.len();
    prop_oneof![
        6 => (0..PERSONS.len(), door.clone(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(person, door, leaving, permitted)| Act::Card(person, door, leaving, permitted)),
        2 => (0..PERSONS.len(), door.clone(), any::<bool>()).prop_map(|(person, door, leaving)| Act::Ask(person, door, leaving)),
        3 => door.clone().prop_map(Act::Begin),
        1 => door.clone().prop_map(Act::Exit),
        6 => door.clone().prop_map(Act::Unlocks),
        5 => door.clone().prop_map(Act::Locks),
        1 => door.clone().prop_map(Act::Fails),
        3 => door.clone().prop_map(Act::Opens),
        4 => door.clone().prop_map(Act::Shuts),
        1 => door.clone().prop_map(Act::Withdraws),
        1 => (door, any::<bool>()).prop_map(|(door, is_on)| Act::Lockdown(door, is_on)),
        1 => prop::bool::weighted(0.3).prop_map(Act::Emergency),
        4 => prop_oneof![Just(1), Just(14), Just(16), Just(29), Just(31), Just(300)].prop_map(Act::Wait),
        1 => Just(Act::PowerCut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_long_sequence_is_safe_and_nothing_is_stuck_after_it(acts in prop::collection::vec(any_act(), 1..120)) {
        let mut model = Model::new();
        (0..DOORS.len()).for_each(|door| model.act(Act::Locks(door)));
        for act in acts {
            model.act(act);
        }
        model.check_nothing_is_stuck();
    }
}
