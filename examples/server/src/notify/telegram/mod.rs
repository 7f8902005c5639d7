//! Telegram: alarms to those who guard, and a button that asks a door as a reader does. Unit `telegram`.
//!
//! ```text
//! doors --alarms, decisions, events--> telegram --outbox, durable--> the Bot API --> chats of bound persons
//! a chat --/doors, a button--> telegram --a remote credential--> the door: rules, premises, journal, relay --> the chat
//! ```
//! A door opens by a button only where a rule says `by = ["remote"]` of this person and door; its source in the journal is
//! [`SOURCE`]. What is said is kept before it is sent and forgotten when Telegram has it: text at once, the picture of
//! whoever stood there put into the same message when there is one.
//!
//! **Never:** a token in a log, an error or an answer; a door that opens because a message was lost, repeated or made up.

pub mod api;
mod bot;
pub mod buttons;
mod component;
mod http;
pub mod pace;
mod words;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use godvision_core::Clock;

use self::api::{ApiError, BotApi};
pub use self::bot::TRIES_MAX;
pub use self::component::TelegramUnit;
use self::pace::Pace;
use crate::web::system::System;

/// The source of what is presented by a button.
pub const SOURCE: &str = "telegram";

/// How the bot is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelegramStatus {
    /// Whether its component runs.
    pub is_running: bool,
    /// The bot's name, without the `@`, once Telegram has said it.
    pub account: Option<String>,
    /// What is wrong, with what to do.
    pub problem: Option<String>,
}

#[derive(Default)]
struct Inner {
    system: OnceLock<Weak<dyn System>>,
    status: Mutex<TelegramStatus>,
    api: Mutex<Option<Arc<BotApi>>>,
    pace: Mutex<Pace>,
    wake: tokio::sync::Notify,
}

/// What the bot and the pages share. Clones are the same one.
#[derive(Clone, Default)]
pub struct Telegram(Arc<Inner>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Telegram {
    /// The doors it asks; said once.
    pub fn attach(&self, system: Weak<dyn System>) {
        // A second site in one program would be a mistake of the wiring.
        let _ = self.0.system.set(system);
    }

    /// Something was put into the outbox.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    fn system(&self) -> Option<Arc<dyn System>> {
        self.0.system.get().and_then(Weak::upgrade)
    }

    /// How the bot is.
    pub fn status(&self) -> TelegramStatus {
        locked(&self.0.status).clone()
    }

    /// Says something in `chat` now, past everything that waits, and tells what came of it.
    ///
    /// # Errors
    /// What Telegram said; [`ApiError::Unreachable`] if the bot does not run.
    pub async fn try_out(&self, chat: i64, text: &str, clock: &dyn Clock) -> Result<(), ApiError> {
        let api = locked(&self.0.api).clone();
        let stopped = || ApiError::Unreachable {
            host: "the bot".to_owned(),
            detail: self.status().problem.unwrap_or_else(|| "it is not set up".to_owned()),
        };
        let api = api.ok_or_else(stopped)?;
        self.turn(chat, clock).await;
        let said = api.say(chat, text, &[]).await;
        if let Err(error) = &said {
            self.failed(error, clock);
        }
        said.map(drop)
    }

    /// Waits until something may be said in `chat`, and takes the turn.
    async fn turn(&self, chat: i64, clock: &dyn Clock) {
        loop {
            let now = clock.mono();
            let ready = {
                let mut pace = locked(&self.0.pace);
                let ready = pace.ready_at(chat);
                if ready <= now {
                    pace.said(chat, now);
                    return;
                }
                ready
            };
            tokio::time::sleep(ready.since(now).min(Duration::from_secs(1))).await;
        }
    }

    fn failed(&self, error: &ApiError, clock: &dyn Clock) {
        if let ApiError::TooMany { after } = error {
            locked(&self.0.pace).hold(clock.mono(), *after);
        }
        self.told(error);
    }

    /// Notes what is wrong with the bot, where it is the bot with which it is.
    fn told(&self, error: &ApiError) {
        if !matches!(error, ApiError::Blocked { .. } | ApiError::Refused { .. } | ApiError::TooMany { .. }) {
            locked(&self.0.status).problem = Some(error.to_string());
        }
    }
}

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.status(), f)
    }
}
