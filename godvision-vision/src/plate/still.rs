//! What stands still is not read again and again: [`StillPlaces`] remembers which places were read and how they looked.
//!
//! Reading takes five times as long as finding. A parked car, or a grating that the detector takes for a plate, would be
//! read in every picture all day; its looks tell that nothing new can come of it.
//!
//! **Never:** a text. An old reading that was given again would be a vote of its own, and one misreading could outvote all
//! others.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::MonoTime;

use super::detect::PlateBox;
use crate::plane::LumaView;

/// Most places remembered; the one unseen for longest makes room.
const PLACES_MAX: usize = 16;

/// A place that looks the same is read again after so long all the same.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Share of common area of the same place: a box jumps by a pixel or two of the reduced picture.
const SAME_PLACE: f32 = 0.6;

/// Cells of a place's looks, across and down: about as many as a plate has letters, twice.
const CELLS: [usize; 2] = [16, 6];

/// Largest difference of one cell's mean brightness. Another letter changes a cell by half the contrast of the plate; the
/// noise of a camera at night, over the hundred pixels of a cell, by one.
const DIFFERENT: u8 = 6;

#[derive(Debug)]
struct Place {
    bounds: PlateBox,
    looks: [u8; CELLS[0] * CELLS[1]],
    readings: u32,
    read_at: MonoTime,
    seen: MonoTime,
}

/// Places that were read.
#[derive(Debug)]
pub(crate) struct StillPlaces {
    /// Readings of a place before it is left alone: what votes want, since noise differs from picture to picture.
    readings: u32,
    places: Vec<Place>,
}

impl StillPlaces {
    /// Places are read `readings` times before they are left alone.
    pub(crate) fn new(readings: u32) -> Self {
        Self { readings, places: Vec::new() }
    }

    /// Whether `place` was read often enough, not long ago, and looks as it did then.
    pub(crate) fn is_known(&mut self, luma: LumaView<'_>, place: &PlateBox, now: MonoTime) -> bool {
        let Some(known) = self.places.iter_mut().find(|known| known.bounds.overlap(place) >= SAME_PLACE) else {
            return false;
        };
        // Compared where it was read, so that a box that jumps does not make the looks jump.
        if !is_alike(&known.looks, &looks(luma, &known.bounds)) {
            known.readings = 0;
            return false;
        }
        known.seen = now;
        known.readings >= self.readings && now - known.read_at < AGAIN_AFTER
    }

    /// Notes that `place` is read now.
    pub(crate) fn note(&mut self, luma: LumaView<'_>, place: PlateBox, now: MonoTime) {
        let found = self.places.iter().position(|known| known.bounds.overlap(&place) >= SAME_PLACE);
        let readings = match found {
            Some(index) => self.places.swap_remove(index).readings.saturating_add(1),
            None => 1,
        };
        if self.places.len() >= PLACES_MAX
            && let Some((oldest, _)) = self.places.iter().enumerate().min_by_key(|(_, known)| known.seen)
        {
            self.places.swap_remove(oldest);
        }
        let looks = looks(luma, &place);
        self.places.push(Place { bounds: place, looks, readings, read_at: now, seen: now });
    }
}

fn is_alike(before: &[u8], now: &[u8]) -> bool {
    before.iter().zip(now).all(|(before, now)| before.abs_diff(*now) <= DIFFERENT)
}

/// Mean brightness of the cells of the upright rectangle around `place`.
fn looks(luma: LumaView<'_>, place: &PlateBox) -> [u8; CELLS[0] * CELLS[1]] {
    let mut looks = [0; CELLS[0] * CELLS[1]];
    let [left, top, right, bottom] = place.bounds().map(|side| side.max(0.0) as usize);
    let [right, bottom] = [right.min(luma.width()), bottom.min(luma.height())];
    let (across, down) = (right.saturating_sub(left), bottom.saturating_sub(top));
    for (cell, mean) in looks.iter_mut().enumerate() {
        let (column, row) = (cell % CELLS[0], cell / CELLS[0]);
        let xs = left + across * column / CELLS[0]..left + across * (column + 1) / CELLS[0];
        let rows = top + down * row / CELLS[1]..top + down * (row + 1) / CELLS[1];
        let count = xs.len() * rows.len();
        let sum: usize = rows.map(|y| luma.row(y)[xs.clone()].iter().map(|&it| usize::from(it)).sum::<usize>()).sum();
        *mean = sum.checked_div(count).unwrap_or(0) as u8;
    }
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(left: f32, top: f32) -> PlateBox {
        let (right, bottom) = (left + 80.0, top + 20.0);
        PlateBox { corners: [[left, top], [right, top], [right, bottom], [left, bottom]], score: 0.9 }
    }

    fn picture(shift: usize, noise: usize) -> Vec<u8> {
        (0..200 * 100)
            .map(|i| if ((i % 200 + shift) / 7).is_multiple_of(2) { 40 } else { 200 } + (i * 7 % (noise + 1)) as u8)
            .collect()
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::default() + Duration::from_millis(millis)
    }

    #[test]
    fn what_looks_the_same_is_read_a_few_times_and_then_now_and_again() {
        let mut still = StillPlaces::new(4);
        let mut reads = Vec::new();
        for frame in 0..60 {
            let (data, now) = (picture(0, frame as usize % 5), at(frame * 200));
            let luma = LumaView::new(&data, 200, 100, 200).unwrap();
            let place = place(50.0 + (frame % 3) as f32, 40.0);
            if !still.is_known(luma, &place, now) {
                reads.push(frame);
                still.note(luma, place, now);
            }
        }
        assert_eq!(reads, [0, 1, 2, 3, 28, 53]);
    }

    #[test]
    fn another_plate_at_the_same_place_is_read() {
        let mut still = StillPlaces::new(4);
        let (data, other) = (picture(0, 0), picture(3, 0));
        let view = |data| LumaView::new(data, 200, 100, 200).unwrap();
        for frame in 0..10 {
            still.note(view(&data), place(50.0, 40.0), at(frame));
        }
        assert!(still.is_known(view(&data), &place(50.0, 40.0), at(20)));
        assert!(!still.is_known(view(&other), &place(50.0, 40.0), at(21)));
        assert!(!still.is_known(view(&data), &place(50.0, 40.0), at(22)), "left alone again only after readings");
        assert!(!still.is_known(view(&data), &place(100.0, 40.0), at(23)));
    }

    #[test]
    fn what_is_remembered_has_a_limit_and_any_place_will_do() {
        let mut still = StillPlaces::new(4);
        let data = picture(0, 0);
        let luma = LumaView::new(&data, 200, 100, 200).unwrap();
        for k in 0..100_u64 {
            still.note(luma, place(k as f32 * 1000.0 - 500.0, -1e9 * k as f32), at(k));
        }
        assert_eq!(still.places.len(), PLACES_MAX);
        let broken = PlateBox { corners: [[f32::NAN; 2]; 4], score: 0.5 };
        assert!(!still.is_known(luma, &broken, at(0)));
        still.note(luma, broken, at(0));
    }
}
