//! Making a person's rows from several pictures: [`Enrolment`].
//!
//! Each picture must be good and show the person of the others; one that shows nothing new is put back with the advice to
//! turn a little. What comes out are [`PersonRows`] for a [`super::gallery::Gallery`].
//!
//! **Never:** a row from a picture with a concern, two people in one enrolment, consent (the gallery asks for that).

#![forbid(unsafe_code)]

use super::gallery::{PHOTOS_MAX, PersonRows};
use super::quality::{Concern, Quality};
use super::search::cosine;
use super::{Embedding, FaceEmbedder};
use crate::error::Error;

/// Least similarity of a new picture to the best of the others: what a door asks for.
const AGREE: f32 = 0.42;
/// Similarity from which a picture adds nothing.
const SAME_PICTURE: f32 = 0.97;
/// Pictures that make a good enrolment.
pub const PHOTOS_WANTED: usize = 3;

/// What became of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Offer {
    /// It is in. `wanted` more would be good; ask for a little turn between them.
    Taken {
        /// How many.
        wanted: usize,
    },
    /// Its quality is not enough.
    Poor(Concern),
    /// It is too like one that is in: turn a little.
    SamePicture,
    /// It shows somebody else than the others.
    OtherPerson {
        /// Similarity to the nearest of them.
        similarity: f32,
    },
    /// There are [`PHOTOS_MAX`].
    Enough,
}

impl Offer {
    /// For a display.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Taken { wanted: 0 } | Self::Enough => "that is enough",
            Self::Taken { .. } => "one more photo, turn a little",
            Self::SamePicture => "turn a little",
            Self::Poor(concern) => concern.advice(),
            Self::OtherPerson { .. } => "this is somebody else",
        }
    }
}

/// An enrolment under way.
#[derive(Clone, Debug)]
pub struct Enrolment {
    model: String,
    rows: Vec<Embedding>,
}

impl Enrolment {
    /// For rows that `embedder` makes.
    pub fn new(embedder: &dyn FaceEmbedder) -> Self {
        Self::of_model(embedder.model())
    }

    /// For rows of the model of this name.
    pub fn of_model(model: &str) -> Self {
        Self { model: model.to_owned(), rows: Vec::new() }
    }

    /// Offers a picture, from a file or a camera.
    ///
    /// # Errors
    /// [`Error::OtherLength`] if it comes from another model than the others.
    pub fn offer(&mut self, face: &Embedding, quality: &Quality) -> Result<Offer, Error> {
        if let Some(concern) = quality.concerns.first() {
            return Ok(Offer::Poor(concern));
        }
        if let Some(first) = self.rows.first() {
            let (wanted, got) = (first.values().len(), face.values().len());
            if wanted != got {
                return Err(Error::OtherLength { wanted, got });
            }
            let similarity = self.rows.iter().map(|row| cosine(row.values(), face.values())).fold(-1.0, f32::max);
            if similarity < AGREE {
                return Ok(Offer::OtherPerson { similarity });
            }
            if similarity >= SAME_PICTURE {
                return Ok(Offer::SamePicture);
            }
        }
        if self.rows.len() == PHOTOS_MAX {
            return Ok(Offer::Enough);
        }
        self.rows.push(face.clone());
        Ok(Offer::Taken { wanted: PHOTOS_WANTED.saturating_sub(self.rows.len()) })
    }

    /// Pictures taken so far.
    pub fn photos(&self) -> usize {
        self.rows.len()
    }

    /// The rows. One picture will do where there is but one; [`PHOTOS_WANTED`] are better.
    ///
    /// # Errors
    /// [`Error::BadOption`] if no picture was taken.
    pub fn finish(self) -> Result<PersonRows, Error> {
        PersonRows::new(&self.model, self.rows)
    }
}
