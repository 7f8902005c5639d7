//! [`Access`]: the people and rules of the site, and what is in force of them at the doors.
//!
//! ```text
//! person, person_group, person_key (database) --+--> Directory --+
//! rules.toml, every version of it (database) ---+--> rules ------+--> AccessControl --swapped whole--> every door
//! ```
//! A change is one transaction: what is written, the doors' new [`AccessControl`] made of it, and the line in the journal
//! that says who did it. What the doors could not use is refused and changes nothing; nothing changes without its line.
//!
//! Rules speak of groups that the document names; whoever is put in a group of that name here is a member too. A group that
//! only stands here is nobody's business until the document names it: `residents = []` is enough.
//!
//! **Never:** a decision; half a change; rules that do not compile (the last good ones stay in force).

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use godvision_access::controller::{SharedAccess, SharedPremises};
use godvision_access::credential::Directory;
use godvision_access::pass::rolling::RollingSecret;
use godvision_access::pass::{PassClaims, PassId, PassVerifier, PublicPassKey};
use godvision_access::premises::Plan;
use godvision_access::rule::{CompiledRules, Explanation, Question};
use godvision_access::schedule::{MINUTES_A_WEEK, Weekly};
use godvision_access::{AccessControl, Error as RuleError, RuleSet};
use godvision_core::journal::{Entry, Level};
use godvision_core::signal::door::{Key, Reason, Verdict};
use godvision_core::{Clock, Name, Secret, WallTime};
use godvision_vision::face::gallery::{List, Person as Face};
use godvision_vision::plate::PlateText;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::codes;
use super::pass_keys::{self, KeptKey};
use super::passes::{self, KeptPass, Withdrawal};
use super::people::{self, Groups, KeyKind, PeopleQuery, Person, PersonKey};
use super::{Doing, Faces, Secrets, StoreError, journal};
use crate::persons;
use crate::site::{self, PERSONS_FILE, RULES_FILE};

/// Versions of the rules that are kept.
pub const RULE_VERSIONS_MAX: usize = 200;
/// Largest rule document that is edited here; a larger one is edited in its file.
pub const RULES_BYTES_MAX: usize = 1 << 20;
/// The setting that remembers which persons document was taken over.
const PERSONS_SETTING: &str = "persons.imported";

/// Who withdraws the passes and forgets the face of somebody who was removed for good, and why.
const REMOVED_BY: &str = "removed";
const REMOVED_WHY: &str = "the person was removed";

/// Why people or rules were not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessProblem {
    /// The title is too long.
    #[error("what a person is called has at most {} characters", people::TITLE_CHARS_MAX)]
    Title,
    /// The note is too long.
    #[error("the note has at most {} characters", people::PERSON_NOTE_CHARS_MAX)]
    Note,
    /// Too many groups.
    #[error("a person is put in at most {} groups", people::PERSON_GROUPS_MAX)]
    Groups,
    /// Too many keys.
    #[error("a person has at most {} cards, PINs and plates: remove one first", people::KEYS_EACH_MAX)]
    Keys,
    /// No room.
    #[error("there is room for {} people: remove some first", people::PEOPLE_MAX)]
    Full,
    /// Nobody has that name.
    #[error("there is no person {name:?}")]
    NoPerson {
        /// The name.
        name: String,
    },
    /// Somebody of that name was removed and can still come back.
    #[error("{name} was removed within the last day: bring them back, or take another name")]
    Removed {
        /// The name.
        name: String,
    },
    /// Nobody carries that.
    #[error("nobody carries number {id}")]
    NoKey {
        /// The number.
        id: u64,
    },
    /// Somebody has it.
    #[error("this {kind} belongs to {person}")]
    KeyTaken {
        /// What it is.
        kind: KeyKind,
        /// Whose it is.
        person: String,
    },
    /// Somebody has this PIN.
    #[error("this PIN cannot be taken: choose another")]
    PinTaken,
    /// It is no card, PIN or plate.
    #[error("{detail}")]
    BadKey {
        /// What it should be; never the text itself.
        detail: String,
    },
    /// No rolling codes of theirs are accepted.
    #[error("{person} has no rolling codes")]
    NoCode {
        /// Whose.
        person: String,
    },
    /// There is no such pass.
    #[error("there is no pass {id}")]
    NoPass {
        /// Its number.
        id: String,
    },
    /// It is withdrawn already.
    #[error("this pass is withdrawn already")]
    Withdrawn,
    /// No room.
    #[error("there is room for {} passes: those that ended a year ago are forgotten", passes::PASSES_MAX)]
    PassesFull,
    /// There is no such key of passes.
    #[error("no key {id} has signed passes here")]
    NoPassKey {
        /// Its id.
        id: String,
    },
    /// The key signs nothing already.
    #[error("key {id} signs no passes any more")]
    NotSigning {
        /// Its id.
        id: u8,
    },
    /// The key is withdrawn already.
    #[error("key {id} is withdrawn already")]
    KeyWithdrawn {
        /// Its id.
        id: u8,
    },
    /// Every id of a key was used.
    #[error("every one of the 255 keys of passes was used: a site has no more")]
    PassKeysFull,
    /// Another key signs since a moment.
    #[error("another key signs passes since a moment: try again")]
    KeyMeanwhile,
    /// The pass cannot be made.
    #[error(transparent)]
    Pass(RuleError),
    /// Nobody can have that name.
    #[error(transparent)]
    Name(RuleError),
    /// The doors cannot use it.
    #[error(transparent)]
    Refused(#[from] RuleError),
    /// The rules were changed meanwhile.
    #[error("the rules were changed meanwhile: look at them again")]
    Meanwhile,
    /// There is no such version.
    #[error("there is no version {id} of the rules")]
    NoVersion {
        /// Its number.
        id: u64,
    },
    /// The document is too large to be edited here.
    #[error("rules of more than {RULES_BYTES_MAX} bytes are edited in their file")]
    LongRules,
    /// A file of the data folder is refused.
    #[error("{file} is refused: {detail}")]
    File {
        /// Its name.
        file: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

impl AccessProblem {
    /// Stable code; where it is about a field, `bad_` and the field's name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Title => "bad_title",
            Self::Note => "bad_note",
            Self::Groups => "bad_groups",
            Self::Keys | Self::KeyTaken { .. } | Self::PinTaken | Self::BadKey { .. } => "bad_key",
            Self::Full | Self::PassesFull | Self::PassKeysFull => "list_full",
            Self::Withdrawn | Self::KeyWithdrawn { .. } => "withdrawn",
            Self::NotSigning { .. } => "retired",
            Self::Pass(_) => "bad_pass",
            Self::NoCode { .. }
            | Self::NoPass { .. }
            | Self::NoPassKey { .. }
            | Self::NoPerson { .. }
            | Self::NoKey { .. }
            | Self::NoVersion { .. } => "not_found",
            Self::Removed { .. } | Self::Name(_) => "bad_name",
            Self::Meanwhile | Self::KeyMeanwhile => "meanwhile",
            Self::Refused(RuleError::PersonAlike { .. } | RuleError::PersonReserved { .. }) => "bad_name",
            Self::Refused(_) | Self::LongRules => "bad_rules",
            Self::File { .. } => "bad_file",
        }
    }
}

