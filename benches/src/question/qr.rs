//! QR codes held up to a 1080p camera: our reader, the engines under it alone, and those of others
//! (`peers/qr_engines.py`), one thread each, on the same frames.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Options, measured, rounds};
use crate::held::held;
use crate::table::{Row, markdown};
use crate::{child, process};

const SCRIPT: &str = include_str!("../../peers/qr_engines.py");
/// Frames in one measurement: each width of code with each softness and each noise. 124 MB.
const FRAMES: usize = 60;
/// Ours, by the child's names.
const OURS: [(&str, &str); 4] = [
    ("reader", "godvision QrReader"),
    ("lattice", "our engine alone"),
    ("rxing", "rxing alone"),
    ("rqrr", "rqrr alone"),
];

pub(super) fn has_zxing(options: &Options) -> bool {
    process::run(Command::new(&options.python).args(["-c", "import zxingcpp, numpy"])).is_ok()
}

pub(super) fn has_opencv(options: &Options) -> bool {
    process::run(Command::new(&options.python).args(["-c", "import cv2, numpy"])).is_ok()
}

/// The planes, one behind the other, and the texts, one a line.
fn frames() -> Result<(PathBuf, PathBuf), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("godvision-benches").join("held");
    fs::create_dir_all(&folder)?;
    let (planes, texts) = (folder.join("luma.gray"), folder.join("texts"));
    let held: Vec<_> = (0..FRAMES).map(held).collect();
    fs::write(&planes, held.iter().flat_map(|held| &held.luma).copied().collect::<Vec<u8>>())?;
    fs::write(&texts, held.iter().map(|held| format!("{}\n", held.text)).collect::<String>())?;
    Ok((planes, texts))
}

enum Contender {
    Child(&'static str),
    Script(&'static str),
}

pub(super) fn ask(options: &Options) -> Result<String, Box<dyn Error>> {
    let (planes, texts) = frames()?;
    let mut contenders: Vec<_> = OURS.map(|(name, about)| (Row::new(about), Contender::Child(name))).into();
    if has_zxing(options) {
        contenders.push((Row::new("zxing-cpp (Python, default flags)"), Contender::Script("zxing")));
    }
    if has_opencv(options) {
        contenders.push((Row::new("OpenCV QRCodeDetector"), Contender::Script("opencv")));
    }
    rounds(options, &mut contenders, |row, contender| {
        let files: [&Path; 2] = [&planes, &texts];
        let text = match contender {
            Contender::Child(name) => process::run(child::command("qr")?.arg(name).args(files))?.0,
            Contender::Script(name) => {
                process::run(Command::new(&options.python).args(["-c", SCRIPT, name]).args(files))?.0
            }
        };
        let (read, nanos) = measured(&text).pop().ok_or("it printed no figure")?;
        row.more = vec![format!("{read} of {FRAMES}")];
        Ok(vec![nanos / 1e6])
    })?;
    let rows: Vec<Row> = contenders.into_iter().map(|(row, _)| row).collect();
    Ok(markdown("mean ms CPU a frame", &["read exactly"], &rows))
}
