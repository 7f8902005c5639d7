//! A running graph: supervision, control, hot edits. Time is virtual where a test waits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_core::bus::{
    Component, ComponentState, Context, Control, Fault, Host, HostError, HostOptions, Kind, ParamError, ParamKind,
    ParamSpec, Params, Policy, PortSpec, Registry, Target, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::{MemoryJournal, Query};
use godvision_core::signal::{Signal, SignalType};
use godvision_core::site::SiteDocument;
use godvision_core::{Name, Secret};

#[derive(Clone, Debug)]
struct Number(u32);
impl Signal for Number {
    const TYPE: SignalType = SignalType { name: "number", version: 1 };
}

#[derive(Clone, Debug)]
struct Word;
impl Signal for Word {
    const TYPE: SignalType = SignalType { name: "word", version: 1 };
}

/// Emits 0, 1, 2, ... until stopped, as fast as its consumers take them.
struct Count {
    spec: UnitSpec,
    next: Arc<AtomicU32>,
}

struct Counting(Arc<AtomicU32>);

impl Component for Counting {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let out = cx.output::<Number>("numbers")?;
            let stopping = cx.stopping();
            while !stopping.is_set() {
                if out.is_wanted() {
                    out.send(Number(self.0.fetch_add(1, Ordering::SeqCst)));
                }
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            Ok(())
        })
    }
}

impl Unit for Count {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Counting(Arc::clone(&self.next))))
    }
}

/// Keeps what it gets; panics, fails or hangs when told by its parameters.
struct Keep {
    spec: UnitSpec,
    kept: Arc<Mutex<Vec<u32>>>,
}

struct Keeping {
    kept: Arc<Mutex<Vec<u32>>>,
    panic_at: Option<u32>,
    mood: String,
}

impl Component for Keeping {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut input = cx.input::<Number>("numbers")?;
            match self.mood.as_str() {
                "fatal" => return Err(Fault::Fatal("cannot be mended".into())),
                "hang" => std::future::pending::<()>().await,
                _ => {}
            }
            while let Some(number) = input.recv().await {
                let kept = self.kept.lock().map(|mut kept| {
                    kept.push(number.0);
                    kept.len() as u32
                });
                if kept.ok() == self.panic_at {
                    panic!("told to");
                }
            }
            Ok(())
        })
    }
}

impl Unit for Keep {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }
    fn create(&self, _: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        if params.text("mood") == Some("refuse") {
            return Err(params.error("mood", "this unit is not in the mood"));
        }
        Ok(Box::new(Keeping {
            kept: Arc::clone(&self.kept),
            panic_at: params.integer("panic_at").map(|at| at as u32),
            mood: params.text("mood").unwrap_or_default().to_owned(),
        }))
    }
}

struct Bench {
    host: Host,
    next: Arc<AtomicU32>,
    kept: Arc<Mutex<Vec<u32>>>,
    journal: Arc<MemoryJournal>,
}

impl Bench {
    fn new() -> Self {
        let (next, kept, journal) = (Arc::default(), Arc::default(), Arc::new(MemoryJournal::default()));
        let count = UnitSpec {
            name: "count",
            about: "counts",
            kind: Kind::Generator,
            inputs: vec![],
            outputs: vec![PortSpec::output::<Number>("numbers"), PortSpec::output::<Word>("words")],
            params: vec![],
        };
        let keep = UnitSpec {
            name: "keep",
            about: "keeps",
            kind: Kind::Sink,
            inputs: vec![PortSpec::input::<Number>("numbers", Policy::Lossless { capacity: 16 })],
            outputs: vec![],
            params: vec![
                ParamSpec::optional("panic_at", ParamKind::Integer { min: 1, max: 1000 }, "when to panic"),
                ParamSpec::optional("mood", ParamKind::Choice(&["fatal", "hang", "refuse", "fine"]), "what to do"),
                ParamSpec::optional("password", ParamKind::Secret, "a secret"),
            ],
        };
        let registry = Registry::new()
            .with(Count { spec: count, next: Arc::clone(&next) })
            .with(Keep { spec: keep, kept: Arc::clone(&kept) });
        let options = HostOptions {
            journal: Arc::clone(&journal) as _,
            secrets: Arc::new(|name| (name == "known").then(|| Secret::from("hunter2"))),
            ..HostOptions::default()
        };
        Self { host: Host::new(options, registry), next, kept, journal }
    }

