#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod clip;
pub mod preroll;
pub mod sample;

mod mp4;
