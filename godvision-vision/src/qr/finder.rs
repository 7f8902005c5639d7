//! Finder patterns: the three nested squares in a code's corners, which any line through their middle cuts in runs of
//! 1:1:3:1:1.
//!
//! Every second row is turned into one bit a pixel by a local threshold, 8 pixels at a time in one word, and its runs are
//! compared with those ratios. What resembles them is looked at again between the pixels, along a row, a column and both
//! diagonals: there an edge lies halfway between the extremes on its two sides, which still finds rings that blur has
//! left a tenth of their contrast.
//!
//! Sources: ISO/IEC 18004:2024, 6.3.3 (finder pattern) and 13 (reference decode algorithm).
//!
//! **Never:** what is one pattern and what another's; that is [`super::grid`]'s.

#![forbid(unsafe_code)]

use super::levels::Level;

/// Side of the squares that have a threshold of their own.
const BLOCK: usize = 8;

/// Rows from one that is searched to the next. The middle of a pattern is three modules high, and each needs at least 1.5
/// pixels: two rows always meet it.
const ROW_STEP: usize = 2;

/// Least range of brightness in a block with an edge in it, by day and in the noise of the night.
const RANGE_MIN: u8 = 24;
const RANGE_MAX: u8 = 64;

/// Fewest pixels of a pattern in a row: 7 modules of 1.3.
const TOTAL_MIN: u32 = 9;

/// Fewest blocks with edges around one that is searched: a single one is noise.
const BLOCKS_MIN: u32 = 3;

/// Most patterns kept of one picture.
pub(super) const FINDERS_MAX: usize = 48;

/// Most places looked at closely; a picture of nothing but fine stripes has no end of them. 0.3 µs each.
const LOOKS_MAX: usize = 6000;

/// A finder pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finder {
    /// Its middle, in pixels of its level.
    pub(super) x: f32,
    pub(super) y: f32,
    /// Pixels a module, as a row and a column cut it: between the module's side and 1.4 times that.
    pub(super) module: f32,
    /// Dark on light, as is usual.
    pub(super) is_dark: bool,
    /// How often it was met.
    pub(super) hits: u32,
}

/// Memory for the search, used again from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Search {
    means: Vec<u8>,
    ranges: Vec<u8>,
    thresholds: Vec<u8>,
    range_min: u8,
    sums: Vec<u16>,
    lows: Vec<u8>,
    highs: Vec<u8>,
    edges: Vec<u16>,
    pub(super) found: Vec<Finder>,
}

impl Search {
    /// Finds the patterns in `level`; they are in `found` afterwards, those met most often first.
    pub(super) fn run(&mut self, level: &Level) {
        self.found.clear();
        if level.width < BLOCK || level.height < BLOCK || level.width > usize::from(u16::MAX) {
            return;
        }
        self.threshold(level);
        let mut looks = LOOKS_MAX;
        let columns = level.width / BLOCK;
        for y in (ROW_STEP / 2..level.height).step_by(ROW_STEP) {
            let block_row = (y / BLOCK).min(level.height / BLOCK - 1);
            let thresholds = &self.thresholds[block_row * columns..][..columns];
            let starts_dark = edges(level.row(y), thresholds, &mut self.edges);
            self.match_row(level, y, starts_dark, block_row * columns, &mut looks);
        }
        self.found.sort_by_key(|finder| std::cmp::Reverse(finder.hits));
        self.found.truncate(FINDERS_MAX);
    }

