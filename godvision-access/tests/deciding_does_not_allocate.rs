//! Counts what a decision allocates: nothing.
#![allow(unsafe_code, reason = "a counting allocator cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use godvision_access::RuleSet;
use godvision_access::rule::{CredentialKind, Question};
use godvision_core::{Name, WallTime};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator unchanged; the counter is a thread's own `Cell` without a
// destructor, so touching it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn no_allocation() {
    let rules = RuleSet::parse(
        r#"
        version = 1
        zone = "Europe/Berlin"
        groups = { staff = ["ada", "bob"], guests = ["eve", "ada"] }
        door_groups = { yard = ["door", "gate"], all = ["door", "store"] }
        holidays = { public = ["2026-11-19", "11-20"] }
        [schedules]
        office = { weekly = ["Mon-Fri 08:00-18:00"], holidays = ["public 10:00-12:00"] }
        night = { zone = "UTC", weekly = ["daily 22:00-06:00"] }
        [[rule]]
        name = "staff"
        permit = ["group:staff"]
        doors = ["group:yard"]
        during = "office"
        [[rule]]
        name = "nobody-at-night"
        forbid = ["anyone"]
        doors = ["any"]
        during = "night"
        "#,
    )
    .unwrap()
    .compile()
    .unwrap();
    let persons: Vec<Name> = ["ada", "bob", "eve", "stranger"].iter().map(|it| Name::new(it).unwrap()).collect();
    let doors: Vec<Name> = ["door", "gate", "store", "elsewhere"].iter().map(|it| Name::new(it).unwrap()).collect();
    let (mut asked, mut admitted, mut completing) = (0, 0, 0);
    let before = ALLOCATIONS.with(Cell::get);
    for hour in 0..24 * 7 {
        for person in &persons {
            for door in &doors {
                for kind in CredentialKind::ALL {
                    let at = WallTime::from_unix_seconds(1_794_787_200 + hour * 3600);
                    let question = Question { person: Some(person), door, presented: kind.into(), at };
                    let answer = rules.decide(&question);
                    completing += rules.completing(&question).len();
                    asked += 1;
                    admitted += usize::from(answer.rule.is_some_and(|rule| rule.as_str() == "staff"));
                }
            }
        }
    }
    let allocated = ALLOCATIONS.with(Cell::get) - before;
    assert_eq!(allocated, 0, "{allocated} allocations in {asked} decisions");
    assert!(admitted > 0 && admitted < asked && completing > 0);
    drop(std::hint::black_box(Box::new(asked)));
    assert!(ALLOCATIONS.with(Cell::get) > before, "the counter counts");
}
