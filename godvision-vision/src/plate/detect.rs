//! Where plates are: [`PlateDetector`], a small network of our own over reduced brightness.
//!
//! The network has 69,009 weights, is fully convolutional and sees grey alone, so it works by infra-red light as by day.
//! For each cell of 8x8 pixels it says whether the middle of a plate is near, and where the four corners are. It was
//! trained on plates and scenes that `training/plates/draw.py` draws; no photograph was used.
//!
//! **Never:** enlarging; plates narrower than about [`WIDTH_MIN`] pixels after reduction.

#![forbid(unsafe_code)]

use godvision_core::signal::seen::Region;

use crate::error::Error;
use crate::onnx::OnnxModel;
use crate::plane::{LumaView, SIDE_MAX};

/// The weights, made by `training/plates/train.py`; `models/README.md` has their checksum.
const WEIGHTS: &[u8] = include_bytes!("../../models/plates.onnx");

/// Largest input of the network: 1080p reduced by 4. There a plate that can be read (some 80 pixels wide) has 20.
const INPUT_WIDTH: usize = 480;
const INPUT_HEIGHT: usize = 272;

/// Sides of the input are multiples of this: the network halves them four times.
const ALIGN: usize = 16;

/// Shortest side of an area that is looked at: below it there is no room for a plate and its surroundings.
const AREA_SIDE_MIN: usize = 16;

/// Shortest side after reduction: a strip lower than this holds no plate of [`WIDTH_MIN`].
const REDUCED_SIDE_MIN: usize = 8;

/// Pixels of a cell's side, and the unit of the corners' distances (`training/plates/train.py`).
const STRIDE: usize = 8;
const UNIT: f32 = 32.0;

/// Values of a cell: the logit, and x and y of four corners.
const VALUES: usize = 9;

/// Narrowest plate after reduction, in pixels.
pub const WIDTH_MIN: f32 = 12.0;

/// Most plates of one picture.
pub const PLATES_MAX: usize = 8;

/// Most areas that are looked at in one picture; further ones are left out.
pub const AREAS_MAX: usize = 4;

/// Width to which a plate is reduced for its second look, in pixels: the middle of what the network was trained on. In a
/// whole 1080p picture a plate has a third of that, and a corner is off by half a letter.
const SECOND_LOOK_WIDTH: f32 = 64.0;

/// Share of common area that the second look must have with the first to be about the same plate: corners move by a
/// letter, not by half the plate.
const SECOND_LOOK_OVERLAP: f32 = 0.6;

/// Candidates that are compared with each other, strongest first.
const CANDIDATES_MAX: usize = 400;

/// Share of common area from which two candidates are one plate.
const SAME_PLATE: f32 = 0.35;

/// A plate's place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlateBox {
    /// Its corners in pixels of the picture, `[x, y]`, clockwise from the top left. May lie a little outside.
    pub corners: [[f32; 2]; 4],
    /// How sure the network is, 0.0..=1.0.
    pub score: f32,
}

impl PlateBox {
    /// The upright rectangle `[left, top, right, bottom]` around it, in pixels.
    pub fn bounds(&self) -> [f32; 4] {
        self.corners.iter().fold([f32::MAX, f32::MAX, f32::MIN, f32::MIN], |[left, top, right, bottom], &[x, y]| {
            [left.min(x), top.min(y), right.max(x), bottom.max(y)]
        })
    }

    /// The part of a `width` x `height` picture it covers.
    pub fn region(&self, width: usize, height: usize) -> Region {
        let [left, top, right, bottom] = self.bounds();
        let pixels = [left.max(0.0) as usize, top.max(0.0) as usize, right.ceil() as usize, bottom.ceil() as usize];
        Region::from_pixels(pixels, width, height)
    }

    /// Mean length of the upper and lower edge in pixels.
    pub fn width(&self) -> f32 {
        let [a, b, c, d] = self.corners;
        (far(a, b) + far(d, c)) / 2.0
    }

