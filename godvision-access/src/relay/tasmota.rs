//! Devices with the firmware Tasmota, over HTTP: `GET /cm?cmnd=COMMAND`.
//!
//! Source: the project's documentation ("Commands", "JSON Status Responses") and its source (`CmndPower`,
//! `CmndPulsetime`, `SetPulseTimer`, `ExecuteCommandPower`, `SetPowerOnState`). `Power<x> 1` answers `{"POWER<x>":"ON"}` (`POWER` on a device with one relay);
//! `PulseTime<x> n` answers `{"PulseTime<x>":{"Set":n,"Remaining":m}}`, n = 1 to 111 for tenths of a second, 112 to 64900
//! for n - 100 seconds, and it holds for every switching on, by a button, too, until it is changed. A user name and a
//! password travel in the query; a wrong one is answered with status 401, before version 8.2.3 with 200 and `WARNING`.
//! `Status 10` holds `Switch<x>` for the inputs that are set up as switches.
//!
//! So a pulse is a setting and a command: `PulseTime` is set and its answer compared, then the relay is switched on, which
//! starts the time. The setting is left as it is: a button then opens no longer than a pass does, and a power cut in a
//! pulse ends it, too (`PowerOnState` 3 restores a relay and begins its `PulseTime` anew). Setting what is set already
//! costs the device no write to its flash. Switching on for good sets `PulseTime` to 0 first.
//!
//! Relays 9 to 16 shared the pulse times of 1 to 8 in older versions: eight are the most here. Texts changed with
//! `StateText` are refused.
//!
//! **Not verified:** anything on a device.
//!
//! **Never:** `Backlog` (its answer proves nothing), rules, `Power toggle`.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_input, checked_pulse,
};
use serde_json::Value;

use super::endpoint::{DeviceOptions, Endpoint, Turn};
use super::http::{HttpRequest, exchange};
use crate::address::{DeviceAddress, percent_encode};
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "tasmota",
    title: "Tasmota over HTTP",
    about: "Pulses end on the device. Its setting PulseTime is changed and stays so: its own button then gives pulses, too.",
    fields: &[
        AddressField::HOST,
        AddressField::port("80"),
        AddressField::user("admin"),
        AddressField::PASSWORD,
        AddressField::channels(8, "1"),
        AddressField::inputs(8),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Device),
    verified: Verified::Documents,
    unverified: &["anything on a device"],
};

/// Beyond 11.1 s the device counts in whole seconds; such pulses are rounded up to them.
const PULSE: PulseTiming = PulseTiming::Device {
    min: Duration::from_millis(100),
    max: Duration::from_secs(64_800),
    step: Duration::from_millis(100),
};

/// A device with Tasmota.
pub struct Tasmota {
    endpoint: Endpoint,
    /// `user=...&password=...&`, or nothing.
    login: Secret,
    capabilities: Capabilities,
}

impl Tasmota {
    /// A driver; nothing is sent yet.
    pub fn new(options: DeviceOptions) -> Self {
        let mut login = String::new();
        if let Some(password) = &options.password {
            login.push_str("user=");
            percent_encode(&options.user, &mut login);
            login.push_str("&password=");
            percent_encode(password.expose(), &mut login);
            login.push('&');
        }
        Self {
            endpoint: options.endpoint(),
            login: Secret::new(login),
            capabilities: options.capabilities("tasmota-http", PULSE),
        }
    }

    /// From `tasmota://[user[:password]@]host[:port]/[?channels=N][&inputs=N][&timeout_ms=N]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        DeviceOptions::read(&SPEC, address).map(Self::new)
    }

    async fn command(&self, turn: &Turn<'_>, command: &str) -> Result<Bytes, RelayError> {
        let mut target = format!("/cm?{}cmnd=", self.login.expose());
        percent_encode(command, &mut target);
        let reply = exchange(turn, &HttpRequest::get(target)).await?.accepted(&self.endpoint)?;
        match Answer::parse(&reply) {
            Ok(Answer::Refused) => Err(self.endpoint.rejected("it knows no such command, or no such relay")),
            Ok(Answer::WrongPassword) => Err(self.endpoint.auth_failed()),
            Ok(Answer::Values(_)) => Ok(reply),
            Err(detail) => Err(self.endpoint.bad_reply(detail)),
        }
    }

    /// `Power<x>` with or without a new state.
    async fn power(&self, turn: &Turn<'_>, channel: u8, state: &str) -> Result<Contact, RelayError> {
        let number = u16::from(channel) + 1;
        let reply = self.command(turn, format!("Power{number}{state}").as_str()).await?;
        parse_power(&reply, channel).map_err(|detail| self.endpoint.bad_reply(detail))
    }

    async fn set_pulse_time(&self, turn: &Turn<'_>, channel: u8, units: u16) -> Result<(), RelayError> {
        let number = u16::from(channel) + 1;
        let reply = self.command(turn, format!("PulseTime{number} {units}").as_str()).await?;
        match parse_pulse_time(&reply, channel) {
            Ok(set) if set == u64::from(units) => Ok(()),
            Ok(_) => Err(self.endpoint.rejected("it keeps another PulseTime than it was told")),
            Err(detail) => Err(self.endpoint.bad_reply(detail)),
        }
    }

    async fn switch(&self, turn: &Turn<'_>, channel: u8, contact: Contact) -> Result<(), RelayError> {
        let state = if contact == Contact::On { " 1" } else { " 0" };
        if self.power(turn, channel, state).await? == contact {
            Ok(())
        } else {
            Err(self.endpoint.rejected("it answered that the relay did not move"))
        }
    }
}

