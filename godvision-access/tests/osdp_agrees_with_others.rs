//! The panel's side of OSDP against code that is not ours: the crate `osdp`, packet by packet and through a whole secure
//! session, and a recorded session with `libosdp`.

use godvision_access::reader::osdp::frame::{Packet, parse};
use godvision_access::reader::osdp::{INSTALLED, OsdpInstall, OsdpKey, OsdpOptions, OsdpWire};
use godvision_access::reader::wire::{Wire, WireEvent};
use godvision_core::MonoTime;
use godvision_core::driver::reader::{Presented, ReaderEvent};
use godvision_core::signal::door::{DoorSense, Indication, Key};
use osdp::command::KeySet;
use osdp::packet::{Address, ControlByte, CtrlFlags, PacketBuilder, ParsedPacket, Scb, ScsType, Sqn};
use osdp::reply::CCrypt;
use osdp::secure::SCBK_D;
use osdp::secure::crypto::{SessionKeys, client_cryptogram};
use osdp::secure::frame::{Direction, seal, unseal};
use osdp::secure::session::{Disconnected, Secure, Session};
use proptest::prelude::*;

const KEY: [u8; 16] = *b"0123456789abcdef";
const RANDOM: [u8; 8] = *b"panel-rn";

proptest! {
    #[test]
    fn packets_are_the_same(address in 0..127_u8, sequence in 0..4_u8, code: u8, data in prop::collection::vec(any::<u8>(), 0..40)) {
        let builder = PacketBuilder {
            addr: Address::pd(address).unwrap(),
            ctrl: ControlByte::new(Sqn::new(sequence).unwrap(), CtrlFlags::USE_CRC),
            scb: None,
            code,
            data: data.clone(),
        };
        let theirs = builder.encode().unwrap();
        let ours = Packet { address, is_reply: false, sequence, security: None, code, data };
        prop_assert_eq!(&ours.to_bytes(|_| [0; 4]), &theirs);
        prop_assert!(parse(&theirs).unwrap().packet == ours);
    }
}

/// A device made of the other crate's parts.
struct TheirDevice {
    key: [u8; 16],
    session: Option<Session<Secure>>,
    waiting: Vec<(u8, Vec<u8>)>,
    seen: Vec<(u8, Vec<u8>)>,
}

impl TheirDevice {
    fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (parsed, used) = ParsedPacket::parse(bytes).expect("their parser takes our packet");
        assert_eq!(used, bytes.len());
        let (sequence, code) = (parsed.ctrl.sqn, parsed.code);
        if let Some(scb) = &parsed.scb
            && scb.ty.is_handshake()
        {
            assert_eq!(scb.data, [u8::from(self.key != SCBK_D)], "which key is meant");
        }
        match parsed.scb.map(|scb| scb.ty) {
            None => {
                assert_eq!(code, 0x61, "in clear only who it is");
                Self::build(sequence, None, 0x45, vec![1; 12])
            }
            Some(ScsType::Scs11) => {
                let keys = SessionKeys::derive(&self.key, &RANDOM);
                assert_eq!(parsed.data, RANDOM);
                let rnd_b = *b"device-r";
                let proof = client_cryptogram(&keys.s_enc, &RANDOM, &rnd_b);
                let data = [&[9; 8], rnd_b.as_slice(), proof.as_slice()].concat();
                Self::build(sequence, Some(ScsType::Scs12), 0x76, data)
            }
            Some(ScsType::Scs13) => {
                let keys = SessionKeys::derive(&self.key, &RANDOM);
                let rnd_b = *b"device-r";
                let client_cryptogram = client_cryptogram(&keys.s_enc, &RANDOM, &rnd_b);
                let challenged = Session::<Disconnected>::new(self.key).challenge(RANDOM);
                let session = challenged.receive_ccrypt(&CCrypt { cuid: [9; 8], rnd_b, client_cryptogram });
                let session = session.map_err(|_| "their own proof").unwrap();
                assert_eq!(parsed.data, session.server_cryptogram());
                let first = session.initial_rmac();
                self.session = session.confirm_rmac_i(&first).ok();
                Self::build(sequence, Some(ScsType::Scs14), 0x78, first.to_vec())
            }
            Some(_) => {
                let session = self.session.as_mut().expect("a session");
                let data = unseal(session, &parsed, bytes).expect("they take our MAC");
                self.seen.push((code, data.clone()));
                let (code, data) = match code {
                    0x75 => {
                        let set = KeySet::decode(&data).expect("they read our key");
                        assert_eq!(set, KeySet::scbk(KEY));
                        self.key = KEY;
                        (0x40, Vec::new())
                    }
                    0x60 if !self.waiting.is_empty() => self.waiting.remove(0),
                    0x64 => (0x48, vec![0, 0]),
                    _ => (0x40, Vec::new()),
                };
                let is_long = !data.is_empty();
                let address = Address::reply(7).unwrap();
                seal(session, address, sequence, Direction::PdToAcu, is_long, code, &data).unwrap()
            }
        }
    }

    fn build(sequence: Sqn, kind: Option<ScsType>, code: u8, data: Vec<u8>) -> Vec<u8> {
        let flags = if kind.is_some() { CtrlFlags::USE_CRC | CtrlFlags::HAS_SCB } else { CtrlFlags::USE_CRC };
        let builder = PacketBuilder {
            addr: Address::reply(7).unwrap(),
            ctrl: ControlByte::new(sequence, flags),
            scb: kind.map(|kind| Scb::new(kind, [1])),
            code,
            data,
        };
        builder.encode().unwrap()
    }
}

