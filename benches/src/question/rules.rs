//! One decision of the rule engine, beside `cedar-policy` given the policies about the door asked for (sliced, as its users
//! would), and beside the plain specification, whose answers are the right ones. Then ours alone at a hundred thousand and a
//! million rules: mean, and the percentiles of single decisions; what it takes to compile them, and to read them from a
//! snapshot; how long they would be as a document.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Request};
use godvision_access::RuleSet;
use godvision_access::rule::{CompiledRules, TEXT_BYTES_MAX, spec};
use godvision_core::Name;
use godvision_core::signal::door::Verdict;

use super::Options;
use crate::cpu;
use crate::oracle::{Cedar, request};
use crate::rules_world::{Asked, Size, World};
use crate::table::{Row, markdown, median};

const SMALL: Size = Size { rules: 1_000, persons: 10_000, groups: 100, doors: 100, door_groups: 20 };
const LARGE: [Size; 2] = [
    Size { rules: 100_000, persons: 10_000, groups: 100, doors: 1_000, door_groups: 50 },
    Size { rules: 1_000_000, persons: 100_000, groups: 100, doors: 1_000, door_groups: 50 },
];
/// Questions that everybody is asked.
const SMALL_QUESTIONS: usize = 2_000;
/// Questions that only we are asked: far more than any cache holds the way to.
const LARGE_QUESTIONS: usize = 1 << 20;
/// Ours is asked the small questions so often in one measurement, so that a clock can see it.
const REPEATS: usize = 100;

enum Contender {
    Ours,
    Naive,
    Cedar,
}

pub(super) fn ask(options: &Options) -> Result<String, Box<dyn Error>> {
    let world = World::new(SMALL);
    let rules = world.set.compile()?;
    let questions = world.questions(SMALL_QUESTIONS);
    let authorizer = Authorizer::new();
    let whole = Cedar::new(&world.set)?;
    let mut slices: BTreeMap<&Name, Cedar> = BTreeMap::new();
    let mut policies = 0;
    for door in &world.doors {
        let slice = world.set.about_door(door);
        policies += slice.rules.len();
        slices.insert(door, whole.with_policies(&slice)?);
    }
    let requests: Vec<Request> =
        questions.iter().map(|it| request(&world.set, &it.question())).collect::<Result<_, _>>()?;
    // Not our engine's: it would always agree with itself.
    let verdicts: Vec<Verdict> = questions.iter().map(|it| spec::decide(&world.set, &it.question()).verdict).collect();
    let share = verdicts.iter().filter(|it| **it == Verdict::Admit).count() as f64 / SMALL_QUESTIONS as f64;
    let mut contenders = [
        (Row::new("godvision rule engine"), Contender::Ours),
        (Row::new("its specification, every rule looked at"), Contender::Naive),
        (Row::new("cedar-policy 4, policies sliced per door, requests made before"), Contender::Cedar),
    ];
    let mut disagreements = [0usize; 3];
    super::rounds(options, &mut contenders, |_, contender| {
        let repeats = if matches!(contender, Contender::Ours) { REPEATS } else { 1 };
        let place = match contender {
            Contender::Ours => 0,
            Contender::Naive => 1,
            Contender::Cedar => 2,
        };
        let mut wrong = 0;
        let began = cpu::of_this_process()?;
        for _ in 0..repeats {
            for ((asked, request), verdict) in questions.iter().zip(&requests).zip(&verdicts) {
                let found = match contender {
                    Contender::Ours => rules.decide(&asked.question()).verdict,
                    Contender::Naive => spec::decide(&world.set, &asked.question()).verdict,
                    Contender::Cedar => slices[&asked.door].verdict(&authorizer, request),
                };
                wrong += usize::from(found != *verdict);
            }
        }
        let spent = cpu::of_this_process()?.saturating_sub(began);
        disagreements[place] += wrong;
        Ok(vec![spent.as_nanos() as f64 / (repeats * SMALL_QUESTIONS) as f64])
    })?;
    let mut rows: Vec<Row> = contenders.into_iter().map(|(row, _)| row).collect();
    for (row, wrong) in rows.iter_mut().zip(disagreements) {
        row.more = vec![wrong.to_string()];
    }
    let mut text = format!(
        "### {} rules, {} persons, {} doors, {SMALL_QUESTIONS} questions, {:.0} % admitted, {:.1} policies a door\n\n{}\n",
        SMALL.rules,
        SMALL.persons,
        SMALL.doors,
        share * 100.0,
        policies as f64 / world.doors.len() as f64,
        markdown("ns CPU a decision", &["disagreements"], &rows)
    );
    text += "### Ours at other sizes, every question once, in no order\n\n\
             | rules | persons x doors | admitted | mean ns CPU | p50 ns | p99 ns | p99.9 ns | built in | snapshot | read in | as text |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n";
    for size in LARGE {
        text += &large(options, size)?;
    }
    text += &format!(
        "\nPercentiles are of single decisions by the wall clock, less the median cost of reading it; the machine's other work \
         is in them. A document may have {:.1} MB: more rules than that are made by a program and kept as a snapshot.\n",
        TEXT_BYTES_MAX as f64 / 1e6
    );
    Ok(text)
}

