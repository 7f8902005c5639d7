//! What the contenders work on: two H.264 streams of one scene, and luma planes of it.
//!
//! With `--shared DIR` and ffmpeg, a real recording (`DIR/data/clips/plaza.avi`) as a camera would code it: 1080p25 at
//! 4 Mbit/s and 640x360p25 at 512 kbit/s, High profile, no B frames, a key frame every 2 s. Else the scene of our own
//! making ([`crate::scene`]), coded by `rusty_h264`. Made once and kept in the system's folder for temporary files.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{process, scene};

/// Frames a second of everything here.
pub const FRAMES_PER_SECOND: f64 = 25.0;
/// Luma planes of a motion question.
pub const PLANES: usize = 40;
/// Width of the main stream and of the luma planes.
pub const WIDTH: usize = 1920;
/// Height of the main stream and of the luma planes.
pub const HEIGHT: usize = 1080;

/// Files to work on.
#[derive(Clone, Debug)]
pub struct Clips {
    /// 1080p, H.264, Annex B.
    pub main: PathBuf,
    /// 640x360 of the same scene.
    pub sub: PathBuf,
    /// [`PLANES`] planes of 1080p luma, one behind the other.
    pub luma: PathBuf,
    /// Where they come from, in words.
    pub origin: &'static str,
}

/// Makes what is not there yet.
///
/// # Errors
/// A file cannot be written, or ffmpeg fails.
pub fn clips(shared: Option<&Path>) -> Result<Clips, Box<dyn Error>> {
    let source = shared.map(|shared| shared.join("data/clips/plaza.avi")).filter(|path| path.exists());
    match (source, process::find("ffmpeg")) {
        (Some(source), Some(_)) => recorded(&source),
        (Some(_), None) => Err("a recording is there, but no ffmpeg to code it: apt install ffmpeg".into()),
        (None, _) => drawn(),
    }
}

fn folder(name: &str) -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join("godvision-benches").join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Runs `make` into a file beside `path` and renames it, so that a half-made file is never taken for a whole one.
fn once(path: &Path, make: impl FnOnce(&Path) -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    if path.exists() {
        return Ok(());
    }
    eprintln!("making {}", path.display());
    let part = path.with_extension("part");
    make(&part)?;
    Ok(fs::rename(part, path)?)
}

fn recorded(source: &Path) -> Result<Clips, Box<dyn Error>> {
    let folder = folder("plaza")?;
    let clips = Clips {
        main: folder.join("main.h264"),
        sub: folder.join("sub.h264"),
        luma: folder.join("luma.gray"),
        origin: "a recorded plaza (1280x720 enlarged, with noise), coded by x264",
    };
    let noise = "noise=alls=6:allf=t,format=yuv420p";
    for (path, scale, rate) in [(&clips.main, "1920:1080", "4M"), (&clips.sub, "640:360", "512k")] {
        once(path, |out| {
            let filter = format!("scale={scale}:flags=lanczos,{noise}");
            ffmpeg(
                source,
                out,
                &[
                    "-frames:v",
                    "200",
                    "-vf",
                    &filter,
                    "-c:v",
                    "libx264",
                    "-preset",
                    "veryfast",
                    "-profile:v",
                    "high",
                    "-bf",
                    "0",
                    "-g",
                    "50",
                    "-b:v",
                    rate,
                    "-maxrate",
                    rate,
                    "-bufsize",
                    rate,
                    "-f",
                    "h264",
                ],
            )
        })?;
    }
    once(&clips.luma, |out| {
        let filter = format!("scale=1920:1080:flags=lanczos,{noise},format=gray");
        ffmpeg(source, out, &["-frames:v", &PLANES.to_string(), "-vf", &filter, "-f", "rawvideo"])
    })?;
    Ok(clips)
}

fn ffmpeg(source: &Path, out: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-y", "-loglevel", "error", "-i"]).arg(source).args(["-r", "25", "-an"]);
    process::run(command.args(arguments).arg(out))?;
    Ok(())
}

fn drawn() -> Result<Clips, Box<dyn Error>> {
    let folder = folder("scene")?;
    let clips = Clips {
        main: folder.join("main.h264"),
        sub: folder.join("sub.h264"),
        luma: folder.join("luma.gray"),
        origin: "a scene of our own making, coded by rusty_h264 (simpler than a recording: use --shared)",
    };
    once(&clips.main, |out| Ok(fs::write(out, scene::encode(WIDTH, HEIGHT, 100, 4_000_000))?))?;
    once(&clips.sub, |out| Ok(fs::write(out, scene::encode(640, 360, 100, 512_000))?))?;
    once(&clips.luma, |out| {
        let planes: Vec<u8> = (0..PLANES).flat_map(|index| scene::frame(WIDTH, HEIGHT, index).y).collect();
        Ok(fs::write(out, planes)?)
    })?;
    Ok(clips)
}
