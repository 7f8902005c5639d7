//! What strangers write: drivers for relays, readers and archives.
//!
//! Each trait is small, object-safe and says what it can do by its `Capabilities`. Each has a behaviour suite that is
//! exported (feature `conformance`), so that a driver outside this project gets its tests in one line.

pub mod archive;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod reader;
pub mod relay;

pub use crate::journal::BoxFuture;
