//! `demo`: a camera, a door and an archive on this computer, so that everything can be seen without owning anything.
//!
//! The camera is our own RTSP server with digest login; it shows a clip of our own making (`assets/demo/SOURCES.md`) in
//! a loop: nothing moves, then a resident comes and holds up her pass, later a guest whose pass has expired. The relay
//! is simulated, the archive is a folder, and everything listens on loopback only.
//!
//! **Never:** a shortcut past the real parts: the server sees its camera over RTSP and its door through the relay driver.

mod check;
mod client;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use godvision_access::pass::{PassKey, PassVerifier};
use godvision_core::bus::{ParamValue, Params};
use godvision_core::signal::media::Codec;
use godvision_core::site::SiteDocument;
use godvision_core::{Name, Secret, SystemClock};
use godvision_rtsp::CameraUrl;
use godvision_rtsp::restream::{FilePlayer, RtspServer, ServerOptions, User};

use crate::cli::Demo;
use crate::persons;
use crate::run;
use crate::site;
use crate::store::Store;
use crate::web::WebOptions;
use crate::wiring::{Parts, Wiring};

/// The demo's camera.
const CAMERA: &str = "yard";
/// The demo's door.
const DOOR: &str = "front-door";
/// Who holds a pass that opens it.
const RESIDENT: &str = "ada";
/// Whose pass has expired.
const GUEST: &str = "bob";
/// What the camera shows.
const CLIP: &[u8] = include_bytes!("../../assets/demo/yard.h264");
/// Its frame rate.
const FRAMES_PER_SECOND: f64 = 15.0;
/// Who watches the camera.
const VIEWER: &str = "viewer";

/// The demo's rules, as an owner would write them.
const RULES: &str = include_str!("../../assets/demo/rules.toml");
/// The demo's persons.
const PERSONS: &str = include_str!("../../assets/demo/persons.toml");

/// Runs the demo until it is stopped, or checks it.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn demo(options: Demo) -> anyhow::Result<ExitCode> {
    ensure!(
        options.listen.ip().is_loopback(),
        "the demo is for this computer only: --listen must be a loopback address"
    );
    let folder = Folder::new(options.data.clone())?;
    let (camera, url) = start_camera().await?;
    let store = Store::open(folder.path(), None, SystemClock::shared()).await?;
    store.secrets().put("camera-yard", &url).await?;
    for (name, text) in [(site::RULES_FILE, RULES), (site::PERSONS_FILE, PERSONS)] {
        std::fs::write(folder.path().join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    let document = document()?;
    site::write(&folder.path().join(site::SITE_FILE), &document)?;
    // The passes in the clip are signed with a key that everybody knows, so only the demo believes them.
    let passes = PassVerifier::new(document.site.clone()).with(PassKey::insecure_demo().public());
    let parts = Parts::open(folder.path(), options.models.as_deref(), store, passes).await?;
    let wiring = Wiring::start(parts, &document).await?;
    let code = if options.check {
        checked(wiring, options.listen, &url).await?
    } else {
        println!(
            "The camera shows a clip of 40 s: after a few seconds somebody comes and holds up a pass that opens the door;\n\
             later somebody whose pass has expired. Watch it, then look at Clips, Doors and Journal."
        );
        run::serve_until_stopped(wiring, options.listen, WebOptions::default()).await?;
        ExitCode::SUCCESS
    };
    camera.shutdown().await;
    Ok(code)
}

/// The camera: our RTSP server, playing the clip in a loop in a task of its own.
async fn start_camera() -> anyhow::Result<(RtspServer, Secret)> {
    let password = persons::hex(&persons::random::<12>()?);
    let mut options = ServerOptions::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    options.users.push(User::new(VIEWER, password.clone()));
    let server = RtspServer::bind(options).await.context("the demo's camera cannot listen")?;
    let mount = server.mount("/yard")?;
    let player = FilePlayer::from_annex_b(Name::new("demo-camera")?, Codec::H264, CLIP, FRAMES_PER_SECOND)?;
    tokio::spawn(async move { player.play(&mount).await });
    let url = format!("rtsp://{VIEWER}:{}@{}/yard", password.expose(), server.local_addr());
    Ok((server, Secret::from(url)))
}

/// One camera that is watched, recorded and read for passes; one door; one archive.
fn document() -> anyhow::Result<SiteDocument> {
    let mut document = site::base("demo")?;
    site::add_camera(&mut document, CAMERA, "camera-yard")?;
    // Sightings have their pictures in colour, and faces can be switched on without the camera starting anew.
    for camera in document.components.iter_mut().filter(|it| it.unit == "camera") {
        camera.params.set("colour", true.into(), None);
    }
    // Codes are looked for only where something moves: the rest of the time the reader costs nothing.
    site::add(&mut document, &format!("qr/{CAMERA}"), "qr", Params::new().with("motion_wakes", true))?;
    let relay = Params::new().with("relay", ParamValue::Text("simulated://".to_owned()));
    site::add(&mut document, DOOR, "door", relay)?;
    site::add(&mut document, "archiver", "archiver", Params::new())?;
    for (from, to) in [
        (format!("{CAMERA}#pictures"), format!("qr/{CAMERA}#pictures")),
        (format!("motion/{CAMERA}#motion"), format!("qr/{CAMERA}#motion")),
        (format!("qr/{CAMERA}#sightings"), format!("{DOOR}#sightings")),
        (format!("qr/{CAMERA}#sightings"), "sightings#sightings".to_owned()),
    ] {
        document.link(&from, &to)?;
    }
    Ok(document)
}

async fn checked(wiring: Wiring, listen: SocketAddr, url: &Secret) -> anyhow::Result<ExitCode> {
    let listener = run::bind(listen).await?;
    let pages = listener.local_addr()?;
    let password = run::announce(&wiring, pages)
        .await?
        .context("the demo's data folder already has an administrator: take another")?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let state = run::state(&wiring, WebOptions::default());
    let serving = tokio::spawn(crate::web::serve(listener, state, async { drop(stopped.await) }));
    let outside = check::Outside { pages, password, camera: CameraUrl::parse(url.expose())? };
    let holds = check::check(&outside).await;
    drop(stop);
    serving.await?;
    wiring.shutdown().await;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The demo's data: where it was asked to be, or a temporary folder that goes with it.
enum Folder {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn new(given: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = given else {
            let made = tempfile::Builder::new().prefix("godvision-demo-").tempdir();
            return Ok(Self::Temporary(made.context("the demo needs a temporary folder; give it one with --data")?));
        };
        let is_taken = path.join(site::SITE_FILE).exists();
        ensure!(!is_taken, "{} holds a site already: give the demo an empty folder", path.display());
        Ok(Self::Given(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}
