//! What the server keeps in its data folder: one SQLite database, and one key file for the secrets in it.
//!
//! [`Store::open`] makes or opens `godvision.db` (WAL, `synchronous = FULL`: what was acknowledged survives a power cut)
//! and brings its schema up to date. The parts: [`SqliteJournal`], [`Sightings`], [`Plates`], [`Faces`], [`Access`], [`Users`], [`Sessions`],
//! [`Settings`], [`Secrets`].
//!
//! **Never:** clips (the spool and the archive own those), plain passwords or tokens, a second database.

mod access;
mod chain;
mod codes;
mod faces;
mod journal;
mod keypads;
mod pass_keys;
mod passes;
mod people;
mod plates;
mod secrets;
mod sessions;
mod settings;
mod sightings;
mod telegram;
mod users;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use godvision_core::{Clock, Secret};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr};

pub use access::{Access, AccessProblem, RULE_VERSIONS_MAX, RULES_BYTES_MAX, RuleVersion, RulesInForce, WhoMay};
pub use chain::{BadHead, BreakKind, Broken, ChainHead, NotedHead, Verified, verify};
pub use faces::{ENROL_PHOTOS_MAX, FACES_FILE, FaceProblem, Faces, PHOTO_BYTES_MAX, PHOTO_SIDE_MAX, Prepared};
pub use journal::{BATCH_ROWS_MAX, QUEUE_ROWS_MAX, SqliteJournal, TEXT_BYTES_MAX};
pub use keypads::{KeypadLink, KeypadLinks};
pub use pass_keys::{KeptKey, KeyState};
pub use passes::{KeptPass, PASS_PAGE_MAX, PASSES_MAX, Withdrawal};
pub use people::{
    KEYS_EACH_MAX, KeyKind, PEOPLE_MAX, PEOPLE_PAGE_MAX, PERSON_GROUPS_MAX, PERSON_NOTE_CHARS_MAX, PeopleQuery, Person,
    PersonKey, TITLE_CHARS_MAX,
};
pub use plates::{
    KnownPlate, NOTE_CHARS_MAX, OWNER_CHARS_MAX, PLATE_PAGE_MAX, PLATES_MAX, PlateMatch, PlateProblem, Plates, Standing,
};
pub use secrets::{SECRET_BYTES_MAX, Secrets};
pub use sessions::{ABSOLUTE_LIFE, IDLE_LIFE, PER_USER_MAX, Session, Sessions};
pub use settings::{Settings, Switch};
pub use sightings::{
    CROPS_BYTES_MAX, KEPT_FOR, KeptSighting, NewSighting, SIGHTING_BATCH_MAX, SIGHTING_PAGE_MAX, SIGHTING_QUEUE_MAX,
    SIGHTINGS_MAX, SUBJECT_BYTES_MAX, SightingLimits, SightingQuery, Sightings,
};
pub use telegram::{
    Binding, BindingCode, CODE_LIFE, CODE_TRIES, Notice, Notices, SAID_WITHIN, TelegramStore, WAITING_EACH_MAX, Waiting,
};
pub use users::{PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, Role, USER_NAME_CHARS_MAX, User, Users};

