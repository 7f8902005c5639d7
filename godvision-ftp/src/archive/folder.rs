//! [`FolderArchive`]: a local folder as the archive; the default, which needs no server.
//!
//! On the spool's own file system a clip is published by a hard link, which costs nothing and is atomic. Elsewhere it is
//! copied to a `.part`, checked by SHA-256, synced and renamed.
//!
//! **Never:** changes to a published file.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::archive::{Archive, ArchiveError, Capabilities, Stored, Upload, checked_name};

use super::part_name;
use crate::error::is_full;
use crate::io::spool::sha256_of;

/// Bytes copied between two reports of progress.
const CHUNK_BYTES: usize = 1 << 20;

/// How files come into a [`FolderArchive`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Placing {
    /// By a hard link where the file system allows it, else by a copy.
    #[default]
    Link,
    /// Always by a copy.
    Copy,
}

/// A folder that keeps clips.
#[derive(Clone, Debug)]
pub struct FolderArchive {
    root: Arc<Path>,
    placing: Placing,
    /// One file at a time, also after a caller has given up waiting.
    turn: Arc<Mutex<()>>,
    capabilities: Capabilities,
}

impl FolderArchive {
    /// The folder `root`; made when the first clip comes.
    pub fn new(root: impl Into<PathBuf>, placing: Placing) -> Self {
        let capabilities = Capabilities { driver: "folder", resumes: true, reads_ranges: true, is_remote: false };
        Self { root: root.into().into(), placing, turn: Arc::default(), capabilities }
    }

    fn address(&self) -> String {
        self.root.display().to_string()
    }

    fn failed(&self, error: &io::Error) -> ArchiveError {
        let (address, detail) = (self.address(), error.to_string());
        match error.kind() {
            _ if is_full(error) => ArchiveError::Full { address, detail },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
                ArchiveError::Denied { address, detail }
            }
            _ => ArchiveError::Unreachable { address, detail },
        }
    }

    /// Runs `work` where it may block.
    fn blocking<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ArchiveError> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, ArchiveError>> {
        let this = self.clone();
        Box::pin(async move {
            let address = this.address();
            match tokio::task::spawn_blocking(move || work(&this)).await {
                Ok(result) => result,
                Err(error) => Err(ArchiveError::Unreachable { address, detail: error.to_string() }),
            }
        })
    }

    fn size_of(&self, path: &Path) -> Result<Option<u64>, ArchiveError> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Whether the final name is taken: by this file (`true`), by nothing (`false`), by another (an error).
    fn is_there(&self, target: &Path, upload: &Upload) -> Result<bool, ArchiveError> {
        match self.size_of(target)? {
            None => Ok(false),
            Some(size) if size == upload.size_bytes => Ok(true),
            Some(found) => Err(ArchiveError::Mismatch {
                address: self.address(),
                name: upload.name.clone(),
                expected: upload.size_bytes,
                found,
            }),
        }
    }

    /// `tell` answers whether anybody still waits for the file.
    fn place(&self, upload: &Upload, tell: &dyn Fn(u64) -> bool) -> Result<Stored, ArchiveError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let target = self.root.join(&upload.name);
        let folder = target.parent().unwrap_or(&self.root);
        let sync = |folder: &Path| fs::File::open(folder).and_then(|folder| folder.sync_all());
        if !self.is_there(&target, upload)? {
            self.make_folder(folder)?;
            let is_linked = self.placing == Placing::Link && {
                // The size is of the file as it is now, not as it was promised.
                let is_whole = fs::metadata(&upload.file).is_ok_and(|meta| meta.len() == upload.size_bytes);
                is_whole && fs::hard_link(&upload.file, &target).is_ok()
            };
            if !is_linked {
                let part = self.root.join(part_name(upload));
                self.copy(upload, &part, tell)?;
                // No other may have come between; renaming would replace it.
                if !self.is_there(&target, upload)? {
                    fs::rename(&part, &target).map_err(|error| self.failed(&error))?;
                }
            }
        }
        sync(folder).map_err(|error| self.failed(&error))?;
        let size_bytes = self.size_of(&target)?.unwrap_or(0);
        if size_bytes != upload.size_bytes {
            return Err(ArchiveError::Mismatch {
                address: self.address(),
                name: upload.name.clone(),
                expected: upload.size_bytes,
                found: size_bytes,
            });
        }
        tell(size_bytes);
        Ok(Stored { name: upload.name.clone(), size_bytes })
    }

    /// Makes `folder` and makes sure that its name, and those above it, would survive a power cut.
    fn make_folder(&self, folder: &Path) -> Result<(), ArchiveError> {
        if folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(|error| self.failed(&error))?;
        for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&*self.root)) {
            fs::File::open(above).and_then(|above| above.sync_all()).map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    fn copy(&self, upload: &Upload, part: &Path, tell: &dyn Fn(u64) -> bool) -> Result<(), ArchiveError> {
        let local = |error: io::Error| ArchiveError::Local { path: upload.file.clone(), detail: error.to_string() };
        let failed = |error: io::Error| self.failed(&error);
        let mut from = fs::File::open(&upload.file).map_err(local)?;
        let mut to = fs::OpenOptions::new().create(true).append(true).open(part).map_err(failed)?;
        let mut at = to.metadata().map_err(failed)?.len();
        if at > upload.size_bytes {
            to.set_len(0).map_err(failed)?;
            at = 0;
        }
        from.seek(SeekFrom::Start(at)).map_err(local)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            if !tell(at) {
                let detail = "given up by the caller".to_owned();
                return Err(ArchiveError::Unreachable { address: self.address(), detail });
            }
            let read = from.read(&mut buffer).map_err(local)?;
            if read == 0 {
                break;
            }
            to.write_all(buffer.get(..read).unwrap_or_default()).map_err(failed)?;
            at += read as u64;
        }
        to.sync_all().map_err(failed)?;
        // What an earlier try left may have been torn by a power cut.
        let is_same = sha256_of(part).is_ok_and(|found| found == upload.sha256);
        if at != upload.size_bytes || !is_same {
            fs::remove_file(part).map_err(failed)?;
            let (address, name) = (self.address(), upload.name.clone());
            return Err(ArchiveError::Mismatch { address, name, expected: upload.size_bytes, found: at });
        }
        Ok(())
    }
}

