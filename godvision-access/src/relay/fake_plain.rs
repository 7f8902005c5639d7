//! A fake of no device in particular: the plainest HTTP commands a relay can have, for the driver
//! [`template`](super::template).
//!
//! `/r/N/on`, `/r/N/off`, `/r/N/pulse?ms=D` and `/r/N` (N from 1), which answers `{"state": "open" or "closed"}`.

use std::sync::Arc;
use std::time::Duration;

use godvision_core::{Clock, Secret};
use serde_json::json;

use super::fake::{Board, Fake};
use super::fake_http::{FakeRequest, http};

/// Starts a device with so many relays.
///
/// # Errors
/// What the system says about the port.
pub async fn start(channels: u8, password: Option<Secret>, clock: Arc<dyn Clock>) -> std::io::Result<Fake> {
    let board = Board::new(channels, 0, clock);
    Fake::http(board, move |board, request| {
        if password.as_ref().is_some_and(|password| !request.is_basic("admin", password)) {
            return http("401 Unauthorized", "", "");
        }
        if board.refuses() {
            return http("423 Locked", "", "");
        }
        answer(board, request).unwrap_or_else(|| http("404 Not Found", "", ""))
    })
    .await
}

fn answer(board: &Board, request: &FakeRequest) -> Option<String> {
    let mut parts = request.path().strip_prefix("/r/")?.split('/');
    let channel = parts.next()?.parse::<usize>().ok()?.checked_sub(1)?;
    match (parts.next(), request.value("ms")) {
        (None, None) => {
            let state = if board.is_on(channel)? { "closed" } else { "open" };
            return Some(http("200 OK", "Content-Type: application/json\r\n", &json!({"state": state}).to_string()));
        }
        (Some("on"), None) => board.command(channel, true, None)?,
        (Some("off"), None) => board.command(channel, false, None)?,
        (Some("pulse"), Some(ms)) => board.command(channel, true, Some(Duration::from_millis(ms.parse().ok()?)))?,
        _ => return None,
    };
    Some("HTTP/1.1 204 No Content\r\n\r\n".to_owned())
}
