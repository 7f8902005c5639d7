//! Anti-passback, occupancy, areas where nobody is alone, two-person doors, escort, second credentials.

mod premises_world;

use std::time::Duration;

use godvision_access::premises::{AreaPlan, Asked, DoorPlan, Escort, Passback};
use godvision_access::rule::{CredentialKind, Kinds};
use godvision_core::signal::door::{AlarmKind, DoorSense, DoorState, Reason};
use premises_world::{World, card, name, site};

fn lab(area: AreaPlan, door: DoorPlan) -> World {
    let rules = site(|layout| {
        layout.areas.insert(name("lab"), area);
        let inner = ["front/inner", "back/inner"].map(name).into();
        let door = DoorPlan { into: Some(name("lab")), exit_sources: inner, ..door };
        layout.doors.insert(name("front"), door.clone());
        layout.doors.insert(name("back"), door);
    });
    World::of(rules, &["front", "back"])
}

#[test]
fn hard_anti_passback_refuses_who_is_inside() {
    let mut world = lab(AreaPlan { passback: Passback::Hard, ..AreaPlan::default() }, DoorPlan::default());
    world.goes_in("front", "ada").unwrap();
    assert_eq!(world.inside("lab"), ["ada"]);
    assert_eq!(world.goes_in("front", "ada"), Err(Reason::PassedBack));
    assert_eq!(world.goes_in("back", "ada"), Err(Reason::PassedBack), "the area counts, not the door");
    world.goes_in("back", "bob").unwrap();
    world.goes_out("back", "ada").unwrap();
    assert_eq!(world.inside("lab"), ["bob"]);
    world.goes_in("front", "ada").unwrap();
}

#[test]
fn a_card_handed_back_over_the_fence_opens_no_second_door_meanwhile() {
    let mut world = lab(AreaPlan { passback: Passback::Hard, ..AreaPlan::default() }, DoorPlan::default());
    world.card("front", "ada").unwrap();
    assert_eq!(world.card("back", "ada"), Err(Reason::PassedBack), "she is on her way through the front");
    world.lock("front", DoorState::Unlocked);
    assert_eq!(world.card("back", "ada"), Err(Reason::PassedBack));
}

#[test]
fn who_was_admitted_and_did_not_go_in_may_come_again() {
    let mut world = lab(AreaPlan { passback: Passback::Hard, ..AreaPlan::default() }, DoorPlan::default());
    world.sense("front", DoorSense::Ajar(false));
    world.goes_in("front", "ada").unwrap();
    assert!(world.inside("lab").is_empty(), "the contact says that nobody opened");
    world.card("front", "ada").unwrap();
    world.lock("front", DoorState::Unlocked);
    world.sense("front", DoorSense::Ajar(true));
    assert_eq!(world.inside("lab"), ["ada"]);
    world.sense("front", DoorSense::Ajar(false));
    assert_eq!(world.card("front", "ada"), Err(Reason::PassedBack));
}

#[test]
fn anothers_opening_is_not_that_of_who_is_still_being_journalled() {
    let mut world = lab(AreaPlan::default(), DoorPlan::default());
    let (door, source, bob) = (name("front"), name("front/outer"), name("bob"));
    world.card("front", "ada").unwrap();
    let bobs = world.ask_only(&Asked { person: Some(&bob), ..card(&door, &source) }).unwrap();
    world.lock("front", DoorState::Unlocked);
    assert_eq!(world.inside("lab"), ["ada"], "bob's decision may still fail");
    assert!(world.begin(&door, &bobs));
    world.lock("front", DoorState::Unlocked);
    assert_eq!(world.inside("lab"), ["ada", "bob"]);
}

#[test]
fn a_refusal_of_somebody_else_ends_nobodys_wait() {
    let area = AreaPlan { passback: Passback::Hard, ..AreaPlan::default() };
    let mut world = lab(area, DoorPlan { is_two_person: true, ..DoorPlan::default() });
    assert_eq!(world.card("front", "vic"), Err(Reason::AwaitsPerson));
    world.goes_in("front", "viv").unwrap();
    assert_eq!(world.card("front", "ada"), Err(Reason::AwaitsPerson));
    assert_eq!(world.card("front", "vic"), Err(Reason::PassedBack));
    world.goes_in("front", "bob").expect("ada still waits");
}

