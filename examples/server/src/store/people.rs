//! People as the database has them: names, groups, and what they carry.
//!
//! A card, PIN or plate is kept as [`godvision_access::credential::StoredKey`]: a kind and a digest under the site's salt.
//! Of a card the last four digits are kept to be shown, of a PIN nothing, of a plate all of it.
//!
//! Everything here works inside a transaction of [`super::Access`], which lets no change pass that the doors could not use.
//!
//! **Never:** a PIN or a whole card number; a decision.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use godvision_access::Error;
use godvision_access::credential::{Directory, StoredKey};
use godvision_core::{Name, WallTime};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use super::access::AccessProblem;
use super::{Doing, StoreError};

/// Most people: a campus.
pub const PEOPLE_MAX: usize = 50_000;
/// Most people in a page.
pub const PEOPLE_PAGE_MAX: usize = 500;
/// Most cards, PINs and plates of one person.
pub const KEYS_EACH_MAX: usize = 32;
/// Most groups that a person is put in here.
pub const PERSON_GROUPS_MAX: usize = 32;
/// Most characters of what a person is called.
pub const TITLE_CHARS_MAX: usize = 100;
/// Most characters of a note about a person.
pub const PERSON_NOTE_CHARS_MAX: usize = 500;
/// How long a removal can be undone.
pub(super) const UNDO_MICROS: i64 = 24 * 3600 * 1_000_000;
/// Digits of a card that are shown, if it has twice as many.
const LABEL_DIGITS: usize = 4;

/// What somebody carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A card.
    Card,
    /// A PIN.
    Pin,
    /// A second PIN, for the case that they are made to open: it opens like the other and raises a silent alarm.
    DuressPin,
    /// A number plate.
    Plate,
}

impl KeyKind {
    /// `card`, `pin`, `duress_pin` or `plate`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Pin => "pin",
            Self::DuressPin => "duress_pin",
            Self::Plate => "plate",
        }
    }

    /// The kind of a [`KeyKind::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Card, Self::Pin, Self::DuressPin, Self::Plate].into_iter().find(|kind| kind.code() == code)
    }

    /// What may be shown of a key.
    pub(crate) fn label(self, text: &str) -> String {
        match self {
            Self::Pin | Self::DuressPin => String::new(),
            Self::Plate => text.to_owned(),
            Self::Card if text.len() < 2 * LABEL_DIGITS => "…".to_owned(),
            Self::Card => format!("…{}", text.get(text.len() - LABEL_DIGITS..).unwrap_or_default()),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pin => "PIN",
            Self::DuressPin => "duress PIN",
            other => other.code(),
        })
    }
}

/// A card, PIN or plate of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonKey {
    /// Never used twice.
    pub id: u64,
    /// Whose it is.
    pub person: Name,
    /// What it is.
    pub kind: KeyKind,
    /// What may be shown of it; nothing of a PIN.
    pub label: String,
    /// Whether it was withdrawn.
    pub is_revoked: bool,
    /// Whether it is a PIN that was kept in an older way: no door knows it any more, it must be set anew.
    pub is_outdated: bool,
    /// When it was given.
    pub added: WallTime,
}

/// Somebody the site knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// What rules, decisions and faces call them.
    pub name: Name,
    /// What people call them; empty if that is their name.
    pub title: String,
    /// What else there is to say.
    pub note: String,
    /// The groups they are put in here; the rules may put them in more.
    pub groups: BTreeSet<Name>,
    /// Whether everything of theirs was withdrawn.
    pub is_revoked: bool,
    /// What they carry, oldest first. Not changed by [`super::Access::put_person`].
    pub keys: Vec<PersonKey>,
}

