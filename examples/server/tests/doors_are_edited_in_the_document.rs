//! Doors as administrators edit them on a running site: in force at once, the owner's comments kept, the relay's address in
//! the secret store and nowhere else, what is wrong refused whole, and the relay asked for its state.

mod common;

use std::path::Path;

use axum::http::{Method, StatusCode};
use common::Folder;
use godvision_access::pass::PassVerifier;
use godvision_core::bus::ParamValue;
use godvision_core::journal::{Journal as _, Query};
use godvision_core::{Name, Secret, SystemClock};
use godvision_server::site::SITE_FILE;
use godvision_server::store::Store;
use godvision_server::web::system::{DoorChange, PremisesCommand, RelayAsk, RelayForm, SystemError};
use godvision_server::wiring::{Parts, Wiring};

const DOCUMENT: &str = r#"# My house.
version = 1
site = "home"

[[component]]
name = "yard" # by the gate
unit = "camera"
params = { url = { secret = "yard" } }

[[component]]
name = "codes"
unit = "qr"

[[component]]
name = "front" # oak
unit = "door"
params = { relay = "simulated://", pulse = 4.0 } # not longer

[[link]] # what is seen
from = "yard#pictures"
to = "codes#pictures"

[[link]] # the door reads codes
from = "codes#sightings"
to = "front#sightings"
"#;

const CANARY: &str = "canary-of-the-relay-51c2";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn document(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path().join(SITE_FILE)).unwrap()
}

async fn start(folder: &Path) -> Wiring {
    std::fs::create_dir_all(folder).unwrap();
    if !folder.join(SITE_FILE).exists() {
        std::fs::write(folder.join(SITE_FILE), DOCUMENT).unwrap();
    }
    let store = Store::open(folder, None, SystemClock::shared()).await.unwrap();
    store.secrets().put("yard", &Secret::from("rtsp://127.0.0.1:9/")).await.unwrap();
    let text = std::fs::read_to_string(folder.join(SITE_FILE)).unwrap();
    let document = godvision_core::site::SiteDocument::parse(&text).unwrap();
    let parts = Parts::open(folder, None, store, PassVerifier::new("home".parse().unwrap())).await.unwrap();
    Wiring::start(parts, &document).await.unwrap()
}

fn change(params: &[(&str, Option<ParamValue>)], sources: Option<&[&str]>) -> DoorChange {
    DoorChange {
        params: params.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        sources: sources.map(|all| all.iter().map(|it| (*it).to_owned()).collect()),
    }
}

fn relay(url: &str) -> Option<ParamValue> {
    Some(ParamValue::Secret(url.into()))
}

#[tokio::test]
async fn a_door_is_changed_where_it_stands_and_the_rest_stays_as_it_was_written() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    let setup = system.door_setup(Some(&name("front"))).unwrap();
    let value = |key: &str| setup.fields.iter().find(|it| it.spec.name == key).map(|it| (it.value.clone(), it.is_set));
    assert_eq!(value("pulse"), Some((Some(ParamValue::Number(4.0)), true)));
    assert_eq!(value("poll"), Some((None, false)));
    assert_eq!(value("relay"), Some((None, true)), "an address is not shown, in whatever form it was written");
    let codes = setup.sources.iter().find(|it| it.output == "codes#sightings").unwrap();
    assert!(codes.is_linked && codes.input == "sightings");

    let pulse = Some(ParamValue::Number(6.5));
    system.put_door(&name("front"), change(&[("pulse", pulse)], None)).await.unwrap();
    assert_eq!(document(&folder), DOCUMENT.replace("4.0", "6.5"), "comments and order are the owner's");
    // What is as it is when nothing is said is not written; what is taken back is.
    let usual = Some(ParamValue::Integer(0));
    system.put_door(&name("front"), change(&[("channel", usual), ("pulse", None)], None)).await.unwrap();
    assert!(!document(&folder).contains("channel") && !document(&folder).contains("pulse"));
    system.put_door(&name("front"), change(&[], Some(&[]))).await.unwrap();
    let text = document(&folder);
    assert!(!text.contains("front#sightings") && text.contains("codes#pictures") && text.contains("# oak"), "{text}");
    assert!(system.doors()[0].cameras.is_empty(), "no camera leads to it any more");
    system.put_door(&name("front"), change(&[], Some(&["codes#sightings"]))).await.unwrap();
    assert_eq!(system.doors()[0].cameras, [name("yard")]);
    wiring.shutdown().await;
}

