//! The QR code of a pass as pixels (PNG), as lines (SVG) and on a card to print. Feature `qr-image`.
//!
//! ```
//! use godvision_access::pass::qr::{Card, Look, QrImage};
//!
//! let code = QrImage::new(&"GV2:ANYTHING".into())?;
//! let png = code.png(&Look::default())?; // to send
//! assert!(png.starts_with(b"\x89PNG"));
//! let card = Card { title: "Ada Lovelace", lines: &["Yard, house 3", "21 November 2026, 09:00 to 18:00"] };
//! assert!(card.svg(&code).contains("Ada Lovelace")); // to print
//! # Ok::<(), godvision_access::Error>(())
//! ```
//! The code is as small as the text allows, and its error correction as strong as that size allows. Whoever has the
//! picture has the pass: do not log it, do not keep it longer than the text.
//!
//! **Never:** a logo over the modules, colours, rounded corners: cameras at doors read black squares.

use std::fmt;
use std::fmt::Write as _;

use godvision_core::Secret;
use qrcode::{Color, EcLevel, QrCode};

use crate::error::Error;

/// Most bytes of a text: far above every pass, far below the largest code.
pub const QR_TEXT_BYTES_MAX: usize = 1_000;
/// Most pixels of one module in a PNG.
pub const MODULE_PIXELS_MAX: u32 = 32;
/// Modules of white around a code that ISO/IEC 18004 asks for. Readers need them; less is not drawn.
pub const QUIET_MODULES: u32 = 4;
/// Most modules of white around a code.
pub const QUIET_MODULES_MAX: u32 = 32;
/// Most lines under the title of a card; further ones are left out.
pub const CARD_LINES_MAX: usize = 6;
/// Most characters of a card's title or line; the rest is cut off.
pub const CARD_CHARS_MAX: usize = 48;

/// How large a code is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Pixels of one module, 1 to [`MODULE_PIXELS_MAX`].
    pub module_pixels: u32,
    /// Modules of white around the code, [`QUIET_MODULES`] to [`QUIET_MODULES_MAX`].
    pub quiet_modules: u32,
}

/// 8 pixels a module and 4 modules around: a pass is about 420 pixels wide.
impl Default for Look {
    fn default() -> Self {
        Self { module_pixels: 8, quiet_modules: QUIET_MODULES }
    }
}

/// The modules of a code.
#[derive(Clone, PartialEq, Eq)]
pub struct QrImage {
    side: usize,
    dark: Vec<bool>,
}

impl QrImage {
    /// The code of `text`.
    ///
    /// # Errors
    /// [`Error::BadQr`] if the text is empty or longer than [`QR_TEXT_BYTES_MAX`].
    pub fn new(text: &Secret) -> Result<Self, Error> {
        let text = text.expose().as_bytes();
        if !(1..=QR_TEXT_BYTES_MAX).contains(&text.len()) {
            return Err(Error::BadQr { detail: "its text is empty or longer than 1000 bytes" });
        }
        let refused = |_| Error::BadQr { detail: "its text does not fit" };
        let smallest = QrCode::with_error_correction_level(text, EcLevel::L).map_err(refused)?;
        let stronger = [EcLevel::H, EcLevel::Q, EcLevel::M];
        let mut same_size = stronger.into_iter().map(|level| QrCode::with_version(text, smallest.version(), level));
        let code = same_size.find_map(Result::ok).unwrap_or(smallest);
        let side = code.width();
        Ok(Self { side, dark: code.into_colors().into_iter().map(|it| it == Color::Dark).collect() })
    }

    /// Modules of one side, without the white around.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Whether the module in this column and row is dark; what is outside is not.
    pub fn is_dark(&self, column: usize, row: usize) -> bool {
        column < self.side && row < self.side && self.dark.get(row * self.side + column).is_some_and(|it| *it)
    }

    /// A PNG with one bit a pixel.
    ///
    /// # Errors
    /// [`Error::BadQr`] if `look` is outside its ranges.
    pub fn png(&self, look: &Look) -> Result<Vec<u8>, Error> {
        let (pixels, quiet) = (look.module_pixels, look.quiet_modules);
        if !(1..=MODULE_PIXELS_MAX).contains(&pixels) || !(QUIET_MODULES..=QUIET_MODULES_MAX).contains(&quiet) {
            return Err(Error::BadQr { detail: "1 to 32 pixels a module and 4 to 32 modules around it are drawn" });
        }
        let failed = |_| Error::BadQr { detail: "the picture cannot be written" };
        let modules = u32::try_from(self.side).map_or(0, |side| side + 2 * quiet);
        let width = modules * pixels;
        let mut rows = Vec::new();
        for row in 0..width {
            for left in (0..width).step_by(8) {
                let is_white = |column: u32| {
                    let place = |at: u32| (at / pixels).checked_sub(quiet).and_then(|it| usize::try_from(it).ok());
                    !place(column).zip(place(row)).is_some_and(|(column, row)| self.is_dark(column, row))
                };
                rows.push((left..left + 8).fold(0, |byte, column| byte << 1 | u8::from(is_white(column))));
            }
        }
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, width);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        encoder.write_header().and_then(|mut writer| writer.write_image_data(&rows)).map_err(failed)?;
        Ok(bytes)
    }

    /// An SVG document, one unit a module, black on white. It scales to any size.
    pub fn svg(&self) -> String {
        let quiet = QUIET_MODULES;
        let side = self.side + 2 * QUIET_MODULES as usize;
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{side}v{side}H0z"/>"##
        );
        let _ = write!(svg, r#"<path transform="translate({quiet} {quiet})" d="{}"/></svg>"#, self.outline());
        svg
    }

    /// Each run of dark modules in a row as a rectangle of a path.
    fn outline(&self) -> String {
        let mut path = String::new();
        for row in 0..self.side {
            let mut column = 0;
            while column < self.side {
                let length = (column..self.side).take_while(|column| self.is_dark(*column, row)).count();
                if length > 0 {
                    let _ = write!(path, "M{column} {row}h{length}v1h-{length}z");
                }
                column += length.max(1);
            }
        }
        path
    }
}

