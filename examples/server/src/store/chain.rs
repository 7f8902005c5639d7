//! The journal as a chain: every entry carries SHA-256 over the hash of the entry before it and its own bytes, so that a
//! changed, removed, added or swapped entry shows ([`verify`]).
//!
//! ```text
//! hash(n) = SHA-256( "godvision journal 1\n" . hash(n-1) . id . at . level     each 64 bits, big endian
//!                    . len service . service . len code . code . len text . text . len fields . fields )   len: 64 bits
//! ```
//! `at` is microseconds since 1970 UTC, `level` 0 to 3, `fields` the JSON as it is stored. Before the first entry stand 32
//! zero bytes; when retention removes the oldest entries, the hash of the newest of them stays as the anchor. Ids have no
//! gaps: a missing end that was written on shows as one.
//!
//! Whoever may write the file can compute a new chain for a journal of their own making. What tells that is a head noted
//! elsewhere ([`ChainHead`], on the journal page and once an hour on standard output): it must still stand in the chain.
//!
//! Entries of versions without a chain are sealed once, by the first start of one that has it: from then on a change shows.
//! An entry without a hash that is found later was made so by hand. It is left as it is, for [`verify`], and told.
//!
//! **Never:** a repair; a change to the database that is verified.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use godvision_core::journal::{Entry, Level};
use godvision_core::{Clock, Name, WallTime};
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool};
use sqlx::{ConnectOptions, Connection};

use super::{DATABASE_FILE, Doing, StoreError, hex, journal};

/// Entries read at once while verifying or sealing: what bounds the memory of both (an entry has at most some 600 kB, as a
/// rule 300 bytes).
const STEP_ROWS: i64 = 1000;
/// Fewest digits of a noted hash: 128 bits, which nobody hits by trying.
const NOTED_DIGITS_MIN: usize = 32;
const DOMAIN: &[u8] = b"godvision journal 1\n";
/// The migration that brought the hashes.
const CHAIN_MIGRATION: i64 = 4;
/// The setting that is there from before that migration until all is sealed.
const SEALING_SETTING: &str = "journal.sealing";

/// An entry's hash.
pub(super) type Hash = [u8; 32];

/// What of an entry is hashed, as it is stored.
pub(super) struct Bytes<'a> {
    pub(super) id: i64,
    pub(super) at: i64,
    pub(super) level: i64,
    pub(super) service: &'a [u8],
    pub(super) code: &'a [u8],
    pub(super) text: &'a [u8],
    pub(super) fields: &'a [u8],
}

impl Bytes<'_> {
    /// The hash of this entry after the one whose hash is `before`. About 1 us.
    pub(super) fn hash(&self, before: &Hash) -> Hash {
        let mut hash = Sha256::new_with_prefix(DOMAIN);
        hash.update(before);
        for number in [self.id, self.at, self.level] {
            hash.update(number.to_be_bytes());
        }
        for part in [self.service, self.code, self.text, self.fields] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

/// The newest entry and its hash: noted elsewhere, it proves later that nothing up to it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// The entry; 0 if there is none yet.
    pub id: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl ChainHead {
    pub(super) fn read((id, hash): (i64, Vec<u8>)) -> Self {
        Self { id: u64::try_from(id).unwrap_or_default(), hash: hash.try_into().unwrap_or_default() }
    }
}

/// `5120:` and 64 hexadecimal digits.
impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, hex(&self.hash))
    }
}

/// A head as somebody noted it: `5120:` and the hash, or the hash alone, of which the first 32 digits are enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedHead {
    id: Option<u64>,
    digits: String,
}

/// A text that is no noted head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the head as it was shown, ID:HASH, or the first {NOTED_DIGITS_MIN} digits of its hash at least")]
pub struct BadHead;

impl FromStr for NotedHead {
    type Err = BadHead;
    fn from_str(text: &str) -> Result<Self, BadHead> {
        let (id, digits) = match text.trim().split_once(':') {
            Some((id, digits)) => (Some(id.parse().map_err(|_| BadHead)?), digits),
            None => (None, text.trim()),
        };
        let is_long = (NOTED_DIGITS_MIN..=64).contains(&digits.len());
        if !is_long || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(BadHead);
        }
        Ok(Self { id, digits: digits.to_ascii_lowercase() })
    }
}

impl fmt::Display for NotedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{id}:{}", self.digits),
            None => f.write_str(&self.digits),
        }
    }
}

impl NotedHead {
    fn is(&self, id: i64, hash: &Hash) -> bool {
        self.id.is_none_or(|noted| u64::try_from(id) == Ok(noted)) && hex(hash).starts_with(&self.digits)
    }
}

