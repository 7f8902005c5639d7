//! The FTP archive against vsftpd and pure-ftpd, plain and by TLS, with the behaviour suite of archives and what only a
//! real server can show. `.ci/real/ftp.sh` starts the servers and names them in the environment; without it these tests
//! fail.
#![cfg(feature = "real-servers")]

mod bench;

use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bench::{FolderBench, files_below};
use godvision_core::driver::archive::{Archive, ArchiveError, Upload};
use godvision_ftp::archive::ftp::{FtpArchive, FtpOptions};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::Notify;

/// A server: `URL FOLDER`, where `FOLDER` is what the address leads to.
fn server(variable: &str) -> (String, PathBuf) {
    let value = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run .ci/real/ftp.sh"));
    let (url, folder) = value.split_once(' ').expect("URL FOLDER");
    (url.to_owned(), folder.into())
}

/// The server's address with a folder of its own for each test.
fn place(variable: &str) -> (FtpArchive, PathBuf) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let sub = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let (url, folder) = server(variable);
    let url = match url.split_once('?') {
        Some((url, query)) => format!("{url}/{sub}?{query}"),
        None => format!("{url}/{sub}"),
    };
    (FtpArchive::new(FtpOptions::new(url.parse().unwrap())).unwrap(), folder.join(sub))
}

fn start(variable: &str) -> FolderBench {
    let (archive, root) = place(variable);
    FolderBench::over(Arc::new(archive), root, TempDir::new().unwrap())
}

godvision_core::archive_conformance!(vsftpd_plain, async { start("GODVISION_FTP_VSFTPD") });
godvision_core::archive_conformance!(vsftpd_tls, async { start("GODVISION_FTP_VSFTPD_TLS") });
godvision_core::archive_conformance!(pureftpd_plain, async { start("GODVISION_FTP_PUREFTPD") });
godvision_core::archive_conformance!(pureftpd_tls, async { start("GODVISION_FTP_PUREFTPD_TLS") });

const ALL: [&str; 4] =
    ["GODVISION_FTP_VSFTPD", "GODVISION_FTP_VSFTPD_TLS", "GODVISION_FTP_PUREFTPD", "GODVISION_FTP_PUREFTPD_TLS"];

