//! The inner loops of the networks: a product of matrices, a 3x3 filter a channel, and 8-bit rows times a vector.
//!
//! Each loop is written once over a [`Vector`] and compiled three times: for AVX-512, for AVX2 with FMA and for any
//! processor. The choice is made at run time. The portable copy rounds twice where FMA rounds once; property tests hold
//! all copies to the formula within float rounding.
//!
//! Channels are the innermost dimension everywhere and come in [`LANES`], so that no loop has a rest to treat.
//!
//! **Never:** an address that the safe functions at the top have not checked.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // Tiles are walked by index: plain counted loops become registers.

/// Channels come in multiples of this.
pub(super) const LANES: usize = 16;

/// Which copy of the loops runs. A value is proof that the features were detected.
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
    /// The best copy that this processor runs.
    pub(crate) fn detect() -> Self {
        Self::available()[0].unwrap_or(Self(Tier::Portable))
    }

    /// Every copy that this processor runs, the best first.
    fn available() -> [Option<Self>; 3] {
        let mut found = [None, None, Some(Self(Tier::Portable))];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found[1] = Some(Self(Tier::Avx2));
            }
            if is_x86_feature_detected!("avx512f") {
                found[0] = Some(Self(Tier::Avx512));
            }
        }
        if found[0].is_none() {
            found.swap(0, 1);
        }
        if found[0].is_none() {
            found.swap(0, 2);
        }
        found
    }
}

/// Rows of numbers in one slice.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    /// Numbers from row to row.
    pub(super) stride: usize,
    pub(super) rows: usize,
}

impl Rows<'_> {
    /// Whether each row has `width` numbers.
    fn hold(&self, width: usize) -> bool {
        let Some(last) = self.rows.checked_sub(1) else { return true };
        let needed = last.checked_mul(self.stride).and_then(|start| start.checked_add(width));
        self.stride >= width && needed.is_some_and(|needed| needed <= self.data.len())
    }
}

/// What follows the sum: `max(x, 0) + slope * min(x, 0)`, after `bias` was added. As long as there are channels out.
#[derive(Clone, Copy)]
pub(super) struct After<'a> {
    pub(super) bias: &'a [f32],
    pub(super) slope: &'a [f32],
}

/// `out[row] = after(a[row] * b)`: `a` is `[rows, depth]`, `b` packed as `[columns / LANES][depth][LANES]`.
///
/// # Panics
/// If a slice is shorter than its sizes say.
pub(super) fn multiply(
    level: Level,
    a: Rows<'_>,
    depth: usize,
    b: &[f32],
    after: After<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    let columns = after.bias.len();
    assert!(columns.is_multiple_of(LANES) && after.slope.len() == columns && b.len() == columns * depth);
    assert!(a.hold(depth) && Rows { data: out, stride: out_stride, rows: a.rows }.hold(columns));
    let job = Product {
        a: a.data.as_ptr(),
        a_stride: a.stride,
        rows: a.rows,
        depth,
        b: b.as_ptr(),
        columns,
        bias: after.bias.as_ptr(),
        slope: after.slope.as_ptr(),
        out: out.as_mut_ptr(),
        out_stride,
    };
    match level.0 {
        // SAFETY: all rows and columns of the job lie in their slices, as just checked.
        Tier::Portable => unsafe { job.run::<[f32; 8], 2, 2>() },
        // SAFETY: as above; the level is proof of AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 => unsafe { x86::multiply_avx2(&job) },
        // SAFETY: as above; the level is proof of AVX-512 F.
        #[cfg(target_arch = "x86_64")]
        Tier::Avx512 => unsafe { x86::multiply_avx512(&job) },
    }
}

/// The pixels of [`filter`].
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    /// The rows above, at and below, each `[width, stride]`; `None` beyond the edge.
    pub(super) rows: [Option<&'a [f32]>; 3],
    pub(super) width: usize,
    /// Numbers from pixel to pixel.
    pub(super) stride: usize,
    /// Pixels from output to output.
    pub(super) step: usize,
}

