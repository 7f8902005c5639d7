//! Embeddings by a model from a user's own ONNX file: [`OnnxEmbedder`].
//!
//! For networks that take an upright face of 112x112 pixels, as those of the ArcFace family do, and give one row of
//! numbers. Many such files may be used for research only: read their licence. Faces keep coming from [`super::YuNet`], or
//! from any other [`super::FaceDetector`].
//!
//! **Never:** a guess at what the numbers of pixels should be; the options say it.

#![forbid(unsafe_code)]

use super::{CHIP_SIDE, EMBEDDING_MAX, EMBEDDING_MIN, Embedding, FaceChip, FaceEmbedder};
use crate::error::Error;
use crate::onnx::OnnxModel;

/// What a model wants to be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnnxEmbedderOptions {
    /// What is taken from each byte. 127.5, as ArcFace's published models want.
    pub subtract: f32,
    /// What the difference is multiplied by. 1 / 127.5.
    pub multiply: f32,
    /// Whether blue comes first. False.
    pub is_bgr: bool,
}

impl Default for OnnxEmbedderOptions {
    fn default() -> Self {
        Self { subtract: 127.5, multiply: 1.0 / 127.5, is_bgr: false }
    }
}

/// Makes embeddings with a model of one's own, in `[1, 3, 112, 112]`, out a row of 16 to 1024 numbers.
pub struct OnnxEmbedder {
    model: OnnxModel,
    name: String,
    options: OnnxEmbedderOptions,
    input: Vec<f32>,
}

impl OnnxEmbedder {
    /// Loads the bytes of a file and tries it once. `name` and a checksum of the bytes name the model, so that embeddings
    /// of two files are never compared.
    ///
    /// # Errors
    /// [`Error::BadModel`] if it is no such model; [`Error::BadOption`] if an option is not finite or `multiply` is 0;
    /// [`Error::ModelFailed`] if it cannot be run.
    pub fn read(name: &str, bytes: Vec<u8>, options: OnnxEmbedderOptions) -> Result<Self, Error> {
        let is_usable = options.subtract.is_finite() && options.multiply.is_finite() && options.multiply != 0.0;
        if !is_usable {
            return Err(Error::BadOption { option: "multiply", reason: "give finite numbers, and not 0" });
        }
        // FNV-1a: tells files apart, guards against nothing.
        let mix = |sum: u64, &byte: &u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let full_name = format!("{name}-{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix));
        let model = OnnxModel::read(name, bytes)?;
        let mut embedder = Self { model, name: full_name, options, input: Vec::new() };
        let numbers = embedder.run(&[0; CHIP_SIDE * CHIP_SIDE * 3])?.len();
        if !(EMBEDDING_MIN..=EMBEDDING_MAX).contains(&numbers) {
            let reason = format!("it gives {numbers} numbers for a face, 16 to 1024 are an embedding");
            return Err(Error::BadModel { model: name.to_owned(), reason });
        }
        Ok(embedder)
    }

    fn run(&mut self, pixels: &[u8]) -> Result<Vec<f32>, Error> {
        let OnnxEmbedderOptions { subtract, multiply, is_bgr } = self.options;
        self.input.clear();
        for plane in 0..3 {
            let channel = if is_bgr { 2 - plane } else { plane };
            let bytes = pixels.iter().skip(channel).step_by(3);
            self.input.extend(bytes.map(|&byte| (f32::from(byte) - subtract) * multiply));
        }
        let mut outputs = self.model.run(&self.input, &[1, 3, CHIP_SIDE, CHIP_SIDE])?;
        Ok(outputs.swap_remove(0).0)
    }
}

impl FaceEmbedder for OnnxEmbedder {
    fn embed(&mut self, chip: &FaceChip) -> Result<Embedding, Error> {
        Embedding::new(&self.run(chip.pixels())?)
    }

    fn model(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Debug for OnnxEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxEmbedder").field("model", &self.name).finish_non_exhaustive()
    }
}
