//! The directory: whose card, PIN, plate, face or pass it is.
//!
//! Cards and plates are kept as salted SHA-256, PINs as Argon2id, so neither a dump of the directory nor its `Debug`
//! shows one. There is one salt a site, not one a person, because a keypad says no name: one Argon2id finds the person or
//! nobody. A PIN of few digits is guessed from a stolen directory whatever the hash (10 000 tries); what protects it is
//! that the directory is not stolen and that whoever guesses at a keypad is locked out.
//!
//! # Time tells nothing
//! A lookup hashes what was presented, under the salt, and asks a hash table for the digest. The table does compare
//! digests byte by byte, which tells somebody who measures how far a digest agrees with a kept one; but to use that they
//! would have to choose digests, and without the salt they cannot, nor with it, since two texts whose digests begin alike
//! say nothing about one another. Whether the PIN is known, withdrawn or nobody's, the same Argon2id was computed. Only a
//! text that cannot be a PIN at all is refused sooner.
//!
//! # Duress
//! A person may have a second PIN for the case that somebody makes them open ([`Directory::add_duress_pin`]). It is kept,
//! looked up and ruled like the other; only [`Holder::duress`] is set, which raises a silent alarm.
//!
//! **Never:** a PIN, card or plate in clear, a person chosen by "nearly the same".

use std::collections::HashMap;
use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use godvision_core::signal::door::{Key, Reason};
use godvision_core::{Name, Secret};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::pass::Pass;
use crate::rule::check::ANYONE;

/// Digits of a PIN.
pub const PIN_DIGITS: std::ops::RangeInclusive<usize> = 4..=12;
/// Hexadecimal digits of a card's number.
pub const CARD_DIGITS: std::ops::RangeInclusive<usize> = 2..=64;
/// Letters and digits of a plate.
pub const PLATE_CHARS: std::ops::RangeInclusive<usize> = 2..=16;

/// Argon2id memory in KiB and passes. A door opens within 10 ms of the last digit, with the journal's and the relay's time
/// in that; so the hash may take a fifth of it. More would not save a PIN: all four-digit ones are tried in a minute at ten
/// times this cost. Who changes them changes [`PIN_CODE`] too: a PIN that was kept otherwise is never found again.
const PIN_MEMORY_KIB: u32 = 2048;
const PIN_PASSES: u32 = 1;
/// How a PIN begins in the text form: with the way in which it was hashed.
const PIN_CODE: &str = "pin2";
/// How a PIN for duress does.
const DURESS_CODE: &str = "duress-pin2";
/// How PINs began that were hashed with 4 MiB and two passes: those texts can be told from damage, and match nothing.
const OLD_PIN_CODES: [&str; 2] = ["pin", "duress-pin"];

/// A card, PIN or plate as it is kept: a kind and 32 bytes that do not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoredKey {
    kind: StoredKind,
    digest: [u8; 32],
    duress: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum StoredKind {
    Card,
    Pin,
    Plate,
}

impl StoredKind {
    /// What people call it.
    fn word(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Pin => "pin",
            Self::Plate => "plate",
        }
    }

    /// How it begins in the text form.
    fn code(self) -> &'static str {
        if self == Self::Pin { PIN_CODE } else { self.word() }
    }
}

impl StoredKey {
    /// Whether it is a PIN that says that its person is made to open.
    pub fn is_duress(self) -> bool {
        self.duress
    }

    /// The same digits as a PIN, of a PIN for duress, and the other way round; a card or plate has no such twin. Nobody can
    /// have both.
    pub fn twin(self) -> Option<Self> {
        (self.kind == StoredKind::Pin).then_some(Self { duress: !self.duress, ..self })
    }

    fn code(self) -> &'static str {
        if self.duress { DURESS_CODE } else { self.kind.code() }
    }
}

/// For a database: `card:`, `pin2:`, `duress-pin2:` or `plate:` and 64 hexadecimal digits.
impl fmt::Display for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.code())?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stored {}", self.kind.word())
    }
}

