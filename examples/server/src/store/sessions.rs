//! [`Sessions`]: who is signed in.
//!
//! A session is a token of 256 random bits. The database keeps its SHA-256 only, so a stolen copy signs nobody in. A
//! session ends when it was not used for [`IDLE_LIFE`], when it is [`ABSOLUTE_LIFE`] old, when its user signs out, is
//! kept out, or gets another password.
//!
//! **Never:** claims inside the token; trust in a role that was true at login (it is read anew with every request).

use std::sync::Arc;
use std::time::Duration;

use godvision_core::{Clock, Secret, WallTime};
use sha2::{Digest, Sha256};
use sqlx::SqlitePool;

use super::users::{Role, User};
use super::{Doing, StoreError, hex, random, unhex};

/// A session unused for so long ends.
pub const IDLE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A session of this age ends.
pub const ABSOLUTE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most sessions of one user; the one used longest ago makes room.
pub const PER_USER_MAX: i64 = 64;
/// How stale the time of last use may get before it is written: pages ask every two seconds.
const SEEN_GRAIN: Duration = Duration::from_secs(60);

/// A live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub user: User,
    /// When it ends at the latest.
    pub expires: WallTime,
}

/// The sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What the database keeps of a token; `None` for a text that is no token.
fn digest(token: &Secret) -> Option<Vec<u8>> {
    let bytes: [u8; 32] = unhex(token.expose())?;
    Some(Sha256::digest(bytes).to_vec())
}

impl Sessions {
    pub(super) fn new(pool: SqlitePool, clock: Arc<dyn Clock>) -> Self {
        Self { pool, clock }
    }

    /// Signs a user in and returns the token: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`StoreError::Random`], [`StoreError::Database`].
    pub async fn start(&self, user: &User) -> Result<Secret, StoreError> {
        const DOING: &str = "starting a session";
        let token = Secret::from(hex(&random::<32>()?));
        let now = self.clock.wall().as_unix_micros();
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.doing(DOING)?;
        sqlx::query("DELETE FROM session WHERE seen < ? OR created < ?")
            .bind(now.saturating_sub(micros(IDLE_LIFE)))
            .bind(now.saturating_sub(micros(ABSOLUTE_LIFE)))
            .execute(&mut *transaction)
            .await
            .doing(DOING)?;
        sqlx::query(
            "DELETE FROM session WHERE token_sha256 IN
             (SELECT token_sha256 FROM session WHERE user = ? ORDER BY seen DESC LIMIT -1 OFFSET ?)",
        )
        .bind(user.id)
        .bind(PER_USER_MAX - 1)
        .execute(&mut *transaction)
        .await
        .doing(DOING)?;
        sqlx::query("INSERT INTO session (token_sha256, user, created, seen) VALUES (?, ?, ?, ?)")
            .bind(digest(&token))
            .bind(user.id)
            .bind(now)
            .bind(now)
            .execute(&mut *transaction)
            .await
            .doing(DOING)?;
        transaction.commit().await.doing(DOING)?;
        Ok(token)
    }

    /// The session of `token`, if it lives. Counts as its use.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn find(&self, token: &Secret) -> Result<Option<Session>, StoreError> {
        let Some(digest) = digest(token) else { return Ok(None) };
        let now = self.clock.wall().as_unix_micros();
        let row: Option<(i64, String, String, i64, i64)> = sqlx::query_as(
            "SELECT user.id, user.name, user.role, session.created, session.seen
             FROM session JOIN user ON user.id = session.user
             WHERE session.token_sha256 = ? AND user.disabled = 0",
        )
        .bind(&digest)
        .fetch_optional(&self.pool)
        .await
        .doing("looking up a session")?;
        let Some((id, name, role, created, seen)) = row else { return Ok(None) };
        let expires = created.saturating_add(micros(ABSOLUTE_LIFE));
        if now >= expires || now >= seen.saturating_add(micros(IDLE_LIFE)) {
            return Ok(None);
        }
        let Some(role) = Role::from_code(&role) else { return Ok(None) };
        if now >= seen.saturating_add(micros(SEEN_GRAIN)) {
            let noted = sqlx::query("UPDATE session SET seen = ? WHERE token_sha256 = ?")
                .bind(now)
                .bind(&digest)
                .execute(&self.pool)
                .await;
            if let Err(error) = noted {
                // A full disk must not lock out whoever is signed in and can make room.
                tracing::warn!(%error, "the use of a session could not be noted");
            }
        }
        let user = User { id, name, role, is_disabled: false };
        Ok(Some(Session { user, expires: WallTime::from_unix_micros(expires) }))
    }

    /// Ends the session of `token`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn end(&self, token: &Secret) -> Result<(), StoreError> {
        let Some(digest) = digest(token) else { return Ok(()) };
        sqlx::query("DELETE FROM session WHERE token_sha256 = ?")
            .bind(digest)
            .execute(&self.pool)
            .await
            .doing("ending a session")
            .map(drop)
    }
}
