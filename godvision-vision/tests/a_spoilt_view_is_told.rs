//! A camera covered, turned, frozen or blurred is told once, and once more when it is good again. Lights, filters, shaking
//! and crowds are none of it.

mod common;

use common::{Noise, Wall};
use godvision_core::signal::seen::TamperKind;
use godvision_core::{MonoTime, Stamp, WallTime};
use godvision_vision::motion::{MotionDetector, MotionOptions};
use godvision_vision::plane::LumaView;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
/// Five frames a second.
const FROM: usize = 100;
const TO: usize = 160;
const FRAMES: usize = 220;

fn at(i: usize) -> Stamp {
    let millis = i as u64 * 200;
    Stamp::new(MonoTime::from_millis(millis), WallTime::from_unix_millis(millis as i64))
}

/// Gives (kind, over, frame) of every report.
fn watch(frames: usize, frame: impl Fn(usize) -> Vec<u8>) -> Vec<(TamperKind, bool, usize)> {
    let mut detector = MotionDetector::new(MotionOptions::default(), WIDTH, HEIGHT).unwrap();
    let mut seen = Vec::new();
    for i in 0..frames {
        let luma = frame(i);
        let view = LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap();
        let report = detector.step(view, at(i), i as u64).unwrap();
        seen.extend(report.tamper.map(|step| (step.kind, step.is_over, step.sequence as usize)));
    }
    seen
}

/// Spoilt between `FROM` and `TO`.
fn spoil(spoilt: impl Fn(&Wall, usize) -> Vec<u8>) -> Vec<(TamperKind, bool, usize)> {
    let wall = Wall::new(WIDTH, HEIGHT);
    watch(FRAMES, |i| if (FROM..TO).contains(&i) { spoilt(&wall, i) } else { wall.frame(&[], |v| v, 3.0, i as u64) })
}

#[track_caller]
fn assert_told(seen: &[(TamperKind, bool, usize)], kind: TamperKind) {
    let [(began, false, from), (ended, true, to)] = *seen else { panic!("{seen:?}") };
    assert_eq!((began, ended), (kind, kind));
    assert!((FROM + 15..FROM + 35).contains(&from), "{seen:?}");
    assert!((TO + 15..TO + 35).contains(&to), "{seen:?}");
}

fn blurred(wall: &Wall, reach: usize, seed: u64) -> Vec<u8> {
    let mut noise = Noise::new(seed);
    let across = |pixels: &[f32], dx: usize, dy: usize| -> Vec<f32> {
        let value = |x: usize, y: usize| pixels[y.min(HEIGHT - 1) * WIDTH + x.min(WIDTH - 1)];
        let sum = |i: usize| -> f32 {
            let (x, y) = (i % WIDTH, i / WIDTH);
            (0..=2 * reach)
                .map(|k| value((x + k * dx).saturating_sub(reach * dx), (y + k * dy).saturating_sub(reach * dy)))
                .sum()
        };
        (0..WIDTH * HEIGHT).map(|i| sum(i) / (2 * reach + 1) as f32).collect()
    };
    let wide = across(&across(&wall.pixels, 1, 0), 0, 1);
    wide.iter().map(|v| (v + noise.normal(2.0)).clamp(0.0, 255.0) as u8).collect()
}

#[test]
fn a_covered_lens() {
    for grey in [4.0, 60.0, 180.0] {
        assert_told(&spoil(|wall, i| wall.frame(&[], |_| grey, 2.0, i as u64)), TamperKind::Covered);
    }
}

#[test]
fn a_turned_camera() {
    assert_told(&spoil(|wall, i| wall.shifted(40, 25, 3.0, i as u64)), TamperKind::Turned);
}

#[test]
fn a_blurred_picture() {
    for reach in [4, 8] {
        assert_told(&spoil(|wall, i| blurred(wall, reach, i as u64)), TamperKind::Blurred);
    }
}