/// [`Error::OldPin`] for a PIN that was hashed otherwise; [`Error::BadKey`].
impl std::str::FromStr for StoredKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = Error::BadKey { kind: "stored credential", detail: "kind, colon and 64 hexadecimal digits are" };
        let Some((code, hex)) = text.split_once(':') else { return Err(bad) };
        if OLD_PIN_CODES.contains(&code) {
            return Err(Error::OldPin);
        }
        let duress = code == DURESS_CODE;
        let kinds = [StoredKind::Card, StoredKind::Pin, StoredKind::Plate];
        let kind = if duress { Some(StoredKind::Pin) } else { kinds.into_iter().find(|kind| kind.code() == code) };
        let Some(kind) = kind else { return Err(bad) };
        let mut digest = [0; 32];
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() != digest.len() || !rest.is_empty() {
            return Err(bad);
        }
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
            let Some((high, low)) = nibble(*high).zip(nibble(*low)) else { return Err(bad) };
            *byte = high << 4 | low;
        }
        Ok(Self { kind, digest, duress })
    }
}

/// Whose credential it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The person; `None` for an operator whose sign-in name is no [`Name`], and for a pass that names nobody.
    pub person: Option<Name>,
    /// Whether they say by it that they are made to open: open, show nothing, alarm silently.
    pub duress: bool,
}

impl Holder {
    /// Somebody, or nobody in particular, who is not under duress.
    pub fn free(person: Option<Name>) -> Self {
        Self { person, duress: false }
    }
}

#[derive(Clone, Debug)]
struct Person {
    name: Name,
    revoked: bool,
}

/// What is known about a kept key, by its kind and digest.
#[derive(Clone, Copy, Debug)]
struct KeyEntry {
    person: usize,
    revoked: bool,
    duress: bool,
}

/// The persons of a site and what they carry.
#[derive(Clone)]
pub struct Directory {
    salt: [u8; 16],
    persons: Vec<Person>,
    by_name: HashMap<Name, usize>,
    /// A PIN and the same PIN for duress are one key here, so that nobody can have both.
    keys: HashMap<(StoredKind, [u8; 32]), KeyEntry>,
}

impl Directory {
    /// An empty directory. `salt` is 16 random bytes, made once a site and kept with the directory.
    pub fn new(salt: [u8; 16]) -> Self {
        Self { salt, persons: Vec::new(), by_name: HashMap::new(), keys: HashMap::new() }
    }

    /// Adds a person. Their face and their passes are known by the name alone.
    ///
    /// # Errors
    /// [`Error::PersonTwice`]; [`Error::PersonReserved`] for `anyone`, which means everybody in rules.
    pub fn add_person(&mut self, name: Name) -> Result<(), Error> {
        if ANYONE.is_not(&name).is_err() {
            return Err(Error::PersonReserved { name });
        }
        if self.by_name.contains_key(&name) {
            return Err(Error::PersonTwice { person: name });
        }
        self.by_name.insert(name.clone(), self.persons.len());
        self.persons.push(Person { name, revoked: false });
        Ok(())
    }

    /// Gives `person` a card, PIN or plate.
    ///
    /// # Errors
    /// [`Error::NoSuchPerson`], [`Error::KeyTwice`], [`Error::BadKey`].
    pub fn add_key(&mut self, person: &Name, key: &Key) -> Result<StoredKey, Error> {
        let stored = self.stored(key)?;
        self.add_stored(person, stored)?;
        Ok(stored)
    }

    /// Gives `person` a second PIN, to be typed when they are made to open. Whoever watches sees no difference.
    ///
    /// # Errors
    /// [`Error::NoSuchPerson`], [`Error::KeyTwice`] (also if it is somebody's PIN already, their own included),
    /// [`Error::BadKey`].
    pub fn add_duress_pin(&mut self, person: &Name, pin: &Secret) -> Result<StoredKey, Error> {
        let stored = StoredKey { duress: true, ..self.stored(&Key::Pin(pin.clone()))? };
        self.add_stored(person, stored)?;
        Ok(stored)
    }

    /// Gives `person` what [`Directory::add_key`] or [`Directory::add_duress_pin`] returned earlier, under the same salt.
    ///
    /// # Errors
    /// [`Error::NoSuchPerson`], [`Error::KeyTwice`].
    pub fn add_stored(&mut self, person: &Name, stored: StoredKey) -> Result<(), Error> {
        let Some(index) = self.by_name.get(person).copied() else {
            return Err(Error::NoSuchPerson { person: person.clone() });
        };
        let place = (stored.kind, stored.digest);
        if self.keys.contains_key(&place) {
            return Err(Error::KeyTwice { kind: stored.kind.word() });
        }
        self.keys.insert(place, KeyEntry { person: index, revoked: false, duress: stored.duress });
        Ok(())
    }

