//! Wiegand readers whose two wires end at this computer: a [`BitSource`] gives the bits, [`connector`] makes of it what a
//! [`StreamReader`](super::stream::StreamReader) talks to.
//!
//! ```text
//! // `lines()` opens two GPIO lines, and one or two for lamp and sounder: `gpio_wires::GpioWires` does.
//! let wire = BridgeWire::new("wiegand", BridgeOptions { channels: 1, profile: Profile::GREEN_LINE, ..Default::default() });
//! let reader = StreamReader::over(wire, "gpio".into(), connector(lines), clock);
//! ```
//! Bits travel inside the process as lines of [`bridge`](super::bridge): one protocol, one set of tests, whoever sees the
//! bits.
//!
//! **Never:** times of arrival (the source stamps each bit where it sees it), a message that the source says is spoilt.

use std::io;

use godvision_core::driver::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub use super::edges::{Bit, Seen};
use super::indication::Shown;
use super::link::Stream;
use super::stream::Connect;
use super::wire::Lines;

/// Bytes that may wait between a source and its reader: a few messages of the longest kind.
const PIPE_BYTES: usize = 4096;

/// Two wires on which bits come, and lines for a lamp and a sounder.
pub trait BitSource: Send {
    /// Waits for the next bit, pause or spoilt message. Dropping the future must lose none.
    ///
    /// # Errors
    /// What the system says; the source is then made anew.
    fn next(&mut self) -> BoxFuture<'_, io::Result<Seen>>;

    /// Switches lamp and sounder. Must not wait.
    ///
    /// # Errors
    /// What the system says; the source is then made anew.
    fn show(&mut self, shown: Shown) -> io::Result<()>;
}

/// Makes connections to the source that `make` opens.
pub fn connector<S, M>(make: M) -> Connect
where
    S: BitSource + 'static,
    M: Fn() -> io::Result<S> + Send + 'static,
{
    Box::new(move || {
        let source = make();
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            // Ends with either end of the pipe.
            tokio::spawn(carry(source?, theirs));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    })
}

async fn carry(mut source: impl BitSource, mut pipe: DuplexStream) -> io::Result<()> {
    let mut lines = Lines::<32>::default();
    let mut chunk = [0; 64];
    loop {
        tokio::select! {
            seen = source.next() => {
                let line = match seen? {
                    Seen::Bit(Bit { is_one, at_us }) => format!("bits 0 {at_us} {}\n", u8::from(is_one)),
                    Seen::Pause { at_us } => format!("bits 0 {at_us}\n"),
                    Seen::Spoilt => "spoilt 0\n".to_owned(),
                };
                pipe.write_all(line.as_bytes()).await?;
            }
            count = pipe.read(&mut chunk) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                let mut is_asked = false;
                for byte in chunk.iter().take(count) {
                    match lines.push(*byte) {
                        Some(Ok(b"alive?")) => is_asked = true,
                        Some(Ok([b's', b'h', b'o', b'w', b' ', b'0', b' ', red, green, beep])) => {
                            source.show(Shown { red: *red == b'r', green: *green == b'g', beep: *beep == b'b' })?;
                        }
                        _ => {}
                    }
                }
                if is_asked {
                    pipe.write_all(b"alive\n").await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use godvision_core::SystemClock;
    use godvision_core::driver::reader::{Presented, Reader, ReaderError};
    use godvision_core::signal::door::{Indication, Key};
    use tokio::sync::mpsc;

    use super::super::bridge::{BITS_WAIT, BridgeOptions, BridgeWire};
    use super::super::indication::Profile;
    use super::super::stream::StreamReader;
    use super::super::wiegand;
    use super::*;

    struct Wires {
        bits: mpsc::UnboundedReceiver<Seen>,
        shown: Arc<Mutex<Vec<Shown>>>,
    }

    impl BitSource for Wires {
        fn next(&mut self) -> BoxFuture<'_, io::Result<Seen>> {
            Box::pin(async { self.bits.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into()) })
        }

        fn show(&mut self, shown: Shown) -> io::Result<()> {
            self.shown.lock().unwrap().push(shown);
            Ok(())
        }
    }

    #[tokio::test]
    async fn pulses_become_a_card_and_the_lamp_follows() {
        let (pulses, bits) = mpsc::unbounded_channel();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let wires = Mutex::new(Some(Wires { bits, shown: Arc::clone(&shown) }));
        let make = move || wires.lock().unwrap().take().ok_or_else(|| io::ErrorKind::NotFound.into());
        let options = BridgeOptions { channels: 1, profile: Profile::GREEN_LINE, ..BridgeOptions::default() };
        let wire = BridgeWire::new("wiegand", options);
        let mut reader = StreamReader::over(wire, "gpio".into(), connector(make), SystemClock::shared());
        let silence = tokio::time::timeout(2 * BITS_WAIT, reader.next()).await;
        assert!(silence.is_err(), "what comes with a new link is not trusted at once: {silence:?}");
        for (place, is_one) in (0_u32..).zip(wiegand::encode(0x7B_B26E, 26).unwrap().iter()) {
            pulses.send(Seen::Bit(Bit { is_one, at_us: u32::MAX.wrapping_add(2000 * place) })).unwrap();
        }
        pulses.send(Seen::Pause { at_us: 26 * 2000 + 30_000 }).unwrap();
        // A message that is spoilt, though its bits so far are one, and a good one behind it.
        for (place, is_one) in (0_u32..).zip(wiegand::encode(0x11_1111, 26).unwrap().iter()) {
            pulses.send(Seen::Bit(Bit { is_one, at_us: 1_000_000 + 2000 * place })).unwrap();
        }
        pulses.send(Seen::Spoilt).unwrap();
        for (place, is_one) in (0_u32..).zip(wiegand::encode(0x22_2222, 26).unwrap().iter()) {
            pulses.send(Seen::Bit(Bit { is_one, at_us: 2_000_000 + 2000 * place })).unwrap();
        }
        pulses.send(Seen::Pause { at_us: 2_100_000 }).unwrap();
        let patience = Duration::from_secs(5);
        let read = tokio::time::timeout(patience, reader.next()).await.unwrap();
        assert_eq!(read, Ok(Presented { channel: 0, key: Key::Card("7BB26E".into()) }.into()));
        let spoilt = tokio::time::timeout(patience, reader.next()).await.unwrap();
        assert!(matches!(spoilt, Err(ReaderError::BadInput { .. })), "{spoilt:?}");
        let read = tokio::time::timeout(patience, reader.next()).await.unwrap();
        assert_eq!(read, Ok(Presented { channel: 0, key: Key::Card("222222".into()) }.into()));
        reader.indicate(0, Indication::Open).await.unwrap();
        while shown.lock().unwrap().last() != Some(&Shown::GREEN) {
            tokio::task::yield_now().await;
        }
        drop(pulses);
        let lost = tokio::time::timeout(patience, reader.next()).await.unwrap();
        assert!(matches!(lost, Err(ReaderError::Unreachable { .. })), "{lost:?}");
        let away = tokio::time::timeout(patience, reader.next()).await.unwrap();
        assert!(matches!(away, Err(ReaderError::Unreachable { .. })), "{away:?}");
    }
}
