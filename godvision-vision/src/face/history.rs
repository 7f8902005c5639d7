//! When was this face seen: [`History`], a ring of the last faces, searched by a photo.
//!
//! Only 8-bit rows are kept, so a similarity is good to about 0.01. The oldest makes room for the newest.
//!
//! **Never:** pictures (a journal has the crops), names of people.

#![forbid(unsafe_code)]

use std::ops::Range;

use godvision_core::{Name, Stamp, WallTime};

use super::Embedding;
use super::search::{CodeRows, Query, WANTED_MAX};
use crate::error::Error;

/// Most faces of a history.
pub const HISTORY_MAX: usize = 1_000_000;

/// A face that was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When.
    pub at: Stamp,
    /// By which camera.
    pub camera: Name,
    /// The frame's sequence, as its sighting has it: with the camera it finds the sighting and its crop in a journal.
    pub sequence: u64,
}

/// The last faces seen.
#[derive(Clone, Debug)]
pub struct History {
    rows: CodeRows,
    seen: Vec<Option<Seen>>,
    capacity: usize,
    next: usize,
}

impl History {
    /// A ring of `capacity` faces of `length` numbers: about `length + 60` bytes each.
    ///
    /// # Errors
    /// [`Error::BadOption`] unless `capacity` is 1 to [`HISTORY_MAX`] and an embedding has that length.
    pub fn new(length: usize, capacity: usize) -> Result<Self, Error> {
        if !(1..=HISTORY_MAX).contains(&capacity) {
            return Err(Error::BadOption { option: "capacity", reason: "must be 1 to 1000000" });
        }
        Ok(Self { rows: CodeRows::new(length)?, seen: Vec::new(), capacity, next: 0 })
    }

    /// Faces kept.
    pub fn len(&self) -> usize {
        self.seen.iter().flatten().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a face.
    ///
    /// # Errors
    /// [`Error::OtherLength`].
    pub fn add(&mut self, face: &Embedding, seen: Seen) -> Result<(), Error> {
        self.rows.check(face)?;
        self.rows.set(self.next, face.values());
        if self.next == self.seen.len() {
            self.seen.push(Some(seen));
        } else {
            self.seen[self.next] = Some(seen);
        }
        self.next = (self.next + 1) % self.capacity;
        Ok(())
    }

    /// The `wanted` faces most like `photo` that were seen in `range`, with their similarity, best first.
    ///
    /// # Errors
    /// [`Error::OtherLength`]; [`Error::BadOption`] unless `wanted` is 1 to [`WANTED_MAX`].
    pub fn search(&self, photo: &Embedding, range: Range<WallTime>, wanted: usize) -> Result<Vec<(f32, Seen)>, Error> {
        self.rows.check(photo)?;
        if !(1..=WANTED_MAX).contains(&wanted) {
            return Err(Error::BadOption { option: "wanted", reason: "ask for 1 to 256 faces" });
        }
        let mut query = Query::default();
        query.take(photo.values());
        let mut best: Vec<(f32, usize)> = Vec::new();
        self.rows.scan(&query, |slot, score| {
            let is_meant =
                self.seen.get(slot).and_then(Option::as_ref).is_some_and(|seen| range.contains(&seen.at.wall));
            if is_meant {
                let at = best.partition_point(|(better, _)| *better >= score);
                best.insert(at, (score, slot));
                best.truncate(wanted);
            }
            if best.len() == wanted { best[wanted - 1].0 } else { f32::NEG_INFINITY }
        });
        Ok(best.into_iter().filter_map(|(score, slot)| Some((score, self.seen[slot].clone()?))).collect())
    }

    /// Forgets every face at least so like `face`, for somebody who asks to be forgotten; gives their number.
    ///
    /// # Errors
    /// [`Error::OtherLength`].
    pub fn forget_like(&mut self, face: &Embedding, similarity: f32) -> Result<usize, Error> {
        self.rows.check(face)?;
        let mut query = Query::default();
        query.take(face.values());
        let mut found = Vec::new();
        self.rows.scan(&query, |slot, score| {
            if score >= similarity && self.seen.get(slot).is_some_and(Option::is_some) {
                found.push(slot);
            }
            f32::NEG_INFINITY
        });
        for &slot in &found {
            self.rows.wipe(slot);
            self.seen[slot] = None;
        }
        Ok(found.len())
    }
}
