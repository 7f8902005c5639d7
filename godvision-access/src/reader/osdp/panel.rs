//! The panel's side of one OSDP device, as a [`Wire`].
//!
//! ```text
//! ID (sequence 0) -> [challenge -> proof] -> local status, inputs -> poll, poll, poll ...
//!                                                    lamp and sounder go before the next poll
//! ```
//! One command is on its way at a time; without a reply within [`REPLY_TIMEOUT`] the same bytes are sent again, and after
//! [`RETRIES_MAX`] of these the device is lost.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use godvision_core::driver::reader::{Capabilities, ReaderError};
use godvision_core::signal::door::{DoorSense, Indication, Key};
use godvision_core::{MonoTime, Secret};
use zeroize::Zeroize;

use super::super::indication::{Blink, Buzzer, Led};
use super::super::keypad::{Keypad, Typed};
use super::super::wedge::{Digits, card_number};
use super::super::wiegand::{self, Burst, Formats, Reading};
use super::super::wire::{Events, Wire, WireEvent};
use super::frame::{Deframer, Found, Packet, Received};
use super::secure::{Keys, SCBK_D, Session, same};
use super::{command, reply};

/// A device answers within this time.
pub const REPLY_TIMEOUT: Duration = Duration::from_millis(200);
/// How often the same command is sent again before the device is lost.
pub const RETRIES_MAX: u32 = 3;
/// How often a device is asked what is new: half of it is what a card waits on average. At 9600 baud a protected poll and
/// its answer take 30 ms.
pub const POLL_EVERY: Duration = Duration::from_millis(50);
/// How long after an answer a device is asked again while somebody types at it: a PIN waits a fifth of the time. At 9600 baud
/// the line is then busy for three quarters of that time, and never more: nothing is asked before the answer.
pub const POLL_TYPING: Duration = Duration::from_millis(10);
/// A device that is busy is asked again after this time, as often as it says so within [`BUSY_MAX`].
const BUSY_WAIT: Duration = Duration::from_millis(200);
/// A device that is busy for longer is lost.
const BUSY_MAX: u32 = 25;
/// Most readers of one device.
pub const READERS_MAX: u8 = 8;

/// The base key of a device's secure channel (SCBK).
#[derive(Clone)]
pub struct OsdpKey([u8; 16]);

impl OsdpKey {
    /// From 32 hexadecimal digits; `None` if it is not that.
    pub fn from_hex(text: &Secret) -> Option<Self> {
        let digits = text.expose().as_bytes();
        let mut key = Self([0; 16]);
        if digits.len() != 32 {
            return None;
        }
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
        for (place, pair) in key.0.iter_mut().zip(digits.chunks(2)) {
            let [high, low] = *pair else { return None };
            *place = nibble(high)? << 4 | nibble(low)?;
        }
        Some(key)
    }

    /// Whether it is the default key of devices in installation mode, which everybody knows.
    pub fn is_default(&self) -> bool {
        same(&self.0, &SCBK_D)
    }

