//! QR passes of `godvision-access`: any text is refused or is a whole, signed pass; claims survive signing.

use godvision_access::pass::{
    Doors, NameRef, PREFIX, PassClaims, PassDefect, PassId, PassKey, PassVerifier, TEXT_CHARS, Uses,
};
use godvision_core::{Name, Secret, WallTime};

use crate::{Input, Reached};

/// Reads `data` as the text of a QR code, then as claims to sign.
pub fn qr_text(data: &[u8]) -> Reached {
    let key = PassKey::insecure_demo();
    let verifier = PassVerifier::default().with(key.public());
    let mut checked = false;
    if let Ok(text) = std::str::from_utf8(data) {
        match verifier.read(&Secret::from(text)) {
            Ok(pass) => {
                checked = true;
                assert!(text.starts_with(PREFIX) && text.len() == TEXT_CHARS);
                assert!(pass.not_before < pass.not_after);
                // No second text is the same pass: a damaged one is none.
                for place in PREFIX.len()..text.len() {
                    let mut other = text.as_bytes().to_vec();
                    other[place] = if other[place] == b'0' { b'1' } else { b'0' };
                    let other = String::from_utf8(other).expect("ASCII");
                    assert!(verifier.read(&other.as_str().into()).is_err(), "changed at {place}");
                }
            }
            Err(defect) => {
                assert_eq!(defect == PassDefect::NotAPass, !text.starts_with(PREFIX));
                let repeated = text.starts_with(PREFIX) && text.len() > 8 && defect.to_string().contains(text);
                assert!(!repeated, "a refusal does not repeat a pass");
            }
        }
    }
    checked |= claims(data, &key, &verifier);
    Reached::when(checked)
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
    let (Some(person), Some(door)) = (person, door) else { return false };
    let doors = match doors % 3 {
        0 => Doors::One(door.clone()),
        1 => Doors::Group(door.clone()),
        _ => Doors::All,
    };
    let claims = PassClaims { id, person: person.clone(), doors: doors.clone(), not_before, not_after, uses };
    let period = 0..=i64::from(u32::MAX);
    let is_good =
        not_before < not_after && [not_before, not_after].iter().all(|at| period.contains(&at.as_unix_seconds()));
    let signed = key.sign(&claims);
    assert_eq!(signed.is_ok(), is_good, "{claims:?}");
    let Ok(text) = signed else { return false };
    let pass = verifier.read(&text).expect("just signed");
    assert_eq!((pass.id, pass.uses, pass.person), (id, uses, NameRef::person(&person)));
    assert_eq!((pass.not_before, pass.not_after), (not_before, not_after));
    assert_eq!(pass.is_for(&door, []), !matches!(doors, Doors::Group(_)));
    assert_eq!(pass.is_for(&Name::new("elsewhere/x").expect("a name"), [&door]), !matches!(doors, Doors::One(_)));
    assert!(PassVerifier::default().read(&text).is_err(), "a site without this key");
    true
}

fn name(bytes: &[u8]) -> Option<Name> {
    Name::new(std::str::from_utf8(bytes).ok()?).ok()
}
