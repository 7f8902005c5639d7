//! What is behind the wire of every fake: contacts with timers, inputs and settings, a power switch, and what is wrong with
//! its link and replies.
//!
//! **Never:** a protocol, a clock of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_core::driver::relay::Contact;
use godvision_core::{Clock, MonoTime};
use tokio::sync::watch;

/// What is wrong with the device's link or replies. Commands are carried out unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Spoil {
    /// Nothing.
    #[default]
    Nothing,
    /// New connections are closed at once, and open ones are cut.
    CutLink,
    /// Replies never come.
    Silence,
    /// Replies break off in the middle.
    Half,
    /// Replies are none of the protocol.
    Garbage,
    /// Every command is refused in the device's own way, and nothing is carried out.
    Refuse,
    /// Commands are answered as if carried out, and nothing is.
    Ignore,
}

/// What a device does with its contacts when its power is back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PowerOn {
    /// All at rest.
    #[default]
    Off,
    /// As they were; one with a stored pulse begins it anew.
    Restore,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Contactor {
    pub(crate) on: bool,
    /// When a running pulse ends.
    pub(crate) off_at: Option<MonoTime>,
    /// A pulse kept in the device's settings: it ends every switching on.
    stored: Option<Duration>,
}

impl Contactor {
    fn read(&mut self, now: MonoTime) -> bool {
        if self.off_at.is_some_and(|at| at <= now) {
            (self.on, self.off_at) = (false, None);
        }
        self.on
    }
}

#[derive(Default)]
struct State {
    contacts: Vec<Contactor>,
    inputs: Vec<bool>,
    settings: BTreeMap<String, u32>,
    calls: Vec<String>,
    moves: usize,
    connections: usize,
    connected: usize,
}

/// The device behind the wire.
pub struct Board {
    clock: Arc<dyn Clock>,
    power_on: PowerOn,
    state: Mutex<State>,
    spoil: watch::Sender<Spoil>,
    /// Counts reboots; open connections end when it changes.
    boots: watch::Sender<u64>,
}

impl Board {
    /// So many contacts at rest and inputs open, timed on `clock`.
    pub fn new(channels: u8, inputs: u8, clock: Arc<dyn Clock>) -> Self {
        let contacts = vec![Contactor::default(); usize::from(channels)];
        let inputs = vec![false; usize::from(inputs)];
        Self {
            clock,
            power_on: PowerOn::Off,
            state: Mutex::new(State { contacts, inputs, ..State::default() }),
            spoil: watch::Sender::new(Spoil::Nothing),
            boots: watch::Sender::new(0),
        }
    }

