//! The manifest beside a clip, and the line about it in `archived.jsonl`: JSON, version 1.
//!
//! The wire form is its own set of types, so that [`ClipInfo`] can change without breaking spools on disks.
//!
//! **Never:** secrets; the manifest may be copied beside the clip into the archive.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use std::path::Path;
use std::time::Duration;

use godvision_core::{MonoTime, Name, Stamp, WallTime};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::clip::{CloseReason, Gap, MotionMark, OpenReason};
use crate::spool::{ClipId, ClipInfo};

/// Version written; others are refused.
pub const VERSION: u32 = 1;
/// Largest manifest read.
pub const BYTES_MAX: usize = 256 << 10;

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u32,
    id: String,
    camera: String,
    codec: String,
    mime: String,
    width: u16,
    height: u16,
    started_us: i64,
    ended_us: i64,
    duration_ms: u64,
    frames: u64,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    archive_name: String,
    opened_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed_by: Option<String>,
    session: u32,
    first_sequence: u64,
    last_sequence: u64,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    starts_at_key: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    unrecorded_before: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<WireGap>,
    #[serde(default, skip_serializing_if = "is_zero")]
    gaps_more: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    motions: Vec<WireMotion>,
    #[serde(default, skip_serializing_if = "is_no")]
    flagged: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    archived_us: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct WireGap {
    at_us: i64,
    mono_ns: u64,
    sequence: u64,
    frames: u64,
    packets: u32,
}

#[derive(Serialize, Deserialize)]
struct WireMotion {
    event: u64,
    started_us: i64,
    started_mono_ns: u64,
    ended_us: i64,
    ended_mono_ns: u64,
}

fn yes() -> bool {
    true
}

// serde hands references to the next three.
fn is_yes(value: &bool) -> bool {
    *value
}

fn is_no(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

const CLOSE_CODES: [(CloseReason, &str); 8] = [
    (CloseReason::Quiet, "quiet"),
    (CloseReason::Length, "length"),
    (CloseReason::SessionChanged, "session"),
    (CloseReason::FormatChanged, "format"),
    (CloseReason::StreamLost, "stream_lost"),
    (CloseReason::Stopped, "stopped"),
    (CloseReason::StorageFailed, "storage_failed"),
    (CloseReason::Recovered, "recovered"),
];

impl OpenReason {
    /// `motion`, `continuous`, `continuation`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Motion { .. } => "motion",
            Self::Continuous => "continuous",
            Self::Continuation => "continuation",
        }
    }
}

impl CloseReason {
    /// `quiet`, `length`, `session`, `format`, `stream_lost`, `stopped`, `storage_failed`, `recovered`.
    pub fn code(self) -> &'static str {
        CLOSE_CODES.iter().find(|(reason, _)| *reason == self).map_or("unknown", |(_, code)| code)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(out)
}

/// One line of JSON. `archived` is the moment the archive had it.
pub fn to_json(info: &ClipInfo, archived: Option<WallTime>) -> String {
    let wire = Wire {
        version: VERSION,
        id: info.id.to_string(),
        camera: info.camera.to_string(),
        codec: info.codec.clone(),
        mime: info.mime.clone(),
        width: info.width,
        height: info.height,
        started_us: info.started.as_unix_micros(),
        ended_us: info.ended.as_unix_micros(),
        duration_ms: u64::try_from(info.duration.as_millis()).unwrap_or(u64::MAX),
        frames: info.frames,
        bytes: info.bytes,
        sha256: info.closed_by.map(|_| hex(&info.sha256)),
        archive_name: info.archive_name.clone(),
        opened_by: info.opened_by.code().to_owned(),
        event: match info.opened_by {
            OpenReason::Motion { event } => Some(event),
            _ => None,
        },
        closed_by: info.closed_by.map(|reason| reason.code().to_owned()),
        session: info.session,
        first_sequence: info.first_sequence,
        last_sequence: info.last_sequence,
        starts_at_key: info.starts_at_key,
        unrecorded_before: info.unrecorded_before,
        gaps: info
            .gaps
            .iter()
            .map(|gap| WireGap {
                at_us: gap.at.wall.as_unix_micros(),
                mono_ns: gap.at.mono.as_nanos(),
                sequence: gap.sequence,
                frames: gap.frames,
                packets: gap.packets,
            })
            .collect(),
        gaps_more: info.gaps_more,
        motions: info
            .motions
            .iter()
            .map(|motion| WireMotion {
                event: motion.event,
                started_us: motion.started.wall.as_unix_micros(),
                started_mono_ns: motion.started.mono.as_nanos(),
                ended_us: motion.ended.wall.as_unix_micros(),
                ended_mono_ns: motion.ended.mono.as_nanos(),
            })
            .collect(),
        flagged: info.is_flagged,
        archived_us: archived.map(WallTime::as_unix_micros),
    };
    // Strings, numbers and vectors of them cannot fail to be written.
    serde_json::to_string(&wire).unwrap_or_default()
}

fn stamp(wall_us: i64, mono_ns: u64) -> Stamp {
    Stamp::new(MonoTime::from_nanos(mono_ns), WallTime::from_unix_micros(wall_us))
}

