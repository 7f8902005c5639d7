//! Decoding by the facade, a whole group of pictures at a time: the demo's clip, and a scene of our own at two sizes.

use criterion::{BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use godvision_benches::cpu::CpuTime;
use godvision_benches::scene;
use godvision_core::Stamp;
use godvision_core::signal::media::{Codec, Packet};
use godvision_rtsp::decode::{Chroma, DecodeOptions, Frames, open};
use godvision_rtsp::restream::FilePlayer;

/// Frames decoded in one measurement.
const FRAMES: u64 = 25;

fn packets(stream: &[u8]) -> Vec<Packet> {
    let player = FilePlayer::from_annex_b("yard/camera".parse().expect("a name"), Codec::H264, stream, 25.0);
    let player = player.expect("a stream that plays");
    (0..FRAMES.min(player.frames() as u64)).map(|number| player.packet(number, Stamp::default())).collect()
}

fn decode(criterion: &mut Criterion<CpuTime>) {
    let demo = include_bytes!("../../examples/server/assets/demo/yard.h264");
    let streams = [
        ("demo clip 960x540", packets(demo)),
        ("scene 640x360", packets(&scene::encode(640, 360, FRAMES as usize, 512_000))),
        ("scene 1920x1080", packets(&scene::encode(1920, 1080, FRAMES as usize, 4_000_000))),
    ];
    let luma = DecodeOptions::default();
    let modes = [
        ("luma", luma),
        ("luma and chroma", DecodeOptions { chroma: Chroma::Keep, ..luma }),
        ("key frames only", DecodeOptions { frames: Frames::KeyOnly, ..luma }),
    ];
    let mut group = criterion.benchmark_group("decode, per frame of the stream");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    for (name, packets) in &streams {
        group.throughput(Throughput::Elements(packets.len() as u64));
        for (mode, options) in modes {
            group.bench_function(BenchmarkId::new(*name, mode), |bencher| {
                let fresh = || open(&packets[0].format, options).expect("a decoder for H.264");
                let work = |mut decoder: Box<dyn godvision_rtsp::decode::Decoder>| {
                    let mut pictures = Vec::new();
                    for packet in packets {
                        decoder.decode(packet, &mut pictures).expect("a good stream");
                    }
                    decoder.finish(&mut pictures);
                    pictures.len()
                };
                bencher.iter_batched(fresh, work, BatchSize::PerIteration);
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = decode
}
criterion_main!(benches);
