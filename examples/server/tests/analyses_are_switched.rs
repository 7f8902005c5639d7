//! Analyses of a running site: switched in its document, in force at once, with the owner's comments kept.

mod common;

use std::path::Path;

use common::Folder;
use godvision_access::pass::PassVerifier;
use godvision_core::{Name, Secret, SystemClock};
use godvision_server::site::SITE_FILE;
use godvision_server::store::Store;
use godvision_server::web::system::{Camera, Switch, System, SystemError};
use godvision_server::wiring::{Parts, Wiring, check};
use godvision_vision::plate::RECOGNISER_FILE;

/// As a version before sightings wrote it, with an owner's own words, and a door that reads codes at one of two cameras.
const DOCUMENT: &str = r#"# My house.
version = 1
site = "home"

[[component]]
name = "yard" # by the gate
unit = "camera"
params = { url = { secret = "yard" } }

[[component]]
name = "hall"
unit = "camera"
params = { url = { secret = "yard" } }

[[component]]
name = "motion/yard"
unit = "motion"

[[component]]
name = "codes"
unit = "qr"
enabled = false

[[component]]
name = "front"
unit = "door"
params = { relay = "simulated://" }

[[component]]
name = "board"
unit = "board"

[[component]]
name = "live"
unit = "live"

# What goes where.
[[link]]
from = "yard#pictures"
to = "motion/yard#pictures"

[[link]]
from = "hall#pictures"
to = "codes#pictures"

[[link]] # the door reads codes in the hall
from = "codes#sightings"
to = "front#sightings"
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn start(folder: &Path) -> Wiring {
    let store = Store::open(folder, None, SystemClock::shared()).await.unwrap();
    // Nobody listens there: the camera is tried again and again, and what hangs on it runs all the same.
    store.secrets().put("yard", &Secret::from("rtsp://127.0.0.1:9/")).await.unwrap();
    let text = std::fs::read_to_string(folder.join(SITE_FILE)).unwrap();
    let document = godvision_core::site::SiteDocument::parse(&text).unwrap();
    let parts = Parts::open(folder, None, store, PassVerifier::new(document.site.clone())).await.unwrap();
    Wiring::start(parts, &document).await.unwrap()
}

fn camera(system: &dyn System, id: &str) -> Camera {
    system.cameras().into_iter().find(|camera| camera.id.as_str() == id).unwrap()
}

fn is_on(system: &dyn System, id: &str, switch: Switch) -> bool {
    camera(system, id).analyses.iter().any(|it| it.switch == switch && it.is_on)
}

