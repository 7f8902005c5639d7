//! Connected parts of a mask: runs of set pixels, joined over rows (8-neighbourhood) by union-find.
//!
//! Cost: one pass over the mask's words, in which runs begin and end where a flag differs from the one before, and a few
//! operations a run.
//! Allocates only when made.

#![forbid(unsafe_code)]

/// Most runs of set pixels in one mask. A cleaned mask of 150,000 pixels has a few hundred; a checkerboard of 5x5
/// squares would have 15,000. What lies below the row in which the limit is reached is left out.
pub(crate) const RUNS_MAX: usize = 16_384;

/// Set pixels `left..right` of row `y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) y: u16,
    pub(crate) left: u16,
    pub(crate) right: u16,
    /// Index of its blob, once [`Blobs::find`] has finished.
    pub(crate) blob: u16,
}

/// A connected part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// Left, top, right and bottom; right and bottom exclusive.
    pub(crate) bounds: [u16; 4],
    /// Set pixels.
    pub(crate) area: u32,
}

/// The connected parts of one mask, and room to find them again and again.
#[derive(Debug)]
pub(crate) struct Blobs {
    runs: Vec<Run>,
    parents: Vec<u16>,
    blobs: Vec<Blob>,
}

impl Blobs {
    pub(crate) fn new() -> Self {
        let room = || Vec::with_capacity(RUNS_MAX);
        Self { runs: Vec::with_capacity(RUNS_MAX), parents: room(), blobs: Vec::with_capacity(RUNS_MAX) }
    }

    /// Without room: stands in while the real one is lent out. Allocates nothing.
    pub(crate) fn empty() -> Self {
        Self { runs: Vec::new(), parents: Vec::new(), blobs: Vec::new() }
    }