    pub(super) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for OsdpKey {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl Drop for OsdpKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for OsdpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is fixed about a device.
#[derive(Clone, Debug)]
pub struct OsdpOptions {
    /// Its address, 0 to 126.
    pub address: u8,
    /// The key of its secure channel; without one everything passes in clear.
    pub key: Option<OsdpKey>,
    /// Its readers, 1 to 8; each is a channel.
    pub readers: u8,
    /// Which of its inputs is the contact in the frame.
    pub contact: Option<u8>,
    /// Which of its inputs is the button to get out.
    pub exit: Option<u8>,
    /// How it writes cards that it sends as text.
    pub digits: Digits,
}

/// One reader at address 0, without a key and inputs.
impl Default for OsdpOptions {
    fn default() -> Self {
        Self { address: 0, key: None, readers: 1, contact: None, exit: None, digits: Digits::Hex }
    }
}

/// Where the session is.
enum Stage {
    /// Nothing was answered yet.
    Start,
    /// The device answered; the channel is to be made secure.
    Identified,
    /// The challenge was answered.
    Challenged(Keys, [u8; 16]),
    /// Cards are believed.
    Online(Option<Session>),
}

/// A command that waits for its reply.
struct Sent {
    code: u8,
    bytes: Vec<u8>,
    until: MonoTime,
    tries: u32,
    busy: u32,
    /// Whether it shows an indication.
    shows: bool,
}

/// Random bytes for a session; `None` if there are none.
pub type Random = Box<dyn FnMut() -> Option<[u8; 8]> + Send>;

/// The panel's side of one device.
pub struct OsdpWire {
    options: OsdpOptions,
    capabilities: Capabilities,
    random: Random,
    stage: Stage,
    /// Of the next command.
    sequence: u8,
    panel_random: [u8; 8],
    sent: Option<Sent>,
    /// Commands before the next poll: code and data, and whether it shows an indication.
    queue: VecDeque<(u8, Vec<u8>, bool)>,
    wanted: Vec<Indication>,
    keypads: Vec<Keypad>,
    poll_at: MonoTime,
    deframer: Deframer,
    events: Events,
    out: Vec<u8>,
    /// Others are on the line: it speaks only when it is given a turn.
    waits_for_turn: bool,
    /// What the device said last: contact, exit, lid.
    contact: Option<bool>,
    exit: bool,
    lid: bool,
}

impl OsdpWire {
    /// A device that shows [`Indication::Ready`] until told otherwise. `random` is asked for each secure session.
    pub fn new(options: OsdpOptions, random: Random) -> Self {
        let readers = options.readers.clamp(1, READERS_MAX);
        Self {
            capabilities: Capabilities { driver: "osdp", channels: readers, indicates: true },
            wanted: vec![Indication::Ready; readers.into()],
            keypads: vec![Keypad::default(); readers.into()],
            options,
            random,
            stage: Stage::Start,
            sequence: 0,
            panel_random: [0; 8],
            sent: None,
            queue: VecDeque::new(),
            poll_at: MonoTime::ZERO,
            deframer: Deframer::default(),
            events: Events::default(),
            out: Vec::new(),
            waits_for_turn: false,
            contact: None,
            exit: false,
            lid: false,
        }
    }

    /// Whether there is a secure session.
    pub fn is_secure(&self) -> bool {
        matches!(self.stage, Stage::Online(Some(_)))
    }

    /// Whether the device answers polls: what it says is believed.
    pub fn is_online(&self) -> bool {
        matches!(self.stage, Stage::Online(_))
    }

    /// The same on a line with others.
    pub(super) fn on_a_bus(mut self) -> Self {
        self.waits_for_turn = true;
        self
    }

    /// Whether a command of it is on the line.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent.is_some()
    }

    /// Sends one command, if there is one to send.
    pub(super) fn take_turn(&mut self, now: MonoTime) {
        self.send_next(now);
    }

    /// Whether somebody has begun to type a PIN.
    fn is_typed_at(&self) -> bool {
        self.keypads.iter().any(|keypad| keypad.next_wake().is_some())
    }

    /// Sends the next command unless others are on the line.
    fn go_on(&mut self, now: MonoTime) {
        if !self.waits_for_turn {
            self.send_next(now);
        }
    }

    /// Sends the next command if none is on its way.
    fn send_next(&mut self, now: MonoTime) {
        if self.sent.is_some() {
            return;
        }
        match &self.stage {
            Stage::Start => self.send(command::ID, vec![0], None, false, now),
            Stage::Identified => match (self.random)() {
                Some(random) => {
                    self.panel_random = random;
                    self.send(command::CHALLENGE, random.to_vec(), Some(0x11), false, now);
                }
                None => self.events.lost("there are no random numbers for a secure session"),
            },
            Stage::Challenged(_, proof) => self.send(command::PROOF, proof.to_vec(), Some(0x13), false, now),
            Stage::Online(_) => match self.queue.pop_front() {
                Some((code, data, shows)) => self.send(code, data, None, shows, now),
                None if self.poll_at <= now => self.send(command::POLL, Vec::new(), None, false, now),
                None => {}
            },
        }
    }

    fn send(&mut self, code: u8, data: Vec<u8>, handshake: Option<u8>, shows: bool, now: MonoTime) {
        let address = self.options.address;
        let mut packet = Packet { address, is_reply: false, sequence: self.sequence, security: None, code, data };
        let bytes = match &mut self.stage {
            Stage::Online(Some(session)) => {
                let is_empty = packet.data.is_empty();
                packet.security = Some((if is_empty { 0x15 } else { 0x17 }, Vec::new()));
                if !is_empty {
                    packet.data = session.encrypt(&packet.data);
                }
                packet.to_bytes(|head| session.sign(head))
            }
            _ => {
                // 1: by the device's own key, not the default one.
                packet.security = handshake.map(|kind| (kind, vec![1]));
                packet.to_bytes(|_| [0; 4])
            }
        };
        self.sequence = self.sequence % 3 + 1;
        // Whatever is left of an earlier reply does not belong to this command.
        self.deframer.clear();
        self.out.extend_from_slice(&bytes);
        self.sent = Some(Sent { code, bytes, until: now + REPLY_TIMEOUT, tries: 0, busy: 0, shows });
    }

    /// Starts the session anew; events that wait stay.
    fn restart(&mut self, now: MonoTime) {
        self.stage = Stage::Start;
        self.sequence = 0;
        self.sent = None;
        self.queue.clear();
        self.deframer.clear();
        self.out.clear();
        self.poll_at = now;
        for keypad in &mut self.keypads {
            keypad.clear();
        }
    }

    fn online(&mut self, session: Option<Session>, now: MonoTime) {
        self.stage = Stage::Online(session);
        self.poll_at = now + POLL_EVERY;
        self.queue.clear();
        self.queue.push_back((command::LOCAL_STATUS, Vec::new(), false));
        if self.options.contact.is_some() || self.options.exit.is_some() {
            self.queue.push_back((command::INPUT_STATUS, Vec::new(), false));
        }
        for channel in 0..self.capabilities.channels {
            self.queue_indication(channel);
        }
    }

    fn queue_indication(&mut self, channel: u8) {
        let Some(wanted) = self.wanted.get(usize::from(channel)) else { return };
        let (led, buzzer) = (led_data(channel, Led::of(*wanted)), buzzer_data(channel, Buzzer::of(*wanted)));
        // What this channel was to show before is not worth sending any more.
        self.queue.retain(|(_, data, shows)| !shows || data.first() != Some(&channel));
        self.queue.push_back((command::LED, led, true));
        self.queue.push_back((command::BUZZER, buzzer, true));
    }

    fn take(&mut self, received: Received, now: MonoTime) {
        let Received { packet, mac } = received;
        let Some(sent) = &self.sent else {
            return self.events.nonsense("a reply that nobody asked for");
        };
        if !packet.is_reply || packet.address != self.options.address {
            // Our own words come back on two wires; those of another device do not concern us.
            return;
        }
        if packet.code == reply::BUSY && packet.security.is_none() {
            return self.wait_for_busy(now);
        }
        if packet.sequence != sent.bytes.get(4).map_or(0, |control| control & 3) {
            return self.events.nonsense("a reply to another command");
        }
        let data = match (&mut self.stage, packet.security.as_ref().map(|(kind, _)| *kind), mac) {
            (Stage::Online(Some(session)), Some(kind @ (0x16 | 0x18)), Some((head, mac))) => {
                // Decrypted with the MAC before; believed only after its own is right.
                let data = if kind == 0x18 { session.decrypt(&packet.data) } else { Some(packet.data) };
                match data {
                    Some(data) if session.verify(&head, mac) => data,
                    // The device was restarted, or somebody else speaks: either way somebody should know.
                    _ => return self.lose("a reply whose MAC does not fit", now),
                }
            }
            (Stage::Online(Some(_)), _, _) => return self.lose("an unprotected reply in a secure session", now),
            (Stage::Identified | Stage::Challenged(..), Some(0x12 | 0x14), None) => packet.data,
            (_, None, None) => packet.data,
            _ => return self.events.nonsense("a reply with another protection than asked for"),
        };
        self.answered(packet.code, packet.security.is_some(), &data, now);
    }

    fn wait_for_busy(&mut self, now: MonoTime) {
        if let Some(sent) = &mut self.sent {
            sent.busy += 1;
            sent.until = now + BUSY_WAIT;
            // Asked again at that time; that does not count as no answer.
            sent.tries = 0;
            if sent.busy > BUSY_MAX {
                self.lose("it is busy all the time", now);
            }
        }
    }

    fn lose(&mut self, why: &'static str, now: MonoTime) {
        self.restart(now);
        self.events.lost(why);
    }

    fn answered(&mut self, code: u8, is_protected: bool, data: &[u8], now: MonoTime) {
        let Some(sent) = self.sent.take() else { return };
        match (std::mem::replace(&mut self.stage, Stage::Start), code) {
            (Stage::Start, reply::ID) => match self.options.key {
                Some(_) => self.stage = Stage::Identified,
                None => self.online(None, now),
            },
            (Stage::Identified, reply::PROOF) if is_protected => match self.challenged(data) {
                Some((keys, proof)) => self.stage = Stage::Challenged(keys, proof),
                None => self.lose("it does not know the key", now),
            },
            (Stage::Challenged(keys, proof), reply::FIRST_MAC) if is_protected => {
                let first = keys.first_mac(proof);
                if same(&first, data) {
                    self.online(Some(Session::new(keys, first)), now);
                } else {
                    self.lose("it does not know the key", now);
                }
            }
            (stage @ Stage::Online(_), reply::NAK) => {
                // A lamp it does not have is no reason to lose a reader; anything else is.
                self.stage = stage;
                let is_refusal = matches!(data.first(), Some(3));
                if !is_refusal || sent.code == command::POLL {
                    self.lose("it refuses a command", now);
                }
            }
            (stage @ Stage::Online(_), _) => {
                self.stage = stage;
                self.told(code, data, now);
                if sent.code == command::POLL {
                    self.poll_at = match code {
                        reply::ACK if self.is_typed_at() => now + POLL_TYPING,
                        reply::ACK => now + POLL_EVERY,
                        // A device that had something to tell may have more.
                        _ => now,
                    };
                }
            }
            (Stage::Start, reply::NAK) => self.lose("it refuses to say who it is", now),
            (_, reply::NAK) => self.lose("it refuses a secure session", now),
            _ => self.lose("it answers something else than it was asked", now),
        }
    }

    fn challenged(&self, data: &[u8]) -> Option<(Keys, [u8; 16])> {
        let (_, rest) = data.split_first_chunk::<8>()?;
        let (device, proof) = rest.split_first_chunk::<8>()?;
        let keys = Keys::derive(self.options.key.as_ref()?.bytes(), self.panel_random);
        let wanted = keys.device_proof(self.panel_random, *device);
        let ours = keys.panel_proof(self.panel_random, *device);
        same(&wanted, proof).then_some((keys, ours))
    }

    /// What the device has to tell.
    fn told(&mut self, code: u8, data: &[u8], now: MonoTime) {
        let result = match (code, data) {
            (reply::ACK, _) => Ok(()),
            (reply::RAW, [reader, _, low, high, bits @ ..]) => {
                self.raw(*reader, u16::from_le_bytes([*low, *high]), bits, now)
            }
            (reply::FORMATTED, [reader, backwards, length, text @ ..]) => {
                let text = text.get(..usize::from(*length)).ok_or("a card that is cut");
                text.and_then(|text| self.formatted(*reader, *backwards == 1, text))
            }
            (reply::KEYPAD, [reader, count, keys @ ..]) => {
                let keys = keys.get(..usize::from(*count)).ok_or("keys that are cut");
                keys.and_then(|keys| self.pressed(*reader, keys, now))
            }
            (reply::LOCAL_STATUS, [lid, ..]) => {
                self.lid_is(*lid != 0);
                Ok(())
            }
            (reply::READER_STATUS, readers) => {
                self.lid_is(readers.contains(&2));
                Ok(())
            }
            (reply::INPUT_STATUS, inputs) => {
                self.inputs(inputs);
                Ok(())
            }
            _ => Err("a reply that means nothing here"),
        };
        if let Err(what) = result {
            self.events.nonsense(what);
        }
    }

    fn keypad(&mut self, reader: u8) -> Result<(&mut Keypad, &mut Events), &'static str> {
        let keypad = self.keypads.get_mut(usize::from(reader)).ok_or("a message from an undefined channel")?;
        Ok((keypad, &mut self.events))
    }

