//! The behaviour of every [`Archive`], as tests: `archive_conformance!(name, start)`.
//!
//! ```ignore
//! godvision_core::archive_conformance!(my_archive, MyBench::start());
//! ```
//! makes a module `my_archive` with one `#[test]` for each behaviour. `start()` is a future of an [`ArchiveBench`] with
//! an empty archive; it is called anew for each test, on a current-thread tokio runtime.
//!
//! The promise that is tested: a file is visible under its final name only when it is whole, and once `store` has
//! returned `Ok` it is there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::driver::archive::{Archive, ArchiveError, Stored, Upload};

/// A driver, and the archive behind it as it really is.
pub trait ArchiveBench {
    /// The driver under test, set up so that it works.
    fn archive(&self) -> Arc<dyn Archive>;

    /// An empty local folder for files to store.
    fn folder(&self) -> PathBuf;

    /// The names of all files in the archive, partial ones too, in any order: looked up behind the driver's back.
    fn names(&self) -> Vec<String>;

    /// The content of a file in the archive, looked up behind the driver's back.
    fn content(&self, name: &str) -> Option<Vec<u8>>;

    /// Puts a file into the archive behind the driver's back, folders included.
    fn plant(&self, name: &str, content: &[u8]);
}

/// Gives an archive driver its tests; see [`driver::conformance::archive`](crate::driver::conformance::archive).
#[macro_export]
macro_rules! archive_conformance {
    ($name:ident, $start:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::archive_conformance!(@tests $start;
                a_stored_file_is_whole_under_its_final_name,
                storing_again_changes_nothing,
                an_interrupted_store_publishes_nothing_and_can_be_repeated,
                another_file_of_that_name_is_not_replaced,
                any_range_can_be_read,
                what_is_not_there_is_said_plainly,
                what_is_removed_is_gone,
                unsafe_names_are_refused,
                a_missing_local_file_publishes_nothing,
                a_local_file_of_another_size_publishes_nothing,
                progress_ends_at_the_size,
                calls_may_overlap
            );
        }
    };
    (@tests $start:expr; $($test:ident),*) => {
        $(
            #[test]
            fn $test() {
                $crate::driver::conformance::relay::block_on(async {
                    let bench = $start.await;
                    $crate::driver::conformance::archive::$test(&bench).await;
                });
            }
        )*
    };
}

/// Contents by seed and length, with their SHA-256: `byte[i] = i * 31 + i / 256 * 7 + seed * 17`.
const FILES: [(usize, usize, &str); 7] = [
    (1, 1, "4a64a107f0cb32536e5bce6c98c393db21cca7f4ea187ba8c4dca8b51d4ea80a"),
    (2, 100000, "7317263801e061fe0ec30b6ef2b8ba236ae6e6a850d40cd5fd67876acd58ff88"),
    (3, 3000000, "7db2af0011339bd4a4cef3a9058d0fe2e3191a01b2c5448d43245acfb677b708"),
    (4, 50000, "ef95b62a6070c2cefb45b08e0e9938244ab4f8ff38d76e6b3c238310b78d380a"),
    (5, 60000, "94ea85b12afc47a0ca570e09ae9108774c85844e3f014d94b0233f50bf8381db"),
    (6, 70000, "22f4b65462006142ca26ebe4b0db289f69ff3678b6394b2414d1f95a6da28b00"),
    (7, 80000, "ffda9b1f8efdcc2160ec1fcd7670b17f6e5e3b85cbe75e854b044429005f011c"),
];

fn bytes_of(which: usize) -> Vec<u8> {
    let (seed, len, _) = FILES[which];
    (0..len).map(|i| (i * 31 + (i >> 8) * 7 + seed * 17) as u8).collect()
}

/// Writes file `which` into the bench's folder.
fn file(bench: &impl ArchiveBench, which: usize, name: &str) -> (Upload, Vec<u8>) {
    let content = bytes_of(which);
    let path = bench.folder().join(format!("file-{which}"));
    fs::write(&path, &content).expect("a local file");
    let digits = FILES[which].2;
    let mut sha256 = [0; 32];
    for (index, byte) in sha256.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[index * 2..index * 2 + 2], 16).expect("a constant");
    }
    (Upload { file: path, name: name.to_owned(), size_bytes: content.len() as u64, sha256 }, content)
}

