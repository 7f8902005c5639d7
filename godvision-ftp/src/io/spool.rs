//! The durable spool: clips on disk, through every crash.
//!
//! What it promises, and the tests check after stopping it at every single disk operation:
//!
//! * a clip that [`ClipWriter::finish`] returned is complete in `ready/` after any crash, a power cut included;
//! * a clip that was being written is saved up to its last synced fragment: the recorder syncs about once a second, so a
//!   power cut costs about a second of each camera, a killed program no more;
//! * nothing is deleted silently: every loss comes out as a [`SpoolEvent`];
//! * a full disk is an error that leaves everything written so far in order.
//!
//! All calls block on the disk: call them off the async runtime.
//!
//! **Never:** two programs on one spool (a lock file), changes to a clip that is closed.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use godvision_core::WallTime;
use godvision_core::signal::media::{Fragment, FrameKind};
use sha2::{Digest, Sha256};

use super::disk::{Disk, DiskFile, OsDisk};
use super::manifest;
use crate::Error;
use crate::clip::{ClipSummary, CloseReason};
use crate::index::{ClipIndex, ClipRecord, ClipState};
use crate::mp4::{ClipHead, GroupSpan, rebase, whole_part};
use crate::retention::{Eviction, Held, RetentionLimits, evictions};
use crate::spool::{ClipId, ClipInfo, Place, Plan, Remains, plan};

/// Bytes held back for manifests on a full disk.
const RESERVE_BYTES: usize = 256 << 10;
/// A writer's buffer goes to the disk at this size even before it is synced.
const BUFFER_BYTES: usize = 1 << 20;
/// `archived.jsonl` is set aside at this size.
const ARCHIVED_BYTES_MAX: u64 = 4 << 20;
/// Files of archived clips that are kept, the current one included.
const ARCHIVED_FILES_MAX: usize = 8;

/// How a spool is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolOptions {
    /// How much it may hold.
    pub limits: RetentionLimits,
}

/// Something that the owner should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpoolEvent {
    /// A clip was begun.
    Opened(Box<ClipInfo>),
    /// A clip is complete and will survive anything.
    Closed(Box<ClipInfo>),
    /// A clip that a crash cut was saved.
    Recovered(Box<ClipInfo>),
    /// A recording that held no whole frame was removed after a crash.
    Discarded {
        /// Which.
        id: ClipId,
    },
    /// A clip was given up here.
    Evicted {
        /// Which.
        info: Box<ClipInfo>,
        /// Why; all but [`Eviction::ArchivedCopy`] are losses.
        why: Eviction,
    },
    /// The disk is full: recording stops until there is space.
    DiskFull {
        /// The clip that could not be written, if it had a name.
        id: Option<ClipId>,
        /// Frames lost with it.
        frames: u64,
    },
    /// A clip could not be written for another reason.
    DiskFailed {
        /// The clip, if it had a name.
        id: Option<ClipId>,
        /// Frames lost with it.
        frames: u64,
        /// What the disk said.
        detail: String,
    },
    /// There is space again: recording goes on.
    SpaceAgain,
}

/// Clips on disk, see the module.
#[derive(Debug)]
pub struct Spool {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    options: SpoolOptions,
    index: ClipIndex,
    /// Serialises `archived.jsonl`.
    archived: Mutex<()>,
    _lock: fs::File,
}

impl Spool {
    /// Opens the spool in `root`, makes it if there is none, and puts in order what a crash left.
    ///
    /// # Errors
    /// [`Error::Disk`], also if another program has it open.
    pub fn open(root: impl Into<PathBuf>, options: SpoolOptions) -> Result<(Self, Vec<SpoolEvent>), Error> {
        Self::open_on(Arc::new(OsDisk), root, options)
    }

