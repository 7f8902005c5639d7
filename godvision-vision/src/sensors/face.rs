//! Unit `face`. Pictures in, sightings of faces out; motion is its alarm clock.
//!
//! A thin shell over [`FaceWatcher`]. People, strangers and history are in the [`FaceMemory`] that the unit was made with:
//! who is enrolled or forgotten there is known or unknown from the next picture on.
//!
//! What it costs is stated at [`crate::face::watch`]: some 13 ms a 1080p picture and 20 ms a face in it, on one busy core.
//! Colour is used where pictures have it; grey ones, as by infra-red, are recognised too.
//!
//! **Never:** a decision what opens. A sighting says who it is and whether that person was seen to be alive; without the
//! latter a door must ask for something else.

#![forbid(unsafe_code)]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use godvision_core::Name;
use godvision_core::bus::{
    Component, Context, Delivery, Fault, Kind, Output, ParamError, ParamKind, ParamSpec, Params, PortSpec,
    ServiceProfile, ServiceTime, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::Level;
use godvision_core::signal::media::Picture;
use godvision_core::signal::seen::{Finding, Sighting};

use super::alarm::{self, Alarm};
use crate::crop::jpeg_crop;
use crate::error::Error;
use crate::face::identify::{IdentifyOptions, Identity};
use crate::face::liveness::Parallax;
use crate::face::memory::FaceMemory;
use crate::face::quality::QualityOptions;
use crate::face::watch::{FaceModels, FaceReport, FaceWatcher, LivenessMaker, WatchOptions};
use crate::face::{SFace, YuNet, YuNetOptions};

/// With motion as the alarm clock: how often a quiet picture is looked at all the same, for a person who stands still.
const IDLE_EVERY: Duration = Duration::from_secs(1);

/// Longest side of a sighting's crop: a face and its surroundings, at the size at which it can be recognised.
const CROP_SIDE: usize = 320;

/// Makes the models of one component.
type ModelMaker = Arc<dyn Fn() -> Result<FaceModels, Error> + Send + Sync>;

/// Makes face watchers: inputs `pictures` and `motion` (which may stay unlinked), output `sightings`.
pub struct FaceUnit {
    spec: UnitSpec,
    memory: FaceMemory,
    models: Option<ModelMaker>,
    /// The weights of the built-in embedder, which all components share.
    embedder: Arc<OnceLock<SFace>>,
}

impl FaceUnit {
    /// The unit, for the people in `memory`, whose gallery must be of the built-in model: see
    /// [`crate::face::enrol::FaceEnroller::model`].
    pub fn new(memory: FaceMemory) -> Self {
        Self { spec: spec(), memory, models: None, embedder: Arc::default() }
    }

    /// The unit with models of one's own; `models` is called once a component and once more each time it starts again.
    pub fn with_models(
        memory: FaceMemory,
        models: impl Fn() -> Result<FaceModels, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { models: Some(Arc::new(models)), ..Self::new(memory) }
    }
}

impl std::fmt::Debug for FaceUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaceUnit").field("memory", &self.memory).finish_non_exhaustive()
    }
}

fn spec() -> UnitSpec {
    let span = |min, max| ParamKind::Seconds { min, max };
    let usual = IdentifyOptions::default();
    let mut params = alarm::params(0.05, 0.2).to_vec();
    params.extend([
        ParamSpec::with_default(
            "threshold",
            ParamKind::Number { min: 0.2, max: 1.0 },
            f64::from(usual.threshold),
            "least similarity to a person; below 0.42 strangers are taken for people",
        ),
        ParamSpec::with_default(
            "face_min",
            ParamKind::Integer { min: 20, max: 1000 },
            60,
            "least width of a face in pixels; below 60 false matches multiply",
        ),
        ParamSpec::with_default(
            "search_side",
            ParamKind::Integer { min: 160, max: 1920 },
            640,
            "the longer side that pictures are reduced to for the search: a thirtieth of it is the smallest face found",
        ),
        ParamSpec::with_default(
            "liveness",
            ParamKind::Choice(&["motion", "off"]),
            "motion",
            "whether a person must be seen to be no photo; off: nobody is said to be alive",
        ),
        ParamSpec::with_default("strangers", ParamKind::Flag, true, "group, remember and report faces nobody knows"),
        ParamSpec::with_default(
            "again_after",
            span(1.0, 86_400.0),
            3600.0,
            "a face that stays is reported again after so long, if nothing changes",
        ),
        ParamSpec::with_default("crop", ParamKind::Flag, true, "send a small picture of the face"),
    ]);
    UnitSpec {
        name: "face",
        about: "recognises faces",
        kind: Kind::Complex,
        inputs: alarm::inputs(),
        outputs: vec![PortSpec::output::<Sighting>("sightings")],
        params,
    }
}

/// By `examples/service_times`, AMD EPYC (Zen 4), one quiet core, the hop to a blocking thread included.
const PROFILE: &[ServiceProfile] = &[
    ServiceProfile { input: "pictures", condition: "1080p, no face", time: ServiceTime::micros(12100, 2100) },
    ServiceProfile { input: "pictures", condition: "1080p, one face", time: ServiceTime::micros(32000, 4000) },
];

