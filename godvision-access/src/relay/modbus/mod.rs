//! Boards that speak Modbus: over TCP, over a gateway that passes RTU on, or over a serial line.
//!
//! Source: the Modbus specifications named in [`frame`] for what every board does (FC 05 moves a coil, FC 01 reads it
//! back, FC 02 reads inputs), and Waveshare's *Modbus RTU Relay* and *Modbus POE ETH Relay* pages (development protocol
//! V2) for the flash command: FC 05 at `0x0200` + channel with N x 100 ms, N to `0x7FFF`, which closes the contact and
//! opens it by the board's own timer. A standard board has no timer: its pulse is the caller's to end.
//!
//! Not verified on a device: that a second flash starts the time anew, that switching during a flash cancels it, and
//! that a coil is energised at FF00 on boards with another polarity. A Waveshare board with Ethernet passes RTU on
//! (`modbus+rtutcp://`) unless Modbus TCP was chosen in its settings (`modbus+tcp://`): one of the two answers.
//!
//! Commands to one board follow one another: an RS-485 line carries one at a time, and gateways mix them up. Over TCP
//! each has a connection of its own. On a serial line, RTU replies carry no number: after a command without an answer
//! nothing is sent until its time is over, and what came until then is thrown away.
//!
//! **Never:** broadcast (unit 0 on a line is answered by nobody), retries, registers, a password (Modbus has none: the
//! network is the lock).

pub mod frame;
mod link;

use std::fmt;
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};

use super::address::{CHANNELS_MAX, RelayAddress};
use super::peer::{self, Peer};
use crate::error::Error;
use frame::{Framing, Reply, Request};
use link::Link;

/// Where Waveshare boards take the flash command: this and the channel.
const FLASH_ADDRESS: u16 = 0x0200;
/// The unit of the flash command's value.
const FLASH_STEP: Duration = Duration::from_millis(100);
/// The longest flash, in steps.
const FLASH_STEPS_MAX: u32 = 0x7FFF;

/// Which commands the board has beyond the standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Board {
    /// None: pulses are ended by the caller.
    #[default]
    Standard,
    /// Waveshare's flash command: pulses are timed on the board.
    Waveshare,
}

/// Where the board is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Host and port of a board or gateway that speaks Modbus TCP.
    Tcp(String),
    /// Host and port of a gateway that passes RTU frames on.
    RtuOverTcp(String),
    /// A serial line.
    #[cfg(feature = "modbus-serial")]
    Serial {
        /// The device, such as `/dev/ttyUSB0`.
        path: std::path::PathBuf,
        /// Bits a second. Eight data bits, no parity, one stop bit: how the boards come.
        baud: u32,
    },
}

/// How to reach a board and what it has.
#[derive(Clone, Debug)]
pub struct ModbusOptions {
    /// Where it is.
    pub place: Place,
    /// Its unit (slave) number: 1 to 247; with Modbus TCP also 0 and 255.
    pub unit: u8,
    /// Its commands.
    pub board: Board,
    /// How many contacts it has, 1 to 64.
    pub channels: u8,
    /// How many inputs it has, 0 to 64.
    pub inputs: u8,
    /// The coil of channel 0.
    pub first_coil: u16,
    /// The discrete input of input 0.
    pub first_input: u16,
    /// How long a command may take.
    pub timeout: Duration,
}

impl ModbusOptions {
    /// A standard board with one contact and no inputs, unit 1.
    pub fn new(place: Place) -> Self {
        Self {
            place,
            unit: 1,
            board: Board::Standard,
            channels: 1,
            inputs: 0,
            first_coil: 0,
            first_input: 0,
            timeout: peer::TIMEOUT,
        }
    }
}

/// A Modbus board.
pub struct Modbus {
    options: ModbusOptions,
    capabilities: Capabilities,
    peer: Peer,
    link: Link,
}

impl Modbus {
    /// A driver; nothing is opened or sent yet.
    pub fn new(options: ModbusOptions) -> Self {
        let (driver, pulse) = match options.board {
            Board::Standard => ("modbus", PulseTiming::Host),
            Board::Waveshare => (
                "modbus-waveshare",
                PulseTiming::Device { min: FLASH_STEP, max: FLASH_STEP * FLASH_STEPS_MAX, step: FLASH_STEP },
            ),
        };
        let inputs = options.inputs.min(CHANNELS_MAX);
        let capabilities = Capabilities { driver, channels: options.channels.min(CHANNELS_MAX), pulse, inputs };
        let (link, address) = Link::new(&options.place);
        let peer = Peer { address, timeout: options.timeout };
        Self { options, capabilities, peer, link }
    }