/// Reads what [`to_json`] wrote. `path` is for the error only.
///
/// # Errors
/// [`Error::Manifest`].
pub fn from_json(text: &[u8], path: &Path) -> Result<(ClipInfo, Option<WallTime>), Error> {
    let bad = |detail: String| Error::Manifest { path: path.to_owned(), detail };
    if text.len() > BYTES_MAX {
        return Err(bad(format!("longer than {BYTES_MAX} bytes")));
    }
    let wire: Wire = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
    if wire.version != VERSION {
        return Err(bad(format!("version {} is not known, only {VERSION}", wire.version)));
    }
    let closed_by = match &wire.closed_by {
        None => None,
        Some(code) => {
            let known = CLOSE_CODES.iter().find(|(_, known)| known == code).map(|(reason, _)| *reason);
            Some(known.ok_or_else(|| bad(format!("closed_by {code:?} is not known")))?)
        }
    };
    let sha256 = match (&wire.sha256, closed_by) {
        (Some(text), _) => from_hex(text).ok_or_else(|| bad("sha256 is not 64 hexadecimal digits".to_owned()))?,
        (None, None) => [0; 32],
        (None, Some(_)) => return Err(bad("sha256 is missing".to_owned())),
    };
    godvision_core::driver::archive::checked_name(&wire.archive_name).map_err(|error| bad(error.to_string()))?;
    let info = ClipInfo {
        id: ClipId::parse(&wire.id).map_err(|error| bad(error.to_string()))?,
        camera: Name::new(&wire.camera).map_err(|error| bad(error.to_string()))?,
        codec: wire.codec,
        mime: wire.mime,
        width: wire.width,
        height: wire.height,
        started: WallTime::from_unix_micros(wire.started_us),
        ended: WallTime::from_unix_micros(wire.ended_us),
        duration: Duration::from_millis(wire.duration_ms),
        frames: wire.frames,
        bytes: wire.bytes,
        sha256,
        archive_name: wire.archive_name,
        opened_by: match (wire.opened_by.as_str(), wire.event) {
            ("motion", Some(event)) => OpenReason::Motion { event },
            ("continuous", _) => OpenReason::Continuous,
            ("continuation", _) => OpenReason::Continuation,
            (other, _) => return Err(bad(format!("opened_by {other:?} is not known"))),
        },
        closed_by,
        session: wire.session,
        first_sequence: wire.first_sequence,
        last_sequence: wire.last_sequence,
        starts_at_key: wire.starts_at_key,
        unrecorded_before: wire.unrecorded_before,
        gaps: wire
            .gaps
            .iter()
            .map(|gap| Gap {
                at: stamp(gap.at_us, gap.mono_ns),
                sequence: gap.sequence,
                frames: gap.frames,
                packets: gap.packets,
            })
            .collect(),
        gaps_more: wire.gaps_more,
        motions: wire
            .motions
            .iter()
            .map(|motion| MotionMark {
                event: motion.event,
                started: stamp(motion.started_us, motion.started_mono_ns),
                ended: stamp(motion.ended_us, motion.ended_mono_ns),
            })
            .collect(),
        is_flagged: wire.flagged,
    };
    Ok((info, wire.archived_us.map(WallTime::from_unix_micros)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn info() -> ClipInfo {
        let id = ClipId::parse("20261121T093000250Z-yard").unwrap();
        let mut info = ClipInfo::of_orphan(id);
        info.opened_by = OpenReason::Motion { event: 7 };
        info.closed_by = Some(CloseReason::Quiet);
        info.sha256 = [0xab; 32];
        info.duration = Duration::from_millis(10_040);
        info.gaps = vec![Gap { at: stamp(5, 6), sequence: 9, frames: 3, packets: 2 }];
        info.motions = vec![MotionMark { event: 7, started: stamp(1, 2), ended: stamp(3, 4) }];
        info
    }

    #[test]
    fn what_is_written_is_read() {
        let info = info();
        let at = Some(WallTime::from_unix_seconds(9));
        assert_eq!(from_json(to_json(&info, at).as_bytes(), Path::new("x")).unwrap(), (info, at));
    }

    #[test]
    fn a_manifest_that_cannot_be_trusted_says_why() {
        let text = to_json(&info(), None);
        for (from, to, why) in [
            ("\"version\":1", "\"version\":2", "version 2"),
            ("\"quiet\"", "\"tired\"", "closed_by \"tired\""),
            ("abab", "xyxy", "sha256"),
            ("\"camera\":\"", "\"camera\":\"../", "name"),
            ("\"archive_name\":\"", "\"archive_name\":\"/etc/", "archive name"),
            ("{", "[", ""),
        ] {
            let error = from_json(text.replacen(from, to, 1).as_bytes(), Path::new("a.json")).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("a.json"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..400) {
            prop_assert!(from_json(&bytes, Path::new("x")).is_err());
            let mut text = to_json(&info(), None).into_bytes();
            for (index, byte) in bytes.iter().enumerate() {
                if let Some(place) = text.get_mut(at + index) { *place = *byte; }
            }
            let _ = from_json(&text, Path::new("x"));
        }
    }
}
