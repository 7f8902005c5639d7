//! [`SpentLog`]: the uses of passes in an append-only file.
//!
//! A first line names the format; then one line of 34 bytes a use:
//! ```text
//! godvision spent passes 1
//! 00 000000000007 00000002 1c5a93e1      key, pass, uses so far, first 4 bytes of SHA-256 of what is before
//! ```
//! A use counts once its line is synced to the disk. A line that a crash cut short, or left as zero bytes, was never
//! acknowledged and is cut off at the next start. Any other damage is an error: somebody has to look, since a lost line
//! would let a pass open once more.
//!
//! The calls block for one `fsync` (milliseconds); `SharedSpentLog` runs them on tokio's blocking threads.
//!
//! **Never:** rewriting the file, dropping the lines of expired passes (a clock set wrong would revive them).

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::pass::PassId;
use crate::spent::{PassNumber, Spend};

/// Most uses that one file keeps (34 MB); a site that fills it starts a new pass key and a new file.
pub const LINES_MAX: usize = 1_000_000;

const HEAD: &[u8; 25] = b"godvision spent passes 1\n";
const LINE_BYTES: usize = 34;

/// An open file of spent passes. One process holds it: the file is locked.
pub struct SpentLog {
    path: PathBuf,
    file: File,
    /// Bytes that are known to be good and synced.
    good_bytes: u64,
    counts: HashMap<PassNumber, u32>,
    lines: usize,
    lines_max: usize,
    /// A write failed and what it left could not be taken back: the file must be opened anew.
    is_broken: bool,
}

impl SpentLog {
    /// Opens or creates the file and reads it. Cuts off what a crash left unfinished at its end.
    ///
    /// # Errors
    /// [`Error::SpentFile`] (also if another process holds it), [`Error::SpentDamaged`], [`Error::SpentFull`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with_limit(path, LINES_MAX)
    }

    fn open_with_limit(path: &Path, lines_max: usize) -> Result<Self, Error> {
        let failed = |source| Error::SpentFile { path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        file.try_lock().map_err(|error| failed(error.into()))?;
        let length_max = HEAD.len() + LINE_BYTES * (lines_max + 1);
        let mut content = Vec::new();
        (&mut file).take(length_max as u64 + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() > length_max {
            return Err(Error::SpentFull { limit: lines_max });
        }
        let Found { counts, lines, good_bytes } =
            read(&content).map_err(|offset| Error::SpentDamaged { path: path.to_owned(), offset })?;
        let mut log = Self { path: path.to_owned(), file, good_bytes, counts, lines, lines_max, is_broken: false };
        if good_bytes == 0 {
            log.start().map_err(failed)?;
        } else if (content.len() as u64) > good_bytes {
            log.file.set_len(good_bytes).and_then(|()| log.file.sync_all()).map_err(failed)?;
        }
        Ok(log)
    }

    fn start(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(HEAD)?;
        self.file.sync_all()?;
        self.good_bytes = HEAD.len() as u64;
        // The file's name must survive a crash as well as its content.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// How often the pass has been used.
    pub fn uses(&self, pass: PassNumber) -> u32 {
        self.counts.get(&pass).copied().unwrap_or(0)
    }

    /// Uses up one of at most `uses_max`. Blocks until it is on the disk.
    ///
    /// # Errors
    /// [`Error::SpentFile`], [`Error::SpentFull`]: refuse.
    pub fn spend(&mut self, pass: PassNumber, uses_max: u32) -> Result<Spend, Error> {
        let uses = self.uses(pass).saturating_add(1);
        if uses > uses_max {
            return Ok(Spend::AlreadySpent);
        }
        if self.lines >= self.lines_max {
            return Err(Error::SpentFull { limit: self.lines_max });
        }
        let written = if self.is_broken { Err(std::io::ErrorKind::BrokenPipe.into()) } else { self.append(pass, uses) };
        if let Err(source) = written {
            // Take back what was half written, or the next line would stand behind it.
            let undone = self.file.set_len(self.good_bytes).and_then(|()| self.file.sync_all());
            self.is_broken = undone.is_err();
            return Err(Error::SpentFile { path: self.path.clone(), source });
        }
        self.good_bytes += LINE_BYTES as u64;
        self.lines += 1;
        self.counts.insert(pass, uses);
        Ok(Spend::Kept { uses })
    }

    fn append(&mut self, pass: PassNumber, uses: u32) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.good_bytes))?;
        self.file.write_all(line(pass, uses).as_bytes())?;
        self.file.sync_data()
    }
}

