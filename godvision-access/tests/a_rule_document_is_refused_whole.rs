//! One error refuses the document, with the line, column and key where the owner has to look.

use godvision_access::credential::Directory;
use godvision_access::premises::PARTS_MAX;
use godvision_access::rule::{
    CALENDARS_MAX, CredentialKind, DoorSet, GROUPS_EACH_MAX, Kinds, PAIRS_MAX, Question, RULE_PARTS_MAX, Rule,
    SCHEDULES_MAX, Subject, TEXT_BYTES_MAX,
};
use godvision_access::schedule::{Schedule, Weekly, Zone};
use godvision_access::{Error, RuleFault, RuleSet};
use godvision_core::signal::door::{Reason, Verdict};
use godvision_core::{Name, WallTime};

const GOOD: &str = r#"version = 1
zone = "Europe/Berlin"

[groups]
staff = ["ada", "bob"]

[door_groups]
yard = ["yard/door", "yard/gate"]

[schedules]
office = ["Mon-Fri 08:00-18:00"]

[[rule]]
name = "staff"
permit = ["group:staff"]
doors = ["group:yard"]
during = "office"
until = 2030-01-01

[[rule]]
name = "bob-stays-out-of-the-gate"
forbid = ["bob"]
doors = ["yard/gate"]
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn the_good_one_decides() {
    let set = RuleSet::parse(GOOD).unwrap();
    let rules = set.compile().unwrap();
    let ask = |person: &str, door: &str, kind, at: i64| {
        let answer = rules.decide(&Question {
            person: Some(&name(person)),
            door: &name(door),
            presented: Kinds::from(kind),
            at: WallTime::from_unix_seconds(at),
        });
        assert_eq!(answer.verdict == Verdict::Admit, answer.reason == Reason::Permitted);
        (answer.reason, answer.rule.map(ToString::to_string))
    };
    // 2026-11-16 is a Monday; 08:00 in Berlin is 07:00 UTC.
    let eight = 1_794_787_200 + 7 * 3600;
    let qr = CredentialKind::Qr;
    assert_eq!(ask("bob", "yard/door", qr, eight), (Reason::Permitted, Some("staff".into())));
    assert_eq!(ask("bob", "yard/door", qr, eight - 1), (Reason::NoRule, None));
    assert_eq!(ask("bob", "yard/gate", qr, eight), (Reason::Forbidden, Some("bob-stays-out-of-the-gate".into())));
    assert_eq!(ask("ada", "yard/gate", CredentialKind::Plate, eight), (Reason::NotEnough, None), "a plate alone");
    assert_eq!(ask("eve", "yard/gate", qr, eight), (Reason::NoRule, None));
    assert_eq!(ask("ada", "yard/gate", qr, 1_893_456_000), (Reason::NoRule, None), "2030 is over the period");
    let why = set.explain(&Question {
        person: Some(&name("ada")),
        door: &name("yard/door"),
        presented: qr.into(),
        at: WallTime::from_unix_seconds(eight - 1),
    });
    assert_eq!(why.to_string(), "refused: no rule permits it\n  staff is outside its schedule");
}

