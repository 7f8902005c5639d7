//! The component: takes in what doors say, asks for updates, says what waits, looks for pictures.
//!
//! A Telegram that cannot be reached is no fault of the component: what happens meanwhile must be taken in and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Fault, Input, Kind, ParamError, ParamKind, ParamSpec, Params, Policy, PortSpec, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::Level;
use godvision_core::signal::door::{AlarmKind, Decision, DoorAlarm, DoorEvent, DoorState, Verdict};
use godvision_core::{MonoTime, Name, Secret, WallTime};
use tokio::task::JoinSet;

use super::api::{API_DEFAULT, ApiError, BotApi};
use super::bot::Bot;
use super::{Telegram, TelegramStatus, locked, words};
use crate::store::{Notice, SightingQuery, Store, StoreError, Waiting};

/// What doors say and was not kept yet. Nothing of it is dropped.
const WAITING_MAX: usize = 256;
/// Buttons and commands that are dealt with at once.
const UPDATES_AT_ONCE: usize = 16;
/// Between two questions to a Bot API that does not answer: from, and at most.
const AGAIN_FROM: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// A wrong token is not tried out again and again.
const AGAIN_REFUSED: Duration = Duration::from_secs(60);
/// How often the outbox is looked at though nobody said that something was put there.
const LOOKED_EVERY: Duration = Duration::from_secs(30);
/// How often pictures are looked for, and how far from the moment.
const PICTURES_EVERY: Duration = Duration::from_secs(1);
const PICTURE_WITHIN_S: i64 = 10;
/// Most sightings among which a picture is looked for.
const PICTURES_MAX: usize = 5;

/// Makes the component `telegram`.
pub struct TelegramUnit {
    spec: UnitSpec,
    hub: Telegram,
    store: Option<Store>,
}

impl TelegramUnit {
    /// Bots that `hub` knows and whose outbox is in `store`; without one they can be checked, not run.
    pub fn new(hub: Telegram, store: Option<Store>) -> Self {
        let lossless = Policy::Lossless { capacity: WAITING_MAX };
        let spec = UnitSpec {
            name: "telegram",
            about: "tells alarms to people who are bound to it by Telegram, and lets rules open doors by its buttons",
            kind: Kind::Sink,
            inputs: vec![
                PortSpec::input::<DoorAlarm>("alarms", lossless),
                PortSpec::input::<Decision>("decisions", lossless),
                PortSpec::input::<DoorEvent>("events", lossless),
            ],
            outputs: vec![],
            params: vec![
                ParamSpec::required("token", ParamKind::Secret, "the bot's token, as BotFather gives it"),
                ParamSpec::with_default(
                    "api",
                    ParamKind::Text,
                    API_DEFAULT,
                    "the Bot API: Telegram's own, or a server of yours",
                ),
            ],
        };
        Self { spec, hub, store }
    }
}

impl Unit for TelegramUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, name: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let token = params.secret("token").ok_or_else(|| params.error("token", "the bot's token is missing"))?;
        let api = params.text("api").unwrap_or(API_DEFAULT);
        if let Err(error @ ApiError::BadBase { .. }) = BotApi::new(api, right_form()) {
            return Err(params.error("api", error.to_string()));
        }
        Ok(Box::new(Speaking {
            name: name.clone(),
            token: token.clone(),
            api: api.to_owned(),
            hub: self.hub.clone(),
            store: self.store.clone(),
        }))
    }
}

/// A token of the right form, for a look at the address alone: what a secret holds is not known when a document is checked.
fn right_form() -> Secret {
    format!("1:{}", "x".repeat(35)).into()
}

struct Speaking {
    name: Name,
    token: Secret,
    api: String,
    hub: Telegram,
    store: Option<Store>,
}

impl Component for Speaking {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let Some(store) = self.store.clone() else {
                return Err(Fault::Fatal("there is no store to keep messages in".into()));
            };
            let api = BotApi::new(&self.api, self.token.clone());
            let api = api.map_err(|error| {
                locked(&self.hub.0.status).problem = Some(error.to_string());
                Fault::Fatal(error.to_string())
            })?;
            let bot = Arc::new(Bot {
                hub: self.hub.clone(),
                api: Arc::new(api),
                store,
                clock: Arc::clone(cx.clock()),
                name: self.name.clone(),
                buttons: Mutex::default(),
                tries: Mutex::default(),
                hearing: Mutex::default(),
            });
            let intake = Intake {
                alarms: cx.input("alarms")?,
                decisions: cx.input("decisions")?,
                events: cx.input("events")?,
                states: HashMap::new(),
            };
            let _running = Shown::new(&self.hub, &bot.api);
            let mut stopping = cx.stopping();
            let others = async {
                tokio::select! {
                    () = poll(&bot) => {}
                    () = speak(&bot) => {}
                    () = picture(&bot) => {}
                }
            };
            // What is taken in is kept even while this stops; what is kept is said after the next start.
            let work = async {
                intake.take(&bot).await;
                stopping.wait().await;
            };
            tokio::select! {
                () = others => {}
                () = work => {}
            }
            Ok(())
        })
    }
}

