//! Doors as an administrator edits them: parameters by the unit's own specification, what is read at the door, and the
//! relay's state right now. The document keeps its owner's comments; an address goes to the secret store.
//!
//! **Never:** a relay's address on its way back; a decision what a parameter means (the unit's specification says it).

use std::sync::Arc;
use std::time::Duration;

use godvision_access::Error as AccessError;
use godvision_access::address::DeviceAddress;
use godvision_access::driver_spec::{DriverSpec, FieldKind};
use godvision_access::relay::RelayRegistry;
use godvision_core::MonoTime;
use godvision_core::Name;
use godvision_core::Secret;
use godvision_core::bus::{ParamKind, ParamValue, Params, UnitSpec};
use godvision_core::driver::relay::{Contact, PulseTiming, Relay, checked_channel, checked_pulse};
use godvision_core::site::ComponentEntry;

use super::Running;
use crate::site::Draft;
use crate::web::system::{
    DoorChange, DoorField, DoorSetup, DoorSource, Mode, RelayAsk, RelayForm, RelayReading, RelayShown, System,
    SystemError,
};

/// The unit of doors.
const UNIT: &str = "door";
/// What stands for every door in rules and passes.
const EVERY_DOOR: &str = "any";
/// How long a relay may take to say its state: somebody waits before the page.
const RELAY_PATIENCE: Duration = Duration::from_secs(5);
/// How often a relay that was tried is told to switch off, and how long is waited before it is told again.
const OFF_TRIES: u32 = 20;
const OFF_AGAIN: Duration = Duration::from_millis(500);

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
        if there.is_none() && door.as_str() == EVERY_DOOR {
            return Err(refused(format!("name: {door} means every door in rules and passes: choose another name")));
        }
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

    /// The address that is kept of a door's relay.
    async fn kept_address(&self, door: &Name) -> Result<Option<Secret>, SystemError> {
        Ok(match self.door_entry(door)?.params.get("relay") {
            Some(ParamValue::SecretName(name)) => {
                let found = self.store.secrets().get(name).await;
                found.map_err(|error| SystemError::Unavailable { detail: error.to_string() })?
            }
            Some(ParamValue::Text(text)) => Some(Secret::from(text.as_str())),
            _ => None,
        })
    }

    fn relays(&self) -> RelayRegistry {
        RelayRegistry::standard(Arc::clone(&self.shared.clock))
    }

    /// The drivers that describe their addresses, by what people call their devices.
    pub(super) fn drivers(&self) -> Vec<DriverSpec> {
        let mut drivers: Vec<DriverSpec> = self.relays().specs().cloned().collect();
        drivers.sort_by_key(|spec| spec.title.to_lowercase());
        drivers
    }

    /// What a form may show of a door's relay.
    pub(super) async fn relay_of(&self, door: &Name) -> Result<Option<RelayShown>, SystemError> {
        let Some(url) = self.kept_address(door).await? else { return Ok(None) };
        let Ok(address) = DeviceAddress::parse(&url) else { return Ok(None) };
        let relays = self.relays();
        let Some(spec) = relays.spec(&address.scheme) else { return Ok(None) };
        let mut shown = RelayShown { driver: address.scheme.clone(), ..RelayShown::default() };
        for field in spec.fields {
            match address.field(field.key) {
                None => {}
                Some(value) if is_open(field.kind) => shown.fields.push((field.key, value.expose().to_owned())),
                Some(_) => shown.kept.push(field.key),
            }
        }
        Ok(Some(shown))
    }

    /// The address that a form says.
    pub(super) async fn address_of(&self, door: Option<&Name>, form: RelayForm) -> Result<Secret, SystemError> {
        let relays = self.relays();
        let spec = relays.spec(&form.driver).ok_or_else(|| refused("relay.driver: there is no such driver"))?;
        let mut filled = form.fields;
        if !form.keep.is_empty() {
            let kept = match door {
                Some(door) => self.kept_address(door).await?,
                None => None,
            };
            let kept = kept.and_then(|url| DeviceAddress::parse(&url).ok());
            // What was kept for one device is not handed to another.
            let given = |key: &str| filled.iter().find(|(it, _)| it == key).map(|(_, value)| value.clone());
            let usual =
                |key: &str| spec.fields.iter().find(|it| it.key == key).and_then(|it| it.default).map(Secret::from);
            let said = |key: &str| given(key).filter(|it| !it.is_empty()).or_else(|| usual(key));
            let is_same = |old: &DeviceAddress| {
                old.scheme == spec.scheme && ["host", "port"].iter().all(|key| spec.text(old, key) == said(key))
            };
            let kept = kept.filter(is_same);
            for key in form.keep {
                let value = kept.as_ref().and_then(|old| old.field(&key)).ok_or_else(|| {
                    let key: String = key.chars().take(32).collect();
                    refused(format!("relay.{key}: write it again: what is kept belongs to another device"))
                })?;
                filled.push((key, value));
            }
        }
        let address = spec.address(filled).map_err(|error| match error {
            AccessError::BadDeviceField { field, expected } => refused(format!("relay.{field}: {field} {expected}")),
            other => refused(format!("relay.host: {other}")),
        })?;
        // What the driver itself finds wrong.
        relays.open(&address.to_url()).map_err(|error| match error {
            AccessError::BadDeviceField { field, expected } => refused(format!("relay.{field}: {field} {expected}")),
            other => refused(format!("relay: {other}")),
        })?;
        Ok(address.to_url())
    }

    /// The relay of a door, with what is not saved yet over it, and its channel.
    async fn relay_at(&self, ask: RelayAsk) -> Result<(Arc<dyn Relay>, u8), SystemError> {
        let (kept, channel) = match &ask.door {
            Some(door) => (self.kept_address(door).await?, self.door_entry(door)?.params.integer("channel")),
            None => (None, None),
        };
        let url = ask.relay.or(kept).ok_or_else(|| refused("relay: write the relay's address first"))?;
        let channel = ask.channel.or(channel).unwrap_or(0);
        let channel = u8::try_from(channel).map_err(|_| refused("channel: there is no such channel"))?;
        let relay = self.relays().open(&url).map_err(|error| refused(format!("relay: {error}")))?;
        checked_channel(relay.capabilities(), channel).map_err(|error| refused(format!("channel: {error}")))?;
        Ok((relay, channel))
    }

    /// Asks a relay for its state.
    pub(super) async fn ask_relay(&self, ask: RelayAsk) -> Result<RelayReading, SystemError> {
        let (relay, channel) = self.relay_at(ask).await?;
        let begun = self.shared.clock.mono();
        let status = tokio::time::timeout(RELAY_PATIENCE, relay.status(channel)).await;
        let status = status.map_err(|_| no_answer())?;
        let contact = status.map_err(|error| SystemError::Unavailable { detail: error.to_string() })?;
        Ok(self.reading(&relay, contact, begun))
    }

    fn reading(&self, relay: &Arc<dyn Relay>, contact: Contact, begun: MonoTime) -> RelayReading {
        let capabilities = relay.capabilities();
        RelayReading {
            is_on: contact == Contact::On,
            took: self.shared.clock.mono().since(begun),
            driver: capabilities.driver,
            is_timed_by_device: !matches!(capabilities.pulse, PulseTiming::Host),
        }
    }

    /// Pulses a relay once, to see that it moves.
    pub(super) async fn try_relay(&self, ask: RelayAsk, length: Duration) -> Result<RelayReading, SystemError> {
        let door = ask.door.clone();
        let (relay, channel) = self.relay_at(ask).await?;
        // The same device may be the one of any door: while one is locked down, nothing is tried.
        if let Some(shut) = self.doors().into_iter().find(|it| it.mode == Mode::LockedDown) {
            let which = if door.as_ref() == Some(&shut.id) { "it".to_owned() } else { shut.id.to_string() };
            return Err(refused(format!("{which} is locked down: nothing is tried until that has ended")));
        }
        let length =
            checked_pulse(relay.capabilities(), channel, length).map_err(|error| refused(format!("pulse: {error}")))?;
        let begun = self.shared.clock.mono();
        // A task of its own: what is switched on is switched off, even if nobody waits for the answer any more.
        let done = tokio::spawn(pulse_once(Arc::clone(&relay), channel, length, OFF_AGAIN));
        done.await.map_err(|_| SystemError::Unavailable { detail: "the test was ended".to_owned() })??;
        Ok(self.reading(&relay, Contact::On, begun))
    }
}

