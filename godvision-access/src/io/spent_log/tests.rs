use godvision_core::WallTime;

use std::fs::OpenOptions;
use std::path::PathBuf;

use super::*;
use crate::io::appended::beside;
use crate::pass::{NameRef, PassId};
use crate::spent::Spendable;

const DAY: i64 = 24 * 3600;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("godvision-spent-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("spent.log")
    }

    fn open(&self) -> Result<SpentLog, Error> {
        SpentLog::open(&self.file())
    }

    /// A log that is written anew from a handful of lines on.
    fn open_small(&self) -> SpentLog {
        SpentLog::open_with_limits(&self.file(), 64, 8).unwrap()
    }

    fn length(&self) -> u64 {
        std::fs::metadata(self.file()).unwrap().len()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pass(id: u8, until_day: i64, at_day: i64) -> Spending {
    let what = Spendable::Pass { key: 7, id: PassId([0, 0, 0, 0, 0xab, id]) };
    Spending {
        what,
        until: WallTime::from_unix_seconds(until_day * DAY),
        at: WallTime::from_unix_seconds(at_day * DAY),
    }
}

fn one() -> Spending {
    pass(1, 30, 1)
}

fn step(number: u32) -> Spending {
    let (person, door) = (NameRef::person(&"ada".parse().unwrap()), NameRef::door(&"yard/door".parse().unwrap()));
    Spending { what: Spendable::Step { person, door, step: number }, ..one() }
}

fn bytes_of(lines: usize) -> u64 {
    (HEAD_BYTES + lines * LINE_BYTES) as u64
}

#[test]
fn uses_survive_a_restart() {
    let folder = Folder::new("restart");
    for used in 0..3 {
        let mut log = folder.open().unwrap();
        assert_eq!(log.uses(one()), used);
        assert_eq!(log.spend(one(), 3).unwrap(), Spend::Kept { uses: used + 1 });
        let once = if used == 0 { Spend::Kept { uses: 1 } } else { Spend::AlreadySpent };
        assert_eq!(log.spend(pass(2, 30, 1), 1).unwrap(), once);
        assert_eq!(log.spend(step(60_000_000), 1).unwrap(), once);
    }
    let mut log = folder.open().unwrap();
    assert_eq!(log.spend(one(), 3).unwrap(), Spend::AlreadySpent);
    assert_eq!(log.spend(step(60_000_001), 1).unwrap(), Spend::Kept { uses: 1 }, "the next step is another");
    assert_eq!(folder.length(), bytes_of(6));
}

/// The file after each possible length: behind a snapshot of two things, uses one by one, acknowledged in order.
#[test]
fn a_power_cut_at_any_byte_gives_no_use_back_and_takes_none_away() {
    let folder = Folder::new("power-cut");
    let mut log = folder.open().unwrap();
    log.spend(one(), 9).unwrap();
    log.spend(pass(2, 30, 1), 9).unwrap();
    log.spend(one(), 9).unwrap();
    log.compact(one().at);
    assert_eq!(folder.length(), bytes_of(2));
    let spends = [one(), pass(3, 30, 1), one(), step(5), pass(3, 30, 1)];
    let mut acknowledged = vec![(folder.length(), log.uses(one()), 0)];
    for spending in spends {
        log.spend(spending, 9).unwrap();
        acknowledged.push((folder.length(), log.uses(one()), log.uses(pass(3, 30, 1))));
    }
    drop(log);
    let whole = std::fs::read(folder.file()).unwrap();
    let mut refused = 0;
    for length in 0..=whole.len() as u64 {
        std::fs::write(folder.file(), &whole[..length as usize]).unwrap();
        let Some((_, first, third)) = acknowledged.iter().rfind(|(end, ..)| *end <= length) else {
            // The snapshot was whole on the disk before the file had its name: no power cut shortens it.
            assert!(matches!(folder.open(), Err(Error::SpentDamaged { .. })), "{length} bytes");
            refused += 1;
            continue;
        };
        let mut log = folder.open().unwrap();
        assert_eq!((log.uses(one()), log.uses(pass(3, 30, 1))), (*first, *third), "{length} bytes");
        assert_eq!(log.uses(pass(2, 30, 1)), 1);
        // And the log can be written on, whatever the cut left.
        assert_eq!(log.spend(pass(3, 30, 1), 9).unwrap(), Spend::Kept { uses: third + 1 });
        drop(log);
        assert_eq!(folder.open().unwrap().uses(pass(3, 30, 1)), third + 1);
    }
    assert_eq!(refused, bytes_of(2));
}

#[test]
fn sectors_of_zeros_at_the_end_are_what_a_crash_leaves() {
    let folder = Folder::new("zeros");
    let mut log = folder.open().unwrap();
    for _ in 0..3 {
        log.spend(one(), 9).unwrap();
    }
    drop(log);
    let whole = std::fs::read(folder.file()).unwrap();
    for zeros in [1, LINE_BYTES, 4096] {
        std::fs::write(folder.file(), [whole.as_slice(), &vec![0; zeros]].concat()).unwrap();
        assert_eq!(folder.open().unwrap().uses(one()), 3);
    }
    // The last line, not acknowledged yet, lay across two sectors, of which one was written.
    let last = whole.len() - LINE_BYTES;
    for cut in 1..LINE_BYTES {
        for range in [last..last + cut, last + cut..whole.len()] {
            let mut torn = whole.clone();
            torn[range].fill(0);
            std::fs::write(folder.file(), torn).unwrap();
            assert_eq!(folder.open().unwrap().uses(one()), 2);
        }
    }
}

#[test]
fn damage_that_no_crash_explains_is_an_error() {
    let folder = Folder::new("damage");
    let mut log = folder.open().unwrap();
    for _ in 0..3 {
        log.spend(one(), 9).unwrap();
    }
    drop(log);
    let whole = std::fs::read(folder.file()).unwrap();
    for offset in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[offset] ^= 1;
        std::fs::write(folder.file(), &damaged).unwrap();
        let error = folder.open().unwrap_err();
        let at = offset.checked_sub(HEAD_BYTES).map_or(0, |it| HEAD_BYTES + it / LINE_BYTES * LINE_BYTES);
        assert!(matches!(error, Error::SpentDamaged { offset, .. } if offset == at as u64), "{offset}: {error}");
    }
    let line_gone = [&whole[..HEAD_BYTES], &whole[HEAD_BYTES + LINE_BYTES..]].concat();
    std::fs::write(folder.file(), line_gone).unwrap();
    assert!(folder.open().is_err(), "a line is missing");
    for other in ["", "something else\n", "godvision spent passes 1\n"] {
        std::fs::write(folder.file(), other).unwrap();
        assert!(matches!(folder.open(), Err(Error::SpentDamaged { offset: 0, .. })), "{other:?}");
    }
    assert!(verify(&whole).is_ok_and(|things| things == 1));
}

