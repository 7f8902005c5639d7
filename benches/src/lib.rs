//! How fast, beside whom: the parts that the benches and the program `compare` share.
//!
//! `compare QUESTION` runs us and the peers that are installed in turn and prints a table; `benches/` holds what one
//! needs to see a change in one's own code (`cargo bench -p godvision-benches`). See `README.md` for what each question
//! measures and what came out.
//!
//! **Never:** a test that asserts on time; a figure of wall-clock time.

pub mod child;
pub mod clip;
pub mod cpu;
pub mod held;
pub mod oracle;
pub mod process;
pub mod question;
pub mod rules_world;
pub mod scene;
pub mod table;
