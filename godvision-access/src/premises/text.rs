//! Areas, doors, interlocks and lockout in the rule document: described, read, written.
//!
//! ```toml
//! [areas]
//! lab = { anti_passback = "hard", occupancy_max = 4 }
//! [doors]
//! "lab/door" = { into = "lab", exit_sources = ["lab/inner-reader"], held_after = "20s" }
//! [interlocks]
//! mantrap = ["lab/door", "lab/vault"]
//! [lockout]
//! failures = 5
//! ```
//!
//! **Never:** a key that is silently ignored.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use godvision_core::Name;
use jiff::SignedDuration;
use toml::de::{DeTable, DeValue};

use super::layout::{AreaPlan, DoorPlan, Escort, FirstCard, Layout, LockoutPlan, PARTS_MAX, Passback, TIME_MAX};
use crate::error::RuleFault;
use crate::rule::RuleSet;
use crate::rule::check::ANY_DOOR;
use crate::rule::schema::{FieldKind, Record, Required, Shape, field};
use crate::rule::text::{Fault, Value, as_table, as_text, as_texts, fail, name, only};
use crate::rule::write::{key as quoted_key, list, quoted};

const PASSBACKS: &[&str] = &["off", "soft", "hard"];
const COUNT_MAX: i64 = 1_000_000;

pub(crate) const AREAS: Record = Record {
    table: "areas",
    title: "Areas",
    shape: Shape::NamedTables,
    about: "A space behind doors, in which people are counted.",
    fields: &[
        field(
            "anti_passback",
            FieldKind::Choice { of: PASSBACKS },
            Required::No,
            "Who is inside and comes again: \"off\" lets them, \"soft\" lets them with an alarm, \"hard\" refuses; off if left out.",
        ),
        field(
            "forget_after",
            FieldKind::Time,
            Required::No,
            "For how long it counts where somebody was last seen; 16h if left out. A short time is timed anti-passback.",
        ),
        field(
            "occupancy_max",
            FieldKind::Integer { min: 1, max: COUNT_MAX },
            Required::No,
            "Most persons inside; any number if left out.",
        ),
        field(
            "two_person",
            FieldKind::Flag,
            Required::No,
            "Nobody may be inside alone: two come and two leave together; false if left out.",
        ),
    ],
};

pub(crate) const DOORS: Record = Record {
    table: "doors",
    title: "Doors",
    shape: Shape::NamedTables,
    about: "How a door behaves beyond the rules.",
    fields: &[
        field("from", FieldKind::Area, Required::No, "The area before it; outside if left out."),
        field("into", FieldKind::Area, Required::No, "The area behind it."),
        field(
            "exit_sources",
            FieldKind::Sources,
            Required::No,
            "Readers and cameras on the inner side: whoever presents something there leaves.",
        ),
        field(
            "await_for",
            FieldKind::Time,
            Required::No,
            "How long a first credential, person or visitor waits for what is missing; 15s if left out.",
        ),
        field(
            "two_person",
            FieldKind::Flag,
            Required::No,
            "Two persons must present something, each time; false if left out.",
        ),
        field("escort_of", FieldKind::Group, Required::No, "A group that may not enter alone; needs escort_by."),
        field("escort_by", FieldKind::Group, Required::No, "The group that accompanies them; needs escort_of."),
        field(
            "first_card_during",
            FieldKind::Schedule,
            Required::No,
            "From the first admitted person on, the door is free for the rest of this schedule's interval.",
        ),
        field("first_card_by", FieldKind::Group, Required::No, "Whose first card counts; anybody's if left out."),
        field("free_during", FieldKind::Schedule, Required::No, "It is free during this schedule."),
        field("held_after", FieldKind::Time, Required::No, "How long it may stand open; 30s if left out."),
        field(
            "forced_alarm",
            FieldKind::Flag,
            Required::No,
            "Whether opening it without being unlocked is an alarm; true if left out. False where a handle inside opens it.",
        ),
        field(
            "relock",
            FieldKind::Flag,
            Required::No,
            "Whether it is locked as soon as it is shut after a passage; true if left out.",
        ),
        field(
            "exit_in_lockdown",
            FieldKind::Flag,
            Required::No,
            "Whether the exit button works in a lockdown; true if left out.",
        ),
        field(
            "lockdown_override",
            FieldKind::Group,
            Required::No,
            "Whose credentials open it in a lockdown; nobody's if left out.",
        ),
        field(
            "emergency_opens",
            FieldKind::Flag,
            Required::No,
            "Whether an emergency makes it free; true if left out.",
        ),
    ],
};

