//! Recording 1, 8 or more RTSP cameras, with and without motion detection in their sub-streams.
//!
//! The cameras are our RTSP server in a process whose CPU is not counted. A contender runs for the warm-up, then its CPU
//! clock is read at both ends of the window; what it wrote is weighed after it has ended, so that nobody is quick by
//! recording nothing.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Options, Question, rounds};
use crate::child;
use crate::clip::{Clips, FRAMES_PER_SECOND};
use crate::process::{Running, Stop, bytes_below, find, pause};
use crate::table::{Row, markdown, median};

/// Below this share of what the cameras sent, a contender has not recorded. Low, for `motion` takes seconds to begin: the
/// table says what each kept.
const KEPT_MIN: f64 = 0.1;
/// Longest wait for the cameras to be there.
const READY: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    Ours,
    OursByLibav,
    FfmpegCopy,
    FfmpegPair,
    Motion,
    GStreamer,
}

/// Memory and share of the sent bytes kept, of each round.
#[derive(Debug)]
struct Entrant {
    contender: Contender,
    megabytes: Vec<f64>,
    kept: Vec<f64>,
}

pub(super) fn ask(question: Question, options: &Options, clips: &Clips) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for &count in &options.cameras {
        let cameras = Cameras::start(options, clips, count)?;
        let here = |program| find(program).is_some();
        let ours = match question {
            Question::Detect => "godvision, one process, every picture decoded in pure Rust",
            _ => "godvision, one process",
        };
        let mut contenders = vec![(Row::new(ours), Contender::Ours)];
        if question == Question::Detect && cfg!(feature = "ffmpeg") {
            let name = "godvision, one process, every picture decoded by libavcodec";
            contenders.push((Row::new(name), Contender::OursByLibav));
        }
        if question == Question::Record {
            if here("ffmpeg") {
                contenders.push((Row::new("ffmpeg -c copy, a process a camera"), Contender::FfmpegCopy));
            }
            if here("gst-launch-1.0") {
                contenders.push((Row::new("GStreamer splitmuxsink, a process a camera"), Contender::GStreamer));
            }
            if here("motion") {
                contenders.push((Row::new("motion, passthrough (decodes the sub-stream always)"), Contender::Motion));
            }
        } else {
            if here("ffmpeg") {
                let name = "ffmpeg copy + ffmpeg decode to 5 frames/s, no detector, two processes a camera";
                contenders.push((Row::new(name), Contender::FfmpegPair));
            }
            if here("motion") {
                contenders.push((Row::new("motion, detects in the sub-stream, passthrough"), Contender::Motion));
            }
        }
        let mut entrants: Vec<_> = contenders
            .into_iter()
            .map(|(row, contender)| (row, Entrant { contender, megabytes: Vec::new(), kept: Vec::new() }))
            .collect();
        rounds(options, &mut entrants, |_, entrant| {
            let run = Run { question, options, cameras: &cameras, count, sent_a_second: sent_a_second(clips)? };
            run.measure(entrant)
        })?;
        let rows: Vec<Row> = entrants
            .into_iter()
            .map(|(mut row, entrant)| {
                let middle = |samples: &[f64]| median(samples).map_or("-".to_owned(), |it| format!("{it:.1}"));
                let core = median(&row.samples).map_or("-".to_owned(), |seconds| format!("{:.2} %", seconds / 0.6));
                let kept = median(&entrant.kept).map_or("-".to_owned(), |it| format!("{:.0} %", it * 100.0));
                row.more = vec![core, middle(&entrant.megabytes), kept];
                row
            })
            .collect();
        let more = ["of a core", "peak MB a camera", "kept of what was sent"];
        text += &format!("{count} camera{}:\n\n", if count == 1 { "" } else { "s" });
        text += &markdown("s CPU a minute a camera", &more, &rows);
        text.push('\n');
    }
    text += &format!(
        "Window {} s after {} s; clips and segments of 10 s.",
        options.window.as_secs(),
        options.warm_up.as_secs()
    );
    Ok(text)
}

fn sent_a_second(clips: &Clips) -> Result<f64, Box<dyn Error>> {
    use godvision_core::signal::media::Codec;
    use godvision_rtsp::restream::FilePlayer;
    let file = fs::read(&clips.main)?;
    let frames = FilePlayer::from_annex_b("camera".parse()?, Codec::H264, &file, FRAMES_PER_SECOND)?.frames();
    Ok(file.len() as f64 * FRAMES_PER_SECOND / frames as f64)
}

