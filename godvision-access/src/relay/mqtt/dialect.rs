//! What devices say over MQTT: topics and payloads as values, without a connection.
//!
//! Sources: Tasmota's *Commands* and *MQTT* pages (`cmnd/` and `stat/` topics, `Power<x>`, `PulseTime<x>`); Zigbee2MQTT's
//! *MQTT Topics and Messages* (`/set`, `/get`, `on_time`) with the On/Off cluster of the *Zigbee Cluster Library* (On With
//! Timed Off counts tenths of a second in 16 bits); Home Assistant's *MQTT Switch* for the plain pair of command and
//! state topics.
//!
//! **Never:** a retained message taken for an answer: it is the broker's memory, and what was lost on the way there never
//! reached it.

use std::time::Duration;

use godvision_core::driver::relay::{Contact, PulseTiming};
use serde_json::{Value, json};

const TENTH: Duration = Duration::from_millis(100);
/// `PulseTime` counts tenths up to here; above it counts seconds and would break the promised step.
const TASMOTA_TENTHS_MAX: u32 = 111;
/// On With Timed Off takes 16 bits; the highest value is reserved.
const ZIGBEE_TENTHS_MAX: u32 = 0xFFFE;

/// How a device is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Tasmota with its default full topic `%prefix%/%topic%/`.
    Tasmota {
        /// The device's topic.
        topic: String,
    },
    /// A device behind Zigbee2MQTT.
    Zigbee2Mqtt {
        /// The bridge's base topic: `zigbee2mqtt`.
        base: String,
        /// The device's friendly name.
        name: String,
        /// The property of each channel: `state`, or `state_l1`, `state_l2`, ...
        properties: Vec<String>,
    },
    /// A topic for commands and one for the state, as Home Assistant's MQTT switch.
    Plain(Box<PlainTopics>),
}

/// The topics and payloads of a plain device. `{n}` in a topic stands for the channel from 0, `{n1}` from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainTopics {
    /// Where commands go.
    pub command: String,
    /// Where the device tells its state.
    pub state: String,
    /// Where the device is asked for its state.
    pub get: String,
    /// What is sent there.
    pub get_payload: String,
    /// Where the device says that it is there, retained: with it, a state counts only while this is
    /// [`available_payload`](Self::available_payload).
    pub available: Option<String>,
    /// What it says there.
    pub available_payload: String,
    /// On, in commands and states.
    pub on: String,
    /// Off, in commands and states.
    pub off: String,
    /// The state is JSON, and this field of it counts.
    pub field: Option<String>,
}

impl PlainTopics {
    /// `ON` and `OFF` on topics for commands, states and questions.
    pub fn new(command: impl Into<String>, state: impl Into<String>, get: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            state: state.into(),
            get: get.into(),
            get_payload: String::new(),
            available: None,
            available_payload: "online".into(),
            on: "ON".into(),
            off: "OFF".into(),
            field: None,
        }
    }
}

/// A message of MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Whether the broker kept it from earlier.
    pub is_retained: bool,
}

/// What is to be sent, and what has to come back before the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Topic and payload; `None`: only listen.
    pub publish: Option<(String, String)>,
    /// What confirms it.
    pub expect: Expect,
}

/// What confirms a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expect {
    /// Any state of the contact.
    AnyContact,
    /// This state of the contact.
    Contact(Contact),
    /// The device keeps this pulse time.
    PulseTime(u32),
    /// The device says that it is there.
    Available,
}

/// What a message means while something is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing: wait on.
    Nothing,
    /// What was expected; with the contact, if it was about one.
    Confirmed(Option<Contact>),
    /// The device says no.
    Refused(String),
    /// The device could not be reached by its bridge, or is away.
    Away(String),
    /// What no such device says.
    Nonsense(&'static str),
}