fn wire(random: [u8; 8]) -> OsdpWire {
    let options = OsdpOptions { address: 7, key: Some(OsdpKey::from(KEY)), ..OsdpOptions::default() };
    OsdpWire::new(options, Box::new(move || Some(random)))
}

#[test]
fn a_secure_session_with_the_crate_osdp() {
    let mut device = TheirDevice {
        key: KEY,
        session: None,
        waiting: vec![
            (0x50, vec![0, 1, 32, 0, 0x04, 0xA1, 0xB2, 0xC3]),
            (0x53, [&[0, 5], b"2580\x0D".as_slice()].concat()),
            (0x48, vec![1, 0]),
        ],
        seen: Vec::new(),
    };
    let mut wire = wire(RANDOM);
    let mut now = MonoTime::ZERO;
    wire.connected(now);
    wire.indicate(0, Indication::Refused, now).unwrap();
    let mut events = Vec::new();
    for _ in 0..30 {
        let mut out = Vec::new();
        wire.poll_send(&mut out);
        if out.is_empty() {
            now = wire.next_wake().unwrap().max(now);
            wire.tick(now);
            continue;
        }
        wire.receive(&device.answer(&out), now);
        events.extend(std::iter::from_fn(|| wire.poll_event()));
    }
    assert!(wire.is_secure());
    let presented = |key| WireEvent::Event(Presented { channel: 0, key }.into());
    assert_eq!(
        events,
        [
            presented(Key::Card("04A1B2C3".into())),
            presented(Key::Pin("2580".into())),
            WireEvent::Event(ReaderEvent::Input { channel: 0, sense: DoorSense::Tampered(true) })
        ]
    );
    // Lamp: three red blinks, then red. Sounder: three beeps of 100 ms, 500 ms apart.
    let lamp = (0x69, vec![0, 0, 2, 1, 4, 1, 0, 15, 0, 1, 1, 0, 1, 1]);
    assert!(device.seen.contains(&lamp), "{:?}", device.seen);
    assert!(device.seen.contains(&(0x6A, vec![0, 2, 1, 4, 3])));
}

