//! [`ClipIndex`]: every clip known here, from being recorded to being archived, for lists and playback.
//!
//! It is filled from the spool's folders and `archived.jsonl` at start and kept up by the spool and the uploader; it is
//! a picture of them, never the truth. Cheap to clone: all clones show the same.
//!
//! **Never:** a clip that the spool or the archive does not hold, more than [`ClipIndex::RECORDS_MAX`] archived ones.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use godvision_core::driver::archive::{Archive, ArchiveError};
use godvision_core::{Name, WallTime};
use tokio::sync::Notify;

use crate::Error;
use crate::spool::{ClipId, ClipInfo};

/// Where a clip stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClipState {
    /// It grows.
    Recording,
    /// Complete, waiting for the archive.
    Waiting,
    /// On its way.
    Uploading {
        /// What the archive has so far.
        bytes: u64,
    },
    /// The archive has it, verified.
    Archived,
    /// The archive will not take it until somebody does something. It stays here.
    Parked {
        /// What is wrong, for the owner.
        why: String,
    },
}

impl ClipState {
    /// `recording`, `waiting`, `uploading`, `archived`, `parked`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Waiting => "waiting",
            Self::Uploading { .. } => "uploading",
            Self::Archived => "archived",
            Self::Parked { .. } => "parked",
        }
    }
}

/// A clip and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipRecord {
    /// What is known of it.
    pub info: ClipInfo,
    /// Where it stands.
    pub state: ClipState,
    /// Its file, if it is complete and still here.
    pub local: Option<PathBuf>,
}

/// Which clips to list: all conditions must hold. Newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClipQuery {
    /// Only of this camera, or of those below this subsystem.
    pub camera: Option<Name>,
    /// Not ended before.
    pub from: Option<WallTime>,
    /// Started before this moment.
    pub to: Option<WallTime>,
    /// Only older ones than this: the last of the page before.
    pub before: Option<ClipId>,
    /// At most so many; 0 means [`ClipQuery::LIMIT_DEFAULT`], more than [`ClipQuery::LIMIT_MAX`] is cut to it.
    pub limit: usize,
}

impl ClipQuery {
    /// Clips in a page when nothing is said.
    pub const LIMIT_DEFAULT: usize = 50;
    /// Most clips in a page.
    pub const LIMIT_MAX: usize = 1000;

    fn matches(&self, info: &ClipInfo) -> bool {
        self.camera.as_ref().is_none_or(|camera| info.camera.is_within(camera))
            && self.from.is_none_or(|from| info.ended >= from)
            && self.to.is_none_or(|to| info.started < to)
    }
}

#[derive(Debug, Default)]
struct Shared {
    clips: Mutex<BTreeMap<ClipId, ClipRecord>>,
    waiting: Notify,
}

/// Every clip known here.
#[derive(Clone, Debug, Default)]
pub struct ClipIndex(Arc<Shared>);

impl ClipIndex {
    /// Archived clips remembered; the oldest are forgotten first. About 1 KB each.
    pub const RECORDS_MAX: usize = 50_000;

    fn clips(&self) -> MutexGuard<'_, BTreeMap<ClipId, ClipRecord>> {
        self.0.clips.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page, newest first. Cost: linear in the clips newer than the page.
    pub fn list(&self, query: &ClipQuery) -> Vec<ClipRecord> {
        let limit = match query.limit {
            0 => ClipQuery::LIMIT_DEFAULT,
            limit => limit.min(ClipQuery::LIMIT_MAX),
        };
        let clips = self.clips();
        let newest_first: Box<dyn Iterator<Item = (&ClipId, &ClipRecord)>> = match &query.before {
            Some(before) => Box::new(clips.range(..before.clone()).rev()),
            None => Box::new(clips.iter().rev()),
        };
        newest_first.map(|(_, record)| record).filter(|it| query.matches(&it.info)).take(limit).cloned().collect()
    }

    /// One clip.
    pub fn get(&self, id: &ClipId) -> Option<ClipRecord> {
        self.clips().get(id).cloned()
    }

    /// Opens a complete clip for reading, from here or from `archive`.
    ///
    /// # Errors
    /// [`Error::NoSuchClip`] if it is unknown, still being recorded, or neither here nor in an archive.
    pub fn open(&self, id: &ClipId, archive: Option<Arc<dyn Archive>>) -> Result<ClipReader, Error> {
        let none = || Error::NoSuchClip { id: id.to_string() };
        let record = self.get(id).ok_or_else(none)?;
        let archive = archive.filter(|_| record.state == ClipState::Archived);
        if record.local.is_none() && archive.is_none() {
            return Err(none());
        }
        Ok(ClipReader { info: record.info, local: record.local, archive })
    }

