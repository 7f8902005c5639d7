//! The bus: how signals travel between components on one host.
//!
//! * [`component`]: [`Component`] (generator, sink, complex or empty), [`Unit`] that makes components of a kind, and the
//!   [`Context`] a component runs in.
//! * [`port`]: typed [`Input`]s and [`Output`]s; every queue is bounded and has a [`Policy`]; every drop is counted and
//!   attributed to a source and a reason.
//! * [`credit`]: credits that bound what a source has in the graph at once and come back when the last clone is dropped.
//! * [`service`]: how long a component holds a signal, measured at every input.
//! * [`params`]: the parameters of a component and the schema they are checked against.
//! * [`graph`]: checks a site document against the units and finds what an edit changes.
//! * [`host`]: runs the graph: start, stop, pause, drain, restart, supervision, hot re-wiring.
//!
//! No component ever waits for space in another's queue: the only send is a try-send. So no graph can stall, cyclic or
//! not; what does not fit is dropped by the input's policy and counted there.
//!
//! **Never:** callbacks between components, shared mutable state, unbounded queues, a blocking send.

pub mod component;
pub mod counter;
pub mod credit;
pub mod graph;
pub mod host;
pub mod params;
pub mod port;
pub mod service;

pub use component::{Component, Context, Fault, Kind, Stopping, Unit, UnitSpec};
pub use counter::{ComponentState, ComponentStatus, DropCount, PortStatus};
pub use credit::{Credit, Credits, Trip};
pub use graph::{Changes, Registry};
pub use host::{Control, Host, HostError, HostOptions, SecretSource, Target};
pub use params::{ParamError, ParamKind, ParamSpec, ParamValue, Params};
pub use port::{Delivery, DropReason, Input, Outcome, Output, Policy, PortSpec};
pub use service::{ServiceProfile, ServiceTime};
