//! Relay drivers and the registry that finds one by the scheme of an address.
//!
//! ```
//! # #[cfg(feature = "simulated")] {
//! use godvision_access::relay::{RelayRegistry, simulated::SimulatedRelay};
//! use godvision_core::SystemClock;
//!
//! let registry = RelayRegistry::standard(SystemClock::shared());
//! let relay = registry.open(&"simulated://yard?channels=2".into())?;
//! assert_eq!(relay.capabilities().channels, 2);
//! # }
//! # Ok::<(), godvision_access::Error>(())
//! ```
//! A driver of one's own is registered beside them: [`RelayRegistry::with`]. It needs `godvision-core` alone, and its
//! tests are `godvision_core::relay_conformance!`.
//!
//! **Never:** registration by side effect, retries (the door does that).

pub mod address;
#[cfg(any(feature = "shelly", feature = "onvif"))]
pub mod digest;
#[cfg(feature = "esphome")]
pub mod esphome;
#[cfg(feature = "fieldbus-testkit")]
pub mod fake_board;
#[cfg(all(feature = "fieldbus-testkit", feature = "esphome"))]
pub mod fake_esphome;
#[cfg(all(feature = "fieldbus-testkit", feature = "gpio"))]
pub mod fake_gpio;
#[cfg(all(feature = "fieldbus-testkit", feature = "modbus"))]
pub mod fake_modbus;
#[cfg(all(feature = "fieldbus-testkit", feature = "mqtt"))]
pub mod fake_mqtt;
#[cfg(all(feature = "fieldbus-testkit", feature = "onvif"))]
pub mod fake_onvif;
#[cfg(feature = "testkit")]
pub mod fake_shelly;
#[cfg(all(feature = "fieldbus-testkit", feature = "usr-r16"))]
pub mod fake_usr_r16;
#[cfg(feature = "gpio")]
pub mod gpio;
#[cfg(feature = "modbus")]
pub mod modbus;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "onvif")]
pub mod onvif;
#[cfg(feature = "fieldbus")]
#[allow(dead_code, reason = "each driver needs its part of it")]
mod peer;
#[cfg(feature = "shelly")]
pub mod shelly;
#[cfg(feature = "simulated")]
pub mod simulated;
#[cfg(feature = "usr-r16")]
pub mod usr_r16;

use std::fmt;
use std::sync::Arc;

use godvision_core::driver::relay::Relay;
use godvision_core::{Clock, Secret};

use crate::error::Error;
use address::RelayAddress;

type Open = Box<dyn Fn(&RelayAddress) -> Result<Arc<dyn Relay>, Error> + Send + Sync>;

/// Drivers by scheme.
#[derive(Default)]
pub struct RelayRegistry {
    drivers: Vec<(&'static str, Open)>,
}

impl RelayRegistry {
    /// No driver.
    pub fn new() -> Self {
        Self::default()
    }

    /// The drivers of this crate that are compiled in: `shelly://`, `simulated://`. Simulated relays read `clock`.
    pub fn standard(clock: Arc<dyn Clock>) -> Self {
        let registry = Self::new();
        #[cfg(feature = "shelly")]
        let registry = registry.with("shelly", |address| Ok(Arc::new(shelly::Shelly::from_address(address)?)));
        #[cfg(feature = "simulated")]
        let registry = {
            let clock = Arc::clone(&clock);
            registry.with("simulated", move |address| {
                Ok(Arc::new(simulated::SimulatedRelay::new(address.channels()?, Arc::clone(&clock))))
            })
        };
        #[cfg(feature = "modbus")]
        let registry = ["modbus+tcp", "modbus+rtutcp", "modbus+rtu"].into_iter().fold(registry, |registry, scheme| {
            registry.with(scheme, |address| Ok(Arc::new(modbus::Modbus::from_address(address)?)))
        });
        #[cfg(feature = "mqtt")]
        let registry = ["mqtt", "tasmota+mqtt", "zigbee2mqtt"].into_iter().fold(registry, |registry, scheme| {
            registry.with(scheme, |address| Ok(Arc::new(mqtt::Mqtt::from_address(address)?)))
        });
        #[cfg(feature = "onvif")]
        let registry = {
            let clock = Arc::clone(&clock);
            registry
                .with("onvif", move |address| Ok(Arc::new(onvif::Onvif::from_address(address, Arc::clone(&clock))?)))
        };
        #[cfg(all(feature = "gpio", target_os = "linux"))]
        let registry = registry.with("gpio", |address| Ok(Arc::new(gpio::Gpio::from_address(address)?)));
        #[cfg(feature = "esphome")]
        let registry = registry.with("esphome", |address| Ok(Arc::new(esphome::Esphome::from_address(address)?)));
        #[cfg(feature = "usr-r16")]
        let registry = registry.with("usr-r16", |address| Ok(Arc::new(usr_r16::UsrR16::from_address(address)?)));
        drop(clock);
        registry
    }

    /// With a driver for `scheme`; the latest of one scheme wins. `open` does no IO: a relay that is away is an error of
    /// its commands, not of the configuration.
    #[must_use]
    pub fn with<F>(mut self, scheme: &'static str, open: F) -> Self
    where
        F: Fn(&RelayAddress) -> Result<Arc<dyn Relay>, Error> + Send + Sync + 'static,
    {
        self.drivers.retain(|(known, _)| *known != scheme);
        self.drivers.push((scheme, Box::new(open)));
        self
    }

    /// The relay at `url`, which may hold a password: `shelly://admin:password@192.168.1.20/?channels=2`.
    ///
    /// # Errors
    /// [`Error::BadRelayUrl`], [`Error::UnknownRelay`], and what the driver finds wrong with the address.
    pub fn open(&self, url: &Secret) -> Result<Arc<dyn Relay>, Error> {
        let address = RelayAddress::parse(url)?;
        match self.drivers.iter().find(|(scheme, _)| *scheme == address.scheme) {
            Some((_, open)) => open(&address),
            None => Err(Error::UnknownRelay {
                scheme: address.scheme.chars().take(32).collect(),
                known: self.schemes().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// The schemes that have a driver.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> {
        self.drivers.iter().map(|(scheme, _)| *scheme)
    }
}

impl fmt::Debug for RelayRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.schemes()).finish()
    }
}

#[cfg(all(test, feature = "shelly", feature = "simulated"))]
mod tests {
    use super::*;
    use godvision_core::SystemClock;

    #[test]
    fn drivers_are_found_by_scheme() {
        let registry = RelayRegistry::standard(SystemClock::shared());
        let driver = |url: &str| registry.open(&url.into()).map(|relay| relay.capabilities().driver);
        assert_eq!(driver("shelly://192.168.1.20").unwrap(), "shelly-gen2");
        assert_eq!(driver("simulated://").unwrap(), "simulated");
        let unknown = driver("gopher://x").unwrap_err().to_string();
        assert!(unknown.starts_with("there is no relay driver \"gopher\"; known are: shelly, simulated"), "{unknown}");
    }

    #[test]
    fn errors_of_addresses_do_not_repeat_them() {
        let registry = RelayRegistry::standard(SystemClock::shared());
        for url in
            ["shelly://admin:hunter2@", "shelly://admin:hunter2@host/?channels=hunter2", "shelly:hunter2", "hunter2"]
        {
            let error = registry.open(&url.into()).err().expect(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
