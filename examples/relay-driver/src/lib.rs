//! The driver of a device that godvision does not know, in a crate that knows nothing but `godvision-core`.
//!
//! The Gatebox is invented; its driver, its fake and its tests are real. The README teaches them step by step; read
//! [`wire`] first, then [`Gatebox`], then `tests/`.
//!
//! ```
//! use std::sync::Arc;
//! use gatebox_relay::Gatebox;
//! use godvision_access::relay::RelayRegistry;
//! use godvision_core::SystemClock;
//!
//! let registry = RelayRegistry::standard(SystemClock::shared())
//!     .with("gatebox", |at| Ok(Arc::new(Gatebox::new(&at.host, at.port, at.password.clone()))));
//! let relay = registry.open(&"gatebox://:word@192.168.1.30".into())?;
//! assert_eq!(relay.capabilities().driver, "gatebox");
//! # Ok::<(), godvision_access::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod wire;

use std::fmt;
use std::time::Duration;

use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_input, checked_pulse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use wire::{ANSWER_BYTES_MAX, Answer, Command};

/// The port a Gatebox listens at.
pub const PORT: u16 = 7040;
/// How long connecting may take, and how long an answer.
pub const TIMEOUT: Duration = Duration::from_secs(2);

const CAPABILITIES: Capabilities = Capabilities {
    driver: "gatebox",
    channels: 2,
    // The box ends a pulse by itself: a lost link leaves no door open.
    pulse: PulseTiming::Device {
        min: Duration::from_millis(100),
        max: Duration::from_secs(600),
        step: Duration::from_millis(1),
    },
    inputs: 2,
};

/// A Gatebox.
pub struct Gatebox {
    address: String,
    password: Option<Secret>,
    timeout: Duration,
}

impl Gatebox {
    /// A driver; nothing is sent yet.
    pub fn new(host: &str, port: Option<u16>, password: Option<Secret>) -> Self {
        Self { address: format!("{host}:{}", port.unwrap_or(PORT)), password, timeout: TIMEOUT }
    }

    /// Gives up after `timeout` instead of [`TIMEOUT`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects, says the password and one command, and returns the contact that the box answers.
    async fn ask(&self, index: u8, command: Command) -> Result<Contact, RelayError> {
        let unreachable = |detail: String| RelayError::Unreachable { address: self.address.clone(), detail };
        let mut stream = match tokio::time::timeout(self.timeout, TcpStream::connect(&self.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => return Err(unreachable(format!("no connection within {:?}", self.timeout))),
        };
        // From here on the command may have arrived: whatever fails now must say so (`RelayError::is_ambiguous`).
        let talk = async {
            if let Some(password) = &self.password {
                let line = Secret::new(format!("AUTH {}\n", password.expose()));
                match self.exchange(&mut stream, &line).await? {
                    Answer::Welcome => {}
                    other => return Err(self.unexpected(other)),
                }
            }
            match self.exchange(&mut stream, &Secret::new(command.line(index))).await? {
                Answer::Contact(about, contact) if about == index => Ok(contact),
                other => Err(self.unexpected(other)),
            }
        };
        let waited = self.timeout;
        let timed_out = || RelayError::Timeout { address: self.address.clone(), waited };
        tokio::time::timeout(waited, talk).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Sends a line and reads one.
    async fn exchange(&self, stream: &mut TcpStream, line: &Secret) -> Result<Answer, RelayError> {
        stream.write_all(line.expose().as_bytes()).await.map_err(|error| self.bad_reply(&error.to_string()))?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            let byte = stream.read_u8().await.map_err(|_| self.bad_reply("it hung up in its answer"))?;
            answer.push(byte);
            if answer.len() > ANSWER_BYTES_MAX {
                return Err(self.bad_reply("its answer has no end"));
            }
        }
        Answer::parse(&answer).map_err(|detail| self.bad_reply(detail))
    }

    /// An answer that is none to what was asked.
    fn unexpected(&self, answer: Answer) -> RelayError {
        match answer {
            Answer::Denied => RelayError::AuthFailed { address: self.address.clone() },
            Answer::Error(reason) => RelayError::Rejected { address: self.address.clone(), detail: reason },
            Answer::Welcome | Answer::Contact(..) => self.bad_reply("it answers something else"),
        }
    }

    fn bad_reply(&self, detail: &str) -> RelayError {
        RelayError::BadReply { address: self.address.clone(), detail: detail.to_owned() }
    }

    /// Moves a contact and checks that the box says it moved.
    async fn move_to(&self, channel: u8, contact: Contact, command: Command) -> Result<(), RelayError> {
        if self.ask(channel, command).await? == contact {
            Ok(())
        } else {
            let detail = "it answered that the relay did not move".to_owned();
            Err(RelayError::Rejected { address: self.address.clone(), detail })
        }
    }
}

impl Relay for Gatebox {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let duration = checked_pulse(&CAPABILITIES, channel, duration)?;
            self.move_to(channel, Contact::On, Command::Pulse(duration)).await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&CAPABILITIES, channel)?;
            self.move_to(channel, contact, Command::Set(contact)).await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&CAPABILITIES, channel)?;
            self.ask(channel, Command::State).await
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_input(&CAPABILITIES, input)?;
            self.ask(input, Command::Input).await
        })
    }
}

/// The address alone, never the password.
impl fmt::Debug for Gatebox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gatebox at {}", self.address)
    }
}