impl Person {
    /// Somebody of whom nothing else is known.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            title: String::new(),
            note: String::new(),
            groups: BTreeSet::new(),
            is_revoked: false,
            keys: Vec::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), AccessProblem> {
        let is_plain = |text: &str, max: usize| text.chars().count() <= max && !text.chars().any(char::is_control);
        if !is_plain(&self.title, TITLE_CHARS_MAX) {
            return Err(AccessProblem::Title);
        }
        if !is_plain(&self.note, PERSON_NOTE_CHARS_MAX) {
            return Err(AccessProblem::Note);
        }
        if self.groups.len() > PERSON_GROUPS_MAX {
            return Err(AccessProblem::Groups);
        }
        Ok(())
    }
}

/// Which people to list: all conditions must hold. By name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeopleQuery {
    /// Only those with this in name, title or note.
    pub search: String,
    /// Only those who were put in this group here.
    pub group: Option<Name>,
    /// Only names that follow this one.
    pub after: String,
    /// At most so many.
    pub limit: usize,
}

type KeyRow = (i64, String, String, String, String, i64, i64);

fn key_of((id, person, kind, stored, label, revoked, added): KeyRow) -> Option<PersonKey> {
    Some(PersonKey {
        id: u64::try_from(id).ok()?,
        person: Name::new(&person).ok()?,
        kind: KeyKind::from_code(&kind)?,
        label,
        is_revoked: revoked != 0,
        is_outdated: matches!(stored.parse::<StoredKey>(), Err(Error::OldPin)),
        added: WallTime::from_unix_micros(added),
    })
}

/// A page of people with what they carry.
pub(super) async fn page(connection: &mut SqliteConnection, query: &PeopleQuery) -> Result<Vec<Person>, StoreError> {
    const DOING: &str = "listing people";
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
        "SELECT name, title, note, revoked FROM person p
         WHERE gone IS NULL AND name > ?1 AND (?2 = '' OR instr(folded, ?2) > 0)
             AND (?3 = '' OR EXISTS (SELECT 1 FROM person_group g WHERE g.person = p.name AND g.name = ?3))
         ORDER BY name LIMIT ?4",
    )
    .bind(&query.after)
    .bind(query.search.trim().to_lowercase())
    .bind(query.group.as_ref().map_or("", Name::as_str))
    .bind(i64::try_from(query.limit.clamp(1, PEOPLE_PAGE_MAX)).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await
    .doing(DOING)?;
    let mut people: BTreeMap<Name, Person> = BTreeMap::new();
    for (name, title, note, revoked) in rows {
        if let Ok(name) = Name::new(&name) {
            let person = Person { title, note, is_revoked: revoked != 0, ..Person::new(name.clone()) };
            people.insert(name, person);
        }
    }
    let names: Vec<String> = people.keys().map(Name::to_string).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut of = QueryBuilder::<Sqlite>::new("SELECT person, name FROM person_group WHERE person IN (");
    push_names(&mut of, &names);
    let groups: Vec<(String, String)> = of.build_query_as().fetch_all(&mut *connection).await.doing(DOING)?;
    for (person, group) in groups {
        if let (Ok(person), Ok(group)) = (Name::new(&person), Name::new(&group)) {
            people.entry(person).and_modify(|it| it.groups.extend([group]));
        }
    }
    let mut of = QueryBuilder::<Sqlite>::new(
        "SELECT id, person, kind, stored, label, revoked, added FROM person_key WHERE person IN (",
    );
    push_names(&mut of, &names);
    of.push(" ORDER BY id");
    let keys: Vec<KeyRow> = of.build_query_as().fetch_all(connection).await.doing(DOING)?;
    for key in keys.into_iter().filter_map(key_of) {
        people.entry(key.person.clone()).and_modify(|it| it.keys.push(key));
    }
    Ok(people.into_values().collect())
}

fn push_names(sql: &mut QueryBuilder<Sqlite>, names: &[String]) {
    let mut list = sql.separated(", ");
    for name in names {
        list.push_bind(name.clone());
    }
    sql.push(")");
}

