//! A photo waved before a camera, and the same face with depth turned to the sides: what a liveness check must tell
//! apart. Drawn by casting a ray through each pixel.

use godvision_vision::face::Face;
use godvision_vision::{RgbImage, RgbView};

/// Sides of the camera's picture.
const SIDE: usize = 360;
/// Distance from the camera, in distances of the eyes: about half a metre.
const FAR: f64 = 8.0;

/// How the thing is held: turns in radians, shift in distances of the eyes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pose {
    /// To the side.
    pub(crate) yaw: f64,
    /// Up and down.
    pub(crate) pitch: f64,
    /// In the picture.
    pub(crate) roll: f64,
    /// Right and down.
    pub(crate) shift: [f64; 2],
}

/// What is before the camera, and how well it sees.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    /// With the depth of a head; else flat.
    pub(crate) is_head: bool,
    /// Pixels between the eyes.
    pub(crate) eyes: f64,
    /// Deviation of a pixel's brightness from picture to picture.
    pub(crate) noise: f64,
}

/// What stands out of a face's plane towards the camera at a place in distances of the eyes from the middle between them:
/// an egg of a head, a nose.
fn depth([x, y]: [f64; 2]) -> f64 {
    let egg = 1.0 - (x / 1.25).powi(2) - ((y - 0.4) / 1.7).powi(2);
    let nose = (-(x / 0.2).powi(2) - ((y - 0.52) / 0.25).powi(2)).exp();
    0.8 * egg.max(0.0).sqrt() - 0.7 + 0.4 * nose
}

/// The picture of `photo`, whose face is `face`, in this pose. `seed` draws the noise.
pub(crate) fn draw(photo: RgbView<'_>, face: &Face, pose: Pose, scene: Scene, seed: u64) -> RgbImage {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = move || {
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        // The sum of three of deviation 0.289 has half.
        (uniform() + uniform() + uniform()) * 2.0
    };
    let [right, left, ..] = face.points.map(|point| point.map(f64::from));
    let across = [left[0] - right[0], left[1] - right[1]];
    let middle = [(left[0] + right[0]) / 2.0, (left[1] + right[1]) / 2.0];
    let turn = turn(pose);
    let mut picture = RgbImage::black(SIDE, SIDE).unwrap();
    for (index, pixel) in picture.bytes_mut().chunks_exact_mut(3).enumerate() {
        let (x, y) = (index % SIDE, index / SIDE);
        // The face's middle, half an eye distance below the eyes, is in the picture's middle.
        let ray =
            [(x as f64 - SIDE as f64 / 2.0) / (scene.eyes * FAR), (y as f64 - SIDE as f64 / 2.0) / (scene.eyes * FAR)];
        let mut place = [0.0; 2];
        for _ in 0..if scene.is_head { 8 } else { 1 } {
            let out = if scene.is_head { depth(place) } else { 0.0 };
            place = meet(&turn, pose.shift, ray, out);
        }
        // From distances of the eyes to the photo's pixels.
        let from = [
            middle[0] + place[0] * across[0] - place[1] * across[1],
            middle[1] + place[0] * across[1] + place[1] * across[0],
        ];
        let wall = 90 + (x / 24 * 7 + y / 24 * 13) % 60;
        let shade = sample(photo, from).unwrap_or([wall as f64; 3]);
        let tremble = noise() * scene.noise;
        pixel.iter_mut().zip(shade).for_each(|(byte, shade)| *byte = (shade + tremble + 0.5) as u8);
    }
    picture
}

fn turn(pose: Pose) -> [[f64; 3]; 3] {
    let ([sy, sp, sr], [cy, cp, cr]) =
        ([pose.yaw, pose.pitch, pose.roll].map(f64::sin), [pose.yaw, pose.pitch, pose.roll].map(f64::cos));
    let yaw = [[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]];
    let pitch = [[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]];
    let roll = [[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]];
    let product = |a: [[f64; 3]; 3], b: [[f64; 3]; 3]| {
        a.map(|row| [0, 1, 2].map(|column| (0..3).map(|k| row[k] * b[k][column]).sum()))
    };
    product(roll, product(pitch, yaw))
}

/// Where the ray meets the plane that stands `out` before the face.
fn meet(turn: &[[f64; 3]; 3], shift: [f64; 2], ray: [f64; 2], out: f64) -> [f64; 2] {
    // turn * (u, v - 0.5, -out) + (shift, FAR) = t * (ray, 1): two equations once t is put in.
    let row = |axis: usize| {
        let of = |column: usize| turn[axis][column] - ray[axis] * turn[2][column];
        (of(0), of(1), ray[axis] * FAR - shift[axis] + of(2) * out)
    };
    let ((a, b, e), (c, d, f)) = (row(0), row(1));
    let area = a * d - b * c;
    [(e * d - b * f) / area, (a * f - e * c) / area + 0.5]
}

fn sample(photo: RgbView<'_>, [x, y]: [f64; 2]) -> Option<[f64; 3]> {
    let is_inside = x >= 0.0 && y >= 0.0 && x < photo.width() as f64 - 1.0 && y < photo.height() as f64 - 1.0;
    if !is_inside {
        return None;
    }
    let (left, top) = (x as usize, y as usize);
    let (right_part, lower_part) = (x - left as f64, y - top as f64);
    let of = |row: &[u8], channel: usize| {
        let at = left * 3 + channel;
        f64::from(row[at]) * (1.0 - right_part) + f64::from(row[at + 3]) * right_part
    };
    let (upper, lower) = (photo.row(top), photo.row(top + 1));
    Some([0, 1, 2].map(|channel| of(upper, channel) * (1.0 - lower_part) + of(lower, channel) * lower_part))
}
