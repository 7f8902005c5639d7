//! A fake SR-201 board: commands without an end, eight characters for an answer, six connections, 15 s of patience.
//!
//! See the sources in [`sr201`](super::sr201). It cannot refuse: told to ([`Spoil::Refuse`](super::fake::Spoil)), it
//! ignores commands, as a board with a dead relay driver does. As the manual leaves it open, `1N:S` does not touch a relay
//! that is on.

use std::sync::Arc;
use std::time::Duration;

use godvision_core::Clock;
use tokio::net::TcpStream;

use super::fake::{Board, Fake, read_more};

/// Connections that the board keeps.
pub const CONNECTIONS_MAX: usize = 6;
/// How long the board keeps an idle connection.
pub const IDLE: Duration = Duration::from_secs(15);

/// Starts a board with so many relays, eight at most.
///
/// # Errors
/// What the system says about the port.
pub async fn start(channels: u8, clock: Arc<dyn Clock>) -> std::io::Result<Fake> {
    let serve = |board: Arc<Board>, mut stream: TcpStream| {
        async move {
            let mut received = Vec::new();
            loop {
                tokio::time::timeout(IDLE, read_more(&mut stream, &mut received)).await.ok()??;
                // A command is what one packet holds.
                let command = String::from_utf8_lossy(&std::mem::take(&mut received)).into_owned();
                board.note(command.clone());
                carry_out(&board, &command);
                let answer: String = (0..8).map(|at| if board.is_on(at) == Some(true) { '1' } else { '0' }).collect();
                board.reply(&mut stream, answer.as_bytes()).await?;
            }
        }
    };
    Fake::start(Board::new(channels, 0, clock), CONNECTIONS_MAX, serve).await
}

fn carry_out(board: &Board, command: &str) -> Option<()> {
    let (word, after) = command.split_once(':').map_or((command, None), |(word, after)| (word, Some(after)));
    let mut characters = word.chars();
    let (verb, number) = (characters.next()?, characters.next()?.to_digit(10)?);
    if characters.next().is_some() || board.refuses() {
        return None;
    }
    let channel = usize::try_from(number.checked_sub(1)?).ok()?;
    let after = after.map(|seconds| seconds.parse::<u16>().map(|seconds| Duration::from_secs(seconds.into())));
    match (verb, after) {
        ('1', Some(Ok(_))) if board.is_on(channel)? => None,
        ('1', Some(Ok(after))) if !after.is_zero() => board.command(channel, true, Some(after)),
        ('1', None) => board.command(channel, true, None),
        ('2', None) => board.command(channel, false, None),
        _ => None,
    }
    .map(drop)
}
