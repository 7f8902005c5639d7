//! [`Endpoint`]: a device at an address of the network, as drivers over TCP meet it: whose turn it is, connecting, deadlines,
//! and errors that name the device.
//!
//! A connection lives as long as one command: devices keep few, and a stale one would make an error ambiguous. Small
//! devices also want to be asked one thing at a time, some with a pause between: [`Endpoint::turn`].
//!
//! **Never:** retries, by this program or by the system after it gave up, a connection kept, TLS (these devices have none), an error that repeats what was sent.

use std::fmt;
use std::time::Duration;

use godvision_core::Secret;
use godvision_core::driver::relay::{Capabilities, PulseTiming, RelayError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::address::DeviceAddress;
use crate::driver_spec::DriverSpec;
use crate::error::Error;

/// How long a command may take when nothing else is said, and how long it waits for its turn.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a device is given to end a connection that was ended here.
pub const CLOSE: Duration = Duration::from_millis(50);
/// Longest text of a device that an error repeats, in characters.
pub const WORDS_MAX: usize = 120;

/// How to reach a device, and what it has.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// Host and port, such as `192.168.1.20:80`.
    pub address: String,
    /// The user name that belongs to the password.
    pub user: String,
    /// The device's password, if it has one.
    pub password: Option<Secret>,
    /// How many relays it has.
    pub channels: u8,
    /// How many of its inputs are wired.
    pub inputs: u8,
    /// How long a command may take, connecting included.
    pub timeout: Duration,
}

impl DeviceOptions {
    /// A device with one relay, without inputs and password.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            user: "admin".to_owned(),
            password: None,
            channels: 1,
            inputs: 0,
            timeout: TIMEOUT,
        }
    }

    /// What `address` says, checked against `spec`; an empty password is none.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`].
    pub fn read(spec: &DriverSpec, address: &DeviceAddress) -> Result<Self, Error> {
        spec.check(address)?;
        Ok(Self {
            address: spec.authority(address),
            user: spec.text(address, "user").map(|user| user.expose().to_owned()).unwrap_or_default(),
            password: address.password.clone().filter(|password| !password.is_empty()),
            channels: spec.channels(address),
            inputs: spec.inputs(address),
            timeout: spec.timeout(address),
        })
    }

    /// The capabilities of a device with so many relays and inputs.
    pub fn capabilities(&self, driver: &'static str, pulse: PulseTiming) -> Capabilities {
        Capabilities { driver, channels: self.channels, pulse, inputs: self.inputs }
    }

    /// The device.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.address, self.timeout)
    }
}

/// A device at an address.
pub struct Endpoint {
    address: String,
    timeout: Duration,
    pause: Duration,
    /// Held during a command; the moment before which the next may not begin.
    turn: Mutex<Option<Instant>>,
}

impl Endpoint {
    /// The device at `address`: host and port, or what its errors shall name (a device file).
    pub fn new(address: impl Into<String>, timeout: Duration) -> Self {
        Self { address: address.into(), timeout, pause: Duration::ZERO, turn: Mutex::default() }
    }

    /// With a pause between what it is asked, for devices that choke without one.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Host and port, or a device file.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How long a command may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits until no other command is under way. What is then done in this turn, has [`Endpoint::timeout`] in all.
    ///
    /// # Errors
    /// [`RelayError::Unreachable`] after [`Endpoint::timeout`]: nothing was sent.
    pub async fn turn(&self) -> Result<Turn<'_>, RelayError> {
        let Ok(next) = timeout(self.timeout, self.turn.lock()).await else {
            return Err(self.unreachable("earlier commands are still waiting for their answers"));
        };
        let mut turn = Turn { endpoint: self, next, deadline: Instant::now() };
        if let Some(next) = *turn.next {
            sleep_until(next).await;
        }
        turn.deadline = Instant::now() + self.timeout;
        Ok(turn)
    }

    /// Connects, whoever's turn it is.
    ///
    /// # Errors
    /// [`RelayError::Unreachable`]: nothing was sent.
    pub async fn connect(&self) -> Result<TcpStream, RelayError> {
        self.connect_until(Instant::now() + self.timeout).await
    }

    async fn connect_until(&self, deadline: Instant) -> Result<TcpStream, RelayError> {
        match timeout_at(deadline, TcpStream::connect(&self.address)).await {
            Ok(Ok(stream)) => {
                // Commands are small and wait for their answer; a failure only makes them slower.
                let _ = stream.set_nodelay(true);
                self.forget_what_is_late(&stream);
                Ok(stream)
            }
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(self.unreachable(format_args!("no connection within {:?}", self.timeout))),
        }
    }

    /// A command that nobody waits for any more must not open a door when the link heals: the system keeps trying to deliver
    /// what was written for minutes, also after the connection was dropped, unless it is told otherwise.
    #[cfg(target_os = "linux")]
    fn forget_what_is_late(&self, stream: &TcpStream) {
        let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(self.timeout));
    }

    /// Other systems have no such setting.
    #[cfg(not(target_os = "linux"))]
    fn forget_what_is_late(&self, _: &TcpStream) {}

    /// Does `work`, which speaks to the device, within [`Endpoint::timeout`].
    ///
    /// # Errors
    /// [`RelayError::Timeout`], which is ambiguous; what `work` returns.
    pub async fn within<T>(&self, work: impl Future<Output = Result<T, RelayError>>) -> Result<T, RelayError> {
        self.until(Instant::now() + self.timeout, work).await
    }

    async fn until<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, RelayError>>,
    ) -> Result<T, RelayError> {
        timeout_at(deadline, work).await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// [`RelayError::BadReply`]: a part may have arrived.
    pub async fn send(&self, stream: &mut TcpStream, bytes: &[u8]) -> Result<(), RelayError> {
        stream.write_all(bytes).await.map_err(|error| self.bad_reply(error))
    }

    /// Reads what has arrived into `received`, up to `limit` bytes in all.
    ///
    /// # Errors
    /// [`RelayError::BadReply`] if the device hangs up or says more than `limit` bytes.
    pub async fn receive(
        &self,
        stream: &mut TcpStream,
        received: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), RelayError> {
        let mut chunk = [0; 512];
        match stream.read(&mut chunk).await {
            Ok(0) => Err(self.bad_reply("it hung up in the middle of its answer")),
            Ok(count) if received.len() + count > limit => Err(self.bad_reply("its answer has no end")),
            Ok(count) => {
                received.extend_from_slice(chunk.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) => Err(self.bad_reply(error)),
        }
    }

    /// No connection; nothing was sent.
    pub fn unreachable(&self, detail: impl fmt::Display) -> RelayError {
        RelayError::Unreachable { address: self.address.clone(), detail: shortened(&detail.to_string()) }
    }

    /// The answer is none of the protocol.
    pub fn bad_reply(&self, detail: impl fmt::Display) -> RelayError {
        RelayError::BadReply { address: self.address.clone(), detail: shortened(&detail.to_string()) }
    }

    /// The device said no.
    pub fn rejected(&self, detail: impl fmt::Display) -> RelayError {
        RelayError::Rejected { address: self.address.clone(), detail: shortened(&detail.to_string()) }
    }

    /// No answer in time: the command may have been carried out.
    pub fn timed_out(&self) -> RelayError {
        RelayError::Timeout { address: self.address.clone(), waited: self.timeout }
    }

    /// Another user name or password is wanted.
    pub fn auth_failed(&self) -> RelayError {
        RelayError::AuthFailed { address: self.address.clone() }
    }

    /// An error met while confirming a command that was sent: the command may have been carried out, so "nothing was
    /// sent" would be wrong now.
    pub fn unconfirmed(&self, error: RelayError) -> RelayError {
        match error {
            RelayError::Unreachable { detail, .. } => self.bad_reply(format_args!("sent but not confirmed: {detail}")),
            other => other,
        }
    }
}

/// The address alone.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// One command's turn; the next begins a pause after it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Turn<'a> {
    endpoint: &'a Endpoint,
    next: MutexGuard<'a, Option<Instant>>,
    deadline: Instant,
}

