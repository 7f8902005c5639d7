//! [`StreamReader`]: any [`Wire`] on any [`Link`] as a [`Reader`]: moves bytes and deadlines, decides nothing.
//!
//! **Never:** retries by itself: a link that is lost is told once, and made anew when the reader is asked again.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use godvision_core::Clock;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::reader::{Capabilities, Reader, ReaderError, ReaderEvent};
use godvision_core::signal::door::Indication;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::{Connecting, Link, Stream};
use super::wire::{Wire, WireEvent};

/// Most bytes taken from a link before the events in them are handed out: this bounds what waits.
pub const CHUNK_BYTES: usize = 256;
/// Most bytes that wait for a device to take them: all lamps of the widest bridge five times over. One that sends and never
/// takes is lost.
pub const OUT_BYTES_MAX: usize = 4096;
/// How long [`Reader::indicate`] waits for a device that confirms.
pub const INDICATE_TIMEOUT: Duration = Duration::from_secs(2);

const TAKES_NOTHING: &str = "the device takes nothing";

/// Makes connections. [`Link::connect`], or a test's own.
pub type Connect = Box<dyn Fn() -> Connecting + Send>;

enum State {
    Down,
    Connecting(Connecting),
    Up(Box<dyn Stream>),
}

/// A reader: its protocol on its link.
pub struct StreamReader {
    wire: Box<dyn Wire>,
    address: String,
    connect: Connect,
    clock: Arc<dyn Clock>,
    state: State,
    out: Vec<u8>,
}

impl StreamReader {
    /// `wire` on `link`. Nothing is connected before the first [`Reader::next`].
    pub fn new(wire: impl Wire + 'static, link: Link, clock: Arc<dyn Clock>) -> Self {
        let address = link.address().to_owned();
        Self::over(wire, address, Box::new(move || link.connect()), clock)
    }

    /// `wire` on whatever `connect` makes; errors call it `address`.
    pub fn over(wire: impl Wire + 'static, address: String, connect: Connect, clock: Arc<dyn Clock>) -> Self {
        Self { wire: Box::new(wire), address, connect, clock, state: State::Down, out: Vec::new() }
    }

    fn unreachable(&self, detail: impl Into<String>) -> ReaderError {
        ReaderError::Unreachable { address: self.address.clone(), detail: detail.into() }
    }

    /// An event that has been read already.
    fn take(&mut self) -> Option<Result<ReaderEvent, ReaderError>> {
        Some(match self.wire.poll_event()? {
            WireEvent::Event(event) => Ok(event),
            WireEvent::Nonsense(what) => {
                Err(ReaderError::BadInput { address: self.address.clone(), detail: what.to_owned() })
            }
            WireEvent::Lost(what) => Err(self.lost(what)),
        })
    }

    /// Ends the link. What was to be sent over it is made anew with the next one.
    fn lost(&mut self, why: impl Into<String>) -> ReaderError {
        self.state = State::Down;
        self.out.clear();
        self.unreachable(why)
    }

    /// Connects, sends, reads or waits: one thing of these. May be dropped at any moment.
    async fn turn(&mut self) -> Result<(), ReaderError> {
        match &mut self.state {
            State::Down => self.state = State::Connecting((self.connect)()),
            State::Connecting(connecting) => match connecting.await {
                Ok(stream) => {
                    self.state = State::Up(stream);
                    self.out.clear();
                    self.wire.connected(self.clock.mono());
                }
                Err(error) => return Err(self.lost(words(&error))),
            },
            State::Up(stream) => {
                self.wire.poll_send(&mut self.out);
                if self.out.len() > OUT_BYTES_MAX {
                    return Err(self.lost(TAKES_NOTHING));
                }
                let wake = self.wire.next_wake().map(|at| at.since(self.clock.mono()));
                let mut chunk = [0; CHUNK_BYTES];
                let turned = tokio::select! {
                    // What has come while this program was away came before any deadline that has passed meanwhile.
                    biased;
                    moved = moved(stream, &mut self.out, &mut chunk) => moved,
                    // A timer fires late, never early.
                    () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => Ok(None),
                };
                let now = self.clock.mono();
                match turned {
                    Ok(None) => {}
                    Ok(Some(0)) => return Err(self.lost("the device hung up")),
                    Ok(Some(count)) => {
                        self.wire.receive(chunk.get(..count).unwrap_or_default(), now);
                        chunk.fill(0);
                    }
                    Err(error) => return Err(self.lost(words(&error))),
                }
                if self.wire.next_wake().is_some_and(|at| at <= now) {
                    self.wire.tick(now);
                }
            }
        }
        Ok(())
    }

    async fn shown(&mut self, channel: u8, indication: Indication) -> Result<(), ReaderError> {
        self.wire.indicate(channel, indication, self.clock.mono())?;
        let settled = async {
            loop {
                let is_sent = self.out.is_empty() && matches!(self.state, State::Up(_));
                self.wire.poll_send(&mut self.out);
                if !matches!(self.state, State::Up(_)) {
                    // A new link begins with all that is shown.
                    self.out.clear();
                }
                if is_sent && self.out.is_empty() && self.wire.is_settled() {
                    return Ok(());
                }
                self.turn().await?;
            }
        };
        match tokio::time::timeout(INDICATE_TIMEOUT, settled).await {
            Ok(result) => result,
            Err(_) if !self.out.is_empty() => Err(self.lost(TAKES_NOTHING)),
            Err(_) => Err(self.unreachable("the device does not confirm what it shows")),
        }
    }
}

