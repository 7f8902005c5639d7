//! A button on a running site: set up by its token, linked from every door, admitted by the door's own rules alone, kept in
//! the journal before the lock moves, and told of what the doors say.

mod common;

use std::path::Path;
use std::time::Duration;

use common::bot_api::{Done, FakeBotApi, TOKEN};
use common::{Folder, line};
use godvision_access::pass::PassVerifier;
use godvision_core::bus::ParamValue;
use godvision_core::journal::{Journal, Query};
use godvision_core::signal::door::{DoorState, Reason, Verdict};
use godvision_core::site::SiteDocument;
use godvision_core::{Name, SystemClock};
use godvision_server::site::SITE_FILE;
use godvision_server::store::{Notice, Notices, Store};
use godvision_server::web::system::{DoorChange, PremisesCommand, System, SystemError};
use godvision_server::wiring::{Parts, Wiring};

const DOCUMENT: &str = "# Mine.\nversion = 1\nsite = \"home\"\n[[component]]\nname = \"front\"\nunit = \"door\"\n\
                        params = { relay = \"simulated://\" }\n";

const RULES: &str = "version = 1\n[[rule]]\nname = \"button\"\npermit = [\"ada\"]\ndoors = [\"front\"]\nby = [\"remote\"]\n\
                     [[rule]]\nname = \"usual\"\npermit = [\"ada\", \"bob\"]\ndoors = [\"any\"]\n";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn start(folder: &Path) -> Wiring {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(SITE_FILE), DOCUMENT).unwrap();
    let store = Store::open(folder, None, SystemClock::shared()).await.unwrap();
    let parts = Parts::open(folder, None, store, PassVerifier::new("home".parse().unwrap())).await.unwrap();
    let wiring = Wiring::start(parts, &SiteDocument::parse(DOCUMENT).unwrap()).await.unwrap();
    let access = wiring.store().access();
    for person in ["ada", "bob"] {
        common::known(wiring.store(), person).await;
    }
    access.set_rules(RULES, access.rules().version.id, "ada", line()).await.unwrap();
    wiring
}

