//! What operators command on a running site: in force at the doors, journalled with who, still so after a restart; and a
//! door that is not there is said, not "locked down".

mod common;

use std::path::Path;
use std::time::Duration;

use common::Folder;
use godvision_access::pass::{PassId, PassVerifier};
use godvision_core::journal::{Journal, Query};
use godvision_core::signal::door::{DoorState, Reason, Verdict};
use godvision_core::site::SiteDocument;
use godvision_core::{Name, SystemClock, WallTime};
use godvision_server::site::SITE_FILE;
use godvision_server::store::Store;
use godvision_server::web::system::{Door, Freedom, Mode, PassRef, PremisesCommand, System, SystemError};
use godvision_server::wiring::{Parts, Wiring};

const DOCUMENT: &str = "version = 1\nsite = \"home\"\n[[component]]\nname = \"front\"\nunit = \"door\"\n\
                        params = { relay = \"simulated://\" }\n";

fn front() -> Name {
    Name::new("front").unwrap()
}

async fn start(folder: &Path) -> Wiring {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(SITE_FILE), DOCUMENT).unwrap();
    let store = Store::open(folder, None, SystemClock::shared()).await.unwrap();
    let parts = Parts::open(folder, None, store, PassVerifier::new("home".parse().unwrap())).await.unwrap();
    Wiring::start(parts, &SiteDocument::parse(DOCUMENT).unwrap()).await.unwrap()
}

/// Waits until the door is so.
async fn until(system: &dyn System, what: &str, is_so: impl Fn(&Door) -> bool) {
    let looking = async {
        while !is_so(&system.doors()[0]) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.unwrap_or_else(|_| panic!("{what}"));
}

fn lockdown(is_on: bool) -> PremisesCommand {
    PremisesCommand::Lockdown { doors: vec![front()], is_on }
}

#[tokio::test]
async fn a_lockdown_holds_over_a_restart_until_it_is_ended() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    until(&*system, "the relay is read", |door| door.state == DoorState::Locked).await;
    system.command(lockdown(true), "otto").await.unwrap();
    until(&*system, "locked down", |door| door.state == DoorState::LockedDown).await;
    assert_eq!(system.doors()[0].mode, Mode::LockedDown);
    let refused = system.open_door(&front(), "otto", "a parcel").await.unwrap();
    assert_eq!((refused.verdict, refused.reason), (Verdict::Refuse, Reason::LockedDown), "nobody by hand either");
    let lines = wiring.store().journal().query(Query::default()).await.unwrap();
    let said = lines.iter().find(|line| line.code == "premises.lockdown").unwrap();
    assert_eq!(said.text, "otto turned the lockdown of front on");
    // Whoever holds it holds the spool.
    drop(system);
    wiring.shutdown().await;

    let wiring = start(folder.path()).await;
    let system = wiring.system();
    until(&*system, "locked down still", |door| door.state == DoorState::LockedDown).await;
    system.command(lockdown(false), "otto").await.unwrap();
    until(&*system, "locked as usual", |door| door.state == DoorState::Locked).await;
    let opened = system.open_door(&front(), "otto", "a parcel").await.unwrap();
    assert_eq!(opened.verdict, Verdict::Admit);
    wiring.shutdown().await;
}

#[tokio::test]
async fn an_emergency_unlocks_until_it_is_over() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    until(&*system, "the relay is read", |door| door.state == DoorState::Locked).await;
    system.command(lockdown(true), "otto").await.unwrap();
    system.command(PremisesCommand::Emergency { is_on: true }, "ada").await.unwrap();
    until(&*system, "unlocked", |door| door.state == DoorState::Free).await;
    let door = system.doors().remove(0);
    assert_eq!(door.mode, Mode::Free(Freedom::Emergency), "an emergency is more than a lockdown");
    assert!(system.premises().is_emergency);
    system.command(PremisesCommand::Emergency { is_on: false }, "ada").await.unwrap();
    until(&*system, "locked down again", |door| door.state == DoorState::LockedDown).await;
    assert!(system.doors()[0].alarms.is_empty() && !system.premises().is_emergency);
    wiring.shutdown().await;
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let folder = Folder::new();
    let wiring = start(folder.path()).await;
    let system = wiring.system();
    let moon = Name::new("moon").unwrap();
    for command in [
        PremisesCommand::Lockdown { doors: vec![front(), moon.clone()], is_on: true },
        PremisesCommand::Acknowledge { door: moon },
    ] {
        let told = system.command(command, "otto").await.unwrap_err();
        assert_eq!(told, SystemError::NotFound { what: "door", id: "moon".to_owned() });
    }
    assert_eq!(system.doors()[0].mode, Mode::Normal, "not even the one that is there");
    let pass = PassRef { key: 1, id: PassId([1; 6]), until: WallTime::from_unix_seconds(4_000_000_000) };
    assert_eq!(system.pass_uses(pass).await, Ok(0));
    wiring.shutdown().await;
}
