//! [`Board`]: the newest state of every camera and door, for whoever looks; and the unit that fills it from the graph.
//!
//! **Never:** history (the journal has it), decisions of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use godvision_core::Name;
use godvision_core::bus::{
    Component, Context, Fault, Kind, ParamError, Params, Policy, PortSpec, Unit, UnitSpec,
};
use godvision_core::journal::BoxFuture;
use godvision_core::signal::door::{Decision, DoorEvent};
use godvision_core::signal::media::StreamStatus;

/// Decisions remembered for each door.
pub const DECISIONS_MAX: usize = 20;

/// The newest states. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Board {
    newest: Arc<Mutex<Newest>>,
}

#[derive(Debug, Default)]
struct Newest {
    streams: BTreeMap<Name, StreamStatus>,
    doors: BTreeMap<Name, DoorEvent>,
    decisions: BTreeMap<Name, VecDeque<Decision>>,
}

impl Board {
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `camera` said last.
    pub fn stream(&self, camera: &Name) -> Option<StreamStatus> {
        self.newest().streams.get(camera).cloned()
    }

    /// What happened at `door` last.
    pub fn door(&self, door: &Name) -> Option<DoorEvent> {
        self.newest().doors.get(door).cloned()
    }

    /// The last decisions at `door`, newest first, at most [`DECISIONS_MAX`].
    pub fn decisions(&self, door: &Name) -> Vec<Decision> {
        self.newest().decisions.get(door).map(|kept| kept.iter().cloned().collect()).unwrap_or_default()
    }

    fn put_stream(&self, status: StreamStatus) {
        let mut newest = self.newest();
        let mut status = status;
        // A camera that is lost still has the format it had.
        if status.format.is_none() {
            status.format = newest.streams.get(&status.source).and_then(|before| before.format.clone());
        }
        newest.streams.insert(status.source.clone(), status);
    }

    fn put_door(&self, event: DoorEvent) {
        self.newest().doors.insert(event.door.clone(), event);
    }

    fn put_decision(&self, decision: Decision) {
        let Some(door) = decision.door.clone() else { return };
        let mut newest = self.newest();
        let kept = newest.decisions.entry(door).or_default();
        kept.truncate(DECISIONS_MAX - 1);
        kept.push_front(decision);
    }

    /// The unit that fills this board.
    pub fn unit(&self) -> BoardUnit {
        let input_policy = Policy::DropOldest { capacity: 256 };
        BoardUnit {
            board: self.clone(),
            spec: UnitSpec {
                name: "board",
                about: "keeps the newest state of cameras and doors for the pages",
                kind: Kind::Sink,
                inputs: vec![
                    PortSpec::input::<StreamStatus>("streams", input_policy),
                    PortSpec::input::<DoorEvent>("doors", input_policy),
                    PortSpec::input::<Decision>("decisions", input_policy),
                ],
                outputs: vec![],
                params: vec![],
            },
        }
    }
}

/// Makes components that fill a [`Board`].
#[derive(Debug)]
pub struct BoardUnit {
    board: Board,
    spec: UnitSpec,
}

impl Unit for BoardUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Filling(self.board.clone())))
    }
}

struct Filling(Board);

impl Component for Filling {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut streams = cx.input::<StreamStatus>("streams")?;
            let mut doors = cx.input::<DoorEvent>("doors")?;
            let mut decisions = cx.input::<Decision>("decisions")?;
            let (mut streams_end, mut doors_end, mut decisions_end) = (false, false, false);
            // Draining ends the inputs one by one; what is left in the others is still wanted.
            while !(streams_end && doors_end && decisions_end) {
                tokio::select! {
                    status = streams.recv(), if !streams_end => match status {
                        Some(status) => self.0.put_stream(status.into_value()),
                        None => streams_end = true,
                    },
                    event = doors.recv(), if !doors_end => match event {
                        Some(event) => self.0.put_door(event.into_value()),
                        None => doors_end = true,
                    },
                    decision = decisions.recv(), if !decisions_end => match decision {
                        Some(decision) => self.0.put_decision(decision.into_value()),
                        None => decisions_end = true,
                    },
                }
            }
            Ok(())
        })
    }
}
