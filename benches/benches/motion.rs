//! Question: what does watching a 1080p camera for motion cost, and how near is that to what the memory allows?
//!
//! Bound: the stage reads every second row of the picture, 1,036,800 bytes of 2,073,600. `memory read` measures how fast this machine reads such a
//! plane (sums over eight bytes at once, over more planes than the cache holds); the stage's share of it is its distance
//! from the bound. The downscale reads 1.04 MB and writes 0.13 MB; everything after works on planes of 129,600 bytes that
//! stay in the second-level cache.
//!
//! The compiler is guarded here: a loop of the kernels that stops being vectorised makes `model 480x270` 20 times slower.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use godvision_core::{MonoTime, Stamp, WallTime};
use godvision_vision::motion::{MotionDetector, MotionOptions};
use godvision_vision::plane::{BoxDownscale, LumaView};

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;
/// Frames in turn: 80 MB, more than the last-level cache.
const FRAMES: usize = 40;

/// A textured wall with noise and `figures` walkers of 60x160 pixels.
fn film(width: usize, height: usize, figures: usize) -> Vec<Vec<u8>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..FRAMES)
        .map(|frame| {
            let mut luma: Vec<u8> = (0..width * height)
                .map(|i| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    let (x, y) = (i % width, i / width);
                    (80 + (x / 16 + y / 16) % 2 * 60 + x * 40 / width + (state >> 60) as usize) as u8
                })
                .collect();
            for figure in 0..figures {
                let (left, top) = ((frame * 12 + figure * 230) % (width - 60), figure * 97 % (height - 160));
                for y in top..top + 160 {
                    luma[y * width + left..][..60].fill(20 + (y % 9) as u8);
                }
            }
            luma
        })
        .collect()
}

fn stamp(i: usize) -> Stamp {
    Stamp::new(MonoTime::from_millis(i as u64 * 40), WallTime::from_unix_millis(i as i64 * 40))
}

fn stage(c: &mut Criterion, name: &str, width: usize, height: usize, figures: usize) {
    let frames = film(width, height, figures);
    let mut group = c.benchmark_group("motion");
    group.throughput(Throughput::Elements((width * height) as u64));
    group.bench_function(name, |b| {
        let mut detector = MotionDetector::new(MotionOptions::default(), width, height).expect("a size it takes");
        let mut i = 0;
        b.iter(|| {
            i += 1;
            let view = LumaView::new(&frames[i % FRAMES], width, height, width).expect("a whole frame");
            let report = detector.step(view, stamp(i), i as u64).expect("the same size");
            black_box(report.boxes().len())
        });
    });
    group.finish();
}

fn motion(c: &mut Criterion) {
    println!("loops compiled for {}", godvision_vision::instruction_set());
    stage(c, "whole stage, 1080p, empty", WIDTH, HEIGHT, 0);
    stage(c, "whole stage, 1080p, 3 walkers", WIDTH, HEIGHT, 3);
    stage(c, "whole stage, 1080p, 12 walkers", WIDTH, HEIGHT, 12);
    stage(c, "whole stage, 4K, 3 walkers", WIDTH * 2, HEIGHT * 2, 3);
    stage(c, "whole stage, 720p, 3 walkers", 1280, 720, 3);
    stage(c, "whole stage, 640x360, 3 walkers", 640, 360, 3);
    // A picture of the working size is only copied before it: the model, the cleaning and the boxes alone.
    stage(c, "model 480x270, 3 walkers", 480, 270, 1);

    let frames = film(WIDTH, HEIGHT, 0);
    let mut group = c.benchmark_group("motion parts");
    group.throughput(Throughput::Bytes((WIDTH * HEIGHT) as u64));
    let mut i = 0;
    group.bench_function("memory read, 1080p", |b| {
        b.iter(|| {
            i += 1;
            let words = frames[i % FRAMES].chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
            black_box(words.fold(0u64, u64::wrapping_add))
        });
    });
    group.bench_function("downscale 4x4, 1080p", |b| {
        let mut downscale = BoxDownscale::new(WIDTH, HEIGHT).expect("a size it takes");
        let mut out = vec![0; downscale.out_width() * downscale.out_height()];
        b.iter(|| {
            i += 1;
            let view = LumaView::new(&frames[i % FRAMES], WIDTH, HEIGHT, WIDTH).expect("a whole frame");
            downscale.reduce(view, &mut out).expect("the same size");
            black_box(out[0])
        });
    });
    group.bench_function("make a detector, 1080p", |b| {
        b.iter_batched(
            MotionOptions::default,
            |options| MotionDetector::new(options, WIDTH, HEIGHT).expect("a size it takes"),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, motion);
criterion_main!(benches);
