//! Keypads and Wiegand readers behind a bridge: lines of text over TCP or a serial port, as [`BridgeWire`].
//!
//! The dissertation's eight keypads hang on a switch («Лик») whose wire it does not describe, and a Wiegand reader needs
//! somebody near who sees its bits. So the wire is ours, made to be written in an evening on any microcontroller: ASCII, a
//! line each, ended by `\n` or `\r\n`, at most [`LINE_BYTES_MAX`] bytes. `C` is a channel, from 0.
//!
//! | from the device | what |
//! |---|---|
//! | `key C K` | the key `K` was pressed: `0`-`9`, `*`, `#` |
//! | `bits C T B` | Wiegand bits `B` (`0` and `1`) without a pause between them, the first one at `T` |
//! | `bits C T` | it is `T` and no bit came: ends the message that is begun, if it was before the pause; sent once after each |
//! | `spoilt C` | the bits since the last pause are no message |
//! | `ajar C 0`, `ajar C 1` | the contact in the frame says shut, open |
//! | `exit C` | the button to get out was pressed |
//! | `lid C 0`, `lid C 1` | the lid is shut, open |
//! | `alive` | the answer to `alive?` |
//!
//! | to the device | what |
//! |---|---|
//! | `show C LAMPS` | three characters: `r` or `-` (red), `g` or `-` (green), `b` or `-` (sounder) |
//! | `alive?` | asked after [`ALIVE_AFTER`] without a line; a device silent for [`SILENCE_MAX`] is lost |
//!
//! `T` is in microseconds on the device's own clock, at most 32 bits, and wraps around: the network between may delay lines
//! without joining or splitting messages. A message ends by these times alone; if the device does not say its end, this
//! computer takes it for ended after [`BITS_WAIT`], but only a card whose parities fit: four bits of a card that a network has
//! cut are no key, and a shorter card is no card. What still comes of it is skipped.
//!
//! Blinks and beeps are timed by the host, as in the dissertation's `LikLock`.
//!
//! The wire is not encrypted and proves nothing: keep it on a cable or a network of its own, or take OSDP.
//!
//! **Not verified:** a bridge of anybody's: the wire is ours, and a fake written from it was all there was.
//!
//! **Never:** times of arrival where the device's own are known, more than one message in a line.

use std::time::Duration;

use godvision_core::MonoTime;
use godvision_core::driver::reader::{Capabilities, ReaderError};
use godvision_core::signal::door::{DoorSense, Indication, Key};

use super::indication::{Player, Profile, Shown};
use super::keypad::{Keypad, Typed};
use super::wiegand::{self, Burst, Collector, Defect, Formats, Reading};
use super::wire::{Events, Lines, Wire, WireEvent};

/// Longest line in bytes.
pub const LINE_BYTES_MAX: usize = 160;
/// Most channels of one bridge.
pub const CHANNELS_MAX: u8 = 64;
/// After so long without a line the device is asked whether it is there.
pub const ALIVE_AFTER: Duration = Duration::from_secs(5);
/// After so long without a line it is lost.
pub const SILENCE_MAX: Duration = Duration::from_secs(12);
/// Bits after which no line comes for so long are a card, if their parities fit: [`wiegand::GAP`] and what a network may delay
/// a line. Bits so soon after a new link may be the rest of a message.
pub const BITS_WAIT: Duration = Duration::from_millis(80);

/// What is fixed about a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeOptions {
    /// Its channels, 1 to [`CHANNELS_MAX`].
    pub channels: u8,
    /// Which Wiegand messages are believed.
    pub formats: Formats,
    /// What its readers can show.
    pub profile: Profile,
}

/// Eight keypads with two lamps and a sounder each, as in the dissertation.
impl Default for BridgeOptions {
    fn default() -> Self {
        Self { channels: 8, formats: Formats::Checked, profile: Profile::FULL }
    }
}

