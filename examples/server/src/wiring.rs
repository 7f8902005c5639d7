//! The only file that knows all the crates: units into a registry, a site document into a running graph, and the graph
//! as the [`System`] that the pages ask.
//!
//! **Never:** a decision. If one is taken here, it belongs in a crate.

mod doors;
mod keypads;
mod telegram;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use godvision_access::controller::{DoorUnit, Doors, SharedAccess, SharedPremises};
use godvision_access::credential::Directory;
use godvision_access::driver_spec::DriverSpec;
use godvision_access::io::premises_log::{PremisesLog, SharedPremisesLog};
use godvision_access::io::spent_log::{SharedSpentLog, SpentLog};
use godvision_access::pass::PassVerifier;
use godvision_access::premises::{Kept, Plan, Premises};
use godvision_access::reader::ReaderRegistry;
use godvision_access::reader::component::ReaderUnit;
use godvision_access::reader::soft::{SoftHandle, SoftReaders};
use godvision_access::relay::RelayRegistry;
use godvision_access::spent::{MemorySpent, Spendable, Spending, SpentStore};
use godvision_access::{AccessControl, RuleSet};
use godvision_core::bus::{
    Changes, ComponentState, Control, Host, HostError, HostOptions, Registry, SecretSource, Target, UnitSpec,
};
use godvision_core::driver::archive::Archive;
use godvision_core::journal::{BoxFuture, Entry, Journal, Level};
use godvision_core::signal::door::{Decision, DoorState, Indication};
use godvision_core::signal::media::StreamState;
use godvision_core::site::{SiteDocument, SiteErrors};
use godvision_core::{Clock, Name, Secret, Stamp, SystemClock, WallTime};
use godvision_ftp::archive::folder::{FolderArchive, Placing};
use godvision_ftp::archive::ftp::{FtpArchive, FtpOptions};
use godvision_ftp::archive::url::FtpUrl;
use godvision_ftp::clip::RecordMode;
use godvision_ftp::index::{self, ClipRecord};
use godvision_ftp::io::spool::{Spool, SpoolEvent, SpoolOptions};
use godvision_ftp::recorder::{ArchiverUnit, RecordSwitches, RecorderUnit, journal_entry};
use godvision_ftp::spool::ClipId;
use godvision_rtsp::CameraUnit;
use godvision_vision::face::gallery::Gallery;
use godvision_vision::face::memory::FaceMemory;
use godvision_vision::plate::{FETCH_COMMAND, RECOGNISER_FILE};
use godvision_vision::sensors::{FaceUnit, MotionUnit, PlateUnit, QrUnit};

use crate::board::Board;
use crate::metrics;
use crate::notify::mqtt::{MqttDoors, MqttUnit};
use crate::notify::telegram::{Telegram, TelegramUnit};
use crate::sightings::SightingsUnit;
use crate::site::{self, ARCHIVE_SECRET, Draft, SITE_FILE};
use crate::store::{Store, Switch};
use crate::web::live::{LiveHub, LiveLimits, LiveUnit};
use crate::web::system::{
    Analysis, AreaNow, Camera, Clip, ClipQuery, ClipReader, ClipState, Door, DoorChange, DoorSetup, Health, Keypad,
    LockedOut, PassRef, PremisesCommand, PremisesNow, RelayAsk, RelayForm, RelayReading, RelayShown, System,
    SystemError, TelegramSetup, Watching,
};

/// The folder of clips that are not yet archived, in the data folder.
const SPOOL_FOLDER: &str = "spool";
/// The default archive, in the data folder.
const ARCHIVE_FOLDER: &str = "archive";
/// Models that are too large for the program, in the data folder unless another folder is named.
const MODELS_FOLDER: &str = "models";
/// The count of used passes, in the data folder.
const SPENT_FILE: &str = "spent.log";
const PREMISES_FILE: &str = "premises.log";

/// What the units share.
#[derive(Clone)]
struct Shared {
    clock: Arc<dyn Clock>,
    board: Board,
    live: LiveHub,
    access: SharedAccess,
    spool: Arc<Spool>,
    switches: RecordSwitches,
    soft: SoftReaders,
    telegram: Telegram,
    mqtt: MqttDoors,
}

impl Shared {
    fn new(access: SharedAccess, spool: Arc<Spool>, clock: Arc<dyn Clock>) -> Self {
        Self {
            live: LiveHub::new(LiveLimits::default(), Arc::clone(&clock)),
            board: Board::default(),
            access,
            switches: RecordSwitches::default(),
            soft: SoftReaders::default(),
            telegram: Telegram::default(),
            mqtt: MqttDoors::default(),
            spool,
            clock,
        }
    }
}

