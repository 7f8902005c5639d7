//! YuNet: a detector of faces of 75 thousand weights, with five points a face.
//!
//! Source: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector" (2023); weights of March 2023, MIT
//! (`weights/SOURCES.md`). It finds faces of about 10 to 300 pixels of the picture that it is shown, so a large picture
//! is reduced to [`YuNetOptions::side`] first: by whole averages, then between pixels.
//!
//! **Never:** enlarging; a guess at points that the network did not give.

#![forbid(unsafe_code)]

use super::{Face, FaceDetector};
use crate::colour::{RgbImage, RgbView};
use crate::error::Error;
use crate::net::{After, Kind, Level, Network, Runner, Tensor};

/// The weights in the crate.
const WEIGHTS: &[u8] = include_bytes!("../../weights/yunet.gvw");
/// Sides that the network can work on, pixels. The larger takes about 0.4 s and 0.5 GB.
const SIDES: std::ops::RangeInclusive<usize> = 32..=4096;
/// Pixels between the places where the coarsest head looks; pictures are filled up to a multiple of it with black.
const CELL_MAX: usize = 32;
/// Pixels between the places where each head looks.
const CELLS: [usize; 3] = [8, 16, 32];
/// Most candidates that are compared with each other: bounds the work on a picture made to look like faces everywhere.
const CANDIDATES_MAX: usize = 2048;

/// How [`YuNet`] searches.
#[derive(Clone, Debug, PartialEq)]
pub struct YuNetOptions {
    /// The picture's longer side is reduced to this many pixels, 32 to 4096. Time grows with its square; the smallest
    /// face found is about a thirtieth of it. Default 640.
    pub side: usize,
    /// Least score of a face, 0 to 1. Default 0.6.
    pub score_min: f32,
    /// Two boxes that share more than this part of their union are one face, 0 to 1. Default 0.3.
    pub overlap_max: f32,
    /// Most faces a picture, 1 to 2048: the surest stay. Default 256.
    pub faces_max: usize,
}

impl Default for YuNetOptions {
    fn default() -> Self {
        Self { side: 640, score_min: 0.6, overlap_max: 0.3, faces_max: 256 }
    }
}

impl YuNetOptions {
    fn check(&self) -> Result<(), Error> {
        let bad = |option, reason| Err(Error::BadOption { option, reason });
        if !SIDES.contains(&self.side) {
            return bad("side", "give 32 to 4096 pixels");
        }
        if !(0.0..=1.0).contains(&self.score_min) {
            return bad("score_min", "give 0 to 1");
        }
        if !(0.0..=1.0).contains(&self.overlap_max) {
            return bad("overlap_max", "give 0 to 1");
        }
        if !(1..=CANDIDATES_MAX).contains(&self.faces_max) {
            return bad("faces_max", "give 1 to 2048");
        }
        Ok(())
    }
}

/// Finds faces with YuNet. Holds its working memory: 25 MB at 640 pixels, a quarter of it at 320.
pub struct YuNet {
    options: YuNetOptions,
    network: Network,
    runner: Runner,
    reduced: Reducer,
    work: Work,
    candidates: Vec<Face>,
}

#[derive(Default)]
struct Work {
    a: Tensor,
    b: Tensor,
    /// What the heads look at, finest first.
    levels: [Tensor; 3],
    heads: [Tensor; 3],
}

impl YuNet {
    /// A detector with the weights in the crate.
    ///
    /// # Errors
    /// [`Error::BadOption`] if an option is outside its range.
    pub fn new(options: YuNetOptions) -> Result<Self, Error> {
        Self::with_weights(options, WEIGHTS)
    }

    /// A detector with other weights of the same network, in the format of `weights/rebuild.py`.
    ///
    /// # Errors
    /// [`Error::BadOption`], or [`Error::BadWeights`] if the file cannot be run.
    pub fn with_weights(options: YuNetOptions, file: &[u8]) -> Result<Self, Error> {
        options.check()?;
        let network = Network::parse(file)?;
        network.expect(&layers())?;
        Ok(Self {
            options,
            network,
            runner: Runner::new(Level::detect()),
            reduced: Reducer::default(),
            work: Work::default(),
            candidates: Vec::new(),
        })
    }

