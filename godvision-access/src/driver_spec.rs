//! [`DriverSpec`]: what the driver of a relay or a reader is and what its address holds, as data: a program makes a form of
//! it, checks what was filled in and builds the address.
//!
//! ```
//! # #[cfg(feature = "tasmota")] {
//! use godvision_access::relay::{RelayRegistry, spec::FieldKind};
//! use godvision_core::{Secret, SystemClock};
//!
//! let registry = RelayRegistry::standard(SystemClock::shared());
//! let spec = registry.spec("tasmota").ok_or("not compiled in")?;
//! for field in spec.fields {
//!     println!("{} ({:?}), default {:?}: {}", field.key, field.kind, field.default, field.about);
//! }
//! let filled_in = [("host", "192.168.1.20".into()), ("password", Secret::from("a/b c")), ("channels", "2".into())];
//! let address = spec.address(filled_in)?;
//! assert_eq!(address.to_url().expose(), "tasmota://:a%2Fb%20c@192.168.1.20?channels=2");
//! assert_eq!(address.field("channels"), Some("2".into())); // and back, to fill the form in again
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Never:** HTML, words for one language only a page can know (a page may replace `about`).

use godvision_core::Secret;

use crate::address::DeviceAddress;
use crate::error::Error;

/// A driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverSpec {
    /// The scheme of its addresses.
    pub scheme: &'static str,
    /// The devices, as their makers call them.
    pub title: &'static str,
    /// What to know before wiring one, in a sentence or two.
    pub about: &'static str,
    /// What its address holds, in the order of a form.
    pub fields: &'static [AddressField],
    /// Who ends a pulse of a relay; `None`: it is a reader.
    pub pulse: Option<PulseEnd>,
    /// What the driver was written and tried against.
    pub verified: Verified,
    /// What the driver assumes of the device and nobody has tried, as in the documentation of its module.
    pub unverified: &'static [&'static str],
}

/// Who ends a pulse, before a device is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PulseEnd {
    /// The device: it ends though the link is lost.
    Device,
    /// This program: a lost link leaves the contact on until it is back.
    Host,
    /// What the address says (field `pulse`, or a template with or without one).
    ByAddress,
}

/// What a driver was written and tried against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verified {
    /// The source of several clients that agree; no document of the maker was found.
    ClientsOnly,
    /// The maker's documents, and a fake written from them.
    Documents,
    /// A device.
    Device,
}

/// One part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressField {
    /// `host`, `port`, `user`, `password`, `path`, or the name of a value behind the `?`.
    pub key: &'static str,
    /// What may stand there.
    pub kind: FieldKind,
    /// Whether an address without it is refused.
    pub required: bool,
    /// What holds when it is left out.
    pub default: Option<&'static str>,
    /// What somebody might write there.
    pub example: Option<&'static str>,
    /// What it is, with its unit.
    pub about: &'static str,
}

/// What may stand in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A host name or an address; IPv6 in brackets.
    Host,
    /// A whole number, bounds included.
    Number {
        /// Least.
        min: u32,
        /// Most.
        max: u32,
    },
    /// Any text.
    Text,
    /// A text that is not shown.
    Password,
    /// One of these.
    Choice(&'static [&'static str]),
    /// Whole numbers with commas between them, each once, bounds included.
    Numbers {
        /// Least.
        min: u32,
        /// Most.
        max: u32,
        /// How many there may be.
        count_max: usize,
    },
    /// Names as the device has them, with commas between them.
    Names {
        /// How many there may be.
        count_max: usize,
    },
}

impl AddressField {
    /// The device's host; required.
    pub const HOST: Self = Self::text("host", "the device's name or address in the network")
        .of(FieldKind::Host)
        .required()
        .example("192.168.1.20");
    /// How long a step of a command may take.
    pub const TIMEOUT_MS: Self = Self::timeout_ms("2000");
    /// The password; not required.
    pub const PASSWORD: Self = Self::secret("the device's password, if it has one");

    /// A text that may be left out.
    pub const fn text(key: &'static str, about: &'static str) -> Self {
        Self { key, kind: FieldKind::Text, required: false, default: None, example: None, about }
    }

