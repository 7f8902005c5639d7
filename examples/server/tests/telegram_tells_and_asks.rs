//! The bot against a fake of the Bot API, on a virtual clock that runs fast: who is bound, which buttons open, what is said
//! and how fast, and what becomes of it when Telegram says no.

mod common;

use std::sync::{Arc, Weak};
use std::time::Duration;

use common::bot_api::{Done, FakeBotApi, TOKEN, Wrong};
use common::site::{Site, name};
use common::{Folder, NOW};
use godvision_access::pass::PassVerifier;
use godvision_core::bus::{Host, HostOptions, Registry};
use godvision_core::journal::{Journal, Query};
use godvision_core::site::SiteDocument;
use godvision_core::{Clock, ManualClock, Secret, WallTime};
use godvision_server::notify::telegram::{Telegram, TelegramUnit};
use godvision_server::store::{CODE_TRIES, Notice, Notices, Store, WAITING_EACH_MAX};
use godvision_server::web::system::System;

const RULES: &str = r#"
version = 1
[[rule]]
name = "button"
permit = ["ada"]
doors = ["house/front"]
by = ["remote"]
[[rule]]
name = "usual"
permit = ["ada", "bob"]
doors = ["any"]
"#;

struct Bench {
    store: Store,
    fake: FakeBotApi,
    hub: Telegram,
    site: Arc<Site>,
    clock: ManualClock,
    host: Host,
    _folder: Folder,
}

impl Bench {
    /// Everything but a running bot.
    async fn new() -> Self {
        let (folder, clock) = (Folder::new(), common::clock());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let store = Store::open(folder.path(), None, Arc::clone(&shared)).await.unwrap();
        store.access().load(PassVerifier::new("home".parse().unwrap())).await.unwrap();
        for person in ["ada", "bob"] {
            common::known(&store, person).await;
        }
        let base = store.access().rules().version.id;
        store.access().set_rules(RULES, base, "ada", common::line()).await.unwrap();
        let (fake, site) = (FakeBotApi::start(Arc::clone(&shared)).await, Arc::new(Site::small(Arc::clone(&shared))));
        let hub = Telegram::default();
        let system: Weak<Site> = Arc::downgrade(&site);
        hub.attach(system);
        let options = HostOptions {
            clock: shared,
            journal: store.journal().clone(),
            secrets: Arc::new(|_: &str| Some(Secret::from(TOKEN))),
            ..HostOptions::default()
        };
        let host = Host::new(options, Registry::new().with(TelegramUnit::new(hub.clone(), Some(store.clone()))));
        let ticking = clock.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                ticking.advance(Duration::from_millis(50));
            }
        });
        Self { store, fake, hub, site, clock, host, _folder: folder }
    }

    async fn run(&self, is_on: bool) {
        let switch = if is_on { "" } else { "enabled = false\n" };
        let document = format!(
            "version = 1\nsite = \"home\"\n[[component]]\nname = \"telegram\"\nunit = \"telegram\"\n{switch}\
             params = {{ token = {{ secret = \"telegram\" }}, api = \"{}\" }}\n",
            self.fake.url()
        );
        self.host.apply(&SiteDocument::parse(&document).unwrap()).await.unwrap();
    }

    async fn running() -> Self {
        let bench = Self::new().await;
        bench.run(true).await;
        bench
    }

    async fn code(&self, person: &str) -> String {
        let notices = Notices([Notice::Alarms].into());
        let made = self.store.telegram().make_code(&name(person), &notices).await.unwrap();
        made.code.expose().to_owned()
    }

    async fn said(&self, count: usize, chat: i64, text: &str) -> Done {
        let is_it = |done: &Done| done.chat == chat && done.method == "sendMessage" && done.text.contains(text);
        self.fake.nth(count, text, is_it).await
    }

    async fn answers(&self, count: usize, text: &str) -> Done {
        let is_it = |done: &Done| done.method == "answerCallbackQuery" && done.text.contains(text);
        self.fake.nth(count, text, is_it).await
    }

    /// The newest button that `chat` has, with its message.
    async fn button(&self, chat: i64, count: usize) -> (i64, String) {
        self.fake.write(chat, "/doors");
        let said = self.said(count, chat, "Which door?").await;
        assert_eq!(said.buttons.len(), 1, "{said:?}");
        (said.message, said.buttons[0].1.clone())
    }

    fn opened(&self) -> usize {
        self.site.remotely.lock().unwrap().len()
    }

    async fn journalled(&self, code: &str) -> usize {
        let lines = self.store.journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
        lines.iter().filter(|line| line.code == code).count()
    }
}

