//! Relays behind an MQTT broker: the behaviour suite for three kinds of devices, and what only a broker can get wrong.

mod board_bench;

use std::sync::Arc;
use std::time::Duration;

use board_bench::{BoardBench, TIMEOUT, board};
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::fake_board::Spoil;
use godvision_access::relay::fake_mqtt::{Device, FakeMqtt};
use godvision_access::relay::mqtt::dialect::{Dialect, PlainTopics};
use godvision_access::relay::mqtt::{Mqtt, MqttOptions, PACKET_BYTES_MAX, WAITING_MAX};
use godvision_core::driver::relay::{Contact, Relay, RelayError};
use godvision_core::{Secret, SystemClock};

const PASSWORD: &str = "correct horse";

fn dialect(device: Device) -> Dialect {
    match device {
        Device::Tasmota => Dialect::Tasmota { topic: "gate".into() },
        Device::Zigbee => Dialect::Zigbee2Mqtt {
            base: "zigbee2mqtt".into(),
            name: "gate".into(),
            properties: vec!["state_l1".into(), "state_l2".into()],
        },
        Device::Plain => Dialect::Plain(Box::new(PlainTopics::new("gate/{n}/set", "gate/{n}/state", "gate/{n}/get"))),
    }
}

fn driver(device: &FakeMqtt, dialect: Dialect, password: Option<&str>) -> Arc<Mqtt> {
    Arc::new(Mqtt::new(MqttOptions {
        user: password.map(|_| "door".into()),
        password: password.map(Secret::from),
        channels: 2,
        timeout: TIMEOUT,
        ..MqttOptions::new(device.address().to_string(), dialect)
    }))
}

async fn start(kind: Device, password: Option<&'static str>) -> BoardBench<FakeMqtt> {
    let (clock, board) = board(2, 0);
    let login = password.map(|password| ("door", Secret::from(password)));
    let device = FakeMqtt::start(Arc::clone(&board), kind, login).await.unwrap();
    let relay = driver(&device, dialect(kind), password);
    let wrong = password.map(|_| driver(&device, dialect(kind), Some("wrong")) as Arc<dyn Relay>);
    BoardBench { clock, board, device, relay, wrong, password, can_refuse: true }
}

godvision_core::relay_conformance!(tasmota_over_mqtt, start(Device::Tasmota, Some(PASSWORD)));
godvision_core::relay_conformance!(zigbee2mqtt, start(Device::Zigbee, Some(PASSWORD)));
godvision_core::relay_conformance!(plain_topics, start(Device::Plain, None));

#[tokio::test]
async fn tasmota_is_given_the_time_before_the_contact_moves() {
    let bench = start(Device::Tasmota, None).await;
    bench.relay.pulse(1, Duration::from_millis(701)).await.unwrap();
    let published = bench.device.published();
    assert_eq!(published[0], ("cmnd/gate/PulseTime2".into(), "8".into()));
    assert_eq!(published[1], ("cmnd/gate/Power2".into(), "ON".into()));
    bench.clock.advance(Duration::from_millis(800));
    assert_eq!(bench.board.contact(1), Contact::Off);
    // The setting stays at the device and must not end what is switched on to stay.
    bench.relay.set(1, Contact::On).await.unwrap();
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(bench.relay.status(1).await, Ok(Contact::On));
}

#[tokio::test]
async fn a_timer_that_is_not_confirmed_moves_nothing() {
    let bench = start(Device::Tasmota, None).await;
    bench.board.spoil(Spoil::Silence);
    let error = bench.relay.pulse(0, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, RelayError::Timeout { .. }), "{error:?}");
    assert_eq!((bench.board.contact(0), bench.board.moves()), (Contact::Off, 0));
}

#[tokio::test]
async fn commands_are_never_kept_by_the_broker() {
    let bench = start(Device::Plain, None).await;
    bench.relay.pulse(0, Duration::from_secs(1)).await.unwrap();
    bench.relay.set(0, Contact::Off).await.unwrap();
    bench.relay.status(0).await.unwrap();
    assert_eq!(bench.device.published().len(), 3);
    assert_eq!(bench.device.kept(), ["gate/0/state", "gate/here"], "what the device keeps, and no command");
}

#[tokio::test]
async fn a_device_that_says_it_is_away_is_not_commanded() {
    let bench = start(Device::Plain, None).await;
    let topics = PlainTopics {
        available: Some("gate/here".into()),
        ..PlainTopics::new("gate/{n}/set", "gate/{n}/state", "gate/{n}/get")
    };
    let relay = driver(&bench.device, Dialect::Plain(Box::new(topics)), None);
    relay.set(0, Contact::On).await.unwrap();
    assert_eq!(relay.status(0).await, Ok(Contact::On));
    bench.device.keep("gate/here", b"offline");
    for error in [relay.status(0).await.map(|_| ()).unwrap_err(), relay.set(0, Contact::Off).await.unwrap_err()] {
        assert!(matches!(error, RelayError::Unreachable { .. }), "{error:?}");
    }
    assert_eq!(bench.board.contact(0), Contact::On, "nothing was sent to who is not there");
}