    /// The same, with all changes going through `disk`.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        root: impl Into<PathBuf>,
        options: SpoolOptions,
    ) -> Result<(Self, Vec<SpoolEvent>), Error> {
        let root = root.into();
        for place in Place::ALL {
            let folder = root.join(place.folder());
            disk.make_dir(&folder).map_err(|error| Error::disk("make", &folder, error))?;
        }
        let lock_path = root.join("lock");
        let lock = fs::File::create(&lock_path).map_err(|error| Error::disk("make", &lock_path, error))?;
        if lock.try_lock().is_err() {
            let busy = io::Error::new(io::ErrorKind::ResourceBusy, "another program has this spool open");
            return Err(Error::disk("lock", &lock_path, busy));
        }
        let spool = Self { root, disk, options, index: ClipIndex::default(), archived: Mutex::new(()), _lock: lock };
        let mut events = Vec::new();
        spool.recover(&mut events)?;
        spool.keep_reserve();
        Ok((spool, events))
    }

    /// The clips in it and those it knows to be archived.
    pub fn index(&self) -> &ClipIndex {
        &self.index
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, place: Place, id: &ClipId, extension: &str) -> PathBuf {
        self.root.join(place.folder()).join(format!("{id}.{extension}"))
    }

    /// Begins the file of a clip. Its fragments follow by [`ClipWriter::append`].
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Disk`]; nothing is left behind.
    pub fn begin(self: &Arc<Self>, summary: &ClipSummary) -> Result<ClipWriter, Error> {
        if !self.keep_reserve() {
            return Err(Error::Full { path: self.root.join("reserve") });
        }
        let id = (0..)
            .map(|attempt| ClipId::new(summary.started.wall, &summary.camera, attempt))
            .find(|id| !self.index.contains(id) && !self.path(Place::Tmp, id, "mp4").exists())
            .ok_or_else(|| Error::NoSuchClip { id: summary.camera.to_string() })?;
        let info = ClipInfo::of(id.clone(), summary);
        let (path, manifest_path) = (self.path(Place::Tmp, &id, "mp4"), self.path(Place::Tmp, &id, "json"));
        let head = ClipHead::new(&summary.init.data);
        let begin = || -> Result<Box<dyn DiskFile>, Error> {
            self.write_new(&manifest_path, manifest::to_json(&info, None).as_bytes())?;
            let mut file = self.disk.create(&path).map_err(|error| Error::disk("make", &path, error))?;
            file.append(&head.bytes).map_err(|error| Error::disk("write", &path, error))?;
            self.sync_dir(Place::Tmp)?;
            Ok(file)
        };
        let file = match begin() {
            Ok(file) => file,
            Err(error) => {
                // What cannot be removed now is cleared away at the next start.
                let _ = self.disk.remove(&path);
                let _ = self.disk.remove(&manifest_path);
                return Err(error);
            }
        };
        self.index.put(ClipRecord { info, state: ClipState::Recording, local: None });
        let written = Written { summary: summary.clone(), bytes: head.bytes.len() as u64, groups: Vec::new() };
        Ok(ClipWriter {
            spool: Arc::clone(self),
            id,
            path,
            file,
            base_ticks: None,
            buffer: Vec::new(),
            next: written.clone(),
            head,
            written,
        })
    }

    fn write_new(&self, path: &Path, content: &[u8]) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let mut file = self.disk.create(path)?;
            file.append(content)?;
            file.sync()
        };
        write().map_err(|error| Error::disk("write", path, error))
    }

    fn sync_dir(&self, place: Place) -> Result<(), Error> {
        let folder = self.root.join(place.folder());
        self.disk.sync_dir(&folder).map_err(|error| Error::disk("sync", &folder, error))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.disk.rename(from, to).map_err(|error| Error::disk("rename", from, error))
    }

    /// Writes the finished manifest of a synced file in `tmp` and moves both to `ready`. On a full disk the reserve is
    /// given up for it.
    fn publish(&self, info: &ClipInfo) -> Result<(), Error> {
        match self.try_publish(info) {
            Err(Error::Full { .. }) => {
                let _ = self.disk.remove(&self.root.join("reserve"));
                self.try_publish(info)
            }
            other => other,
        }
    }

    fn try_publish(&self, info: &ClipInfo) -> Result<(), Error> {
        let id = &info.id;
        let (fresh, closed) = (self.path(Place::Tmp, id, "new"), self.path(Place::Tmp, id, "json"));
        self.disk.remove(&fresh).map_err(|error| Error::disk("remove", &fresh, error))?;
        self.write_new(&fresh, manifest::to_json(info, None).as_bytes())?;
        self.rename(&fresh, &closed)?;
        self.sync_dir(Place::Tmp)?;
        self.settle(id, Place::Tmp, Place::Tmp, Place::Ready)
    }

    /// Moves a complete clip to `to`: the manifest first, so that a file there always has one.
    fn settle(&self, id: &ClipId, file: Place, closed: Place, to: Place) -> Result<(), Error> {
        for (from, extension) in [(closed, "json"), (file, "mp4")] {
            if from != to {
                self.rename(&self.path(from, id, extension), &self.path(to, id, extension))?;
            }
        }
        if file != to || closed != to {
            self.sync_dir(to)?;
            self.sync_dir(if file == to { closed } else { file })?;
        }
        Ok(())
    }

    /// Makes the reserve if it is not there; false if there is no space for it. Nothing is begun without it: what was
    /// begun must be able to end.
    fn keep_reserve(&self) -> bool {
        let path = self.root.join("reserve");
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == RESERVE_BYTES as u64) {
            return true;
        }
        let made = self.disk.remove(&path).is_ok() && self.write_new(&path, &vec![0; RESERVE_BYTES]).is_ok();
        if !made {
            let _ = self.disk.remove(&path);
        }
        made
    }

    /// Notes that the archive has a clip, durably, and moves it to `sent`. Doing it twice is no error.
    ///
    /// # Errors
    /// [`Error::NoSuchClip`], [`Error::Disk`]; then the clip stays in `ready`.
    pub fn mark_archived(&self, id: &ClipId, at: WallTime) -> Result<(), Error> {
        let record = self.index.get(id).ok_or_else(|| Error::NoSuchClip { id: id.to_string() })?;
        if record.state == ClipState::Archived {
            return Ok(());
        }
        let line = manifest::to_json(&record.info, Some(at)) + "\n";
        match self.note_archived(&line) {
            Err(Error::Full { .. }) => {
                let _ = self.disk.remove(&self.root.join("reserve"));
                self.note_archived(&line)?;
            }
            other => other?,
        }
        self.settle(id, Place::Ready, Place::Ready, Place::Sent)?;
        self.index.change(id, |record| {
            record.state = ClipState::Archived;
            record.local = Some(self.path(Place::Sent, id, "mp4"));
        });
        self.index.forget_oldest();
        Ok(())
    }

    fn note_archived(&self, line: &str) -> Result<(), Error> {
        let _guard = self.archived.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.root.join("archived.jsonl");
        let len = fs::metadata(&path).map_or(0, |meta| meta.len());
        if len > ARCHIVED_BYTES_MAX {
            self.rotate_archived(&path)?;
        }
        let failed = |error| Error::disk("write", &path, error);
        let is_new = !path.exists();
        let mut file = if is_new { self.disk.create(&path) } else { self.disk.open(&path) }.map_err(failed)?;
        let append = file.append(line.as_bytes()).and_then(|()| file.sync());
        if let Err(error) = append {
            // A torn line would swallow the next one.
            let _ = file.truncate(if is_new { 0 } else { len });
            return Err(failed(error));
        }
        if is_new {
            self.disk.sync_dir(&self.root).map_err(failed)?;
        }
        Ok(())
    }

    fn rotate_archived(&self, path: &Path) -> Result<(), Error> {
        let old = self.archived_files();
        let next = old.last().map_or(1, |(number, _)| number + 1);
        self.rename(path, &self.root.join(format!("archived-{next:06}.jsonl")))?;
        for (_, path) in old.iter().rev().skip(ARCHIVED_FILES_MAX - 2) {
            self.disk.remove(path).map_err(|error| Error::disk("remove", path, error))?;
        }
        Ok(())
    }

    /// Files set aside, oldest first.
    fn archived_files(&self) -> Vec<(u32, PathBuf)> {
        let number =
            |path: &Path| path.file_name()?.to_str()?.strip_prefix("archived-")?.strip_suffix(".jsonl")?.parse().ok();
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<(u32, PathBuf)> = entries.filter_map(|path| Some((number(&path)?, path))).collect();
        files.sort();
        files
    }

    /// Protects a complete clip from being given up, or no longer.
    ///
    /// # Errors
    /// [`Error::NoSuchClip`] if it is not in the spool, [`Error::Disk`].
    pub fn flag(&self, id: &ClipId, is_flagged: bool) -> Result<(), Error> {
        let none = || Error::NoSuchClip { id: id.to_string() };
        let record = self.index.get(id).ok_or_else(none)?;
        if record.local.is_none() {
            return Err(none());
        }
        let place = if record.state == ClipState::Archived { Place::Sent } else { Place::Ready };
        let info = ClipInfo { is_flagged, ..record.info };
        let (fresh, closed) = (self.path(Place::Tmp, id, "new"), self.path(place, id, "json"));
        self.disk.remove(&fresh).map_err(|error| Error::disk("remove", &fresh, error))?;
        self.write_new(&fresh, manifest::to_json(&info, None).as_bytes())?;
        self.rename(&fresh, &closed)?;
        self.sync_dir(place)?;
        self.index.change(id, |record| record.info.is_flagged = is_flagged);
        Ok(())
    }

    /// Gives up what the limits ask for, so that `needed` more bytes fit.
    pub fn make_room(&self, now: WallTime, needed: u64) -> Vec<SpoolEvent> {
        let held: Vec<Held> = self
            .index
            .all()
            .into_iter()
            .filter(|record| record.local.is_some() || record.state == ClipState::Recording)
            .map(|record| Held {
                id: record.info.id,
                started: record.info.started,
                bytes: record.info.bytes,
                is_archived: record.state == ClipState::Archived,
                is_flagged: record.info.is_flagged,
                is_busy: matches!(record.state, ClipState::Recording | ClipState::Uploading { .. }),
            })
            .collect();
        evictions(&held, &self.options.limits, now, needed)
            .into_iter()
            .filter_map(|(id, why)| self.evict(&id, why))
            .collect()
    }

    /// On a full disk: gives up the oldest copies of archived clips until `needed` bytes are free of them.
    fn drop_archived_copies(&self, needed: u64) -> Vec<SpoolEvent> {
        let mut freed = 0;
        let copies = self.index.all().into_iter().filter(|it| it.state == ClipState::Archived && it.local.is_some());
        copies
            .take_while(|record| {
                let goes = freed < needed;
                freed += record.info.bytes;
                goes
            })
            .filter_map(|record| self.evict(&record.info.id, Eviction::ArchivedCopy))
            .collect()
    }

    fn evict(&self, id: &ClipId, why: Eviction) -> Option<SpoolEvent> {
        let record = self.index.get(id)?;
        let place = if why == Eviction::ArchivedCopy { Place::Sent } else { Place::Ready };
        // The file first: a manifest alone is cleared away at the next start.
        for extension in ["mp4", "json"] {
            let path = self.path(place, id, extension);
            if let Err(error) = self.disk.remove(&path) {
                tracing::error!(path = %path.display(), %error, "cannot remove from the spool");
                return None;
            }
        }
        if why == Eviction::ArchivedCopy {
            self.index.change(id, |record| record.local = None);
        } else {
            self.index.remove(id);
        }
        Some(SpoolEvent::Evicted { info: Box::new(record.info), why })
    }

    fn recover(&self, events: &mut Vec<SpoolEvent>) -> Result<(), Error> {
        let archived = self.read_archived();
        let mut remains: BTreeMap<ClipId, Found> = BTreeMap::new();
        for place in Place::ALL {
            self.look_into(place, &mut remains)?;
        }
        for (id, mut found) in remains {
            found.remains.is_archived = archived.contains(&id);
            match plan(&found.remains) {
                Plan::Forget => self.forget(&id)?,
                Plan::Settle(to) => self.settle_found(&id, found, to)?,
                Plan::Salvage => self.salvage(&id, found, events)?,
            }
        }
        Ok(())
    }

    /// Reads what the archive holds into the index; returns the identifiers.
    fn read_archived(&self) -> HashSet<ClipId> {
        let mut seen = HashSet::new();
        let current = self.root.join("archived.jsonl");
        self.mend_archived(&current);
        for path in self.archived_files().into_iter().map(|(_, path)| path).chain([current]) {
            let Ok(file) = fs::File::open(&path) else { continue };
            for line in BufReader::new(file).split(b'\n').map_while(Result::ok).filter(|line| !line.is_empty()) {
                match manifest::from_json(&line, &path) {
                    Ok((info, _)) => {
                        seen.insert(info.id.clone());
                        self.index.put(ClipRecord { info, state: ClipState::Archived, local: None });
                    }
                    Err(error) => tracing::warn!(%error, "a line about an archived clip is lost"),
                }
            }
        }
        self.index.forget_oldest();
        seen
    }

    /// Cuts a line that a crash left half written.
    fn mend_archived(&self, path: &Path) {
        let Ok(content) = fs::read(path) else { return };
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < content.len()
            && let Ok(mut file) = self.disk.open(path)
            && let Err(error) = file.truncate(whole as u64).and_then(|()| file.sync())
        {
            tracing::error!(path = %path.display(), %error, "cannot mend the list of archived clips");
        }
    }

    fn look_into(&self, place: Place, remains: &mut BTreeMap<ClipId, Found>) -> Result<(), Error> {
        let folder = self.root.join(place.folder());
        let entries = fs::read_dir(&folder).map_err(|error| Error::disk("list", &folder, error))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(id) = stem.and_then(|stem| ClipId::parse(stem).ok()) else { continue };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("mp4") => {
                    let bytes = fs::metadata(&path).map_err(|error| Error::disk("look at", &path, error))?.len();
                    remains.entry(id).or_default().remains.file = Some((place, bytes));
                }
                Some("json") => {
                    let found = remains.entry(id).or_default();
                    match fs::read(&path)
                        .map_err(Error::from_read(&path))
                        .and_then(|it| manifest::from_json(&it, &path))
                    {
                        Ok((info, _)) if info.closed_by.is_some() => {
                            found.remains.closed = Some((place, info.bytes));
                            found.info = Some(info);
                        }
                        Ok((info, _)) => {
                            found.remains.is_open = true;
                            found.info.get_or_insert(info);
                        }
                        Err(error) => tracing::warn!(%error, "a manifest in the spool is lost, its clip is kept"),
                    }
                }
                Some("new") => self.disk.remove(&path).map_err(|error| Error::disk("remove", &path, error))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn forget(&self, id: &ClipId) -> Result<(), Error> {
        for place in Place::ALL {
            let path = self.path(place, id, "json");
            if path.exists() {
                self.disk.remove(&path).map_err(|error| Error::disk("remove", &path, error))?;
            }
        }
        Ok(())
    }

    fn settle_found(&self, id: &ClipId, found: Found, to: Place) -> Result<(), Error> {
        let (Some((file, _)), Some((closed, _)), Some(info)) = (found.remains.file, found.remains.closed, found.info)
        else {
            return Ok(());
        };
        self.settle(id, file, closed, to)?;
        if found.remains.is_open {
            let stale = self.path(Place::Tmp, id, "json");
            self.disk.remove(&stale).map_err(|error| Error::disk("remove", &stale, error))?;
        }
        let state = if to == Place::Sent { ClipState::Archived } else { ClipState::Waiting };
        // The line about an archived clip knows better under which name the archive has it.
        let archive_name = self.index.get(id).map_or(info.archive_name, |known| known.info.archive_name);
        let info = ClipInfo { archive_name, ..info };
        self.index.put(ClipRecord { info, state, local: Some(self.path(to, id, "mp4")) });
        Ok(())
    }

    fn salvage(&self, id: &ClipId, found: Found, events: &mut Vec<SpoolEvent>) -> Result<(), Error> {
        let Some((place, _)) = found.remains.file else { return Ok(()) };
        let path = self.path(Place::Tmp, id, "mp4");
        if place != Place::Tmp {
            self.rename(&self.path(place, id, "mp4"), &path)?;
        }
        let failed = |error| Error::disk("read", &path, error);
        let mut file = fs::File::open(&path).map_err(failed)?;
        let whole = whole_part(&mut file).map_err(failed)?;
        let mut info = found.info.unwrap_or_else(|| ClipInfo::of_orphan(id.clone()));
        if whole.frames == 0 {
            self.disk.remove(&path).map_err(|error| Error::disk("remove", &path, error))?;
            self.forget(id)?;
            events.push(SpoolEvent::Discarded { id: id.clone() });
            return Ok(());
        }
        let mut head = vec![0; usize::try_from(whole.head_bytes).unwrap_or(0)];
        file = fs::File::open(&path).map_err(failed)?;
        file.read_exact(&mut head).map_err(failed)?;
        let group = GroupSpan { bytes: whole.bytes - whole.head_bytes, ticks: whole.ticks };
        let mut out = self.disk.open(&path).map_err(failed)?;
        let mend = |out: &mut Box<dyn DiskFile>| -> io::Result<()> {
            out.truncate(whole.bytes)?;
            for (at, bytes) in ClipHead::of_file(head).finish(&[group]) {
                out.overwrite(at, &bytes)?;
            }
            out.sync()
        };
        mend(&mut out).map_err(|error| Error::disk("write", &path, error))?;
        info.frames = whole.frames;
        info.bytes = whole.bytes;
        info.duration = ticks_to_duration(whole.ticks);
        info.ended = info.started.plus_micros(i64::try_from(info.duration.as_micros()).unwrap_or(0));
        info.last_sequence = info.first_sequence.saturating_add(whole.frames - 1);
        info.closed_by = Some(CloseReason::Recovered);
        info.sha256 = sha256_of(&path)?;
        self.publish(&info)?;
        let stale = self.path(Place::Sent, id, "json");
        self.disk.remove(&stale).map_err(|error| Error::disk("remove", &stale, error))?;
        let local = Some(self.path(Place::Ready, id, "mp4"));
        self.index.put(ClipRecord { info: info.clone(), state: ClipState::Waiting, local });
        events.push(SpoolEvent::Recovered(Box::new(info)));
        Ok(())
    }
}

impl Error {
    fn from_read(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::disk("read", path, error)
    }
}

#[derive(Debug, Default)]
struct Found {
    remains: Remains,
    info: Option<ClipInfo>,
}

fn ticks_to_duration(ticks: u64) -> std::time::Duration {
    std::time::Duration::from_millis(
        ticks.saturating_mul(1000) / u64::from(godvision_core::signal::media::TICKS_PER_SECOND),
    )
}

/// SHA-256 of a file. Reads it once.
pub(crate) fn sha256_of(path: &Path) -> Result<[u8; 32], Error> {
    let failed = |error| Error::disk("read", path, error);
    let mut file = fs::File::open(path).map_err(failed)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// What of a clip has reached the disk.
#[derive(Clone, Debug)]
struct Written {
    summary: ClipSummary,
    bytes: u64,
    groups: Vec<GroupSpan>,
}

/// The file of a clip that is being recorded. Dropping it leaves the file for the next start to save.
pub struct ClipWriter {
    spool: Arc<Spool>,
    id: ClipId,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    head: ClipHead,
    base_ticks: Option<u64>,
    buffer: Vec<u8>,
    /// As of what was appended.
    next: Written,
    /// As of the last successful flush.
    written: Written,
}

impl ClipWriter {
    /// The clip's identifier.
    pub fn id(&self) -> &ClipId {
        &self.id
    }

    /// Frames appended and not yet known to be on the disk.
    pub fn frames_pending(&self) -> u64 {
        self.next.summary.frames - self.written.summary.frames
    }

    /// Adds a fragment, its time counted from the clip's start. Goes to the disk at the next [`ClipWriter::flush`], or
    /// when 1 MiB has gathered. Cost: one copy of the fragment.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Disk`]: then only [`ClipWriter::give_up`] makes sense.
    pub fn append(&mut self, fragment: &Fragment) -> Result<(), Error> {
        let base = *self.base_ticks.get_or_insert(fragment.decode_ticks);
        let at = self.buffer.len();
        self.buffer.extend_from_slice(&fragment.head);
        if let Some(head) = self.buffer.get_mut(at..) {
            rebase(head, base);
        }
        self.buffer.extend_from_slice(&fragment.data);
        let size = fragment.wire_bytes() as u64;
        self.next.bytes += size;
        let end = fragment.decode_ticks.saturating_sub(base) + u64::from(fragment.duration_ticks);
        let before: u64 = self.next.groups.iter().rev().skip(1).map(|group| group.ticks).sum();
        match self.next.groups.last_mut() {
            Some(group) if fragment.kind == FrameKind::Delta => {
                group.bytes += size;
                group.ticks = end.saturating_sub(before);
            }
            last => {
                let start = end.saturating_sub(u64::from(fragment.duration_ticks));
                if let Some(last) = last {
                    // A gap before a key frame belongs to the group before it.
                    last.ticks = start.saturating_sub(before);
                }
                self.next.groups.push(GroupSpan { bytes: size, ticks: u64::from(fragment.duration_ticks) });
            }
        }
        self.next.summary.note(fragment, base);
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.file.append(&self.buffer).map_err(|error| Error::disk("write", &self.path, error))?;
            self.buffer.clear();
            self.written.clone_from(&self.next);
        }
        Ok(())
    }

    /// Writes what has gathered and syncs it: it will survive a power cut.
    ///
    /// # Errors
    /// As [`ClipWriter::append`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_out()?;
        self.file.sync().map_err(|error| Error::disk("sync", &self.path, error))?;
        let summary = &self.written.summary;
        let (frames, bytes, ended, duration) =
            (summary.frames, self.written.bytes, summary.ended.wall, summary.duration());
        self.spool.index.change(&self.id, |record| {
            record.info.frames = frames;
            record.info.bytes = bytes;
            record.info.ended = ended;
            record.info.duration = duration;
        });
        Ok(())
    }

    /// After [`Error::Full`], once space was freed: cuts what was half written and writes it again.
    ///
    /// # Errors
    /// As [`ClipWriter::append`].
    pub fn try_again(&mut self) -> Result<(), Error> {
        self.file.truncate(self.written.bytes).map_err(|error| Error::disk("cut", &self.path, error))?;
        self.flush()
    }

    /// Completes the clip. When it returns, the clip will survive anything and waits for the archive. Reads the file once
    /// for its SHA-256.
    ///
    /// # Errors
    /// As [`ClipWriter::append`], with the writer, to [`ClipWriter::give_up`]; dropped, the clip is saved at the next start.
    pub fn finish(mut self, summary: &ClipSummary) -> Result<ClipInfo, Box<(Self, Error)>> {
        match self.write_out() {
            Ok(()) => {
                self.written.summary = summary.clone();
                self.complete().map_err(|error| Box::new((self, error)))
            }
            Err(error) => Err(Box::new((self, error))),
        }
    }

    fn complete(&mut self) -> Result<ClipInfo, Error> {
        let failed = |error| Error::disk("write", &self.path, error);
        for (at, bytes) in self.head.finish(&self.written.groups) {
            self.file.overwrite(at, &bytes).map_err(failed)?;
        }
        self.file.sync().map_err(failed)?;
        let mut info = ClipInfo::of(self.id.clone(), &self.written.summary);
        info.bytes = self.written.bytes;
        info.sha256 = sha256_of(&self.path)?;
        self.spool.publish(&info)?;
        let local = Some(self.spool.path(Place::Ready, &self.id, "mp4"));
        self.spool.index.put(ClipRecord { info: info.clone(), state: ClipState::Waiting, local });
        Ok(info)
    }

    /// After an error: saves what reached the disk as a shorter clip, with the reserve if need be. Returns it, if it holds
    /// any frame, and how many frames are lost.
    pub fn give_up(mut self, error: &Error) -> (Option<ClipInfo>, u64) {
        let mut lost = self.frames_pending();
        self.buffer.clear();
        if matches!(error, Error::Full { .. }) {
            let _ = self.spool.disk.remove(&self.spool.root.join("reserve"));
        }
        self.written.summary.closed_by = Some(CloseReason::StorageFailed);
        let kept = self.written.summary.frames;
        let saved = if kept == 0 {
            // Nobody else will tell of the frames that this clip would have told of.
            lost += self.written.summary.unrecorded_before;
            None
        } else {
            let cut = self.file.truncate(self.written.bytes).map_err(|error| Error::disk("cut", &self.path, error));
            cut.and_then(|()| self.complete())
                .inspect_err(|error| tracing::error!(%error, "a clip waits for the next start"))
                .ok()
        };
        if saved.is_none() {
            self.spool.index.remove(&self.id);
            if kept == 0 {
                let _ = self.spool.disk.remove(&self.path);
                let _ = self.spool.disk.remove(&self.spool.path(Place::Tmp, &self.id, "json"));
            }
        }
        (saved, lost)
    }
}

/// Frees what can be freed without a loss when the disk itself is full.
pub(crate) fn free_space(spool: &Spool, error: &Error) -> Vec<SpoolEvent> {
    match error {
        Error::Full { .. } => spool.drop_archived_copies(FREE_AT_ONCE_BYTES),
        _ => Vec::new(),
    }
}

/// Archived copies given up at once when the disk is full.
const FREE_AT_ONCE_BYTES: u64 = 256 << 20;
