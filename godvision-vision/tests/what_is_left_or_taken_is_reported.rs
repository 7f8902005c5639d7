//! A bag that is put down, a picture that is taken off the wall: one thing each, with its age, through passers-by and
//! lights, until it is as before. A person who stands is not one.

mod common;

use std::time::Duration;

use common::{Wall, at};
use godvision_core::signal::seen::{RestKind, RestPhase};
use godvision_vision::motion::{MotionDetector, MotionOptions, RestStep, THINGS_MAX};
use godvision_vision::plane::LumaView;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
const BAG: [usize; 4] = [200, 120, 218, 142];
/// The frame in which the bag is put down.
const PUT: usize = 40;

fn options() -> MotionOptions {
    let mut options = MotionOptions::default();
    options.rest_after = Duration::from_secs(3);
    options
}

struct Watch {
    wall: Wall,
    detector: MotionDetector,
    frame: usize,
}

impl Watch {
    fn new(options: MotionOptions) -> Self {
        let detector = MotionDetector::new(options, WIDTH, HEIGHT).unwrap();
        Self { wall: Wall::new(WIDTH, HEIGHT), detector, frame: 0 }
    }

    /// Shows the next frame; gives what rests.
    fn show(&mut self, figures: &[[usize; 4]], gain: f32) -> Vec<RestStep> {
        let i = self.frame;
        self.frame += 1;
        let luma = self.wall.frame(figures, |v| v * gain, 3.0, i as u64);
        let view = LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap();
        self.detector.step(view, at(i), i as u64).unwrap().rests().to_vec()
    }
}

fn frame_of(stamp: godvision_core::Stamp) -> usize {
    (stamp.mono.as_nanos() / 40_000_000) as usize
}

#[track_caller]
fn assert_at(rest: &RestStep, place: [usize; 4]) {
    for (side, wanted) in rest.pixels.iter().zip(place) {
        assert!(side.abs_diff(wanted) <= 5, "{rest:?} at {place:?}");
    }
}

#[test]
fn a_bag_is_one_thing_from_its_notice_until_it_is_taken_up() {
    let mut options = options();
    // Also when the motion model has long taken it for background.
    options.absorb_after = Duration::from_secs(10);
    let mut watch = Watch::new(options);
    let mut seen = Vec::new();
    let mut hidden = 0;
    for i in 0..620 {
        let mut figures = Vec::new();
        if (PUT..500).contains(&i) {
            figures.push(BAG);
        }
        // Whoever put it down walks on; others walk past in front of it every four seconds.
        let x = 4 * (i % 100);
        if (PUT - 20..PUT + 30).contains(&i) {
            figures.push([(i + 20 - PUT) * 10, 80, (i + 20 - PUT) * 10 + 30, 200]);
        } else if i > 150 {
            figures.push([x, 80, x + 30, 200]);
        }
        for rest in watch.show(&figures, 1.0) {
            hidden += usize::from(rest.is_hidden);
            seen.push((i, rest));
        }
    }
    let (noticed, first) = seen[0];
    assert_eq!((first.phase, first.kind, first.thing), (RestPhase::Noticed, RestKind::Left, 1));
    assert_at(&first, BAG);
    let since = frame_of(first.since);
    assert!((PUT..PUT + 40).contains(&since), "since {since}");
    assert!((since + 75..since + 110).contains(&noticed), "noticed at {noticed}, since {since}");
    assert!(seen.iter().all(|(_, rest)| rest.thing == 1 && rest.since == first.since), "one thing");
    let (over, last) = seen[seen.len() - 1];
    assert_eq!(last.phase, RestPhase::Over);
    assert!((500..575).contains(&over), "over at {over}");
    assert_eq!(seen.len(), over - noticed + 1, "every frame in between says so");
    assert!(hidden > 10, "hidden in {hidden} frames");
}

#[test]
fn what_hung_there_and_is_missing_was_taken() {
    let mut watch = Watch::new(options());
    let picture = [60, 130, 90, 155];
    let mut seen = Vec::new();
    for i in 0..480 {
        let figures: &[[usize; 4]] = if !(260..420).contains(&i) { &[picture] } else { &[] };
        seen.extend(watch.show(figures, 1.0));
    }
    assert_eq!((seen[0].phase, seen[0].kind), (RestPhase::Noticed, RestKind::Taken));
    assert_at(&seen[0], picture);
    assert!(seen.iter().all(|rest| rest.thing == 1));
    let last = seen[seen.len() - 1];
    assert_eq!(last.phase, RestPhase::Over, "hung up again");
    assert!((445..460).contains(&last.sequence), "{last:?}");
}

