//! [`Plates`]: the number plates that somebody wrote down, each with its owner and whether it is welcome or watched for.
//!
//! The database has them for the pages; a [`PlateList`] in memory has them for the sightings, so that a car that drives
//! by costs no query. A sighting is matched by the exact text alone.
//!
//! **Never:** a door. Whose plate opens what is said by the persons document and the rules.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use godvision_core::{Clock, WallTime};
use godvision_vision::plate::list::LIST_MAX;
use godvision_vision::plate::{Listed, PlateList, PlateText};
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::{Doing, StoreError};

/// Most characters of an owner's name.
pub const OWNER_CHARS_MAX: usize = 100;
/// Most characters of a note.
pub const NOTE_CHARS_MAX: usize = 500;
/// Most plates in a page.
pub const PLATE_PAGE_MAX: usize = 1000;
/// Most plates on the list: a campus, not a country.
pub const PLATES_MAX: usize = LIST_MAX;

/// What a plate is on the list for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It belongs here.
    Allow,
    /// Somebody wants to know when it comes.
    Watch,
}

impl Standing {
    /// `allow` or `watch`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Watch => "watch",
        }
    }

    /// The standing of a [`Standing::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Allow, Self::Watch].into_iter().find(|standing| standing.code() == code)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A plate on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPlate {
    /// The plate.
    pub plate: PlateText,
    /// Whose it is, at most [`OWNER_CHARS_MAX`] characters.
    pub owner: String,
    /// What else there is to say, at most [`NOTE_CHARS_MAX`] characters.
    pub note: String,
    /// What it is on the list for.
    pub standing: Standing,
    /// Not before.
    pub from: Option<WallTime>,
    /// Before this moment.
    pub to: Option<WallTime>,
}

/// What is wrong with a plate that somebody wrote down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlateProblem {
    /// The owner's name is missing or too long.
    #[error("the owner's name has 1 to {OWNER_CHARS_MAX} characters")]
    Owner,
    /// The note is too long.
    #[error("the note has at most {NOTE_CHARS_MAX} characters")]
    Note,
    /// It ends before it begins.
    #[error("the period ends before it begins")]
    Period,
}

impl KnownPlate {
    /// Whether it may be kept.
    ///
    /// # Errors
    /// [`PlateProblem`] for the first thing that is wrong.
    pub fn check(&self) -> Result<(), PlateProblem> {
        let is_plain = |text: &str| !text.chars().any(char::is_control);
        if self.owner.trim().is_empty() || self.owner.chars().count() > OWNER_CHARS_MAX || !is_plain(&self.owner) {
            return Err(PlateProblem::Owner);
        }
        if self.note.chars().count() > NOTE_CHARS_MAX || !is_plain(&self.note) {
            return Err(PlateProblem::Note);
        }
        match (self.from, self.to) {
            (Some(from), Some(to)) if to <= from => Err(PlateProblem::Period),
            _ => Ok(()),
        }
    }

    fn known(&self) -> Known {
        Known { owner: self.owner.clone(), standing: self.standing, from: self.from, to: self.to }
    }

    /// What a search looks into.
    fn folded(&self) -> String {
        format!("{}\n{}\n{}", self.plate, self.owner, self.note).to_lowercase()
    }
}

#[derive(Clone, Debug)]
struct Known {
    owner: String,
    standing: Standing,
    from: Option<WallTime>,
    to: Option<WallTime>,
}

/// What the list says of a plate at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlateMatch {
    /// It is on the list.
    Known {
        /// Whose it is.
        owner: String,
        /// What it is on the list for.
        standing: Standing,
        /// Whether the moment lies in its period.
        is_current: bool,
    },
    /// It is not, but these are and look like it: to be shown, never a match.
    Near(Vec<PlateText>),
    /// Nothing on the list looks like it.
    Unknown,
}

/// The list. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Plates {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
    list: Arc<RwLock<PlateList<Known>>>,
    /// One change at a time, so that memory and database go the same way.
    changing: Arc<tokio::sync::Mutex<()>>,
}

type Row = (String, String, String, String, Option<i64>, Option<i64>);

fn read((plate, owner, note, standing, from, to): Row) -> Option<KnownPlate> {
    Some(KnownPlate {
        plate: plate.parse().ok()?,
        owner,
        note,
        standing: Standing::from_code(&standing)?,
        from: from.map(WallTime::from_unix_micros),
        to: to.map(WallTime::from_unix_micros),
    })
}