/// The state of doors and areas as the last run left it. If its file is damaged, nobody knows which doors were locked
/// down: the file is put aside and all of them are, until an operator ends that.
fn premises(
    data: &Path,
    document: &SiteDocument,
    plan: Plan,
    now: Stamp,
) -> anyhow::Result<(SharedPremises, Option<String>)> {
    let path = data.join(PREMISES_FILE);
    let doors = || document.components.iter().filter(|it| it.unit == "door").map(|it| it.name.clone());
    let (log, damage) = match PremisesLog::open(&path) {
        Ok(log) => (log, None),
        Err(error @ godvision_access::Error::PremisesDamaged { .. }) => {
            let aside = data.join(format!("{PREMISES_FILE}.damaged-{}", now.wall.as_unix_seconds()));
            std::fs::rename(&path, &aside).with_context(|| format!("cannot put {} aside", path.display()))?;
            let mut log = PremisesLog::open(&path)?;
            let shut: Vec<Kept> = doors().map(|door| Kept::Lockdown { door, is_on: true }).collect();
            log.keep(&shut)?;
            (log, Some(format!("{error}; it lies in {} now, and every door is locked down", aside.display())))
        }
        Err(error) => return Err(error.into()),
    };
    let premises = Premises::restore(plan, doors(), log.ledger(), now);
    Ok((SharedPremises::new(premises, SharedPremisesLog::from(log)), damage))
}

/// All units, and the doors that theirs will make.
fn registry(
    shared: &Shared,
    store: Option<&Store>,
    spent: Arc<dyn SpentStore>,
    archive: Arc<dyn Archive>,
    faces: FaceMemory,
    premises: SharedPremises,
) -> (Registry, Doors) {
    let relays = RelayRegistry::standard(Arc::clone(&shared.clock));
    let doors_unit = DoorUnit::new(shared.access.clone(), spent, relays).on(premises);
    let readers = ReaderUnit::new(ReaderRegistry::standard_with(Arc::clone(&shared.clock), shared.soft.clone()));
    let doors = doors_unit.doors();
    let registry = Registry::new()
        .with(CameraUnit::default())
        .with(MotionUnit::default())
        .with(QrUnit::default())
        .with(PlateUnit::default())
        .with(FaceUnit::new(faces))
        .with(SightingsUnit::new(store.cloned()))
        .with(doors_unit)
        .with(readers)
        .with(RecorderUnit::new(Arc::clone(&shared.spool), shared.switches.clone()))
        .with(ArchiverUnit::new(Arc::clone(&shared.spool), archive))
        .with(LiveUnit::new(shared.live.clone()))
        .with(MqttUnit::new(shared.mqtt.clone()))
        .with(TelegramUnit::new(shared.telegram.clone(), store.cloned()))
        .with(shared.board.unit());
    (registry, doors)
}

/// Checks `document` against all units without opening anything of a site. Any secret it names counts as known.
///
/// # Errors
/// Everything that is wrong with it, or that there is no place for a scratch folder.
pub fn check(document: &SiteDocument) -> anyhow::Result<Result<(), SiteErrors>> {
    let scratch = tempfile::tempdir().context("a check needs a temporary folder")?;
    let rules = RuleSet::default().compile()?;
    let access =
        AccessControl { directory: Directory::new([0; 16]), passes: PassVerifier::new(document.site.clone()), rules };
    let spool = Arc::new(Spool::open(scratch.path(), SpoolOptions::default())?.0);
    let shared = Shared::new(SharedAccess::new(access), spool, SystemClock::shared());
    let archive = Arc::new(FolderArchive::new(scratch.path(), Placing::Link));
    let nobody = FaceMemory::new(Gallery::new("nobody", 128)?)?;
    let (registry, _) =
        registry(&shared, None, Arc::new(MemorySpent::default()), archive, nobody, SharedPremises::default());
    let mut document = document.clone();
    // What a secret holds is checked where it is put into the store; here any address will do.
    for component in &mut document.components {
        let stand_in = match component.unit.as_str() {
            "door" => "simulated://",
            _ => "rtsp://192.0.2.1/",
        };
        let named: Vec<String> = component.params.secret_names().map(|(key, _)| key.to_owned()).collect();
        for key in named {
            let line = component.params.line(&key);
            component.params.set(&key, godvision_core::bus::ParamValue::Secret(stand_in.into()), line);
        }
    }
    Ok(Host::new(HostOptions::default(), registry).check(&document))
}

/// Opens the archive at `address`: `ftp://`, `ftps://`, or a folder, which is taken from `base` if it is relative.
///
/// # Errors
/// If it is none of these, with what to write.
pub fn open_archive(address: &Secret, base: &Path) -> anyhow::Result<Arc<dyn Archive>> {
    let text = address.expose();
    if text.starts_with("ftp://") || text.starts_with("ftps://") {
        let url: FtpUrl = text.parse()?;
        return Ok(Arc::new(FtpArchive::new(FtpOptions::new(url))?));
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(anyhow!("{scheme}:// is no archive: write ftp://, ftps:// or a folder's path"));
    }
    Ok(Arc::new(FolderArchive::new(base.join(text), Placing::Link)))
}

