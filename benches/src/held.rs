//! Codes held up to a camera at a door: 1080p frames of the drawn yard with one QR code in each.
//!
//! A code of 154 characters (41 modules) is 96 to 400 pixels wide with its quiet zone, turned, tilted, of low or high
//! contrast, soft and noisy. A pure function of the frame's number. Not coded and decoded again, which every door camera
//! does; the frames of the README's figures are.
//!
//! **Never:** a clock, randomness from outside.

use qrcode::{Color, EcLevel, QrCode};

use crate::clip::{HEIGHT, WIDTH};
use crate::scene;

/// Widths of codes with their quiet zones, in pixels.
pub const SIDES: [f32; 5] = [96.0, 128.0, 180.0, 260.0, 400.0];

const LETTERS: &[u8; 44] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$%*+-./:";

/// A picture and what its code says.
#[derive(Clone, Debug)]
pub struct Held {
    /// [`WIDTH`] x [`HEIGHT`] pixels.
    pub luma: Vec<u8>,
    /// The text.
    pub text: String,
}

/// Frame number `index`; its code's width goes through [`SIDES`].
///
/// # Panics
/// Never: the text fits a code.
pub fn held(index: usize) -> Held {
    let mut state = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // 0.0..1.0, by a xorshift.
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    let letters: String = (0..150).map(|_| char::from(LETTERS[(random() * 44.0) as usize % 44])).collect();
    let text = format!("GV1:{letters}");
    let code = QrCode::with_error_correction_level(&text, EcLevel::M).expect("154 characters fit");
    let (modules, colours) = (code.width() as i32, code.to_colors());

    let side = SIDES[index % SIDES.len()];
    let degrees = if index.is_multiple_of(3) { random() * 360.0 } else { random() * 30.0 - 15.0 };
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (middle_x, middle_y) = (450.0 + random() * 1020.0, 350.0 + random() * 380.0);
    let (tilt_x, tilt_y) = (random() * 0.3 - 0.15, random() * 0.3 - 0.15);
    let (dark, light) = (20.0 + random() * 50.0, 130.0 + random() * 105.0);
    let reach = modules as f32 + 8.0;
    let sample = |x: f32, y: f32| -> Option<f32> {
        let (dx, dy) = ((x - middle_x) / side, (y - middle_y) / side);
        let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
        let depth = 1.0 + tilt_x * u + tilt_y * v;
        let (u, v) = (u / depth * reach, v / depth * reach);
        if u.abs().max(v.abs()) > reach / 2.0 {
            return None;
        }
        let (column, row) = ((u + modules as f32 / 2.0).floor() as i32, (v + modules as f32 / 2.0).floor() as i32);
        let inside = (0..modules).contains(&column) && (0..modules).contains(&row);
        let is_dark = inside && colours[(row * modules + column) as usize] == Color::Dark;
        Some(if is_dark { dark } else { light })
    };
    let mut pixels: Vec<f32> = scene::frame(WIDTH, HEIGHT, index).y.into_iter().map(f32::from).collect();
    let margin = side;
    let near = |at: f32, limit: usize| (at - margin).max(1.0) as usize..((at + margin) as usize).min(limit - 1);
    let (rows, columns) = (near(middle_y, HEIGHT), near(middle_x, WIDTH));
    for y in rows.clone() {
        for x in columns.clone() {
            let back = pixels[y * WIDTH + x];
            let parts = (0..16).map(|k| sample(x as f32 + (k % 4) as f32 / 4.0, y as f32 + (k / 4) as f32 / 4.0));
            pixels[y * WIDTH + x] = parts.map(|part| part.unwrap_or(back)).sum::<f32>() / 16.0;
        }
    }
    // Each round adds a variance of a quarter pixel squared: 0 to 1.2 pixels of softness.
    for _ in 0..[0, 2, 3, 6][index / SIDES.len() % 4] {
        let from = pixels.clone();
        for y in rows.clone() {
            for x in columns.clone() {
                let i = y * WIDTH + x;
                pixels[i] = (from[i] * 4.0 + from[i - 1] + from[i + 1] + from[i - WIDTH] + from[i + WIDTH]) / 8.0;
            }
        }
    }
    let noise = [2.0, 5.0, 9.0][index / SIDES.len() % 3];
    let luma = pixels.iter().map(|&pixel| {
        // The sum of four uniform values is nearly normal, with a deviation of 0.58.
        let normal = (random() + random() + random() + random() - 2.0) / 0.58;
        (pixel + normal * noise).clamp(0.0, 255.0) as u8
    });
    Held { luma: luma.collect(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_vision::plane::LumaView;
    use godvision_vision::qr::{QrOptions, QrReader};

    #[test]
    fn a_large_code_says_its_text() {
        let held = held(4);
        let luma = LumaView::new(&held.luma, WIDTH, HEIGHT, WIDTH).unwrap();
        let found = QrReader::new(QrOptions::default()).read(luma, godvision_core::Stamp::default(), &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text.expose(), held.text);
    }
}
