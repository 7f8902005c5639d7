//! MQTT: the states of doors and their alarms for the owner's broker, found by Home Assistant. Unit `mqtt`.
//!
//! ```text
//! PREFIX/available            online | offline            retained; the broker says offline when this program is gone
//! PREFIX/door/DOOR/state      locked | unlocked | ...      retained
//! PREFIX/door/DOOR/alarm      {"event_type": "forced", "alarm": "forced", "person": ..., "at": ...}
//! DISCOVERY/sensor|event/...  what Home Assistant makes entities of (home-assistant.io/integrations/mqtt), retained
//! ```
//! After every connection all of it is said anew, and again when Home Assistant says that it was born. Alarms that are raised
//! while the broker is away wait for it, with their time.
//!
//! **Never:** a topic that is listened to for commands: no message opens a door. A silent alarm: a panel beside the door may
//! show what the broker says. TLS (keep the broker on the doors' own network).

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Fault, Kind, ParamError, ParamKind, ParamSpec, Params, Policy, PortSpec, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::Level;
use godvision_core::signal::door::{DoorAlarm, DoorEvent, DoorState};
use godvision_core::{Name, Secret};
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::web::system::System;

/// What waits for the broker; more alarms than that are counted and not said.
pub const WAITING_MAX: usize = 512;
const DOORS_SAY_MAX: usize = 256;
const PORT: u16 = 1883;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const AGAIN_FROM: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);
const ALARMS: [&str; 7] = ["forced", "held", "guessing", "passed_back", "tampered", "emergency", "over"];

/// The doors that are told of; said once.
#[derive(Clone, Default)]
pub struct MqttDoors(Arc<OnceLock<Weak<dyn System>>>);

impl MqttDoors {
    /// The doors of `system`.
    pub fn attach(&self, system: Weak<dyn System>) {
        // A second site in one program would be a mistake of the wiring.
        let _ = self.0.set(system);
    }
}

impl fmt::Debug for MqttDoors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the doors of a site")
    }
}

/// Makes the component `mqtt`.
pub struct MqttUnit {
    spec: UnitSpec,
    doors: MqttDoors,
}

impl MqttUnit {
    /// Publishers of `doors`.
    pub fn new(doors: MqttDoors) -> Self {
        let lossless = Policy::Lossless { capacity: DOORS_SAY_MAX };
        let spec = UnitSpec {
            name: "mqtt",
            about: "publishes states and alarms of doors at an MQTT broker, with discovery for Home Assistant",
            kind: Kind::Sink,
            inputs: vec![
                PortSpec::input::<DoorAlarm>("alarms", lossless),
                PortSpec::input::<DoorEvent>("events", lossless),
            ],
            outputs: vec![],
            params: vec![
                ParamSpec::required("broker", ParamKind::Text, "host or host:port"),
                ParamSpec::optional("user", ParamKind::Text, "the user name, if the broker wants one"),
                ParamSpec::optional("password", ParamKind::Secret, "its password"),
                ParamSpec::with_default("prefix", ParamKind::Text, "godvision", "what every topic begins with"),
                ParamSpec::with_default(
                    "discovery",
                    ParamKind::Text,
                    "homeassistant",
                    "Home Assistant's discovery prefix; empty for none",
                ),
            ],
        };
        Self { spec, doors }
    }
}

/// A topic's part: what subscribers could take for a pattern is none.
fn topic(params: &Params, key: &str, usual: &str) -> Result<String, ParamError> {
    let text = params.text(key).unwrap_or(usual).trim_end_matches('/');
    let is_right = text.len() <= 100 && !text.starts_with('$') && !text.contains(['#', '+', '\0', ' ']);
    if is_right { Ok(text.to_owned()) } else { Err(params.error(key, "a topic has no blanks, no + and no #")) }
}

impl Unit for MqttUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, name: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let broker = params.text("broker").unwrap_or_default().trim();
        let (host, port) = match broker.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| params.error("broker", "the port is no number"))?),
            None => (broker, PORT),
        };
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(params.error("broker", "write host or host:port"));
        }
        let prefix = topic(params, "prefix", "godvision")?;
        if prefix.is_empty() {
            return Err(params.error("prefix", "topics must begin with something"));
        }
        Ok(Box::new(Publishing {
            name: name.clone(),
            host: host.to_owned(),
            port,
            login: params
                .text("user")
                .map(|user| (user.to_owned(), params.secret("password").cloned().unwrap_or_else(|| Secret::from("")))),
            topics: Topics { prefix, discovery: topic(params, "discovery", "homeassistant")? },
            doors: self.doors.clone(),
        }))
    }
}

