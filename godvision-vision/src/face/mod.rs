//! Faces: where they are in a picture, and a row of numbers that tells persons apart.
//!
//! A picture goes through three steps, each behind a type that can be replaced: [`FaceDetector`] finds boxes and five
//! points, [`FaceChip`] turns and scales a face to a fixed template, [`FaceEmbedder`] makes an [`Embedding`]
//! of the chip. Two embeddings of one model are compared by [`Embedding::similarity`].
//!
//! **Never:** names, thresholds that open doors, or a picture kept: this module measures, others decide.

#![forbid(unsafe_code)]

mod align;

pub mod compare;
pub mod enrol;
pub mod gallery;
pub mod group;
pub mod history;
pub mod identify;
pub mod liveness;
pub mod quality;
pub mod search;
pub mod track;
pub mod vault;

pub use align::{CHIP_SIDE, FaceChip};

use crate::colour::RgbView;
use crate::error::Error;

/// A face found in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// Left, top, right, bottom in pixels of the picture; may reach beyond its edges.
    pub bounds: [f32; 4],
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// Right eye, left eye, nose, right and left corner of the mouth, as `[x, y]` in pixels. Right is the person's right,
    /// so the right eye is on the left of the picture.
    pub points: [[f32; 2]; 5],
}

impl Face {
    /// Width of the box in pixels.
    pub fn width(&self) -> f32 {
        self.bounds[2] - self.bounds[0]
    }

    /// Height of the box in pixels.
    pub fn height(&self) -> f32 {
        self.bounds[3] - self.bounds[1]
    }
}

/// How many values the built-in model's embeddings have.
pub const EMBEDDING_LEN: usize = 128;
/// Most values that an embedding may have: twice the longest in common use (512).
pub const EMBEDDING_LEN_MAX: usize = 1024;

/// What a model makes of a face: a direction, as values whose squares add up to 1.
///
/// Only embeddings of one model compare; see [`FaceEmbedder::model`]. It is biometric data: [`std::fmt::Debug`] does not
/// print the values.
#[derive(Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// Scales `values` to length 1.
    ///
    /// # Errors
    /// [`Error::BadEmbedding`] if there are none or more than [`EMBEDDING_LEN_MAX`], one is not finite, or all are 0.
    pub fn new(values: &[f32]) -> Result<Self, Error> {
        let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if !(1..=EMBEDDING_LEN_MAX).contains(&values.len())
            || !length.is_finite()
            || length < f64::from(f32::MIN_POSITIVE)
        {
            return Err(Error::BadEmbedding { values: values.len() });
        }
        Ok(Self(values.iter().map(|value| (f64::from(*value) / length) as f32).collect()))
    }

    /// Cosine of the angle between the two, -1 to 1; 0 if their lengths differ, since models that differ say nothing
    /// about each other.
    pub fn similarity(&self, other: &Self) -> f32 {
        if self.0.len() != other.0.len() {
            return 0.0;
        }
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum::<f32>().clamp(-1.0, 1.0)
    }

    /// The values, [`EMBEDDING_LEN`] of them for the built-in model.
    pub fn values(&self) -> &[f32] {
        &self.0
    }
}

impl std::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "embedding of {} values", self.0.len())
    }
}

/// Finds faces.
pub trait FaceDetector: Send {
    /// All faces in `picture`, the surest first.
    ///
    /// # Errors
    /// The detector's own; a picture without faces is an empty list.
    fn find(&mut self, picture: RgbView<'_>) -> Result<Vec<Face>, Error>;
}

/// Makes embeddings.
pub trait FaceEmbedder: Send {
    /// The embedding of an aligned face.
    ///
    /// # Errors
    /// [`Error::BadEmbedding`] if the model gives something that is no direction.
    fn embed(&mut self, chip: &FaceChip) -> Result<Embedding, Error>;

    /// Name and fingerprint of the model, stored beside every embedding: those of different models never compare.
    fn model(&self) -> &str;
}
