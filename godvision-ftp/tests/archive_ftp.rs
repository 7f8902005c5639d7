//! The FTP archive keeps the promises of an archive against a real server in this process, plain and by TLS, and says
//! what is wrong when a server misbehaves.
#![cfg(feature = "ftp")]

mod bench;

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bench::FolderBench;
use bench::mini_ftp::{Knobs, MiniFtp};
use godvision_core::driver::archive::{Archive, ArchiveError, Upload};
use godvision_core::driver::conformance::archive::ArchiveBench;
use godvision_ftp::archive::ftp::{FtpArchive, FtpOptions, FtpTrust};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const CERTIFICATE: &str = include_str!("bench/certificate.pem");

fn options(url: &str) -> FtpOptions {
    FtpOptions {
        connect_timeout: Duration::from_millis(900),
        command_timeout: Duration::from_millis(900),
        stall_timeout: Duration::from_millis(900),
        ..FtpOptions::new(url.parse().unwrap())
    }
}

fn fingerprint() -> String {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    Sha256::digest(&certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A libunftp server over `root`, in a thread of its own that ends with the test program.
fn serve(root: PathBuf, is_secure: bool) -> u16 {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let files = Box::new(move || unftp_sbe_fs::Filesystem::new(root.clone()).unwrap());
            let mut server = libunftp::ServerBuilder::new(files);
            if is_secure {
                let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench");
                server = server.ftps(here.join("certificate.pem"), here.join("key.pem")).ftps_required(true, true);
            }
            server.build().unwrap().listen(format!("127.0.0.1:{port}")).await.unwrap();
        });
    });
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    port
}

fn real_server(is_secure: bool) -> FolderBench {
    let home = TempDir::new().unwrap();
    let root = home.path().join("clips");
    fs::create_dir(&root).unwrap();
    let port = serve(home.path().to_owned(), is_secure);
    let url = match is_secure {
        true => format!("ftps://cam:pw@127.0.0.1:{port}/clips?fingerprint={}", fingerprint()),
        false => format!("ftp://cam:pw@127.0.0.1:{port}/clips"),
    };
    let options = FtpOptions { command_timeout: Duration::from_secs(20), ..options(&url) };
    FolderBench::over(Arc::new(FtpArchive::new(options).unwrap()), root, home)
}

godvision_core::archive_conformance!(plain, async { real_server(false) });
godvision_core::archive_conformance!(tls, async { real_server(true) });

struct Mini {
    server: MiniFtp,
    home: TempDir,
}

impl Mini {
    fn start(knobs: Knobs) -> Self {
        let home = TempDir::new().unwrap();
        let server = MiniFtp::start(home.path().to_owned());
        server.set(knobs);
        Self { server, home }
    }

    fn archive(&self) -> FtpArchive {
        self.archive_with(MiniFtp::PASSWORD)
    }

    fn archive_with(&self, password: &str) -> FtpArchive {
        FtpArchive::new(options(&format!("ftp://cam:{password}@127.0.0.1:{}", self.server.port))).unwrap()
    }

    fn bench(self) -> FolderBench {
        FolderBench::over(Arc::new(self.archive()), self.home.path().to_owned(), self.home)
    }

    fn verbs(&self, verb: &str) -> usize {
        self.server.log().iter().filter(|line| line.starts_with(verb)).count()
    }
}

// The small server itself, in its habits and without EPSV, passes the suite, or the tests below would mean little.
godvision_core::archive_conformance!(small_server, async { Mini::start(Knobs::default()).bench() });
godvision_core::archive_conformance!(without_epsv_behind_nat, async {
    Mini::start(Knobs { no_epsv: true, pasv_lies: Some([10, 255, 255, 1]), ..Knobs::default() }).bench()
});
godvision_core::archive_conformance!(without_rest_for_stor, async {
    Mini::start(Knobs { no_rest_stor: true, ..Knobs::default() }).bench()
});

const SIZE: usize = 400_000;

fn upload(folder: &Path) -> (Upload, Vec<u8>) {
    let content: Vec<u8> = (0..SIZE).map(|i| (i * 7 + i / 300) as u8).collect();
    let file = folder.join("upload.local");
    fs::write(&file, &content).unwrap();
    let sha256 = Sha256::digest(&content).into();
    (Upload { file, name: "y/a.mp4".into(), size_bytes: SIZE as u64, sha256 }, content)
}

