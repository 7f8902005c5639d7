//! The bus components: units `motion` ([`MotionUnit`]), `qr` ([`QrUnit`]), `plate` and `face`.
//!
//! Thin shells: they take pictures from their port, hand them to a detector or reader, and send what that says. One
//! component watches one camera.
//!
//! The work is done by `spawn_blocking`, which takes the detector with the picture and gives it back: looking for a code
//! takes up to 30 ms, and a runtime's worker that is busy for so long delays every other component. A hop there and
//! back costs some ten microseconds. A thread of its own for each camera would cost a stack and a channel more, and
//! `block_in_place` does not work on a single-threaded runtime. If the component is stopped in the meantime, the work
//! ends by itself and its result is dropped.
//!
//! **Never:** decoding, more than one picture at once, a decision about what a sighting is good for.

#![forbid(unsafe_code)]

mod alarm;
#[cfg(feature = "face")]
mod face;
mod motion;
#[cfg(feature = "plate")]
mod plate;
mod qr;

#[cfg(feature = "face")]
pub use face::FaceUnit;
pub use motion::MotionUnit;
#[cfg(feature = "plate")]
pub use plate::PlateUnit;
pub use qr::QrUnit;
