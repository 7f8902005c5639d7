//! The rule document described: which records it has, with which keys, and what may stand there.
//!
//! One source of truth: the reader takes its lists of known keys from here, and a program makes its forms from here.
//!
//! **Never:** values, defaults that are not said in `about`.

use crate::premises::text::{AREAS, DOORS, INTERLOCKS, LOCKOUT};

/// A kind of record of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The table it stands in: `rule`, `groups`, ...; empty for the keys at the top.
    pub table: &'static str,
    /// What a page calls all of them.
    pub title: &'static str,
    /// How many there are, and how they are written.
    pub shape: Shape,
    /// One sentence for people.
    pub about: &'static str,
    /// Its keys. A record of [`Shape::NamedLists`] has one, which is not written: its list stands behind its name.
    pub fields: &'static [Field],
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Keys at the top of the document, once.
    Top,
    /// `[table]` with lines `name = [..]`.
    NamedLists,
    /// `[table]` with lines `name = { key = .. }`; `name = [..]` is short for the first required key alone.
    NamedTables,
    /// `[[table]]` with keys, in an order that counts.
    List,
    /// `[table]` with keys, once.
    Table,
}

/// One key of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// What may stand there.
    pub kind: FieldKind,
    /// Whether it must be there.
    pub required: Required,
    /// One sentence for people, with the default if there is one.
    pub about: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Exactly one of these keys must.
    OneOf(&'static [&'static str]),
}

/// What may stand at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// A name.
    Name,
    /// A list of persons' names.
    Persons,
    /// A list of doors' names.
    Doors,
    /// A list of persons, `group:NAME` and `anyone`.
    Subjects,
    /// A list of doors, `group:NAME` and `any`.
    DoorSets,
    /// A list of credentials, alone or in pairs: `card`, `face+pin`.
    By {
        /// The single ones.
        kinds: &'static [&'static str],
    },
    /// The name of a schedule.
    Schedule,
    /// The IANA name of a time zone.
    Zone,
    /// A date, or a date and time, with an offset or by the clocks of the document's zone.
    Moment,
    /// A list of intervals of the week: `Mon-Fri 08:00-18:00`.
    Intervals,
    /// A list of days: `2026-12-24`, `2026-12-24/2027-01-06`, `12-25`.
    Dates,
    /// A list of calendars with the hours of their days: `public none`, `eves 08:00-12:00,13:00-14:00`.
    HolidayHours,
    /// The name of an area.
    Area,
    /// The name of a group of persons.
    Group,
    /// A list of readers' and cameras' names.
    Sources,
    /// A length of time: `30s`, `5min`, `16h`.
    Time,
    /// `true` or `false`.
    Flag,
    /// One of these texts.
    Choice {
        /// Which.
        of: &'static [&'static str],
    },
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
}

impl FieldKind {
    /// A stable word for programs that draw forms: `subjects`, `intervals`, ...
    pub const fn code(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Persons => "persons",
            Self::Doors => "doors",
            Self::Subjects => "subjects",
            Self::DoorSets => "door_sets",
            Self::By { .. } => "by",
            Self::Schedule => "schedule",
            Self::Zone => "zone",
            Self::Moment => "moment",
            Self::Intervals => "intervals",
            Self::Dates => "dates",
            Self::HolidayHours => "holiday_hours",
            Self::Area => "area",
            Self::Group => "group",
            Self::Sources => "sources",
            Self::Time => "time",
            Self::Flag => "flag",
            Self::Choice { .. } => "choice",
            Self::Integer { .. } => "integer",
        }
    }

    /// Whether a list of texts stands there.
    pub const fn is_list(self) -> bool {
        matches!(
            self,
            Self::Persons
                | Self::Doors
                | Self::Subjects
                | Self::DoorSets
                | Self::By { .. }
                | Self::Intervals
                | Self::Dates
                | Self::HolidayHours
                | Self::Sources
        )
    }

    /// The texts that may stand there, where the schema knows them all; of [`FieldKind::By`], the single ones.
    pub const fn choices(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Choice { of } => Some(of),
            Self::By { kinds } => Some(kinds),
            _ => None,
        }
    }
}

/// The records of the rule document, in the order in which they are written.
pub const fn schema() -> &'static [Record] {
    &[TOP, GROUPS, DOOR_GROUPS, HOLIDAYS, SCHEDULES, AREAS, DOORS, INTERLOCKS, LOCKOUT, RULE]
}

pub(crate) const fn field(key: &'static str, kind: FieldKind, required: Required, about: &'static str) -> Field {
    Field { key, kind, required, about }
}

