//! What every fake relay board has, whatever wire it speaks: contacts that time their own pulses, inputs, a power switch,
//! and a listener on loopback whose link can be cut. The fakes beside the drivers add the wire.
//!
//! **Never:** anything but loopback, a protocol.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_core::driver::relay::Contact;
use godvision_core::{Clock, MonoTime};
use tokio::net::{TcpListener, TcpStream};
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
    /// Replies are no message of the protocol.
    Garbage,
    /// The device understands, says no and does nothing.
    Refuse,
}

/// A contact, and when it opens by itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Switch {
    pub(crate) on: bool,
    pub(crate) off_at: Option<MonoTime>,
}

#[derive(Default)]
struct State {
    switches: Vec<Switch>,
    inputs: Vec<bool>,
    moves: usize,
}

#[derive(Clone, Copy, Default)]
struct Link {
    spoil: Spoil,
    boots: u64,
}

/// The device itself, without its wire.
pub struct FakeBoard {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    link: watch::Sender<Link>,
}

impl FakeBoard {
    /// A board at rest that times pulses on `clock`.
    pub fn new(channels: u8, inputs: u8, clock: Arc<dyn Clock>) -> Arc<Self> {
        let state = State {
            switches: vec![Switch::default(); usize::from(channels)],
            inputs: vec![false; usize::from(inputs)],
            moves: 0,
        };
        Arc::new(Self { clock, state: Mutex::new(state), link: watch::Sender::default() })
    }

    /// The contact at the device itself; off for a channel that does not exist.
    pub fn contact(&self, channel: u8) -> Contact {
        if self.read(channel).unwrap_or(false) { Contact::On } else { Contact::Off }
    }

    /// Moves the contact, as a person at the device's button does.
    pub fn press(&self, channel: u8, contact: Contact) {
        if let Some(switch) = self.locked().switches.get_mut(usize::from(channel)) {
            *switch = Switch { on: contact == Contact::On, off_at: None };
        }
    }

    /// Closes or opens an input, as a door contact does.
    pub fn close_input(&self, input: u8, contact: Contact) {
        if let Some(closed) = self.locked().inputs.get_mut(usize::from(input)) {
            *closed = contact == Contact::On;
        }
    }

    /// Spoils the link or the replies from now on.
    pub fn spoil(&self, how: Spoil) {
        self.link.send_modify(|link| link.spoil = how);
    }

    /// Cuts the power and brings it back: connections are cut, contacts are at rest, timers are forgotten.
    pub fn reboot(&self) {
        self.locked().switches.fill(Switch::default());
        self.link.send_modify(|link| link.boots += 1);
    }

    /// How many commands have moved a contact or could have.
    pub fn moves(&self) -> usize {
        self.locked().moves
    }

    /// What is wrong at the moment.
    pub(crate) fn spoiled(&self) -> Spoil {
        self.link.borrow().spoil
    }

    /// A contact; `None` for a channel that does not exist.
    pub(crate) fn read(&self, channel: u8) -> Option<bool> {
        let now = self.clock.mono();
        self.locked().switches.get_mut(usize::from(channel)).map(|switch| switch.read(now))
    }

    /// An input; `None` for one that does not exist.
    pub(crate) fn read_input(&self, input: u8) -> Option<bool> {
        self.locked().inputs.get(usize::from(input)).copied()
    }

    /// Carries out a command; `None` for a channel that does not exist.
    pub(crate) fn switch(&self, channel: u8, on: bool, off_after: Option<Duration>) -> Option<()> {
        self.change(channel, |switch, now| *switch = Switch { on, off_at: off_after.map(|after| now + after) })?;
        self.count_move();
        Some(())
    }

    /// Changes a contact and its time by a device's own rules; `None` for a channel that does not exist.
    pub(crate) fn change(&self, channel: u8, change: impl FnOnce(&mut Switch, MonoTime)) -> Option<()> {
        let now = self.clock.mono();
        let mut state = self.locked();
        let switch = state.switches.get_mut(usize::from(channel))?;
        switch.read(now);
        change(switch, now);
        Some(())
    }

    /// Counts a command that moved a contact by [`FakeBoard::change`].
    pub(crate) fn count_move(&self) {
        self.locked().moves += 1;
    }

    /// Returns when the link is cut or the power goes.
    pub(crate) async fn cut(&self) {
        let mut link = self.link.subscribe();
        let boots = link.borrow().boots;
        // The board outlives its connections: the sender is not dropped.
        let _ = link.wait_for(|link| link.spoil == Spoil::CutLink || link.boots != boots).await;
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Switch {
    fn read(&mut self, now: MonoTime) -> bool {
        if self.off_at.is_some_and(|at| at <= now) {
            *self = Self::default();
        }
        self.on
    }
}

/// A listener on loopback. It stops when dropped.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Listening {
    /// Serves every connection with `serve` until the link is cut.
    pub(crate) async fn start<F, Served>(board: Arc<FakeBoard>, serve: F) -> std::io::Result<Self>
    where
        F: Fn(TcpStream) -> Served + Send + 'static,
        Served: Future<Output = Option<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (board, serving) = (Arc::clone(&board), serve(stream));
                connections.spawn(async move {
                    tokio::select! {
                        biased;
                        () = board.cut() => {}
                        _ = serving => {}
                    }
                });
            }
        });
        Ok(Self { address, server })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.server.abort();
    }
}
