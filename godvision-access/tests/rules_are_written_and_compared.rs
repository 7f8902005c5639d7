//! A rule set is written as text and as bytes and read back equal; what differs between two is said line by line.

use godvision_access::rule::{CALENDARS_MAX, Change, SCHEDULES_MAX, schema};
use godvision_access::schedule::{Calendar, Schedule, Weekly, Zone};
use godvision_access::{Error, RuleSet, SnapshotFault};
use godvision_core::{Name, WallTime};
use sha2::{Digest, Sha256};

const DOCUMENT: &str = r#"version = 1
zone = "Europe/Berlin"

[groups]
"a.b/c" = []
staff = ["ada", "bob"]

[door_groups]
yard = ["yard/door", "yard/gate"]

[holidays]
eves = ["12-24", "12-31"]
public = ["12-25", "2026-12-26/2026-12-28", "2027-01-01"]

[schedules]
"days & nights" = ["Mon-Fri 08:00-18:00", "daily 22:00-06:00", "Sat,Sun 10:00-14:00"]
shop = { weekly = ["Mon-Sat 09:00-20:00"], zone = "UTC", holidays = ["public none", "eves 09:00-13:00,14:00-16:00"] }

[[rule]]
name = "staff"
permit = ["group:staff", "eve"]
doors = ["group:yard", "store"]
by = ["card", "pin+face"]
during = "days & nights"
from = 2026-01-01
until = 2030-03-31T03:30:00
priority = 5

[[rule]]
name = "not-bob"
forbid = ["bob"]
doors = ["any"]
from = 2026-10-25T00:30:00.000001Z

[[rule]]
name = "by-hand"
permit = ["anyone"]
doors = ["any"]
by = ["manual"]
"#;

#[test]
fn the_written_form_is_read_back_and_is_the_only_one() {
    let set = RuleSet::parse(DOCUMENT).unwrap();
    assert_eq!(set.to_text(), DOCUMENT, "this document is in the written form already");
    let otherwise = r#"
        version = 1   # the same, as somebody might write it
        zone = "Europe/Berlin"
        schedules."days & nights" = [
            "Sat 10:00-14:00", "Sun 10:00-14:00", "Mon-Sun 22:00-06:00", "Tue,Mon 08:00-18:00", "Wed-Fri 08:00-18:00",
        ]
        schedules.shop.holidays = ["public none", "eves 14:00-16:00,09:00-13:00"]
        schedules.shop.weekly = ["Mon-Sat 09:00-20:00"]
        schedules.shop.zone = "UTC"
        [groups]
        staff = ["bob", "ada"]
        "a.b/c" = []
        [holidays]
        public = [2027-01-01, "2026-12-27/2026-12-28", "2026-12-26", "12-25"]
        eves = ["12-31", "12-24"]
        [door_groups]
        yard = ["yard/gate", "yard/door"]
        [[rule]]
        priority = 5
        name = "staff"
        permit = ["group:staff", "eve"]
        by = ["face+pin", "card"]
        doors = ["group:yard", "store"]
        during = "days & nights"
        from = "2025-12-31T23:00:00Z"
        until = 2030-03-31T01:30:00Z
        [[rule]]
        name = "not-bob"
        forbid = ["bob"]
        by = ["qr", "pin", "card", "plate", "face", "manual", "remote"]
        doors = ["any"]
        from = 2026-10-25T02:30:00.000001+02:00
        [[rule]]
        name = "by-hand"
        permit = ["anyone"]
        doors = ["any"]
        by = ["manual"]
    "#;
    assert_eq!(RuleSet::parse(otherwise).unwrap().to_text(), DOCUMENT);
}

#[test]
fn what_changes_is_said() {
    let before = RuleSet::parse(DOCUMENT).unwrap();
    assert_eq!(before.changes(&before), []);
    let after = DOCUMENT
        .replace("\"ada\", \"bob\"", "\"ada\", \"eve\"")
        .replace("yard = [", "garden = [\"shed\"]\nyard = [")
        .replace("eves = [\"12-24\", \"12-31\"]\n", "eves = [\"12-24\"]\n")
        .replace("by = [\"card\", \"pin+face\"]\nduring = \"days & nights\"\n", "by = [\"card\"]\n")
        .replace("name = \"by-hand\"", "name = \"by-operators\"");
    let changes = before.changes(&RuleSet::parse(&after).unwrap());
    let said: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "groups staff: [\"ada\", \"bob\"] -> [\"ada\", \"eve\"]",
            "door_groups garden: new, [\"shed\"]",
            "holidays eves: [\"12-24\", \"12-31\"] -> [\"12-24\"]",
            "rule by-hand: gone",
            "rule by-operators: new, permit [\"anyone\"], doors [\"any\"], by [\"manual\"]",
            "rule staff: by [\"card\", \"pin+face\"] -> [\"card\"]",
            "rule staff: during \"days & nights\" -> nothing",
        ]
    );
    let mut turned = before.clone();
    turned.rules.reverse();
    assert_eq!(before.changes(&turned), [Change::Reordered]);
}

