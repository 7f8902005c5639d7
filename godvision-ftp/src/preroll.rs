//! The last seconds of a stream, so that a clip can begin before the motion that opened it.
//!
//! [`Preroll`] is a ring of whole groups of pictures: it always begins at a key frame, so what comes out of it can be
//! decoded. It keeps at least [`PrerollLimits::span`] once it has seen that much, and at most
//! [`PrerollLimits::bytes_max`]. Fragments are clones of `Bytes`: nothing is copied.
//!
//! **Never:** frames before their key frame, two sessions or two formats at once, more bytes than allowed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use godvision_core::MonoTime;
use godvision_core::signal::media::{Fragment, FrameKind};

/// How much a [`Preroll`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrerollLimits {
    /// Keep at least the groups that reach so far back from the newest fragment.
    pub span: Duration,
    /// Keep at most so many bytes; wins over `span`.
    pub bytes_max: usize,
}

impl PrerollLimits {
    /// 32 MiB: 8 s of a 32 Mbit/s stream, far above what cameras send.
    pub const BYTES_MAX_DEFAULT: usize = 32 << 20;
}

#[derive(Debug)]
struct Group {
    start: MonoTime,
    bytes: usize,
    fragments: Vec<Fragment>,
}

/// Whole groups of pictures of one stream, oldest first.
#[derive(Debug)]
pub struct Preroll {
    limits: PrerollLimits,
    groups: VecDeque<Group>,
    bytes: usize,
    skipped: u64,
}

/// Whether `next` can stand behind `last` in one file: same format, same session, time and sequence going on.
pub(crate) fn continues(last: &Fragment, next: &Fragment) -> bool {
    (Arc::ptr_eq(&last.init, &next.init) || last.init == next.init)
        && last.session == next.session
        && next.sequence > last.sequence
        && next.decode_ticks > last.decode_ticks
}

impl Preroll {
    /// An empty ring.
    pub fn new(limits: PrerollLimits) -> Self {
        Self { limits, groups: VecDeque::new(), bytes: 0, skipped: 0 }
    }

    /// Takes the next fragment of the stream and forgets what is too old. A change of session or format empties the
    /// ring first. Cost: amortised constant, no copy.
    pub fn push(&mut self, fragment: Fragment) {
        if let Some(last) = self.newest() {
            if last.session == fragment.session && last.sequence == fragment.sequence {
                return;
            }
            if !continues(last, &fragment) {
                self.clear();
            }
        }
        let size = fragment.wire_bytes();
        match (fragment.kind, self.groups.back_mut()) {
            (FrameKind::Delta, None) => {
                self.skipped += 1;
                return;
            }
            (FrameKind::Delta, Some(group)) => {
                group.bytes += size;
                group.fragments.push(fragment);
            }
            (FrameKind::Key, _) => {
                let group = Group { start: fragment.at.mono, bytes: size, fragments: vec![fragment] };
                self.groups.push_back(group);
            }
        }
        self.bytes += size;
        self.evict();
    }

    fn evict(&mut self) {
        while self.bytes > self.limits.bytes_max {
            self.drop_oldest();
        }
        let Some(newest) = self.newest().map(|last| last.at.mono + last.duration()) else { return };
        while self.groups.get(1).is_some_and(|second| newest.since(second.start) >= self.limits.span) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(group) = self.groups.pop_front() {
            self.bytes -= group.bytes;
            if self.groups.is_empty() {
                self.skipped += group.fragments.len() as u64;
            }
        }
    }

    fn newest(&self) -> Option<&Fragment> {
        self.groups.back().and_then(|group| group.fragments.last())
    }

    /// Empties the ring and hands out what a clip that should begin at `from` needs, oldest first: the group that
    /// holds `from` and all that follow; everything, if the ring does not reach so far back.
    pub fn take_from(&mut self, from: MonoTime) -> impl Iterator<Item = Fragment> + use<> {
        while self.groups.get(1).is_some_and(|second| second.start <= from) {
            self.groups.pop_front();
        }
        self.bytes = 0;
        std::mem::take(&mut self.groups).into_iter().flat_map(|group| group.fragments)
    }

    /// When its newest frame was captured.
    pub fn end(&self) -> Option<MonoTime> {
        self.newest().map(|fragment| fragment.at.mono)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.bytes = 0;
    }

    /// From the first capture to the end of the last frame.
    pub fn span(&self) -> Duration {
        match (self.groups.front(), self.newest()) {
            (Some(first), Some(last)) => (last.at.mono + last.duration()).since(first.start),
            _ => Duration::ZERO,
        }
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Fragments that could not be kept: before the first key frame, or in a group larger than the ring.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Stream;

    fn ring(span_ms: u64, bytes_max: usize) -> Preroll {
        Preroll::new(PrerollLimits { span: Duration::from_millis(span_ms), bytes_max })
    }

    #[test]
    fn keeps_whole_groups_and_at_least_the_span() {
        let mut stream = Stream::new("yard", 25);
        let mut ring = ring(2_000, usize::MAX);
        for _ in 0..500 {
            ring.push(stream.frame());
            assert!(ring.groups.front().is_none_or(|group| group.fragments[0].kind == FrameKind::Key));
        }
        assert!(ring.span() >= Duration::from_secs(2) && ring.span() <= Duration::from_secs(3), "{:?}", ring.span());
    }

    #[test]
    fn bytes_win_over_the_span() {
        let mut stream = Stream::new("yard", 25);
        let size = stream.frame().wire_bytes();
        let mut ring = ring(60_000, size * 60);
        for _ in 0..500 {
            ring.push(stream.frame());
            assert!(ring.bytes() <= size * 60);
            let kept: usize = ring.groups.iter().flat_map(|group| &group.fragments).map(Fragment::wire_bytes).sum();
            assert_eq!(ring.bytes(), kept);
        }
        assert!(!ring.is_empty());
    }

    #[test]
    fn a_group_larger_than_the_ring_is_not_kept_in_part() {
        let mut stream = Stream::new("yard", 100);
        let size = stream.frame().wire_bytes();
        let mut ring = ring(60_000, size * 50);
        for _ in 1..100 {
            ring.push(stream.frame());
        }
        assert!(ring.is_empty(), "nothing can be decoded before the next key frame");
        ring.push(stream.frame());
        assert!(!ring.is_empty());
        assert_eq!(ring.skipped(), 99);
    }

    #[test]
    fn a_new_session_or_format_empties_the_ring() {
        let mut stream = Stream::new("yard", 10);
        let mut ring = ring(60_000, usize::MAX);
        for _ in 0..15 {
            ring.push(stream.frame());
        }
        stream.new_session();
        ring.push(stream.frame());
        assert_eq!(ring.take_from(MonoTime::ZERO).count(), 1);
        for _ in 0..5 {
            ring.push(stream.frame());
        }
        assert!(ring.is_empty(), "frames without their key frame");
        stream.new_format();
        ring.push(stream.frame());
        assert_eq!(ring.take_from(MonoTime::ZERO).count(), 1);
    }

    #[test]
    fn hands_out_the_group_that_holds_the_moment() {
        let mut stream = Stream::new("yard", 10);
        let mut ring = ring(60_000, usize::MAX);
        let mut moments = Vec::new();
        for _ in 0..40 {
            let fragment = stream.frame();
            moments.push(fragment.at.mono);
            ring.push(fragment);
        }
        let taken: Vec<u64> = ring.take_from(moments[25]).map(|fragment| fragment.sequence).collect();
        assert_eq!(taken, (20..40).collect::<Vec<u64>>());
        assert!(ring.is_empty());
    }
}