/// The size only.
impl fmt::Debug for QrImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QR code of {0} x {0} modules", self.side)
    }
}

/// A card to print: the code, and under it what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card<'a> {
    /// Whose pass it is.
    pub title: &'a str,
    /// Doors, period, where to ask: at most [`CARD_LINES_MAX`] lines.
    pub lines: &'a [&'a str],
}

impl Card<'_> {
    /// An SVG document of 90 x 130 mm. Texts are cut at [`CARD_CHARS_MAX`] characters and cannot break out of it.
    pub fn svg(&self, code: &QrImage) -> String {
        const WIDTH: usize = 90;
        const CODE: usize = 86;
        let quiet = QUIET_MODULES;
        let modules = code.side + 2 * QUIET_MODULES as usize;
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}mm" height="130mm" viewBox="0 0 {WIDTH} 130" font-family="sans-serif" text-anchor="middle"><rect x="0.1" y="0.1" width="89.8" height="129.8" fill="#fff" stroke="#999" stroke-width="0.2"/>"##
        );
        let _ = write!(
            svg,
            r#"<svg x="2" y="2" width="{CODE}" height="{CODE}" viewBox="0 0 {modules} {modules}" shape-rendering="crispEdges"><path transform="translate({quiet} {quiet})" d="{}"/></svg>"#,
            code.outline()
        );
        let _ = write!(svg, r#"<text x="45" y="95" font-size="6" font-weight="bold">{}</text>"#, escaped(self.title));
        for (index, line) in self.lines.iter().take(CARD_LINES_MAX).enumerate() {
            let _ = write!(svg, r#"<text x="45" y="{}" font-size="3.5">{}</text>"#, 102 + 5 * index, escaped(line));
        }
        svg.push_str("</svg>");
        svg
    }
}

/// `text` as the content of an XML element.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars().filter(|it| !it.is_control()).take(CARD_CHARS_MAX) {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not characters of XML 1.0, though of Unicode.
            '\u{fffe}' | '\u{ffff}' => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(characters: usize) -> QrImage {
        QrImage::new(&"A".repeat(characters).into()).unwrap()
    }

    #[test]
    fn a_code_is_as_small_as_its_text_allows() {
        // ISO/IEC 18004, table 7: characters of the alphanumeric mode at level L.
        for (characters, side) in [(47, 25), (48, 29), (154, 37), (155, 41), (195, 41), (196, 45), (224, 45), (395, 57)]
        {
            assert_eq!(code(characters).side(), side, "{characters}");
        }
        for bad in ["".to_owned(), "A".repeat(QR_TEXT_BYTES_MAX + 1)] {
            assert!(matches!(QrImage::new(&bad.into()), Err(Error::BadQr { .. })));
        }
        assert!(QrImage::new(&"ä".repeat(QR_TEXT_BYTES_MAX / 2).into()).is_ok());
    }

    #[test]
    fn the_picture_is_the_code_with_white_around() {
        let code = code(20);
        let look = Look { module_pixels: 3, quiet_modules: 5 };
        let png = code.png(&look).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut rows = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rows).unwrap();
        let side = code.side() as u32;
        assert_eq!((info.width, info.height), (3 * (side + 10), 3 * (side + 10)));
        for y in 0..info.height {
            for x in 0..info.width {
                let bit = rows[y as usize * info.line_size + x as usize / 8] >> (7 - x % 8) & 1;
                let module = |at: u32| ((at / 3) as usize).checked_sub(5);
                let dark = module(x).zip(module(y)).is_some_and(|(x, y)| code.is_dark(x, y));
                assert_eq!(bit == 0, dark, "{x}, {y}");
            }
        }
        for (module_pixels, quiet_modules) in [(0, 4), (33, 4), (1, 3), (1, 33)] {
            assert!(code.png(&Look { module_pixels, quiet_modules }).is_err());
        }
    }

    #[test]
    fn every_dark_module_is_in_the_outline_once() {
        let code = code(30);
        let covered: usize = code
            .outline()
            .split('M')
            .skip(1)
            .map(|run| run.split(['h', 'v']).nth(1).unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(covered, code.dark.iter().filter(|it| **it).count());
        assert!(code.svg().contains(r#"viewBox="0 0 33 33""#), "{}", code.side());
    }

    #[test]
    fn a_card_holds_its_texts_and_nothing_breaks_out() {
        let long = "x".repeat(CARD_CHARS_MAX + 5);
        let lines = ["<script>alert(1)</script>", "a & \"b\"\u{0}\n", &long, "4", "5", "6", "seventh"];
        let svg = Card { title: "Ada", lines: &lines }.svg(&code(20));
        assert!(
            svg.contains(">Ada</text>") && svg.contains("&lt;script&gt;") && svg.contains("a &amp; &quot;b&quot;<")
        );
        assert!(!svg.contains("<script") && !svg.contains("seventh") && !svg.contains(&long));
        assert!(svg.contains(&long[..CARD_CHARS_MAX]));
    }

    #[test]
    fn a_code_is_not_printed() {
        assert_eq!(format!("{:?}", code(20)), "QR code of 21 x 21 modules");
    }
}
