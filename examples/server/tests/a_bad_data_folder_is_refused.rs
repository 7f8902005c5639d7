//! What is wrong with a data folder is told before anything runs, and a database that fails later locks nobody out.

mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use common::{Folder, Server};
use godvision_server::store::{DATABASE_FILE, KEY_FILE, Store, StoreError};

async fn open(folder: &Folder) -> Result<Store, StoreError> {
    Store::open(folder.path(), None, Arc::new(common::clock())).await
}

#[tokio::test]
async fn a_file_where_the_folder_should_be() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let refused = Store::open(&file, None, Arc::new(common::clock())).await.err().expect("it is a file");
    assert!(refused.to_string().contains(&*file.display().to_string()), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    std::fs::write(folder.path().join(DATABASE_FILE), "this is no database. ".repeat(500)).unwrap();
    let refused = open(&folder).await.err().expect("it is no database");
    let cause = std::error::Error::source(&refused).map(ToString::to_string);
    assert!(cause.is_some_and(|cause| cause.contains("not a database")), "{refused:?}");
}

#[tokio::test]
async fn a_key_that_was_damaged() {
    let folder = Folder::new();
    open(&folder).await.unwrap().close().await;
    std::fs::write(folder.path().join(KEY_FILE), "0123").unwrap();
    assert!(matches!(open(&folder).await, Err(StoreError::BadKey)));
}

#[tokio::test]
async fn a_database_of_a_newer_version() {
    let folder = Folder::new();
    open(&folder).await.unwrap().close().await;
    let raw = raw(&folder).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9000, 'x', 1, x'00', 0)",
    )
    .execute(&raw)
    .await
    .unwrap();
    raw.close().await;
    assert!(matches!(open(&folder).await, Err(StoreError::Schema(_))));
}

async fn raw(folder: &Folder) -> sqlx::SqlitePool {
    let path = folder.path().join(DATABASE_FILE);
    sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn a_full_disk_locks_nobody_out_and_nobody_in_unseen() {
    let server = Server::start().await;
    let token = server.token("ada").await;
    let raw = raw(&server.folder).await;
    for (event, table) in [("UPDATE", "session"), ("INSERT", "session"), ("INSERT", "journal"), ("INSERT", "setting")] {
        let sql = format!(
            "CREATE TRIGGER full_{event}_{table} BEFORE {event} ON {table} BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&raw).await.unwrap();
    }
    server.clock.advance(Duration::from_secs(3600));
    for path in ["/cameras", "/clips", "/doors", "/journal", "/api/v1/session"] {
        assert_eq!(server.get(path, &token).await.status, StatusCode::OK, "{path}");
    }
    let body = format!(r#"{{"name": "ada", "password": "{}"}}"#, common::PASSWORD);
    let login = server.request(Method::POST, "/api/v1/login").json(body).send().await;
    assert_eq!((login.status, &*login.code()), (StatusCode::INTERNAL_SERVER_ERROR, "inside"));
    assert!(!login.headers.contains_key("set-cookie"), "no session without a line in the journal");
    assert!(!login.text().contains("disk is full"), "causes are for the log");
    let switch = server.request(Method::PUT, "/api/v1/cameras/yard%2Fcamera/detection").token(&token);
    assert_eq!(switch.json(r#"{"on": false}"#).send().await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(server.site.cameras.lock().unwrap()[0].detection, "what cannot be kept does not act");
}
