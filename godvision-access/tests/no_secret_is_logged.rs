//! A canary in every secret: PINs, cards, plates, passes, rolling codes, keys and passwords, good and bad ones, go through
//! the policy, the door's component and the file of spent passes. Then everything that anybody could read (the log down to
//! `trace`, the journal, errors, `Debug` of every public value, the files) is searched for them.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_access::controller::{DoorUnit, SharedAccess, journal_entry};
use godvision_access::credential::{Directory, StoredKey};
use godvision_access::io::spent_log::{SharedSpentLog, SpentLog};
use godvision_access::pass::rolling::{RollingSecret, RollingVerifier};
use godvision_access::pass::{Doors, PassClaims, PassId, PassKey, PassKeys, Revocation, Revoked, Signing, Uses};
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::fake_shelly::{FakeShelly, Spoil};
use godvision_access::spent::{Spend, Spending, SpentStore};
use godvision_access::{AccessControl, Error, RuleSet};
use godvision_core::bus::{Host, HostOptions, Registry};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::{Journal, MemoryJournal, Query};
use godvision_core::signal::door::{Credential, DoorState, Key, Reason, Verdict};
use godvision_core::site::document::SiteDocument;
use godvision_core::{Clock, Name, Secret, Stamp, SystemClock, WallTime};
use tracing_subscriber::fmt::MakeWriter;

const DOOR: &str = "yard/door";
const RELAY_PASSWORD: &str = "canary-relay-77c1";
const GOOD_PINS: [&str; 2] = ["731946820", "731946821"];
const BAD_PINS: [&str; 3] = ["902817364", "9028173640123456", "90281x"];
const GOOD_CARD: &str = "04CA9A2B77E1D0";
const BAD_CARDS: [&str; 2] = ["04CAFE99AB12CD", "canary-card-not-hex"];
const GOOD_PLATE: &str = "CNRY777";
const BAD_PLATES: [&str; 2] = ["CNRY888", "canary plate 9"];
const PASS_SEED: [u8; 32] = *b"canary-seed-of-the-pass-key-0001";
const ROLLING_SECRET: [u8; 32] = *b"canary-secret-of-rolling-codes-1";

const RULES: &str = r#"
    version = 1
    [[rule]]
    name = "everybody"
    permit = ["anyone"]
    doors = ["yard/door"]
    by = ["qr", "pin", "card", "plate", "face", "manual", "remote"]
