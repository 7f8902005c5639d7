//! Fakes that speak HTTP: requests read and replies written, as much of it as the devices have.
//!
//! **Never:** a second request before the first is answered.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::fake::{Board, Fake, read_more};

impl Fake {
    /// Serves `board` over HTTP.
    ///
    /// # Errors
    /// What the system says about the port.
    pub(crate) async fn http(
        board: Board,
        answer: impl Fn(&Board, &FakeRequest) -> String + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let answer = Arc::new(answer);
        let serve = move |board: Arc<Board>, mut stream: TcpStream| {
            let answer = Arc::clone(&answer);
            async move {
                let mut received = Vec::new();
                loop {
                    let request = read_request(&mut stream, &mut received).await?;
                    board.note(format!("{} {}", request.method, request.target));
                    let reply = answer(&board, &request);
                    board.reply(&mut stream, reply.as_bytes()).await?;
                }
            }
        };
        Self::start(board, usize::MAX, serve).await
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct FakeRequest {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl FakeRequest {
    /// What stands before the `?`.
    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// A value behind the `?`, percent-decoded.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.into_iter().find(|(known, _)| *known == name)?;
        crate::address::percent_decoded(value)
    }

    /// Whether it carries this user name and password in the clear.
    pub(crate) fn is_basic(&self, user: &str, password: &godvision_core::Secret) -> bool {
        self.authorization.as_deref() == Some(super::http::basic(user, password).expose())
    }
}

/// A reply over HTTP.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Longest request; a fake hangs up on a longer one.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// Reads one request; what follows it stays in `received`. `None` at the end, or when it is no request.
pub(crate) async fn read_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<FakeRequest> {
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(received.get(..end)?.to_vec()).ok()?;
            let mut first = head.split("\r\n").next()?.split(' ');
            let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
            let header = |name: &str| {
                head.split("\r\n")
                    .skip(1)
                    .filter_map(|line| line.split_once(':'))
                    .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned()))
            };
            let length: usize = header("content-length").map_or(Some(0), |length| length.parse().ok())?;
            if length > REQUEST_BYTES_MAX {
                return None;
            }
            if received.len() >= end + 4 + length {
                let body = received.get(end + 4..end + 4 + length)?.to_vec();
                received.drain(..end + 4 + length);
                return Some(FakeRequest { method, target, authorization: header("authorization"), body });
            }
        }
        if received.len() > 2 * REQUEST_BYTES_MAX {
            return None;
        }
        read_more(stream, received).await?;
    }
}
