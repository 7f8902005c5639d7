//! A fake of the Bot API on loopback, as its documentation has it (core.telegram.org/bots/api): envelopes, updates that are
//! confirmed by an offset, limits with `retry_after`, buttons of at most 64 bytes, messages that must be there to be edited,
//! multipart. What is wrong with a request is a 400 with a description, as there.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use godvision_core::{Clock, MonoTime};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const TOKEN: &str = "4839574812:AAFD39kkdpWt3ywyRZergyOLMaJhac60qcs";

/// What goes wrong with the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    TooMany(u64),
    Unauthorized,
    Blocked,
    Inside,
    /// A proxy's page, with the path in it.
    Page,
    /// The connection ends in the middle of the answer.
    Cut,
}

/// Something that was done in a chat.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) method: String,
    pub(crate) chat: i64,
    pub(crate) message: i64,
    pub(crate) text: String,
    /// What the buttons say and carry.
    pub(crate) buttons: Vec<(String, String)>,
    pub(crate) picture: Option<Bytes>,
    pub(crate) at: MonoTime,
}

#[derive(Default)]
struct Now {
    updates: VecDeque<Value>,
    next_update: i64,
    next_message: i64,
    done: Vec<Done>,
    messages: BTreeSet<(i64, i64)>,
    pressed: BTreeSet<String>,
    wrong: VecDeque<(String, Wrong)>,
    refused: Vec<String>,
    offsets: Vec<i64>,
}

#[derive(Clone)]
pub(crate) struct FakeBotApi {
    pub(crate) address: SocketAddr,
    now: Arc<Mutex<Now>>,
    clock: Arc<dyn Clock>,
}