impl Archive for FolderArchive {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn store<'a>(
        &'a self,
        upload: &'a Upload,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Stored, ArchiveError>> {
        Box::pin(async move {
            checked_name(&upload.name)?;
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            let owned = upload.clone();
            // The receiver lives as long as the caller waits.
            let work = self.blocking(move |this| this.place(&owned, &|bytes| sender.send(bytes).is_ok()));
            let tell = async {
                while let Some(bytes) = receiver.recv().await {
                    progress(bytes);
                }
            };
            tokio::join!(work, tell).0
        })
    }

    fn stat<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Stored>, ArchiveError>> {
        if let Err(error) = checked_name(name) {
            return Box::pin(async move { Err(error) });
        }
        let name = name.to_owned();
        self.blocking(move |this| {
            let size = this.size_of(&this.root.join(&name))?;
            Ok(size.map(|size_bytes| Stored { name, size_bytes }))
        })
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<Bytes, ArchiveError>> {
        if let Err(error) = checked_name(name) {
            return Box::pin(async move { Err(error) });
        }
        let name = name.to_owned();
        self.blocking(move |this| {
            let mut file = match fs::File::open(this.root.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ArchiveError::NotFound { name }),
                other => other.map_err(|error| this.failed(&error))?,
            };
            let mut out = Vec::new();
            file.seek(SeekFrom::Start(range.start)).map_err(|error| this.failed(&error))?;
            let wanted = range.end.saturating_sub(range.start);
            file.take(wanted).read_to_end(&mut out).map_err(|error| this.failed(&error))?;
            Ok(out.into())
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), ArchiveError>> {
        if let Err(error) = checked_name(name) {
            return Box::pin(async move { Err(error) });
        }
        let name = name.to_owned();
        self.blocking(move |this| match fs::remove_file(this.root.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(this.failed(&error)),
            _ => Ok(()),
        })
    }
}
