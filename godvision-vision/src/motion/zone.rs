//! Named polygons of the picture, where motion counts or does not.
//!
//! Corners are in thousandths of the picture's width and height, so a zone drawn on a sub-stream holds for the main
//! stream. A polygon may be concave; where it crosses itself, what lies inside twice is outside (even-odd rule).
//!
//! **Never:** pixels of one resolution, curves.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// Most zones of a detector: one bit each in a `u16`.
pub const ZONES_MAX: usize = 16;
/// Most corners of a zone.
pub const CORNERS_MAX: usize = 64;
/// Longest name of a zone, in bytes.
pub const ZONE_NAME_MAX: usize = 64;

/// What a zone is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZoneKind {
    /// Motion counts here, and the event names the zone.
    Watch,
    /// Motion does not count here, whatever other zones say.
    Ignore,
}

/// A polygon with a name.
///
/// As text: `yard: 0,400 1000,400 1000,1000 0,1000`; with a `!` before the name it is ignored: `!street: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    kind: ZoneKind,
    corners: Vec<(u16, u16)>,
}

impl Zone {
    /// A polygon of 3 to [`CORNERS_MAX`] corners `(x, y)` in thousandths from the top left.
    ///
    /// # Errors
    /// [`Error::BadZone`] for an empty or long name, too few or many corners, or a corner outside 0..=1000.
    pub fn new(name: impl Into<String>, kind: ZoneKind, corners: &[(u16, u16)]) -> Result<Self, Error> {
        let name = name.into();
        let wrong = if name.is_empty() || name.len() > ZONE_NAME_MAX {
            Some("its name must have 1 to 64 bytes")
        } else if !(3..=CORNERS_MAX).contains(&corners.len()) {
            Some("it needs 3 to 64 corners")
        } else if corners.iter().any(|&(x, y)| x > 1000 || y > 1000) {
            Some("corners are in thousandths, 0 to 1000")
        } else {
            None
        };
        match wrong {
            Some(reason) => Err(Error::BadZone { zone: name.chars().take(ZONE_NAME_MAX).collect(), reason }),
            None => Ok(Self { name, kind, corners: corners.to_vec() }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn kind(&self) -> ZoneKind {
        self.kind
    }

    /// Whether the point, in thousandths, lies inside (even-odd rule).
    pub fn contains(&self, x: f32, y: f32) -> bool {
        let mut inside = false;
        let Some(&last) = self.corners.last() else { return false };
        let mut from = last;
        for &to in &self.corners {
            let ((x0, y0), (x1, y1)) = ((f32::from(from.0), f32::from(from.1)), (f32::from(to.0), f32::from(to.1)));
            if (y0 > y) != (y1 > y) && x < x0 + (y - y0) / (y1 - y0) * (x1 - x0) {
                inside = !inside;
            }
            from = to;
        }
        inside
    }
}

impl FromStr for Zone {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::BadZone { zone: text.chars().take(ZONE_NAME_MAX).collect(), reason };
        let shape = "write it as `name: x,y x,y x,y`, in thousandths";
        let (name, corners) = text.split_once(':').ok_or_else(|| wrong(shape))?;
        let name = name.trim();
        let (kind, name) = match name.strip_prefix('!') {
            Some(name) => (ZoneKind::Ignore, name.trim()),
            None => (ZoneKind::Watch, name),
        };
        let mut points = Vec::new();
        for corner in corners.split_whitespace() {
            let (x, y) = corner.split_once(',').ok_or_else(|| wrong(shape))?;
            match (x.parse(), y.parse()) {
                (Ok(x), Ok(y)) => points.push((x, y)),
                _ => return Err(wrong("corners are whole thousandths, 0 to 1000")),
            }
            if points.len() > CORNERS_MAX {
                return Err(wrong("it needs 3 to 64 corners"));
            }
        }
        Self::new(name, kind, &points)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.kind == ZoneKind::Ignore { "!" } else { "" };
        write!(f, "{mark}{}:", self.name)?;
        self.corners.iter().try_for_each(|(x, y)| write!(f, " {x},{y}"))
    }
}

/// Zones drawn at the working size.
#[derive(Debug)]
pub(super) struct ZoneMap {
    /// A bit for every watched zone that covers the pixel; 0 where motion does not count. Empty without zones.
    bits: Vec<u16>,
    /// Pixels where motion counts.
    watched: usize,
    names: Vec<String>,
}

impl ZoneMap {
    pub(super) fn new(zones: &[Zone], width: usize, height: usize) -> Self {
        let (watch, ignore): (Vec<_>, Vec<_>) = zones.iter().partition(|zone| zone.kind == ZoneKind::Watch);
        let names = watch.iter().map(|zone| zone.name.clone()).collect();
        if zones.is_empty() {
            return Self { bits: Vec::new(), watched: width * height, names };
        }
        let mut bits = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                // Pixel centres, in thousandths.
                let px = (x as f32 + 0.5) * 1000.0 / width as f32;
                let py = (y as f32 + 0.5) * 1000.0 / height as f32;
                let ignored = ignore.iter().any(|zone| zone.contains(px, py));
                let named = watch.iter().enumerate().filter(|(_, zone)| zone.contains(px, py));
                let named = named.fold(0, |bits, (i, _)| bits | 1 << i);
                // Without a watched zone everything not ignored is watched: marked by all bits.
                bits.push(match (ignored, watch.is_empty()) {
                    (true, _) => 0,
                    (false, true) => u16::MAX,
                    (false, false) => named,
                });
            }
        }
        let watched = bits.iter().filter(|&&bits| bits != 0).count();
        Self { bits, watched, names }
    }

