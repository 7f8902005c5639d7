//! Frames of ESPHome's native API, in plain text or under Noise, as values.
//!
//! Source: ESPHome's *Native API* protocol description and `api_frame_helper` of its firmware. Plain: `00`, length, type,
//! body, the two numbers as varints. Noise (`NNpsk0_25519_ChaChaPoly_SHA256`, prologue `NoiseAPIInit` and two zero
//! bytes): `01`, length in two bytes, and inside, encrypted: type and length in two bytes each, body. A device that does
//! not know the key answers the handshake with a byte 01 and a text.
//!
//! **Never:** IO, the password of the old plain login (ESPHome dropped it in 2026.1).

use bytes::{Buf, BytesMut};
use snow::{Builder, HandshakeState, TransportState};

/// Longest body of a message that is read.
pub const BODY_BYTES_MAX: usize = 32 << 10;
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
const PROLOGUE: &[u8] = b"NoiseAPIInit\0\0";
const PLAIN: u8 = 0;
const NOISE: u8 = 1;
/// Type and length inside an encrypted frame.
const INNER_BYTES: usize = 4;
/// What the cipher adds.
const TAG_BYTES: usize = 16;
/// The handshake's messages are short; its text of an error is cut here.
const HANDSHAKE_BYTES_MAX: usize = 1024;

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// Not ESPHome's native API.
    #[error("it does not speak ESPHome's native API")]
    NotEsphome,
    /// The device wants a key.
    #[error("the device wants an encryption key")]
    WantsKey,
    /// The device knows another key.
    #[error("the device knows another encryption key")]
    OtherKey,
    /// Longer than [`BODY_BYTES_MAX`].
    #[error("a message is too long")]
    TooLong,
    /// The cipher says that bytes were changed on the way.
    #[error("a message was damaged on the way")]
    Damaged,
    /// The cipher cannot be set up.
    #[error("no key can be agreed upon")]
    NoCipher,
}

/// A message: its type and its body.
pub type Packet = (u16, Vec<u8>);

/// How frames are made and read on one connection.
#[derive(Debug, Default)]
pub enum Wire {
    /// In the clear.
    #[default]
    Plain,
    /// Under Noise.
    Noise(Box<TransportState>),
}

impl Wire {
    /// The bytes of a message.
    ///
    /// # Errors
    /// [`FrameFault::TooLong`], [`FrameFault::Damaged`].
    pub fn seal(&mut self, (kind, body): &Packet) -> Result<Vec<u8>, FrameFault> {
        let length = u16::try_from(body.len()).map_err(|_| FrameFault::TooLong)?;
        if body.len() > BODY_BYTES_MAX {
            return Err(FrameFault::TooLong);
        }
        match self {
            Self::Plain => {
                let mut bytes = vec![PLAIN];
                push_varint(&mut bytes, u64::from(length));
                push_varint(&mut bytes, u64::from(*kind));
                bytes.extend(body);
                Ok(bytes)
            }
            Self::Noise(cipher) => {
                let inner = [&kind.to_be_bytes(), &length.to_be_bytes(), body.as_slice()].concat();
                let mut sealed = vec![0; inner.len() + TAG_BYTES];
                let written = cipher.write_message(&inner, &mut sealed).map_err(|_| FrameFault::Damaged)?;
                sealed.truncate(written);
                framed(&sealed)
            }
        }
    }

    /// The next message in what was received, which it takes out; `None` while it is unfinished.
    ///
    /// # Errors
    /// [`FrameFault`]: more bytes will not mend it.
    pub fn open(&mut self, received: &mut BytesMut) -> Result<Option<Packet>, FrameFault> {
        match self {
            Self::Plain => open_plain(received),
            Self::Noise(cipher) => {
                let Some(sealed) = take_framed(received, BODY_BYTES_MAX + INNER_BYTES + TAG_BYTES)? else {
                    return Ok(None);
                };
                let mut inner = vec![0; sealed.len()];
                let read = cipher.read_message(&sealed, &mut inner).map_err(|_| FrameFault::Damaged)?;
                let Some(([a, b, _, _], body)) = inner.get(..read).and_then(|it| it.split_first_chunk::<INNER_BYTES>())
                else {
                    return Err(FrameFault::NotEsphome);
                };
                // The length inside is the device's own; the cipher has settled where the message ends.
                Ok(Some((u16::from_be_bytes([*a, *b]), body.to_vec())))
            }
        }
    }
}