/// Why a journal is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BreakKind {
    /// The entry does not follow from those before it: it was changed, added or moved, or what its hash stands on was.
    Changed,
    /// It has no hash: it was added by hand.
    Unsealed,
    /// Entries before it are missing: this one is the first of them.
    Missing {
        /// The last of them.
        to: u64,
    },
    /// The end is missing: this one is the first of them.
    EndMissing {
        /// The last that was written.
        to: u64,
    },
    /// A noted head does not stand in the chain: the journal was written anew, or its end is missing.
    NotNoted(NotedHead),
    /// A noted head lies before the oldest kept entry: retention removed it, and nothing can be said.
    NotedRemoved(NotedHead),
}

/// Where a journal is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The entry.
    pub id: u64,
    /// What it says of its time; `None` if it is not there.
    pub at: Option<WallTime>,
    /// What is wrong.
    pub kind: BreakKind,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &self.kind {
            BreakKind::Changed => write!(f, "entry {id} is not what was written, or the one before it is not")?,
            BreakKind::Unsealed => write!(f, "entry {id} has no hash: it was not written by this program")?,
            BreakKind::Missing { to } => write!(f, "entries {id} to {to} are missing")?,
            BreakKind::EndMissing { to } => write!(f, "the end is missing: entries {id} to {to}")?,
            BreakKind::NotNoted(noted) => write!(f, "the head {noted} does not stand in this journal")?,
            BreakKind::NotedRemoved(noted) => write!(f, "retention removed the head {noted}: note a newer one")?,
        }
        match self.at {
            Some(at) => write!(f, " (it says {at})"),
            None => Ok(()),
        }
    }
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Entries that are what was written, from the oldest kept one on.
    pub entries: u64,
    /// What the oldest kept entry follows.
    pub anchor: ChainHead,
    /// The last entry that is right.
    pub head: ChainHead,
    /// The first place that is wrong, if any.
    pub broken: Option<Broken>,
}

type Row = (i64, i64, Option<Vec<u8>>, i64, Vec<u8>, Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// A service that is gone is none; bytes that are no UTF-8 are compared like any others.
const ROWS: &str = "SELECT j.id, j.at, CAST(s.name AS BLOB), j.level, CAST(j.code AS BLOB), CAST(j.text AS BLOB),
         CAST(j.fields AS BLOB), j.hash
     FROM journal j LEFT JOIN service s ON s.id = j.service WHERE j.id > ? ORDER BY j.id LIMIT ?";

fn hash_of(row: &Row, before: &Hash) -> Hash {
    let (id, at, service, level, code, text, fields, _) = row;
    let service = service.as_deref().unwrap_or_default();
    Bytes { id: *id, at: *at, level: *level, service, code, text, fields }.hash(before)
}

/// Reads the whole journal in the data folder `folder`, also of a running server, and says whether every entry is what was
/// written and every head of `noted` still stands in it. Reads only; memory does not grow with the journal. `progress` hears
/// of every thousand entries.
///
/// # Errors
/// [`StoreError::File`] if there is no database, [`StoreError::Database`] if it cannot be read or is of a version without a
/// chain.
pub async fn verify(folder: &Path, noted: &[NotedHead], mut progress: impl FnMut(u64)) -> Result<Verified, StoreError> {
    const DOING: &str = "reading the journal (of a version without a chain? start the server once)";
    let path = folder.join(DATABASE_FILE);
    if let Err(error) = std::fs::metadata(&path) {
        return Err(super::file_error(&path, &error));
    }
    let options = SqliteConnectOptions::new().filename(&path).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await.doing("opening it to read")?;
    // One moment of it, whatever is written meanwhile.
    let mut reading = connection.begin().await.doing(DOING)?;
    let anchor: (i64, Vec<u8>) =
        sqlx::query_as("SELECT id, hash FROM journal_anchor").fetch_one(&mut *reading).await.doing(DOING)?;
    let used: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'journal'")
        .fetch_optional(&mut *reading)
        .await
        .doing(DOING)?;
    let anchor = ChainHead::read(anchor);
    let mut result = Verified { entries: 0, anchor, head: anchor, broken: None };
    let (mut id, mut hash) = (i64::try_from(anchor.id).unwrap_or(i64::MAX), anchor.hash);
    let mut missing: Vec<&NotedHead> = noted.iter().filter(|noted| !noted.is(id, &hash)).collect();
    'all: loop {
        let rows: Vec<Row> =
            sqlx::query_as(ROWS).bind(id).bind(STEP_ROWS).fetch_all(&mut *reading).await.doing(DOING)?;
        for row in &rows {
            let next = hash_of(row, &hash);
            let kind = match &row.7 {
                _ if row.0 != id + 1 => Some(BreakKind::Missing { to: number(row.0 - 1) }),
                None => Some(BreakKind::Unsealed),
                Some(kept) if kept[..] != next => Some(BreakKind::Changed),
                Some(_) => None,
            };
            if let Some(kind) = kind {
                let at = (!matches!(kind, BreakKind::Missing { .. })).then(|| WallTime::from_unix_micros(row.1));
                result.broken = Some(Broken { id: number(id + 1), at, kind });
                break 'all;
            }
            (id, hash) = (row.0, next);
            missing.retain(|noted| !noted.is(id, &hash));
            result.entries += 1;
            result.head = ChainHead { id: number(id), hash };
        }
        progress(result.entries);
        if (rows.len() as i64) < STEP_ROWS {
            break;
        }
    }
    if result.broken.is_none() {
        let at = None;
        let noted = missing.first().map(|&noted| {
            let is_removed = noted.id.is_some_and(|id| id < anchor.id);
            let kind = if is_removed { BreakKind::NotedRemoved } else { BreakKind::NotNoted };
            Broken { id: noted.id.unwrap_or_default(), at, kind: kind(noted.clone()) }
        });
        let end = used.filter(|used| *used > id);
        let end = end.map(|used| Broken { id: number(id + 1), at, kind: BreakKind::EndMissing { to: number(used) } });
        result.broken = end.or(noted);
    }
    Ok(result)
}

