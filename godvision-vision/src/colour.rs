//! Colour pictures as the face and plate readers take them: interleaved RGB, 8 bits a channel.
//!
//! The hot path never comes here: motion and codes look at brightness alone. A detector of faces needs colour, a small
//! part of the picture or a reduced one, now and then.
//!
//! Sources: ITU-R BT.601-7 and BT.709-6, limited range (16..=235), in 16-bit fixed point.
//!
//! **Never:** a copy of a full picture where a part will do; gamma, profiles, more than 8 bits.

#![forbid(unsafe_code)]

use godvision_core::signal::media::{Picture, Plane};

use crate::error::Error;
use crate::plane::SIDE_MAX;

/// Rows from which a picture is taken to be in BT.709's colours, as encoders do that say nothing: 720.
const HIGH_DEFINITION_ROWS: usize = 720;

/// A borrowed picture, row-major, three bytes a pixel: red, green, blue. Copying it copies the reference.
#[derive(Clone, Copy)]
pub struct RgbView<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
    stride: usize,
}

impl<'a> RgbView<'a> {
    /// Checks the sizes once, so that nothing has to later. `stride` is the distance of rows in bytes.
    ///
    /// # Errors
    /// [`Error::BadPlane`] if `data` is too short, `stride < 3 * width`, a side is 0 or longer than [`SIDE_MAX`].
    pub fn new(data: &'a [u8], width: usize, height: usize, stride: usize) -> Result<Self, Error> {
        let row = width.saturating_mul(3);
        let is_sane = (1..=SIDE_MAX).contains(&width) && (1..=SIDE_MAX).contains(&height) && stride >= row;
        let needed = (height.saturating_sub(1)).checked_mul(stride).and_then(|bytes| bytes.checked_add(row));
        match needed.filter(|_| is_sane) {
            Some(needed) if needed <= data.len() => Ok(Self { data, width, height, stride }),
            _ => Err(Error::BadPlane { width, height, stride, bytes: data.len() }),
        }
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The `3 * width` bytes of row `y`, counted from the top.
    ///
    /// # Panics
    /// If `y >= height`.
    pub fn row(&self, y: usize) -> &'a [u8] {
        assert!(y < self.height, "row {y} of a picture of {}", self.height);
        &self.data[y * self.stride..][..self.width * 3]
    }

    /// The part `[left, top, right, bottom]` in pixels, cut to the picture; `None` if nothing is left of it.
    pub fn crop(&self, [left, top, right, bottom]: [usize; 4]) -> Option<Self> {
        let (right, bottom) = (right.min(self.width), bottom.min(self.height));
        if left >= right || top >= bottom {
            return None;
        }
        let data = self.data.get(top * self.stride + left * 3..)?;
        Self::new(data, right - left, bottom - top, self.stride).ok()
    }
}

impl std::fmt::Debug for RgbView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rgb {}x{} (stride {})", self.width, self.height, self.stride)
    }
}

/// An owned picture without padding. Its memory is used again by [`RgbImage::take`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RgbImage {
    data: Vec<u8>,
    width: usize,
    height: usize,
}

impl RgbImage {
    /// Takes `3 * width * height` bytes.
    ///
    /// # Errors
    /// [`Error::BadPlane`] if there are fewer or more, a side is 0 or longer than [`SIDE_MAX`].
    pub fn new(data: Vec<u8>, width: usize, height: usize) -> Result<Self, Error> {
        RgbView::new(&data, width, height, width.saturating_mul(3))?;
        if data.len() != width * height * 3 {
            return Err(Error::BadPlane { width, height, stride: width * 3, bytes: data.len() });
        }
        Ok(Self { data, width, height })
    }

    /// A black picture.
    ///
    /// # Errors
    /// [`Error::BadPlane`] if a side is 0 or longer than [`SIDE_MAX`].
    pub fn black(width: usize, height: usize) -> Result<Self, Error> {
        let bytes = if width.max(height) > SIDE_MAX { 0 } else { width * height * 3 };
        Self::new(vec![0; bytes], width, height)
    }

    /// Makes this the part `[left, top, right, bottom]` of `picture`, cut to it; grey where it carries no colour.
    ///
    /// # Errors
    /// [`Error::BadPlane`] if nothing of the part lies in the picture, or its planes do not fit each other.
    pub fn take(&mut self, picture: &Picture, [left, top, right, bottom]: [usize; 4]) -> Result<(), Error> {
        let luma = &picture.luma;
        let (right, bottom) = (right.min(luma.width), bottom.min(luma.height));
        let (width, height) = (right.saturating_sub(left), bottom.saturating_sub(top));
        let bad = Error::BadPlane { width, height, stride: luma.stride_bytes, bytes: luma.data.len() };
        if width == 0 || height == 0 || width.max(height) > SIDE_MAX {
            return Err(bad);
        }
        let half = |plane: &Plane| plane.width >= luma.width.div_ceil(2) && plane.height >= luma.height.div_ceil(2);
        if picture.chroma.as_ref().is_some_and(|planes| !planes.iter().all(half)) {
            return Err(bad);
        }
        let matrix = if luma.height >= HIGH_DEFINITION_ROWS { &BT_709 } else { &BT_601 };
        self.data.clear();
        self.data.reserve(width * height * 3);
        for y in top..bottom {
            let row = &luma.row(y)[left..right];
            match &picture.chroma {
                None => self.data.extend(row.iter().flat_map(|&luma| [matrix.stretch(luma); 3])),
                Some([cb, cr]) => {
                    let (cb, cr) = (cb.row(y / 2), cr.row(y / 2));
                    let pixels = row.iter().zip(left..).map(|(&luma, x)| matrix.rgb(luma, cb[x / 2], cr[x / 2]));
                    self.data.extend(pixels.flatten());
                }
            }
        }
        (self.width, self.height) = (width, height);
        Ok(())
    }

