//! [`OsdpInstall`]: gives a device in installation mode its key, and nothing else.
//!
//! ```text
//! ID -> challenge, proof (default key) -> set the key -> ID -> challenge, proof (new key) -> done
//! ```
//! A device that leaves the factory, or was put into installation mode, takes a secure session by the default key (SCBK-D),
//! which everybody knows: **whoever listens to the line during this reads the new key**. So it is done on a desk or a cable
//! of which one is sure, by an address of its own (`install=yes`), and a reader so addressed never presents anything: it
//! says that the key is set, and serves when `install=yes` is taken out. Done once, it sends nothing more.
//!
//! Source: SIA OSDP v2.2, `osdp_KEYSET` and annex D. Whether the device has taken the key is not believed but proven: by a
//! session with it. Some devices answer `osdp_KEYSET` in clear, since they have forgotten the session; nothing hangs on that.
//!
//! **Never:** a credential, a key set outside of a session, the default key as the new one.

use godvision_core::MonoTime;
use godvision_core::driver::reader::{Capabilities, ReaderError};
use godvision_core::signal::door::Indication;
use zeroize::Zeroize;

use super::super::wire::{Events, Wire, WireEvent};
use super::frame::{Deframer, Found, Packet, Received};
use super::panel::{OsdpKey, REPLY_TIMEOUT, RETRIES_MAX, Random};
use super::secure::{Block, Keys, SCBK_D, Session, same};
use super::{command, reply};

/// What it says at last.
pub const INSTALLED: &str = "its key is set and proven: take install=yes out of the address";
/// The kind of key in `osdp_KEYSET`: the base key of the secure channel.
const KIND_SCBK: u8 = 1;

/// By which key a session is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Default,
    New,
}

enum Step {
    Identify,
    Challenge,
    Prove(Keys, Block),
    /// The key is on its way.
    Set(Session),
    Idle,
}

struct Sent {
    bytes: Vec<u8>,
    until: MonoTime,
    tries: u32,
}

/// Gives one device its key.
pub struct OsdpInstall {
    address: u8,
    key: OsdpKey,
    random: Random,
    capabilities: Capabilities,
    by: By,
    step: Step,
    panel_random: [u8; 8],
    sequence: u8,
    sent: Option<Sent>,
    deframer: Deframer,
    events: Events,
    out: Vec<u8>,
    is_installed: bool,
}

impl OsdpInstall {
    /// Gives the device at `address` the key `key`; `None` for the default key.
    pub fn new(address: u8, key: OsdpKey, random: Random) -> Option<Self> {
        if key.is_default() {
            return None;
        }
        Some(Self {
            address,
            key,
            random,
            capabilities: Capabilities { driver: "osdp-install", channels: 1, indicates: false },
            by: By::Default,
            step: Step::Idle,
            panel_random: [0; 8],
            sequence: 0,
            sent: None,
            deframer: Deframer::default(),
            events: Events::default(),
            out: Vec::new(),
            is_installed: false,
        })
    }

    /// Whether the device has proven that it knows the key.
    pub fn is_installed(&self) -> bool {
        self.is_installed
    }

    fn begin(&mut self, by: By, now: MonoTime) {
        (self.by, self.step, self.sequence) = (by, Step::Identify, 0);
        self.send(command::ID, vec![0], None, now);
    }

    /// Sends a command; what is to be hidden in it was encrypted before.
    fn send(&mut self, code: u8, data: Vec<u8>, handshake: Option<u8>, now: MonoTime) {
        // Which key is meant stands in the clear: 0 for the default one.
        let which = u8::from(self.by == By::New);
        let security = handshake.map(|kind| (kind, if kind < 0x15 { vec![which] } else { Vec::new() }));
        let packet = Packet { address: self.address, is_reply: false, sequence: self.sequence, security, code, data };
        let bytes = match &mut self.step {
            Step::Set(session) => packet.to_bytes(|head| session.sign(head)),
            _ => packet.to_bytes(|_| [0; 4]),
        };
        self.sequence = self.sequence % 3 + 1;
        self.deframer.clear();
        self.out.extend_from_slice(&bytes);
        self.sent = Some(Sent { bytes, until: now + REPLY_TIMEOUT, tries: 0 });
    }

    fn lose(&mut self, why: &'static str) {
        (self.step, self.sent) = (Step::Idle, None);
        self.out.clear();
        self.events.lost(why);
    }

    /// This key is not the device's.
    fn refused(&mut self, now: MonoTime) {
        match self.by {
            // It may have the new one already.
            By::Default => self.begin(By::New, now),
            By::New => self.lose("it is not in installation mode, and does not know the key"),
        }
    }

    fn base(&self) -> &Block {
        match self.by {
            By::Default => &SCBK_D,
            By::New => self.key.bytes(),
        }
    }

