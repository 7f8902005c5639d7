//! The unit `face` in a running graph: a stranger stands at the door, is enrolled from a photo and known from then on, is
//! put on no list twice, is forgotten and a stranger again. All the time it is a photo, so never alive.

#![cfg(all(feature = "component", feature = "face"))]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Fault, Host, HostOptions, Kind, ParamError, Params, Policy, PortSpec, Registry, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::signal::media::{Picture, Plane};
use godvision_core::signal::seen::{Finding, Sighting};
use godvision_core::site::SiteDocument;
use godvision_core::{MonoTime, Name, Stamp, WallTime};
use godvision_vision::RgbImage;
use godvision_vision::face::enrol::{FaceEnroller, PhotoFault};
use godvision_vision::face::gallery::{Consent, Gallery, List, PersonRows, WatchReason};
use godvision_vision::face::memory::FaceMemory;
use godvision_vision::face::quality::Concern;
use godvision_vision::sensors::FaceUnit;

const WIDTH: usize = 480;
const HEIGHT: usize = 360;

fn portrait() -> RgbImage {
    let picture = image::load_from_memory(include_bytes!("data/astronaut.png")).unwrap().into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    RgbImage::new(picture.into_raw(), width, height).unwrap()
}

/// The portrait on a grey wall, each time with its left upper corner in another place.
fn on_a_wall(width: usize, height: usize, corners: &[[usize; 2]]) -> RgbImage {
    let (portrait, mut wall) = (portrait(), RgbImage::new(vec![110; width * height * 3], width, height).unwrap());
    for [left, top] in corners {
        for y in 0..portrait.height() {
            let to = ((top + y) * width + left) * 3;
            wall.bytes_mut()[to..to + portrait.width() * 3].copy_from_slice(portrait.view().row(y));
        }
    }
    wall
}

/// As a decoder gives it: BT.601, limited range, colour at half resolution.
fn decoded(picture: &RgbImage) -> (Plane, [Plane; 2]) {
    let (width, height) = (picture.width(), picture.height());
    let at = |x: usize, y: usize| {
        let at = (y * width + x) * 3;
        [0, 1, 2].map(|channel| f32::from(picture.bytes()[at + channel]))
    };
    let plane = |width: usize, height: usize, value: &dyn Fn(usize, usize) -> f32| {
        let data: Vec<u8> = (0..width * height).map(|i| value(i % width, i / width).round() as u8).collect();
        Plane::new(width, height, width, data.into()).unwrap()
    };
    let luma = plane(width, height, &|x, y| {
        let [r, g, b] = at(x, y);
        16.0 + (65.481 * r + 128.553 * g + 24.966 * b) / 255.0
    });
    let cb = plane(width / 2, height / 2, &|x, y| {
        let [r, g, b] = at(x * 2, y * 2);
        128.0 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255.0
    });
    let cr = plane(width / 2, height / 2, &|x, y| {
        let [r, g, b] = at(x * 2, y * 2);
        128.0 + (112.0 * r - 93.786 * g - 18.214 * b) / 255.0
    });
    (luma, [cb, cr])
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
            let frames: Vec<_> =
                (0..8).map(|i| decoded(&on_a_wall(WIDTH, HEIGHT, &[[100 + 2 * i, 80 + i % 3]]))).collect();
            for sequence in 0.. {
                let at = Stamp::new(
                    MonoTime::from_millis(sequence * 200),
                    WallTime::from_unix_seconds(1_790_000_000 + sequence as i64 / 5),
                );
                // To and fro, a few pixels at a time.
                let place = sequence as usize % 14;
                let (luma, chroma) = frames[place.min(14 - place)].clone();
                let source = cx.name().clone();
                out.send(Picture { source, sequence, session: 0, at, luma, chroma: Some(chroma) });
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(())
        })
    }
}

