//! Number plates: [`PlateReader`] finds them in brightness alone and reads them; [`PlateVotes`] makes one reading of many
//! frames; [`PlateList`] says who it is, by the exact text.
//!
//! The detector is ours and lies in the crate. The recogniser (PP-OCRv4, 10.9 MB) does not: `models/README.md` has the
//! command that takes it from its package. Nothing is downloaded at run time.
//!
//! **Never:** opening anything. A plate can be copied with a printer; what it is good for is decided by the rules, which
//! by default want something else beside it.

#![forbid(unsafe_code)]

pub mod detect;
pub mod format;
pub mod letters;
pub mod list;
#[cfg(feature = "component")]
pub(crate) mod still;
mod strip;
pub mod text;
pub mod vote;

use godvision_core::signal::seen::Region;

pub use detect::{PlateBox, PlateDetector};
pub use format::{Country, Layout, resolve};
pub use letters::{PlateLetters, ReadSign};
pub use list::{Listed, PlateList, distance_tenths};
pub use text::PlateText;
pub use vote::{PlateVotes, VoteOptions};

use crate::error::Error;
use crate::plane::LumaView;
use strip::Strip;

/// The recogniser's file in the model folder.
pub const RECOGNISER_FILE: &str = "ch_PP-OCRv4_rec_infer.onnx";

/// How the model folder is filled; said wherever it is missing.
pub const FETCH_COMMAND: &str = "python3 godvision-vision/models/fetch.py FOLDER";

/// Letters below the line under a region's number, at the end of a Russian plate.
const NOT_PART: &[u8] = b"RUS";

/// What begins left of this share of a strip is in the European Union's blue band, whose stars read as a `B`: its middle
/// is at 0.08 and reaches to 0.12; the first sign of a plate with it begins at 0.14 or later.
const BAND_END: f32 = 0.10;

/// Stars are read with less certainty than letters; a surer sign is one.
const BAND_SCORE_MAX: f32 = 0.85;

/// How plates are read.
#[derive(Clone, Debug)]
pub struct PlateOptions {
    /// Countries whose forms correct what was read. The fewer, the better: each one is a way to be wrong.
    pub countries: Vec<Country>,
    /// How sure the detector must be, 0.0..1.0.
    pub found_min: f32,
    /// How sure the reader must be on average, 0.0..=1.0. Below it is no plate.
    pub read_min: f32,
    /// Most plates read in one picture, surest first: each takes some 50 ms.
    pub reads_max: usize,
}

impl Default for PlateOptions {
    /// All countries, half sure of the place, 0.6 of the signs, two plates a picture.
    fn default() -> Self {
        Self { countries: Country::ALL.to_vec(), found_min: 0.5, read_min: 0.6, reads_max: 2 }
    }
}

/// A plate that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Plate {
    /// Where it is.
    pub place: PlateBox,
    /// What it says.
    pub text: PlateText,
    /// The country whose form it has, if it is of one.
    pub country: Option<Country>,
    /// How sure the reader is of each sign, 0.0..=1.0.
    pub scores: Vec<f32>,
}

impl Plate {
    /// Mean of the signs' scores.
    pub fn score(&self) -> f32 {
        self.scores.iter().sum::<f32>() / self.scores.len().max(1) as f32
    }
}

/// Finds plates and reads them.
#[derive(Debug)]
pub struct PlateReader {
    options: PlateOptions,
    detector: PlateDetector,
    letters: PlateLetters,
}

impl PlateReader {
    /// With our detector and the bytes of [`RECOGNISER_FILE`].
    ///
    /// # Errors
    /// [`Error::BadModel`], [`Error::BadOption`].
    pub fn new(options: PlateOptions, recogniser: Vec<u8>) -> Result<Self, Error> {
        let detector = PlateDetector::new(options.found_min)?;
        let letters = PlateLetters::new(RECOGNISER_FILE, recogniser)?;
        Self::with(options, detector, letters)
    }