async fn until(system: &dyn System, what: &str, state: DoorState) {
    let looking = async {
        while system.doors()[0].state != state {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn it_opens_by_a_rule_that_names_it_and_by_no_other() {
    let (folder, fake) = (Folder::new(), FakeBotApi::start(SystemClock::shared()).await);
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    until(&*system, "the relay is read", DoorState::Locked).await;

    // What is wrong is refused, and the document stays.
    for (token, api) in [(None, None), (Some("12:short"), None), (Some(TOKEN), Some("http://192.0.2.1".to_owned()))] {
        let refused = system.put_telegram(token.map(Into::into), api).await;
        assert!(matches!(refused, Err(SystemError::Refused { .. })), "{refused:?}");
    }
    let text = || std::fs::read_to_string(folder.path().join(SITE_FILE)).unwrap();
    assert_eq!(text(), DOCUMENT);
    system.put_telegram(Some(TOKEN.into()), Some(fake.url())).await.unwrap();
    assert!(text().contains("front#alarms") && text().contains("# Mine.") && !text().contains(TOKEN), "{}", text());
    let relay = ("relay".to_owned(), Some(ParamValue::Secret("simulated://".into())));
    system.put_door(&name("back"), DoorChange { params: vec![relay], sources: None }).await.unwrap();
    assert!(text().contains("back#alarms"), "a door that comes later is heard too: {}", text());

    // Rules that do not name it admit nobody by it, whatever they carry and may otherwise do.
    let unnamed = system.open_remotely(&name("front"), &name("bob")).await.unwrap();
    assert_eq!((unnamed.verdict, unnamed.reason), (Verdict::Refuse, Reason::NotEnough));
    let stranger = system.open_remotely(&name("front"), &name("otto")).await.unwrap();
    assert_eq!((stranger.verdict, stranger.reason), (Verdict::Refuse, Reason::UnknownCredential));
    assert!(system.open_remotely(&name("nowhere"), &name("ada")).await.is_err());

    let telegram = wiring.store().telegram();
    let notices = Notices([Notice::Alarms, Notice::Refusals].into());
    let code = telegram.make_code(&name("ada"), &notices).await.unwrap().code;
    fake.write(100, &format!("/start {}", code.expose()));
    fake.nth(1, "bound", |done| done.text.contains("now ada's")).await;
    let buttons = async |count: usize| {
        fake.write(100, "/doors");
        fake.nth(count, "buttons", |done| !done.buttons.is_empty()).await
    };
    let pressed = async |said: &Done, words: &str| {
        let before = fake.done().len();
        fake.press(100, 100, said.message, &said.buttons[0].1);
        let is_it = |done: &Done| done.method == "answerCallbackQuery" && done.text.contains(words);
        fake.nth(fake.done()[..before].iter().filter(|done| is_it(done)).count() + 1, words, is_it).await
    };
    let offered = buttons(1).await;
    assert_eq!(
        offered.buttons.iter().map(|(door, _)| door.as_str()).collect::<Vec<_>>(),
        ["front"],
        "not the back one"
    );
    pressed(&offered, "✓ front: opened").await;
    // The lock's own line follows in its own time.
    let lines = async || wiring.store().journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
    while lines().await.iter().all(|line| line.code != "door.unlocked") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lines = lines().await;
    let at =
        |code: &str| lines.iter().position(|line| line.code == code).unwrap_or_else(|| panic!("{code}: {lines:#?}"));
    assert!(at("access.admitted") > at("door.unlocked"), "newest first: decided and kept before the lock moved");
    let admitted = &lines[at("access.admitted")];
    for (field, value) in [("source", "telegram"), ("credential", "remote"), ("person", "ada"), ("rule", "button")] {
        assert!(admitted.fields.iter().any(|(name, it)| name == field && it == value), "{field}: {admitted:?}");
    }

    // Between the offer and the press a rule went, then the door was locked down: the door decides, not the button.
    until(&*system, "locked again", DoorState::Locked).await;
    let offered = buttons(2).await;
    let access = wiring.store().access();
    let without = RULES.replace("permit = [\"ada\"]", "permit = [\"bob\"]");
    access.set_rules(&without, access.rules().version.id, "ada", line()).await.unwrap();
    pressed(&offered, "refused").await;
    access.set_rules(RULES, access.rules().version.id, "ada", line()).await.unwrap();
    let offered = buttons(3).await;
    let lockdown = PremisesCommand::Lockdown { doors: vec![name("front")], is_on: true };
    system.command(lockdown, "otto").await.unwrap();
    pressed(&offered, "locked down").await;
    fake.nth(1, "the alarm", |done| done.method == "sendMessage" && done.text.contains("front: locked down")).await;
    fake.nth(1, "the refusal", |done| done.method == "sendMessage" && done.text.contains("ada refused by remote"))
        .await;
    let lines = wiring.store().journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
    assert_eq!(lines.iter().filter(|line| line.code == "access.admitted").count(), 1);
    assert!(!format!("{lines:?}").contains(TOKEN));

    system.remove_telegram().await.unwrap();
    assert!(!text().contains("telegram"), "{}", text());
    drop(system);
    wiring.shutdown().await;
}

#[tokio::test]
async fn a_keypad_on_a_page_is_a_reader_of_its_door() {
    use godvision_core::signal::door::{Indication, Key};
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let (system, front, keypad) = (wiring.system(), name("front"), name("keypad/front"));
    until(&*system, "the relay is read", DoorState::Locked).await;
    let access = wiring.store().access();
    let kind = godvision_server::store::KeyKind::Pin;
    access.add_key(&name("bob"), kind, "271828".into(), |_| line()).await.unwrap();
    assert!(system.add_keypad(&keypad, &name("nowhere")).await.is_err());
    system.add_keypad(&keypad, &front).await.unwrap();
    assert!(system.add_keypad(&keypad, &front).await.is_err(), "once");
    assert_eq!(system.keypads().iter().map(|it| it.door.clone()).collect::<Vec<_>>(), [Some(front.clone())]);
    let mut handle = system.keypad(&keypad).unwrap();
    let mut shows = async |what: Indication| {
        let looking = async {
            while handle.shown() != what {
                handle.changed().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), looking).await.unwrap_or_else(|_| panic!("{what:?}"));
    };
    shows(Indication::Ready).await;
    let types = async |pin: &str| system.keypad(&keypad).unwrap().present(Key::Pin(pin.into())).unwrap();
    types("999999").await;
    shows(Indication::Refused).await;
    shows(Indication::Ready).await;
    types("271828").await;
    shows(Indication::Open).await;
    let lines = wiring.store().journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
    let admitted = lines.iter().find(|line| line.code == "access.admitted").unwrap();
    assert!(admitted.fields.iter().any(|(field, value)| field == "source" && value == "keypad/front"), "{admitted:?}");
    assert!(!format!("{lines:?}").contains("271828"));
    system.remove_keypad(&keypad).await.unwrap();
    assert!(system.keypads().is_empty() && system.keypad(&keypad).is_err());
    drop(system);
    wiring.shutdown().await;
}
