//! The background model: what each pixel shows when nothing is in front of it, and how much it varies.
//!
//! Sigma-delta (Manzanera and Richefeu, "A new motion detection algorithm based on sigma-delta background estimation",
//! 2007) at its core: the background follows the picture one grey level a frame, and so settles on the median; the
//! threshold follows three times the difference in the same way. What is ours:
//!
//! * *Only open pixels learn.* Where something covers the background, the background stays. So leaves that swing over
//!   most of the picture, or a queue of people, do not wash it out.
//! * *Stillness.* Each pixel remembers a value and for how many frames it has stayed near it.
//! * *Uncovered background.* What differs from the model and is still is either something that came to rest, or
//!   background that the model has never seen because something stood there when it was made. The edge tells: around
//!   uncovered background the picture is smooth and the *model* has the edge. Such parts are learnt at once
//!   ([`Model::uncover`]). Without this, mean F over six SBI2015 sequences falls from 0.79 to 0.63.
//! * *Flicker.* A pixel that falls back to its background raises its threshold a little.
//! * *Shake.* When most changes vanish if the background may lie two pixels aside, the camera shakes, and they are
//!   dropped.
//!
//! The stored stillness and the parts found by it are what a detector of left things will stand on.
//!
//! **Never:** colour, floating point, time: a step is a frame, and the caller says how long frames take.

#![forbid(unsafe_code)]

use super::blobs::Blobs;
use crate::kernel::{self, Counts, Level, UpdateStep};

/// Highest threshold. A pixel that varies by more than a third of this each frame is no witness.
const THRESHOLD_CEILING: u8 = 40;
/// Thresholds adapt every so many frames: over six SBI2015 sequences mean F is 0.809 at 1 and 0.819 at 4.
const ADAPT_EVERY: u32 = 4;
/// Frame-to-frame difference, in grey levels of the blurred picture, that is a change: as `STILL_WITHIN`.
const STEADY_WITHIN: u8 = 10;
/// A still pixel stays within this of its remembered value: noise of sigma 10 is 3.75 after the blur, so 2.7 sigma; the
/// remembered value follows. Mean F is flat from 8 to 14.
const STILL_WITHIN: u8 = 10;
/// Flags of 25 that make a cleaned pixel: the majority, so a 5x5 median.
const MAJORITY: u8 = 13;
/// Stillness counts frames up to here, longer times in slow ticks.
pub(super) const STILL_FAST: u8 = 60;
/// Stillness at which a covered pixel becomes background.
pub(super) const STILL_ABSORB: u8 = 250;

/// Rows beside the marked ones that the closing must see: two that it widens into, and two empty ones beyond.
const CLOSING_MARGIN: usize = 4;

/// Share of the picture, in 1/100, from which shaking is looked for; a still camera rarely shows so much at once, and
/// the look costs a tenth of a frame.
const SHAKE_FROM_PERCENT: usize = 2;
/// Shaking if at most this share of the changes, in 1/100, remains when the background may lie two pixels aside. Things
/// that move keep 60 % and more; a camera shaken by two pixels keeps 0 to 20 %.
const SHAKE_LEAVES_PERCENT: usize = 40;
/// The first look is at one row of four: whether the camera shakes shows everywhere.
const SHAKE_SAMPLE: usize = 4;

/// Frames after a shake during which shaking is looked for whatever the share: some shifts show little.
const SHAKE_KEPT: u8 = 25;

/// Still parts are looked for every so many frames.
const UNCOVER_EVERY: u32 = 4;
/// Smallest still part that is judged, in pixels.
const UNCOVER_AREA: u32 = 20;
/// Fewest comparisons over its edge for a judgement.
const UNCOVER_SAMPLES: u32 = 8;
/// Comparisons reach from one pixel inside to four outside: the blur and the 5x5 vote move an edge by up to three.
const EDGE_INSIDE: isize = 1;
const EDGE_OUTSIDE: isize = 4;
/// The model's edge must be this much stronger than the picture's, as a ratio. Flat between 1.1 and 1.6.
const EDGE_RATIO: (u64, u64) = (13, 10);
/// What is learnt reaches this far beyond the part, where the pixels are still.
const UNCOVER_MARGIN: usize = 3;
/// Frames a pixel of that margin must have been still.
const MARGIN_STILL: u8 = 3;

