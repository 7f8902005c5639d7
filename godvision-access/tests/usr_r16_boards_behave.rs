//! USR-R16 boards: the behaviour suite over their own protocol.

mod board_bench;

use std::sync::Arc;
use std::time::Duration;

use board_bench::{BoardBench, TIMEOUT, board};
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::fake_usr_r16::FakeUsrR16;
use godvision_access::relay::usr_r16::{UsrR16, UsrR16Options};
use godvision_core::driver::relay::{Contact, Relay, RelayError};
use godvision_core::{Secret, SystemClock};

const PASSWORD: &str = "correct horse";

fn driver(device: &FakeUsrR16, password: &str) -> Arc<UsrR16> {
    Arc::new(UsrR16::new(UsrR16Options {
        password: Secret::from(password),
        timeout: TIMEOUT,
        ..UsrR16Options::new(device.address().to_string())
    }))
}

async fn start() -> BoardBench<FakeUsrR16> {
    let (clock, board) = board(16, 0);
    let device = FakeUsrR16::start(Arc::clone(&board), PASSWORD.into()).await.unwrap();
    let relay = driver(&device, PASSWORD);
    let wrong = Some(driver(&device, "wrong") as Arc<dyn Relay>);
    BoardBench { clock, board, device, relay, wrong, password: Some(PASSWORD), can_refuse: false }
}

// This board has no word for no but the state that it leaves.
godvision_core::relay_conformance!(usr_r16, start());

#[tokio::test]
async fn a_contact_that_does_not_follow_is_rejected() {
    let bench = start().await;
    bench.board.spoil(godvision_access::relay::fake_board::Spoil::Refuse);
    for error in [
        bench.relay.pulse(3, Duration::from_secs(1)).await.unwrap_err(),
        bench.relay.set(15, Contact::On).await.unwrap_err(),
    ] {
        assert!(matches!(error, RelayError::Rejected { .. }), "{error:?}");
    }
    assert_eq!(bench.board.moves(), 0);
}

#[test]
fn addresses() {
    let registry = RelayRegistry::standard(SystemClock::shared());
    assert_eq!(registry.open(&"usr-r16://:secret@10.0.0.7/".into()).unwrap().capabilities().channels, 16);
    for url in ["usr-r16:///", "usr-r16://admin:hunter2@10.0.0.7/", "usr-r16://10.0.0.7/?channels=8"] {
        let error = registry.open(&url.into()).err().expect(url);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