#[test]
fn what_was_there_only_while_the_background_was_made_is_not_missing() {
    let mut watch = Watch::new(options());
    for i in 0..250 {
        let person = [150, 80, 180, 200];
        assert_eq!(watch.show(if i < 30 { std::slice::from_ref(&person) } else { &[] }, 1.0), []);
    }
}

#[test]
fn a_person_who_stands_is_not_a_thing() {
    let mut watch = Watch::new(options());
    for i in 0..400 {
        // Stands stock-still for two seconds, then shifts the weight now and then, as people do.
        let sway = if i < 130 { 0 } else { (i / 20) % 3 * 3 };
        let x = if i < 80 { i * 2 } else { 160 + sway };
        let figures = if i < 360 { vec![[x, 60, x + 24, 130], [x + 3, 130, x + 21, 200]] } else { vec![] };
        let rests = watch.show(&figures, 1.0);
        assert_eq!(rests, [], "frame {i}");
    }
}

#[test]
fn a_light_does_not_hide_a_thing() {
    a_light_goes_out_and_comes_back_at(240);
    a_light_goes_out_and_comes_back_at(400);
}

fn a_light_goes_out_and_comes_back_at(back: usize) {
    let mut watch = Watch::new(options());
    let mut things = Vec::new();
    for i in 0..345 {
        let figures: &[[usize; 4]] = if (40..300).contains(&i) { &[BAG] } else { &[] };
        let gain = if (180..back).contains(&i) { 0.55 } else { 1.0 };
        things.push(watch.show(figures, gain));
    }
    for (i, rests) in things.iter().enumerate().take(300).skip(150) {
        assert_eq!(rests.len(), 1, "frame {i}");
        assert_eq!(rests[0].thing, 1, "frame {i}");
    }
    assert_eq!(things[344], [], "taken up");
}

#[test]
fn what_its_owner_accepts_is_background() {
    let mut watch = Watch::new(options());
    for i in 0..250 {
        let rests = watch.show(if i >= PUT { &[BAG] } else { &[] }, 1.0);
        if i == 160 {
            assert_eq!(rests.len(), 1);
            assert_eq!(watch.detector.accept(2, at(i), i as u64), None, "no such thing");
            let over = watch.detector.accept(1, at(i), i as u64).unwrap();
            assert_eq!((over.phase, over.thing, over.at), (RestPhase::Over, 1, at(i)));
            assert_eq!(watch.detector.accept(1, at(i), i as u64), None, "once");
        }
        if i > 160 {
            assert_eq!(rests, [], "frame {i}");
            let inside = |p: usize| (203..215).contains(&(p % WIDTH)) && (123..139).contains(&(p / WIDTH));
            let mask = watch.detector.mask().to_bytes();
            assert!((0..mask.len()).filter(|&p| inside(p)).all(|p| mask[p] == 0), "frame {i}");
        }
    }
}

#[test]
fn an_ignored_zone_has_no_things_and_a_watched_one_is_named() {
    for (zone, named) in [("!shelf: 500,400 800,400 800,700 500,700", 0), ("hall: 0,0 1000,0 1000,1000 0,1000", 1)] {
        let mut options = options();
        options.zones.push(zone.parse().unwrap());
        let mut detector = MotionDetector::new(options, WIDTH, HEIGHT).unwrap();
        let wall = Wall::new(WIDTH, HEIGHT);
        let mut count = 0;
        for i in 0..160 {
            let luma = wall.frame(if i >= PUT { &[BAG] } else { &[] }, |v| v, 3.0, i as u64);
            let view = LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap();
            let report = detector.step(view, at(i), i as u64).unwrap();
            count = report.rests().len();
            for rest in report.rests() {
                assert_eq!(report.rest_zones(rest).collect::<Vec<_>>(), ["hall"]);
            }
        }
        assert_eq!(count, named, "{zone}");
    }
}

#[test]
fn more_things_than_places_are_left_out() {
    let mut watch = Watch::new(options());
    let bags: Vec<[usize; 4]> =
        (0..THINGS_MAX + 8).map(|k| [10 + k % 8 * 38, 8 + k / 8 * 46, 24 + k % 8 * 38, 22 + k / 8 * 46]).collect();
    let mut most = 0;
    for i in 0..180 {
        most = most.max(watch.show(if i >= PUT { &bags } else { &[] }, 1.0).len());
    }
    assert_eq!(most, THINGS_MAX);
}
