//! From three finder patterns to the modules of a code.
//!
//! What a code of a given size must show is known for a tenth to a third of its modules: finder patterns, timing patterns,
//! alignment patterns. So a grid is laid over the picture such that those modules are as dark and as light as they should
//! be (their normalised correlation is the measure of every choice here: which patterns belong together, how many
//! modules the code has, where its fourth corner is), and then the same known modules teach an equaliser: the weights of
//! a module's own brightness and its eight neighbours', and of a slope of light, that come nearest to the known
//! values (least squares). It undoes blur and the last fraction of a pixel, for this one code in this one picture.
//!
//! Sources: ISO/IEC 18004:2024, 6.3 (function patterns), annex E (positions of alignment patterns).
//!
//! **Never:** error correction and what the bits mean; `rxing` does that.

#![forbid(unsafe_code)]

use super::finder::{Finder, cut};
use super::levels::Level;

/// Sides of codes in modules: versions 1 to 40.
pub(super) const SIDE_MIN: usize = 21;
pub(super) const SIDE_MAX: usize = 177;

/// A grid that agrees less with what is known is no code: noise reaches 0.3, the softest code that was ever read 0.5.
const AGREEMENT_MIN: f32 = 0.4;

/// Three finder patterns that may be the corners of a code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Triple {
    pub(super) corner: Finder,
    pub(super) right: Finder,
    pub(super) below: Finder,
    /// How far from a square seen straight; less is better.
    badness: f32,
}

impl Triple {
    /// The same in a picture `factor` times as large.
    pub(super) fn scaled(&self, factor: f32) -> Self {
        let scaled = |finder: Finder| Finder {
            x: finder.x * factor,
            y: finder.y * factor,
            module: finder.module * factor,
            ..finder
        };
        Self { corner: scaled(self.corner), right: scaled(self.right), below: scaled(self.below), ..*self }
    }
}

/// Every plausible triple, best first, at most `most`.
pub(super) fn triples(finders: &[Finder], most: usize) -> Vec<Triple> {
    let mut triples: Vec<Triple> = Vec::new();
    for (i, corner) in finders.iter().enumerate() {
        for (j, right) in finders.iter().enumerate() {
            for (k, below) in finders.iter().enumerate() {
                if i == j || j == k || i == k {
                    continue;
                }
                if let Some(badness) = badness(corner, right, below) {
                    triples.push(Triple { corner: *corner, right: *right, below: *below, badness });
                }
            }
        }
    }
    triples.sort_by(|a, b| a.badness.total_cmp(&b.badness));
    triples.truncate(most);
    triples
}

fn badness(corner: &Finder, right: &Finder, below: &Finder) -> Option<f32> {
    let modules = [corner.module, right.module, below.module];
    let (least, most) = modules.iter().fold((f32::MAX, 0.0_f32), |(a, b), &m| (a.min(m), b.max(m)));
    if most > least * 1.8 || corner.is_dark != right.is_dark || corner.is_dark != below.is_dark {
        return None;
    }
    let (ax, ay) = (right.x - corner.x, right.y - corner.y);
    let (bx, by) = (below.x - corner.x, below.y - corner.y);
    // Mirrored codes are read as they are found: their bits come transposed.
    if ax * by - ay * bx <= 0.0 {
        return None;
    }
    let (a, b) = (ax.hypot(ay), bx.hypot(by));
    let cosine = (ax * bx + ay * by) / (a * b);
    let ratio = a.max(b) / a.min(b);
    // A pattern on its corner is cut 1.4 times as long.
    let modules = (a + b) / 2.0 / ((corner.module + right.module + below.module) / 3.0);
    let is_code = cosine.abs() < 0.5 && ratio < 1.7 && (11.0..260.0).contains(&modules);
    is_code.then_some(cosine.abs() * 2.0 + (ratio - 1.0) + (most / least - 1.0) + modules / 200.0)
}