impl Plates {
    /// Reads the list.
    pub(super) async fn open(pool: SqlitePool, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let rows: Vec<Row> = sqlx::query_as("SELECT plate, owner, note, standing, since, until FROM plate")
            .fetch_all(&pool)
            .await
            .doing("reading the plates")?;
        let mut list = PlateList::new();
        for known in rows.into_iter().filter_map(read) {
            let value = known.known();
            // It was within the limit when it was written.
            let _ = list.put(known.plate, value);
        }
        Ok(Self { pool, clock, list: Arc::new(RwLock::new(list)), changing: Arc::default() })
    }

    /// What the list says of `plate` at `at`. In memory; some microseconds if it is on it, a comparison with every other
    /// plate if not.
    pub fn look_up(&self, plate: &PlateText, at: WallTime) -> PlateMatch {
        match self.list.read().unwrap_or_else(PoisonError::into_inner).look_up(plate) {
            Listed::Exact(known) => PlateMatch::Known {
                owner: known.owner.clone(),
                standing: known.standing,
                is_current: known.from.is_none_or(|from| at >= from) && known.to.is_none_or(|to| at < to),
            },
            Listed::Near(near) => PlateMatch::Near(near.into_iter().map(|(plate, _)| plate.clone()).collect()),
            Listed::Unknown => PlateMatch::Unknown,
        }
    }

    /// A page of the list by plate, of those that hold `search` in plate, owner or note, after the plate `after`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn page(&self, search: &str, after: &str, limit: usize) -> Result<Vec<KnownPlate>, StoreError> {
        // A plate is looked for however it is written.
        let signs = search.parse::<PlateText>().map_or_else(|_| String::new(), |plate| plate.to_string());
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT plate, owner, note, standing, since, until FROM plate
             WHERE plate > ?1 AND (?2 = '' OR instr(folded, ?2) > 0 OR (?3 <> '' AND instr(plate, ?3) > 0))
             ORDER BY plate LIMIT ?4",
        )
        .bind(after)
        .bind(search.trim().to_lowercase())
        .bind(signs)
        .bind(i64::try_from(limit.clamp(1, PLATE_PAGE_MAX)).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .doing("listing plates")?;
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// One plate of the list.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn find(&self, plate: &PlateText) -> Result<Option<KnownPlate>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as("SELECT plate, owner, note, standing, since, until FROM plate WHERE plate = ?")
                .bind(plate.as_str())
                .fetch_optional(&self.pool)
                .await
                .doing("looking for a plate")?;
        Ok(row.and_then(read))
    }

    /// Puts plates on the list, over what it says of them: all of them or, if anything fails, none.
    ///
    /// # Errors
    /// [`StoreError::BadPlate`], [`StoreError::ListFull`], [`StoreError::Database`].
    pub async fn put(&self, plates: &[KnownPlate]) -> Result<(), StoreError> {
        const DOING: &str = "keeping plates";
        for known in plates {
            known.check()?;
        }
        let _turn = self.changing.lock().await;
        let mut next = self.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        for known in plates {
            next.put(known.plate.clone(), known.known()).map_err(|_| StoreError::ListFull)?;
        }
        let changed = self.clock.wall().as_unix_micros();
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.doing(DOING)?;
        for known in plates {
            keep(&mut transaction, known, changed).await.doing(DOING)?;
        }
        transaction.commit().await.doing(DOING)?;
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Takes a plate off the list. Whether it was on it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn remove(&self, plate: &PlateText) -> Result<bool, StoreError> {
        let _turn = self.changing.lock().await;
        let done = sqlx::query("DELETE FROM plate WHERE plate = ?")
            .bind(plate.as_str())
            .execute(&self.pool)
            .await
            .doing("removing a plate")?;
        self.list.write().unwrap_or_else(PoisonError::into_inner).remove(plate);
        Ok(done.rows_affected() > 0)
    }
}

async fn keep(connection: &mut SqliteConnection, known: &KnownPlate, changed: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO plate (plate, owner, note, standing, since, until, folded, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (plate) DO UPDATE SET owner = excluded.owner, note = excluded.note, standing = excluded.standing,
             since = excluded.since, until = excluded.until, folded = excluded.folded, changed = excluded.changed",
    )
    .bind(known.plate.as_str())
    .bind(&known.owner)
    .bind(&known.note)
    .bind(known.standing.code())
    .bind(known.from.map(WallTime::as_unix_micros))
    .bind(known.to.map(WallTime::as_unix_micros))
    .bind(known.folded())
    .bind(changed)
    .execute(connection)
    .await
    .map(drop)
}
