//! The bus component `camera`: a [`Camera`] behind ports.
//!
//! | output | what |
//! |---|---|
//! | `packets` | every frame that can be decoded, as it came |
//! | `fragments` | the same frames as fMP4, made once for all who watch and record |
//! | `pictures` | decoded frames, while somebody wants them |
//! | `status` | changes of the camera's state |
//!
//! **Reading never waits for decoding.** Pictures are decoded on a thread of their own, started when a picture is first
//! wanted. Nothing is decoded while nobody takes pictures; when somebody does again, decoding begins at the next key
//! frame. If the thread falls behind by [`DECODE_QUEUE_PACKETS`], it skips to the next key frame, and that is counted:
//! analysis is shed first, recording never.
//!
//! **Never:** the address or the password in a status, an entry or an error.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Credits, Fault, Kind, Output, ParamError, ParamKind, ParamSpec, Params, PortSpec, Unit,
    UnitSpec,
};
use godvision_core::journal::{BoxFuture, Level};
use godvision_core::secret::Secret;
use godvision_core::signal::media::{Fragment, FrameKind, Packet, Picture, StreamState, StreamStatus};
use godvision_core::{MonoTime, Name};

use crate::camera::{Camera, CameraEvent, CameraOptions};
use crate::decode::{self, Chroma, DecodeError, DecodeOptions, Decoder, Frames};
use crate::fragment::Fragmenter;
use crate::session::Transport;
use crate::supervisor::TransportChoice;
use crate::timeline::SenderClock;
use crate::url::{CameraUrl, Login};

/// Most packets that wait for the decoding thread: 1.3 s at 25 frames a second.
pub const DECODE_QUEUE_PACKETS: usize = 32;
/// Most pictures in the graph at once. A picture of 1080p luma is 2 MB, so this bounds memory, too.
pub const PICTURES_IN_FLIGHT: u32 = 4;
/// Pictures that nobody has wanted for this long are no longer decoded.
pub const UNWANTED_AFTER: Duration = Duration::from_secs(1);

/// Makes `camera` components.
#[derive(Debug)]
pub struct CameraUnit {
    spec: UnitSpec,
}

impl Default for CameraUnit {
    fn default() -> Self {
        let seconds = |min, max| ParamKind::Seconds { min, max };
        Self {
            spec: UnitSpec {
                name: "camera",
                about: "one stream of an IP camera over RTSP: packets, fragments to watch and record, pictures on demand",
                kind: Kind::Generator,
                inputs: vec![],
                outputs: vec![
                    PortSpec::output::<Packet>("packets"),
                    PortSpec::output::<Fragment>("fragments"),
                    PortSpec::credited_output::<Picture>("pictures", PICTURES_IN_FLIGHT),
                    PortSpec::output::<StreamStatus>("status"),
                ],
                params: vec![
                    ParamSpec::required("url", ParamKind::Secret, "rtsp://user:password@host:554/path"),
                    ParamSpec::optional("username", ParamKind::Secret, "who logs in, if not in the address"),
                    ParamSpec::optional("password", ParamKind::Secret, "the password, if not in the address"),
                    ParamSpec::with_default(
                        "transport",
                        ParamKind::Choice(&["auto", "tcp", "udp"]),
                        "auto",
                        "auto: TCP unless the camera refuses it; udp: TCP if UDP is refused or silent",
                    ),
                    ParamSpec::with_default("stall", seconds(0.5, 60.0), 3.0, "silence that counts as a loss"),
                    ParamSpec::with_default("connect_timeout", seconds(0.5, 60.0), 5.0, "longest time to connect"),
                    ParamSpec::with_default(
                        "decode",
                        ParamKind::Choice(&["all", "keys"]),
                        "all",
                        "which frames become pictures: all, or key frames only (5 to 8 times less work)",
                    ),
                    ParamSpec::with_default("colour", ParamKind::Flag, false, "whether pictures carry colour"),
                ],
            },
        }
    }
}

impl Unit for CameraUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, name: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let url = params.secret("url").map(Secret::expose).unwrap_or_default();
        let url = CameraUrl::parse(url).map_err(|error| params.error("url", error.to_string()))?;
        let login = match (params.secret("username"), params.secret("password")) {
            (None, None) => None,
            (None, Some(_)) => return Err(params.error("password", "needs a username beside it")),
            (Some(username), password) => {
                Some(Login { username: username.clone(), password: password.cloned().unwrap_or_default() })
            }
        };
        let mut options = CameraOptions::new(name.clone(), url.with_login(login));
        options.supervision.transport = match params.text("transport") {
            Some("tcp") => TransportChoice::Tcp,
            Some("udp") => TransportChoice::Udp,
            _ => TransportChoice::Auto,
        };
        if let Some(stall) = params.seconds("stall") {
            options.supervision.stall_timeout = stall;
        }
        if let Some(timeout) = params.seconds("connect_timeout") {
            options.connect_timeout = timeout;
        }
        let decode = DecodeOptions {
            chroma: if params.flag("colour") { Chroma::Keep } else { Chroma::Drop },
            frames: if params.text("decode") == Some("keys") { Frames::KeyOnly } else { Frames::All },
            ..DecodeOptions::default()
        };
        Ok(Box::new(CameraComponent { options, decode }))
    }
}

