//! [`enum@Error`]: what goes wrong outside a decision (a decision that goes wrong is a refusal with a reason).

use godvision_core::Name;

/// What went wrong while building rules, a directory, a pass or a relay, or while keeping what was spent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pass cannot be made from these claims.
    #[error("the pass cannot be made: {detail}")]
    BadClaims {
        /// What is wrong with them.
        detail: &'static str,
    },
    /// The bytes are no public key, or a weak one.
    #[error("the bytes of pass key {id} are not a usable Ed25519 public key")]
    BadPassKey {
        /// The key id.
        id: u8,
    },
    /// placeholder
    #[error("{0} stands there twice")]
    Twice(Name),
}

impl Error {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        false
    }
}
