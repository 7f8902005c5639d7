//! Things left and things taken: what came to rest in the picture, or is missing from it, and has stayed so.
//!
//! A part of the picture that differs from the background and holds still ([`super::model`] finds these) becomes a
//! *candidate*. Its pixels remember two values: what the background showed there before, and what is there now. From then
//! on every pixel is compared with both, so a thing is *there*, *gone* (the old value is back) or *hidden* (neither: somebody
//! stands in front). A candidate that has been there for the rest time is *noticed*, and stays reported until it is gone.
//!
//! Because the two values are kept here, the motion model may take a parked car into its background, so that those who
//! walk past it are boxed alone, and the car is reported all the same for as long as it stands.
//!
//! Left or taken is told by the contour, as for uncovered background: around a thing left the picture has the edge,
//! around a hole the background had it.
//!
//! A person who stands still is a thing at rest only if next to nothing of them moves for the rest time: time in which
//! the surroundings move does not count, and a candidate beside which the background comes to light again (a shifted
//! weight; who walks past only hides) starts anew.
//!
//! **Never:** what the thing is, clocks, allocation once it runs.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::Stamp;
use godvision_core::signal::seen::{Region, RestKind, RestPhase};

use super::blobs::RUNS_MAX;
use super::mask::Layout;
use super::model::Evidence;
use super::zone::ZoneMap;
use super::{Scale, mask, model};
use crate::kernel::{self, Level};

/// Most things and candidates at once; later ones are left out until a place is free.
pub const THINGS_MAX: usize = 32;

/// Smallest part of a picture that is taken up as a candidate, in pixels of the working picture.
const PART_AREA: u32 = 20;
/// A pixel shows a remembered value if it is this near: half as much again as what a still pixel may vary, for the
/// compression's sake.
const ALIKE: u8 = 15;
/// A thing is there if this share of its pixels, in percent, shows it, and gone if half of them show what was before.
const THERE_PERCENT: u32 = 70;
const GONE_PERCENT: u32 = 50;
/// How long it must be gone: longer than a flash of light or a broken frame.
const GONE_AFTER: Duration = Duration::from_secs(1);
/// How long a candidate may be hidden: nobody knows it yet, and who walks past needs a second or two.
const CANDIDATE_HIDDEN: Duration = Duration::from_secs(10);
/// How long a noticed thing may be hidden before it is given up.
const HIDDEN_MAX: Duration = Duration::from_secs(300);
/// Parts that come to rest within this time and this many pixels of each other are one thing.
const JOIN_WITHIN: Duration = Duration::from_secs(3);
const JOIN_REACH: u16 = 6;
/// Time counts as calm while the moving pixels around a candidate are at most a quarter of its own. A standing person's
/// arms and head are more than that.
const CALM_PART: u32 = 4;
const CALM_REACH: u16 = 4;
/// A candidate that uncovers a twentieth of its area between two looks has moved: one pixel in twenty across.
const MOVED_PART: u32 = 20;
/// Something can be missing only where the background has stood for this many rest times: what was learnt lately may have
/// been a person who stood there for a while.
const BACKGROUND_AGE: u32 = 3;
/// The contour's edge in one picture must be this much stronger than in the other.
const EDGE_RATIO: (u64, u64) = (13, 10);

/// A thing at rest in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestStep {
    /// Counts things of this detector from 1; the phases of one thing share it.
    pub thing: u64,
    /// Where it stands. [`RestPhase::Ongoing`] is given with every frame.
    pub phase: RestPhase,
    /// Whether it was left or taken.
    pub kind: RestKind,
    /// When it came to rest, within a second. Its age is `at - since`.
    pub since: Stamp,
    /// This frame.
    pub at: Stamp,
    /// This frame's sequence.
    pub sequence: u64,
    /// Somebody stands in front of it: it is believed to be still there.
    pub is_hidden: bool,
    /// `[left, top, right, bottom]` in pixels of the full picture; right and bottom exclusive.
    pub pixels: [usize; 4],
    /// The same in thousandths of the picture.
    pub region: Region,
    pub(super) zones: u16,
}

