//! The nearest faces among many: [`FaceIndex`].
//!
//! Rows are kept twice: as 8-bit numbers, which are all looked at, and as `f32`, of which only the best are. Reading a
//! quarter of the bytes makes the search three to four times as fast as any exact one, and it is exact all the same: how
//! far an 8-bit score can lie from the true one is known (the lengths of what rounding took off), so it is *checked*
//! after the re-ranking that no row outside of it can belong in; if that cannot be said, rows that might are looked at
//! as well.
//!
//! Rows lie in pieces of [`CHUNK_ROWS`] that never move: adding and removing take the same time however many there are,
//! and no copy of a face stays behind in memory that was given back. What is removed is overwritten.
//!
//! Sources: the bound is Cauchy and Schwarz's; 8-bit scan with exact re-ranking is what FAISS calls refinement.
//!
//! **Never:** trees or graphs (below a million rows the scan is faster than keeping them in order is worth), names of
//! people, thresholds.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use zeroize::Zeroize;

use super::{EMBEDDING_MAX, EMBEDDING_MIN, Embedding};
use crate::error::Error;
use crate::search_kernel::{BLOCK_ROWS, GROUP, Level, Line, ZERO, score};

/// Most rows of an index.
pub const INDEX_ROWS_MAX: usize = 1_000_000;
/// Most rows that one search gives.
pub const WANTED_MAX: usize = 256;
/// Rows of one piece of memory: 160 KiB for embeddings of 128 numbers, large enough that a scan runs long, small enough
/// that an index of one person is not a burden.
pub const CHUNK_ROWS: usize = 256;
/// Fewest rows that are looked at exactly.
const RERANKED_MIN: usize = 32;
/// Rounding of the sums themselves, beside that of the numbers: 1024 additions at 2^-24 each.
const SUM_SLACK: f32 = 1e-4;

/// A row that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// What the row was added under.
    pub key: u64,
    /// Cosine of the angle to what was searched, -1 to 1.
    pub similarity: f32,
}

/// Working memory of searches, used again and again. One for each thread that searches.
#[derive(Clone, Debug, Default)]
pub struct SearchSpace {
    query: Query,
    /// 8-bit score and slot, best first.
    pool: Vec<(f32, usize)>,
    hits: Vec<Hit>,
    widened: u64,
}

impl SearchSpace {
    /// How many searches had to look at more rows than usual to be exact.
    pub fn widened(&self) -> u64 {
        self.widened
    }
}

/// Rows of embeddings by key, searched by similarity.
///
/// Memory: five bytes a number, so 640 bytes a row of 128.
#[derive(Clone, Debug)]
pub struct FaceIndex {
    codes: CodeRows,
    /// The same rows as they were given, by chunk.
    exact: Vec<ExactChunk>,
    keys: Vec<u64>,
    slots: HashMap<u64, usize>,
}

#[derive(Clone)]
struct ExactChunk(Box<[f32]>);

impl Drop for ExactChunk {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for ExactChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("rows")
    }
}

impl FaceIndex {
    /// An empty index for embeddings of `length` numbers.
    ///
    /// # Errors
    /// [`Error::BadOption`] unless an embedding can have that `length`.
    pub fn new(length: usize) -> Result<Self, Error> {
        let codes = CodeRows::new(length)?;
        Ok(Self { codes, exact: Vec::new(), keys: Vec::new(), slots: HashMap::new() })
    }

