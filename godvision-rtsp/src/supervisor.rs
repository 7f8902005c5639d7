//! [`Supervisor`]: what to do next with a camera that comes and goes. A value without IO: moments and facts in, the next
//! [`Step`] out. [`crate::Camera`] carries the steps out.
//!
//! ```text
//!            +---- connect ----> Connecting --- error ---+
//!            |                       |                   v
//!   Waiting (back-off) <--- error ---+-- stands --> Reading -- no frame in time / end / error --> Waiting
//! ```
//!
//! * No frame for [`Supervision::stall_timeout`] is a loss, and so is the end of the stream.
//! * Back-off doubles from [`Supervision::backoff_first`] to [`Supervision::backoff_max`] with jitter, and starts anew
//!   after [`Supervision::healthy_after`] of frames. A wrong password is tried again only every
//!   [`Supervision::attention_every`]: cameras lock accounts.
//! * A refused or silent transport is exchanged for the other one, as far as the owner allows.
//! * After a loss, frames wait for a key frame, because the ones between cannot be decoded.
//! * A status is said once, not at every retry.
//!
//! **Never:** clocks, sockets, randomness of its own (the seed is an option).

use std::time::Duration;

use godvision_core::signal::media::{FrameKind, StreamState};
use godvision_core::{MonoTime, Name};

use crate::error::{Error, Retry};
use crate::session::Transport;

/// The watchdog never waits longer than this, however slow the stream is.
pub const STALL_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// A UDP session whose frames all wait for a key frame this long will not get one: key frames are the largest bursts, and
/// where the receive buffer is too small they are the ones that are always hit.
pub const UDP_DARK_MAX: Duration = Duration::from_secs(10);
/// Statuses that are kept for a reader who does not take them; the oldest go first.
pub const CHANGES_MAX: usize = 16;

/// Which transports may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransportChoice {
    /// TCP; UDP only if the camera refuses TCP.
    #[default]
    Auto,
    /// TCP only.
    Tcp,
    /// UDP; TCP if UDP is refused, delivers nothing or no whole key frame.
    Udp,
}

/// How a camera is supervised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervision {
    /// A playing stream without a frame for this long is lost. Streams slower than this get four of their intervals.
    pub stall_timeout: Duration,
    /// Longest wait for the first frame after the camera agreed to play.
    pub first_frame_timeout: Duration,
    /// Wait before the first retry; the real one is a random 50 to 100 % of it.
    pub backoff_first: Duration,
    /// Longest wait between retries.
    pub backoff_max: Duration,
    /// After frames for this long the back-off starts anew.
    pub healthy_after: Duration,
    /// Wait between retries when trying cannot help (wrong password).
    pub attention_every: Duration,
    /// Which transports may be used.
    pub transport: TransportChoice,
    /// Seed of the jitter: give each camera another, so that they do not return all at once.
    pub seed: u64,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            stall_timeout: Duration::from_secs(3),
            first_frame_timeout: Duration::from_secs(5),
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            healthy_after: Duration::from_secs(5),
            attention_every: Duration::from_secs(300),
            transport: TransportChoice::Auto,
            seed: 1,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connect now; then tell [`Supervisor::connected`] or [`Supervisor::failed`].
    Connect {
        /// How packets shall travel.
        transport: Transport,
        /// The session's number.
        session: u32,
    },
    /// Do nothing until then.
    Wait {
        /// When to ask again.
        until: MonoTime,
    },
    /// Read a frame; tell [`Supervisor::received`] or [`Supervisor::failed`], or at the moment [`Supervisor::overdue`].
    Read {
        /// When the watchdog barks.
        until: MonoTime,
    },
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Forward,
    /// Frames before it are missing: it cannot be decoded.
    AwaitingKey,
}

/// A frame, as far as supervision cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whether it can be decoded on its own.
    pub kind: FrameKind,
    /// Its size.
    pub bytes: usize,
    /// RTP packets lost just before it.
    pub lost_before: u32,
}

/// A change to be told to the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What the camera does now.
    pub state: StreamState,
    /// The error behind it.
    pub error: Option<Error>,
}

