//! A fake device with Tasmota: `/cm` with `Power<x>`, `PulseTime<x>` kept over reboots, and `Status 10`.
//!
//! See the sources in [`tasmota`](super::tasmota). `PowerOnState` is 3, the firmware's default: relays are restored, and
//! those that are on begin their `PulseTime` anew.

use std::sync::Arc;
use std::time::Duration;

use godvision_core::{Clock, Secret};
use serde_json::{Map, Value, json};

use super::fake::{Board, Fake, PowerOn};
use super::fake_http::{FakeRequest, http};

/// Starts a device with so many relays and as many switches.
///
/// # Errors
/// What the system says about the port.
pub async fn start(channels: u8, password: Option<Secret>, clock: Arc<dyn Clock>) -> std::io::Result<Fake> {
    let board = Board::new(channels, channels, clock).at_power_on(PowerOn::Restore);
    Fake::http(board, move |board, request| answer(board, request, password.as_ref())).await
}

fn answer(board: &Board, request: &FakeRequest, password: Option<&Secret>) -> String {
    if request.path() != "/cm" {
        return http("404 Not Found", "", "File Not Found");
    }
    if let Some(password) = password {
        let given = request.value("password").map(Secret::new);
        if request.value("user").as_deref() != Some("admin") || given.as_ref() != Some(password) {
            let body = json!({"WARNING": "Need user=<username>&password=<password>"});
            return http("401 Unauthorized", "Content-Type: application/json\r\n", &body.to_string());
        }
    }
    let line = request.value("cmnd").unwrap_or_default();
    let reply = if board.refuses() { None } else { carry_out(board, &line) };
    let reply = reply.unwrap_or_else(|| json!({"Command": "Unknown"}));
    http("200 OK", "Server: Tasmota/13.4.0 (ESP8266EX)\r\nContent-Type: application/json\r\n", &reply.to_string())
}

fn carry_out(board: &Board, line: &str) -> Option<Value> {
    let (command, payload) = line.split_once(' ').unwrap_or((line, ""));
    let command = command.to_ascii_lowercase();
    if command == "status" && payload.trim() == "10" {
        let mut sensors = Map::from_iter([("Time".to_owned(), json!("2026-11-21T09:00:00"))]);
        for (input, closed) in (0..).map_while(|input| board.is_closed(input)).enumerate() {
            sensors.insert(format!("Switch{}", input + 1), json!(if closed { "ON" } else { "OFF" }));
        }
        return Some(json!({"StatusSNS": sensors}));
    }
    let digits = command.find(|character: char| character.is_ascii_digit()).unwrap_or(command.len());
    let (name, number) = command.split_at_checked(digits)?;
    let number: usize = if number.is_empty() { 1 } else { number.parse().ok()? };
    let channel = number.checked_sub(1).filter(|channel| *channel < board.channels())?;
    match name {
        "power" => {
            match payload.trim().to_ascii_lowercase().as_str() {
                "1" | "on" | "true" => board.command(channel, true, None),
                "0" | "off" | "false" => board.command(channel, false, None),
                _ => None,
            };
            let state = if board.is_on(channel)? { "ON" } else { "OFF" };
            let key = if board.channels() == 1 { "POWER".to_owned() } else { format!("POWER{number}") };
            Some(Value::Object(Map::from_iter([(key, json!(state))])))
        }
        "pulsetime" => {
            let key = format!("PulseTime{number}");
            if let Ok(units) = payload.trim().parse::<u16>() {
                board.store(&key, units.into());
                let tenths = u64::from(units) * 100;
                let stored = if units > 111 { (u64::from(units) - 100) * 1000 } else { tenths };
                board.store_pulse(channel, Some(Duration::from_millis(stored)).filter(|pulse| !pulse.is_zero()));
            }
            let remaining = board.remaining(channel).map_or(0, |left| left.as_millis() / 100);
            let value = json!({"Set": board.setting(&key), "Remaining": u64::try_from(remaining).ok()?});
            Some(Value::Object(Map::from_iter([(key, value)])))
        }
        _ => None,
    }
}
