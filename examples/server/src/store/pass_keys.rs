//! The keys that sign guests' passes: one signs, those before it are believed until their last pass has ended, and any is
//! withdrawn at once.
//!
//! As [`godvision_access::pass::PassKeys`] says it; here are the rows that outlive a start. The secret halves are sealed in
//! the secret store, and gone from it once their key is withdrawn.
//!
//! **Never:** an id that is used twice; a key that comes back.

use godvision_access::pass::{PassVerifier, PublicPassKey, Revocation, Revocations, Revoked, Signing, VALID_MAX};
use godvision_core::WallTime;
use sqlx::sqlite::SqliteConnection;

use super::access::AccessProblem;
use super::passes::Withdrawal;
use super::{Doing, StoreError, hex, unhex};

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// Its id, which every pass names.
    pub id: u8,
    /// When it signs.
    pub signing: Signing,
    /// Who made it; empty for the first one, which nobody had to make.
    pub made_by: String,
    /// Whether it was withdrawn.
    pub withdrawn: Option<Withdrawal>,
    /// Passes of it that are neither over nor withdrawn.
    pub live: u64,
    public: [u8; 32],
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It signs new passes.
    Signing,
    /// It signs nothing; what it signed is believed.
    Verifying,
    /// No pass of it can be valid any more.
    Ended,
    /// Nothing of it is believed.
    Withdrawn,
}

impl KeyState {
    /// `signing`, `verifying`, `ended`, `withdrawn`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Verifying => "verifying",
            Self::Ended => "ended",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl KeptKey {
    /// When the last pass of it can have ended; `None` while it signs.
    pub fn ends(&self) -> Option<WallTime> {
        let rest = i64::try_from(VALID_MAX.as_micros()).unwrap_or(i64::MAX);
        self.signing.until.map(|until| until.plus_micros(rest))
    }

    /// What it does at `now`.
    pub fn state(&self, now: WallTime) -> KeyState {
        match self.ends() {
            _ if self.withdrawn.is_some() => KeyState::Withdrawn,
            None => KeyState::Signing,
            Some(ends) if ends <= now => KeyState::Ended,
            Some(_) => KeyState::Verifying,
        }
    }
}

type Row = (i64, String, i64, Option<i64>, String, Option<i64>, Option<String>, Option<String>, i64);

fn key_of(row: Row) -> Option<KeptKey> {
    let (id, public, from, until, made_by, withdrawn, withdrawn_by, reason, live) = row;
    Some(KeptKey {
        id: u8::try_from(id).ok()?,
        public: unhex(&public)?,
        signing: Signing { from: WallTime::from_unix_micros(from), until: until.map(WallTime::from_unix_micros) },
        made_by,
        withdrawn: withdrawn.map(|at| Withdrawal {
            at: WallTime::from_unix_micros(at),
            by: withdrawn_by.unwrap_or_default(),
            reason: reason.unwrap_or_default(),
        }),
        live: u64::try_from(live).unwrap_or_default(),
    })
}

/// Every key there ever was, newest first.
pub(super) async fn all(connection: &mut SqliteConnection, now: WallTime) -> Result<Vec<KeptKey>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, public, signs_from, signs_until, made_by, withdrawn, withdrawn_by, reason,
                (SELECT count(*) FROM pass WHERE key = pass_key.id AND withdrawn IS NULL AND not_after > ?)
         FROM pass_key ORDER BY id DESC",
    )
    .bind(now.as_unix_seconds())
    .fetch_all(connection)
    .await
    .doing("listing the keys of passes")?;
    Ok(rows.into_iter().filter_map(key_of).collect())
}

/// The key that signs now; of several, the newest.
pub(super) async fn current(connection: &mut SqliteConnection) -> Result<Option<u8>, StoreError> {
    let id: Option<i64> =
        sqlx::query_scalar("SELECT max(id) FROM pass_key WHERE signs_until IS NULL AND withdrawn IS NULL")
            .fetch_one(connection)
            .await
            .doing("looking for the key of passes")?;
    Ok(id.and_then(|id| u8::try_from(id).ok()))
}

/// The id that the next key gets.
pub(super) async fn next_id(connection: &mut SqliteConnection) -> Result<u8, StoreError> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM pass_key")
        .fetch_one(connection)
        .await
        .doing("looking for the key of passes")?;
    u8::try_from(last.unwrap_or(0) + 1).map_err(|_| AccessProblem::PassKeysFull.into())
}

