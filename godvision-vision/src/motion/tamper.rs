//! Tells that a camera's view is spoilt: covered, turned, frozen or blurred. A light switched is none of them.
//!
//! Twice a second the picture is compared with a reference view, block by block: does the block's detail still correlate
//! with what it was? Correlation knows no brightness and no contrast, and its sign is left out, so a light, an infra-red
//! filter or a gain leaves most blocks recognised. If hardly any block that had detail is recognised, the view is lost:
//! *covered* if what is seen instead is flat, *turned* if it has detail and holds still; *blurred* if it is flat but light
//! and dark lie where they lay. Blocks that are recognised but have lost their fine detail are *blurred*, too. *Frozen*
//! are pictures equal in every pixel, which a sensor with noise never gives: a stream whose pictures were not seen to differ, one
//! after the other for [`NOISY_FRAMES`] of them, may be a drawing, and is not judged.
//!
//! The limits: a lens covered by something with detail that holds still looks turned; a view turned to a bare wall, or
//! black night without a lamp, looks covered; a clock drawn into the picture hides that it is frozen; a view with next to
//! no detail ([`BLOCKS_MIN`]) is not judged but for frozen.
//!
//! **Never:** motion, clocks, allocation once it runs.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::Stamp;
use godvision_core::signal::seen::TamperKind;

use super::mask::Layout;
use crate::kernel::{self, Level, Tally};

/// Pixels of a block's side: at 480x270 there are 480 blocks.
const BLOCK: usize = kernel::TALLY_SIDE;
/// Pixels of a block that are looked at: every second row tells as much.
const BLOCK_PIXELS: f32 = (BLOCK * BLOCK / 2) as f32;
/// Fewest blocks with detail for a judgement.
const BLOCKS_MIN: usize = 8;
/// Variance from which a block has detail: 5 grey levels. Noise of sigma 10 leaves 3.75 after the blur.
const DETAIL: f32 = 25.0;
/// Correlation from which a block is recognised.
const RECOGNISED: f32 = 0.6;
/// The view is lost below this share of recognised blocks, and good again from the second.
const LOST: f32 = 0.2;
const GOOD: f32 = 0.4;
/// The view is flat if this share of its detail is left.
const FLAT: f32 = 0.12;
/// Correlation of the blocks' means from which light and dark lie where they lay.
const SAME_LIGHT: f32 = 0.85;
/// Fine detail per detail, as a share of the reference's, below which a view is blurred, and from which it is sharp again.
const BLURRED: f32 = 0.4;
const SHARP: f32 = 0.6;
/// Mean difference to the picture half a second ago, in grey levels, up to which a view holds still.
const STEADY: f32 = 6.0;
/// How often the view is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How long it must be spoilt to be reported, and good to be over. A lorry that passes takes less.
const VIEW_AFTER: Duration = Duration::from_secs(4);
/// How long pictures must be equal: several groups of pictures, since an encoder may skip a still scene between its key
/// frames. And how many of them, for streams of a picture now and then.
const FROZEN_AFTER: Duration = Duration::from_secs(30);
const FROZEN_FRAMES: u32 = 25;
/// So many pictures must have differed in a row for the camera to have noise.
const NOISY_FRAMES: u32 = 25;
/// How long pictures must differ again.
const THAWED_AFTER: Duration = Duration::from_secs(1);
/// The reference is taken anew for so long at first, since the background is being learnt.
const LEARN: Duration = Duration::from_secs(10);
/// How often it follows the day. Seldom, lest it follow fog or dirt, too.
const REFRESH: Duration = Duration::from_secs(600);

/// A camera's view was spoilt, or is good again.
///
/// A lens covered by something with detail that holds still looks turned; a view turned to a bare wall, or black night
/// without a lamp, looks covered; a clock drawn into the picture hides that it is frozen; a view with next to no detail is
/// judged for nothing but frozen. Turned lasts until the old view is back, or the new one is accepted
/// ([`MotionDetector::accept_view`](super::MotionDetector::accept_view)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TamperStep {
    /// What is wrong.
    pub kind: TamperKind,
    /// Whether it is over.
    pub is_over: bool,
    /// The frame in which it was noticed: 4 s after it began or ended, for frozen 30 s and 1 s.
    pub at: Stamp,
    /// That frame's sequence.
    pub sequence: u64,
}

/// What is noticed in the view as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Good,
    /// Neither good nor bad enough to say: changes nothing.
    Doubtful,
    Spoilt(TamperKind),
}

