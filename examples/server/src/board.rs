//! [`Board`]: the newest state of every camera, for whoever looks; and the unit that fills it from the graph.
//!
//! **Never:** history (the journal has it), decisions of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use godvision_core::Name;
use godvision_core::bus::{Component, Context, Fault, Kind, ParamError, Params, Policy, PortSpec, Unit, UnitSpec};
use godvision_core::journal::BoxFuture;
use godvision_core::signal::media::StreamStatus;

/// The newest states. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Board {
    streams: Arc<Mutex<BTreeMap<Name, StreamStatus>>>,
}

impl Board {
    fn streams(&self) -> MutexGuard<'_, BTreeMap<Name, StreamStatus>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `camera` said last.
    pub fn stream(&self, camera: &Name) -> Option<StreamStatus> {
        self.streams().get(camera).cloned()
    }

    fn put(&self, mut status: StreamStatus) {
        let mut streams = self.streams();
        // A camera that is lost still has the format it had.
        if status.format.is_none() {
            status.format = streams.get(&status.source).and_then(|before| before.format.clone());
        }
        streams.insert(status.source.clone(), status);
    }

    /// The unit that fills this board.
    pub fn unit(&self) -> BoardUnit {
        BoardUnit {
            board: self.clone(),
            spec: UnitSpec {
                name: "board",
                about: "keeps the newest state of cameras for the pages",
                kind: Kind::Sink,
                inputs: vec![PortSpec::input::<StreamStatus>("streams", Policy::DropOldest { capacity: 256 })],
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
            while let Some(status) = streams.recv().await {
                self.0.put(status.into_value());
            }
            Ok(())
        })
    }
}
