//! Checks a site document against the units, and finds what an edit changes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::component::{Kind, Unit};
use super::params::Params;
use super::port::{Policy, PortSpec};
use crate::name::{Name, PortName};
use crate::site::document::{SiteDocument, SiteError};

/// The units a host can make components of.
#[derive(Clone, Default)]
pub struct Registry {
    units: BTreeMap<&'static str, Arc<dyn Unit>>,
}

impl Registry {
    /// No units.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more unit; a unit of the same name is replaced.
    ///
    /// # Panics
    /// If the unit's ports do not agree with its declared kind, or two ports of a direction share a name: a bug in the
    /// unit, found at start.
    #[must_use]
    pub fn with(mut self, unit: impl Unit + 'static) -> Self {
        let spec = unit.spec();
        assert_eq!(
            spec.kind,
            Kind::of(spec.inputs.len(), spec.outputs.len()),
            "unit {:?}: its ports make it another kind",
            spec.name
        );
        for ports in [&spec.inputs, &spec.outputs] {
            let names: BTreeSet<_> = ports.iter().map(|port| port.name).collect();
            assert_eq!(names.len(), ports.len(), "unit {:?}: two ports share a name", spec.name);
        }
        self.units.insert(spec.name, Arc::new(unit));
        self
    }

    /// The unit `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Unit>> {
        self.units.get(name)
    }

    /// All units, by name.
    pub fn units(&self) -> impl Iterator<Item = &Arc<dyn Unit>> {
        self.units.values()
    }
}

/// One component as it shall run.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) unit: Arc<dyn Unit>,
    pub(super) params: Params,
    pub(super) enabled: bool,
}

/// A whole graph that has passed its checks.
#[derive(Clone, Default)]
pub(super) struct Plan {
    pub(super) components: BTreeMap<Name, Planned>,
    pub(super) links: BTreeSet<(PortName, PortName)>,
}

/// What applying a document changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Components that are new.
    pub added: Vec<Name>,
    /// Components that are gone.
    pub removed: Vec<Name>,
    /// Components made anew because their unit or parameters changed.
    pub replaced: Vec<Name>,
    /// Components only switched on or off.
    pub switched: Vec<Name>,
    /// New links.
    pub linked: Vec<(PortName, PortName)>,
    /// Links that are gone.
    pub unlinked: Vec<(PortName, PortName)>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Checks `document` for `host` with `registry`; components of other hosts are left out.
pub(super) fn plan(document: &SiteDocument, host: &Name, registry: &Registry) -> Result<Plan, Vec<SiteError>> {
    let mut errors = Vec::new();
    let mut plan = Plan::default();
    for entry in document.components.iter().filter(|entry| entry.host == *host) {
        let Some(unit) = registry.get(&entry.unit) else {
            let known: Vec<_> = registry.units().map(|unit| unit.spec().name).collect();
            errors.push(SiteError::new(
                entry.line,
                format!("component {}: unit", entry.name),
                format!("there is no unit {:?}; known are: {}", entry.unit, known.join(", ")),
            ));
            continue;
        };
        match entry.params.checked(&unit.spec().params) {
            Ok(params) => {
                let enabled = entry.enabled && document.is_enabled(&entry.name);
                plan.components.insert(entry.name.clone(), Planned { unit: Arc::clone(unit), params, enabled });
            }
            Err(wrong) => errors.extend(wrong.into_iter().map(|error| {
                let line = error.line.or(entry.line);
                SiteError::new(line, format!("component {}: {}", entry.name, error.key), error.reason)
            })),
        }
    }
    for link in &document.links {
        match check_link(document, &plan, host, &link.from, &link.to) {
            Ok(true) => {
                plan.links.insert((link.from.clone(), link.to.clone()));
            }
            Ok(false) => {}
            Err(reason) => errors.push(SiteError::new(link.line, format!("link {} -> {}", link.from, link.to), reason)),
        }
    }
    if errors.is_empty() {
        check_credits(&plan, &mut errors);
    }
    if errors.is_empty() { Ok(plan) } else { Err(errors) }
}

