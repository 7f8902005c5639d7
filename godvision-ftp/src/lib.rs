#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod clip;
pub mod preroll;

pub mod retention;
pub mod spool;

pub mod upload;

pub mod index;

pub mod archive;

pub mod io;

#[cfg(feature = "component")]
pub mod recorder;

pub mod sample;

mod error;
mod mp4;

pub use error::Error;