fn open_plain(received: &mut BytesMut) -> Result<Option<Packet>, FrameFault> {
    match received.first() {
        None => return Ok(None),
        Some(&PLAIN) => {}
        Some(&NOISE) => return Err(FrameFault::WantsKey),
        Some(_) => return Err(FrameFault::NotEsphome),
    }
    let mut rest = received.get(1..).unwrap_or_default();
    let before = rest.len();
    let Some(length) = take_varint(&mut rest).map_err(|()| FrameFault::NotEsphome)? else { return Ok(None) };
    let length = usize::try_from(length).ok().filter(|length| *length <= BODY_BYTES_MAX).ok_or(FrameFault::TooLong)?;
    let Some(kind) = take_varint(&mut rest).map_err(|()| FrameFault::NotEsphome)? else { return Ok(None) };
    let kind = u16::try_from(kind).map_err(|_| FrameFault::NotEsphome)?;
    let Some(body) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
    let head = 1 + before - rest.len();
    received.advance(head + length);
    Ok(Some((kind, body)))
}

/// The client's side of the handshake.
pub struct Handshake {
    state: HandshakeState,
    has_hello: bool,
}

impl Handshake {
    /// Begins; also what to send.
    ///
    /// # Errors
    /// [`FrameFault::NoCipher`].
    pub fn start(key: &[u8; KEY_BYTES]) -> Result<(Self, Vec<u8>), FrameFault> {
        let mut state = builder(key)?.build_initiator().map_err(|_| FrameFault::NoCipher)?;
        let mut message = [0; HANDSHAKE_BYTES_MAX];
        let written = state.write_message(&[], &mut message).map_err(|_| FrameFault::NoCipher)?;
        let mut bytes = framed(&[])?;
        bytes.extend(framed(&[&[0], message.get(..written).unwrap_or_default()].concat())?);
        Ok((Self { state, has_hello: false }, bytes))
    }

    /// Goes on with what was received; the wire when it is agreed upon, itself while it is not.
    ///
    /// # Errors
    /// [`FrameFault`].
    pub fn proceed(mut self, received: &mut BytesMut) -> Result<Result<Wire, Self>, FrameFault> {
        while let Some(message) = take_framed(received, HANDSHAKE_BYTES_MAX)? {
            if !self.has_hello {
                // The device's name and address follow; nothing proves them.
                if message.first() != Some(&1) {
                    return Err(FrameFault::NotEsphome);
                }
                self.has_hello = true;
                continue;
            }
            let Some((0, answer)) = message.split_first().map(|(first, rest)| (*first, rest)) else {
                return Err(FrameFault::OtherKey);
            };
            let mut nothing = [0; HANDSHAKE_BYTES_MAX];
            self.state.read_message(answer, &mut nothing).map_err(|_| FrameFault::OtherKey)?;
            let cipher = self.state.into_transport_mode().map_err(|_| FrameFault::NoCipher)?;
            return Ok(Ok(Wire::Noise(Box::new(cipher))));
        }
        Ok(Err(self))
    }
}

/// Both sides begin alike.
///
/// # Errors
/// [`FrameFault::NoCipher`].
pub(crate) fn builder(key: &[u8; KEY_BYTES]) -> Result<Builder<'_>, FrameFault> {
    let pattern = PATTERN.parse().map_err(|_| FrameFault::NoCipher)?;
    Builder::new(pattern).psk(0, key).and_then(|builder| builder.prologue(PROLOGUE)).map_err(|_| FrameFault::NoCipher)
}

/// `01`, length, content.
pub(crate) fn framed(content: &[u8]) -> Result<Vec<u8>, FrameFault> {
    let [high, low] = u16::try_from(content.len()).map_err(|_| FrameFault::TooLong)?.to_be_bytes();
    Ok([&[NOISE, high, low], content].concat())
}

pub(crate) fn take_framed(received: &mut BytesMut, bytes_max: usize) -> Result<Option<Vec<u8>>, FrameFault> {
    if received.first().is_some_and(|first| *first != NOISE) {
        return Err(FrameFault::NotEsphome);
    }
    let Some(([_, high, low], rest)) = received.split_first_chunk::<3>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > bytes_max {
        return Err(FrameFault::TooLong);
    }
    let Some(content) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
    received.advance(3 + length);
    Ok(Some(content))
}

/// A varint of Protocol Buffers, taken from the front; `None` while it is unfinished.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<Option<u64>, ()> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate() {
        if index >= 10 {
            return Err(());
        }
        number |= u64::from(byte & 0x7F).checked_shl(7 * index as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            *bytes = bytes.get(index + 1..).unwrap_or_default();
            return Ok(Some(number));
        }
    }
    Ok(None)
}

