//! Coded frames as RTP packets: H.264 (RFC 6184, single NAL units and FU-A), H.265 (RFC 7798, single NAL units and FU)
//! and JPEG (RFC 2435).
//!
//! [`Payload::prepare`] looks at a frame once, when it is published; [`RtpStream`] then writes it for each reader with
//! the reader's own sequence numbers, SSRC and time offset. Packets come out as slices, so payload bytes are copied
//! only into the reader's socket buffer.
//!
//! **Never:** STAP-A, aggregation packets, interleaved mode, padding, extensions, FEC.

use bytes::Bytes;
use godvision_core::signal::media::{Codec, FrameKind, Packet};

use super::jpeg::{JpegError, JpegScan};

/// Most bytes of RTP payload in one packet: with RTP, UDP and IPv6 headers it stays below 1492 (PPPoE) bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1400;
/// Largest coded frame that is accepted: 16 MiB, about four times a 4K JPEG of good quality.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Most NAL units of one frame: an 8K picture in slices of one macroblock row has 272.
pub const UNITS_MAX: usize = 1024;
/// Dynamic payload type of H.264 and H.265 in the session description.
pub(crate) const DYNAMIC_PAYLOAD_TYPE: u8 = 96;
/// Static payload type of JPEG (RFC 3551).
pub(crate) const JPEG_PAYLOAD_TYPE: u8 = 26;

const RTP_HEADER_BYTES: usize = 12;
const FU_A: u8 = 28;
const H265_FU: u8 = 49;

/// Why a frame cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("the frame has {bytes} bytes, more than {FRAME_BYTES_MAX}")]
    Long {
        /// Its length.
        bytes: usize,
    },
    /// More than [`UNITS_MAX`] NAL units.
    #[error("the frame has more than {UNITS_MAX} NAL units")]
    ManyUnits,
    /// A NAL unit's length points past the end, or the unit is too short to hold its own header.
    #[error("the NAL unit at byte {offset} is cut off or empty")]
    BadUnit {
        /// Where its length field starts.
        offset: usize,
    },
    /// No NAL unit at all.
    #[error("the frame is empty")]
    Empty,
    /// The JPEG image cannot be sent by RFC 2435.
    #[error(transparent)]
    Jpeg(#[from] JpegError),
    /// A codec this packetiser does not know.
    #[error("{0} cannot be sent over RTP by this version")]
    UnknownCodec(Codec),
}

/// A frame taken apart for sending.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    H264(Vec<Bytes>),
    H265(Vec<Bytes>),
    Jpeg(JpegScan),
}

impl Payload {
    /// Takes `packet` apart. Key frames of H.264 and H.265 get the format's parameter sets in front unless they carry
    /// their own, so that a reader that missed the description, or a change, can still start there.
    pub(crate) fn prepare(packet: &Packet) -> Result<Self, FrameError> {
        if packet.data.len() > FRAME_BYTES_MAX {
            return Err(FrameError::Long { bytes: packet.data.len() });
        }
        let codec = packet.format.codec;
        let header_bytes = match codec {
            Codec::H264 => 1,
            Codec::H265 => 2,
            Codec::Mjpeg => return Ok(Self::Jpeg(JpegScan::parse(&packet.data)?)),
            other => return Err(FrameError::UnknownCodec(other)),
        };
        let mut units = split_units(&packet.data, header_bytes)?;
        if packet.kind == FrameKind::Key && !units.iter().any(|unit| is_sequence_set(codec, unit)) {
            let mut whole = super::sdp::parameter_sets(&packet.format);
            whole.append(&mut units);
            units = whole;
        }
        Ok(if codec == Codec::H264 { Self::H264(units) } else { Self::H265(units) })
    }
}

fn is_sequence_set(codec: Codec, unit: &[u8]) -> bool {
    match (codec, unit.first()) {
        (Codec::H264, Some(first)) => first & 0x1f == 7,
        (Codec::H265, Some(first)) => (first >> 1) & 0x3f == 33,
        _ => false,
    }
}

