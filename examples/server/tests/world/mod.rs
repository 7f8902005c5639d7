//! A whole server as its owner runs it, and what stands around it: a data folder with a site document, a camera that speaks
//! RTSP over TCP with digest, a relay on its HTTP wire, a keypad behind a TCP bridge, people who ask over HTTP.
//!
//! **Never:** a picture, a key or a click handed in past its wire; a journal that is not the one on the disk.

#![allow(dead_code, reason = "each test file uses its part of this module")]

pub(crate) mod film;
/// A face with the depth of a head, and a photo of it.
#[path = "../../../../godvision-vision/tests/common/waved.rs"]
pub(crate) mod waved;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use godvision_access::pass::PassVerifier;
use godvision_access::reader::fake::{FakeBridge, FakePort};
use godvision_access::relay::fake_shelly::FakeShelly;
use godvision_core::bus::{ParamValue, Params};
use godvision_core::signal::door::Decision;
use godvision_core::site::SiteDocument;
use godvision_core::{Clock, SystemClock};
use godvision_server::store::{Role, Store, verify};
use godvision_server::web::{WebOptions, serve};
use godvision_server::wiring::{Parts, Wiring};
use godvision_server::{run, site};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use film::{Camera, Film};

pub(crate) const CAMERA: &str = "yard";
pub(crate) const DOOR: &str = "front";
pub(crate) const KEYPAD: &str = "keypad";
/// An administrator, an operator and a viewer.
pub(crate) const USERS: [(&str, Role); 3] = [("ada", Role::Admin), ("otto", Role::Operator), ("vera", Role::Viewer)];
const PASSWORD: &str = "correct-horse-battery";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The site, its devices, and the server while it runs.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) camera: Camera,
    pub(crate) relay: Arc<FakeShelly>,
    pub(crate) keypad: FakePort<FakeBridge>,
    running: Option<Running>,
}

struct Running {
    wiring: Wiring,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    tokens: BTreeMap<&'static str, String>,
}

