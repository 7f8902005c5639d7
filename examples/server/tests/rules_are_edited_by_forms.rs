//! Rules edited as forms: a record changes in the text that its owner wrote, what is wrong is found at its field, nothing is
//! in force before it is saved, and everybody who could enter is listed.

mod common;

use axum::http::{Method, StatusCode};
use common::{Server, clock};
use godvision_core::signal::door::{Credential, Key, Reason};
use godvision_core::{Clock, Secret};
use serde_json::{Value, json};

const TEXT: &str = "# Ours.\nversion = 1\n\n[groups]\nstaff = [\"bob\"] # all\n\n# The front.\n[[rule]]\nname = \"front\"\npermit = [\"group:staff\"]\ndoors = [\"house/front\"]\nby = [\"card\"]\n";

async fn post(server: &Server, token: &Secret, path: &str, body: Value) -> Value {
    let path = format!("/api/v1/rules/{path}");
    let answer = server.request(Method::POST, &path).token(token).json(body.to_string()).send().await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer.json()
}

async fn put(server: &Server, token: &Secret, text: &str) {
    let base = server.store.access().rules().version.id;
    let body = json!({"text": text, "base": base}).to_string();
    let answer = server.request(Method::PUT, "/api/v1/rules").token(token).json(body).send().await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

/// A server with [`TEXT`] in force, where bob has a card.
async fn server() -> (Server, Secret) {
    let server = Server::start().await;
    let token = server.token("ada").await;
    for (method, path, body) in [
        (Method::PUT, "/api/v1/people/bob", r#"{"title": "Bob"}"#),
        (Method::PUT, "/api/v1/people/carl", "{}"),
        (Method::POST, "/api/v1/people/bob/keys", r#"{"kind": "card", "key": "04A1B2C3"}"#),
    ] {
        assert_eq!(server.request(method, path).token(&token).json(body).send().await.status, StatusCode::OK);
    }
    put(&server, &token, TEXT).await;
    (server, token)
}

fn reason(server: &Server) -> Reason {
    let (door, now) = ("house/front".parse().unwrap(), Clock::now(&clock()));
    let credential = Credential { source: "reader".parse().unwrap(), key: Key::Card("04A1B2C3".into()), at: now };
    server.store.access().shared().current().decide(&credential, &door, now).decision.reason
}

#[tokio::test]
async fn a_record_is_changed_by_form_saved_and_decides() {
    let (server, token) = server().await;
    assert_eq!(reason(&server), Reason::Permitted);
    let shown = post(&server, &token, "form", json!({})).await;
    let table = |name: &str| shown["tables"].as_array().unwrap().iter().find(|it| it["table"] == name).unwrap().clone();
    assert_eq!(table("rule")["records"][0]["values"]["by"], json!(["card"]));
    assert_eq!(table("groups")["records"][0], json!({"name": "staff", "values": {"members": ["bob"]}}));
    assert_eq!(table("rule")["fields"][1]["one_of"], json!(["permit", "forbid"]));
    assert_eq!(shown["names"]["persons"], json!(["bob", "carl"]));
    assert!(shown["names"]["doors"].as_array().unwrap().contains(&json!("house/front")));

    let values = json!({"name": "not by card", "forbid": ["bob"], "doors": ["any"], "by": ["card"]});
    let said = post(&server, &token, "edit", json!({"text": TEXT, "table": "rule", "values": values})).await;
    let added = "\n[[rule]]\nname = \"not-by-card\"\nforbid = [\"bob\"]\ndoors = [\"any\"]\nby = [\"card\"]\n";
    assert!(said["fault"]["message"].as_str().unwrap().contains("name"), "a name has no blanks: {said}");
    assert_eq!(
        (&said["fault"]["table"], &said["fault"]["at"], &said["fault"]["key"]),
        (&json!("rule"), &json!(1), &json!("name"))
    );
    assert_eq!(said["text"], TEXT, "what is wrong changes nothing");
    let values = json!({"name": "not-by-card", "forbid": ["bob"], "doors": ["any"], "by": ["card"]});
    let said = post(&server, &token, "edit", json!({"text": TEXT, "table": "rule", "values": values})).await;
    assert_eq!(
        (&said["fault"], &said["text"], &said["rules"]),
        (&Value::Null, &json!(format!("{TEXT}{added}")), &2.into())
    );
    let kinds: Vec<_> = said["diff"].as_array().unwrap().iter().filter(|it| it["kind"] != "same").collect();
    assert!(kinds.len() == 6 && kinds.iter().all(|it| it["kind"] == "added"), "{kinds:?}");
    assert_eq!(reason(&server), Reason::Permitted, "nothing is in force yet");
    put(&server, &token, said["text"].as_str().unwrap()).await;
    assert_eq!(reason(&server), Reason::Forbidden);
    // Away again: the text is what it was, to the byte.
    let text = said["text"].as_str().unwrap();
    let said = post(&server, &token, "edit", json!({"text": text, "table": "rule", "at": 1})).await;
    assert_eq!(said["text"], TEXT);
}

#[tokio::test]
async fn what_is_wrong_is_found_at_its_field() {
    let (server, token) = server().await;
    let night = json!({"weekly": ["Mon 25:00-26:00"]});
    for (table, at, name, values, key) in [
        ("rule", Some(0), None, json!({"during": "night"}), Some("during")),
        ("rule", Some(0), None, json!({"priority": 70_000}), Some("priority")),
        ("rule", Some(0), None, json!({"permit": ["group:nobody"]}), Some("permit")),
        ("rule", Some(0), None, json!({"by": ["card+pin+qr"]}), Some("by")),
        ("rule", Some(0), None, json!({"from": "2026-13-01"}), Some("from")),
        ("rule", Some(0), None, json!({"doors": []}), Some("doors")),
        ("schedules", None, Some("night"), night, Some("weekly")),
        ("holidays", None, Some("public"), json!({"dates": ["31-12"]}), Some("dates")),
        ("areas", None, Some("lab"), json!({"forget_after": "soon"}), Some("forget_after")),
        ("doors", None, Some("house/front"), json!({"into": "lab"}), Some("into")),
        ("lockout", None, None, json!({"failures": 0}), Some("failures")),
        ("groups", None, Some("staff"), json!({"members": []}), Some("name")),
        ("", Some(0), None, json!({"zone": "Mars/Base"}), Some("zone")),
    ] {
        let body = json!({"text": TEXT, "table": table, "at": at, "name": name, "values": values});
        let said = post(&server, &token, "edit", body).await;
        let fault = &said["fault"];
        assert_eq!((&fault["table"], &fault["key"]), (&json!(table), &json!(key)), "{values}: {fault}");
        assert_eq!(said["text"], TEXT);
    }
    // Somebody else speaks of what is taken away: it is said where.
    let said = post(&server, &token, "edit", json!({"text": TEXT, "table": "groups", "at": 0})).await;
    assert_eq!((&said["fault"]["table"], &said["fault"]["key"]), (&json!("rule"), &json!("permit")), "{said}");
    let wrong = json!({"text": TEXT, "table": "secrets", "values": {}}).to_string();
    let answer = server.request(Method::POST, "/api/v1/rules/edit").token(&token).json(wrong).send().await;
    assert_eq!((answer.status, &*answer.code()), (StatusCode::BAD_REQUEST, "bad_table"));
    let broken = post(&server, &token, "form", json!({"text": "version = 1\nrule = [\n"})).await;
    assert_eq!((&broken["fault"]["line"], &broken["tables"]), (&json!(2), &json!([])));
}

#[tokio::test]
async fn everybody_who_could_enter_is_listed() {
    let (server, token) = server().await;
    let ask = async |body: Value| post(&server, &token, "who", body).await;
    let said = ask(json!({"door": "house/front", "kind": "card"})).await;
    assert_eq!(said["people"], json!([{"person": "bob", "title": "Bob", "rule": "front"}]));
    assert_eq!((&said["more"], &said["of"]), (&0.into(), &2.into()));
    assert_eq!(ask(json!({"door": "house/front", "kind": "pin"})).await["people"], json!([]));
    // By a draft, and not who was revoked.
    let draft = TEXT.replace("group:staff", "anyone");
    assert_eq!(
        ask(json!({"door": "house/front", "kind": "card", "text": draft})).await["people"].as_array().unwrap().len(),
        2
    );
    server.request(Method::PUT, "/api/v1/people/bob").token(&token).json(r#"{"revoked": true}"#).send().await;
    assert_eq!(ask(json!({"door": "house/front", "kind": "card"})).await["people"], json!([]));
}
