//! The program is stopped, or the power cut, at every single disk operation; nothing acknowledged is lost and nothing
//! half-written is published.

mod bench;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bench::disk::FragileDisk;
use bench::files_below;
use godvision_core::WallTime;
use godvision_core::signal::media::Fragment;
use godvision_ftp::clip::{ClipOptions, ClipSummary, CloseReason, RecordMode};
use godvision_ftp::index::ClipState;
use godvision_ftp::io::recorder::Recorder;
use godvision_ftp::io::spool::{Spool, SpoolEvent, SpoolOptions};
use godvision_ftp::retention::{Eviction, RetentionLimits};
use godvision_ftp::sample::{Stream, frames_of};
use godvision_ftp::spool::{ClipId, ClipInfo};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What the outside was told before the crash.
#[derive(Default)]
struct Told {
    closed: BTreeMap<ClipId, ClipInfo>,
    archived: Vec<ClipId>,
    evicting: bool,
    /// Frames of the open clip that were flushed without an error.
    flushed: u64,
}

fn tell(told: &mut Told, events: &mut Vec<SpoolEvent>) {
    for event in events.drain(..) {
        if let SpoolEvent::Closed(info) = event {
            told.flushed = 0;
            told.closed.insert(info.id.clone(), *info);
        }
    }
}

/// Records two clips, archives the first, begins a third, frees space; stops at the first failure.
fn live(disk: &FragileDisk, root: &Path, told: &mut Told) -> Option<()> {
    let limits = RetentionLimits { sent_bytes_max: 0, ..RetentionLimits::default() };
    let (spool, _) = Spool::open_on(Arc::new(disk.clone()), root, SpoolOptions { limits }).ok()?;
    let spool = Arc::new(spool);
    let mut recorder = Recorder::new(Arc::clone(&spool), ClipOptions::default(), RecordMode::Always);
    let mut stream = Stream::new("yard/camera", 10);
    let mut events = Vec::new();
    for clip in 0..3 {
        for frame in 1..=40 {
            recorder.fragment(stream.frame(), &mut events);
            if frame % 13 == 0 {
                recorder.flush(&mut events);
                tell(told, &mut events);
                if disk.is_dead() {
                    return None;
                }
                told.flushed = frame;
            }
        }
        if clip < 2 {
            stream.new_session();
        }
        if clip == 1 {
            let id = told.closed.keys().next()?.clone();
            spool.mark_archived(&id, WallTime::from_unix_seconds(0)).ok()?;
            told.archived.push(id.clone());
            spool.flag(told.closed.keys().last()?, true).ok()?;
            told.evicting = true;
            let freed = spool.make_room(WallTime::from_unix_seconds(0), 0);
            assert!(disk.is_dead() || matches!(&freed[..], [SpoolEvent::Evicted { why: Eviction::ArchivedCopy, .. }]));
        }
    }
    recorder.finish(&mut events);
    tell(told, &mut events);
    (!disk.is_dead()).then_some(())
}

/// Everything in the spool is whole, and what the outside was told is true.
fn check(root: &Path, told: &Told, what: &str) {
    let (spool, events) = Spool::open(root, SpoolOptions::default()).expect(what);
    let index = spool.index();
    for (id, info) in &told.closed {
        let record = index.get(id).unwrap_or_else(|| panic!("{what}: {id} is lost"));
        assert_eq!(record.info.sha256, info.sha256, "{what}");
        let is_archived = told.archived.contains(id);
        if is_archived {
            assert_eq!(record.state, ClipState::Archived, "{what}");
        }
        assert!(record.local.is_some() || (is_archived && told.evicting), "{what}: the file of {id} is gone");
    }
    let recovered: Vec<&ClipInfo> = events
        .iter()
        .filter_map(|it| if let SpoolEvent::Recovered(info) = it { Some(&**info) } else { None })
        .collect();
    if told.flushed > 0 {
        // The clip was cut off, or its closing had gone so far that it is complete.
        let saved = index
            .list(&Default::default())
            .iter()
            .filter(|it| !told.closed.contains_key(&it.info.id))
            .map(|it| it.info.frames)
            .max();
        assert!(saved >= Some(told.flushed), "{what}: {} frames were flushed, {saved:?} saved", told.flushed);
    }
    assert!(recovered.iter().all(|info| info.closed_by == Some(CloseReason::Recovered)));
    let mut seen = std::collections::HashSet::new();
    for record in index.list(&Default::default()) {
        let Some(path) = &record.local else { continue };
        let content = fs::read(path).unwrap();
        let digest: [u8; 32] = Sha256::digest(&content).into();
        assert_eq!((content.len() as u64, digest), (record.info.bytes, record.info.sha256), "{what}: {path:?}");
        let frames = frames_of(&content).unwrap_or_else(|| panic!("{what}: {path:?} is not whole"));
        assert_eq!(frames.len() as u64, record.info.frames, "{what}: {path:?}");
        assert!(frames.iter().all(|frame| seen.insert(*frame)), "{what}: a frame is there twice");
    }
    assert!(files_below(&root.join("tmp")).is_empty(), "{what}: {:?} is left", files_below(&root.join("tmp")));
    drop(spool);
    let (_, events) = Spool::open(root, SpoolOptions::default()).expect(what);
    assert!(events.is_empty(), "{what}: a second recovery finds nothing to do");
}

