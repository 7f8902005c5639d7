//! How long from a frame, or from the last key of a PIN, to the command on the relay's wire:
//!
//! ```text
//! cargo run --release -p godvision-benches --bin door_latency -- [--rounds N] [--check]
//! ```
//! A camera of our own RTSP server (1280x720, 25 frames a second, H.264) shows a yard into which somebody holds a guest's
//! pass, another one each second; the server's clock says when each frame left. The other end is the HTTP wire of a
//! Shelly (our fake of it). Between them nothing is shortened: RTSP over TCP with digest, decoder, motion, QR reader, rules,
//! premises, journal, the file of spent passes with its `fsync`, relay driver. PINs are typed at a keypad behind a TCP
//! bridge (our fake of it).
//!
//! Ends with an error if more than one in twenty passes or PINs did not open; with `--check` also if a 95th percentile is
//! over its bar.
//!
//! **Never:** a picture or a key handed in past its wire.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_access::controller::{DoorUnit, Doors, SharedAccess, SharedPremises};
use godvision_access::credential::Directory;
use godvision_access::io::premises_log::{PremisesLog, SharedPremisesLog};
use godvision_access::io::spent_log::{SharedSpentLog, SpentLog};
use godvision_access::pass::{Doors as PassDoors, PassClaims, PassId, PassKey, PassVerifier, Uses};
use godvision_access::premises::Premises;
use godvision_access::reader::ReaderRegistry;
use godvision_access::reader::component::ReaderUnit;
use godvision_access::reader::fake::{FakeBridge, FakePort};
use godvision_access::reader::soft::SoftReaders;
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::fake_shelly::FakeShelly;
use godvision_access::{AccessControl, RuleSet};
use godvision_core::bus::{Host, HostOptions, Registry};
use godvision_core::journal::MemoryJournal;
use godvision_core::signal::door::{DoorState, Key};
use godvision_core::signal::media::Codec;
use godvision_core::site::SiteDocument;
use godvision_core::{Clock, MonoTime, Name, Secret, SystemClock};
use godvision_rtsp::CameraUnit;
use godvision_rtsp::restream::{FilePlayer, RtspServer, ServerOptions, User};
use godvision_vision::sensors::{MotionUnit, QrUnit};
use qrcode::{Color, EcLevel, QrCode};
use rusty_h264::{Encoder, EncoderConfig, YuvFrame};

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const FRAMES_PER_SECOND: usize = 25;
/// A pass is shown in the middle of its second, for so many frames.
const SHOWN_FRAMES: usize = 12;
const SHOWN_FROM: usize = 8;
/// Side of one module, in pixels.
const MODULE_PIXELS: usize = 7;
/// Frames before the first pass: the motion model and the decoder warm up.
const LEAD_SECONDS: usize = 3;

