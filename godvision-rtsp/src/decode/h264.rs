//! H.264 by `rust_h264`.
//!
//! That decoder ends a picture only when the next one starts. A packet is a whole access unit, so for progressive
//! streams the picture is asked for at once and no frame of delay arises. Fields of one frame may come in two packets,
//! so interlaced streams keep the delay of one picture.

use std::collections::VecDeque;

use bytes::Bytes;
use godvision_core::signal::media::FrameKind;
use rust_h264::decoder::{ChromaFormat, Decoder, Frame};
use rust_h264::error::DecodeError;
use rust_h264::nal::{NalUnit, NalUnitType, parse_avcc};

use super::gate::{Decoded, Engine, Failure, Tag};
use super::planes::{self, Sampling};
use crate::nal::{self, ParameterSets};

pub(super) struct H264 {
    decoder: Decoder,
    keep_chroma: bool,
    interlaced: bool,
    /// The packets of the pictures inside: the one being built, and whether it starts a coded sequence.
    building: VecDeque<(Tag, bool)>,
}

impl H264 {
    pub(super) fn new(keep_chroma: bool) -> Self {
        Self { decoder: Decoder::new(), keep_chroma, interlaced: false, building: VecDeque::new() }
    }

    fn feed(&mut self, unit: &NalUnit<'_>) -> Result<Option<Frame>, Failure> {
        self.decoder.decode_nal(unit).map_err(|error| match error {
            DecodeError::Unsupported(what) => Failure::Unsupported(what.to_owned()),
            other => Failure::Damaged(other.to_string()),
        })
    }

    fn convert(&self, frame: Frame, tag: Tag, starts_sequence: bool) -> Option<Decoded> {
        let (width, height) = (frame.width as usize, frame.height as usize);
        let sampling = match frame.chroma_format {
            ChromaFormat::Yuv422 => Sampling::HalfWidth,
            _ => Sampling::Half,
        };
        let bits = frame.bit_depth;
        let samples = |plane: Vec<u8>| {
            if bits <= 8 {
                return plane;
            }
            planes::narrow(
                plane.chunks_exact(2).filter_map(|pair| Some(u16::from_le_bytes(*pair.first_chunk()?))),
                bits,
            )
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

    fn emit(&mut self, frame: Option<Frame>, out: &mut Vec<Decoded>) {
        let Some(frame) = frame else { return };
        let Some((tag, starts_sequence)) = self.building.pop_front() else { return };
        out.extend(self.convert(frame, tag, starts_sequence));
    }
}

impl Engine for H264 {
    fn parameter_sets(&mut self, sets: &ParameterSets) -> Result<(), Failure> {
        self.interlaced = sets.sps.iter().any(|sps| nal::h264::Sps::parse(sps).is_ok_and(|sps| sps.interlaced));
        let mut data = Vec::new();
        sets.iter().for_each(|set| nal::push_unit(&mut data, set));
        for unit in parse_avcc(&data, 4) {
            self.feed(&unit)?;
        }
        Ok(())
    }

    fn decode(&mut self, data: &Bytes, kind: FrameKind, tag: Tag, out: &mut Vec<Decoded>) -> Result<(), Failure> {
        let before = out.len();
        let mut started = false;
        for unit in parse_avcc(data, 4) {
            let is_slice = matches!(unit.nal_unit_type, NalUnitType::Slice | NalUnitType::SliceIdr);
            let frame = self.feed(&unit)?;
            let ended_one = frame.is_some();
            self.emit(frame, out);
            // The second field of a frame ends nothing: the frame keeps its first field's packet.
            if is_slice && !started && (ended_one || self.building.is_empty()) {
                let starts_sequence = unit.nal_unit_type == NalUnitType::SliceIdr;
                self.building.push_back((tag.clone(), starts_sequence));
                started = true;
            }
        }
        if !self.interlaced {
            let frame = self.decoder.flush();
            self.emit(frame, out);
            self.building.clear();
            if kind == FrameKind::Key && out.len() == before {
                return Err(Failure::Damaged("a key frame gave no picture".to_owned()));
            }
        }
        Ok(())
    }

    fn drain(&mut self, out: &mut Vec<Decoded>) {
        let frame = self.decoder.flush();
        self.emit(frame, out);
    }
}
