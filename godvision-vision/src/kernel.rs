//! The loops that touch every pixel, and the only `unsafe` of this crate.
//!
//! Each loop is written once, as plain Rust over slices in [`spec`]: that is the specification, and what runs on
//! processors without AVX2. It is written so that the compiler vectorises it (arithmetic on `u8` without branches:
//! `(a > b) as u8` is spelled `a.saturating_sub(b).min(1)`, because the comparison form was measured 25 times slower),
//! and compiled again with AVX2 and with AVX-512 enabled; [`Level`] says which copy may run here. Only the 4x4 box has
//! hand-written forms, because adding neighbours within a row is what compilers do not vectorise well. All copies give
//! the same bits; a property test holds them to it.
//!
//! Masks have one bit a pixel, the first one lowest. Their rows, like those of the planes beside them, are padded to whole
//! words of 64 pixels and end in at least [`PADDING_MIN`] pixels that are not of the picture, so that loops run over the
//! plane as if it were one row. Padding is 0 in every plane and stays so.
//!
//! **Never:** allocation, state, anything that decides what motion is.

#![allow(unsafe_code)]

mod box4;
mod packing;
mod spec;
#[cfg(test)]
mod tests;

pub(crate) use box4::box4;

/// Fewest pixels of padding at the end of a row: as far as the widest window reaches.
pub(crate) const PADDING_MIN: usize = 3;

/// The rows of a box of `factor` rows that are read: all of up to three, of larger ones the middle half. The picture is read
/// from memory, and memory is what reducing it costs; sixteen pixels tell little more than the eight in their middle, since
/// noise that matters after the blur is gone with either.
pub(crate) fn rows_read(factor: usize) -> std::ops::Range<usize> {
    let rows = if factor < 4 { factor } else { factor.div_ceil(2) };
    let first = (factor - rows) / 2;
    first..first + rows
}

/// Asks for what lies `ahead` bytes behind the start of `bytes`, into the second-level cache.
#[inline(always)]
fn prefetch(bytes: &[u8], ahead: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: any address may be asked for; nothing faults, nothing that is read changes.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().wrapping_add(ahead).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, ahead);
}

/// Which copy of the loops this processor may run. A value is proof that the features were detected.
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
    /// What every processor runs: the specification.
    #[cfg(test)]
    pub(crate) const PORTABLE: Self = Self(Tier::Portable);

    /// The best this processor can do. `std` caches the detection.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
            if wide && avx2 {
                return Self(Tier::Avx512);
            }
            if avx2 {
                return Self(Tier::Avx2);
            }
        }
        Self(Tier::Portable)
    }

    /// Every copy that may run here, the specification first.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut levels = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            if Self::detect() == Self(Tier::Avx512) {
                levels.push(Self(Tier::Avx2));
            }
        }
        if Self::detect() != Self::PORTABLE {
            levels.push(Self::detect());
        }
        levels
    }

    /// `portable`, `avx2` or `avx512`.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Tier::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => "avx512",
        }
    }
}

/// What [`classify`] counted, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Differ from the background.
    pub(crate) raw: usize,
    /// Of those, like the frame before.
    pub(crate) steady: usize,
    /// Brighter than the frame before.
    pub(crate) brighter: usize,
    /// Darker than the frame before.
    pub(crate) darker: usize,
}

/// Pixels of the side of a block of [`tally`].
pub(crate) const TALLY_SIDE: usize = 16;

/// What [`tally`] summed over a block: `a` are the pixels of the picture, `b` those of a reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Sums.
    pub(crate) a: i32,
    pub(crate) b: i32,
    /// Sums of products.
    pub(crate) aa: i32,
    pub(crate) bb: i32,
    pub(crate) ab: i32,
    /// Sums of the squared steps from each pixel to its right neighbour.
    pub(crate) fine_a: i32,
    pub(crate) fine_b: i32,
    /// Sum of the differences to a third picture.
    pub(crate) moved: i32,
}

/// Constants of [`update`] for one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpdateStep {
    /// Whether this frame adapts the thresholds.
    pub(crate) adapt: bool,
    /// Whether long stillness counts on this frame.
    pub(crate) slow_tick: bool,
    /// Lowest threshold.
    pub(crate) floor: u8,
    /// Highest threshold.
    pub(crate) ceiling: u8,
    /// A pixel is still while it stays within this of its remembered value.
    pub(crate) still_within: u8,
    /// Frames of stillness from which a changed pixel is called still, at least 1.
    pub(crate) still_from: u8,
    /// Stillness counts every frame up to here, then on slow ticks.
    pub(crate) still_fast: u8,
    /// Stillness from which a changed pixel becomes background.
    pub(crate) still_absorb: u8,
}