    /// Numbers of an embedding.
    pub fn length(&self) -> usize {
        self.codes.length
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds `embedding` under `key`, over what was there. Takes the same time for any number of rows.
    ///
    /// # Errors
    /// [`Error::OtherLength`], [`Error::Full`] at [`INDEX_ROWS_MAX`].
    pub fn insert(&mut self, key: u64, embedding: &Embedding) -> Result<(), Error> {
        self.codes.check(embedding)?;
        let slot = match self.slots.get(&key) {
            Some(&slot) => slot,
            None => {
                if self.len() == INDEX_ROWS_MAX {
                    return Err(Error::Full { what: "rows of an index", max: INDEX_ROWS_MAX });
                }
                let slot = self.len();
                if slot == self.exact.len() * CHUNK_ROWS {
                    self.exact.push(ExactChunk(vec![0.0; CHUNK_ROWS * self.length()].into_boxed_slice()));
                }
                self.keys.push(key);
                self.slots.insert(key, slot);
                slot
            }
        };
        self.codes.set(slot, embedding.values());
        self.exact_mut(slot).copy_from_slice(embedding.values());
        Ok(())
    }

    /// Removes the row under `key` and overwrites its memory; false if there is none. The last row takes its place.
    pub fn remove(&mut self, key: u64) -> bool {
        let Some(slot) = self.slots.remove(&key) else { return false };
        let last = self.len() - 1;
        if slot != last {
            let moved = self.keys[last];
            self.keys[slot] = moved;
            self.slots.insert(moved, slot);
            self.codes.copy(last, slot);
            let (from, to) = (last / CHUNK_ROWS, slot / CHUNK_ROWS);
            let (from_row, to_row) = (self.range(last), self.range(slot));
            if from == to {
                self.exact[to].0.copy_within(from_row, to_row.start);
            } else {
                let (before, after) = self.exact.split_at_mut(from);
                before[to].0[to_row].copy_from_slice(&after[0].0[from_row]);
            }
        }
        self.keys.pop();
        self.codes.clear(last);
        self.exact_mut(last).zeroize();
        // A chunk more than needed is kept, so that adding and removing at its edge costs nothing.
        let chunks = last.div_ceil(CHUNK_ROWS) + 1;
        self.exact.truncate(chunks);
        self.codes.truncate(chunks);
        true
    }

    /// The row under `key`, as it was given.
    pub fn row(&self, key: u64) -> Option<&[f32]> {
        self.slots.get(&key).map(|&slot| self.exact_row(slot))
    }

    /// The `wanted` rows most like `query`, best first; equal ones in the order of their keys. Exact: the same rows as if
    /// every one had been compared in `f32`. No allocation once `space` has its size.
    ///
    /// # Errors
    /// [`Error::OtherLength`], [`Error::BadOption`] if `wanted` is 0 or above [`WANTED_MAX`].
    pub fn search<'a>(&self, query: &Embedding, wanted: usize, space: &'a mut SearchSpace) -> Result<&'a [Hit], Error> {
        self.codes.check(query)?;
        if !(1..=WANTED_MAX).contains(&wanted) {
            return Err(Error::BadOption { option: "wanted", reason: "ask for 1 to 256 rows" });
        }
        let SearchSpace { query: coded, pool, hits, widened } = space;
        coded.take(query.values());
        let reranked = (wanted * 2).max(RERANKED_MIN);
        pool.clear();
        pool.reserve(reranked + 1);
        let mut floor = f32::NEG_INFINITY;
        self.codes.scan(coded, |slot, score| {
            let at = pool.partition_point(|(better, _)| *better >= score);
            pool.insert(at, (score, slot));
            pool.truncate(reranked);
            if pool.len() == reranked {
                floor = pool[reranked - 1].0;
            }
            floor
        });
        hits.clear();
        hits.reserve(wanted + 1);
        for &(_, slot) in pool.iter() {
            self.rank(slot, query, wanted, hits);
        }
        let doubt = self.codes.doubt(coded);
        let worst = hits.last().map_or(f32::INFINITY, |hit| hit.similarity);
        if self.len() > reranked && worst <= floor + doubt {
            *widened += 1;
            let reach = worst - doubt;
            hits.clear();
            self.codes.scan(coded, |slot, score| {
                if score >= reach {
                    self.rank(slot, query, wanted, hits);
                }
                reach.next_down()
            });
        }
        Ok(hits)
    }

    /// Puts the row at `slot` where it belongs among `hits`.
    fn rank(&self, slot: usize, query: &Embedding, wanted: usize, hits: &mut Vec<Hit>) {
        let hit = Hit { key: self.keys[slot], similarity: cosine(self.exact_row(slot), query.values()) };
        let is_better = |other: &Hit| {
            other.similarity > hit.similarity || (other.similarity == hit.similarity && other.key < hit.key)
        };
        let at = hits.partition_point(is_better);
        if at < wanted {
            hits.insert(at, hit);
            hits.truncate(wanted);
        }
    }

    fn range(&self, slot: usize) -> std::ops::Range<usize> {
        let start = slot % CHUNK_ROWS * self.length();
        start..start + self.length()
    }

    fn exact_row(&self, slot: usize) -> &[f32] {
        &self.exact[slot / CHUNK_ROWS].0[self.range(slot)]
    }

    fn exact_mut(&mut self, slot: usize) -> &mut [f32] {
        let range = self.range(slot);
        &mut self.exact[slot / CHUNK_ROWS].0[range]
    }
}

/// Cosine of two rows of length 1, in 16 sums that are added in a fixed order.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (a_blocks, b_blocks) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    (lanes.iter().sum::<f32>() + rest).clamp(-1.0, 1.0)
}

/// Something to search, in 8 bits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    fours: Vec<i32>,
    scale: f32,
    /// Length of what rounding took off.
    residual: f32,
}

