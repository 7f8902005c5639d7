//! Masks: a bit a pixel of the working picture, and the forms in which others take them.
//!
//! **Never:** what a mask means.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use crate::kernel::PADDING_MIN;

/// How the planes of the working picture lie in memory: rows are padded to whole words of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Pixels from row to row, a multiple of 64.
    pub(super) stride: usize,
}

impl Layout {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, stride: (width + PADDING_MIN).next_multiple_of(64) }
    }

    /// Words of flags in a row.
    pub(super) fn words(self) -> usize {
        self.stride / 64
    }

    /// A plane of one value a pixel.
    pub(super) fn plane<T: Clone + Default>(self) -> Vec<T> {
        vec![T::default(); self.stride * self.height]
    }

    /// A plane of flags.
    pub(super) fn flags(self) -> Vec<u64> {
        vec![0; self.words() * self.height]
    }

    /// Pixels of the picture.
    pub(super) fn pixels(self) -> usize {
        self.width * self.height
    }
}

/// 1 if the flag of pixel `i` is set, else 0.
pub(super) fn flag(flags: &[u64], i: usize) -> u32 {
    (flags[i / 64] >> (i % 64)) as u32 & 1
}

/// Calls `with` for every word that holds flags of the pixels `from..to`, with its index and a word in which just theirs are
/// set.
#[inline]
pub(super) fn for_span(from: usize, to: usize, mut with: impl FnMut(usize, u64)) {
    if from >= to {
        return;
    }
    let (first, last) = (from / 64, (to - 1) / 64);
    for word in first..=last {
        let low = if word == first { u64::MAX << (from % 64) } else { u64::MAX };
        let high = if word == last { u64::MAX >> (63 - (to - 1) % 64) } else { u64::MAX };
        with(word, low & high);
    }
}

/// A mask at the working size, a flag a pixel. Borrows the detector; nothing is copied until it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct MaskView<'a> {
    pub(super) flags: &'a [u64],
    pub(super) layout: Layout,
}

impl MaskView<'_> {
    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.layout.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.layout.height
    }

    /// Whether the pixel is set; `false` outside.
    pub fn get(&self, x: usize, y: usize) -> bool {
        x < self.layout.width && y < self.layout.height && flag(self.flags, y * self.layout.stride + x) == 1
    }

    /// Set pixels.
    pub fn count(&self) -> usize {
        self.flags.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Row-major without padding, a byte a pixel, 0 or 1. Allocates them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Layout { width, height, stride } = self.layout;
        let row = |y| (0..width).map(move |x| flag(self.flags, y * stride + x) as u8);
        (0..height).flat_map(row).collect()
    }

    /// Lengths of the runs of unset and set pixels in turn, row-major and without regard to the ends of rows; the first,
    /// which may be 0, is of unset ones. They sum to `width * height`.
    ///
    /// This is the form in which a mask travels to those who draw it: a quiet picture is one number, four walkers some
    /// hundred. Cost: a few operations a run and a row.
    pub fn runs(&self) -> impl Iterator<Item = u32> {
        let Layout { width, height, stride } = self.layout;
        let (mut at, mut is_set, mut is_over) = (0, false, false);
        std::iter::from_fn(move || {
            let from = at;
            while at < width * height {
                let (y, x) = (at / width, at % width);
                // To the end of the row, or of what is alike in this word.
                let i = y * stride + x;
                let word = self.flags[i / 64] ^ if is_set { u64::MAX } else { 0 };
                let alike = ((word >> (i % 64)).trailing_zeros() as usize).min(64 - i % 64).min(width - x);
                at += alike;
                if alike == 0 {
                    break;
                }
            }
            is_set = !is_set;
            let is_first_after_end = at == from && at == width * height;
            is_over |= is_first_after_end;
            (!is_over).then_some((at - from) as u32)
        })
    }

    /// The [`runs`](Self::runs) as text: decimal numbers with commas between, so that a JSON array is made by brackets around
    /// it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for run in self.runs() {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(text, "{comma}{run}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_form_shows_the_same_pixels(width in 1usize..200, height in 1usize..20, density in 0u64..=100, seed: u64) {
            let layout = Layout::new(width, height);
            let mut state = seed | 1;
            let mut wanted = vec![0; width * height];
            let mut flags = layout.flags();
            for y in 0..height {
                for x in 0..width {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    if (state >> 20) % 100 < density {
                        wanted[y * width + x] = 1;
                        let i = y * layout.stride + x;
                        flags[i / 64] |= 1 << (i % 64);
                    }
                }
            }
            let view = MaskView { flags: &flags, layout };
            prop_assert_eq!(&view.to_bytes(), &wanted);
            prop_assert_eq!(view.count(), wanted.iter().map(|flag| usize::from(*flag)).sum::<usize>());
            let mut drawn = Vec::new();
            for (i, run) in view.runs().enumerate() {
                prop_assert!(i == 0 || run > 0);
                drawn.extend(std::iter::repeat_n((i % 2) as u8, run as usize));
            }
            prop_assert_eq!(&drawn, &wanted);
            let (from, to) = (seed as usize % width, width);
            let in_span: u32 = wanted[from..to].iter().map(|flag| u32::from(*flag)).sum();
            let mut found = 0;
            for_span(from, to, |word, span| found += (flags[word] & span).count_ones());
            prop_assert_eq!(found, in_span);
            prop_assert!(!view.get(width, 0) && !view.get(0, height));
        }
    }

    #[test]
    fn text_is_the_runs() {
        let layout = Layout::new(100, 2);
        let mut flags = layout.flags();
        flags[0] = 0b110;
        flags[2] = 1;
        assert_eq!(MaskView { flags: &flags, layout }.to_text(), "1,2,97,1,99");
        assert_eq!(MaskView { flags: &layout.flags(), layout }.to_text(), "200");
    }
}
