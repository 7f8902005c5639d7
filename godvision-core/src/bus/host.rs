//! [`Host`]: runs a graph of components on one computer.
//!
//! It makes components by their units, links their ports, supervises them (a fault or a panic ends one instance, never
//! a neighbour; the next starts after a back-off), takes edits of the site document while running, and drains
//! everything in the direction of the data when it stops.
//!
//! An edit is checked whole before anything is touched. What it does not name keeps running: same instance, same
//! queues, nothing lost. A replaced component hands its queues over to its successor.
//!
//! **Never:** a lock held while a component runs, a half-applied document.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::component::{Component, Context, Fault, Unit, Wish};
use super::counter::{ComponentState, ComponentStatus};
use super::graph::{self, Changes, Plan, Planned, Registry};
use super::params::{ParamValue, Params};
use super::port::{AnyOutlet, AnyQueue, Gate};
use crate::journal::{Entry, Journal, Level, MemoryJournal};
use crate::name::Name;
use crate::secret::Secret;
use crate::site::document::{HOST_DEFAULT, SiteDocument, SiteError, SiteErrors};
use crate::time::{Clock, SystemClock};

/// First wait before a failed component is started again.
pub const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest wait before a failed component is started again.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A component that ran so long is healthy: its next fault starts at [`BACKOFF_MIN`] again.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Finds a secret by the name that stands in a site document.
pub type SecretSource = Arc<dyn Fn(&str) -> Option<Secret> + Send + Sync>;

/// What a host needs to know.
#[derive(Clone)]
pub struct HostOptions {
    /// Its name in site documents.
    pub name: Name,
    /// Where it reads the time.
    pub clock: Arc<dyn Clock>,
    /// Where its components' entries go.
    pub journal: Arc<dyn Journal>,
    /// Where secrets named in site documents come from.
    pub secrets: SecretSource,
    /// How long a component may take to stop before it is aborted.
    pub grace: Duration,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            name: Name::new(HOST_DEFAULT).unwrap_or_else(|_| unreachable!("a constant that is a name")),
            clock: SystemClock::shared(),
            journal: Arc::new(MemoryJournal::default()),
            secrets: Arc::new(|_| None),
            grace: Duration::from_secs(5),
        }
    }
}

/// Why a host did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// No component of this name, or no subsystem that holds one.
    #[error("nothing on this host is called {0}")]
    NoSuchTarget(Name),
    /// The document is wrong; what ran before still runs.
    #[error(transparent)]
    Site(#[from] SiteErrors),
}

/// What a control is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One component, or everything in a subsystem.
    Named(Name),
    /// Every component of the host.
    All,
}

/// What a host can do to components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// Start what is stopped, finished or failed.
    Start,
    /// Stop at once; what is queued is dropped and counted.
    Stop,
    /// Take nothing new, finish what is queued, then stop.
    Drain,
    /// Keep running with all ports shut.
    Pause,
    /// Open the ports again.
    Resume,
    /// A new instance with the same queues; nothing queued is lost.
    Restart,
}

