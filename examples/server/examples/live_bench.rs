//! Measures the live view from a frame's birth to its pixels: `e2e/latency.mjs` drives this program and a browser.
//!
//! `live_bench serve` draws 25 pictures a second that carry the moment they were drawn as black and white blocks, codes
//! them (pure Rust, no look-ahead), makes fragments of them and serves them with the product's own hub and player.
//! `live_bench load ws://HOST:PORT/live N SECONDS` is N viewers who read and acknowledge.
//!
//! The page may disturb the camera: `POST /control/stall?ms=`, `/control/size?width=`, `/control/offline?ms=`.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use godvision_core::signal::media::{
    Codec, Fragment, FrameKind, InitSegment, Packet, StreamState, StreamStatus, VideoFormat,
};
use godvision_core::{Clock, Name, SystemClock};
use godvision_rtsp::Fragmenter;
use godvision_server::web::live::{self, LiveHub, LiveLimits};
use rusty_h264::{Encoder, EncoderConfig, Preset, YuvFrame};

const FRAMES_PER_SECOND: u64 = 25;
const GROUP: u32 = 50;
/// Blocks in a row; two rows carry 48 bits of milliseconds and 8 of checksum.
const BLOCKS: usize = 28;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match args[..] {
        ["serve"] => runtime.block_on(serve("127.0.0.1:0")),
        ["serve", listen] => runtime.block_on(serve(listen)),
        ["load", url, viewers, seconds] => {
            runtime.block_on(load(url, viewers.parse()?, Duration::from_secs(seconds.parse()?)))
        }
        _ => Err("usage: live_bench serve [HOST:PORT] | live_bench load ws://HOST:PORT/live VIEWERS SECONDS".into()),
    }
}

#[derive(Clone)]
struct Bench {
    hub: LiveHub,
    camera: Name,
    jpeg_camera: Name,
    control: Arc<Control>,
}

/// What the page asks of the camera.
#[derive(Default)]
struct Control {
    stall_ms: AtomicU64,
    offline_ms: AtomicU64,
    width: AtomicU32,
    /// Time spent drawing, coding and fragmenting: sum in microseconds, and count.
    made_us: AtomicU64,
    made: AtomicU64,
}

async fn serve(listen: &str) -> Result<(), Failure> {
    let clock = SystemClock::shared();
    let bench = Bench {
        hub: LiveHub::new(LiveLimits { viewers_max: 1000, ..LiveLimits::default() }, clock.clone()),
        camera: Name::new("bench/camera")?,
        jpeg_camera: Name::new("bench/jpeg")?,
        control: Arc::default(),
    };
    bench.control.width.store(1280, Ordering::Relaxed);
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("http://{}", listener.local_addr()?);
    tokio::spawn(generate(bench.clone(), clock.clone()));
    tokio::spawn(generate_jpeg(bench.clone(), clock));
    let app = Router::new()
        .route("/", get(|| async { page(1) }))
        .route("/grid", get(|| async { page(16) }))
        .route("/player.js", get(|| asset("text/javascript", include_str!("../assets/player.js"))))
        .route("/live.css", get(|| asset("text/css", include_str!("../assets/live.css"))))
        .route("/live", any(|State(bench): State<Bench>, upgrade| watch(upgrade, bench.camera.clone(), bench)))
        .route("/jpeg", any(|State(bench): State<Bench>, upgrade| watch(upgrade, bench.jpeg_camera.clone(), bench)))
        .route("/h265", any(|State(bench): State<Bench>, upgrade| h265(upgrade, bench)))
        .route("/control/{what}", post(control))
        .route("/report", get(report))
        .with_state(bench);
    axum::serve(listener, app).await?;
    Ok(())
}

fn page(players: usize) -> Response {
    let elements: String =
        (1..=players).map(|n| format!("<gv-player src=\"/live\" name=\"camera {n}\"></gv-player>")).collect();
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>live</title><link rel=icon href=data:,>\
         <link rel=stylesheet href=/live.css><script type=module src=/player.js></script>\
         <main class=gv-player-grid>{elements}</main>"
    );
    // The policy the server sends, so that a player which needs more is found out here.
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' blob:; \
                  img-src 'self' data: blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response()
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

async fn watch(upgrade: WebSocketUpgrade, camera: Name, bench: Bench) -> Response {
    live::limited(upgrade)
        .on_upgrade(async move |socket| live::serve_viewer(socket, &bench.hub, &camera, std::future::pending()).await)
}

