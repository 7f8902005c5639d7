//! The journal: one durable log of everything, by service and time.
//!
//! Vocabulary ([`Entry`], [`Level`], [`Query`]) and the trait [`Journal`] live here; [`MemoryJournal`] keeps the last
//! entries in memory and suits tests and small programs. A database-backed journal belongs to the application.
//!
//! An access decision is journalled *before* a relay moves, so [`Journal::append`] returns only when the entry would
//! survive a crash.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use crate::name::Name;
use crate::time::{Stamp, WallTime};

/// A future in a box, so that traits that return it can be objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How much an entry matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everyday events: a clip closed, a camera came online.
    Info,
    /// Something an owner should read: a camera lost, a refusal.
    Warning,
    /// Something is broken.
    Error,
    /// A decision or act that touches security: kept longest, never dropped.
    Security,
}

impl Level {
    /// `info`, `warning`, `error`, `security`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Security => "security",
        }
    }

    /// The level of a [`Level::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error, Self::Security].into_iter().find(|level| level.code() == code)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it happened. Only the calendar part is kept by durable journals.
    pub at: Stamp,
    /// The component it is about: the *service* people filter by.
    pub service: Name,
    /// How much it matters.
    pub level: Level,
    /// Stable code for machines: `clip.closed`, `access.refused`, `camera.lost`. Lower case, `noun.verb`.
    pub code: String,
    /// One line for people. Never holds a secret.
    pub text: String,
    /// More facts, as name and value, in the order given. Never hold a secret.
    pub fields: Vec<(&'static str, String)>,
}

impl Entry {
    /// An entry without fields.
    pub fn new(at: Stamp, service: Name, level: Level, code: &str, text: impl Into<String>) -> Self {
        Self { at, service, level, code: code.to_owned(), text: text.into(), fields: Vec::new() }
    }

    /// With one more fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }
}

/// An entry as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Grows with every entry; never used twice.
    pub id: u64,
    /// When it happened.
    pub at: WallTime,
    /// The component it is about.
    pub service: String,
    /// How much it matters.
    pub level: Level,
    /// Stable code for machines.
    pub code: String,
    /// One line for people.
    pub text: String,
    /// More facts.
    pub fields: Vec<(String, String)>,
}

/// Which entries to read: all conditions must hold. Newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only this component, or everything below this subsystem.
    pub service: Option<Name>,
    /// Not before.
    pub from: Option<WallTime>,
    /// Before this moment.
    pub to: Option<WallTime>,
    /// At least this level.
    pub level: Option<Level>,
    /// Only entries with a smaller id: the last id of the page before.
    pub before_id: Option<u64>,
    /// At most so many; 0 means [`Query::LIMIT_DEFAULT`], and more than [`Query::LIMIT_MAX`] is cut to it.
    pub limit: usize,
}

impl Query {
    /// Entries in a page when nothing is said.
    pub const LIMIT_DEFAULT: usize = 50;
    /// Most entries in a page.
    pub const LIMIT_MAX: usize = 1000;

    /// The limit in force.
    pub fn limit(&self) -> usize {
        match self.limit {
            0 => Self::LIMIT_DEFAULT,
            limit => limit.min(Self::LIMIT_MAX),
        }
    }

    /// Whether `entry` is asked for, the limit aside.
    pub fn matches(&self, entry: &Kept) -> bool {
        let service = self.service.as_ref().is_none_or(|wanted| {
            entry.service.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        service
            && self.from.is_none_or(|from| entry.at >= from)
            && self.to.is_none_or(|to| entry.at < to)
            && self.level.is_none_or(|level| entry.level >= level)
            && self.before_id.is_none_or(|id| entry.id < id)
    }
}

/// Why an entry could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The journal is closed: the program is stopping.
    #[error("the journal is closed")]
    Closed,
    /// The store behind it failed. What could not be journalled must be refused.
    #[error("the journal's store failed: {detail}")]
    Store {
        /// What the store said.
        detail: String,
    },
}

/// A log that keeps entries through a crash.
pub trait Journal: Send + Sync {
    /// Keeps `entry` and returns its id once it would survive a crash of the program.
    fn append(&self, entry: Entry) -> BoxFuture<'_, Result<u64, JournalError>>;

    /// Reads a page, newest first.
    fn query(&self, query: Query) -> BoxFuture<'_, Result<Vec<Kept>, JournalError>>;
}

/// The last [`MemoryJournal::CAPACITY`] entries, in memory. Does not survive anything.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    kept: Mutex<(u64, VecDeque<Kept>)>,
}

impl MemoryJournal {
    /// Entries kept; older ones are forgotten.
    pub const CAPACITY: usize = 10_000;

    fn locked(&self) -> std::sync::MutexGuard<'_, (u64, VecDeque<Kept>)> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A page, without the future.
    pub fn read(&self, query: &Query) -> Vec<Kept> {
        self.locked().1.iter().rev().filter(|entry| query.matches(entry)).take(query.limit()).cloned().collect()
    }
}

impl Journal for MemoryJournal {
    fn append(&self, entry: Entry) -> BoxFuture<'_, Result<u64, JournalError>> {
        let mut guard = self.locked();
        guard.0 += 1;
        let id = guard.0;
        if guard.1.len() == Self::CAPACITY {
            guard.1.pop_front();
        }
        guard.1.push_back(Kept {
            id,
            at: entry.at.wall,
            service: entry.service.to_string(),
            level: entry.level,
            code: entry.code,
            text: entry.text,
            fields: entry.fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        });
        drop(guard);
        Box::pin(async move { Ok(id) })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Vec<Kept>, JournalError>> {
        Box::pin(async move { Ok(self.read(&query)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MonoTime;

    fn keep(journal: &MemoryJournal, second: i64, service: &str, level: Level) {
        let at = Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(second));
        drop(journal.append(Entry::new(at, Name::new(service).unwrap(), level, "test.kept", "kept").with("n", second)));
    }

    #[test]
    fn pages_are_newest_first_by_service_and_period() {
        let journal = MemoryJournal::default();
        for second in 0..10 {
            keep(&journal, second, if second % 2 == 0 { "yard/camera" } else { "yardstick" }, Level::Info);
        }
        let query = Query {
            service: Some(Name::new("yard").unwrap()),
            from: Some(WallTime::from_unix_seconds(2)),
            to: Some(WallTime::from_unix_seconds(8)),
            ..Query::default()
        };
        let seconds: Vec<i64> = journal.read(&query).iter().map(|entry| entry.at.as_unix_seconds()).collect();
        assert_eq!(seconds, [6, 4, 2]);
        let next = Query { before_id: Some(journal.read(&query)[1].id), ..query };
        assert_eq!(journal.read(&next).len(), 1);
    }

    #[test]
    fn the_oldest_are_forgotten_at_the_limit() {
        let journal = MemoryJournal::default();
        for second in 0..MemoryJournal::CAPACITY as i64 + 5 {
            keep(&journal, second, "a", Level::Security);
        }
        let all = journal.read(&Query { limit: usize::MAX, ..Query::default() });
        assert_eq!(all.len(), Query::LIMIT_MAX);
        assert_eq!(journal.locked().1.front().unwrap().at.as_unix_seconds(), 5);
    }
}
