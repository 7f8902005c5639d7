//! [`SqliteJournal`]: the journal in SQLite, written by one task with group commit.
//!
//! Callers hand entries to a bounded queue and wait. The writer takes whatever has gathered, at most
//! [`BATCH_ROWS_MAX`], writes it by one multi-row `INSERT`, commits (`synchronous = FULL`) and only then answers. While
//! one commit runs the next batch gathers, so the batch grows with the load by itself and a lone entry never waits.
//!
//! Pages are read backwards along an index. A period is first turned into a range of ids by the table of hours, so the
//! cost of a page does not grow with the journal, and a clock that was set back costs speed, not truth.
//!
//! Every entry carries a hash that continues the one before it ([`super::chain`]).
//!
//! **Never:** an answer before the commit; a dropped entry (a full queue makes callers wait); a changed one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use godvision_core::WallTime;
use godvision_core::journal::{BoxFuture, Entry, Journal, JournalError, Kept, Level, Query};
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Connection, QueryBuilder, Sqlite};
use tokio::sync::{mpsc, oneshot};

use super::chain::{self, ChainHead};
use super::{Doing, StoreError};

/// Most entries in one commit.
pub const BATCH_ROWS_MAX: usize = 256;
/// Most entries that wait for the writer; whoever comes later waits for room.
pub const QUEUE_ROWS_MAX: usize = 4096;
/// Longest text or field value kept, in bytes; longer ones are cut and end in `…`.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Most facts kept with one entry.
const FIELDS_MAX: usize = 64;
/// Most (service, level) pairs whose pages are merged; a larger subsystem is filtered row by row.
const LANES_MAX: usize = 64;
const MICROS_PER_HOUR: i64 = 3_600_000_000;
/// Entries that retention removes in one commit: short enough that writers hardly wait for it.
const RETIRED_ROWS_MAX: i64 = 2000;

struct Job {
    entry: Entry,
    done: oneshot::Sender<Result<u64, JournalError>>,
}

/// A journal in SQLite. Dropping it closes the queue; what was handed in is still written.
pub struct SqliteJournal {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    writer: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
    pool: SqlitePool,
    commits: Arc<AtomicU64>,
    entries: Arc<AtomicU64>,
}