#[tokio::test]
async fn a_door_is_added_with_its_address_sealed_and_removed_with_its_links() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    let url = format!("shelly://admin:{CANARY}@127.0.0.1:9/");
    let added =
        change(&[("relay", relay(&url)), ("channel", Some(ParamValue::Integer(0)))], Some(&["codes#sightings"]));
    system.put_door(&name("side/gate"), added).await.unwrap();
    assert!(system.doors().iter().any(|door| door.id == name("side/gate")));
    let text = document(&folder);
    assert!(text.contains("secret = \"door/side/gate#relay\"") && !text.contains(CANARY), "{text}");
    let secrets = wiring.store().secrets().clone();
    assert_eq!(secrets.get("door/side/gate#relay").await.unwrap().unwrap().expose(), url);
    let shown = format!("{:?}", system.door_setup(Some(&name("side/gate"))).unwrap());
    assert!(!shown.contains(CANARY) && !shown.contains("door/side/gate#relay"));
    // A refused address leaves the one that was there.
    let wrong = change(&[("relay", relay("carrier-pigeon://loft"))], None);
    let refused = system.put_door(&name("side/gate"), wrong).await.unwrap_err();
    assert!(matches!(&refused, SystemError::Refused { detail } if detail.contains("carrier-pigeon")), "{refused}");
    assert_eq!(secrets.get("door/side/gate#relay").await.unwrap().unwrap().expose(), url);
    // Nothing that is left out loses its address.
    let hold = change(&[("hold_off", Some(ParamValue::Number(9.0)))], None);
    system.put_door(&name("side/gate"), hold).await.unwrap();
    system.remove_door(&name("side/gate")).await.unwrap();
    assert_eq!(document(&folder), DOCUMENT, "the document is as it was");
    assert!(secrets.get("door/side/gate#relay").await.unwrap().is_none());
    assert_eq!(system.doors().len(), 1);
    assert!(matches!(system.remove_door(&name("side/gate")).await, Err(SystemError::NotFound { .. })));
    wiring.shutdown().await;
    for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).filter(|it| it.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|it| it == CANARY.as_bytes()), "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_at_its_field_and_nothing_changes() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    for (door, what, told) in [
        ("new", change(&[], None), "relay: "),
        ("front", change(&[("pulse", Some(ParamValue::Number(0.0)))], None), "pulse: "),
        ("front", change(&[("channel", Some(ParamValue::Integer(64)))], None), "channel: "),
        ("front", change(&[("colour", Some(ParamValue::Flag(true)))], None), "colour: "),
        ("front", change(&[("relay", None)], None), "relay: "),
        ("front", change(&[], Some(&["yard#pictures"])), "sources: "),
        ("front", change(&[], Some(&["moon#sightings"])), "sources: "),
        ("yard", change(&[("relay", relay("simulated://"))], None), "name: "),
        ("any", change(&[("relay", relay("simulated://"))], None), "name: "),
        // Two channels, and the third is asked for: only the driver knows.
        (
            "new",
            change(&[("relay", relay("simulated://?channels=2")), ("channel", Some(ParamValue::Integer(2)))], None),
            "",
        ),
    ] {
        let refused = system.put_door(&name(door), what).await.unwrap_err();
        let SystemError::Refused { detail } = &refused else { panic!("{refused:?}") };
        assert!(detail.starts_with(told), "{detail}");
        assert_eq!(document(&folder), DOCUMENT, "{detail}");
    }
    assert!(wiring.store().secrets().get("door/new#relay").await.unwrap().is_none(), "and no address is left behind");
    assert_eq!(system.doors().len(), 1);
    wiring.shutdown().await;
}