impl fmt::Debug for SpentLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} uses of passes in {}", self.lines, self.path.display())
    }
}

fn line((key, pass): PassNumber, uses: u32) -> String {
    let body = format!("{key:02x} {pass} {uses:08x} ");
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    format!("{body}{a:02x}{b:02x}{c:02x}{d:02x}\n")
}

struct Found {
    counts: HashMap<PassNumber, u32>,
    lines: usize,
    good_bytes: u64,
}

/// What the file says; `Err` is the offset of damage that no crash explains.
fn read(content: &[u8]) -> Result<Found, u64> {
    let mut found = Found { counts: HashMap::new(), lines: 0, good_bytes: 0 };
    let Some(body) = content.strip_prefix(HEAD) else {
        let is_unfinished = HEAD.starts_with(content) || content.iter().all(|byte| *byte == 0);
        return if is_unfinished { Ok(found) } else { Err(0) };
    };
    found.good_bytes = HEAD.len() as u64;
    let mut rest = body;
    while let Some((text, after)) = rest.split_first_chunk::<LINE_BYTES>() {
        let Some((pass, uses)) = parsed(text) else { break };
        if uses != found.counts.get(&pass).copied().unwrap_or(0).saturating_add(1) {
            return Err(found.good_bytes);
        }
        found.counts.insert(pass, uses);
        found.lines += 1;
        found.good_bytes += LINE_BYTES as u64;
        rest = after;
    }
    // A crash leaves the beginning of one line, or zero bytes where it should be.
    let is_unfinished = rest.len() < LINE_BYTES || rest.iter().all(|byte| *byte == 0);
    if is_unfinished { Ok(found) } else { Err(found.good_bytes) }
}

fn parsed(text: &[u8; LINE_BYTES]) -> Option<(PassNumber, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.strip_suffix('\n')?.split(' ');
    let key = u8::from_str_radix(fields.next()?, 16).ok()?;
    let [_, _, pass @ ..] = u64::from_str_radix(fields.next()?, 16).ok()?.to_be_bytes();
    let uses = u32::from_str_radix(fields.next()?, 16).ok()?;
    // Only the one text that would have been written counts, its sum included.
    (line((key, PassId(pass)), uses) == text).then_some(((key, PassId(pass)), uses))
}

#[cfg(feature = "component")]
mod store {
    use std::sync::{Arc, Mutex, PoisonError};

    use godvision_core::driver::BoxFuture;

    use super::{Error, PassNumber, Spend, SpentLog};
    use crate::spent::SpentStore;

    /// A [`SpentLog`] for many tasks.
    #[derive(Clone, Debug)]
    pub struct SharedSpentLog(Arc<Mutex<SpentLog>>);

    impl From<SpentLog> for SharedSpentLog {
        fn from(log: SpentLog) -> Self {
            Self(Arc::new(Mutex::new(log)))
        }
    }

    impl SpentStore for SharedSpentLog {
        fn uses(&self, pass: PassNumber) -> BoxFuture<'_, Result<u32, Error>> {
            let log = Arc::clone(&self.0);
            // The lock may be held during another's fsync.
            let read = move || log.lock().unwrap_or_else(PoisonError::into_inner).uses(pass);
            Box::pin(async move { tokio::task::spawn_blocking(read).await.map_err(|_| Error::DoorStopped) })
        }

