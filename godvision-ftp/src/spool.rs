//! What a kept clip is called and what is known of it: [`ClipId`], [`ClipInfo`], and the plan of a recovery.
//!
//! The spool's folders are the truth; nothing else remembers anything:
//!
//! ```text
//! tmp/    ID.mp4 ID.json     being written
//! ready/  ID.mp4 ID.json     complete, waiting for the archive
//! sent/   ID.mp4 ID.json     in the archive, kept here a while for quick playback
//! archived.jsonl             what the archive holds, one line a clip
//! reserve                    space to write a manifest with when the disk is full
//! ```
//!
//! A clip is *closed* by one rename: that of its finished manifest, which holds the file's size and SHA-256 and is
//! written only after the file itself is synced. [`plan`] looks at what a crash left of a clip and says what to do.
//!
//! **Never:** file operations (they are in [`crate::io::spool`]), a database.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use godvision_core::driver::archive::checked_name;
use godvision_core::{Name, WallTime};

use crate::Error;
use crate::clip::{ClipSummary, CloseReason, Gap, MotionMark, OpenReason};

/// Names a clip: `20261121T093000250Z-yard_camera`. A safe file name that sorts by time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClipId(Arc<str>);

impl ClipId {
    /// Most bytes of an identifier.
    pub const BYTES_MAX: usize = 160;

    /// For a clip of `camera` that starts at `started`; `attempt` tells clips apart that would have one name, 0 for the
    /// first.
    pub fn new(started: WallTime, camera: &Name, attempt: u32) -> Self {
        let (year, month, day, hour, minute, second) = started.utc_parts();
        let millis = started.as_unix_micros().rem_euclid(1_000_000) / 1000;
        let camera = latin(&camera.as_str().replace('/', "_"), 100);
        let mut text = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}{millis:03}Z-{camera}");
        if attempt > 0 {
            text.push_str(&format!("-{attempt}"));
        }
        Self(text.into())
    }

    /// Takes `text` if it could be an identifier.
    ///
    /// # Errors
    /// [`Error::BadClipId`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_safe = text.len() <= Self::BYTES_MAX && !text.contains('/') && checked_name(text).is_ok();
        if is_safe { Ok(Self(text.into())) } else { Err(Error::BadClipId { text: text.chars().take(200).collect() }) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ClipId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Where a clip goes in the archive: `yard/camera/2026-11-21/ID.mp4`.
pub fn archive_name(id: &ClipId, camera: &Name, started: WallTime) -> String {
    let (year, month, day, ..) = started.utc_parts();
    let folder: Vec<String> = camera.as_str().split('/').map(|part| latin(part, 64)).collect();
    let name = format!("{}/{year:04}-{month:02}-{day:02}/{id}.mp4", folder.join("/"));
    // A camera below many long subsystems would not fit: its identifier alone still tells it apart.
    if checked_name(&name).is_ok() { name } else { format!("{year:04}-{month:02}-{day:02}/{id}.mp4") }
}

/// A safe file name in ASCII. Cyrillic letters are spelled in Latin ones, other letters become `-`; a name that lost
/// anything gets a short fingerprint, so that two cameras never share one.
fn latin(text: &str, bytes_max: usize) -> String {
    const CYRILLIC: [&str; 32] = [
        "a", "b", "v", "g", "d", "e", "zh", "z", "i", "y", "k", "l", "m", "n", "o", "p", "r", "s", "t", "u", "f", "kh",
        "ts", "ch", "sh", "shch", "", "y", "", "e", "yu", "ya",
    ];
    let mut out = String::new();
    let mut is_exact = true;
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            out.push(c);
            continue;
        }
        is_exact = false;
        let lower = c.to_lowercase().next().unwrap_or(c);
        match u32::from(lower).checked_sub(u32::from('а')).and_then(|index| CYRILLIC.get(index as usize)) {
            Some(spelled) => out.push_str(spelled),
            None if lower == 'ё' => out.push_str("yo"),
            None => out.push('-'),
        }
    }
    if is_exact && out.len() <= bytes_max {
        return out;
    }
    // FNV-1a, 32 bits: enough to tell the cameras of one site apart.
    let print = text.bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    out.truncate(bytes_max.saturating_sub(9));
    let start = out.find(|c: char| c != '.').unwrap_or(out.len());
    format!("{}-{print:08x}", &out[start..])
}

