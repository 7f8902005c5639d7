//! Media on its way from a camera: [`Packet`] (one coded frame), [`Fragment`] (one fMP4 piece), [`Picture`] (one decoded
//! frame), and [`StreamStatus`], what a camera says of itself.
//!
//! All three carry the same [`Stamp`] and `sequence` for the same frame, so an event found in a picture points at its
//! exact packet: there is no offset between what was detected and what was recorded.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::signal;
use crate::name::Name;
use crate::time::Stamp;

/// How a stream is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
    /// Motion JPEG: every frame is a JFIF image.
    Mjpeg,
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Mjpeg => "MJPEG",
        })
    }
}

/// What stays the same from frame to frame of a stream, until its parameter sets change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// How frames are coded.
    pub codec: Codec,
    /// Luma width in pixels.
    pub width: u16,
    /// Luma height in pixels.
    pub height: u16,
    /// RFC 6381 name: `avc1.640028`, `hvc1.1.6.L93.B0`, `mp4v.6C` for MJPEG.
    pub codec_name: String,
    /// The decoder configuration record (ISO/IEC 14496-15: `avcC` or `hvcC` body); empty for MJPEG.
    pub config: Bytes,
}

/// Ticks of [`Packet::pts_ticks`] and of a fragment's track in one second: RTP's clock for video.
pub const TICKS_PER_SECOND: u32 = 90_000;

/// Whether a frame can be decoded on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A random access point: starts a group of pictures.
    Key,
    /// Needs what came before.
    Delta,
}

/// One coded frame.
#[derive(Clone)]
pub struct Packet {
    /// The camera component it comes from.
    pub source: Name,
    /// The format it is coded in; the same `Arc` until the format changes.
    pub format: Arc<VideoFormat>,
    /// Counts frames of this stream since its component started, reconnections included.
    pub sequence: u64,
    /// Counts sessions: a change means that time passed unseen and decoding starts anew.
    pub session: u32,
    /// Presentation time on the stream's own timeline ([`TICKS_PER_SECOND`]), continuous within a session.
    pub pts_ticks: i64,
    /// When the camera captured it, from its sender reports, or when it came if it sends none.
    pub at: Stamp,
    /// Whether it can be decoded on its own.
    pub kind: FrameKind,
    /// RTP packets lost just before this frame.
    pub lost_before: u32,
    /// NAL units, each behind its length in 4 bytes big endian; a JFIF image for MJPEG.
    pub data: Bytes,
}
signal!(Packet, "packet", 1, |it| it.data.len());

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "packet {} of {} ({:?}, {} B, pts {})",
            self.sequence,
            self.source,
            self.kind,
            self.data.len(),
            self.pts_ticks
        )
    }
}

/// The head of an fMP4 stream: `ftyp` and `moov`.
#[derive(Clone, PartialEq, Eq)]
pub struct InitSegment {
    /// What the fragments are made of.
    pub format: Arc<VideoFormat>,
    /// For `MediaSource.addSourceBuffer`: `video/mp4; codecs="avc1.640028"`; `image/jpeg` for MJPEG.
    pub mime: String,
    /// The bytes of `ftyp` and `moov`.
    pub data: Bytes,
}

impl fmt::Debug for InitSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "init segment {} ({} B)", self.mime, self.data.len())
    }
}

/// One fMP4 piece: one frame as `moof` + `mdat`, made once and shared by everyone who reads it.
///
/// On the wire it is `head` followed by `data`; `data` is the packet's own memory.
#[derive(Clone)]
pub struct Fragment {
    /// The camera component it comes from.
    pub source: Name,
    /// The head it belongs to; the same `Arc` until the format changes.
    pub init: Arc<InitSegment>,
    /// The packet's sequence.
    pub sequence: u64,
    /// The packet's session.
    pub session: u32,
    /// Decode time written into the fragment, in [`TICKS_PER_SECOND`] since the first fragment of the component.
    pub decode_ticks: u64,
    /// How long the frame is shown.
    pub duration_ticks: u32,
    /// The packet's capture time.
    pub at: Stamp,
    /// Whether decoding may start here.
    pub kind: FrameKind,
    /// RTP packets lost just before this frame.
    pub lost_before: u32,
    /// `moof` and the 8 bytes of the `mdat` header.
    pub head: Bytes,
    /// The payload of `mdat`: the packet's data.
    pub data: Bytes,
}
signal!(Fragment, "fragment", 1, |it| it.head.len() + it.data.len());