pub(crate) const INTERLOCKS: Record = Record {
    table: "interlocks",
    title: "Interlocks",
    shape: Shape::NamedLists,
    about: "Doors of which at most one is open.",
    fields: &[field("doors", FieldKind::Doors, Required::Yes, "Which doors.")],
};

pub(crate) const LOCKOUT: Record = Record {
    table: "lockout",
    title: "Guessing",
    shape: Shape::Table,
    about: "What becomes of whoever guesses PINs.",
    fields: &[
        field(
            "failures",
            FieldKind::Integer { min: 1, max: 1_000 },
            Required::No,
            "So many wrong PINs lock a reader out; 5 if left out.",
        ),
        field(
            "wait",
            FieldKind::Time,
            Required::No,
            "For how long at first, doubled by each further one; 30s if left out.",
        ),
        field("wait_max", FieldKind::Time, Required::No, "At most; 30min if left out."),
        field("forget_after", FieldKind::Time, Required::No, "Failures are forgotten after so long; 1h if left out."),
    ],
};

pub(crate) fn read(table: &DeTable<'_>, rules: &RuleSet) -> Result<Layout, Fault> {
    let mut layout = Layout::default();
    for (name, keys) in named(table, &AREAS)? {
        layout.areas.insert(name, area(&keys)?);
    }
    if let Some(value) = table.get(INTERLOCKS.table) {
        for (own, doors) in as_table(value, INTERLOCKS.table)? {
            let key = format!("interlocks.{}", own.get_ref());
            let own = name(own.span().start, &key, own.get_ref())?;
            // Every door that is ever free is looked for in all of them.
            if layout.interlocks.len() == PARTS_MAX {
                return fail(doors.span().start, &key, RuleFault::TooMany { what: "interlocks", limit: PARTS_MAX });
            }
            let mut names = std::collections::BTreeSet::new();
            for (at, text) in as_texts(doors, &key)? {
                let door = name(at, &key, text)?;
                ANY_DOOR.is_not(&door).or_else(|fault| fail(at, &key, fault))?;
                if !names.insert(door) {
                    return fail(at, &key, RuleFault::Twice { name: text.to_owned() });
                }
            }
            if !(2..=PARTS_MAX).contains(&names.len()) {
                return fail(doors.span().start, &key, RuleFault::Expected { expected: "at least two doors" });
            }
            layout.interlocks.insert(own, names);
        }
    }
    for (name, keys) in named(table, &DOORS)? {
        let door = door(&keys)?;
        layout.check_door(rules, &name, &door).or_else(|fault| {
            let part = keys.part_of(&fault);
            fail(part.map_or(keys.at, |value| value.span().start), &keys.key, fault)
        })?;
        layout.doors.insert(name, door);
    }
    if let Some(value) = table.get(LOCKOUT.table) {
        let keys =
            Keys { key: LOCKOUT.table.to_owned(), at: value.span().start, table: as_table(value, LOCKOUT.table)? };
        only(keys.table, &LOCKOUT)?;
        let usual = LockoutPlan::default();
        layout.lockout = LockoutPlan {
            failures: keys.count("failures", 1, 1_000)?.unwrap_or(usual.failures),
            wait: keys.time("wait")?.unwrap_or(usual.wait),
            wait_max: keys.time("wait_max")?.unwrap_or(usual.wait_max),
            forget_after: keys.time("forget_after")?.unwrap_or(usual.forget_after),
        };
    }
    Ok(layout)
}

