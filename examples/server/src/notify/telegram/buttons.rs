//! The buttons that open doors: [`Buttons`], a value without a clock or a source of chance.
//!
//! What a button carries is 16 random bytes that mean nothing anywhere but here: a person, their chat, a door, one
//! minute, one press. Who guesses one of 2^128, copies one from another's telephone or sends one again opens nothing.
//!
//! **Never:** a door or a person in what a button carries; buttons that outlive this program.

use std::collections::HashMap;
use std::time::Duration;

use godvision_core::{MonoTime, Name};

/// How long a button works.
pub const BUTTON_LIFE: Duration = Duration::from_secs(60);
/// Most buttons that work at once; those that end first make room.
pub const BUTTONS_MAX: usize = 4096;

/// What a button was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Who may press it.
    pub person: Name,
    /// In which chat.
    pub chat: i64,
    /// What it opens.
    pub door: Name,
}

/// Why a press opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such button: it was pressed already, or was never one of ours.
    Unknown,
    /// It was pressed too late.
    Expired,
    /// Somebody else's: it still works, for them.
    Foreign,
}

/// The buttons that still work.
#[derive(Debug, Default)]
pub struct Buttons(HashMap<String, (Offer, MonoTime)>);

impl Buttons {
    /// A button for `offer` that carries `nonce`; what it carries.
    pub fn make(&mut self, nonce: [u8; 16], offer: Offer, now: MonoTime) -> String {
        self.0.retain(|_, (_, until)| now < *until);
        if self.0.len() >= BUTTONS_MAX
            && let Some(first) = self.0.iter().min_by_key(|(_, (_, until))| *until).map(|(data, _)| data.clone())
        {
            self.0.remove(&first);
        }
        let data = crate::store::hex(&nonce);
        self.0.insert(data.clone(), (offer, now + BUTTON_LIFE));
        data
    }

    /// What is opened by the button that carries `data`, pressed in `chat`. It works no more after that.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn press(&mut self, data: &str, chat: i64, now: MonoTime) -> Result<Offer, Refusal> {
        let (offer, until) = self.0.get(data).ok_or(Refusal::Unknown)?;
        if offer.chat != chat {
            return Err(Refusal::Foreign);
        }
        let is_over = *until <= now;
        let (offer, _) = self.0.remove(data).ok_or(Refusal::Unknown)?;
        if is_over { Err(Refusal::Expired) } else { Ok(offer) }
    }

    /// Ends the buttons of a chat.
    pub fn forget(&mut self, chat: i64) {
        self.0.retain(|_, (offer, _)| offer.chat != chat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offer(chat: i64) -> Offer {
        Offer { person: "ada".parse().unwrap(), chat, door: "front".parse().unwrap() }
    }

    fn second(second: u64) -> MonoTime {
        MonoTime::from_millis(second * 1000)
    }

    #[test]
    fn a_button_works_once_in_time_and_for_its_chat() {
        let mut buttons = Buttons::default();
        let data = buttons.make([7; 16], offer(1), second(0));
        assert!(data.len() <= 64);
        assert_eq!(buttons.press(&data, 2, second(1)), Err(Refusal::Foreign));
        assert_eq!(buttons.press(&data, 1, second(1)), Ok(offer(1)), "a stranger's press did not end it");
        let data = buttons.make([8; 16], offer(1), second(0));
        assert_eq!(buttons.press(&data, 1, second(59)), Ok(offer(1)));
        assert_eq!(buttons.press(&data, 1, second(59)), Err(Refusal::Unknown), "once");
        let data = buttons.make([9; 16], offer(1), second(0));
        assert_eq!(buttons.press(&data, 1, second(60)), Err(Refusal::Expired));
        assert_eq!(buttons.press(&data, 1, second(1)), Err(Refusal::Unknown), "not even if a clock went back");
        let data = buttons.make([1; 16], offer(1), second(0));
        buttons.forget(1);
        assert_eq!(buttons.press(&data, 1, second(1)), Err(Refusal::Unknown));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut buttons = Buttons::default();
        for number in 0..2 * u128::try_from(BUTTONS_MAX).unwrap() {
            buttons.make(number.to_be_bytes(), offer(1), second(0));
            assert!(buttons.0.len() <= BUTTONS_MAX);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_back_opens_nothing_but_what_was_offered(
            nonce in any::<[u8; 16]>(), data in ".{0,70}", flip in 0usize..32, chat in 2i64..1000, late in 60u64..10_000,
        ) {
            let mut buttons = Buttons::default();
            let good = buttons.make(nonce, offer(1), second(0));
            let mut tampered = good.clone().into_bytes();
            tampered[flip] ^= 1;
            prop_assert_eq!(buttons.press(&String::from_utf8(tampered).unwrap(), 1, second(1)), Err(Refusal::Unknown));
            if data != good {
                prop_assert_eq!(buttons.press(&data, 1, second(1)), Err(Refusal::Unknown));
            }
            prop_assert_eq!(buttons.press(&good, chat, second(1)), Err(Refusal::Foreign));
            prop_assert_eq!(buttons.press(&good, 1, second(late)), Err(Refusal::Expired));
        }
    }
}