fn at_every_step(crash: impl Fn(&FragileDisk), name: &str) {
    for step in 0.. {
        let home = TempDir::new().unwrap();
        let (disk, mut told) = (FragileDisk::dies_after(step), Told::default());
        let is_complete = live(&disk, home.path(), &mut told).is_some();
        crash(&disk);
        check(home.path(), &told, &format!("{name} at step {step}"));
        if is_complete {
            assert_eq!(told.closed.len(), 3);
            assert!(step > 60, "the test ran out after {step} steps");
            return;
        }
    }
}

#[test]
fn a_kill_at_any_step_loses_nothing() {
    at_every_step(|_| {}, "killed");
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_synced() {
    at_every_step(FragileDisk::cut_power, "power cut");
}

#[test]
fn a_crash_while_recovering_loses_nothing_either() {
    let all = FragileDisk::default();
    live(&all, TempDir::new().unwrap().path(), &mut Told::default()).unwrap();
    let record = |home: &Path| {
        let mut told = Told::default();
        // In the middle of closing the third clip.
        let disk = FragileDisk::dies_after(all.operations() - 8);
        assert!(live(&disk, home, &mut told).is_none());
        told
    };
    for step in 0.. {
        let home = TempDir::new().unwrap();
        let told = record(home.path());
        let disk = FragileDisk::dies_after(step);
        let is_complete =
            Spool::open_on(Arc::new(disk.clone()), home.path(), SpoolOptions::default()).is_ok() && !disk.is_dead();
        disk.cut_power();
        let (spool, _) = Spool::open(home.path(), SpoolOptions::default()).unwrap();
        for id in told.closed.keys() {
            assert!(spool.index().get(id).is_some(), "{id} is lost at step {step}");
        }
        drop(spool);
        let told = Told { evicting: true, ..told };
        check_whole(home.path(), &told, step);
        if is_complete {
            assert!(step > 3);
            return;
        }
    }
}

fn check_whole(root: &Path, told: &Told, step: usize) {
    // The recovery has reported what it saved; here only the files count.
    check(
        root,
        &Told { flushed: 0, closed: told.closed.clone(), archived: told.archived.clone(), evicting: true },
        &format!("recovery cut at step {step}"),
    );
}

#[test]
fn a_full_disk_stops_recording_and_space_lets_it_go_on() {
    let home = TempDir::new().unwrap();
    let disk = FragileDisk::default();
    let (spool, _) = Spool::open_on(Arc::new(disk.clone()), home.path(), SpoolOptions::default()).unwrap();
    let mut recorder = Recorder::new(Arc::new(spool), ClipOptions::default(), RecordMode::Always);
    let mut stream = Stream::new("yard/camera", 10);
    let (mut events, mut sent) = (Vec::new(), 0);
    let mut feed = |frames: u64, events: &mut Vec<SpoolEvent>, recorder: &mut Recorder| {
        for _ in 0..frames {
            recorder.fragment(stream.frame(), events);
            sent += 1;
            if sent % 5 == 0 {
                recorder.flush(events);
            }
        }
        sent
    };
    feed(30, &mut events, &mut recorder);
    disk.set_room(Some(2_000));
    feed(100, &mut events, &mut recorder);
    assert!(recorder.is_failing());
    let alarms = events.iter().filter(|event| matches!(event, SpoolEvent::DiskFull { .. })).count();
    assert_eq!(alarms, 1, "one alarm, not one a frame: {events:?}");
    disk.set_room(None);
    let sent = feed(50, &mut events, &mut recorder);
    assert!(!recorder.is_failing());
    assert!(events.contains(&SpoolEvent::SpaceAgain));
    recorder.finish(&mut events);
    let closed: Vec<&ClipInfo> =
        events.iter().filter_map(|it| if let SpoolEvent::Closed(info) = it { Some(&**info) } else { None }).collect();
    let (frames, unrecorded) = closed.iter().fold((0, 0), |(f, u), info| (f + info.frames, u + info.unrecorded_before));
    assert!(frames >= 30 + 40, "what could be written was written: {frames}");
    assert_eq!(frames + unrecorded, sent, "every frame is recorded or counted as lost");
    for info in closed {
        let path = home.path().join("ready").join(format!("{}.mp4", info.id));
        assert_eq!(frames_of(&fs::read(path).unwrap()).unwrap().len() as u64, info.frames);
    }
}

fn fragments(count: usize) -> (ClipSummary, Vec<Fragment>) {
    let mut stream = Stream::new("yard/camera", 10);
    let mut cutter = godvision_ftp::clip::ClipCutter::new(ClipOptions::default(), RecordMode::Always);
    let (mut actions, mut fragments) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let fragment = stream.frame();
        cutter.fragment(fragment.clone(), &mut actions);
        fragments.push(fragment);
    }
    (cutter.current().unwrap().clone(), fragments)
}

