//! What serves the fake devices: a listener on loopback whose connections and replies are spoiled as their [`Board`] says.
//!
//! A fake is written from the device's documents, not from the driver beside it; its file (`fake_*.rs`) holds its wire
//! alone and starts a [`Fake`].
//!
//! **Never:** anything but loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

#[cfg(feature = "testkit")]
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

#[cfg(feature = "testkit")]
/// Waits for more bytes. `None` at the end.
pub(crate) async fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 2048];
    let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
    received.extend_from_slice(chunk.get(..count)?);
    Some(())
}
