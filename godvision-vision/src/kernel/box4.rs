//! The 4x4 box, by hand: adding neighbours within a row is what compilers do not vectorise well.

#![allow(unsafe_code)]

use super::{Level, Tier, rows_read, spec};

/// 4x4 box, of which the two middle rows are read: `out` holds whole rows of `out_width` pixels; `src` must reach the last
/// row's end. See [`spec::box4`].
pub(crate) fn box4(level: Level, src: &[u8], stride: usize, out: &mut [u8], out_width: usize) {
    match level.0 {
        Tier::Portable => spec::box4(src, stride, out, out_width),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the only way to a `Tier::Avx2` is `Level::detect`, which found AVX2.
        Tier::Avx2 => unsafe { box4_avx2(src, stride, out, out_width) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the only way to a `Tier::Avx512` is `Level::detect`, which found all the features.
        Tier::Avx512 => unsafe { box4_avx512(src, stride, out, out_width) },
    }
}

/// The source rows of output row `y`, `4 * out_width` bytes each.
pub(super) fn two_rows(src: &[u8], stride: usize, y: usize, out_width: usize) -> [&[u8]; 2] {
    let first = y * 4 + rows_read(4).start;
    [first, first + 1].map(|row| &src[row * stride..][..out_width * 4])
}

/// How many boxes ahead rows are asked for, into the second-level cache: the processor's own prefetcher follows one row at a
/// time, stops at the end of a page and does not know which rows are left out. On a Zen 4 a 1080p plane takes 95 us without,
/// 80 us one box ahead, 65 us two ahead and no less from there; summing every byte of it takes 86 us, a box of all four rows
/// 105 us.
#[cfg(target_arch = "x86_64")]
const BOXES_AHEAD: usize = 2;

/// 16 boxes a step: pairs are added by `maddubs`, rows by plain adds, pairs of pairs by `madd`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn box4_avx2(src: &[u8], stride: usize, out: &mut [u8], out_width: usize) {
    let ahead = BOXES_AHEAD * 4 * stride;
    for (y, out) in out.chunks_exact_mut(out_width).enumerate() {
        let rows = two_rows(src, stride, y, out_width);
        let mut done = 0;
        while let Some(out) = out[done..].first_chunk_mut::<{ 5 * 16 }>() {
            steps_avx2::<5>(rows.map(|row| &row[done * 4..]), out, ahead);
            done += out.len();
        }
        while let Some(out) = out[done..].first_chunk_mut::<16>() {
            steps_avx2::<1>(rows.map(|row| &row[done * 4..]), out, ahead);
            done += out.len();
        }
        spec::box4_row(rows.map(|row| &row[done * 4..]), &mut out[done..]);
    }
}

/// `STEPS` steps, whose sums stay in registers while first the one row and then the other goes by.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn steps_avx2<const STEPS: usize>(rows: [&[u8]; 2], out: &mut [u8], ahead: usize) {
    use std::arch::x86_64::*;
    let (ones8, ones16, half) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1), _mm256_set1_epi32(4));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let mut sums = [[_mm256_setzero_si256(); 2]; STEPS];
    for row in rows {
        for (sum, bytes) in sums.iter_mut().zip(row[..STEPS * 64].as_chunks::<64>().0) {
            super::prefetch(bytes, ahead);
            for (sum, bytes) in sum.iter_mut().zip(bytes.as_chunks::<32>().0) {
                // SAFETY: `bytes` is 32 bytes long, and the load needs no alignment.
                let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(bytes, ones8));
            }
        }
    }
    for (sum, to) in sums.iter().zip(out.as_chunks_mut::<16>().0) {
        let [low, high] =
            sum.map(|pairs| _mm256_srli_epi32::<3>(_mm256_add_epi32(_mm256_madd_epi16(pairs, ones16), half)));
        let words = _mm256_packus_epi32(low, high);
        let bytes = _mm256_packus_epi16(words, words);
        // Both packs work within halves: bytes are [a0..4 b0..4 a0..4 b0..4 | a4..8 b4..8 ...].
        let bytes = _mm256_permutevar8x32_epi32(bytes, order);
        // SAFETY: `to` is 16 bytes long, and the store needs no alignment.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes)) };
    }
}

/// 16 boxes a step: `vpdpbusd` adds four neighbours of a row to a 32-bit lane at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
fn box4_avx512(src: &[u8], stride: usize, out: &mut [u8], out_width: usize) {
    let ahead = BOXES_AHEAD * 4 * stride;
    for (y, out) in out.chunks_exact_mut(out_width).enumerate() {
        let rows = two_rows(src, stride, y, out_width);
        let mut done = 0;
        // A row of 1080p at once, else as much of a row as goes.
        while let Some(out) = out[done..].first_chunk_mut::<{ 30 * 16 }>() {
            steps_avx512::<30>(rows.map(|row| &row[done * 4..]), out, ahead);
            done += out.len();
        }
        while let Some(out) = out[done..].first_chunk_mut::<{ 8 * 16 }>() {
            steps_avx512::<8>(rows.map(|row| &row[done * 4..]), out, ahead);
            done += out.len();
        }
        while let Some(out) = out[done..].first_chunk_mut::<16>() {
            steps_avx512::<1>(rows.map(|row| &row[done * 4..]), out, ahead);
            done += out.len();
        }
        spec::box4_row(rows.map(|row| &row[done * 4..]), &mut out[done..]);
    }
}

/// `STEPS` steps, whose sums stay in registers while first the one row and then the other goes by.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
fn steps_avx512<const STEPS: usize>(rows: [&[u8]; 2], out: &mut [u8], ahead: usize) {
    use std::arch::x86_64::*;
    let (ones, half) = (_mm512_set1_epi8(1), _mm512_set1_epi32(4));
    let mut sums = [half; STEPS];
    for row in rows {
        for (sum, bytes) in sums.iter_mut().zip(row[..STEPS * 64].as_chunks::<64>().0) {
            super::prefetch(bytes, ahead);
            // SAFETY: `bytes` is 64 bytes long, and the load needs no alignment.
            *sum = _mm512_dpbusd_epi32(*sum, unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }, ones);
        }
    }
    for (sum, to) in sums.iter().zip(out.as_chunks_mut::<16>().0) {
        let bytes = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<3>(*sum));
        // SAFETY: `to` is 16 bytes long, and the store needs no alignment.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), bytes) };
    }
}
