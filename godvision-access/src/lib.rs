#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod credential;
pub mod pass;
pub mod schedule;
pub mod spent;

pub mod rule;

pub mod policy;

pub mod premises;

pub mod door;

pub mod address;
pub mod driver_spec;

pub mod io;
pub mod reader;
pub mod relay;

#[cfg(feature = "component")]
pub mod controller;

mod base45;
mod error;
#[cfg(all(any(feature = "gpio", feature = "wiegand-gpio"), target_os = "linux"))]
mod gpio_error;

pub use error::{Error, RuleFault, SnapshotFault};
pub use policy::{AccessControl, Ruling};
pub use rule::RuleSet;
