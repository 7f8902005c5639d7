//! The behaviour of every [`Reader`], as tests: `reader_conformance!(name, start)`.
//!
//! ```ignore
//! godvision_core::reader_conformance!(my_reader, MyBench::start());
//! ```
//! makes a module `my_reader` with one `#[test]` for each behaviour. `start()` is a future of a [`ReaderBench`]; it is
//! called anew for each test, on a current-thread tokio runtime.

use std::time::Duration;

use crate::driver::reader::{Presented, Reader, ReaderError, ReaderEvent};
use crate::signal::door::{Indication, Key};

/// How long the suite waits for something that has to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the suite waits to see that nothing comes.
const QUIET: Duration = Duration::from_millis(50);

/// A driver, and the device (or a faithful fake of it) behind it.
pub trait ReaderBench {
    /// The driver under test, set up so that it works.
    fn reader(&mut self) -> &mut dyn Reader;

    /// Presents a credential that this device can read at `channel`, and says what the driver has to make of it. Each
    /// call presents another one.
    fn present(&mut self, channel: u8) -> Key;

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
                a_dropped_wait_loses_nothing,
                garbage_is_told_and_skipped,
                a_lost_link_is_told_and_heals,
                it_shows_what_it_is_told_to,
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

/// A lost link is [`ReaderError::Unreachable`]; once it is back, credentials are read again.
pub async fn a_lost_link_is_told_and_heals(bench: &mut impl ReaderBench) {
    bench.set_link(false);
    let told = next(bench).await;
    assert!(matches!(told, Err(ReaderError::Unreachable { .. })), "a lost link is told: {told:?}");
    bench.set_link(true);
    let key = bench.present(0);
    assert_eq!(read(bench).await, Presented { channel: 0, key }.into());
}

/// Each [`Indication`] is shown where the device can; where it cannot, the driver says so.
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
            assert_eq!(bench.shown(0), Some(indication));
        } else {
            assert!(matches!(told, Err(ReaderError::Unsupported { .. })), "{told:?}");
        }
    }
}

/// No error shows a credential that was on the wire near it.
pub async fn errors_hold_no_credential(bench: &mut impl ReaderBench) {
    let key = bench.present(0);
    bench.send_garbage();
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