    /// What stands where a password does; not required.
    pub const fn secret(about: &'static str) -> Self {
        Self::text("password", about).of(FieldKind::Password)
    }

    /// Holding another kind.
    #[must_use]
    pub const fn of(mut self, kind: FieldKind) -> Self {
        self.kind = kind;
        self
    }

    /// That must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// That is `default` when it is left out.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// That might be `example`.
    #[must_use]
    pub const fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    /// Described by `about`.
    #[must_use]
    pub const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// How long a step of a command may take.
    pub const fn timeout_ms(default: &'static str) -> Self {
        Self::number("timeout_ms", 50, 10_000, default, "how long to wait for the device, in milliseconds")
    }

    /// The port of the device.
    pub const fn port(default: &'static str) -> Self {
        Self::number("port", 1, 65_535, default, "the port the device listens at")
    }

    /// The user name.
    pub const fn user(default: &'static str) -> Self {
        Self::text("user", "the user name that belongs to the password").or(default)
    }

    /// How many relays the device has.
    pub const fn channels(max: u32, default: &'static str) -> Self {
        Self::number("channels", 1, max, default, "how many relays the device has")
    }

    /// How many inputs the device has.
    pub const fn inputs(max: u32) -> Self {
        Self::number("inputs", 0, max, "0", "how many inputs (door contacts, buttons) are wired")
    }

    /// A number behind the `?`.
    pub const fn number(key: &'static str, min: u32, max: u32, default: &'static str, about: &'static str) -> Self {
        Self::text(key, about).of(FieldKind::Number { min, max }).or(default)
    }

    /// A choice behind the `?`; the first is the default.
    pub const fn choice(key: &'static str, choices: &'static [&'static str], about: &'static str) -> Self {
        Self { default: choices.first().copied(), ..Self::text(key, about).of(FieldKind::Choice(choices)) }
    }

    /// Checks a value that stands here.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`]; the value is not repeated.
    pub fn check(&self, value: &str) -> Result<(), Error> {
        let expected = match self.kind {
            FieldKind::Number { min, max }
                if !value.parse::<u32>().is_ok_and(|number| (min..=max).contains(&number)) =>
            {
                format!("is a number from {min} to {max}")
            }
            FieldKind::Choice(choices) if !choices.contains(&value) => format!("is one of {}", choices.join(", ")),
            FieldKind::Numbers { min, max, count_max } if numbers(value, min, max, count_max).is_none() => {
                format!("is numbers from {min} to {max} with commas between them, each once, at most {count_max}")
            }
            FieldKind::Names { count_max } if names(value, count_max).is_none() => {
                format!("is names with commas between them, at most {count_max}")
            }
            FieldKind::Host if value.is_empty() => "is missing".to_owned(),
            FieldKind::Text | FieldKind::Password if self.required && value.is_empty() => "is missing".to_owned(),
            _ => return Ok(()),
        };
        Err(Error::BadDeviceField { field: self.key.to_owned(), expected })
    }
}

impl DriverSpec {
    /// Checks an address against the fields: every part known, those required present, numbers within bounds.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`]; no value is repeated.
    pub fn check(&self, address: &DeviceAddress) -> Result<(), Error> {
        let bad = |field: &str, expected: &str| {
            let field = field.chars().take(32).collect();
            Err(Error::BadDeviceField { field, expected: expected.to_owned() })
        };
        let known = |key: &str| self.fields.iter().any(|field| field.key == key);
        for key in ["host", "port", "user", "password", "path"] {
            if !known(key) && address.field(key).is_some() {
                return bad(key, "means nothing to this driver");
            }
        }
        for (at, (key, _)) in address.query.iter().enumerate() {
            if !known(key) || DeviceAddress::is_part(key) {
                // The name is not repeated: it may be a piece of another address, with its password.
                let known = self.fields.iter().map(|field| field.key).filter(|key| !DeviceAddress::is_part(key));
                let known = known.collect::<Vec<_>>().join(", ");
                return bad("a name behind the ?", &format!("means nothing to this driver; known are: {known}"));
            }
            if address.query.iter().take(at).any(|(earlier, _)| earlier == key) {
                return bad(key, "stands there twice");
            }
        }
        for field in self.fields {
            match address.field(field.key) {
                Some(value) => field.check(value.expose())?,
                None if field.required => return bad(field.key, "is missing"),
                None => {}
            }
        }
        Ok(())
    }