    fn raw(&mut self, reader: u8, count: u16, bytes: &[u8], now: MonoTime) -> Result<(), &'static str> {
        let (keypad, events) = self.keypad(reader)?;
        let count = u32::from(count);
        let bytes =
            bytes.get(..usize::try_from(count.div_ceil(8)).unwrap_or(usize::MAX)).ok_or("a card that is cut")?;
        let bits = bytes.iter().take(16).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let burst = Burst::new(bits >> (count.next_multiple_of(8) - count), count).ok_or("a card of too many bits")?;
        // A packet's sum protects it, so that raw cards need no parity of their own.
        match wiegand::decode(burst, Formats::Raw) {
            Ok(Reading::Card(card)) => events.present(reader, Key::Card(card)),
            Ok(Reading::Pressed(key)) => typed(events, reader, keypad.press(key, now)),
            Err(_) => return Err("a card whose bits do not fit"),
        }
        Ok(())
    }

    fn formatted(&mut self, reader: u8, is_backwards: bool, text: &[u8]) -> Result<(), &'static str> {
        let digits = self.options.digits;
        let (_, events) = self.keypad(reader)?;
        let mut text = text.to_vec();
        if is_backwards {
            text.reverse();
        }
        let card = card_number(&text, digits);
        text.zeroize();
        events.present(reader, Key::Card(card.ok_or("a text that is no card number of this setting")?));
        Ok(())
    }

    fn pressed(&mut self, reader: u8, keys: &[u8], now: MonoTime) -> Result<(), &'static str> {
        let (keypad, events) = self.keypad(reader)?;
        for key in keys {
            let key = match key {
                b'0'..=b'9' | b'*' | b'#' => char::from(*key),
                0x7F => '*',
                0x0D => '#',
                _ => return Err("no key of a keypad"),
            };
            typed(events, reader, keypad.press(key, now));
        }
        Ok(())
    }

    fn lid_is(&mut self, is_open: bool) {
        if std::mem::replace(&mut self.lid, is_open) != is_open {
            self.events.sense(0, DoorSense::Tampered(is_open));
        }
    }

    fn inputs(&mut self, inputs: &[u8]) {
        let at = |place: Option<u8>| place.and_then(|place| inputs.get(usize::from(place))).map(|input| *input != 0);
        if let Some(is_open) = at(self.options.contact)
            && self.contact.replace(is_open) != Some(is_open)
        {
            self.events.sense(0, DoorSense::Ajar(is_open));
        }
        if let Some(is_pressed) = at(self.options.exit)
            && std::mem::replace(&mut self.exit, is_pressed) != is_pressed
            && is_pressed
        {
            self.events.sense(0, DoorSense::ExitRequested);
        }
    }
}

