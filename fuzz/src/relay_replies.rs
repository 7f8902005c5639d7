//! What relay devices answer, and addresses of relays: any bytes are refused or mean one thing, and half a reply never
//! means the opposite of the whole.

use godvision_access::address::DeviceAddress;
use godvision_access::relay::digest::Challenge;
use godvision_access::relay::laurent::{self, Line};
use godvision_access::relay::shelly::RpcReply;
use godvision_access::relay::template::{Reading, parse_state};
use godvision_access::relay::{RelayRegistry, dingtian, kmtronic, shelly1, sonoff, sr201, tasmota};
use godvision_core::driver::relay::Contact;
use godvision_core::{Secret, SystemClock};

use crate::{Input, Reached};

/// The first byte chooses whose reply the rest is (an address for 0), the second the channel.
pub fn relay_replies(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let (device, channel) = (input.byte(), input.byte());
    let body = input.rest();
    match device % 12 {
        0 => std::str::from_utf8(body).map_or(Reached::Refused, address),
        1 => contact(body, |body| shelly1::RelayState::parse(body).ok().map(|state| on_if(state.is_on))),
        2 => contact(body, |body| shelly1::parse_input(body, channel).ok()),
        3 => contact(body, |body| tasmota::parse_power(body, channel).ok()),
        4 => contact(body, |body| tasmota::parse_switch(body, channel).ok()),
        5 => contact(body, |body| sonoff::Info::parse(body).ok()?.ok()?.map(|info| info.contact)),
        6 => contact(body, |body| dingtian::parse_states(body, channel).ok()),
        7 => contact(body, |body| kmtronic::parse_status(body, channel).ok()),
        8 => {
            let reading = Reading {
                at: (channel % 2 == 1).then(|| "/state/{channel}".to_owned()),
                on: "closed".to_owned(),
                off: "open".to_owned(),
            };
            contact(body, |body| parse_state(body, channel, &reading).ok())
        }
        9 => contact(body, |body| sr201::parse_states(body).ok()?.get(usize::from(channel)).copied()),
        10 => contact(body, |body| match Line::parse(body, "RDR").ok()? {
            Line::Answer(answer) => laurent::parse_value(&answer, channel).ok(),
            Line::Own | Line::Refused | Line::PasswordNeeded => None,
        }),
        _ => others(body, channel),
    }
}

fn on_if(is_on: bool) -> Contact {
    if is_on { Contact::On } else { Contact::Off }
}

/// Replies break off anywhere: what is left says the same or nothing.
fn contact(body: &[u8], read: impl Fn(&[u8]) -> Option<Contact>) -> Reached {
    let Some(whole) = read(body) else { return Reached::Refused };
    for cut in 0..body.len().min(2048) {
        let half = read(&body[..cut]);
        assert!(half.is_none_or(|half| half == whole), "the first {cut} bytes say {half:?}, all of them {whole:?}");
    }
    Reached::Checked
}

/// What says no contact by itself: frames of Shelly Gen2, settings of Tasmota, answers to commands, challenges.
fn others(body: &[u8], channel: u8) -> Reached {
    let frame = RpcReply::parse(body);
    if let Ok(frame) = &frame {
        assert_eq!(RpcReply::parse(body).as_ref(), Ok(frame));
    }
    let time = tasmota::parse_pulse_time(body, channel);
    let told = [Contact::On, Contact::Off].map(|contact| dingtian::parse_answer(body, channel, contact));
    assert!(told != [Ok(()), Ok(())], "an answer confirms one command, not its opposite, too");
    let challenge = std::str::from_utf8(body).is_ok_and(|header| Challenge::parse(header).is_ok());
    Reached::when(frame.is_ok() || time.is_ok() || told.contains(&Ok(())) || challenge)
}

/// An address that is understood is written so that it reads the same, and what opens it says no secret.
fn address(text: &str) -> Reached {
    let Ok(address) = DeviceAddress::parse(&text.into()) else { return Reached::Refused };
    let url = address.to_url();
    // Percent-encoding may make it too long to be read.
    if let Ok(again) = DeviceAddress::parse(&url) {
        assert_eq!(again, address);
    } else {
        assert!(url.expose().len() > godvision_access::address::ADDRESS_BYTES_MAX);
    }
    let registry = RelayRegistry::standard(SystemClock::shared());
    match (registry.open(&Secret::from(text)), &address.password) {
        (Ok(relay), _) => assert!(relay.capabilities().channels > 0),
        (Err(error), Some(password)) if password.expose().len() > 12 => {
            let (shown, elsewhere) = (format!("{error} {error:?}"), text.matches(password.expose()).count() > 1);
            assert!(elsewhere || !shown.contains(password.expose()), "{shown}");
        }
        (Err(_), _) => {}
    }
    Reached::Checked
}
