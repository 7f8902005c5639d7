//! USR-R16 boards (16 contacts, Ethernet or Wi-Fi), over their own TCP protocol at port 8899.
//!
//! Source: the vendor's protocol as it is implemented in Home Assistant's `usr-r16` client. After connecting, the
//! password and a line end are sent; the board answers `OK` or `NO`. A frame is `55 AA`, length in two bytes (of
//! number, command and parameters), number 0, command, parameters, and the sum of all from the length on in one byte;
//! an answer begins with `AA 55` and its command has the highest bit set. 01 and 02 open and close a contact (from 1)
//! and are answered with the contact and its state; 0A is answered with a bit for each contact, the first in the lowest
//! place.
//!
//! The board has no timer that is known here: pulses are the caller's to end.
//!
//! **Not verified:** anything on a board: the maker's document was not at hand, and one client's source is all there
//! was; boards sold under this name that speak an 18-byte protocol (they close the connection or are silent here).
//!
//! **Never:** commands for all contacts, a toggle (it cannot be repeated safely).

use std::fmt;
use std::time::Duration;

use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel};

use super::endpoint::{Endpoint, TIMEOUT};
use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "usr-r16",
    title: "USR-R16 (TCP)",
    about: "It has no timer: if the link is lost in a pulse, the contact stays on until it is back.",
    fields: &[
        AddressField::HOST,
        AddressField::port("8899"),
        AddressField::secret("the board's password; a new board has the one given").or(PASSWORD),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Host),
    verified: Verified::ClientsOnly,
    unverified: &[
        "anything on a board: the maker's document was not at hand, and one client's source is all there was",
        "boards sold under this name that speak an 18-byte protocol (they close the connection or are silent here)",
    ],
};

/// Contacts of a board.
pub const CHANNELS: u8 = 16;
/// The password of a new board.
pub const PASSWORD: &str = "admin";
/// Longest frame that is read.
pub const FRAME_BYTES_MAX: usize = 64;

/// Most bytes that wait to be understood: frames that the board sends by itself may come before an answer.
const HEARD_BYTES_MAX: usize = 1024;

const ANSWER_BEGINS: [u8; 2] = [0xAA, 0x55];
const OPEN: u8 = 0x01;
const CLOSE: u8 = 0x02;
const READ_ALL: u8 = 0x0A;
const ANSWER: u8 = 0x80;
/// The board tells this now and then by itself.
const HEARTBEAT: u8 = 0xFF;

/// What a board answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A contact was moved: its number from 1, and whether it is closed.
    Moved(u8, bool),
    /// All contacts, the first in the lowest place.
    All(u16),
    /// Nothing that was asked for.
    Other,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// Another beginning, or an impossible length.
    #[error("it is no frame of a USR-R16")]
    NoFrame,
    /// The sum is another.
    #[error("the checksum is wrong")]
    Checksum,
}

/// The bytes of a command.
pub fn command(command: u8, parameters: &[u8]) -> Vec<u8> {
    let length = u16::try_from(2 + parameters.len()).unwrap_or(u16::MAX);
    let summed = [&length.to_be_bytes(), &[0, command], parameters].concat();
    let sum = summed.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [&[0x55, 0xAA], summed.as_slice(), &[sum]].concat()
}

/// The first answer in what was received, and how many bytes it has; `None` while it is unfinished.
///
/// # Errors
/// [`FrameFault`]: more bytes will not mend it.
pub fn answer(received: &[u8]) -> Result<Option<(Answer, usize)>, FrameFault> {
    if received.iter().zip(ANSWER_BEGINS).any(|(byte, expected)| *byte != expected) {
        return Err(FrameFault::NoFrame);
    }
    let Some(([_, _, high, low], rest)) = received.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if !(2..=FRAME_BYTES_MAX - 5).contains(&length) {
        return Err(FrameFault::NoFrame);
    }
    let (Some(content), Some(sum)) = (rest.get(..length), rest.get(length)) else { return Ok(None) };
    let expected = [*high, *low].iter().chain(content).fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if expected != *sum {
        return Err(FrameFault::Checksum);
    }
    let answer = match content {
        [_, command, number, state @ (0 | 1)] if [OPEN | ANSWER, CLOSE | ANSWER].contains(command) => {
            Answer::Moved(*number, *state == 1)
        }
        [_, command, first, second] if *command == READ_ALL | ANSWER => {
            Answer::All(u16::from_le_bytes([*first, *second]))
        }
        [_, HEARTBEAT, ..] => Answer::Other,
        [_, command, ..] if command & ANSWER != 0 => Answer::Other,
        _ => return Err(FrameFault::NoFrame),
    };
    Ok(Some((answer, 4 + length + 1)))
}

/// How to reach a board.
#[derive(Clone, Debug)]
pub struct UsrR16Options {
    /// Host and port, such as `192.168.1.50:8899`.
    pub address: String,
    /// The board's password.
    pub password: Secret,
    /// How long a command may take.
    pub timeout: Duration,
}

