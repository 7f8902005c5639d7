//! The loop that looks at every row of a gallery: scores of 8-bit rows against one 8-bit query.
//!
//! Rows lie in blocks of 16, turned so that four numbers of each of the 16 rows share one [`Line`] of 64 bytes: the sums
//! of 16 rows then grow in 16 lanes, and nothing is ever added across lanes. A row's numbers are stored plus 128, because
//! the instruction that multiplies bytes (`vpdpbusd`) takes unsigned ones on one side.
//!
//! [`spec`] is the specification and what runs without AVX2. A sum is a whole number below 2^24 for up to 1024 numbers
//! of at most 127 each, so turning it into `f32` and multiplying it by the row's scale gives the same bits everywhere; a
//! property test compares.
//!
//! **Never:** allocation, state, anything that decides who is like whom.

#![allow(unsafe_code)]

/// Rows that are scored together.
pub(crate) const BLOCK_ROWS: usize = 16;
/// Numbers of a row in one line.
pub(crate) const GROUP: usize = 4;
/// What stands for 0 in a stored row.
pub(crate) const ZERO: u8 = 128;

/// Four numbers of each of 16 rows: byte `4 * row + k`. One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; BLOCK_ROWS * GROUP]);

/// Which copy of the loop this processor may run. A value is proof that the features were detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(Tier);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best this processor can do. `std` caches the detection.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                return Self(Tier::Avx512);
            }
            if is_x86_feature_detected!("avx2") {
                return Self(Tier::Avx2);
            }
        }
        Self(Tier::Portable)
    }

    /// Every copy that may run here, the specification first.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut levels = vec![Self(Tier::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                levels.push(Self(Tier::Avx2));
            }
            if Self::detect() == Self(Tier::Avx512) {
                levels.push(Self(Tier::Avx512));
            }
        }
        levels
    }
}

/// `scores[row]` = (sum of row times query) times `scales[row]`.
///
/// `query` holds four numbers of -127..=127 a group, as little-endian bytes. `lines` holds, block after block, one line a
/// group.
///
/// # Panics
/// If `scales` is no whole number of blocks, or the others do not fit it.
pub(crate) fn score(level: Level, lines: &[Line], query: &[i32], scales: &[f32], scores: &mut [f32]) {
    let blocks = scales.len() / BLOCK_ROWS;
    assert_eq!(scales.len(), blocks * BLOCK_ROWS, "whole blocks");
    assert_eq!(scores.len(), scales.len(), "a score a row");
    assert_eq!(lines.len(), blocks * query.len(), "a line a block and group");
    match level.0 {
        Tier::Portable => spec::score(lines, query, scales, scores),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level is proof that the features are there.
        Tier::Avx2 => unsafe { score_avx2(lines, query, scales, scores) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level is proof that the features are there.
        Tier::Avx512 => unsafe { score_avx512(lines, query, scales, scores) },
    }
}

/// The loop as plain Rust.
mod spec {
    use super::{BLOCK_ROWS, GROUP, Line, ZERO};

    pub(super) fn score(lines: &[Line], query: &[i32], scales: &[f32], scores: &mut [f32]) {
        let blocks = scales.chunks_exact(BLOCK_ROWS).zip(scores.chunks_exact_mut(BLOCK_ROWS));
        for (block, (scales, scores)) in blocks.enumerate() {
            let mut sums = [0_i32; BLOCK_ROWS];
            for (line, four) in lines[block * query.len()..].iter().zip(query) {
                let four = four.to_le_bytes().map(|byte| i32::from(byte as i8));
                for (sum, codes) in sums.iter_mut().zip(line.0.chunks_exact(GROUP)) {
                    for (code, number) in codes.iter().zip(four) {
                        *sum += (i32::from(*code) - i32::from(ZERO)) * number;
                    }
                }
            }
            for ((score, sum), scale) in scores.iter_mut().zip(sums).zip(scales) {
                *score = sum as f32 * scale;
            }
        }
    }
}

/// Two half-blocks of 8 rows a step. `vpmaddubsw` adds two products in 16 bits and would saturate on bytes up to 255, so
/// the sign of the query goes over to the row first: then two products are at most 2 * 127 * 127 < 2^15.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn score_avx2(lines: &[Line], query: &[i32], scales: &[f32], scores: &mut [f32]) {
    use std::arch::x86_64::*;
    let (ones, zero) = (_mm256_set1_epi16(1), _mm256_set1_epi8(ZERO as i8));
    let blocks = scales.chunks_exact(BLOCK_ROWS).zip(scores.chunks_exact_mut(BLOCK_ROWS));
    for (block, (scales, scores)) in blocks.enumerate() {
        let mut sums = [_mm256_setzero_si256(); 2];
        for (line, &four) in lines[block * query.len()..].iter().zip(query) {
            let four = _mm256_set1_epi32(four);
            let size = _mm256_abs_epi8(four);
            for (sum, half) in sums.iter_mut().zip(line.0.chunks_exact(32)) {
                // SAFETY: `half` is 32 bytes long, and the load needs no alignment.
                let codes = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
                let signed = _mm256_sign_epi8(_mm256_xor_si256(codes, zero), four);
                let pairs = _mm256_maddubs_epi16(size, signed);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        let halves = scales.chunks_exact(8).zip(scores.chunks_exact_mut(8));
        for (sum, (scales, scores)) in sums.into_iter().zip(halves) {
            // SAFETY: both are 8 numbers long, and neither load nor store needs alignment.
            unsafe {
                let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scales.as_ptr()));
                _mm256_storeu_ps(scores.as_mut_ptr(), scaled);
            }
        }
    }
}

