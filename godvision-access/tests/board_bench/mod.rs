//! A bench of the behaviour suite for every driver whose fake stands on a `FakeBoard`.

use std::sync::Arc;
use std::time::Duration;

use godvision_access::relay::fake_board::{self, FakeBoard};
use godvision_core::ManualClock;
use godvision_core::driver::conformance::relay::{RelayBench, Spoil};
use godvision_core::driver::relay::{Contact, Relay};

pub(crate) const TIMEOUT: Duration = Duration::from_millis(250);

/// A driver and the fake behind it; `device` keeps the fake running.
#[allow(dead_code, reason = "not every bench asks its device")]
pub(crate) struct BoardBench<D> {
    pub(crate) clock: ManualClock,
    pub(crate) board: Arc<FakeBoard>,
    pub(crate) device: D,
    pub(crate) relay: Arc<dyn Relay>,
    pub(crate) wrong: Option<Arc<dyn Relay>>,
    pub(crate) password: Option<&'static str>,
}

/// A board at rest on a clock of its own.
pub(crate) fn board(channels: u8, inputs: u8) -> (ManualClock, Arc<FakeBoard>) {
    let clock = ManualClock::default();
    let board = FakeBoard::new(channels, inputs, Arc::new(clock.clone()));
    (clock, board)
}

impl<D> RelayBench for BoardBench<D> {
    fn relay(&self) -> Arc<dyn Relay> {
        Arc::clone(&self.relay)
    }

    fn relay_with_wrong_password(&self) -> Option<Arc<dyn Relay>> {
        self.wrong.clone()
    }

    fn password(&self) -> Option<String> {
        self.password.map(str::to_owned)
    }

    fn timeout(&self) -> Duration {
        TIMEOUT
    }

    fn contact(&self, channel: u8) -> Contact {
        self.board.contact(channel)
    }

    fn press(&self, channel: u8, contact: Contact) {
        self.board.press(channel, contact);
    }

    fn spoil(&self, how: Spoil) {
        self.board.spoil(match how {
            Spoil::Nothing => fake_board::Spoil::Nothing,
            Spoil::CutLink => fake_board::Spoil::CutLink,
            Spoil::Slow => fake_board::Spoil::Silence,
            Spoil::Half => fake_board::Spoil::Half,
            Spoil::Garbage => fake_board::Spoil::Garbage,
            Spoil::Refuse => fake_board::Spoil::Refuse,
        });
    }

    fn close_input(&self, input: u8, contact: Contact) {
        self.board.close_input(input, contact);
    }

    fn reboot(&self) {
        self.board.reboot();
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn moves(&self) -> usize {
        self.board.moves()
    }
}