    /// From `modbus+tcp://host[:502]/`, `modbus+rtutcp://host[:port]/` or `modbus+rtu:///dev/ttyUSB0`, with
    /// `?unit=1&channels=8&inputs=8&board=waveshare&first_coil=0&first_input=0&timeout_ms=2000`, and `baud=9600` on a line.
    ///
    /// # Errors
    /// [`Error::BadRelayUrl`].
    pub fn from_address(address: &RelayAddress) -> Result<Self, Error> {
        const KNOWN: [&str; 7] = ["unit", "channels", "inputs", "board", "first_coil", "first_input", "baud"];
        const KNOWN_DETAIL: &str = "behind the ? only unit=, channels=, inputs=, board=, first_coil=, first_input=, baud= and timeout_ms= are known";
        let bad = |detail| Error::BadRelayUrl { detail };
        peer::only_known(address, &KNOWN, KNOWN_DETAIL)?;
        if address.user.is_some() || address.password.is_some() {
            return Err(bad("Modbus knows no user and no password"));
        }
        let is_tcp = address.scheme == "modbus+tcp";
        let place = match address.scheme.as_str() {
            "modbus+tcp" => Place::Tcp(peer::host_port(address, 502)?),
            "modbus+rtutcp" => Place::RtuOverTcp(peer::host_port(address, 502)?),
            _ => Self::serial(address)?,
        };
        let number = |name, absent, range| peer::number(address, name, absent, range);
        let narrow = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
        let units = if is_tcp { 0..=255 } else { 1..=247 };
        let unit = number("unit", 1, units)
            .filter(|unit| *unit <= 247 || *unit == 255)
            .ok_or(bad("unit= is a number from 1 to 247; with modbus+tcp also 0 or 255"))?;
        let inputs = number("inputs", 0, 0..=u64::from(CHANNELS_MAX)).ok_or(bad("inputs= is a number from 0 to 64"))?;
        let coil = |name| number(name, 0, 0..=0xFFFF).and_then(|it| u16::try_from(it).ok());
        let coils_detail = "first_coil= and first_input= are numbers from 0 to 65535";
        let board = match address.value("board") {
            None | Some("standard") => Board::Standard,
            Some("waveshare") => Board::Waveshare,
            Some(_) => return Err(bad("board= is standard or waveshare")),
        };
        Ok(Self::new(ModbusOptions {
            unit: narrow(unit),
            board,
            channels: address.channels()?,
            inputs: narrow(inputs),
            first_coil: coil("first_coil").ok_or(bad(coils_detail))?,
            first_input: coil("first_input").ok_or(bad(coils_detail))?,
            timeout: peer::timeout_of(address)?,
            ..ModbusOptions::new(place)
        }))
    }

    #[cfg(feature = "modbus-serial")]
    fn serial(address: &RelayAddress) -> Result<Place, Error> {
        if !address.host.is_empty() || address.path.len() < 2 {
            return Err(Error::BadRelayUrl { detail: "write the line as a path: modbus+rtu:///dev/ttyUSB0" });
        }
        let baud = peer::number(address, "baud", 9600, 1200..=1_000_000).and_then(|baud| u32::try_from(baud).ok());
        let baud = baud.ok_or(Error::BadRelayUrl { detail: "baud= is a number from 1200 to 1000000" })?;
        Ok(Place::Serial { path: address.path.clone().into(), baud })
    }

    #[cfg(not(feature = "modbus-serial"))]
    fn serial(_: &RelayAddress) -> Result<Place, Error> {
        Err(Error::BadRelayUrl { detail: "serial lines are not compiled in (feature modbus-serial)" })
    }

    async fn ask(&self, request: Request) -> Result<Reply, RelayError> {
        match self.link.exchange(&self.peer, self.options.unit, request).await? {
            Reply::Exception(code) => Err(self.exception(code)),
            reply => Ok(reply),
        }
    }

    /// What an exception means to the caller: whether it may help to wait, and whether the command may have arrived.
    fn exception(&self, code: u8) -> RelayError {
        let name = frame::exception_name(code);
        match code {
            0x06 | 0x0A => self.peer.unreachable(format_args!("{name} ({code})")),
            // Accepted and unfinished, or lost behind the gateway: perhaps carried out.
            0x05 | 0x0B => self.peer.timed_out(),
            _ => self.peer.rejected(format_args!("{name} ({code})")),
        }
    }

    async fn write(&self, address: u16, value: u16) -> Result<(), RelayError> {
        match self.ask(Request::WriteCoil { address, value }).await? {
            Reply::Written => Ok(()),
            _ => Err(self.peer.bad_reply("it answers another request")),
        }
    }

    async fn bit(&self, request: Request, index: u8) -> Result<Contact, RelayError> {
        match self.ask(request).await? {
            Reply::Bits(bits) if bits >> index & 1 == 1 => Ok(Contact::On),
            Reply::Bits(_) => Ok(Contact::Off),
            _ => Err(self.peer.bad_reply("it answers another request")),
        }
    }

    fn coil(&self, channel: u8) -> u16 {
        self.options.first_coil.wrapping_add(u16::from(channel))
    }
}

impl Relay for Modbus {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let duration = checked_pulse(&self.capabilities, channel, duration)?;
            match self.options.board {
                Board::Standard => self.write(self.coil(channel), frame::ON).await,
                Board::Waveshare => {
                    let steps = u16::try_from(duration.as_millis() / FLASH_STEP.as_millis()).unwrap_or(u16::MAX);
                    self.write(FLASH_ADDRESS.wrapping_add(self.coil(channel)), steps).await
                }
            }
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let value = if contact == Contact::On { frame::ON } else { frame::OFF };
            self.write(self.coil(channel), value).await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            // All of them, as the vendors' examples read: some boards answer no other count.
            let request = Request::ReadCoils { address: self.options.first_coil, count: self.capabilities.channels };
            self.bit(request, channel).await
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            let inputs = self.capabilities.inputs;
            if input >= inputs {
                return Err(RelayError::NoSuchInput { input, inputs });
            }
            self.bit(Request::ReadInputs { address: self.options.first_input, count: inputs }, input).await
        })
    }
}

/// Its place alone.
impl fmt::Debug for Modbus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "modbus unit {} at {}", self.options.unit, self.peer.address)
    }
}

impl Place {
    fn framing(&self) -> Framing {
        match self {
            Self::Tcp(_) => Framing::Tcp,
            _ => Framing::Rtu,
        }
    }
}
