//! End to end: a QR text goes in at one end of the bus, a command arrives at a Shelly's wire at the other, and what is
//! between them (rule, journal, spent pass) happens in that order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_access::controller::{CREDENTIAL_AGE_MAX, DECISIONS_MAX, DoorUnit, Doors, SEEN_MAX, SharedAccess};
use godvision_access::credential::Directory;
use godvision_access::io::spent_log::{SharedSpentLog, SpentLog};
use godvision_access::pass::{self, PassClaims, PassId, PassKey, PassVerifier, Revocation, Revoked, Uses};
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::fake_shelly::{FakeShelly, Spoil};
use godvision_access::relay::simulated::SimulatedRelay;
use godvision_access::spent::{MemorySpent, Spend, Spending, SpentStore};
use godvision_access::{AccessControl, Error, RuleSet};
use godvision_core::bus::{
    Component, Context, Control, Fault, Host, HostOptions, Kind, ParamError, Params, PortSpec, Registry, Target, Unit,
    UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{Contact, Relay};
use godvision_core::journal::{Entry, Journal, JournalError, Kept, MemoryJournal, Query};
use godvision_core::signal::door::{Credential, DoorState, Key, Reason, Verdict};
use godvision_core::signal::seen::{Finding, Region, Sighting};
use godvision_core::site::document::SiteDocument;
use godvision_core::{Clock, ManualClock, MonoTime, Name, Secret, Stamp, SystemClock, WallTime};
use tokio::sync::{Semaphore, mpsc};

const SITE: &str = "home";
const DOOR: &str = "yard/door";
const RELAY_PASSWORD: &str = "relay-canary-5f21";
const PIN: &str = "73914682";
const CARD: &str = "04CA9A2B77E1";

const RULES: &str = r#"
    version = 1
    [groups]
    staff = ["ada", "bob"]
    [[rule]]
    name = "staff-by-anything"
    permit = ["group:staff"]
    doors = ["yard/door"]
    [[rule]]
    name = "operators"
    permit = ["admin"]
    doors = ["any"]
    by = ["manual"]
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn access() -> AccessControl {
    let mut directory = Directory::new(*b"a salt of a test");
    for person in ["ada", "bob", "eve"] {
        directory.add_person(name(person)).unwrap();
    }
    directory.add_key(&name("ada"), &Key::Pin(PIN.into())).unwrap();
    directory.add_key(&name("bob"), &Key::Card(CARD.into())).unwrap();
    AccessControl {
        directory,
        passes: PassVerifier::new(name(SITE)).with(PassKey::insecure_demo().public()),
        rules: RuleSet::parse(RULES).unwrap().compile().unwrap(),
    }
}

fn pass(person: &str, number: u8, until_s: i64, uses: Uses) -> Secret {
    let claims = PassClaims {
        id: PassId([0, 0, 0, 0, 0, number]),
        person: Some(name(person)),
        doors: pass::Doors::One(name(DOOR)),
        not_before: WallTime::from_unix_seconds(1_577_836_800),
        not_after: WallTime::from_unix_seconds(until_s),
        uses,
    };
    PassKey::insecure_demo().sign(&name(SITE), &claims).unwrap()
}

fn valid_pass() -> Secret {
    pass("ada", 1, 4_102_444_800, Uses::Any)
}

/// A camera that sees what the test shows it.
struct Camera {
    spec: UnitSpec,
    shown: Arc<Mutex<Option<mpsc::Receiver<Sighting>>>>,
}

struct CameraComponent(Option<mpsc::Receiver<Sighting>>);

impl Unit for Camera {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(CameraComponent(self.shown.lock().unwrap().take())))
    }
}

impl Component for CameraComponent {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let output = cx.output("sightings")?;
            let mut stopping = cx.stopping();
            let Some(shown) = self.0.as_mut() else { return Ok(()) };
            loop {
                tokio::select! {
                    () = stopping.wait() => return Ok(()),
                    Some(sighting) = shown.recv() => { output.send(sighting); }
                }
            }
        })
    }
}

