//! Small convolutional networks on the processor: as much as the face networks are made of, and no more.
//!
//! Pictures of numbers are `[height, width, channel]`, channels innermost, so that a 1x1 convolution is one product of
//! matrices and a 3x3 filter a channel reads whole vectors. Weights come from a list of layers (`weights`), buffers are
//! kept from run to run, the loops are in `kernel`.
//!
//! **Never:** graphs, formats of other tools, training, threads, allocation once the buffers have their size.

mod kernel;
mod weights;

pub(crate) use kernel::Level;
pub(crate) use weights::{After, Kind, Layer, Network};

use crate::colour::RgbView;
use kernel::{LANES, Rows};

/// Pictures of numbers, `[height, width, channels]`.
#[derive(Default)]
pub(crate) struct Tensor {
    data: Vec<f32>,
    height: usize,
    width: usize,
    channels: usize,
}

impl Tensor {
    /// Takes a size. What it holds afterwards is for the caller to write.
    fn shape(&mut self, height: usize, width: usize, channels: usize) {
        (self.height, self.width, self.channels) = (height, width, channels);
        self.data.resize(height * width * self.stride(), 0.0);
    }

    /// Numbers from pixel to pixel. Rows of a product are read side by side; if their distance is a great power of two
    /// they all fall into the same few places of the first-level cache, so such pixels lie a vector further apart.
    fn stride(&self) -> usize {
        if self.channels >= 512 { self.channels + LANES } else { self.channels }
    }

    pub(crate) fn height(&self) -> usize {
        self.height
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The channels of pixel `x` of row `y`.
    pub(crate) fn pixel(&self, y: usize, x: usize) -> &[f32] {
        &self.data[(y * self.width + x) * self.stride()..][..self.channels]
    }

    fn row(&self, y: usize) -> &[f32] {
        let row = self.width * self.stride();
        &self.data[y * row..][..row]
    }

    /// Adds each pixel of `small` to the four that it covers; `small` has half the sides, rounded down.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub(crate) fn add_doubled(&mut self, small: &Tensor) {
        let fits = small.height == self.height / 2 && small.width == self.width / 2 && small.channels == self.channels;
        assert!(fits && self.height.is_multiple_of(2) && self.width.is_multiple_of(2));
        let (stride, row) = (self.stride(), self.width * self.stride());
        for (y, row) in self.data.chunks_exact_mut(row.max(1)).enumerate() {
            for (pair, small) in row.chunks_exact_mut(2 * stride).zip(small.row(y / 2).chunks_exact(stride)) {
                for pixel in pair.chunks_exact_mut(stride) {
                    pixel.iter_mut().zip(small).for_each(|(sum, value)| *sum += value);
                }
            }
        }
    }

    /// Makes this the greatest of each two by two pixels of `large`, which has even sides.
    pub(crate) fn pool(&mut self, large: &Tensor) {
        self.shape(large.height / 2, large.width / 2, large.channels);
        let (stride, row) = (self.stride(), self.width * self.stride());
        for (y, out) in self.data.chunks_exact_mut(row.max(1)).enumerate() {
            let pairs = large.row(2 * y).chunks_exact(2 * stride).zip(large.row(2 * y + 1).chunks_exact(2 * stride));
            for (out, (upper, lower)) in out.chunks_exact_mut(stride).zip(pairs) {
                for (channel, out) in out.iter_mut().enumerate() {
                    let of = |pair: &[f32]| pair[channel].max(pair[stride + channel]);
                    *out = of(upper).max(of(lower));
                }
            }
        }
    }
}

/// Runs layers; holds the working memory that is no layer's result.
pub(crate) struct Runner {
    level: Level,
    patches: Vec<f32>,
}

impl Runner {
    pub(crate) fn new(level: Level) -> Self {
        Self { level, patches: Vec::new() }
    }

