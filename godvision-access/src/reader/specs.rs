//! What the addresses of this crate's readers hold, by driver.
//!
//! **Never:** a default key.

use super::bridge;
use super::wedge::LINE_CHARS_MAX;
use crate::driver_spec::{AddressField, DriverSpec, FieldKind, Verified};

/// The port of a bridge when none is given: the first of common serial device servers.
pub const BRIDGE_PORT: u16 = 4001;

const HOST: AddressField = AddressField::HOST;
const PORT: AddressField = AddressField::port("4001");
#[cfg(feature = "serial")]
const SERIAL: AddressField =
    AddressField::text("path", "its device file").required().example("/dev/serial/by-id/usb-reader");
#[cfg(feature = "serial")]
const BAUD: AddressField = AddressField::number("baud", 300, 1_000_000, "9600", "its speed, in bits a second");
const KEYPADS: AddressField = AddressField::number("channels", 1, bridge::CHANNELS_MAX as u32, "8", "how many keypads");
const READERS: AddressField = AddressField::number("channels", 1, bridge::CHANNELS_MAX as u32, "1", "how many readers");
const TWO_LAMPS: AddressField = AddressField::choice(
    "lamps",
    &["red-green", "green", "none"],
    "two lamps, a line that turns red to green, or nothing",
);
const GREEN_LINE: AddressField = AddressField::choice(
    "lamps",
    &["green", "red-green", "none"],
    "a line that turns red to green, two lamps, or nothing",
);
const RAW: AddressField =
    AddressField::choice("raw", &["no", "yes"], "whether Wiegand messages of odd lengths are cards");
const DIGITS: AddressField = AddressField::choice(
    "digits",
    &["hex", "decimal", "facility26", "facility34", "facility37"],
    "how it writes the number of a card",
);
const LENGTH: AddressField =
    AddressField::text("length", "how many characters a number always has: one that has lost some is then no card")
        .of(FieldKind::Number { min: 1, max: LINE_CHARS_MAX as u32 })
        .example("10");

const BRIDGE_ABOUT: &str = "Nothing on the wire is encrypted: keep it on a cable or a network of its own.";
const BRIDGE_UNVERIFIED: &[&str] =
    &["a bridge of anybody's: the wire is ours, and a fake written from it was all there was"];
const LINES_ABOUT: &str = "Writes a number in each line; shows nothing. A card that is copied reads the same.";
const LINES_UNVERIFIED: &[&str] = &["any reader of this kind"];

const fn reader(scheme: &'static str, title: &'static str, fields: &'static [AddressField]) -> DriverSpec {
    DriverSpec { scheme, title, about: "", fields, pulse: None, verified: Verified::Documents, unverified: &[] }
}

const fn bridged(scheme: &'static str, title: &'static str, fields: &'static [AddressField]) -> DriverSpec {
    DriverSpec { about: BRIDGE_ABOUT, unverified: BRIDGE_UNVERIFIED, ..reader(scheme, title, fields) }
}

const fn lines(scheme: &'static str, title: &'static str, fields: &'static [AddressField]) -> DriverSpec {
    DriverSpec { about: LINES_ABOUT, unverified: LINES_UNVERIFIED, ..reader(scheme, title, fields) }
}

pub(super) const KEYPAD_TCP: DriverSpec =
    bridged("keypad+tcp", "PIN keypads behind a bridge (TCP)", &[HOST, PORT, KEYPADS, TWO_LAMPS, RAW]);
#[cfg(feature = "serial")]
pub(super) const KEYPAD: DriverSpec =
    bridged("keypad", "PIN keypads behind a bridge (serial port)", &[SERIAL, BAUD, KEYPADS, TWO_LAMPS, RAW]);
pub(super) const WIEGAND_TCP: DriverSpec =
    bridged("wiegand+tcp", "Wiegand readers behind a bridge (TCP)", &[HOST, PORT, READERS, GREEN_LINE, RAW]);
#[cfg(feature = "serial")]
pub(super) const WIEGAND: DriverSpec =
    bridged("wiegand", "Wiegand readers behind a bridge (serial port)", &[SERIAL, BAUD, READERS, GREEN_LINE, RAW]);
pub(super) const LINES_TCP: DriverSpec =
    lines("lines+tcp", "Card reader that writes lines (TCP)", &[HOST, PORT, DIGITS, LENGTH]);
#[cfg(feature = "serial")]
pub(super) const LINES: DriverSpec =
    lines("lines", "Card reader that writes lines (serial port)", &[SERIAL, BAUD, DIGITS, LENGTH]);

