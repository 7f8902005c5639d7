//! People of the cabinet: what is changed there is in force at the doors at once, is journalled in the same transaction,
//! can be undone, and shows no PIN and no whole card. A persons document is taken over once.

mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use common::{Answer, Folder, Server, clock};
use godvision_access::pass::PassVerifier;
use godvision_core::journal::{Journal, Kept, Query};
use godvision_core::signal::door::{Credential, Decision, Key, Reason, Verdict};
use godvision_core::{Clock, Secret};
use godvision_server::store::{
    DATABASE_FILE, KEYS_EACH_MAX, PERSON_GROUPS_MAX, PeopleQuery, Store, StoreError, verify,
};

/// What a door would decide now.
fn decided(store: &Store, key: Key) -> Decision {
    let door = "house/front".parse().unwrap();
    let now = Clock::now(&clock());
    let credential = Credential { source: "reader".parse().unwrap(), key, at: now };
    store.access().shared().current().decide(&credential, &door, now).decision
}

fn reason(store: &Store, key: Key) -> Reason {
    decided(store, key).reason
}

const RULES: &str = "version = 1\n[groups]\nresidents = []\nguests = [\"zoe\"]\n[[rule]]\nname = \"residents\"\n\
                     permit = [\"group:residents\", \"group:guests\"]\ndoors = [\"any\"]\nby = [\"card\", \"pin\", \"plate\"]\n";

async fn with_rules() -> (Server, Secret) {
    let server = Server::start().await;
    server.store.access().set_rules(RULES, 1, "test", common::line()).await.unwrap();
    let token = server.token("ada").await;
    (server, token)
}

async fn ask(server: &Server, token: &Secret, method: Method, path: &str, body: &str) -> Answer {
    let request = server.request(method, path).token(token);
    if body.is_empty() { request.send().await } else { request.json(body.to_owned()).send().await }
}

async fn journal(store: &Store) -> Vec<Kept> {
    store.journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap()
}

