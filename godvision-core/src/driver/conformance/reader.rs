//! The behaviour of every [`Reader`], as tests: `reader_conformance!(name, start)`.
//!
//! ```ignore
//! godvision_core::reader_conformance!(my_reader, MyBench::start());
//! ```
//! makes a module `my_reader` with one `#[test]` for each behaviour. `start()` is a future of a [`ReaderBench`]; it is
//! called anew for each test, on a current-thread tokio runtime.

use std::time::Duration;

use crate::driver::reader::{Presented, Reader, ReaderError, ReaderEvent};
use crate::signal::door::{DoorSense, Indication, Key};

/// How long the suite waits for something that has to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the suite waits to see that nothing comes.
const QUIET: Duration = Duration::from_millis(50);
/// How many credentials a flood has, and how many pieces of garbage.
const FLOOD: usize = 300;

/// A driver, and the device (or a faithful fake of it) behind it.
pub trait ReaderBench {
    /// The driver under test, set up so that it works.
    fn reader(&mut self) -> &mut dyn Reader;

    /// Presents a credential that this device can read at `channel`, and says what the driver has to make of it. Each
    /// call presents another one.
    fn present(&mut self, channel: u8) -> Key;

    /// Sends the beginning of a credential, as [`ReaderBench::present`] would send it, and not its end.
    fn present_half(&mut self, channel: u8);

    /// Presents a whole credential at a channel that the driver does not have; `false` if the wire knows no channels.
    fn present_elsewhere(&mut self) -> bool {
        false
    }

    /// Moves an input of the device; `false` if it has no such input.
    fn move_input(&mut self, _channel: u8, _sense: DoorSense) -> bool {
        false
    }

    /// Sends bytes that are no message of the device's protocol.
    fn send_garbage(&mut self);

    /// Cuts the link or mends it.
    fn set_link(&mut self, is_up: bool);

    /// What the device shows at `channel`; `None` if it shows nothing or cannot.
    fn shown(&self, channel: u8) -> Option<Indication>;
}

/// Gives a reader driver its tests; see [`driver::conformance::reader`](crate::driver::conformance::reader).
#[macro_export]
macro_rules! reader_conformance {
    ($name:ident, $start:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::reader_conformance!(@tests $start;
                what_is_presented_is_read,
                everything_comes_in_its_order,
                inputs_are_events,
                a_dropped_wait_loses_nothing,
                garbage_is_told_and_skipped,
                a_flood_of_garbage_passes,
                a_flood_of_credentials_is_bounded,
                an_undefined_channel_is_told_and_ignored,
                a_lost_link_is_told_and_heals,
                a_credential_cut_in_the_middle_is_none,
                it_shows_what_it_is_told_to,
                what_is_shown_survives_a_lost_link,
                a_channel_that_does_not_exist_shows_nothing,
                errors_hold_no_credential
            );
        }
    };
    (@tests $start:expr; $($test:ident),*) => {
        $(
            #[test]
            fn $test() {
                $crate::driver::conformance::relay::block_on(async {
                    let mut bench = $start.await;
                    $crate::driver::conformance::reader::$test(&mut bench).await;
                });
            }
        )*
    };
}

async fn next(bench: &mut impl ReaderBench) -> Result<ReaderEvent, ReaderError> {
    tokio::time::timeout(PATIENCE, bench.reader().next()).await.expect("the reader says something")
}

