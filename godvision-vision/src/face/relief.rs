//! What a flat picture cannot explain between two chips of one face: [`Plane`].
//!
//! However a flat picture is turned before a camera, its image changes by a homography (and in brightness by a gain and
//! an offset, near enough). The best one is fitted by inverse compositional alignment, and what is left over is measured
//! as motion of small patches: almost nothing for a photo; for a head that turns, the nose runs ahead of the cheeks.
//!
//! Sources: S. Baker, I. Matthews, "Lucas-Kanade 20 years on: a unifying framework" (2004); B. Lucas, T. Kanade, "An
//! iterative image registration technique with an application to stereo vision" (1981).
//!
//! **Never:** the whole chip (its rim is background), colour, a threshold of what is alive.

#![forbid(unsafe_code)]

use super::{CHIP_SIDE, FaceChip};

/// Sides of the picture that is worked on: half of the chip's, where the eyes are 17.6 apart.
const SIDE: usize = CHIP_SIDE / 2;
/// Distance of the eyes in a chip's template, in these pixels.
const EYES: f32 = 17.62;
/// The part of it that is face: left, top, right, bottom.
const PART: [usize; 4] = [11, 15, 45, 53];
/// Pixels of that part.
const PIXELS: usize = (PART[2] - PART[0]) * (PART[3] - PART[1]);
/// Numbers of a homography, and gain and offset of brightness.
const NUMBERS: usize = 10;
/// Rounds of fitting, on the blurred picture and on the sharp one.
const ROUNDS: [usize; 2] = [8, 8];
/// Half of a patch's side, and the distance of their middles.
const PATCH: usize = 4;
const PATCH_STEP: usize = 5;
/// Patches across and down.
const PATCHES: [usize; 2] =
    [(PART[2] - PART[0] - 2 * PATCH - 1) / PATCH_STEP + 1, (PART[3] - PART[1] - 2 * PATCH - 1) / PATCH_STEP + 1];
/// Patches.
const FLOWS: usize = PATCHES[0] * PATCHES[1];
/// A patch's motion beyond this many pixels is a misfit and not motion.
const FLOW_MAX: f32 = 3.0;

/// Brightness of a chip, sharp and blurred.
#[derive(Clone)]
pub(super) struct Shades([Vec<f32>; 2]);

impl Shades {
    pub(super) fn of(chip: &FaceChip) -> Self {
        let pixels = chip.pixels();
        let mut half = vec![0.0; SIDE * SIDE];
        for (index, shade) in half.iter_mut().enumerate() {
            let (x, y) = (index % SIDE * 2, index / SIDE * 2);
            let luma = |x: usize, y: usize| {
                let at = (y * CHIP_SIDE + x) * 3;
                // BT.601.
                0.299 * f32::from(pixels[at]) + 0.587 * f32::from(pixels[at + 1]) + 0.114 * f32::from(pixels[at + 2])
            };
            *shade = (luma(x, y) + luma(x + 1, y) + luma(x, y + 1) + luma(x + 1, y + 1)) / 4.0;
        }
        let sharp = blurred(&half);
        let soft = blurred(&blurred(&blurred(&blurred(&sharp))));
        Self([soft, sharp])
    }
}

/// 1 2 1 in both directions.
fn blurred(from: &[f32]) -> Vec<f32> {
    let mut across = from.to_vec();
    for y in 0..SIDE {
        for x in 1..SIDE - 1 {
            let at = y * SIDE + x;
            across[at] = (from[at - 1] + 2.0 * from[at] + from[at + 1]) / 4.0;
        }
    }
    let mut both = across.clone();
    for at in SIDE..SIDE * (SIDE - 1) {
        both[at] = (across[at - SIDE] + 2.0 * across[at] + across[at + SIDE]) / 4.0;
    }
    both
}

/// What is left of the motion between two chips when that of a plane is taken off.
#[derive(Clone, Debug)]
pub(super) struct Relief {
    /// Motion of each patch in distances of the eyes; 0 where there is no texture.
    flows: [[f32; 2]; FLOWS],
    /// Root of the mean square of those, over patches with texture.
    pub(super) size: f32,
    /// Correlation of the two after the fit, 1 if they are alike.
    pub(super) fit: f32,
}

impl Relief {
    /// Cosine between what the two leave: 1 if every patch moved in the same way.
    pub(super) fn alike(&self, other: &Self) -> f32 {
        let dot = |a: &Self, b: &Self| {
            a.flows.iter().flatten().zip(b.flows.iter().flatten()).map(|(a, b)| a * b).sum::<f32>()
        };
        dot(self, other) / (dot(self, self) * dot(other, other)).sqrt().max(f32::MIN_POSITIVE)
    }
}

