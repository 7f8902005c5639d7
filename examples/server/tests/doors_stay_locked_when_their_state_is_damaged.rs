//! A whole server is started on a damaged `premises.log`: nobody knows which doors were locked down, so all of them are, the
//! file is put aside, the journal says so, and nothing opens until somebody with the right to ends that.

mod world;

use axum::http::{Method, StatusCode};
use serde_json::json;
use world::World;
use world::film::{Film, grey, wall};

const RULES: &str =
    "version = 1\n[[rule]]\nname = \"people\"\npermit = [\"eve\"]\ndoors = [\"any\"]\nby = [\"pin\", \"manual\"]\n";
const LOG: &str = "premises.log";

#[tokio::test]
async fn every_door_is_locked_down_until_somebody_ends_it() {
    let film = Film::new(&[grey(64, 64, wall(64, 64))], 5);
    let mut world = World::start(RULES, &film, &[]).await;
    world.until_door_is("locked").await;
    world.know("eve", &[("pin", "258046")]).await;
    for on in [true, false] {
        world.done(Method::PUT, "/api/v1/lockdown", json!({"on": on})).await;
    }
    world.stop().await;
    let was = std::fs::read(world.file(LOG)).unwrap();
    assert!(String::from_utf8_lossy(&was).contains("lockdown front off"));

    // One letter on the disk, not at the end: what a crash cuts off is cut off and no damage.
    let mut damaged = was;
    let place = damaged.windows(2).position(|two| two == b"on").unwrap();
    damaged[place] ^= 1;
    std::fs::write(world.file(LOG), &damaged).unwrap();
    world.run().await;
    world.until_door_is("locked_down").await;
    let told = world.line("premises.damaged", &[]).await;
    assert_eq!(told["level"], "error");
    let aside: Vec<_> = std::fs::read_dir(world.data())
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("premises.log.damaged-"))
        .collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(std::fs::read(world.file(&aside[0])).unwrap(), damaged, "for whoever wants to know what was in it");
    assert!(told["text"].as_str().unwrap().contains(&aside[0]), "{told}");

    world.type_in("258046#");
    world.line("access.refused", &[("reason", "locked_down"), ("person", "eve")]).await;
    let by_hand = world.done(Method::POST, "/api/v1/doors/front/open", json!({"reason": "let me in"})).await;
    assert_eq!(by_hand["verdict"], "refuse");

    // It outlives another start: the new file says it.
    world.stop().await;
    world.run().await;
    world.until_door_is("locked_down").await;
    assert_eq!(world.lines("premises.damaged").await.len(), 1);
    let (status, _) = world.ask("vera", Method::PUT, "/api/v1/lockdown", Some(json!({"on": false}))).await;
    assert_eq!((status, world.pulses()), (StatusCode::FORBIDDEN, 0));
    world.done(Method::PUT, "/api/v1/lockdown", json!({"on": false})).await;
    world.until_door_is("locked").await;
    world.type_in("258046#");
    world.line("access.admitted", &[("person", "eve")]).await;
    world.line("door.unlocked", &[]).await;
    assert_eq!(world.pulses(), 1);
    world.stop().await;
}