/// Whether a form may show what stands in such a field.
fn is_open(kind: FieldKind) -> bool {
    matches!(kind, FieldKind::Host | FieldKind::Number { .. } | FieldKind::Choice(_))
}

fn no_answer() -> SystemError {
    SystemError::Unavailable { detail: format!("no answer within {} s", RELAY_PATIENCE.as_secs()) }
}

/// A pulse that is over when this returns, or is being told so by the device.
async fn pulse_once(relay: Arc<dyn Relay>, channel: u8, length: Duration, again: Duration) -> Result<(), SystemError> {
    let begun = tokio::time::timeout(RELAY_PATIENCE, relay.pulse(channel, length)).await;
    // Without an answer the contact may be on all the same.
    if matches!(relay.capabilities().pulse, PulseTiming::Host) {
        tokio::time::sleep(length).await;
        switch_off(relay.as_ref(), channel, again).await?;
    }
    begun.map_err(|_| no_answer())?.map_err(|error| SystemError::Unavailable { detail: error.to_string() })
}

/// Switches a contact off until the device says that it is.
async fn switch_off(relay: &dyn Relay, channel: u8, again: Duration) -> Result<(), SystemError> {
    for _ in 0..OFF_TRIES {
        let off = tokio::time::timeout(RELAY_PATIENCE, relay.set(channel, Contact::Off)).await;
        if matches!(off, Ok(Ok(())))
            && matches!(tokio::time::timeout(RELAY_PATIENCE, relay.status(channel)).await, Ok(Ok(Contact::Off)))
        {
            return Ok(());
        }
        tokio::time::sleep(again).await;
    }
    let detail = "the contact may still be on: look at the device and switch it off there".to_owned();
    tracing::error!(channel, "a relay that was tried did not say that it is off again");
    Err(SystemError::Unavailable { detail })
}