/// A finished clip, as its manifest tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipInfo {
    /// Its identifier.
    pub id: ClipId,
    /// The camera component.
    pub camera: Name,
    /// `H.264`, `H.265`, `MJPEG`.
    pub codec: String,
    /// For a player: `video/mp4; codecs="avc1.640028"`.
    pub mime: String,
    /// Luma width in pixels.
    pub width: u16,
    /// Luma height in pixels.
    pub height: u16,
    /// Capture time of the first frame.
    pub started: WallTime,
    /// Capture time of the last frame.
    pub ended: WallTime,
    /// How long it plays, gaps included.
    pub duration: Duration,
    /// Frames.
    pub frames: u64,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file; zero while it is being recorded.
    pub sha256: [u8; 32],
    /// Its name in the archive.
    pub archive_name: String,
    /// Why it was opened.
    pub opened_by: OpenReason,
    /// Why it was closed; `None` while it is being recorded.
    pub closed_by: Option<CloseReason>,
    /// The camera's session.
    pub session: u32,
    /// Sequence of the first frame.
    pub first_sequence: u64,
    /// Sequence of the last frame.
    pub last_sequence: u64,
    /// Whether it can be decoded from its first frame.
    pub starts_at_key: bool,
    /// Frames before it that should have been recorded but could not be written.
    pub unrecorded_before: u64,
    /// Frames missing inside.
    pub gaps: Vec<Gap>,
    /// Further gaps that are not listed.
    pub gaps_more: u64,
    /// Motions inside.
    pub motions: Vec<MotionMark>,
    /// Protected by its owner: never given up before it is in the archive.
    pub is_flagged: bool,
}

impl ClipInfo {
    /// What is known of an open clip.
    pub fn of(id: ClipId, summary: &ClipSummary) -> Self {
        let format = &summary.init.format;
        Self {
            archive_name: archive_name(&id, &summary.camera, summary.started.wall),
            id,
            camera: summary.camera.clone(),
            codec: format.codec.to_string(),
            mime: summary.init.mime.clone(),
            width: format.width,
            height: format.height,
            started: summary.started.wall,
            ended: summary.ended.wall,
            duration: summary.duration(),
            frames: summary.frames,
            bytes: summary.bytes,
            sha256: [0; 32],
            opened_by: summary.opened_by,
            closed_by: summary.closed_by,
            session: summary.session,
            first_sequence: summary.first_sequence,
            last_sequence: summary.last_sequence,
            starts_at_key: summary.starts_at_key,
            unrecorded_before: summary.unrecorded_before,
            gaps: summary.gaps.clone(),
            gaps_more: summary.gaps_more,
            motions: summary.motions.clone(),
            is_flagged: false,
        }
    }

    /// Whether something moved in it, as opposed to a piece of continuous recording.
    pub fn has_motion(&self) -> bool {
        matches!(self.opened_by, OpenReason::Motion { .. }) || !self.motions.is_empty()
    }

    /// Of a file without a manifest: only its name tells anything.
    pub(crate) fn of_orphan(id: ClipId) -> Self {
        let started = time_of(id.as_str()).unwrap_or_default();
        let leaf = id.as_str().split_once('-').map_or("recovered", |(_, camera)| camera);
        let camera = Name::new(leaf).or_else(|_| Name::new("recovered")).ok();
        let camera = camera.expect("`recovered` is a name");
        Self {
            archive_name: archive_name(&id, &camera, started),
            id,
            camera,
            codec: String::new(),
            mime: "video/mp4".to_owned(),
            width: 0,
            height: 0,
            started,
            ended: started,
            duration: Duration::ZERO,
            frames: 0,
            bytes: 0,
            sha256: [0; 32],
            opened_by: OpenReason::Continuation,
            closed_by: None,
            session: 0,
            first_sequence: 0,
            last_sequence: 0,
            starts_at_key: true,
            unrecorded_before: 0,
            gaps: Vec::new(),
            gaps_more: 0,
            motions: Vec::new(),
            is_flagged: false,
        }
    }
}

