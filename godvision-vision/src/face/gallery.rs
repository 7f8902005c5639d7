//! Whom a site knows: [`Gallery`], and the handle [`SharedGallery`] that components and a cabinet use at once.
//!
//! Two lists that never mix: *allow*, people who agreed to be recognised, and *watch*, people to be reported. A person is
//! on one of them, under one [`Name`], with up to [`PHOTOS_MAX`] rows. Nobody gets on the allow list without a
//! [`Consent`], nor on the watch list without a [`WatchReason`]: the methods do not take a person without one.
//! Forgetting overwrites the rows at once and leaves a [`Deletion`]: that somebody was forgotten, by whom and why, and
//! nothing of the face.
//!
//! All rows are of one model, whose name is kept: numbers of another mean something else and are refused.
//!
//! Adding and forgetting take the same time for any number of people ([`FaceIndex`]). The handle is a lock and not a
//! row of snapshots on purpose: an older snapshot would still know a person who was forgotten.
//!
//! **Never:** pictures, a decision who may enter, files (see [`super::vault`]), a person without a record why.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use godvision_core::{Name, WallTime};

use super::Embedding;
use super::search::{FaceIndex, SearchSpace};
use crate::error::Error;

/// Most rows of one person. One more is searched for than this, so the runner-up is always among what is found.
pub const PHOTOS_MAX: usize = 8;
/// Most characters of a name or text in a record.
pub const RECORD_CHARS_MAX: usize = 2000;
/// Deletions that a gallery remembers; older ones are in the journal alone.
pub const DELETIONS_MAX: usize = 10_000;

/// Who stated what, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    by: String,
    at: WallTime,
    text: String,
}

impl Statement {
    pub(super) fn new(by: &str, at: WallTime, text: &str) -> Result<Self, Error> {
        let fits = |text: &str| !text.trim().is_empty() && text.chars().count() <= RECORD_CHARS_MAX;
        if !fits(by) {
            return Err(Error::BadOption { option: "by", reason: "say who, in 1 to 2000 characters" });
        }
        if !fits(text) {
            return Err(Error::BadOption { option: "text", reason: "say what, in 1 to 2000 characters" });
        }
        Ok(Self { by: by.to_owned(), at, text: text.to_owned() })
    }

    /// Who.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// When.
    pub fn at(&self) -> WallTime {
        self.at
    }

    /// What.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// That a person agreed to be recognised: who signed, when, and the text that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent(Statement);

impl Consent {
    /// Records it. `by` is the person, or who may sign for them.
    ///
    /// # Errors
    /// [`Error::BadOption`] if `by` or `text` is empty or longer than [`RECORD_CHARS_MAX`].
    pub fn given(by: &str, at: WallTime, text: &str) -> Result<Self, Error> {
        Statement::new(by, at, text).map(Self)
    }
}

/// Why a person is watched for without having agreed: who decided it, when, and on what ground. Many countries allow
/// this in few cases only; the owner answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchReason(Statement);

impl WatchReason {
    /// Records it.
    ///
    /// # Errors
    /// [`Error::BadOption`] if `by` or `text` is empty or longer than [`RECORD_CHARS_MAX`].
    pub fn given(by: &str, at: WallTime, text: &str) -> Result<Self, Error> {
        Statement::new(by, at, text).map(Self)
    }
}

/// The two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// People who may be let in, if the rules say so.
    Allow,
    /// People who are reported. Being recognised is never a credential for them.
    Watch,
}

impl List {
    /// `allow` or `watch`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Watch => "watch",
        }
    }
}

/// Rows of one person and the model they come from. `Enrolment` makes them with checks.
#[derive(Clone, Debug)]
pub struct PersonRows {
    model: String,
    rows: Vec<Embedding>,
}

