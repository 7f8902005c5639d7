//! Draws and encodes the demo's camera clip, `examples/server/assets/demo/yard.h264`:
//!
//! ```text
//! cargo run --release -p godvision-benches --bin make_demo_clip -- --pass-1 TEXT --pass-2 TEXT [--out FILE] [--qp N]
//! ```
//!
//! A yard with a door. Two figures come one after the other and hold up a QR pass each; the first has the face of
//! NASA's portrait of Eileen Collins (`SOURCES.md` beside the clip). Between them, and at both ends, nothing moves, so
//! the clip can be played in a loop. Every frame is a pure function of its number: noise comes from a small generator,
//! no clock and no transcendental function is used, and so the clip can be made again byte for byte.
//!
//! **Never:** B frames (the clip is played without timestamps), scene cuts.

use std::error::Error;
use std::path::PathBuf;

use image::RgbImage;
use qrcode::{EcLevel, QrCode};
use rusty_h264::{Encoder, EncoderConfig, Preset, YuvFrame};

const WIDTH: usize = 960;
const HEIGHT: usize = 540;
const FRAMES_PER_SECOND: usize = 15;
const SECONDS: usize = 40;
/// Side of one module of a pass, in pixels: 41 modules give a code of 287 pixels.
const MODULE_PIXELS: usize = 7;
const QUIET_MODULES: usize = 4;

const USAGE: &str = "usage: make_demo_clip --pass-1 TEXT --pass-2 TEXT [--out FILE] [--qp N] [--portrait FILE]";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/server/assets/demo");
    let path = |name: &str, file: &str| option(name).map_or_else(|| folder.join(file), PathBuf::from);
    let passes = [option("--pass-1").ok_or(USAGE)?, option("--pass-2").ok_or(USAGE)?];
    let portrait = image::open(path("--portrait", "portrait.png"))?.to_rgb8();
    let scene = Scene::new(portrait, [card(&passes[0])?, card(&passes[1])?]);

    let mut config = EncoderConfig::new(WIDTH, HEIGHT);
    config.level_idc = 31;
    config.preset = Preset::Quality;
    config.qp = option("--qp").map_or(Ok(27), |text| text.parse())?;
    config.gop_size = 2 * FRAMES_PER_SECOND as u32;
    config.scenecut = 0;
    config.bframes = 0;
    config.framerate = FRAMES_PER_SECOND as f32;
    let mut encoder = Encoder::new(config).map_err(|error| format!("the encoder refuses its settings: {error:?}"))?;
    let mut stream = Vec::new();
    for number in 0..SECONDS * FRAMES_PER_SECOND {
        stream.extend(encoder.encode(&scene.frame(number).to_yuv()));
    }
    stream.extend(encoder.flush());
    let out = path("--out", "yard.h264");
    std::fs::write(&out, &stream)?;
    println!("{}: {} bytes, {} frames", out.display(), stream.len(), SECONDS * FRAMES_PER_SECOND);
    Ok(())
}

type Colour = [f32; 3];

const fn rgb(r: u8, g: u8, b: u8) -> Colour {
    [r as f32, g as f32, b as f32]
}

