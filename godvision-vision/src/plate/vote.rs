//! One reading of many frames: [`PlateVotes`] follows each plate from frame to frame and lets the readings vote, sign by
//! sign, weighted by how sure each was.
//!
//! A plate that passes a gate is read five to twenty times. Single misreadings differ from each other, so the vote is
//! right where most single readings are wrong somewhere else.
//!
//! **Never:** a text that no two frames agree on; one text twice while the plate stays in view.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::{MonoTime, Stamp};

use super::Plate;
use super::detect::PlateBox;
use super::format::Country;
use super::text::{ALPHABET, PlateText, SIGNS_MAX, index, sign_at};
use crate::error::Error;

/// Most plates followed at once; the one unseen for longest makes room.
pub const TRACKS_MAX: usize = 16;

/// Readings after which a plate's votes are halved, so that a plate that stands for a day cannot outvote its successor.
const READINGS_MAX: u32 = 64;

/// Share of common area from which a plate is the one of the frame before.
const SAME_PLACE: f32 = 0.1;

/// How far the middle may have moved between frames, in widths of the plate, if there is no common area.
const MOVED_MAX: f32 = 1.5;

/// When a plate's text is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteOptions {
    /// Frames that must have read the very text that won.
    pub agreeing: u32,
    /// A plate unseen for so long is another one when it comes again.
    pub gone_after: Duration,
}

impl Default for VoteOptions {
    /// Three frames; two seconds.
    fn default() -> Self {
        Self { agreeing: 3, gone_after: Duration::from_secs(2) }
    }
}

