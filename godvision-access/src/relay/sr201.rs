//! SR-201 boards (one to eight relays), over TCP port 6722.
//!
//! Source: the maker's manual as sellers repeat it and as cryxli/sr201 translated it (its pages and issue 7), and several
//! clients: commands are ASCII without an end, `1N` pulls relay N, `2N` releases it, `00` asks; each is answered with
//! eight characters `0` or `1`, the state of each relay. `1N:S` pulls for S seconds, 1 to 65535. A board keeps six
//! connections and closes those idle for 15 s; its factory setting after a power cut is off. There is no password and no
//! word for no: **whoever reaches the port opens the door**, so the board belongs in a network of its own.
//!
//! Since it cannot refuse, its answer must show the relay where it was told to be. The manual describes `1N:S` for a
//! released relay only: one that is on is released first, for a moment. Commands of one board go one after another, each
//! on a connection of its own, which the board has ended before the next begins.
//!
//! **Not verified:** that the end of `1N:S` does not come after `2N` and `1N` (it would end a later pulse early, never
//! late).
//!
//! Who distrusts `1N:S` says `?pulse=host`.
//!
//! **Never:** UDP 6723 (it never answers), port 5111 (settings), `1N*` (half a second, whatever was asked).

use std::fmt;
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};
use tokio::net::TcpStream;

use super::endpoint::{DeviceOptions, Endpoint};
use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "sr201",
    title: "SR-201 (TCP)",
    about: "No password: whoever reaches the board opens the door. Pulses end on the board, in whole seconds.",
    fields: &[
        AddressField::HOST,
        AddressField::port("6722"),
        AddressField::channels(8, "2"),
        AddressField::choice("pulse", &["device", "host"], "who ends a pulse: the board, or this program"),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::ByAddress),
    verified: Verified::Documents,
    unverified: &["that the end of 1N:S does not come after 2N and 1N (it would end a later pulse early, never late)"],
};

/// Relays in an answer, however many the board has.
pub const STATES: usize = 8;

const PULSE: PulseTiming =
    PulseTiming::Device { min: Duration::from_secs(1), max: Duration::from_secs(65_535), step: Duration::from_secs(1) };

/// An SR-201 board.
pub struct Sr201 {
    endpoint: Endpoint,
    capabilities: Capabilities,
}

impl Sr201 {
    /// A driver; nothing is sent yet. `timing` is [`PulseTiming::Host`], or anything else for the board's own timer.
    pub fn new(options: &DeviceOptions, timing: PulseTiming) -> Self {
        let pulse = if timing == PulseTiming::Host { PulseTiming::Host } else { PULSE };
        Self { endpoint: options.endpoint(), capabilities: options.capabilities("sr201", pulse) }
    }

    /// From `sr201://host[:port]/[?channels=N][&pulse=device|host][&timeout_ms=N]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        let options = DeviceOptions::read(&SPEC, address)?;
        let timing = if address.value("pulse") == Some("host") { PulseTiming::Host } else { PULSE };
        Ok(Self::new(&options, timing))
    }

    /// One command and its answer.
    async fn ask(&self, stream: &mut TcpStream, command: &str) -> Result<[Contact; STATES], RelayError> {
        self.endpoint.send(stream, command.as_bytes()).await?;
        let mut received = Vec::with_capacity(STATES);
        while received.len() < STATES {
            self.endpoint.receive(stream, &mut received, STATES).await?;
        }
        parse_states(&received).map_err(|detail| self.endpoint.bad_reply(detail))
    }

    /// Brings `channel` to `contact`, by `command`.
    async fn move_to(&self, channel: u8, contact: Contact, command: &str) -> Result<(), RelayError> {
        let turn = self.endpoint.turn().await?;
        let mut stream = turn.connect().await?;
        let talk = async {
            let at = |states: [Contact; STATES]| states.get(usize::from(channel)).copied();
            if contact == Contact::On && at(self.ask(&mut stream, "00").await?) == Some(Contact::On) {
                self.ask(&mut stream, &format!("2{}", channel + 1)).await?;
            }
            if at(self.ask(&mut stream, command).await?) == Some(contact) {
                Ok(())
            } else {
                Err(self.endpoint.rejected("it answered that the relay did not move"))
            }
        };
        turn.within(talk).await?;
        turn.close(stream).await;
        Ok(())
    }
}

/// Reads an answer: eight characters `0` or `1`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_states(answer: &[u8]) -> Result<[Contact; STATES], &'static str> {
    let answer: &[u8; STATES] = answer.try_into().map_err(|_| "the answer is not eight characters")?;
    let mut states = [Contact::Off; STATES];
    for (state, character) in states.iter_mut().zip(answer) {
        *state = match character {
            b'0' => Contact::Off,
            b'1' => Contact::On,
            _ => return Err("the answer holds something else than 0 and 1"),
        };
    }
    Ok(states)
}

impl Relay for Sr201 {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let seconds = checked_pulse(&self.capabilities, channel, duration)?.as_secs();
            let command = match self.capabilities.pulse {
                PulseTiming::Device { .. } => format!("1{}:{seconds}", channel + 1),
                PulseTiming::Host => format!("1{}", channel + 1),
            };
            self.move_to(channel, Contact::On, &command).await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let word = if contact == Contact::On { '1' } else { '2' };
            self.move_to(channel, contact, &format!("{word}{}", channel + 1)).await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let turn = self.endpoint.turn().await?;
            let mut stream = turn.connect().await?;
            let states = turn.within(self.ask(&mut stream, "00")).await?;
            turn.close(stream).await;
            states
                .get(usize::from(channel))
                .copied()
                .ok_or_else(|| self.endpoint.bad_reply("it has eight relays at most"))
        })
    }
}

/// The address alone.
impl fmt::Debug for Sr201 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sr-201 at {}", self.endpoint.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_eight_states() {
        let mut expected = [Contact::Off; STATES];
        expected[0] = Contact::On;
        expected[7] = Contact::On;
        assert_eq!(parse_states(b"10000001"), Ok(expected));
        for bad in [&b""[..], b"1000000", b"100000010", b"1000000x", b"\xff0000000"] {
            assert!(parse_states(bad).is_err(), "{bad:?}");
        }
    }
}