/// The perspective map from modules to pixels: `x = (a u + b v + c) / (g u + h v + 1)`, and so on.
#[derive(Clone, Copy, Debug)]
struct Map {
    x: [f32; 3],
    y: [f32; 3],
    w: [f32; 2],
}

impl Map {
    /// The map that takes four points in modules to four in pixels; both in order around.
    fn new(modules: [(f32, f32); 4], pixels: [(f32, f32); 4]) -> Option<Self> {
        let mut rows = [[0.0_f64; 9]; 8];
        for (k, (&(u, v), &(x, y))) in modules.iter().zip(&pixels).enumerate() {
            let (u, v, x, y) = (f64::from(u), f64::from(v), f64::from(x), f64::from(y));
            rows[2 * k] = [u, v, 1.0, 0.0, 0.0, 0.0, -u * x, -v * x, x];
            rows[2 * k + 1] = [0.0, 0.0, 0.0, u, v, 1.0, -u * y, -v * y, y];
        }
        let s = solve(&mut rows)?.map(|value| value as f32);
        Some(Self { x: [s[0], s[1], s[2]], y: [s[3], s[4], s[5]], w: [s[6], s[7]] })
    }

    fn point(&self, u: f32, v: f32) -> (f32, f32) {
        let w = 1.0 / (self.w[0] * u + self.w[1] * v + 1.0);
        ((self.x[0] * u + self.x[1] * v + self.x[2]) * w, (self.y[0] * u + self.y[1] * v + self.y[2]) * w)
    }
}

/// Gauss's elimination with pivots; the last column is the right side.
fn solve<const N: usize, const M: usize>(rows: &mut [[f64; M]; N]) -> Option<[f64; N]> {
    for i in 0..N {
        let pivot = (i..N).max_by(|&a, &b| rows[a][i].abs().total_cmp(&rows[b][i].abs()))?;
        rows.swap(i, pivot);
        let upper = rows[i];
        if upper[i].abs() < 1e-9 || !upper[i].is_finite() {
            return None;
        }
        for row in rows.iter_mut().skip(i + 1) {
            let factor = row[i] / upper[i];
            for (value, above) in row.iter_mut().zip(upper).skip(i) {
                *value -= factor * above;
            }
        }
    }
    let mut solution = [0.0; N];
    for i in (0..N).rev() {
        let known: f64 = (i + 1..N).map(|k| rows[i][k] * solution[k]).sum();
        solution[i] = (rows[i][N] - known) / rows[i][i];
    }
    Some(solution)
}

/// A module whose colour is known beforehand: column, row, 1 for light and -1 for dark.
type Known = (u8, u8, f32);

/// Everything that a code of `side` modules must show, the quiet zone left out.
fn function_patterns(side: usize, known: &mut Vec<Known>) {
    known.clear();
    let sign = |is_dark: bool| if is_dark { -1.0 } else { 1.0 };
    // Finder patterns with the light line around them, towards the inside.
    for (left, top) in [(0, 0), (side - 7, 0), (0, side - 7)] {
        for row in top.saturating_sub(1)..(top + 8).min(side) {
            for column in left.saturating_sub(1)..(left + 8).min(side) {
                let distance = (column.abs_diff(left + 3)).max(row.abs_diff(top + 3));
                known.push((column as u8, row as u8, sign(distance != 2 && distance != 4)));
            }
        }
    }
    for k in 8..side - 8 {
        known.push((k as u8, 6, sign(k % 2 == 0)));
        known.push((6, k as u8, sign(k % 2 == 0)));
    }
    let places = alignment_places(side);
    let last = places.last().copied().unwrap_or(0);
    for &y in &places {
        for &x in &places {
            if (x == 6 && (y == 6 || y == last)) || (y == 6 && x == last) {
                continue;
            }
            for row in y - 2..=y + 2 {
                for column in x - 2..=x + 2 {
                    let distance = (column.abs_diff(x)).max(row.abs_diff(y));
                    known.push((column as u8, row as u8, sign(distance != 1)));
                }
            }
        }
    }
}