    /// Withdraws everything of a person. The name stays taken, so that the journal keeps its meaning.
    ///
    /// # Errors
    /// [`Error::NoSuchPerson`].
    pub fn revoke_person(&mut self, person: &Name) -> Result<(), Error> {
        let index = self.by_name.get(person).copied();
        match index.and_then(|index| self.persons.get_mut(index)) {
            Some(entry) => {
                entry.revoked = true;
                Ok(())
            }
            None => Err(Error::NoSuchPerson { person: person.clone() }),
        }
    }

    /// Withdraws one card, PIN or plate. Does nothing if nobody has it.
    pub fn revoke_key(&mut self, stored: StoredKey) {
        if let Some(entry) = self.keys.get_mut(&(stored.kind, stored.digest)) {
            entry.revoked = true;
        }
    }

    /// Whose `key` it is. A PIN costs 0.8 ms and 2 MiB for a moment; a pass is not known here, see
    /// [`Directory::holder_of`].
    ///
    /// # Errors
    /// [`Reason::UnknownCredential`], [`Reason::Revoked`], [`Reason::NotLive`].
    pub fn who(&self, key: &Key) -> Result<Holder, Reason> {
        match key {
            Key::Card(_) | Key::Pin(_) | Key::Plate(_) => {
                let stored = self.stored(key).map_err(|_| Reason::UnknownCredential)?;
                let entry = self.keys.get(&(stored.kind, stored.digest)).ok_or(Reason::UnknownCredential)?;
                if entry.revoked {
                    return Err(Reason::Revoked);
                }
                self.holder(entry.person).map(|holder| Holder { duress: entry.duress, ..holder })
            }
            Key::Face { live: false, .. } => Err(Reason::NotLive),
            Key::Face { person, .. } => self.holder_named(person),
            // Who an operator is, the application has checked; only a withdrawal is known here.
            Key::Manual { operator } => match Name::new(operator) {
                Ok(name) => match self.by_name.get(&name) {
                    Some(index) => self.holder(*index),
                    None => Ok(Holder::free(Some(name))),
                },
                Err(_) => Ok(Holder::free(None)),
            },
            Key::Remote { person } => self.holder_named(person),
            _ => Err(Reason::UnknownCredential),
        }
    }

    /// Whom `key` names, withdrawn or not, alive or not: for the journal of a refusal, never for a decision. Costs as much as
    /// [`Directory::who`].
    pub fn named<'a>(&'a self, key: &'a Key) -> Option<&'a Name> {
        match key {
            Key::Face { person, .. } | Key::Remote { person } => Some(person),
            _ => {
                let stored = self.stored(key).ok()?;
                let entry = self.keys.get(&(stored.kind, stored.digest))?;
                self.persons.get(entry.person).map(|person| &person.name)
            }
        }
    }

    /// Whose `pass` it is. Whether the pass itself was withdrawn, [`crate::pass::PassVerifier::check`] knows.
    ///
    /// # Errors
    /// [`Reason::UnknownCredential`], [`Reason::Revoked`].
    pub fn holder_of(&self, pass: &Pass) -> Result<Holder, Reason> {
        pass.claims.person.as_ref().map_or(Ok(Holder::free(None)), |person| self.holder_named(person))
    }

    /// The person of this name, whom a pass or a rolling code has named.
    ///
    /// # Errors
    /// [`Reason::UnknownCredential`], [`Reason::Revoked`].
    pub fn holder_named(&self, person: &Name) -> Result<Holder, Reason> {
        self.holder(*self.by_name.get(person).ok_or(Reason::UnknownCredential)?)
    }

    /// Whether a person of this name was ever added, withdrawn or not.
    pub fn has_person(&self, person: &Name) -> bool {
        self.by_name.contains_key(person)
    }

    fn holder(&self, index: usize) -> Result<Holder, Reason> {
        let person = self.persons.get(index).ok_or(Reason::UnknownCredential)?;
        if person.revoked { Err(Reason::Revoked) } else { Ok(Holder::free(Some(person.name.clone()))) }
    }