fn area(keys: &Keys<'_, '_>) -> Result<AreaPlan, Fault> {
    let usual = AreaPlan::default();
    let passback = match keys.text("anti_passback")? {
        None => usual.passback,
        Some((at, text)) => match text {
            "off" => Passback::Off,
            "soft" => Passback::Soft,
            "hard" => Passback::Hard,
            _ => return fail(at, &keys.key, RuleFault::Expected { expected: "\"off\", \"soft\" or \"hard\"" }),
        },
    };
    Ok(AreaPlan {
        passback,
        forget_after: keys.time("forget_after")?.unwrap_or(usual.forget_after),
        occupancy_max: keys.count("occupancy_max", 1, COUNT_MAX)?,
        is_two_person: keys.flag("two_person")?.unwrap_or(usual.is_two_person),
    })
}

fn door(keys: &Keys<'_, '_>) -> Result<DoorPlan, Fault> {
    let usual = DoorPlan::default();
    let escort = match (keys.name("escort_of")?, keys.name("escort_by")?) {
        (Some(of), Some(by)) => Some(Escort { of, by }),
        (None, None) => None,
        _ => return fail(keys.at, &keys.key, RuleFault::Missing { what: "one of escort_of and escort_by" }),
    };
    let during = |key| Ok::<_, Fault>(keys.text(key)?.map(|(_, text)| text.to_owned()));
    let first_card = match (during("first_card_during")?, keys.name("first_card_by")?) {
        (Some(during), by) => Some(FirstCard { by, during }),
        (None, None) => None,
        (None, Some(_)) => return fail(keys.at, &keys.key, RuleFault::Missing { what: "first_card_during" }),
    };
    let mut exit_sources = usual.exit_sources;
    if let Some(value) = keys.table.get("exit_sources") {
        for (at, text) in as_texts(value, &keys.key)? {
            exit_sources.insert(name(at, &keys.key, text)?);
        }
    }
    Ok(DoorPlan {
        from: keys.name("from")?,
        into: keys.name("into")?,
        exit_sources,
        await_for: keys.time("await_for")?.unwrap_or(usual.await_for),
        is_two_person: keys.flag("two_person")?.unwrap_or(usual.is_two_person),
        escort,
        first_card,
        free_during: during("free_during")?,
        held_after: keys.time("held_after")?.unwrap_or(usual.held_after),
        forced_is_alarm: keys.flag("forced_alarm")?.unwrap_or(usual.forced_is_alarm),
        relocks: keys.flag("relock")?.unwrap_or(usual.relocks),
        exits_in_lockdown: keys.flag("exit_in_lockdown")?.unwrap_or(usual.exits_in_lockdown),
        lockdown_override: keys.name("lockdown_override")?,
        opens_in_emergency: keys.flag("emergency_opens")?.unwrap_or(usual.opens_in_emergency),
    })
}

/// One record of the document.
struct Keys<'a, 'i> {
    key: String,
    at: usize,
    table: &'a DeTable<'i>,
}

fn named<'a, 'i>(table: &'a DeTable<'i>, record: &Record) -> Result<BTreeMap<Name, Keys<'a, 'i>>, Fault> {
    let mut records = BTreeMap::new();
    let Some(value) = table.get(record.table) else { return Ok(records) };
    for (own, value) in as_table(value, record.table)? {
        let key = format!("{}.{}", record.table, own.get_ref());
        let own = name(own.span().start, &key, own.get_ref())?;
        let at = value.span().start;
        let table = as_table(value, &key)?;
        only(table, record)?;
        if records.len() == PARTS_MAX {
            return fail(at, &key, RuleFault::TooMany { what: "areas or doors", limit: PARTS_MAX });
        }
        records.insert(own, Keys { key, at, table });
    }
    Ok(records)
}

impl<'a, 'i> Keys<'a, 'i> {
    fn text(&self, key: &str) -> Result<Option<(usize, &'a str)>, Fault> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        Ok(Some((value.span().start, as_text(value, &self.key_of(key))?)))
    }

    fn name(&self, key: &str) -> Result<Option<Name>, Fault> {
        self.text(key)?.map(|(at, text)| name(at, &self.key_of(key), text)).transpose()
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, Fault> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        match value.get_ref().as_bool() {
            Some(flag) => Ok(Some(flag)),
            None => fail(value.span().start, &self.key_of(key), RuleFault::Expected { expected: "true or false" }),
        }
    }

