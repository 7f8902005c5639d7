//! Shelly Gen2 and later, over HTTP: JSON-RPC 2.0 at `/rpc`.
//!
//! Source: the vendor's Gen2+ API documentation ("RPC Protocol", "Switch", "Authentication", "Common Errors"). A pulse is
//! `Switch.Set {on: true, toggle_after: SECONDS}`: the device switches back by itself, so a lost link leaves no door
//! open. The reply `was_on` confirms the command; `Switch.GetStatus` reads `output` from the device. The user is always
//! `admin`; a device without a password answers without a challenge.
//!
//! Not verified on a device: the longest `toggle_after` (documented as a number of seconds without a bound; pulses here
//! end within an hour) and its resolution (0.1 s is assumed).
//!
//! Every command has a connection of its own: a device keeps few, and a stale one would make an error ambiguous. Its
//! digest nonce is used again while the device accepts it, which saves one round trip.
//!
//! **Never:** TLS (the devices speak plain HTTP in the local network), retries, MQTT (where the device's password does
//! not count).

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::address::RelayAddress;
use super::digest::{self, Challenge};
use crate::error::Error;

/// How long a command may take, connecting included, when nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes of a reply that are read.
pub const REPLY_BYTES_MAX: usize = 16 << 10;

const USER: &str = "admin";
const PATH: &str = "/rpc";
const PULSE: PulseTiming = PulseTiming::Device {
    min: Duration::from_millis(100),
    max: Duration::from_secs(3600),
    step: Duration::from_millis(100),
};

/// How to reach a device.
#[derive(Clone, Debug)]
pub struct ShellyOptions {
    /// Host and port, such as `192.168.1.20:80`.
    pub address: String,
    /// The device's password, if it has one.
    pub password: Option<Secret>,
    /// How many switches it has.
    pub channels: u8,
    /// How long a command may take, connecting included.
    pub timeout: Duration,
}

impl ShellyOptions {
    /// A device with one switch and no password.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), password: None, channels: 1, timeout: TIMEOUT }
    }
}

/// A Shelly device of the second or a later generation.
pub struct Shelly {
    options: ShellyOptions,
    capabilities: Capabilities,
    session: Mutex<Session>,
}

/// The device's last challenge and how often it was answered, and the number of the last command.
#[derive(Default)]
struct Session {
    challenge: Option<(Challenge, u32)>,
    command: u32,
}

/// What came back over HTTP.
struct Reply {
    status: StatusCode,
    challenge: Option<String>,
    body: Bytes,
}

impl Shelly {
    /// A driver; nothing is sent yet.
    pub fn new(options: ShellyOptions) -> Self {
        let capabilities = Capabilities { driver: "shelly-gen2", channels: options.channels, pulse: PULSE, inputs: 0 };
        Self { options, capabilities, session: Mutex::default() }
    }