struct Publishing {
    name: Name,
    host: String,
    port: u16,
    login: Option<(String, Secret)>,
    topics: Topics,
    doors: MqttDoors,
}

/// What happens at the broker's side.
enum Heard {
    /// There is a connection: nothing of before is known to be there.
    Connected,
    /// Home Assistant has started.
    Born,
    /// There is none any more; why.
    Lost(String),
}

impl Component for Publishing {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let (mut alarms, mut events) = (cx.input::<DoorAlarm>("alarms")?, cx.input::<DoorEvent>("events")?);
            let mut options =
                MqttOptions::new(format!("godvision-{}", digest(self.name.as_str())), &self.host, self.port);
            options.set_keep_alive(KEEP_ALIVE).set_clean_session(true);
            options.set_last_will(LastWill::new(self.topics.available(), "offline", QoS::AtLeastOnce, true));
            if let Some((user, password)) = &self.login {
                options.set_credentials(user, password.expose());
            }
            let (client, broker) = AsyncClient::new(options, WAITING_MAX);
            let (tell, mut heard) = mpsc::channel(16);
            let mut driving = tokio::task::JoinSet::new();
            driving.spawn(drive(broker, tell, self.topics.birth()));
            let (mut stopping, mut is_lost, mut lost) = (cx.stopping(), false, 0u64);
            loop {
                let message = tokio::select! {
                    biased;
                    () = stopping.wait() => break,
                    Some(heard) = heard.recv() => {
                        match heard {
                            Heard::Lost(why) if !std::mem::replace(&mut is_lost, true) => {
                                cx.log(Level::Error, "mqtt.lost", format!("the MQTT broker: {why}")).await;
                            }
                            Heard::Lost(_) => {}
                            Heard::Connected => {
                                if std::mem::take(&mut is_lost) {
                                    cx.log(Level::Info, "mqtt.back", "the MQTT broker is back").await;
                                }
                                if let Some(birth) = self.topics.birth() {
                                    let _ = client.try_subscribe(birth, QoS::AtLeastOnce);
                                }
                                self.all(&client);
                            }
                            Heard::Born => self.all(&client),
                        }
                        continue;
                    }
                    Some(event) = events.recv() => self.topics.state(&event.door, event.state),
                    Some(alarm) = alarms.recv() => match self.topics.alarm(&alarm) {
                        Some(message) => message,
                        None => continue,
                    },
                    else => { stopping.wait().await; break; }
                };
                if !say(&client, message) {
                    lost += 1;
                    cx.show_count("not_said", lost);
                }
            }
            let _ = say(&client, (self.topics.available(), "offline".to_owned(), true));
            let _ = client.try_disconnect();
            // What was said last goes out, if the broker takes it.
            let _ = tokio::time::timeout(Duration::from_secs(1), driving.join_next()).await;
            Ok(())
        })
    }
}

impl Publishing {
    /// Everything that the broker keeps.
    fn all(&self, client: &AsyncClient) {
        let mut messages = vec![(self.topics.available(), "online".to_owned(), true)];
        if let Some(system) = self.doors.0.get().and_then(Weak::upgrade) {
            for door in system.doors() {
                messages.extend(self.topics.found(&door.id, &door.title));
                messages.push(self.topics.state(&door.id, door.state));
            }
        }
        if !messages.into_iter().all(|message| say(client, message)) {
            tracing::warn!("the MQTT broker takes too little: it does not know every door");
        }
    }
}

/// Topic, payload, and whether the broker keeps it.
type Message = (String, String, bool);

fn say(client: &AsyncClient, (topic, payload, is_kept): Message) -> bool {
    client.try_publish(topic, QoS::AtLeastOnce, is_kept, payload).is_ok()
}

/// Drives the connection, and makes it anew.
async fn drive(mut broker: EventLoop, tell: mpsc::Sender<Heard>, birth: Option<String>) {
    let mut again = AGAIN_FROM;
    loop {
        let heard = match broker.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                again = AGAIN_FROM;
                Heard::Connected
            }
            Ok(Event::Incoming(Packet::Publish(said))) if Some(&said.topic) == birth.as_ref() => {
                if said.payload != "online".as_bytes() {
                    continue;
                }
                Heard::Born
            }
            Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) | Err(ConnectionError::RequestsDone) => return,
            Ok(_) => continue,
            Err(error) => {
                let lost = tell.send(Heard::Lost(error.to_string())).await;
                tokio::time::sleep(again).await;
                again = (again * 2).min(AGAIN_MAX);
                match lost {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            }
        };
        if tell.send(heard).await.is_err() {
            return;
        }
    }
}

fn digest(text: &str) -> String {
    crate::store::hex(&Sha256::digest(text)[..6])
}

