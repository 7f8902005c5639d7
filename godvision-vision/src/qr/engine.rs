//! The trait behind which QR engines stand, and the two of others; ours is [`super::lattice`].
//!
//! An engine meets whatever is held up to a camera, so its text is bounded and its panics end here: `rqrr` 0.11 panics
//! on one public test image (its issue 54). Containing a panic needs unwinding; with `panic = "abort"` leave the `rqrr`
//! feature off.
//!
//! **Never:** trust in what an engine returns, a panic that leaves this module.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use godvision_core::Secret;

use crate::plane::LumaView;

/// Longest text that is passed on, in bytes: as many characters as the largest QR code can hold (version 40-L,
/// alphanumeric). A longer one is no QR text but a fault of its engine.
pub const QR_TEXT_MAX: usize = 4296;

/// Most codes taken from one look at a picture.
pub const QR_CODES_MAX: usize = 8;

/// Panics after which an engine is not asked again: it costs time and fills the log.
pub const ENGINE_PANICS_MAX: u32 = 8;

/// A code found in a plane.
#[derive(Clone, PartialEq, Eq)]
pub struct QrCode {
    /// What it says. May be a pass, so it is secret.
    pub text: Secret,
    /// What it covers: `[left, top, right, bottom]` in pixels of the plane, right and bottom exclusive.
    pub bounds: [usize; 4],
}

/// Prints the place, not the text.
impl fmt::Debug for QrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QR code at {:?}", self.bounds)
    }
}

/// Finds and reads QR codes in a plane of brightness.
pub trait QrDecoder: Send {
    /// Short name for logs: `rxing`, ...
    fn name(&self) -> &'static str;

    /// Time for a pixel relative to the fastest engine (about 1.5 ns), so that the reader can bound its work.
    fn cost(&self) -> u32 {
        1
    }

    /// Appends the codes in `luma` to `found`. What cannot be read is left out without a word.
    fn decode(&mut self, luma: LumaView<'_>, found: &mut Vec<QrCode>);

    /// Where the plane last given to [`QrDecoder::decode`] showed a code that could not be read, in its pixels: worth
    /// another engine's time. Most engines cannot tell.
    fn suspects(&self) -> &[[usize; 4]] {
        &[]
    }
}

/// The engines that this build has, the best first.
pub fn engines() -> Vec<Box<dyn QrDecoder>> {
    vec![
        #[cfg(feature = "rxing")]
        Box::new(super::Lattice::default()),
        #[cfg(feature = "rxing")]
        Box::new(super::Lattice::sharpening()),
        #[cfg(feature = "rxing")]
        Box::new(Rxing::default()),
        #[cfg(feature = "rqrr")]
        Box::new(Rqrr),
    ]
}

/// An engine that may panic, contained.
pub(super) struct Contained {
    engine: Box<dyn QrDecoder>,
    pub(super) panics: u32,
}

impl Contained {
    pub(super) fn new(engine: Box<dyn QrDecoder>) -> Self {
        Self { engine, panics: 0 }
    }

    pub(super) fn cost(&self) -> u32 {
        self.engine.cost().max(1)
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.panics < ENGINE_PANICS_MAX
    }

    /// Codes within the limits, their bounds inside the plane.
    pub(super) fn decode(&mut self, luma: LumaView<'_>) -> Vec<QrCode> {
        let mut found = Vec::new();
        let engine = &mut self.engine;
        // The engine is asked again after a panic: it takes each picture anew, so nothing half-done is looked at.
        if catch_unwind(AssertUnwindSafe(|| engine.decode(luma, &mut found))).is_err() {
            self.panics += 1;
            found.clear();
        }
        found.retain(|code| !code.text.is_empty() && code.text.expose().len() <= QR_TEXT_MAX);
        found.truncate(QR_CODES_MAX);
        found.iter_mut().for_each(|code| code.bounds = inside(code.bounds, luma));
        found
    }

