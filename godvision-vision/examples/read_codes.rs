//! Reads the QR codes in folders of images and counts how often the text is right: `read_codes FOLDER...`.
//!
//! Beside each image `NAME.png` stands its text, `NAME.txt`. Prints reads and CPU-bound wall time for each engine alone
//! and for `QrReader`, which is what the door uses. What to read next: `QrReader` in the crate's documentation.

use std::error::Error;
use std::path::{Path, PathBuf};

use godvision_core::{Clock, Stamp, SystemClock};
use godvision_vision::plane::LumaView;
use godvision_vision::qr::{QrDecoder, QrOptions, QrReader, engines};

struct Case {
    luma: Vec<u8>,
    width: usize,
    height: usize,
    text: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut cases = Vec::new();
    for folder in std::env::args_os().skip(1).map(PathBuf::from) {
        let mut paths =
            std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
        paths.sort();
        for path in paths {
            cases.extend(load(&path));
        }
    }
    println!("{} images", cases.len());
    for mut engine in engines() {
        let name = engine.name();
        score(name, &cases, |view| contained(&mut engine, view));
    }
    // Held up for one picture, and for nine: about a second at a door camera's rate.
    for (name, pictures) in [("QrReader", 1), ("held 9", 9)] {
        score(name, &cases, |view| {
            let mut reader = QrReader::new(QrOptions::default());
            let mut found = Vec::new();
            for _ in 0..pictures {
                found = reader.read(view, Stamp::default(), &[]);
                if !found.is_empty() {
                    break;
                }
            }
            found.iter().map(|sighting| sighting.text.expose().as_bytes().to_vec()).collect()
        });
    }
    Ok(())
}

fn load(path: &Path) -> Option<Case> {
    let mut text = std::fs::read(path.with_extension("txt")).ok()?;
    text.truncate(text.trim_ascii_end().len());
    let image = image::open(path).ok()?.to_luma8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Some(Case { luma: image.into_raw(), width, height, text })
}

fn contained(engine: &mut Box<dyn QrDecoder>, view: LumaView<'_>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let run = std::panic::AssertUnwindSafe(|| engine.decode(view, &mut found));
    if std::panic::catch_unwind(run).is_err() {
        println!("{} panicked", engine.name());
    }
    found.iter().map(|code| code.text.expose().as_bytes().to_vec()).collect()
}

fn score(name: &str, cases: &[Case], mut read: impl FnMut(LumaView<'_>) -> Vec<Vec<u8>>) {
    let (mut exact, mut any, mut times) = (0, 0, Vec::new());
    for case in cases {
        let Ok(view) = LumaView::new(&case.luma, case.width, case.height, case.width) else { continue };
        let start = SystemClock.mono();
        let found = read(view);
        times.push((SystemClock.mono() - start).as_secs_f64() * 1e3);
        any += usize::from(!found.is_empty());
        exact += usize::from(found.iter().any(|text| text.trim_ascii() == case.text.trim_ascii()));
    }
    times.sort_by(f64::total_cmp);
    let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
    let median = times.get(times.len() / 2).copied().unwrap_or(0.0);
    println!("{name:10} exact {exact}, any {any} of {}; mean {mean:.2} ms, median {median:.2} ms", cases.len());
}
