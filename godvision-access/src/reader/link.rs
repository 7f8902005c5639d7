//! [`Link`]: where the bytes of a reader come from: a TCP port, a serial port, a Linux input device.
//!
//! **Never:** protocols, retries (whoever asks again tries again).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A device that does not take a connection within this time is away.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// Where a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// `host:port`.
    Tcp(String),
    /// A serial port, 8 data bits, no parity, one stop bit.
    #[cfg(feature = "serial")]
    Serial {
        /// `/dev/ttyUSB0`, `COM3`.
        path: String,
        /// Bits a second.
        baud: u32,
    },
    /// A Linux input device that is taken for ourselves alone, so that what it types goes nowhere else.
    #[cfg(all(feature = "evdev", target_os = "linux"))]
    Input {
        /// `/dev/input/by-id/...`.
        path: String,
    },
}

impl Link {
    /// What errors call it; never a secret.
    pub fn address(&self) -> &str {
        match self {
            Self::Tcp(address) => address,
            #[cfg(feature = "serial")]
            Self::Serial { path, .. } => path,
            #[cfg(all(feature = "evdev", target_os = "linux"))]
            Self::Input { path } => path,
        }
    }

    /// Starts to connect.
    pub fn connect(&self) -> Connecting {
        match self.clone() {
            Self::Tcp(address) => Box::pin(async move {
                let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&address)).await??;
                // Lamps and polls are a few bytes that must not wait for more.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as Box<dyn Stream>)
            }),
            #[cfg(feature = "serial")]
            Self::Serial { path, baud } => Box::pin(async move {
                let port = serial2_tokio::SerialPort::open(&path, baud)?;
                // What came before anybody listened is nobody's credential.
                port.discard_input_buffer()?;
                Ok(Box::new(port) as Box<dyn Stream>)
            }),
            #[cfg(all(feature = "evdev", target_os = "linux"))]
            Self::Input { path } => Box::pin(async move { super::input_device::open(&path) }),
        }
    }
}
