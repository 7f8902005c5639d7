//! [`Sightings`]: what analyses saw, with its picture, written by one task with group commit.
//!
//! As the journal does it: callers hand what they have to a bounded queue and wait; the writer takes what has gathered,
//! commits it at once and only then answers. In the same commit the oldest go, until what is kept fits
//! [`SightingLimits`]: by age, by bytes of pictures and by number, so a delete is a few rows a commit and never a pause.
//!
//! **Never:** the text of a QR code (it may be a pass); a picture that outlives its row; whole recordings.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use godvision_core::signal::seen::Region;
use godvision_core::{Clock, Name, WallTime};
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Connection, QueryBuilder, Sqlite};
use tokio::sync::{mpsc, oneshot};

use super::{Doing, StoreError};

/// How long sightings are kept if nothing else is said: long enough for last month's question, short enough for the
/// laws that limit pictures of people.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bytes of pictures that are kept if nothing else is said: some 100,000 of them.
pub const CROPS_BYTES_MAX: u64 = 2 << 30;
/// Most sightings kept, with pictures or without.
pub const SIGHTINGS_MAX: u64 = 1_000_000;
/// Most sightings in one commit.
pub const SIGHTING_BATCH_MAX: usize = 64;
/// Most sightings that wait for the writer; whoever comes later waits for room.
pub const SIGHTING_QUEUE_MAX: usize = 256;
/// Most sightings in a page.
pub const SIGHTING_PAGE_MAX: usize = 200;
/// Longest subject, owner or list of near ones, in bytes; longer ones are cut.
pub const SUBJECT_BYTES_MAX: usize = 256;
/// Most sightings that one commit removes: four times what it can add, so a limit that is passed is met again.
const SWEEP_MAX: usize = 4 * SIGHTING_BATCH_MAX;
/// How often age is looked at when nothing new comes.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SightingLimits {
    /// How long.
    pub kept_for: Duration,
    /// How many bytes of pictures.
    pub crops_bytes_max: u64,
    /// How many sightings.
    pub sightings_max: u64,
}

impl Default for SightingLimits {
    fn default() -> Self {
        Self { kept_for: KEPT_FOR, crops_bytes_max: CROPS_BYTES_MAX, sightings_max: SIGHTINGS_MAX }
    }
}

/// Something that was seen, to be kept.
#[derive(Clone, Debug)]
pub struct NewSighting {
    /// When its frame was captured.
    pub at: WallTime,
    /// The camera component.
    pub camera: Name,
    /// `qr`, `plate`, `face`, `watched` or `stranger`.
    pub kind: &'static str,
    /// The plate or the person; never the text of a code.
    pub subject: Option<String>,
    /// Whose plate it is, if a list says so.
    pub owner: Option<String>,
    /// How it stands on that list: `allow`, `watch` or `outside` (of its period).
    pub standing: Option<&'static str>,
    /// What is on the list and looks like it; shown, never a match.
    pub near: Option<String>,
    /// How sure the reader was, in thousandths.
    pub score: u16,
    /// Where in the picture.
    pub region: Region,
    /// Its picture, a JPEG.
    pub crop: Option<Bytes>,
}

/// A sighting as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSighting {
    /// Grows with every sighting; never used twice.
    pub id: u64,
    /// When its frame was captured.
    pub at: WallTime,
    /// The camera component.
    pub camera: String,
    /// What it is.
    pub kind: String,
    /// The plate or the person.
    pub subject: Option<String>,
    /// Whose plate it was when it was seen.
    pub owner: Option<String>,
    /// How it stood on the list then.
    pub standing: Option<String>,
    /// What looked like it on the list then.
    pub near: Option<String>,
    /// How sure the reader was, in thousandths.
    pub score: u16,
    /// Where in the picture.
    pub region: Region,
    /// Size of its picture; 0 if it has none.
    pub crop_bytes: u64,
}

/// Which sightings to list: all conditions must hold. Newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SightingQuery {
    /// Only of this camera.
    pub camera: Option<Name>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only of this subject, exactly.
    pub subject: Option<String>,
    /// Not before.
    pub from: Option<WallTime>,
    /// Before this moment.
    pub to: Option<WallTime>,
    /// Only those that follow this one in the list: the last id of the page before.
    pub before: Option<u64>,
    /// At most so many, of 1..=[`SIGHTING_PAGE_MAX`].
    pub limit: usize,
}

enum Job {
    Keep(Box<NewSighting>, oneshot::Sender<Result<u64, StoreError>>),
    Remove(u64, oneshot::Sender<Result<bool, StoreError>>),
    Sweep,
}