fn record_one(spool: &Arc<Spool>) -> ClipInfo {
    let (mut summary, fragments) = fragments(25);
    let mut writer = spool.begin(&summary).unwrap();
    for fragment in &fragments {
        writer.append(fragment).unwrap();
    }
    summary.closed_by = Some(CloseReason::Quiet);
    writer.finish(&summary).map_err(|failed| failed.1).unwrap()
}

#[test]
fn clips_of_one_moment_have_different_names() {
    let home = TempDir::new().unwrap();
    let spool = Arc::new(Spool::open(home.path(), SpoolOptions::default()).unwrap().0);
    let names: std::collections::HashSet<ClipId> = (0..5).map(|_| record_one(&spool).id).collect();
    assert_eq!(names.len(), 5);
}

#[test]
fn one_spool_belongs_to_one_program() {
    let home = TempDir::new().unwrap();
    let _first = Spool::open(home.path(), SpoolOptions::default()).unwrap();
    let error = Spool::open(home.path(), SpoolOptions::default()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("another program"), "{error}: {cause}");
}

#[test]
fn over_the_quota_the_oldest_goes_and_is_reported() {
    let home = TempDir::new().unwrap();
    let limits = RetentionLimits { bytes_max: 50_000, ..RetentionLimits::default() };
    let spool = Arc::new(Spool::open(home.path(), SpoolOptions { limits }).unwrap().0);
    let first = record_one(&spool);
    let more: Vec<ClipInfo> = (0..5).map(|_| record_one(&spool)).collect();
    spool.mark_archived(&more[0].id, WallTime::from_unix_seconds(0)).unwrap();
    let gone: Vec<(ClipId, Eviction)> = spool
        .make_room(first.started, 0)
        .into_iter()
        .map(|event| match event {
            SpoolEvent::Evicted { info, why } => (info.id, why),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(gone[0], (more[0].id.clone(), Eviction::ArchivedCopy));
    assert_eq!(gone[1], (first.id.clone(), Eviction::NoSpace));
    assert_eq!(spool.index().get(&more[0].id).unwrap().state, ClipState::Archived);
    assert!(spool.index().get(&first.id).is_none());
    let left: u64 = files_below(home.path())
        .iter()
        .filter(|it| it.ends_with(".mp4"))
        .map(|it| fs::metadata(home.path().join(it)).unwrap().len())
        .sum();
    assert!(left <= 50_000);
}

#[test]
fn a_manifest_or_list_that_was_spoiled_costs_no_file() {
    let home = TempDir::new().unwrap();
    let spool = Arc::new(Spool::open(home.path(), SpoolOptions::default()).unwrap().0);
    let (kept, archived) = (record_one(&spool), record_one(&spool));
    spool.mark_archived(&archived.id, WallTime::from_unix_seconds(0)).unwrap();
    drop(spool);
    fs::write(home.path().join(format!("ready/{}.json", kept.id)), b"{\"version\":").unwrap();
    let list = home.path().join("archived.jsonl");
    let mut lines = b"no json\n".to_vec();
    lines.extend(fs::read(&list).unwrap());
    lines.extend(b"{\"version\":1,\"id\":\"torn");
    fs::write(&list, lines).unwrap();
    fs::write(home.path().join("tmp/stray.txt"), b"x").unwrap();
    let (spool, events) = Spool::open(home.path(), SpoolOptions::default()).unwrap();
    assert!(matches!(&events[..], [SpoolEvent::Recovered(info)] if info.id == kept.id && info.frames == 25));
    assert_eq!(spool.index().get(&kept.id).unwrap().state, ClipState::Waiting);
    assert_eq!(spool.index().get(&archived.id).unwrap().state, ClipState::Archived);
    assert!(fs::read(&list).unwrap().ends_with(b"\n"), "the torn line is cut");
}
