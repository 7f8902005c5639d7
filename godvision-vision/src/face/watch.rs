//! From pictures of one camera to who is there: [`FaceWatcher`], everything of this room in a row.
//!
//! Find in a reduced picture, join to tracks, then for each face that is shown well enough: turn upright from the full
//! picture, embed, search the gallery, vote, check for life. A face is reported when enough pictures agree who it is, and
//! again when that changes or it has shown that it is alive.
//!
//! Service times on one busy core with AVX-512, least and middle of 40: a 1080p picture without faces 8 and 13 ms (the
//! search at 640x360 is nearly all of it), with one good face 27 and 35 ms; of that, turning upright 0.3 ms, the embedding
//! 14 and 18 ms, the liveness check 2 ms, the gallery far below one.
//!
//! **Never:** a decision what opens; a face without a good picture; a person who was forgotten a moment ago.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use bytes::Bytes;
use godvision_core::signal::media::{Picture, Plane};
use godvision_core::signal::seen::Region;

use super::gallery::Matches;
use super::history::Seen;
use super::identify::{Identifier, IdentifyOptions, Identity};
use super::liveness::{Liveness, LivenessCheck};
use super::memory::FaceMemory;
use super::quality::{Quality, QualityOptions};
use super::search::SearchSpace;
use super::track::FaceTracker;
use super::{Embedding, Face, FaceChip, FaceDetector, FaceEmbedder, SFace, YuNet, YuNetOptions};
use crate::colour::RgbImage;
use crate::error::Error;

/// Most faces of a picture that are embedded, the largest first: at some 20 ms each they are what a crowd costs.
pub const EMBEDDED_MAX: usize = 8;
/// What is cut out around a face to turn it upright, in parts of its size on each side: the chip of a face that leans by 45
/// degrees still lies in it.
const AROUND: f32 = 0.6;

/// How faces are watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchOptions {
    /// What a face must be like.
    pub quality: QualityOptions,
    /// When it is somebody.
    pub identify: IdentifyOptions,
    /// Whether strangers are not grouped, remembered or reported at all.
    pub ignore_strangers: bool,
}

/// Makes the liveness check of a track.
pub type LivenessMaker = Box<dyn Fn() -> Box<dyn LivenessCheck> + Send>;

/// A face to report.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceReport {
    /// Who it is.
    pub identity: Identity,
    /// Whether the liveness check of its track has passed, for the person who is there now.
    pub is_live: bool,
    /// The group of a stranger.
    pub group: Option<u64>,
    /// Similarity to the person; of a stranger, to the nearest known one.
    pub similarity: f32,
    /// The face in the picture's pixels.
    pub face: Face,
    /// Its track, for as long as it is in view.
    pub track: u64,
    /// Where it is.
    pub region: Region,
}

/// The models that a watcher works with.
pub struct FaceModels {
    /// Finds faces.
    pub detector: Box<dyn FaceDetector>,
    /// What the longer side of a picture may be reduced to before it is shown to the detector, pixels.
    pub side: usize,
    /// Tells them apart.
    pub embedder: Box<dyn FaceEmbedder>,
}

impl FaceModels {
    /// The ones in the crate; pictures are searched at `side` pixels, 32 to 4096.
    ///
    /// # Errors
    /// [`Error::BadOption`] for `side`; [`Error::BadWeights`], only if the crate was built with changed files.
    pub fn built_in(side: usize) -> Result<Self, Error> {
        let detector = Box::new(YuNet::new(YuNetOptions { side, ..YuNetOptions::default() })?);
        Ok(Self { detector, side, embedder: Box::new(SFace::new()?) })
    }
}

impl std::fmt::Debug for FaceModels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaceModels").field("embedder", &self.embedder.model()).finish_non_exhaustive()
    }
}

/// What is known of a track beside its votes.
struct Known {
    check: Option<Box<dyn LivenessCheck>>,
    decided: Option<Identity>,
    is_live: bool,
    reported_live: bool,
}

/// Watches the pictures of one camera.
pub struct FaceWatcher {
    options: WatchOptions,
    memory: FaceMemory,
    detector: Box<dyn FaceDetector>,
    embedder: Box<dyn FaceEmbedder>,
    liveness: Option<LivenessMaker>,
    tracker: FaceTracker,
    identifier: Identifier,
    known: HashMap<u64, Known>,
    session: Option<u32>,
    space: SearchSpace,
    small: RgbImage,
    part: RgbImage,
    side: usize,
    embedded: u64,
}

