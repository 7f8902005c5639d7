//! The bus components `recorder` and `archiver`: thin shells over [`Recorder`] and [`Uploader`].
//!
//! `recorder` gathers what its camera and detector say for up to a second and hands it, in one piece, to a thread of its
//! own that cuts, writes and syncs: one wake-up and one write a second, and the async runtime never waits for a disk.
//! Motion and switching go at once. If the disk is slow the `fragments` queue fills, and that is all that waits.
//!
//! **Never:** a fragment dropped between the port and the disk.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Fault, Kind, Output, ParamError, ParamKind, ParamSpec, Params, Policy, PortSpec, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::driver::archive::Archive;
use godvision_core::journal::{Entry, Level};
use godvision_core::signal::media::Fragment;
use godvision_core::signal::seen::Motion;
use godvision_core::signal::{Signal, SignalType};
use godvision_core::{MonoTime, Name, Stamp};
use tokio::sync::{mpsc, watch};

use crate::clip::{ClipOptions, CloseReason, RecordMode};
use crate::io::recorder::Recorder;
use crate::io::spool::{Spool, SpoolEvent};
use crate::io::uploader::{UploadEvent, Uploader};
use crate::retention::Eviction;
use crate::spool::ClipInfo;
use crate::upload::{UploadOptions, UploadOrder};

/// Most fragments that wait for a slow disk: 40 s at 25 frames a second.
pub const FRAGMENTS_MAX: usize = 1024;
/// Most motions that wait.
pub const MOTIONS_MAX: usize = 256;
/// Fragments are handed to the disk at least so often: the most that a power cut or a kill costs.
pub const BATCH_TIME: Duration = Duration::from_secs(1);
/// And when so much has gathered.
const BATCH_BYTES: usize = 1 << 20;
/// Batches on their way to the thread.
const BATCHES_MAX: usize = 4;

/// What became of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClipStep {
    /// It is being recorded.
    Opened,
    /// It is complete and survives anything.
    Closed,
    /// It was saved after a crash.
    Recovered,
    /// The archive has it.
    Archived,
    /// The archive will not take it.
    Parked,
    /// It was given up without being archived.
    Lost,
}

/// A step in a clip's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipEvent {
    /// What became of it.
    pub step: ClipStep,
    /// When.
    pub at: Stamp,
    /// The clip.
    pub info: Arc<ClipInfo>,
}

impl Signal for ClipEvent {
    const TYPE: SignalType = SignalType { name: "clip", version: 1 };
}

/// Switches recording of running components, at once. Cheap to clone; a setting outlives restarts of its component.
#[derive(Clone, Debug, Default)]
pub struct RecordSwitches(Arc<Mutex<BTreeMap<Name, watch::Sender<Option<RecordMode>>>>>);

impl RecordSwitches {
    fn with<T>(&self, recorder: &Name, act: impl FnOnce(&watch::Sender<Option<RecordMode>>) -> T) -> T {
        let mut switches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(switches.entry(recorder.clone()).or_insert_with(|| watch::Sender::new(None)))
    }

    /// Says when the component `recorder` records from now on.
    pub fn set(&self, recorder: &Name, mode: RecordMode) {
        self.with(recorder, |switch| switch.send_replace(Some(mode)));
    }

    /// Lets the component `recorder` record as its own parameter says again.
    pub fn reset(&self, recorder: &Name) {
        self.with(recorder, |switch| switch.send_replace(None));
    }

    /// What was last set; `None` while the component's own parameter holds.
    pub fn get(&self, recorder: &Name) -> Option<RecordMode> {
        self.with(recorder, |switch| *switch.borrow())
    }

    fn watch(&self, recorder: &Name) -> watch::Receiver<Option<RecordMode>> {
        self.with(recorder, watch::Sender::subscribe)
    }
}

/// Makes `recorder` components, all into one spool.
#[derive(Debug)]
pub struct RecorderUnit {
    spec: UnitSpec,
    spool: Arc<Spool>,
    switches: RecordSwitches,
}

const MODES: [(&str, RecordMode); 3] =
    [("off", RecordMode::Off), ("motion", RecordMode::OnMotion), ("always", RecordMode::Always)];

