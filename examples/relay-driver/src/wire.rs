//! The Gatebox's protocol as values: what to send, and what an answer means. No IO, so every odd answer is a unit test.
//!
//! Source: the (invented) "Gatebox 2, network commands", revision 3. Lines of ASCII end with LF. `AUTH word` -> `OK`;
//! `PULSE n ms`, `SET n ON`, `STATE n` -> `OK n ON` or `OK n OFF`; `INPUT n` -> `OK n CLOSED` or `OK n OPEN`; n counts from
//! 1. What it does not do is answered `ERR reason`, a wrong word `DENIED`.
//!
//! **Never:** a default for an answer that is not understood.

use std::time::Duration;

use godvision_core::driver::relay::Contact;

/// Longest answer in bytes, its end included.
pub const ANSWER_BYTES_MAX: usize = 64;

/// What can be said to a Gatebox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// On for so long.
    Pulse(Duration),
    /// On or off.
    Set(Contact),
    /// Is it on?
    State,
    /// Is the input closed?
    Input,
}

impl Command {
    /// The line for channel or input `index`, counted from 0.
    pub fn line(self, index: u8) -> String {
        let number = u16::from(index) + 1;
        match self {
            Self::Pulse(duration) => format!("PULSE {number} {}\n", duration.as_millis()),
            Self::Set(Contact::On) => format!("SET {number} ON\n"),
            Self::Set(Contact::Off) => format!("SET {number} OFF\n"),
            Self::State => format!("STATE {number}\n"),
            Self::Input => format!("INPUT {number}\n"),
        }
    }
}

/// What a Gatebox answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `OK` to the password.
    Welcome,
    /// The contact of a channel or an input.
    Contact(u8, Contact),
    /// `DENIED`.
    Denied,
    /// `ERR` and why.
    Error(String),
}

impl Answer {
    /// Reads one line, its end included.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let line = line.strip_suffix(b"\n").ok_or("the line has no end")?;
        let line = std::str::from_utf8(line).map_err(|_| "the line is no text")?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["OK"] => Ok(Self::Welcome),
            ["DENIED"] => Ok(Self::Denied),
            ["ERR", reason @ ..] => Ok(Self::Error(reason.join(" "))),
            ["OK", number, state] => {
                let index = number.parse().ok().and_then(|number: u8| number.checked_sub(1)).ok_or("no such number")?;
                match *state {
                    "ON" | "CLOSED" => Ok(Self::Contact(index, Contact::On)),
                    "OFF" | "OPEN" => Ok(Self::Contact(index, Contact::Off)),
                    _ => Err("the state is unknown"),
                }
            }
            _ => Err("the line is none of the protocol"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_count_from_one() {
        assert_eq!(Command::Pulse(Duration::from_secs(3)).line(0), "PULSE 1 3000\n");
        assert_eq!(Command::Set(Contact::Off).line(255), "SET 256 OFF\n");
    }

    #[test]
    fn answers_are_exact_or_refused() {
        assert_eq!(Answer::parse(b"OK 2 ON\n"), Ok(Answer::Contact(1, Contact::On)));
        assert_eq!(Answer::parse(b"ERR no such channel\n"), Ok(Answer::Error("no such channel".into())));
        for odd in [&b"OK 2 ON"[..], b"OK 0 ON\n", b"OK 2 MAYBE\n", b"OK 256 ON\n", b"ok\n", b"\n", b"\xff\n", b""] {
            assert!(Answer::parse(odd).is_err(), "{odd:?}");
        }
    }
}
