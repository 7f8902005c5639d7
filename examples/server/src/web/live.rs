//! Live view: what a camera sends now, handed to any number of browsers over WebSocket.
//!
//! A [`LiveHub`] keeps one *reel* a camera: the newest fragments, back to a key frame. A viewer is only a position on
//! it, so memory does not grow with viewers, a viewer who joins gets the current group of pictures at once, and one
//! who lags is moved to a later key frame without anybody else noticing. Each fragment is written together (head and
//! data) once, when the first viewer asks for it; a camera that nobody watches costs a push on a queue.
//!
//! # Protocol
//! One WebSocket a viewer. Texts are JSON objects with a `type`; a client ignores types and fields it does not know.
//!
//! | from the server | meaning |
//! |---|---|
//! | `{"type":"init","mime":M,"width":W,"height":H,"timescale":90000}` | the format from here on, and what a second is in its fragments; sent again when it changes. One binary message with the init segment follows, except for `image/jpeg`, which has none |
//! | binary | one fragment (`moof` + `mdat`), or one JFIF image. The first after `init` is a key frame |
//! | `{"type":"clock","media_s":S,"key":B,"captured_ms":C,"sent_ms":N}` | the fragment that follows has media time `S`, is a key frame or not, was captured at `C`, and this text left at `N` (server's Unix time); before key frames, though at most once a second, and every 5 s |
//! | `{"type":"dropped","fragments":N}` | the viewer lagged: `N` fragments were left out, a key frame follows |
//! | `{"type":"status","state":T,"online":B,"code":C,"detail":D}` | the camera's state when it changes, and on joining; fragments mean that it is back |
//! | `{"type":"motion","moving":B,"captured_ms":C,"regions":[[L,T,R,B],...],"zones":[N,...],"mask":{"width":W,"height":H,"runs":[R,...]}}` | what moved in the picture captured at `C`, in thousandths of it, largest first; the mask as lengths of still and moving runs of its pixels in turn, or null; `moving` is false and nothing moves once an event has ended. The newest only; the player draws it over the picture |
//! | `{"type":"rests","things":[{"thing":N,"kind":K,"since_ms":C,"region":[L,T,R,B]},...]}` | what rests in the picture, left or taken, since `C`; `K` is `left`, `taken` or `unsure`. All of it whenever it changes, and at least every 10 s while there is something |
//! | `{"type":"alive"}` | every 10 s, with a WebSocket ping: a client that hears nothing for longer may connect anew |
//! | `{"type":"refused","code":C,"detail":D}` | no view: `too_many_viewers`, `too_many_cameras`; the socket closes |
//!
//! | from the client | meaning |
//! |---|---|
//! | `{"type":"ack","fragments":N}` | it has taken the first `N` fragments of this connection. Optional; a client that starts to send it must send the last count within half a second |
//!
//! Acknowledgements exist because a slow link hides its delay in socket buffers, where the server cannot see it: the
//! peers' players fall behind there and never recover. With them at most [`LiveLimits::in_flight`] of media is on its way.
//!
//! **Never:** transcoding, waiting for a viewer, a queue a viewer, authentication (the route does that before the upgrade).

mod view;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use bytes::{Bytes, BytesMut};
use godvision_core::signal::media::{Fragment, FrameKind, InitSegment, StreamState, StreamStatus, TICKS_PER_SECOND};
use godvision_core::signal::seen::{Motion, MotionPhase, Rest, RestKind, RestPhase};
use godvision_core::{Clock, Name, Stamp};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

pub use self::view::LiveUnit;

/// A viewer who is silent is asked for a sign of life this often.
pub const PING_EVERY: Duration = Duration::from_secs(10);
/// A viewer who has said nothing (not even a pong) for this long is gone.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A message that the network does not take within this time ends the view.
pub const SEND_MAX: Duration = Duration::from_secs(15);
/// Longest message a viewer may send; acknowledgements are about 40 bytes.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 4096;
/// Media time between two `clock` texts before key frames, at least.
const CLOCK_KEY_TICKS_MIN: u64 = TICKS_PER_SECOND as u64;
/// Media time between two `clock` texts, at most.
const CLOCK_TICKS_MAX: u64 = 5 * TICKS_PER_SECOND as u64;
/// The format whose frames are images of their own, sent without fMP4 around them.
const JPEG: &str = "image/jpeg";
/// Fragments whose acknowledgement may be outstanding before the first one came; older ones count as taken.
const UNACKNOWLEDGED_MAX: usize = 4096;
/// Most things at rest drawn over one camera's picture.
const RESTS_MAX: usize = 32;
/// A thing at rest is reported every 10 s; one that was not for so long is no longer drawn.
const REST_LASTS: Duration = Duration::from_secs(60);

/// What a [`LiveHub`] may hold and how far a viewer may lag.
#[derive(Clone, Debug)]
pub struct LiveLimits {
    /// Viewers of all cameras together.
    pub viewers_max: usize,
    /// Cameras with a reel.
    pub cameras_max: usize,
    /// A viewer further behind than this is moved to a later key frame, when there is one.
    pub lag: Duration,
    /// The same in bytes, for streams whose fragments are large.
    pub lag_bytes_max: usize,
    /// Most media time on its way to a viewer who acknowledges.
    pub in_flight: Duration,
    /// Fragments of one camera's reel; a longer group of pictures cannot be joined in its middle.
    pub reel_fragments_max: usize,
    /// Bytes of one camera's reel.
    pub reel_bytes_max: usize,
}

impl Default for LiveLimits {
    fn default() -> Self {
        Self {
            viewers_max: 256,
            cameras_max: 1024,
            lag: Duration::from_secs(2),
            lag_bytes_max: 8 << 20,
            in_flight: Duration::from_millis(1500),
            reel_fragments_max: 1500,
            reel_bytes_max: 24 << 20,
        }
    }
}