fn number(id: i64) -> u64 {
    u64::try_from(id).unwrap_or_default()
}

/// Where the chain stands: the id that was used last, and the hash that the next entry follows. Read under the write lock.
pub(super) async fn last(connection: &mut SqliteConnection) -> Result<(i64, Hash), sqlx::Error> {
    let (used, hash): (Option<i64>, Vec<u8>) = sqlx::query_as(
        "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'journal'),
             coalesce((SELECT hash FROM journal ORDER BY id DESC LIMIT 1), (SELECT hash FROM journal_anchor))",
    )
    .fetch_one(connection)
    .await?;
    Ok((used.unwrap_or_default(), hash.try_into().unwrap_or_default()))
}

/// The newest entry, or the anchor if there is none.
pub(super) async fn head(pool: &SqlitePool) -> Result<ChainHead, sqlx::Error> {
    let newest = "SELECT id, hash FROM (SELECT id, hash FROM journal ORDER BY id DESC LIMIT 1)
                  UNION ALL SELECT id, hash FROM journal_anchor LIMIT 1";
    sqlx::query_as(newest).fetch_one(pool).await.map(ChainHead::read)
}

/// Before the migrations: notes that the entries there are have no hashes yet, if this is a database of such a version.
pub(super) async fn note_sealing(pool: &SqlitePool) -> Result<(), StoreError> {
    const DOING: &str = "looking whether the journal is of an earlier version";
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name IN ('_sqlx_migrations', 'setting')")
            .fetch_one(pool)
            .await
            .doing(DOING)?;
    // A new one: nothing is in it.
    if tables < 2 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO setting (key, value) SELECT ?1, '' WHERE NOT EXISTS (SELECT 1 FROM _sqlx_migrations WHERE version = ?2)
         ON CONFLICT (key) DO NOTHING",
    )
    .bind(SEALING_SETTING)
    .bind(CHAIN_MIGRATION)
    .execute(pool)
    .await
    .doing(DOING)
    .map(drop)
}

/// After the migrations: seals what [`note_sealing`] found, going on where an earlier start was cut off. Without that note
/// nothing is sealed: what has no hash was made so by hand, and sealing it would make it good. Either is told in the journal.
pub(super) async fn seal(pool: &SqlitePool, clock: &dyn Clock) -> Result<(), StoreError> {
    const DOING: &str = "sealing the journal of an earlier version";
    let noted: Option<i64> = sqlx::query_scalar("SELECT 1 FROM setting WHERE key = ?")
        .bind(SEALING_SETTING)
        .fetch_optional(pool)
        .await
        .doing(DOING)?;
    if noted.is_none() {
        return tell_unsealed(pool, clock).await;
    }
    let mut sealed = 0;
    loop {
        let mut step = pool.begin_with("BEGIN IMMEDIATE").await.doing(DOING)?;
        let done = seal_some(&mut step).await?;
        sealed += done;
        if done == 0 {
            if sealed > 0 {
                let text =
                    format!("{sealed} entries of a version without hashes were sealed: from now on a change shows");
                tell(&mut step, clock, Level::Security, "journal.sealed", text, sealed).await?;
            }
            sqlx::query("DELETE FROM setting WHERE key = ?")
                .bind(SEALING_SETTING)
                .execute(&mut *step)
                .await
                .doing(DOING)?;
        }
        step.commit().await.doing(DOING)?;
        if done == 0 {
            return Ok(());
        }
    }
}

