//! Who was removed comes back within a day and never later: not from the persons document, and the next person of that
//! name gets neither their passes nor their face.

mod common;

use std::time::Duration;

use common::{Folder, NOW, clock, line};
use godvision_access::pass::{Doors, PassClaims, PassId, PassVerifier, Uses};
use godvision_core::journal::{Journal, Kept, Query};
use godvision_core::signal::door::{Credential, Key, Reason};
use godvision_core::{Clock, ManualClock, Name, WallTime};
use godvision_server::store::{KeyKind, Person, Store};
use godvision_vision::face::gallery::List;

const DAY: Duration = Duration::from_secs(24 * 3600);
const RULES: &str = "version = 1\n[groups]\nresidents = []\n[[rule]]\nname = \"residents\"\npermit = [\"group:residents\"]\n\
                     doors = [\"any\"]\nby = [\"card\", \"qr\"]\n";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn verifier() -> PassVerifier {
    PassVerifier::new(name("home"))
}

async fn start(folder: &Folder, clock: &ManualClock) -> Store {
    std::fs::create_dir_all(folder.path()).unwrap();
    std::fs::write(folder.path().join("rules.toml"), RULES).unwrap();
    let store = Store::open(folder.path(), None, std::sync::Arc::new(clock.clone())).await.unwrap();
    store.access().load(verifier()).await.unwrap();
    store
}

fn write(folder: &Folder, people: &[&str]) {
    let people: String = people
        .iter()
        .enumerate()
        .map(|(n, name)| format!("[[person]]\nname = \"{name}\"\ncards = [\"0{n}AA\"]\ngroups = [\"residents\"]\n"))
        .collect();
    std::fs::create_dir_all(folder.path()).unwrap();
    std::fs::write(folder.path().join("persons.toml"), format!("version = 1\n{people}")).unwrap();
}

fn reason(store: &Store, clock: &ManualClock, key: Key) -> Reason {
    let (door, now) = (name("house/front"), Clock::now(clock));
    let credential = Credential { source: name("reader"), key, at: now };
    store.access().shared().current().decide(&credential, &door, now).decision.reason
}

fn card(text: &str) -> Key {
    Key::Card(text.into())
}

async fn resident(store: &Store, name: &str) {
    let person = Person { groups: [self::name("residents")].into(), ..Person::new(self::name(name)) };
    store.access().put_person(&person, line()).await.unwrap();
}

async fn lines(store: &Store, code: &str) -> Vec<Kept> {
    let lines = store.journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
    lines.into_iter().filter(|line| line.code == code).collect()
}

#[tokio::test]
async fn a_changed_persons_document_does_not_bring_back_who_was_removed_long_ago() {
    let (folder, clock) = (Folder::new(), clock());
    write(&folder, &["bob"]);
    let store = start(&folder, &clock).await;
    assert_eq!(reason(&store, &clock, card("00AA")), Reason::Permitted);
    store.access().remove_person(&name("bob"), line()).await.unwrap();
    store.close().await;
    clock.advance(2 * DAY);
    write(&folder, &["bob", "carl"]);
    let store = start(&folder, &clock).await;
    assert_eq!(reason(&store, &clock, card("01AA")), Reason::Permitted, "carl is new");
    assert_eq!(reason(&store, &clock, card("00AA")), Reason::UnknownCredential, "bob stays removed");
    assert_eq!(store.access().person(&name("bob")).await.unwrap(), None);
    store.close().await;
    // Who struck him from the file and writes him there anew means somebody.
    for people in [&["carl"][..], &["bob", "carl"]] {
        write(&folder, people);
        start(&folder, &clock).await.close().await;
    }
    let store = start(&folder, &clock).await;
    assert_eq!(reason(&store, &clock, card("00AA")), Reason::Permitted);
    // And who adds the name by hand makes the file count again.
    store.access().remove_person(&name("bob"), line()).await.unwrap();
    clock.advance(2 * DAY);
    resident(&store, "bob").await;
    store.access().remove_person(&name("bob"), line()).await.unwrap();
    assert!(store.access().restore_person(&name("bob"), line()).await.is_ok());
}

