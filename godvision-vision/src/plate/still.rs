//! What stands still is not read again and again: [`StillPlaces`] remembers what places said and how they looked.
//!
//! Reading takes five times as long as finding. A parked car, or a grating that the detector takes for a plate, would be
//! read in every picture all day; its looks tell that nothing new can come of it.
//!
//! **Never:** a reading kept for a place that looks otherwise than when it was read.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::MonoTime;

use super::Plate;
use super::detect::PlateBox;
use crate::plane::LumaView;

/// Most places remembered; the one unseen for longest makes room.
const PLACES_MAX: usize = 16;

/// Readings of a place before it is believed: noise differs from picture to picture, and votes want several.
const READINGS: u32 = 4;

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
    plate: Option<Plate>,
}

/// Places and what they said.
#[derive(Debug, Default)]
pub(super) struct StillPlaces(Vec<Place>);

impl StillPlaces {
    /// What `place` said, if it has been read often enough and looks as it did; `None` if it is to be read.
    pub(super) fn recall(&mut self, luma: LumaView<'_>, place: &PlateBox, now: MonoTime) -> Option<Option<Plate>> {
        let known = self.0.iter_mut().find(|known| known.bounds.overlap(place) >= SAME_PLACE)?;
        // Compared where it was read, so that a box that jumps does not make the looks jump.
        if !is_alike(&known.looks, &looks(luma, &known.bounds)) {
            known.readings = 0;
            return None;
        }
        known.seen = now;
        (known.readings >= READINGS && now - known.read_at < AGAIN_AFTER).then(|| known.plate.clone())
    }

    /// Notes what `place` said when it was read.
    pub(super) fn keep(&mut self, luma: LumaView<'_>, place: PlateBox, plate: Option<Plate>, now: MonoTime) {
        let found = self.0.iter().position(|known| known.bounds.overlap(&place) >= SAME_PLACE);
        let readings = match found {
            Some(index) => self.0.swap_remove(index).readings.saturating_add(1),
            None => 1,
        };
        if self.0.len() >= PLACES_MAX
            && let Some((oldest, _)) = self.0.iter().enumerate().min_by_key(|(_, known)| known.seen)
        {
            self.0.swap_remove(oldest);
        }
        let looks = looks(luma, &place);
        self.0.push(Place { bounds: place, looks, readings, read_at: now, seen: now, plate });
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
        let mut still = StillPlaces::default();
        let mut reads = Vec::new();
        for frame in 0..60 {
            let (data, now) = (picture(0, frame as usize % 5), at(frame * 200));
            let luma = LumaView::new(&data, 200, 100, 200).unwrap();
            let place = place(50.0 + (frame % 3) as f32, 40.0);
            if still.recall(luma, &place, now).is_none() {
                reads.push(frame);
                still.keep(luma, place, None, now);
            }
        }
        assert_eq!(reads, [0, 1, 2, 3, 28, 53]);
    }

    #[test]
    fn another_plate_at_the_same_place_is_read() {
        let mut still = StillPlaces::default();
        let (data, other) = (picture(0, 0), picture(3, 0));
        let view = |data| LumaView::new(data, 200, 100, 200).unwrap();
        for frame in 0..10 {
            still.keep(view(&data), place(50.0, 40.0), None, at(frame));
        }
        assert_eq!(still.recall(view(&data), &place(50.0, 40.0), at(20)), Some(None));
        assert_eq!(still.recall(view(&other), &place(50.0, 40.0), at(21)), None);
        assert_eq!(still.recall(view(&data), &place(50.0, 40.0), at(22)), None, "believed again only after readings");
        assert_eq!(still.recall(view(&data), &place(100.0, 40.0), at(23)), None);
    }

    #[test]
    fn what_is_remembered_has_a_limit_and_any_place_will_do() {
        let mut still = StillPlaces::default();
        let data = picture(0, 0);
        let luma = LumaView::new(&data, 200, 100, 200).unwrap();
        for k in 0..100_u64 {
            still.keep(luma, place(k as f32 * 1000.0 - 500.0, -1e9 * k as f32), None, at(k));
        }
        assert_eq!(still.0.len(), PLACES_MAX);
        let broken = PlateBox { corners: [[f32::NAN; 2]; 4], score: 0.5 };
        assert_eq!(still.recall(luma, &broken, at(0)), None);
        still.keep(luma, broken, None, at(0));
    }
}
