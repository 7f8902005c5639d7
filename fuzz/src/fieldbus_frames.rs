//! What the field bus relay drivers of `godvision-access` read from outside: Modbus, MQTT, ONVIF, ESPHome and USR-R16.

use std::cell::RefCell;
use std::time::Duration;

use bytes::BytesMut;
use godvision_access::relay::esphome::frame::{Handshake, Wire};
use godvision_access::relay::esphome::message;
use godvision_access::relay::modbus::frame::{BITS_MAX, Exchange, Framing, ON, Reply, Request};
use godvision_access::relay::mqtt::dialect::{Dialect, Expect, Heard, Message, PlainTopics};
use godvision_access::relay::mqtt::{Mqtt, MqttOptions};
use godvision_access::relay::onvif::soap::{self, Told};
use godvision_access::relay::onvif::xml::{DEPTH_MAX, ELEMENTS_MAX, Element, escaped};
use godvision_access::relay::usr_r16;
use godvision_core::driver::relay::{Contact, Relay as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::{Input, Reached};

/// How long the driver waits for a broker that says nothing more.
const PATIENCE: Duration = Duration::from_millis(50);

/// The first byte chooses the wire: Modbus (0 and what is not named), what a device says over MQTT (1), a SOAP reply (2),
/// ESPHome (3), USR-R16 (4), a broker (5).
pub fn fieldbus_frames(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    match input.byte() {
        1 => said_over_mqtt(input),
        2 => soap_reply(input.rest()),
        3 => esphome(input.rest()),
        4 => usr_r16_answer(input.rest()),
        5 => broker(input.rest()),
        _ => modbus(input),
    }
}

fn modbus(mut input: Input<'_>) -> Reached {
    let [framing, unit, high, low, kind, address, count] = input.array();
    let count = count.clamp(1, BITS_MAX);
    let request = match kind % 3 {
        0 => Request::ReadCoils { address: address.into(), count },
        1 => Request::ReadInputs { address: address.into(), count },
        _ => Request::WriteCoil { address: address.into(), value: ON },
    };
    let framing = if framing & 1 == 0 { Framing::Tcp } else { Framing::Rtu };
    let exchange = Exchange { framing, unit, transaction: u16::from_be_bytes([high, low]), request };
    let bytes = input.rest();
    let Ok(Some(reply)) = exchange.reply(bytes) else { return Reached::Refused };
    // Only a whole frame is one, and a frame has one end.
    for length in 0..bytes.len() {
        assert_eq!(exchange.reply(&bytes[..length]), Ok(None));
    }
    assert!(exchange.reply(&[bytes, &[0]].concat()).is_err());
    assert!(
        matches!(reply, Reply::Exception(_))
            || matches!(request, Request::WriteCoil { .. }) == (reply == Reply::Written)
    );
    if framing == Framing::Rtu {
        // The checksum sees every single bit.
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(exchange.reply(&damaged), Ok(Some(_))));
        }
    }
    Reached::Checked
}

fn said_over_mqtt(mut input: Input<'_>) -> Reached {
    let [kind, expect, flags, channel] = input.array();
    let plain = PlainTopics {
        field: (flags & 2 != 0).then(|| "state".into()),
        ..PlainTopics::new("gate/set", "gate/state", "gate/get")
    };
    let (dialect, topic) = match kind % 4 {
        0 => (Dialect::Tasmota { topic: "gate".into() }, "stat/gate/RESULT"),
        1 => (zigbee(), "zigbee2mqtt/gate"),
        2 => (zigbee(), "zigbee2mqtt/bridge/logging"),
        _ => (Dialect::Plain(Box::new(plain)), "gate/state"),
    };
    let expect = match expect % 4 {
        0 => Expect::AnyContact,
        1 => Expect::Contact(Contact::On),
        2 => Expect::Contact(Contact::Off),
        _ => Expect::PulseTime(30),
    };
    let channel = channel % 64;
    let message = Message { topic: topic.into(), payload: input.rest().to_vec(), is_retained: flags & 4 != 0 };
    let heard = dialect.heard(channel, expect, &message);
    if let (Heard::Confirmed(contact), Expect::Contact(wanted)) = (&heard, expect) {
        assert_eq!(*contact, Some(wanted), "a command is confirmed by what it asked for");
        assert!(!message.is_retained, "and not by what was said earlier");
    }
    let elsewhere = Message { topic: "other".into(), ..message };
    assert_eq!(dialect.heard(channel, expect, &elsewhere), Heard::Nothing);
    Reached::when(heard != Heard::Nothing)
}

