//! [`Settings`]: what people switched while the system runs, kept for the next start.
//!
//! **Never:** what the site document says (cameras, links, rules, which analyses a camera has), secrets.

use std::fmt;

use godvision_core::Name;
use sqlx::SqlitePool;

use super::{Doing, StoreError};

/// What can be switched on a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Switch {
    /// Whether its motion is looked for.
    Detection,
    /// Whether its clips are kept and archived.
    Archive,
    /// Whether QR codes are read. The site document says so.
    Qr,
    /// Whether number plates are read. The site document says so.
    Plates,
    /// Whether faces are recognised. The site document says so.
    Faces,
}

impl Switch {
    /// `detection`, `archive`, `qr`, `plates` or `faces`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Detection => "detection",
            Self::Archive => "archive",
            Self::Qr => "qr",
            Self::Plates => "plates",
            Self::Faces => "faces",
        }
    }

    /// The unit whose component does it.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Detection => "motion",
            Self::Archive => "recorder",
            Self::Qr => "qr",
            Self::Plates => "plate",
            Self::Faces => "face",
        }
    }

    /// Whether the site document keeps it, not these settings: what it switches can be missing there altogether.
    pub fn is_in_document(self) -> bool {
        matches!(self, Self::Qr | Self::Plates | Self::Faces)
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The settings. Cheap to clone.
#[derive(Clone)]
pub struct Settings {
    pool: SqlitePool,
}

fn key(camera: &Name, switch: Switch) -> String {
    format!("camera:{camera}#{switch}")
}

impl Settings {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// What a camera's switch was last set to, if anybody ever did.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn switch(&self, camera: &Name, switch: Switch) -> Result<Option<bool>, StoreError> {
        Ok(self.get(&key(camera, switch)).await?.map(|value| value == "on"))
    }

    /// Keeps what a camera's switch is set to.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_switch(&self, camera: &Name, switch: Switch, on: bool) -> Result<(), StoreError> {
        self.put(&key(camera, switch), if on { "on" } else { "off" }).await
    }

    /// Any setting by its key.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn get(&self, key: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM setting WHERE key = ?")
            .bind(key)
            .fetch_optional(&self.pool)
            .await
            .doing("reading a setting")
    }

    /// Forgets what a camera's switch was set to.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn clear_switch(&self, camera: &Name, switch: Switch) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM setting WHERE key = ?")
            .bind(key(camera, switch))
            .execute(&self.pool)
            .await
            .doing("forgetting a setting")
            .map(drop)
    }

    /// Keeps any setting under its key.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put(&self, key: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&self.pool)
        .await
        .doing("keeping a setting")
        .map(drop)
    }
}
