//! What serves the fake devices: a listener on loopback whose connections and replies are spoiled as their [`Board`] says.
//!
//! A fake is written from the device's documents, not from the driver beside it; its file (`fake_*.rs`) holds its wire
//! alone and starts a [`Fake`].
//!
//! **Never:** anything but loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub use super::fake_board::{Board, PowerOn, Spoil};

/// A running fake: its board, and where it listens. It stops when dropped.
pub struct Fake {
    address: SocketAddr,
    board: Arc<Board>,
    server: tokio::task::JoinHandle<()>,
}

impl Fake {
    /// Serves `board` on a free port of loopback until its link is cut; of more than `connections_max` connections at once,
    /// the rest are hung up on.
    ///
    /// # Errors
    /// What the system says about the port.
    pub(crate) async fn start<F, Served>(
        board: impl Into<Arc<Board>>,
        connections_max: usize,
        serve: F,
    ) -> std::io::Result<Self>
    where
        F: Fn(Arc<Board>, TcpStream) -> Served + Send + 'static,
        Served: Future<Output = Option<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let board = board.into();
        let served = Arc::clone(&board);
        let server = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while tasks.try_join_next().is_some() {}
                let Some(mut connected) = served.connect(connections_max) else { continue };
                let serving = serve(Arc::clone(&served), stream);
                tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        () = connected.cut() => {}
                        _ = serving => {}
                    }
                });
            }
        });
        Ok(Self { address, board, server })
    }

    /// Serves `board` over HTTP.
    ///
    /// # Errors
    /// What the system says about the port.
    #[cfg(feature = "testkit")]
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

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The device behind the wire.
impl Deref for Fake {
    type Target = Board;

    fn deref(&self) -> &Board {
        &self.board
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[cfg(feature = "testkit")]
impl Board {
    /// Sends a reply, spoiled as it is to be. `None` ends the connection.
    pub(crate) async fn reply(&self, stream: &mut TcpStream, reply: &[u8]) -> Option<()> {
        match self.spoiled() {
            Spoil::Silence => {
                // It says nothing until it is hung up on.
                while read_more(stream, &mut Vec::new()).await.is_some() {}
                None
            }
            Spoil::Half => {
                stream.write_all(reply.get(..reply.len() * 2 / 3)?).await.ok()?;
                None
            }
            Spoil::Garbage => {
                stream.write_all(b"\x00\xff\xfe SSH-2.0-none-of-it\r\n\r\n\r\n").await.ok()?;
                None
            }
            _ => stream.write_all(reply).await.ok(),
        }
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

/// Waits for more bytes. `None` at the end.
pub(crate) async fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 2048];
    let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
    received.extend_from_slice(chunk.get(..count)?);
    Some(())
}
