//! Parameters of a component, and the schema a unit declares for them.
//!
//! A unit says which parameters it takes ([`ParamSpec`]); the host checks a component's parameters against that before
//! anything runs, so a component only ever sees values of the right kind, with defaults filled in. Errors name the key
//! and the line of the site document.
//!
//! **Never:** free-form parameters, secrets that print.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::secret::Secret;

/// What values a parameter may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParamKind {
    /// Any text.
    Text,
    /// Text that is never shown, or the name of one: `{ secret = "name" }`.
    Secret,
    /// A whole number in `min..=max`.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number in `min..=max`.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// `true` or `false`.
    Flag,
    /// A time in seconds in `min..=max`, whole or with a fraction.
    Seconds {
        /// Shortest.
        min: f64,
        /// Longest.
        max: f64,
    },
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
}

impl fmt::Display for ParamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text"),
            Self::Secret => f.write_str("a text or { secret = \"name\" }"),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Flag => f.write_str("true or false"),
            Self::Seconds { min, max } => write!(f, "seconds from {min} to {max}"),
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
            Self::Texts => f.write_str("a list of texts"),
        }
    }
}

/// One parameter that a unit takes.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its key.
    pub name: &'static str,
    /// Its values.
    pub kind: ParamKind,
    /// The value when none is given; `None` means that it must be given unless [`ParamSpec::optional`].
    pub default: Option<ParamValue>,
    /// Whether it may be absent without a default.
    pub optional: bool,
    /// One line for people.
    pub about: &'static str,
}

impl ParamSpec {
    /// A parameter that must be given.
    pub fn required(name: &'static str, kind: ParamKind, about: &'static str) -> Self {
        Self { name, kind, default: None, optional: false, about }
    }

    /// A parameter that may be absent.
    pub fn optional(name: &'static str, kind: ParamKind, about: &'static str) -> Self {
        Self { name, kind, default: None, optional: true, about }
    }

