//! Unit `motion`: a thin shell over [`MotionDetector`]. Pictures in; motion, changed scenes, things at rest and spoilt views
//! out.
//!
//! **Never:** an event that has no end; a word of things at rest after their detector is gone.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Delivery, Fault, Input, Kind, Output, ParamError, ParamKind, ParamSpec, ParamValue, Params,
    Policy, PortSpec, ServiceProfile, ServiceTime, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::Level;
use godvision_core::signal::media::Picture;
use godvision_core::signal::seen::{
    MASK_RUNS_MAX, Motion, MotionMask, MotionPhase, Region, Rest, RestPhase, SceneChange, Tamper,
};
use godvision_core::{MonoTime, Name, Stamp};

use crate::error::Error;
use crate::motion::{
    MaskView, MotionDetector, MotionOptions, MotionStep, RestStep, SceneStep, Sensitivity, TamperStep, Zone,
};
use crate::plane::LumaView;

/// How often a thing at rest is reported after it was noticed: it changes nothing, so this only says that it is watched.
const REST_EVERY: Duration = Duration::from_secs(10);
/// Makes motion detectors: input `pictures`, outputs `motion`, `scene`, `rest` and `tamper`.
#[derive(Debug)]
pub struct MotionUnit(UnitSpec);

impl Default for MotionUnit {
    fn default() -> Self {
        Self::new()
    }
}

impl MotionUnit {
    /// The unit.
    pub fn new() -> Self {
        let options = MotionOptions::default();
        let seconds = |duration: Duration| ParamValue::Number(duration.as_secs_f64());
        let span = |min, max| ParamKind::Seconds { min, max };
        let params = vec![
            ParamSpec::with_default(
                "sensitivity",
                ParamKind::Choice(&["low", "normal", "high"]),
                "normal",
                "how little must change to count",
            ),
            ParamSpec::optional(
                "zones",
                ParamKind::Texts,
                "`name: x,y x,y x,y` in thousandths; `!name: ...` is ignored",
            ),
            ParamSpec::with_default(
                "start_after",
                span(0.0, 10.0),
                seconds(options.start_after),
                "how long something must move before an event starts",
            ),
            ParamSpec::with_default(
                "quiet_after",
                span(0.1, 600.0),
                seconds(options.quiet_after),
                "how long nothing must move before it ends",
            ),
            ParamSpec::with_default(
                "rest_after",
                span(1.0, 3600.0),
                seconds(options.rest_after),
                "how long a thing left or taken must rest to be reported",
            ),
            ParamSpec::with_default(
                "absorb_after",
                span(10.0, 3600.0),
                seconds(options.absorb_after),
                "how long a thing must stand still to become background",
            ),
            ParamSpec::with_default("report_every", span(0.0, 10.0), 0.2, "how often a running event is reported"),
            ParamSpec::with_default("mask", ParamKind::Flag, true, "report which pixels move, for pages to draw"),
        ];
        Self(UnitSpec {
            name: "motion",
            about: "finds what moves in a fixed camera's pictures",
            kind: Kind::Complex,
            inputs: vec![PortSpec::input::<Picture>("pictures", Policy::Latest)],
            outputs: vec![
                PortSpec::output::<Motion>("motion"),
                PortSpec::output::<SceneChange>("scene"),
                PortSpec::output::<Rest>("rest"),
                PortSpec::output::<Tamper>("tamper"),
            ],
            params,
        })
    }
}

/// By `examples/service_times`, AMD EPYC (Zen 4), one quiet core, the hop to a blocking thread included.
const PROFILE: &[ServiceProfile] =
    &[ServiceProfile { input: "pictures", condition: "1080p, a little noise", time: ServiceTime::micros(240, 100) }];

impl Unit for MotionUnit {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }

    fn profile(&self) -> &'static [ServiceProfile] {
        PROFILE
    }

    fn create(&self, _: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let sensitivity = match params.text("sensitivity") {
            Some("low") => Sensitivity::Low,
            Some("high") => Sensitivity::High,
            _ => Sensitivity::Normal,
        };
        let zones: Result<Vec<Zone>, Error> = params.texts("zones").iter().map(|text| text.parse()).collect();
        let zones = zones.map_err(|error| params.error("zones", error.to_string()))?;
        let usual = MotionOptions::default();
        let options = MotionOptions {
            sensitivity,
            zones,
            start_after: params.seconds("start_after").unwrap_or(usual.start_after),
            quiet_after: params.seconds("quiet_after").unwrap_or(usual.quiet_after),
            rest_after: params.seconds("rest_after").unwrap_or(usual.rest_after),
            absorb_after: params.seconds("absorb_after").unwrap_or(usual.absorb_after),
        };
        options.check().map_err(|error| params.error("zones", error.to_string()))?;
        let report_every = params.seconds("report_every").unwrap_or(Duration::from_millis(200));
        Ok(Box::new(MotionSensor {
            options,
            report_every,
            masks: params.flag("mask"),
            watched: None,
            running: None,
            reported: None,
            resting: Vec::new(),
            rested: None,
            spoilt: Vec::new(),
            refused: None,
        }))
    }
}

