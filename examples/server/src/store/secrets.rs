//! [`Secrets`]: passwords of cameras, archives and relays, sealed in the database.
//!
//! XChaCha20-Poly1305 with a random nonce for every write; the secret's name is authenticated with it, so a row cannot be
//! moved under another name. The key stays outside the database: in the environment, or in a file that only its owner may
//! read. Whoever takes the database alone, or a backup of it, has nothing.
//!
//! **Never:** a secret in an error, a log line or a page.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use godvision_core::Secret;
use sqlx::SqlitePool;

use super::{Doing, StoreError, file_error, hex, private_file, random, unhex};

/// Longest secret.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;

/// The secrets. Cheap to clone; clones share the key.
#[derive(Clone)]
pub struct Secrets {
    pool: SqlitePool,
    cipher: Arc<XChaCha20Poly1305>,
}

/// Reads the key file, or makes it with a key of the system's random source.
pub(super) fn key_file(path: &Path) -> Result<[u8; 32], StoreError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            warn_if_open(path);
            unhex(text.trim()).ok_or(StoreError::BadKey)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = random::<32>()?;
            let written = private_file().open(path).and_then(|mut file| {
                file.write_all(hex(&key).as_bytes())?;
                file.sync_all()
            });
            written.map_err(|error| file_error(path, &error))?;
            Ok(key)
        }
        Err(error) => Err(file_error(path, &error)),
    }
}

#[cfg(unix)]
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "others may read the secrets' key: chmod 600 it");
    }
}

#[cfg(not(unix))]
fn warn_if_open(_: &Path) {}

impl Secrets {
    pub(super) fn new(pool: SqlitePool, key: &[u8; 32]) -> Self {
        Self { pool, cipher: Arc::new(XChaCha20Poly1305::new(key.into())) }
    }

    /// Keeps `secret` under `name`, over what was there.
    ///
    /// # Errors
    /// [`StoreError::LongSecret`], [`StoreError::Random`], [`StoreError::Database`].
    pub async fn put(&self, name: &str, secret: &Secret) -> Result<(), StoreError> {
        self.put_bytes(name, secret.expose().as_bytes(), SECRET_BYTES_MAX).await
    }

    /// Keeps at most `bytes_max` bytes that are no text, sealed the same way.
    pub(super) async fn put_bytes(&self, name: &str, bytes: &[u8], bytes_max: usize) -> Result<(), StoreError> {
        if bytes.len() > bytes_max {
            return Err(StoreError::LongSecret);
        }
        let nonce = random::<24>()?;
        let payload = Payload { msg: bytes, aad: name.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| StoreError::LongSecret)?;
        sqlx::query(
            "INSERT INTO secret (name, nonce, sealed) VALUES (?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET nonce = excluded.nonce, sealed = excluded.sealed",
        )
        .bind(name)
        .bind(nonce.to_vec())
        .bind(sealed)
        .execute(&self.pool)
        .await
        .doing("keeping a secret")
        .map(drop)
    }

    /// The secret kept under `name`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] if it was sealed with another key or changed, [`StoreError::Database`].
    pub async fn get(&self, name: &str) -> Result<Option<Secret>, StoreError> {
        let Some(opened) = self.get_bytes(name).await? else { return Ok(None) };
        let failed = |_| StoreError::Sealed { name: name.to_owned() };
        String::from_utf8(opened).map(|text| Some(Secret::from(text))).map_err(failed)
    }

    /// What [`Secrets::put_bytes`] kept.
    pub(super) async fn get_bytes(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let row: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as("SELECT nonce, sealed FROM secret WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .doing("reading a secret")?;
        let Some((nonce, sealed)) = row else { return Ok(None) };
        let failed = || StoreError::Sealed { name: name.to_owned() };
        let nonce: [u8; 24] = nonce.try_into().map_err(|_| failed())?;
        let payload = Payload { msg: &sealed, aad: name.as_bytes() };
        self.cipher.decrypt(&XNonce::from(nonce), payload).map(Some).map_err(|_| failed())
    }

    /// The names that begin with `prefix`, which holds no `%` or `_`.
    pub(super) async fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar("SELECT name FROM secret WHERE name LIKE ? || '%'")
            .bind(prefix)
            .fetch_all(&self.pool)
            .await
            .doing("listing secrets")
    }

    /// Forgets the secret kept under `name`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM secret WHERE name = ?")
            .bind(name)
            .execute(&self.pool)
            .await
            .doing("forgetting a secret")
            .map(drop)
    }
}
