//! What the panel's side of OSDP does with devices that are silent, busy, made up or tampered with, on a virtual clock.

use std::time::Duration;

use godvision_access::reader::osdp::fake::{FakeDevice, Trouble};
use godvision_access::reader::osdp::{
    LEFT_OUT, OsdpBus, OsdpKey, OsdpOptions, OsdpWire, POLL_EVERY, REPLY_TIMEOUT, RETRIES_MAX,
};
use godvision_access::reader::wire::{Wire, WireEvent};
use godvision_core::MonoTime;
use godvision_core::driver::reader::{Presented, ReaderEvent};
use godvision_core::signal::door::{DoorSense, Indication, Key};

const KEY: [u8; 16] = *b"0123456789abcdef";

/// A panel and a device on one line.
struct Line {
    wire: OsdpWire,
    device: FakeDevice,
    now: MonoTime,
    /// Changes what the device sends.
    spoil: fn(&mut Vec<u8>),
    sent: u64,
}

impl Line {
    fn new(panel_key: Option<[u8; 16]>, device_key: Option<[u8; 16]>) -> Self {
        let options = OsdpOptions { address: 1, key: panel_key.map(OsdpKey::from), ..OsdpOptions::default() };
        let mut count = 0_u64;
        let random = move || {
            count += 1;
            Some(count.to_be_bytes())
        };
        let mut line = Self {
            wire: OsdpWire::new(options, Box::new(random)),
            device: FakeDevice::new(1, device_key.map(OsdpKey::from), 1),
            now: MonoTime::ZERO,
            spoil: |_| {},
            sent: 0,
        };
        line.wire.connected(line.now);
        line
    }

    /// Lets `time` pass; what came of it.
    fn run(&mut self, time: Duration) -> Vec<WireEvent> {
        let until = self.now + time;
        let mut events = Vec::new();
        loop {
            if self.now > until {
                return events;
            }
            let mut out = Vec::new();
            self.wire.poll_send(&mut out);
            if out.is_empty() {
                let wake = self.wire.next_wake().unwrap().max(self.now);
                if wake > until {
                    self.now = until;
                    return events;
                }
                self.now = wake;
                self.wire.tick(self.now);
            } else {
                self.sent += 1;
                assert!(self.sent < 10_000, "it sends without end");
                let mut answer = self.device.receive(&out);
                (self.spoil)(&mut answer);
                // A reply takes a millisecond.
                self.now = self.now + Duration::from_millis(1);
                self.wire.receive(&answer, self.now);
            }
            while let Some(event) = self.wire.poll_event() {
                let is_lost = matches!(event, WireEvent::Lost(_));
                events.push(event);
                if is_lost {
                    self.wire.connected(self.now);
                }
            }
        }
    }

    fn lost(events: &[WireEvent]) -> Vec<&'static str> {
        events.iter().filter_map(|event| if let WireEvent::Lost(why) = event { Some(*why) } else { None }).collect()
    }
}

