//! The units `motion` and `qr` in a running graph: a film of a walker, then a code held up, then the camera is gone.

#![cfg(all(feature = "component", feature = "rxing"))]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Wall, at};
use godvision_core::Name;
use godvision_core::bus::{
    Component, Context, Fault, Host, HostOptions, Kind, ParamError, Params, Policy, PortSpec, Registry, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::signal::media::{Picture, Plane};
use godvision_core::signal::seen::{
    Finding, Motion, MotionPhase, Rest, RestPhase, SceneChange, Sighting, Tamper, TamperKind,
};
use godvision_core::site::SiteDocument;
use godvision_vision::plane::LumaView;
use godvision_vision::qr::{QrOptions, QrReader};
use godvision_vision::sensors::{MotionUnit, QrUnit};

const WIDTH: usize = 640;
const HEIGHT: usize = 360;
const FRAMES: usize = 420;

/// Walks in at 40, leaves at 100; holds a code up from 120 to 180; the light goes out at 200; walks from 210 to 230. A case stands
/// there from 100 to the end; something hangs before the lens from 280 to the end.
fn frame(wall: &Wall, i: usize) -> Vec<u8> {
    let mut figures = Vec::new();
    if (40..100).contains(&i) || (210..230).contains(&i) {
        figures.push([i * 2, 100, i * 2 + 40, 240]);
    }
    if i >= 100 {
        figures.push([60, 250, 100, 290]);
    }
    if i >= 280 {
        return wall.frame(&[], |_| 10.0, 2.0, i as u64);
    }
    let mut luma = wall.frame(&figures, |v| if i >= 200 { v * 0.5 } else { v }, 2.0, i as u64);
    if (120..180).contains(&i) {
        let code = qrcode::QrCode::new("GV1:OPEN").unwrap();
        let (modules, dark) = (code.width(), code.to_colors());
        for y in 0..(modules + 8) * 5 {
            for x in 0..(modules + 8) * 5 {
                let (column, row) = ((x / 5).wrapping_sub(4), (y / 5).wrapping_sub(4));
                let inside = column < modules && row < modules;
                let is_dark = inside && dark[row * modules + column] == qrcode::Color::Dark;
                luma[(y + 100) * WIDTH + x + 300] = if is_dark { 20 } else { 230 };
            }
        }
    }
    luma
}

struct Film(UnitSpec);
struct Showing;

impl Unit for Film {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Showing))
    }
}

impl Component for Showing {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let out = cx.output::<Picture>("pictures")?;
            let wall = Wall::new(WIDTH, HEIGHT);
            for i in 0..FRAMES {
                let luma = Plane::new(WIDTH, HEIGHT, WIDTH, frame(&wall, i).into()).unwrap();
                let source = cx.name().clone();
                out.send(Picture { source, sequence: i as u64, session: 0, at: at(i), luma, chroma: None });
                // Virtual time stands still while the sensors work.
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            let mut stopping = cx.stopping();
            stopping.wait().await;
            Ok(())
        })
    }
}

#[derive(Default)]
struct Heard {
    motions: Vec<Motion>,
    scenes: Vec<SceneChange>,
    sightings: Vec<Sighting>,
    rests: Vec<Rest>,
    tampers: Vec<Tamper>,
}

struct Listener(UnitSpec, Arc<Mutex<Heard>>);
struct Listening(Arc<Mutex<Heard>>);

impl Unit for Listener {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Listening(Arc::clone(&self.1))))
    }
}

