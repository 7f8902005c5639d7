//! Lights, filters, noise, shaking and rain, with two people walking in the picture: at most one change of the scene, next to
//! nothing marked that does not move, and the people still found. `--nocapture` prints the table.

mod common;

use common::{Noise, Wall, at};
use godvision_vision::motion::{MotionDetector, MotionOptions};
use godvision_vision::plane::LumaView;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
/// The frame at which the disturbance begins.
const FROM: usize = 80;
/// Frames looked at from there on.
const FRAMES: usize = 50;
/// A mask may reach so far beyond a figure: the blur, the median and the closing.
const REACH: usize = 4;

/// What a disturbance did.
#[derive(Debug)]
struct Seen {
    scenes: usize,
    /// Mean and worst share of pixels marked beside the figures, in percent.
    false_mean: f64,
    false_worst: f64,
    /// Share of the figures' pixels that was marked, in percent.
    found: f64,
}

/// One walks to the right, one to the left; each covers 3 % of the picture. They come in after a second.
fn people(i: usize) -> Vec<[usize; 4]> {
    let Some(i) = i.checked_sub(25) else { return Vec::new() };
    let (a, b) = (i * 5 / 2, 280 - i * 2);
    vec![[a, 70, a + 28, 150], [b, 120, b + 28, 200]]
}

fn watch(frame: impl Fn(usize) -> Vec<u8>) -> Seen {
    let mut detector = MotionDetector::new(MotionOptions::default(), WIDTH, HEIGHT).unwrap();
    let mut seen = Seen { scenes: 0, false_mean: 0.0, false_worst: 0.0, found: 0.0 };
    for i in 0..FROM + FRAMES {
        let luma = frame(i);
        let report = detector.step(LumaView::new(&luma, WIDTH, HEIGHT, WIDTH).unwrap(), at(i), i as u64).unwrap();
        if i < FROM {
            assert_eq!(report.scene, None);
            continue;
        }
        seen.scenes += usize::from(report.scene.is_some());
        let (mut beside, mut inside) = (0, 0);
        for (k, flag) in report.mask().to_bytes().into_iter().enumerate() {
            let (x, y) = (k % WIDTH, k / WIDTH);
            let lies = |reach: usize| {
                people(i).iter().any(|&[left, top, right, bottom]| {
                    (left..right + 2 * reach).contains(&(x + reach)) && (top..bottom + 2 * reach).contains(&(y + reach))
                })
            };
            beside += usize::from(flag == 1 && !lies(REACH));
            inside += usize::from(flag == 1 && lies(0));
        }
        let share = beside as f64 * 100.0 / (WIDTH * HEIGHT) as f64;
        seen.false_mean += share / FRAMES as f64;
        seen.false_worst = seen.false_worst.max(share);
        seen.found += inside as f64 * 100.0 / (2 * 28 * 80 * FRAMES) as f64;
    }
    seen
}

fn lit(light: fn(f32) -> f32, sigma: f32) -> Seen {
    let wall = Wall::new(WIDTH, HEIGHT);
    watch(|i| {
        if i < FROM {
            wall.frame(&people(i), |v| v, 2.0, i as u64)
        } else {
            wall.frame(&people(i), light, sigma, i as u64)
        }
    })
}

fn shaken(by: f32) -> Seen {
    let wall = Wall::new(WIDTH, HEIGHT);
    watch(|i| {
        let still = wall.frame(&people(i), |v| v, 2.0, i as u64);
        if i < FROM {
            return still;
        }
        let mut noise = Noise::new(i as u64 + 99);
        let mut aside = || noise.normal(by).round().clamp(-by, by) as isize;
        let (dx, dy) = (aside(), aside());
        let from = |k: usize| {
            let (x, y) = ((k % WIDTH).saturating_add_signed(dx), (k / WIDTH).saturating_add_signed(dy));
            still[y.min(HEIGHT - 1) * WIDTH + x.min(WIDTH - 1)]
        };
        (0..WIDTH * HEIGHT).map(from).collect()
    })
}

fn rained_on() -> Seen {
    let wall = Wall::new(WIDTH, HEIGHT);
    watch(|i| {
        let mut luma = wall.frame(&people(i), |v| v, 2.0, i as u64);
        if i >= FROM {
            // 100 streaks, bright and a dozen pixels long, elsewhere in every frame.
            let mut noise = Noise::new(i as u64 + 7);
            for _ in 0..100 {
                let mut place = |side: usize| (noise.normal(side as f32 / 3.0).abs() as usize) % side;
                let (x, y) = (place(WIDTH), place(HEIGHT - 12));
                (y..y + 12).for_each(|y| luma[y * WIDTH + x] = luma[y * WIDTH + x] / 2 + 100);
            }
        }
        luma
    })
}

#[test]
fn disturbances_leave_the_mask_clean() {
    let rows: [(&str, usize, Seen); 13] = [
        ("nothing", 0, lit(|v| v, 2.0)),
        ("light x 0.55", 1, lit(|v| v * 0.55, 2.0)),
        ("light x 0.8", 1, lit(|v| v * 0.8, 2.0)),
        ("light x 1.3", 1, lit(|v| v * 1.3, 2.0)),
        ("light x 1.8", 1, lit(|v| v * 1.8, 2.0)),
        ("infra-red, inverted", 1, lit(|v| 255.0 - 0.7 * v, 2.0)),
        ("infra-red, mixed", 1, lit(|v| 0.5 * v + 70.0 + 50.0 * (v / 20.0).sin(), 2.0)),
        ("noise, sigma 4", 0, lit(|v| v, 4.0)),
        ("noise, sigma 8", 0, lit(|v| v, 8.0)),
        ("noise, sigma 12", 0, lit(|v| v, 12.0)),
        ("shaken by 1", 0, shaken(1.0)),
        ("shaken by 2", 0, shaken(2.0)),
        ("rain", 0, rained_on()),
    ];
    println!(
        "| disturbance | changes of the scene | falsely marked, mean % | worst % | of the people marked % |\n|---|---|---|---|---|"
    );
    for (name, _, seen) in &rows {
        let Seen { scenes, false_mean, false_worst, found } = seen;
        println!("| {name} | {scenes} | {false_mean:.2} | {false_worst:.2} | {found:.0} |");
    }
    for (name, scenes, seen) in &rows {
        assert_eq!(seen.scenes, *scenes, "{name}: {seen:?}");
        assert!(seen.false_mean <= 2.0, "{name}: {seen:?}");
        assert!(seen.found >= 50.0, "{name}: {seen:?}");
    }
}
