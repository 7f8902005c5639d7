//! What stands in front of every backend: when to decode, what to refuse, how to survive.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use godvision_core::Name;
use godvision_core::signal::media::{Codec, FrameKind, Packet, Picture, Plane, VideoFormat};
use godvision_core::time::Stamp;

use super::reorder::Reorder;
use super::{DecodeCounters, DecodeError, Decoder, Frames, SIDE_PIXELS_MAX};
use crate::nal::{self, ParameterSets};

/// Whose picture it is.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    pub(super) source: Name,
    pub(super) sequence: u64,
    pub(super) session: u32,
    pub(super) at: Stamp,
}

impl Tag {
    fn of(packet: &Packet) -> Self {
        let Packet { source, sequence, session, at, .. } = packet;
        Self { source: source.clone(), sequence: *sequence, session: *session, at: *at }
    }
}

/// A picture as a backend gives it, in decoding order.
pub(super) struct Decoded {
    pub(super) tag: Tag,
    /// Place in display order within its coded sequence.
    pub(super) order: i64,
    /// Whether it starts a coded sequence: orders before and after cannot be compared.
    pub(super) starts_sequence: bool,
    pub(super) luma: Plane,
    pub(super) chroma: Option<[Plane; 2]>,
}

/// Why a backend failed.
pub(super) enum Failure {
    Damaged(String),
    Unsupported(String),
}

/// A codec's implementation. It may be fed anything and may panic.
pub(super) trait Engine: Send {
    /// Takes parameter sets, each one NAL unit with its header.
    fn parameter_sets(&mut self, sets: &ParameterSets) -> Result<(), Failure>;

    /// Decodes one access unit and appends every picture that is complete, in decoding order.
    fn decode(&mut self, data: &bytes::Bytes, kind: FrameKind, tag: Tag, out: &mut Vec<Decoded>)
    -> Result<(), Failure>;

    /// Appends what is still inside.
    fn drain(&mut self, out: &mut Vec<Decoded>);

    /// Whether pictures come out in display order already.
    fn orders_itself(&self) -> bool {
        false
    }
}

pub(super) type Make = Box<dyn Fn() -> Box<dyn Engine> + Send>;

pub(super) fn check_size(width: u16, height: u16) -> Result<(), DecodeError> {
    let fits = |side: u16| (1..=SIDE_PIXELS_MAX).contains(&side);
    if fits(width) && fits(height) { Ok(()) } else { Err(DecodeError::Size { width, height }) }
}

/// Where the stream was left.
struct Place {
    session: u32,
    sequence: u64,
}

pub(super) struct Gate {
    codec: Codec,
    frames: Frames,
    make: Make,
    engine: Option<Box<dyn Engine>>,
    format: Option<Arc<VideoFormat>>,
    place: Option<Place>,
    needs_key: bool,
    reorder: Reorder,
    decoded: Vec<Decoded>,
    counters: DecodeCounters,
}

impl Gate {
    pub(super) fn new(codec: Codec, frames: Frames, make: Make) -> Self {
        Self {
            codec,
            frames,
            make,
            engine: None,
            format: None,
            place: None,
            needs_key: true,
            reorder: Reorder::default(),
            decoded: Vec::new(),
            counters: DecodeCounters::default(),
        }
    }

    /// Whether `packet` may be decoded now.
    fn admits(&mut self, packet: &Packet, pictures: &mut Vec<Picture>) -> bool {
        let is_key = packet.kind == FrameKind::Key;
        let follows = self.place.as_ref().is_some_and(|place| {
            place.session == packet.session && place.sequence.checked_add(1) == Some(packet.sequence)
        });
        let new_session = self.place.as_ref().is_some_and(|place| place.session != packet.session);
        self.place = Some(Place { session: packet.session, sequence: packet.sequence });
        if new_session {
            self.finish(pictures);
        }
        if self.frames == Frames::KeyOnly && !is_key {
            self.counters.left_out += 1;
            return false;
        }
        if self.frames == Frames::All && (!follows || packet.lost_before > 0) {
            self.needs_key = true;
        }
        if self.needs_key && !is_key {
            self.counters.waited += 1;
            return false;
        }
        true
    }