/// One component and what belongs to it.
struct Node {
    name: Name,
    unit: Arc<dyn Unit>,
    params: Params,
    instance: u64,
    queues: Vec<Arc<dyn AnyQueue>>,
    outlets: Vec<(&'static str, Arc<dyn AnyOutlet>)>,
    busy_ns: Arc<AtomicU64>,
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    wish: watch::Sender<Wish>,
    life: Mutex<Life>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Life {
    state: ComponentState,
    paused: bool,
    starts: u64,
    faults: u64,
    last_fault: Option<String>,
}

impl Node {
    fn life(&self) -> std::sync::MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_state(&self, state: ComponentState) {
        self.life().state = state;
    }

    fn set_gate(&self, gate: Gate) {
        for queue in &self.queues {
            queue.set_gate(gate);
        }
    }

    fn status(&self) -> ComponentStatus {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.iter().map(|(name, count)| (*name, *count)).collect();
        let life = self.life();
        let state = match life.state {
            ComponentState::Running if life.paused => ComponentState::Paused,
            state => state,
        };
        ComponentStatus {
            name: self.name.clone(),
            unit: self.unit.spec().name,
            state,
            instance: self.instance,
            starts: life.starts,
            faults: life.faults,
            last_fault: life.last_fault.clone(),
            busy: Duration::from_nanos(self.busy_ns.load(Ordering::Relaxed)),
            counts,
            inputs: self.queues.iter().map(|queue| queue.status()).collect(),
        }
    }
}

struct Env {
    options: HostOptions,
    registry: Registry,
    instances: AtomicU64,
    nodes: RwLock<BTreeMap<Name, Arc<Node>>>,
    /// Held while the graph is edited or controlled, so that edits follow one another.
    plan: tokio::sync::Mutex<Plan>,
}

/// Runs components. Clones are handles to the same host; dropping them does not stop it.
#[derive(Clone)]
pub struct Host {
    env: Arc<Env>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {} with {} components", self.env.options.name, self.nodes().len())
    }
}

impl Host {
    /// A host that can make components by the units of `registry` and runs none yet.
    pub fn new(options: HostOptions, registry: Registry) -> Self {
        let (instances, nodes, plan) = (AtomicU64::new(0), RwLock::default(), tokio::sync::Mutex::default());
        Self { env: Arc::new(Env { options, registry, instances, nodes, plan }) }
    }

    fn nodes(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Name, Arc<Node>>> {
        self.env.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, name: &Name) -> Option<Arc<Node>> {
        self.nodes().get(name).cloned()
    }

    /// Checks `document` without touching anything, secrets included.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(&self, document: &SiteDocument) -> Result<(), SiteErrors> {
        let plan = self.plan(document)?;
        self.create(plan.components.iter()).map(drop)
    }

    fn plan(&self, document: &SiteDocument) -> Result<Plan, SiteErrors> {
        let mut plan = graph::plan(document, &self.env.options.name, &self.env.registry).map_err(SiteErrors)?;
        let mut errors = Vec::new();
        for (name, planned) in &mut plan.components {
            let named: Vec<_> = planned.params.secret_names().map(|(k, s)| (k.to_owned(), s.to_owned())).collect();
            for (key, secret) in named {
                let line = planned.params.line(&key);
                match (self.env.options.secrets)(&secret) {
                    Some(value) => planned.params.set(&key, ParamValue::Secret(value), line),
                    None => errors.push(SiteError::new(
                        line,
                        format!("component {name}: {key}"),
                        format!("there is no secret called {secret:?}"),
                    )),
                }
            }
        }
        if errors.is_empty() { Ok(plan) } else { Err(SiteErrors(errors)) }
    }

    fn create<'p>(
        &self,
        planned: impl Iterator<Item = (&'p Name, &'p Planned)>,
    ) -> Result<BTreeMap<Name, Box<dyn Component>>, SiteErrors> {
        let (mut created, mut errors) = (BTreeMap::new(), Vec::new());
        for (name, planned) in planned {
            match planned.unit.create(name, &planned.params) {
                Ok(component) => {
                    created.insert(name.clone(), component);
                }
                Err(error) => {
                    let line = error.line.or_else(|| planned.params.line(&error.key));
                    errors.push(SiteError::new(line, format!("component {name}: {}", error.key), error.reason));
                }
            }
        }
        if errors.is_empty() { Ok(created) } else { Err(SiteErrors(errors)) }
    }

