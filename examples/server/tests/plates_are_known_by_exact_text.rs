//! The list of number plates: written by administrators, read by operators, matched by the exact text alone.

mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use common::{Folder, Server, clock, known_plate};
use godvision_core::Clock;
use godvision_server::store::{
    KnownPlate, NOTE_CHARS_MAX, OWNER_CHARS_MAX, PLATES_MAX, PlateMatch, PlateProblem, Standing, Store, StoreError,
};
use godvision_vision::plate::PlateText;

fn plate(text: &str) -> PlateText {
    text.parse().unwrap()
}

#[tokio::test]
async fn only_the_exact_text_is_known_and_only_in_its_period() {
    let (folder, clock) = (Folder::new(), clock());
    let now = clock.wall();
    let open = async || Store::open(folder.path(), None, Arc::new(clock.clone())).await.unwrap();
    let store = open().await;
    let watched = KnownPlate {
        standing: Standing::Watch,
        from: Some(now),
        to: Some(now.plus_micros(1000)),
        ..known_plate("M001MM99", "Mallory")
    };
    store.plates().put(&[known_plate("A123BC77", "Ada"), watched]).await.unwrap();
    store.close().await;
    let store = open().await;
    let says = |text: &str, at| store.plates().look_up(&plate(text), at);
    let ada = PlateMatch::Known { owner: "Ada".into(), standing: Standing::Allow, is_current: true };
    assert_eq!(says("а123вс 77", now), ada);
    assert_eq!(says("A128BC77", now), PlateMatch::Near(vec![plate("A123BC77")]), "shown, never a match");
    assert_eq!(says("X999XX50", now), PlateMatch::Unknown);
    for (at, expected) in [(now, true), (now.plus_micros(-1), false), (now.plus_micros(1000), false)] {
        assert!(matches!(says("M001MM99", at), PlateMatch::Known { is_current, .. } if is_current == expected));
    }
    assert!(store.plates().remove(&plate("A123BC77")).await.unwrap());
    assert!(!store.plates().remove(&plate("A123BC77")).await.unwrap());
    assert_eq!(says("A123BC77", now), PlateMatch::Unknown);
    store.close().await;
}

#[tokio::test]
async fn what_is_too_long_or_too_much_is_refused_and_nothing_is_half_done() {
    let (folder, clock) = (Folder::new(), clock());
    let store = Store::open(folder.path(), None, Arc::new(clock.clone())).await.unwrap();
    let good = known_plate("A123BC77", "Ada");
    let now = clock.wall();
    for (bad, problem) in [
        (KnownPlate { owner: " ".into(), ..good.clone() }, PlateProblem::Owner),
        (KnownPlate { owner: "a\nb".into(), ..good.clone() }, PlateProblem::Owner),
        (KnownPlate { owner: "é".repeat(OWNER_CHARS_MAX + 1), ..good.clone() }, PlateProblem::Owner),
        (KnownPlate { note: "é".repeat(NOTE_CHARS_MAX + 1), ..good.clone() }, PlateProblem::Note),
        (KnownPlate { from: Some(now), to: Some(now), ..good.clone() }, PlateProblem::Period),
    ] {
        let refused = store.plates().put(&[good.clone(), bad]).await;
        assert!(matches!(refused, Err(StoreError::BadPlate(it)) if it == problem), "{refused:?}");
        assert_eq!(store.plates().find(&good.plate).await.unwrap(), None, "all or none");
    }
    let long = KnownPlate { owner: "é".repeat(OWNER_CHARS_MAX), note: "é".repeat(NOTE_CHARS_MAX), ..good };
    store.plates().put(std::slice::from_ref(&long)).await.unwrap();
    let many: Vec<KnownPlate> = (0..PLATES_MAX).map(|n| known_plate(&format!("B{n:06}"), "Bob")).collect();
    assert!(matches!(store.plates().put(&many).await, Err(StoreError::ListFull)));
    assert_eq!(store.plates().page("", "", 10).await.unwrap(), [long], "all or none");
    store.close().await;
}

#[tokio::test]
async fn a_list_is_searched_in_any_alphabet_and_paged() {
    let folder = Folder::new();
    let store = Store::open(folder.path(), None, Arc::new(clock())).await.unwrap();
    let list: Vec<KnownPlate> = (0..30).map(|n| known_plate(&format!("A{n:03}BC77"), &format!("Ёжик {n}"))).collect();
    store.plates().put(&list).await.unwrap();
    let found = async |search: &str| store.plates().page(search, "", 100).await.unwrap().len();
    assert_eq!(found("").await, 30);
    assert_eq!(found("а0 07в").await, 1, "a part of a plate in Cyrillic, with a blank");
    assert_eq!(found("ёжик 2").await, 11);
    assert_eq!(found("' OR 1=1 --").await, 0);
    let first = store.plates().page("", "", 20).await.unwrap();
    let rest = store.plates().page("", first[19].plate.as_str(), 20).await.unwrap();
    assert_eq!((first.len(), rest.len(), rest[0].plate.as_str()), (20, 10, "A020BC77"));
    store.close().await;
}

