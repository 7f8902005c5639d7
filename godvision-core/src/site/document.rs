//! The site document: TOML, versioned.
//!
//! ```toml
//! version = 1
//! site = "home"
//!
//! [[subsystem]]
//! name = "yard"
//! enabled = true
//!
//! [[component]]
//! name = "yard/camera"
//! unit = "camera"
//! params = { url = "rtsp://192.0.2.7/main", username = "viewer", password = { secret = "yard-camera" } }
//!
//! [[component]]
//! name = "yard/motion"
//! unit = "motion"
//!
//! [[link]]
//! from = "yard/camera#pictures"
//! to = "yard/motion#pictures"
//! ```
//!
//! A document with any error is refused whole; every error names its line, key and reason, and all are reported at
//! once. A component's subsystems are the parts of its name before the last: `yard/camera` belongs to `yard`.
//!
//! **Never:** a key that is ignored, a half-applied document, a password in clear that could have been
//! `{ secret = "name" }` (the writer refuses to write one).

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

use crate::bus::params::{ParamValue, Params};
use crate::name::{Name, PortName};

/// The version this crate reads and writes.
pub const VERSION: i64 = 1;
/// Longest document in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most components in one document.
pub const COMPONENTS_MAX: usize = 10_000;
/// Most links in one document.
pub const LINKS_MAX: usize = 50_000;
/// The host of a component that names none.
pub const HOST_DEFAULT: &str = "main";

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SiteError {
    /// Line, counted from 1, where it can be told.
    pub line: Option<usize>,
    /// The key, component or link.
    pub key: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl SiteError {
    /// An error at `line` about `key`.
    pub fn new(line: Option<usize>, key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { line, key: key.into(), reason: reason.into() }
    }
}

impl fmt::Display for SiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.key, self.reason)
    }
}

/// Everything that is wrong with a document, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SiteErrors(pub Vec<SiteError>);

impl fmt::Display for SiteErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// One component of the site.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentEntry {
    /// Its name, subsystems first.
    pub name: Name,
    /// The unit that makes it.
    pub unit: String,
    /// The host it runs on.
    pub host: Name,
    /// Whether it runs.
    pub enabled: bool,
    /// Its parameters, not yet checked.
    pub params: Params,
    /// Where it stands.
    pub line: Option<usize>,
}

impl ComponentEntry {
    /// An enabled component on the default host.
    pub fn new(name: Name, unit: &str, params: Params) -> Self {
        let host = Name::new(HOST_DEFAULT).unwrap_or_else(|_| name.clone());
        Self { name, unit: unit.to_owned(), host, enabled: true, params, line: None }
    }
}

/// One link of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEntry {
    /// An output.
    pub from: PortName,
    /// An input of the same signal.
    pub to: PortName,
    /// Where it stands.
    pub line: Option<usize>,
}

/// A subtree that is switched on or off as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubsystemEntry {
    /// Its name: the first parts of its components' names.
    pub name: Name,
    /// Whether its components run.
    pub enabled: bool,
    /// Where it stands.
    pub line: Option<usize>,
}

/// Everything one owner runs.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteDocument {
    /// The site's name.
    pub site: Name,
    /// Components, in the order of the document.
    pub components: Vec<ComponentEntry>,
    /// Links, in the order of the document.
    pub links: Vec<LinkEntry>,
    /// Subsystems that are named to be switched.
    pub subsystems: Vec<SubsystemEntry>,
}