#[cfg(all(feature = "evdev", target_os = "linux"))]
pub(super) const WEDGE: DriverSpec = DriverSpec {
    about: "Types as a keyboard does; it is taken for the doors alone, and shows nothing.",
    unverified: &["any reader of this kind: the fake gives the kernel's records from memory"],
    ..reader(
        "wedge",
        "Card reader that types (USB)",
        &[
            AddressField::text("path", "its device file").required().example("/dev/input/by-id/usb-reader-event-kbd"),
            DIGITS,
            LENGTH,
        ],
    )
};

#[cfg(all(feature = "wiegand-gpio", target_os = "linux"))]
mod gpio {
    use super::*;
    use crate::driver_spec::FieldKind;

    /// Highest number of a line that an address may name.
    const LINE_MAX: u32 = 1023;

    const fn line(key: &'static str, about: &'static str, example: &'static str) -> AddressField {
        AddressField::text(key, about).of(FieldKind::Number { min: 0, max: LINE_MAX }).example(example)
    }

    pub(in super::super) const WIEGAND_GPIO: DriverSpec = DriverSpec {
        about: "The reader's two wires end at this computer's own pins, behind a level shifter. Nothing on them is encrypted.",
        unverified: &["the kernel's side: what it calls was tried with edges from memory"],
        ..reader(
            "wiegand+gpio",
            "Wiegand reader at GPIO lines",
            &[
                AddressField::text("path", "the chip's device file").required().example("/dev/gpiochip0"),
                line("data0", "number of the line of DATA0 (green as a rule)", "17").required(),
                line("data1", "number of the line of DATA1 (white as a rule)", "27").required(),
                line("red", "number of the line of its red lamp", "23"),
                line("green", "number of the line of its green lamp", "22"),
                line("beep", "number of the line of its sounder", "24"),
                AddressField::choice("active", &["low", "high"], "which level lights lamp and sounder"),
                RAW,
            ],
        )
    };
}
#[cfg(all(feature = "wiegand-gpio", target_os = "linux"))]
pub(super) use gpio::*;

pub(super) const SOFT: DriverSpec = DriverSpec {
    about: "A reader of this program itself: a page, a messenger.",
    verified: Verified::Device,
    ..reader(
        "soft",
        "Reader without a device",
        &[AddressField::HOST.about("its name, as the program gives it").example("hall")],
    )
};

#[cfg(feature = "osdp")]
mod osdp {
    use super::*;
    use crate::reader::osdp::{DEVICES_MAX, frame::ADDRESS_MAX};

    const KEY: AddressField = AddressField::secret(
        "the key of its secure channel, 32 hexadecimal digits; without one everything passes in clear",
    );
    const ADDRESSES: AddressField =
        AddressField::text("address", "its address on the line; of several devices with commas between them")
            .of(FieldKind::Numbers { min: 0, max: ADDRESS_MAX as u32, count_max: DEVICES_MAX })
            .or("0");
    const READERS: AddressField = AddressField::number("readers", 1, 8, "1", "readers of each device, each a channel");
    const CONTACT: AddressField = AddressField::text("contact", "which of its inputs is the contact in the frame")
        .of(FieldKind::Number { min: 0, max: 31 })
        .example("0");
    const INSTALL: AddressField = AddressField::choice(
        "install",
        &["no", "yes"],
        "yes gives a device in installation mode the key, and reads no cards: then take it out again",
    );
    const EXIT: AddressField = AddressField::text("exit", "which of its inputs is the button to get out")
        .of(FieldKind::Number { min: 0, max: 31 })
        .example("1");

    const fn osdp(scheme: &'static str, title: &'static str, fields: &'static [AddressField]) -> DriverSpec {
        DriverSpec {
            about: "Lamp, sounder and inputs; with a key, encrypted and proven.",
            unverified: &["any reader: other implementations of the protocol were all there was"],
            ..reader(scheme, title, fields)
        }
    }

    pub(in super::super) const OSDP_TCP: DriverSpec = osdp(
        "osdp+tcp",
        "OSDP v2 readers behind a gateway (TCP)",
        &[HOST, PORT, KEY, ADDRESSES, READERS, CONTACT, EXIT, DIGITS, INSTALL],
    );
    #[cfg(feature = "serial")]
    pub(in super::super) const OSDP: DriverSpec = osdp(
        "osdp",
        "OSDP v2 readers (serial port)",
        &[SERIAL, BAUD, KEY, ADDRESSES, READERS, CONTACT, EXIT, DIGITS, INSTALL],
    );
}
#[cfg(feature = "osdp")]
pub(super) use osdp::*;
