//! QR codes held up to a camera: where to look, with which engine, and when a text counts as new.
//!
//! A door camera shows the same place all day, and for a few seconds somebody holds a code up to it. So the reader looks
//! first where a code was a moment ago and at what moves, then at the whole picture, with the engine that is best and
//! quickest. The other engines are asked about what that one saw but could not read, and only in a picture that is about
//! the sharpest of the last second: a hand that moves now will rest soon, and nothing is won by working on its blur. Work
//! for a picture is bounded. A text that stays in view is reported once.
//!
//! **Never:** other bar codes, what a text means, threads, clocks.

#![forbid(unsafe_code)]

mod engine;
#[cfg(feature = "rxing")]
mod finder;
#[cfg(feature = "rxing")]
mod grid;
#[cfg(feature = "rxing")]
mod lattice;
#[cfg(feature = "rxing")]
mod levels;

use std::time::Duration;

use godvision_core::signal::seen::Region;
use godvision_core::{MonoTime, Secret, Stamp};

#[cfg(feature = "rqrr")]
pub use engine::Rqrr;
#[cfg(feature = "rxing")]
pub use engine::Rxing;
pub use engine::{ENGINE_PANICS_MAX, QR_CODES_MAX, QR_TEXT_MAX, QrCode, QrDecoder, engines};
#[cfg(feature = "rxing")]
pub use lattice::Lattice;

use crate::plane::LumaView;
use engine::Contained;

/// Most texts remembered; the one not seen for longest is forgotten first.
pub const TEXTS_REMEMBERED: usize = 64;

/// Most places looked at before the whole picture.
pub const PLACES_MAX: usize = 6;

/// How long after a code was read its place is looked at first.
const PLACE_KEPT: Duration = Duration::from_secs(2);

/// Places smaller than this are enlarged to it: the smallest code a door camera reads is about 100 pixels wide.
const PLACE_SIDE_MIN: usize = 160;

/// Over how long the sharpest picture of a burst is looked for: as long as a hand takes to come to rest.
const BURST: Duration = Duration::from_secs(1);

/// How near to the sharpest of its burst a picture must come to be worth a second opinion.
const SHARP_ENOUGH: f32 = 0.85;

/// How often the whole of a large picture is shown to the other engines, which take two to six times as long and seldom see
/// a code there that the first one did not.
const SECOND_LOOK_EVERY: Duration = Duration::from_millis(500);

/// What an owner may set of a [`QrReader`]. Start from `QrOptions::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QrOptions {
    /// A text is reported again only after it was out of sight for so long; by default 5 s.
    pub again_after: Duration,
    /// Most work for one picture, in pixels looked at by the fastest engine; a costlier engine uses more. By default
    /// 14,000,000: about 20 ms, enough for a 1080p picture and two further opinions on it.
    pub work_max: u64,
    /// Whether the whole picture is looked at when the places that moved showed nothing.
    pub whole: bool,
}

impl Default for QrOptions {
    fn default() -> Self {
        Self { again_after: Duration::from_secs(5), work_max: 14_000_000, whole: true }
    }
}

/// A code in a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QrSighting {
    /// What it says.
    pub text: Secret,
    /// Where it is.
    pub region: Region,
    /// False while the same text is still being held up.
    pub is_new: bool,
}

#[derive(Debug)]
struct Known {
    text: Secret,
    seen: MonoTime,
    bounds: [usize; 4],
}

/// Reads the QR codes in the pictures of one camera.
#[derive(Debug)]
pub struct QrReader {
    options: QrOptions,
    engines: Vec<Contained>,
    known: Vec<Known>,
    enlarged: Vec<u8>,
    burst: Option<Burst>,
    second_look: Option<MonoTime>,
}

/// The sharpest that a place was in the last [`BURST`].
#[derive(Clone, Copy, Debug)]
struct Burst {
    since: MonoTime,
    sharpest: f32,
}

impl QrReader {
    /// A reader with the [`engines`] of this build.
    pub fn new(options: QrOptions) -> Self {
        Self::with_engines(options, engines())
    }

    /// A reader with engines of your own, the best first.
    pub fn with_engines(options: QrOptions, engines: Vec<Box<dyn QrDecoder>>) -> Self {
        let engines = engines.into_iter().map(Contained::new).collect();
        Self { options, engines, known: Vec::new(), enlarged: Vec::new(), burst: None, second_look: None }
    }

    /// Forgets what it saw, as if it were new, and keeps its buffers: the next picture is of another place.
    pub fn forget(&mut self) {
        self.known.clear();
        (self.burst, self.second_look) = (None, None);
    }

    /// Panics of engines so far, all of them contained.
    pub fn panics(&self) -> u32 {
        self.engines.iter().map(|engine| engine.panics).sum()
    }