#[tokio::test]
async fn a_code_binds_one_chat_once() {
    let bench = Bench::running().await;
    bench.fake.puzzle();
    let code = bench.code("ada").await;
    bench.fake.write_as(-5, "group", 100, &format!("/start {code}"));
    bench.fake.write(100, "hello");
    bench.said(1, 100, "knows you not").await;
    bench.fake.write(100, &format!("/start {}", code.to_lowercase()));
    bench.said(1, 100, "This chat is now ada's").await;
    bench.fake.write(200, &format!("/start {code}"));
    bench.said(1, 200, "not right").await;
    assert!(bench.fake.done().iter().all(|done| done.chat != -5), "nothing is said in a group");
    let bound = bench.store.telegram().bindings().await.unwrap();
    assert_eq!((bound.len(), bound[0].chat, &*bound[0].account), (1, 100, "@user100"));

    // A code that several chats guess at dies, and so does one that is old.
    let code = bench.code("bob").await;
    let wrong = format!("{}{}", &code[..2], "0".repeat(8));
    for chat in 0..i64::from(CODE_TRIES) {
        bench.fake.write(300 + chat, &format!("/start {wrong}"));
        bench.said(1, 300 + chat, "not right").await;
    }
    bench.fake.write(400, &format!("/start {code}"));
    bench.said(1, 400, "not right").await;
    let code = bench.code("bob").await;
    bench.clock.advance(Duration::from_secs(601));
    bench.fake.write(401, &format!("/start {code}"));
    bench.said(1, 401, "not right").await;
    // A chat that guesses is heard five times; then even the right code is not answered.
    let code = bench.code("bob").await;
    for number in 0..5 {
        bench.fake.write(500, &format!("/start 000000000{number}"));
        bench.said(number + 1, 500, "not right").await;
    }
    bench.fake.write(500, &format!("/start {code}"));
    bench.fake.write(501, &format!("/start {code}"));
    bench.said(1, 501, "This chat is now bob's").await;
    // Strangers who chatter are answered five times and never keep others waiting.
    for number in 0..50 {
        bench.fake.write(600, &format!("hello {number}"));
    }
    bench.fake.write(100, "hello");
    bench.said(1, 100, "Write /doors").await;
    assert!(bench.fake.done().iter().filter(|done| done.chat == 600).count() <= 5);
    assert_eq!(bench.journalled("telegram.bound").await, 2);
    assert_eq!(bench.fake.refused(), [""; 0]);
    // Whoever is removed is told nothing, and their chat asks for nothing.
    bench.store.access().remove_person(&name("bob"), common::line()).await.unwrap();
    bench.fake.write(501, "/doors");
    bench.said(1, 501, "knows you not").await;
    bench.fake.write(100, "/stop");
    bench.said(1, 100, "nobody's any more").await;
    assert!(bench.store.telegram().bindings().await.unwrap().is_empty());
}

