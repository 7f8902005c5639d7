//! [`Reader`]: a keypad, card reader or other device at which a person presents something.
//!
//! The driver turns its wire into [`Key`]s and [`Indication`]s into lights and beeps; it decides nothing.

use super::BoxFuture;
use crate::signal::door::{DoorSense, Indication, Key};

/// What a reader can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The driver's name.
    pub driver: &'static str,
    /// Channels (places where something can be presented), numbered from 0.
    pub channels: u8,
    /// Whether it can show an [`Indication`].
    pub indicates: bool,
}

/// Why a reader gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReaderError {
    /// No connection; the driver may be asked again later.
    #[error("reader {address} cannot be reached: {detail}")]
    Unreachable {
        /// Device path or host and port.
        address: String,
        /// What the system said.
        detail: String,
    },
    /// Bytes that are no message of its protocol, or one of a channel that it does not have; they were skipped. Told so
    /// that it is counted.
    #[error("reader {address} sent nonsense: {detail}")]
    BadInput {
        /// Device path or host and port.
        address: String,
        /// What was wrong; never the bytes of a credential.
        detail: String,
    },
    /// The reader cannot do what was asked.
    #[error("the reader cannot {what}")]
    Unsupported {
        /// What was asked.
        what: &'static str,
    },
}

impl ReaderError {
    /// Whether asking again may succeed without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Unsupported { .. })
    }
}

/// Something presented at one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The channel.
    pub channel: u8,
    /// What was presented.
    pub key: Key,
}

/// What comes from a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderEvent {
    /// Somebody presented something.
    Presented(Presented),
    /// An input at one channel: a door contact, an exit button, the lid.
    Input {
        /// The channel.
        channel: u8,
        /// What it says.
        sense: DoorSense,
    },
}

impl From<Presented> for ReaderEvent {
    fn from(presented: Presented) -> Self {
        Self::Presented(presented)
    }
}

/// A reader device.
pub trait Reader: Send {
    /// What it can do. Never changes.
    fn capabilities(&self) -> &Capabilities;

    /// Waits for the next event. Dropping the future loses nothing that was already read.
    ///
    /// # Errors
    /// [`ReaderError`]; after a temporary one the reader may be asked again.
    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent, ReaderError>>;

    /// Shows `indication` at `channel`: `Ok` once the device has been told. What blinks or beeps on is kept up while
    /// [`Reader::next`] is asked. Without a link it is remembered, told as an error, and shown once the link is back.
    ///
    /// # Errors
    /// [`ReaderError::Unreachable`]; [`ReaderError::Unsupported`] without lamps or such a channel.
    fn indicate(&mut self, channel: u8, indication: Indication) -> BoxFuture<'_, Result<(), ReaderError>>;
}