impl World {
    /// A running site with `rules`. Its camera shows `film` and is watched by the units `sees` (`qr`, `face`, `plate`), all
    /// of which lead to the door.
    pub(crate) async fn start(rules: &str, film: &Film, sees: &[(&str, Params)]) -> Self {
        let clock: Arc<dyn Clock> = SystemClock::shared();
        let camera = Camera::start(film).await;
        let relay = FakeShelly::start(1, Some("relay-password".into()), Arc::clone(&clock)).await.unwrap();
        let keypad = FakePort::start(FakeBridge::new(Arc::clone(&clock))).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), None, clock).await.unwrap();
        for (name, role) in USERS {
            store.users().create(name, PASSWORD.into(), role).await.unwrap();
        }
        for (name, address) in [
            ("camera", camera.url().clone()),
            ("relay", format!("shelly://admin:relay-password@{}/", relay.address()).into()),
            ("keypad", format!("keypad+tcp://{}/", keypad.address()).into()),
        ] {
            store.secrets().put(name, &address).await.unwrap();
        }
        store.close().await;
        site::write(&folder.path().join(site::SITE_FILE), &document(sees)).unwrap();
        std::fs::write(folder.path().join(site::RULES_FILE), rules).unwrap();
        let mut world = Self { folder, camera, relay: Arc::new(relay), keypad, running: None };
        world.run().await;
        world
    }

    /// Starts the server on what lies in the data folder.
    pub(crate) async fn run(&mut self) {
        let store = Store::open(self.data(), None, SystemClock::shared()).await.unwrap();
        let text = std::fs::read_to_string(self.data().join(site::SITE_FILE)).unwrap();
        let document = SiteDocument::parse(&text).unwrap();
        let passes = PassVerifier::new(document.site.clone());
        let parts = Parts::open(self.data(), None, store, passes).await.unwrap();
        let wiring = Wiring::start(parts, &document).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let state = run::state(&wiring, WebOptions::default());
        let serving = tokio::spawn(serve(listener, state, async move { drop(stopped.await) }));
        let mut tokens = BTreeMap::new();
        for (name, _) in USERS {
            let body = json!({"name": name, "password": PASSWORD});
            let (status, answer) = exchange(address, None, Method::POST, "/api/v1/login", Some(body)).await;
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(status, StatusCode::OK, "{answer}");
            tokens.insert(name, answer["token"].as_str().unwrap().to_owned());
        }
        self.running = Some(Running { wiring, address, stop, serving, tokens });
    }

    /// Stops the server as the program does; what its journal holds then must be what was written.
    pub(crate) async fn stop(&mut self) {
        let Running { wiring, stop, serving, .. } = self.running.take().expect("it runs");
        let head = wiring.store().journal().head().await.unwrap();
        drop(stop);
        serving.await.unwrap();
        wiring.shutdown().await;
        let noted = [head.to_string().parse().unwrap()];
        let verified = verify(self.data(), &noted, |_| {}).await.unwrap();
        assert!(verified.broken.is_none() && verified.head.id >= head.id, "{verified:?}");
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    pub(crate) fn store(&self) -> &Store {
        self.running().wiring.store()
    }

    /// What `who` is answered.
    pub(crate) async fn ask(&self, who: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Bytes) {
        let Running { address, tokens, .. } = self.running();
        exchange(*address, Some(&tokens[who]), method, path, body).await
    }

    /// The answer to an administrator's request that has to succeed.
    pub(crate) async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        let body = (method != Method::GET).then_some(body);
        let (status, answer) = self.ask("ada", method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.done(Method::GET, path, Value::Null).await
    }

    /// Makes `person` known, with keys of these kinds.
    pub(crate) async fn know(&self, person: &str, keys: &[(&str, &str)]) {
        self.done(Method::PUT, &format!("/api/v1/people/{person}"), json!({})).await;
        for (kind, key) in keys {
            let path = format!("/api/v1/people/{person}/keys");
            self.done(Method::POST, &path, json!({"kind": kind, "key": key})).await;
        }
    }

    /// The door as an administrator sees it.
    pub(crate) async fn door(&self) -> Value {
        self.get("/api/v1/doors").await["doors"][0].clone()
    }

    /// What was decided last at the door.
    pub(crate) fn last_decision(&self) -> Option<Decision> {
        let door = self.running().wiring.system().doors().into_iter().next()?;
        door.decisions.into_iter().next()
    }

    pub(crate) async fn until_door_is(&self, state: &str) {
        eventually(state, async || (self.door().await["state"] == state).then_some(())).await;
    }

    /// The journal, oldest first.
    pub(crate) async fn journal(&self) -> Vec<Value> {
        let mut list = self.get("/api/v1/journal?limit=500").await;
        let mut entries = list["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
        entries.reverse();
        entries
    }

    /// The lines of the journal with this code.
    pub(crate) async fn lines(&self, code: &str) -> Vec<Value> {
        let mut lines = self.journal().await;
        lines.retain(|line| line["code"] == code);
        lines
    }

    /// The first line with this code whose fields are among others `fields`; waits for it.
    pub(crate) async fn line(&self, code: &str, fields: &[(&str, &str)]) -> Value {
        let is_it = |line: &Value| fields.iter().all(|(name, value)| line["fields"][*name] == *value);
        let found = async || self.lines(code).await.into_iter().find(is_it);
        match within(found).await {
            Some(line) => line,
            None => panic!("no line {code} with {fields:?} within {PATIENCE:?} in {:#?}", self.journal().await),
        }
    }

    /// How often the relay was told to close its contact, by the device's own end of the wire.
    pub(crate) fn pulses(&self) -> usize {
        self.relay.calls().iter().filter(|call| call.method == "Switch.Set" && call.params["on"] == true).count()
    }

    /// Types at the keypad.
    pub(crate) fn type_in(&self, keys: &str) {
        for key in keys.chars() {
            self.keypad.send(format!("key 0 {key}\n").as_bytes());
        }
    }

    /// The decision `{credential, reason}` as the door's list and the pages show it, once a finished clip shows it too.
    pub(crate) async fn clip_of(&self, credential: &str, reason: &str) -> String {
        let is_it = |it: &&Value| it["credential"] == credential && it["reason"] == reason;
        let clip = async || {
            let door = self.door().await;
            let decision = door["decisions"].as_array()?.iter().find(is_it)?;
            decision["clip"].as_str().map(str::to_owned)
        };
        eventually("a clip of the decision", clip).await
    }

    /// A page as an administrator sees it.
    pub(crate) async fn page(&self, path: &str) -> String {
        let (status, page) = self.ask("ada", Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        String::from_utf8_lossy(&page).into_owned()
    }
}

/// One camera that is watched and recorded, one door with a keypad.
fn document(sees: &[(&str, Params)]) -> SiteDocument {
    let secret = |name: &str| ParamValue::SecretName(name.to_owned());
    let mut document = site::base("home").unwrap();
    site::add_camera(&mut document, CAMERA, "camera").unwrap();
    for component in &mut document.components {
        match component.unit.as_str() {
            "camera" => component.params.set("colour", true.into(), None),
            // Clips end soon, so that a test need not wait for them.
            "motion" => component.params.set("quiet_after", 1.0.into(), None),
            "recorder" => {
                component.params.set("pre_roll", 1.0.into(), None);
                component.params.set("post_roll", 0.5.into(), None);
            }
            _ => {}
        }
    }
    site::add(&mut document, "archiver", "archiver", Params::new()).unwrap();
    let door = Params::new().with("relay", secret("relay")).with("pulse", 0.2).with("hold_off", 2.0);
    site::add(&mut document, DOOR, "door", door).unwrap();
    site::add(&mut document, KEYPAD, "reader", Params::new().with("device", secret("keypad"))).unwrap();
    document.link("keypad#credentials", "front#credentials").unwrap();
    document.link("front#events", "keypad#events").unwrap();
    document.link("front#decisions", "keypad#decisions").unwrap();
    for (unit, params) in sees {
        let name = format!("{unit}/{CAMERA}");
        site::add(&mut document, &name, unit, params.clone().with("motion_wakes", true)).unwrap();
        document.link(&format!("{CAMERA}#pictures"), &format!("{name}#pictures")).unwrap();
        document.link(&format!("motion/{CAMERA}#motion"), &format!("{name}#motion")).unwrap();
        document.link(&format!("{name}#sightings"), "front#sightings").unwrap();
        document.link(&format!("{name}#sightings"), "sightings#sightings").unwrap();
    }
    document
}

/// One request on a connection of its own.
async fn exchange(
    address: SocketAddr,
    token: Option<&str>,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Bytes) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, address.to_string());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = match body {
        Some(json) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(json.to_string())
        }
        None => Body::empty(),
    };
    let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let status = answer.status();
    let bytes = to_bytes(Body::new(answer.into_body()), usize::MAX).await.unwrap();
    connection.abort();
    (status, bytes)
}

/// Tries `probe` until it gives something.
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFn() -> Option<T>) -> T {
    within(probe).await.unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}"))
}

async fn within<T>(probe: impl AsyncFn() -> Option<T>) -> Option<T> {
    let trying = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.ok()
}
