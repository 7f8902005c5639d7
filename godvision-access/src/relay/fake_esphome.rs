//! A fake ESPHome device on loopback: its native API, plain or under Noise, with switches, binary sensors, and buttons
//! whose press is a pulse by the device's own configuration.
//!
//! Its entities are `Gate 1`, `Gate 2`, ... (switches), `Gate 1 pulse`, ... (buttons), `Contact 1`, ... (binary sensors).
//! Its messages are put together by hand, not by the driver's types; the frames are the driver's, which ESPHome's own
//! client reads.
//!
//! **Never:** anything but loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::esphome::frame::{KEY_BYTES, Packet, Wire, builder, framed, take_framed};
use super::esphome::message::{push_bytes, push_fixed32, push_key, push_number};
use super::fake::{Board, Fake, Spoil};

const SWITCH_KEY: u32 = 1000;
const BUTTON_KEY: u32 = 2000;
const SENSOR_KEY: u32 = 3000;
const HANDSHAKE_BYTES_MAX: usize = 512;

struct Device {
    board: Arc<Board>,
    key: Option<[u8; KEY_BYTES]>,
    pulse: Duration,
}

/// A running fake. It stops when dropped.
pub struct FakeEsphome {
    fake: Fake,
}

impl FakeEsphome {
    /// Starts on a free port of loopback. Its buttons pulse for `pulse`.
    ///
    /// # Errors
    /// What the system says about the port.
    pub async fn start(board: Arc<Board>, key: Option<[u8; KEY_BYTES]>, pulse: Duration) -> std::io::Result<Self> {
        let device = Arc::new(Device { board: Arc::clone(&board), key, pulse });
        let serve = move |_: Arc<Board>, stream| {
            let device = Arc::clone(&device);
            async move { device.serve(stream).await }
        };
        Ok(Self { fake: Fake::start(board, usize::MAX, serve).await? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.fake.address()
    }
}

impl Device {
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut received = BytesMut::new();
        let mut wire = match &self.key {
            None => Wire::Plain,
            Some(key) => agree(&mut stream, &mut received, key).await?,
        };
        let mut is_listening = false;
        loop {
            let Some(packet) = wire.open(&mut received).ok()? else {
                stream.read_buf(&mut received).await.ok().filter(|count| *count > 0)?;
                continue;
            };
            let before: Vec<bool> = self.contacts().collect();
            let mut replies = self.replies(&packet, &mut is_listening)?;
            if is_listening && packet.0 != 20 {
                let changed = self.contacts().enumerate().filter(|(index, is_on)| before.get(*index) != Some(is_on));
                let states: Vec<_> = changed.map(|(index, is_on)| switch_state(index as u32, is_on)).collect();
                replies.splice(0..0, states);
            }
            for reply in replies {
                let bytes = wire.seal(&reply).ok()?;
                // What it is asked before any command, a spoilt device answers well: the trouble begins where it hurts.
                match self.board.spoiled() {
                    Spoil::Silence if is_listening => {}
                    Spoil::Half if is_listening => {
                        stream.write_all(bytes.get(..bytes.len() / 2)?).await.ok()?;
                        return None;
                    }
                    Spoil::Garbage if is_listening => stream.write_all(b"HTTP/1.1 500 no\r\n\r\n").await.ok()?,
                    _ => stream.write_all(&bytes).await.ok()?,
                }
            }
            if packet.0 == 5 {
                return None;
            }
        }
    }

    fn contacts(&self) -> impl Iterator<Item = bool> {
        (0..=u8::MAX).map_while(|channel| self.board.is_on(channel.into()))
    }

    fn sensors(&self) -> impl Iterator<Item = bool> {
        (0..=u8::MAX).map_while(|input| self.board.is_closed(input.into()))
    }

    fn replies(&self, (kind, body): &Packet, is_listening: &mut bool) -> Option<Vec<Packet>> {
        let key = || Some(u32::from_le_bytes(*body.strip_prefix(&[0x0D])?.first_chunk::<4>()?));
        Some(match kind {
            1 => {
                let mut hello = Vec::new();
                push_number(&mut hello, 1, 1);
                push_number(&mut hello, 2, 10);
                push_bytes(&mut hello, 3, b"fake (esphome v2025.6.0)");
                push_bytes(&mut hello, 4, b"gate");
                vec![(2, hello)]
            }
            3 => vec![(4, Vec::new())],
            5 => vec![(6, Vec::new())],
            7 => vec![(8, Vec::new())],
            9 => {
                let mut info = Vec::new();
                push_bytes(&mut info, 2, b"gate");
                vec![(10, info)]
            }
            11 => self.entities(),
            20 => {
                *is_listening = true;
                let switches = self.contacts().enumerate().map(|(index, is_on)| switch_state(index as u32, is_on));
                let sensors = self.sensors().enumerate().map(|(index, is_closed)| {
                    let mut state = Vec::new();
                    push_key(&mut state, SENSOR_KEY + index as u32);
                    push_number(&mut state, 2, u64::from(is_closed));
                    (21, state)
                });
                switches.chain(sensors).collect()
            }
            33 => {
                let channel = u8::try_from(key()?.checked_sub(SWITCH_KEY)?).ok()?;
                self.board.command(channel.into(), body.get(5..) == Some(&[0x10, 1]), None)?;
                Vec::new()
            }
            62 => {
                let channel = u8::try_from(key()?.checked_sub(BUTTON_KEY)?).ok()?;
                self.board.command(channel.into(), true, Some(self.pulse))?;
                Vec::new()
            }
            _ => Vec::new(),
        })
    }

    fn entities(&self) -> Vec<Packet> {
        let entity = |kind, key, name: String| {
            let mut body = Vec::new();
            push_fixed32(&mut body, 2, key);
            push_bytes(&mut body, 3, name.as_bytes());
            (kind, body)
        };
        let mut entities = Vec::new();
        // A device that was given other firmware has others.
        if self.board.spoiled() != Spoil::Refuse {
            for (index, _) in (0_u32..).zip(self.contacts()) {
                entities.push(entity(17, SWITCH_KEY + index, format!("Gate {}", index + 1)));
                entities.push(entity(61, BUTTON_KEY + index, format!("Gate {} pulse", index + 1)));
            }
            for (index, _) in (0_u32..).zip(self.sensors()) {
                entities.push(entity(12, SENSOR_KEY + index, format!("Contact {}", index + 1)));
            }
        }
        entities.push((19, Vec::new()));
        entities
    }
}

fn switch_state(index: u32, is_on: bool) -> Packet {
    let mut state = Vec::new();
    push_key(&mut state, SWITCH_KEY + index);
    push_number(&mut state, 2, u64::from(is_on));
    (26, state)
}

/// The device's side of the handshake.
async fn agree(stream: &mut TcpStream, received: &mut BytesMut, key: &[u8; KEY_BYTES]) -> Option<Wire> {
    let mut messages = Vec::new();
    while messages.len() < 2 {
        match take_framed(received, HANDSHAKE_BYTES_MAX) {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => {
                stream.read_buf(received).await.ok().filter(|count| *count > 0)?;
            }
            Err(_) => {
                stream.write_all(&framed(b"\x01Bad indicator byte").ok()?).await.ok()?;
                return None;
            }
        }
    }
    stream.write_all(&framed(b"\x01gate\0aabbccddeeff\0").ok()?).await.ok()?;
    let mut state = builder(key).ok()?.build_responder().ok()?;
    let mut buffer = [0; HANDSHAKE_BYTES_MAX];
    if state.read_message(messages.get(1)?.get(1..)?, &mut buffer).is_err() {
        stream.write_all(&framed(b"\x01Handshake MAC failure").ok()?).await.ok()?;
        return None;
    }
    let written = state.write_message(&[], &mut buffer).ok()?;
    stream.write_all(&framed(&[&[0], buffer.get(..written)?].concat()).ok()?).await.ok()?;
    Some(Wire::Noise(Box::new(state.into_transport_mode().ok()?)))
}
