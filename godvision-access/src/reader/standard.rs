//! The drivers of this crate: their addresses and what they are made of.

use std::sync::Arc;

use godvision_core::Clock;
use godvision_core::driver::reader::Reader;

use super::ReaderRegistry;
use super::bridge::{self, BridgeOptions, BridgeWire};
use super::indication::Profile;
use super::lines::LineWire;
use super::link::Link;
use super::soft::SoftReaders;
use super::specs;
use super::stream::StreamReader;
use super::wedge::{Digits, NumberForm};
use super::wiegand::Formats;
use super::wire::Wire;
use crate::address::DeviceAddress;
use crate::driver_spec::DriverSpec;
use crate::error::Error;

/// What stands before the query: a network address or a serial port.
fn link(spec: &DriverSpec, address: &DeviceAddress) -> Link {
    match address.host.is_empty() {
        #[cfg(feature = "serial")]
        true => Link::Serial { path: address.path.clone(), baud: spec.number(address, "baud") },
        _ => Link::Tcp(spec.authority(address)),
    }
}

impl ReaderRegistry {
    /// The drivers of this crate that are compiled in. They read `clock`.
    pub fn standard(clock: Arc<dyn Clock>) -> Self {
        Self::standard_with(clock, SoftReaders::default())
    }

    /// The drivers of this crate that are compiled in, and `soft` behind `soft://NAME`.
    pub fn standard_with(clock: Arc<dyn Clock>, soft: SoftReaders) -> Self {
        let registry = Self::new()
            .with_bridge("keypad", specs::KEYPAD_TCP, &clock)
            .with_bridge("wiegand", specs::WIEGAND_TCP, &clock)
            .with_lines(specs::LINES_TCP, &clock);
        #[cfg(feature = "osdp")]
        let registry = registry.with_osdp(specs::OSDP_TCP, &clock);
        #[cfg(feature = "serial")]
        let registry = registry
            .with_bridge("keypad", specs::KEYPAD, &clock)
            .with_bridge("wiegand", specs::WIEGAND, &clock)
            .with_lines(specs::LINES, &clock);
        #[cfg(all(feature = "serial", feature = "osdp"))]
        let registry = registry.with_osdp(specs::OSDP, &clock);
        #[cfg(all(feature = "evdev", target_os = "linux"))]
        let registry = registry.with_wedge(&clock);
        #[cfg(all(feature = "wiegand-gpio", target_os = "linux"))]
        let registry = registry.with_wires(&clock);
        registry.with(specs::SOFT, move |address| Ok(Box::new(soft.reader(&address.host)?)))
    }

    fn with_bridge(self, driver: &'static str, spec: DriverSpec, clock: &Arc<dyn Clock>) -> Self {
        let clock = Arc::clone(clock);
        self.with(spec.clone(), move |address| {
            let said = |key| spec.text(address, key).map(|text| text.expose().to_owned()).unwrap_or_default();
            let profile = match said("lamps").as_str() {
                "red-green" => Profile::FULL,
                "green" => Profile::GREEN_LINE,
                _ => Profile { has_red: false, has_green: false, has_sounder: false },
            };
            let formats = if said("raw") == "yes" { Formats::Raw } else { Formats::Checked };
            let channels = spec.channels(address).min(bridge::CHANNELS_MAX);
            let wire = BridgeWire::new(driver, BridgeOptions { channels, formats, profile });
            opened(wire, link(&spec, address), &clock)
        })
    }

    fn with_lines(self, spec: DriverSpec, clock: &Arc<dyn Clock>) -> Self {
        let clock = Arc::clone(clock);
        self.with(spec.clone(), move |address| {
            opened(LineWire::new(form(&spec, address)?), link(&spec, address), &clock)
        })
    }

