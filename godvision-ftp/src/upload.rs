//! Which clip goes to the archive next, and when to try again.
//!
//! [`UploadQueue`] is told of clips, successes and failures. Its rules:
//!
//! * clips with motion before continuous recording; among equals the oldest first, or the newest;
//! * an archive that cannot be reached, is full or breaks its protocol rests for all clips: 1 s doubling to 5 min, each
//!   wait shortened by chance to between half and the whole, so that many sites do not come back at once;
//! * a wrong password, an untrusted certificate or a denied folder is told to the owner at once and tried again at the
//!   longest wait only: no storm of logins;
//! * a clip that the archive refuses while it takes others is parked, as is one whose local file cannot be read.
//!
//! **Never:** clocks, randomness (it is an argument), files, forgetting a clip that was not archived.

use std::collections::BTreeMap;
use std::time::Duration;

use godvision_core::driver::archive::ArchiveError;
use godvision_core::{MonoTime, WallTime};

use crate::spool::ClipId;

/// Which of two equally important clips goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UploadOrder {
    /// As they were recorded.
    #[default]
    OldestFirst,
    /// What just happened first; the backlog when there is time.
    NewestFirst,
}

/// How uploads are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadOptions {
    /// Which clip first.
    pub order: UploadOrder,
    /// The first wait after a failure.
    pub wait_min: Duration,
    /// The longest wait.
    pub wait_max: Duration,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self { order: UploadOrder::default(), wait_min: Duration::from_secs(1), wait_max: Duration::from_secs(300) }
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this clip.
    Send(ClipId),
    /// Nothing may be sent before this moment.
    Wait(MonoTime),
    /// There is nothing to send.
    Idle,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again at this moment.
    Retry {
        /// When.
        at: MonoTime,
        /// Whether the owner has to do something (a password, a certificate, a permission).
        needs_owner: bool,
    },
    /// The archive holds something else under this name: try another name at once.
    Rename,
    /// This clip is set aside until somebody does something; the others go on.
    Park,
}

#[derive(Clone, Debug)]
struct Item {
    is_event: bool,
    started: WallTime,
    not_before: MonoTime,
    failures: u32,
    /// How many clips had succeeded when this one was first refused.
    refused_at: Option<u64>,
    is_parked: bool,
}

/// The clips that wait for the archive.
#[derive(Debug)]
pub struct UploadQueue {
    options: UploadOptions,
    items: BTreeMap<ClipId, Item>,
    rest_until: MonoTime,
    failures: u32,
    successes: u64,
}

enum Scope {
    /// The archive as a whole; somebody has to act or not.
    Archive {
        needs_owner: bool,
    },
    /// This clip may be the reason.
    Refused,
    Name,
    Clip,
}

fn scope(error: &ArchiveError) -> Scope {
    match error {
        ArchiveError::AuthFailed { .. } | ArchiveError::Tls { .. } => Scope::Archive { needs_owner: true },
        ArchiveError::Denied { .. } => Scope::Refused,
        ArchiveError::Mismatch { .. } => Scope::Name,
        ArchiveError::Local { .. } | ArchiveError::BadName { .. } | ArchiveError::NotFound { .. } => Scope::Clip,
        other if other.is_temporary() => Scope::Archive { needs_owner: false },
        _ => Scope::Refused,
    }
}

impl UploadQueue {
    /// Times a name is changed before the clip counts as refused.
    const RENAMES_MAX: u32 = 3;

    /// An empty queue.
    pub fn new(options: UploadOptions) -> Self {
        Self { options, items: BTreeMap::new(), rest_until: MonoTime::ZERO, failures: 0, successes: 0 }
    }

    /// A clip waits. Known clips are left as they are.
    pub fn add(&mut self, id: ClipId, started: WallTime, is_event: bool) {
        self.items.entry(id).or_insert(Item {
            is_event,
            started,
            not_before: MonoTime::ZERO,
            failures: 0,
            refused_at: None,
            is_parked: false,
        });
    }

    /// Keeps only the clips for which `wanted` holds: the others were given up elsewhere.
    pub fn retain(&mut self, mut wanted: impl FnMut(&ClipId) -> bool) {
        self.items.retain(|id, _| wanted(id));
    }

