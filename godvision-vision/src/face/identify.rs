//! From single pictures to a decision who it is: [`Identifier`].
//!
//! A picture votes for a person of the allow list if the similarity reaches the threshold and leads every other person,
//! of either list, by the margin; for a person of the watch list if it reaches the threshold and nobody of the allow list
//! leads it by the margin; else for nobody. Two of the last three votes of a track decide. A face that suddenly looks
//! unlike the one before on the same track is somebody else, or a photo held before the face: votes and the liveness shown
//! so far do not count for it.
//!
//! **Never:** opening anything; a watched person as a credential; the likelier of two who look alike.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use godvision_core::MonoTime;

use super::Embedding;
use super::gallery::{Candidate, Matches};
use super::search::cosine;
use crate::error::Error;

/// Most tracks that are remembered; the one not seen for longest is forgotten.
pub const IDENTITIES_MAX: usize = 128;
/// Most votes that may be asked for.
pub const VOTES_MAX: usize = 16;

/// When a face is somebody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdentifyOptions {
    /// Least similarity, 0 to 1. 0.42: of 25,643 pairs of different people in a set of 37 none reached it, and 98.7 % of
    /// 853 pairs of one person did.
    pub threshold: f32,
    /// Least lead over the next person. 0.05.
    pub margin: f32,
    /// Votes that must agree. 2.
    pub agreeing: usize,
    /// Of the last so many. 3.
    pub of: usize,
    /// Least similarity of two pictures of one track that follow each other. 0.3.
    pub same_face: f32,
    /// After how long an unchanged decision is said again while the face stays. 5 s.
    pub again_after: Duration,
}

impl Default for IdentifyOptions {
    fn default() -> Self {
        let again_after = Duration::from_secs(5);
        Self { threshold: 0.42, margin: 0.05, agreeing: 2, of: 3, same_face: 0.3, again_after }
    }
}

impl IdentifyOptions {
    /// # Errors
    /// [`Error::BadOption`] names the first that is out of range.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |option, reason| Err(Error::BadOption { option, reason });
        if !(0.2..=1.0).contains(&self.threshold) {
            return bad("threshold", "must be 0.2 to 1: below, strangers are taken for people");
        }
        if !(0.0..=0.5).contains(&self.margin) {
            return bad("margin", "must be 0 to 0.5");
        }
        if !(1..=VOTES_MAX).contains(&self.of)
            || !(1..=self.of).contains(&self.agreeing)
            || self.agreeing * 2 <= self.of
        {
            return bad("agreeing", "must be more than half of `of`, which must be 1 to 16");
        }
        if !(-1.0..=1.0).contains(&self.same_face) {
            return bad("same_face", "must be -1 to 1");
        }
        Ok(())
    }
}

/// What one picture says.
#[derive(Clone, Debug, PartialEq)]
enum Vote {
    Person(Candidate),
    Watched(Candidate),
    Nobody,
}

/// Who a track is.
#[derive(Clone, Debug, PartialEq)]
pub enum Identity {
    /// A person of the allow list.
    Person(Candidate),
    /// A person of the watch list: never a credential.
    Watched(Candidate),
    /// Nobody known, or two who cannot be told apart.
    Stranger,
}

impl Identity {
    /// Whether both are the same person of the same list, or both nobody.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Person(a), Self::Person(b)) | (Self::Watched(a), Self::Watched(b)) => a.person == b.person,
            (Self::Stranger, Self::Stranger) => true,
            _ => false,
        }
    }
}

/// What a picture of a track changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Somebody else is on the track now: start its liveness check anew.
    pub is_other: bool,
    /// What the last pictures say, if enough of them agree.
    pub decided: Option<Identity>,
    /// That decision, if it is one to report: new, changed, or due again.
    pub report: Option<Identity>,
}

#[derive(Clone, Debug)]
struct State {
    track: u64,
    seen: MonoTime,
    last: Embedding,
    votes: VecDeque<Vote>,
    reported: Option<(Identity, MonoTime)>,
}

