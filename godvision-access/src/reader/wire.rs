//! [`Wire`]: a reader's protocol as a value. Bytes, commands and `now` go in; bytes and events come out.
//!
//! ```text
//! link up        --connected-->                --poll_send--> bytes for the device
//! bytes, now     --receive----->    Wire       --poll_event-> presented, input, nonsense, silence
//! an indication  --indicate---->               --next_wake--> when to come again with tick
//! ```
//! The async shell is [`StreamReader`](super::stream::StreamReader): it moves bytes and deadlines and takes no decision. A
//! protocol of one's own is this trait and nothing else.
//!
//! **Never:** IO, a clock, a secret outside of a [`Key`].

use std::collections::VecDeque;

use godvision_core::MonoTime;
use godvision_core::driver::reader::{Capabilities, Presented, ReaderError, ReaderEvent};
use godvision_core::signal::door::{DoorSense, Indication, Key};

/// Events that may wait to be taken; more are dropped and told as one [`WireEvent::Nonsense`].
pub const EVENTS_MAX: usize = 64;

/// What came out of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireEvent {
    /// Something for the door.
    Event(ReaderEvent),
    /// Bytes that are no message of the protocol; they were skipped. Says what was wrong, never the bytes.
    Nonsense(&'static str),
    /// The link is up, but the device does not answer or may not be trusted; the link is to be made anew.
    Lost(&'static str),
}

/// A reader's protocol.
pub trait Wire: Send {
    /// What the device can do. Never changes.
    fn capabilities(&self) -> &Capabilities;

    /// A new link: what was half read is forgotten, and what is to be shown is sent anew.
    fn connected(&mut self, now: MonoTime);

    /// Takes what the device sent.
    fn receive(&mut self, bytes: &[u8], now: MonoTime);

    /// Time has passed.
    fn tick(&mut self, now: MonoTime);

    /// When [`Wire::tick`] is due, if ever.
    fn next_wake(&self) -> Option<MonoTime>;

    /// The next event, oldest first.
    fn poll_event(&mut self) -> Option<WireEvent>;

    /// Appends what is to be sent to the device.
    fn poll_send(&mut self, out: &mut Vec<u8>);

    /// Shows `indication` at `channel` from `now` on.
    ///
    /// # Errors
    /// [`ReaderError::Unsupported`] without lamps or such a channel.
    fn indicate(&mut self, channel: u8, indication: Indication, now: MonoTime) -> Result<(), ReaderError>;

    /// Whether the device has confirmed, or need not confirm, what [`Wire::indicate`] was told last.
    fn is_settled(&self) -> bool {
        true
    }
}

/// The events of a wire that wait, bounded.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: VecDeque<WireEvent>,
    is_full: bool,
}

impl Events {
    fn push(&mut self, event: WireEvent) {
        if self.waiting.len() < EVENTS_MAX {
            self.waiting.push_back(event);
        } else if !std::mem::replace(&mut self.is_full, true) {
            self.waiting.push_back(WireEvent::Nonsense("more at once than anybody can present"));
        }
    }

    pub(super) fn present(&mut self, channel: u8, key: Key) {
        self.push(WireEvent::Event(Presented { channel, key }.into()));
    }

    pub(super) fn sense(&mut self, channel: u8, sense: DoorSense) {
        self.push(WireEvent::Event(ReaderEvent::Input { channel, sense }));
    }

    pub(super) fn nonsense(&mut self, what: &'static str) {
        // The same said many times in a row says no more.
        if self.waiting.back() != Some(&WireEvent::Nonsense(what)) {
            self.push(WireEvent::Nonsense(what));
        }
    }

    pub(super) fn lost(&mut self, what: &'static str) {
        self.push(WireEvent::Lost(what));
    }

    pub(super) fn pop(&mut self) -> Option<WireEvent> {
        let event = self.waiting.pop_front();
        if event.is_none() {
            self.is_full = false;
        }
        event
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// Cuts a stream of bytes into lines, bounded.
#[derive(Debug)]
pub(super) struct Lines<const MAX: usize> {
    line: Vec<u8>,
    /// The rest of a line that is too long is thrown away.
    is_too_long: bool,
}

/// A line that is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl<const MAX: usize> Default for Lines<MAX> {
    fn default() -> Self {
        Self { line: Vec::with_capacity(MAX), is_too_long: false }
    }
}

impl<const MAX: usize> Lines<MAX> {
    /// Takes one byte; gives a line without its end when it is whole. `\r` ends a line as `\n` does; empty lines are none.
    pub(super) fn push(&mut self, byte: u8) -> Option<Result<&[u8], TooLong>> {
        if self.line.last() == Some(&b'\n') {
            self.line.clear();
        }
        if byte == b'\n' || byte == b'\r' {
            if std::mem::take(&mut self.is_too_long) {
                self.line.clear();
                return Some(Err(TooLong));
            }
            if self.line.is_empty() {
                return None;
            }
            // Stays until the next byte, so that it can be lent.
            self.line.push(b'\n');
            return self.line.split_last().map(|(_, line)| Ok(line));
        }
        if self.line.len() >= MAX {
            self.is_too_long = true;
        } else if !self.is_too_long {
            self.line.push(byte);
        }
        None
    }

    /// Forgets what was begun.
    pub(super) fn clear(&mut self) {
        self.line.fill(0);
        self.line.clear();
        self.is_too_long = false;
    }

    /// Whether a line is begun.
    pub(super) fn is_begun(&self) -> bool {
        self.is_too_long || (!self.line.is_empty() && self.line.last() != Some(&b'\n'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_either_or_both() {
        let mut lines = Lines::<8>::default();
        let mut seen = Vec::new();
        for byte in b"one\ntwo\r\n\n\rlong long line\nend\r" {
            if let Some(line) = lines.push(*byte) {
                seen.push(line.map(<[u8]>::to_vec));
            }
        }
        assert_eq!(seen, [Ok(b"one".to_vec()), Ok(b"two".to_vec()), Err(TooLong), Ok(b"end".to_vec())]);
        lines.push(b'x');
        assert!(lines.is_begun());
        lines.clear();
        assert!(!lines.is_begun());
    }

    #[test]
    fn a_flood_of_events_is_bounded_and_told_once() {
        let mut events = Events::default();
        for number in 0..1000 {
            events.present(0, Key::Card(format!("{number:04X}").as_str().into()));
        }
        assert_eq!(events.len(), EVENTS_MAX + 1);
        let mut last = None;
        while let Some(event) = events.pop() {
            last = Some(event);
        }
        assert!(matches!(last, Some(WireEvent::Nonsense(_))));
        events.present(0, Key::Card("04".into()));
        assert_eq!(events.len(), 1, "and then it goes on");
    }
}
