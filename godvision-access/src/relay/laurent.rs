//! Laurent and Ke boards of KernelChip (Laurent, Laurent-2, Laurent-112, Laurent-128), over TCP port 2424.
//!
//! Source: several clients that agree (the maker's "Laurent-2, TCP/IP commands" lists the same commands; only its table of
//! contents could be read): lines end with CR LF; `$KE` -> `#OK`; `$KE,PSW,SET,word` -> `#PSW,SET,OK`, without which other
//! commands are answered `#Access denied. Password is needed.` while the security mode is on; `$KE,REL,n,1` -> `#REL,OK`;
//! `$KE,RDR,n` -> `#RDR,n,1`; `$KE,RD,n` -> `#RD,n,1` for an input line; `#ERR` for what it does not understand. The
//! password holds for a connection. A board also says things of its own (`#FLG,..` after power on, `#EVT,..`, `#TIME,..`,
//! `JConfig..`): they are passed over, [`LINES_MAX`] at most.
//!
//! `$KE,REL,n,1,S` switches on for S seconds according to two clients; no document for it was found. So pulses end here
//! ([`PulseTiming::Host`]) unless the address says `?pulse=device`: try it on your board first. A relay that is on is then
//! switched off before, since what a second `S` does is not known either.
//!
//! **Not verified:** that `$KE,REL,n,1,S` switches on for S seconds (two clients say so; no document was found);
//! whether an input line reads 1 when it is open or closed (it depends on the wiring; 1 is taken for closed).
//!
//! **Never:** settings of the board changed, `$KE,REL,n,2` (toggle).

use std::fmt;
use std::time::Duration;

use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_input, checked_pulse,
};
use tokio::net::TcpStream;

use super::endpoint::{DeviceOptions, Endpoint, Turn};
use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "laurent",
    title: "KernelChip Laurent, Laurent-2, -112, -128",
    about: "Pulses end in this program, or with pulse=device on the board: try that before you rely on it.",
    fields: &[
        AddressField::HOST,
        AddressField::port("2424"),
        AddressField::PASSWORD,
        AddressField::channels(28, "4"),
        AddressField::inputs(32),
        AddressField::choice(
            "pulse",
            &["host", "device"],
            "who ends a pulse: this program, or the board (not verified)",
        ),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::ByAddress),
    verified: Verified::ClientsOnly,
    unverified: &[
        "that $KE,REL,n,1,S switches on for S seconds (two clients say so; no document was found)",
        "whether an input line reads 1 when it is open or closed (it depends on the wiring; 1 is taken for closed)",
    ],
};

/// Lines of the board's own that are passed over while an answer is awaited.
pub const LINES_MAX: usize = 32;
/// Most bytes that are read for one answer.
pub const BYTES_MAX: usize = 4096;

const PULSE: PulseTiming =
    PulseTiming::Device { min: Duration::from_secs(1), max: Duration::from_secs(255), step: Duration::from_secs(1) };

/// A board of KernelChip.
pub struct Laurent {
    endpoint: Endpoint,
    password: Option<Secret>,
    capabilities: Capabilities,
}

impl Laurent {
    /// A driver; nothing is sent yet. `timing` is [`PulseTiming::Host`], or anything else for the board's own timer.
    pub fn new(options: DeviceOptions, timing: PulseTiming) -> Self {
        let pulse = if timing == PulseTiming::Host { PulseTiming::Host } else { PULSE };
        Self {
            endpoint: options.endpoint(),
            capabilities: options.capabilities("laurent", pulse),
            password: options.password,
        }
    }

    /// From `laurent://[:password@]host[:port]/[?channels=N][&inputs=N][&pulse=host|device][&timeout_ms=N]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`]; [`Error::BadDeviceUrl`] for a password that cannot stand in a command.
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        let options = DeviceOptions::read(&SPEC, address)?;
        let fits = |word: &Secret| word.expose().bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if !options.password.as_ref().is_none_or(fits) {
            return Err(Error::BadDeviceUrl { detail: "the password of a Laurent board has no spaces and no commas" });
        }
        let timing = if address.value("pulse") == Some("device") { PULSE } else { PulseTiming::Host };
        Ok(Self::new(options, timing))
    }

    /// Connects.
    async fn connect(&self, turn: &Turn<'_>) -> Result<Talk<'_>, RelayError> {
        let stream = turn.connect().await?;
        Ok(Talk { endpoint: &self.endpoint, stream, received: Vec::new() })
    }

    async fn sign_in(&self, talk: &mut Talk<'_>) -> Result<(), RelayError> {
        let Some(password) = &self.password else { return Ok(()) };
        let command = Secret::new(format!("PSW,SET,{}", password.expose()));
        match talk.ask(command.expose(), "PSW").await?.as_str() {
            "SET,OK" => Ok(()),
            _ => Err(self.endpoint.auth_failed()),
        }
    }

    /// The value of `number` in an answer `number,value`.
    fn contact(&self, answer: &str, number: u8) -> Result<Contact, RelayError> {
        parse_value(answer, number).map_err(|detail| self.endpoint.bad_reply(detail))
    }

    async fn read(&self, word: &str, number: u8) -> Result<Contact, RelayError> {
        let turn = self.endpoint.turn().await?;
        let mut talk = self.connect(&turn).await?;
        let work = async {
            self.sign_in(&mut talk).await?;
            self.contact(&talk.ask(&format!("{word},{number}"), word).await?, number)
        };
        let contact = turn.within(work).await?;
        turn.close(talk.stream).await;
        Ok(contact)
    }

    /// Brings relay `number` to `contact`, off again after `seconds`.
    async fn move_to(&self, number: u8, contact: Contact, seconds: Option<u64>) -> Result<(), RelayError> {
        let turn = self.endpoint.turn().await?;
        let mut talk = self.connect(&turn).await?;
        let work = async {
            self.sign_in(&mut talk).await?;
            let read = format!("RDR,{number}");
            if seconds.is_some() && self.contact(&talk.ask(&read, "RDR").await?, number)? == Contact::On {
                self.switch(&mut talk, &format!("REL,{number},0")).await?;
            }
            let value = u8::from(contact == Contact::On);
            let command = match seconds {
                Some(seconds) => format!("REL,{number},{value},{seconds}"),
                None => format!("REL,{number},{value}"),
            };
            self.switch(&mut talk, &command).await?;
            if self.contact(&talk.ask(&read, "RDR").await?, number)? == contact {
                Ok(())
            } else {
                Err(self.endpoint.rejected("it answered that the relay did not move"))
            }
        };
        turn.within(work).await?;
        turn.close(talk.stream).await;
        Ok(())
    }

    async fn switch(&self, talk: &mut Talk<'_>, command: &str) -> Result<(), RelayError> {
        match talk.ask(command, "REL").await?.as_str() {
            "OK" => Ok(()),
            other => Err(self.endpoint.rejected(format_args!("#REL,{other}"))),
        }
    }
}

