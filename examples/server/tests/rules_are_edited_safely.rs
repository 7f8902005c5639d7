//! The rules in the cabinet: saved rules are in force at once and kept as a version, wrong ones change nothing and say
//! where they are wrong, an old version comes back, the file counts too, and questions are answered as the doors do.

mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use common::{Answer, Folder, Server, clock};
use godvision_access::pass::PassVerifier;
use godvision_core::journal::{Journal, Level, Query};
use godvision_core::signal::door::{Credential, Key, Reason};
use godvision_core::{Clock, Secret};
use godvision_server::store::{RULE_VERSIONS_MAX, RULES_BYTES_MAX, Store};
use serde_json::{Value, json};

const OPEN: &str = "version = 1\n[[rule]]\nname = \"all\"\npermit = [\"anyone\"]\ndoors = [\"any\"]\n";
const SHUT: &str = "version = 1\n[[rule]]\nname = \"none\"\nforbid = [\"anyone\"]\ndoors = [\"any\"]\n";

fn reason(store: &Store) -> Reason {
    let (door, now) = ("house/front".parse().unwrap(), Clock::now(&clock()));
    let key = Key::Card("04A1B2C3".into());
    let credential = Credential { source: "reader".parse().unwrap(), key, at: now };
    store.access().shared().current().decide(&credential, &door, now).decision.reason
}

/// A server where bob has the card.
async fn server() -> (Server, Secret) {
    let server = Server::start().await;
    let token = server.token("ada").await;
    for (method, path, body) in [
        (Method::PUT, "/api/v1/people/bob", "{}"),
        (Method::POST, "/api/v1/people/bob/keys", r#"{"kind": "card", "key": "04A1B2C3"}"#),
    ] {
        assert_eq!(server.request(method, path).token(&token).json(body).send().await.status, StatusCode::OK);
    }
    (server, token)
}

async fn post(server: &Server, token: &Secret, path: &str, body: Value) -> Answer {
    server.request(Method::POST, &format!("/api/v1/rules/{path}")).token(token).json(body.to_string()).send().await
}

async fn put(server: &Server, token: &Secret, text: &str, base: u64) -> Answer {
    let body = json!({"text": text, "base": base}).to_string();
    server.request(Method::PUT, "/api/v1/rules").token(token).json(body).send().await
}

fn file(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path().join("rules.toml")).unwrap()
}

#[tokio::test]
async fn saved_rules_are_in_force_at_once_and_the_version_before_comes_back() {
    let (server, token) = server().await;
    assert_eq!(reason(&server.store), Reason::NoRule, "the default rules open by hand alone");
    let first = file(&server.folder);
    let saved = put(&server, &token, OPEN, 1).await;
    assert_eq!((saved.status, &saved.json()["version"]["id"]), (StatusCode::OK, &2.into()), "{}", saved.text());
    assert_eq!((reason(&server.store), file(&server.folder)), (Reason::Permitted, OPEN.to_owned()));
    // Somebody who edited the version before is told, and does not undo this one.
    let late = put(&server, &token, SHUT, 1).await;
    assert_eq!((late.status, &*late.code()), (StatusCode::CONFLICT, "meanwhile"));
    assert_eq!(reason(&server.store), Reason::Permitted);
    let versions = server.get("/api/v1/rules/versions", &token).await.json();
    let by: Vec<&str> = versions["versions"].as_array().unwrap().iter().map(|it| it["by"].as_str().unwrap()).collect();
    assert_eq!(by, ["ada", "rules.toml"]);
    let old = server.get("/api/v1/rules/versions/1", &token).await.json();
    assert_eq!(old["text"], first.as_str());
    assert!(old["diff"].as_array().unwrap().iter().any(|it| it["kind"] == "removed"));
    let body = json!({"text": old["text"], "base": 2, "restored": 1}).to_string();
    let back = server.request(Method::PUT, "/api/v1/rules").token(&token).json(body).send().await;
    assert_eq!((back.status, reason(&server.store)), (StatusCode::OK, Reason::NoRule));
    assert_eq!(file(&server.folder), first);
    let lines = server.store.journal().query(Query::default()).await.unwrap();
    let line = lines.iter().find(|line| line.code == "rules.changed").unwrap();
    assert_eq!((line.level, line.text.as_str()), (Level::Security, "ada put version 1 of the rules in force again"));
}

