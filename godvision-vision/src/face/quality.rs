//! Whether a face can be recognised as it is shown, and what to do about it: [`Quality`].
//!
//! A small, turned or blurred face is not merely recognised less often: it is more often taken for somebody else. With
//! the built-in model, faces shrunk to 25 pixels had seven times as many false matches at the same threshold, so
//! the width is a limit of safety. What keeps a face back is said in words that can stand on a display at a door.
//!
//! Turn and nod are estimated from the five points alone. In units of the distance of the eyes, the tip of the nose stands
//! about 0.6 in front of the plane of the eyes and mouth, so turning by `a` moves it sideways by `0.6 tan(a)` of the eyes'
//! apparent distance; nodding moves it along the line from eyes to mouth in the same way. That is good to some degrees for
//! noses of the usual shape, which is enough to ask for a straight look.
//!
//! Sharpness is the variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy",
//! 2000) of the chip. A small face that was enlarged into its chip is as smooth as a blurred one.
//!
//! **Never:** beauty, age, sex, mood.

#![forbid(unsafe_code)]
#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is not a number must not pass")]

use super::{CHIP_SIDE, Face, FaceChip};

/// How far the tip of the nose stands before the face, in distances of the eyes: 35 to 40 mm of 63 mm.
const NOSE: f32 = 0.6;
/// Where the nose lies between eyes (0) and mouth (1) in a face that looks straight: in the template of the chip,
/// (71.7 - 51.6) / (92.3 - 51.6).
const NOSE_DOWN: f32 = 0.494;
/// How far the nose moves on that scale for a nod of 45 degrees: 0.6 distances of the eyes, of which eyes and mouth are
/// 1.155 apart in the template.
const NOD: f32 = NOSE / 1.155;

/// What a face must be like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QualityOptions {
    /// Least width of the box in pixels for a decision at a door. 60.
    pub width_min: f32,
    /// Width below which a face is not compared at all. 40.
    pub width_reject: f32,
    /// Most turn to a side, degrees. 35.
    pub yaw_max: f32,
    /// Most nod up or down, degrees. 30.
    pub pitch_max: f32,
    /// Most lean to a side, degrees. 45: the chip is turned upright, but the detector is less sure of its points.
    pub roll_max: f32,
    /// Least variance of the chip's Laplacian. 20.
    pub sharpness_min: f32,
    /// Mean brightness of the chip that is too dark, 0 to 255. 35.
    pub brightness_min: f32,
    /// Mean brightness of the chip that is too bright. 225.
    pub brightness_max: f32,
    /// Least standard deviation of the chip's brightness. 12: fog, glare, a face against the light.
    pub contrast_min: f32,
    /// Least score of the detector. 0.7.
    pub score_min: f32,
}

impl Default for QualityOptions {
    fn default() -> Self {
        Self {
            width_min: 60.0,
            width_reject: 40.0,
            yaw_max: 35.0,
            pitch_max: 30.0,
            roll_max: 45.0,
            sharpness_min: 20.0,
            brightness_min: 35.0,
            brightness_max: 225.0,
            contrast_min: 12.0,
            score_min: 0.7,
        }
    }
}

/// Something that keeps a face from being recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Concern {
    /// Far too small: it is not compared with anybody.
    TooFar,
    /// Too small for a door.
    Far,
    /// Turned to a side.
    Turned,
    /// Looking up or down.
    Nodding,
    /// Leaning to a side.
    Leaning,
    /// Not sharp: moving, out of focus, or enlarged.
    Blurred,
    /// Too little light.
    Dark,
    /// Too much light.
    Bright,
    /// No contrast: glare, fog, light from behind.
    Flat,
    /// Partly outside of the picture.
    CutOff,
    /// The detector is not sure that it is a face: something covers it.
    Covered,
}

impl Concern {
    /// All of them, the most important first.
    pub const ALL: [Self; 11] = [
        Self::TooFar,
        Self::CutOff,
        Self::Covered,
        Self::Dark,
        Self::Bright,
        Self::Flat,
        Self::Turned,
        Self::Nodding,
        Self::Leaning,
        Self::Blurred,
        Self::Far,
    ];

