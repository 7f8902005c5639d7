//! A fake USR-R16 board on loopback: password, frames with sums, heartbeats in between.
//!
//! **Never:** anything but loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use godvision_core::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fake::{Board, Fake, Spoil};

/// A running fake. It stops when dropped.
pub struct FakeUsrR16 {
    fake: Fake,
}

impl FakeUsrR16 {
    /// Starts on a free port of loopback.
    ///
    /// # Errors
    /// What the system says about the port.
    pub async fn start(board: Arc<Board>, password: Secret) -> std::io::Result<Self> {
        let password = Arc::new(password);
        let served = Arc::clone(&board);
        let serve = move |_: Arc<Board>, stream| serve(Arc::clone(&served), Arc::clone(&password), stream);
        Ok(Self { fake: Fake::start(board, usize::MAX, serve).await? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.fake.address()
    }
}

async fn serve(board: Arc<Board>, password: Arc<Secret>, mut stream: TcpStream) -> Option<()> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        if line.len() > 64 {
            return None;
        }
        line.push(stream.read_u8().await.ok()?);
    }
    if line.strip_suffix(b"\r\n") != Some(password.expose().as_bytes()) {
        stream.write_all(b"NO").await.ok()?;
        return None;
    }
    stream.write_all(b"OK").await.ok()?;
    stream.write_all(&frame(0xFF, &[])).await.ok()?;
    loop {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.ok()?;
        let [0x55, 0xAA, 0, length] = head else { return None };
        let mut content = vec![0; usize::from(length) + 1];
        stream.read_exact(&mut content).await.ok()?;
        let (sum, content) = content.split_last()?;
        if content.iter().fold(length, |sum, byte| sum.wrapping_add(*byte)) != *sum {
            continue;
        }
        let reply = match content {
            [_, command @ (1 | 2), number] => {
                let (channel, is_on) = (number.checked_sub(1)?, *command == 2);
                if board.spoiled() != Spoil::Refuse {
                    board.command(channel.into(), is_on, None)?;
                }
                // It has no word for no: it tells the state that it left.
                frame(command | 0x80, &[*number, u8::from(board.is_on(channel.into())?)])
            }
            [_, 0x0A] => {
                let bit = |channel: u8| board.is_on(channel.into()).map_or(0, u16::from) << channel;
                let bits = (0..16).fold(0_u16, |bits, channel| bits | bit(channel));
                frame(0x8A, &bits.to_le_bytes())
            }
            _ => return None,
        };
        match board.spoiled() {
            Spoil::Silence => {}
            Spoil::Half => {
                stream.write_all(reply.get(..reply.len() / 2)?).await.ok()?;
                return None;
            }
            Spoil::Garbage => stream.write_all(b"\x00\x55\x01\x01 what?").await.ok()?,
            _ => stream.write_all(&reply).await.ok()?,
        }
    }
}

fn frame(command: u8, parameters: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xAA, 0x55, 0, parameters.len() as u8 + 2, 0, command];
    bytes.extend(parameters);
    let sum = bytes.iter().skip(2).map(|byte| u32::from(*byte)).sum::<u32>();
    bytes.push((sum & 0xFF) as u8);
    bytes
}