fn large(options: &Options, size: Size) -> Result<String, Box<dyn Error>> {
    let world = World::new(size);
    let began = cpu::of_this_process()?;
    let rules = world.set.compile()?;
    let built = cpu::of_this_process()?.saturating_sub(began);
    let bytes = world.set.to_bytes();
    let began = cpu::of_this_process()?;
    let again = RuleSet::from_bytes(&bytes)?;
    let read = cpu::of_this_process()?.saturating_sub(began);
    if again != world.set {
        return Err("the snapshot says something else than the rules".into());
    }
    drop(again);
    let text_bytes = world.set.to_text().len();
    let questions = world.questions(LARGE_QUESTIONS);
    // Names in memory of their own, as a directory's are: not those that the index was built from.
    let questions: Vec<Asked> = questions
        .into_iter()
        .map(|it| Ok(Asked { person: Name::new(it.person.as_str())?, door: Name::new(it.door.as_str())?, at: it.at }))
        .collect::<Result<_, godvision_core::NameError>>()?;
    let mut admitted = 0;
    let mut means = Vec::new();
    for _ in 0..options.rounds {
        admitted = 0;
        let began = cpu::of_this_process()?;
        for asked in &questions {
            admitted += usize::from(rules.decide(&asked.question()).verdict == Verdict::Admit);
        }
        let spent = cpu::of_this_process()?.saturating_sub(began);
        means.push(spent.as_nanos() as f64 / questions.len() as f64);
    }
    let single = latencies(&rules, &questions);
    let at = |share: f64| single[((single.len() - 1) as f64 * share) as usize].as_nanos();
    Ok(format!(
        "| {} | {} x {} | {:.0} % | {:.0} | {} | {} | {} | {:.2} s | {:.1} MB | {:.2} s | {:.0} MB |\n",
        size.rules,
        size.persons,
        size.doors,
        admitted as f64 / questions.len() as f64 * 100.0,
        median(&means).unwrap_or(f64::NAN),
        at(0.5),
        at(0.99),
        at(0.999),
        built.as_secs_f64(),
        bytes.len() as f64 / 1e6,
        read.as_secs_f64(),
        text_bytes as f64 / 1e6,
    ))
}

/// How long each decision took, sorted.
#[expect(clippy::disallowed_methods, reason = "the clock of one's own CPU time costs more than a decision")]
fn latencies(rules: &CompiledRules, questions: &[Asked]) -> Vec<Duration> {
    let mut nothing: Vec<Duration> = (0..10_000)
        .map(|_| {
            let began = Instant::now();
            began.elapsed()
        })
        .collect();
    nothing.sort_unstable();
    let reading = nothing[nothing.len() / 2];
    let mut each: Vec<Duration> = questions
        .iter()
        .map(|asked| {
            let began = Instant::now();
            black_box(rules.decide(&asked.question()));
            began.elapsed().saturating_sub(reading)
        })
        .collect();
    each.sort_unstable();
    each
}
