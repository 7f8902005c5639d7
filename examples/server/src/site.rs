//! The site document that fills an empty data folder, and how a document is written.
//!
//! Names are short because people type them: a camera is called what its owner called it, what serves it stands in the
//! subsystems `motion` and `recorder`, so that all detection or all recording can be switched as one.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use godvision_core::Name;
use godvision_core::bus::{ParamValue, Params};
use godvision_core::site::{ComponentEntry, SiteDocument};

use crate::cli::Run;
use crate::store::Store;

/// The site document's name in the data folder.
pub const SITE_FILE: &str = "site.toml";
/// The rule document's name in the data folder.
pub const RULES_FILE: &str = "rules.toml";
/// The persons document's name in the data folder.
pub const PERSONS_FILE: &str = "persons.toml";
/// The name under which the archive's address is kept in the secret store.
pub const ARCHIVE_SECRET: &str = "archive";

/// The components that every site has: the live view, the board, the sightings.
///
/// # Errors
/// Never for the constants in it.
pub fn base(site: &str) -> anyhow::Result<SiteDocument> {
    let mut document = SiteDocument::new(Name::new(site)?);
    add(&mut document, "live", "live", Params::new())?;
    add(&mut document, "board", "board", Params::new())?;
    add(&mut document, "sightings", "sightings", Params::new())?;
    Ok(document)
}

/// Adds an enabled component.
///
/// # Errors
/// If `name` is no name.
pub fn add(document: &mut SiteDocument, name: &str, unit: &str, params: Params) -> anyhow::Result<()> {
    document.components.push(ComponentEntry::new(Name::new(name)?, unit, params));
    Ok(())
}

/// Adds a camera with its motion detector and recorder, whose address is the secret `secret`.
///
/// # Errors
/// If `name` is no name.
pub fn add_camera(document: &mut SiteDocument, name: &str, secret: &str) -> anyhow::Result<()> {
    let address = Params::new().with("url", ParamValue::SecretName(secret.to_owned()));
    add(document, name, "camera", address)?;
    add(document, &format!("motion/{name}"), "motion", Params::new())?;
    add(document, &format!("recorder/{name}"), "recorder", Params::new())?;
    for (from, to) in [
        (format!("{name}#fragments"), "live#fragments".to_owned()),
        (format!("{name}#status"), "live#status".to_owned()),
        (format!("{name}#status"), "board#streams".to_owned()),
        (format!("{name}#fragments"), format!("recorder/{name}#fragments")),
        (format!("{name}#pictures"), format!("motion/{name}#pictures")),
        (format!("motion/{name}#motion"), format!("recorder/{name}#motion")),
        (format!("motion/{name}#motion"), "live#motion".to_owned()),
        (format!("motion/{name}#rest"), "live#rests".to_owned()),
        (format!("motion/{name}#rest"), "board#rests".to_owned()),
        (format!("motion/{name}#tamper"), "board#tampers".to_owned()),
    ] {
        document.link(&from, &to)?;
    }
    Ok(())
}

/// The document for an empty data folder; addresses go to the store's secrets.
///
/// # Errors
/// If an argument cannot be read or is no address, or the store fails.
pub async fn first_site(options: &Run, store: &Store) -> anyhow::Result<SiteDocument> {
    let mut document = base("home")?;
    for camera in &options.cameras {
        let address = camera.url.resolve().with_context(|| format!("--camera {}", camera.name))?;
        godvision_rtsp::CameraUrl::parse(address.expose()).with_context(|| format!("--camera {}", camera.name))?;
        let secret = format!("camera-{}", camera.name);
        store.secrets().put(&secret, &address).await?;
        add_camera(&mut document, camera.name.as_str(), &secret)?;
    }
    if let Some(archive) = &options.archive {
        let address = archive.resolve().context("--archive")?;
        crate::wiring::open_archive(&address, Path::new(".")).context("--archive")?;
        store.secrets().put(ARCHIVE_SECRET, &address).await?;
    }
    add(&mut document, "archiver", "archiver", Params::new())?;
    Ok(document)
}

/// The document `text` with parameters of `component` set. What else its owner wrote, comments too, stays as it is.
///
/// # Errors
/// If the text is no TOML, or has no such component.
pub fn with_params(text: &str, component: &Name, set: &[(&str, toml_edit::Value)]) -> anyhow::Result<String> {
    let mut draft = Draft::read(text)?;
    draft.set(component, set)?;
    Ok(draft.text())
}

/// A site document's text that is being edited: what is not touched stays as the owner wrote it.
pub struct Draft(toml_edit::DocumentMut);