#[test]
fn the_schema_names_every_key_of_the_written_form() {
    let known: Vec<&str> = schema().iter().flat_map(|record| record.fields).map(|field| field.key).collect();
    let rule_keys = DOCUMENT.split_once("[[rule]]").unwrap().1.lines().filter_map(|line| line.split_once(" = "));
    for (key, _) in rule_keys {
        assert!(known.contains(&key), "{key}");
    }
}

#[test]
fn a_snapshot_is_read_back_equal_or_refused() {
    let set = RuleSet::parse(DOCUMENT).unwrap();
    let bytes = set.to_bytes();
    assert_eq!(RuleSet::from_bytes(&bytes).unwrap(), set);
    assert_eq!(RuleSet::from_bytes(&RuleSet::default().to_bytes()).unwrap(), RuleSet::default());
    let fault = |bytes: &[u8]| match RuleSet::from_bytes(bytes) {
        Err(Error::Snapshot { fault }) => fault,
        other => panic!("{other:?}"),
    };
    for length in 0..bytes.len() {
        fault(&bytes[..length]);
    }
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0x20;
        fault(&changed);
    }
    assert_eq!(fault(&[&bytes[..], b"x"].concat()), SnapshotFault::Cut);
    assert_eq!(fault(b"GVRULES\x02"), SnapshotFault::Cut);
    assert_eq!(fault(&[b"GVRULES\x02", &bytes[8..]].concat()), SnapshotFault::NotOne);
    // A set that does not compile writes bytes that are refused.
    let mut lost = set;
    lost.rules[0].during = Some("elsewhen".to_owned());
    assert!(matches!(fault(&lost.to_bytes()), SnapshotFault::BadBody { .. }));
    let mut far = RuleSet::parse(DOCUMENT).unwrap();
    far.rules[0].from = Some(WallTime::from_unix_micros(i64::MIN));
    far.rules[0].priority = -1000;
    assert_eq!(RuleSet::from_bytes(&far.to_bytes()).unwrap(), far);
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The bytes with another body: their length and digest are right.
fn with_body(body: &[u8]) -> Vec<u8> {
    [b"GVRULES\x01", &(body.len() as u64).to_le_bytes()[..], &Sha256::digest(body), body].concat()
}

#[test]
fn a_snapshot_says_nothing_twice_and_no_more_than_a_document() {
    // Names "a" and "b"; UTC; then groups, door groups, calendars, schedules, rules, layout.
    let front = b"\x02\x01a\x01b\x03UTC";
    let read = |rest: &[u8]| RuleSet::from_bytes(&with_body(&[front, rest].concat()));
    let day = b"\x0a2026-12-24";
    let calendar = [b"\x01".as_slice(), day].concat();
    let good: [&[u8]; 5] = [
        b"\x01\x00\x02\x00\x01\x00\x00\x00\x00\x00", // group a = [a, b]
        b"\x00\x02\x00\x00\x01\x00\x00\x00\x00\x00", // door groups a and b
        &[b"\x00\x00\x02\x00", &calendar[..], b"\x01", &calendar[..], b"\x00\x00\x00"].concat(),
        b"\x00\x00\x00\x02\x01s\x03UTC\x00\x00\x01t\x03UTC\x00\x00\x00\x00", // schedules s and t
        b"\x00\x00\x00\x00\x00\x00",
    ];
    for (number, rest) in good.into_iter().enumerate() {
        let set = read(rest).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(RuleSet::from_bytes(&set.to_bytes()).unwrap(), set);
    }
    let twice: [&[u8]; 4] = [
        b"\x01\x00\x02\x01\x01\x00\x00\x00\x00\x00",
        b"\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00",
        &[b"\x00\x00\x02\x00", &calendar[..], b"\x00", &calendar[..], b"\x00\x00\x00"].concat(),
        b"\x00\x00\x00\x02\x01s\x03UTC\x00\x00\x01s\x03UTC\x00\x00\x00\x00",
    ];
    for (number, rest) in twice.into_iter().enumerate() {
        let read = read(rest);
        assert!(matches!(read, Err(Error::Snapshot { fault: SnapshotFault::BadBody { .. } })), "{number}: {read:?}");
    }

    let mut set = RuleSet::default();
    let year = Calendar::parse(["2026-01-01/2026-12-31"]).unwrap();
    set.holidays = (0..CALENDARS_MAX).map(|n| (name(&format!("c{n}")), year.clone())).collect();
    set.schedules =
        (0..SCHEDULES_MAX).map(|n| (format!("s{n}"), Schedule::weekly(Zone::utc(), Weekly::always()))).collect();
    assert_eq!(RuleSet::from_bytes(&set.to_bytes()).unwrap(), set);
    let (mut calendars, mut schedules) = (set.clone(), set);
    calendars.holidays.insert(name("one-more"), year);
    schedules.schedules.insert("one-more".to_owned(), Schedule::weekly(Zone::utc(), Weekly::default()));
    for set in [calendars, schedules] {
        assert!(RuleSet::from_bytes(&set.to_bytes()).is_err());
    }
}
