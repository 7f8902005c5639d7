//! Boards that speak Modbus: over TCP, over a gateway that passes RTU on, or over a serial line.
//!
//! Source: the Modbus specifications named in [`frame`] for what every board does (FC 05 moves a coil, FC 01 reads it
//! back, FC 02 reads inputs), and Waveshare's *Modbus RTU Relay* and *Modbus POE ETH Relay* pages (development protocol
//! V2) for the flash command: FC 05 at `0x0200` + channel with N x 100 ms, N to `0x7FFF`, which closes the contact and
//! opens it by the board's own timer. A standard board has no timer: its pulse is the caller's to end.
//!
//! **Not verified:** that a second flash starts the time anew; that switching during a flash cancels it; that a coil is
//! energised at FF00 on boards with another polarity.
//!
//! A Waveshare board with Ethernet passes RTU on
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
use std::sync::Arc;
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};

use super::endpoint::{Endpoint, TIMEOUT};
use crate::address::{CHANNELS_MAX, DeviceAddress};
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;
use frame::{Framing, Reply, Request};
use link::Link;
pub use link::Links;

const BOARD: AddressField =
    AddressField::choice("board", &["standard", "waveshare"], "its commands: waveshare times pulses on the board");
const FIRST_COIL: AddressField = AddressField::number("first_coil", 0, 65_535, "0", "the coil of the first relay");
const FIRST_INPUT: AddressField =
    AddressField::number("first_input", 0, 65_535, "0", "the discrete input of the first input");
const UNVERIFIED: &[&str] = &[
    "that a second flash starts the time anew",
    "that switching during a flash cancels it",
    "that a coil is energised at FF00 on boards with another polarity",
];

/// What the address of a board that speaks Modbus TCP holds.
pub const SPEC_TCP: DriverSpec = DriverSpec {
    scheme: "modbus+tcp",
    title: "Modbus TCP relay board",
    about: "Modbus has no password: whoever reaches the board opens the door. Pulses end on boards of Waveshare; with others in this program.",
    fields: &[
        AddressField::HOST,
        AddressField::port("502"),
        AddressField::number("unit", 0, 255, "1", "the board's unit (slave) number"),
        AddressField::channels(64, "1"),
        AddressField::inputs(64),
        BOARD,
        FIRST_COIL,
        FIRST_INPUT,
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::ByAddress),
    verified: Verified::Documents,
    unverified: UNVERIFIED,
};

/// What the address of a board behind a gateway that passes RTU frames on holds.
pub const SPEC_RTU_TCP: DriverSpec = DriverSpec {
    scheme: "modbus+rtutcp",
    title: "Modbus RTU relay board behind a TCP gateway",
    about: "Modbus has no password: whoever reaches the board opens the door. Pulses end on boards of Waveshare; with others in this program.",
    fields: &[
        AddressField::HOST,
        AddressField::port("502"),
        AddressField::number("unit", 1, 247, "1", "the board's unit (slave) number"),
        AddressField::channels(64, "1"),
        AddressField::inputs(64),
        BOARD,
        FIRST_COIL,
        FIRST_INPUT,
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::ByAddress),
    verified: Verified::Documents,
    unverified: UNVERIFIED,
};

/// What the address of a board on a serial line holds.
#[cfg(feature = "modbus-serial")]
pub const SPEC_RTU: DriverSpec = DriverSpec {
    scheme: "modbus+rtu",
    title: "Modbus RTU relay board on a serial line",
    about: "Modbus has no password: whoever reaches the line opens the door. Pulses end on boards of Waveshare; with others in this program.",
    fields: &[
        AddressField::text("path", "the line's device file").required().example("/dev/ttyUSB0"),
        AddressField::number("baud", 1200, 1_000_000, "9600", "the line's speed, in bits a second"),
        AddressField::number("unit", 1, 247, "1", "the board's unit (slave) number"),
        AddressField::channels(64, "1"),
        AddressField::inputs(64),
        BOARD,
        FIRST_COIL,
        FIRST_INPUT,
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::ByAddress),
    verified: Verified::Documents,
    unverified: UNVERIFIED,
};

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

impl Place {
    /// Whether both are the same line or gateway, at whatever speed.
    fn is_one_with(&self, other: &Self) -> bool {
        self.name() == other.name()
    }

    /// Host and port, or the device's path.
    fn name(&self) -> String {
        match self {
            Self::Tcp(address) | Self::RtuOverTcp(address) => address.clone(),
            #[cfg(feature = "modbus-serial")]
            Self::Serial { path, .. } => path.display().to_string(),
        }
    }
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
            timeout: TIMEOUT,
        }
    }
}

/// A Modbus board.
pub struct Modbus {
    options: ModbusOptions,
    capabilities: Capabilities,
    endpoint: Endpoint,
    link: Arc<Link>,
}

