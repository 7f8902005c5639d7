//! A fake Shelly Gen2 device: its HTTP wire, digest authentication, device-timed pulses and error codes, on loopback.
//!
//! Written from the vendor's documentation, not from the driver beside it: for tests of programs that drive one, and for
//! trying a site out. Its replies and its link can be spoiled ([`Spoil`]).
//!
//! **Never:** anything but loopback, a second implementation of the device's web page.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use godvision_core::driver::relay::Contact;
use godvision_core::{Clock, MonoTime, Secret};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::digest;
use super::fake_http::{FakeRequest, http, read_request};

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
    /// Replies are no HTTP.
    Garbage,
    /// Replies are HTTP, but their body is not JSON-RPC.
    WrongBody,
    /// Replies answer another command.
    WrongId,
    /// Every method is refused with this error code, and nothing is carried out.
    Refuse(i64),
}

/// One call of a method that the device carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `Switch.Set`, ...
    pub method: String,
    /// Its parameters.
    pub params: Value,
}

#[derive(Clone, Copy, Default)]
struct Switch {
    on: bool,
    /// When the device flips back.
    flip_at: Option<MonoTime>,
}

#[derive(Default)]
struct State {
    switches: Vec<Switch>,
    /// Inputs of type `switch`, closed or not.
    inputs: Vec<bool>,
    calls: Vec<Call>,
    /// Nonces given out, and the highest count seen under each.
    nonces: HashMap<String, u32>,
    nonces_given: u64,
    connections: u64,
}

struct Device {
    password: Option<Secret>,
    clock: Arc<dyn Clock>,
    spoil: watch::Sender<Spoil>,
    boots: watch::Sender<u64>,
    state: Mutex<State>,
}

/// A running fake. It stops when dropped.
pub struct FakeShelly {
    address: SocketAddr,
    device: Arc<Device>,
    server: tokio::task::JoinHandle<()>,
}

const REALM: &str = "shellypro2-a8032ab12345";

impl FakeShelly {
    /// Starts a device with so many switches, and as many inputs, on a free port of loopback. Pulses are timed on `clock`.
    ///
    /// # Errors
    /// What the system says about the port.
    pub async fn start(channels: u8, password: Option<Secret>, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (switches, inputs) = (vec![Switch::default(); channels.into()], vec![false; channels.into()]);
        let device = Arc::new(Device {
            password,
            clock,
            spoil: watch::Sender::new(Spoil::Nothing),
            boots: watch::Sender::new(0),
            state: Mutex::new(State { switches, inputs, ..State::default() }),
        });
        let serving = Arc::clone(&device);
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                serving.locked().connections += 1;
                while connections.try_join_next().is_some() {}
                connections.spawn(Arc::clone(&serving).serve(stream));
            }
        });
        Ok(Self { address, device, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The contact at the device itself; off for a channel that does not exist.
    pub fn contact(&self, channel: u8) -> Contact {
        let now = self.device.clock.mono();
        let is_on = self.device.locked().switches.get_mut(usize::from(channel)).is_some_and(|switch| switch.read(now));
        if is_on { Contact::On } else { Contact::Off }
    }

    /// Moves the contact, as a person at the device's button does.
    pub fn press(&self, channel: u8, contact: Contact) {
        if let Some(switch) = self.device.locked().switches.get_mut(usize::from(channel)) {
            *switch = Switch { on: contact == Contact::On, flip_at: None };
        }
    }

    /// Spoils the link or the replies from now on.
    pub fn spoil(&self, how: Spoil) {
        self.device.spoil.send_replace(how);
    }

    /// Every call that was carried out, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.device.locked().calls.clone()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.device.locked().connections
    }

    /// Closes or opens an input.
    pub fn close_input(&self, input: u8, contact: Contact) {
        if let Some(closed) = self.device.locked().inputs.get_mut(usize::from(input)) {
            *closed = contact == Contact::On;
        }
    }

    /// Cuts the power and brings it back: connections end, nonces are forgotten, switches are off (`initial_state: off`).
    pub fn reboot(&self) {
        self.device.locked().switches.fill(Switch::default());
        self.forget_nonces();
        self.device.boots.send_modify(|boots| *boots += 1);
    }

    /// Forgets every nonce given out, as a device does that was restarted.
    pub fn forget_nonces(&self) {
        self.device.locked().nonces.clear();
    }
}

impl Drop for FakeShelly {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Switch {
    fn read(&mut self, now: MonoTime) -> bool {
        if self.flip_at.is_some_and(|at| at <= now) {
            *self = Self { on: !self.on, flip_at: None };
        }
        self.on
    }
}

impl Device {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let (mut spoil, mut boots) = (self.spoil.subscribe(), self.boots.subscribe());
        tokio::select! {
            _ = spoil.wait_for(|how| *how == Spoil::CutLink) => {}
            _ = boots.changed() => {}
            _ = self.answer_requests(&mut stream) => {}
        }
    }

