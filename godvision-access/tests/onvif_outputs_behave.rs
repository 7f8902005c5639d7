//! Relay outputs of ONVIF devices: the behaviour suite with each proof of the password, and what only this wire can get
//! wrong.

mod board_bench;

use std::sync::Arc;
use std::time::Duration;

use board_bench::{BoardBench, TIMEOUT, board};
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::fake_onvif::{FakeOnvif, Proof};
use godvision_access::relay::onvif::soap::IdleState;
use godvision_access::relay::onvif::{Mode, Onvif, OnvifOptions};
use godvision_core::driver::relay::{Contact, PulseTiming, Relay, RelayError};
use godvision_core::{ManualClock, Secret, SystemClock};

const PASSWORD: &str = "correct horse";

fn driver(device: &FakeOnvif, clock: &ManualClock, password: Option<&str>, mode: Mode) -> Arc<Onvif> {
    let options = OnvifOptions {
        user: password.map(|_| "admin".into()),
        password: password.map(Secret::from),
        outputs: vec!["relay0".into(), "relay1".into()],
        inputs: vec!["input0".into()],
        mode,
        timeout: TIMEOUT,
        ..OnvifOptions::new(device.address().to_string(), "")
    };
    Arc::new(Onvif::new(options, Arc::new(clock.clone())))
}

async fn start(proof: Option<Proof>, mode: Mode) -> BoardBench<FakeOnvif> {
    let (clock, board) = board(2, 1);
    let secret = proof.map(|proof| (proof, Secret::from(PASSWORD)));
    let device = FakeOnvif::start(Arc::clone(&board), secret, Arc::new(clock.clone())).await.unwrap();
    let password = proof.map(|_| PASSWORD);
    let relay = driver(&device, &clock, password, mode);
    let wrong = password.map(|_| driver(&device, &clock, Some("wrong"), mode) as Arc<dyn Relay>);
    BoardBench { clock, board, device, relay, wrong, password, can_refuse: true }
}

godvision_core::relay_conformance!(onvif_with_a_username_token, start(Some(Proof::UsernameToken), Mode::Monostable));
godvision_core::relay_conformance!(onvif_with_http_digest, start(Some(Proof::HttpDigest), Mode::Monostable));
godvision_core::relay_conformance!(onvif_bistable, start(None, Mode::Bistable));

#[tokio::test]
async fn the_delay_is_kept_before_the_output_moves() {
    let bench = start(Some(Proof::UsernameToken), Mode::Monostable).await;
    bench.relay.pulse(1, Duration::from_millis(1200)).await.unwrap();
    let settings_first = ["GetSystemDateAndTime", "GetRelayOutputs", "SetRelayOutputSettings", "SetRelayOutputState"];
    assert_eq!(bench.device.messages(), settings_first);
    bench.clock.advance(Duration::from_millis(1999));
    assert_eq!(bench.board.contact(1), Contact::On, "rounded up to two seconds");
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.board.contact(1), Contact::Off);
    bench.relay.pulse(1, Duration::from_millis(1200)).await.unwrap();
    let written = bench.device.messages().iter().filter(|name| *name == "SetRelayOutputSettings").count();
    assert_eq!(written, 1, "what is so already is not written again");
}

/// A magnet hangs on an output that is closed at rest.
#[tokio::test]
async fn the_state_at_rest_is_the_owners() {
    let bench = start(None, Mode::Monostable).await;
    bench.device.rest_closed(0, true);
    bench.relay.pulse(0, Duration::from_secs(1)).await.unwrap();
    assert!(bench.device.rests_closed(0), "a pulse leaves it as it was");
    bench.relay.set(0, Contact::On).await.unwrap();
    assert!(bench.device.rests_closed(0) && !bench.device.rests_closed(1));
    let options = OnvifOptions {
        idle: Some(IdleState::Open),
        timeout: TIMEOUT,
        ..OnvifOptions::new(bench.device.address().to_string(), "relay0")
    };
    let told = Onvif::new(options, Arc::new(bench.clock.clone()));
    told.pulse(0, Duration::from_secs(1)).await.unwrap();
    assert!(!bench.device.rests_closed(0), "idle= is somebody's wish");
}

#[tokio::test]
async fn a_device_whose_clock_is_set_is_asked_for_its_time_again() {
    let bench = start(Some(Proof::UsernameToken), Mode::Monostable).await;
    bench.relay.set(0, Contact::On).await.unwrap();
    // Our own clock jumps: to the driver it looks as if the device's had.
    let (later, _) = board(1, 0);
    let moved = driver(&bench.device, &later, Some(PASSWORD), Mode::Monostable);
    moved.set(0, Contact::Off).await.unwrap();
    later.set_wall(godvision_core::WallTime::from_unix_seconds(86_400));
    moved.set(0, Contact::On).await.unwrap();
    let asked = bench.device.messages().iter().filter(|name| *name == "GetSystemDateAndTime").count();
    assert_eq!(asked, 3);
    assert_eq!(bench.board.contact(0), Contact::On);
}

#[tokio::test]
async fn subscriptions_are_ended() {
    let bench = start(Some(Proof::HttpDigest), Mode::Monostable).await;
    for _ in 0..3 {
        assert_eq!(bench.relay.status(0).await, Ok(Contact::Off));
    }
    assert_eq!(bench.device.subscriptions(), 0);
    let asked = bench.device.messages().iter().filter(|name| *name == "GetCapabilities").count();
    assert_eq!(asked, 1, "where the events are is asked once");
}

#[tokio::test]
async fn an_output_that_the_device_does_not_have_is_rejected() {
    let bench = start(None, Mode::Monostable).await;
    let options = OnvifOptions { timeout: TIMEOUT, ..OnvifOptions::new(bench.device.address().to_string(), "relay9") };
    let relay = Onvif::new(options, Arc::new(bench.clock.clone()));
    let results = [relay.pulse(0, Duration::from_secs(1)).await, relay.status(0).await.map(|_| ())];
    for error in results.map(Result::unwrap_err) {
        assert!(matches!(error, RelayError::Rejected { .. }), "{error:?}");
    }
}

#[test]
fn addresses() {
    let registry = RelayRegistry::standard(SystemClock::shared());
    let capabilities = |url: &str| registry.open(&url.into()).map(|relay| relay.capabilities().clone());
    let timed = capabilities("onvif://admin:hunter2@10.0.0.6/?output=AlarmOut_0,AlarmOut_1&input=AlarmIn_0").unwrap();
    assert_eq!((timed.channels, timed.inputs), (2, 1));
    assert!(matches!(timed.pulse, PulseTiming::Device { .. }));
    let held = capabilities("onvif://10.0.0.6:8080/onvif/device?output=1&mode=bistable&idle=closed").unwrap();
    assert_eq!(held.pulse, PulseTiming::Host);
    assert!(capabilities("onvif://10.0.0.6/?output=1&idle=device").is_ok());
    for url in [
        "onvif://10.0.0.6/",
        "onvif:///?output=1",
        "onvif://:hunter2@10.0.0.6/?output=1",
        "onvif://10.0.0.6/?output=1&mode=astable",
        "onvif://10.0.0.6/?output=1&idle=ajar",
        "onvif://10.0.0.6/?output=1&timeout_ms=1",
    ] {
        let error = registry.open(&url.into()).err().expect(url);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
