//! Who is bound to which chat, the codes that bind, and what is still to be said: [`TelegramStore`].
//!
//! A code is ten letters and digits: two find it, eight (40 bits) are the secret. It lives [`CODE_LIFE`], works once and
//! dies at the [`CODE_TRIES`]th wrong try that was meant for it.
//!
//! **Never:** a code or the bot's token in the database; a chat of two persons, a person with two chats.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use godvision_core::{Clock, Name, Secret, WallTime};
use hmac::Mac;
use sqlx::SqlitePool;

use super::{Doing, Secrets, StoreError, hex, passes, random, unhex};
use crate::persons;

/// How long a code binds.
pub const CODE_LIFE: Duration = Duration::from_secs(600);
/// Wrong tries that a code survives, less one.
pub const CODE_TRIES: u32 = 5;
/// Messages that wait for one chat; more are counted in the last of them.
pub const WAITING_EACH_MAX: u32 = 200;
/// What waits longer is not news any more.
pub const SAID_WITHIN: Duration = Duration::from_secs(24 * 3600);

const CODE_DOMAIN: &[u8] = b"godvision telegram code 1\0";
/// Crockford's: none is taken for another.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SELECTOR_CHARS: usize = 2;
const CODE_CHARS: usize = 10;
const OFFSET: &str = "telegram:offset";

/// What somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Notice {
    /// Doors that are forced, held or do not answer, duress, tampering, lockdown.
    Alarms,
    /// Whoever is refused at a door.
    Refusals,
    /// Whoever is let in.
    Openings,
}

impl Notice {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Alarms, Self::Refusals, Self::Openings];

    /// `alarms`, `refusals` or `openings`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Alarms => "alarms",
            Self::Refusals => "refusals",
            Self::Openings => "openings",
        }
    }

    /// The notice of a [`Notice::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.code() == code)
    }
}

/// Some of the [`Notice`]s. Prints as their codes with blanks between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices(pub BTreeSet<Notice>);

impl fmt::Display for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|notice| notice.code()).collect::<Vec<_>>().join(" "))
    }
}

impl Notices {
    fn read(text: &str) -> Self {
        Self(text.split_whitespace().filter_map(Notice::from_code).collect())
    }
}

/// A person and their chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The person of the directory.
    pub person: Name,
    /// The private chat, which is also the number of the account.
    pub chat: i64,
    /// What the account calls itself.
    pub account: String,
    /// What they are told.
    pub notices: Notices,
    /// Since when.
    pub bound: WallTime,
}

/// Something to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Grows.
    pub id: i64,
    /// To whom.
    pub chat: i64,
    /// What.
    pub text: String,
    /// The door whose cameras may have a picture of it.
    pub door: Option<Name>,
    /// When it happened.
    pub at: WallTime,
    /// How many more there were for which there was no room.
    pub more: u32,
    /// The message that was sent, where only a picture is still awaited.
    pub message: Option<i64>,
}

/// A code that can be shown once, and until when it binds.
#[derive(Clone, Debug)]
pub struct BindingCode {
    /// Ten letters and digits.
    pub code: Secret,
    /// When it dies.
    pub until: WallTime,
}

type BindingRow = (String, i64, String, String, i64);
type WaitingRow = (i64, i64, String, Option<String>, i64, i64, Option<i64>);

fn binding_of((person, chat, account, notices, bound): BindingRow) -> Option<Binding> {
    let (person, bound) = (Name::new(&person).ok()?, WallTime::from_unix_micros(bound));
    Some(Binding { person, chat, account, notices: Notices::read(&notices), bound })
}

fn waiting_of((id, chat, text, door, at, more, message): WaitingRow) -> Waiting {
    let (door, at) = (door.and_then(|door| Name::new(&door).ok()), WallTime::from_unix_micros(at));
    Waiting { id, chat, text, door, at, more: u32::try_from(more).unwrap_or(u32::MAX), message }
}

/// What is kept for Telegram. Cheap to clone.
#[derive(Clone)]
pub struct TelegramStore {
    pool: SqlitePool,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
}

