//! OSDP packets: one packet to bytes and back, and a [`Deframer`] that finds packets in what comes from a line.
//!
//! ```text
//! 53 | address | length, 2 | control | [security: length, kind, ...] | code | data | [MAC, 4] | CRC-16, 2
//! ```
//! Source: SIA OSDP v2.2, 5.9 and annex C (CRC: polynomial 0x1021, from 0x1D0F, low byte first).
//!
//! **Never:** checksum packets to a device (ours carry a CRC; replies with a checksum are read), multi-part messages.

use std::fmt;

/// First byte of a packet.
const START: u8 = 0x53;
/// Longest packet in bytes. Readers send far less.
pub const PACKET_BYTES_MAX: usize = 1024;
/// Shortest: header, code, checksum.
const PACKET_BYTES_MIN: usize = 7;
/// Addresses of devices are 0 to 126; 127 is everybody.
pub const ADDRESS_MAX: u8 = 126;

const IS_REPLY: u8 = 0x80;
const SEQUENCE: u8 = 0x03;
const HAS_CRC: u8 = 0x04;
const HAS_SECURITY: u8 = 0x08;
/// Security blocks of this kind and later carry a MAC.
pub(super) const FIRST_WITH_MAC: u8 = 0x15;
pub(super) const MAC_BYTES: usize = 4;

/// One packet. Its data may be a card: `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// The device's address, without the reply's bit.
    pub address: u8,
    /// Whether it comes from the device.
    pub is_reply: bool,
    /// 0 to 3.
    pub sequence: u8,
    /// The security block: its kind and what follows the kind.
    pub security: Option<(u8, Vec<u8>)>,
    /// Command or reply.
    pub code: u8,
    /// What follows the code; encrypted if the security block says so.
    pub data: Vec<u8>,
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.security.as_ref().map(|(kind, _)| *kind);
        write!(f, "{:02x} at {} ({}), security {kind:02x?}", self.code, self.address, self.sequence)
    }
}

impl Packet {
    /// The packet up to its MAC, with the length it will have.
    pub(super) fn head(&self) -> Vec<u8> {
        let has_mac = self.has_mac();
        let mut bytes = Vec::with_capacity(32 + self.data.len());
        let reply = if self.is_reply { IS_REPLY } else { 0 };
        let security = if self.security.is_some() { HAS_SECURITY } else { 0 };
        bytes.extend_from_slice(&[START, self.address | reply, 0, 0]);
        bytes.push(self.sequence & SEQUENCE | HAS_CRC | security);
        if let Some((kind, more)) = &self.security {
            bytes.push(u8::try_from(more.len() + 2).unwrap_or(u8::MAX));
            bytes.push(*kind);
            bytes.extend_from_slice(more);
        }
        bytes.push(self.code);
        bytes.extend_from_slice(&self.data);
        let whole = bytes.len() + if has_mac { MAC_BYTES } else { 0 } + 2;
        let [low, high] = u16::try_from(whole).unwrap_or(u16::MAX).to_le_bytes();
        if let [_, _, length_low, length_high, ..] = bytes.as_mut_slice() {
            (*length_low, *length_high) = (low, high);
        }
        bytes
    }

    pub(super) fn has_mac(&self) -> bool {
        self.security.as_ref().is_some_and(|(kind, _)| *kind >= FIRST_WITH_MAC)
    }

    /// The whole packet. `mac` makes the MAC of what it is given and is asked only if the packet has one.
    pub fn to_bytes(&self, mac: impl FnOnce(&[u8]) -> [u8; 4]) -> Vec<u8> {
        let mut bytes = self.head();
        if self.has_mac() {
            let mac = mac(&bytes);
            bytes.extend_from_slice(&mac);
        }
        bytes.extend_from_slice(&crc(&bytes).to_le_bytes());
        bytes
    }
}

/// A packet as it came, and what its MAC covers.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The packet.
    pub packet: Packet,
    /// The bytes that the MAC covers, and the MAC.
    pub mac: Option<(Vec<u8>, [u8; 4])>,
}

/// CRC-16 with polynomial 0x1021 from 0x1D0F.
pub(super) fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0x1D0F, |crc, byte| {
        let mut crc = crc ^ u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        }
        crc
    })
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// Reads one whole packet; `None` if it is none.
pub fn parse(bytes: &[u8]) -> Option<Received> {
    let [START, address, low, high, control, ..] = *bytes else { return None };
    if bytes.len() != usize::from(u16::from_le_bytes([low, high])) {
        return None;
    }
    let body = if control & HAS_CRC != 0 {
        let (body, sum) = bytes.split_last_chunk::<2>()?;
        (crc(body) == u16::from_le_bytes(*sum)).then_some(body)?
    } else {
        let (sum, body) = bytes.split_last()?;
        (checksum(body) == *sum).then_some(body)?
    };
    let mut rest = body.get(5..)?;
    let mut security = None;
    if control & HAS_SECURITY != 0 {
        let length = usize::from(*rest.first()?);
        let block = rest.get(2..length)?;
        security = Some((*rest.get(1)?, block.to_vec()));
        rest = rest.get(length..)?;
    }
    let mut mac = None;
    if security.as_ref().is_some_and(|(kind, _)| *kind >= FIRST_WITH_MAC) {
        let (before, found) = rest.split_last_chunk::<MAC_BYTES>()?;
        mac = Some((body.get(..body.len() - MAC_BYTES)?.to_vec(), *found));
        rest = before;
    }
    let (code, data) = rest.split_first()?;
    let packet = Packet {
        address: address & !IS_REPLY,
        is_reply: address & IS_REPLY != 0,
        sequence: control & SEQUENCE,
        security,
        code: *code,
        data: data.to_vec(),
    };
    Some(Received { packet, mac })
}