#[tokio::test]
async fn administrators_edit_operators_look_and_the_journal_says_who() {
    let server = Server::start().await;
    let (ada, otto) = (server.token("ada").await, server.token("otto").await);
    let put = async |plate: &str, body: &str| {
        let request = server.request(Method::PUT, &format!("/api/v1/plates/{plate}"));
        request.token(&ada).json(body).send().await
    };
    let added = put("%D0%B0123%D0%B2%D1%8177", r#"{"owner": " <Ada> ", "note": "red"}"#).await.json();
    assert_eq!(
        (&added["plate"], &added["owner"], &added["standing"]),
        (&"A123BC77".into(), &"<Ada>".into(), &"allow".into())
    );
    for (plate, body, code) in [
        ("%D0%96123", r#"{"owner": "Ada"}"#, "bad_plate"),
        ("-", r#"{"owner": "Ada"}"#, "bad_plate"),
        ("A1", r#"{"owner": ""}"#, "bad_owner"),
        ("A1", r#"{"owner": "Ada", "standing": "friend"}"#, "bad_standing"),
        ("A1", r#"{"owner": "Ada", "from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}"#, "bad_to"),
        ("A1", r#"{"owner": "Ada", "from": "soon"}"#, "bad_time"),
        ("A1", r#"{"note": "Ada"}"#, "bad_body"),
    ] {
        let answer = put(plate, body).await;
        assert!(answer.status.is_client_error(), "{body}");
        assert_eq!(answer.code(), code, "{body}");
    }
    let page = server.get("/plates", &otto).await.text();
    assert!(page.contains("A123BC77") && page.contains("&#60;Ada&#62;") && page.contains("red"), "{page}");
    assert!(!page.contains("plates.js") && !page.contains("name=\"delete\""), "an operator looks");
    assert!(server.get("/plates", &ada).await.text().contains("name=\"delete\""));
    assert!(server.get("/plates?search=nobody", &otto).await.text().contains("No plates match"));
    let delete = || server.request(Method::DELETE, "/api/v1/plates/A123BC77").token(&ada).send();
    assert_eq!(delete().await.json(), added, "what it said, to put it back");
    assert_eq!(delete().await.status, StatusCode::NOT_FOUND);
    let journal = server.get("/api/v1/journal?service=web&level=security", &ada).await.json();
    let texts: Vec<&str> = journal["entries"].as_array().unwrap().iter().filter_map(|it| it["text"].as_str()).collect();
    assert_eq!(
        texts[..2],
        ["ada took the number plate A123BC77 off the list", "ada put the number plate A123BC77 on the list"]
    );
}

#[tokio::test]
async fn files_go_out_and_come_in() {
    let server = Server::start().await;
    let ada = server.token("ada").await;
    let import = async |text: String| {
        let request =
            server.request(Method::POST, "/api/v1/plates/import").token(&ada).header("content-type", "text/csv");
        request.raw(text).send().await
    };
    let text = "plate;owner;note;standing;from;to\r\nа123вс77;\"Ада; Лавлейс\";=1+1;watch;2026-01-01;2027-01-01\r\n";
    assert_eq!(import(text.to_owned()).await.json()["plates"], 1);
    let out = server.get("/plates.csv", &ada).await;
    assert!(out.header("content-disposition").contains("plates.csv"));
    let out = out.text();
    assert!(out.contains("\"A123BC77\",\"Ада; Лавлейс\",\"'=1+1\",\"watch\",\"2026-01-01T00:00:00"), "{out}");
    server.store.plates().remove(&plate("A123BC77")).await.unwrap();
    assert_eq!(import(out.clone()).await.json()["plates"], 1);
    assert_eq!(server.get("/plates.csv", &ada).await.text(), out, "what goes out comes in as it was");

    let bad = import("plate,owner\nB1,Bob\nЖ1,Zoe\n".to_owned()).await;
    assert_eq!((bad.status, &*bad.code()), (StatusCode::BAD_REQUEST, "bad_csv"));
    assert_eq!(server.store.plates().page("B1", "", 10).await.unwrap(), [], "all or none");
    // Larger than other requests may be, and larger than this one may be.
    let many: String = (0..9000).map(|n| format!("C{n:06},Carol\n")).collect();
    assert_eq!(import(format!("plate,owner\n{many}")).await.json()["plates"], 9000);
    let much = import("x".repeat(3 << 20)).await;
    assert_eq!(much.status, StatusCode::PAYLOAD_TOO_LARGE);
}
