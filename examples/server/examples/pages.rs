//! The pages with a made-up site behind them, for whoever works on their looks.
//!
//! `cargo run -p godvision-server --example pages -- [ADDRESS] [empty | CLIP.mp4]`: sign in as `admin` with the password
//! that is printed, or as `vera` (a viewer) with the same. Every clip plays `CLIP.mp4`. No camera sends pictures here; see
//! `godvision-server demo` for that.

#[path = "../tests/common/site.rs"]
mod site;

use std::error::Error;
use std::sync::Arc;

use godvision_core::journal::{Entry, Journal, Level};
use godvision_core::signal::door::{Decision, DoorState, Indication, Reason, Verdict};
use godvision_core::signal::media::StreamState;
use godvision_core::{Clock, Stamp, SystemClock, WallTime};
use godvision_server::store::{Role, Store};
use godvision_server::web::live::{LiveHub, LiveLimits};
use godvision_server::web::system::{Camera, ClipState, Door};
use godvision_server::web::{AppState, WebOptions, serve};
use site::{Site, camera, clip, door, name};

const PASSWORD: &str = "correct-horse-battery";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = arguments.first().map_or("127.0.0.1:8080", String::as_str);
    let folder = std::env::temp_dir().join(format!("godvision-pages-{}", std::process::id()));
    let clock = SystemClock::shared();
    let store = Store::open(&folder, None, clock.clone()).await?;
    store.users().ensure_first_admin(Some(PASSWORD.into())).await?;
    store.users().create("vera", PASSWORD.into(), Role::Viewer).await?;
    let is_empty = arguments.iter().any(|it| it == "empty");
    let mut site = if is_empty { Site::empty(clock.clone()) } else { filled(clock.clone()) };
    if let Some(video) = arguments.iter().find(|it| it.ends_with(".mp4")) {
        let video = bytes::Bytes::from(std::fs::read(video)?);
        let ids: Vec<String> =
            site.clips.lock().map_or(Vec::new(), |it| it.iter().map(|clip| clip.id.clone()).collect());
        site.videos = ids.into_iter().map(|id| (id, video.clone())).collect();
    }
    if !is_empty {
        fill_journal(&store, clock.now()).await?;
    }
    let live = LiveHub::new(LiveLimits::default(), clock.clone());
    let state = AppState::new(Arc::new(site), store.clone(), live, clock, WebOptions::default());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}  admin  {PASSWORD}", listener.local_addr()?);
    serve(listener, state, std::future::pending()).await;
    Ok(())
}

fn filled(clock: Arc<dyn Clock>) -> Site {
    let now = clock.now();
    let ago = |seconds: i64| now.wall.plus_micros(-seconds * 1_000_000);
    let mut site = Site::small(clock);
    site.cameras = vec![
        Camera { is_recording: true, since: ago(7200), ..camera("yard/camera", "Yard", StreamState::Online) },
        Camera {
            since: ago(340),
            detail: "the camera refused the user name or password: correct it in the site document".into(),
            ..camera("gate/camera", "Street gate", StreamState::NeedsAttention)
        },
        Camera {
            since: ago(12),
            detail: "no frame for 3 s; connecting again in 2 s".into(),
            detection: false,
            ..camera("garage/camera", "Garage", StreamState::BackingOff)
        },
        camera("shop/till", "Till", StreamState::Online),
    ]
    .into();
    let states = [
        ClipState::Recording,
        ClipState::Uploading { percent: 62 },
        ClipState::Waiting,
        ClipState::Parked {
            why: "the archive 192.168.1.5:21 refused the password: correct it in the site document".into(),
        },
    ];
    site.clips = (0..30)
        .map(|n| {
            let at = ago(n * n * 700 + 20).as_unix_seconds();
            let camera = ["yard/camera", "gate/camera", "shop/till"][n as usize % 3];
            let state = states.get(n as usize).cloned().unwrap_or(ClipState::Archived);
            clip(&format!("{}-{n}", 100 - n), camera, at, 900_000 + 700_123 * n as u64, state)
        })
        .collect::<Vec<_>>()
        .into();
    let decision = |seconds: i64, who: Option<&str>, credential, verdict, reason, rule: Option<&str>| Decision {
        source: name("house/porch-camera"),
        door: Some(name("house/front")),
        user: who.map(name),
        credential,
        with: Vec::new(),
        note: None,
        verdict,
        reason,
        rule: rule.map(name),
        presented: Stamp::new(now.mono, ago(seconds)),
        decided: Stamp::new(now.mono, ago(seconds)),
    };
    let decisions = vec![
        decision(40, Some("people/anna"), "qr", Verdict::Admit, Reason::Permitted, Some("family-always")),
        decision(95, Some("people/anna"), "qr", Verdict::Refuse, Reason::Spent, None),
        decision(4000, None, "qr", Verdict::Refuse, Reason::BadPass, None),
        decision(
            90_000,
            Some("people/courier"),
            "pin",
            Verdict::Refuse,
            Reason::Forbidden,
            Some("no-deliveries-at-night"),
        ),
        decision(91_000, Some("admin"), "manual", Verdict::Admit, Reason::Permitted, Some("operators")),
    ];
    site.doors = vec![
        Door { decisions, since: ago(35), ..door("house/front", "Front door", DoorState::Locked) },
        Door { indication: Indication::Open, since: ago(2), ..door("yard/barrier", "Barrier", DoorState::Unlocked) },
        Door {
            detail: "the relay 192.168.1.31 does not answer: check its power and address".into(),
            since: ago(600),
            ..door("shop/back", "Shop, back door", DoorState::Fault)
        },
    ]
    .into();
    site
}

async fn fill_journal(store: &Store, now: Stamp) -> Result<(), Box<dyn Error>> {
    let lines = [
        ("yard/camera", Level::Info, "camera.online", "Yard is online: H.264 1920x1080"),
        ("yard/camera", Level::Info, "clip.closed", "a clip of 14 s was recorded"),
        ("archive", Level::Info, "clip.archived", "clip 94 is in the archive, verified"),
        ("house/front", Level::Security, "access.admitted", "anna was let in by a QR pass"),
        ("house/front", Level::Security, "access.refused", "anna was refused: the pass has already been used"),
        ("gate/camera", Level::Error, "camera.lost", "the camera refused the user name or password: correct it"),
        ("garage/camera", Level::Warning, "camera.stalled", "no frame for 3 s; connecting again in 2 s"),
    ];
    for n in 0..70_i64 {
        let (service, level, code, text) = lines[(n * 5 % 7) as usize];
        let at = WallTime::from_unix_micros(now.wall.as_unix_micros() - (70 - n) * 97_000_000);
        let entry = Entry::new(Stamp::new(now.mono, at), name(service), level, code, text);
        store.journal().append(entry.with("sequence", n).with("frames", 355)).await?;
    }
    Ok(())
}
