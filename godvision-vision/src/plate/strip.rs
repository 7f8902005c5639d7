//! A plate made flat for the reader: [`Strip`], 48 rows high, its one or two lines side by side.
//!
//! The four corners give a projective map (Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989). Lines
//! are told by where bright and dark change along the rows: one band of writing, or two with a gap between. Two are
//! laid side by side, so that the reader runs once.
//!
//! **Never:** more than [`WIDTH_MAX`] columns, which bounds the reader's time.

#![forbid(unsafe_code)]

use super::detect::PlateBox;
use super::format::Layout;
use crate::plane::LumaView;

/// Rows of a strip: what PP-OCR's recogniser takes.
pub(crate) const ROWS: usize = 48;

/// Most columns of a strip, for one that is long.
pub(crate) const WIDTH_MAX: usize = 256;

/// Fewest: the recogniser halves eight times.
const WIDTH_MIN: usize = 64;

/// Rows of the flat plate in which lines are looked for.
const FLAT_ROWS: usize = 96;

/// Most columns of the flat plate.
const FLAT_WIDTH_MAX: usize = 512;

/// How much more than the corners say is taken, in shares of width and height: corners are off by a pixel or two of the
/// reduced picture, and a cut letter is a lost one.
const MARGIN: [f32; 2] = [0.05, 0.10];

/// Share of its width that a line keeps. The recogniser's time is its width, and plates have wide letters; but a region's
/// small digits run together if they are squeezed. Of 240 drawn plates 0.8 read 206, 1.0 217 and 1.2 219, each step a
/// fifth slower.
const SQUEEZE: f32 = 1.0;

/// A row belongs to a line if it has this share of the changes of the busiest rows.
const BUSY: f32 = 0.4;

/// A line has at least this share of the plate's height; what is lower is a state's name, or a region's.
const LINE_MIN: f32 = 0.24;

/// Plates with at least this ratio of width to height have one line.
const ONE_LINE_RATIO: f32 = 3.0;

/// A plate's writing, row-major, [`ROWS`] rows, 0..=255.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strip {
    pub(crate) pixels: Vec<f32>,
    pub(crate) width: usize,
    /// Lines of writing laid side by side.
    pub(crate) lines: usize,
    /// Whether it has the proportions of a European plate of one line.
    pub(crate) is_long: bool,
}

impl Strip {
    /// What it looks like. Most of a plate is its ground: if the mean is nearer to the brightest than to the darkest, the
    /// writing is dark.
    pub(crate) fn layout(&self) -> Layout {
        let mut sorted = self.pixels.clone();
        sorted.sort_by(f32::total_cmp);
        let (Some(&dark), Some(&bright)) = (sorted.get(sorted.len() / 20), sorted.get(sorted.len() * 19 / 20)) else {
            return Layout::Unknown;
        };
        let mean = sorted.iter().sum::<f32>() / sorted.len() as f32;
        if self.lines == 1 && mean * 2.0 > dark + bright { Layout::OneDarkLine } else { Layout::Unknown }
    }

    /// Takes `plate` out of `luma`; `None` if it is smaller than a pixel or folded.
    pub(crate) fn of(luma: LumaView<'_>, plate: &PlateBox) -> Option<Self> {
        let (width, height) = (plate.width(), plate.height());
        if width.is_nan() || height.is_nan() || width < 8.0 || height < 4.0 {
            return None;
        }
        let ratio = width / height;
        let columns = ((FLAT_ROWS as f32 * ratio) as usize).clamp(FLAT_ROWS, FLAT_WIDTH_MAX);
        let flat = flatten(luma, plate, columns)?;
        let lines = if ratio >= ONE_LINE_RATIO { vec![[0, FLAT_ROWS]] } else { lines(&flat, columns) };
        let mut strip = Self { lines: lines.len(), is_long: ratio >= ONE_LINE_RATIO, ..Self::default() };
        let room = WIDTH_MAX / lines.len();
        let widths: Vec<usize> = lines
            .iter()
            .map(|[top, bottom]| {
                let natural = columns as f32 * ROWS as f32 / (bottom - top) as f32 * SQUEEZE;
                (natural as usize).clamp(WIDTH_MIN, room).next_multiple_of(8)
            })
            .collect();
        strip.width = widths.iter().sum();
        strip.pixels.reserve(strip.width * ROWS);
        for y in 0..ROWS {
            for ([top, bottom], &line_width) in lines.iter().zip(&widths) {
                let from = *top as f32 + (y as f32 + 0.5) * (bottom - top) as f32 / ROWS as f32 - 0.5;
                let step = columns as f32 / line_width as f32;
                strip
                    .pixels
                    .extend((0..line_width).map(|x| sample(&flat, columns, (x as f32 + 0.5) * step - 0.5, from)));
            }
        }
        Some(strip)
    }
}