impl SqliteJournal {
    /// Starts the writer on its own connection.
    pub(super) fn start(connection: SqliteConnection, pool: SqlitePool) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_ROWS_MAX);
        let (commits, entries) = (Arc::default(), Arc::default());
        let writer = tokio::spawn(write(connection, jobs, Arc::clone(&commits), Arc::clone(&entries)));
        Self { queue: Mutex::new(Some(queue)), writer: Some(writer).into(), pool, commits, entries }
    }

    /// Commits since the start.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Entries committed since the start.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Every service that has an entry, by name.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub async fn services(&self) -> Result<Vec<String>, JournalError> {
        sqlx::query_scalar("SELECT name FROM service ORDER BY name").fetch_all(&self.pool).await.map_err(store_error)
    }

    /// The newest entry and its hash.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub async fn head(&self) -> Result<ChainHead, JournalError> {
        chain::head(&self.pool).await.map_err(store_error)
    }

    /// Removes the entries older than `oldest`, from the oldest on, but for the newest of all; what is left can still be
    /// verified. How many went. An entry with a clock set back stays until those before it may go.
    ///
    /// # Errors
    /// [`StoreError::Database`]; what went until then is gone.
    pub async fn retire(&self, oldest: WallTime) -> Result<u64, StoreError> {
        const DOING: &str = "removing old entries of the journal";
        let mut gone = 0;
        loop {
            let mut step = self.pool.begin_with("BEGIN IMMEDIATE").await.doing(DOING)?;
            // The run of old entries at the beginning, as far as one step goes.
            let ids: Vec<(i64, i64)> = sqlx::query_as(
                "SELECT id, at FROM journal WHERE id < (SELECT max(id) FROM journal) ORDER BY id LIMIT ?",
            )
            .bind(RETIRED_ROWS_MAX)
            .fetch_all(&mut *step)
            .await
            .doing(DOING)?;
            let old = ids.iter().take_while(|(_, at)| *at < oldest.as_unix_micros());
            let Some((last, _)) = old.last() else { return Ok(gone) };
            for sql in [
                "UPDATE journal_anchor SET id = ?1, hash = (SELECT hash FROM journal WHERE id = ?1)",
                "DELETE FROM journal WHERE id <= ?1",
                "DELETE FROM journal_hour WHERE id_max <= ?1",
            ] {
                let done = sqlx::query(sql).bind(last).execute(&mut *step).await.doing(DOING)?;
                if sql.starts_with("DELETE FROM journal W") {
                    gone += done.rows_affected();
                }
            }
            step.commit().await.doing(DOING)?;
        }
    }

    /// Takes no more entries and returns when the last one is written.
    pub async fn close(&self) {
        self.locked().take();
        if let Some(writer) = self.writer.lock().await.take() {
            // It ends by itself once the queue is closed and empty; a panic in it has already been answered to callers.
            drop(writer.await);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Journal for SqliteJournal {
    fn append(&self, entry: Entry) -> BoxFuture<'_, Result<u64, JournalError>> {
        let queue = self.locked().clone();
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            let queue = queue.ok_or(JournalError::Closed)?;
            queue.send(Job { entry, done }).await.map_err(|_| JournalError::Closed)?;
            drop(queue);
            answer.await.map_err(|_| JournalError::Closed)?
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Vec<Kept>, JournalError>> {
        Box::pin(async move { self.page(&query).await.map_err(store_error) })
    }
}

fn store_error(error: sqlx::Error) -> JournalError {
    JournalError::Store { detail: error.to_string() }
}

fn level_number(level: Level) -> i64 {
    match level {
        Level::Info => 0,
        Level::Warning => 1,
        Level::Error => 2,
        Level::Security => 3,
    }
}

fn level_of(number: i64) -> Level {
    match number {
        0 => Level::Info,
        1 => Level::Warning,
        2 => Level::Error,
        _ => Level::Security,
    }
}

fn cut(text: &str) -> String {
    const MARK: &str = "…";
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX - MARK.len());
    format!("{}{MARK}", &text[..end])
}

async fn write(
    mut connection: SqliteConnection,
    mut jobs: mpsc::Receiver<Job>,
    commits: Arc<AtomicU64>,
    entries: Arc<AtomicU64>,
) {
    let mut services = HashMap::new();
    let mut batch = Vec::with_capacity(BATCH_ROWS_MAX);
    while jobs.recv_many(&mut batch, BATCH_ROWS_MAX).await > 0 {
        match commit(&mut connection, &mut services, &batch).await {
            Ok(first) => {
                commits.fetch_add(1, Ordering::Relaxed);
                entries.fetch_add(batch.len() as u64, Ordering::Relaxed);
                for (id, job) in (first..).zip(batch.drain(..)) {
                    // Whoever stopped waiting has its entry kept all the same.
                    let _ = job.done.send(Ok(id));
                }
            }
            Err(error) => {
                // The ids of services first seen in this batch were rolled back with it.
                services.clear();
                let detail = error.to_string();
                for job in batch.drain(..) {
                    let _ = job.done.send(Err(JournalError::Store { detail: detail.clone() }));
                }
            }
        }
    }
    let _ = connection.close().await;
}

/// An entry as it is stored.
struct Row<'a> {
    id: i64,
    at: i64,
    service: &'a str,
    level: i64,
    code: String,
    text: String,
    fields: String,
    hash: chain::Hash,
}

impl<'a> Row<'a> {
    fn new(id: i64, entry: &'a Entry, before: &chain::Hash) -> Self {
        let fields: Vec<(&str, String)> =
            entry.fields.iter().take(FIELDS_MAX).map(|(name, value)| (*name, cut(value))).collect();
        let mut row = Self {
            id,
            at: entry.at.wall.as_unix_micros(),
            service: entry.service.as_str(),
            level: level_number(entry.level),
            code: cut(&entry.code),
            text: cut(&entry.text),
            fields: serde_json::to_string(&fields).unwrap_or_else(|_| "[]".to_owned()),
            hash: chain::Hash::default(),
        };
        let bytes = chain::Bytes {
            id,
            at: row.at,
            level: row.level,
            service: row.service.as_bytes(),
            code: row.code.as_bytes(),
            text: row.text.as_bytes(),
            fields: row.fields.as_bytes(),
        };
        row.hash = bytes.hash(before);
        row
    }
}