/// The opened parts of a site, before there is a graph.
pub struct Parts {
    store: Store,
    data: PathBuf,
    models: PathBuf,
    shared: Shared,
    recovered: Vec<SpoolEvent>,
}

impl Parts {
    /// Opens the site in `data`: persons, rules, spool. Passes are believed if `passes` knows their key. Large models are
    /// in `models`, or in a folder of `data`.
    ///
    /// # Errors
    /// If a file in it cannot be read or is refused.
    pub async fn open(data: &Path, models: Option<&Path>, store: Store, passes: PassVerifier) -> anyhow::Result<Self> {
        store.access().load(passes).await?;
        let (spool, recovered) = Spool::open(data.join(SPOOL_FOLDER), SpoolOptions::default())?;
        let shared = Shared::new(store.access().shared().clone(), Arc::new(spool), SystemClock::shared());
        // The site document names the folder to components, which may be started from anywhere.
        let models = std::path::absolute(models.map_or_else(|| data.join(MODELS_FOLDER), Path::to_owned))?;
        Ok(Self { store, data: data.to_owned(), models, shared, recovered })
    }
}

/// A running site. Clones are handles to the same one.
#[derive(Clone)]
pub struct Wiring {
    running: Arc<Running>,
}

struct Running {
    host: Host,
    document: RwLock<Arc<SiteDocument>>,
    secrets: KnownSecrets,
    store: Store,
    shared: Shared,
    doors: Doors,
    spent: Arc<dyn SpentStore>,
    specs: BTreeMap<String, UnitSpec>,
    archive: Arc<dyn Archive>,
    started: WallTime,
    models: PathBuf,
    /// The site document's file. One edit at a time.
    file: tokio::sync::Mutex<PathBuf>,
}

impl Wiring {
    /// Starts `document`, with the switches as people left them.
    ///
    /// # Errors
    /// [`SiteErrors`] if the document is refused; others if a part cannot be opened.
    pub async fn start(parts: Parts, document: &SiteDocument) -> anyhow::Result<Self> {
        let Parts { store, data, models, shared, recovered } = parts;
        let address = store.secrets().get(ARCHIVE_SECRET).await?;
        let archive = open_archive(&address.unwrap_or_else(|| ARCHIVE_FOLDER.into()), &data)?;
        let spent: Arc<dyn SpentStore> = Arc::new(SharedSpentLog::from(SpentLog::open(&data.join(SPENT_FILE))?));
        let (premises, damage) = premises(&data, document, store.access().plan()?, shared.clock.now())?;
        store.access().follow(premises.clone());
        let faces = store.faces().memory().clone();
        let (registry, doors) =
            registry(&shared, Some(&store), Arc::clone(&spent), Arc::clone(&archive), faces, premises);
        let journal = Arc::clone(store.journal()) as Arc<dyn Journal>;
        let secrets = KnownSecrets::default();
        secrets.read(document, &store).await?;
        let options = HostOptions {
            clock: Arc::clone(&shared.clock),
            journal: Arc::clone(&journal),
            secrets: secrets.source(),
            ..HostOptions::default()
        };
        let now = shared.clock.now();
        for event in &recovered {
            journal.append(journal_entry(event, now, &Name::new(SPOOL_FOLDER)?)).await?;
        }
        if let Some(damage) = damage {
            let entry = Entry::new(now, document.site.clone(), Level::Error, "premises.damaged", damage);
            journal.append(entry).await?;
        }
        let text = format!("the site was started with {} components", document.components.len());
        journal.append(Entry::new(now, document.site.clone(), Level::Info, "site.started", text)).await?;
        let specs = doors::specs(&registry);
        let host = Host::new(options, registry);
        let started = now.wall;
        let document = RwLock::new(Arc::new(document.clone()));
        let file = tokio::sync::Mutex::new(data.join(SITE_FILE));
        let running = Arc::new(Running {
            host,
            document,
            secrets,
            store,
            shared,
            doors,
            spent,
            specs,
            archive,
            started,
            models,
            file,
        });
        let system: std::sync::Weak<Running> = Arc::downgrade(&running);
        running.shared.telegram.attach(system.clone());
        running.shared.mqtt.attach(system);
        // Recording is switched before anything runs, so that a switch that is off stays off.
        for camera in running.names_of("camera") {
            if running.store.settings().switch(&camera, Switch::Archive).await? == Some(false) {
                running.record(&camera, false);
            }
        }
        running.host.apply(&running.document()).await.map_err(refused)?;
        for camera in running.names_of("camera") {
            if running.store.settings().switch(&camera, Switch::Detection).await? == Some(false) {
                running.detect(&camera, false).await?;
            }
        }
        Ok(Self { running })
    }

