//! Switches of ESPHome devices, over their native API.
//!
//! The sources are named in [`frame`] and [`message`]. Without more, a pulse is switching on, and the caller ends it.
//! ESPHome has no timed command, but a device can time a pulse by its own configuration: name the button that begins it
//! (`button=`) and the time that it is configured to (`pulse_ms=`), and the pulse is a press of it. That it ends is the
//! device's doing; **that the configured time is the one named here, the driver cannot know**. A configuration that does
//! it, with a switch that lasts beside it:
//! ```yaml
//! script:
//!   - { id: pulse, mode: restart, then: [output.turn_on: lock, delay: 3s, output.turn_off: lock] }
//! button:
//!   - { platform: template, name: "Gate pulse", on_press: [script.execute: pulse] }
//! switch:
//!   - platform: template
//!     name: "Gate"
//!     lambda: "return id(lock_state);"
//!     turn_on_action: [script.stop: pulse, output.turn_on: lock]
//!     turn_off_action: [script.stop: pulse, output.turn_off: lock]
//! ```
//! A command is confirmed when the device has answered a ping sent behind it and tells the wanted state. Entities are
//! looked up anew for each command: a device that was given other firmware is noticed.
//!
//! The key is the device's `api: encryption: key:`; without one the connection is plain, as the device is then. The
//! password of the old login is not supported: ESPHome dropped it in 2026.1.
//!
//! **Not verified:** anything on a device (the frames were read by ESPHome's own client library).
//!
//! **Never:** TLS, discovery, entities of other kinds.

pub mod frame;
pub mod message;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::endpoint::{Endpoint, TIMEOUT};
use crate::address::{CHANNELS_MAX, DeviceAddress};
use crate::driver_spec::{AddressField, DriverSpec, FieldKind, PulseEnd, Verified};
use crate::error::Error;
use frame::{FrameFault, Handshake, KEY_BYTES, Wire};
use message::{Kind, Said, Say};

/// Ids of one address.
const IDS: FieldKind = FieldKind::Names { count_max: CHANNELS_MAX as usize };
/// The longest pulse that may be named, in milliseconds: an hour.
const PULSE_MS_MAX: u32 = 3_600_000;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "esphome",
    title: "ESPHome (native API)",
    about: "Pulses end in this program, unless the device's own configuration times them: then name its buttons and the time.",
    fields: &[
        AddressField::HOST,
        AddressField::port("6053"),
        AddressField::secret(
            "its encryption key in Base64, as in api: encryption: key:; without one everything passes in clear",
        ),
        AddressField::text("switch", "ids of the switches, one for each relay").of(IDS).required().example("gate"),
        AddressField::text("input", "ids of the binary sensors: door contacts, buttons")
            .of(IDS)
            .example("gate_contact"),
        AddressField::text("button", "ids of the buttons that begin a pulse, one for each switch")
            .of(IDS)
            .example("gate_pulse"),
        AddressField::number(
            "pulse_ms",
            0,
            PULSE_MS_MAX,
            "0",
            "the time that those buttons are configured to, in milliseconds",
        ),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::ByAddress),
    verified: Verified::Documents,
    unverified: &["anything on a device (the frames were read by ESPHome's own client library)"],
};

/// Most entities of one device that are looked at.
pub const ENTITIES_MAX: usize = 1024;

/// The major version of the API that is spoken.
const API_MAJOR: u64 = 1;

/// The buttons whose press is a pulse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulseButtons {
    /// Their ids, one for each channel.
    pub buttons: Vec<String>,
    /// How long the device is configured to pulse.
    pub duration: Duration,
}

/// How to reach a device, and which entities count.
#[derive(Clone, Debug)]
pub struct EsphomeOptions {
    /// Host and port, such as `192.168.1.40:6053`.
    pub address: String,
    /// The device's encryption key, in Base64.
    pub key: Option<Secret>,
    /// Ids of the switches: channel 0 is the first.
    pub switches: Vec<String>,
    /// Ids of the binary sensors that are inputs.
    pub inputs: Vec<String>,
    /// What begins a pulse that the device ends.
    pub pulse: Option<PulseButtons>,
    /// How long a command may take.
    pub timeout: Duration,
}

impl EsphomeOptions {
    /// One switch of a device without encryption.
    pub fn new(address: impl Into<String>, switch: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            key: None,
            switches: vec![switch.into()],
            inputs: Vec::new(),
            pulse: None,
            timeout: TIMEOUT,
        }
    }
}

/// Switches of an ESPHome device.
pub struct Esphome {
    options: EsphomeOptions,
    capabilities: Capabilities,
    endpoint: Endpoint,
}

/// Makes a command of an entity's key.
type Command = fn(u32) -> Say;

