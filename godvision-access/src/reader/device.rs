//! [`Devices`]: one reader device for as many doors as it has channels, with reconnection.
//!
//! ```text
//! component yard/door-reader, channel 0 --attach--+
//! component hall/door-reader, channel 1 --attach--+--> Device: one task, one Reader, one link
//! ```
//! A device runs while somebody is attached. A credential at a channel to which nobody is attached is ignored and counted,
//! as the dissertation's reader ignores its undefined channels. Whoever presents something sees at once that it is being
//! decided ([`Indication::Busy`]): the device shows it before it hands the credential over.
//!
//! What a contact or a lid says is told once by most devices, so it is state and not a message: it never waits behind
//! credentials, what the next one makes old may be forgotten and the last one never is, and whoever attaches later is told it.
//!
//! A link that is lost is made anew after 0.5 s, 1 s, ... up to [`BACK_OFF_MAX`]; when it is back, every channel shows what
//! it should.
//!
//! **Never:** a decision, the journal (whoever is attached writes it), a queue without a limit.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use godvision_core::driver::reader::{Capabilities, Presented, Reader, ReaderError, ReaderEvent};
use godvision_core::signal::door::{DoorSense, Indication, Key};
use godvision_core::{Clock, Name, Secret, Stamp};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::ReaderRegistry;
use crate::error::Error;

/// Credentials that may wait for one component.
pub const WAITING_MAX: usize = 16;
/// Changes of inputs that may wait for one component; of more, those that a later one of their kind makes old are forgotten.
pub const INPUTS_MAX: usize = 16;
/// The first wait after a lost link; each further one is twice as long.
pub const BACK_OFF_FIRST: Duration = Duration::from_millis(500);
/// The longest wait after a lost link.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// A reader that can show nothing counts as connected if it says nothing bad for so long: longer than any connection takes.
const QUIET: Duration = Duration::from_secs(6);

/// Something for the component at one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// Something was presented.
    Presented {
        /// What.
        key: Key,
        /// When it was read.
        at: Stamp,
    },
    /// An input changed.
    Input {
        /// What it says.
        sense: DoorSense,
        /// When it was read; if that was before somebody attached, when they did.
        at: Stamp,
    },
    /// The device's status is another one.
    Status(DeviceStatus),
}

/// Why nothing comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Another instance of the component has the channel.
    Replaced,
    /// The driver has failed; to attach again starts it anew.
    Failed,
}

/// How a device is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Whether there is a link; `None` until the first attempt has ended.
    pub is_up: Option<bool>,
    /// How often the link was lost, or could not be made at first.
    pub losses: u64,
    /// How often bytes were no message.
    pub garbage: u64,
    /// Events at channels to which nobody is attached.
    pub undefined: u64,
    /// Events that a component did not take in time.
    pub dropped: u64,
    /// Why the link is down, in words; never a secret.
    pub detail: String,
}

/// Changes of inputs on their way to one component.
#[derive(Default)]
struct Inputs {
    waiting: Mutex<VecDeque<(DoorSense, Stamp)>>,
    changed: Notify,
}

impl Inputs {
    fn locked(&self) -> MutexGuard<'_, VecDeque<(DoorSense, Stamp)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether there was room for all.
    fn push(&self, sense: DoorSense, at: Stamp) -> bool {
        let mut waiting = self.locked();
        waiting.push_back((sense, at));
        let has_room = waiting.len() <= INPUTS_MAX;
        if !has_room {
            // There are fewer kinds than places, so one at least is old.
            let kind = |place: usize| waiting.get(place).map(|(sense, _)| std::mem::discriminant(sense));
            let is_old = |place: &usize| (*place + 1..waiting.len()).any(|later| kind(later) == kind(*place));
            if let Some(old) = (0..waiting.len()).find(is_old) {
                waiting.remove(old);
            }
        }
        drop(waiting);
        self.changed.notify_one();
        has_room
    }

    fn pop(&self) -> Option<DeviceEvent> {
        self.locked().pop_front().map(|(sense, at)| DeviceEvent::Input { sense, at })
    }
}

/// What a channel's contact and lid said last.
#[derive(Clone, Copy, Default)]
struct Sensed {
    ajar: Option<bool>,
    tampered: Option<bool>,
}

impl Sensed {
    fn take(&mut self, sense: DoorSense) {
        match sense {
            DoorSense::Ajar(is_open) => self.ajar = Some(is_open),
            DoorSense::Tampered(is_open) => self.tampered = Some(is_open),
            DoorSense::ExitRequested => {}
        }
    }

    fn senses(self) -> impl Iterator<Item = DoorSense> {
        self.ajar.map(DoorSense::Ajar).into_iter().chain(self.tampered.map(DoorSense::Tampered))
    }
}

struct Place {
    owner: Name,
    events: mpsc::Sender<DeviceEvent>,
    inputs: Arc<Inputs>,
    wanted: Indication,
    /// The device has not been told.
    is_new: bool,
}