    /// Distance of the upper and lower edge in pixels: its area, by its width.
    pub fn height(&self) -> f32 {
        let [a, b, c, d] = self.corners;
        let cross = |[ax, ay]: [f32; 2], [bx, by]: [f32; 2]| ax * by - bx * ay;
        let twice = cross([c[0] - a[0], c[1] - a[1]], [d[0] - b[0], d[1] - b[1]]);
        twice.abs() / 2.0 / self.width()
    }

    /// Intersection over union of the upright rectangles.
    pub(crate) fn overlap(&self, other: &Self) -> f32 {
        let (a, b) = (self.bounds(), other.bounds());
        let area = |[left, top, right, bottom]: [f32; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
        let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
        common / (area(a) + area(b) - common).max(1.0)
    }
}

fn far([ax, ay]: [f32; 2], [bx, by]: [f32; 2]) -> f32 {
    (ax - bx).hypot(ay - by)
}

/// Finds plates. Owns its network and buffers.
#[derive(Debug)]
pub struct PlateDetector {
    model: OnnxModel,
    score_min: f32,
    input: Vec<f32>,
    sums: Vec<u32>,
}

impl PlateDetector {
    /// With its own weights. Plates of which the network is less sure than `score_min` (0.0..1.0; 0.5 is usual) are
    /// left out.
    ///
    /// # Errors
    /// [`Error::BadOption`] if `score_min` is outside its range.
    pub fn new(score_min: f32) -> Result<Self, Error> {
        Self::with_model("plates.onnx", WEIGHTS.to_vec(), score_min)
    }

    /// With other weights: an ONNX file with the input and output of `training/plates/train.py`.
    ///
    /// # Errors
    /// [`Error::BadModel`], [`Error::BadOption`].
    pub fn with_model(name: &str, bytes: Vec<u8>, score_min: f32) -> Result<Self, Error> {
        if !(0.0..1.0).contains(&score_min) {
            return Err(Error::BadOption { option: "score_min", reason: "0.0 to 1.0" });
        }
        let model = OnnxModel::read(name, bytes)?;
        Ok(Self { model, score_min, input: Vec::new(), sums: Vec::new() })
    }

    /// The plates in `areas` of `luma`, surest first; in the whole picture if there are no areas.
    ///
    /// # Errors
    /// [`Error::UnsupportedSize`] if a side is longer than [`SIDE_MAX`]; [`Error::ModelFailed`].
    pub fn find(&mut self, luma: LumaView<'_>, areas: &[Region]) -> Result<Vec<PlateBox>, Error> {
        let (width, height) = (luma.width(), luma.height());
        if width.max(height) > SIDE_MAX {
            return Err(Error::UnsupportedSize { width, height });
        }
        let mut found = Vec::new();
        let whole = [Region::WHOLE];
        let areas = if areas.is_empty() { &whole[..] } else { areas };
        for area in areas.iter().take(AREAS_MAX) {
            let place = area.to_pixels(width, height);
            let Some(part) = luma.crop(place) else { continue };
            if part.width().min(part.height()) >= AREA_SIDE_MIN {
                let factor = part.width().div_ceil(INPUT_WIDTH).max(part.height().div_ceil(INPUT_HEIGHT));
                self.find_in(part, factor, [place[0] as f32, place[1] as f32], &mut found)?;
            }
        }
        Ok(strongest(found))
    }

    /// The corners of `plate` by a second, closer look at its surroundings; `plate` itself if that shows nothing better.
    /// About 1 ms.
    ///
    /// # Errors
    /// [`Error::ModelFailed`].
    pub fn refine(&mut self, luma: LumaView<'_>, plate: PlateBox) -> Result<PlateBox, Error> {
        let [left, top, right, bottom] = plate.bounds();
        let (across, down) = (right - left, (bottom - top).max((right - left) * 0.4));
        // What is beyond the picture or no number is cut off by the conversion and the crop.
        let place = [left - across * 0.6, top - down, right + across * 0.6, bottom + down].map(|side| side as usize);
        let Some(part) = luma.crop([place[0], place[1], place[2].min(luma.width()), place[3].min(luma.height())])
        else {
            return Ok(plate);
        };
        let factor = ((plate.width() / SECOND_LOOK_WIDTH).round() as usize).clamp(1, SIDE_MAX);
        if part.width().min(part.height()) < AREA_SIDE_MIN || part.width() / factor > INPUT_WIDTH {
            return Ok(plate);
        }
        let mut found = Vec::new();
        self.find_in(part, factor, [place[0] as f32, place[1] as f32], &mut found)?;
        let same = strongest(found).into_iter().find(|closer| closer.overlap(&plate) >= SECOND_LOOK_OVERLAP);
        Ok(same.map_or(plate, |closer| PlateBox { score: plate.score, ..closer }))
    }