struct Channel {
    keypad: Keypad,
    bits: Collector,
    /// When a line with bits came last.
    bits_at: MonoTime,
    /// A message of which more may come.
    rest: Option<Rest>,
    player: Player,
    /// What the device was told.
    shown: Option<Shown>,
    /// When that changes by itself.
    change_at: Option<MonoTime>,
}

/// What may still come of a message that counts as ended, or whose beginning was not read.
#[derive(Clone, Copy)]
struct Rest {
    /// The device's time of its last bit, if that is known: what comes within [`wiegand::GAP`] belongs to it.
    last_us: Option<u32>,
    /// Nothing that comes later can belong to it.
    until: MonoTime,
}

impl Rest {
    fn goes_on(self, at_us: u32, now: MonoTime) -> bool {
        let pause = |last_us| Duration::from_micros(at_us.wrapping_sub(last_us).into());
        now < self.until && self.last_us.is_none_or(|last_us| pause(last_us) <= wiegand::GAP)
    }
}

/// The bridge's protocol.
pub struct BridgeWire {
    options: BridgeOptions,
    capabilities: Capabilities,
    channels: Vec<Channel>,
    lines: Lines<LINE_BYTES_MAX>,
    events: Events,
    out: Vec<u8>,
    heard: MonoTime,
    asked: bool,
}

impl BridgeWire {
    /// A bridge that shows [`Indication::Ready`] everywhere until told otherwise. `driver` is its name.
    pub fn new(driver: &'static str, options: BridgeOptions) -> Self {
        let count = options.channels.clamp(1, CHANNELS_MAX);
        let channel = || Channel {
            keypad: Keypad::default(),
            bits: Collector::default(),
            bits_at: MonoTime::ZERO,
            rest: None,
            player: Player::new(options.profile, Indication::Ready, MonoTime::ZERO),
            shown: None,
            change_at: None,
        };
        let profile = options.profile;
        Self {
            options,
            capabilities: Capabilities {
                driver,
                channels: count,
                indicates: profile.has_red || profile.has_green || profile.has_sounder,
            },
            channels: std::iter::repeat_with(channel).take(count.into()).collect(),
            lines: Lines::default(),
            events: Events::default(),
            out: Vec::new(),
            heard: MonoTime::ZERO,
            asked: false,
        }
    }

    /// Tells the device what has changed.
    fn show(&mut self, now: MonoTime) {
        if !self.capabilities.indicates {
            return;
        }
        for (number, channel) in self.channels.iter_mut().enumerate() {
            let shown = channel.player.shown(now);
            channel.change_at = channel.player.next_change(now);
            if channel.shown.replace(shown) != Some(shown) {
                let lamp = |is_on, letter| if is_on { letter } else { '-' };
                let (red, green, beep) = (lamp(shown.red, 'r'), lamp(shown.green, 'g'), lamp(shown.beep, 'b'));
                self.out.extend_from_slice(format!("show {number} {red}{green}{beep}\n").as_bytes());
            }
        }
    }
}