    /// For journals and metrics: `too_far`, `turned`, ...
    pub fn code(self) -> &'static str {
        match self {
            Self::TooFar => "too_far",
            Self::Far => "far",
            Self::Turned => "turned",
            Self::Nodding => "nodding",
            Self::Leaning => "leaning",
            Self::Blurred => "blurred",
            Self::Dark => "dark",
            Self::Bright => "bright",
            Self::Flat => "flat",
            Self::CutOff => "cut_off",
            Self::Covered => "covered",
        }
    }

    /// For a display at a door.
    pub fn advice(self) -> &'static str {
        match self {
            Self::TooFar | Self::Far => "come closer",
            Self::Turned | Self::Nodding => "look at the camera",
            Self::Leaning => "hold your head upright",
            Self::Blurred => "hold still",
            Self::Dark => "step into the light",
            Self::Bright | Self::Flat => "turn away from the bright light",
            Self::CutOff => "step into the middle of the picture",
            Self::Covered => "uncover your face",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of [`Concern`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Concerns(u16);

impl Concerns {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `concern` is among them.
    pub fn has(self, concern: Concern) -> bool {
        self.0 & concern.bit() != 0
    }

    /// The most important first.
    pub fn iter(self) -> impl Iterator<Item = Concern> {
        Concern::ALL.into_iter().filter(move |concern| self.has(*concern))
    }

    /// The one to show.
    pub fn first(self) -> Option<Concern> {
        self.iter().next()
    }

    fn note(&mut self, concern: Concern, applies: bool) {
        self.0 |= if applies { concern.bit() } else { 0 };
    }
}

impl std::fmt::Debug for Concerns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Which way a head is turned, in degrees, estimated from five points.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pose {
    /// To a side: positive to the subject's left, which is the picture's right.
    pub yaw: f32,
    /// Positive upwards.
    pub pitch: f32,
    /// Leaning: positive clockwise in the picture.
    pub roll: f32,
}

impl Pose {
    /// Of points in the order of [`Face::points`]. Points on one spot give a face from behind: 90 degrees.
    pub fn of(points: &[[f32; 2]; 5]) -> Self {
        let [right_eye, left_eye, nose, right_mouth, left_mouth] = *points;
        let (eyes, mouth) = (middle(right_eye, left_eye), middle(right_mouth, left_mouth));
        let across = minus(left_eye, right_eye);
        let distance = across[0].hypot(across[1]);
        let down = minus(mouth, eyes);
        let height = down[0].hypot(down[1]);
        let is_seen = distance > f32::EPSILON && height > f32::EPSILON;
        if !is_seen {
            return Self { yaw: 90.0, pitch: 90.0, roll: 0.0 };
        }
        let axis = [across[0] / distance, across[1] / distance];
        // Sideways from the line between the middles of eyes and mouth, so that leaning and a crooked mouth cancel.
        let along = dot(minus(nose, eyes), down) / (height * height);
        let on_line = [eyes[0] + down[0] * along, eyes[1] + down[1] * along];
        let aside = dot(minus(nose, on_line), axis) / distance;
        Self {
            yaw: (aside / NOSE).atan().to_degrees(),
            pitch: ((NOSE_DOWN - along) / NOD).atan().to_degrees(),
            roll: axis[1].atan2(axis[0]).to_degrees(),
        }
    }
}

fn middle(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0]
}

fn minus(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

fn dot(a: [f32; 2], b: [f32; 2]) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

/// How well a face is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Width of the box, pixels.
    pub width: f32,
    /// Which way it looks.
    pub pose: Pose,
    /// Variance of the chip's Laplacian.
    pub sharpness: f32,
    /// Mean brightness of the chip, 0 to 255.
    pub brightness: f32,
    /// Standard deviation of it.
    pub contrast: f32,
    /// The detector's score.
    pub score: f32,
    /// What keeps it back.
    pub concerns: Concerns,
}

impl Quality {
    /// Judges `face` in a picture of `size` (width, height), with its `chip`. Does not allocate; about 15 us.
    pub fn of(face: &Face, chip: &FaceChip, size: [usize; 2], options: &QualityOptions) -> Self {
        let pose = Pose::of(&face.points);
        let (brightness, contrast, sharpness) = look(chip);
        let mut concerns = Concerns::default();
        let width = face.width();
        // Written so that what is not a number is a concern.
        concerns.note(Concern::TooFar, !(width >= options.width_reject));
        concerns.note(Concern::Far, !(width >= options.width_min));
        concerns.note(Concern::Turned, !(pose.yaw.abs() <= options.yaw_max));
        concerns.note(Concern::Nodding, !(pose.pitch.abs() <= options.pitch_max));
        concerns.note(Concern::Leaning, !(pose.roll.abs() <= options.roll_max));
        concerns.note(Concern::Blurred, !(sharpness >= options.sharpness_min));
        concerns.note(Concern::Dark, !(brightness >= options.brightness_min));
        concerns.note(Concern::Bright, !(brightness <= options.brightness_max));
        concerns.note(Concern::Flat, !(contrast >= options.contrast_min));
        concerns.note(Concern::Covered, !(face.score >= options.score_min));
        let [picture_width, picture_height] = size.map(|side| side as f32);
        let inside = |[x, y]: [f32; 2]| x >= 0.0 && y >= 0.0 && x < picture_width && y < picture_height;
        concerns.note(Concern::CutOff, !face.points.into_iter().all(inside));
        Self { width, pose, sharpness, brightness, contrast, score: face.score, concerns }
    }

    /// Whether it may decide about a door.
    pub fn is_good(&self) -> bool {
        self.concerns.is_empty()
    }

    /// Whether comparing it says anything: nothing but its width, and that above the lower limit, is against it.
    pub fn is_usable(&self) -> bool {
        let mut others = self.concerns;
        others.0 &= !Concern::Far.bit();
        others.is_empty()
    }

    /// What to show at a door.
    pub fn advice(&self) -> Option<&'static str> {
        self.concerns.first().map(Concern::advice)
    }

    /// Orders pictures of one face: larger, straighter and sharper is better. 0 to 1.
    pub fn grade(&self) -> f32 {
        let width = (self.width / 120.0).clamp(0.0, 1.0);
        let straight = (1.0 - self.pose.yaw.abs() / 60.0).max(0.0) * (1.0 - self.pose.pitch.abs() / 60.0).max(0.0);
        let sharp = (self.sharpness / 200.0).clamp(0.0, 1.0);
        let grade = self.score.clamp(0.0, 1.0) * (width * straight * sharp).cbrt();
        if grade.is_finite() { grade } else { 0.0 }
    }
}