    /// How many clips stand in each state, and the bytes that wait: recording, waiting (or on their way), parked,
    /// archived, bytes not yet archived.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for record in self.clips().values() {
            match record.state {
                ClipState::Recording => tally.recording += 1,
                ClipState::Waiting | ClipState::Uploading { .. } => tally.waiting += 1,
                ClipState::Parked { .. } => tally.parked += 1,
                ClipState::Archived => {
                    tally.archived += 1;
                    continue;
                }
            }
            tally.bytes_waiting += record.info.bytes;
        }
        tally
    }

    /// Resolves when a clip began to wait for the archive since the last call.
    pub(crate) async fn clip_waits(&self) {
        self.0.waiting.notified().await;
    }

    pub(crate) fn put(&self, record: ClipRecord) {
        let waits = record.state == ClipState::Waiting;
        self.clips().insert(record.info.id.clone(), record);
        if waits {
            self.0.waiting.notify_one();
        }
    }

    pub(crate) fn set_state(&self, id: &ClipId, state: ClipState) {
        if let Some(record) = self.clips().get_mut(id) {
            record.state = state;
        }
    }

    pub(crate) fn each_waiting(&self, mut tell: impl FnMut(&ClipInfo)) {
        for record in self.clips().values().filter(|record| record.state == ClipState::Waiting) {
            tell(&record.info);
        }
    }

    pub(crate) fn change(&self, id: &ClipId, change: impl FnOnce(&mut ClipRecord)) {
        if let Some(record) = self.clips().get_mut(id) {
            change(record);
        }
    }

    pub(crate) fn remove(&self, id: &ClipId) {
        self.clips().remove(id);
    }

    pub(crate) fn contains(&self, id: &ClipId) -> bool {
        self.clips().contains_key(id)
    }

    pub(crate) fn all(&self) -> Vec<ClipRecord> {
        self.clips().values().cloned().collect()
    }

    /// Forgets the oldest archived clips beyond the limit that are not here any more.
    pub(crate) fn forget_oldest(&self) {
        let mut clips = self.clips();
        let excess = clips.len().saturating_sub(Self::RECORDS_MAX);
        let is_remote = |record: &ClipRecord| record.state == ClipState::Archived && record.local.is_none();
        let oldest: Vec<ClipId> =
            clips.iter().filter(|(_, record)| is_remote(record)).take(excess).map(|(id, _)| id.clone()).collect();
        for id in oldest {
            clips.remove(&id);
        }
    }
}

/// How many clips stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Clips being recorded.
    pub recording: usize,
    /// Clips that wait for the archive or are on their way.
    pub waiting: usize,
    /// Clips the archive will not take.
    pub parked: usize,
    /// Clips in the archive.
    pub archived: usize,
    /// Bytes that are not yet archived.
    pub bytes_waiting: u64,
}

/// Reads a clip, wherever it is.
pub struct ClipReader {
    info: ClipInfo,
    local: Option<PathBuf>,
    archive: Option<Arc<dyn Archive>>,
}

impl ClipReader {
    /// Most bytes of one read.
    pub const READ_BYTES_MAX: u64 = 8 << 20;

    /// What is known of the clip; [`ClipInfo::bytes`] is the size of what can be read.
    pub fn info(&self) -> &ClipInfo {
        &self.info
    }

    /// Bytes of the file; fewer than asked for at its end, or beyond [`ClipReader::READ_BYTES_MAX`]. The local copy is
    /// read first; if it was given up meanwhile, the archive.
    ///
    /// # Errors
    /// [`Error::NoSuchClip`] if it is gone, others of the disk or archive.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let end = range.end.min(self.info.bytes).min(range.start.saturating_add(Self::READ_BYTES_MAX));
        let range = range.start.min(end)..end;
        if let Some(path) = &self.local {
            let (path, wanted) = (path.clone(), range.clone());
            match tokio::task::spawn_blocking(move || read_local(&path, wanted)).await {
                Ok(Ok(bytes)) => return Ok(bytes),
                Ok(Err(error)) if self.archive.is_none() => return Err(error),
                Ok(Err(_)) => {}
                Err(error) => {
                    return Err(ArchiveError::Local { path: PathBuf::new(), detail: error.to_string() }.into());
                }
            }
        }
        match &self.archive {
            Some(archive) => Ok(archive.read(&self.info.archive_name, range).await?),
            None => Err(Error::NoSuchClip { id: self.info.id.to_string() }),
        }
    }
}

fn read_local(path: &std::path::Path, range: Range<u64>) -> Result<Bytes, Error> {
    let failed = |error| Error::disk("read", path, error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
    let mut out = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0));
    file.take(range.end - range.start).read_to_end(&mut out).map_err(failed)?;
    Ok(out.into())
}
