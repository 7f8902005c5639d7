//! Packets to pictures: [`open`] a [`Decoder`] for a stream's format and feed it packets.
//!
//! ```no_run
//! use godvision_core::signal::media::Packet;
//! use godvision_rtsp::decode::{self, DecodeOptions};
//!
//! # fn example(packets: Vec<Packet>) -> Result<(), decode::DecodeError> {
//! let mut decoder = decode::open(&packets[0].format, DecodeOptions::default())?;
//! let mut pictures = Vec::new();
//! for packet in &packets {
//!     decoder.decode(packet, &mut pictures)?;
//!     for picture in pictures.drain(..) {
//!         println!("{} is {} bright", picture.sequence, picture.luma.row(0)[0]);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! One set of rules stands in front of every backend: nothing is decoded before a key frame; after an error, a gap in
//! the sequence, a loss or a new session the next key frame is waited for; a picture carries the sequence and capture
//! time of its own packet, in display order; a size over [`SIDE_PIXELS_MAX`] is refused before memory is taken; a
//! backend that panics is thrown away and the panic becomes an error.
//!
//! Backends: H.264 and H.265 in pure Rust (crates `rust_h264`, `rust_h265`; output compared byte for byte with
//! ffmpeg's), MJPEG by `zune-jpeg` (luma only, unless colour is asked for). Feature `ffmpeg` takes the system's
//! libavcodec instead, two to three times as fast.
//!
//! **Never:** scaling, colour conversion, threads. A caller decodes where it wants to spend the time.
#![cfg_attr(
    not(all(feature = "h264", feature = "h265", feature = "mjpeg")),
    allow(dead_code, reason = "with some backends left out, parts of their common ground are not used")
)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use godvision_core::signal::media::{Codec, Packet, Picture, VideoFormat};

use crate::nal::BitstreamError;

#[cfg(feature = "ffmpeg")]
mod ffmpeg;
mod gate;
#[cfg(feature = "h264")]
mod h264;
#[cfg(feature = "h265")]
mod h265;
#[cfg(feature = "mjpeg")]
mod mjpeg;
mod planes;
mod reorder;

pub use reorder::REORDER_FRAMES_MAX;

/// Longest side of a picture that is decoded, in pixels: 8192x8192 luma is 64 MiB.
pub const SIDE_PIXELS_MAX: u16 = 8192;

/// What a decoder should give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Whether pictures carry colour.
    pub chroma: Chroma,
    /// Which packets are decoded.
    pub frames: Frames,
    /// Which implementation decodes.
    pub backend: Backend,
}

/// Whether pictures carry colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chroma {
    /// Brightness only.
    #[default]
    Drop,
    /// Also Cb and Cr at half resolution; other samplings are averaged down to it.
    Keep,
}

/// Which packets are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frames {
    /// Every packet.
    #[default]
    All,
    /// Key frames only: 5 to 8 times less work on a 2 s group of pictures.
    KeyOnly,
}

/// Which implementation decodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The fastest that was compiled in.
    #[default]
    Fastest,
    /// The pure-Rust one.
    Rust,
    /// The system's libavcodec.
    #[cfg(feature = "ffmpeg")]
    Ffmpeg,
}

/// What a decoder did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeCounters {
    /// Pictures given out.
    pub pictures: u64,
    /// Packets that were not decoded because a key frame was waited for.
    pub waited: u64,
    /// Packets left out by [`Frames::KeyOnly`].
    pub left_out: u64,
    /// Pictures that came too late for display order and were dropped: a stream that does not say how far it reorders.
    pub late: u64,
    /// Packets that ended in an error.
    pub errors: u64,
}

/// A decoder of one stream.
pub trait Decoder: Send {
    /// Decodes `packet` and appends to `pictures` what can be shown by now: none, one or several, in display order.
    /// A packet that has to be skipped (no key frame yet, key frames only) is counted and is no error.
    ///
    /// # Errors
    /// [`DecodeError`]; the decoder stays usable and goes on at the next key frame.
    fn decode(&mut self, packet: &Packet, pictures: &mut Vec<Picture>) -> Result<(), DecodeError>;

