//! What the QR reader adds to its engines: memory, limits, and a wall around their panics. The engines here are scripted.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::at;
use godvision_core::signal::seen::Region;
use godvision_vision::plane::LumaView;
use godvision_vision::qr::{
    ENGINE_PANICS_MAX, PLACES_MAX, QR_CODES_MAX, QR_TEXT_MAX, QrCode, QrDecoder, QrOptions, QrReader, TEXTS_REMEMBERED,
};

const WIDTH: usize = 1000;
const HEIGHT: usize = 800;

type Script = Box<dyn FnMut(LumaView<'_>) -> Vec<QrCode> + Send>;

struct Scripted {
    cost: u32,
    script: Script,
}

impl QrDecoder for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }
    fn cost(&self) -> u32 {
        self.cost
    }
    fn decode(&mut self, luma: LumaView<'_>, found: &mut Vec<QrCode>) {
        found.extend((self.script)(luma));
    }
}

fn engine(script: impl FnMut(LumaView<'_>) -> Vec<QrCode> + Send + 'static) -> Box<dyn QrDecoder> {
    Box::new(Scripted { cost: 1, script: Box::new(script) })
}

fn code(text: impl Into<String>) -> QrCode {
    QrCode { text: text.into().into(), bounds: [10, 20, 110, 120] }
}

fn whole(pixels: &[u8]) -> LumaView<'_> {
    LumaView::new(pixels, WIDTH, HEIGHT, WIDTH).unwrap()
}

#[test]
fn what_is_forgotten_is_news() {
    let mut reader = QrReader::with_engines(QrOptions::default(), vec![engine(|_| vec![code("pass")])]);
    let pixels = vec![0; WIDTH * HEIGHT];
    let is_new = |reader: &mut QrReader, i| reader.read(whole(&pixels), at(i), &[])[0].is_new;
    assert_eq!([is_new(&mut reader, 0), is_new(&mut reader, 1)], [true, false]);
    reader.forget();
    assert!(is_new(&mut reader, 2));
}

#[test]
fn once_while_held_and_again_after_it_was_away() {
    let held = Arc::new(Mutex::new(true));
    let shown = Arc::clone(&held);
    let script = move |_: LumaView<'_>| if *shown.lock().unwrap() { vec![code("pass")] } else { vec![] };
    let mut reader = QrReader::with_engines(QrOptions::default(), vec![engine(script)]);
    let pixels = vec![0; WIDTH * HEIGHT];
    let mut news = |frames: std::ops::Range<usize>| -> Vec<usize> {
        let mut read = |i: usize| reader.read(whole(&pixels), at(i), &[]).iter().any(|found| found.is_new);
        frames.filter(|&i| read(i)).collect()
    };
    assert_eq!(news(0..300), [0], "held up for 12 s");
    *held.lock().unwrap() = false;
    assert_eq!(news(300..400), [], "away for 4 s");
    *held.lock().unwrap() = true;
    assert_eq!(news(400..450), [], "not long enough");
    *held.lock().unwrap() = false;
    assert_eq!(news(450..580), []);
    *held.lock().unwrap() = true;
    assert_eq!(news(580..600), [580]);
}

#[test]
fn panics_end_in_the_reader_and_an_engine_that_keeps_on_is_let_go() {
    let asked = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&asked);
    let bad = engine(move |_| {
        *counter.lock().unwrap() += 1;
        panic!("geometry")
    });
    let good = engine(|_| vec![code("second opinion")]);
    let mut reader = QrReader::with_engines(QrOptions::default(), vec![bad, good]);
    let pixels = vec![0; WIDTH * HEIGHT];
    for i in 0..40 {
        let found = reader.read(whole(&pixels), at(i), &[Region { left: 0, top: 0, right: 300, bottom: 300 }]);
        assert_eq!(found.len(), 1, "the other engine still reads");
    }
    assert_eq!(reader.panics(), ENGINE_PANICS_MAX);
    assert_eq!(*asked.lock().unwrap(), ENGINE_PANICS_MAX);
}

#[test]
fn texts_and_counts_beyond_the_limits_are_left_out() {
    let pixels = vec![0; WIDTH * HEIGHT];
    let read = |script: fn(LumaView<'_>) -> Vec<QrCode>| {
        QrReader::with_engines(QrOptions::default(), vec![engine(script)]).read(whole(&pixels), at(0), &[])
    };
    assert_eq!(read(|_| vec![code("x".repeat(QR_TEXT_MAX + 1)), code("")]), []);
    assert_eq!(read(|_| vec![code("x".repeat(QR_TEXT_MAX))]).len(), 1);
    assert_eq!(read(|_| (0..QR_CODES_MAX + 5).map(|k| code(k.to_string())).collect()).len(), QR_CODES_MAX);
    let outside = read(|_| vec![QrCode { text: "far".into(), bounds: [5000, 5000, 0, 9000] }]);
    assert_eq!(outside[0].region, Region::from_pixels([WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT], WIDTH, HEIGHT));
    assert!(!format!("{:?}", read(|_| vec![code("s3cret")])).contains("s3cret"));
}

