//! A fake Shelly of the first generation: `/relay/N` with timers, `/status`, basic authentication.
//!
//! See the sources in [`shelly1`](super::shelly1).

use std::sync::Arc;
use std::time::Duration;

use godvision_core::{Clock, Secret};
use serde_json::{Value, json};

use super::fake::{Board, Fake};
use super::fake_http::{FakeRequest, http};

/// Starts a device with so many relays and as many inputs.
///
/// # Errors
/// What the system says about the port.
pub async fn start(channels: u8, password: Option<Secret>, clock: Arc<dyn Clock>) -> std::io::Result<Fake> {
    let board = Board::new(channels, channels, clock);
    Fake::http(board, move |board, request| answer(board, request, password.as_ref())).await
}

fn answer(board: &Board, request: &FakeRequest, password: Option<&Secret>) -> String {
    if password.is_some_and(|password| !request.is_basic("admin", password)) {
        return http("401 Unauthorized", "WWW-Authenticate: Basic realm=\"shelly1-98F4AB\"\r\n", "401 Unauthorized");
    }
    if board.refuses() {
        return http("400 Bad Request", "", "Bad parameter!");
    }
    if request.path() == "/status" {
        let relays: Vec<Value> = (0..board.channels()).filter_map(|channel| relay(board, channel)).collect();
        let inputs: Vec<Value> = (0..)
            .map_while(|input| board.is_closed(input))
            .map(|closed| json!({"input": u8::from(closed), "event": "", "event_cnt": 0}))
            .collect();
        return ok(&json!({"relays": relays, "inputs": inputs, "uptime": 4711}));
    }
    let channel = request.path().strip_prefix("/relay/").and_then(|channel| channel.parse().ok());
    let Some(channel) = channel.filter(|channel| *channel < board.channels()) else {
        return http("404 Not Found", "", "Not Found");
    };
    let timer = match request.value("timer").map(|timer| timer.parse::<u32>()) {
        None => None,
        Some(Ok(seconds)) => Some(Duration::from_secs(seconds.into())).filter(|timer| !timer.is_zero()),
        Some(Err(_)) => return http("400 Bad Request", "", "Bad timer!"),
    };
    match request.value("turn").as_deref() {
        Some("on") => board.command(channel, true, timer),
        Some("off") => board.command(channel, false, None),
        Some(_) => return http("400 Bad Request", "", "Bad turn!"),
        None => None,
    };
    relay(board, channel).map_or_else(String::new, |relay| ok(&relay))
}

fn relay(board: &Board, channel: usize) -> Option<Value> {
    let is_on = board.is_on(channel)?;
    let remaining = board.remaining(channel);
    Some(json!({
        "ison": is_on,
        "has_timer": remaining.is_some(),
        "timer_started": 0,
        "timer_duration": 0,
        "timer_remaining": remaining.map_or(0, |left| left.as_secs()),
        "source": "http",
    }))
}

fn ok(body: &Value) -> String {
    http("200 OK", "Content-Type: application/json\r\n", &body.to_string())
}
