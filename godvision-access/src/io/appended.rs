//! [`Appended`]: a file to which lines are added, each on the disk before it counts, and which is now and then replaced
//! whole by a shorter one.
//!
//! One process holds it: a file beside it, ending in `.lock`, is locked. A failed addition is taken back, or the next one
//! would stand behind half of it. A replacement is written beside it, ending in `.new`, synced and renamed, so a crash
//! leaves the one file or the other, both whole.
//!
//! **Never:** a line acknowledged into a file that no longer has the name; what the lines mean.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An open file.
pub(super) struct Appended {
    path: PathBuf,
    pub(super) file: File,
    _lock: File,
    /// Bytes that are known to be good and synced.
    good_bytes: u64,
    /// A write failed and what it left could not be taken back, or a new file's name is not on the disk yet.
    is_broken: bool,
}

impl Appended {
    /// Opens the file and reads at most `bytes_max` and one byte more, so that too long a file shows; makes it with what
    /// `fresh` says if there is none. All of it counts as good until [`Appended::cut`].
    pub(super) fn open(path: &Path, bytes_max: usize, fresh: impl FnOnce() -> String) -> Result<(Self, Vec<u8>)> {
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(beside(path, ".lock"))?;
        lock.try_lock()?;
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => renamed(path, &fresh())?,
            other => other?,
        };
        // The file may be new, or a program before us may have died just when it had put it here.
        sync_folder(path)?;
        // What a crash in the middle of a replacement left; its content is in the file still.
        let _ = std::fs::remove_file(beside(path, ".new"));
        let mut content = Vec::new();
        file.rewind()?;
        (&mut file).take(bytes_max as u64 + 1).read_to_end(&mut content)?;
        let good_bytes = content.len() as u64;
        Ok((Self { path: path.to_owned(), file, _lock: lock, good_bytes, is_broken: false }, content))
    }

    /// Cuts off everything after `good_bytes`.
    pub(super) fn cut(&mut self, good_bytes: usize) -> Result<()> {
        let good_bytes = good_bytes as u64;
        if good_bytes < self.good_bytes {
            self.good_bytes = good_bytes;
            self.is_broken = true;
            self.take_back()?;
        }
        Ok(())
    }

    /// Adds `text`. Blocks until it is on the disk; if this fails, nothing of it counts.
    pub(super) fn append(&mut self, text: &str) -> Result<()> {
        if self.is_broken {
            self.take_back()?;
        }
        let written = self.write(text);
        if written.is_err() {
            self.is_broken = true;
            let _ = self.take_back();
        } else {
            self.good_bytes += text.len() as u64;
        }
        written
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.good_bytes))?;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }

    fn take_back(&mut self) -> Result<()> {
        self.file.set_len(self.good_bytes)?;
        self.file.sync_all()?;
        sync_folder(&self.path)?;
        self.is_broken = false;
        Ok(())
    }

    /// Puts a file that says `text` in the place of this one. If this fails, the old one goes on serving.
    pub(super) fn replace(&mut self, text: &str) -> Result<()> {
        if self.is_broken {
            self.take_back()?;
        }
        self.file = renamed(&self.path, text)?;
        self.good_bytes = text.len() as u64;
        // Until it is certain that the new file has the name, a crash could bring the old one back.
        self.is_broken = sync_folder(&self.path).is_err();
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// A whole new file under `path`, in place of the one that may be there. If this fails, that one is still there. The name
/// is not synced yet: [`sync_folder`].
fn renamed(path: &Path, text: &str) -> Result<File> {
    let new = beside(path, ".new");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    Ok(file)
}

/// Makes sure that the file's name survives a crash as well as its content.
fn sync_folder(path: &Path) -> Result<()> {
    if !cfg!(unix) {
        // Elsewhere a folder is no file that could be synced.
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_replacement_changes_nothing_and_a_replaced_file_is_the_one_that_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let (mut file, content) = Appended::open(&path, 100, || "head\n".into()).unwrap();
        assert_eq!(content, b"head\n");
        file.append("one\n").unwrap();
        std::fs::create_dir(beside(&path, ".new")).unwrap();
        assert!(file.replace("head\n").is_err());
        file.append("two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "head\none\ntwo\n");
        std::fs::remove_dir(beside(&path, ".new")).unwrap();
        file.replace("head\n").unwrap();
        file.append("three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "head\nthree\n");
        assert!(Appended::open(&path, 100, String::new).is_err(), "one process holds it, before and after");
        drop(file);
        let (mut file, content) = Appended::open(&path, 100, String::new).unwrap();
        assert_eq!(content, b"head\nthree\n");
        file.cut(5).unwrap();
        file.append("four\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "head\nfour\n");
    }

    #[test]
    fn what_cannot_be_written_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let (mut file, _) = Appended::open(&path, 100, || "head\n".into()).unwrap();
        let good = std::mem::replace(&mut file.file, File::open(&path).unwrap());
        assert!(file.append("one\n").is_err(), "opened to read");
        assert!(file.is_broken && file.append("one\n").is_err());
        file.file = good;
        file.append("two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "head\ntwo\n");
    }
}
