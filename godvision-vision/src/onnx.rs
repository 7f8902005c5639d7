//! ONNX files, run on the processor: [`OnnxModel`] takes the bytes of a file, then numbers, and gives numbers.
//!
//! The runtime is `rten` (pure Rust, safe on hostile files); no type of it shows here, so it can be changed for another.
//! One model uses one thread of its own, so that eight cameras cost what eight cameras cost.
//!
//! **Never:** downloads, external weight files, inputs other than `f32`, models with several inputs.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rten::{Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool, ValueOrView, ValueType, ValueView};
use rten_tensor::{Layout, TensorView};

use crate::error::Error;

/// Largest file that is loaded: the recognisers in use have 5 to 40 MB, InsightFace's largest has 260 MB.
pub const MODEL_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Most values of one input: a batch of four 1080p pictures in three channels, twice over.
pub const INPUT_VALUES_MAX: usize = 50_000_000;

/// Most axes of an input: pictures have four, films five.
pub const AXES_MAX: usize = 6;

/// What a model's input or output is called, and its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxPort {
    /// Its name in the file; empty if it has none.
    pub name: String,
    /// Its axes, outermost first; `None` is one whose length depends on the input. Empty if the file does not say.
    pub shape: Vec<Option<usize>>,
}

/// One output of a run: the values, row-major, and the length of each axis.
pub type OnnxOutput = (Vec<f32>, Vec<usize>);

/// A loaded model.
pub struct OnnxModel {
    name: String,
    model: Model,
    input: NodeId,
    inputs: Vec<OnnxPort>,
    outputs: Vec<OnnxPort>,
    pool: Arc<ThreadPool>,
}

impl OnnxModel {
    /// Loads the bytes of an `.onnx` file. `name` is for errors: the file's name, say.
    ///
    /// Takes 2 to 110 ms for the models in use. Weights are repacked for speed, so about twice the file's size stays.
    ///
    /// # Errors
    /// [`Error::BadModel`] if it is larger than [`MODEL_BYTES_MAX`], is no ONNX file, uses an operator that `rten` lacks,
    /// or has not exactly one input of `f32`.
    pub fn read(name: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        let bad = |reason: String| Error::BadModel { model: name.to_owned(), reason };
        if bytes.len() > MODEL_BYTES_MAX {
            return Err(bad(format!("it has {} bytes, at most {MODEL_BYTES_MAX} are loaded", bytes.len())));
        }
        if !Message::Model.is_whole(&bytes, 0) {
            return Err(bad("it is no whole ONNX file".to_owned()));
        }
        let load = AssertUnwindSafe(|| ModelOptions::with_all_ops().prepack_weights(true).load(bytes));
        // The runtime refuses bad files with errors; a panic would be its bug, and is not to stop a site.
        let model = catch_unwind(load).map_err(|_| bad("the runtime panicked on it".to_owned()))?;
        let model = model.map_err(|error| bad(one_line(&error)))?;
        let inputs = ports(&model, model.input_ids());
        let outputs = ports(&model, model.output_ids());
        let &[input] = model.input_ids() else {
            return Err(bad(format!("it has {} inputs, one is needed", inputs.len())));
        };
        let dtype = model.node_info(input).and_then(|node| node.dtype());
        if dtype.is_some_and(|dtype| dtype != ValueType::Tensor(rten::DataType::Float)) {
            return Err(bad("its input is not of type f32".to_owned()));
        }
        if outputs.is_empty() {
            return Err(bad("it has no output".to_owned()));
        }
        let pool = Arc::new(ThreadPool::with_num_threads(1));
        Ok(Self { name: name.to_owned(), model, input, inputs, outputs, pool })
    }

    /// The name it was loaded with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it takes: one input.
    pub fn inputs(&self) -> &[OnnxPort] {
        &self.inputs
    }

    /// What it gives, in the order of [`OnnxModel::run`].
    pub fn outputs(&self) -> &[OnnxPort] {
        &self.outputs
    }

