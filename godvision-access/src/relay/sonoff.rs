//! Sonoff devices with one relay in DIY mode (Basic R3, RF R3, Mini, Mini R2), over HTTP port 8081.
//!
//! Source: the maker's "SONOFF DIY MODE API PROTOCOL" 1.4 and 2.0: `POST /zeroconf/switch {"deviceid", "data": {"switch":
//! "on"}}`, `/zeroconf/pulse {"pulse": "on", "pulseWidth": ms}` in steps of 500 ms from 500 ms to 10 hours,
//! `/zeroconf/info`; replies `{"seq", "error": 0, "data"}`, errors 400, 401, 404, 422. Requests no quicker than one in
//! 200 ms ([`PAUSE`]). Power::Outlet::SonoffDiy, tried on firmware 3.3.0 and 3.6.0: `deviceid` may be empty, and `data` is
//! a text that holds JSON in 1.4, an object in 2.0.
//!
//! "Inching" is a setting that ends every switching on. So a pulse is three requests: the setting, the switch, and `info`
//! that must show both as they were told; 400 ms of rest lie between, the contact moves after the first 200. Where `info`
//! has shown the same setting within [`SETTING_KNOWN_FOR`] (a door reads the status more often than that), it is not sent
//! again and the contact moves with the first request; if somebody has changed it since, the contact is opened at once and
//! all three are sent. The setting is left as it is: a button then opens no longer than a pass does. Switching on for good
//! turns it off first.
//!
//! There is no password: **whoever reaches the port opens the door**, so the device belongs in a network of its own.
//!
//! **Not verified:** that switching on what is on begins the pulse anew; what `startup: stay` does to a pulse.
//!
//! **Never:** `/zeroconf/switches` (devices with several relays), the encrypted mode, Wi-Fi and firmware settings.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::endpoint::{DeviceOptions, Endpoint, Turn};
use super::http::{HttpRequest, NOT_SHOWN, exchange};
use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "sonoff",
    title: "Sonoff in DIY mode (Basic R3, RF R3, Mini)",
    about: "No password: whoever reaches the device opens the door. Pulses end on the device, in steps of half a second; \
            its inching setting is changed and stays so.",
    fields: &[
        AddressField::HOST,
        AddressField::port("8081"),
        AddressField::text("device", "the device's id, if it wants to be called by it").example("100000140e"),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Device),
    verified: Verified::Documents,
    unverified: &["that switching on what is on begins the pulse anew", "what startup: stay does to a pulse"],
};

/// The rest the device needs between two requests.
pub const PAUSE: Duration = Duration::from_millis(200);

/// How long a setting that the device has shown is relied upon: a few readings of the status by a door at rest.
pub const SETTING_KNOWN_FOR: Duration = Duration::from_secs(120);

const PULSE: PulseTiming = PulseTiming::Device {
    min: Duration::from_millis(500),
    max: Duration::from_millis(36_000_000),
    step: Duration::from_millis(500),
};

/// A Sonoff device in DIY mode.
pub struct Sonoff {
    endpoint: Endpoint,
    device_id: String,
    capabilities: Capabilities,
    /// The inching that the device showed last, and when. Its setting outlives a reboot.
    shown: Mutex<Option<(Instant, u64)>>,
}

impl Sonoff {
    /// A driver; nothing is sent yet. `device_id` may be empty; `pause` is [`PAUSE`].
    pub fn new(options: DeviceOptions, device_id: impl Into<String>, pause: Duration) -> Self {
        let options = DeviceOptions { channels: 1, inputs: 0, ..options };
        Self {
            endpoint: options.endpoint().with_pause(pause),
            device_id: device_id.into(),
            capabilities: options.capabilities("sonoff-diy", PULSE),
            shown: Mutex::default(),
        }
    }

    /// From `sonoff://host[:port]/[?device=ID][&timeout_ms=N]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        let options = DeviceOptions::read(&SPEC, address)?;
        Ok(Self::new(options, address.value("device").unwrap_or_default(), PAUSE))
    }

    async fn post(&self, turn: &Turn<'_>, path: &'static str, data: Value) -> Result<Option<Info>, RelayError> {
        let body = json!({"deviceid": self.device_id, "data": data}).to_string();
        let reply = exchange(turn, &HttpRequest::post(path, body)).await?.accepted(&self.endpoint)?;
        match Info::parse(&reply) {
            Ok(Ok(info)) => Ok(info),
            Ok(Err(401)) => Err(self.endpoint.rejected("it wants encryption: put it into DIY mode")),
            Ok(Err(404)) => Err(self.endpoint.rejected("it has another device id")),
            Ok(Err(code)) => Err(self.endpoint.rejected(format_args!("error {code}"))),
            Err(detail) => Err(self.endpoint.bad_reply(detail)),
        }
    }

    async fn info(&self, turn: &Turn<'_>) -> Result<Info, RelayError> {
        // Whoever is dropped in the middle, or fails, knows nothing any more.
        *self.shown() = None;
        let info = self.post(turn, "/zeroconf/info", json!({})).await?;
        let info = info.ok_or_else(|| self.endpoint.bad_reply("switch is missing"))?;
        *self.shown() = info.inching_ms.map(|width| (Instant::now(), width));
        Ok(info)
    }

    fn shown(&self) -> MutexGuard<'_, Option<(Instant, u64)>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the device has shown lately that it ends every switching on after `width`.
    fn is_set(&self, width: u64) -> bool {
        self.shown().is_some_and(|(at, shown)| shown == width && at.elapsed() < SETTING_KNOWN_FOR)
    }

    /// Switches, and reads back.
    async fn switch(&self, turn: &mut Turn<'_>, contact: Contact) -> Result<Info, RelayError> {
        let state = if contact == Contact::On { "on" } else { "off" };
        // Known again when it shows it.
        *self.shown() = None;
        self.post(turn, "/zeroconf/switch", json!({"switch": state})).await?;
        turn.rest().await;
        let info = self.info(turn).await.map_err(|error| self.endpoint.unconfirmed(error))?;
        if info.contact == contact { Ok(info) } else { Err(self.endpoint.bad_reply(NOT_SHOWN)) }
    }
}