impl Component for Listening {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut motions = cx.input::<Motion>("motion")?;
            let mut scenes = cx.input::<SceneChange>("scene")?;
            let mut sightings = cx.input::<Sighting>("sightings")?;
            let mut rests = cx.input::<Rest>("rest")?;
            let mut tampers = cx.input::<Tamper>("tamper")?;
            loop {
                tokio::select! {
                    Some(motion) = motions.recv() => self.0.lock().unwrap().motions.push(motion.into_value()),
                    Some(scene) = scenes.recv() => self.0.lock().unwrap().scenes.push(scene.into_value()),
                    Some(sighting) = sightings.recv() => self.0.lock().unwrap().sightings.push(sighting.into_value()),
                    Some(rest) = rests.recv() => self.0.lock().unwrap().rests.push(rest.into_value()),
                    Some(tamper) = tampers.recv() => self.0.lock().unwrap().tampers.push(tamper.into_value()),
                    else => return Ok(()),
                }
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_film_is_seen_by_both_sensors() {
    let film = UnitSpec {
        name: "film",
        about: "shows a film",
        kind: Kind::Generator,
        inputs: vec![],
        outputs: vec![PortSpec::output::<Picture>("pictures")],
        params: vec![],
    };
    let keep = Policy::Lossless { capacity: 1000 };
    let listener = UnitSpec {
        name: "listener",
        about: "keeps what it hears",
        kind: Kind::Sink,
        inputs: vec![
            PortSpec::input::<Motion>("motion", keep),
            PortSpec::input::<SceneChange>("scene", keep),
            PortSpec::input::<Sighting>("sightings", keep),
            PortSpec::input::<Rest>("rest", keep),
            PortSpec::input::<Tamper>("tamper", keep),
        ],
        outputs: vec![],
        params: vec![],
    };
    let heard = Arc::new(Mutex::new(Heard::default()));
    let registry = Registry::new()
        .with(Film(film))
        .with(Listener(listener, Arc::clone(&heard)))
        .with(MotionUnit::new())
        .with(QrUnit::new());
    let host = Host::new(HostOptions::default(), registry);
    let site = SiteDocument::parse(
        r#"
        version = 1
        site = "home"
        link = [
            { from = "door#pictures", to = "motion#pictures" },
            { from = "door#pictures", to = "qr#pictures" },
            { from = "motion#motion", to = "qr#motion" },
            { from = "motion#motion", to = "log#motion" },
            { from = "motion#scene", to = "log#scene" },
            { from = "motion#rest", to = "log#rest" },
            { from = "motion#tamper", to = "log#tamper" },
            { from = "qr#sightings", to = "log#sightings" },
        ]
        [[component]]
        name = "door"
        unit = "film"
        [[component]]
        name = "log"
        unit = "listener"
        [[component]]
        name = "motion"
        unit = "motion"
        params = { quiet_after = 0.5, rest_after = 2.0, zones = ["porch: 0,0 1000,0 1000,1000 0,1000"] }
        [[component]]
        name = "qr"
        unit = "qr"
    "#,
    )
    .unwrap();
    host.apply(&site).await.unwrap();
    tokio::time::sleep(Duration::from_secs(25)).await;
    host.shutdown().await;

    let heard = heard.lock().unwrap();
    let phases: Vec<_> = heard.motions.iter().filter(|motion| motion.phase != MotionPhase::Ongoing).collect();
    let first = &phases[0];
    assert_eq!((first.phase, first.sequence, first.at), (MotionPhase::Started, 40, at(40)));
    assert_eq!((first.source.as_str(), first.zones.as_slice()), ("door", ["porch".to_owned()].as_slice()));
    assert!(!first.regions.is_empty() && first.share > 0.0);
    let mask = first.mask.as_ref().unwrap();
    assert_eq!(mask.runs.iter().sum::<u32>(), mask.width * mask.height);
    let moving: u32 = mask.runs.iter().skip(1).step_by(2).sum();
    assert!(
        (moving as f32 / (mask.width * mask.height) as f32 - first.share).abs() < 0.05,
        "{moving} of {}",
        first.share
    );
    assert!(phases.iter().all(|motion| motion.mask.is_some() == (motion.phase == MotionPhase::Started)));
    // Every start has its end, also the last, when the camera goes away in the middle of it.
    let kinds: Vec<_> = phases.iter().map(|motion| motion.phase).collect();
    assert!(kinds.chunks(2).all(|pair| pair == [MotionPhase::Started, MotionPhase::Ended]), "{kinds:?}");
    assert!(phases.iter().any(|motion| motion.phase == MotionPhase::Started && motion.sequence >= 205), "{phases:?}");
    assert_eq!(heard.scenes.iter().map(|scene| scene.at).collect::<Vec<_>>(), [at(200), at(280)]);
    let case: Vec<&Rest> = heard.rests.iter().filter(|rest| rest.thing == heard.rests[0].thing).collect();
    assert_eq!(case[0].phase, RestPhase::Noticed);
    assert_eq!((case[0].source.as_str(), case[0].zones.as_slice()), ("door", ["porch".to_owned()].as_slice()));
    assert!((150..170).contains(&case[0].sequence), "{case:?}");
    assert_eq!(case[case.len() - 1].phase, RestPhase::Over, "at the latest with the detector");
    let tampers: Vec<_> = heard.tampers.iter().map(|tamper| (tamper.kind, tamper.is_over)).collect();
    assert_eq!(tampers, [(TamperKind::Covered, false), (TamperKind::Covered, true)], "over with the detector");
    assert_eq!(heard.sightings.len(), 1, "{:?}", heard.sightings);
    let sighting = &heard.sightings[0];
    assert!((120..130).contains(&sighting.sequence), "{sighting:?}");
    assert_eq!(sighting.at, at(sighting.sequence as usize));
    assert!(matches!(&sighting.finding, Finding::Qr(text) if text.expose() == "GV1:OPEN"));
    // The picture that comes along shows the place, and nobody can use it as a pass.
    let crop = image::load_from_memory(sighting.crop.as_ref().unwrap()).unwrap().to_luma8();
    let (width, height) = (crop.width() as usize, crop.height() as usize);
    assert!(width.max(height) >= 100, "{width}x{height}");
    let view = LumaView::new(crop.as_raw(), width, height, width).unwrap();
    assert_eq!(QrReader::new(QrOptions::default()).read(view, at(0), &[]), []);
}

#[test]
fn parameters_that_make_no_sense_are_refused_by_name() {
    let name: Name = "yard".parse().unwrap();
    let unit = MotionUnit::new();
    let with = |zone: &str| {
        let texts = godvision_core::bus::ParamValue::Texts(vec![zone.to_owned()]);
        let params = Params::new().with("zones", texts).checked(&unit.spec().params).unwrap();
        unit.create(&name, &params).err().map(|error| error.to_string())
    };
    assert_eq!(with("a: 0,0 9,0 9,9"), None);
    assert!(with("a: 0,0 9,0").unwrap().starts_with("zones: zone"));
    assert!(Params::new().with("sensitivity", "huge").checked(&unit.spec().params).is_err());
}

#[test]
fn profiles_are_of_inputs_that_exist_and_allow_the_usual_rate() {
    for unit in [&MotionUnit::new() as &dyn Unit, &QrUnit::new()] {
        let spec = unit.spec();
        assert!(!unit.profile().is_empty(), "{}", spec.name);
        for profile in unit.profile() {
            assert!(spec.inputs.iter().any(|input| input.name == profile.input), "{}: {profile:?}", spec.name);
            assert!(profile.time.utilisation(5.0) < 1.0 && profile.time.scv() < 10.0, "{}: {profile:?}", spec.name);
        }
    }
}
