//! Motion in a fixed camera's picture: a background model, boxes around what differs from it, and events.
//!
//! [`MotionDetector`] takes one luma plane a frame and says what moves. Per frame: reduce to about 480x270
//! ([`BoxDownscale`]), blur 3x3, compare with the background (`model`), rule out a change of the whole scene (`scene`),
//! clean the mask (5x5 median and closing), adapt the model, join the mask to boxes (`blobs`), keep those that are large
//! enough and in a zone (`zone`), and turn frames into events (`event`).
//!
//! Things that came and stopped (a parked car, a person who waits) stay in the mask until they are absorbed, but are not
//! motion: a box counts only while enough of it still changes. If they rest for long enough they are reported as such,
//! absorbed or not (`rest`). What is wrong with the view as a whole is said by `tamper`.
//!
//! **Never:** colour, decoding, threads, clocks, allocation once it runs; what the thing is.

#![forbid(unsafe_code)]

pub(crate) mod blobs;
mod event;
mod gate;
mod mask;
mod model;
mod options;
mod rest;
mod scene;
mod tamper;
mod tones;
mod zone;

use std::time::Duration;

use godvision_core::Stamp;
use godvision_core::signal::seen::Region;

pub use event::MotionStep;
pub use gate::{GateOptions, GateVerdict, PacketGate};
pub use mask::MaskView;
pub use options::{MotionOptions, Sensitivity};
pub use rest::{RestStep, THINGS_MAX};
pub use scene::SceneStep;
pub use tamper::TamperStep;
pub use zone::{CORNERS_MAX, ZONE_NAME_MAX, ZONES_MAX, Zone, ZoneKind};

use crate::error::Error;
use crate::plane::{BoxDownscale, LumaView};
use blobs::Blobs;
use event::Hysteresis;
use mask::Layout;
use model::{Model, STILL_ABSORB, STILL_FAST};
use rest::Rests;
use scene::{SceneGuard, Verdict};
use tamper::TamperGuard;
use zone::ZoneMap;

/// Most boxes of one frame; the smallest are left out.
pub const BOXES_MAX: usize = 16;

/// A pause in the pictures after which the background is not believed any more.
const GAP: Duration = Duration::from_secs(10);
/// How long a changed pixel must keep its value to be called still. At 25 frames a second 15 frames; mean F over six
/// SBI2015 sequences is flat from 10 to 20 of them.
const STILL_AFTER: Duration = Duration::from_millis(600);
/// Fewest frames of stillness, for slow streams.
const STILL_FRAMES_MIN: u8 = 5;
/// A box moves if at least this part of the smallest area changes: half.
const MOVING_PART: usize = 2;

/// Something that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovingBox {
    /// `[left, top, right, bottom]` in pixels of the full picture; right and bottom exclusive.
    pub pixels: [usize; 4],
    /// The same in thousandths of the picture.
    pub region: Region,
    /// Changed pixels of the working picture inside it.
    pub area: u32,
    zones: u16,
}

/// What one frame showed. Borrows the detector.
#[derive(Clone, Copy, Debug)]
pub struct MotionReport<'a> {
    detector: &'a MotionDetector,
    /// A step of an event, if this frame is one.
    pub step: Option<MotionStep>,
    /// The scene changed as a whole; nothing of it counts as motion.
    pub scene: Option<SceneStep>,
    /// The view was spoilt with this frame, or is good again.
    pub tamper: Option<TamperStep>,
}

impl<'a> MotionReport<'a> {
    /// Every thing left or taken that is reported in this frame, hidden or not, and those over with it; at most
    /// [`THINGS_MAX`].
    pub fn rests(&self) -> &'a [RestStep] {
        self.detector.rests.steps()
    }

    /// Names of the watched zones that a thing of [`MotionReport::rests`] touches, in the order of the options.
    pub fn rest_zones(&self, thing: &RestStep) -> impl Iterator<Item = &'a str> {
        self.detector.zones.names(thing.zones)
    }

    /// What moves in this frame, largest first, at most [`BOXES_MAX`]; whether or not it is an event yet.
    pub fn boxes(&self) -> &'a [MovingBox] {
        &self.detector.boxes
    }

    /// Share of the watched area that moves, 0.0..=1.0.
    pub fn share(&self) -> f32 {
        self.detector.share
    }

    /// Names of the watched zones that the boxes touch, in the order of the options.
    pub fn zones(&self) -> impl Iterator<Item = &'a str> {
        let touched = self.detector.boxes.iter().fold(0, |bits, found| bits | found.zones);
        self.detector.zones.names(touched)
    }

    /// What differs from the background, zones and sizes not yet considered.
    pub fn mask(&self) -> MaskView<'a> {
        self.detector.mask()
    }
}