    fn count(&self, key: &str, min: i64, max: i64) -> Result<Option<u32>, Fault> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let number = match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number.filter(|number| (min..=max).contains(number)).and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => {
                fail(value.span().start, &self.key_of(key), RuleFault::Expected { expected: "a whole number in range" })
            }
        }
    }

    fn time(&self, key: &str) -> Result<Option<Duration>, Fault> {
        let Some((at, text)) = self.text(key)? else { return Ok(None) };
        match text.parse().ok().and_then(|time: SignedDuration| Duration::try_from(time).ok()) {
            Some(time) if !time.is_zero() && time <= TIME_MAX => Ok(Some(time)),
            _ => {
                let text = text.chars().take(64).collect();
                fail(at, &self.key_of(key), RuleFault::NotATime { text })
            }
        }
    }

    fn key_of(&self, key: &str) -> String {
        format!("{}, {key}", self.key)
    }

    /// The value that a fault of the whole door is about.
    fn part_of(&self, fault: &RuleFault) -> Option<&'a Value<'i>> {
        let wanted = match fault {
            RuleFault::UnknownArea { name } | RuleFault::UnknownGroup { name, .. } => name.as_str(),
            RuleFault::UnknownSchedule { name, .. } => name.as_str(),
            RuleFault::FreeInterlock => return self.table.get("free_during").or(self.table.get("first_card_during")),
            RuleFault::SameArea => return self.table.get("into"),
            _ => return None,
        };
        self.table.values().find(|value| value.get_ref().as_str() == Some(wanted))
    }
}