    /// The picture, borrowed.
    ///
    /// # Panics
    /// If it is [`RgbImage::default`], which has no pixels.
    pub fn view(&self) -> RgbView<'_> {
        assert!(self.width > 0, "an empty picture has no view");
        RgbView { data: &self.data, width: self.width, height: self.height, stride: self.width * 3 }
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All bytes, row after row.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// All bytes, row after row, to be drawn into.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }
}

impl std::fmt::Debug for RgbImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rgb {}x{}", self.width, self.height)
    }
}

/// A colour matrix in parts of 65,536.
struct Matrix {
    red_cr: i32,
    green_cb: i32,
    green_cr: i32,
    blue_cb: i32,
}

/// 255 / 219: limited range stretched to full.
const STRETCH: i32 = 76_309;
const BT_601: Matrix = Matrix { red_cr: 104_597, green_cb: -25_675, green_cr: -53_279, blue_cb: 132_201 };
const BT_709: Matrix = Matrix { red_cr: 117_489, green_cb: -13_975, green_cr: -34_925, blue_cb: 138_438 };

impl Matrix {
    fn stretch(&self, luma: u8) -> u8 {
        byte((i32::from(luma) - 16) * STRETCH)
    }

    fn rgb(&self, luma: u8, cb: u8, cr: u8) -> [u8; 3] {
        let (luma, cb, cr) = ((i32::from(luma) - 16) * STRETCH, i32::from(cb) - 128, i32::from(cr) - 128);
        [
            byte(luma + self.red_cr * cr),
            byte(luma + self.green_cb * cb + self.green_cr * cr),
            byte(luma + self.blue_cb * cb),
        ]
    }
}

fn byte(value: i32) -> u8 {
    ((value + 32_768) >> 16).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use godvision_core::Name;
    use godvision_core::time::Stamp;

    fn picture(luma: u8, chroma: Option<[u8; 2]>, width: usize, height: usize) -> Picture {
        let plane = |value, width: usize, height: usize| {
            Plane::new(width, height, width, Bytes::from(vec![value; width * height])).unwrap()
        };
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        Picture {
            source: Name::new("yard").unwrap(),
            sequence: 0,
            session: 0,
            at: Stamp::default(),
            luma: plane(luma, width, height),
            chroma: chroma.map(|[cb, cr]| [plane(cb, half_width, half_height), plane(cr, half_width, half_height)]),
        }
    }

    #[test]
    fn the_bars_of_a_test_picture_have_their_colours() {
        // 100 % bars in BT.601, from the standard's own table.
        for (ycbcr, rgb) in [
            ([235, 128, 128], [255, 255, 255]),
            ([16, 128, 128], [0, 0, 0]),
            ([81, 90, 240], [255, 0, 0]),
            ([145, 54, 34], [0, 255, 0]),
            ([41, 240, 110], [0, 0, 255]),
        ] {
            let mut image = RgbImage::default();
            image.take(&picture(ycbcr[0], Some([ycbcr[1], ycbcr[2]]), 5, 3), [0, 0, 5, 3]).unwrap();
            assert_eq!((image.width(), image.height()), (5, 3));
            for (got, want) in image.bytes().iter().zip(rgb.iter().cycle()) {
                assert!(got.abs_diff(*want) <= 2, "{ycbcr:?} gives {:?}", &image.bytes()[..3]);
            }
        }
    }

    #[test]
    fn without_colour_it_is_grey() {
        let mut image = RgbImage::default();
        image.take(&picture(126, None, 8, 8), [2, 2, 100, 4]).unwrap();
        assert_eq!((image.width(), image.height()), (6, 2));
        assert!(image.bytes().iter().all(|&byte| byte == 128));
    }

    #[test]
    fn parts_outside_and_planes_that_do_not_fit_are_refused() {
        let mut image = RgbImage::default();
        assert!(image.take(&picture(0, None, 8, 8), [8, 0, 9, 1]).is_err());
        let mut odd = picture(0, Some([128, 128]), 8, 8);
        odd.luma = picture(0, None, 32, 32).luma;
        assert!(image.take(&odd, [0, 0, 32, 32]).is_err());
        assert!(RgbView::new(&[0; 11], 2, 2, 6).is_err());
        assert!(RgbView::new(&[], 0, 0, 0).is_err());
        assert!(RgbView::new(&[0; 12], usize::MAX / 2, 2, usize::MAX).is_err());
        assert!(RgbImage::new(vec![0; 13], 2, 2).is_err());
        assert!(RgbImage::black(SIDE_MAX + 1, 1).is_err());
    }
}
