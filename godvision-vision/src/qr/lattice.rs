//! The engine of this crate: finds codes with [`super::finder`], lays grids with [`super::grid`], and has `rxing` correct
//! and spell out the bits.

#![forbid(unsafe_code)]

use rxing::common::BitMatrix;
use rxing::qrcode::cpp_port::decoder::Decode;

use super::engine::{QR_CODES_MAX, QrCode, QrDecoder, around};
use super::finder::Search;
use super::grid::{Layer, Triple, Way, triples};
use super::levels::{LEVELS_MAX, Level, Levels};
use crate::plane::LumaView;

/// Most triples of finder patterns tried at one size of the picture. About 0.1 ms each.
const TRIPLES_MAX: usize = 24;

/// Reads codes by the modules that every code shares.
#[derive(Debug, Default)]
pub struct Lattice {
    levels: Levels,
    sharp: Option<Level>,
    search: Search,
    layer: Layer,
    bits: Vec<bool>,
    suspects: Vec<[usize; 4]>,
}

impl QrDecoder for Lattice {
    fn name(&self) -> &'static str {
        if self.sharp.is_some() { "lattice, sharpened" } else { "lattice" }
    }

    fn cost(&self) -> u32 {
        // Sharpened noise has more edges, and there is only the full size to look at.
        if self.sharp.is_some() { 2 } else { 1 }
    }

    fn decode(&mut self, luma: LumaView<'_>, found: &mut Vec<QrCode>) {
        self.suspects.clear();
        self.levels.take(luma);
        if let Some(sharp) = &mut self.sharp {
            sharp.sharpen(&self.levels.all()[0]);
            self.search.run(sharp);
            self.look(0, found);
            return;
        }
        for &index in ORDERS[self.levels.all().len().saturating_sub(1)] {
            self.search.run(&self.levels.all()[index]);
            self.look(index, found);
            if !found.is_empty() {
                return;
            }
        }
    }

    fn suspects(&self) -> &[[usize; 4]] {
        &self.suspects
    }
}

/// In which order the sizes of a picture are searched, 0 being the full one, by how many there are. A coarse search costs a
/// quarter of the next finer one and finds most codes; the coarsest ones are for codes that fill the picture.
const ORDERS: [&[usize]; LEVELS_MAX] = [&[0], &[0, 1], &[1, 0, 2], &[1, 0, 2, 3], &[2, 1, 0, 3, 4]];

impl Lattice {
    /// One that looks for finder patterns in a sharpened picture, at full size only: for codes that are both small and soft,
    /// which is a sixth of what is read at two pixels a module. Twice the time; a second opinion.
    pub fn sharpening() -> Self {
        Self { sharp: Some(Level::default()), ..Self::default() }
    }

    fn look(&mut self, index: usize, found: &mut Vec<QrCode>) {
        let mut used: Vec<(f32, f32)> = Vec::new();
        for triple in triples(&self.search.found, TRIPLES_MAX) {
            let parts = [triple.corner, triple.right, triple.below];
            if parts.iter().any(|part| used.contains(&(part.x, part.y))) {
                continue;
            }
            let Some((text, bounds)) = self.read(index, &triple) else { continue };
            let Some(text) = text else {
                if self.suspects.len() < QR_CODES_MAX && !self.suspects.contains(&bounds) {
                    self.suspects.push(bounds);
                }
                continue;
            };
            used.extend(parts.iter().map(|part| (part.x, part.y)));
            found.push(QrCode { text: text.into(), bounds });
            if found.len() >= QR_CODES_MAX {
                break;
            }
        }
    }

    /// Where the code of `triple` is, if there is one, and its text, if it can be read.
    fn read(&mut self, index: usize, triple: &Triple) -> Option<(Option<String>, [usize; 4])> {
        // Sampled where a module has two to four pixels, if there is such a size.
        let mut module = (triple.corner.module + triple.right.module + triple.below.module) / 3.0;
        let mut target = index;
        while module >= 4.0 && target + 1 < self.levels.all().len() {
            (module, target) = (module / 2.0, target + 1);
        }
        while module < 2.0 && target > 0 {
            (module, target) = (module * 2.0, target - 1);
        }
        let triple = triple.scaled(size(index) / size(target));
        let level = &self.levels.all()[target];
        let grid = self.layer.lay(level, &triple)?;
        let text = [Way::Equalised, Way::Plain].into_iter().find_map(|way| {
            let is_sampled = self.layer.sample(level, &grid, way, &mut self.bits);
            if is_sampled { decode(&self.bits, grid.side) } else { None }
        });
        let bounds = around(grid.corners().map(|(x, y)| (x * size(target), y * size(target))).into_iter());
        Some((text, bounds))
    }
}

/// How many pixels of the full picture a pixel of this level is wide.
fn size(level: usize) -> f32 {
    (1_u32 << level) as f32
}

fn decode(bits: &[bool], side: usize) -> Option<String> {
    // Side lengths are those of a code, so the bits are as many as the matrix takes.
    let mut matrix = BitMatrix::with_single_dimension(side as u32).ok()?;
    for (i, _) in bits.iter().enumerate().filter(|(_, is_dark)| **is_dark) {
        matrix.set((i % side) as u32, (i / side) as u32);
    }
    let decoded = Decode(&matrix).ok()?;
    decoded.isValid().then(|| decoded.text())
}
