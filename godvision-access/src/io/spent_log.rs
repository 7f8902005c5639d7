//! [`SpentLog`]: what was used up, in an append-only file that is written anew when most of it is out of date.
//!
//! A use counts once its line is synced to the disk. A line that a crash cut short, or left as zero bytes, was never
//! acknowledged and is cut off at the next start. Any other damage is an error: somebody has to look, since a lost line
//! would let a pass open once more.
//!
//! The file grows by 62 bytes a use. When it has twice as many lines as there are things to remember, those alone are
//! written to a second file, synced, and renamed over the first; what ended more than a day ago is left out and its end
//! kept as a floor ([`crate::spent`]). So its size is bounded by what is valid now, not by its age, and a crash in the
//! middle leaves the one file or the other, both whole.
//!
//! A call blocks for one `fsync` (milliseconds); `SharedSpentLog` runs them on tokio's blocking threads.
//!
//! **Never:** a file under the final name that is not whole, a use acknowledged before it is on the disk.

mod format;

use std::fmt;
use std::path::Path;

use super::appended::Appended;
use crate::error::Error;
use crate::spent::{Counts, Spend, Spending, Used, seconds};
use format::{HEAD_BYTES, LINE_BYTES};

/// Most lines of one file (62 MB), and so the most passes and steps that are remembered at one time.
pub const LINES_MAX: usize = 1_000_000;
/// A shorter file is not worth writing anew.
const COMPACT_LINES_MIN: usize = 4_096;

/// An open file of what was used up. One process holds it: a file beside it, ending in `.lock`, is locked.
pub struct SpentLog {
    file: Appended,
    counts: Counts,
    lines: usize,
    lines_max: usize,
    compact_lines_min: usize,
    /// With so many lines it is worth looking whether the file can be written shorter.
    compact_at: usize,
}

impl SpentLog {
    /// Opens or creates the file and reads it. Cuts off what a crash left unfinished at its end.
    ///
    /// # Errors
    /// [`Error::SpentFile`] (also if another process holds it), [`Error::SpentDamaged`], [`Error::SpentFull`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with_limits(path, LINES_MAX, COMPACT_LINES_MIN)
    }

    fn open_with_limits(path: &Path, lines_max: usize, compact_lines_min: usize) -> Result<Self, Error> {
        let failed = |source| Error::SpentFile { path: path.to_owned(), source };
        let length_max = HEAD_BYTES + LINE_BYTES * (lines_max + 1);
        let fresh = || format::snapshot(&Counts::default());
        let (mut file, content) = Appended::open(path, length_max, fresh).map_err(failed)?;
        if content.len() > length_max {
            return Err(Error::SpentFull { limit: lines_max });
        }
        let damaged = |offset| Error::SpentDamaged { path: path.to_owned(), offset: offset as u64 };
        let found = format::read(&content).map_err(damaged)?;
        file.cut(found.good_bytes).map_err(failed)?;
        let (counts, lines) = (found.counts, found.lines);
        let mut log = Self { file, counts, lines, lines_max, compact_lines_min, compact_at: 0 };
        log.plan_compaction();
        Ok(log)
    }

    /// How often it has been used; [`u32::MAX`] if that was forgotten because it had ended.
    pub fn uses(&self, spending: Spending) -> u32 {
        self.counts.uses(spending)
    }

    /// Uses up one of at most `uses_max`. Blocks until it is on the disk.
    ///
    /// # Errors
    /// [`Error::SpentFile`], [`Error::SpentFull`]: refuse.
    pub fn spend(&mut self, spending: Spending, uses_max: u32) -> Result<Spend, Error> {
        let uses = self.uses(spending);
        if uses >= uses_max {
            return Ok(Spend::AlreadySpent);
        }
        if self.lines >= self.compact_at {
            self.compact(spending.at);
        }
        if self.lines >= self.lines_max {
            return Err(Error::SpentFull { limit: self.lines_max });
        }
        let used = Used { uses: uses + 1, until: seconds(spending.until) };
        let written = self.file.append(&format::line(spending.what, used));
        written.map_err(|source| Error::SpentFile { path: self.file.path().to_owned(), source })?;
        self.lines += 1;
        self.counts.keep(spending.what, used);
        Ok(Spend::Kept { uses: used.uses })
    }

    fn plan_compaction(&mut self) {
        self.compact_at = (self.counts.used.len() * 2).max(self.compact_lines_min).min(self.lines_max);
    }

    /// Writes the file anew if that makes it a quarter shorter. A failure changes nothing: the old file goes on serving.
    fn compact(&mut self, now: godvision_core::WallTime) {
        let kept = self.counts.used.len() - self.counts.ended(now);
        if self.lines - kept.min(self.lines) < (self.lines / 4).max(1) {
            self.compact_at = self.lines.saturating_mul(2).min(self.lines_max);
            return;
        }
        let mut counts = self.counts.clone();
        counts.forget(now);
        match self.file.replace(&format::snapshot(&counts)) {
            Ok(()) => {
                self.lines = counts.used.len();
                self.counts = counts;
                self.plan_compaction();
            }
            Err(_) => self.compact_at = self.lines.saturating_mul(2).min(self.lines_max),
        }
    }
}

/// Whether `content` is a file of spent uses, whole but for an unfinished end; and how many things it remembers.
///
/// # Errors
/// The offset of the first damage.
pub fn verify(content: &[u8]) -> Result<usize, usize> {
    format::read(content).map(|found| found.counts.used.len())
}

impl fmt::Debug for SpentLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines about {} things in {}", self.lines, self.counts.used.len(), self.file.path().display())
    }
}

#[cfg(feature = "component")]
mod store {
    use std::sync::{Arc, Mutex, PoisonError};

    use godvision_core::driver::BoxFuture;

    use super::{Error, Spend, Spending, SpentLog};
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
        fn uses(&self, spending: Spending) -> BoxFuture<'_, Result<u32, Error>> {
            let log = Arc::clone(&self.0);
            // The lock may be held during another's fsync.
            let read = move || log.lock().unwrap_or_else(PoisonError::into_inner).uses(spending);
            Box::pin(async move { tokio::task::spawn_blocking(read).await.map_err(|_| Error::DoorStopped) })
        }

        fn spend(&self, spending: Spending, uses_max: u32) -> BoxFuture<'_, Result<Spend, Error>> {
            let log = Arc::clone(&self.0);
            let write = move || log.lock().unwrap_or_else(PoisonError::into_inner).spend(spending, uses_max);
            Box::pin(async move { tokio::task::spawn_blocking(write).await.map_err(|_| Error::DoorStopped)? })
        }
    }
}
#[cfg(feature = "component")]
pub use store::SharedSpentLog;

#[cfg(test)]
mod tests;
