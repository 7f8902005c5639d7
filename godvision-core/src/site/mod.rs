//! The site: what is built. One document names the components, their links and subsystems; the same document runs,
//! is checked and is edited while it runs.

pub mod document;

pub use document::{ComponentEntry, LinkEntry, SiteDocument, SiteError, SiteErrors, SubsystemEntry};
