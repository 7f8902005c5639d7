//! Bodies of the fuzz targets: one function a parser, from any bytes to assertions about what came out.
//!
//! A body checks what must hold for *every* input (what parses prints the same, sizes agree, two implementations give
//! one answer), not only that nothing panics. The targets in `fuzz_targets/` are one line each; the corpus in
//! `corpus/<target>/` replays in `cargo test --manifest-path fuzz/Cargo.toml` on a stable compiler.
//!
//! To fuzz (nightly compiler, `cargo install cargo-fuzz`):
//! ```text
//! cargo +nightly fuzz run nal -- -max_total_time=60
//! RUSTC_BOOTSTRAP=1 cargo fuzz run -s none nal -- -max_total_time=60   # a stable compiler, without a sanitizer
//! ```
//! A crash found becomes a file of the corpus in the commit that mends it.
//!
//! **Never:** a body that passes because it returned early on everything: `tests/replay.rs` holds that each corpus
//! reaches the checks.

#![forbid(unsafe_code)]

mod decode;
mod faces;
mod fieldbus_frames;
mod fragmenter;
mod ftp_replies;
mod input;
mod motion;
mod nal;
mod osdp;
mod pass_bytes;
mod plates;
mod premises;
mod qr_pixels;
mod qr_text;
mod reader_lines;
mod relay_replies;
mod rtsp_request;
mod rules;
mod rules_snapshot;
mod site_document;
mod spent_log;
mod stored_key;

pub use decode::decode;
pub use faces::{faces, vault_seed};
pub use fieldbus_frames::fieldbus_frames;
pub use fragmenter::fragmenter;
pub use ftp_replies::{ftp_replies, manifest_seed};
pub use input::Input;
pub use motion::motion;
pub use nal::nal;
pub use osdp::osdp;
pub use pass_bytes::pass_bytes;
pub use plates::plates;
pub use premises::premises;
pub use qr_pixels::qr_pixels;
pub use qr_text::qr_text;
pub use reader_lines::reader_lines;
pub use relay_replies::relay_replies;
pub use rtsp_request::rtsp_request;
pub use rules::rules;
pub use rules_snapshot::rules_snapshot;
pub use site_document::site_document;
pub use spent_log::spent_log;
pub use stored_key::stored_key;

/// What a body made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The input was refused before the interesting checks.
    Refused,
    /// At least one of the checks behind the parser ran.
    Checked,
}

impl Reached {
    /// [`Reached::Checked`] if `checked`.
    pub fn when(checked: bool) -> Self {
        if checked { Self::Checked } else { Self::Refused }
    }
}

/// A target's body.
pub type Body = fn(&[u8]) -> Reached;

/// Every target: its name, which is its file in `fuzz_targets/` and its folder in `corpus/`, and its body.
pub const TARGETS: &[(&str, Body)] = &[
    ("decode", decode),
    ("faces", faces),
    ("fieldbus_frames", fieldbus_frames),
    ("fragmenter", fragmenter),
    ("ftp_replies", ftp_replies),
    ("motion", motion),
    ("nal", nal),
    ("osdp", osdp),
    ("pass_bytes", pass_bytes),
    ("plates", plates),
    ("premises", premises),
    ("qr_pixels", qr_pixels),
    ("qr_text", qr_text),
    ("reader_lines", reader_lines),
    ("relay_replies", relay_replies),
    ("rtsp_request", rtsp_request),
    ("rules", rules),
    ("rules_snapshot", rules_snapshot),
    ("site_document", site_document),
    ("spent_log", spent_log),
    ("stored_key", stored_key),
];
