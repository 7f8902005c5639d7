//! A small site as a value: cameras, clips and doors that answer like a running system, without devices.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use godvision_access::driver_spec::DriverSpec;
use godvision_access::reader::soft::{SoftHandle, SoftReaders};
use godvision_access::relay::RelayRegistry;
use godvision_core::bus::{ParamKind, ParamSpec, ParamValue};
use godvision_core::journal::BoxFuture;
use godvision_core::signal::door::{AlarmKind, Decision, DoorState, Indication, Reason, Verdict};
use godvision_core::signal::media::{Codec, StreamState, VideoFormat};
use godvision_core::{Clock, Name, Secret, WallTime};
use godvision_server::web::system::{
    Analysis, AreaNow, Camera, Clip, ClipQuery, ClipReader, ClipState, Door, DoorChange, DoorField, DoorSetup,
    DoorSource, Failing, Health, Keypad, LockedOut, Mode, PassRef, PremisesCommand, PremisesNow, RelayAsk, RelayForm,
    RelayReading, RelayShown, Switch, System, SystemError, Watching,
};

/// The site. Its lists can be filled before it is served.
pub(crate) struct Site {
    pub(crate) cameras: Mutex<Vec<Camera>>,
    pub(crate) watching: Mutex<Watching>,
    pub(crate) clips: Mutex<Vec<Clip>>,
    pub(crate) doors: Mutex<Vec<Door>>,
    pub(crate) videos: BTreeMap<String, Bytes>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) premises: Mutex<PremisesNow>,
    /// What was commanded, and by whom.
    pub(crate) commands: Mutex<Vec<(PremisesCommand, String)>>,
    /// Shut by a test that wants a command to take long.
    pub(crate) gate: Arc<tokio::sync::RwLock<()>>,
    /// Commands that came to the gate.
    pub(crate) asked: AtomicU32,
    /// How often every pass was used.
    pub(crate) pass_uses: Mutex<u32>,
    pub(crate) keypads: Mutex<Vec<Keypad>>,
    pub(crate) soft: SoftReaders,
    /// What was asked for by a button: the door, and who.
    pub(crate) remotely: Mutex<Vec<(Name, Name)>>,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name of the test is valid")
}

pub(crate) fn camera(id: &str, title: &str, state: StreamState) -> Camera {
    Camera {
        id: name(id),
        title: title.to_owned(),
        state,
        since: WallTime::from_unix_seconds(1_795_253_000),
        code: None,
        detail: String::new(),
        format: Some(Arc::new(VideoFormat {
            codec: Codec::H264,
            width: 1920,
            height: 1080,
            codec_name: "avc1.640028".to_owned(),
            config: Bytes::new(),
        })),
        detection: true,
        archive: true,
        analyses: vec![
            Analysis { switch: Switch::Qr, is_on: true, missing: None },
            Analysis { switch: Switch::Faces, is_on: false, missing: None },
            Analysis {
                switch: Switch::Plates,
                is_on: false,
                missing: Some("fill the folder <models> first".to_owned()),
            },
        ],
        rests: Vec::new(),
        tampers: Vec::new(),
        is_recording: false,
        counters: vec![("frames", 90_211), ("lost_packets", 0), ("reconnects", 1)],
    }
}

pub(crate) fn clip(id: &str, camera: &str, second: i64, size_bytes: u64, state: ClipState) -> Clip {
    Clip {
        id: id.to_owned(),
        camera: name(camera),
        from: WallTime::from_unix_seconds(second),
        duration: Duration::from_millis(14_200),
        size_bytes,
        frames: 100,
        motion_after: Some(Duration::from_secs(5)),
        cause: "motion".to_owned(),
        state,
    }
}

pub(crate) fn door(id: &str, title: &str, state: DoorState) -> Door {
    Door {
        id: name(id),
        title: title.to_owned(),
        state,
        since: WallTime::from_unix_seconds(1_795_253_000),
        indication: Indication::Ready,
        open_for: Some(Duration::from_secs(5)),
        detail: String::new(),
        decisions: Vec::new(),
        cameras: vec![name("yard/camera")],
        mode: Mode::Normal,
        is_ajar: None,
        alarms: Vec::new(),
    }
}

/// Bytes that tell where they are.
pub(crate) fn pattern(size: usize) -> Bytes {
    (0..size).map(|index| (index % 251) as u8).collect::<Vec<u8>>().into()
}