    fn take(&mut self, received: Received, now: MonoTime) {
        let Received { packet, mac } = received;
        let Some(sent) = self.sent.as_mut() else { return };
        if !packet.is_reply || packet.address != self.address {
            return;
        }
        if packet.code == reply::BUSY && packet.security.is_none() {
            // Counts as no answer, with the time of one.
            sent.until = now + REPLY_TIMEOUT;
            return;
        }
        if packet.sequence != sent.bytes.get(4).map_or(0, |control| control & 3) {
            return self.events.nonsense("a reply to another command");
        }
        self.sent = None;
        let kind = packet.security.as_ref().map(|(kind, _)| *kind);
        match (std::mem::replace(&mut self.step, Step::Idle), packet.code, kind) {
            (Step::Identify, reply::ID, None) => match (self.random)() {
                Some(random) => {
                    (self.step, self.panel_random) = (Step::Challenge, random);
                    self.send(command::CHALLENGE, random.to_vec(), Some(0x11), now);
                }
                None => self.lose("there are no random numbers for a secure session"),
            },
            (Step::Challenge, reply::PROOF, Some(0x12)) => match self.challenged(&packet.data) {
                Some((keys, proof)) => {
                    self.step = Step::Prove(keys, proof);
                    self.send(command::PROOF, proof.to_vec(), Some(0x13), now);
                }
                None => self.refused(now),
            },
            (Step::Prove(keys, proof), reply::FIRST_MAC, Some(0x14)) => {
                let first = keys.first_mac(proof);
                match (same(&first, &packet.data), self.by) {
                    (false, _) => self.refused(now),
                    (true, By::New) => {
                        self.is_installed = true;
                        self.lose(INSTALLED);
                    }
                    (true, By::Default) => self.set_key(Session::new(keys, first), now),
                }
            }
            (Step::Set(mut session), reply::ACK, kind) => {
                let is_proven = match (kind, &mac) {
                    (Some(0x16), Some((head, mac))) => session.verify(head, *mac),
                    _ => kind.is_none(),
                };
                if is_proven { self.begin(By::New, now) } else { self.lose("a reply whose MAC does not fit") }
            }
            (Step::Set(_), ..) => self.lose("it does not take a key"),
            (Step::Challenge | Step::Prove(..), reply::NAK, _) => self.refused(now),
            _ => self.lose("it answers something else than it was asked"),
        }
    }

    fn challenged(&self, data: &[u8]) -> Option<(Keys, Block)> {
        let (_, rest) = data.split_first_chunk::<8>()?;
        let (device, proof) = rest.split_first_chunk::<8>()?;
        let keys = Keys::derive(self.base(), self.panel_random);
        let ours = keys.panel_proof(self.panel_random, *device);
        same(&keys.device_proof(self.panel_random, *device), proof).then_some((keys, ours))
    }

    fn set_key(&mut self, session: Session, now: MonoTime) {
        let mut data = vec![KIND_SCBK, 16];
        data.extend_from_slice(self.key.bytes());
        let hidden = session.encrypt(&data);
        data.zeroize();
        self.step = Step::Set(session);
        self.send(command::KEYSET, hidden, Some(0x17), now);
    }
}

impl Wire for OsdpInstall {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn connected(&mut self, now: MonoTime) {
        self.deframer.clear();
        self.out.clear();
        if self.is_installed {
            return self.lose(INSTALLED);
        }
        self.begin(By::Default, now);
    }

    fn receive(&mut self, bytes: &[u8], now: MonoTime) {
        self.deframer.push(bytes);
        while let Some(found) = self.deframer.poll() {
            match found {
                Found::Packet(received) => self.take(received, now),
                Found::Nonsense => self.events.nonsense("bytes that are no packet"),
            }
        }
    }

    fn tick(&mut self, now: MonoTime) {
        let Some(sent) = self.sent.as_mut().filter(|sent| sent.until <= now) else { return };
        sent.tries += 1;
        if sent.tries > RETRIES_MAX {
            return self.lose("it does not answer");
        }
        sent.until = now + REPLY_TIMEOUT;
        self.deframer.clear();
        self.out.extend_from_slice(&sent.bytes);
    }

    fn next_wake(&self) -> Option<MonoTime> {
        self.sent.as_ref().map(|sent| sent.until)
    }

    fn poll_event(&mut self) -> Option<WireEvent> {
        self.events.pop()
    }

    fn poll_send(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn indicate(&mut self, _: u8, _: Indication, _: MonoTime) -> Result<(), ReaderError> {
        Err(ReaderError::Unsupported { what: "show anything while its key is set" })
    }

    fn is_settled(&self) -> bool {
        true
    }
}