    /// Gives out the pictures that wait for their place in display order, and starts anew at the next key frame.
    fn finish(&mut self, pictures: &mut Vec<Picture>);

    /// What it did so far.
    fn counters(&self) -> DecodeCounters;
}

/// Why a packet became no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No backend for this codec was compiled in.
    #[error("no decoder for {codec}: build with its cargo feature, or set the camera to another coding")]
    NoDecoder {
        /// The codec.
        codec: Codec,
    },
    /// The stream uses a coding tool that the backend lacks.
    #[error("the decoder lacks something this {codec} stream uses: {what}")]
    Unsupported {
        /// The codec.
        codec: Codec,
        /// What is missing.
        what: String,
    },
    /// The coded bytes are wrong.
    #[error("packet {sequence} is damaged: {what}")]
    Damaged {
        /// The packet's sequence.
        sequence: u64,
        /// What was found.
        what: String,
    },
    /// The packet's NAL units or parameter sets are wrong.
    #[error("packet {sequence} cannot be read")]
    Unreadable {
        /// The packet's sequence.
        sequence: u64,
        /// Where and what.
        source: BitstreamError,
    },
    /// Larger than [`SIDE_PIXELS_MAX`], or empty.
    #[error("a picture of {width}x{height} is not decoded: at most {SIDE_PIXELS_MAX} pixels a side")]
    Size {
        /// Width in pixels.
        width: u16,
        /// Height in pixels.
        height: u16,
    },
    /// The packet is in another codec than the decoder was opened for.
    #[error("the decoder was opened for {expected} and got {found}: open a new one")]
    Codec {
        /// What the decoder is for.
        expected: Codec,
        /// What the packet is in.
        found: Codec,
    },
    /// The backend panicked; it was replaced.
    #[error("the decoder failed inside on packet {sequence} and was replaced")]
    Panicked {
        /// The packet's sequence.
        sequence: u64,
    },
}

impl DecodeError {
    /// Whether the next key frame may well decode.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Unreadable { .. } | Self::Panicked { .. })
    }

    /// Short and stable, for journals and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoDecoder { .. } => "no_decoder",
            Self::Unsupported { .. } => "unsupported",
            Self::Damaged { .. } => "damaged",
            Self::Unreadable { .. } => "unreadable",
            Self::Size { .. } => "size",
            Self::Codec { .. } => "codec_changed",
            Self::Panicked { .. } => "panicked",
        }
    }
}

/// A decoder for streams of `format`'s codec. Size and parameter sets may change later; the codec may not.
///
/// # Errors
/// [`DecodeError::NoDecoder`], [`DecodeError::Size`].
pub fn open(format: &VideoFormat, options: DecodeOptions) -> Result<Box<dyn Decoder>, DecodeError> {
    gate::check_size(format.width, format.height)?;
    let make = backend(format.codec, options).ok_or(DecodeError::NoDecoder { codec: format.codec })?;
    Ok(Box::new(gate::Gate::new(format.codec, options.frames, make)))
}

fn backend(codec: Codec, options: DecodeOptions) -> Option<gate::Make> {
    let keep = options.chroma == Chroma::Keep;
    match (codec, options.backend) {
        #[cfg(feature = "ffmpeg")]
        (Codec::H264 | Codec::H265 | Codec::Mjpeg, Backend::Fastest | Backend::Ffmpeg) => {
            Some(Box::new(move || Box::new(ffmpeg::Ffmpeg::new(codec, keep, options.frames))))
        }
        #[cfg(feature = "h264")]
        (Codec::H264, Backend::Fastest | Backend::Rust) => Some(Box::new(move || Box::new(h264::H264::new(keep)))),
        #[cfg(feature = "h265")]
        (Codec::H265, Backend::Fastest | Backend::Rust) => Some(Box::new(move || Box::new(h265::H265::new(keep)))),
        #[cfg(feature = "mjpeg")]
        (Codec::Mjpeg, Backend::Fastest | Backend::Rust) => {
            let pool = planes::Pool::default();
            Some(Box::new(move || Box::new(mjpeg::Mjpeg::new(keep, pool.clone()))))
        }
        _ => {
            let _ = keep;
            None
        }
    }
}
