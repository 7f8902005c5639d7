//! Rules: who may open which doors, with what, when. A prohibition always wins; what nobody permits is refused.
//!
//! ```text
//! RuleSet (rules, groups, schedules) --parse-- text.rs      what an owner writes, refused whole with line and column
//!    |  compile.rs                             spec.rs      the meaning, as plainly as it can be written: linear
//!    v                                         explain.rs   why, and why not, rule by rule
//! CompiledRules --decide.rs--> Answer {verdict, reason, rule}
//! ```
//! `decide` and `spec` are held equal by a property test over random rule sets.
//!
//! **Never:** the state of a door (that is [`crate::door`]), the clock, priorities other than "forbid first".

mod compile;
mod decide;
mod explain;
pub mod spec;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use godvision_core::signal::door::{Key, Reason, Verdict};
use godvision_core::{Name, WallTime};

use crate::error::{Error, RuleFault};
use crate::premises::Layout;
use crate::schedule::{Schedule, Zone};

pub use compile::CompiledRules;
pub use explain::{Explanation, Line, Miss};

/// Most bytes of a rule document.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// Most subjects, and most doors, of one rule.
pub const RULE_PARTS_MAX: usize = 1_000;
/// Most groups that one person, or one door, is in.
pub const GROUPS_EACH_MAX: usize = 64;
/// Most pairs of subject and door of all rules together: what bounds the memory of [`CompiledRules`] (about 1 GiB).
pub const PAIRS_MAX: usize = 1 << 24;

/// What kind of thing was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// A QR pass.
    Qr,
    /// A PIN.
    Pin,
    /// A card.
    Card,
    /// A number plate. Copied with a sheet of paper: opens only where a rule names it.
    Plate,
    /// A live face.
    Face,
    /// An operator's own act.
    Manual,
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Qr, Self::Pin, Self::Card, Self::Plate, Self::Face, Self::Manual];

    /// The kind of `key`; `None` for kinds that this version does not know.
    pub fn of(key: &Key) -> Option<Self> {
        Self::from_code(key.kind())
    }

    /// `qr`, `pin`, `card`, `plate`, `face`, `manual`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Qr => "qr",
            Self::Pin => "pin",
            Self::Card => "card",
            Self::Plate => "plate",
            Self::Face => "face",
            Self::Manual => "manual",
        }
    }

    /// The kind of a [`CredentialKind::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A set of [`CredentialKind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// Every kind: what a prohibition means when it names none.
    pub const ALL: Self = Self(0x3f);
    /// Every kind but plates: what a permission means when it names none.
    pub const USUAL: Self = Self(0x3f & !(1 << CredentialKind::Plate as u8));

    /// With `kind` too.
    #[must_use]
    pub fn with(self, kind: CredentialKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Whether `kind` is in it.
    pub fn has(self, kind: CredentialKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl FromIterator<CredentialKind> for Kinds {
    fn from_iter<T: IntoIterator<Item = CredentialKind>>(kinds: T) -> Self {
        kinds.into_iter().fold(Self(0), Self::with)
    }
}

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
    /// With what.
    pub by: Kinds,
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
    ///     [schedules]                       # by the clocks of the zone
    ///     office = ["Mon-Fri 08:00-18:00", "Sat 10:00-14:00"]
    ///     night = { zone = "UTC", weekly = ["daily 22:00-06:00"] }
    ///
    ///     [[rule]]
    ///     name = "staff"
    ///     permit = ["group:staff"]          # a person's name, "group:NAME" or "anyone"
    ///     doors = ["group:yard", "store"]   # a door's name, "group:NAME" or "any"
    ///     by = ["qr", "card"]               # left out: anything but a plate
    ///     during = "office"                 # left out: always
    ///     until = 2030-01-01                # and from; left out: for ever
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
        text::parse(text)
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

    pub(crate) fn check(&self, rule: &Rule) -> Result<(), RuleFault> {
        for subject in &rule.who {
            if let Subject::Group(name) = subject
                && !self.groups.contains_key(name)
            {
                return Err(RuleFault::UnknownGroup { name: name.clone() });
            }
        }
        for door in &rule.doors {
            if let DoorSet::Group(name) = door
                && !self.door_groups.contains_key(name)
            {
                return Err(RuleFault::UnknownGroup { name: name.clone() });
            }
        }
        if rule.who.len() > RULE_PARTS_MAX || rule.doors.len() > RULE_PARTS_MAX {
            return Err(RuleFault::TooMany { what: "subjects or doors in one rule", limit: RULE_PARTS_MAX });
        }
        if let Some(name) = &rule.during
            && !self.schedules.contains_key(name)
        {
            return Err(RuleFault::UnknownSchedule { name: name.clone() });
        }
        if rule.from.zip(rule.until).is_some_and(|(from, until)| from >= until) {
            return Err(RuleFault::EmptyPeriod);
        }
        Ok(())
    }
}

/// May this person open this door with this, now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Whose credential it is; `None` if it is nobody's of the directory (an operator by hand): only rules about
    /// anyone apply then.
    pub person: Option<&'a Name>,
    /// The door.
    pub door: &'a Name,
    /// What was presented.
    pub kind: CredentialKind,
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
    /// The rule that decided: the first of the document among those that apply.
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