/// Makes the camera's counters visible in the component's status.
fn show_counts(cx: &Context, camera: &Camera, pictures: &Pictures) {
    let report = camera.report();
    let it = report.counters;
    for (name, value) in [
        ("frames", it.frames),
        ("key_frames", it.key_frames),
        ("bytes", it.bytes),
        ("lost_packets", it.lost_packets),
        ("dropped_awaiting_key", it.dropped_awaiting_key),
        ("dropped_reader_behind", it.dropped_reader_behind),
        ("sessions", it.sessions.into()),
        ("failed_tries", it.failed_tries.into()),
        ("stalls", it.stalls.into()),
        ("transport_changes", it.transport_changes.into()),
        ("longest_gap_ms", it.longest_gap_ms),
        ("over_udp", u64::from(report.transport == Transport::Udp)),
        ("sender_clock_trusted", u64::from(report.sender_clock == SenderClock::Trusted)),
        ("decode_skips", pictures.skipped_behind),
        ("pictures_decoded", pictures.shared.decoded.load(Ordering::Relaxed)),
        ("pictures_untaken", pictures.shared.untaken.load(Ordering::Relaxed)),
    ] {
        cx.show_count(name, value);
    }
}

struct CameraComponent {
    options: CameraOptions,
    decode: DecodeOptions,
}

impl Component for CameraComponent {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let packets = cx.output::<Packet>("packets")?;
            let fragments = cx.output::<Fragment>("fragments")?;
            let status = cx.output::<StreamStatus>("status")?;
            let mut pictures = Pictures::new(cx.output::<Picture>("pictures")?, self.decode);
            let mut options = self.options.clone();
            options.clock = Arc::clone(cx.clock());
            // A component that was replaced or restarted must not look like a continuation of its predecessor.
            options.first_session = u32::try_from(cx.now().wall.as_unix_seconds()).unwrap_or(0);
            let mut fragmenter = Fragmenter::new();
            let mut camera = Camera::connect(options);
            let mut stopping = cx.stopping();
            let mut every_second = tokio::time::interval(Duration::from_secs(1));
            let mut refusing = false;
            loop {
                let event = tokio::select! {
                    () = stopping.wait() => break,
                    event = camera.next() => event,
                    _ = every_second.tick() => {
                        show_counts(cx, &camera, &pictures);
                        continue;
                    }
                };
                match event {
                    CameraEvent::Packet(packet) => {
                        pictures.offer(&packet, cx.clock().mono());
                        if let Some(fragment) = fragmenter.push(&packet) {
                            let refused = fragments.send(fragment).refused > 0;
                            if refused && !refusing {
                                cx.log(
                                    Level::Error,
                                    "camera.recording_behind",
                                    "a recorder does not take fragments as fast as they come",
                                )
                                .await;
                            }
                            // Said once an episode: the next key frame that is taken ends it.
                            refusing = refused || (refusing && packet.kind == FrameKind::Delta);
                        }
                        packets.send(packet);
                    }
                    CameraEvent::Status(change) => {
                        show_counts(cx, &camera, &pictures);
                        let level = match change.state {
                            StreamState::Connecting | StreamState::Online | StreamState::Stopped => Level::Info,
                            StreamState::Stalled | StreamState::BackingOff => Level::Warning,
                            StreamState::NeedsAttention => Level::Error,
                        };
                        let code = change.code.unwrap_or(match change.state {
                            StreamState::Online => "online",
                            StreamState::Connecting => "connecting",
                            _ => "status",
                        });
                        let text = match change.detail.as_str() {
                            "" => change.state.to_string(),
                            detail => format!("{}: {detail}", change.state),
                        };
                        cx.log(level, &format!("camera.{code}"), text).await;
                        status.send(change);
                    }
                }
                if let Some(error) = pictures.take_error() {
                    cx.log(Level::Warning, &format!("camera.{}", error.code()), error.to_string()).await;
                }
            }
            Ok(())
        })
    }
}

/// The way from packets to pictures.
struct Pictures {
    output: Output<Picture>,
    options: DecodeOptions,
    worker: Option<SyncSender<Packet>>,
    shared: Arc<Shared>,
    last_wanted: Option<MonoTime>,
    /// Packets are left out until a key frame, since pictures were not wanted or the thread was behind.
    needs_key: bool,
    skipped_behind: u64,
}

