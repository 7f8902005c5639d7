//! Two doors of a mantrap and a gate as components on one host: what happens at one is known at the other, what an
//! operator commands is in the journal first and on the disk before it is acknowledged, and a restart undoes none of it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_access::controller::{DoorUnit, Doors, PremisesCommand, SharedAccess, SharedPremises};
use godvision_access::credential::Directory;
use godvision_access::io::premises_log::{PremisesLog, SharedPremisesLog};
use godvision_access::pass::PassVerifier;
use godvision_access::premises::{DoorPlan, Mode, Passback, Plan, Premises};
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::simulated::{SimulatedRelay, Trouble};
use godvision_access::spent::MemorySpent;
use godvision_access::{AccessControl, Error, RuleSet};
use godvision_core::bus::{Host, HostOptions, Registry};
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{Contact, Relay};
use godvision_core::journal::{Entry, Journal, JournalError, Kept, MemoryJournal, Query};
use godvision_core::signal::door::{AlarmKind, Credential, DoorSense, DoorState, Indication, Key, Reason, Verdict};
use godvision_core::site::document::SiteDocument;
use godvision_core::{Clock, Name, Stamp, SystemClock};

const DOORS: [&str; 3] = ["outer", "inner", "gate"];
const PIN: &str = "73914682";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn rules() -> RuleSet {
    let mut rules = RuleSet::parse(
        r#"
        version = 1
        [groups]
        guards = ["gus"]
        [[rule]]
        name = "people"
        permit = ["ada", "bob", "gus"]
        doors = ["any"]
        [[rule]]
        name = "operators"
        permit = ["admin"]
        doors = ["any"]
        by = ["manual"]
        "#,
    )
    .unwrap();
    let layout = &mut rules.layout;
    layout.interlocks.insert(name("mantrap"), ["outer", "inner"].map(name).into());
    let area = godvision_access::premises::AreaPlan { passback: Passback::Hard, ..Default::default() };
    layout.areas.insert(name("yard"), area);
    let guards = Some(name("guards"));
    let held_after = Duration::from_millis(300);
    let gate = DoorPlan { into: Some(name("yard")), lockdown_override: guards, held_after, ..DoorPlan::default() };
    layout.doors.insert(name("gate"), gate);
    rules
}

fn access() -> AccessControl {
    let mut directory = Directory::new(*b"a salt of a test");
    for (person, card) in [("ada", "A1"), ("bob", "B2"), ("gus", "C3")] {
        directory.add_person(name(person)).unwrap();
        directory.add_key(&name(person), &Key::Card(card.into())).unwrap();
    }
    directory.add_key(&name("ada"), &Key::Pin(PIN.into())).unwrap();
    AccessControl { directory, passes: PassVerifier::new(name("home")), rules: rules().compile().unwrap() }
}

#[derive(Default)]
struct TestJournal {
    kept: MemoryJournal,
    fails: Mutex<bool>,
}

impl Journal for TestJournal {
    fn append(&self, entry: Entry) -> BoxFuture<'_, Result<u64, JournalError>> {
        if *self.fails.lock().unwrap() {
            return Box::pin(async { Err(JournalError::Store { detail: "told to fail".into() }) });
        }
        self.kept.append(entry)
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Vec<Kept>, JournalError>> {
        self.kept.query(query)
    }
}

struct Site {
    host: Host,
    doors: Doors,
    journal: Arc<TestJournal>,
    relay: Arc<SimulatedRelay>,
}

impl Site {
    async fn start(folder: &Path) -> Self {
        let clock = SystemClock::shared();
        let relay = Arc::new(SimulatedRelay::new(3, Arc::clone(&clock)));
        let device: Arc<dyn Relay> = relay.clone();
        let relays = RelayRegistry::new().with("shared", move |_| Ok(Arc::clone(&device)));
        let log = PremisesLog::open(&folder.join("premises")).unwrap();
        let premises = Premises::restore(Plan::of(&rules()).unwrap(), [], log.ledger(), clock.now());
        let premises = SharedPremises::new(premises, SharedPremisesLog::from(log));
        let spent = Arc::new(MemorySpent::default());
        let unit = DoorUnit::new(SharedAccess::new(access()), spent, relays).on(premises);
        let doors = unit.doors();
        let journal = Arc::new(TestJournal::default());
        let options = HostOptions { journal: journal.clone(), clock, ..HostOptions::default() };
        let host = Host::new(options, Registry::new().with(unit));
        let mut document = "version = 1\nsite = \"test\"\n".to_owned();
        for (channel, door) in DOORS.iter().enumerate() {
            document += &format!(
                "[[component]]\nname = \"{door}\"\nunit = \"door\"\nparams = {{ relay = \"shared://x\", channel = {channel}, pulse = 0.4 }}\n"
            );
        }
        host.apply(&SiteDocument::parse(&document).unwrap()).await.unwrap();
        let site = Self { host, doors, journal, relay };
        for door in DOORS {
            site.until(|site| matches!(site.state(door), Some(DoorState::Locked | DoorState::LockedDown))).await;
        }
        site
    }