#[derive(Debug)]
pub(super) struct TamperGuard {
    level: Level,
    layout: Layout,
    reference: Vec<u8>,
    /// The picture of the last look.
    previous: Vec<u8>,
    started: Option<Stamp>,
    looked: Option<Stamp>,
    refreshed: Option<Stamp>,
    /// What is reported of the view, and since when it looks otherwise.
    spoilt: Option<TamperKind>,
    otherwise: Option<(View, Stamp)>,
    frozen: bool,
    equal: Option<(Stamp, u32)>,
    differing: Option<Stamp>,
    /// Pictures in a row that differed, up to [`NOISY_FRAMES`], where it stays.
    noisy: u32,
}

impl TamperGuard {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            level: Level::detect(),
            layout,
            reference: layout.plane(),
            previous: layout.plane(),
            started: None,
            looked: None,
            refreshed: None,
            spoilt: None,
            otherwise: None,
            frozen: false,
            equal: None,
            differing: None,
            noisy: 0,
        }
    }

    /// Takes one frame: the picture, the one before, and the background. Gives at most one step a frame.
    pub(super) fn step(&mut self, [now, before, back]: [&[u8]; 3], at: Stamp, sequence: u64) -> Option<TamperStep> {
        let step = |kind, is_over| Some(TamperStep { kind, is_over, at, sequence });
        let is_first = self.started.is_none();
        let started = *self.started.get_or_insert(at);
        if !is_first && self.freeze(now == before, at) {
            return step(TamperKind::Frozen, !self.frozen);
        }
        if self.looked.is_some_and(|last| at.mono - last.mono < EVERY) {
            return None;
        }
        self.looked = Some(at);
        if at.mono - started.mono < LEARN {
            self.refresh(now, back, at);
            return None;
        }
        let view = self.judge(now);
        self.previous.copy_from_slice(now);
        let is_due = self.refreshed.is_none_or(|last| at.mono - last.mono >= REFRESH);
        if view == View::Good && self.spoilt.is_none() && is_due {
            self.refresh(now, back, at);
        }
        let (kind, is_over) = self.decide(view, at)?;
        step(kind, is_over)
    }

    /// Takes the next pictures as the right view. Gives the end of a running report.
    pub(super) fn accept(&mut self, at: Stamp, sequence: u64) -> Option<TamperStep> {
        self.started = Some(at);
        self.otherwise = None;
        let kind = self.spoilt.take()?;
        Some(TamperStep { kind, is_over: true, at, sequence })
    }

    fn refresh(&mut self, now: &[u8], back: &[u8], at: Stamp) {
        self.reference.copy_from_slice(back);
        self.previous.copy_from_slice(now);
        self.refreshed = Some(at);
    }

    /// Whether frozen begins or ends with this frame.
    fn freeze(&mut self, is_equal: bool, at: Stamp) -> bool {
        if !is_equal {
            self.equal = None;
            self.noisy = (self.noisy + 1).min(NOISY_FRAMES);
            let since = *self.differing.get_or_insert(at);
            let is_over = self.frozen && at.mono - since.mono >= THAWED_AFTER;
            self.frozen &= !is_over;
            return is_over;
        }
        self.differing = None;
        if self.noisy < NOISY_FRAMES {
            self.noisy = 0;
            return false;
        }
        let (since, frames) = self.equal.map_or((at, 1), |(since, frames)| (since, frames.saturating_add(1)));
        self.equal = Some((since, frames));
        let begins = !self.frozen && at.mono - since.mono >= FROZEN_AFTER && frames >= FROZEN_FRAMES;
        self.frozen |= begins;
        begins
    }

    /// Turns looks into reports: a view must be spoilt in one way, or good, for [`VIEW_AFTER`].
    fn decide(&mut self, view: View, at: Stamp) -> Option<(TamperKind, bool)> {
        let is_news = match (self.spoilt, view) {
            (_, View::Doubtful) => return None,
            (None, View::Good) | (Some(_), View::Spoilt(_)) => false,
            (None, View::Spoilt(_)) | (Some(_), View::Good) => true,
        };
        if !is_news {
            self.otherwise = None;
            return None;
        }
        let since = match self.otherwise {
            Some((same, since)) if same == view => since,
            _ => {
                self.otherwise = Some((view, at));
                at
            }
        };
        if at.mono - since.mono < VIEW_AFTER {
            return None;
        }
        self.otherwise = None;
        match view {
            View::Spoilt(kind) => {
                self.spoilt = Some(kind);
                Some((kind, false))
            }
            _ => self.spoilt.take().map(|kind| (kind, true)),
        }
    }

    fn judge(&self, now: &[u8]) -> View {
        let sums = self.compare(now);
        if sums.detailed < BLOCKS_MIN {
            return View::Good;
        }
        let recognised = sums.recognised as f32 / sums.detailed as f32;
        let share = |part: f32, whole: f32| part / whole.max(1e-3);
        let sharpness = share(share(sums.fine[0], sums.detail[0]), share(sums.fine[1], sums.detail[1]));
        // Of a flat view nothing can be said about what fine detail there is.
        let is_flat = sums.variance[0] < sums.variance[1] * FLAT;
        let is_steady = sums.moved <= STEADY;
        match () {
            () if recognised < LOST && is_flat && sums.means_agree >= SAME_LIGHT => View::Spoilt(TamperKind::Blurred),
            () if recognised < LOST && is_flat => View::Spoilt(TamperKind::Covered),
            () if recognised < LOST && is_steady => View::Spoilt(TamperKind::Turned),
            () if recognised < GOOD => View::Doubtful,
            () if sharpness < BLURRED => View::Spoilt(TamperKind::Blurred),
            () if sharpness < SHARP => View::Doubtful,
            () => View::Good,
        }
    }

    fn compare(&self, now: &[u8]) -> Sums {
        let Layout { width, height, stride } = self.layout;
        let (columns, rows) = (width / BLOCK, height / BLOCK);
        let mut sums = Sums::default();
        let mut means = Correlation::default();
        for block in 0..columns * rows {
            let corner = block / columns * BLOCK * stride + block % columns * BLOCK;
            let tally = kernel::tally(self.level, now, &self.reference, &self.previous, stride, corner);
            let detail = Detail::of(&tally);
            means.add(tally.a as f32 / BLOCK_PIXELS, tally.b as f32 / BLOCK_PIXELS);
            sums.moved += tally.moved as f32 / BLOCK_PIXELS;
            sums.variance[0] += detail.aa;
            sums.variance[1] += detail.bb;
            if detail.bb < DETAIL {
                continue;
            }
            sums.detailed += 1;
            // Below one grey level there is nothing to recognise.
            if detail.aa < 1.0 || detail.ab * detail.ab < RECOGNISED * RECOGNISED * detail.aa * detail.bb {
                continue;
            }
            sums.recognised += 1;
            sums.detail[0] += detail.aa;
            sums.detail[1] += detail.bb;
            sums.fine[0] += tally.fine_a as f32;
            sums.fine[1] += tally.fine_b as f32;
        }
        sums.moved /= (columns * rows).max(1) as f32;
        sums.means_agree = means.value();
        sums
    }
}

