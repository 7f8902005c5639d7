//! Tells a change of the whole scene (a light, the infra-red filter, a turned camera) from things that move in it.
//!
//! A frame step is a change of the scene if
//! * most changed pixels changed the same way (all brighter or all darker) over a large part of the picture: a light; or
//! * most of the picture has come to differ from the background within half a second, and now holds still: whatever
//!   moves fills a picture slowly, or does not hold still. So leaves that swing over 90 % of it are motion.
//!
//! The first frame of a large jump is held back (no mask) until the next one tells which it is.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::Stamp;

use crate::kernel::Counts;

/// Share of the picture that must get brighter or darker from one frame to the next to be a light. In the six SBI2015
/// sequences at hand, things that move reach 0.86 of the picture, but only with the signs mixed (below).
const LIGHT_SHARE: f32 = 0.4;
/// `|brighter - darker| / (brighter + darker)` from which the change has one sign. Gains of 0.55 and 1.8 give 0.90 to
/// 1.00 on those sequences, moving things at most 0.44.
const LIGHT_COHERENCE: f32 = 0.85;
/// Share of the picture that must differ from the background and yet hold still.
const STEP_SHARE: f32 = 0.6;
/// By how much that share must have grown within [`HISTORY`]. A person who walks up to the camera takes longer.
const STEP_RISE: f32 = 0.4;
/// Rise of the share in one frame that holds the frame back.
const JUMP: f32 = 0.35;
/// Frames over which the rise is measured: half a second at 25 a second.
const HISTORY: usize = 12;
/// Frames during which the picture itself is taken as background: a camera's exposure goes on moving after a step.
const SETTLE_FRAMES: u32 = 3;
/// Steps closer than this belong to one change: exposure control overshoots and returns, filters click twice.
const ONE_CHANGE: Duration = Duration::from_secs(2);

/// The whole picture changed at once.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SceneStep {
    /// The first frame of the new scene.
    pub at: Stamp,
    /// Share of the picture that changed, 0.0..=1.0.
    pub share: f32,
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The scene is the same.
    Same,
    /// Too large a jump to say: show nothing, learn nothing, ask the next frame.
    Hold,
    /// Take the frame as the new background; report the change if it is a new one.
    Restart(Option<SceneStep>),
}

#[derive(Debug, Default)]
pub(super) struct SceneGuard {
    shares: [f32; HISTORY],
    seen: usize,
    /// When the last step was, also one that belonged to an earlier change.
    stepped: Option<Stamp>,
    settling: u32,
    jumped: Option<Stamp>,
}

impl SceneGuard {
    pub(super) fn step(&mut self, counts: Counts, pixels: usize, at: Stamp) -> Verdict {
        let share_of = |count: usize| count as f32 / pixels.max(1) as f32;
        let (share, steady) = (share_of(counts.raw), share_of(counts.steady));
        let flipped = counts.brighter + counts.darker;
        let coherence = counts.brighter.abs_diff(counts.darker) as f32 / flipped.max(1) as f32;
        let light = share_of(flipped) > LIGHT_SHARE && coherence > LIGHT_COHERENCE;
        let known = self.seen.min(HISTORY);
        let lowest = self.shares[..known].iter().copied().fold(1.0, f32::min);
        let step = steady > STEP_SHARE && share - lowest > STEP_RISE;
        let before = if self.seen == 0 { share } else { self.shares[(self.seen - 1) % HISTORY] };
        self.shares[self.seen % HISTORY] = share;
        self.seen += 1;

        if light || step {
            let first = self.jumped.take().unwrap_or(at);
            let is_new = self.stepped.is_none_or(|last| at.mono - last.mono > ONE_CHANGE);
            self.stepped = Some(at);
            self.settling = SETTLE_FRAMES;
            let changed = if light { share.max(share_of(flipped)) } else { share };
            let report = is_new.then_some(SceneStep { at: first, share: changed });
            return self.restart(report);
        }
        if self.settling > 0 {
            return self.restart(None);
        }
        if share - before > JUMP {
            self.jumped = Some(at);
            return Verdict::Hold;
        }
        self.jumped = None;
        Verdict::Same
    }

    fn restart(&mut self, report: Option<SceneStep>) -> Verdict {
        self.settling = self.settling.saturating_sub(1);
        Verdict::Restart(report)
    }

    /// The background was made anew; `covered` pixels of the picture still differ from it.
    pub(super) fn restarted(&mut self, covered: usize, pixels: usize) {
        self.shares = [covered as f32 / pixels.max(1) as f32; HISTORY];
    }
}
