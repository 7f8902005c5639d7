//! Doors as an administrator edits them: parameters by the unit's own specification, what is read at the door, and the
//! relay's state right now. The document keeps its owner's comments; an address goes to the secret store.
//!
//! **Never:** a relay's address on its way back; a decision what a parameter means (the unit's specification says it).

use std::time::Duration;

use godvision_access::relay::RelayRegistry;
use godvision_core::Name;
use godvision_core::Secret;
use godvision_core::bus::{ParamKind, ParamValue, Params, UnitSpec};
use godvision_core::driver::relay::{Contact, PulseTiming};
use godvision_core::site::ComponentEntry;

use super::Running;
use crate::site::Draft;
use crate::web::system::{DoorChange, DoorField, DoorSetup, DoorSource, RelayAsk, RelayReading, SystemError};

/// The unit of doors.
const UNIT: &str = "door";
/// How long a relay may take to say its state: somebody waits before the page.
const RELAY_PATIENCE: Duration = Duration::from_secs(5);

fn refused(detail: impl Into<String>) -> SystemError {
    SystemError::Refused { detail: detail.into() }
}

/// The secret that holds a door's address.
fn secret_name(door: &Name, key: &str) -> String {
    format!("door/{door}#{key}")
}

fn toml_of(value: &ParamValue) -> Option<toml_edit::Value> {
    Some(match value {
        ParamValue::Text(text) => text.as_str().into(),
        ParamValue::Integer(number) => (*number).into(),
        ParamValue::Number(number) => (*number).into(),
        ParamValue::Flag(flag) => (*flag).into(),
        ParamValue::Texts(texts) => toml_edit::Array::from_iter(texts.iter().map(String::as_str)).into(),
        ParamValue::SecretName(name) => toml_edit::InlineTable::from_iter([("secret", name.as_str())]).into(),
        ParamValue::Secret(_) => return None,
    })
}

impl Running {
    fn door_spec(&self) -> Result<&UnitSpec, SystemError> {
        self.specs.get(UNIT).ok_or_else(|| refused("this program has no doors"))
    }

    fn door_entry(&self, door: &Name) -> Result<ComponentEntry, SystemError> {
        let document = self.document();
        let found = document.components.iter().find(|it| it.name == *door && it.unit == UNIT);
        found.cloned().ok_or_else(|| SystemError::NotFound { what: "door", id: door.to_string() })
    }

    /// Every output of the document that a door can take, and whether `door` does.
    fn door_sources(&self, door: Option<&Name>) -> Result<Vec<DoorSource>, SystemError> {
        let (spec, document) = (self.door_spec()?, self.document());
        let mut sources = Vec::new();
        for component in document.components.iter().filter(|it| it.unit != UNIT) {
            let Some(unit) = self.specs.get(component.unit.as_str()) else { continue };
            for output in &unit.outputs {
                let Some(input) = spec.inputs.iter().find(|input| input.signal == output.signal) else { continue };
                let from = format!("{}#{}", component.name, output.name);
                let is_linked = document.links.iter().any(|link| {
                    Some(&link.to.component) == door && &*link.to.port == input.name && link.from.to_string() == from
                });
                sources.push(DoorSource { output: from, input: input.name, is_linked });
            }
        }
        Ok(sources)
    }

    /// What a form shows of `door`, or of one that is still to be made.
    pub(super) fn setup_of(&self, door: Option<&Name>) -> Result<DoorSetup, SystemError> {
        let params = door.map(|door| self.door_entry(door)).transpose()?.map(|entry| entry.params);
        let field = |spec: &godvision_core::bus::ParamSpec| {
            let value = params.as_ref().and_then(|params| params.get(spec.name)).cloned();
            let is_set = value.is_some();
            let value = value.filter(|_| !matches!(spec.kind, ParamKind::Secret));
            DoorField { spec: spec.clone(), value, is_set }
        };
        let fields = self.door_spec()?.params.iter().map(field).collect();
        Ok(DoorSetup { fields, sources: self.door_sources(door)? })
    }

    /// Writes a door into the document and puts it in force; if it is refused, document and site stay as they are.
    pub(super) async fn put_setup(&self, door: &Name, change: DoorChange) -> Result<(), SystemError> {
        let specs = self.door_spec()?.params.clone();
        let there = match self.document().components.iter().find(|it| it.name == *door) {
            Some(entry) if entry.unit != UNIT => {
                return Err(refused(format!("name: {door} is a component of another kind already")));
            }
            other => other.map(|entry| entry.params.clone()),
        };
        let was = there.clone().unwrap_or_default();
        let (mut next, mut sets, mut unsets, mut sealed) = (was.clone(), Vec::new(), Vec::new(), Vec::new());
        for (key, value) in change.params {
            let spec = specs.iter().find(|spec| spec.name == key);
            let spec = spec.ok_or_else(|| refused(format!("{key}: this means nothing to a door")))?;
            match value {
                Some(ParamValue::Secret(secret)) => {
                    let name = secret_name(door, &key);
                    sealed.push((name.clone(), secret.clone()));
                    next.set(&key, ParamValue::Secret(secret), None);
                    sets.push((key, ParamValue::SecretName(name)));
                }
                // What is as it was, or as it is when nothing is said, is not written.
                Some(value) if was.get(&key) == Some(&value) => {}
                Some(value) if was.get(&key).is_none() && spec.default.as_ref() == Some(&value) => {}
                Some(value) => {
                    next.set(&key, value.clone(), None);
                    sets.push((key, value));
                }
                None => unsets.push(key),
            }
        }
        let mut asked = Params::new();
        for (key, value) in next.iter().filter(|(key, _)| !unsets.iter().any(|unset| unset == key)) {
            asked.set(key, value.clone(), None);
        }
        let first = |errors: Vec<godvision_core::bus::ParamError>| match errors.first() {
            Some(error) => refused(format!("{}: {}", error.key, error.reason)),
            None => refused("the parameters are refused"),
        };
        asked.checked(&specs).map_err(first)?;
        let known = self.door_sources(Some(door))?;
        if let Some(wanted) = change.sources.iter().flatten().find(|it| known.iter().all(|known| known.output != **it))
        {
            return Err(refused(format!("sources: {wanted} is nothing that a door can read")));
        }
        let edit = |text: &str| {
            let mut draft = Draft::read(text)?;
            if there.is_none() {
                draft.add(door, UNIT, &[])?;
                self.link_bots(&mut draft, door)?;
            }
            let values = sets.iter().filter_map(|(key, value)| Some((key.as_str(), toml_of(value)?)));
            draft.set(door, &values.collect::<Vec<_>>())?;
            for key in &unsets {
                draft.unset(door, key)?;
            }
            for source in change.sources.as_ref().map(|_| &known).into_iter().flatten() {
                let to = format!("{door}#{}", source.input);
                if change.sources.iter().flatten().any(|wanted| *wanted == source.output) {
                    draft.link(&source.output, &to)?;
                } else {
                    draft.unlink(&source.output, &to)?;
                }
            }
            Ok(draft.text())
        };
        self.edit_with(&sealed, edit).await
    }

