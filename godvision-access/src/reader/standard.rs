//! The drivers of this crate: their addresses and what they are made of.

use std::sync::Arc;

use godvision_core::Clock;
use godvision_core::driver::reader::Reader;

use super::ReaderRegistry;
use super::address::{DriverSpec, FieldKind, FieldSpec, Part, ReaderAddress};
use super::bridge::{self, BridgeOptions, BridgeWire};
use super::indication::Profile;
use super::lines::LineWire;
use super::link::Link;
use super::soft::SoftReaders;
use super::stream::StreamReader;
use super::wedge::{Digits, LINE_CHARS_MAX, NumberForm};
use super::wiegand::Formats;
use super::wire::Wire;
use crate::error::Error;

/// The port of a bridge when none is given: the first of common serial device servers.
pub const BRIDGE_PORT: u16 = 4001;

const DIGITS: &[&str] = &["hex", "decimal", "facility26", "facility34", "facility37"];

const HOST: FieldSpec = FieldSpec {
    name: "host",
    part: Part::Host,
    kind: FieldKind::Text,
    required: true,
    default: None,
    about: "its name or address in the network",
};
const PORT: FieldSpec = FieldSpec {
    name: "port",
    part: Part::Port,
    kind: FieldKind::Integer { min: 1, max: 65535 },
    required: false,
    default: Some("4001"),
    about: "its TCP port",
};
#[cfg(any(feature = "serial", feature = "evdev"))]
const PATH: FieldSpec = FieldSpec {
    name: "path",
    part: Part::Path,
    kind: FieldKind::Text,
    required: true,
    default: None,
    about: "its device file: /dev/serial/by-id/..., /dev/input/by-id/...",
};
#[cfg(feature = "serial")]
const BAUD: FieldSpec =
    FieldSpec::optional("baud", FieldKind::Integer { min: 300, max: 1_000_000 }, Some("9600"), "bits a second");
#[cfg(feature = "osdp")]
const KEY: FieldSpec = FieldSpec {
    name: "key",
    part: Part::Password,
    kind: FieldKind::Secret,
    required: false,
    default: None,
    about: "the key of its secure channel, 32 hexadecimal digits; without one everything passes in clear",
};

/// What stands before the query: a network address or a serial port.
#[derive(Clone, Copy)]
enum Place {
    Tcp,
    #[cfg(feature = "serial")]
    Serial,
}

impl Place {
    fn fields(self) -> Vec<FieldSpec> {
        match self {
            Self::Tcp => vec![HOST, PORT],
            #[cfg(feature = "serial")]
            Self::Serial => vec![PATH, BAUD],
        }
    }

    fn link(self, address: &ReaderAddress) -> Result<Link, Error> {
        match self {
            Self::Tcp => Ok(Link::Tcp(address.host_port(BRIDGE_PORT)?)),
            #[cfg(feature = "serial")]
            Self::Serial => {
                let path = address.device_path()?.to_owned();
                let baud = address.number("baud", 300..=1_000_000, 9600, "baud= is a number from 300 to 1000000")?;
                Ok(Link::Serial { path, baud })
            }
        }
    }
}

fn spec(scheme: &'static str, about: &'static str, place: Place, more: &[FieldSpec]) -> DriverSpec {
    let mut fields = place.fields();
    fields.extend_from_slice(more);
    DriverSpec { scheme, about, fields }
}

impl ReaderRegistry {
    /// The drivers of this crate that are compiled in. They read `clock`.
    pub fn standard(clock: Arc<dyn Clock>) -> Self {
        Self::standard_with(clock, SoftReaders::default())
    }

    /// The drivers of this crate that are compiled in, and `soft` behind `soft://NAME`.
    pub fn standard_with(clock: Arc<dyn Clock>, soft: SoftReaders) -> Self {
        let mut registry = Self::new();
        for (is_serial, place) in places() {
            let scheme = |serial, tcp| if is_serial { serial } else { tcp };
            registry = registry
                .with_bridge(scheme("keypad", "keypad+tcp"), KEYPAD, place, &clock)
                .with_bridge(scheme("wiegand", "wiegand+tcp"), WIEGAND, place, &clock)
                .with_lines(scheme("lines", "lines+tcp"), place, &clock);
            #[cfg(feature = "osdp")]
            {
                registry = registry.with_osdp(scheme("osdp", "osdp+tcp"), place, &clock);
            }
        }
        #[cfg(all(feature = "evdev", target_os = "linux"))]
        {
            registry = registry.with_wedge(&clock);
        }
        registry.with_soft(soft)
    }

