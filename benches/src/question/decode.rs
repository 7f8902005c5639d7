//! Decoding 1080p H.264, one thread each: our facade, the decoder under it, other pure-Rust decoders, ffmpeg.

use std::error::Error;
use std::process::Command;

use super::{Options, measured, rounds};
use crate::clip::Clips;
use crate::table::{Row, markdown};
use crate::{child, process};

enum Contender {
    Ours(&'static str),
    /// Extra arguments before the input.
    Ffmpeg(&'static [&'static str]),
}

pub(super) fn ask(options: &Options, clips: &Clips) -> Result<String, Box<dyn Error>> {
    let mut contenders = vec![
        (Row::new("godvision, pure Rust: pictures with luma"), Contender::Ours("all")),
        (Row::new("rust_h264 without our facade"), Contender::Ours("bare")),
        (Row::new("godvision, key frames only"), Contender::Ours("key")),
    ];
    if cfg!(feature = "ffmpeg") {
        contenders.push((Row::new("godvision, libavcodec: pictures with luma"), Contender::Ours("ffmpeg")));
    }
    if process::find("ffmpeg").is_some() {
        contenders.push((Row::new("ffmpeg -threads 1"), Contender::Ffmpeg(&[])));
        contenders.push((Row::new("ffmpeg -threads 1, key frames only"), Contender::Ffmpeg(&["-skip_frame", "nokey"])));
    }
    // ffmpeg is charged for a whole run without its start: the run of one frame is taken off, per round.
    let frames = frames(clips)?;
    rounds(options, &mut contenders, |_, contender| {
        let nanos = match contender {
            Contender::Ours(mode) => {
                let text = process::run(child::command("decode")?.arg(&clips.main).arg(*mode))?.0;
                measured(&text).pop().ok_or("it printed no figure")?.1
            }
            Contender::Ffmpeg(arguments) => {
                let whole = ffmpeg(clips, arguments, 4, None)?;
                let start = ffmpeg(clips, arguments, 1, Some(1))?;
                (whole - start) * 1e9 / (4.0 * frames as f64 - 1.0)
            }
        };
        Ok(vec![nanos / 1e6])
    })?;
    let rows: Vec<Row> = contenders.into_iter().map(|(row, _)| row).collect();
    Ok(markdown("ms CPU a frame of the stream", &[], &rows))
}

fn frames(clips: &Clips) -> Result<usize, Box<dyn Error>> {
    use godvision_core::signal::media::Codec;
    use godvision_rtsp::restream::FilePlayer;
    let file = std::fs::read(&clips.main)?;
    Ok(FilePlayer::from_annex_b("camera".parse()?, Codec::H264, &file, 25.0)?.frames())
}

/// CPU seconds of decoding the main stream `times` times over, or its first frames only.
fn ffmpeg(clips: &Clips, arguments: &[&str], times: usize, frames: Option<usize>) -> Result<f64, Box<dyn Error>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-threads", "1"]).args(arguments);
    let joined = vec![clips.main.to_str().ok_or("a path that is no text")?; times].join("|");
    command.arg("-i").arg(format!("concat:{joined}"));
    if let Some(frames) = frames {
        command.args(["-frames:v", &frames.to_string()]);
    }
    // Every decoded frame goes to the null muxer, none is repeated to keep a rate.
    let (_, cpu) = process::run(command.args(["-vsync", "passthrough", "-f", "null", "-"]))?;
    Ok(cpu.as_secs_f64())
}