/// The database's file name in the data folder.
pub const DATABASE_FILE: &str = "godvision.db";
/// The key file's name in the data folder.
pub const KEY_FILE: &str = "secrets.key";
/// Connections that read and keep sessions; the journal's writer has its own.
const POOL_CONNECTIONS_MAX: u32 = 4;
/// How long a connection waits for another's write to end before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "store", include_str!("../../migrations/0001_store.sql")),
    (2, "sightings", include_str!("../../migrations/0002_sightings.sql")),
    (3, "plates", include_str!("../../migrations/0003_plates.sql")),
    (4, "chain", include_str!("../../migrations/0004_chain.sql")),
    (5, "access", include_str!("../../migrations/0005_access.sql")),
    (6, "passes", include_str!("../../migrations/0006_passes.sql")),
    (7, "duress", include_str!("../../migrations/0007_duress.sql")),
    (8, "codes", include_str!("../../migrations/0008_codes.sql")),
    (9, "removed", include_str!("../../migrations/0009_removed.sql")),
    (10, "keypads", include_str!("../../migrations/0010_keypads.sql")),
    (11, "telegram", include_str!("../../migrations/0011_telegram.sql")),
    (12, "pass_keys", include_str!("../../migrations/0012_pass_keys.sql")),
];

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data folder or a file in it cannot be used.
    #[error("cannot use {path}: {detail}")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// What the system said, and what to do.
        detail: String,
    },
    /// The database failed.
    #[error("the database failed while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// What was written together failed together; nothing of it is kept.
    #[error("the database failed while {doing}: {detail}")]
    Batch {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        detail: String,
    },
    /// A plate with what was written about it cannot be kept.
    #[error(transparent)]
    BadPlate(#[from] PlateProblem),
    /// People or rules were not changed.
    #[error(transparent)]
    Access(#[from] AccessProblem),
    /// A photo is no good, or what was asked of the faces is refused.
    #[error(transparent)]
    Face(#[from] FaceProblem),
    /// The list of plates has no room.
    #[error("the list has room for {PLATES_MAX} plates: remove some first")]
    ListFull,
    /// The store takes no more.
    #[error("the store is closed: the server is stopping")]
    Closed,
    /// The database was made by a newer version of this program, or its schema was changed by hand.
    #[error("the database's schema does not fit this program")]
    Schema(#[source] sqlx::migrate::MigrateError),
    /// A user name that is empty, too long, or holds characters that would mislead a reader of the journal.
    #[error("a user name has 1 to {USER_NAME_CHARS_MAX} letters, digits, '.', '-', '_' or '@'")]
    BadUserName,
    /// Somebody has that name already.
    #[error("there is already a user {name:?}")]
    UserExists {
        /// The name.
        name: String,
    },
    /// Nobody has that name.
    #[error("there is no user {name:?}")]
    NoSuchUser {
        /// The name.
        name: String,
    },
    /// The change would leave nobody who may administer the site.
    #[error("{name:?} is the last administrator: make another one first")]
    LastAdmin {
        /// The administrator.
        name: String,
    },
    /// The password is too short or too long.
    #[error("a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")]
    BadPassword,
    /// Too many passwords are being checked at once.
    #[error("too many people sign in at once, try again in a few seconds")]
    Busy,
    /// A password could not be hashed, or a stored hash is damaged.
    #[error("a password could not be hashed or compared: {detail}")]
    Hash {
        /// What failed; nothing of the password.
        detail: String,
    },
    /// The key is not 64 hexadecimal digits.
    #[error("the secrets' key must be 64 hexadecimal digits")]
    BadKey,
    /// A secret was sealed with another key, or its row was changed.
    #[error("secret {name:?} cannot be opened with this key: restore {KEY_FILE} or enter the secret again")]
    Sealed {
        /// The secret's name.
        name: String,
    },
    /// The secret is too long.
    #[error("a secret has at most {SECRET_BYTES_MAX} bytes")]
    LongSecret,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {detail}")]
    Random {
        /// What it said.
        detail: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Database { .. } | Self::Batch { .. })
    }
}

/// Names what was being done in a database error.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database { doing, source })
    }
}

/// `bytes` from the system's random source.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Random { detail: error.to_string() })?;
    Ok(bytes)
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

/// The bytes of `text`, if it is exactly `2 * N` hexadecimal digits.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes: Vec<u8> = digits?.chunks(2).filter_map(|pair| Some((pair.first()? << 4) | pair.get(1)?)).collect();
    (text.len() == 2 * N).then(|| bytes.try_into().ok()).flatten()
}

/// Everything the server keeps. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Store {
    journal: Arc<SqliteJournal>,
    sightings: Sightings,
    plates: Plates,
    faces: Faces,
    access: Access,
    users: Users,
    sessions: Sessions,
    settings: Settings,
    secrets: Secrets,
    keypads: KeypadLinks,
    telegram: TelegramStore,
    pool: SqlitePool,
}

