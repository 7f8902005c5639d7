//! Writes what the motion detector sees, one mask an image: `motion_masks IN OUT`.
//!
//! IN is a folder of images, or a folder of sequences `IN/<sequence>/input/*`; the masks are `OUT/<stem>.png` or
//! `OUT/<sequence>/<stem>.png`, 8 bit, 255 where something differs from the background. Images are taken in the order of
//! their names, 25 a second. What to read next: `MotionReport` in the crate's documentation.

use std::error::Error;
use std::path::{Path, PathBuf};

use godvision_core::{MonoTime, Stamp, WallTime};
use godvision_vision::motion::{MotionDetector, MotionOptions};
use godvision_vision::plane::LumaView;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [from, to] = args.as_slice() else { return Err("usage: motion_masks IN OUT".into()) };
    let mut sequences = 0;
    for folder in sorted(from)?.iter().filter(|path| path.join("input").is_dir()) {
        sequences += 1;
        let name = folder.file_name().ok_or("a sequence without a name")?;
        run(&folder.join("input"), &to.join(name))?;
    }
    if sequences == 0 { run(from, to) } else { Ok(()) }
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    paths.sort();
    Ok(paths)
}

fn run(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(to)?;
    let mut detector: Option<MotionDetector> = None;
    let mut events = 0;
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
            none => none.insert(MotionDetector::new(MotionOptions::default(), width, height)?),
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
        let mask = report.mask();
        let pixels: Vec<u8> = mask.data.iter().map(|&flag| flag * 255).collect();
        let image = image::GrayImage::from_raw(mask.width as u32, mask.height as u32, pixels).ok_or("mask size")?;
        let stem = path.file_stem().ok_or("an image without a name")?;
        image.save(to.join(stem).with_extension("png"))?;
    }
    Ok(())
}