    /// A threshold for each block: the mean of the blocks around it that have edges in them; 0 where none has.
    fn threshold(&mut self, level: &Level) {
        let (columns, rows) = (level.width / BLOCK, level.height / BLOCK);
        self.means.clear();
        self.ranges.clear();
        let mut spread = [0_usize; 256];
        let whole = columns * BLOCK;
        for row in 0..rows {
            // Column by column first: those loops go over a row at once.
            self.sums.clear();
            self.sums.resize(whole, 0);
            self.lows.clear();
            self.lows.resize(whole, 255);
            self.highs.clear();
            self.highs.resize(whole, 0);
            for y in 0..BLOCK {
                let pixels = &level.row(row * BLOCK + y)[..whole];
                for (sum, &pixel) in self.sums.iter_mut().zip(pixels) {
                    *sum += u16::from(pixel);
                }
                for (low, &pixel) in self.lows.iter_mut().zip(pixels) {
                    *low = (*low).min(pixel);
                }
                for (high, &pixel) in self.highs.iter_mut().zip(pixels) {
                    *high = (*high).max(pixel);
                }
            }
            let sums = self.sums.chunks_exact(BLOCK);
            for ((sums, lows), highs) in sums.zip(self.lows.chunks_exact(BLOCK)).zip(self.highs.chunks_exact(BLOCK)) {
                let low = lows.iter().fold(255, |a: u8, &b| a.min(b));
                let high = highs.iter().fold(0, |a: u8, &b| a.max(b));
                self.means.push((sums.iter().sum::<u16>() / (BLOCK * BLOCK) as u16) as u8);
                self.ranges.push(high - low);
                spread[usize::from(high - low)] += 1;
            }
        }
        // A quarter of the blocks show no edge but only noise, or nearly so.
        let mut left = self.ranges.len() / 4;
        let noise = spread.iter().position(|&count| {
            let is_here = count > left;
            left = left.saturating_sub(count);
            is_here
        });
        let noise = noise.unwrap_or(0);
        self.range_min = (noise + noise / 2).clamp(RANGE_MIN.into(), RANGE_MAX.into()) as u8;
        self.thresholds.clear();
        for row in 0..rows {
            let near_rows = row.saturating_sub(2)..(row + 3).min(rows);
            for column in 0..columns {
                let near_columns = column.saturating_sub(2)..(column + 3).min(columns);
                let (mut sum, mut count) = (0_u32, 0_u32);
                for row in near_rows.clone() {
                    for i in row * columns + near_columns.start..row * columns + near_columns.end {
                        let counts = u32::from(self.ranges[i] > self.range_min);
                        sum += u32::from(self.means[i]) * counts;
                        count += counts;
                    }
                }
                self.thresholds.push(if count < BLOCKS_MIN { 0 } else { (sum / count) as u8 });
            }
        }
    }

    /// Compares every five runs of a row with 1:1:3:1:1.
    fn match_row(&mut self, level: &Level, y: usize, starts_dark: bool, blocks: usize, looks: &mut usize) {
        for (i, window) in self.edges.windows(6).enumerate() {
            let run = |k: usize| u32::from(window[k + 1] - window[k]);
            let (total, middle) = (u32::from(window[5] - window[0]), run(2));
            if total < TOTAL_MIN || !resembles([run(0), run(1), middle, run(3), run(4)], total) {
                continue;
            }
            let is_dark = (i % 2 == 0) == starts_dark;
            let column = usize::from(window[2]) + middle as usize / 2;
            let threshold = self.thresholds[(blocks + column / BLOCK).min(self.thresholds.len() - 1)];
            let pixels = &level.row(y)[window[0].into()..window[5].into()];
            let (low, high) = pixels.iter().fold((255, 0), |(low, high), &pixel| (pixel.min(low), pixel.max(high)));
            if u32::from(high - low) * 10 < u32::from(self.range_min) * 9
                || !column_resembles(level, (column, y), threshold, total as usize, is_dark)
            {
                continue;
            }
            let x = f32::from(window[2]) + middle as f32 / 2.0;
            let y = y as f32 + 0.5;
            if let Some(known) = self.found.iter_mut().find(|known| {
                known.is_dark == is_dark && (known.x - x).abs().max((known.y - y).abs()) < known.module * 2.0
            }) {
                known.hits += 1;
                continue;
            }
            if *looks == 0 || self.found.len() >= 4 * FINDERS_MAX {
                return;
            }
            *looks -= 1;
            if let Some(finder) = look_closely(level, x, y, total as f32 / 7.0, is_dark) {
                self.found.push(finder);
            }
        }
    }
}

/// Whether five runs are nearly as 1:1:3:1:1: each edge may be half a module off, and a pixel more.
fn resembles(runs: [u32; 5], total: u32) -> bool {
    // In 14ths: the middle is 6, the others are 2.
    let slack = total + 14;
    let near = |length: u32, modules: u32| (length * 14).abs_diff(modules * 2 * total) <= slack * modules.min(2);
    near(runs[2], 3) && near(runs[0], 1) && near(runs[1], 1) && near(runs[3], 1) && near(runs[4], 1)
}