// A person who was removed or withdrawn is told nothing, and comes back with their chat.
const BINDINGS: &str = "SELECT b.person, b.chat, b.account, b.notices, b.bound FROM telegram_binding b
    JOIN person p ON p.name = b.person WHERE p.gone IS NULL AND p.revoked = 0";
const WAITING: &str = "SELECT id, chat, text, door, at, more, message FROM telegram_outbox";

impl TelegramStore {
    pub(super) fn new(pool: SqlitePool, secrets: Secrets, clock: Arc<dyn Clock>) -> Self {
        Self { pool, secrets, clock }
    }

    // Bindings and codes ----------------------------------------------------------------------------------------------

    /// Everybody who is bound and in good standing, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn bindings(&self) -> Result<Vec<Binding>, StoreError> {
        let rows: Vec<BindingRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{BINDINGS} ORDER BY b.person")))
            .fetch_all(&self.pool)
            .await
            .doing("listing chats")?;
        Ok(rows.into_iter().filter_map(binding_of).collect())
    }

    /// Whose chat this is.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn of_chat(&self, chat: i64) -> Result<Option<Binding>, StoreError> {
        let row: Option<BindingRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{BINDINGS} AND b.chat = ?")))
            .bind(chat)
            .fetch_optional(&self.pool)
            .await
            .doing("looking for a chat")?;
        Ok(row.and_then(binding_of))
    }

    /// A new code for `person`, told `notices` once bound; the code before is dead.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn make_code(&self, person: &Name, notices: &Notices) -> Result<BindingCode, StoreError> {
        let code = self.free_code().await?;
        let now = self.clock.wall();
        let until = now.plus_micros(i64::try_from(CODE_LIFE.as_micros()).unwrap_or(i64::MAX));
        let mac = self.mac(&code).await?.finalize().into_bytes();
        sqlx::query("DELETE FROM telegram_code WHERE until <= ? OR person = ?")
            .bind(now.as_unix_micros())
            .bind(person.as_str())
            .execute(&self.pool)
            .await
            .doing("making a code")?;
        sqlx::query(
            "INSERT INTO telegram_code (person, selector, mac, notices, until, tries_left) VALUES (?,?,?,?,?,?)",
        )
        .bind(person.as_str())
        .bind(&code[..SELECTOR_CHARS])
        .bind(hex(&mac))
        .bind(notices.to_string())
        .bind(until.as_unix_micros())
        .bind(CODE_TRIES)
        .execute(&self.pool)
        .await
        .doing("making a code")?;
        Ok(BindingCode { code: code.into(), until })
    }

    /// A code whose selector finds no other.
    async fn free_code(&self) -> Result<String, StoreError> {
        loop {
            let bytes: [u8; CODE_CHARS] = random()?;
            let code: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
            let taken: Option<i64> = sqlx::query_scalar("SELECT 1 FROM telegram_code WHERE selector = ? AND until > ?")
                .bind(&code[..SELECTOR_CHARS])
                .bind(self.clock.wall().as_unix_micros())
                .fetch_optional(&self.pool)
                .await
                .doing("making a code")?;
            if taken.is_none() {
                return Ok(code);
            }
        }
    }

    async fn mac(&self, code: &str) -> Result<hmac::Hmac<sha2::Sha256>, StoreError> {
        let secret = persons::link_secret(&self.secrets).await?;
        Ok(passes::keyed(&secret).chain_update(CODE_DOMAIN).chain_update(code))
    }

    /// Binds `chat` by a code that somebody typed there; whom it was bound to, if the code is good. A good code is used up,
    /// a wrong one counts against the code it was meant for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bind(&self, typed: &Secret, chat: i64, account: &str) -> Result<Option<Name>, StoreError> {
        const DOING: &str = "binding a chat";
        let typed: String = typed.expose().trim().to_ascii_uppercase();
        if typed.len() != CODE_CHARS || !typed.bytes().all(|byte| ALPHABET.contains(&byte)) {
            return Ok(None);
        }
        let now = self.clock.wall().as_unix_micros();
        let mac = self.mac(&typed).await?;
        let mut change = self.pool.begin().await.doing(DOING)?;
        // The try is taken before the code is looked at, so that tries at once cannot be more than there are.
        let row: Option<(String, String, String)> = sqlx::query_as(
            "UPDATE telegram_code SET tries_left = tries_left - 1 WHERE selector = ? AND until > ? AND tries_left > 0
             RETURNING person, mac, notices",
        )
        .bind(&typed[..SELECTOR_CHARS])
        .bind(now)
        .fetch_optional(&mut *change)
        .await
        .doing(DOING)?;
        let good = row.filter(|(_, kept, _)| unhex::<32>(kept).is_some_and(|kept| mac.verify_slice(&kept).is_ok()));
        if let Some((person, _, notices)) = &good {
            sqlx::query("DELETE FROM telegram_code WHERE person = ?")
                .bind(person)
                .execute(&mut *change)
                .await
                .doing(DOING)?;
            sqlx::query("DELETE FROM telegram_binding WHERE chat = ? OR person = ?")
                .bind(chat)
                .bind(person)
                .execute(&mut *change)
                .await
                .doing(DOING)?;
            sqlx::query("INSERT INTO telegram_binding (person, chat, account, notices, bound) VALUES (?, ?, ?, ?, ?)")
                .bind(person)
                .bind(chat)
                .bind(account)
                .bind(notices)
                .bind(now)
                .execute(&mut *change)
                .await
                .doing(DOING)?;
        }
        change.commit().await.doing(DOING)?;
        Ok(good.and_then(|(person, ..)| Name::new(&person).ok()))
    }

    /// Changes what somebody is told. Whether they are bound.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_notices(&self, person: &Name, notices: &Notices) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE telegram_binding SET notices = ? WHERE person = ?")
            .bind(notices.to_string())
            .bind(person.as_str())
            .execute(&self.pool)
            .await
            .doing("changing what is told")?;
        Ok(done.rows_affected() > 0)
    }

    /// Unbinds somebody: their code dies too, and what waits for their chat is not said. Whether they were bound.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn unbind(&self, person: &Name) -> Result<bool, StoreError> {
        const DOING: &str = "unbinding a chat";
        let mut change = self.pool.begin().await.doing(DOING)?;
        for sql in [
            "DELETE FROM telegram_outbox WHERE chat IN (SELECT chat FROM telegram_binding WHERE person = ?)",
            "DELETE FROM telegram_code WHERE person = ?",
        ] {
            sqlx::query(sql).bind(person.as_str()).execute(&mut *change).await.doing(DOING)?;
        }
        let done = sqlx::query("DELETE FROM telegram_binding WHERE person = ?")
            .bind(person.as_str())
            .execute(&mut *change)
            .await
            .doing(DOING)?;
        change.commit().await.doing(DOING)?;
        Ok(done.rows_affected() > 0)
    }

    // What is to be said ----------------------------------------------------------------------------------------------

    /// Keeps something to be said to everybody who wants `notice`, but not to `but`. Where a chat has no room, the last
    /// that waits counts it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn say(
        &self,
        notice: Notice,
        text: &str,
        door: Option<&Name>,
        at: WallTime,
        but: Option<&Name>,
    ) -> Result<usize, StoreError> {
        const DOING: &str = "keeping what is to be said";
        let mut told = self.bindings().await?;
        told.retain(|binding| binding.notices.0.contains(&notice) && Some(&binding.person) != but);
        let mut change = self.pool.begin().await.doing(DOING)?;
        for Binding { chat, .. } in &told {
            let counted = sqlx::query(
                "UPDATE telegram_outbox SET more = more + 1 WHERE id =
                 (SELECT max(id) FROM telegram_outbox WHERE chat = ?1 AND message IS NULL HAVING count(*) >= ?2)",
            )
            .bind(chat)
            .bind(WAITING_EACH_MAX)
            .execute(&mut *change)
            .await
            .doing(DOING)?;
            if counted.rows_affected() == 0 {
                sqlx::query("INSERT INTO telegram_outbox (chat, text, door, at) VALUES (?, ?, ?, ?)")
                    .bind(chat)
                    .bind(text)
                    .bind(door.map(Name::as_str))
                    .bind(at.as_unix_micros())
                    .execute(&mut *change)
                    .await
                    .doing(DOING)?;
            }
        }
        change.commit().await.doing(DOING)?;
        Ok(told.len())
    }

    /// The chats for which something waits, that which waits longest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn chats_waiting(&self) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar("SELECT chat FROM telegram_outbox WHERE message IS NULL GROUP BY chat ORDER BY min(id)")
            .fetch_all(&self.pool)
            .await
            .doing("looking for what is to be said")
    }

    /// What waits for `chat`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn waiting(&self, chat: i64) -> Result<Vec<Waiting>, StoreError> {
        let sql = format!("{WAITING} WHERE chat = ? AND message IS NULL ORDER BY id");
        let rows: Vec<WaitingRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(chat)
            .fetch_all(&self.pool)
            .await
            .doing("looking for what is to be said")?;
        Ok(rows.into_iter().map(waiting_of).collect())
    }

    /// What was said and waits for its picture.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn without_picture(&self) -> Result<Vec<Waiting>, StoreError> {
        let sql = format!("{WAITING} WHERE message IS NOT NULL ORDER BY id");
        let rows: Vec<WaitingRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await.doing("looking for what was said")?;
        Ok(rows.into_iter().map(waiting_of).collect())
    }

    /// What waited for `chat` up to `last` was said in one `message` of `text`; `last` waits for a picture if `is_pictured`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn said(&self, last: &Waiting, message: i64, text: &str, is_pictured: bool) -> Result<(), StoreError> {
        const DOING: &str = "noting what was said";
        let mut change = self.pool.begin().await.doing(DOING)?;
        let sql = "DELETE FROM telegram_outbox WHERE chat = ? AND message IS NULL AND (id < ? OR (id = ? AND NOT ?))";
        sqlx::query(sql)
            .bind(last.chat)
            .bind(last.id)
            .bind(last.id)
            .bind(is_pictured)
            .execute(&mut *change)
            .await
            .doing(DOING)?;
        sqlx::query("UPDATE telegram_outbox SET message = ?, text = ?, more = 0 WHERE id = ?")
            .bind(message)
            .bind(text)
            .bind(last.id)
            .execute(&mut *change)
            .await
            .doing(DOING)?;
        change.commit().await.doing(DOING)
    }

    /// Forgets one thing to be said.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn drop_one(&self, id: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM telegram_outbox WHERE id = ?";
        sqlx::query(sql).bind(id).execute(&self.pool).await.doing("forgetting what was to be said").map(drop)
    }

    /// Forgets what waited longer than [`SAID_WITHIN`]; how much.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn drop_old(&self) -> Result<u64, StoreError> {
        let within_micros = i64::try_from(SAID_WITHIN.as_micros()).unwrap_or(i64::MAX);
        let done = sqlx::query("DELETE FROM telegram_outbox WHERE at < ?")
            .bind(self.clock.wall().plus_micros(-within_micros).as_unix_micros())
            .execute(&self.pool)
            .await
            .doing("forgetting what is no news any more")?;
        Ok(done.rows_affected())
    }

    /// The first update that was not dealt with yet.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn offset(&self) -> Result<i64, StoreError> {
        let kept: Option<String> = sqlx::query_scalar("SELECT value FROM setting WHERE key = ?")
            .bind(OFFSET)
            .fetch_optional(&self.pool)
            .await
            .doing("reading a setting")?;
        Ok(kept.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Keeps the first update that was not dealt with yet.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_offset(&self, offset: i64) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(OFFSET)
        .bind(offset.to_string())
        .execute(&self.pool)
        .await
        .doing("writing a setting")
        .map(drop)
    }
}