/// `Ok(false)` if the link belongs to another host.
fn check_link(
    document: &SiteDocument,
    plan: &Plan,
    host: &Name,
    from: &PortName,
    to: &PortName,
) -> Result<bool, String> {
    let host_of = |name: &Name| document.components.iter().find(|entry| entry.name == *name).map(|entry| &entry.host);
    let hosts = (host_of(&from.component), host_of(&to.component));
    let missing = |name: &Name| format!("there is no component {name}");
    let (from_host, to_host) =
        (hosts.0.ok_or_else(|| missing(&from.component))?, hosts.1.ok_or_else(|| missing(&to.component))?);
    if from_host != to_host {
        return Err(format!(
            "{} runs on {from_host} and {} on {to_host}: links between hosts are not supported",
            from.component, to.component
        ));
    }
    if from_host != host {
        return Ok(false);
    }
    // A component with an error of its own has been reported already.
    let (Some(source), Some(target)) = (plan.components.get(&from.component), plan.components.get(&to.component))
    else {
        return Ok(false);
    };
    let output = find(&source.unit.spec().outputs, &from.port, "output", source.unit.spec().name)?;
    let input = find(&target.unit.spec().inputs, &to.port, "input", target.unit.spec().name)?;
    if output.signal != input.signal {
        return Err(format!("the output gives {} but the input takes {}", output.signal, input.signal));
    }
    Ok(true)
}

fn find<'a>(ports: &'a [PortSpec], name: &str, direction: &str, unit: &str) -> Result<&'a PortSpec, String> {
    ports.iter().find(|port| port.name == name).ok_or_else(|| {
        let known: Vec<_> = ports.iter().map(|port| port.name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("unit {unit:?} has no {direction} {name:?}; known are: {known}")
    })
}

/// `K_j >= sum of W_i * m_ij` for every credited input j: what all sources may have admitted fits, so a credited send
/// cannot fail. `m_ij` counts the ways along which copies of one signal of source i reach input j; a loop of credited
/// inputs has no such bound and is refused.
fn check_credits(plan: &Plan, errors: &mut Vec<SiteError>) {
    let spec_of = |name: &Name| plan.components.get(name).map(|planned| planned.unit.spec());
    let mut demand: BTreeMap<&PortName, u64> = BTreeMap::new();
    for (name, planned) in &plan.components {
        for output in planned.unit.spec().outputs.iter().filter(|output| output.window > 0) {
            // Walk the copies of one signal outwards, one link deep at a time.
            let mut reached: BTreeMap<&PortName, u64> = BTreeMap::new();
            for (from, to) in &plan.links {
                if from.component == *name && *from.port == *output.name {
                    *reached.entry(to).or_default() += 1;
                }
            }
            let mut depth = 0;
            while !reached.is_empty() {
                depth += 1;
                if depth > plan.components.len() {
                    errors.push(SiteError::new(
                        None,
                        format!("component {name}: output {}", output.name),
                        "its credited signals run in a loop; let one link of the loop end at an input that is not credited",
                    ));
                    return;
                }
                let mut next: BTreeMap<&PortName, u64> = BTreeMap::new();
                for (port, ways) in reached {
                    let credited = spec_of(&port.component)
                        .and_then(|spec| spec.inputs.iter().find(|input| *input.name == *port.port))
                        .is_some_and(|input| matches!(input.policy, Some(Policy::Credited { .. })));
                    if !credited {
                        continue;
                    }
                    let total = demand.entry(port).or_default();
                    *total = total.saturating_add(ways.saturating_mul(u64::from(output.window)));
                    for (from, to) in plan.links.iter().filter(|(from, _)| from.component == port.component) {
                        debug_assert_eq!(from.component, port.component);
                        let entry = next.entry(to).or_default();
                        *entry = entry.saturating_add(ways);
                    }
                }
                reached = next;
            }
        }
    }
    for (port, needed) in demand {
        let capacity = spec_of(&port.component)
            .and_then(|spec| spec.inputs.iter().find(|input| *input.name == *port.port))
            .and_then(|input| input.policy)
            .map_or(0, Policy::capacity);
        if needed > capacity as u64 {
            errors.push(SiteError::new(
                None,
                format!("input {port}"),
                format!("its queue holds {capacity} but its sources may send {needed} at once; lower their windows or link fewer"),
            ));
        }
    }
}

/// What has to change to get from `old` to `new`.
pub(super) fn diff(old: &Plan, new: &Plan) -> Changes {
    let mut changes = Changes::default();
    for (name, planned) in &new.components {
        match old.components.get(name) {
            None => changes.added.push(name.clone()),
            Some(before) if !Arc::ptr_eq(&before.unit, &planned.unit) || before.params != planned.params => {
                changes.replaced.push(name.clone());
            }
            Some(before) if before.enabled != planned.enabled => changes.switched.push(name.clone()),
            Some(_) => {}
        }
    }
    changes.removed = old.components.keys().filter(|name| !new.components.contains_key(*name)).cloned().collect();
    changes.linked = new.links.difference(&old.links).cloned().collect();
    changes.unlinked = old.links.difference(&new.links).cloned().collect();
    changes
}
