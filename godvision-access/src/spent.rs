//! Counting the uses of passes: [`SpentStore`], which keeps a use durably *before* the door opens.
//!
//! A photographed pass is as good as the pass; only this count makes a guest's pass open once. So a use that could not
//! be kept is a refusal. [`crate::io::spent_log::SpentLog`] keeps the count in a file; a database of the application
//! implements the same trait.
//!
//! **Never:** a count in memory alone for a real door ([`MemorySpent`] forgets at restart).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use godvision_core::driver::BoxFuture;

use crate::error::Error;
use crate::pass::PassId;

/// Which pass: its signing key's id and its own.
pub type PassNumber = (u8, PassId);

/// What became of an attempt to spend a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spend {
    /// This use is kept; it would survive a crash.
    Kept {
        /// How often the pass has been used now, this use included.
        uses: u32,
    },
    /// The pass has been used as often as it may. Nothing was written.
    AlreadySpent,
}

/// A durable count of uses.
pub trait SpentStore: Send + Sync {
    /// How often the pass has been used.
    ///
    /// # Errors
    /// [`Error`], which is a refusal.
    fn uses(&self, pass: PassNumber) -> BoxFuture<'_, Result<u32, Error>>;

    /// Uses up one of at most `uses_max`, and returns once that would survive a crash. Of two attempts at the last use,
    /// one gets it.
    ///
    /// # Errors
    /// [`Error`], which is a refusal; the use may or may not have been kept.
    fn spend(&self, pass: PassNumber, uses_max: u32) -> BoxFuture<'_, Result<Spend, Error>>;
}

/// The count of one run of the program. For tests and demos: it forgets at restart.
#[derive(Debug, Default)]
pub struct MemorySpent(Mutex<HashMap<PassNumber, u32>>);

impl SpentStore for MemorySpent {
    fn uses(&self, pass: PassNumber) -> BoxFuture<'_, Result<u32, Error>> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&pass).copied().unwrap_or(0);
        Box::pin(async move { Ok(uses) })
    }

    fn spend(&self, pass: PassNumber, uses_max: u32) -> BoxFuture<'_, Result<Spend, Error>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = counts.entry(pass).or_default();
        let spend = if *uses < uses_max {
            *uses += 1;
            Spend::Kept { uses: *uses }
        } else {
            Spend::AlreadySpent
        };
        drop(counts);
        Box::pin(async move { Ok(spend) })
    }
}