/// `key` signs from `at` on, and nobody else does.
pub(super) async fn rotate(
    connection: &mut SqliteConnection,
    key: &PublicPassKey,
    at: WallTime,
    by: &str,
) -> Result<(), StoreError> {
    const DOING: &str = "keeping a key of passes";
    sqlx::query("UPDATE pass_key SET signs_until = ? WHERE signs_until IS NULL")
        .bind(at.as_unix_micros())
        .execute(&mut *connection)
        .await
        .doing(DOING)?;
    sqlx::query("INSERT INTO pass_key (id, public, signs_from, made_by) VALUES (?, ?, ?, ?)")
        .bind(i64::from(key.id()))
        .bind(hex(&key.to_bytes()))
        .bind(at.as_unix_micros())
        .bind(by)
        .execute(connection)
        .await
        .doing(DOING)
        .map(drop)
}

async fn find(connection: &mut SqliteConnection, id: u8, now: WallTime) -> Result<KeptKey, StoreError> {
    let found = all(connection, now).await?.into_iter().find(|it| it.id == id);
    found.ok_or_else(|| AccessProblem::NoPassKey { id: id.to_string() }.into())
}

/// A key signs nothing from `at` on.
pub(super) async fn retire(connection: &mut SqliteConnection, id: u8, at: WallTime) -> Result<(), StoreError> {
    if find(connection, id, at).await?.state(at) != KeyState::Signing {
        return Err(AccessProblem::NotSigning { id }.into());
    }
    sqlx::query("UPDATE pass_key SET signs_until = ? WHERE id = ?")
        .bind(at.as_unix_micros())
        .bind(i64::from(id))
        .execute(connection)
        .await
        .doing("retiring a key of passes")
        .map(drop)
}

/// Nothing of a key is believed any more; its passes are withdrawn with it. Returns how many were live.
pub(super) async fn withdraw(
    connection: &mut SqliteConnection,
    id: u8,
    withdrawal: &Withdrawal,
) -> Result<u64, StoreError> {
    const DOING: &str = "withdrawing a key of passes";
    let at = withdrawal.at;
    let key = find(connection, id, at).await?;
    if key.withdrawn.is_some() {
        return Err(AccessProblem::KeyWithdrawn { id }.into());
    }
    sqlx::query(
        "UPDATE pass_key SET signs_until = coalesce(signs_until, ?1), withdrawn = ?1, withdrawn_by = ?2, reason = ?3
         WHERE id = ?4",
    )
    .bind(at.as_unix_micros())
    .bind(&withdrawal.by)
    .bind(&withdrawal.reason)
    .bind(i64::from(id))
    .execute(&mut *connection)
    .await
    .doing(DOING)?;
    sqlx::query("UPDATE pass SET withdrawn = ?, withdrawn_by = ?, reason = ? WHERE key = ? AND withdrawn IS NULL AND not_after > ?")
        .bind(at.as_unix_micros())
        .bind(&withdrawal.by)
        .bind(format!("key {id} was withdrawn: {}", withdrawal.reason))
        .bind(i64::from(id))
        .bind(at.as_unix_seconds())
        .execute(connection)
        .await
        .doing(DOING)?;
    Ok(key.live)
}

/// `base`, and every key that is still believed; `revocations` gets those that are not.
pub(super) fn believed(
    base: PassVerifier,
    keys: &[KeptKey],
    revocations: &mut Revocations,
) -> Result<PassVerifier, StoreError> {
    let mut verifier = base;
    for kept in keys {
        let public = PublicPassKey::from_bytes(kept.id, &kept.public).map_err(AccessProblem::from)?;
        verifier = match kept.ends() {
            None => verifier.with(public),
            Some(ends) => verifier.with_until(public, ends),
        };
        // The key stays known, so that the journal says that a pass was withdrawn and not that it is none.
        if let Some(Withdrawal { at, reason, .. }) = &kept.withdrawn {
            let revocation = Revocation { at: *at, reason: reason.clone(), until: None };
            revocations.add(Revoked::Key(kept.id), revocation).map_err(AccessProblem::from)?;
        }
    }
    Ok(verifier)
}