/// A camera whose codec the test browser does not have: its announcement is enough.
async fn h265(upgrade: WebSocketUpgrade, bench: Bench) -> Response {
    let camera = Name::new("bench/h265").unwrap_or(bench.camera.clone());
    let format = Arc::new(VideoFormat {
        codec: Codec::H265,
        width: 1920,
        height: 1080,
        codec_name: "hvc1.1.6.L93.B0".into(),
        config: Bytes::new(),
    });
    bench.hub.publish(Fragment {
        source: camera.clone(),
        init: Arc::new(InitSegment {
            format,
            mime: "video/mp4; codecs=\"hvc1.1.6.L93.B0\"".into(),
            data: Bytes::from_static(b"-"),
        }),
        sequence: 0,
        session: 0,
        decode_ticks: 0,
        duration_ticks: 3600,
        at: SystemClock.now(),
        kind: FrameKind::Key,
        lost_before: 0,
        head: Bytes::new(),
        data: Bytes::from_static(b"-"),
    });
    watch(upgrade, camera, bench).await
}

#[derive(serde::Deserialize)]
struct Amount {
    ms: Option<u64>,
    width: Option<u32>,
}

async fn control(State(bench): State<Bench>, Path(what): Path<String>, Query(amount): Query<Amount>) -> String {
    let ms = amount.ms.unwrap_or(5000);
    match what.as_str() {
        "stall" => bench.control.stall_ms.store(ms, Ordering::Relaxed),
        "offline" => bench.control.offline_ms.store(ms, Ordering::Relaxed),
        "size" => bench.control.width.store(amount.width.unwrap_or(640), Ordering::Relaxed),
        _ => return format!("no control {what}"),
    }
    what
}

/// CPU seconds of this process so far (Linux), and what the camera costs, so that viewers' cost can be told apart.
async fn report(State(bench): State<Bench>) -> axum::Json<serde_json::Value> {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = [11, 12].iter().filter_map(|field| fields.get(*field)?.parse::<u64>().ok()).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rss_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let made = bench.control.made.load(Ordering::Relaxed).max(1);
    let counters = bench.hub.counters().into_iter().find(|(name, _)| *name == bench.camera);
    let counters = counters.map(|(_, counters)| counters).unwrap_or_default();
    axum::Json(serde_json::json!({
        "cpu_s": ticks as f64 / 100.0,
        "rss_mib": rss_kib / 1024,
        "make_ms_mean": bench.control.made_us.load(Ordering::Relaxed) as f64 / 1e3 / made as f64,
        "viewers": counters.viewers, "fragments": counters.fragments, "bytes": counters.bytes,
        "sent": counters.sent, "dropped": counters.dropped,
    }))
}

