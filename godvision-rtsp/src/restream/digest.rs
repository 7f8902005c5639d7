//! Digest authentication of readers (RFC 7616, and RFC 2069 for the clients that still speak it).
//!
//! Every connection has its own random nonce, so a captured answer is worth nothing on another connection. SHA-256 is
//! offered first with `qop=auth`; MD5 comes last and without `qop`, the form that cameras use and that every RTSP client
//! in the field understands.
//!
//! **Never:** Basic (it sends the password), `auth-int`, `-sess`, `userhash`.

use godvision_core::secret::Secret;
use md5::{Digest as _, Md5};
use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while, take_while1};
use nom::character::complete::{char, space0};
use nom::combinator::map;
use nom::multi::many0;
use nom::sequence::{delimited, preceded, separated_pair};
use nom::{IResult, Parser};
use sha2::Sha256;

/// Longest `Authorization` value that is looked at.
pub const AUTHORIZATION_BYTES_MAX: usize = 2048;

/// One who may read.
#[derive(Clone, Debug)]
pub struct User {
    /// The name that the client gives.
    pub name: String,
    /// The password that the client proves to know.
    pub password: Secret,
    /// The mounts that this user may read; empty means all.
    pub mounts: Vec<String>,
}

impl User {
    /// A user who may read every mount.
    pub fn new(name: impl Into<String>, password: Secret) -> Self {
        Self { name: name.into(), password, mounts: Vec::new() }
    }

    pub(crate) fn may_read(&self, path: &str) -> bool {
        self.mounts.is_empty() || self.mounts.iter().any(|mount| mount == path)
    }
}

/// What an answer to a challenge is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Accepted(&'a User),
    /// The password is right, the nonce is not this connection's or too old: the client may answer again by itself.
    Stale,
    Refused,
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.password == other.password && self.mounts == other.mounts
    }
}
impl Eq for User {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    fn hex(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The `WWW-Authenticate` values, strongest first.
pub(crate) fn challenges(realm: &str, nonce: &str, stale: bool) -> [String; 2] {
    let stale = if stale { ", stale=true" } else { "" };
    [
        format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\", algorithm=SHA-256{stale}"),
        format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm=MD5{stale}"),
    ]
}

/// What the request says that the answer must match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) realm: &'a str,
    pub(crate) nonce: &'a str,
    /// The nonce has outlived its time.
    pub(crate) nonce_is_old: bool,
}

/// Judges the value of an `Authorization` header.
pub(crate) fn verify<'a>(authorization: &str, asked: Asked<'_>, users: &'a [User]) -> Verdict<'a> {
    let Some(answer) = Answer::parse(authorization) else { return Verdict::Refused };
    if answer.realm != asked.realm || super::conversation::mount_path(answer.uri) != asked.path {
        return Verdict::Refused;
    }
    // Also an unknown name costs one digest, so that time does not tell which names exist.
    let nobody = User::new("", Secret::default());
    let known = users.iter().find(|user| user.name == answer.user_name);
    let expected = answer.expected(known.unwrap_or(&nobody), asked.method);
    let given = Secret::new(answer.response.to_ascii_lowercase());
    match known {
        Some(user) if Secret::new(expected) == given => {
            if answer.nonce == asked.nonce && !asked.nonce_is_old {
                Verdict::Accepted(user)
            } else {
                Verdict::Stale
            }
        }
        _ => Verdict::Refused,
    }
}

/// The parameters of an `Authorization: Digest`.
struct Answer<'a> {
    user_name: String,
    realm: String,
    nonce: &'a str,
    uri: &'a str,
    response: &'a str,
    algorithm: Algorithm,
    /// `nc` and `cnonce`, if `qop=auth` was chosen.
    quality: Option<(&'a str, &'a str)>,
}

