//! A list of plates that somebody knows: [`PlateList`]. Only the exact text is on the list.
//!
//! A reader misreads one sign in fifty at best. If a text that differs by one sign counted, every misread neighbour
//! would be let in; so near ones are told apart by type and shown to a person, with what differs.
//!
//! **Never:** a near miss as a match, whatever it looks like.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::text::{PlateText, SIGNS_MAX, look_alike};
use crate::error::Error;

/// Most plates on one list: a campus, not a country.
pub const LIST_MAX: usize = 100_000;

/// Most near misses that are shown.
pub const NEAR_MAX: usize = 5;

/// Distance between signs that look alike, in tenths of a different sign.
const ALIKE_TENTHS: u32 = 3;

/// Distance of different signs, and of one too few or too many, in tenths.
const DIFFERENT_TENTHS: u32 = 10;

/// Largest distance of a near miss in tenths: one wrong sign, or three that look alike.
pub const NEAR_TENTHS_MAX: u32 = 10;

/// What a list says of a text.
#[derive(Debug, PartialEq, Eq)]
pub enum Listed<'a, T> {
    /// The text is on the list.
    Exact(&'a T),
    /// It is not, but these look like it, nearest first, with the distance in tenths of a sign. To be shown, never to
    /// be admitted.
    Near(Vec<(&'a PlateText, u32)>),
    /// Nothing on the list looks like it.
    Unknown,
}

/// Plates with what is known of each.
#[derive(Clone, Debug)]
pub struct PlateList<T> {
    plates: HashMap<PlateText, T>,
}

impl<T> Default for PlateList<T> {
    fn default() -> Self {
        Self { plates: HashMap::new() }
    }
}

impl<T> PlateList<T> {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `plate` on the list, or gives it another `value`.
    ///
    /// # Errors
    /// [`Error::BadOption`] if it has [`LIST_MAX`] already.
    pub fn put(&mut self, plate: PlateText, value: T) -> Result<(), Error> {
        if self.plates.len() >= LIST_MAX && !self.plates.contains_key(&plate) {
            return Err(Error::BadOption { option: "plates", reason: "a list has at most 100000 plates" });
        }
        self.plates.insert(plate, value);
        Ok(())
    }

    /// Takes `plate` off the list.
    pub fn remove(&mut self, plate: &PlateText) -> Option<T> {
        self.plates.remove(plate)
    }

    /// Plates on it.
    pub fn len(&self) -> usize {
        self.plates.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.plates.is_empty()
    }

    /// What the list says of `plate`. An exact one is found by hash; for near ones the whole list is compared.
    pub fn look_up(&self, plate: &PlateText) -> Listed<'_, T> {
        if let Some(value) = self.plates.get(plate) {
            return Listed::Exact(value);
        }
        let mut near: Vec<_> = self
            .plates
            .keys()
            .map(|known| (known, distance_tenths(known, plate)))
            .filter(|&(_, distance)| distance <= NEAR_TENTHS_MAX)
            .collect();
        near.sort_by(|(a, near), (b, far)| near.cmp(far).then_with(|| a.cmp(b)));
        near.truncate(NEAR_MAX);
        if near.is_empty() { Listed::Unknown } else { Listed::Near(near) }
    }
}

/// The weighted edit distance of two texts in tenths of a sign (Wagner and Fischer's recurrence).
pub fn distance_tenths(a: &PlateText, b: &PlateText) -> u32 {
    let (a, b) = (a.as_str().as_bytes(), b.as_str().as_bytes());
    let mut row = [0; SIGNS_MAX + 1];
    for (j, cell) in row.iter_mut().enumerate() {
        *cell = j as u32 * DIFFERENT_TENTHS;
    }
    for &x in a {
        let mut diagonal = row[0];
        row[0] += DIFFERENT_TENTHS;
        for (j, &y) in b.iter().enumerate() {
            let change = match x == y {
                true => 0,
                false if look_alike(x, y) => ALIKE_TENTHS,
                false => DIFFERENT_TENTHS,
            };
            let least = (diagonal + change).min(row[j] + DIFFERENT_TENTHS).min(row[j + 1] + DIFFERENT_TENTHS);
            diagonal = std::mem::replace(&mut row[j + 1], least);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plate(text: &str) -> PlateText {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_exact_text_is_on_the_list() {
        let mut list = PlateList::new();
        for (text, owner) in [("A123BC77", 1), ("A128BC77", 2), ("M001MM99", 3)] {
            list.put(plate(text), owner).unwrap();
        }
        assert_eq!(list.look_up(&plate("а123вс77")), Listed::Exact(&1));
        let Listed::Near(near) = list.look_up(&plate("A12BBC77")) else { panic!("near, not on it") };
        let near: Vec<_> = near.iter().map(|(text, distance)| (text.as_str(), *distance)).collect();
        assert_eq!(near, [("A128BC77", 3), ("A123BC77", 10)]);
        assert_eq!(list.look_up(&plate("X999XX50")), Listed::Unknown);
        assert_eq!(list.remove(&plate("A123BC77")), Some(1));
        assert!(matches!(list.look_up(&plate("A123BC77")), Listed::Near(_)));
    }

    #[test]
    fn of_a_thousand_plates_none_is_matched_by_a_neighbour() {
        let mut list = PlateList::new();
        for n in 0..1000 {
            list.put(plate(&format!("A{n:03}BC77")), n).unwrap();
        }
        for n in 0..1000 {
            for wrong in [format!("A{n:03}8C77"), format!("A{n:03}BC7"), format!("4{n:03}BC77")] {
                assert!(!matches!(list.look_up(&plate(&wrong)), Listed::Exact(_)), "{wrong}");
            }
        }
    }

    #[test]
    fn a_list_has_a_limit() {
        let mut list = PlateList::new();
        for n in 0..LIST_MAX {
            list.put(plate(&format!("A{n:06}")), ()).unwrap();
        }
        assert!(list.put(plate("ONEMORE"), ()).is_err());
        assert!(list.put(plate("A000001"), ()).is_ok(), "it is there already");
        assert_eq!((list.len(), list.is_empty()), (LIST_MAX, false));
    }

    proptest! {
        #[test]
        fn distance_is_a_distance(a in "[0-9A-Z]{2,10}", b in "[0-9A-Z]{2,10}") {
            let (a, b) = (plate(&a), plate(&b));
            prop_assert_eq!(distance_tenths(&a, &b), distance_tenths(&b, &a));
            prop_assert_eq!(distance_tenths(&a, &b) == 0, a == b);
            prop_assert!(distance_tenths(&a, &b) <= 10 * SIGNS_MAX as u32);
        }
    }
}
