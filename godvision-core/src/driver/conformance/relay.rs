//! The behaviour of every [`Relay`], as tests: `relay_conformance!(name, start)`.
//!
//! ```ignore
//! godvision_core::relay_conformance!(my_relay, MyBench::start());
//! ```
//! makes a module `my_relay` with one `#[test]` for each behaviour. `start()` is a future of a [`RelayBench`]; it is
//! called anew for each test, on a current-thread tokio runtime.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::relay::{Contact, PulseTiming, Relay, RelayError};

/// What is wrong with the device's link or replies. The device itself goes on working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spoil {
    /// Nothing.
    Nothing,
    /// Nobody can connect, and open connections are cut.
    CutLink,
    /// The device does what it is told, but its reply does not come within [`RelayBench::timeout`].
    Slow,
    /// The device does what it is told, but its reply breaks off in the middle.
    Half,
    /// The device does what it is told, but its reply is no message of its protocol.
    Garbage,
    /// The device understands, says no and does nothing.
    Refuse,
}

/// A driver, and the device (or a faithful fake of it) behind it.
pub trait RelayBench {
    /// The driver under test, set up so that it works.
    fn relay(&self) -> Arc<dyn Relay>;

    /// The driver with a wrong password; `None` if the protocol has no password at all.
    fn relay_with_wrong_password(&self) -> Option<Arc<dyn Relay>>;

    /// The password in use: looked for in errors, where it must not be.
    fn password(&self) -> Option<String>;

    /// Within which time the driver gives up waiting. Keep it short: the suite waits for it in earnest.
    fn timeout(&self) -> Duration;

    /// The contact at the device itself.
    fn contact(&self, channel: u8) -> Contact;

    /// Moves the contact at the device, as a person at its button does.
    fn press(&self, channel: u8, contact: Contact);

    /// Spoils the link or the replies from now on.
    fn spoil(&self, how: Spoil);

    /// Closes or opens an input at the device, as a door contact does. Called only below `capabilities().inputs`.
    fn close_input(&self, _input: u8, _contact: Contact) {
        panic!("a bench of a driver with inputs closes them");
    }

    /// Cuts the power of the device and brings it back: what it does then is the device's nature.
    fn reboot(&self);

    /// Whether its protocol has a word for no. A device without one does nothing under [`Spoil::Refuse`] and answers as
    /// ever, and the driver must notice that nothing moved.
    fn can_refuse(&self) -> bool {
        true
    }

    /// Lets time pass at the device.
    fn advance(&self, by: Duration);

    /// How many commands that can move a contact the device has carried out.
    fn moves(&self) -> usize;
}

/// Runs one test on a runtime of its own. Used by the macro.
#[doc(hidden)]
#[allow(clippy::expect_used)]
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime for a test").block_on(test)
}

/// Gives a relay driver its tests; see [`driver::conformance::relay`](crate::driver::conformance::relay).
#[macro_export]
macro_rules! relay_conformance {
    ($name:ident, $start:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::relay_conformance!(@tests $start;
                a_pulse_begins_and_ends,
                a_pulse_ends_after_the_link_is_lost,
                a_second_pulse_starts_the_time_anew,
                switching_off_ends_a_pulse,
                switching_on_lasts,
                status_is_read_from_the_device,
                channels_are_independent,
                a_channel_that_does_not_exist_is_refused,
                a_pulse_out_of_range_is_refused,
                a_slow_reply_is_a_timeout,
                half_a_reply_is_an_ambiguous_error,
                garbage_is_an_ambiguous_error,
                a_refusal_is_rejected,
                a_lost_link_is_an_error_and_heals,
                a_wrong_password_is_said_plainly,
                commands_may_overlap,
                a_dropped_command_harms_no_later_one,
                a_reboot_in_a_pulse_leaves_nothing_on_unseen,
                a_command_sent_twice_is_harmless,
                a_contact_moved_behind_its_back_is_seen,
                inputs_are_read_from_the_device
            );
        }
    };
    (@tests $start:expr; $($test:ident),*) => {
        $(
            #[test]
            fn $test() {
                $crate::driver::conformance::relay::block_on(async {
                    let bench = $start.await;
                    $crate::driver::conformance::relay::$test(&bench).await;
                });
            }
        )*
    };
}

fn pulse_of(bench: &impl RelayBench) -> Duration {
    match bench.relay().capabilities().pulse {
        PulseTiming::Device { min, max, .. } => Duration::from_secs(3).clamp(min, max),
        PulseTiming::Host => Duration::from_secs(3),
    }
}

fn is_device_timed(bench: &impl RelayBench) -> bool {
    matches!(bench.relay().capabilities().pulse, PulseTiming::Device { .. })
}

const SOON: Duration = Duration::from_millis(1);