fn typed(events: &mut Events, reader: u8, typed: Typed) {
    match typed {
        Typed::Pin(pin) => events.present(reader, Key::Pin(pin)),
        Typed::TooLong => events.nonsense("more digits than a PIN has"),
        Typed::NoKey => events.nonsense("no key of a keypad"),
        Typed::More | Typed::Cleared => {}
    }
}

/// The data of `osdp_LED` for lamp 0 of a reader.
pub(super) fn led_data(reader: u8, led: Led) -> Vec<u8> {
    let blink = |blink: Blink| [blink.on_units, blink.off_units, blink.on as u8, blink.off as u8];
    let mut data = vec![reader, 0];
    match led.temporary {
        Some((temporary, lasts)) => {
            data.push(2);
            data.extend_from_slice(&blink(temporary));
            data.extend_from_slice(&lasts.to_le_bytes());
        }
        // 1: ends a temporary one that still runs.
        None => data.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0]),
    }
    data.push(1);
    data.extend_from_slice(&blink(led.permanent));
    data
}

/// The data of `osdp_BUZ` for a reader.
pub(super) fn buzzer_data(reader: u8, buzzer: Buzzer) -> Vec<u8> {
    let tone = if buzzer.sounds { 2 } else { 1 };
    vec![reader, tone, buzzer.on_units, buzzer.off_units, buzzer.count]
}

