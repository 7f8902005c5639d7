//! What the camera of the bench sees at 1280x720: a yard with a little noise, somebody who turns their head, a pass held up.

use std::error::Error;

use godvision_vision::RgbImage;
use godvision_vision::face::{FaceDetector, YuNet, YuNetOptions};
use qrcode::{Color, EcLevel, QrCode};
use rusty_h264::YuvFrame;

use crate::world::film::{Film, coloured, grey};
use crate::world::waved::{Pose, Scene, draw};

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const RATE: u32 = 25;
/// Side of one module of a code, in pixels.
const MODULE_PIXELS: usize = 7;
/// From one side to the other in so many frames: a head that turns by 18 degrees each way in 1.2 s.
const TURN_FRAMES: usize = 30;
const PORTRAIT: &[u8] = include_bytes!("../../assets/demo/portrait.png");

/// The films, coded once.
pub(crate) struct Drawings {
    /// Nothing moves but the noise.
    pub(crate) nobody: Film,
    /// A head as large as at a door station: 60 pixels between the eyes.
    pub(crate) turning: Film,
    /// The photo she is enrolled by, as a JPEG.
    pub(crate) portrait: Vec<u8>,
}

impl Drawings {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let picture = image::load_from_memory(PORTRAIT)?.into_rgb8();
        let mut jpeg = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut jpeg, image::ImageFormat::Jpeg)?;
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let portrait = RgbImage::new(picture.into_raw(), width, height)?;
        let face = YuNet::new(YuNetOptions { side: 360, ..YuNetOptions::default() })?.find(portrait.view())?;
        let face = *face.first().ok_or("the portrait has no face")?;
        let scene = Scene { is_head: true, eyes: 60.0, noise: 2.0 };
        // There and back.
        let frames: Vec<YuvFrame> = (0..TURN_FRAMES * 2)
            .map(|frame| {
                let turn = (std::f64::consts::PI * frame as f64 / TURN_FRAMES as f64).cos();
                let pose = Pose { yaw: 0.32 * turn, ..Pose::default() };
                on_the_wall(&draw(portrait.view(), &face, pose, scene, frame as u64 + 1), frame as u32)
            })
            .collect();
        let nobody: Vec<_> = (0..RATE).map(|frame| grey(WIDTH, HEIGHT, wall(frame))).collect();
        Ok(Self { nobody: Film::new(&nobody, RATE), turning: Film::new(&frames, RATE), portrait: jpeg.into_inner() })
    }

    /// Somebody holds up a card with `text`; a hand is never still.
    pub(crate) fn held(&self, text: &str) -> Result<Film, Box<dyn Error>> {
        let card = QrCode::with_error_correction_level(text, EcLevel::M)?;
        let (modules, colours) = (card.width(), card.to_colors());
        let side = (modules + 8) * MODULE_PIXELS;
        let frames: Vec<_> = (0..6_usize)
            .map(|number| {
                let mut luma = wall(number as u32);
                let (left, top) = (400 + number % 3, 120 + number % 2);
                for (down, across) in (0..side).flat_map(|down| (0..side).map(move |across| (down, across))) {
                    let (column, row) = (across / MODULE_PIXELS, down / MODULE_PIXELS);
                    let is_inside = (4..modules + 4).contains(&column) && (4..modules + 4).contains(&row);
                    let is_dark = is_inside && colours[(row - 4) * modules + column - 4] == Color::Dark;
                    luma[(top + down) * WIDTH + left + across] = if is_dark { 30 } else { 225 };
                }
                grey(WIDTH, HEIGHT, luma)
            })
            .collect();
        Ok(Film::new(&frames, RATE))
    }
}

/// A grey yard; `seed` draws the noise.
fn wall(seed: u32) -> Vec<u8> {
    let mut noise = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut shade = |index: usize| {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        (90 + index % WIDTH / 32 + index / WIDTH / 24 + usize::from(noise as u8 & 3)) as u8
    };
    (0..WIDTH * HEIGHT).map(&mut shade).collect()
}

fn on_the_wall(picture: &RgbImage, seed: u32) -> YuvFrame {
    let mut rgb: Vec<u8> = wall(seed).into_iter().flat_map(|grey| [grey; 3]).collect();
    for (y, row) in picture.bytes().chunks_exact(picture.width() * 3).enumerate() {
        rgb[((180 + y) * WIDTH + 460) * 3..][..row.len()].copy_from_slice(row);
    }
    coloured(WIDTH, HEIGHT, &rgb)
}
