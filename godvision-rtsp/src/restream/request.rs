//! RTSP messages (RFC 2326 section 4, 6 and 7): requests taken apart, responses written.
//!
//! Own code rather than crate `rtsp-types` 0.1.3: that one compares header names only up to the shorter one's length,
//! so that `Accept` and `Accept-Ranges` are one header to it.
//!
//! **Never:** folded header lines (RFC 7826 forbids them; no client was seen to send one), bodies of any use: a body is
//! skipped.

use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::char;
use nom::combinator::all_consuming;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

/// Longest request, body included.
pub const REQUEST_BYTES_MAX: usize = 16 << 10;
/// Most header fields of a request.
pub const HEADERS_MAX: usize = 64;

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// More bytes are needed.
    Incomplete,
    /// A whole request and its length.
    Request(Request<'a>, usize),
    /// A frame inside the connection, a response to something, or empty lines: to be skipped, with its length.
    Other(usize),
    /// Nothing that can be read; answer with this status and close.
    Bad(Status),
}

/// A request, as slices of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    /// `1.0` is the one we speak.
    pub(crate) version: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Request<'a> {
    /// The first value of a header, without spaces around it.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Status codes that are used (RFC 2326 section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok = 200,
    BadRequest = 400,
    Unauthorized = 401,
    Forbidden = 403,
    NotFound = 404,
    MethodNotAllowed = 405,
    RequestTooLarge = 413,
    NotEnoughBandwidth = 453,
    SessionNotFound = 454,
    NotValidInThisState = 455,
    UnsupportedTransport = 461,
    ServiceUnavailable = 503,
    VersionNotSupported = 505,
    OptionNotSupported = 551,
}

impl Status {
    fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Stream Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTooLarge => "Request Entity Too Large",
            Self::NotEnoughBandwidth => "Not Enough Bandwidth",
            Self::SessionNotFound => "Session Not Found",
            Self::NotValidInThisState => "Method Not Valid in This State",
            Self::UnsupportedTransport => "Unsupported Transport",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::VersionNotSupported => "RTSP Version Not Supported",
            Self::OptionNotSupported => "Option Not Supported",
        }
    }
}

/// A response being written.
#[derive(Debug)]
pub(crate) struct Response(String);

impl Response {
    /// Starts a response; `sequence` is the request's CSeq, if it had one.
    pub(crate) fn new(status: Status, sequence: Option<&str>) -> Self {
        let mut text = format!("RTSP/1.0 {} {}\r\n", status as u16, status.reason());
        if let Some(sequence) = sequence {
            text += &format!("CSeq: {sequence}\r\n");
        }
        Self(text + "Server: godvision/" + env!("CARGO_PKG_VERSION") + "\r\n")
    }

    /// Adds a header. A line end in `value` becomes a space: what a client sent may come back, but starts no header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.0 += name;
        self.0 += ": ";
        self.0.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.0 += "\r\n";
        self
    }

    pub(crate) fn end(self) -> Vec<u8> {
        (self.0 + "\r\n").into_bytes()
    }

    pub(crate) fn body(self, body: &str) -> Vec<u8> {
        let text = self.0 + &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        text.into_bytes()
    }
}

/// Looks at the front of `input`.
pub(crate) fn parse(input: &[u8]) -> Parsed<'_> {
    match input {
        [] => return Parsed::Incomplete,
        [b'\r' | b'\n', ..] => {
            return Parsed::Other(input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count());
        }
        [b'$', rest @ ..] => {
            let Some([_, high, low]) = rest.first_chunk::<3>() else { return Parsed::Incomplete };
            let length = 4 + usize::from(u16::from_be_bytes([*high, *low]));
            return if input.len() < length { Parsed::Incomplete } else { Parsed::Other(length) };
        }
        _ => {}
    }
    // A first line that cannot be a request is answered at once, not when its end comes.
    if input.iter().take_while(|byte| **byte != b' ').any(|byte| !is_token(char::from(*byte)) && *byte != b'/') {
        return Parsed::Bad(Status::BadRequest);
    }
    let Some((head, end)) = split_head(input) else {
        return if input.len() >= REQUEST_BYTES_MAX {
            Parsed::Bad(Status::RequestTooLarge)
        } else {
            Parsed::Incomplete
        };
    };
    if end > REQUEST_BYTES_MAX {
        return Parsed::Bad(Status::RequestTooLarge);
    }
    let Ok(head) = std::str::from_utf8(head) else { return Parsed::Bad(Status::BadRequest) };
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut headers = Vec::new();
    for line in lines {
        let Some((name, value)) = header_line(line) else { return Parsed::Bad(Status::BadRequest) };
        if headers.len() == HEADERS_MAX {
            return Parsed::Bad(Status::BadRequest);
        }
        headers.push((name, value));
    }
    let mut request = Request { method: "", url: "", version: "", headers };
    let length = match request.header("Content-Length").map(str::parse::<usize>) {
        None => end,
        Some(Ok(body)) => match end.checked_add(body) {
            Some(whole) if whole <= REQUEST_BYTES_MAX => whole,
            _ => return Parsed::Bad(Status::RequestTooLarge),
        },
        Some(Err(_)) => return Parsed::Bad(Status::BadRequest),
    };
    if input.len() < length {
        return Parsed::Incomplete;
    }
    if first.starts_with("RTSP/") {
        return Parsed::Other(length);
    }
    match request_line(first) {
        Ok((_, (method, url, version))) => {
            (request.method, request.url, request.version) = (method, url, version);
            Parsed::Request(request, length)
        }
        Err(_) => Parsed::Bad(Status::BadRequest),
    }
}

