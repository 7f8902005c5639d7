//! A file of weights: the layers of a network in the order in which they run, in the format that `weights/rebuild.py`
//! describes and writes.
//!
//! **Never:** trust in the file. Sizes are checked before anything is reserved, and every number must be finite.

#![forbid(unsafe_code)]

use super::kernel::{self, LANES};
use crate::error::Error;

/// The first bytes of a file.
const MAGIC: &[u8] = b"GVW1";
/// Most layers of a file.
const LAYERS_MAX: usize = 256;
/// Most inputs or outputs of a layer.
const SIDE_MAX: usize = 1 << 17;
/// Most weights of a layer: 16 million, 2.5 times the largest one of SFace.
const WEIGHTS_MAX: usize = 1 << 24;

/// What a layer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 3x3 over red, green and blue.
    Stem,
    /// 3x3, each channel alone.
    Depthwise,
    /// 1x1.
    Pointwise,
    /// Every input to every output.
    Full,
}

/// What follows a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    Relu,
    PRelu,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) kind: Kind,
    pub(crate) after: After,
    /// Pixels of the input from output to output: 1 or 2.
    pub(crate) step: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// As the kernels take them; empty for [`Kind::Full`].
    pub(super) weights: Vec<f32>,
    /// `[outputs, inputs]`, for [`Kind::Full`] alone.
    pub(super) codes: Vec<i8>,
    pub(super) scales: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) slope: Vec<f32>,
}

impl Layer {
    pub(super) fn after(&self) -> kernel::After<'_> {
        kernel::After { bias: &self.bias, slope: &self.slope }
    }
}

/// The layers of one file.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) layers: Vec<Layer>,
    /// What is taken from a byte of the picture.
    pub(crate) subtract: f32,
    /// What the difference is multiplied by.
    pub(crate) multiply: f32,
}

impl Network {
    /// # Errors
    /// [`Error::BadWeights`] says at which byte the file is not what it should be.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader { file, offset: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(Error::BadWeights { offset: 0, reason: "not a file of weights of version 1" });
        }
        let count = reader.word()?;
        if count > LAYERS_MAX {
            return Err(reader.bad("more than 256 layers"));
        }
        let subtract = reader.floats(1)?[0];
        let multiply = reader.floats(1)?[0];
        let mut layers = Vec::with_capacity(count);
        for _ in 0..count {
            layers.push(reader.layer()?);
        }
        if reader.offset != file.len() {
            return Err(reader.bad("bytes follow the last layer"));
        }
        Ok(Self { layers, subtract, multiply })
    }

    /// Whether the layers are these, as kind, inputs, outputs, step and what follows.
    pub(crate) fn expect(&self, wanted: &[(Kind, usize, usize, usize, After)]) -> Result<(), Error> {
        let is = |(layer, &wanted): (&Layer, _)| {
            (layer.kind, layer.inputs, layer.outputs, layer.step, layer.after) == wanted
        };
        match self.layers.len() == wanted.len() && self.layers.iter().zip(wanted).all(is) {
            true => Ok(()),
            false => Err(Error::BadWeights { offset: MAGIC.len(), reason: "the layers are of another network" }),
        }
    }
}

/// Walks through a file.
struct Reader<'a> {
    file: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn bad(&self, reason: &'static str) -> Error {
        Error::BadWeights { offset: self.offset, reason }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Error> {
        let end = self.offset.checked_add(bytes).filter(|&end| end <= self.file.len());
        let end = end.ok_or_else(|| self.bad("the file ends too early"))?;
        let taken = &self.file[self.offset..end];
        self.offset = end;
        Ok(taken)
    }

    fn word(&mut self) -> Result<usize, Error> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().rev().fold(0, |word, &byte| word << 8 | usize::from(byte)))
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        let start = self.offset;
        let bytes = self.take(count.saturating_mul(4))?;
        let floats: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        match floats.iter().all(|value| value.is_finite()) {
            true => Ok(floats),
            false => Err(Error::BadWeights { offset: start, reason: "a number is not finite" }),
        }
    }

    fn layer(&mut self) -> Result<Layer, Error> {
        let &[kind, after, is_rounded, step] = self.take(4)? else { return Err(self.bad("the file ends too early")) };
        let kind = match kind {
            1 => Kind::Stem,
            2 => Kind::Depthwise,
            3 => Kind::Pointwise,
            4 => Kind::Full,
            _ => return Err(self.bad("a kind of layer that is not known")),
        };
        let after = match after {
            0 => After::Nothing,
            1 => After::Relu,
            2 => After::PRelu,
            _ => return Err(self.bad("what follows the layer is not known")),
        };
        if is_rounded > 1 || !(1..=2).contains(&step) {
            return Err(self.bad("weights are 32-bit floats or 8-bit integers, steps are 1 or 2"));
        }
        let (inputs, outputs) = (self.word()?, self.word()?);
        let depth = match kind {
            Kind::Stem if inputs == 3 => 27,
            Kind::Depthwise if inputs == outputs => 9,
            Kind::Pointwise | Kind::Full if inputs.is_multiple_of(LANES) => inputs,
            _ => return Err(self.bad("the inputs do not fit the kind of layer")),
        };
        let sides = 1..=SIDE_MAX;
        if !sides.contains(&inputs) || !sides.contains(&outputs) || depth * outputs > WEIGHTS_MAX {
            return Err(self.bad("the layer is empty or too large"));
        }
        if !outputs.is_multiple_of(LANES) {
            return Err(self.bad("the outputs are no multiple of 16"));
        }
        if kind == Kind::Full && (is_rounded == 0 || after != After::Nothing) {
            return Err(self.bad("a full layer has 8-bit weights and nothing after it"));
        }
        let (mut weights, mut codes, mut scales) = (vec![], vec![], vec![]);
        if is_rounded == 1 {
            scales = self.floats(outputs)?;
            codes = self.take(depth * outputs)?.iter().map(|&byte| byte.cast_signed()).collect();
            if kind != Kind::Full {
                let rows = codes.chunks_exact(depth).zip(&scales);
                weights = rows.flat_map(|(row, &scale)| row.iter().map(move |&code| f32::from(code) * scale)).collect();
                codes = vec![];
            }
        } else {
            weights = self.floats(depth * outputs)?;
        }
        match kind {
            Kind::Stem | Kind::Pointwise => weights = panels(&weights, depth),
            Kind::Depthwise => weights = columns(&weights, depth),
            Kind::Full => {}
        }
        let bias = self.floats(outputs)?;
        let slope = match after {
            After::Nothing => vec![1.0; outputs],
            After::Relu => vec![0.0; outputs],
            After::PRelu => self.floats(outputs)?,
        };
        Ok(Layer { kind, after, step: step.into(), inputs, outputs, weights, codes, scales, bias, slope })
    }
}