#[test]
fn memory_of_texts_is_bounded() {
    let mut next = 0;
    let counting = move |_: LumaView<'_>| {
        next += 1;
        vec![code((next % (TEXTS_REMEMBERED + 1)).to_string())]
    };
    let mut options = QrOptions::default();
    options.again_after = Duration::from_secs(3600);
    let mut reader = QrReader::with_engines(options, vec![engine(counting)]);
    let pixels = vec![0; WIDTH * HEIGHT];
    // One text more than is remembered: each is forgotten just before it comes again.
    for i in 0..3 * TEXTS_REMEMBERED {
        assert!(reader.read(whole(&pixels), at(i * 100), &[])[0].is_new, "{i}");
    }
}

#[test]
fn work_for_a_picture_is_bounded_and_begins_where_something_moved() {
    let looks = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&looks);
    let script = move |luma: LumaView<'_>| {
        log.lock().unwrap().push(luma.width() * luma.height());
        vec![]
    };
    let mut options = QrOptions::default();
    options.work_max = 2_000_000;
    let mut reader = QrReader::with_engines(options, vec![engine(script)]);
    let pixels = vec![0; WIDTH * HEIGHT];
    let moved: Vec<Region> =
        (0..30).map(|k| Region { left: k * 30, top: k * 30, right: k * 30 + 60, bottom: k * 30 + 60 }).collect();
    reader.read(whole(&pixels), at(0), &moved);
    let looks = looks.lock().unwrap();
    let largest_place = looks[..PLACES_MAX].iter().max().unwrap();
    assert!(*largest_place < 40_000, "places come first: {looks:?}");
    assert!(looks.contains(&(WIDTH * HEIGHT)), "then the whole picture: {looks:?}");
    assert!(looks.iter().sum::<usize>() <= 2_000_000, "{looks:?}");
    assert!(looks.len() <= 3 * PLACES_MAX + 3, "{looks:?}");
}

/// Sees a code at one place and cannot read it; counts how often it was asked.
struct Suspicious([usize; 4]);

impl QrDecoder for Suspicious {
    fn name(&self) -> &'static str {
        "suspicious"
    }
    fn decode(&mut self, _: LumaView<'_>, _: &mut Vec<QrCode>) {}
    fn suspects(&self) -> &[[usize; 4]] {
        std::slice::from_ref(&self.0)
    }
}

/// Stripes of `contrast`, which is how sharp a place is.
fn stripes(contrast: u8) -> Vec<u8> {
    (0..WIDTH * HEIGHT).map(|i| if i % 4 < 2 { 100 } else { 100 + contrast }).collect()
}

#[test]
fn the_second_opinion_is_asked_about_the_sharpest_of_a_burst() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let second = engine(move |luma| {
        log.lock().unwrap().push((luma.width(), luma.height()));
        vec![]
    });
    let mut options = QrOptions::default();
    options.whole = true;
    let suspicious = Box::new(Suspicious([400, 300, 520, 420]));
    let mut reader = QrReader::with_engines(options, vec![suspicious, second]);
    let mut asked_at = |i: usize, contrast: u8| -> Vec<(usize, usize)> {
        asked.lock().unwrap().clear();
        reader.read(whole(&stripes(contrast)), at(i), &[]);
        asked.lock().unwrap().clone()
    };
    // The suspect a third wider on each side, then the whole picture, then the suspect at twice its size.
    assert_eq!(asked_at(0, 60), [(200, 200), (WIDTH, HEIGHT), (400, 400)]);
    assert_eq!(asked_at(2, 20), [], "blurred: a sharper one was seen 80 ms ago");
    assert_eq!(asked_at(4, 80), [(200, 200), (400, 400)], "sharper, but it is too soon for the whole picture");
    assert_eq!(asked_at(6, 60), [], "less sharp again");
    assert_eq!(asked_at(40, 20), [(200, 200), (WIDTH, HEIGHT), (400, 400)], "nothing sharper for a second");
}

#[test]
fn the_first_engine_is_asked_before_all_others_and_what_it_reads_is_taken() {
    let asked = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&asked);
    let first = engine(|luma| if luma.width() < WIDTH { vec![] } else { vec![code("whole")] });
    let second = engine(move |_| {
        *counter.lock().unwrap() += 1;
        vec![code("second")]
    });
    let mut reader = QrReader::with_engines(QrOptions::default(), vec![first, second]);
    let pixels = vec![0; WIDTH * HEIGHT];
    let found = reader.read(whole(&pixels), at(0), &[Region { left: 0, top: 0, right: 300, bottom: 300 }]);
    assert_eq!(found[0].text.expose(), "whole");
    assert_eq!(*asked.lock().unwrap(), 0);
}
