//! Reading coded video without decoding it: NAL units, key frames, parameter sets and the records made of them.
//!
//! A packet's data is NAL units behind 4-byte lengths; a decoder may want start codes instead, an fMP4 file wants a
//! configuration record, a browser wants a codec name. All of that is here, for [`h264`], [`h265`] and [`jpeg`], over
//! any bytes whatever: a camera's garbage is a [`BitstreamError`], never a panic, an endless loop or a large
//! allocation. Source: ITU-T H.264 and H.265 (clauses 7.3 and Annex B), ISO/IEC 14496-15 (records), RFC 6381 (names).
//!
//! **Never:** slice data, pixels, SEI messages, guesses where a limit is passed.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod bits;
pub mod h264;
pub mod h265;
pub mod jpeg;

use bytes::Bytes;
use godvision_core::signal::media::{Codec, FrameKind};
use nom::IResult;
use nom::Parser as _;
use nom::bytes::complete::take;
use nom::multi::length_data;
use nom::number::complete::{be_u16, be_u32, u8 as any_u8};

/// Longest parameter set that is read, in bytes. Real ones have 10 to 200.
pub const PARAMETER_SET_BYTES_MAX: usize = 4096;
/// Most parameter sets of one kind in a configuration record.
pub const PARAMETER_SETS_MAX: usize = 32;
/// Longest side of a picture in pixels; H.265 level 6.2 ends at 16,888.
pub const SIDE_PIXELS_MAX: u32 = 16_888;

/// What is wrong with a piece of coded video, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {byte}")]
pub struct BitstreamError {
    what: &'static str,
    byte: usize,
}

impl BitstreamError {
    pub(crate) const fn new(what: &'static str, byte: usize) -> Self {
        Self { what, byte }
    }

    /// What was found, in words.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Where, in bytes from the start of the piece.
    pub fn byte(&self) -> usize {
        self.byte
    }
}

/// The NAL units of a packet's data. Ends after the first error.
///
/// ```
/// use godvision_rtsp::nal::units;
/// let data = [0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 1, 0x41];
/// let found: Result<Vec<_>, _> = units(&data).collect();
/// assert_eq!(found?, [&[0x65, 0x88][..], &[0x41]]);
/// # Ok::<(), godvision_rtsp::nal::BitstreamError>(())
/// ```
pub fn units(data: &[u8]) -> Units<'_> {
    Units { rest: data, total: data.len() }
}

/// Iterator over length-prefixed NAL units, see [`units`].
#[derive(Clone, Debug)]
pub struct Units<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Iterator for Units<'a> {
    type Item = Result<&'a [u8], BitstreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let byte = self.total - self.rest.len();
        let parsed: IResult<&[u8], &[u8]> = length_data(be_u32).parse(self.rest);
        match parsed {
            Ok((rest, unit)) if !unit.is_empty() => {
                self.rest = rest;
                Some(Ok(unit))
            }
            Ok(_) => {
                self.rest = &[];
                Some(Err(BitstreamError::new("a NAL unit of no length", byte)))
            }
            Err(_) => {
                self.rest = &[];
                Some(Err(BitstreamError::new("a NAL unit longer than its frame", byte)))
            }
        }
    }
}

/// The NAL units of an Annex B byte stream, without start codes and the zeros around them. Empty units are left out;
/// bytes before the first start code are not part of any unit.
pub fn annex_b_units(data: &[u8]) -> AnnexBUnits<'_> {
    AnnexBUnits { rest: after_start_code(data).map(|(_, rest)| rest) }
}

/// Iterator over Annex B NAL units, see [`annex_b_units`].
#[derive(Clone, Debug)]
pub struct AnnexBUnits<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for AnnexBUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some(rest) = self.rest {
            let (unit, next) = match after_start_code(rest) {
                Some((unit, next)) => (unit, Some(next)),
                None => (rest, None),
            };
            self.rest = next;
            // A unit's last byte is never 0 (the stop bit), so zeros here belong to the next start code or are padding.
            let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if let Some(unit @ [_, ..]) = unit.get(..length) {
                return Some(unit);
            }
        }
        None
    }
}

/// What stands before the first `00 00 01`, and what after it.
fn after_start_code(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.windows(3).position(|w| w == [0, 0, 1])?;
    Some((data.get(..at)?, data.get(at + 3..)?))
}

