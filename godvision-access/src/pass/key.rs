//! The keys of a site: [`PassKey`] signs, [`PublicPassKey`] verifies. Ed25519 (RFC 8032).
//!
//! A pass key signs passes and nothing else, so there is no other meaning its signatures could be taken for.
//!
//! **Never:** making randomness (the application brings 32 bytes), printing the secret half. It is overwritten when
//! dropped.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use godvision_core::{Name, Secret};
use sha2::{Digest, Sha256};

use super::{PREFIX, PassClaims, TEXT_CHARS_MAX, cose};
use crate::base45;
use crate::error::Error;

/// The secret half of a site's pass key. Whoever has it can make passes.
pub struct PassKey {
    id: u8,
    key: SigningKey,
}

impl PassKey {
    /// The key `id` from 32 secret bytes of good randomness. Overwrite them afterwards; the key overwrites its own copy.
    pub fn from_seed(id: u8, seed: &[u8; 32]) -> Self {
        Self { id, key: SigningKey::from_bytes(seed) }
    }

    /// **Insecure**: key 0 of the demo. Its seed stands in the documentation, so everybody can sign with it. A real
    /// site must never put its public half into a [`super::PassVerifier`].
    pub fn insecure_demo() -> Self {
        Self::from_seed(0, &Sha256::digest(b"godvision demo pass key: opens nothing real").into())
    }

    /// Which key it is.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// The half that verifies.
    pub fn public(&self) -> PublicPassKey {
        PublicPassKey { id: self.id, key: self.key.verifying_key() }
    }

    /// Makes a pass of `site`. Costs one signature and a few allocations. A ring of keys that change signs by
    /// [`super::PassKeys::sign`].
    ///
    /// # Errors
    /// [`Error::BadClaims`] if the period is empty or outside 1970 to 2106, if it could be used 0 times, if it lists
    /// fewer than 2 or more than [`super::DOORS_MAX`] doors or one called `any`, or if its names are so long that the
    /// text would have more than [`TEXT_CHARS_MAX`] characters.
    pub fn sign(&self, site: &Name, claims: &PassClaims) -> Result<Secret, Error> {
        let signature = self.key.sign(&cose::to_be_signed(self.id, site, claims)?);
        let bytes = cose::written(self.id, site, claims, &signature.to_bytes())?;
        let mut text = String::with_capacity(PREFIX.len() + bytes.len() / 2 * 3 + 2);
        text.push_str(PREFIX);
        base45::encode_into(&bytes, &mut text);
        if text.len() > TEXT_CHARS_MAX {
            return Err(Error::BadClaims { detail: "its names are too long for a code that a camera reads" });
        }
        Ok(Secret::new(text))
    }
}

impl fmt::Debug for PassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret pass key {}", self.id)
    }
}

/// The public half of a pass key: may be shown and copied to every door.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicPassKey {
    id: u8,
    key: VerifyingKey,
}

impl PublicPassKey {
    /// The key `id` from its 32 public bytes.
    ///
    /// # Errors
    /// [`Error::BadPassKey`] if they are no point of the curve, or a weak one.
    pub fn from_bytes(id: u8, bytes: &[u8; 32]) -> Result<Self, Error> {
        let key = VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak());
        key.map(|key| Self { id, key }).ok_or(Error::BadPassKey { id })
    }

    /// Which key it is.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Its 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Debug for PublicPassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "public pass key {}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(matches!(PublicPassKey::from_bytes(3, &identity), Err(Error::BadPassKey { id: 3 })));
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", PassKey::insecure_demo()), "secret pass key 0");
    }
}
