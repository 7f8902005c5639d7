//! Keypads on pages in the site document: readers of the scheme `soft://`, each with a door.
//!
//! **Never:** what is typed; it goes from the page to the reader.

use godvision_access::reader::soft::SoftHandle;
use godvision_core::bus::ParamValue;
use godvision_core::{Name, Secret};

use super::Running;
use crate::site::Draft;
use crate::web::system::{Keypad, SystemError};

const UNIT: &str = "reader";
const SCHEME: &str = "soft://";

fn refused(detail: impl Into<String>) -> SystemError {
    SystemError::Refused { detail: detail.into() }
}

/// The secret that holds a reader's address: the same for every reader, though this one opens nothing.
fn secret_name(reader: &Name) -> String {
    format!("reader/{reader}#device")
}

impl Running {
    /// What the device of `reader` is called after `soft://`.
    fn soft_name(&self, reader: &Name) -> Option<String> {
        let document = self.document();
        let entry = document.components.iter().find(|it| it.name == *reader && it.unit == UNIT)?;
        let address = match entry.params.get("device")? {
            ParamValue::SecretName(name) => self.secrets.source()(name)?,
            ParamValue::Secret(address) => address.clone(),
            _ => return None,
        };
        address.expose().strip_prefix(SCHEME).map(|name| name.trim_end_matches('/').to_owned())
    }

    pub(super) fn soft_readers(&self) -> Vec<Keypad> {
        let document = self.document();
        let door_of = |reader: &Name| {
            let mut links = document.links.iter().filter(|link| link.from.component == *reader);
            links.find(|link| &*link.to.port == "credentials").map(|link| link.to.component.clone())
        };
        let readers = self.names_of(UNIT).into_iter().filter(|reader| self.soft_name(reader).is_some());
        readers.map(|id| Keypad { door: door_of(&id), id }).collect()
    }

    pub(super) fn soft_handle(&self, reader: &Name) -> Result<SoftHandle, SystemError> {
        let name = self.soft_name(reader);
        let name = name.ok_or_else(|| SystemError::NotFound { what: "keypad", id: reader.to_string() })?;
        self.shared.soft.handle(&name).map_err(|error| SystemError::Unavailable { detail: error.to_string() })
    }

    pub(super) async fn add_soft_reader(&self, reader: &Name, door: &Name) -> Result<(), SystemError> {
        if !self.names_of("door").contains(door) {
            return Err(SystemError::NotFound { what: "door", id: door.to_string() });
        }
        if self.document().components.iter().any(|it| it.name == *reader) {
            return Err(refused(format!("name: there is a component {reader} already")));
        }
        // An address has no room for a '/'. What a name cannot hold stands for it, so that no two names become one.
        let address = Secret::from(format!("{SCHEME}{}", reader.as_str().replace('/', "~")));
        let secret = secret_name(reader);
        let put = self.store.secrets().put(&secret, &address).await;
        put.map_err(|error| SystemError::Unavailable { detail: error.to_string() })?;
        let added = self.edit(|text| {
            let mut draft = Draft::read(text)?;
            let device = toml_edit::InlineTable::from_iter([("secret", secret.as_str())]);
            draft.add(reader, UNIT, &[("device", device.into())])?;
            draft.link(&format!("{reader}#credentials"), &format!("{door}#credentials"))?;
            draft.link(&format!("{door}#events"), &format!("{reader}#events"))?;
            draft.link(&format!("{door}#decisions"), &format!("{reader}#decisions"))?;
            Ok(draft.text())
        });
        let added = added.await;
        if added.is_err() {
            let _ = self.store.secrets().remove(&secret).await;
        }
        added
    }

    pub(super) async fn remove_soft_reader(&self, reader: &Name) -> Result<(), SystemError> {
        if self.soft_name(reader).is_none() {
            return Err(SystemError::NotFound { what: "keypad", id: reader.to_string() });
        }
        self.edit(|text| {
            let mut draft = Draft::read(text)?;
            draft.remove(reader)?;
            Ok(draft.text())
        })
        .await?;
        let _ = self.store.secrets().remove(&secret_name(reader)).await;
        Ok(())
    }
}
