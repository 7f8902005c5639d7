//! Writes what the motion detector sees, one mask an image: `motion_masks IN OUT [REST_SECONDS]`.
//!
//! IN is a folder of images, or a folder of sequences `IN/<sequence>/input/*`; the masks are `OUT/<stem>.png` or
//! `OUT/<sequence>/<stem>.png`, 8 bit, 255 where something differs from the background. Images are taken in the order of
//! their names, 25 a second. Things left or taken are printed when they are noticed and when they are over; REST_SECONDS is
//! how long a thing must rest for it, 20 if not given. What to read next: `MotionReport` in the crate's documentation.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use godvision_core::signal::seen::RestPhase;
use godvision_core::{MonoTime, Stamp, WallTime};
use godvision_vision::motion::{MotionDetector, MotionOptions};
use godvision_vision::plane::LumaView;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (from, to, rest) = match args.as_slice() {
        [from, to] => (from, to, None),
        [from, to, rest] => (from, to, Some(rest.to_str().ok_or("REST_SECONDS is a number")?.parse()?)),
        _ => return Err("usage: motion_masks IN OUT [REST_SECONDS]".into()),
    };
    let mut options = MotionOptions::default();
    if let Some(seconds) = rest {
        options.rest_after = Duration::try_from_secs_f64(seconds)?;
    }
    let mut sequences = 0;
    for folder in sorted(from)?.iter().filter(|path| path.join("input").is_dir()) {
        sequences += 1;
        let name = folder.file_name().ok_or("a sequence without a name")?;
        run(&folder.join("input"), &to.join(name), &options)?;
    }
    if sequences == 0 { run(from, to, &options) } else { Ok(()) }
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    paths.sort();
    Ok(paths)
}

fn run(from: &Path, to: &Path, options: &MotionOptions) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(to)?;
    let mut detector: Option<MotionDetector> = None;
    let (mut events, mut resting) = (0, Vec::new());
    for (i, path) in sorted(from)?.iter().filter(|path| image::ImageFormat::from_path(path).is_ok()).enumerate() {
        let picture = image::open(path)?.to_rgb8();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        // BT.601, the luma that cameras send.
        let luma: Vec<u8> = picture
            .pixels()
            .map(|p| ((u32::from(p[0]) * 299 + u32::from(p[1]) * 587 + u32::from(p[2]) * 114 + 500) / 1000) as u8)
            .collect();
        let detector = match &mut detector {
            Some(detector) => detector,
            none => none.insert(MotionDetector::new(options.clone(), width, height)?),
        };
        let millis = i as u64 * 40;
        let at = Stamp::new(MonoTime::from_millis(millis), WallTime::from_unix_millis(millis as i64));
        let report = detector.step(LumaView::new(&luma, width, height, width)?, at, i as u64)?;
        if let Some(step) = report.step.filter(|step| step.event > events) {
            events = step.event;
            println!("{}: event {} from frame {}", from.display(), step.event, step.sequence);
        }
        if let Some(scene) = report.scene {
            println!("{}: the scene changed at frame {i} ({:.0} %)", from.display(), scene.share * 100.0);
        }
        for rest in report.rests().iter().filter(|rest| rest.phase != RestPhase::Ongoing) {
            let since = (rest.since.mono.as_nanos() / 40_000_000) as usize;
            println!(
                "{}: thing {} {:?} {:?} at frame {i}, since {since}, {:?}",
                from.display(),
                rest.thing,
                rest.kind,
                rest.phase,
                rest.pixels
            );
        }
        if let Some(tamper) = report.tamper {
            println!("{}: {:?} at frame {i}, over: {}", from.display(), tamper.kind, tamper.is_over);
        }
        resting = report.rests().iter().filter(|rest| rest.phase != RestPhase::Over).map(|rest| rest.thing).collect();
        let mask = report.mask();
        let pixels: Vec<u8> = mask.to_bytes().iter().map(|flag| flag * 255).collect();
        let image = image::GrayImage::from_raw(mask.width() as u32, mask.height() as u32, pixels).ok_or("mask size")?;
        let stem = path.file_stem().ok_or("an image without a name")?;
        image.save(to.join(stem).with_extension("png"))?;
    }
    println!("{}: things at rest in the last frame: {resting:?}", from.display());
    Ok(())
}
