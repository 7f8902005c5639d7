//! H.265 by `rust_h265`.
//!
//! The decoder runs in decoding order and is asked for its picture after every access unit, so each picture meets its
//! own packet and none is late.

use bytes::Bytes;
use godvision_core::signal::media::FrameKind;

use rust_h265::{DecodeError, DecodeLimits, Decoder, Frame, NalUnitType, PixelData, parse_hvcc};

use super::SIDE_PIXELS_MAX;
use super::gate::{Decoded, Engine, Failure, Tag};
use super::planes::{self, Sampling};
use crate::nal::{self, ParameterSets};

pub(super) struct H265 {
    decoder: Decoder,
    keep_chroma: bool,
}

impl H265 {
    pub(super) fn new(keep_chroma: bool) -> Self {
        let side = u64::from(SIDE_PIXELS_MAX);
        // 1 GiB is the crate's estimate for 8192x8192 in 16 bits.
        let limits = DecodeLimits { max_picture_pixels: side * side, max_picture_memory_bytes: 1 << 30 };
        Self { decoder: Decoder::with_limits(limits), keep_chroma }
    }

    fn convert(&self, frame: Frame, tag: Tag, starts_sequence: bool) -> Option<Decoded> {
        let (width, height) = (frame.width as usize, frame.height as usize);
        let sampling = match frame.chroma_format_idc {
            2 => Sampling::HalfWidth,
            3 => Sampling::Full,
            _ => Sampling::Half,
        };
        let bits = frame.bit_depth;
        let samples = |plane: PixelData| match plane {
            PixelData::U8(samples) => samples,
            PixelData::U16(samples) => planes::narrow(samples.into_iter(), bits),
        };
        let order = i64::from(frame.pic_order_cnt);
        let luma = planes::plane(width, height, samples(frame.y))?;
        let chroma = if self.keep_chroma {
            let cb = planes::chroma(width, height, sampling, samples(frame.u))?;
            Some([cb, planes::chroma(width, height, sampling, samples(frame.v))?])
        } else {
            None
        };
        Some(Decoded { tag, order, starts_sequence, luma, chroma })
    }
}

fn failure(error: DecodeError) -> Failure {
    match error {
        DecodeError::Unsupported(what) | DecodeError::ResourceLimit(what) => Failure::Unsupported(what.to_owned()),
        other => Failure::Damaged(other.to_string()),
    }
}

impl Engine for H265 {
    fn parameter_sets(&mut self, sets: &ParameterSets) -> Result<(), Failure> {
        let mut data = Vec::new();
        sets.iter().for_each(|set| nal::push_unit(&mut data, set));
        for unit in parse_hvcc(&data, 4) {
            self.decoder.decode_nal(&unit).map_err(failure)?;
        }
        Ok(())
    }

    fn decode(&mut self, data: &Bytes, kind: FrameKind, tag: Tag, out: &mut Vec<Decoded>) -> Result<(), Failure> {
        let before = out.len();
        let mut starts_sequence = false;
        let mut frames = Vec::new();
        for unit in parse_hvcc(data, 4) {
            // IDR and BLA pictures count from zero again; CRA pictures go on counting.
            starts_sequence |= unit.nal_unit_type.is_irap() && !matches!(unit.nal_unit_type, NalUnitType::Cra);
            frames.extend(self.decoder.decode_nal(&unit).map_err(failure)?);
        }
        frames.extend(std::iter::from_fn(|| self.decoder.flush()));
        out.extend(frames.into_iter().filter_map(|frame| self.convert(frame, tag.clone(), starts_sequence)));
        // A delta may give none: pictures that lead a random access point are skipped by rule.
        if kind == FrameKind::Key && out.len() == before {
            return Err(Failure::Damaged("a key frame gave no picture".to_owned()));
        }
        Ok(())
    }

    fn drain(&mut self, _: &mut Vec<Decoded>) {}
}