/// Decides for the tracks of one camera.
#[derive(Clone, Debug)]
pub struct Identifier {
    options: IdentifyOptions,
    states: Vec<State>,
}

impl Identifier {
    /// # Errors
    /// [`IdentifyOptions::check`].
    pub fn new(options: IdentifyOptions) -> Result<Self, Error> {
        options.check()?;
        Ok(Self { options, states: Vec::new() })
    }

    /// A picture of `track` at `at`: its embedding, and whom [`super::gallery::Gallery::find`] says it is like. Only
    /// pictures of good [`super::quality::Quality`] belong here.
    pub fn step(&mut self, track: u64, at: MonoTime, face: &Embedding, matches: &Matches) -> Step {
        let vote = self.vote(matches);
        let at_state = self.states.iter().position(|state| state.track == track);
        let mut is_other = false;
        let mut state = match at_state {
            Some(index) => self.states.swap_remove(index),
            None => State { track, seen: at, last: face.clone(), votes: VecDeque::new(), reported: None },
        };
        let is_comparable = state.last.values().len() == face.values().len();
        if !is_comparable || cosine(state.last.values(), face.values()) < self.options.same_face {
            is_other = true;
            state.votes.clear();
            state.reported = None;
        }
        state.seen = at;
        state.last = face.clone();
        if state.votes.len() == self.options.of {
            state.votes.pop_front();
        }
        state.votes.push_back(vote);
        let decided = self.decide(&state.votes);
        let report = decided.clone().filter(|decided| match &state.reported {
            Some((before, when)) => !before.is_same(decided) || at - *when >= self.options.again_after,
            None => true,
        });
        if let Some(report) = &report {
            state.reported = Some((report.clone(), at));
        }
        if self.states.len() >= IDENTITIES_MAX {
            let oldest = self.states.iter().enumerate().min_by_key(|(_, state)| state.seen).map(|(index, _)| index);
            oldest.map(|index| self.states.swap_remove(index));
        }
        self.states.push(state);
        Step { is_other, decided, report }
    }

    fn vote(&self, matches: &Matches) -> Vote {
        let IdentifyOptions { threshold, margin, .. } = self.options;
        let of = |candidate: &Option<Candidate>| candidate.as_ref().map_or(f32::NEG_INFINITY, |it| it.similarity);
        let (allow, watch, second) = (of(&matches.allow), of(&matches.watch), of(&matches.runner_up));
        match (&matches.allow, &matches.watch) {
            (Some(person), _) if allow >= threshold && allow - second.max(watch) >= margin => {
                Vote::Person(person.clone())
            }
            (_, Some(person)) if watch >= threshold && allow - watch < margin => Vote::Watched(person.clone()),
            _ => Vote::Nobody,
        }
    }

