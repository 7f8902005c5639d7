//! How fast a bot may speak: [`Pace`], a value without a clock.
//!
//! Telegram asks for at most a message a second in one chat and 30 a second in all, and says how long to wait where it was
//! too much (core.telegram.org/bots/faq, "My bot is hitting limits"). Whoever ignores that is silenced for longer.
//!
//! **Never:** groups, whose limit is lower: the bot speaks in private chats only.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use godvision_core::MonoTime;

/// Between two messages in one chat.
pub const CHAT_EVERY: Duration = Duration::from_secs(1);
/// Most messages in a second.
pub const PER_SECOND_MAX: usize = 30;

/// When something may be said again.
#[derive(Debug, Default)]
pub struct Pace {
    chats: HashMap<i64, MonoTime>,
    /// The last [`PER_SECOND_MAX`] messages.
    sent: VecDeque<MonoTime>,
    held_until: MonoTime,
}

impl Pace {
    /// From when on something may be said in `chat`.
    pub fn ready_at(&self, chat: i64) -> MonoTime {
        let of_chat = self.chats.get(&chat).copied().unwrap_or_default();
        let of_all = match self.sent.front() {
            Some(first) if self.sent.len() >= PER_SECOND_MAX => *first + Duration::from_secs(1),
            _ => MonoTime::ZERO,
        };
        of_chat.max(of_all).max(self.held_until)
    }

    /// Something is being said in `chat`.
    pub fn said(&mut self, chat: i64, now: MonoTime) {
        self.chats.retain(|_, next| now < *next);
        self.chats.insert(chat, now + CHAT_EVERY);
        if self.sent.len() >= PER_SECOND_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    /// Telegram wants nothing for so long: nothing in any chat, for it does not say which of the limits was met.
    pub fn hold(&mut self, now: MonoTime, after: Duration) {
        self.held_until = self.held_until.max(now + after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_chat_nor_all_of_them_hear_too_much() {
        let (mut pace, mut now) = (Pace::default(), MonoTime::from_millis(5000));
        let mut said: Vec<(i64, MonoTime)> = Vec::new();
        // A hundred chats, each with three messages, as fast as it goes.
        for chat in (0..3).flat_map(|_| 0..100) {
            now = now.max(pace.ready_at(chat));
            pace.said(chat, now);
            said.push((chat, now));
        }
        for (index, (chat, at)) in said.iter().enumerate() {
            let before = &said[..index];
            assert!(
                before.iter().filter(|(_, other)| at.since(*other) < Duration::from_secs(1)).count() < PER_SECOND_MAX
            );
            assert!(before.iter().all(|(other, then)| other != chat || at.since(*then) >= CHAT_EVERY));
        }
        assert_eq!(now, MonoTime::from_millis(14_000), "and no slower than it must: 300 messages");
        pace.hold(now, Duration::from_secs(7));
        assert_eq!(pace.ready_at(1000), now + Duration::from_secs(7));
        pace.hold(now, Duration::from_secs(3));
        assert_eq!(pace.ready_at(1000), now + Duration::from_secs(7), "the longer wait counts");
        assert!(pace.chats.len() <= 100);
    }
}
