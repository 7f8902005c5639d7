//! Making a person's rows from several pictures: [`FaceEnroller`] looks at one photo, [`Enrolment`] gathers several.
//!
//! Each picture must be good and show the person of the others; one that shows nothing new is put back with the advice to
//! turn a little. What comes out are [`PersonRows`] for a [`super::gallery::Gallery`].
//!
//! **Never:** a row from a picture with a concern, two people in one enrolment, consent (the gallery asks for that).

#![forbid(unsafe_code)]

use super::gallery::{PHOTOS_MAX, PersonRows};
use super::quality::{Concern, Quality, QualityOptions};
use super::search::cosine;
use super::{Embedding, Face, FaceChip, FaceDetector, FaceEmbedder, SFace, YuNet, YuNetOptions};
use crate::colour::RgbView;
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

/// How wide another face in a photo may be, in parts of the widest one's, to be somebody in the background.
const BACKGROUND: f32 = 0.5;
/// The detector knows faces of up to about 300 pixels, so a photo that is all face is shown to it smaller and smaller.
const SIDES: [usize; 3] = [640, 320, 160];

/// Why a photo does not serve to enrol a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoFault {
    /// Nobody is in it.
    #[error("no face was found: take a photo of one face that looks at the camera")]
    NoFace,
    /// More than one face is as large as could be meant.
    #[error("{faces} faces are in the photo: take one of this person alone")]
    ManyFaces {
        /// How many.
        faces: usize,
    },
    /// The face is too small, turned, blurred, ...
    #[error("the face is not shown well enough ({}): {}", .0.code(), .0.advice())]
    Poor(Concern),
}

impl PhotoFault {
    /// For journals and forms: `no_face`, `many_faces`, or [`Concern::code`].
    pub fn code(self) -> &'static str {
        match self {
            Self::NoFace => "no_face",
            Self::ManyFaces { .. } => "many_faces",
            Self::Poor(concern) => concern.code(),
        }
    }
}

/// A photo that serves.
#[derive(Clone, Debug, PartialEq)]
pub struct EnrolPhoto {
    /// What tells this face from others.
    pub embedding: Embedding,
    /// How well it is shown.
    pub quality: Quality,
    /// Where it is, in the photo's pixels.
    pub face: Face,
}

/// Makes embeddings of photos, and says of a photo why it is no good.
pub struct FaceEnroller {
    detectors: Vec<Box<dyn FaceDetector>>,
    embedder: Box<dyn FaceEmbedder>,
    quality: QualityOptions,
}

impl FaceEnroller {
    /// With the built-in models and the quality that a door asks for.
    ///
    /// # Errors
    /// [`Error::BadWeights`], only if the crate was built with a changed file.
    pub fn new() -> Result<Self, Error> {
        let detector =
            |side| Ok(Box::new(YuNet::new(YuNetOptions { side, ..Default::default() })?) as Box<dyn FaceDetector>);
        let detectors = SIDES.into_iter().map(detector).collect::<Result<_, Error>>()?;
        Ok(Self { detectors, embedder: Box::new(SFace::new()?), quality: QualityOptions::default() })
    }

    /// With models of one's own.
    pub fn with_models(
        detector: Box<dyn FaceDetector>,
        embedder: Box<dyn FaceEmbedder>,
        quality: QualityOptions,
    ) -> Self {
        Self { detectors: vec![detector], embedder, quality }
    }

    /// The model whose embeddings it makes: what the gallery must be of.
    pub fn model(&self) -> &str {
        self.embedder.model()
    }

    /// Looks at a photo. Somebody small in the background is passed over.
    ///
    /// Takes some 30 ms, and half as much again for a photo in which no face is found at once.
    ///
    /// # Errors
    /// The outer one if the photo cannot be searched or the models fail; the inner one says what is wrong with it.
    pub fn look(&mut self, photo: RgbView<'_>) -> Result<Result<EnrolPhoto, PhotoFault>, Error> {
        let mut faces = Vec::new();
        for detector in &mut self.detectors {
            faces = detector.find(photo)?;
            if !faces.is_empty() {
                break;
            }
        }
        let Some(face) = faces.iter().copied().max_by(|a, b| a.width().total_cmp(&b.width())) else {
            return Ok(Err(PhotoFault::NoFace));
        };
        let large = faces.iter().filter(|other| other.width() > face.width() * BACKGROUND).count();
        if large > 1 {
            return Ok(Err(PhotoFault::ManyFaces { faces: large }));
        }
        let chip = FaceChip::cut(photo, &face.points)?;
        let quality = Quality::of(&face, &chip, [photo.width(), photo.height()], &self.quality);
        if let Some(concern) = quality.concerns.first() {
            return Ok(Err(PhotoFault::Poor(concern)));
        }
        Ok(Ok(EnrolPhoto { embedding: self.embedder.embed(&chip)?, quality, face }))
    }

    /// Rows of one person from one or more photos, in one call.
    ///
    /// # Errors
    /// The outer one as [`FaceEnroller::look`]; the inner one names the first photo, counted from 0, that does not serve,
    /// and why. A photo too like another is left out and no fault.
    pub fn rows(&mut self, photos: &[RgbView<'_>]) -> Result<Result<PersonRows, (usize, EnrolFault)>, Error> {
        let mut enrolment = Enrolment::of_model(self.embedder.model());
        for (index, photo) in photos.iter().enumerate() {
            let photo = match self.look(*photo)? {
                Ok(photo) => photo,
                Err(fault) => return Ok(Err((index, EnrolFault::Photo(fault)))),
            };
            if let Offer::OtherPerson { .. } = enrolment.offer(&photo.embedding, &photo.quality)? {
                return Ok(Err((index, EnrolFault::OtherPerson)));
            }
        }
        Ok(Ok(enrolment.finish()?))
    }
}

impl std::fmt::Debug for FaceEnroller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaceEnroller").field("model", &self.model()).finish_non_exhaustive()
    }
}

/// Why photos do not serve to enrol a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolFault {
    /// One of them is no good.
    #[error(transparent)]
    Photo(PhotoFault),
    /// One of them shows somebody else than those before.
    #[error("this photo shows somebody else than those before: give photos of one person")]
    OtherPerson,
}
