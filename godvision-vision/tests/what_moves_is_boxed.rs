//! A figure walks through: where it is, since when, in which zone, and what happens when it stops or when it was there
//! from the start.

mod common;

use std::time::Duration;

use common::{Wall, at};
use godvision_core::signal::seen::MotionPhase;
use godvision_core::{MonoTime, Stamp};
use godvision_vision::motion::{BOXES_MAX, MotionDetector, MotionOptions, Sensitivity, Zone};
use godvision_vision::plane::LumaView;
use godvision_vision::{Error, MotionStep};

const WIDTH: usize = 640;
const HEIGHT: usize = 360;

/// A walker of 24x60 pixels, 3 pixels a frame.
fn walker(i: usize) -> [usize; 4] {
    [i * 3, 150, i * 3 + 24, 210]
}

struct Frame {
    boxes: Vec<[usize; 4]>,
    zones: Vec<String>,
    step: Option<MotionStep>,
    share: f32,
    marked: usize,
}

fn run(options: MotionOptions, frames: usize, figures: impl Fn(usize) -> Vec<[usize; 4]>) -> Vec<Frame> {
    let wall = Wall::new(WIDTH, HEIGHT);
    let mut detector = MotionDetector::new(options, WIDTH, HEIGHT).unwrap();
    (0..frames)
        .map(|i| {
            let luma = wall.frame(&figures(i), |v| v, 3.0, i as u64);
            let report = detector.step(LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap(), at(i), i as u64).unwrap();
            Frame {
                boxes: report.boxes().iter().map(|found| found.pixels).collect(),
                zones: report.zones().map(str::to_owned).collect(),
                step: report.step,
                share: report.share(),
                marked: report.mask().count(),
            }
        })
        .collect()
}

#[test]
fn a_walker_is_one_box_around_it_and_one_event() {
    let frames = run(MotionOptions::default(), 250, |i| if (50..120).contains(&i) { vec![walker(i)] } else { vec![] });
    assert!(frames[..50].iter().all(|frame| frame.boxes.is_empty()));
    for (i, frame) in frames.iter().enumerate().take(120).skip(52) {
        let boxes = &frame.boxes;
        assert_eq!(boxes.len(), 1, "frame {i}");
        for (side, wanted) in boxes[0].iter().zip(walker(i)) {
            assert!(side.abs_diff(wanted) <= 8, "frame {i}: {boxes:?}, {:?}", walker(i));
        }
        let share = 24.0 * 60.0 / (WIDTH * HEIGHT) as f32;
        assert!((frame.share / share - 1.0).abs() < 0.5, "frame {i}: {}", frame.share);
    }
    let steps: Vec<_> = frames.iter().filter_map(|frame| frame.step).collect();
    assert_eq!((steps[0].phase, steps[0].event, steps[0].sequence), (MotionPhase::Started, 1, 50));
    let last = steps.last().unwrap();
    assert_eq!((last.phase, last.event), (MotionPhase::Ended, 1));
    assert!((190..=200).contains(&last.sequence), "three quiet seconds after frame 119: {}", last.sequence);
    assert!(steps[1..steps.len() - 1].iter().all(|step| step.phase == MotionPhase::Ongoing));
}

#[test]
fn zones_name_and_limit() {
    let zone = |text: &str| text.parse::<Zone>().unwrap();
    let with = |zones: Vec<Zone>| {
        let mut options = MotionOptions::default();
        options.zones = zones;
        run(options, 140, |i| if i >= 30 { vec![walker(i)] } else { vec![] })
    };
    // The walker passes x = 320 (the middle) around frame 100.
    let left = with(vec![zone("gate: 0,0 500,0 500,1000 0,1000")]);
    assert_eq!(left[60].zones, ["gate"]);
    assert!(left[60].boxes.len() == 1 && left[125].boxes.is_empty());
    let ignored = with(vec![zone("!path: 0,300 1000,300 1000,700 0,700")]);
    assert!(ignored.iter().all(|frame| frame.boxes.is_empty()));
    assert!(ignored[60].marked > 0, "the mask knows no zones");
    let two = with(vec![zone("a: 0,0 1000,0 1000,1000 0,1000"), zone("b: 900,900 1000,900 1000,1000")]);
    assert_eq!(two[60].zones, ["a"]);
}