/// The planes of the model at the working size, and the room its steps need. Allocates only when made.
#[derive(Debug)]
pub(super) struct Model {
    level: Level,
    width: usize,
    height: usize,
    floor: u8,
    frame: u32,
    /// Frames for which shaking is still looked for.
    shaken: u8,
    /// The blurred picture, and the one before.
    now: Vec<u8>,
    before: Vec<u8>,
    back: Vec<u8>,
    threshold: Vec<u8>,
    kept: Vec<u8>,
    stillness: Vec<u8>,
    /// Changed pixels as they are, and those of the frame before.
    raw: Vec<u8>,
    raw_before: Vec<u8>,
    /// Changed pixels, cleaned.
    mask: Vec<u8>,
    /// Of those, the still ones.
    still: Vec<u8>,
    scratch: Vec<u8>,
    line: Vec<u16>,
    columns: Vec<u8>,
    more_columns: Vec<u8>,
    parts: Blobs,
    edges: Vec<Edge>,
}

/// Contrast over the edge of a still part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Edge {
    pub(super) picture: u64,
    pub(super) model: u64,
    samples: u32,
}

/// What the model shows to those who look for things at rest: planes of the working size, and the still parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    /// The blurred picture.
    pub(super) now: &'a [u8],
    pub(super) back: &'a [u8],
    /// The value that each still pixel keeps.
    pub(super) kept: &'a [u8],
    pub(super) mask: &'a [u8],
    pub(super) still: &'a [u8],
    pub(super) parts: &'a Blobs,
    /// One for each part.
    pub(super) edges: &'a [Edge],
}

impl Edge {
    pub(super) fn is_uncovered(self, area: u32) -> bool {
        area >= UNCOVER_AREA
            && self.samples >= UNCOVER_SAMPLES
            && self.model * EDGE_RATIO.1 > self.picture * EDGE_RATIO.0
    }
}

impl Model {
    pub(super) fn new(width: usize, height: usize, floor: u8) -> Self {
        let plane = || vec![0; width * height];
        Self {
            level: Level::detect(),
            width,
            height,
            floor,
            frame: 0,
            shaken: 0,
            now: plane(),
            before: plane(),
            back: plane(),
            threshold: plane(),
            kept: plane(),
            stillness: plane(),
            raw: plane(),
            raw_before: plane(),
            mask: plane(),
            still: plane(),
            scratch: plane(),
            line: vec![0; width + 4],
            columns: vec![0; width + 4],
            more_columns: vec![0; width + 4],
            parts: Blobs::new(),
            edges: Vec::with_capacity(super::blobs::RUNS_MAX),
        }
    }

    /// Changed pixels, cleaned: one flag a pixel.
    pub(super) fn mask(&self) -> &[u8] {
        &self.mask
    }

    /// Changed pixels that are still.
    pub(super) fn still(&self) -> &[u8] {
        &self.still
    }

    /// Takes a picture at the working size. Learns nothing from it yet.
    pub(super) fn show(&mut self, small: &[u8]) {
        std::mem::swap(&mut self.now, &mut self.before);
        kernel::blur3(self.level, small, self.width, &mut self.now, &mut self.line);
    }

    /// Takes the picture shown last as the background, trusting it as little as may be expected of any picture.
    pub(super) fn restart(&mut self) {
        self.back.copy_from_slice(&self.now);
        self.kept.copy_from_slice(&self.now);
        self.before.copy_from_slice(&self.now);
        self.threshold.fill(self.floor);
        self.stillness.fill(0);
        self.raw_before.fill(0);
        self.forget_mask();
    }

    /// Shows nothing for this frame.
    pub(super) fn forget_mask(&mut self) {
        self.mask.fill(0);
        self.still.fill(0);
    }

    /// Compares the picture with the background. Without consequences until [`Model::learn`].
    pub(super) fn compare(&mut self) -> Counts {
        let mut counts = kernel::classify(
            self.level,
            &self.now,
            &self.before,
            &self.back,
            &self.threshold,
            &mut self.raw,
            STEADY_WITHIN,
        );
        let shaken = self.shaken;
        self.shaken = shaken.saturating_sub(1);
        let shows = counts.raw * 100 > self.now.len() * SHAKE_FROM_PERCENT;
        if (shaken > 0 || shows) && self.looks_shaken() {
            let left = self.compare_shifted(1);
            if left * 100 < counts.raw * SHAKE_LEAVES_PERCENT {
                std::mem::swap(&mut self.raw, &mut self.scratch);
                // A frame that shows little says nothing about how long the camera shakes.
                if shows {
                    self.shaken = SHAKE_KEPT;
                }
                counts.raw = left;
                counts.steady = counts.steady.min(left);
            }
        }
        counts
    }

