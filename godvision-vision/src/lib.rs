#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod error;
mod kernel;
#[cfg(feature = "face")]
mod net;

pub mod colour;
#[cfg(feature = "face")]
pub mod face;
pub mod motion;
pub mod plane;
pub mod qr;
#[cfg(feature = "component")]
pub mod sensors;

pub use colour::{RgbImage, RgbView};
pub use error::Error;
pub use motion::{MotionDetector, MotionOptions, MotionStep};
pub use plane::LumaView;
pub use qr::{QrOptions, QrReader};

/// Which copy of the inner loops this processor runs: `portable`, `avx2` or `avx512`. All give the same results.
pub fn instruction_set() -> &'static str {
    kernel::Level::detect().name()
}