    /// The network itself: `picture` filled up with black to whole cells.
    fn run(&mut self, picture: RgbView<'_>) {
        let (network, runner) = (&self.network, &mut self.runner);
        let Work { a, b, levels, heads } = &mut self.work;
        let sides = [picture.height(), picture.width()].map(|side| side.next_multiple_of(CELL_MAX));
        let mut layers = network.layers.iter();
        let mut next = || layers.next().expect("the list was compared with `layers` when it was read");
        runner.stem(network, next(), picture, sides, a);
        runner.pointwise(next(), a, b);
        runner.depthwise(next(), b, a);
        b.pool(a);
        std::mem::swap(a, b);
        let [fine, middle, coarse] = levels;
        // Two pairs of layers a stage; the last three results are kept for the heads.
        let mut pair = |runner: &Runner, from: &Tensor, between: &mut Tensor, to: &mut Tensor| {
            runner.pointwise(next(), from, between);
            runner.depthwise(next(), between, to);
        };
        for _ in 0..2 {
            pair(runner, a, b, fine);
            std::mem::swap(a, fine);
            pair(runner, a, b, fine);
            std::mem::swap(a, fine);
        }
        // Now at a quarter of the picture's sides, in `a`.
        fine.pool(a);
        pair(runner, fine, b, a);
        pair(runner, a, b, fine);
        a.pool(fine);
        pair(runner, a, b, middle);
        std::mem::swap(a, middle);
        pair(runner, a, b, middle);
        a.pool(middle);
        pair(runner, a, b, coarse);
        std::mem::swap(a, coarse);
        pair(runner, a, b, coarse);
        // From coarse to fine: each scale is worked over, then added to the next finer one.
        pair(runner, coarse, b, a);
        std::mem::swap(a, coarse);
        middle.add_doubled(coarse);
        pair(runner, middle, b, a);
        std::mem::swap(a, middle);
        fine.add_doubled(middle);
        pair(runner, fine, b, a);
        std::mem::swap(a, fine);
        for (level, head) in levels.iter().zip(heads) {
            pair(runner, level, b, head);
        }
    }

    /// What the heads say, in pixels of the reduced picture.
    fn decode(&mut self) {
        self.candidates.clear();
        // A score is the root of two probabilities' product. Both must be at least its square, so nearly every place is
        // settled by one comparison: s(x) >= p means x >= ln(p / (1 - p)).
        let least = self.options.score_min * self.options.score_min;
        let logit = (least / (1.0 - least)).ln();
        for (head, cell) in self.work.heads.iter().zip(CELLS) {
            let cell = cell as f32;
            for y in 0..head.height() {
                for x in 0..head.width() {
                    let values = head.pixel(y, x);
                    let &[class, dx, dy, log_width, log_height, object, ..] = values else { continue };
                    if class < logit || object < logit {
                        continue;
                    }
                    let score = (sigmoid(class) * sigmoid(object)).sqrt();
                    if score < self.options.score_min {
                        continue;
                    }
                    let place = |dx: f32, dy: f32| [(x as f32 + dx) * cell, (y as f32 + dy) * cell];
                    let [middle_x, middle_y] = place(dx, dy);
                    let (half_width, half_height) = (log_width.exp() * cell / 2.0, log_height.exp() * cell / 2.0);
                    let face = Face {
                        bounds: [
                            middle_x - half_width,
                            middle_y - half_height,
                            middle_x + half_width,
                            middle_y + half_height,
                        ],
                        score,
                        points: std::array::from_fn(|point| place(values[6 + 2 * point], values[7 + 2 * point])),
                    };
                    if face.bounds.iter().chain(face.points.as_flattened()).all(|value| value.is_finite()) {
                        self.candidates.push(face);
                    }
                }
            }
        }
        self.candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.candidates.truncate(CANDIDATES_MAX);
    }
}