/// Cameras that play both streams.
struct Cameras {
    _server: Running,
    base: String,
    /// One mount for all, or one each.
    is_numbered: bool,
}

impl Cameras {
    fn start(options: &Options, clips: &Clips, count: usize) -> Result<Self, Box<dyn Error>> {
        let folder = scratch("cameras")?;
        let (ready, log) = (folder.join("ready"), folder.join("log"));
        if let Some((script, clips)) = &options.serve {
            let port = free_port()?;
            let mut command = Command::new("/usr/bin/python3");
            command.arg(script).arg(port.to_string()).arg(clips);
            let server = Running::start(&mut command, Stop::Interrupt, &log)?;
            wait_for(|| fs::read_to_string(&log).is_ok_and(|text| text.contains("ready")), &log)?;
            return Ok(Self { _server: server, base: format!("rtsp://127.0.0.1:{port}"), is_numbered: false });
        }
        let mut command = child::command("camera")?;
        command.arg(&clips.main).arg(&clips.sub).arg(count.to_string()).env("GODVISION_READY", &ready);
        let server = Running::start(&mut command, Stop::EndOfInput, &log)?;
        wait_for(|| fs::read_to_string(&ready).is_ok_and(|url| !url.is_empty()), &log)?;
        Ok(Self { _server: server, base: fs::read_to_string(&ready)?, is_numbered: true })
    }

    fn url(&self, kind: &str, index: usize) -> String {
        match self.is_numbered {
            true => format!("{}/{kind}{index}", self.base),
            false => format!("{}/{kind}", self.base),
        }
    }
}