    fn with_bridge(self, scheme: &'static str, kind: Bridge, place: Place, clock: &Arc<dyn Clock>) -> Self {
        let clock = Arc::clone(clock);
        let fields = [
            FieldSpec::optional(
                "channels",
                FieldKind::Integer { min: 1, max: bridge::CHANNELS_MAX as u32 },
                Some(kind.channels_text),
                "its channels",
            ),
            FieldSpec::optional(
                "lamps",
                FieldKind::Choice(&["red-green", "green", "none"]),
                Some(kind.lamps),
                "two lamps, a line that turns red to green, or nothing",
            ),
            FieldSpec::optional(
                "raw",
                FieldKind::Choice(&["no", "yes"]),
                Some("no"),
                "whether Wiegand messages of odd lengths are cards",
            ),
        ];
        self.with(spec(scheme, kind.about, place, &fields), move |address| {
            let range = 1..=bridge::CHANNELS_MAX;
            let channels = address.number("channels", range, kind.channels, "channels= is a number from 1 to 64")?;
            let profile = match address.value("lamps").unwrap_or(kind.lamps) {
                "red-green" => Profile::FULL,
                "green" => Profile::GREEN_LINE,
                "none" => Profile { has_red: false, has_green: false, has_sounder: false },
                _ => return Err(Error::BadReaderUrl { detail: "lamps= is red-green, green or none" }),
            };
            let formats = match address.value("raw") {
                None | Some("no") => Formats::Checked,
                Some("yes") => Formats::Raw,
                Some(_) => return Err(Error::BadReaderUrl { detail: "raw= is yes or no" }),
            };
            let wire = BridgeWire::new(kind.driver, BridgeOptions { channels, formats, profile });
            opened(wire, place.link(address)?, &clock)
        })
    }

    fn with_lines(self, scheme: &'static str, place: Place, clock: &Arc<dyn Clock>) -> Self {
        let clock = Arc::clone(clock);
        let about = "a card reader that writes a number in each line; shows nothing";
        self.with(spec(scheme, about, place, &[digits_field(), LENGTH]), move |address| {
            opened(LineWire::new(form(address)?), place.link(address)?, &clock)
        })
    }

    #[cfg(feature = "osdp")]
    fn with_osdp(self, scheme: &'static str, place: Place, clock: &Arc<dyn Clock>) -> Self {
        use super::osdp::{OsdpBus, OsdpKey, OsdpOptions, OsdpWire};
        let clock = Arc::clone(clock);
        let input = |name, about| FieldSpec::optional(name, FieldKind::Integer { min: 0, max: 31 }, None, about);
        let fields = [
            KEY,
            FieldSpec::optional(
                "address",
                FieldKind::Text,
                Some("0"),
                "its address on the line, 0 to 126; of several devices with commas between them",
            ),
            FieldSpec::optional(
                "readers",
                FieldKind::Integer { min: 1, max: 8 },
                Some("1"),
                "readers of each device, each a channel",
            ),
            input("contact", "which of its inputs is the contact in the frame"),
            input("exit", "which of its inputs is the button to get out"),
            digits_field(),
        ];
        let about = "OSDP v2 readers: lamp, sounder, inputs, with a key encrypted and proven";
        self.with(spec(scheme, about, place, &fields), move |address| {
            let input = |name, detail| match address.value(name) {
                None => Ok(None),
                Some(_) => address.number(name, 0..=31, 0, detail).map(Some),
            };
            let bad_key = Error::BadReaderUrl { detail: "the key of an OSDP reader is 32 hexadecimal digits" };
            let options = OsdpOptions {
                address: 0,
                key: match &address.password {
                    Some(key) => Some(OsdpKey::from_hex(key).ok_or(bad_key)?),
                    None => None,
                },
                readers: address.number("readers", 1..=8, 1, "readers= is a number from 1 to 8")?,
                contact: input("contact", "contact= is a number from 0 to 31")?,
                exit: input("exit", "exit= is a number from 0 to 31")?,
                digits: digits(address)?,
            };
            let random = || {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes).ok().map(|()| bytes)
            };
            let wire = |address| OsdpWire::new(OsdpOptions { address, ..options.clone() }, Box::new(random));
            let link = place.link(address)?;
            match *osdp_addresses(address.value("address").unwrap_or("0"))?.as_slice() {
                [one] => opened(wire(one), link, &clock),
                ref many => opened(OsdpBus::new(many.iter().map(|one| wire(*one)).collect()), link, &clock),
            }
        })
    }

    #[cfg(all(feature = "evdev", target_os = "linux"))]
    fn with_wedge(self, clock: &Arc<dyn Clock>) -> Self {
        let clock = Arc::clone(clock);
        let about = "a card reader that types as a keyboard does; it is taken for the doors alone; shows nothing";
        let spec = DriverSpec { scheme: "wedge", about, fields: vec![PATH, digits_field(), LENGTH] };
        self.with(spec, move |address| {
            let link = Link::Input { path: address.device_path()?.to_owned() };
            opened(super::lines::KeysWire::new(form(address)?), link, &clock)
        })
    }

    fn with_soft(self, soft: SoftReaders) -> Self {
        let about = "a reader of the application itself: a page, a messenger";
        self.with(DriverSpec { scheme: "soft", about, fields: vec![HOST] }, move |address| {
            if address.host.is_empty() {
                return Err(Error::BadReaderUrl { detail: "write its name behind ://" });
            }
            Ok(Box::new(soft.reader(&address.host)?))
        })
    }
}

