//! Interlocks, free passage, lockdown, emergency, the exit button, doors held and forced open.

mod premises_world;

use std::time::Duration;

use godvision_access::premises::{DoorPlan, Effect, Escort, Event, FirstCard, Freedom, Kept, Mode, Plan, Premises};
use godvision_access::{Error, RuleFault};
use godvision_core::signal::door::{AlarmKind, DoorSense, DoorState, Reason};
use premises_world::{World, card, name, site};

fn one_door(door: DoorPlan) -> World {
    World::of(
        site(|layout| {
            layout.doors.insert(name("front"), door);
        }),
        &["front"],
    )
}

fn mantrap() -> World {
    let rules = site(|layout| {
        layout.interlocks.insert(name("mantrap"), ["outer", "inner"].map(name).into());
    });
    World::of(rules, &["outer", "inner", "elsewhere"])
}

fn exit_pressed(world: &mut World, door: &str) -> bool {
    let effects = world.sense(door, DoorSense::ExitRequested);
    let opens = effects.iter().any(|effect| matches!(effect, Effect::Unlock { door: it, .. } if *it == name(door)));
    assert_ne!(opens, effects.contains(&Effect::ExitRefused { door: name(door) }), "one of the two: {effects:?}");
    opens
}

#[test]
fn of_an_interlock_one_door_opens_at_a_time() {
    let mut world = mantrap();
    let grant = world.card("outer", "ada").unwrap();
    assert_eq!(world.card("inner", "ada"), Err(Reason::Interlocked), "the outer one is about to open");
    assert!(!exit_pressed(&mut world, "inner"));
    world.goes_in("elsewhere", "bob").expect("a door of no interlock");
    world.step(Event::Withdrawn { door: name("outer"), grant: grant.id });
    world.card("inner", "ada").expect("nothing came of the other");
    world.lock("inner", DoorState::Unlocked);
    world.sense("inner", DoorSense::Ajar(true));
    world.lock("inner", DoorState::Locked);
    assert_eq!(world.card("outer", "ada"), Err(Reason::Interlocked), "locked, but the leaf stands open");
    world.sense("inner", DoorSense::Ajar(false));
    world.card("outer", "ada").unwrap();
}

#[test]
fn a_door_whose_lock_is_not_known_counts_as_open() {
    let mut world = mantrap();
    world.lock("inner", DoorState::Fault);
    assert_eq!(world.card("outer", "ada"), Err(Reason::Interlocked));
    world.lock("inner", DoorState::Locked);
    world.card("outer", "ada").unwrap();
}

#[test]
fn a_grant_of_which_nothing_comes_ends_by_itself() {
    let mut world = mantrap();
    world.card("outer", "ada").unwrap();
    world.wait_s(29);
    assert_eq!(world.card("inner", "ada"), Err(Reason::Interlocked));
    world.wait_s(1);
    world.card("inner", "ada").unwrap();
}

#[test]
fn an_interlocked_door_cannot_be_free_by_plan() {
    let rules = site(|layout| {
        layout.interlocks.insert(name("mantrap"), ["outer", "inner"].map(name).into());
        layout.doors.insert(name("outer"), DoorPlan { free_during: Some("office".into()), ..DoorPlan::default() });
    });
    assert!(matches!(Plan::of(&rules), Err(Error::Rule { fault: RuleFault::FreeInterlock, .. })));
}

#[test]
fn the_first_card_of_the_day_frees_the_door_until_closing_time() {
    let first_card = Some(FirstCard { by: Some(name("staff")), during: "office".into() });
    let mut world = one_door(DoorPlan { first_card, ..DoorPlan::default() });
    assert_eq!(world.premises.mode(&name("front")), Mode::Normal, "the schedule alone opens nothing");
    world.goes_in("front", "vic").unwrap();
    assert_eq!(world.premises.mode(&name("front")), Mode::Normal, "a visitor's card is not the first");
    world.card("front", "ada").unwrap();
    assert_eq!(world.premises.mode(&name("front")), Mode::Free(Freedom::FirstCard));
    world.wait_s(10 * 3600 - 3);
    assert_eq!(world.premises.mode(&name("front")), Mode::Free(Freedom::FirstCard));
    let effects = world.wait_s(2);
    assert_eq!(world.premises.mode(&name("front")), Mode::Normal, "18:00");
    assert!(effects.contains(&Effect::Mode { door: name("front"), mode: Mode::Normal }));
    world.wait_s(14 * 3600);
    assert_eq!(world.premises.mode(&name("front")), Mode::Normal, "the next day needs its own first card");
}

