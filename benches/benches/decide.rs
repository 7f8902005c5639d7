//! One decision of the rule engine: 1 thousand, 100 thousand and 1 million rules (`rules_world`). The time is that of one
//! question after another: throughput. `compare rules` has the percentiles of single decisions, and the peers.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godvision_access::rule::CompiledRules;
use godvision_benches::rules_world::{Asked, Size, World};
use godvision_core::signal::door::Verdict;

const QUESTIONS: usize = 1 << 18;

fn admitted(rules: &CompiledRules, questions: &[Asked]) -> usize {
    questions.iter().filter(|asked| rules.decide(&asked.question()).verdict == Verdict::Admit).count()
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(QUESTIONS as u64)).sample_size(10);
    for (rules, persons) in [(1_000, 10_000), (100_000, 10_000), (1_000_000, 100_000)] {
        let world = World::new(Size { rules, persons, groups: 100, doors: 1_000, door_groups: 50 });
        let compiled = world.set.compile().expect("rules that compile");
        let questions = world.questions(QUESTIONS);
        let share = admitted(&compiled, &questions) as f64 / questions.len() as f64;
        println!("{rules} rules: {:.0} % of {QUESTIONS} questions admitted", share * 100.0);
        group.bench_function(BenchmarkId::from_parameter(rules), |bencher| {
            bencher.iter(|| admitted(&compiled, &questions))
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
