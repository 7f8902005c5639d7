//! The loops as plain Rust: the specification.

#![forbid(unsafe_code)]

use super::box4::two_rows;
use super::packing::Packing;
use super::{Counts, TALLY_SIDE, Tally, UpdateStep, prefetch, rows_read};

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

/// `out[x, y]` = rounded mean of the rows that are read ([`rows_read`]) of the 4x4 box at `(4x, 4y)`.
#[inline(always)]
pub(super) fn box4(src: &[u8], stride: usize, out: &mut [u8], out_width: usize) {
    for (y, row) in out.chunks_exact_mut(out_width).enumerate() {
        box4_row(two_rows(src, stride, y, out_width), row);
    }
}

/// One row of [`box4`]; the slices are four times as long as `out`.
#[inline(always)]
pub(super) fn box4_row([a, b]: [&[u8]; 2], out: &mut [u8]) {
    for (out, (a, b)) in out.iter_mut().zip(a.chunks_exact(4).zip(b.chunks_exact(4))) {
        let sum: u16 = a.iter().chain(b).map(|&v| u16::from(v)).sum();
        *out = ((sum + 4) >> 3) as u8;
    }
}

/// `out[x, y]` = mean of the rows that are read ([`rows_read`]) of the `factor` x `factor` box at `(factor x, factor y)`,
/// rounded by a reciprocal in 22 bits (exact for powers of two, at most 1 too high elsewhere). `sums` holds one row of column
/// sums.
#[inline(always)]
pub(super) fn box_any(src: &[u8], stride: usize, factor: usize, out: &mut [u8], out_width: usize, sums: &mut [u16]) {
    let wide = out_width * factor;
    let sums = &mut sums[..wide];
    for (y, out) in out.chunks_exact_mut(out_width).enumerate() {
        sums.fill(0);
        for row in rows_read(factor) {
            let row = &src[(y * factor + row) * stride..][..wide];
            for line in row.chunks(64) {
                prefetch(line, factor * stride);
            }
            for (sum, &v) in sums.iter_mut().zip(row) {
                *sum += u16::from(v);
            }
        }
        match factor {
            2 => gather::<2>(sums, out),
            3 => gather::<3>(sums, out),
            5 => gather::<5>(sums, out),
            6 => gather::<6>(sums, out),
            8 => gather::<8>(sums, out),
            _ => gather_any(sums, out, factor),
        }
    }
}

#[inline(always)]
fn gather<const FACTOR: usize>(sums: &[u16], out: &mut [u8]) {
    let area = (FACTOR * rows_read(FACTOR).len()) as u32;
    for (out, sums) in out.iter_mut().zip(sums.chunks_exact(FACTOR)) {
        let sum: u32 = sums.iter().map(|&v| u32::from(v)).sum();
        *out = mean(sum, area);
    }
}

