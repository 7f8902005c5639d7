//! One packet to one fragment: the cost of a frame must not depend on its size, because its payload is not touched.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godvision_benches::cpu::CpuTime;
use godvision_benches::scene;
use godvision_core::signal::media::{Codec, FrameKind, Packet};
use godvision_core::{MonoTime, Stamp, WallTime};
use godvision_rtsp::Fragmenter;
use godvision_rtsp::fragment::{init_segment, rebase_head};
use godvision_rtsp::restream::FilePlayer;
use std::hint::black_box;

fn packet(bytes: usize) -> Packet {
    let stream = scene::encode(64, 48, 2, 100_000);
    let player = FilePlayer::from_annex_b("yard/camera".parse().expect("a name"), Codec::H264, &stream, 25.0);
    let packet = player.expect("a stream").packet(0, Stamp::default());
    Packet { data: Bytes::from(vec![0x65; bytes]), ..packet }
}

fn fragment(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("fragment");
    // A quiet delta frame, a mean frame of 1080p25 at 4 Mbit/s, a key frame.
    for bytes in [1_000, 20_000, 200_000] {
        let first = packet(bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            let mut fragmenter = Fragmenter::new();
            let mut number = 0i64;
            bencher.iter(|| {
                number += 1;
                let at = Stamp::new(MonoTime::from_millis(number as u64 * 40), WallTime::from_unix_millis(number * 40));
                let kind = if number % 50 == 1 { FrameKind::Key } else { FrameKind::Delta };
                let packet = Packet { sequence: number as u64, pts_ticks: number * 3600, at, kind, ..first.clone() };
                black_box(fragmenter.push(&packet)).is_some()
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    let format = Arc::clone(&packet(100).format);
    group.bench_function("head of a stream", |bencher| bencher.iter(|| init_segment(black_box(&format))));
    let head = Fragmenter::new().push(&packet(100)).expect("a key frame").head;
    group.bench_function("head moved to a clip's start", |bencher| bencher.iter(|| rebase_head(black_box(&head), 0)));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = fragment
}
criterion_main!(benches);