    async fn apply(&self, text: &str) -> Result<godvision_core::bus::Changes, HostError> {
        self.host.apply(&SiteDocument::parse(text).unwrap()).await
    }

    fn state(&self, name: &str) -> ComponentState {
        self.host.component(&Name::new(name).unwrap()).unwrap().state
    }

    fn kept(&self) -> Vec<u32> {
        self.kept.lock().unwrap().clone()
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        let patience = tokio::time::timeout(Duration::from_secs(3600), async {
            while !what(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        patience.await.expect("never came true");
    }
}

fn site(keep_params: &str) -> String {
    format!(
        "version = 1\nsite = \"s\"\n[[component]]\nname = \"a/count\"\nunit = \"count\"\n[[component]]\nname = \"b/keep\"\nunit = \"keep\"\nparams = {{ {keep_params} }}\n[[link]]\nfrom = \"a/count#numbers\"\nto = \"b/keep#numbers\"\n"
    )
}

#[tokio::test(start_paused = true)]
async fn a_graph_runs_and_drains_without_losing_anything() {
    let bench = Bench::new();
    bench.apply(&site("")).await.unwrap();
    bench.until(|bench| bench.kept().len() > 500).await;
    bench.host.shutdown().await;
    let kept = bench.kept();
    assert_eq!(kept, (0..bench.next.load(Ordering::SeqCst)).collect::<Vec<_>>());
    assert_eq!(bench.state("a/count"), ComponentState::Stopped);
    let status = bench.host.component(&Name::new("b/keep").unwrap()).unwrap();
    assert_eq!(status.inputs[0].accepted, kept.len() as u64);
    assert_eq!(status.inputs[0].dropped_total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_component_is_started_again_and_harms_nobody() {
    let bench = Bench::new();
    bench.apply(&site("panic_at = 5")).await.unwrap();
    bench.until(|bench| bench.kept().len() > 100).await;
    let kept = bench.kept();
    assert_eq!(kept, (0..kept.len() as u32).collect::<Vec<_>>(), "the queue outlives its component");
    let status = bench.host.component(&Name::new("b/keep").unwrap()).unwrap();
    assert_eq!((status.starts, status.faults), (2, 1));
    assert!(status.last_fault.unwrap().contains("told to"));
    assert_eq!(bench.host.component(&Name::new("a/count").unwrap()).unwrap().starts, 1);
    let entries = bench.journal.read(&Query { service: Some(Name::new("b/keep").unwrap()), ..Query::default() });
    assert_eq!(entries[0].code, "component.failed");
    bench.host.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_fatal_fault_stays_down_and_a_hang_is_ended() {
    let bench = Bench::new();
    bench.apply(&site("mood = \"fatal\"")).await.unwrap();
    bench.until(|bench| bench.state("b/keep") == ComponentState::Failed).await;
    bench.apply(&site("mood = \"hang\"")).await.unwrap();
    bench.until(|bench| bench.state("b/keep") == ComponentState::Running).await;
    bench.host.shutdown().await;
    assert_eq!(bench.state("b/keep"), ComponentState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn pause_shuts_the_ports_and_resume_opens_them() {
    let bench = Bench::new();
    bench.apply(&site("")).await.unwrap();
    bench.until(|bench| bench.kept().len() > 10).await;
    let keep = Target::Named(Name::new("b").unwrap());
    assert_eq!(bench.host.control(&keep, Control::Pause).await.unwrap(), 1);
    assert_eq!(bench.state("b/keep"), ComponentState::Paused);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = bench.kept().len();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(bench.kept().len(), before);
    bench.host.control(&keep, Control::Resume).await.unwrap();
    bench.until(|bench| bench.kept().len() > before + 10).await;
    let nobody = Target::Named(Name::new("nobody").unwrap());
    assert!(matches!(bench.host.control(&nobody, Control::Stop).await, Err(HostError::NoSuchTarget(_))));
    bench.host.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn restart_and_replacement_keep_what_is_queued() {
    let bench = Bench::new();
    bench.apply(&site("")).await.unwrap();
    for round in 1..6 {
        bench.until(|bench| bench.kept().len() > round * 50).await;
        bench.host.control(&Target::Named(Name::new("b/keep").unwrap()), Control::Restart).await.unwrap();
        let changes = bench.apply(&site(&format!("panic_at = {}", 990 + round))).await.unwrap();
        assert_eq!(changes.replaced, [Name::new("b/keep").unwrap()]);
        assert!(changes.added.is_empty() && changes.linked.is_empty());
    }
    bench.host.shutdown().await;
    assert_eq!(bench.kept(), (0..bench.next.load(Ordering::SeqCst)).collect::<Vec<_>>());
    assert_eq!(
        bench.host.component(&Name::new("a/count").unwrap()).unwrap().starts,
        1,
        "the neighbour was not touched"
    );
}

#[tokio::test(start_paused = true)]
async fn an_edit_touches_only_what_it_names() {
    let bench = Bench::new();
    bench.apply(&site("")).await.unwrap();
    bench.until(|bench| bench.kept().len() > 10).await;
    let instance = |name: &str| bench.host.component(&Name::new(name).unwrap()).map(|status| status.instance);
    let before = (instance("a/count"), instance("b/keep"));
    let more = format!(
        "{}[[component]]\nname = \"c\"\nunit = \"keep\"\n[[link]]\nfrom = \"a/count#numbers\"\nto = \"c#numbers\"\n",
        site("")
    );
    let changes = bench.apply(&more).await.unwrap();
    assert_eq!((changes.added.len(), changes.linked.len(), changes.replaced.len()), (1, 1, 0));
    assert_eq!((instance("a/count"), instance("b/keep")), before);
    assert!(bench.apply(&more).await.unwrap().is_empty());
    let changes = bench.apply(&site("")).await.unwrap();
    assert_eq!((changes.removed.len(), changes.unlinked.len()), (1, 1));
    assert_eq!(instance("c"), None);
    let off = format!("{}[[subsystem]]\nname = \"b\"\nenabled = false\n", site(""));
    assert_eq!(bench.apply(&off).await.unwrap().switched, [Name::new("b/keep").unwrap()]);
    assert_eq!(bench.state("b/keep"), ComponentState::Stopped);
    assert_eq!(bench.state("a/count"), ComponentState::Running);
    bench.host.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_document_with_an_error_is_refused_whole() {
    let bench = Bench::new();
    bench.apply(&site("")).await.unwrap();
    let running = bench.host.component(&Name::new("b/keep").unwrap()).unwrap().instance;
    for (wrong, told) in [
        (site("colour = 1"), "line 9: component b/keep: colour: no such parameter"),
        (site("mood = \"refuse\""), "component b/keep: mood: this unit is not in the mood"),
        (site("password = { secret = \"unknown\" }"), "there is no secret called \"unknown\""),
        (site("").replace("\"keep\"", "\"koop\""), "there is no unit \"koop\"; known are: count, keep"),
        (
            site("").replace("a/count#numbers", "a/count#words"),
            "the output gives word v1 but the input takes number v1",
        ),
        (site("").replace("a/count#numbers", "a/count#n"), "has no output \"n\"; known are: numbers, words"),
        (site("").replace("to = \"b/keep", "to = \"b/keeper"), "there is no component b/keeper"),
    ] {
        let error = bench.apply(&wrong).await.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        assert_eq!(bench.host.component(&Name::new("b/keep").unwrap()).unwrap().instance, running);
    }
    bench.apply(&site("password = { secret = \"known\" }")).await.unwrap();
    bench.host.shutdown().await;
}

#[test]
#[should_panic(expected = "its ports make it another kind")]
fn a_unit_of_the_wrong_kind_is_a_bug_found_at_start() {
    let spec = UnitSpec { name: "odd", about: "", kind: Kind::Sink, inputs: vec![], outputs: vec![], params: vec![] };
    let _ = Registry::new().with(Count { spec, next: Arc::default() });
}