"#;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Everything that is said, in one text.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn note(&self, what: impl std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{what:?}\n{what:#?}").unwrap();
    }

    fn note_shown(&self, what: impl std::fmt::Display) {
        writeln!(self.0.lock().unwrap(), "{what}").unwrap();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

struct House {
    access: AccessControl,
    keys: PassKeys,
    /// What people show, good and bad.
    shown: Vec<Key>,
}

fn claims(id: u8, person: &str, uses: Uses, now: WallTime) -> PassClaims {
    PassClaims {
        id: PassId([id; 6]),
        person: Some(name(person)),
        doors: Doors::One(name(DOOR)),
        not_before: now,
        not_after: now.plus_micros(3_600_000_000),
        uses,
    }
}

fn house(now: WallTime, said: &Said) -> House {
    let site = name("home");
    let mut keys = PassKeys::new(site.clone());
    keys.add(PassKey::from_seed(1, &PASS_SEED), Signing { from: now, until: None }).unwrap();
    let mut rolling = RollingVerifier::new(site.clone());
    rolling.add(&name("ada"), RollingSecret::from_bytes(ROLLING_SECRET)).unwrap();
    let mut directory = Directory::new([7; 16]);
    directory.add_person(name("ada")).unwrap();
    let ada = name("ada");
    let good = [Key::Pin(GOOD_PINS[0].into()), Key::Card(GOOD_CARD.into()), Key::Plate(GOOD_PLATE.into())];
    let stored: Vec<StoredKey> = good.iter().map(|key| directory.add_key(&ada, key).unwrap()).collect();
    let duress = directory.add_duress_pin(&ada, &GOOD_PINS[1].into()).unwrap();
    said.note((&stored, duress));

    let bad = BAD_PINS.map(|it| Key::Pin(it.into())).into_iter();
    let bad = bad.chain(BAD_CARDS.map(|it| Key::Card(it.into()))).chain(BAD_PLATES.map(|it| Key::Plate(it.into())));
    let bad: Vec<Key> = bad.collect();
    for key in good.iter().chain(&bad) {
        for person in ["ada", "nobody"] {
            if let Err(error) = directory.add_key(&name(person), key) {
                said.note(&error);
                said.note_shown(&error);
            }
        }
    }

    let counted = keys.sign(&claims(1, "ada", Uses::Times(1), now), now).unwrap();
    let withdrawn = keys.sign(&claims(2, "ada", Uses::Any, now), now).unwrap();
    let stranger = keys.sign(&claims(3, "eve", Uses::Any, now), now).unwrap();
    let forged = PassKey::from_seed(1, &[9; 32]).sign(&site, &claims(4, "ada", Uses::Any, now)).unwrap();
    let secret = RollingSecret::from_bytes(ROLLING_SECRET);
    let (code, _) = secret.code(&site, &ada, now).unwrap();
    let (old_code, _) = secret.code(&site, &ada, now.plus_micros(-600_000_000)).unwrap();
    let cut: Secret = forged.expose()[..150].into();
    let once_more = keys.sign(&claims(5, "ada", Uses::Times(2), now), now).unwrap();
    let texts =
        [counted, once_more, withdrawn, stranger, forged, cut, code, old_code, "canary-of-some-other-code".into()];
    said.note(&secret);

    let mut passes = keys.verifier().with_rolling(rolling);
    let what = Revoked::Pass { key: 1, id: PassId([2; 6]) };
    passes.revocations_mut().add(what, Revocation { at: now, reason: "lost".into(), until: None }).unwrap();
    let access = AccessControl { directory, passes, rules: RuleSet::parse(RULES).unwrap().compile().unwrap() };
    let shown = good.into_iter().chain([Key::Pin(GOOD_PINS[1].into())]).chain(bad);
    let shown = shown.chain(texts.into_iter().map(Key::Qr)).collect();
    House { access, keys, shown }
}

/// What must not be found: each secret as it is, and what it is made of.
fn canaries(shown: &[Key]) -> Vec<String> {
    let mut canaries: Vec<String> = vec![RELAY_PASSWORD.into()];
    for key in shown {
        if let Key::Qr(text) | Key::Pin(text) | Key::Card(text) | Key::Plate(text) = key {
            let text = text.expose();
            canaries.push(text.to_owned());
            // A pass in pieces is a pass, too.
            canaries.extend(
                text.as_bytes()
                    .chunks(24)
                    .filter(|it| it.len() == 24)
                    .map(|it| String::from_utf8(it.to_vec()).unwrap()),
            );
        }
    }
    for bytes in [PASS_SEED, ROLLING_SECRET] {
        canaries.push(String::from_utf8(bytes.to_vec()).unwrap());
        canaries.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        canaries.push(format!("{bytes:?}"));
        canaries.push(format!("{:?}", &bytes[..8]).trim_matches(['[', ']']).to_owned());
    }
    canaries
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_secret_is_said_anywhere() {
    let said = Said::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(said.clone()).finish();
    // For all threads: hashes and files have threads of their own.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let clock = SystemClock::shared();
    let now = clock.now();
    let House { access, keys, shown } = house(now.wall, &said);
    let mut reasons = Vec::new();
    for key in &shown {
        let credential = Credential { source: name("reader"), key: key.clone(), at: now };
        said.note((&credential, key));
        let ruling = access.decide(&credential, &name(DOOR), now);
        said.note((&ruling, ruling.to_spend(), journal_entry(&name(DOOR), &ruling)));
        if let Key::Qr(text) = key {
            said.note((access.passes.read(text), access.passes.read_rolling(text, now.wall)));
            let errors = (access.passes.read(text).err(), access.passes.read_rolling(text, now.wall).err());
            said.note_shown(errors.0.map_or_else(String::new, |it| it.to_string()));
            said.note_shown(errors.1.map_or_else(String::new, |it| it.to_string()));
        }
        if let Key::Pin(text) | Key::Card(text) = key {
            said.note_shown(text.expose().parse::<StoredKey>().unwrap_err());
        }
        reasons.push(ruling.decision.reason);
    }
    for reason in [Reason::Permitted, Reason::UnknownCredential, Reason::Revoked, Reason::BadPass, Reason::Expired] {
        assert!(reasons.contains(&reason), "{reason:?} was not met");
    }
    said.note((&access, &keys, keys.current(now.wall), access.passes.clone()));

    through_the_door(access, &shown, &clock, &said).await;

    let text = said.text();
    assert!(text.contains("access.admitted") && text.contains("already been used"), "it was listened");
    assert!(text.contains("cannot keep the use of a pass"), "the log was, too");
    for canary in canaries(&shown) {
        assert!(!text.contains(&canary), "{canary:?} was said");
    }
}

/// Keeps uses until it is told to fail, so that the log has something to say.
struct Failing {
    log: SharedSpentLog,
    fails: AtomicBool,
}

impl SpentStore for Failing {
    fn uses(&self, spending: Spending) -> BoxFuture<'_, Result<u32, Error>> {
        self.log.uses(spending)
    }

    fn spend(&self, spending: Spending, uses_max: u32) -> BoxFuture<'_, Result<Spend, Error>> {
        if self.fails.load(Ordering::SeqCst) {
            return Box::pin(async { Err(Error::SpentFull { limit: 0 }) });
        }
        self.log.spend(spending, uses_max)
    }
}