#[tokio::test]
async fn wrong_rules_say_where_and_change_nothing() {
    let (server, token) = server().await;
    put(&server, &token, OPEN, 1).await;
    let huge = format!("{OPEN}#{}", "x".repeat(RULES_BYTES_MAX));
    for (text, line, column, told) in [
        ("version = 1\nzone = \"Mars/Base\"\n", 2, 8, "there is no time zone"),
        (
            "version = 1\n[[rule]]\nname = \"a\"\npermit = [\"group:nobody\"]\ndoors = [\"any\"]\n",
            4,
            10,
            "there is no group nobody",
        ),
        ("version = 1\nrule = [\n", 2, 9, "unclosed array"),
        ("version = 2\n", 1, 11, "version 1"),
    ] {
        let said = post(&server, &token, "check", json!({"text": text})).await.json();
        let fault = &said["fault"];
        assert_eq!((&fault["line"], &fault["column"]), (&line.into(), &column.into()), "{text}: {said}");
        assert!(fault["message"].as_str().unwrap().contains(told), "{fault}");
        let refused = put(&server, &token, text, 2).await;
        assert_eq!((refused.status, &*refused.code()), (StatusCode::BAD_REQUEST, "bad_rules"));
        assert!(refused.text().contains(&format!("line {line}, column {column}")), "{}", refused.text());
    }
    assert_eq!(put(&server, &token, &huge, 2).await.status, StatusCode::BAD_REQUEST);
    assert_eq!((reason(&server.store), file(&server.folder)), (Reason::Permitted, OPEN.to_owned()));
    assert_eq!(server.store.access().rules().version.id, 2);
    let right = post(&server, &token, "check", json!({"text": SHUT})).await.json();
    assert_eq!((&right["fault"], &right["rules"]), (&Value::Null, &1.into()));
    assert_eq!(reason(&server.store), Reason::Permitted, "a check changes nothing");
}

#[tokio::test]
async fn a_changed_file_counts_and_a_wrong_one_leaves_the_last_good_rules() {
    let (server, token) = server().await;
    let path = server.folder.path().join("rules.toml");
    std::fs::write(&path, OPEN).unwrap();
    server.store.access().look_at_file().await.unwrap();
    assert_eq!(reason(&server.store), Reason::Permitted);
    std::fs::write(&path, "version = 1\nzone = 7\n").unwrap();
    for _ in 0..3 {
        server.store.access().look_at_file().await.unwrap();
    }
    assert_eq!(reason(&server.store), Reason::Permitted);
    let page = server.get("/rules", &token).await.text();
    assert!(page.contains("id=\"refused\"") && page.contains("line 2, column 8"), "the page says so");
    let lines = server.store.journal().query(Query::default()).await.unwrap();
    let refused: Vec<_> = lines.iter().filter(|line| line.code == "rules.refused").collect();
    assert_eq!((refused.len(), refused[0].level), (1, Level::Error), "once");
    // The next start has the wrong file, too: the last good rules serve.
    let again = Store::open(server.folder.path(), None, Arc::new(clock())).await.unwrap();
    again.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
    assert_eq!(reason(&again), Reason::Permitted);
    again.close().await;
    // Saving on the page writes over it.
    assert_eq!(put(&server, &token, SHUT, 2).await.status, StatusCode::OK);
    assert_eq!((reason(&server.store), file(&server.folder)), (Reason::Forbidden, SHUT.to_owned()));
    assert!(!server.get("/rules", &token).await.text().contains("id=\"refused\""));
}

#[tokio::test]
async fn rules_that_never_were_good_keep_the_site_from_starting() {
    let folder = Folder::new();
    let store = Store::open(folder.path(), None, Arc::new(clock())).await.unwrap();
    std::fs::write(folder.path().join("rules.toml"), "version = 1\nzone = 7\n").unwrap();
    let error = store.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap_err().to_string();
    assert!(error.contains("rules.toml is refused") && error.contains("line 2"), "{error}");
    assert_eq!(reason(&store), Reason::UnknownCredential, "and nothing is open");
}

#[tokio::test]
async fn old_versions_go_and_the_newest_stay() {
    let folder = Folder::new();
    let store = Store::open(folder.path(), None, Arc::new(clock())).await.unwrap();
    store.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
    for base in 1..=RULE_VERSIONS_MAX as u64 + 3 {
        store.access().set_rules(&format!("{OPEN}# {base}\n"), base, "test", common::line()).await.unwrap();
    }
    let versions = store.access().versions().await.unwrap();
    assert_eq!((versions.len(), versions[0].id), (RULE_VERSIONS_MAX, RULE_VERSIONS_MAX as u64 + 4));
    assert!(store.access().version(4).await.is_err());
}

