//! One error refuses the document, with the line, column and key where the owner has to look.

use godvision_access::rule::{
    CALENDARS_MAX, CredentialKind, GROUPS_EACH_MAX, Kinds, PAIRS_MAX, Question, RULE_PARTS_MAX, TEXT_BYTES_MAX,
};
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

#[test]
fn limits_hold() {
    let too_long = format!("version = 1\n#{}", "x".repeat(TEXT_BYTES_MAX));
    assert!(matches!(refused(&too_long).3, RuleFault::TooMany { limit: TEXT_BYTES_MAX, .. }));

    let many_persons: Vec<String> = (0..=RULE_PARTS_MAX).map(|n| format!("\"p{n}\"")).collect();
    let rule = |who: &[String]| {
        format!("version = 1\n[[rule]]\nname = \"r\"\npermit = [{}]\ndoors = [\"any\"]", who.join(","))
    };
    assert!(RuleSet::parse(&rule(&many_persons[..RULE_PARTS_MAX])).is_ok());
    assert!(matches!(refused(&rule(&many_persons)).3, RuleFault::TooMany { limit: RULE_PARTS_MAX, .. }));

    let groups = |count: usize| {
        (0..count).fold("version = 1\n[groups]\n".to_owned(), |text, n| text + &format!("g{n} = [\"ada\"]\n"))
    };
    assert!(RuleSet::parse(&groups(GROUPS_EACH_MAX)).is_ok());
    assert!(matches!(refused(&groups(GROUPS_EACH_MAX + 1)).3, RuleFault::TooMany { limit: GROUPS_EACH_MAX, .. }));

    let calendars = |count: usize| {
        (0..count).fold("version = 1\n[holidays]\n".to_owned(), |text, n| text + &format!("c{n} = []\n"))
    };
    let mut set = RuleSet::parse(&calendars(CALENDARS_MAX)).unwrap();
    assert!(matches!(refused(&calendars(CALENDARS_MAX + 1)).3, RuleFault::TooMany { limit: CALENDARS_MAX, .. }));
    set.holidays.insert(name("one-more"), Default::default());
    let error = set.compile().unwrap_err();
    assert!(matches!(error, Error::Rule { fault: RuleFault::TooMany { limit: CALENDARS_MAX, .. }, .. }), "{error}");

    // As many rules of full size as fit, and one more.
    let mut set = RuleSet::parse(&rule(&many_persons[..RULE_PARTS_MAX])).unwrap();
    let mut full = set.rules[0].clone();
    full.doors = (0..RULE_PARTS_MAX).map(|n| godvision_access::rule::DoorSet::Door(name(&format!("d{n}")))).collect();
    set.rules = (0..=PAIRS_MAX / RULE_PARTS_MAX / RULE_PARTS_MAX)
        .map(|n| godvision_access::rule::Rule { name: name(&format!("r{n}")), ..full.clone() })
        .collect();
    let error = set.compile().unwrap_err();
    assert!(matches!(error, Error::Rule { fault: RuleFault::TooMany { limit: PAIRS_MAX, .. }, .. }), "{error}");
}

#[test]
fn rule_sets_made_by_programs_are_checked_too() {
    let good = RuleSet::parse(GOOD).unwrap();
    let mut twice = good.clone();
    twice.rules[1].name = name("staff");
    assert!(matches!(twice.compile(), Err(Error::Rule { fault: RuleFault::Twice { .. }, .. })));
    let mut lost = good.clone();
    lost.groups.clear();
    assert!(matches!(lost.compile(), Err(Error::Rule { fault: RuleFault::UnknownGroup { .. }, .. })));
    let mut lost = good.clone();
    lost.schedules.clear();
    assert!(matches!(lost.compile(), Err(Error::Rule { fault: RuleFault::UnknownSchedule { .. }, .. })));
    let mut many = good;
    many.groups = (0..=GROUPS_EACH_MAX).map(|n| (name(&format!("g{n}")), [name("ada")].into())).collect();
    many.rules[0].who = many.groups.keys().cloned().map(godvision_access::rule::Subject::Group).collect();
    assert!(matches!(
        many.compile(),
        Err(Error::Rule { fault: RuleFault::TooMany { limit: GROUPS_EACH_MAX, .. }, .. })
    ));
}
