//! The rule document written: one form for equal sets, one line a thing, so that two versions can be laid side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use godvision_core::{Name, WallTime};

use super::check::{ANY_DOOR, ANYONE};
use super::{By, DoorSet, Effect, Rule, RuleSet, Subject};
use crate::schedule::{Local, Schedule, Zone};

pub(super) fn to_text(set: &RuleSet) -> String {
    let mut text = String::new();
    // Writing into a String does not fail.
    let _ = document(&mut text, set);
    text
}

fn document(out: &mut String, set: &RuleSet) -> fmt::Result {
    writeln!(out, "version = 1\nzone = {}", quoted(&set.zone.to_string()))?;
    groups(out, "groups", &set.groups)?;
    groups(out, "door_groups", &set.door_groups)?;
    if !set.holidays.is_empty() {
        out.write_str("\n[holidays]\n")?;
        for (name, calendar) in &set.holidays {
            writeln!(out, "{} = {}", key(name.as_str()), list(calendar.texts()))?;
        }
    }
    if !set.schedules.is_empty() {
        out.write_str("\n[schedules]\n")?;
        for (name, schedule) in &set.schedules {
            writeln!(out, "{} = {}", key(name), schedule_text(schedule, &set.zone))?;
        }
    }
    crate::premises::text::write(out, &set.layout)?;
    set.rules.iter().try_for_each(|rule| rule_text(out, rule, &set.zone))
}

fn groups(out: &mut String, table: &str, groups: &BTreeMap<Name, BTreeSet<Name>>) -> fmt::Result {
    if groups.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n[{table}]")?;
    groups.iter().try_for_each(|(name, members)| writeln!(out, "{} = {}", key(name.as_str()), list(members)))
}

pub(super) fn schedule_text(schedule: &Schedule, default_zone: &Zone) -> String {
    let weekly = list(schedule.weekly.texts());
    if schedule.zone == *default_zone && schedule.holidays.is_empty() {
        return weekly;
    }
    let mut text = format!("{{ weekly = {weekly}");
    if schedule.zone != *default_zone {
        text += &format!(", zone = {}", quoted(&schedule.zone.to_string()));
    }
    if !schedule.holidays.is_empty() {
        let hours = schedule.holidays.iter().map(|(calendar, hours)| format!("{calendar} {hours}"));
        text += &format!(", holidays = {}", list(hours));
    }
    text + " }"
}

fn rule_text(out: &mut String, rule: &Rule, zone: &Zone) -> fmt::Result {
    writeln!(out, "\n[[rule]]")?;
    fields(rule, zone).into_iter().try_for_each(|(key, value)| writeln!(out, "{key} = {value}"))
}

/// The keys of a rule that are written, in the order of the schema, each with its value.
pub(super) fn fields(rule: &Rule, zone: &Zone) -> Vec<(&'static str, String)> {
    let (effect, usual) = match rule.effect {
        Effect::Permit => ("permit", By::USUAL),
        Effect::Forbid => ("forbid", By::ANYTHING),
    };
    let mut fields = vec![
        ("name", quoted(rule.name.as_str())),
        (effect, list(rule.who.iter().map(subject))),
        ("doors", list(rule.doors.iter().map(door_set))),
    ];
    if rule.by != usual {
        fields.push(("by", list(rule.by.alternatives())));
    }
    fields.extend(rule.during.as_deref().map(|during| ("during", quoted(during))));
    fields.extend(rule.from.map(|from| ("from", moment(from, zone))));
    fields.extend(rule.until.map(|until| ("until", moment(until, zone))));
    if rule.priority != 0 {
        fields.push(("priority", rule.priority.to_string()));
    }
    fields
}

pub(super) fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Person(name) => name.to_string(),
        Subject::Group(name) => format!("group:{name}"),
        Subject::Anyone => ANYONE.text.to_owned(),
    }
}

pub(super) fn door_set(doors: &DoorSet) -> String {
    match doors {
        DoorSet::Door(name) => name.to_string(),
        DoorSet::Group(name) => format!("group:{name}"),
        DoorSet::Any => ANY_DOOR.text.to_owned(),
    }
}

/// A local date, or a local date and time, where that names this very moment; else UTC. In quotes where TOML has no such
/// date (years that are not of four digits); what no calendar has becomes the first or last moment of one.
fn moment(at: WallTime, zone: &Zone) -> String {
    let whole_minute = at.as_unix_micros().rem_euclid(60_000_000) == 0;
    if let Some(Local { date, minute }) = zone.local(at).filter(|_| whole_minute) {
        let time = format!("{date}T{:02}:{:02}:00", minute / 60, minute % 60);
        if let Some(text) =
            [date.to_string(), time].into_iter().find(|text| is_toml(text) && zone.instant(text) == Ok(at))
        {
            return text;
        }
    }
    let (first, last) = (jiff::Timestamp::MIN.as_microsecond(), jiff::Timestamp::MAX.as_microsecond());
    let within = at.as_unix_micros().clamp(first, last);
    let text = jiff::Timestamp::from_microsecond(within).map(|at| at.to_string()).unwrap_or_default();
    if is_toml(&text) { text } else { quoted(&text) }
}

/// Whether the year has four digits and is not the year 0, which not every reader of TOML knows.
fn is_toml(text: &str) -> bool {
    text.split('-').next().is_some_and(|year| year.len() == 4 && year != "0000")
}

pub(crate) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// A key: bare where TOML allows it.
pub(crate) fn key(text: &str) -> String {
    let is_bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_bare { text.to_owned() } else { quoted(text) }
}

pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            // Controls, and what some editors take for the end of a line.
            control if control.is_control() => quoted += &format!("\\U{:08X}", u32::from(control)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
