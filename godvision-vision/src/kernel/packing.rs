//! Flags between bytes and the bits of a word.

#![allow(unsafe_code)]

/// How 64 flags are packed to a word, the first one lowest, and unpacked again. The loops are written over this, because
/// compilers do not find the instructions for it by themselves.
pub(super) trait Packing {
    /// Sets the bits of the bytes that are not 0.
    fn pack(bytes: &[u8; 64]) -> u64;
    /// 1 where the bit is set, else 0.
    fn unpack(word: u64) -> [u8; 64];
}

/// For every processor. Eight bytes of 0 or 1 become eight bits by one multiplication, byte `i` meeting the factor's bit
/// `56 - 7 i` and so landing on bit `56 + i`.
pub(super) struct Portable;

impl Packing for Portable {
    #[inline(always)]
    fn pack(bytes: &[u8; 64]) -> u64 {
        const GATHER: u64 = 0x0102_0408_1020_4080;
        let mut flags = [0; 64];
        for (flag, byte) in flags.iter_mut().zip(bytes) {
            *flag = (*byte).min(1);
        }
        let (eights, _) = flags.as_chunks::<8>();
        let bits = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56;
        eights.iter().enumerate().fold(0, |word, (i, eight)| word | bits(eight) << (8 * i))
    }

    #[inline(always)]
    fn unpack(word: u64) -> [u8; 64] {
        let mut flags = [0; 64];
        for (i, flag) in flags.iter_mut().enumerate() {
            *flag = (word.to_le_bytes()[i / 8] >> (i % 8)) & 1;
        }
        flags
    }
}

/// For loops compiled with AVX2: 32 flags an instruction. Named nowhere else.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Packing for Avx2 {
    #[inline(always)]
    fn pack(bytes: &[u8; 64]) -> u64 {
        use std::arch::x86_64::*;
        let half = |from: &[u8]| {
            // SAFETY: only functions with AVX2 use this, and `from` is 32 bytes long.
            unsafe {
                let unset = _mm256_cmpeq_epi8(_mm256_loadu_si256(from.as_ptr().cast()), _mm256_setzero_si256());
                u64::from(!_mm256_movemask_epi8(unset) as u32)
            }
        };
        half(&bytes[..32]) | half(&bytes[32..]) << 32
    }

    #[inline(always)]
    fn unpack(word: u64) -> [u8; 64] {
        use std::arch::x86_64::*;
        let mut flags = [0; 64];
        for (half, to) in flags.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            // SAFETY: only functions with AVX2 use this, and `to` is 32 bytes long.
            unsafe {
                let bits = _mm256_set1_epi32((word >> (32 * half)) as i32);
                // Byte `i` gets the bits' byte `i / 8`, and keeps its bit `i % 8`.
                let which = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
                let own = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
                let set = _mm256_and_si256(_mm256_shuffle_epi8(bits, which), own);
                _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm256_min_epu8(set, _mm256_set1_epi8(1)));
            }
        }
        flags
    }
}

/// For loops compiled with AVX-512: mask registers are words. Named nowhere else.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Packing for Avx512 {
    #[inline(always)]
    fn pack(bytes: &[u8; 64]) -> u64 {
        use std::arch::x86_64::*;
        // SAFETY: only functions with AVX-512 F and BW use this; the load is of 64 bytes.
        unsafe {
            let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
            _mm512_test_epi8_mask(bytes, bytes)
        }
    }

    #[inline(always)]
    fn unpack(word: u64) -> [u8; 64] {
        use std::arch::x86_64::*;
        let mut flags = [0; 64];
        // SAFETY: only functions with AVX-512 F and BW use this; the store is of 64 bytes.
        unsafe { _mm512_storeu_si512(flags.as_mut_ptr().cast(), _mm512_maskz_set1_epi8(word, 1)) };
        flags
    }
}
