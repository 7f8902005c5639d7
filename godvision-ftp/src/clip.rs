//! When a clip begins and ends: fragments and motion in, decisions out.
//!
//! [`ClipCutter`] belongs to one camera. It keeps the pre-roll, opens a clip when something moves (or at once, when told
//! to record always), and closes it when nothing has moved for the post-roll. What it promises, and the property tests
//! hold it to:
//!
//! * no fragment stands in two clips, and clips come in the order of the stream;
//! * from the pre-roll before the motion to the post-roll after it every fragment that came is recorded;
//! * a clip is cut at a key frame, and the next one begins with the very next fragment;
//! * a clip holds one session and one format; a gap inside a session is written down as a [`Gap`].
//!
//! Time is the capture time of the fragments, on the monotonic timeline.
//!
//! **Never:** files, clocks, names of files, decisions about space.

use std::sync::Arc;
use std::time::Duration;

use godvision_core::signal::media::{Fragment, FrameKind, InitSegment, TICKS_PER_SECOND};
use godvision_core::signal::seen::{Motion, MotionPhase};
use godvision_core::{MonoTime, Name, Stamp};

use crate::preroll::{Preroll, PrerollLimits, continues};

/// When a camera is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecordMode {
    /// Not at all.
    Off,
    /// While something moves, with pre-roll and post-roll.
    #[default]
    OnMotion,
    /// Always, in clips of the greatest length.
    Always,
}

/// How clips are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipOptions {
    /// What is kept of the time before the motion.
    pub pre_roll: Duration,
    /// How long the clip goes on after the last motion.
    pub post_roll: Duration,
    /// A clip is at least so long.
    pub length_min: Duration,
    /// A longer clip is split at the next key frame. If none comes for [`ClipOptions::HARD_FACTOR`] times this, it is
    /// split between two other frames.
    pub length_max: Duration,
    /// How late the detector may report a motion without shortening the pre-roll.
    pub detection_delay_max: Duration,
    /// A motion that was last heard of so long ago has ended: its detector was lost.
    pub motion_silence_max: Duration,
    /// A clip whose stream has been silent so long is closed.
    pub stream_silence_max: Duration,
    /// Most memory of the pre-roll.
    pub preroll_bytes_max: usize,
}

impl ClipOptions {
    /// A clip never grows beyond this many times [`ClipOptions::length_max`], key frame or not.
    pub const HARD_FACTOR: u32 = 4;
}

impl Default for ClipOptions {
    fn default() -> Self {
        Self {
            pre_roll: Duration::from_secs(5),
            post_roll: Duration::from_secs(5),
            length_min: Duration::from_secs(1),
            length_max: Duration::from_secs(300),
            detection_delay_max: Duration::from_secs(2),
            motion_silence_max: Duration::from_secs(60),
            stream_silence_max: Duration::from_secs(10),
            preroll_bytes_max: PrerollLimits::BYTES_MAX_DEFAULT,
        }
    }
}

/// Why a clip was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenReason {
    /// Something moved.
    Motion {
        /// The detector's number of the motion.
        event: u64,
    },
    /// The camera is recorded always.
    Continuous,
    /// The clip before it was cut here (by its length, a new session or format, or a failed disk); the same motion or
    /// recording goes on. After a cut by length nothing is missing between the two.
    Continuation,
}

/// Why a clip was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Nothing has moved for the post-roll.
    Quiet,
    /// It was as long as allowed; the next clip goes on.
    Length,
    /// The camera was lost and came back.
    SessionChanged,
    /// The camera changed its format.
    FormatChanged,
    /// The stream was silent for too long.
    StreamLost,
    /// Recording was switched off, or the program stops.
    Stopped,
    /// It could not be written any further.
    StorageFailed,
    /// The program or the computer stopped in the middle; this is what could be saved.
    Recovered,
}

/// Frames missing inside a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first frame after the gap.
    pub at: Stamp,
    /// Its sequence.
    pub sequence: u64,
    /// Frames that never came here.
    pub frames: u64,
    /// RTP packets the camera side reported lost just before it.
    pub packets: u32,
}

/// A motion inside a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MotionMark {
    /// The detector's number of the motion.
    pub event: u64,
    /// The first frame that moved.
    pub started: Stamp,
    /// The frame it was last seen in.
    pub ended: Stamp,
}

