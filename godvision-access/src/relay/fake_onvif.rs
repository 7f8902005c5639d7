//! A fake ONVIF device with relay outputs and digital inputs, on loopback: device and event service over SOAP, a password
//! proved by WS-UsernameToken or HTTP digest, a clock of its own that is wrong by hours.
//!
//! Written from the specifications, not from the driver beside it. What its addresses say about its host is wrong, as
//! with devices behind a router. Outputs are `relay0`, `relay1`, ...; inputs `input0`, ...
//!
//! **Never:** anything but loopback.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use godvision_core::{Clock, Secret, WallTime};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::digest;
use super::fake::{Board, Fake, Spoil};

/// How the device wants its password proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// A WS-UsernameToken in the SOAP header.
    UsernameToken,
    /// HTTP digest with MD5.
    HttpDigest,
}

const USER: &str = "admin";
const REALM: &str = "ipcam";
/// How far the device's clock is ahead.
const AHEAD_MICROS: i64 = 9 * 3600 * 1_000_000;
/// Tokens older than this are refused.
const TOKEN_AGE_MICROS_MAX: i64 = 60 * 1_000_000;
const REQUEST_BYTES_MAX: usize = 64 << 10;

#[derive(Default)]
struct State {
    /// The delay of outputs that are monostable.
    delays: HashMap<u8, Duration>,
    /// Outputs that are closed at rest.
    closed: HashSet<u8>,
    nonces: HashSet<String>,
    challenges: u64,
    subscriptions: HashSet<u64>,
    messages: Vec<String>,
}

impl State {
    fn rest_closed(&mut self, channel: u8, is_closed: bool) {
        if is_closed {
            self.closed.insert(channel);
        } else {
            self.closed.remove(&channel);
        }
    }
}

struct Device {
    board: Arc<Board>,
    password: Option<(Proof, Secret)>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// A running fake. It stops when dropped.
pub struct FakeOnvif {
    fake: Fake,
    device: Arc<Device>,
}

impl FakeOnvif {
    /// Starts on a free port of loopback. With a password, its user is `admin`.
    ///
    /// # Errors
    /// What the system says about the port.
    pub async fn start(
        board: Arc<Board>,
        password: Option<(Proof, Secret)>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let device = Arc::new(Device { board: Arc::clone(&board), password, clock, state: Mutex::default() });
        let serving = Arc::clone(&device);
        let serve = move |_: Arc<Board>, stream| {
            let device = Arc::clone(&serving);
            async move { device.serve(stream).await }
        };
        Ok(Self { fake: Fake::start(board, usize::MAX, serve).await?, device })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.fake.address()
    }

    /// The names of the messages that were carried out, in order.
    pub fn messages(&self) -> Vec<String> {
        self.device.locked().messages.clone()
    }

    /// Sets an output closed or open at rest, as its owner does.
    pub fn rest_closed(&self, channel: u8, is_closed: bool) {
        self.device.locked().rest_closed(channel, is_closed);
    }

    /// Whether an output is closed at rest.
    pub fn rests_closed(&self, channel: u8) -> bool {
        self.device.locked().closed.contains(&channel)
    }

    /// How many subscriptions were not ended.
    pub fn subscriptions(&self) -> usize {
        self.device.locked().subscriptions.len()
    }
}

struct Request {
    path: String,
    authorization: Option<String>,
    body: String,
}

impl Device {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let request = read_request(&mut stream).await?;
        let reply = self.reply(&request);
        match self.board.spoiled() {
            Spoil::Silence => std::future::pending().await,
            Spoil::Half => stream.write_all(reply.get(..reply.len() * 2 / 3)?.as_bytes()).await.ok(),
            Spoil::Garbage => {
                let page = "<html><body>Please log in<br></body></html>";
                stream.write_all(http("200 OK", "", page).as_bytes()).await.ok()
            }
            _ => stream.write_all(reply.as_bytes()).await.ok(),
        }
    }

