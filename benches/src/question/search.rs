//! The ten nearest of 5,000 and of 100,000 faces of 128 numbers, beside FAISS (`peers/search_faiss.py`), one thread each.
//! Bound: an exact search of 32-bit rows reads 512 bytes a row, ours a quarter of it.

use std::error::Error;
use std::process::Command;

use super::{Options, measured, rounds};
use crate::table::{Row, markdown};
use crate::{child, process};

const SCRIPT: &str = include_str!("../../peers/search_faiss.py");
const SIZES: [&str; 2] = ["5000", "100000"];
/// The script's names.
const THEIRS: [(&str, &str); 2] =
    [("flat", "FAISS IndexFlatIP, exact"), ("sq8", "FAISS IndexScalarQuantizer, 8 bits, not exact")];

pub(super) fn has_faiss(options: &Options) -> bool {
    process::run(Command::new(&options.python).args(["-c", "import faiss, numpy"])).is_ok()
}

pub(super) fn ask(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    let is_here = has_faiss(options);
    for size in SIZES {
        let mut contenders = vec![(Row::new("godvision FaceIndex, exact"), None)];
        if is_here {
            contenders.extend(THEIRS.map(|(name, about)| (Row::new(about), Some(name))));
        }
        rounds(options, &mut contenders, |_, theirs| {
            let text = match theirs {
                Some(name) => process::run(Command::new(&options.python).args(["-c", SCRIPT, name, size]))?.0,
                None => process::run(child::command("search")?.arg(size))?.0,
            };
            let (_, nanos) = measured(&text).pop().ok_or("it printed no figure")?;
            Ok(vec![nanos / 1e6])
        })?;
        let rows: Vec<Row> = contenders.into_iter().map(|(row, _)| row).collect();
        text += &format!("### {size} faces\n\n{}\n", markdown("ms CPU a search", &[], &rows));
    }
    Ok(text)
}