    /// Pixels where motion counts.
    pub(super) fn watched(&self) -> usize {
        self.watched
    }

    /// The bits of `len` pixels from `start`; `None` if there are no zones.
    pub(super) fn bits(&self, start: usize, len: usize) -> Option<&[u16]> {
        self.bits.get(start..start + len).filter(|_| !self.bits.is_empty())
    }

    /// Names of the zones in `bits`.
    pub(super) fn names(&self, bits: u16) -> impl Iterator<Item = &str> {
        self.names.iter().enumerate().filter(move |(i, _)| bits >> i & 1 == 1).map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_zone_reads_back_what_it_prints() {
        for text in ["yard: 0,400 1000,400 1000,1000 0,1000", "!street: 0,0 1000,0 500,300"] {
            assert_eq!(text.parse::<Zone>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_zones_say_why() {
        let many = format!("z:{}", " 1,1".repeat(CORNERS_MAX + 1));
        let long = format!("{}: 0,0 9,0 9,9", "n".repeat(ZONE_NAME_MAX + 1));
        for text in
            ["", "yard", "yard: 1,1 2,2", "yard: 1,1 2,2 3", "yard: 0,0 0,1001 9,9", ": 0,0 9,0 9,9", &many, &long]
        {
            assert!(matches!(text.parse::<Zone>(), Err(Error::BadZone { .. })), "{text}");
        }
    }

    #[test]
    fn ignored_wins_and_watched_limits() {
        let zones: Vec<Zone> = ["left: 0,0 500,0 500,1000 0,1000", "!top: 0,0 1000,0 1000,500 0,500"]
            .map(|text| text.parse().unwrap())
            .into();
        let map = ZoneMap::new(&zones, 20, 20);
        assert_eq!(map.watched(), 100);
        assert_eq!(map.bits(0, 1), Some([0].as_slice()), "ignored");
        assert_eq!(map.bits(399, 1), Some([0].as_slice()), "not watched");
        assert_eq!(map.bits(380, 1), Some([1].as_slice()));
        assert_eq!(map.names(1).collect::<Vec<_>>(), ["left"]);
        let only_ignored = ZoneMap::new(&zones[1..], 20, 20);
        assert_eq!(only_ignored.watched(), 200);
        assert_eq!(only_ignored.names(u16::MAX).count(), 0);
        assert_eq!(ZoneMap::new(&[], 20, 20).bits(0, 1), None);
    }

    proptest! {
        #[test]
        fn reading_a_zone_never_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<Zone>();
        }
    }
}
