//! The engine of this crate: finds codes with [`super::finder`], lays grids with [`super::grid`], and has `rxing` correct
//! and spell out the bits.

#![forbid(unsafe_code)]

use rxing::common::BitMatrix;
use rxing::qrcode::cpp_port::decoder::Decode;

use super::engine::{QR_CODES_MAX, QrCode, QrDecoder};
use super::finder::{Finder, Search};
use super::grid::{Grid, Layer, Triple, Way, triples};
use super::levels::{Level, Levels};
use crate::plane::LumaView;

/// Most triples of finder patterns tried at one size of the picture. About 0.1 ms each.
const TRIPLES_MAX: usize = 24;

/// Reads codes by the modules that every code shares.
#[derive(Debug, Default)]
pub struct Lattice {
    levels: Levels,
    search: Search,
    layer: Layer,
    bits: Vec<bool>,
}

impl QrDecoder for Lattice {
    fn name(&self) -> &'static str {
        "lattice"
    }

    fn decode(&mut self, luma: LumaView<'_>, found: &mut Vec<QrCode>) {
        self.levels.take(luma);
        let order: &[usize] = match self.levels.all().len() {
            0 | 1 => &[0],
            2 => &[0, 1],
            3 => &[1, 0, 2],
            4 => &[1, 0, 2, 3],
            _ => &[2, 1, 0, 3, 4],
        };
        for &index in order {
            self.look(index, found);
            if !found.is_empty() {
                break;
            }
        }
    }
}

impl Lattice {
    fn look(&mut self, index: usize, found: &mut Vec<QrCode>) {
        self.search.run(&self.levels.all()[index]);
        if std::env::var_os("QRDEBUG").is_some() {
            eprintln!("level {index}: {} finders", self.search.found.len());
            for f in &self.search.found { eprintln!("   {f:?}"); }
        }
        let mut used: Vec<(f32, f32)> = Vec::new();
        for triple in triples(&self.search.found, TRIPLES_MAX) {
            let parts = [triple.corner, triple.right, triple.below];
            if parts.iter().any(|part| used.contains(&(part.x, part.y))) {
                continue;
            }
            if let Some(code) = self.read(index, &triple) {
                used.extend(parts.iter().map(|part| (part.x, part.y)));
                found.push(code);
                if found.len() >= QR_CODES_MAX {
                    break;
                }
            }
        }
    }

    fn read(&mut self, index: usize, triple: &Triple) -> Option<QrCode> {
        // Sampled where a module has two to four pixels, if there is such a size.
        let module = (triple.corner.module + triple.right.module + triple.below.module) / 3.0;
        let mut target = index as i32;
        let mut size = module;
        while size >= 4.0 && (target as usize) + 1 < self.levels.all().len() {
            (size, target) = (size / 2.0, target + 1);
        }
        while size < 2.0 && target > 0 {
            (size, target) = (size * 2.0, target - 1);
        }
        let factor = 2.0_f32.powi(index as i32 - target);
        let scaled = |finder: Finder| Finder { x: finder.x * factor, y: finder.y * factor, module: finder.module * factor, ..finder };
        let triple = Triple { corner: scaled(triple.corner), right: scaled(triple.right), below: scaled(triple.below), ..*triple };
        let level = &self.levels.all()[target as usize];
        let grid = self.layer.lay(level, &triple);
        if std::env::var_os("QRDEBUG").is_some() {
            eprintln!("  triple {:?}: side {:?} agreement {:?}", triple.corner, grid.map(|g| g.side), grid.map(|g| g.agreement));
        }
        let grid = grid?;
        for way in [Way::Equalised, Way::Plain] {
            if self.layer.sample(level, &grid, way, &mut self.bits) {
                if let Some(text) = decode(&self.bits, grid.side) {
                    let to_full = 2.0_f32.powi(target);
                    return Some(QrCode { text: text.into(), bounds: bounds(level, &grid, to_full) });
                }
            }
        }
        None
    }
}

fn bounds(_: &Level, grid: &Grid, to_full: f32) -> [usize; 4] {
    let far = grid.side as f32;
    let corners = [(0.0, 0.0), (far, 0.0), (far, far), (0.0, far)];
    super::engine::around(corners.iter().map(|&(u, v)| {
        let (x, y) = grid.map.point(u, v);
        (x * to_full, y * to_full)
    }))
}

fn decode(bits: &[bool], side: usize) -> Option<String> {
    let mut matrix = BitMatrix::with_single_dimension(side as u32).ok()?;
    for (i, _) in bits.iter().enumerate().filter(|(_, is_dark)| **is_dark) {
        matrix.set((i % side) as u32, (i / side) as u32);
    }
    let decoded = Decode(&matrix).ok()?;
    decoded.isValid().then(|| decoded.text())
}
