//! [`Error`]: everything that can go wrong between a camera and a packet, as types an owner can act on.
//!
//! The RTSP client underneath reports text; [`crate::session`] sorts that text, the response status and the operating
//! system's error number into these variants. Each says which camera, what to do, whether trying again may help
//! ([`Error::is_temporary`]) and has a short stable [`Error::code`] for journals, pages and metrics.
//!
//! **Never:** a password or a URL with one, a foreign error type, a source repeated in the text.

use std::time::Duration;

use godvision_core::Name;

pub use crate::nal::BitstreamError;
pub use crate::url::UrlError;

/// Why there are no packets, or why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be used.
    #[error("the camera's address cannot be used")]
    Url(#[from] UrlError),
    /// Parameter sets or frames that cannot be read.
    #[error("the camera's video cannot be read")]
    Bitstream(#[from] BitstreamError),
    /// The camera rejects the user name or the password (401 after an answer, or 403).
    #[error("{camera} refuses the user name or password (status {status}): correct them in the camera's settings here")]
    AuthFailed {
        /// Which camera.
        camera: Name,
        /// 401 or 403.
        status: u16,
    },
    /// The camera asks for a user name and a password, and none were given.
    #[error("{camera} asks for a user name and a password: give them")]
    AuthMissing {
        /// Which camera.
        camera: Name,
    },
    /// Nobody listens at that address and port.
    #[error("{camera} refuses connections at {address}: check the port and that RTSP is switched on")]
    Refused {
        /// Which camera.
        camera: Name,
        /// `host:port`.
        address: String,
    },
    /// The host does not answer, has no route, or its name is unknown.
    #[error("{camera} cannot be reached at {address}: {detail}; check the address, the cable and the network")]
    Unreachable {
        /// Which camera.
        camera: Name,
        /// `host:port`.
        address: String,
        /// What the network said.
        detail: String,
    },
    /// The camera is there, the path is not (404).
    #[error("{camera} has no stream at this path: check the part of the address after the port")]
    NotFound {
        /// Which camera.
        camera: Name,
    },
    /// The camera is there and answers with an error.
    #[error("{camera} answers {method} with status {status}: {detail}")]
    Rejected {
        /// Which camera.
        camera: Name,
        /// The RTSP method it refused, upper case.
        method: String,
        /// RTSP status code.
        status: u16,
        /// What the status means.
        detail: &'static str,
    },
    /// The camera refuses the way packets should travel (461).
    #[error("{camera} cannot send its stream over {transport}: choose the other transport or auto")]
    TransportRefused {
        /// Which camera.
        camera: Name,
        /// `TCP` or `UDP`.
        transport: &'static str,
    },
    /// The description lists no video.
    #[error("{camera} offers no video at this path: choose another stream")]
    NoVideo {
        /// Which camera.
        camera: Name,
    },
    /// Video in a coding that is not supported.
    #[error("{camera} sends {codec}, which is not supported: set the camera to H.264, H.265 or MJPEG")]
    UnsupportedCodec {
        /// Which camera.
        camera: Name,
        /// The encoding's name as the camera gives it.
        codec: String,
    },
    /// The camera did not answer in time while connecting.
    #[error("{camera} does not answer {stage} within {after:?}")]
    Timeout {
        /// Which camera.
        camera: Name,
        /// `connect and describe`, `setup` or `play`.
        stage: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The session stands, and no frame came for longer than the watchdog allows.
    #[error("{camera} has sent no frame for {after:?}")]
    Stalled {
        /// Which camera.
        camera: Name,
        /// How long the watchdog waited.
        after: Duration,
    },
    /// A UDP session delivered no frame at all; a firewall is the usual reason.
    #[error("{camera} delivers nothing over UDP within {after:?}: a firewall may drop it; TCP is tried next")]
    UdpSilent {
        /// Which camera.
        camera: Name,
        /// How long was waited.
        after: Duration,
    },
    /// A UDP session delivers frames, and every key frame arrives damaged.
    #[error(
        "{camera} has lost parts of every key frame over UDP for {after:?}: TCP is tried next; or enlarge this host's receive buffers"
    )]
    UdpLossy {
        /// Which camera.
        camera: Name,
        /// For how long nothing could be decoded.
        after: Duration,
    },
    /// The camera ended the stream or closed the connection.
    #[error("{camera} ended the stream")]
    Ended {
        /// Which camera.
        camera: Name,
    },
    /// The connection broke.
    #[error("the connection to {camera} broke: {detail}")]
    Disconnected {
        /// Which camera.
        camera: Name,
        /// What the operating system said.
        detail: String,
    },
    /// The camera breaks the protocol.
    #[error("{camera} breaks the protocol: {detail}")]
    Protocol {
        /// Which camera.
        camera: Name,
        /// One line; never a secret.
        detail: String,
    },
}

/// How soon a failed camera is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// With growing back-off: the network or the camera may come back by itself.
    BackOff,
    /// At the longest back-off: somebody has to act, but a restarting recorder may also answer so for a while.
    Slowly,
    /// Every few minutes only: trying again cannot help and may lock the account.
    Rarely,
}

impl Error {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        self.retry() == Retry::BackOff
    }

    /// How soon to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Url(_) | Self::AuthFailed { .. } | Self::AuthMissing { .. } => Retry::Rarely,
            Self::NotFound { .. }
            | Self::NoVideo { .. }
            | Self::UnsupportedCodec { .. }
            | Self::TransportRefused { .. } => Retry::Slowly,
            _ => Retry::BackOff,
        }
    }

    /// Short and stable, for journals and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url(_) => "bad_url",
            Self::Bitstream(_) => "bad_bitstream",
            Self::AuthFailed { .. } => "auth_failed",
            Self::AuthMissing { .. } => "auth_missing",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::NotFound { .. } => "not_found",
            Self::Rejected { .. } => "rejected",
            Self::TransportRefused { .. } => "transport_refused",
            Self::NoVideo { .. } => "no_video",
            Self::UnsupportedCodec { .. } => "unsupported_codec",
            Self::Timeout { .. } => "timeout",
            Self::Stalled { .. } => "stalled",
            Self::UdpSilent { .. } => "udp_silent",
            Self::UdpLossy { .. } => "udp_lossy",
            Self::Ended { .. } => "ended",
            Self::Disconnected { .. } => "disconnected",
            Self::Protocol { .. } => "protocol",
        }
    }

    /// The error and its sources in one line, for a status page.
    pub fn in_words(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}