    /// Clips in the queue, parked ones included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What to do at `now`. Cost: linear in the queue.
    pub fn next(&self, now: MonoTime) -> Next {
        let candidates = || self.items.iter().filter(|(_, item)| !item.is_parked);
        let Some(earliest) = candidates().map(|(_, item)| item.not_before).min() else { return Next::Idle };
        if self.rest_until.max(earliest) > now {
            return Next::Wait(self.rest_until.max(earliest));
        }
        let ready = candidates().filter(|(_, item)| item.not_before <= now);
        let best = match self.options.order {
            UploadOrder::OldestFirst => ready.min_by_key(|(id, item)| (!item.is_event, item.started, (*id).clone())),
            UploadOrder::NewestFirst => ready.max_by_key(|(id, item)| (item.is_event, item.started, (*id).clone())),
        };
        best.map_or(Next::Idle, |(id, _)| Next::Send(id.clone()))
    }

    /// The archive has the clip.
    pub fn succeeded(&mut self, id: &ClipId) {
        self.items.remove(id);
        self.failures = 0;
        self.successes += 1;
    }

    /// The archive has not got the clip. `luck` in 0.0..=1.0 shortens the wait.
    pub fn failed(&mut self, id: &ClipId, error: &ArchiveError, now: MonoTime, luck: f64) -> Verdict {
        let Some(item) = self.items.get_mut(id) else { return Verdict::Park };
        item.failures = item.failures.saturating_add(1);
        let (wait, needs_owner) = match scope(error) {
            Scope::Name if item.failures <= Self::RENAMES_MAX => return Verdict::Rename,
            Scope::Clip => {
                item.is_parked = true;
                return Verdict::Park;
            }
            Scope::Archive { needs_owner: true } => (self.options.wait_max, true),
            Scope::Archive { needs_owner: false } => {
                self.failures = self.failures.saturating_add(1);
                (doubled(&self.options, self.failures), false)
            }
            Scope::Refused | Scope::Name => {
                if item.refused_at.is_some_and(|successes| successes < self.successes) {
                    item.is_parked = true;
                    return Verdict::Park;
                }
                item.refused_at.get_or_insert(self.successes);
                item.not_before = now + self.options.wait_max;
                self.failures = self.failures.saturating_add(1);
                (doubled(&self.options, self.failures), true)
            }
        };
        let luck = if luck.is_finite() { luck.clamp(0.0, 1.0) } else { 1.0 };
        self.rest_until = now + wait.mul_f64(0.5 + luck / 2.0);
        Verdict::Retry { at: self.rest_until.max(item.not_before), needs_owner }
    }

    /// Somebody did something: parked clips and the archive are tried at once.
    pub fn unpark(&mut self) {
        self.rest_until = MonoTime::ZERO;
        self.failures = 0;
        for item in self.items.values_mut() {
            (item.is_parked, item.not_before, item.refused_at, item.failures) = (false, MonoTime::ZERO, None, 0);
        }
    }
}

