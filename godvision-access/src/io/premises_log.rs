//! [`PremisesLog`]: what a power cut must not undo on the premises, in an append-only file.
//!
//! A first line names the format, then one line a change ([`crate::premises::Kept`]) with the first 4 bytes of its
//! SHA-256:
//! ```text
//! godvision premises 1
//! at ada lab 1795420801000000 5f1c0a77
//! lockdown yard/door on 0b9e2c41
//! ```
//! A change counts once its line is synced. A line that a crash cut short was never acknowledged and is cut off at the
//! next start; any other damage is an error, since a lost line could be a lockdown. When most lines have been replaced by
//! later ones the file is written anew beside itself and renamed.
//!
//! The calls block for one `fsync` (milliseconds); `SharedPremisesLog` runs them on tokio's blocking threads.
//!
//! **Never:** deciding what follows from damage: the application does (shut everything and say so).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::premises::{Kept, LINE_BYTES_MAX, Ledger};

/// Most bytes of the file. A site of 200 000 persons needs a tenth.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// The file is written anew when it has this many lines more than twice what they amount to.
pub const SLACK_LINES: usize = 4_096;

const HEAD: &str = "godvision premises 1\n";

/// An open file of what happened on the premises. One process holds it: the file is locked.
pub struct PremisesLog {
    path: PathBuf,
    file: File,
    ledger: Ledger,
    lines: usize,
    /// Bytes that are known to be good and synced.
    good_bytes: u64,
    slack_lines: usize,
    /// A write failed and what it left could not be taken back: the file must be opened anew.
    is_broken: bool,
}

impl PremisesLog {
    /// Opens or creates the file and reads it. Cuts off what a crash left unfinished at its end.
    ///
    /// # Errors
    /// [`Error::PremisesFile`] (also if another process holds it, or it is too large), [`Error::PremisesDamaged`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with_slack(path, SLACK_LINES)
    }

    fn open_with_slack(path: &Path, slack_lines: usize) -> Result<Self, Error> {
        let failed = |source| Error::PremisesFile { path: path.to_owned(), source };
        let mut file = open_locked(path).map_err(failed)?;
        let mut content = Vec::new();
        (&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 > FILE_BYTES_MAX {
            return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
        }
        let found = read(&content).map_err(|offset| Error::PremisesDamaged { path: path.to_owned(), offset })?;
        let Found { ledger, lines, good_bytes } = found;
        let mut log = Self { path: path.to_owned(), file, ledger, lines, good_bytes, slack_lines, is_broken: false };
        if good_bytes == 0 {
            log.rewrite().map_err(failed)?;
        } else if content.len() as u64 > good_bytes {
            log.file.set_len(good_bytes).and_then(|()| log.file.sync_all()).map_err(failed)?;
        }
        Ok(log)
    }

    /// What all changes so far amount to: for [`crate::premises::Premises::restore`].
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Keeps `changes`, in this order. Blocks until they are on the disk. A power cut meanwhile keeps a beginning of them.
    ///
    /// # Errors
    /// [`Error::PremisesFile`]; nothing of `changes` counts then.
    pub fn keep(&mut self, changes: &[Kept]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let text: String = changes.iter().map(line).collect();
        let written = if self.is_broken { Err(std::io::ErrorKind::BrokenPipe.into()) } else { self.append(&text) };
        if let Err(source) = written {
            // Take back what was half written, or the next line would stand behind it.
            let undone = self.file.set_len(self.good_bytes).and_then(|()| self.file.sync_all());
            self.is_broken = undone.is_err();
            return Err(Error::PremisesFile { path: self.path.clone(), source });
        }
        self.good_bytes += text.len() as u64;
        self.lines += changes.len();
        changes.iter().for_each(|change| self.ledger.apply(change.clone()));
        if self.lines > self.ledger.len() * 2 + self.slack_lines {
            // What was kept is kept; a file that stays long is no failure.
            if let Err(source) = self.rewrite() {
                self.is_broken = self.file.seek(SeekFrom::Start(self.good_bytes)).is_err();
                drop(source);
            }
        }
        Ok(())
    }

    fn append(&mut self, text: &str) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.good_bytes))?;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }

    /// Writes the file anew beside itself and puts it in its place.
    fn rewrite(&mut self) -> std::io::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let mut text = HEAD.to_owned();
        text.extend(self.ledger.changes().map(|change| line(&change)));
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&beside)?;
        file.try_lock()?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        // The name must survive a crash as well as the content.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        (self.file, self.good_bytes, self.lines) = (file, text.len() as u64, self.ledger.len());
        Ok(())
    }
}

impl fmt::Debug for PremisesLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes in {}", self.lines, self.path.display())
    }
}

fn open_locked(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.try_lock()?;
    Ok(file)
}

fn line(change: &Kept) -> String {
    let body = format!("{change} ");
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    format!("{body}{a:02x}{b:02x}{c:02x}{d:02x}\n")
}

struct Found {
    ledger: Ledger,
    lines: usize,
    good_bytes: u64,
}