impl SiteDocument {
    /// A site with nothing in it.
    pub fn new(site: Name) -> Self {
        Self { site, components: Vec::new(), links: Vec::new(), subsystems: Vec::new() }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Everything that is wrong, by line. Units, parameters and port types are checked later, against the units of the
    /// program that runs it.
    pub fn parse(text: &str) -> Result<Self, SiteErrors> {
        Reader::new(text).read()
    }

    /// Adds a link.
    ///
    /// # Errors
    /// [`crate::NameError`] if either text is no port name.
    pub fn link(&mut self, from: &str, to: &str) -> Result<(), crate::NameError> {
        self.links.push(LinkEntry { from: from.parse()?, to: to.parse()?, line: None });
        Ok(())
    }

    /// Whether no subsystem that holds `name` is switched off.
    pub fn is_enabled(&self, name: &Name) -> bool {
        !self.subsystems.iter().any(|subsystem| !subsystem.enabled && name.is_within(&subsystem.name))
    }

    /// The document as TOML that [`SiteDocument::parse`] reads back.
    ///
    /// # Errors
    /// [`SiteError`] if a parameter holds a secret in clear: give the application's secret store the text and the
    /// document its name ([`ParamValue::SecretName`]).
    pub fn to_toml(&self) -> Result<String, SiteError> {
        let mut text = format!("version = {VERSION}\nsite = {}\n", quoted(self.site.as_str()));
        for subsystem in &self.subsystems {
            let _ = write!(
                text,
                "\n[[subsystem]]\nname = {}\nenabled = {}\n",
                quoted(subsystem.name.as_str()),
                subsystem.enabled
            );
        }
        for component in &self.components {
            let _ = write!(
                text,
                "\n[[component]]\nname = {}\nunit = {}\n",
                quoted(component.name.as_str()),
                quoted(&component.unit)
            );
            if component.host.as_str() != HOST_DEFAULT {
                let _ = writeln!(text, "host = {}", quoted(component.host.as_str()));
            }
            if !component.enabled {
                text.push_str("enabled = false\n");
            }
            if component.params.iter().next().is_some() {
                text.push_str("[component.params]\n");
            }
            for (key, value) in component.params.iter() {
                let value = written(value).ok_or_else(|| {
                    SiteError::new(
                        None,
                        format!("component {}: {key}", component.name),
                        "a secret is not written in clear; store it and write { secret = \"name\" }",
                    )
                })?;
                let _ = writeln!(text, "{} = {value}", quoted_key(key));
            }
        }
        for link in &self.links {
            let (from, to) = (quoted(&link.from.to_string()), quoted(&link.to.to_string()));
            let _ = write!(text, "\n[[link]]\nfrom = {from}\nto = {to}\n");
        }
        Ok(text)
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A key as TOML takes it: bare if it can be.
fn quoted_key(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_bare { key.to_owned() } else { quoted(key) }
}

fn written(value: &ParamValue) -> Option<String> {
    Some(match value {
        ParamValue::Text(text) => quoted(text),
        ParamValue::Secret(_) => return None,
        ParamValue::SecretName(name) => format!("{{ secret = {} }}", quoted(name)),
        ParamValue::Integer(value) => value.to_string(),
        ParamValue::Number(value) if value.is_finite() => format!("{value:?}"),
        ParamValue::Number(value) if value.is_nan() => "nan".to_owned(),
        ParamValue::Number(value) => if *value > 0.0 { "inf" } else { "-inf" }.to_owned(),
        ParamValue::Flag(value) => value.to_string(),
        ParamValue::Texts(texts) => {
            let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
            format!("[{}]", texts.join(", "))
        }
    })
}

type Spanned<'i> = toml::Spanned<DeValue<'i>>;

struct Reader<'i> {
    text: &'i str,
    errors: Vec<SiteError>,
}

impl<'i> Reader<'i> {
    fn new(text: &'i str) -> Self {
        Self { text, errors: Vec::new() }
    }

    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }

    fn wrong(&mut self, at: usize, key: impl Into<String>, reason: impl Into<String>) {
        let line = self.line(at);
        self.errors.push(SiteError::new(Some(line), key, reason));
    }

    fn read(mut self) -> Result<SiteDocument, SiteErrors> {
        if self.text.len() > DOCUMENT_BYTES_MAX {
            let reason = format!("is longer than {DOCUMENT_BYTES_MAX} bytes");
            return Err(SiteErrors(vec![SiteError::new(None, "document", reason)]));
        }
        let table = match DeTable::parse(self.text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                self.wrong(at, "document", format!("is not TOML: {}", error.message()));
                return Err(SiteErrors(self.errors));
            }
        };
        let mut document = None;
        let mut version = None;
        let (mut components, mut links, mut subsystems) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in &table {
            let at = key.span().start;
            match key.get_ref().as_ref() {
                "version" => version = Some((at, integer(value.get_ref()))),
                "site" => document = self.name(value, "site").map(SiteDocument::new),
                "component" => components = self.tables(value, "component", COMPONENTS_MAX),
                "link" => links = self.tables(value, "link", LINKS_MAX),
                "subsystem" => subsystems = self.tables(value, "subsystem", COMPONENTS_MAX),
                other => {
                    self.wrong(at, other, "is not known here; known are: version, site, subsystem, component, link")
                }
            }
        }
        match version {
            Some((_, Some(VERSION))) => {}
            Some((at, _)) => self.wrong(at, "version", format!("must be {VERSION}")),
            None => self.wrong(0, "version", format!("is missing; write version = {VERSION}")),
        }
        if !table.keys().any(|key| key.get_ref() == "site") {
            self.wrong(0, "site", "is missing; write site = \"home\" or another name");
        }
        // Errors in the parts are wanted too when the head is wrong.
        let mut document = document.unwrap_or_else(|| SiteDocument::new(fallback_name()));
        for (at, part) in subsystems {
            document.subsystems.extend(self.subsystem(at, part));
        }
        for (at, part) in components {
            document.components.extend(self.component(at, part));
        }
        for (at, part) in links {
            document.links.extend(self.link(at, part));
        }
        self.check_unique(&document);
        if self.errors.is_empty() {
            Ok(document)
        } else {
            self.errors.sort_by_key(|error| error.line);
            Err(SiteErrors(self.errors))
        }
    }