pub(super) fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];

    /// A device that knows `key`, up to its answer.
    fn device(key: &[u8; KEY_BYTES], hello: &[u8]) -> Option<(TransportState, Vec<u8>)> {
        let mut received = BytesMut::from(hello);
        assert_eq!(take_framed(&mut received, 100).unwrap(), Some(Vec::new()));
        let message = take_framed(&mut received, 100).unwrap().unwrap();
        let mut state = builder(key).unwrap().build_responder().unwrap();
        let mut buffer = [0; 100];
        state.read_message(&message[1..], &mut buffer).ok()?;
        let written = state.write_message(&[], &mut buffer).unwrap();
        let answer = [framed(b"\x01gate\0").unwrap(), framed(&[&[0], &buffer[..written]].concat()).unwrap()].concat();
        Some((state.into_transport_mode().unwrap(), answer))
    }

    #[test]
    fn two_sides_with_one_key_understand_each_other() {
        let (mut handshake, hello) = Handshake::start(&KEY).unwrap();
        let (cipher, answer) = device(&KEY, &hello).unwrap();
        let mut received = BytesMut::new();
        let mut client = None;
        for byte in answer {
            received.extend_from_slice(&[byte]);
            match handshake.proceed(&mut received).unwrap() {
                Ok(wire) => {
                    client = Some(wire);
                    break;
                }
                Err(unfinished) => handshake = unfinished,
            }
        }
        let (mut client, mut device) = (client.unwrap(), Wire::Noise(Box::new(cipher)));
        for packet in [(33, vec![1, 2, 3]), (20, Vec::new()), (1, vec![9; 2000])] {
            let sealed = client.seal(&packet).unwrap();
            let mut received = BytesMut::from(sealed.as_slice());
            assert_eq!(device.open(&mut received).unwrap(), Some(packet.clone()));
            assert!(received.is_empty());
            let answer = device.seal(&packet).unwrap();
            assert_eq!(client.open(&mut BytesMut::from(&answer[..7])), Ok(None));
            assert_eq!(client.open(&mut BytesMut::from(answer.as_slice())).unwrap(), Some(packet));
        }
        let mut changed = device.seal(&(26, vec![1])).unwrap();
        changed[5] ^= 1;
        assert_eq!(client.open(&mut BytesMut::from(changed.as_slice())), Err(FrameFault::Damaged));
    }

    #[test]
    fn another_key_is_said() {
        let (handshake, hello) = Handshake::start(&KEY).unwrap();
        assert!(device(&[8; KEY_BYTES], &hello).is_none());
        let refusal = [framed(b"\x01gate\0").unwrap(), framed(b"\x01Handshake MAC failure").unwrap()].concat();
        let fault = handshake.proceed(&mut BytesMut::from(refusal.as_slice())).err();
        assert_eq!(fault, Some(FrameFault::OtherKey));
        let mut plain = Wire::Plain;
        assert_eq!(plain.open(&mut BytesMut::from(refusal.as_slice())), Err(FrameFault::WantsKey));
    }

    #[test]
    fn plain_frames() {
        let mut wire = Wire::Plain;
        let packet = (300, vec![5; 200]);
        let sealed = wire.seal(&packet).unwrap();
        assert_eq!(sealed[..5], [0, 0xC8, 0x01, 0xAC, 0x02]);
        for length in 0..sealed.len() {
            assert_eq!(wire.open(&mut BytesMut::from(&sealed[..length])), Ok(None), "{length}");
        }
        assert_eq!(wire.open(&mut BytesMut::from(sealed.as_slice())), Ok(Some(packet)));
        let open = |bytes: &[u8]| Wire::Plain.open(&mut BytesMut::from(bytes));
        assert_eq!(open(b"HTTP/1.1"), Err(FrameFault::NotEsphome));
        assert_eq!(open(&[0, 0xFF, 0xFF, 0x7F, 1]), Err(FrameFault::TooLong));
        assert_eq!(open(&[0; 1]), Ok(None));
        assert_eq!(
            open(&[0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            Err(FrameFault::NotEsphome)
        );
        assert_eq!(wire.seal(&(1, vec![0; BODY_BYTES_MAX + 1])), Err(FrameFault::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut received = BytesMut::from(bytes.as_slice());
            while let Ok(Some(_)) = Wire::Plain.open(&mut received) {}
            let (handshake, _) = Handshake::start(&KEY).unwrap();
            let _ = handshake.proceed(&mut BytesMut::from(bytes.as_slice()));
        }
    }
}
