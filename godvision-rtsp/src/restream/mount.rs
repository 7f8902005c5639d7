//! One published stream and those who read it.
//!
//! A publisher is never held up: [`MountHandle::publish`] hands a frame to every reader's bounded queue by `try_send`.
//! A reader whose queue is full loses frames until the next key frame after it has room again, and each lost frame is
//! counted. The frames since the last key frame are kept, so a new reader starts at once at that key frame.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use godvision_core::signal::media::{Codec, FrameKind, Packet, TICKS_PER_SECOND, VideoFormat};
use godvision_core::time::MonoTime;
use tokio::sync::mpsc;

use super::conversation::{Directory, Found};
use super::rtcp::Anchor;
use super::rtp::{FrameError, Payload};

/// Most frames kept for readers that join inside a group of pictures: 10 s at 60 frames a second.
pub const GROUP_FRAMES_MAX: usize = 600;
/// Most bytes kept for them. A group that outgrows either is not kept: readers then wait for the next key frame.
pub const GROUP_BYTES_MAX: usize = 32 << 20;

/// A frame ready to be sent, shared by all readers.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) payload: Payload,
    pub(crate) anchor: Anchor,
    pub(crate) kind: FrameKind,
    bytes: usize,
}

/// What a mount has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MountCounters {
    /// Frames published.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that could not be sent at all and were refused.
    pub refused: u64,
    /// Frames published while the mount was disabled.
    pub disabled: u64,
    /// Frames that one reader or another did not get because it was slow (or had not reached a key frame yet).
    pub skipped: u64,
    /// Readers that are there now.
    pub readers: usize,
    /// Readers that ever joined.
    pub joined: u64,
}

#[derive(Debug)]
struct Reader {
    queue: mpsc::Sender<Arc<Frame>>,
    needs_key: bool,
}

/// Keeps RTP time moving forward over changes of the packets' session.
#[derive(Clone, Copy, Debug)]
struct Timeline {
    session: u32,
    offset: i64,
    last_ticks: i64,
    last_at: MonoTime,
}

impl Timeline {
    fn start(packet: &Packet) -> Self {
        let offset = packet.pts_ticks.wrapping_neg();
        Self { session: packet.session, offset, last_ticks: 0, last_at: packet.at.mono }
    }

    /// Ticks of `packet` since the first frame of the mount.
    fn place(&mut self, packet: &Packet) -> i64 {
        if packet.session != self.session {
            // A new session starts its own timeline: join it to ours by the time that passed between the two.
            let passed = packet.at.mono.since(self.last_at).as_nanos() * u128::from(TICKS_PER_SECOND) / 1_000_000_000;
            let start = self.last_ticks.wrapping_add(i64::try_from(passed).unwrap_or(0).max(1));
            self.offset = start.wrapping_sub(packet.pts_ticks);
            self.session = packet.session;
        }
        self.last_ticks = packet.pts_ticks.wrapping_add(self.offset);
        self.last_at = packet.at.mono;
        self.last_ticks
    }
}

#[derive(Debug)]
struct State {
    enabled: bool,
    format: Option<Arc<VideoFormat>>,
    timeline: Option<Timeline>,
    group: Vec<Arc<Frame>>,
    group_bytes: usize,
    /// The group since the last key frame is whole: a reader may start from it.
    group_is_whole: bool,
    readers: Vec<Reader>,
    counters: MountCounters,
}

/// What a reader gets when it joins.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The current group of pictures so far; empty if a key frame has to be waited for.
    pub(crate) group: Vec<Arc<Frame>>,
    /// Everything after it. Ends when the mount is disabled or removed, or its codec changes.
    pub(crate) live: mpsc::Receiver<Arc<Frame>>,
}

#[derive(Debug)]
pub(crate) struct Mount {
    path: String,
    readers_max: usize,
    queue_frames_max: usize,
    frames_sent: AtomicU64,
    state: Mutex<State>,
}

