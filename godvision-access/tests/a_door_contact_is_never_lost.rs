//! A contact and a lid say a change once: neither a flood of credentials nor one of their own keeps the last one from the
//! door, and whoever attaches later is told it.

use std::sync::Arc;
use std::time::Duration;

use godvision_access::reader::ReaderRegistry;
use godvision_access::reader::device::{Attached, DeviceEvent, Devices, INPUTS_MAX, WAITING_MAX};
use godvision_access::reader::fake::{FakeBridge, FakePort};
use godvision_core::signal::door::{DoorSense, Key};
use godvision_core::{Clock, Name, Secret, SystemClock};

struct Yard {
    port: FakePort<FakeBridge>,
    devices: Devices,
    url: Secret,
    clock: Arc<dyn Clock>,
}

impl Yard {
    async fn new() -> Self {
        let clock: Arc<dyn Clock> = SystemClock::shared();
        let port = FakePort::start(FakeBridge::new(Arc::clone(&clock))).await.unwrap();
        let devices = Devices::new(ReaderRegistry::standard(Arc::clone(&clock)));
        let url = format!("keypad+tcp://{}/?channels=4", port.address()).into();
        Self { port, devices, url, clock }
    }

    fn attach(&self, channel: u8) -> Attached {
        let owner = Name::new(&format!("reader-{channel}")).unwrap();
        self.devices.attach(&self.url, channel, &owner, &self.clock).unwrap()
    }

    fn send(&self, line: &str) {
        self.port.send(format!("{line}\n").as_bytes());
    }

    /// Everything sent so far has been read once this credential has come.
    async fn all_is_read(&self, other: &mut Attached, channel: u8) {
        self.send(&format!("key {channel} 7\nkey {channel} #"));
        let read = async { while !matches!(other.next().await.unwrap(), DeviceEvent::Presented { .. }) {} };
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
    }
}

/// What waits for it: changes of inputs, and how many credentials.
async fn waiting(attached: &mut Attached) -> (Vec<DoorSense>, usize) {
    let (mut senses, mut presented) = (Vec::new(), 0);
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(50), attached.next()).await {
        match event.unwrap() {
            DeviceEvent::Input { sense, .. } => senses.push(sense),
            DeviceEvent::Presented { key: Key::Pin(_), .. } => presented += 1,
            DeviceEvent::Presented { key, .. } => panic!("nobody presented {key:?}"),
            DeviceEvent::Status(_) => {}
        }
    }
    (senses, presented)
}

#[tokio::test]
async fn a_flood_of_credentials_does_not_hide_that_the_door_is_forced() {
    let yard = Yard::new().await;
    let (mut door, mut other) = (yard.attach(0), yard.attach(1));
    for _ in 0..3 * WAITING_MAX {
        yard.send("key 0 1\nkey 0 #");
    }
    yard.send("ajar 0 1\nlid 0 1");
    yard.all_is_read(&mut other, 1).await;
    let told = waiting(&mut door).await;
    assert_eq!(told, (vec![DoorSense::Ajar(true), DoorSense::Tampered(true)], WAITING_MAX));
}

#[tokio::test]
async fn of_a_flood_of_changes_the_last_of_each_kind_is_told() {
    let yard = Yard::new().await;
    let (mut door, mut other) = (yard.attach(0), yard.attach(1));
    yard.send("lid 0 1\nexit 0");
    for _ in 0..50 {
        yard.send("ajar 0 1\najar 0 0");
    }
    yard.send("ajar 0 1");
    yard.all_is_read(&mut other, 1).await;
    let (senses, _) = waiting(&mut door).await;
    assert_eq!(senses.len(), INPUTS_MAX, "bounded");
    assert_eq!(senses[..2], [DoorSense::Tampered(true), DoorSense::ExitRequested], "the only ones of their kinds");
    assert_eq!(senses.last(), Some(&DoorSense::Ajar(true)));
}

#[tokio::test]
async fn whoever_attaches_later_is_told_how_things_are() {
    let yard = Yard::new().await;
    let mut other = yard.attach(1);
    yard.send("ajar 2 0\nlid 2 0\najar 2 1\nexit 2");
    yard.all_is_read(&mut other, 1).await;
    assert_eq!(waiting(&mut yard.attach(2)).await.0, [DoorSense::Ajar(true), DoorSense::Tampered(false)]);
    let mut first = yard.attach(2);
    yard.send("ajar 2 0");
    yard.all_is_read(&mut other, 1).await;
    let mut second = yard.attach(2);
    assert_eq!(waiting(&mut second).await.0, [DoorSense::Ajar(false), DoorSense::Tampered(false)], "it took the place");
    while first.next().await.is_ok() {}
    yard.port.set_link(false);
    let lost = async {
        while !matches!(second.next().await.unwrap(), DeviceEvent::Status(status) if status.is_up == Some(false)) {}
    };
    tokio::time::timeout(Duration::from_secs(10), lost).await.unwrap();
    drop((first, second));
    assert_eq!(waiting(&mut yard.attach(2)).await.0, [], "without a link nobody knows");
}
