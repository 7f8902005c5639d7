//! What `godvision-access` draws, `godvision-vision` reads: the PNG of a pass and of a rolling code, at several sizes, to the
//! same text, and that text is a pass. The only place that may know both crates.

use godvision_access::pass::qr::{Look, QUIET_MODULES, QrImage};
use godvision_access::pass::rolling::RollingSecret;
use godvision_access::pass::{Doors, PassClaims, PassId, PassKey, PassVerifier, Uses};
use godvision_core::{Name, Secret, Stamp, WallTime};
use godvision_vision::plane::LumaView;
use godvision_vision::qr::{QrOptions, QrReader};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn read(png: &[u8]) -> Vec<Secret> {
    let image = image::load_from_memory(png).unwrap().to_luma8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let luma = LumaView::new(image.as_raw(), width, height, width).unwrap();
    QrReader::new(QrOptions::default()).read(luma, Stamp::default(), &[]).into_iter().map(|it| it.text).collect()
}

#[test]
fn drawn_passes_are_read_back() {
    let (site, now) = (name("home"), WallTime::from_unix_seconds(1_795_255_200));
    let pass = |person: &str, doors, uses| {
        let claims = PassClaims {
            id: PassId([1; 6]),
            person: Some(name(person)),
            doors,
            not_before: now,
            not_after: now.plus_micros(3_600_000_000),
            uses,
        };
        PassKey::insecure_demo().sign(&site, &claims).unwrap()
    };
    let long = "guests-of-the-house-at-the-corner/anna-maria";
    let verifier = PassVerifier::new(site.clone()).with(PassKey::insecure_demo().public());
    for text in [
        pass("ada", Doors::One(name("yard/door")), Uses::Any),
        pass("ada", Doors::One(name("yard/door")), Uses::Times(1)),
        pass(long, Doors::Each(vec![name("yard/gate"), name("house-3/entrance")]), Uses::Times(1)),
    ] {
        for module_pixels in [2, 4, 8] {
            let png = QrImage::new(&text).unwrap().png(&Look { module_pixels, quiet_modules: QUIET_MODULES }).unwrap();
            let found = read(&png);
            assert_eq!(found, std::slice::from_ref(&text), "{module_pixels} pixels a module");
            assert!(verifier.read(&found[0]).is_ok());
        }
    }
    let (code, _) = RollingSecret::from_bytes([7; 32]).code(&site, &name("ada"), now).unwrap();
    let image = QrImage::new(&code).unwrap();
    assert_eq!((image.side(), read(&image.png(&Look::default()).unwrap())), (25, vec![code]));
}
