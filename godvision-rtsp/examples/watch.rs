//! A camera that stays connected: watch it come, go and come back, and record it.
//!
//! ```text
//! cargo run -p godvision-rtsp --example watch -- rtsp://user:password@192.168.1.10/stream1 --seconds 30 --record yard.mp4
//! ```
//!
//! What you will see: a line when the camera's state changes, with the reason; a line of counters every second; at the
//! end a summary in `key=value` form. Pull the camera's cable, or give it a wrong password, and see what it says.
//!
//! Read next: `godvision_rtsp::Camera`, then the crate `godvision-ftp` for recordings that begin before the motion.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use godvision_core::signal::media::{Fragment, InitSegment};
use godvision_core::{Clock as _, Name, SystemClock};
use godvision_rtsp::supervisor::TransportChoice;
use godvision_rtsp::{Camera, CameraEvent, CameraOptions, CameraUrl, Fragmenter, fragment};

const HELP: &str = "watch URL [--seconds N] [--record FILE.mp4] [--transport auto|tcp|udp] [--stall SECONDS] [--once]

  --seconds N    stop after N seconds (default: never)
  --record FILE  write fMP4 from the first key frame on
  --transport T  auto: TCP unless the camera refuses it; udp: TCP if UDP is refused or silent
  --stall S      a stream without a frame for S seconds is lost (default 3)
  --once         stop when the first session ends
";

#[derive(Default)]
struct Args {
    url: Option<CameraUrl>,
    seconds: Option<f64>,
    record: Option<String>,
    transport: TransportChoice,
    stall: Option<f64>,
    once: bool,
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}\n\n{HELP}");
            std::process::ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), String> {
    let args = args()?;
    let url = args.url.ok_or("give the camera's address")?;
    let mut options = CameraOptions::new(Name::new("camera").map_err(|e| e.to_string())?, url);
    options.supervision.transport = args.transport;
    if let Some(seconds) = args.stall {
        options.supervision.stall_timeout = Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
    }
    println!("watching {}", options.url);
    let start = SystemClock.mono();
    let end = args.seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX));
    let mut camera = Camera::connect(options);
    let mut fragmenter = Fragmenter::new();
    let mut recording = args.record.map(|path| Recording { path, init: None, file: None, base_ticks: 0, fragments: 0 });
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    let (mut packets, mut smallest_delay, mut largest_delay) = (0u64, f64::MAX, 0f64);
    loop {
        let elapsed = SystemClock.mono().since(start);
        if end.is_some_and(|end| elapsed >= end) {
            break;
        }
        let left = end.map_or(Duration::from_secs(3600), |end| end.saturating_sub(elapsed));
        let event = tokio::select! {
            event = camera.next() => event,
            _ = every_second.tick() => {
                let c = camera.report().counters;
                println!("{:7.2} s  frames {} (keys {}), {} KiB, lost {}, sessions {}, failed tries {}", elapsed.as_secs_f64(),
                    c.frames, c.key_frames, c.bytes / 1024, c.lost_packets, c.sessions, c.failed_tries);
                continue;
            }
            () = tokio::time::sleep(left) => break,
        };
        match event {
            CameraEvent::Packet(packet) => {
                packets += 1;
                let delay = SystemClock.mono().since(packet.at.mono).as_secs_f64() * 1e3;
                (smallest_delay, largest_delay) = (smallest_delay.min(delay), largest_delay.max(delay));
                if let (Some(recording), Some(fragment)) = (&mut recording, fragmenter.push(&packet)) {
                    recording.write(&fragment).map_err(|error| format!("{}: {error}", recording.path))?;
                }
            }
            CameraEvent::Status(status) => {
                let code = status.code.map(|code| format!(" [{code}]")).unwrap_or_default();
                println!("{:7.2} s  {}{code} {}", elapsed.as_secs_f64(), status.state, status.detail);
                if args.once && status.code.is_some() {
                    break;
                }
            }
            _ => {}
        }
    }
    let report = camera.report();
    let c = report.counters;
    println!(
        "summary packets={packets} frames={} keys={} lost={} dropped_awaiting_key={} sessions={} failed_tries={} stalls={} \
         transport={} transport_changes={} longest_gap_ms={} delay_ms={:.1}..{largest_delay:.1} sender_clock={:?}",
        c.frames,
        c.key_frames,
        c.lost_packets,
        c.dropped_awaiting_key,
        c.sessions,
        c.failed_tries,
        c.stalls,
        report.transport.name(),
        c.transport_changes,
        c.longest_gap_ms,
        if packets == 0 { 0.0 } else { smallest_delay },
        report.sender_clock
    );
    if let Some(Recording { path, fragments, .. }) = recording {
        println!("recorded {fragments} fragments to {path}");
    }
    Ok(())
}

/// A file that begins with the first key frame, at time 0. Frames in another format are left out.
struct Recording {
    path: String,
    init: Option<Arc<InitSegment>>,
    file: Option<io::BufWriter<File>>,
    base_ticks: u64,
    fragments: u64,
}

impl Recording {
    fn write(&mut self, it: &Fragment) -> io::Result<()> {
        let init = self.init.get_or_insert_with(|| Arc::clone(&it.init));
        if !Arc::ptr_eq(init, &it.init) {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                self.base_ticks = it.decode_ticks;
                let file = self.file.insert(io::BufWriter::new(File::create(&self.path)?));
                file.write_all(&it.init.data)?;
                file
            }
        };
        let head = fragment::rebase_head(&it.head, self.base_ticks).unwrap_or_else(|| it.head.clone());
        file.write_all(&head)?;
        file.write_all(&it.data)?;
        self.fragments += 1;
        file.flush()
    }
}

fn args() -> Result<Args, String> {
    let mut args = Args::default();
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--seconds" => args.seconds = Some(value()?.parse().map_err(|_| "--seconds takes a number")?),
            "--stall" => args.stall = Some(value()?.parse().map_err(|_| "--stall takes a number")?),
            "--record" => args.record = Some(value()?),
            "--once" => args.once = true,
            "--transport" => {
                args.transport = match value()?.as_str() {
                    "auto" => TransportChoice::Auto,
                    "tcp" => TransportChoice::Tcp,
                    "udp" => TransportChoice::Udp,
                    other => return Err(format!("unknown transport {other:?}")),
                };
            }
            "--help" | "-h" => return Err("a camera that stays connected".to_owned()),
            url => args.url = Some(url.parse().map_err(|error| format!("{error}"))?),
        }
    }
    Ok(args)
}