/// A version of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleVersion {
    /// Grows; 0 before there is one.
    pub id: u64,
    /// Since when it was in force.
    pub at: WallTime,
    /// Who wrote it: a user, or `rules.toml`.
    pub by: String,
}

/// The rules in force.
#[derive(Clone, Debug)]
pub struct RulesInForce {
    /// Which version.
    pub version: RuleVersion,
    /// The document.
    pub text: Arc<str>,
    /// How many rules it has.
    pub rules: usize,
    /// The groups it names.
    pub groups: Vec<Name>,
    /// Why the file that lies there now is not in force, if it is not.
    pub refused: Option<String>,
}

/// Who would be admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhoMay {
    /// Name, what people call them, and the rule that permits it.
    pub listed: Vec<(Name, String, Option<Name>)>,
    /// How many more there are.
    pub more: usize,
    /// How many people were asked about.
    pub of: usize,
}

/// The people and rules. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    secrets: Secrets,
    faces: Faces,
    /// Read when it is needed first: without its key the rest of the store still works.
    salt: tokio::sync::OnceCell<[u8; 16]>,
    /// Likewise: what rolling codes are derived from.
    rolling: tokio::sync::OnceCell<[u8; 32]>,
    shared: SharedAccess,
    /// What the areas and doors of the rules are put in force on.
    premises: OnceLock<SharedPremises>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
    now: RwLock<Now>,
}

/// What the control in force was made of.
#[derive(Clone)]
struct Now {
    passes: PassVerifier,
    document: Arc<RuleSet>,
    merged: Arc<RuleSet>,
    groups: Arc<Groups>,
    version: RuleVersion,
    text: Arc<str>,
    refused: Option<(String, String)>,
}

/// A control that is ready, with what it was made of.
struct Made {
    control: AccessControl,
    merged: RuleSet,
    plan: Plan,
    groups: Groups,
}

fn merged(document: &RuleSet, groups: &Groups) -> RuleSet {
    let mut set = document.clone();
    for (group, members) in groups {
        set.groups.entry(group.clone()).or_default().extend(members.iter().cloned());
    }
    set
}

/// `work` on a thread that may be busy: a large document takes longer than a door may wait behind it.
async fn busy<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuleError> + Send + 'static,
) -> Result<T, AccessProblem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(AccessProblem::File { file: RULES_FILE, detail: error.to_string() }),
    }
}

async fn parsed(text: &str) -> Result<RuleSet, AccessProblem> {
    let text = text.to_owned();
    busy(move || RuleSet::parse(&text)).await
}

/// What the doors are given of a document, with the document.
async fn compiled(set: RuleSet) -> Result<(RuleSet, CompiledRules, Plan), AccessProblem> {
    busy(move || {
        let (rules, plan) = (set.compile()?, Plan::of(&set)?);
        Ok((set, rules, plan))
    })
    .await
}

