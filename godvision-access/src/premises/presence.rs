//! Who was last seen where.
//!
//! **Never:** a claim that somebody *is* somewhere: people climb, follow one another, and forget their cards.

use std::collections::BTreeMap;
use std::time::Duration;

use godvision_core::{Name, WallTime};

/// Most persons whose whereabouts are kept; beyond, whoever was seen longest ago is forgotten.
pub(super) const PERSONS_MAX: usize = 200_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Presence {
    at: BTreeMap<Name, (Option<Name>, WallTime)>,
}

impl Presence {
    pub(super) fn set(&mut self, person: Name, area: Option<Name>, since: WallTime) {
        if self.at.len() >= PERSONS_MAX && !self.at.contains_key(&person) {
            let oldest = self.at.iter().min_by_key(|(_, (_, since))| *since).map(|(person, _)| person.clone());
            if let Some(oldest) = oldest {
                self.at.remove(&oldest);
            }
        }
        self.at.insert(person, (area, since));
    }

    pub(super) fn forget(&mut self, person: &Name) {
        self.at.remove(person);
    }

    /// Where `person` was last seen, unless that is longer ago than `forget_after`: `None` if nothing is known,
    /// `Some(None)` outside.
    pub(super) fn of(&self, person: &Name, forget_after: Duration, now: WallTime) -> Option<Option<&Name>> {
        let (area, since) = self.at.get(person)?;
        is_fresh(*since, forget_after, now).then_some(area.as_ref())
    }

    pub(super) fn inside<'a>(
        &'a self,
        area: &'a Name,
        forget_after: Duration,
        now: WallTime,
    ) -> impl Iterator<Item = &'a Name> {
        let here = self.at.iter().filter(move |(_, (at, _))| at.as_ref() == Some(area));
        here.filter(move |(_, (_, since))| is_fresh(*since, forget_after, now)).map(|(person, _)| person)
    }
}

/// A clock that was set back leaves moments in the future: they count, since forgetting would let somebody in twice.
fn is_fresh(since: WallTime, forget_after: Duration, now: WallTime) -> bool {
    let elapsed_micros = i128::from(now.as_unix_micros()) - i128::from(since.as_unix_micros());
    elapsed_micros < i128::try_from(forget_after.as_micros()).unwrap_or(i128::MAX)
}
