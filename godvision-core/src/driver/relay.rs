//! [`Relay`]: the device that moves a lock, a gate or a barrier.
//!
//! The rule behind the trait: *a lost link never leaves a door open*. So a pulse is timed on the device where the device
//! can ([`PulseTiming::Device`]); where it cannot, the caller must switch off, confirm by status and raise an alarm
//! until it is confirmed.
//!
//! **Never:** retries or timers inside a driver (the door owns them), a driver that reports success before the device
//! has answered.

use std::time::Duration;

use super::BoxFuture;

/// The contact of one channel, as the relay's own terms: energised or not. What that means for the lock (fail-safe or
/// fail-secure) is a property of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contact {
    /// Energised.
    On,
    /// At rest.
    Off,
}

/// Who ends a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PulseTiming {
    /// The device itself: it ends even if the link is lost.
    Device {
        /// Shortest pulse.
        min: Duration,
        /// Longest pulse.
        max: Duration,
        /// Durations are rounded up to a multiple of this.
        step: Duration,
    },
    /// The caller has to switch off: [`Relay::pulse`] only switches on.
    Host,
}

/// What a relay can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The driver's name: `shelly-gen2`, `simulated`, ...
    pub driver: &'static str,
    /// Channels, numbered from 0.
    pub channels: u8,
    /// Who ends a pulse.
    pub pulse: PulseTiming,
    /// Inputs (door contacts, buttons), numbered from 0; 0 if it has none or the driver cannot read them.
    pub inputs: u8,
}

/// Why a relay did not do what it was told. After an error the contact is unknown until [`Relay::status`] answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// No connection.
    #[error("relay {address} cannot be reached: {detail}")]
    Unreachable {
        /// Host and port, never with a password.
        address: String,
        /// What the system said.
        detail: String,
    },
    /// Connected, but no answer in time: the command may or may not have been carried out.
    #[error("relay {address} did not answer within {waited:?}")]
    Timeout {
        /// Host and port.
        address: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The device wants another user name or password.
    #[error("relay {address} refused the user name or password")]
    AuthFailed {
        /// Host and port.
        address: String,
    },
    /// The device understood and said no.
    #[error("relay {address} refused the command: {detail}")]
    Rejected {
        /// Host and port.
        address: String,
        /// The device's words, shortened.
        detail: String,
    },
    /// The device said something that its protocol does not allow.
    #[error("relay {address} answered nonsense: {detail}")]
    BadReply {
        /// Host and port.
        address: String,
        /// What was wrong, shortened.
        detail: String,
    },
    /// The relay has no such channel.
    #[error("the relay has {channels} channels, there is no channel {channel}")]
    NoSuchChannel {
        /// The channel asked for.
        channel: u8,
        /// How many there are.
        channels: u8,
    },
    /// The relay has no such input.
    #[error("the relay has {inputs} inputs, there is no input {input}")]
    NoSuchInput {
        /// The input asked for.
        input: u8,
        /// How many there are.
        inputs: u8,
    },
    /// A pulse outside what the device can time.
    #[error("a pulse of {asked:?} is outside {min:?} to {max:?}")]
    PulseOutOfRange {
        /// The pulse asked for.
        asked: Duration,
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
}

impl RelayError {
    /// Whether the same command may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::BadReply { .. })
    }

    /// Whether the command may have been carried out although it failed here.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::BadReply { .. })
    }
}

/// A relay device.
pub trait Relay: Send + Sync {
    /// What it can do. Never changes.
    fn capabilities(&self) -> &Capabilities;

    /// Energises `channel` for `duration` and returns once the device has confirmed the beginning. A second pulse while
    /// one is running starts the time anew. With [`PulseTiming::Host`] the contact stays on until [`Relay::set`].
    ///
    /// # Errors
    /// [`RelayError`]; see [`RelayError::is_ambiguous`].
    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>>;

    /// Switches `channel` and returns once the device has confirmed. Ends a running pulse.
    ///
    /// # Errors
    /// [`RelayError`].
    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>>;

    /// Reads the contact from the device (never from memory).
    ///
    /// # Errors
    /// [`RelayError`].
    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>>;

    /// Reads an input of the device: [`Contact::On`] is closed (or voltage present). A driver whose
    /// [`Capabilities::inputs`] is not 0 has its own.
    ///
    /// # Errors
    /// [`RelayError`]; [`RelayError::NoSuchInput`] before anything is sent.
    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        let inputs = self.capabilities().inputs;
        Box::pin(async move { Err(RelayError::NoSuchInput { input, inputs }) })
    }
}

/// Checks a channel and a pulse against `capabilities`, as every driver must before it speaks to the device. Returns
/// the duration rounded up to the device's step.
///
/// # Errors
/// [`RelayError::NoSuchChannel`], [`RelayError::PulseOutOfRange`].
pub fn checked_pulse(capabilities: &Capabilities, channel: u8, asked: Duration) -> Result<Duration, RelayError> {
    checked_channel(capabilities, channel)?;
    let PulseTiming::Device { min, max, step } = capabilities.pulse else { return Ok(asked) };
    if asked < min || asked > max {
        return Err(RelayError::PulseOutOfRange { asked, min, max });
    }
    let step = step.as_nanos().max(1);
    let rounded = asked.as_nanos().div_ceil(step).saturating_mul(step);
    Ok(Duration::from_nanos(u64::try_from(rounded).unwrap_or(u64::MAX)).min(max))
}

/// Checks a channel against `capabilities`.
///
/// # Errors
/// [`RelayError::NoSuchChannel`].
pub fn checked_channel(capabilities: &Capabilities, channel: u8) -> Result<(), RelayError> {
    if channel < capabilities.channels {
        Ok(())
    } else {
        Err(RelayError::NoSuchChannel { channel, channels: capabilities.channels })
    }
}

/// Checks an input against `capabilities`.
///
/// # Errors
/// [`RelayError::NoSuchInput`].
pub fn checked_input(capabilities: &Capabilities, input: u8) -> Result<(), RelayError> {
    if input < capabilities.inputs {
        Ok(())
    } else {
        Err(RelayError::NoSuchInput { input, inputs: capabilities.inputs })
    }
}
