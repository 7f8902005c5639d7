//! Relays behind an MQTT broker: Tasmota, Zigbee2MQTT, and anything with a command and a state topic.
//!
//! The sources of the payloads are named in [`dialect`]. Pulses of Tasmota (`PulseTime`, confirmed before the contact
//! moves) and of Zigbee devices (`on_time`, one message) are timed on the device; a plain device's pulse is the caller's
//! to end. A command is confirmed by what the device says after it, never by the broker's receipt, and every command has
//! a connection of its own: nothing is kept that could be delivered later.
//!
//! To be known by who installs it:
//! - Tasmota keeps `PulseTime` as a setting: whoever presses the device's button afterwards gets a pulse as well, until
//!   the driver switches on lastingly. Longer than 11.1 s it counts whole seconds, so longer pulses are refused.
//! - Whether a Zigbee device knows On With Timed Off depends on its model. A second, shorter time does not shorten the
//!   first one (the cluster's rule), and to switch on lastingly the contact is opened for a moment.
//! - A plain device must have a topic where it is asked for its state (`get=`): what a broker keeps is what reached it, and
//!   a lock whose «on» was lost on the way would count as shut for good. One that cannot be asked has no driver here.
//! - The broker's password guards the door: whoever may publish may open.
//!
//! **Not verified:** the wording of Zigbee2MQTT's errors; `PulseTime` on relays above the eighth.
//!
//! **Never:** retries, TLS (put the broker on the doors' own network), MQTT 5.

pub mod dialect;
mod session;

use std::fmt;
use std::time::Duration;

use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{Capabilities, Contact, Relay, RelayError, checked_channel, checked_pulse};

use super::endpoint::{Endpoint, TIMEOUT};
use crate::address::{CHANNELS_MAX, DeviceAddress};
use crate::driver_spec::{AddressField, DriverSpec, FieldKind, PulseEnd, Verified};
use crate::error::Error;
use dialect::{Dialect, Heard, PlainTopics, Step};
use session::{Login, Session};
pub use session::{PACKET_BYTES_MAX, WAITING_MAX};

/// Properties of one device.
const PROPERTIES: FieldKind = FieldKind::Names { count_max: CHANNELS_MAX as usize };

/// What the address of a Tasmota device holds.
pub const SPEC_TASMOTA: DriverSpec = DriverSpec {
    scheme: "tasmota+mqtt",
    title: "Tasmota over MQTT",
    about: "Pulses end on the device. Its setting PulseTime is changed and stays so: its own button then gives pulses, too.",
    fields: &[
        AddressField::HOST.about("the broker's name or address in the network"),
        AddressField::port("1883"),
        AddressField::text("user", "the user name at the broker").example("godvision"),
        AddressField::secret("its password at the broker"),
        AddressField::text("path", "the device's topic").required().example("/gate"),
        AddressField::channels(64, "1"),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Device),
    verified: Verified::Documents,
    unverified: &["the wording of Zigbee2MQTT's errors", "PulseTime on relays above the eighth"],
};

/// What the address of a device behind Zigbee2MQTT holds.
pub const SPEC_ZIGBEE: DriverSpec = DriverSpec {
    scheme: "zigbee2mqtt",
    title: "Zigbee relay behind Zigbee2MQTT",
    about: "Pulses end on the device, if its model knows On With Timed Off: try that before you rely on it.",
    fields: &[
        AddressField::HOST.about("the broker's name or address in the network"),
        AddressField::port("1883"),
        AddressField::text("user", "the user name at the broker").example("godvision"),
        AddressField::secret("its password at the broker"),
        AddressField::text("path", "the device's friendly name").required().example("/gate"),
        AddressField::text("base", "the base topic of Zigbee2MQTT").or("zigbee2mqtt"),
        AddressField::channels(64, "1"),
        AddressField::text(
            "states",
            "properties that hold the states, one for each relay; state or state_l1, state_l2, ... if left out",
        )
        .of(PROPERTIES)
        .example("state_left,state_right"),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Device),
    verified: Verified::Documents,
    unverified: &["the wording of Zigbee2MQTT's errors", "PulseTime on relays above the eighth"],
};

