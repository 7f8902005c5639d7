//! [`Disk`]: every way in which the spool changes a disk.
//!
//! [`OsDisk`] is the real one. The trait exists so that a test can count the operations, stop the world after any of
//! them, forget what was not synced, and run out of space: the spool's promises are checked at every single step.
//!
//! **Never:** reading. What is there is read with `std::fs`; only changes can be lost.

use std::fmt;
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// A file being written.
pub trait DiskFile: Send {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// Of the system; some of the bytes may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Overwrites bytes that were written before.
    ///
    /// # Errors
    /// Of the system.
    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// Of the system.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Returns once the content would survive a power cut.
    ///
    /// # Errors
    /// Of the system. After an error the content is unknown.
    fn sync(&mut self) -> io::Result<()>;
}

/// Changes to a file system.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// Of the system.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Begins a new file; it must not exist.
    ///
    /// # Errors
    /// Of the system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file to add to it or cut it.
    ///
    /// # Errors
    /// Of the system.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Renames, replacing what is there.
    ///
    /// # Errors
    /// Of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; removing what is not there is no error.
    ///
    /// # Errors
    /// Of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns once the names in a folder would survive a power cut.
    ///
    /// # Errors
    /// Of the system.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

struct OsFile(fs::File);

impl DiskFile for OsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(at))?;
        self.0.write_all(bytes)?;
        self.0.seek(SeekFrom::End(0)).map(drop)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        self.0.seek(SeekFrom::End(0)).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Disk for OsDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        fs::File::create_new(path).map(|file| Box::new(OsFile(file)) as Box<dyn DiskFile>)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(OsFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }
}
