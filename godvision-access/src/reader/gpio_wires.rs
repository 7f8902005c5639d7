//! [`GpioWires`]: a Wiegand reader at lines of a Linux GPIO chip, as a [`BitSource`].
//!
//! Source: the kernel's GPIO character device (`linux/gpio.h`, ABI v2), by `gpiocdev`. Both edges of both data lines are
//! stamped by the kernel in its interrupt, so that this program may be late; what they mean is [`edges`](super::edges)'
//! business. The kernel keeps [`WAITING_EDGES_MAX`] of them: two messages of the longest kind. If more wait, some are lost,
//! and the numbers of the others say so. The lines of a reader are 5 V, those of a computer 3.3 V: a level shifter stands
//! between.
//!
//! **Not verified:** the kernel's side: what it calls was tried with edges from memory.
//!
//! **Never:** polling, a time of this program's.

use std::io;
use std::time::Duration;

use godvision_core::driver::BoxFuture;
use gpiocdev::Request;
use gpiocdev::line::{Bias, EdgeDetection, EdgeKind, EventClock, Value};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::bits::{BitSource, Seen};
use super::edges::{Data, Edge, EdgeDecoder};
use super::indication::Shown;
use super::wiegand::{BITS_MAX, GAP};
use crate::gpio_error::system_error;

/// Edges that the kernel keeps for us.
pub const WAITING_EDGES_MAX: u32 = 4 * BITS_MAX;
/// When no edge has arrived for so long, none came for [`GAP`]: this program may be that much late.
const QUIET: Duration = GAP.saturating_add(Duration::from_millis(15));

/// Which lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpioWiresOptions {
    /// The chip: `/dev/gpiochip0`.
    pub chip: String,
    /// The line of DATA0.
    pub data0: u32,
    /// The line of DATA1.
    pub data1: u32,
    /// Lines of the red lamp, the green one and the sounder.
    pub lamps: [Option<u32>; 3],
    /// Low lights them, as on most readers.
    pub lamps_are_active_low: bool,
}

/// A reader at lines of a chip.
pub struct GpioWires {
    data: AsyncFd<Request>,
    data1: u32,
    lamps: Vec<(usize, u32, Request)>,
    decoder: EdgeDecoder,
    quiet_at: Option<Instant>,
}

impl GpioWires {
    /// Takes the lines; they are let go when it is dropped. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(options: &GpioWiresOptions) -> io::Result<Self> {
        let mut builder = Request::builder();
        builder
            .on_chip(&options.chip)
            .with_consumer("godvision")
            .with_lines(&[options.data0, options.data1])
            .as_input()
            .with_bias(Bias::PullUp)
            .with_edge_detection(EdgeDetection::BothEdges)
            .with_event_clock(EventClock::Monotonic)
            .with_kernel_event_buffer_size(WAITING_EDGES_MAX);
        let data = builder.request().map_err(|error| system_error(&error))?;
        let mut lamps = Vec::new();
        for (place, line) in options.lamps.iter().enumerate() {
            let Some(line) = *line else { continue };
            let mut builder = Request::builder();
            builder.on_chip(&options.chip).with_consumer("godvision").with_line(line).as_output(Value::Inactive);
            if options.lamps_are_active_low {
                builder.as_active_low();
            }
            lamps.push((place, line, builder.request().map_err(|error| system_error(&error))?));
        }
        // Its successor wants a promise that safe code cannot give; a request keeps its descriptor until it is dropped.
        #[allow(deprecated)]
        let data = AsyncFd::new(data)?;
        let data1 = options.data1;
        Ok(Self { data, data1, lamps, decoder: EdgeDecoder::default(), quiet_at: None })
    }

    /// Takes whatever edges wait; whether there were any.
    fn read(data: &Request, data1: u32, decoder: &mut EdgeDecoder) -> io::Result<bool> {
        for number in 0..WAITING_EDGES_MAX {
            if !data.has_edge_event().map_err(|error| system_error(&error))? {
                return Ok(number > 0);
            }
            let event = data.read_edge_event().map_err(|error| system_error(&error))?;
            decoder.take(Edge {
                wire: if event.offset == data1 { Data::One } else { Data::Zero },
                is_falling: event.kind == EdgeKind::Falling,
                at_ns: event.timestamp_ns,
                sequence: event.seqno,
            });
        }
        Ok(true)
    }
}

impl BitSource for GpioWires {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Seen>> {
        Box::pin(async move {
            loop {
                if let Some(seen) = self.decoder.poll() {
                    return Ok(seen);
                }
                // Nothing is awaited between an edge that was read and the decoder: whoever drops this loses none.
                let quiet_at = self.quiet_at.unwrap_or_else(|| Instant::now() + QUIET);
                tokio::select! {
                    biased;
                    ready = self.data.readable() => {
                        let mut ready = ready?;
                        Self::read(ready.get_inner(), self.data1, &mut self.decoder)?;
                        ready.clear_ready();
                        self.quiet_at = self.decoder.is_begun().then(|| Instant::now() + QUIET);
                    }
                    () = tokio::time::sleep_until(quiet_at), if self.quiet_at.is_some() => {
                        // Edges may have come while this program was held up.
                        if Self::read(self.data.get_ref(), self.data1, &mut self.decoder)? {
                            self.quiet_at = Some(Instant::now() + QUIET);
                        } else {
                            self.quiet_at = None;
                            self.decoder.quiet();
                        }
                    }
                }
            }
        })
    }

    fn show(&mut self, shown: Shown) -> io::Result<()> {
        let lit = [shown.red, shown.green, shown.beep];
        for (place, line, request) in &self.lamps {
            let is_lit = lit.get(*place).copied().unwrap_or_default();
            let value = if is_lit { Value::Active } else { Value::Inactive };
            request.set_value(*line, value).map_err(|error| system_error(&error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chip_that_is_none_is_said_by_the_system() {
        for (chip, kind) in [("/dev/no-such-chip", Some(io::ErrorKind::NotFound)), ("/dev/null", None)] {
            let chip = chip.to_owned();
            let options = GpioWiresOptions { chip, data0: 17, data1: 27, lamps: [None; 3], lamps_are_active_low: true };
            let error = GpioWires::open(&options).err().unwrap();
            assert!(kind.is_none_or(|kind| error.kind() == kind), "{error:?}");
        }
    }
}
