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
use super::mask::{self, Layout};
use super::tones::Tones;
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
/// Stillness counts frames up to here, longer times in slow ticks.
pub(super) const STILL_FAST: u8 = 60;
/// Stillness at which a covered pixel becomes background.
pub(super) const STILL_ABSORB: u8 = 250;

/// Rows beside the marked ones that the closing must see: two that it widens into, and two empty ones beyond.
const CLOSING_MARGIN: usize = 4;
/// Rows of nothing around the changed pixels, for the median's window.
const RAW_MARGIN: usize = 3;

/// Share of the picture, in 1/100, from which shaking is looked for; a still camera rarely shows so much at once, and
/// the look costs a tenth of a frame.
const SHAKE_FROM_PERCENT: usize = 2;
/// Shaking if at most this share of the changes, in 1/100, remains when the background may lie two pixels aside. Things
/// that move keep 60 % and more; a camera shaken by two pixels keeps 0 to 20 %.
const SHAKE_LEAVES_PERCENT: usize = 40;
/// The same for what lies beside the mask. The seam of what moves, which is all that it adds to the mask in a frame, is explained
/// by a shift more often: at 40 % mean F over six SBI2015 sequences fell from 0.798 to 0.784.
const SHAKE_LEAVES_BESIDE_PERCENT: usize = 12;
/// The first look is at one row of four: whether the camera shakes shows everywhere.
const SHAKE_SAMPLE: usize = 4;

