//! An embedder of one's own comes from an ONNX file, with its own name; a file that is none is named.

#![cfg(all(feature = "face", feature = "onnx"))]

use godvision_vision::Error;
use godvision_vision::face::own::{OnnxEmbedder, OnnxEmbedderOptions};
use godvision_vision::face::{CHIP_SIDE, FaceChip, FaceEmbedder};

/// Means of 28x28 pixels: 3 channels of 4x4.
const POOL: &[u8] = include_bytes!("data/pool.onnx");

fn read(bytes: &[u8], options: OnnxEmbedderOptions) -> Result<OnnxEmbedder, Error> {
    OnnxEmbedder::read("pool", bytes.to_vec(), options)
}

#[test]
fn numbers_come_in_the_order_and_size_asked_for() {
    // Red is 255 in the upper half, green nowhere, blue everywhere.
    let pixels: Vec<u8> = (0..CHIP_SIDE * CHIP_SIDE)
        .flat_map(|i| [if i < CHIP_SIDE * CHIP_SIDE / 2 { 255 } else { 0 }, 0, 255])
        .collect();
    let chip = FaceChip::from_pixels(&pixels).unwrap();
    let mut embedder = read(POOL, OnnxEmbedderOptions::default()).unwrap();
    let unit = 1.0 / 48.0_f32.sqrt();
    let signs: Vec<f32> = embedder.embed(&chip).unwrap().values().iter().map(|value| (value / unit).round()).collect();
    assert_eq!(signs, [[1.0; 8], [-1.0; 8], [-1.0; 8], [-1.0; 8], [1.0; 8], [1.0; 8]].concat());
    let bgr = OnnxEmbedderOptions { is_bgr: true, ..OnnxEmbedderOptions::default() };
    let turned = read(POOL, bgr).unwrap().embed(&chip).unwrap();
    assert!(turned.values()[..16].iter().all(|value| *value > 0.0) && turned.values()[40] < 0.0);
    assert!(embedder.model().starts_with("pool-"));
}

#[test]
fn what_is_no_embedder_is_refused() {
    assert!(matches!(read(b"nothing", OnnxEmbedderOptions::default()), Err(Error::BadModel { .. })));
    assert!(matches!(read(&POOL[..60], OnnxEmbedderOptions::default()), Err(Error::BadModel { .. })));
    let plates = include_bytes!("../models/plates.onnx");
    assert!(read(plates, OnnxEmbedderOptions::default()).is_err(), "a detector of plates");
    let bad = OnnxEmbedderOptions { multiply: f32::NAN, ..OnnxEmbedderOptions::default() };
    assert!(matches!(read(POOL, bad), Err(Error::BadOption { .. })));
}