#[tokio::test]
async fn without_its_line_in_the_journal_no_door_is_another_one() {
    let server = common::Server::start().await;
    let token = server.token("ada").await;
    let put = async |door: &str| {
        let request = server.request(Method::PUT, &format!("/api/v1/doors/{door}/setup")).token(&token);
        request.json(r#"{"params": {"relay": "simulated://"}}"#).send().await.status
    };
    let remove = async |door: &str| {
        server.request(Method::DELETE, &format!("/api/v1/doors/{door}")).token(&token).send().await.status
    };
    assert_eq!((put("side").await, remove("side").await), (StatusCode::OK, StatusCode::OK));
    let lines = server.store.journal().query(Query::default()).await.unwrap();
    let codes: Vec<&str> = lines.iter().rev().map(|line| &*line.code).filter(|it| it.starts_with("door.")).collect();
    assert_eq!(codes, ["door.adding", "door.added", "door.removing", "door.removed"]);
    server.store.journal().close().await;
    let doors = server.site.doors.lock().unwrap().len();
    assert!(put("side").await.is_server_error() && remove("yard%2Fgate").await.is_server_error());
    assert_eq!(server.site.doors.lock().unwrap().len(), doors);
}

#[tokio::test]
async fn a_relay_is_asked_for_its_state_before_and_after_it_is_saved() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    let of_door = RelayAsk { door: Some(name("front")), ..RelayAsk::default() };
    let told = system.read_relay(of_door).await.unwrap();
    assert_eq!((told.is_on, told.driver), (false, "simulated"));
    let unsaved = RelayAsk { relay: Some("simulated://?channels=2".into()), channel: Some(1), ..RelayAsk::default() };
    assert!(!system.read_relay(unsaved).await.unwrap().is_on);
    for (ask, what) in [
        (RelayAsk::default(), "relay: "),
        (RelayAsk { relay: Some("pigeon://x".into()), ..RelayAsk::default() }, "relay: "),
        (RelayAsk { relay: Some("simulated://".into()), channel: Some(70), ..RelayAsk::default() }, "channel: "),
        (RelayAsk { relay: Some("simulated://".into()), channel: Some(-1), ..RelayAsk::default() }, "channel: "),
    ] {
        let refused = system.read_relay(ask).await.unwrap_err();
        assert!(matches!(&refused, SystemError::Refused { detail } if detail.starts_with(what)), "{refused:?}");
    }
    let url = format!("shelly://admin:{CANARY}@127.0.0.1:9/");
    let away = RelayAsk { relay: Some(url.as_str().into()), ..RelayAsk::default() };
    let error = system.read_relay(away).await.unwrap_err();
    assert!(matches!(&error, SystemError::Unavailable { detail } if !detail.contains(CANARY)), "{error:?}");
    assert!(matches!(
        system.read_relay(RelayAsk { door: Some(name("moon")), ..RelayAsk::default() }).await,
        Err(SystemError::NotFound { .. })
    ));
    wiring.shutdown().await;
}

#[tokio::test]
async fn a_document_that_cannot_be_written_leaves_the_site_as_it_was() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    let url = "shelly://127.0.0.1:9/";
    system.put_door(&name("front"), change(&[("relay", relay(url))], None)).await.unwrap();
    let text = document(&folder);
    // The disk takes no new file: a folder lies in its place.
    let part = folder.path().join(SITE_FILE).with_extension("toml.part");
    std::fs::create_dir(&part).unwrap();
    let setup = || format!("{:?}", system.door_setup(Some(&name("front"))).unwrap());
    let before = setup();
    let next = change(&[("relay", relay("simulated://")), ("hold_off", Some(ParamValue::Number(9.0)))], Some(&[]));
    let refused = system.put_door(&name("front"), next).await.unwrap_err();
    assert!(matches!(&refused, SystemError::Unavailable { .. }), "{refused:?}");
    assert_eq!((setup(), document(&folder)), (before, text));
    assert_eq!(system.doors()[0].cameras, [name("yard")], "and its links");
    let kept = wiring.store().secrets().get("door/front#relay").await.unwrap().unwrap();
    assert_eq!(kept.expose(), url);
    // What runs is what the document says: the relay that is asked is the one from before, which does not answer.
    let of_door = RelayAsk { door: Some(name("front")), ..RelayAsk::default() };
    assert!(matches!(system.read_relay(of_door).await, Err(SystemError::Unavailable { .. })));
    std::fs::remove_dir(&part).unwrap();
    system.put_door(&name("front"), change(&[("pulse", None)], None)).await.unwrap();
    wiring.shutdown().await;
}

