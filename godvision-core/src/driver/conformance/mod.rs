//! Behaviour suites for drivers, exported: a driver of a stranger gets its tests in one line.
//!
//! A suite needs a *bench*: the driver under test together with the device (or a faithful fake of it) whose link can
//! be cut and whose replies can be spoiled. The suite looks at the device, never at what the driver remembers.
//!
//! **Never:** a test that passes by skipping.

pub mod archive;
pub mod reader;
pub mod relay;