struct Listener(UnitSpec, Arc<Mutex<Vec<Sighting>>>);
struct Listening(Arc<Mutex<Vec<Sighting>>>);

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
            let mut sightings = cx.input::<Sighting>("sightings")?;
            while let Some(sighting) = sightings.recv().await {
                self.0.lock().unwrap().push(sighting.into_value());
            }
            Ok(())
        })
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn consent() -> Consent {
    Consent::given("A. Person", WallTime::from_unix_seconds(1_790_000_000), "I agree to be recognised").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_enrolled_known_and_forgotten() {
    let film = UnitSpec {
        name: "film",
        about: "shows a film",
        kind: Kind::Generator,
        inputs: vec![],
        outputs: vec![PortSpec::output::<Picture>("pictures")],
        params: vec![],
    };
    let listener = UnitSpec {
        name: "listener",
        about: "keeps what it hears",
        kind: Kind::Sink,
        inputs: vec![PortSpec::input::<Sighting>("sightings", Policy::Lossless { capacity: 1000 })],
        outputs: vec![],
        params: vec![],
    };
    let mut enroller = FaceEnroller::new().unwrap();
    let memory = FaceMemory::new(Gallery::new(enroller.model(), 128).unwrap()).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let registry = Registry::new()
        .with(Film(film))
        .with(Listener(listener, Arc::clone(&heard)))
        .with(FaceUnit::new(memory.clone()));
    let host = Host::new(HostOptions::default(), registry);
    let site = SiteDocument::parse(
        r#"
        version = 1
        site = "home"
        link = [
            { from = "door#pictures", to = "faces#pictures" },
            { from = "faces#sightings", to = "log#sightings" },
        ]
        [[component]]
        name = "door"
        unit = "film"
        [[component]]
        name = "log"
        unit = "listener"
        [[component]]
        name = "faces"
        unit = "face"
    "#,
    )
    .unwrap();
    host.apply(&site).await.unwrap();
    let pass = || tokio::time::sleep(Duration::from_secs(2));
    let said = || std::mem::take(&mut *heard.lock().unwrap());

    pass().await;
    let first = said();
    assert_eq!(first.len(), 1, "once, though in view all the time: {first:?}");
    assert_eq!(first[0].finding, Finding::Stranger { group: Some(1) });
    assert!(first[0].crop.as_ref().is_some_and(|crop| crop.starts_with(&[0xFF, 0xD8])));
    let [left, top, right, bottom] = first[0].region.to_pixels(WIDTH, HEIGHT);
    assert!(left > 100 && right < 280 && top > 80 && bottom < 260, "{:?}", first[0].region);

    let photo = enroller.look(portrait().view()).unwrap().unwrap();
    assert!(photo.quality.is_good());
    let rows = PersonRows::new(enroller.model(), vec![photo.embedding.clone()]).unwrap();
    memory.gallery().change(|gallery| gallery.allow(&name("anna"), &rows, consent())).unwrap();
    pass().await;
    let second = said();
    assert_eq!(second.len(), 1, "{second:?}");
    assert_eq!(second[0].finding, Finding::Face { person: name("anna"), live: false }, "a photo is not alive");
    assert!(second[0].score > 800, "{second:?}");

    let seen = memory.search(
        &photo.embedding,
        WallTime::from_unix_seconds(0)..WallTime::from_unix_seconds(i64::MAX / 2_000_000),
        10,
    );
    assert_eq!(
        seen.unwrap().iter().filter(|(similarity, _)| *similarity > 0.8).count(),
        2,
        "before and after the name"
    );
    let at = WallTime::from_unix_seconds(1_800_000_000);
    let forgotten = memory.forget(&name("anna"), "admin", at, "asked for it").unwrap();
    assert_eq!((forgotten.deletion.photos, forgotten.history_faces), (1, 2));
    pass().await;
    let third = said();
    assert_eq!(third.len(), 1, "{third:?}");
    assert_eq!(third[0].finding, Finding::Stranger { group: Some(1) });

    memory.name_stranger(1, &name("berta"), consent()).unwrap();
    pass().await;
    assert_eq!(said()[0].finding, Finding::Face { person: name("berta"), live: false });
    assert!(memory.name_stranger(1, &name("berta"), consent()).is_err(), "the group is gone");

    memory.forget(&name("berta"), "admin", at, "asked for it").unwrap();
    let reason = WatchReason::given("owner", at, "report 17").unwrap();
    memory.gallery().change(|gallery| gallery.watch(&name("thief"), &rows, reason)).unwrap();
    pass().await;
    assert_eq!(said().last().unwrap().finding, Finding::Watched { person: name("thief") });
    memory.gallery().read(|gallery| assert_eq!((gallery.len(List::Allow), gallery.len(List::Watch)), (0, 1)));
    host.shutdown().await;
}

#[test]
fn a_photo_that_does_not_serve_is_named() {
    let mut enroller = FaceEnroller::new().unwrap();
    let mut fault = |photo: &RgbImage| enroller.look(photo.view()).unwrap().unwrap_err();
    assert_eq!(fault(&on_a_wall(300, 300, &[])), PhotoFault::NoFace);
    assert_eq!(fault(&on_a_wall(400, 300, &[[10, 20], [220, 60]])), PhotoFault::ManyFaces { faces: 2 });
    let scaled = |parts: usize| {
        let portrait = portrait();
        let (width, height) = (portrait.width() / parts, portrait.height() / parts);
        let mut data = Vec::new();
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for channel in 0..3 {
                let sum: u32 = (0..parts * parts)
                    .map(|i| {
                        u32::from(portrait.view().row(y * parts + i / parts)[(x * parts + i % parts) * 3 + channel])
                    })
                    .sum();
                data.push((sum / (parts * parts) as u32) as u8);
            }
        }
        RgbImage::new(data, width, height).unwrap()
    };
    assert_eq!(fault(&scaled(2)), PhotoFault::Poor(Concern::Far));
    assert_eq!(fault(&scaled(3)), PhotoFault::Poor(Concern::TooFar));
    let blurred = {
        let mut picture = portrait();
        let (width, height) = (picture.width(), picture.height());
        for _ in 0..40 {
            let from = picture.clone();
            for y in 1..height - 1 {
                for i in 3..(width - 1) * 3 {
                    let near = [(y - 1, i), (y + 1, i), (y, i - 3), (y, i + 3), (y, i)];
                    let sum: u32 = near.map(|(y, i)| u32::from(from.view().row(y)[i])).iter().sum();
                    picture.bytes_mut()[y * width * 3 + i] = (sum / 5) as u8;
                }
            }
        }
        picture
    };
    assert_eq!(fault(&blurred), PhotoFault::Poor(Concern::Blurred));
    let leaning = {
        // A quarter of a turn.
        let from = portrait();
        let (width, height) = (from.height(), from.width());
        let mut picture = RgbImage::black(width, height).unwrap();
        for y in 0..height {
            for x in 0..width {
                let pixel = &from.view().row(x)[(from.width() - 1 - y) * 3..][..3];
                picture.bytes_mut()[(y * width + x) * 3..][..3].copy_from_slice(pixel);
            }
        }
        picture
    };
    let PhotoFault::Poor(concern) = fault(&leaning) else { panic!("a face on its side is found, and found wanting") };
    assert!(matches!(concern, Concern::Leaning | Concern::Covered | Concern::Turned | Concern::Nodding), "{concern:?}");
    let portrait = portrait();
    assert_eq!(enroller.rows(&[portrait.view(), portrait.view()]).unwrap().unwrap().rows().len(), 1, "the same photo");
}