/// `[outputs][depth]` to `[outputs / LANES][depth][LANES]`.
fn panels(rows: &[f32], depth: usize) -> Vec<f32> {
    rows.chunks_exact(depth * LANES).flat_map(|panel| columns(panel, depth)).collect()
}

/// `[rows][depth]` to `[depth][rows]`.
fn columns(rows: &[f32], depth: usize) -> Vec<f32> {
    (0..depth).flat_map(|column| rows.iter().skip(column).step_by(depth).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one 1x1 layer of 16 to 16, by its head and its numbers.
    fn file(head: [u8; 4], inputs: u32, outputs: u32, floats: usize) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(1_u32.to_le_bytes());
        file.extend([0; 8]);
        file.extend(head);
        file.extend(inputs.to_le_bytes());
        file.extend(outputs.to_le_bytes());
        (0..floats).for_each(|index| file.extend((index as f32).to_le_bytes()));
        file
    }

    #[test]
    fn a_layer_is_read_and_packed() {
        let network = Network::parse(&file([3, 1, 0, 1], 16, 32, 16 * 32 + 32)).unwrap();
        let layer = &network.layers[0];
        assert_eq!((layer.kind, layer.after, layer.outputs), (Kind::Pointwise, After::Relu, 32));
        // Output 17, input 3 lies in the second panel, row 3, lane 1.
        assert_eq!(layer.weights[16 * 16 + 3 * 16 + 1], (17 * 16 + 3) as f32);
        assert_eq!(layer.bias[31], (16 * 32 + 31) as f32);
    }

    #[test]
    fn every_cut_file_is_refused_where_it_ends() {
        let whole = file([3, 0, 0, 1], 16, 16, 16 * 16 + 16);
        Network::parse(&whole).unwrap();
        for length in 0..whole.len() {
            assert!(
                matches!(Network::parse(&whole[..length]), Err(Error::BadWeights { offset, .. }) if offset <= length)
            );
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(Network::parse(&longer).is_err());
    }

    #[test]
    fn what_cannot_be_run_is_refused_before_memory_is_taken() {
        for (head, inputs, outputs) in [
            ([9, 0, 0, 1], 16, 16),
            ([3, 9, 0, 1], 16, 16),
            ([3, 0, 9, 1], 16, 16),
            ([3, 0, 0, 3], 16, 16),
            ([3, 0, 0, 1], 15, 16),
            ([3, 0, 0, 1], 16, 15),
            ([3, 0, 0, 1], 0, 16),
            ([3, 0, 0, 1], 16, 0),
            ([3, 0, 0, 1], !15, 16),
            ([3, 0, 0, 1], 1 << 17, 1 << 17),
            ([2, 0, 0, 1], 16, 32),
            ([1, 0, 0, 1], 4, 16),
            ([4, 0, 0, 1], 16, 16),
        ] {
            let result = Network::parse(&file(head, inputs, outputs, 1000));
            assert!(matches!(result, Err(Error::BadWeights { .. })), "{head:?} {inputs} {outputs}");
        }
        let mut many = file([3, 0, 0, 1], 16, 16, 272);
        many[4..8].copy_from_slice(&257_u32.to_le_bytes());
        assert!(Network::parse(&many).unwrap_err().to_string().contains("256"));
        let mut infinite = file([3, 0, 0, 1], 16, 16, 272);
        infinite[28..32].copy_from_slice(&f32::INFINITY.to_le_bytes());
        assert!(Network::parse(&infinite).is_err());
    }
}
