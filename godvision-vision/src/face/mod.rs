//! Faces: where they are, turned upright, and what tells one from another.
//!
//! A [`FaceDetector`] finds boxes and five points, [`FaceChip::cut`] turns a face into a 112x112 picture by those points,
//! a [`FaceEmbedder`] makes numbers of it: close ones for one person, far ones for two. Built in are [`YuNet`] and
//! [`SFace`]; models of one's own go behind the same traits, embedders from an ONNX file with `own` (feature `onnx`).
//!
//! ```
//! use godvision_vision::RgbImage;
//! use godvision_vision::face::{FaceChip, FaceDetector, FaceEmbedder, SFace, YuNet, YuNetOptions};
//!
//! let mut detector = YuNet::new(YuNetOptions::default())?;
//! let mut embedder = SFace::new()?;
//! let picture = RgbImage::black(640, 360)?; // decoded elsewhere
//! for face in detector.find(picture.view())? {
//!     let chip = FaceChip::cut(picture.view(), &face.points)?;
//!     println!("{:?} {:?}", face.bounds, embedder.embed(&chip)?.values());
//! }
//! # Ok::<(), godvision_vision::Error>(())
//! ```
//!
//! Around them: [`quality`] says whether a face is shown well enough, [`track`] joins the faces of a film, [`gallery`]
//! knows people ([`search`] finds the nearest, [`vault`] keeps it sealed), [`identify`] decides from several pictures,
//! [`liveness`] tells a head from a photo, [`enrol`] makes a person's rows, [`compare`] checks a document, [`group`] and
//! [`history`] remember strangers, [`memory`] holds all of that at once, and [`watch`] does it all to a camera's pictures.
//!
//! **Never:** what opens; a model fetched from anywhere; a face or its numbers in a log.

#![forbid(unsafe_code)]

mod align;
mod relief;
mod sface;
mod yunet;

pub mod compare;
pub mod enrol;
pub mod gallery;
pub mod group;
pub mod history;
pub mod identify;
pub mod liveness;
pub mod memory;
#[cfg(feature = "onnx")]
pub mod own;
pub mod quality;
pub mod search;
pub mod track;
pub mod vault;
pub mod watch;

pub use align::{CHIP_SIDE, FaceChip};
pub use sface::SFace;
pub use yunet::{YuNet, YuNetOptions};

use zeroize::Zeroize;

use crate::colour::RgbView;
use crate::error::Error;

/// Fewest numbers of an [`Embedding`].
pub const EMBEDDING_MIN: usize = 16;
/// Most numbers of an [`Embedding`]: twice the longest in common use.
pub const EMBEDDING_MAX: usize = 1024;

/// One face in a picture, in the picture's pixels. Parts may lie outside of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// Left, top, right, bottom.
    pub bounds: [f32; 4],
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// x and y of right eye, left eye, nose, right and left mouth corner: the subject's right, on the picture's left.
    pub points: [[f32; 2]; 5],
}

impl Face {
    /// Width of the box, pixels.
    pub fn width(&self) -> f32 {
        self.bounds[2] - self.bounds[0]
    }

    /// Height of the box, pixels.
    pub fn height(&self) -> f32 {
        self.bounds[3] - self.bounds[1]
    }
}

/// Finds faces. One value serves one stream: it may keep working memory from call to call.
pub trait FaceDetector: Send {
    /// The faces of `picture`, surest first; none is an empty list.
    ///
    /// # Errors
    /// An [`Error`] if the picture cannot be searched.
    fn find(&mut self, picture: RgbView<'_>) -> Result<Vec<Face>, Error>;
}

/// Makes an [`Embedding`] of an upright face.
pub trait FaceEmbedder: Send {
    /// What tells this face from others.
    ///
    /// # Errors
    /// An [`Error`] if the model gives no usable numbers.
    fn embed(&mut self, chip: &FaceChip) -> Result<Embedding, Error>;

    /// Name and version of the model. Embeddings of two models cannot be compared: keep this beside them.
    fn model(&self) -> &str;
}

/// A face as numbers: a direction of length 1. Biometric data: it does not show itself in `Debug` and is overwritten when
/// dropped.
#[derive(Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// Takes `values` and scales them to length 1.
    ///
    /// # Errors
    /// [`Error::BadEmbedding`] unless there are [`EMBEDDING_MIN`] to [`EMBEDDING_MAX`] finite numbers, not all 0.
    pub fn new(values: &[f32]) -> Result<Self, Error> {
        let bad = |reason| Error::BadEmbedding { length: values.len(), reason };
        if !(EMBEDDING_MIN..=EMBEDDING_MAX).contains(&values.len()) {
            return Err(bad("give 16 to 1024"));
        }
        let square: f64 = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        if !square.is_finite() || square < f64::from(f32::MIN_POSITIVE) {
            return Err(bad("give finite ones that are not all 0"));
        }
        let scale = 1.0 / square.sqrt();
        Ok(Self(values.iter().map(|&value| (f64::from(value) * scale) as f32).collect()))
    }

    /// The numbers; their squares add up to 1.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Cosine of the angle between the two, -1 to 1; `None` if they have different lengths, so come from two models.
    pub fn similarity(&self, other: &Self) -> Option<f32> {
        if self.0.len() != other.0.len() {
            return None;
        }
        let dot: f32 = self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum();
        Some(dot.clamp(-1.0, 1.0))
    }
}

impl Drop for Embedding {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "embedding of {} numbers", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedding_has_length_one_and_shows_nothing() {
        let ramp: Vec<f32> = (0..128).map(|index| index as f32 - 60.0).collect();
        let embedding = Embedding::new(&ramp).unwrap();
        let square: f32 = embedding.values().iter().map(|value| value * value).sum();
        assert!((square - 1.0).abs() < 1e-5);
        assert!((embedding.similarity(&embedding).unwrap() - 1.0).abs() < 1e-5);
        let back: Vec<f32> = ramp.iter().map(|value| -3.0 * value).collect();
        assert!((embedding.similarity(&Embedding::new(&back).unwrap()).unwrap() + 1.0).abs() < 1e-5);
        assert_eq!(embedding.similarity(&Embedding::new(&ramp[..64]).unwrap()), None);
        assert_eq!(format!("{embedding:?}"), "embedding of 128 numbers");
    }

    #[test]
    fn unusable_numbers_are_refused() {
        assert!(Embedding::new(&[1.0; EMBEDDING_MIN - 1]).is_err());
        assert!(Embedding::new(&[1.0; EMBEDDING_MIN]).is_ok());
        assert!(Embedding::new(&[1.0; EMBEDDING_MAX]).is_ok());
        assert!(Embedding::new(&[1.0; EMBEDDING_MAX + 1]).is_err());
        assert!(Embedding::new(&[0.0; 128]).is_err());
        assert!(Embedding::new(&[f32::NAN; 128]).is_err());
        assert!(Embedding::new(&[f32::INFINITY; 128]).is_err());
    }
}