    /// Makes the running graph the one that `document` describes, touching only what differs.
    ///
    /// # Errors
    /// [`HostError::Site`] with everything that is wrong; then nothing has changed.
    pub async fn apply(&self, document: &SiteDocument) -> Result<Changes, HostError> {
        let mut running = self.env.plan.lock().await;
        let plan = self.plan(document)?;
        let changes = graph::diff(&running, &plan);
        let fresh: BTreeSet<&Name> = changes.added.iter().chain(&changes.replaced).chain(&changes.switched).collect();
        let mut created = self.create(plan.components.iter().filter(|(name, _)| fresh.contains(name)))?;

        // From here on nothing can fail. Cut first, so that what is removed loses its neighbours before it stops.
        for (from, to) in &changes.unlinked {
            if let Some((_, outlet)) = self.outlet(from) {
                outlet.unlink(to);
            }
        }
        for name in in_flow_order(&running).iter().filter(|name| changes.removed.contains(name)) {
            if let Some(node) = self.node(name) {
                stop(&node, Gate::Draining, Wish::Drain).await;
            }
            self.env.nodes.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        for name in &changes.replaced {
            if let (Some(old), Some(planned)) = (self.node(name), plan.components.get(name)) {
                stop(&old, Gate::Handover, Wish::Stop).await;
                let keep = Arc::ptr_eq(&old.unit, &planned.unit).then_some(&*old);
                self.insert(name, planned, keep);
            }
        }
        for name in &changes.added {
            if let Some(planned) = plan.components.get(name) {
                self.insert(name, planned, None);
            }
        }
        // A component whose unit changed has new ports, so all its links are laid again, not only the new ones.
        for (from, to) in &plan.links {
            let queue = self.node(&to.component).and_then(|node| node.queues.iter().find(|q| q.port() == to).cloned());
            if let (Some((_, outlet)), Some(queue)) = (self.outlet(from), queue) {
                let linked = relink(&outlet, &queue);
                debug_assert!(linked, "the plan checked the types of {from} -> {to}");
            }
        }
        for name in in_flow_order(&plan).iter().rev().filter(|name| fresh.contains(name)) {
            let (Some(node), Some(planned)) = (self.node(name), plan.components.get(name)) else { continue };
            match (planned.enabled, created.remove(name)) {
                (true, component) => start(&self.env, &node, component),
                (false, _) => stop(&node, Gate::Stopped, Wish::Stop).await,
            }
        }
        *running = plan;
        drop(running);
        Ok(changes)
    }

    fn outlet(&self, port: &crate::name::PortName) -> Option<(&'static str, Arc<dyn AnyOutlet>)> {
        self.node(&port.component)?.outlets.iter().find(|(name, _)| *name == &*port.port).cloned()
    }

    fn insert(&self, name: &Name, planned: &Planned, keep: Option<&Node>) {
        let spec = planned.unit.spec();
        let clock = &self.env.options.clock;
        let queues = match keep {
            Some(old) => old.queues.clone(),
            None => {
                spec.inputs.iter().filter_map(|input| input.make_queue(name.port(input.name).ok()?, clock)).collect()
            }
        };
        let outlets = match keep {
            Some(old) => old.outlets.clone(),
            None => spec
                .outputs
                .iter()
                .filter_map(|output| Some((output.name, output.make_outlet(name.clone())?)))
                .collect(),
        };
        let node = Node {
            name: name.clone(),
            unit: Arc::clone(&planned.unit),
            params: planned.params.clone(),
            instance: self.env.instances.fetch_add(1, Ordering::Relaxed) + 1,
            queues,
            outlets,
            busy_ns: keep.map_or_else(Arc::default, |old| Arc::clone(&old.busy_ns)),
            counts: Arc::default(),
            wish: watch::channel(Wish::Stop).0,
            life: Mutex::new(Life {
                state: ComponentState::Stopped,
                paused: false,
                starts: 0,
                faults: 0,
                last_fault: None,
            }),
            task: Mutex::default(),
        };
        self.env.nodes.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), Arc::new(node));
    }

    /// Does `control` to everything `target` names, in the order that loses least: what receives is started before
    /// what sends, and stopped after it. Returns how many components were meant.
    ///
    /// # Errors
    /// [`HostError::NoSuchTarget`].
    pub async fn control(&self, target: &Target, control: Control) -> Result<usize, HostError> {
        let plan = self.env.plan.lock().await;
        let mut names = in_flow_order(&plan);
        if let Target::Named(wanted) = target {
            names.retain(|name| name.is_within(wanted));
            if names.is_empty() {
                return Err(HostError::NoSuchTarget(wanted.clone()));
            }
        }
        if matches!(control, Control::Start | Control::Resume) {
            names.reverse();
        }
        for node in names.iter().filter_map(|name| self.node(name)) {
            match control {
                Control::Start => start(&self.env, &node, None),
                Control::Stop => stop(&node, Gate::Stopped, Wish::Stop).await,
                Control::Drain => stop(&node, Gate::Draining, Wish::Drain).await,
                Control::Pause => set_paused(&node, true),
                Control::Resume => set_paused(&node, false),
                Control::Restart => {
                    stop(&node, Gate::Handover, Wish::Stop).await;
                    start(&self.env, &node, None);
                }
            }
        }
        Ok(names.len())
    }

    /// What every component is doing and has counted, by name.
    pub fn status(&self) -> Vec<ComponentStatus> {
        self.nodes().values().map(|node| node.status()).collect()
    }

    /// What one component is doing and has counted.
    pub fn component(&self, name: &Name) -> Option<ComponentStatus> {
        self.node(name).map(|node| node.status())
    }

    /// Drains everything, sources first, and returns when all have stopped.
    pub async fn shutdown(&self) {
        // An empty graph has nothing to refuse.
        let _ = self.control(&Target::All, Control::Drain).await;
    }
}

