//! Rolling codes: a page by a link that needs no login and no script, codes that the doors believe for a minute, and links
//! that die with a new one, with a withdrawal and with the person.

mod common;

use axum::http::{Method, StatusCode};
use common::{NOW, Server};
use godvision_access::pass::rolling::RollingDefect;
use godvision_core::{Name, Secret, WallTime};

async fn code(server: &Server, method: Method, person: &str) -> common::Answer {
    let token = server.token("ada").await;
    server.request(method, &format!("/api/v1/people/{person}/code")).token(&token).send().await
}

fn link(answer: &common::Answer) -> String {
    answer.json()["link"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

/// What the page of this link shows in its code.
async fn text(server: &Server, link: &str) -> Secret {
    let token = Secret::from(link.trim_start_matches("/code/"));
    server.store.access().code_of_link(&token).await.unwrap().unwrap().1
}

fn read(server: &Server, text: &Secret, second: i64) -> Result<Name, RollingDefect> {
    let now = WallTime::from_unix_seconds(NOW + second);
    server.store.access().shared().current().passes.read_rolling(text, now).map(|code| code.person)
}

#[tokio::test]
async fn the_page_shows_a_code_that_doors_believe() {
    let server = Server::start().await;
    common::known(&server.store, "bob").await;
    assert_eq!(code(&server, Method::GET, "bob").await.json()["link"], serde_json::Value::Null);
    let link = link(&code(&server, Method::POST, "bob").await);
    let page = server.request(Method::GET, &link).send().await;
    assert_eq!((page.status, page.header("cache-control")), (StatusCode::OK, "no-store"));
    let page = page.text();
    assert!(
        page.contains("bob")
            && page.contains("data:image/svg+xml;base64,")
            && !page.contains("<script")
            && !page.contains("GVR:")
    );
    // The tests' time is the beginning of a step.
    assert!(page.contains(r#"http-equiv="refresh" content="31""#), "{page}");
    let shown = text(&server, &link).await;
    assert_eq!(read(&server, &shown, 0), Ok("bob".parse().unwrap()));
    assert_eq!(read(&server, &shown, 60), Err(RollingDefect::TooOld));
    server.clock.advance(std::time::Duration::from_secs(30));
    assert_ne!(text(&server, &link).await, shown);
}

#[tokio::test]
async fn a_link_dies_with_a_new_one_a_withdrawal_and_the_person() {
    let server = Server::start().await;
    let bob = "bob".parse().unwrap();
    common::known(&server.store, "bob").await;
    let status = async |link: &str| server.request(Method::GET, link).send().await.status;
    let first = link(&code(&server, Method::POST, "bob").await);
    let old = text(&server, &first).await;
    let second = link(&code(&server, Method::POST, "bob").await);
    assert_eq!((status(&first).await, status(&second).await), (StatusCode::NOT_FOUND, StatusCode::OK));
    assert_eq!(read(&server, &old, 0), Err(RollingDefect::Wrong), "and so do its codes, at once");
    assert_eq!(code(&server, Method::DELETE, "bob").await.status, StatusCode::OK);
    assert_eq!(status(&second).await, StatusCode::NOT_FOUND);
    assert_eq!(code(&server, Method::DELETE, "bob").await.code(), "not_found", "nothing is left");
    let third = link(&code(&server, Method::POST, "bob").await);
    assert!(third != first && third != second, "a generation never comes back");
    server.store.access().remove_person(&bob, common::line()).await.unwrap();
    assert_eq!(status(&third).await, StatusCode::NOT_FOUND);
    server.store.access().restore_person(&bob, common::line()).await.unwrap();
    assert_eq!(status(&third).await, StatusCode::OK);
    for nobody in ["eve", "a%20b"] {
        assert!(code(&server, Method::POST, nobody).await.status.is_client_error(), "{nobody}");
    }
}
