//! [`Uploader`]: drains a spool into an archive.
//!
//! It asks the pure [`UploadQueue`] what to do, lets the [`Archive`] store and verify, and only then lets the spool note
//! it and free the space. A crash between any two of these steps leads to the clip being offered again, and the archive
//! recognises what it has: nothing is lost and nothing is stored twice.
//!
//! **Never:** deleting a clip that the archive has not confirmed.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use godvision_core::Clock;
use godvision_core::MonoTime;
use godvision_core::driver::archive::{Archive, ArchiveError, Upload};

use super::spool::{Spool, SpoolEvent};
use crate::Error;
use crate::index::ClipState;
use crate::spool::{ClipId, ClipInfo};
use crate::upload::{Next, UploadOptions, UploadQueue, Verdict};

/// Something happened to an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadEvent {
    /// The archive has the clip, verified, and the spool has noted it.
    Archived(Box<ClipInfo>),
    /// It did not work and will be tried again.
    Delayed {
        /// The clip.
        info: Box<ClipInfo>,
        /// What went wrong.
        error: ArchiveError,
        /// When it is tried again.
        at: MonoTime,
        /// Whether the owner has to do something.
        needs_owner: bool,
    },
    /// The clip is set aside; it stays in the spool.
    Parked {
        /// The clip.
        info: Box<ClipInfo>,
        /// What is wrong with it.
        error: ArchiveError,
    },
    /// The spool gave something up, or failed.
    Spool(SpoolEvent),
}

/// Sends the clips of a spool to an archive, one after the other.
pub struct Uploader {
    spool: Arc<Spool>,
    archive: Arc<dyn Archive>,
    clock: Arc<dyn Clock>,
    queue: UploadQueue,
    told: Vec<UploadEvent>,
}

impl Uploader {
    /// An uploader for everything that waits in `spool`, now and later.
    pub fn new(spool: Arc<Spool>, archive: Arc<dyn Archive>, options: UploadOptions, clock: Arc<dyn Clock>) -> Self {
        Self { spool, archive, clock, queue: UploadQueue::new(options), told: Vec::new() }
    }

    /// Tries parked clips, and an archive that rests, at once.
    pub fn unpark(&mut self) {
        self.queue.unpark();
        for record in self.spool.index().all() {
            if matches!(record.state, ClipState::Parked { .. }) {
                self.spool.index().set_state(&record.info.id, ClipState::Waiting);
            }
        }
    }

    /// Works until something has happened. Dropping the future stops an upload where it is; the next one resumes it
    /// where the archive can.
    pub async fn next_event(&mut self) -> UploadEvent {
        loop {
            if let Some(event) = self.told.pop() {
                return event;
            }
            self.look();
            match self.queue.next(self.clock.mono()) {
                Next::Send(id) => {
                    if let Some(event) = self.send(&id).await {
                        return event;
                    }
                }
                Next::Wait(at) => {
                    let wait = at.since(self.clock.mono());
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.spool.index().clip_waits() => {}
                    }
                }
                Next::Idle => self.spool.index().clip_waits().await,
            }
        }
    }

    /// Learns from the index what waits and what is gone.
    fn look(&mut self) {
        let index = self.spool.index();
        index.each_waiting(|info| self.queue.add(info.id.clone(), info.started, info.has_motion()));
        self.queue.retain(|id| index.contains(id));
    }

    async fn send(&mut self, id: &ClipId) -> Option<UploadEvent> {
        let Some(record) = self.spool.index().get(id).filter(|record| record.state != ClipState::Archived) else {
            self.queue.retain(|known| known != id);
            return None;
        };
        let (info, Some(file)) = (record.info, record.local) else {
            self.queue.retain(|known| known != id);
            return None;
        };
        let upload = Upload { file, name: info.archive_name.clone(), size_bytes: info.bytes, sha256: info.sha256 };
        // Until the clip is noted, nothing may give it up.
        let _on_its_way = Mark::new(Arc::clone(&self.spool), id.clone());
        let index = self.spool.index();
        let progress = |bytes| index.set_state(id, ClipState::Uploading { bytes });
        let stored = self.archive.store(&upload, &progress).await;
        match stored {
            Ok(_) => self.archived(info).await,
            Err(error) => self.failed(info, error).await,
        }
    }

    async fn archived(&mut self, info: ClipInfo) -> Option<UploadEvent> {
        let (spool, id, now) = (Arc::clone(&self.spool), info.id.clone(), self.clock.wall());
        let noted =
            tokio::task::spawn_blocking(move || spool.mark_archived(&id, now).map(|()| spool.make_room(now, 0))).await;
        match noted {
            Ok(Ok(evicted)) => {
                self.queue.succeeded(&info.id);
                self.told.extend(evicted.into_iter().map(UploadEvent::Spool));
                Some(UploadEvent::Archived(Box::new(info)))
            }
            Ok(Err(Error::NoSuchClip { .. })) => None,
            Ok(Err(error)) => Some(self.not_noted(info, error.to_string())),
            Err(error) => Some(self.not_noted(info, error.to_string())),
        }
    }

    /// The archive has it but this disk cannot say so: it will be offered again, and recognised.
    fn not_noted(&mut self, info: ClipInfo, detail: String) -> UploadEvent {
        let error =
            ArchiveError::Unreachable { address: self.spool.root().display().to_string(), detail: detail.clone() };
        self.queue.failed(&info.id, &error, self.clock.mono(), luck());
        UploadEvent::Spool(SpoolEvent::DiskFailed { id: Some(info.id), frames: 0, detail })
    }

    async fn failed(&mut self, info: ClipInfo, error: ArchiveError) -> Option<UploadEvent> {
        match self.queue.failed(&info.id, &error, self.clock.mono(), luck()) {
            Verdict::Retry { at, needs_owner } => {
                Some(UploadEvent::Delayed { info: Box::new(info), error, at, needs_owner })
            }
            Verdict::Park => {
                self.spool.index().set_state(&info.id, ClipState::Parked { why: error.to_string() });
                Some(UploadEvent::Parked { info: Box::new(info), error })
            }
            Verdict::Rename => {
                // Only if the name itself is taken; a copy that came out wrong is simply sent again.
                if let Ok(Some(other)) = self.archive.stat(&info.archive_name).await
                    && other.size_bytes != info.bytes
                {
                    let name = other_name(&info);
                    tracing::warn!(clip = %info.id, name, "the archive holds something else under this clip's name");
                    self.spool.index().change(&info.id, |record| record.info.archive_name = name);
                }
                None
            }
        }
    }
}

/// A name that depends on the content, so that after a crash the same one is found again.
fn other_name(info: &ClipInfo) -> String {
    let print: String = info.sha256.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let stem = info.archive_name.strip_suffix(".mp4").unwrap_or(&info.archive_name);
    format!("{stem}-{print}.mp4")
}

/// A number in 0.0..1.0: the standard library seeds its hashers at random.
fn luck() -> f64 {
    let bits = std::hash::RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A clip is on its way as long as this lives, unless it was archived or parked meanwhile.
struct Mark {
    spool: Arc<Spool>,
    id: ClipId,
}

impl Mark {
    fn new(spool: Arc<Spool>, id: ClipId) -> Self {
        spool.index().set_state(&id, ClipState::Uploading { bytes: 0 });
        Self { spool, id }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.spool.index().change(&self.id, |record| {
            if matches!(record.state, ClipState::Uploading { .. }) {
                record.state = ClipState::Waiting;
            }
        });
    }
}