    #[cfg(feature = "osdp")]
    fn with_osdp(self, spec: DriverSpec, clock: &Arc<dyn Clock>) -> Self {
        use super::osdp::{OsdpBus, OsdpInstall, OsdpKey, OsdpOptions, OsdpWire};
        let clock = Arc::clone(clock);
        self.with(spec.clone(), move |address| {
            let narrow = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
            let input = |key| address.value(key).map(|_| narrow(spec.number(address, key)));
            let bad_key = Error::BadDeviceUrl { detail: "the key of an OSDP reader is 32 hexadecimal digits" };
            let options = OsdpOptions {
                address: 0,
                key: match &address.password {
                    Some(key) => Some(OsdpKey::from_hex(key).ok_or(bad_key)?),
                    None => None,
                },
                readers: narrow(spec.number(address, "readers")),
                contact: input("contact"),
                exit: input("exit"),
                digits: digits(&spec, address)?,
            };
            let random = || {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes).ok().map(|()| bytes)
            };
            let wire = |address| OsdpWire::new(OsdpOptions { address, ..options.clone() }, Box::new(random));
            let link = link(&spec, address);
            if options.key.as_ref().is_some_and(OsdpKey::is_default) {
                return Err(Error::BadDeviceUrl { detail: "this is the default key, which everybody knows" });
            }
            if address.value("install") == Some("yes") {
                let detail = "install=yes gives one device the key that stands in the address";
                let addresses = spec.numbers(address, "address");
                let (Some(key), [one]) = (options.key, addresses.as_slice()) else {
                    return Err(Error::BadDeviceUrl { detail });
                };
                let install = OsdpInstall::new(narrow(*one), key, Box::new(random));
                return opened(install.ok_or(Error::BadDeviceUrl { detail })?, link, &clock);
            }
            match *spec.numbers(address, "address").as_slice() {
                [one] => opened(wire(narrow(one)), link, &clock),
                ref many => opened(OsdpBus::new(many.iter().map(|one| wire(narrow(*one))).collect()), link, &clock),
            }
        })
    }

    #[cfg(all(feature = "evdev", target_os = "linux"))]
    fn with_wedge(self, clock: &Arc<dyn Clock>) -> Self {
        let clock = Arc::clone(clock);
        self.with(specs::WEDGE, move |address| {
            let link = Link::Input { path: address.path.clone() };
            opened(super::lines::KeysWire::new(form(&specs::WEDGE, address)?), link, &clock)
        })
    }
}

#[cfg(all(feature = "wiegand-gpio", target_os = "linux"))]
impl ReaderRegistry {
    fn with_wires(self, clock: &Arc<dyn Clock>) -> Self {
        use super::gpio_wires::{GpioWires, GpioWiresOptions};
        let clock = Arc::clone(clock);
        let spec = specs::WIEGAND_GPIO;
        self.with(spec.clone(), move |address| {
            let line = |key| address.value(key).map(|_| spec.number(address, key));
            let (data0, data1) = (spec.number(address, "data0"), spec.number(address, "data1"));
            let lamps = [line("red"), line("green"), line("beep")];
            let all: Vec<u32> = [Some(data0), Some(data1)].into_iter().chain(lamps).flatten().collect();
            if all.iter().enumerate().any(|(at, line)| all.iter().take(at).any(|other| other == line)) {
                return Err(Error::BadDeviceUrl { detail: "a line stands there twice" });
            }
            let [has_red, has_green, has_sounder] = lamps.map(|line| line.is_some());
            let formats = if address.value("raw") == Some("yes") { Formats::Raw } else { Formats::Checked };
            let profile = Profile { has_red, has_green, has_sounder };
            let wire = BridgeWire::new("wiegand", BridgeOptions { channels: 1, formats, profile });
            let lamps_are_active_low = address.value("active") != Some("high");
            let options = GpioWiresOptions { chip: address.path.clone(), data0, data1, lamps, lamps_are_active_low };
            let chip = options.chip.clone();
            let connect = super::bits::connector(move || GpioWires::open(&options));
            Ok(Box::new(StreamReader::over(wire, chip, connect, Arc::clone(&clock))))
        })
    }
}

fn opened(wire: impl Wire + 'static, link: Link, clock: &Arc<dyn Clock>) -> Result<Box<dyn Reader>, Error> {
    Ok(Box::new(StreamReader::new(wire, link, Arc::clone(clock))))
}

fn form(spec: &DriverSpec, address: &DeviceAddress) -> Result<NumberForm, Error> {
    let length = address.value("length").and_then(|_| u8::try_from(spec.number(address, "length")).ok());
    Ok(NumberForm { digits: digits(spec, address)?, length })
}

