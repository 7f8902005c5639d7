//! The rule document: TOML, version 1, as [`RuleSet::parse`] shows it. Refused whole, with line, column and key.
//!
//! **Never:** a key that is silently ignored, a default that opens something.

use std::collections::{BTreeMap, BTreeSet};

use godvision_core::{Name, WallTime};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{ANY_DOOR, ANYONE, Word};
use super::schema::{self, Record, schema};
use super::{
    By, CALENDARS_MAX, DoorSet, Effect, GROUPS_EACH_MAX, Kinds, RULE_PARTS_MAX, Rule, RuleSet, SCHEDULES_MAX, Subject,
    TEXT_BYTES_MAX,
};
use crate::error::{Error, RuleFault};
use crate::schedule::{Calendar, Calendars, Hours, Schedule, Weekly, Zone};

/// What is wrong, at which byte, about which key.
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) key: String,
    pub(crate) fault: RuleFault,
}

pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// Reads the rules, and hands the same document to `read_more`, which reads the tables that are not about rules: so
/// one document describes a site, is refused as one, and every error has its place. Any other table is an error.
pub(crate) fn parse_with<T>(
    text: &str,
    read_more: impl FnOnce(&DeTable<'_>, &RuleSet) -> Result<T, Fault>,
) -> Result<(RuleSet, T), Error> {
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
    let set = read(table.get_ref()).map_err(placed)?;
    let more = read_more(table.get_ref(), &set).map_err(placed)?;
    Ok((set, more))
}

pub(crate) fn fail<T>(at: usize, key: &str, fault: RuleFault) -> Result<T, Fault> {
    Err(Fault { at, key: key.to_owned(), fault })
}

fn read(table: &DeTable<'_>) -> Result<RuleSet, Fault> {
    let ours = || schema().iter().map(|record| record.table).filter(|table| !table.is_empty());
    let is_known = |key: &str| schema::TOP.has(key) || ours().any(|it| it == key);
    if let Some(key) = table.keys().find(|key| !is_known(key.get_ref())) {
        let tables = ours().collect::<Vec<_>>().join(", ");
        let known = format!("{}, {tables}", schema::TOP.keys());
        return fail(key.span().start, key.get_ref(), RuleFault::UnknownKey { known });
    }
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
    set.groups = groups(table, "groups", ANYONE)?;
    set.door_groups = groups(table, "door_groups", ANY_DOOR)?;
    set.holidays = calendars(table, schema::HOLIDAYS.table)?;
    if let Some(value) = table.get("schedules") {
        for (name, value) in as_table(value, "schedules")? {
            let (name, key) = (name.get_ref().as_ref(), format!("schedules.{}", name.get_ref()));
            if set.schedules.len() == SCHEDULES_MAX {
                let fault = RuleFault::TooMany { what: "schedules", limit: SCHEDULES_MAX };
                return fail(value.span().start, &key, fault);
            }
            let schedule = schedule(value, &key, &set)?;
            set.check_schedule(&schedule).or_else(|fault| {
                let holidays = value.get_ref().as_table().and_then(|table| table.get("holidays"));
                fail(holidays.unwrap_or(value).span().start, &format!("{key}, holidays"), fault)
            })?;
            set.schedules.insert(name.to_owned(), schedule);
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

/// Refuses keys that the record does not have.
pub(crate) fn only(table: &DeTable<'_>, record: &Record) -> Result<(), Fault> {
    match table.keys().find(|key| !record.has(key.get_ref())) {
        Some(key) => fail(key.span().start, key.get_ref(), RuleFault::UnknownKey { known: record.keys() }),
        None => Ok(()),
    }
}

pub(crate) fn as_table<'a, 'i>(value: &'a Value<'i>, key: &str) -> Result<&'a DeTable<'i>, Fault> {
    match value.get_ref().as_table() {
        Some(table) => Ok(table),
        None => fail(value.span().start, key, RuleFault::Expected { expected: "a table" }),
    }
}

pub(crate) fn as_text<'a>(value: &'a Value<'_>, key: &str) -> Result<&'a str, Fault> {
    match value.get_ref().as_str() {
        Some(text) => Ok(text),
        None => fail(value.span().start, key, RuleFault::Expected { expected: "a text in quotes" }),
    }
}

/// The texts of an array, each with its place.
pub(crate) fn as_texts<'a>(value: &'a Value<'_>, key: &str) -> Result<Vec<(usize, &'a str)>, Fault> {
    let Some(array) = value.get_ref().as_array() else {
        return fail(value.span().start, key, RuleFault::Expected { expected: "a list of texts: [\"a\", \"b\"]" });
    };
    array.iter().map(|item| Ok((item.span().start, as_text(item, key)?))).collect()
}

pub(crate) fn name(at: usize, key: &str, text: &str) -> Result<Name, Fault> {
    Name::new(text).or_else(|error| fail(at, key, error.into()))
}

fn zone(value: &Value<'_>, key: &str) -> Result<Zone, Fault> {
    Zone::named(as_text(value, key)?).or_else(|fault| fail(value.span().start, key, fault))
}

fn groups(table: &DeTable<'_>, key: &str, all: Word) -> Result<BTreeMap<Name, BTreeSet<Name>>, Fault> {
    let mut groups = BTreeMap::new();
    let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
    let Some(value) = table.get(key) else { return Ok(groups) };
    for (group, members) in as_table(value, key)? {
        let full_key = format!("{key}.{}", group.get_ref());
        let group = name(group.span().start, &full_key, group.get_ref())?;
        let mut names = BTreeSet::new();
        for (at, text) in as_texts(members, &full_key)? {
            let member = name(at, &full_key, text)?;
            all.is_not(&member).or_else(|fault| fail(at, &full_key, fault))?;
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

fn calendars(table: &DeTable<'_>, key: &str) -> Result<Calendars, Fault> {
    let mut calendars = Calendars::new();
    let Some(value) = table.get(key) else { return Ok(calendars) };
    for (own_name, dates) in as_table(value, key)? {
        let full_key = format!("{key}.{}", own_name.get_ref());
        let own_name = name(own_name.span().start, &full_key, own_name.get_ref())?;
        if calendars.len() == CALENDARS_MAX {
            let fault = RuleFault::TooMany { what: "calendars", limit: CALENDARS_MAX };
            return fail(dates.span().start, &full_key, fault);
        }
        let Some(items) = dates.get_ref().as_array() else {
            let expected = "a list of days: [\"2026-12-24\", \"12-25\"]";
            return fail(dates.span().start, &full_key, RuleFault::Expected { expected });
        };
        let mut calendar = Calendar::default();
        for item in items.iter() {
            // A date may stand there without quotes too.
            let text = match item.get_ref() {
                DeValue::Datetime(date) => date.to_string(),
                _ => as_text(item, &full_key)?.to_owned(),
            };
            calendar.add(&text).or_else(|fault| fail(item.span().start, &full_key, fault))?;
        }
        calendars.insert(own_name, calendar);
    }
    Ok(calendars)
}

fn schedule(value: &Value<'_>, key: &str, set: &RuleSet) -> Result<Schedule, Fault> {
    let mut schedule = Schedule::weekly(set.zone.clone(), Weekly::default());
    let mut intervals = value;
    if let Some(table) = value.get_ref().as_table() {
        only(table, &schema::SCHEDULES)?;
        if let Some(value) = table.get("zone") {
            schedule.zone = zone(value, key)?;
        }
        if let Some(value) = table.get("holidays") {
            schedule.holidays = holiday_hours(value, &format!("{key}, holidays"))?;
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
    schedule.weekly = weekly.or_else(|fault| fail(intervals.span().start, key, fault))?;
    Ok(schedule)
}

/// `public none`, `eves 08:00-12:00`.
fn holiday_hours(value: &Value<'_>, key: &str) -> Result<Vec<(Name, Hours)>, Fault> {
    let read = |(at, text): (usize, &str)| {
        let Some((calendar, hours)) = text.split_once(' ') else {
            let expected = "a calendar, a space, and hours or none: \"public none\", \"eves 08:00-12:00\"";
            return fail(at, key, RuleFault::Expected { expected });
        };
        let hours = Hours::parse(hours.trim()).or_else(|fault| fail(at, key, fault))?;
        Ok((name(at, key, calendar)?, hours))
    };
    as_texts(value, key)?.into_iter().map(read).collect()
}

fn rule(value: &Value<'_>, set: &RuleSet) -> Result<Rule, Fault> {
    let table = as_table(value, "rule")?;
    only(table, &schema::RULE)?;
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
        Some(by) => alternatives(by, &key("by"))?,
        None if effect == Effect::Permit => By::USUAL,
        None => By::ANYTHING,
    };
    let moment = |part: &str| table.get(part).map(|value| moment(value, &key(part), &set.zone)).transpose();
    let during = table.get("during").map(|value| as_text(value, &key("during"))).transpose()?.map(str::to_owned);
    let doors_read = door_sets(doors, &key("doors"))?;
    let (from, until) = (moment("from")?, moment("until")?);
    let priority = table.get("priority").map(|value| priority(value, &key("priority"))).transpose()?.unwrap_or(0);
    let rule = Rule { name: rule_name.clone(), effect, who, doors: doors_read, by, priority, during, from, until };
    set.check(&rule).or_else(|fault| {
        // The check knows rules, not places: point at the key that it speaks of.
        let part = match &fault {
            RuleFault::UnknownSchedule { .. } => "during",
            RuleFault::EmptyPeriod => "until",
            RuleFault::Expected { .. } => "priority",
            RuleFault::UnknownGroup { name, .. }
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
        (all, _) if all == ANYONE.text => Ok(Subject::Anyone),
        (_, Some(group)) => name(at, key, group).map(Subject::Group),
        (person, None) => name(at, key, person).map(Subject::Person),
    };
    some_texts(value, key)?.into_iter().map(read).collect()
}

fn door_sets(value: &Value<'_>, key: &str) -> Result<Vec<DoorSet>, Fault> {
    let read = |(at, text): (usize, &str)| match (text, text.strip_prefix("group:")) {
        (all, _) if all == ANY_DOOR.text => Ok(DoorSet::Any),
        (_, Some(group)) => name(at, key, group).map(DoorSet::Group),
        (door, None) => name(at, key, door).map(DoorSet::Door),
    };
    some_texts(value, key)?.into_iter().map(read).collect()
}

fn alternatives(value: &Value<'_>, key: &str) -> Result<By, Fault> {
    some_texts(value, key)?.into_iter().try_fold(By::default(), |by, (at, text)| {
        let found = Kinds::from_code(text).and_then(|kinds| by.or(kinds));
        found.map_or_else(|| fail(at, key, RuleFault::UnknownKind { kind: text.chars().take(64).collect() }), Ok)
    })
}

fn priority(value: &Value<'_>, key: &str) -> Result<i32, Fault> {
    let number =
        value.get_ref().as_integer().and_then(|number| i32::from_str_radix(number.as_str(), number.radix()).ok());
    // Whether it is in its range is checked with the rest of the rule.
    number.map_or_else(|| fail(value.span().start, key, RuleFault::Expected { expected: "a whole number" }), Ok)
}

/// A date or time as TOML's own type or as a text.
pub(crate) fn moment(value: &Value<'_>, key: &str, zone: &Zone) -> Result<WallTime, Fault> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
        _ => return fail(value.span().start, key, RuleFault::Expected { expected: "a date, such as 2026-11-21," }),
    };
    zone.instant(&text).or_else(|fault| fail(value.span().start, key, fault))
}
