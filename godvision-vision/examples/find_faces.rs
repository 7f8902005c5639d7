//! One JSON line a face of each picture: file, box, score, five points, embedding.
//!
//! `cargo run --release -p godvision-vision --features face --example find_faces -- photo.jpg ... > faces.jsonl`
//!
//! Options before the files: `--side PIXELS` (640) and `--score LEAST` (0.6). Box: left, top, right, bottom in pixels.
//! The embeddings have length 1: the dot product of two lines says how alike the faces are. Files without a face print
//! nothing; files that cannot be read are named on stderr, and the exit status is 1.

use std::process::ExitCode;

use godvision_vision::face::{Face, FaceChip, FaceDetector, FaceEmbedder, SFace, YuNet, YuNetOptions};
use godvision_vision::{Error, RgbImage};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut options = YuNetOptions::default();
    while let Some(name) = arguments.first().filter(|name| name.starts_with("--")).cloned() {
        let value = arguments.get(1).cloned().unwrap_or_default();
        let is_known = match name.as_str() {
            "--side" => value.parse().map(|side| options.side = side).is_ok(),
            "--score" => value.parse().map(|score| options.score_min = score).is_ok(),
            _ => false,
        };
        if !is_known {
            eprintln!("usage: find_faces [--side PIXELS] [--score LEAST] FILE...");
            return ExitCode::FAILURE;
        }
        arguments.drain(..2);
    }
    let (mut detector, mut embedder) = match YuNet::new(options).and_then(|detector| Ok((detector, SFace::new()?))) {
        Ok(both) => both,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut status = ExitCode::SUCCESS;
    for file in &arguments {
        if let Err(error) = print_faces(file, &mut detector, &mut embedder) {
            eprintln!("{file}: {error}");
            status = ExitCode::FAILURE;
        }
    }
    status
}

fn print_faces(
    file: &str,
    detector: &mut dyn FaceDetector,
    embedder: &mut dyn FaceEmbedder,
) -> Result<(), Box<dyn std::error::Error>> {
    let picture = image::open(file)?.into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let picture = RgbImage::new(picture.into_raw(), width, height)?;
    for face in detector.find(picture.view())? {
        println!("{}", line(file, &picture, &face, embedder)?);
    }
    Ok(())
}

fn line(file: &str, picture: &RgbImage, face: &Face, embedder: &mut dyn FaceEmbedder) -> Result<String, Error> {
    let embedding = embedder.embed(&FaceChip::cut(picture.view(), &face.points)?)?;
    Ok(format!(
        r#"{{"file":{},"box":{:?},"score":{:?},"points":{:?},"embedding":{:?}}}"#,
        quoted(file),
        face.bounds,
        face.score,
        face.points,
        embedding.values()
    ))
}

/// A string as JSON spells it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
