//! A device in installation mode is given its key by an act of its own, and by nothing else.

use std::time::Duration;

use godvision_access::reader::osdp::fake::{FakeDevice, Trouble};
use godvision_access::reader::osdp::{
    INSTALLED, OsdpInstall, OsdpKey, OsdpOptions, OsdpWire, POLL_TYPING, REPLY_TIMEOUT, RETRIES_MAX,
};
use godvision_access::reader::wire::{Wire, WireEvent};
use godvision_core::MonoTime;
use godvision_core::signal::door::Indication;
use proptest::prelude::*;

const KEY: [u8; 16] = *b"0123456789abcdef";
const OTHER: [u8; 16] = *b"fedcba9876543210";
const DEFAULT: [u8; 16] = *b"0123456789:;<=>?";
const LINE: Duration = Duration::from_millis(1);

fn install() -> OsdpInstall {
    OsdpInstall::new(1, KEY.into(), Box::new(|| Some([7; 8]))).unwrap()
}

fn panel(key: Option<[u8; 16]>) -> OsdpWire {
    let options = OsdpOptions { address: 1, key: key.map(OsdpKey::from), ..OsdpOptions::default() };
    OsdpWire::new(options, Box::new(|| Some([9; 8])))
}

/// Lets them talk for `time`; what came of it, and what passed on the line.
fn talk(wire: &mut dyn Wire, device: &mut FakeDevice, now: &mut MonoTime, time: Duration) -> (Vec<WireEvent>, Vec<u8>) {
    let (until, mut line) = (*now + time, Vec::new());
    let mut events: Vec<_> = std::iter::from_fn(|| wire.poll_event()).collect();
    while *now <= until {
        let mut out = Vec::new();
        wire.poll_send(&mut out);
        if out.is_empty() {
            let Some(wake) = wire.next_wake() else { break };
            *now = wake.max(*now);
            if *now <= until {
                wire.tick(*now);
            }
        } else {
            let answer = device.receive(&out);
            line.extend(out);
            line.extend_from_slice(&answer);
            *now = *now + LINE;
            wire.receive(&answer, *now);
        }
        events.extend(std::iter::from_fn(|| wire.poll_event()));
    }
    *now = until;
    (events, line)
}

const SOON: Duration = Duration::from_secs(2);

#[test]
fn a_device_in_installation_mode_is_given_its_key_once() {
    let (mut wire, mut device, mut now) = (install(), FakeDevice::in_installation(1), MonoTime::ZERO);
    device.card(0, 26, &[1, 2, 3, 0]);
    wire.connected(now);
    let (events, line) = talk(&mut wire, &mut device, &mut now, SOON);
    assert_eq!(events, [WireEvent::Lost(INSTALLED)], "and the card is not read");
    assert_eq!((wire.is_installed(), device.keys_set(), device.sessions()), (true, 1, 2));
    assert!(!line.windows(16).any(|window| window == KEY), "it never passes in clear");

    wire.connected(now);
    let (events, line) = talk(&mut wire, &mut device, &mut now, SOON);
    assert_eq!((events, line), (vec![WireEvent::Lost(INSTALLED)], Vec::new()), "nothing more is sent");

    let mut reader = panel(Some(KEY));
    reader.connected(now);
    let (events, _) = talk(&mut reader, &mut device, &mut now, SOON);
    assert!(reader.is_secure() && events.len() == 1, "the card that waited: {events:?}");
}

#[test]
fn no_reader_gives_a_key_away_or_takes_the_default_one() {
    for key in [None, Some(KEY)] {
        let (mut wire, mut device, mut now) = (panel(key), FakeDevice::in_installation(1), MonoTime::ZERO);
        wire.connected(now);
        let (events, _) = talk(&mut wire, &mut device, &mut now, SOON);
        assert_eq!((device.keys_set(), device.sessions(), wire.is_secure()), (0, 0, false), "{events:?}");
    }
    assert!(OsdpInstall::new(1, DEFAULT.into(), Box::new(|| None)).is_none());
    assert!(OsdpKey::from(DEFAULT).is_default() && !OsdpKey::from(KEY).is_default());
}