impl Modbus {
    /// A driver with a link of its own; nothing is opened or sent yet. For boards that share a line or gateway:
    /// [`Modbus::sharing`].
    pub fn new(options: ModbusOptions) -> Self {
        let link = Arc::new(Link::new(&options.place));
        Self::over(options, link)
    }

    /// A driver that takes turns with all others on the same line or behind the same gateway.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`] if one of them uses the line otherwise.
    pub fn sharing(options: ModbusOptions, links: &Links) -> Result<Self, Error> {
        let expected = || "is another one for another board on this line".to_owned();
        let link = links.of(&options.place);
        let link = link.ok_or_else(|| Error::BadDeviceField { field: "baud".to_owned(), expected: expected() })?;
        Ok(Self::over(options, link))
    }

    fn over(options: ModbusOptions, link: Arc<Link>) -> Self {
        let (driver, pulse) = match options.board {
            Board::Standard => ("modbus", PulseTiming::Host),
            Board::Waveshare => (
                "modbus-waveshare",
                PulseTiming::Device { min: FLASH_STEP, max: FLASH_STEP * FLASH_STEPS_MAX, step: FLASH_STEP },
            ),
        };
        let inputs = options.inputs.min(CHANNELS_MAX);
        let capabilities = Capabilities { driver, channels: options.channels.min(CHANNELS_MAX), pulse, inputs };
        let endpoint = Endpoint::new(options.place.name(), options.timeout);
        Self { options, capabilities, endpoint, link }
    }

    /// From `modbus+tcp://host[:502]/`, `modbus+rtutcp://host[:port]/` or `modbus+rtu:///dev/ttyUSB0`, with
    /// `?unit=1&channels=8&inputs=8&board=waveshare&first_coil=0&first_input=0&timeout_ms=2000`, and `baud=9600` on a line.
    ///
    /// # Errors
    /// [`Error::BadDeviceUrl`], [`Error::BadDeviceField`].
    pub fn from_address(address: &DeviceAddress, links: &Links) -> Result<Self, Error> {
        let (spec, place) = match address.scheme.as_str() {
            "modbus+tcp" => (SPEC_TCP, Place::Tcp(SPEC_TCP.authority(address))),
            #[cfg(feature = "modbus-serial")]
            "modbus+rtu" => {
                let baud = SPEC_RTU.number(address, "baud");
                (SPEC_RTU, Place::Serial { path: address.path.clone().into(), baud })
            }
            _ => (SPEC_RTU_TCP, Place::RtuOverTcp(SPEC_RTU_TCP.authority(address))),
        };
        spec.check(address)?;
        let coil = |key| u16::try_from(spec.number(address, key)).unwrap_or(u16::MAX);
        let unit = u8::try_from(spec.number(address, "unit")).unwrap_or(u8::MAX);
        if (248..255).contains(&unit) {
            return Err(Error::BadDeviceUrl { detail: "unit= is a number from 1 to 247, or 0 or 255 with modbus+tcp" });
        }
        let options = ModbusOptions {
            unit,
            board: if address.value("board") == Some("waveshare") { Board::Waveshare } else { Board::Standard },
            channels: spec.channels(address),
            inputs: spec.inputs(address),
            first_coil: coil("first_coil"),
            first_input: coil("first_input"),
            timeout: spec.timeout(address),
            ..ModbusOptions::new(place)
        };
        Self::sharing(options, links)
    }

    async fn ask(&self, request: Request) -> Result<Reply, RelayError> {
        match self.link.exchange(&self.endpoint, self.options.unit, request).await? {
            Reply::Exception(code) => Err(self.exception(code)),
            reply => Ok(reply),
        }
    }

    /// What an exception means to the caller: whether it may help to wait, and whether the command may have arrived.
    fn exception(&self, code: u8) -> RelayError {
        let name = frame::exception_name(code);
        match code {
            0x06 | 0x0A => self.endpoint.unreachable(format_args!("{name} ({code})")),
            // Accepted and unfinished, or lost behind the gateway: perhaps carried out.
            0x05 | 0x0B => self.endpoint.timed_out(),
            _ => self.endpoint.rejected(format_args!("{name} ({code})")),
        }
    }

    async fn write(&self, address: u16, value: u16) -> Result<(), RelayError> {
        match self.ask(Request::WriteCoil { address, value }).await? {
            Reply::Written => Ok(()),
            _ => Err(self.endpoint.bad_reply("it answers another request")),
        }
    }

    async fn bit(&self, request: Request, index: u8) -> Result<Contact, RelayError> {
        match self.ask(request).await? {
            Reply::Bits(bits) if bits >> index & 1 == 1 => Ok(Contact::On),
            Reply::Bits(_) => Ok(Contact::Off),
            _ => Err(self.endpoint.bad_reply("it answers another request")),
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
        write!(f, "modbus unit {} at {}", self.options.unit, self.endpoint.address())
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
