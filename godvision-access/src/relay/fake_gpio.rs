//! Fake lines of a GPIO chip, behind the trait that the driver uses. Outputs are the lines from 0, inputs those from 100.
//!
//! **Never:** the kernel's interface itself.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::fake::{Board, Spoil};
use super::gpio::GpioLines;

/// The line of input 0.
pub const INPUT_LINE: u32 = 100;
/// How often a call that does not return looks whether it may.
const LOOK: Duration = Duration::from_millis(5);

/// Fake lines over a board.
pub struct FakeLines {
    board: Arc<Board>,
}

impl FakeLines {
    /// The lines of `board`.
    pub fn new(board: Arc<Board>) -> Self {
        Self { board }
    }

    /// What the system says about a call, after it was carried out or not.
    fn outcome(&self) -> io::Result<()> {
        let (never, wake) = (Mutex::new(()), Condvar::new());
        let mut held = never.lock().unwrap_or_else(PoisonError::into_inner);
        while self.board.spoiled() == Spoil::Silence {
            held = wake.wait_timeout(held, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        match self.board.spoiled() {
            // What a chip behind I2C returns when its bus fails.
            Spoil::Half | Spoil::Garbage => Err(io::Error::other("remote I/O error")),
            _ => Ok(()),
        }
    }

    fn is_there(&self) -> io::Result<()> {
        match self.board.spoiled() {
            Spoil::CutLink => Err(io::ErrorKind::NotFound.into()),
            Spoil::Refuse => Err(io::ErrorKind::ResourceBusy.into()),
            _ => Ok(()),
        }
    }
}

impl GpioLines for FakeLines {
    fn read(&mut self, line: u32, is_input: bool) -> io::Result<bool> {
        self.is_there()?;
        let number = if is_input { line.checked_sub(INPUT_LINE) } else { Some(line) };
        let number = number.and_then(|number| u8::try_from(number).ok()).ok_or(io::ErrorKind::InvalidInput)?;
        let value = if is_input { self.board.is_closed(number.into()) } else { self.board.is_on(number.into()) };
        let value = value.ok_or(io::ErrorKind::InvalidInput)?;
        self.outcome()?;
        Ok(value)
    }

    fn drive(&mut self, line: u32, is_active: bool) -> io::Result<()> {
        self.is_there()?;
        let channel = u8::try_from(line).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.board.command(channel.into(), is_active, None).ok_or(io::ErrorKind::InvalidInput)?;
        self.outcome()
    }
}