#[derive(Clone, Copy, Debug)]
struct Thing {
    /// 0 for a candidate.
    id: u64,
    bounds: [u16; 4],
    area: u32,
    zones: u16,
    since: Stamp,
    calm: Duration,
    /// When it was last there.
    there: Stamp,
    gone: Option<Stamp>,
    is_hidden: bool,
    /// The light changed since, so what the place would show without it is a guess.
    is_relit: bool,
    /// After a change of light: the background, which then had the thing in it, was seen to be uncovered.
    is_uncovered: bool,
    /// Contrast over its contour in the picture and in the background.
    picture: u64,
    model: u64,
}

impl Thing {
    fn kind(&self) -> RestKind {
        if self.picture * EDGE_RATIO.1 > self.model * EDGE_RATIO.0 {
            RestKind::Left
        } else if self.model * EDGE_RATIO.1 > self.picture * EDGE_RATIO.0 {
            RestKind::Taken
        } else {
            RestKind::Unsure
        }
    }

    fn is_near(&self, [left, top, right, bottom]: [u16; 4]) -> bool {
        let [l, t, r, b] = self.bounds;
        left <= r + JOIN_REACH && l <= right + JOIN_REACH && top <= b + JOIN_REACH && t <= bottom + JOIN_REACH
    }

    fn cover(&mut self, [left, top, right, bottom]: [u16; 4]) {
        let [l, t, r, b] = self.bounds;
        self.bounds = [l.min(left), t.min(top), r.max(right), b.max(bottom)];
    }

    fn step(&self, phase: RestPhase, at: Stamp, sequence: u64, scale: &Scale) -> RestStep {
        let (pixels, region) = scale.full(self.bounds);
        let (thing, kind, since, is_hidden, zones) = (self.id, self.kind(), self.since, self.is_hidden, self.zones);
        RestStep { thing, phase, kind, since, at, sequence, is_hidden, pixels, region, zones }
    }
}

/// What a part found this time becomes.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    owned: u32,
    /// Pixels whose background is young.
    young: u32,
    /// The thing that owns the most recently counted pixels, as in [`Rests::owner`].
    owner: u8,
    /// The thing that takes it, as in [`Rests::owner`].
    taker: u8,
}

/// What one look over a thing's pixels found.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    there: u32,
    gone: u32,
    moving: u32,
    released: u32,
}

/// A stamp in whole seconds of the frames' clock, counted from 1.
fn seconds(at: Stamp) -> u32 {
    (at.mono.as_nanos() / 1_000_000_000).saturating_add(1).min(u64::from(u32::MAX)) as u32
}

/// All things at rest in one camera's picture.
#[derive(Debug)]
pub(super) struct Rests {
    rest_after: Duration,
    area_min: u32,
    scale: Scale,
    level: Level,
    /// For every pixel the place in `things` plus one, or 0.
    owner: Vec<u8>,
    /// What the pixel showed before the thing, and with it.
    was: Vec<u8>,
    is: Vec<u8>,
    /// The second, on the frames' clock, in which the background was last seen to be uncovered at the pixel.
    uncovered: Vec<u32>,
    things: [Option<Thing>; THINGS_MAX],
    fates: Vec<Fate>,
    steps: Vec<RestStep>,
    counted: u64,
    /// When the background was made.
    learnt: Option<Stamp>,
    /// The last look.
    looked: Option<Stamp>,
}

impl Rests {
    pub(super) fn new(rest_after: Duration, area_min: usize, scale: Scale) -> Self {
        Self {
            rest_after,
            // A thing that rests is easier to be sure of than one that moves: half the area is enough.
            area_min: (area_min as u32 / 2).max(PART_AREA),
            scale,
            level: Level::detect(),
            owner: scale.layout.plane(),
            was: scale.layout.plane(),
            is: scale.layout.plane(),
            uncovered: scale.layout.plane(),
            things: [None; THINGS_MAX],
            fates: Vec::with_capacity(RUNS_MAX),
            steps: Vec::with_capacity(THINGS_MAX),
            counted: 0,
            learnt: None,
            looked: None,
        }
    }

    /// The noticed things of this frame, and those over with it.
    pub(super) fn steps(&self) -> &[RestStep] {
        &self.steps
    }

    /// The background was made anew. Things stay: what is remembered of them does not stand on it.
    pub(super) fn relearnt(&mut self, at: Stamp) {
        self.learnt = Some(at);
    }

    /// Whether there is neither a thing nor a candidate.
    pub(super) fn is_empty(&self) -> bool {
        self.things.iter().all(Option::is_none)
    }