impl VoteOptions {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::BadOption`].
    pub fn check(&self) -> Result<(), Error> {
        if (1..=READINGS_MAX / 2).contains(&self.agreeing) {
            return Ok(());
        }
        Err(Error::BadOption { option: "agreeing", reason: "1 to 32 frames" })
    }
}

/// A text that enough frames agree on.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// Where the plate was last.
    pub place: PlateBox,
    /// What it says.
    pub text: PlateText,
    /// The country whose form it has.
    pub country: Option<Country>,
    /// Share of the votes that the weakest sign has, 0.0..=1.0.
    pub score: f32,
    /// Frames that read this very text.
    pub agreeing: u32,
}

/// Votes of readings of one length.
#[derive(Clone, Debug)]
struct Ballot {
    weight: f32,
    signs: Vec<[f32; ALPHABET]>,
}

#[derive(Debug)]
struct Track {
    place: PlateBox,
    seen: MonoTime,
    readings: u32,
    ballots: [Option<Box<Ballot>>; SIGNS_MAX + 1],
    texts: Vec<(PlateText, Option<Country>, u32)>,
    reported: Option<PlateText>,
}

/// Follows plates and counts their votes.
#[derive(Debug)]
pub struct PlateVotes {
    options: VoteOptions,
    tracks: Vec<Track>,
}

impl PlateVotes {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// [`Error::BadOption`].
    pub fn new(options: VoteOptions) -> Result<Self, Error> {
        options.check()?;
        Ok(Self { options, tracks: Vec::new() })
    }

    /// Takes the plates read in the frame of `at`; gives the texts that are settled by it, each once.
    pub fn add(&mut self, plates: &[Plate], at: Stamp) -> Vec<Settled> {
        let now = at.mono;
        self.tracks.retain(|track| now - track.seen <= self.options.gone_after);
        plates.iter().filter_map(|plate| self.add_one(plate, now)).collect()
    }

    /// The plate at `place` is still there, and was not read again: it stays the same one, and gets no vote. Comes before
    /// [`PlateVotes::add`] for the same frame.
    pub fn hold(&mut self, place: &PlateBox, at: Stamp) {
        self.tracks.retain(|track| at.mono - track.seen <= self.options.gone_after);
        let here = self.tracks.iter_mut().map(|track| (track.place.overlap(place), track));
        let nearest = here.filter(|(common, _)| *common >= SAME_PLACE).max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, track)) = nearest {
            track.seen = at.mono;
        }
    }

    /// Plates followed now.
    pub fn followed(&self) -> usize {
        self.tracks.len()
    }

    fn add_one(&mut self, plate: &Plate, now: MonoTime) -> Option<Settled> {
        let near = |track: &Track| closeness(&track.place, &plate.place);
        // One track takes one plate of a frame.
        let free = self.tracks.iter_mut().filter(|track| track.seen < now || track.readings == 0);
        let track = free.filter(|track| near(track) > 0.0).max_by(|a, b| near(a).total_cmp(&near(b)));
        let track = match track {
            Some(track) => track,
            None => {
                if self.tracks.len() >= TRACKS_MAX {
                    let oldest = self.tracks.iter().enumerate().min_by_key(|(_, track)| track.seen)?.0;
                    self.tracks.swap_remove(oldest);
                }
                self.tracks.push(Track::new(plate.place, now));
                self.tracks.last_mut()?
            }
        };
        track.count(plate, now);
        track.settle(self.options.agreeing)
    }
}

/// How likely the two are one plate: above 0 if at all.
fn closeness(before: &PlateBox, now: &PlateBox) -> f32 {
    let common = before.overlap(now);
    if common >= SAME_PLACE {
        return 1.0 + common;
    }
    let middle = |place: &PlateBox| place.bounds();
    let (a, b) = (middle(before), middle(now));
    let moved = ((a[0] + a[2] - b[0] - b[2]) / 2.0).hypot((a[1] + a[3] - b[1] - b[3]) / 2.0);
    let width = before.width().max(now.width()).max(1.0);
    let is_same_size = before.width().min(now.width()) / width > 0.6;
    if is_same_size { (1.0 - moved / (width * MOVED_MAX)).max(0.0) } else { 0.0 }
}

impl Track {
    fn new(place: PlateBox, seen: MonoTime) -> Self {
        Self { place, seen, readings: 0, ballots: Default::default(), texts: Vec::new(), reported: None }
    }

    fn count(&mut self, plate: &Plate, now: MonoTime) {
        (self.place, self.seen) = (plate.place, now);
        self.readings += 1;
        if self.readings >= READINGS_MAX {
            self.readings /= 2;
            for ballot in self.ballots.iter_mut().flatten() {
                ballot.weight /= 2.0;
                ballot.signs.as_flattened_mut().iter_mut().for_each(|vote| *vote /= 2.0);
            }
            self.texts.iter_mut().for_each(|(_, _, count)| *count /= 2);
            self.texts.retain(|(_, _, count)| *count > 0);
        }
        let text = plate.text.as_str().as_bytes();
        if let Some(slot) = self.ballots.get_mut(text.len()) {
            let ballot =
                slot.get_or_insert_with(|| Box::new(Ballot { weight: 0.0, signs: vec![[0.0; ALPHABET]; text.len()] }));
            ballot.weight += plate.score();
            for ((votes, &sign), &score) in ballot.signs.iter_mut().zip(text).zip(&plate.scores) {
                if let Some(place) = index(sign) {
                    votes[place] += score;
                }
            }
        }
        match self.texts.iter_mut().find(|(known, _, _)| *known == plate.text) {
            Some((_, _, count)) => *count += 1,
            None => self.texts.push((plate.text.clone(), plate.country, 1)),
        }
    }

    fn settle(&mut self, agreeing_min: u32) -> Option<Settled> {
        let total: f32 = self.ballots.iter().flatten().map(|ballot| ballot.weight).sum();
        let ballot = self.ballots.iter().flatten().max_by(|a, b| a.weight.total_cmp(&b.weight))?;
        let winners = ballot.signs.iter().map(|votes| {
            let sum: f32 = votes.iter().sum();
            let (place, most) =
                votes.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
            (sign_at(place), most / sum.max(f32::MIN_POSITIVE))
        });
        let (signs, shares): (Vec<u8>, Vec<f32>) = winners.unzip();
        let text = PlateText::from_signs(&signs)?;
        let (_, country, agreeing) = self.texts.iter().find(|(known, _, _)| *known == text)?;
        // A text of another length must not be as strong.
        let is_clear = ballot.weight > total / 2.0;
        if *agreeing < agreeing_min || !is_clear || self.reported.as_ref() == Some(&text) {
            return None;
        }
        self.reported = Some(text.clone());
        let score = shares.into_iter().fold(1.0, f32::min);
        Some(Settled { place: self.place, text, country: *country, score, agreeing: *agreeing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::WallTime;

    fn at(frame: u64) -> Stamp {
        Stamp::new(MonoTime::from_millis(frame * 100), WallTime::from_unix_millis(0))
    }

    fn plate(text: &str, left: f32, score: f32) -> Plate {
        let corners = [[left, 0.0], [left + 100.0, 0.0], [left + 100.0, 20.0], [left, 20.0]];
        let text: PlateText = text.parse().unwrap();
        let scores = vec![score; text.as_str().len()];
        Plate { place: PlateBox { corners, score: 1.0 }, text, country: None, scores }
    }

    #[test]
    fn readings_that_err_in_different_places_are_outvoted() {
        let mut votes = PlateVotes::new(VoteOptions::default()).unwrap();
        let mut settled = Vec::new();
        let readings = ["A123BC77", "A128BC77", "A123BC77", "4123BC77", "A123BC7", "A123BC77", "A123BC77"];
        for (frame, text) in readings.iter().enumerate() {
            settled.extend(votes.add(&[plate(text, frame as f32 * 30.0, 0.9)], at(frame as u64)));
        }
        assert_eq!(settled.len(), 1, "{settled:?}");
        assert_eq!((settled[0].text.as_str(), settled[0].agreeing), ("A123BC77", 3));
        assert!(settled[0].score > 0.6 && settled[0].score < 1.0);
        assert_eq!(votes.followed(), 1);
    }

    #[test]
    fn a_text_no_frames_agree_on_is_never_settled() {
        let mut votes = PlateVotes::new(VoteOptions::default()).unwrap();
        for frame in 0..200_u64 {
            let text = format!("A{:03}BC77", frame * 37 % 1000);
            assert_eq!(votes.add(&[plate(&text, 0.0, 0.9)], at(frame)), []);
        }
    }

    #[test]
    fn who_is_held_stays_and_gets_no_votes() {
        let mut votes = PlateVotes::new(VoteOptions::default()).unwrap();
        let reading = plate("A123BC77", 0.0, 0.9);
        for frame in 0..2 {
            assert_eq!(votes.add(std::slice::from_ref(&reading), at(frame)), []);
        }
        for frame in 2..100 {
            votes.hold(&reading.place, at(frame));
            votes.hold(&plate("B222BB77", 400.0, 0.9).place, at(frame));
            assert_eq!(votes.add(&[], at(frame)), [], "nothing was read");
            assert_eq!(votes.followed(), 1);
        }
        assert_eq!(
            votes.add(std::slice::from_ref(&reading), at(100))[0].agreeing,
            3,
            "the third reading of the same plate"
        );
        votes.hold(&reading.place, at(200));
        assert_eq!(votes.followed(), 0, "unseen for 10 s, it went");
    }

    #[test]
    fn two_plates_are_followed_apart_and_the_next_car_is_another() {
        let mut votes = PlateVotes::new(VoteOptions { agreeing: 2, ..VoteOptions::default() }).unwrap();
        let mut settled = Vec::new();
        for frame in 0..3 {
            let both = [plate("A111AA77", 0.0, 0.9), plate("B222BB77", 400.0, 0.9)];
            settled.extend(votes.add(&both, at(frame)));
        }
        for frame in 30..33 {
            settled.extend(votes.add(&[plate("A111AA77", 0.0, 0.9)], at(frame)));
        }
        let texts: Vec<_> = settled.iter().map(|settled| settled.text.as_str()).collect();
        assert_eq!(texts, ["A111AA77", "B222BB77", "A111AA77"]);
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let mut votes = PlateVotes::new(VoteOptions::default()).unwrap();
        for frame in 0..5 {
            let plates: Vec<_> = (0..40).map(|k| plate("A111AA77", k as f32 * 1000.0, 0.9)).collect();
            votes.add(&plates, at(frame));
            assert!(votes.followed() <= TRACKS_MAX);
        }
        let mut votes = PlateVotes::new(VoteOptions::default()).unwrap();
        for frame in 0..1000_u64 {
            votes.add(&[plate(&format!("A{frame:03}AA77"), 0.0, 0.9)], at(frame));
        }
        assert!(votes.tracks[0].texts.len() <= READINGS_MAX as usize && votes.tracks[0].readings < READINGS_MAX);
        assert!(PlateVotes::new(VoteOptions { agreeing: 0, ..VoteOptions::default() }).is_err());
        assert!(PlateVotes::new(VoteOptions { agreeing: 33, ..VoteOptions::default() }).is_err());
    }
}
