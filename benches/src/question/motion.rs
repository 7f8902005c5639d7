//! The motion stage on 1080p luma, beside OpenCV's models, simple chains and the steps of Frigate's detector
//! (`peers/motion_opencv.py`), and beside the floor: reading the planes once. One thread each.

use std::error::Error;
use std::process::Command;

use super::{Options, measured, rounds};
use crate::clip::Clips;
use crate::table::{Row, markdown};
use crate::{child, process};

const SCRIPT: &str = include_str!("../../peers/motion_opencv.py");
/// What the script measures, by its names.
const CHAINS: [(&str, &str); 6] = [
    ("mog2", "OpenCV MOG2, gray, no shadows: mask only"),
    ("knn", "OpenCV KNN, gray, no shadows: mask only"),
    ("absdiff", "absdiff, Gauss 5x5, threshold, contours"),
    ("average", "running average, absdiff, threshold: mask only"),
    ("frigate", "Frigate's steps (our port): 100 rows, contrast, blur, average, threshold, contours"),
    ("small", "resized to 100 rows, running average, threshold, dilate, contours"),
];

/// Who is run: a child of ours by its role, or a chain of the script by its name.
enum Contender {
    Ours(&'static str),
    OpenCv(&'static str),
}

pub(super) fn has_opencv(options: &Options) -> bool {
    process::run(Command::new(&options.python).args(["-c", "import cv2, numpy, scipy"])).is_ok()
}

pub(super) fn ask(options: &Options, clips: &Clips) -> Result<String, Box<dyn Error>> {
    let ours = format!("godvision: all steps to boxes ({})", godvision_vision::instruction_set());
    let floor = Row::new("floor: every byte read once and summed, nothing else");
    let mut contenders = vec![(Row::new(ours), Contender::Ours("motion")), (floor, Contender::Ours("read"))];
    if has_opencv(options) {
        contenders.extend(CHAINS.map(|(name, about)| (Row::new(about), Contender::OpenCv(name))));
    }
    rounds(options, &mut contenders, |_, contender| {
        let text = match contender {
            Contender::Ours(role) => process::run(child::command(role)?.arg(&clips.luma))?.0,
            Contender::OpenCv(name) => {
                process::run(Command::new(&options.python).args(["-c", SCRIPT, name]).arg(&clips.luma))?.0
            }
        };
        let (_, nanos) = measured(&text).pop().ok_or("it printed no figure")?;
        Ok(vec![nanos / 1e6])
    })?;
    let rows: Vec<Row> = contenders.into_iter().map(|(row, _)| row).collect();
    Ok(markdown("ms CPU a frame", &[], &rows))
}