    /// How a card, PIN or plate is kept under this directory's salt.
    ///
    /// # Errors
    /// [`Error::BadKey`].
    pub fn stored(&self, key: &Key) -> Result<StoredKey, Error> {
        match key {
            Key::Card(text) => {
                let text = checked(text, CARD_DIGITS, |it| it.is_ascii_hexdigit());
                let text = text.ok_or(Error::BadKey { kind: "card", detail: "2 to 64 hexadecimal digits are" })?;
                Ok(StoredKey { kind: StoredKind::Card, digest: self.quick(b"godvision card\0", text), duress: false })
            }
            Key::Plate(text) => {
                let text = checked(text, PLATE_CHARS, |it| it.is_ascii_alphanumeric());
                let text = text.ok_or(Error::BadKey { kind: "plate", detail: "2 to 16 letters and digits are" })?;
                Ok(StoredKey { kind: StoredKind::Plate, digest: self.quick(b"godvision plate\0", text), duress: false })
            }
            Key::Pin(text) => {
                let bad = Error::BadKey { kind: "PIN", detail: "4 to 12 digits are" };
                let Some(text) = checked(text, PIN_DIGITS, |it| it.is_ascii_digit()) else { return Err(bad) };
                match self.slow(text) {
                    Some(digest) => Ok(StoredKey { kind: StoredKind::Pin, digest, duress: false }),
                    None => Err(bad),
                }
            }
            _ => Err(Error::BadKey { kind: "stored credential", detail: "a card, PIN or plate is" }),
        }
    }

    /// SHA-256, without telling cases apart.
    fn quick(&self, domain: &[u8], text: &str) -> [u8; 32] {
        let mut hash = Sha256::new().chain_update(domain).chain_update(self.salt);
        for byte in text.bytes() {
            hash.update([byte.to_ascii_uppercase()]);
        }
        hash.finalize().into()
    }

    fn slow(&self, text: &str) -> Option<[u8; 32]> {
        let parameters = Params::new(PIN_MEMORY_KIB, PIN_PASSES, 1, Some(32)).ok()?;
        let mut digest = [0; 32];
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        hash.hash_password_into(text.as_bytes(), &self.salt, &mut digest).ok()?;
        Some(digest)
    }
}

fn checked(text: &Secret, length: std::ops::RangeInclusive<usize>, allowed: fn(&u8) -> bool) -> Option<&str> {
    let text = text.expose();
    (length.contains(&text.len()) && text.as_bytes().iter().all(allowed)).then_some(text)
}