/// What was found in a line.
#[derive(Clone, PartialEq, Eq)]
pub enum Found {
    /// A packet.
    Packet(Received),
    /// Bytes that are none.
    Nonsense,
}

/// Finds packets in bytes; starts anew at the next byte that may begin one.
#[derive(Default)]
pub struct Deframer {
    bytes: Vec<u8>,
}

impl Deframer {
    /// Takes `bytes`, at most [`PACKET_BYTES_MAX`] at once.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes.get(..PACKET_BYTES_MAX).unwrap_or(bytes));
    }

    /// The next packet or nonsense; `None` until more bytes come.
    pub fn poll(&mut self) -> Option<Found> {
        // Devices send a byte of ones before a packet so that the line settles.
        let begin = self.bytes.iter().position(|byte| *byte == START).unwrap_or(self.bytes.len());
        let is_clean = self.bytes.drain(..begin).all(|byte| byte == 0xFF);
        if !is_clean {
            return Some(Found::Nonsense);
        }
        let [_, _, low, high, ..] = *self.bytes.as_slice() else { return None };
        let length = usize::from(u16::from_le_bytes([low, high]));
        if !(PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(&length) {
            self.bytes.drain(..1);
            return Some(Found::Nonsense);
        }
        let received = parse(self.bytes.get(..length)?);
        // A packet whose sum is wrong may be no packet at all: look again behind its first byte.
        self.bytes.drain(..if received.is_some() { length } else { 1 });
        Some(received.map_or(Found::Nonsense, Found::Packet))
    }

    /// Forgets what was begun.
    pub fn clear(&mut self) {
        self.bytes.fill(0);
        self.bytes.clear();
    }
}

impl fmt::Debug for Deframer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(bytes: &[u8]) -> Vec<Found> {
        let mut deframer = Deframer::default();
        deframer.push(bytes);
        std::iter::from_fn(|| deframer.poll()).collect()
    }

    #[test]
    fn the_example_of_the_standard() {
        // Annex E: osdp_COMSET to everybody.
        let bytes = [0x53, 0x7F, 0x0D, 0x00, 0x04, 0x6E, 0x00, 0x80, 0x25, 0x00, 0x00, 0x6E, 0x38];
        let packet = Packet {
            address: 127,
            is_reply: false,
            sequence: 0,
            security: None,
            code: 0x6E,
            data: vec![0x00, 0x80, 0x25, 0x00, 0x00],
        };
        assert_eq!(packet.to_bytes(|_| unreachable!("it has no MAC")), bytes);
        assert!(parse(&bytes).unwrap().packet == packet);
    }

    #[test]
    fn packets_are_found_behind_noise() {
        let packet = |code| Packet { address: 1, is_reply: true, sequence: 2, security: None, code, data: vec![7] };
        let mut line = vec![0xFF, 0xFF];
        line.extend(packet(0x40).to_bytes(|_| [0; 4]));
        line.extend([0x53, 0x01, 0x02]);
        line.extend(packet(0x41).to_bytes(|_| [0; 4]));
        let codes: Vec<u8> = found(&line)
            .into_iter()
            .filter_map(|found| match found {
                Found::Packet(received) => Some(received.packet.code),
                Found::Nonsense => None,
            })
            .collect();
        assert_eq!(codes, [0x40, 0x41]);
    }

    #[test]
    fn replies_with_a_checksum_are_read() {
        let mut bytes = vec![0x53, 0x81, 0x07, 0x00, 0x01, 0x40];
        bytes.push(checksum(&bytes));
        assert_eq!(parse(&bytes).unwrap().packet.code, 0x40);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(parse(&bytes).is_none());
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut deframer = Deframer::default();
        for _ in 0..1000 {
            deframer.push(&[0x53; 256]);
            while deframer.poll().is_some() {}
            assert!(deframer.bytes.len() <= 2 * PACKET_BYTES_MAX);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            (address, sequence, code) in (0..=ADDRESS_MAX, 0..4_u8, any::<u8>()),
            is_reply: bool,
            kind in proptest::option::of(0x11..0x19_u8),
            data in proptest::collection::vec(any::<u8>(), 0..64),
            spoilt in any::<proptest::sample::Index>(),
        ) {
            let security = kind.map(|kind| (kind, if kind < FIRST_WITH_MAC { vec![1] } else { vec![] }));
            let packet = Packet { address, is_reply, sequence, security, code, data };
            let mut bytes = packet.to_bytes(|_| [1, 2, 3, 4]);
            let received = parse(&bytes).unwrap();
            prop_assert!(received.packet == packet);
            prop_assert_eq!(received.mac.map(|(head, mac)| (head == packet.head(), mac)), packet.has_mac().then_some((true, [1, 2, 3, 4])));
            let place = spoilt.index(bytes.len());
            bytes[place] ^= 0x10;
            prop_assert!(parse(&bytes).is_none(), "one wrong bit");
        }
    }
}
