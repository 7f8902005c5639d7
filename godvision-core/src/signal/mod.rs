//! What components say to each other.
//!
//! A signal is a small value that is cheap to clone: payloads are [`bytes::Bytes`] or `Arc`, so handing one on never
//! copies a picture. Three families: [`media`] (packets, fragments, pictures), [`seen`] (what analysis found in them)
//! and [`door`] (credentials, decisions, doors). A crate outside may add its own by implementing [`Signal`].
//!
//! **Never:** raw pictures between hosts, `serde` on domain types, references into a component.

pub mod door;
pub mod media;
pub mod seen;

/// Name and version of a kind of signal. A link joins two ports only if their types are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalType {
    /// Short name, unique in a site: `packet`, `motion`, ...
    pub name: &'static str,
    /// Raised when the meaning or layout changes.
    pub version: u16,
}

impl std::fmt::Display for SignalType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// A value that may cross a port.
pub trait Signal: Clone + Send + Sync + 'static {
    /// What a port of this signal is called.
    const TYPE: SignalType;

    /// Payload size in bytes, for the counters; 0 for signals without a payload.
    fn payload_bytes(&self) -> usize {
        0
    }
}

macro_rules! signal {
    ($type:ty, $name:literal, $version:literal) => {
        impl $crate::signal::Signal for $type {
            const TYPE: $crate::signal::SignalType = $crate::signal::SignalType { name: $name, version: $version };
        }
    };
    ($type:ty, $name:literal, $version:literal, |$value:ident| $bytes:expr) => {
        impl $crate::signal::Signal for $type {
            const TYPE: $crate::signal::SignalType = $crate::signal::SignalType { name: $name, version: $version };
            fn payload_bytes(&self) -> usize {
                let $value = self;
                $bytes
            }
        }
    };
}
pub(crate) use signal;