/// Addresses with commas between them, each once.
#[cfg(feature = "osdp")]
fn osdp_addresses(text: &str) -> Result<Vec<u8>, Error> {
    use super::osdp::{DEVICES_MAX, frame::ADDRESS_MAX};
    let detail = "address= is a number from 0 to 126, or up to 16 of them with commas between them";
    let mut addresses = Vec::new();
    for word in text.split(',') {
        let address = word.parse().ok().filter(|address| *address <= ADDRESS_MAX && !addresses.contains(address));
        addresses.push(address.ok_or(Error::BadReaderUrl { detail })?);
    }
    if addresses.len() > DEVICES_MAX { Err(Error::BadReaderUrl { detail }) } else { Ok(addresses) }
}

/// What differs between the two bridges.
#[derive(Clone, Copy)]
struct Bridge {
    driver: &'static str,
    about: &'static str,
    channels: u8,
    channels_text: &'static str,
    lamps: &'static str,
}

const KEYPAD: Bridge = Bridge {
    driver: "keypad",
    about: "up to 64 PIN keypads behind a bridge, eight by default",
    channels: 8,
    channels_text: "8",
    lamps: "red-green",
};
const WIEGAND: Bridge = Bridge {
    driver: "wiegand",
    about: "Wiegand readers behind a bridge: cards of 26, 34 and 37 bits, keypads",
    channels: 1,
    channels_text: "1",
    lamps: "green",
};

/// Serial or not, and the place.
fn places() -> Vec<(bool, Place)> {
    vec![
        (false, Place::Tcp),
        #[cfg(feature = "serial")]
        (true, Place::Serial),
    ]
}

fn opened(wire: impl Wire + 'static, link: Link, clock: &Arc<dyn Clock>) -> Result<Box<dyn Reader>, Error> {
    Ok(Box::new(StreamReader::new(wire, link, Arc::clone(clock))))
}

fn digits_field() -> FieldSpec {
    FieldSpec::optional("digits", FieldKind::Choice(DIGITS), Some("hex"), "how it writes the number of a card")
}

const LENGTH: FieldSpec = FieldSpec::optional(
    "length",
    FieldKind::Integer { min: 1, max: LINE_CHARS_MAX as u32 },
    None,
    "how many characters a number always has: one that has lost some is then no card",
);

fn form(address: &ReaderAddress) -> Result<NumberForm, Error> {
    let length = match address.value("length") {
        None => None,
        Some(_) => Some(address.number("length", 1..=LINE_CHARS_MAX as u8, 1, "length= is a number from 1 to 40")?),
    };
    Ok(NumberForm { digits: digits(address)?, length })
}

fn digits(address: &ReaderAddress) -> Result<Digits, Error> {
    let detail = "digits= is hex, decimal, facility26, facility34 or facility37";
    Digits::from_name(address.value("digits").unwrap_or("hex")).ok_or(Error::BadReaderUrl { detail })
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
            "osdp+tcp://x?address=hunter2",
            #[cfg(feature = "osdp")]
            "osdp+tcp://x?address=1,1",
            #[cfg(feature = "osdp")]
            "osdp+tcp://x?contact=hunter2",
            #[cfg(feature = "serial")]
            "lines://hunter2",
        ] {
            let error = registry().open(&url.into()).err().expect(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_form_made_of_the_fields_makes_an_address_that_opens() {
        for spec in registry().specs() {
            let mut url = format!("{}://", spec.scheme);
            let has = |part| spec.fields.iter().any(|field| field.part == part);
            url += if has(Part::Path) { "/dev/x" } else { "x" };
            let query = spec.fields.iter().filter(|field| field.part == Part::Query);
            let pairs: Vec<_> = query.filter_map(|field| Some(format!("{}={}", field.name, field.default?))).collect();
            let url = format!("{url}?{}", pairs.join("&"));
            assert!(registry().open(&url.as_str().into()).is_ok(), "{url}");
        }
    }
}