/// Links, replacing a queue of the same port that is no longer there.
fn relink(outlet: &Arc<dyn AnyOutlet>, queue: &Arc<dyn AnyQueue>) -> bool {
    outlet.unlink(queue.port());
    outlet.link(queue)
}

/// Names so that, loops aside, every component stands before those it sends to.
fn in_flow_order(plan: &Plan) -> Vec<Name> {
    let mut waiting: BTreeMap<&Name, usize> = plan.components.keys().map(|name| (name, 0)).collect();
    for (_, to) in &plan.links {
        *waiting.entry(&to.component).or_default() += 1;
    }
    let mut order = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        // In a loop nobody is free: the one that waits for fewest goes first.
        let Some(next) = waiting.iter().min_by_key(|(_, inputs)| **inputs).map(|(name, _)| *name) else { break };
        waiting.remove(next);
        for (from, to) in &plan.links {
            if from.component == *next
                && let Some(inputs) = waiting.get_mut(&to.component)
            {
                *inputs = inputs.saturating_sub(1);
            }
        }
        order.push(next.clone());
    }
    order
}

fn set_paused(node: &Node, paused: bool) {
    let mut life = node.life();
    if life.state == ComponentState::Stopped || life.paused == paused {
        return;
    }
    life.paused = paused;
    drop(life);
    node.set_gate(if paused { Gate::Paused } else { Gate::Open });
    for (_, outlet) in &node.outlets {
        outlet.set_open(!paused);
    }
}

fn start(env: &Arc<Env>, node: &Arc<Node>, component: Option<Box<dyn Component>>) {
    let mut task = node.task.lock().unwrap_or_else(PoisonError::into_inner);
    if task.as_ref().is_some_and(|task| !task.is_finished()) {
        return;
    }
    node.wish.send_replace(Wish::Run);
    node.life().paused = false;
    for (_, outlet) in &node.outlets {
        outlet.set_open(true);
    }
    node.set_gate(Gate::Open);
    node.set_state(ComponentState::Running);
    *task = Some(tokio::spawn(supervise(Arc::clone(env), Arc::clone(node), component)));
}

async fn stop(node: &Arc<Node>, gate: Gate, wish: Wish) {
    node.set_gate(gate);
    if wish == Wish::Drain && node.life().state == ComponentState::Running {
        node.set_state(ComponentState::Draining);
    }
    node.wish.send_replace(wish);
    let task = node.task.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(task) = task {
        // The supervisor contains its component's panics and bounds its time.
        let _ = task.await;
    }
    node.set_state(ComponentState::Stopped);
    if gate != Gate::Handover {
        node.set_gate(Gate::Stopped);
        for queue in &node.queues {
            queue.clear();
        }
    }
}

