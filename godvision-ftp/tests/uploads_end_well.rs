//! Spool, uploader and archive together, on a virtual clock: what waits is archived, what fails is tried again, what is
//! archived is freed, and nothing is lost or stored twice.

mod bench;

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bench::files_below;
use bytes::Bytes;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::archive::{Archive, ArchiveError, Capabilities, Stored, Upload};
use godvision_core::{Clock, MonoTime, Stamp, WallTime};
use godvision_ftp::archive::folder::{FolderArchive, Placing};
use godvision_ftp::clip::{ClipOptions, RecordMode};
use godvision_ftp::index::{ClipQuery, ClipState};
use godvision_ftp::io::recorder::Recorder;
use godvision_ftp::io::spool::{Spool, SpoolEvent, SpoolOptions};
use godvision_ftp::io::uploader::{UploadEvent, Uploader};
use godvision_ftp::retention::{Eviction, RetentionLimits};
use godvision_ftp::sample::{Stream, frames_of};
use godvision_ftp::upload::UploadOptions;
use tempfile::TempDir;

/// Follows tokio's paused time.
#[derive(Debug)]
struct TokioClock(tokio::time::Instant);

impl TokioClock {
    fn start() -> Arc<dyn Clock> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Stamp {
        let passed = self.0.elapsed();
        let wall = WallTime::from_unix_seconds(1_795_300_000).plus_micros(passed.as_micros() as i64);
        Stamp::new(MonoTime::ZERO + passed, wall)
    }
}

/// A folder that fails as it is told, clip by clip and call by call.
struct Moody {
    inner: FolderArchive,
    errors: Mutex<HashMap<u32, ArchiveError>>,
    calls: AtomicU32,
}

impl Archive for Moody {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn store<'a>(
        &'a self,
        upload: &'a Upload,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Stored, ArchiveError>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.errors.lock().unwrap().remove(&call) {
            Some(error) => Box::pin(async move { Err(error) }),
            None => self.inner.store(upload, progress),
        }
    }

    fn stat<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Stored>, ArchiveError>> {
        self.inner.stat(name)
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<Bytes, ArchiveError>> {
        self.inner.read(name, range)
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), ArchiveError>> {
        self.inner.remove(name)
    }
}

struct House {
    home: TempDir,
    spool: Arc<Spool>,
    archive: Arc<Moody>,
}

impl House {
    fn with_clips(count: usize, limits: RetentionLimits) -> Self {
        let home = TempDir::new().unwrap();
        let (spool, _) = Spool::open(home.path().join("spool"), SpoolOptions { limits }).unwrap();
        let spool = Arc::new(spool);
        record(&spool, count);
        let archive = Self::archive_in(home.path());
        Self { home, spool, archive }
    }

    fn archive_in(home: &Path) -> Arc<Moody> {
        let inner = FolderArchive::new(home.join("archive"), Placing::Copy);
        Arc::new(Moody { inner, errors: Mutex::default(), calls: AtomicU32::new(0) })
    }

    fn uploader(&self, clock: Arc<dyn Clock>) -> Uploader {
        Uploader::new(Arc::clone(&self.spool), self.archive.clone(), UploadOptions::default(), clock)
    }

    fn fail(&self, call: u32, error: ArchiveError) {
        self.archive.errors.lock().unwrap().insert(call, error);
    }

    fn archived(&self) -> Vec<String> {
        files_below(&self.home.path().join("archive"))
    }
}

fn record(spool: &Arc<Spool>, count: usize) {
    let mut recorder = Recorder::new(Arc::clone(spool), ClipOptions::default(), RecordMode::Always);
    let (mut stream, mut events) = (Stream::new("yard/camera", 10), Vec::new());
    for _ in 0..count {
        for _ in 0..20 {
            recorder.fragment(stream.frame(), &mut events);
        }
        stream.new_session();
    }
    recorder.finish(&mut events);
}