pub(super) const TOP: Record = Record {
    table: "",
    title: "The document",
    shape: Shape::Top,
    about: "The document itself.",
    fields: &[
        field("version", FieldKind::Integer { min: 1, max: 1 }, Required::Yes, "The version of the form: 1."),
        field("zone", FieldKind::Zone, Required::No, "Whose clocks count where nothing else is said; UTC if left out."),
    ],
};

pub(super) const GROUPS: Record = Record {
    table: "groups",
    title: "Groups of people",
    shape: Shape::NamedLists,
    about: "A group of persons.",
    fields: &[field("members", FieldKind::Persons, Required::Yes, "Who is in it.")],
};

pub(super) const DOOR_GROUPS: Record = Record {
    table: "door_groups",
    title: "Groups of doors",
    shape: Shape::NamedLists,
    about: "A group of doors.",
    fields: &[field("members", FieldKind::Doors, Required::Yes, "Which doors are in it.")],
};

pub(super) const HOLIDAYS: Record = Record {
    table: "holidays",
    title: "Calendars of holidays",
    shape: Shape::NamedLists,
    about: "A calendar of days on which schedules may have other hours.",
    fields: &[field("dates", FieldKind::Dates, Required::Yes, "Days, periods, and days of every year.")],
};

pub(super) const SCHEDULES: Record = Record {
    table: "schedules",
    title: "Schedules",
    shape: Shape::NamedTables,
    about: "Hours of the week.",
    fields: &[
        field("weekly", FieldKind::Intervals, Required::Yes, "When, by the day on which each interval begins."),
        field("zone", FieldKind::Zone, Required::No, "By whose clocks; those of the document if left out."),
        field(
            "holidays",
            FieldKind::HolidayHours,
            Required::No,
            "What begins on the days of a calendar instead; the first calendar that has the day counts.",
        ),
    ],
};

const EITHER: Required = Required::OneOf(&["permit", "forbid"]);
const KINDS: &[&str] = &["qr", "pin", "card", "plate", "face", "manual", "remote"];

pub(super) const RULE: Record = Record {
    table: "rule",
    title: "Rules",
    shape: Shape::List,
    about: "A rule. One that forbids wins over every one that permits; what nothing permits is refused.",
    fields: &[
        field("name", FieldKind::Name, Required::Yes, "What the journal calls it."),
        field("permit", FieldKind::Subjects, EITHER, "Whom it lets in."),
        field("forbid", FieldKind::Subjects, EITHER, "Whom it keeps out, whatever else permits it."),
        field("doors", FieldKind::DoorSets, Required::Yes, "Through which doors."),
        field(
            "by",
            FieldKind::By { kinds: KINDS },
            Required::No,
            "With which credentials: any of these. If left out, a permission holds for anything but a plate or a remote \
             button alone, a prohibition for anything.",
        ),
        field("during", FieldKind::Schedule, Required::No, "Only inside this schedule; always if left out."),
        field("from", FieldKind::Moment, Required::No, "Only from this moment on."),
        field("until", FieldKind::Moment, Required::No, "No longer from this moment on."),
        field(
            "priority",
            FieldKind::Integer { min: -(super::PRIORITY_MAX as i64), max: super::PRIORITY_MAX as i64 },
            Required::No,
            "Of permissions that apply together, the highest is the one named; 0 if left out. It never beats a prohibition.",
        ),
    ],
};

impl Record {
    /// Whether `key` is one of its keys.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.iter().any(|field| field.key == key)
    }

    /// Its keys, for an error message.
    pub(super) fn keys(&self) -> String {
        self.fields.iter().map(|field| field.key).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::CredentialKind;

    #[test]
    fn the_lists_name_what_there_is() {
        assert_eq!(KINDS, CredentialKind::ALL.map(CredentialKind::code));
        for record in schema() {
            assert!(!record.fields.is_empty() && record.about.ends_with('.'), "{record:?}");
            assert!(!record.title.is_empty() && !record.title.ends_with('.'), "{record:?}");
            // How a record without keys of its own is written.
            let is_bare = matches!(record.shape, Shape::NamedLists);
            assert!(!is_bare || (record.fields.len() == 1 && record.fields[0].kind.is_list()), "{record:?}");
            for (index, field) in record.fields.iter().enumerate() {
                assert!(field.about.ends_with('.'), "{field:?}");
                assert!(record.fields[..index].iter().all(|earlier| earlier.key != field.key), "{field:?} twice");
                if let Required::OneOf(keys) = field.required {
                    assert!(keys.contains(&field.key) && keys.iter().all(|key| record.has(key)));
                }
            }
        }
    }
}
