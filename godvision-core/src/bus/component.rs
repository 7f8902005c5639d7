//! [`Component`], the object of the graph; [`Unit`], what makes components of a kind; [`Context`], what a component sees.
//!
//! A component is one async task that reads its inputs and writes its outputs until it is told to stop. It knows its
//! ports and nothing of the graph: whom it is linked to, which host its neighbours run on, how many there are.
//!
//! Four kinds, by their ports: a *generator* has outputs only, a *sink* inputs only, a *complex* component both, an
//! *empty* one neither (housekeeping). The kind is declared and must agree with the ports.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::params::{ParamError, ParamSpec, Params};
use super::port::{AnyOutlet, AnyQueue, Input, Output, PortSpec};
use super::service::ServiceProfile;
use crate::journal::{BoxFuture, Entry, Journal, Level};
use crate::name::Name;
use crate::signal::Signal;
use crate::time::{Clock, Stamp};

/// What a component is, by its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No ports.
    Empty,
    /// Outputs only.
    Generator,
    /// Inputs only.
    Sink,
    /// Inputs and outputs.
    Complex,
}

impl Kind {
    /// The kind that a component with so many ports has.
    pub fn of(inputs: usize, outputs: usize) -> Self {
        match (inputs > 0, outputs > 0) {
            (false, false) => Self::Empty,
            (false, true) => Self::Generator,
            (true, false) => Self::Sink,
            (true, true) => Self::Complex,
        }
    }
}

/// Why a component cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Starting again may help; the supervisor does so after a back-off.
    #[error("{0}")]
    Restart(String),
    /// Starting again cannot help until somebody changes something.
    #[error("{0}")]
    Fatal(String),
}

/// An object of the graph.
pub trait Component: Send {
    /// Works until [`Context::stopping`] or the end of its inputs. Returning `Ok` before that means its work is done.
    ///
    /// # Errors
    /// A [`Fault`]; the supervisor decides what follows. A panic counts as [`Fault::Restart`].
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>>;
}

/// What a unit makes: its name, kind, ports and parameters.
#[derive(Clone, Debug)]
pub struct UnitSpec {
    /// Its name in site documents: `camera`, `motion`, ...
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// What its components are; must agree with the ports.
    pub kind: Kind,
    /// Inputs.
    pub inputs: Vec<PortSpec>,
    /// Outputs.
    pub outputs: Vec<PortSpec>,
    /// Parameters.
    pub params: Vec<ParamSpec>,
}

/// Makes components of a kind.
pub trait Unit: Send + Sync {
    /// What it makes. Never changes.
    fn spec(&self) -> &UnitSpec;

    /// How long its components hold a signal, as measured, likeliest condition first; empty if nobody has measured. Where
    /// a site runs, [`super::PortStatus::served`] has its own figures.
    fn profile(&self) -> &'static [ServiceProfile] {
        &[]
    }

    /// Makes a component. `params` are checked against the schema, defaults filled in, secrets resolved. Does no IO:
    /// that is for [`Component::run`].
    ///
    /// # Errors
    /// A [`ParamError`] for what the schema cannot express.
    fn create(&self, name: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError>;
}

/// What the host wants of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Run,
    /// Finish what is queued, then stop.
    Drain,
    Stop,
}

/// Resolves when the component is told to stop.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<Wish>);

impl Stopping {
    /// Waits until the component is told to stop or drain. Dropping the future loses nothing.
    pub async fn wait(&mut self) {
        // An error means that the host is gone, which is a stop as well.
        let _ = self.0.wait_for(|wish| *wish != Wish::Run).await;
    }

    /// Whether the component is told to stop or drain.
    pub fn is_set(&self) -> bool {
        *self.0.borrow() != Wish::Run || self.0.has_changed().is_err()
    }
}

/// What a running component sees of the world.
pub struct Context {
    pub(super) name: Name,
    pub(super) queues: Vec<Arc<dyn AnyQueue>>,
    pub(super) outlets: Vec<(&'static str, Arc<dyn AnyOutlet>)>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) wish: watch::Receiver<Wish>,
    pub(super) busy_ns: Arc<AtomicU64>,
    pub(super) counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Context {
    /// The component's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The input `port`.
    ///
    /// # Errors
    /// [`Fault::Fatal`] if the unit declares no such input of this type: a bug in the component.
    pub fn input<T: Signal>(&self, port: &str) -> Result<Input<T>, Fault> {
        self.queues
            .iter()
            .find(|queue| &*queue.port().port == port)
            .and_then(|queue| Input::new(Arc::clone(queue), Arc::clone(&self.busy_ns)))
            .ok_or_else(|| Fault::Fatal(format!("the unit declares no input {port:?} of {}", T::TYPE)))
    }

    /// The output `port`.
    ///
    /// # Errors
    /// [`Fault::Fatal`] if the unit declares no such output of this type: a bug in the component.
    pub fn output<T: Signal>(&self, port: &str) -> Result<Output<T>, Fault> {
        self.outlets
            .iter()
            .find(|(name, _)| *name == port)
            .and_then(|(_, outlet)| Output::new(Arc::clone(outlet)))
            .ok_or_else(|| Fault::Fatal(format!("the unit declares no output {port:?} of {}", T::TYPE)))
    }

    /// The host's clock. A component is an edge: it reads the time and tells its core.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Both timelines now.
    pub fn now(&self) -> Stamp {
        self.clock.now()
    }

    /// The site's journal.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Writes a journal entry about this component. What must not happen without its entry uses
    /// [`Journal::append`] and looks at the result; here a failure is only logged.
    pub async fn log(&self, level: Level, code: &str, text: impl Into<String>) {
        let entry = Entry::new(self.now(), self.name.clone(), level, code, text);
        if let Err(error) = self.journal.append(entry).await {
            tracing::error!(component = %self.name, code, %error, "cannot write the journal");
        }
    }

    /// Shows `value` as this component's own count `name`, beside those that the bus keeps: frames, losses, states as
    /// numbers. Lower case with underscores; it becomes a metric.
    pub fn show_count(&self, name: &'static str, value: u64) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).insert(name, value);
    }

    /// Resolves when the component is told to stop.
    pub fn stopping(&self) -> Stopping {
        Stopping(self.wish.clone())
    }
}
