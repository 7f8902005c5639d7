#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod error;
mod kernel;
#[cfg(feature = "face")]
mod net;
#[cfg(feature = "face")]
mod search_kernel;

pub mod colour;
#[cfg(feature = "crop")]
pub mod crop;
#[cfg(feature = "face")]
pub mod face;
pub mod motion;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod plane;
#[cfg(feature = "plate")]
pub mod plate;
pub mod qr;
#[cfg(feature = "component")]
pub mod sensors;

pub use colour::{RgbImage, RgbView};
#[cfg(feature = "crop")]
pub use crop::jpeg_crop;
pub use error::Error;
pub use motion::{MotionDetector, MotionOptions, MotionStep, RestStep, TamperStep};
pub use plane::LumaView;
pub use qr::{QrOptions, QrReader};

/// Which copy of the inner loops this processor runs: `portable`, `avx2` or `avx512`. All give the same results.
pub fn instruction_set() -> &'static str {
    kernel::Level::detect().name()
}