/// The sightings. Cheap to clone; clones share the writer.
#[derive(Clone)]
pub struct Sightings {
    shared: Arc<Shared>,
    pool: SqlitePool,
}

struct Shared {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    writer: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
    limits: Arc<RwLock<SightingLimits>>,
    crops_bytes: Arc<AtomicU64>,
}

impl Sightings {
    /// Starts the writer on its own connection.
    pub(super) fn start(connection: SqliteConnection, pool: SqlitePool, clock: Arc<dyn Clock>) -> Self {
        let (queue, jobs) = mpsc::channel(SIGHTING_QUEUE_MAX);
        let limits = Arc::new(RwLock::new(SightingLimits::default()));
        let crops_bytes = Arc::default();
        let writer = Writer {
            connection,
            clock,
            limits: Arc::clone(&limits),
            held: None,
            crops_bytes: Arc::clone(&crops_bytes),
        };
        let writer = Some(tokio::spawn(writer.run(jobs))).into();
        Self { shared: Arc::new(Shared { queue: Mutex::new(Some(queue)), writer, limits, crops_bytes }), pool }
    }

    /// What is kept from now on; what is beyond it goes soon.
    pub async fn set_limits(&self, limits: SightingLimits) {
        *self.shared.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        // A closed queue has nothing more to keep within limits.
        let _ = self.hand_in(Job::Sweep).await;
    }

    /// Bytes of pictures that are kept, as of the last commit.
    pub fn crops_bytes(&self) -> u64 {
        self.shared.crops_bytes.load(Ordering::Relaxed)
    }

