//! How long a door of a whole server takes, to the command on the relay's wire: from the capture of a frame with a pass, of
//! the frame that made a face known and alive, from the last key of a PIN.
//!
//! ```text
//! cargo run --release -p godvision-server --example door_latency -- [--rounds N] [--only qr|face|pin] [--together] [--check]
//! ```
//! A camera of our own RTSP server (1280x720, 25 frames a second, H.264) shows a yard into which somebody holds a pass, or
//! comes and turns their head; our clock says when each frame left. The other end is the HTTP wire of a Shelly (our fake of
//! it). Between them nothing is shortened: RTSP over TCP with digest, decoder, motion, the readers as they are by default
//! (but codes are looked for every 20 ms, not every 100, while something moves),
//! rules, premises, the SQLite journal, the file of spent passes, relay driver; the camera is recorded meanwhile. PINs are
//! typed at a keypad behind a TCP bridge (our fake of it).
//!
//! Passes and faces are read by a camera of their own each; with `--together` one camera is watched for both. Ends with an
//! error if more than one in twenty did not open; with `--check` also if a 95th percentile is over its bar.
//!
//! **Never:** a picture or a key handed in past its wire; a journal that is not on the disk.

mod drawn;
#[path = "../../tests/world/mod.rs"]
mod world;

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godvision_core::bus::Params;
use godvision_core::signal::door::{Decision, Verdict};
use godvision_core::{Clock, MonoTime, SystemClock};
use serde_json::json;

use drawn::Drawings;
use world::film::Published;
use world::{DOOR, World};

const RULES: &str = r#"
version = 1
[[rule]]
name = "people"
permit = ["eileen"]
doors = ["any"]
by = ["qr", "face", "pin"]
"#;
const PERSON: &str = "eileen";
const PIN: &str = "73914682";
/// A pass is held up for so long.
const HELD: Duration = Duration::from_millis(480);
/// Between two rounds nobody is there: longer than the door's hold-off and than a face is waited for.
const AWAY: Duration = Duration::from_millis(2300);
/// Longest wait for a door to open.
const ROUND_MAX: Duration = Duration::from_secs(15);
/// Before the first round: the motion model and the decoder warm up.
const LEAD: Duration = Duration::from_secs(3);

const QR_BAR: Duration = Duration::from_millis(60);
const FACE_BAR: Duration = Duration::from_millis(150);
const PIN_BAR: Duration = Duration::from_millis(10);

#[derive(Clone, Debug, Default)]
struct Options {
    rounds: usize,
    only: Option<String>,
    is_together: bool,
    is_check: bool,
}

impl Options {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut options = Self { rounds: 40, ..Self::default() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--rounds" => options.rounds = arguments.next().ok_or("--rounds needs a number")?.parse()?,
                "--only" => options.only = Some(arguments.next().ok_or("--only needs qr, face or pin")?),
                "--together" => options.is_together = true,
                "--check" => options.is_check = true,
                other => return Err(format!("{other} means nothing here: see the head of this program").into()),
            }
        }
        Ok(options)
    }

    fn asks(&self, way: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == way)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let measured = async {
        let options = Options::read()?;
        measure(&options).await
    };
    match measured.await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// One line of the table.
struct Row {
    from: &'static str,
    times: Vec<Duration>,
    bar: Option<Duration>,
}

