//! What an owner may set of a motion detector.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::zone::{ZONES_MAX, Zone};
use crate::error::Error;

/// How little must change to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sensitivity {
    /// Large things near the camera: 0.4 % of the picture (a 22x24 patch of 480x270).
    Low,
    /// A person at the far end of a yard: 0.08 % of the picture (104 of 129,600 pixels, 8x13). The people of CAVIAR,
    /// a hall 20 m deep, cover 0.2 to 0.5 %.
    #[default]
    Normal,
    /// Cats and far people: 0.03 % of the picture.
    High,
}

impl Sensitivity {
    /// Smallest moving region, in parts per 100,000 of the picture.
    pub(super) fn area_per_100k(self) -> usize {
        match self {
            Self::Low => 400,
            Self::Normal => 80,
            Self::High => 30,
        }
    }

    /// Lowest difference from the background, in grey levels, that is a change.
    ///
    /// Sensor noise of sigma 10 at full size is 3.75 after the blur, so 14 is 3.7 sigma of it, and the 13-of-25 vote
    /// leaves nothing of what passes. Mean F over six SBI2015 sequences is 0.794 at 12, 0.798 at 14, 0.799 at 16 and
    /// falls beyond 20, so the choice is not critical; 14 finds more of what is dark.
    pub(super) fn threshold_floor(self) -> u8 {
        match self {
            Self::Low => 20,
            Self::Normal => 14,
            Self::High => 10,
        }
    }
}

/// What an owner may set of a [`MotionDetector`](super::MotionDetector). Start from `MotionOptions::default()`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MotionOptions {
    /// How little must change to count.
    pub sensitivity: Sensitivity,
    /// Where to look. Without a [`ZoneKind::Watch`](super::ZoneKind::Watch) zone: everywhere but in the ignored ones.
    pub zones: Vec<Zone>,
    /// How long something must move before an event starts: 0 to 10 s, by default 200 ms, so that a bird or one
    /// damaged frame opens no clip. The event still begins at the first frame that moved.
    pub start_after: Duration,
    /// How long nothing must move before the event ends: 0.1 s to 10 min, by default 3 s.
    pub quiet_after: Duration,
    /// How long a thing must rest, left or taken, before it is reported: 1 s to 1 h, by default 20 s. People who wait stand
    /// stock-still for some seconds, seldom for twenty.
    pub rest_after: Duration,
    /// How long a changed thing must stand still before it becomes background: 10 s to 1 h, by default 60 s.
    pub absorb_after: Duration,
}

impl Default for MotionOptions {
    fn default() -> Self {
        Self {
            sensitivity: Sensitivity::Normal,
            zones: Vec::new(),
            start_after: Duration::from_millis(200),
            quiet_after: Duration::from_secs(3),
            rest_after: Duration::from_secs(20),
            absorb_after: Duration::from_secs(60),
        }
    }
}

impl MotionOptions {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::BadOption`] naming the option and what would be right.
    pub fn check(&self) -> Result<(), Error> {
        let seconds = Duration::from_secs;
        let ranges = [
            (self.start_after <= seconds(10), "start_after", "at most 10 s"),
            (
                (Duration::from_millis(100)..=seconds(600)).contains(&self.quiet_after),
                "quiet_after",
                "from 0.1 s to 10 min",
            ),
            ((seconds(1)..=seconds(3600)).contains(&self.rest_after), "rest_after", "from 1 s to 1 h"),
            ((seconds(10)..=seconds(3600)).contains(&self.absorb_after), "absorb_after", "from 10 s to 1 h"),
            (self.zones.len() <= ZONES_MAX, "zones", "at most 16 zones"),
        ];
        match ranges.into_iter().find(|(fits, ..)| !fits) {
            Some((_, option, reason)) => Err(Error::BadOption { option, reason }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_outside_their_range_are_named() {
        let mut options = MotionOptions::default();
        assert_eq!(options.check(), Ok(()));
        options.start_after = Duration::from_secs(11);
        assert!(options.check().unwrap_err().to_string().contains("start_after"));
        options = MotionOptions { quiet_after: Duration::ZERO, ..MotionOptions::default() };
        assert!(options.check().is_err());
        options = MotionOptions { absorb_after: Duration::from_secs(9), ..MotionOptions::default() };
        assert!(options.check().is_err());
        options = MotionOptions { rest_after: Duration::from_millis(999), ..MotionOptions::default() };
        assert!(options.check().unwrap_err().to_string().contains("rest_after"));
        let zone: Zone = "yard: 0,0 1000,0 1000,1000".parse().unwrap();
        options = MotionOptions { zones: vec![zone; ZONES_MAX + 1], ..MotionOptions::default() };
        assert!(options.check().is_err());
    }
}
