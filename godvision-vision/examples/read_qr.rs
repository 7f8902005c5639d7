//! Reads QR codes from image files: `read_qr FILE...`. Folders stand for the images in them.
//!
//! Prints a line for every file: its path, the text found (empty if none; tabs and line ends are written as `\t` and
//! `\n`, other control characters as `\u{1d}`) and the milliseconds that reading took, separated by tabs. A file named
//! `NAME.txt` beside `NAME.png` holds what the code says; if there are any, the last line counts how many were read
//! exactly. What to read next: `QrReader` in the
//! crate's documentation, which remembers what it saw from picture to picture.

use std::error::Error;
use std::path::{Path, PathBuf};

use godvision_core::{Clock, Stamp, SystemClock};
use godvision_vision::plane::LumaView;
use godvision_vision::qr::{QrOptions, QrReader};

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = Vec::new();
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        if path.is_dir() {
            let inside: Result<Vec<_>, std::io::Error> =
                std::fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect();
            let mut inside = inside?;
            inside.retain(|path| path.extension().is_some_and(|ending| ending != "txt"));
            inside.sort();
            paths.extend(inside);
        } else {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err("which images? read_qr FILE...".into());
    }
    let mut reader = QrReader::new(QrOptions::default());
    let (mut exact, mut expected, mut total) = (0, 0, 0.0);
    for path in &paths {
        let image = match image::open(path) {
            Ok(image) => image.to_luma8(),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                continue;
            }
        };
        let (width, height) = (image.width() as usize, image.height() as usize);
        let luma = LumaView::new(image.as_raw(), width, height, width)?;
        // Each file is a picture of its own, so nothing may be remembered.
        reader.forget();
        let start = SystemClock.mono();
        let found = reader.read(luma, Stamp::default(), &[]);
        let millis = (SystemClock.mono() - start).as_secs_f64() * 1e3;
        total += millis;
        let texts: Vec<&str> = found.iter().map(|sighting| sighting.text.expose()).collect();
        println!("{}\t{}\t{millis:.2}", path.display(), one_line(&texts.join(" | ")));
        if let Some(text) = beside(path) {
            expected += 1;
            exact += usize::from(texts.iter().any(|found| found.trim() == text.trim()));
        }
    }
    if expected > 0 {
        eprintln!("{exact} of {expected} exact, {:.2} ms in the mean", total / paths.len() as f64);
    }
    Ok(())
}

/// What the code says, if somebody wrote it down.
fn beside(image: &Path) -> Option<String> {
    String::from_utf8(std::fs::read(image.with_extension("txt")).ok()?).ok()
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => line.push_str("\\\\"),
            '\u{2028}' | '\u{2029}' => line.extend(letter.escape_unicode()),
            _ if letter.is_control() => line.extend(letter.escape_default()),
            _ => line.push(letter),
        }
    }
    line
}