#[test]
fn the_file_is_bounded_by_what_is_valid_and_nothing_comes_back() {
    let folder = Folder::new("growth");
    let mut log = folder.open_small();
    let mut longest = 0;
    for day in 1..150 {
        // One pass a day, used three times, valid for two days; and a resident's code.
        for _ in 0..3 {
            log.spend(pass(day as u8, day + 2, day), 3).unwrap();
        }
        assert_eq!(log.spend(pass(day as u8, day + 2, day), 3).unwrap(), Spend::AlreadySpent);
        let step = Spending { at: pass(1, 0, day).at, until: pass(1, day, 0).until, ..step(day as u32) };
        assert_eq!(log.spend(step, 1).unwrap(), Spend::Kept { uses: 1 });
        assert_eq!(log.spend(step, 1).unwrap(), Spend::AlreadySpent);
        longest = folder.length().max(longest);
        if day % 40 == 0 {
            drop(log);
            log = folder.open_small();
            assert_eq!(log.spend(pass(day as u8, day + 2, day), 3).unwrap(), Spend::AlreadySpent);
        }
    }
    assert!(longest <= bytes_of(24), "{longest} bytes");
    // Long ended and forgotten, by a clock that was right; then the clock is set back.
    assert_eq!(log.uses(pass(100, 102, 100)), u32::MAX);
    assert_eq!(log.spend(pass(100, 102, 100), 3).unwrap(), Spend::AlreadySpent);
    drop(log);
    let mut log = folder.open_small();
    assert_eq!(log.spend(pass(100, 102, 100), 3).unwrap(), Spend::AlreadySpent, "the floor is kept");
    assert!(matches!(log.spend(pass(100, 500, 100), 3).unwrap(), Spend::Kept { .. }), "what is valid is not touched");
}