    fn decide(&self, votes: &VecDeque<Vote>) -> Option<Identity> {
        let count = |of: &Candidate, is_watched: bool| {
            let same = |vote: &&Vote| match vote {
                Vote::Person(other) => !is_watched && other.person == of.person,
                Vote::Watched(other) => is_watched && other.person == of.person,
                Vote::Nobody => false,
            };
            votes.iter().filter(same).count()
        };
        for vote in votes.iter().rev() {
            match vote {
                Vote::Person(it) if count(it, false) >= self.options.agreeing => {
                    return Some(Identity::Person(it.clone()));
                }
                Vote::Watched(it) if count(it, true) >= self.options.agreeing => {
                    return Some(Identity::Watched(it.clone()));
                }
                _ => {}
            }
        }
        (votes.len() == self.options.of).then_some(Identity::Stranger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::Name;

    fn candidate(person: &str, similarity: f32) -> Option<Candidate> {
        Some(Candidate { person: Name::new(person).unwrap(), similarity })
    }

    fn matches(allow: f32, second: f32, watch: f32) -> Matches {
        Matches {
            allow: candidate("anna", allow),
            runner_up: candidate("boris", second),
            watch: candidate("thief", watch),
        }
    }

    fn face(turn: f32) -> Embedding {
        let values: Vec<f32> = (0..128).map(|i| if i < 64 { turn.cos() } else { turn.sin() }).collect();
        Embedding::new(&values).unwrap()
    }

    /// The last report of so many equal pictures.
    fn after(pictures: u64, matches: &Matches) -> Option<Identity> {
        let mut identifier = Identifier::new(IdentifyOptions::default()).unwrap();
        let mut said = None;
        for frame in 0..pictures {
            said = identifier.step(1, MonoTime::from_millis(frame * 200), &face(0.0), matches).report.or(said);
        }
        said
    }

    #[test]
    fn two_of_three_decide() {
        assert_eq!(after(1, &matches(0.6, 0.2, 0.1)), None);
        assert!(
            matches!(after(2, &matches(0.6, 0.2, 0.1)), Some(Identity::Person(it)) if it.person.as_str() == "anna")
        );
        let mut identifier = Identifier::new(IdentifyOptions::default()).unwrap();
        let frames = [matches(0.6, 0.2, 0.1), matches(0.3, 0.2, 0.1), matches(0.6, 0.2, 0.1)];
        let said: Vec<_> = (0..3)
            .map(|i| identifier.step(1, MonoTime::from_millis(i * 200), &face(0.0), &frames[i as usize]))
            .collect();
        assert!(said[0].report.is_none() && said[1].report.is_none());
        assert!(matches!(said[2].report, Some(Identity::Person(_))));
    }

    #[test]
    fn who_cannot_be_told_apart_is_a_stranger() {
        assert_eq!(after(3, &matches(0.6, 0.56, 0.1)), Some(Identity::Stranger));
        assert_eq!(after(3, &matches(0.41, 0.1, 0.1)), Some(Identity::Stranger));
        assert_eq!(after(3, &Matches::default()), Some(Identity::Stranger));
    }

    #[test]
    fn a_watched_person_is_never_admitted() {
        assert!(matches!(after(2, &matches(0.1, 0.1, 0.5)), Some(Identity::Watched(_))));
        assert!(matches!(after(2, &matches(0.6, 0.1, 0.58)), Some(Identity::Watched(_))), "in doubt, watched");
        assert!(
            matches!(after(2, &matches(0.9, 0.1, 0.5)), Some(Identity::Person(_))),
            "a likeness does not shut anna out"
        );
    }

    #[test]
    fn a_photo_held_before_a_face_starts_anew() {
        let mut identifier = Identifier::new(IdentifyOptions::default()).unwrap();
        for frame in 0..3 {
            identifier.step(1, MonoTime::from_millis(frame * 100), &face(0.0), &matches(0.1, 0.0, 0.0));
        }
        let swapped = identifier.step(1, MonoTime::from_millis(300), &face(1.5), &matches(0.8, 0.0, 0.0));
        assert!(swapped.is_other && swapped.report.is_none());
        let next = identifier.step(1, MonoTime::from_millis(400), &face(1.5), &matches(0.8, 0.0, 0.0));
        assert!(!next.is_other && next.report.is_some());
    }

    #[test]
    fn an_unchanged_decision_is_said_again_only_later_and_memory_is_bounded() {
        let mut identifier = Identifier::new(IdentifyOptions::default()).unwrap();
        let said: Vec<u64> = (0..60_u64)
            .filter(|i| {
                identifier.step(1, MonoTime::from_millis(i * 200), &face(0.0), &matches(0.6, 0.2, 0.1)).report.is_some()
            })
            .collect();
        assert_eq!(said, [1, 26, 51]);
        for track in 0..500 {
            identifier.step(track, MonoTime::from_millis(20_000 + track), &face(0.0), &Matches::default());
        }
        assert_eq!(identifier.states.len(), IDENTITIES_MAX);
        for bad in [
            IdentifyOptions { threshold: 0.1, ..Default::default() },
            IdentifyOptions { margin: f32::NAN, ..Default::default() },
            IdentifyOptions { agreeing: 1, of: 3, ..Default::default() },
            IdentifyOptions { agreeing: 17, of: 17, ..Default::default() },
        ] {
            assert!(Identifier::new(bad).is_err(), "{bad:?}");
        }
    }
}
