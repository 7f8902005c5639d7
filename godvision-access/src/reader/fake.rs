//! Fake readers on loopback, for tests of programs that drive real ones: a port that can be cut ([`FakePort`]) and behind it
//! a bridge ([`FakeBridge`]), an OSDP device, or bytes that a test makes up ([`Bytes`]).
//!
//! **Never:** anything but loopback.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_core::signal::door::Indication;
use godvision_core::{Clock, MonoTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::indication::Shown;
use super::wire::Lines;

/// A device at the other end of a port.
pub trait Peer: Send + 'static {
    /// Takes what the driver sent and gives what the device answers.
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8>;
}

/// A device that answers nothing.
#[derive(Debug, Default)]
pub struct Bytes;

impl Peer for Bytes {
    fn receive(&mut self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

#[cfg(feature = "osdp")]
impl Peer for super::osdp::fake::FakeDevice {
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        Self::receive(self, bytes)
    }
}

/// Devices that share a line.
#[cfg(feature = "osdp")]
impl Peer for Vec<super::osdp::fake::FakeDevice> {
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.iter_mut().flat_map(|device| device.receive(bytes)).collect()
    }
}

struct Shared<P> {
    peer: Mutex<P>,
    /// Bytes for the driver; they wait for a connection, as in a serial device server.
    outbox: watch::Sender<Vec<u8>>,
    is_up: watch::Sender<bool>,
    connections: Mutex<u64>,
}

/// A port on loopback with a device behind it. It stops when dropped.
pub struct FakePort<P> {
    address: SocketAddr,
    shared: Arc<Shared<P>>,
    server: tokio::task::JoinHandle<()>,
}

impl<P: Peer> FakePort<P> {
    /// Starts on a free port of loopback.
    ///
    /// # Errors
    /// What the system says about the port.
    pub async fn start(peer: P) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (outbox, is_up) = (watch::Sender::new(Vec::new()), watch::Sender::new(true));
        let shared = Arc::new(Shared { peer: Mutex::new(peer), outbox, is_up, connections: Mutex::new(0) });
        let serving = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            let mut listener = Some(listener);
            let mut is_up = serving.is_up.subscribe();
            loop {
                if !*is_up.borrow_and_update() {
                    // Nobody can connect, not even into the system's queue.
                    listener = None;
                    if is_up.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                let Some(open) = &listener else {
                    listener = TcpListener::bind(address).await.ok();
                    tokio::task::yield_now().await;
                    continue;
                };
                // One connection at a time, as such devices have.
                tokio::select! {
                    () = comes(&mut is_up, |is_up| !is_up) => {}
                    Ok((stream, _)) = open.accept() => {
                        *serving.connections.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                        tokio::select! {
                            () = comes(&mut is_up, |is_up| !is_up) => {}
                            _ = serving.serve(stream) => {}
                        }
                    }
                }
            }
        });
        Ok(Self { address, shared, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The device.
    pub fn peer(&self) -> MutexGuard<'_, P> {
        self.shared.locked()
    }

    /// Sends `bytes` to the driver, now or when it connects.
    pub fn send(&self, bytes: &[u8]) {
        self.shared.outbox.send_modify(|outbox| outbox.extend_from_slice(bytes));
    }

    /// Cuts the link or mends it. What had not been sent when it was cut is lost.
    pub fn set_link(&self, is_up: bool) {
        if !is_up {
            self.shared.outbox.send_modify(Vec::clear);
        }
        self.shared.is_up.send_replace(is_up);
    }

    /// How many connections were taken.
    pub fn connections(&self) -> u64 {
        *self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Drop for FakePort<P> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Waits until what is watched is so.
async fn comes<T>(watched: &mut watch::Receiver<T>, is_so: impl FnMut(&T) -> bool) {
    // An error means that the port is gone, and its task with it.
    let _ = watched.wait_for(is_so).await;
}

impl<P: Peer> Shared<P> {
    fn locked(&self) -> MutexGuard<'_, P> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut outbox = self.outbox.subscribe();
        let mut chunk = [0; 512];
        loop {
            let mut bytes = Vec::new();
            self.outbox.send_if_modified(|outbox| {
                bytes = std::mem::take(outbox);
                false
            });
            stream.write_all(&bytes).await?;
            tokio::select! {
                () = comes(&mut outbox, |outbox| !outbox.is_empty()) => {}
                read = stream.read(&mut chunk) => match read? {
                    0 => return Ok(()),
                    count => {
                        let answer = self.locked().receive(chunk.get(..count).unwrap_or_default());
                        stream.write_all(&answer).await?;
                    }
                }
            }
        }
    }
}

/// The device's side of [`bridge`](super::bridge): remembers what each lamp was told, answers `alive?`.
pub struct FakeBridge {
    lines: Lines<64>,
    shown: BTreeMap<u8, Vec<(MonoTime, Shown)>>,
    clock: Arc<dyn Clock>,
}

/// How many changes of a lamp are remembered.
const CHANGES_MAX: usize = 64;

impl Peer for FakeBridge {
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes {
            let Some(Ok(line)) = self.lines.push(*byte) else { continue };
            let text = String::from_utf8_lossy(line);
            let words: Vec<&str> = text.split(' ').collect();
            match *words.as_slice() {
                ["alive?"] => out.extend_from_slice(b"alive\n"),
                ["show", channel, lamps] => {
                    if let (Ok(channel), [red, green, beep]) = (channel.parse(), lamps.as_bytes()) {
                        let changes = self.shown.entry(channel).or_default();
                        let shown = Shown { red: *red == b'r', green: *green == b'g', beep: *beep == b'b' };
                        changes.push((self.clock.mono(), shown));
                        if changes.len() > CHANGES_MAX {
                            changes.remove(0);
                        }
                    }
                }
                _ => {}
            }
        }
        out
    }
}

/// A lamp that has not changed for so long is steady.
const STEADY: Duration = Duration::from_millis(700);

impl FakeBridge {
    /// A bridge that remembers when it was told what, on `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { lines: Lines::default(), shown: BTreeMap::new(), clock }
    }

    /// What the lamps of `channel` were told and when, oldest first.
    pub fn changes(&self, channel: u8) -> &[(MonoTime, Shown)] {
        self.shown.get(&channel).map_or(&[], Vec::as_slice)
    }

    /// What somebody in front of `channel` takes it for, by the last changes.
    pub fn shown(&self, channel: u8) -> Option<Indication> {
        let changes = self.changes(channel);
        let is_steady = changes.last().is_some_and(|(at, _)| self.clock.mono().since(*at) > STEADY);
        let shown: Vec<Shown> = changes.iter().map(|(_, shown)| *shown).collect();
        match *shown.as_slice() {
            [.., Shown::RED, Shown::GREEN, Shown::RED] | [.., Shown::GREEN, Shown::RED, Shown::GREEN] if !is_steady => {
                Some(Indication::Awaiting)
            }
            [.., Shown::RED_BEEP, Shown::RED] if !is_steady => Some(Indication::Held),
            [.., Shown::RED_BEEP, Shown::DARK] => Some(Indication::Refused),
            [.., Shown::RED] => Some(Indication::Ready),
            [.., Shown::DARK] => Some(Indication::Busy),
            [.., Shown::GREEN] => Some(Indication::Open),
            _ => None,
        }
    }
}

impl std::fmt::Debug for FakeBridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(&self.shown).finish()
    }
}
