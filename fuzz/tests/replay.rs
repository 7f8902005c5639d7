//! Every file of the corpus goes through its body, and enough of them get past the parser.

use std::path::{Path, PathBuf};

use godvision_fuzz::{Body, Reached, TARGETS};

/// Most bytes of all corpora together: they are read by every clone.
const CORPUS_BYTES_MAX: u64 = 200_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(name: &str, body: Body) {
    let files = files(&root().join("corpus").join(name));
    assert!(!files.is_empty(), "the corpus of {name} is empty");
    let mut checked = 0;
    for file in &files {
        let data = std::fs::read(file).unwrap();
        println!("{}", file.display());
        checked += usize::from(body(&data) == Reached::Checked);
    }
    assert!(checked > 0, "no file of the corpus of {name} gets past its parser");
    println!("{name}: {} files, {checked} past the parser", files.len());
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name), godvision_fuzz::$name);
        })*
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}
replays!(
    decode
    faces
    fieldbus_frames
    fragmenter
    ftp_replies
    motion
    nal
    osdp
    pass_bytes
    plates
    premises
    qr_pixels
    qr_text
    reader_lines
    relay_replies
    rtsp_request
    rules
    rules_snapshot
    site_document
    spent_log
    stored_key
);

#[test]
fn every_target_is_replayed_and_has_its_file() {
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, REPLAYED);
    let of = |folder: &str| -> Vec<String> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        files(&root().join(folder)).into_iter().map(stem).collect()
    };
    assert_eq!(of("fuzz_targets"), names);
    assert_eq!(of("corpus"), names);
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("fuzz_targets/{name}.rs")), "{name} is no binary of Cargo.toml");
    }
}

#[test]
fn the_corpus_stays_small() {
    let bytes: u64 = files(&root().join("corpus"))
        .iter()
        .flat_map(|folder| files(folder))
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes: run `cargo fuzz cmin`, or keep only what crashed");
}

#[test]
fn bodies_take_nothing_and_noise() {
    for (_, body) in TARGETS {
        body(&[]);
        // A short xorshift is noise enough, and the same every time.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for length in 0..64 {
            let noise: Vec<u8> = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .take(length)
            .collect();
            body(&noise);
        }
    }
}
