//! [`Camera`]: a camera that stays connected. Give it an address; take packets and states for as long as you like.
//!
//! One task reads the session and does nothing else: it never decodes, muxes or waits for its reader. Between it and
//! [`Camera::next`] lies a bounded queue; a reader that falls behind by [`QUEUE_EVENTS`] frames loses whole groups of
//! pictures (counted), never halves of them, and never slows the camera's connection down.
//!
//! **Never:** a second session for the same stream, decoding, an end: it reconnects until it is dropped.

use std::sync::Arc;
use std::time::Duration;

use godvision_core::signal::media::{Packet, StreamState, StreamStatus, VideoFormat};
use godvision_core::{Clock, MonoTime, Name, SystemClock};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use crate::error::Error;
use crate::session::{Session, SessionOptions, Transport};
use crate::supervisor::{Arrival, Counters, Step, Supervision, Supervisor, Verdict};
use crate::timeline::SenderClock;
use crate::url::CameraUrl;

/// Most frames and states that wait for the reader: 10 s at 25 frames a second.
pub const QUEUE_EVENTS: usize = 256;

/// What a camera needs.
#[derive(Clone, Debug)]
pub struct CameraOptions {
    /// Its name: the packets' source, and who errors are about.
    pub name: Name,
    /// Where it is.
    pub url: CameraUrl,
    /// Watchdog, back-off and transport.
    pub supervision: Supervision,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Number of the first session. Who replaces a camera by another of the same name gives a new one.
    pub first_session: u32,
    /// Where the time is read.
    pub clock: Arc<dyn Clock>,
}

impl CameraOptions {
    /// Defaults: 3 s to notice a stall, 5 s to connect, TCP unless refused, the system's clock, a random jitter.
    pub fn new(name: Name, url: CameraUrl) -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        // The standard library's per-process random keys: enough to spread retries, and no dependency.
        let seed = RandomState::new().hash_one(name.as_str());
        Self {
            name,
            url,
            supervision: Supervision { seed, ..Supervision::default() },
            connect_timeout: Duration::from_secs(5),
            first_session: 0,
            clock: SystemClock::shared(),
        }
    }
}

/// What comes from a camera.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CameraEvent {
    /// A frame that can be decoded, as far as its predecessors were taken.
    Packet(Packet),
    /// The camera's state changed.
    Status(StreamStatus),
}

/// What a camera is about at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CameraReport {
    /// Everything counted since it was switched on.
    pub counters: Counters,
    /// How packets travel.
    pub transport: Transport,
    /// Whether the camera's clock is believed, in the current or the last session.
    pub sender_clock: SenderClock,
}

/// A camera that stays connected until it is dropped.
#[derive(Debug)]
pub struct Camera {
    events: mpsc::Receiver<CameraEvent>,
    report: watch::Receiver<CameraReport>,
    reader: tokio::task::JoinHandle<()>,
}

impl Camera {
    /// Starts connecting and returns at once. Must be called inside a tokio runtime with time and IO.
    pub fn connect(options: CameraOptions) -> Self {
        let (to_events, events) = mpsc::channel(QUEUE_EVENTS);
        let (to_report, report) = watch::channel(CameraReport::default());
        let supervisor = Supervisor::new(options.name.clone(), options.supervision.clone());
        let link = Link { events: to_events, report: to_report, waiting: None };
        let reader = Reader {
            options,
            supervisor,
            link,
            format: None,
            next_sequence: 0,
            last_stamp: MonoTime::ZERO,
            sender_clock: SenderClock::Silent,
        };
        Self { events, report, reader: tokio::spawn(Box::pin(reader.run())) }
    }

    /// Waits for the next frame or state. Dropping the future loses nothing. Never ends.
    pub async fn next(&mut self) -> CameraEvent {
        match self.events.recv().await {
            Some(event) => event,
            // Only a bug of ours ends the reader; it is in the log by then.
            None => std::future::pending().await,
        }
    }