    /// Whether a shift explains most of the changes in a sample of the rows.
    fn looks_shaken(&mut self) -> bool {
        let raw = kernel::count_rows(self.level, &self.raw, self.width, SHAKE_SAMPLE);
        self.compare_shifted(SHAKE_SAMPLE) * 100 < raw * SHAKE_LEAVES_PERCENT
    }

    /// Compares every `every`-th row with all that the background shows nearby, into `scratch`; counts the changes.
    fn compare_shifted(&mut self, every: usize) -> usize {
        kernel::classify_shifted(
            self.level,
            &self.now,
            &self.back,
            &self.threshold,
            self.width,
            every,
            &mut self.scratch,
            &mut self.columns,
            &mut self.more_columns,
        )
    }

    /// Cleans the mask and learns from the picture. `still_from` is the number of frames of stillness that counts as
    /// still; `slow_tick` says whether long stillness counts on this frame. Returns whether still parts were looked for;
    /// then [`Model::uncover`] is due, once [`Model::evidence`] has been looked at.
    pub(super) fn learn(&mut self, still_from: u8, slow_tick: bool) -> bool {
        let (level, width) = (self.level, self.width);
        // A 5x5 median, then a 5x5 closing: holes and gaps in what moves are narrower than what moves.
        kernel::vote5(level, &self.raw, width, &mut self.mask, MAJORITY, &mut self.columns);
        // Only the rows around what is left: most of a quiet picture is empty, and two rows of nothing on each side close
        // as the whole plane would.
        if let Some(rows) = marked_rows(&self.mask, width) {
            let rows = rows.start.saturating_sub(CLOSING_MARGIN)..(rows.end + CLOSING_MARGIN).min(self.height);
            let (mask, wide) =
                (&mut self.mask[rows.start * width..rows.end * width], &mut self.scratch[..rows.len() * width]);
            kernel::vote5(level, mask, width, wide, 1, &mut self.columns);
            kernel::erode5(level, wide, width, mask, &mut self.columns);
        }
        self.frame = self.frame.wrapping_add(1);
        let step = UpdateStep {
            adapt: self.frame.is_multiple_of(ADAPT_EVERY),
            slow_tick,
            floor: self.floor,
            ceiling: THRESHOLD_CEILING,
            still_within: STILL_WITHIN,
            still_from: still_from.max(1),
            still_fast: STILL_FAST,
            still_absorb: STILL_ABSORB,
        };
        let still = kernel::update(
            level,
            &self.now,
            &self.mask,
            &self.raw,
            &self.raw_before,
            &mut self.back,
            &mut self.threshold,
            &mut self.kept,
            &mut self.stillness,
            &mut self.still,
            step,
        );
        std::mem::swap(&mut self.raw, &mut self.raw_before);
        if !self.frame.is_multiple_of(UNCOVER_EVERY) {
            return false;
        }
        self.find_parts(still);
        true
    }

