//! `FaceWatcher` with a person of the gallery before the camera: alive once the head has turned, not as a photo, and not
//! because somebody else showed life before.

#![cfg(feature = "face")]

#[path = "common/waved.rs"]
mod waved;

use godvision_core::signal::media::{Picture, Plane};
use godvision_core::{MonoTime, Name, Stamp, WallTime};
use godvision_vision::RgbImage;
use godvision_vision::face::enrol::FaceEnroller;
use godvision_vision::face::gallery::{Consent, Gallery};
use godvision_vision::face::identify::Identity;
use godvision_vision::face::liveness::Parallax;
use godvision_vision::face::memory::FaceMemory;
use godvision_vision::face::watch::{FaceModels, FaceReport, FaceWatcher, WatchOptions};
use godvision_vision::face::{FaceDetector, SFace, YuNet, YuNetOptions};
use waved::{Pose, Scene, draw};

const PHOTO: Scene = Scene { is_head: false, eyes: 60.0, noise: 3.0 };
const HEAD: Scene = Scene { is_head: true, ..PHOTO };

fn portrait() -> RgbImage {
    let picture = image::load_from_memory(include_bytes!("data/astronaut.png")).unwrap().into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    RgbImage::new(picture.into_raw(), width, height).unwrap()
}

/// As an infra-red camera gives it: without colour.
fn grey(picture: &RgbImage, frame: u64) -> Picture {
    let (width, height) = (picture.width(), picture.height());
    let luma: Vec<u8> =
        picture.bytes().chunks_exact(3).map(|pixel| 16 + (u32::from(pixel[1]) * 219 / 255) as u8).collect();
    Picture {
        source: Name::new("door").unwrap(),
        sequence: frame,
        session: 0,
        at: Stamp::new(MonoTime::from_millis(frame * 200), WallTime::from_unix_seconds(frame as i64)),
        luma: Plane::new(width, height, width, luma.into()).unwrap(),
        chroma: None,
    }
}

fn memory() -> FaceMemory {
    let mut enroller = FaceEnroller::new().unwrap();
    let rows = enroller.rows(&[portrait().view()]).unwrap().unwrap();
    let mut gallery = Gallery::new(enroller.model(), 128).unwrap();
    let consent = Consent::given("Anna", WallTime::from_unix_seconds(1), "I agree to be recognised").unwrap();
    gallery.allow(&Name::new("anna").unwrap(), &rows, consent).unwrap();
    FaceMemory::new(gallery).unwrap()
}

fn watch(pictures: u64, shown: impl Fn(u64) -> (Pose, Scene)) -> Vec<FaceReport> {
    let portrait = portrait();
    let face = YuNet::new(YuNetOptions::default()).unwrap().find(portrait.view()).unwrap()[0];
    let options = YuNetOptions { side: 360, ..YuNetOptions::default() };
    let models = FaceModels {
        detector: Box::new(YuNet::new(options).unwrap()),
        side: 360,
        embedder: Box::new(SFace::new().unwrap()),
    };
    let liveness = Box::new(|| Box::new(Parallax::default()) as _);
    let mut watcher = FaceWatcher::new(WatchOptions::default(), memory(), models, Some(liveness)).unwrap();
    let mut reports = Vec::new();
    for frame in 0..pictures {
        let (pose, scene) = shown(frame);
        reports.extend(watcher.step(&grey(&draw(portrait.view(), &face, pose, scene, frame + 1), frame)).unwrap());
    }
    reports
}

fn turned(frame: u64) -> Pose {
    Pose { yaw: 0.3 * (0.42 * frame as f64).sin(), ..Pose::default() }
}

#[test]
fn a_person_who_turns_is_reported_again_as_alive() {
    let reports = watch(20, |frame| (turned(frame), HEAD));
    let said: Vec<bool> = reports.iter().map(|report| report.is_live).collect();
    assert_eq!(said, [false, true], "{reports:?}");
    for report in &reports {
        assert!(matches!(&report.identity, Identity::Person(it) if it.person.as_str() == "anna"), "{report:?}");
        assert!(report.similarity > 0.6 && report.track == reports[0].track);
    }
}

#[test]
fn a_waved_photo_of_the_person_is_never_reported_as_alive() {
    let reports = watch(40, |frame| {
        let t = frame as f64 / 5.0;
        let pose =
            Pose { yaw: 0.4 * (1.7 * t).sin(), pitch: 0.2 * (2.3 * t).cos(), roll: 0.2 * t.sin(), shift: [0.0; 2] };
        (pose, PHOTO)
    });
    assert!(!reports.is_empty() && reports.iter().all(|report| !report.is_live), "{reports:?}");
}

#[test]
fn models_of_another_gallery_are_refused() {
    let memory = FaceMemory::new(Gallery::new("another", 128).unwrap()).unwrap();
    let models = FaceModels::built_in(320).unwrap();
    assert!(FaceWatcher::new(WatchOptions::default(), memory, models, None).is_err());
    assert!(FaceModels::built_in(8).is_err());
}
