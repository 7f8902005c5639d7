//! Small JPEG pictures of a place for the journal: what a code, a face or a plate looked like when it was read.
//!
//! A place is cut out with a margin, reduced by whole-pixel boxes while it is turned into RGB (so that memory holds one
//! strip, not the place), and compressed; if that takes more bytes than a sighting may carry, again with less quality,
//! then smaller.
//!
//! The encoder is `jpeg-encoder`: one crate without dependencies or unsafe code, where `image` brings five.
//!
//! **Never:** enlarging, decoding, whole pictures at full size.

#![forbid(unsafe_code)]

use bytes::Bytes;
use godvision_core::signal::media::{Picture, Plane};
use godvision_core::signal::seen::{CROP_BYTES_MAX, Region};
use jpeg_encoder::{ColorType, Encoder};

use crate::colour::RgbImage;

/// Longest side that can be asked for, in pixels. 1024x1024 of a noisy night picture still fits with a lower quality.
pub const CROP_SIDE_MAX: usize = 1024;

/// Shortest longer side: below it nothing can be recognised, so a crop that will not fit is given up.
const SIDE_MIN: usize = 32;

/// Tried in turn: good, fair, poor.
const QUALITIES: [u8; 3] = [85, 65, 40];

/// The part of `picture` that `region` covers, with a margin of a quarter of its size on each side, as a JPEG of at most
/// [`CROP_BYTES_MAX`]. Its longer side has at most `side_max` pixels (which is cut to 1..=[`CROP_SIDE_MAX`]; never
/// enlarged). In colour if the picture has any, else grey.
///
/// `None` if nothing of the region lies in the picture or its planes do not fit each other. Takes about 2 ms and
/// allocates; meant for sightings, not for every frame.
pub fn jpeg_crop(picture: &Picture, region: Region, side_max: usize) -> Option<Bytes> {
    let place = with_margin(region, picture.luma.width, picture.luma.height)?;
    let mut side = side_max.clamp(1, CROP_SIDE_MAX);
    loop {
        let small = Reduced::of(picture, place, side)?;
        for quality in QUALITIES {
            let jpeg = small.encode(quality)?;
            if jpeg.len() <= CROP_BYTES_MAX {
                return Some(Bytes::from(jpeg));
            }
        }
        side = small.width.max(small.height) / 2;
        if side < SIDE_MIN {
            return None;
        }
    }
}

/// Cells to a side of a [`veiled`] place: each of them covers several modules even of the smallest QR code (21).
const VEIL_CELLS: usize = 6;

/// `picture` with the brightness of `region` averaged in 6 x 6 cells, so that a code there shows
/// where it was held and can be read no more: whoever may look at the journal need not be let in by it. Copies the
/// plane.
pub fn veiled(picture: &Picture, region: Region) -> Picture {
    let luma = &picture.luma;
    let [left, top, right, bottom] = region.to_pixels(luma.width, luma.height);
    let mut data: Vec<u8> = (0..luma.height).flat_map(|y| luma.row(y)).copied().collect();
    let edge = |low: usize, high: usize, cell: usize| low + cell * high.saturating_sub(low) / VEIL_CELLS;
    for cell in 0..VEIL_CELLS * VEIL_CELLS {
        let (x, y) = (cell % VEIL_CELLS, cell / VEIL_CELLS);
        let columns = edge(left, right, x)..edge(left, right, x + 1);
        let rows = edge(top, bottom, y)..edge(top, bottom, y + 1);
        let pixels = (columns.len() * rows.len()) as u64;
        let at = |y: usize| y * luma.width + columns.start..y * luma.width + columns.end;
        let sum: u64 = rows.clone().flat_map(|y| &data[at(y)]).map(|&pixel| u64::from(pixel)).sum();
        let mean = sum.checked_div(pixels).unwrap_or(0) as u8;
        rows.for_each(|y| data[at(y)].fill(mean));
    }
    let plane = Plane { width: luma.width, height: luma.height, stride_bytes: luma.width, data: Bytes::from(data) };
    Picture { luma: plane, ..picture.clone() }
}

/// In pixels `[left, top, right, bottom]`, cut to the picture.
fn with_margin(region: Region, width: usize, height: usize) -> Option<[usize; 4]> {
    let [left, top, right, bottom] = region.to_pixels(width, height);
    let (across, down) = (right.checked_sub(left)?, bottom.checked_sub(top)?);
    if across == 0 || down == 0 {
        return None;
    }
    let (x, y) = (across / 4, down / 4);
    Some([left.saturating_sub(x), top.saturating_sub(y), (right + x).min(width), (bottom + y).min(height)])
}

struct Reduced {
    width: usize,
    height: usize,
    /// One or three bytes a pixel.
    data: Vec<u8>,
    colour: ColorType,
}

impl Reduced {
    fn of(picture: &Picture, [left, top, right, bottom]: [usize; 4], side_max: usize) -> Option<Self> {
        let (across, down) = (right.checked_sub(left)?, bottom.checked_sub(top)?);
        let longest = across.max(down);
        let fit = |length: usize| if longest > side_max { (length * side_max / longest).max(1) } else { length };
        let (width, height) = (fit(across), fit(down));
        let (colour, channels) = if picture.chroma.is_some() { (ColorType::Rgb, 3) } else { (ColorType::Luma, 1) };
        let mut data = Vec::with_capacity(width * height * channels);
        let mut strip = RgbImage::default();
        for y in 0..height {
            let rows = [top + y * down / height, top + (y + 1) * down / height];
            strip.take(picture, [left, rows[0], right, rows[1]]).ok()?;
            let row_bytes = strip.width() * 3;
            for x in 0..width {
                let columns = x * across / width..(x + 1) * across / width;
                let pixels = (columns.len() * strip.height()) as u32;
                for channel in 0..channels {
                    let rows = strip.bytes().chunks_exact(row_bytes);
                    let row_sum = |row: &[u8]| columns.clone().map(|x| u32::from(row[x * 3 + channel])).sum::<u32>();
                    let sum: u32 = rows.map(row_sum).sum();
                    data.push(((sum + pixels / 2) / pixels) as u8);
                }
            }
        }
        Some(Self { width, height, data, colour })
    }