impl PersonRows {
    /// Rows that were checked elsewhere.
    ///
    /// # Errors
    /// [`Error::BadOption`] unless there are 1 to [`PHOTOS_MAX`]; [`Error::OtherLength`] if they differ in length.
    pub fn new(model: &str, rows: Vec<Embedding>) -> Result<Self, Error> {
        if !(1..=PHOTOS_MAX).contains(&rows.len()) {
            return Err(Error::BadOption { option: "rows", reason: "give 1 to 8 photos of a person" });
        }
        let wanted = rows[0].values().len();
        if let Some(other) = rows.iter().find(|row| row.values().len() != wanted) {
            return Err(Error::OtherLength { wanted, got: other.values().len() });
        }
        Ok(Self { model: model.to_owned(), rows })
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The rows.
    pub fn rows(&self) -> &[Embedding] {
        &self.rows
    }
}

/// A person as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The identifier that sightings carry.
    pub name: Name,
    /// Which list.
    pub list: List,
    /// The consent, or the reason to watch.
    pub statement: Statement,
    /// Rows kept.
    pub photos: usize,
}

/// What is left of a person who was forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The identifier.
    pub person: Name,
    /// Which list.
    pub list: List,
    /// Rows that were overwritten.
    pub photos: usize,
    /// Who did it, when and why.
    pub statement: Statement,
}

/// A person that a face is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Who.
    pub person: Name,
    /// Cosine to the nearest of the person's rows.
    pub similarity: f32,
}

/// Whom a face is most like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    /// The nearest person of the allow list.
    pub allow: Option<Candidate>,
    /// The nearest *other* person of the allow list.
    pub runner_up: Option<Candidate>,
    /// The nearest person of the watch list.
    pub watch: Option<Candidate>,
}

#[derive(Clone, Debug)]
struct Entry {
    statement: Statement,
    keys: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Shelf {
    index: FaceIndex,
    persons: HashMap<Name, Entry>,
    owners: HashMap<u64, Name>,
}

impl Shelf {
    fn new(length: usize) -> Result<Self, Error> {
        Ok(Self { index: FaceIndex::new(length)?, persons: HashMap::new(), owners: HashMap::new() })
    }

    fn nearest(
        &self,
        query: &Embedding,
        space: &mut SearchSpace,
    ) -> Result<(Option<Candidate>, Option<Candidate>), Error> {
        let hits = self.index.search(query, PHOTOS_MAX + 1, space)?;
        let mut named = hits.iter().filter_map(|hit| {
            self.owners.get(&hit.key).map(|person| Candidate { person: person.clone(), similarity: hit.similarity })
        });
        let best = named.next();
        let second = best.as_ref().and_then(|best| named.find(|other| other.person != best.person));
        Ok((best, second))
    }
}

/// Everybody a site knows.
#[derive(Clone)]
pub struct Gallery {
    model: String,
    allow: Shelf,
    watch: Shelf,
    next_key: u64,
    deletions: VecDeque<Deletion>,
}

impl Gallery {
    /// An empty gallery for embeddings of `length` numbers by `model` ([`super::FaceEmbedder::model`]).
    ///
    /// # Errors
    /// [`Error::BadOption`] if no row has that length, or the model's name is empty or longer than
    /// [`RECORD_CHARS_MAX`].
    pub fn new(model: &str, length: usize) -> Result<Self, Error> {
        if model.is_empty() || model.chars().count() > RECORD_CHARS_MAX {
            return Err(Error::BadOption { option: "model", reason: "give the embedder's own name" });
        }
        let (allow, watch) = (Shelf::new(length)?, Shelf::new(length)?);
        Ok(Self { model: model.to_owned(), allow, watch, next_key: 0, deletions: VecDeque::new() })
    }

    /// The model whose rows it holds.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Numbers of a row.
    pub fn length(&self) -> usize {
        self.allow.index.length()
    }

    /// People on a list.
    pub fn len(&self, list: List) -> usize {
        self.shelf(list).persons.len()
    }

    /// Whether nobody is on either list.
    pub fn is_empty(&self) -> bool {
        self.allow.persons.is_empty() && self.watch.persons.is_empty()
    }

    /// Puts a person who agreed on the allow list.
    ///
    /// # Errors
    /// [`Error::OtherModel`], [`Error::OtherLength`], [`Error::Full`]; [`Error::BadPerson`] if the name is taken. Nothing
    /// is changed then.
    pub fn allow(&mut self, person: &Name, rows: &PersonRows, consent: Consent) -> Result<(), Error> {
        self.enrol(List::Allow, person, rows, consent.0)
    }