    /// An address of what was filled in; fields left empty are left out.
    ///
    /// # Errors
    /// As [`DriverSpec::check`].
    pub fn address<K: AsRef<str>>(
        &self,
        filled_in: impl IntoIterator<Item = (K, Secret)>,
    ) -> Result<DeviceAddress, Error> {
        let mut address = DeviceAddress::new(self.scheme);
        for (key, value) in filled_in {
            if !value.is_empty() {
                address = address.with(key.as_ref(), value)?;
            }
        }
        self.check(&address)?;
        // What cannot be written so that it reads the same is refused here, not at the next start.
        let read_back = DeviceAddress::parse(&address.to_url())?;
        if read_back != address {
            return Err(Error::BadDeviceUrl { detail: "a host is letters, digits, dots and hyphens" });
        }
        Ok(address)
    }

    /// The number in field `key`: as the address says, or the default; 0 without either.
    pub fn number(&self, address: &DeviceAddress, key: &str) -> u32 {
        self.text(address, key).and_then(|text| text.expose().parse().ok()).unwrap_or_default()
    }

    /// The text in field `key`: as the address says, or the default.
    pub fn text(&self, address: &DeviceAddress, key: &str) -> Option<Secret> {
        let default = || self.fields.iter().find(|field| field.key == key).and_then(|field| field.default);
        address.field(key).or_else(|| default().map(Secret::from))
    }

    /// The numbers in field `key`; none without it.
    pub fn numbers(&self, address: &DeviceAddress, key: &str) -> Vec<u32> {
        let text = self.text(address, key);
        text.and_then(|text| numbers(text.expose(), 0, u32::MAX, usize::MAX)).unwrap_or_default()
    }

    /// The names in field `key`; none without it.
    pub fn names(&self, address: &DeviceAddress, key: &str) -> Vec<String> {
        let text = self.text(address, key);
        text.and_then(|text| names(text.expose(), usize::MAX)).unwrap_or_default()
    }

    /// Host and port, the port as in [`DriverSpec::number`].
    pub fn authority(&self, address: &DeviceAddress) -> String {
        format!("{}:{}", address.host, self.number(address, "port"))
    }

    /// The field `channels`.
    pub fn channels(&self, address: &DeviceAddress) -> u8 {
        u8::try_from(self.number(address, "channels")).unwrap_or(u8::MAX).max(1)
    }

    /// The field `inputs`.
    pub fn inputs(&self, address: &DeviceAddress) -> u8 {
        u8::try_from(self.number(address, "inputs")).unwrap_or(u8::MAX)
    }

    /// The field `timeout_ms`.
    pub fn timeout(&self, address: &DeviceAddress) -> std::time::Duration {
        std::time::Duration::from_millis(self.number(address, "timeout_ms").into())
    }
}

fn numbers(text: &str, min: u32, max: u32, count_max: usize) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for word in text.split(',') {
        let number = word.parse().ok().filter(|number| (min..=max).contains(number) && !numbers.contains(number))?;
        numbers.push(number);
    }
    (numbers.len() <= count_max).then_some(numbers)
}

fn names(text: &str, count_max: usize) -> Option<Vec<String>> {
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    (names.len() <= count_max && !names.iter().any(String::is_empty)).then_some(names)
}

/// What the tests of both registries ask of each driver's description.
#[cfg(test)]
pub(crate) mod conformance {
    use super::*;

