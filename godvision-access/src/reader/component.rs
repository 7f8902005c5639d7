//! One channel of a reader as a component of the bus: unit `reader`.
//!
//! ```text
//!                            +--> credentials: Credential --> a door
//! device, channel --> reader +--> inputs: DoorInput ---------> a door
//!                       ^
//!                       +------- events: DoorEvent, decisions: Decision, from the door: what to show
//! ```
//! Components with the same `device` share it ([`Devices`]); each has a channel, a name, a door. The name is the source that
//! rules and the journal speak of.
//!
//! The lamp is dark from the moment something is presented until the door has decided, or [`BUSY_SHOWN`] if it never does.
//! A link that is lost is journalled once, counts as tampering at the door (somebody may have cut the cable) and is made anew.
//!
//! **Never:** a decision, a credential in the journal.

use std::sync::Arc;

use godvision_core::bus::{
    Component, Context, Fault, Input, Kind, Output, ParamError, ParamKind, ParamSpec, Params, Policy, PortSpec, Unit,
    UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::Level;
use godvision_core::signal::door::{Credential, Decision, DoorEvent, DoorInput, DoorSense, Indication, Key};
use godvision_core::{MonoTime, Name, Secret, Stamp};

use super::ReaderRegistry;
use super::device::{Attached, DeviceEvent, DeviceStatus, Devices, Gone};
use crate::controller::STORE_TIMEOUT;
use crate::door::BUSY_SHOWN;

/// Changes of the door that may wait.
pub const WAITING_MAX: usize = 16;

/// Makes readers.
pub struct ReaderUnit {
    spec: UnitSpec,
    devices: Devices,
}

impl ReaderUnit {
    /// Readers whose drivers are in `registry`.
    pub fn new(registry: ReaderRegistry) -> Self {
        let waiting = Policy::DropOldest { capacity: WAITING_MAX };
        let spec = UnitSpec {
            name: "reader",
            about: "one channel of a reader: cards, PINs and inputs of a door, and its lamps",
            kind: Kind::Complex,
            inputs: vec![
                PortSpec::input::<DoorEvent>("events", waiting),
                PortSpec::input::<Decision>("decisions", waiting),
            ],
            outputs: vec![PortSpec::output::<Credential>("credentials"), PortSpec::output::<DoorInput>("inputs")],
            params: vec![
                ParamSpec::required(
                    "device",
                    ParamKind::Secret,
                    "the device: osdp+tcp://:KEY@host/?address=0, keypad:///dev/ttyUSB0, soft://hall",
                ),
                ParamSpec::with_default(
                    "channel",
                    ParamKind::Integer { min: 0, max: 63 },
                    0_i64,
                    "its channel, from 0; each channel of a device has a reader of its own",
                ),
            ],
        };
        Self { spec, devices: Devices::new(registry) }
    }

    /// The devices that its readers share.
    pub fn devices(&self) -> Devices {
        self.devices.clone()
    }
}

impl Unit for ReaderUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, name: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let url = params.secret("device").ok_or_else(|| params.error("device", "the device's address is missing"))?;
        let can = self.devices.capabilities(url).map_err(|error| params.error("device", error.to_string()))?;
        let channel = params.integer("channel").and_then(|channel| u8::try_from(channel).ok());
        let channel = channel.filter(|channel| *channel < can.channels);
        let none = || format!("the device has {} channels; they count from 0", can.channels);
        let channel = channel.ok_or_else(|| params.error("channel", none()))?;
        Ok(Box::new(ReaderChannel { name: name.clone(), devices: self.devices.clone(), url: url.clone(), channel }))
    }
}

struct ReaderChannel {
    name: Name,
    devices: Devices,
    url: Secret,
    channel: u8,
}

impl Component for ReaderChannel {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let attached = self.devices.attach(&self.url, self.channel, &self.name, cx.clock());
            let attached = attached.map_err(|error| Fault::Restart(error.to_string()))?;
            Running {
                name: self.name.clone(),
                events: cx.input("events")?,
                decisions: cx.input("decisions")?,
                credentials: cx.output("credentials")?,
                inputs: cx.output("inputs")?,
                attached,
                told: Indication::Ready,
                shown: Indication::Ready,
                busy_until: None,
                presented: 0,
                is_lid_open: false,
                is_lost: false,
            }
            .work(cx)
            .await
        })
    }
}

/// A reader while it runs.
struct Running {
    name: Name,
    events: Input<DoorEvent>,
    decisions: Input<Decision>,
    credentials: Output<Credential>,
    inputs: Output<DoorInput>,
    attached: Attached,
    /// What the door says that it shows.
    told: Indication,
    /// What the device was told.
    shown: Indication,
    /// Something is being decided.
    busy_until: Option<MonoTime>,
    presented: u64,
    is_lid_open: bool,
    is_lost: bool,
}