/// So that a form of a door that is still to be made can be drawn before there is one.
pub(super) fn specs(registry: &godvision_core::bus::Registry) -> std::collections::BTreeMap<String, UnitSpec> {
    registry.units().map(|unit| (unit.spec().name.to_owned(), unit.spec().clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;
    use godvision_core::driver::BoxFuture;
    use godvision_core::driver::relay::{Capabilities, RelayError};

    /// A relay that does not end a pulse, and hears «off» only after so many tries.
    struct Deaf {
        capabilities: Capabilities,
        left: AtomicU32,
        is_on: AtomicBool,
    }

    impl Relay for Deaf {
        fn capabilities(&self) -> &Capabilities {
            &self.capabilities
        }

        fn pulse(&self, _: u8, _: Duration) -> BoxFuture<'_, Result<(), RelayError>> {
            self.is_on.store(true, Ordering::SeqCst);
            Box::pin(async { Err(RelayError::Timeout { address: "deaf".to_owned(), waited: RELAY_PATIENCE }) })
        }

        fn set(&self, _: u8, contact: Contact) -> BoxFuture<'_, Result<(), RelayError>> {
            let hears = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
            self.is_on.store(contact == Contact::On || !hears, Ordering::SeqCst);
            Box::pin(async { Ok(()) })
        }

        fn status(&self, _: u8) -> BoxFuture<'_, Result<Contact, RelayError>> {
            let contact = if self.is_on.load(Ordering::SeqCst) { Contact::On } else { Contact::Off };
            Box::pin(async move { Ok(contact) })
        }
    }

    fn deaf(left: u32) -> Arc<Deaf> {
        let capabilities = Capabilities { driver: "deaf", channels: 1, pulse: PulseTiming::Host, inputs: 0 };
        Arc::new(Deaf { capabilities, left: AtomicU32::new(left), is_on: AtomicBool::new(false) })
    }

    #[tokio::test]
    async fn a_contact_that_was_tried_is_switched_off_until_it_is_off() {
        let (slow, at_once) = (deaf(3), Duration::ZERO);
        let error = pulse_once(slow.clone(), 0, at_once, at_once).await.unwrap_err();
        assert!(error.to_string().contains("did not answer"), "what went wrong is said, too: {error}");
        assert!(!slow.is_on.load(Ordering::SeqCst));
        let stuck = deaf(OFF_TRIES + 1);
        let error = pulse_once(stuck, 0, at_once, at_once).await.unwrap_err();
        assert!(error.to_string().contains("may still be on"), "{error}");
    }

    #[test]
    fn an_address_never_becomes_toml() {
        assert!(toml_of(&ParamValue::Secret("shelly://admin:hunter2@192.0.2.7/".into())).is_none());
        let named = toml_of(&ParamValue::SecretName(secret_name(&Name::new("front").unwrap(), "relay"))).unwrap();
        assert_eq!(named.to_string().trim(), "{ secret = \"door/front#relay\" }");
    }
}