/// What is known of a clip, growing while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipSummary {
    /// The camera component.
    pub camera: Name,
    /// The head of its stream.
    pub init: Arc<InitSegment>,
    /// Why it was opened.
    pub opened_by: OpenReason,
    /// Why it was closed, once it is.
    pub closed_by: Option<CloseReason>,
    /// Capture time of the first frame.
    pub started: Stamp,
    /// Capture time of the last frame.
    pub ended: Stamp,
    /// Frames.
    pub frames: u64,
    /// Bytes of the fragments.
    pub bytes: u64,
    /// Length of the stream, gaps included.
    pub length_ticks: u64,
    /// Session of its frames.
    pub session: u32,
    /// Sequence of the first frame.
    pub first_sequence: u64,
    /// Sequence of the last frame.
    pub last_sequence: u64,
    /// Whether its first frame can be decoded on its own; false only after a split without a key frame in sight.
    pub starts_at_key: bool,
    /// Frames before it that should have been recorded but could not be written.
    pub unrecorded_before: u64,
    /// Frames missing inside, the first [`ClipSummary::GAPS_MAX`].
    pub gaps: Vec<Gap>,
    /// Further gaps.
    pub gaps_more: u64,
    /// Motions inside, the first [`ClipSummary::MOTIONS_MAX`].
    pub motions: Vec<MotionMark>,
}

impl ClipSummary {
    /// Gaps listed one by one.
    pub const GAPS_MAX: usize = 256;
    /// Motions listed one by one.
    pub const MOTIONS_MAX: usize = 256;

    /// How long it plays.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.length_ticks.saturating_mul(1_000_000_000) / u64::from(TICKS_PER_SECOND))
    }

    fn new(first: &Fragment, opened_by: OpenReason, unrecorded_before: u64) -> Self {
        Self {
            camera: first.source.clone(),
            init: first.init.clone(),
            opened_by,
            closed_by: None,
            started: first.at,
            ended: first.at,
            frames: 0,
            bytes: 0,
            length_ticks: 0,
            session: first.session,
            first_sequence: first.sequence,
            last_sequence: first.sequence,
            starts_at_key: first.kind == FrameKind::Key,
            unrecorded_before,
            gaps: Vec::new(),
            gaps_more: 0,
            motions: Vec::new(),
        }
    }

    /// Takes note of a fragment; `first_ticks` is the decode time of the clip's first.
    pub(crate) fn note(&mut self, fragment: &Fragment, first_ticks: u64) {
        let missing = fragment.sequence.saturating_sub(self.last_sequence.saturating_add(u64::from(self.frames > 0)));
        if (missing > 0 || fragment.lost_before > 0) && self.frames > 0 {
            let gap =
                Gap { at: fragment.at, sequence: fragment.sequence, frames: missing, packets: fragment.lost_before };
            if self.gaps.len() < Self::GAPS_MAX {
                self.gaps.push(gap);
            } else {
                self.gaps_more += 1;
            }
        }
        self.frames += 1;
        self.bytes += fragment.wire_bytes() as u64;
        self.last_sequence = fragment.sequence;
        self.ended = fragment.at;
        self.length_ticks =
            fragment.decode_ticks.saturating_sub(first_ticks).saturating_add(u64::from(fragment.duration_ticks));
    }

    fn mark(&mut self, motion: &Active) {
        let mark = MotionMark { event: motion.event, started: motion.started, ended: motion.seen };
        if let Some(known) = self.motions.iter_mut().find(|known| known.event == motion.event) {
            *known = mark;
        } else if self.motions.len() < Self::MOTIONS_MAX {
            self.motions.push(mark);
        }
    }
}

/// What to do with the files of a camera, in this order.
#[derive(Clone, Debug)]
pub enum ClipAction {
    /// Begin a file. Its first fragment follows at once.
    Open(Box<ClipSummary>),
    /// Write a fragment to it.
    Append(Fragment),
    /// It is complete.
    Close(Box<ClipSummary>),
}

#[derive(Clone, Copy, Debug)]
struct Active {
    event: u64,
    started: Stamp,
    seen: Stamp,
}

