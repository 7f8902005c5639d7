//! Finding and reading one number plate, beside ONNX Runtime with the same recogniser (`peers/plates_onnx.py`), one
//! thread each. Needs the model folder that `godvision-vision/models/fetch.py` fills: `--models DIR`.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use super::{Options, measured, rounds};
use crate::table::{Row, markdown};
use crate::{child, process};

const SCRIPT: &str = include_str!("../../peers/plates_onnx.py");
/// What our child measures, by its names.
const OURS: [(&str, &str); 3] = [
    ("all", "godvision: find and read one plate in 640x360"),
    ("find", "godvision: find alone, 1080p reduced to 480x272"),
    ("read", "godvision: read alone"),
];

pub(super) fn has_onnxruntime(options: &Options) -> bool {
    process::run(Command::new(&options.python).args(["-c", "import onnxruntime, numpy"])).is_ok()
}

/// A scene of `godvision-vision`'s tests.
fn scene() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../godvision-vision/tests/data/plates/DE-XU6156.jpg")
}

pub(super) fn ask(options: &Options) -> Result<String, Box<dyn Error>> {
    let Some(models) = &options.models else {
        return Ok(
            "Not asked: number plates need a model; fill a folder with godvision-vision/models/fetch.py and name it \
                   with --models.\n"
                .to_owned(),
        );
    };
    let mut contenders: Vec<_> = OURS.iter().map(|(name, about)| (Row::new(*about), (*name, true))).collect();
    if has_onnxruntime(options) {
        contenders.push((Row::new("ONNX Runtime: the same recogniser on as wide a strip"), ("recogniser", false)));
    }
    rounds(options, &mut contenders, |_, (name, is_ours)| {
        let text = match is_ours {
            true => process::run(child::command("plates")?.arg(*name).arg(models).arg(scene()))?.0,
            false => process::run(Command::new(&options.python).args(["-c", SCRIPT]).arg(models))?.0,
        };
        let (_, nanos) = measured(&text).pop().ok_or("it printed no figure")?;
        Ok(vec![nanos / 1e6])
    })?;
    let rows: Vec<Row> = contenders.into_iter().map(|(row, _)| row).collect();
    Ok(markdown("ms CPU", &[], &rows))
}
