//! [`CameraUrl`]: a camera's address, with the user name and password taken out of it at once.
//!
//! People paste `rtsp://admin:p@ss@192.168.1.10:554/stream1` from a manual. The user information is split off while
//! parsing and travels as [`Secret`]; what is left can be shown. Some recorders put the password into the path
//! (`/user=admin_password=x_channel=1`), so the printed path is redacted too, and the exact one is behind
//! [`CameraUrl::request_target`]. Source: RFC 3986 section 3.2, RFC 2326 section 3.2.
//!
//! **Never:** a password in `Display` or `Debug`; name look-ups; TLS (`rtsps` is refused with a reason).

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use std::fmt;
use std::str::FromStr;

use godvision_core::Secret;

/// RTSP's port when the address names none.
pub const DEFAULT_PORT: u16 = 554;
/// Longest address that is read, in bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// Why a text is not a camera's address. The text itself is not repeated: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Nothing there.
    #[error("the address is empty: write rtsp://user:password@host:554/path")]
    Empty,
    /// Longer than [`URL_BYTES_MAX`].
    #[error("the address is longer than {URL_BYTES_MAX} bytes")]
    Long,
    /// No `rtsp://` in front.
    #[error("the address must start with rtsp://, not with {found:?}")]
    Scheme {
        /// What stands there, without anything secret.
        found: String,
    },
    /// RTSP over TLS.
    #[error("rtsps (RTSP over TLS) is not supported: use rtsp:// inside your own network")]
    Tls,
    /// No host after the scheme.
    #[error("the address names no host: write rtsp://host/path")]
    NoHost,
    /// A character that a host name cannot hold.
    #[error("{found:?} cannot stand in a host name; in a password write '/' as %2F, '?' as %3F and '#' as %23")]
    Host {
        /// The character.
        found: char,
    },
    /// Not a number from 1 to 65535 after the last colon.
    #[error("the port must be a number from 1 to 65535; in a password write '/' as %2F, '?' as %3F and '#' as %23")]
    Port,
    /// A blank or control character.
    #[error("the address holds a blank or control character at byte {byte}")]
    Blank {
        /// Where, counted from 0.
        byte: usize,
    },
}

/// Who logs in at the camera.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The account's name.
    pub username: Secret,
    /// Its password; may be empty.
    pub password: Secret,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A camera's address.
///
/// ```
/// use godvision_rtsp::CameraUrl;
/// let url: CameraUrl = "rtsp://admin:p@ss:1@192.168.1.10/stream1".parse()?;
/// assert_eq!(url.to_string(), "rtsp://192.168.1.10:554/stream1");
/// assert_eq!(url.login().unwrap().password.expose(), "p@ss:1");
/// # Ok::<(), godvision_rtsp::error::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl {
    host: String,
    port: u16,
    target: Secret,
    login: Option<Login>,
}

impl CameraUrl {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::Long);
        }
        if let Some((byte, _)) = text.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control()) {
            return Err(UrlError::Blank { byte });
        }
        let rest = after_scheme(text)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        // The last '@' ends the user information, so a password may hold '@' and ':' as they are.
        let (login, place) = match authority.rsplit_once('@') {
            Some((user_info, place)) => (login_from(user_info), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place)?;
        let target = match target.split('#').next() {
            None | Some("") => "/".to_owned(),
            Some(query) if query.starts_with('?') => format!("/{query}"),
            Some(path) => path.to_owned(),
        };
        Ok(Self { host, port, target: target.into(), login })
    }

    /// Host name or address; an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Path and query exactly as given, starting with `/`. Secret, because some recorders keep a password there.
    pub fn request_target(&self) -> &Secret {
        &self.target
    }

    /// Who logs in, if the address said.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The same address with another login; settings kept apart from the address win over those in it.
    pub fn with_login(mut self, login: Option<Login>) -> Self {
        self.login = login.or(self.login);
        self
    }

    #[cfg(feature = "client")]
    /// What the client is given: the whole address without the user information.
    pub(crate) fn request_url(&self) -> Secret {
        format!("rtsp://{}:{}{}", self.host, self.port, self.target.expose()).into()
    }
}

