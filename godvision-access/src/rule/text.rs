//! The rule document: TOML, version 1, as [`RuleSet::parse`] shows it. Refused whole, with line, column and key.
//!
//! **Never:** a key that is silently ignored, a default that opens something.

use std::collections::{BTreeMap, BTreeSet};

use godvision_core::{Name, WallTime};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{
    CredentialKind, DoorSet, Effect, GROUPS_EACH_MAX, Kinds, RULE_PARTS_MAX, Rule, RuleSet, Subject, TEXT_BYTES_MAX,
};
use crate::error::{Error, RuleFault};
use crate::schedule::{Schedule, Weekly, Zone};

/// What is wrong, at which byte, about which key.
struct Fault {
    at: usize,
    key: String,
    fault: RuleFault,
}

type Value<'a> = Spanned<DeValue<'a>>;

pub(super) fn parse(text: &str) -> Result<RuleSet, Error> {
    let placed = |Fault { at, key, fault }| {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
        Error::Document { line: before.matches('\n').count() + 1, column, key, fault }
    };
    if text.len() > TEXT_BYTES_MAX {
        let fault = RuleFault::TooMany { what: "bytes", limit: TEXT_BYTES_MAX };
        return Err(placed(Fault { at: 0, key: "document".into(), fault }));
    }
    let table = DeTable::parse(text).map_err(|error| {
        let fault = RuleFault::Syntax { detail: error.message().to_owned() };
        placed(Fault { at: error.span().map_or(0, |span| span.start), key: "document".into(), fault })
    })?;
    read(table.get_ref()).map_err(placed)
}

fn fail<T>(at: usize, key: &str, fault: RuleFault) -> Result<T, Fault> {
    Err(Fault { at, key: key.to_owned(), fault })
}

fn read(table: &DeTable<'_>) -> Result<RuleSet, Fault> {
    const KEYS: &[&str] = &["version", "zone", "groups", "door_groups", "schedules", "rule"];
    only(table, KEYS, "version, zone, groups, door_groups, schedules, rule")?;
    match table.get("version") {
        None => return fail(0, "version", RuleFault::Missing { what: "version = 1" }),
        Some(version) => match version.get_ref() {
            DeValue::Integer(number) if number.as_str() == "1" => {}
            other => {
                let found = other.as_integer().map_or_else(|| other.type_str().into(), |number| number.as_str().into());
                return fail(version.span().start, "version", RuleFault::Version { found });
            }
        },
    }
    let mut set = RuleSet::default();
    if let Some(value) = table.get("zone") {
        set.zone = zone(value, "zone")?;
    }
    set.groups = groups(table, "groups")?;
    set.door_groups = groups(table, "door_groups")?;
    if let Some(value) = table.get("schedules") {
        for (name, value) in as_table(value, "schedules")? {
            let (name, key) = (name.get_ref().as_ref(), format!("schedules.{}", name.get_ref()));
            set.schedules.insert(name.to_owned(), schedule(value, &key, &set.zone)?);
        }
    }
    if let Some(value) = table.get("rule") {
        let Some(rules) = value.get_ref().as_array() else {
            return fail(value.span().start, "rule", RuleFault::Expected { expected: "[[rule]]" });
        };
        let mut names = BTreeSet::new();
        for value in rules.iter() {
            let rule = rule(value, &set)?;
            if !names.insert(rule.name.clone()) {
                let fault = RuleFault::Twice { name: rule.name.to_string() };
                return fail(value.span().start, "rule", fault);
            }
            set.rules.push(rule);
        }
    }
    Ok(set)
}

fn only(table: &DeTable<'_>, keys: &[&str], known: &'static str) -> Result<(), Fault> {
    match table.keys().find(|key| !keys.contains(&key.get_ref().as_ref())) {
        Some(key) => fail(key.span().start, key.get_ref(), RuleFault::UnknownKey { known }),
        None => Ok(()),
    }
}

fn as_table<'a, 'i>(value: &'a Value<'i>, key: &str) -> Result<&'a DeTable<'i>, Fault> {
    match value.get_ref().as_table() {
        Some(table) => Ok(table),
        None => fail(value.span().start, key, RuleFault::Expected { expected: "a table" }),
    }
}

