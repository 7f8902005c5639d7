//! Faces of `godvision-vision`: files of weights and sealed galleries of any bytes are refused or whole; pictures of any
//! size, points anywhere and numbers of any kind are results or typed errors.

use godvision_core::MonoTime;
use godvision_vision::RgbView;
use godvision_vision::face::gallery::Gallery;
use godvision_vision::face::liveness::{Liveness, LivenessCheck, Parallax};
use godvision_vision::face::quality::{Quality, QualityOptions};
use godvision_vision::face::search::{FaceIndex, SearchSpace};
use godvision_vision::face::track::{FaceTracker, TRACKS_MAX};
use godvision_vision::face::vault::{VaultKey, open, seal};
use godvision_vision::face::{
    EMBEDDING_MAX, EMBEDDING_MIN, Embedding, Face, FaceChip, FaceDetector, SFace, YuNet, YuNetOptions,
};

use crate::{Input, Reached};

/// One byte of what to do, then its input.
pub fn faces(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    match input.byte() {
        0 => Reached::when(weights(input.rest())),
        1 => Reached::when(vault(input.rest())),
        2 => Reached::when(detector(&mut input)),
        3 => Reached::when(chip(&mut input)),
        4 => Reached::when(tracks(&mut input)),
        _ => Reached::when(search(&mut input)),
    }
}

fn weights(file: &[u8]) -> bool {
    // Whatever is accepted as one network is refused as the other.
    let options = || YuNetOptions { side: 32, ..YuNetOptions::default() };
    let (yunet, sface) = (YuNet::with_weights(options(), file), SFace::with_weights(file));
    assert!(yunet.is_err() || sface.is_err());
    file.starts_with(b"GVW1")
}

fn vault(bytes: &[u8]) -> bool {
    let key = || VaultKey::new([7; 32]);
    if let Ok(gallery) = open(bytes, &key()) {
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&bytes[8..32]);
        assert_eq!(seal(&gallery, &key(), nonce).expect("it was sealed before"), bytes, "sealing again gives the same");
        return true;
    }
    let empty = Gallery::new("m", 16).expect("a length in range");
    let sealed = seal(&empty, &key(), [1; 24]).expect("a small one");
    // The bytes as a change of a good vault: any that changes it is noticed.
    let changed: Vec<u8> =
        sealed.iter().zip(bytes.iter().chain(std::iter::repeat(&0))).map(|(byte, change)| byte ^ change).collect();
    assert_eq!(open(&changed, &key()).is_ok(), changed == sealed);
    !bytes.is_empty()
}

fn detector(input: &mut Input<'_>) -> bool {
    let [across, down, padding] = input.array();
    let (width, height) = (usize::from(across) * 2, usize::from(down));
    let stride = width * 3 + usize::from(padding % 9);
    let pattern = input.rest();
    let pixels: Vec<u8> = pattern.iter().copied().cycle().take(stride * height).collect();
    let Ok(view) = RgbView::new(&pixels, width, height, stride) else { return false };
    let mut detector =
        YuNet::new(YuNetOptions { side: 64, score_min: 0.05, ..YuNetOptions::default() }).expect("options in range");
    for face in detector.find(view).unwrap_or_default() {
        assert!((0.05..=1.0).contains(&face.score));
        assert!(face.bounds.iter().chain(face.points.as_flattened()).all(|value| value.is_finite()));
    }
    true
}

/// Any four bytes as a number: often not finite.
fn number(input: &mut Input<'_>) -> f32 {
    f32::from_le_bytes(input.array())
}

fn chip(input: &mut Input<'_>) -> bool {
    let [across, down, wild] = input.array();
    let (width, height) = (usize::from(across), usize::from(down));
    let mut points = [[0.0; 2]; 5];
    for value in points.iter_mut().flatten() {
        *value = if wild % 2 == 0 { f32::from(input.byte()) } else { number(input) };
    }
    let face =
        Face { bounds: [number(input), number(input), number(input), number(input)], score: number(input), points };
    let pixels: Vec<u8> = input.rest().iter().copied().cycle().take(width * height * 3).collect();
    let Ok(view) = RgbView::new(&pixels, width, height, width * 3) else { return false };
    let Ok(chip) = FaceChip::cut(view, &points) else { return false };
    let quality = Quality::of(&face, &chip, [width, height], &QualityOptions::default());
    assert!((0.0..=1.0).contains(&quality.grade()));
    assert!(!quality.is_good() || (quality.width >= 60.0 && quality.score >= 0.7));
    let mut check = Parallax::default();
    for frame in 0..4 {
        let said = check.look(MonoTime::from_millis(frame * 700), &face, &chip);
        assert_ne!(said, Liveness::Live, "the same picture again is not alive");
    }
    true
}

fn tracks(input: &mut Input<'_>) -> bool {
    let (mut tracker, mut millis, mut seen) = (FaceTracker::default(), 0, 0);
    while !input.is_empty() && seen < 64 {
        let [wait, count] = input.array();
        millis += u64::from(wait) * 10;
        let faces: Vec<Face> = (0..count)
            .map(|_| {
                let bounds = [number(input), number(input), number(input), number(input)];
                Face { bounds, score: 0.9, points: [[0.0; 2]; 5] }
            })
            .collect();
        let given = tracker.step(MonoTime::from_millis(millis), &faces);
        let mut ids: Vec<u64> = given.iter().flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        assert!(given.len() == faces.len() && ids.len() == given.iter().flatten().count(), "one face, one track");
        assert!(tracker.tracks().len() <= TRACKS_MAX);
        seen += 1;
    }
    seen > 0
}

fn search(input: &mut Input<'_>) -> bool {
    let length = usize::from(u16::from_be_bytes(input.array())) % 80;
    let Ok(mut index) = FaceIndex::new(length) else {
        assert!(!(EMBEDDING_MIN..=EMBEDDING_MAX).contains(&length));
        return false;
    };
    let mut rows: Vec<(u64, Embedding)> = Vec::new();
    while !input.is_empty() && rows.len() < 96 {
        let values: Vec<f32> = (0..length).map(|_| f32::from(input.byte() as i8)).collect();
        let Ok(row) = Embedding::new(&values) else { continue };
        let key = rows.len() as u64;
        index.insert(key, &row).expect("room");
        rows.push((key, row));
    }
    let Some((_, query)) = rows.last().cloned() else { return false };
    let last = rows.len() as u64 - 1;
    for key in (0..last).step_by(3) {
        assert!(index.remove(key));
        rows.retain(|(other, _)| *other != key);
    }
    let mut space = SearchSpace::default();
    let hits = index.search(&query, 5, &mut space).expect("the same length").to_vec();
    assert_eq!(hits.len(), rows.len().min(5));
    let mut all: Vec<f32> = rows.iter().filter_map(|(_, row)| row.similarity(&query)).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    for (hit, best) in hits.iter().zip(all) {
        assert!((hit.similarity - best).abs() < 1e-5, "{} is not {best}", hit.similarity);
    }
    true
}

/// A sealed gallery of nobody, for the corpus.
pub fn vault_seed() -> Vec<u8> {
    let empty = Gallery::new("m", 16).expect("a length in range");
    seal(&empty, &VaultKey::new([7; 32]), [3; 24]).expect("a small one")
}