    /// The first layer, [`Kind::Stem`]: 3x3 over `picture`, which is black from its edges to `height` and `width`. Bytes
    /// become `(byte - subtract) * multiply`; what the filter reads beyond `height` and `width` counts 0 after that.
    pub(crate) fn stem(
        &mut self,
        network: &Network,
        layer: &Layer,
        picture: RgbView<'_>,
        [height, width]: [usize; 2],
        out: &mut Tensor,
    ) {
        let step = layer.step;
        out.shape(height.div_ceil(step), width.div_ceil(step), layer.outputs);
        let (out_width, out_stride) = (out.width, out.stride());
        let black = (0.0 - network.subtract) * network.multiply;
        let value = |byte: u8| (f32::from(byte) - network.subtract) * network.multiply;
        // Three rows of the picture with one pixel of nothing on each side, then every window of it side by side.
        let padded = (width + 2) * 3;
        self.patches.resize(3 * padded + out_width * STEM_DEPTH, 0.0);
        let (rows, patches) = self.patches.split_at_mut(3 * padded);
        let taken = picture.width().min(width);
        for (y, out) in out.data.chunks_exact_mut((out_width * out_stride).max(1)).enumerate() {
            for (offset, row) in rows.chunks_exact_mut(padded).enumerate() {
                let inside = (y * step + offset).checked_sub(1).filter(|&y| y < height);
                row.fill(0.0);
                if let Some(y) = inside {
                    let (bytes, rest) = row[3..padded - 3].split_at_mut(taken * 3);
                    rest.fill(black);
                    if y < picture.height() {
                        bytes.iter_mut().zip(picture.row(y)).for_each(|(to, &byte)| *to = value(byte));
                    } else {
                        bytes.fill(black);
                    }
                }
            }
            for (x, patch) in patches.chunks_exact_mut(STEM_DEPTH).enumerate() {
                for (patch, row) in patch.chunks_exact_mut(9).zip(rows.chunks_exact(padded)) {
                    patch.copy_from_slice(&row[x * step * 3..x * step * 3 + 9]);
                }
            }
            let a = Rows { data: patches, stride: STEM_DEPTH, rows: out_width };
            kernel::multiply(self.level, a, STEM_DEPTH, &layer.weights, layer.after(), out, out_stride);
        }
    }

    /// A layer of [`Kind::Pointwise`].
    pub(crate) fn pointwise(&self, layer: &Layer, input: &Tensor, out: &mut Tensor) {
        out.shape(input.height, input.width, layer.outputs);
        let a = Rows { data: &input.data, stride: input.stride(), rows: input.height * input.width };
        let out_stride = out.stride();
        kernel::multiply(self.level, a, layer.inputs, &layer.weights, layer.after(), &mut out.data, out_stride);
    }

    /// A layer of [`Kind::Depthwise`].
    pub(crate) fn depthwise(&self, layer: &Layer, input: &Tensor, out: &mut Tensor) {
        out.shape(input.height.div_ceil(layer.step), input.width.div_ceil(layer.step), layer.outputs);
        let out_stride = out.stride();
        let row = (out.width * out_stride).max(1);
        for (y, out) in out.data.chunks_exact_mut(row).enumerate() {
            let middle = y * layer.step;
            let below = (middle + 1 < input.height).then(|| input.row(middle + 1));
            let rows = [middle.checked_sub(1).map(|y| input.row(y)), Some(input.row(middle)), below];
            let from = kernel::Window { rows, width: input.width, stride: input.stride(), step: layer.step };
            kernel::filter(self.level, from, &layer.weights, layer.after(), out, out_stride);
        }
    }

    /// A layer of [`Kind::Full`]: all numbers of `input`, row by row, pixel by pixel, onto `out`.
    ///
    /// # Panics
    /// If the input has another size than the layer.
    pub(crate) fn full(&mut self, layer: &Layer, input: &Tensor, out: &mut Vec<f32>) {
        assert_eq!(input.height * input.width * input.channels, layer.inputs);
        self.patches.clear();
        for pixel in input.data.chunks_exact(input.stride()) {
            self.patches.extend_from_slice(&pixel[..input.channels]);
        }
        out.clear();
        out.resize(layer.outputs, 0.0);
        kernel::dot_rows(self.level, &layer.codes, &self.patches, out);
        for (index, out) in out.iter_mut().enumerate() {
            *out = *out * layer.scales[index] + layer.bias[index];
        }
    }
}

/// Numbers under a 3x3 window of RGB.
const STEM_DEPTH: usize = 27;

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(height: usize, width: usize, values: impl Fn(usize, usize) -> f32) -> Tensor {
        let mut tensor = Tensor::default();
        tensor.shape(height, width, LANES);
        for y in 0..height {
            for x in 0..width {
                tensor.data[(y * width + x) * LANES..][..LANES].fill(values(y, x));
            }
        }
        tensor
    }

    #[test]
    fn pooling_takes_the_greatest_and_doubling_gives_it_to_four() {
        let large = tensor(4, 6, |y, x| (y * 10 + x) as f32);
        let mut small = Tensor::default();
        small.pool(&large);
        assert_eq!((small.height(), small.width()), (2, 3));
        assert_eq!(small.pixel(1, 2), [35.0; LANES]);
        let mut sum = tensor(4, 6, |_, _| 1.0);
        sum.add_doubled(&small);
        assert_eq!(sum.pixel(2, 4), [36.0; LANES]);
        assert_eq!(sum.pixel(3, 5), [36.0; LANES]);
        assert_eq!(sum.pixel(0, 1), [12.0; LANES]);
    }
}
