//! The 4x4 box, by hand: adding neighbours within a row is what compilers do not vectorise well.

#![allow(unsafe_code)]

use super::{Level, Tier, spec};

/// 4x4 box: `out` holds whole rows of `out_width` pixels; `src` must reach the last row's end. See [`spec::box4`].
pub(crate) fn box4(level: Level, src: &[u8], stride: usize, out: &mut [u8], out_width: usize) {
    match level.0 {
        Tier::Portable => spec::box4(src, stride, out, out_width),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the only way to a `Tier::Avx2` is `Level::detect`, which found AVX2.
        Tier::Avx2 => unsafe { box4_avx2(src, stride, out, out_width) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the only way to a `Tier::Avx512` is `Level::detect`, which found all four features.
        Tier::Avx512 => unsafe { box4_avx512(src, stride, out, out_width) },
    }
}

/// The four source rows of output row `y`, `4 * out_width` bytes each.
#[cfg(target_arch = "x86_64")]
fn four_rows(src: &[u8], stride: usize, y: usize, out_width: usize) -> [&[u8]; 4] {
    std::array::from_fn(|below| &src[(y * 4 + below) * stride..][..out_width * 4])
}

/// Steps whose sums are kept while the four rows of a box go by, one after the other. Reading each row to its end lets
/// the processor run ahead of it; four rows side by side were measured at twice the time for the same arithmetic.
#[cfg(target_arch = "x86_64")]
const BOX_STEPS: usize = 32;

/// 16 boxes a step: pairs are added by `maddubs`, rows by plain adds, pairs of pairs by `madd`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn box4_avx2(src: &[u8], stride: usize, out: &mut [u8], out_width: usize) {
    use std::arch::x86_64::*;
    let (ones8, ones16, half) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1), _mm256_set1_epi32(8));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let mut sums = [[_mm256_setzero_si256(); 2]; BOX_STEPS];
    for (y, out) in out.chunks_exact_mut(out_width).enumerate() {
        let rows = four_rows(src, stride, y, out_width);
        let steps = out_width / 16;
        for first in (0..steps).step_by(BOX_STEPS) {
            let sums = &mut sums[..(steps - first).min(BOX_STEPS)];
            sums.fill([_mm256_setzero_si256(); 2]);
            for row in rows {
                let row = &row[first * 64..(first + sums.len()) * 64];
                for (sum, bytes) in sums.as_flattened_mut().iter_mut().zip(row.chunks_exact(32)) {
                    // SAFETY: `bytes` is 32 bytes long, and the load needs no alignment.
                    let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
                    *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(bytes, ones8));
                }
            }
            for (sum, to) in sums.iter().zip(out[first * 16..].chunks_exact_mut(16)) {
                let [low, high] =
                    sum.map(|pairs| _mm256_srli_epi32::<4>(_mm256_add_epi32(_mm256_madd_epi16(pairs, ones16), half)));
                let words = _mm256_packus_epi32(low, high);
                let bytes = _mm256_packus_epi16(words, words);
                // Both packs work within halves: bytes are [a0..4 b0..4 a0..4 b0..4 | a4..8 b4..8 ...].
                let bytes = _mm256_permutevar8x32_epi32(bytes, order);
                // SAFETY: `to` is 16 bytes long, and the store needs no alignment.
                unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes)) };
            }
        }
        spec::box4_row(rows.map(|row| &row[steps * 64..]), &mut out[steps * 16..]);
    }
}

/// 16 boxes a step: `vpdpbusd` adds four neighbours of a row to a 32-bit lane at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
fn box4_avx512(src: &[u8], stride: usize, out: &mut [u8], out_width: usize) {
    use std::arch::x86_64::*;
    let (ones, half) = (_mm512_set1_epi8(1), _mm512_set1_epi32(8));
    let mut sums = [half; BOX_STEPS];
    for (y, out) in out.chunks_exact_mut(out_width).enumerate() {
        let rows = four_rows(src, stride, y, out_width);
        let steps = out_width / 16;
        for first in (0..steps).step_by(BOX_STEPS) {
            let sums = &mut sums[..(steps - first).min(BOX_STEPS)];
            sums.fill(half);
            for row in rows {
                let row = &row[first * 64..(first + sums.len()) * 64];
                for (sum, bytes) in sums.iter_mut().zip(row.chunks_exact(64)) {
                    // SAFETY: `bytes` is 64 bytes long, and the load needs no alignment.
                    *sum = _mm512_dpbusd_epi32(*sum, unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }, ones);
                }
            }
            let out = &mut out[first * 16..];
            for (sum, to) in sums.iter().zip(out.chunks_exact_mut(16)) {
                let bytes = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<4>(*sum));
                // SAFETY: `to` is 16 bytes long, and the store needs no alignment.
                unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), bytes) };
            }
        }
        spec::box4_row(rows.map(|row| &row[steps * 64..]), &mut out[steps * 16..]);
    }
}
