//! A small HTTP and WebSocket client for `demo --check`: the outside view of the server, over loopback.
//!
//! **Never:** TLS, redirects, cookies, reuse of connections.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use futures::StreamExt as _;
use godvision_core::Secret;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

/// Longest answer.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Talks to one server, signed in or not.
pub(super) struct Client {
    address: SocketAddr,
    token: Option<String>,
}

/// What a few seconds of live view brought.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) mime: String,
    pub(super) fragments: usize,
    pub(super) first_after: Duration,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, token: None }
    }

    /// Status and body of one request.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let exchange = async {
            let stream = TcpStream::connect(self.address).await?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let mut request =
                Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
            if let Some(token) = &self.token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let body = match body {
                Some(json) => {
                    request = request.header(header::CONTENT_TYPE, "application/json");
                    Body::from(json.to_string())
                }
                None => Body::empty(),
            };
            let response = sender.send_request(request.body(body)?).await?;
            let status = response.status();
            let body = to_bytes(Body::new(response.into_body()), BODY_BYTES_MAX).await?;
            connection.abort();
            anyhow::Ok((status, body))
        };
        tokio::time::timeout(ANSWER_MAX, exchange).await.with_context(|| format!("{path}: no answer"))?
    }

    /// The JSON answer of a request that has to succeed.
    pub(super) async fn json(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let (status, body) = self.request(method, path, body).await?;
        ensure!(status.is_success(), "{path} answers {status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).with_context(|| format!("{path} answers no JSON"))
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.json(Method::GET, path, None).await
    }

    /// Signs in; later requests carry the token.
    pub(super) async fn sign_in(&mut self, name: &str, password: &Secret) -> anyhow::Result<()> {
        let body = serde_json::json!({ "name": name, "password": password.expose() });
        let answer = self.json(Method::POST, "/api/v1/login", Some(body)).await?;
        self.token = Some(answer["token"].as_str().context("/api/v1/login gives no token")?.to_owned());
        Ok(())
    }

    /// Watches `path` until `enough` fragments have come, checking each.
    pub(super) async fn watch(&self, path: &str, enough: usize) -> anyhow::Result<Live> {
        let watching = async {
            let began = tokio::time::Instant::now();
            let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
            if let Some(token) = &self.token {
                request.headers_mut().insert("Authorization", format!("Bearer {token}").parse()?);
            }
            let stream = TcpStream::connect(self.address).await?;
            let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(refused)?;
            let mut live = Live::default();
            let mut needs_init = false;
            while live.fragments < enough {
                match socket.next().await.context("the live view ended")?? {
                    Message::Text(text) => {
                        let told: Value = serde_json::from_str(&text)?;
                        if told["type"] == "init" {
                            live.mime = told["mime"].as_str().unwrap_or_default().to_owned();
                            needs_init = true;
                        }
                    }
                    Message::Binary(data) if needs_init => {
                        ensure!(data.get(4..8) == Some(b"ftyp"), "the first message is no init segment");
                        needs_init = false;
                    }
                    Message::Binary(data) => {
                        ensure!(data.get(4..8) == Some(b"moof"), "a message is no fragment");
                        ensure!(!live.mime.is_empty(), "a fragment came before its init segment");
                        if live.fragments == 0 {
                            live.first_after = began.elapsed();
                        }
                        live.fragments += 1;
                    }
                    _ => {}
                }
            }
            Ok(live)
        };
        tokio::time::timeout(ANSWER_MAX, watching).await.context("too few fragments came")?
    }
}

fn refused(error: tungstenite::Error) -> anyhow::Error {
    match error {
        tungstenite::Error::Http(response) => anyhow::anyhow!("the live view is refused with {}", response.status()),
        other => other.into(),
    }
}

/// Tries `probe` until it gives something, for at most `patience`.
pub(super) async fn eventually<T>(
    what: &str,
    patience: Duration,
    probe: impl AsyncFn() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let mut trouble = None;
    let trying = async {
        loop {
            match probe().await {
                Ok(Some(found)) => return found,
                Ok(None) => {}
                Err(error) => trouble = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    match tokio::time::timeout(patience, trying).await {
        Ok(found) => Ok(found),
        Err(_) => match trouble {
            Some(error) => Err(error.context(format!("{what}: not within {patience:?}"))),
            None => bail!("{what}: not within {patience:?}"),
        },
    }
}