impl Access {
    /// Nobody and no rule, until [`Access::load`].
    pub(super) fn new(
        pool: SqlitePool,
        clock: Arc<dyn Clock>,
        folder: PathBuf,
        secrets: Secrets,
        faces: Faces,
    ) -> Result<Self, StoreError> {
        let rules = RuleSet::default();
        let compiled = rules.compile().map_err(AccessProblem::from)?;
        // No key yet: no pass is believed.
        let passes = PassVerifier::new(service()?);
        let control = AccessControl { directory: Directory::new([0; 16]), passes: passes.clone(), rules: compiled };
        let now = Now {
            passes,
            merged: Arc::new(rules.clone()),
            document: Arc::new(rules),
            groups: Arc::default(),
            version: RuleVersion { id: 0, at: WallTime::from_unix_seconds(0), by: String::new() },
            text: "".into(),
            refused: None,
        };
        let shared = SharedAccess::new(control);
        let (turn, now) = (tokio::sync::Mutex::default(), RwLock::new(now));
        let (salt, rolling, premises) = (tokio::sync::OnceCell::new(), tokio::sync::OnceCell::new(), OnceLock::new());
        let inner = Inner { pool, clock, folder, secrets, faces, salt, rolling, shared, premises, turn, now };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn salt(&self) -> Result<[u8; 16], StoreError> {
        self.inner.salt.get_or_try_init(|| persons::salt(&self.inner.secrets)).await.copied()
    }

    async fn rolling(&self) -> Result<[u8; 32], StoreError> {
        self.inner.rolling.get_or_try_init(|| persons::rolling_secret(&self.inner.secrets)).await.copied()
    }

    /// The areas, doors and interlocks of the rules in force.
    ///
    /// # Errors
    /// [`StoreError::Access`] if they are none: only of a document that no text says.
    pub fn plan(&self) -> Result<Plan, StoreError> {
        Ok(Plan::of(&self.now().merged).map_err(AccessProblem::from)?)
    }

    /// From now on changed rules are put in force on `premises`, too. The first one counts.
    pub fn follow(&self, premises: SharedPremises) {
        let _ = self.inner.premises.set(premises);
    }

    /// What is in force, for the doors.
    pub fn shared(&self) -> &SharedAccess {
        &self.inner.shared
    }

    fn now(&self) -> Now {
        self.inner.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn path(&self) -> PathBuf {
        self.inner.folder.join(RULES_FILE)
    }

    /// Reads people and rules and puts them in force; passes are believed if the site itself or a key of `passes` signed
    /// them. Without
    /// `rules.toml` the default rules are written there. If the file is refused, the last version that was in force is,
    /// once more. A `persons.toml` that was not seen before is taken over: whom the cabinet does not know is added, and who
    /// is revoked there is revoked here; what the cabinet says of others stays.
    ///
    /// # Errors
    /// [`StoreError`]; [`AccessProblem::File`] if rules that never were in force, or new persons, are refused.
    pub async fn load(&self, passes: PassVerifier) -> Result<(), StoreError> {
        let mut unreadable = None;
        {
            let turn = self.inner.turn.lock().await;
            self.first_key().await?;
            self.inner.now.write().unwrap_or_else(PoisonError::into_inner).passes = passes;
            let mut connection = self.inner.pool.acquire().await.doing("reading the rules")?;
            let last = newest(&mut connection).await?;
            drop((connection, turn));
            if let Some((version, text)) = last {
                match parsed(&text).await {
                    Ok(document) => {
                        let mut now = self.inner.now.write().unwrap_or_else(PoisonError::into_inner);
                        (now.document, now.version, now.text) = (Arc::new(document), version, text.into());
                    }
                    Err(problem) => unreadable = Some((version.id, problem)),
                }
            }
        }
        // A version that was in force and is none any more: of another version of this program, or changed by hand.
        let told = unreadable.map(|(id, problem)| {
            let text =
                format!("version {id} of the rules, the last in force, is refused and does not serve: {problem}");
            Ok::<_, StoreError>(
                Entry::new(self.inner.clock.now(), service()?, Level::Error, "rules.unreadable", text)
                    .with("version", id),
            )
        });
        self.change(told.transpose()?, async |_| Ok(())).await?;
        self.take_over_persons().await?;
        let path = self.path();
        match std::fs::read_to_string(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                site::write_text(&path, persons::DEFAULT_RULES)
                    .map_err(|error| file_problem(RULES_FILE, format!("{error:#}")))?;
            }
            Err(error) => return Err(super::file_error(&path, &error)),
        }
        self.look_at_file().await?;
        let now = self.now();
        match now.refused {
            Some((_, detail)) if now.version.id == 0 => Err(file_problem(RULES_FILE, detail)),
            _ => Ok(()),
        }
    }

    /// Puts `rules.toml` in force if it is not what was read last. What is refused is journalled once.
    ///
    /// # Errors
    /// [`StoreError`]; a refusal is none.
    pub async fn look_at_file(&self) -> Result<(), StoreError> {
        let path = self.path();
        let text = match tokio::fs::read_to_string(&path).await {
            Ok(text) => text,
            Err(error) => return Err(super::file_error(&path, &error)),
        };
        let now = self.now();
        if *now.text == *text || now.refused.as_ref().is_some_and(|(refused, _)| *refused == text) {
            if *now.text == *text {
                self.inner.now.write().unwrap_or_else(PoisonError::into_inner).refused = None;
            }
            return Ok(());
        }
        let entry = |level, code, text: String| {
            Ok::<_, StoreError>(Entry::new(self.inner.clock.now(), service()?, level, code, text))
        };
        let changed = entry(Level::Security, "rules.changed", format!("{RULES_FILE} was changed and is in force"))?;
        // The first ones were not changed by anybody.
        let changed = (now.version.id > 0).then_some(changed);
        match self.put_rules(&text, None, RULES_FILE, changed).await {
            Ok(_) => Ok(()),
            Err(StoreError::Access(problem)) => {
                let words = format!("{RULES_FILE} is refused, the last good rules stay in force: {problem}");
                let entry = entry(Level::Error, "rules.refused", words)?;
                self.inner.now.write().unwrap_or_else(PoisonError::into_inner).refused =
                    Some((text, problem.to_string()));
                self.change(Some(entry), async |_| Ok(())).await
            }
            Err(error) => Err(error),
        }
    }

    async fn take_over_persons(&self) -> Result<(), StoreError> {
        let path = self.inner.folder.join(PERSONS_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(super::file_error(&path, &error)),
        };
        let seen = super::hex(&<sha2::Sha256 as sha2::Digest>::digest(&text));
        let settings = super::Settings::new(self.inner.pool.clone());
        if settings.get(PERSONS_SETTING).await?.is_some_and(|known| known == seen) {
            return Ok(());
        }
        let listed = persons::read(&text, self.salt().await?);
        let listed = listed.map_err(|error| file_problem(PERSONS_FILE, format!("{error:#}")))?;
        let count = listed.len();
        let text = format!("{PERSONS_FILE} was taken over: {count} people; it counts again when it is changed");
        let entry = Entry::new(self.inner.clock.now(), service()?, Level::Security, "people.imported", text);
        let now = self.inner.clock.wall();
        let taken = self.change(Some(entry.with("people", count)), async |connection: &mut SqliteConnection| {
            let names: Vec<&Name> = listed.iter().map(|(person, _)| &person.name).collect();
            people::free_names_but(connection, &names).await?;
            for (person, keys) in &listed {
                let known = people::find(connection, &person.name).await?;
                let is_removed = people::is_gone(connection, &person.name).await?
                    || people::was_removed(connection, &person.name).await?;
                if known.is_none() && !is_removed {
                    people::put(connection, person, now).await?;
                    for (kind, label, stored) in keys {
                        people::add_key(connection, &person.name, (*kind, label), *stored, now).await?;
                    }
                } else if let Some(known) = known.filter(|known| person.is_revoked && !known.is_revoked) {
                    people::put(connection, &Person { is_revoked: true, ..known }, now).await?;
                }
            }
            sqlx::query(
                "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )
            .bind(PERSONS_SETTING)
            .bind(&seen)
            .execute(connection)
            .await
            .doing("remembering that the persons were taken over")
            .map(drop)
        });
        match taken.await {
            Err(StoreError::Access(problem)) => Err(file_problem(PERSONS_FILE, problem.to_string())),
            other => other,
        }
    }

    /// Forgets who was removed longer ago than it can be undone. Every change does so first; this is for when there is none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn forget_removed(&self) -> Result<(), StoreError> {
        let mut connection = self.inner.pool.acquire().await.doing("looking for who was removed")?;
        let is_due = !people::overdue(&mut connection, self.undo_since()).await?.is_empty();
        drop(connection);
        if is_due { self.change(None, async |_| Ok(())).await } else { Ok(()) }
    }

    /// A removal before that moment is for good.
    fn undo_since(&self) -> WallTime {
        self.inner.clock.wall().plus_micros(-people::UNDO_MICROS)
    }

    /// Forgets the faces of who was removed for good: how many of whose. Whoever's face cannot be forgotten now is left out
    /// and stays removed until it can: the next person of that name must not be known by it.
    async fn forget_faces(&self) -> Result<Vec<(Name, usize)>, StoreError> {
        let mut connection = self.inner.pool.acquire().await.doing("looking for who was removed")?;
        let due = people::overdue(&mut connection, self.undo_since()).await?;
        drop(connection);
        let mut forgotten = Vec::with_capacity(due.len());
        for name in due {
            // Who is watched for is known by their face whether they have ever been let in or not.
            let is_theirs = |face: &Face| face.name == name && face.list == List::Allow;
            if !self.inner.faces.persons().iter().any(is_theirs) {
                forgotten.push((name, 0));
                continue;
            }
            match self.inner.faces.forget(&name, REMOVED_BY, REMOVED_WHY).await {
                Ok(_) => forgotten.push((name, 1)),
                Err(error) => {
                    tracing::error!(%error, person = %name, "the face of who was removed is not forgotten yet")
                }
            }
        }
        Ok(forgotten)
    }

    /// Forgets people whose faces are forgotten and withdraws their passes; the lines that say so.
    async fn forget(
        &self,
        connection: &mut SqliteConnection,
        people: &[(Name, usize)],
    ) -> Result<Vec<Entry>, StoreError> {
        let withdrawal =
            Withdrawal { at: self.inner.clock.wall(), by: REMOVED_BY.to_owned(), reason: REMOVED_WHY.to_owned() };
        let mut entries = Vec::with_capacity(people.len());
        for (name, faces) in people {
            let passes = passes::withdraw_of(connection, name, &withdrawal).await?;
            people::forget(connection, name).await?;
            let text =
                format!("{name} was removed more than a day ago and is forgotten, {passes} passes are withdrawn");
            let entry = Entry::new(self.inner.clock.now(), service()?, Level::Security, "person.forgotten", text);
            entries.push(entry.with("person", name).with("passes", passes).with("faces", faces));
        }
        Ok(entries)
    }

    /// Writes, makes the doors' new control of it, journals, commits, and swaps the control: all of it or nothing.
    async fn change<T>(
        &self,
        entry: Option<Entry>,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _turn = self.inner.turn.lock().await;
        let now = self.now();
        self.change_to(&now.document, entry, work, |_| Ok(())).await
    }

    /// As [`Access::change`], in the caller's turn, with `document` as the rules from then on; `last` is done at the end,
    /// when only the commit can fail.
    async fn change_to<T>(
        &self,
        document: &Arc<RuleSet>,
        entry: Option<Entry>,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
        last: impl FnOnce(&T) -> Result<(), StoreError>,
    ) -> Result<T, StoreError> {
        const DOING: &str = "changing people or rules";
        // Before the transaction: made the first time, it is written by another connection.
        let (salt, rolling) = (self.salt().await?, self.rolling().await?);
        let removed = self.forget_faces().await?;
        let mut step = self.inner.pool.begin_with("BEGIN IMMEDIATE").await.doing(DOING)?;
        let mut entries = self.forget(&mut step, &removed).await?;
        let done = work(&mut step).await?;
        let made = self.make(&mut step, document, salt, &rolling).await?;
        entries.extend(entry);
        for some in entries.chunks(journal::BATCH_ROWS_MAX) {
            let some: Vec<&Entry> = some.iter().collect();
            journal::append_within(&mut step, &mut Default::default(), &some).await.doing("journalling a change")?;
        }
        last(&done)?;
        step.commit().await.doing(DOING)?;
        let mut now = self.inner.now.write().unwrap_or_else(PoisonError::into_inner);
        (now.document, now.merged, now.groups) = (Arc::clone(document), Arc::new(made.merged), Arc::new(made.groups));
        self.inner.shared.replace(made.control);
        if let Some(premises) = self.inner.premises.get() {
            premises.replan(made.plan, self.inner.clock.now());
        }
        Ok(done)
    }

    async fn make(
        &self,
        connection: &mut SqliteConnection,
        document: &RuleSet,
        salt: [u8; 16],
        rolling: &[u8; 32],
    ) -> Result<Made, StoreError> {
        let (directory, groups) = people::directory(connection, salt).await?;
        let (merged, rules, plan) = compiled(merged(document, &groups)).await?;
        let now = self.inner.clock.wall();
        let mut revocations = passes::revocations(connection, now).await?;
        let keys = pass_keys::all(connection, now).await?;
        let passes = pass_keys::believed(self.now().passes, &keys, &mut revocations)?.with_revocations(revocations);
        let rolling = codes::verifier(connection, passes.site(), rolling).await?;
        let control = AccessControl { directory, passes: passes.with_rolling(rolling), rules };
        Ok(Made { control, merged, plan, groups })
    }

    // People --------------------------------------------------------------------------------------------------------

    /// A page of people.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn people(&self, query: &PeopleQuery) -> Result<Vec<Person>, StoreError> {
        let mut connection = self.inner.pool.acquire().await.doing("listing people")?;
        people::page(&mut connection, query).await
    }

