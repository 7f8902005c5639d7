//! Rolling codes and PINs for duress through the policy and a door that runs: a code opens each door once, a restart gives
//! it back to nobody, and what a lockout and a silent alarm need is said by the ruling and by nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use godvision_access::controller::{DoorUnit, Doors, SharedAccess, journal_entry};
use godvision_access::credential::Directory;
use godvision_access::io::spent_log::{SharedSpentLog, SpentLog};
use godvision_access::pass::rolling::{RollingSecret, RollingVerifier};
use godvision_access::pass::{self, PassClaims, PassId, PassKey, PassVerifier, Uses};
use godvision_access::relay::RelayRegistry;
use godvision_access::spent::Spendable;
use godvision_access::{AccessControl, RuleSet, Ruling};
use godvision_core::bus::{Host, HostOptions, Registry};
use godvision_core::signal::door::{Credential, DoorState, Key, Reason, Verdict};
use godvision_core::site::document::SiteDocument;
use godvision_core::{Clock, ManualClock, MonoTime, Name, Secret, Stamp, WallTime};

const GATE: &str = "yard/gate";
const HOUSE: &str = "yard/house";

const RULES: &str = r#"
    version = 1
    [[rule]]
    name = "residents"
    permit = ["ada"]
    doors = ["any"]
    [[rule]]
    name = "visitors"
    permit = ["anyone"]
    doors = ["yard/gate"]
    by = ["qr"]
"#;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(seconds: i64) -> WallTime {
    WallTime::from_unix_seconds(1_795_255_200 + seconds)
}

fn stamp(seconds: i64) -> Stamp {
    Stamp::new(MonoTime::ZERO, at(seconds))
}

fn access() -> AccessControl {
    let mut directory = Directory::new([7; 16]);
    for person in ["ada", "bob"] {
        directory.add_person(name(person)).unwrap();
    }
    directory.add_key(&name("ada"), &Key::Pin("2580".into())).unwrap();
    directory.add_duress_pin(&name("ada"), &"2581".into()).unwrap();
    directory.add_duress_pin(&name("bob"), &"9999".into()).unwrap();
    let mut rolling = RollingVerifier::new(name("home"));
    for person in ["ada", "gone"] {
        rolling.add(&name(person), RollingSecret::derived(&[1; 32], &name(person), 0)).unwrap();
    }
    AccessControl {
        directory,
        passes: PassVerifier::new(name("home")).with(PassKey::insecure_demo().public()).with_rolling(rolling),
        rules: RuleSet::parse(RULES).unwrap().compile().unwrap(),
    }
}

fn code(person: &str, seconds: i64) -> Key {
    let secret = RollingSecret::derived(&[1; 32], &name(person), 0);
    Key::Qr(secret.code(&name("home"), &name(person), at(seconds)).unwrap().0)
}

fn guest_pass(person: Option<&str>) -> Secret {
    PassKey::insecure_demo().sign(&name("home"), &guest_claims(person)).unwrap()
}

fn guest_claims(person: Option<&str>) -> PassClaims {
    PassClaims {
        id: PassId([1; 6]),
        person: person.map(name),
        doors: pass::Doors::Each(vec![name(GATE), name(HOUSE)]),
        not_before: at(0),
        not_after: at(3_600),
        uses: Uses::Times(2),
    }
}

fn rule(key: Key, door: &str, seconds: i64) -> Ruling {
    let credential = Credential { source: name("reader"), key, at: stamp(seconds) };
    access().decide(&credential, &name(door), stamp(seconds))
}

#[test]
fn a_ruling_says_what_is_used_up() {
    let ruling = rule(code("ada", 0), HOUSE, 20);
    assert_eq!((ruling.decision.verdict, ruling.decision.user.clone()), (Verdict::Admit, Some(name("ada"))));
    let (spending, times) = ruling.to_spend().unwrap();
    assert_eq!((times, spending.until, spending.at), (1, at(60), at(20)));
    assert!(matches!(spending.what, Spendable::Step { .. }));
    let (at_gate, _) = rule(code("ada", 0), GATE, 20).to_spend().unwrap();
    assert_ne!(spending.what, at_gate.what, "another door, another use");
    let (next_step, _) = rule(code("ada", 30), HOUSE, 30).to_spend().unwrap();
    assert_ne!(spending.what, next_step.what);

    let ruling = rule(Key::Qr(guest_pass(None)), GATE, 20);
    assert_eq!((ruling.decision.verdict, &ruling.decision.user), (Verdict::Admit, &None), "whoever holds it");
    let (spending, times) = ruling.to_spend().unwrap();
    assert_eq!((spending.what, times), (Spendable::Pass { key: 0, id: PassId([1; 6]) }, 2));
    assert_eq!(spending.until, at(3_600));
    let refused = ruling.clone().refused(Reason::AwaitsSecond);
    assert_eq!((refused.to_spend(), refused.spending()), (None, ruling.to_spend()), "a refusal spends nothing yet");

    let mut withdrawn = access();
    withdrawn.directory.revoke_person(&name("ada")).unwrap();
    for key in [code("ada", 0), Key::Qr(guest_pass(Some("ada")))] {
        let credential = Credential { source: name("reader"), key, at: stamp(0) };
        let decision = withdrawn.decide(&credential, &name(HOUSE), stamp(0)).decision;
        assert_eq!((decision.reason, decision.user), (Reason::Revoked, Some(name("ada"))), "the journal knows whose");
    }
}