/// The NAL units of length-prefixed `data`, sharing its memory.
fn split_units(data: &Bytes, header_bytes: usize) -> Result<Vec<Bytes>, FrameError> {
    let mut units = Vec::new();
    let mut offset = 0;
    while offset < data.len() {
        let bad = FrameError::BadUnit { offset };
        let length = data.get(offset..).and_then(|rest| rest.first_chunk::<4>()).ok_or(bad)?;
        let length = u32::from_be_bytes(*length) as usize;
        let start = offset + 4;
        let end = start.checked_add(length).filter(|end| *end <= data.len() && length >= header_bytes).ok_or(bad)?;
        if units.len() == UNITS_MAX {
            return Err(FrameError::ManyUnits);
        }
        units.push(data.slice(start..end));
        offset = end;
    }
    if units.is_empty() { Err(FrameError::Empty) } else { Ok(units) }
}

/// One reader's RTP stream: its identity, its next sequence number and what it has sent.
#[derive(Clone, Debug)]
pub(crate) struct RtpStream {
    ssrc: u32,
    sequence: u16,
    /// Added to the mount's ticks: RFC 3550 asks for a random start.
    offset: u32,
    packets: u32,
    octets: u32,
}

impl RtpStream {
    /// A stream whose identity comes from 10 random bytes.
    pub(crate) fn new(random: [u8; 10]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = random;
        Self {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            offset: u32::from_be_bytes([e, f, g, h]),
            sequence: u16::from_be_bytes([i, j]),
            packets: 0,
            octets: 0,
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub(crate) fn next_sequence(&self) -> u16 {
        self.sequence
    }

    /// Packets and payload octets sent so far, for sender reports (RFC 3550 section 6.4.1; both wrap).
    pub(crate) fn sent(&self) -> (u32, u32) {
        (self.packets, self.octets)
    }

    /// The RTP timestamp of `ticks` on the mount's timeline.
    pub(crate) fn timestamp(&self, ticks: i64) -> u32 {
        // RTP time wraps at 32 bits by design.
        (ticks as u32).wrapping_add(self.offset)
    }

    /// Calls `send` with each RTP packet of the frame, as slices to be sent one behind the other.
    pub(crate) fn write(&mut self, payload: &Payload, ticks: i64, mut send: impl FnMut(&[&[u8]])) {
        let timestamp = self.timestamp(ticks);
        match payload {
            Payload::H264(units) => {
                for (index, unit) in units.iter().enumerate() {
                    let last = index + 1 == units.len();
                    let Some((&first, body)) = unit.split_first() else { continue };
                    if unit.len() <= PAYLOAD_BYTES_MAX {
                        self.packet(DYNAMIC_PAYLOAD_TYPE, last, timestamp, &[unit], &mut send);
                        continue;
                    }
                    let indicator = (first & 0xe0) | FU_A;
                    self.fragments(body, &[indicator], first & 0x1f, last, timestamp, &mut send);
                }
            }
            Payload::H265(units) => {
                for (index, unit) in units.iter().enumerate() {
                    let last = index + 1 == units.len();
                    let Some((&[first, second], body)) = unit.split_first_chunk::<2>() else { continue };
                    if unit.len() <= PAYLOAD_BYTES_MAX {
                        self.packet(DYNAMIC_PAYLOAD_TYPE, last, timestamp, &[unit], &mut send);
                        continue;
                    }
                    let header = [(first & 0x81) | (H265_FU << 1), second];
                    self.fragments(body, &header, (first >> 1) & 0x3f, last, timestamp, &mut send);
                }
            }
            Payload::Jpeg(scan) => {
                let mut offset = 0;
                while offset < scan.data.len() {
                    let head = scan.header(offset);
                    let room = PAYLOAD_BYTES_MAX - head.len();
                    let end = scan.data.len().min(offset + room);
                    let part = scan.data.get(offset..end).unwrap_or_default();
                    self.packet(JPEG_PAYLOAD_TYPE, end == scan.data.len(), timestamp, &[&head, part], &mut send);
                    offset = end;
                }
            }
        }
    }

    /// FU-A and H.265's FU are alike: a payload header, then start and end flags with the unit's own type.
    fn fragments(
        &mut self,
        body: &[u8],
        header: &[u8],
        unit_type: u8,
        last_unit: bool,
        timestamp: u32,
        send: &mut impl FnMut(&[&[u8]]),
    ) {
        let room = PAYLOAD_BYTES_MAX - header.len() - 1;
        let count = body.len().div_ceil(room);
        for (index, part) in body.chunks(room).enumerate() {
            let (start, end) = (index == 0, index + 1 == count);
            let flags = unit_type | (u8::from(start) << 7) | (u8::from(end) << 6);
            self.packet(DYNAMIC_PAYLOAD_TYPE, last_unit && end, timestamp, &[header, &[flags], part], send);
        }
    }

    fn packet(
        &mut self,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        parts: &[&[u8]],
        send: &mut impl FnMut(&[&[u8]]),
    ) {
        let mut header = [0; RTP_HEADER_BYTES];
        header[0] = 0x80;
        header[1] = payload_type | (u8::from(marker) << 7);
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        let octets: usize = parts.iter().map(|part| part.len()).sum();
        self.octets = self.octets.wrapping_add(octets as u32);
        match parts {
            [a] => send(&[&header, a]),
            [a, b] => send(&[&header, a, b]),
            [a, b, c] => send(&[&header, a, b, c]),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(payload: &Payload) -> Vec<Vec<u8>> {
        let mut stream = RtpStream::new([0, 0, 0, 7, 0, 0, 0, 0, 0xff, 0xff]);
        let mut packets = Vec::new();
        stream.write(payload, 90_000, |parts| packets.push(parts.concat()));
        packets
    }

    #[test]
    fn a_small_unit_travels_alone_and_the_last_packet_is_marked() {
        let sent = packets(&Payload::H264(vec![Bytes::from_static(&[0x67, 1, 2]), Bytes::from_static(&[0x65, 3])]));
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0], [0x80, 96, 0xff, 0xff, 0, 1, 0x5f, 0x90, 0, 0, 0, 7, 0x67, 1, 2]);
        assert_eq!(sent[1][..4], [0x80, 96 | 0x80, 0, 0], "the sequence number wraps");
    }

    fn reassemble(sent: &[Vec<u8>], header_bytes: usize) -> Vec<u8> {
        let mut body = Vec::new();
        for (index, packet) in sent.iter().enumerate() {
            let flags = packet[12 + header_bytes];
            assert_eq!(flags & 0x80 != 0, index == 0);
            assert_eq!(flags & 0x40 != 0, index + 1 == sent.len());
            assert!(packet.len() <= 12 + PAYLOAD_BYTES_MAX);
            body.extend_from_slice(&packet[12 + header_bytes + 1..]);
        }
        body
    }

    #[test]
    fn a_large_unit_is_cut_and_can_be_put_together_again() {
        for length in [PAYLOAD_BYTES_MAX + 1, 2 * PAYLOAD_BYTES_MAX, 10_000, 3 * (PAYLOAD_BYTES_MAX - 2) + 1] {
            let unit: Vec<u8> = std::iter::once(0x65).chain((0..length - 1).map(|i| i as u8)).collect();
            let sent = packets(&Payload::H264(vec![Bytes::from(unit.clone())]));
            assert_eq!(reassemble(&sent, 1), unit[1..]);
            assert!(sent.iter().all(|packet| packet[12] == 0x7c && packet[13] & 0x1f == 5));
        }
    }

    #[test]
    fn h265_fragments_carry_layer_and_temporal_id() {
        let unit: Vec<u8> = [0x26, 0x01].into_iter().chain((0..5000).map(|i| i as u8)).collect();
        let sent = packets(&Payload::H265(vec![Bytes::from(unit.clone())]));
        assert_eq!(reassemble(&sent, 2), unit[2..]);
        assert!(sent.iter().all(|packet| packet[12..14] == [0x62, 0x01] && packet[14] & 0x3f == 19));
    }

    #[test]
    fn cut_off_units_are_refused() {
        let split = |data: &'static [u8]| split_units(&Bytes::from_static(data), 1);
        assert_eq!(split(&[]), Err(FrameError::Empty));
        assert_eq!(split(&[0, 0, 0]), Err(FrameError::BadUnit { offset: 0 }));
        assert_eq!(split(&[0, 0, 0, 0]), Err(FrameError::BadUnit { offset: 0 }));
        assert_eq!(split(&[0, 0, 0, 1, 5, 0xff, 0xff, 0xff, 0xff, 1]), Err(FrameError::BadUnit { offset: 5 }));
        assert_eq!(split(&[0, 0, 0, 1, 5, 0, 0, 0, 2, 6, 7]).unwrap().len(), 2);
        let many = Bytes::from([0, 0, 0, 1, 5].repeat(UNITS_MAX + 1));
        assert_eq!(split_units(&many, 1), Err(FrameError::ManyUnits));
    }
}
