//! The loops that touch every pixel, and the only `unsafe` of this crate.
//!
//! Each loop is written once, as plain Rust over slices in [`spec`]: that is the specification, and what runs on
//! processors without AVX2. It is written so that the compiler vectorises it (arithmetic on `u8` without branches:
//! `(a > b) as u8` is spelled `a.saturating_sub(b).min(1)`, because the comparison form was measured 25 times slower),
//! and compiled again with AVX2 and with AVX-512 enabled; [`Level`] says which copy may run here. Only the 4x4 box has
//! hand-written forms, because adding neighbours within a row is what compilers do not vectorise well. All copies give
//! the same bits; a property test holds them to it.
//!
//! Masks are one byte a pixel, 0 or 1.
//!
//! **Never:** allocation, state, anything that decides what motion is.

#![allow(unsafe_code)]

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
            if wide && is_x86_feature_detected!("avx2") {
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

/// The loops as plain Rust.
mod spec {
    use super::{Counts, UpdateStep};

    /// 1 if `a > b`, else 0, in a form that vectorises.
    #[inline(always)]
    fn above(a: u8, b: u8) -> u8 {
        a.saturating_sub(b).min(1)
    }

    /// All ones if `flag` is 1, else 0.
    #[inline(always)]
    fn select(flag: u8) -> u8 {
        0u8.wrapping_sub(flag)
    }

    /// Sum of flags. Lanes of `u8` are emptied before they can overflow.
    #[inline(always)]
    fn total(flags: &[u8]) -> usize {
        let mut sum = 0usize;
        for block in flags.chunks(64 * 255) {
            let mut lanes = [0u8; 64];
            let chunks = block.chunks_exact(64);
            sum += chunks.remainder().iter().map(|&flag| usize::from(flag)).sum::<usize>();
            for chunk in chunks {
                for (lane, flag) in lanes.iter_mut().zip(chunk) {
                    *lane += flag;
                }
            }
            sum += lanes.iter().map(|&lane| usize::from(lane)).sum::<usize>();
        }
        sum
    }

    /// `out[x, y]` = rounded mean of the 4x4 box at `(4x, 4y)`.
    #[inline(always)]
    pub(super) fn box4(src: &[u8], stride: usize, out: &mut [u8], out_width: usize) {
        for (y, row) in out.chunks_exact_mut(out_width).enumerate() {
            let top = y * 4 * stride;
            let wide = out_width * 4;
            let a = &src[top..top + wide];
            let b = &src[top + stride..top + stride + wide];
            let c = &src[top + 2 * stride..top + 2 * stride + wide];
            let d = &src[top + 3 * stride..top + 3 * stride + wide];
            box4_row([a, b, c, d], row);
        }
    }

    /// One row of [`box4`]; the four slices are four times as long as `out`.
    #[inline(always)]
    pub(super) fn box4_row([a, b, c, d]: [&[u8]; 4], out: &mut [u8]) {
        let quads = a.chunks_exact(4).zip(b.chunks_exact(4)).zip(c.chunks_exact(4).zip(d.chunks_exact(4)));
        for (out, ((a, b), (c, d))) in out.iter_mut().zip(quads) {
            let sum: u16 = a.iter().chain(b).chain(c).chain(d).map(|&v| u16::from(v)).sum();
            *out = ((sum + 8) >> 4) as u8;
        }
    }

    /// `out[x, y]` = mean of the `factor` x `factor` box at `(factor x, factor y)`, rounded by a reciprocal in 22 bits
    /// (exact for powers of two, at most 1 too high elsewhere). `sums` holds one row of column sums.
    #[inline(always)]
    pub(super) fn box_any(
        src: &[u8],
        stride: usize,
        factor: usize,
        out: &mut [u8],
        out_width: usize,
        sums: &mut [u16],
    ) {
        let wide = out_width * factor;
        let sums = &mut sums[..wide];
        for (y, row) in out.chunks_exact_mut(out_width).enumerate() {
            let top = y * factor * stride;
            for (sum, &v) in sums.iter_mut().zip(&src[top..top + wide]) {
                *sum = u16::from(v);
            }
            for below in 1..factor {
                let top = top + below * stride;
                for (sum, &v) in sums.iter_mut().zip(&src[top..top + wide]) {
                    *sum += u16::from(v);
                }
            }
            match factor {
                2 => gather::<2>(sums, row),
                3 => gather::<3>(sums, row),
                5 => gather::<5>(sums, row),
                6 => gather::<6>(sums, row),
                8 => gather::<8>(sums, row),
                _ => gather_any(sums, row, factor),
            }
        }
    }

    #[inline(always)]
    fn gather<const FACTOR: usize>(sums: &[u16], out: &mut [u8]) {
        let area = (FACTOR * FACTOR) as u32;
        for (out, sums) in out.iter_mut().zip(sums.chunks_exact(FACTOR)) {
            let sum: u32 = sums.iter().map(|&v| u32::from(v)).sum();
            *out = mean(sum, area);
        }
    }

    #[inline(always)]
    fn gather_any(sums: &[u16], out: &mut [u8], factor: usize) {
        let area = (factor * factor) as u32;
        for (out, sums) in out.iter_mut().zip(sums.chunks_exact(factor)) {
            *out = mean(sums.iter().map(|&v| u32::from(v)).sum(), area);
        }
    }

    /// `sum / area` rounded. `sum <= 255 * area` and `area <= 256`, so the product stays below 2^30 + 2^29.
    #[inline(always)]
    fn mean(sum: u32, area: u32) -> u8 {
        let reciprocal = (1u32 << 22).div_ceil(area);
        (((sum + area / 2) * reciprocal) >> 22).min(255) as u8
    }

    /// 3x3 binomial blur (1 2 1 each way, rounded), edges repeated. `line` holds `width + 2` values.
    #[inline(always)]
    pub(super) fn blur3(src: &[u8], width: usize, out: &mut [u8], line: &mut [u16]) {
        let height = src.len() / width;
        let line = &mut line[..width + 2];
        for y in 0..height {
            let above = &src[y.saturating_sub(1) * width..][..width];
            let here = &src[y * width..][..width];
            let below = &src[(y + 1).min(height - 1) * width..][..width];
            for (sum, ((&a, &b), &c)) in line[1..=width].iter_mut().zip(above.iter().zip(here).zip(below)) {
                *sum = u16::from(a) + 2 * u16::from(b) + u16::from(c);
            }
            line[0] = line[1];
            line[width + 1] = line[width];
            let (left, middle, right) = (&line[..width], &line[1..=width], &line[2..]);
            let out = &mut out[y * width..][..width];
            for (out, ((&l, &m), &r)) in out.iter_mut().zip(left.iter().zip(middle).zip(right)) {
                *out = ((l + 2 * m + r + 8) >> 4) as u8;
            }
        }
    }

    /// `raw` = 1 where `now` differs from `back` by more than `threshold`; counts that, and how `now` differs from
    /// `before` by more than `steady_within`.
    #[inline(always)]
    pub(super) fn classify(
        now: &[u8],
        before: &[u8],
        back: &[u8],
        threshold: &[u8],
        raw: &mut [u8],
        steady_within: u8,
    ) -> Counts {
        const BLOCK: usize = 1024;
        let n = now.len();
        let (before, back, threshold, raw) = (&before[..n], &back[..n], &threshold[..n], &mut raw[..n]);
        let mut counts = Counts::default();
        let (mut steady, mut brighter, mut darker) = ([0u8; BLOCK], [0u8; BLOCK], [0u8; BLOCK]);
        let mut start = 0;
        while start < n {
            let end = (start + BLOCK).min(n);
            let len = end - start;
            let (now, before) = (&now[start..end], &before[start..end]);
            let (back, threshold, raw) = (&back[start..end], &threshold[start..end], &mut raw[start..end]);
            let (steady, brighter, darker) = (&mut steady[..len], &mut brighter[..len], &mut darker[..len]);
            for i in 0..len {
                let changed = above(now[i].abs_diff(back[i]), threshold[i]);
                let up = above(now[i].saturating_sub(before[i]), steady_within);
                let down = above(before[i].saturating_sub(now[i]), steady_within);
                raw[i] = changed;
                brighter[i] = up;
                darker[i] = down;
                steady[i] = changed & !(up | down);
            }
            counts.raw += total(raw);
            counts.steady += total(steady);
            counts.brighter += total(brighter);
            counts.darker += total(darker);
            start = end;
        }
        counts
    }

    /// Like [`classify`], but a pixel is compared with everything the background shows within two pixels of it: what a
    /// shift of the whole picture by up to two pixels explains is not a change. Looks at every `every`-th row only, and
    /// returns the number of changed pixels there. `lows` and `highs` hold `width + 4` values.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "as `update`")]
    pub(super) fn classify_shifted(
        now: &[u8],
        back: &[u8],
        threshold: &[u8],
        width: usize,
        every: usize,
        raw: &mut [u8],
        lows: &mut [u8],
        highs: &mut [u8],
    ) -> usize {
        let height = now.len() / width;
        let (lows, highs) = (&mut lows[..width + 4], &mut highs[..width + 4]);
        let mut changed = 0;
        for y in (0..height).step_by(every) {
            let row = |dy: isize| {
                let y = y.saturating_add_signed(dy).min(height - 1);
                &back[y * width..][..width]
            };
            let (a, b, c, d, e) = (row(-2), row(-1), row(0), row(1), row(2));
            let (low, high) = (&mut lows[2..width + 2], &mut highs[2..width + 2]);
            for i in 0..width {
                low[i] = a[i].min(b[i]).min(c[i]).min(d[i].min(e[i]));
                high[i] = a[i].max(b[i]).max(c[i]).max(d[i].max(e[i]));
            }
            for edge in [&mut *lows, &mut *highs] {
                (edge[0], edge[1]) = (edge[2], edge[2]);
                (edge[width + 2], edge[width + 3]) = (edge[width + 1], edge[width + 1]);
            }
            let now = &now[y * width..][..width];
            let threshold = &threshold[y * width..][..width];
            let raw = &mut raw[y * width..][..width];
            let (l0, l1, l2, l3, l4) =
                (&lows[..width], &lows[1..=width], &lows[2..width + 2], &lows[3..width + 3], &lows[4..width + 4]);
            let (h0, h1, h2, h3, h4) =
                (&highs[..width], &highs[1..=width], &highs[2..width + 2], &highs[3..width + 3], &highs[4..width + 4]);
            for i in 0..width {
                let low = l0[i].min(l1[i]).min(l2[i]).min(l3[i].min(l4[i]));
                let high = h0[i].max(h1[i]).max(h2[i]).max(h3[i].max(h4[i]));
                let outside = now[i].saturating_sub(high).max(low.saturating_sub(now[i]));
                raw[i] = above(outside, threshold[i]);
            }
            changed += total(raw);
        }
        changed
    }

    /// Number of set flags in every `every`-th row.
    #[inline(always)]
    pub(super) fn count_rows(flags: &[u8], width: usize, every: usize) -> usize {
        flags.chunks_exact(width).step_by(every).map(total).sum()
    }

    /// 1 where at least `need` of the flags in the window of `2 RADIUS + 1` squared are set; outside counts as 0. With
    /// `INVERT` source and result are both complemented. `columns` holds `width + 2 RADIUS` values.
    #[inline(always)]
    fn vote<const RADIUS: usize, const INVERT: u8>(
        src: &[u8],
        width: usize,
        out: &mut [u8],
        need: u8,
        columns: &mut [u8],
    ) {
        let height = src.len() / width;
        let columns = &mut columns[..width + 2 * RADIUS];
        columns.fill(0);
        for y in 0..RADIUS.min(height) {
            for (sum, &flag) in columns[RADIUS..].iter_mut().zip(&src[y * width..][..width]) {
                *sum += flag ^ INVERT;
            }
        }
        for y in 0..height {
            let enters = (y + RADIUS < height).then(|| &src[(y + RADIUS) * width..][..width]);
            let leaves = (y > RADIUS).then(|| &src[(y - RADIUS - 1) * width..][..width]);
            let sums = &mut columns[RADIUS..][..width];
            match (enters, leaves) {
                (Some(enters), Some(leaves)) => {
                    for i in 0..width {
                        sums[i] = sums[i] + (enters[i] ^ INVERT) - (leaves[i] ^ INVERT);
                    }
                }
                (Some(enters), None) => {
                    for i in 0..width {
                        sums[i] += enters[i] ^ INVERT;
                    }
                }
                (None, Some(leaves)) => {
                    for i in 0..width {
                        sums[i] -= leaves[i] ^ INVERT;
                    }
                }
                (None, None) => {}
            }
            let out = &mut out[y * width..][..width];
            if RADIUS == 1 {
                let (a, b, c) = (&columns[..width], &columns[1..=width], &columns[2..width + 2]);
                for i in 0..width {
                    out[i] = above(a[i] + b[i] + c[i], need - 1) ^ INVERT;
                }
            } else {
                let (a, b, c) = (&columns[..width], &columns[1..=width], &columns[2..width + 2]);
                let (d, e) = (&columns[3..width + 3], &columns[4..width + 4]);
                for i in 0..width {
                    out[i] = above(a[i] + b[i] + c[i] + d[i] + e[i], need - 1) ^ INVERT;
                }
            }
        }
    }

    /// 5x5 vote: 1 where at least `need` of 25 flags are set.
    #[inline(always)]
    pub(super) fn vote5(src: &[u8], width: usize, out: &mut [u8], need: u8, columns: &mut [u8]) {
        vote::<2, 0>(src, width, out, need, columns);
    }

    /// 5x5 erosion; outside counts as set.
    #[inline(always)]
    pub(super) fn erode5(src: &[u8], width: usize, out: &mut [u8], columns: &mut [u8]) {
        vote::<2, 1>(src, width, out, 1, columns);
    }

    /// 3x3 dilation.
    #[inline(always)]
    pub(super) fn dilate3(src: &[u8], width: usize, out: &mut [u8], columns: &mut [u8]) {
        vote::<1, 0>(src, width, out, 1, columns);
    }

    /// 3x3 erosion; outside counts as set.
    #[inline(always)]
    pub(super) fn erode3(src: &[u8], width: usize, out: &mut [u8], columns: &mut [u8]) {
        vote::<1, 1>(src, width, out, 1, columns);
    }

    /// Adapts the model to `now` and finds what is still. Returns the number of still pixels of the mask.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "each plane is its own argument, so the compiler knows none overlap")]
    pub(super) fn update(
        now: &[u8],
        mask: &[u8],
        raw: &[u8],
        raw_before: &[u8],
        back: &mut [u8],
        threshold: &mut [u8],
        kept: &mut [u8],
        stillness: &mut [u8],
        still: &mut [u8],
        step: UpdateStep,
    ) -> usize {
        if step.adapt {
            update_when::<true>(now, mask, raw, raw_before, back, threshold, kept, stillness, still, step)
        } else {
            update_when::<false>(now, mask, raw, raw_before, back, threshold, kept, stillness, still, step)
        }
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "as `update`")]
    fn update_when<const ADAPT: bool>(
        now: &[u8],
        mask: &[u8],
        raw: &[u8],
        raw_before: &[u8],
        back: &mut [u8],
        threshold: &mut [u8],
        kept: &mut [u8],
        stillness: &mut [u8],
        still: &mut [u8],
        step: UpdateStep,
    ) -> usize {
        let n = now.len();
        let (mask, raw, raw_before) = (&mask[..n], &raw[..n], &raw_before[..n]);
        let (back, threshold) = (&mut back[..n], &mut threshold[..n]);
        let (kept, stillness, still) = (&mut kept[..n], &mut stillness[..n], &mut still[..n]);
        let slow_tick = u8::from(step.slow_tick);
        for i in 0..n {
            let (x, b) = (now[i], back[i]);
            let covered = mask[i];
            let open = 1 - covered;
            // Threshold: towards three times the difference, one step; a pixel that falls back to the background
            // flickers and is trusted less.
            let mut t = threshold[i];
            if ADAPT {
                let d = x.abs_diff(b).min(85);
                let goal = (d + d + d).max(step.floor).min(step.ceiling);
                t = t + (above(goal, t) & open) - (above(t, goal) & open);
            }
            let flickers = raw_before[i] & (1 - raw[i]);
            threshold[i] = (t + flickers).min(step.ceiling);
            // Stillness: how long the pixel has stayed near one value.
            let k = kept[i];
            let near = 1 - above(x.abs_diff(k), step.still_within);
            let counts = above(step.still_fast, stillness[i]) | slow_tick;
            let s = stillness[i].saturating_add(counts) & select(near);
            let follows = k + above(x, k) - above(k, x);
            let k = (follows & select(near)) | (x & select(1 - near));
            stillness[i] = s;
            kept[i] = k;
            still[i] = covered & above(s, step.still_from - 1);
            // Background: one step towards the picture where nothing covers it; what has been still for very long is
            // background.
            let b = b + (above(x, b) & open) - (above(b, x) & open);
            let absorb = select(covered & above(s, step.still_absorb - 1));
            back[i] = (k & absorb) | (b & !absorb);
        }
        total(still)
    }
}

