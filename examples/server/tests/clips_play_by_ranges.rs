//! What a video element asks for, and what it gets.

mod common;

use axum::http::{Method, StatusCode};
use common::Server;
use common::site::pattern;

#[tokio::test]
async fn whole_part_and_beyond() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    let ask = |range: Option<&str>| {
        let request = server.request(Method::GET, "/api/v1/clips/yard%2F3/video").cookie(&token);
        match range {
            Some(range) => request.header("range", range),
            None => request,
        }
    };
    let all = pattern(700_000);
    let whole = ask(None).send().await;
    assert_eq!((whole.status, whole.body == all), (StatusCode::OK, true));
    assert_eq!((whole.header("content-type"), whole.header("accept-ranges")), ("video/mp4", "bytes"));
    for (range, from, to) in [
        ("bytes=0-", 0, 700_000),
        ("bytes=0-0", 0, 1),
        ("bytes=262143-262145", 262_143, 262_146),
        ("bytes=100-600000", 100, 600_001),
        ("bytes=-10", 699_990, 700_000),
        ("bytes=699999-9999999", 699_999, 700_000),
    ] {
        let part = ask(Some(range)).send().await;
        assert_eq!((part.status, part.body == all[from..to]), (StatusCode::PARTIAL_CONTENT, true), "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/700000", to - 1));
        assert_eq!(part.header("content-length"), (to - from).to_string());
    }
    let beyond = ask(Some("bytes=700000-")).send().await;
    assert_eq!((beyond.status, beyond.header("content-range")), (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */700000"));
    assert_eq!(ask(Some("bytes=5-4")).send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_part_of_a_file_that_grew_since_is_not_glued() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    let ask = |tag: &str| {
        let request = server.request(Method::GET, "/api/v1/clips/gate%2F2/video").cookie(&token);
        request.header("range", "bytes=500-").header("if-range", tag)
    };
    let tag = server.get("/api/v1/clips/gate%2F2/video", &token).await.header("etag").to_owned();
    assert_eq!(ask(&tag).send().await.status, StatusCode::PARTIAL_CONTENT);
    let other = ask("\"1f4\"").send().await;
    assert_eq!((other.status, other.body.len()), (StatusCode::OK, 1000));
}

#[tokio::test]
async fn head_tells_the_size_without_the_bytes() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    let head = server.request(Method::HEAD, "/api/v1/clips/yard%2F3/video").cookie(&token).send().await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (StatusCode::OK, "700000", 0));
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    let ids = async |query: &str| {
        let answer = server.get(&format!("/api/v1/clips?{query}"), &token).await.json();
        let ids: Vec<String> =
            answer["clips"].as_array().unwrap().iter().map(|clip| clip["id"].as_str().unwrap().to_owned()).collect();
        (ids, answer["next"].as_str().map(str::to_owned))
    };
    assert_eq!(ids("camera=yard/camera").await.0, ["yard/3", "yard/1"]);
    assert_eq!(ids("from=2026-11-21T09:26:00Z&to=2026-11-21T09:28:00Z").await.0, ["gate/2"]);
    let (first, next) = ids("limit=2").await;
    assert_eq!((first, next.as_deref()), (vec!["yard/3".to_owned(), "gate/2".to_owned()], Some("gate/2")));
    assert_eq!(ids("limit=2&before=gate/2").await, (vec!["yard/1".to_owned()], None));
    assert_eq!(ids("limit=0").await.0.len(), 1, "a page has at least one");
}