impl FaceDetector for YuNet {
    /// The faces of `picture`, surest first. Allocates the list alone, once a picture of this size has been seen.
    ///
    /// # Errors
    /// [`Error::UnsupportedSize`] if a side is so much longer than the other that nothing is left of that one.
    fn find(&mut self, picture: RgbView<'_>) -> Result<Vec<Face>, Error> {
        let (width, height) = (picture.width(), picture.height());
        let longer = width.max(height);
        let mut scale = [1.0; 2];
        if longer <= self.options.side {
            self.run(picture);
        } else {
            let to = [width, height].map(|side| (side * self.options.side + longer / 2) / longer);
            if to.contains(&0) {
                return Err(Error::UnsupportedSize { width, height });
            }
            scale = [width as f32 / to[0] as f32, height as f32 / to[1] as f32];
            let mut reduced = std::mem::take(&mut self.reduced);
            let result = reduced.reduce(picture, to).map(|small| self.run(small));
            self.reduced = reduced;
            result?;
        }
        self.decode();
        let mut faces: Vec<Face> = Vec::new();
        for face in &self.candidates {
            if faces.len() == self.options.faces_max {
                break;
            }
            if faces.iter().all(|kept| overlap(kept, face) <= self.options.overlap_max) {
                faces.push(*face);
            }
        }
        for face in &mut faces {
            for (index, value) in face.bounds.iter_mut().enumerate() {
                *value *= scale[index % 2];
            }
            for point in &mut face.points {
                *point = [point[0] * scale[0], point[1] * scale[1]];
            }
        }
        Ok(faces)
    }
}