fn error(code: u16, description: &str) -> Response {
    let body = json!({"ok": false, "error_code": code, "description": description});
    (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
}

fn too_many(after: u64) -> Response {
    let description = format!("Too Many Requests: retry after {after}");
    let parameters = json!({"retry_after": after});
    let body = json!({"ok": false, "error_code": 429, "description": description, "parameters": parameters});
    (StatusCode::TOO_MANY_REQUESTS, axum::Json(body)).into_response()
}

fn result(value: Value) -> Response {
    axum::Json(json!({"ok": true, "result": value})).into_response()
}

/// The parts of a form: name, whether it is a file, content.
fn parts(kind: &str, body: &[u8]) -> Option<Vec<(String, bool, Bytes)>> {
    let boundary = format!("--{}", kind.strip_prefix("multipart/form-data; boundary=")?);
    let find = |hay: &[u8], needle: &[u8]| hay.windows(needle.len()).position(|it| it == needle);
    let mut rest = body.strip_prefix(boundary.as_bytes())?;
    let mut parts = Vec::new();
    while rest != b"--\r\n" {
        rest = rest.strip_prefix(b"\r\n")?;
        let head = find(rest, b"\r\n\r\n")?;
        let heads = std::str::from_utf8(&rest[..head]).ok()?;
        let name = heads.split("name=\"").nth(1)?.split('"').next()?.to_owned();
        rest = &rest[head + 4..];
        let end = find(rest, format!("\r\n{boundary}").as_bytes())?;
        parts.push((name, heads.contains("filename="), Bytes::copy_from_slice(&rest[..end])));
        rest = &rest[end + 2 + boundary.len()..];
    }
    Some(parts)
}

impl FakeBotApi {
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let now = Arc::new(Mutex::new(Now { next_update: 1000, next_message: 1, ..Now::default() }));
        let fake = Self { address: listener.local_addr().unwrap(), now, clock };
        let app = Router::new().fallback(StatusCode::NOT_FOUND).route("/{bot}/{method}", axum::routing::any(asked));
        let app = app.with_state(fake.clone());
        tokio::spawn(async move { axum_serve(listener, app).await });
        fake
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn locked(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap()
    }

    fn update(&self, key: &str, value: Value) {
        let mut now = self.locked();
        now.next_update += 1;
        let update = json!({"update_id": now.next_update, key: value});
        now.updates.push_back(update);
    }

    /// Somebody writes to the bot.
    pub(crate) fn write(&self, chat: i64, text: &str) {
        self.write_as(chat, "private", chat, text);
    }

    pub(crate) fn write_as(&self, chat: i64, kind: &str, from: i64, text: &str) {
        let from = json!({"id": from, "is_bot": false, "first_name": "Somebody", "username": format!("user{from}")});
        let chat = json!({"id": chat, "type": kind, "first_name": "Somebody"});
        self.update(
            "message",
            json!({"message_id": 1, "date": 1_795_253_400, "chat": chat, "from": from, "text": text}),
        );
    }

    /// An update of a kind that nobody has heard of.
    pub(crate) fn puzzle(&self) {
        self.update("message", json!({"message_id": "not a number", "chat": 5}));
        self.update("business_connection_of_the_future", json!({"x": [1, 2]}));
    }

    /// Somebody presses a button.
    pub(crate) fn press(&self, from: i64, chat: i64, message: i64, data: &str) -> String {
        let id = {
            let mut now = self.locked();
            let id = press_number(now.next_update).to_string();
            now.pressed.insert(id.clone());
            id
        };
        let message = json!({"message_id": message, "date": 1, "chat": {"id": chat, "type": "private"}, "text": "?"});
        let account = json!({"id": from, "is_bot": false, "first_name": "Somebody"});
        let pressed = json!({"id": id, "from": account, "message": message, "chat_instance": "1", "data": data});
        self.update("callback_query", pressed);
        id
    }

    /// The next request of `method` goes wrong so.
    pub(crate) fn wrong(&self, method: &str, wrong: Wrong) {
        self.locked().wrong.push_back((method.to_owned(), wrong));
    }

    /// Everything that was done, oldest first.
    pub(crate) fn done(&self) -> Vec<Done> {
        self.locked().done.clone()
    }

    /// Everything that was refused with 400, 401 or 429 though the test did not ask for it.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.locked().refused.clone()
    }

    pub(crate) fn offsets(&self) -> Vec<i64> {
        self.locked().offsets.clone()
    }

    /// Waits for the `count`th thing (from 1) that `is_it`.
    pub(crate) async fn nth(&self, count: usize, what: &str, is_it: impl Fn(&Done) -> bool) -> Done {
        let looking = async {
            loop {
                if let Some(found) = self.done().into_iter().filter(|done| is_it(done)).nth(count - 1) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let missing = |_| panic!("{what}: {:#?} {:?}", self.done(), self.refused());
        tokio::time::timeout(Duration::from_secs(30), looking).await.unwrap_or_else(missing)
    }

    fn refuse(&self, response: Response, why: &str) -> Response {
        self.locked().refused.push(why.to_owned());
        response
    }

    async fn updates(&self, asked: &Value) -> Response {
        let offset = asked["offset"].as_i64().unwrap_or(0);
        self.locked().offsets.push(offset);
        let until = tokio::time::Instant::now() + Duration::from_secs(asked["timeout"].as_u64().unwrap_or(0));
        loop {
            {
                let mut now = self.locked();
                now.updates.retain(|update| update["update_id"].as_i64().unwrap() >= offset);
                if !now.updates.is_empty() || tokio::time::Instant::now() >= until {
                    return result(now.updates.iter().take(100).cloned().collect());
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn said(&self, method: &str, asked: &Value, picture: Option<Bytes>) -> Response {
        let bad = |why: &str| self.refuse(error(400, &format!("Bad Request: {why}")), why);
        let Some(chat) = asked["chat_id"].as_i64() else { return bad("chat_id is empty") };
        let text = asked["text"].as_str().or(asked["caption"].as_str()).unwrap_or_default().to_owned();
        let most = if picture.is_some() { 1024 } else { 4096 };
        if text.is_empty() {
            return bad("message text is empty");
        }
        if text.chars().count() > most {
            return bad("message is too long");
        }
        let mut buttons = Vec::new();
        for button in asked["reply_markup"]["inline_keyboard"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|row| row.as_array().unwrap())
        {
            let (Some(label), Some(data)) = (button["text"].as_str(), button["callback_data"].as_str()) else {
                return bad("inline keyboard button is wrong");
            };
            if data.is_empty() || data.len() > 64 {
                return bad("BUTTON_DATA_INVALID");
            }
            buttons.push((label.to_owned(), data.to_owned()));
        }
        let at = self.clock.mono();
        let mut now = self.locked();
        if method == "sendMessage" {
            let last =
                now.done.iter().filter(|done| done.method == method && done.chat == chat).map(|done| done.at).max();
            if last.is_some_and(|last| at.since(last) < Duration::from_millis(900)) {
                now.refused.push(format!("too fast in {chat}"));
                return too_many(1);
            }
        }
        let message = match asked["message_id"].as_i64() {
            None => {
                now.next_message += 1;
                let message = now.next_message;
                now.messages.insert((chat, message));
                message
            }
            Some(message) if now.messages.contains(&(chat, message)) => message,
            Some(_) => {
                drop(now);
                return bad("message to edit not found");
            }
        };
        now.done.push(Done { method: method.to_owned(), chat, message, text: text.clone(), buttons, picture, at });
        let chat = json!({"id": chat, "type": "private"});
        result(json!({"message_id": message, "date": 1, "chat": chat, "text": text}))
    }

    fn answered(&self, asked: &Value) -> Response {
        let id = asked["callback_query_id"].as_str().unwrap_or_default().to_owned();
        let mut now = self.locked();
        if !now.pressed.remove(&id) {
            now.refused.push("query ID is invalid".to_owned());
            return error(400, "Bad Request: query is too old and response timeout expired or query ID is invalid");
        }
        let (text, at) = (asked["text"].as_str().unwrap_or_default().to_owned(), self.clock.mono());
        let method = "answerCallbackQuery".to_owned();
        now.done.push(Done { method, chat: 0, message: 0, text, buttons: Vec::new(), picture: None, at });
        result(json!(true))
    }
}

/// Numbers of presses look like nothing in particular.
fn press_number(number: i64) -> u64 {
    0x4382_bfa0_0000 + u64::try_from(number).unwrap()
}

async fn axum_serve(listener: TcpListener, app: Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let app = app.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                tower::ServiceExt::oneshot(app.clone(), request.map(Body::new))
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
        });
    }
}

async fn asked(
    State(fake): State<FakeBotApi>,
    Path((bot, method)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if bot != format!("bot{TOKEN}") {
        return fake.refuse(error(401, "Unauthorized"), "token");
    }
    let wrong = {
        let mut now = fake.locked();
        let found = now.wrong.iter().position(|(of, _)| *of == method);
        found.and_then(|at| now.wrong.remove(at)).map(|(_, wrong)| wrong)
    };
    match wrong {
        None => {}
        Some(Wrong::TooMany(after)) => return too_many(after),
        Some(Wrong::Unauthorized) => return error(401, "Unauthorized"),
        Some(Wrong::Blocked) => return error(403, "Forbidden: bot was blocked by the user"),
        Some(Wrong::Inside) => return error(500, "Internal Server Error"),
        Some(Wrong::Page) => {
            return (StatusCode::BAD_GATEWAY, format!("<html>no upstream for /{bot}/{method}</html>")).into_response();
        }
        Some(Wrong::Cut) => {
            let cut = futures::stream::iter([Ok(Bytes::from_static(b"{\"ok\":")), Err(std::io::Error::other("cut"))]);
            return Body::from_stream(cut).into_response();
        }
    }
    let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
    let mut picture = None;
    let asked: Value = if kind.starts_with("multipart/") {
        let Some(parts) = parts(kind, &body) else { return fake.refuse(error(400, "Bad Request: form"), "form") };
        let text = |name: &str| {
            let part = parts.iter().find(|(part, is_file, _)| part == name && !is_file);
            part.map(|(.., content)| String::from_utf8(content.to_vec()).unwrap()).unwrap_or_default()
        };
        let number = |name: &str| text(name).parse::<i64>().ok();
        let media: Value = serde_json::from_str(&text("media")).unwrap_or_default();
        let file = media["media"].as_str().and_then(|it| it.strip_prefix("attach://")).unwrap_or_default();
        picture = parts.iter().find(|(part, is_file, _)| part == file && *is_file).map(|(.., jpeg)| jpeg.clone());
        if media["type"] != "photo" || !picture.as_ref().is_some_and(|jpeg| jpeg.starts_with(b"\xff\xd8")) {
            return fake.refuse(error(400, "Bad Request: wrong file"), "no picture");
        }
        json!({"chat_id": number("chat_id"), "message_id": number("message_id"), "caption": media["caption"]})
    } else {
        serde_json::from_slice(&body).unwrap_or_default()
    };
    match &*method {
        "getMe" => {
            result(json!({"id": 4_839_574_812_i64, "is_bot": true, "first_name": "Gate", "username": "gate_bot"}))
        }
        "getUpdates" => fake.updates(&asked).await,
        "sendMessage" | "editMessageText" => fake.said(&method, &asked, None),
        "editMessageMedia" => fake.said(&method, &asked, picture),
        "answerCallbackQuery" => fake.answered(&asked),
        _ => fake.refuse(error(404, "Not Found"), "method"),
    }
}