fn doubled(options: &UploadOptions, failures: u32) -> Duration {
    let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    options.wait_min.saturating_mul(factor).min(options.wait_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u32) -> ClipId {
        ClipId::parse(&format!("clip-{number:04}")).unwrap()
    }

    fn queue(order: UploadOrder) -> UploadQueue {
        let mut queue = UploadQueue::new(UploadOptions { order, ..UploadOptions::default() });
        for number in 0..6 {
            queue.add(id(number), WallTime::from_unix_seconds(i64::from(number)), number % 2 == 1);
        }
        queue
    }

    fn drained(order: UploadOrder) -> Vec<ClipId> {
        let (mut queue, mut sent) = (queue(order), Vec::new());
        while let Next::Send(id) = queue.next(MonoTime::ZERO) {
            queue.succeeded(&id);
            sent.push(id);
        }
        sent
    }

    fn unreachable() -> ArchiveError {
        ArchiveError::Unreachable { address: "a".into(), detail: "b".into() }
    }

    fn denied() -> ArchiveError {
        ArchiveError::Denied { address: "a".into(), detail: "b".into() }
    }

    #[test]
    fn events_go_first() {
        assert_eq!(drained(UploadOrder::OldestFirst), [1, 3, 5, 0, 2, 4].map(id));
        assert_eq!(drained(UploadOrder::NewestFirst), [5, 3, 1, 4, 2, 0].map(id));
    }

    #[test]
    fn an_unreachable_archive_rests_longer_and_longer_for_all_clips() {
        let mut queue = queue(UploadOrder::OldestFirst);
        let (mut now, mut waits) = (MonoTime::ZERO, Vec::new());
        for _ in 0..12 {
            let Next::Send(id) = queue.next(now) else { panic!("due") };
            let Verdict::Retry { at, needs_owner: false } = queue.failed(&id, &unreachable(), now, 1.0) else {
                panic!()
            };
            assert_eq!(queue.next(now), Next::Wait(at));
            waits.push(at.since(now).as_secs());
            now = at;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        let Next::Send(id) = queue.next(now) else { panic!("due") };
        queue.succeeded(&id);
        let Next::Send(id) = queue.next(now) else { panic!("due") };
        assert!(
            matches!(queue.failed(&id, &unreachable(), now, 0.0), Verdict::Retry { at, .. } if at.since(now).as_millis() == 500)
        );
    }

    #[test]
    fn a_wrong_password_is_told_and_tried_rarely() {
        let mut queue = queue(UploadOrder::OldestFirst);
        let error = ArchiveError::AuthFailed { address: "a".into() };
        let verdict = queue.failed(&id(1), &error, MonoTime::ZERO, 1.0);
        assert_eq!(verdict, Verdict::Retry { at: MonoTime::from_millis(300_000), needs_owner: true });
        assert_eq!(queue.next(MonoTime::from_millis(299_999)), Next::Wait(MonoTime::from_millis(300_000)));
        queue.unpark();
        assert_eq!(queue.next(MonoTime::ZERO), Next::Send(id(1)));
    }

    #[test]
    fn one_refused_clip_does_not_hold_up_the_others() {
        let mut queue = queue(UploadOrder::OldestFirst);
        let mut now = MonoTime::ZERO;
        let mut sent = Vec::new();
        let mut parked = Vec::new();
        loop {
            match queue.next(now) {
                Next::Send(clip) if clip == id(1) => {
                    if queue.failed(&clip, &denied(), now, 1.0) == Verdict::Park {
                        parked.push(clip);
                    }
                }
                Next::Send(clip) => {
                    queue.succeeded(&clip);
                    sent.push(clip);
                }
                Next::Wait(at) => now = at,
                Next::Idle => break,
            }
        }
        assert_eq!((sent.len(), parked), (5, vec![id(1)]));
        assert_eq!(queue.len(), 1, "a parked clip is not forgotten");
    }

    #[test]
    fn while_everything_is_denied_nothing_is_parked() {
        let mut queue = queue(UploadOrder::OldestFirst);
        let mut now = MonoTime::ZERO;
        for _ in 0..50 {
            match queue.next(now) {
                Next::Send(clip) => assert_ne!(queue.failed(&clip, &denied(), now, 1.0), Verdict::Park),
                Next::Wait(at) => now = at,
                Next::Idle => panic!("nothing was sent"),
            }
        }
        assert!(now.since(MonoTime::ZERO) > Duration::from_secs(600), "no storm");
    }

    #[test]
    fn a_name_that_is_taken_is_changed_a_few_times_only() {
        let mut queue = queue(UploadOrder::OldestFirst);
        let error = ArchiveError::Mismatch { address: "a".into(), name: "b".into(), expected: 1, found: 2 };
        for _ in 0..UploadQueue::RENAMES_MAX {
            assert_eq!(queue.failed(&id(1), &error, MonoTime::ZERO, 1.0), Verdict::Rename);
        }
        assert!(matches!(queue.failed(&id(1), &error, MonoTime::ZERO, 1.0), Verdict::Retry { .. }));
    }

    proptest! {
        #[test]
        fn no_clip_is_ever_forgotten(outcomes in prop::collection::vec((0u8..5, 0.0f64..1.0), 0..200)) {
            let mut queue = queue(UploadOrder::NewestFirst);
            let (mut now, mut done) = (MonoTime::ZERO, 0);
            for (outcome, luck) in outcomes {
                match queue.next(now) {
                    Next::Send(id) => match outcome {
                        0 => { queue.succeeded(&id); done += 1; }
                        1 => { queue.failed(&id, &unreachable(), now, luck); }
                        2 => { queue.failed(&id, &denied(), now, luck); }
                        3 => { queue.failed(&id, &ArchiveError::BadName { name: "x".into() }, now, luck); }
                        _ => { queue.failed(&id, &ArchiveError::AuthFailed { address: "x".into() }, now, luck); }
                    },
                    Next::Wait(at) => { prop_assert!(at > now); now = at; }
                    Next::Idle => {}
                }
                prop_assert_eq!(queue.len() + done, 6);
            }
        }
    }
}
