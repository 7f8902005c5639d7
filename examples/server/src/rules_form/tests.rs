//! Documents as forms read and change them.

use super::*;
use godvision_access::RuleSet;
use proptest::prelude::*;
use serde_json::json;

const TEXT: &str = r#"# The house.
version = 1
zone = "Europe/Berlin" # our clocks

[groups]
# Who lives here.
residents = ["ada", "bob"] # all of them
staff = [
    "carl", # the cleaner
    "dora",
]

[schedules]
office = ["Mon-Fri 08:00-18:00"]

# Everybody who lives here.
[[rule]]
name = "home" # first
permit = ["group:residents"]
doors = ["any"]

[[rule]]
name = "cleaning"
permit = ["group:staff"]
doors = ["front"]
during = "office"
until = 2027-01-01
"#;

fn record(table: &str) -> &'static Record {
    schema().iter().find(|it| it.table == table).unwrap()
}

fn put(draft: &mut RuleDraft, table: &str, at: Option<usize>, name: Option<&str>, values: Json) -> usize {
    draft.put(record(table), at, name, values.as_object().unwrap()).unwrap()
}

#[test]
fn a_document_is_shown_as_its_records() {
    let draft = RuleDraft::read(TEXT).unwrap();
    let shown =
        |table| draft.records(record(table)).into_iter().map(|it| (it.name, json!(it.values))).collect::<Vec<_>>();
    assert_eq!(shown(""), [(None, json!({"version": 1, "zone": "Europe/Berlin"}))]);
    assert_eq!(shown("groups")[1], (Some("staff".into()), json!({"members": ["carl", "dora"]})));
    assert_eq!(shown("schedules"), [(Some("office".into()), json!({"weekly": ["Mon-Fri 08:00-18:00"]}))]);
    let cleaning = json!({"name": "cleaning", "permit": ["group:staff"], "doors": ["front"], "during": "office", "until": "2027-01-01"});
    assert_eq!(shown("rule")[1], (None, cleaning));
    assert_eq!((shown("areas").len(), shown("lockout").len()), (0, 0));
}

