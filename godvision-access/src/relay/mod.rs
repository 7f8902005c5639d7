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
//! Doors on channels of one device share its driver: the same address opens the same object while anybody holds it, so a
//! board that keeps few connections is asked by one. What an address may hold is data: [`RelayRegistry::specs`].
//!
//! A driver of one's own is registered beside them: [`RelayRegistry::with`]. It needs `godvision-core` alone, and its
//! tests are `godvision_core::relay_conformance!`; `examples/relay-driver` teaches it.
//!
//! **Never:** registration by side effect, retries (the door does that).

#[cfg(any(feature = "shelly", feature = "onvif"))]
pub mod digest;
#[cfg(feature = "dingtian")]
pub mod dingtian;
#[cfg(feature = "esphome")]
pub mod esphome;
#[cfg(any(feature = "testkit", feature = "fieldbus-testkit"))]
pub mod fake;
#[cfg(any(feature = "testkit", feature = "fieldbus-testkit"))]
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
#[cfg(all(feature = "fieldbus-testkit", feature = "usr-r16"))]
pub mod fake_usr_r16;
#[cfg(feature = "gpio")]
pub mod gpio;
#[cfg(feature = "kmtronic")]
pub mod kmtronic;
#[cfg(feature = "laurent")]
pub mod laurent;
#[cfg(feature = "modbus")]
pub mod modbus;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "onvif")]
pub mod onvif;
#[cfg(feature = "shelly")]
pub mod shelly;
#[cfg(feature = "shelly1")]
pub mod shelly1;
#[cfg(feature = "simulated")]
pub mod simulated;
#[cfg(feature = "sonoff")]
pub mod sonoff;
#[cfg(feature = "sr201")]
pub mod sr201;
#[cfg(feature = "tasmota")]
pub mod tasmota;
#[cfg(feature = "template")]
pub mod template;

#[cfg(feature = "tcp")]
pub mod endpoint;
#[cfg(feature = "http")]
pub mod http;

#[cfg(feature = "testkit")]
pub mod fake_dingtian;
#[cfg(feature = "testkit")]
mod fake_http;
#[cfg(feature = "testkit")]
pub mod fake_kmtronic;
#[cfg(feature = "testkit")]
pub mod fake_laurent;
#[cfg(feature = "testkit")]
pub mod fake_plain;
#[cfg(feature = "testkit")]
pub mod fake_shelly;
#[cfg(feature = "testkit")]
pub mod fake_shelly1;
#[cfg(feature = "testkit")]
pub mod fake_sonoff;
#[cfg(feature = "testkit")]
pub mod fake_sr201;
#[cfg(feature = "testkit")]
pub mod fake_tasmota;
#[cfg(feature = "usr-r16")]
pub mod usr_r16;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use godvision_core::driver::relay::Relay;
use godvision_core::{Clock, Secret};

use crate::address::DeviceAddress;
#[doc(no_inline)]
pub use crate::driver_spec as spec;
use crate::driver_spec::DriverSpec;
use crate::error::Error;

type Open = Box<dyn Fn(&DeviceAddress) -> Result<Arc<dyn Relay>, Error> + Send + Sync>;

struct Driver {
    scheme: &'static str,
    spec: Option<DriverSpec>,
    open: Open,
}

/// Drivers by scheme.
#[derive(Default)]
pub struct RelayRegistry {
    drivers: Vec<Driver>,
    /// Devices in use, by address; as many as there are relays.
    in_use: Mutex<Vec<(DeviceAddress, Weak<dyn Relay>)>>,
}

impl RelayRegistry {
    /// No driver.
    pub fn new() -> Self {
        Self::default()
    }