    /// A text that the file's author put beside the weights (`metadata_props`): a list of characters, a licence.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.model.metadata().get(key)
    }

    /// Runs it on `input`, row-major with the axes `shape`. The input is not copied; the outputs are new memory.
    ///
    /// # Errors
    /// [`Error::ModelFailed`] if the shape has an axis of 0, more than [`AXES_MAX`] axes or [`INPUT_VALUES_MAX`] values, is
    /// not what the model takes or not what `input` has; if an operator fails; if an output is not of type `f32`.
    pub fn run(&mut self, input: &[f32], shape: &[usize]) -> Result<Vec<OnnxOutput>, Error> {
        let failed = |reason: String| Error::ModelFailed { model: self.name.clone(), reason };
        let values = shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
        let is_sane = (1..=AXES_MAX).contains(&shape.len())
            && values.is_some_and(|values| values == input.len() && (1..=INPUT_VALUES_MAX).contains(&values));
        if !is_sane {
            return Err(failed(format!("{} values are no input of shape {shape:?}", input.len())));
        }
        let wanted = self.inputs.first().map_or(&[][..], |port| &port.shape);
        let fits = |(&wanted, &given): (&Option<usize>, &usize)| wanted.is_none_or(|wanted| wanted == given);
        if !wanted.is_empty() && (wanted.len() != shape.len() || !wanted.iter().zip(shape).all(fits)) {
            return Err(failed(format!("it takes {}, not {shape:?}", Shape(wanted))));
        }
        let view = ValueOrView::View(ValueView::FloatTensor(TensorView::from_data(shape, input)));
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(&self.pool));
        let outputs = self.model.output_ids();
        let run = AssertUnwindSafe(|| self.model.run(vec![(self.input, view)], outputs, Some(options)));
        let values = catch_unwind(run).map_err(|_| failed("the runtime panicked".to_owned()))?;
        let values = values.map_err(|error| failed(one_line(&error)))?;
        let floats = values.into_iter().map(|value| {
            let tensor = value.into_tensor::<f32>()?;
            let shape = tensor.shape().to_vec();
            Some((tensor.into_data(), shape))
        });
        floats.collect::<Option<_>>().ok_or_else(|| failed("an output is not of type f32".to_owned()))
    }
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model {}", self.name)?;
        let port = |port: &OnnxPort| format!("{} {}", port.name, Shape(&port.shape));
        for (word, ports) in [("in", &self.inputs), ("out", &self.outputs)] {
            write!(f, "; {word}: {}", ports.iter().map(port).collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// The messages of an ONNX file, as far as they nest. `rten` 0.27 does not end on a file that was cut off: a field that
/// reaches past the end of what holds it is read for ever. So the lengths are checked before it sees them.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Port,
    Type,
    TensorType,
    Axes,
    Axis,
    /// Text, numbers, or a message without further ones in it.
    Leaf,
}

/// How deep messages may nest: graphs lie in attributes of nodes of graphs.
const DEPTH_MAX: usize = 32;

impl Message {
    /// What field `number` holds (`onnx.proto3`).
    fn part(self, number: u64) -> Self {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::Port,
            (Self::Port, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Axes,
            (Self::Axes, 1) => Self::Axis,
            (Self::Node, 5) => Self::Attribute,
            _ => Self::Leaf,
        }
    }

    /// Whether each field lies within what holds it.
    fn is_whole(self, bytes: &[u8], depth: usize) -> bool {
        if matches!(self, Self::Leaf) {
            return true;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(key) = varint(&mut rest) else { return false };
            let length = match key & 7 {
                0 => varint(&mut rest).map(|_| 0),
                1 => Some(8),
                2 => varint(&mut rest),
                5 => Some(4),
                _ => None,
            };
            let Some((field, after)) = length.and_then(|length| rest.split_at_checked(usize::try_from(length).ok()?))
            else {
                return false;
            };
            let part = self.part(key >> 3);
            if key & 7 == 2 && (depth >= DEPTH_MAX || !part.is_whole(field, depth + 1)) {
                return false;
            }
            rest = after;
        }
        true
    }
}

/// A number of protocol buffers: seven bits a byte, the lowest first.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

struct Shape<'a>(&'a [Option<usize>]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axis = |axis: &Option<usize>| axis.map_or("any".to_owned(), |length| length.to_string());
        write!(f, "[{}]", self.0.iter().map(axis).collect::<Vec<_>>().join(", "))
    }
}