    fn check_unique(&mut self, document: &SiteDocument) {
        let mut seen = BTreeMap::new();
        for component in &document.components {
            if let Some(before) = seen.insert(&component.name, component.line) {
                let reason = format!("the same name stands on line {}", before.unwrap_or(0));
                self.errors.push(SiteError::new(component.line, format!("component {}", component.name), reason));
            }
        }
        for component in &document.components {
            let above = std::iter::successors(component.name.parent(), Name::parent);
            for ancestor in above {
                if seen.contains_key(&ancestor) {
                    self.errors.push(SiteError::new(
                        component.line,
                        format!("component {}", component.name),
                        format!("{ancestor} is a component, so it cannot be a subsystem too"),
                    ));
                }
            }
        }
    }

    fn tables<'t>(&mut self, value: &'t Spanned<'i>, key: &str, most: usize) -> Vec<(usize, &'t DeTable<'i>)> {
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(value.span().start, key, format!("must be written as [[{key}]]"));
            return Vec::new();
        };
        if array.len() > most {
            self.wrong(value.span().start, key, format!("stands more than {most} times"));
            return Vec::new();
        }
        let mut tables = Vec::with_capacity(array.len());
        for item in array.iter() {
            match item.get_ref().as_table() {
                Some(table) => tables.push((item.span().start, table)),
                None => self.wrong(item.span().start, key, format!("must be written as [[{key}]]")),
            }
        }
        tables
    }

    fn component(&mut self, at: usize, table: &DeTable<'i>) -> Option<ComponentEntry> {
        let errors_before = self.errors.len();
        let (mut name, mut unit, mut host, mut enabled, mut params) = (None, None, None, true, Params::new());
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = self.name(value, "component: name"),
                "unit" => unit = self.string(value, "component: unit"),
                "host" => host = self.name(value, "component: host"),
                "enabled" => enabled = self.flag(value, "component: enabled"),
                "params" => params = self.params(value),
                other => self.wrong(
                    key.span().start,
                    format!("component: {other}"),
                    "is not known here; known are: name, unit, host, enabled, params",
                ),
            }
        }
        for (missing, key) in [(name.is_none(), "name"), (unit.is_none(), "unit")] {
            if missing && !table.keys().any(|found| found.get_ref() == key) {
                self.wrong(at, format!("component: {key}"), "is missing");
            }
        }
        if self.errors.len() > errors_before {
            return None;
        }
        let mut entry = ComponentEntry::new(name?, &unit?, params);
        entry.enabled = enabled;
        entry.line = Some(self.line(at));
        if let Some(host) = host {
            entry.host = host;
        }
        Some(entry)
    }

    fn link(&mut self, at: usize, table: &DeTable<'i>) -> Option<LinkEntry> {
        let (mut from, mut to) = (None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "from" => from = self.port(value, "link: from"),
                "to" => to = self.port(value, "link: to"),
                other => {
                    let key_text = format!("link: {other}");
                    self.wrong(key.span().start, key_text, "is not known here; known are: from, to");
                }
            }
        }
        for key in ["from", "to"] {
            if !table.keys().any(|found| found.get_ref() == key) {
                self.wrong(at, format!("link: {key}"), "is missing");
            }
        }
        Some(LinkEntry { from: from?, to: to?, line: Some(self.line(at)) })
    }

    fn subsystem(&mut self, at: usize, table: &DeTable<'i>) -> Option<SubsystemEntry> {
        let (mut name, mut enabled) = (None, true);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = self.name(value, "subsystem: name"),
                "enabled" => enabled = self.flag(value, "subsystem: enabled"),
                other => {
                    let key_text = format!("subsystem: {other}");
                    self.wrong(key.span().start, key_text, "is not known here; known are: name, enabled");
                }
            }
        }
        if !table.keys().any(|found| found.get_ref() == "name") {
            self.wrong(at, "subsystem: name", "is missing");
        }
        Some(SubsystemEntry { name: name?, enabled, line: Some(self.line(at)) })
    }

    fn params(&mut self, value: &Spanned<'i>) -> Params {
        let mut params = Params::new();
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(value.span().start, "component: params", "must be a table");
            return params;
        };
        for (key, value) in table {
            let at = key.span().start;
            match param(value.get_ref()) {
                Some(value) => params.set(key.get_ref(), value, Some(self.line(at))),
                None => self.wrong(
                    at,
                    format!("component: params.{}", key.get_ref()),
                    "must be a text, number, true or false, a list of texts, or { secret = \"name\" }",
                ),
            }
        }
        params
    }

    fn string(&mut self, value: &Spanned<'i>, key: &str) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(value.span().start, key, "must be a text");
        }
        text
    }

    fn flag(&mut self, value: &Spanned<'i>, key: &str) -> bool {
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(value.span().start, key, "must be true or false");
            false
        })
    }

    fn name(&mut self, value: &Spanned<'i>, key: &str) -> Option<Name> {
        let text = self.string(value, key)?;
        Name::new(&text).map_err(|error| self.wrong(value.span().start, key, error.to_string())).ok()
    }

    fn port(&mut self, value: &Spanned<'i>, key: &str) -> Option<PortName> {
        let text = self.string(value, key)?;
        text.parse().map_err(|error: crate::NameError| self.wrong(value.span().start, key, error.to_string())).ok()
    }
}