/// What the decoding thread tells.
#[derive(Default)]
struct Shared {
    has_error: AtomicBool,
    error: Mutex<Option<DecodeError>>,
    /// Pictures that came out of the decoder.
    decoded: AtomicU64,
    /// Those that nobody could take when they were ready.
    untaken: AtomicU64,
}

impl Pictures {
    fn new(output: Output<Picture>, options: DecodeOptions) -> Self {
        Self {
            output,
            options,
            worker: None,
            shared: Arc::default(),
            last_wanted: None,
            needs_key: true,
            skipped_behind: 0,
        }
    }

    /// Hands the packet to the decoding thread if pictures are wanted. Never waits.
    fn offer(&mut self, packet: &Packet, now: MonoTime) {
        if self.output.is_wanted() {
            self.last_wanted = Some(now);
        }
        if self.last_wanted.is_none_or(|wanted| now.since(wanted) > UNWANTED_AFTER) {
            self.needs_key = true;
            return;
        }
        if self.needs_key && packet.kind != FrameKind::Key {
            return;
        }
        let worker = match &self.worker {
            Some(worker) => worker,
            None => match start_worker(&packet.source, self.output.clone(), self.options, Arc::clone(&self.shared)) {
                Some(worker) => self.worker.insert(worker),
                None => return,
            },
        };
        match worker.try_send(packet.clone()) {
            Ok(()) => self.needs_key = false,
            Err(TrySendError::Full(_)) => {
                self.needs_key = true;
                self.skipped_behind += 1;
                tracing::debug!(camera = %packet.source, times = self.skipped_behind, "decoding is behind: skipping to a key frame");
            }
            // The thread ended: only a panic of ours does that. The next key frame starts another.
            Err(TrySendError::Disconnected(_)) => {
                self.needs_key = true;
                self.worker = None;
            }
        }
    }

    fn take_error(&self) -> Option<DecodeError> {
        if !self.shared.has_error.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Starts the decoding thread; it ends when the sender is dropped. `None` if the system has no thread left.
fn start_worker(
    camera: &Name,
    output: Output<Picture>,
    options: DecodeOptions,
    shared: Arc<Shared>,
) -> Option<SyncSender<Packet>> {
    let (to_worker, packets) = sync_channel(DECODE_QUEUE_PACKETS);
    let worker = Worker { packets, output, options, shared, credits: Credits::new(PICTURES_IN_FLIGHT), said: None };
    let named = std::thread::Builder::new().name(format!("decode {}", camera.leaf()));
    match named.spawn(move || worker.run()) {
        Ok(_) => Some(to_worker),
        Err(error) => {
            tracing::error!(%camera, %error, "cannot start a thread for decoding");
            None
        }
    }
}

struct Worker {
    packets: Receiver<Packet>,
    output: Output<Picture>,
    options: DecodeOptions,
    shared: Arc<Shared>,
    credits: Credits,
    /// Code of the error that was told last: the same one is not told for every frame.
    said: Option<&'static str>,
}

impl Worker {
    fn run(mut self) {
        let mut decoder: Option<Box<dyn Decoder>> = None;
        let mut pictures = Vec::new();
        while let Ok(packet) = self.packets.recv() {
            let result = self.decode(&mut decoder, &packet, &mut pictures);
            for picture in pictures.drain(..) {
                self.emit(picture);
            }
            match result {
                Ok(()) if packet.kind == FrameKind::Key => self.said = None,
                Ok(()) => {}
                Err(error) => {
                    if matches!(error, DecodeError::Codec { .. }) {
                        decoder = None;
                    }
                    self.tell(error);
                }
            }
        }
    }

    fn decode(
        &self,
        decoder: &mut Option<Box<dyn Decoder>>,
        packet: &Packet,
        pictures: &mut Vec<Picture>,
    ) -> Result<(), DecodeError> {
        let decoder = match decoder {
            Some(decoder) => decoder,
            None => decoder.insert(decode::open(&packet.format, self.options)?),
        };
        decoder.decode(packet, pictures)
    }

    fn emit(&self, picture: Picture) {
        self.shared.decoded.fetch_add(1, Ordering::Relaxed);
        let credit = self.output.is_wanted().then(|| self.credits.try_take()).flatten();
        match credit {
            Some(credit) => {
                self.output.send_credited(picture, &credit);
            }
            None => {
                self.shared.untaken.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn tell(&mut self, error: DecodeError) {
        if self.said == Some(error.code()) {
            return;
        }
        self.said = Some(error.code());
        *self.shared.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.shared.has_error.store(true, Ordering::Release);
    }
}