#[test]
fn soft_anti_passback_admits_with_an_alarm_each_time() {
    let mut world = lab(AreaPlan { passback: Passback::Soft, ..AreaPlan::default() }, DoorPlan::default());
    world.goes_in("front", "ada").unwrap();
    assert!(world.alarms().is_empty());
    for _ in 0..2 {
        world.goes_in("front", "ada").unwrap();
        assert_eq!(world.alarms(), [(AlarmKind::PassedBack, true)]);
    }
}

#[test]
fn timed_anti_passback_is_over_after_its_time() {
    let area = AreaPlan { passback: Passback::Hard, forget_after: Duration::from_secs(300), ..AreaPlan::default() };
    let mut world = lab(area, DoorPlan::default());
    world.goes_in("front", "ada").unwrap();
    world.wait_s(298);
    assert_eq!(world.card("front", "ada"), Err(Reason::PassedBack));
    world.wait_s(2);
    world.card("front", "ada").unwrap();
}

#[test]
fn leaving_is_never_refused_for_not_having_come() {
    let mut world = lab(AreaPlan { passback: Passback::Hard, ..AreaPlan::default() }, DoorPlan::default());
    world.goes_out("front", "ada").unwrap();
    world.goes_out("front", "ada").unwrap();
    world.goes_in("front", "ada").unwrap();
}

/// The lab lies behind a corridor that minds who is in it: whoever followed somebody into the lab still gets out of it.
#[test]
fn leaving_is_not_refused_where_the_way_out_leads_into_a_guarded_area() {
    let rules = site(|layout| {
        let guarded = AreaPlan { passback: Passback::Hard, ..AreaPlan::default() };
        layout.areas.insert(name("corridor"), guarded.clone());
        layout.areas.insert(name("lab"), guarded);
        let entry = DoorPlan { into: Some(name("corridor")), ..DoorPlan::default() };
        let exit_sources = [name("front/inner")].into();
        let lab = DoorPlan { from: Some(name("corridor")), into: Some(name("lab")), exit_sources, ..entry.clone() };
        layout.doors.insert(name("back"), entry);
        layout.doors.insert(name("front"), lab);
    });
    let mut world = World::of(rules, &["front", "back"]);
    world.goes_in("back", "ada").unwrap();
    world.alarms();
    world.goes_out("front", "ada").expect("she followed bob in");
    assert_eq!(world.alarms(), [(AlarmKind::PassedBack, true)], "which is noted");
    world.goes_in("front", "ada").unwrap();
    world.goes_out("front", "ada").unwrap();
    assert!(world.alarms().is_empty());
    assert_eq!(world.goes_in("back", "ada"), Err(Reason::PassedBack), "coming in is");
}

/// Whoever presses a button elsewhere is not at the door: they are not the second of two, and nobody counts them as inside.
#[test]
fn a_button_elsewhere_lets_in_nobody_who_is_counted() {
    let (door, source, ada) = (name("front"), name("front/telegram"), name("ada"));
    let remote = Kinds::default().with(CredentialKind::Remote);
    let asked = Asked { person: Some(&ada), kind: CredentialKind::Remote, presented: remote, ..card(&door, &source) };
    let mut world = lab(AreaPlan::default(), DoorPlan::default());
    world.ask_with(&asked).unwrap();
    world.through("front");
    assert!(world.inside("lab").is_empty());
    let escort = Some(Escort { of: name("visitors"), by: name("staff") });
    for (area, plan) in [
        (AreaPlan::default(), DoorPlan { is_two_person: true, ..DoorPlan::default() }),
        (AreaPlan::default(), DoorPlan { escort, ..DoorPlan::default() }),
        (AreaPlan { is_two_person: true, ..AreaPlan::default() }, DoorPlan::default()),
        (AreaPlan { occupancy_max: Some(3), ..AreaPlan::default() }, DoorPlan::default()),
        (AreaPlan { passback: Passback::Hard, ..AreaPlan::default() }, DoorPlan::default()),
    ] {
        let mut world = lab(area, plan);
        let _ = world.card("front", "bob");
        assert_eq!(world.ask_with(&asked), Err(Reason::NotEnough));
    }
}