#[tokio::test]
async fn only_the_right_button_opens_once_in_time_for_its_chat() {
    let bench = Bench::running().await;
    common::bound(&bench.store, "ada", 100).await;
    common::bound(&bench.store, "bob", 200).await;
    bench.fake.write(200, "/doors");
    bench.said(1, 200, "No rule lets you").await;
    let (message, data) = bench.button(100, 1).await;
    assert!(data.len() <= 64 && !data.contains("ada") && !data.contains("front"));

    // Others press it, from their chats and as if from hers; and what is not quite it is pressed.
    for number in 0..40 {
        bench.fake.press(200, 200, message, &data);
        bench.fake.press(900 + number, 900 + number, message, &data);
        bench.fake.press(200, 100, message, &data);
        let mut tampered = data.clone().into_bytes();
        let at = usize::try_from(number).unwrap() % tampered.len();
        tampered[at] = if tampered[at] == b'0' { b'1' } else { b'0' };
        bench.fake.press(100, 100, message, &String::from_utf8(tampered).unwrap());
    }
    for odd in ["", "front", "house/front", "*", "0", &"f".repeat(32), &"é".repeat(32)] {
        bench.fake.press(100, 100, message, odd);
    }
    bench.answers(120, "not yours").await;
    bench.answers(47, "used already").await;
    assert_eq!(bench.opened(), 0);

    // She herself, in the same minute.
    let (message, data) = bench.button(100, 2).await;
    bench.fake.press(100, 100, message, &data);
    bench.answers(1, "✓ house/front: opened").await;
    let is_it = |done: &Done| done.method == "editMessageText" && done.message == message;
    let edited = bench.fake.nth(1, "the message says it", is_it).await;
    assert!(edited.text.contains("opened") && edited.buttons.is_empty());
    for _ in 0..40 {
        bench.fake.press(100, 100, message, &data);
    }
    bench.answers(87, "used already").await;
    assert_eq!(*bench.site.remotely.lock().unwrap(), [(name("house/front"), name("ada"))]);

    // Too late, and after the chat became somebody else's.
    for count in 3..13 {
        let (message, data) = bench.button(100, count).await;
        bench.clock.advance(Duration::from_secs(60));
        bench.fake.press(100, 100, message, &data);
        bench.answers(count - 2, "too old").await;
    }
    let (message, data) = bench.button(100, 13).await;
    bench.store.telegram().unbind(&name("bob")).await.unwrap();
    common::bound(&bench.store, "bob", 100).await;
    bench.fake.press(100, 100, message, &data);
    bench.answers(121, "not yours").await;
    assert_eq!(bench.opened(), 1);
    assert_eq!(bench.journalled("telegram.button_refused").await, 120 + 47 + 40 + 10 + 1);
}

