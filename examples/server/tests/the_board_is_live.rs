//! The board of a guard post: lamps that are shapes and words, a change that is heard of at once, opening by hand with a
//! reason; and every decision leads to the clip around it, and the clip back to the decision.

mod common;

use std::time::Duration;

use axum::http::{Method, StatusCode};
use common::{NOW, Server, sighting, site};
use godvision_core::journal::{Entry, Journal, Level, Query};
use godvision_core::signal::door::{Decision, DoorState, Indication, Reason, Verdict};
use godvision_core::{Clock, MonoTime, Stamp, SystemClock, WallTime};
use godvision_server::store::KeyKind;
use godvision_server::web::system::{ClipState, Door};

fn at(second: i64) -> Stamp {
    Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(NOW + second))
}

/// What was decided of somebody before the yard's camera.
fn decision(second: i64, verdict: Verdict, reason: Reason) -> Decision {
    Decision {
        source: site::name("yard/camera"),
        door: Some(site::name("house/front")),
        user: Some(site::name("bob")),
        with: Vec::new(),
        note: None,
        credential: "qr",
        verdict,
        reason,
        rule: None,
        presented: at(second),
        decided: at(second),
    }
}

fn set(server: &Server, doors: Vec<Door>) {
    *server.site.doors.lock().unwrap() = doors;
}

#[tokio::test]
async fn a_lamp_is_a_word_and_says_go_only_when_the_door_is_open() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    for (state, indication, lamp, words) in [
        (DoorState::Locked, Indication::Ready, "signal stop ready", "STOP|Locked"),
        (DoorState::Unlocked, Indication::Open, "signal go open", "GO|Unlocked"),
        (DoorState::Unlocked, Indication::Held, "signal go held", "GO|Stands open: shut it"),
        (DoorState::Unlocking, Indication::Open, "signal wait open", "WAIT|Unlocking"),
        (DoorState::Free, Indication::Ready, "signal go ready", "GO|Open to everyone"),
        (DoorState::LockedDown, Indication::Ready, "signal stop ready", "STOP|Locked down"),
        (DoorState::Locked, Indication::Awaiting, "signal wait awaiting", "WAIT|Awaiting the next credential"),
        (DoorState::Locked, Indication::Refused, "signal stop refused", "STOP|Refused"),
        (DoorState::Fault, Indication::Ready, "signal fault ready", "?|Fault"),
        (DoorState::Unknown, Indication::Ready, "signal fault ready", "?|Not known"),
    ] {
        set(&server, vec![Door { indication, ..site::door("house/front", "Front", state) }]);
        let page = server.get("/board", &token).await.text();
        let what = format!("{state:?} {indication:?}");
        assert!(page.contains(&format!("class=\"{lamp}\"")), "{what}");
        for word in words.split('|') {
            assert!(page.contains(&format!(">{word}")), "{what}: {word}");
        }
    }
}

#[tokio::test]
async fn one_to_eight_lanes_are_chosen_by_the_address() {
    let server = Server::start().await;
    let token = server.token("otto").await;
    let doors = (0..10).map(|n| site::door(&format!("d{n}"), &format!("Door {n}"), DoorState::Locked)).collect();
    set(&server, doors);
    let lanes = async |query: &str| {
        let answer = server.get(&format!("/board{query}"), &token).await;
        let text = answer.text();
        let ids: Vec<String> = text.split("id=\"lane:").skip(1).map(|it| it[..2].to_owned()).collect();
        (answer.status, ids, text)
    };
    let (status, ids, text) = lanes("").await;
    assert_eq!((status, ids.len()), (StatusCode::OK, 8));
    assert!(text.contains("2 more doors") && text.contains("lanes-8"));
    assert_eq!(lanes("?doors=d7,d2").await.1, ["d7", "d2"], "in their order");
    let (status, _, text) = lanes("?doors=d1,moon").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.contains("moon"));
    let vera = server.token("vera").await;
    assert!(text.len() > 10 && !server.get("/board", &vera).await.text().contains("data-open="), "a viewer looks");
}

