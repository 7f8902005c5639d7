//! A fake Modbus relay board with Waveshare's flash command: Modbus TCP or RTU over TCP on loopback, RTU on any stream.
//!
//! Written from the specification and the vendor's pages, not from the driver beside it.
//!
//! **Never:** anything but loopback, functions that relay boards do not have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::fake::{Board, Fake, Spoil};

/// How the fake's frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Modbus TCP.
    Tcp,
    /// RTU frames.
    Rtu,
}

/// A running fake on loopback, unit 1. It stops when dropped.
pub struct FakeModbus {
    fake: Fake,
}

impl FakeModbus {
    /// Starts on a free port of loopback.
    ///
    /// # Errors
    /// What the system says about the port.
    pub async fn start(board: Arc<Board>, wire: Wire) -> std::io::Result<Self> {
        let served = Arc::clone(&board);
        let serve = move |_: Arc<Board>, stream| serve(Arc::clone(&served), wire, stream);
        Ok(Self { fake: Fake::start(board, usize::MAX, serve).await? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.fake.address()
    }
}

/// Answers requests on `stream` until it ends.
pub async fn serve<S>(board: Arc<Board>, wire: Wire, mut stream: S) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let (prefix, request) = match wire {
            Wire::Tcp => {
                let mut head = [0; 6];
                stream.read_exact(&mut head).await.ok()?;
                let [_, _, _, _, high, low] = head;
                let mut request = vec![0; usize::from(u16::from_be_bytes([high, low])).min(254)];
                stream.read_exact(&mut request).await.ok()?;
                (head.get(..4)?.to_vec(), request)
            }
            Wire::Rtu => {
                let mut frame = vec![0; 8];
                stream.read_exact(&mut frame).await.ok()?;
                let sum = frame.split_off(6);
                if checksum(&frame) != sum {
                    continue;
                }
                (Vec::new(), frame)
            }
        };
        // A board on a line is silent when another unit is meant.
        if request.first() != Some(&1) {
            continue;
        }
        let mut body = vec![1];
        body.extend(answer(&board, request.get(1..)?));
        let mut reply = prefix;
        match wire {
            Wire::Tcp => {
                reply.extend(u16::try_from(body.len()).ok()?.to_be_bytes());
                reply.extend(body);
            }
            Wire::Rtu => {
                let sum = checksum(&body);
                reply.extend(body);
                reply.extend(sum);
            }
        }
        match board.spoiled() {
            Spoil::Silence => {}
            Spoil::Half => {
                stream.write_all(reply.get(..reply.len() / 2)?).await.ok()?;
                return None;
            }
            Spoil::Garbage => stream.write_all(b"\xde\xad\xbe\xef HTTP/1.0 400\r\n\r\n").await.ok()?,
            _ => stream.write_all(&reply).await.ok()?,
        }
    }
}

/// The reply's PDU.
fn answer(board: &Board, pdu: &[u8]) -> Vec<u8> {
    let [code, a, b, c, d] = *pdu else { return vec![0x80, 0x03] };
    let (address, value) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if board.spoiled() == Spoil::Refuse {
        return vec![code | 0x80, 0x04];
    }
    match code {
        0x01 | 0x02 => {
            let bit = |index: u16| {
                let index = u8::try_from(address + index).unwrap_or(u8::MAX);
                if code == 0x01 { board.is_on(index.into()) } else { board.is_closed(index.into()) }
            };
            let mut bytes = vec![0; usize::from(value).div_ceil(8).min(8)];
            for index in 0..value.min(64) {
                let Some(is_set) = bit(index) else { return vec![code | 0x80, 0x02] };
                if let Some(byte) = bytes.get_mut(usize::from(index) / 8) {
                    *byte |= u8::from(is_set) << (index % 8);
                }
            }
            [vec![code, bytes.len() as u8], bytes].concat()
        }
        0x05 => {
            let [bank, channel] = address.to_be_bytes();
            let done = match (bank, value) {
                (0x00, 0xFF00) => board.command(channel.into(), true, None),
                (0x00, 0x0000) => board.command(channel.into(), false, None),
                (0x02, 1..=0x7FFF) => {
                    board.command(channel.into(), true, Some(Duration::from_millis(100) * u32::from(value)))
                }
                _ => return vec![0x85, 0x03],
            };
            if done.is_some() { pdu.to_vec() } else { vec![0x85, 0x02] }
        }
        _ => vec![code | 0x80, 0x01],
    }
}

/// CRC-16 by the specification's other way: a shift register of single bits.
fn checksum(bytes: &[u8]) -> Vec<u8> {
    let mut register = 0xFFFF_u16;
    for byte in bytes {
        for bit in 0..8 {
            let feedback = (register ^ u16::from(byte >> bit)) & 1;
            register >>= 1;
            if feedback == 1 {
                register ^= 0xA001;
            }
        }
    }
    vec![(register & 0xFF) as u8, (register >> 8) as u8]
}
