//! Relay outputs of cameras, encoders and door stations that speak ONVIF.
//!
//! The sources are named in [`soap`]. A pulse is `SetRelayOutputSettings` to *monostable* with the delay, confirmed, and
//! then `SetRelayOutputState` to active: the device returns to idle by itself. Switching on to stay makes the output
//! *bistable* first. A device that knows one mode only refuses the other; for outputs that are always bistable write
//! `mode=bistable`, and the caller ends the pulses.
//!
//! Settings are written as a whole, so `GetRelayOutputs` comes first: what the installer has chosen as the state at rest
//! stays as it is (a magnet on an output that is *closed* at rest would lose its current), and settings that are so already
//! are not written again. `idle=` says otherwise where somebody wants it otherwise.
//!
//! ONVIF has no question for the state of an output. It is read from the event service: a new subscription is told the
//! present state of every property, `tns1:Device/Trigger/Relay` among them, and of inputs likewise.
//!
//! A password is proved by a WS-UsernameToken digest in the device's own time (which is asked for first, since its clock
//! may be wrong), or by HTTP digest where the device asks for that.
//!
//! **Not verified:** that activating a monostable output again starts the delay anew; which delays a device takes
//! (whole seconds are sent); devices that report relays under another topic.
//!
//! **Never:** discovery, TLS, `PasswordText`, the host name that a device writes into its addresses.

mod http;
pub mod soap;
pub mod xml;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};
use godvision_core::{Clock, Secret};
use tokio::net::TcpStream;

use super::digest::{self, Challenge};
use super::endpoint::Endpoint;
use crate::address::{CHANNELS_MAX, DeviceAddress};
use crate::driver_spec::{AddressField, DriverSpec, FieldKind, PulseEnd, Verified};
use crate::error::Error;
use http::Answer;
use soap::{EndpointReference, IdleState, Message, Refusal, Told};
use xml::Element;

/// Tokens of one address.
const TOKENS: FieldKind = FieldKind::Names { count_max: CHANNELS_MAX as usize };

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "onvif",
    title: "Relay outputs of an ONVIF camera or door station",
    about: "Pulses end on the device, in whole seconds; its output settings are changed and stay so. With mode=bistable they end in this program.",
    fields: &[
        AddressField::HOST,
        AddressField::port("80"),
        AddressField::text("user", "the user name that belongs to the password").example("admin"),
        AddressField::PASSWORD,
        AddressField::text("path", "the path of its device service").or(DEVICE_PATH),
        AddressField::text("output", "tokens of the relay outputs, as the device names them")
            .of(TOKENS)
            .required()
            .example("RelayOutput_1"),
        AddressField::text("input", "tokens of the digital inputs").of(TOKENS).example("DigitalInput_1"),
        AddressField::choice("mode", &["monostable", "bistable"], "who ends a pulse: the device, or this program"),
        AddressField::choice(
            "idle",
            &["device", "open", "closed"],
            "how the outputs are at rest; device: as set there",
        ),
        AddressField::timeout_ms("5000"),
    ],
    pulse: Some(PulseEnd::ByAddress),
    verified: Verified::Documents,
    unverified: &[
        "that activating a monostable output again starts the delay anew",
        "which delays a device takes (whole seconds are sent)",
        "devices that report relays under another topic",
    ],
};

/// How long a command may take when nothing else is said: cameras answer slowly, and a status takes several questions.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Where the device service is on every device.
pub const DEVICE_PATH: &str = "/onvif/device_service";
/// How often events are taken before the device counts as one that does not tell.
const PULLS_MAX: usize = 4;

const SECOND: Duration = Duration::from_secs(1);
const PULSE: PulseTiming = PulseTiming::Device { min: SECOND, max: Duration::from_secs(3600), step: SECOND };

/// How the outputs are driven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The device times pulses; the driver changes the output's settings.
    #[default]
    Monostable,
    /// The settings are left alone; the caller ends pulses.
    Bistable,
}

/// How long an output stays active, by its settings.
#[derive(Clone, Copy)]
enum Lasts {
    Seconds(u64),
    UntilSet,
}

