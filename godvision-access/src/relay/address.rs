//! A relay's address: `scheme://[user[:password]@][host[:port]][/path][?name=value&...]`.
//!
//! **Never:** an error or `Debug` that repeats the address, which may hold a password.

use std::fmt;

use godvision_core::Secret;

use crate::error::Error;

/// Longest address in bytes.
pub const ADDRESS_BYTES_MAX: usize = 1024;
/// Most channels of one relay.
pub const CHANNELS_MAX: u8 = 64;

/// A parsed address.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayAddress {
    /// Which driver: `shelly`, `simulated`, ...
    pub scheme: String,
    /// The user name, percent-decoded.
    pub user: Option<String>,
    /// The password, percent-decoded.
    pub password: Option<Secret>,
    /// Host name or address; IPv6 in brackets. Empty if there is none.
    pub host: String,
    /// Port, if given.
    pub port: Option<u16>,
    /// What stands behind `?`, as names and values, percent-decoded.
    pub query: Vec<(String, String)>,
}

impl RelayAddress {
    /// Parses `url`.
    ///
    /// # Errors
    /// [`Error::BadRelayUrl`].
    pub fn parse(url: &Secret) -> Result<Self, Error> {
        let bad = |detail| Error::BadRelayUrl { detail };
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
        let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
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
        Ok(Self { scheme: scheme.to_ascii_lowercase(), user, password, host: host.to_owned(), port, query: pairs })
    }

    /// The value of `name` behind the `?`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `?channels=`, 1 to [`CHANNELS_MAX`]; 1 if it is not given.
    ///
    /// # Errors
    /// [`Error::BadRelayUrl`].
    pub fn channels(&self) -> Result<u8, Error> {
        let channels = self.value("channels").map_or(Some(1), |text| text.parse().ok());
        let channels = channels.filter(|channels| (1..=CHANNELS_MAX).contains(channels));
        channels.ok_or(Error::BadRelayUrl { detail: "channels= is a number from 1 to 64" })
    }
}

/// Without user name, password and query.
impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
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

    fn parsed(url: &str) -> RelayAddress {
        RelayAddress::parse(&url.into()).unwrap()
    }

    #[test]
    fn every_part() {
        let address = parsed("Shelly://admin:p%40ss:%2F@[fd00::1]:8080/x?channels=3&name=a%20b");
        assert_eq!((address.scheme.as_str(), address.user.as_deref()), ("shelly", Some("admin")));
        assert_eq!(address.password.as_ref().map(Secret::expose), Some("p@ss:/"));
        assert_eq!((address.host.as_str(), address.port), ("[fd00::1]", Some(8080)));
        assert_eq!((address.channels().unwrap(), address.value("name")), (3, Some("a b")));
        assert_eq!(format!("{address:?}"), "shelly://[fd00::1]");
        let plain = parsed("shelly://relay.local");
        assert_eq!((plain.user, plain.password, plain.port), (None, None, None));
        assert_eq!(parsed("simulated://").host, "");
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
            "shelly://x\n",
            &format!("x://{}", "y".repeat(ADDRESS_BYTES_MAX)),
        ] {
            assert!(matches!(RelayAddress::parse(&url.into()), Err(Error::BadRelayUrl { .. })), "{url:?}");
        }
        for url in ["x://?channels=0", "x://?channels=65", "x://?channels=", "x://?channels=-1"] {
            assert!(parsed(url).channels().is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(url in "([a-z]{1,6}://)?\\PC{0,60}") {
            let _ = RelayAddress::parse(&url.into());
        }
    }
}