/// The plate as an upright rectangle of [`FLAT_ROWS`] rows.
fn flatten(luma: LumaView<'_>, plate: &PlateBox, columns: usize) -> Option<Vec<f32>> {
    let map = Projection::of(plate.corners)?;
    // Where the plate has more pixels than the rectangle, each pixel of that is the mean of several.
    let finer = ((plate.height() / FLAT_ROWS as f32).round() as usize).clamp(1, 4);
    let share = |index: usize, sub: usize, count: usize, margin: f32| {
        let place = (index as f32 + (sub as f32 + 0.5) / finer as f32) / count as f32;
        place * (1.0 + 2.0 * margin) - margin
    };
    let mut flat = Vec::with_capacity(columns * FLAT_ROWS);
    for y in 0..FLAT_ROWS {
        for x in 0..columns {
            let mut sum = 0.0;
            for sub in 0..finer * finer {
                let u = share(x, sub % finer, columns, MARGIN[0]);
                let v = share(y, sub / finer, FLAT_ROWS, MARGIN[1]);
                let [px, py] = map.at(u, v);
                sum += bilinear(luma, px - 0.5, py - 0.5);
            }
            flat.push(sum / (finer * finer) as f32);
        }
    }
    Some(flat)
}

/// From the unit square to four corners.
struct Projection([f32; 8]);

impl Projection {
    fn of([[x0, y0], [x1, y1], [x2, y2], [x3, y3]]: [[f32; 2]; 4]) -> Option<Self> {
        let (dx1, dx2, sx) = (x1 - x2, x3 - x2, x0 - x1 + x2 - x3);
        let (dy1, dy2, sy) = (y1 - y2, y3 - y2, y0 - y1 + y2 - y3);
        let area = dx1 * dy2 - dx2 * dy1;
        let (g, h) = ((sx * dy2 - dx2 * sy) / area, (dx1 * sy - sx * dy1) / area);
        let map = [x1 - x0 + g * x1, x3 - x0 + h * x3, x0, y1 - y0 + g * y1, y3 - y0 + h * y3, y0, g, h];
        map.iter().all(|value| value.is_finite()).then_some(Self(map))
    }

    fn at(&self, u: f32, v: f32) -> [f32; 2] {
        let [a, b, c, d, e, f, g, h] = self.0;
        let depth = g * u + h * v + 1.0;
        [(a * u + b * v + c) / depth, (d * u + e * v + f) / depth]
    }
}

/// The brightness between pixels; beyond the edge, that of the edge.
fn bilinear(luma: LumaView<'_>, x: f32, y: f32) -> f32 {
    // A place that is no number becomes 0 by the conversion.
    let (x, y) = (x.clamp(0.0, (luma.width() - 1) as f32), y.clamp(0.0, (luma.height() - 1) as f32));
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(luma.width() - 1), (top + 1).min(luma.height() - 1));
    let (upper, lower) = (luma.row(top), luma.row(bottom));
    let (fx, fy) = (x - left as f32, y - top as f32);
    let mix = |row: &[u8]| f32::from(row[left]) * (1.0 - fx) + f32::from(row[right]) * fx;
    mix(upper) * (1.0 - fy) + mix(lower) * fy
}

fn sample(flat: &[f32], columns: usize, x: f32, y: f32) -> f32 {
    let (x, y) = (x.clamp(0.0, (columns - 1) as f32), y.clamp(0.0, (FLAT_ROWS - 1) as f32));
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(columns - 1), (top + 1).min(FLAT_ROWS - 1));
    let (fx, fy) = (x - left as f32, y - top as f32);
    let mix = |row: usize| flat[row * columns + left] * (1.0 - fx) + flat[row * columns + right] * fx;
    mix(top) * (1.0 - fy) + mix(bottom) * fy
}

