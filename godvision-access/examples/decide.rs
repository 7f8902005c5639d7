//! Answers questions by a rule document, one a line, so that anybody can hold the engine against another:
//!
//! ```text
//! $ printf 'ada yard/door qr 2026-11-16T09:00:00Z\n' | cargo run -p godvision-access --example decide -- rules.toml
//! admit permitted staff
//! ```
//! A question is a person (or `-`), a door, a kind of credential and a moment; the answer is the verdict, the reason and
//! the rule (or `-`). With `--explain`, each answer is followed by what every rule had to say. Next: `src/rule/spec.rs`.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use godvision_access::RuleSet;
use godvision_access::rule::{CredentialKind, Question};
use godvision_access::schedule::Zone;
use godvision_core::Name;
use godvision_core::signal::door::Verdict;

fn main() -> ExitCode {
    match answer(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}\nusage: decide RULES.toml [--explain] < questions");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [path, options @ ..] = arguments else { return Err("the rule document is missing".into()) };
    let explains = match options {
        [] => false,
        [option] if option == "--explain" => true,
        other => return Err(format!("{other:?} is not understood").into()),
    };
    let set = RuleSet::parse(&std::fs::read_to_string(path)?)?;
    let rules = set.compile()?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [person, door, kind, at] = fields.as_slice() else {
            return Err(format!("line {}: PERSON DOOR KIND MOMENT is expected", number + 1).into());
        };
        let person = if *person == "-" { None } else { Some(Name::new(person)?) };
        let kind = CredentialKind::from_code(kind).ok_or(format!("line {}: no such kind", number + 1))?;
        let question =
            Question { person: person.as_ref(), door: &Name::new(door)?, kind, at: Zone::utc().instant(at)? };
        let answer = rules.decide(&question);
        let verdict = if answer.verdict == Verdict::Admit { "admit" } else { "refuse" };
        writeln!(out, "{verdict} {} {}", answer.reason.code(), answer.rule.map_or("-", Name::as_str))?;
        if explains {
            writeln!(out, "{}", set.explain(&question))?;
        }
    }
    Ok(out.flush()?)
}
