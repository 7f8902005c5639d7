//! A small RTSP server: one's cameras for other programs, and a camera for tests and the demo.
//!
//! [`RtspServer`] listens, [`MountHandle`] publishes packets on a path, [`FilePlayer`] plays a file in a loop. Readers
//! come over TCP (interleaved) or UDP, prove a password by digest, start at the current group's key frame and skip to a
//! key frame when they are slow. The protocol itself (module `conversation`) and the packetisers do no IO.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use godvision_core::signal::media::Codec;
//! use godvision_rtsp::restream::{FilePlayer, RtspServer, ServerOptions};
//!
//! let server = RtspServer::bind(ServerOptions::new("127.0.0.1:8554".parse()?)).await?;
//! let file = std::fs::read("yard.h264")?;
//! let player = FilePlayer::from_annex_b("yard/camera".parse()?, Codec::H264, &file, 15.0)?;
//! player.play(&server.mount("/yard")?).await;
//! # Ok(())
//! # }
//! ```
//!
//! **Never:** transcoding, publishing by ANNOUNCE/RECORD, RTSP over HTTP.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use std::io;
use std::net::SocketAddr;

mod conversation;
mod digest;
mod jpeg;
mod mount;
mod player;
mod request;
mod rtcp;
mod rtp;
mod sdp;
mod server;

pub use conversation::{AUTH_FAILURES_MAX, NONCE_LIFETIME};
pub use digest::{AUTHORIZATION_BYTES_MAX, User};
pub use jpeg::{JpegError, SIDE_PIXELS_MAX};
pub use mount::{GROUP_BYTES_MAX, GROUP_FRAMES_MAX, MountCounters, MountHandle};
pub use player::{FRAMES_PER_SECOND_MAX, FilePlayer, PlayerError};
pub use request::{HEADERS_MAX, REQUEST_BYTES_MAX};
pub use rtp::{FRAME_BYTES_MAX, FrameError, PAYLOAD_BYTES_MAX, UNITS_MAX};
pub use server::{
    CONNECTIONS_MAX, MOUNTS_MAX, OUTGOING_BYTES_MAX, QUEUE_FRAMES_MAX, READERS_MAX, REPORT_INTERVAL, RtspServer,
    ServerOptions,
};

/// Why a server cannot do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestreamError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: choose a free port and an address of this machine")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The realm holds a quote, a backslash or a control character.
    #[error("the realm may not hold quotes, backslashes or control characters")]
    Realm,
    /// Not a path.
    #[error("{path:?} is no mount path: start with '/' and use letters, digits, '-', '_', '.' and '/'")]
    Path {
        /// What was given.
        path: String,
    },
    /// There is a mount with this path.
    #[error("the path {path} is mounted already")]
    PathTaken {
        /// The path.
        path: String,
    },
    /// [`MOUNTS_MAX`] are open.
    #[error("more than {MOUNTS_MAX} mounts")]
    ManyMounts,
}

impl RestreamError {
    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Bind { .. } | Self::ManyMounts)
    }
}
