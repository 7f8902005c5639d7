//! What the drivers of a wire say alike: at which address, how long they wait, and which [`RelayError`] it is.
//!
//! **Never:** a password in an address or a detail, a device's words at full length.

use std::fmt;
use std::time::Duration;

use godvision_core::driver::relay::RelayError;

use super::address::RelayAddress;
use crate::error::Error;

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

/// `?timeout_ms=`, 50 to 10 000.
pub(crate) fn timeout_of(address: &RelayAddress) -> Result<Duration, Error> {
    timeout_or(address, TIMEOUT)
}

/// `?timeout_ms=`, 50 to 10 000, or what it is when it is not given.
pub(crate) fn timeout_or(address: &RelayAddress, absent: Duration) -> Result<Duration, Error> {
    let absent_ms = u64::try_from(absent.as_millis()).unwrap_or(u64::MAX);
    let timeout_ms = number(address, "timeout_ms", absent_ms, 50..=10_000);
    let detail = "timeout_ms= is a number from 50 to 10000";
    timeout_ms.map(Duration::from_millis).ok_or(Error::BadRelayUrl { detail })
}

/// The number `name` behind the `?`, or what it is when it is not given; `None` outside `range`.
pub(crate) fn number(
    address: &RelayAddress,
    name: &str,
    absent: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Option<u64> {
    address.value(name).map_or(Some(absent), |text| text.parse().ok()).filter(|number| range.contains(number))
}

/// Refuses what stands behind the `?` and means nothing to the driver.
pub(crate) fn only_known(address: &RelayAddress, known: &[&str], detail: &'static str) -> Result<(), Error> {
    let is_known = |(name, _): &(String, String)| known.contains(&name.as_str()) || name == "timeout_ms";
    if address.query.iter().all(is_known) { Ok(()) } else { Err(Error::BadRelayUrl { detail }) }
}

/// Host and port; the host must be there.
pub(crate) fn host_port(address: &RelayAddress, port: u16) -> Result<String, Error> {
    if address.host.is_empty() {
        return Err(Error::BadRelayUrl { detail: "the device's host is missing" });
    }
    Ok(format!("{}:{}", address.host, address.port.unwrap_or(port)))
}

/// A device's words, fit for a log: one line of at most 120 characters.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(DETAIL_CHARACTERS_MAX).collect()
}
