//! Decoding order to display order, with as little delay as the stream allows.
//!
//! If the parameter sets say how many pictures may overtake another (most encoders with B frames do), exactly so many
//! are held back. If they do not, none is held back until a picture is seen to come late; then the depth grows. IP
//! cameras send no B frames and mostly say nothing, so they get no delay.

use std::collections::VecDeque;

use super::gate::Decoded;

/// Most pictures held back (H.264 table A-1: the decoded picture buffer never has more frames).
pub const REORDER_FRAMES_MAX: usize = 16;

#[derive(Default)]
pub(super) struct Reorder {
    /// Sorted by display order; all of one coded sequence.
    waiting: VecDeque<Decoded>,
    depth: usize,
    /// The stream said its depth: it does not grow.
    is_stated: bool,
    last: Option<i64>,
    late: u64,
}

impl Reorder {
    pub(super) fn set_depth(&mut self, stated: Option<usize>) {
        self.is_stated = stated.is_some();
        self.depth = stated.unwrap_or(0).min(REORDER_FRAMES_MAX);
    }

    /// Pictures dropped because a later one was given out before them.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    pub(super) fn push(&mut self, decoded: Decoded, mut out: impl FnMut(Decoded)) {
        if decoded.starts_sequence {
            self.drain(&mut out);
        }
        if self.last.is_some_and(|last| decoded.order <= last) {
            if !self.is_stated && self.depth < REORDER_FRAMES_MAX {
                self.depth += 1;
                self.late += 1;
                return;
            }
            // Orders that start again without a marked picture (H.264's memory operation 5).
            self.drain(&mut out);
        }
        let place = self.waiting.partition_point(|other| other.order < decoded.order);
        self.waiting.insert(place, decoded);
        while self.waiting.len() > self.depth {
            let Some(next) = self.waiting.pop_front() else { break };
            self.last = Some(next.order);
            out(next);
        }
    }

    pub(super) fn drain(&mut self, out: impl FnMut(Decoded)) {
        self.waiting.drain(..).for_each(out);
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::gate::Tag;
    use bytes::Bytes;
    use godvision_core::signal::media::Plane;
    use godvision_core::time::Stamp;

    fn orders(depth: Option<usize>, input: &[(i64, bool)]) -> (Vec<i64>, u64) {
        let mut reorder = Reorder::default();
        reorder.set_depth(depth);
        let mut seen = Vec::new();
        for (index, (order, starts_sequence)) in input.iter().enumerate() {
            let decoded = Decoded {
                tag: Tag {
                    source: "camera".parse().unwrap(),
                    sequence: index as u64,
                    session: 1,
                    at: Stamp::default(),
                },
                order: *order,
                starts_sequence: *starts_sequence,
                luma: Plane::new(1, 1, 1, Bytes::from_static(&[0])).unwrap(),
                chroma: None,
            };
            reorder.push(decoded, |decoded| seen.push(decoded.order));
        }
        reorder.drain(|decoded| seen.push(decoded.order));
        (seen, reorder.late())
    }

    #[test]
    fn a_stated_depth_gives_display_order_without_loss() {
        let input = [(0, true), (8, false), (4, false), (2, false), (6, false), (0, true), (2, false)];
        assert_eq!(orders(Some(2), &input), (vec![0, 2, 4, 6, 8, 0, 2], 0));
    }

    #[test]
    fn an_unstated_depth_grows_when_a_picture_comes_late() {
        let input = [(0, true), (4, false), (2, false), (8, false), (6, false), (12, false), (10, false)];
        let (seen, late) = orders(None, &input);
        assert_eq!((seen, late), (vec![0, 4, 6, 8, 10, 12], 1));
    }

    #[test]
    fn orders_that_start_again_unmarked_lose_nothing() {
        assert_eq!(orders(Some(0), &[(0, true), (2, false), (0, false), (2, false)]), (vec![0, 2, 0, 2], 0));
    }

    #[test]
    fn the_depth_never_passes_its_limit() {
        let mut reorder = Reorder::default();
        reorder.set_depth(Some(1000));
        assert_eq!(reorder.depth, REORDER_FRAMES_MAX);
    }
}