/// The same by whole pixels up and down from `(x, y)`; the pattern may be half as high again as it is wide.
fn column_resembles(level: &Level, (x, y): (usize, usize), threshold: u8, total: usize, is_dark: bool) -> bool {
    let reach = total + 2;
    let pixels = &level.pixels[x..];
    let is_inner = |y: usize| (pixels[y * level.width] < threshold) == is_dark;
    if !is_inner(y) {
        return false;
    }
    let up = half_runs(reach, y, |k| is_inner(y - k));
    let down = half_runs(reach, level.height - 1 - y, |k| is_inner(y + k));
    let (Some(up), Some(down)) = (up, down) else { return false };
    let runs = [up[2], up[1], up[0] + down[0] + 1, down[1], down[2]];
    let whole = runs.iter().sum();
    whole >= TOTAL_MIN && resembles(runs, whole)
}

/// The runs met on the way out of the middle, in pixels: what is left of the middle, the ring, the outer square. `None` if
/// they do not end within `reach` pixels; the edge of the picture, `room` pixels away, may end the last one.
fn half_runs(reach: usize, room: usize, is_inner: impl Fn(usize) -> bool) -> Option<[u32; 3]> {
    let mut runs = [0; 3];
    let mut part = 0;
    for k in 1..=reach.min(room) {
        if is_inner(k) == (part == 1) {
            part += 1;
            if part == 3 {
                return Some(runs);
            }
        }
        runs[part] += 1;
    }
    (part == 2 && room <= reach).then_some(runs)
}

/// Where a row changes between light and dark, from its begin to its end, which count as edges too. Returns whether its
/// first pixel is dark.
fn edges(row: &[u8], thresholds: &[u8], edges: &mut Vec<u16>) -> bool {
    edges.clear();
    edges.push(0);
    let starts_dark = thresholds.first().is_some_and(|&threshold| row[0] < threshold);
    let mut before = u64::from(starts_dark);
    let mut take = |block: usize, pixels: [u8; BLOCK], mask: u64, threshold: u8| {
        let dark = darker(u64::from_le_bytes(pixels), threshold);
        let mut changes = (dark ^ (dark << 1 | before)) & mask;
        before = dark >> 7;
        while changes != 0 {
            edges.push((block * BLOCK) as u16 + changes.trailing_zeros() as u16);
            changes &= changes - 1;
        }
    };
    let (blocks, rest) = row.as_chunks::<BLOCK>();
    for (block, (&pixels, &threshold)) in blocks.iter().zip(thresholds).enumerate() {
        take(block, pixels, 0xFF, threshold);
    }
    if let Some(&threshold) = thresholds.last().filter(|_| !rest.is_empty()) {
        let mut pixels = [0; BLOCK];
        pixels[..rest.len()].copy_from_slice(rest);
        take(blocks.len(), pixels, (1 << rest.len()) - 1, threshold);
    }
    edges.push(row.len() as u16);
    starts_dark
}

/// Which of eight pixels are darker than a threshold: a bit each, the first one lowest.
fn darker(pixels: u64, threshold: u8) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const ONES: u64 = 0x0101_0101_0101_0101;
    let threshold = u64::from(threshold) * ONES;
    // Subtracts byte by byte: the high bits that are set keep borrows from the next byte.
    let difference = (pixels | HIGH).wrapping_sub(threshold & !HIGH);
    let less = ((!pixels & threshold) | (!(pixels ^ threshold) & !difference)) & HIGH;
    // Gathers the eight bits in the highest byte.
    (less >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// What a line through the middle of a pattern tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// How far the middle is from the point given, along the line.
    pub(super) offset: f32,
    /// A seventh of the whole.
    pub(super) module: f32,
}

/// Samples to a module, and modules to each side, of a cut.
const CUT_SAMPLES: usize = 4;
const CUT_REACH: usize = 24;