#[derive(Debug)]
struct Open {
    summary: ClipSummary,
    first_ticks: u64,
    last: Fragment,
}

/// Cuts one camera's stream into clips.
#[derive(Debug)]
pub struct ClipCutter {
    options: ClipOptions,
    mode: RecordMode,
    preroll: Preroll,
    open: Option<Open>,
    /// Motions that have not ended, oldest first.
    active: Vec<Active>,
    /// The last frame in which anything moved.
    moved: Option<MonoTime>,
    /// A motion that asks for a clip while there is no key frame to begin it with.
    asked: Option<Active>,
    unrecorded: u64,
    repeated: u64,
}

/// Motions followed at once; a detector has one at a time.
const ACTIVE_MAX: usize = 16;

impl ClipCutter {
    /// A cutter with an empty pre-roll.
    pub fn new(options: ClipOptions, mode: RecordMode) -> Self {
        let limits = PrerollLimits {
            span: options.pre_roll + options.detection_delay_max,
            bytes_max: options.preroll_bytes_max,
        };
        Self {
            options,
            mode,
            preroll: Preroll::new(limits),
            open: None,
            active: Vec::new(),
            moved: None,
            asked: None,
            unrecorded: 0,
            repeated: 0,
        }
    }

    /// The clip that is open.
    pub fn current(&self) -> Option<&ClipSummary> {
        self.open.as_ref().map(|open| &open.summary)
    }

    /// When it records.
    pub fn mode(&self) -> RecordMode {
        self.mode
    }

    /// The pre-roll it holds.
    pub fn preroll(&self) -> &Preroll {
        &self.preroll
    }

    /// Fragments that came twice and were recorded once.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Takes the next fragment of the stream.
    pub fn fragment(&mut self, fragment: Fragment, actions: &mut Vec<ClipAction>) {
        let now = fragment.at.mono;
        self.forget_silent(now);
        if let Some(open) = &self.open {
            let last = &open.last;
            if last.session == fragment.session && last.sequence == fragment.sequence {
                self.repeated += 1;
                return;
            }
            if !continues(last, &fragment) {
                let same_format = Arc::ptr_eq(&last.init, &fragment.init) || last.init == fragment.init;
                self.close(if same_format { CloseReason::SessionChanged } else { CloseReason::FormatChanged }, actions);
            }
        }
        match &self.open {
            None => {
                self.preroll.push(fragment);
                self.open_if_wanted(now, actions);
            }
            Some(open) => {
                let length = now.since(open.summary.started.mono);
                let is_key = fragment.kind == FrameKind::Key;
                if is_key && !self.is_wanted(now) {
                    self.close(CloseReason::Quiet, actions);
                    self.preroll.push(fragment);
                } else if (is_key && length >= self.options.length_max)
                    || length >= self.options.length_max * ClipOptions::HARD_FACTOR
                {
                    self.close(CloseReason::Length, actions);
                    self.begin(OpenReason::Continuation, [fragment], actions);
                } else {
                    self.append(fragment, actions);
                }
            }
        }
    }

    /// Takes what the detector says about this camera.
    pub fn motion(&mut self, motion: &Motion, actions: &mut Vec<ClipAction>) {
        let known = self.active.iter().position(|active| active.event == motion.event);
        if known.is_none() && motion.phase == MotionPhase::Ended {
            return;
        }
        let mut active = match known {
            Some(index) => self.active.remove(index),
            None => Active { event: motion.event, started: motion.at, seen: motion.at },
        };
        if motion.at.mono >= active.seen.mono {
            active.seen = motion.at;
        }
        self.moved = self.moved.max(Some(active.seen.mono));
        if let Some(open) = &mut self.open {
            open.summary.mark(&active);
        }
        if motion.phase != MotionPhase::Ended {
            if self.active.len() == ACTIVE_MAX {
                self.active.remove(0);
            }
            self.active.push(active);
        }
        // A motion reported too late for the post-roll still gets its clip, from what the pre-roll has of it.
        if self.mode == RecordMode::OnMotion && self.open.is_none() && known.is_none() {
            self.asked = Some(active);
        }
        self.open_if_wanted(motion.at.mono, actions);
    }

