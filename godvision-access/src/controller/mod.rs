//! The door as a component of the bus: unit `door`.
//!
//! ```text
//! credentials: Credential ----+                                              +--> decisions: Decision
//! sightings: Sighting --------+--> rules --> premises --> journal --> spend --+--> door machine --> relay
//! Doors::open (an operator) --+      inputs: DoorInput --^                     +--> events, alarms
//! ```
//! The order is the point: the decision is in the journal, durably, and the use of a pass is spent, durably, before the
//! relay hears of it. What cannot be journalled or spent is refused. Deciding, writing and switching go on side by side,
//! so a slow journal never keeps a door open longer.
//!
//! A component's name is the name of its door, which rules and passes speak of. An operator's click takes the same way
//! and is decided by the same rules (`by = ["manual"]`).
//!
//! **Never:** a decision (that is [`AccessControl`]), a timing (that is [`crate::door::Door`]), opening on an error.

mod doors;
mod running;
mod settle;
mod shared;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use godvision_core::Name;
use godvision_core::bus::{
    Component, Context, Fault, Kind, ParamError, ParamKind, ParamSpec, Params, Policy, PortSpec, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{Relay, checked_channel, checked_pulse};
use godvision_core::signal::door::{Credential, Decision, DoorAlarm, DoorEvent, DoorInput};
use godvision_core::signal::seen::Sighting;

pub use doors::{DoorView, Doors};
pub use settle::journal_entry;
pub use shared::{EFFECTS_MAX, PremisesCommand, SharedPremises};

use crate::door::DoorOptions;
use crate::policy::AccessControl;
use crate::relay::RelayRegistry;
use crate::rule::check::ANY_DOOR;
use crate::spent::SpentStore;
use running::Running;

/// A credential that waited longer is not decided any more: nobody may stand there now.
pub const CREDENTIAL_AGE_MAX: Duration = Duration::from_secs(10);
/// A journal or spent store that takes longer is as good as failed: refuse.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// Things seen lately that are remembered for the hold-off.
pub const SEEN_MAX: usize = 16;
/// Decisions that [`Doors`] remembers of each door.
pub const DECISIONS_MAX: usize = 20;
/// Credentials and manual openings that may wait at one door.
pub const WAITING_MAX: usize = 16;

/// Journal entries about the door itself that may wait to be written.
const NOTES_MAX: usize = 64;
/// A store or a journal that failed is tried again after so long.
const KEEP_RETRY: Duration = Duration::from_secs(2);
/// A relay without a timer gets so long to be switched off when the component stops.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// The policy in force, shared by all doors and swapped whole.
#[derive(Clone, Debug)]
pub struct SharedAccess(Arc<RwLock<Arc<AccessControl>>>);

impl SharedAccess {
    /// A policy in force.
    pub fn new(access: AccessControl) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(access))))
    }

    /// The policy in force now.
    pub fn current(&self) -> Arc<AccessControl> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another policy in force: the next decision is made by it.
    pub fn replace(&self, access: AccessControl) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }
}

/// Makes doors.
pub struct DoorUnit {
    spec: UnitSpec,
    access: SharedAccess,
    spent: Arc<dyn SpentStore>,
    relays: RelayRegistry,
    doors: Doors,
}

