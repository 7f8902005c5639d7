//! A whole server opens its door by a PIN, a card, a PIN typed under duress, and by an operator's hand: seen at the relay's own end
//! of its wire, in the journal, at the keypad's lamps, and by who may and may not.

mod world;

use axum::http::{Method, StatusCode};
use godvision_access::reader::indication::Shown;
use godvision_access::reader::wiegand;
use serde_json::json;
use world::film::{Film, grey, wall};
use world::{DOOR, KEYPAD, World};

const RULES: &str = r#"
version = 1
[[rule]]
name = "people"
permit = ["eve"]
doors = ["any"]
by = ["pin"]
[[rule]]
name = "by-hand"
permit = ["anyone"]
doors = ["any"]
by = ["manual"]
"#;

async fn quiet(rules: &str) -> World {
    let film = Film::new(&[grey(64, 64, wall(64, 64))], 5);
    let world = World::start(rules, &film, &[]).await;
    world.until_door_is("locked").await;
    world
}

/// What the keypad's lamps were told since `from`.
fn lamps(world: &World, from: usize) -> Vec<Shown> {
    world.keypad.peer().changes(0)[from..].iter().map(|(_, shown)| *shown).collect()
}

#[tokio::test]
async fn a_pin_opens_once_and_a_wrong_one_does_not() {
    let mut world = quiet(RULES).await;
    world.know("eve", &[("pin", "258046")]).await;
    world.type_in("258047#");
    let refused = world.line("access.refused", &[("reason", "unknown_credential")]).await;
    assert_eq!((&refused["service"], &refused["fields"]["source"]), (&json!(DOOR), &json!(KEYPAD)));
    assert!(refused["fields"].get("person").is_none() && world.pulses() == 0);

    world.until_door_is("locked").await;
    world.type_in("258046#");
    let admitted = world.line("access.admitted", &[]).await;
    let fields = json!({
        "door": DOOR, "source": KEYPAD, "credential": "pin", "reason": "permitted", "person": "eve", "rule": "people"
    });
    assert_eq!((&admitted["fields"], &admitted["level"]), (&fields, &json!("security")));
    let unlocked = world.line("door.unlocked", &[]).await;
    assert!(admitted["id"].as_u64() < unlocked["id"].as_u64(), "kept before the relay moves");
    world.line("door.locked", &[]).await;
    world.until_door_is("locked").await;
    assert_eq!(world.pulses(), 1);
    let call = world.relay.calls().into_iter().find(|call| call.params["on"] == true).unwrap();
    assert_eq!(call.params["toggle_after"], 0.2, "the device ends the pulse, whatever becomes of us");
    assert!(world.journal().await.iter().all(|line| !line.to_string().contains("25804")), "no PIN is written down");
    world.stop().await;
}

