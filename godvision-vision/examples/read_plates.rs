//! Reads the number plates in images: `read_plates [--models FOLDER] FILE...`.
//!
//! Prints a line for every plate: file, text, confidence and box, separated by tabs. The box is `left,top,right,bottom` in
//! pixels, the confidence the mean of the signs'. FOLDER is what `models/fetch.py` fills; without it, the environment's
//! `GODVISION_MODELS`, then `models` here. Folders among the files stand for the images in them.
//!
//! With `--against`, each image `NAME.png` has its text in the first line of `NAME.txt` and the corners of its plate in the
//! second (`training/plates/draw.py` writes such), and counts by country follow: found, read from where it was found, read
//! from the true corners, milliseconds a picture.
//! What to read next: `PlateVotes`, which makes one reading of many frames.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use godvision_core::{Clock, SystemClock};
use godvision_vision::plane::LumaView;
use godvision_vision::plate::{FETCH_COMMAND, PlateBox, PlateOptions, PlateReader, PlateText, RECOGNISER_FILE};

#[derive(Default)]
struct Counts {
    images: usize,
    found: usize,
    exact: usize,
    wrong: usize,
    exact_at_truth: usize,
    millis: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut models = std::env::var_os("GODVISION_MODELS").map_or_else(|| PathBuf::from("models"), PathBuf::from);
    let (mut against, mut paths) = (false, Vec::new());
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--models") => models = arguments.next().ok_or("--models wants a folder")?.into(),
            Some("--against") => against = true,
            _ => paths.extend(images(argument.into())?),
        }
    }
    if paths.is_empty() {
        return Err("which images? read_plates [--models FOLDER] [--against] FILE...".into());
    }
    let file = models.join(RECOGNISER_FILE);
    let recogniser = std::fs::read(&file)
        .map_err(|error| format!("{}: {error}; fill the folder with `{FETCH_COMMAND}`", file.display()))?;
    let mut reader = PlateReader::new(PlateOptions::default(), recogniser)?;
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for path in paths {
        let image = match image::open(&path) {
            Ok(image) => image.to_luma8(),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                continue;
            }
        };
        let (width, height) = (image.width() as usize, image.height() as usize);
        let luma = LumaView::new(image.as_raw(), width, height, width)?;
        let start = SystemClock.mono();
        let plates = reader.read(luma, &[])?;
        let millis = (SystemClock.mono() - start).as_secs_f64() * 1e3;
        for plate in &plates {
            let [left, top, right, bottom] = plate.place.bounds();
            let (file, score) = (path.display(), plate.score());
            println!("{file}\t{}\t{score:.3}\t{left:.0},{top:.0},{right:.0},{bottom:.0}", plate.text);
        }
        if !against {
            continue;
        }
        let (text, truth) = truth(&path)?;
        let country = path.file_stem().and_then(|stem| stem.to_str()?.rsplit('-').next()).unwrap_or("?").to_owned();
        let count = counts.entry(country).or_default();
        count.images += 1;
        count.millis += millis;
        count.found += usize::from(plates.iter().any(|plate| covers(&plate.place, &truth)));
        count.exact += usize::from(plates.iter().any(|plate| plate.text == text));
        count.wrong += usize::from(plates.iter().all(|plate| plate.text != text) && !plates.is_empty());
        count.exact_at_truth += usize::from(reader.read_at(luma, truth)?.is_some_and(|plate| plate.text == text));
    }
    for (country, count) in &counts {
        println!(
            "{country}: {} images, read {}, misread {}, place found {}, read from the true corners {}; {:.1} ms each",
            count.images,
            count.exact,
            count.wrong,
            count.found,
            count.exact_at_truth,
            count.millis / count.images.max(1) as f64
        );
    }
    Ok(())
}

/// The file itself, or the images in a folder, by name.
fn images(path: PathBuf) -> Result<Vec<PathBuf>, std::io::Error> {
    if !path.is_dir() {
        return Ok(vec![path]);
    }
    let inside: Result<_, std::io::Error> = std::fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect();
    let mut inside: Vec<PathBuf> = inside?;
    inside.retain(|path| path.extension().is_some_and(|ending| ending != "txt"));
    inside.sort();
    Ok(inside)
}

fn truth(path: &Path) -> Result<(PlateText, PlateBox), Box<dyn Error>> {
    let text = std::fs::read_to_string(path.with_extension("txt"))?;
    let (plate, corners) = text.split_once('\n').ok_or("two lines are needed")?;
    let values: Vec<f32> = corners.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let corner = |k: usize| Some([*values.get(2 * k)?, *values.get(2 * k + 1)?]);
    let corners = [corner(0), corner(1), corner(2), corner(3)].map(|corner| corner.ok_or("four corners are needed"));
    let [a, b, c, d] = corners;
    Ok((plate.parse()?, PlateBox { corners: [a?, b?, c?, d?], score: 1.0 }))
}

/// Half of the common area, as detectors are usually judged.
fn covers(found: &PlateBox, truth: &PlateBox) -> bool {
    let (a, b) = (found.bounds(), truth.bounds());
    let area = |[left, top, right, bottom]: [f32; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    common / (area(a) + area(b) - common) >= 0.5
}
