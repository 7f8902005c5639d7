//! A whole server opens its door by what its camera sees, from RTSP to the relay's wire: a pass until it is withdrawn; a face
//! that is alive, and neither a photo of it nor somebody unknown; a plate, but only with what the rules want beside it.

mod world;

use std::path::{Path, PathBuf};

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godvision_core::bus::Params;
use godvision_vision::RgbImage;
use godvision_vision::face::{FaceDetector, YuNet, YuNetOptions};
use godvision_vision::plate::RECOGNISER_FILE;
use rusty_h264::YuvFrame;
use serde_json::{Value, json};
use world::film::{Film, coloured, grey, wall};
use world::waved::{Pose, Scene, draw};
use world::{CAMERA, DOOR, World};

/// Pictures a second.
const RATE: u32 = 5;
/// Pictures of nobody after which whoever comes is decided about anew: what the readers and the door hold off, and a little.
const AWAY: usize = 12;

/// The decision `{credential, reason}` is shown beside the clip of it, and the clip's page names the decision.
async fn is_linked_to_its_clip(world: &World, credential: &str, reason: &str) {
    let clip = world.clip_of(credential, reason).await;
    let page = world.page(clip.split('#').next().unwrap()).await;
    assert!(
        clip.starts_with(&format!("/clips?camera={CAMERA}")) && page.contains(&format!("service={DOOR}")),
        "{page}"
    );
    assert!(world.page("/journal").await.contains("/clips?camera="), "from the journal too");
}

