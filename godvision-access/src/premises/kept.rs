//! [`Kept`]: what must outlive a power cut, one change at a time, and [`Ledger`], the last word on each thing.
//!
//! # Format
//! One line a change, UTF-8, fields separated by one space; `.`, which is no name, stands for outside:
//! ```text
//! at PERSON AREA|. MICROS           somebody was last seen in AREA (or outside), at MICROS since 1970 UTC
//! forgot PERSON                     nothing is known of somebody any more
//! failed reader|person NAME COUNT UNTIL_MICROS LAST_MICROS
//! lockdown DOOR on|off
//! emergency on|off
//! ```
//! A later line about the same thing replaces an earlier one. Lines are put into a file by
//! [`crate::io::premises_log`], which guards each by a sum.
//!
//! **Never:** grants, openings, free passage: after a power cut doors are locked until somebody presents something anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use godvision_core::{Name, WallTime};

/// Most bytes of one line.
pub const LINE_BYTES_MAX: usize = 4 * 1024;

/// Who failed to present something good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failing {
    /// Whoever stands at this source.
    Source(Name),
    /// Whoever poses as this person.
    Person(Name),
}

/// One change that must outlive a power cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Somebody was last seen here.
    At {
        /// Who.
        person: Name,
        /// The area; `None`: outside.
        area: Option<Name>,
        /// Since when.
        since: WallTime,
    },
    /// Nothing is known of their whereabouts any more.
    Forgot {
        /// Who.
        person: Name,
    },
    /// Failures in a row.
    Failed {
        /// Whose.
        failing: Failing,
        /// How many.
        count: u32,
        /// Locked out until this moment; the past if not.
        until: WallTime,
        /// The last of them.
        last: WallTime,
    },
    /// A door was locked down, or no longer is.
    Lockdown {
        /// Which.
        door: Name,
        /// Whether it is.
        is_on: bool,
    },
    /// An emergency was declared, or is over.
    Emergency {
        /// Whether it is.
        is_on: bool,
    },
}

/// What a [`Kept`] is about: a later word on it replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    /// Where somebody is.
    Person(Name),
    /// Somebody's failures.
    Failures(Failing),
    /// A door's lockdown.
    Lockdown(Name),
    /// The emergency.
    Emergency,
}

impl Kept {
    /// What it is about.
    pub fn thing(&self) -> Thing {
        match self {
            Self::At { person, .. } | Self::Forgot { person } => Thing::Person(person.clone()),
            Self::Failed { failing, .. } => Thing::Failures(failing.clone()),
            Self::Lockdown { door, .. } => Thing::Lockdown(door.clone()),
            Self::Emergency { .. } => Thing::Emergency,
        }
    }
}

fn word(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// The line of the format, without its end.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { person, area, since } => {
                let area = area.as_ref().map_or(".", Name::as_str);
                write!(f, "at {person} {area} {}", since.as_unix_micros())
            }
            Self::Forgot { person } => write!(f, "forgot {person}"),
            Self::Failed { failing, count, until, last } => {
                let (what, name) = match failing {
                    Failing::Source(name) => ("reader", name),
                    Failing::Person(name) => ("person", name),
                };
                write!(f, "failed {what} {name} {count} {} {}", until.as_unix_micros(), last.as_unix_micros())
            }
            Self::Lockdown { door, is_on } => write!(f, "lockdown {door} {}", word(*is_on)),
            Self::Emergency { is_on } => write!(f, "emergency {}", word(*is_on)),
        }
    }
}

/// The text is no line of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no line of the state of premises")]
pub struct NotKept;

/// Only the one text that [`Kept`] prints is read back.
impl FromStr for Kept {
    type Err = NotKept;
    fn from_str(line: &str) -> Result<Self, NotKept> {
        if line.len() > LINE_BYTES_MAX {
            return Err(NotKept);
        }
        let kept = parse(line).ok_or(NotKept)?;
        if kept.to_string() == line { Ok(kept) } else { Err(NotKept) }
    }
}

fn parse(line: &str) -> Option<Kept> {
    let mut words = line.split(' ');
    let what = words.next()?;
    let mut next = || words.next();
    let name = |text: &str| Name::new(text).ok();
    let moment = |text: &str| text.parse().ok().map(WallTime::from_unix_micros);
    let switch = |text: &str| match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    };
    Some(match what {
        "at" => {
            let person = name(next()?)?;
            let area = match next()? {
                "." => None,
                area => Some(name(area)?),
            };
            Kept::At { person, area, since: moment(next()?)? }
        }
        "forgot" => Kept::Forgot { person: name(next()?)? },
        "failed" => {
            let kind = next()?;
            let who = name(next()?)?;
            let failing = match kind {
                "reader" => Failing::Source(who),
                "person" => Failing::Person(who),
                _ => return None,
            };
            let count = next()?.parse().ok()?;
            Kept::Failed { failing, count, until: moment(next()?)?, last: moment(next()?)? }
        }
        "lockdown" => Kept::Lockdown { door: name(next()?)?, is_on: switch(next()?)? },
        "emergency" => Kept::Emergency { is_on: switch(next()?)? },
        _ => return None,
    })
}