    /// Something that may stand in `field`.
    fn filled(spec: &DriverSpec, field: &AddressField) -> String {
        match (field.kind, spec.scheme) {
            (FieldKind::Host, _) => "device.local".to_owned(),
            // Numbers with an example are numbers of something: two of them may not be one.
            (FieldKind::Number { max, .. }, _) => field.example.map_or_else(|| max.to_string(), str::to_owned),
            (FieldKind::Choice(choices), _) => choices.last().unwrap().to_string(),
            (FieldKind::Password, "esphome") => "QRTI3u8Iub0YzvhNHh7Bci5a9/yV2q+EvJYgVQ0SXJY=".to_owned(),
            (FieldKind::Password, "osdp" | "osdp+tcp") => "0F0E0D0C0B0A09080706050403020100".to_owned(),
            (FieldKind::Password, _) => "p@ss:/?&=%".to_owned(),
            _ => field.example.or(field.default).unwrap().to_owned(),
        }
    }

    /// Every field can be filled in, is checked, and is needed exactly if it says so; the whole makes an address that
    /// opens, and so do the fields that must be given alone.
    pub(crate) fn a_form_makes_an_address_that_opens(
        spec: &DriverSpec,
        opens: &dyn Fn(&DeviceAddress) -> Result<(), Error>,
    ) {
        let scheme = spec.scheme;
        assert!(!spec.title.is_empty() && spec.about.ends_with('.'), "{scheme}");
        let form: Vec<_> = spec.fields.iter().map(|field| (field.key, Secret::new(filled(spec, field)))).collect();
        let address = spec.address(form.clone()).unwrap_or_else(|error| panic!("{scheme}: {error}"));
        opens(&address).unwrap_or_else(|error| panic!("{scheme}, all: {error}"));
        for (key, value) in &form {
            assert_eq!(address.field(key).as_ref(), Some(value), "{scheme} {key}");
        }
        let required = form.iter().filter(|(key, _)| spec.fields.iter().any(|it| it.required && it.key == *key));
        let least = spec.address(required.cloned()).unwrap_or_else(|error| panic!("{scheme}: {error}"));
        opens(&least).unwrap_or_else(|error| panic!("{scheme}, the least: {error}"));
        for field in spec.fields {
            assert!(!field.about.is_empty() && !field.about.ends_with('.'), "{scheme} {}", field.key);
            let without = spec.address(form.iter().filter(|(key, _)| *key != field.key).cloned());
            assert_eq!(without.is_err(), field.required, "{scheme} without {}", field.key);
            for value in field.default.iter().chain(&field.example) {
                field.check(value).unwrap_or_else(|error| panic!("{scheme}: {error}"));
            }
            let odd = match field.kind {
                FieldKind::Number { max, .. } => (u64::from(max) + 1).to_string(),
                FieldKind::Choice(_) => "odd".to_owned(),
                FieldKind::Numbers { max, .. } => format!("1,1,{max}"),
                FieldKind::Names { count_max } => vec!["a"; count_max + 1].join(","),
                FieldKind::Host | FieldKind::Text | FieldKind::Password => continue,
            };
            let refused = spec.address(form.iter().cloned().chain([(field.key, Secret::new(odd))]));
            assert!(refused.is_err(), "{scheme} with an odd {}", field.key);
        }
        let odd = form.into_iter().chain([("colour", Secret::from("red"))]);
        assert!(spec.address(odd).is_err(), "{scheme} with a field nobody knows");
    }

    /// `spec.unverified` is the paragraph "Not verified" of its module, word by word.
    pub(crate) fn the_notes_are_those_of_the_module(spec: &DriverSpec, source: &str) {
        let documentation: Vec<_> = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        let mut paragraphs = documentation.split(|line| line.is_empty()).map(|lines| lines.join(" ").replace('`', ""));
        let written = paragraphs.find_map(|text| text.strip_prefix("**Not verified:** ").map(str::to_owned));
        let notes = (!spec.unverified.is_empty()).then(|| format!("{}.", spec.unverified.join("; ")));
        assert_eq!(written, notes, "{}", spec.scheme);
        assert!(!documentation.join(" ").replace("**Not verified:**", "").to_lowercase().contains("not verified"));
        assert!(
            spec.verified != Verified::ClientsOnly || notes.is_some() || spec.scheme == "template",
            "{}",
            spec.scheme
        );
    }
}
