//! Random graphs, loops included: nothing stalls, credited sends never fail, every signal is accounted for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use godvision_core::Name;
use godvision_core::bus::{
    Component, Context, Control, Credits, DropReason, Fault, Host, HostOptions, Kind, Output, ParamError, Params,
    Policy, PortSpec, Registry, Target, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::signal::{Signal, SignalType};
use godvision_core::site::{ComponentEntry, SiteDocument};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Hop(u8);
impl Signal for Hop {
    const TYPE: SignalType = SignalType { name: "hop", version: 1 };
}

const WINDOW: u32 = 3;
const HOPS: u8 = 12;

struct Source(UnitSpec, Arc<AtomicU64>);
struct Relay(UnitSpec, Arc<AtomicU64>);

impl Unit for Source {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Run { refused: Arc::clone(&self.1), source: true }))
    }
}

impl Unit for Relay {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Run { refused: Arc::clone(&self.1), source: false }))
    }
}

struct Run {
    refused: Arc<AtomicU64>,
    source: bool,
}

impl Run {
    async fn emit(&self, cx: &Context) -> Result<(), Fault> {
        let (out, credits): (Output<Hop>, _) = (cx.output("out")?, Credits::new(WINDOW));
        let mut stopping = cx.stopping();
        loop {
            tokio::select! {
                credit = credits.take() => {
                    let outcome = out.send_credited(Hop(HOPS), &credit);
                    self.refused.fetch_add(u64::from(outcome.refused), Ordering::Relaxed);
                }
                () = stopping.wait() => return Ok(()),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn forward(&self, cx: &Context) -> Result<(), Fault> {
        let (mut credited, mut looped) = (cx.input::<Hop>("credited")?, cx.input::<Hop>("looped")?);
        let (out, back) = (cx.output::<Hop>("out")?, cx.output::<Hop>("back")?);
        loop {
            let (hop, again) = tokio::select! {
                hop = credited.recv() => (hop, true),
                hop = looped.recv() => (hop, false),
            };
            let Some(hop) = hop else { return Ok(()) };
            tokio::time::sleep(Duration::from_micros(300)).await;
            if again {
                let outcome = out.send_from(&hop, Hop(hop.0));
                self.refused.fetch_add(u64::from(outcome.refused), Ordering::Relaxed);
            }
            if hop.0 > 0 {
                back.send_from(&hop, Hop(hop.0 - 1));
            }
        }
    }
}

impl Component for Run {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move { if self.source { self.emit(cx).await } else { self.forward(cx).await } })
    }
}

fn registry(refused: &Arc<AtomicU64>, capacity: usize) -> Registry {
    let source = UnitSpec {
        name: "source",
        about: "",
        kind: Kind::Generator,
        inputs: vec![],
        outputs: vec![PortSpec::credited_output::<Hop>("out", WINDOW)],
        params: vec![],
    };
    let relay = UnitSpec {
        name: "relay",
        about: "",
        kind: Kind::Complex,
        inputs: vec![
            PortSpec::input::<Hop>("credited", Policy::Credited { capacity }),
            PortSpec::input::<Hop>("looped", Policy::DropOldest { capacity: 2 }),
        ],
        outputs: vec![PortSpec::output::<Hop>("out"), PortSpec::output::<Hop>("back")],
        params: vec![],
    };
    Registry::new().with(Source(source, Arc::clone(refused))).with(Relay(relay, Arc::clone(refused)))
}

/// Forward links (to a later relay) are credited, so they form no loop; links back go to the input that drops.
fn graph(sources: usize, relays: usize, edges: &[(usize, usize)]) -> SiteDocument {
    let mut site = SiteDocument::new(Name::new("s").unwrap());
    let mut add = |name: String, unit: &str| {
        site.components.push(ComponentEntry::new(Name::new(&name).unwrap(), unit, Params::new()));
    };
    (0..sources).for_each(|n| add(format!("s{n}"), "source"));
    (0..relays).for_each(|n| add(format!("r{n}"), "relay"));
    for n in 0..sources {
        site.link(&format!("s{n}#out"), &format!("r{}#credited", n % relays)).unwrap();
    }
    for (a, b) in edges.iter().map(|(a, b)| (a % relays, b % relays)) {
        let (from, to) = if a < b { ("out", "credited") } else { ("back", "looped") };
        let (from, to) = (format!("r{a}#{from}"), format!("r{b}#{to}"));
        if !site.links.iter().any(|link| link.from.to_string() == from && link.to.to_string() == to) {
            site.link(&from, &to).unwrap();
        }
    }
    site
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_graph_stalls(
        sources in 1usize..5, relays in 1usize..8, edges in prop::collection::vec((0usize..8, 0usize..8), 0..16)
    ) {
        let site = graph(sources, relays, &edges);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let refused = Arc::new(AtomicU64::new(0));
            let host = Host::new(HostOptions::default(), registry(&refused, 4096));
            if let Err(error) = host.apply(&site).await {
                // Only the bound may refuse a graph: so many ways that 4096 slots are too few.
                assert!(error.to_string().contains("may send"), "{error}");
                return;
            }
            let delivered = || host.status().iter().flat_map(|c| c.inputs.clone()).map(|port| port.delivered).sum::<u64>();
            for _ in 0..5 {
                let before = delivered();
                tokio::time::sleep(Duration::from_millis(200)).await;
                assert!(delivered() > before, "the graph stands still");
            }
            host.control(&Target::All, Control::Drain).await.unwrap();
            assert_eq!(refused.load(Ordering::Relaxed), 0, "a credited send failed");
            for port in host.status().into_iter().flat_map(|component| component.inputs) {
                let after_queueing = [DropReason::Full, DropReason::Abandoned];
                let lost: u64 =
                    port.dropped.iter().filter(|d| after_queueing.contains(&d.reason)).map(|d| d.count).sum();
                assert_eq!(port.accepted, port.delivered + lost, "signals of {} are unaccounted for", port.port);
            }
        });
    }
}

#[tokio::test]
async fn a_queue_too_small_for_its_sources_is_refused_at_load() {
    let host = Host::new(HostOptions::default(), registry(&Arc::default(), 8));
    host.apply(&graph(2, 1, &[])).await.unwrap();
    let error = host.apply(&graph(3, 1, &[])).await.unwrap_err().to_string();
    assert!(error.contains("its queue holds 8 but its sources may send 9 at once"), "{error}");
    host.shutdown().await;
}
