//! [`Secret`]: text that must not appear in a log, a page or an error.
//!
//! PINs, card numbers, pass texts, passwords and URLs with user information travel in this type. `Debug` and
//! `Display` print `***`; the one way to the text is [`Secret::expose`], which is easy to find in a review.
//!
//! **Never:** `Deref`, `AsRef`, `Serialize`, `Hash`. A secret is compared in constant time or not at all.

use std::fmt;

/// Redacted text. Cloning copies the text; it is overwritten when dropped (best effort, without `unsafe`).
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Hand it to the wire or to a hash; never to a formatter.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Equality whose time depends on the lengths only, not on where the texts differ.
    pub fn same_as(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        let mut differ = a.len() ^ b.len();
        for (x, y) in a.iter().zip(b) {
            differ |= usize::from(x ^ y);
        }
        std::hint::black_box(differ) == 0
    }
}

/// Constant-time, see [`Secret::same_as`].
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

impl Eq for Secret {}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        std::hint::black_box(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_printed() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
    }

    #[test]
    fn compares_by_content() {
        assert_eq!(Secret::from("a"), Secret::from("a"));
        assert_ne!(Secret::from("a"), Secret::from("b"));
        assert_ne!(Secret::from("a"), Secret::from("ab"));
        assert_ne!(Secret::from(""), Secret::from("\0"));
    }
}
