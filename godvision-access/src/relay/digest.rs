//! HTTP digest authentication with `qop=auth` (RFC 7616): the arithmetic and the headers, without IO. SHA-256, and MD5 for
//! devices that know nothing better.
//!
//! The client answers a challenge; [`verify`] is the other side, for the fake device and for servers.
//!
//! **Never:** MD5 where the device is known to speak SHA-256 ([`Challenge::parse`]), `auth-int`, a password in an error.

use godvision_core::Secret;
use sha2::{Digest, Sha256};

/// Longest header that is looked at.
pub const HEADER_BYTES_MAX: usize = 2048;

/// What is hashed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// MD5: what cameras ask for.
    #[cfg(feature = "onvif")]
    Md5,
}

/// What a device asks for in `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What it hashes with.
    pub algorithm: Algorithm,
    /// Realm, part of what is hashed.
    pub realm: String,
    /// The device's nonce.
    pub nonce: String,
    /// To be sent back as it came, if there is one.
    pub opaque: Option<String>,
}

/// Why a challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChallengeError {
    /// No digest challenge.
    #[error("it asks for no digest authentication")]
    NotDigest,
    /// Another algorithm than SHA-256, or another protection than `auth`.
    #[error("it asks for digest authentication other than SHA-256 with qop=auth")]
    Unsupported,
    /// Not by the grammar, or too long.
    #[error("its authentication challenge is damaged")]
    Damaged,
}

impl Challenge {
    /// Reads the value of a `WWW-Authenticate` header that asks for SHA-256.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn parse(header: &str) -> Result<Self, ChallengeError> {
        let challenge = Self::parse_any(header)?;
        if challenge.algorithm == Algorithm::Sha256 { Ok(challenge) } else { Err(ChallengeError::Unsupported) }
    }

    /// Reads the value of a `WWW-Authenticate` header with any [`Algorithm`].
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn parse_any(header: &str) -> Result<Self, ChallengeError> {
        let fields = fields(header)?;
        let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let (realm, nonce) = field("realm").zip(field("nonce")).ok_or(ChallengeError::Damaged)?;
        let algorithm = field("algorithm").unwrap_or_else(|| "MD5".into());
        let qop = field("qop").unwrap_or_default();
        let algorithm = match algorithm.to_ascii_uppercase().as_str() {
            "SHA-256" => Algorithm::Sha256,
            #[cfg(feature = "onvif")]
            "MD5" => Algorithm::Md5,
            _ => return Err(ChallengeError::Unsupported),
        };
        if !qop.split(',').any(|it| it.trim() == "auth") {
            return Err(ChallengeError::Unsupported);
        }
        Ok(Self { algorithm, realm, nonce, opaque: field("opaque") })
    }
}

/// A request to be authorised.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// Path and query as they stand in the request line.
    pub uri: &'a str,
    /// Counts the requests under one nonce, from 1.
    pub count: u32,
    /// Random, new for each request.
    pub client_nonce: &'a str,
}

/// The value of the `Authorization` header that answers `challenge`. Secret: with it the password can be guessed offline.
pub fn authorization(challenge: &Challenge, user: &str, password: &Secret, request: &Request<'_>) -> Secret {
    let Challenge { algorithm, realm, nonce, opaque } = challenge;
    let Request { uri, count, client_nonce, .. } = request;
    let response = response(*algorithm, realm, user, password, nonce, request);
    let algorithm = algorithm.name();
    let opaque = opaque.as_ref().map(|opaque| format!(", opaque={}", quoted(opaque))).unwrap_or_default();
    Secret::new(format!(
        "Digest username={}, realm={}, nonce={}, uri={}, algorithm={algorithm}, qop=auth, nc={count:08x}, cnonce={}, \
         response=\"{response}\"{opaque}",
        quoted(user),
        quoted(realm),
        quoted(nonce),
        quoted(uri),
        quoted(client_nonce),
    ))
}

/// RFC 7616, 3.4.1: KD(H(A1), nonce:nc:cnonce:qop:H(A2)).
fn response(
    algorithm: Algorithm,
    realm: &str,
    user: &str,
    password: &Secret,
    nonce: &str,
    request: &Request<'_>,
) -> String {
    let a1 = algorithm.hex(&[user, ":", realm, ":", password.expose()]);
    let a2 = algorithm.hex(&[request.method, ":", request.uri]);
    let count = format!("{:08x}", request.count);
    algorithm.hex(&[&a1, ":", nonce, ":", &count, ":", request.client_nonce, ":auth:", &a2])
}

impl Algorithm {
    /// As it stands in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            #[cfg(feature = "onvif")]
            Self::Md5 => "MD5",
        }
    }

    fn hex(self, parts: &[&str]) -> String {
        match self {
            Self::Sha256 => hex::<Sha256>(parts),
            #[cfg(feature = "onvif")]
            Self::Md5 => hex::<md5::Md5>(parts),
        }
    }
}

fn hex<D: Digest>(parts: &[&str]) -> String {
    let mut hash = D::new();
    for part in parts {
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}

/// What a verified request claims: to be compared with what the server has seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The server's nonce that was answered.
    pub nonce: String,
    /// Its request count; must grow, or the request is a replay.
    pub count: u32,
}

/// The server's side: whether `header` (of `Authorization`) proves the password for this method and URI. The caller
/// checks the nonce.
pub fn verify(header: &str, user: &str, realm: &str, password: &Secret, method: &str, uri: &str) -> Option<Verified> {
    verify_with(Algorithm::Sha256, header, user, realm, password, (method, uri))
}

