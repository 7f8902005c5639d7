//! The plate detector on three drawn scenes (`data/plates/SOURCES.md`), whole, in parts, padded and empty.

#![cfg(feature = "plate")]

use godvision_core::signal::seen::Region;
use godvision_vision::plane::LumaView;
use godvision_vision::plate::{PlateBox, PlateDetector};

/// File, corners from the top left clockwise.
const SCENES: [(&[u8], [f32; 8]); 3] = [
    (include_bytes!("data/plates/RU-YP60153.jpg"), [64.1, 247.5, 219.8, 260.5, 218.6, 297.9, 62.5, 294.7]),
    (include_bytes!("data/plates/DE-XU6156.jpg"), [93.9, 241.6, 297.5, 290.7, 293.7, 334.2, 90.1, 285.6]),
    (include_bytes!("data/plates/US-3NZE792.jpg"), [141.3, 68.3, 317.5, 87.1, 313.0, 165.4, 135.7, 167.0]),
];

fn load(file: &[u8]) -> (Vec<u8>, usize, usize) {
    let image = image::load_from_memory(file).unwrap().to_luma8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    (image.into_raw(), width, height)
}

fn common(found: &PlateBox, truth: &[f32; 8]) -> f32 {
    let [a, b, c, d, e, f, g, h] = *truth;
    let truth = PlateBox { corners: [[a, b], [c, d], [e, f], [g, h]], score: 1.0 };
    let (a, b) = (found.bounds(), truth.bounds());
    let area = |[left, top, right, bottom]: [f32; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    common / (area(a) + area(b) - common)
}

#[test]
fn each_drawn_plate_is_the_surest_place() {
    let mut detector = PlateDetector::new(0.5).unwrap();
    for (file, truth) in SCENES {
        let (pixels, width, height) = load(file);
        let found = detector.find(LumaView::new(&pixels, width, height, width).unwrap(), &[]).unwrap();
        let best = found.first().expect("a plate");
        assert!(common(best, &truth) > 0.6, "{best:?} for {truth:?}");
        assert!(best.region(width, height).area() > 0.0);
    }
}

#[test]
fn an_area_that_moved_is_enough_and_padding_changes_nothing() {
    let mut detector = PlateDetector::new(0.5).unwrap();
    for (file, truth) in SCENES {
        let (pixels, width, height) = load(file);
        let whole = LumaView::new(&pixels, width, height, width).unwrap();
        let [left, top, right, bottom] =
            [truth[0].min(truth[6]), truth[1].min(truth[3]), truth[2], truth[5].max(truth[7])];
        let area = |margin: f32| {
            let pixels =
                [left - margin, top - margin, right + margin, bottom + margin].map(|value| value.max(0.0) as usize);
            Region::from_pixels(pixels, width, height)
        };
        let found = detector.find(whole, &[area(60.0)]).unwrap();
        assert!(found.iter().any(|plate| common(plate, &truth) > 0.6), "{found:?} for {truth:?}");
        // Far from the plate there is none; a region without area is none either.
        let away = Region { left: 800, top: 0, right: 1000, bottom: 150 };
        let nothing = Region { left: 500, top: 500, right: 500, bottom: 900 };
        let found = detector.find(whole, &[away, nothing]).unwrap();
        assert!(found.iter().all(|plate| common(plate, &truth) < 0.1), "{found:?}");

        let stride = width + 37;
        let padded: Vec<u8> = pixels.chunks(width).flat_map(|row| row.iter().copied().chain([255; 37])).collect();
        let padded = LumaView::new(&padded, width, height, stride).unwrap();
        assert_eq!(detector.find(padded, &[]).unwrap(), detector.find(whole, &[]).unwrap());
    }
}

#[test]
fn a_plain_wall_has_no_plate() {
    let mut detector = PlateDetector::new(0.5).unwrap();
    for grey in [0_u8, 100, 255] {
        let pixels = vec![grey; 640 * 360];
        assert_eq!(detector.find(LumaView::new(&pixels, 640, 360, 640).unwrap(), &[]).unwrap(), []);
    }
}
