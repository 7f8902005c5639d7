//! The faces cabinet: enrolment with consent, photos that do not serve, forgetting, strangers with a name, a search by a
//! photo; sealed on the disk.

mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Folder, Server, clock, enrolled, portrait, sighting, stranger};
use godvision_core::{Clock, Name};
use godvision_server::store::{ENROL_PHOTOS_MAX, FACES_FILE, SightingQuery, Store, StoreError};
use godvision_vision::face::history::Seen;

fn body(person: &str, list: &str, words: &str, photos: &[&[u8]]) -> String {
    let photos: Vec<String> = photos.iter().map(|photo| STANDARD.encode(photo)).collect();
    serde_json::json!({"person": person, "list": list, "words": words, "photos": photos}).to_string()
}

#[tokio::test]
async fn who_is_enrolled_is_known_after_a_restart_and_nothing_lies_in_clear() {
    let folder = Folder::new();
    let open = async || Store::open(folder.path(), None, Arc::new(clock())).await;
    let store = open().await.unwrap();
    enrolled(&store, "eileen").await;
    let group = store.faces().group_name(1);
    store.close().await;
    let store = open().await.unwrap();
    let persons = store.faces().persons();
    assert_eq!((persons.len(), persons[0].name.as_str(), persons[0].statement.text()), (1, "eileen", "agreed"));
    assert_ne!(store.faces().group_name(1), group, "groups of another run are others");
    let picture = store.faces().portrait(&persons[0].name).await.unwrap().unwrap();
    assert!(picture.starts_with(b"\xff\xd8") && picture.len() < 64 * 1024);
    let face = store.faces().look(portrait()).await.unwrap();
    let found = store.faces().memory().gallery().read(|gallery| gallery.find(&face, &mut Default::default())).unwrap();
    assert!(found.allow.is_some_and(|it| it.similarity > 0.99), "she is recognised");
    store.close().await;

    let vault = std::fs::read(folder.path().join(FACES_FILE)).unwrap();
    let numbers: Vec<u8> = face.values()[..4].iter().flat_map(|value| value.to_le_bytes()).collect();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in [&b"eileen"[..], &numbers, &picture[200..232]] {
            // The secret's name says whose picture is sealed under it, as the sightings' subjects do.
            let is_name = secret == b"eileen";
            assert!(is_name || !bytes.windows(secret.len()).any(|part| part == secret));
        }
    }
    assert!(!vault.windows(6).any(|part| part == b"eileen"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join(FACES_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "its owner's alone");
    }
    // One changed bit is told, not read over.
    let mut changed = vault;
    let last = changed.len() - 1;
    changed[last] ^= 1;
    std::fs::write(folder.path().join(FACES_FILE), changed).unwrap();
    let refused = open().await;
    assert!(matches!(&refused, Err(StoreError::File { detail, .. }) if detail.contains("key")), "it is refused");
}

