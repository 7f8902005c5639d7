//! The search of 8-bit rows finds what comparing every row in `f32` finds; galleries keep their lists apart, refuse other
//! models and forget without residue; a sealed gallery opens with its key and not with one bit changed.

#![cfg(feature = "face")]

use godvision_core::{Name, WallTime};
use godvision_vision::Error;
use godvision_vision::face::Embedding;
use godvision_vision::face::gallery::{Consent, Gallery, List, PHOTOS_MAX, PersonRows, WatchReason};
use godvision_vision::face::search::{FaceIndex, SearchSpace, WANTED_MAX};
use godvision_vision::face::vault::{VaultKey, open, seal};
use proptest::prelude::*;

fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 24) as f32
        };
        // Nearly normal: a direction made of these is nearly even on the sphere.
        (0..6).map(|_| uniform()).sum::<f32>() - 3.0
    }
}

fn face(seed: u64, length: usize) -> Embedding {
    let mut next = random(seed);
    Embedding::new(&(0..length).map(|_| next()).collect::<Vec<_>>()).unwrap()
}

/// A row whose cosine to `of` is about `similarity`.
fn like(of: &Embedding, similarity: f32, seed: u64) -> Embedding {
    let other = face(seed, of.values().len());
    let along: f32 = of.values().iter().zip(other.values()).map(|(a, b)| a * b).sum();
    let aside: Vec<f32> = of.values().iter().zip(other.values()).map(|(a, b)| b - along * a).collect();
    let length = aside.iter().map(|v| v * v).sum::<f32>().sqrt();
    let part = (1.0 - similarity * similarity).sqrt() / length;
    Embedding::new(&of.values().iter().zip(&aside).map(|(a, b)| a * similarity + b * part).collect::<Vec<_>>()).unwrap()
}

fn dot(a: &Embedding, b: &Embedding) -> f32 {
    a.values().iter().zip(b.values()).map(|(a, b)| a * b).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_search_is_exact(
        rows in 1usize..900, length in prop_oneof![Just(128usize), Just(512), 16usize..70], wanted in 1usize..20,
        crowd in 0usize..200, removed in 0usize..50, seed: u64,
    ) {
        let query = face(seed, length);
        let mut index = FaceIndex::new(length).unwrap();
        let mut kept: Vec<(u64, Embedding)> = Vec::new();
        for key in 0..rows as u64 {
            // A crowd of rows that 8 bits cannot tell apart makes the search look wider.
            let row = if (key as usize) < crowd { like(&query, 0.8, seed ^ (key + 1)) } else { face(seed ^ (key + 1000), length) };
            index.insert(key, &row).unwrap();
            kept.push((key, row));
        }
        for turn in 0..removed.min(rows - 1) {
            let (key, _) = kept.swap_remove(turn * 7 % kept.len());
            prop_assert!(index.remove(key));
        }
        prop_assert_eq!(index.len(), kept.len());
        let mut space = SearchSpace::default();
        let found = index.search(&query, wanted, &mut space).unwrap().to_vec();
        prop_assert_eq!(found.len(), wanted.min(kept.len()));
        let mut all: Vec<f32> = kept.iter().map(|(_, row)| dot(row, &query)).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        for (hit, best) in found.iter().zip(&all) {
            let row = &kept.iter().find(|(key, _)| *key == hit.key).unwrap().1;
            prop_assert!((hit.similarity - best).abs() < 2e-6, "{} {best}", hit.similarity);
            prop_assert!((hit.similarity - dot(row, &query)).abs() < 2e-6);
        }
        prop_assert!(found.windows(2).all(|pair| pair[0].similarity >= pair[1].similarity));
    }
}