/// A mask over more than a third of the picture is not believed when the light changes, until the grey levels
/// under it are seen not to have changed like all others; over more than two thirds, not at all.
const COVERED_MUCH: usize = 3;
const COVERED_MOST: (usize, usize) = (3, 2);

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
    layout: Layout,
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
    /// Changed pixels as they are, and those of the frame before, with [`RAW_MARGIN`] rows of nothing above and below.
    raw: Vec<u64>,
    raw_before: Vec<u64>,
    /// Changed pixels, cleaned.
    mask: Vec<u64>,
    /// Of those, the still ones.
    still: Vec<u64>,
    /// What was covered when the mask was last shown.
    covered: Vec<u64>,
    /// Whether the mask is that of the frame before.
    is_shown: bool,
    tones: Tones,
    /// The still parts.
    part_flags: Vec<u64>,
    scratch: Vec<u64>,
    lows: Vec<u8>,
    highs: Vec<u8>,
    line: Vec<u8>,
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
    pub(super) mask: &'a [u64],
    pub(super) still: &'a [u64],
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
    pub(super) fn new(layout: Layout, floor: u8) -> Self {
        let raw = || vec![0; layout.words() * (layout.height + 2 * RAW_MARGIN)];
        Self {
            level: Level::detect(),
            layout,
            floor,
            frame: 0,
            shaken: 0,
            now: layout.plane(),
            before: layout.plane(),
            back: layout.plane(),
            threshold: layout.plane(),
            kept: layout.plane(),
            stillness: layout.plane(),
            raw: raw(),
            raw_before: raw(),
            mask: layout.flags(),
            still: layout.flags(),
            covered: layout.flags(),
            is_shown: false,
            tones: Tones::new(),
            part_flags: layout.flags(),
            scratch: raw(),
            lows: vec![0; layout.width + 4],
            highs: vec![0; layout.width + 4],
            // The padding of a row is longer than the two values that a blurred row needs beside it.
            line: vec![0; layout.stride],
            parts: Blobs::new(),
            edges: Vec::with_capacity(super::blobs::RUNS_MAX),
        }
    }

    /// Changed pixels, cleaned.
    pub(super) fn mask(&self) -> &[u64] {
        &self.mask
    }

    /// Changed pixels that are still.
    pub(super) fn still(&self) -> &[u64] {
        &self.still
    }

    /// Where the picture lies in planes with [`RAW_MARGIN`].
    fn inside(&self) -> std::ops::Range<usize> {
        let margin = RAW_MARGIN * self.layout.words();
        margin..margin + self.layout.words() * self.layout.height
    }

    /// Takes a picture at the working size. Learns nothing from it yet.
    pub(super) fn show(&mut self, small: &[u8]) {
        std::mem::swap(&mut self.now, &mut self.before);
        let Layout { width, stride, .. } = self.layout;
        kernel::blur3(self.level, small, width, &mut self.now, stride, &mut self.line);
    }

    /// Takes the picture shown last as the background after a change of light, but for what somebody covers: there the old
    /// background is carried over to the new light ([`Tones`]). Returns how many pixels stay covered, and what has become of
    /// each grey level if that was needed, here or because `wants_tones`, and could be told.
    pub(super) fn relight(&mut self, wants_tones: bool) -> (usize, Option<[u8; 256]>) {
        self.forget_mask();
        let (words, width) = (self.layout.words(), self.layout.width);
        let was_covered: usize = self.covered.iter().map(|word| word.count_ones() as usize).sum();
        // They may have moved on by a little.
        kernel::dilate7(self.level, &mut self.covered, words, width, &mut self.scratch);
        let Some(tones) = (was_covered > 0 || wants_tones).then(|| self.learn_tones(was_covered)).flatten() else {
            self.restart();
            return (0, None);
        };
        let mut kept = 0;
        for (word, covered) in self.covered.iter_mut().enumerate() {
            let mut left = *covered;
            while left != 0 {
                let i = word * 64 + left.trailing_zeros() as usize;
                let tone = tones[usize::from(self.back[i])];
                if self.now[i].abs_diff(tone) > self.floor {
                    // `kept` is made anew below, and until then has room for this.
                    self.kept[i] = tone;
                    kept += 1;
                } else {
                    *covered &= !(left & left.wrapping_neg());
                }
                left &= left - 1;
            }
        }
        for i in 0..self.back.len() {
            // What stood still goes on standing still.
            if mask::flag(&self.covered, i) == 1 {
                self.back[i] = self.kept[i];
            } else {
                self.back[i] = self.now[i];
                self.stillness[i] = 0;
            }
        }
        self.distrust();
        (kept, Some(tones))
    }

    /// What the light has done to grey levels.
    fn learn_tones(&mut self, covered: usize) -> Option<[u8; 256]> {
        let Layout { width, height, stride } = self.layout;
        // Every second row tells as much.
        let pixels = || (0..height).step_by(2).flat_map(|y| y * stride..y * stride + width);
        let pair = |i: usize| (self.back[i], self.now[i]);
        // If so much is covered, it may be the light that covers it: an exposure that goes on for some frames.
        let all = covered * COVERED_MUCH > self.layout.pixels();
        if let Some(tones) = all.then(|| self.tones.learn(pixels().map(pair))).flatten() {
            return Some(tones);
        }
        if covered * COVERED_MOST.0 > self.layout.pixels() * COVERED_MOST.1 {
            return None;
        }
        self.tones.learn(pixels().filter(|&i| mask::flag(&self.covered, i) == 0).map(pair))
    }

    /// Takes the picture shown last as the background, trusting it as little as may be expected of any picture.
    pub(super) fn restart(&mut self) {
        self.back.copy_from_slice(&self.now);
        self.forget_mask();
        self.covered.fill(0);
        self.stillness.fill(0);
        self.distrust();
    }

    /// Forgets all but the background, and for how long pixels have been still.
    fn distrust(&mut self) {
        self.kept.copy_from_slice(&self.now);
        self.before.copy_from_slice(&self.now);
        self.threshold.fill(self.floor);
        self.raw_before.fill(0);
    }

    /// Shows nothing for this frame.
    pub(super) fn forget_mask(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            self.covered.copy_from_slice(&self.mask);
        }
        self.mask.fill(0);
        self.still.fill(0);
    }

    /// Compares the picture with the background. Without consequences until [`Model::learn`].
    pub(super) fn compare(&mut self) -> Counts {
        let inside = self.inside();
        let mut counts = kernel::classify(
            self.level,
            &self.now,
            &self.before,
            &self.back,
            &self.threshold,
            &mut self.raw[inside],
            STEADY_WITHIN,
        );
        let shaken = self.shaken;
        self.shaken = shaken.saturating_sub(1);
        // What is in the mask moved before this frame: with people in the picture only the rest can tell that it shakes.
        let (raw, words) = (&self.raw[self.inside()], self.layout.words());
        let beside = kernel::count_beside(self.level, raw, &self.mask, words, 1);
        let shows = |count: usize| count * 100 > self.layout.pixels() * SHAKE_FROM_PERCENT;
        let (shows, beside_shows) = (shows(counts.raw), shows(beside));
        if (shaken > 0 || shows) && self.explains(SHAKE_SAMPLE, beside_shows) && self.explains(1, beside_shows) {
            std::mem::swap(&mut self.raw, &mut self.scratch);
            // A frame that shows little says nothing about how long the camera shakes.
            if shows {
                self.shaken = SHAKE_KEPT;
            }
            let left = kernel::count_beside(self.level, &self.raw, &[], words, 1);
            counts.raw = left;
            counts.steady = counts.steady.min(left);
        }
        counts
    }

    /// Whether a shift of the picture explains most of the changes, or, if `beside`, of those beside the mask, in every
    /// `every`-th row. What it does not explain is left in `scratch`.
    fn explains(&mut self, every: usize, beside: bool) -> bool {
        self.compare_shifted(every);
        let (level, words, inside) = (self.level, self.layout.words(), self.inside());
        let most = |except: &[u64], percent: usize| {
            let count = |flags: &[u64]| kernel::count_beside(level, flags, except, words, every);
            let (raw, left) = (count(&self.raw[inside.clone()]), count(&self.scratch[inside.clone()]));
            left * 100 < raw * percent
        };
        most(&[], SHAKE_LEAVES_PERCENT) || (beside && most(&self.mask, SHAKE_LEAVES_BESIDE_PERCENT))
    }

    /// Compares every `every`-th row with all that the background shows nearby, into `scratch`.
    fn compare_shifted(&mut self, every: usize) {
        let (Layout { width, stride, .. }, inside) = (self.layout, self.inside());
        // The rows around the picture may hold what another use has left there.
        self.scratch[..inside.start].fill(0);
        self.scratch[inside.end..].fill(0);
        kernel::classify_shifted(
            self.level,
            &self.now,
            &self.back,
            &self.threshold,
            width,
            stride,
            every,
            &mut self.scratch[inside],
            &mut self.lows,
            &mut self.highs,
            &mut self.line,
        );
    }

    /// Cleans the mask and learns from the picture. `still_from` is the number of frames of stillness that counts as
    /// still; `slow_tick` says whether long stillness counts on this frame. Returns whether still parts were looked for;
    /// then [`Model::uncover`] is due, once [`Model::evidence`] has been looked at.
    pub(super) fn learn(&mut self, still_from: u8, slow_tick: bool) -> bool {
        let (level, words, inside) = (self.level, self.layout.words(), self.inside());
        // A 5x5 median, then a 5x5 closing: holes and gaps in what moves are narrower than what moves.
        kernel::median5(level, &self.raw, words, &mut self.mask);
        // Only the rows around what is left: most of a quiet picture is empty, and two rows of nothing on each side close
        // as the whole plane would.
        if let Some(rows) = marked_rows(&self.mask, words) {
            let first = rows.start.saturating_sub(CLOSING_MARGIN);
            let rows = first..(rows.end + CLOSING_MARGIN).min(self.layout.height);
            let mask = &mut self.mask[rows.start * words..rows.end * words];
            kernel::close5(level, mask, words, self.layout.width, &mut self.scratch);
        }
        self.is_shown = true;
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
            &self.raw[inside.clone()],
            &self.raw_before[inside],
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
        let words = self.layout.words();
        self.part_flags.copy_from_slice(&self.still);
        // A 3x3 opening cuts what hangs together by a thread.
        kernel::open3(self.level, &mut self.part_flags, words, self.layout.width, &mut self.scratch);
        let mut parts = std::mem::replace(&mut self.parts, Blobs::empty());
        parts.find(&self.part_flags, words);
        self.weigh_edges(&parts);
        self.parts = parts;
    }

    /// Learns the still parts that are uncovered background, and takes them out of the mask.
    pub(super) fn uncover(&mut self) {
        let (words, stride) = (self.layout.words(), self.layout.stride);
        let (blobs, edges) = (self.parts.blobs(), &self.edges);
        let is_uncovered = |blob: u16| edges[usize::from(blob)].is_uncovered(blobs[usize::from(blob)].area);
        let mut rows = 0..0;
        for run in self.parts.runs().iter().filter(|run| is_uncovered(run.blob)) {
            let y = usize::from(run.y);
            if rows.is_empty() {
                self.part_flags.fill(0);
                rows.start = y;
            }
            rows.end = y + 1;
            mask::for_span(y * stride + usize::from(run.left), y * stride + usize::from(run.right), |word, span| {
                self.mask[word] &= !span;
                self.still[word] &= !span;
                self.part_flags[word] |= span;
            });
        }
        if rows.is_empty() {
            return;
        }
        let first = rows.start.saturating_sub(UNCOVER_MARGIN);
        let rows = first..(rows.end + UNCOVER_MARGIN).min(self.layout.height);
        let flags = &mut self.part_flags[rows.start * words..rows.end * words];
        kernel::dilate7(self.level, flags, words, self.layout.width, &mut self.scratch);
        let pixels = rows.start * stride..rows.end * stride;
        kernel::adopt(
            self.level,
            flags,
            &self.kept[pixels.clone()],
            &self.stillness[pixels.clone()],
            MARGIN_STILL,
            &mut self.back[pixels.clone()],
            &mut self.threshold[pixels],
            self.floor,
        );
    }

    /// Sums the contrast over the edges of `parts` in the picture and in the model.
    fn weigh_edges(&mut self, parts: &Blobs) {
        self.edges.clear();
        self.edges.resize(parts.blobs().len(), Edge::default());
        let Layout { height, stride, .. } = self.layout;
        for run in parts.runs() {
            let (y, left, right) = (usize::from(run.y), usize::from(run.left), usize::from(run.right));
            let blob = usize::from(run.blob);
            self.weigh(blob, left, y, (-1, 0));
            self.weigh(blob, right - 1, y, (1, 0));
            for (beside, dy) in [(y.checked_sub(1), -1), (Some(y + 1).filter(|&y| y < height), 1)] {
                let Some(beside) = beside else { continue };
                // Just the pixels with nothing of a part above, or below, them.
                let words = stride / 64;
                mask::for_span(left, right, |word, span| {
                    let mut open = span & !self.part_flags[beside * words + word];
                    while open != 0 {
                        self.weigh(blob, word * 64 + open.trailing_zeros() as usize, y, (0, dy));
                        open &= open - 1;
                    }
                });
            }
        }
    }

    /// One comparison at the edge pixel `(x, y)`, outwards along `(dx, dy)`. Where something else covers the outside
    /// there is nothing to compare with.
    fn weigh(&mut self, blob: usize, x: usize, y: usize, (dx, dy): (isize, isize)) {
        let Layout { width, height, stride } = self.layout;
        let at = |reach: isize| {
            let x = x.checked_add_signed(dx * reach).filter(|&x| x < width)?;
            let y = y.checked_add_signed(dy * reach).filter(|&y| y < height)?;
            Some(y * stride + x)
        };
        let (Some(inside), Some(outside)) = (at(-EDGE_INSIDE), at(EDGE_OUTSIDE)) else { return };
        if mask::flag(&self.mask, outside) == 1 {
            return;
        }
        let edge = &mut self.edges[blob];
        edge.picture += u64::from(self.now[inside].abs_diff(self.now[outside]));
        edge.model += u64::from(self.back[inside].abs_diff(self.back[outside]));
        edge.samples += 1;
    }
}

/// From the first row with a set flag to behind the last one.
fn marked_rows(mask: &[u64], words: usize) -> Option<std::ops::Range<usize>> {
    let first = mask.iter().position(|word| *word != 0)? / words;
    let last = mask.iter().rposition(|word| *word != 0)? / words;
    Some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn closing_the_marked_rows_closes_the_plane(
            width in 5usize..80, height in 5usize..40, dots in proptest::collection::vec((0usize..3200, 1usize..60), 0..6)
        ) {
            let layout = Layout::new(width, height);
            let mut model = Model::new(layout, 14);
            model.show(&vec![100; width * height]);
            model.restart();
            let inside = model.inside();
            for (at, length) in dots {
                for i in (at..at + length).filter(|i| *i < width * height) {
                    let i = i / width * layout.stride + i % width;
                    model.raw[inside.start + i / 64] |= 1 << (i % 64);
                }
            }
            let mut closed = layout.flags();
            kernel::median5(Level::PORTABLE, &model.raw, layout.words(), &mut closed);
            kernel::close5(Level::PORTABLE, &mut closed, layout.words(), layout.width, &mut layout.flags());
            model.learn(15, false);
            prop_assert_eq!(model.mask(), closed);
        }
    }
}
