//! A rule set as bytes, for the disk: what a controller starts from when the document is broken or out of reach.
//!
//! ```text
//! "GVRULES" 1       8 bytes: what this is, and the version of the form
//! length            8 bytes, little endian: of the body
//! SHA-256           32 bytes: of the body
//! body              zone, groups, door groups, calendars, schedules, rules; each list led by its length; then areas,
//!                   doors, interlocks and lockout as the document has them
//! ```
//! Numbers are LEB128 of at most ten bytes, moments 8 bytes little endian; texts are led by their length. A name is written once, in a table
//! at the front, and meant by its number after that. The digest finds damage; it is no signature: who may write the file
//! may write rules.
//!
//! The reader believes nothing: every count is held against the bytes that are left before room is made for it, names,
//! zones, hours and days are checked as those of a document are, and what is left over is an error, as is a name twice. Of
//! what grows when it is read (a period of a calendar to its days) there are no more than a document may have.
//!
//! **Never:** the index (it is built anew), a version that is guessed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use godvision_core::{Name, WallTime};
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::{By, CALENDARS_MAX, DoorSet, Effect, Rule, RuleSet, SCHEDULES_MAX, Subject};
use crate::error::SnapshotFault;
use crate::premises::text;
use crate::schedule::{Calendar, Hours, Schedule, Weekly, Zone};

/// Largest snapshot that is read: several million rules.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 28;

const MAGIC: &[u8; 8] = b"GVRULES\x01";
const HEAD_BYTES: usize = 8 + 8 + 32;

/// Names in the order of their first use.
#[derive(Default)]
struct Pool<'a> {
    numbers: HashMap<&'a Name, u64>,
    names: Vec<&'a Name>,
}

impl<'a> Pool<'a> {
    fn of(&mut self, name: &'a Name) -> u64 {
        let names = &mut self.names;
        *self.numbers.entry(name).or_insert_with(|| {
            names.push(name);
            names.len() as u64 - 1
        })
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.number(texts.len() as u64);
        texts.iter().for_each(|text| self.text(text));
    }

    /// 0 and nothing, or 1 and the moment.
    fn moment(&mut self, at: Option<WallTime>) {
        self.0.push(u8::from(at.is_some()));
        self.0.extend(at.iter().flat_map(|at| at.as_unix_micros().to_le_bytes()));
    }
}

pub(super) fn to_bytes(set: &RuleSet) -> Vec<u8> {
    let (mut body, mut pool) = (Writer::default(), Pool::default());
    body.text(&set.zone.to_string());
    for groups in [&set.groups, &set.door_groups] {
        body.number(groups.len() as u64);
        for (group, members) in groups {
            body.number(pool.of(group));
            body.number(members.len() as u64);
            members.iter().for_each(|member| body.number(pool.of(member)));
        }
    }
    body.number(set.holidays.len() as u64);
    for (name, calendar) in &set.holidays {
        body.number(pool.of(name));
        body.texts(&calendar.texts());
    }
    body.number(set.schedules.len() as u64);
    for (name, schedule) in &set.schedules {
        body.text(name);
        body.text(&schedule.zone.to_string());
        body.texts(&schedule.weekly.texts());
        body.number(schedule.holidays.len() as u64);
        for (calendar, hours) in &schedule.holidays {
            body.number(pool.of(calendar));
            body.text(&hours.to_string());
        }
    }
    let schedules: HashMap<&str, u64> = set.schedules.keys().map(String::as_str).zip(1..).collect();
    body.number(set.rules.len() as u64);
    for rule in &set.rules {
        body.number(pool.of(&rule.name));
        body.0.push(u8::from(rule.effect == Effect::Permit));
        body.number(u64::from(rule.by.bits()));
        // A schedule that is not there comes back as none that is there either: see `read_rule`.
        let during = rule.during.as_deref().map_or(0, |name| schedules.get(name).copied().unwrap_or(u64::MAX));
        body.number(during);
        body.number((i64::from(rule.priority) << 1 ^ i64::from(rule.priority) >> 63) as u64);
        body.moment(rule.from);
        body.moment(rule.until);
        body.number(rule.who.len() as u64);
        for subject in &rule.who {
            body.number(match subject {
                Subject::Anyone => 0,
                Subject::Person(name) => pool.of(name) * 2 + 1,
                Subject::Group(name) => pool.of(name) * 2 + 2,
            });
        }
        body.number(rule.doors.len() as u64);
        for doors in &rule.doors {
            body.number(match doors {
                DoorSet::Any => 0,
                DoorSet::Door(name) => pool.of(name) * 2 + 1,
                DoorSet::Group(name) => pool.of(name) * 2 + 2,
            });
        }
    }
    let mut layout = String::new();
    // Writing into a String does not fail.
    let _ = text::write(&mut layout, &set.layout);
    body.text(&layout);
    let mut front = Writer::default();
    front.number(pool.names.len() as u64);
    pool.names.iter().for_each(|name| front.text(name.as_str()));
    let digest = Sha256::new_with_prefix(&front.0).chain_update(&body.0).finalize();
    let length = (front.0.len() + body.0.len()) as u64;
    [&MAGIC[..], &length.to_le_bytes(), &digest, &front.0, &body.0].concat()
}