/// The keys of a record that are written, each with its value.
type Fields = Vec<(&'static str, String)>;

pub(crate) fn areas(layout: &Layout) -> BTreeMap<String, Fields> {
    layout.areas.iter().map(|(name, area)| (name.to_string(), area_keys(area).0)).collect()
}

pub(crate) fn doors(layout: &Layout) -> BTreeMap<String, Fields> {
    layout.doors.iter().map(|(name, door)| (name.to_string(), door_keys(door).0)).collect()
}

pub(crate) fn lockout(layout: &Layout) -> Fields {
    let (lockout, usual) = (&layout.lockout, LockoutPlan::default());
    let mut keys = Written::default();
    keys.unless(lockout.failures == usual.failures, "failures", || lockout.failures.to_string());
    keys.unless(lockout.wait == usual.wait, "wait", || time_text(lockout.wait));
    keys.unless(lockout.wait_max == usual.wait_max, "wait_max", || time_text(lockout.wait_max));
    keys.unless(lockout.forget_after == usual.forget_after, "forget_after", || time_text(lockout.forget_after));
    keys.0
}

/// Writes `layout` as [`read`] reads it.
pub(crate) fn write(out: &mut String, layout: &Layout) -> fmt::Result {
    tables(out, AREAS.table, &areas(layout))?;
    tables(out, DOORS.table, &doors(layout))?;
    if !layout.interlocks.is_empty() {
        out.write_str("\n[interlocks]\n")?;
        for (name, doors) in &layout.interlocks {
            writeln!(out, "{} = {}", quoted_key(name.as_str()), list(doors))?;
        }
    }
    let lockout = lockout(layout);
    if !lockout.is_empty() {
        out.write_str("\n[lockout]\n")?;
        lockout.iter().try_for_each(|(key, value)| writeln!(out, "{key} = {value}"))?;
    }
    Ok(())
}

#[derive(Default)]
struct Written(Fields);

impl Written {
    fn unless(&mut self, is_usual: bool, key: &'static str, value: impl FnOnce() -> String) {
        if !is_usual {
            self.0.push((key, value()));
        }
    }

    fn name(&mut self, key: &'static str, name: Option<&Name>) {
        self.0.extend(name.map(|name| (key, quoted(name.as_str()))));
    }
}

fn tables(out: &mut String, table: &str, records: &BTreeMap<String, Fields>) -> fmt::Result {
    if !records.is_empty() {
        writeln!(out, "\n[{table}]")?;
    }
    for (name, keys) in records {
        let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let body = if keys.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", keys.join(", ")) };
        writeln!(out, "{} = {body}", quoted_key(name))?;
    }
    Ok(())
}

fn area_keys(area: &AreaPlan) -> Written {
    let (usual, mut keys) = (AreaPlan::default(), Written::default());
    let passback = match area.passback {
        Passback::Off => "off",
        Passback::Soft => "soft",
        Passback::Hard => "hard",
    };
    keys.unless(area.passback == usual.passback, "anti_passback", || quoted(passback));
    keys.unless(area.forget_after == usual.forget_after, "forget_after", || time_text(area.forget_after));
    keys.0.extend(area.occupancy_max.map(|most| ("occupancy_max", most.to_string())));
    keys.unless(!area.is_two_person, "two_person", || "true".into());
    keys
}

fn door_keys(door: &DoorPlan) -> Written {
    let (usual, mut keys) = (DoorPlan::default(), Written::default());
    keys.name("from", door.from.as_ref());
    keys.name("into", door.into.as_ref());
    keys.unless(door.exit_sources.is_empty(), "exit_sources", || list(&door.exit_sources));
    keys.unless(door.await_for == usual.await_for, "await_for", || time_text(door.await_for));
    keys.unless(!door.is_two_person, "two_person", || "true".into());
    keys.name("escort_of", door.escort.as_ref().map(|escort| &escort.of));
    keys.name("escort_by", door.escort.as_ref().map(|escort| &escort.by));
    if let Some(first) = &door.first_card {
        keys.0.push(("first_card_during", quoted(&first.during)));
        keys.name("first_card_by", first.by.as_ref());
    }
    keys.0.extend(door.free_during.as_deref().map(|schedule| ("free_during", quoted(schedule))));
    keys.unless(door.held_after == usual.held_after, "held_after", || time_text(door.held_after));
    keys.unless(door.forced_is_alarm, "forced_alarm", || "false".into());
    keys.unless(door.relocks, "relock", || "false".into());
    keys.unless(door.exits_in_lockdown, "exit_in_lockdown", || "false".into());
    keys.name("lockdown_override", door.lockdown_override.as_ref());
    keys.unless(door.opens_in_emergency, "emergency_opens", || "false".into());
    keys
}

fn time_text(time: Duration) -> String {
    quoted(&SignedDuration::try_from(time).map(|time| format!("{time:#}")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    const WHOLE: &str = r#"
        version = 1
        [groups]
        staff = ["ada"]
        visitors = ["vic"]
        [schedules]
        office = ["Mon-Fri 08:00-18:00"]
        [areas]
        hall = {}
        lab = { anti_passback = "hard", forget_after = "12h", occupancy_max = 4, two_person = true }
        [doors]
        front = { into = "hall", first_card_during = "office", first_card_by = "staff", emergency_opens = false }
        back = { free_during = "office", relock = false, exit_in_lockdown = false }
        [doors."lab/door"]
        from = "hall"
        into = "lab"
        exit_sources = ["lab/inner"]
        await_for = "10s"
        two_person = true
        escort_of = "visitors"
        escort_by = "staff"
        held_after = "1m 30s"
        forced_alarm = false
        lockdown_override = "staff"
        [interlocks]
        mantrap = ["lab/door", "lab/vault"]
        [lockout]
        failures = 3
        wait = "1min"
        wait_max = "2h"
        forget_after = "1d"
        "#;

    #[test]
    fn a_layout_is_read_whole_and_written_back() {
        let text = WHOLE.replace("\"1d\"", "\"24h\"");
        let rules = RuleSet::parse(&text).unwrap();
        let layout = &rules.layout;
        let name = |text: &str| Name::new(text).unwrap();
        let lab = &layout.areas[&name("lab")];
        assert_eq!((lab.passback, lab.occupancy_max, lab.is_two_person), (Passback::Hard, Some(4), true));
        assert_eq!(lab.forget_after, Duration::from_secs(12 * 3600));
        let door = &layout.doors[&name("lab/door")];
        assert_eq!(door.held_after, Duration::from_secs(90));
        assert_eq!(door.escort, Some(Escort { of: name("visitors"), by: name("staff") }));
        assert_eq!(door.exit_sources, [name("lab/inner")].into());
        assert_eq!(layout.interlocks[&name("mantrap")].len(), 2);
        assert_eq!((layout.lockout.failures, layout.lockout.wait_max), (3, Duration::from_secs(7200)));
        let written = rules.to_text();
        assert_eq!(RuleSet::parse(&written).unwrap(), rules, "{written}");
        assert_eq!(RuleSet::parse(&written).unwrap().to_text(), written);
        assert_eq!(RuleSet::from_bytes(&rules.to_bytes()).unwrap(), rules, "a snapshot holds it, too");
        super::super::Plan::of(&rules).unwrap();
    }

    #[test]
    fn what_changes_is_said() {
        let before = RuleSet::parse(&WHOLE.replace("\"1d\"", "\"24h\"")).unwrap();
        let mut after = before.clone();
        let name = |text: &str| Name::new(text).unwrap();
        after.layout.areas.get_mut(&name("lab")).unwrap().occupancy_max = Some(5);
        after.layout.doors.remove(&name("back"));
        after.layout.lockout.failures = 4;
        let said: Vec<String> = before.changes(&after).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["areas lab: occupancy_max 4 -> 5", "doors back: gone", "lockout: failures 3 -> 4"]);
    }

    #[test]
    fn a_document_without_a_layout_writes_none() {
        let written = RuleSet::default().to_text();
        assert!(!written.contains("areas") && !written.contains("lockout"), "{written}");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (from, to, expected) in [
            ("\"hard\"", "\"firm\"", "line 10, column 33, areas.lab: \"off\", \"soft\" or \"hard\" is expected"),
            ("\"12h\"", "\"12\"", "line 10, column 56, areas.lab, forget_after: \"12\" is no length of time"),
            ("\"12h\"", "\"9d\"", "line 10, column 56, areas.lab, forget_after: \"9d\" is no length of time"),
            ("\"12h\"", "\"0s\"", "line 10, column 56, areas.lab, forget_after: \"0s\" is no length of time"),
            ("occupancy_max = 4", "occupancy_max = 0", "areas.lab, occupancy_max: a whole number in range"),
            ("occupancy_max = 4", "occupancy = 4", "this key means nothing here; known are: anti_passback"),
            ("into = \"lab\"", "into = \"lob\"", "line 16, column 16, doors.lab/door: there is no area lob"),
            ("into = \"lab\"", "into = \"hall\"", "doors.lab/door: a door leads from one area into another"),
            ("escort_by = \"staff\"", "", "doors.lab/door: one of escort_of and escort_by is missing"),
            ("escort_by = \"staff\"", "escort_by = \"stuff\"", "there is no group stuff"),
            ("first_card_during = \"office\", ", "", "doors.front: first_card_during is missing"),
            (
                "free_during = \"office\"",
                "free_during = \"night\"",
                "line 13, column 32, doors.back: there is no schedule",
            ),
            ("[\"lab/door\", \"lab/vault\"]", "[\"lab/door\"]", "interlocks.mantrap: at least two doors is expected"),
            ("\"lab/vault\"]", "\"back\"]", "doors.back: a door of an interlock cannot be free"),
            ("two_person = true }", "two_person = \"yes\" }", "areas.lab, two_person: true or false is expected"),
            ("failures = 3", "failures = 3.5", "lockout, failures: a whole number in range is expected"),
            ("[lockout]", "[lookout]", "this key means nothing here"),
        ] {
            let text = WHOLE.replace("\"1d\"", "\"24h\"").replacen(from, to, 1);
            assert_ne!(text, WHOLE.replace("\"1d\"", "\"24h\""), "{from} is in the document");
            let error = RuleSet::parse(&text).expect_err(to);
            assert!(matches!(error, Error::Document { .. }), "{error:?}");
            assert!(error.to_string().contains(expected), "{to}: {error}");
        }
    }
}