async fn store(archive: &dyn Archive, upload: &Upload) -> Result<Stored, ArchiveError> {
    archive.store(upload, &|_| {}).await
}

/// A server may go on for a moment with what it received before a link was cut, so the next try may fail in passing.
async fn store_patiently(archive: &dyn Archive, upload: &Upload) -> Result<Stored, ArchiveError> {
    let mut last = store(archive, upload).await;
    for _ in 0..5 {
        match &last {
            Err(error) if error.is_temporary() => last = store(archive, upload).await,
            _ => break,
        }
    }
    last
}

/// Everything below it needs this: small and large files, in folders that are not there yet.
pub async fn a_stored_file_is_whole_under_its_final_name(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    for (which, name) in [(0, "one.mp4"), (1, "yard/camera/2026-11-21/b.mp4"), (2, "yard/camera/2026-11-21/c.mp4")] {
        let (upload, content) = file(bench, which, name);
        let stored = store(&*archive, &upload).await.expect("stored");
        assert_eq!(stored, Stored { name: name.to_owned(), size_bytes: upload.size_bytes });
        assert_eq!(archive.stat(name).await, Ok(Some(stored)));
        assert!(bench.content(name).expect("it is there") == content, "{name} differs");
    }
    assert_eq!(bench.names().len(), 3, "no partial file is left: {:?}", bench.names());
}

/// An answer may be lost: the same file is taken as stored.
pub async fn storing_again_changes_nothing(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    let (upload, content) = file(bench, 1, "a/b.mp4");
    for _ in 0..3 {
        store(&*archive, &upload).await.expect("stored");
    }
    assert_eq!(bench.names(), ["a/b.mp4"]);
    assert!(bench.content("a/b.mp4").expect("it is there") == content);
}

/// A store that is dropped in the middle, as at a shutdown, leaves nothing under the final name; the next one completes
/// it and leaves nothing else.
pub async fn an_interrupted_store_publishes_nothing_and_can_be_repeated(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    let (upload, content) = file(bench, 2, "a/b.mp4");
    for part in 1..4 {
        let (reached, limit) = (Notify::new(), upload.size_bytes * part / 4);
        let progress = |bytes: u64| {
            if bytes >= limit {
                reached.notify_one();
            }
        };
        let is_done = {
            let mut storing = pin!(archive.store(&upload, &progress));
            tokio::select! {
                biased;
                () = reached.notified() => false,
                done = &mut storing => done.is_ok(),
            }
        };
        if is_done {
            break;
        }
        let seen = bench.content("a/b.mp4");
        assert!(seen.is_none_or(|seen| seen == content), "a partial file has the final name");
    }
    store_patiently(&*archive, &upload).await.expect("stored");
    assert!(bench.content("a/b.mp4").expect("it is there") == content, "a resumed file differs");
    assert_eq!(bench.names(), ["a/b.mp4"]);
}

/// A published file is never replaced by another.
pub async fn another_file_of_that_name_is_not_replaced(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    bench.plant("a/b.mp4", b"something else");
    let (upload, _) = file(bench, 1, "a/b.mp4");
    match store(&*archive, &upload).await {
        Err(ArchiveError::Mismatch { expected: 100_000, found: 14, .. }) => {}
        other => panic!("expected a mismatch, got {other:?}"),
    }
    assert_eq!(bench.content("a/b.mp4").as_deref(), Some(b"something else".as_slice()));
}

/// Playback seeks: ranges at the start, in the middle, over the end, empty and beyond.
pub async fn any_range_can_be_read(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    let content = bytes_of(2);
    bench.plant("a/b.mp4", &content);
    let size = content.len() as u64;
    for range in
        [0..size, 0..1, 5..5, size - 7..size, 1_000_000..1_000_100, size - 7..size + 50, size..size + 5, 7..90_000]
    {
        let wanted = &content[range.start.min(size) as usize..range.end.min(size) as usize];
        let read = archive.read("a/b.mp4", range.clone()).await.expect("read");
        assert!(read == wanted, "bytes {range:?} differ, got {} of {}", read.len(), wanted.len());
    }
}

