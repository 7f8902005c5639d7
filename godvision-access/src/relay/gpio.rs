//! Lines of a Linux GPIO chip: relays and contacts on the computer's own pins.
//!
//! Source: the kernel's GPIO character device (`linux/gpio.h`, ABI v2), by `gpiocdev`. A line has no timer, so pulses are
//! the caller's to end ([`PulseTiming::Host`]): **if this program or its computer dies in a pulse, the line stays as it
//! is** until somebody drives it again. Use such a lock only where that is bearable, or behind a relay with a timer.
//!
//! A line is asked for when it is first moved, with the value that it shall have, so that nothing flickers; it is held
//! from then on, and nobody else can drive it. Before that its level is read without touching it. The kernel's calls may
//! block (a chip behind I2C), so they run on tokio's blocking threads, one at a time; one that nobody waits for any more
//! is not begun.
//!
//! Tested over [`GpioLines`], the trait that the kernel's side ([`ChipLines`]) implements in sixty lines.
//!
//! **Not verified:** the kernel's side on hardware: everything above it was tried over lines in memory.
//!
//! **Never:** sysfs, lines found by name, a level taken from memory.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel};

use super::endpoint::{Endpoint, TIMEOUT};
use crate::address::{CHANNELS_MAX, DeviceAddress};
use crate::driver_spec::{AddressField, DriverSpec, FieldKind, PulseEnd, Verified};
use crate::error::Error;

/// Highest number of a line that an address may name.
const LINE_MAX: u32 = 1023;
/// Lines of one address.
const LINES: FieldKind = FieldKind::Numbers { min: 0, max: LINE_MAX, count_max: CHANNELS_MAX as usize };

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "gpio",
    title: "Lines of a Linux GPIO chip",
    about: "The computer's own pins. A line has no timer: if this program dies in a pulse, the line stays as it is.",
    fields: &[
        AddressField::text("path", "the chip's device file").required().example("/dev/gpiochip0"),
        AddressField::text("line", "numbers of the output lines on the chip, one for each relay")
            .of(LINES)
            .required()
            .example("17,27"),
        AddressField::text("input", "numbers of the input lines: door contacts, buttons").of(LINES).example("22"),
        AddressField::choice("active", &["high", "low"], "which level is on, of outputs and inputs"),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Host),
    verified: Verified::Documents,
    unverified: &["the kernel's side on hardware: everything above it was tried over lines in memory"],
};

/// What a chip does for the driver. Calls may block; one is made at a time.
pub trait GpioLines: Send {
    /// Whether a line is active, as an output or an input.
    ///
    /// # Errors
    /// What the system says.
    fn read(&mut self, line: u32, is_input: bool) -> io::Result<bool>;

    /// Makes a line an output and drives it.
    ///
    /// # Errors
    /// What the system says.
    fn drive(&mut self, line: u32, is_active: bool) -> io::Result<()>;
}

/// Which lines, and what they mean.
#[derive(Clone, Debug)]
pub struct GpioOptions {
    /// The chip: `/dev/gpiochip0`.
    pub chip: String,
    /// Offsets of the output lines: channel 0 is the first.
    pub lines: Vec<u32>,
    /// Offsets of the input lines.
    pub inputs: Vec<u32>,
    /// Low is active, for outputs and inputs.
    pub is_active_low: bool,
    /// How long a call may take.
    pub timeout: Duration,
}

impl GpioOptions {
    /// One output, active high.
    pub fn new(chip: impl Into<String>, line: u32) -> Self {
        let (lines, inputs) = (vec![line], Vec::new());
        Self { chip: chip.into(), lines, inputs, is_active_low: false, timeout: TIMEOUT }
    }
}

/// Relays on the lines of a GPIO chip.
pub struct Gpio {
    options: GpioOptions,
    capabilities: Capabilities,
    endpoint: Endpoint,
    lines: Arc<Mutex<dyn GpioLines>>,
}

impl Gpio {
    /// A driver for the kernel's chip; nothing is opened yet.
    #[cfg(target_os = "linux")]
    pub fn new(options: GpioOptions) -> Self {
        let lines = ChipLines::new(&options);
        Self::over(options, lines)
    }

    /// A driver over any lines.
    pub fn over(options: GpioOptions, lines: impl GpioLines + 'static) -> Self {
        let count = |lines: &[u32]| u8::try_from(lines.len()).unwrap_or(u8::MAX).min(CHANNELS_MAX);
        let capabilities = Capabilities {
            driver: "gpio",
            channels: count(&options.lines),
            pulse: PulseTiming::Host,
            inputs: count(&options.inputs),
        };
        let endpoint = Endpoint::new(options.chip.as_str(), options.timeout);
        Self { options, capabilities, endpoint, lines: Arc::new(Mutex::new(lines)) }
    }

