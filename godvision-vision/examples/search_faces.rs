//! How long it takes to find a face among many: `search_faces [ROWS]...`.
//!
//! Fills an index with random rows of 128 numbers and searches it for the ten nearest, one thread. Prints the shortest and
//! the middle time of a search, adding and removing included in the last column. What to read next: `face::search` in the
//! crate's documentation.

use std::error::Error;

use godvision_core::{Clock, SystemClock};
use godvision_vision::face::Embedding;
use godvision_vision::face::search::{FaceIndex, SearchSpace};

const LENGTH: usize = 128;
const SEARCHES: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut sizes: Vec<usize> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![5_000, 100_000];
    }
    let mut state = 88_172_645_463_325_252_u64;
    let mut row = || {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 24) as f32
        };
        Embedding::new(&(0..LENGTH).map(|_| (0..6).map(|_| next()).sum::<f32>() - 3.0).collect::<Vec<_>>())
    };
    for size in sizes {
        let mut index = FaceIndex::new(LENGTH)?;
        for key in 0..size as u64 {
            index.insert(key, &row()?)?;
        }
        let mut space = SearchSpace::default();
        let (mut searches, mut changes) = (Vec::new(), Vec::new());
        for turn in 0..SEARCHES as u64 {
            let query = row()?;
            let start = SystemClock.mono();
            index.search(&query, 10, &mut space)?;
            searches.push((SystemClock.mono() - start).as_secs_f64() * 1e3);
            let start = SystemClock.mono();
            index.remove(turn);
            index.insert(turn, &query)?;
            changes.push((SystemClock.mono() - start).as_secs_f64() * 1e6);
        }
        searches.sort_by(f64::total_cmp);
        changes.sort_by(f64::total_cmp);
        println!(
            "{size} rows: search {:.4} ms least, {:.4} ms middle; forget and enrol {:.2} us middle; {} of {SEARCHES} looked wider",
            searches[0],
            searches[SEARCHES / 2],
            changes[SEARCHES / 2],
            space.widened()
        );
    }
    Ok(())
}
