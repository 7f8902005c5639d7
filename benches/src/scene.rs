//! A yard of our own making: something to look at where no recording is at hand.
//!
//! A textured wall, sensor noise, and figures that walk by. It is a pure function of size and frame number, so every
//! run and every machine sees the same pixels. Real recordings are better (`--shared`): texture and noise here are
//! simpler than a lens makes them, which flatters decoders.
//!
//! **Never:** a clock, randomness from outside.

use rusty_h264::{Encoder, EncoderConfig, YuvFrame};

/// Figures in the scene.
const FIGURES: usize = 3;

/// Frame number `index` of the scene at `width` x `height` (both even), 25 frames a second.
pub fn frame(width: usize, height: usize, index: usize) -> YuvFrame {
    let mut y = Vec::with_capacity(width * height);
    for row in 0..height {
        for column in 0..width {
            y.push(wall(column * 1920 / width, row * 1080 / height));
        }
    }
    let mut frame = YuvFrame { width, height, y, u: vec![120; width * height / 4], v: vec![132; width * height / 4] };
    for figure in 0..FIGURES {
        walk(&mut frame, index, figure);
    }
    let mut noise = hash(index as u64 + 1);
    for pixel in &mut frame.y {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Two of four bits each way: a standard deviation of about 1.2, as of a camera by day.
        let step = (noise >> 62) as i16 - (noise >> 58 & 3) as i16;
        *pixel = (i16::from(*pixel) + step).clamp(0, 255) as u8;
    }
    frame
}

/// Brightness of the background at a place of a 1920x1080 picture: bricks with some grain.
fn wall(x: usize, y: usize) -> u8 {
    let (row, shift) = (y / 30, (y / 30 % 2) * 40);
    let (brick, in_x, in_y) = ((x + shift) / 80, (x + shift) % 80, y % 30);
    if in_x < 3 || in_y < 3 {
        return 150;
    }
    let tone = hash((row * 1000 + brick) as u64) % 40;
    let grain = hash(((y / 2) * 4096 + x / 2) as u64) % 16;
    (70 + tone + grain) as u8
}

fn walk(frame: &mut YuvFrame, index: usize, figure: usize) {
    let (width, height) = (frame.width, frame.height);
    let tall = height / 4 + figure * height / 16;
    let wide = tall * 2 / 5;
    let speed = (width / 320 + figure).max(1);
    let left = (index * speed + figure * width / 3) % width;
    let top = height / 3 + figure * height / 10;
    for row in top..(top + tall).min(height) {
        for column in left..(left + wide).min(width) {
            let grain = hash(((row - top) / 3 * 512 + (column - left) / 3) as u64) % 60;
            frame.y[row * width + column] = (30 + 60 * figure as u64 + grain) as u8;
            let chroma = row / 2 * (width / 2) + column / 2;
            frame.u[chroma] = 100 + 20 * figure as u8;
            frame.v[chroma] = 160 - 20 * figure as u8;
        }
    }
}

/// SplitMix64's finisher: a good spread for a few multiplications.
fn hash(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `frames` frames of the scene as an H.264 Annex B stream: High profile, CABAC, no B frames, a key frame every 50.
/// Takes some seconds for a second of 1080p.
pub fn encode(width: usize, height: usize, frames: usize, bits_per_second: u32) -> Vec<u8> {
    let mut config = EncoderConfig::new(width, height);
    config.level_idc = 40;
    config.framerate = 25.0;
    config.bitrate = bits_per_second;
    config.gop_size = 50;
    config.num_ref_frames = 1;
    // What reorders or looks ahead is off: a file of ours has no timestamps, and a camera has no time.
    config.bframes = 0;
    config.lookahead = 0;
    config.scenecut = 0;
    config.mbtree = false;
    let mut encoder = Encoder::new(config).expect("a size that can be coded");
    let mut stream = Vec::new();
    for index in 0..frames {
        stream.extend(encoder.encode(&frame(width, height, index)));
    }
    stream.extend(encoder.flush());
    stream
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::signal::media::Codec;
    use godvision_rtsp::restream::FilePlayer;

    #[test]
    fn a_scene_moves_and_can_be_played() {
        assert_ne!(frame(64, 48, 0).y, frame(64, 48, 1).y);
        assert_eq!(frame(64, 48, 7).y, frame(64, 48, 7).y);
        let stream = encode(64, 48, 10, 100_000);
        let player = FilePlayer::from_annex_b("a".parse().unwrap(), Codec::H264, &stream, 25.0).unwrap();
        assert_eq!(player.frames(), 10);
    }
}