impl DoorUnit {
    /// Doors that decide by `access`, count uses in `spent` and find their relays in `relays`.
    pub fn new(access: SharedAccess, spent: Arc<dyn SpentStore>, relays: RelayRegistry) -> Self {
        let waiting = Policy::DropOldest { capacity: WAITING_MAX };
        let spec = UnitSpec {
            name: "door",
            about: "a door: decides about credentials by the rules of the site and moves its relay",
            kind: Kind::Complex,
            inputs: vec![
                PortSpec::input::<Credential>("credentials", waiting),
                PortSpec::input::<Sighting>("sightings", waiting),
                PortSpec::input::<DoorInput>("inputs", waiting),
            ],
            outputs: vec![
                PortSpec::output::<Decision>("decisions"),
                PortSpec::output::<DoorEvent>("events"),
                PortSpec::output::<DoorAlarm>("alarms"),
            ],
            params: vec![
                ParamSpec::required(
                    "relay",
                    ParamKind::Secret,
                    "the relay's address, by its driver: shelly://admin:password@host/, modbus+tcp://host/, ...",
                ),
                ParamSpec::with_default(
                    "channel",
                    ParamKind::Integer { min: 0, max: 63 },
                    0_i64,
                    "its channel, from 0",
                ),
                ParamSpec::with_default(
                    "pulse",
                    ParamKind::Seconds { min: 0.1, max: 3600.0 },
                    3.0,
                    "how long it is unlocked",
                ),
                ParamSpec::with_default(
                    "poll",
                    ParamKind::Seconds { min: 1.0, max: 3600.0 },
                    30.0,
                    "how often an idle relay is asked",
                ),
                ParamSpec::with_default(
                    "hold_off",
                    ParamKind::Seconds { min: 0.0, max: 600.0 },
                    5.0,
                    "a code still in sight is decided again only after it was out of sight so long",
                ),
                ParamSpec::with_default(
                    "contact",
                    ParamKind::Integer { min: -1, max: 63 },
                    -1_i64,
                    "the relay's input that is closed while the door is shut, from 0; -1: none",
                ),
                ParamSpec::with_default(
                    "exit_button",
                    ParamKind::Integer { min: -1, max: 63 },
                    -1_i64,
                    "the relay's input that the exit button closes, from 0; -1: none",
                ),
                ParamSpec::with_default(
                    "input_poll",
                    ParamKind::Seconds { min: 0.05, max: 10.0 },
                    0.25,
                    "how often these inputs are read",
                ),
            ],
        };
        Self { spec, access, spent, relays, doors: Doors::default() }
    }

    /// The same, on `premises`: without this there are no areas or interlocks, and lockdowns are forgotten at restart.
    #[must_use]
    pub fn on(mut self, premises: SharedPremises) -> Self {
        self.doors = Doors::on(premises);
        self
    }

    /// The doors it has made. Take it before the unit is given to a host.
    pub fn doors(&self) -> Doors {
        self.doors.clone()
    }
}

impl Unit for DoorUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, name: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        ANY_DOOR.is_not(name).map_err(|fault| params.error("name", fault.to_string()))?;
        let seconds = |key| params.seconds(key).ok_or_else(|| params.error(key, "seconds are missing"));
        let url = params.secret("relay").ok_or_else(|| params.error("relay", "the relay's address is missing"))?;
        let relay = self.relays.open(url).map_err(|error| params.error("relay", error.to_string()))?;
        let channel = params.integer("channel").and_then(|channel| u8::try_from(channel).ok());
        let channel = channel.ok_or_else(|| params.error("channel", "no channel"))?;
        let capabilities = relay.capabilities();
        checked_channel(capabilities, channel).map_err(|error| params.error("channel", error.to_string()))?;
        let pulse = seconds("pulse")?;
        let pulse =
            checked_pulse(capabilities, channel, pulse).map_err(|error| params.error("pulse", error.to_string()))?;
        let input = |key| {
            let input = params.integer(key).and_then(|input| u8::try_from(input).ok());
            match input {
                Some(input) if input >= capabilities.inputs => {
                    let text = format!("the relay has {} inputs that can be read", capabilities.inputs);
                    Err(params.error(key, text))
                }
                input => Ok(input),
            }
        };
        let inputs =
            Inputs { contact: input("contact")?, exit_button: input("exit_button")?, poll: seconds("input_poll")? };
        let options = DoorOptions { pulse, timing: capabilities.pulse, poll: seconds("poll")? };
        Ok(Box::new(DoorController {
            name: name.clone(),
            access: self.access.clone(),
            spent: Arc::clone(&self.spent),
            doors: self.doors.clone(),
            relay,
            channel,
            options,
            hold_off: seconds("hold_off")?,
            inputs,
        }))
    }
}

/// One door on the bus.
struct DoorController {
    name: Name,
    access: SharedAccess,
    spent: Arc<dyn SpentStore>,
    doors: Doors,
    relay: Arc<dyn Relay>,
    channel: u8,
    options: DoorOptions,
    hold_off: Duration,
    inputs: Inputs,
}

/// The relay's inputs that belong to the door.
#[derive(Clone, Copy, Debug)]
struct Inputs {
    contact: Option<u8>,
    exit_button: Option<u8>,
    poll: Duration,
}

impl Component for DoorController {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut running = Running::new(self, cx)?;
            running.work(cx).await;
            running.stop().await;
            drop(running);
            self.doors.forget_stopped(&self.name);
            Ok(())
        })
    }
}