/// A chip that others are compared with.
pub(super) struct Plane {
    shades: Shades,
    /// For the blurred picture and the sharp one: change of each pixel by each number, and the normal matrix's factor.
    levels: [Level; 2],
}

struct Level {
    /// What each pixel does when a number of the homography changes, and its brightness.
    slopes: Vec<[f64; NUMBERS]>,
    factor: [[f64; NUMBERS]; NUMBERS],
}

impl Plane {
    /// `None` if the chip has too little texture to be fitted.
    pub(super) fn new(shades: Shades) -> Option<Self> {
        let [soft, sharp] = &shades.0;
        let levels = [Level::of(soft)?, Level::of(sharp)?];
        Some(Self { shades, levels })
    }

    /// Compares; `None` if no plane can be fitted.
    pub(super) fn against(&self, other: &Shades) -> Option<Relief> {
        let mut turn = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let mut left = vec![0.0; PIXELS];
        for (index, rounds) in ROUNDS.into_iter().enumerate() {
            let (level, from, to) = (&self.levels[index], &self.shades.0[index], &other.0[index]);
            for _ in 0..rounds {
                difference(&turn, from, to, &mut left)?;
                let mut sums = [0.0; NUMBERS];
                for (slope, left) in level.slopes.iter().zip(&left) {
                    sums.iter_mut().zip(slope).for_each(|(sum, slope)| *sum += slope * left);
                }
                let step = solve(&level.factor, sums);
                let [a, b, c, d, e, f, g, h, ..] = step;
                let inner = inverse(&[[1.0 + a, b, c], [d, 1.0 + e, f], [g, h, 1.0]])?;
                turn = product(&turn, &inner);
                let scale = turn[2][2];
                let sane = turn.iter().flatten().all(|value| value.is_finite()) && scale.abs() > 1e-3;
                if !sane {
                    return None;
                }
                turn.iter_mut().flatten().for_each(|value| *value /= scale);
            }
        }
        difference(&turn, &self.shades.0[1], &other.0[1], &mut left)?;
        Some(self.measure(&left))
    }

    fn measure(&self, left: &[f64]) -> Relief {
        // Gain and offset by least squares, so that light that changed is no motion.
        let template = &self.shades.0[1];
        let pixels = || pixels().map(|(x, y)| f64::from(template[y * SIDE + x]));
        let count = PIXELS as f64;
        let warped = || pixels().zip(left).map(|(shade, left)| shade + left);
        let (mean, other_mean) = (pixels().sum::<f64>() / count, warped().sum::<f64>() / count);
        let (mut own, mut both, mut others) = (0.0, 0.0, 0.0);
        for (a, b) in pixels().zip(warped()) {
            let (a, b) = (a - mean, b - other_mean);
            (own, both, others) = (own + a * a, both + a * b, others + b * b);
        }
        let fit = both / (own * others).sqrt().max(1e-9);
        let gain = both / others.max(1e-9);
        let remaining: Vec<f64> = pixels().zip(warped()).map(|(a, b)| (b - other_mean) * gain - (a - mean)).collect();
        let mut relief = Relief { flows: [[0.0; 2]; FLOWS], size: 0.0, fit: fit as f32 };
        let (mut squares, mut textured) = (0.0, 0);
        let width = PART[2] - PART[0];
        for (index, flow) in relief.flows.iter_mut().enumerate() {
            let (left, top) = (index % PATCHES[0] * PATCH_STEP, index / PATCHES[0] * PATCH_STEP);
            if !is_face(left + PART[0] + PATCH, top + PART[1] + PATCH) {
                continue;
            }
            let (mut xx, mut xy, mut yy, mut x_left, mut y_left) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for y in top..top + 2 * PATCH + 1 {
                for x in left..left + 2 * PATCH + 1 {
                    let at = (y + PART[1]) * SIDE + x + PART[0];
                    let across = f64::from(template[at + 1] - template[at - 1]) / 2.0;
                    let down = f64::from(template[at + SIDE] - template[at - SIDE]) / 2.0;
                    let value = remaining[y * width + x];
                    (xx, xy, yy) = (xx + across * across, xy + across * down, yy + down * down);
                    (x_left, y_left) = (x_left + across * value, y_left + down * value);
                }
            }
            // A ridge pulls the motion along an edge without texture to 0.
            let area = ((2 * PATCH + 1) * (2 * PATCH + 1)) as f64;
            let (xx, yy) = (xx + RIDGE * area, yy + RIDGE * area);
            let determinant = xx * yy - xy * xy;
            let motion = [(x_left * yy - y_left * xy) / determinant, (y_left * xx - x_left * xy) / determinant];
            let motion = motion.map(|value| (value as f32).clamp(-FLOW_MAX, FLOW_MAX) / EYES);
            if motion.iter().all(|value| value.is_finite()) {
                *flow = motion;
                squares += motion[0] * motion[0] + motion[1] * motion[1];
                textured += 1;
            }
        }
        relief.size = (squares / textured.max(1) as f32).sqrt();
        relief
    }
}

