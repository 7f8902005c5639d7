//! All codecs by the system's libavcodec: two to three times as fast as pure Rust, and written in C.
//!
//! The planes of a picture are libavcodec's own buffers, held until the picture is dropped: nothing is copied unless
//! samples have more than 8 bits or colour has to be averaged down. One thread: the caller decides where to spend time.
//!
//! **Never:** hardware decoding, libavformat, frame threads (each would delay the picture by one frame).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ffmpeg_next::codec::{self, Id};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video;
use ffmpeg_next::{Dictionary, Error, Packet, decoder, error, log};
use godvision_core::signal::media::{Codec, FrameKind, Plane};

use super::gate::{Decoded, Engine, Failure, Tag};
use super::planes::{self, Sampling};
use super::{Frames, REORDER_FRAMES_MAX};
use crate::nal::{self, ParameterSets};

/// Most packets whose pictures are still inside: the reorder depth, and as many fields.
const INSIDE_MAX: usize = 4 * REORDER_FRAMES_MAX;

pub(super) struct Ffmpeg {
    codec: Codec,
    keep_chroma: bool,
    /// Each packet's picture is asked for at once, as if the stream ended there.
    at_once: bool,
    decoder: Option<decoder::Video>,
    /// Parameter sets in Annex B, to go in front of the next packet.
    head: Vec<u8>,
    inside: VecDeque<(i64, Tag)>,
    next: i64,
}

impl Ffmpeg {
    pub(super) fn new(codec: Codec, keep_chroma: bool, frames: Frames) -> Self {
        let at_once = frames == Frames::KeyOnly || codec == Codec::Mjpeg;
        Self { codec, keep_chroma, at_once, decoder: None, head: Vec::new(), inside: VecDeque::new(), next: 0 }
    }

    fn open(&self) -> Result<decoder::Video, Failure> {
        // The library writes to stderr by itself; what it finds wrong comes back as an error anyway.
        log::set_level(log::Level::Quiet);
        let id = match self.codec {
            Codec::H264 => Id::H264,
            Codec::H265 => Id::HEVC,
            _ => Id::MJPEG,
        };
        let missing = || Failure::Unsupported("libavcodec was built without this codec".to_owned());
        let found = decoder::find(id).ok_or_else(missing)?;
        let mut options = Dictionary::new();
        options.set("threads", "1");
        let context = codec::Context::new_with_codec(found);
        let opened = context.decoder().open_as_with(found, options).map_err(failure)?;
        opened.video().map_err(failure)
    }

    fn receive(&mut self, decoder: &mut decoder::Video, out: &mut Vec<Decoded>) -> Result<(), Failure> {
        loop {
            let mut frame = Video::empty();
            match decoder.receive_frame(&mut frame) {
                Ok(()) => {}
                Err(Error::Eof) => return Ok(()),
                Err(Error::Other { errno }) if errno == error::EAGAIN => return Ok(()),
                Err(error) => return Err(failure(error)),
            }
            let Some(tag) = self.tag(&frame) else { continue };
            if frame.is_corrupt() || frame.has_decode_errors() {
                return Err(Failure::Damaged("libavcodec had to guess parts of the picture".to_owned()));
            }
            out.extend(self.convert(frame, tag)?);
        }
    }

    /// The tag of the packet that the frame was made of; older ones that gave no picture are forgotten.
    fn tag(&mut self, frame: &Video) -> Option<Tag> {
        let number = frame.pts()?;
        let place = self.inside.iter().position(|(other, _)| *other == number)?;
        self.inside.remove(place).map(|(_, tag)| tag)
    }

