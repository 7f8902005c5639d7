//! [`FtpUrl`]: `ftp://user:password@host:port/folder`, and `ftps://` for explicit TLS (AUTH TLS on the FTP port).
//!
//! The password is split out into a [`Secret`] at once and is never printed. As in RFC 1738, the folder is relative to
//! where the login leads; `/%2Ffolder` is absolute. `?fingerprint=HEX` accepts exactly the certificate with that SHA-256.
//!
//! **Never:** implicit TLS (port 990 from the first byte), the whole text in an error.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use std::fmt;
use std::str::FromStr;

use godvision_core::Secret;

use crate::Error;

/// Whether and how a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// Everything, the password too, goes in clear.
    Plain,
    /// Explicit TLS on the control and data connections.
    Tls,
}

/// Where an FTP archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FtpUrl {
    /// Whether it is spoken to by TLS.
    pub security: Security,
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// 21 unless said otherwise.
    pub port: u16,
    /// `anonymous` unless said otherwise.
    pub user: String,
    /// Empty unless said.
    pub password: Secret,
    /// The folder, without a slash at its end; begins with one if it is absolute; empty for the login's own.
    pub folder: String,
    /// SHA-256 of the one certificate that is accepted.
    pub fingerprint: Option<[u8; 32]>,
}

/// Longest address taken.
const BYTES_MAX: usize = 2048;

impl FromStr for FtpUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|detail| Error::BadUrl { detail })
    }
}

fn parse(text: &str) -> Result<FtpUrl, &'static str> {
    if text.len() > BYTES_MAX {
        return Err("it is longer than 2048 bytes");
    }
    let (scheme, rest) = text.split_once("://").ok_or("there is no ://")?;
    let security = match scheme.to_ascii_lowercase().as_str() {
        "ftp" => Security::Plain,
        "ftps" => Security::Tls,
        _ => return Err("it begins with neither ftp:// nor ftps://"),
    };
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user_info, host_port) = match authority.rsplit_once('@') {
        Some((user_info, host_port)) => (Some(user_info), host_port),
        None => (None, authority),
    };
    let (user, password) = match user_info {
        None => ("anonymous".to_owned(), String::new()),
        Some(info) => {
            let (user, password) = info.split_once(':').unwrap_or((info, ""));
            (decoded(user)?, decoded(password)?)
        }
    };
    if user.is_empty() {
        return Err("the user name is empty");
    }
    let (host, port) = match host_port.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("the IPv6 address has no ]")?;
            (host, after.strip_prefix(':').or(if after.is_empty() { Some("") } else { None }).ok_or("the port is odd")?)
        }
        None => host_port.split_once(':').unwrap_or((host_port, "")),
    };
    let is_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(is_host) {
        return Err("there is no host name");
    }
    let port = match port {
        "" => 21,
        digits => digits.parse().ok().filter(|port| *port != 0).ok_or("the port is no number from 1 to 65535")?,
    };
    let folder = decoded(path)?.trim_end_matches('/').to_owned();
    if folder.split('/').any(|part| part == "..") {
        return Err("the folder holds ..");
    }
    let fingerprint = match query {
        None | Some("") => None,
        Some(query) => {
            let digits = query.strip_prefix("fingerprint=").ok_or("after ? only fingerprint= is known")?;
            Some(parse_fingerprint(digits).ok_or("the fingerprint is not 64 hexadecimal digits")?)
        }
    };
    if fingerprint.is_some() && security == Security::Plain {
        return Err("a fingerprint needs ftps://");
    }
    let (host, password) = (host.to_owned(), Secret::new(password));
    Ok(FtpUrl { security, host, port, user, password, folder, fingerprint })
}

/// 32 bytes from 64 hexadecimal digits, with or without colons.
pub(crate) fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(out)
}

/// Percent-decoding; control characters, which would end an FTP command, are refused.
fn decoded(text: &str) -> Result<String, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err("a % is not followed by two digits") };
        out.push((high * 16 + low) as u8);
    }
    let text = String::from_utf8(out).map_err(|_| "it is not UTF-8 behind its % signs")?;
    if text.chars().any(char::is_control) { Err("it holds control characters") } else { Ok(text) }
}

/// Without the password.
impl fmt::Display for FtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.security {
            Security::Plain => "ftp",
            Security::Tls => "ftps",
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{}@{host}:{}/{}", self.user, self.port, self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_taken_apart() {
        let url: FtpUrl = "ftps://cam%40home:p%3Aw%2F@nas.local:2121/clips/yard/".parse().unwrap();
        assert_eq!(url.security, Security::Tls);
        assert_eq!((url.user.as_str(), url.password.expose()), ("cam@home", "p:w/"));
        assert_eq!((url.host.as_str(), url.port, url.folder.as_str()), ("nas.local", 2121, "clips/yard"));
        assert_eq!(url.to_string(), "ftps://cam@home@nas.local:2121/clips/yard");

        let url: FtpUrl = "ftp://[fe80::1]/%2Fsrv".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.folder.as_str()), ("fe80::1", 21, "/srv"));
        assert_eq!(url.user, "anonymous");

        let print = "ab:".repeat(31) + "ab";
        let url: FtpUrl = format!("ftps://h?fingerprint={print}").parse().unwrap();
        assert_eq!(url.fingerprint, Some([0xab; 32]));
    }

    #[test]
    fn what_is_no_address_says_why_and_hides_the_password() {
        for text in [
            "http://u:s3cret@h/",
            "u:s3cret@h",
            "ftp://u:s3cret@",
            "ftp://u:s3cret@h:0/",
            "ftp://u:s3cret@h:65536/",
            "ftp://u:s3cret%0d%0aDELE@h/",
            "ftp://u:s3cret%4@h/",
            "ftp://u:s3cret@h/../x",
            "ftp://u:s3cret@h/a?b=c",
            "ftp://u:s3cret@h/?fingerprint=00",
            "ftp://:s3cret@h/",
            "ftp://u:s3cret@[::1/",
            "ftp://u:s3cret@h st/",
            &format!("ftp://u:s3cret@h/{}", "x".repeat(2048)),
        ] {
            let error = text.parse::<FtpUrl>().expect_err(text);
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
        assert!(!format!("{:?}", "ftp://u:s3cret@h/".parse::<FtpUrl>()).contains("s3cret"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,60}", tail in "[ftps:/@\\[\\]%?0-9a-f]{0,40}") {
            let _ = text.parse::<FtpUrl>();
            let _ = format!("ftps://{tail}").parse::<FtpUrl>();
        }
    }
}