impl UsrR16Options {
    /// A board with the password of a new one.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), password: PASSWORD.into(), timeout: TIMEOUT }
    }
}

/// A USR-R16 board.
pub struct UsrR16 {
    options: UsrR16Options,
    capabilities: Capabilities,
    endpoint: Endpoint,
}

impl UsrR16 {
    /// A driver; nothing is sent yet.
    pub fn new(options: UsrR16Options) -> Self {
        let capabilities = Capabilities { driver: "usr-r16", channels: CHANNELS, pulse: PulseTiming::Host, inputs: 0 };
        let endpoint = Endpoint::new(options.address.as_str(), options.timeout);
        Self { options, capabilities, endpoint }
    }

    /// From `usr-r16://[:password@]host[:8899]/[?timeout_ms=2000]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceUrl`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        SPEC.check(address)?;
        Ok(Self::new(UsrR16Options {
            address: SPEC.authority(address),
            password: SPEC.text(address, "password").unwrap_or_else(|| PASSWORD.into()),
            timeout: SPEC.timeout(address),
        }))
    }

    /// Logs in, sends a command, and returns what `meant` finds in an answer.
    async fn ask<T>(&self, bytes: Vec<u8>, meant: impl Fn(Answer) -> Option<T>) -> Result<T, RelayError> {
        let mut stream = self.endpoint.connect().await?;
        self.endpoint
            .within(async {
                let login = Secret::new(format!("{}\r\n", self.options.password.expose()));
                self.endpoint.send(&mut stream, login.expose().as_bytes()).await?;
                let mut received = Vec::new();
                while received.len() < 2 {
                    self.endpoint.receive(&mut stream, &mut received, HEARD_BYTES_MAX).await?;
                }
                match received.get(..2) {
                    Some(b"OK") => received.drain(..2),
                    Some(b"NO") => return Err(self.endpoint.auth_failed()),
                    _ => return Err(self.endpoint.bad_reply("it answers the password with neither OK nor NO")),
                };
                self.endpoint.send(&mut stream, &bytes).await?;
                loop {
                    while let Some((answer, length)) =
                        answer(&received).map_err(|fault| self.endpoint.bad_reply(fault))?
                    {
                        received.drain(..length);
                        if let Some(found) = meant(answer) {
                            return Ok(found);
                        }
                    }
                    self.endpoint.receive(&mut stream, &mut received, HEARD_BYTES_MAX).await?;
                }
            })
            .await
    }
}

impl Relay for UsrR16 {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, _: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        self.set(channel, Contact::On)
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let (number, is_on) = (channel.saturating_add(1), contact == Contact::On);
            let bytes = command(if is_on { CLOSE } else { OPEN }, &[number]);
            let followed = self.ask(bytes, |answer| match answer {
                Answer::Moved(moved, is_closed) if moved == number => Some(is_closed == is_on),
                _ => None,
            });
            if followed.await? { Ok(()) } else { Err(self.endpoint.rejected("the contact did not follow")) }
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let all = self.ask(command(READ_ALL, &[]), |answer| match answer {
                Answer::All(bits) => Some(bits),
                _ => None,
            });
            Ok(if all.await? >> channel & 1 == 1 { Contact::On } else { Contact::Off })
        })
    }
}

/// The address alone.
impl fmt::Debug for UsrR16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usr-r16 at {}", self.endpoint.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_of_the_protocol() {
        assert_eq!(command(CLOSE, &[1]), [0x55, 0xAA, 0x00, 0x03, 0x00, 0x02, 0x01, 0x06]);
        assert_eq!(command(READ_ALL, &[]), [0x55, 0xAA, 0x00, 0x02, 0x00, 0x0A, 0x0C]);
        let moved = [0xAA, 0x55, 0x00, 0x04, 0x00, 0x82, 0x01, 0x01, 0x88];
        assert_eq!(answer(&moved), Ok(Some((Answer::Moved(1, true), 9))));
        let all = [0xAA, 0x55, 0x00, 0x04, 0x00, 0x8A, 0x05, 0x80, 0x13, 0xAA];
        assert_eq!(answer(&all), Ok(Some((Answer::All(0x8005), 9))));
        for length in 0..moved.len() {
            assert_eq!(answer(&moved[..length]), Ok(None), "{length}");
        }
        let mut damaged = moved;
        damaged[7] = 0;
        assert_eq!(answer(&damaged), Err(FrameFault::Checksum));
        assert_eq!(answer(&command(CLOSE, &[1])), Err(FrameFault::NoFrame), "a command is no answer");
        assert_eq!(answer(&[0xAA, 0x55, 0xFF, 0xFF]), Err(FrameFault::NoFrame));
        assert_eq!(answer(b"NO"), Err(FrameFault::NoFrame));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = answer(&bytes);
            let _ = answer(&[&ANSWER_BEGINS, bytes.as_slice()].concat());
        }
    }
}