/// Whether a place lies within the oval of a face, so that what is behind a head, or behind a photo cut out along it, is
/// not taken for depth.
fn is_face(x: usize, y: usize) -> bool {
    let (across, down) = ((x as f32 - 28.0) / 15.0, (y as f32 - 33.0) / 17.0);
    across * across + down * down <= 1.0
}

/// Squared slope of brightness from pixel to pixel below which there is no texture: about 2 of 255.
const RIDGE: f64 = 4.0;

impl Level {
    fn of(shades: &[f32]) -> Option<Self> {
        let mut slopes = Vec::with_capacity(PIXELS);
        let mut normal = [[0.0; NUMBERS]; NUMBERS];
        for (x, y) in pixels() {
            let at = y * SIDE + x;
            let across = f64::from(shades[at + 1] - shades[at - 1]) / 2.0 * HALF;
            let down = f64::from(shades[at + SIDE] - shades[at - SIDE]) / 2.0 * HALF;
            let [u, v] = unit(x, y);
            let radial = -(across * u + down * v);
            let shade = f64::from(shades[at]) / 128.0;
            let slope = [across * u, across * v, across, down * u, down * v, down, radial * u, radial * v, shade, 1.0];
            for (row, a) in normal.iter_mut().zip(&slope) {
                row.iter_mut().zip(&slope).for_each(|(sum, b)| *sum += a * b);
            }
            slopes.push(slope);
        }
        for (index, row) in normal.iter_mut().enumerate() {
            row[index] = row[index] * 1.0001 + 1e-3;
        }
        Some(Self { slopes, factor: cholesky(normal)? })
    }
}

/// Half of the side: coordinates are about -1 to 1, so that the numbers are of one size.
const HALF: f64 = SIDE as f64 / 2.0;

fn unit(x: usize, y: usize) -> [f64; 2] {
    [(x as f64 - HALF) / HALF, (y as f64 - HALF) / HALF]
}

fn pixels() -> impl Iterator<Item = (usize, usize)> {
    (PART[1]..PART[3]).flat_map(|y| (PART[0]..PART[2]).map(move |x| (x, y)))
}

/// `to` seen through `turn`, less `from`; `None` if most of it lies outside.
fn difference(turn: &[[f64; 3]; 3], from: &[f32], to: &[f32], left: &mut [f64]) -> Option<()> {
    let mut outside = 0;
    for ((x, y), left) in pixels().zip(left) {
        let [u, v] = unit(x, y);
        let [a, b, c] = [0, 1, 2].map(|row| turn[row][0] * u + turn[row][1] * v + turn[row][2]);
        let place = [a / c * HALF + HALF, b / c * HALF + HALF];
        let last = (SIDE - 1) as f64;
        let is_inside = place.iter().all(|at| (0.0..last).contains(at));
        *left = if is_inside {
            let (column, row) = (place[0] as usize, place[1] as usize);
            let (right, below) = (place[0] - column as f64, place[1] - row as f64);
            let of = |x: usize, y: usize| f64::from(to[y * SIDE + x]);
            let upper = of(column, row) * (1.0 - right) + of(column + 1, row) * right;
            let lower = of(column, row + 1) * (1.0 - right) + of(column + 1, row + 1) * right;
            upper * (1.0 - below) + lower * below - f64::from(from[y * SIDE + x])
        } else {
            outside += 1;
            0.0
        };
    }
    (outside * 4 < PIXELS).then_some(())
}

/// The lower triangle whose square the matrix is.
fn cholesky(matrix: [[f64; NUMBERS]; NUMBERS]) -> Option<[[f64; NUMBERS]; NUMBERS]> {
    let mut lower = [[0.0; NUMBERS]; NUMBERS];
    for row in 0..NUMBERS {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| lower[row][k] * lower[column][k]).sum();
            let rest = matrix[row][column] - known;
            lower[row][column] = if row == column {
                if rest.is_nan() || rest <= 1e-9 {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / lower[column][column]
            };
        }
    }
    Some(lower)
}

