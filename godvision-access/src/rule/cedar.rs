//! The rules in the language of Cedar (docs.cedarpolicy.com), whose semantics are the same: a prohibition wins, what
//! nothing permits is refused. For audits by Cedar's own tools, and the oracle of our tests.
//!
//! A rule becomes a policy `@id("its name")`. What a clock says comes in the request's context, since Cedar has none:
//! ```text
//! context.unix_micros                                 the moment
//! context.presented                                   a set of kinds: "card", "pin"
//! context.clock["Europe/Berlin"].minute_of_week       what clocks show, for every zone that a schedule names
//! context.clock["Europe/Berlin"].minute               minute of the day
//! context.clock["Europe/Berlin"].today, .yesterday    the calendars that have the day
//! ```
//! **Never:** reasons and priorities: Cedar says allow or deny and which policies decided, not which of them is named.

use std::fmt::Write;

use godvision_core::Name;

use super::{DoorSet, Effect, Question, Rule, RuleSet, Subject};
use crate::schedule::{Hours, MINUTES_A_DAY, MINUTES_A_WEEK, PLAUSIBLE_FROM_S, PLAUSIBLE_UNTIL_S, Schedule};

/// What [`RuleSet::to_cedar`] writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CedarExport {
    /// Policies, in Cedar's language.
    pub policies: String,
    /// Persons, doors and their groups, in Cedar's JSON form of entities.
    pub entities: String,
}

/// A question in Cedar's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CedarRequest {
    /// `Person::"ada"`; `Nobody::"nobody"` where the credential is nobody's of the directory.
    pub principal: String,
    /// `Action::"open"`.
    pub action: String,
    /// `Door::"yard/door"`.
    pub resource: String,
    /// The context, as a JSON object.
    pub context: String,
}

pub(super) fn export(set: &RuleSet) -> CedarExport {
    let (from, until) = (PLAUSIBLE_FROM_S * 1_000_000, PLAUSIBLE_UNTIL_S * 1_000_000);
    // No rule has a name with spaces.
    let mut policies = format!(
        "@id(\"the clock was never set\")\nforbid (principal, action, resource)\n\
         unless {{ context.unix_micros >= {from} && context.unix_micros < {until} }};\n"
    );
    for rule in &set.rules {
        policies += &policy(set, rule);
    }
    let mut entities = Vec::new();
    for (groups, member_type, group_type) in [(&set.groups, "Person", "Group"), (&set.door_groups, "Door", "DoorGroup")]
    {
        let members: std::collections::BTreeSet<&Name> = groups.values().flatten().collect();
        for member in members {
            let parents =
                groups.iter().filter(|(_, members)| members.contains(member)).map(|(group, _)| uid(group_type, group));
            let parents = parents.collect::<Vec<_>>().join(", ");
            entities
                .push(format!("{{\"uid\": {}, \"attrs\": {{}}, \"parents\": [{parents}]}}", uid(member_type, member)));
        }
        for group in groups.keys() {
            entities.push(format!("{{\"uid\": {}, \"attrs\": {{}}, \"parents\": []}}", uid(group_type, group)));
        }
    }
    CedarExport { policies, entities: format!("[\n{}\n]\n", entities.join(",\n")) }
}

// Names hold letters, digits, '-', '_', '.' and '/' only, so they need no escapes, here and below.
fn uid(kind: &str, name: &Name) -> String {
    format!("{{\"type\": \"{kind}\", \"id\": \"{name}\"}}")
}

pub(super) fn request(set: &RuleSet, question: &Question<'_>) -> Option<CedarRequest> {
    let quoted =
        |items: Vec<String>| items.into_iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ");
    let mut clocks: Vec<String> = Vec::new();
    let mut zones: Vec<_> = set.schedules.values().map(|schedule| &schedule.zone).collect();
    zones.sort_by_key(ToString::to_string);
    zones.dedup();
    for zone in zones {
        let local = zone.local(question.at)?;
        let having = |date| {
            quoted(
                set.holidays
                    .iter()
                    .filter(|(_, calendar)| calendar.has(date))
                    .map(|(name, _)| name.to_string())
                    .collect(),
            )
        };
        clocks.push(format!(
            "\"{zone}\": {{\"minute_of_week\": {}, \"minute\": {}, \"today\": [{}], \"yesterday\": [{}]}}",
            local.minute_of_week().get(),
            local.minute,
            having(local.date),
            having(local.date.plus_days(-1)),
        ));
    }
    Some(CedarRequest {
        principal: question
            .person
            .map_or_else(|| "Nobody::\"nobody\"".to_owned(), |name| format!("Person::\"{name}\"")),
        action: "Action::\"open\"".to_owned(),
        resource: format!("Door::\"{}\"", question.door),
        context: format!(
            "{{\"unix_micros\": {}, \"presented\": [{}], \"clock\": {{{}}}}}",
            question.at.as_unix_micros(),
            quoted(question.presented.iter().map(|kind| kind.code().to_owned()).collect()),
            clocks.join(", ")
        ),
    })
}