fn ports(model: &Model, ids: &[NodeId]) -> Vec<OnnxPort> {
    let axis = |dimension: Dimension| match dimension {
        Dimension::Fixed(length) => Some(length),
        Dimension::Symbolic(_) => None,
    };
    let port = |&id: &NodeId| {
        let node = model.node_info(id);
        let name = node.as_ref().and_then(|node| node.name()).unwrap_or_default().to_owned();
        let shape = node.and_then(|node| node.shape()).unwrap_or_default();
        OnnxPort { name, shape: shape.into_iter().map(axis).collect() }
    };
    ids.iter().map(port).collect()
}

/// Errors of this crate have one line.
fn one_line(error: &dyn fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of a protocol buffer: a length-delimited one.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        assert!(bytes.len() < 128, "a length of one byte");
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn number(number: u8, value: u8) -> Vec<u8> {
        vec![number << 3, value]
    }

    /// `name: f32 [any, 2]`, a ValueInfoProto.
    fn port(name: &str, kind: u8) -> Vec<u8> {
        let axes = [field(1, &field(2, b"rows")), field(1, &number(1, 2))].concat();
        let tensor = [number(1, kind), field(2, &axes)].concat();
        [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
    }

    /// The model `y = relu(x)` with a note, as bytes: small enough to be written by hand.
    fn relu(inputs: &[(&str, u8)]) -> Vec<u8> {
        let node = [field(1, b"x"), field(2, b"y"), field(4, b"Relu")].concat();
        let mut graph = [field(1, &node), field(2, b"g")].concat();
        inputs.iter().for_each(|(name, kind)| graph.extend(field(11, &port(name, *kind))));
        graph.extend(field(12, &port("y", 1)));
        let note = [field(1, b"letters"), field(2, b"ABC")].concat();
        [number(1, 8), field(7, &graph), field(8, &number(2, 13)), field(14, &note)].concat()
    }

    #[test]
    fn a_model_says_what_it_takes_and_gives_numbers() {
        let mut model = OnnxModel::read("relu", relu(&[("x", 1)])).unwrap();
        assert_eq!(model.inputs(), [OnnxPort { name: "x".into(), shape: vec![None, Some(2)] }]);
        assert_eq!(model.outputs(), [OnnxPort { name: "y".into(), shape: vec![None, Some(2)] }]);
        assert_eq!((model.metadata("letters"), model.metadata("digits")), (Some("ABC"), None));
        assert_eq!(model.run(&[-1.0, 2.0, 3.0, -4.0], &[2, 2]).unwrap(), [(vec![0.0, 2.0, 3.0, 0.0], vec![2, 2])]);
        assert_eq!(format!("{model:?}"), "model relu; in: x [any, 2]; out: y [any, 2]");
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let mut model = OnnxModel::read("relu", relu(&[("x", 1)])).unwrap();
        for shape in [&[][..], &[0, 2], &[1, 3], &[4], &[2, 1], &[usize::MAX, 2], &[1, 1, 1, 1, 1, 1, 1, 2]] {
            let error = model.run(&[1.0, 2.0], shape).unwrap_err();
            assert!(matches!(error, Error::ModelFailed { .. }), "{shape:?}");
        }
        let many = vec![0.0; INPUT_VALUES_MAX + 2];
        assert!(model.run(&many, &[many.len() / 2, 2]).is_err());
        assert_eq!(
            model.run(&[1.0, 2.0, 3.0], &[1, 3]).unwrap_err().to_string(),
            "the model relu failed: it takes [any, 2], not [1, 3]"
        );
    }

    #[test]
    fn files_that_are_no_model_are_errors() {
        let whole = relu(&[("x", 1)]);
        for cut in 0..whole.len() {
            // A file cut between two fields may still be a model; none is a panic or never ends.
            let _ = OnnxModel::read("cut", whole[..cut].to_vec());
        }
        for place in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut spoilt = whole.clone();
                spoilt[place] = value;
                if let Ok(mut model) = OnnxModel::read("spoilt", spoilt) {
                    let _ = model.run(&[1.0, 2.0], &[1, 2]);
                }
            }
        }
        assert!(!Message::Model.is_whole(&field(7, &[field(1, b"x"), vec![0x0a, 9]].concat()), 0), "a node cut off");
        for bytes in [Vec::new(), b"GIF89a".to_vec(), vec![0xff; 100], relu(&[("x", 1), ("z", 1)]), relu(&[("x", 7)])] {
            assert!(matches!(OnnxModel::read("bad", bytes), Err(Error::BadModel { .. })));
        }
    }
}
