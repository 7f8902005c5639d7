//! OSDP packets and the panel's side of OSDP in `godvision-access`: any bytes on the line, and any reply in a whole packet.

use godvision_access::reader::osdp::frame::{Deframer, Found, Packet, parse};
use godvision_access::reader::osdp::{OsdpInstall, OsdpKey, OsdpOptions, OsdpWire, REPLY_TIMEOUT};
use godvision_access::reader::wire::{EVENTS_MAX, Wire, WireEvent};
use godvision_core::MonoTime;
use godvision_core::driver::reader::{Presented, ReaderEvent};

use crate::{Input, Reached};

/// Reads `data` as bytes of a line, then as replies: each a code and its data.
pub fn osdp(data: &[u8]) -> Reached {
    let packets = found(data);
    // What is read is written the same, if it had a CRC.
    for packet in &packets {
        let bytes = packet.to_bytes(|_| [0; 4]);
        let again = parse(&bytes).expect("what is written is read");
        assert!(again.packet == *packet);
    }
    // In pieces it is the same.
    let mut deframer = Deframer::default();
    let mut pieces = Vec::new();
    for byte in data {
        deframer.push(&[*byte]);
        while let Some(found) = deframer.poll() {
            pieces.extend(packet(found));
        }
    }
    assert!(pieces == packets);
    strangers_are_not_believed(data);
    strangers_are_given_no_key(data);
    Reached::when(replies(data) || !packets.is_empty())
}

fn packet(found: Found) -> Option<Packet> {
    match found {
        Found::Packet(received) => Some(received.packet),
        Found::Nonsense => None,
    }
}

fn found(data: &[u8]) -> Vec<Packet> {
    let mut deframer = Deframer::default();
    let mut packets = Vec::new();
    for piece in data.chunks(256) {
        deframer.push(piece);
        while let Some(found) = deframer.poll() {
            packets.extend(packet(found));
        }
    }
    packets
}

fn wire(key: Option<OsdpKey>) -> OsdpWire {
    let options = OsdpOptions { key, contact: Some(0), exit: Some(1), readers: 2, ..OsdpOptions::default() };
    let mut wire = OsdpWire::new(options, Box::new(|| Some(*b"a random")));
    wire.connected(MonoTime::ZERO);
    wire
}

/// Whatever a line says, who has not proven the default key is given no other, and nothing is presented. The data are
/// replies, each a code and its data, with the sequence that is waited for.
fn strangers_are_given_no_key(data: &[u8]) {
    let Some(mut wire) = OsdpInstall::new(0, OsdpKey::from([7; 16]), Box::new(|| Some(*b"a random"))) else { return };
    let mut now = MonoTime::ZERO;
    wire.connected(now);
    let mut input = Input::new(data);
    for _ in 0..16 {
        let mut out = Vec::new();
        wire.poll_send(&mut out);
        assert!(!out.windows(16).any(|window| window == [7; 16]), "the key in clear");
        let Some(sent) = parse(&out) else { break };
        assert!(sent.packet.code != 0x75, "a key for who proved nothing");
        let (code, length) = (input.byte(), usize::from(input.byte()) % 48);
        let security = if code & 0x80 == 0 { None } else { Some((0x11 + (code >> 4 & 3), vec![0])) };
        let reply = Packet {
            address: 0,
            is_reply: true,
            sequence: sent.packet.sequence,
            security,
            code: [0x40, 0x41, 0x45, 0x76, 0x78, 0x79, 0x50, code][usize::from(code & 7)],
            data: (0..length).map(|_| input.byte()).collect(),
        };
        now = now + REPLY_TIMEOUT;
        wire.receive(&reply.to_bytes(|_| [0; 4]), now);
        wire.tick(now);
        while let Some(event) = wire.poll_event() {
            assert!(!matches!(event, WireEvent::Event(_)), "{event:?}");
        }
    }
    assert!(!wire.is_installed(), "no reply proves a key that nobody knows");
}

/// Whatever a line without the key says, a panel with one reads no card.
fn strangers_are_not_believed(data: &[u8]) {
    let mut wire = wire(Some(OsdpKey::from(*b"0123456789abcdef")));
    for piece in data.chunks(100) {
        answer(&mut wire, 0x45, &[1; 12]);
        wire.receive(piece, MonoTime::ZERO);
        while let Some(event) = wire.poll_event() {
            assert!(!matches!(event, WireEvent::Event(_)), "{event:?}");
        }
    }
    assert!(!wire.is_secure());
}

/// Answers the command that the wire has sent; its sequence number.
fn answer(wire: &mut OsdpWire, code: u8, data: &[u8]) {
    let mut out = Vec::new();
    wire.poll_send(&mut out);
    let sequence = out.get(4).map_or(0, |control| control & 3);
    let reply = Packet { address: 0, is_reply: true, sequence, security: None, code, data: data.to_vec() };
    wire.receive(&reply.to_bytes(|_| [0; 4]), MonoTime::ZERO);
}

fn replies(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let mut wire = wire(None);
    answer(&mut wire, 0x45, &[1; 12]);
    let mut reached = false;
    let mut now = MonoTime::ZERO;
    while !input.is_empty() {
        let code = input.byte();
        let length = input.byte();
        answer(&mut wire, code, input.bytes(length.into()));
        let mut events = 0;
        while let Some(event) = wire.poll_event() {
            events += 1;
            reached = true;
            check(&event);
            if matches!(event, WireEvent::Lost(_)) {
                wire.connected(now);
                answer(&mut wire, 0x45, &[1; 12]);
            }
        }
        assert!(events <= EVENTS_MAX + 1);
        now = wire.next_wake().map_or(now, |wake| wake.max(now));
        wire.tick(now);
    }
    reached
}

fn check(event: &WireEvent) {
    let WireEvent::Event(event) = event else { return };
    match event {
        ReaderEvent::Presented(Presented { channel, key }) => {
            assert!(*channel < 2);
            crate::reader_lines::check_key(key);
        }
        ReaderEvent::Input { channel, .. } => assert_eq!(*channel, 0),
    }
}