    /// The drivers of this crate that are compiled in. Simulated relays read `clock`.
    pub fn standard(clock: Arc<dyn Clock>) -> Self {
        let registry = Self::new();
        #[cfg(feature = "shelly")]
        let registry =
            registry.with_driver(shelly::SPEC, |address| Ok(Arc::new(shelly::Shelly::from_address(address)?)));
        #[cfg(feature = "shelly1")]
        let registry =
            registry.with_driver(shelly1::SPEC, |address| Ok(Arc::new(shelly1::Shelly1::from_address(address)?)));
        #[cfg(feature = "tasmota")]
        let registry =
            registry.with_driver(tasmota::SPEC, |address| Ok(Arc::new(tasmota::Tasmota::from_address(address)?)));
        #[cfg(feature = "sonoff")]
        let registry =
            registry.with_driver(sonoff::SPEC, |address| Ok(Arc::new(sonoff::Sonoff::from_address(address)?)));
        #[cfg(feature = "dingtian")]
        let registry =
            registry.with_driver(dingtian::SPEC, |address| Ok(Arc::new(dingtian::Dingtian::from_address(address)?)));
        #[cfg(feature = "sr201")]
        let registry = registry.with_driver(sr201::SPEC, |address| Ok(Arc::new(sr201::Sr201::from_address(address)?)));
        #[cfg(feature = "laurent")]
        let registry =
            registry.with_driver(laurent::SPEC, |address| Ok(Arc::new(laurent::Laurent::from_address(address)?)));
        #[cfg(feature = "kmtronic")]
        let registry =
            registry.with_driver(kmtronic::SPEC, |address| Ok(Arc::new(kmtronic::Kmtronic::from_address(address)?)));
        #[cfg(feature = "template")]
        let registry =
            registry.with_driver(template::SPEC, |address| Ok(Arc::new(template::Template::from_address(address)?)));
        #[cfg(feature = "simulated")]
        let registry = {
            let clock = Arc::clone(&clock);
            registry.with_driver(simulated::SPEC, move |address| {
                Ok(Arc::new(simulated::SimulatedRelay::from_address(address, Arc::clone(&clock))?))
            })
        };
        #[cfg(feature = "modbus")]
        let links = Arc::new(modbus::Links::default());
        #[cfg(feature = "modbus")]
        let registry = [
            modbus::SPEC_TCP,
            modbus::SPEC_RTU_TCP,
            #[cfg(feature = "modbus-serial")]
            modbus::SPEC_RTU,
        ]
        .into_iter()
        .fold(registry, |registry, spec| {
            let links = Arc::clone(&links);
            registry.with_driver(spec, move |address| Ok(Arc::new(modbus::Modbus::from_address(address, &links)?)))
        });
        #[cfg(feature = "mqtt")]
        let registry =
            [mqtt::SPEC_PLAIN, mqtt::SPEC_TASMOTA, mqtt::SPEC_ZIGBEE].into_iter().fold(registry, |registry, spec| {
                registry.with_driver(spec, |address| Ok(Arc::new(mqtt::Mqtt::from_address(address)?)))
            });
        #[cfg(feature = "onvif")]
        let registry = {
            let clock = Arc::clone(&clock);
            registry.with_driver(onvif::SPEC, move |address| {
                Ok(Arc::new(onvif::Onvif::from_address(address, Arc::clone(&clock))?))
            })
        };
        #[cfg(all(feature = "gpio", target_os = "linux"))]
        let registry = registry.with_driver(gpio::SPEC, |address| Ok(Arc::new(gpio::Gpio::from_address(address)?)));
        #[cfg(feature = "esphome")]
        let registry =
            registry.with_driver(esphome::SPEC, |address| Ok(Arc::new(esphome::Esphome::from_address(address)?)));
        #[cfg(feature = "usr-r16")]
        let registry =
            registry.with_driver(usr_r16::SPEC, |address| Ok(Arc::new(usr_r16::UsrR16::from_address(address)?)));
        drop(clock);
        registry
    }

    /// With a driver for `scheme`; the latest of one scheme wins. `open` does no IO: a relay that is away is an error of
    /// its commands, not of the configuration.
    #[must_use]
    pub fn with<F>(self, scheme: &'static str, open: F) -> Self
    where
        F: Fn(&DeviceAddress) -> Result<Arc<dyn Relay>, Error> + Send + Sync + 'static,
    {
        self.with_entry(Driver { scheme, spec: None, open: Box::new(open) })
    }

    /// With a driver that says what its addresses hold; they are checked before `open` sees them. See
    /// [`RelayRegistry::with`].
    #[must_use]
    pub fn with_driver<F>(self, spec: DriverSpec, open: F) -> Self
    where
        F: Fn(&DeviceAddress) -> Result<Arc<dyn Relay>, Error> + Send + Sync + 'static,
    {
        self.with_entry(Driver { scheme: spec.scheme, spec: Some(spec), open: Box::new(open) })
    }

    fn with_entry(mut self, driver: Driver) -> Self {
        self.drivers.retain(|known| known.scheme != driver.scheme);
        self.drivers.push(driver);
        self
    }

    /// The relay at `url`, which may hold a password: `shelly://admin:password@192.168.1.20/?channels=2`. The same
    /// address gives the same object as long as anybody holds it; an address without a host and a path names no device and
    /// always gives a new one.
    ///
    /// # Errors
    /// [`Error::BadDeviceUrl`], [`Error::BadDeviceField`], [`Error::UnknownRelay`], and what the driver finds wrong.
    pub fn open(&self, url: &Secret) -> Result<Arc<dyn Relay>, Error> {
        let mut address = DeviceAddress::parse(url)?;
        if address.path == "/" {
            address.path.clear();
        }
        let Some(driver) = self.drivers.iter().find(|driver| driver.scheme == address.scheme) else {
            return Err(Error::UnknownRelay {
                scheme: address.scheme.chars().take(32).collect(),
                known: self.schemes().collect::<Vec<_>>().join(", "),
            });
        };
        if let Some(spec) = &driver.spec {
            spec.check(&address)?;
        }
        if address.host.is_empty() && address.path.is_empty() {
            return (driver.open)(&address);
        }
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|(_, relay)| relay.strong_count() > 0);
        if let Some(relay) = in_use.iter().find(|(known, _)| *known == address).and_then(|(_, relay)| relay.upgrade()) {
            return Ok(relay);
        }
        let relay = (driver.open)(&address)?;
        in_use.push((address, Arc::downgrade(&relay)));
        Ok(relay)
    }

