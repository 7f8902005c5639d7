//! Who may, when next, and the week as intervals: held against asking the engine at every minute.

use godvision_access::RuleSet;
use godvision_access::rule::{CompiledRules, CredentialKind, Kinds, Question};
use godvision_access::schedule::Zone;
use godvision_core::signal::door::{Reason, Verdict};
use godvision_core::{Name, WallTime};

const RULES: &str = r#"
    version = 1
    zone = "Europe/Berlin"
    groups = { staff = ["ada", "bob"] }
    holidays = { public = ["2026-10-26", "2026-12-25"], eves = ["2026-12-24"] }
    [schedules]
    office = { weekly = ["Mon-Fri 08:00-18:00"], holidays = ["public none", "eves 08:00-12:00"] }
    night = { weekly = ["daily 22:00-06:00"], holidays = ["public 23:30-00:30"] }
    early = ["Sun 02:15-02:45"]
    abroad = { zone = "America/New_York", weekly = ["Sun 00:30-03:30"] }
    [[rule]]
    name = "staff"
    permit = ["group:staff"]
    doors = ["door"]
    by = ["card", "pin+face"]
    during = "office"
    [[rule]]
    name = "guard"
    permit = ["guard"]
    doors = ["door"]
    during = "night"
    [[rule]]
    name = "odd-hours"
    permit = ["odd"]
    doors = ["door"]
    during = "early"
    [[rule]]
    name = "far"
    permit = ["odd"]
    doors = ["door"]
    during = "abroad"
    [[rule]]
    name = "bob-is-away"
    forbid = ["bob"]
    doors = ["any"]
    from = 2026-12-21T10:00:00
    until = 2026-12-22T09:00:30
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at(text: &str) -> WallTime {
    Zone::named("Europe/Berlin").unwrap().instant(text).unwrap()
}

fn card() -> Kinds {
    CredentialKind::Card.into()
}

fn rules() -> CompiledRules {
    RuleSet::parse(RULES).unwrap().compile().unwrap()
}

const SECOND: i64 = 1_000_000;

/// Weeks in which clocks go forward, back, in which there are holidays, and a usual one; also those of New York's changes.
const WEEKS: [&str; 7] =
    ["2026-03-25", "2026-10-20", "2026-10-28", "2026-12-22", "2026-11-16", "2026-03-04", "2026-11-01T23:59:00"];

#[test]
fn the_week_is_what_every_half_minute_says() {
    let rules = rules();
    let zone = Zone::named("Europe/Berlin").unwrap();
    let mut opened = 0;
    for person in ["ada", "bob", "guard", "odd", "stranger"].map(name) {
        for week in WEEKS {
            let asked = at(week);
            let question = Question { person: Some(&person), door: &name("door"), presented: card(), at: asked };
            let openings = rules.week_of(&question);
            for pair in openings.windows(2) {
                assert!(pair[0].until <= pair[1].from, "{openings:?}");
            }
            let week_of = |at: WallTime| zone.local(at).map(|it| it.date.plus_days(-i32::from(it.date.weekday())));
            for half_minutes in -8 * 2880..=8 * 2880i64 {
                let moment = asked.plus_micros(half_minutes * 30 * SECOND);
                let inside = openings.iter().find(|it| (it.from..it.until).contains(&moment));
                let answer = rules.decide(&Question { at: moment, ..question });
                let expected =
                    answer.rule.filter(|_| answer.verdict == Verdict::Admit && week_of(moment) == week_of(asked));
                assert_eq!(inside.map(|it| it.rule), expected, "{person} at {moment}");
                opened += usize::from(inside.is_some());
            }
        }
    }
    assert!(opened > 10_000);
    let question =
        Question { person: Some(&name("ada")), door: &name("door"), presented: card(), at: WallTime::default() };
    assert_eq!(rules.week_of(&question), [], "a clock that was never set shows no week");
}