impl<'a> Answer<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        if value.len() > AUTHORIZATION_BYTES_MAX {
            return None;
        }
        let (scheme, rest) = value.trim_start().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let (rest, pairs) = parameters(rest).ok()?;
        if !rest.trim().is_empty() {
            return None;
        }
        let get = |name: &str| pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        let algorithm = match get("algorithm") {
            None => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("md5") => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("sha-256") => Algorithm::Sha256,
            Some(_) => return None,
        };
        let quality = match get("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some((get("nc")?, get("cnonce")?)),
            Some(_) => return None,
        };
        Some(Self {
            user_name: unescape(get("username")?),
            realm: unescape(get("realm")?),
            nonce: get("nonce")?,
            uri: get("uri")?,
            response: get("response")?,
            algorithm,
            quality,
        })
    }

    /// The response that one who knows the password would give.
    fn expected(&self, user: &User, method: &str) -> String {
        let Self { algorithm, nonce, uri, .. } = self;
        let a1 = algorithm.hex(&format!("{}:{}:{}", user.name, self.realm, user.password.expose()));
        let a2 = algorithm.hex(&format!("{method}:{uri}"));
        match self.quality {
            Some((count, client)) => algorithm.hex(&format!("{a1}:{nonce}:{count}:{client}:auth:{a2}")),
            None => algorithm.hex(&format!("{a1}:{nonce}:{a2}")),
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

/// `name="quoted"` or `name=token`, separated by commas. Quoted values keep their escapes.
fn parameters(text: &str) -> IResult<&str, Vec<(&str, &str)>> {
    let name = take_while1(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let token = take_while(|c: char| !c.is_ascii_whitespace() && c != ',' && c != '"');
    let pair = map(separated_pair(name, (space0, char('='), space0), alt((quoted, token))), |pair| pair);
    let separator = take_while(|c: char| c == ',' || c.is_ascii_whitespace());
    many0(preceded(separator, pair)).parse(text)
}

fn quoted(text: &str) -> IResult<&str, &str> {
    use nom::combinator::recognize;
    let escaped = preceded(char('\\'), nom::character::complete::anychar);
    let piece = alt((map(is_not("\\\""), |_| ()), map(escaped, |_| ())));
    delimited(tag("\""), recognize(many0(piece)), tag("\"")).parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> =
        Asked { method: "DESCRIBE", path: "/yard", realm: "gv", nonce: "abc", nonce_is_old: false };

    fn users() -> Vec<User> {
        vec![User::new("ada", Secret::from("secret"))]
    }

    fn answer(nonce: &str, password: &str, quality: bool) -> String {
        let (a1, a2) =
            (Algorithm::Md5.hex(&format!("ada:gv:{password}")), Algorithm::Md5.hex("DESCRIBE:rtsp://h:1/yard"));
        let head = format!("Digest username=\"ada\", realm=\"gv\",nonce=\"{nonce}\" , uri=\"rtsp://h:1/yard\"");
        if quality {
            let response = Algorithm::Md5.hex(&format!("{a1}:{nonce}:00000001:xy:auth:{a2}"));
            format!("{head}, qop=auth, nc=00000001, cnonce=\"xy\", response=\"{response}\"")
        } else {
            let response = Algorithm::Md5.hex(&format!("{a1}:{nonce}:{a2}"));
            format!("{head}, response=\"{response}\"")
        }
    }

    #[test]
    fn the_example_of_rfc_7616_is_reproduced() {
        let users = [User::new("Mufasa", Secret::from("Circle of Life"))];
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let asked = Asked {
                method: "GET",
                path: "/dir/index.html",
                realm: "http-auth@example.org",
                nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                nonce_is_old: false,
            };
            assert_eq!(verify(&value, asked, &users), Verdict::Accepted(&users[0]), "{algorithm}");
        }
    }

    #[test]
    fn both_forms_are_accepted_and_a_wrong_password_is_not() {
        let users = users();
        for quality in [false, true] {
            assert_eq!(verify(&answer("abc", "secret", quality), ASKED, &users), Verdict::Accepted(&users[0]));
            assert_eq!(verify(&answer("abc", "wrong", quality), ASKED, &users), Verdict::Refused);
        }
    }

    #[test]
    fn a_foreign_or_old_nonce_is_stale_only_if_the_password_is_right() {
        let users = users();
        assert_eq!(verify(&answer("other", "secret", true), ASKED, &users), Verdict::Stale);
        assert_eq!(verify(&answer("other", "wrong", true), ASKED, &users), Verdict::Refused);
        let old = Asked { nonce_is_old: true, ..ASKED };
        assert_eq!(verify(&answer("abc", "secret", true), old, &users), Verdict::Stale);
    }

    #[test]
    fn an_answer_for_another_mount_or_method_is_refused() {
        let users = users();
        let value = answer("abc", "secret", true);
        assert_eq!(verify(&value, Asked { path: "/gate", ..ASKED }, &users), Verdict::Refused);
        assert_eq!(verify(&value, Asked { method: "SETUP", ..ASKED }, &users), Verdict::Refused);
        assert_eq!(verify(&value, Asked { realm: "other", ..ASKED }, &users), Verdict::Refused);
    }

    #[test]
    fn damaged_answers_are_refused() {
        let users = users();
        let long = format!("Digest username=\"{}\"", "x".repeat(AUTHORIZATION_BYTES_MAX));
        for value in ["", "Digest", "Basic YTpi", "Digest username=\"ada", "Digest a=b=c", "Digest \\", &long] {
            assert_eq!(verify(value, ASKED, &users), Verdict::Refused, "{value}");
        }
        let unknown = answer("abc", "secret", true).replace("\"ada\"", "\"bob\"");
        assert_eq!(verify(&unknown, ASKED, &users), Verdict::Refused);
    }

    #[test]
    fn quoted_values_may_hold_escaped_quotes() {
        let (_, pairs) = parameters("a=\"x\\\"y, z\" , b=1").unwrap();
        assert_eq!(pairs, [("a", "x\\\"y, z"), ("b", "1")]);
        assert_eq!(unescape("x\\\"y"), "x\"y");
    }
}
