//! What was acknowledged is there after kill -9, in order, once; one commit carries many; pages agree with the plain
//! specification, which is the journal in memory.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::Folder;
use godvision_core::journal::{Entry, Journal, JournalError, Level, MemoryJournal, Query};
use godvision_core::{MonoTime, Name, Stamp, WallTime};
use godvision_server::store::{BATCH_ROWS_MAX, QUEUE_ROWS_MAX, Store, TEXT_BYTES_MAX, verify};
use proptest::prelude::*;

const CHILD_FOLDER: &str = "GODVISION_TEST_JOURNAL_FOLDER";

fn entry(second: i64, service: &str, level: Level, text: &str) -> Entry {
    let at = Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(second));
    Entry::new(at, Name::new(service).unwrap(), level, "test.kept", text)
}

async fn open(folder: &Folder) -> Store {
    Store::open(folder.path(), None, Arc::new(common::clock())).await.unwrap()
}

/// Not a test of its own: what the killed process runs. Without the folder in the environment it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let store = Store::open(folder.as_ref(), None, Arc::new(common::clock())).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let journal = store.journal().clone();
        writers.spawn(async move {
            for number in 0.. {
                let text = format!("{writer}:{number}");
                let id = journal.append(entry(number, "house/front", Level::Security, &text)).await.unwrap();
                // Told only after the acknowledgement: whatever the parent reads must be found later.
                writeln!(std::io::stdout(), "acknowledged {id} {text}").unwrap();
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_in_a_kill() {
    const KILLS: usize = 8;
    let folder = Folder::new();
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let parse = |line: String| {
            // The test runner's own words may share the first line.
            let (id, text) = line.split_once("acknowledged ")?.1.split_once(' ')?;
            Some((id.parse::<u64>().ok()?, text.to_owned()))
        };
        let wanted = 40 + 37 * kill;
        acknowledged.extend(lines.by_ref().filter_map(parse).take(wanted));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts too, but for a line cut in its middle.
        let rest: Vec<_> = lines.filter_map(parse).collect();
        acknowledged.extend(rest.into_iter().rev().skip(1));
    }
    assert!(acknowledged.len() >= KILLS * 40);

    let store = open(&folder).await;
    let mut kept = std::collections::HashMap::new();
    let mut before_id = None;
    loop {
        let query = Query { before_id, limit: Query::LIMIT_MAX, ..Query::default() };
        let page = store.journal().query(query).await.unwrap();
        let Some(last) = page.last() else { break };
        before_id = Some(last.id);
        for entry in page {
            assert!(kept.insert(entry.id, entry.text).is_none(), "an id was used twice");
        }
    }
    for (id, text) in &acknowledged {
        assert_eq!(kept.get(id), Some(text), "entry {id} was acknowledged");
    }
    let next = store.journal().append(entry(0, "a", Level::Info, "after")).await.unwrap();
    assert!(next > *kept.keys().max().unwrap());
    assert_eq!(verify(folder.path(), &[], |_| ()).await.unwrap().broken, None, "and the chain was never cut");
}

#[tokio::test]
async fn a_second_connection_sees_what_was_acknowledged_before_the_first_closes() {
    let folder = Folder::new();
    let first = open(&folder).await;
    let id = first.journal().append(entry(1, "yard/camera", Level::Info, "kept").with("frames", 355)).await.unwrap();
    let second = open(&folder).await;
    let found = second.journal().query(Query::default()).await.unwrap();
    assert_eq!((found.len(), found[0].id, found[0].text.as_str()), (1, id, "kept"));
    assert_eq!(found[0].fields, [("frames".to_owned(), "355".to_owned())]);
    let next = second.journal().append(entry(1, "yard/camera", Level::Info, "two writers")).await.unwrap();
    let third = first.journal().append(entry(1, "yard/camera", Level::Info, "share the ids")).await.unwrap();
    assert!(id < next && next < third);
}

#[tokio::test]
async fn one_commit_carries_many_and_ids_are_handed_out_right() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let count = 4 * BATCH_ROWS_MAX;
    let appends = (0..count).map(|n| {
        let journal = store.journal().clone();
        async move { (journal.append(entry(n as i64, "a", Level::Info, &n.to_string())).await.unwrap(), n.to_string()) }
    });
    let answered = futures::future::join_all(appends).await;
    let commits = store.journal().commits();
    assert!(commits >= 4 && commits < count as u64 / 8, "{commits} commits for {count} entries");
    let limit = Query::LIMIT_MAX;
    let kept = store.journal().query(Query { limit, ..Query::default() }).await.unwrap();
    for (id, text) in answered.into_iter().skip(count - limit) {
        assert_eq!(kept.iter().find(|entry| entry.id == id).map(|entry| &entry.text), Some(&text));
    }
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait_and_loses_nothing() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let count = QUEUE_ROWS_MAX + 1000;
    let appends = (0..count).map(|n| store.journal().append(entry(n as i64, "a", Level::Info, "x")));
    let ids: std::collections::BTreeSet<u64> =
        futures::future::join_all(appends).await.into_iter().map(|id| id.unwrap()).collect();
    assert_eq!((ids.len(), store.journal().entries()), (count, count as u64));
}

#[tokio::test]
async fn closing_writes_what_waits_and_then_refuses() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let journal = store.journal().clone();
    let waiting: Vec<_> = (0..300).map(|n| journal.append(entry(n, "a", Level::Info, "x"))).collect();
    let (answers, ()) = tokio::join!(futures::future::join_all(waiting), store.close());
    let kept = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(matches!(journal.append(entry(0, "a", Level::Info, "late")).await, Err(JournalError::Closed)));
    let again = open(&folder).await;
    assert_eq!(again.journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap().len(), kept);
}

