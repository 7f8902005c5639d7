//! What is written on a plate: [`PlateLetters`], PP-OCR's recogniser restricted to the signs of plates.
//!
//! The network gives a probability to each of its 6,624 characters at each eighth column; connectionist temporal
//! classification (Graves et al., 2006) makes a text of them: the best of each column, repetitions and blanks dropped.
//! Only digits, Latin letters and the Cyrillic ones with Latin twins take part; Chinese characters do not, but what
//! they take of the probability is missed in the score.
//!
//! Source of the model: PaddleOCR's PP-OCRv4, Apache-2.0, as packed in `rapidocr-onnxruntime`; see `models/README.md`.
//!
//! **Never:** a dictionary, a language model: plates have no words.

#![forbid(unsafe_code)]

use super::strip::{ROWS, Strip};
use super::text::{ALPHABET, SIGNS_MAX, is_separator, sign_at, sign_of};
use crate::error::Error;
use crate::onnx::OnnxModel;

/// Most characters of a recogniser: PP-OCR's largest has 18,000.
const CLASSES_MAX: usize = 65_536;

/// A sign below this score is left out: a bolt, a coat of arms.
const SIGN_SCORE_MIN: f32 = 0.2;

/// Most signs that are read of one plate, before those too many are refused.
const READ_MAX: usize = SIGNS_MAX + 6;

/// A sign as read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadSign {
    /// `0` to `9`, `A` to `Z`.
    pub sign: u8,
    /// How sure the network is, 0.0..=1.0.
    pub score: f32,
    /// Where it begins, in shares of the strip's width.
    pub place: f32,
}

/// The recogniser.
#[derive(Debug)]
pub struct PlateLetters {
    model: OnnxModel,
    /// What each class of the network stands for.
    classes: Vec<Class>,
    input: Vec<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Nothing, or what may stand between signs.
    Gap,
    /// A sign, by its place in the alphabet.
    Sign(u8),
    /// What no plate has.
    Foreign,
}

impl PlateLetters {
    /// Takes the bytes of a PP-OCR recogniser with its characters in the metadata `character`.
    ///
    /// # Errors
    /// [`Error::BadModel`] if it is none.
    pub fn new(name: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        let model = OnnxModel::read(name, bytes)?;
        let bad = |reason: &str| Error::BadModel { model: name.to_owned(), reason: reason.to_owned() };
        let characters =
            model.metadata("character").ok_or_else(|| bad("it has no list of characters in `character`"))?;
        // The first class is CTC's blank; after the listed ones comes the space.
        let mut classes = vec![Class::Gap];
        classes.extend(characters.split('\n').take(CLASSES_MAX).map(class));
        classes.push(Class::Gap);
        let known = (0..ALPHABET as u8).filter(|&sign| classes.contains(&Class::Sign(sign))).count();
        if known < ALPHABET || classes.len() > CLASSES_MAX {
            return Err(bad("its characters lack digits or Latin letters"));
        }
        Ok(Self { model, classes, input: Vec::new() })
    }

    /// The signs of `strip`, from left to right.
    pub(crate) fn read(&mut self, strip: &Strip) -> Result<Vec<ReadSign>, Error> {
        let plane = strip.pixels.iter().map(|pixel| pixel / 127.5 - 1.0);
        self.input.clear();
        for _ in 0..3 {
            self.input.extend(plane.clone());
        }
        let outputs = self.model.run(&self.input, &[1, 3, ROWS, strip.width])?;
        match outputs.first() {
            // The list may end in a line feed, so one class more or less is the same list.
            Some((values, shape))
                if shape.len() == 3 && shape[0] == 1 && shape[2].abs_diff(self.classes.len()) <= 1 =>
            {
                let count = shape[1].max(1) as f32;
                let columns = values.chunks_exact(shape[2]).zip(0_u16..);
                let placed = columns.map(|(column, place)| {
                    self.column(column).map(|seen| ReadSign { place: f32::from(place) / count, ..seen })
                });
                Ok(decode(placed))
            }
            _ => {
                let reason = format!("it has to give {} characters a column", self.classes.len());
                Err(Error::ModelFailed { model: self.model.name().to_owned(), reason })
            }
        }
    }

