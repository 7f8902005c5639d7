//! What the bot does when somebody writes to it or presses a button.
//!
//! ```text
//! /start CODE -> the code of a person -> this chat is theirs
//! /doors      -> the doors that the rules could ever open to them -> buttons
//! a button    -> whose, where, when -> a remote credential at its door -> the door's own decision -> said in the message
//! ```
//! **Never:** a decision about a door (the door takes it, as of every credential), a word to strangers about the site, a
//! group: who is in one, nobody here knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_access::AccessControl;
use godvision_access::rule::{CredentialKind, Kinds, Question};
use godvision_core::journal::{Entry, Journal, Level};
use godvision_core::signal::door::{DoorState, Key, Verdict};
use godvision_core::{Clock, MonoTime, Name, Secret, WallTime};

use super::Telegram;
use super::api::{Account, ApiError, BotApi, Button, Message, Pressed, Update};
use super::buttons::{Buttons, Offer, Refusal};
use crate::store::{Binding, Store};
use crate::web::system::{System, SystemError};

/// What a chat that is nobody's may say in ten minutes, a code or anything else.
pub const TRIES_MAX: u32 = 5;
/// How long that counts.
const TRIES_FORGOTTEN: Duration = Duration::from_secs(600);
/// Most chats that are counted; then all of them begin anew, and each code still counts the tries at it.
const CHATS_COUNTED_MAX: usize = 1000;
/// Messages of one chat that are dealt with at once; more are not heard, so that nobody keeps others' buttons waiting.
const AT_ONCE_EACH: u32 = 3;
/// How far ahead the rules are asked whether a door could open: a week and a day.
const AHEAD_DAYS: i64 = 8;
/// Most changes of an answer that are looked at in that time: eight a day.
const CHANGES_MAX: usize = 64;
/// Most doors that are offered.
const DOORS_OFFERED_MAX: usize = 40;
/// How long a lock may take to say that it is open.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_EVERY: Duration = Duration::from_millis(100);
/// How often something is said again that Telegram did not take.
const SAID_AGAIN_MAX: u32 = 3;