    fn find_in(
        &mut self,
        part: LumaView<'_>,
        factor: usize,
        origin: [f32; 2],
        found: &mut Vec<PlateBox>,
    ) -> Result<(), Error> {
        if (part.width() / factor).min(part.height() / factor) < REDUCED_SIDE_MIN {
            return Ok(());
        }
        let (width, height) = self.reduce(part, factor);
        let outputs = self.model.run(&self.input, &[1, 1, height, width])?;
        let (rows, columns) = (height / STRIDE, width / STRIDE);
        let cells = rows * columns;
        let values = match outputs.first() {
            Some((values, shape)) if *shape == [1, VALUES, rows, columns] => values,
            _ => {
                let reason = format!("it has to give [1, {VALUES}, {rows}, {columns}] for [1, 1, {height}, {width}]");
                return Err(Error::ModelFailed { model: self.model.name().to_owned(), reason });
            }
        };
        let planes: Vec<&[f32]> = values.chunks_exact(cells).collect();
        let scale = factor as f32;
        for (cell, &logit) in planes[0].iter().enumerate() {
            let score = 1.0 / (1.0 + (-logit).exp());
            if score.is_nan() || score < self.score_min {
                continue;
            }
            let middle = |index: usize| (index * STRIDE + STRIDE / 2) as f32;
            let (x, y) = (middle(cell % columns), middle(cell / columns));
            let corner = |k: usize| {
                let place = [x + planes[1 + 2 * k][cell] * UNIT, y + planes[2 + 2 * k][cell] * UNIT];
                [origin[0] + place[0] * scale, origin[1] + place[1] * scale]
            };
            let plate = PlateBox { corners: [corner(0), corner(1), corner(2), corner(3)], score };
            let is_finite = plate.corners.as_flattened().iter().all(|value| value.is_finite());
            if is_finite && is_plate_shaped(&plate, scale) {
                found.push(plate);
            }
        }
        Ok(())
    }

