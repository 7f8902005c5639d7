//! End to end over the bus: keys pressed at one of eight keypads of one device open the right door, and its lamps tell.

use std::sync::Arc;
use std::time::Duration;

use godvision_access::controller::{DoorUnit, Doors, SharedAccess};
use godvision_access::credential::Directory;
use godvision_access::pass::PassVerifier;
use godvision_access::reader::ReaderRegistry;
use godvision_access::reader::component::ReaderUnit;
use godvision_access::reader::fake::{FakeBridge, FakePort};
use godvision_access::reader::indication::Shown;
use godvision_access::reader::soft::SoftReaders;
use godvision_access::relay::RelayRegistry;
use godvision_access::spent::MemorySpent;
use godvision_access::{AccessControl, RuleSet};
use godvision_core::bus::{Host, HostOptions, Registry};
use godvision_core::journal::{Kept, MemoryJournal, Query};
use godvision_core::signal::door::{Indication, Key, Reason, Verdict};
use godvision_core::site::document::SiteDocument;
use godvision_core::{Clock, Name, SystemClock};

const RULES: &str = r#"
    version = 1
    [[rule]]
    name = "ada-everywhere"
    permit = ["ada"]
    doors = ["any"]
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

struct House {
    host: Host,
    doors: Doors,
    journal: Arc<MemoryJournal>,
    port: FakePort<FakeBridge>,
    soft: SoftReaders,
}

