//! A fake MQTT 3.1.1 broker on loopback with a relay device behind it: Tasmota, a Zigbee device behind Zigbee2MQTT, or a
//! plain one that keeps its state on the broker.
//!
//! The broker knows what the drivers use: names and passwords, subscriptions without wildcards, retained messages,
//! QoS 0. The devices are written from their documentation, with the properties that bite: Tasmota's `PulseTime` is a
//! setting that ends every later `Power ON`; a Zigbee device's On does not cancel its On With Timed Off, and a second
//! time never shortens the first.
//!
//! **Never:** anything but loopback.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use godvision_core::Secret;
use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, Publish, SubAck, SubscribeReasonCode};
use rumqttc::mqttbytes::{Error as PacketError, QoS};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::fake::{Board, Fake, Spoil};

/// The device behind the broker. Its name is `gate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// Tasmota: `cmnd/gate/...`, `stat/gate/RESULT`.
    Tasmota,
    /// Behind Zigbee2MQTT: `zigbee2mqtt/gate`, properties `state_l1`, ...
    Zigbee,
    /// `gate/0/set`, `gate/0/get`, and `gate/0/state`, retained; `gate/here` says `online`.
    Plain,
}

const MESSAGE_BYTES_MAX: usize = 64 << 10;
const NAME: &str = "gate";

/// Who is connected: topics, and the way there.
type Clients = HashMap<u64, (HashSet<String>, mpsc::UnboundedSender<Packet>)>;

#[derive(Default)]
struct State {
    clients: Clients,
    next_client: u64,
    retained: HashMap<String, Vec<u8>>,
    /// Tasmota's setting for each channel.
    pulse_times: HashMap<u8, u32>,
    published: Vec<(String, String)>,
}

struct Broker {
    board: Arc<Board>,
    device: Device,
    login: Option<(&'static str, Secret)>,
    state: Mutex<State>,
}

/// A running fake. It stops when dropped.
pub struct FakeMqtt {
    fake: Fake,
    broker: Arc<Broker>,
}

impl FakeMqtt {
    /// Starts on a free port of loopback; with `login`, only who knows it may connect.
    ///
    /// # Errors
    /// What the system says about the port.
    pub async fn start(
        board: Arc<Board>,
        device: Device,
        login: Option<(&'static str, Secret)>,
    ) -> std::io::Result<Self> {
        let broker = Arc::new(Broker { board: Arc::clone(&board), device, login, state: Mutex::default() });
        broker.keep("gate/here", b"online");
        let serving = Arc::clone(&broker);
        let fake = Fake::start(board, usize::MAX, move |_, stream| Arc::clone(&serving).serve(stream)).await?;
        Ok(Self { fake, broker })
    }

    /// Where the broker listens.
    pub fn address(&self) -> SocketAddr {
        self.fake.address()
    }

    /// Keeps a message for later subscribers, as a device does that publishes it retained.
    pub fn keep(&self, topic: &str, payload: &[u8]) {
        self.broker.keep(topic, payload);
    }

    /// The topics of which a message is kept, in alphabetical order.
    pub fn kept(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.broker.locked().retained.keys().cloned().collect();
        topics.sort_unstable();
        topics
    }

    /// What clients have published, topic and payload, in order.
    pub fn published(&self) -> Vec<(String, String)> {
        self.broker.locked().published.clone()
    }
}

impl Broker {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, topic: &str, payload: &[u8]) {
        self.locked().retained.insert(topic.to_owned(), payload.to_vec());
    }

    /// Passes a device's message on.
    fn tell(&self, topic: &str, payload: &[u8]) {
        for (topics, way) in self.locked().clients.values() {
            if topics.contains(topic) {
                // A client that has gone hears nothing.
                let _ = way.send(Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload)));
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) -> Option<()> {
        let (way, outgoing) = mpsc::unbounded_channel();
        let client = {
            let mut state = self.locked();
            state.next_client += 1;
            let client = state.next_client;
            state.clients.insert(client, (HashSet::new(), way.clone()));
            client
        };
        let ended = self.converse(client, &way, outgoing, stream).await;
        self.locked().clients.remove(&client);
        ended
    }