/// Why a camera cannot be watched now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// [`LiveLimits::viewers_max`] are watching.
    #[error("{viewers_max} live views are open, which is the limit; close one and try again")]
    TooManyViewers {
        /// The limit.
        viewers_max: usize,
    },
    /// [`LiveLimits::cameras_max`] cameras have a reel.
    #[error("{cameras_max} cameras have a live view, which is the limit")]
    TooManyCameras {
        /// The limit.
        cameras_max: usize,
    },
    /// The server is stopping.
    #[error("the server is stopping; try again in a moment")]
    Stopping,
}

impl JoinError {
    /// Short stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooManyViewers { .. } => "too_many_viewers",
            Self::TooManyCameras { .. } => "too_many_cameras",
            Self::Stopping => "stopping",
        }
    }
}

/// Live views of all cameras. Clones share the same views.
#[derive(Clone)]
pub struct LiveHub {
    shared: Arc<Hub>,
}

struct Hub {
    limits: LiveLimits,
    clock: Arc<dyn Clock>,
    cameras: Mutex<Cameras>,
}

#[derive(Default)]
struct Cameras {
    by_name: HashMap<Name, Arc<Camera>>,
    viewers: usize,
    stopping: bool,
}

struct Camera {
    reel: Mutex<Reel>,
    /// Counts changes of the reel: wakes viewers who wait for one.
    changed: watch::Sender<u64>,
    /// How many watch.
    viewers: watch::Sender<usize>,
}

/// A poisoned lock still guards whole values: each change below is complete before anything can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one camera's live view has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveCounters {
    /// Watching now.
    pub viewers: usize,
    /// Fragments taken from the camera.
    pub fragments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Fragments handed to viewers, counted once a viewer.
    pub sent: u64,
    /// Fragments that lagging viewers did not get, counted once a viewer.
    pub dropped: u64,
    /// Fragments that nobody could decode because one before them never came; not among `fragments`.
    pub undecodable: u64,
}

impl LiveHub {
    /// An empty hub. `clock` stamps what is sent.
    pub fn new(limits: LiveLimits, clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Hub { limits, clock, cameras: Mutex::default() }) }
    }

    /// Takes the next fragment of its camera: O(1), never waits; the payload is not copied unless somebody watches.
    ///
    /// A fragment of a camera beyond [`LiveLimits::cameras_max`] is ignored.
    pub fn publish(&self, fragment: Fragment) {
        if let Ok(camera) = self.camera(&fragment.source) {
            lock(&camera.reel).push(fragment, &self.shared.limits);
            camera.wake();
        }
    }

    /// Tells viewers what the camera does. Anything but [`StreamState::Online`] makes the current pictures history: who joins
    /// later waits for new ones.
    pub fn set_status(&self, status: &StreamStatus) {
        if let Ok(camera) = self.camera(&status.source) {
            lock(&camera.reel).set_status(status);
            camera.wake();
        }
    }

    /// Shows viewers what moves in the picture.
    pub fn set_motion(&self, motion: &Motion) {
        if let Ok(camera) = self.camera(&motion.source) {
            lock(&camera.reel).set_motion(motion);
            camera.wake();
        }
    }

    /// Shows viewers what was left in the picture or taken out of it.
    pub fn set_rest(&self, rest: &Rest) {
        if let Ok(camera) = self.camera(&rest.source) {
            lock(&camera.reel).set_rest(rest);
            camera.wake();
        }
    }

    /// Joins the viewers of `camera`, which need not have sent anything yet.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub fn join(&self, camera: &Name) -> Result<Viewer, JoinError> {
        let reel = self.camera(camera)?;
        let mut cameras = lock(&self.shared.cameras);
        if cameras.stopping {
            return Err(JoinError::Stopping);
        }
        if cameras.viewers >= self.shared.limits.viewers_max {
            return Err(JoinError::TooManyViewers { viewers_max: self.shared.limits.viewers_max });
        }
        cameras.viewers += 1;
        drop(cameras);
        let place = lock(&reel.reel).join();
        reel.viewers.send_modify(|viewers| *viewers += 1);
        Ok(Viewer { changed: reel.changed.subscribe(), hub: self.shared.clone(), camera: reel, place })
    }

    /// How many watch `camera`, and every change of it: for streams that run only on demand.
    ///
    /// # Errors
    /// [`JoinError::TooManyCameras`].
    pub fn demand(&self, camera: &Name) -> Result<watch::Receiver<usize>, JoinError> {
        Ok(self.camera(camera)?.viewers.subscribe())
    }

    /// How many watch `camera` now.
    pub fn viewers(&self, camera: &Name) -> usize {
        lock(&self.shared.cameras).by_name.get(camera).map_or(0, |camera| *camera.viewers.borrow())
    }

    /// What each camera's live view has done, ordered by name.
    pub fn counters(&self) -> Vec<(Name, LiveCounters)> {
        let cameras: Vec<_> =
            lock(&self.shared.cameras).by_name.iter().map(|(name, camera)| (name.clone(), camera.clone())).collect();
        let mut all: Vec<_> = cameras
            .into_iter()
            .map(|(name, camera)| {
                let viewers = *camera.viewers.borrow();
                (name, LiveCounters { viewers, ..lock(&camera.reel).counters })
            })
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Forgets `camera` and ends its views.
    pub fn remove(&self, camera: &Name) {
        if let Some(camera) = lock(&self.shared.cameras).by_name.remove(camera) {
            camera.end();
        }
    }

    /// Whether the server is stopping.
    pub fn is_stopping(&self) -> bool {
        lock(&self.shared.cameras).stopping
    }

    /// Ends all views and refuses new ones, for a graceful stop.
    pub fn stop(&self) {
        let mut cameras = lock(&self.shared.cameras);
        cameras.stopping = true;
        cameras.by_name.values().for_each(|camera| camera.end());
    }

    fn camera(&self, name: &Name) -> Result<Arc<Camera>, JoinError> {
        let cameras_max = self.shared.limits.cameras_max;
        let mut cameras = lock(&self.shared.cameras);
        if let Some(camera) = cameras.by_name.get(name) {
            return Ok(camera.clone());
        }
        if cameras.by_name.len() >= cameras_max {
            return Err(JoinError::TooManyCameras { cameras_max });
        }
        let camera =
            Arc::new(Camera { reel: Mutex::default(), changed: watch::Sender::new(0), viewers: watch::Sender::new(0) });
        cameras.by_name.insert(name.clone(), camera.clone());
        Ok(camera)
    }
}

