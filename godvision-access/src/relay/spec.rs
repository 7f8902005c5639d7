//! [`DriverSpec`]: what a driver is and what its address holds, as data: a program makes a form of it, checks what was
//! filled in and builds the address.
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

use super::address::RelayAddress;
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
    /// Who ends a pulse.
    pub pulse: PulseEnd,
    /// What the driver was written and tried against.
    pub verified: Verified,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressField {
    /// `host`, `port`, `user`, `password`, `path`, or the name of a value behind the `?`.
    pub key: &'static str,
    /// What may stand there.
    pub kind: FieldKind,
    /// Whether an address without it is refused.
    pub required: bool,
    /// What holds when it is left out.
    pub default: Option<&'static str>,
    /// What it is.
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
}

impl AddressField {
    /// The device's host; required.
    pub const HOST: Self = Self {
        key: "host",
        kind: FieldKind::Host,
        required: true,
        default: None,
        about: "the device's name or address in the network",
    };
    /// How long a step of a command may take.
    pub const TIMEOUT_MS: Self =
        Self::number("timeout_ms", 50, 10_000, "2000", "how long to wait for the device, in milliseconds");
    /// The password; not required.
    pub const PASSWORD: Self = Self {
        key: "password",
        kind: FieldKind::Password,
        required: false,
        default: None,
        about: "the device's password, if it has one",
    };

    /// The port of the device.
    pub const fn port(default: &'static str) -> Self {
        Self::number("port", 1, 65_535, default, "the port the device listens at")
    }

    /// The user name.
    pub const fn user(default: &'static str) -> Self {
        Self {
            key: "user",
            kind: FieldKind::Text,
            required: false,
            default: Some(default),
            about: "the user name that belongs to the password",
        }
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
        Self { key, kind: FieldKind::Number { min, max }, required: false, default: Some(default), about }
    }

    /// A choice behind the `?`; the first is the default.
    pub const fn choice(key: &'static str, choices: &'static [&'static str], about: &'static str) -> Self {
        let default = choices.first().copied();
        Self { key, kind: FieldKind::Choice(choices), required: false, default, about }
    }

    /// Checks a value that stands here.
    ///
    /// # Errors
    /// [`Error::BadRelayField`]; the value is not repeated.
    pub fn check(&self, value: &str) -> Result<(), Error> {
        let expected = match self.kind {
            FieldKind::Number { min, max }
                if !value.parse::<u32>().is_ok_and(|number| (min..=max).contains(&number)) =>
            {
                format!("is a number from {min} to {max}")
            }
            FieldKind::Choice(choices) if !choices.contains(&value) => format!("is one of {}", choices.join(", ")),
            FieldKind::Host if value.is_empty() => "is missing".to_owned(),
            FieldKind::Text | FieldKind::Password if self.required && value.is_empty() => "is missing".to_owned(),
            _ => return Ok(()),
        };
        Err(Error::BadRelayField { field: self.key.to_owned(), expected })
    }
}

impl DriverSpec {
    /// Checks an address against the fields: every part known, those required present, numbers within bounds.
    ///
    /// # Errors
    /// [`Error::BadRelayField`]; no value is repeated.
    pub fn check(&self, address: &RelayAddress) -> Result<(), Error> {
        let bad = |field: &str, expected: &str| {
            let field = field.chars().take(32).collect();
            Err(Error::BadRelayField { field, expected: expected.to_owned() })
        };
        let known = |key: &str| self.fields.iter().any(|field| field.key == key);
        for key in ["host", "port", "user", "password", "path"] {
            if !known(key) && address.field(key).is_some() {
                return bad(key, "means nothing to this driver");
            }
        }
        for (at, (key, _)) in address.query.iter().enumerate() {
            if !known(key) || RelayAddress::is_part(key) {
                // The name is not repeated: it may be a piece of another address, with its password.
                let known = self.fields.iter().map(|field| field.key).filter(|key| !RelayAddress::is_part(key));
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
    ) -> Result<RelayAddress, Error> {
        let mut address = RelayAddress::new(self.scheme);
        for (key, value) in filled_in {
            if !value.is_empty() {
                address = address.with(key.as_ref(), value)?;
            }
        }
        self.check(&address)?;
        // What cannot be written so that it reads the same is refused here, not at the next start.
        let read_back = RelayAddress::parse(&address.to_url())?;
        if read_back != address {
            return Err(Error::BadRelayUrl { detail: "a host is letters, digits, dots and hyphens" });
        }
        Ok(address)
    }

    /// The number in field `key`: as the address says, or the default; 0 without either.
    pub fn number(&self, address: &RelayAddress, key: &str) -> u32 {
        self.text(address, key).and_then(|text| text.expose().parse().ok()).unwrap_or_default()
    }

    /// The text in field `key`: as the address says, or the default.
    pub fn text(&self, address: &RelayAddress, key: &str) -> Option<Secret> {
        let default = || self.fields.iter().find(|field| field.key == key).and_then(|field| field.default);
        address.field(key).or_else(|| default().map(Secret::from))
    }

    /// Host and port, the port as in [`DriverSpec::number`].
    pub fn authority(&self, address: &RelayAddress) -> String {
        format!("{}:{}", address.host, self.number(address, "port"))
    }

    /// The field `channels`.
    pub fn channels(&self, address: &RelayAddress) -> u8 {
        u8::try_from(self.number(address, "channels")).unwrap_or(u8::MAX).max(1)
    }

    /// The field `inputs`.
    pub fn inputs(&self, address: &RelayAddress) -> u8 {
        u8::try_from(self.number(address, "inputs")).unwrap_or(u8::MAX)
    }

    /// The field `timeout_ms`.
    pub fn timeout(&self, address: &RelayAddress) -> std::time::Duration {
        std::time::Duration::from_millis(self.number(address, "timeout_ms").into())
    }
}
