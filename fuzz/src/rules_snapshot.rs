//! The snapshot of rules in `godvision-access`: what is read back writes the same bytes, and nothing else is taken.

use godvision_access::{Error, RuleSet};
use sha2::{Digest, Sha256};

use crate::Reached;

/// Reads `data` as a snapshot, and as the body of one whose length and digest are right: a fuzzer finds neither by itself.
pub fn rules_snapshot(data: &[u8]) -> Reached {
    let body = data.get(48..).filter(|_| data.starts_with(b"GVRULES\x01")).unwrap_or(data);
    let length = (body.len() as u64).to_le_bytes();
    let whole = [b"GVRULES\x01", &length[..], &Sha256::digest(body), body].concat();
    if data != whole {
        assert!(matches!(RuleSet::from_bytes(data), Err(Error::Snapshot { .. })), "a wrong head was taken");
    }
    let Ok(set) = RuleSet::from_bytes(&whole) else { return Reached::Refused };
    let compiles = set.compile().is_ok();
    match RuleSet::from_bytes(&set.to_bytes()) {
        Ok(again) => assert_eq!(again, set),
        Err(error) => assert!(!compiles, "{error}"),
    }
    Reached::Checked
}