fn take_line(
    line: &[u8],
    channels: &mut [Channel],
    events: &mut Events,
    formats: Formats,
    now: MonoTime,
) -> Result<(), &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "a line that is no text")?;
    let mut words = text.split_ascii_whitespace();
    let what = words.next().ok_or("an empty line")?;
    if what == "alive" {
        return end_of(words);
    }
    if !["key", "bits", "spoilt", "ajar", "exit", "lid"].contains(&what) {
        return Err("a line that is no message");
    }
    let number: u8 = words.next().and_then(|word| word.parse().ok()).ok_or("a message without a channel")?;
    let channel = channels.get_mut(usize::from(number)).ok_or("a message from an undefined channel")?;
    let flag = |words: &mut std::str::SplitAsciiWhitespace<'_>| match words.next() {
        Some("0") => Ok(false),
        Some("1") => Ok(true),
        _ => Err("an input that is neither 0 nor 1"),
    };
    match what {
        "key" => {
            let mut key = words.next().unwrap_or_default().chars();
            let (Some(key), None) = (key.next(), key.next()) else { return Err("a message without a key") };
            end_of(words)?;
            press(events, &mut channel.keypad, number, key, now);
        }
        "bits" => {
            let at_us: u32 = words.next().and_then(|word| word.parse().ok()).ok_or("bits without a time")?;
            let bits = words.next().unwrap_or_default();
            end_of(words)?;
            if bits.bytes().any(|bit| bit != b'0' && bit != b'1') {
                return Err("bits that are neither 0 nor 1");
            }
            if channel.rest.is_some_and(|rest| rest.goes_on(at_us, now)) {
                if bits.is_empty() {
                    return Ok(());
                }
                channel.rest = Some(Rest { last_us: Some(at_us), until: now + SILENCE_MAX });
                return Err("the rest of a Wiegand message that was cut");
            }
            channel.rest = None;
            channel.bits_at = now;
            let mut ended = channel.bits.ended_before(at_us);
            for bit in bits.bytes() {
                ended = ended.or(channel.bits.push(bit == b'1', at_us));
            }
            if let Some(burst) = ended {
                read(events, &mut channel.keypad, number, burst, formats, now);
            }
        }
        "spoilt" => {
            end_of(words)?;
            // Forgotten, whatever it was.
            let _ = channel.bits.end();
            return Err("bits that are no message");
        }
        "ajar" => {
            let is_open = flag(&mut words)?;
            end_of(words)?;
            events.sense(number, DoorSense::Ajar(is_open));
        }
        "lid" => {
            let is_open = flag(&mut words)?;
            end_of(words)?;
            events.sense(number, DoorSense::Tampered(is_open));
        }
        _ => {
            end_of(words)?;
            events.sense(number, DoorSense::ExitRequested);
        }
    }
    Ok(())
}