#[tokio::test]
async fn a_switch_adds_what_is_missing_and_keeps_what_is_there() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let path = folder.path().join(SITE_FILE);
    std::fs::write(&path, DOCUMENT).unwrap();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    let text = || std::fs::read_to_string(&path).unwrap();
    let document = || godvision_core::site::SiteDocument::parse(&text()).unwrap();
    let linked = |from: &str, to: &str| {
        document().links.iter().filter(|it| it.from.to_string() == from && it.to.to_string() == to).count()
    };
    assert!(!is_on(&*system, "yard", Switch::Qr) && !is_on(&*system, "hall", Switch::Qr));

    system.set_switch(&name("yard"), Switch::Qr, true).await.unwrap();
    assert!(is_on(&*system, "yard", Switch::Qr), "at once");
    assert!(!is_on(&*system, "hall", Switch::Qr), "the other camera is as it was");
    for (from, to) in [
        ("yard#pictures", "qr/yard#pictures"),
        ("motion/yard#motion", "qr/yard#motion"),
        ("qr/yard#sightings", "sightings#sightings"),
        ("motion/yard#rest", "board#rests"),
        ("motion/yard#rest", "live#rests"),
        ("motion/yard#tamper", "board#tampers"),
    ] {
        assert_eq!(linked(from, to), 1, "{from} -> {to}");
    }
    for words in ["# My house.", "# by the gate", "# What goes where.", "# the door reads codes in the hall"] {
        assert!(text().contains(words), "{words}: {}", text());
    }
    assert!(check(&document()).unwrap().is_ok());

    // The hall's reader has another name and a door of its own: it is switched, not made again.
    system.set_switch(&name("hall"), Switch::Qr, true).await.unwrap();
    assert!(is_on(&*system, "hall", Switch::Qr));
    assert!(document().components.iter().all(|it| it.name.as_str() != "qr/hall"));
    assert_eq!(
        (linked("codes#sightings", "front#sightings"), linked("codes#sightings", "sightings#sightings")),
        (1, 1)
    );
    let components = document().components.len();

    system.set_switch(&name("yard"), Switch::Qr, false).await.unwrap();
    assert!(!is_on(&*system, "yard", Switch::Qr) && is_on(&*system, "hall", Switch::Qr));
    system.set_switch(&name("yard"), Switch::Qr, false).await.unwrap();
    for _ in 0..2 {
        system.set_switch(&name("yard"), Switch::Qr, true).await.unwrap();
    }
    system.set_switch(&name("yard"), Switch::Qr, false).await.unwrap();
    assert_eq!(document().components.len(), components, "switching on again adds nothing");
    let missing = system.set_switch(&name("moon"), Switch::Qr, true).await;
    assert!(matches!(missing, Err(SystemError::NotFound { .. })), "{missing:?}");
    // Whoever holds the system holds its spool.
    drop(system);
    wiring.shutdown().await;

    let wiring = start(folder.path()).await;
    let system = wiring.system();
    assert!(!is_on(&*system, "yard", Switch::Qr) && is_on(&*system, "hall", Switch::Qr), "after a restart");
    wiring.shutdown().await;
}

#[tokio::test]
async fn faces_bring_colour_to_their_camera() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let path = folder.path().join(SITE_FILE);
    std::fs::write(&path, DOCUMENT).unwrap();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    system.set_switch(&name("yard"), Switch::Faces, true).await.unwrap();
    assert!(is_on(&*system, "yard", Switch::Faces) && !is_on(&*system, "hall", Switch::Faces));
    let document = godvision_core::site::SiteDocument::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let is_coloured =
        |id: &str| document.components.iter().any(|it| it.name.as_str() == id && it.params.flag("colour"));
    assert!(is_coloured("yard") && !is_coloured("hall"), "a face is told from others by its colours too");
    let url = document.components.iter().find(|it| it.name.as_str() == "yard").unwrap().params.secret_names().count();
    assert_eq!(url, 1, "its address is still there");
    wiring.shutdown().await;
}

#[tokio::test]
async fn plates_need_their_model_and_the_switch_says_how_to_get_it() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    std::fs::write(folder.path().join(SITE_FILE), DOCUMENT).unwrap();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    let plates = || camera(&*system, "yard").analyses.into_iter().find(|it| it.switch == Switch::Plates).unwrap();
    let models = std::path::absolute(folder.path().join("models")).unwrap();
    let told = plates().missing.unwrap();
    assert!(told.contains("fetch.py") && told.contains(&*models.display().to_string()), "{told}");
    let refused = system.set_switch(&name("yard"), Switch::Plates, true).await;
    assert!(matches!(&refused, Err(SystemError::Refused { detail }) if *detail == told), "{refused:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join(SITE_FILE)).unwrap(), DOCUMENT, "nothing has changed");

    std::fs::create_dir_all(&models).unwrap();
    std::fs::write(models.join(RECOGNISER_FILE), b"as if").unwrap();
    assert_eq!(plates().missing, None);
    system.set_switch(&name("yard"), Switch::Plates, true).await.unwrap();
    let text = std::fs::read_to_string(folder.path().join(SITE_FILE)).unwrap();
    let document = godvision_core::site::SiteDocument::parse(&text).unwrap();
    let reader = document.components.iter().find(|it| it.name.as_str() == "plate/yard").unwrap();
    assert_eq!(reader.params.text("models").map(Path::new), Some(&*models));
    assert!(reader.params.flag("motion_wakes"));
    wiring.shutdown().await;
}
