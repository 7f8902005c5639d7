//! The questions of `compare`: who takes part in each, and how they are asked.

mod decode;
mod faces;
mod motion;
mod plates;
mod qr;
mod record;
mod rules;
mod search;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crate::clip;
use crate::process;

/// What `compare` can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// CPU time of the motion stage on one 1080p luma plane.
    Motion,
    /// Reads and CPU time of looking for a QR code in one 1080p luma plane.
    Qr,
    /// CPU time of decoding one 1080p frame.
    Decode,
    /// CPU time and memory of recording cameras without looking.
    Record,
    /// CPU time and memory of recording cameras and finding motion in their sub-streams.
    Detect,
    /// CPU time of finding and reading a number plate.
    Plates,
    /// CPU time of finding a face and of making an embedding of it.
    Faces,
    /// CPU time of searching a gallery.
    Search,
    /// CPU time of one decision by rules.
    Rules,
}

impl Question {
    /// Every question.
    pub const ALL: [Self; 9] = [
        Self::Motion,
        Self::Qr,
        Self::Plates,
        Self::Faces,
        Self::Search,
        Self::Rules,
        Self::Decode,
        Self::Record,
        Self::Detect,
    ];

    /// The word on the command line.
    pub fn code(self) -> &'static str {
        match self {
            Self::Motion => "motion",
            Self::Qr => "qr",
            Self::Decode => "decode",
            Self::Record => "record",
            Self::Detect => "detect",
            Self::Plates => "plates",
            Self::Faces => "faces",
            Self::Search => "search",
            Self::Rules => "rules",
        }
    }

    /// One line about it.
    pub fn about(self) -> &'static str {
        match self {
            Self::Motion => "CPU time of the whole motion stage on one 1080p luma plane",
            Self::Qr => "exact reads and CPU time of QR engines on 1080p door frames, one thread",
            Self::Decode => "CPU time of decoding one 1080p H.264 frame, one thread",
            Self::Record => "CPU time and memory of recording 1080p cameras over RTSP, nothing decoded",
            Self::Plates => "CPU time of finding and reading one number plate, one thread",
            Self::Faces => "CPU time of finding faces and of one embedding, one thread",
            Self::Search => "CPU time of finding the ten nearest faces of many, one thread",
            Self::Rules => "CPU time of one decision by rules, one thread",
            Self::Detect => "the same, and motion found in every camera's 640x360 sub-stream",
        }
    }
}

/// How a question is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Every contender is measured so often, in turn with the others.
    pub rounds: usize,
    /// Length of one measurement of a running contender.
    pub window: Duration,
    /// What runs before it unmeasured.
    pub warm_up: Duration,
    /// Numbers of cameras to ask about.
    pub cameras: Vec<usize>,
    /// The folder of recordings.
    pub shared: Option<PathBuf>,
    /// The interpreter with OpenCV.
    pub python: String,
    /// The folder with the plate reader's model, and for ONNX Runtime the wheel with the face networks.
    pub models: Option<PathBuf>,
    /// Another camera: a script that is given a port and a folder of clips, and its folder.
    pub serve: Option<(PathBuf, PathBuf)>,
}

impl Default for Options {
    /// 3 rounds of 20 s after 5 s, 1 and 8 cameras.
    fn default() -> Self {
        Self {
            rounds: 3,
            window: Duration::from_secs(20),
            warm_up: Duration::from_secs(5),
            cameras: vec![1, 8],
            shared: None,
            python: "python3".to_owned(),
            models: None,
            serve: None,
        }
    }
}

/// A program that could take part.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// What it is.
    pub name: &'static str,
    /// How it is installed.
    pub install: &'static str,
    /// Where it takes part.
    pub questions: &'static [Question],
    is_here: fn(&Options) -> bool,
}