/// What stands in the journal about the only opening so far.
async fn admitted(world: &World) -> Value {
    let line = world.line("access.admitted", &[]).await;
    let unlocked = world.line("door.unlocked", &[]).await;
    assert!(line["id"].as_u64() < unlocked["id"].as_u64(), "kept before the relay moves");
    world.until_door_is("locked").await;
    assert_eq!((world.lines("access.admitted").await.len(), world.pulses()), (1, 1));
    line["fields"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_opens_until_it_is_withdrawn() {
    const SIDE: usize = 480;
    let rules = "version = 1\n[[rule]]\nname = \"guests\"\npermit = [\"anyone\"]\ndoors = [\"any\"]\nby = [\"qr\"]\n";
    let nothing = Film::new(&[grey(SIDE, SIDE, wall(SIDE, SIDE))], RATE);
    let mut world = World::start(rules, &nothing, &[("qr", Params::new().with("again_after", 2.0))]).await;
    world.know("bob", &[]).await;
    world.until_door_is("locked").await;
    let pass = world.done(Method::POST, "/api/v1/passes", json!({"person": "bob", "doors": [DOOR], "uses": 9})).await;
    let id = pass["id"].as_str().unwrap();
    // Held up as the guest got it.
    let (_, png) = world.ask("ada", Method::GET, &format!("/api/v1/passes/{id}/qr"), None).await;
    let card = image::load_from_memory(&png).unwrap().into_luma8();
    let (across, down) = (card.width() as usize, card.height() as usize);
    let parts = across.max(down).div_ceil(SIDE - 80);
    let held = |left: usize| {
        let mut luma = wall(SIDE, SIDE);
        for y in 0..down / parts {
            let row = &mut luma[(40 + y) * SIDE + left..][..across / parts];
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = card.get_pixel((x * parts) as u32, (y * parts) as u32).0[0].clamp(30, 225);
            }
        }
        grey(SIDE, SIDE, luma)
    };
    let shown = Film::new(&[held(30), held(32), held(34), held(32)], RATE);
    world.camera.show(&shown);
    let fields = admitted(&world).await;
    let pass_field = fields["pass"].as_str().unwrap();
    assert!(pass_field.ends_with(id), "{pass_field}");
    let wanted = json!({
        "door": DOOR, "source": CAMERA, "credential": "qr", "reason": "permitted", "person": "bob", "rule": "guests",
        "pass": pass_field
    });
    assert_eq!(fields, wanted);
    world.camera.show(&nothing);
    is_linked_to_its_clip(&world, "qr", "permitted").await;
    world.camera.films(AWAY).await;

    let path = format!("/api/v1/passes/{id}/withdraw");
    world.done(Method::POST, &path, json!({"reason": "the visit is over"})).await;
    world.camera.show(&shown);
    let refused = world.line("access.refused", &[("credential", "qr")]).await;
    assert_eq!((&refused["fields"]["reason"], &refused["fields"]["person"]), (&json!("revoked"), &json!("bob")));
    world.camera.show(&nothing);
    assert_eq!((world.pulses(), world.lines("door.unlocked").await.len()), (1, 1));
    let journal = world.journal().await;
    assert!(journal.iter().all(|line| !line.to_string().contains("GV2:")), "what a code says is written nowhere");
    world.stop().await;
}

const PORTRAIT: &[u8] = include_bytes!("../assets/demo/portrait.png");

/// A head that turns to both sides, or a photo of it that is waved and turned; a round of 2.4 s.
fn turning(portrait: &RgbImage, is_head: bool) -> Film {
    const STEPS: usize = 6;
    let options = YuNetOptions { side: 360, ..YuNetOptions::default() };
    let face = YuNet::new(options).unwrap().find(portrait.view()).unwrap()[0];
    let scene = Scene { is_head, eyes: 60.0, noise: 2.0 };
    let frame = |step: usize| {
        // From one side to the other.
        let turn = (std::f64::consts::PI * step as f64 / STEPS as f64).cos();
        let pose = Pose { yaw: 0.32 * turn, roll: if is_head { 0.0 } else { 0.1 * turn }, ..Pose::default() };
        on_the_wall(&draw(portrait.view(), &face, pose, scene, step as u64 + 1))
    };
    // Casting rays is slow where nothing is optimised.
    let drawn: Vec<_> = std::thread::scope(|threads| {
        let frame = &frame;
        let drawing: Vec<_> = (0..=STEPS).map(|step| threads.spawn(move || frame(step))).collect();
        drawing.into_iter().map(|drawing| drawing.join().unwrap()).collect()
    });
    // The way back shows the same.
    let round: Vec<_> = drawn.iter().chain(drawn[1..STEPS].iter().rev()).cloned().collect();
    Film::new(&round, RATE)
}

/// A wall on which the picture hangs: what changes is less than half of what the camera sees, or it would be another scene.
const FACE_SIDES: [usize; 2] = [720, 400];

fn on_the_wall(picture: &RgbImage) -> YuvFrame {
    let [width, height] = FACE_SIDES;
    let mut rgb: Vec<u8> = wall(width, height).into_iter().flat_map(|grey| [grey; 3]).collect();
    for (y, row) in picture.bytes().chunks_exact(picture.width() * 3).enumerate() {
        rgb[((20 + y) * width + 180) * 3..][..row.len()].copy_from_slice(row);
    }
    coloured(width, height, &rgb)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_face_opens_that_is_known_and_alive() {
    let rules =
        "version = 1\n[[rule]]\nname = \"residents\"\npermit = [\"eileen\"]\ndoors = [\"any\"]\nby = [\"face\"]\n";
    let picture = image::load_from_memory(PORTRAIT).unwrap().into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let portrait = RgbImage::new(picture.into_raw(), width, height).unwrap();
    let (head, photo) = (turning(&portrait, true), turning(&portrait, false));
    let [across, down] = FACE_SIDES;
    let nothing = Film::new(&[grey(across, down, wall(across, down))], RATE);
    let mut world = World::start(rules, &nothing, &[("face", Params::new().with("search_side", 360))]).await;
    world.know("eileen", &[]).await;
    world.until_door_is("locked").await;

    // Somebody whom nobody enrolled: seen, and no more than that.
    world.camera.show(&head);
    let strangers = async || world.get("/api/v1/sightings?kind=stranger").await["sightings"].get(0).cloned();
    world::eventually("a stranger is seen", strangers).await;
    assert!(world.lines("access.refused").await.is_empty() && world.pulses() == 0);
    world.camera.show(&nothing);

    let photos = [STANDARD.encode(jpeg(&portrait))];
    let body = json!({"person": "eileen", "list": "allow", "words": "I agree", "photos": photos});
    world.done(Method::POST, "/api/v1/faces", body).await;
    world.camera.show(&photo);
    let refused = world.line("access.refused", &[]).await;
    assert_eq!((&refused["fields"]["reason"], &refused["fields"]["credential"]), (&json!("not_live"), &json!("face")));
    // Nor does waving it.
    world.camera.films(3 * RATE as usize).await;
    assert_eq!((world.lines("access.admitted").await.len(), world.pulses()), (0, 0));
    world.camera.show(&nothing);
    world.camera.films(AWAY).await;

    world.camera.show(&head);
    let wanted = json!({
        "door": DOOR, "source": CAMERA, "credential": "face", "reason": "permitted", "person": "eileen",
        "rule": "residents"
    });
    assert_eq!(admitted(&world).await, wanted);
    world.camera.show(&nothing);
    is_linked_to_its_clip(&world, "face", "permitted").await;
    let (_, seen) = world.ask("ada", Method::GET, "/api/v1/sightings?kind=face", None).await;
    assert!(String::from_utf8_lossy(&seen).contains("eileen"));
    world.stop().await;
}

fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    let picture = image::RgbImage::from_raw(width, height, picture.bytes().to_vec()).unwrap();
    let mut jpeg = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    jpeg.into_inner()
}

const PLATE: &[u8] = include_bytes!("../../../godvision-vision/tests/data/plates/DE-XU6156.jpg");
/// Reads `XU6156` (`data/SOURCES.md`).
const STAND_IN: &[u8] = include_bytes!("data/plate_reader_stand_in.onnx");

/// The folder that `.ci/real/doors.sh` has filled with the real recogniser, or one with the stand-in.
fn models(folder: &Path) -> PathBuf {
    if let Some(models) = std::env::var_os("GODVISION_PLATE_MODELS") {
        return models.into();
    }
    std::fs::write(folder.join(RECOGNISER_FILE), STAND_IN).unwrap();
    folder.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plate_opens_with_a_pin_and_never_alone() {
    const ANY: &str = "version = 1\n[[rule]]\nname = \"cars\"\npermit = [\"bob\", \"eve\"]\ndoors = [\"any\"]\n";
    let picture = image::load_from_memory(PLATE).unwrap().into_luma8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let folder = tempfile::tempdir().unwrap();
    let models = models(folder.path()).to_str().unwrap().to_owned();
    let params = Params::new().with("models", models.as_str()).with("again_after", 2.0);
    // The part of the picture with the plate comes and trembles; all of it at once would be another scene.
    let background = wall(width, height);
    let driven = |by: usize| {
        let mut luma = background.clone();
        for y in 220..350 {
            let row = &picture.as_raw()[y * width + 60..][..280];
            luma[y * width + 60 + by..][..280].copy_from_slice(row);
        }
        grey(width, height, luma)
    };
    let car = Film::new(&[driven(0), driven(20), driven(30), driven(10)], RATE);
    let nothing = Film::new(&[grey(width, height, background)], RATE);
    let mut world = World::start(ANY, &nothing, &[("plate", params)]).await;
    world.know("bob", &[("plate", "XU 6156"), ("pin", "258046")]).await;
    world.know("eve", &[("pin", "640852")]).await;
    world.until_door_is("locked").await;

    let waiting = async |plates: usize| {
        let lines = world.lines("access.waits").await;
        let plates_seen = lines.iter().filter(|line| line["fields"]["credential"] == "plate").count();
        (plates_seen == plates).then(|| lines.last().cloned()).flatten()
    };
    let drive_away = async || {
        world.camera.show(&nothing);
        world.camera.films(AWAY).await;
    };

    // A rule that says nothing of plates wants something beside them.
    world.camera.show(&car);
    let waits = world::eventually("the plate waits", async || waiting(1).await).await;
    let fields = json!({
        "door": DOOR, "source": CAMERA, "credential": "plate", "reason": "awaits_second", "person": "bob"
    });
    assert_eq!(waits["fields"], fields);
    drive_away().await;
    let both = format!("{ANY}by = [\"plate+pin\"]\n");
    let base = world.get("/api/v1/rules").await["version"]["id"].clone();
    world.done(Method::PUT, "/api/v1/rules", json!({"text": both, "base": base})).await;

    // Nor does somebody else's PIN open beside it.
    world.camera.show(&car);
    world::eventually("the plate waits again", async || waiting(2).await).await;
    world.type_in("640852#");
    world.line("access.waits", &[("credential", "pin"), ("person", "eve")]).await;
    drive_away().await;
    assert_eq!((world.pulses(), world.lines("access.admitted").await.len()), (0, 0));

    world.camera.show(&car);
    world::eventually("the plate waits once more", async || waiting(3).await).await;
    world.type_in("258046#");
    let fields = admitted(&world).await;
    let wanted = json!({
        "door": DOOR, "source": "keypad", "credential": "pin", "reason": "permitted", "person": "bob", "rule": "cars"
    });
    assert_eq!(fields, wanted);
    world.camera.show(&nothing);
    is_linked_to_its_clip(&world, "pin", "permitted").await;
    world.stop().await;
}