pub(super) struct Bot {
    pub(super) hub: Telegram,
    pub(super) api: Arc<BotApi>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) name: Name,
    pub(super) buttons: Mutex<Buttons>,
    pub(super) tries: Mutex<HashMap<i64, (u32, MonoTime)>>,
    /// How many messages of each chat are being dealt with.
    pub(super) hearing: Mutex<HashMap<i64, u32>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bot {
    pub(super) async fn take(&self, update: Update) {
        if let Some(message) = update.message {
            self.written(message).await;
        }
        if let Some(pressed) = update.pressed {
            self.pressed(pressed).await;
        }
    }

    pub(super) async fn note(&self, level: Level, code: &str, text: String, fields: &[(&'static str, &str)]) {
        let entry = Entry::new(self.clock.now(), self.name.clone(), level, code, text);
        let entry = fields.iter().fold(entry, |entry, (name, value)| entry.with(name, value));
        if let Err(error) = self.store.journal().append(entry).await {
            tracing::error!(%error, code, "the journal does not say what happened by Telegram");
        }
    }

    async fn written(&self, message: Message) {
        let Message { chat, from, text, .. } = message;
        let (Some(from), Some(text)) = (from, text) else { return };
        if chat.kind != "private" || from.id != chat.id {
            return;
        }
        {
            let mut hearing = locked(&self.hearing);
            let count = hearing.entry(chat.id).or_insert(0);
            if *count >= AT_ONCE_EACH {
                return;
            }
            *count += 1;
        }
        self.heard(chat.id, from, &text).await;
        let mut hearing = locked(&self.hearing);
        match hearing.get_mut(&chat.id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(hearing.remove(&chat.id)),
        }
    }

    /// Whether a chat that is nobody's has said too much to be answered, a code included.
    fn is_too_much(&self, chat: i64) -> bool {
        let now = self.clock.mono();
        let mut tries = locked(&self.tries);
        tries.retain(|_, (_, last)| now.since(*last) < TRIES_FORGOTTEN);
        if tries.len() >= CHATS_COUNTED_MAX {
            tries.clear();
        }
        let (count, last) = tries.entry(chat).or_insert((0, now));
        (*count, *last) = (count.saturating_add(1), now);
        *count > TRIES_MAX
    }

    async fn heard(&self, chat: i64, from: Account, text: &str) {
        let bound = self.bound(chat).await;
        let mut words = text.split_whitespace();
        let command = words.next().unwrap_or_default();
        let is_code = command.starts_with("/start");
        // Not even whether a code was right.
        if (bound.is_none() || is_code) && self.is_too_much(chat) {
            return;
        }
        let account = from.username.map_or(from.first_name, |name| format!("@{name}"));
        match (command.split('@').next().unwrap_or_default(), words.next(), bound) {
            ("/start", Some(code), _) => self.bind(chat, &account, &code.into()).await,
            (_, _, None) => self.say(chat, NOT_BOUND, &[]).await,
            ("/doors", None, Some(binding)) => self.offer(binding).await,
            ("/stop", None, Some(binding)) => self.stop(&binding).await,
            _ => self.say(chat, "Write /doors for the doors that you may open, /stop to end this.", &[]).await,
        }
    }

    async fn bound(&self, chat: i64) -> Option<Binding> {
        match self.store.telegram().of_chat(chat).await {
            Ok(binding) => binding,
            Err(error) => {
                tracing::error!(%error, "whose chat it is cannot be read");
                None
            }
        }
    }

    async fn bind(&self, chat: i64, account: &str, code: &Secret) {
        let account: String = account.chars().filter(|it| !it.is_control()).take(64).collect();
        match self.store.telegram().bind(code, chat, &account).await {
            Ok(Some(person)) => {
                locked(&self.tries).remove(&chat);
                let text = format!("the Telegram account {account} is bound to {person}");
                let fields = [("person", person.as_str()), ("account", &account)];
                self.note(Level::Security, "telegram.bound", text, &fields).await;
                locked(&self.buttons).forget(chat);
                let text = format!("This chat is now {person}'s. Write /doors for the doors that you may open.");
                self.say(chat, &text, &[]).await;
            }
            Ok(None) => {
                let text = format!("a wrong code was sent by the Telegram account {account}");
                self.note(Level::Security, "telegram.wrong_code", text, &[("account", &account)]).await;
                self.say(chat, "This code is not right, or no longer. Ask for a new one.", &[]).await;
            }
            Err(error) => {
                tracing::error!(%error, "a chat cannot be bound");
                self.say(chat, FAULT, &[]).await;
            }
        }
    }

    async fn stop(&self, binding: &Binding) {
        self.unbind(&binding.person, "by themselves").await;
        self.say(binding.chat, "This chat is nobody's any more.", &[]).await;
    }

    /// Ends the binding of `person`; `why` as the journal says it.
    pub(super) async fn unbind(&self, person: &Name, why: &str) {
        match self.store.telegram().unbind(person).await {
            Ok(_) => {
                let text = format!("{person} is no longer reached by Telegram: ended {why}");
                self.note(Level::Security, "telegram.unbound", text, &[("person", person.as_str())]).await;
            }
            Err(error) => tracing::error!(%error, "a chat cannot be unbound"),
        }
    }

    async fn offer(&self, binding: Binding) {
        let Binding { person, chat, .. } = binding;
        let Some(system) = self.hub.system() else { return self.say(chat, FAULT, &[]).await };
        let (mut doors, access, at) = (system.doors(), self.store.access().shared().current(), self.clock.wall());
        let whose = person.clone();
        // Milliseconds a door: not on a thread that others wait for.
        let asked = tokio::task::spawn_blocking(move || {
            doors.retain(|door| could_open(&access, &whose, &door.id, at));
            doors.truncate(DOORS_OFFERED_MAX);
            doors
        });
        let Ok(doors) = asked.await else { return self.say(chat, FAULT, &[]).await };
        if doors.is_empty() {
            return self.say(chat, "No rule lets you open a door from here.", &[]).await;
        }
        let mut buttons: Vec<Button> = Vec::new();
        for door in doors {
            let Ok(nonce) = crate::store::random::<16>() else { return self.say(chat, FAULT, &[]).await };
            let offer = Offer { person: person.clone(), chat, door: door.id };
            buttons.push((door.title, locked(&self.buttons).make(nonce, offer, self.clock.mono())));
        }
        self.say(chat, "Which door? The buttons work for a minute, once.", &buttons).await;
    }

    async fn pressed(&self, pressed: Pressed) {
        let Pressed { id, from, message, data } = pressed;
        let (data, message) = (data.unwrap_or_default(), message.filter(|message| message.chat.id == from.id));
        let binding = self.bound(from.id).await;
        let offer = match (&binding, &message) {
            (Some(binding), Some(_)) => locked(&self.buttons)
                .press(&data, from.id, self.clock.mono())
                // The chat may have become somebody else's since.
                .and_then(|offer| if offer.person == binding.person { Ok(offer) } else { Err(Refusal::Foreign) }),
            _ => Err(Refusal::Foreign),
        };
        let refusal = match offer {
            Ok(offer) => {
                let text = self.open(&offer).await;
                self.answer(&id, &text).await;
                if let Some(message) = message {
                    self.paced(from.id, Saying::Again(message.message_id, &text)).await;
                }
                return;
            }
            Err(refusal) => refusal,
        };
        let (why, text) = match refusal {
            Refusal::Unknown => ("unknown", "This button was used already. Write /doors again."),
            Refusal::Expired => ("expired", "This button is too old. Write /doors again."),
            Refusal::Foreign => ("foreign", "This button is not yours."),
        };
        let who = binding.as_ref().map_or("somebody unknown", |binding| binding.person.as_str());
        let said = format!("{who} pressed a Telegram button that opens nothing: {why}");
        self.note(Level::Security, "telegram.button_refused", said, &[("person", who), ("why", why)]).await;
        self.answer(&id, text).await;
    }

    async fn answer(&self, pressed: &str, text: &str) {
        if let Err(error) = self.api.answer(pressed, text).await {
            self.hub.failed(&error, &*self.clock);
        }
    }

    /// Asks the door, and says what came of it.
    async fn open(&self, offer: &Offer) -> String {
        let Offer { person, door, .. } = offer;
        let Some(system) = self.hub.system() else { return FAULT.to_owned() };
        let decision = match system.open_remotely(door, person).await {
            Ok(decision) => decision,
            Err(SystemError::NotFound { .. }) => return format!("{door}: there is no such door any more"),
            Err(error) => return format!("{door}: {error}"),
        };
        match decision.verdict {
            Verdict::Refuse if decision.reason.is_waiting() => format!("{door}: {}", decision.reason),
            Verdict::Refuse => format!("✕ {door}: refused: {}", decision.reason),
            Verdict::Admit => self.opened(&*system, door).await,
        }
    }

    /// What the lock itself says, once it does.
    async fn opened(&self, system: &dyn System, door: &Name) -> String {
        let looked = async {
            loop {
                let state = system.doors().into_iter().find(|it| it.id == *door).map(|it| it.state);
                match state {
                    Some(DoorState::Unlocked | DoorState::Free) => return format!("✓ {door}: opened"),
                    Some(DoorState::Fault) => return format!("⚠ {door}: admitted, but the relay does not confirm it"),
                    _ => tokio::time::sleep(LOCK_EVERY).await,
                }
            }
        };
        let late = |_| format!("⚠ {door}: admitted, but the lock has not said that it is open");
        tokio::time::timeout(LOCK_PATIENCE, looked).await.unwrap_or_else(late)
    }

    async fn say(&self, chat: i64, text: &str, buttons: &[Button]) {
        self.paced(chat, Saying::New(text, buttons)).await;
    }

    /// Says something when it may be said, and again if it was not taken.
    async fn paced(&self, chat: i64, saying: Saying<'_>) {
        for _ in 0..SAID_AGAIN_MAX {
            self.hub.turn(chat, &*self.clock).await;
            let said = match saying {
                Saying::New(text, buttons) => self.api.say(chat, text, buttons).await.map(drop),
                Saying::Again(message, text) => self.api.rewrite(chat, message, text).await,
            };
            let Err(error) = said else { return };
            self.hub.failed(&error, &*self.clock);
            match error {
                ApiError::TooMany { .. } => {}
                ApiError::Blocked { .. } => {
                    if let Some(binding) = self.bound(chat).await {
                        self.unbind(&binding.person, "because the chat is closed to the bot").await;
                    }
                    return;
                }
                error if error.is_temporary() => tokio::time::sleep(Duration::from_secs(1)).await,
                _ => return,
            }
        }
    }
}

/// What is said: a new message, or one written anew.
#[derive(Clone, Copy)]
enum Saying<'a> {
    New(&'a str, &'a [Button]),
    Again(i64, &'a str),
}

const NOT_BOUND: &str =
    "This bot serves one site and knows you not. Ask its administrator for a code and write /start CODE.";
const FAULT: &str = "Something failed here. Nothing was opened.";

/// Whether the rules could open `door` to `person` by a button, alone or with something else, in the time ahead.
fn could_open(access: &AccessControl, person: &Name, door: &Name, now: WallTime) -> bool {
    if access.directory.who(&Key::Remote { person: person.clone() }).is_err() {
        return false;
    }
    let until = WallTime::from_unix_seconds(now.as_unix_seconds() + AHEAD_DAYS * 24 * 3600);
    let rules = &access.rules;
    // The button opens where it is let in with it, alone or beside something, and not without it.
    let is_needed = |beside: Kinds| {
        let with = |at| Question { person: Some(person), door, presented: beside.with(CredentialKind::Remote), at };
        let without = |at| Question { presented: beside, ..with(at) };
        let mut at = now;
        for _ in 0..CHANGES_MAX {
            let admits = |question: Question<'_>| rules.decide(&question).verdict == Verdict::Admit;
            if admits(with(at)) && !admits(without(at)) {
                return true;
            }
            let changes = [with(at), without(at)].map(|question| rules.next_change(&question, until));
            match changes.into_iter().flatten().map(|(at, _)| at).min() {
                Some(next) => at = next,
                None => return false,
            }
        }
        false
    };
    let others = CredentialKind::ALL.into_iter().filter(|kind| *kind != CredentialKind::Remote).map(Kinds::from);
    std::iter::once(Kinds::NONE).chain(others).any(is_needed)
}
