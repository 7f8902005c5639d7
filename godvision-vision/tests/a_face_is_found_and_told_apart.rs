//! A real portrait gives the same box, points and embedding as the published networks in ONNX Runtime, at any place,
//! size and stride that a camera may show it in. `data/SOURCES.md` says where the numbers come from.

#![cfg(feature = "face")]

use godvision_vision::face::{Embedding, Face, FaceChip, FaceDetector, FaceEmbedder, SFace, YuNet, YuNetOptions};
use godvision_vision::{Error, RgbImage, RgbView};

fn portrait() -> RgbImage {
    let picture = image::load_from_memory(include_bytes!("data/astronaut.png")).unwrap().into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    RgbImage::new(picture.into_raw(), width, height).unwrap()
}

fn expected(name: &str) -> Vec<f32> {
    let line = include_str!("data/astronaut.txt").lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn detector() -> YuNet {
    YuNet::new(YuNetOptions::default()).unwrap()
}

fn numbers(face: &Face) -> Vec<f32> {
    face.bounds.iter().chain(face.points.as_flattened()).copied().collect()
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn box_points_and_embedding_are_the_reference() {
    let picture = portrait();
    let faces = detector().find(picture.view()).unwrap();
    assert_eq!(faces.len(), 1);
    let want: Vec<f32> = expected("box").into_iter().chain(expected("points")).collect();
    assert!(farthest(&numbers(&faces[0]), &want) < 0.1, "{:?}", faces[0]);
    assert!((faces[0].score - expected("score")[0]).abs() < 1e-3);
    let chip = FaceChip::cut(picture.view(), &faces[0].points).unwrap();
    let embedding = SFace::new().unwrap().embed(&chip).unwrap();
    let similarity = embedding.similarity(&Embedding::new(&expected("embedding")).unwrap()).unwrap();
    assert!(similarity >= 0.9999, "{similarity}");
}

#[test]
fn a_detector_serves_pictures_of_changing_size() {
    let (picture, mut detector) = (portrait(), detector());
    let first = detector.find(picture.view()).unwrap();
    assert_eq!(detector.find(RgbImage::black(333, 77).unwrap().view()).unwrap(), []);
    assert_eq!(detector.find(RgbImage::black(1, 1).unwrap().view()).unwrap(), []);
    assert_eq!(detector.find(picture.view()).unwrap(), first);
}

#[test]
fn a_large_picture_is_reduced_and_its_face_found_in_place() {
    // The portrait, each pixel enlarged to 5x5, far right and low in a picture of 1601x1207 with a padded stride.
    let (small, factor, [left, top]) = (portrait(), 5, [701, 207]);
    let (width, height, stride) = (1601, 1207, 5000);
    let mut pixels = vec![90; stride * height];
    for y in 0..small.height() * factor {
        let row = small.view().row(y / factor);
        for x in 0..small.width() * factor {
            let to = (top + y) * stride + (left + x) * 3;
            pixels[to..to + 3].copy_from_slice(&row[x / factor * 3..x / factor * 3 + 3]);
        }
    }
    let want = expected("box");
    let faces = detector().find(RgbView::new(&pixels, width, height, stride).unwrap()).unwrap();
    assert_eq!(faces.len(), 1);
    for (index, got) in faces[0].bounds.iter().enumerate() {
        let want = want[index] * factor as f32 + [left, top][index % 2] as f32;
        assert!((got - want).abs() < 30.0, "{:?}", faces[0].bounds);
    }
}

#[test]
fn one_person_stays_near_and_noise_goes_far() {
    let (picture, mut embedder) = (portrait(), SFace::new().unwrap());
    let points = detector().find(picture.view()).unwrap()[0].points;
    let chip = FaceChip::cut(picture.view(), &points).unwrap();
    let itself = embedder.embed(&chip).unwrap();
    let darker: Vec<u8> = chip.pixels().iter().map(|&byte| byte / 2).collect();
    let darker = embedder.embed(&FaceChip::from_pixels(&darker).unwrap()).unwrap();
    assert!(itself.similarity(&darker).unwrap() > 0.7);
    let noise: Vec<u8> = (0..112 * 112 * 3_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let noise = embedder.embed(&FaceChip::from_pixels(&noise).unwrap()).unwrap();
    assert!(itself.similarity(&noise).unwrap() < 0.35);
}

#[test]
fn pictures_and_weights_that_cannot_be_used_are_errors() {
    let line = vec![0; 8192 * 3];
    let narrow = RgbView::new(&line, 8192, 1, 8192 * 3).unwrap();
    assert!(matches!(detector().find(narrow), Err(Error::UnsupportedSize { .. })));
    assert!(matches!(SFace::with_weights(b"nothing"), Err(Error::BadWeights { .. })));
    let yunet = include_bytes!("../weights/yunet.gvw");
    assert!(matches!(SFace::with_weights(yunet), Err(Error::BadWeights { .. })), "a whole file of another network");
    let cut = YuNet::with_weights(YuNetOptions::default(), &yunet[..yunet.len() / 2]);
    assert!(matches!(cut, Err(Error::BadWeights { .. })));
}