    /// Fills the input with the means of boxes of `factor` x `factor` pixels, 0..=1; gives its width and height. What the
    /// picture does not fill is grey.
    fn reduce(&mut self, part: LumaView<'_>, factor: usize) -> (usize, usize) {
        let (across, down) = (part.width() / factor, part.height() / factor);
        let (width, height) = (across.next_multiple_of(ALIGN), down.next_multiple_of(ALIGN));
        self.input.clear();
        self.input.resize(width * height, 0.45);
        let unit = 1.0 / (255.0 * (factor * factor) as f32);
        for (y, out) in self.input.chunks_exact_mut(width).take(down).enumerate() {
            self.sums.clear();
            self.sums.resize(across * factor, 0);
            for row in y * factor..(y + 1) * factor {
                for (sum, &pixel) in self.sums.iter_mut().zip(part.row(row)) {
                    *sum += u32::from(pixel);
                }
            }
            for (out, sums) in out.iter_mut().zip(self.sums.chunks_exact(factor)) {
                *out = sums.iter().sum::<u32>() as f32 * unit;
            }
        }
        (width, height)
    }
}

/// Corners in the right order, and a plate's proportions: the longest have 520 x 112 mm, the squarest 245 x 185 or, seen
/// from aside, 200 x 190.
fn is_plate_shaped(plate: &PlateBox, scale: f32) -> bool {
    let [a, b, c, d] = plate.corners;
    let turn =
        |[ax, ay]: [f32; 2], [bx, by]: [f32; 2], [cx, cy]: [f32; 2]| (bx - ax) * (cy - by) - (by - ay) * (cx - bx);
    let is_convex = [turn(a, b, c), turn(b, c, d), turn(c, d, a), turn(d, a, b)].iter().all(|&turn| turn > 0.0);
    let (width, height) = (plate.width(), plate.height());
    is_convex && width >= WIDTH_MIN * scale && (0.8..8.0).contains(&(width / height))
}

/// Candidates of one plate become one: the mean of their corners, weighted by how sure each is.
fn strongest(mut found: Vec<PlateBox>) -> Vec<PlateBox> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(CANDIDATES_MAX);
    let mut plates: Vec<PlateBox> = Vec::new();
    let mut taken = vec![false; found.len()];
    for first in 0..found.len() {
        if taken[first] {
            continue;
        }
        let (mut corners, mut weight) = ([[0.0; 2]; 4], 0.0);
        for other in first..found.len() {
            if taken[other] || found[first].overlap(&found[other]) < SAME_PLATE {
                continue;
            }
            taken[other] = true;
            let share = found[other].score * found[other].score;
            weight += share;
            for (sum, corner) in corners.iter_mut().zip(found[other].corners) {
                *sum = [sum[0] + corner[0] * share, sum[1] + corner[1] * share];
            }
        }
        let corners = corners.map(|[x, y]| [x / weight, y / weight]);
        plates.push(PlateBox { corners, score: found[first].score });
        if plates.len() == PLATES_MAX {
            break;
        }
    }
    plates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plate(left: f32, top: f32, width: f32, height: f32, score: f32) -> PlateBox {
        let (right, bottom) = (left + width, top + height);
        PlateBox { corners: [[left, top], [right, top], [right, bottom], [left, bottom]], score }
    }

    #[test]
    fn candidates_of_one_plate_become_one() {
        let found = vec![
            plate(102.0, 50.0, 80.0, 20.0, 0.6),
            plate(100.0, 50.0, 80.0, 20.0, 0.9),
            plate(300.0, 50.0, 80.0, 20.0, 0.7),
        ];
        let plates = strongest(found);
        assert_eq!(plates.len(), 2);
        assert_eq!(plates[0].score, 0.9);
        assert!(plates[0].corners[0][0] > 100.0 && plates[0].corners[0][0] < 101.0);
        assert_eq!(plates[1].bounds(), [300.0, 50.0, 380.0, 70.0]);
    }

    #[test]
    fn plates_are_no_more_than_the_limit() {
        let found = (0..50).map(|k| plate(k as f32 * 100.0, 0.0, 80.0, 20.0, 0.9)).collect();
        assert_eq!(strongest(found).len(), PLATES_MAX);
    }

    #[test]
    fn what_is_no_plate_is_left_out() {
        assert!(is_plate_shaped(&plate(0.0, 0.0, 80.0, 20.0, 1.0), 1.0));
        for (width, height) in [(8.0, 2.0), (80.0, 5.0), (20.0, 80.0), (-80.0, 20.0)] {
            assert!(!is_plate_shaped(&plate(0.0, 0.0, width, height, 1.0), 1.0), "{width}x{height}");
        }
    }

    #[test]
    fn any_size_is_reduced_to_what_the_network_takes() {
        let mut detector = PlateDetector::new(0.5).unwrap();
        let data = vec![100; 8192 * 20];
        for (width, height) in [(1, 1), (16, 16), (17, 33), (480, 272), (481, 273), (8192, 17), (19, 4000)] {
            let view = LumaView::new(&data, width, height, width).unwrap();
            assert_eq!(detector.find(view, &[]).unwrap(), [], "{width}x{height}");
        }
        let view = LumaView::new(&data, 8193, 16, 8193).unwrap();
        assert!(detector.find(view, &[]).is_err());
        assert!(PlateDetector::new(1.0).is_err() && PlateDetector::new(f32::NAN).is_err());
    }
}