/// An Annex B stream as a packet's data: each NAL unit behind its length in 4 bytes. One allocation.
pub fn from_annex_b(data: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(data.len() + 16);
    for unit in annex_b_units(data) {
        push_unit(&mut framed, unit);
    }
    framed
}

/// Appends a packet's data to `out` with start codes instead of lengths.
///
/// # Errors
/// [`BitstreamError`] if a length is wrong; what came before it has been appended.
pub fn to_annex_b(data: &[u8], out: &mut Vec<u8>) -> Result<(), BitstreamError> {
    for unit in units(data) {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(unit?);
    }
    Ok(())
}

/// Appends one NAL unit behind its length in 4 bytes.
pub fn push_unit(out: &mut Vec<u8>, unit: &[u8]) {
    // A NAL unit is a part of one frame, which RTP and our limits keep far below 4 GiB.
    out.extend_from_slice(&u32::try_from(unit.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(unit);
}

/// Whether a packet's data can be decoded on its own: an IDR picture in H.264, any IRAP picture in H.265, always in
/// MJPEG. Reads NAL headers only. Data that cannot be split is a delta, so nobody starts with it.
pub fn frame_kind(codec: Codec, data: &[u8]) -> FrameKind {
    let is_key = match codec {
        Codec::H264 => any_unit(data, |unit| h264::UnitType::of(unit) == Some(h264::UnitType::Idr)),
        Codec::H265 => any_unit(data, |unit| h265::UnitType::of(unit).is_some_and(h265::UnitType::is_random_access)),
        Codec::Mjpeg => true,
        _ => false,
    };
    if is_key { FrameKind::Key } else { FrameKind::Delta }
}

fn any_unit(data: &[u8], test: impl FnMut(&[u8]) -> bool) -> bool {
    units(data).map_while(Result::ok).any(test)
}

/// Parameter sets of a stream, each one NAL unit with its header and without a start code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    /// Video parameter sets; H.265 only.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
}

impl ParameterSets {
    /// Out of a decoder configuration record (`avcC` or `hvcC` body). MJPEG has none.
    ///
    /// # Errors
    /// [`BitstreamError`] if the record is cut short, has another version, or passes a limit.
    pub fn from_config(codec: Codec, config: &Bytes) -> Result<Self, BitstreamError> {
        match codec {
            Codec::H264 => h264::parse_config(config),
            Codec::H265 => h265::parse_config(config),
            _ => Ok(Self::default()),
        }
    }

    /// Out of any NAL units: keeps the parameter sets, drops the rest. `None` if nothing was found.
    pub fn from_units<'a>(codec: Codec, units: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut sets = Self::default();
        for unit in units.filter(|unit| unit.len() <= PARAMETER_SET_BYTES_MAX) {
            let kind = match codec {
                Codec::H264 => match h264::UnitType::of(unit) {
                    Some(h264::UnitType::Sps) => &mut sets.sps,
                    Some(h264::UnitType::Pps) => &mut sets.pps,
                    _ => continue,
                },
                Codec::H265 => match h265::UnitType::of(unit) {
                    Some(h265::UnitType::Vps) => &mut sets.vps,
                    Some(h265::UnitType::Sps) => &mut sets.sps,
                    Some(h265::UnitType::Pps) => &mut sets.pps,
                    _ => continue,
                },
                _ => continue,
            };
            if kind.len() < PARAMETER_SETS_MAX && !kind.iter().any(|known| known == unit) {
                kind.push(Bytes::copy_from_slice(unit));
            }
        }
        (sets != Self::default()).then_some(sets)
    }

    /// All of them in decoding order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.vps.iter().chain(&self.sps).chain(&self.pps)
    }

    /// All of them in decoding order with start codes, as decoders like to begin.
    pub fn to_annex_b(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        for set in self.iter() {
            stream.extend_from_slice(&[0, 0, 0, 1]);
            stream.extend_from_slice(set);
        }
        stream
    }
}

/// `count` units behind 2-byte lengths. Shares the record's memory.
fn counted_sets<'a>(
    record: &Bytes,
    mut at: &'a [u8],
    count: usize,
    into: &mut Vec<Bytes>,
) -> Result<&'a [u8], BitstreamError> {
    let byte = |at: &[u8]| record.len() - at.len();
    for _ in 0..count {
        let parsed: IResult<&[u8], &[u8]> = length_data(be_u16).parse(at);
        let (rest, set) = parsed.map_err(|_| BitstreamError::new("a record cut short", byte(at)))?;
        if set.is_empty() || set.len() > PARAMETER_SET_BYTES_MAX {
            return Err(BitstreamError::new("a parameter set of impossible length", byte(at)));
        }
        if into.len() == PARAMETER_SETS_MAX {
            return Err(BitstreamError::new("too many parameter sets", byte(at)));
        }
        into.push(record.slice_ref(set));
        at = rest;
    }
    Ok(at)
}