#[tokio::test]
async fn a_question_is_answered_as_the_door_does_with_every_reason() {
    let (server, token) = server().await;
    let rules = "version = 1\nzone = \"Europe/Berlin\"\n[groups]\nstaff = []\n[schedules]\noffice = [\"Mon-Fri 08:00-18:00\"]\n\
                 [[rule]]\nname = \"staff\"\npermit = [\"group:staff\"]\ndoors = [\"house/front\"]\nby = [\"card\"]\nduring = \"office\"\n\
                 [[rule]]\nname = \"no-bob-by-pin\"\nforbid = [\"bob\"]\ndoors = [\"any\"]\nby = [\"pin\"]\n";
    put(&server, &token, rules, 1).await;
    let ask = async |person: &str, kind: &str, at: &str| {
        let body = json!({"person": person, "door": "house/front", "kind": kind, "at": at});
        post(&server, &token, "explain", body).await.json()
    };
    // 2026-11-23 is a Monday; Berlin is an hour ahead.
    let (open, early) = ("2026-11-23T07:30:00Z", "2026-11-23T06:59:59Z");
    let said = ask("bob", "card", open).await;
    assert_eq!((&said["verdict"], &said["reason"]), (&"refuse".into(), &"no_rule".into()));
    assert_eq!(said["rules"][0]["why_not"], json!(["person"]));
    let body = r#"{"groups": ["staff"]}"#;
    server.request(Method::PUT, "/api/v1/people/bob").token(&token).json(body).send().await;
    let said = ask("bob", "card", open).await;
    assert_eq!((&said["verdict"], &said["rule"]), (&"admit".into(), &"staff".into()), "the cabinet's groups count");
    assert_eq!(said["week"], json!(["Mon-Fri 08:00-18:00"]), "the week, as the clocks of the rules show it");
    let said = ask("bob", "card", early).await;
    assert_eq!((&said["verdict"], &said["rules"][0]["why_not"]), (&"refuse".into(), &json!(["schedule"])));
    let said = ask("bob", "pin", open).await;
    assert_eq!((&said["reason"], &said["rule"]), (&"forbidden".into(), &"no-bob-by-pin".into()));
    assert_eq!(said["week"], json!([]), "at no time");
    assert_eq!(ask("nobody", "card", open).await["reason"], "unknown_credential");
    // By a draft that is not in force.
    let draft = json!({"person": "bob", "door": "house/front", "kind": "card", "at": open, "text": SHUT});
    assert_eq!(post(&server, &token, "explain", draft).await.json()["reason"], "forbidden");
    let body = r#"{"groups": ["staff"], "revoked": true}"#;
    server.request(Method::PUT, "/api/v1/people/bob").token(&token).json(body).send().await;
    assert_eq!(ask("bob", "card", open).await["reason"], "revoked");
    for wrong in [
        json!({"door": "", "kind": "card"}),
        json!({"door": "a b", "kind": "card"}),
        json!({"door": "a", "kind": "key"}),
        json!({"door": "a", "kind": "card", "at": "now"}),
        json!({"door": "a", "kind": "card", "text": "zone = 7"}),
    ] {
        assert_eq!(post(&server, &token, "explain", wrong.clone()).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn a_save_on_the_page_is_not_taken_for_a_change_of_the_file() {
    let (server, _) = server().await;
    let access = server.store.access();
    for n in 0..10 {
        let (text, base) = (format!("{OPEN}# {n}\n"), access.rules().version.id);
        let saving = access.set_rules(&text, base, "ada", common::line());
        let looking = async {
            // The file is there before the rules are in force.
            for _ in 0..100 {
                access.look_at_file().await.unwrap();
            }
        };
        let (saved, ()) = tokio::join!(saving, looking);
        assert_eq!(saved.unwrap().by, "ada");
        let rules = access.rules();
        assert_eq!((rules.version.id, &*rules.version.by), (base + 1, "ada"));
    }
}

#[tokio::test]
async fn a_kept_version_that_is_no_rules_any_more_is_told() {
    let folder = Folder::new();
    let store = Store::open(folder.path(), None, Arc::new(clock())).await.unwrap();
    store.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
    store.close().await;
    let path = format!("sqlite://{}", folder.path().join("godvision.db").display());
    let pool = sqlx::SqlitePool::connect(&path).await.unwrap();
    sqlx::raw_sql("UPDATE rule_version SET text = 'version = 0'").execute(&pool).await.unwrap();
    pool.close().await;
    let store = Store::open(folder.path(), None, Arc::new(clock())).await.unwrap();
    store.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
    let lines = store.journal().query(Query::default()).await.unwrap();
    let told: Vec<_> = lines.iter().filter(|line| line.code == "rules.unreadable").collect();
    assert_eq!((told.len(), told[0].level), (1, Level::Error));
    assert!(told[0].text.contains("version 1 "), "{}", told[0].text);
}