/// How to reach a device, and which outputs count.
#[derive(Clone, Debug)]
pub struct OnvifOptions {
    /// Host and port, such as `192.168.1.30:80`.
    pub address: String,
    /// Path of the device service.
    pub path: String,
    /// User name, if the device wants one.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Tokens of the outputs: channel 0 is the first.
    pub outputs: Vec<String>,
    /// Tokens of the inputs.
    pub inputs: Vec<String>,
    /// How the outputs are driven.
    pub mode: Mode,
    /// Whether they are to be open or closed when inactive; `None`: as the device has it.
    pub idle: Option<IdleState>,
    /// How long a command may take.
    pub timeout: Duration,
}

impl OnvifOptions {
    /// One output of a device that wants no password.
    pub fn new(address: impl Into<String>, output: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            path: DEVICE_PATH.into(),
            user: None,
            password: None,
            outputs: vec![output.into()],
            inputs: Vec::new(),
            mode: Mode::default(),
            idle: None,
            timeout: TIMEOUT,
        }
    }
}

/// Relay outputs of an ONVIF device.
pub struct Onvif {
    options: OnvifOptions,
    capabilities: Capabilities,
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    session: Mutex<Session>,
}

/// What was learnt about the device.
#[derive(Default)]
struct Session {
    /// The device's clock is ahead of ours by so much.
    ahead_micros: Option<i64>,
    event_path: Option<String>,
    /// It wants HTTP digest: its challenge, and how often that was answered.
    challenge: Option<(Challenge, u32)>,
}

impl Onvif {
    /// A driver; nothing is sent yet. `clock` is read for the time in tokens.
    pub fn new(options: OnvifOptions, clock: Arc<dyn Clock>) -> Self {
        let count = |tokens: &[String]| u8::try_from(tokens.len()).unwrap_or(u8::MAX).min(CHANNELS_MAX);
        let capabilities = Capabilities {
            driver: "onvif",
            channels: count(&options.outputs),
            pulse: if options.mode == Mode::Monostable { PULSE } else { PulseTiming::Host },
            inputs: count(&options.inputs),
        };
        let endpoint = Endpoint::new(options.address.as_str(), options.timeout);
        Self { options, capabilities, endpoint, clock, session: Mutex::default() }
    }