impl Draft {
    /// Reads the text.
    ///
    /// # Errors
    /// If it is no TOML.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        Ok(Self(text.parse().context("the site document is no TOML any more")?))
    }

    fn tables(&mut self, key: &str) -> anyhow::Result<&mut toml_edit::ArrayOfTables> {
        let tables = self.0.entry(key).or_insert(toml_edit::Item::ArrayOfTables(toml_edit::ArrayOfTables::new()));
        let tables = tables.as_array_of_tables_mut();
        tables.with_context(|| format!("write each {key} of the site document as [[{key}]] to have it edited here"))
    }

    fn component(&mut self, name: &Name) -> anyhow::Result<Option<&mut toml_edit::Table>> {
        let is_it = |entry: &&mut toml_edit::Table| entry.get("name").and_then(|it| it.as_str()) == Some(name.as_str());
        Ok(self.tables("component")?.iter_mut().find(is_it))
    }

    /// Adds a component at the end of the components.
    ///
    /// # Errors
    /// If there is one of that name, or the document writes components in another form.
    pub fn add(&mut self, name: &Name, unit: &str, params: &[(&str, toml_edit::Value)]) -> anyhow::Result<()> {
        anyhow::ensure!(self.component(name)?.is_none(), "the site document has a component {name} of another unit");
        let mut entry = toml_edit::Table::new();
        entry.insert("name", toml_edit::value(name.as_str()));
        entry.insert("unit", toml_edit::value(unit));
        if !params.is_empty() {
            let params = params.iter().map(|(key, value)| (*key, value.clone()));
            entry.insert("params", toml_edit::value(toml_edit::InlineTable::from_iter(params)));
        }
        push(self.tables("component")?, entry);
        Ok(())
    }

    /// Sets parameters of a component.
    ///
    /// # Errors
    /// If there is none of that name, or its parameters are written in another form.
    pub fn set(&mut self, name: &Name, set: &[(&str, toml_edit::Value)]) -> anyhow::Result<()> {
        let entry = self.component(name)?;
        let entry = entry.with_context(|| format!("the site document has no component {name}"))?;
        let inline = toml_edit::Value::InlineTable(toml_edit::InlineTable::new());
        let params = entry.entry("params").or_insert(toml_edit::Item::Value(inline));
        let params = params.as_table_like_mut().with_context(|| format!("params of {name} is no table"))?;
        for (key, value) in set {
            params.insert(key, toml_edit::Item::Value(value.clone()));
        }
        Ok(())
    }

    /// Switches a component on or off.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn enable(&mut self, name: &Name, is_on: bool) -> anyhow::Result<()> {
        let entry = self.component(name)?;
        let entry = entry.with_context(|| format!("the site document has no component {name}"))?;
        if is_on {
            entry.remove("enabled");
        } else {
            entry.insert("enabled", toml_edit::value(false));
        }
        Ok(())
    }

    /// Takes a parameter of a component away, if it is there.
    ///
    /// # Errors
    /// If there is no component of that name.
    pub fn unset(&mut self, name: &Name, key: &str) -> anyhow::Result<()> {
        let entry = self.component(name)?;
        let entry = entry.with_context(|| format!("the site document has no component {name}"))?;
        if let Some(params) = entry.get_mut("params").and_then(|params| params.as_table_like_mut()) {
            params.remove(key);
        }
        Ok(())
    }

    /// Takes a component away, with its links.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn remove(&mut self, name: &Name) -> anyhow::Result<()> {
        anyhow::ensure!(self.component(name)?.is_some(), "the site document has no component {name}");
        let text = |entry: &toml_edit::Table, key| entry.get(key).and_then(|it| it.as_str()).map(str::to_owned);
        self.tables("component")?.retain(|entry| text(entry, "name").as_deref() != Some(name.as_str()));
        self.tables("link")?.retain(|link| {
            let is_of = |end: Option<String>| {
                end.is_some_and(|end| end.split_once('#').is_some_and(|(component, _)| component == name.as_str()))
            };
            !is_of(text(link, "from")) && !is_of(text(link, "to"))
        });
        Ok(())
    }

    /// Takes a link away, if it is there.
    ///
    /// # Errors
    /// If the document writes links in another form.
    pub fn unlink(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        let is_end = |link: &toml_edit::Table, key, end: &str| link.get(key).and_then(|it| it.as_str()) == Some(end);
        self.tables("link")?.retain(|link| !(is_end(link, "from", from) && is_end(link, "to", to)));
        Ok(())
    }

    /// Links two ports, if they are not yet.
    ///
    /// # Errors
    /// If the document writes links in another form.
    pub fn link(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        let links = self.tables("link")?;
        let text = |link: &toml_edit::Table, key| link.get(key).and_then(|it| it.as_str()).map(str::to_owned);
        let is_there = |link: &toml_edit::Table| {
            text(link, "from").as_deref() == Some(from) && text(link, "to").as_deref() == Some(to)
        };
        if !links.iter().any(is_there) {
            let mut entry = toml_edit::Table::new();
            entry.insert("from", toml_edit::value(from));
            entry.insert("to", toml_edit::value(to));
            push(links, entry);
        }
        Ok(())
    }

    /// The text as it is now.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