#[test]
fn a_first_card_outside_its_schedule_frees_nothing() {
    let first_card = Some(FirstCard { by: None, during: "office".into() });
    let mut world = one_door(DoorPlan { first_card, ..DoorPlan::default() });
    world.wait_s(11 * 3600);
    world.card("front", "ada").unwrap();
    assert_eq!(world.premises.mode(&name("front")), Mode::Normal);
}

#[test]
fn a_door_is_free_by_its_schedule_unless_the_clock_is_not_known() {
    let mut world = one_door(DoorPlan { free_during: Some("office".into()), ..DoorPlan::default() });
    world.wait_s(0);
    assert_eq!(world.premises.mode(&name("front")), Mode::Free(Freedom::Schedule));
    let wall = std::mem::replace(&mut world.now.wall, godvision_core::WallTime::from_unix_seconds(0));
    world.wait_s(0);
    assert_eq!(world.premises.mode(&name("front")), Mode::Normal, "1970");
    world.now.wall = wall;
    world.wait_s(0);
    assert_eq!(world.premises.mode(&name("front")), Mode::Free(Freedom::Schedule));
    let due = world.premises.next_wake(&name("front"), world.now.mono);
    assert!(due.since(world.now.mono) <= Duration::from_secs(1), "a schedule is looked at each second");
}

#[test]
fn a_lockdown_shuts_and_opens_for_its_override_alone() {
    let mut world = one_door(DoorPlan {
        lockdown_override: Some(name("guards")),
        free_during: Some("office".into()),
        ..DoorPlan::default()
    });
    world.wait_s(0);
    let effects = world.step(Event::Lockdown { door: name("front"), is_on: true });
    assert!(effects.contains(&Effect::Mode { door: name("front"), mode: Mode::LockedDown }), "{effects:?}");
    assert_eq!(world.card("front", "ada"), Err(Reason::LockedDown));
    world.card("front", "gus").expect("a guard");
    assert!(exit_pressed(&mut world, "front"), "whoever wants out gets out");
    world.step(Event::Lockdown { door: name("front"), is_on: false });
    assert_eq!(world.premises.mode(&name("front")), Mode::Free(Freedom::Schedule));
}

/// Journalling takes a moment, and a lockdown may fall into it.
#[test]
fn a_lockdown_between_the_yes_and_the_lock_wins() {
    let mut world = one_door(DoorPlan::default());
    let (door, source, ada) = (name("front"), name("front/outer"), name("ada"));
    let asked = godvision_access::premises::Asked { person: Some(&ada), ..card(&door, &source) };
    let grant = world.ask_only(&asked).unwrap();
    world.step(Event::Lockdown { door: door.clone(), is_on: true });
    assert!(!world.begin(&door, &grant));
    world.step(Event::Lockdown { door: door.clone(), is_on: false });
    assert!(!world.begin(&door, &grant), "and it does not come back");
    let grant = world.ask_only(&asked).unwrap();
    world.wait_s(30);
    assert!(!world.begin(&door, &grant), "nobody stands there any more");
}