/// The last word on each thing: what all changes so far amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    at: BTreeMap<Name, (Option<Name>, WallTime)>,
    failed: BTreeMap<Failing, (u32, WallTime, WallTime)>,
    lockdown: BTreeSet<Name>,
    is_emergency: bool,
}

impl Ledger {
    /// Takes one change.
    pub fn apply(&mut self, change: Kept) {
        match change {
            Kept::At { person, area, since } => {
                self.at.insert(person, (area, since));
            }
            Kept::Forgot { person } => {
                self.at.remove(&person);
            }
            Kept::Failed { failing, count: 0, .. } => {
                self.failed.remove(&failing);
            }
            Kept::Failed { failing, count, until, last } => {
                self.failed.insert(failing, (count, until, last));
            }
            Kept::Lockdown { door, is_on: true } => {
                self.lockdown.insert(door);
            }
            Kept::Lockdown { door, is_on: false } => {
                self.lockdown.remove(&door);
            }
            Kept::Emergency { is_on } => self.is_emergency = is_on,
        }
    }

    /// The fewest changes that amount to the same.
    pub fn changes(&self) -> impl Iterator<Item = Kept> {
        let at = self.at.iter().map(|(person, (area, since))| Kept::At {
            person: person.clone(),
            area: area.clone(),
            since: *since,
        });
        let failed = self.failed.iter().map(|(failing, (count, until, last))| Kept::Failed {
            failing: failing.clone(),
            count: *count,
            until: *until,
            last: *last,
        });
        let lockdown = self.lockdown.iter().map(|door| Kept::Lockdown { door: door.clone(), is_on: true });
        let emergency = self.is_emergency.then_some(Kept::Emergency { is_on: true });
        at.chain(failed).chain(lockdown).chain(emergency)
    }

    /// How many changes [`Ledger::changes`] gives.
    pub fn len(&self) -> usize {
        self.at.len() + self.failed.len() + self.lockdown.len() + usize::from(self.is_emergency)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<Kept> for Ledger {
    fn from_iter<T: IntoIterator<Item = Kept>>(changes: T) -> Self {
        let mut ledger = Self::default();
        changes.into_iter().for_each(|change| ledger.apply(change));
        ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn lines_are_read_back_as_they_were_written() {
        let at = WallTime::from_unix_micros(1_794_000_000_000_001);
        let changes = [
            Kept::At { person: name("ada"), area: Some(name("lab/inner")), since: at },
            Kept::At { person: name("bob"), area: None, since: at },
            Kept::Forgot { person: name("bob") },
            Kept::Failed { failing: Failing::Source(name("yard/keypad")), count: 7, until: at, last: at },
            Kept::Failed { failing: Failing::Person(name("ada")), count: 1, until: at, last: at },
            Kept::Lockdown { door: name("yard/door"), is_on: true },
            Kept::Lockdown { door: name("yard/gate"), is_on: true },
            Kept::Lockdown { door: name("yard/gate"), is_on: false },
            Kept::Emergency { is_on: true },
        ];
        for change in &changes {
            assert_eq!(change.to_string().parse(), Ok(change.clone()), "{change}");
        }
        let ledger: Ledger = changes.into_iter().collect();
        assert_eq!(ledger.len(), 5, "ada's place, two failures, one lockdown, the emergency: {ledger:?}");
        assert_eq!(ledger.changes().collect::<Ledger>(), ledger);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "at",
            "at ada",
            "at ada lab",
            "at ada lab soon",
            "at ada lab 1 2",
            "at ada  1",
            "at ada . 01",
            "at a da . 1",
            "forgot",
            "failed door x 1 1 1",
            "failed reader x -1 1 1",
            "lockdown x maybe",
            "emergency",
            "emergency on ",
            "Emergency on",
        ] {
            assert_eq!(line.parse::<Kept>(), Err(NotKept), "{line:?}");
        }
        assert_eq!(format!("forgot {}", "a".repeat(LINE_BYTES_MAX)).parse::<Kept>(), Err(NotKept));
    }
}