    fn encode(&self, quality: u8) -> Option<Vec<u8>> {
        let mut jpeg = Vec::new();
        let (width, height) = (u16::try_from(self.width).ok()?, u16::try_from(self.height).ok()?);
        Encoder::new(&mut jpeg, quality).encode(&self.data, width, height, self.colour).ok()?;
        Some(jpeg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::Name;
    use godvision_core::time::Stamp;

    fn plane(width: usize, height: usize, pixel: impl Fn(usize, usize) -> u8) -> Plane {
        let data: Vec<u8> = (0..width * height).map(|i| pixel(i % width, i / width)).collect();
        Plane::new(width, height, width, Bytes::from(data)).unwrap()
    }

    fn picture(luma: Plane, chroma: Option<[u8; 2]>) -> Picture {
        let half = |value| plane(luma.width.div_ceil(2), luma.height.div_ceil(2), |_, _| value);
        Picture {
            source: Name::new("yard").unwrap(),
            sequence: 0,
            session: 0,
            at: Stamp::default(),
            chroma: chroma.map(|[cb, cr]| [half(cb), half(cr)]),
            luma,
        }
    }

    const MIDDLE: Region = Region { left: 400, top: 400, right: 600, bottom: 600 };

    #[test]
    fn it_shows_the_place_with_a_margin_and_no_larger_than_asked() {
        // Dark left of column 320, bright right of it.
        let luma = plane(640, 360, |x, _| if x < 320 { 40 } else { 220 });
        let jpeg = jpeg_crop(&picture(luma.clone(), None), MIDDLE, 500).unwrap();
        let grey = image::load_from_memory(&jpeg).unwrap();
        assert_eq!(grey.color(), image::ColorType::L8);
        // 128 x 72 pixels and a quarter of that on each side.
        assert_eq!((grey.width(), grey.height()), (192, 108));
        let grey = grey.to_luma8();
        assert!(grey.get_pixel(4, 50)[0] < 60 && grey.get_pixel(188, 50)[0] > 200);
        let small = image::load_from_memory(&jpeg_crop(&picture(luma, None), MIDDLE, 96).unwrap()).unwrap();
        assert_eq!((small.width(), small.height()), (96, 54));
        assert!(small.to_luma8().get_pixel(4, 20)[0] < 60 && small.to_luma8().get_pixel(90, 20)[0] > 200);
    }

    #[test]
    fn colour_stays() {
        // BT.601's red bar.
        let jpeg = jpeg_crop(&picture(plane(64, 48, |_, _| 81), Some([90, 240])), Region::WHOLE, 64).unwrap();
        let [red, green, blue] = image::load_from_memory(&jpeg).unwrap().to_rgb8().get_pixel(30, 20).0;
        assert!(red > 240 && green < 20 && blue < 20, "{red} {green} {blue}");
    }

    #[test]
    fn noise_that_does_not_compress_still_fits() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(1600 * 1200)
        .collect();
        let luma = Plane::new(1600, 1200, 1600, Bytes::from(noise)).unwrap();
        let jpeg = jpeg_crop(&picture(luma, None), Region::WHOLE, usize::MAX).unwrap();
        assert!(jpeg.len() <= CROP_BYTES_MAX, "{}", jpeg.len());
        let image = image::load_from_memory(&jpeg).unwrap();
        assert!(image.width() <= CROP_SIDE_MAX as u32 && image.width() >= SIDE_MIN as u32);
    }

    #[test]
    fn a_veiled_place_shows_its_brightness_only() {
        let stripes = plane(64, 48, |x, _| if x % 2 == 0 { 0 } else { 200 });
        let shown = veiled(&picture(stripes, Some([90, 240])), MIDDLE);
        let [left, top, right, bottom] = MIDDLE.to_pixels(64, 48);
        for y in 0..48 {
            for x in 0..64 {
                let inside = (left..right).contains(&x) && (top..bottom).contains(&y);
                let pixel = shown.luma.row(y)[x];
                assert_eq!(pixel == 0 || pixel == 200, !inside, "{x},{y}: {pixel}");
            }
        }
        assert!(shown.chroma.is_some());
        for region in [Region::default(), Region { left: 600, right: 400, ..MIDDLE }, Region::WHOLE] {
            veiled(&picture(plane(1, 1, |_, _| 9), None), region);
        }
    }

    #[test]
    fn places_that_are_none_give_nothing() {
        let shown = picture(plane(64, 48, |_, _| 81), Some([90, 240]));
        let inside_out = Region { left: 600, right: 400, ..MIDDLE };
        assert!(jpeg_crop(&shown, inside_out, 100).is_none());
        assert!(jpeg_crop(&shown, Region::default(), 100).is_none());
        assert!(jpeg_crop(&shown, Region::WHOLE, 0).is_some(), "a side of nothing is a side of one pixel");
        let mut odd = shown;
        odd.luma = plane(640, 480, |_, _| 81);
        assert!(jpeg_crop(&odd, Region::WHOLE, 100).is_none(), "colour for another picture");
        let dot = picture(plane(1, 1, |_, _| 9), None);
        assert!(jpeg_crop(&dot, Region::WHOLE, 100).is_some());
    }
}
