//! Rules: who may open which doors, with what, when. A prohibition always wins; what nobody permits is refused.
//!
//! ```text
//! RuleSet (rules, groups, schedules) <-- text.rs, write.rs   what an owner writes, refused whole with line and column
//!    |  compile.rs, index.rs             schema.rs            the document's records and keys, for readers and forms
//!    |                                   check.rs             what holds of any set, from a document or a program
//!    |                                   spec.rs              the meaning, as plainly as it can be written: linear
//!    |                                   explain.rs, diff.rs  why, and why not, rule by rule; what a change changes
//!    |                                   cedar.rs, snapshot.rs  the same rules for Cedar's tools, and as bytes
//!    v
//! CompiledRules --decide.rs--> Answer {verdict, reason, rule}
//!                 what_if.rs   who may, when next, the week as intervals
//! ```
//! `decide`, `spec` and (in the benches) `cedar-policy` are held equal by property tests over random rule sets.
//!
//! What a rule means: it applies when the person is one of its subjects, the door one of its doors, one of its alternatives
//! of credentials was presented, and the moment lies in its period and its schedule. If a rule that forbids applies, the
//! answer is no. Otherwise, if one that permits applies, it is yes. Otherwise it is no. A `priority` never changes the
//! verdict: it says which of several applying permissions is the one named.
//!
//! **Never:** the state of a door (that is [`crate::door`]), the clock, a priority that lets a permission beat a prohibition.

mod cedar;
pub(crate) mod check;
mod compile;
mod decide;
mod diff;
mod explain;
mod index;
mod kinds;
pub(crate) mod near;
pub mod schema;
mod snapshot;
pub mod spec;
pub(crate) mod text;
mod what_if;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet};

use godvision_core::signal::door::{Reason, Verdict};
use godvision_core::{Name, WallTime};

use crate::error::Error;
use crate::premises::Layout;
use crate::schedule::{Calendars, Schedule, Zone};

pub use cedar::{CedarExport, CedarRequest};
pub use compile::CompiledRules;
pub use diff::Change;
pub use explain::{Explanation, Line, Miss};
pub use kinds::{By, CredentialKind, Kinds};
pub use schema::schema;
pub use snapshot::SNAPSHOT_BYTES_MAX;
pub use what_if::{HORIZON_DAYS_MAX, Opening};

/// Most bytes of a rule document.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// Most subjects, and most doors, of one rule.
pub const RULE_PARTS_MAX: usize = 1_000;
/// Most groups that one person, or one door, is in.
pub const GROUPS_EACH_MAX: usize = 64;
/// Most calendars of a rule set.
pub const CALENDARS_MAX: usize = 256;
/// Most schedules of a rule set: a compiled one takes 1.3 KB.
pub const SCHEDULES_MAX: usize = 1_024;
/// Priorities lie between this and its negative.
pub const PRIORITY_MAX: i32 = 1_000;
/// Most pairs of subject and door of all rules together: what bounds the memory of [`CompiledRules`] (about 1 GiB).
pub const PAIRS_MAX: usize = 1 << 24;

/// Whether a rule permits or forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It permits, unless another forbids.
    Permit,
    /// It forbids, whatever others permit.
    Forbid,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// One person (or operator).
    Person(Name),
    /// The members of a group.
    Group(Name),
    /// Everybody whose credential is known.
    Anyone,
}

/// Which doors a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DoorSet {
    /// One door.
    Door(Name),
    /// The doors of a door group.
    Group(Name),
    /// Every door.
    Any,
}

/// One rule. It applies when all of its conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in the set: what the journal says.
    pub name: Name,
    /// Permit or forbid.
    pub effect: Effect,
    /// Whom it is about: any of these.
    pub who: Vec<Subject>,
    /// Where: any of these.
    pub doors: Vec<DoorSet>,
    /// With what: one of these alternatives.
    pub by: By,
    /// Of several permissions that apply, the one with the highest priority is named, of equal ones the first of the
    /// document. 0 for prohibitions, which win in any case.
    pub priority: i32,
    /// Only inside this schedule of the set.
    pub during: Option<String>,
    /// Only from this moment on.
    pub from: Option<WallTime>,
    /// No longer from this moment on.
    pub until: Option<WallTime>,
}

/// Rules with the groups and schedules they speak of. Parse one with [`RuleSet::parse`], or fill it in and
/// [`RuleSet::compile`] it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// The zone of schedules and local dates that name none.
    pub zone: Zone,
    /// Groups of persons.
    pub groups: BTreeMap<Name, BTreeSet<Name>>,
    /// Groups of doors.
    pub door_groups: BTreeMap<Name, BTreeSet<Name>>,
    /// Calendars of holidays by name.
    pub holidays: Calendars,
    /// Schedules by name.
    pub schedules: BTreeMap<String, Schedule>,
    /// The rules, in the order of the document: where several apply, the first of them is the one named.
    pub rules: Vec<Rule>,
    /// Areas, doors and interlocks: for [`crate::premises`], the rules themselves know no state.
    pub layout: Layout,
}

impl Default for RuleSet {
    /// No rule: everything is refused.
    fn default() -> Self {
        Self {
            zone: Zone::utc(),
            groups: BTreeMap::new(),
            door_groups: BTreeMap::new(),
            holidays: Calendars::new(),
            schedules: BTreeMap::new(),
            rules: Vec::new(),
            layout: Layout::default(),
        }
    }
}