    fn convert(&self, frame: Video, tag: Tag) -> Result<Option<Decoded>, Failure> {
        let (bits, sampling) = match frame.format() {
            Pixel::YUV420P | Pixel::YUVJ420P => (8, Some(Sampling::Half)),
            Pixel::YUV422P | Pixel::YUVJ422P => (8, Some(Sampling::HalfWidth)),
            Pixel::YUV444P | Pixel::YUVJ444P => (8, Some(Sampling::Full)),
            Pixel::GRAY8 => (8, None),
            Pixel::YUV420P10LE => (10, Some(Sampling::Half)),
            Pixel::YUV422P10LE => (10, Some(Sampling::HalfWidth)),
            Pixel::YUV444P10LE => (10, Some(Sampling::Full)),
            Pixel::YUV420P12LE => (12, Some(Sampling::Half)),
            Pixel::GRAY10LE => (10, None),
            Pixel::GRAY12LE => (12, None),
            other => return Err(Failure::Unsupported(format!("pixels of the kind {other:?}"))),
        };
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let frame = Arc::new(frame);
        let luma = plane(&frame, 0, [width, height], bits);
        let chroma = match (self.keep_chroma, sampling) {
            (false, _) => None,
            (true, Some(sampling)) => {
                let sides = [frame.plane_width(1) as usize, frame.plane_height(1) as usize];
                let part = |index| {
                    let stored = plane(&frame, index, sides, bits)?;
                    if sampling == Sampling::Half {
                        return Some(stored);
                    }
                    let samples = (0..stored.height).flat_map(|y| stored.row(y).to_vec()).collect();
                    planes::chroma(width, height, sampling, samples)
                };
                part(1).zip(part(2))
            }
            (true, None) => {
                let sides = [width.div_ceil(2), height.div_ceil(2)];
                let neutral = || planes::plane(sides[0], sides[1], vec![128; sides[0] * sides[1]]);
                neutral().zip(neutral())
            }
        };
        let chroma = chroma.map(|(cb, cr)| [cb, cr]);
        Ok(luma.map(|luma| Decoded { tag, order: 0, starts_sequence: false, luma, chroma }))
    }
}

/// Plane `index` of `frame`, in libavcodec's memory if it has 8 bits.
fn plane(frame: &Arc<Video>, index: usize, [width, height]: [usize; 2], bits: u8) -> Option<Plane> {
    struct Shared(Arc<Video>, usize);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            self.0.data(self.1)
        }
    }
    let (stride, data) = (frame.stride(index), frame.data(index));
    if bits == 8 {
        return Plane::new(width, height, stride, Bytes::from_owner(Shared(Arc::clone(frame), index)));
    }
    let rows = data.chunks_exact(stride).take(height).flat_map(|row| row.chunks_exact(2).take(width));
    let samples = rows.filter_map(|pair| Some(u16::from_le_bytes(*pair.first_chunk()?)));
    planes::plane(width, height, planes::narrow(samples, bits))
}

fn failure(error: Error) -> Failure {
    match error {
        Error::PatchWelcome | Error::DecoderNotFound => Failure::Unsupported(error.to_string()),
        other => Failure::Damaged(other.to_string()),
    }
}

impl Engine for Ffmpeg {
    fn parameter_sets(&mut self, sets: &ParameterSets) -> Result<(), Failure> {
        self.head = sets.to_annex_b();
        Ok(())
    }

    fn decode(&mut self, data: &Bytes, kind: FrameKind, tag: Tag, out: &mut Vec<Decoded>) -> Result<(), Failure> {
        let mut packet = if self.codec == Codec::Mjpeg {
            Packet::copy(data)
        } else {
            let mut stream = if self.at_once { self.head.clone() } else { std::mem::take(&mut self.head) };
            nal::to_annex_b(data, &mut stream).map_err(|error| Failure::Damaged(error.to_string()))?;
            Packet::copy(&stream)
        };
        packet.set_pts(Some(self.next));
        self.inside.push_back((self.next, tag));
        self.next += 1;
        if self.inside.len() > INSIDE_MAX {
            self.inside.pop_front();
        }
        let before = out.len();
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.open()?,
        };
        decoder.send_packet(&packet).map_err(failure)?;
        if self.at_once {
            decoder.send_eof().map_err(failure)?;
        }
        self.receive(&mut decoder, out)?;
        if self.at_once {
            decoder.flush();
            self.inside.clear();
            if kind == FrameKind::Key && out.len() == before {
                return Err(Failure::Damaged("a key frame gave no picture".to_owned()));
            }
        }
        self.decoder = Some(decoder);
        Ok(())
    }

    fn drain(&mut self, out: &mut Vec<Decoded>) {
        if let Some(mut decoder) = self.decoder.take()
            && decoder.send_eof().is_ok()
        {
            // What cannot be decoded any more is gone.
            let _ = self.receive(&mut decoder, out);
        }
    }

    fn orders_itself(&self) -> bool {
        true
    }
}