fn upload(size: usize, name: &str) -> (TempDir, Upload, Vec<u8>) {
    let folder = TempDir::new().unwrap();
    let content: Vec<u8> = (0..size).map(|i| (i * 7 + i / 300 + i / 70_000) as u8).collect();
    let file = folder.path().join("upload");
    fs::write(&file, &content).unwrap();
    let sha256 = Sha256::digest(&content).into();
    (folder, Upload { file, name: name.into(), size_bytes: size as u64, sha256 }, content)
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_is_resumed() {
    for variable in ALL {
        let (archive, root) = place(variable);
        let (_folder, upload, content) = upload(24 << 20, "yard/a.mp4");
        let reached = Notify::new();
        let progress = |bytes| {
            if bytes > 12 << 20 {
                reached.notify_one();
            }
        };
        {
            let mut storing = pin!(archive.store(&upload, &progress));
            tokio::select! {
                biased;
                () = reached.notified() => {}
                done = &mut storing => panic!("{variable}: not interrupted: {done:?}"),
            }
        }
        assert!(!root.join("yard/a.mp4").exists(), "{variable}");
        let first = AtomicU64::new(u64::MAX);
        let progress = |bytes| {
            first.fetch_min(bytes, Ordering::SeqCst);
        };
        archive.store(&upload, &progress).await.unwrap_or_else(|error| panic!("{variable}: {error}"));
        let first = first.load(Ordering::SeqCst);
        assert!(first > 1 << 20, "{variable}: began again at {first}");
        assert!(fs::read(root.join("yard/a.mp4")).unwrap() == content, "{variable}");
        assert_eq!(files_below(&root), ["yard/a.mp4"], "{variable}");
    }
}

#[tokio::test]
async fn twenty_clips_go_over_one_connection() {
    for variable in ALL {
        let (archive, root) = place(variable);
        for number in 0..20 {
            let (_folder, upload, _) = upload(300_000, &format!("yard/{number}.mp4"));
            let stored = archive.store(&upload, &|_| {}).await;
            assert!(stored.is_ok(), "{variable}, clip {number}: {stored:?}");
        }
        assert_eq!(files_below(&root).len(), 20, "{variable}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_plainly() {
    for variable in ALL {
        let (url, _) = server(variable);
        let mut url: godvision_ftp::archive::url::FtpUrl = url.parse().unwrap();
        url.password = "wr0ng-word".into();
        let archive = FtpArchive::new(FtpOptions::new(url)).unwrap();
        let error = archive.stat("a.mp4").await.unwrap_err();
        assert!(matches!(error, ArchiveError::AuthFailed { .. }), "{variable}: {error:?}");
        assert!(!format!("{error:?}").contains("wr0ng-word"));
    }
}

#[tokio::test]
async fn a_server_that_wants_tls_is_not_spoken_to_in_clear() {
    for variable in ["GODVISION_FTP_VSFTPD_TLS", "GODVISION_FTP_PUREFTPD_TLS"] {
        let url = server(variable).0.replace("ftps://", "ftp://");
        let url = url.split('?').next().unwrap();
        let archive = FtpArchive::new(FtpOptions::new(url.parse().unwrap())).unwrap();
        let error = archive.stat("a.mp4").await.unwrap_err();
        assert!(matches!(error, ArchiveError::Tls { .. }), "{variable}: {error:?}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused_and_its_fingerprint_shown() {
    for variable in ["GODVISION_FTP_VSFTPD_TLS", "GODVISION_FTP_PUREFTPD_TLS"] {
        let (url, _) = server(variable);
        let (url, print) = url.split_once("?fingerprint=").unwrap();
        let archive = FtpArchive::new(FtpOptions::new(url.parse().unwrap())).unwrap();
        let error = archive.stat("a.mp4").await.unwrap_err();
        assert!(matches!(&error, ArchiveError::Tls { detail, .. } if detail.contains(print)), "{variable}: {error:?}");
    }
}

#[tokio::test]
async fn a_full_server_says_so_and_goes_on_when_there_is_space() {
    // A file system of 8 MiB behind vsftpd; a quota of 8 MiB at pure-ftpd.
    for variable in ["GODVISION_FTP_VSFTPD_FULL", "GODVISION_FTP_PUREFTPD_FULL"] {
        let (archive, root) = place(variable);
        let (_folder, upload, _) = upload(24 << 20, "a.mp4");
        let error = archive.store(&upload, &|_| {}).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Full { .. }), "{variable}: {error:?}");
        assert!(!root.join("a.mp4").exists());
        for left in files_below(&root) {
            fs::remove_file(root.join(left)).unwrap();
        }
    }
}

/// Run alone, in release, by the script: prints how long each of a few stores took.
#[tokio::test]
async fn throughput_is_printed() {
    let Ok(file) = std::env::var("GODVISION_FTP_BIG_FILE") else { panic!("GODVISION_FTP_BIG_FILE is not set") };
    let content = fs::read(&file).unwrap();
    for variable in ["GODVISION_FTP_VSFTPD", "GODVISION_FTP_VSFTPD_TLS"] {
        let (archive, _) = place(variable);
        let mut rates: Vec<f64> = Vec::new();
        for round in 0..5 {
            let name = format!("big-{round}.mp4");
            let sha256 = Sha256::digest(&content).into();
            let upload = Upload { file: (&file).into(), name: name.clone(), size_bytes: content.len() as u64, sha256 };
            let began = tokio::time::Instant::now();
            archive.store(&upload, &|_| {}).await.unwrap();
            rates.push(content.len() as f64 / 1e6 / began.elapsed().as_secs_f64());
            archive.remove(&name).await.unwrap();
        }
        rates.sort_by(f64::total_cmp);
        println!("godvision {variable} {:.1} MB/s median of 5", rates[2]);
    }
}