    /// Puts the edited document `text` in force, touching only what differs. If anything is wrong with it the site runs on
    /// as it is. Either way the journal says so.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn reload(&self, text: &str) -> anyhow::Result<()> {
        let running = &self.running;
        let site = running.document().site.clone();
        // A page may have edited the file since it was read: what stands there now counts, or that edit would be undone.
        let path = running.file.lock().await;
        let now = tokio::fs::read_to_string(&*path).await;
        let entry = match running.change(now.as_deref().unwrap_or(text)).await {
            Ok(changes) if changes.is_empty() => return Ok(()),
            Ok(changes) => {
                let counts = [
                    ("added", changes.added.len()),
                    ("removed", changes.removed.len()),
                    ("replaced", changes.replaced.len()),
                    ("switched", changes.switched.len()),
                    ("linked", changes.linked.len()),
                    ("unlinked", changes.unlinked.len()),
                ];
                let text = "the site document was changed and is in force".to_owned();
                let entry = Entry::new(running.shared.clock.now(), site, Level::Info, "site.changed", text);
                counts.iter().filter(|(_, n)| *n > 0).fold(entry, |entry, (name, n)| entry.with(name, n))
            }
            Err(error) => {
                let text = format!("the changed site document is refused, the site runs on as it was: {error:#}");
                Entry::new(running.shared.clock.now(), site, Level::Error, "site.refused", text)
            }
        };
        running.store.journal().append(entry).await?;
        Ok(())
    }

    /// What the pages ask.
    pub fn system(&self) -> Arc<dyn System> {
        Arc::clone(&self.running) as Arc<dyn System>
    }

    /// The store of users, sessions, secrets and the journal.
    pub fn store(&self) -> &Store {
        &self.running.store
    }

    /// The live views.
    pub fn live(&self) -> &LiveHub {
        &self.running.shared.live
    }

    /// Drains the graph in the direction of the data, so that open clips are finished, and closes the store.
    pub async fn shutdown(self) {
        self.running.host.shutdown().await;
        let (now, site) = (self.running.shared.clock.now(), self.running.document().site.clone());
        let entry = Entry::new(now, site, Level::Info, "site.stopped", "the site was stopped");
        if let Err(error) = self.running.store.journal().append(entry).await {
            tracing::warn!(%error, "the journal does not say that the site was stopped");
        }
        self.running.store.close().await;
    }
}

/// An error of the site document keeps its lines.
fn refused(error: HostError) -> anyhow::Error {
    match error {
        HostError::Site(errors) => anyhow!(errors),
        other => anyhow!(other),
    }
}

/// The secrets that a document names, read before it is applied: components are made without waiting.
#[derive(Clone, Default)]
struct KnownSecrets(Arc<RwLock<BTreeMap<String, Secret>>>);