/// `PulseTime` for a duration, as the device counts.
pub fn pulse_units(duration: Duration) -> u16 {
    let tenths = duration.as_millis().div_ceil(100);
    let units = if tenths <= 111 { tenths } else { duration.as_millis().div_ceil(1000) + 100 };
    u16::try_from(units).unwrap_or(64_900).clamp(1, 64_900)
}

/// The kinds of answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Values by name.
    Values(Value),
    /// `{"Command":"Unknown"}` or `{"Command":"Error"}`.
    Refused,
    /// `{"WARNING":"Need user=..."}`.
    WrongPassword,
}

impl Answer {
    /// Reads a reply.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let reply: Value = serde_json::from_slice(body).map_err(|_| "the body is no JSON")?;
        if !reply.is_object() {
            return Err("the body is no JSON object");
        }
        if reply.get("WARNING").and_then(Value::as_str).is_some_and(|text| text.starts_with("Need user")) {
            return Ok(Self::WrongPassword);
        }
        Ok(if reply.get("Command").is_some() { Self::Refused } else { Self::Values(reply) })
    }
}

/// Reads the state of a relay from the reply to `Power<x>`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_power(body: &[u8], channel: u8) -> Result<Contact, &'static str> {
    let Answer::Values(reply) = Answer::parse(body)? else { return Err("POWER is missing") };
    let numbered = reply.get(format!("POWER{}", u16::from(channel) + 1));
    // A device with one relay leaves the number out.
    let state = numbered.or_else(|| reply.get("POWER").filter(|_| channel == 0));
    match state.and_then(Value::as_str) {
        Some("ON") => Ok(Contact::On),
        Some("OFF") => Ok(Contact::Off),
        Some(_) => Err("POWER is neither ON nor OFF"),
        None => Err("POWER is missing"),
    }
}

/// Reads the setting from the reply to `PulseTime<x> n`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_pulse_time(body: &[u8], channel: u8) -> Result<u64, &'static str> {
    let Answer::Values(reply) = Answer::parse(body)? else { return Err("PulseTime is missing") };
    let time = reply.get(format!("PulseTime{}", u16::from(channel) + 1));
    time.and_then(|time| time.get("Set")).and_then(Value::as_u64).ok_or("PulseTime is missing")
}

/// Reads an input from the reply to `Status 10`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_switch(body: &[u8], input: u8) -> Result<Contact, &'static str> {
    let Answer::Values(reply) = Answer::parse(body)? else { return Err("StatusSNS is missing") };
    let switch = reply.get("StatusSNS").and_then(|status| status.get(format!("Switch{}", u16::from(input) + 1)));
    match switch.and_then(Value::as_str) {
        Some("ON") => Ok(Contact::On),
        Some("OFF") => Ok(Contact::Off),
        _ => Err("no such switch: set one up in the device's template"),
    }
}

impl Relay for Tasmota {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let units = pulse_units(checked_pulse(&self.capabilities, channel, duration)?);
            let turn = self.endpoint.turn().await?;
            self.set_pulse_time(&turn, channel, units).await?;
            self.switch(&turn, channel, Contact::On).await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let turn = self.endpoint.turn().await?;
            if contact == Contact::On {
                self.set_pulse_time(&turn, channel, 0).await?;
                // A running pulse has lost its end: from here on no error may say that nothing was done.
                return self.switch(&turn, channel, contact).await.map_err(|error| self.endpoint.unconfirmed(error));
            }
            self.switch(&turn, channel, contact).await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let turn = self.endpoint.turn().await?;
            self.power(&turn, channel, "").await
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_input(&self.capabilities, input)?;
            let turn = self.endpoint.turn().await?;
            let reply = self.command(&turn, "Status 10").await?;
            parse_switch(&reply, input).map_err(|detail| self.endpoint.bad_reply(detail))
        })
    }
}

/// The address alone.
impl fmt::Debug for Tasmota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tasmota at {}", self.endpoint.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulse_times_are_counted_as_the_device_counts() {
        let units = |ms| pulse_units(Duration::from_millis(ms));
        assert_eq!([units(100), units(101), units(3000), units(11_100)], [1, 2, 30, 111]);
        assert_eq!([units(11_101), units(12_000), units(12_001), units(64_800_000)], [112, 112, 113, 64_900]);
    }
}