fn card() -> WireEvent {
    WireEvent::Event(Presented { channel: 0, key: Key::Card("04A1B2C3".into()) }.into())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_device_with_another_key_is_lost_and_never_read_in_clear() {
    for device_key in [Some([7; 16]), None] {
        let mut line = Line::new(Some(KEY), device_key);
        line.device.card(0, 32, &[4, 0xA1, 0xB2, 0xC3]);
        let events = line.run(SECOND);
        let why = if device_key.is_some() { "it does not know the key" } else { "it refuses a secure session" };
        assert_eq!(Line::lost(&events).first(), Some(&why));
        assert!(!line.wire.is_secure());
        assert!(!events.contains(&card()));
    }
}

#[test]
fn a_reply_in_clear_or_with_a_wrong_mac_ends_the_session_and_is_never_read() {
    for (trouble, what) in [
        (Trouble::InClear, "an unprotected reply in a secure session"),
        (Trouble::WrongMac, "a reply whose MAC does not fit"),
    ] {
        let mut line = Line::new(Some(KEY), Some(KEY));
        line.run(SECOND);
        assert_eq!((line.wire.is_secure(), line.device.sessions()), (true, 1));
        line.device.trouble(trouble);
        line.device.card(0, 32, &[4, 0xA1, 0xB2, 0xC3]);
        let events = line.run(SECOND / 2);
        assert!(Line::lost(&events).iter().all(|why| *why == what) && !events.is_empty(), "{events:?}");
        assert!(!events.contains(&card()));
        line.device.trouble(Trouble::None);
        line.run(SECOND);
        assert!(line.wire.is_secure(), "a new session is made");
        line.device.card(0, 32, &[4, 0xA1, 0xB2, 0xC3]);
        assert_eq!(line.run(SECOND), [card()]);
    }
}

#[test]
fn a_recorded_card_is_no_card_the_second_time() {
    let mut line = Line::new(Some(KEY), Some(KEY));
    line.run(SECOND);
    // Somebody on the line sends each reply twice.
    line.spoil = |bytes| bytes.extend_from_within(..);
    line.device.card(0, 32, &[4, 0xA1, 0xB2, 0xC3]);
    let events = line.run(2 * SECOND);
    assert_eq!(events.iter().filter(|event| **event == card()).count(), 1, "{events:?}");
}

#[test]
fn a_silent_device_is_asked_again_and_then_lost() {
    let mut line = Line::new(None, None);
    assert_eq!(line.run(SECOND), []);
    line.device.trouble(Trouble::Silent);
    line.run(POLL_EVERY);
    let asked = line.sent;
    let events = line.run(REPLY_TIMEOUT * (RETRIES_MAX + 1));
    assert_eq!(Line::lost(&events), ["it does not answer"]);
    assert!(line.sent - asked >= u64::from(RETRIES_MAX));
    line.device.trouble(Trouble::None);
    line.run(SECOND);
    line.device.card(0, 32, &[4, 0xA1, 0xB2, 0xC3]);
    assert_eq!(line.run(SECOND), [card()]);
}

#[test]
fn lost_and_spoilt_replies_are_asked_for_again_and_nothing_is_read_twice() {
    for spoil in [
        (|bytes: &mut Vec<u8>| bytes.truncate(5)) as fn(&mut Vec<u8>),
        |bytes| bytes.clear(),
        |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x40),
        |bytes| bytes.splice(..0, *b"SSSS\xff\xff").for_each(drop),
    ] {
        for key in [None, Some(KEY)] {
            let mut line = Line::new(key, key);
            line.run(SECOND);
            line.device.card(0, 32, &[4, 0xA1, 0xB2, 0xC3]);
            line.spoil = spoil;
            let mut events = line.run(POLL_EVERY + REPLY_TIMEOUT / 2);
            line.spoil = |_| {};
            events.extend(line.run(SECOND));
            assert_eq!(events.iter().filter(|event| **event == card()).count(), 1, "{events:?}");
            assert_eq!(Line::lost(&events).len(), 0);
            if key.is_some() {
                assert_eq!(line.device.sessions(), 1, "the chain of MACs holds");
            }
        }
    }
}

#[test]
fn a_busy_device_is_waited_for_but_not_for_ever() {
    let mut line = Line::new(None, None);
    line.run(SECOND);
    line.device.trouble(Trouble::Busy);
    assert_eq!(line.run(2 * SECOND), [], "busy is no loss");
    line.device.trouble(Trouble::None);
    assert_eq!(line.run(SECOND), []);
    line.device.trouble(Trouble::Busy);
    let events = line.run(10 * SECOND);
    assert_eq!(Line::lost(&events).first(), Some(&"it is busy all the time"));
}

#[test]
fn a_device_without_lamps_is_still_a_reader() {
    let mut line = Line::new(Some(KEY), Some(KEY));
    line.device.trouble(Trouble::NoLamp);
    line.wire.indicate(0, Indication::Open, line.now).unwrap();
    line.device.card(0, 32, &[4, 0xA1, 0xB2, 0xC3]);
    assert_eq!(line.run(SECOND), [card()]);
    assert!(line.wire.is_settled() && line.wire.is_secure());
}