    /// Somebody.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn person(&self, name: &Name) -> Result<Option<Person>, StoreError> {
        let mut connection = self.inner.pool.acquire().await.doing("looking for a person")?;
        people::find(&mut connection, name).await
    }

    /// What somebody carries.
    ///
    /// # Errors
    /// [`AccessProblem::NoKey`], [`StoreError::Database`].
    pub async fn key(&self, id: u64) -> Result<PersonKey, StoreError> {
        let mut connection = self.inner.pool.acquire().await.doing("looking for what somebody carries")?;
        people::key(&mut connection, id).await
    }

    /// Adds a person, or changes what is known of them; `entry` goes into the journal with it. Their keys stay.
    ///
    /// # Errors
    /// [`StoreError::Access`], [`StoreError::Database`].
    pub async fn put_person(&self, person: &Person, entry: Entry) -> Result<(), StoreError> {
        person.check()?;
        people::name_check(&person.name).map_err(AccessProblem::Name)?;
        let now = self.inner.clock.wall();
        self.change(Some(entry), async |connection: &mut SqliteConnection| {
            if people::is_gone(connection, &person.name).await? {
                return Err(AccessProblem::Removed { name: person.name.to_string() }.into());
            }
            people::free_name(connection, &person.name).await?;
            people::put(connection, person, now).await
        })
        .await
    }

    /// Removes a person with all they carry; within a day [`Access::restore_person`] undoes it.
    ///
    /// # Errors
    /// [`AccessProblem::NoPerson`], [`StoreError::Database`].
    pub async fn remove_person(&self, name: &Name, entry: Entry) -> Result<(), StoreError> {
        let now = self.inner.clock.wall();
        self.change(Some(entry), async |connection: &mut SqliteConnection| {
            match people::remove(connection, name, now).await? {
                true => Ok(()),
                false => Err(AccessProblem::NoPerson { name: name.to_string() }.into()),
            }
        })
        .await
    }

    /// Brings back who was removed within the last day.
    ///
    /// # Errors
    /// [`AccessProblem::NoPerson`], [`StoreError::Database`].
    pub async fn restore_person(&self, name: &Name, entry: Entry) -> Result<(), StoreError> {
        let since = self.undo_since();
        self.change(Some(entry), async |connection: &mut SqliteConnection| {
            match people::restore(connection, name, since).await? {
                true => Ok(()),
                false => Err(AccessProblem::NoPerson { name: name.to_string() }.into()),
            }
        })
        .await
    }

    /// Gives somebody a card, PIN or plate, as people write it; a new PIN takes the place of the old one of its kind.
    /// `entry` is made
    /// of what may be shown of it. A PIN costs a few milliseconds.
    ///
    /// # Errors
    /// [`StoreError::Access`], [`StoreError::Database`].
    pub async fn add_key(
        &self,
        person: &Name,
        kind: KeyKind,
        text: Secret,
        entry: impl FnOnce(&str) -> Entry,
    ) -> Result<u64, StoreError> {
        let (text, key) = written(kind, &text)?;
        let mut directory = Directory::new(self.salt().await?);
        let holder = person.clone();
        let stored = tokio::task::spawn_blocking(move || match (kind, &key) {
            (KeyKind::DuressPin, Key::Pin(pin)) => {
                directory.add_person(holder.clone())?;
                directory.add_duress_pin(&holder, pin)
            }
            _ => directory.stored(&key),
        })
        .await;
        let stored = stored.map_err(|error| StoreError::Hash { detail: error.to_string() })?;
        let stored = stored.map_err(|error| AccessProblem::BadKey { detail: error.to_string() })?;
        let label = kind.label(text.expose());
        let now = self.inner.clock.wall();
        self.change(Some(entry(&label)), async |connection: &mut SqliteConnection| {
            if people::find(connection, person).await?.is_none() {
                return Err(AccessProblem::NoPerson { name: person.to_string() }.into());
            }
            people::add_key(connection, person, (kind, &label), stored, now).await
        })
        .await
    }

    /// Withdraws a card, PIN or plate, or gives it back.
    ///
    /// # Errors
    /// [`AccessProblem::NoKey`], [`StoreError::Database`].
    pub async fn set_key(&self, id: u64, is_revoked: bool, entry: Entry) -> Result<(), StoreError> {
        self.change(Some(entry), async |connection: &mut SqliteConnection| {
            people::key(connection, id).await?;
            people::set_key(connection, id, is_revoked).await
        })
        .await
    }

    /// Forgets a card, PIN or plate: whoever shows it is unknown from then on.
    ///
    /// # Errors
    /// [`AccessProblem::NoKey`], [`StoreError::Database`].
    pub async fn remove_key(&self, id: u64, entry: Entry) -> Result<(), StoreError> {
        self.change(Some(entry), async |connection: &mut SqliteConnection| {
            people::key(connection, id).await?;
            people::remove_key(connection, id).await
        })
        .await
    }

    /// Every group that the rules name or somebody is put in here.
    pub fn groups(&self) -> Vec<Name> {
        self.now().merged.groups.keys().cloned().collect()
    }

    // Passes --------------------------------------------------------------------------------------------------------

    /// The site whose passes these are.
    pub fn site(&self) -> Name {
        self.now().passes.site().clone()
    }

    /// The site's first key, where there is none yet. In the caller's turn, or where nobody else is.
    async fn first_key(&self) -> Result<(), StoreError> {
        let mut connection = self.inner.pool.acquire().await.doing("looking for the key of passes")?;
        if pass_keys::next_id(&mut connection).await? > 1 {
            return Ok(());
        }
        drop(connection);
        // Of an older version of this program, or new.
        let key = persons::pass_key(&self.inner.secrets).await?.public();
        let mut connection = self.inner.pool.acquire().await.doing("keeping a key of passes")?;
        pass_keys::rotate(&mut connection, &key, WallTime::from_unix_seconds(0), "").await
    }

    /// Makes and keeps a pass of `site`, and returns what its code says. Whoever has that has the pass.
    ///
    /// # Errors
    /// [`AccessProblem::Pass`] if no key signs, or its period, uses, doors or names cannot be signed;
    /// [`AccessProblem::PassesFull`]; [`StoreError::Database`].
    pub async fn make_pass(
        &self,
        site: &Name,
        claims: &PassClaims,
        by: &str,
        entry: Entry,
    ) -> Result<Secret, StoreError> {
        self.first_key().await?;
        let mut connection = self.inner.pool.acquire().await.doing("looking for the key of passes")?;
        let id = pass_keys::current(&mut connection).await?.ok_or(AccessProblem::Pass(RuleError::NoPassKey))?;
        drop(connection);
        let key = persons::kept_pass_key(&self.inner.secrets, id).await?;
        let key = key.ok_or(AccessProblem::Pass(RuleError::NoPassKey))?;
        let now = self.inner.clock.wall();
        let text = passes::signed(key, site, claims, now)?;
        self.change(Some(entry), async |connection: &mut SqliteConnection| {
            // Another key may sign meanwhile, or this one be withdrawn.
            match pass_keys::current(connection).await? == Some(id) {
                true => passes::keep(connection, id, claims, by, now).await,
                false => Err(AccessProblem::KeyMeanwhile.into()),
            }
        })
        .await?;
        Ok(text)
    }

    /// The keys that sign passes, or did: newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn pass_keys(&self) -> Result<Vec<KeptKey>, StoreError> {
        let mut connection = self.inner.pool.acquire().await.doing("listing the keys of passes")?;
        pass_keys::all(&mut connection, self.inner.clock.wall()).await
    }

    /// A new key signs passes from now on. Those before it are believed until their passes have ended.
    ///
    /// # Errors
    /// [`AccessProblem::PassKeysFull`], [`StoreError`].
    pub async fn rotate_pass_key(&self, by: &str, entry: impl FnOnce(u8) -> Entry) -> Result<u8, StoreError> {
        let _turn = self.inner.turn.lock().await;
        let key = self.sealed_key().await?;
        let (id, now) = (key.id(), self.inner.clock.wall());
        let document = self.now().document;
        let work = async |connection: &mut SqliteConnection| pass_keys::rotate(connection, &key, now, by).await;
        self.change_to(&document, Some(entry(id)), work, |()| Ok(())).await?;
        Ok(id)
    }

    /// Seals a key that is to come. In the caller's turn.
    async fn sealed_key(&self) -> Result<PublicPassKey, StoreError> {
        let mut connection = self.inner.pool.acquire().await.doing("looking for the key of passes")?;
        let id = pass_keys::next_id(&mut connection).await?;
        drop(connection);
        Ok(persons::new_pass_key(&self.inner.secrets, id).await?.public())
    }

    /// A key signs nothing any more; what it signed is believed until it ends.
    ///
    /// # Errors
    /// [`AccessProblem::NoPassKey`], [`AccessProblem::NotSigning`], [`StoreError::Database`].
    pub async fn retire_pass_key(&self, id: u8, entry: Entry) -> Result<(), StoreError> {
        let now = self.inner.clock.wall();
        self.change(Some(entry), async |connection: &mut SqliteConnection| pass_keys::retire(connection, id, now).await)
            .await
    }

    /// Nothing that a key signed is believed any more, at any door, at once and for good. If it was the one that signs, a
    /// new one signs from now on. Returns how many live passes that ended; `entry` is told the same.
    ///
    /// # Errors
    /// [`AccessProblem::NoPassKey`], [`AccessProblem::KeyWithdrawn`], [`StoreError`].
    pub async fn withdraw_pass_key(
        &self,
        id: u8,
        by: &str,
        reason: &str,
        entry: impl FnOnce(u64) -> Entry,
    ) -> Result<u64, StoreError> {
        let _turn = self.inner.turn.lock().await;
        let withdrawal = Withdrawal { at: self.inner.clock.wall(), by: by.to_owned(), reason: reason.to_owned() };
        let mut connection = self.inner.pool.acquire().await.doing("listing the keys of passes")?;
        let keys = pass_keys::all(&mut connection, withdrawal.at).await?;
        let is_signing = pass_keys::current(&mut connection).await? == Some(id);
        drop(connection);
        let live = keys.iter().find(|it| it.id == id).map_or(0, |it| it.live);
        let next = if is_signing { Some(self.sealed_key().await?) } else { None };
        let document = self.now().document;
        let work = async |connection: &mut SqliteConnection| {
            let ended = pass_keys::withdraw(connection, id, &withdrawal).await?;
            if let Some(next) = &next {
                pass_keys::rotate(connection, next, withdrawal.at, by).await?;
            }
            Ok(ended)
        };
        let ended = self.change_to(&document, Some(entry(live)), work, |_| Ok(())).await?;
        // It is dead already; what cannot sign cannot be stolen either.
        if let Err(error) = persons::forget_pass_key(&self.inner.secrets, id).await {
            tracing::warn!(%error, id, "the secret half of a withdrawn key is still kept");
        }
        Ok(ended)
    }

    /// A page of passes, newest first; those that follow the one with the serial number `before`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn passes(&self, before: Option<u64>, limit: usize) -> Result<Vec<KeptPass>, StoreError> {
        let mut connection = self.inner.pool.acquire().await.doing("listing passes")?;
        passes::page(&mut connection, before, limit).await
    }

    /// A pass.
    ///
    /// # Errors
    /// [`AccessProblem::NoPass`], [`StoreError::Database`].
    pub async fn pass(&self, id: &str) -> Result<KeptPass, StoreError> {
        let missing = || StoreError::Access(AccessProblem::NoPass { id: id.chars().take(12).collect() });
        let number = passes::id_of(id).ok_or_else(missing)?;
        let mut connection = self.inner.pool.acquire().await.doing("looking for a pass")?;
        passes::find(&mut connection, number).await?.ok_or_else(missing)
    }

    /// Withdraws a pass at every door, at once and for good.
    ///
    /// # Errors
    /// [`AccessProblem::NoPass`], [`AccessProblem::Withdrawn`], [`StoreError::Database`].
    pub async fn withdraw_pass(&self, id: PassId, by: &str, reason: &str, entry: Entry) -> Result<(), StoreError> {
        let withdrawal = Withdrawal { at: self.inner.clock.wall(), by: by.to_owned(), reason: reason.to_owned() };
        self.change(Some(entry), async |connection: &mut SqliteConnection| {
            passes::withdraw(connection, id, &withdrawal).await
        })
        .await
    }

    /// What the code of `pass` says. Whoever has it has the pass.
    ///
    /// # Errors
    /// [`AccessProblem::Pass`] if its key is not the site's any more; [`StoreError`].
    pub async fn pass_text(&self, pass: &KeptPass) -> Result<Secret, StoreError> {
        let key = persons::kept_pass_key(&self.inner.secrets, pass.key).await?;
        let key = key.ok_or(AccessProblem::Pass(RuleError::NoPassKey))?;
        passes::signed(key, &self.site(), &pass.claims, pass.made)
    }

    /// What stands in the link of `pass`. Whoever has it has the pass.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pass_link(&self, pass: &KeptPass) -> Result<Secret, StoreError> {
        Ok(passes::link(&persons::link_secret(&self.inner.secrets).await?, pass.key, pass.claims.id))
    }

    /// The pass whose link somebody shows; `None` if it is none of ours.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pass_of_link(&self, link: &Secret) -> Result<Option<KeptPass>, StoreError> {
        let secret = persons::link_secret(&self.inner.secrets).await?;
        let Some((id, mac)) = passes::split(link.expose()) else { return Ok(None) };
        let mut connection = self.inner.pool.acquire().await.doing("looking for a pass")?;
        let found = passes::find(&mut connection, id).await?;
        Ok(found.filter(|it| passes::is_link(&secret, it.key, id, &mac)))
    }

    // Rolling codes -------------------------------------------------------------------------------------------------

    /// Makes the rolling codes of a person anew: every code and link of before is dead at once.
    ///
    /// # Errors
    /// [`AccessProblem::NoPerson`], [`StoreError::Database`].
    pub async fn renew_code(&self, person: &Name, entry: Entry) -> Result<(), StoreError> {
        self.change(Some(entry), async |connection: &mut SqliteConnection| {
            if people::find(connection, person).await?.is_none() {
                return Err(AccessProblem::NoPerson { name: person.to_string() }.into());
            }
            codes::renew(connection, person).await
        })
        .await
    }

    /// Accepts no rolling codes of a person any more.
    ///
    /// # Errors
    /// [`AccessProblem::NoCode`], [`StoreError::Database`].
    pub async fn withdraw_code(&self, person: &Name, entry: Entry) -> Result<(), StoreError> {
        self.change(Some(entry), async |connection: &mut SqliteConnection| {
            match codes::withdraw(connection, person).await? {
                true => Ok(()),
                false => Err(AccessProblem::NoCode { person: person.to_string() }.into()),
            }
        })
        .await
    }

    /// What stands in the link of the page that shows a person's codes, if they have any. Whoever has it has the codes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn code_link(&self, person: &Name) -> Result<Option<Secret>, StoreError> {
        let secret = persons::link_secret(&self.inner.secrets).await?;
        let mut connection = self.inner.pool.acquire().await.doing("looking for rolling codes")?;
        Ok(codes::of_person(&mut connection, person).await?.map(|generation| codes::link(&secret, person, generation)))
    }

    /// Whose link somebody shows, with the code of this moment and when the next is due; `None` if it is nobody's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn code_of_link(&self, link: &Secret) -> Result<Option<(Name, Secret, WallTime)>, StoreError> {
        let (secret, rolling) = (persons::link_secret(&self.inner.secrets).await?, self.rolling().await?);
        let mut connection = self.inner.pool.acquire().await.doing("looking for rolling codes")?;
        let found = codes::of_link(&mut connection, &secret, link).await?;
        let Some((person, generation)) = found else { return Ok(None) };
        let of_person = RollingSecret::derived(&rolling, &person, generation);
        let code = of_person.code(&self.site(), &person, self.inner.clock.wall());
        let (text, next) = code.map_err(AccessProblem::Pass)?;
        Ok(Some((person, text, next)))
    }

    // Rules ---------------------------------------------------------------------------------------------------------

    /// The rules in force.
    pub fn rules(&self) -> RulesInForce {
        let now = self.now();
        RulesInForce {
            rules: now.document.rules.len(),
            groups: now.document.groups.keys().cloned().collect(),
            version: now.version,
            text: now.text,
            refused: now.refused.map(|(_, detail)| detail),
        }
    }

    /// Whether `text` could be in force, with the people there are.
    ///
    /// # Errors
    /// [`AccessProblem`].
    pub async fn check_rules(&self, text: &str) -> Result<RuleSet, AccessProblem> {
        let set = merged(&parsed(text).await?, &self.now().groups);
        compiled(set).await.map(|(set, ..)| set)
    }

    /// Puts `text` in force, writes `rules.toml` and keeps it as a new version, by `by`. `base` is the version that was
    /// looked at when it was edited.
    ///
    /// # Errors
    /// [`AccessProblem::Meanwhile`] if that is not the newest any more, [`AccessProblem::Refused`] with the place of what is
    /// wrong; then nothing has changed.
    pub async fn set_rules(&self, text: &str, base: u64, by: &str, entry: Entry) -> Result<RuleVersion, StoreError> {
        if text.len() > RULES_BYTES_MAX {
            return Err(AccessProblem::LongRules.into());
        }
        if self.now().version.id != base {
            return Err(AccessProblem::Meanwhile.into());
        }
        self.put_rules(text, Some(base), by, Some(entry)).await
    }

    /// `base` is `None` for what stands in the file already.
    async fn put_rules(
        &self,
        text: &str,
        base: Option<u64>,
        by: &str,
        entry: Option<Entry>,
    ) -> Result<RuleVersion, StoreError> {
        let document = Arc::new(parsed(text).await?);
        let _turn = self.inner.turn.lock().await;
        let (before, at, path) = (self.now(), self.inner.clock.wall(), self.path());
        // The file was written by whoever had the turn, and is no change of its own.
        if base.is_none() && *before.text == *text {
            return Ok(before.version);
        }
        if base.is_some_and(|base| base != before.version.id) {
            return Err(AccessProblem::Meanwhile.into());
        }
        let keep = async |connection: &mut SqliteConnection| keep_version(connection, at, by, text).await;
        // The file is what the next start reads: written last, and put back if the commit fails.
        let write = |_: &u64| match base {
            Some(_) => site::write_text(&path, text).map_err(|error| file_problem(RULES_FILE, format!("{error:#}"))),
            None => Ok(()),
        };
        let id = match self.change_to(&document, entry, keep, write).await {
            Ok(id) => id,
            Err(error) => {
                if base.is_some()
                    && std::fs::read_to_string(&path).is_ok_and(|there| there == text && *before.text != *there)
                    && let Err(error) = site::write_text(&path, &before.text)
                {
                    tracing::error!(error = format!("{error:#}"), "the file of the rules holds what is not in force");
                }
                return Err(error);
            }
        };
        let version = RuleVersion { id, at, by: by.to_owned() };
        let mut now = self.inner.now.write().unwrap_or_else(PoisonError::into_inner);
        (now.version, now.text, now.refused) = (version.clone(), text.into(), None);
        Ok(version)
    }

    /// The newest versions of the rules, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn versions(&self) -> Result<Vec<RuleVersion>, StoreError> {
        let rows: Vec<(i64, i64, String)> =
            sqlx::query_as("SELECT id, at, by FROM rule_version ORDER BY id DESC LIMIT ?")
                .bind(i64::try_from(RULE_VERSIONS_MAX).unwrap_or(i64::MAX))
                .fetch_all(&self.inner.pool)
                .await
                .doing("listing versions of the rules")?;
        Ok(rows.into_iter().map(version_of).collect())
    }

    /// The text of a version.
    ///
    /// # Errors
    /// [`AccessProblem::NoVersion`], [`StoreError::Database`].
    pub async fn version(&self, id: u64) -> Result<String, StoreError> {
        let text: Option<String> = sqlx::query_scalar("SELECT text FROM rule_version WHERE id = ?")
            .bind(i64::try_from(id).unwrap_or(-1))
            .fetch_optional(&self.inner.pool)
            .await
            .doing("reading a version of the rules")?;
        text.ok_or(StoreError::Access(AccessProblem::NoVersion { id }))
    }

    /// Who would be admitted at `door` with `presented` at `at`, by the rules in force or by `draft`; at most `limit` are
    /// listed, in the order of their names. Whoever is revoked is not among them.
    ///
    /// # Errors
    /// [`AccessProblem::Refused`] if the draft is, [`StoreError::Database`].
    pub async fn who_may(
        &self,
        door: &Name,
        presented: godvision_access::rule::Kinds,
        at: WallTime,
        draft: Option<&str>,
        limit: usize,
    ) -> Result<WhoMay, StoreError> {
        let (drafted, current);
        let rules = match draft {
            Some(text) => {
                drafted = self.check_rules(text).await?.compile().map_err(AccessProblem::from)?;
                &drafted
            }
            None => {
                current = self.inner.shared.current();
                &current.rules
            }
        };
        let mut said = WhoMay::default();
        let mut after = String::new();
        loop {
            let page =
                self.people(&PeopleQuery { limit: people::PEOPLE_PAGE_MAX, after, ..PeopleQuery::default() }).await?;
            said.of += page.len();
            let present: Vec<&Person> = page.iter().filter(|it| !it.is_revoked).collect();
            let answers = rules.who_may(present.iter().map(|it| &it.name), door, presented, at);
            for ((_, answer), person) in answers.into_iter().zip(present) {
                if answer.verdict == Verdict::Admit && said.listed.len() < limit {
                    said.listed.push((person.name.clone(), person.title.clone(), answer.rule.cloned()));
                } else if answer.verdict == Verdict::Admit {
                    said.more += 1;
                }
            }
            match page.last() {
                Some(last) if page.len() == people::PEOPLE_PAGE_MAX => after = last.name.to_string(),
                _ => return Ok(said),
            }
        }
    }

    /// When the answer is yes in the week of the question, as intervals by the clocks of the rules: `Mon-Fri 08:00-18:00`. By
    /// the rules in force or by `draft`; the directory is not asked.
    ///
    /// # Errors
    /// [`AccessProblem::Refused`] if the draft is.
    pub async fn week_of(&self, question: &Question<'_>, draft: Option<&str>) -> Result<Vec<String>, StoreError> {
        let (drafted, current);
        let (rules, zone) = match draft {
            Some(text) => {
                let set = self.check_rules(text).await?;
                drafted = set.compile().map_err(AccessProblem::from)?;
                (&drafted, set.zone)
            }
            None => {
                current = self.inner.shared.current();
                (&current.rules, self.now().merged.zone.clone())
            }
        };
        let spans = rules.week_of(question).into_iter().filter_map(|it| {
            let (from, until) = (zone.minute_of_week(it.from)?, zone.minute_of_week(it.until)?);
            // By the clocks: an hour that they skip or repeat is not drawn. The whole week ends where it begins.
            let length = (until.get() + MINUTES_A_WEEK - from.get()) % MINUTES_A_WEEK;
            Some((from, if length == 0 { MINUTES_A_WEEK } else { length }))
        });
        Ok(Weekly::from_minutes(spans).texts())
    }

    /// Why a question is answered as it is, by the rules in force or by `draft`: rule by rule, and what the directory says
    /// before any rule.
    ///
    /// # Errors
    /// [`AccessProblem::Refused`] if the draft is, [`StoreError::Database`].
    pub async fn explain(&self, question: &Question<'_>, draft: Option<&str>) -> Result<Explanation, StoreError> {
        let set = match draft {
            Some(text) => Arc::new(self.check_rules(text).await?),
            None => self.now().merged,
        };
        let mut said = set.explain(question);
        let by_hand = question.presented.has(godvision_access::rule::CredentialKind::Manual);
        if let Some(name) = question.person {
            let before = match self.person(name).await? {
                Some(person) if person.is_revoked => Some(Reason::Revoked),
                None if !by_hand => Some(Reason::UnknownCredential),
                _ => None,
            };
            if let Some(reason) = before {
                (said.verdict, said.reason, said.rule) = (Verdict::Refuse, reason, None);
            }
        }
        Ok(said)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.now();
        write!(f, "access by version {} of the rules, {} groups", now.version.id, now.merged.groups.len())
    }
}