impl Site {
    pub(crate) fn empty(clock: Arc<dyn Clock>) -> Self {
        Self {
            cameras: Mutex::default(),
            watching: Mutex::new(Watching {
                sensitivity: "normal".into(),
                zones: vec!["gate: 0,0 1000,0 0,1000".into()],
            }),
            clips: Mutex::default(),
            doors: Mutex::default(),
            videos: BTreeMap::new(),
            clock,
            premises: Mutex::new(PremisesNow {
                is_emergency: false,
                areas: vec![AreaNow { area: name("lab"), inside: vec![name("bob")] }],
                locked_out: vec![LockedOut {
                    who: Failing::Source(name("yard/keypad")),
                    until: WallTime::from_unix_seconds(1_795_253_460),
                }],
            }),
            commands: Mutex::default(),
            gate: Arc::default(),
            asked: AtomicU32::new(0),
            pass_uses: Mutex::default(),
            keypads: Mutex::default(),
            soft: SoftReaders::default(),
            remotely: Mutex::default(),
        }
    }

    /// Two cameras, three clips, two doors.
    pub(crate) fn small(clock: Arc<dyn Clock>) -> Self {
        let mut site = Self::empty(clock);
        site.cameras = Mutex::new(vec![
            camera("yard/camera", "Yard", StreamState::Online),
            Camera {
                code: Some("auth_failed"),
                detail: "the camera refused the user name or password: correct it in the site document".to_owned(),
                ..camera("gate/camera", "Gate", StreamState::NeedsAttention)
            },
        ]);
        site.clips = Mutex::new(vec![
            clip("yard/3", "yard/camera", 1_795_253_300, 700_000, ClipState::Uploading { percent: 40 }),
            clip("gate/2", "gate/camera", 1_795_253_200, 1000, ClipState::Parked { why: "the archive is full".into() }),
            clip("yard/1", "yard/camera", 1_795_253_100, 10, ClipState::Archived),
        ]);
        site.doors = Mutex::new(vec![
            door("house/front", "Front door", DoorState::Locked),
            Door { detail: "the relay does not answer".to_owned(), ..door("yard/gate", "Gate", DoorState::Fault) },
        ]);
        site.videos = [("yard/3", 700_000), ("gate/2", 1000), ("yard/1", 10)]
            .map(|(id, size)| (id.to_owned(), pattern(size)))
            .into();
        site
    }
}

fn not_found(what: &'static str, id: &str) -> SystemError {
    SystemError::NotFound { what, id: id.to_owned() }
}

struct Reader(Bytes);

impl ClipReader for Reader {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SystemError>> {
        Box::pin(async move { Ok(self.0.slice(range.start as usize..(range.end as usize).min(self.0.len()))) })
    }
}

impl System for Site {
    fn cameras(&self) -> Vec<Camera> {
        self.cameras.lock().unwrap().clone()
    }