fn form(driver: &str, fields: &[(&str, &str)], keep: &[&str]) -> RelayForm {
    RelayForm {
        driver: driver.to_owned(),
        fields: fields.iter().map(|(key, value)| ((*key).to_owned(), Secret::from(*value))).collect(),
        keep: keep.iter().map(|key| (*key).to_owned()).collect(),
    }
}

#[tokio::test]
async fn an_address_is_made_of_a_form_and_its_secrets_never_come_back() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    let drivers: Vec<&str> = system.relay_drivers().iter().map(|it| it.scheme).collect();
    assert!(drivers.contains(&"shelly") && drivers.contains(&"simulated"), "{drivers:?}");
    let front = name("front");
    let filled = form("shelly", &[("host", "127.0.0.1"), ("channels", "2"), ("password", CANARY)], &[]);
    let url = system.relay_address(Some(&front), filled).await.unwrap();
    assert_eq!(url.expose(), format!("shelly://:{CANARY}@127.0.0.1?channels=2"));
    system.put_door(&front, change(&[("relay", Some(ParamValue::Secret(url)))], None)).await.unwrap();
    let shown = system.relay_shown(&front).await.unwrap().unwrap();
    assert_eq!((&*shown.driver, &*shown.kept), ("shelly", &["password"][..]));
    assert_eq!(shown.fields, [("host", "127.0.0.1".to_owned()), ("channels", "2".to_owned())]);
    assert!(!format!("{shown:?}").contains(CANARY));
    // Kept as long as the device is the same, whatever else changes.
    let kept = form("shelly", &[("host", "127.0.0.1"), ("channels", "4")], &["password"]);
    let url = system.relay_address(Some(&front), kept).await.unwrap();
    assert_eq!(url.expose(), format!("shelly://:{CANARY}@127.0.0.1?channels=4"));
    for (door, filled, told) in [
        (Some(&front), form("shelly", &[("host", "127.0.0.2")], &["password"]), "relay.password: "),
        (Some(&front), form("shelly", &[("host", "127.0.0.1"), ("port", "81")], &["password"]), "relay.password: "),
        (Some(&front), form("tasmota", &[("host", "127.0.0.1")], &["password"]), "relay.password: "),
        (None, form("shelly", &[("host", "127.0.0.1")], &["password"]), "relay.password: "),
        (None, form("shelly", &[], &[]), "relay.host: host is missing"),
        (None, form("shelly", &[("host", "h"), ("channels", CANARY)], &[]), "relay.channels: "),
        (None, form("shelly", &[("host", "h"), (CANARY, "1")], &[]), "relay."),
        (None, form(CANARY, &[], &[]), "relay.driver: "),
    ] {
        let refused = system.relay_address(door, filled.clone()).await.unwrap_err();
        let SystemError::Refused { detail } = &refused else { panic!("{refused:?}") };
        assert!(detail.starts_with(told) && !detail.contains(CANARY), "{filled:?}: {detail}");
    }
    wiring.shutdown().await;
}

#[tokio::test]
async fn a_relay_is_tried_but_not_while_a_door_is_locked_down() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    let length = std::time::Duration::from_millis(50);
    let of_door = || RelayAsk { door: Some(name("front")), ..RelayAsk::default() };
    let told = system.pulse_relay(of_door(), length).await.unwrap();
    assert!(told.is_on && told.driver == "simulated");
    let lock = PremisesCommand::Lockdown { doors: vec![name("front")], is_on: true };
    system.command(lock, "ada").await.unwrap();
    let refused = system.pulse_relay(of_door(), length).await.unwrap_err();
    assert!(matches!(&refused, SystemError::Refused { detail } if detail.contains("locked down")), "{refused:?}");
    wiring.shutdown().await;
}