/// At the end of its kind, a blank line before it.
fn push(tables: &mut toml_edit::ArrayOfTables, mut entry: toml_edit::Table) {
    entry.decor_mut().set_prefix("\n");
    tables.push(entry);
}

/// Writes a document so that a crash leaves the old one or the new one.
///
/// # Errors
/// If it holds a secret in clear or the file cannot be written.
pub fn write(path: &Path, document: &SiteDocument) -> anyhow::Result<()> {
    let text = document.to_toml().context("the site document cannot be written")?;
    let head = "# What runs on this site. Check it with: godvision-server check site.toml\n\
                # Where clips go is the secret \"archive\" (--archive); units and parameters: README of godvision-server.\n";
    write_text(path, &format!("{head}{text}"))
}

/// Writes a document's text so that a crash leaves the old one or the new one.
///
/// # Errors
/// If the file cannot be written.
pub fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    let partial = path.with_extension("toml.part");
    let mut file = std::fs::File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_keeps_what_the_owner_wrote() {
        let text = "# mine\nversion = 1\nsite = \"home\"\n\n[[component]]\nname = \"motion/yard\" # the yard\nunit = \"motion\"\n\
                    params = { quiet_after = 5.0, zones = [\"a: 0,0 9,0 0,9\"] }\n\n[[component]]\nname = \"live\"\nunit = \"live\"\n";
        let zones = toml_edit::Array::from_iter(["b: 1,1 9,1 1,9"]);
        let edit = |name, text: &str| with_params(text, &Name::new(name).unwrap(), &[("zones", zones.clone().into())]);
        let edited = edit("motion/yard", text).unwrap();
        assert_eq!(edited, text.replace("a: 0,0 9,0 0,9", "b: 1,1 9,1 1,9"));
        let edited = edit("live", text).unwrap();
        let document = SiteDocument::parse(&edited).unwrap();
        assert_eq!(document.components[1].params.texts("zones"), ["b: 1,1 9,1 1,9"]);
        assert_eq!(document.components[0].params.texts("zones"), ["a: 0,0 9,0 0,9"]);
        assert!(edit("motion/none", text).unwrap_err().to_string().contains("motion/none"));
        assert!(edit("live", "version =").is_err());
    }

    #[test]
    fn a_draft_adds_switches_and_links_and_keeps_the_rest() {
        let text = "# mine\nversion = 1\nsite = \"home\"\n\n[[component]]\nname = \"yard\" # the yard\nunit = \"live\"\n\n\
                    [[link]] # kept\nfrom = \"a#b\"\nto = \"c#d\"\n";
        let qr = Name::new("qr/yard").unwrap();
        let mut draft = Draft::read(text).unwrap();
        draft.add(&qr, "qr", &[("motion_wakes", true.into())]).unwrap();
        assert!(draft.add(&qr, "qr", &[]).is_err());
        for _ in 0..2 {
            draft.link("yard#pictures", "qr/yard#pictures").unwrap();
            draft.link("a#b", "c#d").unwrap();
        }
        draft.enable(&qr, false).unwrap();
        let off = draft.text();
        let document = SiteDocument::parse(&off).unwrap();
        assert!(off.contains("# mine") && off.contains("# the yard") && off.contains("# kept"), "{off}");
        assert_eq!((document.components.len(), document.links.len()), (2, 2));
        assert!(!document.components[1].enabled && document.components[1].params.flag("motion_wakes"));
        draft.enable(&qr, true).unwrap();
        assert!(SiteDocument::parse(&draft.text()).unwrap().components[1].enabled);
        assert!(draft.enable(&Name::new("none").unwrap(), true).is_err());
        let mut empty = Draft::read("version = 1\nsite = \"home\"\n").unwrap();
        empty.link("a#b", "c#d").unwrap();
        assert_eq!(SiteDocument::parse(&empty.text()).unwrap().links.len(), 1);
        let mut inline = Draft::read("link = [{ from = \"a#b\", to = \"c#d\" }]").unwrap();
        assert!(inline.link("e#f", "g#h").unwrap_err().to_string().contains("[[link]]"));
    }
}