/// Rows and columns of the middles of alignment patterns, from the first timing pattern on. They are equally far apart
/// but for the first distance, which takes up what is left.
fn alignment_places(side: usize) -> Vec<usize> {
    let version = (side - 17) / 4;
    if version == 1 {
        return Vec::new();
    }
    let gaps = version / 7 + 1;
    let span = side - 13;
    // The next even number; version 32 is the one exception of annex E's table.
    let step = if version == 32 { 26 } else { span.div_ceil(gaps).next_multiple_of(2) };
    let mut places: Vec<usize> = (0..gaps).map(|k| side - 7 - k * step).collect();
    places.push(6);
    places.reverse();
    places
}

/// A grid laid over a code, and how well it agrees with what is known (-1.0..=1.0).
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) side: usize,
    map: Map,
    agreement: f32,
    is_dark: bool,
    pixels: [(f32, f32); 4],
}

impl Grid {
    /// The code's four corners in pixels, clockwise if it is not mirrored.
    pub(super) fn corners(&self) -> [(f32, f32); 4] {
        let far = self.side as f32;
        [(0.0, 0.0), (far, 0.0), (far, far), (0.0, far)].map(|(u, v)| self.map.point(u, v))
    }
}

/// Memory for laying grids, used again from code to code.
#[derive(Debug, Default)]
pub(super) struct Layer {
    known: Vec<Known>,
    samples: Vec<f32>,
    equalised: Vec<f32>,
    patch: Vec<f32>,
}

/// Sides tried for a triple: the estimate's neighbours.
const SIDES_TRIED: usize = 3;

/// Best matches of an alignment pattern that are sorted out into places.
const MATCHES_KEPT: usize = 48;

/// Places tried for the alignment pattern.
const CORNERS_TRIED: usize = 4;

impl Layer {
    /// The best grid over `triple`, whose coordinates are pixels of `level`; `None` if there is no code.
    pub(super) fn lay(&mut self, level: &Level, triple: &Triple) -> Option<Grid> {
        let [corner, right, below] = [triple.corner, triple.right, triple.below];
        let across = modules_between(level, &corner, &right)?;
        let down = modules_between(level, &corner, &below)?;
        let estimate = (across + down) / 2.0 + 7.0;
        let slack = 2.5 + estimate * 0.1;
        let mut sides: Vec<usize> = (SIDE_MIN..=SIDE_MAX).step_by(4).collect();
        sides.retain(|&side| (side as f32 - estimate).abs() <= slack);
        sides.sort_by(|&a, &b| (a as f32 - estimate).abs().total_cmp(&(b as f32 - estimate).abs()));
        sides.truncate(SIDES_TRIED);
        let mut best: Option<Grid> = None;
        for side in sides {
            function_patterns(side, &mut self.known);
            let corners = self.fourth_corners(level, triple, side);
            for pixels in corners {
                let Some(grid) = self.grid(level, side, corner.is_dark, pixels) else { continue };
                if best.is_none_or(|best| grid.agreement > best.agreement) {
                    best = Some(grid);
                }
            }
        }
        let best = best.filter(|best| best.agreement >= AGREEMENT_MIN * 0.75)?;
        function_patterns(best.side, &mut self.known);
        let refined = self.refine(level, best);
        (refined.agreement >= AGREEMENT_MIN).then_some(refined)
    }

    fn grid(&self, level: &Level, side: usize, is_dark: bool, pixels: [(f32, f32); 4]) -> Option<Grid> {
        let map = Map::new(anchors(side), pixels)?;
        let agreement = self.agreement(level, &map) * if is_dark { 1.0 } else { -1.0 };
        Some(Grid { side, map, agreement, is_dark, pixels })
    }