#[test]
fn an_operator_can_forgive() {
    let mut world = lab(AreaPlan { passback: Passback::Hard, ..AreaPlan::default() }, DoorPlan::default());
    world.goes_in("front", "ada").unwrap();
    world.step(godvision_access::premises::Event::Forgive { person: name("ada") });
    world.goes_in("front", "ada").unwrap();
}

#[test]
fn a_full_area_admits_nobody_until_somebody_leaves() {
    let mut world = lab(AreaPlan { occupancy_max: Some(2), ..AreaPlan::default() }, DoorPlan::default());
    world.goes_in("front", "ada").unwrap();
    world.card("front", "bob").unwrap();
    assert_eq!(world.card("back", "vic"), Err(Reason::AreaFull), "bob's place is taken before he is through");
    world.through("front");
    assert_eq!(world.card("back", "vic"), Err(Reason::AreaFull));
    world.goes_in("back", "ada").expect("who is inside takes no second place");
    world.goes_out("front", "ada").unwrap();
    world.goes_in("back", "vic").unwrap();
    assert_eq!(world.inside("lab"), ["bob", "vic"]);
}

#[test]
fn an_area_for_two_is_entered_and_left_by_two() {
    let mut world = lab(AreaPlan { is_two_person: true, ..AreaPlan::default() }, DoorPlan::default());
    assert_eq!(world.card("front", "ada"), Err(Reason::AwaitsPerson));
    assert_eq!(world.card("front", "ada"), Err(Reason::AwaitsPerson), "the same person twice is one person");
    let grant = world.card("front", "bob").unwrap();
    assert_eq!(grant.with, [name("ada")]);
    world.through("front");
    assert_eq!(world.inside("lab"), ["ada", "bob"]);
    world.goes_in("back", "vic").expect("two are inside, a third may come alone");
    world.goes_out("front", "ada").expect("two stay");
    assert_eq!(world.card_inside("front", "bob"), Err(Reason::AwaitsPerson), "one would stay alone");
    world.card_inside("front", "vic").unwrap();
    world.through("front");
    assert!(world.inside("lab").is_empty());
}

#[test]
fn two_persons_must_come_within_the_time() {
    let mut world = lab(AreaPlan::default(), DoorPlan { is_two_person: true, ..DoorPlan::default() });
    assert_eq!(world.card("front", "ada"), Err(Reason::AwaitsPerson));
    world.wait_s(14);
    world.goes_in("front", "bob").unwrap();
    assert_eq!(world.card("front", "ada"), Err(Reason::AwaitsPerson));
    world.wait_s(15);
    assert_eq!(world.card("front", "bob"), Err(Reason::AwaitsPerson), "ada's time is over");
    assert_eq!(world.card_inside("front", "ada"), Err(Reason::AwaitsPerson), "and the other side is another matter");
}

#[test]
fn a_visitor_needs_an_escort_before_or_after() {
    let escort = Some(Escort { of: name("visitors"), by: name("staff") });
    let mut world = lab(AreaPlan::default(), DoorPlan { escort, ..DoorPlan::default() });
    assert_eq!(world.card("front", "vic"), Err(Reason::AwaitsEscort));
    assert_eq!(world.card("front", "viv"), Err(Reason::AwaitsEscort), "two visitors are no escort");
    let grant = world.card("front", "ada").unwrap();
    assert_eq!(grant.with, [name("vic"), name("viv")]);
    world.through("front");
    assert_eq!(world.inside("lab"), ["ada", "vic", "viv"]);
    world.goes_out("front", "vic").expect("out alone");
    world.wait_s(60);
    world.goes_in("front", "bob").expect("staff need nobody");
    world.goes_in("front", "vic").expect("bob went ahead just now");
    world.wait_s(60);
    assert_eq!(world.card("front", "vic"), Err(Reason::AwaitsEscort));
}