/// 64 bits that look random, from a position (splitmix64).
fn hash(x: u64, y: u64, z: u64) -> u64 {
    let mut v = x.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ y.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
        ^ z.wrapping_mul(0x1656_67b1_9e37_79f9);
    v = (v ^ (v >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    v = (v ^ (v >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    v ^ (v >> 31)
}

/// 0 to 1.
fn random(x: u64, y: u64, z: u64) -> f32 {
    (hash(x, y, z) >> 40) as f32 / (1u64 << 24) as f32
}

/// Smooth noise, 0 to 1, with features `scale` pixels wide.
fn cloud(x: f32, y: f32, scale: f32, seed: u64) -> f32 {
    let (x, y) = (x / scale + 64.0, y / scale + 64.0);
    let (column, row) = (x.floor(), y.floor());
    let (u, v) = (smooth(x - column), smooth(y - row));
    let at = |dx: f32, dy: f32| random((column + dx) as u64, (row + dy) as u64, seed);
    let top = at(0.0, 0.0) * (1.0 - u) + at(1.0, 0.0) * u;
    let bottom = at(0.0, 1.0) * (1.0 - u) + at(1.0, 1.0) * u;
    top * (1.0 - v) + bottom * v
}

fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// 0 before `from`, 1 after `until`, smooth between.
fn ease(t: f32, from: f32, until: f32) -> f32 {
    smooth((t - from) / (until - from))
}

/// A triangle wave of period 1 between -1 and 1.
fn sway(t: f32) -> f32 {
    let phase = t - t.floor();
    1.0 - 4.0 * (phase - 0.5).abs()
}

#[derive(Clone)]
struct Canvas {
    pixels: Vec<Colour>,
}

impl Canvas {
    fn paint(&mut self, bounds: [f32; 4], shape: impl Fn(f32, f32) -> f32, colour: impl Fn(f32, f32) -> Colour) {
        let [left, top, right, bottom] = bounds;
        let span = |low: f32, high: f32, limit: usize| {
            (low.floor().max(0.0) as usize)..(high.ceil().max(0.0) as usize).min(limit)
        };
        for y in span(top, bottom, HEIGHT) {
            for x in span(left, right, WIDTH) {
                let (at_x, at_y) = (x as f32 + 0.5, y as f32 + 0.5);
                // The shape is a distance in pixels, negative inside: half a pixel each way is the soft edge.
                let cover = (0.5 - shape(at_x, at_y)).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let new = colour(at_x, at_y);
                    let pixel = &mut self.pixels[y * WIDTH + x];
                    for (old, new) in pixel.iter_mut().zip(new) {
                        *old += (new - *old) * cover;
                    }
                }
            }
        }
    }

    fn rectangle(&mut self, [left, top, right, bottom]: [f32; 4], colour: impl Fn(f32, f32) -> Colour) {
        let shape = |x: f32, y: f32| (left - x).max(x - right).max(top - y).max(y - bottom);
        self.paint([left, top, right, bottom], shape, colour);
    }

    fn ellipse(&mut self, [x, y]: [f32; 2], [wide, tall]: [f32; 2], colour: impl Fn(f32, f32) -> Colour) {
        let bounds = [x - wide - 1.0, y - tall - 1.0, x + wide + 1.0, y + tall + 1.0];
        self.paint(bounds, |at_x, at_y| ellipse(at_x - x, at_y - y, wide, tall), colour);
    }

    /// A line with round ends.
    fn limb(&mut self, from: [f32; 2], to: [f32; 2], radius: f32, colour: impl Fn(f32, f32) -> Colour) {
        let bounds = [
            from[0].min(to[0]) - radius - 1.0,
            from[1].min(to[1]) - radius - 1.0,
            from[0].max(to[0]) + radius + 1.0,
            from[1].max(to[1]) + radius + 1.0,
        ];
        self.paint(bounds, |x, y| to_line([x, y], from, to) - radius, colour);
    }

    /// 4:2:0 with BT.601 weights in studio range.
    fn to_yuv(&self) -> YuvFrame {
        let mut frame = YuvFrame::black(WIDTH, HEIGHT);
        let byte = |value: f32| (value + 0.5).clamp(0.0, 255.0) as u8;
        for (luma, [r, g, b]) in frame.y.iter_mut().zip(&self.pixels) {
            *luma = byte(16.0 + 0.2568 * r + 0.5041 * g + 0.0979 * b);
        }
        for y in 0..HEIGHT / 2 {
            for x in 0..WIDTH / 2 {
                let mut sum = [0.0; 3];
                for place in [0, 1, WIDTH, WIDTH + 1] {
                    for (sum, part) in sum.iter_mut().zip(self.pixels[2 * y * WIDTH + 2 * x + place]) {
                        *sum += part / 4.0;
                    }
                }
                let [r, g, b] = sum;
                frame.u[y * WIDTH / 2 + x] = byte(128.0 - 0.1482 * r - 0.2910 * g + 0.4392 * b);
                frame.v[y * WIDTH / 2 + x] = byte(128.0 + 0.4392 * r - 0.3678 * g - 0.0714 * b);
            }
        }
        frame
    }
}

/// About the distance to an ellipse around the origin.
fn ellipse(x: f32, y: f32, wide: f32, tall: f32) -> f32 {
    (((x / wide) * (x / wide) + (y / tall) * (y / tall)).sqrt() - 1.0) * wide.min(tall)
}

fn to_line([x, y]: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let along = (((x - from[0]) * dx + (y - from[1]) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    let (off_x, off_y) = (x - from[0] - along * dx, y - from[1] - along * dy);
    (off_x * off_x + off_y * off_y).sqrt()
}

/// Distance to a polygon, negative inside.
fn polygon(corners: &[[f32; 2]], x: f32, y: f32) -> f32 {
    let mut nearest = f32::MAX;
    let mut inside = false;
    for (index, from) in corners.iter().enumerate() {
        let to = corners[(index + 1) % corners.len()];
        nearest = nearest.min(to_line([x, y], *from, to));
        if (from[1] > y) != (to[1] > y) && x < (to[0] - from[0]) * (y - from[1]) / (to[1] - from[1]) + from[0] {
            inside = !inside;
        }
    }
    if inside { -nearest } else { nearest }
}

fn shade(colour: Colour, factor: f32) -> Colour {
    colour.map(|part| part * factor)
}

fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    [0, 1, 2].map(|part| a[part] + (b[part] - a[part]) * share)
}

/// What never moves: sky, trees, a house wall with the door, the path and the grass.
fn yard() -> Canvas {
    let mut canvas = Canvas { pixels: vec![[0.0; 3]; WIDTH * HEIGHT] };
    canvas.rectangle([0.0, 0.0, 960.0, 210.0], |x, y| {
        let sky = mix(rgb(150, 180, 212), rgb(214, 222, 226), y / 200.0);
        mix(sky, rgb(236, 238, 240), 0.5 * cloud(x, 2.0 * y, 130.0, 1))
    });
    // Trees behind the yard.
    for (number, (x, y, size)) in
        [(40.0, 150.0, 90.0), (150.0, 120.0, 100.0), (262.0, 160.0, 80.0), (350.0, 135.0, 92.0), (440.0, 165.0, 76.0)]
            .into_iter()
            .enumerate()
    {
        canvas.limb([x, y], [x, y + 140.0], 9.0, |x, y| shade(rgb(84, 66, 50), 0.7 + 0.5 * cloud(x, y, 4.0, 2)));
        let seed = 10 + number as u64;
        canvas.paint(
            [x - size - 20.0, y - size, x + size + 20.0, y + size],
            |at_x, at_y| ellipse(at_x - x, at_y - y, size, 0.8 * size) + 22.0 * (cloud(at_x, at_y, 14.0, seed) - 0.4),
            |at_x, at_y| {
                let leaves =
                    0.55 + 0.5 * cloud(at_x, at_y, 7.0, seed) + 0.25 * (1.0 - (at_y - y + size) / (2.0 * size));
                shade(rgb(72, 104, 58), leaves)
            },
        );
    }
    // Fence.
    for post in 0..24 {
        let left = post as f32 * 22.0;
        canvas.rectangle([left, 205.0, left + 18.0, 292.0], |x, y| {
            shade(rgb(150, 122, 92), 0.75 + 0.2 * random(post, 0, 3) + 0.2 * cloud(x, y / 6.0, 5.0, 4))
        });
    }
    canvas.rectangle([0.0, 222.0, 522.0, 230.0], |x, y| shade(rgb(128, 102, 76), 0.8 + 0.3 * cloud(x, y, 9.0, 5)));
    // Grass, then the path.
    canvas.rectangle([0.0, 288.0, 960.0, 540.0], |x, y| {
        let blades = 0.65 + 0.35 * cloud(x, y, 5.0, 6) + 0.25 * cloud(x, y, 60.0, 7);
        shade(rgb(104, 128, 66), blades)
    });
    let path = [[610.0, 420.0], [812.0, 420.0], [900.0, 540.0], [180.0, 540.0]];
    canvas.paint(
        [150.0, 410.0, 910.0, 540.0],
        |x, y| polygon(&path, x, y),
        |x, y| {
            let slab = random(((x - (y - 420.0) * 0.4) / 46.0) as u64, ((y - 400.0) / 24.0) as u64, 8);
            shade(rgb(168, 162, 152), 0.8 + 0.16 * slab + 0.16 * cloud(x, y, 6.0, 9))
        },
    );
    // The house: plaster over a brick base.
    canvas.rectangle([522.0, 0.0, 960.0, 420.0], |x, y| {
        let plaster = 0.86 + 0.1 * cloud(x, y, 90.0, 20) + 0.08 * cloud(x, y, 5.0, 21);
        let light = 1.0 - 0.18 * (y / 420.0);
        shade(rgb(206, 194, 172), plaster * light)
    });
    canvas.rectangle([522.0, 336.0, 960.0, 420.0], |x, y| {
        let row = ((y - 336.0) / 14.0).floor();
        let column = ((x + 18.0 * (row % 2.0)) / 36.0).floor();
        let (in_x, in_y) = ((x + 18.0 * (row % 2.0)) - 36.0 * column, y - 336.0 - 14.0 * row);
        if in_x < 2.0 || in_y < 2.0 {
            return rgb(172, 164, 152);
        }
        shade(rgb(150, 86, 66), 0.75 + 0.35 * random(column as u64, row as u64, 22) + 0.12 * cloud(x, y, 4.0, 23))
    });
    canvas.rectangle([518.0, 0.0, 526.0, 420.0], |_, y| shade(rgb(120, 112, 100), 0.9 + 0.1 * (y / 420.0)));
    // The door with its frame, panels, handle, lamp and step.
    canvas
        .rectangle([622.0, 96.0, 802.0, 420.0], |x, y| shade(rgb(232, 228, 220), 0.88 + 0.08 * cloud(x, y, 20.0, 24)));
    canvas.rectangle([636.0, 110.0, 788.0, 420.0], |x, y| {
        shade(rgb(74, 96, 88), 0.85 + 0.2 * cloud(x * 6.0, y, 26.0, 25))
    });
    for panel in [
        [652.0, 128.0, 704.0, 250.0],
        [720.0, 128.0, 772.0, 250.0],
        [652.0, 268.0, 704.0, 402.0],
        [720.0, 268.0, 772.0, 402.0],
    ] {
        canvas.rectangle(panel, |_, _| rgb(50, 68, 62));
        let [left, top, right, bottom] = panel;
        canvas.rectangle([left + 4.0, top + 4.0, right, bottom], |x, y| {
            shade(rgb(84, 108, 98), 0.9 + 0.15 * cloud(x * 6.0, y, 26.0, 26))
        });
    }
    canvas.limb([774.0, 262.0], [774.0, 284.0], 4.0, |_, _| rgb(202, 190, 140));
    canvas.rectangle([606.0, 414.0, 818.0, 430.0], |x, y| shade(rgb(140, 136, 130), 0.85 + 0.2 * cloud(x, y, 8.0, 27)));
    canvas.ellipse([712.0, 66.0], [20.0, 13.0], |_, y| shade(rgb(248, 240, 206), 1.0 - 0.2 * (y - 66.0) / 13.0));
    canvas.rectangle([690.0, 48.0, 734.0, 56.0], |_, _| rgb(60, 58, 56));
    // The camera's own light falls off towards the corners.
    for (index, pixel) in canvas.pixels.iter_mut().enumerate() {
        let (x, y) = ((index % WIDTH) as f32 / 480.0 - 1.0, (index / WIDTH) as f32 / 270.0 - 1.0);
        *pixel = shade(*pixel, 0.92 - 0.09 * (x * x + y * y));
    }
    canvas
}

/// A pass on white card, one pixel each.
struct Card {
    side: usize,
    dark: Vec<bool>,
}

fn card(text: &str) -> Result<Card, Box<dyn Error>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)?;
    let modules = code.width();
    let side = (modules + 2 * QUIET_MODULES) * MODULE_PIXELS;
    let colours = code.to_colors();
    let mut dark = vec![false; side * side];
    for (index, dark) in dark.iter_mut().enumerate() {
        let place =
            |pixel: usize| (pixel / MODULE_PIXELS).checked_sub(QUIET_MODULES).filter(|module| *module < modules);
        if let (Some(x), Some(y)) = (place(index % side), place(index / side)) {
            *dark = colours[y * modules + x] == qrcode::Color::Dark;
        }
    }
    Ok(Card { side, dark })
}

/// When a figure comes, shows its pass and goes, in seconds; and where it stands.
struct Visit {
    comes: [f32; 2],
    raises: [f32; 2],
    lowers: [f32; 2],
    goes: [f32; 2],
    /// Middle of the figure in pixels: before, while it stands, after.
    middle: [f32; 3],
}

impl Visit {
    fn is_there(&self, t: f32) -> bool {
        t > self.comes[0] && t < self.goes[1]
    }

    fn middle(&self, t: f32) -> f32 {
        let [before, there, after] = self.middle;
        let walked = |[from, until]: [f32; 2]| ((t - from) / (until - from)).clamp(0.0, 1.0);
        before + (there - before) * walked(self.comes) + (after - there) * walked(self.goes)
    }

    /// How far the pass is raised, 0 to 1.
    fn raised(&self, t: f32) -> f32 {
        ease(t, self.raises[0], self.raises[1]) - ease(t, self.lowers[0], self.lowers[1])
    }

    /// Height of the step, in pixels.
    fn bob(&self, t: f32) -> f32 {
        let walks = t < self.comes[1] || t > self.goes[0];
        if walks { 4.0 * sway(1.7 * t) } else { 0.6 * sway(0.4 * t) }
    }
}

const FIRST: Visit = Visit {
    comes: [6.0, 9.8],
    raises: [9.9, 10.6],
    lowers: [14.2, 14.8],
    goes: [14.9, 18.5],
    middle: [-220.0, 290.0, 1200.0],
};
const SECOND: Visit = Visit {
    comes: [24.5, 28.0],
    raises: [28.0, 28.6],
    lowers: [32.2, 32.7],
    goes: [32.8, 36.0],
    middle: [-200.0, 300.0, -200.0],
};

struct Scene {
    yard: Canvas,
    portrait: RgbImage,
    cards: [Card; 2],
}

impl Scene {
    fn new(portrait: RgbImage, cards: [Card; 2]) -> Self {
        Self { yard: yard(), portrait, cards }
    }

    fn frame(&self, number: usize) -> Canvas {
        let t = number as f32 / FRAMES_PER_SECOND as f32;
        let mut canvas = self.yard.clone();
        if FIRST.is_there(t) {
            self.astronaut(&mut canvas, t);
        }
        if SECOND.is_there(t) {
            self.hooded(&mut canvas, t);
        }
        // What a small sensor adds by day: a standard deviation of about 1.2 of 255, in brightness.
        for (index, pixel) in canvas.pixels.iter_mut().enumerate() {
            let bits = hash(index as u64, number as u64, 99);
            let sum = [0, 16, 32, 48].map(|shift| (bits >> shift & 0xffff) as f32).iter().sum::<f32>() / 65536.0 - 2.0;
            *pixel = pixel.map(|part| part + 2.1 * sum);
        }
        canvas
    }

    /// The portrait as a cut-out that reaches below the frame, with a drawn arm for the pass.
    fn astronaut(&self, canvas: &mut Canvas, t: f32) {
        // Corners in the portrait's own pixels: shoulders and suit, around what does not belong to her.
        const SUIT: [[f32; 2]; 14] = [
            [92.0, 196.0],
            [62.0, 218.0],
            [36.0, 262.0],
            [14.0, 330.0],
            [4.0, 400.0],
            [4.0, 430.0],
            [262.0, 430.0],
            [272.0, 388.0],
            [300.0, 350.0],
            [341.0, 341.0],
            [336.0, 296.0],
            [322.0, 262.0],
            [290.0, 236.0],
            [270.0, 190.0],
        ];
        let (left, top) = (FIRST.middle(t) - 190.0, 124.0 + FIRST.bob(t));
        let suit = |x: f32, y: f32| {
            shade(
                rgb(226, 84, 40),
                0.72 + 0.3 * cloud(x - left, y - top, 16.0, 30) + 0.1 * cloud(x - left, y - top, 4.0, 31),
            )
        };
        let raised = FIRST.raised(t);
        // The arm that hangs while she walks is drawn first: the suit covers its shoulder.
        canvas.limb([left + 318.0, top + 300.0], [left + 326.0 + 10.0 * sway(0.85 * t), top + 460.0], 31.0, suit);
        let portrait = |x: f32, y: f32| {
            let (x, y) = ((x - left).floor() as i64, (y - top).floor() as i64);
            let clamp = |value: i64, limit: u32| value.clamp(0, i64::from(limit) - 1) as u32;
            let pixel = self.portrait.get_pixel(clamp(x, self.portrait.width()), clamp(y, self.portrait.height()));
            pixel.0.map(|part| f32::from(part) * 0.94)
        };
        let shape = |x: f32, y: f32| {
            let (in_x, in_y) = (x - left, y - top);
            let head = ellipse(in_x - 207.0, in_y - 88.0, 73.0, 77.0).max(in_y - 128.0);
            let jaw = ellipse(in_x - 205.0, in_y - 104.0, 50.0, 79.0);
            let collar = ellipse(in_x - 188.0, in_y - 215.0, 97.0, 66.0);
            let whole = head.min(jaw).min(collar).min(polygon(&SUIT, in_x, in_y));
            // The studio's light gray wall, where the outline lets some of it in.
            let [r, g, b] = portrait(x, y);
            let is_wall = r.min(g).min(b) > 120.0 && r.max(g).max(b) - r.min(g).min(b) < 42.0;
            let is_face = ellipse(in_x - 206.0, in_y - 108.0, 47.0, 72.0) < 0.0;
            let is_beside = (90.0..240.0).contains(&in_y) && whole > -34.0 && !is_face;
            if is_beside && is_wall { 1.0 } else { whole }
        };
        canvas.paint([left - 2.0, top, left + 352.0, 540.0], shape, portrait);
        if raised > 0.0 {
            let hand = [left + 470.0, top + 60.0 + 330.0 + 420.0 * (1.0 - raised)];
            canvas.limb([left + 316.0, top + 290.0], [left + 380.0, top + 400.0], 33.0, suit);
            canvas.limb([left + 380.0, top + 400.0], hand, 27.0, suit);
            self.hold(canvas, &self.cards[0], [hand[0] - 60.0, hand[1] - 366.0], hand, t);
        }
    }

    /// A drawn figure in a rain coat whose hood hides most of the face.
    fn hooded(&self, canvas: &mut Canvas, t: f32) {
        let (middle, top) = (SECOND.middle(t), 140.0 + SECOND.bob(t));
        let coat = |x: f32, y: f32| {
            shade(
                rgb(58, 82, 122),
                0.7 + 0.3 * cloud(x - middle + 300.0, y - top, 22.0, 40)
                    + 0.1 * cloud(x - middle + 300.0, y - top, 4.0, 41),
            )
        };
        let raised = SECOND.raised(t);
        for side in [-1.0, 1.0] {
            let swing = 14.0 * sway(0.85 * t) * side;
            canvas.limb([middle + side * 118.0, top + 230.0], [middle + side * 132.0 + swing, top + 430.0], 30.0, coat);
        }
        let body = [
            [middle - 60.0, top + 150.0],
            [middle - 128.0, top + 196.0],
            [middle - 150.0, top + 300.0],
            [middle - 150.0, 560.0],
            [middle + 150.0, 560.0],
            [middle + 150.0, top + 300.0],
            [middle + 128.0, top + 196.0],
            [middle + 60.0, top + 150.0],
        ];
        canvas.paint([middle - 160.0, top + 100.0, middle + 160.0, 540.0], |x, y| polygon(&body, x, y), coat);
        canvas.limb([middle, top + 190.0], [middle, 560.0], 2.0, |_, _| rgb(34, 46, 70));
        canvas.ellipse([middle, top + 92.0], [82.0, 96.0], coat);
        canvas.ellipse([middle, top + 104.0], [58.0, 70.0], |x, y| {
            shade(rgb(34, 40, 52), 0.8 + 0.3 * cloud(x - middle + 300.0, y - top, 9.0, 42))
        });
        canvas.ellipse([middle, top + 104.0], [46.0, 52.0], |_, y| {
            shade(rgb(146, 112, 92), 0.45 + 0.35 * ((y - top - 52.0) / 104.0))
        });
        canvas.rectangle([middle - 60.0, top + 122.0, middle + 60.0, top + 176.0], |x, y| {
            shade(rgb(120, 44, 48), 0.8 + 0.3 * cloud(x - middle + 300.0, y - top, 6.0, 43))
        });
        if raised > 0.0 {
            let hand = [middle + 270.0, top + 60.0 + 330.0 + 420.0 * (1.0 - raised)];
            canvas.limb([middle + 118.0, top + 230.0], [middle + 190.0, top + 380.0], 31.0, coat);
            canvas.limb([middle + 190.0, top + 380.0], hand, 26.0, coat);
            self.hold(canvas, &self.cards[1], [hand[0] - 60.0, hand[1] - 366.0], hand, t);
        }
    }

    /// The card with its top left corner at `corner`, and the thumb on it. Whole pixels: modules stay sharp.
    fn hold(&self, canvas: &mut Canvas, card: &Card, corner: [f32; 2], hand: [f32; 2], t: f32) {
        let tremble = [(1.4 * sway(0.9 * t)).round(), (1.4 * sway(0.7 * t + 0.3)).round()];
        let [left, top] = [corner[0].round() + tremble[0], corner[1].round() + tremble[1]];
        let side = card.side as f32;
        canvas.rectangle([left - 3.0, top - 3.0, left + side + 3.0, top + side + 3.0], |_, _| rgb(120, 118, 114));
        canvas.rectangle([left, top, left + side, top + side], |x, y| {
            let (x, y) = (((x - left) as usize).min(card.side - 1), ((y - top) as usize).min(card.side - 1));
            let light = 1.0 - 0.1 * (x + y) as f32 / (2.0 * side);
            if card.dark[y * card.side + x] { rgb(32, 31, 34) } else { shade(rgb(238, 237, 232), light) }
        });
        let skin = |_: f32, y: f32| shade(rgb(214, 168, 142), 1.0 - 0.2 * ((y - hand[1]) / 40.0).clamp(-1.0, 1.0));
        canvas.ellipse([hand[0], hand[1] - 6.0], [34.0, 24.0], skin);
        canvas.limb([hand[0] - 16.0, hand[1] - 12.0], [hand[0] - 24.0, hand[1] - 34.0], 9.0, skin);
    }
}
