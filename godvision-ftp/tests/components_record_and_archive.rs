//! The units `recorder` and `archiver` on a running host: fragments and motion in, archived clips and journal lines out.
#![cfg(feature = "component")]

use std::sync::{Arc, Mutex};

use godvision_core::bus::{
    Component, Context, Fault, Host, HostOptions, Kind, Output, ParamError, Params, Policy, PortSpec, Registry, Unit,
    UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::{MemoryJournal, Query};
use godvision_core::signal::media::Fragment;
use godvision_core::signal::seen::{Motion, MotionPhase};
use godvision_core::site::{ComponentEntry, SiteDocument};
use godvision_core::{Clock, Name, SystemClock};
use godvision_ftp::archive::folder::{FolderArchive, Placing};
use godvision_ftp::clip::RecordMode;
use godvision_ftp::index::{ClipQuery, ClipState};
use godvision_ftp::io::spool::{Spool, SpoolOptions};
use godvision_ftp::recorder::{ArchiverUnit, ClipEvent, ClipStep, RecordSwitches, RecorderUnit};
use godvision_ftp::sample::{Stream, frames_of};
use tempfile::TempDir;
use tokio::sync::mpsc;

enum Say {
    Fragment(Fragment),
    Motion(Motion),
}

type Script = Arc<Mutex<Option<mpsc::UnboundedReceiver<Say>>>>;

/// A camera and its detector that say what the test tells them.
struct CameraUnit(UnitSpec, Script);

struct Camera(Script);

impl Unit for CameraUnit {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Camera(Arc::clone(&self.1))))
    }
}

impl Component for Camera {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let fragments: Output<Fragment> = cx.output("fragments")?;
            let motions: Output<Motion> = cx.output("motion")?;
            let mut script = self.0.lock().unwrap().take().expect("started once");
            let mut stopping = cx.stopping();
            loop {
                tokio::select! {
                    () = stopping.wait() => return Ok(()),
                    Some(say) = script.recv() => match say {
                        Say::Fragment(it) => assert_eq!(fragments.send(it).refused, 0),
                        Say::Motion(it) => assert_eq!(motions.send(it).refused, 0),
                    },
                }
            }
        })
    }
}

/// Hands clip events to the test.
struct ListenUnit(UnitSpec, mpsc::UnboundedSender<ClipEvent>);

struct Listen(mpsc::UnboundedSender<ClipEvent>);

impl Unit for ListenUnit {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Listen(self.1.clone())))
    }
}

impl Component for Listen {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut clips = cx.input::<ClipEvent>("clips")?;
            while let Some(event) = clips.recv().await {
                let _ = self.0.send(event.into_value());
            }
            Ok(())
        })
    }
}

fn spec(name: &'static str, kind: Kind, inputs: Vec<PortSpec>, outputs: Vec<PortSpec>) -> UnitSpec {
    UnitSpec { name, about: "for a test", kind, inputs, outputs, params: vec![] }
}

struct House {
    home: TempDir,
    host: Host,
    spool: Arc<Spool>,
    switches: RecordSwitches,
    journal: Arc<MemoryJournal>,
    script: mpsc::UnboundedSender<Say>,
    events: mpsc::UnboundedReceiver<ClipEvent>,
    stream: Stream,
    event: u64,
}

impl House {
    async fn start() -> Self {
        let home = TempDir::new().unwrap();
        let spool = Arc::new(Spool::open(home.path().join("spool"), SpoolOptions::default()).unwrap().0);
        let archive = Arc::new(FolderArchive::new(home.path().join("archive"), Placing::Link));
        let (switches, journal) = (RecordSwitches::default(), Arc::new(MemoryJournal::default()));
        let (script, receiver) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::unbounded_channel();
        let outputs = vec![PortSpec::output::<Fragment>("fragments"), PortSpec::output::<Motion>("motion")];
        let listens = vec![PortSpec::input::<ClipEvent>("clips", Policy::Lossless { capacity: 64 })];
        let registry = Registry::new()
            .with(CameraUnit(spec("camera", Kind::Generator, vec![], outputs), Arc::new(Mutex::new(Some(receiver)))))
            .with(ListenUnit(spec("listen", Kind::Sink, listens, vec![]), sender))
            .with(RecorderUnit::new(Arc::clone(&spool), switches.clone()))
            .with(ArchiverUnit::new(Arc::clone(&spool), archive));
        let host = Host::new(HostOptions { journal: journal.clone(), ..HostOptions::default() }, registry);
        let mut site = SiteDocument::new(name("home"));
        for (component, unit) in
            [("listen", "listen"), ("archiver", "archiver"), ("yard/recorder", "recorder"), ("yard/camera", "camera")]
        {
            site.components.push(ComponentEntry::new(name(component), unit, Params::new()));
        }
        for (from, to) in [
            ("yard/camera#fragments", "yard/recorder#fragments"),
            ("yard/camera#motion", "yard/recorder#motion"),
            ("yard/recorder#clips", "listen#clips"),
            ("archiver#clips", "listen#clips"),
        ] {
            site.link(from, to).unwrap();
        }
        host.apply(&site).await.unwrap();
        Self { home, host, spool, switches, journal, script, events, stream: Stream::new("yard/camera", 10), event: 0 }
    }

