//! What can go wrong while keeping clips.

use std::io;
use std::path::{Path, PathBuf};

use godvision_core::driver::archive::ArchiveError;

/// Why a clip could not be kept, read or sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk of the spool is full and nothing in it may be given up.
    #[error(
        "no space left for clips at {path}: free space there or raise the quota; recording goes on as soon as there is space"
    )]
    Full {
        /// The file that could not be written.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("cannot {doing} {path}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A manifest in the spool is no manifest of ours.
    #[error("the manifest {path} cannot be read: {detail}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no such clip here.
    #[error("there is no clip {id}")]
    NoSuchClip {
        /// What was asked for.
        id: String,
    },
    /// The text is no identifier of a clip.
    #[error("{text:?} is no clip identifier")]
    BadClipId {
        /// The text.
        text: String,
    },
    /// The text is no FTP address.
    #[error("not an FTP address, {detail}: write ftp://user:password@host:port/folder, or ftps:// for TLS")]
    BadUrl {
        /// What is wrong; never the address itself, which may hold a password.
        detail: &'static str,
    },
    /// The archive's certificate option cannot be used.
    #[error("the certificate option cannot be used: {detail}")]
    BadCertificate {
        /// What is wrong.
        detail: String,
    },
    /// The archive did not do it.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Error {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Disk { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
            }
            Self::Archive(error) => error.is_temporary(),
            _ => false,
        }
    }

    /// Wraps a system error about `path`.
    pub(crate) fn disk(doing: &'static str, path: &Path, source: io::Error) -> Self {
        if is_full(&source) {
            Self::Full { path: path.to_owned() }
        } else {
            Self::Disk { doing, path: path.to_owned(), source }
        }
    }
}

/// Whether the system says that there is no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::WriteZero
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let path = Path::new("/spool/tmp/a.mp4");
        let full = Error::disk("write", path, io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, Error::Full { .. }) && full.is_temporary());
        let read_only = Error::disk("write", path, io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        assert!(!read_only.is_temporary());
        assert_eq!(read_only.to_string(), "cannot write /spool/tmp/a.mp4");
    }
}