/// What stands where: a value.
#[derive(Clone, Debug)]
struct Topics {
    prefix: String,
    discovery: String,
}

impl Topics {
    fn available(&self) -> String {
        format!("{}/available", self.prefix)
    }

    /// Where Home Assistant says that it has started.
    fn birth(&self) -> Option<String> {
        (!self.discovery.is_empty()).then(|| format!("{}/status", self.discovery))
    }

    fn state(&self, door: &Name, state: DoorState) -> Message {
        (format!("{}/door/{door}/state", self.prefix), state.code().to_owned(), true)
    }

    /// Nothing of a silent alarm.
    fn alarm(&self, alarm: &DoorAlarm) -> Option<Message> {
        let kind = alarm.kind.code();
        let (event, person) = (if alarm.raised { kind } else { "over" }, alarm.person.as_ref().map(Name::as_str));
        let said = json!({"event_type": event, "alarm": kind, "person": person, "at": alarm.at.wall.to_string()});
        let message = (format!("{}/door/{}/alarm", self.prefix, alarm.door), said.to_string(), false);
        (!alarm.kind.is_silent()).then_some(message)
    }

    /// What makes Home Assistant find a door.
    fn found(&self, door: &Name, title: &str) -> Vec<Message> {
        if self.discovery.is_empty() {
            return Vec::new();
        }
        // A door's name has more letters than an identifier there, and two must not become one.
        let id = format!("godvision_{}", digest(&format!("{}/{door}", self.prefix)));
        let entity = |kind: &str, what: &str, name: &str, more: Value| {
            let mut entity = json!({
                "name": name,
                "unique_id": format!("{id}_{what}"),
                "state_topic": format!("{}/door/{door}/{what}", self.prefix),
                "availability_topic": self.available(),
                "device": {"identifiers": [&id], "name": title, "manufacturer": "godvision", "model": "door"},
            });
            if let (Some(entity), Value::Object(more)) = (entity.as_object_mut(), more) {
                entity.extend(more);
            }
            (format!("{}/{kind}/{id}/{what}/config", self.discovery), entity.to_string(), true)
        };
        let states = ["unknown", "locked", "unlocking", "unlocked", "free", "locked_down", "fault"];
        vec![
            entity("sensor", "state", "State", json!({"device_class": "enum", "options": states, "icon": "mdi:door"})),
            entity("event", "alarm", "Alarm", json!({"event_types": ALARMS, "icon": "mdi:alarm-light"})),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::signal::door::AlarmKind;
    use godvision_core::{MonoTime, Stamp, WallTime};

    fn topics() -> Topics {
        Topics { prefix: "home".into(), discovery: "homeassistant".into() }
    }

    #[test]
    fn a_silent_alarm_is_not_said_and_the_others_are_of_a_known_kind() {
        let at = Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(0));
        for (kind, raised) in [
            (AlarmKind::Forced, true),
            (AlarmKind::Held, false),
            (AlarmKind::Guessing, true),
            (AlarmKind::PassedBack, true),
            (AlarmKind::Tampered, true),
            (AlarmKind::Emergency, true),
        ] {
            let alarm = DoorAlarm { door: "yard/gate".parse().unwrap(), kind, raised, person: None, at };
            let (topic, said, is_kept) = topics().alarm(&alarm).unwrap();
            assert_eq!((&*topic, is_kept), ("home/door/yard/gate/alarm", false));
            let said: Value = serde_json::from_str(&said).unwrap();
            assert!(ALARMS.contains(&said["event_type"].as_str().unwrap()), "{said}");
        }
        let duress =
            DoorAlarm { door: "gate".parse().unwrap(), kind: AlarmKind::Duress, raised: true, person: None, at };
        assert_eq!(topics().alarm(&duress), None);
    }

    #[test]
    fn doors_are_found_with_a_name_of_their_own_and_nothing_to_command() {
        let found = |door: &str| topics().found(&door.parse().unwrap(), "Gate");
        let (one, other) = (found("yard/gate"), found("yard.gate"));
        assert!(one.iter().zip(&other).all(|(one, other)| one.0 != other.0 && one.1 != other.1));
        for (topic, said, is_kept) in one {
            let said: Value = serde_json::from_str(&said).unwrap();
            assert!(topic.starts_with("homeassistant/") && topic.ends_with("/config") && is_kept);
            assert!(said.as_object().unwrap().keys().all(|key| !key.contains("command")), "{said}");
            assert_eq!(said["availability_topic"], "home/available");
        }
        assert!(Topics { discovery: String::new(), ..topics() }.found(&"gate".parse().unwrap(), "Gate").is_empty());
    }
}
