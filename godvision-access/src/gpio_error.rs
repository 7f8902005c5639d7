//! The system's error in one of `gpiocdev`'s.

use std::error::Error as _;
use std::io;

/// The system's error in the library's: it names the number at the end of its text.
pub(crate) fn system_error(error: &gpiocdev::Error) -> io::Error {
    let text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let number = text.rsplit_once("(os error ").and_then(|(_, rest)| rest.trim_end_matches(')').parse().ok());
    number.map_or_else(|| io::Error::other(text.clone()), io::Error::from_raw_os_error)
}