impl FaceWatcher {
    /// Watches for the people in `memory`. Without a maker of liveness checks nobody is ever said to be alive.
    ///
    /// # Errors
    /// [`Error::BadOption`] for the options; [`Error::OtherModel`] if the gallery's rows are of another model than the
    /// embedder's.
    pub fn new(
        options: WatchOptions,
        memory: FaceMemory,
        models: FaceModels,
        liveness: Option<LivenessMaker>,
    ) -> Result<Self, Error> {
        let FaceModels { detector, side, embedder } = models;
        let wanted = memory.gallery().read(|gallery| gallery.model().to_owned());
        if wanted != embedder.model() {
            return Err(Error::OtherModel { wanted, got: embedder.model().to_owned() });
        }
        let identifier = Identifier::new(options.identify)?;
        Ok(Self {
            options,
            memory,
            detector,
            embedder,
            liveness,
            tracker: FaceTracker::default(),
            identifier,
            known: HashMap::new(),
            session: None,
            space: SearchSpace::default(),
            small: RgbImage::default(),
            part: RgbImage::default(),
            side: side.max(1),
            embedded: 0,
        })
    }

    /// How many faces were embedded so far: what a watcher's time goes to.
    pub fn embedded(&self) -> u64 {
        self.embedded
    }

    /// Looks at the next picture; gives the faces to report.
    ///
    /// # Errors
    /// Those of the detector and the embedder; [`Error::BadPlane`] if the picture's planes do not fit each other.
    pub fn step(&mut self, picture: &Picture) -> Result<Vec<FaceReport>, Error> {
        if self.session.replace(picture.session).is_some_and(|before| before != picture.session) {
            self.tracker = self.tracker.anew();
            self.known.clear();
        }
        let faces = self.find(picture)?;
        let tracks = self.tracker.step(picture.at.mono, &faces);
        let live: Vec<u64> = self.tracker.tracks().iter().map(|track| track.id).collect();
        self.known.retain(|track, _| live.contains(track));
        let mut order: Vec<(&Face, u64)> =
            faces.iter().zip(tracks).filter_map(|(face, id)| Some((face, id?))).collect();
        order.sort_by(|a, b| b.0.width().total_cmp(&a.0.width()));
        let mut reports = Vec::new();
        let mut embedded = 0;
        for (face, track) in order {
            let Some((chip, quality)) = self.show(picture, face)? else { continue };
            if !quality.is_good() || embedded == EMBEDDED_MAX {
                continue;
            }
            embedded += 1;
            self.embedded += 1;
            reports.extend(self.recognise(picture, face, track, &chip)?);
        }
        Ok(reports)
    }

    /// Faces in pixels of the full picture.
    fn find(&mut self, picture: &Picture) -> Result<Vec<Face>, Error> {
        let luma = &picture.luma;
        let factor = (luma.width.max(luma.height) / self.side).max(1);
        let small = if factor == 1 { picture.clone() } else { reduced(picture, factor) };
        self.small.take(&small, [0, 0, small.luma.width, small.luma.height])?;
        let mut faces = self.detector.find(self.small.view())?;
        for face in &mut faces {
            let scale = factor as f32;
            face.bounds = face.bounds.map(|edge| edge * scale);
            // The middle of the first reduced pixel is that of `factor` pixels.
            face.points = face.points.map(|point| point.map(|value| (value + 0.5) * scale - 0.5));
        }
        Ok(faces)
    }

    /// The face turned upright out of the full picture, and how well it is shown; `None` if it is too small to be worth it.
    fn show(&mut self, picture: &Picture, face: &Face) -> Result<Option<(FaceChip, Quality)>, Error> {
        let (width, height) = (picture.luma.width, picture.luma.height);
        let is_large_enough = face.width() >= self.options.quality.width_reject;
        let around = [face.width() * AROUND, face.height() * AROUND];
        let [left, top, right, bottom] = face.bounds;
        let cut = |edge: f32, most: usize| edge.clamp(0.0, most as f32) as usize;
        let place = [
            cut(left - around[0], width),
            cut(top - around[1], height),
            cut((right + around[0]).ceil(), width),
            cut((bottom + around[1]).ceil(), height),
        ];
        if !is_large_enough || place[0] >= place[2] || place[1] >= place[3] {
            return Ok(None);
        }
        self.part.take(picture, place)?;
        let points = face.points.map(|[x, y]| [x - place[0] as f32, y - place[1] as f32]);
        // Points on one spot are no face to recognise, and no reason to stop.
        let Ok(chip) = FaceChip::cut(self.part.view(), &points) else { return Ok(None) };
        let quality = Quality::of(face, &chip, [width, height], &self.options.quality);
        Ok(Some((chip, quality)))
    }

