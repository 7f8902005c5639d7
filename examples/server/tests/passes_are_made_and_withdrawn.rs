//! Passes: made with sensible defaults, shown as a code, a card and a link, believed by the doors until they are withdrawn,
//! and never written down.

mod common;

use axum::http::{Method, StatusCode};
use common::{NOW, Server};
use godvision_access::pass::PassVerifier;
use godvision_core::journal::{Journal, Query};
use godvision_core::signal::door::Reason;
use godvision_core::{Secret, WallTime};
use godvision_server::persons;
use godvision_server::store::DATABASE_FILE;
use serde_json::{Value, json};

async fn ask(server: &Server, path: &str, body: Value) -> common::Answer {
    let token = server.token("ada").await;
    server.request(Method::POST, path).token(&token).json(body.to_string()).send().await
}

async fn made(server: &Server, body: Value) -> Value {
    let answer = ask(server, "/api/v1/passes", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

/// What the code of a pass says.
async fn text(server: &Server, id: &str) -> Secret {
    let access = server.store.access();
    access.pass_text(&access.pass(id).await.unwrap()).await.unwrap()
}

fn path(view: &Value) -> &str {
    view["link"].as_str().unwrap()
}

#[tokio::test]
async fn a_pass_is_made_shown_and_believed() {
    let server = Server::start().await;
    common::known(&server.store, "bob").await;
    let view = made(&server, json!({"person": "bob", "doors": ["house/front", "yard/gate"]})).await;
    assert_eq!((&view["uses"], &view["used"], &view["state"]), (&json!(1), &json!(0), &json!("valid")));
    assert_eq!(
        (&view["from"], &view["until"]),
        (&json!("2026-11-21T09:30:00.000Z"), &json!("2026-11-22T09:30:00.000Z"))
    );
    let id = view["id"].as_str().unwrap();
    let key = persons::pass_key(server.store.secrets()).await.unwrap();
    let verifier = PassVerifier::new("home".parse().unwrap()).with(key.public());
    let read = verifier.read(&text(&server, id).await).unwrap();
    assert_eq!(read.claims.id.to_string(), id);
    assert_eq!(text(&server, id).await, text(&server, id).await, "one text, however often it is made");

    let token = server.token("ada").await;
    let png = server.get(&format!("/api/v1/passes/{id}/qr"), &token).await;
    assert!(png.header("content-type") == "image/png" && png.body.starts_with(b"\x89PNG"));
    let card = server.get(&format!("/api/v1/passes/{id}/card"), &token).await;
    assert_eq!(card.header("content-type"), "image/svg+xml");
    assert!(card.text().contains(">bob</text>") && card.text().contains("house/front, yard/gate"));
    // A guest, without an account and without a script.
    let page = server.request(Method::GET, path(&view)).send().await;
    assert_eq!((page.status, page.header("cache-control")), (StatusCode::OK, "no-store"));
    let page = page.text();
    for word in [
        "<h1>home</h1>",
        "bob",
        "house/front, yard/gate",
        "once",
        "2026-11-22 09:30:00 UTC",
        "data:image/svg+xml;base64,",
    ] {
        assert!(page.contains(word), "{word}");
    }
    assert!(!page.contains("<script") && !page.contains("GV2:"));
    let listed = server.get("/passes", &token).await.text();
    assert!(listed.contains(">Valid<") && listed.contains("used 0 of 1") && !listed.contains("/pass/"));
}

#[tokio::test]
async fn what_is_wrong_is_said_at_its_field() {
    let server = Server::start().await;
    let nine: Vec<&str> = vec!["house/front"; 9];
    for (body, code) in [
        (json!({}), "bad_body"),
        (json!({"doors": []}), "bad_doors"),
        (json!({"doors": ["moon"]}), "bad_doors"),
        (json!({"doors": ["house/front", "any"]}), "bad_doors"),
        (json!({"doors": ["group:a b"]}), "bad_doors"),
        (json!({"doors": nine}), "bad_doors"),
        (json!({"doors": ["any"], "person": "nobody"}), "bad_person"),
        (json!({"doors": ["any"], "person": "a b"}), "bad_person"),
        (json!({"doors": ["any"], "from": "yesterday"}), "bad_period"),
        (json!({"doors": ["any"], "until": "2026-11-21T09:00:00Z"}), "bad_period"),
        (json!({"doors": ["any"], "from": "2026-12-02T00:00:00Z", "until": "2026-12-01T00:00:00Z"}), "bad_period"),
        (json!({"doors": ["any"], "until": "2029-11-21T09:00:00Z"}), "bad_pass"),
        (json!({"doors": ["any"], "uses": 0}), "bad_uses"),
        (json!({"doors": ["any"], "uses": 256}), "bad_body"),
    ] {
        let answer = ask(&server, "/api/v1/passes", body.clone()).await;
        assert!(answer.status.is_client_error(), "{body}: {}", answer.text());
        assert_eq!(answer.code(), code, "{body}");
    }
    let token = server.token("ada").await;
    assert_eq!(server.get("/api/v1/passes", &token).await.json()["passes"], json!([]));
    assert!(server.get("/passes", &token).await.text().contains("No passes yet"));
    for id in ["0", "000000000000", "zzzzzzzzzzzz", &"0".repeat(5000)] {
        for what in ["", "/qr", "/card"] {
            let answer = server.get(&format!("/api/v1/passes/{id}{what}"), &token).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}{what}");
        }
    }
}

#[tokio::test]
async fn a_withdrawn_pass_is_dead_at_once_and_for_good() {
    let server = Server::start().await;
    let view = made(&server, json!({"doors": ["any"], "uses": null})).await;
    let (id, access) = (view["id"].as_str().unwrap(), server.store.access());
    let pass = text(&server, id).await;
    let check = || {
        let control = access.shared().current();
        control.passes.check(&control.passes.read(&pass).unwrap(), WallTime::from_unix_seconds(NOW))
    };
    assert_eq!(check(), Ok(()));
    let withdraw = format!("/api/v1/passes/{id}/withdraw");
    assert_eq!(ask(&server, &withdraw, json!({"reason": " "})).await.code(), "bad_reason");
    assert_eq!(check(), Ok(()), "nothing has happened");
    let gone = ask(&server, &withdraw, json!({"reason": "lost his phone"})).await.json();
    assert_eq!((&gone["state"], &gone["withdrawn"]["by"]), (&json!("withdrawn"), &json!("ada")));
    assert_eq!(check(), Err(Reason::Revoked));
    assert_eq!(ask(&server, &withdraw, json!({"reason": "again"})).await.status, StatusCode::CONFLICT);
    let page = server.request(Method::GET, path(&view)).send().await;
    assert!(page.status == StatusCode::GONE && !page.text().contains("data:image/svg+xml;base64,"));
    let token = server.token("ada").await;
    assert_eq!(server.get(&format!("/api/v1/passes/{id}/qr"), &token).await.status, StatusCode::GONE);
    let listed = server.get("/passes", &token).await.text();
    assert!(listed.contains(">Withdrawn<") && listed.contains("lost his phone") && listed.contains("any number"));
    // And after the next start.
    access.load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
    assert_eq!(check(), Err(Reason::Revoked));
}

#[tokio::test]
async fn a_pass_that_ends_or_is_used_up_says_so() {
    let server = Server::start().await;
    let token = server.token("ada").await;
    let state = async || server.get("/api/v1/passes", &token).await.json()["passes"][0]["state"].clone();
    let later = json!({"doors": ["any"], "from": "2026-11-21T10:30:00Z"});
    let view = made(&server, later).await;
    assert_eq!(state().await, "not_yet");
    server.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(state().await, "valid");
    *server.site.pass_uses.lock().unwrap() = 1;
    assert_eq!(state().await, "used");
    let listed = server.get("/passes", &token).await.text();
    assert!(listed.contains("used 1 of 1") && !listed.contains("name=\"show\""));
    is_dead(&server, &view).await;
    *server.site.pass_uses.lock().unwrap() = u32::MAX;
    server.clock.advance(std::time::Duration::from_secs(24 * 3600));
    let token = server.token("ada").await;
    let listed = server.get("/api/v1/passes", &token).await.json();
    assert_eq!((&listed["passes"][0]["state"], &listed["passes"][0]["used"]), (&json!("expired"), &Value::Null));
    assert_eq!(server.request(Method::GET, path(&view)).send().await.status, StatusCode::GONE);
}

/// Nothing shows the code of a pass any more.
async fn is_dead(server: &Server, view: &Value) {
    let page = server.request(Method::GET, path(view)).send().await;
    assert!(page.status == StatusCode::GONE && !page.text().contains("data:image/svg+xml;base64,"));
    let token = server.token("ada").await;
    for what in ["qr", "card"] {
        let answer = server.get(&format!("/api/v1/passes/{}/{what}", view["id"].as_str().unwrap()), &token).await;
        assert_eq!((answer.status, &*answer.code()), (StatusCode::GONE, "gone"), "{what}");
    }
}

#[tokio::test]
async fn a_pass_of_somebody_who_may_nothing_is_not_shown_as_good() {
    let server = Server::start().await;
    let token = server.token("ada").await;
    common::known(&server.store, "bob").await;
    let view = made(&server, json!({"person": "bob", "doors": ["any"], "uses": null})).await;
    let put = async |revoked: bool| {
        let body = json!({"revoked": revoked}).to_string();
        let answer = server.request(Method::PUT, "/api/v1/people/bob").token(&token).json(body).send().await;
        assert_eq!(answer.status, StatusCode::OK);
    };
    let state = async || server.get("/api/v1/passes", &token).await.json()["passes"][0]["state"].clone();
    assert_eq!(state().await, "valid");
    put(true).await;
    assert_eq!(state().await, "nobody");
    is_dead(&server, &view).await;
    let listed = server.get("/passes", &token).await.text();
    assert!(listed.contains("Nobody&#39;s") || listed.contains("Nobody's"), "{listed}");
    assert!(!listed.contains(">Valid<"));
    put(false).await;
    assert_eq!(state().await, "valid");
    server.request(Method::DELETE, "/api/v1/people/bob").token(&token).send().await;
    assert_eq!(state().await, "nobody");
    is_dead(&server, &view).await;
}

#[tokio::test]
async fn links_cannot_be_guessed_or_tried_for_long() {
    let server = Server::start().await;
    let view = made(&server, json!({"doors": ["any"]})).await;
    for _ in 0..100 {
        assert_eq!(server.request(Method::GET, path(&view)).send().await.status, StatusCode::OK, "a good link may");
    }
    let mut wrong = path(&view).to_owned();
    let last = if wrong.ends_with('0') { '1' } else { '0' };
    wrong.pop();
    wrong.push(last);
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(server.request(Method::GET, &wrong).send().await.status);
    }
    assert_eq!(answers[0], StatusCode::NOT_FOUND);
    let told = server.request(Method::GET, &wrong).send().await;
    assert_eq!((told.status, told.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    let good = server.request(Method::GET, path(&view)).send().await;
    assert_eq!(good.status, StatusCode::OK, "a guest behind the same proxy is not kept waiting");
    for _ in 0..40 {
        server.clock.advance(std::time::Duration::from_secs(300));
        server.request(Method::GET, &wrong).send().await;
    }
    for n in 0..30 {
        server.request(Method::GET, &format!("/code/{n}")).send().await;
    }
    let body = json!({"name": "otto", "password": common::PASSWORD}).to_string();
    let signed_in = server.request(Method::POST, "/api/v1/login").json(body).send().await;
    assert_eq!(signed_in.status, StatusCode::OK, "nor is anybody who signs in there");
}

#[tokio::test]
async fn neither_text_nor_link_is_written_down() {
    let mut server = Server::start().await;
    let view = made(&server, json!({"doors": ["any"]})).await;
    let id = view["id"].as_str().unwrap().to_owned();
    let (pass, link) = (text(&server, &id).await, path(&view).trim_start_matches("/pass/").to_owned());
    server.request(Method::GET, path(&view)).send().await;
    ask(&server, &format!("/api/v1/passes/{id}/withdraw"), json!({"reason": "over"})).await;
    let lines = server.store.journal().query(Query::default()).await.unwrap();
    let codes: Vec<&str> = lines.iter().map(|line| &*line.code).filter(|code| code.starts_with("pass.")).collect();
    assert_eq!(codes, ["pass.withdrawn", "pass.made"]);
    assert!(lines.iter().all(|line| !format!("{line:?}").contains(&link)));
    server.stop().await;
    let mac = &link[12..];
    for ending in ["", "-wal"] {
        let Ok(bytes) = std::fs::read(server.folder.path().join(format!("{DATABASE_FILE}{ending}"))) else { continue };
        for canary in [pass.expose(), mac] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{DATABASE_FILE}{ending}");
        }
    }
}
