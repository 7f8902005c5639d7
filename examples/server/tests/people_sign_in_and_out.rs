//! Sessions: how they start, what they may, and every way they end.

mod common;

use std::time::Duration;

use axum::http::{Method, StatusCode};
use common::{Answer, PASSWORD, Server};
use godvision_core::Secret;
use godvision_core::journal::{Journal, Query};
use godvision_server::store::{ABSOLUTE_LIFE, IDLE_LIFE, PER_USER_MAX};
use godvision_server::web::WebOptions;
use godvision_server::web::throttle::FREE_PER_NAME;

async fn login(server: &Server, name: &str, password: &str) -> Answer {
    let body = serde_json::json!({"name": name, "password": password}).to_string();
    server.request(Method::POST, "/api/v1/login").json(body).send().await
}

fn token(answer: &Answer) -> Secret {
    Secret::from(answer.json()["token"].as_str().unwrap())
}

async fn codes(server: &Server) -> Vec<String> {
    let entries = server.store.journal().query(Query::default()).await.unwrap();
    entries.into_iter().rev().map(|entry| entry.code).collect()
}

#[tokio::test]
async fn in_by_cookie_or_token_and_out() {
    let server = Server::start().await;
    let answer = login(&server, "OTTO", PASSWORD).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!((&answer.json()["name"], &answer.json()["role"]), (&"otto".into(), &"operator".into()));
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["godvision=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains("Secure"), "plain HTTP on a home network");
    let token = token(&answer);
    for request in [
        server.request(Method::GET, "/api/v1/session").token(&token),
        server.request(Method::GET, "/api/v1/session").cookie(&token),
    ] {
        assert_eq!(request.send().await.json()["name"], "otto");
    }
    let out = server.request(Method::POST, "/api/v1/logout").cookie(&token).send().await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(server.get("/api/v1/session", &token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(codes(&server).await, ["session.started", "session.ended"]);
}

#[tokio::test]
async fn behind_tls_the_cookie_is_bound_to_the_host() {
    let site = |clock| common::site::Site::small(std::sync::Arc::new(clock));
    let server = Server::with(site, WebOptions { is_behind_tls: true }).await;
    let answer = login(&server, "vera", PASSWORD).await;
    assert!(answer.header("set-cookie").starts_with("__Host-godvision="));
    assert!(answer.header("set-cookie").contains("; Secure"));
    let cookie = format!("__Host-godvision={}", token(&answer).expose());
    let session = server.request(Method::GET, "/api/v1/session").header("cookie", &cookie).send().await;
    assert_eq!(session.json()["name"], "vera");
}

#[tokio::test]
async fn the_page_signs_in_without_a_script_and_goes_where_it_was_asked() {
    let server = Server::start().await;
    let page = server.request(Method::GET, "/login?next=/clips").send().await;
    assert!(page.text().contains(r#"name="next" value="/clips""#), "{}", page.text());
    let form = |password: &str, next: &str| format!("name=vera&password={password}&next={next}");
    let wrong = server.request(Method::POST, "/login").form(form("wrong-password", "%2Fclips")).send().await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text().contains("the name or the password is wrong") && wrong.text().contains(r#"value="vera""#));
    assert!(!wrong.text().contains("wrong-password"));
    for (next, expected) in [("%2Fclips", "/clips"), ("%2F%2Fevil.example", "/"), ("https:%2F%2Fevil.example", "/")] {
        let right = server.request(Method::POST, "/login").form(form(PASSWORD, next)).send().await;
        assert_eq!((right.status, right.header("location")), (StatusCode::SEE_OTHER, expected));
        assert!(right.header("set-cookie").starts_with("godvision="));
    }
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_look_the_same() {
    let server = Server::start().await;
    let (name, password) =
        (login(&server, "typed-by-mistake", PASSWORD).await, login(&server, "ada", "wrong-password").await);
    assert_eq!((name.status, name.text()), (StatusCode::UNAUTHORIZED, password.text()));
    assert_eq!(password.status, StatusCode::UNAUTHORIZED);
    let entries = server.store.journal().query(Query::default()).await.unwrap();
    assert!(entries[0].text.contains("ada from 127.0.0.1"), "{}", entries[0].text);
    assert!(
        !format!("{:?}", entries[1]).contains("typed-by-mistake"),
        "what was typed for a name may be a password: {}",
        entries[1].text
    );
}

#[tokio::test]
async fn who_keeps_failing_waits_and_others_do_not() {
    let server = Server::start().await;
    for _ in 0..FREE_PER_NAME {
        assert_eq!(login(&server, "ada", "wrong-password").await.status, StatusCode::UNAUTHORIZED);
    }
    let early = login(&server, "ada", PASSWORD).await;
    assert_eq!((early.status, early.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"), "{}", early.text());
    assert_eq!(login(&server, "otto", PASSWORD).await.status, StatusCode::OK);
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(login(&server, "ada", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn sessions_end_when_idle_and_when_old() {
    let server = Server::start().await;
    let is_in = async |token: &Secret| server.store.sessions().find(token).await.unwrap().is_some();
    let idle = server.token("vera").await;
    server.clock.advance(IDLE_LIFE - Duration::from_secs(1));
    assert!(is_in(&idle).await);
    server.clock.advance(IDLE_LIFE - Duration::from_secs(1));
    assert!(is_in(&idle).await, "its use was noted");
    server.clock.advance(IDLE_LIFE);
    assert!(!is_in(&idle).await);
    let old = server.token("vera").await;
    let hours = ABSOLUTE_LIFE.as_secs() / 3600;
    for _ in 0..hours {
        assert!(is_in(&old).await);
        server.clock.advance(Duration::from_secs(3600));
    }
    assert!(!is_in(&old).await);
}

#[tokio::test]
async fn a_users_sessions_are_bounded() {
    let server = Server::start().await;
    let first = server.token("vera").await;
    for _ in 0..PER_USER_MAX {
        server.clock.advance(Duration::from_secs(61));
        server.token("vera").await;
    }
    assert!(server.store.sessions().find(&first).await.unwrap().is_none());
}

#[tokio::test]
async fn a_new_password_signs_out_everywhere() {
    let server = Server::start().await;
    let (here, there) = (server.token("vera").await, server.token("vera").await);
    let change = async |current: &str, new: &str| {
        let body = serde_json::json!({"current": current, "new": new}).to_string();
        server.request(Method::POST, "/api/v1/password").token(&here).json(body).send().await
    };
    let wrong = change("wrong-password", "new-password").await;
    assert_eq!((wrong.status, &*wrong.code()), (StatusCode::FORBIDDEN, "wrong_password"));
    let short = change(PASSWORD, "short").await;
    assert_eq!((short.status, &*short.code()), (StatusCode::BAD_REQUEST, "bad_password"));
    assert_eq!(change(PASSWORD, "new-password").await.status, StatusCode::NO_CONTENT);
    for token in [&here, &there] {
        assert_eq!(server.get("/api/v1/session", token).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(login(&server, "vera", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(login(&server, "vera", "new-password").await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_is_kept_out_is_out_at_once_and_the_last_admin_stays() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    server.store.users().set_disabled("vera", true).await.unwrap();
    assert_eq!(server.get("/api/v1/session", &token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(login(&server, "vera", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    server.store.users().set_disabled("vera", false).await.unwrap();
    assert_eq!(login(&server, "vera", PASSWORD).await.status, StatusCode::OK);
    assert!(server.store.users().set_disabled("ada", true).await.is_err());
    assert_eq!(login(&server, "ada", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_first_admin_is_made_once() {
    let folder = common::Folder::new();
    let clock = std::sync::Arc::new(common::clock());
    let store = godvision_server::store::Store::open(folder.path(), None, clock).await.unwrap();
    assert!(store.users().ensure_first_admin(Some("short".into())).await.is_err());
    let password = store.users().ensure_first_admin(None).await.unwrap().expect("there was nobody");
    assert!(store.users().ensure_first_admin(None).await.unwrap().is_none());
    assert!(store.users().ensure_first_admin(Some("another-password".into())).await.unwrap().is_none());
    let user = store.users().verify("admin", password).await.unwrap().unwrap();
    assert_eq!(user.role, godvision_server::store::Role::Admin);
    assert!(store.users().verify("admin", "another-password".into()).await.unwrap().is_none());
}
