//! A server on loopback with a small site behind it, and a client that speaks plain HTTP to it.

#![allow(dead_code, reason = "each test file uses its part of this module")]

pub(crate) mod bot_api;
pub(crate) mod broker;
pub(crate) mod log;
pub(crate) mod site;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use godvision_access::pass::{Doors, PassClaims, PassId, PassVerifier, Uses};
use godvision_core::journal::{Entry, Level};
use godvision_core::signal::seen::Region;
use godvision_core::{ManualClock, MonoTime, Name, Secret, Stamp, WallTime};
use godvision_server::store::{KeyKind, KnownPlate, NewSighting, Notice, Notices, Person, Role, Standing, Store};
use godvision_server::web::live::{LiveHub, LiveLimits};
use godvision_server::web::{AppState, WebOptions, serve};
use godvision_vision::face::Embedding;
use godvision_vision::face::gallery::List;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use site::Site;

/// Every user of the tests has it.
pub(crate) const PASSWORD: &str = "correct-horse-battery";
/// 2026-11-21 09:30:00 UTC.
pub(crate) const NOW: i64 = 1_795_253_400;

/// Something that was seen so many seconds after the tests' time.
pub(crate) fn sighting(camera: &str, kind: &'static str, subject: Option<&str>, second: i64) -> NewSighting {
    NewSighting {
        at: WallTime::from_unix_seconds(NOW + second),
        camera: Name::new(camera).expect("a name of the test is valid"),
        kind,
        subject: subject.map(str::to_owned),
        owner: None,
        standing: None,
        near: None,
        score: 900,
        region: Region { left: 100, top: 200, right: 300, bottom: 1000 },
        crop: Some(Bytes::from_static(b"\xff\xd8 a picture \xff\xd9")),
    }
}

/// A plate that belongs here, always.
pub(crate) fn known_plate(plate: &str, owner: &str) -> KnownPlate {
    KnownPlate {
        plate: plate.parse().expect("a plate of the test is valid"),
        owner: owner.to_owned(),
        note: String::new(),
        standing: Standing::Allow,
        from: None,
        to: None,
    }
}

/// A public-domain portrait (`assets/demo/SOURCES.md`) as a JPEG.
pub(crate) fn portrait() -> Bytes {
    let picture = image::load_from_memory(include_bytes!("../../assets/demo/portrait.png")).expect("the portrait");
    let mut jpeg = std::io::Cursor::new(Vec::new());
    picture.into_rgb8().write_to(&mut jpeg, image::ImageFormat::Jpeg).expect("the portrait fits a JPEG");
    jpeg.into_inner().into()
}

/// Enrols the portrait as `person`, unless they are there.
pub(crate) async fn enrolled(store: &Store, person: &str) {
    let person = Name::new(person).expect("a name of the test is valid");
    if store.faces().persons().iter().all(|known| known.name != person) {
        let prepared = store.faces().prepare(vec![portrait()]).await.unwrap();
        store.faces().enrol(&person, List::Allow, &prepared, "she herself", "agreed").await.unwrap();
    }
}

/// A line of the journal for changes that a test makes itself.
pub(crate) fn line() -> Entry {
    let at = Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(NOW));
    Entry::new(at, Name::new("test").expect("a name"), Level::Info, "test.changed", "a test changed it")
}

/// `name` is known, has a card, and is not removed; the number of the card.
pub(crate) async fn known(store: &Store, name: &str) -> u64 {
    let name = Name::new(name).expect("a name of the test is valid");
    let _ = store.access().restore_person(&name, line()).await;
    let known = match store.access().person(&name).await.unwrap() {
        Some(known) => known,
        None => Person::new(name.clone()),
    };
    store.access().put_person(&known, line()).await.unwrap();
    match known.keys.first() {
        Some(key) => key.id,
        None => {
            // Nobody else's: made of the name.
            let card: String = name.as_str().bytes().map(|byte| format!("{byte:02X}")).collect();
            store.access().add_key(&name, KeyKind::Card, card.into(), |_| line()).await.unwrap()
        }
    }
}

/// `person`, who is known, is reached in `chat` and told of alarms.
pub(crate) async fn bound(store: &Store, person: &str, chat: i64) {
    let (person, telegram) = (Name::new(person).expect("a name of the test is valid"), store.telegram());
    let notices = Notices([Notice::Alarms].into());
    let code = telegram.make_code(&person, &notices).await.unwrap().code;
    assert_eq!(telegram.bind(&code, chat, "@test").await.unwrap(), Some(person));
}

