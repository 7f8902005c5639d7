//! The text in which `godvision-access` keeps cards, PINs and plates: what parses prints the same but for the case.

use godvision_access::Error;
use godvision_access::credential::{Directory, StoredKey};

use crate::Reached;

/// Reads `data` as the text of a stored key.
pub fn stored_key(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return Reached::Refused };
    let stored: StoredKey = match text.parse() {
        Ok(stored) => stored,
        Err(error) => {
            // Made of fixed words alone.
            assert!(
                matches!(error, Error::BadKey { .. } | Error::OldPin),
                "a refusal does not repeat what it refuses: {error:?}"
            );
            return Reached::Refused;
        }
    };
    let printed = stored.to_string();
    assert!(printed.eq_ignore_ascii_case(text));
    assert_eq!(printed.parse::<StoredKey>().expect("printed by us"), stored);
    assert_eq!(stored.is_duress(), printed.starts_with("duress-pin2:"));
    assert!(!format!("{stored:?}").contains(&printed[printed.len() - 64..]), "not shown");
    let mut directory = Directory::new([7; 16]);
    for person in ["ada", "bob"] {
        directory.add_person(person.parse().expect("a name")).expect("nobody yet");
    }
    directory.add_stored(&"ada".parse().expect("a name"), stored).expect("the first");
    let twice = directory.add_stored(&"bob".parse().expect("a name"), stored);
    assert!(matches!(twice, Err(Error::KeyTwice { .. })));
    // A PIN and the same PIN for duress are one PIN.
    if let Some(other) = stored.twin() {
        assert_eq!(other.twin(), Some(stored));
        let same = directory.add_stored(&"bob".parse().expect("a name"), other);
        assert!(matches!(same, Err(Error::KeyTwice { .. })));
    }
    Reached::Checked
}
