//! What a new rule set changes, for an owner who is asked to confirm it.

use std::collections::BTreeMap;
use std::fmt;

use super::{RuleSet, write};
use crate::premises::text;

/// One thing that differs between two rule sets. Prints as one line: `rule staff: doors ["yard"] -> ["yard", "store"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The document's zone is another one.
    Zone {
        /// Before.
        from: String,
        /// After.
        to: String,
    },
    /// There is something new.
    Added {
        /// What, as the schema calls its table: `rule`, `groups`, ...
        table: &'static str,
        /// Its name.
        name: String,
        /// What it says, in the document's words.
        text: String,
    },
    /// Something is gone.
    Removed {
        /// As in [`Change::Added`].
        table: &'static str,
        /// Its name.
        name: String,
    },
    /// One key of something says something else.
    Changed {
        /// As in [`Change::Added`].
        table: &'static str,
        /// Its name.
        name: String,
        /// The key; for groups, calendars and schedules the whole.
        key: &'static str,
        /// Before; empty if the key was not there.
        from: String,
        /// After; empty if it is left out.
        to: String,
    },
    /// The rules that both have stand in another order: of several that apply another may be named.
    Reordered,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
        match self {
            Self::Zone { from, to } => write!(f, "zone: {from} -> {to}"),
            Self::Added { table, name, text } => write!(f, "{table} {name}: new, {text}"),
            Self::Removed { table, name } => write!(f, "{table} {name}: gone"),
            Self::Changed { table, name, key, from, to } => {
                write!(
                    f,
                    "{table}{}{name}: {key}{}{} -> {}",
                    if name.is_empty() { "" } else { " " },
                    if key.is_empty() { "" } else { " " },
                    value(from),
                    value(to)
                )
            }
            Self::Reordered => f.write_str("rule: the rules that stay stand in another order"),
        }
    }
}

/// Named things with the values of their keys.
type Things = BTreeMap<String, Vec<(&'static str, String)>>;

pub(super) fn changes(before: &RuleSet, after: &RuleSet) -> Vec<Change> {
    let mut changes = Vec::new();
    let (from, to) = (before.zone.to_string(), after.zone.to_string());
    if from != to {
        changes.push(Change::Zone { from, to });
    }
    for (table, things) in TABLES {
        compare(table, &things(before), &things(after), &mut changes);
    }
    let order = |set: &RuleSet, other: &RuleSet| -> Vec<String> {
        let known: std::collections::BTreeSet<_> = other.rules.iter().map(|rule| &rule.name).collect();
        set.rules.iter().filter(|rule| known.contains(&rule.name)).map(|rule| rule.name.to_string()).collect()
    };
    if order(before, after) != order(after, before) {
        changes.push(Change::Reordered);
    }
    changes
}

type Read = fn(&RuleSet) -> Things;

const TABLES: [(&str, Read); 9] = [
    ("groups", |set| {
        set.groups.iter().map(|(name, members)| (name.to_string(), vec![("", write::list(members))])).collect()
    }),
    ("door_groups", |set| {
        set.door_groups.iter().map(|(name, members)| (name.to_string(), vec![("", write::list(members))])).collect()
    }),
    ("holidays", |set| {
        set.holidays
            .iter()
            .map(|(name, calendar)| (name.to_string(), vec![("", write::list(calendar.texts()))]))
            .collect()
    }),
    ("schedules", |set| {
        let text = |schedule| vec![("", write::schedule_text(schedule, &set.zone))];
        set.schedules.iter().map(|(name, schedule)| (name.clone(), text(schedule))).collect()
    }),
    (text::AREAS.table, |set| text::areas(&set.layout)),
    (text::DOORS.table, |set| text::doors(&set.layout)),
    (text::INTERLOCKS.table, |set| {
        set.layout.interlocks.iter().map(|(name, doors)| (name.to_string(), vec![("", write::list(doors))])).collect()
    }),
    (text::LOCKOUT.table, |set| [(String::new(), text::lockout(&set.layout))].into()),
    ("rule", |set| {
        let fields = |rule| write::fields(rule, &set.zone).into_iter().filter(|(key, _)| *key != "name").collect();
        set.rules.iter().map(|rule| (rule.name.to_string(), fields(rule))).collect()
    }),
];

fn compare(table: &'static str, before: &Things, after: &Things, changes: &mut Vec<Change>) {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    changes.extend(gone.map(|name| Change::Removed { table, name: name.clone() }));
    for (name, fields) in after {
        let Some(old) = before.get(name) else {
            let text =
                |(key, value): &(&str, String)| if key.is_empty() { value.clone() } else { format!("{key} {value}") };
            let text = fields.iter().map(text).collect::<Vec<_>>().join(", ");
            changes.push(Change::Added { table, name: name.clone(), text });
            continue;
        };
        let value = |of: &[(&str, String)], key: &str| {
            of.iter().find(|(it, _)| *it == key).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let mut keys: Vec<&'static str> = old.iter().chain(fields).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let (from, to) = (value(old, key), value(fields, key));
            if from != to {
                changes.push(Change::Changed { table, name: name.clone(), key, from, to });
            }
        }
    }
}