fn digits(spec: &DriverSpec, address: &DeviceAddress) -> Result<Digits, Error> {
    let name = spec.text(address, "digits");
    let digits = name.and_then(|name| Digits::from_name(name.expose()));
    digits.ok_or(Error::BadDeviceUrl { detail: "digits= is hex, decimal, facility26, facility34 or facility37" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::SystemClock;

    fn registry() -> ReaderRegistry {
        ReaderRegistry::standard(SystemClock::shared())
    }

    #[test]
    fn drivers_are_found_by_scheme() {
        let opened = |url: &str| {
            let reader = registry().open(&url.into()).map_err(|error| error.to_string())?;
            Ok::<_, String>((reader.capabilities().driver, reader.capabilities().channels))
        };
        assert_eq!(opened("keypad+tcp://10.0.0.7"), Ok(("keypad", 8)));
        assert_eq!(opened("wiegand+tcp://10.0.0.7:9000/?channels=2&raw=yes"), Ok(("wiegand", 2)));
        assert_eq!(opened("lines+tcp://10.0.0.7/?digits=facility26"), Ok(("lines", 1)));
        assert_eq!(opened("lines+tcp://10.0.0.7/?digits=decimal&length=10"), Ok(("lines", 1)));
        assert_eq!(opened("soft://hall"), Ok(("soft", 1)));
        #[cfg(feature = "osdp")]
        assert_eq!(
            opened("osdp+tcp://:000102030405060708090A0B0C0D0E0F@10.0.0.7/?address=5&contact=0"),
            Ok(("osdp", 1))
        );
        #[cfg(feature = "osdp")]
        assert_eq!(opened("osdp+tcp://10.0.0.7/?address=1,2,3&readers=2"), Ok(("osdp", 6)));
        #[cfg(feature = "serial")]
        assert_eq!(opened("keypad:///dev/ttyUSB0?baud=115200"), Ok(("keypad", 8)));
        assert!(opened("gopher://x").unwrap_err().starts_with("there is no reader driver \"gopher\"; known are: "));
    }

    #[test]
    fn errors_of_addresses_do_not_repeat_them() {
        for url in [
            "keypad+tcp://",
            "keypad+tcp://x?channels=hunter2",
            "keypad+tcp://x?hunter2=1",
            "keypad+tcp://x?lamps=hunter2",
            "keypad+tcp://x?raw=hunter2",
            "lines+tcp://x?digits=hunter2",
            "lines+tcp://x?length=hunter2",
            "lines+tcp://x?length=41",
            "soft://",
            "hunter2",
            #[cfg(feature = "osdp")]
            "osdp+tcp://:hunter2@x",
            #[cfg(feature = "osdp")]
            "osdp+tcp://:303132333435363738393A3B3C3D3E3F@x",
            #[cfg(feature = "osdp")]
            "osdp+tcp://x?install=yes",
            #[cfg(feature = "osdp")]
            "osdp+tcp://:000102030405060708090A0B0C0D0E0F@x?install=yes&address=1,2",
            #[cfg(feature = "osdp")]
            "osdp+tcp://x?address=hunter2",
            #[cfg(feature = "osdp")]
            "osdp+tcp://x?address=1,1",
            #[cfg(feature = "osdp")]
            "osdp+tcp://x?contact=hunter2",
            #[cfg(feature = "serial")]
            "lines://hunter2",
        ] {
            let error = registry().open(&url.into()).err().expect(url);
            let said = format!("{error} {error:?}");
            assert!(
                !said.contains("hunter2") && !said.contains("3031323334") && !said.contains("0001020304"),
                "{said}"
            );
        }
    }

    #[test]
    fn every_driver_is_described_and_every_form_makes_an_address_that_opens() {
        let registry = registry();
        let opens = |address: &DeviceAddress| registry.open(&address.to_url()).map(drop);
        for spec in registry.specs() {
            crate::driver_spec::conformance::a_form_makes_an_address_that_opens(spec, &opens);
            assert_eq!(spec.pulse, None, "{} is a reader", spec.scheme);
            let source = match spec.scheme {
                "keypad" | "keypad+tcp" | "wiegand" | "wiegand+tcp" => include_str!("bridge.rs"),
                "lines" | "lines+tcp" => include_str!("lines.rs"),
                "osdp" | "osdp+tcp" => include_str!("osdp/mod.rs"),
                "wedge" => include_str!("input_device.rs"),
                "wiegand+gpio" => include_str!("gpio_wires.rs"),
                "soft" => include_str!("soft.rs"),
                other => panic!("which module is {other}?"),
            };
            crate::driver_spec::conformance::the_notes_are_those_of_the_module(spec, source);
        }
    }
}
