//! Canaries: a password, a token and a camera's secret are looked for in the data folder's bytes, in every answer, and in
//! everything that was logged.

mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use common::log::Log;
use common::{PASSWORD, Server};
use godvision_core::Secret;
use godvision_core::journal::{Journal, Query};
use godvision_server::store::{DATABASE_FILE, KEY_FILE, SECRET_BYTES_MAX, Store, StoreError};
use godvision_server::web::route::routes;
use godvision_server::web::system::System;

const CAMERA_SECRET: &str = "canary-of-the-camera-7f3a";
const PIN: &str = "314159265358";

fn holds(bytes: &[u8], canary: &str) -> bool {
    bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
}

#[tokio::test]
async fn not_in_the_folder_the_answers_or_the_log() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let mut server = Server::start().await;
    server.store.secrets().put("yard/camera", &Secret::from(CAMERA_SECRET)).await.unwrap();
    let body = format!(r#"{{"name": "ada", "password": "{PASSWORD}"}}"#);
    let login = server.request(Method::POST, "/api/v1/login").json(body).send().await;
    let token = Secret::from(login.json()["token"].as_str().unwrap());
    // A password typed for a name, a broken body, a wrong password: the ways a canary gets into errors.
    for body in [
        format!(r#"{{"name": "{PASSWORD}", "password": "x"}}"#),
        format!(r#"{{"name": "ada", "password": "{PASSWORD}""#),
        format!(r#"{{"name": 7, "password": "{PASSWORD}"}}"#),
        format!(r#"{{"name": "ada", "password": "{PASSWORD}-not-quite"}}"#),
    ] {
        let answer = server.request(Method::POST, "/api/v1/login").json(body).send().await;
        assert!(answer.status.is_client_error());
        assert!(!holds(&answer.body, PASSWORD), "{}", answer.text());
    }
    for route in routes().into_iter().filter(|route| route.method == Method::GET) {
        let path = route.path.replace("{id}", "yard%2F1").replace("{name}", "app.js");
        let answer = server.get(&path, &token).await;
        for canary in [PASSWORD, CAMERA_SECRET, token.expose()] {
            assert!(!holds(&answer.body, canary), "{path}");
        }
    }
    // A PIN typed at a keypad on a page: into its reader, which nobody drives, and nowhere else.
    let keypad = "keypad/front".parse().unwrap();
    server.site.add_keypad(&keypad, &"house/front".parse().unwrap()).await.unwrap();
    let link = server.store.keypads().renew(&keypad, "ada").await.unwrap().token;
    let path = format!("/keypad/{}", link.expose());
    for body in [PIN.to_owned(), format!("{PIN}x"), PIN.repeat(9)] {
        let answer = server.request(Method::POST, &path).raw(body).send().await;
        assert!(answer.status != StatusCode::NOT_FOUND && !holds(&answer.body, PIN), "{}", answer.text());
    }
    let page = server.request(Method::GET, &path).send().await;
    assert!(page.status == StatusCode::OK && !holds(&page.body, link.expose()), "a page does not repeat its link");
    let entries = server.store.journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
    assert!(!entries.is_empty());
    assert!([PASSWORD, PIN, link.expose()].iter().all(|canary| !format!("{entries:?}").contains(canary)));
    server.store.secrets().get("yard/camera").await.unwrap().expect("it is kept");
    server.stop().await;

    let mut files = 0;
    let key = std::fs::read_to_string(server.folder.path().join(KEY_FILE)).unwrap();
    for file in std::fs::read_dir(server.folder.path()).unwrap() {
        let file = file.unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        for canary in [PASSWORD, CAMERA_SECRET, token.expose(), PIN, link.expose()] {
            assert!(!holds(&bytes, canary), "{:?}", file.file_name());
        }
        assert!(file.file_name() == KEY_FILE || !holds(&bytes, key.trim()), "{:?} holds the key", file.file_name());
        // The check can find something: the user's name is in clear.
        files += usize::from(holds(&bytes, "vera"));
    }
    assert!(files > 0);
    let log = log.text();
    for canary in [PASSWORD, CAMERA_SECRET, token.expose(), key.trim(), PIN, link.expose()] {
        assert!(!log.contains(canary));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start().await;
    let mode = |name: &str| {
        let path = server.folder.path().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("."), 0o700);
    for file in [DATABASE_FILE, KEY_FILE, "godvision.db-wal", "godvision.db-shm"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[tokio::test]
async fn sealed_secrets_open_with_their_key_and_name_only() {
    let (folder, clock) = (common::Folder::new(), Arc::new(common::clock()));
    let key = Secret::from("0123456789abcdef".repeat(4));
    let open = async |key: Option<&Secret>| Store::open(folder.path(), key, clock.clone()).await;
    let store = open(Some(&key)).await.unwrap();
    assert!(!folder.path().join(KEY_FILE).exists(), "the environment's key makes no file");
    let secrets = store.secrets();
    assert_eq!(secrets.get("relay").await.unwrap(), None);
    for text in ["", "a", "пароль", &"x".repeat(SECRET_BYTES_MAX)] {
        secrets.put("relay", &Secret::from(text)).await.unwrap();
        assert_eq!(secrets.get("relay").await.unwrap(), Some(Secret::from(text)));
    }
    let long = Secret::from("x".repeat(SECRET_BYTES_MAX + 1));
    assert!(matches!(secrets.put("relay", &long).await, Err(StoreError::LongSecret)));
    store.close().await;

    let raw =
        sqlx::SqlitePool::connect(&format!("sqlite://{}", folder.path().join(DATABASE_FILE).display())).await.unwrap();
    sqlx::query("INSERT INTO secret SELECT 'moved', nonce, sealed FROM secret WHERE name = 'relay'")
        .execute(&raw)
        .await
        .unwrap();
    raw.close().await;
    let store = open(Some(&key)).await.unwrap();
    assert!(store.secrets().get("relay").await.unwrap().is_some());
    assert!(matches!(store.secrets().get("moved").await, Err(StoreError::Sealed { .. })));
    let other = Secret::from("f".repeat(64));
    let stranger = open(Some(&other)).await.unwrap();
    assert!(matches!(stranger.secrets().get("relay").await, Err(StoreError::Sealed { .. })));
    assert!(matches!(open(Some(&Secret::from("short"))).await, Err(StoreError::BadKey)));
    store.secrets().remove("relay").await.unwrap();
    assert_eq!(store.secrets().get("relay").await.unwrap(), None);
}

#[tokio::test]
async fn the_key_file_opens_the_secrets_again() {
    let (folder, clock) = (common::Folder::new(), Arc::new(common::clock()));
    let store = Store::open(folder.path(), None, clock.clone()).await.unwrap();
    store.secrets().put("ftp", &Secret::from(CAMERA_SECRET)).await.unwrap();
    store.close().await;
    let store = Store::open(folder.path(), None, clock).await.unwrap();
    assert_eq!(store.secrets().get("ftp").await.unwrap(), Some(Secret::from(CAMERA_SECRET)));
}

#[tokio::test]
async fn answers_are_not_kept_by_browsers_or_shown_in_frames() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    for path in ["/cameras", "/api/v1/cameras", "/nothing", "/api/v1/nothing", "/login"] {
        let answer = server.get(path, &token).await;
        assert_eq!((path, answer.header("cache-control")), (path, "no-store"));
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
