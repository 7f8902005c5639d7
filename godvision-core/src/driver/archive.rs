//! [`Archive`]: where clips are kept for good: an FTP server, a folder, later others.
//!
//! One promise carries the whole design: when [`Archive::store`] returns `Ok`, the complete file is there under its
//! final name and its size was read back from the archive; before that, nothing is visible under the final name. Only
//! then may the caller free the local copy.
//!
//! **Never:** queues or retries inside a driver (the spool owns them).

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;

use super::BoxFuture;

/// What an archive can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The driver's name: `ftp`, `folder`, ...
    pub driver: &'static str,
    /// Whether an interrupted [`Archive::store`] goes on where it stopped.
    pub resumes: bool,
    /// Whether [`Archive::read`] can begin in the middle without reading what is before.
    pub reads_ranges: bool,
    /// Whether what is stored can be listed through this archive from another computer.
    pub is_remote: bool,
}

/// A finished local file to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The local file. It does not change while it is stored.
    pub file: PathBuf,
    /// Its final name in the archive, relative, parts joined by `/`, each a safe file name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// SHA-256 of its content. Also names partial uploads, so that only the same content is resumed.
    pub sha256: [u8; 32],
}

/// A file in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name in the archive.
    pub name: String,
    /// Its size as the archive gives it.
    pub size_bytes: u64,
}

/// Why an archive did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// No connection, or it was lost.
    #[error("archive {address} cannot be reached: {detail}")]
    Unreachable {
        /// Host and port, or path; never with a password.
        address: String,
        /// What the system said.
        detail: String,
    },
    /// No progress in time.
    #[error("archive {address} made no progress while {doing}")]
    Timeout {
        /// Host and port, or path.
        address: String,
        /// What was being done.
        doing: &'static str,
    },
    /// The archive wants another user name or password.
    #[error("archive {address} refused the user name or password")]
    AuthFailed {
        /// Host and port.
        address: String,
    },
    /// The connection could not be secured as configured.
    #[error("archive {address} cannot be spoken to securely: {detail}")]
    Tls {
        /// Host and port.
        address: String,
        /// What failed.
        detail: String,
    },
    /// The archive may not be written or read there.
    #[error("archive {address} denied access: {detail}")]
    Denied {
        /// Host and port, or path.
        address: String,
        /// The archive's words.
        detail: String,
    },
    /// The archive is full.
    #[error("archive {address} is full: {detail}")]
    Full {
        /// Host and port, or path.
        address: String,
        /// The archive's words.
        detail: String,
    },
    /// The archive's copy is not what was sent.
    #[error("archive {address} holds {found} bytes of {name}, expected {expected}")]
    Mismatch {
        /// Host and port, or path.
        address: String,
        /// The file.
        name: String,
        /// Its size here.
        expected: u64,
        /// Its size there.
        found: u64,
    },
    /// No such file in the archive.
    #[error("archive has no {name}")]
    NotFound {
        /// The file.
        name: String,
    },
    /// The archive broke its protocol.
    #[error("archive {address} answered nonsense: {detail}")]
    Protocol {
        /// Host and port.
        address: String,
        /// What was wrong, shortened.
        detail: String,
    },
    /// The local file could not be read.
    #[error("cannot read {path}: {detail}")]
    Local {
        /// The local file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The name is not relative, or holds a part that is no safe file name.
    #[error("{name:?} is not a safe archive name")]
    BadName {
        /// The name.
        name: String,
    },
}

impl ArchiveError {
    /// Whether the same call may succeed later without anybody doing anything. What is not temporary is parked and
    /// shown to the owner.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Mismatch { .. }
                | Self::Protocol { .. }
                | Self::Full { .. }
        )
    }
}

/// A place that keeps files.
pub trait Archive: Send + Sync {
    /// What it can do. Never changes.
    fn capabilities(&self) -> &Capabilities;

    /// Stores a whole file and publishes it under its final name, see the module's promise. If a file of the same name
    /// and size is already there, it is taken as this one (an earlier answer was lost). `progress` is told the bytes
    /// that the archive has so far.
    ///
    /// # Errors
    /// [`ArchiveError`]; calling again resumes where [`Capabilities::resumes`].
    fn store<'a>(
        &'a self,
        upload: &'a Upload,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Stored, ArchiveError>>;

    /// What is kept under `name`, if anything.
    ///
    /// # Errors
    /// [`ArchiveError`].
    fn stat<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Stored>, ArchiveError>>;

    /// Bytes of a file; fewer than asked for only at its end.
    ///
    /// # Errors
    /// [`ArchiveError::NotFound`] and others.
    fn read<'a>(&'a self, name: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<Bytes, ArchiveError>>;

    /// Removes a file; removing what is not there is no error.
    ///
    /// # Errors
    /// [`ArchiveError`].
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), ArchiveError>>;
}

/// Checks an archive name: relative, at most 512 bytes, parts of `[A-Za-z0-9._-]` not starting with a dot.
///
/// # Errors
/// [`ArchiveError::BadName`].
pub fn checked_name(name: &str) -> Result<(), ArchiveError> {
    let part_is_safe = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    if name.len() <= 512 && name.split('/').all(part_is_safe) {
        Ok(())
    } else {
        Err(ArchiveError::BadName { name: name.to_owned() })
    }
}