impl FromStr for CameraUrl {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

/// Without user information, and with passwords in the path replaced by `***`.
impl fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rtsp://{}:{}{}", self.host, self.port, redact(self.target.expose()))
    }
}

impl fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn after_scheme(text: &str) -> Result<&str, UrlError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        // Only the letters before a colon are shown: without a scheme the text may begin with a user name.
        let found = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let found = if text.contains('@') { String::new() } else { found.to_owned() };
        return Err(UrlError::Scheme { found });
    };
    match scheme.to_ascii_lowercase().as_str() {
        "rtsp" => Ok(rest),
        "rtsps" => Err(UrlError::Tls),
        other if other.chars().all(|c| c.is_ascii_alphanumeric()) => Err(UrlError::Scheme { found: other.to_owned() }),
        _ => Err(UrlError::Scheme { found: String::new() }),
    }
}

fn login_from(user_info: &str) -> Option<Login> {
    let (username, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    (!user_info.is_empty())
        .then(|| Login { username: percent_decoded(username).into(), password: percent_decoded(password).into() })
}

fn host_and_port(place: &str) -> Result<(String, u16), UrlError> {
    let (host, port) = if let Some(inside) = place.strip_prefix('[') {
        let (address, after) = inside.split_once(']').ok_or(UrlError::Host { found: '[' })?;
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(UrlError::Host { found: '[' });
        }
        match after.strip_prefix(':') {
            Some(port) => (format!("[{address}]"), Some(port)),
            None if after.is_empty() => (format!("[{address}]"), None),
            None => return Err(UrlError::Port),
        }
    } else {
        match place.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (place.to_owned(), None),
        }
    };
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    let port = match port {
        None | Some("") => DEFAULT_PORT,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?
        }
        Some(_) => return Err(UrlError::Port),
    };
    if !host.starts_with('[')
        && let Some(found) = host.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_')))
    {
        return Err(UrlError::Host { found });
    }
    Ok((host, port))
}