    /// The best sign of a column and its score, or `None` if there is rather nothing.
    fn column(&self, column: &[f32]) -> Option<ReadSign> {
        let mut gap = 0.0;
        let mut signs = [0.0_f32; ALPHABET];
        for (class, &value) in self.classes.iter().zip(column) {
            match class {
                Class::Gap => gap += value,
                Class::Sign(sign) => signs[usize::from(*sign)] += value,
                Class::Foreign => {}
            }
        }
        let (best, score) = signs.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (score > gap && score >= SIGN_SCORE_MIN).then_some(ReadSign {
            sign: sign_at(best),
            score: score.min(1.0),
            place: 0.0,
        })
    }
}

/// What a character of the list stands for.
fn class(line: &str) -> Class {
    let mut letters = line.chars();
    match (letters.next(), letters.next()) {
        (None, _) => Class::Gap,
        (Some(letter), None) if is_separator(letter) => Class::Gap,
        (Some(letter), None) => match sign_of(letter).and_then(super::text::index) {
            Some(sign) => Class::Sign(sign as u8),
            None => Class::Foreign,
        },
        _ => Class::Foreign,
    }
}

/// Drops repetitions and gaps; of a repeated sign the surest column counts.
fn decode(columns: impl Iterator<Item = Option<ReadSign>>) -> Vec<ReadSign> {
    let mut signs: Vec<ReadSign> = Vec::with_capacity(SIGNS_MAX);
    let mut before = None;
    for column in columns {
        let count = signs.len();
        match (column, signs.last_mut()) {
            (Some(seen), Some(last)) if before == Some(seen.sign) => last.score = last.score.max(seen.score),
            (Some(seen), _) if count < READ_MAX => signs.push(seen),
            _ => {}
        }
        before = column.map(|seen| seen.sign);
    }
    signs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_one_sign_and_a_gap_makes_two() {
        let column = |sign: u8, score| (sign != b' ').then_some(ReadSign { sign, score, place: 0.0 });
        let columns = [(b'A', 0.5), (b'A', 0.9), (b' ', 0.0), (b'A', 0.4), (b'7', 0.8), (b'8', 0.7)];
        let signs = decode(columns.into_iter().map(|(sign, score)| column(sign, score)));
        let read: Vec<_> = signs.iter().map(|read| (read.sign, read.score)).collect();
        assert_eq!(read, [(b'A', 0.9), (b'A', 0.4), (b'7', 0.8), (b'8', 0.7)]);
        let many = (0..100).map(|k| column(b"AB"[k % 2], 0.5));
        assert_eq!(decode(many).len(), READ_MAX);
    }

    #[test]
    fn characters_are_signs_gaps_or_foreign() {
        for (line, wanted) in [
            ("7", Class::Sign(7)),
            ("a", Class::Sign(10)),
            ("В", Class::Sign(11)),
            ("-", Class::Gap),
            ("·", Class::Gap),
            ("", Class::Gap),
            ("京", Class::Foreign),
            ("Ж", Class::Foreign),
            ("ab", Class::Foreign),
        ] {
            assert_eq!(class(line), wanted, "{line}");
        }
    }

    #[test]
    fn a_file_that_is_no_recogniser_is_refused() {
        assert!(matches!(PlateLetters::new("x", b"no".to_vec()), Err(Error::BadModel { .. })));
        let detector = include_bytes!("../../models/plates.onnx").to_vec();
        let error = PlateLetters::new("plates.onnx", detector).unwrap_err();
        assert!(error.to_string().contains("list of characters"), "{error}");
    }
}