    async fn converse(
        &self,
        client: u64,
        way: &mpsc::UnboundedSender<Packet>,
        mut outgoing: mpsc::UnboundedReceiver<Packet>,
        mut stream: TcpStream,
    ) -> Option<()> {
        let mut received = BytesMut::new();
        let mut is_known = false;
        loop {
            let packet = match Packet::read(&mut received, MESSAGE_BYTES_MAX) {
                Ok(packet) => packet,
                Err(PacketError::InsufficientBytes(_)) => {
                    tokio::select! {
                        count = stream.read_buf(&mut received) => {
                            count.ok().filter(|count| *count > 0)?;
                        }
                        packet = outgoing.recv() => self.send(&mut stream, &packet?).await?,
                    }
                    continue;
                }
                Err(_) => return None,
            };
            match packet {
                Packet::Connect(hello) => {
                    is_known = self.login.as_ref().is_none_or(|(user, password)| {
                        hello.login.is_some_and(|given| given.validate(user, password.expose()))
                    });
                    let code = if is_known { ConnectReturnCode::Success } else { ConnectReturnCode::NotAuthorized };
                    self.send(&mut stream, &Packet::ConnAck(ConnAck::new(code, false))).await?;
                }
                // A broker closes what does not begin with a hello.
                _ if !is_known => return None,
                Packet::Subscribe(subscribe) => {
                    let is_refused = self.device == Device::Plain && self.board.spoiled() == Spoil::Refuse;
                    let code = if is_refused {
                        SubscribeReasonCode::Failure
                    } else {
                        SubscribeReasonCode::Success(QoS::AtMostOnce)
                    };
                    let codes = vec![code; subscribe.filters.len()];
                    way.send(Packet::SubAck(SubAck::new(subscribe.pkid, codes))).ok()?;
                    let mut state = self.locked();
                    for filter in subscribe.filters {
                        if let Some(kept) = state.retained.get(&filter.path) {
                            let mut publish = Publish::new(filter.path.clone(), QoS::AtMostOnce, kept.clone());
                            publish.retain = true;
                            way.send(Packet::Publish(publish)).ok()?;
                        }
                        state.clients.get_mut(&client)?.0.insert(filter.path);
                    }
                }
                Packet::Publish(publish) => {
                    let payload = String::from_utf8_lossy(&publish.payload).into_owned();
                    self.locked().published.push((publish.topic.clone(), payload.clone()));
                    if publish.retain {
                        self.keep(&publish.topic, &publish.payload);
                    }
                    self.carry_out(&publish.topic, &payload);
                }
                Packet::PingReq => self.send(&mut stream, &Packet::PingResp).await?,
                Packet::Disconnect => return None,
                _ => {}
            }
        }
    }

