//! A fake Sonoff device in DIY mode: `/zeroconf/switch`, `/pulse`, `/info`, inching kept over reboots.
//!
//! See the sources in [`sonoff`](super::sonoff). It is `startup: off`.

use std::sync::Arc;
use std::time::Duration;

use godvision_core::Clock;
use serde_json::{Value, json};

use super::fake::{Board, Fake};
use super::fake_http::{FakeRequest, http};

/// How the firmware writes `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// 1.4: a text that holds JSON.
    V1,
    /// 2.0: an object.
    V2,
}

/// Starts a device.
///
/// # Errors
/// What the system says about the port.
pub async fn start(version: Version, clock: Arc<dyn Clock>) -> std::io::Result<Fake> {
    Fake::http(Board::new(1, 0, clock), move |board, request| {
        let reply = match answer(board, request, version) {
            Ok(None) => json!({"seq": 7, "error": 0}),
            Ok(Some(data)) => json!({"seq": 7, "error": 0, "data": data}),
            Err(code) => json!({"seq": 7, "error": code}),
        };
        http("200 OK", "Server: openresty\r\nContent-Type: application/json\r\n", &reply.to_string())
    })
    .await
}

fn answer(board: &Board, request: &FakeRequest, version: Version) -> Result<Option<Value>, u16> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| 400_u16)?;
    let data = body.get("data").ok_or(400_u16)?;
    if request.method != "POST" || board.refuses() {
        return Err(422);
    }
    let text = |key: &str| data.get(key).and_then(Value::as_str);
    match (request.path(), text("switch"), text("pulse")) {
        ("/zeroconf/switch", Some("on"), _) => drop(board.command(0, true, None)),
        ("/zeroconf/switch", Some("off"), _) => drop(board.command(0, false, None)),
        ("/zeroconf/pulse", _, Some("off")) => {
            board.store("pulse", 0);
            board.store_pulse(0, None);
        }
        ("/zeroconf/pulse", _, Some("on")) => {
            let width = data.get("pulseWidth").and_then(Value::as_u64).and_then(|width| u32::try_from(width).ok());
            let width = width.filter(|width| (500..=36_000_000).contains(width) && width % 500 == 0).ok_or(422_u16)?;
            board.store("pulse", 1);
            board.store("pulseWidth", width);
            board.store_pulse(0, Some(Duration::from_millis(width.into())));
        }
        ("/zeroconf/info", ..) => {
            let word = |is: bool| if is { "on" } else { "off" };
            let info = json!({
                "switch": word(board.is_on(0) == Some(true)),
                "startup": "off",
                "pulse": word(board.setting("pulse") == 1),
                "pulseWidth": board.setting("pulseWidth").max(500),
                "ssid": "site",
                "otaUnlock": false,
            });
            return Ok(Some(if version == Version::V1 { Value::String(info.to_string()) } else { info }));
        }
        _ => return Err(422),
    }
    Ok(None)
}