/// Compiles every loop of [`spec`] for each [`Level`] and chooses at run time.
macro_rules! kernels {
    ($($(#[$meta:meta])* fn $name:ident $(<$packing:ident>)? ($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)?;)*) => {
        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            #[allow(unused_imports)]
            use super::{Counts, Tally, UpdateStep, packing::Avx2 as Packing, spec};
            $(
                #[target_feature(enable = "avx2,popcnt")]
                #[allow(clippy::too_many_arguments)]
                pub(super) fn $name($($arg: $type),*) $(-> $out)? {
                    spec::$name $(::<$packing>)? ($($arg),*)
                }
            )*
        }
        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            #[allow(unused_imports)]
            use super::{Counts, Tally, UpdateStep, packing::Avx512 as Packing, spec};
            $(
                #[target_feature(enable = "avx2,popcnt,avx512f,avx512bw,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                pub(super) fn $name($($arg: $type),*) $(-> $out)? {
                    spec::$name $(::<$packing>)? ($($arg),*)
                }
            )*
        }
        $(
            $(#[$meta])*
            #[allow(clippy::too_many_arguments)]
            pub(crate) fn $name(level: Level, $($arg: $type),*) $(-> $out)? {
                match level.0 {
                    Tier::Portable => spec::$name $(::<$packing>)? ($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the only way to a `Tier::Avx2` is `Level::detect`, which found AVX2.
                    Tier::Avx2 => unsafe { avx2::$name($($arg),*) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the only way to a `Tier::Avx512` is `Level::detect`, which found all the features.
                    Tier::Avx512 => unsafe { avx512::$name($($arg),*) },
                }
            }
        )*
    };
}

use packing::Portable as Packing;

kernels! {
    /// See [`spec::box_any`].
    fn box_any(src: &[u8], stride: usize, factor: usize, out: &mut [u8], out_width: usize, sums: &mut [u16]);
    /// See [`spec::blur3`].
    fn blur3(src: &[u8], width: usize, out: &mut [u8], stride: usize, line: &mut [u8]);
    /// See [`spec::classify`].
    fn classify<Packing>(
        now: &[u8], before: &[u8], back: &[u8], threshold: &[u8], raw: &mut [u64], steady_within: u8,
    ) -> Counts;
    /// See [`spec::classify_shifted`].
    fn classify_shifted<Packing>(
        now: &[u8], back: &[u8], threshold: &[u8], width: usize, stride: usize, every: usize, raw: &mut [u64],
        lows: &mut [u8], highs: &mut [u8], line: &mut [u8],
    );
    /// See [`spec::median5`].
    fn median5(src: &[u64], words: usize, out: &mut [u64]);
    /// See [`spec::close5`].
    fn close5(flags: &mut [u64], words: usize, width: usize, scratch: &mut [u64]);
    /// See [`spec::open3`].
    fn open3(flags: &mut [u64], words: usize, width: usize, scratch: &mut [u64]);
    /// See [`spec::dilate7`].
    fn dilate7(flags: &mut [u64], words: usize, width: usize, scratch: &mut [u64]);
    /// See [`spec::update`].
    fn update<Packing>(
        now: &[u8], mask: &[u64], raw: &[u64], raw_before: &[u64], back: &mut [u8], threshold: &mut [u8],
        kept: &mut [u8], stillness: &mut [u8], still: &mut [u64], step: UpdateStep,
    ) -> usize;
    /// See [`spec::recall`].
    fn recall<Packing>(
        now: &[u8], owner: &mut [u8], was: &mut [u8], is: &mut [u8], mark: u8, alike: u8, releases: bool,
    ) -> [u32; 2];
    /// See [`spec::count_beside`].
    fn count_beside(flags: &[u64], except: &[u64], words: usize, every: usize) -> usize;
    /// See [`spec::tally`].
    fn tally(now: &[u8], reference: &[u8], previous: &[u8], stride: usize, corner: usize) -> Tally;
    /// See [`spec::adopt`].
    fn adopt<Packing>(
        flags: &[u64], kept: &[u8], stillness: &[u8], from: u8, back: &mut [u8], threshold: &mut [u8], floor: u8,
    );
}