    /// From `onvif://[user:password@]host[:80][/onvif/device_service]?output=TOKEN[,TOKEN][&input=TOKEN,...`
    /// `&mode=bistable&idle=closed&timeout_ms=5000]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceUrl`].
    pub fn from_address(address: &DeviceAddress, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        SPEC.check(address)?;
        if address.password.is_some() && address.user.is_none() {
            return Err(Error::BadDeviceUrl { detail: "a device's password needs a user name" });
        }
        let path = SPEC.text(address, "path").map(|path| path.expose().to_owned());
        let options = OnvifOptions {
            path: path.unwrap_or_else(|| DEVICE_PATH.to_owned()),
            user: address.user.clone(),
            password: address.password.clone(),
            outputs: SPEC.names(address, "output"),
            inputs: SPEC.names(address, "input"),
            mode: if address.value("mode") == Some("bistable") { Mode::Bistable } else { Mode::Monostable },
            idle: match address.value("idle") {
                Some("open") => Some(IdleState::Open),
                Some("closed") => Some(IdleState::Closed),
                _ => None,
            },
            timeout: SPEC.timeout(address),
            ..OnvifOptions::new(SPEC.authority(address), "")
        };
        Ok(Self::new(options, clock))
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a command of several messages within the time allowed; its first connection tells whether anybody is there.
    async fn command<T>(&self, messages: impl AsyncFnOnce(Talk<'_>) -> Result<T, RelayError>) -> Result<T, RelayError> {
        let stream = self.endpoint.connect().await?;
        self.endpoint.within(messages(Talk { device: self, stream: Some(stream), knows_time: false })).await
    }

    async fn switch(&self, channel: u8, contact: Contact, lasts: Option<Lasts>) -> Result<(), RelayError> {
        let Some(token) = self.options.outputs.get(usize::from(channel)) else {
            return checked_channel(&self.capabilities, channel);
        };
        // The settings of one command must not meet the state of another.
        let _turn = self.endpoint.turn().await?;
        self.command(async |mut talk: Talk<'_>| {
            // The settings are confirmed before the output moves: a link lost between the two leaves nothing on.
            if let Some(lasts) = lasts {
                let outputs = talk.ask(&self.options.path, Message::GetOutputs, None).await?;
                let known = soap::output_settings(&outputs, token);
                let known = known.ok_or_else(|| self.endpoint.rejected("the device has no output of this token"))?;
                let unknown =
                    || self.endpoint.bad_reply("it does not say what the output's state at rest is: write idle=");
                let idle = self.options.idle.or(known.idle).ok_or_else(unknown)?;
                let settings = match lasts {
                    Lasts::Seconds(seconds) => Message::Monostable { token, idle, seconds },
                    Lasts::UntilSet => Message::Bistable { token, idle },
                };
                if !known.are(&settings) {
                    talk.ask(&self.options.path, settings, None).await?;
                }
            }
            talk.ask(&self.options.path, Message::SetState { token, contact }, None).await.map(|_| ())
        })
        .await
    }

    async fn told(&self, told: Told, token: &str) -> Result<Contact, RelayError> {
        let (contact, endpoint) = self
            .command(async |mut talk: Talk<'_>| {
                let known = self.session().event_path.clone();
                let path = match known {
                    Some(path) => path,
                    None => {
                        let reply = talk.ask(&self.options.path, Message::GetEventCapabilities, None).await?;
                        let address = soap::event_service(&reply);
                        let address =
                            address.ok_or_else(|| self.endpoint.rejected("the device has no event service"))?;
                        let path = soap::path_of(&address).to_owned();
                        self.session().event_path = Some(path.clone());
                        path
                    }
                };
                let events = EndpointReference {
                    address: format!("http://{}{path}", self.endpoint.address()),
                    parameters: Vec::new(),
                };
                let reply = talk.ask(&path, Message::CreatePullPoint, Some(&events)).await?;
                let endpoint = soap::subscription(&reply);
                let endpoint = endpoint.ok_or_else(|| self.endpoint.bad_reply("the subscription has no address"))?;
                for _ in 0..PULLS_MAX {
                    let reply = talk.ask(endpoint.path(), Message::PullMessages, Some(&endpoint)).await?;
                    let contact =
                        soap::told_state(&reply, told, token).map_err(|detail| self.endpoint.bad_reply(detail))?;
                    if let Some(contact) = contact {
                        return Ok((contact, endpoint));
                    }
                }
                Err(self.endpoint.rejected("the device tells nothing about this token"))
            })
            .await?;
        // The answer is known; a subscription that is not ended so ends by itself.
        let _ = self
            .command(async |mut talk: Talk<'_>| {
                talk.ask(endpoint.path(), Message::Unsubscribe, Some(&endpoint)).await.map(|_| ())
            })
            .await;
        Ok(contact)
    }
}

/// The messages of one command.
struct Talk<'a> {
    device: &'a Onvif,
    /// The connection for the first message; each has one of its own.
    stream: Option<TcpStream>,
    /// The device's time was asked for in this command.
    knows_time: bool,
}