    /// Looks for codes in a picture captured at `at`; `moved` is what moves in it, most promising first (may be empty).
    ///
    /// Gives every code found, also those that have been reported already. Allocates; takes 1 to 20 ms for 1080p, 3 ms
    /// in the mean.
    pub fn read(&mut self, luma: LumaView<'_>, at: Stamp, moved: &[Region]) -> Vec<QrSighting> {
        let mut work = Work(self.options.work_max);
        let mut found = self.look(luma, at.mono, moved, &mut work);
        found.sort_by_key(|code| code.bounds);
        let mut sightings: Vec<QrSighting> = Vec::new();
        for code in found {
            if sightings.iter().any(|sighting| sighting.text.same_as(&code.text)) {
                continue;
            }
            let region = Region::from_pixels(code.bounds, luma.width(), luma.height());
            let is_new = self.remember(&code, at.mono);
            sightings.push(QrSighting { text: code.text, region, is_new });
        }
        sightings
    }

    /// Looks ever harder until something is found or the work is used up.
    fn look(&mut self, luma: LumaView<'_>, now: MonoTime, moved: &[Region], work: &mut Work) -> Vec<QrCode> {
        let places = self.places(luma, now, moved);
        let whole = [[0, 0, luma.width(), luma.height()]];
        let whole: &[[usize; 4]] = if self.options.whole { &whole } else { &[] };
        let mut suspects = Vec::new();
        for places in [places.as_slice(), whole] {
            let found = self.look_at_all(0, Scale::Plain, luma, places, work, &mut suspects);
            if !found.is_empty() {
                return found;
            }
        }
        let mut suspects: Vec<_> = suspects.iter().map(|&place| widened(place, luma.width(), luma.height())).collect();
        if !self.is_sharp_enough(luma, now, &suspects) {
            return Vec::new();
        }
        suspects.extend_from_slice(&places);
        suspects.truncate(PLACES_MAX);
        let pixels = (luma.width() * luma.height()) as u64;
        let is_due = self.second_look.is_none_or(|last| now - last >= SECOND_LOOK_EVERY);
        let whole = if is_due || pixels <= SMALL_PICTURE { whole } else { &[] };
        let mut ignored = Vec::new();
        for (scale, places) in [(Scale::Plain, suspects.as_slice()), (Scale::Plain, whole), (Scale::Twice, &suspects)] {
            for engine in 1..self.engines.len() {
                let found = self.look_at_all(engine, scale, luma, places, work, &mut ignored);
                if !found.is_empty() {
                    return found;
                }
            }
        }
        if is_due && !whole.is_empty() {
            self.second_look = Some(now);
        }
        Vec::new()
    }

    fn look_at_all(
        &mut self,
        engine: usize,
        scale: Scale,
        luma: LumaView<'_>,
        places: &[[usize; 4]],
        work: &mut Work,
        suspects: &mut Vec<[usize; 4]>,
    ) -> Vec<QrCode> {
        let mut found: Vec<QrCode> = Vec::new();
        for &place in places {
            found.extend(self.look_at(engine, scale, luma, place, work, suspects));
        }
        found.truncate(QR_CODES_MAX);
        found
    }

    /// Whether the suspects are about as sharp as they were at any time in the last second. Without suspects there is
    /// nothing to wait for.
    fn is_sharp_enough(&mut self, luma: LumaView<'_>, now: MonoTime, suspects: &[[usize; 4]]) -> bool {
        let Some(&place) = suspects.first() else {
            self.burst = None;
            return true;
        };
        let sharpness = luma.crop(place).map_or(0.0, sharpness);
        let sharpest = self.burst.filter(|burst| now - burst.since < BURST);
        if sharpest.is_none_or(|burst| sharpness >= burst.sharpest) {
            self.burst = Some(Burst { since: now, sharpest: sharpness });
        }
        sharpest.is_none_or(|burst| sharpness >= burst.sharpest * SHARP_ENOUGH)
    }

    /// Where to look before the whole picture.
    fn places(&self, luma: LumaView<'_>, now: MonoTime, moved: &[Region]) -> Vec<[usize; 4]> {
        let (width, height) = (luma.width(), luma.height());
        let recent = self.known.iter().filter(|known| now - known.seen <= PLACE_KEPT);
        let recent = recent.map(|known| known.bounds);
        let moved = moved.iter().map(|region| region.to_pixels(width, height));
        let mut places: Vec<[usize; 4]> = Vec::new();
        for bounds in recent.chain(moved) {
            let place = widened(bounds, width, height);
            let covered = places.iter().any(|[left, top, right, bottom]| {
                place[0] >= *left && place[1] >= *top && place[2] <= *right && place[3] <= *bottom
            });
            // A place of nearly the whole picture is the whole picture, which comes later anyway.
            let large = (place[2] - place[0]) * (place[3] - place[1]) * 4 > width * height * 3;
            if !covered && !large && place[0] < place[2] && place[1] < place[3] {
                places.push(place);
            }
        }
        places.truncate(PLACES_MAX);
        places
    }