impl Store {
    /// Opens the data folder `folder`, making it if it is not there (mode 0700; the files in it 0600). `key` seals the
    /// secrets; without it, the folder's own [`KEY_FILE`] does, made at random the first time.
    ///
    /// # Errors
    /// [`StoreError::File`], [`StoreError::Database`], [`StoreError::Schema`], [`StoreError::BadKey`].
    pub async fn open(folder: &Path, key: Option<&Secret>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        make_folder(folder)?;
        let path = folder.join(DATABASE_FILE);
        make_private(&path)?;
        let key = match key {
            Some(key) => unhex(key.expose().trim()).ok_or(StoreError::BadKey)?,
            None => secrets::key_file(&folder.join(KEY_FILE))?,
        };
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is deleted is overwritten: a picture of somebody must not lie in a free page.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(POOL_CONNECTIONS_MAX)
            .connect_with(options.clone())
            .await
            .doing("opening it")?;
        chain::note_sealing(&pool).await?;
        migrator().run(&pool).await.map_err(StoreError::Schema)?;
        chain::seal(&pool, &*clock).await?;
        let writer = options.connect().await.doing("opening it to write the journal")?;
        let seen = options.connect().await.doing("opening it to write sightings")?;
        let (settings, secrets) = (Settings::new(pool.clone()), Secrets::new(pool.clone(), &key));
        let faces = Faces::open(folder, secrets.clone(), &settings, Arc::clone(&clock)).await?;
        Ok(Self {
            journal: Arc::new(SqliteJournal::start(writer, pool.clone())),
            sightings: Sightings::start(seen, pool.clone(), Arc::clone(&clock)),
            plates: Plates::open(pool.clone(), Arc::clone(&clock)).await?,
            access: Access::new(pool.clone(), Arc::clone(&clock), folder.to_owned(), secrets.clone(), faces.clone())?,
            faces,
            users: Users::new(pool.clone(), Arc::clone(&clock)),
            keypads: KeypadLinks::new(pool.clone(), secrets.clone(), Arc::clone(&clock)),
            telegram: TelegramStore::new(pool.clone(), secrets.clone(), Arc::clone(&clock)),
            sessions: Sessions::new(pool.clone(), clock),
            settings,
            secrets,
            pool,
        })
    }

    /// The journal.
    pub fn journal(&self) -> &Arc<SqliteJournal> {
        &self.journal
    }

    /// What was seen.
    pub fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    /// The plates somebody wrote down.
    pub fn plates(&self) -> &Plates {
        &self.plates
    }

    /// The people whose faces are known.
    pub fn faces(&self) -> &Faces {
        &self.faces
    }

    /// The people and rules, and what is in force of them.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Who may sign in.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Who is signed in.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What people switched.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Passwords of cameras, archives and relays.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The links of keypads on a page.
    pub fn keypads(&self) -> &KeypadLinks {
        &self.keypads
    }

    /// Who is reached by Telegram, and what is to be said.
    pub fn telegram(&self) -> &TelegramStore {
        &self.telegram
    }

    /// Writes out what waits, moves the write-ahead log into the database and closes it. Nothing is lost without it;
    /// the next start is a little quicker with it.
    pub async fn close(&self) {
        self.sightings.close().await;
        self.journal.close().await;
        self.pool.close().await;
    }
}

fn migrator() -> Migrator {
    Migrator::with_migrations(
        MIGRATIONS
            .iter()
            .map(|&(version, what, sql)| {
                Migration::new(version, what.into(), MigrationType::Simple, sql.into_sql_str(), false)
            })
            .collect(),
    )
}

fn file_error(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), detail: error.to_string() }
}

fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| file_error(folder, &error))
}

/// Makes an empty file that only its owner may read, if there is none. SQLite gives its other files the same mode.
fn make_private(path: &Path) -> Result<(), StoreError> {
    match private_file().open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(file_error(path, &error)),
    }
}

fn private_file() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_round_trips_and_refuses_the_rest() {
        let bytes = [0, 1, 0x7f, 0xff];
        assert_eq!(hex(&bytes), "00017fff");
        assert_eq!(unhex::<4>("00017FFF"), Some(bytes));
        assert_eq!(unhex::<4>("00017ff"), None);
        assert_eq!(unhex::<4>("00017fffff"), None);
        assert_eq!(unhex::<4>("00017ffg"), None);
        assert_eq!(unhex::<2>("é00"), None);
    }
}
