//! A door that asks for a card and a PIN: the first says what is missing, the second of the same person opens.

use godvision_access::credential::Directory;
use godvision_access::pass::PassVerifier;
use godvision_access::rule::{CredentialKind, Kinds};
use godvision_access::{AccessControl, RuleSet, Ruling};
use godvision_core::signal::door::{Credential, Key, Reason, Verdict};
use godvision_core::{MonoTime, Name, Secret, Stamp, WallTime};

const RULES: &str = r#"
    version = 1
    [[rule]]
    name = "vault"
    permit = ["ada", "bob"]
    doors = ["vault"]
    by = ["card+pin", "pin+face"]
    [[rule]]
    name = "no-plates"
    forbid = ["anyone"]
    doors = ["vault"]
    by = ["plate"]
    [[rule]]
    name = "operators-by-hand"
    permit = ["anyone"]
    doors = ["any"]
    by = ["manual"]
"#;

fn now() -> Stamp {
    Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(1_794_816_000))
}

fn site() -> AccessControl {
    let mut directory = Directory::new([7; 16]);
    for (person, card, pin) in [("ada", "AB01", "4711"), ("bob", "AB02", "4712")] {
        let person: Name = person.parse().unwrap();
        directory.add_person(person.clone()).unwrap();
        directory.add_key(&person, &Key::Card(Secret::new(card))).unwrap();
        directory.add_key(&person, &Key::Pin(Secret::new(pin))).unwrap();
        directory.add_key(&person, &Key::Plate(Secret::new(format!("X{card}")))).unwrap();
    }
    AccessControl {
        directory,
        passes: PassVerifier::new("home".parse().unwrap()),
        rules: RuleSet::parse(RULES).unwrap().compile().unwrap(),
    }
}

/// Shows `key` after `already` of `person`.
fn show(access: &AccessControl, key: Key, already: &str, person: &str) -> Ruling {
    let credential = Credential { source: "vault/reader".parse().unwrap(), key, at: now() };
    let already = Kinds::from_code(already).unwrap_or_default();
    access.decide_with(&credential, already, Name::new(person).ok().as_ref(), &"vault".parse().unwrap(), now())
}

#[test]
fn the_second_credential_of_the_same_person_opens() {
    let access = site();
    let card = |number: &str| Key::Card(Secret::new(number));
    let pin = |digits: &str| Key::Pin(Secret::new(digits));

    let first = show(&access, card("AB01"), "", "");
    assert_eq!((first.decision.verdict, first.decision.reason), (Verdict::Refuse, Reason::NotEnough));
    assert_eq!((first.presented, first.completing), (CredentialKind::Card.into(), CredentialKind::Pin.into()));
    let second = show(&access, pin("4711"), "card", "ada");
    assert_eq!((second.decision.verdict, second.presented), (Verdict::Admit, Kinds::from_code("card+pin").unwrap()));
    assert_eq!(second.decision.rule.map(|rule| rule.to_string()).as_deref(), Some("vault"));
    assert_eq!((second.decision.credential, second.completing), ("pin", Kinds::NONE));

    let other = show(&access, pin("4712"), "card", "ada");
    assert_eq!(
        (other.decision.reason, other.presented),
        (Reason::NotEnough, CredentialKind::Pin.into()),
        "Bob's PIN, Ada's card"
    );
    assert_eq!(other.completing, Kinds::from_code("card+face").unwrap(), "either, not an operator's hand");
    let wrong = show(&access, pin("9999"), "card", "ada");
    assert_eq!((wrong.decision.reason, wrong.completing), (Reason::UnknownCredential, Kinds::NONE));
    let twice = show(&access, card("AB01"), "card", "ada");
    assert_eq!(twice.decision.reason, Reason::NotEnough, "the same card twice is one");

    let with_plate = show(&access, pin("4711"), "card+plate", "ada");
    assert_eq!(with_plate.decision.reason, Reason::Forbidden, "who forbids plates forbids them beside others too");
    let alone = access.decide(
        &Credential { source: "r".parse().unwrap(), key: card("AB01"), at: now() },
        &"vault".parse().unwrap(),
        now(),
    );
    assert_eq!(alone.decision.reason, Reason::NotEnough);
    let elsewhere = Credential { source: "r".parse().unwrap(), key: card("AB01"), at: now() };
    let elsewhere = access.decide(&elsewhere, &"gate".parse().unwrap(), now());
    assert_eq!(
        elsewhere.decision.reason,
        Reason::NoRule,
        "that an operator could open does not make the card half of anything"
    );
    let by_hand = access.decide(
        &Credential {
            source: "desk".parse().unwrap(),
            key: Key::Manual { operator: "guard desk 1".into() },
            at: now(),
        },
        &"vault".parse().unwrap(),
        now(),
    );
    assert_eq!(by_hand.decision.verdict, Verdict::Admit);
}
