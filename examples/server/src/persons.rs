//! The persons document, from which the cabinet takes people over, and the secrets that passes and stored keys depend on.
//!
//! ```toml
//! version = 1
//!
//! [[person]]
//! name = "ada"
//! cards = ["04A1B2C3"]     # as the reader gives them, upper-case hexadecimal
//! plates = ["A123BC77"]
//! groups = ["residents"]
//!
//! [[person]]
//! name = "bob"
//! revoked = true
//! ```
//! A person's passes and face are known by the name alone.
//!
//! **Never:** PINs (a file is no place for them), a key that is ignored.

use anyhow::{Context as _, bail, ensure};
use godvision_access::credential::{Directory, StoredKey};
use godvision_access::pass::PassKey;
use godvision_core::signal::door::Key;
use godvision_core::{Name, Secret};
use serde::Deserialize;

use crate::store::{self, KeyKind, Secrets, StoreError};

/// The rules of a site that has none yet: operators may open by hand, nobody else may anything.
pub const DEFAULT_RULES: &str = include_str!("../assets/rules.toml");
/// The name under which the key that signs passes is kept in the secret store: 64 hexadecimal digits.
const PASS_KEY_SECRET: &str = "pass-key";
/// The name under which the salt of stored keys is kept.
const SALT_SECRET: &str = "key-salt";
/// The name under which the secret behind the links of passes is kept.
const LINK_SECRET: &str = "pass-links";
/// The name under which the secret behind rolling codes is kept.
const ROLLING_SECRET: &str = "rolling-codes";
/// The id of the site's own pass key; 0 is the demo's, which every reader of the source knows.
const PASS_KEY_ID: u8 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default)]
    person: Vec<Person>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    #[serde(default)]
    cards: Vec<String>,
    #[serde(default)]
    plates: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    revoked: bool,
}

/// What a person of the document carries: what it is, what may be shown of it, how it is kept.
pub type Carried = (KeyKind, String, StoredKey);

/// The persons of a document and what they carry, under `salt`.
///
/// # Errors
/// What is wrong with it, by line where the syntax is.
pub fn read(text: &str, salt: [u8; 16]) -> anyhow::Result<Vec<(store::Person, Vec<Carried>)>> {
    let document: Document = toml::from_str(text)?;
    ensure!(document.version == 1, "version {} is not known: write version = 1", document.version);
    // Two persons with one name or one card are told here, by the directory that would refuse them later.
    let mut directory = Directory::new(salt);
    let read = |person: Person| {
        let name = person.name.clone();
        one(person, &mut directory).with_context(|| format!("person {name}"))
    };
    document.person.into_iter().map(read).collect()
}

fn one(listed: Person, directory: &mut Directory) -> anyhow::Result<(store::Person, Vec<Carried>)> {
    let name = Name::new(&listed.name)?;
    directory.add_person(name.clone())?;
    let mut keys = Vec::new();
    for card in &listed.cards {
        let stored = directory.add_key(&name, &Key::Card(card.as_str().into()))?;
        keys.push((KeyKind::Card, KeyKind::Card.label(card), stored));
    }
    for plate in &listed.plates {
        let stored = directory.add_key(&name, &Key::Plate(plate.as_str().into()))?;
        keys.push((KeyKind::Plate, plate.clone(), stored));
    }
    let groups = listed.groups.iter().map(|group| Name::new(group)).collect::<Result<_, _>>()?;
    let person = store::Person { groups, is_revoked: listed.revoked, ..store::Person::new(name) };
    Ok((person, keys))
}

/// The salt of stored keys, made the first time.
///
/// # Errors
/// If the store fails.
pub(crate) async fn salt(secrets: &Secrets) -> Result<[u8; 16], StoreError> {
    kept(secrets, SALT_SECRET).await
}

/// The first key that signs this site's passes, made the first time.
///
/// # Errors
/// If the store fails.
pub async fn pass_key(secrets: &Secrets) -> Result<PassKey, StoreError> {
    Ok(PassKey::from_seed(PASS_KEY_ID, &kept(secrets, PASS_KEY_SECRET).await?))
}