/// What the device says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Info {
    /// `switch`.
    pub contact: Contact,
    /// `pulse` and `pulseWidth`: every switching on ends after so many milliseconds.
    pub inching_ms: Option<u64>,
}

impl Info {
    /// Reads a reply: nothing if it holds no state; the device's error code if it refused.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Result<Option<Self>, i64>, &'static str> {
        let reply: Value = serde_json::from_slice(body).map_err(|_| "the body is no JSON")?;
        match reply.get("error").and_then(Value::as_i64).ok_or("error is missing")? {
            0 => {}
            code => return Ok(Err(code)),
        }
        let data = match reply.get("data") {
            Some(Value::String(text)) => serde_json::from_str(text).map_err(|_| "data is no JSON")?,
            Some(other) => other.clone(),
            None => Value::Null,
        };
        let Some(switch) = data.get("switch") else { return Ok(Ok(None)) };
        let contact = match switch.as_str() {
            Some("on") => Contact::On,
            Some("off") => Contact::Off,
            _ => return Err("switch is neither on nor off"),
        };
        let inching_ms = match data.get("pulse").and_then(Value::as_str) {
            Some("on") => Some(data.get("pulseWidth").and_then(Value::as_u64).ok_or("pulseWidth is missing")?),
            _ => None,
        };
        Ok(Ok(Some(Self { contact, inching_ms })))
    }
}

impl Relay for Sonoff {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let duration = checked_pulse(&self.capabilities, channel, duration)?;
            let width = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let mut turn = self.endpoint.turn().await?;
            if self.is_set(width) {
                if self.switch(&mut turn, Contact::On).await?.inching_ms == Some(width) {
                    return Ok(());
                }
                // Somebody has changed the setting: this one would not end.
                turn.rest().await;
                let opened = self.post(&turn, "/zeroconf/switch", json!({"switch": "off"})).await;
                opened.map_err(|error| self.endpoint.unconfirmed(error))?;
                turn.rest().await;
            }
            self.post(&turn, "/zeroconf/pulse", json!({"pulse": "on", "pulseWidth": width})).await?;
            turn.rest().await;
            let info = self.switch(&mut turn, Contact::On).await?;
            if info.inching_ms == Some(width) {
                Ok(())
            } else {
                Err(self.endpoint.bad_reply("it is on, but will not go off when it was told"))
            }
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let mut turn = self.endpoint.turn().await?;
            if contact == Contact::On {
                *self.shown() = None;
                self.post(&turn, "/zeroconf/pulse", json!({"pulse": "off"})).await?;
                turn.rest().await;
                // A running pulse has lost its end: from here on no error may say that nothing was done.
                let switched = self.switch(&mut turn, contact).await;
                return switched.map(drop).map_err(|error| self.endpoint.unconfirmed(error));
            }
            self.switch(&mut turn, contact).await.map(drop)
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let turn = self.endpoint.turn().await?;
            self.info(&turn).await.map(|info| info.contact)
        })
    }
}

/// The address alone.
impl fmt::Debug for Sonoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sonoff at {}", self.endpoint.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_the_protocol_are_read() {
        let v1 = br#"{"seq":21,"error":0,"data":"{\"switch\":\"off\",\"pulse\":\"off\",\"pulseWidth\":500}"}"#;
        assert_eq!(Info::parse(v1), Ok(Ok(Some(Info { contact: Contact::Off, inching_ms: None }))));
        let v2 = br#"{"seq":12,"error":0,"data":{"switch":"on","pulse":"on","pulseWidth":2000}}"#;
        assert_eq!(Info::parse(v2), Ok(Ok(Some(Info { contact: Contact::On, inching_ms: Some(2000) }))));
        assert_eq!(Info::parse(br#"{"seq":22,"error":0}"#), Ok(Ok(None)));
        assert_eq!(Info::parse(br#"{"seq":22,"error":422}"#), Ok(Err(422)));
        assert!(Info::parse(br#"{"seq":22}"#).is_err());
    }
}