const DOOR: &str = "yard/door";
const PIN: &str = "73914682";
const QR_BAR: Duration = Duration::from_millis(60);
const PIN_BAR: Duration = Duration::from_millis(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = match arguments.iter().position(|argument| argument == "--rounds") {
        Some(place) => arguments.get(place + 1).ok_or("--rounds needs a number")?.parse()?,
        None => 40,
    };
    let is_check = arguments.iter().any(|argument| argument == "--check");
    let key = PassKey::insecure_demo();
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let now = clock.now().wall;
    let passes: Vec<Secret> = (0..rounds)
        .map(|number: u64| {
            let site = "home".parse()?;
            key.sign(
                &site,
                &PassClaims {
                    id: PassId(number_of(number + 1)),
                    person: Some("ada".parse()?),
                    doors: PassDoors::One(DOOR.parse()?),
                    not_before: now.plus_micros(-60_000_000),
                    not_after: now.plus_micros(3_600_000_000),
                    uses: Uses::Times(1),
                },
            )
            .map_err(Box::<dyn Error>::from)
        })
        .collect::<Result<_, _>>()?;
    println!("drawing {} s of video", rounds as usize + LEAD_SECONDS);
    let clip = draw(&passes)?;
    let folder = std::env::temp_dir().join(format!("godvision-door-latency-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = measure(&clip, rounds as usize, &folder, clock, key).await;
    let _ = std::fs::remove_dir_all(&folder);
    let Measured { shown, read, typed } = result?;
    println!("\n| from | to | n | p50 ms | p95 ms | max ms | bar, p95 |\n|---|---|---|---|---|---|---|");
    let (mut is_within, mut is_whole) = (true, true);
    for (from, times, bar) in [
        ("capture of the frame that was read", &read, Some(QR_BAR)),
        ("capture of the first frame with the code", &shown, None),
        ("last key of the PIN on the wire", &typed, Some(PIN_BAR)),
    ] {
        let at = |share: f64| times.get(((times.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
        let ms = |time: Option<Duration>| time.map_or("-".into(), |time| format!("{:.1}", time.as_secs_f64() * 1e3));
        let p95 = at(0.95);
        is_within &= bar.is_none_or(|bar| p95.is_some_and(|p95| p95 <= bar));
        is_whole &= times.len() * 20 >= rounds as usize * 19;
        let bar = bar.map_or(String::new(), |bar| format!("{} ms", bar.as_millis()));
        let (p50, max) = (ms(at(0.5)), ms(times.last().copied()));
        println!("| {from} | command on the relay's wire | {} | {p50} | {} | {max} | {bar} |", times.len(), ms(p95));
    }
    if !is_whole {
        return Err("some passes or PINs did not open the door".into());
    }
    Ok(is_within || !is_check)
}

fn number_of(number: u64) -> [u8; 6] {
    let [_, _, id @ ..] = number.to_be_bytes();
    id
}

/// Times, shortest first.
struct Measured {
    shown: Vec<Duration>,
    read: Vec<Duration>,
    typed: Vec<Duration>,
}

async fn measure(
    clip: &[u8],
    rounds: usize,
    folder: &Path,
    clock: Arc<dyn Clock>,
    key: PassKey,
) -> Result<Measured, Box<dyn Error>> {
    let mut options = ServerOptions::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    options.users.push(User::new("viewer", "camera-password".into()));
    let server = RtspServer::bind(options).await?;
    let mount = server.mount("/yard")?;
    let player = FilePlayer::from_annex_b(Name::new("camera")?, Codec::H264, clip, FRAMES_PER_SECOND as f64)?;
    let device = FakeShelly::start(1, Some("relay-password".into()), Arc::clone(&clock)).await?;
    let keypad = FakePort::start(FakeBridge::new(Arc::clone(&clock))).await?;

    let mut directory = Directory::new(*b"a salt of a test");
    directory.add_person("ada".parse()?)?;
    directory.add_key(&"ada".parse()?, &Key::Pin(PIN.into()))?;
    let text = "version = 1\n[[rule]]\nname = \"ada\"\npermit = [\"ada\"]\ndoors = [\"any\"]\n";
    let rules = RuleSet::parse(text)?.compile()?;
    let passes = PassVerifier::new("home".parse()?).with(key.public());
    let access = SharedAccess::new(AccessControl { directory, passes, rules });
    let spent = Arc::new(SharedSpentLog::from(SpentLog::open(&folder.join("spent"))?));
    let premises = PremisesLog::open(&folder.join("premises"))?;
    let premises = SharedPremises::new(Premises::default(), SharedPremisesLog::from(premises));
    let unit = DoorUnit::new(access, spent, RelayRegistry::standard(Arc::clone(&clock))).on(premises);
    let doors = unit.doors();
    let readers = ReaderUnit::new(ReaderRegistry::standard_with(Arc::clone(&clock), SoftReaders::default()));
    let registry = Registry::new()
        .with(CameraUnit::default())
        .with(MotionUnit::default())
        .with(QrUnit::default())
        .with(unit)
        .with(readers);
    let host_options = HostOptions {
        journal: Arc::new(MemoryJournal::default()),
        clock: Arc::clone(&clock),
        ..HostOptions::default()
    };
    let host = Host::new(host_options, registry);
    let document = format!(
        r#"
        version = 1
        site = "home"
        [[component]]
        name = "yard/camera"
        unit = "camera"
        params = {{ url = "rtsp://viewer:camera-password@{camera}/yard", transport = "tcp" }}
        [[component]]
        name = "yard/motion"
        unit = "motion"
        [[component]]
        name = "yard/qr"
        unit = "qr"
        params = {{ motion_wakes = true, every = 0.02 }}
        [[component]]
        name = "{DOOR}"
        unit = "door"
        params = {{ relay = "shelly://admin:relay-password@{relay}/", pulse = 0.2 }}
        [[component]]
        name = "yard/keypad"
        unit = "reader"
        params = {{ device = "keypad+tcp://{keypad}/", channel = 0 }}
        [[link]]
        from = "yard/camera#pictures"
        to = "yard/motion#pictures"
        [[link]]
        from = "yard/camera#pictures"
        to = "yard/qr#pictures"
        [[link]]
        from = "yard/motion#motion"
        to = "yard/qr#motion"
        [[link]]
        from = "yard/qr#sightings"
        to = "{DOOR}#sightings"
        [[link]]
        from = "yard/keypad#credentials"
        to = "{DOOR}#credentials"
        "#,
        camera = server.local_addr(),
        relay = device.address(),
        keypad = keypad.address(),
    );
    host.apply(&SiteDocument::parse(&document)?).await?;
    until_locked(&doors).await?;

    // When each command came, as the device's own end of the wire sees it.
    let moves = Arc::new(Mutex::new(Vec::<MonoTime>::new()));
    let device = Arc::new(device);
    let watcher = tokio::spawn({
        let (device, moves, clock) = (Arc::clone(&device), Arc::clone(&moves), Arc::clone(&clock));
        async move {
            let mut known = 0;
            loop {
                tokio::time::sleep(Duration::from_micros(500)).await;
                let calls = device.calls().iter().filter(|call| call.method == "Switch.Set").count();
                if calls > known {
                    known = calls;
                    moves.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(clock.mono());
                }
            }
        }
    });
    let locked = || moves.lock().unwrap_or_else(std::sync::PoisonError::into_inner);

    let (mut shown, mut read) = (Vec::new(), Vec::new());
    let start = clock.now();
    let frame = Duration::from_secs(1) / FRAMES_PER_SECOND as u32;
    let mut first_shown = MonoTime::ZERO;
    for number in 0..(LEAD_SECONDS + rounds) * FRAMES_PER_SECOND {
        let due = start.mono + frame * number as u32;
        tokio::time::sleep(due.since(clock.mono())).await;
        let in_second = number % FRAMES_PER_SECOND;
        let is_round = number >= LEAD_SECONDS * FRAMES_PER_SECOND;
        if is_round && in_second == SHOWN_FROM {
            locked().clear();
            first_shown = clock.mono();
        }
        mount.publish(&player.packet(number as u64, start))?;
        if is_round && in_second == FRAMES_PER_SECOND - 1 {
            // The first command after the code was shown is the opening; the door's own come later.
            let opened = locked().first().copied();
            let decision = doors.get(&DOOR.parse()?).and_then(|view| view.decisions.into_iter().next());
            if let (Some(opened), Some(decision)) = (opened, decision)
                && decision.decided.mono >= first_shown
            {
                shown.push(opened.since(first_shown));
                read.push(opened.since(decision.presented.mono));
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    let mut typed = Vec::new();
    for _ in 0..rounds {
        until_locked(&doors).await?;
        locked().clear();
        for key in PIN.chars() {
            keypad.send(format!("key 0 {key}\n").as_bytes());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let last = clock.mono();
        keypad.send(b"key 0 #\n");
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if let Some(opened) = locked().first() {
                typed.push(opened.since(last));
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    watcher.abort();
    host.shutdown().await;
    server.shutdown().await;
    for times in [&mut shown, &mut read, &mut typed] {
        times.sort_unstable();
    }
    Ok(Measured { shown, read, typed })
}

async fn until_locked(doors: &Doors) -> Result<(), Box<dyn Error>> {
    let door = DOOR.parse()?;
    for _ in 0..2000 {
        let state = doors.get(&door).and_then(|view| view.last).map(|event| event.state);
        if state == Some(DoorState::Locked) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err("the door is never locked".into())
}

/// A grey yard with a little noise; in each second a card with its pass slides in and stays.
fn draw(passes: &[Secret]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut config = EncoderConfig::new(WIDTH, HEIGHT);
    config.level_idc = 31;
    config.qp = 26;
    config.gop_size = FRAMES_PER_SECOND as u32;
    config.scenecut = 0;
    config.bframes = 0;
    config.framerate = FRAMES_PER_SECOND as f32;
    let mut encoder = Encoder::new(config).map_err(|error| format!("the encoder refuses its settings: {error:?}"))?;
    let mut stream = Vec::new();
    for second in 0..LEAD_SECONDS + passes.len() {
        let card = match second.checked_sub(LEAD_SECONDS).and_then(|number| passes.get(number)) {
            Some(pass) => Some(QrCode::with_error_correction_level(pass.expose(), EcLevel::M)?),
            None => None,
        };
        for number in 0..FRAMES_PER_SECOND {
            let is_shown = (SHOWN_FROM..SHOWN_FROM + SHOWN_FRAMES).contains(&number);
            let seed = (second * FRAMES_PER_SECOND + number) as u32;
            stream.extend(encoder.encode(&frame(card.as_ref().filter(|_| is_shown), number, seed)));
        }
    }
    stream.extend(encoder.flush());
    Ok(stream)
}

fn frame(card: Option<&QrCode>, number: usize, seed: u32) -> YuvFrame {
    let mut y = vec![0_u8; WIDTH * HEIGHT];
    let mut noise = seed.wrapping_mul(0x9e37_79b9) | 1;
    for (index, pixel) in y.iter_mut().enumerate() {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        let (across, down) = (index % WIDTH, index / WIDTH);
        *pixel = (90 + across / 32 + down / 24 + usize::from(noise as u8 & 3)) as u8;
    }
    if let Some(card) = card {
        let modules = card.width();
        let colours = card.to_colors();
        let side = (modules + 8) * MODULE_PIXELS;
        // A hand is never still.
        let (left, top) = (400 + number % 3, 120 + number % 2);
        for down in 0..side {
            for across in 0..side {
                let (column, row) = (across / MODULE_PIXELS, down / MODULE_PIXELS);
                let is_inside = (4..modules + 4).contains(&column) && (4..modules + 4).contains(&row);
                let is_dark = is_inside && colours[(row - 4) * modules + column - 4] == Color::Dark;
                y[(top + down) * WIDTH + left + across] = if is_dark { 30 } else { 225 };
            }
        }
    }
    let chroma = vec![128_u8; WIDTH / 2 * (HEIGHT / 2)];
    let mut picture = YuvFrame::black(WIDTH, HEIGHT);
    (picture.y, picture.u, picture.v) = (y, chroma.clone(), chroma);
    picture
}