pub(super) async fn find(connection: &mut SqliteConnection, name: &Name) -> Result<Option<Person>, StoreError> {
    let before: Option<String> = sqlx::query_scalar("SELECT max(name) FROM person WHERE name < ?")
        .bind(name.as_str())
        .fetch_one(&mut *connection)
        .await
        .doing("looking for a person")?;
    let query = PeopleQuery { after: before.unwrap_or_default(), limit: 1, ..PeopleQuery::default() };
    Ok(page(connection, &query).await?.into_iter().next().filter(|found| found.name == *name))
}

pub(super) async fn key(connection: &mut SqliteConnection, id: u64) -> Result<PersonKey, StoreError> {
    let row: Option<KeyRow> = sqlx::query_as(
        "SELECT k.id, k.person, k.kind, k.stored, k.label, k.revoked, k.added FROM person_key k JOIN person p ON p.name = k.person
         WHERE k.id = ? AND p.gone IS NULL",
    )
    .bind(i64::try_from(id).unwrap_or(-1))
    .fetch_optional(connection)
    .await
    .doing("looking for what somebody carries")?;
    row.and_then(key_of).ok_or(StoreError::Access(AccessProblem::NoKey { id }))
}

/// Writes what is known of a person, over what was; keys stay.
pub(super) async fn put(connection: &mut SqliteConnection, it: &Person, now: WallTime) -> Result<(), StoreError> {
    const DOING: &str = "keeping a person";
    let others: i64 = sqlx::query_scalar("SELECT count(*) FROM person WHERE name <> ?")
        .bind(it.name.as_str())
        .fetch_one(&mut *connection)
        .await
        .doing(DOING)?;
    if usize::try_from(others).unwrap_or(usize::MAX) >= PEOPLE_MAX {
        return Err(AccessProblem::Full.into());
    }
    sqlx::query(
        "INSERT INTO person (name, title, note, revoked, folded, changed) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET title = excluded.title, note = excluded.note, revoked = excluded.revoked,
             folded = excluded.folded, changed = excluded.changed",
    )
    .bind(it.name.as_str())
    .bind(&it.title)
    .bind(&it.note)
    .bind(it.is_revoked)
    .bind(format!("{}\n{}\n{}", it.name, it.title, it.note).to_lowercase())
    .bind(now.as_unix_micros())
    .execute(&mut *connection)
    .await
    .doing(DOING)?;
    sqlx::query("DELETE FROM person_group WHERE person = ?")
        .bind(it.name.as_str())
        .execute(&mut *connection)
        .await
        .doing(DOING)?;
    for group in &it.groups {
        sqlx::query("INSERT INTO person_group (person, name) VALUES (?, ?)")
            .bind(it.name.as_str())
            .bind(group.as_str())
            .execute(&mut *connection)
            .await
            .doing(DOING)?;
    }
    Ok(())
}

/// Marks a person as removed. Whether it changed anything.
pub(super) async fn remove(connection: &mut SqliteConnection, name: &Name, at: WallTime) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE person SET gone = ? WHERE name = ? AND gone IS NULL")
        .bind(at.as_unix_micros())
        .bind(name.as_str())
        .execute(connection)
        .await
        .doing("removing a person")?;
    Ok(done.rows_affected() > 0)
}

/// Takes a removal back that is not older than `since`. Whether it changed anything.
pub(super) async fn restore(
    connection: &mut SqliteConnection,
    name: &Name,
    since: WallTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE person SET gone = NULL WHERE name = ? AND gone >= ?")
        .bind(name.as_str())
        .bind(since.as_unix_micros())
        .execute(connection)
        .await
        .doing("bringing a person back")?;
    Ok(done.rows_affected() > 0)
}

/// Whether the name is taken by somebody removed lately.
pub(super) async fn is_gone(connection: &mut SqliteConnection, name: &Name) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM person WHERE name = ? AND gone IS NOT NULL")
        .bind(name.as_str())
        .fetch_optional(connection)
        .await
        .doing("looking for a person")?;
    Ok(found.is_some())
}

