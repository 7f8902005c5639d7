//! What analysis found in pictures: [`Motion`], [`SceneChange`] and [`Sighting`]. Small; no pixels.

use std::fmt;

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
}
signal!(Motion, "motion", 1);

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

/// What was read or recognised in a picture.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The text of a QR code. May be a pass, so it is secret.
    Qr(Secret),
    /// A number plate, upper case, Latin letters.
    Plate(Secret),
    /// A known person's face, by the gallery's identifier.
    Face(Name),
}

impl Finding {
    /// `qr`, `plate` or `face`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Qr(_) => "qr",
            Self::Plate(_) => "plate",
            Self::Face(_) => "face",
        }
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Face(person) => write!(f, "face {person}"),
            other => f.write_str(other.kind()),
        }
    }
}

/// A [`Finding`] with the frame and place where it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
signal!(Sighting, "sighting", 1);

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