    /// Normalised correlation of the known modules with what the picture shows there.
    fn agreement(&self, level: &Level, map: &Map) -> f32 {
        let (mut sum, mut squares, mut signs, mut products) = (0.0, 0.0, 0.0, 0.0);
        for &(column, row, sign) in &self.known {
            let (x, y) = map.point(f32::from(column) + 0.5, f32::from(row) + 0.5);
            let value = level.at(x, y);
            sum += value;
            squares += value * value;
            signs += sign;
            products += value * sign;
        }
        let count = self.known.len() as f32;
        let variance = squares - sum * sum / count;
        let spread = count - signs * signs / count;
        let agreement = (products - sum * signs / count) / (variance * spread).sqrt();
        if agreement.is_finite() { agreement } else { -1.0 }
    }

    /// Candidates for the four anchors: where something like an alignment pattern is, near where it should be.
    fn fourth_corners(&mut self, level: &Level, triple: &Triple, side: usize) -> Vec<[(f32, f32); 4]> {
        let [corner, right, below] = [triple.corner, triple.right, triple.below];
        let span = (side - 7) as f32;
        let a = ((right.x - corner.x) / span, (right.y - corner.y) / span);
        let b = ((below.x - corner.x) / span, (below.y - corner.y) / span);
        let known = [(corner.x, corner.y), (right.x, right.y)];
        let at = |u: f32, v: f32| (corner.x + u * a.0 + v * b.0, corner.y + u * a.1 + v * b.1);
        if side == SIDE_MIN {
            return vec![[known[0], known[1], at(span, span), (below.x, below.y)]];
        }
        // Perspective moves it by up to a sixth of the code. Sampled at every half module.
        let reach = (side as f32 * 0.16) as usize + 2;
        let width = 4 * reach + 9;
        let middle = (width / 2) as f32;
        self.patch.clear();
        for v in 0..width {
            for u in 0..width {
                let (x, y) = at(span - 3.0 + (u as f32 - middle) / 2.0, span - 3.0 + (v as f32 - middle) / 2.0);
                self.patch.push(level.at(x, y));
            }
        }
        let sign = if corner.is_dark { 1.0 } else { -1.0 };
        let mut matches: Vec<(f32, usize, usize)> = Vec::new();
        for v in 4..width - 4 {
            for u in 4..width - 4 {
                let ring = |step: usize| {
                    let (l, t, r, b) = (u - step, v - step, u + step, v + step);
                    let edge = |k: usize| {
                        self.patch[t * width + l + k]
                            + self.patch[b * width + r - k]
                            + self.patch[(t + k) * width + r]
                            + self.patch[(b - k) * width + l]
                    };
                    (0..2 * step).step_by(2).map(edge).sum::<f32>()
                };
                let light = ring(2) / 8.0;
                let dark = (ring(4) + self.patch[v * width + u]) / 17.0;
                matches.push(((light - dark) * sign, u, v));
            }
        }
        // The best of them are in a few clusters.
        if matches.len() > MATCHES_KEPT {
            matches.select_nth_unstable_by(MATCHES_KEPT, |a, b| b.0.total_cmp(&a.0));
            matches.truncate(MATCHES_KEPT);
        }
        matches.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for (strength, u, v) in matches {
            if strength <= 0.0 || taken.len() >= CORNERS_TRIED {
                break;
            }
            if taken.iter().all(|&(x, y)| x.abs_diff(u) > 2 || y.abs_diff(v) > 2) {
                taken.push((u, v));
            }
        }
        // The estimate itself too, in case the pattern is spoilt.
        taken.push((width / 2, width / 2));
        let place = |(u, v): (usize, usize)| {
            let fourth = at(span - 3.0 + (u as f32 - middle) / 2.0, span - 3.0 + (v as f32 - middle) / 2.0);
            [known[0], known[1], fourth, (below.x, below.y)]
        };
        taken.into_iter().map(place).collect()
    }

