//! Dingtian relay boards (DT-R002, DT-R004, DT-R008, ...), over their HTTP commands.
//!
//! Source: Power::Outlet::Dingtian (tried by its author on a DT-R002 V3.6A with V3.1.276A) and three more clients that
//! agree; the maker's manual was not found. `GET /relay_cgi.cgi?type=T&relay=N&on=1&time=D&pwd=P&` (relays from 0; type 0
//! switches, type 1 is a pulse) answers `&0&T&N&on&D&`, the first 0 for success; `GET /relay_cgi_load.cgi` answers
//! `&0&count&s0&s1&...&`. Both are read from the device after each command: an answer that repeats the command proves
//! nothing.
//!
//! **The unit of `time` is in doubt**: 100 ms says the author who tried it, milliseconds says a comment in another client.
//! 100 ms is taken; `?unit_ms=` says otherwise. Time a pulse on your board once: too large a unit would hold the door open
//! for less than asked, too small a one for longer, and the door raises an alarm about a contact that is on too long.
//!
//! **Not verified:** the unit of `time` (100 ms is taken; a comment in another client says milliseconds); what a second
//! pulse does to the first; what a board answers to a wrong password.
//!
//! The password is a number of the relay page; any other result than 0 is [`RelayError::Rejected`]. The status needs none.
//! Inputs are not among these commands.
//!
//! **Never:** types 2 to 4 (delay, flash, toggle), settings of the board changed.

use std::fmt;
use std::time::Duration;

use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};

use super::endpoint::{DeviceOptions, Endpoint, Turn};
use super::http::{HttpRequest, NOT_SHOWN, exchange};
use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "dingtian",
    title: "Dingtian DT-R002, DT-R004, DT-R008, ... (HTTP)",
    about: "Pulses end on the board. Time one: clients disagree about the unit its firmware counts in.",
    fields: &[
        AddressField::HOST,
        AddressField::port("80"),
        AddressField::PASSWORD,
        AddressField::channels(32, "2"),
        AddressField::number("unit_ms", 1, 1000, "100", "the unit the board counts a pulse in, in milliseconds"),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Device),
    verified: Verified::ClientsOnly,
    unverified: &[
        "the unit of time (100 ms is taken; a comment in another client says milliseconds)",
        "what a second pulse does to the first",
        "what a board answers to a wrong password",
    ],
};

/// Most units of a pulse: what fits into 16 bits.
pub const UNITS_MAX: u32 = 65_535;
/// The unit of `time`, if nothing else is known.
pub const UNIT: Duration = Duration::from_millis(100);

/// A Dingtian board.
pub struct Dingtian {
    endpoint: Endpoint,
    /// `pwd=...&`.
    password: Secret,
    unit: Duration,
    capabilities: Capabilities,
}

impl Dingtian {
    /// A driver; nothing is sent yet. `unit` is [`UNIT`] unless the board is known to count otherwise.
    pub fn new(options: DeviceOptions, unit: Duration) -> Self {
        let unit = unit.max(Duration::from_millis(1));
        // A pulse has to last until it has been read back.
        let min = unit.max(Duration::from_millis(500));
        let pulse = PulseTiming::Device { min, max: unit * UNITS_MAX, step: unit };
        let mut password = "pwd=".to_owned();
        crate::address::percent_encode(options.password.as_ref().map_or("0", Secret::expose), &mut password);
        password.push('&');
        Self {
            endpoint: options.endpoint(),
            password: Secret::new(password),
            unit,
            capabilities: options.capabilities("dingtian", pulse),
        }
    }

    /// From `dingtian://[:password@]host[:port]/[?channels=N][&unit_ms=N][&timeout_ms=N]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        let options = DeviceOptions::read(&SPEC, address)?;
        Ok(Self::new(options, Duration::from_millis(SPEC.number(address, "unit_ms").into())))
    }

    async fn get(&self, turn: &Turn<'_>, target: Secret) -> Result<bytes::Bytes, RelayError> {
        exchange(turn, &HttpRequest::get(target)).await?.accepted(&self.endpoint)
    }

    async fn read(&self, turn: &Turn<'_>, channel: u8) -> Result<Contact, RelayError> {
        let body = self.get(turn, "/relay_cgi_load.cgi".into()).await?;
        self.understood(parse_states(&body, channel))
    }

    async fn move_to(&self, channel: u8, contact: Contact, units: u128) -> Result<(), RelayError> {
        let turn = self.endpoint.turn().await?;
        let (on, kind) = (u8::from(contact == Contact::On), u8::from(units > 0));
        let target = Secret::new(format!(
            "/relay_cgi.cgi?type={kind}&relay={channel}&on={on}&time={units}&{}",
            self.password.expose()
        ));
        let body = self.get(&turn, target).await?;
        self.understood(parse_answer(&body, channel, contact))?;
        match self.read(&turn, channel).await.map_err(|error| self.endpoint.unconfirmed(error))? {
            now if now == contact => Ok(()),
            _ => Err(self.endpoint.bad_reply(NOT_SHOWN)),
        }
    }

    fn understood<T>(&self, read: Result<T, Misread>) -> Result<T, RelayError> {
        read.map_err(|misread| match misread {
            Misread::Refused(code) => {
                self.endpoint.rejected(format_args!("result {code}: is the relay password right?"))
            }
            Misread::Damaged(detail) => self.endpoint.bad_reply(detail),
        })
    }
}

