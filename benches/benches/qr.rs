//! Question: what does looking for a code in a 1080p picture cost, when there is one and when there is none?
//!
//! Bound: the picture must be read once and its halved copy written, 2.6 MB; `motion`'s `memory read` says how fast that is
//! on this machine. `compare -- qr` has the peers and counts the reads; here is what one needs to see a change.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use godvision_benches::clip::{HEIGHT, WIDTH};
use godvision_benches::cpu::CpuTime;
use godvision_benches::{held, scene};
use godvision_core::{MonoTime, Stamp, WallTime};
use godvision_vision::plane::LumaView;
use godvision_vision::qr::{Lattice, QrDecoder, QrOptions, QrReader, Rqrr, Rxing};

fn engines(c: &mut Criterion<CpuTime>, name: &str, luma: &[u8]) {
    let view = LumaView::new(luma, WIDTH, HEIGHT, WIDTH).expect("a whole frame");
    let mut group = c.benchmark_group(format!("qr, {name}"));
    group.throughput(Throughput::Elements(1)).sample_size(20);
    let engines: [Box<dyn QrDecoder>; 3] = [Box::new(Lattice::default()), Box::new(Rxing::default()), Box::new(Rqrr)];
    for mut engine in engines {
        group.bench_function(engine.name(), |b| {
            b.iter(|| {
                let mut found = Vec::new();
                engine.decode(view, &mut found);
                black_box(found.len())
            });
        });
    }
    group.bench_function("QrReader", |b| {
        let mut reader = QrReader::new(QrOptions::default());
        let mut millis = 0;
        b.iter(|| {
            // Every 100 ms, as a door's does.
            millis += 100;
            let at = Stamp::new(MonoTime::from_millis(millis), WallTime::from_unix_millis(millis as i64));
            black_box(reader.read(view, at, &[]).len())
        });
    });
    group.finish();
}

fn qr(c: &mut Criterion<CpuTime>) {
    engines(c, "a yard without a code", &scene::frame(WIDTH, HEIGHT, 3).y);
    for (index, side) in [(5, 96), (1, 128), (3, 260), (4, 400)] {
        engines(c, &format!("a code of {side} pixels"), &held::held(index).luma);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = qr
}
criterion_main!(benches);