/// A connection, and what has arrived on it.
struct Talk<'a> {
    endpoint: &'a Endpoint,
    stream: TcpStream,
    received: Vec<u8>,
}

impl Talk<'_> {
    /// Sends `$KE,command` and returns what stands behind `#word,` in its answer.
    async fn ask(&mut self, command: &str, word: &str) -> Result<String, RelayError> {
        let line = Secret::new(format!("$KE,{command}\r\n"));
        self.endpoint.send(&mut self.stream, line.expose().as_bytes()).await?;
        for _ in 0..LINES_MAX {
            let end = loop {
                match self.received.iter().position(|byte| *byte == b'\n') {
                    Some(end) => break end,
                    None => self.endpoint.receive(&mut self.stream, &mut self.received, BYTES_MAX).await?,
                }
            };
            let line: Vec<u8> = self.received.drain(..=end).collect();
            match Line::parse(&line, word) {
                Ok(Line::Answer(rest)) => return Ok(rest),
                Ok(Line::Own) => {}
                Ok(Line::Refused) => return Err(self.endpoint.rejected("#ERR")),
                Ok(Line::PasswordNeeded) => return Err(self.endpoint.auth_failed()),
                Err(detail) => return Err(self.endpoint.bad_reply(detail)),
            }
        }
        Err(self.endpoint.bad_reply("it talks, but does not answer"))
    }
}

/// A line of the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// What stands behind `#WORD,`.
    Answer(String),
    /// Something the board says by itself.
    Own,
    /// `#ERR`.
    Refused,
    /// `#Access denied. Password is needed.`
    PasswordNeeded,
}

impl Line {
    /// Reads a line, while an answer to `word` is awaited.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8], word: &str) -> Result<Self, &'static str> {
        let line = std::str::from_utf8(line).map_err(|_| "a line is no text")?.trim_end_matches(['\r', '\n']);
        if line.chars().any(char::is_control) {
            return Err("a line is no text");
        }
        let Some(text) = line.strip_prefix('#') else {
            return if line.is_empty() || line.starts_with("JConfig") {
                Ok(Self::Own)
            } else {
                Err("a line without #")
            };
        };
        if text == "ERR" || text.starts_with("ERR,") {
            return Ok(Self::Refused);
        }
        if text.starts_with("Access denied") {
            return Ok(Self::PasswordNeeded);
        }
        Ok(match text.strip_prefix(word).and_then(|rest| rest.strip_prefix(',')) {
            Some(rest) => Self::Answer(rest.to_owned()),
            None => Self::Own,
        })
    }
}

/// Reads `number,value`, the number with or without a leading zero.
///
/// # Errors
/// What is wrong with it.
pub fn parse_value(answer: &str, number: u8) -> Result<Contact, &'static str> {
    let (known, value) = answer.split_once(',').ok_or("the answer has no value")?;
    if known.parse() != Ok(number) {
        return Err("it answers about another line");
    }
    match value {
        "0" => Ok(Contact::Off),
        "1" => Ok(Contact::On),
        _ => Err("the value is neither 0 nor 1"),
    }
}

impl Relay for Laurent {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let duration = checked_pulse(&self.capabilities, channel, duration)?;
            let is_timed = matches!(self.capabilities.pulse, PulseTiming::Device { .. });
            let seconds = is_timed.then_some(duration.as_secs());
            self.move_to(channel + 1, Contact::On, seconds).await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            self.move_to(channel + 1, contact, None).await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            self.read("RDR", channel + 1).await
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_input(&self.capabilities, input)?;
            self.read("RD", input + 1).await
        })
    }
}

/// The address alone.
impl fmt::Debug for Laurent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "laurent at {}", self.endpoint.address())
    }
}