    async fn send(&self, stream: &mut TcpStream, packet: &Packet) -> Option<()> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, MESSAGE_BYTES_MAX).ok()?;
        if matches!(packet, Packet::Publish(publish) if !publish.retain) && self.board.spoiled() == Spoil::Half {
            stream.write_all(bytes.get(..bytes.len() / 2)?).await.ok()?;
            return None;
        }
        stream.write_all(&bytes).await.ok()
    }

    /// What the device does with a message, and what it says then.
    fn carry_out(&self, topic: &str, payload: &str) {
        let said = match self.device {
            Device::Tasmota => self.tasmota(topic, payload),
            Device::Zigbee => self.zigbee(topic, payload),
            Device::Plain => self.plain(topic, payload),
        };
        let Some((topic, payload)) = said else { return };
        match self.board.spoiled() {
            Spoil::Silence => {}
            Spoil::Garbage => self.tell(&topic, b"\xff\xfe{\"POWER1\""),
            _ => {
                if self.device == Device::Plain {
                    self.keep(&topic, payload.as_bytes());
                }
                self.tell(&topic, payload.as_bytes());
            }
        }
    }

    fn tasmota(&self, topic: &str, payload: &str) -> Option<(String, String)> {
        let command = topic.strip_prefix(&format!("cmnd/{NAME}/"))?;
        let result = |value: Value| Some((format!("stat/{NAME}/RESULT"), value.to_string()));
        let digits = command.find(|character: char| character.is_ascii_digit()).unwrap_or(command.len());
        let (word, number) = command.split_at_checked(digits)?;
        let channel = number.parse::<u8>().unwrap_or(1).checked_sub(1)?;
        if self.board.spoiled() == Spoil::Refuse || self.board.is_on(channel.into()).is_none() {
            return result(json!({"Command": "Error"}));
        }
        let time = |tenths: u32| match tenths {
            0 => None,
            1..=111 => Some(Duration::from_millis(100) * tenths),
            _ => Some(Duration::from_secs(u64::from(tenths) - 100)),
        };
        match (word.to_ascii_uppercase().as_str(), payload) {
            ("PULSETIME", payload) => {
                let Ok(tenths) = payload.parse::<u32>() else { return result(json!({"Command": "Error"})) };
                self.locked().pulse_times.insert(channel, tenths);
                self.board.change(channel.into(), |switch, now| switch.off_at = time(tenths).map(|time| now + time))?;
                result(json!({format!("PulseTime{}", channel + 1): {"Set": tenths, "Remaining": tenths}}))
            }
            ("POWER", "") => {
                result(json!({format!("POWER{}", channel + 1): word_of(self.board.is_on(channel.into())?)}))
            }
            ("POWER", "ON" | "OFF") => {
                let tenths = self.locked().pulse_times.get(&channel).copied().unwrap_or(0);
                let is_on = payload == "ON";
                self.board.command(channel.into(), is_on, time(tenths).filter(|_| is_on))?;
                result(json!({format!("POWER{}", channel + 1): payload}))
            }
            _ => result(json!({"Command": "Unknown"})),
        }
    }

    fn zigbee(&self, topic: &str, payload: &str) -> Option<(String, String)> {
        let action = topic.strip_prefix("zigbee2mqtt/")?.strip_prefix(NAME)?;
        let log = |message: String| {
            Some(("zigbee2mqtt/bridge/logging".into(), json!({"level": "error", "message": message}).to_string()))
        };
        if self.board.spoiled() == Spoil::Refuse {
            return log(format!("z2m: Entity '{NAME}' is unknown"));
        }
        let command: Value = serde_json::from_str(payload).ok()?;
        let (property, state) = command
            .as_object()?
            .iter()
            .find_map(|(key, value)| Some((key.strip_prefix("state_l")?, value.as_str()?)))?;
        let channel = property.parse::<u8>().ok()?.checked_sub(1)?;
        self.board.is_on(channel.into())?;
        match (action, state) {
            ("/get", _) => {}
            ("/set", "OFF") => self.board.command(channel.into(), false, None).map(drop)?,
            ("/set", "ON") => {
                let seconds = command.get("on_time").and_then(Value::as_f64);
                self.board.change(channel.into(), |switch, now| {
                    switch.on = true;
                    let time = seconds.map(|seconds| now + Duration::from_secs_f64(seconds));
                    // The higher of the two times counts; without one the old goes on.
                    switch.off_at = switch.off_at.max(time);
                })?;
                self.board.count_move();
            }
            _ => return log(format!("z2m: No converter available for '{NAME}'")),
        }
        let state = word_of(self.board.is_on(channel.into())?);
        let all = json!({format!("state_l{}", channel + 1): state, "linkquality": 120});
        Some((format!("zigbee2mqtt/{NAME}"), all.to_string()))
    }

    fn plain(&self, topic: &str, payload: &str) -> Option<(String, String)> {
        let (number, action) = topic.strip_prefix(NAME)?.strip_prefix('/')?.split_once('/')?;
        let channel: u8 = number.parse().ok()?;
        match (action, payload) {
            ("get", _) => {}
            ("set", "ON" | "OFF") => self.board.command(channel.into(), payload == "ON", None).map(drop)?,
            _ => return None,
        }
        Some((format!("{NAME}/{channel}/state"), word_of(self.board.is_on(channel.into())?).into()))
    }
}

fn word_of(is_on: bool) -> &'static str {
    if is_on { "ON" } else { "OFF" }
}
