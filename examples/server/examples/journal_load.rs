//! How fast the journal keeps and finds entries on this disk.
//!
//! `cargo run --release -p godvision-server --example journal_load -- [ENTRIES] [FOLDER]` writes that many entries (a million
//! if nothing is said) through 512 writers at once, every one acknowledged only when it would survive a power cut, then
//! reads pages of 50 as the journal page does. Read `src/store/journal.rs` next.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use godvision_core::journal::{Entry, Journal, Level, Query};
use godvision_core::{MonoTime, Name, Stamp, SystemClock, WallTime};
use godvision_server::store::Store;

const WRITERS: usize = 512;
const SERVICES: usize = 40;

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let entries: i64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let folder = arguments.next().map_or_else(|| std::env::temp_dir().join("godvision-journal-load"), PathBuf::from);
    if folder.exists() {
        return Err(format!("{} is there: remove it or name another folder", folder.display()).into());
    }
    let clock = SystemClock::shared();
    let store = Store::open(&folder, None, clock.clone()).await?;
    let services: Vec<Name> =
        (0..SERVICES).map(|n| Name::new(&format!("site{}/camera{n}", n % 4))).collect::<Result<_, _>>()?;

    let (next, started) = (Arc::new(AtomicI64::new(0)), clock.mono());
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (journal, next, services, clock) = (store.journal().clone(), next.clone(), services.clone(), clock.clone());
        writers.spawn(async move {
            let mut waits = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= entries {
                    return waits;
                }
                // Three seconds apart: a million entries are five weeks.
                let at = Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(1_795_000_000 + n * 3));
                let level = if n % 51 == 0 { Level::Security } else { Level::Info };
                let service = services[usize::try_from(n).unwrap_or_default() % SERVICES].clone();
                let text = "a clip of 14 s was recorded and waits for its upload";
                let entry = Entry::new(at, service, level, "clip.closed", text).with("frames", 355).with("clip", n);
                let begun = clock.mono();
                if let Err(error) = journal.append(entry).await {
                    panic!("entry {n}: {error}");
                }
                waits.push(clock.mono() - begun);
            }
        });
    }
    let mut waits: Vec<Duration> = writers.join_all().await.into_iter().flatten().collect();
    let took = (clock.mono() - started).as_secs_f64();
    waits.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = entries as f64 / took;
    println!(
        "kept {entries} entries in {took:.1} s: {rate:.0} a second in {} commits; acknowledged after p50 {:.1?}, p95 {:.1?}",
        store.journal().commits(),
        percentile(&waits, 50),
        percentile(&waits, 95)
    );

    let at = |part: i64| Some(WallTime::from_unix_seconds(1_795_000_000 + entries * 3 * part / 10));
    let service = Some(services[7].clone());
    let subsystem = Some(Name::new("site3")?);
    for (what, query) in [
        ("newest page", Query::default()),
        ("a service", Query { service: service.clone(), ..Query::default() }),
        ("a service in a period", Query { service: service.clone(), from: at(3), to: at(4), ..Query::default() }),
        ("a subsystem in a period", Query { service: subsystem.clone(), from: at(3), to: at(4), ..Query::default() }),
        ("security in a period", Query { level: Some(Level::Security), from: at(3), to: at(4), ..Query::default() }),
        ("a service's security", Query { service, level: Some(Level::Security), ..Query::default() }),
        (
            "an old page of a subsystem",
            Query { service: subsystem, before_id: Some(entries as u64 / 5), ..Query::default() },
        ),
        ("a period without entries", Query { from: at(11), to: at(12), ..Query::default() }),
    ] {
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..101 {
            let begun = clock.mono();
            rows = store.journal().query(query.clone()).await?.len();
            times.push(clock.mono() - begun);
        }
        times.sort_unstable();
        println!("{what:28} {rows:3} rows  p50 {:8.2?}  p95 {:8.2?}", percentile(&times, 50), percentile(&times, 95));
    }
    store.close().await;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
