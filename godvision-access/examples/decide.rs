//! Answers questions by a rule document, one a line, so that anybody can hold the engine against another:
//!
//! ```text
//! $ printf 'ada yard/door 2026-11-16T09:00:00+01:00 card\n' | cargo run -p godvision-access --example decide -- rules.toml
//! admit permitted staff
//! ```
//! A question is a person (or `-`), a door, a moment as RFC 3339 and what was presented: `card`, `pin+face`; a card if it is
//! left out. The answer is the verdict, the code of the reason and the rule (or `-`). Empty lines and lines that begin with
//! `#` are passed over. With `--explain`, what the rules had to say follows each answer, set in by two spaces. A document
//! or a line that is not understood ends it: exit code 1, with the line's number. Next: `src/rule/spec.rs`.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use godvision_access::RuleSet;
use godvision_access::rule::{CredentialKind, Kinds, Question};
use godvision_access::schedule::Zone;
use godvision_core::Name;
use godvision_core::signal::door::Verdict;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match answer(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: &[String]) -> Outcome<()> {
    let explains = arguments.iter().any(|it| it == "--explain");
    let paths: Vec<&String> = arguments.iter().filter(|it| *it != "--explain").collect();
    let [path] = paths.as_slice() else { return Err("usage: decide RULES.toml [--explain] < questions".into()) };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let set = RuleSet::parse(&text).map_err(|error| format!("{path}: {error}"))?;
    let rules = set.compile().map_err(|error| format!("{path}: {error}"))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let line = line?;
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.first().is_none_or(|first| first.starts_with('#')) {
            continue;
        }
        let asked = read(&fields).map_err(|error| format!("question in line {number}: {error}"))?;
        let (person, door, presented, at) = &asked;
        let question = Question { person: person.as_ref(), door, presented: *presented, at: *at };
        let answer = rules.decide(&question);
        let verdict = if answer.verdict == Verdict::Admit { "admit" } else { "refuse" };
        writeln!(out, "{verdict} {} {}", answer.reason.code(), answer.rule.map_or("-", Name::as_str))?;
        if explains {
            writeln!(out, "  {}", set.explain(&question).to_string().replace('\n', "\n  "))?;
        }
    }
    Ok(out.flush()?)
}

fn read(fields: &[&str]) -> Outcome<(Option<Name>, Name, Kinds, godvision_core::WallTime)> {
    let (person, door, at, presented) = match fields {
        [person, door, at] => (person, door, at, CredentialKind::Card.into()),
        [person, door, at, kinds] => {
            let presented = Kinds::from_code(kinds);
            (person, door, at, presented.ok_or(format!("{kinds:?} is no credential: write card, or pin+face"))?)
        }
        _ => return Err("PERSON DOOR MOMENT [KIND[+KIND]] is expected".into()),
    };
    let person = if *person == "-" { None } else { Some(Name::new(person)?) };
    // A moment without an offset would be another one in every zone.
    let is_instant =
        at.contains('T') && (at.ends_with(['Z', 'z']) || at.get(11..).is_some_and(|it| it.contains(['+', '-'])));
    if !is_instant {
        return Err(format!("{at:?} is no moment as RFC 3339 has it, such as 2026-11-16T09:00:00Z").into());
    }
    Ok((person, Name::new(door)?, presented, Zone::utc().instant(at)?))
}