/// `%41` becomes `A`; a `%` that starts no such triple stays, because people write passwords as they are.
fn percent_decoded(text: &str) -> String {
    let mut bytes = text.bytes().peekable();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let hex = |b: u8| char::from(b).to_digit(16);
        match (byte, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

/// Replaces the value after `password=`, `passwd=`, `pwd=`, `pass=`, `psw=`, `token=` and `auth=` by `***`.
fn redact(target: &str) -> String {
    const KEYS: [&str; 7] = ["password=", "passwd=", "pwd=", "pass=", "psw=", "token=", "auth="];
    let lower = target.to_ascii_lowercase();
    let mut shown = String::with_capacity(target.len());
    let mut from = 0;
    while let Some(rest) = lower.get(from..) {
        let found = KEYS.iter().filter_map(|key| rest.find(key).map(|at| at + key.len())).min();
        let Some(value) = found.map(|at| from + at) else { break };
        shown.push_str(target.get(from..value).unwrap_or_default());
        shown.push_str("***");
        let tail = target.get(value..).unwrap_or_default();
        // '_' separates fields in one family of recorders, so a password that holds one ends early: cut further, at the
        // next field, to be safe.
        from = value + tail.find(['&', '/', '?', ';']).or_else(|| tail.find("_channel")).unwrap_or(tail.len());
    }
    shown.push_str(target.get(from..).unwrap_or_default());
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<CameraUrl, UrlError> {
        CameraUrl::parse(text)
    }

    #[test]
    fn user_information_is_split_out_and_never_shown() {
        let url = parse("rtsp://admin:S3cret%21@cam.local:8554/h264?ch=1").unwrap();
        assert_eq!((url.host(), url.port(), url.request_target().expose()), ("cam.local", 8554, "/h264?ch=1"));
        let login = url.login().unwrap();
        assert_eq!((login.username.expose(), login.password.expose()), ("admin", "S3cret!"));
        for shown in [format!("{url}"), format!("{url:?}"), format!("{login:?}")] {
            assert!(!shown.contains("S3cret") && !shown.contains("admin"), "{shown}");
        }
    }

    #[test]
    fn passwords_as_people_write_them_are_understood() {
        let url = parse("rtsp://u:a@b:c%zz@10.0.0.1").unwrap();
        assert_eq!(url.login().unwrap().password.expose(), "a@b:c%zz");
        assert_eq!(url.to_string(), "rtsp://10.0.0.1:554/");
        assert!(parse("rtsp://@10.0.0.1/").unwrap().login().is_none());
        assert_eq!(parse("rtsp://only@h/").unwrap().login().unwrap().password.expose(), "");
    }

    #[test]
    fn passwords_in_the_path_are_not_shown() {
        let url = parse("rtsp://10.0.0.2/user=admin_password=tlJw_pb_channel=1_stream=0.sdp").unwrap();
        assert_eq!(url.to_string(), "rtsp://10.0.0.2:554/user=admin_password=***_channel=1_stream=0.sdp");
        let url = parse("rtsp://10.0.0.2/cam?User=admin&Pwd=hunter2&channel=1&token=xyz").unwrap();
        assert_eq!(url.to_string(), "rtsp://10.0.0.2:554/cam?User=admin&Pwd=***&channel=1&token=***");
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!(parse("  "), Err(UrlError::Empty));
        assert_eq!(parse("http://h/"), Err(UrlError::Scheme { found: "http".into() }));
        assert_eq!(parse("camera/stream"), Err(UrlError::Scheme { found: "camera".into() }));
        assert_eq!(parse("admin:secret@h"), Err(UrlError::Scheme { found: String::new() }));
        assert_eq!(parse("rtsps://h/"), Err(UrlError::Tls));
        assert_eq!(parse("rtsp:///path"), Err(UrlError::NoHost));
        assert_eq!(parse("rtsp://:554/"), Err(UrlError::NoHost));
        assert_eq!(parse("rtsp://h:0/"), Err(UrlError::Port));
        assert_eq!(parse("rtsp://h:70000/"), Err(UrlError::Port));
        assert_eq!(parse("rtsp://admin:pa/ss@h/"), Err(UrlError::Port));
        assert_eq!(parse("rtsp://h*st/"), Err(UrlError::Host { found: '*' }));
        assert_eq!(parse("rtsp://ho st/"), Err(UrlError::Blank { byte: 9 }));
        assert_eq!(parse("rtsp://[::1/"), Err(UrlError::Host { found: '[' }));
        assert_eq!(parse(&format!("rtsp://h/{}", "x".repeat(URL_BYTES_MAX))), Err(UrlError::Long));
    }

    #[test]
    fn ipv6_addresses_keep_their_brackets() {
        assert_eq!(parse("rtsp://[fe80::1]:5554/a").unwrap().address(), "[fe80::1]:5554");
    }

    #[test]
    fn settings_win_over_the_address() {
        let login = Login { username: "b".into(), password: "2".into() };
        let url = parse("rtsp://a:1@h/").unwrap().with_login(Some(login.clone()));
        assert_eq!(url.login(), Some(&login));
        assert_eq!(parse("rtsp://a:1@h/").unwrap().with_login(None).login().unwrap().username.expose(), "a");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("rtsp://{text}")).map(|url| url.to_string());
        }

        #[test]
        fn what_is_shown_is_an_address_again(password in "[a-z@:%0-9]{0,12}", host in "[a-z]{1,9}", path in "(/[a-z0-9]{1,5}){0,3}") {
            let url = parse(&format!("rtsp://u:{password}@{host}{path}")).unwrap();
            let again = parse(&url.to_string()).unwrap();
            prop_assert_eq!(again.host(), url.host());
            prop_assert_eq!(again.request_target(), url.request_target());
        }
    }
}