    /// A parameter with a default.
    pub fn with_default(
        name: &'static str,
        kind: ParamKind,
        default: impl Into<ParamValue>,
        about: &'static str,
    ) -> Self {
        Self { name, kind, default: Some(default.into()), optional: true, about }
    }
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamValue {
    /// A text.
    Text(String),
    /// A text that is never shown.
    Secret(Secret),
    /// A secret by its name in the application's secret store; resolved before the component is made.
    SecretName(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A list of texts.
    Texts(Vec<String>),
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<i64> for ParamValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for ParamValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for ParamValue {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

/// What is wrong with a parameter.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct ParamError {
    /// The parameter's key.
    pub key: String,
    /// Line of the site document, if it stands there.
    pub line: Option<usize>,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl ParamError {
    /// An error about `key`; the line is filled in from the document by [`Params::error`].
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), line: None, reason: reason.into() }
    }
}

/// A component's parameters.
#[derive(Clone, Debug, Default)]
pub struct Params {
    values: BTreeMap<String, (ParamValue, Option<usize>)>,
}

/// Equal if the values are; where they stand in a document does not matter.
impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.values.len() == other.values.len()
            && self.values.iter().zip(&other.values).all(|((a, (x, _)), (b, (y, _)))| a == b && x == y)
    }
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more value.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<ParamValue>) -> Self {
        self.values.insert(key.to_owned(), (value.into(), None));
        self
    }

    /// Sets a value and the line it stands on.
    pub fn set(&mut self, key: &str, value: ParamValue, line: Option<usize>) {
        self.values.insert(key.to_owned(), (value, line));
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ParamValue)> {
        self.values.iter().map(|(key, (value, _))| (key.as_str(), value))
    }

    /// The line on which `key` stands.
    pub fn line(&self, key: &str) -> Option<usize> {
        self.values.get(key).and_then(|(_, line)| *line)
    }

    /// An error about `key`, with its line.
    pub fn error(&self, key: &str, reason: impl Into<String>) -> ParamError {
        ParamError { key: key.to_owned(), line: self.line(key), reason: reason.into() }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&ParamValue> {
        self.values.get(key).map(|(value, _)| value)
    }

    /// A text or choice; `None` if absent.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            ParamValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A secret; `None` if absent.
    pub fn secret(&self, key: &str) -> Option<&Secret> {
        match self.get(key)? {
            ParamValue::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// A whole number; `None` if absent.
    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            ParamValue::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// A number; `None` if absent.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.get(key)? {
            ParamValue::Number(value) => Some(*value),
            ParamValue::Integer(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// A flag; `false` if absent.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some(ParamValue::Flag(true)))
    }

    /// A time; `None` if absent.
    pub fn seconds(&self, key: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(self.number(key)?).ok()
    }

    /// A list of texts; empty if absent.
    pub fn texts(&self, key: &str) -> &[String] {
        match self.get(key) {
            Some(ParamValue::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// Names of secrets that still have to be resolved.
    pub fn secret_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter_map(|(key, value)| match value {
            ParamValue::SecretName(name) => Some((key, name.as_str())),
            _ => None,
        })
    }

    /// These parameters checked against `specs`, with defaults filled in and plain texts of secret parameters wrapped.
    ///
    /// # Errors
    /// Every unknown, missing or wrong parameter, in the order of the document.
    pub fn checked(&self, specs: &[ParamSpec]) -> Result<Self, Vec<ParamError>> {
        let mut checked = Self::new();
        let mut errors = Vec::new();
        for (key, (value, line)) in &self.values {
            match specs.iter().find(|spec| spec.name == key) {
                None => {
                    let known: Vec<_> = specs.iter().map(|spec| spec.name).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    errors.push(self.error(key, format!("no such parameter; known are: {known}")));
                }
                Some(spec) => match fit(spec.kind, value) {
                    Some(value) => checked.set(key, value, *line),
                    None => errors.push(self.error(key, format!("must be {}", spec.kind))),
                },
            }
        }
        errors.sort_by_key(|error| error.line);
        for spec in specs {
            if self.values.contains_key(spec.name) {
                continue;
            }
            match &spec.default {
                Some(default) => checked.set(spec.name, default.clone(), None),
                None if spec.optional => {}
                None => errors.push(ParamError::new(spec.name, format!("is missing: {} ({})", spec.about, spec.kind))),
            }
        }
        if errors.is_empty() { Ok(checked) } else { Err(errors) }
    }
}

fn fit(kind: ParamKind, value: &ParamValue) -> Option<ParamValue> {
    let number = match value {
        ParamValue::Integer(value) => Some(*value as f64),
        ParamValue::Number(value) => Some(*value),
        _ => None,
    };
    let fits = match (kind, value) {
        (ParamKind::Text, ParamValue::Text(_))
        | (ParamKind::Secret, ParamValue::Secret(_) | ParamValue::SecretName(_))
        | (ParamKind::Flag, ParamValue::Flag(_))
        | (ParamKind::Texts, ParamValue::Texts(_)) => true,
        (ParamKind::Secret, ParamValue::Text(text)) => return Some(ParamValue::Secret(text.as_str().into())),
        (ParamKind::Choice(choices), ParamValue::Text(text)) => choices.contains(&text.as_str()),
        (ParamKind::Integer { min, max }, ParamValue::Integer(value)) => (min..=max).contains(value),
        (ParamKind::Number { min, max } | ParamKind::Seconds { min, max }, _) => {
            number.is_some_and(|value| value >= min && value <= max)
        }
        _ => false,
    };
    fits.then(|| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> Vec<ParamSpec> {
        vec![
            ParamSpec::required("url", ParamKind::Text, "where the camera is"),
            ParamSpec::optional("password", ParamKind::Secret, "its password"),
            ParamSpec::with_default("transport", ParamKind::Choice(&["tcp", "udp"]), "tcp", "how packets travel"),
            ParamSpec::with_default("stall", ParamKind::Seconds { min: 0.5, max: 60.0 }, 3.0, "silence that is a loss"),
        ]
    }

    #[test]
    fn defaults_are_filled_in_and_secrets_wrapped() {
        let given = Params::new().with("url", "rtsp://camera").with("password", "hunter2").with("stall", 5_i64);
        let params = given.checked(&specs()).unwrap();
        assert_eq!(params.text("transport"), Some("tcp"));
        assert_eq!(params.seconds("stall"), Some(Duration::from_secs(5)));
        assert_eq!(params.secret("password").unwrap().expose(), "hunter2");
        assert!(!format!("{params:?}").contains("hunter2"));
    }

    #[test]
    fn every_error_is_named_at_once() {
        let given = Params::new().with("transport", "pigeon").with("stall", 0.1).with("colour", "red");
        let errors = given.checked(&specs()).unwrap_err();
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 4, "{text:?}");
        assert!(text.contains(&"transport: must be one of tcp, udp".to_owned()));
        assert!(text.contains(&"stall: must be seconds from 0.5 to 60".to_owned()));
        assert!(text.iter().any(|line| line.starts_with("colour: no such parameter")));
        assert!(text.iter().any(|line| line.starts_with("url: is missing")));
    }
}
