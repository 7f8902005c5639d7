//! The last good rules on disk.
//!
//! [`load`] reads the rule document and, where it is good, leaves a snapshot of it beside; where the document is broken or
//! cannot be read, the snapshot serves, and the error comes along to be shown. So a typing mistake, a lost mount or an
//! empty file does not lock everybody out at the next start, and never lets in more than the last good rules did.
//!
//! A snapshot is written to a new file, synced, and renamed over the old one; then its folder is synced. A crash leaves the
//! old one or the new one.
//!
//! For programs that keep their rules in a file. One that has a database keeps them there with
//! [`RuleSet::to_bytes`](crate::RuleSet::to_bytes) or as the document, under the same law: never over the last good ones.
//!
//! ```
//! use godvision_access::io::snapshot_file::{Origin, load};
//!
//! # let folder = std::env::temp_dir().join(format!("godvision-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! let (document, snapshot) = (folder.join("rules.toml"), folder.join("rules.last-good"));
//! std::fs::write(&document, "version = 1\n[[rule]]\nname = \"staff\"\npermit = [\"ada\"]\ndoors = [\"any\"]\n")?;
//! assert!(matches!(load(&document, &snapshot)?.origin, Origin::Document { unsaved: None }));
//!
//! std::fs::write(&document, "version = 1\n[[rule]")?; // a typing mistake
//! let loaded = load(&document, &snapshot)?; // an error only where there is no good snapshot either
//! if let Origin::Snapshot { because } = &loaded.origin {
//!     eprintln!("the last good rules serve: {because}");
//! }
//! assert_eq!(loaded.rules.len(), 1);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Never:** a snapshot that could not be read back, or of rules that do not compile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::rule::{CompiledRules, RuleSet, SNAPSHOT_BYTES_MAX, TEXT_BYTES_MAX};

/// What [`load`] found.
#[derive(Debug)]
pub struct Loaded {
    /// The rules.
    pub set: RuleSet,
    /// The same, ready to decide.
    pub rules: CompiledRules,
    /// Where they are from.
    pub origin: Origin,
}

/// Where rules are from.
#[derive(Debug)]
pub enum Origin {
    /// From the document; whether they are on disk as a snapshot too, and if not, why.
    Document {
        /// Why there is no snapshot of them.
        unsaved: Option<Error>,
    },
    /// From the last snapshot.
    Snapshot {
        /// What is wrong with the document.
        because: Error,
    },
}

/// Reads the document at `document`, or else the snapshot at `snapshot`.
///
/// # Errors
/// That of the document, where there is no good snapshot either.
pub fn load(document: &Path, snapshot: &Path) -> Result<Loaded, Error> {
    match read_document(document) {
        Ok((set, rules)) => {
            let bytes = set.to_bytes();
            // What is there already is not written again.
            let is_there = read_bytes(snapshot, SNAPSHOT_BYTES_MAX).is_ok_and(|there| there == bytes);
            let unsaved = if is_there { None } else { keep(snapshot, &bytes).err() };
            Ok(Loaded { set, rules, origin: Origin::Document { unsaved } })
        }
        Err(because) => {
            let Ok(set) = read(snapshot) else { return Err(because) };
            let Ok(rules) = set.compile() else { return Err(because) };
            Ok(Loaded { set, rules, origin: Origin::Snapshot { because } })
        }
    }
}

/// Writes `set` to `path`, whole or not at all. Blocks for two `fsync`. What could not be read back is not written, so that
/// it never takes the place of what can: [`RuleSet::compile`] knows nothing of the layout.
///
/// # Errors
/// [`Error::Rule`] if it does not compile; [`Error::Snapshot`] if its layout is none that a document could describe;
/// [`Error::RuleFile`].
pub fn save(path: &Path, set: &RuleSet) -> Result<(), Error> {
    set.compile()?;
    keep(path, &set.to_bytes())
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// [`Error::RuleFile`], [`Error::Snapshot`].
pub fn read(path: &Path) -> Result<RuleSet, Error> {
    let bytes = read_bytes(path, SNAPSHOT_BYTES_MAX).map_err(failed(path))?;
    RuleSet::from_bytes(&bytes)
}

fn read_document(path: &Path) -> Result<(RuleSet, CompiledRules), Error> {
    let bytes = read_bytes(path, TEXT_BYTES_MAX).map_err(failed(path))?;
    let text =
        String::from_utf8(bytes).map_err(|error| failed(path)(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let set = RuleSet::parse(&text)?;
    let rules = set.compile()?;
    Ok((set, rules))
}

fn read_bytes(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than may be there, so that the reader sees that there is too much.
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes `bytes`, if they are a snapshot that would serve.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    RuleSet::from_bytes(bytes)?.compile()?;
    save_bytes(path, bytes)
}

fn save_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut new_name = path.file_name().unwrap_or_default().to_owned();
    new_name.push(".new");
    let new = path.with_file_name(new_name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        // The new name is on disk once the folder is. Not every system lets a folder be opened.
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_owned);
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    };
    write().map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::RuleFile { path, source }
}
