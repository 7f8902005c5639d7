//! Borrowed 8-bit planes, and the reduction to the size at which motion is looked for.
//!
//! Motion is found on a picture of at most [`WORKING_PIXELS`] (480x270 for 1080p): a person at the far end of a yard
//! still covers a hundred pixels there, sensor noise is averaged away, and one pass over the full plane, which the
//! memory bounds, is all that the large picture costs.
//!
//! **Never:** colour, copies of the full picture, scaling by anything but a whole number.

#![forbid(unsafe_code)]

use crate::error::Error;
use crate::kernel::{self, Level};

/// Most pixels of the working picture: 480x270 and a sixth more, so that 4K wide (4096x2160 by 8: 512x270) and
/// 5-megapixel 4:3 cameras (2592x1944 by 6: 432x324) do not fall to a coarser step.
pub const WORKING_PIXELS: usize = 150_000;

/// Largest reduction. 16 rows of 255 fit the 16-bit column sums with room to spare.
pub const FACTOR_MAX: usize = 16;

/// Shortest side of a picture: below it there is no room for a 5x5 window and a region.
pub const SIDE_MIN: usize = 16;

/// Longest side of a picture: a 16-megapixel square reduced by [`FACTOR_MAX`] would still be watched in detail.
pub const SIDE_MAX: usize = 8192;

/// A borrowed plane of brightness, row-major: 0 is black, 255 white. Copying it copies the reference.
#[derive(Clone, Copy)]
pub struct LumaView<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
    stride: usize,
}

impl<'a> LumaView<'a> {
    /// Checks the sizes once, so that nothing has to later. `stride` is the distance of rows in bytes.
    ///
    /// # Errors
    /// [`Error::BadPlane`] if `data` is too short, `stride < width`, or a side is 0.
    pub fn new(data: &'a [u8], width: usize, height: usize, stride: usize) -> Result<Self, Error> {
        let needed = height
            .checked_sub(1)
            .and_then(|rows| rows.checked_mul(stride))
            .and_then(|bytes| bytes.checked_add(width))
            .filter(|_| width > 0 && stride >= width);
        match needed {
            Some(needed) if needed <= data.len() => Ok(Self { data, width, height, stride }),
            _ => Err(Error::BadPlane { width, height, stride, bytes: data.len() }),
        }
    }

    /// The luma plane of a decoded picture.
    ///
    /// # Errors
    /// As [`LumaView::new`]; a [`Plane`](godvision_core::signal::media::Plane) made by its own constructor never fails.
    pub fn of(plane: &'a godvision_core::signal::media::Plane) -> Result<Self, Error> {
        Self::new(&plane.data, plane.width, plane.height, plane.stride_bytes)
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels of row `y`, counted from the top.
    ///
    /// # Panics
    /// If `y >= height`.
    pub fn row(&self, y: usize) -> &'a [u8] {
        assert!(y < self.height, "row {y} of a plane of {}", self.height);
        &self.data[y * self.stride..][..self.width]
    }

    /// The part `[left, top, right, bottom]` in pixels, cut to the plane; `None` if nothing is left of it.
    pub fn crop(&self, [left, top, right, bottom]: [usize; 4]) -> Option<Self> {
        let (right, bottom) = (right.min(self.width), bottom.min(self.height));
        if left >= right || top >= bottom {
            return None;
        }
        let data = self.data.get(top * self.stride + left..)?;
        Self::new(data, right - left, bottom - top, self.stride).ok()
    }
}

impl std::fmt::Debug for LumaView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "luma {}x{} (stride {})", self.width, self.height, self.stride)
    }
}

/// The smallest whole number by which a picture of this size must be reduced to have at most [`WORKING_PIXELS`]:
/// 4 for 1080p, 8 for 4K, 3 for 720p, 2 for 640x360, 1 for 352x288.
///
/// # Errors
/// [`Error::UnsupportedSize`] outside [`SIDE_MIN`]..=[`SIDE_MAX`], or if [`FACTOR_MAX`] does not suffice.
pub fn working_factor(width: usize, height: usize) -> Result<usize, Error> {
    let sides = SIDE_MIN..=SIDE_MAX;
    let factor = (1..=FACTOR_MAX).find(|factor| (width / factor) * (height / factor) <= WORKING_PIXELS);
    match factor {
        Some(factor)
            if sides.contains(&width)
                && sides.contains(&height)
                && width / factor >= SIDE_MIN
                && height / factor >= SIDE_MIN =>
        {
            Ok(factor)
        }
        _ => Err(Error::UnsupportedSize { width, height }),
    }
}

