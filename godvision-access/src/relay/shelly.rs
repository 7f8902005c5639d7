//! Shelly Gen2 and later, over HTTP: JSON-RPC 2.0 at `/rpc`.
//!
//! Source: the vendor's Gen2+ API documentation ("RPC Protocol", "Switch", "Authentication", "Common Errors"). A pulse is
//! `Switch.Set {on: true, toggle_after: SECONDS}`: the device switches back by itself, so a lost link leaves no door
//! open. The reply `was_on` confirms the command; `Switch.GetStatus` reads `output` from the device. The user is always
//! `admin`; a device without a password answers without a challenge. `Input.GetStatus` reads `state` of an input of type
//! `switch` ("Input"; null for a button).
//!
//! **Not verified:** the longest `toggle_after` (documented as a number of seconds without a bound; pulses here end
//! within an hour); its resolution (0.1 s is assumed).
//!
//! Every command has a connection of its own: a device keeps few, and a stale one would make an error ambiguous. Its
//! digest nonce is used again while the device accepts it, which saves one round trip.
//!
//! **Never:** TLS (the devices speak plain HTTP in the local network), retries, MQTT (where the device's password does
//! not count).

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_input, checked_pulse,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::digest::{self, Challenge};
use super::endpoint::Endpoint;
pub use super::endpoint::TIMEOUT;
use super::http::{HttpLink, HttpReply, HttpRequest};
use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "shelly",
    title: "Shelly Gen2, Gen3, Gen4 (Plus, Pro, ...)",
    about: "Pulses end on the device. Inputs must be of the type switch in the device's settings.",
    fields: &[
        AddressField::HOST,
        AddressField::port("80"),
        AddressField::user(USER),
        AddressField::PASSWORD,
        AddressField::channels(8, "1"),
        AddressField::inputs(8),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Device),
    verified: Verified::Documents,
    unverified: &[
        "the longest toggle_after (documented as a number of seconds without a bound; pulses here end within an hour)",
        "its resolution (0.1 s is assumed)",
    ],
};

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
    /// How many inputs it has, of type `switch`.
    pub inputs: u8,
    /// How long a command may take, connecting included.
    pub timeout: Duration,
}

impl ShellyOptions {
    /// A device with one switch and no password.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), password: None, channels: 1, inputs: 0, timeout: TIMEOUT }
    }
}

/// A Shelly device of the second or a later generation.
pub struct Shelly {
    endpoint: Endpoint,
    password: Option<Secret>,
    capabilities: Capabilities,
    session: Mutex<Session>,
}

/// The device's last challenge and how often it was answered, and the number of the last command.
#[derive(Default)]
struct Session {
    challenge: Option<(Challenge, u32)>,
    command: u32,
}

impl Shelly {
    /// A driver; nothing is sent yet.
    pub fn new(options: ShellyOptions) -> Self {
        let ShellyOptions { address, password, channels, inputs, timeout } = options;
        let capabilities = Capabilities { driver: "shelly-gen2", channels, pulse: PULSE, inputs };
        Self { endpoint: Endpoint::new(address, timeout), password, capabilities, session: Mutex::default() }
    }

    /// From `shelly://[admin[:password]@]host[:port]/[?channels=N][&inputs=N][&timeout_ms=N]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`], [`Error::BadDeviceUrl`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        SPEC.check(address)?;
        if address.user.as_deref().is_some_and(|user| user != USER) {
            return Err(Error::BadDeviceUrl { detail: "the user of a Shelly device is always admin" });
        }
        Ok(Self::new(ShellyOptions {
            address: SPEC.authority(address),
            password: address.password.clone().filter(|password| !password.is_empty()),
            channels: SPEC.channels(address),
            inputs: SPEC.inputs(address),
            timeout: SPEC.timeout(address),
        }))
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a method within the time allowed and returns its `result`.
    async fn call(&self, method: &str, params: Value) -> Result<Value, RelayError> {
        let stream = self.endpoint.connect().await?;
        // From here on the command may have reached the device: only a timeout or a bad reply may be reported.
        self.endpoint.within(self.converse(stream, method, params)).await
    }