#[derive(Default)]
struct Places {
    taken: Mutex<BTreeMap<u8, Place>>,
    /// By channel, whether or not anybody is attached; forgotten with the link.
    sensed: Mutex<BTreeMap<u8, Sensed>>,
    changed: Notify,
}

impl Places {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<u8, Place>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sensed(&self) -> MutexGuard<'_, BTreeMap<u8, Sensed>> {
        self.sensed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, channel: u8, indication: Indication) {
        if let Some(place) = self.locked().get_mut(&channel) {
            place.wanted = indication;
            place.is_new = true;
        }
        self.changed.notify_one();
    }

    /// What some channel is to show and does not.
    fn take_new(&self) -> Option<(u8, Indication)> {
        let mut taken = self.locked();
        let (channel, place) = taken.iter_mut().find(|(_, place)| place.is_new)?;
        place.is_new = false;
        Some((*channel, place.wanted))
    }

    fn show_all_anew(&self) {
        for place in self.locked().values_mut() {
            place.is_new = true;
        }
    }
}

/// One device that runs.
pub struct Device {
    capabilities: Capabilities,
    places: Arc<Places>,
    status: watch::Receiver<DeviceStatus>,
    task: JoinHandle<()>,
}

impl Device {
    fn start(reader: Box<dyn Reader>, clock: Arc<dyn Clock>) -> Self {
        let capabilities = reader.capabilities().clone();
        let places = Arc::new(Places::default());
        let (sender, status) = watch::channel(DeviceStatus::default());
        let indicates = capabilities.indicates;
        let running = Running { reader, clock, places: Arc::clone(&places), status: sender, indicates };
        Self { capabilities, places, status, task: tokio::spawn(running.work()) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A component's hold of one channel of a device; the device stops when the last one is dropped.
pub struct Attached {
    device: Arc<Device>,
    channel: u8,
    owner: Name,
    events: mpsc::Receiver<DeviceEvent>,
    inputs: Arc<Inputs>,
    status: watch::Receiver<DeviceStatus>,
}

impl Attached {
    /// The next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn next(&mut self) -> Result<DeviceEvent, Gone> {
        loop {
            if let Some(input) = self.inputs.pop() {
                return Ok(input);
            }
            tokio::select! {
                biased;
                () = self.inputs.changed.notified() => {}
                event = self.events.recv() => return event.ok_or(Gone::Replaced),
                changed = self.status.changed() => return match changed {
                    Ok(()) => Ok(DeviceEvent::Status(self.status.borrow_and_update().clone())),
                    Err(_) => Err(Gone::Failed),
                },
            }
        }
    }

    /// Shows `indication` at this channel as soon as the device can; a newer one takes its place.
    pub fn indicate(&self, indication: Indication) {
        self.device.places.want(self.channel, indication);
    }

    /// Whether this one speaks for the device where one word is enough: the lowest channel does.
    pub fn is_speaker(&self) -> bool {
        self.device.places.locked().keys().next() == Some(&self.channel)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.events.close();
        let mut taken = self.device.places.locked();
        // A successor may have taken the place.
        if taken.get(&self.channel).is_some_and(|place| place.owner == self.owner && place.events.is_closed()) {
            taken.remove(&self.channel);
        }
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at channel {} of {}", self.owner, self.channel, self.device.capabilities.driver)
    }
}

/// A device that runs, and its address.
type Known = (Secret, Weak<Device>);

/// The devices that run, by their addresses.
#[derive(Clone)]
pub struct Devices {
    registry: Arc<ReaderRegistry>,
    running: Arc<Mutex<Vec<Known>>>,
}

impl Devices {
    /// Devices whose drivers are in `registry`.
    pub fn new(registry: ReaderRegistry) -> Self {
        Self { registry: Arc::new(registry), running: Arc::default() }
    }

    /// What the device at `url` can do, without starting it.
    ///
    /// # Errors
    /// As [`ReaderRegistry::open`].
    pub fn capabilities(&self, url: &Secret) -> Result<Capabilities, Error> {
        Ok(self.registry.open(url)?.capabilities().clone())
    }

    /// Attaches the component `owner` to `channel` of the device at `url`, which is started if it does not run. Must be
    /// called on a tokio runtime.
    ///
    /// # Errors
    /// As [`ReaderRegistry::open`]; [`Error::BadDeviceUrl`] if the device has no such channel or another component has it.
    pub fn attach(&self, url: &Secret, channel: u8, owner: &Name, clock: &Arc<dyn Clock>) -> Result<Attached, Error> {
        let device = self.device(url, clock)?;
        if channel >= device.capabilities.channels {
            return Err(Error::BadDeviceUrl { detail: "the device has no such channel; they count from 0" });
        }
        let (sender, events) = mpsc::channel(WAITING_MAX);
        let inputs = Arc::new(Inputs::default());
        let place = Place {
            owner: owner.clone(),
            events: sender,
            inputs: Arc::clone(&inputs),
            wanted: Indication::Ready,
            is_new: true,
        };
        {
            let mut taken = device.places.locked();
            if taken.get(&channel).is_some_and(|other| other.owner != *owner && !other.events.is_closed()) {
                return Err(Error::BadDeviceUrl { detail: "another component has this channel of the device" });
            }
            taken.insert(channel, place);
            for sense in device.places.sensed().get(&channel).copied().unwrap_or_default().senses() {
                inputs.push(sense, clock.now());
            }
        }
        device.places.changed.notify_one();
        let mut status = device.status.clone();
        status.mark_changed();
        Ok(Attached { device, channel, owner: owner.clone(), events, inputs, status })
    }

    fn device(&self, url: &Secret, clock: &Arc<dyn Clock>) -> Result<Arc<Device>, Error> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(_, device)| device.strong_count() > 0);
        let known = running.iter().find(|(known, _)| known == url).and_then(|(_, device)| device.upgrade());
        if let Some(device) = known.filter(|device| !device.task.is_finished()) {
            return Ok(device);
        }
        let device = Arc::new(Device::start(self.registry.open(url)?, Arc::clone(clock)));
        running.retain(|(known, _)| known != url);
        running.push((url.clone(), Arc::downgrade(&device)));
        Ok(device)
    }

