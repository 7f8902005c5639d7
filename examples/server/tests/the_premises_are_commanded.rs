//! Lockdown, emergency, alarms, who is inside and who is locked out: who may command what, what pages say of it, and that a
//! silent alarm stays silent where its door may be.

mod common;

use axum::http::{Method, StatusCode};
use common::{Server, site};
use godvision_core::Clock;
use godvision_core::journal::{Entry, Journal, Level};
use godvision_core::signal::door::{AlarmKind, DoorState};
use godvision_server::web::system::{Door, Freedom, Mode, PremisesCommand};

async fn put(server: &Server, who: &str, path: &str, body: &str) -> common::Answer {
    let token = server.token(who).await;
    server.request(Method::PUT, path).token(&token).json(body.to_owned()).send().await
}

async fn post(server: &Server, who: &str, path: &str, body: &str) -> common::Answer {
    let token = server.token(who).await;
    server.request(Method::POST, path).token(&token).json(body.to_owned()).send().await
}

#[tokio::test]
async fn a_lockdown_is_of_one_door_or_of_all() {
    let server = Server::start().await;
    let one = put(&server, "otto", "/api/v1/doors/house%2Ffront/lockdown", r#"{"on": true}"#).await;
    assert_eq!((one.status, &one.json()["mode"]), (StatusCode::OK, &"locked_down".into()));
    let page = server.get("/doors", &server.token("otto").await).await.text();
    assert!(page.contains("End the lockdown of Front door?") && page.contains("Lock Gate down?"), "{page}");
    assert!(page.contains("Locked down</span>"), "a word beside its shape");
    let all = put(&server, "otto", "/api/v1/lockdown", r#"{"on": true}"#).await;
    assert_eq!(all.status, StatusCode::OK);
    put(&server, "otto", "/api/v1/lockdown", r#"{"on": false}"#).await;
    let (front, gate) = (site::name("house/front"), site::name("yard/gate"));
    let lockdown = |doors: &[&godvision_core::Name], is_on| {
        let doors = doors.iter().map(|it| (*it).clone()).collect();
        (PremisesCommand::Lockdown { doors, is_on }, "otto".to_owned())
    };
    let expected = [lockdown(&[&front], true), lockdown(&[&front, &gate], true), lockdown(&[&front, &gate], false)];
    assert_eq!(*server.site.commands.lock().unwrap(), expected);
    let moon = put(&server, "otto", "/api/v1/doors/moon/lockdown", r#"{"on": true}"#).await;
    assert_eq!((moon.status, &*moon.code()), (StatusCode::NOT_FOUND, "not_found"));
    for body in ["", "{}", r#"{"on": 1}"#, r#"{"on": true, "of": "x"}"#] {
        assert_eq!(put(&server, "ada", "/api/v1/emergency", body).await.code(), "bad_body", "{body}");
    }
    assert_eq!(server.site.commands.lock().unwrap().len(), expected.len(), "nothing else was commanded");
}

#[tokio::test]
async fn an_emergency_is_declared_by_admins_and_seen_by_all() {
    let server = Server::start().await;
    let declared = "EMERGENCY</strong>";
    for page in ["/doors", "/board"] {
        assert!(!server.get(page, &server.token("vera").await).await.text().contains(declared));
    }
    assert_eq!(put(&server, "ada", "/api/v1/emergency", r#"{"on": true}"#).await.json()["emergency"], true);
    for page in ["/doors", "/board"] {
        let text = server.get(page, &server.token("vera").await).await.text();
        assert!(text.contains(declared) && !text.contains("End the emergency"), "{page}");
        assert!(server.get(page, &server.token("ada").await).await.text().contains("End the emergency?"), "{page}");
    }
    let otto = server.get("/doors", &server.token("otto").await).await.text();
    assert!(!otto.contains("/api/v1/emergency"), "an operator cannot end it");
}

#[tokio::test]
async fn alarms_stand_until_somebody_has_looked_and_duress_is_for_operators() {
    let server = Server::start().await;
    let alarms = vec![AlarmKind::Forced, AlarmKind::Duress, AlarmKind::Held];
    let door = Door { alarms, is_ajar: Some(true), ..site::door("house/front", "Front", DoorState::Locked) };
    *server.site.doors.lock().unwrap() = vec![door];
    let words = ["Forced open", "Stands open too long", "Duress code"];
    for (who, shown) in [("vera", 2), ("otto", 3), ("ada", 3)] {
        let token = server.token(who).await;
        for page in ["/doors", "/board"] {
            let text = server.get(page, &token).await.text();
            let seen = words.iter().filter(|word| text.contains(**word)).count();
            assert_eq!(seen, shown, "{page} as {who}");
            assert!(text.contains("Stands open</span>"), "{page}");
            assert_eq!(text.contains("I have looked"), who != "vera", "{page} as {who}");
        }
        let listed = server.get("/api/v1/doors", &token).await.json();
        assert_eq!(listed["doors"][0]["alarms"].as_array().unwrap().len(), shown, "{who}");
        assert_eq!(listed["doors"][0]["ajar"], true);
    }
    let looked = post(&server, "otto", "/api/v1/doors/house%2Ffront/acknowledge", "").await.json();
    assert_eq!(looked["alarms"], serde_json::json!(["held"]), "what ends by itself stands on");
    let text = server.get("/doors", &server.token("otto").await).await.text();
    assert!(!text.contains("I have looked") && text.contains("Stands open too long"));
}

#[tokio::test]
async fn a_viewer_hears_of_no_change_when_a_silent_alarm_comes() {
    let server = Server::start().await;
    let (vera, otto) = (server.token("vera").await, server.token("otto").await);
    let revision = async |token| server.get("/api/v1/doors/changes", token).await.json()["revision"].clone();
    let before = (revision(&vera).await, revision(&otto).await);
    server.site.doors.lock().unwrap()[0].alarms = vec![AlarmKind::Duress];
    let after = (revision(&vera).await, revision(&otto).await);
    assert!(before.0 == after.0 && before.1 != after.1);
    server.site.doors.lock().unwrap()[0].mode = Mode::LockedDown;
    assert_ne!(revision(&vera).await, after.0);
}

#[tokio::test]
async fn a_viewer_reads_no_line_of_a_silent_alarm() {
    let server = Server::start().await;
    for kind in ["forced", "duress"] {
        let text = format!("a line about {kind}");
        let entry = Entry::new(Clock::now(&server.clock), site::name("gate"), Level::Error, "door.alarm", text);
        server.store.journal().append(entry.with("alarm", kind)).await.unwrap();
    }
    // What tells of one by the way.
    for (code, field) in [
        ("key.added", ("kind", "duress_pin")),
        ("key.withdrawn", ("kind", "duress_pin")),
        ("key.removed", ("kind", "duress_pin")),
        ("premises.acknowledged", ("door", "gate")),
    ] {
        let text = format!("a line about duress: {code}");
        let entry = Entry::new(Clock::now(&server.clock), site::name("web"), Level::Security, code, text);
        server.store.journal().append(entry.with(field.0, field.1)).await.unwrap();
    }
    for (who, reads) in [("vera", false), ("otto", true)] {
        let token = server.token(who).await;
        for path in ["/journal", "/journal.csv", "/api/v1/journal"] {
            let text = server.get(path, &token).await.text();
            assert!(text.contains("a line about forced"), "{path} as {who}");
            assert_eq!(text.contains("a line about duress"), reads, "{path} as {who}");
        }
    }
}

#[tokio::test]
async fn a_free_door_says_why() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    for (freedom, code, words) in [
        (Freedom::Emergency, "emergency", "an emergency is declared"),
        (Freedom::FirstCard, "first_card", "the first card of the day came"),
        (Freedom::Schedule, "schedule", "its schedule says so"),
    ] {
        server.site.doors.lock().unwrap()[0].mode = Mode::Free(freedom);
        assert!(server.get("/board", &token).await.text().contains(words), "{code}");
        let listed = server.get("/api/v1/doors", &token).await.json();
        assert_eq!((&listed["doors"][0]["mode"], &listed["doors"][0]["free_because"]), (&"free".into(), &code.into()));
    }
}

#[tokio::test]
async fn who_is_inside_is_shown_to_operators_and_forgotten_by_admins() {
    let server = Server::start().await;
    let text = server.get("/doors", &server.token("vera").await).await.text();
    assert!(!text.contains("Who is inside") && !text.contains("yard/keypad"));
    let text = server.get("/doors", &server.token("otto").await).await.text();
    assert!(text.contains("Who is inside") && text.contains("yard/keypad") && text.contains("<strong>bob</strong>"));
    assert!(!text.contains("premises/forgive") && !text.contains("premises/unblock"));
    let text = server.get("/doors", &server.token("ada").await).await.text();
    assert!(text.contains("premises/forgive") && text.contains("premises/unblock"));
    let forgiven = post(&server, "ada", "/api/v1/premises/forgive", r#"{"person": "bob"}"#).await.json();
    assert_eq!(forgiven["areas"][0]["inside"], serde_json::json!([]));
    let unblocked = post(&server, "ada", "/api/v1/premises/unblock", r#"{"reader": "yard/keypad"}"#).await.json();
    assert_eq!(unblocked["locked_out"], serde_json::json!([]));
    let bad = post(&server, "ada", "/api/v1/premises/forgive", r#"{"person": "a b"}"#).await;
    assert_eq!((bad.status, &*bad.code()), (StatusCode::BAD_REQUEST, "bad_name"));
}
