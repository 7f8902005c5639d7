//! OSDP v2 readers: the panel's side as a value ([`OsdpWire`]), with the secure channel.
//!
//! Source: SIA OSDP v2.2 (IEC 60839-11-5). The session is ours: the crates at hand were a binding to C with its own clock and
//! callbacks, and a blocking one with its own. Its packets are held equal to the crate `osdp`, and it has talked to
//! `libosdp` (`tests/osdp_agrees_with_others.rs`).
//!
//! With a key, nothing is believed outside the secure channel: a device that does not take the key is lost, never read in
//! clear. Without one, cards and PINs pass in clear, and anybody on the two wires can add some.
//!
//! **Not verified:** any reader: other implementations of the protocol were all there was.
//!
//! A device in installation mode is given its key by [`OsdpInstall`], by an act of its own.
//!
//! **Never:** a credential by the default key, setting an address (the vendor's tool does), file transfer, biometry, text.

mod bus;
#[cfg(feature = "testkit")]
pub mod fake;
pub mod frame;
mod install;
mod panel;
mod secure;

pub use bus::{DEVICES_MAX, LEFT_OUT, OsdpBus};
pub use install::{INSTALLED, OsdpInstall};
pub use panel::{
    OsdpKey, OsdpOptions, OsdpWire, POLL_EVERY, POLL_TYPING, READERS_MAX, REPLY_TIMEOUT, RETRIES_MAX, Random,
};

/// Commands of a panel.
pub(super) mod command {
    pub(crate) const POLL: u8 = 0x60;
    pub(crate) const ID: u8 = 0x61;
    pub(crate) const LOCAL_STATUS: u8 = 0x64;
    pub(crate) const INPUT_STATUS: u8 = 0x65;
    pub(crate) const LED: u8 = 0x69;
    pub(crate) const BUZZER: u8 = 0x6A;
    pub(crate) const KEYSET: u8 = 0x75;
    pub(crate) const CHALLENGE: u8 = 0x76;
    pub(crate) const PROOF: u8 = 0x77;
}

/// Replies of a device.
pub(super) mod reply {
    pub(crate) const ACK: u8 = 0x40;
    pub(crate) const NAK: u8 = 0x41;
    pub(crate) const ID: u8 = 0x45;
    pub(crate) const LOCAL_STATUS: u8 = 0x48;
    pub(crate) const INPUT_STATUS: u8 = 0x49;
    pub(crate) const READER_STATUS: u8 = 0x4B;
    pub(crate) const RAW: u8 = 0x50;
    pub(crate) const FORMATTED: u8 = 0x51;
    pub(crate) const KEYPAD: u8 = 0x53;
    pub(crate) const PROOF: u8 = 0x76;
    pub(crate) const FIRST_MAC: u8 = 0x78;
    pub(crate) const BUSY: u8 = 0x79;
}