/// What is done with an entity, and when it is done.
struct Task<'a> {
    /// The command's entity and what is said to it; `None` only listens.
    command: Option<(Kind, &'a str, Command)>,
    /// The entity whose state counts.
    state: (Kind, &'a str),
    /// The state that has to be told; `None`: any.
    wanted: Option<bool>,
}

impl Esphome {
    /// A driver; nothing is sent yet.
    pub fn new(options: EsphomeOptions) -> Self {
        let count = |ids: &[String]| u8::try_from(ids.len()).unwrap_or(u8::MAX).min(CHANNELS_MAX);
        let pulse = options.pulse.as_ref().map(|pulse| pulse.duration);
        let capabilities = Capabilities {
            driver: "esphome",
            channels: count(&options.switches),
            pulse: pulse.map_or(PulseTiming::Host, |it| PulseTiming::Device { min: it, max: it, step: it }),
            inputs: count(&options.inputs),
        };
        let endpoint = Endpoint::new(options.address.as_str(), options.timeout);
        Self { options, capabilities, endpoint }
    }

    /// From `esphome://[:KEY@]host[:6053]/?switch=ID[,ID][&input=ID,...&button=ID,...&pulse_ms=3000&timeout_ms=2000]`.
    /// `/`, `+` and `=` in the key are written `%2F`, `%2B`, `%3D`.
    ///
    /// # Errors
    /// [`Error::BadDeviceUrl`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        SPEC.check(address)?;
        let bad = |detail| Error::BadDeviceUrl { detail };
        let (switches, buttons) = (SPEC.names(address, "switch"), SPEC.names(address, "button"));
        let pulse = match (buttons.len(), SPEC.number(address, "pulse_ms")) {
            (0, 0) => None,
            (count, pulse_ms @ 1..) if count == switches.len() => {
                Some(PulseButtons { buttons, duration: Duration::from_millis(pulse_ms.into()) })
            }
            _ => {
                return Err(bad(
                    "button= names one button for each switch, and pulse_ms= the time they are configured to",
                ));
            }
        };
        let key = address.password.clone().filter(|key| !key.is_empty());
        if key.as_ref().is_some_and(|key| key_bytes(key).is_none()) {
            return Err(bad("the key is 32 bytes in Base64; write / as %2F, + as %2B and = as %3D"));
        }
        Ok(Self::new(EsphomeOptions {
            address: SPEC.authority(address),
            key,
            switches,
            inputs: SPEC.names(address, "input"),
            pulse,
            timeout: SPEC.timeout(address),
        }))
    }

    async fn run(&self, task: Task<'_>) -> Result<Contact, RelayError> {
        let stream = self.endpoint.connect().await?;
        self.endpoint.within(self.converse(stream, task)).await
    }

    async fn converse(&self, stream: TcpStream, task: Task<'_>) -> Result<Contact, RelayError> {
        let mut session = Session { driver: self, stream, wire: Wire::Plain, received: BytesMut::new() };
        session.agree().await?;
        session.say(&[Say::Hello, Say::Login, Say::List]).await?;
        let (mut command, mut state) = (None, None);
        for _ in 0..=ENTITIES_MAX {
            match session.hear().await? {
                Said::Hello { major } if major != API_MAJOR => {
                    return Err(self.endpoint.rejected(format_args!("it speaks version {major} of the API, not 1")));
                }
                Said::Entity { kind, key, id } => {
                    if task.command.as_ref().is_some_and(|(wanted, wanted_id, _)| (*wanted, *wanted_id) == (kind, &id))
                    {
                        command = Some(key);
                    }
                    if task.state == (kind, id.as_str()) {
                        state = Some(key);
                    }
                }
                Said::ListEnds => break,
                _ => {}
            }
        }
        let absent = |id: &str| self.endpoint.rejected(format_args!("the device has no {id}"));
        let state = state.ok_or_else(|| absent(task.state.1))?;
        let mut says = vec![Say::Subscribe];
        if let Some((_, id, say)) = task.command {
            says.push(say(command.ok_or_else(|| absent(id))?));
        }
        // Messages are carried out in order: the answer to the ping says that the command was.
        says.push(Say::Ping);
        session.say(&says).await?;
        let (mut latest, mut is_done) = (None, false);
        loop {
            match session.hear().await? {
                Said::State { kind, key, is_on } if (kind, key) == (task.state.0, state) => latest = is_on,
                Said::Pong => is_done = true,
                _ => {}
            }
            if let Some(is_on) = latest
                && (is_done || task.command.is_none())
                && task.wanted.is_none_or(|wanted| wanted == is_on)
            {
                session.leave().await;
                return Ok(if is_on { Contact::On } else { Contact::Off });
            }
        }
    }

    fn switch(&self, channel: u8) -> Result<&str, RelayError> {
        checked_channel(&self.capabilities, channel)?;
        let id = self.options.switches.get(usize::from(channel)).map(String::as_str);
        id.ok_or_else(|| self.endpoint.rejected("there is no such switch"))
    }
}