/// The state message of an «on» is lost: the broker still keeps the «off» of before.
#[tokio::test]
async fn what_the_broker_remembers_is_no_status() {
    let bench = start(Device::Plain, None).await;
    bench.relay.set(0, Contact::Off).await.unwrap();
    bench.board.spoil(Spoil::Silence);
    let error = bench.relay.pulse(0, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, RelayError::Timeout { .. }), "{error:?}");
    assert_eq!(bench.board.contact(0), Contact::On, "it has moved");
    let error = bench.relay.status(0).await.unwrap_err();
    assert!(matches!(error, RelayError::Timeout { .. }), "nobody has said where it is: {error:?}");
    bench.board.spoil(Spoil::Nothing);
    assert_eq!(bench.relay.status(0).await, Ok(Contact::On));
}

#[tokio::test]
async fn a_broker_that_is_none_is_said_plainly() {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.shutdown().await;
    });
    let relay =
        Mqtt::new(MqttOptions { timeout: TIMEOUT, ..MqttOptions::new(address.to_string(), dialect(Device::Plain)) });
    let error = relay.status(0).await.unwrap_err();
    assert!(matches!(error, RelayError::BadReply { .. }), "{error:?}");
    server.await.unwrap();
}

/// Says `bytes` to whoever connects, and what a driver makes of it.
async fn told_by_a_broker(bytes: Vec<u8>) -> Result<Contact, RelayError> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let relay = Mqtt::new(MqttOptions { timeout: TIMEOUT, ..MqttOptions::new(address, dialect(Device::Tasmota)) });
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    tokio::join!(relay.status(0), server).0
}

fn message(payload: &[u8]) -> Vec<u8> {
    let topic = b"stat/gate/RESULT";
    let mut bytes = vec![0x30, (2 + topic.len() + payload.len()) as u8, 0, topic.len() as u8];
    bytes.extend([topic, payload].concat());
    bytes
}

#[tokio::test]
async fn a_broker_that_says_too_much_is_not_listened_to() {
    const WELCOME: [u8; 4] = [0x20, 2, 0, 0];
    const SUBSCRIBED: [u8; 5] = [0x90, 3, 0, 1, 0];
    let other = message(br#"{"POWER2":"ON"}"#);
    let about = message(br#"{"POWER1":"ON"}"#);
    for (before, expected) in [(WAITING_MAX - 1, true), (WAITING_MAX, false)] {
        let bytes = [WELCOME.to_vec(), other.repeat(before), about.clone(), SUBSCRIBED.to_vec()].concat();
        let told = told_by_a_broker(bytes).await;
        assert_eq!(told == Ok(Contact::On), expected, "{before} messages before the subscription: {told:?}");
    }
    let too_long = [WELCOME.to_vec(), vec![0x30, 0x81, 0x80, 0x04], vec![0; PACKET_BYTES_MAX]].concat();
    assert!(matches!(told_by_a_broker(too_long).await, Err(RelayError::BadReply { .. })));
}

#[test]
fn addresses() {
    let registry = RelayRegistry::standard(SystemClock::shared());
    let capabilities = |url: &str| registry.open(&url.into()).map(|relay| relay.capabilities().clone());
    let tasmota = capabilities("tasmota+mqtt://door:hunter2@broker/yard/gate?channels=4").unwrap();
    assert_eq!((tasmota.driver, tasmota.channels), ("tasmota-mqtt", 4));
    assert_eq!(capabilities("zigbee2mqtt://broker/gate?states=state_left,state_right").unwrap().channels, 2);
    let plain = "mqtt://door:hunter2@broker:1884/?command=a/%7Bn%7D&state=b/%7Bn%7D&get=c&field=relay&on=1&off=0";
    assert_eq!(capabilities(plain).unwrap().driver, "mqtt");
    let never_asked = capabilities("mqtt://broker/?command=a&state=b").unwrap_err().to_string();
    assert_eq!(never_asked, "the device's address: get is missing", "what a broker keeps is no status");
    for url in [
        "mqtt://broker/?command=a",
        "mqtt://broker/?command=a&state=b%23&get=c",
        "mqtt://broker/?command=a&state=b&get=c&on=X&off=X",
        "mqtt://broker/?command=a&state=b&get=c&qos=2",
        "mqtt://:hunter2@broker/?command=a&state=b&get=c",
        "tasmota+mqtt://broker/",
        "zigbee2mqtt://broker/gate?states=,",
        "zigbee2mqtt:///gate",
    ] {
        let error = registry.open(&url.into()).err().expect(url);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
