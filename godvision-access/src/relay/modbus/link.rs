//! The edge of the Modbus driver: carries one request and its reply over a connection or a serial line.
//!
//! Boards on one line or behind one gateway share its [`Link`] ([`Links`]): two questions at once would be read as one. RTU
//! frames carry no number, so after a question that nobody answered the next waits until no late reply can come.
//!
//! **Never:** a decision about what a reply means.

use std::sync::{Arc, PoisonError, Weak};

use godvision_core::driver::relay::RelayError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use super::Place;
use super::frame::{Exchange, FRAME_BYTES_MAX, Framing, Reply, Request};
use crate::relay::endpoint::Endpoint;

/// The lines and gateways that boards use now.
#[derive(Default)]
pub struct Links(std::sync::Mutex<Vec<(Place, Weak<Link>)>>);

impl Links {
    /// That of `place`, new if no board uses it; `None` if one uses the line at another speed.
    pub(super) fn of(&self, place: &Place) -> Option<Arc<Link>> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(_, link)| link.strong_count() > 0);
        if let Some((known, link)) = links.iter().find(|(known, _)| known.is_one_with(place)) {
            return link.upgrade().filter(|_| known == place);
        }
        let link = Arc::new(Link::new(place));
        links.push((place.clone(), Arc::downgrade(&link)));
        Some(link)
    }
}

/// One command at a time; the lock holds what the next needs to know.
pub(super) struct Link {
    place: Place,
    framing: Framing,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    transaction: u16,
    /// When the last request of RTU over a connection is too old to be answered, if it was not: gateways pass what comes
    /// late on to whoever is connected then.
    unanswered_until: Option<Instant>,
    #[cfg(feature = "modbus-serial")]
    line: serial::Line,
}

impl Link {
    pub(super) fn new(place: &Place) -> Self {
        Self { place: place.clone(), framing: place.framing(), state: Mutex::default() }
    }

    pub(super) async fn exchange(&self, endpoint: &Endpoint, unit: u8, request: Request) -> Result<Reply, RelayError> {
        let Ok(mut state) = timeout(endpoint.timeout(), self.state.lock()).await else {
            return Err(endpoint.unreachable("earlier commands are still waiting for their answers"));
        };
        state.transaction = state.transaction.wrapping_add(1);
        let exchange = Exchange { framing: self.framing, unit, transaction: state.transaction, request };
        match &self.place {
            Place::Tcp(_) => {
                let mut stream = endpoint.connect().await?;
                endpoint.within(converse(&mut stream, endpoint, &exchange)).await
            }
            Place::RtuOverTcp(_) => {
                if let Some(until) = state.unanswered_until {
                    sleep_until(until).await;
                }
                let mut stream = endpoint.connect().await?;
                // Set before anything is sent: a caller that loses interest leaves it behind.
                state.unanswered_until = Some(Instant::now() + endpoint.timeout());
                let result = endpoint.within(converse(&mut stream, endpoint, &exchange)).await;
                if result.is_ok() {
                    state.unanswered_until = None;
                }
                result
            }
            #[cfg(feature = "modbus-serial")]
            Place::Serial { path, baud } => state.line.exchange(path, *baud, endpoint, &exchange).await,
        }
    }
}

/// Sends the request and reads until the reply is whole.
async fn converse<S>(stream: &mut S, endpoint: &Endpoint, exchange: &Exchange) -> Result<Reply, RelayError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let lost = |error| endpoint.bad_reply(error);
    stream.write_all(&exchange.request_bytes()).await.map_err(lost)?;
    let mut received = Vec::with_capacity(FRAME_BYTES_MAX);
    loop {
        let mut chunk = [0; FRAME_BYTES_MAX];
        let count = stream.read(&mut chunk).await.map_err(lost)?;
        if count == 0 {
            return Err(endpoint.bad_reply("the connection was closed before the reply was whole"));
        }
        received.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if let Some(reply) = exchange.reply(&received).map_err(|fault| endpoint.bad_reply(fault))? {
            return Ok(reply);
        }
        if received.len() > FRAME_BYTES_MAX {
            return Err(endpoint.bad_reply("the reply has no end"));
        }
    }
}

#[cfg(feature = "modbus-serial")]
mod serial {
    use std::path::Path;
    use std::time::Duration;

    use godvision_core::driver::relay::RelayError;
    use serial2_tokio::SerialPort;
    use tokio::io::AsyncReadExt;
    use tokio::time::Instant;

    use super::{Endpoint, Exchange, FRAME_BYTES_MAX, Reply, converse};

    /// The shortest silence between two frames at any speed above 19 200 bit/s (serial line specification, 2.5.1.1).
    const SILENCE_MIN: Duration = Duration::from_micros(1750);
    /// Bits of 3.5 characters of 11 bits, rounded up.
    const SILENCE_BITS: u32 = 39;

    /// A serial line, opened when it is needed and kept.
    #[derive(Default)]
    pub(super) struct Line {
        port: Option<SerialPort>,
        /// When the last request is too old to be answered, if it was not.
        unanswered_until: Option<Instant>,
    }

    impl Line {
        pub(super) async fn exchange(
            &mut self,
            path: &Path,
            baud: u32,
            endpoint: &Endpoint,
            exchange: &Exchange,
        ) -> Result<Reply, RelayError> {
            self.let_late_replies_pass().await;
            let port = match self.port.take() {
                Some(port) => port,
                None => SerialPort::open(path, baud).map_err(|error| endpoint.unreachable(error))?,
            };
            tokio::time::sleep(SILENCE_MIN.max(Duration::from_secs(1) * SILENCE_BITS / baud.max(1))).await;
            // Set before anything is sent: a caller that loses interest leaves it behind.
            self.unanswered_until = Some(Instant::now() + endpoint.timeout());
            let _ = port.discard_input_buffer();
            let port = self.port.insert(port);
            let result = endpoint.within(converse(port, endpoint, exchange)).await;
            match &result {
                Ok(_) => self.unanswered_until = None,
                // A dead line (its adapter was pulled) is opened anew; a silent one is waited out.
                Err(RelayError::BadReply { .. }) => self.port = None,
                Err(_) => {}
            }
            result
        }

        /// Reads and throws away until no reply to the last request can come.
        async fn let_late_replies_pass(&mut self) {
            let Some(until) = self.unanswered_until else { return };
            let passing = async {
                let mut late = [0; FRAME_BYTES_MAX];
                while let Some(port) = &mut self.port
                    && port.read(&mut late).await.is_ok_and(|count| count > 0)
                {}
                std::future::pending::<()>().await
            };
            let _ = tokio::time::timeout_at(until, passing).await;
            self.unanswered_until = None;
        }
    }
}
