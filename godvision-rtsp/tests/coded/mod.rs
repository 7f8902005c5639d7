//! Small coded streams for the tests: made here, or kept in `tests/data` (see its `SOURCES.md`).
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use bytes::Bytes;
use godvision_core::name::Name;
use godvision_core::signal::media::{Codec, FrameKind, Packet, VideoFormat};
use godvision_core::time::{MonoTime, Stamp, WallTime};
use godvision_rtsp::restream::FilePlayer;
use rusty_h264::{Encoder, EncoderConfig, YuvFrame};

pub(crate) fn name() -> Name {
    "yard/camera".parse().unwrap()
}

/// 2023-11-14 22:13:20 UTC, an hour after the monotonic clock's start.
pub(crate) fn start() -> Stamp {
    Stamp::new(MonoTime::from_millis(3_600_000), WallTime::from_unix_seconds(1_700_000_000))
}

/// A moving square on a rough wall, as H.264 Constrained Baseline in Annex B.
pub(crate) fn h264(width: usize, height: usize, frames: usize, group: u32) -> Vec<u8> {
    let mut config = EncoderConfig::baseline(width, height);
    config.gop_size = group;
    config.scenecut = 0;
    config.qp = 30;
    let mut encoder = Encoder::new(config).unwrap();
    let mut stream = Vec::new();
    for number in 0..frames {
        let mut frame = YuvFrame::black(width, height);
        for y in 0..height {
            for x in 0..width {
                let inside = x.abs_diff(number * 3 % width) < 12 && y.abs_diff(height / 2) < 12;
                let rough = ((x / 2 * 7919) ^ (y / 2 * 104_729)) % 61;
                frame.y[y * width + x] = if inside { 230 } else { (x + y) as u8 / 3 + 20 + rough as u8 };
            }
        }
        stream.extend(encoder.encode(&frame));
    }
    stream.extend(encoder.flush());
    stream
}

/// A file of `tests/data`.
pub(crate) fn data(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// One round of an Annex-B file as packets, 25 a second.
pub(crate) fn packets(codec: Codec, file: &[u8]) -> Vec<Packet> {
    let player = FilePlayer::from_annex_b(name(), codec, file, 25.0).unwrap();
    (0..player.frames() as u64).map(|number| player.packet(number, start())).collect()
}

/// MJPEG packets, 25 a second.
pub(crate) fn jpeg_packets(images: &[Vec<u8>], width: u16, height: u16) -> Vec<Packet> {
    let format = Arc::new(VideoFormat {
        codec: Codec::Mjpeg,
        width,
        height,
        codec_name: "mp4v.6C".to_owned(),
        config: Bytes::new(),
    });
    let packet = |(number, image): (usize, &Vec<u8>)| Packet {
        source: name(),
        format: Arc::clone(&format),
        sequence: number as u64,
        session: 1,
        pts_ticks: number as i64 * 3600,
        at: Stamp::new(
            start().mono + std::time::Duration::from_millis(number as u64 * 40),
            start().wall.plus_micros(number as i64 * 40_000),
        ),
        kind: FrameKind::Key,
        lost_before: 0,
        data: Bytes::from(image.clone()),
    };
    images.iter().enumerate().map(packet).collect()
}

const DC_LUMA: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
const DC_CHROMA: [u8; 16] = [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];

#[derive(Default)]
struct Bits {
    out: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, bits: u32) {
        for bit in (0..bits).rev() {
            self.held = (self.held << 1) | ((value >> bit) & 1);
            self.count += 1;
            if self.count == 8 {
                self.out.push(self.held as u8);
                if self.held as u8 == 0xff {
                    self.out.push(0);
                }
                (self.held, self.count) = (0, 0);
            }
        }
    }

    /// A DC difference behind its category's canonical code.
    fn put_dc(&mut self, difference: i32, counts: &[u8; 16]) {
        let size = 32 - difference.unsigned_abs().leading_zeros();
        let (mut code, mut symbol) = (0u32, 0u32);
        for (length, count) in (1..).zip(counts) {
            let count = u32::from(*count);
            if size < symbol + count {
                self.put(code + size - symbol, length);
                break;
            }
            symbol += count;
            code = (code + count) << 1;
        }
        let low = if difference < 0 { difference - 1 } else { difference };
        self.put(low as u32 & ((1 << size) - 1), size);
    }
}

