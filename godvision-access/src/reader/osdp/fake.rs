//! A fake OSDP device: its side of the protocol as a value, for tests of programs that drive one.
//!
//! Written from the standard: sequence numbers (0 starts anew, the same number again repeats the reply), replies to a poll
//! one event at a time, the device's side of the secure channel, refusals by their numbers. Its secure channel stands on the
//! same cryptography as the driver's; that this is OSDP's is held against other implementations.
//!
//! **Never:** a second address, timing of the lamp (it keeps what it was told).

use std::collections::VecDeque;

use godvision_core::signal::door::Indication;

use super::super::indication::{Buzzer, Led};
use super::frame::{Deframer, Found, Packet, Received};
use super::panel::{buzzer_data, led_data};
use super::secure::{Keys, SCBK_D, Session, same};
use super::{OsdpKey, command, reply};

/// Most events that wait in the device; the oldest make room.
pub const EVENTS_MAX: usize = 64;

/// What is wrong with the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// It does not answer.
    Silent,
    /// It answers that it is busy.
    Busy,
    /// It answers polls in clear though the session is secure.
    InClear,
    /// Its MACs are wrong.
    WrongMac,
    /// It has no lamp and no sounder.
    NoLamp,
    /// It takes no keys.
    NoKeys,
}

/// A device.
pub struct FakeDevice {
    address: u8,
    key: Option<OsdpKey>,
    is_installing: bool,
    keys_set: u32,
    random: [u8; 8],
    deframer: Deframer,
    challenged: Option<(Keys, [u8; 8])>,
    session: Option<Session>,
    last: Option<(u8, Vec<u8>)>,
    waiting: VecDeque<(u8, Vec<u8>)>,
    inputs: Vec<u8>,
    is_open: bool,
    /// Data of the last lamp and sounder command, by reader.
    led: Vec<Vec<u8>>,
    buzzer: Vec<Vec<u8>>,
    trouble: Trouble,
    sessions: u32,
}

impl FakeDevice {
    /// A device at `address` with `readers` readers and two inputs; with a key it refuses everything in clear but who it is.
    pub fn new(address: u8, key: Option<OsdpKey>, readers: u8) -> Self {
        Self {
            address,
            key,
            is_installing: false,
            keys_set: 0,
            random: [0xB0, 1, 2, 3, 4, 5, 6, 7],
            deframer: Deframer::default(),
            challenged: None,
            session: None,
            last: None,
            waiting: VecDeque::new(),
            inputs: vec![0, 0],
            is_open: false,
            led: vec![Vec::new(); readers.into()],
            buzzer: vec![Vec::new(); readers.into()],
            trouble: Trouble::None,
            sessions: 0,
        }
    }

    /// One in installation mode: it has no key, and takes a session by the default one.
    pub fn in_installation(address: u8) -> Self {
        Self { is_installing: true, ..Self::new(address, None, 1) }
    }

    /// How often it was given a key.
    pub fn keys_set(&self) -> u32 {
        self.keys_set
    }