impl RecorderUnit {
    /// Recorders into `spool`, switched by `switches`.
    pub fn new(spool: Arc<Spool>, switches: RecordSwitches) -> Self {
        let seconds = |min, max| ParamKind::Seconds { min, max };
        let spec = UnitSpec {
            name: "recorder",
            about: "records a camera's fragments into clips, before, during and after motion",
            kind: Kind::Complex,
            inputs: vec![
                PortSpec::input::<Fragment>("fragments", Policy::Lossless { capacity: FRAGMENTS_MAX }),
                PortSpec::input::<Motion>("motion", Policy::Lossless { capacity: MOTIONS_MAX }),
            ],
            outputs: vec![PortSpec::output::<ClipEvent>("clips")],
            params: vec![
                ParamSpec::with_default(
                    "record",
                    ParamKind::Choice(&["off", "motion", "always"]),
                    "motion",
                    "when to record",
                ),
                ParamSpec::with_default("pre_roll", seconds(0.0, 60.0), 5.0, "what is kept from before a motion"),
                ParamSpec::with_default("post_roll", seconds(0.0, 600.0), 5.0, "how long a clip goes on after it"),
                ParamSpec::with_default("min_length", seconds(0.0, 600.0), 1.0, "shortest clip"),
                ParamSpec::with_default("max_length", seconds(5.0, 3600.0), 300.0, "longer clips are split"),
            ],
        };
        Self { spec, spool, switches }
    }
}

impl Unit for RecorderUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, name: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let default = ClipOptions::default();
        let seconds = |key, default| params.seconds(key).unwrap_or(default);
        let options = ClipOptions {
            pre_roll: seconds("pre_roll", default.pre_roll),
            post_roll: seconds("post_roll", default.post_roll),
            length_min: seconds("min_length", default.length_min),
            length_max: seconds("max_length", default.length_max),
            ..default
        };
        if options.length_min > options.length_max {
            return Err(params.error("min_length", "must not be longer than max_length"));
        }
        let word = params.text("record").unwrap_or("motion");
        let mode = MODES.iter().find(|(code, _)| *code == word).map_or(RecordMode::OnMotion, |(_, mode)| *mode);
        let (spool, switch) = (Arc::clone(&self.spool), self.switches.watch(name));
        Ok(Box::new(RecorderComponent { options, mode, spool, switch }))
    }
}

struct RecorderComponent {
    options: ClipOptions,
    mode: RecordMode,
    spool: Arc<Spool>,
    switch: watch::Receiver<Option<RecordMode>>,
}

enum Said {
    Fragment(Fragment),
    Motion(Motion),
    Mode(RecordMode),
    Time(MonoTime),
}

/// The thread that owns the disk. Ends, closing the clip, when its queue is dropped.
fn write_batches(
    mut recorder: Recorder,
    mut batches: mpsc::Receiver<Vec<Said>>,
    told: mpsc::UnboundedSender<SpoolEvent>,
) {
    let mut events = Vec::new();
    while let Some(batch) = batches.blocking_recv() {
        for said in batch {
            match said {
                Said::Fragment(fragment) => recorder.fragment(fragment, &mut events),
                Said::Motion(motion) => recorder.motion(&motion, &mut events),
                Said::Mode(mode) => recorder.set_mode(mode, &mut events),
                Said::Time(now) => recorder.tick(now, &mut events),
            }
        }
        recorder.flush(&mut events);
        for event in events.drain(..) {
            // Nobody listens any more once the component was aborted; the disk is what counts.
            let _ = told.send(event);
        }
    }
    recorder.finish(&mut events);
    for event in events {
        let _ = told.send(event);
    }
}

