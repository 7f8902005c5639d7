//! The Gatebox passes the suite that every relay of godvision passes.

mod fake_gatebox;

use std::sync::Arc;
use std::time::Duration;

use fake_gatebox::FakeGatebox;
use gatebox_relay::Gatebox;
use godvision_access::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use godvision_access::relay::RelayRegistry;
use godvision_core::driver::conformance::relay::{RelayBench, Spoil};
use godvision_core::driver::relay::{Contact, Relay};
use godvision_core::{ManualClock, Secret};

const PASSWORD: &str = "sesame";
const TIMEOUT: Duration = Duration::from_millis(250);

struct GateboxBench {
    clock: ManualClock,
    device: FakeGatebox,
}

impl GateboxBench {
    async fn start() -> Self {
        let clock = ManualClock::default();
        let device = FakeGatebox::start(PASSWORD, clock.clone()).await;
        Self { clock, device }
    }

    fn driver(&self, password: &str) -> Arc<dyn Relay> {
        let (host, port) = (self.device.address.ip().to_string(), self.device.address.port());
        Arc::new(Gatebox::new(&host, Some(port), Some(password.into())).with_timeout(TIMEOUT))
    }
}

impl RelayBench for GateboxBench {
    fn relay(&self) -> Arc<dyn Relay> {
        self.driver(PASSWORD)
    }

    fn relay_with_wrong_password(&self) -> Option<Arc<dyn Relay>> {
        Some(self.driver("wrong"))
    }

    fn password(&self) -> Option<String> {
        Some(PASSWORD.to_owned())
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
        self.device.spoil(how);
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
        self.device.moves()
    }
}

godvision_core::relay_conformance!(gatebox, GateboxBench::start());

#[tokio::test]
async fn a_registry_takes_it_by_one_line() {
    let bench = GateboxBench::start().await;
    let registry =
        RelayRegistry::new().with("gatebox", |at| Ok(Arc::new(Gatebox::new(&at.host, at.port, at.password.clone()))));
    let relay = registry.open(&Secret::new(format!("gatebox://:{PASSWORD}@{}", bench.device.address))).unwrap();
    relay.pulse(1, Duration::from_secs(3)).await.unwrap();
    assert_eq!(bench.device.contact(1), Contact::On);
}

const SPEC: DriverSpec = DriverSpec {
    scheme: "gatebox",
    title: "Gatebox",
    about: "Pulses end on the box.",
    fields: &[AddressField::HOST, AddressField::port("7040"), AddressField::PASSWORD],
    pulse: Some(PulseEnd::Device),
    verified: Verified::Documents,
    unverified: &["anything on a box: it is invented"],
};

#[tokio::test]
async fn a_form_is_made_of_its_description() {
    let bench = GateboxBench::start().await;
    let registry =
        RelayRegistry::new().with_driver(SPEC, |at| Ok(Arc::new(Gatebox::new(&at.host, at.port, at.password.clone()))));
    let filled_in = [
        ("host", Secret::new(bench.device.address.ip().to_string())),
        ("port", Secret::new(bench.device.address.port().to_string())),
        ("password", PASSWORD.into()),
    ];
    let address = registry.spec("gatebox").unwrap().address(filled_in).unwrap();
    let relay = registry.open(&address.to_url()).unwrap();
    relay.pulse(0, Duration::from_secs(3)).await.unwrap();
    assert_eq!(bench.device.contact(0), Contact::On);
    assert!(registry.open(&"gatebox://192.168.1.30/?colour=red".into()).is_err());
}