fn wait_for(mut is_there: impl FnMut() -> bool, log: &Path) -> Result<(), Box<dyn Error>> {
    for _ in 0..READY.as_millis() / 50 {
        if is_there() {
            return Ok(());
        }
        pause(Duration::from_millis(50));
    }
    let words = fs::read_to_string(log).unwrap_or_default();
    Err(format!("the cameras did not start: {}", words.trim()).into())
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// An empty folder of our own.
fn scratch(name: &str) -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join("godvision-benches").join(format!("{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

struct Run<'a> {
    question: Question,
    options: &'a Options,
    cameras: &'a Cameras,
    count: usize,
    sent_a_second: f64,
}

impl Run<'_> {
    /// CPU seconds a minute a camera.
    fn measure(&self, entrant: &mut Entrant) -> Result<Vec<f64>, Box<dyn Error>> {
        let folder = scratch("contender")?;
        let (out, log) = (folder.join("out"), folder.join("log"));
        fs::create_dir_all(&out)?;
        let mut running = self.start(entrant.contender, &out, &log)?;
        let measured = self.watch(&mut running);
        let mut stopped = Ok(());
        for process in running {
            stopped = stopped.and(process.stop());
        }
        let words = || fs::read_to_string(&log).unwrap_or_default().lines().last().unwrap_or_default().to_owned();
        let (cpu, megabytes) = measured.map_err(|error| format!("{error}; its last words: {}", words()))?;
        stopped.map_err(|error| format!("{error}; its last words: {}", words()))?;
        let seconds = (self.options.warm_up + self.options.window).as_secs_f64();
        let kept = bytes_below(&out) as f64 / (self.sent_a_second * seconds * self.count as f64);
        if std::env::var_os("GODVISION_LOG").is_some() {
            eprintln!("{}", fs::read_to_string(&log).unwrap_or_default());
        }
        fs::remove_dir_all(&folder)?;
        if kept < KEPT_MIN {
            return Err(format!("it kept {:.0} % of what was sent; its last words: {}", kept * 100.0, words()).into());
        }
        entrant.megabytes.push(megabytes / self.count as f64);
        entrant.kept.push(kept);
        Ok(vec![cpu * 60.0 / self.options.window.as_secs_f64() / self.count as f64])
    }

    /// CPU seconds in the window, and peak megabytes, of all processes together.
    fn watch(&self, running: &mut [Running]) -> std::io::Result<(f64, f64)> {
        fn total(running: &mut [Running]) -> std::io::Result<f64> {
            running.iter_mut().map(|process| Ok(process.cpu()?.as_secs_f64())).sum()
        }
        pause(self.options.warm_up);
        let before = total(running)?;
        pause(self.options.window);
        let used = total(running)? - before;
        let bytes: std::io::Result<u64> = running.iter().map(Running::peak_bytes).sum();
        Ok((used, bytes? as f64 / 1e6))
    }

    fn start(&self, contender: Contender, out: &Path, log: &Path) -> Result<Vec<Running>, Box<dyn Error>> {
        let mut running = Vec::new();
        match contender {
            Contender::Ours | Contender::OursByLibav => {
                let mut command = child::command(self.question.code())?;
                command.arg(out);
                if self.question == Question::Detect {
                    command.arg(if contender == Contender::Ours { "rust" } else { "ffmpeg" });
                }
                for index in 0..self.count {
                    command.arg(self.cameras.url("main", index));
                    if self.question == Question::Detect {
                        command.arg(self.cameras.url("sub", index));
                    }
                }
                running.push(Running::start(&mut command, Stop::EndOfInput, log)?);
            }
            Contender::FfmpegCopy => {
                for index in 0..self.count {
                    running.push(self.ffmpeg_copy(index, out, log)?);
                }
            }
            Contender::FfmpegPair => {
                for index in 0..self.count {
                    running.push(self.ffmpeg_copy(index, out, log)?);
                    running.push(self.ffmpeg_decode(index, log)?);
                }
            }
            Contender::GStreamer => {
                for index in 0..self.count {
                    let url = self.cameras.url("main", index);
                    let line = format!(
                        "rtspsrc location={url} protocols=tcp ! rtph264depay ! h264parse ! splitmuxsink \
                         max-size-time=10000000000 location={}/{index}-%05d.mp4",
                        out.display()
                    );
                    let mut command = Command::new("gst-launch-1.0");
                    command.args(["-q", "-e"]).args(line.split_whitespace());
                    running.push(Running::start(&mut command, Stop::Interrupt, log)?);
                }
            }
            Contender::Motion => running.push(self.motion(out, log)?),
        }
        Ok(running)
    }

    fn ffmpeg_copy(&self, index: usize, out: &Path, log: &Path) -> std::io::Result<Running> {
        let mut command = ffmpeg(&self.cameras.url("main", index));
        command.args(["-c", "copy", "-an", "-f", "segment", "-segment_time", "10", "-segment_format", "mp4"]);
        command.args(["-reset_timestamps", "1"]).arg(out.join(format!("{index}-%05d.mp4")));
        Running::start(&mut command, Stop::Interrupt, log)
    }

    fn ffmpeg_decode(&self, index: usize, log: &Path) -> std::io::Result<Running> {
        let mut command = ffmpeg(&self.cameras.url("sub", index));
        command.args(["-an", "-r", "5", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-y", "/dev/null"]);
        Running::start(&mut command, Stop::Interrupt, log)
    }

    fn motion(&self, out: &Path, log: &Path) -> Result<Running, Box<dyn Error>> {
        let folder = out.parent().ok_or("a folder above")?;
        let mut main = "daemon off\nsetup_mode off\nlog_level 4\nwebcontrol_port 0\nstream_port 0\n".to_owned();
        for index in 0..self.count {
            let path = folder.join(format!("camera{index}.conf"));
            let films = out.join(index.to_string());
            fs::create_dir_all(&films)?;
            // `emulate_motion` records always; the detector then runs for nothing, as it has no off.
            let emulate = if self.question == Question::Record { "on" } else { "off" };
            let text = format!(
                "camera_id {id}\ncamera_name c{id}\ntarget_dir {films}\nwidth 640\nheight 360\nframerate 25\n\
                 netcam_url {sub}\nnetcam_high_url {high}\nmovie_passthrough on\nmovie_output on\nmovie_max_time 10\n\
                 movie_codec mp4\nmovie_filename %t-%v\npicture_output off\nemulate_motion {emulate}\n\
                 pre_capture 3\npost_capture 25\nevent_gap 5\n",
                id = index + 1,
                films = films.display(),
                sub = self.cameras.url("sub", index),
                high = self.cameras.url("main", index),
            );
            fs::write(&path, text)?;
            main += &format!("camera {}\n", path.display());
        }
        let path = folder.join("motion.conf");
        fs::write(&path, main)?;
        Ok(Running::start(Command::new("motion").arg("-c").arg(&path), Stop::Terminate, log)?)
    }
}

fn ffmpeg(url: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url]);
    command
}
