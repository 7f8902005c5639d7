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

use super::mask::Layout;
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

/// Zones drawn at the working size, a flag a pixel.
#[derive(Debug)]
pub(super) struct ZoneMap {
    /// Where motion counts. Empty without zones: everywhere.
    watch: Vec<u64>,
    /// Where each named zone lies, as far as motion counts there.
    named: Vec<Vec<u64>>,
    /// Pixels where motion counts.
    watched: usize,
    names: Vec<String>,
}

impl ZoneMap {
    pub(super) fn new(zones: &[Zone], layout: Layout) -> Self {
        let (watch, ignore): (Vec<_>, Vec<_>) = zones.iter().partition(|zone| zone.kind == ZoneKind::Watch);
        let names = watch.iter().map(|zone| zone.name.clone()).collect();
        if zones.is_empty() {
            return Self { watch: Vec::new(), named: Vec::new(), watched: layout.pixels(), names };
        }
        let draw = |is_inside: &dyn Fn(f32, f32) -> bool| {
            let row = |y: usize| {
                (0..layout.words()).map(move |word| {
                    let columns = word * 64..(word * 64 + 64).min(layout.width.max(word * 64));
                    columns.fold(0_u64, |flags, x| {
                        // Pixel centres, in thousandths.
                        let px = (x as f32 + 0.5) * 1000.0 / layout.width as f32;
                        let py = (y as f32 + 0.5) * 1000.0 / layout.height as f32;
                        flags | u64::from(is_inside(px, py)) << (x % 64)
                    })
                })
            };
            (0..layout.height).flat_map(row).collect::<Vec<u64>>()
        };
        let ignored = |x, y| ignore.iter().any(|zone| zone.contains(x, y));
        // Without a watched zone everything not ignored is watched.
        let any = |x, y| watch.is_empty() || watch.iter().any(|zone| zone.contains(x, y));
        let named = watch.iter().map(|zone| draw(&|x, y| zone.contains(x, y) && !ignored(x, y))).collect();
        let watch = draw(&|x, y| any(x, y) && !ignored(x, y));
        let watched = watch.iter().map(|word| word.count_ones() as usize).sum();
        Self { watch, named, watched, names }
    }

    /// Pixels where motion counts.
    pub(super) fn watched(&self) -> usize {
        self.watched
    }

    /// Where motion counts, of the 64 pixels of a word.
    pub(super) fn watched_word(&self, word: usize) -> u64 {
        self.watch.get(word).copied().unwrap_or(u64::MAX)
    }

    /// A bit for every named zone in which one of the word's `pixels` lies.
    pub(super) fn touched(&self, word: usize, pixels: u64) -> u16 {
        let lies_in = |zone: &Vec<u64>| u16::from(zone.get(word).is_some_and(|flags| flags & pixels != 0));
        self.named.iter().enumerate().fold(0, |bits, (i, zone)| bits | lies_in(zone) << i)
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
        let layout = Layout::new(20, 20);
        let map = ZoneMap::new(&zones, layout);
        assert_eq!(map.watched(), 100);
        assert_eq!(map.watched_word(0), 0, "ignored, and not watched");
        let last = map.watched_word(19);
        assert_eq!(last, 0b11_1111_1111);
        assert_eq!((map.touched(19, 1), map.touched(19, 1 << 12), map.touched(0, 1)), (1, 0, 0));
        assert_eq!(map.names(1).collect::<Vec<_>>(), ["left"]);
        let only_ignored = ZoneMap::new(&zones[1..], layout);
        assert_eq!(only_ignored.watched(), 200);
        assert_eq!(only_ignored.names(u16::MAX).count(), 0);
        assert_eq!(ZoneMap::new(&[], layout).watched_word(0), u64::MAX);
    }

    proptest! {
        #[test]
        fn reading_a_zone_never_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<Zone>();
        }
    }
}