    /// The light changed: pixels of things keep what they show now as the thing. What was there before has become what `tones`
    /// say, or if nobody knows, keeps its ratio to the thing.
    pub(super) fn relit(&mut self, now: &[u8], tones: Option<&[u8; 256]>, at: Stamp) {
        self.relearnt(at);
        // Of the whole thing: a ratio of single pixels would be mostly noise.
        let mut sums = [(0_u64, 0_u64); THINGS_MAX + 1];
        for ((&owner, &now), &is) in self.owner.iter().zip(now).zip(&self.is) {
            let (before, after) = &mut sums[usize::from(owner)];
            *before += u64::from(is);
            *after += u64::from(now);
        }
        for ((&owner, &now), (was, is)) in self.owner.iter().zip(now).zip(self.was.iter_mut().zip(&mut self.is)) {
            if owner != 0 {
                let (before, after) = sums[usize::from(owner)];
                *was = match tones {
                    Some(tones) => tones[usize::from(*was)],
                    None => (u64::from(*was) * after / before.max(1)).min(255) as u8,
                };
                *is = now;
            }
        }
        self.things.iter_mut().flatten().for_each(|thing| thing.is_relit = true);
    }

    /// Lists the noticed things for a frame that is not looked at.
    pub(super) fn list(&mut self, at: Stamp, sequence: u64) {
        self.steps.clear();
        let noticed = self.things.iter().flatten().filter(|thing| thing.id != 0);
        self.steps.extend(noticed.map(|thing| thing.step(RestPhase::Ongoing, at, sequence, &self.scale)));
    }

    /// Looks at the things at hand and takes up new ones.
    pub(super) fn look(&mut self, evidence: &Evidence<'_>, zones: &ZoneMap, at: Stamp, sequence: u64) {
        let passed = self.looked.replace(at).map_or(Duration::ZERO, |last| at.mono - last.mono);
        self.steps.clear();
        for slot in 0..THINGS_MAX {
            let Some(mut thing) = self.things[slot] else { continue };
            let look = self.compare(slot, &mut thing, evidence);
            self.things[slot] = Some(thing);
            if let Some(phase) = self.judge(slot, look, passed, at)
                && let Some(thing) = &self.things[slot]
            {
                self.steps.push(thing.step(phase, at, sequence, &self.scale));
                if phase == RestPhase::Over {
                    self.release(slot);
                }
            }
        }
        self.take_up(evidence, zones, at);
    }

    /// Compares the pixels of a thing with what they remember. Pixels of a candidate that show the background leave it.
    fn compare(&mut self, slot: usize, thing: &mut Thing, evidence: &Evidence<'_>) -> Look {
        let mut look = Look::default();
        let mark = slot as u8 + 1;
        let Layout { width, height, stride } = self.scale.layout;
        let [left, top, right, bottom] = thing.bounds.map(usize::from);
        // Whole words, for the loop's sake: pixels of other things are told by their owner.
        let words = left / 64 * 64..right.next_multiple_of(64);
        for y in top..bottom {
            let row = y * stride + words.start..y * stride + words.end;
            let [there, gone] = kernel::recall(
                self.level,
                &evidence.now[row.clone()],
                &mut self.owner[row.clone()],
                &mut self.was[row.clone()],
                &mut self.is[row],
                mark,
                ALIKE,
                thing.id == 0,
            );
            look.there += there;
            look.gone += gone;
        }
        if thing.id == 0 {
            look.released = std::mem::take(&mut look.gone);
            thing.area -= look.released;
        }
        let reach = usize::from(CALM_REACH);
        for y in top.saturating_sub(reach)..(bottom + reach).min(height) {
            let row = y * stride + left.saturating_sub(reach)..y * stride + (right + reach).min(width);
            mask::for_span(row.start, row.end, |word, span| {
                look.moving += (evidence.mask[word] & !evidence.still[word] & span).count_ones();
            });
        }
        look
    }

