//! KMTronic Web relay boards, over HTTP.
//!
//! Source: the library that Home Assistant drives them with (pykmtronic 0.4) and the openHAB community's description,
//! which agree: `GET /FF0101` switches relay 1 on, `/FF0100` off; `GET /status.xml` is
//! `<response><relay0>0</relay0><relay1>1</relay1>...</response>`, where relay N is `<relayN>`; basic authentication. The
//! maker's pages give the same three bytes for its serial boards (`FF 01 01`). The board hangs until its power is cut when
//! it is asked too fast: [`PAUSE`] lies between two requests.
//!
//! It has no timer: pulses end here ([`PulseTiming::Host`]). What its page says after a command proves nothing, so the
//! status is read after each.
//!
//! **Not verified:** anything on a board; boards with UDP, and bytes over plain TCP (no document was found); `relay0`
//! of the status, which the library skips.
//!
//! **Never:** `relays.cgi?relay=N` (it toggles).

use std::fmt;
use std::time::Duration;

use godvision_core::Secret;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::relay::{
    Capabilities, Contact, PulseTiming, Relay, RelayError, checked_channel, checked_pulse,
};

use super::endpoint::{DeviceOptions, Endpoint, Turn};
use super::http::{HttpRequest, NOT_SHOWN, basic, exchange};
use crate::address::DeviceAddress;
use crate::driver_spec::{AddressField, DriverSpec, PulseEnd, Verified};
use crate::error::Error;

/// What its address holds.
pub const SPEC: DriverSpec = DriverSpec {
    scheme: "kmtronic",
    title: "KMTronic Web relay (HTTP)",
    about: "It has no timer: if the link is lost in a pulse, the contact stays on until it is back.",
    fields: &[
        AddressField::HOST,
        AddressField::port("80"),
        AddressField::user("admin"),
        AddressField::PASSWORD,
        AddressField::channels(8, "2"),
        AddressField::number(
            "pause_ms",
            0,
            2000,
            "300",
            "the rest the board needs between two requests, in milliseconds",
        ),
        AddressField::TIMEOUT_MS,
    ],
    pulse: Some(PulseEnd::Host),
    verified: Verified::ClientsOnly,
    unverified: &[
        "anything on a board",
        "boards with UDP, and bytes over plain TCP (no document was found)",
        "relay0 of the status, which the library skips",
    ],
};

/// The rest the board needs between two requests.
pub const PAUSE: Duration = Duration::from_millis(300);

/// A KMTronic board.
pub struct Kmtronic {
    endpoint: Endpoint,
    authorization: Option<Secret>,
    capabilities: Capabilities,
}

impl Kmtronic {
    /// A driver; nothing is sent yet. `pause` is [`PAUSE`] unless the board is known to be quicker.
    pub fn new(options: DeviceOptions, pause: Duration) -> Self {
        Self {
            endpoint: options.endpoint().with_pause(pause),
            authorization: options.password.as_ref().map(|password| basic(&options.user, password)),
            capabilities: options.capabilities("kmtronic", PulseTiming::Host),
        }
    }

    /// From `kmtronic://[user[:password]@]host[:port]/[?channels=N][&pause_ms=N][&timeout_ms=N]`.
    ///
    /// # Errors
    /// [`Error::BadDeviceField`].
    pub fn from_address(address: &DeviceAddress) -> Result<Self, Error> {
        let options = DeviceOptions::read(&SPEC, address)?;
        Ok(Self::new(options, Duration::from_millis(SPEC.number(address, "pause_ms").into())))
    }

    async fn get(&self, turn: &Turn<'_>, target: String) -> Result<bytes::Bytes, RelayError> {
        let request = HttpRequest::get(target).authorized(self.authorization.clone());
        exchange(turn, &request).await?.accepted(&self.endpoint)
    }

    async fn read(&self, turn: &Turn<'_>, channel: u8) -> Result<Contact, RelayError> {
        let body = self.get(turn, "/status.xml".to_owned()).await?;
        parse_status(&body, channel).map_err(|detail| self.endpoint.bad_reply(detail))
    }

    async fn switch(&self, channel: u8, contact: Contact) -> Result<(), RelayError> {
        let mut turn = self.endpoint.turn().await?;
        self.get(&turn, format!("/FF{:02}{:02}", channel + 1, u8::from(contact == Contact::On))).await?;
        turn.rest().await;
        match self.read(&turn, channel).await.map_err(|error| self.endpoint.unconfirmed(error))? {
            now if now == contact => Ok(()),
            _ => Err(self.endpoint.bad_reply(NOT_SHOWN)),
        }
    }
}

/// Reads the state of a relay from `/status.xml`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_status(body: &[u8], channel: u8) -> Result<Contact, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "the status is no text")?.trim();
    if !text.ends_with("</response>") {
        return Err("the status breaks off");
    }
    let (open, close) = (format!("<relay{}>", u16::from(channel) + 1), format!("</relay{}>", u16::from(channel) + 1));
    let (_, after) = text.split_once(open.as_str()).ok_or("the relay is missing in the status")?;
    let (value, _) = after.split_once(close.as_str()).ok_or("the relay is missing in the status")?;
    match value.trim() {
        "0" => Ok(Contact::Off),
        "1" => Ok(Contact::On),
        _ => Err("the relay is neither 0 nor 1"),
    }
}

impl Relay for Kmtronic {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pulse(&self, channel: u8, duration: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_pulse(&self.capabilities, channel, duration)?;
            self.switch(channel, Contact::On).await
        })
    }

    fn set(&self, channel: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            checked_channel(&self.capabilities, channel)?;
            self.switch(channel, contact).await
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
impl fmt::Debug for Kmtronic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kmtronic at {}", self.endpoint.address())
    }
}
