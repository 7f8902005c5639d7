//! What the drivers of a wire say alike: at which address, how long they wait, and which [`RelayError`] it is.
//!
//! **Never:** a password in an address or a detail, a device's words at full length.

use std::fmt;
use std::time::Duration;

use godvision_core::driver::relay::RelayError;

/// How long a command may take, connecting included, when nothing else is said.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);
/// Most characters of a device's own words in an error.
const DETAIL_CHARACTERS_MAX: usize = 120;

/// The device at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// As it stands in errors: host and port, or the path of a line.
    pub(crate) address: String,
    pub(crate) timeout: Duration,
}

impl Peer {
    pub(crate) fn unreachable(&self, detail: impl fmt::Display) -> RelayError {
        RelayError::Unreachable { address: self.address.clone(), detail: shortened(&detail.to_string()) }
    }

    pub(crate) fn bad_reply(&self, detail: impl fmt::Display) -> RelayError {
        RelayError::BadReply { address: self.address.clone(), detail: shortened(&detail.to_string()) }
    }

    pub(crate) fn rejected(&self, detail: impl fmt::Display) -> RelayError {
        RelayError::Rejected { address: self.address.clone(), detail: shortened(&detail.to_string()) }
    }

    pub(crate) fn auth_failed(&self) -> RelayError {
        RelayError::AuthFailed { address: self.address.clone() }
    }

    pub(crate) fn timed_out(&self) -> RelayError {
        RelayError::Timeout { address: self.address.clone(), waited: self.timeout }
    }

    /// Connects within the time allowed.
    pub(crate) async fn connect(&self) -> Result<tokio::net::TcpStream, RelayError> {
        match tokio::time::timeout(self.timeout, tokio::net::TcpStream::connect(&self.address)).await {
            Ok(Ok(stream)) => {
                // Commands are small and wait for their answer; a failure only makes them slower.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(self.unreachable(format_args!("no connection within {:?}", self.timeout))),
        }
    }

    /// Gives up after the time allowed: the command may have been carried out.
    pub(crate) async fn within<T>(
        &self,
        exchange: impl Future<Output = Result<T, RelayError>>,
    ) -> Result<T, RelayError> {
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(self.timed_out()))
    }
}

/// A device's words, fit for a log: one line of at most 120 characters.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(DETAIL_CHARACTERS_MAX).collect()
}
