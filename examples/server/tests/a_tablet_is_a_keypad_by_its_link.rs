//! A keypad on a page: a link makes it, a new one or a withdrawal ends it, what is typed reaches its reader and nothing else,
//! and what the reader shows comes back as it happens.

mod common;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use common::Server;
use futures::StreamExt;
use godvision_core::driver::reader::{Presented, Reader};
use godvision_core::journal::{Journal, Query};
use godvision_core::signal::door::{Indication, Key};
use godvision_core::{Name, WallTime};
use godvision_server::web::system::{Failing, LockedOut};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const PIN: &str = "271828";

async fn keypad(server: &Server) -> String {
    let token = server.token("ada").await;
    let add = server.request(Method::POST, "/api/v1/keypads").token(&token);
    let added = add.json(r#"{"name": "keypad/front", "door": "house/front"}"#).send().await;
    assert_eq!(added.json()["link"], serde_json::Value::Null, "nobody types before there is a link");
    link(server, Method::POST).await.json()["link"].as_str().unwrap().to_owned()
}

async fn link(server: &Server, method: Method) -> common::Answer {
    let token = server.token("ada").await;
    server.request(method, "/api/v1/keypads/keypad%2Ffront/link").token(&token).send().await
}

async fn typed(server: &Server, link: &str, body: &'static str) -> common::Answer {
    server.request(Method::POST, link).raw(body).send().await
}

#[tokio::test]
async fn what_is_typed_reaches_the_reader_and_is_told_nobody_else() {
    let server = Server::start().await;
    let link = keypad(&server).await;
    let mut reader = server.site.soft.reader("keypad~front").unwrap();
    assert_eq!(
        typed(&server, &link, PIN).await.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "nobody drives the reader yet"
    );
    reader.indicate(0, Indication::Ready).await.unwrap();
    let page = server.request(Method::GET, &link).send().await;
    assert_eq!((page.status, page.header("cache-control")), (StatusCode::OK, "no-store"));
    assert!(page.text().contains("/assets/keypad.js") && !page.text().contains("<script>"), "{}", page.text());
    assert_eq!(typed(&server, &link, PIN).await.status, StatusCode::NO_CONTENT);
    assert_eq!(reader.next().await, Ok(Presented { channel: 0, key: Key::Pin(PIN.into()) }.into()));
    for bad in ["", "12a4", "1234567890123", "2718 28", "{\"pin\": \"271828\"}", "１２３４"] {
        let answer = typed(&server, &link, bad).await;
        assert_eq!((answer.status, &*answer.code()), (StatusCode::BAD_REQUEST, "bad_pin"), "{bad:?}");
        assert!(!answer.text().contains("2718"), "{}", answer.text());
    }
    let entries = server.store.journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
    assert!(!format!("{entries:?}").contains(PIN));
    // The reader takes nothing any more: whoever types is told.
    let full = async || typed(&server, &link, PIN).await.status;
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(full().await);
    }
    assert_eq!(answers.last(), Some(&StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn a_link_dies_with_a_new_one_a_withdrawal_and_the_keypad() {
    let server = Server::start().await;
    let first = keypad(&server).await;
    let second = link(&server, Method::POST).await.json()["link"].as_str().unwrap().to_owned();
    let mut reader = server.site.soft.reader("keypad~front").unwrap();
    reader.indicate(0, Indication::Ready).await.unwrap();
    assert_eq!(typed(&server, &first, PIN).await.status, StatusCode::NOT_FOUND);
    assert_eq!(typed(&server, &second, PIN).await.status, StatusCode::NO_CONTENT);
    reader.next().await.unwrap();
    assert_eq!(link(&server, Method::DELETE).await.status, StatusCode::OK);
    assert_eq!(link(&server, Method::DELETE).await.code(), "not_found");
    assert_eq!(typed(&server, &second, PIN).await.status, StatusCode::NOT_FOUND);
    let third = link(&server, Method::POST).await.json()["link"].as_str().unwrap().to_owned();
    assert!(third != first && third != second);
    let ada = server.token("ada").await;
    server.request(Method::DELETE, "/api/v1/keypads/keypad%2Ffront").token(&ada).send().await;
    assert_eq!(typed(&server, &third, PIN).await.status, StatusCode::NOT_FOUND);
    // Guessing is slowed down, and a good link works whatever others have tried from here.
    let fourth = keypad(&server).await;
    let mut last = StatusCode::OK;
    for number in 0..30 {
        let guess = format!("{}{number:02}", &fourth[..fourth.len() - 2]);
        last = server.request(Method::GET, &guess).send().await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(typed(&server, &fourth, PIN).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_the_reader_shows_comes_as_it_happens() {
    let server = Server::start().await;
    let path = keypad(&server).await;
    let reader: Name = "keypad/front".parse().unwrap();
    let mut driver = server.site.soft.reader("keypad~front").unwrap();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri(format!("{path}/shown")).header("host", "here").body(Body::empty()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut events = Body::new(answer.into_body()).into_data_stream();
    let mut next = async || {
        let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("an event").unwrap();
        String::from_utf8(event.unwrap().to_vec()).unwrap()
    };
    assert!(next().await.contains(r#""shows":"busy""#), "nobody says that it is ready");
    for (indication, code) in [
        (Indication::Ready, "ready"),
        (Indication::Refused, "refused"),
        (Indication::Awaiting, "awaiting"),
        (Indication::Open, "open"),
    ] {
        driver.indicate(0, indication).await.unwrap();
        assert!(next().await.contains(&format!(r#"{{"shows":"{code}","wait":0}}"#)), "{code}");
    }
    let until = WallTime::from_unix_seconds(common::NOW + 30);
    server.site.premises.lock().unwrap().locked_out = vec![LockedOut { who: Failing::Source(reader), until }];
    assert!(next().await.contains(r#""wait":30"#));
    link(&server, Method::DELETE).await;
    assert!(next().await.contains("event: gone"));
}
