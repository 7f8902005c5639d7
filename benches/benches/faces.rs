//! Question: what do the steps from a picture to a person cost, each alone?
//!
//! Bound: YuNet multiplies and adds 0.14 billion times at 320x320 and SFace 0.46 billion times, half of them over weights
//! that are read once; a search of 100,000 faces reads 12.8 MB. `compare -- faces` and `-- search` have the peers.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use godvision_benches::cpu::CpuTime;
use godvision_core::MonoTime;
use godvision_vision::RgbImage;
use godvision_vision::face::liveness::{LivenessCheck, Parallax};
use godvision_vision::face::quality::{Quality, QualityOptions};
use godvision_vision::face::search::{FaceIndex, SearchSpace};
use godvision_vision::face::{
    CHIP_SIDE, Embedding, Face, FaceChip, FaceDetector, FaceEmbedder, SFace, YuNet, YuNetOptions,
};

fn pattern(side: usize) -> Vec<u8> {
    (0..side * side * 3).map(|i| (((i / 40) * 2_654_435_761) >> 13) as u8).collect()
}

fn steps(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("faces");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for side in [320, 640] {
        let mut detector = YuNet::new(YuNetOptions { side, ..YuNetOptions::default() }).expect("a side in range");
        let picture = RgbImage::new(pattern(side), side, side).expect("a whole picture");
        group.bench_function(format!("find, {side}x{side}"), |b| b.iter(|| black_box(detector.find(picture.view()))));
    }
    let points = [[120.0, 110.0], [180.0, 108.0], [150.0, 150.0], [125.0, 185.0], [176.0, 184.0]];
    let face = Face { bounds: [100.0, 60.0, 200.0, 220.0], score: 0.9, points };
    let picture = RgbImage::new(pattern(320), 320, 320).expect("a whole picture");
    group.bench_function("turn upright", |b| b.iter(|| black_box(FaceChip::cut(picture.view(), &points))));
    let chip = FaceChip::from_pixels(&pattern(CHIP_SIDE)).expect("a whole chip");
    let options = QualityOptions::default();
    group.bench_function("quality", |b| b.iter(|| black_box(Quality::of(&face, &chip, [320, 320], &options))));
    let mut embedder = SFace::new().expect("our own weights");
    group.bench_function("embed", |b| b.iter(|| black_box(embedder.embed(&chip))));
    let (mut check, mut millis) = (Parallax::default(), 0);
    group.bench_function("parallax, a picture at 5 a second", |b| {
        b.iter(|| {
            millis += 200;
            black_box(check.look(MonoTime::from_millis(millis), &face, &chip))
        });
    });
    group.finish();
}

fn search(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("ten nearest faces");
    let mut state = 1_u64;
    let mut face = || {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let values: Vec<f32> = (0..128).map(|_| (0..6).map(|_| next()).sum::<f32>() - 3.0).collect();
        Embedding::new(&values).expect("finite numbers")
    };
    for rows in [5_000, 100_000] {
        let mut index = FaceIndex::new(128).expect("a length in range");
        (0..rows).for_each(|key| index.insert(key, &face()).expect("room"));
        let (query, mut space) = (face(), SearchSpace::default());
        group.throughput(Throughput::Bytes(rows * 128));
        group.bench_function(format!("of {rows}"), |b| {
            b.iter(|| black_box(index.search(&query, 10, &mut space).map(<[_]>::len)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = steps, search
}
criterion_main!(benches);