/// The secret that holds a key of passes.
fn pass_key_secret(id: u8) -> String {
    if id == PASS_KEY_ID { PASS_KEY_SECRET.to_owned() } else { format!("{PASS_KEY_SECRET}/{id}") }
}

/// The key `id` of passes, if there is its secret half.
pub(crate) async fn kept_pass_key(secrets: &Secrets, id: u8) -> Result<Option<PassKey>, StoreError> {
    let name = pass_key_secret(id);
    let Some(text) = secrets.get(&name).await? else { return Ok(None) };
    let seed = unhex(text.expose()).ok_or(StoreError::Sealed { name })?;
    Ok(Some(PassKey::from_seed(id, &seed)))
}

/// Makes and seals a new key `id` of passes; over one that was never put in force.
pub(crate) async fn new_pass_key(secrets: &Secrets, id: u8) -> Result<PassKey, StoreError> {
    let seed = store::random::<32>()?;
    secrets.put(&pass_key_secret(id), &hex(&seed)).await?;
    Ok(PassKey::from_seed(id, &seed))
}

/// Forgets the secret half of the key `id` of passes.
pub(crate) async fn forget_pass_key(secrets: &Secrets, id: u8) -> Result<(), StoreError> {
    secrets.remove(&pass_key_secret(id)).await
}

/// The secret behind the links of passes, made the first time.
///
/// # Errors
/// If the store fails.
pub(crate) async fn link_secret(secrets: &Secrets) -> Result<[u8; 32], StoreError> {
    kept(secrets, LINK_SECRET).await
}

/// The secret that those of rolling codes are derived from, made the first time.
///
/// # Errors
/// If the store fails.
pub(crate) async fn rolling_secret(secrets: &Secrets) -> Result<[u8; 32], StoreError> {
    kept(secrets, ROLLING_SECRET).await
}

/// Random bytes under `name`, made and kept the first time.
async fn kept<const N: usize>(secrets: &Secrets, name: &str) -> Result<[u8; N], StoreError> {
    if let Some(text) = secrets.get(name).await? {
        return unhex(text.expose()).ok_or_else(|| StoreError::Sealed { name: name.to_owned() });
    }
    let bytes = store::random::<N>()?;
    secrets.put(name, &hex(&bytes)).await?;
    Ok(bytes)
}

/// Random bytes of the operating system.
///
/// # Errors
/// If it has none.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        bail!("the operating system gives no random bytes");
    }
    Ok(bytes)
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> Secret {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Secret::from(text)
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N * 2 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        format!("{:#}", read(text, [0; 16]).unwrap_err())
    }

    #[test]
    fn persons_are_read_with_what_they_carry() {
        let text = "version = 1\n[[person]]\nname = \"ada\"\ncards = [\"04A1B2C3\"]\ngroups = [\"residents\"]\n[[person]]\nname = \"bob\"\nrevoked = true\n";
        let read = read(text, [7; 16]).unwrap();
        let stored = Directory::new([7; 16]).stored(&Key::Card("04A1B2C3".into())).unwrap();
        let (ada, keys) = &read[0];
        assert_eq!((ada.name.as_str(), ada.groups.len(), ada.is_revoked), ("ada", 1, false));
        assert_eq!(keys, &[(KeyKind::Card, "…B2C3".to_owned(), stored)]);
        assert!(read[1].0.is_revoked && read[1].1.is_empty());
    }

    #[test]
    fn errors_say_where_and_what() {
        assert!(told("version = 2\n").contains("write version = 1"));
        assert!(told("version = 1\n[[person]]\nname = \"ada\"\ncolour = 1\n").contains("line 4"));
        assert!(told("version = 1\n[[person]]\nname = \"a b\"\n").contains("person a b"));
        assert!(told("version = 1\n[[person]]\nname = \"a\"\n[[person]]\nname = \"a\"\n").contains("person a"));
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(unhex::<3>(hex(&[0, 10, 255]).expose()), Some([0, 10, 255]));
        assert_eq!(unhex::<3>("00"), None);
        assert_eq!(unhex::<1>("é"), None);
    }
}