/// The hub knows the bot as long as it runs.
struct Shown(Telegram);

impl Shown {
    fn new(hub: &Telegram, api: &Arc<BotApi>) -> Self {
        *locked(&hub.0.api) = Some(Arc::clone(api));
        *locked(&hub.0.status) = TelegramStatus { is_running: true, ..TelegramStatus::default() };
        Self(hub.clone())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        *locked(&self.0.0.api) = None;
        *locked(&self.0.0.status) = TelegramStatus::default();
    }
}

/// What doors say.
struct Intake {
    alarms: Input<DoorAlarm>,
    decisions: Input<Decision>,
    events: Input<DoorEvent>,
    states: HashMap<Name, DoorState>,
}

impl Intake {
    /// Until all inputs have ended.
    async fn take(mut self, bot: &Bot) {
        let mut more = [true; 3];
        while more.contains(&true) {
            tokio::select! {
                alarm = self.alarms.recv(), if more[0] => match alarm {
                    Some(alarm) => {
                        // Who is made to open has somebody beside them who may see their telephone.
                        let but = alarm.person.clone().filter(|_| alarm.kind == AlarmKind::Duress);
                        let text = words::alarm(&alarm);
                        keep(bot, Notice::Alarms, &text, Some(&alarm.door), alarm.at.wall, but.as_ref()).await;
                    }
                    None => more[0] = false,
                },
                decision = self.decisions.recv(), if more[1] => match decision {
                    Some(decision) => {
                        let notice = match decision.verdict {
                            Verdict::Admit => Notice::Openings,
                            Verdict::Refuse if decision.reason.is_waiting() => continue,
                            Verdict::Refuse => Notice::Refusals,
                        };
                        let (text, at) = (words::decision(&decision), decision.presented.wall);
                        keep(bot, notice, &text, decision.door.as_ref(), at, None).await;
                    }
                    None => more[1] = false,
                },
                event = self.events.recv(), if more[2] => match event {
                    Some(event) => {
                        let before = self.states.insert(event.door.clone(), event.state);
                        if let Some(text) = words::state(&event, before) {
                            keep(bot, Notice::Alarms, &text, Some(&event.door), event.at.wall, None).await;
                        }
                    }
                    None => more[2] = false,
                },
            }
        }
    }
}

async fn keep(bot: &Bot, notice: Notice, text: &str, door: Option<&Name>, at: WallTime, but: Option<&Name>) {
    match bot.store.telegram().say(notice, text, door, at, but).await {
        Ok(0) => {}
        Ok(_) => bot.hub.0.wake.notify_one(),
        Err(error) => tracing::error!(%error, "what is to be said by Telegram cannot be kept"),
    }
}

/// Longer each time.
struct Again(Duration);

impl Again {
    fn after(&mut self, error: &ApiError) -> Duration {
        if *error == ApiError::Unauthorized {
            return AGAIN_REFUSED;
        }
        if let ApiError::TooMany { after } = error {
            return *after;
        }
        let wait = self.0;
        self.0 = (self.0 * 2).min(AGAIN_MAX);
        wait
    }
}

/// Asks who the bot is, then for updates, for ever.
async fn poll(bot: &Arc<Bot>) {
    let (mut again, mut is_known, mut has_failed) = (Again(AGAIN_FROM), false, false);
    let mut working = JoinSet::new();
    loop {
        let asked = async {
            if !is_known {
                let me = bot.api.me().await?;
                locked(&bot.hub.0.status).account = me.username;
            }
            let offset = bot.store.telegram().offset().await.map_err(kept_not)?;
            bot.api.updates(offset).await
        };
        let updates = match asked.await {
            Ok(updates) => updates,
            Err(error) => {
                bot.hub.failed(&error, &*bot.clock);
                if !std::mem::replace(&mut has_failed, true) {
                    let text = format!("no messages by Telegram: {error}");
                    bot.note(Level::Error, "telegram.failed", text, &[]).await;
                }
                tokio::time::sleep(again.after(&error)).await;
                continue;
            }
        };
        (again, is_known) = (Again(AGAIN_FROM), true);
        locked(&bot.hub.0.status).problem = None;
        if std::mem::take(&mut has_failed) {
            bot.note(Level::Info, "telegram.back", "Telegram answers again".to_owned(), &[]).await;
        }
        for update in updates {
            let next = update.id.saturating_add(1);
            while working.len() >= UPDATES_AT_ONCE {
                working.join_next().await;
            }
            let taking = Arc::clone(bot);
            working.spawn(async move { taking.take(update).await });
            // An update that comes twice, after a crash in between, finds its button or its code used up or forgotten.
            if let Err(error) = bot.store.telegram().set_offset(next).await {
                tracing::error!(%error, "which updates were dealt with cannot be kept");
            }
        }
        while working.try_join_next().is_some() {}
    }
}