impl KnownSecrets {
    async fn read(&self, document: &SiteDocument, store: &Store) -> anyhow::Result<()> {
        let mut known = BTreeMap::new();
        for (_, name) in document.components.iter().flat_map(|component| component.params.secret_names()) {
            if let Some(secret) = store.secrets().get(name).await? {
                known.insert(name.to_owned(), secret);
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    fn source(&self) -> SecretSource {
        let known = self.clone();
        Arc::new(move |name| known.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }
}

impl Running {
    fn document(&self) -> Arc<SiteDocument> {
        Arc::clone(&self.document.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn change(&self, text: &str) -> anyhow::Result<Changes> {
        let document = SiteDocument::parse(text)?;
        self.secrets.read(&document, &self.store).await?;
        let changes = self.host.apply(&document).await.map_err(refused)?;
        *self.document.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(document);
        // What was made anew knows nothing of the switches.
        for camera in self.names_of("camera") {
            for (switch, unit) in [(Switch::Archive, "recorder"), (Switch::Detection, "motion")] {
                let is_off = self.store.settings().switch(&camera, switch).await? == Some(false);
                if is_off && self.fed_by(&camera, unit).iter().any(|name| is_fresh(&changes, name)) {
                    self.set_switch(&camera, switch, false).await?;
                }
            }
        }
        Ok(changes)
    }

    /// Components of a unit, in the order of the document.
    fn names_of(&self, unit: &str) -> Vec<Name> {
        let document = self.document();
        let of_unit = document.components.iter().filter(|component| component.unit == unit);
        of_unit.map(|component| component.name.clone()).collect()
    }

    /// Components of a unit that `camera` is linked to.
    fn fed_by(&self, camera: &Name, unit: &str) -> Vec<Name> {
        let mut names = self.names_of(unit);
        let document = self.document();
        names.retain(|name| {
            document.links.iter().any(|link| link.from.component == *camera && link.to.component == *name)
        });
        names
    }

    fn record(&self, camera: &Name, on: bool) {
        for recorder in self.fed_by(camera, "recorder") {
            if on {
                // As its parameter says: a recorder that records always does so again.
                self.shared.switches.reset(&recorder);
            } else {
                self.shared.switches.set(&recorder, RecordMode::Off);
            }
        }
    }

    async fn detect(&self, camera: &Name, on: bool) -> Result<(), SystemError> {
        let control = if on { Control::Start } else { Control::Drain };
        for detector in self.fed_by(camera, "motion") {
            let done = self.host.control(&Target::Named(detector), control).await;
            done.map_err(|error| SystemError::Unavailable { detail: error.to_string() })?;
        }
        Ok(())
    }

    /// The detector of `camera` as its document has it.
    fn detector(&self, camera: &Name) -> Result<Name, SystemError> {
        let missing = || SystemError::NotFound { what: "motion detector of camera", id: camera.to_string() };
        self.fed_by(camera, "motion").into_iter().next().ok_or_else(missing)
    }

    /// Edits the site document's file and puts it in force; if it is refused, file and site stay as they are.
    async fn edit(&self, edit: impl FnOnce(&str) -> anyhow::Result<String> + Send) -> Result<(), SystemError> {
        self.edit_with(&[], edit).await
    }

    /// As [`Running::edit`], with secrets that the edited document names. Whatever fails, the secrets, the file and the site
    /// are as they were: a site that runs what its document does not say would be another one after the next start.
    async fn edit_with(
        &self,
        sealed: &[(String, Secret)],
        edit: impl FnOnce(&str) -> anyhow::Result<String> + Send,
    ) -> Result<(), SystemError> {
        let unavailable = |error: anyhow::Error| SystemError::Unavailable { detail: format!("{error:#}") };
        let path = self.file.lock().await;
        let text = tokio::fs::read_to_string(&*path).await;
        let text = text.with_context(|| format!("cannot read {}", path.display())).map_err(unavailable)?;
        let edited = edit(&text).map_err(unavailable)?;
        let mut before = Vec::with_capacity(sealed.len());
        let done = async {
            for (name, secret) in sealed {
                before.push((name, self.store.secrets().get(name).await.map_err(|it| unavailable(it.into()))?));
                self.store.secrets().put(name, secret).await.map_err(|it| unavailable(it.into()))?;
            }
            self.change(&edited).await.map_err(|error| SystemError::Refused { detail: format!("{error:#}") })?;
            site::write_text(&path, &edited).map_err(unavailable)
        };
        let done = done.await;
        if done.is_err()
            && let Err(error) = self.put_back(before, &text).await
        {
            tracing::error!(error = format!("{error:#}"), "the site is not what its document says: start it anew");
        }
        done
    }

    /// What was before an edit that failed: the secrets first, since components are made of them.
    async fn put_back(&self, secrets: Vec<(&String, Option<Secret>)>, text: &str) -> anyhow::Result<()> {
        for (name, secret) in secrets {
            match secret {
                Some(secret) => self.store.secrets().put(name, &secret).await?,
                None => self.store.secrets().remove(name).await?,
            }
        }
        self.change(text).await.map(drop)
    }

    /// What is missing for an analysis, with the command that brings it.
    fn missing(&self, switch: Switch) -> Option<String> {
        let is_missing = switch == Switch::Plates && !self.models.join(RECOGNISER_FILE).is_file();
        is_missing.then(|| {
            let folder = self.models.display().to_string();
            let quoted = if folder.contains(' ') { format!("'{folder}'") } else { folder };
            format!("number plates need a model; fill its folder once: {}", FETCH_COMMAND.replace("FOLDER", &quoted))
        })
    }

    /// Switches an analysis in the site document: what is missing there is added with its links, what is there is switched.
    async fn analyse(&self, camera: &Name, switch: Switch, on: bool) -> Result<(), SystemError> {
        if let (true, Some(detail)) = (on, self.missing(switch)) {
            return Err(SystemError::Refused { detail });
        }
        if !self.names_of("camera").contains(camera) {
            return Err(SystemError::NotFound { what: "camera", id: camera.to_string() });
        }
        let there = self.fed_by(camera, switch.unit());
        if !on && there.is_empty() {
            return Ok(());
        }
        self.edit(|text| {
            let mut draft = Draft::read(text)?;
            for name in &there {
                draft.enable(name, on)?;
            }
            if on {
                let names = if there.is_empty() { vec![self.add_analysis(&mut draft, camera, switch)?] } else { there };
                self.link_sightings(&mut draft, &names)?;
                if switch == Switch::Faces {
                    // A face is told from others by its colours too; the camera starts anew with them, once.
                    draft.set(camera, &[("colour", true.into())])?;
                }
                self.link_alarms(&mut draft, camera)?;
            }
            Ok(draft.text())
        })
        .await
    }

    fn add_analysis(&self, draft: &mut Draft, camera: &Name, switch: Switch) -> anyhow::Result<Name> {
        let unit = switch.unit();
        let name = Name::new(&format!("{unit}/{camera}"))?;
        let detector = self.fed_by(camera, "motion").into_iter().next();
        let mut params: Vec<(&str, toml_edit::Value)> = Vec::new();
        if switch == Switch::Plates {
            params.push(("models", self.models.display().to_string().into()));
        }
        if detector.is_some() {
            params.push(("motion_wakes", true.into()));
        }
        draft.add(&name, unit, &params)?;
        draft.link(&format!("{camera}#pictures"), &format!("{name}#pictures"))?;
        if let Some(detector) = detector {
            draft.link(&format!("{detector}#motion"), &format!("{name}#motion"))?;
        }
        Ok(name)
    }

    /// What these analyses see is kept. Links that are there, to doors above all, stay.
    fn link_sightings(&self, draft: &mut Draft, analyses: &[Name]) -> anyhow::Result<()> {
        let keeper = match self.names_of("sightings").into_iter().next() {
            Some(keeper) => keeper,
            None => {
                let keeper = Name::new("sightings")?;
                draft.add(&keeper, "sightings", &[])?;
                keeper
            }
        };
        analyses.iter().try_for_each(|name| draft.link(&format!("{name}#sightings"), &format!("{keeper}#sightings")))
    }

    /// What is left, taken or spoilt is said: documents of earlier versions lack these links.
    fn link_alarms(&self, draft: &mut Draft, camera: &Name) -> anyhow::Result<()> {
        let (board, live) = (self.names_of("board").into_iter().next(), self.names_of("live").into_iter().next());
        for detector in self.fed_by(camera, "motion") {
            if let Some(board) = &board {
                draft.link(&format!("{detector}#rest"), &format!("{board}#rests"))?;
                draft.link(&format!("{detector}#tamper"), &format!("{board}#tampers"))?;
            }
            if let Some(live) = &live {
                draft.link(&format!("{detector}#rest"), &format!("{live}#rests"))?;
            }
        }
        Ok(())
    }

    fn is_on(&self, component: &Name) -> bool {
        self.host.component(component).is_some_and(|status| status.state != ComponentState::Stopped)
    }

    fn camera(&self, name: &Name) -> Camera {
        let status = self.shared.board.stream(name);
        let detectors = self.fed_by(name, "motion");
        let recorders = self.fed_by(name, "recorder");
        let newest = self.shared.spool.index().list(&index::ClipQuery {
            camera: Some(name.clone()),
            limit: 1,
            ..index::ClipQuery::default()
        });
        let analyses = [Switch::Qr, Switch::Plates, Switch::Faces].map(|switch| Analysis {
            switch,
            is_on: self.fed_by(name, switch.unit()).iter().any(|it| self.is_on(it)),
            missing: self.missing(switch),
        });
        let now = self.shared.clock.mono();
        Camera {
            analyses: analyses.into(),
            rests: self.shared.board.rests(name, now),
            tampers: self.shared.board.tampers(name),
            id: name.clone(),
            title: name.to_string(),
            state: status.as_ref().map_or(StreamState::Connecting, |status| status.state),
            since: status.as_ref().map_or(self.started, |status| status.at.wall),
            code: status.as_ref().and_then(|status| status.code),
            // While it is online there is nothing to do about it; what it shows stands in the format.
            detail: status
                .as_ref()
                .filter(|status| status.state != StreamState::Online)
                .map(|status| status.detail.clone())
                .unwrap_or_default(),
            format: status.and_then(|status| status.format),
            detection: detectors.iter().any(|detector| self.is_on(detector)),
            archive: recorders.iter().any(|it| self.shared.switches.get(it) != Some(RecordMode::Off)),
            is_recording: newest.first().is_some_and(|clip| clip.state == index::ClipState::Recording),
            counters: self.host.component(name).map(|status| status.counts).unwrap_or_default(),
        }
    }

    fn door(&self, name: &Name) -> Door {
        let view = self.doors.get(name);
        let last = view.as_ref().and_then(|view| view.last.as_ref());
        Door {
            id: name.clone(),
            title: name.to_string(),
            state: last.map_or(DoorState::Unknown, |event| event.state),
            since: last.map_or(self.started, |event| event.at.wall),
            indication: last.map_or(Indication::Ready, |event| event.indication),
            open_for: last.and_then(|event| event.open_for),
            detail: last.map(|event| event.detail.clone()).unwrap_or_default(),
            cameras: self.cameras_before(name),
            mode: view.as_ref().map(|view| view.mode).unwrap_or_default(),
            is_ajar: view.as_ref().and_then(|view| view.is_ajar),
            alarms: view.as_ref().map(|view| view.alarms.clone()).unwrap_or_default(),
            decisions: view.map(|view| view.decisions).unwrap_or_default(),
        }
    }

    /// The cameras whose pictures lead to `component`, over however many others.
    fn cameras_before(&self, component: &Name) -> Vec<Name> {
        let document = self.document();
        let mut before = std::collections::BTreeSet::from([component.clone()]);
        let mut seen = 0;
        while seen < before.len() {
            seen = before.len();
            let more = document.links.iter().filter(|link| before.contains(&link.to.component));
            before.extend(more.map(|link| link.from.component.clone()).collect::<Vec<_>>());
        }
        self.names_of("camera").into_iter().filter(|camera| before.contains(camera)).collect()
    }
}

fn is_fresh(changes: &Changes, name: &Name) -> bool {
    [&changes.added, &changes.replaced, &changes.switched].iter().any(|names| names.contains(name))
}

fn clip(record: ClipRecord) -> Clip {
    let info = record.info;
    Clip {
        state: match record.state {
            index::ClipState::Recording => ClipState::Recording,
            index::ClipState::Waiting => ClipState::Waiting,
            index::ClipState::Uploading { bytes } => {
                let percent = bytes.saturating_mul(100) / info.bytes.max(1);
                ClipState::Uploading { percent: u8::try_from(percent).unwrap_or(100).min(100) }
            }
            index::ClipState::Archived => ClipState::Archived,
            index::ClipState::Parked { why } => ClipState::Parked { why },
        },
        motion_after: info.motions.first().map(|motion| {
            let micros = motion.started.wall.as_unix_micros() - info.started.as_unix_micros();
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        }),
        frames: info.frames,
        id: info.id.to_string(),
        camera: info.camera,
        from: info.started,
        duration: info.duration,
        size_bytes: info.bytes,
        cause: info.opened_by.code().to_owned(),
    }
}

struct OpenClip(index::ClipReader);

impl ClipReader for OpenClip {
    fn size_bytes(&self) -> u64 {
        self.0.info().bytes
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SystemError>> {
        Box::pin(async move {
            self.0.read(range).await.map_err(|error| SystemError::Unavailable { detail: error.to_string() })
        })
    }
}

impl System for Running {
    fn cameras(&self) -> Vec<Camera> {
        self.names_of("camera").iter().map(|name| self.camera(name)).collect()
    }

    fn set_switch<'a>(&'a self, camera: &'a Name, switch: Switch, on: bool) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            match switch {
                Switch::Archive => self.record(camera, on),
                Switch::Detection => self.detect(camera, on).await?,
                Switch::Qr | Switch::Plates | Switch::Faces => self.analyse(camera, switch, on).await?,
            }
            Ok(())
        })
    }

    fn watching(&self, camera: &Name) -> Result<Watching, SystemError> {
        let detector = self.detector(camera)?;
        let document = self.document();
        let params = document.components.iter().find(|it| it.name == detector).map(|it| &it.params);
        Ok(Watching {
            sensitivity: params.and_then(|it| it.text("sensitivity")).unwrap_or("normal").to_owned(),
            zones: params.map(|it| it.texts("zones").to_vec()).unwrap_or_default(),
        })
    }

    fn set_watching<'a>(&'a self, camera: &'a Name, watching: Watching) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            let detector = self.detector(camera)?;
            let zones = toml_edit::Array::from_iter(watching.zones);
            let set = [("sensitivity", watching.sensitivity.into()), ("zones", zones.into())];
            self.edit(|text| site::with_params(text, &detector, &set)).await
        })
    }

