//! Edges of two Wiegand wires into bits and pauses, as [`EdgeDecoder`]: what was seen and when goes in, [`Seen`] comes out.
//!
//! A wire is high at rest; a reader pulls DATA0 or DATA1 low for each bit, 20 to 100 µs long and 0.2 to 20 ms apart (SIA's
//! limits). Nothing protects a message of odd length, and one damaged message of 26 bits in four passes its two parities, so
//! that what a decent pair of wires does not do spoils the message to its end:
//!
//! | seen | is |
//! |---|---|
//! | low for [`PULSE_MIN`] to [`PULSE_MAX`] | a bit, at the time of its falling edge |
//! | low for less, with no message begun | a glitch: passed over and counted |
//! | low for less in a message, or for longer; both wires low; bits closer than [`BIT_MIN`]; edges lost, doubled or out of time; more than [`BITS_MAX`] bits | spoilt |
//! | no edge for [`GAP`] | the end of the message, or of what was spoilt |
//!
//! **Never:** a clock (times are the kernel's, of the edges themselves), a guess at a bit that was not whole.

use std::collections::VecDeque;
use std::time::Duration;

use super::wiegand::{BITS_MAX, GAP};

/// The shortest pulse that is a bit: a quarter of the shortest that readers send, for interrupts that come late.
pub const PULSE_MIN: Duration = Duration::from_micros(5);
/// The longest pulse that is a bit: ten times the longest that readers send. A wire that is cut or shorted stays longer.
pub const PULSE_MAX: Duration = Duration::from_millis(1);
/// Bits do not begin closer together: half of what readers keep.
pub const BIT_MIN: Duration = Duration::from_micros(100);

/// One bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bit {
    /// Which wire was pulled: DATA1 or DATA0.
    pub is_one: bool,
    /// When, in microseconds of any clock that does not jump; may wrap around.
    pub at_us: u32,
}

/// What a source has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A bit.
    Bit(Bit),
    /// No bit came for longer than [`GAP`], and it is so late: the message is whole. A source that does
    /// not say so is waited for somewhat longer.
    Pause {
        /// In microseconds of the bits' clock.
        at_us: u32,
    },
    /// The bits since the last pause are no message.
    Spoilt,
}

/// Which wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// DATA0, green as a rule.
    Zero,
    /// DATA1, white as a rule.
    One,
}

/// A change of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Which wire.
    pub wire: Data,
    /// From high to low: the beginning of a pulse.
    pub is_falling: bool,
    /// When, in nanoseconds of a clock that does not jump.
    pub at_ns: u64,
    /// Edges of both wires are numbered: one that is missing was lost. Wraps around.
    pub sequence: u32,
}

/// Bits so far.
#[derive(Debug, Default)]
pub struct EdgeDecoder {
    /// Since when each wire is low.
    low_since: [Option<u64>; 2],
    /// The last edge: its time and number.
    last: Option<(u64, u32)>,
    /// The falling edge of the last bit of this message.
    last_bit: Option<u64>,
    count: u32,
    is_spoilt: bool,
    /// It was said to be quiet since the last edge.
    is_quiet: bool,
    glitches: u64,
    seen: VecDeque<Seen>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Microseconds, wrapping around.
fn micros(at_ns: u64) -> u32 {
    u32::try_from(at_ns / 1000 % (1 << 32)).unwrap_or_default()
}

impl EdgeDecoder {
    /// Takes an edge; they are given in order.
    pub fn take(&mut self, edge: Edge) {
        let Edge { wire, is_falling, at_ns, sequence } = edge;
        let before = self.last.replace((at_ns, sequence));
        let is_next = before.is_none_or(|(last_ns, last)| last_ns <= at_ns && last.wrapping_add(1) == sequence);
        if let Some((last_ns, _)) = before.filter(|(last_ns, _)| at_ns.saturating_sub(*last_ns) > nanos(GAP)) {
            self.pause(last_ns);
        }
        // Whoever was late took a pause where none was: what came before is told, the rest of it is not.
        let is_late = std::mem::take(&mut self.is_quiet)
            && before.is_some_and(|(last_ns, _)| at_ns.saturating_sub(last_ns) <= nanos(GAP));
        if !is_next || is_late {
            self.spoil();
        }
        let (place, other) = match wire {
            Data::Zero => (0, 1),
            Data::One => (1, 0),
        };
        let is_other_low = self.low_since.get(other).is_some_and(Option::is_some);
        let Some(since) = self.low_since.get_mut(place) else { return };
        if is_falling {
            if since.replace(at_ns).is_some() || is_other_low {
                self.spoil();
            }
            return;
        }
        match since.take() {
            Some(since) if is_next && !is_other_low => self.pulse(wire, since, at_ns),
            // What it was when we began to look is not known.
            None if before.is_none() => {}
            _ => self.spoil(),
        }
    }

