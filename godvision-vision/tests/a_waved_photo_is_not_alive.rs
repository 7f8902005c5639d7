//! A photo before a camera does not pass for a person, however it is waved and however coarsely the detector places its
//! points; a head that turns does. Drawn from a real portrait and seen by the real detector.

#![cfg(feature = "face")]

#[path = "common/waved.rs"]
mod waved;

use godvision_core::MonoTime;
use godvision_vision::RgbImage;
use godvision_vision::face::liveness::{Liveness, LivenessCheck, Parallax};
use godvision_vision::face::{Face, FaceChip, FaceDetector, YuNet, YuNetOptions};
use waved::{Pose, Scene, draw};

fn portrait() -> RgbImage {
    let picture = image::load_from_memory(include_bytes!("data/astronaut.png")).unwrap().into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    RgbImage::new(picture.into_raw(), width, height).unwrap()
}

/// Whether it passes within so many pictures, five a second. Each point is off by up to `coarse` pixels.
fn passes(scene: Scene, pictures: u64, coarse: f32, pose: impl Fn(f64) -> Pose) -> bool {
    let picture = portrait();
    let mut detector = YuNet::new(YuNetOptions { side: 360, ..YuNetOptions::default() }).unwrap();
    let face = detector.find(picture.view()).unwrap()[0];
    let mut check = Parallax::default();
    (0..pictures).any(|frame| {
        let seen = draw(picture.view(), &face, pose(frame as f64 / 5.0), scene, frame + 1);
        let Some(mut found) = detector.find(seen.view()).unwrap().first().copied() else { return false };
        tremble(&mut found, coarse, frame);
        let chip = FaceChip::cut(seen.view(), &found.points).unwrap();
        check.look(MonoTime::from_millis(frame * 200), &found, &chip) == Liveness::Live
    })
}

fn tremble(face: &mut Face, coarse: f32, seed: u64) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for value in face.points.iter_mut().flatten() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *value += ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * coarse;
    }
}

const PHOTO: Scene = Scene { is_head: false, eyes: 60.0, noise: 3.0 };
const HEAD: Scene = Scene { is_head: true, ..PHOTO };

fn waved(t: f64) -> Pose {
    let (yaw, pitch) = (0.5 * (1.7 * t).sin(), 0.3 * (2.3 * t).cos());
    Pose { yaw, pitch, roll: 0.2 * (0.7 * t).sin(), shift: [0.2 * (0.9 * t).sin(), 0.1 * t.cos()] }
}

fn turned(t: f64) -> Pose {
    Pose { yaw: 0.3 * (2.1 * t).sin(), ..Pose::default() }
}

#[test]
fn a_waved_photo_does_not_pass_and_a_turning_head_does() {
    assert!(!passes(PHOTO, 60, 0.0, waved));
    assert!(passes(HEAD, 15, 0.0, turned));
}

#[test]
fn coarse_points_of_a_photo_do_not_pass_for_movement() {
    assert!(!passes(PHOTO, 60, 5.0, waved));
    assert!(!passes(PHOTO, 30, 5.0, |_| Pose::default()));
    assert!(passes(HEAD, 30, 3.0, turned));
}

#[test]
fn a_small_face_in_a_dim_picture() {
    let dim = Scene { eyes: 30.0, noise: 8.0, ..PHOTO };
    assert!(!passes(dim, 60, 1.0, waved));
    assert!(passes(Scene { is_head: true, ..dim }, 30, 1.0, turned));
}

#[test]
fn a_head_that_keeps_still_is_not_said_to_be_alive() {
    assert!(!passes(HEAD, 30, 0.0, |t| Pose { shift: [0.1 * t.sin(), 0.05 * t.cos()], ..Pose::default() }));
}