        fn spend(&self, pass: PassNumber, uses_max: u32) -> BoxFuture<'_, Result<Spend, Error>> {
            let log = Arc::clone(&self.0);
            let write = move || log.lock().unwrap_or_else(PoisonError::into_inner).spend(pass, uses_max);
            Box::pin(async move { tokio::task::spawn_blocking(write).await.map_err(|_| Error::DoorStopped)? })
        }
    }
}
#[cfg(feature = "component")]
pub use store::SharedSpentLog;

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: PassNumber = (7, PassId([0, 0, 0, 0, 0xab, 1]));
    const OTHER: PassNumber = (7, PassId([0xff; 6]));

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("godvision-spent-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("spent.log")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn uses_survive_a_restart() {
        let folder = Folder::new("restart");
        for used in 0..3 {
            let mut log = SpentLog::open(&folder.file()).unwrap();
            assert_eq!(log.uses(PASS), used);
            assert_eq!(log.spend(PASS, 3).unwrap(), Spend::Kept { uses: used + 1 });
            assert_eq!(
                log.spend(OTHER, 1).unwrap(),
                if used == 0 { Spend::Kept { uses: 1 } } else { Spend::AlreadySpent }
            );
        }
        let mut log = SpentLog::open(&folder.file()).unwrap();
        assert_eq!(log.spend(PASS, 3).unwrap(), Spend::AlreadySpent);
        assert_eq!(std::fs::metadata(folder.file()).unwrap().len(), (HEAD.len() + 4 * LINE_BYTES) as u64);
    }

    #[test]
    fn a_crash_at_any_byte_loses_nothing_that_was_acknowledged() {
        let folder = Folder::new("crash");
        let mut log = SpentLog::open(&folder.file()).unwrap();
        for _ in 0..3 {
            log.spend(PASS, 9).unwrap();
        }
        drop(log);
        let whole = std::fs::read(folder.file()).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(folder.file(), &whole[..length]).unwrap();
            let mut log = SpentLog::open(&folder.file()).unwrap();
            let lines = length.saturating_sub(HEAD.len()) / LINE_BYTES;
            assert_eq!(log.uses(PASS) as usize, lines, "{length} bytes");
            assert_eq!(log.spend(PASS, 9).unwrap(), Spend::Kept { uses: lines as u32 + 1 });
            drop(log);
            assert_eq!(SpentLog::open(&folder.file()).unwrap().uses(PASS) as usize, lines + 1);
        }
        for zeros in [1, LINE_BYTES, 4096] {
            std::fs::write(folder.file(), [whole.as_slice(), &vec![0; zeros]].concat()).unwrap();
            assert_eq!(SpentLog::open(&folder.file()).unwrap().uses(PASS), 3);
        }
    }

    #[test]
    fn damage_that_no_crash_explains_is_an_error() {
        let folder = Folder::new("damage");
        let mut log = SpentLog::open(&folder.file()).unwrap();
        for _ in 0..3 {
            log.spend(PASS, 9).unwrap();
        }
        drop(log);
        let whole = std::fs::read(folder.file()).unwrap();
        for offset in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[offset] ^= 1;
            std::fs::write(folder.file(), &damaged).unwrap();
            let error = SpentLog::open(&folder.file()).unwrap_err();
            let at = offset.checked_sub(HEAD.len()).map_or(0, |it| HEAD.len() + it / LINE_BYTES * LINE_BYTES);
            assert!(matches!(error, Error::SpentDamaged { offset, .. } if offset == at as u64), "{offset}: {error}");
        }
        let line_gone = [&whole[..HEAD.len()], &whole[HEAD.len() + LINE_BYTES..]].concat();
        std::fs::write(folder.file(), line_gone).unwrap();
        assert!(SpentLog::open(&folder.file()).is_err(), "a line is missing");
        std::fs::write(folder.file(), "something else\n").unwrap();
        assert!(SpentLog::open(&folder.file()).is_err());
    }

    #[test]
    fn one_process_holds_the_file() {
        let folder = Folder::new("lock");
        let _held = SpentLog::open(&folder.file()).unwrap();
        assert!(matches!(SpentLog::open(&folder.file()), Err(Error::SpentFile { .. })));
    }

    #[test]
    fn a_full_file_refuses() {
        let folder = Folder::new("full");
        let mut log = SpentLog::open_with_limit(&folder.file(), 2).unwrap();
        log.spend(PASS, 9).unwrap();
        log.spend(PASS, 9).unwrap();
        assert!(matches!(log.spend(PASS, 9), Err(Error::SpentFull { limit: 2 })));
        assert_eq!(log.uses(PASS), 2);
        drop(log);
        assert!(SpentLog::open_with_limit(&folder.file(), 2).is_ok());
        std::fs::write(folder.file(), vec![b'x'; HEAD.len() + 3 * LINE_BYTES + 1]).unwrap();
        assert!(matches!(SpentLog::open_with_limit(&folder.file(), 2), Err(Error::SpentFull { .. })));
    }

    #[test]
    fn a_disk_that_does_not_take_it_refuses() {
        let mut log = SpentLog {
            path: "/dev/full".into(),
            file: OpenOptions::new().read(true).write(true).open("/dev/full").unwrap(),
            good_bytes: 0,
            counts: HashMap::new(),
            lines: 0,
            lines_max: 2,
            is_broken: false,
        };
        assert!(matches!(log.spend(PASS, 9), Err(Error::SpentFile { .. })));
        assert_eq!(log.uses(PASS), 0);
        assert!(log.spend(PASS, 9).is_err(), "and goes on refusing");
    }
}