#[tokio::test]
async fn a_change_is_heard_of_at_once_and_a_stop_lets_nobody_wait() {
    let mut server = Server::start().await;
    let token = server.token("vera").await;
    let ask = async |since: &str| {
        let begun = SystemClock.mono();
        let answer = server.get(&format!("/api/v1/doors/changes{since}"), &token).await;
        (answer.json()["revision"].as_str().unwrap().to_owned(), SystemClock.mono().since(begun))
    };
    let (first, took) = ask("").await;
    assert!(took < Duration::from_secs(1));
    let query = format!("?since={first}");
    let opened = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.site.doors.lock().unwrap()[0].state = DoorState::Unlocked;
    };
    let ((second, took), ()) = tokio::join!(ask(&query), opened);
    assert_ne!(first, second);
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(2), "{took:?}");
    let page = server.get("/board", &token).await.text();
    assert!(page.contains(&format!("data-revision=\"{second}\"")), "the page and the waiting speak of the same");
    let waiting = server.request(Method::GET, &format!("/api/v1/doors/changes?since={second}")).token(&token);
    let waiting = tokio::spawn(waiting.send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = SystemClock.mono();
    server.stop().await;
    assert!(SystemClock.mono().since(begun) < Duration::from_secs(2), "{:?}", SystemClock.mono().since(begun));
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn opening_by_hand_wants_a_reason_that_is_journalled_first() {
    let server = Server::start().await;
    let token = server.token("otto").await;
    let open = async |body: &str| {
        let request = server.request(Method::POST, "/api/v1/doors/house%2Ffront/open").token(&token);
        request.json(body.to_owned()).send().await
    };
    let long = "x".repeat(201);
    for (body, code) in [
        (r#"{"reason": ""}"#, "bad_reason"),
        (r#"{"reason": "  "}"#, "bad_reason"),
        (r#"{"reason": "a\u0000b"}"#, "bad_reason"),
        (&*format!(r#"{{"reason": "{long}"}}"#), "bad_reason"),
        ("{}", "bad_body"),
        ("", "bad_body"),
    ] {
        let answer = open(body).await;
        assert!(answer.status.is_client_error());
        assert_eq!(answer.code(), code, "{body}");
    }
    assert!(server.site.doors.lock().unwrap()[0].decisions.is_empty(), "nothing opened");
    assert_eq!(open(r#"{"reason": " a parcel "}"#).await.json()["verdict"], "admit");
    let lines = server.store.journal().query(Query::default()).await.unwrap();
    let line = lines.iter().find(|line| line.code == "door.by_hand").unwrap();
    assert_eq!(line.text, "otto asks to open house/front by hand: a parcel");
    assert_eq!(line.level, Level::Security);
}

#[tokio::test]
async fn a_decision_leads_to_its_clip_and_the_clip_back() {
    let server = Server::start().await;
    let token = server.token("ada").await;
    // The yard's clip runs from 100 s before now, for 14 s.
    let admitted = decision(-95, Verdict::Admit, Reason::Permitted);
    let early = decision(-150, Verdict::Refuse, Reason::Expired);
    set(
        &server,
        vec![Door {
            decisions: vec![admitted.clone(), early],
            ..site::door("house/front", "Front", DoorState::Locked)
        }],
    );
    let fields = |second| {
        let line =
            Entry::new(at(second), site::name("house/front"), Level::Security, "access.admitted", "bob admitted");
        line.with("door", "house/front").with("source", "yard/camera").with("person", "bob")
    };
    for second in [-95, -150] {
        server.store.journal().append(fields(second)).await.unwrap();
    }
    let link = "/clips?camera=yard/camera&from=2026-11-21T09%3A28%3A20.000Z&to=2026-11-21T09%3A28%3A21.000Z#at=3";
    let escaped = link.replace('&', "&#38;");
    for path in ["/doors", "/board", "/journal"] {
        let page = server.get(path, &token).await.text();
        assert_eq!(page.matches(&escaped).count(), 1, "{path}: once, for the one that a clip shows\n{page}");
    }
    let doors = server.get("/api/v1/doors", &token).await.json();
    let decisions = &doors["doors"][0]["decisions"];
    assert_eq!((&decisions[0]["clip"], &decisions[1]["clip"]), (&link.into(), &serde_json::Value::Null));
    // It leads to that clip alone, which names the decision and leads to its line.
    let page = server.get(link.split('#').next().unwrap(), &token).await.text();
    assert_eq!(page.matches("class=\"card clip\"").count(), 1);
    assert!(page.contains("Front: admitted bob") && page.contains(&escaped));
    let journal = page.split("href=\"/journal?service=").nth(1).unwrap().split('"').next().unwrap();
    let lines = server.get(&format!("/journal?service={}", journal.replace("&#38;", "&")), &token).await.text();
    assert_eq!(lines.matches("class=\"entry\"").count(), 1, "{journal}");
    // A clip that still grows cannot be played yet.
    server.site.clips.lock().unwrap()[0].state = ClipState::Recording;
    assert!(!server.get("/doors", &token).await.text().contains("#at="));
    // A camera that sees another door leads nowhere.
    server.site.clips.lock().unwrap()[0].state = ClipState::Archived;
    server.site.doors.lock().unwrap()[0].cameras = vec![site::name("gate/camera")];
    assert!(!server.get("/doors", &token).await.text().contains("#at="));
}

#[tokio::test]
async fn the_picture_of_who_was_seen_stands_on_the_board() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    let seen = decision(0, Verdict::Admit, Reason::Permitted);
    set(&server, vec![Door { decisions: vec![seen], ..site::door("house/front", "Front", DoorState::Unlocked) }]);
    let board = async || server.get("/board", &token).await.text();
    assert!(!board().await.contains("<img src=\"/api/"), "nobody was seen");
    let keep = async |camera, kind, subject, second| {
        server.store.sightings().keep(sighting(camera, kind, subject, second)).await.unwrap()
    };
    keep("yard/camera", "face", Some("bob"), -10).await;
    keep("gate/camera", "face", Some("bob"), 0).await;
    keep("yard/camera", "face", Some("zoe"), 0).await;
    keep("yard/camera", "stranger", None, 0).await;
    keep("yard/camera", "plate", None, 0).await;
    assert!(!board().await.contains("<img src=\"/api/"), "long ago, at another door, or somebody else");
    let code = keep("yard/camera", "qr", None, 1).await;
    assert!(board().await.contains(&format!("/api/v1/sightings/{code}/crop")));
    // Of the door's other cameras only what shows the person: a code read in the next lane is another guest's.
    server.site.doors.lock().unwrap()[0].cameras.push(site::name("lane/camera"));
    keep("lane/camera", "qr", None, 0).await;
    assert!(board().await.contains(&format!("/api/v1/sightings/{code}/crop")));
    let face = keep("yard/camera", "face", Some("bob"), 2).await;
    assert!(board().await.contains(&format!("/api/v1/sightings/{face}/crop")), "a face says more than a code");
    // A second car close behind is read by the same camera.
    common::known(&server.store, "bob").await;
    let plate = godvision_core::Secret::from("A123BC77");
    let bob = site::name("bob");
    server.store.access().add_key(&bob, KeyKind::Plate, plate, |_| common::line()).await.unwrap();
    let mut by_plate = decision(100, Verdict::Admit, Reason::Permitted);
    by_plate.credential = "plate";
    server.site.doors.lock().unwrap()[0].decisions = vec![by_plate];
    keep("yard/camera", "plate", Some("O777OO77"), 100).await;
    assert!(!board().await.contains("<img src=\"/api/"), "the car behind is not his");
    let his = keep("yard/camera", "plate", Some("A123BC77"), 102).await;
    assert!(board().await.contains(&format!("/api/v1/sightings/{his}/crop")));
    let mut by_hand = decision(0, Verdict::Admit, Reason::Permitted);
    by_hand.credential = "manual";
    server.site.doors.lock().unwrap()[0].decisions = vec![by_hand];
    assert!(!board().await.contains("<img src=\"/api/"), "who is let in by hand is not the operator");
    // The enrolled face is for administrators.
    let mut nobody = decision(300, Verdict::Admit, Reason::Permitted);
    nobody.user = Some(site::name("eileen"));
    server.site.doors.lock().unwrap()[0].decisions = vec![nobody];
    common::enrolled(&server.store, "eileen").await;
    assert!(!board().await.contains("<img src=\"/api/"));
    let ada = server.token("ada").await;
    assert!(server.get("/board", &ada).await.text().contains("/api/v1/faces/eileen/photo"));
}