impl Query {
    pub(crate) fn take(&mut self, values: &[f32]) {
        self.scale = scale_of(values);
        self.fours.clear();
        let mut square = 0.0;
        for four in values.chunks(GROUP) {
            let mut bytes = [0_u8; GROUP];
            for (byte, &value) in bytes.iter_mut().zip(four) {
                let code = code(value, self.scale);
                square += (value - f32::from(code) * self.scale).powi(2);
                *byte = code as u8;
            }
            self.fours.push(i32::from_le_bytes(bytes));
        }
        self.residual = square.sqrt();
    }
}

/// The step that brings the largest number to 127.
fn scale_of(values: &[f32]) -> f32 {
    values.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs())) / 127.0
}

fn code(value: f32, scale: f32) -> i8 {
    (value / scale).round().clamp(-127.0, 127.0) as i8
}

/// Rows of 8-bit numbers, addressed by slot, in pieces that never move.
#[derive(Clone, Debug)]
pub(crate) struct CodeRows {
    length: usize,
    groups: usize,
    chunks: Vec<CodeChunk>,
    /// Slots below this may hold rows.
    used: usize,
    /// Longest length that rounding took off any row so far.
    residual: f32,
}

#[derive(Clone)]
struct CodeChunk {
    lines: Box<[Line]>,
    /// 0 for a row that is not there, which scores 0; whoever scans skips it.
    scales: Box<[f32]>,
}

impl Drop for CodeChunk {
    fn drop(&mut self) {
        self.lines.iter_mut().for_each(|line| line.0.zeroize());
        self.scales.zeroize();
    }
}

impl std::fmt::Debug for CodeChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("rows")
    }
}

impl CodeRows {
    pub(crate) fn new(length: usize) -> Result<Self, Error> {
        // Sums of 1024 products of bytes still fit exactly into an `f32`.
        if !(EMBEDDING_MIN..=EMBEDDING_MAX).contains(&length) {
            return Err(Error::BadOption { option: "length", reason: "rows have 16 to 1024 numbers" });
        }
        Ok(Self { length, groups: length.div_ceil(GROUP), chunks: Vec::new(), used: 0, residual: 0.0 })
    }

    pub(crate) fn check(&self, embedding: &Embedding) -> Result<(), Error> {
        let got = embedding.values().len();
        if got == self.length { Ok(()) } else { Err(Error::OtherLength { wanted: self.length, got }) }
    }

    /// Writes a row. `slot` is at most one above the highest so far.
    pub(crate) fn set(&mut self, slot: usize, values: &[f32]) {
        while slot >= self.chunks.len() * CHUNK_ROWS {
            self.chunks.push(CodeChunk {
                lines: vec![Line([ZERO; BLOCK_ROWS * GROUP]); CHUNK_ROWS / BLOCK_ROWS * self.groups].into(),
                scales: vec![0.0; CHUNK_ROWS].into(),
            });
        }
        self.used = self.used.max(slot + 1);
        let scale = scale_of(values);
        let mut square = 0.0;
        let (first, lane) = self.place(slot);
        let chunk = &mut self.chunks[slot / CHUNK_ROWS];
        chunk.scales[slot % CHUNK_ROWS] = scale;
        for (line, four) in chunk.lines[first..].iter_mut().zip(values.chunks(GROUP)) {
            for (byte, &value) in line.0[lane..].iter_mut().zip(four) {
                let code = code(value, scale);
                square += (value - f32::from(code) * scale).powi(2);
                *byte = (code as u8).wrapping_add(ZERO);
            }
        }
        self.residual = self.residual.max(square.sqrt());
    }

    /// Copies the row at `from` to `to`.
    fn copy(&mut self, from: usize, to: usize) {
        let ((from_first, from_lane), (to_first, to_lane)) = (self.place(from), self.place(to));
        let scale = self.chunks[from / CHUNK_ROWS].scales[from % CHUNK_ROWS];
        self.chunks[to / CHUNK_ROWS].scales[to % CHUNK_ROWS] = scale;
        for group in 0..self.groups {
            let mut four = [0; GROUP];
            four.copy_from_slice(
                &self.chunks[from / CHUNK_ROWS].lines[from_first + group].0[from_lane..from_lane + GROUP],
            );
            self.chunks[to / CHUNK_ROWS].lines[to_first + group].0[to_lane..to_lane + GROUP].copy_from_slice(&four);
            four.zeroize();
        }
    }

    /// Overwrites the row at `slot` and takes it off the end.
    fn clear(&mut self, slot: usize) {
        self.wipe(slot);
        if slot + 1 == self.used {
            self.used = slot;
        }
    }

