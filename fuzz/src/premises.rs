//! What happens on the premises, in any order: nothing is granted that the rules refused, an interlock holds, and what is
//! kept restores what was.

use godvision_access::premises::{Asked, Effect, Event, Ledger, Mode, Plan, Premises};
use godvision_access::rule::{CredentialKind, Kinds, RuleSet};
use godvision_core::signal::door::{DoorSense, DoorState, Reason};
use godvision_core::{MonoTime, Name, Stamp, WallTime};

use crate::{Input, Reached};

const RULES: &str = r#"
    version = 1
    [groups]
    visitors = ["vic"]
    staff = ["ada"]
    [schedules]
    office = ["Mon-Fri 08:00-18:00"]
    [areas]
    lab = { anti_passback = "hard", occupancy_max = 2, two_person = true, forget_after = "5min" }
    [doors]
    outer = { into = "lab", exit_sources = ["inside"], escort_of = "visitors", escort_by = "staff" }
    inner = { into = "lab", two_person = true }
    gate = { first_card_during = "office", lockdown_override = "staff" }
    [interlocks]
    mantrap = ["outer", "inner"]
"#;
const DOORS: [&str; 3] = ["outer", "inner", "gate"];

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// A text that the first byte chooses to read as kept lines, or bytes as acts.
pub fn premises(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    if input.byte() == b'#' { kept(input.rest()) } else { acts(&mut input) }
}

/// What parses prints the same; the ledger's own changes amount to the ledger.
fn kept(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return Reached::Refused };
    let mut ledger = Ledger::default();
    for line in text.lines() {
        if let Ok(change) = line.parse::<godvision_access::premises::Kept>() {
            assert_eq!(change.to_string(), line);
            ledger.apply(change);
        }
    }
    assert_eq!(ledger.changes().count(), ledger.len());
    assert_eq!(ledger.changes().collect::<Ledger>(), ledger);
    let plan = Plan::of(&RuleSet::parse(RULES).expect("our own rules")).expect("a plan");
    let now = Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(1_795_420_800));
    let mut premises = Premises::restore(plan, DOORS.map(name), &ledger, now);
    premises.step(Event::Tick, now);
    Reached::when(!ledger.is_empty())
}

fn acts(input: &mut Input<'_>) -> Reached {
    let plan = Plan::of(&RuleSet::parse(RULES).expect("our own rules")).expect("a plan");
    let mut now = Stamp::new(MonoTime::from_millis(1), WallTime::from_unix_seconds(1_795_420_800));
    let mut premises = Premises::new(plan.clone(), DOORS.map(name));
    let mut ledger = Ledger::default();
    // Doors whose lock is known to be locked, and which hold no grant, as seen from here.
    let mut granted = 0;
    let mut locks = [DoorState::Unknown; 3];
    while !input.is_empty() {
        let [act, of, how] = input.array();
        let index = usize::from(of) % DOORS.len();
        let door = name(DOORS[index]);
        let mut effects = Vec::new();
        match act % 8 {
            0..=2 => {
                let person = name(["ada", "bob", "vic"][usize::from(of / 3) % 3]);
                let source = name(if how & 1 == 0 { "outside" } else { "inside" });
                let rules = if how & 2 == 0 { Ok(()) } else { Err(Reason::NotEnough) };
                let asked = Asked {
                    door: &door,
                    source: &source,
                    person: Some(&person).filter(|_| how & 64 == 0),
                    kind: if how & 4 == 0 { CredentialKind::Card } else { CredentialKind::Pin },
                    presented: Kinds::default().with(CredentialKind::Card),
                    rules,
                    completing: if how & 8 == 0 {
                        Kinds::default()
                    } else {
                        Kinds::default().with(CredentialKind::Pin)
                    },
                    is_guess: how & 16 != 0,
                    is_duress: how & 32 != 0,
                    to_spend: None,
                };
                let was_locked_down = premises.mode(&door) == Mode::LockedDown;
                if let Ok(grant) = premises.ask(&asked, now, &mut effects) {
                    granted += 1;
                    assert!(premises.begin(&door, grant.id, now, &mut effects), "nothing came between");
                    assert!(rules.is_ok(), "the rules refused");
                    assert!(!was_locked_down || person.as_str() == "ada", "locked down");
                    let other = ["inner", "outer"].get(index).and_then(|it| DOORS.iter().position(|door| door == it));
                    if let Some(other) = other {
                        assert_eq!(locks[other], DoorState::Locked, "the interlock");
                    }
                }
            }
            3 => {
                let states = [DoorState::Locked, DoorState::Unlocked, DoorState::Fault, DoorState::Unlocking];
                let state = states[usize::from(how) % states.len()];
                if state != DoorState::Unlocking {
                    locks[index] = state;
                }
                effects = premises.step(Event::Lock { door, state }, now);
            }
            4 => {
                let senses = [DoorSense::Ajar(true), DoorSense::Ajar(false), DoorSense::ExitRequested];
                effects = premises.step(Event::Sense { door, sense: senses[usize::from(how) % 3] }, now);
            }
            5 => effects = premises.step(Event::Lockdown { door, is_on: how & 1 == 0 }, now),
            6 => {
                let event = if how & 1 == 0 {
                    Event::Emergency { is_on: how & 2 == 0 }
                } else {
                    Event::Forgive { person: name("ada") }
                };
                effects = premises.step(event, now);
            }
            _ => {
                let seconds = u64::from(u16::from_be_bytes([of, how]));
                now.mono = now.mono + std::time::Duration::from_secs(seconds);
                now.wall = now.wall.plus_micros(seconds as i64 * 1_000_000);
                effects = premises.step(Event::Tick, now);
            }
        }
        for effect in effects {
            if let Effect::Keep(kept) = effect {
                ledger.apply(kept);
            }
        }
        let after = Premises::restore(plan.clone(), DOORS.map(name), &ledger, now);
        let lab = name("lab");
        assert!(after.inside(&lab, now).eq(premises.inside(&lab, now)), "who is inside outlives a power cut");
        assert_eq!(after.is_emergency(), premises.is_emergency());
        for door in DOORS.map(name) {
            assert!(premises.next_wake(&door, now.mono) >= MonoTime::ZERO);
        }
    }
    Reached::when(granted > 0)
}