    /// With another behaviour at power on.
    #[must_use]
    pub fn at_power_on(mut self, power_on: PowerOn) -> Self {
        self.power_on = power_on;
        self
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many contacts it has.
    pub fn channels(&self) -> usize {
        self.locked().contacts.len()
    }

    /// The contact, if it exists.
    pub fn is_on(&self, channel: usize) -> Option<bool> {
        let now = self.clock.mono();
        self.locked().contacts.get_mut(channel).map(|contact| contact.read(now))
    }

    /// Whether a timer runs, and what is left.
    pub fn remaining(&self, channel: usize) -> Option<Duration> {
        let now = self.clock.mono();
        let state = self.locked();
        let off_at = state.contacts.get(channel)?.off_at?;
        (off_at > now).then(|| off_at - now)
    }

    /// Moves a contact by a command; `after` is when it goes off by itself. What it was before, if it exists.
    pub fn command(&self, channel: usize, on: bool, after: Option<Duration>) -> Option<bool> {
        let now = self.clock.mono();
        let ignored = *self.spoil.borrow() == Spoil::Ignore;
        let mut state = self.locked();
        let contact = state.contacts.get_mut(channel)?;
        let was_on = contact.read(now);
        if !ignored {
            let after = after.or(contact.stored).filter(|_| on);
            (contact.on, contact.off_at) = (on, after.map(|after| now + after));
            state.moves += 1;
        }
        Some(was_on)
    }

    /// Keeps a pulse in the settings of a contact; `None` forgets it.
    pub fn store_pulse(&self, channel: usize, pulse: Option<Duration>) {
        if let Some(contact) = self.locked().contacts.get_mut(channel) {
            contact.stored = pulse;
        }
    }

    /// The input, if it exists.
    pub fn is_closed(&self, input: usize) -> Option<bool> {
        self.locked().inputs.get(input).copied()
    }

    /// Keeps a setting over reboots.
    pub fn store(&self, key: &str, value: u32) {
        self.locked().settings.insert(key.to_owned(), value);
    }

    /// A setting; 0 if it was never set.
    pub fn setting(&self, key: &str) -> u32 {
        self.locked().settings.get(key).copied().unwrap_or_default()
    }

    /// Notes what arrived, for tests to look at.
    pub fn note(&self, call: impl Into<String>) {
        self.locked().calls.push(call.into());
    }

    /// What is wrong at the moment.
    pub fn spoiled(&self) -> Spoil {
        *self.spoil.borrow()
    }

    /// Whether it is to refuse.
    pub fn refuses(&self) -> bool {
        self.spoiled() == Spoil::Refuse
    }

    /// Changes a contact and its time by a device's own rules; `None` for one that does not exist.
    #[cfg(all(feature = "fieldbus-testkit", feature = "mqtt"))]
    pub(crate) fn change(&self, channel: usize, change: impl FnOnce(&mut Contactor, MonoTime)) -> Option<()> {
        let now = self.clock.mono();
        let mut state = self.locked();
        let contact = state.contacts.get_mut(channel)?;
        contact.read(now);
        change(contact, now);
        Some(())
    }

    /// Counts a command that moved a contact by [`Board::change`].
    #[cfg(all(feature = "fieldbus-testkit", feature = "mqtt"))]
    pub(crate) fn count_move(&self) {
        self.locked().moves += 1;
    }

    /// The contact at the device itself; off for a channel that does not exist.
    pub fn contact(&self, channel: u8) -> Contact {
        if self.is_on(channel.into()) == Some(true) { Contact::On } else { Contact::Off }
    }

    /// Moves the contact, as a person at the device's button does. A stored pulse ends it, too.
    pub fn press(&self, channel: u8, contact: Contact) {
        let now = self.clock.mono();
        if let Some(contactor) = self.locked().contacts.get_mut(usize::from(channel)) {
            contactor.on = contact == Contact::On;
            contactor.off_at = contactor.stored.filter(|_| contactor.on).map(|after| now + after);
        }
    }

    /// Closes or opens an input.
    pub fn close_input(&self, input: u8, contact: Contact) {
        if let Some(closed) = self.locked().inputs.get_mut(usize::from(input)) {
            *closed = contact == Contact::On;
        }
    }

    /// Spoils the link or the replies from now on.
    pub fn spoil(&self, how: Spoil) {
        self.spoil.send_replace(how);
    }

    /// Cuts the power and brings it back: connections end, contacts are as the device's settings want.
    pub fn reboot(&self) {
        let now = self.clock.mono();
        for contact in &mut self.locked().contacts {
            let on = contact.read(now) && self.power_on == PowerOn::Restore;
            let off_at = contact.stored.filter(|_| on).map(|after| now + after);
            (contact.on, contact.off_at) = (on, off_at);
        }
        self.boots.send_modify(|boots| *boots += 1);
    }

    /// How many commands that can move a contact were carried out.
    pub fn moves(&self) -> usize {
        self.locked().moves
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.locked().connections
    }

    /// What arrived, in order: request lines, or commands.
    pub fn calls(&self) -> Vec<String> {
        self.locked().calls.clone()
    }

    /// A connection begins, unless there are `connections_max` already; it ends when what is returned is dropped.
    pub(crate) fn connect(self: &Arc<Self>, connections_max: usize) -> Option<Connected> {
        let mut state = self.locked();
        state.connections += 1;
        if state.connected >= connections_max {
            return None;
        }
        state.connected += 1;
        Some(Connected { board: Arc::clone(self), spoil: self.spoil.subscribe(), boots: self.boots.subscribe() })
    }
}

/// A connection to a board.
pub(crate) struct Connected {
    board: Arc<Board>,
    spoil: watch::Receiver<Spoil>,
    boots: watch::Receiver<u64>,
}

impl Connected {
    /// Returns when the link is cut or the power goes.
    pub(crate) async fn cut(&mut self) {
        tokio::select! {
            _ = self.spoil.wait_for(|how| *how == Spoil::CutLink) => {}
            _ = self.boots.changed() => {}
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.board.locked().connected -= 1;
    }
}