/// The same things at a door that runs, with a relay that wants a password.
async fn through_the_door(access: AccessControl, shown: &[Key], clock: &Arc<dyn Clock>, said: &Said) {
    let folder = std::env::temp_dir().join(format!("godvision-canary-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let device = FakeShelly::start(1, Some(RELAY_PASSWORD.into()), Arc::clone(clock)).await.unwrap();
    let log = SpentLog::open(&folder.join("spent.log")).unwrap();
    said.note(&log);
    let journal = Arc::new(MemoryJournal::default());
    let spent = Arc::new(Failing { log: log.into(), fails: AtomicBool::new(false) });
    let unit = DoorUnit::new(SharedAccess::new(access), spent.clone(), RelayRegistry::standard(Arc::clone(clock)));
    let doors = unit.doors();
    let url = format!("shelly://admin:{RELAY_PASSWORD}@{}/?timeout_ms=300", device.address());
    let document = format!(
        "version = 1\nsite = \"home\"\n[[component]]\nname = \"{DOOR}\"\nunit = \"door\"\nparams = {{ relay = \"{url}\", hold_off = 0.0 }}\n"
    );
    let document = SiteDocument::parse(&document).unwrap();
    let options = HostOptions {
        clock: Arc::clone(clock),
        journal: Arc::clone(&journal) as Arc<dyn Journal>,
        ..HostOptions::default()
    };
    let host = Host::new(options, Registry::new().with(unit));
    host.apply(&document).await.unwrap();
    while doors.get(&name(DOOR)).is_none_or(|view| view.last.is_none_or(|it| it.state != DoorState::Locked)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut admitted = 0;
    for spoil in [Spoil::Nothing, Spoil::CutLink] {
        device.spoil(spoil);
        spent.fails.store(matches!(spoil, Spoil::CutLink), Ordering::SeqCst);
        for key in shown {
            let at: Stamp = clock.now();
            let credential = Credential { source: name("reader"), key: key.clone(), at };
            let decision = doors.present(&name(DOOR), credential).await;
            said.note(&decision);
            admitted += usize::from(decision.is_ok_and(|it| it.verdict == Verdict::Admit));
        }
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(admitted > 5, "{admitted}");
    said.note((&doors, doors.all()));
    host.shutdown().await;
    for entry in journal.read(&Query::default()) {
        said.note(&entry);
    }
    for file in std::fs::read_dir(&folder).unwrap() {
        said.note_shown(String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