    fn reply(&self, request: &Request) -> String {
        let Some(name) = between(&request.body, "Body><", ">").and_then(|tag| tag.split([' ', '/']).next()) else {
            return fault("env:Sender", "ter:WellFormed", "no body");
        };
        let name = name.rsplit(':').next().unwrap_or(name).to_owned();
        // The only question that needs no password.
        if name != "GetSystemDateAndTime" {
            match &self.password {
                Some((Proof::HttpDigest, password)) if !self.has_digest(request, password) => {
                    let mut state = self.locked();
                    state.challenges += 1;
                    let challenge = format!(
                        "WWW-Authenticate: Digest realm=\"{REALM}\", nonce=\"{:x}\", qop=\"auth\", algorithm=MD5\r\n",
                        state.challenges
                    );
                    return http("401 Unauthorized", &challenge, "");
                }
                Some((Proof::UsernameToken, password)) if !self.has_token(request, password) => {
                    return fault("env:Sender", "ter:NotAuthorized", "Sender not authorized");
                }
                _ => {}
            }
            if self.board.spoiled() == Spoil::Refuse {
                return fault("env:Receiver", "ter:ActionNotSupported", "told to refuse");
            }
        }
        let outcome = self.carry_out(&name, request);
        self.locked().messages.push(name.clone());
        match outcome {
            Some(inside) => {
                soap("200 OK", &format!("<tds:{name}Response xmlns:tds=\"urn:x\">{inside}</tds:{name}Response>"))
            }
            None => fault("env:Sender", "ter:InvalidArgVal", "Unknown token or value"),
        }
    }

    fn has_digest(&self, request: &Request, password: &Secret) -> bool {
        let Some(header) = &request.authorization else { return false };
        let asked = ("POST", request.path.as_str());
        digest::verify_with(digest::Algorithm::Md5, header, USER, REALM, password, asked).is_some()
    }

    fn has_token(&self, request: &Request, password: &Secret) -> bool {
        let proven = || {
            let text = |tag: &str| {
                let (_, rest) = request.body.split_once(&format!(":{tag}"))?;
                let inside = if tag.ends_with('>') { rest } else { rest.split_once('>')?.1 };
                Some(inside.split_once('<')?.0.to_owned())
            };
            let (nonce, created, digest) = (text("Nonce")?, text("Created")?, text("Password")?);
            let mut hash = Sha1::new();
            hash.update(STANDARD.decode(&nonce).ok()?);
            hash.update(created.as_bytes());
            hash.update(password.expose().as_bytes());
            let is_same = STANDARD.encode(hash.finalize()) == digest && text("Username>")? == USER;
            let created: jiff::Timestamp = created.parse().ok()?;
            let age = self.now().as_unix_micros().saturating_sub(created.as_microsecond());
            // A token that was seen before is a replay.
            (is_same && age.abs() < TOKEN_AGE_MICROS_MAX && self.locked().nonces.insert(nonce)).then_some(())
        };
        proven().is_some()
    }

    /// The device's own idea of the time.
    fn now(&self) -> WallTime {
        self.clock.wall().plus_micros(AHEAD_MICROS)
    }

    /// What stands inside the answer; `None` if an argument is wrong.
    fn carry_out(&self, name: &str, request: &Request) -> Option<String> {
        let value = |tag: &str| between(&request.body, &format!(":{tag}>"), "</");
        let channel = || value("RelayOutputToken")?.strip_prefix("relay")?.parse::<u8>().ok();
        match name {
            "GetSystemDateAndTime" => {
                let (year, month, day, hour, minute, second) = self.now().utc_parts();
                Some(format!(
                    "<tds:SystemDateAndTime><tt:UTCDateTime xmlns:tt=\"urn:t\"><tt:Time><tt:Hour>{hour}</tt:Hour>\
                     <tt:Minute>{minute}</tt:Minute><tt:Second>{second}</tt:Second></tt:Time><tt:Date><tt:Year>{year}\
                     </tt:Year><tt:Month>{month}</tt:Month><tt:Day>{day}</tt:Day></tt:Date></tt:UTCDateTime>\
                     </tds:SystemDateAndTime>"
                ))
            }
            "GetCapabilities" => Some(
                "<tds:Capabilities><tt:Events xmlns:tt=\"urn:t\"><tt:XAddr>http://10.9.8.7/onvif/events</tt:XAddr>\
                 </tt:Events></tds:Capabilities>"
                    .into(),
            ),
            "GetRelayOutputs" => Some(self.outputs()),
            "SetRelayOutputSettings" => {
                let channel = channel().filter(|channel| self.board.is_on((*channel).into()).is_some())?;
                let seconds: u64 = value("DelayTime")?.strip_prefix("PT")?.strip_suffix('S')?.parse().ok()?;
                let is_closed = match value("IdleState")? {
                    "closed" => true,
                    "open" => false,
                    _ => return None,
                };
                let mut state = self.locked();
                state.rest_closed(channel, is_closed);
                match value("Mode")? {
                    "Monostable" => state.delays.insert(channel, Duration::from_secs(seconds)),
                    "Bistable" => state.delays.remove(&channel),
                    _ => return None,
                };
                Some(String::new())
            }
            "SetRelayOutputState" => {
                let channel = channel()?;
                let is_active = value("LogicalState")? == "active";
                let delay = self.locked().delays.get(&channel).copied().filter(|_| is_active);
                self.board.command(channel.into(), is_active, delay)?;
                Some(String::new())
            }
            "CreatePullPointSubscription" => {
                let mut state = self.locked();
                let id = state.messages.len() as u64 + 1;
                state.subscriptions.insert(id);
                Some(format!(
                    "<tev:SubscriptionReference xmlns:tev=\"urn:e\"><wsa:Address xmlns:wsa=\"urn:a\">\
                     http://10.9.8.7/onvif/pull?at=1&amp;x=2</wsa:Address><wsa:ReferenceParameters xmlns:wsa=\"urn:a\">\
                     <dom0:SubscriptionId xmlns:dom0=\"urn:axis\">{id}</dom0:SubscriptionId></wsa:ReferenceParameters>\
                     </tev:SubscriptionReference>"
                ))
            }
            "PullMessages" | "Unsubscribe" => {
                let id: u64 = between(&request.body, "<SubscriptionId xmlns=\"urn:axis\">", "<")?.parse().ok()?;
                if request.path != "/onvif/pull?at=1&x=2" || !self.locked().subscriptions.contains(&id) {
                    return None;
                }
                if name == "Unsubscribe" {
                    self.locked().subscriptions.remove(&id);
                    return Some(String::new());
                }
                Some(self.events())
            }
            _ => None,
        }
    }