/// Everybody besides us.
pub const PEERS: &[Peer] = &[
    Peer {
        name: "OpenCV (MOG2, KNN, simple chains, Frigate's steps)",
        install: "pip install opencv-python-headless numpy scipy (then --python the interpreter that has them)",
        questions: &[Question::Motion],
        is_here: motion::has_opencv,
    },
    Peer {
        name: "zxing-cpp",
        install: "pip install zxing-cpp numpy (then --python the interpreter that has them)",
        questions: &[Question::Qr],
        is_here: qr::has_zxing,
    },
    Peer {
        name: "OpenCV (QRCodeDetector)",
        install: "pip install opencv-python-headless numpy (then --python the interpreter that has them)",
        questions: &[Question::Qr],
        is_here: qr::has_opencv,
    },
    Peer {
        name: "ONNX Runtime",
        install: "pip install onnxruntime numpy (then --python the interpreter that has them)",
        questions: &[Question::Plates],
        is_here: plates::has_onnxruntime,
    },
    Peer {
        name: "ONNX Runtime (with onnx, to read the wheel)",
        install: "pip install onnx onnxruntime numpy (then --python the interpreter that has them)",
        questions: &[Question::Faces],
        is_here: faces::has_onnxruntime,
    },
    Peer {
        name: "FAISS",
        install: "pip install faiss-cpu numpy (then --python the interpreter that has them)",
        questions: &[Question::Search],
        is_here: search::has_faiss,
    },
    Peer {
        name: "ffmpeg",
        install: "apt install ffmpeg",
        questions: &[Question::Decode, Question::Record, Question::Detect],
        is_here: |_| process::find("ffmpeg").is_some(),
    },
    Peer {
        name: "motion",
        install: "apt install motion",
        questions: &[Question::Record, Question::Detect],
        is_here: |_| process::find("motion").is_some(),
    },
    Peer {
        name: "GStreamer",
        install: "apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad",
        questions: &[Question::Record],
        is_here: |_| process::find("gst-launch-1.0").is_some(),
    },
    Peer {
        name: "moonfire-nvr",
        install: "built from its source, which needs a checkout of its own; not driven by this program",
        questions: &[Question::Record],
        is_here: |_| false,
    },
];

impl Peer {
    /// Whether it is installed.
    pub fn is_here(&self, options: &Options) -> bool {
        (self.is_here)(options)
    }
}

/// Asks `question` and gives the answer as Markdown: a table or two, what they were measured on, and who was absent.
///
/// # Errors
/// Our own side fails, or the material cannot be made. A peer that fails is a row that says so.
pub fn ask(question: Question, options: &Options) -> Result<String, Box<dyn Error>> {
    let mut text = format!("## {}: {}\n\n", question.code(), question.about());
    let clips = clip::clips(options.shared.as_deref())?;
    text += &match question {
        Question::Motion => motion::ask(options, &clips)?,
        Question::Decode => decode::ask(options, &clips)?,
        Question::Qr => qr::ask(options)?,
        Question::Plates => plates::ask(options)?,
        Question::Faces => faces::ask(options)?,
        Question::Search => search::ask(options)?,
        Question::Rules => rules::ask(options)?,
        Question::Record | Question::Detect => record::ask(question, options, &clips)?,
    };
    let origin = match question {
        Question::Qr => "drawn door frames",
        Question::Plates => "a drawn scene",
        Question::Faces => "a drawn pattern",
        Question::Search => "random directions",
        Question::Rules => "drawn rules",
        _ => clips.origin,
    };
    text += &format!("\nMeasured {} times, everybody in turn; material: {origin}.\n", options.rounds);
    for peer in PEERS.iter().filter(|peer| peer.questions.contains(&question) && !peer.is_here(options)) {
        text += &format!("Absent: {}. To have it: {}.\n", peer.name, peer.install);
    }
    Ok(text)
}

/// Runs every contender once a round, in turn, and gathers the samples. A contender's first failure is printed and it
/// takes part no more; it keeps no samples then. The first one is us, and may not fail.
fn rounds<C>(
    options: &Options,
    contenders: &mut [(crate::table::Row, C)],
    mut measure: impl FnMut(&mut crate::table::Row, &mut C) -> Result<Vec<f64>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut failed = vec![false; contenders.len()];
    for round in 0..options.rounds {
        for (index, (row, contender)) in contenders.iter_mut().enumerate() {
            if failed[index] {
                continue;
            }
            eprintln!("round {}: {}", round + 1, row.contender);
            match measure(row, contender) {
                Ok(samples) => row.samples.extend(samples),
                Err(error) if index == 0 => return Err(format!("{}: {error}", row.contender).into()),
                Err(error) => {
                    eprintln!("{} failed: {error}", row.contender);
                    failed[index] = true;
                    row.samples.clear();
                }
            }
        }
    }
    Ok(())
}

/// What a child printed as `NANOSECONDS NAME`, by name.
fn measured(text: &str) -> Vec<(String, f64)> {
    let line = |line: &str| {
        let (nanos, name) = line.trim().split_once(' ')?;
        Some((name.to_owned(), nanos.parse::<f64>().ok()?))
    };
    text.lines().filter_map(line).collect()
}
