//! Any device with plain HTTP commands, described in its address.
//!
//! ```text
//! template://user:password@192.168.1.7/?on=/r/{number}/on&off=/r/{number}/off&status=/r/{number}&status_at=/state
//! ```
//! (percent-encoded as an address wants it: [`DriverSpec::address`] does it.) In `on`, `off`, `status`, `pulse` and
//! `body`, `{channel}` is the relay counted from 0, `{number}` from 1. With `pulse`, which holds the duration as `{ms}`,
//! `{tenths}` or `{s}`, the device ends pulses itself; without, this program does. `status` is asked after every command:
//! a device that cannot say where its relay is has no driver here. What it answers is compared, without regard to case,
//! with `on_text` and `off_text`: the whole body, or with `status_at` the value at that JSON pointer (RFC 6901).
//!
//! A status that does not show an accepted command is a doubt and not a refusal: it may lag behind.
//!
//! **Never:** a command believed without the status, scripts, headers of one's own.

use std::fmt;
use std::time::Duration;

use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};
use serde_json::Value;

use super::endpoint::{DeviceOptions, Endpoint, Turn};
use super::http::{HttpRequest, NOT_SHOWN, basic, exchange};
use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "template",
    title: "Any device with HTTP commands",
    about: "In the paths, {channel} counts from 0 and {number} from 1; pulse holds {ms}, {tenths} or {s}.",
    fields: &[
        AddressField::HOST,
        AddressField::port("80"),
        AddressField::user("admin"),
        AddressField::PASSWORD,
        AddressField::text("on", "path and query that switch on").required().example("/relay/{channel}?turn=on"),
        AddressField::text("off", "path and query that switch off").required().example("/relay/{channel}?turn=off"),
        AddressField::text("status", "path and query that tell the state").required().example("/relay/{channel}"),
        AddressField::text("pulse", "path and query that switch on for a while, if the device can")
            .example("/relay/{channel}?on_for={s}"),
        AddressField::text("status_at", "where the state stands in a JSON answer, as a pointer: /relays/{channel}/on")
            .example("/relays/{channel}/on"),
        AddressField::text("on_text", "what the state says when it is on").or("1"),
        AddressField::text("off_text", "what the state says when it is off").or("0"),
        AddressField::choice(
            "method",
            &["GET", "POST", "PUT"],
            "the method of on, off and pulse; status is always GET",
        ),
        AddressField::text("body", "a JSON body for on, off and pulse").example("{\"on\":true}"),
        AddressField::number("pulse_max_s", 1, 86_400, "60", "the longest pulse the device takes, in seconds"),
        AddressField::channels(64, "1"),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::ByAddress),
    verified: Verified::ClientsOnly,
    unverified: &[],
};

/// How to speak to a device; see the module for what its texts may hold.
#[derive(Clone, Debug)]
pub struct Phrases {
    /// Switches on.
    pub on: Secret,
    /// Switches off.
    pub off: Secret,
    /// Tells the state.
    pub status: Secret,
    /// Switches on for a while.
    pub pulse: Option<Secret>,
    /// `GET`, `POST` or `PUT`.
    pub method: &'static str,
    /// A body for all but the status.
    pub body: Option<Secret>,
    /// How the state is read.
    pub reading: Reading,
}

/// How a state is read from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// A JSON pointer; without one the whole body counts.
    pub at: Option<String>,
    /// On.
    pub on: String,
    /// Off.
    pub off: String,
}

/// A device with HTTP commands.
pub struct Template {
    endpoint: Endpoint,
    authorization: Option<Secret>,
    phrases: Phrases,
    capabilities: Capabilities,
}

impl Template {
    /// A driver; nothing is sent yet. A pulse lasts `pulse_max` at most, in steps of what its phrase counts in.
    pub fn new(options: DeviceOptions, phrases: Phrases, pulse_max: Duration) -> Self {
        let pulse = match phrases.pulse.as_ref().map(|pulse| pulse_step(pulse.expose())) {
            None => PulseTiming::Host,
            Some(step) => PulseTiming::Device { min: step, max: pulse_max.max(step), step },
        };
        Self {
            endpoint: options.endpoint(),
            authorization: options.password.as_ref().map(|password| basic(&options.user, password)),
            capabilities: options.capabilities("http-template", pulse),
            phrases,
        }
    }