#[test]
fn the_next_change_is_the_first() {
    let rules = rules();
    for person in ["ada", "bob", "guard", "odd", "stranger"].map(name) {
        for week in WEEKS {
            let from = at(week).plus_micros(17 * SECOND);
            let until = from.plus_micros(5 * 86_400 * SECOND);
            let question = Question { person: Some(&person), door: &name("door"), presented: card(), at: from };
            let (now, next) = (rules.decide(&question), rules.next_change(&question, until));
            let steps = (1..5 * 8640i64).map(|step| from.plus_micros(step * 10 * SECOND));
            let naive = steps.clone().find(|at| rules.decide(&Question { at: *at, ..question }) != now);
            match (next, naive) {
                (Some((at, answer)), Some(seen)) => {
                    assert!(at <= seen && seen < at.plus_micros(10 * SECOND), "{person} from {from}: {at}, {seen}");
                    assert_eq!(rules.decide(&Question { at, ..question }), answer);
                    assert_eq!(rules.decide(&Question { at: at.plus_micros(-1), ..question }), now);
                }
                (None, None) => {}
                other => panic!("{person} from {from}: {other:?}"),
            }
            let opens = rules.opens_at(&question, until);
            let naive = std::iter::once(from)
                .chain(steps)
                .find(|at| rules.decide(&Question { at: *at, ..question }).verdict == Verdict::Admit);
            assert_eq!(opens.is_some(), naive.is_some(), "{person} from {from}");
            assert!(
                opens.zip(naive).is_none_or(|(opens, seen)| opens <= seen && seen < opens.plus_micros(10 * SECOND))
            );
        }
    }
}

#[test]
fn an_owner_asks() {
    let (set, rules) = (RuleSet::parse(RULES).unwrap(), rules());
    let persons = ["ada", "bob", "guard", "stranger"].map(name);
    let door = name("door");
    let who = |text: &str, presented: &str| -> Vec<&str> {
        let answers = rules.who_may(&persons, &door, Kinds::from_code(presented).unwrap(), at(text));
        answers.into_iter().filter(|(_, it)| it.verdict == Verdict::Admit).map(|(person, _)| person.as_str()).collect()
    };
    assert_eq!(who("2026-11-22T03:00:00", "card"), ["guard"], "who could enter here on Sunday at 3?");
    assert_eq!(who("2026-11-23T09:00:00", "card"), ["ada", "bob"]);
    assert_eq!(who("2026-11-23T09:00:00", "pin+face"), ["ada", "bob"]);
    assert!(who("2026-11-23T09:00:00", "pin").is_empty());

    let ask = |person, presented: &str, text: &str| {
        let person = name(person);
        let question = Question {
            person: Some(&person),
            door: &door,
            presented: Kinds::from_code(presented).unwrap(),
            at: at(text),
        };
        let opens = rules.opens_at(&question, question.at.plus_micros(10 * 86_400 * SECOND));
        (set.explain(&question).to_string(), opens)
    };
    let (why, opens) = ask("ada", "card", "2026-12-24T13:00:00");
    let others =
        ["guard", "odd-hours", "far"].map(|it| format!("\n  {it} is about somebody else and is outside its schedule"));
    assert_eq!(why, format!("refused: no rule permits it\n  staff is outside its schedule{}", others.concat()));
    assert_eq!(opens, Some(at("2026-12-28T08:00:00")), "after the holiday and the weekend");
    let (why, opens) = ask("ada", "pin", "2026-11-23T09:00:00");
    assert!(
        why.starts_with("refused: this credential does not open this door alone\n  staff asks for other credentials\n"),
        "{why}"
    );
    assert_eq!(opens, None, "with a PIN alone never");
    let (why, _) = ask("bob", "card", "2026-12-21T11:00:00");
    assert_eq!(why, "refused: a rule forbids it (bob-is-away)\n  staff permits\n  bob-is-away forbids");

    let person = name("ada");
    let question = Question {
        person: Some(&person),
        door: &door,
        presented: CredentialKind::Pin.into(),
        at: at("2026-11-23T09:00:00"),
    };
    assert_eq!(rules.decide(&question).reason, Reason::NotEnough);
    assert_eq!(rules.completing(&question).to_string(), "card+face", "either of them");
    assert_eq!(rules.is_during("office", at("2026-12-24T11:59:00")), Some(true));
    assert_eq!(rules.is_during("office", at("2026-12-24T12:00:00")), Some(false));
    assert_eq!(rules.is_during("nights", at("2026-12-24T12:00:00")), None);
}