/// What the file says; `Err` is the offset of damage that no crash explains.
fn read(content: &[u8]) -> Result<Found, u64> {
    let mut found = Found { ledger: Ledger::default(), lines: 0, good_bytes: 0 };
    let Some(mut rest) = content.strip_prefix(HEAD.as_bytes()) else {
        let zeros = content.iter().rev().take_while(|byte| **byte == 0).count();
        let is_unfinished = content.get(..content.len() - zeros).is_some_and(|it| HEAD.as_bytes().starts_with(it));
        return if is_unfinished { Ok(found) } else { Err(0) };
    };
    found.good_bytes = HEAD.len() as u64;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (text, after) = rest.split_at(end + 1);
        let Some(change) = parsed(text) else {
            // Zero bytes that a crash left may hide an end of line that was written after them.
            let is_unfinished = rest.iter().all(|byte| *byte == 0);
            return if is_unfinished { Ok(found) } else { Err(found.good_bytes) };
        };
        found.ledger.apply(change);
        found.lines += 1;
        found.good_bytes += text.len() as u64;
        rest = after;
    }
    // A crash leaves the beginning of one batch, or zero bytes where it should be.
    let is_unfinished = rest.len() <= LINE_BYTES_MAX || rest.iter().all(|byte| *byte == 0);
    if is_unfinished { Ok(found) } else { Err(found.good_bytes) }
}

fn parsed(text: &[u8]) -> Option<Kept> {
    let text = std::str::from_utf8(text).ok()?;
    let (body, _) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    let change: Kept = body.parse().ok()?;
    // Only the one text that would have been written counts, its sum included.
    (line(&change) == text).then_some(change)
}

#[cfg(feature = "component")]
pub use store::SharedPremisesLog;

#[cfg(feature = "component")]
mod store {
    use std::sync::{Arc, Mutex, PoisonError};

    use godvision_core::driver::BoxFuture;

    use super::{Error, Kept, PremisesLog};
    use crate::premises::PremisesStore;

    /// A [`PremisesLog`] for many tasks.
    #[derive(Clone, Debug)]
    pub struct SharedPremisesLog(Arc<Mutex<PremisesLog>>);

    impl From<PremisesLog> for SharedPremisesLog {
        fn from(log: PremisesLog) -> Self {
            Self(Arc::new(Mutex::new(log)))
        }
    }

    impl PremisesStore for SharedPremisesLog {
        fn keep(&self, changes: Vec<Kept>) -> BoxFuture<'_, Result<(), Error>> {
            let log = Arc::clone(&self.0);
            Box::pin(async move {
                let kept = tokio::task::spawn_blocking(move || {
                    log.lock().unwrap_or_else(PoisonError::into_inner).keep(&changes)
                });
                kept.await.unwrap_or(Err(Error::DoorStopped))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::premises::Failing;
    use godvision_core::{Name, WallTime};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn changes() -> Vec<Kept> {
        let at = WallTime::from_unix_seconds(1_795_420_800);
        vec![
            Kept::At { person: name("ada"), area: Some(name("lab")), since: at },
            Kept::Lockdown { door: name("yard/door"), is_on: true },
            Kept::Failed { failing: Failing::Source(name("yard/keypad")), count: 6, until: at, last: at },
            Kept::At { person: name("ada"), area: None, since: at },
            Kept::Emergency { is_on: true },
            Kept::Lockdown { door: name("yard/door"), is_on: false },
        ]
    }

    #[test]
    fn what_was_kept_is_there_after_a_power_cut_at_any_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("premises");
        let mut ends = vec![];
        {
            let mut log = PremisesLog::open(&path).unwrap();
            ends.push((log.good_bytes, log.ledger.clone()));
            for change in changes() {
                log.keep(&[change]).unwrap();
                ends.push((log.good_bytes, log.ledger.clone()));
            }
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            for zeros in [0, 7] {
                let mut content = whole[..cut].to_vec();
                content.resize(cut + zeros, 0);
                std::fs::write(&path, &content).unwrap();
                let mut log = PremisesLog::open(&path).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
                let kept = ends.iter().rev().find(|(end, _)| *end <= cut as u64).map(|(_, ledger)| ledger.clone());
                assert_eq!(*log.ledger(), kept.unwrap_or_default(), "cut at {cut}");
                log.keep(&[Kept::Emergency { is_on: true }]).unwrap();
                drop(log);
                assert!(
                    PremisesLog::open(&path)
                        .unwrap()
                        .ledger()
                        .changes()
                        .any(|it| it == Kept::Emergency { is_on: true })
                );
            }
        }
    }

    #[test]
    fn damage_before_the_end_is_an_error_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("premises");
        PremisesLog::open(&path).unwrap().keep(&changes()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        for place in 0..last_line {
            let mut content = whole.clone();
            content[place] ^= 1;
            std::fs::write(&path, &content).unwrap();
            let error = PremisesLog::open(&path).expect_err("damaged");
            assert!(matches!(error, Error::PremisesDamaged { offset, .. } if offset <= place as u64), "{error}");
        }
    }

    #[test]
    fn one_process_holds_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("premises");
        let log = PremisesLog::open(&path).unwrap();
        assert!(matches!(PremisesLog::open(&path), Err(Error::PremisesFile { .. })));
        drop(log);
        PremisesLog::open(&path).unwrap();
    }

    #[test]
    fn a_long_file_is_written_anew_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("premises");
        let mut log = PremisesLog::open_with_slack(&path, 10).unwrap();
        for second in 0..1000 {
            let since = WallTime::from_unix_seconds(1_795_420_800 + second);
            log.keep(&[Kept::At { person: name("ada"), area: Some(name("lab")), since }]).unwrap();
        }
        assert!(log.lines <= 13, "{log:?}");
        let ledger = log.ledger().clone();
        drop(log);
        let log = PremisesLog::open(&path).unwrap();
        assert_eq!(*log.ledger(), ledger);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), log.good_bytes);
        assert!(PremisesLog::open(&path).is_err(), "the new file is locked like the old one");
    }
}