/// Reduces planes of one size by a whole number: each pixel becomes the rounded mean of a square box, of whose rows all are
/// read up to three, and the middle half of more ([`BoxDownscale::rows`]). Rows and columns that do not fill a box are left out. Owns its scratch row, so that reducing allocates nothing.
#[derive(Debug)]
pub struct BoxDownscale {
    factor: usize,
    width: usize,
    height: usize,
    sums: Vec<u16>,
    level: Level,
}

impl BoxDownscale {
    /// For planes of `width` x `height`, reduced by [`working_factor`].
    ///
    /// # Errors
    /// [`Error::UnsupportedSize`].
    pub fn new(width: usize, height: usize) -> Result<Self, Error> {
        let factor = working_factor(width, height)?;
        Ok(Self { factor, width, height, sums: vec![0; width], level: Level::detect() })
    }

    /// The number it divides by.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// The rows of each box that are read, counted from its top: what is left out need not come from memory, and sixteen
    /// pixels tell little more than the eight in their middle.
    pub fn rows(&self) -> std::ops::Range<usize> {
        kernel::rows_read(self.factor)
    }

    /// Pixels in a row of the planes it takes.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of the planes it takes.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels in a row of the result.
    pub fn out_width(&self) -> usize {
        self.width / self.factor
    }

    /// Rows of the result.
    pub fn out_height(&self) -> usize {
        self.height / self.factor
    }

    /// Reduces `from` into `out`, row-major without padding. Reads its [`rows`](Self::rows) once; allocates nothing.
    ///
    /// # Errors
    /// [`Error::SizeChanged`] if `from` has another size than this was made for.
    ///
    /// # Panics
    /// If `out` is not `out_width * out_height` long.
    pub fn reduce(&mut self, from: LumaView<'_>, out: &mut [u8]) -> Result<(), Error> {
        if (from.width, from.height) != (self.width, self.height) {
            return Err(Error::SizeChanged {
                width: self.width,
                height: self.height,
                got_width: from.width,
                got_height: from.height,
            });
        }
        let (width, height) = (self.out_width(), self.out_height());
        assert_eq!(out.len(), width * height, "the result has {width}x{height} pixels");
        match self.factor {
            1 => {
                for (y, out) in out.chunks_exact_mut(width).enumerate() {
                    out.copy_from_slice(from.row(y));
                }
            }
            4 => kernel::box4(self.level, from.data, from.stride, out, width),
            factor => kernel::box_any(self.level, from.data, from.stride, factor, out, width, &mut self.sums),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_that_cannot_be_read_are_refused() {
        let data = [0; 100];
        assert!(LumaView::new(&data, 10, 10, 10).is_ok());
        assert!(LumaView::new(&data[..94], 4, 10, 10).is_ok(), "the last row needs no padding");
        for (width, height, stride) in [(10, 11, 10), (10, 2, 9), (0, 2, 9), (1, 0, 9), (1, usize::MAX, usize::MAX)] {
            assert!(LumaView::new(&data, width, height, stride).is_err(), "{width}x{height} {stride}");
        }
    }

    #[test]
    fn common_cameras_are_reduced_to_about_480x270() {
        let factors = [
            ((1920, 1080), 4),
            ((3840, 2160), 8),
            ((1280, 720), 3),
            ((640, 360), 2),
            ((704, 576), 2),
            ((352, 288), 1),
            ((2592, 1944), 6),
        ];
        for ((width, height), factor) in factors {
            assert_eq!(working_factor(width, height), Ok(factor), "{width}x{height}");
        }
    }

    #[test]
    fn sizes_beyond_the_limits_are_refused() {
        for (width, height) in [(15, 100), (100, 15), (8193, 100), (100, 8193), (8192, 8192)] {
            assert_eq!(working_factor(width, height), Err(Error::UnsupportedSize { width, height }));
        }
        assert!(working_factor(16, 16).is_ok());
        assert!(working_factor(7680, 4320).is_ok());
    }

    #[test]
    fn a_crop_stays_inside() {
        let data: Vec<u8> = (0..100).collect();
        let view = LumaView::new(&data, 8, 10, 10).unwrap();
        let crop = view.crop([2, 3, 50, 50]).unwrap();
        assert_eq!((crop.width(), crop.height()), (6, 7));
        assert_eq!(crop.row(0), [32, 33, 34, 35, 36, 37]);
        assert!(view.crop([8, 0, 9, 9]).is_none());
        assert!(view.crop([3, 3, 3, 9]).is_none());
    }
}