#[tokio::test]
async fn each_photo_that_does_not_serve_says_why_and_consent_must_have_words() {
    let server = Server::start().await;
    let ada = server.token("ada").await;
    let post = async |body: String| server.request(Method::POST, "/api/v1/faces").token(&ada).json(body).send().await;
    let good = portrait();
    let mut empty = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(320, 240, image::Rgb([90, 120, 90]))
        .write_to(&mut empty, image::ImageFormat::Jpeg)
        .unwrap();
    let empty = empty.into_inner();
    let mut small = std::io::Cursor::new(Vec::new());
    image::load_from_memory(&good)
        .unwrap()
        .resize(110, 110, image::imageops::FilterType::Triangle)
        .into_rgb8()
        .write_to(&mut small, image::ImageFormat::Jpeg)
        .unwrap();

    let none = post(body("eileen", "allow", "agreed", &[&empty, b"no photo", small.get_ref()])).await.json();
    assert!(none["person"].is_null(), "{none}");
    let codes: Vec<&str> = none["photos"].as_array().unwrap().iter().filter_map(|it| it["code"].as_str()).collect();
    assert_eq!(codes[..2], ["no_face", "no_photo"], "{none}");
    assert!(none["photos"].as_array().unwrap().iter().all(|it| it["why"].as_str().is_some_and(|why| !why.is_empty())));
    for (refused, code) in [
        (body("eileen", "allow", " ", &[&good]), "bad_words"),
        (body("eileen", "allow", &"x".repeat(1001), &[&good]), "bad_words"),
        (body("ei leen", "allow", "agreed", &[&good]), "bad_person"),
        (body("eileen", "friends", "agreed", &[&good]), "bad_list"),
        (body("eileen", "allow", "agreed", &[]), "bad_photos"),
        (body("eileen", "allow", "agreed", &[&good[..]; ENROL_PHOTOS_MAX + 1]), "bad_photos"),
    ] {
        let answer = post(refused).await;
        assert_eq!((answer.status, &*answer.code()), (StatusCode::BAD_REQUEST, code));
    }
    assert!(server.store.faces().persons().is_empty(), "nobody was enrolled by any of them");

    let some = post(body("eileen", "allow", "agreed to it", &[&empty, &good, &good])).await.json();
    assert_eq!((&some["person"]["person"], &some["person"]["photos"]), (&"eileen".into(), &1.into()), "{some}");
    assert_eq!(some["person"]["words"], "agreed to it (recorded by ada)");
    let taken: Vec<_> = some["photos"].as_array().unwrap().iter().map(|it| it["code"].as_str()).collect();
    assert_eq!(taken, [Some("no_face"), None, Some("same_picture")], "{some}");
    let again = post(body("eileen", "watch", "why not", &[&good])).await;
    assert_eq!((again.status, &*again.code()), (StatusCode::BAD_REQUEST, "bad_person"), "on one list only");
    let large = post("x".repeat(17 << 20)).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);

    let page = server.get("/faces", &ada).await.text();
    assert!(page.contains(r#"src="/api/v1/faces/eileen/photo""#) && page.contains("agreed to it"), "{page}");
    assert!(server.get("/faces?search=EIL", &ada).await.text().contains("agreed to it"));
    assert!(server.get("/faces?search=bob", &ada).await.text().contains("Nobody of that name"));
    let photo = server.get("/api/v1/faces/eileen/photo", &ada).await;
    assert_eq!((photo.header("content-type"), photo.header("cache-control")), ("image/jpeg", "no-store"));
    let journal = server.get("/api/v1/journal?service=web&level=security", &ada).await.text();
    assert!(journal.contains("ada enrolled the face of eileen on the list allow"), "{journal}");
}

#[tokio::test]
async fn who_is_forgotten_leaves_a_record_and_nothing_else() {
    let server = Server::start().await;
    let ada = server.token("ada").await;
    enrolled(&server.store, "eileen").await;
    for (kind, subject) in [("face", "eileen"), ("face", "bob"), ("stranger", "eileen")] {
        server.store.sightings().keep(sighting("yard/camera", kind, Some(subject), 0)).await.unwrap();
    }
    let face = server.store.faces().look(portrait()).await.unwrap();
    let camera = || Name::new("yard/camera").unwrap();
    let seen = Seen { at: Clock::now(&server.clock), camera: camera(), sequence: 7 };
    server.store.faces().memory().history(|history| history.add(&face, seen)).unwrap();
    let search = async || {
        let request = server.request(Method::POST, "/api/v1/face-search").token(&ada);
        request.header("content-type", "image/jpeg").raw(portrait()).send().await
    };
    let found = search().await.json();
    assert_eq!(found["found"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&found["found"][0]["camera"], found["found"][0]["sighting"].is_u64()), (&"yard/camera".into(), true));

    let forget = async |body: &str| {
        let request = server.request(Method::DELETE, "/api/v1/faces/eileen").token(&ada);
        request.json(body).send().await
    };
    assert_eq!(forget(r#"{"why": ""}"#).await.code(), "bad_words");
    let forgotten = forget(r#"{"why": "moved away"}"#).await.json();
    assert_eq!(forgotten, serde_json::json!({"photos": 1, "history_faces": 1, "sightings": 1}));
    assert_eq!(forget(r#"{"why": "moved away"}"#).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/api/v1/faces/eileen/photo", &ada).await.status, StatusCode::NOT_FOUND);
    assert_eq!(search().await.json()["found"].as_array().map(Vec::len), Some(0), "the history forgot her too");
    let left = SightingQuery { limit: 10, ..SightingQuery::default() };
    assert_eq!(server.store.sightings().list(&left).await.unwrap().len(), 2, "what is of others stays");
    let list = server.get("/api/v1/faces", &ada).await.json();
    assert_eq!((&list["persons"], &list["forgotten"][0]["why"]), (&serde_json::json!([]), &"moved away".into()));
    let journal = server.get("/api/v1/journal?service=web&level=security", &ada).await.text();
    assert!(journal.contains("ada forgot the face of eileen") && journal.contains("searched the faces"), "{journal}");
}

#[tokio::test]
async fn a_stranger_is_given_a_name_or_forgotten() {
    let server = Server::start().await;
    let ada = server.token("ada").await;
    let group = stranger(&server.store);
    let name = server.store.faces().group_name(group);
    let id = server.store.sightings().keep(sighting("yard/camera", "stranger", Some(&name), 0)).await.unwrap();
    // A group of an earlier run has the same number and another name.
    server.store.sightings().keep(sighting("yard/camera", "stranger", Some("#0-1"), 0)).await.unwrap();
    let list = server.get("/api/v1/strangers", &ada).await.json();
    assert_eq!(list["strangers"][0]["sightings"], serde_json::json!([id]), "{list}");
    assert!(server.get("/faces", &ada).await.text().contains(&format!("/api/v1/sightings/{id}/crop")));
    let put = async |group: &str, body: &str| {
        server.request(Method::PUT, &format!("/api/v1/strangers/{group}")).token(&ada).json(body).send().await
    };
    let group = group.to_string();
    assert_eq!(put(&group, r#"{"person": "zoe", "words": ""}"#).await.code(), "bad_words");
    assert_eq!(put("77", r#"{"person": "zoe", "words": "agreed"}"#).await.status, StatusCode::NOT_FOUND);
    assert_eq!(put("x", r#"{"person": "zoe", "words": "agreed"}"#).await.status, StatusCode::NOT_FOUND);
    let named = put(&group, r#"{"person": "zoe", "words": "agreed"}"#).await.json();
    assert_eq!((&named["person"], &named["list"]), (&"zoe".into(), &"allow".into()));
    assert_eq!(server.get("/api/v1/faces/zoe/photo", &ada).await.status, StatusCode::OK, "her sighting's picture");
    assert!(server.get("/api/v1/strangers", &ada).await.json()["strangers"].as_array().unwrap().is_empty());

    let group = stranger(&server.store);
    let path = format!("/api/v1/strangers/{group}");
    let name = server.store.faces().group_name(group);
    server.store.sightings().keep(sighting("yard/camera", "stranger", Some(&name), 0)).await.unwrap();
    let forgotten = server.request(Method::DELETE, &path).token(&ada).send().await;
    assert_eq!(forgotten.json()["sightings"], 1);
    assert_eq!(server.request(Method::DELETE, &path).token(&ada).send().await.status, StatusCode::NOT_FOUND);
}