    /// The checks that need no backend: sizes and NAL lengths.
    fn inspect(&self, packet: &Packet) -> Result<(), DecodeError> {
        if packet.format.codec != self.codec {
            return Err(DecodeError::Codec { expected: self.codec, found: packet.format.codec });
        }
        check_size(packet.format.width, packet.format.height)?;
        let unreadable = |source| DecodeError::Unreadable { sequence: packet.sequence, source };
        if self.codec == Codec::Mjpeg {
            let (width, height) = nal::jpeg::size(&packet.data).map_err(unreadable)?;
            return check_size(width, height);
        }
        for unit in nal::units(&packet.data) {
            self.inspect_unit(unit.map_err(unreadable)?, packet.sequence)?;
        }
        Ok(())
    }

    /// A parameter set inside the stream may announce any size; the backend must not take memory for it.
    fn inspect_unit(&self, unit: &[u8], sequence: u64) -> Result<(), DecodeError> {
        let unreadable = |source| DecodeError::Unreadable { sequence, source };
        match self.codec {
            Codec::H264 if nal::h264::UnitType::of(unit) == Some(nal::h264::UnitType::Sps) => {
                let sps = nal::h264::Sps::parse(unit).map_err(unreadable)?;
                check_size(sps.width, sps.height)
            }
            Codec::H265 if nal::h265::UnitType::of(unit) == Some(nal::h265::UnitType::Sps) => {
                let sps = nal::h265::Sps::parse(unit).map_err(unreadable)?;
                check_size(sps.width, sps.height)
            }
            _ => Ok(()),
        }
    }

    /// Feeds the packet to the backend, which is made anew for a new format.
    fn feed(&mut self, packet: &Packet) -> Result<(), DecodeError> {
        let sequence = packet.sequence;
        let same = self.format.as_ref().is_some_and(|old| Arc::ptr_eq(old, &packet.format) || *old == packet.format);
        let mut sets = None;
        if self.engine.is_none() || !same {
            let read = ParameterSets::from_config(self.codec, &packet.format.config);
            sets = Some(read.map_err(|source| DecodeError::Unreadable { sequence, source })?);
        }
        if let Some(sets) = &sets {
            for unit in sets.iter() {
                self.inspect_unit(unit, sequence)?;
            }
            self.reorder.set_depth(stated_depth(self.codec, sets));
            self.engine = None;
            self.format = Some(Arc::clone(&packet.format));
        }
        let Self { engine, make, decoded, codec, .. } = self;
        let run = AssertUnwindSafe(|| {
            let fresh = engine.is_none();
            let engine = engine.get_or_insert_with(make);
            if fresh && let Some(sets) = &sets {
                engine.parameter_sets(sets)?;
            }
            engine.decode(&packet.data, packet.kind, Tag::of(packet), decoded)
        });
        match catch_unwind(run) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure::Damaged(what))) => Err(DecodeError::Damaged { sequence, what }),
            Ok(Err(Failure::Unsupported(what))) => Err(DecodeError::Unsupported { codec: *codec, what }),
            Err(_) => Err(DecodeError::Panicked { sequence }),
        }
    }

    fn give_out(&mut self, pictures: &mut Vec<Picture>) {
        let before = pictures.len();
        let direct = self.frames == Frames::KeyOnly || self.engine.as_ref().is_some_and(|it| it.orders_itself());
        for decoded in self.decoded.drain(..) {
            if direct {
                pictures.push(picture(decoded));
            } else {
                self.reorder.push(decoded, |decoded| pictures.push(picture(decoded)));
            }
        }
        self.counters.pictures += (pictures.len() - before) as u64;
        self.counters.late = self.reorder.late();
    }
}

/// How far the parameter sets say that the stream reorders; `None` if they do not.
fn stated_depth(codec: Codec, sets: &ParameterSets) -> Option<usize> {
    match codec {
        Codec::H264 => {
            let sps = nal::h264::Sps::parse(sets.sps.first()?).ok()?;
            // Baseline and Constrained Baseline have no B slices.
            if sps.profile == 66 { Some(0) } else { sps.reorder_frames.map(usize::from) }
        }
        Codec::H265 => Some(usize::from(nal::h265::Sps::parse(sets.sps.first()?).ok()?.reorder_frames)),
        _ => Some(0),
    }
}

fn picture(decoded: Decoded) -> Picture {
    let Decoded { tag: Tag { source, sequence, session, at }, luma, chroma, .. } = decoded;
    Picture { source, sequence, session, at, luma, chroma }
}

