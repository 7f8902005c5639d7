//! The keys of passes: a new one signs and the old one is believed, a retired one signs nothing, a withdrawn one ends every
//! pass of it at once, for good, and without a trace of its secret half.

mod common;

use axum::http::{Method, StatusCode};
use common::{NOW, Server};
use godvision_access::pass::PassVerifier;
use godvision_core::journal::{Journal, Level, Query};
use godvision_core::signal::door::Reason;
use godvision_core::{Secret, WallTime};
use godvision_server::persons;
use godvision_server::store::DATABASE_FILE;
use serde_json::{Value, json};

async fn ask(server: &Server, path: &str, body: Value) -> common::Answer {
    let token = server.token("ada").await;
    server.request(Method::POST, path).token(&token).json(body.to_string()).send().await
}

async fn made(server: &Server) -> String {
    let answer = ask(server, "/api/v1/passes", json!({"doors": ["any"], "uses": null})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn text(server: &Server, id: &str) -> Secret {
    let access = server.store.access();
    access.pass_text(&access.pass(id).await.unwrap()).await.unwrap()
}

/// Which key signed it, and whether a door believes it now.
fn believed(server: &Server, text: &Secret) -> (u8, Result<(), Reason>) {
    let control = server.store.access().shared().current();
    let pass = control.passes.read(text).unwrap();
    (pass.key, control.passes.check(&pass, WallTime::from_unix_seconds(NOW)))
}

async fn states(server: &Server) -> Vec<(u64, String, u64)> {
    let token = server.token("ada").await;
    let listed = server.get("/api/v1/pass-keys", &token).await.json();
    let one = |it: &Value| {
        (it["id"].as_u64().unwrap(), it["state"].as_str().unwrap().to_owned(), it["live"].as_u64().unwrap())
    };
    listed["keys"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_is_believed_until_its_passes_end() {
    let server = Server::start().await;
    let old = text(&server, &made(&server).await).await;
    assert_eq!(states(&server).await, [(1, "signing".into(), 1)]);
    assert_eq!(ask(&server, "/api/v1/pass-keys", json!({})).await.status, StatusCode::OK);
    let id = made(&server).await;
    let new = text(&server, &id).await;
    assert_eq!((believed(&server, &old), believed(&server, &new)), ((1, Ok(())), (2, Ok(()))));
    assert_eq!(states(&server).await, [(2, "signing".into(), 1), (1, "verifying".into(), 1)]);
    // After the next start, too; and both texts can still be shown.
    server.store.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
    assert_eq!((believed(&server, &old), believed(&server, &new)), ((1, Ok(())), (2, Ok(()))));
    assert_eq!(text(&server, &id).await, new);
    let page = server.get("/pass-keys", &server.token("ada").await).await.text();
    assert!(page.contains(">Signs<") && page.contains(">Believed<") && page.contains("made by ada"));
    server.clock.advance(std::time::Duration::from_secs(401 * 24 * 3600));
    assert_eq!(states(&server).await, [(2, "signing".into(), 0), (1, "ended".into(), 0)]);
}

#[tokio::test]
async fn a_withdrawn_key_ends_its_passes_at_once_and_another_signs() {
    let server = Server::start().await;
    let id = made(&server).await;
    let (old, other) = (text(&server, &id).await, made(&server).await);
    // Made with the stolen key, and kept nowhere.
    let seed = persons::pass_key(server.store.secrets()).await.unwrap();
    let kept = server.store.access().pass(&other).await.unwrap();
    let forged = seed.sign(
        &"home".parse().unwrap(),
        &godvision_access::pass::PassClaims { id: godvision_access::pass::PassId([7; 6]), ..kept.claims },
    );
    let forged = forged.unwrap();
    assert_eq!(believed(&server, &forged).1, Ok(()));
    let path = "/api/v1/pass-keys/1/withdraw";
    assert_eq!(ask(&server, path, json!({"reason": " "})).await.code(), "bad_reason");
    assert_eq!(believed(&server, &old).1, Ok(()), "nothing has happened");
    assert_eq!(ask(&server, path, json!({"reason": "a stolen laptop"})).await.status, StatusCode::OK);
    assert_eq!((believed(&server, &old).1, believed(&server, &forged).1), (Err(Reason::Revoked), Err(Reason::Revoked)));
    assert_eq!(states(&server).await, [(2, "signing".into(), 0), (1, "withdrawn".into(), 0)]);
    let token = server.token("ada").await;
    let pass = server.get(&format!("/api/v1/passes/{id}"), &token).await.json();
    assert_eq!(pass["state"], "withdrawn");
    assert!(pass["withdrawn"]["reason"].as_str().unwrap().contains("key 1 was withdrawn: a stolen laptop"), "{pass}");
    let link = server.request(Method::GET, pass["link"].as_str().unwrap()).send().await;
    assert_eq!(link.status, StatusCode::GONE);
    assert_eq!(ask(&server, path, json!({"reason": "again"})).await.code(), "withdrawn");
    assert_eq!(believed(&server, &text(&server, &made(&server).await).await), (2, Ok(())));
    server.store.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
    assert_eq!(believed(&server, &forged).1, Err(Reason::Revoked), "after the next start, too");
    let lines = server.store.journal().query(Query::default()).await.unwrap();
    let line = lines.iter().find(|line| line.code == "passkey.withdrawn").unwrap();
    assert_eq!(
        (line.level, line.text.as_str()),
        (Level::Security, "ada withdrew key 1 with 2 live passes: a stolen laptop")
    );
    assert!(server.store.secrets().get("pass-key").await.unwrap().is_none(), "and what was stolen is not kept");
}

#[tokio::test]
async fn a_retired_key_signs_nothing_and_says_so() {
    let server = Server::start().await;
    let old = text(&server, &made(&server).await).await;
    assert_eq!(ask(&server, "/api/v1/pass-keys/1/retire", json!({})).await.status, StatusCode::OK);
    assert_eq!(believed(&server, &old), (1, Ok(())));
    let refused = ask(&server, "/api/v1/passes", json!({"doors": ["any"]})).await;
    assert_eq!((refused.status, &*refused.code()), (StatusCode::BAD_REQUEST, "bad_pass"), "{}", refused.text());
    let token = server.token("ada").await;
    assert!(server.get("/pass-keys", &token).await.text().contains("id=\"no-key\""));
    let again = ask(&server, "/api/v1/pass-keys/1/retire", json!({})).await;
    assert_eq!((again.status, &*again.code()), (StatusCode::CONFLICT, "retired"));
    for none in ["9", "0", "256", "x", "-1"] {
        let answer = ask(&server, &format!("/api/v1/pass-keys/{none}/retire"), json!({})).await;
        assert_eq!((answer.status, &*answer.code()), (StatusCode::NOT_FOUND, "not_found"), "{none}");
    }
    ask(&server, "/api/v1/pass-keys", json!({})).await;
    made(&server).await;
}

#[tokio::test]
async fn no_secret_half_is_written_down_or_answered() {
    let mut server = Server::start().await;
    let answer = ask(&server, "/api/v1/pass-keys", json!({})).await.text();
    let seeds: Vec<Secret> = [
        server.store.secrets().get("pass-key").await.unwrap().unwrap(),
        server.store.secrets().get("pass-key/2").await.unwrap().unwrap(),
    ]
    .into();
    let page = server.get("/pass-keys", &server.token("ada").await).await.text();
    let lines = server.store.journal().query(Query::default()).await.unwrap();
    server.stop().await;
    for seed in seeds {
        let seed = seed.expose();
        assert!(!answer.contains(seed) && !page.contains(seed) && !format!("{lines:?}").contains(seed));
        for ending in ["", "-wal"] {
            let Ok(bytes) = std::fs::read(server.folder.path().join(format!("{DATABASE_FILE}{ending}"))) else {
                continue;
            };
            assert!(!bytes.windows(seed.len()).any(|window| window == seed.as_bytes()), "{DATABASE_FILE}{ending}");
        }
    }
}