    /// Puts a person on the watch list.
    ///
    /// # Errors
    /// As [`Gallery::allow`].
    pub fn watch(&mut self, person: &Name, rows: &PersonRows, reason: WatchReason) -> Result<(), Error> {
        self.enrol(List::Watch, person, rows, reason.0)
    }

    /// Adds photos of a person who is here; what was agreed to stays.
    ///
    /// # Errors
    /// As [`Gallery::allow`]; [`Error::BadPerson`] if there is no such person or there would be more than [`PHOTOS_MAX`].
    pub fn add_photos(&mut self, person: &Name, rows: &PersonRows) -> Result<(), Error> {
        self.check(rows)?;
        let bad = |reason| Error::BadPerson { person: person.to_string(), reason };
        let list = self.list_of(person).ok_or_else(|| bad("is not here: enrol first"))?;
        if self.photos(list, person) + rows.rows.len() > PHOTOS_MAX {
            return Err(bad("has all the photos that help: forget, then enrol with the better ones"));
        }
        self.add_rows(list, person, rows)
    }

    /// Forgets a person: the rows are overwritten now. What is returned belongs into the journal.
    ///
    /// # Errors
    /// [`Error::BadPerson`] if there is no such person; [`Error::BadOption`] if `by` or `text` is empty or too long.
    pub fn forget(&mut self, person: &Name, by: &str, at: WallTime, text: &str) -> Result<Deletion, Error> {
        let statement = Statement::new(by, at, text)?;
        let bad = || Error::BadPerson { person: person.to_string(), reason: "is not here: nothing to forget" };
        let list = self.list_of(person).ok_or_else(bad)?;
        let shelf = self.shelf_mut(list);
        let entry = shelf.persons.remove(person).ok_or_else(bad)?;
        for key in &entry.keys {
            shelf.index.remove(*key);
            shelf.owners.remove(key);
        }
        let deletion = Deletion { person: person.clone(), list, photos: entry.keys.len(), statement };
        self.remember(deletion.clone());
        Ok(deletion)
    }

    /// Whom `face` is most like, on each list. Exact; see [`FaceIndex::search`] for the cost.
    ///
    /// # Errors
    /// [`Error::OtherLength`].
    pub fn find(&self, face: &Embedding, space: &mut SearchSpace) -> Result<Matches, Error> {
        let (allow, runner_up) = self.allow.nearest(face, space)?;
        let (watch, _) = self.watch.nearest(face, space)?;
        Ok(Matches { allow, runner_up, watch })
    }

    /// One person.
    pub fn person(&self, name: &Name) -> Option<Person> {
        let list = self.list_of(name)?;
        let entry = self.shelf(list).persons.get(name)?;
        Some(Person { name: name.clone(), list, statement: entry.statement.clone(), photos: entry.keys.len() })
    }

    /// Everybody, by name.
    pub fn persons(&self) -> Vec<Person> {
        let names = self.allow.persons.keys().chain(self.watch.persons.keys());
        let mut persons: Vec<Person> = names.filter_map(|name| self.person(name)).collect();
        persons.sort_by(|a, b| a.name.cmp(&b.name));
        persons
    }

    /// The rows of one person, in the order they were added.
    pub fn rows(&self, name: &Name) -> Vec<&[f32]> {
        let shelf = |list| self.shelf(list);
        let Some(shelf) = self.list_of(name).map(shelf) else { return Vec::new() };
        let keys = shelf.persons.get(name).map_or(&[][..], |entry| &entry.keys);
        keys.iter().filter_map(|key| shelf.index.row(*key)).collect()
    }

    /// Who was forgotten, oldest first, at most [`DELETIONS_MAX`].
    pub fn deletions(&self) -> impl ExactSizeIterator<Item = &Deletion> {
        self.deletions.iter()
    }

    pub(super) fn remember(&mut self, deletion: Deletion) {
        if self.deletions.len() == DELETIONS_MAX {
            self.deletions.pop_front();
        }
        self.deletions.push_back(deletion);
    }

