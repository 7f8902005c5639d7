//! Every driver of this crate passes the exported behaviour suite, the Shelly one over its real wire.

use std::sync::Arc;
use std::time::Duration;

use godvision_access::relay::fake_shelly::{self, FakeShelly};
use godvision_access::relay::shelly::{Shelly, ShellyOptions};
use godvision_access::relay::simulated::{self, SimulatedRelay, Trouble};
use godvision_core::driver::conformance::relay::{RelayBench, Spoil};
use godvision_core::driver::relay::{Contact, Relay, RelayError};
use godvision_core::{ManualClock, Secret};

const PASSWORD: &str = "correct horse";
const TIMEOUT: Duration = Duration::from_millis(250);

struct ShellyBench {
    clock: ManualClock,
    device: FakeShelly,
    password: Option<&'static str>,
    relay: Arc<Shelly>,
}

fn driver(device: &FakeShelly, password: Option<&str>) -> Arc<Shelly> {
    Arc::new(Shelly::new(ShellyOptions {
        password: password.map(Secret::from),
        channels: 2,
        inputs: 2,
        timeout: TIMEOUT,
        ..ShellyOptions::new(device.address().to_string())
    }))
}

impl ShellyBench {
    async fn start(password: Option<&'static str>) -> Self {
        let clock = ManualClock::default();
        let device = FakeShelly::start(2, password.map(Secret::from), Arc::new(clock.clone())).await.unwrap();
        let relay = driver(&device, password);
        Self { clock, device, password, relay }
    }
}

impl RelayBench for ShellyBench {
    fn relay(&self) -> Arc<dyn Relay> {
        Arc::clone(&self.relay) as _
    }

    fn relay_with_wrong_password(&self) -> Option<Arc<dyn Relay>> {
        self.password.map(|_| driver(&self.device, Some("wrong")) as _)
    }

    fn password(&self) -> Option<String> {
        self.password.map(str::to_owned)
    }

    fn timeout(&self) -> Duration {
        TIMEOUT
    }

    fn contact(&self, channel: u8) -> Contact {
        self.device.contact(channel)
    }

    fn press(&self, channel: u8, contact: Contact) {
        self.device.press(channel, contact);
    }

    fn spoil(&self, how: Spoil) {
        self.device.spoil(match how {
            Spoil::Nothing => fake_shelly::Spoil::Nothing,
            Spoil::CutLink => fake_shelly::Spoil::CutLink,
            Spoil::Slow => fake_shelly::Spoil::Silence,
            Spoil::Half => fake_shelly::Spoil::Half,
            Spoil::Garbage => fake_shelly::Spoil::Garbage,
            Spoil::Refuse => fake_shelly::Spoil::Refuse(-109),
        });
    }

    fn close_input(&self, input: u8, contact: Contact) {
        self.device.close_input(input, contact);
    }

    fn reboot(&self) {
        self.device.reboot();
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn moves(&self) -> usize {
        self.device.calls().iter().filter(|call| call.method == "Switch.Set").count()
    }
}

godvision_core::relay_conformance!(shelly_with_password, ShellyBench::start(Some(PASSWORD)));
godvision_core::relay_conformance!(shelly_without_password, ShellyBench::start(None));

struct SimulatedBench {
    clock: ManualClock,
    relay: Arc<SimulatedRelay>,
}

impl SimulatedBench {
    async fn start(make: fn(u8, Arc<dyn godvision_core::Clock>) -> SimulatedRelay) -> Self {
        let clock = ManualClock::default();
        let relay = Arc::new(make(3, Arc::new(clock.clone())).with_inputs(2));
        Self { clock, relay }
    }
}

impl RelayBench for SimulatedBench {
    fn relay(&self) -> Arc<dyn Relay> {
        Arc::clone(&self.relay) as _
    }

    fn relay_with_wrong_password(&self) -> Option<Arc<dyn Relay>> {
        let relay = SimulatedRelay::new(3, Arc::new(self.clock.clone()));
        relay.trouble(Trouble::WrongPassword);
        Some(Arc::new(relay))
    }

    fn password(&self) -> Option<String> {
        None
    }

    fn timeout(&self) -> Duration {
        simulated::TIMEOUT
    }

    fn contact(&self, channel: u8) -> Contact {
        self.relay.contact(channel)
    }

    fn press(&self, channel: u8, contact: Contact) {
        self.relay.press(channel, contact);
    }

    fn spoil(&self, how: Spoil) {
        self.relay.trouble(match how {
            Spoil::Nothing => Trouble::None,
            Spoil::CutLink => Trouble::NoLink,
            Spoil::Slow => Trouble::SlowReply,
            Spoil::Half | Spoil::Garbage => Trouble::BadReply,
            Spoil::Refuse => Trouble::Refuses,
        });
    }

    fn close_input(&self, input: u8, contact: Contact) {
        self.relay.close_input(input, contact);
    }

    fn reboot(&self) {
        self.relay.reboot();
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn moves(&self) -> usize {
        self.relay.moves()
    }
}

godvision_core::relay_conformance!(simulated_relay, SimulatedBench::start(SimulatedRelay::new));
godvision_core::relay_conformance!(simulated_without_timer, SimulatedBench::start(SimulatedRelay::without_timer));

#[tokio::test]
async fn shelly_replies_that_answer_something_else_confirm_nothing() {
    let bench = ShellyBench::start(Some(PASSWORD)).await;
    for how in [fake_shelly::Spoil::WrongBody, fake_shelly::Spoil::WrongId] {
        bench.device.spoil(how);
        for error in
            [bench.relay.pulse(0, Duration::from_secs(1)).await.unwrap_err(), bench.relay.status(0).await.unwrap_err()]
        {
            assert!(matches!(error, RelayError::BadReply { .. }), "{how:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn shelly_keeps_the_digest_nonce_and_takes_a_new_one_when_the_device_forgets_it() {
    let bench = ShellyBench::start(Some(PASSWORD)).await;
    for _ in 0..3 {
        bench.relay.status(0).await.unwrap();
    }
    bench.device.forget_nonces();
    bench.relay.pulse(0, Duration::from_secs(1)).await.unwrap();
    assert_eq!(bench.device.calls().len(), 4);
    assert_eq!(bench.device.connections(), 4, "one connection a command");
}

#[tokio::test]
async fn a_shelly_that_is_no_shelly_is_said_plainly() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let relay = Shelly::new(ShellyOptions { timeout: TIMEOUT, ..ShellyOptions::new(address.to_string()) });
    let error = relay.status(0).await.unwrap_err();
    assert!(error.to_string().contains("not a Shelly of the second generation"), "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_reply_without_end_is_cut_off() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
        let mut sent = 0;
        while stream.write_all(&[b' '; 4096]).await.is_ok() {
            sent += 4096;
        }
        sent
    });
    let relay =
        Shelly::new(ShellyOptions { timeout: Duration::from_secs(5), ..ShellyOptions::new(address.to_string()) });
    let error = relay.status(0).await.unwrap_err();
    assert!(matches!(error, RelayError::BadReply { .. }), "{error:?}");
    let sent = server.await.unwrap();
    assert!(sent < 32 << 20, "{sent} bytes were taken, more than the buffers on the way hold");
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let relay = Shelly::new(ShellyOptions::new(address.to_string()));
    let error = relay.pulse(0, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, RelayError::Unreachable { .. }) && !error.is_ambiguous(), "{error:?}");
}
