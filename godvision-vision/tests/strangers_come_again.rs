//! Strangers are grouped, named and forgotten; a history is searched by a photo; an enrolment takes one person's good
//! pictures; a face is compared with a document's.

#![cfg(feature = "face")]

use std::time::Duration;

use godvision_core::{MonoTime, Name, Stamp, WallTime};
use godvision_vision::Error;
use godvision_vision::face::compare::{DocumentOptions, DocumentVerdict, compare_to_document};
use godvision_vision::face::enrol::{Enrolment, Offer};
use godvision_vision::face::group::{GROUPS_MAX, Strangers};
use godvision_vision::face::history::{History, Seen};
use godvision_vision::face::quality::{Quality, QualityOptions};
use godvision_vision::face::{CHIP_SIDE, Embedding, Face, FaceChip, FaceEmbedder};

/// Person `who` on picture `which`: pictures of one are about 0.8 alike.
fn face(who: u64, which: u64) -> Embedding {
    let stream = |seed: u64| {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        (0..128).map(move |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
    };
    let values: Vec<f32> = stream(who + 1).zip(stream(who * 1000 + which + 77)).map(|(a, b)| a + 0.5 * b).collect();
    Embedding::new(&values).unwrap()
}

fn chip(shade: u8) -> FaceChip {
    let pixels: Vec<u8> = (0..CHIP_SIDE * CHIP_SIDE)
        .flat_map(|i| [if (i % CHIP_SIDE / 4 + i / CHIP_SIDE / 4).is_multiple_of(2) { shade } else { 160 }; 3])
        .collect();
    FaceChip::from_pixels(&pixels).unwrap()
}

fn quality(width: f32) -> Quality {
    let points = [[75.0, 80.0], [125.0, 80.0], [100.0, 108.5], [79.0, 137.75], [121.0, 137.75]];
    let face = Face { bounds: [50.0, 40.0, 50.0 + width, 160.0], score: 0.95, points };
    Quality::of(&face, &chip(90), [640, 480], &QualityOptions::default())
}

#[test]
fn who_comes_again_is_in_one_group_and_can_be_named() {
    let mut strangers = Strangers::new("m", Duration::from_secs(1000));
    let order: Vec<(u64, u64)> =
        (0..60).map(|i| (i % 6, strangers.add(MonoTime::from_millis(i), &face(i % 6, i)))).collect();
    for (who, group) in &order {
        assert_eq!(*group, who + 1, "{order:?}");
    }
    assert_eq!(strangers.groups().collect::<Vec<_>>(), (1..=6).map(|id| (id, 10)).collect::<Vec<_>>());
    let rows = strangers.take(3).unwrap();
    assert_eq!((rows.model(), rows.rows().len()), ("m", 8));
    assert!(strangers.take(3).is_err());
    assert!(strangers.forget(4) && !strangers.forget(4));
    assert_eq!(strangers.add(MonoTime::from_millis(2_000_000), &face(0, 99)), 7, "all were forgotten by then");
}

#[test]
fn groups_are_bounded() {
    let mut strangers = Strangers::new("m", Duration::from_secs(1000));
    for who in 0..GROUPS_MAX as u64 + 50 {
        strangers.add(MonoTime::from_millis(who), &face(who, 0));
    }
    assert!(strangers.groups().count() <= GROUPS_MAX);
}

#[test]
fn a_photo_finds_when_and_where() {
    let mut history = History::new(128, 300).unwrap();
    let seen = |i: u64| Seen {
        at: Stamp::new(MonoTime::from_millis(i), WallTime::from_unix_seconds(i as i64)),
        camera: Name::new("gate").unwrap(),
        sequence: i,
    };
    for i in 0..400 {
        history.add(&face(i % 40, i), seen(i)).unwrap();
    }
    assert_eq!(history.len(), 300);
    let range = WallTime::from_unix_seconds(150)..WallTime::from_unix_seconds(350);
    let found = history.search(&face(7, 999), range.clone(), 10).unwrap();
    let mut frames: Vec<u64> =
        found.iter().filter(|(similarity, _)| *similarity > 0.5).map(|(_, seen)| seen.sequence).collect();
    frames.sort_unstable();
    assert_eq!(frames, [167, 207, 247, 287, 327]);
    assert_eq!(history.forget_like(&face(7, 999), 0.5).unwrap(), 7);
    assert_eq!(history.len(), 293);
    assert!(history.search(&face(7, 999), range, 1).unwrap()[0].0 < 0.5);
    assert!(History::new(128, 0).is_err() && History::new(0, 1).is_err());
}

#[test]
fn an_enrolment_takes_good_pictures_of_one_person() {
    let mut enrolment = Enrolment::of_model("m");
    assert!(matches!(enrolment.offer(&face(1, 0), &quality(50.0)).unwrap(), Offer::Poor(_)));
    assert_eq!(enrolment.offer(&face(1, 0), &quality(90.0)).unwrap(), Offer::Taken { wanted: 2 });
    assert_eq!(enrolment.offer(&face(1, 0), &quality(90.0)).unwrap(), Offer::SamePicture);
    assert!(matches!(enrolment.offer(&face(2, 0), &quality(90.0)).unwrap(), Offer::OtherPerson { .. }));
    assert_eq!(enrolment.offer(&face(1, 1), &quality(90.0)).unwrap(), Offer::Taken { wanted: 1 });
    assert!(matches!(
        enrolment.offer(&Embedding::new(&[1.0; 64]).unwrap(), &quality(90.0)),
        Err(Error::OtherLength { .. })
    ));
    for which in 2..8 {
        enrolment.offer(&face(1, which), &quality(90.0)).unwrap();
    }
    assert_eq!(enrolment.offer(&face(1, 20), &quality(90.0)).unwrap(), Offer::Enough);
    assert_eq!(enrolment.finish().unwrap().rows().len(), 8);
    assert!(Enrolment::of_model("m").finish().is_err());
}

/// The chip's first byte is the person, the second the picture.
struct ByShade;

impl FaceEmbedder for ByShade {
    fn embed(&mut self, chip: &FaceChip) -> Result<Embedding, Error> {
        Ok(face(u64::from(chip.pixels()[0]), 0))
    }
    fn model(&self) -> &str {
        "shade"
    }
}

#[test]
fn a_document_is_compared_one_to_one() {
    let check = |document: u8, document_width: f32, person_width: f32| {
        let options = DocumentOptions::default();
        let (person, document) = ((&chip(90), &quality(person_width)), (&chip(document), &quality(document_width)));
        compare_to_document(&mut ByShade, person, document, &options).unwrap()
    };
    assert_eq!(check(90, 60.0, 90.0).verdict, DocumentVerdict::Same);
    assert_eq!(check(91, 60.0, 90.0).verdict, DocumentVerdict::Different);
    assert_eq!(check(90, 59.0, 90.0).verdict, DocumentVerdict::SmallDocument);
    assert!(matches!(check(90, 60.0, 50.0).verdict, DocumentVerdict::PoorFace(_)));
}