fn kept_not(error: StoreError) -> ApiError {
    tracing::error!(%error, "which updates were dealt with cannot be read");
    ApiError::Unreachable { host: "the store".to_owned(), detail: "it failed".to_owned() }
}

/// Says what waits, for ever: one chat after another, each when it may hear again.
async fn speak(bot: &Bot) {
    let (outbox, mut again) = (bot.store.telegram(), Again(AGAIN_FROM));
    loop {
        let _ = outbox.drop_old().await;
        let chats = outbox.chats_waiting().await.unwrap_or_default();
        let now = bot.clock.mono();
        let ready = |chat: &i64| locked(&bot.hub.0.pace).ready_at(*chat);
        let Some(chat) = chats.into_iter().min_by_key(ready) else {
            let _ = tokio::time::timeout(LOOKED_EVERY, bot.hub.0.wake.notified()).await;
            continue;
        };
        let at: MonoTime = ready(&chat);
        if at > now {
            let _ = tokio::time::timeout(at.since(now).min(Duration::from_secs(1)), bot.hub.0.wake.notified()).await;
            continue;
        }
        let waiting = outbox.waiting(chat).await.unwrap_or_default();
        let Some(last) = waiting.last() else { continue };
        let text = words::together(&waiting);
        bot.hub.turn(chat, &*bot.clock).await;
        match bot.api.say(chat, &text, &[]).await {
            Ok(message) => {
                again = Again(AGAIN_FROM);
                let is_pictured = last.door.is_some();
                if let Err(error) = outbox.said(last, message, &text, is_pictured).await {
                    // It would be said again: better twice than a storm.
                    tracing::error!(%error, "what was said by Telegram cannot be noted");
                    tokio::time::sleep(AGAIN_REFUSED).await;
                }
            }
            Err(error) => {
                bot.hub.failed(&error, &*bot.clock);
                match &error {
                    ApiError::Blocked { .. } => closed(bot, chat).await,
                    ApiError::Refused { .. } => {
                        let text = format!("a message by Telegram is given up: {error}");
                        bot.note(Level::Warning, "telegram.dropped", text, &[]).await;
                        if let Err(error) = outbox.said(last, 0, "", false).await {
                            tracing::error!(%error, "what was to be said by Telegram cannot be forgotten");
                        }
                    }
                    ApiError::TooMany { .. } => {}
                    error => tokio::time::sleep(again.after(error)).await,
                }
            }
        }
    }
}

/// Whoever blocked the bot has ended it.
async fn closed(bot: &Bot, chat: i64) {
    match bot.store.telegram().of_chat(chat).await {
        Ok(Some(binding)) => bot.unbind(&binding.person, "because the chat is closed to the bot").await,
        _ => {
            for waiting in bot.store.telegram().waiting(chat).await.unwrap_or_default() {
                let _ = bot.store.telegram().drop_one(waiting.id).await;
            }
        }
    }
}

/// Puts pictures into what was said, for ever.
async fn picture(bot: &Bot) {
    loop {
        tokio::time::sleep(PICTURES_EVERY).await;
        for said in bot.store.telegram().without_picture().await.unwrap_or_default() {
            let is_over = bot.clock.wall().as_unix_seconds() > said.at.as_unix_seconds() + PICTURE_WITHIN_S;
            let done = match picture_of(bot, &said).await {
                Some(jpeg) => {
                    bot.hub.turn(said.chat, &*bot.clock).await;
                    let message = said.message.unwrap_or_default();
                    let put = bot.api.put_picture(said.chat, message, &said.text, &jpeg).await;
                    put.err()
                        .inspect(|error| bot.hub.failed(error, &*bot.clock))
                        .is_none_or(|error| !error.is_temporary())
                }
                None => false,
            };
            if done || is_over {
                let _ = bot.store.telegram().drop_one(said.id).await;
            }
        }
    }
}

/// The newest picture that a camera at the door took around that moment.
async fn picture_of(bot: &Bot, said: &Waiting) -> Option<bytes::Bytes> {
    let door = said.door.as_ref()?;
    let cameras = bot.hub.system()?.doors().into_iter().find(|it| it.id == *door)?.cameras;
    let around = |seconds: i64| Some(WallTime::from_unix_seconds(said.at.as_unix_seconds() + seconds));
    for camera in cameras {
        let query = SightingQuery {
            camera: Some(camera),
            from: around(-PICTURE_WITHIN_S),
            to: around(PICTURE_WITHIN_S),
            limit: PICTURES_MAX,
            ..SightingQuery::default()
        };
        for sighting in bot.store.sightings().list(&query).await.unwrap_or_default() {
            if let Ok(Some(jpeg)) = bot.store.sightings().crop(sighting.id).await {
                return Some(jpeg);
            }
        }
    }
    None
}