#[test]
fn a_device_that_has_a_key_keeps_it() {
    let (mut wire, mut device, mut now) = (install(), FakeDevice::new(1, Some(OTHER.into()), 1), MonoTime::ZERO);
    wire.connected(now);
    let (events, _) = talk(&mut wire, &mut device, &mut now, SOON);
    assert!(
        matches!(events.as_slice(), [WireEvent::Lost(why)] if why.contains("not in installation mode")),
        "{events:?}"
    );
    assert_eq!((wire.is_installed(), device.keys_set()), (false, 0));

    let (mut wire, mut device) = (install(), FakeDevice::new(1, Some(KEY.into()), 1));
    wire.connected(now);
    let (events, _) = talk(&mut wire, &mut device, &mut now, SOON);
    assert_eq!((events, device.keys_set()), (vec![WireEvent::Lost(INSTALLED)], 0), "it has it already");
}

#[test]
fn what_is_not_proven_is_not_believed() {
    for (trouble, is_installed) in [
        (Trouble::InClear, true),
        (Trouble::WrongMac, false),
        (Trouble::NoKeys, false),
        (Trouble::Silent, false),
        (Trouble::Busy, false),
    ] {
        let (mut wire, mut device, mut now) = (install(), FakeDevice::in_installation(1), MonoTime::ZERO);
        device.trouble(trouble);
        wire.connected(now);
        let (events, _) = talk(&mut wire, &mut device, &mut now, REPLY_TIMEOUT * (RETRIES_MAX + 2));
        // An answer in clear is that of a device which forgot the session: its new key is proven all the same.
        assert_eq!(wire.is_installed(), is_installed, "{trouble:?}: {events:?}");
        assert!(matches!(events.as_slice(), [WireEvent::Lost(_)]), "{trouble:?}: {events:?}");
    }
    let mut wire = OsdpInstall::new(1, KEY.into(), Box::new(|| None)).unwrap();
    let (mut device, mut now) = (FakeDevice::in_installation(1), MonoTime::ZERO);
    wire.connected(now);
    let (events, _) = talk(&mut wire, &mut device, &mut now, SOON);
    assert!(matches!(events.as_slice(), [WireEvent::Lost(why)] if why.contains("random")), "{events:?}");
    assert!(wire.indicate(0, Indication::Ready, now).is_err());
}

#[test]
fn a_pin_waits_less_than_a_card() {
    let (mut wire, mut device, mut now) = (panel(Some(KEY)), FakeDevice::new(1, Some(KEY.into()), 1), MonoTime::ZERO);
    wire.connected(now);
    talk(&mut wire, &mut device, &mut now, SOON);
    let mut longest = Duration::ZERO;
    for number in 0..40_u64 {
        for key in ["2", "5", "8", "0"] {
            device.press(0, key);
            let (events, _) = talk(&mut wire, &mut device, &mut now, Duration::from_millis(183 + number));
            assert!(events.is_empty());
        }
        device.press(0, "#");
        let pressed = now;
        while talk(&mut wire, &mut device, &mut now, LINE).0.is_empty() {
            assert!(now < pressed + SOON);
        }
        longest = longest.max(now.since(pressed));
    }
    assert!(longest <= POLL_TYPING + LINE * 4, "{longest:?}");
    // Whoever walks away leaves a quiet line.
    device.press(0, "2");
    talk(&mut wire, &mut device, &mut now, Duration::from_secs(12));
    let (_, line) = talk(&mut wire, &mut device, &mut now, Duration::from_secs(1));
    assert!(line.len() < 21 * 28, "twenty polls and answers a second: {}", line.len());
}

proptest! {
    /// Whatever a line says, no key is given to who did not prove the default one, and nothing is presented.
    #[test]
    fn any_bytes_install_nothing(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..30)) {
        let (mut wire, mut now) = (install(), MonoTime::ZERO);
        wire.connected(now);
        for chunk in chunks {
            wire.receive(&chunk, now);
            now = now + REPLY_TIMEOUT;
            wire.tick(now);
            let mut out = Vec::new();
            wire.poll_send(&mut out);
            prop_assert!(out.len() < 400);
            while let Some(event) = wire.poll_event() {
                prop_assert!(!matches!(event, WireEvent::Event(_)));
            }
        }
        prop_assert!(!wire.is_installed());
    }
}
