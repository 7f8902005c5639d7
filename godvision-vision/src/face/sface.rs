//! SFace: 128 numbers of an upright face.
//!
//! Source: Y. Zhong, W. Deng, J. Hu, D. Zhao, X. Li, D. Wen, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face
//! Recognition" (2021), on a network of MobileFaceNet's kind; weights of December 2021, Apache-2.0
//! (`weights/SOURCES.md`), rounded to 8 bits an output channel.
//!
//! What faces the weights were trained on is not documented; such sets are gathered from the web.
//!
//! **Never:** a threshold. How alike two faces must be depends on what opens; see the gallery.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{CHIP_SIDE, Embedding, FaceChip, FaceEmbedder};
use crate::colour::RgbView;
use crate::error::Error;
use crate::net::{After, Kind, Level, Network, Runner, Tensor};

/// The weights in the crate.
const WEIGHTS: &[u8] = include_bytes!("../../weights/sface.gvw");

/// The model of these weights.
const MODEL: &str = "sface-2021dec-int8";

/// Makes embeddings with SFace. Holds 25 MB of weights, which clones share, and some megabytes of working memory.
pub struct SFace {
    model: String,
    network: Arc<Network>,
    runner: Runner,
    a: Tensor,
    b: Tensor,
    values: Vec<f32>,
}

impl SFace {
    /// An embedder with the weights in the crate. Reading them takes some 20 ms: keep the value.
    ///
    /// # Errors
    /// [`Error::BadWeights`], only if the crate was built with a changed file.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { model: MODEL.to_owned(), ..Self::with_weights(WEIGHTS)? })
    }

    /// An embedder with other weights of the same network, in the format of `weights/rebuild.py`. Its model is named for
    /// a checksum of the file, since its numbers cannot be compared with those of other weights.
    ///
    /// # Errors
    /// [`Error::BadWeights`] if the file cannot be run.
    pub fn with_weights(file: &[u8]) -> Result<Self, Error> {
        let network = Network::parse(file)?;
        network.expect(&layers())?;
        // FNV-1a: tells files apart, guards against nothing.
        let mix = |sum: u64, &byte: &u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let model = format!("sface-{:016x}", file.iter().fold(0xcbf2_9ce4_8422_2325, mix));
        Ok(Self::of(model, Arc::new(network)))
    }

    fn of(model: String, network: Arc<Network>) -> Self {
        let runner = Runner::new(Level::detect());
        Self { model, network, runner, a: Tensor::default(), b: Tensor::default(), values: Vec::new() }
    }
}

/// Another one for another thread, with the same weights in the same memory.
impl Clone for SFace {
    fn clone(&self) -> Self {
        Self::of(self.model.clone(), Arc::clone(&self.network))
    }
}

impl FaceEmbedder for SFace {
    /// 128 numbers. Allocates the result alone, after the first call.
    ///
    /// # Errors
    /// [`Error::BadEmbedding`] if all come out as 0, which no real weights do.
    fn embed(&mut self, chip: &FaceChip) -> Result<Embedding, Error> {
        let picture = RgbView::new(chip.pixels(), CHIP_SIDE, CHIP_SIDE, CHIP_SIDE * 3)?;
        let Self { network, runner, a, b, values, .. } = self;
        for layer in &network.layers {
            match layer.kind {
                Kind::Stem => runner.stem(network, layer, picture, [CHIP_SIDE; 2], b),
                Kind::Depthwise => runner.depthwise(layer, a, b),
                Kind::Pointwise => runner.pointwise(layer, a, b),
                Kind::Full => {
                    runner.full(layer, a, values);
                    continue;
                }
            }
            std::mem::swap(a, b);
        }
        Embedding::new(values)
    }

    fn model(&self) -> &str {
        &self.model
    }
}

impl std::fmt::Debug for SFace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SFace").finish_non_exhaustive()
    }
}

/// The layers that a file must have: thirteen pairs of a 3x3 and a 1x1 between the first and the last.
fn layers() -> Vec<(Kind, usize, usize, usize, After)> {
    let mut layers = vec![(Kind::Stem, 3, 32, 1, After::PRelu)];
    let pairs = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)];
    let deep = [(512, 512, 1); 5].into_iter().chain([(512, 1024, 2), (1024, 1024, 1)]);
    for (inputs, outputs, step) in pairs.into_iter().chain(deep) {
        layers.push((Kind::Depthwise, inputs, inputs, step, After::PRelu));
        layers.push((Kind::Pointwise, inputs, outputs, 1, After::PRelu));
    }
    layers.push((Kind::Full, 7 * 7 * 1024, 128, 1, After::Nothing));
    layers
}