impl Unit for FaceUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn profile(&self) -> &'static [ServiceProfile] {
        PROFILE
    }

    fn create(&self, _: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let usual = (IdentifyOptions::default(), QualityOptions::default());
        let width_min = params.integer("face_min").map_or(usual.1.width_min, |pixels| pixels as f32);
        let identify = IdentifyOptions {
            threshold: params.number("threshold").map_or(usual.0.threshold, |it| it as f32),
            again_after: params.seconds("again_after").unwrap_or(usual.0.again_after),
            ..usual.0
        };
        identify.check().map_err(|error| params.error("threshold", error.to_string()))?;
        let quality = QualityOptions { width_min, width_reject: usual.1.width_reject.min(width_min), ..usual.1 };
        let side = params.integer("search_side").and_then(|side| side.try_into().ok()).unwrap_or(640);
        let shared = Arc::clone(&self.embedder);
        let built_in = move || built_in(&shared, side);
        Ok(Box::new(FaceSensor {
            options: WatchOptions { quality, identify, ignore_strangers: !params.flag("strangers") },
            memory: self.memory.clone(),
            models: self.models.clone().unwrap_or_else(|| Arc::new(built_in)),
            asks_liveness: params.text("liveness") != Some("off"),
            alarm: Alarm::new(params, IDLE_EVERY),
            crops: params.flag("crop"),
            watcher: None,
        }))
    }
}

fn built_in(shared: &OnceLock<SFace>, side: usize) -> Result<FaceModels, Error> {
    let embedder = match shared.get() {
        Some(embedder) => embedder.clone(),
        None => {
            let made = SFace::new()?;
            shared.get_or_init(|| made).clone()
        }
    };
    let detector = Box::new(YuNet::new(YuNetOptions { side, ..YuNetOptions::default() })?);
    Ok(FaceModels { detector, side, embedder: Box::new(embedder) })
}

struct FaceSensor {
    options: WatchOptions,
    memory: FaceMemory,
    models: ModelMaker,
    asks_liveness: bool,
    alarm: Alarm,
    crops: bool,
    watcher: Option<FaceWatcher>,
}

impl Component for FaceSensor {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            if let Err(reason) = self.load().await {
                cx.log(Level::Warning, "face_models_unusable", reason.clone()).await;
                return Err(Fault::Fatal(reason));
            }
            let mut ports = alarm::Ports::of(cx)?;
            while let Some(picture) = ports.next_due(&mut self.alarm).await {
                self.look(cx, &picture, &ports.sightings).await?;
            }
            Ok(())
        })
    }
}

impl FaceSensor {
    async fn load(&mut self) -> Result<(), String> {
        let (options, memory, models) = (self.options.clone(), self.memory.clone(), Arc::clone(&self.models));
        let liveness: Option<LivenessMaker> =
            if self.asks_liveness { Some(Box::new(|| Box::new(Parallax::default()))) } else { None };
        let work = tokio::task::spawn_blocking(move || FaceWatcher::new(options, memory, models()?, liveness));
        let watcher = work.await.map_err(|error| format!("the face watcher: {error}"))?;
        self.watcher = Some(watcher.map_err(|error| error.to_string())?);
        Ok(())
    }

    async fn look(
        &mut self,
        cx: &Context,
        picture: &Delivery<Picture>,
        sightings: &Output<Sighting>,
    ) -> Result<(), Fault> {
        let Some(mut watcher) = self.watcher.take() else {
            return Err(Fault::Restart("the face watcher was lost with a picture".into()));
        };
        let (shown, crops) = (Picture::clone(picture), self.crops);
        let work = tokio::task::spawn_blocking(move || {
            let reports = watcher.step(&shown);
            let sightings =
                reports.map(|reports| reports.into_iter().map(|it| sighting(&shown, it, crops)).collect::<Vec<_>>());
            (watcher, sightings)
        });
        let (watcher, found) = work.await.map_err(|error| Fault::Restart(format!("the face watcher: {error}")))?;
        cx.show_count("faces_embedded", watcher.embedded());
        self.watcher = Some(watcher);
        for sighting in found.map_err(|error| Fault::Restart(error.to_string()))? {
            sightings.send_from(picture, sighting);
        }
        Ok(())
    }
}

fn sighting(picture: &Picture, report: FaceReport, crops: bool) -> Sighting {
    let finding = match report.identity {
        Identity::Person(it) => Finding::Face { person: it.person, live: report.is_live },
        Identity::Watched(it) => Finding::Watched { person: it.person },
        Identity::Stranger => Finding::Stranger { group: report.group },
    };
    Sighting {
        source: picture.source.clone(),
        at: picture.at,
        sequence: picture.sequence,
        region: report.region,
        finding,
        score: (report.similarity.clamp(0.0, 1.0) * 1000.0) as u16,
        crop: if crops { jpeg_crop(picture, report.region, CROP_SIDE) } else { None },
    }
}