impl std::fmt::Debug for YuNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("YuNet").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The layers that a file must have.
fn layers() -> Vec<(Kind, usize, usize, usize, After)> {
    let mut layers = vec![
        (Kind::Stem, 3, 16, 2, After::Relu),
        (Kind::Pointwise, 16, 16, 1, After::Nothing),
        (Kind::Depthwise, 16, 16, 1, After::Relu),
    ];
    let body =
        [(16, 16), (16, 32), (32, 32), (32, 64)].into_iter().chain([(64, 64); 9]).map(|pair| (pair, After::Relu));
    let heads = [((64, 16), After::Nothing); 3];
    for ((inputs, outputs), after) in body.chain(heads) {
        layers.push((Kind::Pointwise, inputs, outputs, 1, After::Nothing));
        layers.push((Kind::Depthwise, outputs, outputs, 1, after));
    }
    layers
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

/// The part of two boxes' union that they share.
fn overlap(a: &Face, b: &Face) -> f32 {
    let width = a.bounds[2].min(b.bounds[2]) - a.bounds[0].max(b.bounds[0]);
    let height = a.bounds[3].min(b.bounds[3]) - a.bounds[1].max(b.bounds[1]);
    let shared = width.max(0.0) * height.max(0.0);
    let union = a.width() * a.height() + b.width() * b.height() - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}

/// Makes pictures smaller and keeps the memory for it.
#[derive(Default)]
struct Reducer {
    sums: Vec<u32>,
    averaged: RgbImage,
    result: RgbImage,
}

impl Reducer {
    /// `picture` in `[width, height]` pixels, each at most as many as it has.
    fn reduce(&mut self, picture: RgbView<'_>, [width, height]: [usize; 2]) -> Result<RgbView<'_>, Error> {
        let (factor_x, factor_y) = (picture.width() / width, picture.height() / height);
        let factor = factor_x.min(factor_y);
        if factor > 1 {
            self.average(picture, factor)?;
            between(self.averaged.view(), &mut self.result, [width, height])?;
        } else {
            between(picture, &mut self.result, [width, height])?;
        }
        Ok(self.result.view())
    }

    /// The mean of each `factor` by `factor` pixels; what is left at the right and lower edge is dropped, less
    /// than one pixel of the result.
    fn average(&mut self, picture: RgbView<'_>, factor: usize) -> Result<(), Error> {
        let (width, height) = (picture.width() / factor, picture.height() / factor);
        if (self.averaged.width(), self.averaged.height()) != (width, height) {
            self.averaged = RgbImage::black(width, height)?;
        }
        let area = (factor * factor) as u32;
        self.sums.resize(width * factor * 3, 0);
        for (y, out) in self.averaged.bytes_mut().chunks_exact_mut(width * 3).enumerate() {
            self.sums.fill(0);
            for row in y * factor..(y + 1) * factor {
                self.sums.iter_mut().zip(picture.row(row)).for_each(|(sum, &byte)| *sum += u32::from(byte));
            }
            for (pixel, sums) in out.chunks_exact_mut(3).zip(self.sums.chunks_exact(factor * 3)) {
                let add = |sum: [u32; 3], part: &[u32]| [sum[0] + part[0], sum[1] + part[1], sum[2] + part[2]];
                let sum = sums.chunks_exact(3).fold([area / 2; 3], add);
                pixel.iter_mut().zip(sum).for_each(|(byte, sum)| *byte = (sum / area) as u8);
            }
        }
        Ok(())
    }
}

/// `picture` read between its pixels at `[width, height]` places, middle on middle. Fixed point with 8 bits each way.
fn between(picture: RgbView<'_>, result: &mut RgbImage, [width, height]: [usize; 2]) -> Result<(), Error> {
    if (result.width(), result.height()) != (width, height) {
        *result = RgbImage::black(width, height)?;
    }
    let place = |index: usize, from: usize, to: usize| {
        let at = ((2 * index + 1) * from * 128 / to).saturating_sub(128);
        let first = (at / 256).min(from - 1);
        (first, (first + 1).min(from - 1), (at % 256) as u32)
    };
    for (y, out) in result.bytes_mut().chunks_exact_mut(width * 3).enumerate() {
        let (upper, lower, down) = place(y, picture.height(), height);
        let (upper, lower) = (picture.row(upper), picture.row(lower));
        for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
            let (left, right, across) = place(x, picture.width(), width);
            for (channel, byte) in pixel.iter_mut().enumerate() {
                let of = |row: &[u8]| {
                    let [left, right] = [left, right].map(|column| u32::from(row[column * 3 + channel]));
                    left * (256 - across) + right * across
                };
                *byte = ((of(upper) * (256 - down) + of(lower) * down + 32_768) >> 16) as u8;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_picture_keeps_its_brightness_and_places() {
        // A ramp from left to right: any place of the small picture has the mean of what it covers.
        let (width, height) = (1000, 300);
        let pixels: Vec<u8> = (0..width * height * 3).map(|index| (index / 3 % width / 4) as u8).collect();
        let view = RgbView::new(&pixels, width, height, width * 3).unwrap();
        for to in [[999, 300], [640, 192], [320, 96], [37, 11]] {
            let mut reducer = Reducer::default();
            let small = reducer.reduce(view, to).unwrap();
            assert_eq!([small.width(), small.height()], to);
            for y in 0..to[1] {
                for (x, pixel) in small.row(y).chunks_exact(3).enumerate() {
                    let want = (x as f32 + 0.5) * width as f32 / to[0] as f32 / 4.0 - 0.5;
                    let slack = if to[0] < 100 { 4.0 } else { 1.5 };
                    assert!((f32::from(pixel[0]) - want).abs() <= slack, "{to:?} {x}: {} {want}", pixel[0]);
                }
            }
        }
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        let with = |change: fn(&mut YuNetOptions)| {
            let mut options = YuNetOptions::default();
            change(&mut options);
            YuNet::new(options).map(|_| ())
        };
        assert!(with(|_| ()).is_ok());
        assert!(with(|options| options.side = 31).is_err());
        assert!(with(|options| options.side = 4097).is_err());
        assert!(with(|options| options.score_min = f32::NAN).is_err());
        assert!(with(|options| options.overlap_max = 1.5).is_err());
        assert!(with(|options| options.faces_max = 0).is_err());
        assert!(with(|options| options.faces_max = CANDIDATES_MAX + 1).is_err());
    }
}
