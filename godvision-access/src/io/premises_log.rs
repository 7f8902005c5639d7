//! [`PremisesLog`]: what a power cut must not undo on the premises, in an append-only file.
//!
//! A first line names the format, then one line a change ([`crate::premises::Kept`]) with the first 4 bytes of its
//! SHA-256:
//! ```text
//! godvision premises 1
//! at ada lab 1795420801000000 5f1c0a77
//! lockdown yard/door on 0b9e2c41
//! ```
//! A change counts once its line is synced. A crash may cut the last lines short, or leave zero bytes in the place of a
//! sector that was not written, in at most [`BATCH_BYTES_MAX`]: those were never acknowledged and are cut off at the next
//! start. Any other damage is an error, since a lost line could be a lockdown. When most lines have been replaced by later
//! ones the file is written anew beside itself and renamed.
//!
//! The calls block for one `fsync` (milliseconds); `SharedPremisesLog` runs them on tokio's blocking threads.
//!
//! **Never:** deciding what follows from damage: the application does (shut everything and say so).

use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::appended::Appended;
use crate::error::Error;
use crate::premises::{Kept, LINE_BYTES_MAX, Ledger};

/// Most bytes of the file. A site of 200 000 persons needs a tenth.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// Lines that are synced at once: what a crash leaves in doubt. One line may be longer.
pub const BATCH_BYTES_MAX: usize = 4 * 1024;
/// The file is written anew when it has this many lines more than twice what they amount to.
pub const SLACK_LINES: usize = 4_096;

const HEAD: &str = "godvision premises 1\n";

/// An open file of what happened on the premises. One process holds it: a file beside it, ending in `.lock`, is locked.
pub struct PremisesLog {
    file: Appended,
    ledger: Ledger,
    lines: usize,
    slack_lines: usize,
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
        let bytes_max = usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX);
        let (mut file, content) = Appended::open(path, bytes_max, || HEAD.to_owned()).map_err(failed)?;
        if content.len() > bytes_max {
            return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
        }
        let found = read(&content).map_err(|offset| Error::PremisesDamaged { path: path.to_owned(), offset })?;
        let Found { ledger, lines, good_bytes } = found;
        // Nothing whole in it: an empty file, or half a head.
        let is_empty = good_bytes == 0;
        let mended = if is_empty { file.replace(HEAD) } else { file.cut(good_bytes) };
        mended.map_err(failed)?;
        Ok(Self { file, ledger, lines, slack_lines })
    }

    /// What all changes so far amount to: for [`crate::premises::Premises::restore`].
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Keeps `changes`, in this order. Blocks until they are on the disk. A power cut meanwhile keeps a beginning of them.
    ///
    /// # Errors
    /// [`Error::PremisesFile`]; a beginning of `changes` may count then.
    pub fn keep(&mut self, changes: &[Kept]) -> Result<(), Error> {
        let (mut text, mut batch) = (String::new(), Vec::new());
        for change in changes {
            let line = line(change);
            if text.len() + line.len() > BATCH_BYTES_MAX && !text.is_empty() {
                self.keep_batch(&text, &mut batch)?;
                text.clear();
            }
            text.push_str(&line);
            batch.push(change);
        }
        if !batch.is_empty() {
            self.keep_batch(&text, &mut batch)?;
        }
        if self.lines > self.ledger.len() * 2 + self.slack_lines {
            let mut text = HEAD.to_owned();
            text.extend(self.ledger.changes().map(|change| line(&change)));
            // What was kept is kept; a file that stays long is no failure.
            if self.file.replace(&text).is_ok() {
                self.lines = self.ledger.len();
            }
        }
        Ok(())
    }

    fn keep_batch(&mut self, text: &str, batch: &mut Vec<&Kept>) -> Result<(), Error> {
        let written = self.file.append(text);
        written.map_err(|source| Error::PremisesFile { path: self.file.path().to_owned(), source })?;
        self.lines += batch.len();
        batch.drain(..).for_each(|change| self.ledger.apply(change.clone()));
        Ok(())
    }
}

impl fmt::Debug for PremisesLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes in {}", self.lines, self.file.path().display())
    }
}

fn line(change: &Kept) -> String {
    let body = format!("{change} ");
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    format!("{body}{a:02x}{b:02x}{c:02x}{d:02x}\n")
}

struct Found {
    ledger: Ledger,
    lines: usize,
    good_bytes: usize,
}

/// What the file says; `Err` is the offset of damage that no crash explains.
fn read(content: &[u8]) -> Result<Found, u64> {
    let mut found = Found { ledger: Ledger::default(), lines: 0, good_bytes: 0 };
    let Some(mut rest) = content.strip_prefix(HEAD.as_bytes()) else {
        let zeros = content.iter().rev().take_while(|byte| **byte == 0).count();
        let is_unfinished = content.get(..content.len() - zeros).is_some_and(|it| HEAD.as_bytes().starts_with(it));
        return if is_unfinished { Ok(found) } else { Err(0) };
    };
    found.good_bytes = HEAD.len();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (text, after) = rest.split_at(end + 1);
        let Some(change) = parsed(text) else { break };
        found.ledger.apply(change);
        found.lines += 1;
        found.good_bytes += text.len();
        rest = after;
    }
    let bad = rest.iter().position(|byte| *byte == b'\n').and_then(|end| rest.get(..end)).unwrap_or(rest);
    let is_cut_short = bad.len() == rest.len() && rest.len() <= LINE_BYTES_MAX;
    let has_a_hole = bad.contains(&0) && rest.len() <= LINE_BYTES_MAX.max(BATCH_BYTES_MAX);
    let is_unfinished = is_cut_short || has_a_hole || rest.iter().all(|byte| *byte == 0);
    if is_unfinished { Ok(found) } else { Err(found.good_bytes as u64) }
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
            let bytes = || std::fs::metadata(&path).unwrap().len();
            ends.push((bytes(), log.ledger.clone()));
            for change in changes() {
                log.keep(&[change]).unwrap();
                ends.push((bytes(), log.ledger.clone()));
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
    fn a_sector_that_a_crash_did_not_write_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("premises");
        let mut log = PremisesLog::open(&path).unwrap();
        log.keep(&changes()).unwrap();
        let (good, ledger) = (std::fs::metadata(&path).unwrap().len() as usize, log.ledger().clone());
        log.keep(&changes()).unwrap();
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        for from in good..whole.len() - 1 {
            let mut content = whole.clone();
            content[from..whole.len() - 1].fill(0);
            std::fs::write(&path, &content).unwrap();
            let log = PremisesLog::open(&path).unwrap_or_else(|error| panic!("zeros from {from}: {error}"));
            drop(log);
            // The first sector of the batch, its lines still behind it.
            let mut content = whole.clone();
            content[good..=from].fill(0);
            std::fs::write(&path, &content).unwrap();
            let log = PremisesLog::open(&path).unwrap_or_else(|error| panic!("zeros to {from}: {error}"));
            assert_eq!(*log.ledger(), ledger);
        }
    }

    #[test]
    fn many_changes_are_kept_in_batches() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("premises");
        let mut log = PremisesLog::open(&path).unwrap();
        let at = WallTime::from_unix_seconds(1_795_420_800);
        let door = |n: usize| Kept::At { person: name(&format!("p{n}")), area: None, since: at };
        let many: Vec<Kept> = (0..1000).map(door).collect();
        log.keep(&many).unwrap();
        drop(log);
        assert_eq!(PremisesLog::open(&path).unwrap().ledger().len(), 1000);
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
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 14, "{lines}");
        assert!(PremisesLog::open(&path).is_err(), "the new file is locked like the old one");
    }
}