impl<'a> Turn<'a> {
    /// The device.
    pub fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// Connects within what is left of the turn.
    ///
    /// # Errors
    /// [`RelayError::Unreachable`]: nothing was sent.
    pub async fn connect(&self) -> Result<TcpStream, RelayError> {
        self.endpoint.connect_until(self.deadline).await
    }

    /// Does `work`, which speaks to the device, within what is left of the turn.
    ///
    /// # Errors
    /// [`RelayError::Timeout`], which is ambiguous; what `work` returns.
    pub async fn within<T>(&self, work: impl Future<Output = Result<T, RelayError>>) -> Result<T, RelayError> {
        self.endpoint.until(self.deadline, work).await
    }

    /// Ends a connection and waits, for [`CLOSE`] at most, until the device has, too: one that keeps few connections would
    /// refuse the next command otherwise.
    pub async fn close(&self, mut stream: TcpStream) {
        let ended = async {
            stream.shutdown().await.ok()?;
            while stream.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {}
            Some(())
        };
        // A device that keeps it open has room for it.
        let _ = timeout(CLOSE, ended).await;
    }

    /// The pause between two requests of one command; it does not count.
    pub async fn rest(&mut self) {
        if !self.endpoint.pause.is_zero() {
            tokio::time::sleep(self.endpoint.pause).await;
            self.deadline += self.endpoint.pause;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let pause = self.endpoint.pause;
        *self.next = (!pause.is_zero()).then(|| Instant::now() + pause);
    }
}

/// A device's words, fit for a log: one line of at most [`WORDS_MAX`] characters.
fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_taken_one_after_another_with_a_pause() {
        let endpoint = Endpoint::new("127.0.0.1:9", Duration::from_secs(1)).with_pause(Duration::from_millis(200));
        let begun = Instant::now();
        drop(endpoint.turn().await.unwrap());
        drop(endpoint.turn().await.unwrap());
        assert!(begun.elapsed() >= Duration::from_millis(200));
        let held = endpoint.turn().await.unwrap();
        let refused = endpoint.turn().await.unwrap_err();
        assert!(!refused.is_ambiguous() && refused.is_temporary(), "{refused:?}");
        drop(held);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_system_gives_up_what_was_written_when_the_driver_does() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(listener.local_addr().unwrap().to_string(), TIMEOUT);
        let stream = endpoint.connect().await.unwrap();
        assert_eq!(socket2::SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(TIMEOUT));
    }

    #[test]
    fn what_was_sent_is_never_reported_as_not_sent() {
        let endpoint = Endpoint::new("127.0.0.1:9", TIMEOUT);
        assert!(endpoint.unconfirmed(endpoint.unreachable("gone")).is_ambiguous());
        assert_eq!(endpoint.unconfirmed(endpoint.auth_failed()), endpoint.auth_failed());
        let RelayError::Rejected { detail, .. } = endpoint.rejected("no\n".repeat(100)) else { panic!("rejected") };
        assert_eq!((detail.chars().count(), detail.contains('\n')), (WORDS_MAX, false));
    }
}