/// A baseline 4:2:0 JPEG of `across` x `down` macroblocks of 16 pixels, each 8x8 luma block flat with the value that
/// `luma` gives for its block coordinates, colour flat with `cb` and `cr`.
pub(crate) fn jpeg(across: u16, down: u16, luma: impl Fn(u16, u16) -> u8, [cb, cr]: [u8; 2]) -> Vec<u8> {
    let mut image = vec![0xff, 0xd8];
    for table in [0, 1] {
        image.extend([0xff, 0xdb, 0, 67, table]);
        // 8: the DC coefficient then equals the sample's distance from 128.
        image.extend([8; 64]);
    }
    image.extend([0xff, 0xc0, 0, 17, 8]);
    image.extend((down * 16).to_be_bytes());
    image.extend((across * 16).to_be_bytes());
    image.extend([3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    for (head, counts) in [(0x00, &DC_LUMA), (0x01, &DC_CHROMA)] {
        image.extend([0xff, 0xc4, 0, 31, head]);
        image.extend(counts);
        image.extend(0..12);
    }
    image.extend(STANDARD_AC);
    image.extend([0xff, 0xda, 0, 12, 3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]);
    let mut bits = Bits::default();
    let mut last = [0i32; 3];
    let mut block = |component: usize, value: u8| {
        let dc = i32::from(value) - 128;
        let difference = dc - last[component];
        last[component] = dc;
        // End of block follows at once: 1010 for luma, 00 for chroma.
        if component == 0 {
            bits.put_dc(difference, &DC_LUMA);
            bits.put(0b1010, 4);
        } else {
            bits.put_dc(difference, &DC_CHROMA);
            bits.put(0, 2);
        }
    };
    for y in 0..down {
        for x in 0..across {
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                block(0, luma(2 * x + dx, 2 * y + dy));
            }
            block(1, cb);
            block(2, cr);
        }
    }
    if bits.count > 0 {
        bits.put(0x7f, 8 - bits.count);
    }
    image.extend(bits.out);
    image.extend([0xff, 0xd9]);
    image
}

/// DHT segments of the two standard AC tables (ITU-T T.81 tables K.5 and K.6).
const STANDARD_AC: &[u8] = include_bytes!("../data/standard_ac.dht");

/// A gray baseline JPEG of `across` x `down` flat blocks of 8 pixels.
pub(crate) fn gray_jpeg(across: u16, down: u16, luma: impl Fn(u16, u16) -> u8) -> Vec<u8> {
    let mut image = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    image.extend([8; 64]);
    image.extend([0xff, 0xc0, 0, 11, 8]);
    image.extend((down * 8).to_be_bytes());
    image.extend((across * 8).to_be_bytes());
    image.extend([1, 1, 0x11, 0]);
    image.extend([0xff, 0xc4, 0, 31, 0]);
    image.extend(DC_LUMA);
    image.extend(0..12);
    image.extend(STANDARD_AC);
    image.extend([0xff, 0xda, 0, 8, 1, 1, 0x00, 0, 63, 0]);
    let mut bits = Bits::default();
    let mut last = 0;
    for y in 0..down {
        for x in 0..across {
            let dc = i32::from(luma(x, y)) - 128;
            bits.put_dc(dc - last, &DC_LUMA);
            bits.put(0b1010, 4);
            last = dc;
        }
    }
    if bits.count > 0 {
        bits.put(0x7f, 8 - bits.count);
    }
    image.extend(bits.out);
    image.extend([0xff, 0xd9]);
    image
}
