//! A light, an infra-red filter, a ramp of the exposure: one change of the scene, no motion, and a clean mask at once.
//! Noise and shaking are neither.

mod common;

use common::{Noise, Wall, at};
use godvision_core::signal::seen::MotionPhase;
use godvision_vision::motion::{MotionDetector, MotionOptions};
use godvision_vision::plane::LumaView;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
/// The frame at which the light changes.
const STEP: usize = 60;
/// Frames looked at afterwards.
const AFTER: usize = 50;

#[derive(Debug, Default)]
struct Seen {
    scenes: Vec<usize>,
    started: usize,
    /// Mean share of falsely marked pixels over the frames after the step.
    false_share: f64,
    /// The worst frame of them.
    worst_share: f64,
}

fn watch(frame: impl Fn(usize) -> Vec<u8>) -> Seen {
    let mut detector = MotionDetector::new(MotionOptions::default(), WIDTH, HEIGHT).unwrap();
    let mut seen = Seen::default();
    for i in 0..STEP + AFTER {
        let luma = frame(i);
        let report = detector.step(LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap(), at(i), i as u64).unwrap();
        if let Some(scene) = report.scene {
            seen.scenes.push((scene.at.mono.as_nanos() / 40_000_000) as usize);
        }
        seen.started += usize::from(report.step.is_some_and(|step| step.phase == MotionPhase::Started));
        let mask = report.mask();
        let share = mask.count() as f64 / (mask.width() * mask.height()) as f64;
        if i >= STEP {
            seen.false_share += share / AFTER as f64;
            seen.worst_share = seen.worst_share.max(share);
        }
    }
    seen
}

fn lit(light: impl Fn(usize, f32) -> f32) -> Seen {
    let wall = Wall::new(WIDTH, HEIGHT);
    watch(|i| wall.frame(&[], |v| light(i, v), 3.0, i as u64))
}

#[track_caller]
fn assert_one_change(seen: &Seen) {
    assert_eq!(seen.scenes, [STEP], "{seen:?}");
    assert_eq!(seen.started, 0, "{seen:?}");
    assert!(seen.false_share <= 0.02, "{seen:?}");
}

#[test]
fn a_light_going_out_or_on() {
    assert_one_change(&lit(|i, v| if i < STEP { v } else { v * 0.55 }));
    assert_one_change(&lit(|i, v| if i < STEP { v } else { v * 1.8 }));
}

#[test]
fn an_infra_red_filter() {
    // Some things get brighter and some darker: no sign in common, only the step and the quiet after it.
    assert_one_change(&lit(|i, v| if i < STEP { v } else { 0.5 * v + 70.0 + 50.0 * (v / 20.0).sin() }));
    assert_one_change(&lit(|i, v| if i < STEP { v } else { 255.0 - 0.7 * v }));
}

#[test]
fn an_exposure_that_overshoots_and_settles() {
    let gain = |i: usize| match i {
        ..STEP => 1.0,
        _ if i < STEP + 3 => 1.9,
        _ if i < STEP + 8 => 1.9 - 0.05 * (i - STEP - 2) as f32,
        _ => 1.6,
    };
    let seen = lit(|i, v| v * gain(i));
    assert_one_change(&seen);
}

#[test]
fn two_lights_far_apart_are_two_changes() {
    let wall = Wall::new(WIDTH, HEIGHT);
    let gain = |i: usize| if (20..STEP + 20).contains(&i) { 0.55 } else { 1.0 };
    let seen = watch(|i| wall.frame(&[], |v| v * gain(i), 3.0, i as u64));
    assert_eq!(seen.scenes, [20, STEP + 20]);
}

#[test]
fn a_slow_dusk_is_neither() {
    // 30 % darker within 2 s.
    let seen = lit(|i, v| v * (1.0 - 0.006 * i.saturating_sub(STEP) as f32));
    assert_eq!((seen.scenes.len(), seen.started), (0, 0), "{seen:?}");
    assert!(seen.false_share <= 0.02, "{seen:?}");
}

#[test]
fn noise_and_shaking_are_neither() {
    let noisy = lit(|_, v| v);
    assert!(noisy.worst_share == 0.0, "{noisy:?}");
    let wall = Wall::new(WIDTH, HEIGHT);
    let noisier = watch(|i| wall.frame(&[], |v| v, if i < STEP { 2.0 } else { 10.0 }, i as u64));
    assert_eq!((noisier.scenes.len(), noisier.started), (0, 0), "{noisier:?}");
    assert!(noisier.false_share <= 0.03, "{noisier:?}");
    let shaken = watch(|i| {
        let mut noise = Noise::new(i as u64 + 99);
        let mut aside = || (noise.normal(1.2).round() as isize).clamp(-2, 2);
        if i < STEP { wall.shifted(0, 0, 2.0, i as u64) } else { wall.shifted(aside(), aside(), 2.0, i as u64) }
    });
    assert_eq!((shaken.scenes.len(), shaken.started), (0, 0), "{shaken:?}");
    assert!(shaken.false_share <= 0.03, "{shaken:?}");
}

#[test]
fn a_crowd_that_fills_the_picture_is_motion() {
    // Figures enter from the left until they cover 80 % of the width.
    let wall = Wall::new(WIDTH, HEIGHT);
    let seen = watch(|i| {
        let edge = (i.saturating_sub(20) * 4).min(WIDTH * 8 / 10);
        let figures: Vec<[usize; 4]> =
            (0..edge / 16).map(|k| [k * 16, 10 + (i * 3 + k * 31) % 30, k * 16 + 12, HEIGHT]).collect();
        wall.frame(&figures, |v| v, 3.0, i as u64)
    });
    assert_eq!((seen.scenes.len(), seen.started), (0, 1), "{seen:?}");
}