/// Who was removed before `moment`.
pub(super) async fn overdue(connection: &mut SqliteConnection, moment: WallTime) -> Result<Vec<Name>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM person WHERE gone < ? ORDER BY name")
        .bind(moment.as_unix_micros())
        .fetch_all(connection)
        .await
        .doing("looking for who was removed")?;
    Ok(names.iter().filter_map(|name| Name::new(name).ok()).collect())
}

/// Forgets who was removed, but for the name: see [`was_removed`].
pub(super) async fn forget(connection: &mut SqliteConnection, name: &Name) -> Result<(), StoreError> {
    for sql in [
        "INSERT OR IGNORE INTO person_removed (name) VALUES (?)",
        "DELETE FROM person WHERE name = ? AND gone IS NOT NULL",
    ] {
        sqlx::query(sql).bind(name.as_str()).execute(&mut *connection).await.doing("forgetting who was removed")?;
    }
    Ok(())
}

/// Whether a person of that name was removed for good and nobody has taken the name anew.
pub(super) async fn was_removed(connection: &mut SqliteConnection, name: &Name) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM person_removed WHERE name = ?")
        .bind(name.as_str())
        .fetch_optional(connection)
        .await
        .doing("looking for who was removed")?;
    Ok(found.is_some())
}

/// The name is somebody's again.
pub(super) async fn free_name(connection: &mut SqliteConnection, name: &Name) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM person_removed WHERE name = ?")
        .bind(name.as_str())
        .execute(connection)
        .await
        .doing("giving a name to somebody new")
        .map(drop)
}

/// Frees every name but those of `listed`.
pub(super) async fn free_names_but(connection: &mut SqliteConnection, listed: &[&Name]) -> Result<(), StoreError> {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM person_removed")
        .fetch_all(&mut *connection)
        .await
        .doing("looking for who was removed")?;
    for name in names.iter().filter_map(|name| Name::new(name).ok()).filter(|name| !listed.contains(&name)) {
        free_name(connection, &name).await?;
    }
    Ok(())
}

/// Gives a person a key, and takes it from who was removed. A new PIN takes the place of the old one.
pub(super) async fn add_key(
    connection: &mut SqliteConnection,
    person: &Name,
    (kind, label): (KeyKind, &str),
    stored: StoredKey,
    now: WallTime,
) -> Result<u64, StoreError> {
    const DOING: &str = "giving somebody a card, PIN or plate";
    // The same digits as a PIN and as a duress PIN would leave open which was meant.
    let (stored, twin) = (stored.to_string(), stored.twin().unwrap_or(stored).to_string());
    let holder: Option<(String, Option<i64>)> = sqlx::query_as(
        "SELECT k.person, p.gone FROM person_key k JOIN person p ON p.name = k.person WHERE k.stored IN (?, ?)
         ORDER BY p.gone IS NOT NULL",
    )
    .bind(&stored)
    .bind(&twin)
    .fetch_optional(&mut *connection)
    .await
    .doing(DOING)?;
    match holder {
        // Whoever learned that a PIN is somebody's would know it: not whose, at least.
        Some((_, None)) if matches!(kind, KeyKind::Pin | KeyKind::DuressPin) => {
            return Err(AccessProblem::PinTaken.into());
        }
        Some((person, None)) => return Err(AccessProblem::KeyTaken { kind, person }.into()),
        Some((_, Some(_))) | None => {}
    }
    sqlx::query(
        "DELETE FROM person_key WHERE stored IN (?1, ?4)
             OR (kind = ?2 AND ?2 IN ('pin', 'duress_pin') AND person = ?3)",
    )
    .bind(&stored)
    .bind(kind.code())
    .bind(person.as_str())
    .bind(&twin)
    .execute(&mut *connection)
    .await
    .doing(DOING)?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM person_key WHERE person = ?")
        .bind(person.as_str())
        .fetch_one(&mut *connection)
        .await
        .doing(DOING)?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= KEYS_EACH_MAX {
        return Err(AccessProblem::Keys.into());
    }
    let done = sqlx::query("INSERT INTO person_key (person, kind, stored, label, added) VALUES (?, ?, ?, ?, ?)")
        .bind(person.as_str())
        .bind(kind.code())
        .bind(&stored)
        .bind(label)
        .bind(now.as_unix_micros())
        .execute(connection)
        .await
        .doing(DOING)?;
    Ok(u64::try_from(done.last_insert_rowid()).unwrap_or_default())
}