/// Sends some of `out` or reads some of what comes, whichever goes first: `None` if it was sent. What is not moved when
/// this is dropped is still where it was.
async fn moved(stream: &mut Box<dyn Stream>, out: &mut Vec<u8>, chunk: &mut [u8]) -> io::Result<Option<usize>> {
    poll_fn(|cx| {
        if !out.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(cx, out)
        {
            let count = written?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.drain(..count.min(out.len()));
            return Poll::Ready(Ok(None));
        }
        let mut buffer = ReadBuf::new(chunk);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(Some(buffer.filled().len())))
    })
    .await
}

/// What the system said, without what it was asked.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

impl Reader for StreamReader {
    fn capabilities(&self) -> &Capabilities {
        self.wire.capabilities()
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent, ReaderError>> {
        Box::pin(async move {
            loop {
                if let Some(event) = self.take() {
                    return event;
                }
                self.turn().await?;
            }
        })
    }

    fn indicate(&mut self, channel: u8, indication: Indication) -> BoxFuture<'_, Result<(), ReaderError>> {
        Box::pin(self.shown(channel, indication))
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.wire.capabilities().driver, self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use godvision_core::driver::reader::Presented;
    use godvision_core::signal::door::Key;
    use godvision_core::{ManualClock, SystemClock};
    use tokio::io::AsyncWriteExt;

    use super::super::bridge::{BITS_WAIT, BridgeOptions, BridgeWire};
    use super::super::wiegand;
    use super::*;

    #[tokio::test]
    async fn what_has_come_goes_before_a_deadline_that_has_passed() {
        const BRIEFLY: Duration = Duration::from_millis(5);
        let clock = ManualClock::default();
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let ours = Mutex::new(Some(ours));
        let connect: Connect = Box::new(move || {
            let stream = ours.lock().unwrap().take().map(|stream| Box::new(stream) as Box<dyn Stream>);
            Box::pin(async { stream.ok_or_else(|| io::ErrorKind::NotFound.into()) })
        });
        let wire = BridgeWire::new("wiegand", BridgeOptions::default());
        let mut reader = StreamReader::over(wire, "bridge".into(), connect, Arc::new(clock.clone()));
        assert!(tokio::time::timeout(BRIEFLY, reader.next()).await.is_err());
        let message = wiegand::encode(0x12_3456, 26).unwrap();
        let bits: String = message.iter().map(|bit| if bit { '1' } else { '0' }).collect();
        let (head, tail) = bits.split_at(4);
        for at_us in (1..=20).map(|round| round * 1_000_000) {
            clock.advance(Duration::from_secs(1));
            theirs.write_all(format!("bits 0 {at_us} {head}\n").as_bytes()).await.unwrap();
            assert!(tokio::time::timeout(BRIEFLY, reader.next()).await.is_err(), "it may go on");
            // This program is away for a while, and the rest has long come when it is back.
            let rest = format!("bits 0 {} {tail}\nbits 0 {}\n", at_us + 2000, at_us + 90_000);
            theirs.write_all(rest.as_bytes()).await.unwrap();
            clock.advance(BITS_WAIT);
            let read = tokio::time::timeout(Duration::from_secs(5), reader.next()).await.unwrap();
            assert_eq!(read, Ok(Presented { channel: 0, key: Key::Card("123456".into()) }.into()));
        }
    }

    /// A bridge that goes on sending and never reads.
    #[tokio::test]
    async fn a_device_that_takes_nothing_is_lost_before_what_waits_grows_without_end() {
        const PIPE_BYTES: usize = 64;
        let connect: Connect = Box::new(|| {
            Box::pin(async {
                let (ours, mut theirs) = tokio::io::duplex(PIPE_BYTES);
                tokio::spawn(async move { while theirs.write_all(b"alive\n").await.is_ok() {} });
                Ok(Box::new(ours) as Box<dyn Stream>)
            })
        });
        let wire = BridgeWire::new("keypad", BridgeOptions::default());
        let mut reader = StreamReader::over(wire, "bridge".into(), connect, SystemClock::shared());
        let mut lost = None;
        for turn in 0..OUT_BYTES_MAX {
            let indication = if turn % 2 == 0 { Indication::Open } else { Indication::Ready };
            // Whoever shows something else in the meantime drops the future.
            let shown = tokio::time::timeout(Duration::ZERO, reader.indicate(0, indication)).await;
            assert!(reader.out.len() <= OUT_BYTES_MAX + PIPE_BYTES, "{} bytes wait", reader.out.len());
            if let Ok(Err(error)) = shown {
                lost = Some(error.to_string());
                break;
            }
        }
        assert_eq!(lost.as_deref(), Some("reader bridge cannot be reached: the device takes nothing"));
        assert!(reader.out.is_empty() && matches!(reader.state, State::Down));
        let mut reader = StreamReader::over(
            BridgeWire::new("keypad", BridgeOptions::default()),
            "bridge".into(),
            Box::new(|| Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })),
            SystemClock::shared(),
        );
        for turn in 0..1000 {
            let indication = if turn % 2 == 0 { Indication::Open } else { Indication::Ready };
            assert!(reader.indicate(0, indication).await.is_err());
        }
        assert!(reader.out.is_empty(), "nothing waits for a link that is down");
    }
}