impl Decoder for Gate {
    fn decode(&mut self, packet: &Packet, pictures: &mut Vec<Picture>) -> Result<(), DecodeError> {
        if !self.admits(packet, pictures) {
            return Ok(());
        }
        if self.needs_key && self.frames == Frames::All {
            // What was decoded before the gap is shown before what comes after it.
            self.finish(pictures);
        }
        let fed = self.inspect(packet).and_then(|()| self.feed(packet));
        match fed {
            Ok(()) => {
                self.needs_key = false;
                self.give_out(pictures);
                Ok(())
            }
            Err(error) => {
                self.counters.errors += 1;
                self.decoded.clear();
                self.engine = None;
                self.format = None;
                self.needs_key = true;
                Err(error)
            }
        }
    }

    fn finish(&mut self, pictures: &mut Vec<Picture>) {
        self.needs_key = true;
        if let Some(mut engine) = self.engine.take() {
            let decoded = &mut self.decoded;
            // A backend that panics here has nothing to give.
            let _ = catch_unwind(AssertUnwindSafe(|| engine.drain(decoded)));
            self.engine = Some(engine);
            self.give_out(pictures);
            self.engine = None;
            self.format = None;
        }
        let before = pictures.len();
        self.reorder.drain(|decoded| pictures.push(picture(decoded)));
        self.counters.pictures += (pictures.len() - before) as u64;
    }

    fn counters(&self) -> DecodeCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Panics or fails on packets that say so, and counts how often it was made.
    struct Moody;

    impl Engine for Moody {
        fn parameter_sets(&mut self, _: &ParameterSets) -> Result<(), Failure> {
            Ok(())
        }

        fn decode(&mut self, data: &Bytes, _: FrameKind, tag: Tag, out: &mut Vec<Decoded>) -> Result<(), Failure> {
            let order = tag.sequence as i64;
            let luma = Plane::new(1, 1, 1, Bytes::from_static(&[0])).unwrap();
            out.push(Decoded { tag, order, starts_sequence: false, luma, chroma: None });
            match data.get(4..) {
                Some(b"!panic") => panic!("as told"),
                Some(b"!wrong") => Err(Failure::Damaged("as told".to_owned())),
                _ => Ok(()),
            }
        }

        fn drain(&mut self, _: &mut Vec<Decoded>) {
            panic!("also while draining")
        }
    }

    fn packet(sequence: u64, kind: FrameKind, unit: &[u8]) -> Packet {
        // Without a sequence parameter set the stated depth is unknown; the record is one that lists none.
        let config = Bytes::from_static(&[1, 66, 0, 30, 0xff, 0xe0, 0]);
        let format = VideoFormat { codec: Codec::H264, width: 16, height: 16, codec_name: String::new(), config };
        let mut data = (unit.len() as u32).to_be_bytes().to_vec();
        data.extend(unit);
        Packet {
            source: "camera".parse().unwrap(),
            format: Arc::new(format),
            sequence,
            session: 1,
            pts_ticks: 0,
            at: Stamp::default(),
            kind,
            lost_before: 0,
            data: data.into(),
        }
    }

    #[test]
    fn a_backend_that_panics_is_replaced_and_gives_no_half_picture() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let make: Make = Box::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Box::new(Moody)
        });
        let mut gate = Gate::new(Codec::H264, Frames::All, make);
        let mut pictures = Vec::new();
        let (key, delta) = (FrameKind::Key, FrameKind::Delta);
        assert_eq!(gate.decode(&packet(0, key, b"\x65fine"), &mut pictures), Ok(()));
        let error = gate.decode(&packet(1, delta, b"!panic"), &mut pictures);
        assert_eq!(error, Err(DecodeError::Panicked { sequence: 1 }));
        assert_eq!(gate.decode(&packet(2, delta, b"\x41fine"), &mut pictures), Ok(()), "waits for a key frame");
        assert_eq!(gate.decode(&packet(3, key, b"\x65fine"), &mut pictures), Ok(()));
        let error = gate.decode(&packet(4, delta, b"!wrong"), &mut pictures);
        assert!(matches!(error, Err(DecodeError::Damaged { sequence: 4, .. })));
        assert_eq!(gate.decode(&packet(5, key, b"\x65fine"), &mut pictures), Ok(()));
        gate.finish(&mut pictures);
        assert_eq!(pictures.iter().map(|picture| picture.sequence).collect::<Vec<_>>(), [0, 3, 5]);
        assert_eq!(made.load(Ordering::SeqCst), 3);
        let counters = gate.counters();
        assert_eq!((counters.pictures, counters.waited, counters.errors), (3, 1, 2));
    }
}
