//! Makes a guest's pass, or a resident's rolling code, and draws it:
//!
//! ```text
//! cargo run -p godvision-access --features qr-image --example make_pass -- ada yard/door 2020-01-01 2100-01-01 --png ada.png
//! cargo run -p godvision-access --features qr-image --example make_pass -- - yard/door,yard/gate 2026-11-21 2026-11-22 --id 2 --uses 1 --card guest.svg
//! cargo run -p godvision-access --features qr-image --example make_pass -- rolling ada
//! cargo run -p godvision-access --features qr-image --example make_pass -- check < texts
//! ```
//! It prints the text, which any QR encoder takes (alphanumeric mode). Without `--seed HEX` it signs with the demo key,
//! which opens nothing real. Next: `src/pass/mod.rs` for the format, `tests/vectors/passes.txt` for more of them.

use std::error::Error;
use std::process::ExitCode;

use godvision_access::pass::qr::{Card, Look, QrImage};
use godvision_access::pass::rolling::RollingSecret;
use godvision_access::pass::{Doors, Pass, PassClaims, PassId, PassKey, PassVerifier, Uses};
use godvision_core::{Clock, Name, Secret, SystemClock, WallTime};

const USAGE: &str = "usage: make_pass PERSON|- DOOR[,DOOR...]|group:NAME|any FROM UNTIL [--id N] [--uses N] [--key N --seed 64_HEX_DIGITS]
       make_pass rolling PERSON [--seed 64_HEX_DIGITS]
       make_pass check [--key N --seed 64_HEX_DIGITS]     reads texts, one a line, and says what each is
each:  [--site NAME] [--png FILE] [--svg FILE] [--card FILE]
dates are YYYY-MM-DD, midnight UTC; PERSON - is whoever holds it";

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

#[derive(Default)]
struct Options {
    id: u64,
    uses: u8,
    key: u8,
    seed: Option<[u8; 32]>,
    site: Option<Name>,
    files: Vec<(String, String)>,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut options = Self { id: 1, ..Self::default() };
        for option in arguments.chunks(2) {
            let [name, value] = option else { return Err(format!("{option:?} is not understood").into()) };
            match name.as_str() {
                "--id" => options.id = value.parse()?,
                "--uses" => options.uses = value.parse()?,
                "--key" => options.key = value.parse()?,
                "--seed" => options.seed = Some(bytes(value).ok_or("the seed is not 64 hex digits")?),
                "--site" => options.site = Some(value.parse()?),
                "--png" | "--svg" | "--card" => options.files.push((name.clone(), value.clone())),
                _ => return Err(format!("{name} is not understood").into()),
            }
        }
        Ok(options)
    }
}

/// What each line of the input says as a pass.
fn check(options: &Options) -> Result<String, Box<dyn Error>> {
    let verifier = PassVerifier::new(site(options)?).with(key(options).public());
    let lines = std::io::stdin().lines().map(|line| match verifier.read(&line?.into()) {
        Ok(Pass { claims, .. }) => {
            let doors = match claims.doors {
                Doors::All => "any".to_owned(),
                Doors::Group(group) => format!("group:{group}"),
                Doors::One(door) => door.to_string(),
                Doors::Each(doors) => doors.iter().map(Name::as_str).collect::<Vec<_>>().join(","),
            };
            let person = claims.person.as_ref().map_or("-", Name::as_str);
            let (from, until) = (claims.not_before.as_unix_seconds(), claims.not_after.as_unix_seconds());
            let uses = if let Uses::Times(times) = claims.uses { times } else { 0 };
            Ok(format!("{} {person} {doors} {from} {until} {uses}", claims.id))
        }
        Err(defect) => Ok(defect.to_string()),
    });
    Ok(lines.collect::<std::io::Result<Vec<_>>>()?.join("\n"))
}

fn make(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    if let [check_word, options @ ..] = arguments
        && check_word == "check"
    {
        return check(&Options::read(options)?);
    }
    let (text, title, lines, options) = match arguments {
        [rolling, person, options @ ..] if rolling == "rolling" => {
            let options = Options::read(options)?;
            let secret = RollingSecret::from_bytes(options.seed.unwrap_or([7; 32]));
            let now = SystemClock.now().wall;
            let (text, until) = secret.code(&site(&options)?, &Name::new(person)?, now)?;
            (text, person.clone(), vec![format!("until {until}")], options)
        }
        [person, doors, from, until, options @ ..] => {
            let options = Options::read(options)?;
            let text = pass(person, doors, from, until, &options)?;
            (text, person.clone(), vec![doors.clone(), format!("{from} to {until}")], options)
        }
        _ => return Err("too few arguments".into()),
    };
    let code = QrImage::new(&text)?;
    eprintln!("{} characters, {2} x {2} modules, of {1}", text.expose().len(), title, code.side());
    for (kind, file) in &options.files {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let content = match kind.as_str() {
            "--png" => code.png(&Look::default())?,
            "--svg" => code.svg().into_bytes(),
            _ => Card { title: &title, lines: &lines }.svg(&code).into_bytes(),
        };
        std::fs::write(file, content)?;
    }
    // Whoever asked for the pass is meant to have it.
    Ok(text.expose().to_owned())
}

fn site(options: &Options) -> Result<Name, Box<dyn Error>> {
    Ok(options.site.clone().map_or_else(|| Name::new("demo"), Ok)?)
}

fn key(options: &Options) -> PassKey {
    options.seed.map_or_else(PassKey::insecure_demo, |seed| PassKey::from_seed(options.key, &seed))
}

fn pass(person: &str, doors: &str, from: &str, until: &str, options: &Options) -> Result<Secret, Box<dyn Error>> {
    let [_, _, id @ ..] = options.id.to_be_bytes();
    let claims = PassClaims {
        id: PassId(id),
        person: if person == "-" { None } else { Some(Name::new(person)?) },
        doors: match (doors, doors.strip_prefix("group:")) {
            ("any", _) => Doors::All,
            (_, Some(group)) => Doors::Group(Name::new(group)?),
            _ if doors.contains(',') => Doors::Each(doors.split(',').map(Name::new).collect::<Result<_, _>>()?),
            _ => Doors::One(Name::new(doors)?),
        },
        not_before: midnight(from)?,
        not_after: midnight(until)?,
        uses: if options.uses == 0 { Uses::Any } else { Uses::Times(options.uses) },
    };
    Ok(key(options).sign(&site(options)?, &claims)?)
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
