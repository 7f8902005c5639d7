//! The file of spent passes of `godvision-access`: what is read once is read again, and only its end may be unfinished.

use std::sync::atomic::{AtomicU64, Ordering};

use godvision_access::io::spent_log::{SpentLog, verify};
use godvision_access::pass::PassId;
use godvision_access::spent::{Spend, Spendable, Spending};
use godvision_core::WallTime;

use crate::Reached;

static FILES: AtomicU64 = AtomicU64::new(0);

/// Takes `data` for the file.
pub fn spent_log(data: &[u8]) -> Reached {
    let Ok(things) = verify(data) else { return Reached::Refused };
    for length in 0..data.len() {
        let Ok(fewer) = verify(&data[..length]) else { continue };
        assert!(fewer <= things, "a shorter file remembers no more");
    }
    let name = format!("godvision-fuzz-{}-{}", std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder to write in");
    let file = folder.join("spent.log");
    std::fs::write(&file, data).expect("room for a file");
    let (until, at) = (WallTime::from_unix_seconds(u32::MAX.into()), WallTime::from_unix_seconds(1_795_255_200));
    let one = Spending { what: Spendable::Pass { key: 0xfe, id: PassId(*b"fuzzed") }, until, at };
    let mut log = SpentLog::open(&file).expect("verified");
    let uses = log.uses(one);
    let spent = log.spend(one, u32::MAX).expect("a disk with room");
    assert_eq!(spent == Spend::AlreadySpent, uses == u32::MAX);
    drop(log);
    let content = std::fs::read(&file).expect("just written");
    let again = SpentLog::open(&file).expect("what we wrote, we read");
    assert_eq!(again.uses(one), uses.saturating_add(1));
    assert!(verify(&content).is_ok_and(|now| now >= things));
    drop(again);
    std::fs::remove_dir_all(&folder).expect("our own folder");
    Reached::Checked
}
