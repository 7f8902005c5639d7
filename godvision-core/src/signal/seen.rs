//! What analysis found in pictures: [`Motion`], [`Rest`], [`SceneChange`], [`Tamper`] and [`Sighting`]. Small: the only
//! pixels are the compressed crop of a sighting.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::signal;
use crate::name::Name;
use crate::secret::Secret;
use crate::time::Stamp;

/// A rectangle of a picture in thousandths of its width and height, so it means the same at every resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Region {
    /// Left edge, 0..=1000 of the width.
    pub left: u16,
    /// Top edge, 0..=1000 of the height.
    pub top: u16,
    /// Right edge, exclusive.
    pub right: u16,
    /// Bottom edge, exclusive.
    pub bottom: u16,
}

impl Region {
    /// The whole picture.
    pub const WHOLE: Self = Self { left: 0, top: 0, right: 1000, bottom: 1000 };

    /// Share of the picture's area, 0.0..=1.0.
    pub fn area(&self) -> f32 {
        f32::from(self.right.saturating_sub(self.left)) * f32::from(self.bottom.saturating_sub(self.top)) / 1e6
    }

    /// The same rectangle in pixels `[left, top, right, bottom]` of a `width` x `height` picture, rounded outwards.
    pub fn to_pixels(&self, width: usize, height: usize) -> [usize; 4] {
        let down = |part: u16, whole: usize| usize::from(part.min(1000)) * whole / 1000;
        let up = |part: u16, whole: usize| (usize::from(part.min(1000)) * whole).div_ceil(1000);
        [down(self.left, width), down(self.top, height), up(self.right, width), up(self.bottom, height)]
    }

    /// The rectangle that `[left, top, right, bottom]` in pixels of a `width` x `height` picture covers, rounded outwards.
    pub fn from_pixels([left, top, right, bottom]: [usize; 4], width: usize, height: usize) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let down = |part: usize, whole: usize| (part.min(whole) * 1000 / whole) as u16;
        let up = |part: usize, whole: usize| (part.min(whole) * 1000).div_ceil(whole) as u16;
        Self { left: down(left, width), top: down(top, height), right: up(right, width), bottom: up(bottom, height) }
    }
}

/// Where a motion event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MotionPhase {
    /// Something began to move: opens a clip.
    Started,
    /// It is still moving: keeps the clip open.
    Ongoing,
    /// Nothing has moved for the detector's quiet time: lets the clip close.
    Ended,
}

/// Most runs of a [`MotionMask`]: a dozen walkers have some hundred, and a mask of more shows noise.
pub const MASK_RUNS_MAX: usize = 2048;

/// Which pixels of a reduced picture differ from the background, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MotionMask {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Lengths of the runs of still and moving pixels in turn, row-major and without regard to the ends of rows; the first,
    /// which may be 0, is still. They sum to `width * height`; at most [`MASK_RUNS_MAX`] of them.
    pub runs: Arc<[u32]>,
}

/// Something moves (or has stopped) in a camera's picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    /// The camera component whose picture it is.
    pub source: Name,
    /// Counts motion events of this detector; the three phases of one event share it.
    pub event: u64,
    /// Where the event stands.
    pub phase: MotionPhase,
    /// The frame in which it was seen. For [`MotionPhase::Started`], the first frame that moved.
    pub at: Stamp,
    /// That frame's sequence.
    pub sequence: u64,
    /// What moves, largest first; empty when ended.
    pub regions: Vec<Region>,
    /// Names of the zones touched, empty if the detector has none.
    pub zones: Vec<String>,
    /// Share of the watched area that moves, 0.0..=1.0.
    pub share: f32,
    /// Which pixels do, if the detector was asked for them and there are not too many runs.
    pub mask: Option<MotionMask>,
}
signal!(Motion, "motion", 2);

/// The whole picture changed at once (light switched, infra-red filter, camera turned): not motion.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneChange {
    /// The camera component.
    pub source: Name,
    /// The first frame of the new scene.
    pub at: Stamp,
    /// Share of the picture that changed, 0.0..=1.0.
    pub share: f32,
}
signal!(SceneChange, "scene-change", 1);

/// What a thing at rest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestKind {
    /// Something was put there.
    Left,
    /// Something that was there is missing.
    Taken,
    /// The picture does not tell which.
    Unsure,
}

/// Where a thing at rest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestPhase {
    /// It has rested long enough to be reported.
    Noticed,
    /// It is still there, seen or hidden behind a passer-by.
    Ongoing,
    /// It is as before: taken up again, put back, or declared normal by its owner.
    Over,
}

