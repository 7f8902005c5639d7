//! The pages as a browser gets them: what is shown, what is escaped, what an empty site says.

mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use common::Server;
use common::site::{Site, camera, door};
use godvision_core::Name;
use godvision_core::journal::{Entry, Journal, Level};
use godvision_core::signal::door::DoorState;
use godvision_core::signal::media::StreamState;
use godvision_server::store::Switch;
use godvision_server::web::WebOptions;
use godvision_server::web::system::ClipState;

const PAGES: [&str; 10] =
    ["/cameras", "/clips", "/sightings", "/plates", "/faces", "/doors", "/journal", "/rules", "/passes", "/pass-keys"];

#[tokio::test]
async fn cameras_with_their_troubles_and_switches() {
    let server = Server::start().await;
    let page = server.get("/cameras", &server.token("otto").await).await.text();
    assert!(page.contains(r#"<gv-player src="/api/v1/cameras/yard%2Fcamera/live" name="Yard">"#), "{page}");
    assert!(page.contains("Needs attention") && page.contains("refused the user name or password"));
    assert!(page.contains(r#"aria-checked="true" data-put="/api/v1/cameras/gate%2Fcamera/detection""#));
    server.site.cameras.lock().unwrap()[0].detail = "H.264 1920x1080".to_owned();
    let online = server.get("/cameras", &server.token("otto").await).await.text();
    assert_eq!(
        online.matches("class=\"problem\"").count(),
        page.matches("class=\"problem\"").count(),
        "no problem while online"
    );
    let viewer = server.get("/cameras", &server.token("vera").await).await.text();
    assert_eq!((page.matches(" disabled").count(), viewer.matches(" disabled").count()), (4, 10));
    let admin = server.get("/cameras", &server.token("ada").await).await.text();
    assert_eq!(admin.matches(" disabled").count(), 2, "an administrator lacks the model alone");
    assert!(page.contains("fill the folder &#60;models&#62; first"), "what is missing is said: {page}");
}

#[tokio::test]
async fn clips_with_where_they_are() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    let page = server.get("/clips", &token).await.text();
    for text in ["Uploading 40 %", "Upload needs attention", "the archive is full", "Archived", "700 kB", "14 s"] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!((page.matches("data-video=").count(), page.matches("id=\"clip:yard/3\"").count()), (3, 1));
    server.site.clips.lock().unwrap()[0].state = ClipState::Recording;
    let growing = server.get("/clips", &token).await.text();
    // Another id while it grows: the page then takes the whole clip in as a new card.
    assert_eq!((growing.matches("data-video=").count(), growing.matches("id=\"clip:yard/3\"").count()), (2, 0));
    let one = server.get("/clips?limit=1", &token).await.text();
    assert!(one.contains("/clips?before=yard/3"), "{one}");
    let none = server.get("/clips?camera=shop/till", &token).await.text();
    assert!(none.contains("No clips match") && none.contains("Clear filter"));
}

#[tokio::test]
async fn doors_open_for_operators_and_show_the_decision() {
    let server = Server::start().await;
    let (otto, vera) = (server.token("otto").await, server.token("vera").await);
    let before = server.get("/doors", &vera).await.text();
    assert!(
        before.contains("Locked")
            && before.contains("the relay does not answer")
            && before.contains("Nobody has asked")
    );
    assert!(!before.contains("data-open="), "a viewer has no button");
    let open = server
        .request(Method::POST, "/api/v1/doors/house%2Ffront/open")
        .token(&otto)
        .json(r#"{"reason": "a parcel"}"#)
        .send()
        .await;
    assert_eq!((&open.json()["verdict"], &open.json()["user"]), (&"admit".into(), &"otto".into()));
    let after = server.get("/doors", &otto).await.text();
    assert!(after.contains("Unlocked") && after.contains("rule operators") && after.contains("By hand"));
    let broken = server
        .request(Method::POST, "/api/v1/doors/yard%2Fgate/open")
        .token(&otto)
        .json(r#"{"reason": "a parcel"}"#)
        .send()
        .await;
    assert_eq!((broken.status, &*broken.code()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    let unknown = server
        .request(Method::POST, "/api/v1/doors/moon/open")
        .token(&otto)
        .json(r#"{"reason": "a parcel"}"#)
        .send()
        .await;
    assert_eq!((unknown.status, &*unknown.code()), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test]
async fn switches_act_are_kept_and_are_journalled() {
    let server = Server::start().await;
    let token = server.token("otto").await;
    let yard = Name::new("yard/camera").unwrap();
    let put = async |switch: &str, body: &str| {
        let request = server.request(Method::PUT, &format!("/api/v1/cameras/yard%2Fcamera/{switch}"));
        request.token(&token).json(body).send().await
    };
    assert_eq!(server.store.settings().switch(&yard, Switch::Detection).await.unwrap(), None);
    assert_eq!(put("detection", r#"{"on": false}"#).await.json()["on"], false);
    assert!(!server.site.cameras.lock().unwrap()[0].detection);
    assert_eq!(server.store.settings().switch(&yard, Switch::Detection).await.unwrap(), Some(false));
    assert_eq!(server.store.settings().switch(&yard, Switch::Archive).await.unwrap(), None);
    let journal = server.get("/api/v1/journal?service=web", &token).await.json();
    assert_eq!(journal["entries"][0]["text"], "otto turned detection of yard/camera off");
    assert_eq!(journal["entries"][0]["level"], "security");
    for body in ["", "{}", "on", r#"{"on": "yes"}"#, r#"{"on": true, "of": 1}"#] {
        let answer = put("archive", body).await;
        assert!(answer.status.is_client_error(), "{body}");
        assert_eq!(answer.code(), "bad_body", "{body}");
    }
    assert!(server.site.cameras.lock().unwrap()[0].archive);

    server.site.cameras.lock().unwrap()[0].state = StreamState::Stopped;
    for (switch, kept) in [(Switch::Detection, Some(false)), (Switch::Archive, None)] {
        let refused = put(switch.code(), r#"{"on": true}"#).await;
        assert_eq!((refused.status, &*refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
        assert_eq!(server.store.settings().switch(&yard, switch).await.unwrap(), kept, "{switch} is as it was");
    }
}

#[tokio::test]
async fn the_journal_is_filtered_paged_and_exported() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    for n in 0..60_i64 {
        let service = Name::new(if n % 2 == 0 { "yard/camera" } else { "house/front" }).unwrap();
        let mut at = godvision_core::Clock::now(&server.clock);
        at.wall = at.wall.plus_micros(n * 60_000_000);
        let level = if n % 10 == 0 { Level::Error } else { Level::Info };
        let entry = Entry::new(at, service, level, "test.kept", format!("=line {n}")).with("n", n);
        server.store.journal().append(entry).await.unwrap();
    }
    let texts = async |query: &str| -> Vec<String> {
        let answer = server.get(&format!("/api/v1/journal?{query}"), &token).await.json();
        let entries = answer["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["text"].as_str().unwrap().trim_start_matches("=line ").to_owned()).collect()
    };
    assert_eq!(texts("service=yard&from=2026-11-21T09:40:00Z&to=2026-11-21T09:45:00Z").await, ["14", "12", "10"]);
    assert_eq!(texts("from=2026-11-21T12:40:00%2B03:00&to=2026-11-21T12:42:00+03:00").await, ["11", "10"]);
    assert_eq!(texts("level=error&limit=3").await, ["50", "40", "30"]);
    let first = server.get("/api/v1/journal?limit=40", &token).await.json();
    let rest = texts(&format!("limit=40&before={}", first["next"])).await;
    assert_eq!((rest.len(), rest[0].as_str()), (20, "19"));

    let page = server.get("/journal?service=yard", &token).await.text();
    assert!(page.contains("=line 58") && !page.contains("=line 59"));
    assert!(page.contains(r#"<option value="house">"#) && page.contains(r#"<option value="yard/camera">"#));
    assert!(page.contains(r#"href="/journal.csv?service=yard""#));
    let older = server.get("/journal", &token).await.text();
    assert!(older.contains("before=11") && older.contains("data-refresh"));
    assert!(!server.get("/journal?before=20", &token).await.text().contains("data-refresh"), "an old page stays still");

    let csv = server.get("/journal.csv?service=yard", &token).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let text = csv.text();
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    assert_eq!((lines.len(), lines[0]), (31, "id,at,service,level,code,text,fields"));
    assert_eq!(lines[1], r#"59,"2026-11-21T10:28:00.000Z","yard/camera","info","test.kept","'=line 58","n=58""#);
}

#[tokio::test]
async fn an_export_is_longer_than_one_page() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    let at = godvision_core::Clock::now(&server.clock);
    let entry = || Entry::new(at, Name::new("yard").unwrap(), Level::Info, "test.kept", "x");
    let appends: Vec<_> = (0..2500).map(|_| server.store.journal().append(entry())).collect();
    futures::future::join_all(appends).await;
    let csv = server.get("/journal.csv", &token).await.text();
    assert_eq!(csv.lines().count(), 2501);
}

#[tokio::test]
async fn an_empty_site_says_what_to_do_next() {
    let server = Server::with(|clock| Site::empty(Arc::new(clock)), WebOptions::default()).await;
    let token = server.token("ada").await;
    for (page, text) in [
        ("/cameras", "--camera yard=rtsp://"),
        ("/clips", "when a camera sees something move"),
        ("/doors", "godvision-server check SITE.toml"),
        ("/journal", "leaves a line here"),
    ] {
        let answer = server.get(page, &token).await.text();
        assert!(answer.contains(text), "{page}: {answer}");
    }
}

#[tokio::test]
async fn what_devices_and_people_say_is_text_not_markup() {
    let evil = r#"<script>alert(1)</script>" onload="x"#;
    let site = |clock| {
        let site = Site::small(Arc::new(clock));
        let mut bad = camera("evil/camera", evil, StreamState::NeedsAttention);
        bad.detail = evil.to_owned();
        site.cameras.lock().unwrap().push(bad);
        site.clips.lock().unwrap()[0].cause = evil.to_owned();
        site.clips.lock().unwrap()[0].id = evil.to_owned();
        let mut bad = door("evil/door", evil, DoorState::Fault);
        bad.detail = evil.to_owned();
        site.doors.lock().unwrap().push(bad);
        site
    };
    let server = Server::with(site, WebOptions::default()).await;
    let token = server.token("ada").await;
    let at = godvision_core::Clock::now(&server.clock);
    let entry = Entry::new(at, Name::new("yard").unwrap(), Level::Info, "test.kept", evil).with("qr", evil);
    server.store.journal().append(entry).await.unwrap();
    let login = format!("/login?next=/{}", "%22%3E%3Cscript%3E");
    for path in PAGES.into_iter().chain(["/nothing/<script>", "/clips?camera=<script>", &login]) {
        let path = path.replace('<', "%3C").replace('>', "%3E");
        let page = if path.starts_with("/login") {
            server.request(Method::GET, &path).send().await.text()
        } else {
            server.get(&path, &token).await.text()
        };
        assert!(!page.contains("<script>"), "{path}: {page}");
        assert!(!page.contains(r#"" onload="#), "{path}");
    }
}

#[tokio::test]
async fn no_page_needs_anything_inline_or_from_elsewhere() {
    let server = Server::start().await;
    let token = server.token("ada").await;
    let login = server.request(Method::GET, "/login").send().await.text();
    let mut pages = vec![("/login", login), ("/nothing", server.get("/nothing", &token).await.text())];
    for page in PAGES {
        pages.push((page, server.get(page, &token).await.text()));
    }
    for (path, page) in pages {
        assert!(page.starts_with("<!doctype html>"), "{path}");
        assert!(!page.contains(" style=") && !page.contains("<style") && !page.contains("javascript:"), "{path}");
        for tag in page.split("<script").skip(1) {
            assert!(tag.starts_with(r#" type="module" src="/assets/"#), "{path}: <script{}", &tag[..40]);
        }
        for attribute in [" src=\"", " href=\""] {
            for target in page.split(attribute).skip(1) {
                let is_ours = target.starts_with("#main") || target.starts_with('/') && !target.starts_with("//");
                assert!(is_ours, "{path}: {}", &target[..30]);
            }
        }
        for asset in page.split("/assets/").skip(1).filter_map(|rest| rest.split('"').next()) {
            let answer = server.request(Method::GET, &format!("/assets/{asset}")).send().await;
            assert_eq!(answer.status, StatusCode::OK, "{asset}");
            let request = server.request(Method::GET, &format!("/assets/{asset}"));
            let again = request.header("if-none-match", answer.header("etag")).send().await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{asset}");
        }
    }
}

#[tokio::test]
async fn metrics_count_the_system_the_journal_and_the_viewers() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    let at = godvision_core::Clock::now(&server.clock);
    let entry = Entry::new(at, Name::new("yard").unwrap(), Level::Info, "test.kept", "x");
    server.store.journal().append(entry).await.unwrap();
    let _viewer = server.live.join(&Name::new("yard/camera").unwrap()).unwrap();
    let metrics = server.get("/metrics", &token).await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = metrics.text();
    for line in [
        "godvision_frames_total{camera=\"yard/camera\"} 90211\n",
        "godvision_journal_entries_total 1\n",
        "godvision_live_viewers{camera=\"yard/camera\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    for line in text.lines() {
        let fine =
            line.starts_with('#') || line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(fine, "{line}");
    }
}