/// The first card frees the door, an escort lets visitors follow: neither before that card itself is journalled.
#[test]
fn what_follows_from_a_card_begins_when_the_lock_is_told() {
    let mut world = one_door(DoorPlan {
        first_card: Some(FirstCard { during: "office".into(), by: None }),
        escort: Some(Escort { of: name("visitors"), by: name("staff") }),
        ..DoorPlan::default()
    });
    let (door, source, ada) = (name("front"), name("front/outer"), name("ada"));
    let asked = godvision_access::premises::Asked { person: Some(&ada), ..card(&door, &source) };
    let grant = world.ask_only(&asked).unwrap();
    world.wait_s(1);
    assert_eq!(world.premises.mode(&door), Mode::Normal, "the journal has not taken it yet");
    world.step(Event::Withdrawn { door: door.clone(), grant: grant.id });
    world.wait_s(1);
    assert_eq!(world.premises.mode(&door), Mode::Normal, "and it never did");
    assert_eq!(world.card("front", "vic"), Err(Reason::AwaitsEscort), "nobody went ahead");
    world.effects.clear();
    world.card("front", "ada").unwrap();
    assert!(world.effects.contains(&Effect::Mode { door, mode: Mode::Free(Freedom::FirstCard) }));
}

#[test]
fn a_lock_that_may_still_open_holds_the_interlock() {
    let rules = site(|layout| {
        layout.interlocks.insert(name("mantrap"), ["outer", "inner"].map(name).into());
    });
    let mut world = World::of(rules, &["outer", "inner"]);
    let grant = world.card("outer", "ada").unwrap();
    world.lock("outer", DoorState::Unlocking);
    // Nobody waits any more, the pulse is on its way all the same.
    world.step(Event::Withdrawn { door: name("outer"), grant: grant.id });
    assert_eq!(world.card("inner", "bob"), Err(Reason::Interlocked));
    world.lock("outer", DoorState::Locked);
    world.card("inner", "bob").unwrap();
}

#[test]
fn a_free_door_that_stands_open_is_not_held_and_costs_nothing() {
    let mut world = one_door(DoorPlan { free_during: Some("office".into()), first_card: None, ..DoorPlan::default() });
    world.sense("front", DoorSense::Ajar(false));
    world.wait_s(1);
    world.sense("front", DoorSense::Ajar(true));
    for _ in 0..3 {
        world.wait_s(300);
        let wake = world.premises.next_wake(&name("front"), world.now.mono);
        assert!(wake.since(world.now.mono) >= Duration::from_secs(1), "again and again");
    }
    assert!(world.alarms().is_empty());
}

#[test]
fn a_door_that_does_not_run_is_locked_down_when_it_does() {
    let mut world = one_door(DoorPlan::default());
    let effects = world.step(Event::Lockdown { door: name("gate"), is_on: true });
    assert!(effects.contains(&Effect::Keep(Kept::Lockdown { door: name("gate"), is_on: true })));
    world.premises.add_door(name("gate"));
    world.wait_s(1);
    assert_eq!(world.premises.mode(&name("gate")), Mode::LockedDown);
    world.step(Event::Lockdown { door: name("yard"), is_on: true });
    world.step(Event::Lockdown { door: name("yard"), is_on: false });
    world.premises.add_door(name("yard"));
    world.wait_s(1);
    assert_eq!(world.premises.mode(&name("yard")), Mode::Normal, "and let go while it was away");
}

#[test]
fn a_cell_keeps_its_exit_shut_in_a_lockdown_if_its_owner_says_so() {
    let mut world = one_door(DoorPlan { exits_in_lockdown: false, ..DoorPlan::default() });
    assert!(exit_pressed(&mut world, "front"));
    world.step(Event::Lockdown { door: name("front"), is_on: true });
    assert!(!exit_pressed(&mut world, "front"));
}

#[test]
fn an_emergency_frees_all_doors_but_those_excepted_and_outranks_a_lockdown() {
    let rules = site(|layout| {
        layout.interlocks.insert(name("mantrap"), ["outer", "inner"].map(name).into());
        layout.doors.insert(name("vault"), DoorPlan { opens_in_emergency: false, ..DoorPlan::default() });
    });
    let mut world = World::of(rules, &["outer", "inner", "vault"]);
    world.step(Event::Lockdown { door: name("outer"), is_on: true });
    world.step(Event::Emergency { is_on: true });
    let modes = ["outer", "inner", "vault"].map(|door| world.premises.mode(&name(door)));
    assert_eq!(modes, [Mode::Free(Freedom::Emergency), Mode::Free(Freedom::Emergency), Mode::Normal]);
    assert_eq!(world.alarms().iter().filter(|alarm| **alarm == (AlarmKind::Emergency, true)).count(), 3);
    world.step(Event::Emergency { is_on: false });
    let modes = ["outer", "inner", "vault"].map(|door| world.premises.mode(&name(door)));
    assert_eq!(modes, [Mode::LockedDown, Mode::Normal, Mode::Normal]);
}