fn zigbee() -> Dialect {
    Dialect::Zigbee2Mqtt { base: "zigbee2mqtt".into(), name: "gate".into(), properties: vec!["state".into()] }
}

fn soap_reply(document: &[u8]) -> Reached {
    let Ok(root) = Element::parse(document) else { return Reached::Refused };
    assert!(root.all().count() <= ELEMENTS_MAX);
    assert!(depth(&root) <= DEPTH_MAX);
    for text in root.all().map(|element| &element.text).filter(|text| !text.contains('\r')) {
        let again = Element::parse(format!("<a>{}</a>", escaped(text)).as_bytes());
        // Characters that no document may hold can only have come in as references.
        assert!(again.is_err() || again == Ok(Element { name: "a".into(), text: text.clone(), ..Element::default() }));
    }
    let _ = (soap::refusal(&root), soap::device_time(&root), soap::event_service(&root));
    if let Some(endpoint) = soap::subscription(&root) {
        assert!(!endpoint.path().contains("://") || endpoint.path().starts_with('/'));
        let sent = soap::Message::PullMessages.envelope(None, Some(&endpoint));
        assert!(!sent.expose().is_empty());
    }
    let _ = (soap::told_state(&root, Told::Relay, "1"), soap::told_state(&root, Told::Input, "1"));
    Reached::Checked
}

fn depth(element: &Element) -> usize {
    1 + element.children.iter().map(depth).max().unwrap_or(0)
}

fn esphome(bytes: &[u8]) -> Reached {
    let (handshake, _) = Handshake::start(&[7; 32]).expect("a handshake begins");
    assert!(!matches!(handshake.proceed(&mut BytesMut::from(bytes)), Ok(Ok(_))), "nobody guesses a key");
    let mut received = BytesMut::from(bytes);
    let mut reached = Reached::Refused;
    while let Ok(Some(packet)) = Wire::Plain.open(&mut received) {
        let sealed = Wire::Plain.seal(&packet).expect("what was read can be written");
        assert_eq!(Wire::Plain.open(&mut BytesMut::from(sealed.as_slice())), Ok(Some(packet.clone())));
        if message::read(&packet).is_some() {
            reached = Reached::Checked;
        }
    }
    reached
}

fn usr_r16_answer(bytes: &[u8]) -> Reached {
    let Ok(Some((answer, length))) = usr_r16::answer(bytes) else { return Reached::Refused };
    assert_eq!(usr_r16::answer(&bytes[..length]), Ok(Some((answer, length))));
    for cut in 0..length {
        assert_eq!(usr_r16::answer(&bytes[..cut]), Ok(None));
    }
    let mut damaged = bytes[..length].to_vec();
    damaged[length - 1] ^= 1;
    assert_eq!(usr_r16::answer(&damaged), Err(usr_r16::FrameFault::Checksum));
    Reached::Checked
}

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// A broker that says `bytes`, whatever it is told.
fn broker(bytes: &[u8]) -> Reached {
    RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            Builder::new_current_thread().enable_all().build().expect("a runtime for the target")
        });
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
            let address = listener.local_addr().expect("its address").to_string();
            let options = MqttOptions { timeout: PATIENCE, ..MqttOptions::new(address, zigbee()) };
            let relay = Mqtt::new(options);
            let says = async {
                let (mut stream, _) = listener.accept().await.expect("the driver connects");
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            };
            let (status, ()) = tokio::join!(relay.status(0), says);
            let has_word = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
            match status {
                Ok(Contact::On) => assert!(has_word(b"ON")),
                Ok(Contact::Off) => assert!(has_word(b"OFF")),
                Err(_) => {}
            }
            Reached::when(bytes.first() == Some(&0x20))
        })
    })
}