    fn enrol(&mut self, list: List, person: &Name, rows: &PersonRows, statement: Statement) -> Result<(), Error> {
        self.check(rows)?;
        if self.list_of(person).is_some() {
            let reason = "is here already: add photos, or forget first";
            return Err(Error::BadPerson { person: person.to_string(), reason });
        }
        let empty = Entry { statement, keys: Vec::with_capacity(rows.rows.len()) };
        self.shelf_mut(list).persons.insert(person.clone(), empty);
        let added = self.add_rows(list, person, rows);
        if added.is_err() {
            self.shelf_mut(list).persons.remove(person);
        }
        added
    }

    fn check(&self, rows: &PersonRows) -> Result<(), Error> {
        if rows.model != self.model {
            return Err(Error::OtherModel { wanted: self.model.clone(), got: rows.model.clone() });
        }
        let got = rows.rows[0].values().len();
        if got != self.length() {
            return Err(Error::OtherLength { wanted: self.length(), got });
        }
        Ok(())
    }

    /// All of the rows or none.
    fn add_rows(&mut self, list: List, person: &Name, rows: &PersonRows) -> Result<(), Error> {
        let first = self.next_key;
        let shelf = self.shelf_mut(list);
        let keys = first..first + rows.rows.len() as u64;
        for (key, row) in keys.clone().zip(&rows.rows) {
            if let Err(error) = shelf.index.insert(key, row) {
                for key in first..key {
                    shelf.index.remove(key);
                    shelf.owners.remove(&key);
                }
                return Err(error);
            }
            shelf.owners.insert(key, person.clone());
        }
        if let Some(entry) = shelf.persons.get_mut(person) {
            entry.keys.extend(keys.clone());
        }
        self.next_key = keys.end;
        Ok(())
    }

    fn photos(&self, list: List, person: &Name) -> usize {
        self.shelf(list).persons.get(person).map_or(0, |entry| entry.keys.len())
    }

    fn list_of(&self, person: &Name) -> Option<List> {
        [List::Allow, List::Watch].into_iter().find(|list| self.shelf(*list).persons.contains_key(person))
    }

    fn shelf(&self, list: List) -> &Shelf {
        match list {
            List::Allow => &self.allow,
            List::Watch => &self.watch,
        }
    }

    fn shelf_mut(&mut self, list: List) -> &mut Shelf {
        match list {
            List::Allow => &mut self.allow,
            List::Watch => &mut self.watch,
        }
    }
}

impl fmt::Debug for Gallery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (allow, watch) = (self.allow.persons.len(), self.watch.persons.len());
        write!(f, "gallery of {:?}: {allow} allowed, {watch} watched", self.model)
    }
}

/// A gallery that components search while a cabinet changes it. Cheap to clone; clones are the same gallery.
///
/// A change takes microseconds and a search less than a millisecond, so nobody waits long for another.
#[derive(Clone)]
pub struct SharedGallery(Arc<Shared>);

struct Shared {
    gallery: RwLock<Gallery>,
    revision: AtomicU64,
}

impl SharedGallery {
    /// Shares `gallery`.
    pub fn new(gallery: Gallery) -> Self {
        Self(Arc::new(Shared { gallery: RwLock::new(gallery), revision: AtomicU64::new(0) }))
    }

    /// Looks. Keep it short: changes wait for it.
    pub fn read<T>(&self, look: impl FnOnce(&Gallery) -> T) -> T {
        look(&self.0.gallery.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes it. Seen by every search that begins afterwards.
    pub fn change<T>(&self, change: impl FnOnce(&mut Gallery) -> T) -> T {
        let mut gallery = self.0.gallery.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut gallery);
        self.0.revision.fetch_add(1, Ordering::Release);
        result
    }

    /// Puts another in its place, for example one that was opened from a vault. The old one is overwritten.
    pub fn replace(&self, gallery: Gallery) {
        self.change(|old| *old = gallery);
    }

    /// Counts changes, so that whoever keeps it on disk knows when to.
    pub fn revision(&self) -> u64 {
        self.0.revision.load(Ordering::Acquire)
    }
}

impl fmt::Debug for SharedGallery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(|gallery| gallery.fmt(f))
    }
}
