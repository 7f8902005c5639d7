//! What to give up when the spool grows too large or too old.
//!
//! The order: first copies of what the archive has, oldest first; then, and only if the space is really needed, clips that
//! have not been archived, oldest first, never those that their owner flagged. Every loss is reported by the caller.
//!
//! **Never:** deleting, and never a clip that is being written or sent.

use std::time::Duration;

use godvision_core::WallTime;

use crate::spool::ClipId;

/// How much the spool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Everything together.
    pub bytes_max: u64,
    /// Copies of archived clips, kept for quick playback.
    pub sent_bytes_max: u64,
    /// Copies of archived clips are kept no longer than this after they were recorded.
    pub sent_age_max: Duration,
    /// Clips that wait for the archive are given up after so long; `None` keeps them while there is space.
    pub waiting_age_max: Option<Duration>,
}

impl Default for RetentionLimits {
    fn default() -> Self {
        Self {
            bytes_max: 50 << 30,
            sent_bytes_max: 5 << 30,
            sent_age_max: Duration::from_secs(7 * 86_400),
            waiting_age_max: None,
        }
    }
}

/// One clip in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub id: ClipId,
    /// When it was recorded.
    pub started: WallTime,
    /// Its size.
    pub bytes: u64,
    /// Whether the archive has it.
    pub is_archived: bool,
    /// Whether its owner protects it.
    pub is_flagged: bool,
    /// Whether it is being recorded or sent.
    pub is_busy: bool,
}

/// Why a clip is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Eviction {
    /// The archive has it; only the copy here goes.
    ArchivedCopy,
    /// It waited longer than allowed: it is lost.
    TooOld,
    /// The space was needed: it is lost.
    NoSpace,
}

/// What to delete now, so that the limits hold and `needed` more bytes fit. `held` in any order.
pub fn evictions(held: &[Held], limits: &RetentionLimits, now: WallTime, needed: u64) -> Vec<(ClipId, Eviction)> {
    let mut free: Vec<&Held> = held.iter().filter(|clip| !clip.is_busy).collect();
    free.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
    let mut total: u64 = held.iter().map(|clip| clip.bytes).sum();
    let mut sent: u64 = held.iter().filter(|clip| clip.is_archived).map(|clip| clip.bytes).sum();
    let age = |clip: &Held| {
        Duration::from_micros(u64::try_from(now.as_unix_micros() - clip.started.as_unix_micros()).unwrap_or(0))
    };
    let mut out = Vec::new();
    let is_over = |total: u64| total.saturating_add(needed) > limits.bytes_max;
    for clip in free.iter().filter(|clip| clip.is_archived) {
        if age(clip) > limits.sent_age_max || sent > limits.sent_bytes_max || is_over(total) {
            total -= clip.bytes;
            sent -= clip.bytes;
            out.push((clip.id.clone(), Eviction::ArchivedCopy));
        }
    }
    for clip in free.iter().filter(|clip| !clip.is_archived && !clip.is_flagged) {
        let why = if limits.waiting_age_max.is_some_and(|limit| age(clip) > limit) {
            Eviction::TooOld
        } else if is_over(total) {
            Eviction::NoSpace
        } else {
            continue;
        };
        total -= clip.bytes;
        out.push((clip.id.clone(), why));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clip(hour: i64, bytes: u64, is_archived: bool, is_flagged: bool) -> Held {
        let started = WallTime::from_unix_seconds(hour * 3600);
        let id = ClipId::parse(&format!("clip-{hour:05}")).unwrap();
        Held { id, started, bytes, is_archived, is_flagged, is_busy: false }
    }

    fn names(evictions: Vec<(ClipId, Eviction)>) -> Vec<(String, Eviction)> {
        evictions
            .into_iter()
            .map(|(id, why)| (id.as_str().trim_start_matches("clip-").trim_start_matches('0').to_owned(), why))
            .collect()
    }

    #[test]
    fn archived_copies_go_before_anything_is_lost() {
        let held =
            [clip(1, 10, false, false), clip(2, 10, true, false), clip(3, 10, true, false), clip(4, 10, false, true)];
        let limits = RetentionLimits { bytes_max: 30, ..RetentionLimits::default() };
        let now = WallTime::from_unix_seconds(5 * 3600);
        assert_eq!(names(evictions(&held, &limits, now, 0)), [("2".into(), Eviction::ArchivedCopy)]);
        assert_eq!(
            names(evictions(&held, &limits, now, 15)),
            [
                ("2".into(), Eviction::ArchivedCopy),
                ("3".into(), Eviction::ArchivedCopy),
                ("1".into(), Eviction::NoSpace)
            ]
        );
        assert_eq!(evictions(&held, &limits, now, 1000).len(), 3, "the flagged clip stays whatever happens");
    }

    #[test]
    fn age_and_playback_space_are_limited() {
        let held =
            [clip(1, 10, true, false), clip(50, 10, true, false), clip(51, 10, true, false), clip(2, 1, false, false)];
        let limits = RetentionLimits {
            sent_bytes_max: 10,
            sent_age_max: Duration::from_secs(10 * 3600),
            waiting_age_max: Some(Duration::from_secs(24 * 3600)),
            ..RetentionLimits::default()
        };
        let now = WallTime::from_unix_seconds(52 * 3600);
        assert_eq!(
            names(evictions(&held, &limits, now, 0)),
            [
                ("1".into(), Eviction::ArchivedCopy),
                ("50".into(), Eviction::ArchivedCopy),
                ("2".into(), Eviction::TooOld)
            ]
        );
    }

    proptest! {
        #[test]
        fn enough_goes_and_the_protected_stays(
            clips in prop::collection::vec((0i64..1000, 1u64..100, any::<bool>(), any::<bool>(), any::<bool>()), 0..40),
            bytes_max in 0u64..2000, needed in 0u64..200,
        ) {
            let held: Vec<Held> = clips.iter().enumerate().map(|(index, &(hour, bytes, archived, flagged, busy))| {
                let mut held = clip(hour, bytes, archived, flagged);
                held.id = ClipId::parse(&format!("clip-{index}")).unwrap();
                held.is_busy = busy;
                held
            }).collect();
            let limits = RetentionLimits { bytes_max, ..RetentionLimits::default() };
            let gone = evictions(&held, &limits, WallTime::from_unix_seconds(0), needed);
            let left: u64 = held.iter().filter(|clip| !gone.iter().any(|(id, _)| *id == clip.id)).map(|clip| clip.bytes).sum();
            let is_protected = |clip: &&Held| clip.is_busy || (clip.is_flagged && !clip.is_archived);
            let protected: u64 = held.iter().filter(is_protected).map(|clip| clip.bytes).sum();
            prop_assert!(left + needed <= bytes_max || left == protected);
            prop_assert!(held.iter().filter(is_protected).all(|clip| !gone.iter().any(|(id, _)| *id == clip.id)));
            let lost = gone.iter().any(|(_, why)| *why != Eviction::ArchivedCopy);
            let copies_left = held.iter().any(|clip| clip.is_archived && !clip.is_busy && !gone.iter().any(|(id, _)| *id == clip.id));
            prop_assert!(!(lost && copies_left), "nothing is lost while a copy could go");
        }
    }
}