#[tokio::test]
async fn the_next_person_of_a_name_has_nothing_of_the_one_before() {
    let (folder, clock) = (Folder::new(), clock());
    let store = start(&folder, &clock).await;
    resident(&store, "bob").await;
    resident(&store, "anna").await;
    common::enrolled(&store, "bob").await;
    let claims = |person: &str, id: u8| PassClaims {
        id: PassId([id; 6]),
        person: Some(name(person)),
        doors: Doors::All,
        not_before: WallTime::from_unix_seconds(NOW),
        not_after: WallTime::from_unix_seconds(NOW + 300 * 24 * 3600),
        uses: Uses::Any,
    };
    for (person, id) in [("bob", 1), ("anna", 2)] {
        store.access().make_pass(&store.access().site(), &claims(person, id), "ada", line()).await.unwrap();
    }
    let text = async |id: u8| {
        let access = store.access();
        access.pass_text(&access.pass(&format!("{id:02x}").repeat(6)).await.unwrap()).await.unwrap()
    };
    let (his, hers) = (Key::Qr(text(1).await), Key::Qr(text(2).await));
    assert_eq!(reason(&store, &clock, his.clone()), Reason::Permitted);
    store.access().remove_person(&name("bob"), line()).await.unwrap();
    assert_eq!(reason(&store, &clock, his.clone()), Reason::UnknownCredential);
    clock.advance(DAY / 2);
    store.access().restore_person(&name("bob"), line()).await.unwrap();
    assert_eq!(reason(&store, &clock, his.clone()), Reason::Permitted, "within a day all comes back");
    assert_eq!(store.faces().persons().len(), 1);
    store.access().remove_person(&name("bob"), line()).await.unwrap();
    clock.advance(DAY + Duration::from_secs(1));
    // Somebody else, without a start in between.
    resident(&store, "bob").await;
    assert_eq!(reason(&store, &clock, his), Reason::Revoked, "the old pass is withdrawn");
    assert_eq!(reason(&store, &clock, hers), Reason::Permitted, "and no other");
    let withdrawn = store.access().pass(&"01".repeat(6)).await.unwrap().withdrawn.unwrap();
    assert_eq!((&*withdrawn.by, &*withdrawn.reason), ("removed", "the person was removed"));
    assert!(store.faces().persons().is_empty(), "the old face is nobody's");
    assert!(store.faces().portraits().await.unwrap().is_empty());
    let told = lines(&store, "person.forgotten").await;
    assert_eq!(told.len(), 1);
    for (field, value) in [("person", "bob"), ("passes", "1"), ("faces", "1")] {
        assert!(told[0].fields.contains(&(field.to_owned(), value.to_owned())), "{:?}", told[0].fields);
    }
}

#[tokio::test]
async fn the_day_to_undo_ends_also_on_a_server_that_runs_on() {
    let (folder, clock) = (Folder::new(), clock());
    let store = start(&folder, &clock).await;
    resident(&store, "bob").await;
    store.access().add_key(&name("bob"), KeyKind::Card, "00AA".into(), |_| line()).await.unwrap();
    store.access().remove_person(&name("bob"), line()).await.unwrap();
    clock.advance(DAY);
    store.access().restore_person(&name("bob"), line()).await.unwrap();
    store.access().remove_person(&name("bob"), line()).await.unwrap();
    clock.advance(DAY + Duration::from_secs(1));
    assert!(store.access().restore_person(&name("bob"), line()).await.is_err(), "a day is over");
    resident(&store, "bob").await;
    assert_eq!(reason(&store, &clock, card("00AA")), Reason::UnknownCredential);
    // Nobody changes anything: the hourly look does it.
    resident(&store, "zoe").await;
    common::enrolled(&store, "zoe").await;
    store.access().remove_person(&name("zoe"), line()).await.unwrap();
    clock.advance(2 * DAY);
    store.access().forget_removed().await.unwrap();
    assert!(store.faces().persons().is_empty());
    assert_eq!(lines(&store, "person.forgotten").await.len(), 2);
    store.access().forget_removed().await.unwrap();
    assert_eq!(lines(&store, "person.forgotten").await.len(), 2, "once");
}

#[tokio::test]
async fn who_is_watched_for_stays_so() {
    let (folder, clock) = (Folder::new(), clock());
    let store = start(&folder, &clock).await;
    resident(&store, "bob").await;
    store.access().remove_person(&name("bob"), line()).await.unwrap();
    let prepared = store.faces().prepare(vec![common::portrait()]).await.unwrap();
    store.faces().enrol(&name("bob"), List::Watch, &prepared, "ada", "was dismissed").await.unwrap();
    clock.advance(2 * DAY);
    store.access().forget_removed().await.unwrap();
    assert_eq!(store.access().person(&name("bob")).await.unwrap(), None);
    assert_eq!(store.faces().persons().len(), 1);
}
