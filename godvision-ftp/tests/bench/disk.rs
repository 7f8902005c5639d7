//! A disk that stops the world after a number of operations, forgets what was not synced, or is full.
//!
//! It works on real files. What a power cut may undo is remembered: bytes behind the last sync of a file, and names
//! changed since the last sync of a folder (a journalling file system keeps their order, so a sync commits all before).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use godvision_ftp::io::disk::{Disk, DiskFile, OsDisk};

#[derive(Debug)]
enum Undo {
    Created(PathBuf),
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<Vec<u8>> },
    Removed(PathBuf, Vec<u8>),
}

#[derive(Debug, Default)]
struct State {
    left: Option<usize>,
    used: usize,
    is_dead: bool,
    capacity: Option<u64>,
    written: u64,
    synced: HashMap<PathBuf, u64>,
    undo: Vec<Undo>,
}

#[derive(Clone, Debug, Default)]
pub struct FragileDisk(Arc<Mutex<State>>);

impl FragileDisk {
    /// Everything fails from operation `left` on.
    pub fn dies_after(left: usize) -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().left = Some(left);
        disk
    }

    pub fn is_dead(&self) -> bool {
        self.0.lock().unwrap().is_dead
    }

    pub fn operations(&self) -> usize {
        self.0.lock().unwrap().used
    }

    /// Bytes that may still be written; removing gives some back.
    pub fn set_room(&self, bytes: Option<u64>) {
        let mut state = self.0.lock().unwrap();
        state.capacity = bytes.map(|bytes| state.written + bytes);
    }

    /// The power fails: what was not synced is gone.
    pub fn cut_power(&self) {
        let mut state = self.0.lock().unwrap();
        state.is_dead = true;
        for (path, len) in std::mem::take(&mut state.synced) {
            if let Ok(meta) = fs::metadata(&path)
                && meta.len() > len
            {
                fs::File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
            }
        }
        for undo in std::mem::take(&mut state.undo).into_iter().rev() {
            match undo {
                Undo::Created(path) => drop(fs::remove_file(path)),
                Undo::Renamed { from, to, replaced } => {
                    let _ = fs::rename(&to, from);
                    if let Some(content) = replaced {
                        fs::write(to, content).unwrap();
                    }
                }
                Undo::Removed(path, content) => fs::write(path, content).unwrap(),
            }
        }
    }

    fn step(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.0.lock().unwrap();
        if state.is_dead || state.left == Some(0) {
            state.is_dead = true;
            return Err(io::Error::other("the power failed"));
        }
        state.left = state.left.map(|left| left - 1);
        state.used += 1;
        Ok(state)
    }
}

struct FragileFile {
    disk: FragileDisk,
    path: PathBuf,
    inner: Box<dyn DiskFile>,
}

impl FragileFile {
    /// The file may have been renamed since it was opened; all its names share the record of the first.
    fn len(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }
}

impl DiskFile for FragileFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.step()?;
        let room = state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.written));
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        state.written += fits as u64;
        drop(state);
        self.inner.append(&bytes[..fits])?;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        drop(self.disk.step()?);
        self.inner.overwrite(at, bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.step()?;
        self.inner.truncate(len)?;
        if let Some(synced) = state.synced.get_mut(&self.path) {
            *synced = (*synced).min(len);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.step()?;
        self.inner.sync()?;
        let len = self.len();
        state.synced.insert(self.path.clone(), len);
        Ok(())
    }
}

impl Disk for FragileDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.make_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.step()?;
        let inner = OsDisk.create(path)?;
        state.undo.push(Undo::Created(path.to_owned()));
        state.synced.insert(path.to_owned(), 0);
        Ok(Box::new(FragileFile { disk: self.clone(), path: path.to_owned(), inner }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.step()?;
        let inner = OsDisk.open(path)?;
        let len = fs::metadata(path)?.len();
        state.synced.entry(path.to_owned()).or_insert(len);
        Ok(Box::new(FragileFile { disk: self.clone(), path: path.to_owned(), inner }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        let replaced = fs::read(to).ok();
        OsDisk.rename(from, to)?;
        state.undo.push(Undo::Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
        if let Some(len) = state.synced.remove(from) {
            state.synced.insert(to.to_owned(), len);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        if let Ok(content) = fs::read(path) {
            state.written = state.written.saturating_sub(content.len() as u64);
            state.undo.push(Undo::Removed(path.to_owned(), content));
        }
        state.synced.remove(path);
        OsDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        let touches = |it: &Path| it.parent() == Some(path);
        let last = state.undo.iter().rposition(|undo| match undo {
            Undo::Created(at) | Undo::Removed(at, _) => touches(at),
            Undo::Renamed { from, to, .. } => touches(from) || touches(to),
        });
        if let Some(last) = last {
            state.undo.drain(..=last);
        }
        OsDisk.sync_dir(path)
    }
}
