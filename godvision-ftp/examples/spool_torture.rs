//! Records made-up cameras into a spool and sends the clips to an archive, until it is killed.
//!
//! `spool_torture run SPOOL URL|FOLDER ACKED`: records, uploads, and appends a line to `ACKED` for each promise it has
//! made (`closed ID FRAMES SHA256` or `archived ID NAME SHA256`), written before anything else happens.
//! `spool_torture finish SPOOL URL|FOLDER ACKED`: records nothing, uploads what waits, ends when nothing does.
//! `spool_torture check SPOOL SERVER_FOLDER ACKED`: looks at the server's own files: every promised clip is there, whole
//! and once; nothing half-written has a final name. Prints what it saw; exits 1 if anything is wrong.
//!
//! Kill it with -9 as often as you like between `run`s. What to read next: `tests/the_spool_survives_every_crash.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use godvision_core::driver::archive::Archive;
use godvision_core::{Clock, SystemClock};
use godvision_ftp::archive::folder::{FolderArchive, Placing};
use godvision_ftp::archive::ftp::{FtpArchive, FtpOptions};
use godvision_ftp::clip::{ClipOptions, RecordMode};
use godvision_ftp::io::recorder::Recorder;
use godvision_ftp::io::spool::{Spool, SpoolEvent, SpoolOptions};
use godvision_ftp::io::uploader::{UploadEvent, Uploader};
use godvision_ftp::retention::RetentionLimits;
use godvision_ftp::sample::{Stream, frames_of};
use godvision_ftp::upload::UploadOptions;
use sha2::{Digest, Sha256};

type AnyError = Box<dyn std::error::Error>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let texts: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match texts[..] {
        ["run", spool, archive, acked] => work(spool, archive, acked, true),
        ["finish", spool, archive, acked] => work(spool, archive, acked, false),
        ["check", spool, server, acked] => check(Path::new(spool), Path::new(server), acked),
        _ => Err("spool_torture run|finish|check SPOOL ARCHIVE ACKED".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spool_torture: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A promise, on the disk before the next thing happens. A line torn by the kill is no promise.
fn promise(acked: &str, line: &str) -> Result<(), AnyError> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(acked)?;
    Ok(file.write_all(format!("{line}\n").as_bytes())?)
}

#[tokio::main]
async fn work(spool: &str, archive: &str, acked: &str, is_recording: bool) -> Result<(), AnyError> {
    let limits = RetentionLimits { sent_bytes_max: 200_000, ..RetentionLimits::default() };
    let (spool, events) = Spool::open(spool, SpoolOptions { limits })?;
    let spool = Arc::new(spool);
    let recovered = events.iter().filter(|event| matches!(event, SpoolEvent::Recovered(_))).count();
    println!("opened: {recovered} recovered, {} waiting", spool.index().tally().waiting);
    let archive: Arc<dyn Archive> = match archive.contains("://") {
        true => Arc::new(FtpArchive::new(FtpOptions::new(archive.parse()?))?),
        false => Arc::new(FolderArchive::new(archive, Placing::Copy)),
    };
    if is_recording {
        for camera in ["yard/gate", "hall"] {
            let (spool, acked) = (Arc::clone(&spool), acked.to_owned());
            std::thread::spawn(move || record(camera, &spool, &acked));
        }
    }
    // Short waits: the script kills the server too, and should not have to wait for minutes.
    let options = UploadOptions { wait_max: Duration::from_secs(2), ..UploadOptions::default() };
    let mut uploader = Uploader::new(Arc::clone(&spool), archive, options, SystemClock::shared());
    while is_recording || spool.index().tally().waiting > 0 {
        match uploader.next_event().await {
            UploadEvent::Archived(info) => {
                promise(acked, &format!("archived {} {} {}", info.id, info.archive_name, hex(&info.sha256)))?;
            }
            UploadEvent::Delayed { error, .. } => println!("delayed: {error}"),
            UploadEvent::Parked { error, .. } => return Err(format!("parked: {error}").into()),
            _ => {}
        }
    }
    Ok(())
}

/// Clips of one to three seconds, as fast as the disk takes them but for a short rest.
fn record(camera: &str, spool: &Arc<Spool>, acked: &str) {
    let options = ClipOptions { length_max: Duration::from_secs(2), ..ClipOptions::default() };
    let mut recorder = Recorder::new(Arc::clone(spool), options, RecordMode::Always);
    let mut stream = Stream::starting(camera, 10, SystemClock.now());
    stream.frame_bytes = 2_000;
    let mut events = Vec::new();
    for count in 1u64.. {
        recorder.fragment(stream.frame(), &mut events);
        if count.is_multiple_of(12) {
            recorder.flush(&mut events);
            std::thread::park_timeout(Duration::from_millis(5));
        }
        for event in events.drain(..) {
            if let SpoolEvent::Closed(info) = event {
                let line = format!("closed {} {} {}", info.id, info.frames, hex(&info.sha256));
                if promise(acked, &line).is_err() {
                    return;
                }
            }
        }
    }
}

fn files_below(root: &Path) -> Vec<std::path::PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

fn check(spool: &Path, server: &Path, acked: &str) -> Result<(), AnyError> {
    let (mut on_server, mut frames_seen, mut problems) = (BTreeMap::new(), 0, Vec::new());
    let (mut partial, mut contents) = (0, BTreeSet::new());
    for path in files_below(server) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.ends_with(".part") {
            partial += 1;
            continue;
        }
        let content = fs::read(&path)?;
        match frames_of(&content) {
            Some(frames) => frames_seen += frames.len(),
            None => problems.push(format!("{name} on the server is not whole")),
        }
        let sha256 = hex(&Sha256::digest(&content));
        if !contents.insert(sha256.clone()) {
            problems.push(format!("{name} is there twice"));
        }
        on_server.insert(name.trim_end_matches(".mp4").to_owned(), sha256);
    }
    let (mut closed, mut archived, mut waiting) = (0, 0, 0);
    for line in fs::read_to_string(acked)?.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (kind, id, sha256) = match words[..] {
            [kind, id, _, sha256] if sha256.len() == 64 => (kind, id, sha256),
            _ => continue,
        };
        let local = spool.join("ready").join(format!("{id}.mp4"));
        match (kind, on_server.get(id)) {
            (_, Some(found)) if found == sha256 => {}
            ("closed", None) if local.exists() => waiting += 1,
            (_, Some(_)) => problems.push(format!("{id} on the server has another content")),
            (_, None) => problems.push(format!("{kind} {id} is lost")),
        }
        closed += usize::from(kind == "closed");
        archived += usize::from(kind == "archived");
    }
    println!(
        "promised: {closed} closed, {archived} archived; server: {} clips, {frames_seen} frames, {partial} partial; waiting here: {waiting}",
        on_server.len()
    );
    match problems.len() {
        0 => Ok(()),
        count => Err(format!("{count} problems, first: {}", problems[0]).into()),
    }
}
