//! The links of keypads on a page ([`KeypadLinks`]): whoever has one types at that reader, and it dies at a word.
//!
//! As with passes and rolling codes, no link is kept: it is the reader's reference and a MAC over the reader and a
//! generation, under a secret of the site. So the database alone is no keypad.
//!
//! **Never:** a PIN, a generation that comes back.

use std::sync::Arc;

use godvision_access::pass::NameRef;
use godvision_core::{Clock, Name, Secret, WallTime};
use hmac::Mac;
use sqlx::SqlitePool;

use super::{Doing, Secrets, StoreError, hex, passes};
use crate::persons;

const LINK_DOMAIN: &[u8] = b"godvision keypad link 1\0";
/// Bytes of a link's MAC: 2^128 guesses.
const MAC_BYTES: usize = 16;

/// A keypad's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeypadLink {
    /// What stands after `/keypad/`.
    pub token: Secret,
    /// When it was made.
    pub made: WallTime,
    /// By whom.
    pub made_by: String,
}

/// The links. Cheap to clone.
#[derive(Clone)]
pub struct KeypadLinks {
    pool: SqlitePool,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
}

impl KeypadLinks {
    pub(super) fn new(pool: SqlitePool, secrets: Secrets, clock: Arc<dyn Clock>) -> Self {
        Self { pool, secrets, clock }
    }

    /// The link of `reader`, if it has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_reader(&self, reader: &Name) -> Result<Option<KeypadLink>, StoreError> {
        let row: Option<(i64, i64, String)> =
            sqlx::query_as("SELECT generation, made, made_by FROM keypad_link WHERE reader = ?")
                .bind(reader.as_str())
                .fetch_optional(&self.pool)
                .await
                .doing("looking for a keypad's link")?;
        let Some((generation, made, made_by)) = row else { return Ok(None) };
        let mac = mac(&persons::link_secret(&self.secrets).await?, reader, generation).finalize().into_bytes();
        let token = format!("{}{}", hex(&NameRef::door(reader).to_bytes()), hex(&mac[..MAC_BYTES]));
        Ok(Some(KeypadLink { token: token.into(), made: WallTime::from_unix_micros(made), made_by }))
    }

    /// Makes the link of `reader` anew; the one before is dead.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(&self, reader: &Name, by: &str) -> Result<KeypadLink, StoreError> {
        const DOING: &str = "making a keypad's link";
        let mut change = self.pool.begin().await.doing(DOING)?;
        sqlx::query("DELETE FROM keypad_link WHERE reader = ?")
            .bind(reader.as_str())
            .execute(&mut *change)
            .await
            .doing(DOING)?;
        sqlx::query("INSERT INTO keypad_link (reader, reference, made, made_by) VALUES (?, ?, ?, ?)")
            .bind(reader.as_str())
            .bind(hex(&NameRef::door(reader).to_bytes()))
            .bind(self.clock.wall().as_unix_micros())
            .bind(by)
            .execute(&mut *change)
            .await
            .doing(DOING)?;
        change.commit().await.doing(DOING)?;
        let closed = || StoreError::Closed;
        self.of_reader(reader).await?.ok_or_else(closed)
    }

    /// Withdraws the link of `reader`. Whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn withdraw(&self, reader: &Name) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM keypad_link WHERE reader = ?")
            .bind(reader.as_str())
            .execute(&self.pool)
            .await
            .doing("withdrawing a keypad's link")?;
        Ok(done.rows_affected() > 0)
    }

    /// Whose link this is, as long as it is the newest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reader_of(&self, token: &Secret) -> Result<Option<Name>, StoreError> {
        let Some((reference, shown)) = passes::split(token.expose()) else { return Ok(None) };
        let row: Option<(i64, String)> =
            sqlx::query_as("SELECT generation, reader FROM keypad_link WHERE reference = ?")
                .bind(reference.to_string())
                .fetch_optional(&self.pool)
                .await
                .doing("looking for a keypad's link")?;
        let Some((generation, reader)) = row else { return Ok(None) };
        let Ok(reader) = Name::new(&reader) else { return Ok(None) };
        let mac = mac(&persons::link_secret(&self.secrets).await?, &reader, generation);
        // In constant time.
        Ok(mac.verify_truncated_left(&shown).is_ok().then_some(reader))
    }
}

fn mac(secret: &[u8; 32], reader: &Name, generation: i64) -> hmac::Hmac<sha2::Sha256> {
    let mac = passes::keyed(secret).chain_update(LINK_DOMAIN).chain_update(reader.as_str()).chain_update([0]);
    mac.chain_update(generation.to_be_bytes())
}