/// xorshift64.
fn noise(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// What does not move: a textured wall.
fn wall(width: usize, height: usize) -> YuvFrame {
    let mut frame = YuvFrame::black(width, height);
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for (y, row) in frame.y.chunks_exact_mut(width).enumerate() {
        let shade = (40 + y * 120 / height) as u8;
        row.iter_mut().for_each(|pixel| *pixel = shade + (noise(&mut state) & 15) as u8);
    }
    frame.u.fill(118);
    frame.v.fill(134);
    frame
}

/// Over the wall a moving box of fresh noise (about 2 Mbit/s at 720p), and the moment in blocks.
fn paint(frame: &mut YuvFrame, wall: &YuvFrame, unix_ms: u64, number: u64) {
    let (width, height) = (frame.width, frame.height);
    frame.clone_from(wall);
    let side = height / 8;
    let left = (number as usize * 8) % (width - side);
    let mut state = number.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    for row in frame.y.chunks_exact_mut(width).skip(height / 2).take(side) {
        for eight in row[left..left + side].chunks_mut(8) {
            let bits = noise(&mut state);
            eight.iter_mut().enumerate().for_each(|(x, pixel)| *pixel = 60 + (bits >> (x * 8) & 127) as u8);
        }
    }
    let block = block_side(width);
    let checksum = unix_ms.to_be_bytes().iter().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    let bits = (unix_ms & 0xffff_ffff_ffff) << 8 | u64::from(checksum);
    for (y, row) in frame.y.chunks_exact_mut(width).take(2 * block).enumerate() {
        for bit in 0..BLOCKS {
            let place = 55 - (y / block * BLOCKS + bit);
            let white = bits >> place & 1 == 1;
            row[bit * block..(bit + 1) * block].fill(if white { 235 } else { 16 });
        }
    }
}

fn block_side(width: usize) -> usize {
    width / 40
}

async fn generate(bench: Bench, clock: Arc<dyn Clock>) {
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / FRAMES_PER_SECOND));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut coder: Option<Coder> = None;
    let mut fragmenter = Fragmenter::new();
    let (mut number, mut session) = (0u64, 0);
    loop {
        tick.tick().await;
        let stall = bench.control.stall_ms.swap(0, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(stall)).await;
        let offline = bench.control.offline_ms.swap(0, Ordering::Relaxed);
        if offline > 0 {
            let status = |state, code, detail: &str| StreamStatus {
                source: bench.camera.clone(),
                at: clock.now(),
                state,
                code,
                detail: detail.to_owned(),
                format: None,
            };
            bench.hub.set_status(&status(StreamState::BackingOff, Some("refused"), "connection refused (bench)"));
            tokio::time::sleep(Duration::from_millis(offline)).await;
            bench.hub.set_status(&status(StreamState::Online, None, ""));
            session += 1;
            coder = None;
        }
        let width = bench.control.width.load(Ordering::Relaxed) as usize;
        if coder.as_ref().is_none_or(|coder| coder.frame.width != width) {
            coder = Coder::new(width).ok();
        }
        let Some(mut now_coder) = coder.take() else { return eprintln!("the encoder refuses {width} pixels") };
        let at = clock.now();
        let source = bench.camera.clone();
        let made = tokio::task::spawn_blocking(move || {
            let packet = now_coder.packet(source, at, number, session);
            (now_coder, packet)
        })
        .await;
        let Ok((back, packet)) = made else { return eprintln!("the encoder panicked") };
        coder = Some(back);
        if let Some(fragment) = fragmenter.push(&packet) {
            bench.hub.publish(fragment);
        }
        number += 1;
        bench.control.made.fetch_add(1, Ordering::Relaxed);
        let took = clock.now().mono - at.mono;
        bench.control.made_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }
}

struct Coder {
    encoder: Encoder,
    wall: YuvFrame,
    frame: YuvFrame,
    format: Option<Arc<VideoFormat>>,
}

impl Coder {
    fn new(width: usize) -> Result<Self, Failure> {
        let height = width * 9 / 16;
        // One access unit a picture: no look-ahead of any kind.
        let mut config = EncoderConfig::baseline(width, height);
        config.mbtree = false;
        config.preset = Preset::Fast;
        config.gop_size = GROUP;
        config.scenecut = 0;
        config.qp = 26;
        config.framerate = FRAMES_PER_SECOND as f32;
        let encoder = Encoder::new(config).map_err(|error| format!("{error:?}"))?;
        Ok(Self { encoder, wall: wall(width, height), frame: YuvFrame::black(width, height), format: None })
    }

    fn packet(&mut self, source: Name, at: godvision_core::Stamp, number: u64, session: u32) -> Packet {
        paint(&mut self.frame, &self.wall, at.wall.as_unix_millis() as u64, number);
        let annex_b = self.encoder.encode(&self.frame);
        let mut data = Vec::with_capacity(annex_b.len() + 64);
        let (mut sps, mut pps, mut key) = (None, None, false);
        for nal in nal_units(&annex_b) {
            match nal[0] & 31 {
                7 => sps = Some(nal.to_vec()),
                8 => pps = Some(nal.to_vec()),
                kind => {
                    key |= kind == 5;
                    data.extend_from_slice(&(nal.len() as u32).to_be_bytes());
                    data.extend_from_slice(nal);
                }
            }
        }
        if let (Some(sps), Some(pps)) = (sps, pps) {
            let mut config = vec![1, sps[1], sps[2], sps[3], 0xff, 0xe1];
            config.extend_from_slice(&(sps.len() as u16).to_be_bytes());
            config.extend_from_slice(&sps);
            config.push(1);
            config.extend_from_slice(&(pps.len() as u16).to_be_bytes());
            config.extend_from_slice(&pps);
            if self.format.as_ref().is_none_or(|format| format.config != config) {
                self.format = Some(Arc::new(VideoFormat {
                    codec: Codec::H264,
                    width: self.frame.width as u16,
                    height: self.frame.height as u16,
                    codec_name: format!("avc1.{:02x}{:02x}{:02x}", sps[1], sps[2], sps[3]),
                    config: config.into(),
                }));
            }
        }
        Packet {
            source,
            format: self.format.clone().expect("the first frame carries parameter sets"),
            sequence: number,
            session,
            // Real cameras stamp the capture, not the plan.
            pts_ticks: (at.mono.as_nanos() / 1000 * 9 / 100) as i64,
            at,
            kind: if key { FrameKind::Key } else { FrameKind::Delta },
            lost_before: 0,
            data: data.into(),
        }
    }
}

