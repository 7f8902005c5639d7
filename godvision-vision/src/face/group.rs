//! Strangers who come again: [`Strangers`] groups faces that nobody knows, so that an owner can give a group a name.
//!
//! A face joins the group whose middle it is most like, or begins one. Groups whose middles have come close are joined
//! under the older number. The order of faces decides alone: the same faces give the same groups.
//!
//! **Never:** names, pictures, a group kept longer than asked.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::MonoTime;
use zeroize::Zeroize;

use super::Embedding;
use super::gallery::{PHOTOS_MAX, PersonRows};
use super::search::cosine;
use crate::error::Error;

/// Most groups; the one not seen for longest makes room.
pub const GROUPS_MAX: usize = 1000;
/// Least similarity to a middle to join.
const JOIN: f32 = 0.42;
/// Similarity of two middles that are one person: a middle trembles less than a face, so more is asked.
const MERGE: f32 = 0.6;
/// Faces after which a middle follows slowly.
const WEIGHT_MAX: f32 = 32.0;

#[derive(Clone, Debug)]
struct Group {
    id: u64,
    middle: Vec<f32>,
    weight: f32,
    faces: u64,
    seen: MonoTime,
    samples: Vec<Embedding>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.middle.zeroize();
    }
}

/// Groups of one model's faces.
#[derive(Clone, Debug)]
pub struct Strangers {
    model: String,
    keep: Duration,
    groups: Vec<Group>,
    next: u64,
}

impl Strangers {
    /// Groups not seen for longer than `keep` are forgotten.
    pub fn new(model: &str, keep: Duration) -> Self {
        Self { model: model.to_owned(), keep, groups: Vec::new(), next: 1 }
    }

    /// Adds a face; gives its group.
    pub fn add(&mut self, at: MonoTime, face: &Embedding) -> u64 {
        self.groups.retain(|group| at - group.seen <= self.keep);
        let values = face.values();
        let near =
            |group: &Group| if group.middle.len() == values.len() { cosine(&group.middle, values) } else { -1.0 };
        let best = self.groups.iter().map(near).enumerate().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let index = match best {
            Some((index, similarity)) if similarity >= JOIN => index,
            _ => {
                if self.groups.len() == GROUPS_MAX {
                    let oldest = self.groups.iter().enumerate().min_by_key(|(_, group)| (group.seen, group.id));
                    oldest.map(|(index, _)| index).map(|index| self.groups.remove(index));
                }
                let middle = vec![0.0; values.len()];
                let group = Group { id: self.next, middle, weight: 0.0, faces: 0, seen: at, samples: Vec::new() };
                self.next += 1;
                self.groups.push(group);
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[index];
        group.seen = at;
        group.faces += 1;
        if group.samples.len() < PHOTOS_MAX {
            group.samples.push(face.clone());
        }
        blend(group, values, 1.0);
        self.merge(index)
    }

    /// Joins the group at `index` with the nearest one, if near enough; gives the number that stays.
    fn merge(&mut self, index: usize) -> u64 {
        let middle = &self.groups[index].middle;
        let near =
            |group: &Group| if group.middle.len() == middle.len() { cosine(&group.middle, middle) } else { -1.0 };
        let others = self.groups.iter().enumerate().filter(|(other, _)| *other != index);
        let best = others.map(|(other, group)| (other, near(group))).max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((other, _)) = best.filter(|(_, similarity)| *similarity >= MERGE) else {
            return self.groups[index].id;
        };
        let newer = self.groups.remove(index.max(other));
        let older = &mut self.groups[index.min(other)];
        older.seen = older.seen.max(newer.seen);
        older.faces += newer.faces;
        blend(older, &newer.middle, newer.weight);
        let room = PHOTOS_MAX - older.samples.len();
        older.samples.extend(newer.samples.iter().take(room).cloned());
        older.id
    }

    /// Groups: number and faces seen, oldest first.
    pub fn groups(&self) -> impl Iterator<Item = (u64, u64)> {
        self.groups.iter().map(|group| (group.id, group.faces))
    }

    /// The rows of a group, to make a person of it, with that person's consent.
    ///
    /// # Errors
    /// [`Error::BadOption`] if there is no such group.
    pub fn rows(&self, group: u64) -> Result<PersonRows, Error> {
        let found = self.groups.iter().find(|it| it.id == group);
        let found = found.ok_or(Error::BadOption { option: "group", reason: "is not here any more" })?;
        PersonRows::new(&self.model, found.samples.clone())
    }

    /// Takes a group out. As [`Strangers::rows`], and the group is gone.
    ///
    /// # Errors
    /// [`Error::BadOption`] if there is no such group.
    pub fn take(&mut self, group: u64) -> Result<PersonRows, Error> {
        let rows = self.rows(group)?;
        self.forget(group);
        Ok(rows)
    }

    /// Forgets a group; false if there is none.
    pub fn forget(&mut self, group: u64) -> bool {
        let before = self.groups.len();
        self.groups.retain(|it| it.id != group);
        self.groups.len() < before
    }
}

/// Moves a middle towards `values` and brings it back to length 1.
fn blend(group: &mut Group, values: &[f32], weight: f32) {
    let of = group.weight;
    group.middle.iter_mut().zip(values).for_each(|(middle, value)| *middle = *middle * of + value * weight);
    let length = group.middle.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        group.middle.iter_mut().for_each(|value| *value /= length);
    }
    group.weight = (of + weight).min(WEIGHT_MAX);
}