/// What one picture said.
struct Seen {
    step: Option<MotionStep>,
    scene: Option<SceneStep>,
    regions: Vec<Region>,
    zones: Vec<String>,
    share: f32,
    mask: Option<MotionMask>,
    rests: Vec<(RestStep, Vec<String>)>,
    tamper: Option<TamperStep>,
}

/// Where a motion detector says what it found.
struct MotionOutputs {
    motion: Output<Motion>,
    scene: Output<SceneChange>,
    rest: Output<Rest>,
    tamper: Output<Tamper>,
}

struct MotionSensor {
    options: MotionOptions,
    report_every: Duration,
    masks: bool,
    /// The detector, and the session of the camera it has learnt.
    watched: Option<(MotionDetector, u32)>,
    /// The last report of a running event.
    running: Option<Motion>,
    /// When that was.
    reported: Option<MonoTime>,
    /// The last report of each thing at rest, and when they were all reported.
    resting: Vec<Rest>,
    rested: Option<MonoTime>,
    /// What is wrong with the view.
    spoilt: Vec<Tamper>,
    /// The size that was refused, so that it is said once.
    refused: Option<(usize, usize)>,
}

impl Component for MotionSensor {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut pictures = cx.input::<Picture>("pictures")?;
            let outputs = MotionOutputs {
                motion: cx.output("motion")?,
                scene: cx.output("scene")?,
                rest: cx.output("rest")?,
                tamper: cx.output("tamper")?,
            };
            loop {
                let picture = match self.next(&mut pictures).await {
                    Next::Picture(picture) => picture,
                    Next::Silence => {
                        self.end(cx, &outputs.motion);
                        continue;
                    }
                    Next::End => break,
                };
                self.see(cx, &picture, &outputs).await?;
            }
            // Whoever records for a running event must not wait for an end that never comes.
            self.end(cx, &outputs.motion);
            self.forget(cx.now(), &outputs);
            Ok(())
        })
    }
}

#[expect(clippy::large_enum_variant, reason = "the large one is the common one, and it is never stored")]
enum Next {
    Picture(Delivery<Picture>),
    /// An event runs and no picture came for the quiet time: the camera is gone.
    Silence,
    End,
}

impl MotionSensor {
    async fn next(&self, pictures: &mut Input<Picture>) -> Next {
        let received = if self.running.is_some() {
            match tokio::time::timeout(self.options.quiet_after, pictures.recv()).await {
                Ok(received) => received,
                Err(_) => return Next::Silence,
            }
        } else {
            pictures.recv().await
        };
        received.map_or(Next::End, Next::Picture)
    }

    async fn see(&mut self, cx: &Context, picture: &Delivery<Picture>, outputs: &MotionOutputs) -> Result<(), Fault> {
        let Some(mut detector) = self.detector(cx, picture, outputs).await else { return Ok(()) };
        let is_rest_due = self.rested.is_none_or(|last| picture.at.mono - last >= REST_EVERY);
        let due = self.reported.is_none_or(|last| picture.at.mono - last >= self.report_every);
        let masks = if !self.masks {
            Masks::Never
        } else if due {
            Masks::Now
        } else {
            Masks::AtStart
        };
        let shown = Picture::clone(picture);
        let session = picture.session;
        let work = tokio::task::spawn_blocking(move || {
            let seen = look(&mut detector, &shown, is_rest_due, masks);
            (detector, seen)
        });
        let (detector, seen) = work.await.map_err(|error| Fault::Restart(format!("the motion detector: {error}")))?;
        self.watched = Some((detector, session));
        // The size was checked and the plane comes from its own constructor; a strange one is skipped.
        let Ok(seen) = seen else { return Ok(()) };
        if let Some(scene) = seen.scene {
            let change = SceneChange { source: picture.source.clone(), at: scene.at, share: scene.share };
            outputs.scene.send_from(picture, change);
        }
        if is_rest_due {
            self.rested = Some(picture.at.mono);
        }
        self.tell_rests(picture, seen.rests, &outputs.rest);
        if let Some(step) = seen.tamper {
            let TamperStep { kind, is_over, at, sequence } = step;
            let tamper = Tamper { source: picture.source.clone(), kind, is_over, at, sequence };
            self.spoilt.retain(|spoilt| spoilt.kind != kind);
            if !is_over {
                self.spoilt.push(tamper.clone());
            }
            outputs.tamper.send_from(picture, tamper);
        }
        let Some(step) = seen.step else { return Ok(()) };
        let motion = Motion {
            source: picture.source.clone(),
            event: step.event,
            phase: step.phase,
            at: step.at,
            sequence: step.sequence,
            regions: seen.regions,
            zones: seen.zones,
            share: seen.share,
            mask: seen.mask,
        };
        if step.phase == MotionPhase::Ongoing && !due {
            return Ok(());
        }
        self.reported = Some(picture.at.mono);
        self.running = (step.phase != MotionPhase::Ended).then(|| motion.clone());
        outputs.motion.send_from(picture, motion);
        Ok(())
    }