/// Finds what moves in the pictures of one fixed camera.
///
/// Holds about 3 MB for 1080p. A step reads the picture once and allocates nothing.
#[derive(Debug)]
pub struct MotionDetector {
    downscale: BoxDownscale,
    small: Vec<u8>,
    model: Model,
    guard: SceneGuard,
    blobs: Blobs,
    tallies: Vec<Tally>,
    boxes: Vec<MovingBox>,
    share: f32,
    zones: ZoneMap,
    rests: Rests,
    tamper: TamperGuard,
    events: Hysteresis,
    scale: Scale,
    area_min: usize,
    clock: FrameClock,
}

/// The working picture beside the full one.
#[derive(Clone, Copy, Debug)]
struct Scale {
    layout: Layout,
    factor: usize,
    /// Width and height of the full picture.
    full: (usize, usize),
}

impl Scale {
    /// `[left, top, right, bottom]` of the working picture in pixels of the full one, and in thousandths.
    fn full(&self, bounds: [u16; 4]) -> ([usize; 4], Region) {
        let [left, top, right, bottom] = bounds.map(usize::from);
        let (full_width, full_height) = self.full;
        // The last box of a row also stands for the columns that did not fill one.
        let right = if right == self.layout.width { full_width } else { right * self.factor };
        let bottom = if bottom == self.layout.height { full_height } else { bottom * self.factor };
        let pixels = [left * self.factor, top * self.factor, right, bottom];
        (pixels, Region::from_pixels(pixels, full_width, full_height))
    }
}

/// What is counted of a blob besides its area.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Watched pixels.
    watched: u32,
    /// Of those, such as are not still.
    moving: u32,
    zones: u16,
}

impl MotionDetector {
    /// A detector for pictures of `width` x `height`. All its memory is allocated here.
    ///
    /// # Errors
    /// [`Error::UnsupportedSize`], [`Error::BadOption`].
    pub fn new(options: MotionOptions, width: usize, height: usize) -> Result<Self, Error> {
        options.check()?;
        let downscale = BoxDownscale::new(width, height)?;
        let (small_width, small_height) = (downscale.out_width(), downscale.out_height());
        let layout = Layout::new(small_width, small_height);
        let zones = ZoneMap::new(&options.zones, layout);
        let pixels = layout.pixels();
        let area_min = (pixels * options.sensitivity.area_per_100k() / 100_000).max(4);
        let scale = Scale { layout, factor: downscale.factor(), full: (width, height) };
        Ok(Self {
            small: vec![0; pixels],
            model: Model::new(layout, options.sensitivity.threshold_floor()),
            guard: SceneGuard::default(),
            blobs: Blobs::new(),
            tallies: Vec::with_capacity(blobs::RUNS_MAX),
            boxes: Vec::with_capacity(blobs::RUNS_MAX),
            share: 0.0,
            zones,
            events: Hysteresis::new(options.start_after, options.quiet_after),
            rests: Rests::new(options.rest_after, area_min, scale),
            tamper: TamperGuard::new(layout),
            scale,
            area_min,
            clock: FrameClock::new(options.absorb_after),
            downscale,
        })
    }

    /// Width and height of the pictures it takes.
    pub fn size(&self) -> (usize, usize) {
        (self.downscale.width(), self.downscale.height())
    }