/// One connection.
struct Session<'a> {
    driver: &'a Esphome,
    stream: TcpStream,
    wire: Wire,
    received: BytesMut,
}

impl Session<'_> {
    /// Agrees upon a cipher, if there is a key.
    async fn agree(&mut self) -> Result<(), RelayError> {
        let Some(key) = &self.driver.options.key else { return Ok(()) };
        let key = key_bytes(key).ok_or_else(|| self.driver.endpoint.rejected("the key is no 32 bytes in Base64"))?;
        let (mut handshake, hello) = Handshake::start(&key).map_err(|fault| self.fault(&fault))?;
        self.send(&hello).await?;
        loop {
            self.read().await?;
            match handshake.proceed(&mut self.received) {
                Ok(Ok(wire)) => {
                    self.wire = wire;
                    return Ok(());
                }
                Ok(Err(unfinished)) => handshake = unfinished,
                Err(fault) => return Err(self.fault(&fault)),
            }
        }
    }

    async fn say(&mut self, says: &[Say]) -> Result<(), RelayError> {
        let mut bytes = Vec::new();
        for say in says {
            bytes.extend(self.wire.seal(&say.packet()).map_err(|fault| self.fault(&fault))?);
        }
        self.send(&bytes).await
    }

    /// The next message that means something.
    async fn hear(&mut self) -> Result<Said, RelayError> {
        loop {
            while let Some(packet) = self.wire.open(&mut self.received).map_err(|fault| self.fault(&fault))? {
                match message::read(&packet) {
                    None => return Err(self.driver.endpoint.bad_reply("a message is damaged")),
                    Some(Said::Ping) => self.say(&[Say::Pong]).await?,
                    Some(Said::Login { is_refused: true }) => return Err(self.driver.endpoint.auth_failed()),
                    Some(Said::Goodbye) => {
                        return Err(self.driver.endpoint.bad_reply("the device closes the connection"));
                    }
                    Some(Said::Other | Said::Login { .. }) => {}
                    Some(said) => return Ok(said),
                }
            }
            self.read().await?;
        }
    }

    async fn leave(&mut self) {
        let _ = self.say(&[Say::Goodbye]).await;
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), RelayError> {
        self.stream.write_all(bytes).await.map_err(|error| self.driver.endpoint.bad_reply(error))
    }

    async fn read(&mut self) -> Result<(), RelayError> {
        let endpoint = &self.driver.endpoint;
        let count = self.stream.read_buf(&mut self.received).await.map_err(|error| endpoint.bad_reply(error))?;
        if count == 0 { Err(endpoint.bad_reply("the device closed the connection")) } else { Ok(()) }
    }

    fn fault(&self, fault: &FrameFault) -> RelayError {
        match fault {
            FrameFault::WantsKey | FrameFault::OtherKey => self.driver.endpoint.auth_failed(),
            _ => self.driver.endpoint.bad_reply(fault),
        }
    }
}

fn key_bytes(key: &Secret) -> Option<[u8; KEY_BYTES]> {
    STANDARD.decode(key.expose()).ok()?.try_into().ok()
}

impl Relay for Esphome {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_pulse(&self.capabilities, channel, duration)?;
            let Some(pulse) = &self.options.pulse else { return self.set(channel, Contact::On).await };
            let button = pulse.buttons.get(usize::from(channel)).map(String::as_str);
            let button = button.ok_or_else(|| self.endpoint.rejected("there is no button for this switch"))?;
            let command = Some((Kind::Button, button, (|key| Say::Press { key }) as Command));
            let state = (Kind::Switch, self.switch(channel)?);
            self.run(Task { command, state, wanted: Some(true) }).await.map(|_| ())
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let id = self.switch(channel)?;
            let is_on = contact == Contact::On;
            let say: Command =
                if is_on { |key| Say::Switch { key, is_on: true } } else { |key| Say::Switch { key, is_on: false } };
            let task = Task { command: Some((Kind::Switch, id, say)), state: (Kind::Switch, id), wanted: Some(is_on) };
            self.run(task).await.map(|_| ())
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            let state = (Kind::Switch, self.switch(channel)?);
            self.run(Task { command: None, state, wanted: None }).await
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            let inputs = self.capabilities.inputs;
            let Some(id) = self.options.inputs.get(usize::from(input)).filter(|_| input < inputs) else {
                return Err(RelayError::NoSuchInput { input, inputs });
            };
            self.run(Task { command: None, state: (Kind::BinarySensor, id), wanted: None }).await
        })
    }
}

/// The address alone.
impl fmt::Debug for Esphome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "esphome at {}", self.endpoint.address())
    }
}