#[test]
fn a_door_opened_though_locked_is_forced() {
    let mut world = one_door(DoorPlan::default());
    world.sense("front", DoorSense::Ajar(false));
    world.sense("front", DoorSense::Ajar(true));
    assert_eq!(world.alarms(), [(AlarmKind::Forced, true)]);
    world.sense("front", DoorSense::Ajar(true));
    assert!(world.alarms().is_empty(), "said once");
    world.sense("front", DoorSense::Ajar(false));
    assert_eq!(world.alarms(), [(AlarmKind::Forced, false)]);
}

#[test]
fn a_door_opened_after_a_card_or_the_exit_button_is_not_forced() {
    let mut world = one_door(DoorPlan::default());
    world.sense("front", DoorSense::Ajar(false));
    world.card("front", "ada").unwrap();
    world.sense("front", DoorSense::Ajar(true));
    world.sense("front", DoorSense::Ajar(false));
    assert!(world.alarms().is_empty(), "the leaf may move before the relay's answer is here");
    world.wait_s(60);
    assert!(exit_pressed(&mut world, "front"));
    world.lock("front", DoorState::Unlocked);
    world.sense("front", DoorSense::Ajar(true));
    world.sense("front", DoorSense::Ajar(false));
    world.lock("front", DoorState::Locked);
    assert!(world.alarms().is_empty());
    world.wait_s(60);
    world.sense("front", DoorSense::Ajar(true));
    assert_eq!(world.alarms(), [(AlarmKind::Forced, true)], "the button was long ago");
}

#[test]
fn a_handle_inside_makes_no_alarm_where_the_owner_says_so() {
    let mut world = one_door(DoorPlan { forced_is_alarm: false, ..DoorPlan::default() });
    world.sense("front", DoorSense::Ajar(false));
    world.sense("front", DoorSense::Ajar(true));
    assert!(world.alarms().is_empty());
    world.wait_s(30);
    assert_eq!(world.alarms(), [(AlarmKind::Held, true)], "it must be shut all the same");
}

#[test]
fn a_door_that_stands_open_is_held_until_it_is_shut() {
    let mut world = one_door(DoorPlan { held_after: Duration::from_secs(20), ..DoorPlan::default() });
    world.sense("front", DoorSense::Ajar(false));
    world.card("front", "ada").unwrap();
    world.lock("front", DoorState::Unlocked);
    world.sense("front", DoorSense::Ajar(true));
    let due = world.premises.next_wake(&name("front"), world.now.mono);
    assert_eq!(due.since(world.now.mono), Duration::from_secs(20), "told exactly when to come again");
    world.wait(Duration::from_millis(19_999));
    assert!(world.alarms().is_empty());
    let effects = world.wait(Duration::from_millis(1));
    assert!(effects.contains(&Effect::Held { door: name("front"), is_held: true }));
    assert_eq!(world.alarms(), [(AlarmKind::Held, true)]);
    world.lock("front", DoorState::Locked);
    world.wait_s(600);
    assert!(world.alarms().is_empty());
    let effects = world.sense("front", DoorSense::Ajar(false));
    assert!(effects.contains(&Effect::Held { door: name("front"), is_held: false }));
    assert_eq!(world.alarms(), [(AlarmKind::Held, false)]);
}

#[test]
fn a_door_is_locked_as_soon_as_it_is_shut_behind_somebody() {
    for relocks in [true, false] {
        let mut world = one_door(DoorPlan { relocks, ..DoorPlan::default() });
        world.sense("front", DoorSense::Ajar(false));
        world.card("front", "ada").unwrap();
        world.lock("front", DoorState::Unlocked);
        world.sense("front", DoorSense::Ajar(true));
        let effects = world.sense("front", DoorSense::Ajar(false));
        assert_eq!(effects.contains(&Effect::Shut { door: name("front") }), relocks);
    }
}

