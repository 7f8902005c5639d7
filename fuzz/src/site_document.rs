//! The site document of `godvision-core`: what is read is written, and what is written is read.

use godvision_core::site::document::SiteDocument;

use crate::Reached;

/// Reads `data` as a site document.
pub fn site_document(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return Reached::Refused };
    let document = match SiteDocument::parse(text) {
        Ok(document) => document,
        Err(errors) => {
            assert!(!errors.0.is_empty(), "a refusal says why");
            let lines = text.matches('\n').count() + 1;
            for error in &errors.0 {
                assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error}: of {lines} lines");
                assert!(!error.key.is_empty() && !error.reason.is_empty());
            }
            assert!(errors.0.is_sorted_by_key(|error| error.line));
            return Reached::Refused;
        }
    };
    // A document that was read holds no secret in clear, so it can be written.
    let written = document.to_toml().expect("nothing secret in it");
    let again = SiteDocument::parse(&written).unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    // Compared as text, for a parameter may be "not a number", which equals nothing.
    assert_eq!(again.to_toml().as_ref(), Ok(&written));
    assert_eq!(again.site, document.site);
    let components = |it: &SiteDocument| {
        it.components.iter().map(|c| (c.name.clone(), c.unit.clone(), c.host.clone(), c.enabled)).collect::<Vec<_>>()
    };
    assert_eq!(components(&again), components(&document));
    let links = |it: &SiteDocument| it.links.iter().map(|l| (l.from.clone(), l.to.clone())).collect::<Vec<_>>();
    assert_eq!(links(&again), links(&document));
    let subsystems = |it: &SiteDocument| it.subsystems.iter().map(|s| (s.name.clone(), s.enabled)).collect::<Vec<_>>();
    assert_eq!(subsystems(&again), subsystems(&document));
    for (a, b) in again.components.iter().zip(&document.components) {
        assert!(a.params.iter().map(|(key, _)| key).eq(b.params.iter().map(|(key, _)| key)));
        assert_eq!(again.is_enabled(&a.name), document.is_enabled(&b.name));
    }
    Reached::when(!document.components.is_empty())
}