    fn frames(&mut self, count: usize) {
        for _ in 0..count {
            let mut fragment = self.stream.frame();
            // The component compares with the host's clock whether the stream has fallen silent.
            fragment.at.mono = SystemClock.mono();
            self.script.send(Say::Fragment(fragment)).ok().unwrap();
        }
    }

    fn motion(&mut self, phase: MotionPhase) {
        let mut at = self.stream.now();
        at.mono = SystemClock.mono();
        self.event += u64::from(phase == MotionPhase::Started);
        let (source, event) = (name("yard/camera"), self.event);
        let motion =
            Motion { source, event, phase, at, sequence: 0, regions: vec![], zones: vec![], share: 0.1, mask: None };
        self.script.send(Say::Motion(motion)).ok().unwrap();
    }

    async fn next(&mut self) -> ClipEvent {
        self.events.recv().await.expect("an event")
    }

    async fn wait(&mut self, step: ClipStep) -> ClipEvent {
        loop {
            let event = self.next().await;
            if event.step == step {
                return event;
            }
        }
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[tokio::test]
async fn motion_is_recorded_with_what_came_before_and_archived() {
    let mut house = House::start().await;
    house.frames(25);
    house.motion(MotionPhase::Started);
    let opened = house.wait(ClipStep::Opened).await;
    assert_eq!(opened.info.camera, name("yard/camera"));
    house.frames(30);
    // Stopping the recorder closes the clip with everything that came.
    house.switches.set(&name("yard/recorder"), RecordMode::Off);
    let closed = house.wait(ClipStep::Closed).await;
    let archived = house.wait(ClipStep::Archived).await;
    assert_eq!(archived.info.id, closed.info.id);
    let file = house.home.path().join("archive").join(&archived.info.archive_name);
    let frames = frames_of(&std::fs::read(file).unwrap()).unwrap();
    assert!(frames.len() >= 25 && frames[0] == 0, "it begins before the motion: {frames:?}");
    assert_eq!(frames.len() as u64, closed.info.frames);
    assert_eq!(house.spool.index().get(&archived.info.id).unwrap().state, ClipState::Archived);
    house.host.shutdown().await;
    let codes: Vec<String> = house.journal.read(&Query::default()).into_iter().map(|entry| entry.code).collect();
    for code in ["clip.opened", "clip.closed", "clip.archived"] {
        assert!(codes.iter().any(|it| it == code), "{code} is missing in {codes:?}");
    }
}

#[tokio::test]
async fn a_recorder_that_was_switched_off_and_on_records_as_its_parameter_says() {
    let mut house = House::start().await;
    let recorder = name("yard/recorder");
    house.switches.set(&recorder, RecordMode::Off);
    house.switches.reset(&recorder);
    assert_eq!(house.switches.get(&recorder), None);
    house.frames(25);
    house.motion(MotionPhase::Started);
    house.wait(ClipStep::Opened).await;
    house.host.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_closes_the_clip_with_every_frame_that_came() {
    let mut house = House::start().await;
    house.switches.set(&name("yard/recorder"), RecordMode::Always);
    house.frames(40);
    house.wait(ClipStep::Opened).await;
    // What the camera has said is in the recorder's hands once the last frame was recorded.
    while house.spool.index().list(&ClipQuery::default()).first().map(|it| it.info.frames) != Some(40) {
        tokio::task::yield_now().await;
    }
    house.host.shutdown().await;
    let clips = house.spool.index().list(&ClipQuery::default());
    assert_eq!(clips.len(), 1);
    assert!(clips[0].info.frames == 40 && clips[0].state != ClipState::Recording, "{:?}", clips[0]);
}