#[test]
fn a_lid_that_is_opened_is_an_alarm() {
    let mut world = one_door(DoorPlan::default());
    world.sense("front", DoorSense::Tampered(true));
    world.sense("front", DoorSense::Tampered(false));
    assert_eq!(world.alarms(), [(AlarmKind::Tampered, true), (AlarmKind::Tampered, false)]);
}

#[test]
fn a_power_cut_undoes_no_lockdown_no_emergency_no_lockout_and_grants_nothing() {
    let first_card = Some(FirstCard { by: None, during: "office".into() });
    let rules = site(|layout| {
        layout.doors.insert(name("front"), DoorPlan { first_card, ..DoorPlan::default() });
    });
    let doors = ["front", "back"];
    let mut world = World::of(rules.clone(), &doors);
    world.card("front", "ada").unwrap();
    assert_eq!(world.premises.mode(&name("front")), Mode::Free(Freedom::FirstCard));
    world.step(Event::Lockdown { door: name("back"), is_on: true });
    let restore = |world: &World| {
        let names = doors.map(name);
        let mut premises = Premises::restore(Plan::of(&rules).unwrap(), names, &world.kept, world.now);
        premises.step(Event::Tick, world.now);
        premises
    };
    let after = restore(&world);
    assert_eq!(after.mode(&name("front")), Mode::Normal, "free passage is not kept: the next card frees it again");
    assert_eq!(after.mode(&name("back")), Mode::LockedDown);
    world.step(Event::Emergency { is_on: true });
    let mut after = restore(&world);
    assert_eq!(after.mode(&name("back")), Mode::Free(Freedom::Emergency));
    after.step(Event::Emergency { is_on: false }, world.now);
    assert_eq!(after.mode(&name("back")), Mode::LockedDown);
}

#[test]
fn a_lockout_outlives_a_power_cut_whatever_the_clock_says_then() {
    use godvision_access::premises::Asked;
    use godvision_access::rule::CredentialKind;
    let rules = site(|_| {});
    let mut world = World::of(rules.clone(), &["front"]);
    let (door, source) = (name("front"), name("front/outer"));
    let guess = Asked {
        kind: CredentialKind::Pin,
        rules: Err(Reason::UnknownCredential),
        is_guess: true,
        ..card(&door, &source)
    };
    for _ in 0..5 {
        let _ = world.ask_with(&guess);
    }
    world.wait_s(10);
    for (clock_step_s, left_s) in [(0, 20), (15, 5), (3600, 0), (-3600, 1800), (i64::MIN, 1800)] {
        let mut now = world.now;
        now.mono = godvision_core::MonoTime::ZERO;
        now.wall = match clock_step_s {
            i64::MIN => godvision_core::WallTime::from_unix_seconds(0),
            step => now.wall.plus_micros(step * 1_000_000),
        };
        let premises = Premises::restore(Plan::of(&rules).unwrap(), [door.clone()], &world.kept, now);
        let locked_for = (0..4000).find(|seconds| {
            let mut later = now;
            later.mono = later.mono + Duration::from_secs(*seconds);
            premises.may_try(&source, CredentialKind::Pin, later).is_ok()
        });
        assert_eq!(locked_for, Some(left_s), "a clock set by {clock_step_s} s");
    }
}

#[test]
fn a_door_that_is_away_keeps_its_lockdown() {
    let mut world = World::of(site(|_| {}), &["front", "back"]);
    world.step(Event::Lockdown { door: name("back"), is_on: true });
    let plan = world.premises.plan().clone();
    let mut premises = Premises::restore(plan, [name("front")], &world.kept, world.now);
    premises.add_door(name("back"));
    premises.step(Event::Tick, world.now);
    assert_eq!(premises.mode(&name("back")), Mode::LockedDown);
}