fn fallback_name() -> Name {
    Name::new("site").unwrap_or_else(|_| unreachable!("a constant that is a name"))
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let value = value.as_integer()?;
    i64::from_str_radix(value.as_str(), value.radix()).ok()
}

fn param(value: &DeValue<'_>) -> Option<ParamValue> {
    Some(match value {
        DeValue::String(text) => ParamValue::Text(text.to_string()),
        DeValue::Integer(_) => ParamValue::Integer(integer(value)?),
        DeValue::Float(number) => ParamValue::Number(number.as_str().parse().ok()?),
        DeValue::Boolean(flag) => ParamValue::Flag(*flag),
        DeValue::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            ParamValue::Texts(texts?)
        }
        DeValue::Table(table) => {
            let (key, value) = table.iter().next().filter(|_| table.len() == 1)?;
            match key.get_ref().as_ref() {
                "secret" => ParamValue::SecretName(value.get_ref().as_str()?.to_owned()),
                _ => return None,
            }
        }
        DeValue::Datetime(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"
version = 1
site = "home"

[[subsystem]]
name = "yard"
enabled = false

[[component]]
name = "yard/camera"
unit = "camera"
host = "attic"
params = { url = "rtsp://192.0.2.7/main", password = { secret = "yard-camera" }, stall = 2.5, retries = 3, zones = ["a", "b"] }

[[component]]
name = "gate"
unit = "door"
enabled = false

[[link]]
from = "yard/camera#pictures"
to = "gate#pictures"
"#;

    #[test]
    fn a_document_is_read_and_written_back_the_same() {
        let document = SiteDocument::parse(GOOD).unwrap();
        assert_eq!(document.components.len(), 2);
        assert_eq!(document.components[0].line, Some(9));
        assert_eq!(document.components[0].params.line("url"), Some(13));
        assert!(!document.is_enabled(&document.components[0].name));
        assert!(document.is_enabled(&document.components[1].name));
        let again = SiteDocument::parse(&document.to_toml().unwrap()).unwrap();
        let lineless = |document: &SiteDocument| {
            let mut document = document.clone();
            document.components.iter_mut().for_each(|component| component.line = None);
            document.links.iter_mut().for_each(|link| link.line = None);
            document.subsystems.iter_mut().for_each(|subsystem| subsystem.line = None);
            document
        };
        assert_eq!(lineless(&again), lineless(&document));
    }

    #[test]
    fn every_error_names_its_line_key_and_reason() {
        let text = "version = 2\nsite = \"ho me\"\ncolour = 1\n[[component]]\nname = \"a\"\nunit = 7\n[[component]]\nname = \"b\"\nunit = \"u\"\nparams = { when = 1979-05-27 }\n[[link]]\nfrom = \"a\"\n";
        let errors = SiteDocument::parse(text).unwrap_err().0;
        let told: Vec<_> = errors.iter().map(|error| (error.line.unwrap(), error.key.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "version"),
                (2, "site"),
                (3, "colour"),
                (6, "component: unit"),
                (10, "component: params.when"),
                (11, "link: to"),
                (12, "link: from")
            ]
        );
    }

    #[test]
    fn broken_toml_names_the_line() {
        let errors = SiteDocument::parse("version = 1\nsite = \"home\n").unwrap_err().0;
        assert_eq!(errors[0].line, Some(2));
    }

    #[test]
    fn names_are_unique_and_a_component_is_no_subsystem() {
        let twice = "version = 1\nsite = \"s\"\n[[component]]\nname = \"a\"\nunit = \"u\"\n[[component]]\nname = \"a\"\nunit = \"u\"\n";
        assert!(
            SiteDocument::parse(twice)
                .unwrap_err()
                .to_string()
                .contains("line 6: component a: the same name stands on line 3")
        );
        let nested = twice.replacen("name = \"a\"", "name = \"a/b\"", 1);
        assert!(SiteDocument::parse(&nested).unwrap_err().to_string().contains("cannot be a subsystem too"));
    }

    #[test]
    fn secrets_are_never_written() {
        let mut document = SiteDocument::new(Name::new("home").unwrap());
        let params = Params::new().with("password", ParamValue::Secret("hunter2".into()));
        document.components.push(ComponentEntry::new(Name::new("camera").unwrap(), "camera", params));
        let error = document.to_toml().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_document_over_the_limit_is_refused() {
        let long = format!("# {}", "x".repeat(DOCUMENT_BYTES_MAX));
        assert!(SiteDocument::parse(&long).unwrap_err().to_string().contains("longer"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = SiteDocument::parse(&text);
        }

        #[test]
        fn texts_survive_quoting(text in ".{0,60}") {
            let mut document = SiteDocument::new(Name::new("s").unwrap());
            let params = Params::new().with("text", text.as_str());
            document.components.push(ComponentEntry::new(Name::new("a").unwrap(), "u", params.clone()));
            let again = SiteDocument::parse(&document.to_toml().unwrap()).unwrap();
            prop_assert_eq!(&again.components[0].params, &params);
        }
    }
}