    /// Where the last picture, `luma`, may hold a code that it could not read.
    pub(super) fn suspects(&self, luma: LumaView<'_>) -> impl Iterator<Item = [usize; 4]> {
        self.engine.suspects().iter().take(QR_CODES_MAX).map(move |&bounds| inside(bounds, luma))
    }
}

impl fmt::Debug for Contained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} panics)", self.engine.name(), self.panics)
    }
}

/// `bounds` cut to the plane, with at least one pixel left.
fn inside([left, top, right, bottom]: [usize; 4], luma: LumaView<'_>) -> [usize; 4] {
    let (left, top) = (left.min(luma.width() - 1), top.min(luma.height() - 1));
    [left, top, right.clamp(left + 1, luma.width()), bottom.clamp(top + 1, luma.height())]
}

/// The rectangle around points, in whole pixels; what is not a number counts as 0.
#[cfg(any(feature = "rxing", feature = "rqrr"))]
pub(super) fn around(points: impl Iterator<Item = (f32, f32)>) -> [usize; 4] {
    let start = [f32::MAX, f32::MAX, 0.0, 0.0];
    let [left, top, right, bottom] =
        points.fold(start, |[l, t, r, b], (x, y)| [l.min(x), t.min(y), r.max(x), b.max(y)]);
    // `as` saturates, and takes what is not a number for 0.
    [left as usize, top as usize, right.ceil() as usize, bottom.ceil() as usize]
}

/// The `rxing` engine: a port of zxing-cpp's reader.
#[cfg(feature = "rxing")]
#[derive(Default)]
pub struct Rxing {
    /// The engine wants rows without gaps.
    packed: Vec<u8>,
}

#[cfg(feature = "rxing")]
impl QrDecoder for Rxing {
    fn name(&self) -> &'static str {
        "rxing"
    }

    fn cost(&self) -> u32 {
        3
    }

    fn decode(&mut self, luma: LumaView<'_>, found: &mut Vec<QrCode>) {
        use rxing::common::HybridBinarizer;
        use rxing::multi::MultipleBarcodeReader;
        use rxing::qrcode::cpp_port::QrReader;
        use rxing::{BarcodeFormat, BinaryBitmap, DecodeHintValue, DecodeHints, Luma8Source};

        self.packed.clear();
        (0..luma.height()).for_each(|y| self.packed.extend_from_slice(luma.row(y)));
        let (Ok(width), Ok(height)) = (u32::try_from(luma.width()), u32::try_from(luma.height())) else { return };
        let Ok(source) = Luma8Source::new_with_slice(&self.packed, width, height) else { return };
        let hints = DecodeHints::default()
            .with(DecodeHintValue::PossibleFormats([BarcodeFormat::QR_CODE].into()))
            .with(DecodeHintValue::TryHarder(true));
        let mut bitmap = BinaryBitmap::new(HybridBinarizer::new(source));
        let Ok(results) = QrReader.decode_multiple_with_hints(&mut bitmap, &hints) else { return };
        found.extend(results.iter().map(|result| QrCode {
            text: result.getText().into(),
            bounds: around(result.getPoints().iter().map(|point| (point.x, point.y))),
        }));
    }
}

/// The `rqrr` engine: a port of quirc. The slowest, and it reads the fewest, but not the same ones.
#[cfg(feature = "rqrr")]
#[derive(Debug, Default)]
pub struct Rqrr;

#[cfg(feature = "rqrr")]
impl QrDecoder for Rqrr {
    fn name(&self) -> &'static str {
        "rqrr"
    }

    fn cost(&self) -> u32 {
        9
    }

    fn decode(&mut self, luma: LumaView<'_>, found: &mut Vec<QrCode>) {
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(luma.width(), luma.height(), |x, y| luma.row(y)[x]);
        for grid in image.detect_grids().iter().take(QR_CODES_MAX) {
            if let Ok((_, text)) = grid.decode() {
                let corners = grid.bounds.iter().map(|point| (point.x as f32, point.y as f32));
                found.push(QrCode { text: text.into(), bounds: around(corners) });
            }
        }
    }
}
