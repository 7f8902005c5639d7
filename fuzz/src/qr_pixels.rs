//! QR engines and the reader of `godvision-vision` on planes of any pixels, sizes and strides, and on drawn codes spoilt in
//! any way.

use godvision_core::signal::seen::Region;
use godvision_core::{MonoTime, Stamp, WallTime};
use godvision_vision::plane::LumaView;
use godvision_vision::qr::{QR_CODES_MAX, QR_TEXT_MAX, QrOptions, QrReader, engines};

use crate::{Input, Reached};

/// Longest side of a drawn plane: room for 57 modules of 8 pixels.
const SIDE_MAX: usize = 460;

/// Two bytes of columns and rows, one of row padding, one of scale and flags, one of noise, one of shear; then as many bits
/// as there are cells, dark ones set, each drawn as a square.
pub fn qr_pixels(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    hostile_sizes(input.clone());
    let [columns, rows, padding, flags, noise, shear] = input.array();
    let scale = 1 + usize::from(flags & 7);
    let (columns, rows) = (usize::from(columns).max(1), usize::from(rows).max(1));
    let (width, height) = ((columns * scale).min(SIDE_MAX), (rows * scale).min(SIDE_MAX));
    let stride = width + usize::from(padding % 70);
    let is_inverted = flags & 8 != 0;
    let cells = input.rest();
    let mut state = u64::from(noise) << 8 | 1;
    let mut pixels = vec![flags; stride * height];
    for y in 0..height {
        // Each row may be shifted a little more than the one above.
        let shift = y * usize::from(shear) / 256;
        for x in 0..width {
            let cell = y / scale * columns + ((x + shift) / scale).min(columns - 1);
            let is_dark = cells.get(cell / 8).is_some_and(|byte| byte >> (cell % 8) & 1 == 1) != is_inverted;
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let grain = (state >> 56) as u8 % noise.max(1);
            pixels[y * stride + x] = if is_dark { 20 + grain / 2 } else { 230_u8.saturating_sub(grain) };
        }
    }
    let view = LumaView::new(&pixels, width, height, stride).expect("whole");
    let mut count = 0;
    for mut engine in engines() {
        // Other people's engines may panic and are contained by the reader; ours may not.
        if engine.name().starts_with("lattice") {
            let mut found = Vec::new();
            engine.decode(view, &mut found);
            for code in &found {
                let [left, top, right, bottom] = code.bounds;
                assert!(left <= right && top <= bottom, "{code:?}");
            }
            count += found.len();
        }
    }
    let mut reader = QrReader::new(QrOptions::default());
    let moved = [Region { left: 0, top: u16::from(noise), right: u16::from(columns as u8) * 4, bottom: 2000 }];
    for round in 0..2 {
        let at = Stamp::new(MonoTime::from_millis(round * 100), WallTime::from_unix_millis(0));
        // The second time the same place is known already.
        let sightings = reader.read(view, at, &moved[..round as usize]);
        assert!(sightings.len() <= QR_CODES_MAX);
        for sighting in &sightings {
            let text = sighting.text.expose();
            assert!(!text.is_empty() && text.len() <= QR_TEXT_MAX);
            let Region { left, top, right, bottom } = sighting.region;
            assert!(left < right && right <= 1000 && top < bottom && bottom <= 1000, "{sighting:?}");
        }
        count += sightings.len();
    }
    Reached::when(count > 0)
}

/// Sizes that do not fit their bytes are errors, others are looked at.
fn hostile_sizes(mut input: Input<'_>) {
    let side = |input: &mut Input<'_>| match input.byte() {
        255 => usize::MAX,
        254 => usize::MAX / 2,
        253 => 65_536,
        side => usize::from(side),
    };
    let (width, height, stride) = (side(&mut input), side(&mut input), side(&mut input));
    let pixels = input.rest();
    let Ok(view) = LumaView::new(pixels, width, height, stride) else { return };
    assert!(width > 0 && height > 0 && (height - 1) * stride + width <= pixels.len());
    let found = QrReader::new(QrOptions::default()).read(view, Stamp::default(), &[Region::WHOLE, Region::default()]);
    assert!(found.len() <= QR_CODES_MAX);
}