impl Component for RecorderComponent {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut fragments = cx.input::<Fragment>("fragments")?;
            let mut motions = cx.input::<Motion>("motion")?;
            let clips = cx.output::<ClipEvent>("clips")?;
            let mode = self.switch.borrow_and_update().unwrap_or(self.mode);
            let recorder = Recorder::new(Arc::clone(&self.spool), self.options, mode);
            let (to_thread, batches) = mpsc::channel(BATCHES_MAX);
            let (told, mut events) = mpsc::unbounded_channel();
            std::thread::Builder::new()
                .name(format!("rec {}", cx.name().leaf()))
                .spawn(move || write_batches(recorder, batches, told))
                .map_err(|error| Fault::Restart(format!("no thread to record with: {error}")))?;
            let mut tick = tokio::time::interval(BATCH_TIME);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let (mut batch, mut bytes, mut motion_is_open) = (Vec::new(), 0, true);
            let ended = loop {
                let is_due = tokio::select! {
                    fragment = fragments.recv() => match fragment {
                        None => break Ok(()),
                        Some(fragment) => {
                            bytes += fragment.wire_bytes();
                            batch.push(Said::Fragment(fragment.into_value()));
                            bytes >= BATCH_BYTES
                        }
                    },
                    motion = motions.recv(), if motion_is_open => match motion {
                        None => { motion_is_open = false; false }
                        Some(motion) => { batch.push(Said::Motion(motion.into_value())); true }
                    },
                    Ok(()) = self.switch.changed() => {
                        let mode = self.switch.borrow_and_update().unwrap_or(self.mode);
                        batch.push(Said::Mode(mode));
                        true
                    }
                    event = events.recv() => match event {
                        Some(event) => { tell(cx, &clips, &event).await; false }
                        None => break Err(Fault::Restart("the recording thread has died".to_owned())),
                    },
                    _ = tick.tick() => true,
                };
                if is_due {
                    batch.push(Said::Time(cx.now().mono));
                    bytes = 0;
                    if to_thread.send(std::mem::take(&mut batch)).await.is_err() {
                        break Err(Fault::Restart("the recording thread has died".to_owned()));
                    }
                }
            };
            // Everything that came is written and the clip closed before the component ends.
            let _ = to_thread.send(batch).await;
            drop(to_thread);
            while let Some(event) = events.recv().await {
                tell(cx, &clips, &event).await;
            }
            ended
        })
    }
}

async fn tell(cx: &Context, clips: &Output<ClipEvent>, event: &SpoolEvent) {
    let now = cx.now();
    if let Some(event) = clip_event(event, now) {
        clips.send(event);
    }
    keep(cx, journal_entry(event, now, cx.name())).await;
}

async fn keep(cx: &Context, entry: Entry) {
    if let Err(error) = cx.journal().append(entry).await {
        tracing::error!(component = %cx.name(), %error, "cannot write the journal");
    }
}

fn clip_event(event: &SpoolEvent, at: Stamp) -> Option<ClipEvent> {
    let (step, info) = match event {
        SpoolEvent::Opened(info) => (ClipStep::Opened, info),
        SpoolEvent::Closed(info) => (ClipStep::Closed, info),
        SpoolEvent::Recovered(info) => (ClipStep::Recovered, info),
        SpoolEvent::Evicted { info, why } if *why != Eviction::ArchivedCopy => (ClipStep::Lost, info),
        _ => return None,
    };
    Some(ClipEvent { step, at, info: Arc::new((**info).clone()) })
}

struct Length<'a>(&'a ClipInfo);

impl fmt::Display for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s, {} frames, {} KiB", self.0.duration.as_secs_f64(), self.0.frames, self.0.bytes / 1024)
    }
}

fn about(at: Stamp, service: &Name, level: Level, code: &str, text: String, info: &ClipInfo) -> Entry {
    Entry::new(at, service.clone(), level, code, text).with("clip", &info.id).with("camera", &info.camera)
}

/// The journal's line about something that happened in a spool. Codes: `clip.opened`, `clip.closed`, `clip.recovered`,
/// `clip.discarded`, `clip.freed`, `clip.lost`, `disk.full`, `disk.failed`, `disk.again`.
pub fn journal_entry(event: &SpoolEvent, at: Stamp, service: &Name) -> Entry {
    let entry = |level, code, text: String| Entry::new(at, service.clone(), level, code, text);
    match event {
        SpoolEvent::Opened(info) => {
            let text = format!("recording {} since {}", info.camera, info.started);
            about(at, service, Level::Info, "clip.opened", text, info).with("reason", info.opened_by.code())
        }
        SpoolEvent::Closed(info) => {
            let is_whole = info.gaps.is_empty() && info.gaps_more == 0 && info.unrecorded_before == 0;
            let is_well = is_whole && info.closed_by != Some(CloseReason::StorageFailed);
            let level = if is_well { Level::Info } else { Level::Warning };
            let missing: u64 = info.gaps.iter().map(|gap| gap.frames).sum();
            let text = format!("recorded {} from {}: {}", info.camera, info.started, Length(info));
            about(at, service, level, "clip.closed", text, info)
                .with("reason", info.closed_by.map_or("", CloseReason::code))
                .with("missing_frames", missing)
                .with("unrecorded_before", info.unrecorded_before)
        }
        SpoolEvent::Recovered(info) => {
            let text = format!("saved a recording of {} that was cut off: {}", info.camera, Length(info));
            about(at, service, Level::Warning, "clip.recovered", text, info)
        }
        SpoolEvent::Discarded { id } => {
            entry(Level::Warning, "clip.discarded", format!("nothing could be saved of recording {id}"))
                .with("clip", id)
        }
        SpoolEvent::Evicted { info, why: Eviction::ArchivedCopy } => {
            let text = format!("freed the local copy of archived clip {}", info.id);
            about(at, service, Level::Info, "clip.freed", text, info)
        }
        SpoolEvent::Evicted { info, why } => {
            let why = if *why == Eviction::TooOld { "it waited too long" } else { "the space was needed" };
            let text = format!("clip {} was deleted before it reached the archive: {why}", info.id);
            about(at, service, Level::Error, "clip.lost", text, info)
        }
        SpoolEvent::DiskFull { frames, .. } => {
            let text = "the disk is full, recording stops until there is space: free some or lower the limits";
            entry(Level::Error, "disk.full", text.to_owned()).with("frames", frames)
        }
        SpoolEvent::DiskFailed { detail, frames, .. } => {
            entry(Level::Error, "disk.failed", format!("clips cannot be written: {detail}")).with("frames", frames)
        }
        SpoolEvent::SpaceAgain => entry(Level::Info, "disk.again", "recording goes on".to_owned()),
    }
}