/// One line a step. Rows count plus 128, so 128 times the sum of the query is taken off at the end, once a block. Four
/// sums, because one `vpdpbusd` takes four or five cycles and the next of the same sum would wait for it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn score_avx512(lines: &[Line], query: &[i32], scales: &[f32], scores: &mut [f32]) {
    use std::arch::x86_64::*;
    const SUMS: usize = 4;
    let total: i32 = query.iter().flat_map(|four| four.to_le_bytes()).map(|byte| i32::from(byte as i8)).sum();
    let excess = _mm512_set1_epi32(total * i32::from(ZERO));
    let blocks = scales.chunks_exact(BLOCK_ROWS).zip(scores.chunks_exact_mut(BLOCK_ROWS));
    for (block, (scales, scores)) in blocks.enumerate() {
        let lines = &lines[block * query.len()..][..query.len()];
        let mut sums = [_mm512_setzero_si512(); SUMS];
        for (lines, fours) in lines.chunks(SUMS).zip(query.chunks(SUMS)) {
            for (sum, (line, &four)) in sums.iter_mut().zip(lines.iter().zip(fours)) {
                // SAFETY: a line is 64 bytes long, and the load needs no alignment.
                let codes = unsafe { _mm512_loadu_si512(line.0.as_ptr().cast()) };
                *sum = _mm512_dpbusd_epi32(*sum, codes, _mm512_set1_epi32(four));
            }
        }
        let [a, b, c, d] = sums;
        let sum = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d)), excess);
        // SAFETY: both are 16 numbers long, and neither load nor store needs alignment.
        unsafe {
            let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(scales.as_ptr()));
            _mm512_storeu_ps(scores.as_mut_ptr(), scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_level_gives_the_same_bits(
            blocks in 0usize..4,
            query in proptest::collection::vec(prop_oneof![Just(-127_i8), Just(127), -127_i8..=127], 4..300),
            seed: u64,
        ) {
            let query: Vec<i32> = query
                .chunks_exact(4)
                .map(|four| i32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8]))
                .collect();
            let mut state = seed | 1;
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            // Extremes must turn up: 1 is -127, 255 is 127.
            let mut code = || match random() % 5 {
                0 => 1,
                1 => 255,
                _ => (random() >> 32) as u8 | 1,
            };
            let lines: Vec<Line> = (0..blocks * query.len()).map(|_| Line(std::array::from_fn(|_| code()))).collect();
            let scales: Vec<f32> = (0..blocks * BLOCK_ROWS).map(|row| 0.001 + row as f32 * 1e-5).collect();
            let run = |level| {
                let mut scores = vec![f32::NAN; scales.len()];
                score(level, &lines, &query, &scales, &mut scores);
                scores.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let wanted = run(Level(Tier::Portable));
            for level in Level::available() {
                prop_assert_eq!(&run(level), &wanted, "{:?}", level);
            }
        }
    }

    #[test]
    fn the_largest_sum_is_exact() {
        // 1024 numbers of 127 against as many of 127 and -127: 16,516,096 < 2^24.
        for (number, wanted) in [(127_i8, 16_516_096.0), (-127, -16_516_096.0)] {
            let query = vec![i32::from_le_bytes([number as u8; 4]); 256];
            let lines = vec![Line([255; 64]); 256];
            for level in Level::available() {
                let mut scores = [0.0; 16];
                score(level, &lines, &query, &[1.0; 16], &mut scores);
                assert_eq!(scores, [wanted; 16], "{level:?}");
            }
        }
    }
}