#[test]
fn a_key_is_set_in_a_device_of_the_crate_osdp() {
    let mut device = TheirDevice { key: SCBK_D, session: None, waiting: vec![(0x48, vec![1, 0])], seen: Vec::new() };
    let mut install = OsdpInstall::new(7, OsdpKey::from(KEY), Box::new(|| Some(RANDOM))).unwrap();
    install.connected(MonoTime::ZERO);
    let mut line = Vec::new();
    for _ in 0..7 {
        let mut out = Vec::new();
        install.poll_send(&mut out);
        line.extend_from_slice(&out);
        install.receive(&device.answer(&out), MonoTime::ZERO);
    }
    assert_eq!(install.poll_event(), Some(WireEvent::Lost(INSTALLED)));
    assert!(install.is_installed() && device.key == KEY);
    assert_eq!(device.seen.len(), 1, "in sessions nothing but the key: {:?}", device.seen);
    assert!(!line.windows(KEY.len()).any(|window| window == KEY), "the key passes encrypted");
}

/// A session that our panel had with `libosdp` 3.2.7 as the device (crate `libosdp` 0.2.2, key and address as above), as
/// bytes on the line: what we sent, what it answered. The random number of the panel stands in the second command.
const LIBOSDP: &[(&str, &str)] = &[
    ("5307090004610081ae", "5387140004450000000000000000000000006f39"),
    (
        "530713000d03110176ed04b17fcfd1a90f143e",
        "53872b000d031201760000000000000000d764c8cce93255c4736d50ac82fe48a7cf6d3690b2f633c61ed5",
    ),
    (
        "53071b000e03130177e669232a8f0ac1c2b4ffab981f5a5cf26536",
        "53871b000e03140178ccd133ff02502370413d5b5ada548ff84d43",
    ),
    ("53070e000f0215648d7b2dceada2", "53871e000f0218484316853c4e95b6efe9377f98f72b1da7e414a2b167cf"),
    ("53071e000d0217692c16c4875eff2a911f9d49371dfd2b3c49888321c9d2", "53870e000d021640b7419f205ac9"),
    ("53071e000e02176abd24bb3bed260327882d54e3e67d7c58e74e3ed37945", "53870e000e021640a707bdc7c858"),
    ("53070e000f021560de77b5e8cb65", "53870e000f021640d06431d17ae2"),
    ("53070e000d02156060cd96662ba3", "53870e000d021640df70e0796534"),
    ("53070e000e0215608c257f9f0a7d", "53870e000e021640d7ef0f2be057"),
    ("53070e000f021560228b6f2a6520", "53870e000f0216409413a75942b9"),
    ("53070e000d02156003d29c9f8a9f", "53871e000d021850f0513e8dc57ae2a420b7a7c59e2240e732fd78530e38"),
    ("53070e000e021560baeb85d2ef2e", "53871e000e02185381e013c6a1fb11b8387b40021a4d5a6b852db2960c55"),
    ("53071e000f021769879a400e3461a53dbc77acb792eda91f3b664cc02fd0", "53870e000f021640d2086a1fdf0b"),
    ("53071e000d02176a3b1304fe615729cf092b597e2ea7414e2db04be161b3", "53870e000d021640b1069302b337"),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|place| u8::from_str_radix(&hex[place..place + 2], 16).unwrap()).collect()
}

#[test]
fn a_recorded_session_with_libosdp() {
    let mut wire = wire(bytes(&LIBOSDP[1].0[18..34]).try_into().unwrap());
    let mut now = MonoTime::ZERO;
    wire.connected(now);
    let mut events = Vec::new();
    for (number, (ours, theirs)) in LIBOSDP.iter().enumerate() {
        let mut out = Vec::new();
        loop {
            wire.poll_send(&mut out);
            if !out.is_empty() {
                break;
            }
            now = wire.next_wake().unwrap().max(now);
            wire.tick(now);
        }
        assert_eq!(out, bytes(ours), "command {number}");
        wire.receive(&bytes(theirs), now);
        while let Some(event) = wire.poll_event() {
            if events.is_empty() {
                wire.indicate(0, Indication::Refused, now).unwrap();
            }
            events.push(event);
        }
    }
    let presented = |key| WireEvent::Event(Presented { channel: 0, key }.into());
    assert_eq!(events, [presented(Key::Card("04A1B2C3".into())), presented(Key::Pin("2580".into()))]);
    assert!(wire.is_secure() && wire.is_settled());
}