/// NAL units of an Annex B stream with 3 or 4 byte start codes.
fn nal_units(annex_b: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> =
        annex_b.windows(3).enumerate().filter(|(_, three)| *three == [0, 0, 1]).map(|(at, _)| at + 3).collect();
    let ends: Vec<usize> = starts.iter().skip(1).map(|start| start - 3).chain([annex_b.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| {
        let nal = &annex_b[start..end];
        &nal[..nal.len() - nal.iter().rev().take_while(|byte| **byte == 0).count()]
    })
}

/// JPEG images of the same kind, 10 a second, for the canvas path.
async fn generate_jpeg(bench: Bench, clock: Arc<dyn Clock>) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let format = Arc::new(VideoFormat {
        codec: Codec::Mjpeg,
        width: 640,
        height: 360,
        codec_name: "mp4v.6C".into(),
        config: Bytes::new(),
    });
    let init = Arc::new(InitSegment { format, mime: "image/jpeg".into(), data: Bytes::new() });
    let (wall, mut frame) = (wall(640, 360), YuvFrame::black(640, 360));
    for number in 0u64.. {
        tick.tick().await;
        if bench.hub.viewers(&bench.jpeg_camera) == 0 {
            continue;
        }
        let at = clock.now();
        paint(&mut frame, &wall, at.wall.as_unix_millis() as u64, number);
        let mut data = Vec::new();
        let coder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut data, 85);
        if image::ImageEncoder::write_image(coder, &frame.y, 640, 360, image::ExtendedColorType::L8).is_err() {
            return eprintln!("the JPEG encoder refuses the picture");
        }
        bench.hub.publish(Fragment {
            source: bench.jpeg_camera.clone(),
            init: init.clone(),
            sequence: number,
            session: 0,
            decode_ticks: number * 9000,
            duration_ticks: 9000,
            at,
            kind: FrameKind::Key,
            lost_before: 0,
            head: Bytes::new(),
            data: data.into(),
        });
    }
}

/// `viewers` connections that read, count and acknowledge, as the player does.
async fn load(url: &str, viewers: usize, time: Duration) -> Result<(), Failure> {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let counted = Arc::new([const { AtomicU64::new(0) }; 3]);
    let mut tasks = Vec::new();
    for _ in 0..viewers {
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
        let counted = counted.clone();
        tasks.push(tokio::spawn(async move {
            let mut taken = 0u64;
            while let Some(Ok(message)) = socket.next().await {
                match message {
                    Message::Binary(bytes) => {
                        taken += 1;
                        counted[0].fetch_add(1, Ordering::Relaxed);
                        counted[1].fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        if taken.is_multiple_of(5) {
                            let ack = format!("{{\"type\":\"ack\",\"fragments\":{}}}", taken.saturating_sub(1));
                            if socket.send(Message::text(ack)).await.is_err() {
                                return;
                            }
                        }
                    }
                    Message::Text(text) if text.contains("\"dropped\"") => {
                        counted[2].fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
        }));
    }
    println!("joined");
    let before: Vec<u64> = counted.iter().map(|one| one.load(Ordering::Relaxed)).collect();
    tokio::time::sleep(time).await;
    let after: Vec<u64> = counted.iter().map(|one| one.load(Ordering::Relaxed)).collect();
    println!(
        "{}",
        serde_json::json!({
            "viewers": viewers, "seconds": time.as_secs_f64(), "messages": after[0] - before[0],
            "bytes": after[1] - before[1], "dropped_notices": after[2], "ended": tasks.iter().filter(|task| task.is_finished()).count(),
        })
    );
    Ok(())
}
