//! Decodes an Annex-B file and prints one MD5 a picture: `frame_hashes FILE`.
//!
//! The hash is of the planes as `ffmpeg -i FILE -f framemd5 -pix_fmt yuv420p -` hashes them, so the last columns of
//! both must be equal. The file is H.264, or H.265 if its name ends in `.h265` or `.hevc`. What to read next:
//! `src/decode/mod.rs`.

use std::process::ExitCode;

use godvision_core::signal::media::{Codec, Picture};
use godvision_core::time::Stamp;
use godvision_rtsp::decode::{self, Chroma, DecodeOptions};
use godvision_rtsp::restream::FilePlayer;
use md5::{Digest as _, Md5};

fn print(picture: &Picture) {
    let mut hash = Md5::new();
    for plane in std::iter::once(&picture.luma).chain(picture.chroma.iter().flatten()) {
        (0..plane.height).for_each(|y| hash.update(plane.row(y)));
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{}, {}x{}, {hash}", picture.sequence, picture.luma.width, picture.luma.height);
}

fn run(file: &str) -> Result<(), Box<dyn std::error::Error>> {
    let codec = if file.ends_with(".h265") || file.ends_with(".hevc") { Codec::H265 } else { Codec::H264 };
    let player = FilePlayer::from_annex_b("file".parse()?, codec, &std::fs::read(file)?, 25.0)?;
    let packet = |number| player.packet(number, Stamp::default());
    let options = DecodeOptions { chroma: Chroma::Keep, ..Default::default() };
    let mut decoder = decode::open(&packet(0).format, options)?;
    let mut pictures = Vec::new();
    for number in 0..player.frames() as u64 {
        decoder.decode(&packet(number), &mut pictures)?;
        pictures.drain(..).for_each(|picture| print(&picture));
    }
    decoder.finish(&mut pictures);
    pictures.iter().for_each(print);
    Ok(())
}

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: frame_hashes FILE");
        return ExitCode::FAILURE;
    };
    match run(&file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frame_hashes: {error}");
            ExitCode::FAILURE
        }
    }
}
