//! Whether a face is that of a document's photo: one to one, without a gallery.
//!
//! The threshold is lower than a door's, since one is compared with one and not with all: 0.38 kept 99.3 % of pairs of one
//! person and 2 of 25,643 of others, on photos of good size. No document photo was in that set. A document's face must be
//! 60 pixels wide after the scan; below, false matches multiply.
//!
//! **Never:** reading the document, judging whether it is genuine, liveness of who holds it.

#![forbid(unsafe_code)]
#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is not a number must not pass")]

use super::quality::{Concern, Quality};
use super::search::cosine;
use super::{FaceChip, FaceEmbedder};
use crate::error::Error;

/// How a face is compared with a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DocumentOptions {
    /// Least similarity. 0.38.
    pub threshold: f32,
    /// Least width of the document's face, pixels. 60.
    pub document_width_min: f32,
}

impl Default for DocumentOptions {
    fn default() -> Self {
        Self { threshold: 0.38, document_width_min: 60.0 }
    }
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentVerdict {
    /// One person, as far as faces tell.
    Same,
    /// Two people.
    Different,
    /// The person's face cannot be compared.
    PoorFace(Concern),
    /// The document's face is too small: scan it at a higher resolution.
    SmallDocument,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DocumentCheck {
    /// What it says.
    pub verdict: DocumentVerdict,
    /// Cosine, if the faces could be compared.
    pub similarity: Option<f32>,
}

/// Compares a person's face with a document's, each with its quality. Of the document only the width counts: photos on
/// documents are soft and flat.
///
/// # Errors
/// Those of the embedder; [`Error::BadOption`] if the threshold is not 0 to 1.
pub fn compare_to_document(
    embedder: &mut dyn FaceEmbedder,
    person: (&FaceChip, &Quality),
    document: (&FaceChip, &Quality),
    options: &DocumentOptions,
) -> Result<DocumentCheck, Error> {
    if !(0.0..=1.0).contains(&options.threshold) {
        return Err(Error::BadOption { option: "threshold", reason: "must be 0 to 1" });
    }
    let refused = |verdict| Ok(DocumentCheck { verdict, similarity: None });
    if !(document.1.width >= options.document_width_min) {
        return refused(DocumentVerdict::SmallDocument);
    }
    if let Some(concern) = person.1.concerns.first() {
        return refused(DocumentVerdict::PoorFace(concern));
    }
    let (face, photo) = (embedder.embed(person.0)?, embedder.embed(document.0)?);
    let (wanted, got) = (face.values().len(), photo.values().len());
    if wanted != got {
        return Err(Error::OtherLength { wanted, got });
    }
    let similarity = cosine(face.values(), photo.values());
    let is_same = similarity >= options.threshold;
    let verdict = if is_same { DocumentVerdict::Same } else { DocumentVerdict::Different };
    Ok(DocumentCheck { verdict, similarity: Some(similarity) })
}