    /// From now on, this is wrong.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.trouble = trouble;
    }

    /// How many secure sessions were made.
    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    fn tell(&mut self, code: u8, data: Vec<u8>) {
        if self.waiting.len() == EVENTS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((code, data));
    }

    /// A card of `count` bits, the first bit highest in the first byte.
    pub fn card(&mut self, reader: u8, count: u16, bits: &[u8]) {
        let [low, high] = count.to_le_bytes();
        let mut data = vec![reader, 1, low, high];
        data.extend_from_slice(bits);
        self.tell(reply::RAW, data);
    }

    /// A card as text.
    pub fn formatted(&mut self, reader: u8, text: &str) {
        let mut data = vec![reader, 0, u8::try_from(text.len()).unwrap_or(u8::MAX)];
        data.extend_from_slice(text.as_bytes());
        self.tell(reply::FORMATTED, data);
    }

    /// Keys pressed: digits, `*` and `#`.
    pub fn press(&mut self, reader: u8, keys: &str) {
        let keys: Vec<u8> = keys
            .bytes()
            .map(|key| {
                if key == b'*' {
                    0x7F
                } else if key == b'#' {
                    0x0D
                } else {
                    key
                }
            })
            .collect();
        let mut data = vec![reader, u8::try_from(keys.len()).unwrap_or(u8::MAX)];
        data.extend(keys);
        self.tell(reply::KEYPAD, data);
    }

    /// An input is closed or opened.
    pub fn input(&mut self, number: u8, is_set: bool) {
        if let Some(input) = self.inputs.get_mut(usize::from(number)) {
            *input = is_set.into();
            self.tell(reply::INPUT_STATUS, self.inputs.clone());
        }
    }

    /// The lid is opened or shut.
    pub fn lid(&mut self, is_open: bool) {
        self.is_open = is_open;
        self.tell(reply::LOCAL_STATUS, vec![is_open.into(), 0]);
    }

    /// A reply whose meaning the panel cannot know.
    pub fn nonsense(&mut self) {
        self.tell(0x4F, vec![1, 2, 3]);
    }

    /// What reader `reader` was told to show, if its lamp and sounder say the same.
    pub fn shown(&self, reader: u8) -> Option<Indication> {
        let place = usize::from(reader);
        let all = [
            Indication::Ready,
            Indication::Busy,
            Indication::Awaiting,
            Indication::Open,
            Indication::Held,
            Indication::Refused,
        ];
        all.into_iter().find(|indication| {
            self.led.get(place) == Some(&led_data(reader, Led::of(*indication)))
                && self.buzzer.get(place) == Some(&buzzer_data(reader, Buzzer::of(*indication)))
        })
    }

    /// Takes bytes of the line and gives those it answers with.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.deframer.push(bytes);
        let mut out = Vec::new();
        while let Some(found) = self.deframer.poll() {
            if let Found::Packet(received) = found {
                out.extend(self.answer(received));
            }
        }
        out
    }

    fn answer(&mut self, received: Received) -> Vec<u8> {
        let Received { packet, mac } = received;
        if packet.is_reply || packet.address != self.address || self.trouble == Trouble::Silent {
            return Vec::new();
        }
        if self.trouble == Trouble::Busy {
            return self.clear(0, reply::BUSY, Vec::new());
        }
        if packet.sequence == 0 {
            (self.session, self.challenged, self.last) = (None, None, None);
        } else if let Some((_, bytes)) = self.last.as_ref().filter(|(sequence, _)| *sequence == packet.sequence) {
            return bytes.clone();
        }
        let sequence = packet.sequence;
        let bytes = self.carry_out(packet, mac);
        self.last = Some((sequence, bytes.clone()));
        bytes
    }

    fn clear(&self, sequence: u8, code: u8, data: Vec<u8>) -> Vec<u8> {
        let packet = Packet { address: self.address, is_reply: true, sequence, security: None, code, data };
        packet.to_bytes(|_| [0; 4])
    }

    fn carry_out(&mut self, packet: Packet, mac: Option<(Vec<u8>, [u8; 4])>) -> Vec<u8> {
        let sequence = packet.sequence;
        let kind = packet.security.as_ref().map(|(kind, _)| *kind);
        match (kind, &mut self.session, mac) {
            (Some(0x11), _, _) => {
                let which = packet.security.as_ref().and_then(|(_, data)| data.first().copied());
                return self.challenge(sequence, which.unwrap_or(1), &packet.data);
            }
            (Some(0x13), _, _) => return self.proof(sequence, &packet.data),
            (Some(kind @ (0x15 | 0x17)), Some(session), Some((head, mac))) => {
                let data = if kind == 0x17 { session.decrypt(&packet.data) } else { Some(Vec::new()) };
                match data {
                    Some(data) if session.verify(&head, mac) => {
                        if packet.code == command::KEYSET {
                            return self.set_key(sequence, &data);
                        }
                        let (code, data) = self.reply(packet.code, &data);
                        return self.protected(sequence, code, data);
                    }
                    // The session is over.
                    _ => self.session = None,
                }
                return self.clear(sequence, reply::NAK, vec![6]);
            }
            (None, _, None) if self.key.is_none() || packet.code == command::ID => {
                let (code, data) = self.reply(packet.code, &packet.data);
                return self.clear(sequence, code, data);
            }
            _ => {}
        }
        self.clear(sequence, reply::NAK, vec![6])
    }

    /// Takes the key, and the session is over.
    fn set_key(&mut self, sequence: u8, data: &[u8]) -> Vec<u8> {
        let key = match data {
            [1, 16, key @ ..] if self.trouble != Trouble::NoKeys => <[u8; 16]>::try_from(key).ok(),
            _ => None,
        };
        let Some(key) = key else { return self.protected(sequence, reply::NAK, vec![9]) };
        let answer = self.protected(sequence, reply::ACK, Vec::new());
        (self.key, self.is_installing, self.session) = (Some(key.into()), false, None);
        self.keys_set += 1;
        answer
    }

    fn challenge(&mut self, sequence: u8, which: u8, panel: &[u8]) -> Vec<u8> {
        let base = match which {
            0 if self.is_installing => Some(&SCBK_D),
            0 => None,
            _ => self.key.as_ref().map(OsdpKey::bytes),
        };
        let (Some(base), Ok(panel)) = (base, <[u8; 8]>::try_from(panel)) else {
            return self.clear(sequence, reply::NAK, vec![5]);
        };
        let keys = Keys::derive(base, panel);
        let mut data = vec![1, 2, 3, 4, 5, 6, 7, 8];
        data.extend_from_slice(&self.random);
        data.extend_from_slice(&keys.device_proof(panel, self.random));
        self.challenged = Some((keys, panel));
        let security = Some((0x12, vec![1]));
        let packet = Packet { address: self.address, is_reply: true, sequence, security, code: reply::PROOF, data };
        packet.to_bytes(|_| [0; 4])
    }

    fn proof(&mut self, sequence: u8, proof: &[u8]) -> Vec<u8> {
        let Some((keys, panel)) = self.challenged.take() else {
            return self.clear(sequence, reply::NAK, vec![5]);
        };
        let wanted = keys.panel_proof(panel, self.random);
        if !same(&wanted, proof) {
            return self.clear(sequence, reply::NAK, vec![6]);
        }
        let first = keys.first_mac(wanted);
        self.session = Some(Session::new(keys, first));
        self.sessions += 1;
        let security = Some((0x14, vec![1]));
        let data = first.to_vec();
        let packet = Packet { address: self.address, is_reply: true, sequence, security, code: reply::FIRST_MAC, data };
        packet.to_bytes(|_| [0; 4])
    }

    fn protected(&mut self, sequence: u8, code: u8, data: Vec<u8>) -> Vec<u8> {
        if self.trouble == Trouble::InClear {
            return self.clear(sequence, code, data);
        }
        let Some(session) = &mut self.session else { return Vec::new() };
        let (kind, data) = if data.is_empty() { (0x16, data) } else { (0x18, session.encrypt(&data)) };
        let security = Some((kind, Vec::new()));
        let packet = Packet { address: self.address, is_reply: true, sequence, security, code, data };
        let is_wrong = self.trouble == Trouble::WrongMac;
        packet.to_bytes(|head| {
            let mac = session.sign(head);
            if is_wrong { mac.map(|byte| !byte) } else { mac }
        })
    }

    fn reply(&mut self, code: u8, data: &[u8]) -> (u8, Vec<u8>) {
        let reader = data.first().map(|reader| usize::from(*reader));
        match code {
            command::POLL => self.waiting.pop_front().unwrap_or((reply::ACK, Vec::new())),
            command::ID => (reply::ID, vec![0xCA, 0xFE, 0x01, 1, 0, 1, 2, 3, 4, 1, 0, 0]),
            command::LOCAL_STATUS => (reply::LOCAL_STATUS, vec![self.is_open.into(), 0]),
            command::INPUT_STATUS => (reply::INPUT_STATUS, self.inputs.clone()),
            command::LED | command::BUZZER if self.trouble != Trouble::NoLamp => {
                let (kept, length) = if code == command::LED { (&mut self.led, 14) } else { (&mut self.buzzer, 5) };
                match reader.and_then(|reader| kept.get_mut(reader)) {
                    Some(place) if data.len() == length => {
                        *place = data.to_vec();
                        (reply::ACK, Vec::new())
                    }
                    _ => (reply::NAK, vec![9]),
                }
            }
            _ => (reply::NAK, vec![3]),
        }
    }
}