#[test]
fn sensitivity_decides_how_small() {
    // 8x10 pixels: 0.035 % of the picture.
    let cat = |i: usize| if i >= 30 { vec![[i * 3, 200, i * 3 + 8, 210]] } else { vec![] };
    let started = |sensitivity| {
        let mut options = MotionOptions::default();
        options.sensitivity = sensitivity;
        run(options, 100, cat).iter().any(|frame| frame.step.is_some())
    };
    assert!(started(Sensitivity::High));
    assert!(!started(Sensitivity::Low));
}

#[test]
fn who_was_there_from_the_start_leaves_no_ghost() {
    // Stands in the first 50 frames, then walks away: the wall behind is uncovered.
    let place = |i: usize| walker(60 + i.saturating_sub(50));
    let frames = run(MotionOptions::default(), 120, |i| vec![place(i)]);
    assert!(frames[..50].iter().all(|frame| frame.boxes.is_empty()));
    let left_behind = |frame: &Frame| frame.boxes.iter().any(|found| found[0] < 180 + 30);
    assert!(left_behind(&frames[60]), "just uncovered, it cannot be told yet");
    assert!(!frames[85..].iter().any(left_behind), "0.6 s and a few frames later it is known");
    assert!(frames[100].boxes.len() == 1);
    assert!(frames[100].marked < 24 * 60, "the mask is at half size and holds the walker alone");
}

#[test]
fn what_stops_is_no_motion_but_stays_in_the_mask() {
    let mut options = MotionOptions::default();
    options.absorb_after = Duration::from_secs(10);
    let frames = run(options, 600, |i| if i < 20 { vec![] } else { vec![walker(i.min(80))] });
    let ended = frames.iter().position(|frame| frame.step.is_some_and(|step| step.phase == MotionPhase::Ended));
    assert!((150..=200).contains(&ended.unwrap()), "{ended:?}");
    assert!(frames[200].marked > 200 && frames[200].boxes.is_empty());
    assert_eq!(frames[599].marked, 0, "absorbed after ten seconds");
}

#[test]
fn a_camera_that_was_away_starts_anew() {
    let wall = Wall::new(WIDTH, HEIGHT);
    let mut detector = MotionDetector::new(MotionOptions::default(), WIDTH, HEIGHT).unwrap();
    let look = |detector: &mut MotionDetector, i: usize, figures: &[[usize; 4]], at: Stamp| {
        let luma = wall.frame(figures, |v| v, 3.0, i as u64);
        let view = LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap();
        detector.step(view, at, i as u64).unwrap().boxes().len()
    };
    assert_eq!(look(&mut detector, 0, &[], at(0)), 0);
    assert_eq!(look(&mut detector, 1, &[walker(50)], at(1)), 1);
    let later = Stamp { mono: at(1).mono + Duration::from_secs(11), ..at(1) };
    assert_eq!(look(&mut detector, 2, &[walker(80)], later), 0, "a pause longer than 10 s");
    let next = Stamp { mono: later.mono + Duration::from_millis(40), ..later };
    assert_eq!(look(&mut detector, 3, &[walker(20)], next), 2, "where it is and where it was");
    detector.reset();
    assert_eq!(look(&mut detector, 4, &[walker(50)], next), 0);
    assert!(next.mono > MonoTime::ZERO);
}

#[test]
fn pictures_of_another_size_are_refused() {
    let mut detector = MotionDetector::new(MotionOptions::default(), WIDTH, HEIGHT).unwrap();
    let luma = vec![0; 640 * 480];
    let wrong = detector.step(LumaView::new(&luma, 640, 480, 640).unwrap(), at(0), 0).unwrap_err();
    assert!(matches!(wrong, Error::SizeChanged { got_height: 480, .. }), "{wrong}");
    assert!(!wrong.is_temporary());
}

#[test]
fn many_things_are_the_largest_boxes() {
    // 40 small things and one large: the large one is first, and the list is bounded.
    let frames = run(MotionOptions::default(), 40, |i| {
        if i < 30 {
            return vec![];
        }
        let small =
            (0..40).map(|k| [(k % 10) * 60 + i % 8, (k / 10) * 45, (k % 10) * 60 + i % 8 + 20, (k / 10) * 45 + 24]);
        small.chain([[300, 220, 420, 340]]).collect()
    });
    let boxes = &frames[35].boxes;
    assert_eq!(boxes.len(), BOXES_MAX);
    assert!(boxes[0][0].abs_diff(300) <= 8 && boxes[0][3].abs_diff(340) <= 8, "{boxes:?}");
}