/// Absence is an answer, not a failure, except for reading.
pub async fn what_is_not_there_is_said_plainly(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    assert_eq!(archive.stat("a/b.mp4").await, Ok(None));
    assert_eq!(archive.read("a/b.mp4", 0..5).await, Err(ArchiveError::NotFound { name: "a/b.mp4".to_owned() }));
    assert_eq!(archive.remove("a/b.mp4").await, Ok(()));
}

/// And the others stay.
pub async fn what_is_removed_is_gone(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    bench.plant("a/b.mp4", b"one");
    bench.plant("a/c.mp4", b"two");
    archive.remove("a/b.mp4").await.expect("removed");
    assert_eq!(bench.names(), ["a/c.mp4"]);
    assert_eq!(archive.stat("a/b.mp4").await, Ok(None));
}

/// No name leads out of the archive's folder or into a command.
pub async fn unsafe_names_are_refused(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    for name in ["", "/a", "../a", "a/../b", "a//b", "a/", ".a", "a b", "a\r\nDELE b", "a\\b", "-\u{431}"] {
        let bad = ArchiveError::BadName { name: name.to_owned() };
        let (upload, _) = file(bench, 0, name);
        assert_eq!(store(&*archive, &upload).await, Err(bad.clone()));
        assert_eq!(archive.stat(name).await, Err(bad.clone()));
        assert_eq!(archive.read(name, 0..1).await, Err(bad.clone()));
        assert_eq!(archive.remove(name).await, Err(bad));
    }
    assert!(bench.names().is_empty());
}

/// The fault is on this side, and said so.
pub async fn a_missing_local_file_publishes_nothing(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    let (mut upload, _) = file(bench, 1, "a/b.mp4");
    upload.file = bench.folder().join("no-such-file");
    match store(&*archive, &upload).await {
        Err(error @ ArchiveError::Local { .. }) => assert!(!error.is_temporary()),
        other => panic!("expected a local error, got {other:?}"),
    }
    assert_eq!(bench.content("a/b.mp4"), None);
}

/// A file that is not what was announced is not published, shorter or longer.
pub async fn a_local_file_of_another_size_publishes_nothing(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    for size_bytes in [99_999, 100_001] {
        let (mut upload, _) = file(bench, 1, "a/b.mp4");
        upload.size_bytes = size_bytes;
        let stored = store(&*archive, &upload).await;
        assert!(stored.is_err(), "{size_bytes} announced: {stored:?}");
        assert_eq!(bench.content("a/b.mp4"), None);
    }
}

/// Bytes are told in order and end at the size.
pub async fn progress_ends_at_the_size(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    let (upload, _) = file(bench, 2, "a/b.mp4");
    let last = AtomicU64::new(0);
    let progress = |bytes: u64| {
        let before = last.swap(bytes, Ordering::SeqCst);
        assert!(before <= bytes, "progress went back from {before} to {bytes}");
    };
    archive.store(&upload, &progress).await.expect("stored");
    assert_eq!(last.load(Ordering::SeqCst), upload.size_bytes);
}

/// Storing, reading and looking at once.
pub async fn calls_may_overlap(bench: &impl ArchiveBench) {
    let archive = bench.archive();
    let content = bytes_of(2);
    bench.plant("x/y.mp4", &content);
    let files: Vec<(Upload, Vec<u8>)> = (3..7).map(|which| file(bench, which, &format!("n/{which}.mp4"))).collect();
    let (a, b, c, d, read, seen) = tokio::join!(
        store(&*archive, &files[0].0),
        store(&*archive, &files[1].0),
        store(&*archive, &files[2].0),
        store(&*archive, &files[3].0),
        archive.read("x/y.mp4", 0..content.len() as u64),
        archive.stat("x/y.mp4"),
    );
    for stored in [a, b, c, d] {
        stored.expect("stored");
    }
    assert!(read.expect("read") == content);
    assert_eq!(seen.expect("looked").expect("there").size_bytes, content.len() as u64);
    for (upload, content) in files {
        assert!(bench.content(&upload.name).expect("it is there") == content, "{} differs", upload.name);
    }
}
