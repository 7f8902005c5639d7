//! Shelly of the first generation, over HTTP: `GET /relay/N`.
//!
//! Source: the vendor's Gen1 API documentation, of which only the overview could be read (GET requests, basic
//! authentication, off by default), and users' descriptions and clients that agree: `?turn=on&timer=SECONDS` switches on
//! and back off by itself, and starts the time anew if the relay is on already; replies hold `ison`, `has_timer`,
//! `timer_remaining`; `/status` holds `inputs[].input` as 0 or 1.
//!
//! A pulse counts as begun only if the reply says `ison` and `has_timer`: a firmware that knows no timer is noticed. A
//! relay switched on for good must have none (the device's own `auto_off` would give it one).
//!
//! **Not verified:** that a relay which is on without a timer goes off after `timer` and not back to on (one user
//! writes "previous state"; the door would notice and switch off); fractions of a second in `timer` (whole seconds are
//! sent); its upper bound (pulses here end within an hour); that `turn=` without `timer` cancels a running one (its
//! reply would show it).
//!
//! **Never:** `turn=toggle`, settings of the device changed.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_input, checked_pulse,
};
use serde_json::Value;

use super::endpoint::{DeviceOptions, Endpoint};
use super::http::{HttpRequest, basic, exchange};
use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "shelly1",
    title: "Shelly Gen1 (1, 1PM, 2.5, 4Pro, Uni, Plug, ...)",
    about: "Pulses end on the device, in whole seconds.",
    fields: &[
        AddressField::HOST,
        AddressField::port("80"),
        AddressField::user("admin"),
        AddressField::PASSWORD,
        AddressField::channels(4, "1"),
        AddressField::inputs(4),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Device),
    verified: Verified::ClientsOnly,
    unverified: &[
        "that a relay which is on without a timer goes off after timer and not back to on (one user writes \"previous state\"; the door would notice and switch off)",
        "fractions of a second in timer (whole seconds are sent)",
        "its upper bound (pulses here end within an hour)",
        "that turn= without timer cancels a running one (its reply would show it)",
    ],
};

const PULSE: PulseTiming =
    PulseTiming::Device { min: Duration::from_secs(1), max: Duration::from_secs(3600), step: Duration::from_secs(1) };

/// A Shelly device of the first generation.
pub struct Shelly1 {
    endpoint: Endpoint,
    authorization: Option<Secret>,
    capabilities: Capabilities,
}

impl Shelly1 {
    /// A driver; nothing is sent yet.
    pub fn new(options: DeviceOptions) -> Self {
        Self {
            endpoint: options.endpoint(),
            authorization: options.password.as_ref().map(|password| basic(&options.user, password)),
            capabilities: options.capabilities("shelly-gen1", PULSE),
        }
    }

    /// From `shelly1://[user[:password]@]host[:port]/[?channels=N][&inputs=N][&timeout_ms=N]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        DeviceOptions::read(&SPEC, address).map(Self::new)
    }

    async fn get(&self, target: String) -> Result<Bytes, RelayError> {
        let turn = self.endpoint.turn().await?;
        let request = HttpRequest::get(target).authorized(self.authorization.clone());
        exchange(&turn, &request).await?.accepted(&self.endpoint)
    }

    async fn relay(&self, target: String) -> Result<RelayState, RelayError> {
        RelayState::parse(&self.get(target).await?).map_err(|detail| self.endpoint.bad_reply(detail))
    }
}

/// What the device says about a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RelayState {
    /// `ison`: energised.
    pub is_on: bool,
    /// `has_timer`: it will change by itself.
    pub has_timer: bool,
}

impl RelayState {
    /// Reads the reply of `/relay/N`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let reply: Value = serde_json::from_slice(body).map_err(|_| "the body is no JSON")?;
        let is_on = reply.get("ison").and_then(Value::as_bool).ok_or("ison is missing")?;
        let has_timer = reply.get("has_timer").map_or(Some(false), Value::as_bool).ok_or("has_timer is no boolean")?;
        Ok(Self { is_on, has_timer })
    }
}

/// Reads an input from the reply of `/status`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_input(body: &[u8], input: u8) -> Result<Contact, &'static str> {
    let reply: Value = serde_json::from_slice(body).map_err(|_| "the body is no JSON")?;
    let inputs = reply.get("inputs").and_then(Value::as_array).ok_or("inputs are missing")?;
    let state = inputs.get(usize::from(input)).and_then(|it| it.get("input")).and_then(Value::as_u64);
    match state {
        Some(0) => Ok(Contact::Off),
        Some(1) => Ok(Contact::On),
        _ => Err("the input is missing"),
    }
}

impl Relay for Shelly1 {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let seconds = checked_pulse(&self.capabilities, channel, duration)?.as_secs();
            match self.relay(format!("/relay/{channel}?turn=on&timer={seconds}")).await? {
                RelayState { is_on: true, has_timer: true } => Ok(()),
                RelayState { is_on: true, has_timer: false } => {
                    Err(self.endpoint.bad_reply("it is on without a timer: the firmware is too old"))
                }
                RelayState { is_on: false, .. } => Err(self.endpoint.rejected("it answered that the relay is off")),
            }
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let on = contact == Contact::On;
            let state = self.relay(format!("/relay/{channel}?turn={}", if on { "on" } else { "off" })).await?;
            if state.is_on != on {
                Err(self.endpoint.rejected("it answered that the relay did not move"))
            } else if state.has_timer {
                Err(self.endpoint.bad_reply("a timer still runs: auto_on or auto_off in its settings"))
            } else {
                Ok(())
            }
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let state = self.relay(format!("/relay/{channel}")).await?;
            Ok(if state.is_on { Contact::On } else { Contact::Off })
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_input(&self.capabilities, input)?;
            let body = self.get("/status".to_owned()).await?;
            parse_input(&body, input).map_err(|detail| self.endpoint.bad_reply(detail))
        })
    }
}

/// The address alone.
impl fmt::Debug for Shelly1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shelly gen1 at {}", self.endpoint.address())
    }
}