/// Part of the chip that is face and not background or hair, in pixels from each side.
const RIM: usize = 16;

/// Mean and standard deviation of brightness, variance of the Laplacian, of the chip's middle.
fn look(chip: &FaceChip) -> (f32, f32, f32) {
    let pixels = chip.pixels();
    // BT.601 luma in 1/256.
    let luma = |x: usize, y: usize| {
        let at = (y * CHIP_SIDE + x) * 3;
        let [r, g, b] = [0, 1, 2].map(|channel| i32::from(pixels[at + channel]));
        (77 * r + 150 * g + 29 * b + 128) >> 8
    };
    let mut rows = [[0_i32; CHIP_SIDE]; 3];
    let fill = |row: &mut [i32; CHIP_SIDE], y: usize| row.iter_mut().enumerate().for_each(|(x, v)| *v = luma(x, y));
    let (mut sum, mut squares, mut bend, mut bends) = (0_i64, 0_i64, 0_i64, 0_i64);
    for (row, y) in rows.iter_mut().zip(RIM - 1..) {
        fill(row, y);
    }
    for y in RIM..CHIP_SIDE - RIM {
        let [above, here, below] = &rows;
        for x in RIM..CHIP_SIDE - RIM {
            let value = here[x];
            let laplacian = above[x] + below[x] + here[x - 1] + here[x + 1] - 4 * value;
            sum += i64::from(value);
            squares += i64::from(value * value);
            bend += i64::from(laplacian);
            bends += i64::from(laplacian * laplacian);
        }
        rows.rotate_left(1);
        fill(&mut rows[2], y + 2);
    }
    let count = ((CHIP_SIDE - 2 * RIM) * (CHIP_SIDE - 2 * RIM)) as f64;
    let mean = sum as f64 / count;
    let deviation = (squares as f64 / count - mean * mean).max(0.0).sqrt();
    let bend = bend as f64 / count;
    (mean as f32, deviation as f32, (bends as f64 / count - bend * bend).max(0.0) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head of the usual shape, turned and seen from far away. x to the subject's left, y down, z to the camera.
    pub(crate) fn head(yaw: f32, pitch: f32, roll: f32, eye_distance: f32) -> [[f32; 2]; 5] {
        let (yaw, pitch, roll) = (yaw.to_radians(), pitch.to_radians(), roll.to_radians());
        let solid = [
            [-0.5, 0.0, 0.0_f32],
            [0.5, 0.0, 0.0],
            [0.0, NOSE_DOWN * 1.155, NOSE],
            [-0.42, 1.155, 0.0],
            [0.42, 1.155, 0.0],
        ];
        solid.map(|[x, y, z]| {
            let (x, z) = (x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin());
            let y = y * pitch.cos() - z * pitch.sin();
            let (x, y) = (x * roll.cos() - y * roll.sin(), x * roll.sin() + y * roll.cos());
            [100.0 + eye_distance * x, 80.0 + eye_distance * y]
        })
    }

    fn face(points: [[f32; 2]; 5], width: f32) -> Face {
        Face { bounds: [50.0, 40.0, 50.0 + width, 150.0], score: 0.95, points }
    }

    fn chip(pixel: impl Fn(usize, usize) -> u8) -> FaceChip {
        let pixels: Vec<u8> =
            (0..CHIP_SIDE * CHIP_SIDE).flat_map(|i| [pixel(i % CHIP_SIDE, i / CHIP_SIDE); 3]).collect();
        FaceChip::from_pixels(&pixels).unwrap()
    }

    fn textured() -> FaceChip {
        chip(|x, y| if (x / 4 + y / 4) % 2 == 0 { 90 } else { 160 })
    }

    fn judged(face: &Face, chip: &FaceChip) -> Quality {
        Quality::of(face, chip, [640, 480], &QualityOptions::default())
    }

    #[test]
    fn turns_are_estimated_within_a_few_degrees() {
        for yaw in [-40.0, -20.0, 0.0, 10.0, 35.0_f32] {
            for pitch in [-20.0, 0.0, 15.0_f32] {
                for roll in [-30.0, 0.0, 20.0] {
                    let pose = Pose::of(&head(yaw, pitch, roll, 50.0));
                    assert!((pose.yaw - yaw).abs() < 8.0, "{yaw} {pitch} {roll}: {pose:?}");
                    assert!((pose.pitch - pitch).abs() < 8.0, "{yaw} {pitch} {roll}: {pose:?}");
                    assert!((pose.roll - roll).abs() < 20.0, "{yaw} {pitch} {roll}: {pose:?}");
                }
            }
        }
    }

    #[test]
    fn a_good_face_has_no_concerns_and_each_fault_has_its_own() {
        let good = judged(&face(head(0.0, 0.0, 0.0, 50.0), 90.0), &textured());
        assert!(good.is_good(), "{good:?}");
        let concern = |face: &Face, chip: &FaceChip| judged(face, chip).concerns.iter().collect::<Vec<_>>();
        let straight = head(0.0, 0.0, 0.0, 50.0);
        assert_eq!(concern(&face(straight, 59.0), &textured()), [Concern::Far]);
        assert_eq!(concern(&face(straight, 39.0), &textured()), [Concern::TooFar, Concern::Far]);
        assert_eq!(concern(&face(head(50.0, 0.0, 0.0, 50.0), 90.0), &textured()), [Concern::Turned]);
        assert_eq!(concern(&face(head(0.0, -45.0, 0.0, 50.0), 90.0), &textured()), [Concern::Nodding]);
        assert_eq!(concern(&face(head(0.0, 0.0, 60.0, 50.0), 90.0), &textured()), [Concern::Leaning]);
        let smooth = chip(|x, _| 60 + x as u8);
        assert_eq!(concern(&face(straight, 90.0), &smooth), [Concern::Blurred]);
        let dark = chip(|x, y| if (x / 4 + y / 4) % 2 == 0 { 4 } else { 60 });
        assert_eq!(concern(&face(straight, 90.0), &dark), [Concern::Dark]);
        let bright = chip(|x, y| if (x / 4 + y / 4) % 2 == 0 { 205 } else { 255 });
        assert_eq!(concern(&face(straight, 90.0), &bright), [Concern::Bright]);
        let flat = chip(|x, y| 120 + ((x / 2 + y / 2) % 2) as u8 * 10);
        assert_eq!(concern(&face(straight, 90.0), &flat), [Concern::Flat]);
        let mut unsure = face(straight, 90.0);
        unsure.score = 0.65;
        assert_eq!(concern(&unsure, &textured()), [Concern::Covered]);
        let outside = straight.map(|[x, y]| [x - 90.0, y]);
        assert_eq!(concern(&face(outside, 90.0), &textured()), [Concern::CutOff]);
    }

    #[test]
    fn far_faces_are_compared_but_open_nothing() {
        let far = judged(&face(head(0.0, 0.0, 0.0, 25.0), 50.0), &textured());
        assert!(far.is_usable() && !far.is_good());
        assert_eq!(far.advice(), Some("come closer"));
        assert!(!judged(&face(head(0.0, 0.0, 0.0, 15.0), 30.0), &textured()).is_usable());
    }

    #[test]
    fn what_is_not_a_number_is_a_concern() {
        let odd = Face { bounds: [f32::NAN; 4], score: f32::NAN, points: [[f32::NAN; 2]; 5] };
        let quality = judged(&odd, &textured());
        for concern in [Concern::TooFar, Concern::Turned, Concern::Nodding, Concern::Covered, Concern::CutOff] {
            assert!(quality.concerns.has(concern), "{quality:?}");
        }
        assert!((0.0..=1.0).contains(&quality.grade()));
        let on_one_spot = face([[5.0; 2]; 5], 90.0);
        assert!(judged(&on_one_spot, &textured()).concerns.has(Concern::Turned));
    }

    #[test]
    fn better_pictures_have_a_better_grade() {
        let near = judged(&face(head(0.0, 0.0, 0.0, 50.0), 110.0), &textured()).grade();
        let small = judged(&face(head(0.0, 0.0, 0.0, 50.0), 60.0), &textured()).grade();
        let turned = judged(&face(head(30.0, 0.0, 0.0, 50.0), 110.0), &textured()).grade();
        assert!(near > small && near > turned, "{near} {small} {turned}");
    }
}
