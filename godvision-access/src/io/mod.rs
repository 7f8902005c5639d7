//! The edge: what reads and writes files. No decision is taken here.

mod appended;
pub mod premises_log;
pub mod snapshot_file;
pub mod spent_log;