impl fmt::Debug for LiveHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cameras = lock(&self.shared.cameras);
        write!(f, "live hub ({} cameras, {} viewers)", cameras.by_name.len(), cameras.viewers)
    }
}

impl Camera {
    fn wake(&self) {
        self.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    fn end(&self) {
        lock(&self.reel).ended = true;
        self.wake();
    }
}

/// The newest fragments of one camera.
#[derive(Default)]
struct Reel {
    kept: VecDeque<Kept>,
    /// Session and sequence of the newest fragment that came.
    newest: Option<(u32, u64)>,
    /// A fragment is missing: nothing is taken until a key frame.
    broken: bool,
    /// Index of `kept[0]`; indexes count fragments since the reel began.
    first: u64,
    /// Indexes of the key frames in `kept`.
    keys: VecDeque<u64>,
    kept_bytes: usize,
    /// Who joins starts at this index or later: what lies before belongs to an earlier session.
    join_from: u64,
    status: Option<Arc<Status>>,
    /// What moves now: the text of the newest report.
    motion: Option<Arc<str>>,
    /// What rests now, and the text that says so.
    rests: Vec<Rest>,
    rests_text: Option<Arc<str>>,
    ended: bool,
    counters: LiveCounters,
}

struct Kept {
    init: Arc<InitSegment>,
    session: u32,
    key: bool,
    decode_ticks: u64,
    at: Stamp,
    /// Bytes taken from the camera before this fragment, for lag in bytes.
    bytes_before: u64,
    wire: Wire,
}

/// A fragment's bytes: as they came, until the first viewer needs them in one piece.
enum Wire {
    Apart(Bytes, Bytes),
    Whole(Bytes),
}

impl Wire {
    fn len(&self) -> usize {
        match self {
            Self::Apart(head, data) => head.len() + data.len(),
            Self::Whole(whole) => whole.len(),
        }
    }