#[test]
fn a_frozen_picture() {
    let wall = Wall::new(WIDTH, HEIGHT);
    // Equal for a little less than half a minute: an encoder that skips.
    let seen = watch(420, |i| {
        let shown = if (80..225).contains(&i) { 80 } else { i };
        let shown = if (240..400).contains(&i) { 240 } else { shown };
        wall.frame(&[], |v| v, 3.0, shown as u64)
    });
    let [(TamperKind::Frozen, false, from), (TamperKind::Frozen, true, to)] = seen[..] else { panic!("{seen:?}") };
    assert_eq!((from, to), (240 + 151, 400 + 5), "30 s after the first equal picture; 1 s after it moves again");
}

#[test]
fn a_still_drawing_is_not_frozen() {
    // Something moves in it now and then, but it has no noise.
    let wall = Wall::new(WIDTH, HEIGHT);
    let seen = watch(400, |i| {
        let figures: &[[usize; 4]] = if i / 10 % 9 == 0 { &[[60 + i % 10 * 8, 60, 90 + i % 10 * 8, 160]] } else { &[] };
        wall.frame(figures, |v| v, 0.0, 1)
    });
    assert_eq!(seen, []);
}

#[test]
fn a_light_or_a_filter_is_no_tampering() {
    for light in [|v: f32| v * 0.55, |v| v * 1.8, |v| v * 0.2, |v| 255.0 - 0.7 * v, |v| 0.5 * v + 70.0] {
        assert_eq!(spoil(|wall, i| wall.frame(&[], light, 3.0, i as u64)), []);
    }
}

#[test]
fn noise_and_shaking_are_no_tampering() {
    assert_eq!(spoil(|wall, i| wall.frame(&[], |v| v, 10.0, i as u64)), []);
    let shaken = spoil(|wall, i| {
        let mut noise = Noise::new(i as u64 + 99);
        let mut aside = || (noise.normal(1.2).round() as isize).clamp(-2, 2);
        wall.shifted(aside(), aside(), 2.0, i as u64)
    });
    assert_eq!(shaken, []);
}

#[test]
fn a_crowd_and_a_passing_lorry_are_no_tampering() {
    let crowd = spoil(|wall, i| {
        let figures: Vec<[usize; 4]> =
            (0..16).map(|k| (k * 20 + i * 7) % WIDTH).map(|x| [x, 10 + x % 30, x + 14, HEIGHT]).collect();
        wall.frame(&figures, |v| v, 3.0, i as u64)
    });
    assert_eq!(crowd, []);
    let lorry = spoil(|wall, i| {
        // Three seconds.
        let figures: &[[usize; 4]] = if i < FROM + 15 { &[[0, 0, WIDTH, HEIGHT]] } else { &[] };
        wall.frame(figures, |v| v, 3.0, i as u64)
    });
    assert_eq!(lorry, []);
}

#[test]
fn a_view_accepted_is_the_right_one() {
    let wall = Wall::new(WIDTH, HEIGHT);
    let mut detector = MotionDetector::new(MotionOptions::default(), WIDTH, HEIGHT).unwrap();
    let mut seen = Vec::new();
    for i in 0..300 {
        let shift = if i < FROM { 0 } else { 40 };
        let luma = wall.shifted(shift, shift, 3.0, i as u64);
        let report = detector.step(LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap(), at(i), i as u64).unwrap();
        seen.extend(report.tamper.map(|step| (step.kind, step.is_over)));
        if i == 150 {
            let over = detector.accept_view(at(i), i as u64).unwrap();
            assert_eq!((over.kind, over.is_over), (TamperKind::Turned, true));
            assert_eq!(detector.accept_view(at(i), i as u64), None);
        }
    }
    assert_eq!(seen, [(TamperKind::Turned, false)]);
}

#[test]
fn a_view_without_detail_is_not_judged() {
    let seen = watch(FRAMES, |i| {
        let mut noise = Noise::new(i as u64);
        let grey = if i < FROM { 90.0 } else { 20.0 };
        (0..WIDTH * HEIGHT).map(|_| (grey + noise.normal(3.0)) as u8).collect()
    });
    assert_eq!(seen, []);
}