fn service() -> Result<Name, StoreError> {
    Name::new("access").map_err(|error| file_problem(RULES_FILE, error.to_string()))
}

fn file_problem(file: &'static str, detail: String) -> StoreError {
    StoreError::Access(AccessProblem::File { file, detail })
}

/// A card, PIN or plate as people write it, as it is kept.
pub(crate) fn written(kind: KeyKind, text: &Secret) -> Result<(Secret, Key), AccessProblem> {
    let signs = text.expose().trim();
    Ok(match kind {
        KeyKind::Card => {
            let digits: String = signs.chars().filter(|sign| !matches!(sign, ' ' | ':' | '-' | '.')).collect();
            let digits = Secret::from(digits.to_uppercase());
            (digits.clone(), Key::Card(digits))
        }
        KeyKind::Pin | KeyKind::DuressPin => (Secret::from(signs), Key::Pin(Secret::from(signs))),
        KeyKind::Plate => {
            let plate: PlateText = signs.parse().map_err(|_| AccessProblem::BadKey {
                detail: "a plate has 2 to 10 Latin letters and digits, or the Cyrillic letters АВЕКМНОРСТУХ".to_owned(),
            })?;
            let plate = Secret::from(plate.as_str());
            (plate.clone(), Key::Plate(plate))
        }
    })
}