    /// Moves the four anchors, by ever smaller steps, as long as the grid agrees better.
    fn refine(&self, level: &Level, mut grid: Grid) -> Grid {
        let [a, b, ..] = grid.pixels;
        let module = (a.0 - b.0).hypot(a.1 - b.1) / (grid.side - 7) as f32;
        for step in [0.5, 0.25, 0.12] {
            let step = step * module;
            for _ in 0..4 {
                let before = grid.agreement;
                for anchor in [2, 0, 1, 3] {
                    for (dx, dy) in [(step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step)] {
                        let mut pixels = grid.pixels;
                        pixels[anchor].0 += dx;
                        pixels[anchor].1 += dy;
                        let moved = self.grid(level, grid.side, grid.is_dark, pixels);
                        grid = moved.filter(|moved| moved.agreement > grid.agreement).unwrap_or(grid);
                    }
                }
                if grid.agreement < before + 0.002 {
                    break;
                }
            }
        }
        grid
    }

    /// The modules under `grid`, dark ones true, row after row: equalised, and as they are. `lay` must have made the grid
    /// just before.
    pub(super) fn sample(&mut self, level: &Level, grid: &Grid, way: Way, bits: &mut Vec<bool>) -> bool {
        // One module more on each side, so that each has its neighbours.
        let side = grid.side;
        let width = side + 2;
        self.samples.clear();
        for row in 0..width {
            for column in 0..width {
                let (x, y) = grid.map.point(column as f32 - 0.5, row as f32 - 0.5);
                self.samples.push(level.at(x, y));
            }
        }
        bits.clear();
        match way {
            Way::Equalised => {
                let Some(weights) = self.teach(side) else { return false };
                self.equalised.clear();
                for row in 0..side {
                    for column in 0..side {
                        let inputs = inputs(&self.samples, side, column, row);
                        self.equalised.push(inputs.iter().zip(&weights).map(|(a, b)| a * b).sum());
                    }
                }
                bits.extend(self.equalised.iter().map(|&value| value < 0.0));
            }
            Way::Plain => {
                // The threshold is the mean of what is around, in a window with enough of both colours.
                const REACH: usize = 5;
                for row in 0..side {
                    for column in 0..side {
                        let (top, bottom) = (row.saturating_sub(REACH), (row + REACH + 1).min(side));
                        let (left, right) = (column.saturating_sub(REACH), (column + REACH + 1).min(side));
                        let line = |row: usize| {
                            self.samples[(row + 1) * width + left + 1..(row + 1) * width + right + 1].iter()
                        };
                        let sum: f32 = (top..bottom).flat_map(line).sum();
                        let mean = sum / ((bottom - top) * (right - left)) as f32;
                        bits.push((self.samples[(row + 1) * width + column + 1] < mean) == grid.is_dark);
                    }
                }
            }
        }
        true
    }

    /// The weights that come nearest to the known modules: ridge regression, solved by its normal equations.
    fn teach(&self, side: usize) -> Option<[f32; INPUTS]> {
        let mut rows = [[0.0_f64; INPUTS + 1]; INPUTS];
        for &(column, row, sign) in &self.known {
            let inputs = inputs(&self.samples, side, column.into(), row.into());
            for i in 0..INPUTS {
                for j in 0..INPUTS {
                    rows[i][j] += f64::from(inputs[i] * inputs[j]);
                }
                rows[i][INPUTS] += f64::from(inputs[i] * sign);
            }
        }
        // A little of everything is taken for noise, so that no weight grows beyond reason.
        for (i, row) in rows.iter_mut().enumerate() {
            row[i] += 0.002 * row[i] + 0.01;
        }
        solve(&mut rows).map(|weights| weights.map(|weight| weight as f32))
    }
}

/// How modules are told from brightness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the equaliser that the known modules taught.
    Equalised,
    /// Against the mean around.
    Plain,
}

/// Nine neighbours, a constant, and a slope in both directions.
const INPUTS: usize = 12;

