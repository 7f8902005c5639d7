//! Requests that are wrong, too large, too slow or cut off: a plain answer, and the server goes on.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use common::Server;
use godvision_server::web::BODY_BYTES_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn bodies_are_bounded() {
    let server = Server::start().await;
    let body = format!(r#"{{"name": "ada", "password": "{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    let answer = server.request(Method::POST, "/api/v1/login").json(body).send().await;
    assert_eq!((answer.status, &*answer.code()), (StatusCode::PAYLOAD_TOO_LARGE, "bad_body"));
    let form = format!("name=ada&password={}", "x".repeat(BODY_BYTES_MAX));
    let answer = server.request(Method::POST, "/login").form(form).send().await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text().contains("<form"));
}

#[tokio::test]
async fn nonsense_is_told_what_it_is() {
    let server = Server::start().await;
    for (body, kind, status) in [
        ("{", "application/json", StatusCode::BAD_REQUEST),
        ("[]", "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name": "ada"}"#, "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name": "ada", "password": "x"}"#, "text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let answer = server.request(Method::POST, "/api/v1/login").json(body);
        let answer = if kind == "application/json" {
            answer
        } else {
            server.request(Method::POST, "/api/v1/login").header("content-type", kind)
        };
        let answer = answer.send().await;
        assert_eq!((answer.status, &*answer.code()), (status, "bad_body"), "{body}: {}", answer.text());
    }
    let token = server.token("vera").await;
    let answer = server.get("/api/v1/journal?from=noon", &token).await;
    assert!(answer.text().contains("2026-11-21T09:30:00Z"), "it shows how to write a time: {}", answer.text());
    for path in ["/journal?from=noon", "/clips?camera=..%2Fetc", "/journal?before=x"] {
        let answer = server.get(path, &token).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn raw_nonsense_and_hang_ups_leave_the_server_alone() {
    let server = Server::start().await;
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /api/v1/login HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /api/v1/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
        b"GET /api/v1/cameras/x/live HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 303"), "{text}");
    }
    let health = server.request(Method::GET, "/api/v1/health").send().await;
    assert_eq!(health.json(), serde_json::json!({"status": "degraded"}), "a stranger learns no more");
}

#[tokio::test]
async fn a_stop_ends_live_views_and_idle_connections() {
    let mut server = Server::start().await;
    let token = server.token("vera").await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    let url = format!("ws://{}/api/v1/cameras/yard%2Fcamera/live", server.address);
    let mut request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(url).unwrap();
    request.headers_mut().insert("cookie", format!("godvision={}", token.expose()).parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    server.stop().await;
    while let Some(Ok(message)) = futures::StreamExt::next(&mut socket).await {
        assert!(!message.is_binary());
    }
    drop(idle);
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_live_view_needs_a_session_our_own_page_and_a_camera() {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let server = Server::start().await;
    let token = server.token("vera").await;
    let connect = async |id: &str, headers: &[(&'static str, String)]| {
        let url = format!("ws://{}/api/v1/cameras/{id}/live", server.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok(_) => 101,
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("{error}"),
        }
    };
    let cookie = ("cookie", format!("godvision={}", token.expose()));
    let origin = |origin: &str| ("origin", origin.to_owned());
    let own = format!("http://{}", server.address);
    assert_eq!(connect("yard%2Fcamera", &[]).await, 401);
    assert_eq!(connect("yard%2Fcamera", std::slice::from_ref(&cookie)).await, 101);
    assert_eq!(connect("yard%2Fcamera", &[cookie.clone(), origin(&own)]).await, 101);
    assert_eq!(connect("yard%2Fcamera", &[cookie.clone(), origin("http://evil.example")]).await, 403);
    assert_eq!(connect("moon", &[cookie]).await, 404);
}

#[tokio::test]
async fn a_change_whose_sender_hangs_up_is_finished() {
    let mut server = Server::start().await;
    let token = server.token("otto").await;
    // The site takes its time over a command.
    let gate = Arc::clone(&server.site.gate);
    let shut = gate.write_owned().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "PUT /api/v1/lockdown HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 12\r\n\r\n{{\"on\": true}}",
        token.expose()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    while server.site.asked.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    // Long enough for the server to see that the sender is gone.
    for _ in 0..20 {
        server.request(Method::GET, "/api/v1/health").send().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(server.site.commands.lock().unwrap().is_empty());
    // Nor does a stop cut it.
    let opening = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(shut);
    });
    server.stop().await;
    assert_eq!(server.site.commands.lock().unwrap().len(), 1);
    opening.await.unwrap();
}