    /// The schemes that have a driver.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> {
        self.drivers.iter().map(|driver| driver.scheme)
    }

    /// What the drivers are and what their addresses hold; drivers registered without it ([`RelayRegistry::with`]) are
    /// not among them.
    pub fn specs(&self) -> impl Iterator<Item = &DriverSpec> {
        self.drivers.iter().filter_map(|driver| driver.spec.as_ref())
    }

    /// What the driver of `scheme` says about itself.
    pub fn spec(&self, scheme: &str) -> Option<&DriverSpec> {
        self.specs().find(|spec| spec.scheme == scheme)
    }
}

impl fmt::Debug for RelayRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.schemes()).finish()
    }
}

#[cfg(all(test, feature = "testkit", feature = "simulated"))]
mod tests {
    use super::*;
    use crate::driver_spec::conformance;
    use godvision_core::SystemClock;

    fn registry() -> RelayRegistry {
        RelayRegistry::standard(SystemClock::shared())
    }

    #[test]
    fn drivers_are_found_by_scheme() {
        let registry = registry();
        let driver = |url: &str| registry.open(&url.into()).map(|relay| relay.capabilities().driver);
        assert_eq!(driver("shelly://192.168.1.20").unwrap(), "shelly-gen2");
        assert_eq!(driver("simulated://").unwrap(), "simulated");
        let unknown = driver("gopher://x").unwrap_err().to_string();
        assert!(unknown.starts_with("there is no relay driver \"gopher\"; known are: shelly, "), "{unknown}");
    }

    #[test]
    fn errors_of_addresses_do_not_repeat_them() {
        let registry = registry();
        for url in [
            "shelly://admin:hunter2@",
            "shelly://admin:hunter2@host/?channels=hunter2",
            "shelly:hunter2",
            "hunter2",
            "tasmota://a:hunter2@h/?port=hunter2",
            "sr201://a:hunter2@h/",
            "laurent://:hunter2@h/?pulse=hunter2",
            "tasmota://h/?tasmota://a:hunter2@h/",
            "sr201://h/?hunter2",
        ] {
            let error = registry.open(&url.into()).err().expect(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn one_address_is_one_device() {
        let registry = registry();
        let open = |url: &str| registry.open(&url.into()).unwrap();
        let first = open("sr201://192.168.1.100/?channels=2");
        assert!(Arc::ptr_eq(&first, &open("sr201://192.168.1.100?channels=2")));
        assert!(!Arc::ptr_eq(&first, &open("sr201://192.168.1.101/?channels=2")));
        assert!(!Arc::ptr_eq(&open("simulated://"), &open("simulated://")), "no host, no device in particular");
        let gone = Arc::downgrade(&first);
        drop(first);
        assert!(gone.upgrade().is_none(), "the registry holds nobody");
        open("sr201://192.168.1.100/?channels=2");
        assert!(registry.in_use.lock().unwrap().len() <= 2, "devices nobody holds are forgotten");
    }

    #[test]
    fn every_driver_is_described_and_every_form_makes_an_address_that_opens() {
        let registry = registry();
        let opens = |address: &DeviceAddress| {
            registry.open(&address.to_url()).map(|relay| assert!(relay.capabilities().channels >= 1))
        };
        assert!(registry.schemes().all(|scheme| registry.spec(scheme).is_some()));
        for spec in registry.specs() {
            conformance::a_form_makes_an_address_that_opens(spec, &opens);
            assert!(spec.pulse.is_some(), "{} is a relay", spec.scheme);
            let source = match spec.scheme {
                "shelly" => include_str!("shelly.rs"),
                "shelly1" => include_str!("shelly1.rs"),
                "tasmota" => include_str!("tasmota.rs"),
                "sonoff" => include_str!("sonoff.rs"),
                "dingtian" => include_str!("dingtian.rs"),
                "sr201" => include_str!("sr201.rs"),
                "laurent" => include_str!("laurent.rs"),
                "kmtronic" => include_str!("kmtronic.rs"),
                "template" => include_str!("template.rs"),
                "simulated" => include_str!("simulated.rs"),
                "modbus+tcp" | "modbus+rtutcp" | "modbus+rtu" => include_str!("modbus/mod.rs"),
                "mqtt" | "tasmota+mqtt" | "zigbee2mqtt" => include_str!("mqtt/mod.rs"),
                "onvif" => include_str!("onvif/mod.rs"),
                "gpio" => include_str!("gpio.rs"),
                "esphome" => include_str!("esphome/mod.rs"),
                "usr-r16" => include_str!("usr_r16.rs"),
                other => panic!("which module is {other}?"),
            };
            conformance::the_notes_are_those_of_the_module(spec, source);
        }
    }
}