impl Dialect {
    /// The driver's name.
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Tasmota { .. } => "tasmota-mqtt",
            Self::Zigbee2Mqtt { .. } => "zigbee2mqtt",
            Self::Plain(_) => "mqtt",
        }
    }

    /// Who ends a pulse.
    pub fn pulse(&self) -> PulseTiming {
        let timed = |tenths: u32| PulseTiming::Device { min: TENTH, max: TENTH * tenths, step: TENTH };
        match self {
            Self::Tasmota { .. } => timed(TASMOTA_TENTHS_MAX),
            Self::Zigbee2Mqtt { .. } => timed(ZIGBEE_TENTHS_MAX),
            Self::Plain(_) => PulseTiming::Host,
        }
    }

    /// What to listen to before a step that awaits `expect`.
    pub fn topics(&self, channel: u8, expect: Expect) -> Vec<String> {
        match self {
            Self::Tasmota { topic } => vec![format!("stat/{topic}/RESULT")],
            Self::Zigbee2Mqtt { base, name, .. } => vec![format!("{base}/{name}"), format!("{base}/bridge/logging")],
            // Whether the device is there is asked first, of the broker: that is kept.
            Self::Plain(plain) => match (expect, &plain.available) {
                (Expect::Available, Some(available)) => vec![numbered(available, channel)],
                _ => vec![numbered(&plain.state, channel)],
            },
        }
    }

    /// How to begin a pulse; `duration` is a multiple of the step.
    pub fn pulse_steps(&self, channel: u8, duration: Duration) -> Vec<Step> {
        let tenths = u32::try_from(duration.as_millis() / TENTH.as_millis()).unwrap_or(u32::MAX);
        match self {
            // The timer is confirmed before the contact moves: a link lost between the two leaves nothing on.
            Self::Tasmota { .. } => vec![self.pulse_time(channel, tenths), self.power(channel, Contact::On)],
            Self::Zigbee2Mqtt { base, name, .. } => {
                let seconds = f64::from(tenths) / 10.0;
                let payload = json!({self.property(channel): "ON", "on_time": seconds}).to_string();
                vec![Step {
                    publish: Some((format!("{base}/{name}/set"), payload)),
                    expect: Expect::Contact(Contact::On),
                }]
            }
            Self::Plain(_) => self.set_steps(channel, Contact::On),
        }
    }

    /// How to switch.
    pub fn set_steps(&self, channel: u8, contact: Contact) -> Vec<Step> {
        match self {
            // A pulse time that was kept would end this as well.
            Self::Tasmota { .. } if contact == Contact::On => {
                vec![self.pulse_time(channel, 0), self.power(channel, contact)]
            }
            Self::Tasmota { .. } => vec![self.power(channel, contact)],
            // By the cluster's rules On does not cancel a running time, and Off does.
            Self::Zigbee2Mqtt { .. } if contact == Contact::On => {
                vec![self.zigbee_set(channel, Contact::Off), self.zigbee_set(channel, contact)]
            }
            Self::Zigbee2Mqtt { .. } => vec![self.zigbee_set(channel, contact)],
            Self::Plain(plain) => {
                let payload = if contact == Contact::On { &plain.on } else { &plain.off };
                let mut steps = self.available_steps();
                steps.push(Step {
                    publish: Some((numbered(&plain.command, channel), payload.clone())),
                    expect: Expect::Contact(contact),
                });
                steps
            }
        }
    }

    /// How to ask for the contact.
    pub fn status_steps(&self, channel: u8) -> Vec<Step> {
        let publish = match self {
            Self::Tasmota { topic } => Some((format!("cmnd/{topic}/Power{}", u16::from(channel) + 1), String::new())),
            Self::Zigbee2Mqtt { base, name, .. } => {
                Some((format!("{base}/{name}/get"), json!({self.property(channel): ""}).to_string()))
            }
            Self::Plain(plain) => Some((numbered(&plain.get, channel), plain.get_payload.clone())),
        };
        let mut steps = self.available_steps();
        steps.push(Step { publish, expect: Expect::AnyContact });
        steps
    }

    fn available_steps(&self) -> Vec<Step> {
        match self {
            Self::Plain(plain) if plain.available.is_some() => vec![Step { publish: None, expect: Expect::Available }],
            _ => Vec::new(),
        }
    }

    fn pulse_time(&self, channel: u8, tenths: u32) -> Step {
        let Self::Tasmota { topic } = self else { return Step { publish: None, expect: Expect::PulseTime(tenths) } };
        let publish = (format!("cmnd/{topic}/PulseTime{}", u16::from(channel) + 1), tenths.to_string());
        Step { publish: Some(publish), expect: Expect::PulseTime(tenths) }
    }

    fn power(&self, channel: u8, contact: Contact) -> Step {
        let Self::Tasmota { topic } = self else { return Step { publish: None, expect: Expect::Contact(contact) } };
        let publish = (format!("cmnd/{topic}/Power{}", u16::from(channel) + 1), word(contact).to_owned());
        Step { publish: Some(publish), expect: Expect::Contact(contact) }
    }

    fn zigbee_set(&self, channel: u8, contact: Contact) -> Step {
        let Self::Zigbee2Mqtt { base, name, .. } = self else {
            return Step { publish: None, expect: Expect::Contact(contact) };
        };
        let payload = json!({self.property(channel): word(contact)}).to_string();
        Step { publish: Some((format!("{base}/{name}/set"), payload)), expect: Expect::Contact(contact) }
    }

    fn property(&self, channel: u8) -> &str {
        match self {
            Self::Zigbee2Mqtt { properties, .. } => {
                properties.get(usize::from(channel)).map_or("state", String::as_str)
            }
            _ => "state",
        }
    }

    /// What `message` means for `channel` while `expect` is awaited.
    pub fn heard(&self, channel: u8, expect: Expect, message: &Message) -> Heard {
        match self {
            Self::Tasmota { topic } => {
                if message.topic != format!("stat/{topic}/RESULT") || message.is_retained {
                    return Heard::Nothing;
                }
                tasmota_heard(channel, expect, &message.payload)
            }
            Self::Zigbee2Mqtt { base, name, .. } => {
                if message.is_retained {
                    return Heard::Nothing;
                }
                if message.topic == format!("{base}/bridge/logging") {
                    return bridge_heard(name, &message.payload);
                }
                if message.topic != format!("{base}/{name}") {
                    return Heard::Nothing;
                }
                let Ok(Value::Object(state)) = serde_json::from_slice(&message.payload) else {
                    return Heard::Nonsense("the state is no JSON object");
                };
                match state.get(self.property(channel)) {
                    None => Heard::Nothing,
                    Some(state) => contact_heard(expect, state.as_str().and_then(contact_of)),
                }
            }
            Self::Plain(plain) => plain_heard(plain, channel, expect, message),
        }
    }
}