/// The rows `[top, bottom]` of each line of writing, one or two.
fn lines(flat: &[f32], columns: usize) -> Vec<[usize; 2]> {
    // The frame and what lies beyond it change too: the outermost tenth does not count.
    let edge = columns / 10;
    let busy: Vec<f32> = flat
        .chunks_exact(columns)
        .map(|row| row[edge..columns - edge].windows(3).map(|three| (three[2] - three[0]).abs()).sum())
        .collect();
    let smooth: Vec<f32> = (0..busy.len())
        .map(|y| {
            let around = &busy[y.saturating_sub(2)..(y + 3).min(busy.len())];
            around.iter().sum::<f32>() / around.len() as f32
        })
        .collect();
    let mut sorted = smooth.clone();
    sorted.sort_by(f32::total_cmp);
    let level = sorted[sorted.len() * 9 / 10] * BUSY;
    let mut runs: Vec<[usize; 2]> = Vec::new();
    for (y, &value) in smooth.iter().enumerate() {
        match runs.last_mut() {
            _ if value < level => {}
            Some(run) if run[1] == y => run[1] = y + 1,
            _ => runs.push([y, y + 1]),
        }
    }
    runs.retain(|[top, bottom]| (bottom - top) as f32 >= LINE_MIN * FLAT_ROWS as f32);
    // Writing needs air around it to be read.
    let air = FLAT_ROWS / 16;
    let with_air = |[top, bottom]: [usize; 2]| [top.saturating_sub(air), (bottom + air).min(FLAT_ROWS)];
    match runs[..] {
        [one] if one[1] - one[0] < FLAT_ROWS * 7 / 10 => vec![with_air(one)],
        [upper, lower] => vec![with_air(upper), with_air(lower)],
        _ => vec![[0, FLAT_ROWS / 2], [FLAT_ROWS / 2, FLAT_ROWS]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upright(left: f32, top: f32, width: f32, height: f32) -> PlateBox {
        let (right, bottom) = (left + width, top + height);
        PlateBox { corners: [[left, top], [right, top], [right, bottom], [left, bottom]], score: 1.0 }
    }

    #[test]
    fn a_slanted_plate_becomes_upright() {
        // Columns of brightness that lean: on the plate they are upright.
        let data: Vec<u8> = (0..200 * 100).map(|i| ((i % 200 + i / 200) % 256) as u8).collect();
        let view = LumaView::new(&data, 200, 100, 200).unwrap();
        let corners = [[50.0, 20.0], [170.0, 20.0], [140.0, 50.0], [20.0, 50.0]];
        let strip = Strip::of(view, &PlateBox { corners, score: 1.0 }).unwrap();
        assert_eq!((strip.lines, strip.pixels.len()), (1, strip.width * ROWS));
        for y in 5..ROWS - 5 {
            let pixel = strip.pixels[y * strip.width + strip.width / 2];
            assert!((pixel - 130.0).abs() < 3.0, "row {y}: {pixel}");
        }
    }

    #[test]
    fn two_lines_of_writing_are_laid_side_by_side() {
        let writes = |y: usize| (22..45).contains(&y) || (57..80).contains(&y);
        let data: Vec<u8> =
            (0..160 * 100).map(|i| if writes(i / 160) && (i % 160) / 6 % 2 == 0 { 20 } else { 220 }).collect();
        let view = LumaView::new(&data, 160, 100, 160).unwrap();
        let strip = Strip::of(view, &upright(10.0, 15.0, 140.0, 70.0)).unwrap();
        assert_eq!(strip.lines, 2);
        assert!(strip.width <= WIDTH_MAX);
    }

    #[test]
    fn plates_at_the_edge_and_folded_ones_do_not_panic() {
        let data = vec![100; 64];
        let view = LumaView::new(&data, 8, 8, 8).unwrap();
        for corners in [
            [[-1e6, -1e6], [1e6, -1e6], [1e6, 1e6], [-1e6, 1e6]],
            [[0.0, 0.0], [1e9, 0.0], [0.0, 1e9], [5.0, 5.0]],
            [[f32::NAN, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 9.0]],
            [[5.0, 5.0]; 4],
            [[0.0, 0.0], [20.0, 0.0], [20.0, 0.0], [0.0, 9.0]],
        ] {
            if let Some(strip) = Strip::of(view, &PlateBox { corners, score: 1.0 }) {
                assert!(strip.pixels.iter().all(|pixel| (0.0..=255.0).contains(pixel)));
            }
        }
    }
}