    /// Switches recording; takes effect at once.
    pub fn set_mode(&mut self, mode: RecordMode, actions: &mut Vec<ClipAction>) {
        self.mode = mode;
        if mode == RecordMode::Off {
            self.asked = None;
            self.close(CloseReason::Stopped, actions);
        } else if let Some(now) = self.preroll.end() {
            self.open_if_wanted(now, actions);
        }
    }

    /// Says what time it is, for the stream may have fallen silent. Once a second is enough.
    pub fn tick(&mut self, now: MonoTime, actions: &mut Vec<ClipAction>) {
        let silent = |open: &Open| now.since(open.last.at.mono) > self.options.stream_silence_max;
        if self.open.as_ref().is_some_and(silent) {
            self.close(CloseReason::StreamLost, actions);
        }
    }

    /// Closes the clip that is open: the program stops.
    pub fn finish(&mut self, actions: &mut Vec<ClipAction>) {
        self.close(CloseReason::Stopped, actions);
    }

    /// The file of the open clip cannot be written: it is given up, and the next key frame begins another one.
    /// `frames` of it were not kept.
    pub fn storage_failed(&mut self, frames: u64) {
        self.open = None;
        self.unrecorded += frames;
    }

    fn forget_silent(&mut self, now: MonoTime) {
        let silence = self.options.motion_silence_max;
        self.active.retain(|active| now.since(active.seen.mono) <= silence);
    }

    fn is_wanted(&self, now: MonoTime) -> bool {
        let short = self.current().is_some_and(|clip| now.since(clip.started.mono) < self.options.length_min);
        match self.mode {
            RecordMode::Off => false,
            RecordMode::Always => true,
            RecordMode::OnMotion => {
                short
                    || !self.active.is_empty()
                    || self.moved.is_some_and(|moved| now.since(moved) < self.options.post_roll)
            }
        }
    }

    fn open_if_wanted(&mut self, now: MonoTime, actions: &mut Vec<ClipAction>) {
        if self.open.is_some() || self.preroll.is_empty() {
            return;
        }
        let post_roll = self.options.post_roll;
        let asked = self.asked.take().filter(|asked| now.since(asked.seen.mono) < post_roll || !self.active.is_empty());
        let (reason, from) = match (self.mode, &asked) {
            (RecordMode::Off, _) => return,
            (RecordMode::Always, _) => (OpenReason::Continuous, MonoTime::ZERO),
            (RecordMode::OnMotion, Some(asked)) => (OpenReason::Motion { event: asked.event }, asked.started.mono),
            (RecordMode::OnMotion, None) if self.is_wanted(now) => (OpenReason::Continuation, MonoTime::ZERO),
            (RecordMode::OnMotion, None) => return,
        };
        let kept = self.preroll.take_from(from.saturating_sub(self.options.pre_roll));
        self.begin(reason, kept, actions);
        if let (Some(asked), Some(open)) = (asked, &mut self.open) {
            open.summary.mark(&asked);
        }
    }

    fn begin(
        &mut self,
        reason: OpenReason,
        fragments: impl IntoIterator<Item = Fragment>,
        actions: &mut Vec<ClipAction>,
    ) {
        let mut fragments = fragments.into_iter();
        let Some(first) = fragments.next() else { return };
        let mut summary = ClipSummary::new(&first, reason, std::mem::take(&mut self.unrecorded));
        actions.push(ClipAction::Open(Box::new(summary.clone())));
        for active in &self.active {
            summary.mark(active);
        }
        self.open = Some(Open { summary, first_ticks: first.decode_ticks, last: first.clone() });
        self.append(first, actions);
        for fragment in fragments {
            self.append(fragment, actions);
        }
    }

    fn append(&mut self, fragment: Fragment, actions: &mut Vec<ClipAction>) {
        if let Some(open) = &mut self.open {
            open.summary.note(&fragment, open.first_ticks);
            open.last = fragment.clone();
            actions.push(ClipAction::Append(fragment));
        }
    }

    fn close(&mut self, reason: CloseReason, actions: &mut Vec<ClipAction>) {
        if let Some(mut open) = self.open.take() {
            open.summary.closed_by = Some(reason);
            actions.push(ClipAction::Close(Box::new(open.summary)));
        }
    }
}