#[inline(always)]
fn gather_any(sums: &[u16], out: &mut [u8], factor: usize) {
    let area = (factor * rows_read(factor).len()) as u32;
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

/// `(a + 2 b + c + 2) / 4`, in bytes: the mean of `a` and `c` is taken down where it was rounded up, so that rounding up
/// once more is exact.
#[inline(always)]
fn binomial(a: u8, b: u8, c: u8) -> u8 {
    let mean = |a: u8, b: u8| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8;
    mean(b, mean(a, c) - ((a ^ c) & 1))
}

/// 3x3 binomial blur (1 2 1 each way, rounded each way), edges repeated. Rows of `out` are `stride` apart; what lies between
/// them is left as it is. `line` holds `width + 2` values.
#[inline(always)]
pub(super) fn blur3(src: &[u8], width: usize, out: &mut [u8], stride: usize, line: &mut [u8]) {
    let height = src.len() / width;
    let line = &mut line[..width + 2];
    for y in 0..height {
        let above = &src[y.saturating_sub(1) * width..][..width];
        let here = &src[y * width..][..width];
        let below = &src[(y + 1).min(height - 1) * width..][..width];
        for (sum, ((&a, &b), &c)) in line[1..=width].iter_mut().zip(above.iter().zip(here).zip(below)) {
            *sum = binomial(a, b, c);
        }
        line[0] = line[1];
        line[width + 1] = line[width];
        let (left, middle, right) = (&line[..width], &line[1..=width], &line[2..]);
        let out = &mut out[y * stride..][..width];
        for (out, ((&l, &m), &r)) in out.iter_mut().zip(left.iter().zip(middle).zip(right)) {
            *out = binomial(l, m, r);
        }
    }
}

/// 64 bytes of each of the planes, and the words that belong to them.
macro_rules! by_word {
    ($plane:expr) => {
        $plane.as_chunks::<64>().0.iter()
    };
    (mut $plane:expr) => {
        $plane.as_chunks_mut::<64>().0.iter_mut()
    };
}

/// `raw` is set where `now` differs from `back` by more than `threshold`; counts that, and how `now` differs from
/// `before` by more than `steady_within`. A word of `raw` belongs to 64 pixels.
#[inline(always)]
pub(super) fn classify<P: Packing>(
    now: &[u8],
    before: &[u8],
    back: &[u8],
    threshold: &[u8],
    raw: &mut [u64],
    steady_within: u8,
) -> Counts {
    let mut counts = Counts::default();
    let pictures = by_word!(now).zip(by_word!(before));
    let model = by_word!(back).zip(by_word!(threshold));
    for (raw, ((now, before), (back, threshold))) in raw.iter_mut().zip(pictures.zip(model)) {
        let (mut changed, mut up, mut down) = ([0; 64], [0; 64], [0; 64]);
        for i in 0..64 {
            changed[i] = now[i].abs_diff(back[i]).saturating_sub(threshold[i]);
            up[i] = now[i].saturating_sub(before[i]).saturating_sub(steady_within);
            down[i] = before[i].saturating_sub(now[i]).saturating_sub(steady_within);
        }
        let (changed, up, down) = (P::pack(&changed), P::pack(&up), P::pack(&down));
        *raw = changed;
        counts.raw += changed.count_ones() as usize;
        counts.steady += (changed & !(up | down)).count_ones() as usize;
        counts.brighter += up.count_ones() as usize;
        counts.darker += down.count_ones() as usize;
    }
    counts
}

/// Like [`classify`], but a pixel is compared with everything the background shows within two pixels of it: what a
/// shift of the whole picture by up to two pixels explains is not a change. Looks at every `every`-th row of `width`
/// pixels only. `lows`, `highs` and `line` hold `stride + 4` values.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as `update`")]
pub(super) fn classify_shifted<P: Packing>(
    now: &[u8],
    back: &[u8],
    threshold: &[u8],
    width: usize,
    stride: usize,
    every: usize,
    raw: &mut [u64],
    lows: &mut [u8],
    highs: &mut [u8],
    line: &mut [u8],
) {
    let height = now.len() / stride;
    let words = stride / 64;
    let (lows, highs) = (&mut lows[..width + 4], &mut highs[..width + 4]);
    let line = &mut line[..stride];
    line[width..].fill(0);
    for y in (0..height).step_by(every) {
        let row = |dy: isize| {
            let y = y.saturating_add_signed(dy).min(height - 1);
            &back[y * stride..][..width]
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
        let now = &now[y * stride..][..width];
        let threshold = &threshold[y * stride..][..width];
        let outside = &mut line[..width];
        let (l0, l1, l2, l3, l4) =
            (&lows[..width], &lows[1..=width], &lows[2..width + 2], &lows[3..width + 3], &lows[4..width + 4]);
        let (h0, h1, h2, h3, h4) =
            (&highs[..width], &highs[1..=width], &highs[2..width + 2], &highs[3..width + 3], &highs[4..width + 4]);
        for i in 0..width {
            let low = l0[i].min(l1[i]).min(l2[i]).min(l3[i].min(l4[i]));
            let high = h0[i].max(h1[i]).max(h2[i]).max(h3[i].max(h4[i]));
            let differs = now[i].saturating_sub(high).max(low.saturating_sub(now[i]));
            outside[i] = differs.saturating_sub(threshold[i]);
        }
        for (raw, outside) in raw[y * words..][..words].iter_mut().zip(by_word!(line)) {
            *raw = P::pack(outside);
        }
    }
}

/// Number of set flags that are not set in `except`, which may end early, in every `every`-th row of `words` words.
#[inline(always)]
pub(super) fn count_beside(flags: &[u64], except: &[u64], words: usize, every: usize) -> usize {
    let mut sum = 0;
    for (y, row) in flags.chunks_exact(words).enumerate().step_by(every) {
        let except = except.get(y * words..(y + 1) * words);
        for (i, flags) in row.iter().enumerate() {
            sum += (flags & !except.map_or(0, |except| except[i])).count_ones() as usize;
        }
    }
    sum
}

/// Sum and carry of three bits, in 64 places at once.
#[inline(always)]
fn add3(a: u64, b: u64, c: u64) -> (u64, u64) {
    let ab = a ^ b;
    (ab ^ c, (a & b) | (ab & c))
}

/// The flags `SHIFT` places to the left and to the right of each of a word's, given the words before and after it.
#[inline(always)]
fn beside<const SHIFT: u32>(before: u64, here: u64, after: u64) -> [u64; 2] {
    [(here << SHIFT) | (before >> (64 - SHIFT)), (here >> SHIFT) | (after << (64 - SHIFT))]
}

/// Words whose column sums are kept at a time.
const VOTE_WORDS: usize = 64;

/// 5x5 median: set where at least 13 of the 25 flags of the window are set; outside counts as unset. Rows have `words`
/// words and end in at least two unset flags. `src` has three more rows of nothing above and below.
///
/// The flags of a window are added as bits of binary numbers, 64 windows at a time: five rows to three bits, then five
/// columns of those to five.
#[inline(always)]
pub(super) fn median5(src: &[u64], words: usize, out: &mut [u64]) {
    let margin = 3 * words;
    for (block, out) in out.chunks_mut(VOTE_WORDS).enumerate() {
        let n = out.len();
        let first = margin + block * VOTE_WORDS - 1;
        let row = |k: usize| &src[first + k * words - 2 * words..][..n + 2];
        let (a, b, c, d, e) = (row(0), row(1), row(2), row(3), row(4));
        if src[first - 2 * words..first + 2 * words + n + 2].iter().fold(0, |any, word| any | word) == 0 {
            out.fill(0);
            continue;
        }
        let (mut ones, mut twos, mut fours) = ([0; VOTE_WORDS + 2], [0; VOTE_WORDS + 2], [0; VOTE_WORDS + 2]);
        for i in 0..n + 2 {
            let (sum, carry) = add3(a[i], b[i], c[i]);
            let (sum, more) = add3(sum, d[i], e[i]);
            (ones[i], twos[i], fours[i]) = (sum, carry ^ more, carry & more);
        }
        for i in 0..n {
            let across = |bits: &[u64; VOTE_WORDS + 2]| {
                let (before, here, after) = (bits[i], bits[i + 1], bits[i + 2]);
                let ([a, e], [b, d]) = (beside::<2>(before, here, after), beside::<1>(before, here, after));
                [a, b, here, d, e]
            };
            let (ones, twos, fours) = (across(&ones), across(&twos), across(&fours));
            // Carries of ones are twos, and so on.
            let (sum, t0) = add3(ones[0], ones[1], ones[2]);
            let (bit0, t1) = add3(sum, ones[3], ones[4]);
            let (x, f0) = add3(twos[0], twos[1], twos[2]);
            let (y, f1) = add3(twos[3], twos[4], t0);
            let (bit1, f2) = add3(x, y, t1);
            let (x, e0) = add3(fours[0], fours[1], fours[2]);
            let (y, e1) = add3(fours[3], fours[4], f0);
            let (x, e2) = add3(x, y, f1);
            let (bit2, e3) = (x ^ f2, x & f2);
            let (x, s0) = add3(e0, e1, e2);
            let (bit3, s1) = (x ^ e3, x & e3);
            let bit4 = s0 | s1;
            // 13 is 8 + 4 + 1: 16 and more, or 8 and 4 with something below.
            out[i] = bit4 | (bit3 & bit2 & (bit0 | bit1));
        }
    }
}

/// Moves the flags of every word to the sides by up to `RADIUS` (at most 3) and joins them: by `or`, or for `ERODE` by
/// `and`. What is outside counts as unset, for `ERODE` as set. Rows end in at least `RADIUS` flags that are outside.
#[inline(always)]
fn across<const RADIUS: usize, const ERODE: bool>(src: &[u64], out: &mut [u64]) {
    let join = |a: u64, b: u64| if ERODE { a & b } else { a | b };
    let window = |before, here, after| {
        let mut joined = here;
        let [a, b] = beside::<1>(before, here, after);
        joined = join(joined, join(a, b));
        if RADIUS >= 2 {
            let [a, b] = beside::<2>(before, here, after);
            joined = join(joined, join(a, b));
        }
        if RADIUS >= 3 {
            let [a, b] = beside::<3>(before, here, after);
            joined = join(joined, join(a, b));
        }
        joined
    };
    let n = src.len();
    let outside = if ERODE { u64::MAX } else { 0 };
    let inner = src.iter().zip(&src[1..]).zip(&src[2.min(n)..]);
    for (out, ((&before, &here), &after)) in out[1.min(n)..].iter_mut().zip(inner) {
        *out = window(before, here, after);
    }
    if let [first, .., last] = out {
        *first = window(outside, src[0], src[1]);
        *last = window(src[n - 2], src[n - 1], outside);
    } else if let [only] = out {
        *only = window(outside, src[0], outside);
    }
}

/// Joins every row with the `RADIUS` rows above and below it, by `or` or `and`.
#[inline(always)]
fn down<const RADIUS: usize, const ERODE: bool>(src: &[u64], words: usize, out: &mut [u64]) {
    out.copy_from_slice(src);
    for rows in 1..=RADIUS {
        let shift = (rows * words).min(src.len());
        for (out, &below) in out.iter_mut().zip(&src[shift..]) {
            *out = if ERODE { *out & below } else { *out | below };
        }
        for (out, &above) in out[shift..].iter_mut().zip(src) {
            *out = if ERODE { *out & above } else { *out | above };
        }
    }
}

/// Sets the padding of every row, or clears it. Rows of `words` words have `width` flags.
#[inline(always)]
fn pad<const SET: bool>(flags: &mut [u64], words: usize, width: usize) {
    // Padding begins in the last word or the last but one.
    let (edge, padding) = (width / 64, u64::MAX << (width % 64));
    for row in flags.chunks_exact_mut(words) {
        row[edge] = if SET { row[edge] | padding } else { row[edge] & !padding };
        row[edge + 1..].fill(if SET { u64::MAX } else { 0 });
    }
}

/// Dilation by a square of `2 RADIUS + 1`, `RADIUS` at most 3: `flags` grow in place. Rows of `words` words have `width` flags
/// and at least `RADIUS` unset ones behind them.
#[inline(always)]
fn dilate<const RADIUS: usize>(flags: &mut [u64], words: usize, width: usize, scratch: &mut [u64]) {
    let scratch = &mut scratch[..flags.len()];
    across::<RADIUS, false>(flags, scratch);
    down::<RADIUS, false>(scratch, words, flags);
    pad::<false>(flags, words, width);
}

/// Erosion, as [`dilate`]; outside counts as set.
#[inline(always)]
fn erode<const RADIUS: usize>(flags: &mut [u64], words: usize, width: usize, scratch: &mut [u64]) {
    let scratch = &mut scratch[..flags.len()];
    pad::<true>(flags, words, width);
    across::<RADIUS, true>(flags, scratch);
    down::<RADIUS, true>(scratch, words, flags);
    pad::<false>(flags, words, width);
}

/// 5x5 closing of `flags`, see [`dilate`].
#[inline(always)]
pub(super) fn close5(flags: &mut [u64], words: usize, width: usize, scratch: &mut [u64]) {
    dilate::<2>(flags, words, width, scratch);
    erode::<2>(flags, words, width, scratch);
}

/// 3x3 opening of `flags`, see [`dilate`].
#[inline(always)]
pub(super) fn open3(flags: &mut [u64], words: usize, width: usize, scratch: &mut [u64]) {
    erode::<1>(flags, words, width, scratch);
    dilate::<1>(flags, words, width, scratch);
}

/// 7x7 dilation of `flags`, see [`dilate`].
#[inline(always)]
pub(super) fn dilate7(flags: &mut [u64], words: usize, width: usize, scratch: &mut [u64]) {
    dilate::<3>(flags, words, width, scratch);
}

/// Adapts the model to `now` and finds what is still. Returns the number of still pixels of the mask. A word of flags
/// belongs to 64 pixels.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "each plane is its own argument, so the compiler knows none overlap")]
pub(super) fn update<P: Packing>(
    now: &[u8],
    mask: &[u64],
    raw: &[u64],
    raw_before: &[u64],
    back: &mut [u8],
    threshold: &mut [u8],
    kept: &mut [u8],
    stillness: &mut [u8],
    still: &mut [u64],
    step: UpdateStep,
) -> usize {
    let mut total = 0;
    let slow_tick = u8::from(step.slow_tick);
    let flags = mask.iter().zip(raw).zip(raw_before).zip(still);
    let planes = by_word!(mut back).zip(by_word!(mut threshold)).zip(by_word!(mut kept).zip(by_word!(mut stillness)));
    for ((((&covers, &raw), &raw_before), still), (now, ((back, threshold), (kept, stillness)))) in
        flags.zip(by_word!(now).zip(planes))
    {
        let open = P::unpack(!covers);
        // Threshold: towards three times the difference, one step; a pixel that falls back to the background flickers
        // and is trusted less.
        if step.adapt {
            for i in 0..64 {
                let (t, d) = (threshold[i], now[i].abs_diff(back[i]).min(85));
                let goal = (d + d + d).max(step.floor).min(step.ceiling);
                threshold[i] = t + (above(goal, t) & open[i]) - (above(t, goal) & open[i]);
            }
        }
        if raw_before & !raw != 0 {
            let flickers = P::unpack(raw_before & !raw);
            for i in 0..64 {
                threshold[i] = (threshold[i] + flickers[i]).min(step.ceiling);
            }
        }
        // Stillness: how long the pixel has stayed near one value. Background: one step towards the picture where nothing
        // covers it.
        for i in 0..64 {
            let (x, k, b) = (now[i], kept[i], back[i]);
            let near = select(1 - above(x.abs_diff(k), step.still_within));
            let counts = above(step.still_fast, stillness[i]) | slow_tick;
            stillness[i] = stillness[i].saturating_add(counts) & near;
            let follows = k + above(x, k) - above(k, x);
            kept[i] = (follows & near) | (x & !near);
            back[i] = b + (above(x, b) & open[i]) - (above(b, x) & open[i]);
        }
        if covers == 0 {
            *still = 0;
            continue;
        }
        // What covers and has been still for very long is background.
        let (mut rests, mut absorbs) = ([0; 64], [0; 64]);
        for i in 0..64 {
            rests[i] = stillness[i].saturating_sub(step.still_from - 1);
            absorbs[i] = above(stillness[i], step.still_absorb - 1) & (1 - open[i]);
        }
        *still = covers & P::pack(&rests);
        total += still.count_ones() as usize;
        for i in 0..64 {
            back[i] = (kept[i] & select(absorbs[i])) | (back[i] & !select(absorbs[i]));
        }
    }
    total
}

/// Takes what is kept as the background, and `floor` as the threshold, where `flags` is set and stillness is at least
/// `from`, which is not 0.
#[inline(always)]
pub(super) fn adopt<P: Packing>(
    flags: &[u64],
    kept: &[u8],
    stillness: &[u8],
    from: u8,
    back: &mut [u8],
    threshold: &mut [u8],
    floor: u8,
) {
    let planes = by_word!(kept).zip(by_word!(stillness)).zip(by_word!(mut back).zip(by_word!(mut threshold)));
    for (&flags, ((kept, stillness), (back, threshold))) in flags.iter().zip(planes) {
        if flags == 0 {
            continue;
        }
        let flags = P::unpack(flags);
        for i in 0..64 {
            let takes = select(flags[i] & above(stillness[i], from - 1));
            back[i] = (kept[i] & takes) | (back[i] & !takes);
            threshold[i] = (floor & takes) | (threshold[i] & !takes);
        }
    }
}

/// Compares the pixels whose `owner` is `mark` with the two values that they remember: a pixel is *there* if it shows `is`
/// within `alike` and is nearer to it than to `was`, else *gone* if it shows `was`. Both values of a pixel that is there follow
/// it by one step; a pixel that is gone loses its owner if `releases`. Returns how many are there and gone.
#[inline(always)]
pub(super) fn recall<P: Packing>(
    now: &[u8],
    owner: &mut [u8],
    was: &mut [u8],
    is: &mut [u8],
    mark: u8,
    alike: u8,
    releases: bool,
) -> [u32; 2] {
    let (mut total_there, mut total_gone) = (0, 0);
    let planes = by_word!(mut owner).zip(by_word!(mut was)).zip(by_word!(mut is));
    for (now, ((owner, was), is)) in by_word!(now).zip(planes) {
        let (mut mine, mut there, mut gone) = ([0; 64], [0; 64], [0; 64]);
        for i in 0..64 {
            mine[i] = 1 - above(owner[i] ^ mark, 0);
        }
        if P::pack(&mine) == 0 {
            continue;
        }
        for i in 0..64 {
            let (x, w, s) = (now[i], was[i], is[i]);
            let (to_was, to_is) = (x.abs_diff(w), x.abs_diff(s));
            there[i] = (1 - above(to_is, alike)) & above(to_was, to_is) & mine[i];
            gone[i] = (1 - above(to_was, alike)) & mine[i] & (1 - there[i]);
            let (up, down) = (above(x, s) & there[i], above(s, x) & there[i]);
            is[i] = s + up - down;
            was[i] = w.saturating_add(up).saturating_sub(down);
        }
        if releases {
            for i in 0..64 {
                owner[i] &= !select(gone[i]);
            }
        }
        total_there += P::pack(&there).count_ones();
        total_gone += P::pack(&gone).count_ones();
    }
    [total_there, total_gone]
}

/// Sums over every second row of the block at `corner`; see [`Tally`].
#[inline(always)]
pub(super) fn tally(now: &[u8], reference: &[u8], previous: &[u8], stride: usize, corner: usize) -> Tally {
    const SIDE: usize = TALLY_SIDE;
    let row = |plane: &[u8], y: usize| -> [i16; SIDE] {
        let row = plane[corner + y * stride..].first_chunk::<SIDE>().expect("a whole block");
        row.map(i16::from)
    };
    // The right neighbours; the last pixel is its own.
    let right = |row: [i16; SIDE]| -> [i16; SIDE] { std::array::from_fn(|i| row[(i + 1).min(SIDE - 1)]) };
    // Sums of a column: eight rows of products of bytes fit 32 bits, and two bytes 16 bits, with room to spare.
    let (mut a, mut b, mut moved) = ([0_i16; SIDE], [0_i16; SIDE], [0_i16; SIDE]);
    let (mut aa, mut bb, mut ab) = ([0_i32; SIDE], [0_i32; SIDE], [0_i32; SIDE]);
    let (mut fine_a, mut fine_b) = ([0_i32; SIDE], [0_i32; SIDE]);
    for y in (0..SIDE).step_by(2) {
        let (x, r, p) = (row(now, y), row(reference, y), row(previous, y));
        let square = |v: i16| i32::from(v) * i32::from(v);
        for i in 0..SIDE {
            a[i] += x[i];
            b[i] += r[i];
            moved[i] += (x[i] - p[i]).abs();
            aa[i] += square(x[i]);
            bb[i] += square(r[i]);
            ab[i] += i32::from(x[i]) * i32::from(r[i]);
        }
        let (x_right, r_right) = (right(x), right(r));
        for i in 0..SIDE {
            fine_a[i] += square(x[i] - x_right[i]);
            fine_b[i] += square(r[i] - r_right[i]);
        }
    }
    let short = |sums: [i16; SIDE]| sums.iter().map(|&sum| i32::from(sum)).sum();
    let long = |sums: [i32; SIDE]| sums.iter().sum();
    Tally {
        a: short(a),
        b: short(b),
        aa: long(aa),
        bb: long(bb),
        ab: long(ab),
        fine_a: long(fine_a),
        fine_b: long(fine_b),
        moved: short(moved),
    }
}