async fn supervise(env: Arc<Env>, node: Arc<Node>, mut first: Option<Box<dyn Component>>) {
    let mut backoff = BACKOFF_MIN;
    let mut wish = node.wish.subscribe();
    loop {
        let component = match first.take().map_or_else(|| node.unit.create(&node.name, &node.params), Ok) {
            Ok(component) => component,
            Err(error) => {
                fail(&env, &node, ComponentState::Failed, error.to_string()).await;
                return;
            }
        };
        {
            let mut life = node.life();
            life.starts += 1;
            if *wish.borrow() == Wish::Run {
                life.state = ComponentState::Running;
            }
        }
        let started = env.options.clock.mono();
        let ended = run_once(&env, &node, component).await;
        if *wish.borrow() != Wish::Run {
            if let Err(fault) = ended {
                fail(&env, &node, ComponentState::Stopped, fault.to_string()).await;
            }
            return;
        }
        match ended {
            Ok(()) => {
                node.set_state(ComponentState::Finished);
                return;
            }
            Err(Fault::Fatal(reason)) => {
                fail(&env, &node, ComponentState::Failed, reason).await;
                return;
            }
            Err(Fault::Restart(reason)) => {
                if env.options.clock.mono() - started >= HEALTHY_AFTER {
                    backoff = BACKOFF_MIN;
                }
                fail(&env, &node, ComponentState::BackingOff, reason).await;
                let wait = backoff;
                backoff = (backoff * 2).min(BACKOFF_MAX);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = wish.wait_for(|wish| *wish != Wish::Run) => return,
                }
            }
        }
    }
}

/// One life of a component in a task of its own, so that its panic is contained and it can be aborted.
async fn run_once(env: &Arc<Env>, node: &Arc<Node>, mut component: Box<dyn Component>) -> Result<(), Fault> {
    let mut cx = Context {
        name: node.name.clone(),
        queues: node.queues.clone(),
        outlets: node.outlets.clone(),
        clock: Arc::clone(&env.options.clock),
        journal: Arc::clone(&env.options.journal),
        wish: node.wish.subscribe(),
        busy_ns: Arc::clone(&node.busy_ns),
        counts: Arc::clone(&node.counts),
    };
    let mut wish = node.wish.subscribe();
    let mut task = tokio::spawn(async move { component.run(&mut cx).await });
    let overdue = async {
        let _ = wish.wait_for(|wish| *wish != Wish::Run).await;
        tokio::time::sleep(env.options.grace).await;
    };
    let ended = tokio::select! {
        ended = &mut task => ended,
        () = overdue => {
            task.abort();
            task.await
        }
    };
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            let panic = error.into_panic();
            let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(Fault::Restart(format!("panicked: {words}")))
        }
        Err(_) => Err(Fault::Restart(format!("did not stop within {:?} and was ended", env.options.grace))),
    }
}

async fn fail(env: &Arc<Env>, node: &Arc<Node>, state: ComponentState, reason: String) {
    {
        let mut life = node.life();
        life.state = state;
        life.faults += 1;
        life.last_fault = Some(reason.clone());
    }
    let text = match state {
        ComponentState::Failed => format!("failed and stays stopped: {reason}"),
        ComponentState::BackingOff => format!("failed and will be started again: {reason}"),
        _ => format!("failed while stopping: {reason}"),
    };
    let entry = Entry::new(env.options.clock.now(), node.name.clone(), Level::Error, "component.failed", text)
        .with("unit", node.unit.spec().name);
    if let Err(error) = env.options.journal.append(entry).await {
        tracing::error!(component = %node.name, %reason, %error, "a component failed and the journal cannot say so");
    }
}
