//! A changed, removed, added or swapped entry of the journal shows, a missing end does against a noted head; the database
//! itself refuses such changes; retention and the upgrade of a journal without hashes keep it verifiable.

mod common;

use std::process::Command;
use std::sync::Arc;

use common::Folder;
use godvision_core::journal::{Entry, Journal, Kept, Level, Query};
use godvision_core::{MonoTime, Name, Stamp, WallTime};
use godvision_server::store::{BreakKind, NotedHead, Store, Verified, verify};
use sqlx::SqlitePool;

const ENTRIES: i64 = 2500;

async fn open(folder: &Folder) -> Store {
    Store::open(folder.path(), None, Arc::new(common::clock())).await.unwrap()
}

fn entry(second: i64, text: &str) -> Entry {
    let at = Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(second));
    Entry::new(at, Name::new("yard/gate").unwrap(), Level::Security, "access.refused", text).with("user", "anna")
}

async fn append(store: &Store, seconds: std::ops::Range<i64>) {
    // So few at once are polled, and so kept, in their order.
    for some in seconds.collect::<Vec<_>>().chunks(25) {
        let all = some.iter().map(|&second| async move {
            store.journal().append(entry(second, &format!("entry of second {second}"))).await.unwrap()
        });
        futures::future::join_all(all).await;
    }
}

async fn filled() -> Folder {
    let folder = Folder::new();
    let store = open(&folder).await;
    append(&store, 0..ENTRIES).await;
    store.close().await;
    folder
}

async fn lines(store: &Store, code: &str) -> Vec<Kept> {
    let lines = store.journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
    lines.into_iter().filter(|line| line.code == code).collect()
}

async fn raw(folder: &Folder) -> SqlitePool {
    SqlitePool::connect(&format!("sqlite://{}", folder.path().join("godvision.db").display())).await.unwrap()
}

