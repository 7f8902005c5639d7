//! QR codes at a door, for `godvision-access`: any text is refused or is a whole, signed pass or rolling code; claims
//! survive signing.

use godvision_access::pass::rolling::{ROLLING_CHARS, ROLLING_PREFIX, RollingDefect, RollingSecret, RollingVerifier};
use godvision_access::pass::{
    Doors, PREFIX, PassClaims, PassDefect, PassId, PassKey, PassVerifier, TEXT_CHARS_MAX, Uses,
};
use godvision_core::{Name, Secret, WallTime};

use crate::{Input, Reached};

fn site() -> Name {
    "demo".parse().expect("a name")
}

/// Reads `data` as the text of a QR code, then as claims to sign.
pub fn qr_text(data: &[u8]) -> Reached {
    let key = PassKey::insecure_demo();
    let mut rolling = RollingVerifier::new(site());
    rolling.add(&"ada".parse().expect("a name"), RollingSecret::from_bytes([7; 32])).expect("the first");
    let verifier = PassVerifier::new(site()).with(key.public()).with_rolling(rolling);
    let mut checked = false;
    if let Ok(text) = std::str::from_utf8(data) {
        checked |= pass(text, &verifier) | code(text, &verifier);
    }
    checked |= claims(data, &key, &verifier);
    Reached::when(checked)
}

/// Every text that differs from `text` in one character behind `start`.
fn neighbours(text: &str, start: usize) -> impl Iterator<Item = Secret> {
    (start..text.len()).map(move |place| {
        let mut other = text.as_bytes().to_vec();
        other[place] = if other[place] == b'0' { b'1' } else { b'0' };
        String::from_utf8(other).expect("ASCII").into()
    })
}

fn pass(text: &str, verifier: &PassVerifier) -> bool {
    match verifier.read(&Secret::from(text)) {
        Ok(pass) => {
            assert!(text.starts_with(PREFIX) && text.len() <= TEXT_CHARS_MAX);
            assert!(pass.claims.not_before < pass.claims.not_after);
            // No second text is the same pass: a damaged one is none.
            assert!(neighbours(text, PREFIX.len()).all(|other| verifier.read(&other).is_err()));
            true
        }
        Err(defect) => {
            assert_eq!(defect == PassDefect::NotAPass, !text.starts_with(PREFIX));
            let repeated = text.starts_with(PREFIX) && text.len() > 8 && defect.to_string().contains(text);
            assert!(!repeated, "a refusal does not repeat a pass");
            false
        }
    }
}

/// The seed's code is of 2026-11-21 10:00 UTC.
fn code(text: &str, verifier: &PassVerifier) -> bool {
    let now = WallTime::from_unix_seconds(1_795_255_200);
    match verifier.read_rolling(&Secret::from(text), now) {
        Ok(code) => {
            assert!(text.starts_with(ROLLING_PREFIX) && text.len() == ROLLING_CHARS);
            assert!(now < code.until && code.until <= now.plus_micros(90_000_000));
            assert!(neighbours(text, 0).all(|other| verifier.read_rolling(&other, now).is_err()));
            let later = verifier.read_rolling(&text.into(), now.plus_micros(120_000_000));
            assert_eq!(later, Err(RollingDefect::TooOld));
            true
        }
        Err(defect) => {
            assert_eq!(defect == RollingDefect::NotACode, !text.starts_with(ROLLING_PREFIX));
            false
        }
    }
}

fn claims(data: &[u8], key: &PassKey, verifier: &PassVerifier) -> bool {
    let mut input = Input::new(data);
    let uses = match input.byte() {
        0 => Uses::Any,
        times => Uses::Times(times),
    };
    let id = PassId(input.array());
    let second = |input: &mut Input<'_>| WallTime::from_unix_seconds(i64::from_be_bytes(input.array()) >> 24);
    let (not_before, not_after) = (second(&mut input), second(&mut input));
    let doors = input.byte();
    let (person, door) = (name(input.bytes(12)), name(input.rest()));
    let Some(door) = door else { return false };
    let elsewhere = Name::new("elsewhere/x").expect("a name");
    let doors = match doors % 4 {
        0 => Doors::One(door.clone()),
        1 => Doors::Group(door.clone()),
        2 => Doors::Each(vec![door.clone(), elsewhere.clone()]),
        _ => Doors::All,
    };
    let claims = PassClaims { id, person, doors: doors.clone(), not_before, not_after, uses };
    let period = 0..=i64::from(u32::MAX);
    let is_good =
        not_before < not_after && [not_before, not_after].iter().all(|at| period.contains(&at.as_unix_seconds()));
    let is_named_any = door.as_str() == "any" && matches!(doors, Doors::One(_) | Doors::Each(_));
    let signed = key.sign(&site(), &claims);
    assert!(signed.is_err() || is_good && !is_named_any, "{claims:?}");
    let is_long = door.as_str().len() > 64;
    assert!(signed.is_ok() || !is_good || is_named_any || is_long, "{claims:?}");
    let Ok(text) = signed else { return false };
    let pass = verifier.read(&text).expect("just signed");
    assert_eq!(pass.claims, claims);
    assert_eq!(pass.is_for(&door, []), !matches!(doors, Doors::Group(_)));
    assert_eq!(pass.is_for(&elsewhere, [&door]), !matches!(doors, Doors::One(_)) || door == elsewhere);
    let nobody = PassVerifier::new(site());
    assert!(nobody.read(&text).is_err(), "a site without this key");
    let other = PassVerifier::new(elsewhere).with(key.public());
    assert_eq!(other.read(&text), Err(PassDefect::OtherSite));
    true
}

fn name(bytes: &[u8]) -> Option<Name> {
    Name::new(std::str::from_utf8(bytes).ok()?).ok()
}