    /// Keeps a sighting; it survives a crash once its id is here.
    ///
    /// # Errors
    /// [`StoreError::Batch`], [`StoreError::Closed`].
    pub async fn keep(&self, sighting: NewSighting) -> Result<u64, StoreError> {
        let (done, answer) = oneshot::channel();
        self.hand_in(Job::Keep(Box::new(sighting), done)).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Removes a sighting with its picture. Whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Batch`], [`StoreError::Closed`].
    pub async fn remove(&self, id: u64) -> Result<bool, StoreError> {
        let (done, answer) = oneshot::channel();
        self.hand_in(Job::Remove(id, done)).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// A page, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn list(&self, query: &SightingQuery) -> Result<Vec<KeptSighting>, StoreError> {
        const DOING: &str = "listing sightings";
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT id, at, camera, kind, subject, owner, standing, near, score, region, crop_bytes FROM sighting
             WHERE at BETWEEN ",
        );
        let from = query.from.map_or(i64::MIN, WallTime::as_unix_micros);
        let to = query.to.map_or(i64::MAX, |to| to.as_unix_micros().saturating_sub(1));
        sql.push_bind(from).push(" AND ").push_bind(to);
        if let Some(camera) = &query.camera {
            sql.push(" AND camera = ").push_bind(camera.to_string());
        }
        if let Some(kind) = &query.kind {
            sql.push(" AND kind = ").push_bind(kind.clone());
        }
        if let Some(subject) = &query.subject {
            sql.push(" AND subject = ").push_bind(subject.clone());
        }
        if let Some(before) = query.before {
            // One that was removed in the meantime ends the list instead of starting it over.
            sql.push(" AND (at, id) < (SELECT at, id FROM sighting WHERE id = ").push_bind(id_of(before)).push(")");
        }
        let limit = query.limit.clamp(1, SIGHTING_PAGE_MAX);
        sql.push(" ORDER BY at DESC, id DESC LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<Row> = sql.build_query_as().persistent(false).fetch_all(&self.pool).await.doing(DOING)?;
        Ok(rows.into_iter().map(read).collect())
    }

    /// One sighting.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn find(&self, id: u64) -> Result<Option<KeptSighting>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, at, camera, kind, subject, owner, standing, near, score, region, crop_bytes FROM sighting
             WHERE id = ?",
        )
        .bind(id_of(id))
        .fetch_optional(&self.pool)
        .await
        .doing("looking for a sighting")?;
        Ok(row.map(read))
    }

    /// A sighting's picture, if it is there and has one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn crop(&self, id: u64) -> Result<Option<Bytes>, StoreError> {
        let jpeg: Option<Vec<u8>> = sqlx::query_scalar("SELECT jpeg FROM sighting_crop WHERE sighting = ?")
            .bind(id_of(id))
            .fetch_optional(&self.pool)
            .await
            .doing("reading a sighting's picture")?;
        Ok(jpeg.map(Bytes::from))
    }

    /// Those of `ids` that still have a picture.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn with_crops(&self, ids: &[u64]) -> Result<Vec<u64>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT sighting FROM sighting_crop WHERE sighting IN (");
        let mut list = sql.separated(", ");
        for &id in ids {
            list.push_bind(id_of(id));
        }
        sql.push(")");
        let rows: Vec<i64> =
            sql.build_query_scalar().persistent(false).fetch_all(&self.pool).await.doing("listing pictures")?;
        Ok(rows.into_iter().filter_map(|id| u64::try_from(id).ok()).collect())
    }

    /// Takes nothing more and returns when the last one is written.
    pub async fn close(&self) {
        self.queue().take();
        if let Some(writer) = self.shared.writer.lock().await.take() {
            // It ends by itself once the queue is closed and empty; a panic in it has already been answered to callers.
            drop(writer.await);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hand_in(&self, job: Job) -> Result<(), StoreError> {
        let queue = self.queue().clone().ok_or(StoreError::Closed)?;
        queue.send(job).await.map_err(|_| StoreError::Closed)
    }
}

fn id_of(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// Sixteen bits an edge.
fn packed(region: Region) -> i64 {
    [region.left, region.top, region.right, region.bottom]
        .iter()
        .fold(0, |all, &edge| all << 16 | i64::from(edge.min(1000)))
}

fn unpacked(region: i64) -> Region {
    let edge = |shift: u32| u16::try_from(region >> shift & 0xffff).unwrap_or(0).min(1000);
    Region { left: edge(48), top: edge(32), right: edge(16), bottom: edge(0) }
}

/// A row in the order of the columns that are selected.
type Row = (i64, i64, String, String, Option<String>, Option<String>, Option<String>, Option<String>, i64, i64, i64);

fn read((id, at, camera, kind, subject, owner, standing, near, score, region, crop_bytes): Row) -> KeptSighting {
    KeptSighting {
        id: u64::try_from(id).unwrap_or_default(),
        at: WallTime::from_unix_micros(at),
        camera,
        kind,
        subject,
        owner,
        standing,
        near,
        score: u16::try_from(score).unwrap_or_default(),
        region: unpacked(region),
        crop_bytes: u64::try_from(crop_bytes).unwrap_or_default(),
    }
}

/// What is kept now.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    sightings: u64,
    crops_bytes: u64,
}

struct Writer {
    connection: SqliteConnection,
    clock: Arc<dyn Clock>,
    limits: Arc<RwLock<SightingLimits>>,
    /// Counted once, then kept along; `None` before and after a failure.
    held: Option<Held>,
    crops_bytes: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(SIGHTING_BATCH_MAX);
        loop {
            // After a quiet time there is nothing to write, but age goes on.
            let gathered = tokio::time::timeout(SWEEP_EVERY, jobs.recv_many(&mut batch, SIGHTING_BATCH_MAX)).await;
            if gathered == Ok(0) {
                break;
            }
            let mut done = self.commit(&batch).await;
            answer(&mut batch, done.as_ref().map(|done| &*done.results));
            // What one commit could not remove, the next ones do, before anything new is taken.
            while done.as_ref().is_ok_and(|done| done.is_more_to_remove) {
                done = self.commit(&[]).await;
            }
            if let Err(error) = done {
                self.held = None;
                tracing::error!(%error, "sightings could not be written");
            }
        }
        let _ = self.connection.close().await;
    }

    async fn commit(&mut self, batch: &[Job]) -> Result<Committed, sqlx::Error> {
        let limits = *self.limits.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.wall().as_unix_micros();
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut held = match self.held {
            Some(held) => held,
            None => count(&mut transaction).await?,
        };
        let mut results = Vec::with_capacity(batch.len());
        for job in batch {
            results.push(match job {
                Job::Keep(sighting, _) => insert(&mut transaction, sighting, &mut held).await?,
                Job::Remove(id, _) => u64::from(delete(&mut transaction, id_of(*id), &mut held).await?),
                Job::Sweep => 0,
            });
        }
        let oldest = now.saturating_sub(i64::try_from(limits.kept_for.as_micros()).unwrap_or(i64::MAX));
        let is_more_to_remove = sweep(&mut transaction, &limits, oldest, &mut held).await?;
        transaction.commit().await?;
        self.held = Some(held);
        self.crops_bytes.store(held.crops_bytes, Ordering::Relaxed);
        Ok(Committed { results, is_more_to_remove })
    }
}

struct Committed {
    /// An id for what was kept, 1 for what was removed, 0 for what was not there.
    results: Vec<u64>,
    is_more_to_remove: bool,
}

fn answer(batch: &mut Vec<Job>, results: Result<&[u64], &sqlx::Error>) {
    let failed = |error: &sqlx::Error| StoreError::Batch { doing: "writing sightings", detail: error.to_string() };
    for (index, job) in batch.drain(..).enumerate() {
        let result = results.map(|results| results.get(index).copied().unwrap_or_default()).map_err(failed);
        // Whoever stopped waiting has it done all the same.
        match job {
            Job::Keep(_, done) => drop(done.send(result)),
            Job::Remove(_, done) => drop(done.send(result.map(|removed| removed == 1))),
            Job::Sweep => {}
        }
    }
}

async fn count(connection: &mut SqliteConnection) -> Result<Held, sqlx::Error> {
    let (sightings, bytes): (i64, i64) =
        sqlx::query_as("SELECT count(*), coalesce(sum(crop_bytes), 0) FROM sighting").fetch_one(connection).await?;
    let number = |value| u64::try_from(value).unwrap_or_default();
    Ok(Held { sightings: number(sightings), crops_bytes: number(bytes) })
}

fn cut(text: Option<&String>) -> Option<&str> {
    text.map(|text| &text[..text.floor_char_boundary(SUBJECT_BYTES_MAX)])
}

async fn insert(
    connection: &mut SqliteConnection,
    sighting: &NewSighting,
    held: &mut Held,
) -> Result<u64, sqlx::Error> {
    let crop_bytes = sighting.crop.as_ref().map_or(0, Bytes::len);
    let id = sqlx::query(
        "INSERT INTO sighting (at, camera, kind, subject, owner, standing, near, score, region, crop_bytes)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(sighting.at.as_unix_micros())
    .bind(sighting.camera.as_str())
    .bind(sighting.kind)
    .bind(cut(sighting.subject.as_ref()))
    .bind(cut(sighting.owner.as_ref()))
    .bind(sighting.standing)
    .bind(cut(sighting.near.as_ref()))
    .bind(i64::from(sighting.score))
    .bind(packed(sighting.region))
    .bind(i64::try_from(crop_bytes).unwrap_or(i64::MAX))
    .execute(&mut *connection)
    .await?
    .last_insert_rowid();
    if let Some(crop) = &sighting.crop {
        sqlx::query("INSERT INTO sighting_crop (sighting, jpeg) VALUES (?, ?)")
            .bind(id)
            .bind(&crop[..])
            .execute(connection)
            .await?;
    }
    held.sightings += 1;
    held.crops_bytes += crop_bytes as u64;
    Ok(u64::try_from(id).unwrap_or_default())
}

/// The picture goes with its row.
async fn delete(connection: &mut SqliteConnection, id: i64, held: &mut Held) -> Result<bool, sqlx::Error> {
    let bytes: Option<i64> = sqlx::query_scalar("DELETE FROM sighting WHERE id = ? RETURNING crop_bytes")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    let Some(bytes) = bytes else { return Ok(false) };
    held.sightings = held.sightings.saturating_sub(1);
    held.crops_bytes = held.crops_bytes.saturating_sub(u64::try_from(bytes).unwrap_or_default());
    Ok(true)
}

/// Removes the oldest until what is left is within `limits`, at most [`SWEEP_MAX`] of them. Whether there is more to
/// remove.
async fn sweep(
    connection: &mut SqliteConnection,
    limits: &SightingLimits,
    oldest: i64,
    held: &mut Held,
) -> Result<bool, sqlx::Error> {
    let first: Vec<(i64, i64)> = sqlx::query_as("SELECT id, at FROM sighting ORDER BY at, id LIMIT ?")
        .bind(i64::try_from(SWEEP_MAX).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
    let is_full = first.len() == SWEEP_MAX;
    for (id, at) in first {
        let is_over = held.crops_bytes > limits.crops_bytes_max || held.sightings > limits.sightings_max;
        if at >= oldest && !is_over {
            return Ok(false);
        }
        delete(connection, id, held).await?;
    }
    Ok(is_full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_packed_without_loss() {
        let region = Region { left: 0, top: 999, right: 1000, bottom: 1 };
        assert_eq!(unpacked(packed(region)), region);
        assert_eq!(unpacked(packed(Region { right: u16::MAX, ..region })), region);
    }
}