/// A pulse is confirmed with the contact on, and ends in time: by the device, or by the caller where the driver says so.
pub async fn a_pulse_begins_and_ends(bench: &impl RelayBench) {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    assert_eq!(relay.status(0).await, Ok(Contact::Off), "the bench starts at rest");
    relay.pulse(0, pulse).await.expect("a pulse");
    assert_eq!(bench.contact(0), Contact::On, "a confirmed pulse has begun");
    assert_eq!(relay.status(0).await, Ok(Contact::On));
    bench.advance(pulse + SOON);
    let expected = if is_device_timed(bench) { Contact::Off } else { Contact::On };
    assert_eq!(bench.contact(0), expected, "after the pulse");
    assert_eq!(relay.status(0).await, Ok(expected));
    relay.set(0, Contact::Off).await.expect("switching off");
    assert_eq!(bench.contact(0), Contact::Off);
}

/// A lost link leaves no door open: the device ends the pulse alone. A driver that cannot promise it declares
/// [`PulseTiming::Host`] and can switch off once the link is back.
pub async fn a_pulse_ends_after_the_link_is_lost(bench: &impl RelayBench) {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    relay.pulse(0, pulse).await.expect("a pulse");
    bench.spoil(Spoil::CutLink);
    bench.advance(pulse + SOON);
    if is_device_timed(bench) {
        assert_eq!(bench.contact(0), Contact::Off, "the device ends the pulse without the link");
    }
    bench.spoil(Spoil::Nothing);
    relay.set(0, Contact::Off).await.expect("switching off over the healed link");
    assert_eq!(bench.contact(0), Contact::Off);
}

/// The time of a second pulse counts from its own beginning.
pub async fn a_second_pulse_starts_the_time_anew(bench: &impl RelayBench) {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    relay.pulse(0, pulse).await.expect("the first pulse");
    bench.advance(pulse / 2);
    relay.pulse(0, pulse).await.expect("the second pulse");
    bench.advance(pulse / 2 + SOON);
    assert_eq!(bench.contact(0), Contact::On, "the second pulse is not over");
    bench.advance(pulse / 2 + SOON);
    if is_device_timed(bench) {
        assert_eq!(bench.contact(0), Contact::Off, "nor does it last longer than one pulse");
    }
}

/// [`Relay::set`] to off cancels a running pulse, and nothing comes back later.
pub async fn switching_off_ends_a_pulse(bench: &impl RelayBench) {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    relay.pulse(0, pulse).await.expect("a pulse");
    relay.set(0, Contact::Off).await.expect("switching off");
    assert_eq!(bench.contact(0), Contact::Off);
    bench.advance(pulse + SOON);
    assert_eq!(bench.contact(0), Contact::Off, "the cancelled pulse does not toggle the contact later");
}

/// [`Relay::set`] to on is no pulse, and cancels one.
pub async fn switching_on_lasts(bench: &impl RelayBench) {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    relay.pulse(0, pulse).await.expect("a pulse");
    relay.set(0, Contact::On).await.expect("switching on");
    bench.advance(pulse * 2);
    assert_eq!(bench.contact(0), Contact::On);
    assert_eq!(relay.status(0).await, Ok(Contact::On));
}

/// Status is what the device says, not what the driver remembers.
pub async fn status_is_read_from_the_device(bench: &impl RelayBench) {
    let relay = bench.relay();
    relay.set(0, Contact::Off).await.expect("switching off");
    for contact in [Contact::On, Contact::Off, Contact::On] {
        bench.press(0, contact);
        assert_eq!(relay.status(0).await, Ok(contact));
    }
}

/// A command for one channel moves no other.
pub async fn channels_are_independent(bench: &impl RelayBench) {
    let relay = bench.relay();
    let last = relay.capabilities().channels - 1;
    relay.pulse(last, pulse_of(bench)).await.expect("a pulse of the last channel");
    for channel in 0..=last {
        let expected = if channel == last { Contact::On } else { Contact::Off };
        assert_eq!(bench.contact(channel), expected, "channel {channel}");
        assert_eq!(relay.status(channel).await, Ok(expected), "channel {channel}");
    }
}

/// A channel beyond the capabilities is an error before anything is sent.
pub async fn a_channel_that_does_not_exist_is_refused(bench: &impl RelayBench) {
    let relay = bench.relay();
    let channels = relay.capabilities().channels;
    for channel in [channels, u8::MAX] {
        let expected = RelayError::NoSuchChannel { channel, channels };
        assert_eq!(relay.pulse(channel, pulse_of(bench)).await, Err(expected.clone()));
        assert_eq!(relay.set(channel, Contact::On).await, Err(expected.clone()));
        assert_eq!(relay.status(channel).await, Err(expected));
    }
    assert_eq!(bench.moves(), 0, "nothing reached the device");
}

