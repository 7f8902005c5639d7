//! Readers: their protocols as values, drivers on links, and the registry that finds one by the scheme of an address.
//!
//! | module | what |
//! |---|---|
//! | [`indication`] | what each [`Indication`](godvision_core::signal::door::Indication) looks and sounds like, as a timed script |
//! | [`wiegand`], [`keypad`], [`wedge`] | bits, keys and typed numbers into cards and PINs |
//! | [`wire`] | what a protocol is: bytes and `now` in, bytes and events out |
//! | [`bridge`] | keypads and Wiegand readers behind a microcontroller: lines of text |
//! | `bits`, `edges`, `gpio_wires` | Wiegand wires that end at this computer |
//! | [`lines`] | card readers that write or type a number |
//! | `osdp` | OSDP v2 with the secure channel |
//! | `stream`, `link` | the async shell: any protocol on TCP, a serial port or an input device |
//! | `soft` | what an application reads itself: a page, a messenger |
//! | `device`, `component` | one device for many doors, with reconnection; the unit `reader` |
//!
//! Every card, however it is read, is one text: upper-case hexadecimal digits.
//!
//! ```
//! # #[cfg(feature = "readers")] {
//! use godvision_access::reader::ReaderRegistry;
//! use godvision_core::SystemClock;
//!
//! let registry = ReaderRegistry::standard(SystemClock::shared());
//! let reader = registry.open(&"keypad+tcp://192.168.1.30:4001/?channels=8".into())?;
//! assert_eq!(reader.capabilities().channels, 8);
//! # }
//! # Ok::<(), godvision_access::Error>(())
//! ```
//! A driver of one's own is registered beside them: [`ReaderRegistry::with`]. It needs `godvision-core` alone, and its
//! tests are `godvision_core::reader_conformance!`.
//!
//! **Never:** a decision, registration by side effect.

#[cfg(feature = "readers")]
pub mod bits;
pub mod bridge;
#[cfg(feature = "component")]
pub mod component;
#[cfg(feature = "component")]
pub mod device;
pub mod edges;
#[cfg(all(feature = "testkit", feature = "readers"))]
pub mod fake;
#[cfg(all(feature = "wiegand-gpio", target_os = "linux"))]
pub mod gpio_wires;
pub mod indication;
#[cfg(all(feature = "evdev", target_os = "linux"))]
mod input_device;
pub mod keypad;
pub mod lines;
#[cfg(feature = "readers")]
pub mod link;
#[cfg(feature = "osdp")]
pub mod osdp;
#[cfg(feature = "readers")]
pub mod soft;
#[cfg(feature = "readers")]
pub mod stream;
pub mod wedge;
pub mod wiegand;
pub mod wire;

use std::fmt;

use godvision_core::Secret;
use godvision_core::driver::reader::Reader;

use crate::address::DeviceAddress;
use crate::driver_spec::DriverSpec;
use crate::error::Error;

#[cfg(feature = "readers")]
mod specs;
#[cfg(feature = "readers")]
mod standard;

#[cfg(feature = "readers")]
pub use specs::BRIDGE_PORT;

type Open = Box<dyn Fn(&DeviceAddress) -> Result<Box<dyn Reader>, Error> + Send + Sync>;

/// Drivers by scheme.
#[derive(Default)]
pub struct ReaderRegistry {
    drivers: Vec<(DriverSpec, Open)>,
}

impl ReaderRegistry {
    /// No driver.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a driver; the latest of one scheme wins. `open` does no IO: a reader that is away is an error of its
    /// [`Reader::next`], not of the configuration. It is given only addresses that pass [`DriverSpec::check`].
    #[must_use]
    pub fn with<F>(mut self, spec: DriverSpec, open: F) -> Self
    where
        F: Fn(&DeviceAddress) -> Result<Box<dyn Reader>, Error> + Send + Sync + 'static,
    {
        self.drivers.retain(|(known, _)| known.scheme != spec.scheme);
        self.drivers.push((spec, Box::new(open)));
        self
    }

    /// The reader at `url`, which may hold a key.
    ///
    /// # Errors
    /// [`Error::BadDeviceUrl`], [`Error::BadDeviceField`], [`Error::UnknownReader`], and what the driver finds wrong with the address.
    pub fn open(&self, url: &Secret) -> Result<Box<dyn Reader>, Error> {
        let address = DeviceAddress::parse(url)?;
        match self.drivers.iter().find(|(spec, _)| spec.scheme == address.scheme) {
            Some((spec, open)) => {
                spec.check(&address)?;
                open(&address)
            }
            None => Err(Error::UnknownReader {
                scheme: address.scheme.chars().take(32).collect(),
                known: self.specs().map(|spec| spec.scheme).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// What each driver says of itself, for forms.
    pub fn specs(&self) -> impl Iterator<Item = &DriverSpec> {
        self.drivers.iter().map(|(spec, _)| spec)
    }
}

impl fmt::Debug for ReaderRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.specs().map(|spec| spec.scheme)).finish()
    }
}