impl Wire for OsdpWire {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn connected(&mut self, now: MonoTime) {
        self.restart(now);
        self.go_on(now);
    }

    fn receive(&mut self, bytes: &[u8], now: MonoTime) {
        self.deframer.push(bytes);
        while let Some(found) = self.deframer.poll() {
            match found {
                Found::Packet(received) => self.take(received, now),
                Found::Nonsense => self.events.nonsense("bytes that are no packet"),
            }
        }
        self.go_on(now);
    }

    fn tick(&mut self, now: MonoTime) {
        for keypad in &mut self.keypads {
            keypad.tick(now);
        }
        if let Some(sent) = &mut self.sent
            && sent.until <= now
        {
            sent.tries += 1;
            if sent.tries > RETRIES_MAX {
                self.lose("it does not answer", now);
                return;
            }
            sent.until = now + REPLY_TIMEOUT;
            self.deframer.clear();
            self.out.extend_from_slice(&sent.bytes);
        }
        self.go_on(now);
    }

    fn next_wake(&self) -> Option<MonoTime> {
        let wake = match &self.sent {
            Some(sent) => sent.until,
            None if self.queue.is_empty() => self.poll_at,
            None => MonoTime::ZERO,
        };
        Some(self.keypads.iter().filter_map(Keypad::next_wake).fold(wake, MonoTime::min))
    }

    fn poll_event(&mut self) -> Option<WireEvent> {
        self.events.pop()
    }

    fn poll_send(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn indicate(&mut self, channel: u8, indication: Indication, now: MonoTime) -> Result<(), ReaderError> {
        let wanted = self.wanted.get_mut(usize::from(channel));
        let wanted = wanted.ok_or(ReaderError::Unsupported { what: "show anything at a channel it does not have" })?;
        *wanted = indication;
        if matches!(self.stage, Stage::Online(_)) {
            self.queue_indication(channel);
            self.go_on(now);
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        let is_waiting =
            self.queue.iter().any(|(_, _, shows)| *shows) || self.sent.as_ref().is_some_and(|sent| sent.shows);
        matches!(self.stage, Stage::Online(_)) && !is_waiting
    }
}
