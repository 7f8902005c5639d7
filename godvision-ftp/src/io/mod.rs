//! Where bytes meet disks: the edge under the pure modules.
//!
//! * [`disk`]: the handful of file operations that the spool needs, as a trait, so that tests can let them fail at
//!   every step.
//! * [`spool`]: the durable spool.
//! * [`recorder`]: one camera's fragments and motion, cut into clips and written to the spool.
//! * [`uploader`]: drains the spool into an archive.
//!
//! **Never:** decisions. When to cut, what to give up, when to try again is decided by the pure modules.

pub mod disk;
pub mod manifest;
pub mod recorder;
pub mod spool;
pub mod uploader;