    fn set_switch<'a>(&'a self, camera: &'a Name, switch: Switch, on: bool) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            let mut cameras = self.cameras.lock().unwrap();
            let found = cameras.iter_mut().find(|it| it.id == *camera);
            let found = found.ok_or_else(|| not_found("camera", camera.as_str()))?;
            if found.state == StreamState::Stopped {
                return Err(SystemError::Unavailable { detail: "the camera is stopped: start it first".to_owned() });
            }
            match switch {
                Switch::Detection => found.detection = on,
                Switch::Archive => found.archive = on,
                other => {
                    let analysis = found.analyses.iter_mut().find(|it| it.switch == other);
                    let analysis = analysis.ok_or_else(|| not_found("analysis", other.code()))?;
                    if let (true, Some(detail)) = (on, analysis.missing.clone()) {
                        return Err(SystemError::Refused { detail });
                    }
                    analysis.is_on = on;
                }
            }
            Ok(())
        })
    }

    fn watching(&self, _: &Name) -> Result<Watching, SystemError> {
        Ok(self.watching.lock().unwrap().clone())
    }

    fn set_watching<'a>(&'a self, _: &'a Name, watching: Watching) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            if watching.zones.iter().any(|zone| zone.parse::<godvision_vision::motion::Zone>().is_err()) {
                return Err(SystemError::Refused { detail: "a zone is wrong".to_owned() });
            }
            *self.watching.lock().unwrap() = watching;
            Ok(())
        })
    }

    fn clips(&self, query: ClipQuery) -> BoxFuture<'_, Result<Vec<Clip>, SystemError>> {
        Box::pin(async move {
            let clips = self.clips.lock().unwrap();
            let mut rest = clips.iter();
            if let Some(before) = &query.before {
                rest.find(|clip| clip.id == *before);
            }
            Ok(rest
                .filter(|clip| query.camera.as_ref().is_none_or(|camera| clip.camera == *camera))
                .filter(|clip| query.from.is_none_or(|from| clip.from >= from))
                .filter(|clip| query.to.is_none_or(|to| clip.from < to))
                .take(query.limit)
                .cloned()
                .collect())
        })
    }

    fn open_clip<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Arc<dyn ClipReader>, SystemError>> {
        Box::pin(async move {
            let video = self.videos.get(id).cloned().ok_or_else(|| not_found("clip", id))?;
            Ok(Arc::new(Reader(video)) as Arc<dyn ClipReader>)
        })
    }

    fn doors(&self) -> Vec<Door> {
        self.doors.lock().unwrap().clone()
    }

    fn open_door<'a>(
        &'a self,
        door: &'a Name,
        operator: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<Decision, SystemError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let mut doors = self.doors.lock().unwrap();
            let found = doors.iter_mut().find(|it| it.id == *door).ok_or_else(|| not_found("door", door.as_str()))?;
            if found.state == DoorState::Fault {
                let detail = "the relay does not answer: check its power and address".to_owned();
                return Err(SystemError::Unavailable { detail });
            }
            let decision = Decision {
                source: name("web"),
                door: Some(door.clone()),
                user: Name::new(operator).ok(),
                credential: "manual",
                with: Vec::new(),
                note: Some(reason.to_owned()),
                verdict: Verdict::Admit,
                reason: Reason::Permitted,
                rule: Some(name("operators")),
                presented: now,
                decided: now,
            };
            found.state = DoorState::Unlocked;
            found.indication = Indication::Open;
            found.since = now.wall;
            found.decisions.insert(0, decision.clone());
            Ok(decision)
        })
    }

    fn pass_uses(&self, _: PassRef) -> BoxFuture<'_, Result<u32, SystemError>> {
        let uses = *self.pass_uses.lock().unwrap();
        Box::pin(async move { Ok(uses) })
    }

    fn premises(&self) -> PremisesNow {
        self.premises.lock().unwrap().clone()
    }

    fn command<'a>(&'a self, command: PremisesCommand, operator: &'a str) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let _open = self.gate.read().await;
            let (mut now, mut doors) = (self.premises.lock().unwrap(), self.doors.lock().unwrap());
            match &command {
                PremisesCommand::Lockdown { doors: asked, is_on } => {
                    for door in doors.iter_mut().filter(|door| asked.contains(&door.id)) {
                        door.mode = if *is_on { Mode::LockedDown } else { Mode::Normal };
                    }
                }
                PremisesCommand::Emergency { is_on } => now.is_emergency = *is_on,
                PremisesCommand::Forgive { person } => {
                    now.areas.iter_mut().for_each(|area| area.inside.retain(|it| it != person));
                }
                PremisesCommand::Unblock { source } => {
                    now.locked_out.retain(|it| it.who != Failing::Source(source.clone()));
                }
                PremisesCommand::Acknowledge { door } => {
                    let is_over = |kind: &AlarmKind| matches!(kind, AlarmKind::Forced | AlarmKind::Duress);
                    let seen = doors.iter_mut().filter(|it| it.id == *door);
                    seen.for_each(|door| door.alarms.retain(|kind| !is_over(kind)));
                }
            }
            self.commands.lock().unwrap().push((command, operator.to_owned()));
            Ok(())
        })
    }

    fn door_setup(&self, door: Option<&Name>) -> Result<DoorSetup, SystemError> {
        if let Some(door) = door.filter(|door| self.doors.lock().unwrap().iter().all(|it| it.id != **door)) {
            return Err(not_found("door", door.as_str()));
        }
        let spec = ParamSpec::required("relay", ParamKind::Secret, "the relay");
        let channel = ParamSpec::with_default("channel", ParamKind::Integer { min: 0, max: 63 }, 0_i64, "its channel");
        let is_set = door.is_some();
        Ok(DoorSetup {
            fields: vec![
                DoorField { spec, value: None, is_set },
                DoorField { spec: channel, value: is_set.then_some(ParamValue::Integer(1)), is_set },
            ],
            sources: vec![DoorSource { output: "qr/yard#sightings".into(), input: "sightings", is_linked: is_set }],
        })
    }

    fn put_door<'a>(&'a self, id: &'a Name, _: DoorChange) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            let mut doors = self.doors.lock().unwrap();
            if doors.iter().all(|it| it.id != *id) {
                doors.push(door(id.as_str(), "New", DoorState::Unknown));
            }
            Ok(())
        })
    }

    fn remove_door<'a>(&'a self, id: &'a Name) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            let mut doors = self.doors.lock().unwrap();
            let found = doors.iter().position(|it| it.id == *id).ok_or_else(|| not_found("door", id.as_str()))?;
            doors.remove(found);
            Ok(())
        })
    }

    fn read_relay(&self, _: RelayAsk) -> BoxFuture<'_, Result<RelayReading, SystemError>> {
        let took = Duration::from_millis(12);
        let told = RelayReading { is_on: false, took, driver: "simulated", is_timed_by_device: true };
        Box::pin(async move { Ok(told) })
    }

    fn pulse_relay(&self, ask: RelayAsk, _: Duration) -> BoxFuture<'_, Result<RelayReading, SystemError>> {
        self.read_relay(ask)
    }

    fn relay_drivers(&self) -> Vec<DriverSpec> {
        let registry = RelayRegistry::standard(godvision_core::SystemClock::shared());
        registry.specs().cloned().collect()
    }

    fn relay_shown<'a>(&'a self, _: &'a Name) -> BoxFuture<'a, Result<Option<RelayShown>, SystemError>> {
        let fields = vec![("host", "192.0.2.7".to_owned())];
        let shown = RelayShown { driver: "shelly".to_owned(), fields, kept: vec!["password"] };
        Box::pin(async move { Ok(Some(shown)) })
    }

    fn relay_address<'a>(&'a self, _: Option<&'a Name>, form: RelayForm) -> BoxFuture<'a, Result<Secret, SystemError>> {
        Box::pin(async move { Ok(Secret::from(format!("{}://192.0.2.7", form.driver))) })
    }

    fn open_remotely<'a>(&'a self, door: &'a Name, person: &'a Name) -> BoxFuture<'a, Result<Decision, SystemError>> {
        self.remotely.lock().unwrap().push((door.clone(), person.clone()));
        self.open_door(door, person.as_str(), "by a button")
    }

    fn put_telegram(&self, _: Option<Secret>, _: Option<String>) -> BoxFuture<'_, Result<(), SystemError>> {
        Box::pin(async { Ok(()) })
    }

    fn remove_telegram(&self) -> BoxFuture<'_, Result<(), SystemError>> {
        Box::pin(async { Ok(()) })
    }

    fn keypads(&self) -> Vec<Keypad> {
        self.keypads.lock().unwrap().clone()
    }

    fn keypad(&self, id: &Name) -> Result<SoftHandle, SystemError> {
        if self.keypads().iter().all(|keypad| keypad.id != *id) {
            return Err(not_found("keypad", id.as_str()));
        }
        Ok(self.soft.handle(&id.as_str().replace('/', "~")).unwrap())
    }

    fn add_keypad<'a>(&'a self, id: &'a Name, door: &'a Name) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            self.keypads.lock().unwrap().push(Keypad { id: id.clone(), door: Some(door.clone()) });
            Ok(())
        })
    }

    fn remove_keypad<'a>(&'a self, id: &'a Name) -> BoxFuture<'a, Result<(), SystemError>> {
        Box::pin(async move {
            self.keypads.lock().unwrap().retain(|keypad| keypad.id != *id);
            Ok(())
        })
    }

    fn health(&self) -> Vec<Health> {
        self.cameras()
            .into_iter()
            .map(|it| Health {
                component: it.id.to_string(),
                is_well: it.state == StreamState::Online,
                detail: it.detail,
            })
            .collect()
    }

    fn metrics(&self) -> String {
        "# TYPE godvision_frames_total counter\ngodvision_frames_total{camera=\"yard/camera\"} 90211\n".to_owned()
    }
}