/// Cuts `level` through `(x, y)` along the unit vector `(dx, dy)`, expecting modules of `module` pixels along it. `None` if
/// what is there is no finder pattern.
pub(super) fn cut(level: &Level, (x, y): (f32, f32), (dx, dy): (f32, f32), module: f32, is_dark: bool) -> Option<Cut> {
    let step = module / CUT_SAMPLES as f32;
    let sign = if is_dark { 1.0 } else { -1.0 };
    let mut samples = [0.0_f32; 2 * CUT_REACH + 1];
    let (mut low, mut high) = (f32::MAX, f32::MIN);
    let mut inside = CUT_REACH..CUT_REACH;
    for (k, sample) in samples.iter_mut().enumerate() {
        let along = (k as f32 - CUT_REACH as f32) * step;
        let (x, y) = (x + along * dx, y + along * dy);
        if level.holds(x, y) {
            *sample = level.at(x, y) * sign;
            (low, high) = (low.min(*sample), high.max(*sample));
            inside = inside.start.min(k)..inside.end.max(k + 1);
        }
    }
    // Outside the picture there is light: a code may be cut out without its quiet zone.
    samples[..inside.start].fill(high);
    samples[inside.end..].fill(high);
    let prominence = ((high - low) * 0.1).max(5.0);
    let right = outwards(&samples, 1, prominence)?;
    let left = outwards(&samples, -1, prominence)?;
    let total = right[2] + left[2];
    let seventh = total / 7.0;
    let is_near = |length: f32, modules: f32, slack: f32| (length - modules * seventh).abs() <= slack * seventh;
    let rings = [right[1] - right[0], right[2] - right[1], left[1] - left[0], left[2] - left[1]];
    let is_pattern = is_near(right[0] + left[0], 3.0, 0.9) && rings.iter().all(|&ring| is_near(ring, 1.0, 0.6));
    let size = seventh / CUT_SAMPLES as f32;
    (is_pattern && (0.5..2.0).contains(&size))
        .then_some(Cut { offset: (right[2] - left[2] + right[0] - left[0]) / 4.0 * step, module: size * module })
}

/// The three edges met on the way from the middle, in samples from it: into the ring, out of it, out of the pattern.
fn outwards(samples: &[f32; 2 * CUT_REACH + 1], direction: isize, prominence: f32) -> Option<[f32; 3]> {
    let at = |k: usize| samples[CUT_REACH.wrapping_add_signed(direction * k as isize)];
    let mut edges = [0.0; 3];
    let mut edge = 0;
    // The last extreme before the edge that is waited for, and the best candidate for the next one.
    let (mut extreme, mut place) = (at(0), 0);
    let mut k = 0;
    while edge < 3 {
        // Even edges lead up, odd ones down.
        let sign = if edge % 2 == 0 { 1.0 } else { -1.0 };
        loop {
            k += 1;
            if k > CUT_REACH {
                return None;
            }
            if (at(k) - extreme) * sign < 0.0 {
                (extreme, place) = (at(k), k);
            }
            if (at(k) - extreme) * sign > prominence {
                break;
            }
        }
        // The next extreme: as far as it goes on, until it comes back by the prominence.
        let (mut next, mut peak) = (at(k), k);
        let mut ahead = k;
        while ahead < CUT_REACH {
            ahead += 1;
            if (at(ahead) - next) * sign > 0.0 {
                (next, peak) = (at(ahead), ahead);
            } else if (next - at(ahead)) * sign > prominence {
                break;
            }
        }
        // The light around the code may have no end: its level is what is met within a module and a half.
        if edge == 2 {
            let end = (k + CUT_SAMPLES * 3 / 2).min(CUT_REACH);
            (next, peak) =
                (k..=end).map(|k| (at(k), k)).fold((next.min(at(k)), k), |a, b| if b.0 > a.0 { b } else { a });
        }
        let halfway = (extreme + next) / 2.0;
        let mut crossing = place;
        while crossing < peak && (at(crossing + 1) - halfway) * sign < 0.0 {
            crossing += 1;
        }
        let (a, b) = (at(crossing), at((crossing + 1).min(CUT_REACH)));
        let between = if (b - a).abs() > f32::EPSILON { ((halfway - a) / (b - a)).clamp(0.0, 1.0) } else { 0.5 };
        edges[edge] = crossing as f32 + between;
        (extreme, place, k) = (next, peak, peak);
        edge += 1;
    }
    Some(edges)
}