    fn tell_rests(&mut self, picture: &Delivery<Picture>, rests: Vec<(RestStep, Vec<String>)>, out: &Output<Rest>) {
        for (step, zones) in rests {
            let RestStep { thing, phase, kind, since, at, sequence, region, .. } = step;
            let source = picture.source.clone();
            let rest = Rest { source, thing, phase, kind, since, at, sequence, region, zones };
            self.resting.retain(|known| known.thing != thing);
            if phase != RestPhase::Over {
                self.resting.push(rest.clone());
            }
            out.send_from(picture, rest);
        }
    }

    /// Ends what is reported of things and of the view: the detector that watched them is gone.
    fn forget(&mut self, at: Stamp, outputs: &MotionOutputs) {
        for rest in self.resting.drain(..) {
            outputs.rest.send(Rest { phase: RestPhase::Over, at, ..rest });
        }
        for tamper in self.spoilt.drain(..) {
            outputs.tamper.send(Tamper { is_over: true, at, ..tamper });
        }
    }

    /// The detector for this picture: the one at hand, or a new one for a new size. A new session of the camera makes it
    /// forget the background.
    async fn detector(&mut self, cx: &Context, picture: &Picture, outputs: &MotionOutputs) -> Option<MotionDetector> {
        let size = (picture.luma.width, picture.luma.height);
        if let Some((mut detector, session)) = self.watched.take().filter(|(detector, _)| detector.size() == size) {
            if session != picture.session {
                detector.reset();
            }
            return Some(detector);
        }
        self.forget(picture.at, outputs);
        match MotionDetector::new(self.options.clone(), size.0, size.1) {
            Ok(detector) => Some(detector),
            Err(error) => {
                if self.refused.replace(size) != Some(size) {
                    cx.log(Level::Warning, "motion_unsupported", format!("{}: {error}", picture.source)).await;
                }
                None
            }
        }
    }

    /// Ends a running event now.
    fn end(&mut self, cx: &Context, motions: &Output<Motion>) {
        let Some(running) = self.running.take() else { return };
        let now = cx.now();
        if let Some((detector, _)) = &mut self.watched {
            detector.cut(now, running.sequence);
        }
        let ended = Motion {
            phase: MotionPhase::Ended,
            at: now,
            regions: Vec::new(),
            zones: Vec::new(),
            share: 0.0,
            mask: None,
            ..running
        };
        motions.send(ended);
    }
}

/// When a mask is worth its copy: only a report that is sent has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Masks {
    Never,
    AtStart,
    Now,
}

fn look(detector: &mut MotionDetector, picture: &Picture, is_rest_due: bool, masks: Masks) -> Result<Seen, Error> {
    let report = detector.step(LumaView::of(&picture.luma)?, picture.at, picture.sequence)?;
    // Names and regions are copied only for frames that say something.
    let (regions, zones) = match report.step {
        Some(step) if step.phase != MotionPhase::Ended => {
            (report.boxes().iter().map(|found| found.region).collect(), report.zones().map(str::to_owned).collect())
        }
        _ => (Vec::new(), Vec::new()),
    };
    let mask = match (report.step.map(|step| step.phase), masks) {
        (Some(MotionPhase::Started), Masks::AtStart | Masks::Now) | (Some(MotionPhase::Ongoing), Masks::Now) => {
            mask_of(report.mask())
        }
        _ => None,
    };
    let rests = report.rests().iter().filter(|rest| is_rest_due || rest.phase != RestPhase::Ongoing);
    let rests = rests.map(|rest| (*rest, report.rest_zones(rest).map(str::to_owned).collect())).collect();
    let (step, scene, tamper) = (report.step, report.scene, report.tamper);
    Ok(Seen { step, scene, regions, zones, share: report.share(), mask, rests, tamper })
}

fn mask_of(view: MaskView<'_>) -> Option<MotionMask> {
    let runs: Vec<u32> = view.runs().take(MASK_RUNS_MAX + 1).collect();
    let (width, height) = (view.width().try_into().ok()?, view.height().try_into().ok()?);
    (runs.len() <= MASK_RUNS_MAX).then(|| MotionMask { width, height, runs: runs.into() })
}