    async fn converse(&self, stream: TcpStream, method: &str, params: Value) -> Result<Value, RelayError> {
        let mut link = HttpLink::new(&self.endpoint, stream).await?;
        let number = {
            let mut session = self.session();
            session.command = session.command.wrapping_add(1);
            session.command
        };
        let body = json!({"jsonrpc": "2.0", "id": number, "src": "godvision", "method": method, "params": params});
        let request = HttpRequest::post(PATH, body.to_string());
        let mut reply = link.send(&request.clone().authorized(self.answer(None)?)).await?;
        if reply.status == 401 {
            let header = reply.challenge.ok_or_else(|| self.endpoint.bad_reply("401 without a challenge"))?;
            let challenge = Challenge::parse(&header).map_err(|error| self.endpoint.bad_reply(error))?;
            let answer = self.answer(Some(challenge))?;
            if answer.is_none() {
                return Err(self.endpoint.auth_failed());
            }
            // The nonce of the first try may have run out; with a fresh one, a second 401 means the password.
            reply = link.send(&request.authorized(answer)).await?;
        }
        self.result(number, reply)
    }

    /// The `Authorization` of the next request: to a new challenge, or to the one kept. `None` without either, or
    /// without a password.
    fn answer(&self, fresh: Option<Challenge>) -> Result<Option<Secret>, RelayError> {
        let Some(password) = &self.password else { return Ok(None) };
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| self.endpoint.unreachable(error))?;
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

    /// The `result` of the reply to command `number`.
    fn result(&self, number: u32, reply: HttpReply) -> Result<Value, RelayError> {
        match reply.status {
            401 => {
                self.session().challenge = None;
                return Err(self.endpoint.auth_failed());
            }
            404 => {
                return Err(self.endpoint.rejected("it has no /rpc: not a Shelly of the second generation or later"));
            }
            _ => {}
        }
        match RpcReply::parse(&reply.accepted(&self.endpoint)?) {
            Ok(RpcReply { id, .. }) if id != u64::from(number) => {
                Err(self.endpoint.bad_reply("it answers another command"))
            }
            Ok(RpcReply { outcome: Ok(result), .. }) => Ok(result),
            Ok(RpcReply { outcome: Err((401, _)), .. }) => Err(self.endpoint.auth_failed()),
            Ok(RpcReply { outcome: Err((code, message)), .. }) => {
                Err(self.endpoint.rejected(format_args!("{message} ({code})")))
            }
            Err(detail) => Err(self.endpoint.bad_reply(detail)),
        }
    }

    /// Reads a boolean of component `id`.
    async fn read(&self, method: &str, id: u8, key: &str) -> Result<Contact, RelayError> {
        let result = self.call(method, json!({"id": id})).await?;
        if result.get("id").and_then(Value::as_u64) != Some(u64::from(id)) {
            return Err(self.endpoint.bad_reply("it answers about another channel"));
        }
        match result.get(key) {
            Some(Value::Bool(true)) => Ok(Contact::On),
            Some(Value::Bool(false)) => Ok(Contact::Off),
            // An input of type `button` has a state of null.
            Some(Value::Null) => Err(self.endpoint.rejected("it has no state: set the input's type to switch")),
            _ => Err(self.endpoint.bad_reply(format_args!("{key} is missing"))),
        }
    }

    async fn switch(&self, params: Value) -> Result<(), RelayError> {
        let result = self.call("Switch.Set", params).await?;
        // `was_on` is what tells a reply of Switch.Set from any other.
        result
            .get("was_on")
            .and_then(Value::as_bool)
            .map(|_| ())
            .ok_or_else(|| self.endpoint.bad_reply("was_on is missing"))
    }
}

/// A reply frame of JSON-RPC.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcReply {
    /// The command it answers.
    pub id: u64,
    /// Its result, or the error's code and message.
    pub outcome: Result<Value, (i64, String)>,
}

impl RpcReply {
    /// Reads the body of a reply.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let mut frame: Value = serde_json::from_slice(body).map_err(|_| "the body is no JSON")?;
        let id = frame.get("id").and_then(Value::as_u64).ok_or("it answers another command")?;
        if let Some(error) = frame.get("error") {
            let code = error.get("code").and_then(Value::as_i64).ok_or("an error without a code")?;
            let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
            return Ok(Self { id, outcome: Err((code, message.to_owned())) });
        }
        let result = frame.get_mut("result").map(Value::take).ok_or("neither a result nor an error")?;
        Ok(Self { id, outcome: Ok(result) })
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
            self.read("Switch.GetStatus", channel, "output").await
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_input(&self.capabilities, input)?;
            self.read("Input.GetStatus", input, "state").await
        })
    }
}

/// The address alone.
impl fmt::Debug for Shelly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shelly at {}", self.endpoint.address())
    }
}