impl House {
    async fn new() -> Self {
        let clock: Arc<dyn Clock> = SystemClock::shared();
        let mut directory = Directory::new(*b"a salt of a test");
        directory.add_person(name("ada")).unwrap();
        directory.add_key(&name("ada"), &Key::Pin("73914682".into())).unwrap();
        directory.add_key(&name("ada"), &Key::Card("7BB26E".into())).unwrap();
        let rules = RuleSet::parse(RULES).unwrap().compile().unwrap();
        let access =
            SharedAccess::new(AccessControl { directory, passes: PassVerifier::new("home".parse().unwrap()), rules });
        let relays = RelayRegistry::standard(Arc::clone(&clock));
        let unit = DoorUnit::new(access, Arc::new(MemorySpent::default()), relays);
        let doors = unit.doors();
        let soft = SoftReaders::default();
        let readers = ReaderUnit::new(ReaderRegistry::standard_with(Arc::clone(&clock), soft.clone()));
        let port = FakePort::start(FakeBridge::new(Arc::clone(&clock))).await.unwrap();
        let journal = Arc::new(MemoryJournal::default());
        let options = HostOptions { journal: journal.clone(), clock, ..HostOptions::default() };
        let host = Host::new(options, Registry::new().with(unit).with(readers));
        let device = format!("keypad+tcp://{}/", port.address());
        let mut document = "version = 1\nsite = \"test\"\n".to_owned();
        let readers = [("yard", device.as_str(), 0), ("hall", device.as_str(), 5), ("page", "soft://page", 0)];
        for (place, device, channel) in readers {
            document += &format!(
                r#"
                [[component]]
                name = "{place}/door"
                unit = "door"
                params = {{ relay = "simulated://{place}", pulse = 1.0 }}
                [[component]]
                name = "{place}/reader"
                unit = "reader"
                params = {{ device = "{device}", channel = {channel} }}
                [[link]]
                from = "{place}/reader#credentials"
                to = "{place}/door#credentials"
                [[link]]
                from = "{place}/door#events"
                to = "{place}/reader#events"
                [[link]]
                from = "{place}/door#decisions"
                to = "{place}/reader#decisions"
                "#
            );
        }
        host.apply(&SiteDocument::parse(&document).unwrap()).await.unwrap();
        let house = Self { host, doors, journal, port, soft };
        house.until(|house| house.shown(0) == Some(Indication::Ready)).await;
        house.until(|house| house.shown(5) == Some(Indication::Ready)).await;
        house
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain; journal: {:#?}", self.entries());
    }

    fn shown(&self, channel: u8) -> Option<Indication> {
        self.port.peer().shown(channel)
    }

    fn entries(&self) -> Vec<Kept> {
        self.journal.read(&Query { limit: 1000, ..Query::default() })
    }

    fn count(&self, code: &str) -> usize {
        self.entries().iter().filter(|entry| entry.code == code).count()
    }

    fn type_pin(&self, channel: u8, pin: &str) {
        for key in pin.chars().chain(['#']) {
            self.port.send(format!("key {channel} {key}\n").as_bytes());
        }
    }

    async fn decisions(&self, door: &str, count: usize) -> Vec<(Verdict, Reason)> {
        self.until(|house| house.doors.get(&name(door)).is_some_and(|view| view.decisions.len() >= count)).await;
        let decisions = self.doors.get(&name(door)).unwrap().decisions;
        decisions.iter().rev().map(|decision| (decision.verdict, decision.reason)).collect()
    }

    fn own_count(&self, component: &str, count: &str) -> Option<u64> {
        let status = self.host.component(&name(component))?;
        status.counts.iter().find(|(known, _)| *known == count).map(|(_, value)| *value)
    }
}

#[tokio::test]
async fn a_pin_opens_its_own_door_and_the_lamps_tell() {
    let house = House::new().await;
    house.type_pin(5, "73914682");
    assert_eq!(house.decisions("hall/door", 1).await, [(Verdict::Admit, Reason::Permitted)]);
    house.until(|house| house.shown(5) == Some(Indication::Open)).await;
    house.until(|house| house.shown(5) == Some(Indication::Ready)).await;
    let shown: Vec<Shown> = house.port.peer().changes(5).iter().map(|(_, shown)| *shown).collect();
    assert_eq!(shown, [Shown::RED, Shown::DARK, Shown::GREEN, Shown::RED], "dark while it is decided");
    assert_eq!(house.doors.get(&name("yard/door")).unwrap().decisions.len(), 0, "the other door heard nothing");
    let entry = house.entries().into_iter().find(|entry| entry.code == "access.admitted").unwrap();
    assert!(entry.fields.contains(&("source".into(), "hall/reader".into())));
    assert_eq!(house.port.connections(), 1, "two readers, one device");
    house.host.shutdown().await;
}

#[tokio::test]
async fn a_wrong_pin_beeps_three_times() {
    let house = House::new().await;
    house.type_pin(0, "1234");
    assert_eq!(house.decisions("yard/door", 1).await, [(Verdict::Refuse, Reason::UnknownCredential)]);
    house.until(|house| house.port.peer().changes(0).len() >= 8).await;
    let changes = house.port.peer().changes(0).to_vec();
    let shown: Vec<Shown> = changes.iter().map(|(_, shown)| *shown).collect();
    let (beep, dark, red) = (Shown::RED_BEEP, Shown::DARK, Shown::RED);
    assert_eq!(shown, [red, dark, beep, dark, beep, dark, beep, dark, red][..shown.len()]);
    let times: Vec<Duration> = changes.windows(2).skip(2).map(|pair| pair[1].0 - pair[0].0).collect();
    for (beep, pause) in [(times[0], times[1]), (times[2], times[3])] {
        // Late by what a busy machine makes it, never early.
        assert!(beep >= Duration::from_millis(95) && pause >= Duration::from_millis(350), "{times:?}");
    }
    house.until(|house| house.shown(0) == Some(Indication::Ready)).await;
    house.host.shutdown().await;
}

#[tokio::test]
async fn undefined_channels_and_garbage_are_counted_and_open_nothing() {
    let house = House::new().await;
    for channel in [1, 2, 7] {
        house.type_pin(channel, "73914682");
    }
    house.port.send(b"open the door\n\xff\xff\xff\n");
    house.type_pin(0, "73914682");
    assert_eq!(house.decisions("yard/door", 1).await, [(Verdict::Admit, Reason::Permitted)]);
    house.until(|house| house.own_count("hall/reader", "undefined_channels") == Some(3)).await;
    assert_eq!(house.own_count("yard/reader", "garbage"), Some(2));
    assert_eq!(house.own_count("yard/reader", "presented"), Some(1));
    assert_eq!(house.own_count("yard/reader", "connected"), Some(1));
    assert_eq!(house.count("access.admitted"), 1);
    house.host.shutdown().await;
}

#[tokio::test]
async fn a_lost_link_is_journalled_once_and_heals_with_its_lamps() {
    let house = House::new().await;
    house.port.set_link(false);
    house.until(|house| house.count("reader.lost") == 1).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    house.port.set_link(true);
    house.until(|house| house.count("reader.back") == 1).await;
    assert_eq!(house.count("reader.lost"), 1, "once, however often it was tried");
    assert_eq!(house.own_count("hall/reader", "link_losses"), Some(1));
    house.until(|house| house.shown(0) == Some(Indication::Ready)).await;
    house.type_pin(0, "73914682");
    assert_eq!(house.decisions("yard/door", 1).await, [(Verdict::Admit, Reason::Permitted)]);
    house.host.shutdown().await;
}

#[tokio::test]
async fn what_a_page_presents_takes_the_same_way() {
    let house = House::new().await;
    let page = house.soft.handle("page").unwrap();
    house.until(|_| page.shown() == Indication::Ready).await;
    page.present(Key::Pin("73914682".into())).unwrap();
    assert_eq!(house.decisions("page/door", 1).await, [(Verdict::Admit, Reason::Permitted)]);
    house.until(|_| page.shown() == Indication::Open).await;
    house.until(|_| page.shown() == Indication::Ready).await;
    house.host.shutdown().await;
}

#[tokio::test]
async fn a_channel_belongs_to_one_component_and_must_exist() {
    let house = House::new().await;
    let document = |channel: u8| {
        let device = format!("keypad+tcp://{}/?channels=2", house.port.address());
        let text = format!(
            "version = 1\nsite = \"test\"\n[[component]]\nname = \"a\"\nunit = \"reader\"\nparams = {{ device = \"{device}\", channel = {channel} }}\n"
        );
        SiteDocument::parse(&text).unwrap()
    };
    assert!(house.host.check(&document(1)).is_ok());
    let refused = house.host.check(&document(2));
    let refused = refused.err().map(|errors| errors.to_string()).unwrap_or_default();
    assert!(refused.contains("the device has 2 channels; they count from 0"), "{refused}");
    house.host.shutdown().await;
}