fn tasmota_heard(channel: u8, expect: Expect, payload: &[u8]) -> Heard {
    let Ok(Value::Object(result)) = serde_json::from_slice(payload) else {
        return Heard::Nonsense("the result is no JSON object");
    };
    if let Some(word) = result.get("Command").and_then(Value::as_str) {
        return Heard::Refused(format!("command: {word}"));
    }
    let number = u16::from(channel) + 1;
    match expect {
        Expect::PulseTime(tenths) => match result.get(&format!("PulseTime{number}")) {
            None => Heard::Nothing,
            Some(kept) => match kept.get("Set").and_then(Value::as_u64) {
                Some(set) if set == u64::from(tenths) => Heard::Confirmed(None),
                Some(_) => Heard::Nothing,
                None => Heard::Nonsense("the pulse time is no number"),
            },
        },
        _ => {
            // A device with one relay leaves its number out.
            let power = result.get(&format!("POWER{number}")).or(result.get("POWER").filter(|_| channel == 0));
            power.map_or(Heard::Nothing, |power| contact_heard(expect, power.as_str().and_then(contact_of)))
        }
    }
}

fn bridge_heard(name: &str, payload: &[u8]) -> Heard {
    let Ok(entry) = serde_json::from_slice::<Value>(payload) else { return Heard::Nothing };
    let text = entry.get("message").and_then(Value::as_str).unwrap_or_default();
    if entry.get("level").and_then(Value::as_str) != Some("error") || !text.contains(&format!("'{name}'")) {
        return Heard::Nothing;
    }
    if text.contains("is unknown") || text.contains("No converter available") {
        Heard::Refused(text.to_owned())
    } else {
        Heard::Away(text.to_owned())
    }
}