    /// What differed from the background in the last frame.
    pub fn mask(&self) -> MaskView<'_> {
        MaskView { flags: self.model.mask(), layout: self.scale.layout }
    }

    /// Forgets the background: the next picture starts anew. For a camera that was away or turned. A running event goes
    /// on until its quiet time is over.
    pub fn reset(&mut self) {
        self.clock.last = None;
    }

    /// Takes the next picture, captured at `at`, with its `sequence` number, and says what moves.
    ///
    /// # Errors
    /// [`Error::SizeChanged`] if the picture has another size than the detector was made for.
    pub fn step(&mut self, luma: LumaView<'_>, at: Stamp, sequence: u64) -> Result<MotionReport<'_>, Error> {
        self.downscale.reduce(luma, &mut self.small)?;
        self.model.show(&self.small);
        self.boxes.clear();
        self.share = 0.0;
        if self.clock.tick(at) {
            self.model.restart();
            self.guard = SceneGuard::default();
            self.rests.relearnt(at);
            self.rests.list(at, sequence);
            let tamper = self.tamper.step(self.model.pictures(), at, sequence);
            let step = self.events.step(false, at, sequence);
            return Ok(MotionReport { detector: self, step, scene: None, tamper });
        }
        let counts = self.model.compare();
        let (step, scene) = match self.guard.step(counts, self.small.len(), at) {
            Verdict::Restart(scene) => {
                let (covered, tones) = self.model.relight(!self.rests.is_empty());
                self.guard.restarted(covered, self.small.len());
                self.rests.relit(self.model.pictures()[0], tones.as_ref(), at);
                self.rests.list(at, sequence);
                (self.events.step(false, at, sequence), scene)
            }
            Verdict::Hold => {
                self.model.forget_mask();
                self.rests.list(at, sequence);
                (None, None)
            }
            Verdict::Same => {
                if self.model.learn(self.clock.still_from(), self.clock.slow_tick) {
                    self.rests.look(&self.model.evidence(), &self.zones, at, sequence);
                    self.model.uncover();
                } else {
                    self.rests.list(at, sequence);
                }
                self.find_boxes();
                (self.events.step(!self.boxes.is_empty(), at, sequence), None)
            }
        };
        let tamper = self.tamper.step(self.model.pictures(), at, sequence);
        Ok(MotionReport { detector: self, step, scene, tamper })
    }

    /// Takes a thing of [`MotionReport::rests`] as normal: it becomes background and is reported no more. Gives its last
    /// step, or `None` if no thing of this number is at rest.
    pub fn accept(&mut self, thing: u64, at: Stamp, sequence: u64) -> Option<RestStep> {
        let model = &mut self.model;
        self.rests.accept(thing, at, sequence, |i, value| model.adopt(i, value))
    }

    /// Takes the present view as the right one, after a camera was turned on purpose: what the next frames show is learnt
    /// as the view. Gives the step that ends a running report, if there is one.
    pub fn accept_view(&mut self, at: Stamp, sequence: u64) -> Option<TamperStep> {
        self.tamper.accept(at, sequence)
    }

    /// Ends a running event at once, for a camera that goes away. Gives its last step.
    pub fn cut(&mut self, at: Stamp, sequence: u64) -> Option<MotionStep> {
        self.events.cut(at, sequence)
    }

    fn find_boxes(&mut self) {
        self.blobs.find(self.model.mask(), self.scale.layout.words());
        self.tally();
        let mut moving = 0;
        for (blob, tally) in self.blobs.blobs().iter().zip(&self.tallies) {
            let large = tally.watched as usize >= self.area_min;
            if !large || (tally.moving as usize) < self.area_min.div_ceil(MOVING_PART) {
                continue;
            }
            moving += tally.moving;
            let (pixels, region) = self.scale.full(blob.bounds);
            self.boxes.push(MovingBox { pixels, region, area: blob.area, zones: tally.zones });
        }
        self.boxes.sort_unstable_by_key(|found| std::cmp::Reverse(found.area));
        self.boxes.truncate(BOXES_MAX);
        self.share = moving as f32 / self.zones.watched().max(1) as f32;
    }

    /// Counts watched, moving and zone pixels of each blob.
    fn tally(&mut self) {
        self.tallies.clear();
        self.tallies.resize(self.blobs.blobs().len(), Tally::default());
        let still = self.model.still();
        for run in self.blobs.runs() {
            let start = usize::from(run.y) * self.scale.layout.stride;
            let tally = &mut self.tallies[usize::from(run.blob)];
            mask::for_span(start + usize::from(run.left), start + usize::from(run.right), |word, span| {
                let watched = span & self.zones.watched_word(word);
                tally.watched += watched.count_ones();
                tally.moving += (watched & !still[word]).count_ones();
                tally.zones |= self.zones.touched(word, watched);
            });
        }
    }
}

/// Turns the stamps of frames into what the model counts.
#[derive(Debug)]
struct FrameClock {
    absorb_after: Duration,
    last: Option<Stamp>,
    /// Smoothed time between frames.
    interval: Duration,
    /// Time since the last slow tick.
    since_tick: Duration,
    slow_tick: bool,
}

impl FrameClock {
    fn new(absorb_after: Duration) -> Self {
        // 25 frames a second until the stream shows its own rate.
        Self {
            absorb_after,
            last: None,
            interval: Duration::from_millis(40),
            since_tick: Duration::ZERO,
            slow_tick: false,
        }
    }

    /// Takes a frame's stamp; returns whether the background must start anew.
    fn tick(&mut self, at: Stamp) -> bool {
        let Some(last) = self.last.replace(at) else { return true };
        let passed = at.mono - last.mono;
        if passed > GAP {
            return true;
        }
        self.interval = (self.interval * 7 + passed) / 8;
        self.since_tick += passed;
        // Fast counting has taken the first part of the time; the rest is spread over the counter's remaining range.
        let ticks = u32::from(STILL_ABSORB - STILL_FAST);
        let fast = self.interval.saturating_mul(u32::from(STILL_FAST));
        let every = self.absorb_after.saturating_sub(fast) / ticks;
        self.slow_tick = self.since_tick >= every;
        if self.slow_tick {
            // At slow frame rates several ticks fall due at once; one a frame is counted, so absorbing takes longer.
            self.since_tick = self.since_tick.saturating_sub(every).min(every);
        }
        false
    }

    /// Frames of stillness that make [`STILL_AFTER`].
    fn still_from(&self) -> u8 {
        let frames = STILL_AFTER.as_nanos() / self.interval.as_nanos().max(1);
        frames.clamp(u128::from(STILL_FRAMES_MIN), u128::from(STILL_FAST)) as u8
    }
}