    /// With a detector and a recogniser of your own.
    ///
    /// # Errors
    /// [`Error::BadOption`].
    pub fn with(options: PlateOptions, detector: PlateDetector, letters: PlateLetters) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&options.read_min) {
            return Err(Error::BadOption { option: "read_min", reason: "0.0 to 1.0" });
        }
        if !(1..=detect::PLATES_MAX).contains(&options.reads_max) {
            return Err(Error::BadOption { option: "reads_max", reason: "1 to 8 plates a picture" });
        }
        Ok(Self { options, detector, letters })
    }

    /// The plates in `areas` of `luma` (where something moved; in all of it if there are none), surest first.
    ///
    /// Takes about 8 ms to look, and 30 to 50 for each plate found.
    ///
    /// # Errors
    /// [`Error::UnsupportedSize`], [`Error::ModelFailed`].
    pub fn read(&mut self, luma: LumaView<'_>, areas: &[Region]) -> Result<Vec<Plate>, Error> {
        let mut plates = Vec::new();
        for place in self.find(luma, areas)? {
            plates.extend(self.read_at(luma, place)?);
        }
        Ok(plates)
    }

    /// The places that [`PlateReader::read`] reads, surest first, looked at twice. About 8 ms and 1 more for each.
    ///
    /// # Errors
    /// [`Error::UnsupportedSize`], [`Error::ModelFailed`].
    pub fn find(&mut self, luma: LumaView<'_>, areas: &[Region]) -> Result<Vec<PlateBox>, Error> {
        let places = self.detector.find(luma, areas)?;
        let closer = |place| self.detector.refine(luma, place);
        places.into_iter().take(self.options.reads_max).map(closer).collect()
    }

    /// Reads the plate at `place`; `None` if nothing there can be read.
    ///
    /// # Errors
    /// [`Error::ModelFailed`].
    pub fn read_at(&mut self, luma: LumaView<'_>, place: PlateBox) -> Result<Option<Plate>, Error> {
        let Some(strip) = Strip::of(luma, &place) else { return Ok(None) };
        let read = self.letters.read(&strip)?;
        let signs: Vec<u8> = read.iter().map(|read| read.sign).collect();
        let mut best: Option<(format::Resolved, usize)> = None;
        // A reading may have the country's letter before it and `RUS` behind it.
        let in_band = |first: &ReadSign| first.place < BAND_END && first.score < BAND_SCORE_MAX;
        let has_band = strip.is_long && read.first().is_some_and(in_band);
        for (from, to) in parts(&signs, has_band) {
            let Some(text) = PlateText::from_signs(&signs[from..to]) else { continue };
            let resolved = format::resolve(&text, &self.options.countries, strip.layout());
            if resolved.country.is_some() || best.is_none() || (from, to) == (0, signs.len()) {
                let is_known = resolved.country.is_some();
                best = Some((resolved, from));
                if is_known {
                    break;
                }
            }
        }
        let Some((resolved, from)) = best else { return Ok(None) };
        let scores: Vec<f32> = read[from..].iter().map(|read| read.score).take(resolved.text.as_str().len()).collect();
        let plate = Plate { place, text: resolved.text, country: resolved.country, scores };
        Ok((plate.score() >= self.options.read_min).then_some(plate))
    }
}

/// Parts of `signs` that may be the plate, likeliest first.
fn parts(signs: &[u8], has_band: bool) -> Vec<(usize, usize)> {
    let end = signs.len();
    let mut parts = Vec::new();
    let tail = (1..=NOT_PART.len()).rev().find(|&count| signs.ends_with(&NOT_PART[..count]) && count > 1);
    if let Some(tail) = tail {
        parts.push((0, end - tail));
    }
    if has_band && end > 1 {
        parts.push((1, end));
    }
    parts.push((0, end));
    // The band of the European Union has D, F, I, E, PL, NL: one sign or two too many at the front.
    parts.extend([(1, end), (2, end), (0, end.saturating_sub(1))].into_iter().filter(|(from, to)| from + 4 <= *to));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surrounds_a_plate_is_dropped() {
        assert_eq!(parts(b"A123BC77RUS", false)[0], (0, 8));
        assert_eq!(parts(b"A123BC77", false)[0], (0, 8));
        assert_eq!(parts(b"BVA633DR", true)[0], (1, 8));
        assert_eq!(parts(b"A1", false), [(0, 2)]);
        assert_eq!(parts(b"", false), [(0, 0)]);
    }
}