    /// What was found by [`Model::learn`].
    pub(super) fn evidence(&self) -> Evidence<'_> {
        Evidence {
            now: &self.now,
            back: &self.back,
            kept: &self.kept,
            mask: &self.mask,
            still: &self.still,
            parts: &self.parts,
            edges: &self.edges,
        }
    }

    /// The blurred picture, that of the frame before, and the background.
    pub(super) fn pictures(&self) -> [&[u8]; 3] {
        [&self.now, &self.before, &self.back]
    }

    /// Takes `value` as the background of pixel `i`.
    pub(super) fn adopt(&mut self, i: usize, value: u8) {
        self.back[i] = value;
        self.threshold[i] = self.floor;
        self.stillness[i] = 0;
    }

    /// Finds the still parts and weighs their edges.
    fn find_parts(&mut self, still: usize) {
        if still < UNCOVER_AREA as usize {
            self.parts.clear();
            self.edges.clear();
            return;
        }
        let (level, width) = (self.level, self.width);
        // A 3x3 opening cuts what hangs together by a thread. `raw` is free until the next frame.
        kernel::erode3(level, &self.still, width, &mut self.scratch, &mut self.columns);
        kernel::dilate3(level, &self.scratch, width, &mut self.raw, &mut self.columns);
        let mut parts = std::mem::replace(&mut self.parts, Blobs::empty());
        parts.find(&self.raw, width);
        self.weigh_edges(&parts);
        self.parts = parts;
    }

    /// Learns the still parts that are uncovered background, and takes them out of the mask.
    pub(super) fn uncover(&mut self) {
        let width = self.width;
        let parts = std::mem::replace(&mut self.parts, Blobs::empty());
        for run in parts.runs() {
            let part = parts.blobs()[usize::from(run.blob)];
            if !self.edges[usize::from(run.blob)].is_uncovered(part.area) {
                continue;
            }
            let (y, left, right) = (usize::from(run.y), usize::from(run.left), usize::from(run.right));
            for y in y.saturating_sub(UNCOVER_MARGIN)..(y + UNCOVER_MARGIN + 1).min(self.height) {
                for x in left.saturating_sub(UNCOVER_MARGIN)..(right + UNCOVER_MARGIN).min(width) {
                    let i = y * width + x;
                    if self.stillness[i] >= MARGIN_STILL {
                        self.back[i] = self.kept[i];
                        self.threshold[i] = self.floor;
                    }
                }
            }
            self.mask[y * width + left..y * width + right].fill(0);
            self.still[y * width + left..y * width + right].fill(0);
        }
        self.parts = parts;
    }

    /// Sums the contrast over the edges of `parts` (of the mask in `raw`) in the picture and in the model.
    fn weigh_edges(&mut self, parts: &Blobs) {
        self.edges.clear();
        self.edges.resize(parts.blobs().len(), Edge::default());
        for run in parts.runs() {
            let (y, left, right) = (usize::from(run.y), usize::from(run.left), usize::from(run.right));
            let blob = usize::from(run.blob);
            self.weigh(blob, left, y, (-1, 0));
            self.weigh(blob, right - 1, y, (1, 0));
            for x in left..right {
                let i = y * self.width + x;
                if y > 0 && self.raw[i - self.width] == 0 {
                    self.weigh(blob, x, y, (0, -1));
                }
                if y + 1 < self.height && self.raw[i + self.width] == 0 {
                    self.weigh(blob, x, y, (0, 1));
                }
            }
        }
    }

    /// One comparison at the edge pixel `(x, y)`, outwards along `(dx, dy)`. Where something else covers the outside
    /// there is nothing to compare with.
    fn weigh(&mut self, blob: usize, x: usize, y: usize, (dx, dy): (isize, isize)) {
        let at = |reach: isize| {
            let x = x.checked_add_signed(dx * reach).filter(|&x| x < self.width)?;
            let y = y.checked_add_signed(dy * reach).filter(|&y| y < self.height)?;
            Some(y * self.width + x)
        };
        let (Some(inside), Some(outside)) = (at(-EDGE_INSIDE), at(EDGE_OUTSIDE)) else { return };
        if self.mask[outside] == 1 {
            return;
        }
        let edge = &mut self.edges[blob];
        edge.picture += u64::from(self.now[inside].abs_diff(self.now[outside]));
        edge.model += u64::from(self.back[inside].abs_diff(self.back[outside]));
        edge.samples += 1;
    }
}

/// From the first row with a set flag to behind the last one.
fn marked_rows(mask: &[u8], width: usize) -> Option<std::ops::Range<usize>> {
    let marked = |row: &[u8]| row.iter().fold(0, |any, flag| any | flag) == 1;
    let first = mask.chunks_exact(width).position(marked)?;
    let last = mask.chunks_exact(width).rposition(marked)?;
    Some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn closing_the_marked_rows_closes_the_plane(
            width in 5usize..40, height in 5usize..40, dots in proptest::collection::vec((0usize..1600, 1usize..30), 0..6)
        ) {
            let mut model = Model::new(width, height, 14);
            model.show(&vec![100; width * height]);
            model.restart();
            for (at, length) in dots {
                let from = at.min(width * height);
                let to = (from + length).min(width * height);
                model.raw[from..to].fill(1);
            }
            let (mut cleaned, mut wide, mut closed) =
                (vec![0; width * height], vec![0; width * height], vec![0; width * height]);
            let columns = &mut vec![0; width + 4];
            kernel::vote5(Level::PORTABLE, &model.raw, width, &mut cleaned, MAJORITY, columns);
            kernel::vote5(Level::PORTABLE, &cleaned, width, &mut wide, 1, columns);
            kernel::erode5(Level::PORTABLE, &wide, width, &mut closed, columns);
            model.learn(15, false);
            prop_assert_eq!(model.mask(), closed);
        }
    }
}