/// Makes `archiver` components: one for a spool.
pub struct ArchiverUnit {
    spec: UnitSpec,
    spool: Arc<Spool>,
    archive: Arc<dyn Archive>,
}

impl ArchiverUnit {
    /// Archivers from `spool` into `archive`. Only one component may run at a time.
    pub fn new(spool: Arc<Spool>, archive: Arc<dyn Archive>) -> Self {
        let spec = UnitSpec {
            name: "archiver",
            about: "brings finished clips to the archive, verifies them and frees their space",
            kind: Kind::Generator,
            inputs: vec![],
            outputs: vec![PortSpec::output::<ClipEvent>("clips")],
            params: vec![ParamSpec::with_default(
                "order",
                ParamKind::Choice(&["oldest", "newest"]),
                "oldest",
                "which clip goes first",
            )],
        };
        Self { spec, spool, archive }
    }
}

impl Unit for ArchiverUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, _name: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let order = match params.text("order") {
            Some("newest") => UploadOrder::NewestFirst,
            _ => UploadOrder::OldestFirst,
        };
        let options = UploadOptions { order, ..UploadOptions::default() };
        Ok(Box::new(ArchiverComponent { spool: Arc::clone(&self.spool), archive: Arc::clone(&self.archive), options }))
    }
}

struct ArchiverComponent {
    spool: Arc<Spool>,
    archive: Arc<dyn Archive>,
    options: UploadOptions,
}

impl Component for ArchiverComponent {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let clips = cx.output::<ClipEvent>("clips")?;
            let (spool, archive) = (Arc::clone(&self.spool), Arc::clone(&self.archive));
            let mut uploader = Uploader::new(spool, archive, self.options, Arc::clone(cx.clock()));
            let (mut stopping, mut is_delayed) = (cx.stopping(), false);
            loop {
                let event = tokio::select! {
                    () = stopping.wait() => return Ok(()),
                    event = uploader.next_event() => event,
                };
                let now = cx.now();
                match event {
                    UploadEvent::Spool(event) => tell(cx, &clips, &event).await,
                    UploadEvent::Archived(info) => {
                        is_delayed = false;
                        let text = format!("clip {} is in the archive as {}", info.id, info.archive_name);
                        keep(cx, about(now, cx.name(), Level::Info, "clip.archived", text, &info)).await;
                        clips.send(ClipEvent { step: ClipStep::Archived, at: now, info: Arc::new(*info) });
                    }
                    UploadEvent::Parked { info, error } => {
                        let text = format!("clip {} stays here: {error}", info.id);
                        keep(cx, about(now, cx.name(), Level::Error, "clip.parked", text, &info)).await;
                        clips.send(ClipEvent { step: ClipStep::Parked, at: now, info: Arc::new(*info) });
                    }
                    UploadEvent::Delayed { info, error, needs_owner, .. } => {
                        // One line an outage, not one a try; what the owner has to mend is said every time.
                        if !std::mem::replace(&mut is_delayed, true) || needs_owner {
                            let level = if needs_owner { Level::Error } else { Level::Warning };
                            let text = format!("clips wait for the archive: {error}");
                            keep(cx, about(now, cx.name(), level, "clip.delayed", text, &info)).await;
                        }
                    }
                }
            }
        })
    }
}
