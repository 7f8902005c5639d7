//! Whether the liveness check tells a photo from a head: `wave_photos [--eyes PIXELS] [--noise DEVIATION] FILE...`.
//!
//! `cargo run --release -p godvision-vision --features face --example wave_photos -- photo.jpg ...`
//!
//! Each picture with one face is drawn as a photo that is waved, turned and tilted before a camera for ten seconds, in two
//! ways, then with the depth of a head that turns a little to each side, once in three seconds. 60 pixels between the
//! eyes and noise of 3 of 255 unless told otherwise. Prints how many photos passed (bad) and how many heads did (good).
//! What it does not show: videos on a screen, bent photos, masks. Read next: `face::liveness` in the documentation.

#[path = "../tests/common/waved.rs"]
mod waved;

use std::error::Error;

use godvision_core::MonoTime;
use godvision_vision::RgbImage;
use godvision_vision::face::liveness::{Liveness, LivenessCheck, Parallax};
use godvision_vision::face::{Face, FaceChip, FaceDetector, YuNet, YuNetOptions};
use waved::{Pose, Scene, draw};

/// As the unit `face` looks by default.
const PICTURES_A_SECOND: u64 = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut scene = Scene { is_head: false, eyes: 60.0, noise: 3.0 };
    while let Some(name) = arguments.first().filter(|name| name.starts_with("--")).cloned() {
        let value: f64 = arguments.get(1).ok_or("an option needs a number")?.parse()?;
        match name.as_str() {
            "--eyes" => scene.eyes = value,
            "--noise" => scene.noise = value,
            _ => return Err("usage: wave_photos [--eyes PIXELS] [--noise DEVIATION] FILE...".into()),
        }
        arguments.drain(..2);
    }
    let head = Scene { is_head: true, ..scene };
    let mut detector = YuNet::new(YuNetOptions { side: 360, ..YuNetOptions::default() })?;
    let (mut photos, mut passed, mut heads) = (0, 0, [0; 2]);
    for file in &arguments {
        let picture = image::open(file)?.into_rgb8();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let picture = RgbImage::new(picture.into_raw(), width, height)?;
        // A second face may be the one that is found later, and the paper's edge may run through it.
        let faces = detector.find(picture.view())?;
        let [face] = faces[..] else { continue };
        photos += 1;
        for (speed, tilt) in [(1.5, 0.3), (2.5, 0.15)] {
            let waved = |t: f64| Pose {
                yaw: 0.5 * (speed * t).sin(),
                pitch: tilt * (1.3 * speed * t).cos(),
                roll: 0.2 * (0.7 * t).sin(),
                shift: [0.2 * (0.9 * t).sin(), 0.1 * t.cos()],
            };
            if passes(&mut detector, &picture, &face, waved, 10, scene)? {
                passed += 1;
                println!("{file}: a photo passed");
            }
        }
        for (count, (swing, seconds)) in heads.iter_mut().zip([(0.3, 3), (0.15, 6)]) {
            let turned = |t: f64| Pose { yaw: swing * (2.1 * t).sin(), ..Pose::default() };
            *count += u32::from(passes(&mut detector, &picture, &face, turned, seconds, head)?);
        }
    }
    let [far, near] = heads;
    println!("{photos} photos, each waved twice for 10 s: {passed} of {} passed", photos * 2);
    println!("as heads: {far} passed within 3 s turning by 17 degrees, {near} within 6 s turning by 9");
    Ok(())
}

fn passes(
    detector: &mut YuNet,
    picture: &RgbImage,
    face: &Face,
    pose: impl Fn(f64) -> Pose,
    seconds: u64,
    scene: Scene,
) -> Result<bool, Box<dyn Error>> {
    let mut check = Parallax::default();
    for frame in 0..seconds * PICTURES_A_SECOND {
        let at = MonoTime::from_millis(frame * 1000 / PICTURES_A_SECOND);
        let pose = pose(frame as f64 / PICTURES_A_SECOND as f64);
        let seen = draw(picture.view(), face, pose, scene, frame);
        let Some(face) = detector.find(seen.view())?.first().copied() else { continue };
        let Ok(chip) = FaceChip::cut(seen.view(), &face.points) else { continue };
        if check.look(at, &face, &chip) == Liveness::Live {
            return Ok(true);
        }
    }
    Ok(false)
}