    /// A wire was low from `since` to `until`.
    fn pulse(&mut self, wire: Data, since: u64, until: u64) {
        let width = until.saturating_sub(since);
        if width < nanos(PULSE_MIN) && self.last_bit.is_none() && !self.is_spoilt {
            self.glitches += 1;
            return;
        }
        let is_close = self.last_bit.is_some_and(|last| since.saturating_sub(last) < nanos(BIT_MIN));
        let is_bit = (nanos(PULSE_MIN)..=nanos(PULSE_MAX)).contains(&width);
        if !is_bit || is_close || self.count == BITS_MAX {
            return self.spoil();
        }
        if !self.is_spoilt {
            (self.last_bit, self.count) = (Some(since), self.count + 1);
            self.seen.push_back(Seen::Bit(Bit { is_one: wire == Data::One, at_us: micros(since) }));
        }
    }

    /// No edge came for longer than [`GAP`]: whatever waits is at its end.
    pub fn quiet(&mut self) {
        if let Some((last_ns, _)) = self.last {
            self.is_quiet = true;
            self.pause(last_ns);
        }
    }

    /// Whether something waits for its end: [`EdgeDecoder::quiet`] is to be called if no edge comes.
    pub fn is_begun(&self) -> bool {
        self.last_bit.is_some() || self.is_spoilt
    }