    /// Decides what a look means. A candidate that is none any more is released here.
    fn judge(&mut self, slot: usize, look: Look, passed: Duration, at: Stamp) -> Option<RestPhase> {
        let thing = self.things[slot].as_mut()?;
        let is_there = look.there * 100 >= thing.area * THERE_PERCENT;
        if is_there {
            thing.there = at;
        }
        thing.is_hidden = !is_there;
        let hidden_for = at.mono - thing.there.mono;
        if thing.id == 0 {
            if thing.area < PART_AREA || hidden_for > CANDIDATE_HIDDEN {
                self.release(slot);
                return None;
            }
            if look.released * MOVED_PART > thing.area {
                thing.since = at;
                thing.calm = Duration::ZERO;
            }
            if is_there && look.moving * CALM_PART <= thing.area {
                thing.calm += passed;
            }
            let long = at.mono - thing.since.mono >= self.rest_after && thing.calm >= self.rest_after / 2;
            if !is_there || !long || thing.area < self.area_min {
                return None;
            }
            return self.notice(slot);
        }
        if look.gone * 100 < thing.area * GONE_PERCENT {
            thing.gone = None;
        } else if at.mono - thing.gone.get_or_insert(at).mono >= GONE_AFTER {
            return Some(RestPhase::Over);
        }
        let is_over = hidden_for > HIDDEN_MAX || (thing.is_uncovered && thing.is_hidden);
        Some(if is_over { RestPhase::Over } else { RestPhase::Ongoing })
    }

    /// Gives a candidate its number, or joins it to the thing beside it that came with it.
    fn notice(&mut self, slot: usize) -> Option<RestPhase> {
        let candidate = self.things[slot]?;
        let rest_after = self.rest_after;
        let apart = |thing: &Thing| {
            let (a, b) = (thing.since.mono, candidate.since.mono);
            if a > b { a - b } else { b - a }
        };
        let joins = |thing: &Thing| thing.id != 0 && thing.is_near(candidate.bounds) && apart(thing) < rest_after;
        if let Some(taker) = self.things.iter().position(|thing| thing.as_ref().is_some_and(joins)) {
            self.relabel(slot, candidate.bounds, taker as u8 + 1);
            self.things[slot] = None;
            if let Some(thing) = &mut self.things[taker] {
                thing.cover(candidate.bounds);
                thing.area += candidate.area;
                thing.zones |= candidate.zones;
            }
            return None;
        }
        self.shrink(slot);
        let thing = self.things[slot].as_mut()?;
        self.counted += 1;
        thing.id = self.counted;
        Some(RestPhase::Noticed)
    }