/// A thing was left, or taken away, and the picture has stayed so since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The camera component.
    pub source: Name,
    /// Counts things of this detector; the phases of one thing share it.
    pub thing: u64,
    /// Where it stands.
    pub phase: RestPhase,
    /// Whether it was left or taken.
    pub kind: RestKind,
    /// When it came to rest. Its age is `at - since`.
    pub since: Stamp,
    /// The frame of this report.
    pub at: Stamp,
    /// That frame's sequence.
    pub sequence: u64,
    /// Where it is.
    pub region: Region,
    /// Names of the zones it touches, empty if the detector has none.
    pub zones: Vec<String>,
}
signal!(Rest, "rest", 1);

/// What is wrong with a camera's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TamperKind {
    /// Something stands before the lens, or it is painted over.
    Covered,
    /// It looks somewhere else.
    Turned,
    /// Frames come but the picture has stopped.
    Frozen,
    /// It has lost its sharpness: fog, dirt, focus.
    Blurred,
}

impl TamperKind {
    /// `covered`, `turned`, `frozen` or `blurred`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Turned => "turned",
            Self::Frozen => "frozen",
            Self::Blurred => "blurred",
        }
    }
}

/// A camera's view was spoilt, or is good again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tamper {
    /// The camera component.
    pub source: Name,
    /// What is wrong.
    pub kind: TamperKind,
    /// Whether it is over.
    pub is_over: bool,
    /// The frame in which it was noticed.
    pub at: Stamp,
    /// That frame's sequence.
    pub sequence: u64,
}
signal!(Tamper, "tamper", 1);

/// What was read or recognised in a picture.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The text of a QR code. May be a pass, so it is secret.
    Qr(Secret),
    /// A number plate, upper case, Latin letters.
    Plate(Secret),
    /// The face of a person who may be let in.
    Face {
        /// The gallery's identifier of the person.
        person: Name,
        /// Whether a liveness check passed.
        live: bool,
    },
    /// The face of somebody on the watch list: never a credential.
    Watched {
        /// The watch list's identifier of the person.
        person: Name,
    },
    /// A face nobody knows.
    Stranger {
        /// Which of the strangers seen before it is, once that is known.
        group: Option<u64>,
    },
}

impl Finding {
    /// `qr`, `plate`, `face`, `watched` or `stranger`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Qr(_) => "qr",
            Self::Plate(_) => "plate",
            Self::Face { .. } => "face",
            Self::Watched { .. } => "watched",
            Self::Stranger { .. } => "stranger",
        }
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Face { person, live } => write!(f, "face {person} (live: {live})"),
            Self::Watched { person } => write!(f, "watched {person}"),
            Self::Stranger { group: Some(group) } => write!(f, "stranger {group}"),
            other => f.write_str(other.kind()),
        }
    }
}

/// Most bytes of a sighting's crop: a picture for the journal, not a recording.
pub const CROP_BYTES_MAX: usize = 64 * 1024;

/// A [`Finding`] with the frame and place where it was seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The camera component.
    pub source: Name,
    /// The frame in which it was seen.
    pub at: Stamp,
    /// That frame's sequence.
    pub sequence: u64,
    /// Where in the picture.
    pub region: Region,
    /// What it is.
    pub finding: Finding,
    /// How sure the reader is, in thousandths. What it measures is the reader's own: similarity for a face, agreement of
    /// the letters for a plate; 1000 for a code whose checksum holds.
    pub score: u16,
    /// The place itself as a JPEG of at most [`CROP_BYTES_MAX`], if the reader was asked for one.
    pub crop: Option<Bytes>,
}
signal!(Sighting, "sighting", 1, |it| it.crop.as_ref().map_or(0, Bytes::len));

impl fmt::Debug for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ({}, frame {})", self.finding, self.source, self.score, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_region_covers_the_pixels_it_was_made_from(
            width in 1usize..5000, height in 1usize..5000, a in 0usize..5000, b in 0usize..5000, c in 0usize..5000, d in 0usize..5000
        ) {
            let (left, right) = (a.min(b).min(width), a.max(b).min(width));
            let (top, bottom) = (c.min(d).min(height), c.max(d).min(height));
            let back = Region::from_pixels([left, top, right, bottom], width, height).to_pixels(width, height);
            prop_assert!(back[0] <= left && back[1] <= top && back[2] >= right && back[3] >= bottom);
        }
    }

    #[test]
    fn qr_text_is_not_printed() {
        assert_eq!(format!("{:?}", Finding::Qr("GV1:secret".into())), "qr");
    }
}