/// Writes the batch and returns the id of its first entry; the others follow one by one.
async fn commit(
    connection: &mut SqliteConnection,
    services: &mut HashMap<String, i64>,
    batch: &[Job],
) -> Result<u64, sqlx::Error> {
    let entries: Vec<&Entry> = batch.iter().map(|job| &job.entry).collect();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let first = append_within(&mut transaction, services, &entries).await?;
    transaction.commit().await?;
    Ok(first)
}

/// Adds `entries` in a transaction that holds the write lock, and returns the id of the first: what else the transaction
/// does is journalled with it or not done. Ids follow one another because the lock is held from the look at the last one on.
pub(super) async fn append_within(
    connection: &mut SqliteConnection,
    services: &mut HashMap<String, i64>,
    entries: &[&Entry],
) -> Result<u64, sqlx::Error> {
    for entry in entries {
        let name = entry.service.as_str();
        if !services.contains_key(name) {
            let id: i64 = sqlx::query_scalar(
                "INSERT INTO service (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
            )
            .bind(name)
            .fetch_one(&mut *connection)
            .await?;
            services.insert(name.to_owned(), id);
        }
    }
    let (used, mut hash) = chain::last(connection).await?;
    let first = used + 1;
    let rows: Vec<Row> = (first..)
        .zip(entries)
        .map(|(id, entry)| {
            let row = Row::new(id, entry, &hash);
            hash = row.hash;
            row
        })
        .collect();
    let mut insert =
        QueryBuilder::<Sqlite>::new("INSERT INTO journal (id, at, service, level, code, text, fields, hash) ");
    insert.push_values(rows, |mut values, row| {
        values.push_bind(row.id);
        values.push_bind(row.at);
        values.push_bind(services.get(row.service).copied());
        values.push_bind(row.level);
        values.push_bind(row.code);
        values.push_bind(row.text);
        values.push_bind(row.fields);
        values.push_bind(row.hash.to_vec());
    });
    insert.build().persistent(false).execute(&mut *connection).await?;

    let mut hours: HashMap<i64, (i64, i64, i64)> = HashMap::new();
    for (id, entry) in (first..).zip(entries) {
        let hour = entry.at.wall.as_unix_micros().div_euclid(MICROS_PER_HOUR);
        let (_, id_max, entries) = hours.entry(hour).or_insert((id, id, 0));
        *id_max = id;
        *entries += 1;
    }
    for (hour, (id_min, id_max, entries)) in hours {
        sqlx::query(
            "INSERT INTO journal_hour (hour, id_min, id_max, entries) VALUES (?, ?, ?, ?)
             ON CONFLICT (hour) DO UPDATE SET id_min = min(id_min, excluded.id_min), id_max = max(id_max, excluded.id_max),
                 entries = entries + excluded.entries",
        )
        .bind(hour)
        .bind(id_min)
        .bind(id_max)
        .bind(entries)
        .execute(&mut *connection)
        .await?;
    }
    Ok(u64::try_from(first).unwrap_or_default())
}

/// Ids and moments a page may lie in, both ends included.
struct Bounds {
    ids: (i64, i64),
    micros: (i64, i64),
}