    fn whole(&mut self) -> Bytes {
        if let Self::Apart(head, data) = self {
            let mut whole = BytesMut::with_capacity(head.len() + data.len());
            whole.extend_from_slice(head);
            whole.extend_from_slice(data);
            *self = Self::Whole(whole.freeze());
        }
        match self {
            Self::Whole(whole) => whole.clone(),
            Self::Apart(..) => Bytes::new(),
        }
    }
}

struct Status {
    text: String,
}

impl Reel {
    /// Index after the newest fragment.
    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    fn get(&mut self, index: u64) -> Option<&mut Kept> {
        self.kept.get_mut(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn push(&mut self, fragment: Fragment, limits: &LiveLimits) {
        let key = fragment.kind == FrameKind::Key;
        let follows = self.newest.is_none_or(|newest| newest == (fragment.session, fragment.sequence.wrapping_sub(1)));
        self.newest = Some((fragment.session, fragment.sequence));
        self.broken = !key && (self.broken || !follows);
        if self.broken {
            self.counters.undecodable += 1;
            return;
        }
        if self.kept.back().is_some_and(|last| last.session != fragment.session) {
            self.join_from = self.end();
        }
        if key {
            self.keys.push_back(self.end());
        }
        let wire = if fragment.init.mime == JPEG {
            Wire::Whole(fragment.data)
        } else {
            Wire::Apart(fragment.head, fragment.data)
        };
        let bytes = wire.len();
        self.kept.push_back(Kept {
            init: fragment.init,
            session: fragment.session,
            key,
            decode_ticks: fragment.decode_ticks,
            at: fragment.at,
            bytes_before: self.counters.bytes,
            wire,
        });
        self.kept_bytes += bytes;
        self.counters.fragments += 1;
        self.counters.bytes += bytes as u64;
        self.trim(limits);
    }

    /// Keeps the current group of pictures and what a viewer within the allowed lag still needs.
    fn trim(&mut self, limits: &LiveLimits) {
        let newest_ticks = self.kept.back().map_or(0, |newest| newest.decode_ticks);
        let needed_from = newest_ticks.saturating_sub(ticks(limits.lag));
        loop {
            let over =
                self.kept.len() > limits.reel_fragments_max.max(1) || self.kept_bytes > limits.reel_bytes_max.max(1);
            // The oldest group may go once a later one starts early enough for everybody.
            let later_key = self.keys.iter().copied().find(|key| *key > self.first);
            let unneeded = later_key
                .and_then(|key| self.get(key))
                .is_some_and(|key| key.decode_ticks <= needed_from || newest_ticks < key.decode_ticks);
            if !over && !unneeded {
                return;
            }
            let Some(oldest) = self.kept.pop_front() else { return };
            self.kept_bytes -= oldest.wire.len();
            if self.keys.front() == Some(&self.first) {
                self.keys.pop_front();
            }
            self.first += 1;
        }
    }

    fn set_status(&mut self, status: &StreamStatus) {
        let online = status.state == StreamState::Online;
        if !online {
            self.join_from = self.end();
        }
        let text = json!({
            "type": "status", "state": state_code(status.state), "online": online,
            "code": status.code, "detail": status.detail,
        })
        .to_string();
        self.status = Some(Arc::new(Status { text }));
    }

    fn set_motion(&mut self, motion: &Motion) {
        let moving = motion.phase != MotionPhase::Ended;
        let regions = motion.regions.iter().map(|it| [it.left, it.top, it.right, it.bottom]);
        let text = json!({
            "type": "motion", "moving": moving, "captured_ms": motion.at.wall.as_unix_micros() as f64 / 1e3,
            "regions": if moving { regions.collect() } else { Vec::new() }, "zones": motion.zones,
            "mask": motion.mask.as_ref().filter(|_| moving).map(|mask| {
                json!({ "width": mask.width, "height": mask.height, "runs": *mask.runs })
            }),
        });
        self.motion = Some(text.to_string().into());
    }

    fn set_rest(&mut self, rest: &Rest) {
        // One that nobody speaks of any more went without a word: its detector was stopped hard.
        self.rests.retain(|known| known.thing != rest.thing && rest.at.mono - known.at.mono <= REST_LASTS);
        if rest.phase != RestPhase::Over && self.rests.len() < RESTS_MAX {
            self.rests.push(rest.clone());
        }
        let things = self.rests.iter().map(|rest| {
            let kind = match rest.kind {
                RestKind::Left => "left",
                RestKind::Taken => "taken",
                RestKind::Unsure => "unsure",
            };
            let region = rest.region;
            json!({
                "thing": rest.thing, "kind": kind, "since_ms": rest.since.wall.as_unix_micros() as f64 / 1e3,
                "region": [region.left, region.top, region.right, region.bottom],
            })
        });
        let text = json!({"type": "rests", "things": things.collect::<Vec<_>>()});
        self.rests_text = Some(text.to_string().into());
    }

    /// A place at the newest key frame that belongs to the present.
    fn join(&self) -> Place {
        let start = self.keys.back().copied().filter(|key| *key >= self.join_from);
        Place { next: start.unwrap_or_else(|| self.end()), ..Place::default() }
    }

    /// Moves `place` on if it lags too far and a later key frame is there.
    fn catch_up(&mut self, place: &mut Place, limits: &LiveLimits) {
        let behind = match self.kept.get(usize::try_from(place.next.saturating_sub(self.first)).unwrap_or(usize::MAX)) {
            _ if place.next < self.first => true,
            Some(next) => {
                let newest_ticks = self.kept.back().map_or(0, |newest| newest.decode_ticks);
                newest_ticks.saturating_sub(next.decode_ticks) > ticks(limits.lag)
                    || self.counters.bytes - next.bytes_before > limits.lag_bytes_max as u64
            }
            None => false,
        };
        if !behind {
            return;
        }
        let newest_key = self.keys.back().copied().filter(|key| *key > place.next);
        let target = match newest_key {
            Some(key) => key,
            None if place.next < self.first => self.first,
            None => return,
        };
        self.pass_over(place, target);
    }

    fn pass_over(&mut self, place: &mut Place, target: u64) {
        let passed = target.saturating_sub(place.next);
        // Before its first picture a viewer has nothing to miss.
        if place.init.is_some() {
            place.dropped_untold += passed;
            self.counters.dropped += passed;
        }
        place.next = target;
        place.needs_key = true;
    }

    /// The next message for the viewer at `place`.
    fn next(&mut self, place: &mut Place, limits: &LiveLimits, now: impl FnOnce() -> Stamp) -> Step {
        if self.ended {
            return Step::End;
        }
        if let Some(status) = &self.status
            && !place.status.as_ref().is_some_and(|told| Arc::ptr_eq(told, status))
        {
            place.status = Some(status.clone());
            return Step::Say(LiveMessage::Text(status.text.clone()));
        }
        if let Some(segment) = place.init_untold.take() {
            return Step::Say(LiveMessage::Binary(segment));
        }
        if place.in_flight_ticks() > ticks(limits.in_flight) {
            return Step::Wait;
        }
        // Boxes without a picture under them mean nothing.
        if let Some(motion) = &self.motion
            && place.init.is_some()
            && !place.motion.as_ref().is_some_and(|told| Arc::ptr_eq(told, motion))
        {
            place.motion = Some(motion.clone());
            return Step::Say(LiveMessage::Text(motion.to_string()));
        }
        if let Some(rests) = &self.rests_text
            && place.init.is_some()
            && !place.rests.as_ref().is_some_and(|told| Arc::ptr_eq(told, rests))
        {
            place.rests = Some(rests.clone());
            return Step::Say(LiveMessage::Text(rests.to_string()));
        }
        self.catch_up(place, limits);
        if place.needs_key {
            let key = self.keys.iter().copied().find(|key| *key >= place.next);
            self.pass_over(place, key.unwrap_or_else(|| self.end()));
            if key.is_none() {
                return Step::Wait;
            }
        }
        let index = place.next;
        let Some(kept) = self.get(index) else { return Step::Wait };
        if place.dropped_untold > 0 {
            let fragments = std::mem::take(&mut place.dropped_untold);
            return Step::Say(LiveMessage::Text(json!({"type": "dropped", "fragments": fragments}).to_string()));
        }
        if !place.init.as_ref().is_some_and(|told| Arc::ptr_eq(told, &kept.init) || told == &kept.init) {
            if !kept.key {
                place.needs_key = true;
                return self.next(place, limits, now);
            }
            let init = kept.init.clone();
            let text = json!({
                "type": "init", "mime": init.mime, "timescale": TICKS_PER_SECOND,
                "width": init.format.width, "height": init.format.height,
            });
            place.init_untold = Some(init.data.clone()).filter(|_| init.mime != JPEG);
            place.init = Some(init);
            return Step::Say(LiveMessage::Text(text.to_string()));
        }
        let clock_every = if kept.key { CLOCK_KEY_TICKS_MIN } else { CLOCK_TICKS_MAX };
        if place.clock_at.is_none_or(|told| kept.decode_ticks.abs_diff(told) >= clock_every) {
            place.clock_at = Some(kept.decode_ticks);
            let text = json!({
                "type": "clock",
                "media_s": kept.decode_ticks as f64 / f64::from(TICKS_PER_SECOND),
                "key": kept.key,
                "captured_ms": kept.at.wall.as_unix_micros() as f64 / 1e3,
                "sent_ms": now().wall.as_unix_micros() as f64 / 1e3,
            });
            return Step::Say(LiveMessage::Text(text.to_string()));
        }
        place.needs_key = false;
        place.next += 1;
        place.sent(kept.decode_ticks);
        let whole = kept.wire.whole();
        self.counters.sent += 1;
        Step::Say(LiveMessage::Binary(whole))
    }
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos() * u128::from(TICKS_PER_SECOND) / 1_000_000_000).unwrap_or(u64::MAX)
}

fn state_code(state: StreamState) -> &'static str {
    match state {
        StreamState::Connecting => "connecting",
        StreamState::Online => "online",
        StreamState::Stalled => "stalled",
        StreamState::BackingOff => "backing_off",
        StreamState::NeedsAttention => "needs_attention",
        StreamState::Stopped => "stopped",
    }
}

/// Where a viewer is on the reel, and what it has been told.
#[derive(Default)]
struct Place {
    next: u64,
    needs_key: bool,
    init: Option<Arc<InitSegment>>,
    init_untold: Option<Bytes>,
    status: Option<Arc<Status>>,
    motion: Option<Arc<str>>,
    rests: Option<Arc<str>>,
    clock_at: Option<u64>,
    dropped_untold: u64,
    /// Decode times of the fragments sent and not yet acknowledged.
    unacknowledged: VecDeque<u64>,
    /// Fragments sent.
    sent: u64,
    acknowledges: bool,
}

impl Place {
    fn sent(&mut self, decode_ticks: u64) {
        if self.unacknowledged.len() == UNACKNOWLEDGED_MAX {
            self.unacknowledged.pop_front();
        }
        self.unacknowledged.push_back(decode_ticks);
        self.sent += 1;
    }