fn policy(set: &RuleSet, rule: &Rule) -> String {
    let mut conditions = vec![by(rule)];
    // What one name says goes into the head of the policy, by which Cedar's tools find their way; more goes below it.
    let subjects: Vec<String> = rule.who.iter().map(subject).collect();
    let doors: Vec<String> = rule.doors.iter().map(door).collect();
    let mut head = |alternatives: Vec<String>, variable: &str| match alternatives.as_slice() {
        [one] if one == "true" => variable.to_owned(),
        [one] => one.clone(),
        many => {
            conditions.push(any(many));
            variable.to_owned()
        }
    };
    let (principal, resource) = (head(subjects, "principal"), head(doors, "resource"));
    conditions.extend(rule.from.map(|from| format!("context.unix_micros >= {}", from.as_unix_micros())));
    conditions.extend(rule.until.map(|until| format!("context.unix_micros < {}", until.as_unix_micros())));
    if let Some(name) = &rule.during {
        conditions.push(set.schedules.get(name).map_or_else(|| "false".to_owned(), schedule));
    }
    let effect = if rule.effect == Effect::Permit { "permit" } else { "forbid" };
    let mut text =
        format!("\n@id(\"{}\")\n{effect} ({principal}, action == Action::\"open\", {resource})\nwhen {{\n", rule.name);
    let _ = writeln!(text, "    {}\n}};", conditions.join(" &&\n    "));
    text
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Person(name) => format!("principal == Person::\"{name}\""),
        Subject::Group(name) => format!("principal in Group::\"{name}\""),
        Subject::Anyone => "true".to_owned(),
    }
}

fn door(doors: &DoorSet) -> String {
    match doors {
        DoorSet::Door(name) => format!("resource == Door::\"{name}\""),
        DoorSet::Group(name) => format!("resource in DoorGroup::\"{name}\""),
        DoorSet::Any => "true".to_owned(),
    }
}

fn by(rule: &Rule) -> String {
    let alternatives: Vec<String> = (rule.by.alternatives())
        .map(|kinds| {
            let codes: Vec<String> = kinds.iter().map(|kind| format!("\"{}\"", kind.code())).collect();
            format!("context.presented.containsAll([{}])", codes.join(", "))
        })
        .collect();
    any(&alternatives)
}

fn any(alternatives: &[String]) -> String {
    if alternatives.is_empty() { "false".to_owned() } else { format!("({})", alternatives.join(" || ")) }
}

fn schedule(schedule: &Schedule) -> String {
    let clock = format!("context.clock[\"{}\"]", schedule.zone);
    let of_week = |from: u16, to: u16| format!("({clock}.minute_of_week >= {from} && {clock}.minute_of_week < {to})");
    let of_day = |from: u16, to: u16| format!("({clock}.minute >= {from} && {clock}.minute < {to})");
    // What begins today, up to midnight; and what is left of what began yesterday.
    let (mut today, mut yesterday) = (Vec::new(), Vec::new());
    for day in 0..7u8 {
        let midnight = u16::from(day) * MINUTES_A_DAY;
        for (start, length) in schedule.weekly.on(day).spans() {
            today.push(of_week(midnight + start, midnight + (start + length).min(MINUTES_A_DAY)));
            let next = (midnight + MINUTES_A_DAY) % MINUTES_A_WEEK;
            yesterday.extend(
                (start + length).checked_sub(MINUTES_A_DAY).filter(|it| *it > 0).map(|it| of_week(next, next + it)),
            );
        }
    }
    let begins = |hours: &Hours| -> Vec<String> {
        hours.spans().iter().map(|(start, length)| of_day(*start, (start + length).min(MINUTES_A_DAY))).collect()
    };
    let reaches = |hours: &Hours| -> Vec<String> {
        let ends = hours.spans().iter().filter_map(|(start, length)| (start + length).checked_sub(MINUTES_A_DAY));
        ends.filter(|end| *end > 0).map(|end| of_day(0, end)).collect()
    };
    let (mut today, mut yesterday) = (any(&today), any(&yesterday));
    // The first calendar that has the day counts, so it is asked first: wrap from the last one on.
    for (calendar, hours) in schedule.holidays.iter().rev() {
        today = format!("(if {clock}.today.contains(\"{calendar}\") then {} else {today})", any(&begins(hours)));
        yesterday =
            format!("(if {clock}.yesterday.contains(\"{calendar}\") then {} else {yesterday})", any(&reaches(hours)));
    }
    format!("({today} || {yesterday})")
}