#[test]
fn every_refusal_has_its_reason_and_only_pins_that_are_nobodys_are_guesses() {
    let forged = PassKey::from_seed(0, &[9; 32]).sign(&name("home"), &guest_claims(Some("ada"))).unwrap();
    let of_the_neighbours = PassKey::from_seed(5, &[9; 32]).sign(&name("next"), &guest_claims(None)).unwrap();
    let cut = Key::Qr(guest_pass(Some("ada")).expose()[..100].into());
    for (key, door, seconds, reason, guess) in [
        (code("ada", 0), HOUSE, 90, Reason::Expired, false),
        (code("ada", 0), HOUSE, -31, Reason::NotYetValid, false),
        (code("gone", 0), HOUSE, 0, Reason::UnknownCredential, false),
        (code("eve", 0), HOUSE, 0, Reason::BadPass, false),
        (Key::Qr(guest_pass(None)), HOUSE, 0, Reason::NoRule, false),
        (Key::Qr(guest_pass(Some("eve"))), GATE, 0, Reason::UnknownCredential, false),
        (Key::Qr(guest_pass(Some("ada"))), "yard/shed", 0, Reason::WrongDoor, false),
        (Key::Qr(guest_pass(Some("ada"))), HOUSE, -61, Reason::NotYetValid, false),
        (Key::Qr("https://example.org/menu".into()), HOUSE, 0, Reason::BadPass, false),
        (cut, HOUSE, 0, Reason::BadPass, false),
        (Key::Qr(forged), HOUSE, 0, Reason::BadPass, false),
        (Key::Qr(of_the_neighbours), HOUSE, 0, Reason::BadPass, false),
        (Key::Pin("0000".into()), HOUSE, 0, Reason::UnknownCredential, true),
        (Key::Card("AB12".into()), HOUSE, 0, Reason::UnknownCredential, false),
        (Key::Plate("B123".into()), HOUSE, 0, Reason::UnknownCredential, false),
        (Key::Face { person: name("eve"), live: true }, HOUSE, 0, Reason::UnknownCredential, false),
        (Key::Pin("9999".into()), HOUSE, 0, Reason::NoRule, false),
    ] {
        let shown = format!("{key:?} at {door}, {seconds} s");
        let ruling = rule(key, door, seconds);
        assert_eq!((ruling.decision.verdict, ruling.decision.reason), (Verdict::Refuse, reason), "{shown}");
        assert_eq!(ruling.guess, guess, "{shown}");
        assert_eq!(ruling.to_spend(), None, "{shown}");
    }
    assert!(!rule(Key::Pin("2580".into()), HOUSE, 0).guess);
}

#[test]
fn a_pin_for_duress_is_ruled_like_any_other_and_nothing_but_the_mark_shows_it() {
    let (free, forced) = (rule(Key::Pin("2580".into()), HOUSE, 0), rule(Key::Pin("2581".into()), HOUSE, 0));
    assert!(!free.duress && forced.duress);
    assert_eq!(free.decision, forced.decision);
    let entries = [&free, &forced].map(|ruling| format!("{:?}", journal_entry(&name(HOUSE), ruling)));
    assert_eq!(entries[0], entries[1], "what every operator may read is the same");
    assert!(rule(Key::Pin("9999".into()), HOUSE, 0).duress, "also where no rule lets them in");
}

async fn running(clock: &Arc<ManualClock>, spent: &Path) -> (Host, Doors) {
    let clock: Arc<dyn Clock> = clock.clone();
    let log = SharedSpentLog::from(SpentLog::open(spent).unwrap());
    let relays = RelayRegistry::standard(Arc::clone(&clock));
    let unit = DoorUnit::new(SharedAccess::new(access()), Arc::new(log), relays);
    let doors = unit.doors();
    let components = [GATE, HOUSE].map(|door| {
        format!("[[component]]\nname = \"{door}\"\nunit = \"door\"\nparams = {{ relay = \"simulated://\" }}\n")
    });
    let document = format!("version = 1\nsite = \"home\"\n{}", components.concat());
    let host = Host::new(HostOptions { clock, ..HostOptions::default() }, Registry::new().with(unit));
    host.apply(&SiteDocument::parse(&document).unwrap()).await.unwrap();
    let is_ready =
        |door| doors.get(&name(door)).is_some_and(|it| it.last.is_some_and(|it| it.state == DoorState::Locked));
    for _ in 0..1_000 {
        if is_ready(GATE) && is_ready(HOUSE) {
            return (host, doors);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the doors do not get ready");
}

#[tokio::test]
async fn a_code_opens_each_door_once_and_a_restart_changes_nothing() {
    let folder = std::env::temp_dir().join(format!("godvision-rolling-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let clock = Arc::new(ManualClock::at(stamp(0)));
    let shown = code("ada", 0);
    let present = async |doors: &Doors, key: &Key, door: &str| {
        let credential = Credential { source: name("reader"), key: key.clone(), at: clock.now() };
        doors.present(&name(door), credential).await.unwrap().reason
    };
    let (host, doors) = running(&clock, &folder.join("spent.log")).await;
    assert_eq!(present(&doors, &shown, GATE).await, Reason::Permitted);
    assert_eq!(present(&doors, &shown, GATE).await, Reason::Spent, "photographed over a shoulder");
    assert_eq!(present(&doors, &shown, HOUSE).await, Reason::Permitted, "the house behind the gate");
    host.shutdown().await;
    drop((host, doors));

    let (host, doors) = running(&clock, &folder.join("spent.log")).await;
    assert_eq!(present(&doors, &shown, HOUSE).await, Reason::Spent, "after a restart within the minute");
    clock.advance(Duration::from_secs(30));
    assert_eq!(present(&doors, &code("ada", 30), HOUSE).await, Reason::Permitted, "the page shows the next one");
    clock.advance(Duration::from_secs(30));
    assert_eq!(present(&doors, &shown, HOUSE).await, Reason::Expired);
    host.shutdown().await;
    std::fs::remove_dir_all(&folder).unwrap();
}