/// What has happened since the camera was switched on. Only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Frames received.
    pub frames: u64,
    /// Key frames among them.
    pub key_frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// RTP packets that never came.
    pub lost_packets: u64,
    /// Frames left out because a key frame was awaited.
    pub dropped_awaiting_key: u64,
    /// Frames left out because the reader of this camera was behind.
    pub dropped_reader_behind: u64,
    /// Sessions that stood.
    pub sessions: u32,
    /// Tries that ended in an error before a frame came.
    pub failed_tries: u32,
    /// Sessions ended by the watchdog.
    pub stalls: u32,
    /// Times the transport was exchanged.
    pub transport_changes: u32,
    /// Longest time between two frames of one session, in milliseconds.
    pub longest_gap_ms: u64,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Supervisor {
    camera: Name,
    options: Supervision,
    phase: Phase,
    transport: Transport,
    /// Transports that were refused or silent.
    refused: [bool; 2],
    failures: u32,
    is_awaiting_key: bool,
    /// The last moment at which frames could be decoded, or the session's begin.
    last_whole: MonoTime,
    usual_gap: Duration,
    last_gap: Duration,
    said: Option<(StreamState, Option<&'static str>)>,
    changes: Vec<Change>,
    counters: Counters,
    random: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Waiting { until: MonoTime },
    Connecting,
    Reading { since: MonoTime, first: Option<MonoTime>, last: MonoTime },
}

impl Supervisor {
    /// For a camera that shall be connected at once.
    pub fn new(camera: Name, options: Supervision) -> Self {
        let transport = match options.transport {
            TransportChoice::Udp => Transport::Udp,
            TransportChoice::Tcp | TransportChoice::Auto => Transport::Tcp,
        };
        let mut it = Self {
            camera,
            random: options.seed | 1,
            options,
            phase: Phase::Waiting { until: MonoTime::ZERO },
            transport,
            refused: [false; 2],
            failures: 0,
            is_awaiting_key: true,
            last_whole: MonoTime::ZERO,
            usual_gap: Duration::ZERO,
            last_gap: Duration::ZERO,
            said: None,
            changes: Vec::new(),
            counters: Counters::default(),
        };
        it.say(StreamState::Connecting, None);
        it
    }

    /// What to do at `now`.
    pub fn step(&mut self, now: MonoTime) -> Step {
        match self.phase {
            Phase::Waiting { until } if now < until => Step::Wait { until },
            Phase::Waiting { .. } => {
                self.phase = Phase::Connecting;
                self.connect_step()
            }
            Phase::Connecting => self.connect_step(),
            Phase::Reading { first, last, .. } => Step::Read { until: last + self.patience(first.is_some()) },
        }
    }

    fn connect_step(&self) -> Step {
        Step::Connect { transport: self.transport, session: self.counters.sessions }
    }

    /// The session stands.
    pub fn connected(&mut self, now: MonoTime) {
        self.counters.sessions = self.counters.sessions.saturating_add(1);
        self.is_awaiting_key = true;
        self.last_whole = now;
        self.phase = Phase::Reading { since: now, first: None, last: now };
    }

    /// A frame came.
    pub fn received(&mut self, now: MonoTime, frame: Arrival) -> Verdict {
        self.counters.frames += 1;
        self.counters.key_frames += u64::from(frame.kind == FrameKind::Key);
        self.counters.bytes += frame.bytes as u64;
        self.counters.lost_packets += u64::from(frame.lost_before);
        if let Phase::Reading { since, first, last } = self.phase {
            if first.is_some() {
                self.learn_gap(now.since(last));
            }
            let first = first.unwrap_or(now);
            if now.since(first) >= self.options.healthy_after {
                self.failures = 0;
            }
            self.phase = Phase::Reading { since, first: Some(first), last: now };
        }
        if frame.kind == FrameKind::Key {
            self.is_awaiting_key = false;
        } else if frame.lost_before > 0 {
            self.is_awaiting_key = true;
        }
        if self.is_awaiting_key {
            self.counters.dropped_awaiting_key += 1;
            return Verdict::AwaitingKey;
        }
        self.last_whole = now;
        self.say(StreamState::Online, None);
        Verdict::Forward
    }

    /// The reader could not take a frame that was to be forwarded: what follows it cannot be decoded.
    pub fn reader_behind(&mut self) {
        self.counters.dropped_reader_behind += 1;
        self.is_awaiting_key = true;
    }

    /// What is wrong if no frame has come by the moment of [`Step::Read`], or none that can be decoded for
    /// [`UDP_DARK_MAX`] over UDP; `None` if it is too early to say.
    pub fn overdue(&mut self, now: MonoTime) -> Option<Error> {
        let Phase::Reading { first, last, .. } = self.phase else { return None };
        let camera = self.camera.clone();
        let dark = now.since(self.last_whole);
        if self.transport == Transport::Udp && first.is_some() && self.is_awaiting_key && dark >= UDP_DARK_MAX {
            return Some(Error::UdpLossy { camera, after: UDP_DARK_MAX });
        }
        let after = self.patience(first.is_some());
        if now.since(last) < after {
            return None;
        }
        Some(match (self.transport, first) {
            (Transport::Udp, None) => Error::UdpSilent { camera, after },
            _ => Error::Stalled { camera, after },
        })
    }

    /// Connecting or the session ended with `error`; decides when to try again.
    pub fn failed(&mut self, now: MonoTime, error: Error) {
        let had_frames = matches!(self.phase, Phase::Reading { first: Some(_), .. });
        if !had_frames {
            self.counters.failed_tries = self.counters.failed_tries.saturating_add(1);
        }
        if matches!(error, Error::Stalled { .. }) {
            self.counters.stalls = self.counters.stalls.saturating_add(1);
        }
        self.usual_gap = Duration::ZERO;
        self.last_gap = Duration::ZERO;
        if self.exchanges_transport(&error) {
            self.phase = Phase::Waiting { until: now + self.jittered(self.options.backoff_first) };
            self.say(StreamState::BackingOff, Some(error));
            return;
        }
        let (wait, state) = match error.retry() {
            Retry::BackOff => {
                let doubled = 2u32.saturating_pow(self.failures.min(16));
                let wait = self.options.backoff_first.saturating_mul(doubled).min(self.options.backoff_max);
                let is_stall = matches!(error, Error::Stalled { .. });
                (wait, if is_stall { StreamState::Stalled } else { StreamState::BackingOff })
            }
            Retry::Slowly => (self.options.backoff_max, StreamState::NeedsAttention),
            Retry::Rarely => (self.options.attention_every, StreamState::NeedsAttention),
        };
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting { until: now + self.jittered(wait) };
        self.say(state, Some(error));
    }

    /// Told to stop.
    pub fn stopped(&mut self) {
        self.say(StreamState::Stopped, None);
    }

    /// The oldest change that has not been taken.
    pub fn take_change(&mut self) -> Option<Change> {
        (!self.changes.is_empty()).then(|| self.changes.remove(0))
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How packets travel now.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    fn patience(&self, has_frames: bool) -> Duration {
        if has_frames {
            self.options.stall_timeout.max((self.usual_gap * 4).min(STALL_TIMEOUT_MAX))
        } else {
            self.options.first_frame_timeout.max(self.options.stall_timeout)
        }
    }

    /// A gap counts as usual when it occurred twice in a row, so one stutter does not make the watchdog patient.
    fn learn_gap(&mut self, gap: Duration) {
        let millis = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
        self.counters.longest_gap_ms = self.counters.longest_gap_ms.max(millis);
        self.usual_gap = gap.min(self.last_gap).max(self.usual_gap - self.usual_gap / 16);
        self.last_gap = gap;
    }

    fn exchanges_transport(&mut self, error: &Error) -> bool {
        let other = match (error, self.transport, self.options.transport) {
            (Error::TransportRefused { .. }, Transport::Tcp, TransportChoice::Auto) => Transport::Udp,
            (
                Error::TransportRefused { .. } | Error::UdpSilent { .. } | Error::UdpLossy { .. },
                Transport::Udp,
                TransportChoice::Auto | TransportChoice::Udp,
            ) => Transport::Tcp,
            _ => return false,
        };
        self.refused[self.transport as usize] = true;
        if self.refused[other as usize] {
            // Both were tried: begin anew after the back-off, or two unwilling transports would be swapped for ever.
            self.refused = [false; 2];
            return false;
        }
        self.transport = other;
        self.counters.transport_changes = self.counters.transport_changes.saturating_add(1);
        true
    }

    /// A random 50 to 100 % of `wait`. Xorshift (Marsaglia 2003) is random enough to spread cameras.
    fn jittered(&mut self, wait: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = (self.random >> 40) as u32 % 1024;
        wait / 2 + (wait / 2) * part / 1024
    }

    fn say(&mut self, state: StreamState, error: Option<Error>) {
        let said = (state, error.as_ref().map(Error::code));
        if self.said == Some(said) {
            return;
        }
        self.said = Some(said);
        if self.changes.len() == CHANGES_MAX {
            self.changes.remove(0);
        }
        self.changes.push(Change { state, error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: Arrival = Arrival { kind: FrameKind::Key, bytes: 1000, lost_before: 0 };
    const DELTA: Arrival = Arrival { kind: FrameKind::Delta, bytes: 100, lost_before: 0 };

    fn camera() -> Name {
        Name::new("yard").unwrap()
    }

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_millis(ms)
    }

    fn supervisor(transport: TransportChoice) -> Supervisor {
        Supervisor::new(camera(), Supervision { transport, ..Supervision::default() })
    }

    fn ended() -> Error {
        Error::Ended { camera: camera() }
    }

    fn states(it: &mut Supervisor) -> Vec<(StreamState, Option<&'static str>)> {
        std::iter::from_fn(|| it.take_change()).map(|c| (c.state, c.error.as_ref().map(Error::code))).collect()
    }

    /// Waits out the back-off and returns how long it was.
    fn wait(it: &mut Supervisor, now: &mut MonoTime) -> Duration {
        let Step::Wait { until } = it.step(*now) else { panic!("{:?}", it.phase) };
        let waited = until.since(*now);
        *now = until;
        assert!(matches!(it.step(*now), Step::Connect { .. }));
        waited
    }

    #[test]
    fn a_silent_stream_is_lost_after_three_seconds() {
        let mut it = supervisor(TransportChoice::Auto);
        assert_eq!(it.step(at(0)), Step::Connect { transport: Transport::Tcp, session: 0 });
        it.connected(at(100));
        assert_eq!(it.step(at(100)), Step::Read { until: at(5100) });
        it.received(at(200), KEY);
        it.received(at(240), DELTA);
        assert_eq!(it.step(at(240)), Step::Read { until: at(3240) });
        assert_eq!(it.overdue(at(3239)), None);
        let error = it.overdue(at(3240)).unwrap();
        assert_eq!(error.code(), "stalled");
        it.failed(at(3240), error);
        assert_eq!(
            states(&mut it),
            [(StreamState::Connecting, None), (StreamState::Online, None), (StreamState::Stalled, Some("stalled"))]
        );
        assert_eq!((it.counters().stalls, it.counters().longest_gap_ms), (1, 40));
        let mut now = at(3240);
        let waited = wait(&mut it, &mut now);
        assert!((Duration::from_millis(250)..=Duration::from_millis(500)).contains(&waited), "{waited:?}");
    }

    #[test]
    fn slow_streams_get_four_of_their_intervals() {
        let mut it = supervisor(TransportChoice::Auto);
        it.step(at(0));
        it.connected(at(0));
        for n in 0..4 {
            it.received(at(n * 2000), KEY);
        }
        assert_eq!(it.step(at(6000)), Step::Read { until: at(14_000) });
        for n in 0..4 {
            it.received(at(6000 + n * 50_000), KEY);
        }
        assert_eq!(it.step(at(156_000)), Step::Read { until: at(156_000) + STALL_TIMEOUT_MAX });
    }

    #[test]
    fn back_off_doubles_to_its_limit_and_starts_anew_after_health() {
        let mut it = supervisor(TransportChoice::Auto);
        let mut now = at(0);
        it.step(now);
        let mut waits = Vec::new();
        for _ in 0..10 {
            it.failed(now, Error::Refused { camera: camera(), address: "h:554".into() });
            waits.push(wait(&mut it, &mut now).as_secs_f64());
        }
        for (n, waited) in waits.iter().enumerate() {
            let full = (0.5 * 2f64.powi(n as i32)).min(30.0);
            assert!((full / 2.0..=full).contains(waited), "{waits:?}");
        }
        it.connected(now);
        it.received(now, KEY);
        it.received(now + Duration::from_secs(5), DELTA);
        now = now + Duration::from_secs(5);
        it.failed(now, ended());
        assert!(wait(&mut it, &mut now) <= Duration::from_millis(500));
        assert_eq!(it.counters().failed_tries, 10);
    }

    #[test]
    fn a_session_that_dies_young_keeps_the_back_off() {
        let mut it = supervisor(TransportChoice::Auto);
        let mut now = at(0);
        it.step(now);
        let mut last = Duration::ZERO;
        for _ in 0..8 {
            it.connected(now);
            it.received(now, KEY);
            it.failed(now, ended());
            last = wait(&mut it, &mut now);
        }
        assert!(last > Duration::from_secs(10), "{last:?}");
    }

    #[test]
    fn a_wrong_password_is_said_once_and_tried_rarely() {
        let mut it = supervisor(TransportChoice::Auto);
        let mut now = at(0);
        it.step(now);
        for _ in 0..5 {
            it.failed(now, Error::AuthFailed { camera: camera(), status: 401 });
            assert!(wait(&mut it, &mut now) >= Duration::from_secs(150));
        }
        assert_eq!(
            states(&mut it),
            [(StreamState::Connecting, None), (StreamState::NeedsAttention, Some("auth_failed"))]
        );
    }

    #[test]
    fn silent_udp_is_exchanged_for_tcp() {
        let mut it = supervisor(TransportChoice::Udp);
        let mut now = at(0);
        assert_eq!(it.step(now), Step::Connect { transport: Transport::Udp, session: 0 });
        it.connected(now);
        let Step::Read { until } = it.step(now) else { panic!() };
        now = until;
        let error = it.overdue(now).unwrap();
        assert_eq!(error.code(), "udp_silent");
        it.failed(now, error);
        wait(&mut it, &mut now);
        assert_eq!(it.step(now), Step::Connect { transport: Transport::Tcp, session: 1 });
        assert_eq!(it.counters().transport_changes, 1);
    }

    #[test]
    fn udp_that_loses_every_key_frame_is_exchanged_for_tcp() {
        let mut it = supervisor(TransportChoice::Udp);
        it.step(at(0));
        it.connected(at(0));
        it.received(at(0), KEY);
        let lossy = Arrival { lost_before: 1, ..DELTA };
        for n in 1..250 {
            assert_eq!(it.received(at(n * 40), lossy), Verdict::AwaitingKey);
            assert_eq!(it.overdue(at(n * 40)), None);
        }
        it.received(at(10_000), lossy);
        let error = it.overdue(at(10_000)).unwrap();
        assert_eq!(error.code(), "udp_lossy");
        it.failed(at(10_000), error);
        assert_eq!(it.transport(), Transport::Tcp);
        let mut tcp = supervisor(TransportChoice::Tcp);
        tcp.step(at(0));
        tcp.connected(at(0));
        for n in 0..500 {
            tcp.received(at(n * 40), DELTA);
        }
        assert_eq!(tcp.overdue(at(499 * 40)), None, "over TCP nothing is gained by going away");
    }

    #[test]
    fn two_refused_transports_are_not_swapped_for_ever() {
        let refused = |transport: Transport| Error::TransportRefused { camera: camera(), transport: transport.name() };
        let mut it = supervisor(TransportChoice::Auto);
        let mut now = at(0);
        it.step(now);
        it.failed(now, refused(Transport::Tcp));
        assert!(wait(&mut it, &mut now) < Duration::from_secs(1));
        assert_eq!(it.transport(), Transport::Udp);
        it.failed(now, refused(Transport::Udp));
        assert!(wait(&mut it, &mut now) >= Duration::from_secs(15));
        let mut only = supervisor(TransportChoice::Tcp);
        only.step(at(0));
        only.failed(at(0), refused(Transport::Tcp));
        assert_eq!(only.transport(), Transport::Tcp);
    }

    #[test]
    fn frames_after_a_loss_wait_for_a_key_frame() {
        let mut it = supervisor(TransportChoice::Auto);
        it.step(at(0));
        it.connected(at(0));
        let lost = Arrival { lost_before: 3, ..DELTA };
        let verdicts = [DELTA, KEY, DELTA, lost, DELTA, KEY, DELTA].map(|frame| it.received(at(1), frame));
        use Verdict::{AwaitingKey as W, Forward as F};
        assert_eq!(verdicts, [W, F, F, W, W, F, F]);
        it.reader_behind();
        assert_eq!([DELTA, KEY].map(|frame| it.received(at(2), frame)), [W, F]);
        let counters = it.counters();
        assert_eq!((counters.dropped_awaiting_key, counters.dropped_reader_behind, counters.lost_packets), (4, 1, 3));
        assert_eq!((counters.frames, counters.key_frames), (9, 3));
    }

    #[test]
    fn changes_nobody_takes_are_bounded() {
        let mut it = supervisor(TransportChoice::Auto);
        let mut now = at(0);
        it.step(now);
        for _ in 0..40 {
            it.connected(now);
            it.received(now, KEY);
            it.failed(now, ended());
            wait(&mut it, &mut now);
        }
        assert_eq!(states(&mut it).len(), CHANGES_MAX);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_next_step_is_near(events in prop::collection::vec((0u8..6, 0u32..20_000), 1..200), seed: u64) {
            let options = Supervision { seed, ..Supervision::default() };
            let mut it = Supervisor::new(camera(), options.clone());
            let mut now = at(0);
            for (event, wait_ms) in events {
                now = now + Duration::from_millis(wait_ms.into());
                match event {
                    0 => it.connected(now),
                    1 => { it.received(now, KEY); }
                    2 => { it.received(now, Arrival { lost_before: wait_ms, ..DELTA }); }
                    3 => it.failed(now, ended()),
                    4 => it.failed(now, Error::AuthMissing { camera: camera() }),
                    _ => { if let Some(error) = it.overdue(now) { it.failed(now, error); } }
                }
                match it.step(now) {
                    Step::Wait { until } => prop_assert!(until.since(now) <= options.attention_every),
                    Step::Read { until } => prop_assert!(until.since(now) <= STALL_TIMEOUT_MAX),
                    Step::Connect { .. } => {}
                }
            }
        }
    }
}