#[test]
fn a_crash_while_the_file_is_written_anew_leaves_one_or_the_other() {
    let folder = Folder::new("anew");
    let mut log = folder.open_small();
    for _ in 0..4 {
        log.spend(one(), 99).unwrap();
    }
    let old = std::fs::read(folder.file()).unwrap();
    for _ in 0..5 {
        log.spend(one(), 99).unwrap();
    }
    assert_eq!(folder.length(), bytes_of(2), "written anew at the eighth line");
    drop(log);
    let new = std::fs::read(folder.file()).unwrap();
    for length in 0..new.len() {
        std::fs::write(folder.file(), &old).unwrap();
        std::fs::write(beside(&folder.file(), ".new"), &new[..length]).unwrap();
        let mut log = folder.open_small();
        assert_eq!(log.uses(one()), 4, "the old file serves");
        assert!(!beside(&folder.file(), ".new").exists());
        assert_eq!(log.spend(one(), 99).unwrap(), Spend::Kept { uses: 5 });
    }
}

#[test]
fn a_file_that_cannot_be_written_anew_goes_on_serving() {
    let folder = Folder::new("no-room");
    // A folder stands where the new file should be written.
    let mut log = folder.open_small();
    std::fs::create_dir(beside(&folder.file(), ".new")).unwrap();
    for uses in 1..=64 {
        assert_eq!(log.spend(one(), 99).unwrap(), Spend::Kept { uses });
    }
    assert!(matches!(log.spend(one(), 99), Err(Error::SpentFull { limit: 64 })), "until it is full");
    std::fs::remove_dir(beside(&folder.file(), ".new")).unwrap();
    assert_eq!(log.spend(one(), 99).unwrap(), Spend::Kept { uses: 65 }, "and heals");
    assert_eq!(folder.length(), bytes_of(2));
}

#[test]
fn one_process_holds_the_file() {
    let folder = Folder::new("lock");
    let mut held = folder.open_small();
    assert!(matches!(folder.open(), Err(Error::SpentFile { .. })));
    for _ in 0..20 {
        held.spend(one(), 99).unwrap();
    }
    assert!(matches!(folder.open(), Err(Error::SpentFile { .. })), "also when it was written anew");
}

#[test]
fn a_full_file_refuses() {
    let folder = Folder::new("full");
    let mut log = SpentLog::open_with_limits(&folder.file(), 2, 1).unwrap();
    log.spend(one(), 9).unwrap();
    log.spend(pass(2, 30, 1), 9).unwrap();
    assert!(matches!(log.spend(pass(3, 30, 1), 9), Err(Error::SpentFull { limit: 2 })));
    assert_eq!(log.uses(pass(3, 30, 1)), 0);
    drop(log);
    assert!(SpentLog::open_with_limits(&folder.file(), 2, 1).is_ok());
    std::fs::write(folder.file(), vec![b'x'; HEAD_BYTES + 3 * LINE_BYTES + 1]).unwrap();
    let refused = SpentLog::open_with_limits(&folder.file(), 2, 1);
    assert!(matches!(refused, Err(Error::SpentFull { limit: 2 })));
}

#[test]
fn a_disk_that_does_not_take_it_refuses_until_it_does() {
    let folder = Folder::new("disk");
    let mut log = folder.open().unwrap();
    log.spend(one(), 9).unwrap();
    let good =
        std::mem::replace(&mut log.file.file, OpenOptions::new().read(true).write(true).open("/dev/full").unwrap());
    for _ in 0..2 {
        assert!(matches!(log.spend(one(), 9), Err(Error::SpentFile { .. })));
        assert_eq!(log.uses(one()), 1);
    }
    log.file.file = good;
    assert_eq!(log.spend(one(), 9).unwrap(), Spend::Kept { uses: 2 });
    drop(log);
    assert_eq!(folder.open().unwrap().uses(one()), 2);
}