impl Fragment {
    /// How long the frame is shown.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(u64::from(self.duration_ticks) * 1_000_000_000 / u64::from(TICKS_PER_SECOND))
    }

    /// Bytes on the wire.
    pub fn wire_bytes(&self) -> usize {
        self.head.len() + self.data.len()
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fragment {} of {} ({:?}, {} B)", self.sequence, self.source, self.kind, self.wire_bytes())
    }
}

/// One 8-bit plane of a picture, row-major, `stride_bytes` apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Plane {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next, at least `width`.
    pub stride_bytes: usize,
    /// At least `stride_bytes * (height - 1) + width` bytes.
    pub data: Bytes,
}

impl Plane {
    /// Checks the sizes and takes `data`; `None` if it is too short, the stride too small, or a side is 0.
    pub fn new(width: usize, height: usize, stride_bytes: usize, data: Bytes) -> Option<Self> {
        let needed = stride_bytes.checked_mul(height.checked_sub(1)?)?.checked_add(width)?;
        (width > 0 && stride_bytes >= width && data.len() >= needed).then_some(Self {
            width,
            height,
            stride_bytes,
            data,
        })
    }

    /// The pixels of row `y`, counted from the top.
    ///
    /// # Panics
    /// If `y >= height`.
    pub fn row(&self, y: usize) -> &[u8] {
        assert!(y < self.height, "row {y} of a plane of {}", self.height);
        &self.data[y * self.stride_bytes..][..self.width]
    }
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plane {}x{} (stride {})", self.width, self.height, self.stride_bytes)
    }
}

/// One decoded frame. The luma plane is always there; colour is kept only where somebody asked for it.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The camera component it comes from.
    pub source: Name,
    /// The packet's sequence.
    pub sequence: u64,
    /// The packet's session.
    pub session: u32,
    /// The packet's capture time.
    pub at: Stamp,
    /// Brightness, 0 (black) to 255, full resolution.
    pub luma: Plane,
    /// Cb and Cr at half resolution in both directions (4:2:0), if they were asked for.
    pub chroma: Option<[Plane; 2]>,
}
signal!(Picture, "picture", 1, |it| it.luma.data.len());

/// What a camera component is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// Asking the camera for its stream.
    Connecting,
    /// Frames are coming.
    Online,
    /// No frame for longer than the watchdog allows.
    Stalled,
    /// Lost; waiting before the next try.
    BackingOff,
    /// A person has to act (wrong password, unsupported codec); retried only rarely.
    NeedsAttention,
    /// Told to stop.
    Stopped,
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Online => "online",
            Self::Stalled => "stalled",
            Self::BackingOff => "waiting to reconnect",
            Self::NeedsAttention => "needs attention",
            Self::Stopped => "stopped",
        })
    }
}

/// A change in a camera's state, with the reason in words for its owner. Never holds a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStatus {
    /// The camera component.
    pub source: Name,
    /// When it changed.
    pub at: Stamp,
    /// What it does now.
    pub state: StreamState,
    /// Short stable code of the error behind it: `auth_failed`, `refused`, `not_found`, `stalled`, ...
    pub code: Option<&'static str>,
    /// The error in words, with what to do about it.
    pub detail: String,
    /// What the stream is made of, once known.
    pub format: Option<Arc<VideoFormat>>,
}
signal!(StreamStatus, "stream-status", 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_that_cannot_be_read_are_refused() {
        let data = Bytes::from(vec![0; 100]);
        assert!(Plane::new(10, 10, 10, data.clone()).is_some());
        assert!(Plane::new(4, 10, 10, data.slice(..94)).is_some(), "the last row needs no padding");
        assert!(Plane::new(10, 11, 10, data.clone()).is_none());
        assert!(Plane::new(10, 2, 9, data.clone()).is_none());
        assert!(Plane::new(0, 2, 9, data.clone()).is_none());
        assert!(Plane::new(1, 0, 9, data.clone()).is_none());
        assert!(Plane::new(1, usize::MAX, usize::MAX, data).is_none());
    }
}