pub(super) async fn set_key(connection: &mut SqliteConnection, id: u64, is_revoked: bool) -> Result<(), StoreError> {
    sqlx::query("UPDATE person_key SET revoked = ? WHERE id = ?")
        .bind(is_revoked)
        .bind(i64::try_from(id).unwrap_or(-1))
        .execute(connection)
        .await
        .doing("withdrawing a card, PIN or plate")
        .map(drop)
}

pub(super) async fn remove_key(connection: &mut SqliteConnection, id: u64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM person_key WHERE id = ?")
        .bind(i64::try_from(id).unwrap_or(-1))
        .execute(connection)
        .await
        .doing("forgetting a card, PIN or plate")
        .map(drop)
}

/// The groups that people are put in here, by name.
pub(super) type Groups = BTreeMap<Name, BTreeSet<Name>>;

/// Whether the doors take anybody of that name: some words mean everybody in rules.
pub(super) fn name_check(name: &Name) -> Result<(), godvision_access::Error> {
    Directory::new([0; 16]).add_person(name.clone())
}

/// Everybody, as the doors know them.
pub(super) async fn directory(
    connection: &mut SqliteConnection,
    salt: [u8; 16],
) -> Result<(Directory, Groups), StoreError> {
    const DOING: &str = "reading the people";
    let mut directory = Directory::new(salt);
    let people: Vec<(String, i64)> = sqlx::query_as("SELECT name, revoked FROM person WHERE gone IS NULL")
        .fetch_all(&mut *connection)
        .await
        .doing(DOING)?;
    // A name that the database has and this program refuses was changed by hand, or is of a version that took it: nobody.
    for (name, revoked) in people {
        let Some(name) = Name::new(&name).ok().filter(|name| name_check(name).is_ok()) else { continue };
        directory.add_person(name.clone()).map_err(AccessProblem::from)?;
        if revoked != 0 {
            directory.revoke_person(&name).map_err(AccessProblem::from)?;
        }
    }
    let keys: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT k.person, k.stored, k.revoked FROM person_key k JOIN person p ON p.name = k.person WHERE p.gone IS NULL",
    )
    .fetch_all(&mut *connection)
    .await
    .doing(DOING)?;
    for (person, stored, revoked) in keys {
        let (Ok(person), Ok(stored)) = (Name::new(&person), stored.parse::<StoredKey>()) else { continue };
        if !directory.has_person(&person) {
            continue;
        }
        directory.add_stored(&person, stored).map_err(AccessProblem::from)?;
        if revoked != 0 {
            directory.revoke_key(stored);
        }
    }
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT g.name, g.person FROM person_group g JOIN person p ON p.name = g.person WHERE p.gone IS NULL",
    )
    .fetch_all(connection)
    .await
    .doing(DOING)?;
    let mut groups = Groups::new();
    for (group, person) in rows {
        if let (Ok(group), Ok(person)) = (Name::new(&group), Name::new(&person))
            && directory.has_person(&person)
        {
            groups.entry(group).or_default().insert(person);
        }
    }
    Ok((directory, groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_card_four_digits_are_shown_and_of_a_pin_nothing() {
        assert_eq!(KeyKind::Card.label("04A1B2C3"), "…B2C3");
        assert_eq!(KeyKind::Card.label("04A1B2C"), "…", "half of it at most");
        assert_eq!(KeyKind::Pin.label("2580"), "");
        assert_eq!(KeyKind::Plate.label("A123BC77"), "A123BC77");
    }
}
