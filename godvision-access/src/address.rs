//! A device's address, a relay's or a reader's: `scheme://[user[:password]@][host[:port]][/path][?name=value&...]`, read and
//! written. What may stand in one is its driver's to say: [`driver_spec`](crate::driver_spec).
//!
//! What is written ([`DeviceAddress::to_url`]) is percent-encoded (RFC 3986) and reads the same.
//!
//! **Never:** an error or `Debug` that repeats the address, which may hold a password.

use std::fmt;

use godvision_core::Secret;

use crate::error::Error;

/// Longest address in bytes.
pub const ADDRESS_BYTES_MAX: usize = 1024;
/// Most channels of one device.
pub const CHANNELS_MAX: u8 = 64;

/// A parsed address.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceAddress {
    /// Which driver: `shelly`, `osdp+tcp`, ...
    pub scheme: String,
    /// The user name, percent-decoded.
    pub user: Option<String>,
    /// The password, percent-decoded.
    pub password: Option<Secret>,
    /// Host name or address; IPv6 in brackets. Empty if there is none.
    pub host: String,
    /// Port, if given.
    pub port: Option<u16>,
    /// What stands behind the host, with its `/`, percent-decoded; empty if there is nothing.
    pub path: String,
    /// What stands behind `?`, as names and values, percent-decoded.
    pub query: Vec<(String, String)>,
}

impl DeviceAddress {
    /// An address of this scheme without anything else.
    pub fn new(scheme: &str) -> Self {
        Self {
            scheme: scheme.to_ascii_lowercase(),
            user: None,
            password: None,
            host: String::new(),
            port: None,
            path: String::new(),
            query: Vec::new(),
        }
    }

    /// With `value` in the part `key`: `host`, `port`, `user`, `password`, `path` (its first `/` is added if it is missing), or a name behind
    /// the `?`. Replaces what is there.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`] for a port that is none.
    pub fn with(mut self, key: &str, value: Secret) -> Result<Self, Error> {
        match key {
            "path" => {
                let path = value.expose();
                self.path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            }
            "host" => self.host = value.expose().to_owned(),
            "user" => self.user = Some(value.expose().to_owned()).filter(|user| !user.is_empty()),
            "password" => self.password = Some(value),
            "port" => {
                let port = value.expose().parse().ok().filter(|port| *port != 0);
                self.port = Some(port.ok_or_else(|| Error::BadDeviceField {
                    field: "port".to_owned(),
                    expected: "is a number from 1 to 65535".to_owned(),
                })?);
            }
            name => {
                self.query.retain(|(known, _)| known != name);
                self.query.push((name.to_owned(), value.expose().to_owned()));
            }
        }
        Ok(self)
    }

    /// What stands in the part `key` (see [`DeviceAddress::with`]), if anything does.
    pub fn field(&self, key: &str) -> Option<Secret> {
        match key {
            "host" => Some(self.host.as_str()).filter(|host| !host.is_empty()).map(Secret::from),
            "path" => Some(self.path.as_str()).filter(|path| !["", "/"].contains(path)).map(Secret::from),
            "user" => self.user.as_deref().map(Secret::from),
            "password" => self.password.clone(),
            "port" => self.port.map(|port| Secret::from(port.to_string())),
            name => self.value(name).map(Secret::from),
        }
    }

    /// Whether `key` names a part before the `?`.
    pub fn is_part(key: &str) -> bool {
        ["host", "port", "user", "password", "path"].contains(&key)
    }

    /// The address as text; [`DeviceAddress::parse`] reads it back.
    pub fn to_url(&self) -> Secret {
        let mut url = format!("{}://", self.scheme);
        if self.user.is_some() || self.password.is_some() {
            percent_encode(self.user.as_deref().unwrap_or_default(), &mut url);
            if let Some(password) = &self.password {
                url.push(':');
                percent_encode(password.expose(), &mut url);
            }
            url.push('@');
        }
        url.push_str(&self.host);
        if let Some(port) = self.port {
            url.push(':');
            url.push_str(&port.to_string());
        }
        for (at, step) in self.path.split('/').enumerate() {
            if at > 0 {
                url.push('/');
            }
            percent_encode(step, &mut url);
        }
        for (at, (name, value)) in self.query.iter().enumerate() {
            url.push(if at == 0 { '?' } else { '&' });
            percent_encode(name, &mut url);
            url.push('=');
            percent_encode(value, &mut url);
        }
        Secret::new(url)
    }