#[test]
fn a_second_credential_of_the_same_person_completes_the_first() {
    let mut world = lab(AreaPlan::default(), DoorPlan::default());
    let (door, source, ada) = (name("front"), name("front/outer"), name("ada"));
    let face = Kinds::default().with(CredentialKind::Face);
    let pin = Kinds::default().with(CredentialKind::Pin);
    let first = Asked {
        person: Some(&ada),
        kind: CredentialKind::Face,
        presented: face,
        rules: Err(Reason::NotEnough),
        completing: pin,
        ..card(&door, &source)
    };
    assert_eq!(world.ask_with(&first), Err(Reason::AwaitsSecond));
    assert_eq!(world.premises.first_factor(&door, world.now), Some((&ada, face)));
    world.wait_s(15);
    assert_eq!(world.premises.first_factor(&door, world.now), None, "too late");
    assert_eq!(world.ask_with(&first), Err(Reason::AwaitsSecond));
    let both = face.with(CredentialKind::Pin);
    let second = Asked { kind: CredentialKind::Pin, presented: both, rules: Ok(()), ..first.clone() };
    world.ask_with(&second).unwrap();
    assert_eq!(world.premises.first_factor(&door, world.now), None, "used up");
    let hopeless = Asked { completing: Kinds::default(), ..first.clone() };
    assert_eq!(world.ask_with(&hopeless), Err(Reason::NotEnough), "nothing would complete it: nobody waits");
}

/// The rules counted a pass that was shown before; while they did, or a PIN was hashed, its time ended.
#[test]
fn what_waits_no_longer_counts_no_longer() {
    let mut world = lab(AreaPlan::default(), DoorPlan::default());
    let (door, source, ada) = (name("front"), name("front/outer"), name("ada"));
    let (qr, pin) = (Kinds::default().with(CredentialKind::Qr), Kinds::default().with(CredentialKind::Pin));
    let first = Asked {
        person: Some(&ada),
        kind: CredentialKind::Qr,
        presented: qr,
        rules: Err(Reason::NotEnough),
        completing: pin,
        ..card(&door, &source)
    };
    let both = Asked { kind: CredentialKind::Pin, presented: qr.and(pin), rules: Ok(()), ..first.clone() };
    assert_eq!(world.ask_with(&first), Err(Reason::AwaitsSecond));
    world.wait_s(15);
    assert_eq!(world.ask_with(&both), Err(Reason::NotEnough), "it would open and the pass not be spent");
    let face = Kinds::default().with(CredentialKind::Face);
    let more = Asked { rules: Err(Reason::NotEnough), completing: face, ..both.clone() };
    assert_eq!(world.ask_with(&more), Err(Reason::NotEnough), "nor does it wait on as if it were there");
    let bob = name("bob");
    assert_eq!(world.ask_with(&first), Err(Reason::AwaitsSecond));
    assert_eq!(world.ask_with(&Asked { person: Some(&bob), ..both.clone() }), Err(Reason::NotEnough), "another's");
    world.ask_with(&both).unwrap();
}

#[test]
fn two_persons_with_two_credentials_each_come_in() {
    let mut world = lab(AreaPlan::default(), DoorPlan { is_two_person: true, ..DoorPlan::default() });
    let (door, source, ada, bob) = (name("front"), name("front/outer"), name("ada"), name("bob"));
    let (qr, plate) = (Kinds::default().with(CredentialKind::Qr), Kinds::default().with(CredentialKind::Plate));
    let first = |person| Asked {
        person: Some(person),
        kind: CredentialKind::Qr,
        presented: qr,
        rules: Err(Reason::NotEnough),
        completing: plate,
        ..card(&door, &source)
    };
    let second =
        |person| Asked { kind: CredentialKind::Plate, presented: qr.and(plate), rules: Ok(()), ..first(person) };
    assert_eq!(world.ask_with(&first(&ada)), Err(Reason::AwaitsSecond));
    assert_eq!(world.ask_with(&second(&ada)), Err(Reason::AwaitsPerson));
    assert_eq!(world.ask_with(&first(&bob)), Err(Reason::AwaitsSecond));
    let grant = world.ask_with(&second(&bob)).unwrap();
    assert_eq!(grant.with, [name("ada")]);
}

