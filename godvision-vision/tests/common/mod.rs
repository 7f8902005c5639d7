//! A scene made for tests: a textured wall, noise like a sensor's, and figures that move over it.

#![allow(dead_code, reason = "each test file uses its part")]

use godvision_core::{MonoTime, Stamp, WallTime};

/// The stamp of frame `i` at 25 frames a second.
pub(crate) fn at(i: usize) -> Stamp {
    let millis = i as u64 * 40;
    Stamp::new(MonoTime::from_millis(millis), WallTime::from_unix_millis(millis as i64))
}

/// A small generator of repeatable noise.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Nearly normal, with standard deviation `sigma`: the sum of twelve uniform values.
    pub(crate) fn normal(&mut self, sigma: f32) -> f32 {
        // Twelve 5-bit values out of one draw; their sum has mean 186 and deviation 32.
        let bits = self.next();
        let sum: u64 = (0..12).map(|k| bits >> (4 + 5 * k) & 31).sum();
        (sum as f32 - 186.0) / 32.0 * sigma
    }
}

/// A wall with a window, floor tiles and posters.
pub(crate) struct Wall {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<f32>,
}

impl Wall {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let mut noise = Noise::new(7);
        let pixels = (0..width * height)
            .map(|i| {
                let (x, y) = ((i % width) as f32 / width as f32, (i / width) as f32 / height as f32);
                let window = if (0.6..0.8).contains(&x) && (0.1..0.4).contains(&y) { 80.0 } else { 0.0 };
                let tiles = if y > 0.7 && ((x * 12.0) as i32 + (y * 12.0) as i32) % 2 == 0 { -35.0 } else { 0.0 };
                let poster =
                    if (0.1..0.3).contains(&x) && (0.2..0.5).contains(&y) { (x * 300.0).sin() * 30.0 } else { 0.0 };
                95.0 + 40.0 * x + window + tiles + poster + noise.normal(2.0)
            })
            .collect();
        Self { width, height, pixels }
    }

    /// The wall with dark figures `[left, top, right, bottom]` before it, changed by `light`, with sensor noise.
    pub(crate) fn frame(&self, figures: &[[usize; 4]], light: impl Fn(f32) -> f32, sigma: f32, seed: u64) -> Vec<u8> {
        let mut noise = Noise::new(seed + 1);
        let mut pixels = self.pixels.clone();
        for &[left, top, right, bottom] in figures {
            for y in top..bottom.min(self.height) {
                for x in left..right.min(self.width) {
                    // Clothes have folds.
                    pixels[y * self.width + x] = 30.0 + ((x + y) % 7) as f32;
                }
            }
        }
        pixels.iter().map(|&v| (light(v) + noise.normal(sigma)).clamp(0.0, 255.0) as u8).collect()
    }

    /// The wall seen `dx`, `dy` pixels aside.
    pub(crate) fn shifted(&self, dx: isize, dy: isize, sigma: f32, seed: u64) -> Vec<u8> {
        let mut noise = Noise::new(seed + 1);
        (0..self.width * self.height)
            .map(|i| {
                let x = (i % self.width).saturating_add_signed(dx).min(self.width - 1);
                let y = (i / self.width).saturating_add_signed(dy).min(self.height - 1);
                (self.pixels[y * self.width + x] + noise.normal(sigma)).clamp(0.0, 255.0) as u8
            })
            .collect()
    }
}
