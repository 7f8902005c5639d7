//! A bench of the behaviour suite for every driver whose fake stands on a `Board`.

use std::sync::Arc;
use std::time::Duration;

use godvision_access::relay::fake_board::{self, Board};
use godvision_core::ManualClock;
use godvision_core::driver::conformance::relay::{RelayBench, Spoil};
use godvision_core::driver::relay::{Contact, Relay};

pub(crate) const TIMEOUT: Duration = Duration::from_millis(250);

/// A driver and the fake behind it; `device` keeps the fake running.
#[allow(dead_code, reason = "not every bench asks its device")]
pub(crate) struct BoardBench<D> {
    pub(crate) clock: ManualClock,
    pub(crate) board: Arc<Board>,
    pub(crate) device: D,
    pub(crate) relay: Arc<dyn Relay>,
    pub(crate) wrong: Option<Arc<dyn Relay>>,
    pub(crate) password: Option<&'static str>,
    pub(crate) can_refuse: bool,
}

/// A board at rest on a clock of its own.
pub(crate) fn board(channels: u8, inputs: u8) -> (ManualClock, Arc<Board>) {
    let clock = ManualClock::default();
    let board = Arc::new(Board::new(channels, inputs, Arc::new(clock.clone())));
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

    fn can_refuse(&self) -> bool {
        self.can_refuse
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn moves(&self) -> usize {
        self.board.moves()
    }
}
