//! A picture at full size and halved again and again, without padding, and bright or dark between its pixels.
//!
//! A finder pattern is looked for where its modules have two to five pixels, and a code is sampled there too: larger
//! modules are averaged, which is what a sampler wants, and most of a large picture need not be looked at in full.
//!
//! **Never:** enlarging.

#![forbid(unsafe_code)]

use crate::plane::LumaView;

/// Most halvings: a module of 64 pixels still becomes one of four.
pub(super) const LEVELS_MAX: usize = 5;

/// Shortest side that is worth being halved: the smallest code has 21 modules, and each needs more than a pixel.
const HALVED_SIDE_MIN: usize = 96;

/// One size of the picture, row-major without padding.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<u8>,
}

impl Level {
    pub(super) fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.width..][..self.width]
    }

    /// Brightness at a point, the centre of the first pixel being `(0.5, 0.5)`; points outside take the nearest pixel.
    #[inline]
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let (x, y) = ((x - 0.5).clamp(0.0, (self.width - 1) as f32), (y - 0.5).clamp(0.0, (self.height - 1) as f32));
        let (left, top) = (x as usize, y as usize);
        let (right, below) = ((left + 1).min(self.width - 1), (top + 1).min(self.height - 1));
        let (fx, fy) = (x - left as f32, y - top as f32);
        let pixel = |x: usize, y: usize| f32::from(self.pixels[y * self.width + x]);
        let upper = pixel(left, top) + (pixel(right, top) - pixel(left, top)) * fx;
        let lower = pixel(left, below) + (pixel(right, below) - pixel(left, below)) * fx;
        upper + (lower - upper) * fy
    }

    pub(super) fn holds(&self, x: f32, y: f32) -> bool {
        x >= 0.0 && y >= 0.0 && x < self.width as f32 && y < self.height as f32
    }

    fn copy(&mut self, from: LumaView<'_>) {
        (self.width, self.height) = (from.width(), from.height());
        self.pixels.clear();
        (0..from.height()).for_each(|y| self.pixels.extend_from_slice(from.row(y)));
    }

    /// Becomes `from` with modules of about two pixels made three times as distinct: each pixel's difference to those two
    /// away in the four directions is added to it, half of it each time. The border stays as it is.
    pub(super) fn sharpen(&mut self, from: &Self) {
        (self.width, self.height) = (from.width, from.height);
        self.pixels.clear();
        self.pixels.extend_from_slice(&from.pixels);
        if from.width < 5 || from.height < 5 {
            return;
        }
        for y in 2..from.height - 2 {
            let (above, here, below) = (from.row(y - 2), from.row(y), from.row(y + 2));
            let out = &mut self.pixels[y * from.width..][2..from.width - 2];
            let sides = here.iter().zip(&here[4..]);
            let ends = above[2..].iter().zip(&below[2..]);
            for (((out, &pixel), (&left, &right)), (&up, &down)) in out.iter_mut().zip(&here[2..]).zip(sides).zip(ends)
            {
                let around = i16::from(left) + i16::from(right) + i16::from(up) + i16::from(down);
                *out = (3 * i16::from(pixel) - around / 2).clamp(0, 255) as u8;
            }
        }
    }

    /// Becomes `from` at half its size: rounded means of 2x2; an odd last row or column is left out.
    fn halve(&mut self, from: &Self) {
        (self.width, self.height) = (from.width / 2, from.height / 2);
        self.pixels.resize(self.width * self.height, 0);
        for (y, out) in self.pixels.chunks_exact_mut(self.width).enumerate() {
            let (upper, lower) = (from.row(2 * y), from.row(2 * y + 1));
            for ((out, a), b) in out.iter_mut().zip(upper.chunks_exact(2)).zip(lower.chunks_exact(2)) {
                let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
                *out = ((sum + 2) / 4) as u8;
            }
        }
    }
}

/// The picture at all its sizes, the full one first. Keeps its memory from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Levels {
    levels: Vec<Level>,
    count: usize,
}

impl Levels {
    pub(super) fn take(&mut self, luma: LumaView<'_>) {
        self.levels.resize_with(LEVELS_MAX, Level::default);
        self.levels[0].copy(luma);
        self.count = 1;
        while self.count < LEVELS_MAX {
            let (larger, rest) = self.levels.split_at_mut(self.count);
            let from = &larger[self.count - 1];
            if from.width.min(from.height) < 2 * HALVED_SIDE_MIN {
                break;
            }
            rest[0].halve(from);
            self.count += 1;
        }
    }

    pub(super) fn all(&self) -> &[Level] {
        &self.levels[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_means_and_points_lie_between_pixels() {
        let pixels: Vec<u8> = (0..200 * 300).map(|i| (i % 200) as u8).collect();
        let mut levels = Levels::default();
        levels.take(LumaView::new(&pixels, 200, 300, 200).unwrap());
        let [full, half] = levels.all() else { panic!("{} levels", levels.all().len()) };
        assert_eq!((half.width, half.height), (100, 150));
        assert_eq!(half.row(7)[..3], [1, 3, 5], "means of 0 and 1, 2 and 3, 4 and 5, rounded up");
        assert_eq!(full.at(10.5, 20.5), 10.0);
        assert_eq!(full.at(11.0, 20.5), 10.5);
        assert_eq!(full.at(-9.0, 1e9), 0.0);
        assert!(full.at(f32::NAN, 0.0).is_nan() && !full.holds(f32::NAN, 0.0));
    }

    #[test]
    fn the_smallest_picture_has_one_level() {
        let mut levels = Levels::default();
        levels.take(LumaView::new(&[7], 1, 1, 1).unwrap());
        assert_eq!(levels.all().len(), 1);
        assert_eq!(levels.all()[0].at(0.3, 8.0), 7.0);
    }
}