type Witness = Box<dyn Fn(&str) + Send + Sync>;

/// Keeps what it is told, in memory; can be held up, and can fail.
struct TestJournal {
    kept: MemoryJournal,
    gate: Semaphore,
    fails: Mutex<bool>,
    /// Looks at the world at the moment when an entry has become durable.
    witness: Mutex<Option<Witness>>,
}

impl TestJournal {
    fn new() -> Self {
        Self {
            kept: MemoryJournal::default(),
            gate: Semaphore::new(1 << 20),
            fails: Mutex::new(false),
            witness: Mutex::new(None),
        }
    }

    fn entries(&self) -> Vec<Kept> {
        let mut all = self.kept.read(&Query { limit: 1000, ..Query::default() });
        all.reverse();
        all
    }

    fn codes(&self) -> Vec<String> {
        self.entries().into_iter().map(|entry| entry.code).collect()
    }
}

impl Journal for TestJournal {
    fn append(&self, entry: Entry) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(async move {
            if entry.code.starts_with("access.") {
                self.gate.acquire().await.unwrap().forget();
                if *self.fails.lock().unwrap() {
                    return Err(JournalError::Store { detail: "told to fail".into() });
                }
            }
            let code = entry.code.clone();
            let id = self.kept.append(entry).await?;
            if let Some(witness) = &*self.witness.lock().unwrap() {
                witness(&code);
            }
            Ok(id)
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Vec<Kept>, JournalError>> {
        self.kept.query(query)
    }
}

struct House {
    host: Host,
    doors: Doors,
    access: SharedAccess,
    journal: Arc<TestJournal>,
    device: Arc<FakeShelly>,
    shows: mpsc::Sender<Sighting>,
    clock: Arc<dyn Clock>,
}

impl House {
    async fn new() -> Self {
        Self::with(Arc::new(MemorySpent::default()), SystemClock::shared(), "").await
    }

    async fn with(spent: Arc<dyn SpentStore>, clock: Arc<dyn Clock>, more_params: &str) -> Self {
        let device = FakeShelly::start(1, Some(RELAY_PASSWORD.into()), Arc::clone(&clock)).await.unwrap();
        let url = format!("shelly://admin:{RELAY_PASSWORD}@{}/?timeout_ms=300", device.address());
        let relays = RelayRegistry::standard(Arc::clone(&clock));
        Self::with_relay(spent, clock, relays, device, &url, more_params).await
    }

    async fn with_relay(
        spent: Arc<dyn SpentStore>,
        clock: Arc<dyn Clock>,
        relays: RelayRegistry,
        device: FakeShelly,
        url: &str,
        more_params: &str,
    ) -> Self {
        let access = SharedAccess::new(access());
        let unit = DoorUnit::new(access.clone(), spent, relays);
        let doors = unit.doors();
        let (shows, shown) = mpsc::channel(16);
        let spec = UnitSpec {
            name: "camera",
            about: "sees what it is shown",
            kind: Kind::Generator,
            inputs: vec![],
            outputs: vec![PortSpec::output::<Sighting>("sightings")],
            params: vec![],
        };
        let camera = Camera { spec, shown: Arc::new(Mutex::new(Some(shown))) };
        let journal = Arc::new(TestJournal::new());
        let options = HostOptions { journal: journal.clone(), clock: Arc::clone(&clock), ..HostOptions::default() };
        let host = Host::new(options, Registry::new().with(unit).with(camera));
        let document = format!(
            r#"
            version = 1
            site = "test"
            [[component]]
            name = "yard/camera"
            unit = "camera"
            [[component]]
            name = "{DOOR}"
            unit = "door"
            params = {{ relay = "{url}", pulse = 0.3, hold_off = 5.0{more_params} }}
            [[link]]
            from = "yard/camera#sightings"
            to = "{DOOR}#sightings"
            "#
        );
        host.apply(&SiteDocument::parse(&document).unwrap()).await.unwrap();
        let house = Self { host, doors, access, journal, device: Arc::new(device), shows, clock };
        house.until(|house| house.state() == Some(DoorState::Locked)).await;
        house
    }

    fn state(&self) -> Option<DoorState> {
        self.doors.get(&name(DOOR)).and_then(|view| view.last).map(|event| event.state)
    }

    /// Waits until something is so; fails after a while.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain; journal: {:#?}", self.journal.entries());
    }

    async fn show(&self, text: &Secret) {
        self.show_at(text, self.clock.now()).await;
    }

    async fn see(&self, finding: Finding) {
        let (source, region, at) = (name("yard/camera"), Region::WHOLE, self.clock.now());
        let sighting = Sighting { source, at, sequence: 1, region, finding, score: 1000, crop: None };
        self.shows.send(sighting).await.unwrap();
    }

    async fn show_at(&self, text: &Secret, at: Stamp) {
        let finding = Finding::Qr(text.clone());
        let (source, region) = (name("yard/camera"), Region::WHOLE);
        let sighting = Sighting { source, at, sequence: 1, region, finding, score: 1000, crop: None };
        self.shows.send(sighting).await.unwrap();
    }

    async fn decisions(&self, count: usize) -> Vec<(Verdict, Reason)> {
        self.until(|house| house.doors.get(&name(DOOR)).unwrap().decisions.len() >= count).await;
        let mut decisions = self.doors.get(&name(DOOR)).unwrap().decisions;
        decisions.reverse();
        decisions.iter().map(|decision| (decision.verdict, decision.reason)).collect()
    }

    fn moves(&self) -> usize {
        moves(&self.device)
    }
}

fn moves(device: &FakeShelly) -> usize {
    device.calls().iter().filter(|call| call.method == "Switch.Set").count()
}

#[tokio::test]
async fn the_journal_has_it_before_the_relay_hears_of_it() {
    let house = House::new().await;
    let moves_when_kept = Arc::new(Mutex::new(Vec::new()));
    let (device, seen) = (Arc::clone(&house.device), Arc::clone(&moves_when_kept));
    *house.journal.witness.lock().unwrap() = Some(Box::new(move |code| {
        if code == "access.admitted" {
            seen.lock().unwrap().push(moves(&device));
        }
    }));
    // The journal is held up: however long it takes, nothing moves.
    house.journal.gate.forget_permits(1 << 20);
    house.show(&valid_pass()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(house.moves(), 0, "the relay moved before the journal had the decision");
    house.journal.gate.add_permits(1);
    house.until(|house| house.device.contact(0) == Contact::On).await;
    assert_eq!(*moves_when_kept.lock().unwrap(), [0]);

    let call = house.device.calls().into_iter().find(|call| call.method == "Switch.Set").unwrap();
    assert_eq!(call.params, serde_json::json!({"id": 0, "on": true, "toggle_after": 0.3}), "timed on the device");
    house.until(|house| house.state() == Some(DoorState::Locked)).await;
    assert_eq!(house.device.contact(0), Contact::Off);
    assert_eq!(house.moves(), 1, "nobody but the device ended the pulse");

    let entries = house.journal.entries();
    let admitted = entries.iter().find(|entry| entry.code == "access.admitted").unwrap();
    assert_eq!(admitted.text, "ada admitted at yard/door by qr: a rule permits it");
    let field = |name: &str| admitted.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(field("rule"), Some("staff-by-anything"));
    assert_eq!(field("person"), Some("ada"));
    assert_eq!(field("source"), Some("yard/camera"));
    assert_eq!(field("pass"), Some("0/000000000001"));
    let codes = house.journal.codes();
    let place = |code: &str| codes.iter().position(|it| it == code).unwrap_or_else(|| panic!("{code} in {codes:?}"));
    assert!(place("access.admitted") < place("door.unlocked"));
    house.host.shutdown().await;
}

#[tokio::test]
async fn what_is_not_a_good_pass_is_refused_with_its_reason() {
    let house = House::new().await;
    let cases = [
        (pass("bob", 2, 1_609_459_200, Uses::Times(1)), Reason::Expired, "bob refused"),
        ("https://example.org/".into(), Reason::BadPass, "somebody unknown refused"),
        (pass("eve", 3, 4_102_444_800, Uses::Any), Reason::NoRule, "eve refused"),
        (pass("mallory", 4, 4_102_444_800, Uses::Any), Reason::UnknownCredential, "somebody unknown refused"),
        (
            PassKey::insecure_demo()
                .sign(
                    &name(SITE),
                    &PassClaims {
                        id: PassId([5; 6]),
                        person: Some(name("ada")),
                        doors: pass::Doors::One(name("yard/gate")),
                        not_before: WallTime::from_unix_seconds(1_577_836_800),
                        not_after: WallTime::from_unix_seconds(4_102_444_800),
                        uses: Uses::Any,
                    },
                )
                .unwrap(),
            Reason::WrongDoor,
            "ada refused",
        ),
    ];
    for (number, (text, reason, words)) in cases.iter().enumerate() {
        house.show(text).await;
        assert_eq!(house.decisions(number + 1).await[number], (Verdict::Refuse, *reason));
        let entry = house.journal.entries().pop().unwrap();
        assert_eq!(entry.code, "access.refused");
        assert!(entry.text.starts_with(words), "{}", entry.text);
        assert!(entry.fields.contains(&("reason".into(), reason.code().into())));
    }
    assert_eq!(house.moves(), 0);
    house.host.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_journalled_is_refused() {
    let house = House::new().await;
    *house.journal.fails.lock().unwrap() = true;
    house.show(&valid_pass()).await;
    assert_eq!(house.decisions(1).await, [(Verdict::Refuse, Reason::Fault)]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(house.moves(), 0);
    *house.journal.fails.lock().unwrap() = false;
    let decision = house.doors.open(&name(DOOR), "admin", None, house.clock.now()).await.unwrap();
    assert_eq!(decision.verdict, Verdict::Admit, "the door itself is well");
    house.host.shutdown().await;
}

#[tokio::test]
async fn the_same_code_in_sight_is_decided_once_until_it_was_away() {
    let clock =
        ManualClock::at(Stamp::new(MonoTime::from_millis(3_600_000), WallTime::from_unix_seconds(1_800_000_000)));
    let house = House::with(Arc::new(MemorySpent::default()), Arc::new(clock.clone()), "").await;
    let refused: Secret = "no pass".into();
    for _ in 0..20 {
        house.show(&refused).await;
        clock.advance(Duration::from_secs(1));
        // Another code between shows that the queue was worked off.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.decisions(1).await.len(), 1);
    house.show(&"another".into()).await;
    assert_eq!(house.decisions(2).await.len(), 2);
    clock.advance(Duration::from_secs(6));
    house.show(&refused).await;
    assert_eq!(house.decisions(3).await.len(), 3);
    // More codes than are remembered: the first is forgotten, and decided again.
    for number in 0..SEEN_MAX {
        house.show(&format!("code {number}").into()).await;
        house.until(|house| house.journal.codes().len() == 4 + number + 1).await;
    }
    house.show(&refused).await;
    house.until(|house| house.journal.codes().len() == 4 + SEEN_MAX + 1).await;
    assert!(house.doors.get(&name(DOOR)).unwrap().decisions.len() <= DECISIONS_MAX);
    house.host.shutdown().await;
}

#[tokio::test]
async fn a_plate_that_stands_there_completes_a_pass_shown_later() {
    let clock = Arc::new(ManualClock::at(Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(1_795_255_200))));
    let house = House::with(Arc::new(MemorySpent::default()), clock.clone(), "").await;
    let rules = "version = 1\n[[rule]]\nname = \"cars\"\npermit = [\"ada\"]\ndoors = [\"any\"]\nby = [\"plate+qr\"]\n";
    let mut access = access();
    access.directory.add_key(&name("ada"), &Key::Plate("A123BC77".into())).unwrap();
    access.rules = RuleSet::parse(rules).unwrap().compile().unwrap();
    house.access.replace(access);
    let plate = || Finding::Plate("A123BC77".into());
    house.see(plate()).await;
    assert_eq!(house.decisions(1).await, [(Verdict::Refuse, Reason::AwaitsSecond)]);
    // The car stands there; the wait ends, and nobody decides about the same plate again and again.
    for _ in 0..30 {
        clock.advance(Duration::from_secs(1));
        house.see(plate()).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(house.decisions(1).await.len(), 1);
    house.show(&valid_pass()).await;
    assert_eq!(house.decisions(2).await[1], (Verdict::Refuse, Reason::AwaitsSecond), "a pass alone is not enough");
    house.see(plate()).await;
    assert_eq!(house.decisions(3).await[2], (Verdict::Admit, Reason::Permitted));
}

#[tokio::test]
async fn the_last_decisions_are_remembered() {
    let house = House::new().await;
    for number in 0..=DECISIONS_MAX {
        let operator = format!("visitor-{number}");
        house.doors.open(&name(DOOR), &operator, None, house.clock.now()).await.unwrap();
    }
    let decisions = house.doors.get(&name(DOOR)).unwrap().decisions;
    assert_eq!(decisions.len(), DECISIONS_MAX);
    assert_eq!(decisions[0].user, Some(name(&format!("visitor-{DECISIONS_MAX}"))), "newest first");
    house.host.shutdown().await;
}

/// Counts what reaches the device by the time a use is kept.
struct WatchedSpent {
    inner: SharedSpentLog,
    device: Mutex<Option<Arc<FakeShelly>>>,
    moves_when_spent: AtomicUsize,
    fails: Mutex<bool>,
}

impl SpentStore for WatchedSpent {
    fn uses(&self, pass: Spending) -> BoxFuture<'_, Result<u32, Error>> {
        self.inner.uses(pass)
    }

    fn spend(&self, pass: Spending, uses_max: u32) -> BoxFuture<'_, Result<Spend, Error>> {
        Box::pin(async move {
            if *self.fails.lock().unwrap() {
                return Err(Error::SpentFull { limit: 0 });
            }
            let spend = self.inner.spend(pass, uses_max).await;
            let moves = self.device.lock().unwrap().as_ref().map_or(0, |device| moves(device));
            self.moves_when_spent.fetch_add(moves, Ordering::SeqCst);
            spend
        })
    }
}

#[tokio::test]
async fn a_single_use_is_on_the_disk_before_the_relay_moves_and_outlives_the_program() {
    let file = std::env::temp_dir().join(format!("godvision-door-{}.log", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let single = pass("ada", 9, 4_102_444_800, Uses::Times(1));
    {
        let spent = Arc::new(WatchedSpent {
            inner: SpentLog::open(&file).unwrap().into(),
            device: Mutex::new(None),
            moves_when_spent: AtomicUsize::new(0),
            fails: Mutex::new(true),
        });
        let house = House::with(spent.clone(), SystemClock::shared(), "").await;
        *spent.device.lock().unwrap() = Some(Arc::clone(&house.device));
        house.show(&single).await;
        assert_eq!(house.decisions(1).await, [(Verdict::Refuse, Reason::Fault)], "a store that fails opens nothing");
        assert_eq!(
            house.journal.codes().iter().filter(|code| code.starts_with("access.")).count(),
            2,
            "taken back in the journal"
        );
        assert_eq!(house.moves(), 0);

        *spent.fails.lock().unwrap() = false;
        let present =
            |house: &House| Credential { source: name("keypad"), key: Key::Qr(single.clone()), at: house.clock.now() };
        let decision = house.doors.present(&name(DOOR), present(&house)).await.unwrap();
        assert_eq!(decision.verdict, Verdict::Admit);
        house.until(|house| house.device.contact(0) == Contact::On).await;
        assert_eq!(spent.moves_when_spent.load(Ordering::SeqCst), 0, "spent before anything moved");
        let decision = house.doors.present(&name(DOOR), present(&house)).await.unwrap();
        assert_eq!((decision.verdict, decision.reason), (Verdict::Refuse, Reason::Spent));
        house.host.shutdown().await;
        *spent.device.lock().unwrap() = None;
    }
    let house =
        House::with(Arc::new(SharedSpentLog::from(SpentLog::open(&file).unwrap())), SystemClock::shared(), "").await;
    house.show(&single).await;
    assert_eq!(house.decisions(1).await, [(Verdict::Refuse, Reason::Spent)], "after a restart too");
    assert_eq!(house.moves(), 0);
    house.host.shutdown().await;
    drop(house);
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn an_operators_click_goes_the_same_way() {
    let house = House::new().await;
    let refused = house.doors.open(&name(DOOR), "visitor", None, house.clock.now()).await.unwrap();
    assert_eq!((refused.verdict, refused.reason, refused.credential), (Verdict::Refuse, Reason::NoRule, "manual"));
    assert_eq!(house.moves(), 0);
    let admitted = house.doors.open(&name(DOOR), "admin", None, house.clock.now()).await.unwrap();
    assert_eq!(
        (admitted.verdict, admitted.user, admitted.rule),
        (Verdict::Admit, Some(name("admin")), Some(name("operators")))
    );
    house.until(|house| house.device.contact(0) == Contact::On).await;
    assert!(matches!(
        house.doors.open(&name("yard/gate"), "admin", None, house.clock.now()).await,
        Err(Error::DoorStopped)
    ));
    house.host.shutdown().await;
    assert!(matches!(house.doors.open(&name(DOOR), "admin", None, house.clock.now()).await, Err(Error::DoorStopped)));
    assert!(house.doors.all().is_empty());
}

#[tokio::test]
async fn a_credential_that_waited_too_long_opens_nothing() {
    let house = House::new().await;
    let now = house.clock.now();
    let old = Stamp::new(now.mono.saturating_sub(CREDENTIAL_AGE_MAX + Duration::from_millis(1)), now.wall);
    house.show_at(&valid_pass(), old).await;
    house.until(|house| house.journal.codes().contains(&"access.stale".to_owned())).await;
    assert_eq!(house.moves(), 0);
    house.host.shutdown().await;
}

#[tokio::test]
async fn a_changed_policy_counts_from_the_next_decision() {
    let house = House::new().await;
    let mut changed = access();
    let lost = Revocation { at: house.clock.now().wall, reason: "lost".into(), until: None };
    let pass = Revoked::Pass { key: 0, id: PassId([0, 0, 0, 0, 0, 1]) };
    changed.passes.revocations_mut().add(pass, lost).unwrap();
    house.access.replace(changed);
    house.show(&valid_pass()).await;
    assert_eq!(house.decisions(1).await, [(Verdict::Refuse, Reason::Revoked)]);
    house.host.shutdown().await;
}

#[tokio::test]
async fn a_dead_relay_is_a_fault_that_people_can_read_and_heals() {
    let house = House::new().await;
    house.device.spoil(Spoil::CutLink);
    house.show(&valid_pass()).await;
    assert_eq!(house.decisions(1).await, [(Verdict::Admit, Reason::Permitted)], "the decision stands");
    house.until(|house| house.state() == Some(DoorState::Fault)).await;
    house.until(|house| house.journal.codes().contains(&"door.fault".to_owned())).await;
    assert_eq!(house.moves(), 0);
    house.device.spoil(Spoil::Nothing);
    house.until(|house| house.state() == Some(DoorState::Locked)).await;
    house.host.shutdown().await;
}

#[tokio::test]
async fn a_relay_without_a_timer_is_switched_off_when_the_door_is_stopped() {
    let clock = SystemClock::shared();
    let relay = Arc::new(SimulatedRelay::without_timer(1, Arc::clone(&clock)));
    let opened = Arc::clone(&relay);
    let relays = RelayRegistry::new().with("plain", move |_| Ok(Arc::clone(&opened) as Arc<dyn Relay>));
    let device = FakeShelly::start(1, None, Arc::clone(&clock)).await.unwrap();
    let spent = Arc::new(MemorySpent::default());
    let house = House::with_relay(spent, clock, relays, device, "plain://", "").await;
    house.doors.open(&name(DOOR), "admin", None, house.clock.now()).await.unwrap();
    house.until(|_| relay.contact(0) == Contact::On).await;
    house.host.control(&Target::All, Control::Stop).await.unwrap();
    assert_eq!(relay.contact(0), Contact::Off);
    house.host.shutdown().await;
}

#[tokio::test]
async fn secrets_are_in_no_journal_and_no_print() {
    let house = House::new().await;
    let now = house.clock.now();
    let credentials = [
        Key::Qr(valid_pass()),
        Key::Pin(PIN.into()),
        Key::Pin("7391468".into()),
        Key::Card(CARD.into()),
        Key::Card("04CA9A2B77E2".into()),
        Key::Plate("CANARY1".into()),
    ]
    .map(|key| Credential { source: name("keypad"), key, at: now });
    let mut printed = String::new();
    for credential in credentials {
        printed += &format!("{credential:?}");
        let decision = house.doors.present(&name(DOOR), credential.clone()).await.unwrap();
        printed += &format!("{decision:?} {:?}", house.access.current().decide(&credential, &name(DOOR), now));
    }
    house.device.spoil(Spoil::Garbage);
    house.doors.open(&name(DOOR), "admin", None, house.clock.now()).await.unwrap();
    house.until(|house| house.journal.codes().contains(&"door.fault".to_owned())).await;
    house.device.spoil(Spoil::Nothing);
    house.until(|house| house.state() == Some(DoorState::Locked)).await;
    printed += &format!("{:?} {:?} {:?}", house.access, house.doors.all(), house.host);
    printed += &format!("{:?}", house.journal.entries());
    let mut directory = Directory::new([1; 16]);
    directory.add_person(name("ada")).unwrap();
    let stored = directory.add_key(&name("ada"), &Key::Pin(PIN.into())).unwrap();
    let twice = directory.add_key(&name("ada"), &Key::Pin(PIN.into())).unwrap_err();
    let bad = directory.add_key(&name("ada"), &Key::Card("CANARYCARD".into())).unwrap_err();
    printed += &format!("{stored} {stored:?} {twice} {twice:?} {bad} {bad:?} {directory:?}");
    assert!(printed.contains("ada admitted at yard/door by pin"), "it holds what it should");
    assert!(printed.contains("bob admitted at yard/door by card"));
    for canary in [
        valid_pass().expose(),
        &valid_pass().expose()[4..40],
        PIN,
        "7391468",
        CARD,
        "04CA9A2B77E2",
        "CANARY",
        RELAY_PASSWORD,
    ] {
        assert!(!printed.contains(canary), "{canary} in {printed}");
    }
    house.host.shutdown().await;
}

#[tokio::test]
async fn a_wrong_relay_is_refused_with_the_document() {
    let unit = || {
        DoorUnit::new(
            SharedAccess::new(access()),
            Arc::new(MemorySpent::default()),
            RelayRegistry::standard(SystemClock::shared()),
        )
    };
    let host = Host::new(HostOptions::default(), Registry::new().with(unit()));
    for (params, words) in [
        (r#"relay = "gopher://x""#, "there is no relay driver"),
        (r#"relay = "shelly://root:canary@x/""#, "always admin"),
        (r#"relay = "simulated://?channels=2", channel = 2"#, "there is no channel 2"),
        (r#"channel = 0"#, "relay"),
        (r#"relay = "simulated://", pulse = 0.0"#, "seconds from 0.1"),
    ] {
        let text = format!(
            "version = 1\nsite = \"test\"\n[[component]]\nname = \"door\"\nunit = \"door\"\nparams = {{ {params} }}\n"
        );
        let error = host.apply(&SiteDocument::parse(&text).unwrap()).await.unwrap_err().to_string();
        assert!(error.contains(words), "{params}: {error}");
        assert!(!error.contains("canary"));
    }
}