/// Why an answer says nothing about a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misread {
    /// The board's result is not 0.
    Refused(u32),
    /// It is none of its answers.
    Damaged(&'static str),
}

/// `&result&...&`: what stands behind the result, which is 0.
fn fields(body: &[u8]) -> Result<Vec<u32>, Misread> {
    let text = std::str::from_utf8(body).map_err(|_| Misread::Damaged("the answer is no text"))?.trim();
    let inner = text.strip_prefix('&').and_then(|text| text.strip_suffix('&'));
    let inner = inner.ok_or(Misread::Damaged("the answer does not stand between & and &"))?;
    let numbers: Option<Vec<u32>> = inner.split('&').map(|field| field.parse().ok()).collect();
    let numbers = numbers.ok_or(Misread::Damaged("the answer holds something else than numbers"))?;
    match numbers.split_first() {
        Some((0, rest)) => Ok(rest.to_vec()),
        Some((code, _)) => Err(Misread::Refused(*code)),
        None => Err(Misread::Damaged("the answer is empty")),
    }
}

/// Reads the answer to a command and compares what it repeats.
///
/// # Errors
/// [`Misread`].
pub fn parse_answer(body: &[u8], channel: u8, contact: Contact) -> Result<(), Misread> {
    match fields(body)?.as_slice() {
        [_, relay, on, ..] if *relay == u32::from(channel) && *on == u32::from(contact == Contact::On) => Ok(()),
        [_, _, _, ..] => Err(Misread::Damaged("it answers another command")),
        _ => Err(Misread::Damaged("the answer is too short")),
    }
}

/// Reads the state of a relay from the answer of `/relay_cgi_load.cgi`.
///
/// # Errors
/// [`Misread`].
pub fn parse_states(body: &[u8], channel: u8) -> Result<Contact, Misread> {
    let fields = fields(body)?;
    let (count, states) = fields.split_first().ok_or(Misread::Damaged("the answer is too short"))?;
    if usize::try_from(*count) != Ok(states.len()) {
        return Err(Misread::Damaged("the number of relays and of states differ"));
    }
    match states.get(usize::from(channel)) {
        Some(0) => Ok(Contact::Off),
        Some(1) => Ok(Contact::On),
        Some(_) => Err(Misread::Damaged("a state is neither 0 nor 1")),
        None => Err(Misread::Damaged("the board has fewer relays than the address says")),
    }
}

impl Relay for Dingtian {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            let duration = checked_pulse(&self.capabilities, channel, duration)?;
            let units = duration.as_millis().div_ceil(self.unit.as_millis().max(1)).max(1);
            self.move_to(channel, Contact::On, units).await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            self.move_to(channel, contact, 0).await
        })
    }

    fn status(&self, channel: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            let turn = self.endpoint.turn().await?;
            self.read(&turn, channel).await
        })
    }
}

/// The address alone.
impl fmt::Debug for Dingtian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dingtian at {}", self.endpoint.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_clients_examples() {
        assert_eq!(parse_answer(b"&0&0&1&1&0&", 1, Contact::On), Ok(()));
        assert_eq!(parse_answer(b"&2&0&1&1&0&", 1, Contact::On), Err(Misread::Refused(2)));
        assert!(matches!(parse_answer(b"&0&0&1&0&0&", 1, Contact::On), Err(Misread::Damaged(_))));
        assert_eq!(parse_states(b"&0&4&0&1&0&0&", 1), Ok(Contact::On));
        for cut in [&b"&0&4&0&1&0&0"[..], b"&0&4&0&1&0&", b"&0&4&", b"&0&", b"&&", b"", b"0&1&1"] {
            assert!(matches!(parse_states(cut, 1), Err(Misread::Damaged(_))), "{cut:?}");
        }
    }
}