/// What the address of any device with a command and a state topic holds.
pub const SPEC_PLAIN: DriverSpec = DriverSpec {
    scheme: "mqtt",
    title: "Any relay with MQTT topics",
    about: "Pulses end in this program: if the link is lost in one, the contact stays on until it is back. {n} in a topic is the relay, from 1.",
    fields: &[
        AddressField::HOST.about("the broker's name or address in the network"),
        AddressField::port("1883"),
        AddressField::text("user", "the user name at the broker").example("godvision"),
        AddressField::secret("its password at the broker"),
        AddressField::text("command", "the topic that commands are published to").required().example("gate/set"),
        AddressField::text("state", "the topic that the device tells its state in").required().example("gate/state"),
        AddressField::text(
            "get",
            "the topic where the device is asked for its state: what the broker remembers is no status",
        )
        .required()
        .example("gate/get"),
        AddressField::text("get_payload", "what is published there").example("?"),
        AddressField::text("available", "the topic that says whether the device is there").example("gate/available"),
        AddressField::text("available_payload", "what it says when it is").or("online"),
        AddressField::text("on", "the payload for on").or("ON"),
        AddressField::text("off", "the payload for off").or("OFF"),
        AddressField::text("field", "the field of a JSON state that holds it").example("relay"),
        AddressField::channels(64, "1"),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Host),
    verified: Verified::Documents,
    unverified: &["the wording of Zigbee2MQTT's errors", "PulseTime on relays above the eighth"],
};

/// How to reach a device.
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// Host and port of the broker.
    pub broker: String,
    /// The user name there, if it wants one.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// How the device is spoken to.
    pub dialect: Dialect,
    /// How many contacts it has, 1 to 64.
    pub channels: u8,
    /// How long a command may take.
    pub timeout: Duration,
}

impl MqttOptions {
    /// A device with one contact, at a broker that wants no password.
    pub fn new(broker: impl Into<String>, dialect: Dialect) -> Self {
        Self { broker: broker.into(), user: None, password: None, dialect, channels: 1, timeout: TIMEOUT }
    }
}

/// A relay behind a broker.
pub struct Mqtt {
    options: MqttOptions,
    capabilities: Capabilities,
    endpoint: Endpoint,
}

impl Mqtt {
    /// A driver; nothing is sent yet.
    pub fn new(options: MqttOptions) -> Self {
        let capabilities = Capabilities {
            driver: options.dialect.driver(),
            channels: options.channels,
            pulse: options.dialect.pulse(),
            inputs: 0,
        };
        let endpoint = Endpoint::new(options.broker.as_str(), options.timeout);
        Self { options, capabilities, endpoint }
    }

