//! XML as a small tree, for SOAP replies: names without their prefixes, text, attributes.
//!
//! Source: *Extensible Markup Language 1.0* and *Namespaces in XML*, read by `quick-xml`.
//!
//! **Never:** a document type (no entities of one's own, no expansion), more than the limits below.

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

/// Longest document in bytes.
pub const XML_BYTES_MAX: usize = 256 << 10;
/// Most elements of a document.
pub const ELEMENTS_MAX: usize = 4096;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name without a prefix.
    pub name: String,
    /// Its namespace; empty if it has none.
    pub namespace: String,
    /// Attributes by name without a prefix.
    pub attributes: Vec<(String, String)>,
    /// Its own text, without spaces around it.
    pub text: String,
    /// The elements inside.
    pub children: Vec<Element>,
}

/// Why a text is no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum XmlFault {
    /// Not well-formed, or with a document type.
    #[error("it is no XML document")]
    Malformed,
    /// More than a limit.
    #[error("the XML document is too large")]
    TooLarge,
}

impl Element {
    /// Reads a document.
    ///
    /// # Errors
    /// [`XmlFault`].
    pub fn parse(document: &[u8]) -> Result<Self, XmlFault> {
        if document.len() > XML_BYTES_MAX {
            return Err(XmlFault::TooLarge);
        }
        let text = std::str::from_utf8(document).map_err(|_| XmlFault::Malformed)?;
        let mut reader = NsReader::from_str(text);
        let mut open: Vec<Self> = Vec::new();
        let mut elements = 0;
        loop {
            let (namespace, event) = reader.read_resolved_event().map_err(|_| XmlFault::Malformed)?;
            let is_empty = matches!(event, Event::Empty(_));
            match event {
                Event::Start(start) | Event::Empty(start) => {
                    elements += 1;
                    if elements > ELEMENTS_MAX || open.len() >= DEPTH_MAX {
                        return Err(XmlFault::TooLarge);
                    }
                    open.push(Self::opened(&start, &namespace)?);
                    if is_empty && let Some(root) = Self::close(&mut open) {
                        return Ok(root);
                    }
                }
                Event::End(_) => {
                    if let Some(root) = Self::close(&mut open) {
                        return Ok(root);
                    }
                }
                Event::Text(text) => Self::say(&mut open, &text.xml10_content()),
                Event::CData(text) => Self::say(&mut open, &text.xml10_content()),
                Event::GeneralRef(reference) => {
                    let raw = format!("&{};", reference.xml10_content());
                    let meant = quick_xml::escape::unescape(&raw).map_err(|_| XmlFault::Malformed)?;
                    Self::say(&mut open, &meant);
                }
                Event::DocType(_) | Event::Eof => return Err(XmlFault::Malformed),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
    }

    fn opened(start: &BytesStart<'_>, namespace: &ResolveResult<'_>) -> Result<Self, XmlFault> {
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| XmlFault::Malformed)?;
            let value = quick_xml::escape::unescape(&attribute.value).map_err(|_| XmlFault::Malformed)?.into_owned();
            attributes.push((local(attribute.key.as_ref()).to_owned(), value));
        }
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => {
                quick_xml::escape::unescape(namespace.as_ref()).map_err(|_| XmlFault::Malformed)?.into_owned()
            }
            _ => String::new(),
        };
        Ok(Self { name: local(start.name().as_ref()).to_owned(), namespace, attributes, ..Self::default() })
    }

    /// Ends the innermost element; the root, if that was it.
    fn close(open: &mut Vec<Self>) -> Option<Self> {
        let mut closed = open.pop()?;
        closed.text = closed.text.trim().to_owned();
        match open.last_mut() {
            Some(parent) => {
                parent.children.push(closed);
                None
            }
            None => Some(closed),
        }
    }

    fn say(open: &mut [Self], text: &str) {
        if let Some(innermost) = open.last_mut() {
            innermost.text.push_str(text);
        }
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first element of this name in here, however deep.
    pub fn find(&self, name: &str) -> Option<&Self> {
        self.all().find(|element| element.name == name)
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// This element and all in here, in the order of the document.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        let mut waiting = vec![self];
        std::iter::from_fn(move || {
            let next = waiting.pop()?;
            waiting.extend(next.children.iter().rev());
            Some(next)
        })
    }
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// `text` as it may stand in an element or an attribute.
pub fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_texts_and_attributes() {
        let document = b"<?xml version=\"1.0\"?><s:a xmlns:s='urn:x' x:k='1 &amp; 2'><!-- no --><s:b> one &lt;\
            <![CDATA[<two>]]> </s:b><c/></s:a>";
        let root = Element::parse(document).unwrap();
        assert_eq!((root.name.as_str(), root.namespace.as_str()), ("a", "urn:x"));
        assert_eq!(root.attribute("k"), Some("1 & 2"));
        assert_eq!(root.child("b").unwrap().text, "one <<two>");
        assert_eq!(root.find("c").unwrap().namespace, "");
        let names: Vec<_> = root.all().map(|element| element.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(Element::parse(format!("<a>{}</a>", escaped("<&>\"'")).as_bytes()).unwrap().text, "<&>\"'");
    }

    #[test]
    fn limits_and_document_types() {
        let deep = |depth| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(Element::parse(deep(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(Element::parse(deep(DEPTH_MAX + 1).as_bytes()), Err(XmlFault::TooLarge));
        let wide = |count| format!("<a>{}</a>", "<b/>".repeat(count));
        assert!(Element::parse(wide(ELEMENTS_MAX - 1).as_bytes()).is_ok());
        assert_eq!(Element::parse(wide(ELEMENTS_MAX).as_bytes()), Err(XmlFault::TooLarge));
        let long = format!("<a>{}</a>", " ".repeat(XML_BYTES_MAX));
        assert_eq!(Element::parse(long.as_bytes()), Err(XmlFault::TooLarge));
        for malformed in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
            "<a>&x;</a>",
            "<a b></a>",
            "\u{0}",
        ] {
            assert_eq!(Element::parse(malformed.as_bytes()), Err(XmlFault::Malformed), "{malformed:?}");
        }
        assert_eq!(Element::parse(b"<a>\xff</a>"), Err(XmlFault::Malformed));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(<[a-z:]{1,3}( [a-z]='\\PC?')?/?>|</[a-z:]{1,3}>|&[a-z#0-9]{0,3};|\\PC){0,20}") {
            let _ = Element::parse(text.as_bytes());
        }
    }
}