    /// Draws a candidate's bounds around what is left of it.
    fn shrink(&mut self, slot: usize) {
        let Some(thing) = &mut self.things[slot] else { return };
        let [left, top, right, bottom] = thing.bounds;
        let mut bounds = [u16::MAX, u16::MAX, 0, 0];
        for y in top..bottom {
            for x in left..right {
                if self.owner[usize::from(y) * self.scale.layout.stride + usize::from(x)] == slot as u8 + 1 {
                    bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x + 1), y + 1];
                }
            }
        }
        if bounds[2] > 0 {
            thing.bounds = bounds;
        }
    }

    fn release(&mut self, slot: usize) {
        if let Some(thing) = self.things[slot].take() {
            self.relabel(slot, thing.bounds, 0);
        }
    }

    fn relabel(&mut self, slot: usize, [left, top, right, bottom]: [u16; 4], mark: u8) {
        for y in usize::from(top)..usize::from(bottom) {
            let start = y * self.scale.layout.stride;
            for owner in &mut self.owner[start + usize::from(left)..start + usize::from(right)] {
                if *owner == slot as u8 + 1 {
                    *owner = mark;
                }
            }
        }
    }

    /// Makes candidates of still parts that no thing owns.
    fn take_up(&mut self, evidence: &Evidence<'_>, zones: &ZoneMap, at: Stamp) {
        let parts = evidence.parts;
        let stride = self.scale.layout.stride;
        let old = self.rest_after * BACKGROUND_AGE;
        let second = seconds(at);
        let young_from = second.saturating_sub(old.as_secs() as u32);
        self.fates.clear();
        self.fates.resize(parts.blobs().len(), Fate::default());
        for run in parts.runs() {
            let start = usize::from(run.y) * stride;
            let span = start + usize::from(run.left)..start + usize::from(run.right);
            let fate = &mut self.fates[usize::from(run.blob)];
            let part = parts.blobs()[usize::from(run.blob)];
            let is_uncovered = evidence.edges[usize::from(run.blob)].is_uncovered(part.area);
            for (&owner, uncovered) in self.owner[span.clone()].iter().zip(&mut self.uncovered[span]) {
                if owner != 0 {
                    fate.owned += 1;
                    fate.owner = owner;
                }
                fate.young += u32::from(*uncovered > young_from);
                if is_uncovered {
                    *uncovered = second;
                }
            }
        }
        let is_old = self.learnt.is_some_and(|learnt| at.mono - learnt.mono >= old);
        for (index, part) in parts.blobs().iter().enumerate() {
            let (fate, edge) = (self.fates[index], evidence.edges[index]);
            if part.area < PART_AREA {
                continue;
            }
            // What a young background shows may have stood there only by chance when it was made: nothing is missing.
            let is_nothing = edge.is_uncovered(part.area) && (!is_old || fate.young * 2 > part.area);
            if fate.owned * 2 > part.area {
                let slot = usize::from(fate.owner) - 1;
                if is_nothing && self.things[slot].is_some_and(|thing| thing.id == 0) {
                    self.release(slot);
                    continue;
                }
                if let Some(thing) = &mut self.things[usize::from(fate.owner) - 1] {
                    let is_most = fate.owned * 2 > thing.area;
                    thing.is_uncovered |= thing.is_relit
                        && thing.is_hidden
                        && is_most
                        && thing.kind() == RestKind::Left
                        && edge.is_uncovered(part.area);
                    if thing.is_hidden {
                        continue;
                    }
                    thing.picture += edge.picture;
                    thing.model += edge.model;
                }
                continue;
            }
            if is_nothing {
                continue;
            }
            if let Some(slot) = self.place(part.bounds, edge, at) {
                self.fates[index].taker = slot as u8 + 1;
            }
        }
        for run in parts.runs() {
            let taker = self.fates[usize::from(run.blob)].taker;
            let Some(thing) = usize::from(taker).checked_sub(1).and_then(|slot| self.things[slot].as_mut()) else {
                continue;
            };
            let start = usize::from(run.y) * stride + usize::from(run.left);
            let before = thing.area;
            for i in start..start + usize::from(run.right - run.left) {
                let pixel = zones.watched_word(i / 64) & 1 << (i % 64);
                if self.owner[i] == 0 && pixel != 0 {
                    self.owner[i] = taker;
                    self.was[i] = evidence.back[i];
                    self.is[i] = evidence.kept[i];
                    thing.area += 1;
                    thing.zones |= zones.touched(i / 64, pixel);
                }
            }
            if thing.area > before {
                thing.cover([run.left, run.y, run.right, run.y + 1]);
            }
        }
    }

    /// The place for a new part: that of a young candidate beside it, or a free one.
    fn place(&mut self, bounds: [u16; 4], edge: model::Edge, at: Stamp) -> Option<usize> {
        let joins = |thing: &Thing| thing.id == 0 && at.mono - thing.since.mono <= JOIN_WITHIN && thing.is_near(bounds);
        if let Some(slot) = self.things.iter().position(|thing| thing.as_ref().is_some_and(joins)) {
            let thing = self.things[slot].as_mut()?;
            thing.picture += edge.picture;
            thing.model += edge.model;
            return Some(slot);
        }
        let slot = self.things.iter().position(Option::is_none)?;
        self.things[slot] = Some(Thing {
            id: 0,
            bounds,
            area: 0,
            zones: 0,
            since: at,
            calm: Duration::ZERO,
            there: at,
            gone: None,
            is_hidden: false,
            is_relit: false,
            is_uncovered: false,
            picture: edge.picture,
            model: edge.model,
        });
        Some(slot)
    }

    /// Gives up a noticed thing, showing each of its pixels to `learn`. `None` if there is none of this number.
    pub(super) fn accept(
        &mut self,
        thing: u64,
        at: Stamp,
        sequence: u64,
        mut learn: impl FnMut(usize, u8),
    ) -> Option<RestStep> {
        let is_meant = |it: &Option<Thing>| it.is_some_and(|it| it.id == thing && thing != 0);
        let slot = self.things.iter().position(is_meant)?;
        let step = self.things[slot]?.step(RestPhase::Over, at, sequence, &self.scale);
        let pixels = self.owner.iter().zip(&self.is).enumerate();
        pixels.filter(|(_, (owner, _))| **owner == slot as u8 + 1).for_each(|(i, (_, &is))| learn(i, is));
        self.release(slot);
        self.steps.retain(|step| step.thing != thing);
        Some(step)
    }
}
