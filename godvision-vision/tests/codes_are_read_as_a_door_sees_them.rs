//! QR codes drawn as a camera at a door sees them: turned, tilted, small, soft, noisy, unevenly lit. Every engine of the
//! build must read the easy ones, the reader all of them.

#![cfg(any(feature = "rxing", feature = "rqrr"))]

mod common;

use common::{Noise, Wall, at};
use godvision_vision::plane::LumaView;
use godvision_vision::qr::{QrOptions, QrReader, engines};

const WIDTH: usize = 960;
const HEIGHT: usize = 540;

#[derive(Clone, Copy, Debug)]
struct Held {
    /// Pixels from one side of the code to the other, quiet zone included.
    side: f32,
    centre: (f32, f32),
    degrees: f32,
    /// How much shorter the far edge looks.
    tilt: f32,
    blur: usize,
    noise: f32,
    contrast: f32,
}

const EASY: Held =
    Held { side: 240.0, centre: (480.0, 270.0), degrees: 0.0, tilt: 0.0, blur: 0, noise: 2.0, contrast: 1.0 };

fn draw(text: &str, held: Held) -> Vec<u8> {
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::M).unwrap();
    let (modules, dark) = (code.width() as i32, code.to_colors());
    let mut pixels = Wall::new(WIDTH, HEIGHT).pixels;
    let (sin, cos) = held.degrees.to_radians().sin_cos();
    let reach = modules as f32 + 8.0;
    let scale = reach / held.side;
    // Each pixel is the mean of 3x3 samples of the code, as a sensor's cell is.
    let sample = |x: f32, y: f32| -> Option<f32> {
        let (dx, dy) = (x - held.centre.0, y - held.centre.1);
        let (u, v) = ((dx * cos + dy * sin) * scale, (dy * cos - dx * sin) * scale);
        let v = v / (1.0 + held.tilt * v / reach);
        let u = u / (1.0 + held.tilt * v / reach);
        if u.abs() > reach / 2.0 || v.abs() > reach / 2.0 {
            return None;
        }
        let (column, row) = ((u + modules as f32 / 2.0).floor() as i32, (v + modules as f32 / 2.0).floor() as i32);
        let inside = (0..modules).contains(&column) && (0..modules).contains(&row);
        let is_dark = inside && dark[(row * modules + column) as usize] == qrcode::Color::Dark;
        Some(if is_dark { 128.0 - 100.0 * held.contrast } else { 128.0 + 100.0 * held.contrast })
    };
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = ((i % WIDTH) as f32, (i / WIDTH) as f32);
        let samples = (0..9).map(|k| sample(x + (k % 3) as f32 / 3.0, y + (k / 3) as f32 / 3.0).unwrap_or(*pixel));
        *pixel = samples.sum::<f32>() / 9.0;
    }
    for _ in 0..held.blur {
        let from = pixels.clone();
        let at = |x: usize, y: usize| from[y.min(HEIGHT - 1) * WIDTH + x.min(WIDTH - 1)];
        for (i, pixel) in pixels.iter_mut().enumerate() {
            let (x, y) = (i % WIDTH, i / WIDTH);
            let (l, t) = (x.saturating_sub(1), y.saturating_sub(1));
            *pixel = (at(x, y) * 4.0 + at(l, y) + at(x + 1, y) + at(x, t) + at(x, y + 1)) / 8.0;
        }
    }
    let mut noise = Noise::new(5);
    pixels.iter().map(|&v| (v + noise.normal(held.noise)).clamp(0.0, 255.0) as u8).collect()
}

/// A pass of the usual size: 136 characters, 41 modules.
fn pass() -> String {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$%*+-./:";
    "GV1:".chars().chain(letters.chars().cycle().skip(11).step_by(7).take(132)).collect()
}

#[test]
fn every_engine_reads_a_code_held_straight() {
    let luma = draw(&pass(), EASY);
    let view = LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap();
    for mut engine in engines() {
        let mut found = Vec::new();
        engine.decode(view, &mut found);
        assert_eq!(found.len(), 1, "{}", engine.name());
        assert_eq!(found[0].text.expose(), pass(), "{}", engine.name());
        let [left, top, right, bottom] = found[0].bounds;
        // The code without its quiet zone: 41 of 49 modules of 240 pixels.
        assert!(left.abs_diff(380) < 10 && top.abs_diff(170) < 10, "{}: {:?}", engine.name(), found[0]);
        assert!(right.abs_diff(580) < 10 && bottom.abs_diff(370) < 10, "{}: {:?}", engine.name(), found[0]);
    }
}

#[test]
#[cfg(feature = "rxing")]
fn the_reader_reads_them_turned_tilted_small_soft_and_noisy() {
    let mut cases = vec![EASY];
    cases.extend((1..12).map(|k| Held { degrees: k as f32 * 30.0 + 7.0, side: 220.0, ..EASY }));
    cases.extend([0.1, 0.2].map(|tilt| Held { tilt, degrees: 10.0, ..EASY }));
    cases.extend([180.0, 160.0, 400.0].map(|side| Held { side, degrees: -8.0, ..EASY }));
    cases.extend([1, 2].map(|blur| Held { blur, ..EASY }));
    cases.extend([6.0, 10.0].map(|noise| Held { noise, ..EASY }));
    cases.push(Held { contrast: 0.35, ..EASY });
    cases.push(Held { centre: (140.0, 410.0), ..EASY });
    for held in cases {
        let luma = draw(&pass(), held);
        let view = LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap();
        let found = QrReader::new(QrOptions::default()).read(view, at(0), &[]);
        assert_eq!(found.len(), 1, "{held:?}");
        assert_eq!(found[0].text.expose(), pass(), "{held:?}");
    }
}

#[test]
#[cfg(feature = "rxing")]
fn a_small_code_is_read_where_something_moved() {
    // 49 modules in 118 pixels: 2.4 pixels each.
    let held = Held { side: 118.0, degrees: 12.0, ..EASY };
    let luma = draw(&pass(), held);
    let view = LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap();
    let moved = [godvision_core::signal::seen::Region::from_pixels([400, 180, 560, 360], WIDTH, HEIGHT)];
    let mut options = QrOptions::default();
    options.whole = false;
    let found = QrReader::new(options).read(view, at(0), &moved);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].text.expose(), pass());
    let [left, top, right, bottom] = found[0].region.to_pixels(WIDTH, HEIGHT);
    assert!((400..460).contains(&left) && (500..560).contains(&right), "{:?}", found[0].region);
    assert!((190..250).contains(&top) && (290..350).contains(&bottom), "{:?}", found[0].region);
    let elsewhere = [godvision_core::signal::seen::Region::from_pixels([0, 0, 160, 160], WIDTH, HEIGHT)];
    assert_eq!(QrReader::new(options).read(view, at(0), &elsewhere), []);
}

#[test]
fn an_empty_wall_says_nothing() {
    let wall = Wall::new(WIDTH, HEIGHT).frame(&[], |v| v, 4.0, 3);
    let view = LumaView::new(&wall, WIDTH, HEIGHT, WIDTH).unwrap();
    let mut reader = QrReader::new(QrOptions::default());
    for i in 0..9 {
        assert_eq!(reader.read(view, at(i), &[]), []);
    }
    assert_eq!(reader.panics(), 0);
}