impl Running {
    async fn work(mut self, cx: &Context) -> Result<(), Fault> {
        let clock = Arc::clone(cx.clock());
        let mut stopping = cx.stopping();
        let mut known = DeviceStatus::default();
        loop {
            let busy = self.busy_until.map(|until| until.since(clock.mono()));
            tokio::select! {
                biased;
                () = stopping.wait() => return Ok(()),
                event = self.attached.next() => match event {
                    Ok(DeviceEvent::Status(status)) => {
                        self.device_changed(cx, &known, &status).await;
                        known = status;
                    }
                    Ok(DeviceEvent::Presented { key, at }) => {
                        self.presented(key, at);
                        cx.show_count("presented", self.presented);
                    }
                    Ok(DeviceEvent::Input { sense, at }) => self.sensed(sense, at),
                    Err(Gone::Replaced) => return Ok(()),
                    Err(Gone::Failed) => return Err(Fault::Restart("the reader's driver has failed".into())),
                },
                event = self.events.recv() => match event {
                    Some(event) => self.door_changed(event.indication, clock.mono()),
                    None => return Ok(()),
                },
                decision = self.decisions.recv() => match decision {
                    Some(decision) if decision.source == self.name => self.decided(),
                    Some(_) => {}
                    None => return Ok(()),
                },
                () = tokio::time::sleep(busy.unwrap_or_default()), if busy.is_some() => {
                    if self.busy_until.is_some_and(|until| until <= clock.mono()) {
                        self.decided();
                    }
                }
            }
        }
    }

    fn presented(&mut self, key: Key, at: Stamp) {
        self.presented += 1;
        // The device shows it already.
        self.shown = Indication::Busy;
        self.busy_until = Some(at.mono + BUSY_SHOWN);
        let sent = self.credentials.send(Credential { source: self.name.clone(), key, at });
        if sent.accepted == 0 {
            // No door hears it: nothing is being decided.
            self.decided();
        }
    }

    fn sensed(&mut self, sense: DoorSense, at: Stamp) {
        match sense {
            DoorSense::Tampered(is_open) => {
                let before = self.is_tampered();
                self.is_lid_open = is_open;
                self.tell_tampered(before, at);
            }
            other => self.tell(other, at),
        }
    }

    fn tell(&self, sense: DoorSense, at: Stamp) {
        self.inputs.send(DoorInput { source: self.name.clone(), sense, at });
    }

    fn is_tampered(&self) -> bool {
        self.is_lid_open || self.is_lost
    }

    fn tell_tampered(&self, before: bool, at: Stamp) {
        if self.is_tampered() != before {
            self.tell(DoorSense::Tampered(self.is_tampered()), at);
        }
    }

    fn door_changed(&mut self, indication: Indication, now: MonoTime) {
        self.told = indication;
        self.busy_until = (indication == Indication::Busy).then(|| now + BUSY_SHOWN);
        self.show(indication);
    }

    /// Nothing is being decided any more: what the door says counts again.
    fn decided(&mut self) {
        self.busy_until = None;
        if self.told == Indication::Busy {
            self.told = Indication::Ready;
        }
        self.show(self.told);
    }

    fn show(&mut self, indication: Indication) {
        if self.shown != indication {
            self.shown = indication;
            self.attached.indicate(indication);
        }
    }

    async fn device_changed(&mut self, cx: &Context, before: &DeviceStatus, status: &DeviceStatus) {
        cx.show_count("connected", u64::from(status.is_up == Some(true)));
        cx.show_count("link_losses", status.losses);
        cx.show_count("garbage", status.garbage);
        cx.show_count("undefined_channels", status.undefined);
        cx.show_count("not_taken", status.dropped);
        let was_tampered = self.is_tampered();
        self.is_lost = status.is_up == Some(false);
        self.tell_tampered(was_tampered, cx.now());
        if self.attached.is_speaker() && status.is_up != before.is_up {
            let (level, code, text) = match status.is_up {
                Some(false) => (Level::Error, "reader.lost", status.detail.as_str()),
                Some(true) if before.losses > 0 => (Level::Info, "reader.back", "the reader answers again"),
                _ => return,
            };
            if tokio::time::timeout(STORE_TIMEOUT, cx.log(level, code, text)).await.is_err() {
                tracing::error!(reader = %self.name, code, "the journal does not answer");
            }
        }
    }
}