    /// From `gpio:///dev/gpiochip0?line=17[,27][&input=22[,23]&active=low&timeout_ms=2000]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`], [`Error::BadDeviceUrl`].
    #[cfg(target_os = "linux")]
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        SPEC.check(address)?;
        let (lines, inputs) = (SPEC.numbers(address, "line"), SPEC.numbers(address, "input"));
        if lines.iter().any(|line| inputs.contains(line)) {
            return Err(Error::BadDeviceUrl { detail: "a line is an output and an input" });
        }
        let is_active_low = address.value("active") == Some("low");
        let timeout = SPEC.timeout(address);
        Ok(Self::new(GpioOptions { chip: address.path.clone(), lines, inputs, is_active_low, timeout }))
    }

    /// Makes one call on a blocking thread, unless nobody waits for it any more.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut dyn GpioLines) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RelayError> {
        let lines = Arc::clone(&self.lines);
        let waited_for = WaitedFor(Arc::new(AtomicBool::new(true)));
        let still = Arc::clone(&waited_for.0);
        let begun = tokio::task::spawn_blocking(move || {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if still.load(Ordering::Acquire) { call(&mut *lines) } else { Err(io::ErrorKind::TimedOut.into()) }
        });
        let answer =
            self.endpoint.within(async { begun.await.map_err(|error| self.endpoint.bad_reply(error)) }).await?;
        answer.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> RelayError {
        match error.kind() {
            io::ErrorKind::NotFound => self.endpoint.unreachable(error),
            io::ErrorKind::PermissionDenied => {
                self.endpoint.rejected("this program may not use it: put its user into the group of the device")
            }
            io::ErrorKind::ResourceBusy => self.endpoint.rejected("another program holds the line"),
            io::ErrorKind::InvalidInput => self.endpoint.rejected("the chip has no such line, or cannot drive it"),
            io::ErrorKind::TimedOut => self.endpoint.timed_out(),
            // A chip behind a bus that failed may have taken the command.
            _ => self.endpoint.bad_reply(error),
        }
    }

    fn line(&self, channel: u8) -> Result<u32, RelayError> {
        checked_channel(&self.capabilities, channel)?;
        self.options
            .lines
            .get(usize::from(channel))
            .copied()
            .ok_or_else(|| self.endpoint.rejected("there is no such line"))
    }
}

/// Says to a call that was not begun that nobody waits for it.
struct WaitedFor(Arc<AtomicBool>);

impl Drop for WaitedFor {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Relay for Gpio {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, _: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        self.set(channel, Contact::On)
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let line = self.line(channel)?;
            let is_active = contact == Contact::On;
            let drive = move |lines: &mut dyn GpioLines| {
                lines.drive(line, is_active)?;
                lines.read(line, false)
            };
            // A short circuit holds a line where it is.
            if self.call(drive).await? == is_active {
                Ok(())
            } else {
                Err(self.endpoint.bad_reply("the line did not follow"))
            }
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            let line = self.line(channel)?;
            Ok(contact_of(self.call(move |lines| lines.read(line, false)).await?))
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            let inputs = self.capabilities.inputs;
            let Some(line) = self.options.inputs.get(usize::from(input)).copied().filter(|_| input < inputs) else {
                return Err(RelayError::NoSuchInput { input, inputs });
            };
            Ok(contact_of(self.call(move |lines| lines.read(line, true)).await?))
        })
    }
}

fn contact_of(is_active: bool) -> Contact {
    if is_active { Contact::On } else { Contact::Off }
}

/// The chip alone.
impl fmt::Debug for Gpio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gpio lines {:?} of {}", self.options.lines, self.options.chip)
    }
}

#[cfg(target_os = "linux")]
pub use chip::ChipLines;

#[cfg(target_os = "linux")]
mod chip {
    use std::collections::HashMap;
    use std::io;

    use gpiocdev::Request;
    use gpiocdev::line::{Bias, Value};

    use super::{GpioLines, GpioOptions};
    use crate::gpio_error::system_error;

    /// Lines of a chip of the kernel.
    #[derive(Debug)]
    pub struct ChipLines {
        chip: String,
        is_active_low: bool,
        /// Outputs that were driven and inputs that were read.
        held: HashMap<u32, Request>,
    }

    impl ChipLines {
        /// Nothing is opened yet.
        pub fn new(options: &GpioOptions) -> Self {
            Self { chip: options.chip.clone(), is_active_low: options.is_active_low, held: HashMap::new() }
        }

        fn request(&self, line: u32, configure: impl FnOnce(&mut gpiocdev::request::Builder)) -> io::Result<Request> {
            let mut builder = Request::builder();
            builder.on_chip(&self.chip).with_consumer("godvision").with_line(line);
            configure(&mut builder);
            if self.is_active_low {
                builder.as_active_low();
            }
            builder.request().map_err(|error| system_error(&error))
        }
    }

    impl GpioLines for ChipLines {
        fn read(&mut self, line: u32, is_input: bool) -> io::Result<bool> {
            if is_input && !self.held.contains_key(&line) {
                // Dry contacts to ground or supply need something to pull against.
                let bias = if self.is_active_low { Bias::PullUp } else { Bias::PullDown };
                let request = self.request(line, |builder| {
                    builder.as_input().with_bias(bias);
                })?;
                self.held.insert(line, request);
            }
            let value = match self.held.get(&line) {
                Some(request) => request.value(line),
                // Not ours yet: looked at as it is, and let go.
                None => self
                    .request(line, |builder| {
                        builder.as_is();
                    })?
                    .value(line),
            };
            value.map(|value| value == Value::Active).map_err(|error| system_error(&error))
        }

        fn drive(&mut self, line: u32, is_active: bool) -> io::Result<()> {
            let value = if is_active { Value::Active } else { Value::Inactive };
            if let Some(request) = self.held.get(&line) {
                return request.set_value(line, value).map_err(|error| system_error(&error));
            }
            let request = self.request(line, |builder| {
                builder.as_output(value);
            })?;
            self.held.insert(line, request);
            Ok(())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_chip_that_is_none_is_said_by_the_system() {
            let mut lines = ChipLines::new(&GpioOptions::new("/dev/no-such-chip", 17));
            assert_eq!(lines.read(17, false).unwrap_err().kind(), io::ErrorKind::NotFound);
            assert_eq!(lines.drive(17, true).unwrap_err().kind(), io::ErrorKind::NotFound);
            let mut lines = ChipLines::new(&GpioOptions::new("/dev/null", 17));
            assert!(lines.drive(17, true).is_err(), "a character device that is no chip");
        }
    }
}