    /// From `shelly://[admin[:password]@]host[:port]/[?channels=N][&timeout_ms=N]`.
    ///
    /// # Errors
    /// [`Error::BadRelayUrl`].
    pub fn from_address(address: &RelayAddress) -> Result<Self, Error> {
        let bad = |detail| Err(Error::BadRelayUrl { detail });
        if address.host.is_empty() {
            return bad("the device's host is missing: shelly://192.168.1.20/");
        }
        if address.user.as_deref().is_some_and(|user| user != USER) {
            return bad("the user of a Shelly device is always admin");
        }
        if address.query.iter().any(|(name, _)| !["channels", "timeout_ms"].contains(&name.as_str())) {
            return bad("behind the ? only channels= and timeout_ms= are known");
        }
        let timeout_ms = address.value("timeout_ms").map_or(Some(TIMEOUT.as_millis() as u64), |text| text.parse().ok());
        let Some(timeout_ms) = timeout_ms.filter(|ms| (50..=10_000).contains(ms)) else {
            return bad("timeout_ms= is a number from 50 to 10000");
        };
        Ok(Self::new(ShellyOptions {
            address: format!("{}:{}", address.host, address.port.unwrap_or(80)),
            password: address.password.clone().filter(|password| !password.is_empty()),
            channels: address.channels()?,
            timeout: Duration::from_millis(timeout_ms),
        }))
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bad_reply(&self, detail: impl fmt::Display) -> RelayError {
        RelayError::BadReply { address: self.options.address.clone(), detail: shortened(&detail.to_string()) }
    }

    fn rejected(&self, detail: impl fmt::Display) -> RelayError {
        RelayError::Rejected { address: self.options.address.clone(), detail: shortened(&detail.to_string()) }
    }

    fn auth_failed(&self) -> RelayError {
        RelayError::AuthFailed { address: self.options.address.clone() }
    }

    /// Calls a method within the time allowed and returns its `result`.
    async fn call(&self, method: &str, params: Value) -> Result<Value, RelayError> {
        let waited = self.options.timeout;
        let connecting = tokio::time::timeout(waited, TcpStream::connect(&self.options.address)).await;
        let unreachable = |detail: String| RelayError::Unreachable {
            address: self.options.address.clone(),
            detail: shortened(&detail),
        };
        let stream = match connecting {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => return Err(unreachable(format!("no connection within {waited:?}"))),
        };
        // From here on the command may have reached the device: only a timeout or a bad reply may be reported.
        tokio::time::timeout(waited, self.converse(stream, method, params))
            .await
            .unwrap_or_else(|_| Err(RelayError::Timeout { address: self.options.address.clone(), waited }))
    }

    async fn converse(&self, stream: TcpStream, method: &str, params: Value) -> Result<Value, RelayError> {
        // Commands are small and wait for their answer; a failure only makes them slower.
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.bad_reply(error))?;
        let exchange = async {
            let number = {
                let mut session = self.session();
                session.command = session.command.wrapping_add(1);
                session.command
            };
            let body = json!({"jsonrpc": "2.0", "id": number, "src": "godvision", "method": method, "params": params})
                .to_string();
            let known = self.answer(None)?;
            let mut reply = self.send(&mut sender, &body, known).await?;
            if reply.status == StatusCode::UNAUTHORIZED {
                let header = reply.challenge.ok_or_else(|| self.bad_reply("401 without a challenge"))?;
                let challenge = Challenge::parse(&header).map_err(|error| self.bad_reply(error))?;
                let answer = self.answer(Some(challenge))?;
                if answer.is_none() {
                    return Err(self.auth_failed());
                }
                // The nonce of the first try may have run out; with a fresh one, a second 401 means the password.
                reply = self.send(&mut sender, &body, answer).await?;
            }
            self.result(number, &reply)
        };
        // The connection does the reading and writing; it ends with the exchange.
        tokio::pin!(connection);
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            result = &mut exchange => result,
            ended = &mut connection => match ended {
                // The connection may close after its last reply, before the exchange was looked at.
                Ok(()) => exchange.await,
                Err(error) => Err(self.bad_reply(error)),
            },
        }
    }

    /// The `Authorization` of the next request: to a new challenge, or to the one kept. `None` without either, or
    /// without a password.
    fn answer(&self, fresh: Option<Challenge>) -> Result<Option<Secret>, RelayError> {
        let Some(password) = &self.options.password else { return Ok(None) };
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| RelayError::Unreachable {
            address: self.options.address.clone(),
            detail: error.to_string(),
        })?;
        let client_nonce = random.iter().fold(String::with_capacity(16), |text, byte| text + &format!("{byte:02x}"));
        let mut session = self.session();
        if let Some(challenge) = fresh {
            session.challenge = Some((challenge, 0));
        }
        let Some((challenge, count)) = session.challenge.as_mut() else { return Ok(None) };
        *count = count.wrapping_add(1);
        let request = digest::Request { method: "POST", uri: PATH, count: *count, client_nonce: &client_nonce };
        Ok(Some(digest::authorization(challenge, USER, password, &request)))
    }

    async fn send(
        &self,
        sender: &mut http1::SendRequest<Full<Bytes>>,
        body: &str,
        authorization: Option<Secret>,
    ) -> Result<Reply, RelayError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(PATH)
            .header(HOST, &self.options.address)
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "keep-alive");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization.expose());
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        let request = request.map_err(|_| self.rejected("the address cannot stand in a request"))?;
        sender.ready().await.map_err(|error| self.bad_reply(error))?;
        let response = sender.send_request(request).await.map_err(|error| self.bad_reply(error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, REPLY_BYTES_MAX).collect().await.map_err(|error| self.bad_reply(error))?;
        let challenge = head.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Reply { status: head.status, challenge, body: body.to_bytes() })
    }

    /// The `result` of the reply to command `number`.
    fn result(&self, number: u32, reply: &Reply) -> Result<Value, RelayError> {
        match reply.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                self.session().challenge = None;
                return Err(self.auth_failed());
            }
            StatusCode::NOT_FOUND => {
                return Err(self.rejected("it has no /rpc: not a Shelly of the second generation or later"));
            }
            other => return Err(self.bad_reply(format_args!("HTTP status {}", other.as_u16()))),
        }
        let mut frame: Value =
            serde_json::from_slice(&reply.body).map_err(|_| self.bad_reply("the body is no JSON"))?;
        if frame.get("id").and_then(Value::as_u64) != Some(u64::from(number)) {
            return Err(self.bad_reply("it answers another command"));
        }
        if let Some(error) = frame.get("error") {
            let code =
                error.get("code").and_then(Value::as_i64).ok_or_else(|| self.bad_reply("an error without a code"))?;
            let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
            return Err(if code == 401 {
                self.auth_failed()
            } else {
                self.rejected(format_args!("{message} ({code})"))
            });
        }
        frame.get_mut("result").map(Value::take).ok_or_else(|| self.bad_reply("neither a result nor an error"))
    }

    async fn switch(&self, params: Value) -> Result<(), RelayError> {
        let result = self.call("Switch.Set", params).await?;
        // `was_on` is what tells a reply of Switch.Set from any other.
        result.get("was_on").and_then(Value::as_bool).map(|_| ()).ok_or_else(|| self.bad_reply("was_on is missing"))
    }
}

impl Relay for Shelly {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let duration = checked_pulse(&self.capabilities, channel, duration)?;
            let seconds = duration.as_millis() as f64 / 1000.0;
            self.switch(json!({"id": channel, "on": true, "toggle_after": seconds})).await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            self.switch(json!({"id": channel, "on": contact == Contact::On})).await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let result = self.call("Switch.GetStatus", json!({"id": channel})).await?;
            if result.get("id").and_then(Value::as_u64) != Some(u64::from(channel)) {
                return Err(self.bad_reply("it answers about another channel"));
            }
            match result.get("output").and_then(Value::as_bool) {
                Some(true) => Ok(Contact::On),
                Some(false) => Ok(Contact::Off),
                None => Err(self.bad_reply("output is missing")),
            }
        })
    }
}

/// The address alone.
impl fmt::Debug for Shelly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shelly at {}", self.options.address)
    }
}

/// A device's words, fit for a log: one line of at most 120 characters.
fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(120).collect()
}