impl SqliteJournal {
    async fn page(&self, query: &Query) -> Result<Vec<Kept>, sqlx::Error> {
        let Some(bounds) = self.bounds(query).await? else { return Ok(Vec::new()) };
        let services = match &query.service {
            Some(service) => {
                let found = self.services_within(service.as_str()).await?;
                if found.is_empty() {
                    return Ok(Vec::new());
                }
                found.into_iter().map(Some).collect()
            }
            None => vec![None],
        };
        let levels: Vec<Option<i64>> = match query.level {
            // A service's index goes by level first, so even "any level" is four lanes there.
            None | Some(Level::Info) if query.service.is_none() => vec![None],
            least => (least.map_or(0, level_number)..=level_number(Level::Security)).map(Some).collect(),
        };
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT j.id, j.at, s.name, j.level, j.code, j.text, j.fields
             FROM journal j JOIN service s ON s.id = j.service WHERE ",
        );
        let limit = i64::try_from(query.limit()).unwrap_or(i64::MAX);
        if services.len() * levels.len() <= LANES_MAX {
            sql.push("j.id IN (SELECT id FROM (");
            let lanes = services.iter().flat_map(|&service| levels.iter().map(move |&level| (service, level)));
            for (index, (service, level)) in lanes.enumerate() {
                sql.push(if index == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
                sql.push("SELECT id FROM journal WHERE ");
                push_bounds(&mut sql, "", &bounds);
                if let Some(service) = service {
                    sql.push(" AND service = ").push_bind(service);
                }
                if let Some(level) = level {
                    sql.push(" AND level = ").push_bind(level);
                }
                sql.push(" ORDER BY id DESC LIMIT ").push_bind(limit).push(")");
            }
            sql.push(") ORDER BY id DESC LIMIT ").push_bind(limit).push(")");
        } else {
            push_bounds(&mut sql, "j.", &bounds);
            // The unary plus keeps SQLite on the walk by id: the index would give rows that must all be sorted.
            sql.push(" AND +j.service IN (");
            let mut list = sql.separated(", ");
            for service in services.iter().flatten() {
                list.push_bind(*service);
            }
            sql.push(")");
            if let Some(level) = query.level {
                sql.push(" AND +j.level >= ").push_bind(level_number(level));
            }
        }
        sql.push(" ORDER BY j.id DESC LIMIT ").push_bind(limit);
        let rows: Vec<(i64, i64, String, i64, String, String, String)> =
            sql.build_query_as().persistent(false).fetch_all(&self.pool).await?;
        Ok(rows
            .into_iter()
            .map(|(id, at, service, level, code, text, fields)| Kept {
                id: u64::try_from(id).unwrap_or_default(),
                at: WallTime::from_unix_micros(at),
                service,
                level: level_of(level),
                code,
                text,
                fields: serde_json::from_str(&fields).unwrap_or_default(),
            })
            .collect())
    }

    async fn bounds(&self, query: &Query) -> Result<Option<Bounds>, sqlx::Error> {
        let from = query.from.map_or(i64::MIN, WallTime::as_unix_micros);
        let to = query.to.map_or(i64::MAX, |to| to.as_unix_micros().saturating_sub(1));
        let before = query.before_id.map_or(i64::MAX, |id| i64::try_from(id).unwrap_or(i64::MAX).saturating_sub(1));
        if query.from.is_none() && query.to.is_none() {
            return Ok(Some(Bounds { ids: (0, before), micros: (from, to) }));
        }
        let hours: (Option<i64>, Option<i64>) =
            sqlx::query_as("SELECT min(id_min), max(id_max) FROM journal_hour WHERE hour BETWEEN ? AND ?")
                .bind(from.div_euclid(MICROS_PER_HOUR))
                .bind(to.div_euclid(MICROS_PER_HOUR))
                .fetch_one(&self.pool)
                .await?;
        Ok(match hours {
            (Some(low), Some(high)) => Some(Bounds { ids: (low, high.min(before)), micros: (from, to) }),
            _ => None,
        })
    }

    /// The service itself and everything below it. `0` follows `/` in ASCII, so the children are one range of names.
    async fn services_within(&self, name: &str) -> Result<Vec<i64>, sqlx::Error> {
        sqlx::query_scalar("SELECT id FROM service WHERE name = ?1 OR (name >= ?1 || '/' AND name < ?1 || '0')")
            .bind(name)
            .fetch_all(&self.pool)
            .await
    }
}

fn push_bounds(sql: &mut QueryBuilder<Sqlite>, table: &'static str, bounds: &Bounds) {
    sql.push(table).push("id BETWEEN ").push_bind(bounds.ids.0).push(" AND ").push_bind(bounds.ids.1);
    if bounds.micros != (i64::MIN, i64::MAX) {
        sql.push(" AND ").push(table).push("at BETWEEN ").push_bind(bounds.micros.0);
        sql.push(" AND ").push_bind(bounds.micros.1);
    }
}
