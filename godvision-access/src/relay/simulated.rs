//! A relay that exists in memory only: for tests, for the demo, and to try a site out before its devices are wired.
//!
//! It behaves as a good device does: pulses are timed on its own clock and end whatever happens to the link. What can go
//! wrong with a link and its replies can be switched on by [`SimulatedRelay::trouble`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_input, checked_pulse,
};
use godvision_core::{Clock, MonoTime};

use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, FieldKind, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds. Two addresses with one host are one relay; one without a host is its own.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "simulated",
    title: "Simulated relay",
    about: "Exists in memory only: to try a site out before its devices are wired.",
    fields: &[
        AddressField::text("host", "a name of your own, if several doors share the relay")
            .of(FieldKind::Host)
            .example("yard"),
        AddressField::channels(64, "1"),
        AddressField::inputs(64),
    ],
    pulse: Some(PulseEnd::Device),
    verified: Verified::Device,
    unverified: &[],
};

/// How long a slow reply is waited for.
pub const TIMEOUT: Duration = Duration::from_millis(200);

const ADDRESS: &str = "simulated";

/// What is wrong with the link or the replies. The device itself goes on working.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// Nobody can connect.
    NoLink,
    /// Commands are carried out, but their replies do not come in time.
    SlowReply,
    /// Commands are carried out, but their replies are nonsense.
    BadReply,
    /// The device says no and does nothing.
    Refuses,
    /// The device wants another password.
    WrongPassword,
}

#[derive(Clone, Copy, Default)]
struct Switch {
    on: bool,
    /// When a running pulse ends.
    off_at: Option<MonoTime>,
}

#[derive(Default)]
struct State {
    switches: Vec<Switch>,
    /// Closed or not.
    inputs: Vec<bool>,
    trouble: Trouble,
    moves: usize,
}

/// A simulated relay.
pub struct SimulatedRelay {
    capabilities: Capabilities,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl SimulatedRelay {
    /// A relay with so many channels, all at rest, that times its pulses on `clock`.
    pub fn new(channels: u8, clock: Arc<dyn Clock>) -> Self {
        let pulse = PulseTiming::Device {
            min: Duration::from_millis(1),
            max: Duration::from_secs(3600),
            step: Duration::from_millis(1),
        };
        Self::with_timing(channels, clock, pulse)
    }

    /// From `simulated://[name][?channels=N][&inputs=N]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`].
    pub fn from_address(address: &DeviceAddress, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        SPEC.check(address)?;
        Ok(Self::new(SPEC.channels(address), clock).with_inputs(SPEC.inputs(address)))
    }

    /// With so many inputs, all open.
    #[must_use]
    pub fn with_inputs(mut self, inputs: u8) -> Self {
        self.capabilities.inputs = inputs;
        self.locked().inputs = vec![false; usize::from(inputs)];
        self
    }

    /// A relay that cannot time pulses: it stays on until it is switched off.
    pub fn without_timer(channels: u8, clock: Arc<dyn Clock>) -> Self {
        Self::with_timing(channels, clock, PulseTiming::Host)
    }

    fn with_timing(channels: u8, clock: Arc<dyn Clock>, pulse: PulseTiming) -> Self {
        let switches = vec![Switch::default(); usize::from(channels)];
        Self {
            capabilities: Capabilities { driver: "simulated", channels, pulse, inputs: 0 },
            clock,
            state: Mutex::new(State { switches, ..State::default() }),
        }
    }

    /// From now on, this is wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.locked().trouble = trouble;
    }

    /// The contact at the device itself; off for a channel that does not exist.
    pub fn contact(&self, channel: u8) -> Contact {
        let now = self.clock.mono();
        let mut state = self.locked();
        match state.switches.get_mut(usize::from(channel)) {
            Some(switch) => switch.read(now),
            None => Contact::Off,
        }
    }

    /// Moves the contact at the device, as a person at its button does.
    pub fn press(&self, channel: u8, contact: Contact) {
        if let Some(switch) = self.locked().switches.get_mut(usize::from(channel)) {
            *switch = Switch { on: contact == Contact::On, off_at: None };
        }
    }

    /// Closes or opens an input at the device.
    pub fn close_input(&self, input: u8, contact: Contact) {
        if let Some(closed) = self.locked().inputs.get_mut(usize::from(input)) {
            *closed = contact == Contact::On;
        }
    }

    /// Cuts the power and brings it back: every contact is at rest.
    pub fn reboot(&self) {
        self.locked().switches.fill(Switch::default());
    }

    /// How many commands have moved a contact or could have.
    pub fn moves(&self) -> usize {
        self.locked().moves
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the device carry out `command`, then lets the reply suffer what is wrong.
    async fn exchange<T>(&self, command: impl FnOnce(&mut State, MonoTime) -> T) -> Result<T, RelayError> {
        let address = || ADDRESS.to_owned();
        let (trouble, result) = {
            let now = self.clock.mono();
            let mut state = self.locked();
            let trouble = state.trouble;
            match trouble {
                Trouble::NoLink => {
                    return Err(RelayError::Unreachable { address: address(), detail: "the link is cut".into() });
                }
                Trouble::Refuses => {
                    return Err(RelayError::Rejected { address: address(), detail: "it was told to refuse".into() });
                }
                Trouble::WrongPassword => return Err(RelayError::AuthFailed { address: address() }),
                Trouble::None | Trouble::SlowReply | Trouble::BadReply => (trouble, command(&mut state, now)),
            }
        };
        match trouble {
            Trouble::SlowReply => {
                tokio::time::sleep(TIMEOUT).await;
                Err(RelayError::Timeout { address: address(), waited: TIMEOUT })
            }
            Trouble::BadReply => {
                Err(RelayError::BadReply { address: address(), detail: "it was told to garble".into() })
            }
            _ => Ok(result),
        }
    }
}

impl Switch {
    fn read(&mut self, now: MonoTime) -> Contact {
        if self.off_at.is_some_and(|off_at| off_at <= now) {
            *self = Self::default();
        }
        if self.on { Contact::On } else { Contact::Off }
    }
}

impl Relay for SimulatedRelay {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let duration = checked_pulse(&self.capabilities, channel, duration)?;
            let is_timed = matches!(self.capabilities.pulse, PulseTiming::Device { .. });
            self.exchange(|state, now| {
                state.moves += 1;
                if let Some(switch) = state.switches.get_mut(usize::from(channel)) {
                    *switch = Switch { on: true, off_at: is_timed.then(|| now + duration) };
                }
            })
            .await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            self.exchange(|state, _| {
                state.moves += 1;
                if let Some(switch) = state.switches.get_mut(usize::from(channel)) {
                    *switch = Switch { on: contact == Contact::On, off_at: None };
                }
            })
            .await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            self.exchange(|state, now| {
                state.switches.get_mut(usize::from(channel)).map_or(Contact::Off, |switch| switch.read(now))
            })
            .await
        })
    }

    fn input(&self, input: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_input(&self.capabilities, input)?;
            self.exchange(|state, _| match state.inputs.get(usize::from(input)) {
                Some(true) => Contact::On,
                _ => Contact::Off,
            })
            .await
        })
    }
}

impl fmt::Debug for SimulatedRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated relay of {} channels", self.capabilities.channels)
    }
}
