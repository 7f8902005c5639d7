//! A running site and a fake broker: doors are found by Home Assistant, their states kept, alarms said, all of it again after
//! the broker or Home Assistant was away, and nothing that anybody publishes opens a door.

mod common;

use std::path::Path;
use std::time::Duration;

use common::Folder;
use common::broker::FakeBroker;
use godvision_access::pass::PassVerifier;
use godvision_core::journal::{Journal, Query};
use godvision_core::signal::door::DoorState;
use godvision_core::site::SiteDocument;
use godvision_core::{Name, Secret, SystemClock};
use godvision_server::store::Store;
use godvision_server::web::system::PremisesCommand;
use godvision_server::wiring::{Parts, Wiring};
use serde_json::Value;

const PASSWORD: &str = "canary-of-the-broker-8d1e";

async fn start(folder: &Path, broker: &FakeBroker) -> Wiring {
    let document = format!(
        "version = 1\nsite = \"home\"\n[[component]]\nname = \"front\"\nunit = \"door\"\n\
         params = {{ relay = \"simulated://\" }}\n[[component]]\nname = \"mqtt\"\nunit = \"mqtt\"\n\
         params = {{ broker = \"{}\", user = \"gate\", password = {{ secret = \"mqtt\" }} }}\n\
         [[link]]\nfrom = \"front#alarms\"\nto = \"mqtt#alarms\"\n[[link]]\nfrom = \"front#events\"\nto = \"mqtt#events\"\n",
        broker.address
    );
    std::fs::create_dir_all(folder).unwrap();
    let store = Store::open(folder, None, SystemClock::shared()).await.unwrap();
    store.secrets().put("mqtt", &Secret::from(PASSWORD)).await.unwrap();
    let parts = Parts::open(folder, None, store, PassVerifier::new("home".parse().unwrap())).await.unwrap();
    Wiring::start(parts, &SiteDocument::parse(&document).unwrap()).await.unwrap()
}

fn is(broker: &FakeBroker, state: &str) -> bool {
    broker.kept("godvision/door/front/state").as_deref() == Some(state)
}

#[tokio::test]
async fn states_are_kept_alarms_said_and_nothing_is_obeyed() {
    let (folder, broker) = (Folder::new(), FakeBroker::start(Some(("gate", PASSWORD))).await);
    let wiring = start(folder.path(), &broker).await;
    let (system, front): (_, Name) = (wiring.system(), "front".parse().unwrap());
    broker.until("the state", |broker| is(broker, "locked")).await;
    assert_eq!(broker.kept("godvision/available").as_deref(), Some("online"));
    let found: Vec<Value> = (broker.kept_topics().iter())
        .filter(|topic| topic.ends_with("/config"))
        .map(|topic| serde_json::from_str(&broker.kept(topic).unwrap()).unwrap())
        .collect();
    let topics: Vec<&str> = found.iter().map(|entity| entity["state_topic"].as_str().unwrap()).collect();
    assert_eq!(topics, ["godvision/door/front/alarm", "godvision/door/front/state"]);

    // Whatever others say: the one topic that is listened to is the birth of Home Assistant.
    broker.until("the subscription", |broker| !broker.topics().is_empty()).await;
    assert_eq!(broker.topics(), ["homeassistant/status"]);
    for (topic, payload) in [
        ("godvision/door/front/state", "unlocked"),
        ("godvision/door/front/set", "OPEN"),
        ("homeassistant/status", "OPEN"),
        ("homeassistant/status", "unlock"),
    ] {
        broker.say(topic, payload);
    }
    broker.forget();
    broker.say("homeassistant/status", "online");
    broker.until("all of it again", |broker| is(broker, "locked") && broker.kept_topics().len() == 4).await;
    assert_eq!(system.doors()[0].state, DoorState::Locked);

    let lockdown = |is_on| PremisesCommand::Lockdown { doors: vec![front.clone()], is_on };
    system.command(lockdown(true), "otto").await.unwrap();
    broker.until("locked down", |broker| is(broker, "locked_down")).await;
    let emergency = |is_on| PremisesCommand::Emergency { is_on };
    system.command(emergency(true), "otto").await.unwrap();
    let is_alarm = |event: &'static str| {
        move |broker: &FakeBroker| {
            let said = broker.said();
            said.iter().any(|(topic, said)| topic == "godvision/door/front/alarm" && said.contains(event))
        }
    };
    broker.until("the alarm", is_alarm(r#""event_type":"emergency""#)).await;

    // The broker goes; what happens meanwhile is said when it is back.
    broker.is_away(true);
    broker.until("its last will", |broker| broker.kept("godvision/available").as_deref() == Some("offline")).await;
    system.command(emergency(false), "otto").await.unwrap();
    system.command(lockdown(false), "otto").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    broker.is_away(false);
    broker.until("it is back", |broker| is(broker, "locked") && is_alarm(r#""event_type":"over""#)(broker)).await;
    let is_available = |broker: &FakeBroker| broker.kept("godvision/available").as_deref() == Some("online");
    broker.until("it says so", is_available).await;

    let lines = wiring.store().journal().query(Query { limit: 1000, ..Query::default() }).await.unwrap();
    assert!(lines.iter().any(|line| line.code == "mqtt.lost"), "{lines:#?}");
    assert!(!format!("{lines:?}").contains(PASSWORD));
    assert!(lines.iter().all(|line| line.code != "access.admitted"));
    drop(system);
    wiring.shutdown().await;
    assert_eq!(broker.kept("godvision/available").as_deref(), Some("offline"), "it says so when it goes");
}
