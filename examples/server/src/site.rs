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

/// The components that every site has: the live view, the board, the archiver.
///
/// # Errors
/// Never for the constants in it.
pub fn base(site: &str) -> anyhow::Result<SiteDocument> {
    let mut document = SiteDocument::new(Name::new(site)?);
    add(&mut document, "live", "live", Params::new())?;
    add(&mut document, "board", "board", Params::new())?;
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
    let mut document: toml_edit::DocumentMut = text.parse().context("the site document is no TOML any more")?;
    let entries = document.get_mut("component").and_then(toml_edit::Item::as_array_of_tables_mut);
    let named =
        |entry: &&mut toml_edit::Table| entry.get("name").and_then(|it| it.as_str()) == Some(component.as_str());
    let entry = entries.and_then(|entries| entries.iter_mut().find(named));
    let entry = entry.with_context(|| format!("the site document has no component {component}"))?;
    let inline = toml_edit::Value::InlineTable(toml_edit::InlineTable::new());
    let params = entry.entry("params").or_insert(toml_edit::Item::Value(inline));
    let params = params.as_table_like_mut().with_context(|| format!("params of {component} is no table"))?;
    for (key, value) in set {
        params.insert(key, toml_edit::Item::Value(value.clone()));
    }
    Ok(document.to_string())
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
}