    fn look_at(
        &mut self,
        engine: usize,
        scale: Scale,
        luma: LumaView<'_>,
        place: [usize; 4],
        work: &mut Work,
        suspects: &mut Vec<[usize; 4]>,
    ) -> Vec<QrCode> {
        let (Some(view), Some(engine)) = (luma.crop(place), self.engines.get_mut(engine)) else { return Vec::new() };
        let cost = match scale {
            Scale::Plain => engine.cost(),
            Scale::Twice => engine.cost() * ENLARGED_COST,
        };
        if !engine.is_trusted() || !work.take(&view, cost) {
            return Vec::new();
        }
        let (mut found, by) = match scale {
            Scale::Plain => {
                let found = engine.decode(view);
                let [left, top, ..] = place;
                suspects.extend(engine.suspects(view).map(|[l, t, r, b]| [l + left, t + top, r + left, b + top]));
                (found, 1)
            }
            Scale::Twice => {
                enlarge(view, &mut self.enlarged);
                let (width, height) = (view.width() * 2, view.height() * 2);
                let Ok(twice) = LumaView::new(&self.enlarged, width, height, width) else { return Vec::new() };
                (engine.decode(twice), 2)
            }
        };
        for code in &mut found {
            let [left, top, right, bottom] = code.bounds;
            code.bounds = [
                left / by + place[0],
                top / by + place[1],
                right.div_ceil(by) + place[0],
                bottom.div_ceil(by) + place[1],
            ];
        }
        found
    }

    /// Notes that `code` was seen; returns whether it is to be reported.
    fn remember(&mut self, code: &QrCode, now: MonoTime) -> bool {
        let again_after = self.options.again_after;
        if let Some(known) = self.known.iter_mut().find(|known| known.text.same_as(&code.text)) {
            let is_new = now - known.seen >= again_after;
            (known.seen, known.bounds) = (now, code.bounds);
            return is_new;
        }
        if self.known.len() >= TEXTS_REMEMBERED {
            let oldest = self.known.iter().enumerate().min_by_key(|(_, known)| known.seen).map(|(i, _)| i);
            oldest.map(|oldest| self.known.swap_remove(oldest));
        }
        self.known.push(Known { text: code.text.clone(), seen: now, bounds: code.bounds });
        true
    }
}

/// How a place is shown to an engine.
#[derive(Clone, Copy, Debug)]
enum Scale {
    Plain,
    /// Drawn twice as large, for engines that want modules of three pixels.
    Twice,
}

/// A pixel drawn twice as large is four to look at and four to make.
const ENLARGED_COST: u32 = 5;

/// A picture of no more pixels is shown to every engine every time: 640x480.
const SMALL_PICTURE: u64 = 640 * 480;

/// Mean difference of pixels side by side.
fn sharpness(view: LumaView<'_>) -> f32 {
    let row = |y: usize| view.row(y).windows(2).map(|pair| u64::from(pair[0].abs_diff(pair[1]))).sum::<u64>();
    let sum: u64 = (0..view.height()).map(row).sum();
    sum as f32 / (view.width() * view.height()) as f32
}

/// Pixels left for this picture.
struct Work(u64);

impl Work {
    fn take(&mut self, view: &LumaView<'_>, cost: u32) -> bool {
        let wanted = (view.width() * view.height()) as u64 * u64::from(cost);
        let granted = wanted <= self.0;
        if granted {
            self.0 -= wanted;
        }
        granted
    }
}

/// A third wider on each side, because what moves is the hand as well and a code needs its quiet zone; at least
/// [`PLACE_SIDE_MIN`]; inside the picture.
fn widened([left, top, right, bottom]: [usize; 4], width: usize, height: usize) -> [usize; 4] {
    let side = |low: usize, high: usize, whole: usize| {
        let length = high.saturating_sub(low);
        let margin = (length / 3).max(PLACE_SIDE_MIN.saturating_sub(length).div_ceil(2));
        (low.saturating_sub(margin), (high + margin).min(whole))
    };
    let ((left, right), (top, bottom)) = (side(left, right, width), side(top, bottom, height));
    [left, top, right, bottom]
}

/// `view` twice as large, each new pixel the mean of its two or four neighbours.
fn enlarge(view: LumaView<'_>, out: &mut Vec<u8>) {
    out.clear();
    for y in 0..view.height() {
        let (here, below) = (view.row(y), view.row((y + 1).min(view.height() - 1)));
        for blend in [false, true] {
            let at = |x: usize| {
                let x = x.min(here.len() - 1);
                if blend { (u16::from(here[x]) + u16::from(below[x])) * 2 } else { u16::from(here[x]) * 4 }
            };
            for x in 0..here.len() {
                let (a, b) = (at(x), at(x + 1));
                out.push((a / 4) as u8);
                out.push(((a + b) / 8) as u8);
            }
        }
    }
}