/// Along a row and a column, again and again from where the last one found the middle, and along both diagonals.
fn look_closely(level: &Level, x: f32, y: f32, module: f32, is_dark: bool) -> Option<Finder> {
    const DIAGONAL: f32 = std::f32::consts::FRAC_1_SQRT_2;
    let (mut x, mut y) = (x, y);
    let mut across = cut(level, (x, y), (1.0, 0.0), module, is_dark)?;
    x += across.offset;
    let mut down = cut(level, (x, y), (0.0, 1.0), across.module, is_dark)?;
    y += down.offset;
    // In a pattern turned by 30 degrees each round leaves a third of the error.
    for _ in 0..2 {
        across = cut(level, (x, y), (1.0, 0.0), across.module, is_dark)?;
        x += across.offset;
        down = cut(level, (x, y), (0.0, 1.0), down.module, is_dark)?;
        y += down.offset;
    }
    if across.module > down.module * 1.8 || down.module > across.module * 1.8 {
        return None;
    }
    let module = (across.module + down.module) / 2.0;
    // A square stands on its corner or on its side: one of the two is longer by up to a half.
    let diagonals = [(DIAGONAL, DIAGONAL), (DIAGONAL, -DIAGONAL)];
    let seen = diagonals.iter().filter(|&&way| {
        let expected = [module * 1.4, module, module * 0.75];
        expected.iter().any(|&module| cut(level, (x, y), way, module, is_dark).is_some())
    });
    (seen.count() == 2).then_some(Finder { x, y, module, is_dark, hits: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_pixels_at_once_are_eight_comparisons(pixels: [u8; 8], threshold: u8) {
            let expected = pixels.iter().enumerate().fold(0, |bits, (k, &pixel)| bits | u64::from(pixel < threshold) << k);
            prop_assert_eq!(darker(u64::from_le_bytes(pixels), threshold), expected);
        }

        #[test]
        fn edges_are_where_the_colour_changes(row in proptest::collection::vec(any::<u8>(), 8..90), threshold: u8) {
            let thresholds = vec![threshold; row.len() / BLOCK];
            let mut found = Vec::new();
            let starts_dark = edges(&row, &thresholds, &mut found);
            let dark: Vec<bool> = row.iter().map(|&pixel| pixel < threshold).collect();
            prop_assert_eq!(starts_dark, dark[0]);
            let mut expected: Vec<u16> = vec![0];
            expected.extend((1..row.len()).filter(|&x| dark[x] != dark[x - 1]).map(|x| x as u16));
            expected.push(row.len() as u16);
            prop_assert_eq!(found, expected);
        }
    }

    /// A pattern turned by `degrees`, drawn with 4x4 samples a pixel.
    fn drawn(module: f32, degrees: f32, blur: usize) -> Level {
        let (width, height) = (160, 120);
        let (sin, cos) = degrees.to_radians().sin_cos();
        let mut pixels: Vec<f32> = (0..width * height)
            .map(|i| {
                let shade = |k: usize| {
                    let (x, y) = (
                        (i % width) as f32 + (k % 4) as f32 / 4.0 + 0.125,
                        (i / width) as f32 + (k / 4) as f32 / 4.0 + 0.125,
                    );
                    let (x, y) = ((x - 80.3) / module, (y - 61.6) / module);
                    let distance = (x * cos + y * sin).abs().max((y * cos - x * sin).abs());
                    if distance < 1.5 || (2.5..3.5).contains(&distance) { 40.0 } else { 200.0 }
                };
                (0..16).map(shade).sum::<f32>() / 16.0
            })
            .collect();
        for _ in 0..blur {
            let from = pixels.clone();
            for y in 1..height - 1 {
                for x in 1..width - 1 {
                    let i = y * width + x;
                    pixels[i] = (from[i] * 4.0 + from[i - 1] + from[i + 1] + from[i - width] + from[i + width]) / 8.0;
                }
            }
        }
        Level { width, height, pixels: pixels.iter().map(|&v| v as u8).collect() }
    }

    #[test]
    fn patterns_are_found_where_they_are_turned_small_and_soft() {
        let mut search = Search::default();
        for (module, blur) in [(2.0, 1), (2.5, 2), (4.0, 4), (9.0, 6)] {
            for degrees in [0.0, 10.0, 30.0, 45.0, 71.0] {
                let level = drawn(module, degrees, blur);
                search.run(&level);
                let [found] = search.found[..] else { panic!("{module} {degrees}: {:?}", search.found) };
                assert!((found.x - 80.3).abs() < 0.5 && (found.y - 61.6).abs() < 0.5, "{module} {degrees}: {found:?}");
                assert!(
                    (0.9..1.6).contains(&(found.module / module)) && found.is_dark,
                    "{module} {degrees}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn stripes_end_the_search_within_its_limits() {
        let pixels = (0..640 * 480).map(|i| if i % 640 % 14 / 2 % 2 == 0 { 0 } else { 255 }).collect();
        let mut search = Search::default();
        search.run(&Level { width: 640, height: 480, pixels });
        assert!(search.found.len() <= FINDERS_MAX);
    }
}