fn as_text<'a>(value: &'a Value<'_>, key: &str) -> Result<&'a str, Fault> {
    match value.get_ref().as_str() {
        Some(text) => Ok(text),
        None => fail(value.span().start, key, RuleFault::Expected { expected: "a text in quotes" }),
    }
}

/// The texts of an array, each with its place.
fn as_texts<'a>(value: &'a Value<'_>, key: &str) -> Result<Vec<(usize, &'a str)>, Fault> {
    let Some(array) = value.get_ref().as_array() else {
        return fail(value.span().start, key, RuleFault::Expected { expected: "a list of texts: [\"a\", \"b\"]" });
    };
    array.iter().map(|item| Ok((item.span().start, as_text(item, key)?))).collect()
}

fn name(at: usize, key: &str, text: &str) -> Result<Name, Fault> {
    Name::new(text).or_else(|error| fail(at, key, error.into()))
}

fn zone(value: &Value<'_>, key: &str) -> Result<Zone, Fault> {
    Zone::named(as_text(value, key)?).or_else(|fault| fail(value.span().start, key, fault))
}

fn groups(table: &DeTable<'_>, key: &str) -> Result<BTreeMap<Name, BTreeSet<Name>>, Fault> {
    let mut groups = BTreeMap::new();
    let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
    let Some(value) = table.get(key) else { return Ok(groups) };
    for (group, members) in as_table(value, key)? {
        let full_key = format!("{key}.{}", group.get_ref());
        let group = name(group.span().start, &full_key, group.get_ref())?;
        let mut names = BTreeSet::new();
        for (at, text) in as_texts(members, &full_key)? {
            let member = name(at, &full_key, text)?;
            let count = counts.entry(member.clone()).or_default();
            *count += 1;
            if *count > GROUPS_EACH_MAX {
                let fault = RuleFault::TooMany { what: "groups with the same member", limit: GROUPS_EACH_MAX };
                return fail(at, &full_key, fault);
            }
            if !names.insert(member) {
                return fail(at, &full_key, RuleFault::Twice { name: text.to_owned() });
            }
        }
        groups.insert(group, names);
    }
    Ok(groups)
}

fn schedule(value: &Value<'_>, key: &str, default_zone: &Zone) -> Result<Schedule, Fault> {
    let mut own_zone = default_zone.clone();
    let mut intervals = value;
    if let Some(table) = value.get_ref().as_table() {
        only(table, &["zone", "weekly"], "zone, weekly")?;
        if let Some(value) = table.get("zone") {
            own_zone = zone(value, key)?;
        }
        let Some(weekly) = table.get("weekly") else {
            return fail(value.span().start, key, RuleFault::Missing { what: "weekly" });
        };
        intervals = weekly;
    }
    let texts = as_texts(intervals, key)?;
    for (at, text) in &texts {
        Weekly::parse([*text]).or_else(|fault| fail(*at, key, fault))?;
    }
    let weekly = Weekly::parse(texts.into_iter().map(|(_, text)| text));
    Ok(Schedule { zone: own_zone, weekly: weekly.or_else(|fault| fail(intervals.span().start, key, fault))? })
}