fn solve(lower: &[[f64; NUMBERS]; NUMBERS], mut values: [f64; NUMBERS]) -> [f64; NUMBERS] {
    for row in 0..NUMBERS {
        let known: f64 = (0..row).map(|k| lower[row][k] * values[k]).sum();
        values[row] = (values[row] - known) / lower[row][row];
    }
    for row in (0..NUMBERS).rev() {
        let known: f64 = (row + 1..NUMBERS).map(|k| lower[k][row] * values[k]).sum();
        values[row] = (values[row] - known) / lower[row][row];
    }
    values
}

fn inverse(m: &[[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let minor = |r: [usize; 2], c: [usize; 2]| m[r[0]][c[0]] * m[r[1]][c[1]] - m[r[0]][c[1]] * m[r[1]][c[0]];
    let adjugate = [
        [minor([1, 2], [1, 2]), -minor([0, 2], [1, 2]), minor([0, 1], [1, 2])],
        [-minor([1, 2], [0, 2]), minor([0, 2], [0, 2]), -minor([0, 1], [0, 2])],
        [minor([1, 2], [0, 1]), -minor([0, 2], [0, 1]), minor([0, 1], [0, 1])],
    ];
    let determinant = m[0][0] * adjugate[0][0] + m[0][1] * adjugate[1][0] + m[0][2] * adjugate[2][0];
    (determinant.abs() > 1e-6).then(|| adjugate.map(|row| row.map(|value| value / determinant)))
}

fn product(a: &[[f64; 3]; 3], b: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    a.map(|row| [0, 1, 2].map(|column| (0..3).map(|k| row[k] * b[k][column]).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth texture, and what of it is seen at a place.
    fn texture(x: f64, y: f64) -> f64 {
        128.0 + 40.0 * (x / 9.0).sin() * (y / 7.0).cos() + 30.0 * (x / 5.0 + y / 11.0).sin() + 20.0 * (y / 4.0).cos()
    }

    fn chip(place: impl Fn(f64, f64) -> [f64; 2]) -> FaceChip {
        let side = CHIP_SIDE;
        let bytes = (0..side * side).flat_map(|index| {
            let [x, y] = place((index % side) as f64, (index / side) as f64);
            [texture(x, y) as u8; 3]
        });
        FaceChip::from_pixels(&bytes.collect::<Vec<_>>()).unwrap()
    }

    fn compare(place: impl Fn(f64, f64) -> [f64; 2]) -> Relief {
        let plane = Plane::new(Shades::of(&chip(|x, y| [x, y]))).unwrap();
        plane.against(&Shades::of(&chip(place))).unwrap()
    }

    #[test]
    fn a_plane_turned_any_way_leaves_nothing() {
        for [a, b, c] in [[1.0, 0.0, 0.0], [0.93, 0.05, 3.0], [1.06, -0.08, -4.0]] {
            for tilt in [0.0, 8e-4, -8e-4] {
                let relief = compare(|x, y| {
                    let far = 1.0 + tilt * (x - 56.0);
                    [(a * (x - 56.0) + b * (y - 56.0)) / far + 56.0 + c, (y - 56.0 - b * (x - 56.0)) / far + 56.0]
                });
                assert!(relief.size < 0.006 && relief.fit > 0.99, "{a} {b} {c} {tilt}: {relief:?}");
            }
        }
    }

    #[test]
    fn what_stands_out_is_left() {
        let bump = |x: f64, y: f64| 6.0 * (-((x - 56.0) / 14.0).powi(2) - ((y - 70.0) / 14.0).powi(2)).exp();
        let relief = compare(|x, y| [x + bump(x, y), y]);
        assert!(relief.size > 0.02, "{relief:?}");
        let other = compare(|x, y| [x, y - bump(x, y)]);
        assert!(relief.alike(&relief) > 0.999 && relief.alike(&other).abs() < 0.5, "{}", relief.alike(&other));
    }

    #[test]
    fn light_is_no_motion() {
        let plane = Plane::new(Shades::of(&chip(|x, y| [x, y]))).unwrap();
        let darker: Vec<u8> = chip(|x, y| [x, y]).pixels().iter().map(|&byte| byte / 2 + 10).collect();
        let relief = plane.against(&Shades::of(&FaceChip::from_pixels(&darker).unwrap())).unwrap();
        assert!(relief.size < 0.004, "{relief:?}");
    }

    #[test]
    fn nothing_to_fit_is_none() {
        let flat = FaceChip::from_pixels(&[90; CHIP_SIDE * CHIP_SIDE * 3]).unwrap();
        let plane = Plane::new(Shades::of(&flat));
        assert!(plane.is_none_or(|plane| plane.against(&Shades::of(&flat)).is_none_or(|it| it.size < 1e-3)));
    }
}