fn unreachable() -> ArchiveError {
    ArchiveError::Unreachable { address: "nas".into(), detail: "gone".into() }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_and_everything_arrives_once() {
    let house = House::with_clips(4, RetentionLimits::default());
    for call in 1..9 {
        house.fail(call, unreachable());
    }
    let clock = TokioClock::start();
    let mut uploader = house.uploader(Arc::clone(&clock));
    let (mut archived, mut delays) = (0, 0);
    while archived < 4 {
        match uploader.next_event().await {
            UploadEvent::Archived(_) => archived += 1,
            UploadEvent::Delayed { needs_owner: false, .. } => delays += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(delays, 8);
    assert!(clock.mono() > MonoTime::from_millis(60_000), "it waited longer and longer");
    assert_eq!(house.archived().len(), 4);
    for record in house.spool.index().list(&ClipQuery::default()) {
        assert_eq!(record.state, ClipState::Archived);
        let reader = house.spool.index().open(&record.info.id, Some(house.archive.clone())).unwrap();
        let content = reader.read(0..u64::MAX).await.unwrap();
        assert_eq!(frames_of(&content).unwrap().len(), 20);
        assert!(record.info.archive_name.starts_with("yard/camera/2026-11-21/"));
    }
    let nothing_more = tokio::time::timeout(Duration::from_secs(3600), uploader.next_event()).await;
    assert!(nothing_more.is_err(), "{nothing_more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clip_recorded_while_it_waits_is_sent_at_once() {
    let house = House::with_clips(0, RetentionLimits::default());
    let mut uploader = house.uploader(TokioClock::start());
    let spool = Arc::clone(&house.spool);
    let (event, ()) = tokio::join!(uploader.next_event(), async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        record(&spool, 1);
    });
    assert!(matches!(event, UploadEvent::Archived(_)));
}

#[tokio::test(start_paused = true)]
async fn archived_clips_are_freed_by_the_limits_and_still_played_from_the_archive() {
    let limits = RetentionLimits { sent_bytes_max: 0, ..RetentionLimits::default() };
    let house = House::with_clips(2, limits);
    let mut uploader = house.uploader(TokioClock::start());
    let mut freed = 0;
    while freed < 2 {
        match uploader.next_event().await {
            UploadEvent::Archived(_) => {}
            UploadEvent::Spool(SpoolEvent::Evicted { why: Eviction::ArchivedCopy, .. }) => freed += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(files_below(&house.home.path().join("spool")).iter().all(|name| !name.ends_with(".mp4")));
    for record in house.spool.index().list(&ClipQuery::default()) {
        assert_eq!(record.local, None);
        let index = house.spool.index();
        assert!(index.open(&record.info.id, None).is_err());
        let reader = index.open(&record.info.id, Some(house.archive.clone())).unwrap();
        let size = record.info.bytes;
        assert_eq!(reader.read(size - 5..size + 5).await.unwrap().len(), 5);
        assert_eq!(frames_of(&reader.read(0..size).await.unwrap()).unwrap().len(), 20);
    }
    let spool_path = house.home.path().join("spool");
    drop((uploader, house.spool));
    let (spool, _) = Spool::open(spool_path, SpoolOptions::default()).unwrap();
    assert_eq!(spool.index().tally().archived, 2, "the list survives");
}

#[tokio::test(start_paused = true)]
async fn a_program_killed_between_storing_and_noting_stores_nothing_twice() {
    let house = House::with_clips(2, RetentionLimits::default());
    let record = &house.spool.index().list(&ClipQuery::default())[0];
    let upload = Upload {
        file: record.local.clone().unwrap(),
        name: record.info.archive_name.clone(),
        size_bytes: record.info.bytes,
        sha256: record.info.sha256,
    };
    house.archive.inner.store(&upload, &|_| {}).await.unwrap();
    let mut uploader = house.uploader(TokioClock::start());
    for _ in 0..2 {
        assert!(matches!(uploader.next_event().await, UploadEvent::Archived(_)));
    }
    assert_eq!(house.archived().len(), 2);
    let lines = fs::read_to_string(house.home.path().join("spool/archived.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_file_of_the_same_name_is_left_and_the_clip_gets_another_name() {
    let house = House::with_clips(1, RetentionLimits::default());
    let name = house.spool.index().list(&ClipQuery::default())[0].info.archive_name.clone();
    let taken = house.home.path().join("archive").join(&name);
    fs::create_dir_all(taken.parent().unwrap()).unwrap();
    fs::write(&taken, b"somebody else's").unwrap();
    let mut uploader = house.uploader(TokioClock::start());
    assert!(matches!(uploader.next_event().await, UploadEvent::Archived(_)));
    assert_eq!(fs::read(&taken).unwrap(), b"somebody else's");
    assert_eq!(house.archived().len(), 2);
    let id = house.spool.index().list(&ClipQuery::default())[0].info.id.clone();
    let spool_path = house.home.path().join("spool");
    drop((uploader, house.spool));
    let (spool, _) = Spool::open(spool_path, SpoolOptions::default()).unwrap();
    let known = spool.index().get(&id).unwrap().info.archive_name;
    assert!(known != name && house.home.path().join("archive").join(known).exists(), "the new name is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_clip_whose_file_is_gone_is_parked_and_the_rest_goes_on() {
    let house = House::with_clips(2, RetentionLimits::default());
    let oldest = house.spool.index().list(&ClipQuery::default())[1].clone();
    let content = fs::read(oldest.local.as_ref().unwrap()).unwrap();
    fs::remove_file(oldest.local.as_ref().unwrap()).unwrap();
    let mut uploader = house.uploader(TokioClock::start());
    assert!(matches!(uploader.next_event().await, UploadEvent::Parked { info, .. } if info.id == oldest.info.id));
    assert!(matches!(uploader.next_event().await, UploadEvent::Archived(_)));
    assert!(matches!(house.spool.index().get(&oldest.info.id).unwrap().state, ClipState::Parked { .. }));
    assert_eq!(house.spool.index().tally().parked, 1);
    fs::write(oldest.local.as_ref().unwrap(), content).unwrap();
    uploader.unpark();
    assert!(matches!(uploader.next_event().await, UploadEvent::Archived(_)));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_dropped_leaves_the_clip_waiting() {
    let house = House::with_clips(1, RetentionLimits::default());
    let mut uploader = house.uploader(TokioClock::start());
    let id = house.spool.index().list(&ClipQuery::default())[0].info.id.clone();
    {
        let event = uploader.next_event();
        let mut event = std::pin::pin!(event);
        assert!(futures_poll_once(event.as_mut()).await.is_none());
        assert!(matches!(house.spool.index().get(&id).unwrap().state, ClipState::Uploading { .. }));
    }
    assert_eq!(house.spool.index().get(&id).unwrap().state, ClipState::Waiting);
    assert!(matches!(uploader.next_event().await, UploadEvent::Archived(_)));
}

async fn futures_poll_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