/// The moment an identifier begins with. Days since the epoch after Howard Hinnant's days-from-civil.
fn time_of(id: &str) -> Option<WallTime> {
    let digits = |from: usize, to: usize| id.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
    let (hour, minute, second, millis) = (digits(9, 11)?, digits(11, 13)?, digits(13, 15)?, digits(15, 18)?);
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    Some(WallTime::from_unix_millis((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis))
}

/// A folder of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `tmp`: being written.
    Tmp,
    /// `ready`: waiting for the archive.
    Ready,
    /// `sent`: in the archive and still here.
    Sent,
}

impl Place {
    /// All folders.
    pub const ALL: [Self; 3] = [Self::Tmp, Self::Ready, Self::Sent];

    /// The folder's name.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Tmp => "tmp",
            Self::Ready => "ready",
            Self::Sent => "sent",
        }
    }
}

/// What a crash left of one clip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Where its file is, and the file's size.
    pub file: Option<(Place, u64)>,
    /// Where its finished manifest is, and the size written in it.
    pub closed: Option<(Place, u64)>,
    /// Whether there is a manifest from when it was opened.
    pub is_open: bool,
    /// Whether `archived.jsonl` names it.
    pub is_archived: bool,
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is complete: file and manifest belong into this folder.
    Settle(Place),
    /// Cut the file to its last whole fragment, write a manifest, and move both to `ready`.
    Salvage,
    /// There is no file: forget what else there is.
    Forget,
}

/// Decides what becomes of a clip after a crash. Nothing that can be played is ever forgotten.
pub fn plan(remains: &Remains) -> Plan {
    match (remains.file, remains.closed) {
        (None, _) => Plan::Forget,
        (Some((place, bytes)), Some((manifest_place, wanted))) if bytes == wanted => {
            let was_sent = remains.is_archived || place == Place::Sent || manifest_place == Place::Sent;
            Plan::Settle(if was_sent { Place::Sent } else { Place::Ready })
        }
        (Some(_), _) => Plan::Salvage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn identifiers_sort_by_time_and_are_safe_names() {
        let camera = Name::new("двор/Камера 1".replace(' ', "-").as_str()).unwrap();
        let at = WallTime::from_unix_millis(1_795_253_400_250);
        let id = ClipId::new(at, &camera, 0);
        assert_eq!(id.as_str(), "20261121T093000250Z-dvor_kamera-1-921347b7");
        assert_eq!(ClipId::parse(id.as_str()).unwrap(), id);
        assert!(ClipId::new(at.plus_micros(1000), &camera, 0) > id);
        assert!(checked_name(&archive_name(&id, &camera, at)).is_ok());
        assert_eq!(time_of(id.as_str()), Some(at));
    }

    #[test]
    fn what_is_no_identifier_is_refused() {
        for text in ["", "../x", "a/b", ".hidden", "a b", &"x".repeat(161)] {
            assert!(ClipId::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_camera_gets_safe_and_distinct_names(a in "[\\p{L}0-9]{1,64}(/[\\p{L}0-9-]{1,64}){0,12}", b in "[а-яa-z0-9]{1,9}") {
            let at = WallTime::from_unix_millis(951_827_696_789);
            let (Ok(a), Ok(b)) = (Name::new(&a), Name::new(&b)) else { return Ok(()) };
            let (id, other) = (ClipId::new(at, &a, 0), ClipId::new(at, &b, 3));
            prop_assert!(ClipId::parse(id.as_str()).is_ok(), "{}", id);
            prop_assert!(checked_name(&archive_name(&id, &a, at)).is_ok());
            prop_assert!(a == b || id != other);
        }

        #[test]
        fn the_time_of_an_identifier_is_its_own(millis in 0i64..253_402_300_799_000) {
            let at = WallTime::from_unix_millis(millis);
            let id = ClipId::new(at, &Name::new("a").unwrap(), 0);
            prop_assert_eq!(time_of(id.as_str()), Some(at));
        }
    }

    #[test]
    fn nothing_that_can_be_played_is_forgotten() {
        let places = [None, Some((Place::Tmp, 5)), Some((Place::Ready, 5)), Some((Place::Sent, 5))];
        for file in places {
            for closed in places.into_iter().chain([Some((Place::Ready, 7))]) {
                for (is_open, is_archived) in [(false, false), (false, true), (true, false), (true, true)] {
                    let remains = Remains { file, closed, is_open, is_archived };
                    assert_eq!(plan(&remains) == Plan::Forget, file.is_none(), "{remains:?}");
                }
            }
        }
    }
}