fn version_of((id, at, by): (i64, i64, String)) -> RuleVersion {
    RuleVersion { id: u64::try_from(id).unwrap_or_default(), at: WallTime::from_unix_micros(at), by }
}

async fn newest(connection: &mut SqliteConnection) -> Result<Option<(RuleVersion, String)>, StoreError> {
    let row: Option<(i64, i64, String, String)> =
        sqlx::query_as("SELECT id, at, by, text FROM rule_version ORDER BY id DESC LIMIT 1")
            .fetch_optional(connection)
            .await
            .doing("reading the rules")?;
    Ok(row.map(|(id, at, by, text)| (version_of((id, at, by)), text)))
}

async fn keep_version(
    connection: &mut SqliteConnection,
    at: WallTime,
    by: &str,
    text: &str,
) -> Result<u64, StoreError> {
    const DOING: &str = "keeping a version of the rules";
    let done = sqlx::query("INSERT INTO rule_version (at, by, text) VALUES (?, ?, ?)")
        .bind(at.as_unix_micros())
        .bind(by)
        .bind(text)
        .execute(&mut *connection)
        .await
        .doing(DOING)?;
    let id = done.last_insert_rowid();
    sqlx::query("DELETE FROM rule_version WHERE id <= ?")
        .bind(id - i64::try_from(RULE_VERSIONS_MAX).unwrap_or(i64::MAX))
        .execute(connection)
        .await
        .doing(DOING)?;
    Ok(u64::try_from(id).unwrap_or_default())
}