#[tokio::test]
async fn long_texts_are_cut_between_characters() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let long = "дверь ".repeat(TEXT_BYTES_MAX);
    store.journal().append(entry(0, "a", Level::Info, &long).with("value", &long)).await.unwrap();
    let kept = store.journal().query(Query::default()).await.unwrap();
    for text in [&kept[0].text, &kept[0].fields[0].1] {
        assert!(text.len() <= TEXT_BYTES_MAX && text.len() > TEXT_BYTES_MAX - 8 && text.ends_with('…'));
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_an_error_and_the_journal_goes_on() {
    let folder = Folder::new();
    let store = open(&folder).await;
    store.journal().append(entry(0, "a", Level::Info, "before")).await.unwrap();
    let raw =
        sqlx::SqlitePool::connect(&format!("sqlite://{}", folder.path().join("godvision.db").display())).await.unwrap();
    sqlx::query("CREATE TRIGGER full BEFORE INSERT ON journal BEGIN SELECT RAISE(FAIL, 'disk is full'); END")
        .execute(&raw)
        .await
        .unwrap();
    let failed = store.journal().append(entry(1, "b", Level::Security, "lost")).await;
    assert!(matches!(&failed, Err(JournalError::Store { detail }) if detail.contains("disk is full")), "{failed:?}");
    sqlx::query("DROP TRIGGER full").execute(&raw).await.unwrap();
    store.journal().append(entry(2, "b", Level::Security, "after")).await.unwrap();
    let texts: Vec<String> =
        store.journal().query(Query::default()).await.unwrap().into_iter().map(|entry| entry.text).collect();
    assert_eq!(texts, ["after", "before"]);
}

const SERVICES: [&str; 7] =
    ["yard", "yard/camera", "yard/gate/camera", "yardstick", "yard0", "house/front", "Двор/камера"];
const LEVELS: [Level; 4] = [Level::Info, Level::Warning, Level::Error, Level::Security];

fn any_entry() -> impl Strategy<Value = Entry> {
    // Around an hour's end, before 1970 too, and not in order: clocks are set back.
    (-9000_i64..9000, 0..SERVICES.len(), 0..4_usize)
        .prop_map(|(s, service, l)| entry(s, SERVICES[service], LEVELS[l], "x"))
}

fn any_query() -> impl Strategy<Value = Query> {
    let service = prop::option::of(prop::sample::select(&SERVICES[..]).prop_map(|it| Name::new(it).unwrap()));
    let moment = || prop::option::of((-9000_i64..9000).prop_map(WallTime::from_unix_seconds));
    let level = prop::option::of(prop::sample::select(&LEVELS[..]));
    (service, moment(), moment(), level, prop::option::of(0..80_u64), 0..30_usize)
        .prop_map(|(service, from, to, level, before_id, limit)| Query { service, from, to, level, before_id, limit })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn pages_agree_with_the_specification(
        entries in prop::collection::vec(any_entry(), 0..70),
        queries in prop::collection::vec(any_query(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (folder, specification) = (Folder::new(), MemoryJournal::default());
            let store = open(&folder).await;
            for entry in entries {
                let id = store.journal().append(entry.clone()).await.unwrap();
                prop_assert_eq!(specification.append(entry).await.unwrap(), id);
            }
            for query in queries {
                prop_assert_eq!(store.journal().query(query.clone()).await.unwrap(), specification.read(&query), "{:?}", query);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_subsystem_of_many_services_is_read_too() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let specification = MemoryJournal::default();
    for n in 0..200_i64 {
        let it = entry(n * 60, &format!("yard/camera{}", n % 50), LEVELS[n as usize % 4], "x");
        store.journal().append(it.clone()).await.unwrap();
        specification.append(it).await.unwrap();
    }
    let service = Some(Name::new("yard").unwrap());
    for level in [None, Some(Level::Error)] {
        let from = Some(WallTime::from_unix_seconds(1000));
        let query = Query { service: service.clone(), level, from, before_id: Some(150), ..Query::default() };
        assert_eq!(store.journal().query(query.clone()).await.unwrap(), specification.read(&query));
    }
    assert_eq!(store.journal().services().await.unwrap().len(), 50);
}
