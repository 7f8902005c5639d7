//! One person, one track: [`FaceTracker`] joins the faces of one picture to those of the pictures before.
//!
//! A track moves on at its own speed between pictures; a face belongs to the track whose place it overlaps most or comes
//! nearest to. Pairs are taken best first, each track and face once. A face that was not seen is waited for, then its track
//! ends.
//!
//! **Never:** identities. Who compares faces must notice when a track is taken over by somebody else.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::MonoTime;

use super::Face;

/// Most tracks at once; faces beyond it are not followed.
pub const TRACKS_MAX: usize = 64;
/// How far a face may be from where it is expected, in widths of itself.
const REACH: f32 = 0.8;
/// Share of a new speed in the one that is kept.
const SPEED_GAIN: f32 = 0.5;
/// Longest time over which a speed is carried on: a person who turns round does not go on.
const CARRY_SECONDS: f32 = 0.5;

/// One followed face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track {
    /// Counts tracks of this tracker; never used again.
    pub id: u64,
    /// The face as it was last seen.
    pub face: Face,
    /// When the track began.
    pub since: MonoTime,
    /// When the face was last seen.
    pub seen: MonoTime,
    /// Pictures it was seen in.
    pub hits: u32,
    /// Pixels a second.
    speed: [f32; 2],
}

/// Follows the faces of one camera.
#[derive(Clone, Debug)]
pub struct FaceTracker {
    coast: Duration,
    tracks: Vec<Track>,
    next: u64,
}

impl Default for FaceTracker {
    fn default() -> Self {
        Self::new(Duration::from_secs(1))
    }
}

impl FaceTracker {
    /// A face that is not seen for longer than `coast` ends its track.
    pub fn new(coast: Duration) -> Self {
        Self { coast, tracks: Vec::new(), next: 1 }
    }

    /// Takes the faces of the picture at `at`; gives the track of each, `None` where there are more than [`TRACKS_MAX`].
    pub fn step(&mut self, at: MonoTime, faces: &[Face]) -> Vec<Option<u64>> {
        self.tracks.retain(|track| at - track.seen <= self.coast);
        let mut pairs = Vec::new();
        for (t, track) in self.tracks.iter().enumerate() {
            for (f, face) in faces.iter().enumerate() {
                if let Some(cost) = cost(track, face, at) {
                    pairs.push((cost, t, f));
                }
            }
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut given = vec![None; faces.len()];
        let mut taken = vec![false; self.tracks.len()];
        for (_, t, f) in pairs {
            if !taken[t] && given[f].is_none() {
                taken[t] = true;
                given[f] = Some(self.tracks[t].id);
                self.tracks[t].see(faces[f], at);
            }
        }
        for (face, given) in faces.iter().zip(&mut given) {
            let is_place = face.bounds.iter().all(|edge| edge.is_finite());
            if given.is_none() && is_place && self.tracks.len() < TRACKS_MAX {
                *given = Some(self.next);
                self.tracks.push(Track { id: self.next, face: *face, since: at, seen: at, hits: 1, speed: [0.0; 2] });
                self.next += 1;
            }
        }
        given
    }

    /// A tracker without tracks that goes on counting: after a pause, or in another scene.
    pub fn anew(&self) -> Self {
        Self { coast: self.coast, tracks: Vec::new(), next: self.next }
    }

    /// The tracks that live.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }
}

impl Track {
    fn see(&mut self, face: Face, at: MonoTime) {
        let passed = (at - self.seen).as_secs_f32();
        if passed > 0.0 {
            let (from, to) = (middle(&self.face), middle(&face));
            for axis in 0..2 {
                let speed = (to[axis] - from[axis]) / passed;
                self.speed[axis] += (speed - self.speed[axis]) * SPEED_GAIN;
            }
        }
        self.face = face;
        self.seen = at;
        self.hits = self.hits.saturating_add(1);
    }
}

fn middle(face: &Face) -> [f32; 2] {
    [(face.bounds[0] + face.bounds[2]) / 2.0, (face.bounds[1] + face.bounds[3]) / 2.0]
}

/// Distance in widths plus what is missing of the overlap; `None` out of reach.
fn cost(track: &Track, face: &Face, at: MonoTime) -> Option<f32> {
    let passed = (at - track.seen).as_secs_f32().min(CARRY_SECONDS);
    let shift = track.speed.map(|speed| speed * passed);
    let [left, top, right, bottom] = track.face.bounds;
    let expected = [left + shift[0], top + shift[1], right + shift[0], bottom + shift[1]];
    let side = |low: f32, high: f32, low_2: f32, high_2: f32| (high.min(high_2) - low.max(low_2)).max(0.0);
    let [left, top, right, bottom] = face.bounds;
    let shared = side(expected[0], expected[2], left, right) * side(expected[1], expected[3], top, bottom);
    let area = (right - left) * (bottom - top) + (expected[2] - expected[0]) * (expected[3] - expected[1]);
    let overlap = shared / (area - shared).max(1.0);
    let (from, to) = (middle(&track.face), middle(face));
    let away = (from[0] + shift[0] - to[0]).hypot(from[1] + shift[1] - to[1]);
    let widths = away / face.width().max(track.face.width()).max(1.0);
    (widths <= REACH).then_some(widths + 1.0 - overlap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, y: f32) -> Face {
        Face { bounds: [x, y, x + 60.0, y + 80.0], score: 0.9, points: [[x, y]; 5] }
    }

    #[test]
    fn people_who_cross_keep_their_tracks() {
        let mut tracker = FaceTracker::default();
        let mut ids = Vec::new();
        for frame in 0..60_u64 {
            let x = frame as f32 * 8.0;
            // The detector loses the left one for a while.
            let mut faces = vec![face(500.0 - x, 130.0)];
            if !(20..24).contains(&frame) {
                faces.push(face(x, 100.0));
            }
            ids.push(tracker.step(MonoTime::from_millis(frame * 40), &faces));
        }
        assert!(ids.iter().all(|ids| ids[0] == ids[0].and(Some(1))));
        assert!(ids.iter().filter(|ids| ids.len() > 1).all(|ids| ids[1] == Some(2)), "{ids:?}");
    }

    #[test]
    fn a_track_ends_and_its_number_is_not_used_again() {
        let mut tracker = FaceTracker::default();
        assert_eq!(tracker.step(MonoTime::from_millis(0), &[face(0.0, 0.0)]), [Some(1)]);
        assert_eq!(tracker.step(MonoTime::from_millis(1000), &[face(0.0, 0.0)]), [Some(1)]);
        assert_eq!(tracker.step(MonoTime::from_millis(2001), &[face(0.0, 0.0)]), [Some(2)]);
        assert_eq!(tracker.step(MonoTime::from_millis(2040), &[face(300.0, 0.0)]), [Some(3)]);
    }

    #[test]
    fn tracks_are_bounded_and_each_face_has_its_own() {
        let mut tracker = FaceTracker::default();
        let crowd: Vec<Face> = (0..TRACKS_MAX + 9).map(|i| face(i as f32 * 100.0, 0.0)).collect();
        for frame in 0..5 {
            let given = tracker.step(MonoTime::from_millis(frame * 40), &crowd);
            let mut ids: Vec<u64> = given.iter().flatten().copied().collect();
            assert_eq!(ids.len(), TRACKS_MAX);
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), TRACKS_MAX);
        }
        assert_eq!(tracker.step(MonoTime::from_millis(300), &[face(f32::NAN, 0.0)]), [None]);
    }
}
