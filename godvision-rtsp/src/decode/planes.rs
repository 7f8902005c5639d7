//! Sample buffers of the backends as planes: 8 bits, 4:2:0, shared memory.

#[cfg(feature = "mjpeg")]
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use godvision_core::signal::media::Plane;

/// A plane that owns `samples`, without copying; `None` if there are too few.
pub(super) fn plane(width: usize, height: usize, samples: Vec<u8>) -> Option<Plane> {
    Plane::new(width, height, width, Bytes::from(samples))
}

/// The upper 8 bits of samples of `bits` bits.
#[cfg(any(feature = "h264", feature = "h265", feature = "ffmpeg"))]
pub(super) fn narrow(samples: impl Iterator<Item = u16>, bits: u8) -> Vec<u8> {
    let shift = u32::from(bits.saturating_sub(8)).min(8);
    samples.map(|sample| (sample >> shift).min(255) as u8).collect()
}

/// How a chroma plane is sampled against luma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampling {
    /// Half width, half height.
    Half,
    /// Half width, full height (4:2:2).
    HalfWidth,
    /// Full width and height (4:4:4).
    Full,
}

/// A chroma plane at half resolution of a luma plane of `width` x `height`, averaged down if it has more.
pub(super) fn chroma(width: usize, height: usize, sampling: Sampling, samples: Vec<u8>) -> Option<Plane> {
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let (across, down) = match sampling {
        Sampling::Half => return half_plane(width, height, samples),
        Sampling::HalfWidth => (1, 2),
        Sampling::Full => (2, 2),
    };
    // Odd sizes: backends round the stored plane down or up; what is stored decides.
    let stored_width = if across == 1 { stored_side(width, samples.len() / height.max(1)) } else { width };
    let stored_height = samples.len() / stored_width.max(1);
    let mut out = Vec::with_capacity(half_width * half_height);
    for y in 0..half_height {
        for x in 0..half_width {
            let mut sum = 0u32;
            for (dx, dy) in [(0, 0), (across - 1, 0), (0, down - 1), (across - 1, down - 1)] {
                let column = (x * across + dx).min(stored_width.saturating_sub(1));
                let row = (y * down + dy).min(stored_height.saturating_sub(1));
                sum += u32::from(samples.get(row * stored_width + column).copied()?);
            }
            out.push(((sum + 2) / 4) as u8);
        }
    }
    plane(half_width, half_height, out)
}

/// A 4:2:0 chroma plane as it is; backends differ in how they round odd sides.
fn half_plane(width: usize, height: usize, samples: Vec<u8>) -> Option<Plane> {
    for (half_width, half_height) in [(width.div_ceil(2), height.div_ceil(2)), (width / 2, height / 2)] {
        if half_width * half_height == samples.len() {
            return plane(half_width, half_height, samples);
        }
    }
    plane(width.div_ceil(2), height.div_ceil(2), samples)
}

fn stored_side(width: usize, per_row: usize) -> usize {
    if per_row == width / 2 { width / 2 } else { width.div_ceil(2) }
}

/// Buffers that come back when the last picture made of them is dropped.
#[cfg(feature = "mjpeg")]
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

/// Most buffers kept for reuse; more pictures than that may be alive.
#[cfg(feature = "mjpeg")]
const POOL_BUFFERS_MAX: usize = 8;

#[cfg(feature = "mjpeg")]
impl Pool {
    /// A buffer of `length` bytes with any content.
    pub(super) fn take(&self, length: usize) -> Pooled {
        let mut buffer = self.buffers().pop().unwrap_or_default();
        buffer.resize(length, 0);
        Pooled { buffer, pool: self.clone() }
    }

    fn buffers(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // A list of buffers is whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer on loan.
#[cfg(feature = "mjpeg")]
pub(super) struct Pooled {
    pub(super) buffer: Vec<u8>,
    pool: Pool,
}

#[cfg(feature = "mjpeg")]
impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

#[cfg(feature = "mjpeg")]
impl Drop for Pooled {
    fn drop(&mut self) {
        let mut buffers = self.pool.buffers();
        if buffers.len() < POOL_BUFFERS_MAX {
            buffers.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_chroma_is_averaged_down_and_odd_edges_repeat() {
        let full = chroma(3, 3, Sampling::Full, vec![0, 4, 8, 4, 8, 8, 100, 50, 10]).unwrap();
        assert_eq!((full.width, full.height), (2, 2));
        assert_eq!(&full.data[..], [4, 8, 75, 10]);
        let tall = chroma(4, 2, Sampling::HalfWidth, vec![10, 20, 30, 40]).unwrap();
        assert_eq!(&tall.data[..], [20, 30]);
        assert!(chroma(4, 4, Sampling::Full, vec![1; 3]).is_none(), "too few samples");
    }

    #[cfg(any(feature = "h264", feature = "h265", feature = "ffmpeg"))]
    #[test]
    fn ten_bits_lose_their_lowest_two() {
        assert_eq!(narrow([0, 3, 4, 1023].into_iter(), 10), [0, 0, 1, 255]);
    }

    #[cfg(feature = "mjpeg")]
    #[test]
    fn a_dropped_picture_gives_its_buffer_back() {
        let pool = Pool::default();
        let first = pool.take(64);
        let address = first.buffer.as_ptr();
        drop(Bytes::from_owner(first));
        assert_eq!(pool.take(32).buffer.as_ptr(), address);
        let many: Vec<_> = (0..POOL_BUFFERS_MAX + 5).map(|_| pool.take(8)).collect();
        drop(many);
        assert_eq!(pool.buffers().len(), POOL_BUFFERS_MAX);
    }
}
