//! The bot in the site document, and what its buttons present.
//!
//! **Never:** its token on the way back.

use godvision_core::bus::ParamValue;
use godvision_core::signal::door::{Credential, Decision, Key};
use godvision_core::{Name, Secret};

use super::Running;
use crate::notify::telegram::SOURCE;
use crate::notify::telegram::api::{API_DEFAULT, BotApi};
use crate::site::Draft;
use crate::web::system::{SystemError, TelegramSetup};

const UNIT: &str = "telegram";
const TOKEN: &str = "telegram#token";
/// What a bot hears of a door.
const PORTS: [&str; 3] = ["alarms", "decisions", "events"];

fn refused(detail: impl Into<String>) -> SystemError {
    SystemError::Refused { detail: detail.into() }
}

impl Running {
    pub(super) async fn press_button(&self, door: &Name, person: &Name) -> Result<Decision, SystemError> {
        if !self.names_of("door").contains(door) {
            return Err(SystemError::NotFound { what: "door", id: door.to_string() });
        }
        let source = Name::new(SOURCE).map_err(|error| refused(error.to_string()))?;
        let key = Key::Remote { person: person.clone() };
        let credential = Credential { source, key, at: self.shared.clock.now() };
        let decided = self.doors.present(door, credential).await;
        decided.map_err(|error| SystemError::Unavailable { detail: error.to_string() })
    }

    pub(super) fn bot_setup(&self) -> TelegramSetup {
        let document = self.document();
        let entry = document.components.iter().find(|it| it.unit == UNIT);
        TelegramSetup {
            is_there: entry.is_some(),
            api: entry.and_then(|it| it.params.text("api")).filter(|api| *api != API_DEFAULT).map(str::to_owned),
        }
    }

    /// Whoever tells others what doors do hears of `door`.
    pub(super) fn link_bots(&self, draft: &mut Draft, door: &Name) -> anyhow::Result<()> {
        for broker in self.names_of("mqtt") {
            ["alarms", "events"]
                .iter()
                .try_for_each(|port| draft.link(&format!("{door}#{port}"), &format!("{broker}#{port}")))?;
        }
        for bot in self.names_of(UNIT) {
            PORTS.iter().try_for_each(|port| draft.link(&format!("{door}#{port}"), &format!("{bot}#{port}")))?;
        }
        Ok(())
    }

    pub(super) async fn put_bot(&self, token: Option<Secret>, api: Option<String>) -> Result<(), SystemError> {
        let document = self.document();
        let there = document.components.iter().find(|it| it.unit == UNIT);
        let kept = there.and_then(|it| match it.params.get("token") {
            Some(ParamValue::SecretName(name)) => Some(name.clone()),
            _ => None,
        });
        let (name, secret) = match there {
            Some(entry) => (entry.name.clone(), kept.unwrap_or_else(|| TOKEN.to_owned())),
            None => (Name::new(UNIT).map_err(|error| refused(error.to_string()))?, TOKEN.to_owned()),
        };
        let known = match &token {
            Some(token) => Some(token.clone()),
            None => self.secrets.source()(&secret),
        };
        let known = known.ok_or_else(|| refused("token: a new bot needs the token that BotFather gives it"))?;
        BotApi::new(api.as_deref().unwrap_or(API_DEFAULT), known).map_err(|error| {
            let said = error.to_string();
            refused(if said.starts_with("api: ") { said } else { format!("token: {said}") })
        })?;
        let sealed: Vec<(String, Secret)> = token.into_iter().map(|token| (secret.clone(), token)).collect();
        let is_new_token = !sealed.is_empty();
        let doors = self.names_of("door");
        // The document names the token and does not hold it: what is to start anew with another one goes out first.
        if is_new_token && there.is_some() {
            self.edit(|text| {
                let mut draft = Draft::read(text)?;
                draft.enable(&name, false)?;
                Ok(draft.text())
            })
            .await?;
        }
        let edit = |text: &str| {
            let mut draft = Draft::read(text)?;
            if there.is_none() {
                let token = toml_edit::InlineTable::from_iter([("secret", secret.as_str())]);
                draft.add(&name, UNIT, &[("token", token.into())])?;
            }
            match &api {
                Some(api) => draft.set(&name, &[("api", api.as_str().into())])?,
                None => draft.unset(&name, "api")?,
            }
            draft.enable(&name, true)?;
            for door in &doors {
                PORTS.iter().try_for_each(|port| draft.link(&format!("{door}#{port}"), &format!("{name}#{port}")))?;
            }
            Ok(draft.text())
        };
        let done = self.edit_with(&sealed, edit).await;
        if done.is_err() && is_new_token && there.is_some() {
            // With the token it had, which is back in its place.
            self.edit(|text| {
                let mut draft = Draft::read(text)?;
                draft.enable(&name, true)?;
                Ok(draft.text())
            })
            .await?;
        }
        done
    }

    pub(super) async fn remove_bot(&self) -> Result<(), SystemError> {
        let bots = self.names_of(UNIT);
        if bots.is_empty() {
            return Err(SystemError::NotFound { what: "bot", id: UNIT.to_owned() });
        }
        self.edit(|text| {
            let mut draft = Draft::read(text)?;
            bots.iter().try_for_each(|bot| draft.remove(bot))?;
            Ok(draft.text())
        })
        .await?;
        let removed = self.store.secrets().remove(TOKEN).await;
        removed.map_err(|error| SystemError::Unavailable { detail: error.to_string() })
    }
}
