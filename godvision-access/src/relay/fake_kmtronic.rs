//! A fake KMTronic Web relay board: `/FFnnvv`, `/status.xml`, basic authentication.
//!
//! See the sources in [`kmtronic`](super::kmtronic). It answers any command with its page, whatever came of it, and its
//! replies end with the connection.

use std::sync::Arc;

use godvision_core::{Clock, Secret};

use super::fake::{Board, Fake};
use super::fake_http::{FakeRequest, http};

/// Starts a board with so many relays.
///
/// # Errors
/// What the system says about the port.
pub async fn start(channels: u8, password: Option<Secret>, clock: Arc<dyn Clock>) -> std::io::Result<Fake> {
    let board = Board::new(channels, 0, clock);
    Fake::http(board, move |board, request| answer(board, request, password.as_ref())).await
}

fn answer(board: &Board, request: &FakeRequest, password: Option<&Secret>) -> String {
    if password.is_some_and(|password| !request.is_basic("admin", password)) {
        return http("401 Unauthorized", "WWW-Authenticate: Basic realm=\"Protected\"\r\n", "");
    }
    if board.refuses() {
        return http("403 Forbidden", "", "Forbidden");
    }
    if request.path() == "/status.xml" {
        let relays: String = (0..board.channels())
            .map(|at| format!("<relay{0}>{1}</relay{0}>\r\n", at + 1, u8::from(board.is_on(at) == Some(true))))
            .collect();
        let body = format!("<response>\r\n<relay0>0</relay0>\r\n{relays}</response>\r\n");
        return http("200 OK", "Content-Type: text/xml\r\n", &body);
    }
    if let Some((number, value)) = request.path().strip_prefix("/FF").and_then(|digits| digits.split_at_checked(2)) {
        let channel = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match (channel, value) {
            (Some(channel), "01") => board.command(channel, true, None),
            (Some(channel), "00") => board.command(channel, false, None),
            _ => None,
        };
    }
    http("200 OK", "Content-Type: text/html\r\n", "<html><body>KMTronic LAN Web relay</body></html>")
}
