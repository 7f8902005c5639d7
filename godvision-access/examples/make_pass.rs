//! Prints the text of a signed pass, ready for any QR encoder (alphanumeric mode):
//!
//! ```text
//! cargo run -p godvision-access --example make_pass -- ada yard/door 2020-01-01 2100-01-01
//! cargo run -p godvision-access --example make_pass -- bob yard/door 2020-01-01 2021-01-01 --id 2 --uses 1
//! ```
//!
//! Without `--seed HEX` it signs with the demo key, which opens nothing real. Next: `src/pass.rs` for the format.

use std::process::ExitCode;

use godvision_access::pass::{Doors, PassClaims, PassId, PassKey, Uses};
use godvision_core::{Name, WallTime};

const USAGE: &str = "usage: make_pass PERSON DOOR|any FROM UNTIL [--id N] [--uses N] [--key N --seed 64_HEX_DIGITS]
dates are YYYY-MM-DD, midnight UTC";

fn main() -> ExitCode {
    match make(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn make(arguments: &[String]) -> Result<String, Box<dyn std::error::Error>> {
    let [person, door, from, until, options @ ..] = arguments else { return Err("too few arguments".into()) };
    let (mut id, mut uses, mut key_id, mut seed) = (1u64, 0u8, 0u8, None);
    for option in options.chunks(2) {
        match option {
            [name, value] if name == "--id" => id = value.parse()?,
            [name, value] if name == "--uses" => uses = value.parse()?,
            [name, value] if name == "--key" => key_id = value.parse()?,
            [name, value] if name == "--seed" => seed = Some(bytes(value).ok_or("the seed is not 64 hex digits")?),
            other => return Err(format!("{other:?} is not understood").into()),
        }
    }
    let key = seed.map_or_else(PassKey::insecure_demo, |seed| PassKey::from_seed(key_id, &seed));
    let [_, _, id @ ..] = id.to_be_bytes();
    let claims = PassClaims {
        id: PassId(id),
        person: Name::new(person)?,
        doors: if door == "any" { Doors::All } else { Doors::One(Name::new(door)?) },
        not_before: midnight(from)?,
        not_after: midnight(until)?,
        uses: if uses == 0 { Uses::Any } else { Uses::Times(uses) },
    };
    Ok(key.sign(&claims)?.expose().to_owned())
}

fn midnight(date: &str) -> Result<WallTime, jiff::Error> {
    let date: jiff::civil::Date = date.parse()?;
    Ok(WallTime::from_unix_seconds(date.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_second()))
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<u8>> =
        (0..32).map(|index| u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()).collect();
    (hex.len() == 64).then_some(bytes?.try_into().ok()?)
}
