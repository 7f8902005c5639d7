#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod error;
pub mod url;

#[cfg(feature = "client")]
pub mod camera;
#[cfg(feature = "client")]
pub mod session;
#[cfg(feature = "client")]
pub mod supervisor;

pub mod timeline;

pub mod nal;

pub mod fragment;

pub mod decode;

#[cfg(feature = "restream")]
pub mod restream;

#[cfg(feature = "component")]
pub mod component;

#[cfg(feature = "client")]
pub use camera::{Camera, CameraEvent, CameraOptions};
#[cfg(feature = "component")]
pub use component::CameraUnit;
pub use error::Error;
pub use fragment::Fragmenter;
pub use url::CameraUrl;