/// What the device cannot time is an error before anything is sent; the bounds themselves are accepted.
pub async fn a_pulse_out_of_range_is_refused(bench: &impl RelayBench) {
    let relay = bench.relay();
    let PulseTiming::Device { min, max, .. } = relay.capabilities().pulse else {
        relay.pulse(0, Duration::from_millis(1)).await.expect("a driver without device timing takes any pulse");
        return;
    };
    assert!(Duration::ZERO < min && min <= max, "the capabilities make sense");
    for asked in [Duration::ZERO, min - Duration::from_nanos(1), max + Duration::from_nanos(1), Duration::MAX] {
        assert_eq!(relay.pulse(0, asked).await, Err(RelayError::PulseOutOfRange { asked, min, max }));
    }
    assert_eq!(bench.moves(), 0, "nothing reached the device");
    for asked in [min, max] {
        relay.pulse(0, asked).await.expect("a bound of the range");
        assert_eq!(bench.contact(0), Contact::On);
        bench.advance(asked + SOON);
        assert_eq!(bench.contact(0), Contact::Off, "after {asked:?}");
    }
}

async fn fails_in_time(bench: &impl RelayBench, how: Spoil) -> Vec<RelayError> {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    bench.spoil(how);
    let mut errors = Vec::new();
    for command in 0..3 {
        #[expect(clippy::disallowed_methods, reason = "the suite measures how long a driver really waits")]
        let begun = Instant::now();
        let result = match command {
            0 => relay.pulse(0, pulse).await,
            1 => relay.set(0, Contact::Off).await,
            _ => relay.status(0).await.map(|_| ()),
        };
        let waited = begun.elapsed();
        assert!(waited < bench.timeout() * 2 + Duration::from_secs(2), "{how:?}: waited {waited:?}");
        let error = result.expect_err("a spoiled reply is no success");
        if let Some(password) = bench.password() {
            assert!(!format!("{error} {error:?}").contains(&password), "a password in an error");
        }
        errors.push(error);
    }
    bench.spoil(Spoil::Nothing);
    relay.set(0, Contact::Off).await.expect("the healed device");
    assert_eq!(relay.status(0).await, Ok(Contact::Off));
    errors
}

/// No reply in time: [`RelayError::Timeout`], within the time promised; the next command works.
pub async fn a_slow_reply_is_a_timeout(bench: &impl RelayBench) {
    for error in fails_in_time(bench, Spoil::Slow).await {
        assert!(matches!(error, RelayError::Timeout { .. }), "{error:?}");
    }
}

/// A reply that breaks off: the command may have been carried out, and the error says so.
pub async fn half_a_reply_is_an_ambiguous_error(bench: &impl RelayBench) {
    for error in fails_in_time(bench, Spoil::Half).await {
        assert!(error.is_ambiguous() && error.is_temporary(), "{error:?}");
    }
}

/// Nonsense is never taken for a confirmation or a contact.
pub async fn garbage_is_an_ambiguous_error(bench: &impl RelayBench) {
    for error in fails_in_time(bench, Spoil::Garbage).await {
        assert!(error.is_ambiguous() && error.is_temporary(), "{error:?}");
    }
}

/// The device says no: neither a success nor something to repeat for ever.
pub async fn a_refusal_is_rejected(bench: &impl RelayBench) {
    let moves = bench.moves();
    if !bench.can_refuse() {
        let (relay, pulse) = (bench.relay(), pulse_of(bench));
        bench.spoil(Spoil::Refuse);
        for result in [relay.pulse(0, pulse).await, relay.set(0, Contact::On).await] {
            assert!(matches!(result, Err(RelayError::Rejected { .. })), "nothing moved: {result:?}");
        }
        assert_eq!((bench.contact(0), bench.moves()), (Contact::Off, moves));
        bench.spoil(Spoil::Nothing);
        relay.pulse(0, pulse).await.expect("the healed device");
        return;
    }
    for error in fails_in_time(bench, Spoil::Refuse).await {
        assert!(matches!(error, RelayError::Rejected { .. }), "{error:?}");
        assert!(!error.is_temporary() && !error.is_ambiguous());
    }
    assert_eq!(bench.moves(), moves + 1, "only the command after the refusals moved anything");
}

/// No link: a temporary error, and the same driver works again when the link does.
pub async fn a_lost_link_is_an_error_and_heals(bench: &impl RelayBench) {
    for error in fails_in_time(bench, Spoil::CutLink).await {
        assert!(error.is_temporary(), "{error:?}");
    }
}