    /// The next that was seen.
    pub fn poll(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    /// Pulses outside of messages that were too short for a bit.
    pub fn glitches(&self) -> u64 {
        self.glitches
    }

    fn pause(&mut self, last_ns: u64) {
        if self.low_since.iter().any(Option::is_some) {
            // A wire that does not come back: its last bit is not whole, and it is no pause until it does.
            return self.spoil();
        }
        let is_message = self.last_bit.take().is_some() && !self.is_spoilt;
        (self.is_spoilt, self.count) = (false, 0);
        if is_message {
            let at_us = micros(last_ns.saturating_add(nanos(GAP))).wrapping_add(1);
            self.seen.push_back(Seen::Pause { at_us });
        }
    }

    fn spoil(&mut self) {
        self.last_bit = None;
        if !std::mem::replace(&mut self.is_spoilt, true) {
            self.seen.push_back(Seen::Spoilt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wiegand::{self, Burst, Collector};
    use super::*;
    use proptest::prelude::*;

    const US: u64 = 1000;

    /// Which wire, when in microseconds, and for how long.
    type Pulse = (Data, u64, u64);
    type Change<'a> = &'a dyn Fn(&mut Vec<Pulse>);

    fn edges(pulses: &[Pulse]) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (wire, at_us, for_us) in pulses {
            edges.push(Edge { wire: *wire, is_falling: true, at_ns: at_us * US, sequence: 0 });
            edges.push(Edge { wire: *wire, is_falling: false, at_ns: (at_us + for_us) * US, sequence: 0 });
        }
        edges.sort_by_key(|edge| edge.at_ns);
        for (number, edge) in (0..).zip(&mut edges) {
            edge.sequence = number;
        }
        edges
    }

    fn message(burst: Burst, from_us: u64) -> Vec<Pulse> {
        let wire = |is_one| if is_one { Data::One } else { Data::Zero };
        (0..).zip(burst.iter()).map(|(place, bit)| (wire(bit), from_us + 2000 * place, 50)).collect()
    }

    fn seen(edges: &[Edge]) -> Vec<Seen> {
        let mut decoder = EdgeDecoder::default();
        let mut seen = Vec::new();
        for edge in edges {
            decoder.take(*edge);
            seen.extend(std::iter::from_fn(|| decoder.poll()));
        }
        decoder.quiet();
        seen.extend(std::iter::from_fn(|| decoder.poll()));
        seen
    }

    /// The messages in what was seen, as the bridge collects them.
    fn bursts(seen: &[Seen]) -> Vec<Burst> {
        let (mut collector, mut bursts) = (Collector::default(), Vec::new());
        for seen in seen {
            match seen {
                Seen::Bit(bit) => bursts.extend(collector.push(bit.is_one, bit.at_us)),
                Seen::Pause { at_us } => bursts.extend(collector.ended_before(*at_us)),
                Seen::Spoilt => drop(collector.end()),
            }
        }
        assert!(!collector.is_begun(), "everything has an end");
        bursts.into_iter().map(|burst| burst.unwrap()).collect()
    }

    const CARD: u128 = 0x7B_B26E;

    fn card() -> Burst {
        wiegand::encode(CARD, 26).unwrap()
    }

    #[test]
    fn messages_with_pauses_between_them() {
        let two = [message(card(), 1_000), message(card(), 100_000)].concat();
        let seen = seen(&edges(&two));
        assert_eq!(bursts(&seen), [card(), card()]);
        assert_eq!(seen.iter().filter(|seen| matches!(seen, Seen::Pause { .. })).count(), 2);
        let first = Seen::Bit(Bit { is_one: true, at_us: 1_000 });
        assert_eq!(seen.first(), Some(&first), "at its falling edge");
    }

    #[test]
    fn what_no_pair_of_wires_does_spoils_the_message_and_only_that() {
        let good = message(card(), 200_000);
        let spoilt = |change: Change<'_>| {
            let mut pulses = message(card(), 1_000);
            change(&mut pulses);
            let all = seen(&edges(&[pulses, good.clone()].concat()));
            assert_eq!(all.iter().filter(|seen| **seen == Seen::Spoilt).count(), 1, "{all:?}");
            bursts(&all)
        };
        let cases: [Change<'_>; 6] = [
            &|pulses| pulses.push((Data::One, 20_000, 3)),
            &|pulses| pulses[9].2 = 1_001,
            &|pulses| pulses.push((Data::Zero, pulses[9].1, 50)),
            &|pulses| pulses.push((Data::One, pulses[9].1 + 80, 10)),
            // Held down from the last bit on, for longer than the pause.
            &|pulses| pulses[25].2 = 60_000,
            &|pulses| pulses.extend((0..110).map(|place| (Data::One, 60_000 + 1_000 * place, 50))),
        ];
        for (number, change) in cases.into_iter().enumerate() {
            assert_eq!(spoilt(change), [card()], "case {number}");
        }
        let mut lost = edges(&message(card(), 1_000));
        for missing in 1..lost.len() - 1 {
            let edge = lost.remove(missing);
            assert_eq!(bursts(&seen(&lost)), [], "without edge {missing}");
            lost.insert(missing, edge);
        }
        let mut back = edges(&message(card(), 1_000));
        back[20].at_ns -= 5_000_000;
        assert_eq!(bursts(&seen(&back)), [], "a clock that goes back");
    }

    #[test]
    fn a_pause_that_was_none_spoils_the_rest() {
        let edges = edges(&message(card(), 1_000));
        let mut decoder = EdgeDecoder::default();
        for (number, edge) in edges.iter().enumerate() {
            if number == 20 {
                decoder.quiet();
            }
            decoder.take(*edge);
        }
        decoder.quiet();
        let seen: Vec<_> = std::iter::from_fn(|| decoder.poll()).collect();
        assert_eq!(seen.iter().filter(|seen| matches!(seen, Seen::Bit(_))).count(), 10, "{seen:?}");
        assert_eq!(seen.last(), Some(&Seen::Spoilt));
    }

    #[test]
    fn glitches_between_messages_are_passed_over() {
        let mut pulses = message(card(), 100_000);
        pulses.extend((0..20).map(|place| (Data::Zero, 1_000 + 700 * place, 4)));
        let mut decoder = EdgeDecoder::default();
        for edge in edges(&pulses) {
            decoder.take(edge);
        }
        decoder.quiet();
        let seen: Vec<_> = std::iter::from_fn(|| decoder.poll()).collect();
        assert_eq!((bursts(&seen), decoder.glitches(), decoder.is_begun()), (vec![card()], 20, false));
        // A rising edge first: the wire was low before anybody looked.
        let mut late = edges(&message(card(), 1_000));
        late.insert(0, Edge { wire: Data::One, is_falling: false, at_ns: 0, sequence: u32::MAX });
        assert_eq!(bursts(&super::tests::seen(&late)), [card()]);
    }

    proptest! {
        #[test]
        fn any_message_on_decent_wires_comes_back(
            bits: u128, count in 1..=BITS_MAX, width in 5..=150_u64, apart in 200..=20_000_u64, from in 0..=u64::from(u32::MAX),
        ) {
            let burst = Burst::new(bits, count).unwrap();
            let wire = |is_one| if is_one { Data::One } else { Data::Zero };
            let pulses: Vec<_> =
                (0..).zip(burst.iter()).map(|(place, bit)| (wire(bit), from + apart * place, width)).collect();
            prop_assert_eq!(bursts(&seen(&edges(&pulses))), [burst]);
        }
    }
}