    /// Overwrites the row at `slot`, which then scores 0.
    pub(crate) fn wipe(&mut self, slot: usize) {
        let (first, lane) = self.place(slot);
        let groups = self.groups;
        let chunk = &mut self.chunks[slot / CHUNK_ROWS];
        chunk.scales[slot % CHUNK_ROWS].zeroize();
        for line in &mut chunk.lines[first..first + groups] {
            line.0[lane..lane + GROUP].zeroize();
            line.0[lane..lane + GROUP].fill(ZERO);
        }
    }

    fn truncate(&mut self, chunks: usize) {
        self.chunks.truncate(chunks);
    }

    /// First line and first byte of the row within its chunk.
    fn place(&self, slot: usize) -> (usize, usize) {
        let row = slot % CHUNK_ROWS;
        (row / BLOCK_ROWS * self.groups, row % BLOCK_ROWS * GROUP)
    }

    /// How far a score may lie from the true cosine: with what rounding took off, `|e_x| |y| + |x + e_x| |e_y|`.
    pub(crate) fn doubt(&self, query: &Query) -> f32 {
        self.residual + (1.0 + self.residual) * query.residual + SUM_SLACK
    }

    /// Scores every slot and hands those above the floor to `take`, which gives the new floor.
    pub(crate) fn scan(&self, query: &Query, mut take: impl FnMut(usize, f32) -> f32) {
        let level = Level::detect();
        let mut scores = [0.0; CHUNK_ROWS];
        let mut floor = f32::NEG_INFINITY;
        for (index, chunk) in self.chunks.iter().enumerate() {
            let Some(rows) = self.used.checked_sub(index * CHUNK_ROWS).filter(|&rows| rows > 0) else { break };
            let rows = rows.min(CHUNK_ROWS);
            let padded = rows.next_multiple_of(BLOCK_ROWS);
            let lines = &chunk.lines[..padded / BLOCK_ROWS * self.groups];
            score(level, lines, &query.fours, &chunk.scales[..padded], &mut scores[..padded]);
            for (block, scores) in scores[..rows].chunks(BLOCK_ROWS).enumerate() {
                // `any` would stop at the first and so keep the compiler from comparing all at once.
                let above = scores.iter().fold(false, |above, &score| above | (score * query.scale > floor));
                if above {
                    for (row, score) in scores.iter().map(|score| score * query.scale).enumerate() {
                        if score > floor {
                            floor = take(index * CHUNK_ROWS + block * BLOCK_ROWS + row, score);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_zero(index: &FaceIndex, slot: usize) -> bool {
        let (first, lane) = index.codes.place(slot);
        let chunk = &index.codes.chunks[slot / CHUNK_ROWS];
        let codes = chunk.lines[first..first + index.codes.groups].iter().flat_map(|line| &line.0[lane..lane + GROUP]);
        index.exact_row(slot).iter().all(|&value| value == 0.0)
            && chunk.scales[slot % CHUNK_ROWS] == 0.0
            && codes.copied().all(|code| code == ZERO)
    }

    fn row(seed: u64) -> Embedding {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let values: Vec<f32> = (0..128)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        Embedding::new(&values).unwrap()
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut index = FaceIndex::new(128).unwrap();
        for key in 0..300 {
            index.insert(key, &row(key)).unwrap();
        }
        let (of_10, of_299) = (row(10), row(299));
        assert!(index.remove(10), "from the middle, its place taken by the last");
        assert!(!index.remove(10));
        assert_eq!(index.row(299), Some(of_299.values()));
        assert_eq!(index.row(10), None);
        assert!(is_zero(&index, 299), "where the last was");
        assert_eq!(
            index.exact.iter().flat_map(|chunk| chunk.0.chunks(128)).filter(|row| row == &of_10.values()).count(),
            0
        );
        for key in 0..300 {
            index.remove(key);
        }
        assert!(index.is_empty() && index.exact.len() == 1 && is_zero(&index, 0));
    }

    #[test]
    fn the_same_key_again_replaces() {
        let mut index = FaceIndex::new(128).unwrap();
        index.insert(7, &row(1)).unwrap();
        index.insert(7, &row(2)).unwrap();
        assert_eq!((index.len(), index.row(7)), (1, Some(row(2).values())));
    }

    #[test]
    fn rounding_stays_within_the_doubt() {
        let mut index = FaceIndex::new(128).unwrap();
        for key in 0..500 {
            index.insert(key, &row(key)).unwrap();
        }
        for seed in 1000..1050 {
            let query = row(seed);
            let mut coded = Query::default();
            coded.take(query.values());
            let doubt = index.codes.doubt(&coded);
            assert!(doubt < 0.03, "{doubt}");
            index.codes.scan(&coded, |slot, score| {
                let exact = cosine(index.exact_row(slot), query.values());
                assert!((exact - score).abs() <= doubt, "{exact} {score} {doubt}");
                f32::NEG_INFINITY
            });
        }
    }
}
