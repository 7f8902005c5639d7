//! MJPEG by `zune-jpeg`: luma alone is 1.5 times faster than all three components.

use std::io::Cursor;

use bytes::Bytes;
use godvision_core::signal::media::{FrameKind, Plane};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::SIDE_PIXELS_MAX;
use super::gate::{Decoded, Engine, Failure, Tag};
use super::planes::{self, Pool, Sampling};
use crate::nal::ParameterSets;

pub(super) struct Mjpeg {
    keep_chroma: bool,
    pool: Pool,
}

impl Mjpeg {
    pub(super) fn new(keep_chroma: bool, pool: Pool) -> Self {
        Self { keep_chroma, pool }
    }
}

impl Engine for Mjpeg {
    fn parameter_sets(&mut self, _: &ParameterSets) -> Result<(), Failure> {
        Ok(())
    }

    fn decode(&mut self, data: &Bytes, _: FrameKind, tag: Tag, out: &mut Vec<Decoded>) -> Result<(), Failure> {
        let damaged = |error: zune_jpeg::errors::DecodeErrors| Failure::Damaged(first_line(&error.to_string()));
        let options = DecoderOptions::default()
            .jpeg_set_out_colorspace(ColorSpace::Luma)
            .set_max_width(usize::from(SIDE_PIXELS_MAX))
            .set_max_height(usize::from(SIDE_PIXELS_MAX));
        let mut decoder = JpegDecoder::new_with_options(Cursor::new(&data[..]), options);
        decoder.decode_headers().map_err(damaged)?;
        let is_gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
        if self.keep_chroma && !is_gray {
            decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::YCbCr));
        }
        let size = decoder.info().map(|info| (usize::from(info.width), usize::from(info.height)));
        let (Some((width, height)), Some(length)) = (size, decoder.output_buffer_size()) else {
            return Err(Failure::Damaged("no picture size".to_owned()));
        };
        let mut buffer = self.pool.take(length);
        decoder.decode_into(&mut buffer.buffer).map_err(damaged)?;
        let too_few = || Failure::Damaged("fewer samples than its size needs".to_owned());
        let (luma, chroma) = if length == width * height {
            let luma = Plane::new(width, height, width, Bytes::from_owner(buffer)).ok_or_else(too_few)?;
            let neutral = || {
                planes::plane(width.div_ceil(2), height.div_ceil(2), vec![128; width.div_ceil(2) * height.div_ceil(2)])
            };
            (luma, (self.keep_chroma && is_gray).then(|| neutral().zip(neutral())).flatten())
        } else {
            let component = |index: usize| buffer.buffer.iter().skip(index).step_by(3).copied().collect::<Vec<u8>>();
            let luma = planes::plane(width, height, component(0)).ok_or_else(too_few)?;
            let colour = |index| planes::chroma(width, height, Sampling::Full, component(index));
            (luma, colour(1).zip(colour(2)))
        };
        let chroma = chroma.map(|(cb, cr)| [cb, cr]);
        out.push(Decoded { tag, order: 0, starts_sequence: true, luma, chroma });
        Ok(())
    }

    fn drain(&mut self, _: &mut Vec<Decoded>) {}
}

/// The backend's messages may have several lines; an error has one.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_matches(['"', ' ']).to_owned()
}