    /// Runs, top to bottom and left to right.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Parts, in the order of their topmost runs.
    pub(crate) fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.parents.clear();
        self.blobs.clear();
    }

    /// Finds the parts of `mask`, rows of `words` words whose last flag is never set. Returns whether all of it was looked at
    /// ([`RUNS_MAX`]).
    pub(crate) fn find(&mut self, mask: &[u64], words: usize) -> bool {
        self.clear();
        let mut above = 0..0;
        let mut complete = true;
        for (y, row) in mask.chunks_exact(words).enumerate() {
            let first = self.runs.len();
            if row.iter().fold(0, |any, word| any | word) == 0 {
                above = first..first;
                continue;
            }
            // A flag that differs from the one before it begins or ends a run.
            let (mut carry, mut left) = (0, None);
            for (word, &flags) in row.iter().enumerate() {
                let mut ends = flags ^ (flags << 1 | carry);
                carry = flags >> 63;
                while ends != 0 {
                    let x = (word * 64) as u16 + ends.trailing_zeros() as u16;
                    ends &= ends - 1;
                    let Some(left) = left.take() else {
                        left = Some(x);
                        continue;
                    };
                    if self.runs.len() == RUNS_MAX {
                        complete = false;
                        break;
                    }
                    self.parents.push(self.runs.len() as u16);
                    self.runs.push(Run { y: y as u16, left, right: x, blob: 0 });
                }
            }
            self.join(above, first..self.runs.len());
            above = first..self.runs.len();
            if !complete {
                break;
            }
        }
        self.number();
        complete
    }

    /// Joins runs of a row with those of the row above that touch them, also by a corner.
    fn join(&mut self, above: std::ops::Range<usize>, here: std::ops::Range<usize>) {
        let mut upper = above.start;
        for i in here {
            let run = self.runs[i];
            while upper < above.end && self.runs[upper].right < run.left {
                upper += 1;
            }
            let mut touching = upper;
            while touching < above.end && self.runs[touching].left <= run.right {
                let (a, b) = (self.root(i as u16), self.root(touching as u16));
                // The smaller index stays the root, so that roots come before their members.
                let (low, high) = (a.min(b), a.max(b));
                self.parents[usize::from(high)] = low;
                touching += 1;
            }
        }
    }

    fn root(&mut self, mut i: u16) -> u16 {
        while self.parents[usize::from(i)] != i {
            let up = self.parents[usize::from(self.parents[usize::from(i)])];
            self.parents[usize::from(i)] = up;
            i = up;
        }
        i
    }

    fn number(&mut self) {
        for i in 0..self.runs.len() {
            let root = usize::from(self.root(i as u16));
            let run = self.runs[i];
            let blob = if root == i {
                self.blobs.push(Blob { bounds: [run.left, run.y, run.right, run.y + 1], area: 0 });
                (self.blobs.len() - 1) as u16
            } else {
                self.runs[root].blob
            };
            self.runs[i].blob = blob;
            let blob = &mut self.blobs[usize::from(blob)];
            blob.area += u32::from(run.right - run.left);
            let [left, top, right, bottom] = blob.bounds;
            blob.bounds = [left.min(run.left), top, right.max(run.right), bottom.max(run.y + 1)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The specification: flood fill. Areas and bounds, by topmost then leftmost first pixel.
    fn flood(mask: &[u8], width: usize) -> Vec<Blob> {
        let height = mask.len() / width;
        let mut seen = vec![false; mask.len()];
        let mut blobs = Vec::new();
        for start in 0..mask.len() {
            if mask[start] == 0 || seen[start] {
                continue;
            }
            let mut blob = Blob { bounds: [u16::MAX, u16::MAX, 0, 0], area: 0 };
            let mut todo = vec![start];
            seen[start] = true;
            while let Some(i) = todo.pop() {
                let (x, y) = (i % width, i / width);
                let [left, top, right, bottom] = blob.bounds;
                blob.bounds =
                    [left.min(x as u16), top.min(y as u16), right.max(x as u16 + 1), bottom.max(y as u16 + 1)];
                blob.area += 1;
                for y in y.saturating_sub(1)..(y + 2).min(height) {
                    for x in x.saturating_sub(1)..(x + 2).min(width) {
                        if mask[y * width + x] == 1 && !seen[y * width + x] {
                            seen[y * width + x] = true;
                            todo.push(y * width + x);
                        }
                    }
                }
            }
            blobs.push(blob);
        }
        blobs
    }

    fn packed(mask: &[u8], width: usize) -> (Vec<u64>, usize) {
        let words = (width + 1).div_ceil(64);
        let mut flags = vec![0; mask.len() / width * words];
        for (i, &flag) in mask.iter().enumerate() {
            flags[i / width * words + i % width / 64] |= u64::from(flag) << (i % width % 64);
        }
        (flags, words)
    }

    proptest! {
        #[test]
        fn parts_are_those_of_a_flood_fill(width in 1usize..200, rows in 1usize..20, density in 0u8..=100, seed: u64) {
            let mut state = seed | 1;
            let mask: Vec<u8> = (0..width * rows)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    u8::from((state >> 20) % 100 < u64::from(density))
                })
                .collect();
            let mut blobs = Blobs::new();
            let (flags, words) = packed(&mask, width);
            prop_assert!(blobs.find(&flags, words));
            prop_assert_eq!(blobs.blobs(), flood(&mask, width));
        }
    }

    #[test]
    fn a_mask_with_too_many_runs_is_cut_and_said_so() {
        let width = 400;
        let mask: Vec<u8> = (0..width * 200).map(|i| (i % 2) as u8).collect();
        let mut blobs = Blobs::new();
        let (flags, words) = packed(&mask, width);
        assert!(!blobs.find(&flags, words));
        assert_eq!(blobs.runs().len(), RUNS_MAX);
        let (flags, words) = packed(&vec![1; width * 200], width);
        assert!(blobs.find(&flags, words));
        assert_eq!(blobs.blobs().len(), 1);
        assert_eq!(blobs.blobs()[0].area, 80_000);
    }
}