/// A wrong password is [`RelayError::AuthFailed`], moves nothing, and is not worth repeating.
pub async fn a_wrong_password_is_said_plainly(bench: &impl RelayBench) {
    let Some(relay) = bench.relay_with_wrong_password() else {
        assert_eq!(bench.password(), None, "a protocol with a password must be tried with a wrong one");
        return;
    };
    for result in
        [relay.pulse(0, pulse_of(bench)).await, relay.set(0, Contact::On).await, relay.status(0).await.map(|_| ())]
    {
        let error = result.expect_err("a wrong password");
        assert!(matches!(error, RelayError::AuthFailed { .. }), "{error:?}");
        assert!(!error.is_temporary());
    }
    assert_eq!((bench.contact(0), bench.moves()), (Contact::Off, 0));
}

/// Commands that overlap each get their own answer.
pub async fn commands_may_overlap(bench: &impl RelayBench) {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    let (first, second, third) = tokio::join!(relay.pulse(0, pulse), relay.status(0), relay.pulse(0, pulse));
    assert_eq!((first, third), (Ok(()), Ok(())));
    assert!(second.is_ok());
    assert_eq!(bench.contact(0), Contact::On);
}

/// A caller may lose interest at any moment.
pub async fn a_dropped_command_harms_no_later_one(bench: &impl RelayBench) {
    let relay = bench.relay();
    bench.spoil(Spoil::Slow);
    for waited_ms in [0, 1, 5, 20] {
        let cut = tokio::time::timeout(Duration::from_millis(waited_ms), relay.status(0)).await;
        assert!(cut.is_err(), "a slow reply within {waited_ms} ms");
    }
    bench.spoil(Spoil::Nothing);
    relay.set(0, Contact::Off).await.expect("switching off");
    assert_eq!(relay.status(0).await, Ok(Contact::Off));
}

/// A device that loses its power in a pulse: whatever it does after, its status says so, and off is off.
pub async fn a_reboot_in_a_pulse_leaves_nothing_on_unseen(bench: &impl RelayBench) {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    relay.pulse(0, pulse).await.expect("a pulse");
    bench.advance(pulse / 2);
    bench.reboot();
    // The first command may find the old connection dead.
    let first = relay.status(0).await;
    if let Err(error) = &first {
        assert!(error.is_temporary(), "after a reboot: {error:?}");
    }
    let status = relay.status(0).await.expect("the device is back");
    assert_eq!(status, bench.contact(0), "the status is the device's");
    if is_device_timed(bench) {
        bench.advance(pulse + SOON);
        assert_eq!(bench.contact(0), Contact::Off, "a pulse timed on the device does not outlive a reboot for ever");
    }
    relay.set(0, Contact::Off).await.expect("switching off");
    assert_eq!((relay.status(0).await, bench.contact(0)), (Ok(Contact::Off), Contact::Off));
}

/// The same command twice in a row does no more than once, though the first answer was lost.
pub async fn a_command_sent_twice_is_harmless(bench: &impl RelayBench) {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    bench.spoil(Spoil::Half);
    relay.pulse(0, pulse).await.expect_err("a lost answer");
    bench.spoil(Spoil::Nothing);
    relay.pulse(0, pulse).await.expect("the same again");
    assert_eq!(bench.contact(0), Contact::On, "it is no toggle");
    for _ in 0..2 {
        relay.set(0, Contact::On).await.expect("on");
        assert_eq!(bench.contact(0), Contact::On, "on twice is on");
    }
    for _ in 0..2 {
        relay.set(0, Contact::Off).await.expect("off");
        assert_eq!(bench.contact(0), Contact::Off, "off twice is off");
    }
}

/// What a person at the device does is seen, and does not confuse what comes after.
pub async fn a_contact_moved_behind_its_back_is_seen(bench: &impl RelayBench) {
    let (relay, pulse) = (bench.relay(), pulse_of(bench));
    relay.pulse(0, pulse).await.expect("a pulse");
    bench.press(0, Contact::Off);
    assert_eq!(relay.status(0).await, Ok(Contact::Off), "pressed off in a pulse");
    bench.press(0, Contact::On);
    assert_eq!(relay.status(0).await, Ok(Contact::On), "pressed on");
    relay.set(0, Contact::Off).await.expect("switching off");
    assert_eq!(bench.contact(0), Contact::Off);
    relay.pulse(0, pulse).await.expect("the next pulse");
    assert_eq!(bench.contact(0), Contact::On);
}

/// Inputs are the device's, and one that does not exist is an error before anything is sent.
pub async fn inputs_are_read_from_the_device(bench: &impl RelayBench) {
    let relay = bench.relay();
    let inputs = relay.capabilities().inputs;
    for input in [inputs, u8::MAX] {
        assert_eq!(relay.input(input).await, Err(RelayError::NoSuchInput { input, inputs }));
    }
    for input in 0..inputs {
        for contact in [Contact::On, Contact::Off, Contact::On] {
            bench.close_input(input, contact);
            assert_eq!(relay.input(input).await, Ok(contact), "input {input}");
        }
        bench.close_input(input, Contact::Off);
    }
}