fn rule(value: &Value<'_>, set: &RuleSet) -> Result<Rule, Fault> {
    const KEYS: &[&str] = &["name", "permit", "forbid", "doors", "by", "during", "from", "until"];
    let table = as_table(value, "rule")?;
    only(table, KEYS, "name, permit, forbid, doors, by, during, from, until")?;
    let start = value.span().start;
    let Some(name_value) = table.get("name") else {
        return fail(start, "rule", RuleFault::Missing { what: "the rule's name" });
    };
    let rule_name = name(name_value.span().start, "rule.name", as_text(name_value, "rule.name")?)?;
    let key = |part: &str| format!("rule {rule_name}, {part}");
    let (effect, who) = match (table.get("permit"), table.get("forbid")) {
        (Some(who), None) => (Effect::Permit, subjects(who, &key("permit"))?),
        (None, Some(who)) => (Effect::Forbid, subjects(who, &key("forbid"))?),
        (None, None) => return fail(start, &key("permit"), RuleFault::Missing { what: "permit or forbid" }),
        (Some(_), Some(both)) => {
            let fault = RuleFault::Expected { expected: "either permit or forbid, not both," };
            return fail(both.span().start, &key("forbid"), fault);
        }
    };
    let Some(doors) = table.get("doors") else {
        return fail(start, &key("doors"), RuleFault::Missing { what: "doors (\"any\" means every door)" });
    };
    let by = match table.get("by") {
        Some(by) => kinds(by, &key("by"))?,
        None if effect == Effect::Permit => Kinds::USUAL,
        None => Kinds::ALL,
    };
    let moment = |part: &str| table.get(part).map(|value| moment(value, &key(part), &set.zone)).transpose();
    let during = table.get("during").map(|value| as_text(value, &key("during"))).transpose()?.map(str::to_owned);
    let doors_read = door_sets(doors, &key("doors"))?;
    let (from, until) = (moment("from")?, moment("until")?);
    let rule = Rule { name: rule_name.clone(), effect, who, doors: doors_read, by, during, from, until };
    set.check(&rule).or_else(|fault| {
        // The check knows rules, not places: point at the key that it speaks of.
        let part = match &fault {
            RuleFault::UnknownSchedule { .. } => "during",
            RuleFault::EmptyPeriod => "until",
            RuleFault::UnknownGroup { name }
                if rule.doors.contains(&DoorSet::Group(name.clone())) && !set.door_groups.contains_key(name) =>
            {
                "doors"
            }
            RuleFault::UnknownGroup { .. } if effect == Effect::Permit => "permit",
            RuleFault::UnknownGroup { .. } => "forbid",
            _ => "name",
        };
        fail(table.get(part).map_or(start, |value| value.span().start), &key(part), fault)
    })?;
    Ok(rule)
}

/// The items of a list in which an empty one would be a rule that never applies: a mistake.
fn some_texts<'a>(value: &'a Value<'_>, key: &str) -> Result<Vec<(usize, &'a str)>, Fault> {
    let texts = as_texts(value, key)?;
    if texts.is_empty() {
        return fail(value.span().start, key, RuleFault::Expected { expected: "at least one" });
    }
    if texts.len() > RULE_PARTS_MAX {
        let fault = RuleFault::TooMany { what: "subjects or doors in one rule", limit: RULE_PARTS_MAX };
        return fail(value.span().start, key, fault);
    }
    Ok(texts)
}

fn subjects(value: &Value<'_>, key: &str) -> Result<Vec<Subject>, Fault> {
    let read = |(at, text): (usize, &str)| match (text, text.strip_prefix("group:")) {
        ("anyone", _) => Ok(Subject::Anyone),
        (_, Some(group)) => name(at, key, group).map(Subject::Group),
        (person, None) => name(at, key, person).map(Subject::Person),
    };
    some_texts(value, key)?.into_iter().map(read).collect()
}

fn door_sets(value: &Value<'_>, key: &str) -> Result<Vec<DoorSet>, Fault> {
    let read = |(at, text): (usize, &str)| match (text, text.strip_prefix("group:")) {
        ("any", _) => Ok(DoorSet::Any),
        (_, Some(group)) => name(at, key, group).map(DoorSet::Group),
        (door, None) => name(at, key, door).map(DoorSet::Door),
    };
    some_texts(value, key)?.into_iter().map(read).collect()
}

fn kinds(value: &Value<'_>, key: &str) -> Result<Kinds, Fault> {
    let read = |(at, text): (usize, &str)| match CredentialKind::from_code(text) {
        Some(kind) => Ok(kind),
        None => fail(at, key, RuleFault::UnknownKind { kind: text.chars().take(64).collect() }),
    };
    some_texts(value, key)?.into_iter().map(read).collect()
}

/// A date or time as TOML's own type or as a text.
fn moment(value: &Value<'_>, key: &str, zone: &Zone) -> Result<WallTime, Fault> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
        _ => return fail(value.span().start, key, RuleFault::Expected { expected: "a date, such as 2026-11-21," }),
    };
    zone.instant(&text).or_else(|fault| fail(value.span().start, key, fault))
}