    fn acknowledged(&mut self, fragments: u64) {
        self.acknowledges = true;
        let outstanding = usize::try_from(self.sent.saturating_sub(fragments)).unwrap_or(usize::MAX);
        let taken = self.unacknowledged.len().saturating_sub(outstanding);
        self.unacknowledged.drain(..taken);
    }

    fn in_flight_ticks(&self) -> u64 {
        match (self.acknowledges, self.unacknowledged.front(), self.unacknowledged.back()) {
            (true, Some(first), Some(last)) => last.saturating_sub(*first),
            _ => 0,
        }
    }
}

enum Step {
    Say(LiveMessage),
    Wait,
    End,
}

/// One message to a viewer; see the module's protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveMessage {
    /// A JSON object.
    Text(String),
    /// An init segment, a fragment or an image; shared by all viewers.
    Binary(Bytes),
}

/// One place among the viewers of a camera. Dropping it leaves.
pub struct Viewer {
    hub: Arc<Hub>,
    camera: Arc<Camera>,
    changed: watch::Receiver<u64>,
    place: Place,
}

impl Viewer {
    /// The next message; `None` when the view has ended (the camera was removed, the server stops). Cancel-safe.
    pub async fn next(&mut self) -> Option<LiveMessage> {
        loop {
            match self.step() {
                Step::Say(message) => return Some(message),
                Step::End => return None,
                Step::Wait => self.changed.changed().await.ok()?,
            }
        }
    }

    /// The next message, if there is one now.
    pub fn try_next(&mut self) -> Option<LiveMessage> {
        match self.step() {
            Step::Say(message) => Some(message),
            Step::Wait | Step::End => None,
        }
    }

    /// Takes a text of the client; what is not understood is ignored.
    pub fn heard(&mut self, text: &str) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(text) else { return };
        if message["type"] == "ack"
            && let Some(fragments) = message["fragments"].as_u64()
        {
            self.place.acknowledged(fragments);
        }
    }

    fn step(&mut self) -> Step {
        lock(&self.camera.reel).next(&mut self.place, &self.hub.limits, || self.hub.clock.now())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        lock(&self.hub.cameras).viewers -= 1;
        self.camera.viewers.send_modify(|viewers| *viewers -= 1);
    }
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "live viewer (at {}, {} sent)", self.place.next, self.place.sent)
    }
}

/// Small buffers and message limits for a live view's socket: a viewer only acknowledges.
pub fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_message_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_frame_size(CLIENT_MESSAGE_BYTES_MAX)
        .write_buffer_size(0)
}

