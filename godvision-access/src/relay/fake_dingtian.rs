//! A fake Dingtian board: `/relay_cgi.cgi`, `/relay_cgi_load.cgi`, a relay password, tenths of a second.
//!
//! See the sources in [`dingtian`](super::dingtian); result 1 for a wrong password is this fake's own choice.

use std::sync::Arc;
use std::time::Duration;

use godvision_core::{Clock, Secret};

use super::fake::{Board, Fake};
use super::fake_http::{FakeRequest, http};

/// Starts a board with so many relays and this relay password, a number.
///
/// # Errors
/// What the system says about the port.
pub async fn start(channels: u8, password: Option<Secret>, clock: Arc<dyn Clock>) -> std::io::Result<Fake> {
    let password = password.unwrap_or_else(|| Secret::from("0"));
    let board = Board::new(channels, 0, clock);
    Fake::http(board, move |board, request| {
        let body = answer(board, request, &password);
        body.map_or_else(|| http("404 Not Found", "", ""), |body| http("200 OK", "Content-Type: text/html\r\n", &body))
    })
    .await
}

fn answer(board: &Board, request: &FakeRequest, password: &Secret) -> Option<String> {
    if board.refuses() {
        return Some("&1&".to_owned());
    }
    if request.path() == "/relay_cgi_load.cgi" {
        let states: String =
            (0..board.channels()).map(|at| format!("{}&", u8::from(board.is_on(at) == Some(true)))).collect();
        return Some(format!("&0&{}&{states}", board.channels()));
    }
    if request.path() != "/relay_cgi.cgi" {
        return None;
    }
    let number = |name: &str| request.value(name).and_then(|value| value.parse::<u32>().ok());
    let (kind, relay, on, time) = (number("type")?, number("relay")?, number("on")?, number("time")?);
    if Secret::new(request.value("pwd")?) != *password {
        return Some("&1&".to_owned());
    }
    let after = (kind == 1).then(|| Duration::from_millis(100) * time);
    let channel = usize::try_from(relay).ok()?;
    if kind > 1 || board.command(channel, on == 1, after).is_none() {
        return Some("&2&".to_owned());
    }
    Some(format!("&0&{kind}&{relay}&{on}&{time}&"))
}