#[test]
fn a_card_that_is_cut_and_one_without_a_channel_are_none() {
    let mut line = Line::new(None, None);
    line.run(SECOND);
    line.device.card(0, 40, &[4, 0xA1]);
    line.device.card(5, 32, &[4, 0xA1, 0xB2, 0xC3]);
    line.device.card(0, 200, &[0xFF; 25]);
    line.device.nonsense();
    let what = |event: &WireEvent| matches!(event, WireEvent::Nonsense(_));
    let events = line.run(SECOND);
    assert!(events.len() == 4 && events.iter().all(what), "{events:?}");
}

#[test]
fn indications_that_follow_fast_leave_the_last_one_shown() {
    let mut line = Line::new(Some(KEY), Some(KEY));
    line.run(SECOND);
    for indication in [Indication::Busy, Indication::Open, Indication::Ready, Indication::Refused] {
        line.wire.indicate(0, indication, line.now).unwrap();
    }
    assert!(!line.wire.is_settled());
    let before = line.sent;
    line.run(POLL_EVERY / 2);
    assert_eq!((line.device.shown(0), line.wire.is_settled()), (Some(Indication::Refused), true));
    assert!(line.sent - before <= 4, "what was overtaken is not sent");
}

#[test]
fn a_device_that_is_away_does_not_stop_the_others_on_its_line() {
    let wire = |address| {
        let options = OsdpOptions { address, key: Some(OsdpKey::from(KEY)), ..OsdpOptions::default() };
        OsdpWire::new(options, Box::new(move || Some([address; 8])))
    };
    let mut bus = OsdpBus::new(vec![wire(1), wire(2)]);
    let mut devices = [1, 2].map(|address| FakeDevice::new(address, Some(OsdpKey::from(KEY)), 1));
    let mut now = MonoTime::ZERO;
    bus.connected(now);
    let mut run = |bus: &mut OsdpBus, devices: &mut [FakeDevice], time: Duration| {
        let until = now + time;
        let mut events = Vec::new();
        while now <= until {
            let mut out = Vec::new();
            bus.poll_send(&mut out);
            if out.is_empty() {
                now = bus.next_wake().unwrap().max(now + Duration::from_micros(1));
                bus.tick(now);
            } else {
                let answers: Vec<Vec<u8>> = devices.iter_mut().map(|device| device.receive(&out)).collect();
                assert!(answers.iter().filter(|answer| !answer.is_empty()).count() <= 1, "one speaks at a time");
                now = now + Duration::from_millis(1);
                bus.receive(&answers.concat(), now);
            }
            events.extend(std::iter::from_fn(|| bus.poll_event()));
        }
        events
    };
    assert_eq!(run(&mut bus, &mut devices, SECOND), []);
    devices[0].trouble(Trouble::Silent);
    let tampered = |is_so| WireEvent::Event(ReaderEvent::Input { channel: 0, sense: DoorSense::Tampered(is_so) });
    assert_eq!(run(&mut bus, &mut devices, 2 * SECOND), [tampered(true)], "told once, and the line is not lost");
    devices[1].card(0, 32, &[4, 0xA1, 0xB2, 0xC3]);
    let card = Presented { channel: 1, key: Key::Card("04A1B2C3".into()) };
    assert_eq!(run(&mut bus, &mut devices, SECOND), [WireEvent::Event(card.into())]);
    devices[0].trouble(Trouble::None);
    assert_eq!(run(&mut bus, &mut devices, LEFT_OUT + SECOND), [tampered(false)]);
    for device in &mut devices {
        device.trouble(Trouble::Silent);
    }
    let events = run(&mut bus, &mut devices, 3 * SECOND);
    assert!(events.contains(&WireEvent::Lost("it does not answer")), "{events:?}");
}
