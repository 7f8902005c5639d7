//! The fake of the Bot API says no where the real one does (core.telegram.org/bots/api): a bot that gets along with it has
//! kept the rules.

mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::bot_api::{FakeBotApi, TOKEN, Wrong};
use godvision_core::ManualClock;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

async fn post(fake: &FakeBotApi, token: &str, method: &str, kind: &str, body: String) -> Option<(StatusCode, Value)> {
    let stream = TcpStream::connect(fake.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("/bot{token}/{method}")).header("host", "here").header("content-type", kind);
    let answer = sender.send_request(request.body(Body::from(body)).unwrap()).await.ok()?;
    let (status, body) = (answer.status(), axum::body::to_bytes(Body::new(answer.into_body()), 1 << 20).await.ok()?);
    Some((status, serde_json::from_slice(&body).unwrap_or_default()))
}

async fn call(fake: &FakeBotApi, method: &str, asked: Value) -> (u16, Value) {
    let (status, answer) = post(fake, TOKEN, method, "application/json", asked.to_string()).await.unwrap();
    assert_eq!(answer["ok"].as_bool(), Some(status.is_success()), "{answer}");
    (status.as_u16(), answer)
}

async fn start() -> (FakeBotApi, ManualClock) {
    let clock = common::clock();
    (FakeBotApi::start(Arc::new(clock.clone())).await, clock)
}

#[tokio::test]
async fn messages_and_buttons_have_their_limits() {
    let (fake, clock) = start().await;
    let (status, answer) = post(&fake, "1:wrong", "getMe", "application/json", "{}".into()).await.unwrap();
    assert_eq!((status.as_u16(), &answer["description"]), (401, &json!("Unauthorized")));
    assert_eq!(call(&fake, "sendVideoNoteOfTheFuture", json!({})).await.0, 404);
    let button = |data: String| {
        let markup = json!({"inline_keyboard": [[{"text": "Gate", "callback_data": data}]]});
        json!({"chat_id": 1, "text": "?", "reply_markup": markup})
    };
    for bad in [
        json!({"chat_id": 1, "text": ""}),
        json!({"text": "to nobody"}),
        json!({"chat_id": 1, "text": "x".repeat(4097)}),
        button("x".repeat(65)),
        button(String::new()),
    ] {
        assert_eq!(call(&fake, "sendMessage", bad).await.0, 400);
    }
    let (status, said) = call(&fake, "sendMessage", button("x".repeat(64))).await;
    assert_eq!((status, &said["result"]["chat"]["id"]), (200, &json!(1)));
    let (status, answer) = call(&fake, "sendMessage", json!({"chat_id": 1, "text": "too fast"})).await;
    assert_eq!((status, answer["parameters"]["retry_after"].as_u64()), (429, Some(1)));
    assert_eq!(call(&fake, "sendMessage", json!({"chat_id": 2, "text": "another chat"})).await.0, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(call(&fake, "sendMessage", json!({"chat_id": 1, "text": "in time"})).await.0, 200);
    let edit = |message: i64| json!({"chat_id": 1, "message_id": message, "text": "anew"});
    assert_eq!(call(&fake, "editMessageText", edit(said["result"]["message_id"].as_i64().unwrap())).await.0, 200);
    assert_eq!(call(&fake, "editMessageText", edit(9999)).await.0, 400);
    let form = |kind: &str, file: &str| {
        let media = format!(r#"{{"type": "{kind}", "media": "attach://p", "caption": "c"}}"#);
        let part =
            |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n");
        let (chat, message) = (part("\"chat_id\"", "2"), part("\"message_id\"", "3"));
        format!("{chat}{message}{}{}--b--\r\n", part("\"media\"", &media), part("\"p\"; filename=\"p.jpg\"", file))
    };
    for bad in [form("photo", "no picture"), form("video", "no picture"), form("photo", "x").replace("--b--", "--c--")]
    {
        let kind = "multipart/form-data; boundary=b";
        assert_eq!(post(&fake, TOKEN, "editMessageMedia", kind, bad).await.unwrap().0, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn updates_are_confirmed_by_the_offset_and_presses_answered_once() {
    let (fake, _) = start().await;
    let updates = async |offset: i64| {
        let (_, answer) = call(&fake, "getUpdates", json!({"offset": offset, "timeout": 0})).await;
        answer["result"].as_array().unwrap().iter().map(|it| it["update_id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    fake.write(1, "one");
    fake.write(1, "two");
    let both = updates(0).await;
    assert_eq!((both.len(), updates(0).await), (2, both.clone()), "until they are confirmed");
    assert_eq!(updates(both[1]).await, both[1..]);
    assert_eq!(updates(0).await, both[1..], "what was confirmed never comes back");
    let press = fake.press(1, 1, 1, "data");
    let answer = |id: &str| json!({"callback_query_id": id});
    assert_eq!(call(&fake, "answerCallbackQuery", answer(&press)).await.0, 200);
    assert_eq!(call(&fake, "answerCallbackQuery", answer(&press)).await.0, 400);
    assert_eq!(call(&fake, "answerCallbackQuery", answer("made up")).await.0, 400);
}

#[tokio::test]
async fn what_is_to_go_wrong_goes_wrong_once() {
    let (fake, _) = start().await;
    for (wrong, expected) in [
        (Wrong::TooMany(5), Some(429)),
        (Wrong::Unauthorized, Some(401)),
        (Wrong::Blocked, Some(403)),
        (Wrong::Inside, Some(500)),
        (Wrong::Page, Some(502)),
        (Wrong::Cut, None),
    ] {
        fake.wrong("getMe", wrong);
        let answer = post(&fake, TOKEN, "getMe", "application/json", "{}".into()).await;
        assert_eq!(answer.map(|(status, _)| status.as_u16()), expected, "{wrong:?}");
        assert_eq!(call(&fake, "getMe", json!({})).await.0, 200);
    }
}