async fn measure(options: &Options) -> Result<bool, Box<dyn Error>> {
    eprintln!("drawing");
    let drawings = Drawings::new()?;
    let mut rows = Vec::new();
    let sees = |way: &str| {
        let both = [("qr", Params::new().with("every", 0.02)), ("face", Params::new())];
        both.into_iter().filter(|(unit, _)| options.is_together || *unit == way).collect::<Vec<_>>()
    };
    if options.asks("qr") {
        let mut bench = Bench::start(&drawings, &sees("qr")).await;
        rows.extend(bench.qr(options.rounds).await?);
        bench.stop().await;
    }
    if options.asks("face") {
        let mut bench = Bench::start(&drawings, &sees("face")).await;
        rows.extend(bench.face(options.rounds).await?);
        bench.stop().await;
    }
    if options.asks("pin") {
        let mut bench = Bench::start(&drawings, &sees("pin")).await;
        rows.push(bench.pin(options.rounds).await);
        bench.stop().await;
    }
    println!("\n| from | to | n | p50 ms | p95 ms | max ms | bar, p95 |\n|---|---|---|---|---|---|---|");
    let (mut is_within, mut is_whole) = (true, true);
    for Row { from, mut times, bar } in rows {
        times.sort_unstable();
        let at = |share: f64| times.get(((times.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
        let ms = |time: Option<Duration>| time.map_or("-".into(), |time| format!("{:.1}", time.as_secs_f64() * 1e3));
        let (p50, p95, max) = (at(0.5), at(0.95), times.last().copied());
        is_within &= bar.is_none_or(|bar| p95.is_some_and(|p95| p95 <= bar));
        is_whole &= times.len() * 20 >= options.rounds * 19;
        let bar = bar.map_or(String::new(), |bar| format!("{} ms", bar.as_millis()));
        let n = times.len();
        println!("| {from} | command on the relay's wire | {n} | {} | {} | {} | {bar} |", ms(p50), ms(p95), ms(max));
    }
    if !is_whole {
        return Err("more than one in twenty did not open the door".into());
    }
    Ok(is_within || !options.is_check)
}

/// A whole site, and who watches the relay's end of the wire.
struct Bench<'a> {
    world: World,
    drawings: &'a Drawings,
    moves: Arc<Mutex<Vec<MonoTime>>>,
    watcher: tokio::task::JoinHandle<()>,
}

/// When a door was opened, and by which decision.
struct Opening {
    command: MonoTime,
    decision: Decision,
}

impl<'a> Bench<'a> {
    async fn start(drawings: &'a Drawings, sees: &[(&str, Params)]) -> Self {
        let world = World::start(RULES, &drawings.nobody, sees).await;
        world.know(PERSON, &[("pin", PIN)]).await;
        let photos = [STANDARD.encode(&drawings.portrait)];
        let body = json!({"person": PERSON, "list": "allow", "words": "I agree", "photos": photos});
        world.done(Method::POST, "/api/v1/faces", body).await;
        let moves = Arc::new(Mutex::new(Vec::new()));
        let watcher = tokio::spawn({
            let (relay, moves) = (Arc::clone(&world.relay), Arc::clone(&moves));
            async move {
                let mut known = 0;
                loop {
                    tokio::time::sleep(Duration::from_micros(500)).await;
                    let count = relay.calls().iter().filter(|call| call.method == "Switch.Set").count();
                    if count > known {
                        known = count;
                        moves.lock().unwrap_or_else(PoisonError::into_inner).push(SystemClock.mono());
                    }
                }
            }
        });
        tokio::time::sleep(LEAD).await;
        Self { world, drawings, moves, watcher }
    }

    async fn stop(&mut self) {
        self.watcher.abort();
        self.world.stop().await;
    }

    /// Waits until the door is locked, and forgets what moved before.
    async fn ready(&self) {
        self.world.until_door_is("locked").await;
        self.moves.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The opening after `since`, if there is one in time.
    async fn opening(&self, since: MonoTime) -> Option<Opening> {
        let until = since + ROUND_MAX;
        while SystemClock.mono() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let command = self.moves.lock().unwrap_or_else(PoisonError::into_inner).first().copied();
            if let (Some(command), Some(decision)) = (command, self.world.last_decision())
                && decision.verdict == Verdict::Admit
                && decision.decided.mono >= since
            {
                return Some(Opening { command, decision });
            }
        }
        None
    }

    async fn qr(&self, rounds: usize) -> Result<Vec<Row>, Box<dyn Error>> {
        let (mut shown, mut read) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let body = json!({"person": PERSON, "doors": [DOOR], "uses": 1});
            let pass = self.world.done(Method::POST, "/api/v1/passes", body).await;
            let access = self.world.store().access();
            let pass = access.pass(pass["id"].as_str().ok_or("a pass without an id")?).await?;
            let film = self.drawings.held(access.pass_text(&pass).await?.expose())?;
            self.ready().await;
            let since = SystemClock.mono();
            self.world.camera.show(&film);
            tokio::time::sleep(HELD).await;
            self.world.camera.show(&self.drawings.nobody);
            let Some(opening) = self.opening(since).await else { continue };
            let frames = self.world.camera.left(since);
            shown.extend(frames.first().map(|first| opening.command.since(first.at)));
            read.extend(frame_of(&frames, &opening.decision).map(|frame| opening.command.since(frame.at)));
            tokio::time::sleep(AWAY).await;
        }
        Ok(vec![
            Row { from: "capture of the frame whose code was read", times: read, bar: Some(QR_BAR) },
            Row { from: "capture of the first frame with the code", times: shown, bar: None },
        ])
    }

    async fn face(&self, rounds: usize) -> Result<Vec<Row>, Box<dyn Error>> {
        let (mut came, mut known) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            self.ready().await;
            let since = SystemClock.mono();
            self.world.camera.show(&self.drawings.turning);
            let opening = self.opening(since).await;
            let frames = self.world.camera.left(since);
            self.world.camera.show(&self.drawings.nobody);
            if let Some(opening) = opening {
                came.extend(frames.first().map(|first| opening.command.since(first.at)));
                known.extend(frame_of(&frames, &opening.decision).map(|frame| opening.command.since(frame.at)));
            }
            tokio::time::sleep(AWAY).await;
        }
        Ok(vec![
            Row { from: "capture of the frame that made the face known and alive", times: known, bar: Some(FACE_BAR) },
            Row { from: "capture of the face's first frame (it has to turn)", times: came, bar: None },
        ])
    }

    async fn pin(&self, rounds: usize) -> Row {
        let mut typed = Vec::new();
        for _ in 0..rounds {
            self.ready().await;
            for key in PIN.chars() {
                self.world.type_in(&key.to_string());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let last = SystemClock.mono();
            self.world.type_in("#");
            typed.extend(self.opening(last).await.map(|opening| opening.command.since(last)));
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        Row { from: "last key of the PIN on the wire", times: typed, bar: Some(PIN_BAR) }
    }
}

/// The frame that `decision` is about: the camera's clock, as RTCP brings it over, names it within a fraction of a frame.
fn frame_of(frames: &[Published], decision: &Decision) -> Option<Published> {
    let seen = decision.presented.mono;
    let apart = |frame: &&Published| if frame.at > seen { frame.at.since(seen) } else { seen.since(frame.at) };
    frames.iter().min_by_key(apart).copied()
}