/// One row of a 3x3 filter a channel; `weights` is `[9][channels]`, `out` is `[width.div_ceil(step), out_stride]`.
///
/// # Panics
/// If a slice is shorter than its sizes say.
pub(super) fn filter(
    level: Level,
    from: Window<'_>,
    weights: &[f32],
    after: After<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    let Window { rows, width, stride, step } = from;
    let channels = after.bias.len();
    let out_width = width.div_ceil(step);
    assert!(width > 0 && channels.is_multiple_of(LANES) && after.slope.len() == channels);
    assert!(weights.len() == 9 * channels);
    assert!(Rows { data: out, stride: out_stride, rows: out_width }.hold(channels));
    assert!(rows.iter().flatten().all(|row| Rows { data: row, stride, rows: width }.hold(channels)));
    let Some(any) = rows.iter().flatten().next() else { return };
    let job = Filter {
        // A row that is missing counts nothing; any other stands in for it, so that there is something to read.
        rows: rows.map(|row| row.unwrap_or(any).as_ptr()),
        has_row: rows.map(|row| row.is_some()),
        width,
        stride,
        step,
        channels,
        weights: weights.as_ptr(),
        bias: after.bias.as_ptr(),
        slope: after.slope.as_ptr(),
        out: out.as_mut_ptr(),
        out_width,
        out_stride,
    };
    match level.0 {
        // SAFETY: all rows of the job lie in their slices, as just checked.
        Tier::Portable => unsafe { job.run::<[f32; 8]>() },
        // SAFETY: as above; the level is proof of AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 => unsafe { x86::filter_avx2(&job) },
        // SAFETY: as above; the level is proof of AVX-512 F.
        #[cfg(target_arch = "x86_64")]
        Tier::Avx512 => unsafe { x86::filter_avx512(&job) },
    }
}

/// Rows of 8-bit numbers, times `x`; `codes` is `[out.len(), x.len()]`.
///
/// # Panics
/// If a slice is shorter than its sizes say, or `x.len()` is no multiple of [`LANES`].
pub(super) fn dot_rows(level: Level, codes: &[i8], x: &[f32], out: &mut [f32]) {
    assert!(x.len().is_multiple_of(LANES) && codes.len() == x.len() * out.len());
    for (index, out) in out.chunks_mut(DOT_ROWS).enumerate() {
        let mut sums = [0.0; DOT_ROWS];
        let row = |lane: usize| {
            let row = index * DOT_ROWS + lane.min(out.len() - 1);
            codes[row * x.len()..][..x.len()].as_ptr()
        };
        let rows: [*const i8; DOT_ROWS] = std::array::from_fn(row);
        match level.0 {
            // SAFETY: each row and `x` have `x.len()` numbers.
            Tier::Portable => unsafe { dot::<[f32; 8]>(rows, x.as_ptr(), x.len(), &mut sums) },
            // SAFETY: as above; the level is proof of AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => unsafe { x86::dot_avx2(rows, x.as_ptr(), x.len(), &mut sums) },
            // SAFETY: as above; the level is proof of AVX-512 F.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => unsafe { x86::dot_avx512(rows, x.as_ptr(), x.len(), &mut sums) },
        }
        out.copy_from_slice(&sums[..out.len()]);
    }
}

/// Rows of [`dot_rows`] that share one reading of `x`.
const DOT_ROWS: usize = 4;
/// Numbers of `a` that one pass over `b` works on: 256 KiB, so that they stay in the second-level cache.
const BLOCK: usize = 65_536;

