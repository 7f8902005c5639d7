//! A reader's address: `scheme://[:password@][host[:port]][/path][?name=value&...]`, and what a driver says of its own
//! ([`DriverSpec`]), from which forms are made.
//!
//! **Never:** an error or `Debug` that repeats the address, which may hold a key.

use std::fmt;

use godvision_core::Secret;

use crate::error::Error;
use crate::relay::address::RelayAddress;

/// A parsed address.
#[derive(Clone, PartialEq, Eq)]
pub struct ReaderAddress {
    /// Which driver: `osdp`, `keypad+tcp`, ...
    pub scheme: String,
    /// Host name or address; IPv6 in brackets. Empty if there is none.
    pub host: String,
    /// Port, if given.
    pub port: Option<u16>,
    /// From the first `/` behind the host: a device file. Not decoded.
    pub path: String,
    /// The password: for OSDP, the key.
    pub password: Option<Secret>,
    /// What stands behind `?`, as names and values.
    pub query: Vec<(String, String)>,
}

impl ReaderAddress {
    /// Parses `url`.
    ///
    /// # Errors
    /// [`Error::BadReaderUrl`].
    pub fn parse(url: &Secret) -> Result<Self, Error> {
        // One grammar for the addresses of all devices.
        let parsed = RelayAddress::parse(url).map_err(|error| match error {
            Error::BadRelayUrl { detail } => Error::BadReaderUrl { detail },
            other => other,
        })?;
        let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
        let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
        let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default().to_owned();
        let RelayAddress { scheme, host, port, password, query, .. } = parsed;
        Ok(Self { scheme, host, port, path, password, query })
    }

    /// The value of `name` behind the `?`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The whole number `name` in `range`; `default` if it is not given.
    ///
    /// # Errors
    /// [`Error::BadReaderUrl`] with `detail`.
    pub fn number<T>(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<T>,
        default: T,
        detail: &'static str,
    ) -> Result<T, Error>
    where
        T: std::str::FromStr + PartialOrd,
    {
        let Some(text) = self.value(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or(Error::BadReaderUrl { detail })
    }

    /// `host:port`, with `port` if none is given.
    ///
    /// # Errors
    /// [`Error::BadReaderUrl`] without a host.
    pub fn host_port(&self, port: u16) -> Result<String, Error> {
        if self.host.is_empty() {
            return Err(Error::BadReaderUrl { detail: "write the host behind ://" });
        }
        Ok(format!("{}:{}", self.host, self.port.unwrap_or(port)))
    }

    /// The device file.
    ///
    /// # Errors
    /// [`Error::BadReaderUrl`] if there is none, or a host before it.
    pub fn device_path(&self) -> Result<&str, Error> {
        if !self.host.is_empty() || self.path.len() < 2 {
            return Err(Error::BadReaderUrl {
                detail: "write the device file behind three slashes: scheme:///dev/...",
            });
        }
        Ok(&self.path)
    }
}

/// Without password and query.
impl fmt::Debug for ReaderAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host, self.path)
    }
}

/// Which part of the address a field becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Behind `://`.
    Host,
    /// Behind the host.
    Port,
    /// Behind three slashes.
    Path,
    /// Before `@`.
    Password,
    /// Behind `?`, under the field's name.
    Query,
}

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A whole number from `min` to `max`.
    Integer {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// One of these texts.
    Choice(&'static [&'static str]),
}

/// One field of a driver's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Its name.
    pub name: &'static str,
    /// Where it stands in the address.
    pub part: Part,
    /// What it may hold.
    pub kind: FieldKind,
    /// Whether it must be given.
    pub required: bool,
    /// What counts when it is not given.
    pub default: Option<&'static str>,
    /// One line for people.
    pub about: &'static str,
}

/// What a driver says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverSpec {
    /// The scheme of its addresses.
    pub scheme: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Its fields, in the order of a form.
    pub fields: Vec<FieldSpec>,
}

impl DriverSpec {
    /// Whether each value behind the `?` is one of the fields.
    ///
    /// # Errors
    /// [`Error::BadReaderUrl`].
    pub fn check(&self, address: &ReaderAddress) -> Result<(), Error> {
        let is_known = |name: &str| self.fields.iter().any(|field| field.part == Part::Query && field.name == name);
        match address.query.iter().all(|(name, _)| is_known(name)) {
            true => Ok(()),
            false => Err(Error::BadReaderUrl { detail: "something behind the ? means nothing to this driver" }),
        }
    }
}

impl FieldSpec {
    /// A value behind the `?` that may be left out.
    pub const fn optional(
        name: &'static str,
        kind: FieldKind,
        default: Option<&'static str>,
        about: &'static str,
    ) -> Self {
        Self { name, part: Part::Query, kind, required: false, default, about }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part() {
        let address = ReaderAddress::parse(&"osdp:///dev/ttyUSB0?address=3&baud=9600".into()).unwrap();
        assert_eq!((address.scheme.as_str(), address.host.as_str()), ("osdp", ""));
        assert_eq!((address.device_path().unwrap(), address.value("address")), ("/dev/ttyUSB0", Some("3")));
        let address = ReaderAddress::parse(&"keypad+tcp://:00ff@10.0.0.7:4001/?channels=8".into()).unwrap();
        assert_eq!(address.host_port(1).unwrap(), "10.0.0.7:4001");
        assert_eq!(address.number("channels", 1..=8_u8, 1, "x").unwrap(), 8);
        assert_eq!(address.password, Some("00ff".into()));
        assert_eq!(format!("{address:?}"), "keypad+tcp://10.0.0.7/");
        assert!(address.device_path().is_err());
        assert!(address.number("channels", 1..=7_u8, 1, "x").is_err());
    }
}