#[test]
fn a_crowd_that_bytes_cannot_tell_apart_is_looked_at_wider() {
    let query = face(1, 128);
    let mut index = FaceIndex::new(128).unwrap();
    for key in 0..500 {
        index.insert(key, &like(&query, 0.7 + key as f32 * 1e-6, key + 5)).unwrap();
    }
    let mut space = SearchSpace::default();
    let best = index.search(&query, 5, &mut space).unwrap().to_vec();
    let mut all: Vec<f32> = (0..500).map(|key| dot(&like(&query, 0.7 + key as f32 * 1e-6, key + 5), &query)).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    assert!(best.iter().zip(&all).all(|(hit, exact)| (hit.similarity - exact).abs() < 1e-6));
    assert_eq!(space.widened(), 1);
    assert!(index.search(&query, 0, &mut space).is_err());
    assert!(index.search(&query, WANTED_MAX + 1, &mut space).is_err());
    assert!(matches!(index.search(&face(1, 64), 1, &mut space), Err(Error::OtherLength { wanted: 128, got: 64 })));
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn rows(of: &Embedding, photos: usize) -> PersonRows {
    PersonRows::new("sface", (0..photos).map(|photo| like(of, 0.9, 77 + photo as u64)).collect()).unwrap()
}

fn agreed() -> Consent {
    Consent::given("A. Person", WallTime::from_unix_seconds(1_790_000_000), "I agree to be recognised at the gate")
        .unwrap()
}

fn gallery() -> Gallery {
    let mut gallery = Gallery::new("sface", 128).unwrap();
    gallery.allow(&name("anna"), &rows(&face(1, 128), PHOTOS_MAX), agreed()).unwrap();
    gallery.allow(&name("boris"), &rows(&like(&face(1, 128), 0.6, 9), 3), agreed()).unwrap();
    let reason = WatchReason::given("owner", WallTime::from_unix_seconds(1), "stole a bicycle, report 17").unwrap();
    gallery.watch(&name("thief"), &rows(&face(3, 128), 2), reason).unwrap();
    gallery
}

#[test]
fn the_runner_up_is_another_person_even_behind_eight_photos() {
    let matches = gallery().find(&face(1, 128), &mut SearchSpace::default()).unwrap();
    assert_eq!(matches.allow.unwrap().person, name("anna"));
    let second = matches.runner_up.unwrap();
    assert_eq!(second.person, name("boris"));
    assert!(second.similarity < 0.8);
    assert_eq!(matches.watch.unwrap().person, name("thief"));
}

#[test]
fn lists_names_models_and_consent_are_kept_apart() {
    let mut known = gallery();
    assert_eq!((known.len(List::Allow), known.len(List::Watch)), (2, 1));
    assert!(matches!(known.allow(&name("thief"), &rows(&face(3, 128), 1), agreed()), Err(Error::BadPerson { .. })));
    let foreign = PersonRows::new("arcface", vec![face(5, 128)]).unwrap();
    assert!(matches!(known.allow(&name("vera"), &foreign, agreed()), Err(Error::OtherModel { .. })));
    let longer = PersonRows::new("sface", vec![face(5, 512)]).unwrap();
    assert!(matches!(known.allow(&name("vera"), &longer, agreed()), Err(Error::OtherLength { .. })));
    assert!(matches!(known.add_photos(&name("anna"), &rows(&face(1, 128), 1)), Err(Error::BadPerson { .. })));
    known.add_photos(&name("boris"), &rows(&face(1, 128), 5)).unwrap();
    assert_eq!(known.person(&name("boris")).unwrap().photos, 8);
    assert!(PersonRows::new("sface", vec![]).is_err());
    assert!(PersonRows::new("sface", vec![face(1, 128); PHOTOS_MAX + 1]).is_err());
    for (by, text) in [("", "yes"), ("me", " "), ("me", &*"x".repeat(2001))] {
        assert!(Consent::given(by, WallTime::default(), text).is_err());
    }
}

#[test]
fn forgetting_is_recorded_and_final() {
    let mut known = gallery();
    let at = WallTime::from_unix_seconds(2_000_000_000);
    let deletion = known.forget(&name("anna"), "admin", at, "left the house").unwrap();
    assert_eq!((deletion.photos, deletion.list, deletion.statement.by()), (8, List::Allow, "admin"));
    assert!(known.forget(&name("anna"), "admin", at, "again").is_err());
    let matches = known.find(&face(1, 128), &mut SearchSpace::default()).unwrap();
    assert_eq!(matches.allow.unwrap().person, name("boris"));
    assert_eq!((matches.runner_up, known.rows(&name("anna")).len()), (None, 0));
    assert_eq!(known.deletions().next(), Some(&deletion));
    known.allow(&name("anna"), &rows(&face(1, 128), 1), agreed()).unwrap();
}

#[test]
fn a_sealed_gallery_opens_as_it_was_and_no_bit_may_change() {
    let mut known = gallery();
    known.forget(&name("boris"), "admin", WallTime::from_unix_seconds(5), "asked for it").unwrap();
    let sealed = seal(&known, &VaultKey::new([7; 32]), [9; 24]).unwrap();
    let opened = open(&sealed, &VaultKey::new([7; 32])).unwrap();
    assert_eq!(opened.persons(), known.persons());
    assert!(opened.deletions().eq(known.deletions()));
    for (mine, theirs) in opened.rows(&name("anna")).iter().zip(known.rows(&name("anna"))) {
        assert!(mine.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-6));
    }
    assert!(open(&sealed, &VaultKey::new([8; 32])).is_err());
    let text = String::from_utf8_lossy(&sealed);
    assert!(!text.contains("anna") && !text.contains("bicycle"));
    for at in (0..sealed.len()).step_by(97).chain(0..40).chain(sealed.len() - 20..sealed.len()) {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(matches!(open(&changed, &VaultKey::new([7; 32])), Err(Error::BadVault { .. })), "byte {at}");
    }
    for cut in 0..60 {
        assert!(open(&sealed[..cut], &VaultKey::new([7; 32])).is_err());
    }
}