fn plain_heard(plain: &PlainTopics, channel: u8, expect: Expect, message: &Message) -> Heard {
    let is_about = |topic: &str| message.topic == numbered(topic, channel);
    if plain.available.as_deref().is_some_and(is_about) {
        return if message.payload != plain.available_payload.as_bytes() {
            Heard::Away("it says that it is not there".into())
        } else if expect == Expect::Available {
            Heard::Confirmed(None)
        } else {
            Heard::Nothing
        };
    }
    if !is_about(&plain.state) || message.is_retained || expect == Expect::Available {
        return Heard::Nothing;
    }
    let Ok(text) = std::str::from_utf8(&message.payload) else { return Heard::Nonsense("the state is no text") };
    let state = match &plain.field {
        None => text.trim().to_owned(),
        Some(field) => match serde_json::from_str::<Value>(text).ok().as_ref().and_then(|state| state.get(field)) {
            Some(Value::String(state)) => state.clone(),
            Some(state) => state.to_string(),
            None => return Heard::Nonsense("the field of the state is missing"),
        },
    };
    let contact = if state == plain.on {
        Some(Contact::On)
    } else if state == plain.off {
        Some(Contact::Off)
    } else {
        None
    };
    contact_heard(expect, contact)
}

fn contact_heard(expect: Expect, contact: Option<Contact>) -> Heard {
    match (expect, contact) {
        (_, None) => Heard::Nonsense("the state is neither on nor off"),
        (Expect::AnyContact, Some(contact)) => Heard::Confirmed(Some(contact)),
        // Another state may be the one before; what does not come in time is a timeout.
        (Expect::Contact(expected), Some(contact)) if contact == expected => Heard::Confirmed(Some(contact)),
        _ => Heard::Nothing,
    }
}

fn contact_of(word: &str) -> Option<Contact> {
    match word {
        "ON" => Some(Contact::On),
        "OFF" => Some(Contact::Off),
        _ => None,
    }
}

fn word(contact: Contact) -> &'static str {
    if contact == Contact::On { "ON" } else { "OFF" }
}