/// A pass that opens once, shown first, is used up by the opening that it was part of, and by nothing before.
#[test]
fn what_was_shown_first_is_spent_with_what_completes_it() {
    use godvision_access::pass::PassId;
    use godvision_access::spent::{Spendable, Spending};
    let spending = |number: u8, second: u64| {
        let what = Spendable::Pass { key: 1, id: PassId([0, 0, 0, 0, 0, number]) };
        let at = godvision_core::WallTime::from_unix_seconds(premises_world::MONDAY_0800_S + second as i64);
        (Spending { what, until: at.plus_micros(1_000_000_000), at }, 1)
    };
    let mut world = lab(AreaPlan::default(), DoorPlan { is_two_person: true, ..DoorPlan::default() });
    let (door, source, ada, bob) = (name("front"), name("front/outer"), name("ada"), name("bob"));
    let (qr, plate) = (Kinds::default().with(CredentialKind::Qr), Kinds::default().with(CredentialKind::Plate));
    let first = Asked {
        person: Some(&ada),
        kind: CredentialKind::Qr,
        presented: qr,
        rules: Err(Reason::NotEnough),
        completing: plate,
        to_spend: Some(spending(1, 0)),
        ..card(&door, &source)
    };
    assert_eq!(world.ask_with(&first), Err(Reason::AwaitsSecond));
    let again = Asked { to_spend: Some(spending(1, 5)), ..first.clone() };
    assert_eq!(world.ask_with(&again), Err(Reason::AwaitsSecond), "shown twice");
    let second = Asked {
        kind: CredentialKind::Plate,
        presented: qr.with(CredentialKind::Plate),
        rules: Ok(()),
        to_spend: None,
        ..first
    };
    assert_eq!(world.ask_with(&second), Err(Reason::AwaitsPerson), "ada is complete, and waits for another");
    let bobs = Asked { person: Some(&bob), to_spend: Some(spending(2, 8)), ..card(&door, &source) };
    let grant = world.ask_with(&bobs).unwrap();
    assert_eq!(grant.to_spend, [spending(1, 5)], "once; bob's own is the caller's as always");
}

#[test]
fn guesses_lock_a_reader_out_for_longer_and_longer() {
    let mut world = lab(AreaPlan::default(), DoorPlan::default());
    let (door, source, other) = (name("front"), name("front/outer"), name("back/outer"));
    let guess = Asked {
        kind: CredentialKind::Pin,
        presented: Kinds::default().with(CredentialKind::Pin),
        rules: Err(Reason::UnknownCredential),
        is_guess: true,
        ..card(&door, &source)
    };
    for _ in 0..5 {
        assert_eq!(world.ask_with(&guess), Err(Reason::UnknownCredential));
    }
    assert_eq!(world.alarms(), [(AlarmKind::Guessing, true)]);
    let good = Asked { rules: Ok(()), is_guess: false, ..guess.clone() };
    for wait_s in [30, 60, 120, 240, 480, 960, 1800, 1800] {
        assert_eq!(world.ask_with(&good), Err(Reason::LockedOut), "even the right PIN");
        assert_eq!(world.premises.may_try(&source, CredentialKind::Pin, world.now), Err(Reason::LockedOut));
        assert_eq!(world.premises.may_try(&source, CredentialKind::Card, world.now), Ok(()), "cards are not guessed");
        assert_eq!(world.premises.may_try(&other, CredentialKind::Pin, world.now), Ok(()), "another reader");
        world.wait_s(wait_s - 1);
        assert_eq!(world.ask_with(&good), Err(Reason::LockedOut), "{wait_s} s are not over");
        world.wait_s(1);
        world.ask_with(&good).unwrap();
        assert_eq!(world.ask_with(&guess), Err(Reason::UnknownCredential), "a good PIN between does not clear it");
    }
    world.wait_s(1800 + 3601);
    for _ in 0..4 {
        assert_eq!(world.ask_with(&guess), Err(Reason::UnknownCredential));
        world.ask_with(&good).expect("forgotten after an hour without a failure");
    }
}