/// What somebody does who owns the file: without the triggers.
async fn forged(folder: &Folder, statements: &[&'static str]) {
    let pool = raw(folder).await;
    for trigger in ["journal_is_only_added_to", "journal_is_not_edited", "journal_is_not_cut", "service_is_not_renamed"]
    {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"))).execute(&pool).await.unwrap();
    }
    for statement in statements {
        sqlx::raw_sql(*statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
}

async fn told(folder: &Folder, noted: &[NotedHead]) -> Verified {
    verify(folder.path(), noted, |_| ()).await.unwrap()
}

#[tokio::test]
async fn a_journal_that_nobody_touched_is_right_also_while_it_is_written() {
    let folder = Folder::new();
    let store = open(&folder).await;
    append(&store, 0..ENTRIES).await;
    let head = store.journal().head().await.unwrap();
    let mut steps = Vec::new();
    let verified = verify(folder.path(), &[head.to_string().parse().unwrap()], |n| steps.push(n)).await.unwrap();
    assert_eq!((verified.entries, verified.head, verified.broken), (2500, head, None));
    assert_eq!(steps, [1000, 2000, 2500]);
    // Two programs that write share one chain.
    let other = open(&folder).await;
    append(&other, 0..10).await;
    append(&store, 0..10).await;
    append(&other, 0..10).await;
    let verified = told(&folder, &[head.to_string().parse().unwrap()]).await;
    assert_eq!((verified.entries, verified.broken), (2530, None));
}

#[tokio::test]
async fn every_kind_of_forgery_is_found_where_it_is() {
    let broken = [
        ("UPDATE journal SET text = 'nothing happened' WHERE id = 1200", 1200, BreakKind::Changed),
        ("UPDATE journal SET at = at - 1 WHERE id = 1", 1, BreakKind::Changed),
        ("UPDATE journal SET level = 0 WHERE id = 2500", 2500, BreakKind::Changed),
        ("UPDATE journal SET fields = replace(fields, 'anna', 'otto') WHERE id = 7", 7, BreakKind::Changed),
        ("UPDATE service SET name = 'yard/back' WHERE name = 'yard/gate'", 1, BreakKind::Changed),
        ("UPDATE journal SET code = CAST(X'ff' AS TEXT) WHERE id = 3", 3, BreakKind::Changed),
        ("UPDATE journal SET hash = randomblob(32) WHERE id = 4", 4, BreakKind::Changed),
        ("UPDATE journal SET hash = NULL WHERE id = 5", 5, BreakKind::Unsealed),
        ("DELETE FROM journal WHERE id = 1200", 1200, BreakKind::Missing { to: 1200 }),
        ("DELETE FROM journal WHERE id <= 30", 1, BreakKind::Missing { to: 30 }),
        // A removed entry, with the ids behind it closed up.
        (
            "DELETE FROM journal WHERE id = 2000; UPDATE journal SET id = id - 1 WHERE id > 2000",
            2000,
            BreakKind::Changed,
        ),
        // A swapped pair.
        (
            "UPDATE journal SET id = 9999 WHERE id = 100; UPDATE journal SET id = 100 WHERE id = 101;
             UPDATE journal SET id = 101 WHERE id = 9999",
            100,
            BreakKind::Changed,
        ),
        // An inserted entry: at the end with a hash of nobody's, and in the middle after making room.
        (
            "INSERT INTO journal (at, service, level, code, text, fields, hash)
             SELECT at, service, level, code, 'added', fields, hash FROM journal WHERE id = 2500",
            2501,
            BreakKind::Changed,
        ),
        (
            "UPDATE journal SET id = -id WHERE id > 50; UPDATE journal SET id = 1 - id WHERE id < 0;
             INSERT INTO journal (id, at, service, level, code, text, fields, hash)
             SELECT 51, at, service, level, code, 'added', fields, hash FROM journal WHERE id = 50",
            51,
            BreakKind::Changed,
        ),
        // Nothing follows: only the counter of ids tells.
        ("DELETE FROM journal WHERE id > 2490", 2491, BreakKind::EndMissing { to: 2500 }),
    ];
    let whole = filled().await;
    for (statement, id, kind) in broken {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).unwrap();
        std::fs::copy(whole.path().join("godvision.db"), folder.path().join("godvision.db")).unwrap();
        forged(&folder, &[statement]).await;
        let verified = told(&folder, &[]).await;
        let found = verified.broken.unwrap_or_else(|| panic!("not found: {statement}"));
        assert_eq!((found.id, &found.kind), (id, &kind), "{statement}");
        assert_eq!(verified.entries, id - 1, "what stands before it is right: {statement}");
    }
}

#[tokio::test]
async fn a_missing_end_and_a_new_journal_are_told_by_a_noted_head() {
    let folder = filled().await;
    let store = open(&folder).await;
    let head: NotedHead = store.journal().head().await.unwrap().to_string().parse().unwrap();
    store.close().await;
    let digits: NotedHead = head.to_string().split_once(':').unwrap().1[..32].parse().unwrap();
    assert_eq!(told(&folder, &[head.clone(), digits.clone()]).await.broken, None);

    forged(
        &folder,
        &["DELETE FROM journal WHERE id > 2490; UPDATE sqlite_sequence SET seq = 2490 WHERE name = 'journal'"],
    )
    .await;
    assert_eq!(told(&folder, &[]).await.broken, None, "a careful hand leaves no trace in the file");
    for noted in [&head, &digits] {
        let broken = told(&folder, std::slice::from_ref(noted)).await.broken.unwrap();
        assert_eq!(broken.kind, BreakKind::NotNoted(noted.clone()));
    }
    // Written on: the ids are used again, the hash is not there.
    let store = open(&folder).await;
    append(&store, 5000..5020).await;
    store.close().await;
    assert_eq!(told(&folder, &[]).await.broken, None);
    assert_eq!(told(&folder, std::slice::from_ref(&head)).await.broken.unwrap().kind, BreakKind::NotNoted(head));
}

#[tokio::test]
async fn the_database_refuses_what_is_no_addition() {
    let folder = filled().await;
    let pool = raw(&folder).await;
    for statement in [
        "UPDATE journal SET text = 'x' WHERE id = 5",
        "UPDATE journal SET hash = zeroblob(32) WHERE id = 5",
        "DELETE FROM journal",
        "DELETE FROM journal WHERE id = 2500",
        "INSERT OR REPLACE INTO journal (id, at, service, level, code, text, fields, hash) VALUES (5, 0, 1, 0, '', '', '', zeroblob(32))",
        "INSERT INTO journal (at, service, level, code, text, fields) VALUES (0, 1, 0, '', '', '[]')",
        "UPDATE journal_anchor SET id = 5, hash = zeroblob(32)",
        "UPDATE journal_anchor SET id = 0",
        "DELETE FROM journal_anchor",
        "UPDATE service SET name = 'x'",
    ] {
        assert!(sqlx::raw_sql(statement).execute(&pool).await.is_err(), "{statement}");
    }
    assert_eq!(told(&folder, &[]).await.broken, None);
}

#[tokio::test]
async fn retention_removes_the_oldest_and_the_rest_is_still_right() {
    let folder = filled().await;
    let store = open(&folder).await;
    let head = store.journal().head().await.unwrap();
    assert_eq!(store.journal().retire(WallTime::from_unix_seconds(2100)).await.unwrap(), 2100);
    assert_eq!(store.journal().retire(WallTime::from_unix_seconds(2100)).await.unwrap(), 0);
    append(&store, 2500..2600).await;
    let verified = told(&folder, &[head.to_string().parse().unwrap()]).await;
    assert_eq!((verified.entries, verified.anchor.id, verified.broken), (500, 2100, None));
    // The anchor itself may have been noted; what lies before it is gone, and that is said.
    assert_eq!(told(&folder, &[verified.anchor.to_string().parse().unwrap()]).await.broken, None);
    let gone: NotedHead = format!("7:{}", "a".repeat(64)).parse().unwrap();
    assert_eq!(told(&folder, std::slice::from_ref(&gone)).await.broken.unwrap().kind, BreakKind::NotedRemoved(gone));
    let old = Query { to: Some(WallTime::from_unix_seconds(2100)), ..Query::default() };
    assert!(store.journal().query(old).await.unwrap().is_empty());
    let left = Query { from: Some(WallTime::from_unix_seconds(2100)), ..Query::default() };
    assert_eq!(store.journal().query(left).await.unwrap().len(), 50);
    // The newest stays, whatever its age: the chain goes on from it.
    assert_eq!(store.journal().retire(WallTime::from_unix_seconds(9999)).await.unwrap(), 499);
    append(&store, 2600..2601).await;
    let verified = told(&folder, &[]).await;
    assert_eq!((verified.entries, verified.head.id, verified.broken), (2, 2601, None));
}

#[tokio::test]
async fn entries_of_a_version_without_hashes_are_sealed_by_the_first_start() {
    let folder = filled().await;
    // Back to what an earlier version left.
    forged(
        &folder,
        &["DROP TRIGGER journal_anchor_moves_on; DROP TRIGGER journal_anchor_stays; DROP TABLE journal_anchor;
             DROP INDEX journal_unsealed; ALTER TABLE journal DROP COLUMN hash;
             DELETE FROM _sqlx_migrations WHERE version = 4"],
    )
    .await;
    let error = verify(folder.path(), &[], |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("start the server once"), "{error}");
    let store = open(&folder).await;
    append(&store, 0..10).await;
    let verified = told(&folder, &[]).await;
    assert_eq!((verified.entries, verified.broken), (2511, None));
    let sealed = lines(&store, "journal.sealed").await;
    assert_eq!(sealed.len(), 1);
    assert_eq!(sealed[0].level, Level::Security);
    assert!(sealed[0].fields.contains(&("entries".to_owned(), "2500".to_owned())), "{:?}", sealed[0].fields);
    store.close().await;
    // Once: the next start has nothing to say.
    let store = open(&folder).await;
    assert_eq!(lines(&store, "journal.sealed").await.len(), 1);
    store.close().await;
    forged(&folder, &["UPDATE journal SET text = 'x' WHERE id = 17"]).await;
    assert_eq!(told(&folder, &[]).await.broken.unwrap().id, 17);
}

#[tokio::test]
async fn sealing_that_was_cut_off_goes_on_at_the_next_start() {
    let folder = filled().await;
    let triggers = "SELECT sql || ';' FROM sqlite_schema WHERE type = 'trigger'";
    let pool = raw(&folder).await;
    let triggers: Vec<String> = sqlx::query_scalar(triggers).fetch_all(&pool).await.unwrap();
    pool.close().await;
    // As the upgrade leaves it after its first thousand.
    let halfway = "UPDATE journal SET hash = NULL WHERE id > 1000;
         INSERT INTO setting (key, value) VALUES ('journal.sealing', '')";
    forged(&folder, &[halfway]).await;
    let pool = raw(&folder).await;
    for trigger in triggers.iter().filter(|sql| !sql.contains("anchor_")) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger.clone())).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let store = open(&folder).await;
    let verified = told(&folder, &[]).await;
    assert_eq!((verified.entries, verified.broken), (2501, None));
    assert_eq!(lines(&store, "journal.sealed").await.len(), 1);
}

#[tokio::test]
async fn a_start_does_not_seal_what_somebody_unsealed() {
    let statements = [
        "UPDATE journal SET text = 'x' WHERE id = 1200; UPDATE journal SET hash = NULL WHERE id >= 1200",
        "UPDATE journal SET text = 'x', hash = NULL WHERE id = 1200",
    ];
    for statement in statements {
        let folder = filled().await;
        forged(&folder, &[statement]).await;
        let store = open(&folder).await;
        append(&store, 0..10).await;
        let told_of = lines(&store, "journal.unsealed").await;
        assert_eq!((told_of.len(), told_of[0].level), (1, Level::Error), "{statement}");
        assert!(told_of[0].text.contains("1200") && told_of[0].text.contains("verify"), "{}", told_of[0].text);
        store.close().await;
        let broken = told(&folder, &[]).await.broken.unwrap();
        assert_eq!((broken.id, broken.kind), (1200, BreakKind::Unsealed), "{statement}");
    }
}

#[tokio::test]
async fn the_command_says_it_with_its_exit_code() {
    let folder = filled().await;
    let run = |head: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godvision-server"));
        command.arg("verify").arg("--data").arg(folder.path());
        if !head.is_empty() {
            command.args(["--head", head]);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = run("");
    assert_eq!(code, Some(0), "{text}");
    let head = text.lines().find_map(|line| line.split("the last of them is ").nth(1)).unwrap().to_owned();
    assert!(text.contains("2500 entries are what was written") && head.starts_with("2500:"), "{text}");
    assert_eq!(run(&head).0, Some(0));
    assert_eq!(run(&"ab".repeat(32)).0, Some(1));
    assert_eq!(run("nonsense").0, Some(2));
    forged(&folder, &["UPDATE journal SET text = 'x' WHERE id = 2400"]).await;
    let (code, text) = run("");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("NOT RIGHT: entry 2400") && text.contains("1970-01-01T00:39:59"), "{text}");
    let nowhere = Command::new(env!("CARGO_BIN_EXE_godvision-server")).args(["verify", "--data", "/nowhere"]).output();
    assert_eq!(nowhere.unwrap().status.code(), Some(2));
}