    /// What each driver says of itself, for forms.
    pub fn registry(&self) -> &ReaderRegistry {
        &self.registry
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.registry.fmt(f)
    }
}

/// A device's task.
struct Running {
    reader: Box<dyn Reader>,
    clock: Arc<dyn Clock>,
    places: Arc<Places>,
    status: watch::Sender<DeviceStatus>,
    indicates: bool,
}

/// What comes next.
enum Turn {
    Read(Result<ReaderEvent, ReaderError>),
    Show,
    Quiet,
}

impl Running {
    /// Until it is aborted.
    async fn work(mut self) {
        let mut back_off = BACK_OFF_FIRST;
        loop {
            let error = self.serve(&mut back_off).await;
            self.status.send_modify(|status| {
                if status.is_up != Some(false) {
                    status.losses += 1;
                }
                status.is_up = Some(false);
                status.detail = error.to_string();
            });
            self.places.sensed().clear();
            tokio::time::sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
            self.places.show_all_anew();
        }
    }

    /// Until the link is lost.
    async fn serve(&mut self, back_off: &mut Duration) -> ReaderError {
        loop {
            while self.indicates
                && let Some((channel, indication)) = self.places.take_new()
            {
                match self.reader.indicate(channel, indication).await {
                    Ok(()) => self.is_up(back_off),
                    Err(ReaderError::Unsupported { .. }) => {}
                    Err(error) => return error,
                }
            }
            let is_up = self.status.borrow().is_up == Some(true);
            let turn = tokio::select! {
                biased;
                // A person waits for the lamp.
                () = self.places.changed.notified() => Turn::Show,
                read = self.reader.next() => Turn::Read(read),
                () = tokio::time::sleep(QUIET), if !is_up => Turn::Quiet,
            };
            match turn {
                Turn::Show => {}
                Turn::Quiet => self.is_up(back_off),
                Turn::Read(Ok(event)) => {
                    self.is_up(back_off);
                    self.read(event);
                }
                Turn::Read(Err(error @ ReaderError::BadInput { .. })) => {
                    tracing::debug!(%error, "a reader sent nonsense");
                    self.status.send_modify(|status| status.garbage += 1);
                    // Garbage without end must not keep a thread from everything else.
                    tokio::task::yield_now().await;
                }
                Turn::Read(Err(error)) => return error,
            }
        }
    }

    fn is_up(&self, back_off: &mut Duration) {
        *back_off = BACK_OFF_FIRST;
        self.status.send_if_modified(|status| status.is_up.replace(true) != Some(true));
    }

    fn read(&self, event: ReaderEvent) {
        let at = self.clock.now();
        let (ReaderEvent::Presented(Presented { channel, .. }) | ReaderEvent::Input { channel, .. }) = event;
        let mut taken = self.places.locked();
        if let ReaderEvent::Input { sense, .. } = event
            && channel < self.reader.capabilities().channels
        {
            self.places.sensed().entry(channel).or_default().take(sense);
        }
        let Some(place) = taken.get_mut(&channel) else {
            drop(taken);
            return self.status.send_modify(|status| status.undefined += 1);
        };
        let is_taken = match event {
            ReaderEvent::Input { sense, .. } => place.inputs.push(sense, at),
            ReaderEvent::Presented(Presented { key, .. }) => {
                let is_taken = place.events.try_send(DeviceEvent::Presented { key, at }).is_ok();
                if is_taken {
                    // Before anybody has decided: the person sees that it was read.
                    place.wanted = Indication::Busy;
                    place.is_new = true;
                }
                is_taken
            }
        };
        drop(taken);
        if !is_taken {
            self.status.send_modify(|status| status.dropped += 1);
        }
    }
}