impl Mount {
    pub(crate) fn new(path: String, readers_max: usize, queue_frames_max: usize) -> Self {
        let state = State {
            enabled: true,
            format: None,
            timeline: None,
            group: Vec::new(),
            group_bytes: 0,
            group_is_whole: false,
            readers: Vec::new(),
            counters: MountCounters::default(),
        };
        Self { path, readers_max, queue_frames_max, frames_sent: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// The state stays whole whoever panicked: every change is finished before the lock is let go.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn found(&self) -> Found {
        self.look(&mut self.state())
    }

    fn look(&self, state: &mut State) -> Found {
        state.readers.retain(|reader| !reader.queue.is_closed());
        match &state.format {
            _ if !state.enabled => Found::Nothing,
            _ if state.readers.len() >= self.readers_max => Found::Full,
            Some(format) => Found::Ready(Arc::clone(format)),
            None => Found::NotYet,
        }
    }

    pub(crate) fn join(&self) -> Result<Subscription, Found> {
        let mut state = self.state();
        match self.look(&mut state) {
            Found::Ready(_) => {}
            other => return Err(other),
        }
        let group = if state.group_is_whole { state.group.clone() } else { Vec::new() };
        let (queue, live) = mpsc::channel(self.queue_frames_max);
        state.readers.push(Reader { queue, needs_key: group.is_empty() });
        state.counters.joined += 1;
        Ok(Subscription { group, live })
    }

    fn publish(&self, packet: &Packet) -> Result<(), FrameError> {
        // Taken apart before the lock: readers that join are not held up by it.
        let payload = Payload::prepare(packet);
        let mut state = self.state();
        let state = &mut *state;
        if !state.enabled {
            state.counters.disabled += 1;
            return Ok(());
        }
        let payload = payload.inspect_err(|_| state.counters.refused += 1)?;
        let codec = |format: &Arc<VideoFormat>| -> Codec { format.codec };
        if state.format.as_ref().is_some_and(|format| codec(format) != packet.format.codec) {
            // What was described to them is no longer true: readers have to ask again.
            state.readers.clear();
            state.close_group();
        }
        if !state.format.as_ref().is_some_and(|format| Arc::ptr_eq(format, &packet.format)) {
            state.format = Some(Arc::clone(&packet.format));
        }
        let ticks = state.timeline.get_or_insert_with(|| Timeline::start(packet)).place(packet);
        let bytes = packet.data.len();
        let frame = Arc::new(Frame { payload, anchor: Anchor { ticks, at: packet.at }, kind: packet.kind, bytes });
        state.counters.frames += 1;
        state.counters.bytes += bytes as u64;
        state.keep(&frame);
        state.hand_out(&frame);
        Ok(())
    }

    fn set_enabled(&self, enabled: bool) {
        let mut state = self.state();
        state.enabled = enabled;
        if !enabled {
            state.readers.clear();
            state.close_group();
        }
    }

    fn counters(&self) -> MountCounters {
        let mut state = self.state();
        state.readers.retain(|reader| !reader.queue.is_closed());
        MountCounters { readers: state.readers.len(), ..state.counters }
    }

    pub(crate) fn count_sent(&self) {
        self.frames_sent.fetch_add(1, Ordering::Relaxed);
    }
}

impl State {
    fn close_group(&mut self) {
        self.group.clear();
        self.group_bytes = 0;
        self.group_is_whole = false;
    }

    fn keep(&mut self, frame: &Arc<Frame>) {
        if frame.kind == FrameKind::Key {
            self.close_group();
            self.group_is_whole = true;
        }
        if !self.group_is_whole {
            return;
        }
        if self.group.len() == GROUP_FRAMES_MAX || self.group_bytes + frame.bytes > GROUP_BYTES_MAX {
            self.close_group();
            return;
        }
        self.group_bytes += frame.bytes;
        self.group.push(Arc::clone(frame));
    }

    fn hand_out(&mut self, frame: &Arc<Frame>) {
        let counters = &mut self.counters;
        self.readers.retain_mut(|reader| {
            if reader.needs_key && frame.kind != FrameKind::Key {
                counters.skipped += 1;
                return !reader.queue.is_closed();
            }
            match reader.queue.try_send(Arc::clone(frame)) {
                Ok(()) => reader.needs_key = false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    reader.needs_key = true;
                    counters.skipped += 1;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
            true
        });
    }
}

/// A published stream. Clones name the same one.
#[derive(Clone, Debug)]
pub struct MountHandle(pub(crate) Arc<Mount>);

impl MountHandle {
    /// The path, with its leading slash.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Hands `packet` to every reader. Never waits; its payload is shared, not copied. A disabled mount takes packets
    /// and counts them.
    ///
    /// # Errors
    /// The frame cannot be sent; it is counted as refused and nothing else happens.
    pub fn publish(&self, packet: &Packet) -> Result<(), FrameError> {
        self.0.publish(packet)
    }

    /// Opens the mount to readers, or closes it: those who read are disconnected, new ones get 404.
    pub fn set_enabled(&self, enabled: bool) {
        self.0.set_enabled(enabled);
    }

    /// What happened so far.
    pub fn counters(&self) -> MountCounters {
        self.0.counters()
    }

    /// Frames that were written to readers, all readers together.
    pub fn frames_sent(&self) -> u64 {
        self.0.frames_sent.load(Ordering::Relaxed)
    }
}

/// All mounts of a server.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Mutex<HashMap<String, Arc<Mount>>>);

impl Mounts {
    fn map(&self) -> MutexGuard<'_, HashMap<String, Arc<Mount>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `mount` unless there are `limit` already; the other reason to refuse is that the path is taken.
    pub(crate) fn insert(&self, mount: Arc<Mount>, limit: usize) -> Result<(), bool> {
        let mut map = self.map();
        if map.contains_key(&mount.path) {
            return Err(true);
        }
        if map.len() >= limit {
            return Err(false);
        }
        map.insert(mount.path.clone(), mount);
        Ok(())
    }

    pub(crate) fn get(&self, path: &str) -> Option<Arc<Mount>> {
        self.map().get(path).cloned()
    }

    pub(crate) fn remove(&self, path: &str) -> bool {
        match self.map().remove(path) {
            Some(mount) => {
                mount.set_enabled(false);
                true
            }
            None => false,
        }
    }
}

impl Directory for Mounts {
    fn find(&self, path: &str) -> Found {
        self.get(path).map_or(Found::Nothing, |mount| mount.found())
    }
}