/// [`verify`] with an algorithm of the server's choice; `asked` is method and URI.
pub fn verify_with(
    algorithm: Algorithm,
    header: &str,
    user: &str,
    realm: &str,
    password: &Secret,
    asked: (&str, &str),
) -> Option<Verified> {
    let (method, uri) = asked;
    let fields = fields(header).ok()?;
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let nonce = field("nonce")?;
    let count = u32::from_str_radix(field("nc")?, 16).ok()?;
    let request = Request { method, uri: field("uri")?, count, client_nonce: field("cnonce")? };
    let same =
        field("username")? == user && field("realm")? == realm && field("uri")? == uri && field("qop")? == "auth";
    let expected = Secret::new(response(algorithm, realm, user, password, nonce, &request));
    let proven = expected.same_as(&field("response")?.into());
    (same && proven).then(|| Verified { nonce: nonce.to_owned(), count })
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// `Digest name=value, name="value", ...`, names in lower case.
fn fields(header: &str) -> Result<Vec<(String, String)>, ChallengeError> {
    if header.len() > HEADER_BYTES_MAX {
        return Err(ChallengeError::Damaged);
    }
    let (scheme, mut rest) = header.trim().split_once(' ').ok_or(ChallengeError::NotDigest)?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return Err(ChallengeError::NotDigest);
    }
    let mut fields = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(fields);
        }
        let (name, after) = rest.split_once('=').ok_or(ChallengeError::Damaged)?;
        let value;
        (value, rest) = match after.strip_prefix('"') {
            Some(inside) => unquoted(inside).ok_or(ChallengeError::Damaged)?,
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                let (token, tail) = after.split_at_checked(end).ok_or(ChallengeError::Damaged)?;
                (token.to_owned(), tail)
            }
        };
        fields.push((name.trim().to_ascii_lowercase(), value));
    }
}

/// The text up to the closing quote, and what follows it.
fn unquoted(inside: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = inside.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, inside.get(index + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RFC: &str = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    #[test]
    fn the_example_of_rfc_7616_section_3_9_1() {
        let challenge = Challenge::parse(RFC).unwrap();
        assert_eq!(challenge.realm, "http-auth@example.org");
        let request = Request {
            method: "GET",
            uri: "/dir/index.html",
            count: 1,
            client_nonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        };
        let answer = authorization(&challenge, "Mufasa", &"Circle of Life".into(), &request);
        let expected = "response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\"";
        assert!(answer.expose().contains(expected), "{}", answer.expose());
        assert!(answer.expose().ends_with("opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""));
        let check = |password: &str, method, uri| {
            verify(answer.expose(), "Mufasa", "http-auth@example.org", &password.into(), method, uri)
        };
        let verified = check("Circle of Life", "GET", "/dir/index.html").unwrap();
        assert_eq!((verified.nonce, verified.count), (challenge.nonce, 1));
        assert_eq!(check("circle of life", "GET", "/dir/index.html"), None);
        assert_eq!(check("Circle of Life", "POST", "/dir/index.html"), None);
        assert_eq!(check("Circle of Life", "GET", "/dir/other.html"), None);
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Err(ChallengeError::NotDigest));
        assert_eq!(Challenge::parse("Digest"), Err(ChallengeError::NotDigest));
        let md5 = "Digest realm=\"x\", nonce=\"y\", qop=\"auth\"";
        assert_eq!(Challenge::parse(md5), Err(ChallengeError::Unsupported), "without an algorithm it is MD5");
        #[cfg(feature = "onvif")]
        assert_eq!(Challenge::parse_any(md5).unwrap().algorithm, Algorithm::Md5);
        let integrity = "Digest realm=\"x\", nonce=\"y\", qop=\"auth-int\", algorithm=SHA-256";
        assert_eq!(Challenge::parse(integrity), Err(ChallengeError::Unsupported));
        for damaged in ["Digest realm=\"x", "Digest realm", "Digest realm=\"x\"", "Digest realm=\"\\"] {
            assert_eq!(Challenge::parse(damaged), Err(ChallengeError::Damaged), "{damaged}");
        }
        let long = format!("{RFC}, extra=\"{}\"", "x".repeat(HEADER_BYTES_MAX));
        assert_eq!(Challenge::parse(&long), Err(ChallengeError::Damaged));
    }

    #[cfg(feature = "onvif")]
    #[test]
    fn the_md5_example_of_rfc_7616_section_3_9_1() {
        let challenge = Challenge::parse_any(&RFC.replace("SHA-256", "MD5")).unwrap();
        let request = Request {
            method: "GET",
            uri: "/dir/index.html",
            count: 1,
            client_nonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        };
        let answer = authorization(&challenge, "Mufasa", &"Circle of Life".into(), &request);
        let expected = "response=\"8ca523f5e9506fed4657c9700eebdbec\"";
        assert!(answer.expose().contains(expected) && answer.expose().contains("algorithm=MD5"), "{}", answer.expose());
    }

    proptest! {
        #[test]
        fn quotes_survive(realm in "\\PC{0,30}", nonce in "\\PC{0,30}", user in "\\PC{0,20}") {
            let (algorithm, opaque) = (Algorithm::Sha256, None);
            let challenge = Challenge { algorithm, realm: realm.clone(), nonce: nonce.clone(), opaque };
            let request = Request { method: "POST", uri: "/rpc", count: 17, client_nonce: "c" };
            let answer = authorization(&challenge, &user, &"p".into(), &request);
            let verified = verify(answer.expose(), &user, &realm, &"p".into(), "POST", "/rpc");
            prop_assert_eq!(verified, Some(Verified { nonce, count: 17 }));
        }

        #[test]
        fn any_header_is_read_without_panic(header in "(Digest )?\\PC{0,80}") {
            let _ = Challenge::parse(&header);
        }
    }
}