#[tokio::test]
async fn a_flood_is_said_whole_and_no_faster_than_allowed() {
    let bench = Bench::new().await;
    for (chat, person) in [(100, "ada"), (200, "bob")] {
        common::bound(&bench.store, person, chat).await;
    }
    let telegram = bench.store.telegram();
    for number in 0..1000 {
        telegram.say(Notice::Alarms, &format!("alarm {number}"), None, bench.clock.wall(), None).await.unwrap();
        telegram.say(Notice::Openings, "nobody wants to hear it", None, bench.clock.wall(), None).await.unwrap();
    }
    assert_eq!(telegram.waiting(100).await.unwrap().len(), usize::try_from(WAITING_EACH_MAX).unwrap());
    bench.fake.wrong("sendMessage", Wrong::TooMany(7));
    let begun = bench.clock.mono();
    bench.run(true).await;
    for chat in [100, 200] {
        let said = bench.said(1, chat, "1000 messages at once").await;
        assert!(said.text.contains("alarm 0\n") && said.text.contains("980 more"), "{}", said.text);
        assert!(said.at.since(begun) >= Duration::from_secs(7), "{:?}", said.at.since(begun));
    }
    // From then on one after another, each at its pace.
    for number in 0..5 {
        telegram.say(Notice::Alarms, &format!("later {number}"), None, bench.clock.wall(), None).await.unwrap();
        bench.hub.wake();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    bench.said(1, 100, "later 4").await;
    let said: Vec<Done> = bench.fake.done().into_iter().filter(|done| done.chat == 100).collect();
    assert!(said.windows(2).all(|pair| pair[1].at.since(pair[0].at) >= Duration::from_millis(900)), "{said:#?}");
    assert_eq!(bench.fake.refused(), [""; 0], "Telegram never had to say that it was too fast");
    bench.said(1, 200, "later 4").await;
    assert!(telegram.chats_waiting().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_not_said_is_said_after_a_restart_and_nothing_is_asked_twice() {
    let bench = Bench::running().await;
    common::bound(&bench.store, "ada", 100).await;
    bench.fake.write(100, "hello");
    bench.said(1, 100, "Write /doors").await;
    bench.run(false).await;
    assert!(!bench.hub.status().is_running);
    let old = WallTime::from_unix_seconds(NOW - 25 * 3600);
    bench.store.telegram().say(Notice::Alarms, "yesterday's", None, old, None).await.unwrap();
    bench.store.telegram().say(Notice::Alarms, "forced", None, bench.clock.wall(), None).await.unwrap();
    let before = bench.fake.offsets().len();
    bench.run(true).await;
    bench.said(1, 100, "forced").await;
    while bench.fake.offsets().len() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(bench.fake.offsets()[before] > 1000, "what was dealt with is not asked for again");
    assert!(bench.fake.done().iter().all(|done| !done.text.contains("yesterday")), "and what is no news is not said");
    assert_eq!(bench.hub.status().account.as_deref(), Some("gate_bot"));
}

#[tokio::test]
async fn whoever_blocks_the_bot_is_unbound() {
    let bench = Bench::running().await;
    common::bound(&bench.store, "ada", 100).await;
    bench.fake.wrong("sendMessage", Wrong::Blocked);
    bench.store.telegram().say(Notice::Alarms, "forced", None, bench.clock.wall(), None).await.unwrap();
    bench.hub.wake();
    while !bench.store.telegram().bindings().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(bench.store.telegram().chats_waiting().await.unwrap().is_empty());
    while bench.journalled("telegram.unbound").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.hub.status().problem, None, "nothing is wrong with the bot");
}

#[tokio::test]
async fn the_picture_of_the_moment_is_put_into_the_message() {
    let bench = Bench::running().await;
    common::bound(&bench.store, "ada", 100).await;
    let front = name("house/front");
    let at = bench.clock.wall();
    bench.store.telegram().say(Notice::Alarms, "forced", Some(&front), at, None).await.unwrap();
    bench.hub.wake();
    bench.said(1, 100, "forced").await;
    let second = at.as_unix_seconds() - NOW;
    bench.store.sightings().keep(common::sighting("yard/camera", "stranger", None, second + 2)).await.unwrap();
    let pictured = bench.fake.nth(1, "the picture", |done| done.method == "editMessageMedia").await;
    assert_eq!((pictured.chat, &*pictured.text), (100, "forced"));
    assert_eq!(pictured.picture.unwrap(), &b"\xff\xd8 a picture \xff\xd9"[..]);
    // Where there is none, nothing is waited for longer than a moment.
    bench.store.telegram().say(Notice::Alarms, "held", Some(&name("yard/gate")), at, None).await.unwrap();
    bench.hub.wake();
    bench.said(1, 100, "held").await;
    while !bench.store.telegram().without_picture().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_the_token() {
    let log = common::log::Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let bench = Bench::new().await;
    common::bound(&bench.store, "ada", 100).await;
    let mut told = Vec::new();
    let test = async || bench.hub.try_out(100, "a test", &bench.clock).await.map_err(|error| error.to_string());
    told.push(test().await.unwrap_err());
    assert!(told[0].contains("not set up"), "{told:?}");
    for wrong in [Wrong::Cut, Wrong::Page] {
        bench.fake.wrong("getUpdates", wrong);
    }
    bench.run(true).await;
    while bench.journalled("telegram.back").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        told.extend(bench.hub.status().problem);
    }
    assert_eq!(test().await, Ok(()));
    for (wrong, words) in [
        (Wrong::Cut, "cannot be reached"),
        (Wrong::Page, "fault of its own"),
        (Wrong::Inside, "fault of its own"),
        (Wrong::Unauthorized, "does not know this token"),
        (Wrong::Blocked, "blocked by the user"),
        (Wrong::TooMany(3), "no more messages for 3 s"),
    ] {
        bench.fake.wrong("sendMessage", wrong);
        let said = test().await.unwrap_err();
        assert!(said.contains(words), "{wrong:?}: {said}");
        told.push(said);
    }
    told.push(format!("{:?} {:?}", bench.hub, bench.site.health()));
    let lines = bench.store.journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
    told.push(format!("{lines:?}"));
    told.push(log.text());
    for text in &told {
        assert!(!text.contains(TOKEN) && !text.contains(TOKEN.split(':').next_back().unwrap()), "{text}");
    }
    tracing::error!("heard");
    assert!(log.text().contains("heard"), "what is logged is seen here");
}