#[tokio::test]
async fn a_card_a_pin_and_a_plate_open_from_the_moment_they_are_given() {
    let (server, token) = with_rules().await;
    let store = &server.store;
    let keys = [Key::Card("04A1B2C3".into()), Key::Pin("258046".into()), Key::Plate("A123BC77".into())];
    for key in &keys {
        assert_eq!(reason(store, key.clone()), Reason::UnknownCredential);
    }
    let made = ask(&server, &token, Method::PUT, "/api/v1/people/bob", r#"{"groups": ["residents"]}"#).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    for (body, key) in [
        (r#"{"kind": "card", "key": "04:a1-b2 c3"}"#, &keys[0]),
        (r#"{"kind": "pin", "key": "258046"}"#, &keys[1]),
        (r#"{"kind": "plate", "key": "а123вс 77"}"#, &keys[2]),
    ] {
        let given = ask(&server, &token, Method::POST, "/api/v1/people/bob/keys", body).await;
        assert_eq!(given.status, StatusCode::OK, "{}", given.text());
        let decision = decided(store, key.clone());
        assert_eq!((decision.verdict, decision.user.unwrap().as_str()), (Verdict::Admit, "bob"), "{body}");
    }
    // Groups decide: out of it, he is known and not permitted.
    ask(&server, &token, Method::PUT, "/api/v1/people/bob", r#"{"groups": []}"#).await;
    assert_eq!(reason(store, keys[0].clone()), Reason::NoRule);
    ask(&server, &token, Method::PUT, "/api/v1/people/bob", r#"{"groups": ["guests"]}"#).await;
    assert_eq!(reason(store, keys[0].clone()), Reason::Permitted, "beside whom the rules name themselves");
    let withdrawn = r#"{"groups": ["guests"], "revoked": true}"#;
    ask(&server, &token, Method::PUT, "/api/v1/people/bob", withdrawn).await;
    for key in &keys {
        let refused = decided(store, key.clone());
        assert_eq!(
            (refused.reason, refused.user),
            (Reason::Revoked, Some("bob".parse().unwrap())),
            "and it is said whose"
        );
    }
}

#[tokio::test]
async fn withdrawing_forgetting_and_removing_are_in_force_at_once_and_undone() {
    let (server, token) = with_rules().await;
    let (store, card) = (&server.store, Key::Card("04A1B2C3".into()));
    ask(&server, &token, Method::PUT, "/api/v1/people/bob", r#"{"groups": ["residents"]}"#).await;
    let give = r#"{"kind": "card", "key": "04A1B2C3"}"#;
    let given = ask(&server, &token, Method::POST, "/api/v1/people/bob/keys", give).await.json();
    let id = given["keys"][0]["id"].as_u64().unwrap();
    let key = format!("/api/v1/keys/{id}");
    ask(&server, &token, Method::PUT, &key, r#"{"revoked": true}"#).await;
    assert_eq!(reason(store, card.clone()), Reason::Revoked);
    ask(&server, &token, Method::PUT, &key, r#"{"revoked": false}"#).await;
    assert_eq!(reason(store, card.clone()), Reason::Permitted);
    ask(&server, &token, Method::DELETE, "/api/v1/people/bob", "").await;
    assert_eq!(reason(store, card.clone()), Reason::UnknownCredential);
    assert!(store.access().person(&"bob".parse().unwrap()).await.unwrap().is_none());
    let taken = ask(&server, &token, Method::PUT, "/api/v1/people/bob", "{}").await;
    assert_eq!((taken.status, &*taken.code()), (StatusCode::BAD_REQUEST, "bad_name"), "the name is still his");
    assert_eq!(ask(&server, &token, Method::DELETE, "/api/v1/people/bob", "").await.status, StatusCode::NOT_FOUND);
    let back = ask(&server, &token, Method::POST, "/api/v1/people/bob/restore", "").await;
    assert_eq!((back.status, &back.json()["keys"][0]["label"]), (StatusCode::OK, &"…B2C3".into()));
    assert_eq!(reason(store, card.clone()), Reason::Permitted, "with what he carried");
    ask(&server, &token, Method::DELETE, &key, "").await;
    assert_eq!(reason(store, card.clone()), Reason::UnknownCredential);
    // After a day a removal is for good, and the name is free.
    ask(&server, &token, Method::DELETE, "/api/v1/people/bob", "").await;
    server.clock.advance(std::time::Duration::from_secs(24 * 3600 + 1));
    store.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
    let token = server.token("ada").await;
    assert_eq!(
        ask(&server, &token, Method::POST, "/api/v1/people/bob/restore", "").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(ask(&server, &token, Method::PUT, "/api/v1/people/bob", "{}").await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_changed_what_is_in_the_journal_and_no_secret_is_anywhere() {
    const PIN: &str = "73190264";
    const CARD: &str = "0123456789ABCDEF";
    let (mut server, token) = with_rules().await;
    let bodies = [
        (Method::PUT, "/api/v1/people/bob", r#"{"title": "Bob", "groups": ["residents"]}"#.to_owned()),
        (Method::POST, "/api/v1/people/bob/keys", format!(r#"{{"kind": "pin", "key": "{PIN}"}}"#)),
        (Method::POST, "/api/v1/people/bob/keys", format!(r#"{{"kind": "card", "key": "{CARD}"}}"#)),
        // Every way to get it into an error: taken, of another kind, of a broken body.
        (Method::POST, "/api/v1/people/zed/keys", format!(r#"{{"kind": "pin", "key": "{PIN}"}}"#)),
        (Method::PUT, "/api/v1/people/zed", "{}".to_owned()),
        (Method::POST, "/api/v1/people/zed/keys", format!(r#"{{"kind": "pin", "key": "{PIN}"}}"#)),
        (Method::POST, "/api/v1/people/zed/keys", format!(r#"{{"kind": "plate", "key": "{PIN}{PIN}"}}"#)),
        (Method::POST, "/api/v1/people/zed/keys", format!(r#"{{"kind": "{PIN}", "key": "{PIN}"}}"#)),
        (Method::POST, "/api/v1/people/zed/keys", format!(r#"{{"kind": "pin", "{PIN}": 1}}"#)),
        (Method::POST, "/api/v1/people/zed/keys", format!(r#"{{"kind": "card", "key": "{CARD}"}}"#)),
        (Method::GET, "/api/v1/people", String::new()),
        (Method::GET, "/people", String::new()),
    ];
    for (method, path, body) in bodies {
        let answer = ask(&server, &token, method, path, &body).await;
        let text = answer.text();
        assert!(!text.contains(PIN) && !text.contains(CARD), "{path}: {text}");
        if answer.status.is_client_error() {
            assert!(["bad_key", "bad_kind", "bad_body", "not_found"].contains(&&*answer.code()), "{path}: {text}");
        }
    }
    let lines = journal(&server.store).await;
    let said = format!("{lines:?}");
    assert!(!said.contains(PIN) && !said.contains(CARD));
    let codes: Vec<&str> = lines.iter().map(|line| &*line.code).filter(|code| !code.starts_with("rules")).collect();
    assert_eq!(
        codes.iter().filter(|code| **code != "test.changed").collect::<Vec<_>>(),
        [&"person.added", &"key.added", &"key.added", &"person.added"],
        "one line for each change, none for what was refused"
    );
    let added = lines.iter().find(|line| line.code == "key.added").unwrap();
    for (name, value) in [("person", "bob"), ("kind", "card"), ("user", "ada"), ("label", "…CDEF")] {
        assert!(added.fields.contains(&(name.to_owned(), value.to_owned())), "{:?}", added.fields);
    }
    assert_eq!(verify(server.folder.path(), &[], |_| ()).await.unwrap().broken, None, "and the chain holds");
    server.stop().await;
    server.store.close().await;
    for file in std::fs::read_dir(server.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for canary in [PIN, CARD] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()));
        }
    }
}

#[tokio::test]
async fn what_the_doors_could_not_use_is_refused_and_changes_nothing() {
    let (server, token) = with_rules().await;
    ask(&server, &token, Method::PUT, "/api/v1/people/bob", r#"{"groups": ["residents"]}"#).await;
    ask(&server, &token, Method::POST, "/api/v1/people/bob/keys", r#"{"kind": "card", "key": "04A1B2C3"}"#).await;
    let before = journal(&server.store).await.len();
    let many: Vec<String> = (0..=PERSON_GROUPS_MAX).map(|n| format!("\"g{n}\"")).collect();
    let long = "x".repeat(101);
    for (path, body, code) in [
        ("/api/v1/people/a%20b", "{}".to_owned(), "bad_name"),
        ("/api/v1/people/anyone", "{}".to_owned(), "bad_name"),
        ("/api/v1/people/zed", format!(r#"{{"groups": [{}]}}"#, many.join(",")), "bad_groups"),
        ("/api/v1/people/zed", r#"{"groups": ["a b"]}"#.to_owned(), "bad_groups"),
        ("/api/v1/people/zed", format!(r#"{{"title": "{long}"}}"#), "bad_title"),
        ("/api/v1/people/zed", r#"{"note": "a\u0007b"}"#.to_owned(), "bad_note"),
        ("/api/v1/people/zed", r#"{"pin": "1234"}"#.to_owned(), "bad_body"),
    ] {
        let answer = ask(&server, &token, Method::PUT, path, &body).await;
        assert_eq!(answer.code(), code, "{path} {body}: {}", answer.text());
        assert!(answer.status.is_client_error());
    }
    for body in [
        r#"{"kind": "pin", "key": "123"}"#,
        r#"{"kind": "pin", "key": "12345678901234"}"#,
        r#"{"kind": "card", "key": "xyz"}"#,
        r#"{"kind": "card", "key": "04A1B2C3"}"#,
        r#"{"kind": "plate", "key": "Ж"}"#,
        r#"{"kind": "plate", "key": ""}"#,
    ] {
        let answer = ask(&server, &token, Method::POST, "/api/v1/people/bob/keys", body).await;
        assert_eq!((answer.status, &*answer.code()), (StatusCode::BAD_REQUEST, "bad_key"), "{body}");
    }
    let people = server.store.access().people(&PeopleQuery { limit: 10, ..PeopleQuery::default() }).await.unwrap();
    assert_eq!((people.len(), people[0].keys.len()), (1, 1));
    assert_eq!(journal(&server.store).await.len(), before);
    // A person carries so much and no more; a new PIN takes the place of the old one.
    for n in 1..KEYS_EACH_MAX {
        let body = format!(r#"{{"kind": "card", "key": "AA{n:04X}"}}"#);
        assert_eq!(ask(&server, &token, Method::POST, "/api/v1/people/bob/keys", &body).await.status, StatusCode::OK);
    }
    let pin = r#"{"kind": "pin", "key": "2580"}"#;
    assert_eq!(ask(&server, &token, Method::POST, "/api/v1/people/bob/keys", pin).await.code(), "bad_key");
    ask(&server, &token, Method::PUT, "/api/v1/people/eve", "{}").await;
    for pin in ["2580", "2581"] {
        let body = format!(r#"{{"kind": "pin", "key": "{pin}"}}"#);
        let answer = ask(&server, &token, Method::POST, "/api/v1/people/eve/keys", &body).await;
        assert_eq!(answer.json()["keys"].as_array().unwrap().len(), 1);
    }
    assert_eq!(reason(&server.store, Key::Pin("2580".into())), Reason::UnknownCredential);
    assert_eq!(reason(&server.store, Key::Pin("2581".into())), Reason::NoRule);
}

#[tokio::test]
async fn lists_are_searched_filtered_and_paged() {
    let (server, token) = with_rules().await;
    for n in 0..12 {
        let group = if n % 2 == 0 { "residents" } else { "Соседи" };
        let body = format!(r#"{{"title": "Ёжик {n}", "groups": ["{group}"]}}"#);
        ask(&server, &token, Method::PUT, &format!("/api/v1/people/p{n:02}"), &body).await;
    }
    let names = async |query: &str| {
        let found = server.get(&format!("/api/v1/people?{query}"), &token).await.json();
        let names: Vec<String> =
            found["people"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        (names, found["next"].as_str().map(str::to_owned))
    };
    assert_eq!(names("search=%D1%91%D0%B6%D0%B8%D0%BA+7").await.0, ["p07"]);
    assert_eq!(names("group=residents").await.0, ["p00", "p02", "p04", "p06", "p08", "p10"]);
    let (first, next) = names("limit=10").await;
    assert_eq!((first.len(), next.as_deref()), (10, Some("p09")));
    assert_eq!(names("limit=10&after=p09").await, (vec!["p10".into(), "p11".into()], None));
    let page = server.get("/people?group=residents", &token).await.text();
    assert!(page.contains("p10") && !page.contains("p11"));
    assert!(page.contains("No rule speaks of <strong>Соседи</strong>"), "a group that no rule names is pointed out");
}

#[tokio::test]
async fn a_persons_document_is_taken_over_once_and_the_cabinet_counts() {
    let folder = Folder::new();
    let open = async || {
        let store = Store::open(folder.path(), None, Arc::new(clock())).await.unwrap();
        store.access().load(PassVerifier::new("home".parse().unwrap())).await.map(|()| store)
    };
    let write = |text: &str| {
        std::fs::create_dir_all(folder.path()).unwrap();
        std::fs::write(folder.path().join("persons.toml"), text).unwrap();
    };
    std::fs::create_dir_all(folder.path()).unwrap();
    std::fs::write(folder.path().join("rules.toml"), RULES).unwrap();
    let ada = "[[person]]\nname = \"ada\"\ncards = [\"04A1B2C3\"]\ngroups = [\"residents\"]\n";
    let bob = "[[person]]\nname = \"bob\"\ncards = [\"05B2\"]\n";
    write(&format!("version = 1\n{ada}{bob}"));
    let store = open().await.unwrap();
    assert_eq!(reason(&store, Key::Card("04A1B2C3".into())), Reason::Permitted);
    assert_eq!(reason(&store, Key::Card("05B2".into())), Reason::NoRule);
    // What the cabinet says counts from then on.
    store.access().remove_person(&"bob".parse().unwrap(), common::line()).await.unwrap();
    store.close().await;
    let store = open().await.unwrap();
    assert_eq!(reason(&store, Key::Card("05B2".into())), Reason::UnknownCredential, "he does not come back");
    store.close().await;
    // A changed file adds whom the cabinet does not know, and revokes; it gives nothing back.
    let carl = "[[person]]\nname = \"carl\"\ncards = [\"06\"]\n";
    write(&format!("version = 1\n{ada}revoked = true\n{bob}{carl}"));
    let store = open().await.unwrap();
    assert_eq!(reason(&store, Key::Card("04A1B2C3".into())), Reason::Revoked);
    assert_eq!(reason(&store, Key::Card("05B2".into())), Reason::UnknownCredential);
    assert_eq!(reason(&store, Key::Card("06".into())), Reason::NoRule);
    store.close().await;
    write(&format!("version = 1\n{ada}{bob}{carl}\n# again\n"));
    let store = open().await.unwrap();
    assert_eq!(reason(&store, Key::Card("04A1B2C3".into())), Reason::Revoked);
    assert_eq!(journal(&store).await.iter().filter(|it| it.code == "people.imported").count(), 3);
    store.close().await;
    write("version = 1\n[[person]]\nname = \"dora\"\ncards = [\"06\"]\n");
    let refused = open().await.map(drop).unwrap_err();
    assert!(matches!(&refused, StoreError::Access(_)) && refused.to_string().contains("carl"), "{refused}");
}

#[tokio::test]
async fn a_duress_pin_opens_like_the_other_and_is_told_apart() {
    let server = Server::start().await;
    let token = server.token("ada").await;
    for name in ["bob", "carl"] {
        common::known(&server.store, name).await;
    }
    let give = async |person: &str, kind: &str, key: &str| {
        let body = format!(r#"{{"kind": "{kind}", "key": "{key}"}}"#);
        let path = format!("/api/v1/people/{person}/keys");
        server.request(Method::POST, &path).token(&token).json(body).send().await
    };
    let who = |pin: &str| server.store.access().shared().current().directory.who(&Key::Pin(pin.into()));
    assert_eq!(give("bob", "pin", "2580").await.status, StatusCode::OK);
    let given = give("bob", "duress_pin", "2581").await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.text());
    assert!(!given.text().contains("2581"));
    let bob = Some("bob".parse().unwrap());
    assert_eq!(who("2580").map(|it| (it.person, it.duress)), Ok((bob.clone(), false)));
    assert_eq!(who("2581").map(|it| (it.person, it.duress)), Ok((bob.clone(), true)));
    // The same digits are never both, whoever has them; and nobody learns whose they are.
    for (person, kind, pin) in
        [("bob", "duress_pin", "2580"), ("bob", "pin", "2581"), ("carl", "pin", "2581"), ("carl", "duress_pin", "2580")]
    {
        let refused = give(person, kind, pin).await;
        assert_eq!((refused.status, &*refused.code()), (StatusCode::BAD_REQUEST, "bad_key"), "{person} {kind} {pin}");
        assert!(!refused.text().contains("bob"));
    }
    assert_eq!(give("bob", "duress_pin", "2582").await.status, StatusCode::OK, "a new one takes its place");
    assert!(who("2581").is_err() && who("2582").is_ok_and(|it| it.duress) && who("2580").is_ok_and(|it| !it.duress));
    let page = server.get("/people", &token).await.text();
    assert!(page.contains("Duress PIN</span>") && !page.contains("2582"));
}

#[tokio::test]
async fn a_pin_that_was_kept_in_an_older_way_is_to_be_set_anew() {
    let (server, token) = with_rules().await;
    ask(&server, &token, Method::PUT, "/api/v1/people/bob", "{}").await;
    let give = r#"{"kind": "pin", "key": "258046"}"#;
    let given = ask(&server, &token, Method::POST, "/api/v1/people/bob/keys", give).await;
    assert!(given.text().contains(r#""set_anew":false"#), "{}", given.text());
    let database = format!("sqlite://{}", server.folder.path().join(DATABASE_FILE).display());
    let raw = sqlx::SqlitePool::connect(&database).await.unwrap();
    let done =
        sqlx::query("UPDATE person_key SET stored = replace(stored, 'pin2:', 'pin:')").execute(&raw).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    raw.close().await;

    let listed = ask(&server, &token, Method::GET, "/api/v1/people", "").await.text();
    assert!(listed.contains(r#""set_anew":true"#), "{listed}");
    assert!(server.get("/people", &token).await.text().contains("PIN · set anew</span>"));
    // The next change of the people reads them all: nobody is locked out of the cabinet by it.
    let other = ask(&server, &token, Method::PUT, "/api/v1/people/carl", "{}").await;
    assert_eq!(other.status, StatusCode::OK, "{}", other.text());
    assert_eq!(reason(&server.store, Key::Pin("258046".into())), Reason::UnknownCredential);

    let given = ask(&server, &token, Method::POST, "/api/v1/people/bob/keys", give).await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.text());
    let listed = ask(&server, &token, Method::GET, "/api/v1/people", "").await.text();
    assert_eq!(listed.matches("set_anew").count(), 1, "the new one takes its place: {listed}");
    assert!(listed.contains(r#""set_anew":false"#), "{listed}");
    assert_eq!(decided(&server.store, Key::Pin("258046".into())).user, Some("bob".parse().unwrap()));
}
