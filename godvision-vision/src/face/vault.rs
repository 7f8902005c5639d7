//! A gallery at rest: sealed bytes that only the holder of the key can open or change unseen.
//!
//! ```text
//! 8 bytes   "GVFACES" and the version, 1
//! 24 bytes  nonce
//! ...       XChaCha20-Poly1305 of the content; the first 32 bytes are authenticated with it
//! 16 bytes  tag
//! ```
//!
//! The content is written once into the buffer that is then encrypted in place, so no second copy of it exists, and the
//! buffer is large enough from the start, so none is left where it grew. The nonce is an argument, because a core draws
//! no random numbers: 24 bytes from the system's source, new for every seal. With 192 bits, drawing is enough; nothing
//! has to be counted.
//!
//! Keep the key elsewhere than the bytes. To write the file: a new file beside it, sync, rename.
//!
//! **Never:** files, random numbers, keys made of passwords, partial reads.

#![forbid(unsafe_code)]

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use godvision_core::{Name, WallTime};
use zeroize::{Zeroize, Zeroizing};

use super::Embedding;
use super::gallery::{Consent, Deletion, Gallery, List, PersonRows, WatchReason};
use crate::error::Error;

const MAGIC: &[u8; 8] = b"GVFACES\x01";
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 24;
const HEADER_BYTES: usize = MAGIC.len() + NONCE_BYTES;
const TAG_BYTES: usize = 16;

/// The key of a vault. Overwritten when dropped; does not print itself.
pub struct VaultKey([u8; 32]);

impl VaultKey {
    /// Takes 32 bytes from a random source or a key store.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }
}

impl Drop for VaultKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Seals `gallery`. `nonce` must be fresh random bytes; used twice with one key it gives both contents away.
///
/// # Errors
/// [`Error::BadVault`] if the content is too long for the cipher (256 GiB).
pub fn seal(gallery: &Gallery, key: &VaultKey, nonce: [u8; NONCE_BYTES]) -> Result<Vec<u8>, Error> {
    let mut measured = Writer::default();
    write(gallery, &mut measured);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + measured.length + TAG_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&nonce);
    let mut writer = Writer { length: 0, out: Some(bytes) };
    write(gallery, &mut writer);
    let mut bytes = writer.out.unwrap_or_default();
    let (header, content) = bytes.split_at_mut(HEADER_BYTES);
    let cipher = XChaCha20Poly1305::new((&key.0).into());
    let sealed = cipher.encrypt_inout_detached(&XNonce::from(nonce), header, content.into());
    match sealed {
        Ok(tag) => bytes.extend_from_slice(&tag),
        Err(_) => {
            bytes.zeroize();
            return Err(Error::BadVault { reason: "it is too large for the cipher" });
        }
    }
    Ok(bytes)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`Error::BadVault`]: no vault, another version, the wrong key, or one bit changed.
pub fn open(bytes: &[u8], key: &VaultKey) -> Result<Gallery, Error> {
    let bad = |reason| Error::BadVault { reason };
    if bytes.len() < HEADER_BYTES + TAG_BYTES || !bytes.starts_with(&MAGIC[..7]) {
        return Err(bad("these bytes are no sealed gallery"));
    }
    if !bytes.starts_with(MAGIC) {
        return Err(bad("it is of another version: open it with the release that wrote it"));
    }
    let (header, rest) = bytes.split_at(HEADER_BYTES);
    let (content, tag) = rest.split_at(rest.len() - TAG_BYTES);
    let (mut nonce, mut expected) = ([0; NONCE_BYTES], [0; TAG_BYTES]);
    nonce.copy_from_slice(&header[MAGIC.len()..]);
    expected.copy_from_slice(tag);
    let mut content = Zeroizing::new(content.to_vec());
    let cipher = XChaCha20Poly1305::new((&key.0).into());
    cipher
        .decrypt_inout_detached(&XNonce::from(nonce), header, content.as_mut_slice().into(), &Tag::from(expected))
        .map_err(|_| bad("the key is wrong, or the bytes were changed"))?;
    read(&content)
}

/// Counts, and writes if it has somewhere to.
#[derive(Default)]
struct Writer {
    length: usize,
    out: Option<Vec<u8>>,
}

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        if let Some(out) = &mut self.out {
            out.extend_from_slice(bytes);
        }
    }

    fn count(&mut self, count: usize) {
        // Every count here is limited far below 2^32: people, rows, characters.
        self.bytes(&(count as u32).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes(text.as_bytes());
    }

    fn list(&mut self, list: List) {
        self.bytes(&[match list {
            List::Allow => 0,
            List::Watch => 1,
        }]);
    }
}

fn write(gallery: &Gallery, to: &mut Writer) {
    to.text(gallery.model());
    to.count(gallery.length());
    let persons = gallery.persons();
    to.count(persons.len());
    for person in persons {
        to.list(person.list);
        to.text(person.name.as_str());
        to.text(person.statement.by());
        to.bytes(&person.statement.at().as_unix_micros().to_le_bytes());
        to.text(person.statement.text());
        let rows = gallery.rows(&person.name);
        to.count(rows.len());
        for value in rows.into_iter().flatten() {
            to.bytes(&value.to_le_bytes());
        }
    }
    to.count(gallery.deletions().len());
    for deletion in gallery.deletions() {
        to.list(deletion.list);
        to.text(deletion.person.as_str());
        to.count(deletion.photos);
        to.text(deletion.statement.by());
        to.bytes(&deletion.statement.at().as_unix_micros().to_le_bytes());
        to.text(deletion.statement.text());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?)).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.count()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn name(&mut self) -> Option<Name> {
        Name::new(self.text()?).ok()
    }

    fn list(&mut self) -> Option<List> {
        match self.bytes(1)? {
            [0] => Some(List::Allow),
            [1] => Some(List::Watch),
            _ => None,
        }
    }

    fn wall(&mut self) -> Option<WallTime> {
        Some(WallTime::from_unix_micros(i64::from_le_bytes(self.bytes(8)?.try_into().ok()?)))
    }
}

/// What is authentic was written by us; it is read with care all the same, and refused as a whole.
fn read(content: &[u8]) -> Result<Gallery, Error> {
    let mut from = Reader(content);
    let gallery = read_gallery(&mut from).filter(|_| from.0.is_empty());
    gallery.ok_or(Error::BadVault { reason: "its content is damaged" })
}

fn read_gallery(from: &mut Reader<'_>) -> Option<Gallery> {
    let model = from.text()?;
    let length = from.count()?;
    let mut gallery = Gallery::new(model, length).ok()?;
    for _ in 0..from.count()? {
        let (list, name) = (from.list()?, from.name()?);
        let (by, at, text) = (from.text()?, from.wall()?, from.text()?);
        let mut rows = Vec::new();
        for _ in 0..from.count()? {
            let bytes = from.bytes(length.checked_mul(4)?)?;
            let values = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
            rows.push(Embedding::new(&Zeroizing::new(values.collect::<Vec<f32>>())).ok()?);
        }
        let rows = PersonRows::new(model, rows).ok()?;
        match list {
            List::Allow => gallery.allow(&name, &rows, Consent::given(by, at, text).ok()?),
            List::Watch => gallery.watch(&name, &rows, WatchReason::given(by, at, text).ok()?),
        }
        .ok()?;
    }
    for _ in 0..from.count()? {
        let (list, person, photos) = (from.list()?, from.name()?, from.count()?);
        let statement = super::gallery::Statement::new(from.text()?, from.wall()?, from.text()?).ok()?;
        gallery.remember(Deletion { person, list, photos, statement });
    }
    Some(gallery)
}