async fn store(archive: &FtpArchive, upload: &Upload) -> Result<u64, ArchiveError> {
    let first = AtomicU64::new(u64::MAX);
    let progress = |bytes| first.store(first.load(Ordering::SeqCst).min(bytes), Ordering::SeqCst);
    archive.store(upload, &progress).await.map(|_| first.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_is_resumed_where_it_stopped() {
    for no_rest_stor in [false, true] {
        let mini = Mini::start(Knobs { cut_after: Some(150_000), no_rest_stor, ..Knobs::default() });
        let local = TempDir::new().unwrap();
        let (upload, content) = upload(local.path());
        let archive = mini.archive();
        let error = store(&archive, &upload).await.unwrap_err();
        assert!(error.is_temporary(), "{error:?}");
        assert!(!mini.home.path().join("y/a.mp4").exists());
        let resumed = store(&archive, &upload).await.unwrap();
        assert!((150_000..SIZE as u64).contains(&resumed), "resumed at {resumed}");
        assert_eq!(mini.verbs("APPE"), usize::from(no_rest_stor));
        assert!(fs::read(mini.home.path().join("y/a.mp4")).unwrap() == content);
    }
}

#[tokio::test]
async fn a_partial_file_that_is_not_ours_is_sent_anew() {
    let mini = Mini::start(Knobs::default());
    let local = TempDir::new().unwrap();
    let (upload, content) = upload(local.path());
    let print: String = upload.sha256[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir(mini.home.path().join("y")).unwrap();
    let part = mini.home.path().join(format!("y/a.mp4.{print}.part"));
    let mut torn = content[..200_000].to_vec();
    torn[199_000..].fill(0);
    for left in [torn, vec![1; SIZE + 5]] {
        fs::write(&part, left).unwrap();
        assert_eq!(store(&mini.archive(), &upload).await.unwrap(), 0);
        assert!(fs::read(mini.home.path().join("y/a.mp4")).unwrap() == content);
        assert!(!part.exists());
        fs::remove_file(mini.home.path().join("y/a.mp4")).unwrap();
    }
    fs::write(mini.home.path().join("y/a.mp4.0000000000000000.part"), &content[..9]).unwrap();
    assert_eq!(store(&mini.archive(), &upload).await.unwrap(), 0, "another content's partial file is left alone");
}

#[tokio::test]
async fn a_lost_answer_to_the_rename_is_no_second_copy() {
    let mini = Mini::start(Knobs { dies_after: Some("RNTO"), ..Knobs::default() });
    let local = TempDir::new().unwrap();
    let (upload, content) = upload(local.path());
    let archive = mini.archive();
    assert!(store(&archive, &upload).await.unwrap_err().is_temporary());
    assert!(fs::read(mini.home.path().join("y/a.mp4")).unwrap() == content, "it was renamed");
    store(&archive, &upload).await.unwrap();
    assert_eq!(bench::files_below(mini.home.path()), ["y/a.mp4"]);
    assert_eq!(mini.verbs("STOR"), 1);
}

#[tokio::test]
async fn a_checksum_that_differs_is_never_published() {
    let mini = Mini::start(Knobs { xsha256: Some("00".repeat(32)), ..Knobs::default() });
    let local = TempDir::new().unwrap();
    let (upload, _) = upload(local.path());
    let error = store(&mini.archive(), &upload).await.unwrap_err();
    assert!(matches!(&error, ArchiveError::Protocol { detail, .. } if detail.contains("checksum")), "{error:?}");
    assert!(bench::files_below(mini.home.path()).is_empty());
    let right: String = upload.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    mini.server.set(Knobs { xsha256: Some(right), ..Knobs::default() });
    store(&mini.archive(), &upload).await.unwrap();
}

#[tokio::test]
async fn a_full_server_says_so_and_publishes_nothing() {
    let mini = Mini::start(Knobs { full_after: Some(100_000), ..Knobs::default() });
    let local = TempDir::new().unwrap();
    let (upload, _) = upload(local.path());
    let error = store(&mini.archive(), &upload).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Full { .. }), "{error:?}");
    assert!(!mini.home.path().join("y/a.mp4").exists());
    mini.server.set(Knobs::default());
    assert!(store(&mini.archive(), &upload).await.unwrap() > 0, "what it had is resumed");
}

#[tokio::test]
async fn a_wrong_password_is_said_plainly_and_not_shown() {
    let mini = Mini::start(Knobs::default());
    let local = TempDir::new().unwrap();
    let (upload, _) = upload(local.path());
    let error = store(&mini.archive_with("wr0ng-word"), &upload).await.unwrap_err();
    assert!(matches!(error, ArchiveError::AuthFailed { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wr0ng-word"));
    assert_eq!(mini.verbs("PASS"), 1, "tried once");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_a_timeout_at_every_step() {
    let local = TempDir::new().unwrap();
    let (upload, _) = upload(local.path());
    for verb in ["USER", "PASS", "TYPE", "FEAT", "SIZE", "MKD", "EPSV", "STOR", "RNFR", "RNTO"] {
        let mini = Mini::start(Knobs { silent_at: Some(verb), ..Knobs::default() });
        let error = store(&mini.archive(), &upload).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Timeout { .. }), "{verb}: {error:?}");
        assert!(!mini.home.path().join("y/a.mp4").exists(), "{verb}");
        mini.server.set(Knobs::default());
        store(&mini.archive(), &upload).await.unwrap();
    }
}

#[tokio::test]
async fn garbage_at_every_step_is_an_error_and_no_panic() {
    let local = TempDir::new().unwrap();
    let (upload, _) = upload(local.path());
    let garbage: [&[u8]; 6] = [
        b"\r\n",
        b"\xff\xfe\xfd\x00\r\n",
        b"999\r\n",
        b"99999999999999 x\r\n",
        b"213 not-a-number\r\n",
        b"229 (|||99999|)\r\n",
    ];
    for verb in ["USER", "TYPE", "SIZE", "EPSV", "STOR", "RNFR", "RNTO"] {
        for bytes in garbage {
            let says = HashMap::from([(verb, bytes.to_vec())]);
            let mini = Mini::start(Knobs { says, ..Knobs::default() });
            let error = store(&mini.archive(), &upload).await.expect_err(verb);
            assert!(error.is_temporary(), "{verb} {bytes:?}: {error:?}");
            assert!(!mini.home.path().join("y/a.mp4").exists(), "{verb} {bytes:?}");
        }
    }
    let endless = HashMap::from([("FEAT", b"211-x\r\n".repeat(60_000))]);
    let mini = Mini::start(Knobs { says: endless, ..Knobs::default() });
    assert!(store(&mini.archive(), &upload).await.is_err(), "an endless reply is cut off");
}

#[tokio::test]
async fn refusals_keep_their_meaning() {
    let local = TempDir::new().unwrap();
    let (upload, _) = upload(local.path());
    for (verb, says, expected) in [
        ("USER", "530 Non-anonymous sessions must use encryption.", "Tls"),
        ("PASS", "421 There are too many connected users, please try later.", "Unreachable"),
        ("STOR", "553 Could not create file.", "Denied"),
        ("STOR", "452 Insufficient storage", "Full"),
        ("RNTO", "550 Permission denied.", "Denied"),
        ("SIZE", "502 Command not implemented.", "Protocol"),
    ] {
        let says = HashMap::from([(verb, format!("{says}\r\n").into_bytes())]);
        let mini = Mini::start(Knobs { says, ..Knobs::default() });
        let error = store(&mini.archive(), &upload).await.expect_err(verb);
        assert!(format!("{error:?}").starts_with(expected), "{verb}: {error:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let archive = FtpArchive::new(options(&format!("ftp://u:p@127.0.0.1:{port}"))).unwrap();
    let local = TempDir::new().unwrap();
    let (upload, _) = upload(local.path());
    let error = store(&archive, &upload).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn only_the_expected_certificate_is_accepted() {
    let bench = real_server(true);
    let port = serve(bench.root().parent().unwrap().to_owned(), true);
    let url = format!("ftps://cam:pw@127.0.0.1:{port}/clips");
    let local = TempDir::new().unwrap();
    let (upload, _) = upload(local.path());
    let trusting = |trust| FtpArchive::new(FtpOptions { trust, ..options(&url) }).unwrap();

    let error = store(&trusting(FtpTrust::Fingerprint([7; 32])), &upload).await.unwrap_err();
    assert!(matches!(&error, ArchiveError::Tls { detail, .. } if detail.contains(&fingerprint())), "{error:?}");
    assert!(!error.is_temporary());
    let other = include_str!("bench/other_certificate.pem");
    let error = store(&trusting(FtpTrust::Pem(other.into())), &upload).await.unwrap_err();
    assert!(matches!(&error, ArchiveError::Tls { .. }), "{error:?}");

    store(&trusting(FtpTrust::Pem(CERTIFICATE.into())), &upload).await.unwrap();
    assert!(bench.content("y/a.mp4").is_some());
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_clear() {
    let mini = Mini::start(Knobs::default());
    let url = format!("ftps://cam:pw@127.0.0.1:{}?fingerprint={}", mini.server.port, fingerprint());
    let archive = FtpArchive::new(options(&url)).unwrap();
    let local = TempDir::new().unwrap();
    let (upload, _) = upload(local.path());
    let error = store(&archive, &upload).await.unwrap_err();
    assert!(matches!(&error, ArchiveError::Tls { detail, .. } if detail.contains("no TLS")), "{error:?}");
    assert_eq!(mini.verbs("USER"), 0, "no login was sent");
}
