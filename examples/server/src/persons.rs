//! Who the site knows: the persons document, and the secrets that passes and stored keys depend on.
//!
//! ```toml
//! version = 1
//!
//! [[person]]
//! name = "ada"
//! cards = ["04A1B2C3"]     # as the reader gives them, upper-case hexadecimal
//! plates = ["A123BC77"]
//!
//! [[person]]
//! name = "bob"
//! revoked = true
//! ```
//! A person's passes and face are known by the name alone.
//!
//! **Never:** PINs (a file is no place for them), a key that is ignored.

use anyhow::{Context as _, bail, ensure};
use godvision_access::credential::Directory;
use godvision_access::pass::PassKey;
use godvision_core::signal::door::Key;
use godvision_core::{Name, Secret};
use serde::Deserialize;

use crate::store::Store;

/// The rules of a site that has none yet: operators may open by hand, nobody else may anything.
pub const DEFAULT_RULES: &str = include_str!("../assets/rules.toml");
/// The name under which the key that signs passes is kept in the secret store: 64 hexadecimal digits.
const PASS_KEY_SECRET: &str = "pass-key";
/// The name under which the salt of stored keys is kept.
const SALT_SECRET: &str = "key-salt";
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
    revoked: bool,
}

/// Adds the persons of a document to `directory`.
///
/// # Errors
/// What is wrong with it, by line where the syntax is.
pub fn read(text: &str, directory: &mut Directory) -> anyhow::Result<()> {
    let document: Document = toml::from_str(text)?;
    ensure!(document.version == 1, "version {} is not known: write version = 1", document.version);
    for person in document.person {
        add(&person, directory).with_context(|| format!("person {}", person.name))?;
    }
    Ok(())
}

fn add(person: &Person, directory: &mut Directory) -> anyhow::Result<()> {
    let name = Name::new(&person.name)?;
    directory.add_person(name.clone())?;
    for card in &person.cards {
        directory.add_key(&name, &Key::Card(card.as_str().into()))?;
    }
    for plate in &person.plates {
        directory.add_key(&name, &Key::Plate(plate.as_str().into()))?;
    }
    if person.revoked {
        directory.revoke_person(&name)?;
    }
    Ok(())
}

/// The salt of stored keys, made the first time.
///
/// # Errors
/// If the store fails.
pub async fn salt(store: &Store) -> anyhow::Result<[u8; 16]> {
    kept(store, SALT_SECRET).await
}

/// The key that signs this site's passes, made the first time.
///
/// # Errors
/// If the store fails.
pub async fn pass_key(store: &Store) -> anyhow::Result<PassKey> {
    Ok(PassKey::from_seed(PASS_KEY_ID, &kept(store, PASS_KEY_SECRET).await?))
}

/// Random bytes under `name`, made and kept the first time.
async fn kept<const N: usize>(store: &Store, name: &str) -> anyhow::Result<[u8; N]> {
    if let Some(text) = store.secrets().get(name).await? {
        return unhex(text.expose()).with_context(|| format!("the secret {name} is damaged"));
    }
    let bytes = random::<N>()?;
    store.secrets().put(name, &hex(&bytes)).await?;
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
        format!("{:#}", read(text, &mut Directory::new([0; 16])).unwrap_err())
    }

    #[test]
    fn persons_are_read_with_what_they_carry() {
        let mut directory = Directory::new([7; 16]);
        let text = "version = 1\n[[person]]\nname = \"ada\"\ncards = [\"04A1\"]\n[[person]]\nname = \"bob\"\ncards = [\"05\"]\nrevoked = true\n";
        read(text, &mut directory).unwrap();
        let ada = directory.who(&Key::Card("04A1".into())).unwrap();
        assert_eq!(ada.person, Some(Name::new("ada").unwrap()));
        assert!(directory.who(&Key::Card("05".into())).is_err());
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