impl RuleSet {
    /// Reads a rule document, version 1. An error refuses it whole.
    ///
    /// ```
    /// let rules = godvision_access::rule::RuleSet::parse(r#"
    ///     version = 1
    ///     zone = "Europe/Berlin"
    ///
    ///     [groups]                          # of persons
    ///     staff = ["ada", "bob"]
    ///     [door_groups]
    ///     yard = ["yard/door", "yard/gate"]
    ///     [holidays]                        # calendars: dates, periods, and days of every year
    ///     public = ["12-25", "2026-12-31/2027-01-01"]
    ///     eves = ["12-24"]
    ///     [schedules]                       # by the clocks of the zone
    ///     office = ["Mon-Fri 08:00-18:00", "Sat 10:00-14:00"]
    ///     shop = { weekly = ["Mon-Sat 09:00-20:00"], holidays = ["public none", "eves 09:00-13:00"] }
    ///     night = { zone = "UTC", weekly = ["daily 22:00-06:00"] }
    ///
    ///     [[rule]]
    ///     name = "staff"
    ///     permit = ["group:staff"]          # a person's name, "group:NAME" or "anyone"
    ///     doors = ["group:yard", "store"]   # a door's name, "group:NAME" or "any"
    ///     by = ["qr", "plate+pin"]          # one or two together; left out: anything but a plate or "remote" alone
    ///     during = "office"                 # left out: always
    ///     until = 2030-01-01                # and from; left out: for ever
    ///     priority = 5                      # of permissions that apply, the highest is named; left out: 0
    ///
    ///     [[rule]]
    ///     name = "no-bob-at-night"
    ///     forbid = ["bob"]                  # wins, wherever it stands; `by` left out: whatever he presents
    ///     doors = ["any"]
    ///     during = "night"
    /// "#)?;
    /// assert_eq!(rules.rules.len(), 2);
    /// # Ok::<(), godvision_access::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Document`], with line and column.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (mut rules, layout) = text::parse_with(text, crate::premises::text::read)?;
        rules.layout = layout;
        Ok(rules)
    }

    /// The same rules as a document in one form: [`RuleSet::parse`] reads it back equal, and equal sets print the same.
    /// Comments are not kept. What only a program can build (a moment before the year -9999, a list longer than the
    /// limits of the document) comes out changed, or is refused when it is read.
    pub fn to_text(&self) -> String {
        write::to_text(self)
    }

    /// What is different in `newer`: what is gone, what is new, what says something else, table by table.
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        diff::changes(self, newer)
    }

    /// The same rules as bytes: versioned, with their length and digest. [`RuleSet::from_bytes`] reads them back equal, or
    /// refuses what only a program can build: a set that does not compile, a layout that no document could describe.
    pub fn to_bytes(&self) -> Vec<u8> {
        snapshot::to_bytes(self)
    }

    /// Reads what [`RuleSet::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Snapshot`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        snapshot::from_bytes(bytes).map_err(|fault| Error::Snapshot { fault })
    }

    /// The same rules as Cedar policies and entities, for Cedar's tools to audit.
    pub fn to_cedar(&self) -> CedarExport {
        cedar::export(self)
    }

    /// `question` as a request to Cedar, with all that the policies of [`RuleSet::to_cedar`] ask the context for; `None` if
    /// no clock shows that moment.
    pub fn cedar_request(&self, question: &Question<'_>) -> Option<CedarRequest> {
        cedar::request(self, question)
    }

    /// Builds the index that decides. Linear in the pairs of subject and door of all rules.
    ///
    /// # Errors
    /// [`Error::Rule`].
    pub fn compile(&self) -> Result<CompiledRules, Error> {
        compile::compile(self)
    }

    /// Says of every rule whether it applies, and if not, why. Linear.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        explain::explain(self, question)
    }

    /// The door groups that hold `door`.
    pub fn groups_of_door<'a>(&'a self, door: &'a Name) -> impl Iterator<Item = &'a Name> {
        self.door_groups.iter().filter(move |(_, doors)| doors.contains(door)).map(|(group, _)| group)
    }

    /// The rules that speak of `door`, with everything they need: the slice that decides about this door alone.
    #[must_use]
    pub fn about_door(&self, door: &Name) -> Self {
        let question = Question { person: None, door, presented: Kinds::NONE, at: WallTime::default() };
        let mut slice = self.clone();
        slice.rules.retain(|rule| spec::is_about_door(self, rule, &question));
        slice
    }
}

/// May this person open this door with these, now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Whose credential it is; `None` if it is nobody's of the directory (an operator by hand): only rules about
    /// anyone apply then.
    pub person: Option<&'a Name>,
    /// The door.
    pub door: &'a Name,
    /// Everything that this person has presented, now and shortly before.
    pub presented: Kinds,
    /// The moment.
    pub at: WallTime,
}

/// Yes or no, always with the reason, and with the rule if one decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Yes or no.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The rule that decided, of those that apply: the first prohibition of the document, or the permission with the
    /// highest priority, the first of equal ones.
    pub rule: Option<&'a Name>,
}

impl<'a> Answer<'a> {
    pub(crate) fn permitted(rule: &'a Name) -> Self {
        Self { verdict: Verdict::Admit, reason: Reason::Permitted, rule: Some(rule) }
    }

    pub(crate) fn refused(reason: Reason, rule: Option<&'a Name>) -> Self {
        Self { verdict: Verdict::Refuse, reason, rule }
    }
}
