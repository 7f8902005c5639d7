//! A Linux input device as a stream of bytes, grabbed.
//!
//! `EVIOCGRAB` is why the crate `evdev` is here: without it a card number is typed into the console, too, and asking the
//! kernel for it takes an `ioctl` that safe code has not. Its raw stream is taken: the other one makes up events for those
//! that the kernel had to drop, and who waits for a number must know that it is not whole.
//!
//! **Not verified:** any reader of this kind: the fake gives the kernel's records from memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use evdev::raw_stream::{EventStream, RawDevice};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lines::record;
use super::link::Stream;

struct InputDevice(EventStream);

/// Opens and grabs the device at `path`.
///
/// # Errors
/// What the system says: no such file, no right to it, grabbed by somebody else.
pub(super) fn open(path: &str) -> io::Result<Box<dyn Stream>> {
    let mut device = RawDevice::open(path)?;
    device.grab()?;
    Ok(Box::new(InputDevice(device.into_event_stream()?)))
}

impl AsyncRead for InputDevice {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let event = ready!(self.0.poll_event(cx))?;
        let record = record(event.event_type().0, event.code(), event.value());
        if buf.remaining() < record.len() {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        buf.put_slice(&record);
        Poll::Ready(Ok(()))
    }
}

/// Nothing is ever sent to it.
impl AsyncWrite for InputDevice {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
