#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod name;
pub mod secret;
pub mod time;

pub mod signal;

pub mod journal;

pub mod driver;

#[cfg(feature = "host")]
pub mod bus;
#[cfg(feature = "host")]
pub mod site;

pub use name::{Name, NameError, PortName};
pub use secret::Secret;
pub use time::{Clock, ManualClock, MonoTime, Stamp, SystemClock, WallTime};