fn end_of(mut words: std::str::SplitAsciiWhitespace<'_>) -> Result<(), &'static str> {
    if words.next().is_none() { Ok(()) } else { Err("a message with something behind it") }
}

fn press(events: &mut Events, keypad: &mut Keypad, channel: u8, key: char, now: MonoTime) {
    match keypad.press(key, now) {
        Typed::Pin(pin) => events.present(channel, Key::Pin(pin)),
        Typed::TooLong => events.nonsense("more digits than a PIN has"),
        Typed::NoKey => events.nonsense("no key of a keypad"),
        Typed::More | Typed::Cleared => {}
    }
}

fn read(
    events: &mut Events,
    keypad: &mut Keypad,
    channel: u8,
    burst: Result<Burst, Defect>,
    formats: Formats,
    now: MonoTime,
) {
    match burst.and_then(|burst| wiegand::decode(burst, formats)) {
        Ok(Reading::Card(card)) => events.present(channel, Key::Card(card)),
        Ok(Reading::Pressed(key)) => press(events, keypad, channel, key, now),
        Err(Defect::Length) => events.nonsense("a Wiegand message of a length that no format has"),
        Err(Defect::Parity) => events.nonsense("a Wiegand message whose parity does not fit"),
        Err(Defect::NoKey) => events.nonsense("no key of a keypad"),
        Err(Defect::TooLong) => events.nonsense("more bits than any Wiegand message has"),
    }
}

impl Wire for BridgeWire {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn connected(&mut self, now: MonoTime) {
        self.lines.clear();
        self.out.clear();
        self.heard = now;
        self.asked = false;
        for channel in &mut self.channels {
            channel.keypad.clear();
            channel.bits = Collector::default();
            channel.rest = Some(Rest { last_us: None, until: now + BITS_WAIT });
            channel.shown = None;
        }
        self.show(now);
    }

    fn receive(&mut self, bytes: &[u8], now: MonoTime) {
        if !bytes.is_empty() {
            self.heard = now;
            self.asked = false;
        }
        let Self { lines, channels, events, options, .. } = self;
        for byte in bytes {
            let taken = match lines.push(*byte) {
                Some(Ok(line)) => take_line(line, channels, events, options.formats, now),
                Some(Err(_)) => Err("a line longer than 160 bytes"),
                None => Ok(()),
            };
            if let Err(what) = taken {
                events.nonsense(what);
            }
        }
    }

    fn tick(&mut self, now: MonoTime) {
        let Self { channels, events, options, .. } = self;
        for (number, channel) in (0..).zip(channels.iter_mut()) {
            if channel.bits.is_begun() && now.since(channel.bits_at) >= BITS_WAIT {
                channel.rest = Some(Rest { last_us: Some(channel.bits.last_us()), until: now + SILENCE_MAX });
                match channel.bits.end() {
                    Some(Ok(burst)) if !burst.has_parities() => {
                        events.nonsense("a Wiegand message whose end the device did not tell");
                    }
                    Some(burst) => read(events, &mut channel.keypad, number, burst, options.formats, now),
                    None => {}
                }
            }
            channel.keypad.tick(now);
        }
        self.show(now);
        if now.since(self.heard) >= SILENCE_MAX {
            self.events.lost("it does not answer");
            self.heard = now;
        } else if now.since(self.heard) >= ALIVE_AFTER && !std::mem::replace(&mut self.asked, true) {
            self.out.extend_from_slice(b"alive?\n");
        }
    }

    fn next_wake(&self) -> Option<MonoTime> {
        let mut wake = self.heard + if self.asked { SILENCE_MAX } else { ALIVE_AFTER };
        for channel in &self.channels {
            let bits = channel.bits.is_begun().then(|| channel.bits_at + BITS_WAIT);
            for at in [bits, channel.keypad.next_wake(), channel.change_at].into_iter().flatten() {
                wake = wake.min(at);
            }
        }
        Some(wake)
    }

    fn poll_event(&mut self) -> Option<WireEvent> {
        self.events.pop()
    }

    fn poll_send(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn indicate(&mut self, channel: u8, indication: Indication, now: MonoTime) -> Result<(), ReaderError> {
        if !self.capabilities.indicates {
            return Err(ReaderError::Unsupported { what: "show anything" });
        }
        let known = self.channels.get_mut(usize::from(channel));
        let known = known.ok_or(ReaderError::Unsupported { what: "show anything at a channel it does not have" })?;
        known.player = Player::new(self.options.profile, indication, now);
        self.show(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::driver::reader::{Presented, ReaderEvent};

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }

    fn bridge() -> BridgeWire {
        let mut wire = BridgeWire::new("keypad", BridgeOptions::default());
        wire.connected(at(0));
        sent(&mut wire);
        // The link is not as new as its time says.
        wire.channels.iter_mut().for_each(|channel| channel.rest = None);
        wire
    }

    fn events(wire: &mut BridgeWire) -> Vec<WireEvent> {
        std::iter::from_fn(|| wire.poll_event()).collect()
    }

    fn sent(wire: &mut BridgeWire) -> String {
        let mut out = Vec::new();
        wire.poll_send(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn presented(channel: u8, key: Key) -> WireEvent {
        WireEvent::Event(Presented { channel, key }.into())
    }

    fn bits(burst: Burst) -> String {
        burst.iter().map(|bit| if bit { '1' } else { '0' }).collect()
    }

    #[test]
    fn keys_cards_and_inputs_come_with_their_channel() {
        let mut wire = bridge();
        wire.receive(b"key 3 2\nkey 5 9\r\nkey 3 5\nkey 3 #\n", at(10));
        assert_eq!(events(&mut wire), [presented(3, Key::Pin("25".into()))]);
        let card = bits(wiegand::encode(0x7B_B26E, 26).unwrap());
        wire.receive(format!("bits 1 1000 {card}\n").as_bytes(), at(20));
        assert_eq!(events(&mut wire), [], "the message may go on");
        wire.receive(b"bits 1 26001\n", at(21));
        assert_eq!(events(&mut wire), [presented(1, Key::Card("7BB26E".into()))]);
        wire.receive(b"ajar 0 1\nexit 0\nlid 7 1\nalive\n", at(30));
        let input = |channel, sense| WireEvent::Event(ReaderEvent::Input { channel, sense });
        assert_eq!(
            events(&mut wire),
            [input(0, DoorSense::Ajar(true)), input(0, DoorSense::ExitRequested), input(7, DoorSense::Tampered(true))]
        );
    }

    #[test]
    fn bits_by_the_line_are_one_message() {
        let mut wire = bridge();
        let card = bits(wiegand::encode(0x12_3456, 26).unwrap());
        for (place, bit) in card.chars().enumerate() {
            // Each bit 2 ms after the other on the device, however the network delays the lines.
            let line = format!("bits 0 {} {bit}\n", 5_000_000 + 2000 * place);
            wire.receive(line.as_bytes(), at(100 + 70 * place as u64));
        }
        let last = at(100 + 70 * 25);
        let wake = wire.next_wake().unwrap();
        assert_eq!(wake, last + BITS_WAIT);
        wire.tick(wake.saturating_sub(Duration::from_nanos(1)));
        assert_eq!(events(&mut wire), []);
        wire.tick(wake);
        assert_eq!(events(&mut wire), [presented(0, Key::Card("123456".into()))]);
    }

    #[test]
    fn a_wiegand_keypad_types_a_pin() {
        let mut wire = bridge();
        for (place, key) in [2, 5, 8, 0, 11].into_iter().enumerate() {
            let (at_us, now) = (300_000 * place, at(300 * place as u64));
            wire.receive(format!("bits 2 {at_us} {key:04b}\n").as_bytes(), now);
            wire.receive(format!("bits 2 {}\n", at_us + 26_000).as_bytes(), now);
            wire.tick(now + BITS_WAIT);
        }
        assert_eq!(events(&mut wire), [presented(2, Key::Pin("2580".into()))]);
    }

    const CUT: WireEvent = WireEvent::Nonsense("the rest of a Wiegand message that was cut");
    const NO_END: WireEvent = WireEvent::Nonsense("a Wiegand message whose end the device did not tell");

    #[test]
    fn a_message_that_the_network_cuts_is_no_key_and_no_shorter_card() {
        let options = BridgeOptions { formats: Formats::Raw, ..BridgeOptions::default() };
        let mut wire = BridgeWire::new("wiegand", options);
        wire.connected(at(0));
        sent(&mut wire);
        // Four bits, which would be `#`, and a hundred milliseconds until the line goes on.
        let card = "10111111111111111111111111111";
        let (head, tail) = card.split_at(4);
        let mut now = at(1000);
        for (place, bit) in (0..).zip(head.chars()) {
            wire.receive(format!("bits 0 {} {bit}\n", 2000 * place).as_bytes(), now);
        }
        now = now + Duration::from_millis(100);
        wire.tick(now);
        for (place, bit) in (4..).zip(tail.chars()) {
            wire.receive(format!("bits 0 {} {bit}\n", 2000 * place).as_bytes(), now);
        }
        wire.receive(b"bits 0 90000\n", now);
        assert_eq!(events(&mut wire), [NO_END, CUT]);
        wire.receive(format!("bits 0 1000000 {card}\nbits 0 1030000\n").as_bytes(), at(2000));
        assert_eq!(events(&mut wire), [presented(0, Key::Card("17FFFFFF".into()))], "the next one is whole");
        // A new link in the middle of a message.
        wire.connected(at(3000));
        wire.receive(b"bits 0 5000000 1011\n", at(3001));
        wire.receive(format!("bits 0 6000000 {card}\nbits 0 6030000\n").as_bytes(), at(3002));
        assert_eq!(events(&mut wire), [CUT, presented(0, Key::Card("17FFFFFF".into()))]);
        // What the device's clock says after a long time is not taken for the rest of something.
        wire.receive(b"bits 0 7000000 1011\n", at(4000));
        wire.tick(at(4000) + BITS_WAIT);
        wire.receive(format!("bits 0 7000000 {card}\nbits 0 7030000\n").as_bytes(), at(4100) + SILENCE_MAX);
        assert_eq!(events(&mut wire), [NO_END, presented(0, Key::Card("17FFFFFF".into()))]);
    }

    #[test]
    fn nonsense_is_told_without_its_bytes_and_skipped() {
        let mut wire = bridge();
        for line in [
            "key",
            "key 0",
            "key x 1",
            "key 0 12",
            "key 0 A",
            "key 0 1 1",
            "key 8 1",
            "key 256 1",
            "bits 0",
            "spoilt",
            "spoilt 0 1",
            "spoilt 64",
            "bits 0 x 1",
            "bits 0 4294967296 1",
            "bits 0 1 012",
            "ajar 0",
            "ajar 0 2",
            "lid 0 1 1",
            "exit 0 1",
            "alive 1",
            "card 0 04A1",
            "\u{fffd}",
        ] {
            wire.receive(format!("{line}\n").as_bytes(), at(1));
            let told = events(&mut wire);
            assert!(matches!(told.as_slice(), [WireEvent::Nonsense(_)]), "{line}: {told:?}");
        }
        wire.receive(&[b'x'; 100_000], at(2));
        wire.receive(b"\xff\n\xff\n", at(2));
        let told = [WireEvent::Nonsense("a line longer than 160 bytes"), WireEvent::Nonsense("a line that is no text")];
        assert_eq!(events(&mut wire), told);
        wire.receive(b"key 0 7\nkey 0 #\n", at(3));
        assert_eq!(events(&mut wire), [presented(0, Key::Pin("7".into()))], "after each of them it goes on");
    }

    #[test]
    fn a_new_link_forgets_what_was_half_read_and_shows_all_anew() {
        let mut wire = bridge();
        wire.indicate(6, Indication::Open, at(5)).unwrap();
        assert_eq!(sent(&mut wire), "show 6 -g-\n");
        wire.receive(b"key 0 1\nkey 0 2\nbits 1 0 0110\nkey 0", at(10));
        wire.connected(at(20));
        assert_eq!(sent(&mut wire).lines().nth(6), Some("show 6 -g-"));
        wire.receive(b" 3\nkey 0 4\nkey 0 #\n", at(30));
        wire.tick(at(500));
        assert_eq!(
            events(&mut wire),
            [WireEvent::Nonsense("a line that is no message"), presented(0, Key::Pin("4".into()))]
        );
    }

    #[test]
    fn a_refusal_is_played_to_the_millisecond() {
        let mut wire = bridge();
        wire.indicate(0, Indication::Refused, at(1000)).unwrap();
        let mut seen = vec![(1000, sent(&mut wire))];
        while let Some(wake) = wire.next_wake().filter(|wake| *wake < at(4000)) {
            wire.tick(wake);
            seen.push((wake.as_nanos() / 1_000_000, sent(&mut wire)));
        }
        let (beep, dark, red) = ("show 0 r-b\n", "show 0 ---\n", "show 0 r--\n");
        let expected =
            [(1000, beep), (1100, dark), (1500, beep), (1600, dark), (2000, beep), (2100, dark), (2800, red)];
        assert_eq!(seen, expected.map(|(at, line)| (at, line.to_owned())));
    }

    #[test]
    fn a_silent_device_is_asked_and_then_lost() {
        let mut wire = bridge();
        assert_eq!(wire.next_wake(), Some(at(0) + ALIVE_AFTER));
        wire.tick(at(0) + ALIVE_AFTER);
        assert_eq!(sent(&mut wire), "alive?\n");
        assert_eq!(wire.next_wake(), Some(at(0) + SILENCE_MAX));
        wire.tick(at(0) + SILENCE_MAX);
        assert_eq!(events(&mut wire), [WireEvent::Lost("it does not answer")]);
        wire.connected(at(20_000));
        wire.tick(at(20_000) + ALIVE_AFTER);
        wire.receive(b"alive\n", at(26_000));
        assert_eq!(wire.next_wake(), Some(at(26_000) + ALIVE_AFTER));
        assert_eq!(events(&mut wire), []);
    }
}