/// A pass of whoever holds it, for every door, for a day.
pub(crate) async fn pass(store: &Store) -> PassId {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [a, b, c, d] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let claims = PassClaims {
        id: PassId([0, 0, a, b, c, d]),
        person: None,
        doors: Doors::All,
        not_before: WallTime::from_unix_seconds(NOW),
        not_after: WallTime::from_unix_seconds(NOW + 24 * 3600),
        uses: Uses::Times(2),
    };
    store.access().make_pass(&store.access().site(), &claims, "ada", line()).await.unwrap();
    claims.id
}

/// A stranger who was seen; the group.
pub(crate) fn stranger(store: &Store) -> u64 {
    let values: Vec<f32> = (0..128).map(|n| if n % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let face = Embedding::new(&values).expect("numbers of the test are a face");
    store.faces().memory().strangers(|strangers| strangers.add(MonoTime::ZERO, &face))
}

/// A folder of its own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("godvision-server-test-{}-{number}", std::process::id())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::at(Stamp::new(MonoTime::from_millis(5000), WallTime::from_unix_seconds(NOW)))
}

/// A running server. `ada` is an admin, `otto` an operator, `vera` a viewer.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    pub(crate) site: Arc<Site>,
    pub(crate) live: LiveHub,
    pub(crate) clock: ManualClock,
    pub(crate) folder: Folder,
    stop: Option<oneshot::Sender<()>>,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|clock| Site::small(Arc::new(clock)), WebOptions::default()).await
    }

    pub(crate) async fn with(site: impl FnOnce(ManualClock) -> Site, options: WebOptions) -> Self {
        let (folder, clock) = (Folder::new(), clock());
        let store = Store::open(folder.path(), None, Arc::new(clock.clone())).await.unwrap();
        for (name, role) in [("ada", Role::Admin), ("otto", Role::Operator), ("vera", Role::Viewer)] {
            store.users().create(name, Secret::from(PASSWORD), role).await.unwrap();
        }
        store.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
        let site = Arc::new(site(clock.clone()));
        let live = LiveHub::new(LiveLimits::default(), Arc::new(clock.clone()));
        let state = AppState::new(site.clone(), store.clone(), live.clone(), Arc::new(clock.clone()), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(serve(listener, state, async move { drop(stopped.await) }));
        Self { address, store, site, live, clock, folder, stop: Some(stop), running: Some(running) }
    }

    /// Stops it as the program does and waits for the end.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            tokio::time::timeout(Duration::from_secs(20), running).await.expect("the server stops").unwrap();
        }
    }

    /// A session's token, made without the login route.
    pub(crate) async fn token(&self, name: &str) -> Secret {
        let user = self.store.users().list().await.unwrap().into_iter().find(|user| user.name == name).unwrap();
        self.store.sessions().start(&user).await.unwrap()
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Asking {
        let request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        Asking { address: self.address, request, body: Body::empty() }
    }

    pub(crate) async fn get(&self, path: &str, token: &Secret) -> Answer {
        self.request(Method::GET, path).token(token).send().await
    }
}

/// A request that is being made.
pub(crate) struct Asking {
    address: SocketAddr,
    request: axum::http::request::Builder,
    body: Body,
}

impl Asking {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn token(self, token: &Secret) -> Self {
        self.header("authorization", &format!("Bearer {}", token.expose()))
    }

    pub(crate) fn cookie(self, token: &Secret) -> Self {
        self.header("cookie", &format!("other=1; godvision={}", token.expose()))
    }

    pub(crate) fn json(mut self, text: impl Into<String>) -> Self {
        self.body = Body::from(text.into());
        self.header("content-type", "application/json")
    }

    pub(crate) fn raw(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = Body::from(bytes.into());
        self
    }

    pub(crate) fn form(mut self, text: impl Into<String>) -> Self {
        self.body = Body::from(text.into());
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    pub(crate) async fn send(self) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let response = sender.send_request(self.request.body(self.body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(Body::new(body), usize::MAX).await.map(|body| body.to_vec());
        connection.abort();
        Answer { status: parts.status, headers: parts.headers, body: body.unwrap_or_default() }
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of an API error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {}", self.text())).to_owned()
    }
}
