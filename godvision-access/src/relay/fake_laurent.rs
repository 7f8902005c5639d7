//! A fake Laurent board: lines, a password for each connection, things it says by itself, one connection at a time.
//!
//! See the sources in [`laurent`](super::laurent); that it keeps one connection only is from memory.

use std::sync::Arc;
use std::time::Duration;

use godvision_core::{Clock, Secret};
use tokio::net::TcpStream;

use super::fake::{Board, Fake, read_more};

/// Starts a board with so many relays and as many input lines.
///
/// # Errors
/// What the system says about the port.
pub async fn start(channels: u8, password: Option<Secret>, clock: Arc<dyn Clock>) -> std::io::Result<Fake> {
    let serve = move |board: Arc<Board>, mut stream: TcpStream| {
        let password = password.clone();
        async move {
            let mut signed_in = password.is_none();
            let mut received = Vec::new();
            loop {
                while let Some(end) = received.iter().position(|byte| *byte == b'\n') {
                    let line = String::from_utf8_lossy(&received.drain(..=end).collect::<Vec<_>>()).trim().to_owned();
                    let answer = answer(&board, &line, password.as_ref(), &mut signed_in);
                    // It counts its seconds aloud whenever it likes.
                    let reply = format!("#TIME,4711\r\n{answer}\r\n");
                    board.reply(&mut stream, reply.as_bytes()).await?;
                }
                read_more(&mut stream, &mut received).await?;
            }
        }
    };
    // Two, because the end of the last connection may be seen after the beginning of the next.
    Fake::start(Board::new(channels, channels, clock), 2, serve).await
}

fn answer(board: &Board, line: &str, password: Option<&Secret>, signed_in: &mut bool) -> String {
    let Some(command) = line.strip_prefix("$KE") else { return "#ERR".to_owned() };
    let parts: Vec<&str> = command.trim_start_matches(',').split(',').collect();
    if let ["PSW", "SET", word] = parts.as_slice() {
        board.note("PSW");
        *signed_in |= password.is_none_or(|password| *password == Secret::from(*word));
        return if *signed_in { "#PSW,SET,OK".to_owned() } else { "#PSW,SET,BAD".to_owned() };
    }
    board.note(line);
    if command.is_empty() {
        return "#OK".to_owned();
    }
    if !*signed_in {
        return "#Access denied. Password is needed.".to_owned();
    }
    if board.refuses() {
        return "#ERR".to_owned();
    }
    carry_out(board, &parts).unwrap_or_else(|| "#ERR".to_owned())
}

fn carry_out(board: &Board, parts: &[&str]) -> Option<String> {
    let number = |text: &str| text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let bit = |is: bool| if is { '1' } else { '0' };
    match parts {
        ["REL", relay, value, rest @ ..] => {
            let after = match rest {
                [] => None,
                [seconds] => Some(Duration::from_secs(seconds.parse::<u8>().ok()?.into())),
                _ => return None,
            };
            let on = match *value {
                "1" => true,
                "0" => false,
                _ => return None,
            };
            board.command(number(relay)?, on, after)?;
            Some("#REL,OK".to_owned())
        }
        ["RDR", "ALL"] => {
            let states: String = (0..board.channels()).filter_map(|at| board.is_on(at)).map(bit).collect();
            Some(format!("#RDR,ALL,{states}"))
        }
        ["RDR", relay] => Some(format!("#RDR,{relay},{}", bit(board.is_on(number(relay)?)?))),
        // Some versions write the number with a leading zero.
        ["RD", line] => Some(format!("#RD,0{line},{}", bit(board.is_closed(number(line)?)?))),
        _ => None,
    }
}
