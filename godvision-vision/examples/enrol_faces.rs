//! A gallery from photos, then who is in others: `enrol_faces NAME=PHOTO... -- PHOTO...`.
//!
//! `cargo run --release -p godvision-vision --features face --example enrol_faces -- anna=1.jpg anna=2.jpg ivan=3.jpg -- gate.jpg`
//!
//! You will see which photos serve and why others do not, the gallery sealed and opened again, and for each face of the
//! other photos whom it is like. Read next: `face::watch` in the crate's documentation, which does this to a camera.

use std::collections::BTreeMap;
use std::error::Error;

use godvision_core::{Clock, Name, SystemClock};
use godvision_vision::RgbImage;
use godvision_vision::face::enrol::{Enrolment, FaceEnroller};
use godvision_vision::face::gallery::{Consent, Gallery};
use godvision_vision::face::search::SearchSpace;
use godvision_vision::face::vault::{VaultKey, open, seal};
use godvision_vision::face::{FaceChip, FaceDetector, FaceEmbedder, SFace, YuNet, YuNetOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut halves = arguments.split(|word| word == "--");
    let (known, asked) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    if known.is_empty() {
        return Err("usage: enrol_faces NAME=PHOTO... -- PHOTO...".into());
    }
    let mut enroller = FaceEnroller::new()?;
    let mut people: BTreeMap<&str, Enrolment> = BTreeMap::new();
    for word in known {
        let (name, file) = word.split_once('=').ok_or("give NAME=PHOTO")?;
        match enroller.look(photo(file)?.view())? {
            Ok(photo) => {
                let person = people.entry(name).or_insert_with(|| Enrolment::of_model(enroller.model()));
                let offer = person.offer(&photo.embedding, &photo.quality)?;
                println!("{file}: {}", offer.advice());
            }
            Err(fault) => println!("{file}: {fault}"),
        }
    }
    let mut gallery = Gallery::new(enroller.model(), 128)?;
    for (name, person) in people {
        // At a real site this is what the person signed.
        let consent = Consent::given(name, SystemClock.now().wall, "agreed to try this example")?;
        gallery.allow(&Name::new(name)?, &person.finish()?, consent)?;
    }
    // A key and a nonce come from the system's random source; these are for show.
    let sealed = seal(&gallery, &VaultKey::new([1; 32]), [2; 24])?;
    let gallery = open(&sealed, &VaultKey::new([1; 32]))?;
    println!("{gallery:?}, {} bytes sealed", sealed.len());
    let (mut detector, mut embedder) = (YuNet::new(YuNetOptions::default())?, SFace::new()?);
    let mut space = SearchSpace::default();
    for file in asked {
        let picture = photo(file)?;
        for face in detector.find(picture.view())? {
            let embedding = embedder.embed(&FaceChip::cut(picture.view(), &face.points)?)?;
            let place = face.bounds.map(f32::round);
            match gallery.find(&embedding, &mut space)?.allow {
                Some(it) if it.similarity >= 0.42 => println!("{file} {place:?}: {} ({:.2})", it.person, it.similarity),
                Some(it) => println!("{file} {place:?}: nobody known; nearest {} ({:.2})", it.person, it.similarity),
                None => println!("{file} {place:?}: nobody known"),
            }
        }
    }
    Ok(())
}

fn photo(file: &str) -> Result<RgbImage, Box<dyn Error>> {
    let picture = image::open(file)?.into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Ok(RgbImage::new(picture.into_raw(), width, height)?)
}