fn inputs(samples: &[f32], side: usize, column: usize, row: usize) -> [f32; INPUTS] {
    let width = side + 2;
    let mut inputs = [1.0; INPUTS];
    for (k, input) in inputs.iter_mut().take(9).enumerate() {
        // Near 1, like the other inputs.
        *input = samples[(row + k / 3) * width + column + k % 3] / 64.0 - 2.0;
    }
    inputs[10] = column as f32 / side as f32 * 2.0 - 1.0;
    inputs[11] = row as f32 / side as f32 * 2.0 - 1.0;
    inputs
}

/// Where the four points that hold a grid are in its modules: the middles of the finder patterns and of the last alignment
/// pattern, or for the smallest code where a fourth finder pattern would be.
fn anchors(side: usize) -> [(f32, f32); 4] {
    let far = side as f32 - 3.5;
    let fourth = if side == SIDE_MIN { far } else { far - 3.0 };
    [(3.5, 3.5), (far, 3.5), (fourth, fourth), (3.5, far)]
}

/// How many modules lie between the middles of two finder patterns, by their size along the line between them.
fn modules_between(level: &Level, a: &Finder, b: &Finder) -> Option<f32> {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let length = dx.hypot(dy);
    let way = (dx / length, dy / length);
    // A row or column cuts a turned pattern longer than its side.
    let turn = way.0.abs().max(way.1.abs());
    let size = |finder: &Finder| {
        cut(level, (finder.x, finder.y), way, finder.module * turn, finder.is_dark).map(|cut| cut.module)
    };
    // One of the two may be spoilt.
    let module = match (size(a), size(b)) {
        (Some(a), Some(b)) => (a + b) / 2.0,
        (size, other) => size.or(other)?,
    };
    (module > 0.5).then_some(length / module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_patterns_are_where_the_standard_puts_them() {
        assert_eq!(alignment_places(21), []);
        for (version, places) in [
            (2, vec![6, 18]),
            (6, vec![6, 34]),
            (7, vec![6, 22, 38]),
            (14, vec![6, 26, 46, 66]),
            (15, vec![6, 26, 48, 70]),
            (16, vec![6, 26, 50, 74]),
            (22, vec![6, 26, 50, 74, 98]),
            (32, vec![6, 34, 60, 86, 112, 138]),
            (36, vec![6, 24, 50, 76, 102, 128, 154]),
            (39, vec![6, 26, 54, 82, 110, 138, 166]),
            (40, vec![6, 30, 58, 86, 114, 142, 170]),
        ] {
            assert_eq!(alignment_places(17 + 4 * version), places, "version {version}");
        }
    }

    /// The encoder of another hand draws the same.
    #[test]
    fn known_modules_are_those_of_drawn_codes() {
        let mut known = Vec::new();
        for version in 1..=40 {
            let code =
                qrcode::QrCode::with_version(b"1", qrcode::Version::Normal(version), qrcode::EcLevel::L).unwrap();
            let side = code.width();
            let colours = code.to_colors();
            function_patterns(side, &mut known);
            for &(column, row, sign) in &known {
                let is_dark = colours[usize::from(row) * side + usize::from(column)] == qrcode::Color::Dark;
                assert_eq!(is_dark, sign < 0.0, "version {version}: {column},{row}");
            }
        }
    }

    #[test]
    fn a_map_takes_its_points_to_their_places() {
        let pixels = [(100.0, 50.0), (210.0, 60.0), (190.0, 170.0), (95.0, 150.0)];
        let map = Map::new(anchors(41), pixels).unwrap();
        for ((u, v), (x, y)) in anchors(41).into_iter().zip(pixels) {
            let (got_x, got_y) = map.point(u, v);
            assert!((got_x - x).abs() < 0.01 && (got_y - y).abs() < 0.01, "{got_x} {got_y}");
        }
        assert!(Map::new(anchors(41), [(1.0, 1.0); 4]).is_none(), "all in one point");
    }
}