pub(super) fn from_bytes(bytes: &[u8]) -> Result<RuleSet, SnapshotFault> {
    if bytes.len() > SNAPSHOT_BYTES_MAX {
        return Err(SnapshotFault::TooLong { limit: SNAPSHOT_BYTES_MAX });
    }
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or(SnapshotFault::Cut)?;
    let (magic, head) = head.split_at_checked(MAGIC.len()).ok_or(SnapshotFault::Cut)?;
    if magic != MAGIC {
        return Err(SnapshotFault::NotOne);
    }
    let (length, digest) = head.split_first_chunk::<8>().ok_or(SnapshotFault::Cut)?;
    if u64::from_le_bytes(*length) != body.len() as u64 {
        return Err(SnapshotFault::Cut);
    }
    if Sha256::digest(body).as_slice() != digest {
        return Err(SnapshotFault::Damaged);
    }
    let mut reader = Reader { bytes: body, names: Vec::new() };
    let set = reader.set().ok_or_else(|| SnapshotFault::BadBody { offset: bytes.len() - reader.bytes.len() })?;
    if reader.bytes.is_empty() {
        Ok(set)
    } else {
        Err(SnapshotFault::BadBody { offset: bytes.len() - reader.bytes.len() })
    }
}

/// Takes things from the front of the body; `None` where it makes no sense.
struct Reader<'a> {
    bytes: &'a [u8],
    names: Vec<Name>,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // Nothing beyond 64 bits.
            (bits << shift >> shift == bits).then_some(())?;
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// The length of a list whose items have at least one byte each.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.bytes.len())
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.count()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        std::str::from_utf8(text).ok()
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        (0..count).map(|_| item(self)).collect()
    }

    fn name(&mut self) -> Option<Name> {
        let number = usize::try_from(self.number()?).ok()?;
        self.names.get(number).cloned()
    }

    fn named(&self, number: u64) -> Option<Name> {
        self.names.get(usize::try_from(number).ok()?).cloned()
    }

    fn moment(&mut self) -> Option<Option<WallTime>> {
        match self.byte()? {
            0 => Some(None),
            1 => {
                let (micros, rest) = self.bytes.split_first_chunk()?;
                self.bytes = rest;
                Some(Some(WallTime::from_unix_micros(i64::from_le_bytes(*micros))))
            }
            _ => None,
        }
    }

    /// At most `most` things by their names, each name once. What is too much is refused before room is made for it.
    fn map<K: Ord, V>(
        &mut self,
        most: usize,
        mut item: impl FnMut(&mut Self) -> Option<(K, V)>,
    ) -> Option<BTreeMap<K, V>> {
        let count = self.count().filter(|count| *count <= most)?;
        let mut map = BTreeMap::new();
        for _ in 0..count {
            let (name, value) = item(self)?;
            map.insert(name, value).is_none().then_some(())?;
        }
        Some(map)
    }

    fn groups(&mut self) -> Option<BTreeMap<Name, BTreeSet<Name>>> {
        self.map(usize::MAX, |it| {
            let (group, members) = (it.name()?, it.map(usize::MAX, |it| Some((it.name()?, ())))?);
            Some((group, members.into_keys().collect()))
        })
    }

    fn set(&mut self) -> Option<RuleSet> {
        self.names = self.list(|it| Name::new(it.text()?).ok())?;
        let mut set = RuleSet { zone: Zone::named(self.text()?).ok()?, ..RuleSet::default() };
        set.groups = self.groups()?;
        set.door_groups = self.groups()?;
        set.holidays = self.map(CALENDARS_MAX, |it| {
            let (name, days) = (it.name()?, it.list(Self::text)?);
            Some((name, Calendar::parse(days).ok()?))
        })?;
        // In the order of the bytes: by which the rules mean them.
        let mut names = Vec::new();
        set.schedules = self.map(SCHEDULES_MAX, |it| {
            let name = it.text()?.to_owned();
            names.push(name.clone());
            let zone = Zone::named(it.text()?).ok()?;
            let mut schedule = Schedule::weekly(zone, Weekly::parse(it.list(Self::text)?).ok()?);
            schedule.holidays = it.list(|it| Some((it.name()?, Hours::parse(it.text()?).ok()?)))?;
            Some((name, schedule))
        })?;
        set.rules = self.list(|it| it.rule(&names))?;
        let table = DeTable::parse(self.text()?).ok()?;
        set.layout = text::read(table.get_ref(), &set).ok()?;
        Some(set)
    }

    fn rule(&mut self, schedules: &[String]) -> Option<Rule> {
        let name = self.name()?;
        let effect = match self.byte()? {
            0 => Effect::Forbid,
            1 => Effect::Permit,
            _ => return None,
        };
        let by = By::from_bits(u32::try_from(self.number()?).ok()?)?;
        let during = match self.number()?.checked_sub(1) {
            None => None,
            Some(place) => Some(schedules.get(usize::try_from(place).ok()?)?.clone()),
        };
        let priority = self.number()?;
        let priority = i32::try_from((priority >> 1) as i64 ^ -((priority & 1) as i64)).ok()?;
        let (from, until) = (self.moment()?, self.moment()?);
        let who = self.list(|it| match it.number()?.checked_sub(1) {
            None => Some(Subject::Anyone),
            Some(code) if code % 2 == 0 => it.named(code / 2).map(Subject::Person),
            Some(code) => it.named(code / 2).map(Subject::Group),
        })?;
        let doors = self.list(|it| match it.number()?.checked_sub(1) {
            None => Some(DoorSet::Any),
            Some(code) if code % 2 == 0 => it.named(code / 2).map(DoorSet::Door),
            Some(code) => it.named(code / 2).map(DoorSet::Group),
        })?;
        Some(Rule { name, effect, who, doors, by, priority, during, from, until })
    }
}
