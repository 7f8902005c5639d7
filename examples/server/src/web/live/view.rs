//! [`LiveUnit`]: live view as a sink on the bus. One component serves all cameras linked to it; a fragment names its own.
//!
//! **Never:** state of its own; everything is in the [`LiveHub`] that the web routes share.

use godvision_core::Name;
use godvision_core::bus::{Component, Context, Fault, Kind, ParamError, Params, Policy, PortSpec, Unit, UnitSpec};
use godvision_core::journal::BoxFuture;
use godvision_core::signal::media::{Fragment, StreamStatus};
use godvision_core::signal::seen::{Motion, Rest};

use super::LiveHub;

/// Fragments between the cameras and the hub, which takes one in about a microsecond: 64 cameras' worth of a burst.
/// A fragment lost here costs its viewers the rest of its group, so it is not small.
const FRAGMENTS_QUEUED_MAX: usize = 1024;
/// States of cameras, which change a few times a minute.
const STATES_QUEUED_MAX: usize = 256;
/// Reports of motion, which come a few times a second a camera while something moves; only the newest is shown.
const MOTIONS_QUEUED_MAX: usize = 256;
/// Reports of things at rest, each every 10 s; one that is lost comes again.
const RESTS_QUEUED_MAX: usize = 256;

/// Makes components `live`: inputs `fragments`, `status`, `motion` and `rests`.
#[derive(Debug)]
pub struct LiveUnit {
    spec: UnitSpec,
    hub: LiveHub,
}

impl LiveUnit {
    /// A unit whose components feed `hub`.
    pub fn new(hub: LiveHub) -> Self {
        let spec = UnitSpec {
            name: "live",
            about: "shows cameras in the browser",
            kind: Kind::Sink,
            inputs: vec![
                PortSpec::input::<Fragment>("fragments", Policy::DropOldest { capacity: FRAGMENTS_QUEUED_MAX }),
                PortSpec::input::<StreamStatus>("status", Policy::DropOldest { capacity: STATES_QUEUED_MAX }),
                PortSpec::input::<Motion>("motion", Policy::DropOldest { capacity: MOTIONS_QUEUED_MAX }),
                PortSpec::input::<Rest>("rests", Policy::DropOldest { capacity: RESTS_QUEUED_MAX }),
            ],
            outputs: vec![],
            params: vec![],
        };
        Self { spec, hub }
    }
}

impl Unit for LiveUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(LiveView { hub: self.hub.clone() }))
    }
}

struct LiveView {
    hub: LiveHub,
}

impl Component for LiveView {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut fragments = cx.input::<Fragment>("fragments")?;
            let mut states = cx.input::<StreamStatus>("status")?;
            let mut motions = cx.input::<Motion>("motion")?;
            let mut rests = cx.input::<Rest>("rests")?;
            let (mut more_fragments, mut more_states, mut more_motions, mut more_rests) = (true, true, true, true);
            // Until all have ended: a drain hands on what is queued.
            while more_fragments || more_states || more_motions || more_rests {
                tokio::select! {
                    fragment = fragments.recv(), if more_fragments => match fragment {
                        Some(fragment) => self.hub.publish(fragment.into_value()),
                        None => more_fragments = false,
                    },
                    state = states.recv(), if more_states => match state {
                        Some(state) => self.hub.set_status(&state),
                        None => more_states = false,
                    },
                    motion = motions.recv(), if more_motions => match motion {
                        Some(motion) => self.hub.set_motion(&motion),
                        None => more_motions = false,
                    },
                    rest = rests.recv(), if more_rests => match rest {
                        Some(rest) => self.hub.set_rest(&rest),
                        None => more_rests = false,
                    },
                }
            }
            Ok(())
        })
    }
}