/// Compiles every loop of [`spec`] for each [`Level`] and chooses at run time.
macro_rules! kernels {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)?;)*) => {
        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            use super::{Counts, UpdateStep, spec};
            $(
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                pub(super) fn $name($($arg: $type),*) $(-> $out)? {
                    spec::$name($($arg),*)
                }
            )*
        }
        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            use super::{Counts, UpdateStep, spec};
            $(
                #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                pub(super) fn $name($($arg: $type),*) $(-> $out)? {
                    spec::$name($($arg),*)
                }
            )*
        }
        $(
            $(#[$meta])*
            #[allow(clippy::too_many_arguments)]
            pub(crate) fn $name(level: Level, $($arg: $type),*) $(-> $out)? {
                match level.0 {
                    Tier::Portable => spec::$name($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the only way to a `Tier::Avx2` is `Level::detect`, which found AVX2.
                    Tier::Avx2 => unsafe { avx2::$name($($arg),*) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the only way to a `Tier::Avx512` is `Level::detect`, which found all four features.
                    Tier::Avx512 => unsafe { avx512::$name($($arg),*) },
                }
            }
        )*
    };
}

kernels! {
    /// See [`spec::box_any`].
    fn box_any(src: &[u8], stride: usize, factor: usize, out: &mut [u8], out_width: usize, sums: &mut [u16]);
    /// See [`spec::blur3`].
    fn blur3(src: &[u8], width: usize, out: &mut [u8], line: &mut [u16]);
    /// See [`spec::classify`].
    fn classify(now: &[u8], before: &[u8], back: &[u8], threshold: &[u8], raw: &mut [u8], steady_within: u8) -> Counts;
    /// See [`spec::classify_shifted`].
    fn classify_shifted(
        now: &[u8], back: &[u8], threshold: &[u8], width: usize, every: usize, raw: &mut [u8], lows: &mut [u8],
        highs: &mut [u8],
    ) -> usize;
    /// See [`spec::count_rows`].
    fn count_rows(flags: &[u8], width: usize, every: usize) -> usize;
    /// See [`spec::vote5`].
    fn vote5(src: &[u8], width: usize, out: &mut [u8], need: u8, columns: &mut [u8]);
    /// See [`spec::erode5`].
    fn erode5(src: &[u8], width: usize, out: &mut [u8], columns: &mut [u8]);
    /// See [`spec::dilate3`].
    fn dilate3(src: &[u8], width: usize, out: &mut [u8], columns: &mut [u8]);
    /// See [`spec::erode3`].
    fn erode3(src: &[u8], width: usize, out: &mut [u8], columns: &mut [u8]);
    /// See [`spec::update`].
    fn update(
        now: &[u8], mask: &[u8], raw: &[u8], raw_before: &[u8], back: &mut [u8], threshold: &mut [u8],
        kept: &mut [u8], stillness: &mut [u8], still: &mut [u8], step: UpdateStep,
    ) -> usize;
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(n: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        (0..n)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Extremes must turn up.
                match state % 11 {
                    0 => 0,
                    1 => 255,
                    _ => (state >> 32) as u8,
                }
            })
            .collect()
    }

    fn flags(n: usize, seed: u64) -> Vec<u8> {
        bytes(n, seed).into_iter().map(|v| v & 1).collect()
    }

    /// What `run` gives at the specification, after checking that every other level gives the same.
    fn same_everywhere<T: PartialEq + std::fmt::Debug>(run: impl Fn(Level) -> T) -> T {
        let wanted = run(Level::PORTABLE);
        for level in Level::available() {
            assert_eq!(run(level), wanted, "{}", level.name());
        }
        wanted
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn box4_is_the_rounded_mean_at_every_level(w in 1usize..70, h in 1usize..6, pad in 0usize..9, seed: u64) {
            let stride = w * 4 + pad;
            let src = bytes(stride * (h * 4 - 1) + w * 4, seed);
            let out = same_everywhere(|level| {
                let mut out = vec![0; w * h];
                box4(level, &src, stride, &mut out, w);
                out
            });
            for (i, &mean) in out.iter().enumerate() {
                let (x, y) = (i % w * 4, i / w * 4);
                let sum: u32 = (0..16).map(|k| u32::from(src[(y + k / 4) * stride + x + k % 4])).sum();
                prop_assert_eq!(u32::from(mean), (sum + 8) / 16);
            }
        }

        #[test]
        fn any_box_is_the_mean_within_one(factor in 1usize..17, w in 1usize..20, h in 1usize..4, seed: u64) {
            let stride = w * factor + 3;
            let src = bytes(stride * h * factor, seed);
            let out = same_everywhere(|level| {
                let (mut out, mut sums) = (vec![0; w * h], vec![0; w * factor]);
                box_any(level, &src, stride, factor, &mut out, w, &mut sums);
                out
            });
            let area = (factor * factor) as u32;
            for (i, &mean) in out.iter().enumerate() {
                let (x, y) = (i % w * factor, i / w * factor);
                let sum: u32 = (0..factor * factor)
                    .map(|k| u32::from(src[(y + k / factor) * stride + x + k % factor]))
                    .sum();
                let exact = (sum + area / 2) / area;
                prop_assert!(u32::from(mean) == exact || u32::from(mean) == exact + 1);
                prop_assert!(!area.is_power_of_two() || u32::from(mean) == exact);
            }
        }

        #[test]
        fn blur_is_the_binomial_mean(w in 1usize..100, h in 1usize..8, seed: u64) {
            let src = bytes(w * h, seed);
            let out = same_everywhere(|level| {
                let (mut out, mut line) = (vec![0; w * h], vec![0; w + 2]);
                blur3(level, &src, w, &mut out, &mut line);
                out
            });
            for (i, &blurred) in out.iter().enumerate() {
                let (x, y) = ((i % w) as isize, (i / w) as isize);
                let mut sum = 8;
                for (dy, wy) in [(-1, 1), (0, 2), (1, 1)] {
                    for (dx, wx) in [(-1, 1), (0, 2), (1, 1)] {
                        let (x, y) = ((x + dx).clamp(0, w as isize - 1), (y + dy).clamp(0, h as isize - 1));
                        sum += wx * wy * u32::from(src[y as usize * w + x as usize]);
                    }
                }
                prop_assert_eq!(u32::from(blurred), sum / 16);
            }
        }

        #[test]
        fn classification_counts_what_it_marks(n in 1usize..5000, seed: u64) {
            let (now, before, back) = (bytes(n, seed), bytes(n, seed ^ 2), bytes(n, seed ^ 4));
            let threshold = bytes(n, seed ^ 8);
            let (raw, counts) = same_everywhere(|level| {
                let mut raw = vec![9; n];
                let counts = classify(level, &now, &before, &back, &threshold, &mut raw, 10);
                (raw, counts)
            });
            let mut wanted = Counts::default();
            for i in 0..n {
                let changed = now[i].abs_diff(back[i]) > threshold[i];
                prop_assert_eq!(raw[i], u8::from(changed));
                wanted.raw += usize::from(changed);
                wanted.steady += usize::from(changed && now[i].abs_diff(before[i]) <= 10);
                wanted.brighter += usize::from(now[i] > before[i] && now[i] - before[i] > 10);
                wanted.darker += usize::from(before[i] > now[i] && before[i] - now[i] > 10);
            }
            prop_assert_eq!(counts, wanted);
        }

        #[test]
        fn a_shift_by_two_is_no_change(w in 5usize..80, h in 5usize..12, dx in -2isize..=2, dy in -2isize..=2, seed: u64) {
            let back = bytes(w * h, seed);
            let now: Vec<u8> = (0..w * h)
                .map(|i| {
                    let x = (i % w).saturating_add_signed(dx).min(w - 1);
                    let y = (i / w).saturating_add_signed(dy).min(h - 1);
                    back[y * w + x]
                })
                .collect();
            let changed = same_everywhere(|level| {
                let (mut raw, mut lows, mut highs) = (vec![9; w * h], vec![0; w + 4], vec![0; w + 4]);
                classify_shifted(level, &now, &back, &vec![0; w * h], w, 1, &mut raw, &mut lows, &mut highs)
            });
            prop_assert_eq!(changed, 0);
            let other = bytes(w * h, seed ^ 1);
            let (raw, changed) = same_everywhere(|level| {
                let (mut raw, mut lows, mut highs) = (vec![9; w * h], vec![0; w + 4], vec![0; w + 4]);
                let threshold = vec![3; w * h];
                let changed = classify_shifted(level, &other, &back, &threshold, w, 1, &mut raw, &mut lows, &mut highs);
                let mut some = vec![9; w * h];
                let few = classify_shifted(level, &other, &back, &threshold, w, 3, &mut some, &mut lows, &mut highs);
                assert_eq!(count_rows(level, &raw, w, 3), few);
                (raw, changed)
            });
            prop_assert_eq!(raw.iter().filter(|&&flag| flag == 1).count(), changed);
        }

        #[test]
        fn votes_count_the_window(w in 1usize..80, h in 1usize..9, need in 1u8..=25, seed: u64) {
            let src = flags(w * h, seed);
            let count = |i: usize, radius: usize, of: u8| {
                let (x, y) = (i % w, i / w);
                let rows = y.saturating_sub(radius)..(y + radius + 1).min(h);
                rows.map(|y| {
                    let columns = x.saturating_sub(radius)..(x + radius + 1).min(w);
                    columns.filter(|&x| src[y * w + x] == of).count()
                })
                .sum::<usize>()
            };
            let with = |run: fn(Level, &[u8], usize, &mut [u8], &mut [u8])| {
                same_everywhere(|level| {
                    let (mut out, mut columns) = (vec![9; w * h], vec![0; w + 4]);
                    run(level, &src, w, &mut out, &mut columns);
                    out
                })
            };
            let voted = same_everywhere(|level| {
                let (mut out, mut columns) = (vec![9; w * h], vec![7; w + 4]);
                vote5(level, &src, w, &mut out, need, &mut columns);
                out
            });
            let (eroded5, eroded3, dilated3) = (with(erode5), with(erode3), with(dilate3));
            for i in 0..w * h {
                prop_assert_eq!(voted[i], u8::from(count(i, 2, 1) >= usize::from(need)));
                prop_assert_eq!(eroded5[i], u8::from(count(i, 2, 0) == 0));
                prop_assert_eq!(eroded3[i], u8::from(count(i, 1, 0) == 0));
                prop_assert_eq!(dilated3[i], u8::from(count(i, 1, 1) > 0));
            }
        }

        #[test]
        fn the_model_learns_the_same_at_every_level(n in 1usize..3000, adapt: bool, slow_tick: bool, seed: u64) {
            let step = UpdateStep {
                adapt, slow_tick, floor: 14, ceiling: 40, still_within: 10, still_from: 15, still_fast: 60, still_absorb: 250,
            };
            let (mask, raw, raw_before) = (flags(n, seed ^ 1), flags(n, seed ^ 2), flags(n, seed ^ 3));
            let now = bytes(n, seed);
            let threshold: Vec<u8> = bytes(n, seed ^ 5).iter().map(|v| 14 + v % 27).collect();
            // Near values must occur as well as far ones.
            let kept: Vec<u8> = now.iter().zip(bytes(n, seed ^ 6)).map(|(x, r)| x.wrapping_add(r % 24)).collect();
            let (back, stillness) = (bytes(n, seed ^ 7), bytes(n, seed ^ 8));
            let (b, t, k, s, still, count) = same_everywhere(|level| {
                let (mut b, mut t, mut k, mut s) = (back.clone(), threshold.clone(), kept.clone(), stillness.clone());
                let mut still = vec![9; n];
                let count = update(level, &now, &mask, &raw, &raw_before, &mut b, &mut t, &mut k, &mut s, &mut still, step);
                (b, t, k, s, still, count)
            });
            prop_assert_eq!(still.iter().filter(|&&flag| flag == 1).count(), count);
            for i in 0..n {
                let near = now[i].abs_diff(kept[i]) <= 10;
                let counts = stillness[i] < 60 || slow_tick;
                let wanted_s = if near { stillness[i].saturating_add(u8::from(counts)) } else { 0 };
                prop_assert_eq!(s[i], wanted_s);
                prop_assert_eq!(still[i] == 1, mask[i] == 1 && s[i] >= 15);
                let follows = if near { k[i].abs_diff(kept[i]) <= 1 } else { k[i] == now[i] };
                prop_assert!(follows);
                let toward = match now[i].cmp(&back[i]) {
                    _ if mask[i] == 1 => back[i],
                    std::cmp::Ordering::Greater => back[i] + 1,
                    std::cmp::Ordering::Less => back[i] - 1,
                    std::cmp::Ordering::Equal => back[i],
                };
                prop_assert_eq!(b[i], if mask[i] == 1 && s[i] >= 250 { k[i] } else { toward });
                prop_assert!((14..=40).contains(&t[i]));
                if mask[i] == 1 || !adapt {
                    prop_assert_eq!(t[i], (threshold[i] + (raw_before[i] & !raw[i] & 1)).min(40));
                }
            }
        }
    }
}
