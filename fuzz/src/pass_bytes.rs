//! The bytes of a pass (COSE, CBOR) for `godvision-access`: what the reader takes for a message has one encoding only.

use godvision_access::pass::{PREFIX, PassDefect, PassKey, PassVerifier};
use godvision_core::Secret;

use crate::Reached;

/// RFC 9285, written a second time: by division, not by the powers of 45.
fn base45(bytes: &[u8]) -> Secret {
    let alphabet: Vec<char> = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:".chars().collect();
    let mut text = PREFIX.to_owned();
    for pair in bytes.chunks(2) {
        let mut value = pair.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
        for _ in 0..=pair.len() {
            text.push(alphabet[value % 45]);
            value /= 45;
        }
    }
    text.into()
}

/// Reads `data` as a COSE_Sign1. It is signed by nobody, so that the reader is what is met.
pub fn pass_bytes(data: &[u8]) -> Reached {
    let verifier = PassVerifier::new("demo".parse().expect("a name")).with(PassKey::from_seed(0, &[3; 32]).public());
    let read = |bytes: &[u8]| verifier.read(&base45(bytes));
    let is_message = |bytes: &[u8]| match read(bytes) {
        Ok(_) | Err(PassDefect::NotAPass | PassDefect::OtherSite | PassDefect::OutlivesKey) => {
            panic!("nobody has signed this")
        }
        Err(PassDefect::Damaged) => false,
        Err(PassDefect::UnknownKey { .. } | PassDefect::BadSignature) => true,
    };
    if !is_message(data) {
        return Reached::Refused;
    }
    // One byte more or less, anywhere in what is not the signature, is no message any more.
    let claims_end = data.len() - 66;
    for place in 0..claims_end {
        let (front, back) = data.split_at(place);
        assert!(!is_message(&[front, &back[1..]].concat()), "without byte {place}");
    }
    for byte in [0, 0x60, 0xff] {
        assert!(!is_message(&[data, &[byte]].concat()));
    }
    Reached::Checked
}