/// Seals the next entries that have no hash. How many; 0 when there is none left.
async fn seal_some(step: &mut SqliteConnection) -> Result<u64, StoreError> {
    const DOING: &str = "sealing the journal of an earlier version";
    let first: Option<i64> = sqlx::query_scalar("SELECT min(id) FROM journal WHERE hash IS NULL")
        .fetch_one(&mut *step)
        .await
        .doing(DOING)?;
    let Some(first) = first else { return Ok(0) };
    let before: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM journal WHERE id < ? ORDER BY id DESC LIMIT 1")
        .bind(first)
        .fetch_optional(&mut *step)
        .await
        .doing(DOING)?;
    let mut hash: Hash = before.and_then(|hash| hash.try_into().ok()).unwrap_or_default();
    let rows: Vec<Row> =
        sqlx::query_as(ROWS).bind(first - 1).bind(STEP_ROWS).fetch_all(&mut *step).await.doing(DOING)?;
    let mut sealed = 0;
    // One that has its hash is never given another.
    for row in rows.into_iter().take_while(|row| row.7.is_none()) {
        hash = hash_of(&row, &hash);
        sqlx::query("UPDATE journal SET hash = ? WHERE id = ?")
            .bind(&hash[..])
            .bind(row.0)
            .execute(&mut *step)
            .await
            .doing(DOING)?;
        sealed += 1;
    }
    Ok(sealed)
}

async fn tell_unsealed(pool: &SqlitePool, clock: &dyn Clock) -> Result<(), StoreError> {
    const DOING: &str = "looking for entries without a hash";
    let mut step = pool.begin_with("BEGIN IMMEDIATE").await.doing(DOING)?;
    let (first, count): (Option<i64>, i64) = sqlx::query_as("SELECT min(id), count(*) FROM journal WHERE hash IS NULL")
        .fetch_one(&mut *step)
        .await
        .doing(DOING)?;
    let Some(first) = first else { return Ok(()) };
    let text = format!(
        "{count} entries of the journal have no hash, entry {first} is the first: this program did not write them so; \
         run `godvision-server verify`"
    );
    tell(&mut step, clock, Level::Error, "journal.unsealed", text, number(count)).await?;
    step.commit().await.doing(DOING)
}

async fn tell(
    step: &mut SqliteConnection,
    clock: &dyn Clock,
    level: Level,
    code: &str,
    text: String,
    entries: u64,
) -> Result<(), StoreError> {
    let service = Name::new("journal").map_err(|error| StoreError::Batch {
        doing: "journalling what became of the journal",
        detail: error.to_string(),
    })?;
    let entry = Entry::new(clock.now(), service, level, code, text).with("entries", entries);
    let told = journal::append_within(step, &mut Default::default(), &[&entry]).await;
    told.doing("journalling what became of the journal").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, text: &str) -> Bytes<'_> {
        Bytes { id, at: 1, level: 0, service: b"yard", code: b"a", text: text.as_bytes(), fields: b"[]" }
    }

    #[test]
    fn the_hash_is_over_the_bytes_that_are_written_down() {
        let mut all = b"godvision journal 1\n".to_vec();
        all.extend([7; 32]);
        all.extend([0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        for part in ["yard", "a", "hello", "[]"] {
            all.extend([0, 0, 0, 0, 0, 0, 0, u8::try_from(part.len()).unwrap()]);
            all.extend(part.bytes());
        }
        assert_eq!(entry(5, "hello").hash(&[7; 32]), Hash::from(Sha256::digest(&all)));
    }

    #[test]
    fn where_one_text_ends_is_hashed_too() {
        let one = Bytes { code: b"ab", text: b"c", ..entry(1, "") };
        let other = Bytes { code: b"a", text: b"bc", ..entry(1, "") };
        assert_ne!(one.hash(&[0; 32]), other.hash(&[0; 32]));
    }

    #[test]
    fn heads_are_read_as_they_are_shown() {
        let head = ChainHead { id: 5120, hash: [0xab; 32] };
        let noted: NotedHead = head.to_string().parse().unwrap();
        assert_eq!(noted.to_string(), head.to_string());
        assert!(noted.is(5120, &head.hash) && !noted.is(5121, &head.hash) && !noted.is(5120, &[0; 32]));
        let short: NotedHead = " ABABABABABABABABABABABABABABABAB\n".parse().unwrap();
        assert!(short.is(9, &head.hash));
        for bad in ["", "5120:", "abab", "x:abababababababababababababababab", &"z".repeat(64), &"a".repeat(65)] {
            assert_eq!(bad.parse::<NotedHead>(), Err(BadHead), "{bad}");
        }
    }
}
