//! A site for the tests of premises: two rooms behind one another, a mantrap, a clock of its own.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Duration;

use godvision_access::premises::{Asked, Effect, Event, Grant, Layout, Ledger, Plan, Premises};
use godvision_access::rule::{CredentialKind, Kinds, RuleSet};
use godvision_core::signal::door::{AlarmKind, DoorSense, DoorState, Reason};
use godvision_core::{MonoTime, Name, Stamp, WallTime};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Monday 2026-11-23, 08:00 UTC.
pub(crate) const MONDAY_0800_S: i64 = 1_795_420_800;

pub(crate) struct World {
    pub(crate) premises: Premises,
    pub(crate) now: Stamp,
    pub(crate) effects: Vec<Effect>,
    pub(crate) kept: Ledger,
}

impl World {
    pub(crate) fn new(plan: Plan, doors: &[&str]) -> Self {
        let now = Stamp::new(MonoTime::from_millis(1_000), WallTime::from_unix_seconds(MONDAY_0800_S));
        let premises = Premises::new(plan, doors.iter().map(|door| name(door)));
        let mut world = Self { premises, now, effects: Vec::new(), kept: Ledger::default() };
        for door in doors {
            world.lock(door, DoorState::Locked);
        }
        world
    }

    pub(crate) fn of(rules: RuleSet, doors: &[&str]) -> Self {
        Self::new(Plan::of(&rules).unwrap(), doors)
    }

    pub(crate) fn step(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.premises.step(event, self.now);
        self.keep(&effects);
        self.effects.extend(effects.iter().cloned());
        effects
    }

    fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Keep(kept) = effect {
                self.kept.apply(kept.clone());
            }
        }
    }

    pub(crate) fn wait(&mut self, by: Duration) -> Vec<Effect> {
        self.now.mono = self.now.mono + by;
        self.now.wall = self.now.wall.plus_micros(i64::try_from(by.as_micros()).unwrap());
        self.step(Event::Tick)
    }

    pub(crate) fn wait_s(&mut self, seconds: u64) -> Vec<Effect> {
        self.wait(Duration::from_secs(seconds))
    }

    pub(crate) fn lock(&mut self, door: &str, state: DoorState) -> Vec<Effect> {
        self.step(Event::Lock { door: name(door), state })
    }

    pub(crate) fn sense(&mut self, door: &str, sense: DoorSense) -> Vec<Effect> {
        self.step(Event::Sense { door: name(door), sense })
    }

    /// Asks, and tells the lock if the answer is yes.
    pub(crate) fn ask_with(&mut self, asked: &Asked<'_>) -> Result<Grant, Reason> {
        let result = self.ask_only(asked);
        if let Ok(grant) = &result {
            assert!(self.begin(asked.door, grant), "nothing came between");
        }
        result
    }

    pub(crate) fn begin(&mut self, door: &Name, grant: &Grant) -> bool {
        let mut effects = Vec::new();
        let is_begun = self.premises.begin(door, grant.id, self.now, &mut effects);
        self.keep(&effects);
        self.effects.extend(effects);
        is_begun
    }

    pub(crate) fn ask_only(&mut self, asked: &Asked<'_>) -> Result<Grant, Reason> {
        let mut effects = Vec::new();
        let result = self.premises.ask(asked, self.now, &mut effects);
        self.keep(&effects);
        self.effects.extend(effects);
        result
    }

    /// `person` shows a card at the outer reader of `door`, and the rules permit it.
    pub(crate) fn card(&mut self, door: &str, person: &str) -> Result<Grant, Reason> {
        self.card_at(door, &format!("{door}/outer"), person)
    }

    /// The same at the inner reader.
    pub(crate) fn card_inside(&mut self, door: &str, person: &str) -> Result<Grant, Reason> {
        self.card_at(door, &format!("{door}/inner"), person)
    }

    fn card_at(&mut self, door: &str, source: &str, person: &str) -> Result<Grant, Reason> {
        let (door, source, person) = (name(door), name(source), name(person));
        self.ask_with(&Asked { person: Some(&person), ..card(&door, &source) })
    }

    /// Shows a card, goes through and lets the door lock again.
    pub(crate) fn goes_in(&mut self, door: &str, person: &str) -> Result<(), Reason> {
        self.card(door, person)?;
        self.through(door);
        Ok(())
    }

    pub(crate) fn goes_out(&mut self, door: &str, person: &str) -> Result<(), Reason> {
        self.card_inside(door, person)?;
        self.through(door);
        Ok(())
    }

    /// The lock opens and locks again.
    pub(crate) fn through(&mut self, door: &str) {
        self.lock(door, DoorState::Unlocked);
        self.wait_s(1);
        self.lock(door, DoorState::Locked);
    }

    pub(crate) fn inside(&self, area: &str) -> Vec<String> {
        self.premises.inside(&name(area), self.now).map(Name::to_string).collect()
    }

    /// Alarms raised since the last call.
    pub(crate) fn alarms(&mut self) -> Vec<(AlarmKind, bool)> {
        let effects = std::mem::take(&mut self.effects);
        let of = |effect| match effect {
            Effect::Alarm(alarm) => Some((alarm.kind, alarm.raised)),
            _ => None,
        };
        effects.into_iter().filter_map(of).collect()
    }
}

pub(crate) fn card<'a>(door: &'a Name, source: &'a Name) -> Asked<'a> {
    Asked {
        door,
        source,
        person: None,
        kind: CredentialKind::Card,
        presented: Kinds::default().with(CredentialKind::Card),
        rules: Ok(()),
        completing: Kinds::default(),
        is_guess: false,
        is_duress: false,
        to_spend: None,
    }
}

/// Rules without a rule: groups and schedules for the layout that `fill` gives.
pub(crate) fn site(fill: impl FnOnce(&mut Layout)) -> RuleSet {
    let mut rules = RuleSet::parse(
        r#"
        version = 1
        [groups]
        staff = ["ada", "bob"]
        visitors = ["vic", "viv"]
        guards = ["gus"]
        [schedules]
        office = ["Mon-Fri 08:00-18:00"]
        "#,
    )
    .unwrap();
    fill(&mut rules.layout);
    rules
}
