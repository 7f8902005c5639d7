//! What the fake devices share: a board of contacts with timers, inputs and settings, and a server on loopback whose link
//! and replies can be spoiled.
//!
//! A fake is written from the device's documents, not from the driver beside it; its file (`fake_*.rs`) holds its wire
//! alone and starts a [`Fake`].
//!
//! **Never:** anything but loopback, a clock of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::Contact;
use godvision_core::{Clock, MonoTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
struct Contactor {
    on: bool,
    /// When a running pulse ends.
    off_at: Option<MonoTime>,
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

    /// Whether it is to refuse.
    pub fn refuses(&self) -> bool {
        *self.spoil.borrow() == Spoil::Refuse
    }
}

type Serve = Box<dyn Fn(Arc<Board>, TcpStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// A running fake. It stops when dropped.
pub struct Fake {
    address: SocketAddr,
    board: Arc<Board>,
    server: tokio::task::JoinHandle<()>,
}

impl Fake {
    /// Serves `board` on a free port of loopback; of more than `connections_max` connections at once, the rest are hung
    /// up on.
    ///
    /// # Errors
    /// What the system says about the port.
    pub(crate) async fn start(board: Board, connections_max: usize, serve: Serve) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let board = Arc::new(board);
        let served = Arc::clone(&board);
        let server = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while tasks.try_join_next().is_some() {}
                let full = {
                    let mut state = served.locked();
                    state.connections += 1;
                    state.connected >= connections_max
                };
                if full {
                    continue;
                }
                served.locked().connected += 1;
                let (mut spoil, mut boots) = (served.spoil.subscribe(), served.boots.subscribe());
                let (serving, board) = (serve(Arc::clone(&served), stream), Arc::clone(&served));
                tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        _ = spoil.wait_for(|how| *how == Spoil::CutLink) => {}
                        _ = boots.changed() => {}
                        () = serving => {}
                    }
                    board.locked().connected -= 1;
                });
            }
        });
        Ok(Self { address, board, server })
    }

    /// Serves `board` over HTTP.
    ///
    /// # Errors
    /// What the system says about the port.
    pub(crate) async fn http(
        board: Board,
        answer: impl Fn(&Board, &FakeRequest) -> String + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let answer = Arc::new(answer);
        let serve: Serve = Box::new(move |board, mut stream| {
            let answer = Arc::clone(&answer);
            Box::pin(async move {
                let mut received = Vec::new();
                while let Some(request) = read_request(&mut stream, &mut received).await {
                    board.note(format!("{} {}", request.method, request.target));
                    let reply = answer(&board, &request);
                    if board.reply(&mut stream, reply.as_bytes()).await.is_none() {
                        return;
                    }
                }
            })
        });
        Self::start(board, usize::MAX, serve).await
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The contact at the device itself; off for a channel that does not exist.
    pub fn contact(&self, channel: u8) -> Contact {
        if self.board.is_on(channel.into()) == Some(true) { Contact::On } else { Contact::Off }
    }

    /// Moves the contact, as a person at the device's button does. A stored pulse ends it, too.
    pub fn press(&self, channel: u8, contact: Contact) {
        let now = self.board.clock.mono();
        if let Some(contactor) = self.board.locked().contacts.get_mut(usize::from(channel)) {
            contactor.on = contact == Contact::On;
            contactor.off_at = contactor.stored.filter(|_| contactor.on).map(|after| now + after);
        }
    }

    /// Closes or opens an input.
    pub fn close_input(&self, input: u8, contact: Contact) {
        if let Some(closed) = self.board.locked().inputs.get_mut(usize::from(input)) {
            *closed = contact == Contact::On;
        }
    }

    /// Spoils the link or the replies from now on.
    pub fn spoil(&self, how: Spoil) {
        self.board.spoil.send_replace(how);
    }

    /// Cuts the power and brings it back: connections end, contacts are as the device's settings want.
    pub fn reboot(&self) {
        let now = self.board.clock.mono();
        for contact in &mut self.board.locked().contacts {
            let on = contact.read(now) && self.board.power_on == PowerOn::Restore;
            let off_at = contact.stored.filter(|_| on).map(|after| now + after);
            (contact.on, contact.off_at) = (on, off_at);
        }
        self.board.boots.send_modify(|boots| *boots += 1);
    }

    /// How many commands that can move a contact were carried out.
    pub fn moves(&self) -> usize {
        self.board.locked().moves
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.board.locked().connections
    }

    /// What arrived, in order: request lines, or commands.
    pub fn calls(&self) -> Vec<String> {
        self.board.locked().calls.clone()
    }

    /// A setting of the device, as a person reads it on its page.
    pub fn setting(&self, key: &str) -> u32 {
        self.board.setting(key)
    }

    /// Changes a setting, as a person does on its page.
    pub fn store(&self, key: &str, value: u32) {
        self.board.store(key, value);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Board {
    /// Sends a reply, spoiled as it is to be. `None` ends the connection.
    pub(crate) async fn reply(&self, stream: &mut TcpStream, reply: &[u8]) -> Option<()> {
        let how = *self.spoil.borrow();
        match how {
            Spoil::Silence => {
                // It says nothing until it is hung up on.
                while read_more(stream, &mut Vec::new()).await.is_some() {}
                None
            }
            Spoil::Half => {
                stream.write_all(reply.get(..reply.len() * 2 / 3)?).await.ok()?;
                None
            }
            Spoil::Garbage => {
                stream.write_all(b"\x00\xff\xfe SSH-2.0-none-of-it\r\n\r\n\r\n").await.ok()?;
                None
            }
            _ => stream.write_all(reply).await.ok(),
        }
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct FakeRequest {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl FakeRequest {
    /// What stands before the `?`.
    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// A value behind the `?`, percent-decoded.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.into_iter().find(|(known, _)| *known == name)?;
        crate::address::percent_decoded(value)
    }

    /// Whether it carries this user name and password in the clear.
    pub(crate) fn is_basic(&self, user: &str, password: &godvision_core::Secret) -> bool {
        self.authorization.as_deref() == Some(super::http::basic(user, password).expose())
    }
}

/// A reply over HTTP.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Longest request; a fake hangs up on a longer one.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// Reads one request; what follows it stays in `received`. `None` at the end, or when it is no request.
pub(crate) async fn read_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<FakeRequest> {
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(received.get(..end)?.to_vec()).ok()?;
            let mut first = head.split("\r\n").next()?.split(' ');
            let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
            let header = |name: &str| {
                head.split("\r\n")
                    .skip(1)
                    .filter_map(|line| line.split_once(':'))
                    .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned()))
            };
            let length: usize = header("content-length").map_or(Some(0), |length| length.parse().ok())?;
            if length > REQUEST_BYTES_MAX {
                return None;
            }
            if received.len() >= end + 4 + length {
                let body = received.get(end + 4..end + 4 + length)?.to_vec();
                received.drain(..end + 4 + length);
                return Some(FakeRequest { method, target, authorization: header("authorization"), body });
            }
        }
        if received.len() > 2 * REQUEST_BYTES_MAX {
            return None;
        }
        read_more(stream, received).await?;
    }
}

/// Waits for more bytes. `None` at the end.
pub(crate) async fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 2048];
    let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
    received.extend_from_slice(chunk.get(..count)?);
    Some(())
}