impl Talk<'_> {
    /// Sends a message with whatever proof of the password the device wants, and returns what answers it.
    async fn ask(
        &mut self,
        path: &str,
        message: Message<'_>,
        to: Option<&EndpointReference>,
    ) -> Result<Element, RelayError> {
        let Onvif { options, endpoint, .. } = self.device;
        let mut has_answered_challenge = false;
        loop {
            let challenge = self.device.session().challenge.is_some();
            let login = options.user.as_deref().zip(options.password.as_ref());
            let security = match login {
                Some((user, password)) if !challenge => Some(self.token(user, password).await?),
                _ => None,
            };
            let authorization = match login {
                Some((user, password)) => self.authorization(user, password, path)?,
                None => None,
            };
            let document = message.envelope(security.as_deref(), to);
            let answer = self.post(path, &message.action(), &document, authorization).await?;
            if answer.is_unauthorized {
                let fresh = answer.challenges.iter().find_map(|header| Challenge::parse_any(header).ok());
                if let (Some(fresh), Some(_), false) = (fresh, login, has_answered_challenge) {
                    has_answered_challenge = true;
                    self.device.session().challenge = Some((fresh, 0));
                    continue;
                }
                self.device.session().challenge = None;
            }
            let reply = if answer.is_unauthorized && answer.body.is_empty() {
                None
            } else {
                Some(Element::parse(&answer.body).map_err(|fault| endpoint.bad_reply(fault))?)
            };
            let refusal = match &reply {
                None => Some(Refusal::NotAuthorized),
                Some(_) if answer.is_unauthorized => Some(Refusal::NotAuthorized),
                Some(reply) => soap::refusal(reply),
            };
            match refusal {
                // Its clock may have been set since it was asked.
                Some(Refusal::NotAuthorized) if security.is_some() && !self.knows_time => {
                    self.device.session().ahead_micros = None;
                }
                Some(Refusal::NotAuthorized) => return Err(endpoint.auth_failed()),
                Some(Refusal::Other(detail)) => return Err(endpoint.rejected(detail)),
                None => {
                    let answered = reply.and_then(|reply| reply.find(message.answer()).cloned());
                    return answered.ok_or_else(|| endpoint.bad_reply("it answers another question"));
                }
            }
        }
    }

    /// A token in the device's time, which is asked for once.
    async fn token(&mut self, user: &str, password: &Secret) -> Result<String, RelayError> {
        let Onvif { options, endpoint, clock, session, .. } = self.device;
        let known = session.lock().unwrap_or_else(PoisonError::into_inner).ahead_micros;
        let ahead_micros = match known {
            Some(ahead_micros) => ahead_micros,
            None => {
                self.knows_time = true;
                let message = Message::GetSystemDateAndTime;
                let answer = self.post(&options.path, &message.action(), &message.envelope(None, None), None).await?;
                // A device that wants a password even for its time is taken at our own.
                let theirs = Element::parse(&answer.body).ok().and_then(|reply| soap::device_time(&reply));
                if theirs.is_none() && !answer.is_unauthorized {
                    return Err(endpoint.bad_reply("it does not tell its time"));
                }
                let ours = clock.wall();
                let ahead = theirs.map_or(0, |theirs| theirs.as_unix_micros().saturating_sub(ours.as_unix_micros()));
                self.device.session().ahead_micros = Some(ahead);
                ahead
            }
        };
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| endpoint.unreachable(error))?;
        Ok(soap::username_token(user, password, nonce, clock.wall().plus_micros(ahead_micros)))
    }

    /// The answer to the challenge that is kept.
    fn authorization(&self, user: &str, password: &Secret, path: &str) -> Result<Option<Secret>, RelayError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| self.device.endpoint.unreachable(error))?;
        let client_nonce = random.iter().fold(String::with_capacity(16), |text, byte| text + &format!("{byte:02x}"));
        let mut session = self.device.session();
        let Some((challenge, count)) = session.challenge.as_mut() else { return Ok(None) };
        *count = count.wrapping_add(1);
        let request = digest::Request { method: "POST", uri: path, count: *count, client_nonce: &client_nonce };
        Ok(Some(digest::authorization(challenge, user, password, &request)))
    }

    async fn post(
        &mut self,
        path: &str,
        action: &str,
        document: &Secret,
        authorization: Option<Secret>,
    ) -> Result<Answer, RelayError> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.device.endpoint.connect().await?,
        };
        http::post(&self.device.endpoint, stream, path, action, document, authorization).await
    }
}

impl Relay for Onvif {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let seconds = checked_pulse(&self.capabilities, channel, duration)?.as_secs();
            let lasts = (self.options.mode == Mode::Monostable).then_some(Lasts::Seconds(seconds));
            self.switch(channel, Contact::On, lasts).await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let is_settable = contact == Contact::On && self.options.mode == Mode::Monostable;
            self.switch(channel, contact, is_settable.then_some(Lasts::UntilSet)).await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let token = self.options.outputs.get(usize::from(channel)).map_or("", String::as_str);
            self.told(Told::Relay, token).await
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            let inputs = self.capabilities.inputs;
            match self.options.inputs.get(usize::from(input)) {
                Some(token) if input < inputs => self.told(Told::Input, token).await,
                _ => Err(RelayError::NoSuchInput { input, inputs }),
            }
        })
    }
}

/// The address alone.
impl fmt::Debug for Onvif {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "onvif at {}", self.endpoint.address())
    }
}