fn one_byte(at: &[u8], total: usize) -> Result<(&[u8], u8), BitstreamError> {
    let parsed: IResult<&[u8], u8> = any_u8.parse(at);
    parsed.map_err(|_| BitstreamError::new("a record cut short", total - at.len()))
}

fn skip_bytes(at: &[u8], count: usize, total: usize) -> Result<&[u8], BitstreamError> {
    let parsed: IResult<&[u8], &[u8]> = take(count).parse(at);
    parsed.map(|(rest, _)| rest).map_err(|_| BitstreamError::new("a record cut short", total - at.len()))
}

/// Checks a pair of sides against [`SIDE_PIXELS_MAX`] and zero.
fn checked_size(width: u32, height: u32, byte: usize) -> Result<(u16, u16), BitstreamError> {
    let side = |pixels: u32| (1..=SIDE_PIXELS_MAX).contains(&pixels).then(|| u16::try_from(pixels).ok()).flatten();
    side(width).zip(side(height)).ok_or(BitstreamError::new("an impossible picture size", byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn annex_b_is_split_at_three_and_four_byte_start_codes() {
        let stream = [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 0, 0, 0, 0, 1, 0x65, 2, 0, 0];
        let found: Vec<_> = annex_b_units(&stream).collect();
        assert_eq!(found, [&[0x67, 1][..], &[0x68], &[0x65, 2]]);
        assert_eq!(from_annex_b(&stream), [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 1, 0x68, 0, 0, 0, 2, 0x65, 2]);
        assert_eq!(annex_b_units(&[1, 2, 3]).count(), 0);
    }

    #[test]
    fn a_wrong_length_is_an_error_and_ends_the_list() {
        let mut split = units(&[0, 0, 0, 1, 0x65, 0, 0, 0, 9, 1]);
        assert_eq!(split.next(), Some(Ok(&[0x65][..])));
        assert_eq!(split.next(), Some(Err(BitstreamError::new("a NAL unit longer than its frame", 5))));
        assert_eq!(split.next(), None);
        assert!(units(&[0, 0, 0, 0]).next().unwrap().is_err());
        assert_eq!(frame_kind(Codec::H264, &[0, 0, 0, 9, 0x65]), FrameKind::Delta);
    }

    #[test]
    fn repeated_parameter_sets_are_kept_once_and_only_so_many() {
        let many: Vec<[u8; 3]> = (0..=255).map(|n| [0x68, n, 0x80]).collect();
        let sets = ParameterSets::from_units(
            Codec::H264,
            many.iter().map(|u| &u[..]).chain([&[0x67, 1][..], &[0x67, 1], &[0x65, 1]]),
        )
        .unwrap();
        assert_eq!((sets.sps.len(), sets.pps.len(), sets.vps.len()), (1, PARAMETER_SETS_MAX, 0));
        assert_eq!(ParameterSets::from_units(Codec::H264, [&[0x65, 1][..]].into_iter()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_without_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(units(&data).count() <= data.len());
            prop_assert!(annex_b_units(&data).all(|unit| !unit.is_empty()));
            for codec in [Codec::H264, Codec::H265, Codec::Mjpeg] {
                let _ = frame_kind(codec, &data);
                let _ = ParameterSets::from_config(codec, &Bytes::from(data.clone()));
                let _ = ParameterSets::from_units(codec, annex_b_units(&data));
            }
            let _ = h264::Sps::parse(&data);
            let _ = h265::Sps::parse(&data);
            let _ = jpeg::size(&data);
        }

        #[test]
        fn lengths_and_start_codes_say_the_same(
            frame in prop::collection::vec(prop::collection::vec(1u8..=255, 1..40), 0..9)
        ) {
            let mut framed = Vec::new();
            frame.iter().for_each(|unit| push_unit(&mut framed, unit));
            let mut stream = Vec::new();
            to_annex_b(&framed, &mut stream).unwrap();
            prop_assert_eq!(from_annex_b(&stream), framed);
        }
    }
}