#[track_caller]
fn refused(text: &str) -> (usize, usize, String, RuleFault) {
    match RuleSet::parse(text) {
        Err(Error::Document { line, column, key, fault }) => (line, column, key, fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_say_where() {
    let cases = [
        ("version = 1", "version = 2", 1, 11, "version", "not 2"),
        ("version = 1\n", "", 1, 1, "version", "version = 1 is missing"),
        ("Europe/Berlin", "Europe/Atlantis", 2, 8, "zone", "no time zone \"Europe/Atlantis\""),
        ("[groups]", "[group]", 4, 2, "group", "means nothing here"),
        ("\"ada\", \"bob\"", "\"ada\", \"a b\"", 5, 17, "groups.staff", "' ' may not stand in a name"),
        ("\"ada\", \"bob\"", "\"ada\", \"ada\"", 5, 17, "groups.staff", "ada stands there twice"),
        ("\"ada\", \"bob\"", "\"ada\", 7", 5, 17, "groups.staff", "a text in quotes is expected"),
        ("[\"yard/door\", \"yard/gate\"]", "\"yard/door\"", 8, 8, "door_groups.yard", "a list of texts"),
        ("Mon-Fri 08", "Mon-Fry 08", 11, 11, "schedules.office", "\"Mon-Fry 08:00-18:00\" is no interval"),
        ("name = \"staff\"\n", "", 13, 1, "rule", "the rule's name is missing"),
        ("permit = [\"group:staff\"]\n", "", 13, 1, "rule staff, permit", "permit or forbid is missing"),
        ("permit = [\"group:staff\"]", "permit = [\"group:stuff\"]", 15, 10, "rule staff, permit", "no group stuff"),
        (
            "doors = [\"group:yard\"]",
            "doors = [\"group:\"]",
            16,
            10,
            "rule staff, doors",
            "part 1 of the name is empty",
        ),
        ("doors = [\"group:yard\"]", "doors = []", 16, 9, "rule staff, doors", "at least one is expected"),
        ("doors = [\"group:yard\"]\n", "", 13, 1, "rule staff, doors", "every door) is missing"),
        ("during = \"office\"", "during = \"weekend\"", 17, 10, "rule staff, during", "no schedule \"weekend\""),
        ("until = 2030-01-01", "until = 2030-02-30", 18, 9, "document", ""),
        ("until = 2030-01-01", "until = \"2030-02-30\"", 18, 9, "rule staff, until", "is no moment"),
        ("until = 2030-01-01", "until = 2030-03-31T02:30:00", 18, 9, "rule staff, until", "never or twice"),
        (
            "until = 2030-01-01",
            "from = 2031-01-01\nuntil = 2030-01-01",
            19,
            9,
            "rule staff, until",
            "ends before it begins",
        ),
        ("until = 2030-01-01", "by = [\"qr\", \"smile\"]", 18, 13, "rule staff, by", "\"smile\" is no credential"),
        ("until = 2030-01-01", "by = [\"qr+pin+card\"]", 18, 7, "rule staff, by", "or two of them as card+pin"),
        ("until = 2030-01-01", "priority = 1001", 18, 12, "rule staff, priority", "from -1000 to 1000"),
        ("until = 2030-01-01", "priority = \"high\"", 18, 12, "rule staff, priority", "a whole number"),
        ("until = 2030-01-01", "priority = 99999999999", 18, 12, "rule staff, priority", "a whole number"),
        (
            "doors = [\"yard/gate\"]",
            "doors = [\"yard/gate\"]\npriority = 1",
            24,
            12,
            "rule bob-stays-out-of-the-gate, priority",
            "wins in any case",
        ),
        (
            "permit = [\"group:staff\"]",
            "permit = [\"group:stuff\"]",
            15,
            10,
            "rule staff, permit",
            "there is no group stuff; is staff meant?",
        ),
        ("during = \"office\"", "during = \"ofice\"", 17, 10, "rule staff, during", "is office meant?"),
        ("[schedules]", "[holidays]\npublic = [\"12-32\"]\n[schedules]", 11, 11, "holidays.public", "is no day"),
        ("[schedules]", "[holidays]\npublic = \"12-25\"\n[schedules]", 11, 10, "holidays.public", "a list of days"),
        ("[schedules]", "[holidays]\npublic = [7]\n[schedules]", 11, 11, "holidays.public", "a text in quotes"),
        ("[schedules]", "[holidays]\n\"a b\" = []\n[schedules]", 11, 1, "holidays.a b", "may not stand in a name"),
        (
            "[\"Mon-Fri 08:00-18:00\"]",
            "{ weekly = [], holidays = [\"public none\"] }",
            11,
            36,
            "schedules.office, holidays",
            "no calendar public in [holidays]",
        ),
        (
            "[\"Mon-Fri 08:00-18:00\"]",
            "{ weekly = [], holidays = [\"public\"] }",
            11,
            37,
            "schedules.office, holidays",
            "a calendar, a space, and hours",
        ),
        (
            "[\"Mon-Fri 08:00-18:00\"]",
            "{ weekly = [], holidays = [\"public never\"] }",
            11,
            37,
            "schedules.office, holidays",
            "\"never\" is no interval",
        ),
        (
            "[schedules]\noffice = [\"Mon-Fri 08:00-18:00\"]",
            "[holidays]\np = []\n[schedules]\noffice = { weekly = [], holidays = [\"p none\", \"p 08:00-09:00\"] }",
            13,
            36,
            "schedules.office, holidays",
            "p stands there twice",
        ),
        ("[\"Mon-Fri 08:00-18:00\"]", "{ weakly = [] }", 11, 12, "weakly", "known are: weekly, zone, holidays"),
        ("until = 2030-01-01", "untill = 2030-01-01", 18, 1, "untill", "means nothing here"),
        (
            "forbid = [\"bob\"]",
            "forbid = [\"bob\"]\npermit = [\"ada\"]",
            22,
            10,
            "rule bob-stays-out-of-the-gate, forbid",
            "not both",
        ),
        ("name = \"bob-stays-out-of-the-gate\"", "name = \"staff\"", 20, 1, "rule", "staff stands there twice"),
        ("[schedules]", "[schedules", 10, 11, "document", ""),
        ("[[rule]]\nname = \"staff\"", "[rule]\nname = \"staff\"", 0, 0, "", ""),
    ];
    for (from, to, line, column, key, words) in cases {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        let found = refused(&text);
        if line > 0 {
            assert_eq!((found.0, &*found.2), (line, key), "{from} -> {to}: {found:?}");
            assert_eq!(found.1, column, "{from} -> {to}: {found:?}");
        }
        assert!(found.3.to_string().contains(words), "{from} -> {to}: {}", found.3);
    }
}

#[test]
fn columns_are_counted_in_characters() {
    let found = refused("version = 1\nzone = \"Ätlantis\" # ä\ngroups = { \"ä\" = 1 }");
    assert_eq!((found.0, found.1), (2, 8));
    let found = refused("version = 1\ngroups = { \"ä\" = 1 }");
    assert_eq!((found.0, found.1), (2, 18));
}

/// So many entries `prefix0 = VALUE`, `prefix1 = VALUE`, ... of `table`.
fn entries(table: &str, prefix: &str, value: &str, count: usize) -> String {
    (0..count).fold(format!("version = 1\n[{table}]\n"), |text, n| text + &format!("{prefix}{n} = {value}\n"))
}

fn rule_for(count: usize) -> String {
    let who: Vec<String> = (0..count).map(|n| format!("\"p{n}\"")).collect();
    format!("version = 1\n[[rule]]\nname = \"r\"\npermit = [{}]\ndoors = [\"any\"]", who.join(","))
}

#[test]
fn limits_hold() {
    type Text = fn(usize) -> String;
    let texts: [(usize, Text); 8] = [
        (TEXT_BYTES_MAX, |bytes| format!("version = 1\n#{}", "x".repeat(bytes - "version = 1\n#".len()))),
        (RULE_PARTS_MAX, rule_for),
        (GROUPS_EACH_MAX, |count| entries("groups", "g", "[\"ada\"]", count)),
        (CALENDARS_MAX, |count| entries("holidays", "c", "[]", count)),
        (SCHEDULES_MAX, |count| entries("schedules", "s", "[]", count)),
        (PARTS_MAX, |count| entries("areas", "a", "{}", count)),
        (PARTS_MAX, |count| entries("doors", "d", "{}", count)),
        (PARTS_MAX, |count| entries("interlocks", "i", "[\"x\", \"y\"]", count)),
    ];
    for (most, text) in texts {
        let set = RuleSet::parse(&text(most)).unwrap();
        set.compile().unwrap();
        let fault = refused(&text(most + 1)).3;
        assert!(matches!(fault, RuleFault::TooMany { limit, .. } if limit == most), "{fault}");
    }

    // What programs make is held to the same, and to as many rules of full size as fit.
    let mut sets = [
        (CALENDARS_MAX, RuleSet::parse(&entries("holidays", "c", "[]", CALENDARS_MAX)).unwrap()),
        (SCHEDULES_MAX, RuleSet::parse(&entries("schedules", "s", "[]", SCHEDULES_MAX)).unwrap()),
        (PAIRS_MAX, RuleSet::parse(&rule_for(RULE_PARTS_MAX)).unwrap()),
    ];
    sets[0].1.holidays.insert(name("one-more"), Default::default());
    sets[1].1.schedules.insert("one-more".to_owned(), Schedule::weekly(Zone::utc(), Weekly::always()));
    let mut full = sets[2].1.rules[0].clone();
    full.doors = (0..RULE_PARTS_MAX).map(|n| DoorSet::Door(name(&format!("d{n}")))).collect();
    sets[2].1.rules = (0..=PAIRS_MAX / RULE_PARTS_MAX / RULE_PARTS_MAX)
        .map(|n| Rule { name: name(&format!("r{n}")), ..full.clone() })
        .collect();
    for (most, set) in sets {
        let error = set.compile().unwrap_err();
        assert!(
            matches!(error, Error::Rule { fault: RuleFault::TooMany { limit, .. }, .. } if limit == most),
            "{error}"
        );
    }
}

#[test]
fn a_word_for_all_is_the_name_of_none() {
    for (from, to, line, column, key) in [
        ("\"ada\", \"bob\"", "\"ada\", \"anyone\"", 5, 17, "groups.staff"),
        ("\"yard/gate\"]\n\n[sch", "\"any\"]\n\n[sch", 8, 22, "door_groups.yard"),
        ("[[rule]]", "[doors]\nany = { relock = false }\n[[rule]]", 14, 7, "doors.any"),
        ("[[rule]]", "[interlocks]\nall = [\"yard/gate\", \"any\"]\n[[rule]]", 14, 21, "interlocks.all"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let found = refused(&GOOD.replacen(from, to, 1));
        assert_eq!((found.0, found.1, &*found.2), (line, column, key), "{found:?}");
        assert!(matches!(found.3, RuleFault::Reserved { .. }), "{found:?}");
    }
    // A program could else make a rule for one that is written as a rule for all.
    let good = RuleSet::parse(GOOD).unwrap();
    let mut sets = [good.clone(), good.clone(), good.clone(), good];
    sets[0].rules[0].who = vec![Subject::Person(name("anyone"))];
    sets[1].rules[0].doors = vec![DoorSet::Door(name("any"))];
    sets[2].groups.insert(name("all"), [name("anyone")].into());
    sets[3].door_groups.insert(name("all"), [name("any")].into());
    for set in sets {
        let error = set.compile().unwrap_err();
        assert!(matches!(error, Error::Rule { fault: RuleFault::Reserved { .. }, .. }), "{error}");
    }
    let error = Directory::new([7; 16]).add_person(name("anyone")).unwrap_err();
    assert!(matches!(error, Error::PersonReserved { .. }), "{error}");
}

#[test]
fn rule_sets_made_by_programs_are_checked_too() {
    type Case = (fn(&mut RuleSet), fn(&RuleFault) -> bool);
    let cases: [Case; 4] = [
        (|set| set.rules[1].name = name("staff"), |fault| matches!(fault, RuleFault::Twice { .. })),
        (|set| set.groups.clear(), |fault| matches!(fault, RuleFault::UnknownGroup { .. })),
        (|set| set.schedules.clear(), |fault| matches!(fault, RuleFault::UnknownSchedule { .. })),
        (
            |set| {
                set.groups = (0..=GROUPS_EACH_MAX).map(|n| (name(&format!("g{n}")), [name("ada")].into())).collect();
                set.rules[0].who = set.groups.keys().cloned().map(Subject::Group).collect();
            },
            |fault| matches!(fault, RuleFault::TooMany { limit: GROUPS_EACH_MAX, .. }),
        ),
    ];
    for (spoil, is_expected) in cases {
        let mut set = RuleSet::parse(GOOD).unwrap();
        spoil(&mut set);
        let error = set.compile().unwrap_err();
        assert!(matches!(&error, Error::Rule { fault, .. } if is_expected(fault)), "{error}");
    }
}