/// The head without its last line end, and where it ends with the empty line.
fn split_head(input: &[u8]) -> Option<(&[u8], usize)> {
    let at = input.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((input.get(..at)?, at + 4))
}

/// RFC 2326's tokens.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

fn request_line(line: &str) -> IResult<&str, (&str, &str, &str)> {
    let method = take_while1(is_token);
    let url = take_while1(|c: char| c.is_ascii_graphic());
    let version = take_while1(|c: char| c.is_ascii_digit() || c == '.');
    all_consuming((terminated(method, char(' ')), terminated(url, char(' ')), preceded(tag("RTSP/"), version)))
        .parse(line)
}

fn header_line(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim();
    let fits = !name.is_empty() && name.chars().all(is_token) && !value.chars().any(char::is_control);
    fits.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_taken_apart() {
        let input = b"SETUP rtsp://h/a/track0 RTSP/1.0\r\nCSeq: 3\r\nsession:  ab \r\nContent-Length: 2\r\n\r\nxyREST";
        let Parsed::Request(request, length) = parse(input) else { panic!("a request") };
        assert_eq!((request.method, request.url, request.version), ("SETUP", "rtsp://h/a/track0", "1.0"));
        assert_eq!(
            (request.header("cseq"), request.header("Session"), request.header("Sess")),
            (Some("3"), Some("ab"), None)
        );
        assert_eq!(&input[length..], b"REST");
        for cut in 1..length {
            assert_eq!(parse(&input[..cut]), Parsed::Incomplete, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_request_is_told_apart() {
        assert_eq!(parse(b""), Parsed::Incomplete);
        assert_eq!(parse(b"$\x01\0\x02ab$"), Parsed::Other(6));
        assert_eq!(parse(b"$\x01\0\x02a"), Parsed::Incomplete);
        assert_eq!(parse(b"\r\n\r\nOPTIONS"), Parsed::Other(4));
        assert_eq!(parse(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"), Parsed::Other(28));
        for bad in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"OPTIONS * RTSP/1.0\r\nno colon\r\n\r\n",
            b"OPTIONS * RTSP/1.0\r\n folded: x\r\n\r\n",
            b"OPTIONS * RTSP/1.0\r\na: \x01\r\n\r\n",
            b"OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
            b"OPTIONS  * RTSP/1.0\r\n\r\n",
            b"OPTIONS\r\n\r\n",
            b"\x16\x03\x01",
            b"OPTIONS \xff RTSP/1.0\r\n\r\n",
        ] {
            assert_eq!(parse(bad), Parsed::Bad(Status::BadRequest), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn limits_are_kept() {
        let long = format!("OPTIONS * RTSP/1.0\r\nx: {}", "y".repeat(REQUEST_BYTES_MAX));
        assert_eq!(parse(long.as_bytes()), Parsed::Bad(Status::RequestTooLarge));
        let body = format!("OPTIONS * RTSP/1.0\r\nContent-Length: {}\r\n\r\n", usize::MAX);
        assert_eq!(parse(body.as_bytes()), Parsed::Bad(Status::RequestTooLarge));
        let many = format!("OPTIONS * RTSP/1.0\r\n{}\r\n", "x: 1\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(parse(many.as_bytes()), Parsed::Bad(Status::BadRequest));
        let most = format!("OPTIONS * RTSP/1.0\r\n{}\r\n", "x: 1\r\n".repeat(HEADERS_MAX));
        assert!(matches!(parse(most.as_bytes()), Parsed::Request(..)));
    }

    #[test]
    fn a_response_repeats_no_line_end() {
        let response = Response::new(Status::Ok, Some("1")).header("Unsupported", "a\r\nb: c").end();
        let text = String::from_utf8(response).unwrap();
        assert!(text.ends_with("\r\nUnsupported: a  b: c\r\n\r\n"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic_and_within_bounds(input in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Parsed::Request(_, length) | Parsed::Other(length) = parse(&input) {
                prop_assert!(length > 0 && length <= input.len());
            }
        }

        #[test]
        fn near_requests_are_parsed_without_panic(input in "(SETUP|PLAY|\\$)? ?(rtsp://h/a)? RTSP/[12].0\r\n([A-Za-z-]{0,9}:? ?[ -~]{0,9}\r\n){0,4}\r\n?") {
            if let Parsed::Request(_, length) | Parsed::Other(length) = parse(input.as_bytes()) {
                prop_assert!(length > 0 && length <= input.len());
            }
        }
    }
}