    fn recognise(
        &mut self,
        picture: &Picture,
        face: &Face,
        track: u64,
        chip: &FaceChip,
    ) -> Result<Option<FaceReport>, Error> {
        let at = picture.at.mono;
        let embedding = self.embedder.embed(chip)?;
        let matches = self.memory.gallery().read(|gallery| gallery.find(&embedding, &mut self.space))?;
        let step = self.identifier.step(track, at, &embedding, &matches);
        let known = self.known.entry(track).or_insert_with(|| Known {
            check: self.liveness.as_ref().map(|make| make()),
            decided: None,
            is_live: false,
            reported_live: false,
        });
        // Who was a stranger and is now somebody may be holding up a photo: that somebody has shown nothing yet.
        let is_other =
            known.decided.as_ref().zip(step.decided.as_ref()).is_some_and(|(before, now)| !before.is_same(now));
        known.decided = step.decided.clone().or(known.decided.take());
        if let Some(check) = &mut known.check {
            if step.is_other || is_other {
                check.reset();
                known.is_live = false;
            }
            match check.look(at, face, chip) {
                Liveness::Live => known.is_live = true,
                Liveness::Failed => known.is_live = false,
                Liveness::Unknown => {}
            }
        }
        let is_news = step.report.is_some() || known.is_live != known.reported_live;
        let Some(identity) = step.decided.filter(|_| is_news) else { return Ok(None) };
        known.reported_live = known.is_live;
        let is_live = known.is_live;
        // Votes outlast the row they were for by a picture or two.
        if let Identity::Person(it) | Identity::Watched(it) = &identity
            && self.memory.gallery().read(|gallery| gallery.person(&it.person).is_none())
        {
            return Ok(None);
        }
        let is_stranger = identity == Identity::Stranger;
        if is_stranger && (self.options.ignore_strangers || step.report.is_none()) {
            return Ok(None);
        }
        let group = is_stranger.then(|| self.memory.meet(at, &embedding));
        if step.report.is_some() {
            self.remember(picture, &embedding)?;
        }
        let similarity = match &identity {
            Identity::Person(it) | Identity::Watched(it) => it.similarity,
            Identity::Stranger => nearest(&matches),
        };
        let region = region(face, picture);
        Ok(Some(FaceReport { identity, is_live, group, similarity, face: *face, track, region }))
    }

    fn remember(&self, picture: &Picture, embedding: &Embedding) -> Result<(), Error> {
        let seen = Seen { at: picture.at, camera: picture.source.clone(), sequence: picture.sequence };
        self.memory.history(|history| history.add(embedding, seen))
    }
}

impl std::fmt::Debug for FaceWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaceWatcher").field("options", &self.options).finish_non_exhaustive()
    }
}

fn nearest(matches: &Matches) -> f32 {
    let of = |it: &Option<super::gallery::Candidate>| it.as_ref().map_or(0.0, |it| it.similarity);
    of(&matches.allow).max(of(&matches.watch)).max(0.0)
}

fn region(face: &Face, picture: &Picture) -> Region {
    let (width, height) = (picture.luma.width, picture.luma.height);
    let cut = |edge: f32, most: usize| edge.clamp(0.0, most as f32) as usize;
    let [left, top, right, bottom] = face.bounds;
    let place = [cut(left, width), cut(top, height), cut(right.ceil(), width), cut(bottom.ceil(), height)];
    Region::from_pixels(place, width, height)
}

/// The picture with each plane averaged in squares of `factor` pixels; what is left over at an edge is a smaller square.
fn reduced(picture: &Picture, factor: usize) -> Picture {
    let luma = averaged(&picture.luma, factor);
    let chroma = picture.chroma.as_ref().map(|planes| [averaged(&planes[0], factor), averaged(&planes[1], factor)]);
    Picture { luma, chroma, ..picture.clone() }
}

fn averaged(plane: &Plane, factor: usize) -> Plane {
    let (width, height) = (plane.width.div_ceil(factor), plane.height.div_ceil(factor));
    let mut data = Vec::with_capacity(width * height);
    let mut sums = vec![0_u32; plane.width];
    for top in (0..plane.height).step_by(factor) {
        let rows = top..(top + factor).min(plane.height);
        let count = rows.len();
        sums.fill(0);
        for y in rows {
            sums.iter_mut().zip(plane.row(y)).for_each(|(sum, &byte)| *sum += u32::from(byte));
        }
        data.extend(sums.chunks(factor).map(|part| {
            let pixels = (part.len() * count) as u32;
            ((part.iter().sum::<u32>() + pixels / 2) / pixels) as u8
        }));
    }
    Plane { width, height, stride_bytes: width, data: Bytes::from(data) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_averaged_to_their_edges() {
        for (width, height, factor) in [(1, 1, 2), (7, 5, 3), (64, 32, 2), (1920, 3, 3), (5, 1081, 4)] {
            let data: Vec<u8> = (0..width * height).map(|i| (i % 251) as u8).collect();
            let plane = Plane::new(width, height, width, data.into()).unwrap();
            let small = averaged(&plane, factor);
            assert_eq!((small.width, small.height), (width.div_ceil(factor), height.div_ceil(factor)));
            for y in 0..small.height {
                for x in 0..small.width {
                    let rows = y * factor..((y + 1) * factor).min(height);
                    let columns = x * factor..((x + 1) * factor).min(width);
                    let all: Vec<f64> =
                        rows.flat_map(|y| plane.row(y)[columns.clone()].iter().map(|&byte| f64::from(byte))).collect();
                    let mean = all.iter().sum::<f64>() / all.len() as f64;
                    assert!((f64::from(small.row(y)[x]) - mean).abs() <= 0.5 + 1e-9, "{x} {y}");
                }
            }
        }
    }
}