    fn outputs(&self) -> String {
        let state = self.locked();
        let channels = (0..=u8::MAX).take_while(|channel| usize::from(*channel) < self.board.channels());
        let output = |channel| {
            let delay = state.delays.get(&channel);
            let mode = if delay.is_some() { "Monostable" } else { "Bistable" };
            let idle = if state.closed.contains(&channel) { "closed" } else { "open" };
            format!(
                "<tds:RelayOutputs token=\"relay{channel}\"><tt:Properties xmlns:tt=\"urn:t\"><tt:Mode>{mode}</tt:Mode>\
                 <tt:DelayTime>PT{}S</tt:DelayTime><tt:IdleState>{idle}</tt:IdleState></tt:Properties></tds:RelayOutputs>",
                delay.map_or(0, Duration::as_secs)
            )
        };
        channels.map(output).collect()
    }

    fn events(&self) -> String {
        let notification = |topic: &str, key: &str, token: String, state: &str| {
            format!(
                "<wsnt:NotificationMessage xmlns:wsnt=\"urn:n\" xmlns:tt=\"urn:t\"><wsnt:Topic>\
                 tns1:Device/Trigger/{topic}</wsnt:Topic><wsnt:Message><tt:Message PropertyOperation=\"Initialized\">\
                 <tt:Source><tt:SimpleItem Name=\"{key}\" Value=\"{token}\"/></tt:Source><tt:Data>\
                 <tt:SimpleItem Name=\"LogicalState\" Value=\"{state}\"/></tt:Data></tt:Message></wsnt:Message>\
                 </wsnt:NotificationMessage>"
            )
        };
        let relays = (0..=u8::MAX).map_while(|channel| Some((channel, self.board.is_on(channel.into())?)));
        let relays = relays.map(|(channel, is_on)| {
            let state = if is_on { "active" } else { "inactive" };
            notification("Relay", "RelayToken", format!("relay{channel}"), state)
        });
        let inputs = (0..=u8::MAX).map_while(|input| Some((input, self.board.is_closed(input.into())?)));
        let inputs = inputs.map(|(input, is_closed)| {
            notification(
                "DigitalInput",
                "InputToken",
                format!("input{input}"),
                if is_closed { "true" } else { "false" },
            )
        });
        relays.chain(inputs).collect()
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

fn soap(status: &str, body: &str) -> String {
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<env:Envelope xmlns:env=\"http://www.w3.org/2003/05/soap-envelope\">\
         <env:Body>{body}</env:Body></env:Envelope>"
    );
    http(status, "Content-Type: application/soap+xml; charset=utf-8\r\n", &document)
}

fn fault(code: &str, subcode: &str, reason: &str) -> String {
    soap(
        "400 Bad Request",
        &format!(
            "<env:Fault><env:Code><env:Value>{code}</env:Value><env:Subcode><env:Value>{subcode}</env:Value>\
             </env:Subcode></env:Code><env:Reason><env:Text xml:lang=\"en\">{reason}</env:Text></env:Reason></env:Fault>"
        ),
    )
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut received = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        received.extend_from_slice(chunk.get(..count)?);
        if received.len() > REQUEST_BYTES_MAX {
            return None;
        }
        let text = std::str::from_utf8(&received).ok()?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
            lines
                .into_iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
        };
        if body.len() >= header("content-length")?.parse().ok()? {
            let path = head.split(' ').nth(1)?.to_owned();
            return Some(Request { path, authorization: header("authorization"), body: body.to_owned() });
        }
    }
}