    async fn stop(self) {
        self.host.shutdown().await;
    }

    fn state(&self, door: &str) -> Option<DoorState> {
        self.doors.get(&name(door)).and_then(|view| view.last).map(|event| event.state)
    }

    fn indication(&self, door: &str) -> Option<Indication> {
        self.doors.get(&name(door)).and_then(|view| view.last).map(|event| event.indication)
    }

    fn is_on(&self, door: &str) -> bool {
        let channel = DOORS.iter().position(|it| *it == door).unwrap();
        self.relay.contact(u8::try_from(channel).unwrap()) == Contact::On
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

    fn entries(&self) -> Vec<Kept> {
        let mut all = self.journal.kept.read(&Query { limit: 1000, ..Query::default() });
        all.reverse();
        all
    }

    fn has_entry(&self, code: &str, holds: &str) -> bool {
        self.entries().iter().any(|entry| entry.code == code && format!("{entry:?}").contains(holds))
    }

    async fn present(&self, door: &str, key: Key) -> (Verdict, Reason) {
        let credential = Credential { source: name(&format!("{door}/reader")), key, at: self.now() };
        let decision = self.doors.present(&name(door), credential).await.unwrap();
        (decision.verdict, decision.reason)
    }

    async fn card(&self, door: &str, card: &str) -> (Verdict, Reason) {
        self.present(door, Key::Card(card.into())).await
    }

    fn sense(&self, door: &str, sense: DoorSense) {
        self.doors.sense(&name(door), sense).unwrap();
    }

    async fn command(&self, command: PremisesCommand) {
        self.doors.premises().command(command, "admin", self.journal.clone(), self.now()).await.unwrap();
    }

    fn now(&self) -> Stamp {
        SystemClock.now()
    }
}

const ADMITTED: (Verdict, Reason) = (Verdict::Admit, Reason::Permitted);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interlock_holds_between_two_components() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    for _ in 0..6 {
        let (outer, inner) = tokio::join!(site.card("outer", "A1"), site.card("inner", "B2"));
        let admitted = [outer, inner].iter().filter(|it| **it == ADMITTED).count();
        assert_eq!(admitted, 1, "{outer:?} {inner:?}");
        site.until(|site| {
            assert!(!(site.is_on("outer") && site.is_on("inner")), "both are open");
            ["outer", "inner"].iter().all(|door| site.state(door) == Some(DoorState::Locked) && !site.is_on(door))
                && site
                    .doors
                    .premises()
                    .read(|premises| ["outer", "inner"].iter().all(|door| premises.mode(&name(door)) == Mode::Normal))
        })
        .await;
        // The one that was admitted has been told to open by now, or the next turn would find it still granted.
        site.until(|site| site.entries().iter().filter(|it| it.code == "door.unlocked").count() > 0).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        site.until(|site| DOORS.iter().all(|door| site.state(door) == Some(DoorState::Locked))).await;
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lockdown_is_journalled_then_in_force_then_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    let lockdown = |is_on| PremisesCommand::Lockdown { doors: vec![name("gate")], is_on };
    site.command(lockdown(true)).await;
    *site.journal.fails.lock().unwrap() = true;
    let refused = site.doors.premises().command(lockdown(false), "admin", site.journal.clone(), site.now()).await;
    assert!(refused.is_err(), "what cannot be journalled is not done");
    assert_eq!(site.doors.get(&name("gate")).unwrap().mode, Mode::LockedDown);
    *site.journal.fails.lock().unwrap() = false;
    site.until(|site| site.state("gate") == Some(DoorState::LockedDown)).await;
    assert!(site.has_entry("premises.lockdown", "admin turned the lockdown of gate on"));
    assert_eq!(site.card("gate", "A1").await, (Verdict::Refuse, Reason::LockedDown));
    assert_eq!(site.card("outer", "A1").await, ADMITTED, "another door");
    site.stop().await;

    let site = Site::start(folder.path()).await;
    assert_eq!(site.state("gate"), Some(DoorState::LockedDown), "after a restart");
    assert_eq!(site.card("gate", "A1").await, (Verdict::Refuse, Reason::LockedDown));
    assert_eq!(site.card("gate", "C3").await, ADMITTED, "a guard");
    site.command(lockdown(false)).await;
    site.until(|site| site.state("gate") != Some(DoorState::LockedDown)).await;
    site.stop().await;
}

/// A full disk must neither keep a building shut in a fire nor a door open that must be locked down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_saves_lives_does_not_wait_for_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    *site.journal.fails.lock().unwrap() = true;
    let lockdown = PremisesCommand::Lockdown { doors: vec![name("gate")], is_on: true };
    for command in [lockdown, PremisesCommand::Emergency { is_on: true }] {
        let told = site.doors.premises().command(command, "admin", site.journal.clone(), site.now()).await;
        assert!(matches!(told, Err(Error::NotJournalled { .. })), "it is said: {told:?}");
    }
    site.until(|site| site.is_on("outer") && site.is_on("gate")).await;
    *site.journal.fails.lock().unwrap() = false;
    // Its line comes when the journal takes lines again, and those of the doors too.
    site.until(|site| {
        site.has_entry("premises.emergency", "on")
            && site.has_entry("premises.lockdown", "gate")
            && DOORS.iter().all(|door| site.has_entry("door.alarm", door) && site.has_entry("door.free", door))
    })
    .await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_frees_every_door_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    site.command(PremisesCommand::Emergency { is_on: true }).await;
    site.until(|site| DOORS.iter().all(|door| site.state(door) == Some(DoorState::Free) && site.is_on(door))).await;
    assert!(site.doors.get(&name("gate")).unwrap().alarms.contains(&AlarmKind::Emergency));
    site.command(PremisesCommand::Emergency { is_on: false }).await;
    site.until(|site| DOORS.iter().all(|door| site.state(door) == Some(DoorState::Locked) && !site.is_on(door))).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_went_through_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    assert_eq!(site.card("gate", "A1").await, ADMITTED);
    site.until(|site| site.has_entry("access.passed", "ada")).await;
    assert_eq!(site.card("gate", "A1").await, (Verdict::Refuse, Reason::PassedBack));
    site.stop().await;
    let site = Site::start(folder.path()).await;
    assert_eq!(site.card("gate", "A1").await, (Verdict::Refuse, Reason::PassedBack), "the log remembers");
    site.command(PremisesCommand::Forgive { person: name("ada") }).await;
    assert_eq!(site.card("gate", "A1").await, ADMITTED);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_button_opens_and_is_journalled() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    site.sense("outer", DoorSense::ExitRequested);
    site.until(|site| site.is_on("outer")).await;
    site.until(|site| site.has_entry("door.exit", "outer")).await;
    site.sense("inner", DoorSense::ExitRequested);
    site.until(|site| site.has_entry("door.exit_refused", "inner")).await;
    assert!(!site.is_on("inner"), "the interlock");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_held_open_alarms_and_a_forced_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    site.sense("gate", DoorSense::Ajar(false));
    assert_eq!(site.card("gate", "A1").await, ADMITTED);
    site.until(|site| site.is_on("gate")).await;
    site.sense("gate", DoorSense::Ajar(true));
    site.until(|site| site.doors.get(&name("gate")).unwrap().alarms == [AlarmKind::Held]).await;
    site.until(|site| site.indication("gate") == Some(Indication::Held)).await;
    site.sense("gate", DoorSense::Ajar(false));
    site.until(|site| site.indication("gate") == Some(Indication::Ready)).await;
    site.until(|site| site.has_entry("door.alarm_over", "held")).await;
    site.sense("gate", DoorSense::Ajar(true));
    site.until(|site| site.has_entry("door.alarm", "forced")).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_wrong_pins_lock_the_reader_out_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    for wrong in ["1111", "2222", "3333", "4444", "5555"] {
        let answer = site.present("outer", Key::Pin(wrong.into())).await;
        assert_eq!(answer, (Verdict::Refuse, Reason::UnknownCredential));
    }
    assert_eq!(site.present("outer", Key::Pin(PIN.into())).await, (Verdict::Refuse, Reason::LockedOut));
    assert_eq!(site.card("outer", "B2").await, ADMITTED, "cards are not guessed");
    site.until(|site| site.has_entry("door.alarm", "guessing")).await;
    assert!(!format!("{:?}", site.entries()).contains(PIN), "no PIN is in the journal");
    site.doors.premises().keep().await.unwrap();
    site.stop().await;
    let site = Site::start(folder.path()).await;
    assert_eq!(site.present("outer", Key::Pin(PIN.into())).await, (Verdict::Refuse, Reason::LockedOut));
    site.command(PremisesCommand::Unblock { source: name("outer/reader") }).await;
    assert_eq!(site.present("outer", Key::Pin(PIN.into())).await, ADMITTED);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_reason_is_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    let note = Some("the post is here");
    let decision = site.doors.open(&name("outer"), "admin", note, site.now()).await.unwrap();
    assert_eq!((decision.verdict, decision.note.as_deref()), (Verdict::Admit, note));
    assert!(site.has_entry("access.admitted", "the post is here"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_fails_holds_no_interlock_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path()).await;
    site.relay.trouble(Trouble::WrongPassword);
    assert_eq!(site.card("outer", "A1").await, ADMITTED, "the rules say yes, the relay does not");
    site.until(|site| site.state("outer") == Some(DoorState::Fault)).await;
    assert_eq!(site.card("inner", "A1").await, (Verdict::Refuse, Reason::Interlocked), "its lock is not known");
    site.relay.trouble(Trouble::None);
    site.stop().await;
}