#[tokio::test]
async fn a_card_opens_until_it_is_withdrawn() {
    let mut world = quiet(&RULES.replace("\"pin\"", "\"card\"")).await;
    world.know("eve", &[("card", "7B B2 6E")]).await;
    let bits: String = wiegand::encode(0x7B_B26E, 26).unwrap().iter().map(|bit| if bit { '1' } else { '0' }).collect();
    // As the bridge hears the two wires: when the first bit came, in its own microseconds.
    let swipe = |at_micros: u64| world.keypad.send(format!("bits 0 {at_micros} {bits}\n").as_bytes());
    swipe(1000);
    let admitted = world.line("access.admitted", &[]).await;
    let fields = json!({
        "door": DOOR, "source": KEYPAD, "credential": "card", "reason": "permitted", "person": "eve", "rule": "people"
    });
    assert_eq!(admitted["fields"], fields);
    world.line("door.unlocked", &[]).await;
    world.until_door_is("locked").await;
    let people = world.get("/api/v1/people").await;
    let key = people["people"][0]["keys"][0]["id"].clone();
    world.done(Method::PUT, &format!("/api/v1/keys/{key}"), json!({"revoked": true})).await;
    swipe(9_000_000);
    world.line("access.refused", &[("credential", "card"), ("reason", "revoked"), ("person", "eve")]).await;
    assert_eq!(world.pulses(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_duress_pin_opens_and_tells_but_not_at_the_door() {
    let mut world = quiet(RULES).await;
    world.know("eve", &[("pin", "258046"), ("duress_pin", "640852")]).await;
    let mut shown = Vec::new();
    for (pin, pulses) in [("258046#", 1), ("640852#", 2)] {
        let before = world.keypad.peer().changes(0).len();
        world.type_in(pin);
        world::eventually("a pulse", async || (world.pulses() == pulses).then_some(())).await;
        world.until_door_is("locked").await;
        world::eventually("red again", async || (lamps(&world, before).last() == Some(&Shown::RED)).then_some(()))
            .await;
        shown.push(lamps(&world, before));
    }
    assert_eq!(shown[0], shown[1], "whoever stands there sees what a good PIN shows");

    let alarm = world.line("door.alarm", &[("alarm", "duress")]).await;
    assert_eq!((&alarm["fields"]["person"], &alarm["level"]), (&json!("eve"), &json!("error")));
    let admitted = world.lines("access.admitted").await;
    assert_eq!(admitted.len(), 2);
    assert_eq!(admitted[0]["fields"], admitted[1]["fields"], "a viewer's screen may stand at the door");
    assert_eq!(world.door().await["alarms"], json!(["duress"]));
    for path in ["/api/v1/doors", "/api/v1/journal?limit=500", "/doors", "/board", "/journal"] {
        let (status, seen) = world.ask("vera", Method::GET, path, None).await;
        let seen = String::from_utf8_lossy(&seen).to_lowercase();
        assert!(status == StatusCode::OK && !seen.contains("duress"), "{path}: {seen}");
    }
    // It stands until somebody says that they have looked.
    world.done(Method::POST, "/api/v1/doors/front/acknowledge", json!({})).await;
    assert_eq!(world.door().await["alarms"], json!([]));
    world.stop().await;
}

#[tokio::test]
async fn an_operator_opens_by_hand_with_a_reason() {
    let mut world = quiet(RULES).await;
    let open = async |who: &str, body| world.ask(who, Method::POST, "/api/v1/doors/front/open", Some(body)).await;
    let reason = json!({"reason": "a parcel for the office"});
    assert_eq!(open("vera", reason.clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(open("otto", json!({"reason": "  "})).await.0, StatusCode::BAD_REQUEST);
    assert_eq!((world.pulses(), world.lines("door.by_hand").await.len()), (0, 0));

    let (status, answer) = open("otto", reason).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["verdict"]), (StatusCode::OK, &json!("admit")));
    let admitted = world.line("access.admitted", &[]).await;
    let fields = json!({
        "door": DOOR, "source": DOOR, "credential": "manual", "reason": "permitted", "person": "otto", "rule": "by-hand",
        "note": "a parcel for the office"
    });
    assert_eq!(admitted["fields"], fields);
    let asked = world.line("door.by_hand", &[("user", "otto")]).await;
    assert!(asked["id"].as_u64() < admitted["id"].as_u64());
    world.line("door.unlocked", &[]).await;
    world.until_door_is("locked").await;
    assert_eq!(world.pulses(), 1);
    world.stop().await;
}

#[tokio::test]
async fn no_role_opens_by_hand_what_no_rule_permits() {
    let mut world = quiet(RULES.split_once("[[rule]]\nname = \"by-hand\"").unwrap().0).await;
    let answer = world.done(Method::POST, "/api/v1/doors/front/open", json!({"reason": "I am the boss"})).await;
    assert_eq!((&answer["verdict"], &answer["reason"]), (&json!("refuse"), &json!("no_rule")));
    world.line("access.refused", &[("credential", "manual"), ("reason", "no_rule")]).await;
    assert_eq!(world.pulses(), 0);
    world.stop().await;
}