    /// From an address as in the module's example.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        let options = DeviceOptions::read(&SPEC, address)?;
        let given = |key: &str| SPEC.text(address, key).filter(|text| !text.is_empty());
        for key in ["on", "off", "status", "pulse"] {
            let path = given(key).unwrap_or_else(|| Secret::from("/"));
            let graphic = path.expose().bytes().all(|byte| byte.is_ascii_graphic());
            let timed = ["{ms}", "{tenths}", "{s}"].iter().any(|unit| path.expose().contains(unit));
            let expected = if !path.expose().starts_with('/') || !graphic {
                "is a path that begins with / and has no spaces"
            } else if key == "pulse" && given(key).is_some() && !timed {
                "holds the duration as {ms}, {tenths} or {s}"
            } else {
                continue;
            };
            return Err(Error::BadDeviceField { field: key.to_owned(), expected: expected.to_owned() });
        }
        let word = |key: &str| given(key).map(|text| text.expose().to_owned()).unwrap_or_default();
        let (on, off) = (word("on_text"), word("off_text"));
        if on.eq_ignore_ascii_case(&off) {
            let expected = "differs from on_text".to_owned();
            return Err(Error::BadDeviceField { field: "off_text".to_owned(), expected });
        }
        let method = match word("method").as_str() {
            "POST" => "POST",
            "PUT" => "PUT",
            _ => "GET",
        };
        let at = given("status_at").map(|pointer| pointer.expose().to_owned());
        let phrases = Phrases {
            on: given("on").unwrap_or_default(),
            off: given("off").unwrap_or_default(),
            status: given("status").unwrap_or_default(),
            pulse: given("pulse"),
            method,
            body: given("body"),
            reading: Reading { at, on, off },
        };
        Ok(Self::new(options, phrases, Duration::from_secs(SPEC.number(address, "pulse_max_s").into())))
    }

    async fn read(&self, turn: &Turn<'_>, channel: u8) -> Result<Contact, RelayError> {
        let target = filled(&self.phrases.status, channel, Duration::ZERO);
        let request = HttpRequest::get(target).authorized(self.authorization.clone());
        let body = exchange(turn, &request).await?.accepted(&self.endpoint)?;
        parse_state(&body, channel, &self.phrases.reading).map_err(|detail| self.endpoint.bad_reply(detail))
    }

    async fn move_to(
        &self,
        channel: u8,
        contact: Contact,
        phrase: &Secret,
        duration: Duration,
    ) -> Result<(), RelayError> {
        let turn = self.endpoint.turn().await?;
        let body = self.phrases.body.as_ref().map(|body| filled(body, channel, duration).expose().to_owned());
        let request = HttpRequest {
            method: self.phrases.method,
            target: filled(phrase, channel, duration),
            authorization: self.authorization.clone(),
            body,
        };
        let reply = exchange(&turn, &request).await?;
        // 202 and 204 are as good as 200 where the status is asked next.
        if !matches!(reply.status, 202 | 204) {
            reply.accepted(&self.endpoint)?;
        }
        match self.read(&turn, channel).await.map_err(|error| self.endpoint.unconfirmed(error))? {
            now if now == contact => Ok(()),
            _ => Err(self.endpoint.bad_reply(NOT_SHOWN)),
        }
    }
}

fn pulse_step(phrase: &str) -> Duration {
    if phrase.contains("{ms}") {
        Duration::from_millis(1)
    } else if phrase.contains("{tenths}") {
        Duration::from_millis(100)
    } else {
        Duration::from_secs(1)
    }
}

fn filled(phrase: &Secret, channel: u8, duration: Duration) -> Secret {
    let ms = duration.as_millis();
    let text = phrase.expose().replace("{channel}", &channel.to_string());
    let text = text.replace("{number}", &(u16::from(channel) + 1).to_string()).replace("{ms}", &ms.to_string());
    let text = text.replace("{tenths}", &ms.div_ceil(100).to_string());
    Secret::new(text.replace("{s}", &ms.div_ceil(1000).to_string()))
}

/// Reads a state from an answer.
///
/// # Errors
/// What is wrong with it.
pub fn parse_state(body: &[u8], channel: u8, reading: &Reading) -> Result<Contact, &'static str> {
    let text = match &reading.at {
        None => std::str::from_utf8(body).map_err(|_| "the state is no text")?.trim().to_owned(),
        Some(pointer) => {
            let pointer = filled(&Secret::from(pointer.as_str()), channel, Duration::ZERO);
            let json: Value = serde_json::from_slice(body).map_err(|_| "the state is no JSON")?;
            match json.pointer(pointer.expose()) {
                Some(Value::String(text)) => text.trim().to_owned(),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
                _ => return Err("nothing stands at status_at"),
            }
        }
    };
    if text.eq_ignore_ascii_case(&reading.on) {
        Ok(Contact::On)
    } else if text.eq_ignore_ascii_case(&reading.off) {
        Ok(Contact::Off)
    } else {
        Err("the state is neither on_text nor off_text")
    }
}

impl Relay for Template {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let duration = checked_pulse(&self.capabilities, channel, duration)?;
            let phrase = self.phrases.pulse.as_ref().unwrap_or(&self.phrases.on);
            self.move_to(channel, Contact::On, phrase, duration).await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let phrase = if contact == Contact::On { &self.phrases.on } else { &self.phrases.off };
            self.move_to(channel, contact, phrase, Duration::ZERO).await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let turn = self.endpoint.turn().await?;
            self.read(&turn, channel).await
        })
    }
}

/// The address alone.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http device at {}", self.endpoint.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_from_the_body_or_from_json() {
        let reading = |at: Option<&str>| Reading { at: at.map(str::to_owned), on: "true".into(), off: "false".into() };
        assert_eq!(parse_state(b" TRUE\r\n", 0, &reading(None)), Ok(Contact::On));
        let body = br#"{"relays":[{"on":true},{"on":false}]}"#;
        assert_eq!(parse_state(body, 1, &reading(Some("/relays/{channel}/on"))), Ok(Contact::Off));
        assert!(parse_state(body, 2, &reading(Some("/relays/{channel}/on"))).is_err());
        assert!(parse_state(b"on", 0, &reading(None)).is_err(), "what is not known is no state");
    }

    #[test]
    fn what_cannot_work_is_refused_at_once() {
        let open = |rest: &str| {
            let url = format!("template://h/?on=/1&off=/0&status=/s{rest}");
            Template::from_address(&DeviceAddress::parse(&url.as_str().into()).unwrap())
        };
        assert!(open("").is_ok() && open("&pulse=/p?for={ms}").is_ok());
        for rest in ["&pulse=/p", "&pulse=p{s}", "&body=%7B%7D&on_text=a&off_text=A", "&method=DELETE"] {
            assert!(open(rest).is_err(), "{rest}");
        }
    }
}