/// What [`TamperGuard::compare`] found; pairs are of the picture and the reference.
#[derive(Debug, Default)]
struct Sums {
    detailed: usize,
    recognised: usize,
    /// Variance and squared steps between neighbours, over the recognised blocks.
    detail: [f32; 2],
    fine: [f32; 2],
    /// Variance over all blocks.
    variance: [f32; 2],
    means_agree: f32,
    /// Mean difference to the last look.
    moved: f32,
}

/// Variances and covariance.
struct Detail {
    aa: f32,
    bb: f32,
    ab: f32,
}

impl Detail {
    fn of(tally: &Tally) -> Self {
        let (a, b) = (tally.a as f32 / BLOCK_PIXELS, tally.b as f32 / BLOCK_PIXELS);
        Self {
            aa: (tally.aa as f32 / BLOCK_PIXELS - a * a).max(0.0),
            bb: (tally.bb as f32 / BLOCK_PIXELS - b * b).max(0.0),
            ab: tally.ab as f32 / BLOCK_PIXELS - a * b,
        }
    }
}

/// Pearson's correlation of pairs.
#[derive(Debug, Default)]
struct Correlation {
    n: f32,
    a: f32,
    b: f32,
    aa: f32,
    bb: f32,
    ab: f32,
}

impl Correlation {
    fn add(&mut self, a: f32, b: f32) {
        self.n += 1.0;
        self.a += a;
        self.b += b;
        self.aa += a * a;
        self.bb += b * b;
        self.ab += a * b;
    }

    fn value(&self) -> f32 {
        let n = self.n.max(1.0);
        let (aa, bb) = (self.aa / n - self.a * self.a / n / n, self.bb / n - self.b * self.b / n / n);
        // Means that hardly vary agree with nothing.
        if aa < 1.0 || bb < 1.0 { 0.0 } else { (self.ab / n - self.a * self.b / n / n) / (aa * bb).sqrt() }
    }
}
