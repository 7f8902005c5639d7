//! Switches of ESPHome devices: the behaviour suite plain and encrypted, and what only this wire can get wrong.

mod board_bench;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use board_bench::{BoardBench, TIMEOUT, board};
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::esphome::{ENTITIES_MAX, Esphome, EsphomeOptions, PulseButtons};
use godvision_access::relay::fake_esphome::FakeEsphome;
use godvision_core::driver::relay::{Contact, PulseTiming, Relay, RelayError};
use godvision_core::{Secret, SystemClock};

const KEY: [u8; 32] = [42; 32];
const PULSE: Duration = Duration::from_secs(3);

fn base64(key: [u8; 32]) -> String {
    base64::engine::general_purpose::STANDARD.encode(key)
}

fn driver(device: &FakeEsphome, key: Option<[u8; 32]>, is_timed: bool) -> Arc<Esphome> {
    let ids = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    let pulse = PulseButtons { buttons: ids(["gate_1_pulse", "gate_2_pulse"]), duration: PULSE };
    Arc::new(Esphome::new(EsphomeOptions {
        key: key.map(|key| Secret::new(base64(key))),
        switches: ids(["gate_1", "gate_2"]),
        inputs: vec!["contact_1".into()],
        pulse: is_timed.then_some(pulse),
        timeout: TIMEOUT,
        ..EsphomeOptions::new(device.address().to_string(), "")
    }))
}

async fn start(key: Option<[u8; 32]>, is_timed: bool) -> BoardBench<FakeEsphome> {
    let (clock, board) = board(2, 1);
    let device = FakeEsphome::start(Arc::clone(&board), key, PULSE).await.unwrap();
    let relay = driver(&device, key, is_timed);
    let wrong = key.map(|_| driver(&device, Some([43; 32]), is_timed) as Arc<dyn Relay>);
    let password = key.map(|key| &*base64(key).leak());
    BoardBench { clock, board, device, relay, wrong, password, can_refuse: true }
}

godvision_core::relay_conformance!(esphome_encrypted_with_buttons, start(Some(KEY), true));
godvision_core::relay_conformance!(esphome_plain, start(None, false));

#[tokio::test]
async fn only_the_configured_time_can_be_pulsed() {
    let bench = start(Some(KEY), true).await;
    let error = bench.relay.pulse(0, PULSE * 2).await.unwrap_err();
    assert!(matches!(error, RelayError::PulseOutOfRange { .. }), "{error:?}");
    bench.relay.pulse(0, PULSE).await.unwrap();
    bench.relay.pulse(0, PULSE).await.unwrap();
    assert_eq!(bench.board.moves(), 2, "a press while it is on is a press");
}

#[tokio::test]
async fn a_device_that_wants_a_key_is_said_plainly() {
    let bench = start(Some(KEY), true).await;
    let without = driver(&bench.device, None, true);
    let error = without.set(0, Contact::On).await.unwrap_err();
    assert!(matches!(error, RelayError::AuthFailed { .. }), "{error:?}");
    let plain = start(None, false).await;
    let with = driver(&plain.device, Some(KEY), false);
    let error = with.set(0, Contact::On).await.unwrap_err();
    assert!(matches!(error, RelayError::BadReply { .. }), "{error:?}");
}

#[tokio::test]
async fn an_entity_that_is_not_there_is_named() {
    let bench = start(None, false).await;
    let options =
        EsphomeOptions { timeout: TIMEOUT, ..EsphomeOptions::new(bench.device.address().to_string(), "gate_9") };
    let error = Esphome::new(options).set(0, Contact::On).await.unwrap_err();
    assert!(matches!(error, RelayError::Rejected { .. }) && error.to_string().contains("gate_9"), "{error}");
}

#[tokio::test]
async fn a_device_with_entities_without_end_is_cut_off() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let relay = Esphome::new(EsphomeOptions { timeout: TIMEOUT * 8, ..EsphomeOptions::new(address, "gate_1") });
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let entity = [0, 8, 17, 0x15, 1, 0, 0, 0, 0x1A, 1, b'x'];
        let _ = stream.write_all(&entity.repeat(ENTITIES_MAX + 1)).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let error = tokio::join!(relay.status(0), server).0.unwrap_err();
    assert!(matches!(error, RelayError::Rejected { .. }), "{error:?}");
}

#[test]
fn addresses() {
    let registry = RelayRegistry::standard(SystemClock::shared());
    let key = base64(KEY).replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    let url = format!("esphome://:{key}@gate.local/?switch=gate_1&button=gate_1_pulse&pulse_ms=3000&input=contact_1");
    let relay = registry.open(&url.as_str().into()).unwrap();
    assert_eq!(relay.capabilities().pulse, PulseTiming::Device { min: PULSE, max: PULSE, step: PULSE });
    for url in [
        "esphome://gate.local/",
        "esphome://gate.local/?switch=a&button=b",
        "esphome://gate.local/?switch=a&pulse_ms=3000",
        "esphome://:tooshort@gate.local/?switch=a",
        "esphome://user@gate.local/?switch=a",
        "esphome:///?switch=a",
    ] {
        let error = registry.open(&url.into()).err().expect(url);
        assert!(!error.to_string().contains("tooshort"), "{error}");
    }
}
