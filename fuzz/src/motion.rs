//! The motion detector of `godvision-vision` on small planes of any pixels, and its reduction beside a naive one.

use std::time::Duration;

use godvision_core::signal::seen::{MotionPhase, RestPhase};
use godvision_core::{MonoTime, Stamp, WallTime};
use godvision_vision::motion::{BOXES_MAX, MotionDetector, MotionOptions, MotionReport, THINGS_MAX};
use godvision_vision::plane::{BoxDownscale, LumaView};

use crate::{Input, Reached};

/// Most frames of one input.
const FRAMES_MAX: usize = 24;

/// Two bytes of size (16 and more, the second byte's top bits enlarge by 12), one of row padding, then frames: one byte
/// of flags and time, and the pixels as a pattern that repeats.
pub fn motion(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let [across, down, padding] = input.array();
    // Sides beyond about 390 pixels are reduced: both the copied and the averaged path run.
    let side = |byte: u8| 16 + usize::from(byte & 0x7f) * if byte & 0x80 != 0 { 6 } else { 1 };
    let (width, height, padding) = (side(across), side(down), usize::from(padding % 70));
    let mut options = MotionOptions::default();
    options.rest_after = Duration::from_secs(1);
    let mut tight = MotionDetector::new(options.clone(), width, height).expect("a size that is supported");
    let mut padded = MotionDetector::new(options, width, height).expect("a size that is supported");
    let (mut things, mut spoilt) = (Vec::new(), Vec::new());
    let (mut millis, mut frames, mut phase, mut event) = (0u64, 0, None, 0);
    let mut pixels = vec![0; width * height];
    while !input.is_empty() && frames < FRAMES_MAX {
        let flags = input.byte();
        paint(&mut pixels, width, flags, input.piece());
        millis += [40, 200, 2000, 60_000][usize::from(flags & 3)];
        let at = Stamp::new(MonoTime::from_millis(millis), WallTime::from_unix_millis(millis as i64));
        let stride = width + padding;
        let mut wide = vec![flags; stride * height];
        for (row, from) in wide.chunks_mut(stride).zip(pixels.chunks(width)) {
            row[..width].copy_from_slice(from);
        }
        let tight_view = LumaView::new(&pixels, width, height, width).expect("whole");
        let padded_view = LumaView::new(&wide, width, height, stride).expect("whole");
        check_reduction(tight_view, padded_view);
        if flags & 0x40 != 0 {
            tight.reset();
            padded.reset();
        }
        let a = tight.step(tight_view, at, frames as u64).expect("the same size");
        let b = padded.step(padded_view, at, frames as u64).expect("the same size");
        assert_eq!((a.boxes(), a.step, a.scene), (b.boxes(), b.step, b.scene), "padding changes nothing");
        assert_eq!((a.rests(), a.tamper), (b.rests(), b.tamper));
        check_rests(&a, &mut things, (width, height));
        if let Some(tamper) = a.tamper {
            assert_ne!(spoilt.contains(&tamper.kind), !tamper.is_over, "{tamper:?} after {spoilt:?}");
            spoilt.retain(|kind| *kind != tamper.kind);
            spoilt.extend((!tamper.is_over).then_some(tamper.kind));
        }
        let mask = a.mask().to_bytes();
        assert_eq!(mask, b.mask().to_bytes());
        assert_eq!(a.share().to_bits(), b.share().to_bits());
        assert!((0.0..=1.0).contains(&a.share()));
        assert!(a.boxes().len() <= BOXES_MAX && a.boxes().is_sorted_by(|x, y| x.area >= y.area));
        for found in a.boxes() {
            let [left, top, right, bottom] = found.pixels;
            assert!(left < right && right <= width && top < bottom && bottom <= height, "{found:?}");
            assert!(found.region.right <= 1000 && found.region.bottom <= 1000);
        }
        assert_eq!(mask.iter().map(|flag| usize::from(*flag)).sum::<usize>(), a.mask().count());
        assert_eq!(a.mask().runs().sum::<u32>() as usize, mask.len());
        if let Some(step) = a.step {
            assert!(step.at.mono <= at.mono && step.sequence <= frames as u64);
            let follows = match (phase, step.phase) {
                (None | Some(MotionPhase::Ended), MotionPhase::Started) => step.event == event + 1,
                (Some(MotionPhase::Started | MotionPhase::Ongoing), MotionPhase::Ongoing | MotionPhase::Ended) => {
                    step.event == event
                }
                _ => false,
            };
            assert!(follows, "{step:?} after {phase:?} of event {event}");
            (phase, event) = (Some(step.phase), step.event);
        }
        frames += 1;
    }
    Reached::when(frames > 1)
}

/// A thing is noticed once, goes on, and is over once.
fn check_rests(report: &MotionReport<'_>, things: &mut Vec<u64>, (width, height): (usize, usize)) {
    assert!(report.rests().len() <= THINGS_MAX);
    for step in report.rests() {
        let is_known = things.contains(&step.thing);
        assert_eq!(is_known, step.phase != RestPhase::Noticed, "{step:?} of {things:?}");
        let [left, top, right, bottom] = step.pixels;
        assert!(left < right && right <= width && top < bottom && bottom <= height, "{step:?}");
        assert!(step.since.mono <= step.at.mono);
        match step.phase {
            RestPhase::Noticed => things.push(step.thing),
            RestPhase::Ongoing => {}
            RestPhase::Over => things.retain(|thing| *thing != step.thing),
        }
    }
}

fn paint(pixels: &mut [u8], width: usize, flags: u8, pattern: &[u8]) {
    if pattern.is_empty() {
        return;
    }
    // A quarter of the picture or all of it changes.
    let rows = if flags & 0x20 != 0 { pixels.len() / width / 2 } else { pixels.len() / width };
    let columns = if flags & 0x20 != 0 { width / 2 } else { width };
    let mut values = pattern.iter().cycle();
    for row in pixels.chunks_mut(width).take(rows) {
        for (pixel, value) in row[..columns].iter_mut().zip(&mut values) {
            *pixel = *value;
        }
    }
}

/// Each pixel of the reduced picture is the rounded mean of its box.
fn check_reduction(tight: LumaView<'_>, padded: LumaView<'_>) {
    let mut downscale = BoxDownscale::new(tight.width(), tight.height()).expect("a size that is supported");
    let (width, height, factor) = (downscale.out_width(), downscale.out_height(), downscale.factor());
    let mut small = vec![0; width * height];
    downscale.reduce(tight, &mut small).expect("the same size");
    let mut again = vec![1; width * height];
    downscale.reduce(padded, &mut again).expect("the same size");
    assert_eq!(small, again);
    for (y, row) in small.chunks(width).enumerate() {
        for (x, found) in row.iter().enumerate() {
            let rows = downscale.rows();
            let area = factor * rows.len();
            let sum: usize = (y * factor + rows.start..y * factor + rows.end)
                .map(|y| tight.row(y)[x * factor..(x + 1) * factor].iter().map(|p| usize::from(*p)).sum::<usize>())
                .sum();
            assert_eq!(usize::from(*found), (sum + area / 2) / area, "at {x},{y} by {factor}");
        }
    }
}