/// Asks until something is read; temporary errors before it are fine.
async fn read(bench: &mut impl ReaderBench) -> ReaderEvent {
    for _ in 0..1000 {
        match next(bench).await {
            Ok(presented) => return presented,
            Err(error) => assert!(error.is_temporary(), "an error that cannot pass: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nothing is read");
}

/// Presents until something is read, which has to be one of those. What a new link begins with may be lost: a driver that
/// cannot see where a credential begins does not trust it.
async fn reads_again(bench: &mut impl ReaderBench) {
    let mut presented = Vec::new();
    for _ in 0..PATIENCE.as_millis() / QUIET.as_millis() {
        let key = bench.present(0);
        presented.push(Presented { channel: 0, key }.into());
        match tokio::time::timeout(2 * QUIET, bench.reader().next()).await {
            Ok(Ok(event)) => return assert!(presented.contains(&event), "{event:?} was not presented"),
            Ok(Err(error)) => assert!(error.is_temporary(), "an error that cannot pass: {error}"),
            Err(_) => {}
        }
    }
    panic!("nothing is read");
}

/// Listens for `time`; errors are fine, anything else is not.
async fn hears_nothing(bench: &mut impl ReaderBench, time: Duration) {
    let listen = async {
        loop {
            match bench.reader().next().await {
                Ok(event) => return event,
                Err(error) => assert!(error.is_temporary(), "an error that cannot pass: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let heard = tokio::time::timeout(time, listen).await;
    assert!(heard.is_err(), "nothing whole was presented, but it says {heard:?}");
}

/// Asks the driver for events, as whoever uses it does, until the device shows `indication` at `channel`.
async fn comes_to_show(bench: &mut impl ReaderBench, channel: u8, indication: Indication) {
    let slice = Duration::from_millis(10);
    for _ in 0..PATIENCE.as_millis() / slice.as_millis() {
        if bench.shown(channel) == Some(indication) {
            return;
        }
        hears_nothing(bench, slice).await;
    }
    panic!("it was told to show {indication:?} and shows {:?}", bench.shown(channel));
}

/// What is presented at each channel is read as it is, with its channel; nothing is read when nothing is presented.
pub async fn what_is_presented_is_read(bench: &mut impl ReaderBench) {
    let silence = tokio::time::timeout(QUIET, bench.reader().next()).await;
    assert!(silence.is_err(), "nothing was presented, but it says {silence:?}");
    for channel in 0..bench.reader().capabilities().channels {
        let key = bench.present(channel);
        assert_eq!(next(bench).await, Ok(Presented { channel, key }.into()));
    }
}

/// Several credentials that wait are read one by one, oldest first.
pub async fn everything_comes_in_its_order(bench: &mut impl ReaderBench) {
    let keys: Vec<Key> = (0..5).map(|_| bench.present(0)).collect();
    for key in keys {
        assert_eq!(next(bench).await, Ok(Presented { channel: 0, key }.into()));
    }
}

/// Contacts, buttons and lids are events of their channel, and do not disturb what is presented between them.
pub async fn inputs_are_events(bench: &mut impl ReaderBench) {
    // What the device says of itself at first is its own matter.
    while tokio::time::timeout(QUIET, bench.reader().next()).await.is_ok() {}
    for sense in [
        DoorSense::Ajar(true),
        DoorSense::ExitRequested,
        DoorSense::Ajar(false),
        DoorSense::Tampered(true),
        DoorSense::Tampered(false),
    ] {
        if bench.move_input(0, sense) {
            assert_eq!(next(bench).await, Ok(ReaderEvent::Input { channel: 0, sense }));
        }
        let key = bench.present(0);
        assert_eq!(next(bench).await, Ok(Presented { channel: 0, key }.into()));
    }
}

/// Dropping the future of [`Reader::next`] loses nothing that was already read.
pub async fn a_dropped_wait_loses_nothing(bench: &mut impl ReaderBench) {
    let key = bench.present(0);
    for _ in 0..20 {
        // Polled once, then dropped, as a select that another branch wins does.
        tokio::select! {
            biased;
            presented = bench.reader().next() => {
                assert_eq!(presented, Ok(Presented { channel: 0, key }.into()));
                return;
            }
            () = tokio::task::yield_now() => {}
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(next(bench).await, Ok(Presented { channel: 0, key }.into()));
}

/// Garbage is one or more [`ReaderError::BadInput`]s; what is presented after it is read.
pub async fn garbage_is_told_and_skipped(bench: &mut impl ReaderBench) {
    bench.send_garbage();
    let told = next(bench).await;
    assert!(matches!(told, Err(ReaderError::BadInput { .. })), "garbage is told: {told:?}");
    let key = bench.present(0);
    assert_eq!(read(bench).await, Presented { channel: 0, key }.into());
}

/// Any amount of garbage passes, in no more errors than there were pieces of it; nothing is made of it.
pub async fn a_flood_of_garbage_passes(bench: &mut impl ReaderBench) {
    for _ in 0..FLOOD {
        bench.send_garbage();
    }
    let key = bench.present(0);
    for _ in 0..=20 * FLOOD {
        match next(bench).await {
            Ok(event) => return assert_eq!(event, Presented { channel: 0, key }.into()),
            Err(error) => assert!(matches!(error, ReaderError::BadInput { .. }), "{error:?}"),
        }
    }
    panic!("garbage is told without end");
}

/// What is presented faster than it is asked for comes late or not at all; it is not made up, and the newest is read.
pub async fn a_flood_of_credentials_is_bounded(bench: &mut impl ReaderBench) {
    let keys: Vec<Key> = (0..FLOOD).map(|_| bench.present(0)).collect();
    let mut presented = keys.into_iter();
    let mut read = 0;
    while let Ok(event) = tokio::time::timeout(4 * QUIET, bench.reader().next()).await {
        match event {
            Ok(ReaderEvent::Presented(Presented { channel: 0, key })) => {
                assert!(presented.any(|next| next == key), "read once, in its order");
                read += 1;
            }
            Ok(other) => panic!("{other:?} was not presented"),
            Err(error) => assert!(matches!(error, ReaderError::BadInput { .. }), "{error:?}"),
        }
    }
    assert!(read > 0, "something of it is read");
    let key = bench.present(0);
    assert_eq!(next(bench).await, Ok(Presented { channel: 0, key }.into()));
}

/// A whole credential at a channel that the driver does not have is [`ReaderError::BadInput`], so that it is counted.
pub async fn an_undefined_channel_is_told_and_ignored(bench: &mut impl ReaderBench) {
    if bench.present_elsewhere() {
        let told = next(bench).await;
        assert!(matches!(told, Err(ReaderError::BadInput { .. })), "an undefined channel is told: {told:?}");
    }
    let key = bench.present(0);
    assert_eq!(read(bench).await, Presented { channel: 0, key }.into());
}

/// A lost link is [`ReaderError::Unreachable`]; once it is back, credentials are read again.
pub async fn a_lost_link_is_told_and_heals(bench: &mut impl ReaderBench) {
    bench.set_link(false);
    let told = next(bench).await;
    assert!(matches!(told, Err(ReaderError::Unreachable { .. })), "a lost link is told: {told:?}");
    bench.set_link(true);
    reads_again(bench).await;
}

/// Half a credential and a lost link make nothing, and spoil nothing that comes after.
pub async fn a_credential_cut_in_the_middle_is_none(bench: &mut impl ReaderBench) {
    bench.present_half(0);
    hears_nothing(bench, QUIET).await;
    bench.set_link(false);
    hears_nothing(bench, QUIET).await;
    bench.set_link(true);
    hears_nothing(bench, QUIET).await;
    reads_again(bench).await;
}

/// Each [`Indication`] comes to be shown where the device can; where it cannot, the driver says so.
pub async fn it_shows_what_it_is_told_to(bench: &mut impl ReaderBench) {
    for indication in [
        Indication::Ready,
        Indication::Busy,
        Indication::Awaiting,
        Indication::Open,
        Indication::Held,
        Indication::Refused,
    ] {
        let told = bench.reader().indicate(0, indication).await;
        if bench.reader().capabilities().indicates {
            assert_eq!(told, Ok(()));
            comes_to_show(bench, 0, indication).await;
        } else {
            assert!(matches!(told, Err(ReaderError::Unsupported { .. })), "{told:?}");
        }
    }
}

/// What it is told without a link is an error in time, and shown once the link is back.
pub async fn what_is_shown_survives_a_lost_link(bench: &mut impl ReaderBench) {
    bench.set_link(false);
    let lost = next(bench).await;
    assert!(matches!(lost, Err(ReaderError::Unreachable { .. })), "a lost link is told: {lost:?}");
    let told = tokio::time::timeout(PATIENCE, bench.reader().indicate(0, Indication::Open)).await;
    let told = told.expect("an answer in time");
    bench.set_link(true);
    if bench.reader().capabilities().indicates {
        assert!(matches!(told, Err(ReaderError::Unreachable { .. })), "{told:?}");
        comes_to_show(bench, 0, Indication::Open).await;
    } else {
        assert!(matches!(told, Err(ReaderError::Unsupported { .. })), "{told:?}");
    }
}

/// To show something at a channel that does not exist is [`ReaderError::Unsupported`].
pub async fn a_channel_that_does_not_exist_shows_nothing(bench: &mut impl ReaderBench) {
    for channel in [bench.reader().capabilities().channels, u8::MAX] {
        let told = bench.reader().indicate(channel, Indication::Open).await;
        assert!(matches!(told, Err(ReaderError::Unsupported { .. })), "{told:?}");
    }
}

/// No error shows a credential that was on the wire near it.
pub async fn errors_hold_no_credential(bench: &mut impl ReaderBench) {
    let key = bench.present(0);
    bench.send_garbage();
    bench.present_half(0);
    bench.set_link(false);
    let secret = match &key {
        Key::Qr(text) | Key::Pin(text) | Key::Card(text) | Key::Plate(text) => text.expose().to_owned(),
        other => panic!("the bench presents {other:?}: take a key with a text"),
    };
    for _ in 0..3 {
        if let Ok(Err(error)) = tokio::time::timeout(QUIET * 4, bench.reader().next()).await {
            assert!(!format!("{error} {error:?}").contains(&secret), "{error}");
        }
    }
}