    /// What has happened so far.
    pub fn report(&self) -> CameraReport {
        *self.report.borrow()
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The reading task's way to the owner.
struct Link {
    events: mpsc::Sender<CameraEvent>,
    report: watch::Sender<CameraReport>,
    /// A state that found the queue full; newer ones replace it.
    waiting: Option<StreamStatus>,
}

impl Link {
    /// False if the queue is full.
    fn packet(&mut self, packet: Packet) -> bool {
        self.flush() && self.events.try_send(CameraEvent::Packet(packet)).is_ok()
    }

    fn status(&mut self, status: StreamStatus) {
        self.waiting = Some(status);
        self.flush();
    }

    /// True if no state waits any more.
    fn flush(&mut self) -> bool {
        let Some(status) = self.waiting.take() else { return true };
        match self.events.try_send(CameraEvent::Status(status)) {
            Err(TrySendError::Full(CameraEvent::Status(status))) => {
                self.waiting = Some(status);
                false
            }
            _ => true,
        }
    }
}

struct Reader {
    options: CameraOptions,
    supervisor: Supervisor,
    link: Link,
    format: Option<Arc<VideoFormat>>,
    next_sequence: u64,
    last_stamp: MonoTime,
    sender_clock: SenderClock,
}

impl Reader {
    async fn run(mut self) {
        let mut session = None;
        loop {
            self.tell(session.as_ref());
            let now = self.options.clock.mono();
            match self.supervisor.step(now) {
                Step::Wait { until } => {
                    session = None;
                    // A state that found the queue full is offered again meanwhile.
                    let pause = until.since(now).min(Duration::from_millis(if self.link.waiting.is_some() {
                        100
                    } else {
                        60_000
                    }));
                    tokio::time::sleep(pause).await;
                }
                Step::Connect { transport, session: number } => session = self.connect(transport, number).await,
                Step::Read { until } => {
                    if !self.read(&mut session, until.since(now)).await {
                        session = None;
                    }
                }
            }
        }
    }

    async fn connect(&mut self, transport: Transport, number: u32) -> Option<Session> {
        let options = SessionOptions {
            camera: self.options.name.clone(),
            url: self.options.url.clone(),
            transport,
            connect_timeout: self.options.connect_timeout,
            number: self.options.first_session.wrapping_add(number),
            first_sequence: self.next_sequence,
            after: self.last_stamp,
        };
        let result = Session::connect(options, Arc::clone(&self.options.clock)).await;
        let now = self.options.clock.mono();
        match result {
            Ok(session) => {
                self.supervisor.connected(now);
                Some(session)
            }
            Err(error) => {
                self.supervisor.failed(now, error);
                None
            }
        }
    }

    /// Reads one frame. False if the session is over.
    async fn read(&mut self, session: &mut Option<Session>, patience: Duration) -> bool {
        let Some(open) = session else {
            // Reading without a session is a bug; treat it as an end so that supervision goes on.
            self.supervisor.failed(self.options.clock.mono(), Error::Ended { camera: self.options.name.clone() });
            return false;
        };
        let result = tokio::time::timeout(patience, open.next()).await;
        let now = self.options.clock.mono();
        match result {
            Ok(Ok(packet)) => {
                self.take(now, packet);
                // Frames may come and come, and none be of use.
                match self.supervisor.overdue(now) {
                    Some(error) => {
                        self.supervisor.failed(now, error);
                        false
                    }
                    None => true,
                }
            }
            Ok(Err(error)) => {
                self.supervisor.failed(now, error);
                false
            }
            Err(_) => match self.supervisor.overdue(now) {
                Some(error) => {
                    self.supervisor.failed(now, error);
                    false
                }
                None => true,
            },
        }
    }

    fn take(&mut self, now: MonoTime, packet: Packet) {
        self.next_sequence = packet.sequence + 1;
        self.last_stamp = self.last_stamp.max(packet.at.mono);
        self.format = Some(Arc::clone(&packet.format));
        let arrival = Arrival { kind: packet.kind, bytes: packet.data.len(), lost_before: packet.lost_before };
        if self.supervisor.received(now, arrival) == Verdict::Forward {
            // The state goes first, so that the first packet finds the camera online.
            self.tell_changes();
            if !self.link.packet(packet) {
                self.supervisor.reader_behind();
            }
        }
    }

    fn tell(&mut self, session: Option<&Session>) {
        self.tell_changes();
        self.link.flush();
        self.sender_clock = session.map_or(self.sender_clock, Session::sender_clock);
        let report = CameraReport {
            counters: self.supervisor.counters(),
            transport: self.supervisor.transport(),
            sender_clock: self.sender_clock,
        };
        self.link.report.send_if_modified(|known| std::mem::replace(known, report) != report);
    }

    fn tell_changes(&mut self) {
        while let Some(change) = self.supervisor.take_change() {
            let detail = match (&change.error, change.state) {
                (Some(error), _) => error.in_words(),
                (None, StreamState::Online) => match &self.format {
                    Some(format) => format!("{} {}x{}", format.codec, format.width, format.height),
                    None => String::new(),
                },
                (None, _) => String::new(),
            };
            tracing::info!(camera = %self.options.name, state = %change.state, %detail, "camera");
            self.link.status(StreamStatus {
                source: self.options.name.clone(),
                at: self.options.clock.now(),
                state: change.state,
                code: change.error.as_ref().map(Error::code),
                detail,
                format: self.format.clone(),
            });
        }
    }
}