/// Serves one viewer of `camera` until it leaves, falls silent, the view ends, or `until` is ready (the session that
/// opened it is over). The route has checked who asks and that the camera exists.
pub async fn serve_viewer(mut socket: WebSocket, hub: &LiveHub, camera: &Name, until: impl Future<Output = ()>) {
    let mut viewer = match hub.join(camera) {
        Ok(viewer) => viewer,
        Err(error) => {
            let text = json!({"type": "refused", "code": error.code(), "detail": error.to_string()}).to_string();
            let _ = timeout(SEND_MAX, socket.send(Message::text(text))).await;
            return close(socket, close_code::AGAIN, error.code()).await;
        }
    };
    let mut until = std::pin::pin!(until);
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    let mut heard_at = Instant::now();
    loop {
        let message = tokio::select! {
            received = socket.recv() => {
                heard_at = Instant::now();
                match received {
                    Some(Ok(Message::Text(text))) => viewer.heard(&text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                }
                continue;
            }
            message = viewer.next() => match message {
                Some(LiveMessage::Text(text)) => Message::text(text),
                Some(LiveMessage::Binary(bytes)) => Message::Binary(bytes),
                None => return close(socket, close_code::AWAY, "ended").await,
            },
            _ = ping.tick() => {
                if heard_at.elapsed() > SILENCE_MAX {
                    return close(socket, close_code::POLICY, "silent").await;
                }
                if !matches!(timeout(SEND_MAX, socket.send(Message::Ping(Bytes::new()))).await, Ok(Ok(()))) {
                    return;
                }
                Message::text(r#"{"type":"alive"}"#)
            }
            () = &mut until => return close(socket, close_code::POLICY, "signed_out").await,
        };
        match timeout(SEND_MAX, socket.send(message)).await {
            Ok(Ok(())) => {}
            // Gone, or takes nothing any more: there is nobody to say goodbye to.
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let _ = timeout(SEND_MAX, socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() })))).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::signal::media::{Codec, VideoFormat};
    use godvision_core::signal::seen::{MotionMask, Region};
    use godvision_core::{ManualClock, MonoTime, WallTime};

    const FRAME_TICKS: u64 = 3600;
    const GROUP: u64 = 50;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn init(codec: Codec, width: u16) -> Arc<InitSegment> {
        let (mime, data) = match codec {
            // A recorder wants the head and the init segment of motion JPEG too; a browser wants the images.
            Codec::Mjpeg => (JPEG, Bytes::from_static(b"init")),
            _ => ("video/mp4; codecs=\"avc1.640028\"", Bytes::from(format!("init {width}"))),
        };
        let format =
            Arc::new(VideoFormat { codec, width, height: 720, codec_name: "avc1.640028".into(), config: Bytes::new() });
        Arc::new(InitSegment { format, mime: mime.into(), data })
    }

    /// A camera of 25 frames a second with a key frame every 2 s; frame `n` says so in its payload.
    struct Source {
        name: Name,
        init: Arc<InitSegment>,
        next: u64,
        session: u32,
        bytes: usize,
    }

    impl Source {
        fn new(text: &str) -> Self {
            Self { name: name(text), init: init(Codec::H264, 1280), next: 0, session: 1, bytes: 0 }
        }

        fn fragment(&mut self) -> Fragment {
            let sequence = self.next;
            self.next += 1;
            let key = sequence.is_multiple_of(GROUP) || self.init.format.codec == Codec::Mjpeg;
            let mut data = format!("frame {sequence};").into_bytes();
            data.resize(data.len().max(self.bytes), b'.');
            Fragment {
                source: self.name.clone(),
                init: self.init.clone(),
                sequence,
                session: self.session,
                decode_ticks: sequence * FRAME_TICKS,
                duration_ticks: FRAME_TICKS as u32,
                at: Stamp::new(
                    MonoTime::from_millis(sequence * 40),
                    WallTime::from_unix_millis(1_000_000 + sequence as i64 * 40),
                ),
                kind: if key { FrameKind::Key } else { FrameKind::Delta },
                lost_before: 0,
                head: Bytes::from_static(b"moof "),
                data: data.into(),
            }
        }

        fn publish(&mut self, hub: &LiveHub, fragments: u64) {
            for _ in 0..fragments {
                let fragment = self.fragment();
                hub.publish(fragment);
            }
        }
    }

    fn hub(limits: LiveLimits) -> LiveHub {
        LiveHub::new(limits, Arc::new(ManualClock::default()))
    }

    /// Everything the viewer can have now: texts without `clock`, and payloads up to their `;`.
    fn drain(viewer: &mut Viewer) -> Vec<String> {
        std::iter::from_fn(|| viewer.try_next())
            .map(|message| match message {
                LiveMessage::Text(text) => text,
                LiveMessage::Binary(bytes) => {
                    String::from_utf8_lossy(&bytes).split(';').next().unwrap_or_default().to_owned()
                }
            })
            .filter(|text| !text.contains("\"clock\""))
            .collect()
    }

    fn frames(range: std::ops::Range<u64>) -> Vec<String> {
        range.map(|frame| format!("moof frame {frame}")).collect()
    }

    fn motion(camera: &Name, phase: MotionPhase, regions: Vec<Region>) -> Motion {
        let at = Stamp::new(MonoTime::from_millis(40), WallTime::from_unix_millis(1_000_040));
        Motion {
            source: camera.clone(),
            event: 1,
            phase,
            at,
            sequence: 1,
            regions,
            zones: vec!["gate".into()],
            share: 0.1,
            mask: Some(MotionMask { width: 4, height: 2, runs: [1, 2, 5].into() }),
        }
    }

    #[test]
    fn what_moves_is_told_once_over_a_picture_and_cleared_when_it_ends() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("yard/camera");
        let mut viewer = hub.join(&camera.name).unwrap();
        let place = Region { left: 100, top: 200, right: 300, bottom: 400 };
        hub.set_motion(&motion(&camera.name, MotionPhase::Started, vec![Region::WHOLE]));
        assert_eq!(drain(&mut viewer), Vec::<String>::new(), "there is no picture to draw on");
        hub.set_motion(&motion(&camera.name, MotionPhase::Ongoing, vec![place]));
        camera.publish(&hub, 1);
        let got = drain(&mut viewer);
        let told: Vec<serde_json::Value> = got.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        assert_eq!(told.len(), 2, "the format and the newest report: {got:?}");
        assert_eq!(
            told[1],
            json!({"type": "motion", "moving": true, "captured_ms": 1_000_040.0,
                "regions": [[100, 200, 300, 400]], "zones": ["gate"], "mask": {"width": 4, "height": 2, "runs": [1, 2, 5]}})
        );
        camera.publish(&hub, 1);
        assert_eq!(drain(&mut viewer), frames(1..2), "nothing new to tell");
        hub.set_motion(&motion(&camera.name, MotionPhase::Ended, vec![place]));
        let ended: serde_json::Value = serde_json::from_str(&drain(&mut viewer)[0]).unwrap();
        assert_eq!((&ended["moving"], &ended["regions"]), (&json!(false), &json!([])));
        assert_eq!(ended["mask"], json!(null));
    }

    #[test]
    fn who_joins_gets_the_format_and_the_current_group_at_once() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("yard/camera");
        camera.publish(&hub, GROUP + 7);
        let mut viewer = hub.join(&camera.name).unwrap();
        let got = drain(&mut viewer);
        let head: serde_json::Value = serde_json::from_str(&got[0]).unwrap();
        assert_eq!(
            head,
            json!({"type": "init", "mime": "video/mp4; codecs=\"avc1.640028\"", "timescale": 90000,
                "width": 1280, "height": 720})
        );
        assert_eq!(got[1], "init 1280");
        assert_eq!(got[2..], frames(GROUP..GROUP + 7));
        camera.publish(&hub, 1);
        assert_eq!(drain(&mut viewer), frames(GROUP + 7..GROUP + 8));
    }

    #[test]
    fn who_comes_before_the_camera_waits_for_a_key_frame() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.next = 3;
        let mut viewer = hub.join(&camera.name).unwrap();
        camera.publish(&hub, GROUP - 3);
        assert_eq!(viewer.try_next(), None);
        assert_eq!(drain(&mut viewer), [""; 0]);
        camera.publish(&hub, 2);
        assert_eq!(drain(&mut viewer)[2..], frames(GROUP..GROUP + 2), "and missing what came before is no drop");
    }

    #[test]
    fn a_slow_viewer_is_moved_to_a_key_frame_and_others_do_not_notice() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.publish(&hub, 1);
        let (mut quick, mut slow) = (hub.join(&camera.name).unwrap(), hub.join(&camera.name).unwrap());
        let mut seen = drain(&mut quick);
        assert_eq!(drain(&mut slow).len(), 3);
        for _ in 0..4 * GROUP {
            camera.publish(&hub, 1);
            seen.extend(drain(&mut quick));
        }
        assert_eq!(seen[2..], frames(0..4 * GROUP + 1));
        let got = drain(&mut slow);
        assert_eq!(got[0], json!({"type": "dropped", "fragments": 4 * GROUP - 1}).to_string());
        assert_eq!(got[1..], frames(4 * GROUP..4 * GROUP + 1));
        let counters = hub.counters()[0].1;
        assert_eq!((counters.dropped, counters.viewers), (4 * GROUP - 1, 2));
    }

    #[test]
    fn a_short_lag_loses_nothing() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.publish(&hub, 20);
        let mut viewer = hub.join(&camera.name).unwrap();
        drain(&mut viewer);
        camera.publish(&hub, 45);
        assert_eq!(drain(&mut viewer), frames(20..65), "1.8 s behind, with a key frame in between");
    }

    #[test]
    fn lag_counts_in_bytes_too() {
        let hub = hub(LiveLimits { lag_bytes_max: 100_000, ..LiveLimits::default() });
        let mut camera = Source::new("c");
        camera.bytes = 10_000;
        camera.publish(&hub, 41);
        let mut viewer = hub.join(&camera.name).unwrap();
        drain(&mut viewer);
        camera.publish(&hub, 15);
        assert_eq!(
            drain(&mut viewer),
            [vec![json!({"type": "dropped", "fragments": 9}).to_string()], frames(50..56)].concat()
        );
    }

    #[test]
    fn the_reel_is_bounded_in_fragments_and_bytes() {
        let limits = LiveLimits { reel_fragments_max: 40, reel_bytes_max: 1 << 20, ..LiveLimits::default() };
        let hub = hub(limits);
        let mut camera = Source::new("c");
        camera.bytes = 1000;
        camera.publish(&hub, 49);
        let reel = hub.camera(&camera.name).unwrap();
        assert_eq!(lock(&reel.reel).kept.len(), 40);
        let mut late = hub.join(&camera.name).unwrap();
        assert_eq!(drain(&mut late), [""; 0], "its group began before the reel: wait for the next");
        camera.bytes = 100_000;
        camera.publish(&hub, 49);
        assert!(lock(&reel.reel).kept_bytes <= 1 << 20);
        let held: usize = lock(&reel.reel).kept.iter().map(|kept| kept.wire.len()).sum();
        assert_eq!(held, lock(&reel.reel).kept_bytes);
        camera.publish(&hub, 3);
        assert_eq!(drain(&mut late)[2..], frames(100..101), "and the one cut off by the limits goes on at a key frame");
    }

    #[test]
    fn only_what_a_lagging_viewer_may_need_is_kept() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.publish(&hub, 1000 * GROUP);
        let reel = hub.camera(&camera.name).unwrap();
        assert!(lock(&reel.reel).kept.len() as u64 <= 2 * GROUP + 1, "{} kept", lock(&reel.reel).kept.len());
        assert!(lock(&reel.reel).keys.len() <= 3);
    }

    #[test]
    fn a_change_of_format_is_told_before_its_first_fragment() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.publish(&hub, GROUP);
        let mut viewer = hub.join(&camera.name).unwrap();
        drain(&mut viewer);
        camera.init = init(Codec::H264, 640);
        camera.publish(&hub, 2);
        let got = drain(&mut viewer);
        assert!(got[0].contains(r#""width":640"#));
        assert_eq!(got[1], "init 640");
        assert_eq!(got[2..], frames(50..52));
        camera.init = init(Codec::H264, 640);
        camera.publish(&hub, 1);
        assert_eq!(drain(&mut viewer), frames(52..53), "an equal format made anew is no change");
        camera.init = init(Codec::H264, 320);
        camera.publish(&hub, 1);
        assert_eq!(drain(&mut viewer), [""; 0], "a new format in the middle of a group cannot be decoded yet");
    }

    #[test]
    fn after_a_missing_fragment_nothing_is_shown_until_a_key_frame() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.publish(&hub, 20);
        let mut viewer = hub.join(&camera.name).unwrap();
        drain(&mut viewer);
        camera.next += 1;
        camera.publish(&hub, 30);
        assert_eq!(drain(&mut viewer), frames(50..51));
        assert_eq!(hub.counters()[0].1.undecodable, 29);
        camera.session += 1;
        camera.publish(&hub, 5);
        assert_eq!(drain(&mut viewer), [""; 0], "nor across sessions");
    }

    #[test]
    fn what_rests_is_shown_until_it_is_over() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("yard/camera");
        let stamp = |second| Stamp::new(MonoTime::from_millis(second * 1000), WallTime::from_unix_millis(1_000_000));
        let source = camera.name.clone();
        let rest = |thing: u64, phase, second: u64| Rest {
            source: source.clone(),
            thing,
            phase,
            kind: RestKind::Left,
            since: stamp(1),
            at: stamp(second),
            sequence: 1,
            region: Region { left: 1, top: 2, right: 3, bottom: 4 },
            zones: Vec::new(),
        };
        let mut viewer = hub.join(&camera.name).unwrap();
        let mut told = || {
            let texts = drain(&mut viewer);
            let texts = texts.iter().filter_map(|text| serde_json::from_str::<serde_json::Value>(text).ok());
            texts.filter(|text| text["type"] == "rests").collect::<Vec<_>>()
        };
        hub.set_rest(&rest(1, RestPhase::Noticed, 11));
        camera.publish(&hub, 1);
        let things = json!([{"thing": 1, "kind": "left", "since_ms": 1_000_000.0, "region": [1, 2, 3, 4]}]);
        assert_eq!(told(), [json!({"type": "rests", "things": things})]);
        hub.set_rest(&rest(1, RestPhase::Over, 12));
        assert_eq!(told(), [json!({"type": "rests", "things": []})]);
        (2..200).for_each(|thing| hub.set_rest(&rest(thing, RestPhase::Noticed, 13)));
        assert_eq!(told()[0]["things"].as_array().map(Vec::len), Some(RESTS_MAX));
        hub.set_rest(&rest(500, RestPhase::Noticed, 200));
        assert_eq!(told()[0]["things"].as_array().map(Vec::len), Some(1), "nobody spoke of the others for minutes");
    }

    #[test]
    fn motion_jpeg_has_no_init_segment_and_starts_with_the_newest_image() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.init = init(Codec::Mjpeg, 640);
        camera.publish(&hub, 300);
        let mut viewer = hub.join(&camera.name).unwrap();
        let got = drain(&mut viewer);
        assert!(got[0].contains("image/jpeg"));
        assert_eq!(got[1..], ["frame 299"]);
    }

    #[test]
    fn a_lost_camera_is_told_with_its_reason_and_old_pictures_are_not_shown_as_live() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.publish(&hub, 10);
        let mut viewer = hub.join(&camera.name).unwrap();
        drain(&mut viewer);
        hub.set_status(&StreamStatus {
            source: camera.name.clone(),
            at: Stamp::default(),
            state: StreamState::BackingOff,
            code: Some("refused"),
            detail: "the camera refuses the connection".into(),
            format: None,
        });
        let told = drain(&mut viewer);
        let mut late = hub.join(&camera.name).unwrap();
        assert_eq!(drain(&mut late), told);
        let status: serde_json::Value = serde_json::from_str(&told[0]).unwrap();
        assert_eq!(
            status,
            json!({"type": "status", "state": "backing_off", "online": false, "code": "refused",
                "detail": "the camera refuses the connection"})
        );
        camera.session += 1;
        camera.next = GROUP;
        camera.publish(&hub, 1);
        assert_eq!(drain(&mut viewer), frames(GROUP..GROUP + 1));
        assert_eq!(drain(&mut late)[2..], frames(GROUP..GROUP + 1));
    }

    #[test]
    fn a_viewer_who_acknowledges_has_little_on_its_way() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.publish(&hub, 1);
        let mut viewer = hub.join(&camera.name).unwrap();
        drain(&mut viewer);
        viewer.heard(r#"{"type":"ack","fragments":1}"#);
        camera.publish(&hub, 49);
        let got = drain(&mut viewer);
        assert_eq!(got.len(), 39, "1.5 s and the frame that reached it");
        viewer.heard(r#"{"type":"ack","fragments":11}"#);
        assert_eq!(drain(&mut viewer), frames(40..50));
        camera.publish(&hub, 3 * GROUP);
        let got = drain(&mut viewer);
        assert_eq!(got, [""; 0], "the socket holds 1.5 s: nothing more");
        viewer.heard(r#"{"type":"ack","fragments":50}"#);
        let got = drain(&mut viewer);
        assert!(got[0].contains("dropped"), "{got:?}");
        assert_eq!(got[1..3], frames(150..152));
    }

    #[test]
    fn nonsense_from_a_viewer_is_ignored() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        camera.publish(&hub, 1);
        let mut viewer = hub.join(&camera.name).unwrap();
        for text in ["", "{", "null", "[]", r#"{"type":"ack"}"#, r#"{"type":"ack","fragments":-1}"#, "{\"type\":7}"] {
            viewer.heard(text);
        }
        viewer.heard(r#"{"type":"ack","fragments":18446744073709551615}"#);
        assert_eq!(drain(&mut viewer).len(), 3);
    }

    #[test]
    fn viewers_and_cameras_are_limited_and_counted() {
        let hub = hub(LiveLimits { viewers_max: 2, cameras_max: 2, ..LiveLimits::default() });
        let demand = hub.demand(&name("a")).unwrap();
        let (one, two) = (hub.join(&name("a")).unwrap(), hub.join(&name("b")).unwrap());
        assert_eq!((*demand.borrow(), hub.viewers(&name("a"))), (1, 1));
        assert_eq!(hub.join(&name("a")).unwrap_err().code(), "too_many_viewers");
        drop(one);
        assert_eq!((*demand.borrow(), demand.has_changed().unwrap()), (0, true));
        assert!(hub.join(&name("a")).is_ok());
        assert_eq!(hub.join(&name("c")).unwrap_err().code(), "too_many_cameras");
        let mut stranger = Source::new("c");
        stranger.publish(&hub, 3);
        assert_eq!(hub.viewers(&name("c")), 0);
        drop(two);
    }

    #[tokio::test]
    async fn waiting_viewers_wake_and_end() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        let mut viewer = hub.join(&camera.name).unwrap();
        let feeder = hub.clone();
        let waiting = tokio::spawn(async move {
            let mut binaries = 0;
            while let Some(message) = viewer.next().await {
                binaries += u32::from(matches!(message, LiveMessage::Binary(_)));
                if binaries == 4 {
                    feeder.stop();
                }
            }
            binaries
        });
        for _ in 0..3 {
            tokio::task::yield_now().await;
            camera.publish(&hub, 1);
        }
        assert_eq!(waiting.await.unwrap(), 4, "the init segment and 3 fragments");
        assert_eq!(hub.join(&camera.name).unwrap_err(), JoinError::Stopping);
    }

    #[test]
    fn a_fragment_is_written_together_once_for_all() {
        let hub = hub(LiveLimits::default());
        let mut camera = Source::new("c");
        let (mut one, mut two) = (hub.join(&camera.name).unwrap(), hub.join(&camera.name).unwrap());
        camera.publish(&hub, 1);
        let last = |viewer: &mut Viewer| std::iter::from_fn(|| viewer.try_next()).last();
        let (Some(LiveMessage::Binary(a)), Some(LiveMessage::Binary(b))) = (last(&mut one), last(&mut two)) else {
            panic!("both have the fragment");
        };
        assert_eq!(a.as_ptr(), b.as_ptr());
    }
}
