//! A made-up stream for tests, examples and benches: real boxes around bytes that say which frame they are.
//!
//! The boxes are well-formed (ISO/IEC 14496-12), the payload is no video: it begins with the frame's sequence, so a
//! test can tell from a recorded file exactly which frames it holds.
//!
//! **Never:** anything a decoder could show.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godvision_core::signal::media::{Codec, Fragment, FrameKind, InitSegment, TICKS_PER_SECOND, VideoFormat};
use godvision_core::{MonoTime, Name, Stamp, WallTime};

/// Ticks of one frame at 25 frames a second.
pub const FRAME_TICKS: u32 = TICKS_PER_SECOND / 25;

/// Makes the fragments of a 25 frames a second stream, one after the other.
#[derive(Clone, Debug)]
pub struct Stream {
    source: Name,
    init: Arc<InitSegment>,
    group: u64,
    sequence: u64,
    session: u32,
    ticks: u64,
    since_key: u64,
    start: Stamp,
    /// Payload bytes of one frame.
    pub frame_bytes: usize,
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 8);
    out.extend_from_slice(&(body.len() as u32 + 8).to_be_bytes());
    out.extend_from_slice(kind);
    out.extend_from_slice(body);
    out
}

fn init(width: u16) -> Arc<InitSegment> {
    let trex = boxed(b"trex", &[&[0, 0, 0, 0, 0, 0, 0, 1], [0; 16].as_slice()].concat());
    let mvex = boxed(b"mvex", &trex);
    let mut mvhd = vec![0; 100];
    mvhd[12..16].copy_from_slice(&TICKS_PER_SECOND.to_be_bytes());
    let moov = boxed(b"moov", &[boxed(b"mvhd", &mvhd), mvex].concat());
    let data = [boxed(b"ftyp", b"iso5\0\0\0\0iso5"), moov].concat();
    let format = VideoFormat {
        codec: Codec::H264,
        width,
        height: 360,
        codec_name: "avc1.640028".to_owned(),
        config: Bytes::new(),
    };
    Arc::new(InitSegment {
        format: Arc::new(format),
        mime: "video/mp4; codecs=\"avc1.640028\"".to_owned(),
        data: data.into(),
    })
}

impl Stream {
    /// A stream of the camera `source` with a key frame every `group` frames, starting 100 s after the origin of the
    /// monotonic timeline, on 2026-11-21.
    ///
    /// # Panics
    /// If `source` is no name.
    pub fn new(source: &str, group: u64) -> Self {
        let wall = WallTime::from_unix_seconds(1_795_253_400);
        Self::starting(source, group, Stamp::new(MonoTime::from_millis(100_000), wall))
    }

    /// The same, starting at `start`.
    ///
    /// # Panics
    /// If `source` is no name.
    pub fn starting(source: &str, group: u64, start: Stamp) -> Self {
        Self {
            source: Name::new(source).expect("a camera's name"),
            init: init(640),
            group,
            sequence: 0,
            session: 1,
            ticks: 0,
            since_key: 0,
            start,
            frame_bytes: 200,
        }
    }

    /// When the next frame is captured.
    pub fn now(&self) -> Stamp {
        let passed = Duration::from_nanos(self.ticks * 1_000_000_000 / u64::from(TICKS_PER_SECOND));
        Stamp::new(self.start.mono + passed, self.start.wall.plus_micros(passed.as_micros() as i64))
    }

    /// The next frame.
    pub fn frame(&mut self) -> Fragment {
        let at = self.now();
        let kind = if self.since_key.is_multiple_of(self.group) { FrameKind::Key } else { FrameKind::Delta };
        let mut payload = vec![(self.sequence % 251) as u8; self.frame_bytes.max(16)];
        payload[..8].copy_from_slice(&self.sequence.to_be_bytes());
        // Which camera and when, so that no two clips have the same content.
        let camera =
            self.source.as_str().bytes().fold(0u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
        payload[8..16].copy_from_slice(&(camera ^ at.wall.as_unix_micros() as u64).to_be_bytes());
        let mut tfdt = vec![1, 0, 0, 0];
        tfdt.extend_from_slice(&self.ticks.to_be_bytes());
        let mut trun = vec![0, 0, 3, 1];
        for number in [1, 120, FRAME_TICKS, payload.len() as u32] {
            trun.extend_from_slice(&number.to_be_bytes());
        }
        let traf = boxed(
            b"traf",
            &[boxed(b"tfhd", &[0, 2, 0, 0, 0, 0, 0, 1]), boxed(b"tfdt", &tfdt), boxed(b"trun", &trun)].concat(),
        );
        let mut head = boxed(b"moof", &[boxed(b"mfhd", &[0; 8]), traf].concat());
        head.extend_from_slice(&(payload.len() as u32 + 8).to_be_bytes());
        head.extend_from_slice(b"mdat");
        let fragment = Fragment {
            source: self.source.clone(),
            init: self.init.clone(),
            sequence: self.sequence,
            session: self.session,
            decode_ticks: self.ticks,
            duration_ticks: FRAME_TICKS,
            at,
            kind,
            lost_before: 0,
            head: head.into(),
            data: payload.into(),
        };
        self.sequence += 1;
        self.since_key += 1;
        self.ticks += u64::from(FRAME_TICKS);
        fragment
    }

    /// Loses `frames` frames: their numbers and their time pass. The first key frame of a session is never lost.
    pub fn lose(&mut self, frames: u64) {
        let is_fresh = self.since_key == 0;
        for _ in 0..frames {
            self.frame();
        }
        if is_fresh {
            self.since_key = 0;
        }
    }

    /// The camera was lost and came back: the next frame is a key frame of a new session.
    pub fn new_session(&mut self) {
        self.session += 1;
        self.since_key = 0;
    }

    /// The camera changed its resolution: the next frame is a key frame of another format.
    pub fn new_format(&mut self) {
        self.init = init(self.init.format.width + 16);
        self.since_key = 0;
    }
}

/// The sequences of the frames in a recorded file, by walking its boxes; `None` if a box is cut or unknown.
pub fn frames_of(file: &[u8]) -> Option<Vec<u64>> {
    let (mut rest, mut frames) = (file, Vec::new());
    while !rest.is_empty() {
        let size = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let body = rest.get(8..size)?;
        match rest.get(4..8)? {
            b"mdat" => frames.push(u64::from_be_bytes(body.get(..8)?.try_into().ok()?)),
            b"ftyp" | b"moov" | b"moof" | b"sidx" | b"free" => {}
            _ => return None,
        }
        rest = &rest[size..];
    }
    Some(frames)
}
