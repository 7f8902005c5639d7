//! Names of components and ports: `site/host/subsystem/component#port`.
//!
//! A [`Name`] is one or more parts joined by `/`. Inside a site document the site and host are implied, so `yard/camera`
//! and `home/main/yard/camera` name the same component; [`Name::within`] joins them. Parts are 1-64 characters of
//! letters, digits, `-`, `_`, `.` (any script), so a name is also a safe file name, metric label and key expression.
//!
//! **Never:** wildcards, escapes, empty parts, case folding.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most characters of one part.
pub const PART_CHARS_MAX: usize = 64;
/// Most parts of one name.
pub const PARTS_MAX: usize = 16;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A part between two `/` is empty, or the whole text is.
    #[error("part {part} of the name is empty")]
    EmptyPart {
        /// Which part, counted from 1.
        part: usize,
    },
    /// A part is longer than [`PART_CHARS_MAX`].
    #[error("part {part} of the name is longer than {PART_CHARS_MAX} characters")]
    LongPart {
        /// Which part, counted from 1.
        part: usize,
    },
    /// More than [`PARTS_MAX`] parts.
    #[error("the name has more than {PARTS_MAX} parts")]
    ManyParts,
    /// A character that a name may not hold.
    #[error("{found:?} may not stand in a name: use letters, digits, '-', '_' and '.'")]
    BadCharacter {
        /// The character.
        found: char,
    },
    /// A part that is `.` or `..`, which would be a path.
    #[error("a part of a name may not start with '.'")]
    LeadingDot,
    /// A port name without `#`, or with more than one.
    #[error("a port is written component#port")]
    NotAPort,
}

/// A component's or subsystem's name. Cheap to clone; ordered and compared by its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        for (index, part) in text.split('/').enumerate() {
            if index == PARTS_MAX {
                return Err(NameError::ManyParts);
            }
            check_part(part, index + 1)?;
        }
        Ok(Self(text.into()))
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part: the component's own name.
    pub fn leaf(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Everything before the last part: the subsystem, if there is one.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        self.0.strip_prefix(&*ancestor.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// `prefix/self`.
    ///
    /// # Errors
    /// [`NameError::ManyParts`] if the whole would have too many parts.
    pub fn within(&self, prefix: &Self) -> Result<Self, NameError> {
        Self::new(&format!("{prefix}/{self}"))
    }

    /// The port `port` of this component.
    ///
    /// # Errors
    /// [`NameError`] if `port` is not one valid part.
    pub fn port(&self, port: &str) -> Result<PortName, NameError> {
        check_part(port, 1)?;
        Ok(PortName { component: self.clone(), port: port.into() })
    }
}

fn check_part(part: &str, number: usize) -> Result<(), NameError> {
    if part.is_empty() {
        return Err(NameError::EmptyPart { part: number });
    }
    if part.starts_with('.') {
        return Err(NameError::LeadingDot);
    }
    if part.chars().count() > PART_CHARS_MAX {
        return Err(NameError::LongPart { part: number });
    }
    match part.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        Some(found) => Err(NameError::BadCharacter { found }),
        None => Ok(()),
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// One port of one component: `yard/camera#fragments`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName {
    /// The component.
    pub component: Name,
    /// The port's own name, unique in its component and direction.
    pub port: Arc<str>,
}

impl FromStr for PortName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (component, port) = text.split_once('#').ok_or(NameError::NotAPort)?;
        if port.contains('#') {
            return Err(NameError::NotAPort);
        }
        Name::new(component)?.port(port)
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.component, self.port)
    }
}

impl fmt::Debug for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subsystems_are_prefixes_by_part() {
        let camera = Name::new("yard/gate/camera").unwrap();
        assert_eq!(camera.leaf(), "camera");
        assert_eq!(camera.parent(), Some(Name::new("yard/gate").unwrap()));
        assert!(camera.is_within(&Name::new("yard").unwrap()));
        assert!(!Name::new("yardstick").unwrap().is_within(&Name::new("yard").unwrap()));
    }

    #[test]
    fn bad_names_say_why() {
        assert_eq!(Name::new(""), Err(NameError::EmptyPart { part: 1 }));
        assert_eq!(Name::new("a//b"), Err(NameError::EmptyPart { part: 2 }));
        assert_eq!(Name::new("../etc"), Err(NameError::LeadingDot));
        assert_eq!(Name::new("a b"), Err(NameError::BadCharacter { found: ' ' }));
        assert_eq!(Name::new(&"x".repeat(65)), Err(NameError::LongPart { part: 1 }));
        assert_eq!(Name::new(&["a"; 17].join("/")), Err(NameError::ManyParts));
        assert_eq!("a".parse::<PortName>(), Err(NameError::NotAPort));
        assert_eq!("a#b#c".parse::<PortName>(), Err(NameError::NotAPort));
    }

    proptest! {
        #[test]
        fn what_parses_prints_the_same(text in "\\PC{0,40}") {
            if let Ok(name) = Name::new(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn ports_round_trip(component in "[a-zа-я0-9_-]{1,9}(/[a-z0-9.]?[a-z]{1,5}){0,3}", port in "[a-z]{1,9}") {
            let text = format!("{component}#{port}");
            if let Ok(parsed) = text.parse::<PortName>() {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }
}