#[test]
fn a_form_changes_its_field_and_nothing_else() {
    for (table, at, values, from, to) in [
        ("groups", 0, json!({"members": ["ada", "zoe"]}), r#"["ada", "bob"] #"#, r#"["ada", "zoe"] #"#),
        ("groups", 1, json!({"members": ["carl", "dora", "eve"]}), "    \"dora\",\n", "    \"dora\",\n    \"eve\",\n"),
        ("groups", 1, json!({"members": ["dora"]}), "\n    \"carl\", # the cleaner", " # the cleaner"),
        ("rule", 0, json!({"name": "house"}), "\"home\" # first", "\"house\" # first"),
        ("rule", 1, json!({"until": null}), "until = 2027-01-01\n", ""),
        ("rule", 1, json!({"until": "2027-02-01T08:30"}), "2027-01-01\n", "2027-02-01T08:30:00\n"),
        ("rule", 1, json!({"priority": 3}), "2027-01-01\n", "2027-01-01\npriority = 3\n"),
        ("", 0, json!({"zone": "UTC"}), "Europe/Berlin", "UTC"),
        (
            "schedules",
            0,
            json!({"zone": "UTC"}),
            r#"["Mon-Fri 08:00-18:00"]"#,
            r#"{ weekly = ["Mon-Fri 08:00-18:00"], zone = "UTC" }"#,
        ),
    ] {
        let mut draft = RuleDraft::read(TEXT).unwrap();
        put(&mut draft, table, Some(at), None, values.clone());
        assert!(TEXT.contains(from), "{from}");
        assert_eq!(draft.text(), TEXT.replacen(from, to, 1), "{values}");
        RuleSet::parse(&draft.text()).unwrap();
    }
    let mut draft = RuleDraft::read(TEXT).unwrap();
    for table in ["groups", "rule", ""] {
        put(&mut draft, table, Some(0), None, json!({}));
    }
    assert_eq!(draft.text(), TEXT, "nothing said, nothing changed");
}

#[test]
fn records_are_added_where_their_kind_stands_and_removed_whole() {
    let mut draft = RuleDraft::read(TEXT).unwrap();
    assert_eq!(put(&mut draft, "groups", None, Some("guests"), json!({"members": []})), 2);
    put(&mut draft, "areas", None, Some("lab"), json!({"occupancy_max": 4, "two_person": true}));
    put(&mut draft, "areas", None, Some("hall"), json!({}));
    put(&mut draft, "doors", None, Some("lab/door"), json!({"into": "lab", "held_after": "20s"}));
    put(&mut draft, "interlocks", None, Some("trap"), json!({"doors": ["lab/door", "front"]}));
    put(&mut draft, "holidays", None, Some("public"), json!({"dates": ["12-25", "2026-12-24/2027-01-06"]}));
    put(&mut draft, "lockout", None, None, json!({"failures": 3}));
    let rule = json!({"name": "no guests", "forbid": ["group:guests"], "doors": ["any"], "by": ["face+pin"]});
    assert_eq!(put(&mut draft, "rule", None, None, json!({"name": "night", "permit": ["zoe"], "doors": ["any"]})), 2);
    let _ = rule;
    let text = draft.text();
    let set = RuleSet::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!((set.rules.len(), set.layout.areas.len(), set.layout.doors.len()), (3, 2, 1));
    assert!(text.find("[areas]") < text.find("[[rule]]") && text.contains("hall = {}"), "{text}");
    assert!(text.contains("# Everybody who lives here.\n[[rule]]"), "a comment stays with its rule: {text}");
    for (table, at) in [("rule", 2), ("groups", 2), ("areas", 1), ("areas", 0), ("doors", 0), ("interlocks", 0)] {
        draft.remove(record(table), at).unwrap();
    }
    draft.remove(record("lockout"), 0).unwrap();
    draft.remove(record("holidays"), 0).unwrap();
    assert_eq!(RuleSet::parse(&draft.text()).unwrap(), RuleSet::parse(TEXT).unwrap());
    draft.remove(record("rule"), 0).unwrap();
    assert!(!draft.text().contains("Everybody who lives here") && draft.text().contains("# our clocks"));
}

#[test]
fn what_is_wrong_is_said_at_its_field() {
    let told = |table, at, name, values: Json| {
        let mut draft = RuleDraft::read(TEXT).unwrap();
        let problem = draft.put(record(table), at, name, values.as_object().unwrap()).unwrap_err();
        (problem.key, problem.detail)
    };
    assert_eq!(told("groups", None, None, json!({})).0, Some("name"));
    assert_eq!(told("groups", None, Some("staff"), json!({})).0, Some("name"));
    assert_eq!(told("rule", None, None, json!({"name": "x", "doors": ["any"]})).0, Some("permit"));
    assert_eq!(told("rule", None, None, json!({"name": "x", "permit": ["a"]})).0, Some("doors"));
    assert_eq!(told("rule", Some(1), None, json!({"doors": "any"})).0, Some("doors"));
    assert_eq!(told("rule", Some(9), None, json!({})).0, None);
    assert_eq!(told("rule", Some(0), None, json!({"colour": 1})).0, None);
    assert_eq!(told("lockout", None, None, json!({"failures": "many"})).0, Some("failures"));
    let mut draft = RuleDraft::read("version = 1\nrule = []\n").unwrap();
    assert!(draft.list(record("rule")).unwrap_err().detail.contains("[[rule]]"));
    assert!(RuleDraft::read("version =").is_err());
    assert!(draft.remove(record(""), 0).is_err() && draft.remove(record("groups"), 0).is_err());
}

#[test]
fn a_place_in_the_text_is_a_field_of_a_form() {
    let place = |needle: &str| {
        let at = TEXT.find(needle).unwrap();
        let line = TEXT[..at].matches('\n').count() + 1;
        let column = TEXT[..at].rsplit('\n').next().unwrap().chars().count() + 1;
        place_of(TEXT, line, column).map(|it| (it.table, it.at, it.key))
    };
    assert_eq!(place("\"Europe"), Some(("", 0, Some("zone"))));
    assert_eq!(place("\"dora"), Some(("groups", 1, Some("members"))));
    assert_eq!(place("\"office\""), Some(("rule", 1, Some("during"))));
    assert_eq!(place("until"), Some(("rule", 1, Some("until"))));
    assert_eq!(place("[\"Mon"), Some(("schedules", 0, Some("weekly"))));
    assert_eq!(place("[[rule]]\nname = \"cleaning\""), Some(("rule", 1, None)));
    assert_eq!(place_of("version =", 1, 1), None);
}

/// Lines that documents are made of, in every form that TOML has for them; not all orders are TOML.
const LINES: &[&str] = &[
    "version = 1",
    "groups = { staff = [\"a\"], \"b/c\" = [] } # inline",
    "groups.staff = [\"a\"]",
    "[groups]",
    "staff = [\"a\", # one\n  \"b\",\n]",
    "[schedules]",
    "office = [\"Mon 08:00-09:00\"]",
    "night.weekly = [\"daily 22:00-06:00\"]",
    "[schedules.late]",
    "weekly = [\"Sun 10:00-11:00\"]",
    "[doors.\"lab/door\"]",
    "into = \"lab\"",
    "[areas]",
    "lab = {}",
    "rule = []",
    "rule = [{ name = \"x\" }]",
    "[[rule]] # first",
    "name = \"r\"",
    "permit = [\"anyone\"]",
    "doors = [\"any\"]",
    "until = 2027-01-01",
    "[lockout]",
    "failures = 3",
    "failures = [1, { a = 2 }]",
    "# only words\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_the_text_a_form_changes_its_record_alone(
        lines in prop::collection::vec(prop::sample::select(LINES), 0..12),
        table in 0..schema().len(),
        at in prop::option::of(0_usize..3),
        value in prop::sample::select(vec![json!(["a"]), json!([]), json!(null), json!("2027-02-01T10:00"), json!(true), json!(4)]),
        removes in any::<bool>(),
    ) {
        let (text, record) = (lines.join("\n"), &schema()[table]);
        for (line, column) in [(0, 0), (1, 1), (3, 7), (99, 99)] {
            let _ = place_of(&text, line, column);
        }
        let Ok(mut draft) = RuleDraft::read(&text) else { return Ok(()) };
        let others = |draft: &RuleDraft| {
            let others = schema().iter().filter(|it| it.table != record.table);
            others.map(|it| draft.records(it)).collect::<Vec<_>>()
        };
        let before = others(&draft);
        let values: serde_json::Map<_, _> = record.fields.iter().map(|it| (it.key.to_owned(), value.clone())).collect();
        let done = match (removes, at) {
            (true, Some(at)) => draft.remove(record, at).map(|()| None),
            _ => draft.put(record, at, Some("new"), &values).map(Some),
        };
        let Ok(done) = done else { return Ok(()) };
        let again = RuleDraft::read(&draft.text());
        prop_assert!(again.is_ok(), "{}\n-->\n{}", text, draft.text());
        let again = again.unwrap();
        prop_assert_eq!(others(&again), before, "{}\n-->\n{}", text, draft.text());
        if let Some(at) = done {
            prop_assert!(again.records(record).len() > at || record.shape == Shape::Top, "{}\n-->\n{}", text, draft.text());
        }
    }
}