    /// Parses `url`.
    ///
    /// # Errors
    /// [`Error::BadDeviceUrl`].
    pub fn parse(url: &Secret) -> Result<Self, Error> {
        let bad = |detail| Error::BadDeviceUrl { detail };
        let text = url.expose();
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(bad("it is longer than 1024 bytes"));
        }
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err(bad("it holds a space or a control character"));
        }
        let (scheme, rest) = text.split_once("://").ok_or(bad("write scheme://host"))?;
        if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+'))
        {
            return Err(bad("the scheme before :// is letters and digits"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = percent_decoded(path).ok_or(bad("a % in the path is not followed by two hexadecimal digits"))?;
        let (user_info, host_port) = match authority.rsplit_once('@') {
            Some((user_info, host_port)) => (Some(user_info), host_port),
            None => (None, authority),
        };
        let (mut user, mut password) = (None, None);
        if let Some(user_info) = user_info {
            let (name, word) = user_info.split_once(':').map_or((user_info, None), |(name, word)| (name, Some(word)));
            let undecodable = || bad("a % in the user name or password is not followed by two hexadecimal digits");
            user = Some(percent_decoded(name).ok_or_else(undecodable)?).filter(|name| !name.is_empty());
            password = word.map(|word| percent_decoded(word).ok_or_else(undecodable)).transpose()?.map(Secret::new);
        }
        let (host, port) = match host_port.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (host_port, None),
        };
        let port =
            port.map(|port| port.parse().map_err(|_| bad("the port is no number from 1 to 65535"))).transpose()?;
        if port == Some(0) {
            return Err(bad("the port is no number from 1 to 65535"));
        }
        if (host.contains(':') || host.contains('[')) && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(bad("an IPv6 address stands in brackets"));
        }
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = percent_decoded(name).zip(percent_decoded(value));
            pairs.push(decoded.ok_or(bad("a % behind the ? is not followed by two hexadecimal digits"))?);
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user,
            password,
            host: host.to_owned(),
            port,
            path,
            query: pairs,
        })
    }

    /// The value of `name` behind the `?`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Without user name, password and query.
impl fmt::Debug for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)
    }
}

/// All but the unreserved characters of RFC 3986, section 2.3.
pub(crate) fn percent_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let ([high, low], tail) = tail.split_first_chunk::<2>()?;
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
        bytes.push(nibble(*high)? << 4 | nibble(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(url: &str) -> DeviceAddress {
        DeviceAddress::parse(&url.into()).unwrap()
    }

    #[test]
    fn every_part() {
        let address = parsed("Shelly://admin:p%40ss:%2F@[fd00::1]:8080/x?channels=3&name=a%20b");
        assert_eq!((address.scheme.as_str(), address.user.as_deref()), ("shelly", Some("admin")));
        assert_eq!(address.password.as_ref().map(Secret::expose), Some("p@ss:/"));
        assert_eq!((address.host.as_str(), address.port), ("[fd00::1]", Some(8080)));
        assert_eq!((address.value("channels"), address.value("name")), (Some("3"), Some("a b")));
        assert_eq!(format!("{address:?}"), "shelly://[fd00::1]");
        let plain = parsed("shelly://relay.local");
        assert_eq!((plain.user, plain.password, plain.port), (None, None, None));
        assert_eq!((parsed("simulated://").host, parsed("simulated://").path), (String::new(), String::new()));
        let line = parsed("modbus+rtu:///dev/tty%20USB0?baud=9600");
        assert_eq!((line.scheme.as_str(), line.host.as_str()), ("modbus+rtu", ""));
        assert_eq!((line.path.as_str(), line.value("baud")), ("/dev/tty USB0", Some("9600")));
        assert_eq!(address.path, "/x");
        assert_eq!(parsed("shelly://[fd00::1]").port, None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for url in [
            "",
            "shelly",
            "shelly:/x",
            "://x",
            "sh elly://x",
            "shelly://x:0",
            "shelly://x:65536",
            "shelly://x:y",
            "shelly://a%4@x",
            "shelly://a:%zz@x",
            "shelly://fd00::1",
            "shelly://x?a=%",
            "shelly://x/%",
            "shel_ly://x",
            "shelly://x\n",
            &format!("x://{}", "y".repeat(ADDRESS_BYTES_MAX)),
        ] {
            assert!(matches!(DeviceAddress::parse(&url.into()), Err(Error::BadDeviceUrl { .. })), "{url:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            user in proptest::option::of("\\PC{1,12}"),
            password in proptest::option::of("\\PC{0,12}"),
            host in "[a-z0-9.-]{1,20}|\\[fd00::[0-9a-f]{1,4}\\]",
            port in proptest::option::of(1_u16..),
            path in "(/\\PC{0,12}){0,2}",
            query in proptest::collection::vec(("\\PC{1,8}", "\\PC{0,16}"), 0..4),
        ) {
            let password = password.map(Secret::new);
            let address = DeviceAddress { scheme: "tasmota".into(), user, password, host, port, path, query };
            prop_assert_eq!(DeviceAddress::parse(&address.to_url()).unwrap(), address);
        }

        #[test]
        fn never_panics(url in "([a-z]{1,6}://)?\\PC{0,60}") {
            let _ = DeviceAddress::parse(&url.into());
        }
    }
}