    /// Edits the document with secrets that it names: they are put first, and put back if it is refused.
    pub(super) async fn edit_with(
        &self,
        sealed: &[(String, Secret)],
        edit: impl FnOnce(&str) -> anyhow::Result<String> + Send,
    ) -> Result<(), SystemError> {
        let unavailable = |error: crate::store::StoreError| SystemError::Unavailable { detail: error.to_string() };
        let secrets = self.store.secrets();
        let mut before = Vec::new();
        for (name, secret) in sealed {
            before.push((name, secrets.get(name).await.map_err(unavailable)?));
            secrets.put(name, secret).await.map_err(unavailable)?;
        }
        let done = self.edit(edit).await;
        if done.is_err() {
            for (name, secret) in before {
                match secret {
                    Some(secret) => secrets.put(name, &secret).await.map_err(unavailable)?,
                    None => secrets.remove(name).await.map_err(unavailable)?,
                }
            }
        }
        done
    }

    /// Takes a door and its links out of the document.
    pub(super) async fn remove_setup(&self, door: &Name) -> Result<(), SystemError> {
        let entry = self.door_entry(door)?;
        self.edit(|text| {
            let mut draft = Draft::read(text)?;
            draft.remove(door)?;
            Ok(draft.text())
        })
        .await?;
        for (key, name) in entry.params.secret_names() {
            if name == secret_name(door, key) {
                let removed = self.store.secrets().remove(name).await;
                removed.map_err(|error| SystemError::Unavailable { detail: error.to_string() })?;
            }
        }
        Ok(())
    }

    /// Asks a relay for its state: the one of a door, with what is not saved yet over it.
    pub(super) async fn ask_relay(&self, ask: RelayAsk) -> Result<RelayReading, SystemError> {
        let params = match &ask.door {
            Some(door) => self.door_entry(door)?.params,
            None => Params::new(),
        };
        let kept = match params.get("relay") {
            Some(ParamValue::SecretName(name)) => {
                let found = self.store.secrets().get(name).await;
                found.map_err(|error| SystemError::Unavailable { detail: error.to_string() })?
            }
            Some(ParamValue::Text(text)) => Some(Secret::from(text.as_str())),
            _ => None,
        };
        let url = ask.relay.or(kept).ok_or_else(|| refused("relay: write the relay's address first"))?;
        let channel = ask.channel.or(params.integer("channel")).unwrap_or(0);
        let channel = u8::try_from(channel).map_err(|_| refused("channel: there is no such channel"))?;
        let relays = RelayRegistry::standard(std::sync::Arc::clone(&self.shared.clock));
        let relay = relays.open(&url).map_err(|error| refused(format!("relay: {error}")))?;
        let capabilities = relay.capabilities().clone();
        godvision_core::driver::relay::checked_channel(&capabilities, channel)
            .map_err(|error| refused(format!("channel: {error}")))?;
        let begun = self.shared.clock.mono();
        let unavailable = |detail: String| SystemError::Unavailable { detail };
        let status = tokio::time::timeout(RELAY_PATIENCE, relay.status(channel)).await;
        let status = status.map_err(|_| unavailable(format!("no answer within {} s", RELAY_PATIENCE.as_secs())))?;
        let contact = status.map_err(|error| unavailable(error.to_string()))?;
        Ok(RelayReading {
            is_on: contact == Contact::On,
            took: self.shared.clock.mono().since(begun),
            driver: capabilities.driver,
            is_timed_by_device: !matches!(capabilities.pulse, PulseTiming::Host),
        })
    }
}

/// So that a form of a door that is still to be made can be drawn before there is one.
pub(super) fn specs(registry: &godvision_core::bus::Registry) -> std::collections::BTreeMap<String, UnitSpec> {
    registry.units().map(|unit| (unit.spec().name.to_owned(), unit.spec().clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_never_becomes_toml() {
        assert!(toml_of(&ParamValue::Secret("shelly://admin:hunter2@192.0.2.7/".into())).is_none());
        let named = toml_of(&ParamValue::SecretName(secret_name(&Name::new("front").unwrap(), "relay"))).unwrap();
        assert_eq!(named.to_string().trim(), "{ secret = \"door/front#relay\" }");
    }
}