#[test]
fn guessing_a_second_factor_locks_out_the_person_at_every_reader() {
    let mut world = lab(AreaPlan::default(), DoorPlan::default());
    let (door, ada) = (name("front"), name("ada"));
    let sources: Vec<_> = (0..5).map(|reader| name(&format!("front/reader-{reader}"))).collect();
    let face = Kinds::default().with(CredentialKind::Face);
    let pin = Kinds::default().with(CredentialKind::Pin);
    for source in &sources {
        let first = Asked {
            person: Some(&ada),
            kind: CredentialKind::Face,
            presented: face,
            rules: Err(Reason::NotEnough),
            completing: pin,
            ..card(&door, source)
        };
        assert_eq!(world.ask_with(&first), Err(Reason::AwaitsSecond));
        let guess = Asked {
            kind: CredentialKind::Pin,
            presented: pin,
            rules: Err(Reason::UnknownCredential),
            is_guess: true,
            ..card(&door, source)
        };
        assert_eq!(world.ask_with(&guess), Err(Reason::UnknownCredential));
    }
    let back = name("back");
    let fresh = name("back/outer");
    let good = Asked { person: Some(&ada), kind: CredentialKind::Pin, presented: pin, ..card(&back, &fresh) };
    assert_eq!(world.ask_with(&good), Err(Reason::LockedOut));
    let bob = name("bob");
    world.ask_with(&Asked { person: Some(&bob), ..good.clone() }).expect("bob has guessed nothing");
}

#[test]
fn duress_opens_and_tells_the_owner_alone() {
    let mut world = lab(AreaPlan::default(), DoorPlan::default());
    let (door, source, ada) = (name("front"), name("front/outer"), name("ada"));
    let asked = Asked { person: Some(&ada), is_duress: true, ..card(&door, &source) };
    for _ in 0..2 {
        world.ask_with(&asked).expect("it opens as always");
        assert_eq!(world.alarms(), [(AlarmKind::Duress, true)], "each time");
        assert!(AlarmKind::Duress.is_silent());
    }
    world.step(godvision_access::premises::Event::Acknowledged { door: door.clone() });
    assert_eq!(world.alarms(), [(AlarmKind::Duress, false)]);
}

#[test]
fn a_button_pressed_elsewhere_is_the_second_of_two_and_never_the_first() {
    let mut world = lab(AreaPlan::default(), DoorPlan::default());
    let (door, source, ada, bob) = (name("front"), name("telegram"), name("ada"), name("bob"));
    let face = Kinds::default().with(CredentialKind::Face);
    let remote = Kinds::default().with(CredentialKind::Remote);
    let at_the_door = Asked {
        person: Some(&ada),
        kind: CredentialKind::Face,
        presented: face,
        rules: Err(Reason::NotEnough),
        completing: remote,
        ..card(&door, &source)
    };
    let pressed = Asked { kind: CredentialKind::Remote, presented: remote, completing: face, ..at_the_door.clone() };
    assert_eq!(world.ask_with(&pressed), Err(Reason::NotEnough), "nobody at the door waits for it");
    assert_eq!(world.ask_with(&at_the_door), Err(Reason::AwaitsSecond));
    assert_eq!(world.ask_with(&Asked { person: Some(&bob), ..pressed.clone() }), Err(Reason::NotEnough));
    assert_eq!(world.premises.first_factor(&door, world.now), Some((&ada, face)), "and nobody is displaced");
    let both = Asked { presented: remote.with(CredentialKind::Face), rules: Ok(()), ..pressed };
    world.ask_with(&both).unwrap();
}