    async fn answer_requests(&self, stream: &mut TcpStream) -> Option<()> {
        let mut received = Vec::new();
        loop {
            let request = read_request(stream, &mut received).await?;
            let reply = self.reply(&request);
            let how = *self.spoil.borrow();
            match how {
                Spoil::Silence => std::future::pending().await,
                Spoil::Half => {
                    stream.write_all(reply.get(..reply.len() * 2 / 3)?.as_bytes()).await.ok()?;
                    return None;
                }
                Spoil::Garbage => {
                    stream.write_all(b"\x00\xff\xfe SSH-2.0-not-http\r\n\r\n\r\n").await.ok()?;
                    return None;
                }
                _ => stream.write_all(reply.as_bytes()).await.ok()?,
            }
        }
    }

    fn reply(&self, request: &FakeRequest) -> String {
        if request.target != "/rpc" {
            return http("404 Not Found", "", "Not Found");
        }
        if request.method != "POST" {
            return http("405 Method Not Allowed", "", "");
        }
        if !self.is_authorized(request) {
            let mut state = self.locked();
            state.nonces_given += 1;
            let nonce = format!("{:08x}", 0x6560_0000 + state.nonces_given);
            state.nonces.insert(nonce.clone(), 0);
            let challenge = format!(
                "WWW-Authenticate: Digest qop=\"auth\", realm=\"{REALM}\", nonce=\"{nonce}\", algorithm=SHA-256\r\n"
            );
            return http("401 Unauthorized", &challenge, "");
        }
        let Ok(frame) = serde_json::from_slice::<Value>(&request.body) else {
            return http("500 Internal Server Error", "", "");
        };
        let id = frame.get("id").cloned().unwrap_or(Value::Null);
        let how = *self.spoil.borrow();
        let outcome = match how {
            Spoil::Refuse(code) => Err((code, "Told to refuse".to_owned())),
            _ => self.carry_out(&frame),
        };
        let id = if how == Spoil::WrongId { json!(999_999) } else { id };
        let body = match outcome {
            Ok(result) => json!({"id": id, "src": REALM, "dst": frame.get("src"), "result": result}),
            Err((code, message)) => {
                json!({"id": id, "src": REALM, "dst": frame.get("src"), "error": {"code": code, "message": message}})
            }
        };
        let body = if how == Spoil::WrongBody { "<html>Welcome</html>".to_owned() } else { body.to_string() };
        http("200 OK", "Content-Type: application/json\r\n", &body)
    }

    fn is_authorized(&self, request: &FakeRequest) -> bool {
        let Some(password) = &self.password else { return true };
        let Some(header) = &request.authorization else { return false };
        let Some(proof) = digest::verify(header, "admin", REALM, password, &request.method, &request.target) else {
            return false;
        };
        let mut state = self.locked();
        match state.nonces.get_mut(&proof.nonce) {
            // A count that does not grow is a replay.
            Some(highest) if proof.count > *highest => {
                *highest = proof.count;
                true
            }
            _ => false,
        }
    }

    fn carry_out(&self, frame: &Value) -> Result<Value, (i64, String)> {
        let method = frame.get("method").and_then(Value::as_str).unwrap_or_default();
        let params = frame.get("params").cloned().unwrap_or(Value::Null);
        if !["Switch.Set", "Switch.GetStatus", "Input.GetStatus"].contains(&method) {
            return Err((404, format!("No handler for {method}")));
        }
        let Some(id) = params.get("id").and_then(Value::as_u64) else {
            return Err((-103, "Missing required argument 'id'!".into()));
        };
        let now = self.clock.mono();
        let mut state = self.locked();
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        if method == "Input.GetStatus" {
            let state = *state.inputs.get(index).ok_or_else(|| (-105, format!("Bad id={id}")))?;
            return Ok(json!({"id": id, "state": state}));
        }
        let Some(switch) = state.switches.get_mut(index) else { return Err((-105, format!("Bad id={id}"))) };
        let was_on = switch.read(now);
        let result = if method == "Switch.Set" {
            let Some(on) = params.get("on").and_then(Value::as_bool) else {
                return Err((-103, "Missing required argument 'on'!".into()));
            };
            let after = match params.get("toggle_after").map(Value::as_f64) {
                None => None,
                Some(Some(seconds)) if seconds > 0.0 && seconds < 1e6 => {
                    Some(std::time::Duration::from_secs_f64(seconds))
                }
                Some(_) => return Err((-103, "Bad argument 'toggle_after'!".into())),
            };
            *switch = Switch { on, flip_at: after.map(|after| now + after) };
            json!({"was_on": was_on})
        } else {
            json!({"id": id, "source": "HTTP_in", "output": was_on, "temperature": {"tC": 41.2, "tF": 106.2}})
        };
        state.calls.push(Call { method: method.to_owned(), params });
        Ok(result)
    }
}