fn numbered(topic: &str, channel: u8) -> String {
    topic.replace("{n}", &channel.to_string()).replace("{n1}", &(u16::from(channel) + 1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(topic: &str, payload: &str) -> Message {
        Message { topic: topic.into(), payload: payload.into(), is_retained: false }
    }

    fn tasmota() -> Dialect {
        Dialect::Tasmota { topic: "gate".into() }
    }

    fn zigbee() -> Dialect {
        let properties = vec!["state_l1".into(), "state_l2".into()];
        Dialect::Zigbee2Mqtt { base: "zigbee2mqtt".into(), name: "yard/gate".into(), properties }
    }

    #[test]
    fn tasmota_keeps_the_time_before_it_switches() {
        let steps = tasmota().pulse_steps(1, Duration::from_millis(3000));
        let sent: Vec<_> = steps.iter().filter_map(|step| step.publish.clone()).collect();
        assert_eq!(
            sent,
            [("cmnd/gate/PulseTime2".to_owned(), "30".to_owned()), ("cmnd/gate/Power2".to_owned(), "ON".to_owned())]
        );
        let heard = |expect, payload: &str| tasmota().heard(1, expect, &said("stat/gate/RESULT", payload));
        let kept = r#"{"PulseTime2":{"Set":30,"Remaining":30}}"#;
        assert_eq!(heard(Expect::PulseTime(30), kept), Heard::Confirmed(None));
        assert_eq!(heard(Expect::PulseTime(31), kept), Heard::Nothing);
        assert_eq!(heard(Expect::AnyContact, kept), Heard::Nothing);
        assert_eq!(heard(Expect::AnyContact, r#"{"POWER2":"ON"}"#), Heard::Confirmed(Some(Contact::On)));
        assert_eq!(heard(Expect::AnyContact, r#"{"POWER":"ON"}"#), Heard::Nothing, "the first relay's");
        assert_eq!(
            heard(Expect::AnyContact, r#"{"POWER2":"maybe"}"#),
            Heard::Nonsense("the state is neither on nor off")
        );
        assert!(matches!(heard(Expect::AnyContact, r#"{"Command":"Unknown"}"#), Heard::Refused(_)));
        assert!(matches!(heard(Expect::AnyContact, "ON"), Heard::Nonsense(_)));
    }

    #[test]
    fn zigbee_pulses_are_one_message_in_seconds() {
        let steps = zigbee().pulse_steps(0, Duration::from_millis(1500));
        let (topic, payload) = steps[0].publish.clone().unwrap();
        assert_eq!((topic.as_str(), steps.len()), ("zigbee2mqtt/yard/gate/set", 1));
        // In whatever order: that depends on what else the program is made of.
        let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(payload, json!({"on_time": 1.5, "state_l1": "ON"}));
        let heard = |topic: &str, payload: &str| zigbee().heard(1, Expect::AnyContact, &said(topic, payload));
        assert_eq!(heard("zigbee2mqtt/yard/gate", r#"{"state_l1":"ON"}"#), Heard::Nothing);
        assert_eq!(heard("zigbee2mqtt/yard/gate", r#"{"state_l2":"ON"}"#), Heard::Confirmed(Some(Contact::On)));
        let log =
            |text: &str| heard("zigbee2mqtt/bridge/logging", &json!({"level": "error", "message": text}).to_string());
        assert!(matches!(log("z2m: Entity 'yard/gate' is unknown"), Heard::Refused(_)));
        assert!(matches!(log("z2m: Publish 'get' 'state' to 'yard/gate' failed: 'Error: timeout'"), Heard::Away(_)));
        assert_eq!(log("z2m: Entity 'yard/lamp' is unknown"), Heard::Nothing);
    }

    #[test]
    fn what_the_broker_kept_is_no_answer_to_a_question() {
        let mut plain = PlainTopics::new("gate/{n1}/set", "gate/{n1}/state", "gate/{n1}/get");
        let kept = Message { is_retained: true, ..said("gate/3/state", "ON") };
        let asked = Dialect::Plain(Box::new(plain.clone()));
        assert_eq!(asked.heard(2, Expect::AnyContact, &kept), Heard::Nothing);
        assert_eq!(asked.heard(2, Expect::Contact(Contact::On), &kept), Heard::Nothing, "nor a confirmation");
        assert_eq!(
            asked.heard(2, Expect::AnyContact, &said("gate/3/state", "ON")),
            Heard::Confirmed(Some(Contact::On))
        );
        plain.available = Some("gate/here".into());
        let watched = Dialect::Plain(Box::new(plain));
        assert_eq!(watched.status_steps(2)[0], Step { publish: None, expect: Expect::Available });
        assert_eq!(watched.heard(2, Expect::Available, &said("gate/here", "online")), Heard::Confirmed(None));
        assert!(matches!(watched.heard(2, Expect::AnyContact, &said("gate/here", "offline")), Heard::Away(_)));
    }

    #[test]
    fn a_state_may_be_a_field_of_json() {
        let plain = PlainTopics {
            field: Some("relay".into()),
            on: "true".into(),
            off: "false".into(),
            ..PlainTopics::new("c", "s", "g")
        };
        let dialect = Dialect::Plain(Box::new(plain));
        let heard = |payload| dialect.heard(0, Expect::AnyContact, &said("s", payload));
        assert_eq!(heard(r#"{"relay":true}"#), Heard::Confirmed(Some(Contact::On)));
        assert_eq!(heard(r#"{"relay":"false"}"#), Heard::Confirmed(Some(Contact::Off)));
        assert_eq!(heard(r#"{"other":true}"#), Heard::Nonsense("the field of the state is missing"));
    }

    proptest! {
        #[test]
        fn any_payload_is_read_without_panic(payload in "\\PC{0,60}", retained: bool) {
            for (dialect, topic) in [(tasmota(), "stat/gate/RESULT"), (zigbee(), "zigbee2mqtt/yard/gate")] {
                let message = Message { is_retained: retained, ..said(topic, &payload) };
                let _ = dialect.heard(0, Expect::AnyContact, &message);
            }
        }
    }
}