    fn clips(&self, query: ClipQuery) -> BoxFuture<'_, Result<Vec<Clip>, SystemError>> {
        Box::pin(async move {
            let before = match &query.before {
                Some(id) => {
                    let missing = |_| SystemError::NotFound { what: "clip", id: id.clone() };
                    Some(ClipId::parse(id).map_err(missing)?)
                }
                None => None,
            };
            let ClipQuery { camera, from, to, limit, .. } = query;
            let query = index::ClipQuery { camera, from, to, before, limit };
            Ok(self.shared.spool.index().list(&query).into_iter().map(clip).collect())
        })
    }

    fn open_clip<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Arc<dyn ClipReader>, SystemError>> {
        Box::pin(async move {
            let missing = |_| SystemError::NotFound { what: "clip", id: id.to_owned() };
            let parsed = ClipId::parse(id).map_err(missing)?;
            let reader = self.shared.spool.index().open(&parsed, Some(Arc::clone(&self.archive))).map_err(missing)?;
            Ok(Arc::new(OpenClip(reader)) as Arc<dyn ClipReader>)
        })
    }

    fn doors(&self) -> Vec<Door> {
        self.names_of("door").iter().map(|name| self.door(name)).collect()
    }

    fn open_door<'a>(
        &'a self,
        door: &'a Name,
        operator: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<Decision, SystemError>> {
        Box::pin(async move {
            let now = self.shared.clock.now();
            let opened = self.doors.open(door, operator, Some(reason), now).await;
            opened.map_err(|error| SystemError::Unavailable { detail: error.to_string() })
        })
    }

    fn pass_uses(&self, pass: PassRef) -> BoxFuture<'_, Result<u32, SystemError>> {
        Box::pin(async move {
            let PassRef { key, id, until } = pass;
            let spending = Spending { what: Spendable::Pass { key, id }, until, at: self.shared.clock.wall() };
            let uses = self.spent.uses(spending).await;
            uses.map_err(|error| SystemError::Unavailable { detail: error.to_string() })
        })
    }

    fn premises(&self) -> PremisesNow {
        let now = self.shared.clock.now();
        self.doors.premises().read(|premises| PremisesNow {
            is_emergency: premises.is_emergency(),
            areas: premises
                .plan()
                .areas()
                .map(|area| AreaNow { area: area.clone(), inside: premises.inside(area, now).cloned().collect() })
                .collect(),
            locked_out: premises
                .locked_out(now.mono)
                .map(|(who, wait)| {
                    let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
                    LockedOut { who: who.clone(), until: now.wall.plus_micros(micros) }
                })
                .collect(),
        })
    }

    fn command<'a>(&'a self, command: PremisesCommand, operator: &'a str) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            let asked = match &command {
                PremisesCommand::Lockdown { doors, .. } => doors.as_slice(),
                PremisesCommand::Acknowledge { door } => std::slice::from_ref(door),
                _ => &[],
            };
            let known = self.names_of("door");
            // A door that is not there would be "locked down" and stand open.
            if let Some(unknown) = asked.iter().find(|door| !known.contains(door)) {
                return Err(SystemError::NotFound { what: "door", id: unknown.to_string() });
            }
            let journal: Arc<dyn Journal> = self.store.journal().clone();
            let done = self.doors.premises().command(command, operator, journal, self.shared.clock.now()).await;
            done.map_err(|error| SystemError::Unavailable { detail: error.to_string() })
        })
    }

    fn door_setup(&self, door: Option<&Name>) -> Result<DoorSetup, SystemError> {
        self.setup_of(door)
    }

    fn put_door<'a>(&'a self, door: &'a Name, change: DoorChange) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(self.put_setup(door, change))
    }

    fn remove_door<'a>(&'a self, door: &'a Name) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(self.remove_setup(door))
    }

    fn read_relay(&self, ask: RelayAsk) -> BoxFuture<'_, Result<RelayReading, SystemError>> {
        Box::pin(self.ask_relay(ask))
    }

    fn pulse_relay(&self, ask: RelayAsk, length: Duration) -> BoxFuture<'_, Result<RelayReading, SystemError>> {
        Box::pin(self.try_relay(ask, length))
    }

    fn relay_drivers(&self) -> Vec<DriverSpec> {
        self.drivers()
    }

    fn relay_shown<'a>(&'a self, door: &'a Name) -> BoxFuture<'a, Result<Option<RelayShown>, SystemError>> {
        Box::pin(self.relay_of(door))
    }

    fn relay_address<'a>(
        &'a self,
        door: Option<&'a Name>,
        form: RelayForm,
    ) -> BoxFuture<'a, Result<Secret, SystemError>> {
        Box::pin(self.address_of(door, form))
    }

    fn keypads(&self) -> Vec<Keypad> {
        self.soft_readers()
    }

    fn keypad(&self, id: &Name) -> Result<SoftHandle, SystemError> {
        self.soft_handle(id)
    }

    fn add_keypad<'a>(&'a self, id: &'a Name, door: &'a Name) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(self.add_soft_reader(id, door))
    }

    fn remove_keypad<'a>(&'a self, id: &'a Name) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(self.remove_soft_reader(id))
    }

    fn open_remotely<'a>(&'a self, door: &'a Name, person: &'a Name) -> BoxFuture<'a, Result<Decision, SystemError>> {
        Box::pin(self.press_button(door, person))
    }

    fn telegram(&self) -> Telegram {
        self.shared.telegram.clone()
    }

    fn telegram_setup(&self) -> TelegramSetup {
        self.bot_setup()
    }

    fn put_telegram(&self, token: Option<Secret>, api: Option<String>) -> BoxFuture<'_, Result<(), SystemError>> {
        Box::pin(self.put_bot(token, api))
    }

    fn remove_telegram(&self) -> BoxFuture<'_, Result<(), SystemError>> {
        Box::pin(self.remove_bot())
    }

    fn health(&self) -> Vec<Health> {
        let components = self.host.status().into_iter().map(|status| {
            let is_well = !matches!(status.state, ComponentState::Failed | ComponentState::BackingOff);
            let detail = status.last_fault.filter(|_| !is_well).unwrap_or_default();
            Health { component: status.name.to_string(), is_well, detail }
        });
        let cameras = self.cameras().into_iter().filter(|camera| camera.state != StreamState::Online).map(|camera| {
            let detail = format!("{} {}", camera.state, camera.detail).trim_end().to_owned();
            Health { component: camera.id.to_string(), is_well: false, detail }
        });
        let mut health: BTreeMap<String, Health> = BTreeMap::new();
        for part in components.chain(cameras) {
            health.insert(part.component.clone(), part);
        }
        let parked = self.shared.spool.index().tally().parked;
        if parked > 0 {
            let detail = format!("the archive does not take {parked} clips: see the journal");
            health.insert("archive".into(), Health { component: "archive".into(), is_well: false, detail });
        }
        health.into_values().collect()
    }

    fn metrics(&self) -> String {
        metrics::prometheus(&self.host.status())
    }
}