/// [`Vector::WIDTH`] floats worked on at once.
///
/// # Safety
/// Of all methods: the processor has the instructions, and addresses hold `WIDTH` numbers.
trait Vector: Copy {
    const WIDTH: usize;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_codes(from: *const i8) -> Self;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self * b + c`.
    unsafe fn times_plus(self, b: Self, c: Self) -> Self;
    unsafe fn plus(self, b: Self) -> Self;
    /// `max(self, 0) + slope * min(self, 0)`.
    unsafe fn bend(self, slope: Self) -> Self;
    unsafe fn sum(self) -> f32;
}

impl Vector for [f32; 8] {
    const WIDTH: usize = 8;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller has `WIDTH` numbers there.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_codes(from: *const i8) -> Self {
        // SAFETY: the caller has `WIDTH` numbers there.
        unsafe { from.cast::<[i8; 8]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; 8]
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller has room for `WIDTH` numbers there.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn times_plus(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|lane| self[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    unsafe fn plus(self, b: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + b[lane])
    }
    #[inline(always)]
    unsafe fn bend(self, slope: Self) -> Self {
        std::array::from_fn(|lane| self[lane].max(0.0) + slope[lane] * self[lane].min(0.0))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.iter().sum()
    }
}

/// A product of matrices by its addresses.
struct Product {
    a: *const f32,
    a_stride: usize,
    rows: usize,
    depth: usize,
    b: *const f32,
    columns: usize,
    bias: *const f32,
    slope: *const f32,
    out: *mut f32,
    out_stride: usize,
}

impl Product {
    /// Tiles of `ROWS` rows and `WIDE` vectors, as many as there are registers for their sums.
    ///
    /// # Safety
    /// All addresses must hold what the sizes say, and `V` must be of this processor.
    #[inline(always)]
    unsafe fn run<V: Vector, const ROWS: usize, const WIDE: usize>(&self) {
        let block = (BLOCK / self.depth.max(1) / ROWS).max(1) * ROWS;
        let mut first = 0;
        while first < self.rows {
            let end = (first + block).min(self.rows);
            let mut column = 0;
            while column < self.columns {
                // SAFETY: rows below `end` and columns up to `columns` exist; both are whole tiles of vectors.
                unsafe {
                    if column + WIDE * V::WIDTH <= self.columns {
                        self.strip::<V, ROWS, WIDE>(first, end, column);
                        column += WIDE * V::WIDTH;
                    } else {
                        self.strip::<V, ROWS, 1>(first, end, column);
                        column += V::WIDTH;
                    }
                }
            }
            first = end;
        }
    }

    #[inline(always)]
    unsafe fn strip<V: Vector, const ROWS: usize, const WIDE: usize>(&self, first: usize, end: usize, column: usize) {
        let mut row = first;
        // SAFETY: each tile ends at or before `end`.
        unsafe {
            while row + ROWS <= end {
                self.tile::<V, ROWS, WIDE>(row, column);
                row += ROWS;
            }
            while ROWS > 7 && row + 7 <= end {
                self.tile::<V, 7, WIDE>(row, column);
                row += 7;
            }
            while ROWS > 3 && row + 3 <= end {
                self.tile::<V, 3, WIDE>(row, column);
                row += 3;
            }
            while row < end {
                self.tile::<V, 1, WIDE>(row, column);
                row += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Vector, const ROWS: usize, const WIDE: usize>(&self, row: usize, column: usize) {
        // SAFETY: `row + ROWS` rows and `column + WIDE * WIDTH` columns exist; `b` is packed by LANES columns.
        unsafe {
            let a = self.a.add(row * self.a_stride);
            let mut b = [self.b; WIDE];
            let mut sums = [[V::splat(0.0); WIDE]; ROWS];
            for wide in 0..WIDE {
                let column = column + wide * V::WIDTH;
                b[wide] = self.b.add(column / LANES * LANES * self.depth + column % LANES);
                let bias = V::load(self.bias.add(column));
                for sums in &mut sums {
                    sums[wide] = bias;
                }
            }
            for step in 0..self.depth {
                let mut weights = [V::splat(0.0); WIDE];
                for wide in 0..WIDE {
                    weights[wide] = V::load(b[wide].add(step * LANES));
                }
                for index in 0..ROWS {
                    let a = V::splat(*a.add(index * self.a_stride + step));
                    for wide in 0..WIDE {
                        sums[index][wide] = a.times_plus(weights[wide], sums[index][wide]);
                    }
                }
            }
            for wide in 0..WIDE {
                let column = column + wide * V::WIDTH;
                let slope = V::load(self.slope.add(column));
                for index in 0..ROWS {
                    sums[index][wide].bend(slope).store(self.out.add((row + index) * self.out_stride + column));
                }
            }
        }
    }
}

/// A row of 3x3 filters by its addresses.
struct Filter {
    rows: [*const f32; 3],
    has_row: [bool; 3],
    width: usize,
    stride: usize,
    step: usize,
    channels: usize,
    weights: *const f32,
    bias: *const f32,
    slope: *const f32,
    out: *mut f32,
    out_width: usize,
    out_stride: usize,
}

impl Filter {
    /// # Safety
    /// All addresses must hold what the sizes say, and `V` must be of this processor.
    #[inline(always)]
    unsafe fn run<V: Vector>(&self) {
        let mut channel = 0;
        while channel < self.channels {
            // SAFETY: `WIDTH` channels from here exist, in every pixel of every row; columns are kept below `width`.
            unsafe {
                let nothing = V::splat(0.0);
                let bias = V::load(self.bias.add(channel));
                let slope = V::load(self.slope.add(channel));
                let rows = self.rows.map(|row| row.add(channel));
                let mut weights = [[nothing; 3]; 3];
                for y in 0..3 {
                    for x in 0..3 {
                        if self.has_row[y] {
                            weights[y][x] = V::load(self.weights.add((y * 3 + x) * self.channels + channel));
                        }
                    }
                }
                for index in 0..self.out_width {
                    let middle = index * self.step;
                    let sum = if middle > 0 && middle + 1 < self.width {
                        pixel(rows, self.stride, [middle - 1, middle, middle + 1], &weights, bias)
                    } else {
                        let mut weights = weights;
                        for row in &mut weights {
                            if middle == 0 {
                                row[0] = nothing;
                            }
                            if middle + 1 == self.width {
                                row[2] = nothing;
                            }
                        }
                        let columns = [middle.saturating_sub(1), middle, (middle + 1).min(self.width - 1)];
                        pixel(rows, self.stride, columns, &weights, bias)
                    };
                    sum.bend(slope).store(self.out.add(index * self.out_stride + channel));
                }
            }
            channel += V::WIDTH;
        }
    }
}

/// # Safety
/// There are `WIDTH` numbers at each of these columns in each row.
#[inline(always)]
unsafe fn pixel<V: Vector>(
    rows: [*const f32; 3],
    stride: usize,
    columns: [usize; 3],
    weights: &[[V; 3]; 3],
    bias: V,
) -> V {
    // Three sums, so that no multiplication waits for the one before it.
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [bias, V::splat(0.0), V::splat(0.0)];
        for y in 0..3 {
            for x in 0..3 {
                sums[y] = V::load(rows[y].add(columns[x] * stride)).times_plus(weights[y][x], sums[y]);
            }
        }
        sums[0].plus(sums[1].plus(sums[2]))
    }
}

/// # Safety
/// Each row and `x` have `length` numbers, a multiple of [`LANES`].
#[inline(always)]
unsafe fn dot<V: Vector>(rows: [*const i8; DOT_ROWS], x: *const f32, length: usize, out: &mut [f32; DOT_ROWS]) {
    // SAFETY: the caller's promise; LANES is a multiple of the width.
    unsafe {
        let mut sums = [V::splat(0.0); DOT_ROWS];
        let mut index = 0;
        while index < length {
            let x = V::load(x.add(index));
            for lane in 0..DOT_ROWS {
                sums[lane] = V::load_codes(rows[lane].add(index)).times_plus(x, sums[lane]);
            }
            index += V::WIDTH;
        }
        for lane in 0..DOT_ROWS {
            out[lane] = sums[lane].sum();
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{DOT_ROWS, Filter, Product, Vector, dot};
    use std::arch::x86_64::*;

    /// Six rows of two vectors: 12 of the 16 registers hold sums.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn multiply_avx2(job: &Product) {
        // SAFETY: the caller's promise.
        unsafe { job.run::<__m256, 6, 2>() }
    }

    /// Fourteen rows of two vectors: 28 of the 32 registers hold sums, and 14 divides the pixels of most SFace layers.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn multiply_avx512(job: &Product) {
        // SAFETY: the caller's promise.
        unsafe { job.run::<__m512, 14, 2>() }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn filter_avx2(job: &Filter) {
        // SAFETY: the caller's promise.
        unsafe { job.run::<__m256>() }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn filter_avx512(job: &Filter) {
        // SAFETY: the caller's promise.
        unsafe { job.run::<__m512>() }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn dot_avx2(
        rows: [*const i8; DOT_ROWS],
        x: *const f32,
        length: usize,
        out: &mut [f32; DOT_ROWS],
    ) {
        // SAFETY: the caller's promise.
        unsafe { dot::<__m256>(rows, x, length, out) }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn dot_avx512(
        rows: [*const i8; DOT_ROWS],
        x: *const f32,
        length: usize,
        out: &mut [f32; DOT_ROWS],
    ) {
        // SAFETY: the caller's promise.
        unsafe { dot::<__m512>(rows, x, length, out) }
    }

    macro_rules! vector {
        ($type:ty, $width:literal, $load:ident, $codes:expr, $splat:ident, $store:ident, $fma:ident, $add:ident, $min:ident,
         $max:ident, $zero:ident) => {
            // SAFETY of every block below: the caller has the processor and the numbers.
            impl Vector for $type {
                const WIDTH: usize = $width;
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: as above.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn load_codes(from: *const i8) -> Self {
                    // SAFETY: as above.
                    unsafe { $codes(from) }
                }
                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    // SAFETY: as above.
                    unsafe { $splat(value) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: as above.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn times_plus(self, b: Self, c: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $fma(self, b, c) }
                }
                #[inline(always)]
                unsafe fn plus(self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $add(self, b) }
                }
                #[inline(always)]
                unsafe fn bend(self, slope: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $fma(slope, $min(self, $zero()), $max(self, $zero())) }
                }
                #[inline(always)]
                unsafe fn sum(self) -> f32 {
                    let mut lanes = [0.0_f32; $width];
                    // SAFETY: there is room for `WIDTH` numbers.
                    unsafe { self.store(lanes.as_mut_ptr()) };
                    lanes.iter().sum()
                }
            }
        };
    }

    vector!(
        __m256,
        8,
        _mm256_loadu_ps,
        |from: *const i8| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))),
        _mm256_set1_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_min_ps,
        _mm256_max_ps,
        _mm256_setzero_ps
    );
    vector!(
        __m512,
        16,
        _mm512_loadu_ps,
        |from: *const i8| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))),
        _mm512_set1_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_min_ps,
        _mm512_max_ps,
        _mm512_setzero_ps
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(seed: u32, length: usize) -> Vec<f32> {
        let mut state = seed | 1;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..length).map(next).collect()
    }

    fn near(got: f32, want: f32, terms: usize) -> bool {
        (got - want).abs() <= 1e-6 * (terms as f32 + 4.0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_copy_multiplies_as_the_formula_says(
            rows in 0_usize..40, depth in 0_usize..70, lanes in 1_usize..6, pad in 0_usize..3, seed: u32
        ) {
            let columns = lanes * LANES;
            let (stride, out_stride) = (depth + pad, columns + pad);
            let (a, b) = (noise(seed, rows * stride), noise(seed ^ 1, depth * columns));
            let (bias, slope) = (noise(seed ^ 2, columns), noise(seed ^ 3, columns));
            for level in Level::available().into_iter().flatten() {
                let mut out = vec![9.0; rows * out_stride];
                let after = After { bias: &bias, slope: &slope };
                multiply(level, Rows { data: &a, stride, rows }, depth, &b, after, &mut out, out_stride);
                for row in 0..rows {
                    for column in 0..columns {
                        let product = |k: usize| {
                            a[row * stride + k] * b[column / LANES * LANES * depth + k * LANES + column % LANES]
                        };
                        let sum: f32 = bias[column] + (0..depth).map(product).sum::<f32>();
                        let want = sum.max(0.0) + slope[column] * sum.min(0.0);
                        let got = out[row * out_stride + column];
                        prop_assert!(near(got, want, depth), "{level:?} {row} {column}: {got} {want}");
                    }
                    prop_assert!(out[row * out_stride + columns..(row + 1) * out_stride].iter().all(|&x| x == 9.0));
                }
            }
        }

        #[test]
        fn every_copy_filters_as_the_formula_says(
            width in 1_usize..20, lanes in 1_usize..4, step in 1_usize..3, above: bool, below: bool, seed: u32
        ) {
            let channels = lanes * LANES;
            let rows = [0, 2, 4].map(|row| noise(seed ^ row, width * channels));
            let given = [above.then_some(&rows[0][..]), Some(&rows[1][..]), below.then_some(&rows[2][..])];
            let (weights, bias) = (noise(seed ^ 8, 9 * channels), noise(seed ^ 16, channels));
            let slope = noise(seed ^ 32, channels);
            for level in Level::available().into_iter().flatten() {
                let mut out = vec![0.0; width.div_ceil(step) * channels];
                let after = After { bias: &bias, slope: &slope };
                let from = Window { rows: given, width, stride: channels, step };
                filter(level, from, &weights, after, &mut out, channels);
                for (index, &got) in out.iter().enumerate() {
                    let (x, channel) = (index / channels * step, index % channels);
                    let mut sum = bias[channel];
                    for (y, row) in given.iter().enumerate() {
                        for side in 0..3 {
                            let column = (x + side).checked_sub(1).filter(|&column| column < width);
                            if let (Some(row), Some(column)) = (row, column) {
                                sum += row[column * channels + channel] * weights[(y * 3 + side) * channels + channel];
                            }
                        }
                    }
                    let want = sum.max(0.0) + slope[channel] * sum.min(0.0);
                    prop_assert!(near(got, want, 9), "{level:?} {index}: {got} {want}");
                }
            }
        }

        #[test]
        fn every_copy_reads_8_bit_rows(rows in 0_usize..11, lanes in 0_usize..9, seed: u32) {
            let length = lanes * LANES;
            let x = noise(seed, length);
            let codes: Vec<i8> = noise(seed ^ 8, rows * length).iter().map(|value| (value * 127.0) as i8).collect();
            for level in Level::available().into_iter().flatten() {
                let mut out = vec![0.0; rows];
                dot_rows(level, &codes, &x, &mut out);
                for (row, got) in out.iter().enumerate() {
                    let codes = &codes[row * length..(row + 1) * length];
                    let want: f32 = codes.iter().zip(&x).map(|(&code, x)| f32::from(code) * x).sum();
                    prop_assert!((got - want).abs() < 1e-2, "{level:?} {row}: {got} {want}");
                }
            }
        }
    }
}