/// Counts only.
impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory of {} persons and {} keys", self.persons.len(), self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        let mut directory = Directory::new([7; 16]);
        for name in ["ada", "bob"] {
            directory.add_person(name.parse().unwrap()).unwrap();
        }
        directory
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn cards_pins_and_plates_find_their_person() {
        let mut directory = directory();
        for key in [Key::Card("04AB12".into()), Key::Pin("2580".into()), Key::Plate("B123".into())] {
            assert_eq!(directory.who(&key), Err(Reason::UnknownCredential));
            let stored = directory.add_key(&name("ada"), &key).unwrap();
            assert_eq!(directory.who(&key), Ok(Holder::free(Some(name("ada")))));
            assert!(matches!(directory.add_key(&name("bob"), &key), Err(Error::KeyTwice { .. })));
            assert_eq!(stored.to_string().parse::<StoredKey>().unwrap(), stored);
            directory.revoke_key(stored);
            assert_eq!(directory.who(&key), Err(Reason::Revoked));
        }
        assert_eq!(directory.who(&Key::Card("2580".into())), Err(Reason::UnknownCredential), "a card is no PIN");
        assert_eq!(directory.who(&Key::Card("04ab12".into())), Err(Reason::Revoked), "cases do not differ");
    }

    #[test]
    fn a_pin_for_duress_is_another_pin_of_the_same_person() {
        let mut directory = directory();
        let (pin, duress) = (Key::Pin("2580".into()), Secret::from("2581"));
        let plain = directory.add_key(&name("ada"), &pin).unwrap();
        let stored = directory.add_duress_pin(&name("ada"), &duress).unwrap();
        assert!(stored.is_duress() && !plain.is_duress());
        assert_eq!(directory.who(&Key::Pin(duress.clone())), Ok(Holder { person: Some(name("ada")), duress: true }));
        assert_eq!(directory.who(&pin), Ok(Holder::free(Some(name("ada")))));
        assert!(matches!(directory.add_duress_pin(&name("bob"), &"2580".into()), Err(Error::KeyTwice { kind: "pin" })));
        assert!(matches!(directory.add_key(&name("bob"), &Key::Pin(duress.clone())), Err(Error::KeyTwice { .. })));
        let text = stored.to_string();
        assert!(text.starts_with("duress-pin2:"), "{text}");
        assert_eq!(text.parse::<StoredKey>().unwrap(), stored);
        let twin = text.strip_prefix("duress-").unwrap().parse::<StoredKey>().unwrap();
        assert_eq!((stored.twin(), twin.twin()), (Some(twin), Some(stored)));
        assert_ne!(twin, stored);
        assert_eq!(directory.stored(&Key::Card("2581".into())).unwrap().twin(), None);
        directory.revoke_key(stored);
        assert_eq!(directory.who(&Key::Pin(duress)), Err(Reason::Revoked));
        assert_eq!(directory.who(&pin), Ok(Holder::free(Some(name("ada")))));
    }

    #[test]
    fn a_pin_kept_under_another_hash_is_known_to_be_old() {
        // Who changes what a PIN is hashed with finds here that its text must begin with another word.
        let stored = directory().stored(&Key::Pin("2580".into())).unwrap();
        assert_eq!(stored.to_string(), "pin2:d5229b44ac3b540dae86f7ecbf1cc212ed97f007d2770c0389339312ee3188ba");
        for old in ["pin", "duress-pin"] {
            let text = format!("{old}:{}", "0".repeat(64));
            assert!(matches!(text.parse::<StoredKey>(), Err(Error::OldPin)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        let mut directory = directory();
        for key in ["", "123", "1234567890123", "12e4", "١٢٣٤"].map(|pin| Key::Pin(pin.into())) {
            assert!(matches!(directory.add_key(&name("ada"), &key), Err(Error::BadKey { .. })));
            assert_eq!(directory.who(&key), Err(Reason::UnknownCredential));
        }
        let long_card = Key::Card("A".repeat(65).into());
        assert!(matches!(directory.add_key(&name("ada"), &long_card), Err(Error::BadKey { .. })));
        let long_plate = Key::Plate("A".repeat(17).into());
        assert!(matches!(directory.add_key(&name("ada"), &long_plate), Err(Error::BadKey { .. })));
        assert!(matches!(directory.add_key(&name("eve"), &Key::Pin("1234".into())), Err(Error::NoSuchPerson { .. })));
        for text in
            ["", "pin2", "pin2:00", "key:", &format!("pin2:{}", "0".repeat(63)), &format!("pin2:{}", "g".repeat(64))]
        {
            assert!(text.parse::<StoredKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_face_needs_life_and_a_name() {
        let mut directory = directory();
        let face = |person: &str, live| Key::Face { person: name(person), live };
        assert_eq!(directory.who(&face("ada", true)), Ok(Holder::free(Some(name("ada")))));
        assert_eq!(directory.who(&face("ada", false)), Err(Reason::NotLive));
        assert_eq!(directory.who(&face("eve", true)), Err(Reason::UnknownCredential));
        directory.revoke_person(&name("ada")).unwrap();
        assert_eq!(directory.who(&face("ada", true)), Err(Reason::Revoked));
    }

    #[test]
    fn operators_need_not_be_persons_but_a_withdrawn_person_is_no_operator() {
        let mut directory = directory();
        let manual = |operator: &str| Key::Manual { operator: operator.into() };
        assert_eq!(directory.who(&manual("admin")), Ok(Holder::free(Some(name("admin")))));
        assert_eq!(directory.who(&manual("the boss")), Ok(Holder::free(None)));
        directory.revoke_person(&name("bob")).unwrap();
        assert_eq!(directory.who(&manual("bob")), Err(Reason::Revoked));
        let remote = |person: &str| Key::Remote { person: name(person) };
        assert_eq!(directory.who(&remote("ada")), Ok(Holder::free(Some(name("ada")))));
        assert_eq!(directory.who(&remote("bob")), Err(Reason::Revoked));
        assert_eq!(directory.who(&remote("admin")), Err(Reason::UnknownCredential), "an operator is no person");
    }
}
