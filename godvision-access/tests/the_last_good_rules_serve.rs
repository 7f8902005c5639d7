//! Where the rule document is broken or gone, the last good snapshot decides; without one nobody is let in.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use godvision_access::io::snapshot_file::{Origin, load, read, save};
use godvision_access::premises::{DoorPlan, Layout};
use godvision_access::{Error, RuleFault, RuleSet};

const GOOD: &str = "version = 1\n[[rule]]\nname = \"staff\"\npermit = [\"ada\"]\ndoors = [\"any\"]\n";

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("godvision-rules-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_broken_document_leaves_the_last_good_rules() {
    let folder = Folder::new("broken");
    let (document, snapshot) = (folder.0.join("rules.toml"), folder.0.join("rules.snapshot"));
    assert!(matches!(load(&document, &snapshot), Err(Error::RuleFile { .. })), "neither is there");
    assert!(!snapshot.exists());

    fs::write(&document, GOOD).unwrap();
    let loaded = load(&document, &snapshot).unwrap();
    assert!(matches!(loaded.origin, Origin::Document { unsaved: None }));
    assert_eq!(read(&snapshot).unwrap(), loaded.set);

    type Expected = fn(&Error) -> bool;
    let reasons: [(&[u8], Expected); 4] = [
        (b"version = 1\n[[rule]", |error| matches!(error, Error::Document { fault: RuleFault::Syntax { .. }, .. })),
        (b"", |error| matches!(error, Error::Document { fault: RuleFault::Missing { .. }, .. })),
        (b"\xff", |error| matches!(error, Error::RuleFile { .. })),
        (b"version = 2", |error| matches!(error, Error::Document { fault: RuleFault::Version { .. }, .. })),
    ];
    for (text, expected) in reasons {
        fs::write(&document, text).unwrap();
        let again = load(&document, &snapshot).unwrap();
        assert!(matches!(&again.origin, Origin::Snapshot { because } if expected(because)), "{:?}", again.origin);
        assert_eq!((again.set, again.rules.len()), (loaded.set.clone(), 1));
    }
    fs::remove_file(&document).unwrap();
    assert!(matches!(load(&document, &snapshot).unwrap().origin, Origin::Snapshot { because: Error::RuleFile { .. } }));

    // A newer good document takes its place, and what is damaged is never used.
    fs::write(&document, GOOD.replace("staff", "crew")).unwrap();
    load(&document, &snapshot).unwrap();
    assert_eq!(read(&snapshot).unwrap().rules[0].name.as_str(), "crew");
    fs::write(&document, "").unwrap();
    let mut bytes = fs::read(&snapshot).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    assert!(matches!(load(&document, &snapshot), Err(Error::Document { .. })));
}

#[test]
fn a_save_that_fails_leaves_the_old_one() {
    let folder = Folder::new("failed");
    let snapshot = folder.0.join("rules.snapshot");
    let set = RuleSet::parse(GOOD).unwrap();
    save(&snapshot, &set).unwrap();
    // What a crash left of an earlier attempt is written over.
    fs::write(folder.0.join("rules.snapshot.new"), "half").unwrap();
    save(&snapshot, &set).unwrap();
    fs::remove_file(folder.0.join("rules.snapshot.new")).unwrap_err();

    let mut bad = set.clone();
    bad.rules[0].during = Some("never defined".to_owned());
    assert!(matches!(save(&snapshot, &bad), Err(Error::Rule { .. })));
    // Nor what compiles, and could not be read back: the layout is no part of the index.
    let spoil: [fn(&mut Layout); 3] = [
        |layout| {
            let free_during = Some("never defined".to_owned());
            layout.doors.insert("x".parse().unwrap(), DoorPlan { free_during, ..DoorPlan::default() });
        },
        |layout| {
            let door = DoorPlan { held_after: Duration::ZERO, ..DoorPlan::default() };
            layout.doors.insert("x".parse().unwrap(), door);
        },
        |layout| _ = layout.interlocks.insert("lock".parse().unwrap(), ["x".parse().unwrap()].into()),
    ];
    for spoil in spoil {
        let mut bad = RuleSet::default();
        spoil(&mut bad.layout);
        bad.compile().unwrap();
        let saved = save(&snapshot, &bad);
        assert!(matches!(saved, Err(Error::Snapshot { .. })), "{:?}: {saved:?}", bad.layout);
        assert_eq!(read(&snapshot).unwrap(), set);
    }
    // The new file cannot be made: a folder is in its place.
    fs::create_dir(folder.0.join("rules.snapshot.new")).unwrap();
    assert!(matches!(save(&snapshot, &RuleSet::default()), Err(Error::RuleFile { .. })));
    assert_eq!(read(&snapshot).unwrap(), set);

    // Good rules serve though they cannot be kept, and that is said.
    let document = folder.0.join("rules.toml");
    fs::write(&document, GOOD.replace("staff", "crew")).unwrap();
    let loaded = load(&document, &snapshot).unwrap();
    assert!(matches!(loaded.origin, Origin::Document { unsaved: Some(Error::RuleFile { .. }) }));
}