    /// From one of
    /// - `tasmota+mqtt://[user:password@]broker[:1883]/TOPIC[?channels=N]`
    /// - `zigbee2mqtt://[user:password@]broker[:1883]/FRIENDLY_NAME[?base=zigbee2mqtt&states=state_l1,state_l2]`
    /// - `mqtt://[user:password@]broker[:1883]/?command=TOPIC&state=TOPIC&get=TOPIC[&get_payload=X&available=TOPIC`
    ///   `&available_payload=online&on=ON&off=OFF&field=NAME&channels=N]`, with `{n}` in topics for the channel.
    ///
    /// # Errors
    /// [`Error::BadDeviceUrl`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        let name = address.path.trim_start_matches('/');
        let (spec, dialect, channels) = match address.scheme.as_str() {
            "tasmota+mqtt" => {
                SPEC_TASMOTA.check(address)?;
                (SPEC_TASMOTA, Dialect::Tasmota { topic: topic(name)? }, SPEC_TASMOTA.channels(address))
            }
            "zigbee2mqtt" => {
                SPEC_ZIGBEE.check(address)?;
                let properties = match SPEC_ZIGBEE.channels(address) {
                    _ if address.value("states").is_some() => SPEC_ZIGBEE.names(address, "states"),
                    1 => vec!["state".into()],
                    channels => (1..=channels).map(|number| format!("state_l{number}")).collect(),
                };
                let channels = u8::try_from(properties.len()).unwrap_or(u8::MAX);
                let base = topic(address.value("base").unwrap_or("zigbee2mqtt"))?;
                (SPEC_ZIGBEE, Dialect::Zigbee2Mqtt { base, name: topic(name)?, properties }, channels)
            }
            _ => {
                SPEC_PLAIN.check(address)?;
                (SPEC_PLAIN, Dialect::Plain(Box::new(plain(address)?)), SPEC_PLAIN.channels(address))
            }
        };
        if address.password.is_some() && address.user.is_none() {
            return Err(Error::BadDeviceUrl { detail: "a broker's password needs a user name" });
        }
        Ok(Self::new(MqttOptions {
            user: address.user.clone(),
            password: address.password.clone(),
            channels,
            timeout: spec.timeout(address),
            ..MqttOptions::new(spec.authority(address), dialect)
        }))
    }

    /// Takes the steps one after the other within the time allowed; the contact that the last one confirmed.
    async fn take(&self, channel: u8, steps: Vec<Step>) -> Result<Option<Contact>, RelayError> {
        let stream = self.endpoint.connect().await?;
        let none = Secret::new(String::new());
        let login = self
            .options
            .user
            .as_deref()
            .map(|user| Login { user, password: self.options.password.as_ref().unwrap_or(&none) });
        self.endpoint
            .within(async {
                let mut session = Session::open(&self.endpoint, stream, login).await?;
                let (mut last, mut is_sent, mut heard) = (None, false, Vec::new());
                for Step { publish, expect } in steps {
                    let topics = self.options.dialect.topics(channel, expect);
                    if topics != heard {
                        session.subscribe(topics.clone()).await?;
                        heard = topics;
                    }
                    if let Some((topic, payload)) = publish {
                        is_sent = true;
                        session.publish(topic, payload).await?;
                    }
                    last = loop {
                        let message = session.message().await?;
                        match self.options.dialect.heard(channel, expect, &message) {
                            Heard::Nothing => {}
                            Heard::Confirmed(contact) => break contact,
                            Heard::Refused(detail) => return Err(self.endpoint.rejected(detail)),
                            // A bridge that has no answer from its device does not know what the device did.
                            Heard::Away(_) if is_sent => return Err(self.endpoint.timed_out()),
                            Heard::Away(detail) => return Err(self.endpoint.unreachable(detail)),
                            Heard::Nonsense(detail) => return Err(self.endpoint.bad_reply(detail)),
                        }
                    };
                }
                session.close().await;
                Ok(last)
            })
            .await
    }
}

/// The topics behind the `?`.
fn plain(address: &DeviceAddress) -> Result<PlainTopics, Error> {
    let bad = |detail| Error::BadDeviceUrl { detail };
    let text = |name| SPEC_PLAIN.text(address, name).map(|text| text.expose().to_owned()).unwrap_or_default();
    let needed = "command= and state= are the device's topics";
    let topics = PlainTopics {
        get_payload: text("get_payload"),
        available: address.value("available").map(topic).transpose()?,
        available_payload: text("available_payload"),
        on: text("on"),
        off: text("off"),
        field: address.value("field").map(str::to_owned),
        ..PlainTopics::new(
            topic(address.value("command").ok_or(bad(needed))?)?,
            topic(address.value("state").ok_or(bad(needed))?)?,
            topic(address.value("get").ok_or(bad("get= is the topic where it is asked for its state"))?)?,
        )
    };
    if topics.on == topics.off {
        return Err(bad("on= and off= are the same"));
    }
    Ok(topics)
}

/// A topic without wildcards.
fn topic(text: &str) -> Result<String, Error> {
    if text.is_empty() || text.contains(['+', '#', '\0']) {
        return Err(Error::BadDeviceUrl { detail: "a topic is a name without + and #" });
    }
    Ok(text.to_owned())
}

impl Relay for Mqtt {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let duration = checked_pulse(&self.capabilities, channel, duration)?;
            // The steps of two commands in between one another could leave a timer cleared.
            let _turn = self.endpoint.turn().await?;
            self.take(channel, self.options.dialect.pulse_steps(channel, duration)).await.map(|_| ())
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let _turn = self.endpoint.turn().await?;
            self.take(channel, self.options.dialect.set_steps(channel, contact)).await.map(|_| ())
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let contact = self.take(channel, self.options.dialect.status_steps(channel)).await?;
            contact.ok_or_else(|| self.endpoint.bad_reply("it says nothing about the contact"))
        })
    }
}

/// The broker alone.
impl fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.capabilities.driver, self.endpoint.address())
    }
}
