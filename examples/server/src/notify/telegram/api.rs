//! The Bot API as far as it is used here (core.telegram.org/bots/api): six methods, their answers and errors.
//!
//! Own types of the few fields that are read: an update of a kind that this program does not know is passed over, where a
//! complete set of types refuses the whole batch until it is brought up to date.
//!
//! **Never:** the token in an error, a log or a `Debug`; it stands in the path of every request.

use std::time::Duration;

use bytes::Bytes;
use godvision_core::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::Base;

/// The public Bot API.
pub const API_DEFAULT: &str = "https://api.telegram.org";
/// How long one question for updates waits at the other end.
pub const POLL: Duration = Duration::from_secs(25);
/// How long an answer may take, beyond that.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most updates of one answer.
const UPDATES_MAX: u32 = 50;
/// Longest text of a message, and of a picture's caption.
pub const TEXT_CHARS_MAX: usize = 4096;
/// Longest caption of a picture.
pub const CAPTION_CHARS_MAX: usize = 1024;

/// Why the Bot API did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The address of the Bot API is none.
    #[error("api: {detail}")]
    BadBase {
        /// What would be one.
        detail: &'static str,
    },
    /// The token is none.
    #[error("a bot's token is digits, a colon and at least 30 letters, as BotFather gives it")]
    BadToken,
    /// No connection, or no answer.
    #[error("{host} cannot be reached: {detail}")]
    Unreachable {
        /// Whom.
        host: String,
        /// What failed; never a path.
        detail: String,
    },
    /// The token is not that of a bot.
    #[error("Telegram does not know this token: take it anew from BotFather")]
    Unauthorized,
    /// Whoever the chat is with has blocked the bot or deleted the account.
    #[error("the chat is closed to the bot: {description}")]
    Blocked {
        /// In Telegram's words.
        description: String,
    },
    /// Somebody else asks for the updates of the same bot.
    #[error("another program uses this bot: make a bot of its own for this site")]
    Conflict,
    /// Too many messages: not before `after`.
    #[error("Telegram takes no more messages for {} s", after.as_secs())]
    TooMany {
        /// How long.
        after: Duration,
    },
    /// The request is refused, and would be again.
    #[error("refused by Telegram ({code}): {description}")]
    Refused {
        /// The error's number.
        code: i64,
        /// In Telegram's words.
        description: String,
    },
    /// The other end has a fault.
    #[error("Telegram has a fault of its own ({status})")]
    Fault {
        /// The status.
        status: u16,
    },
    /// The answer is no answer of the Bot API.
    #[error("{host} answers nothing that the Bot API would: is the address right?")]
    Nonsense {
        /// Whom.
        host: String,
    },
}

impl ApiError {
    /// Whether the same request may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TooMany { .. }
                | Self::Fault { .. }
                | Self::Conflict
                | Self::Nonsense { .. }
        )
    }
}

/// Something that happened to the bot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Grows.
    pub id: i64,
    /// A message to it, where that is what happened.
    pub message: Option<Message>,
    /// A pressed button, where that is what happened.
    pub pressed: Option<Pressed>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// Its number in its chat.
    pub message_id: i64,
    /// The chat.
    pub chat: Chat,
    /// Who wrote it.
    pub from: Option<Account>,
    /// Its text.
    pub text: Option<String>,
}

/// A chat.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Chat {
    /// Its number; that of the account in a private one.
    pub id: i64,
    /// `private`, `group`, `supergroup` or `channel`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Somebody's account, or the bot's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// Its number.
    pub id: i64,
    /// Its name with an `@` before it, if it has one.
    pub username: Option<String>,
    /// What it calls itself.
    #[serde(default)]
    pub first_name: String,
}

/// A button that was pressed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Pressed {
    /// What the answer names.
    pub id: String,
    /// Who pressed it.
    pub from: Account,
    /// The message that it hangs on.
    pub message: Option<Message>,
    /// What the button carries.
    pub data: Option<String>,
}

/// A button below a message: what it says, and what it carries.
pub type Button = (String, String);

#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    result: Option<Value>,
    error_code: Option<i64>,
    #[serde(default)]
    description: String,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
}

/// A bot, to the Bot API.
pub struct BotApi {
    base: Base,
    token: Secret,
}

impl std::fmt::Debug for BotApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a bot at {}", self.base.host())
    }
}

impl BotApi {
    /// The bot with `token` at `base`.
    ///
    /// # Errors
    /// [`ApiError::BadBase`], [`ApiError::BadToken`].
    pub fn new(base: &str, token: Secret) -> Result<Self, ApiError> {
        let (number, rest) = token.expose().split_once(':').ok_or(ApiError::BadToken)?;
        let is_right = !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && (30..=100).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if is_right { Ok(Self { base: Base::read(base)?, token }) } else { Err(ApiError::BadToken) }
    }

    async fn call<T: DeserializeOwned>(&self, method: &str, asked: Value) -> Result<T, ApiError> {
        self.send(method, "application/json", asked.to_string().into(), PATIENCE).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        kind: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<T, ApiError> {
        let path = Secret::from(format!("/bot{}/{method}", self.token.expose()));
        let (status, body) = self.base.post(&path, kind, body, patience).await?;
        let nonsense = || match status {
            500.. => ApiError::Fault { status },
            _ => ApiError::Nonsense { host: self.base.host().to_owned() },
        };
        let answer: Envelope = serde_json::from_slice(&body).map_err(|_| nonsense())?;
        if answer.ok {
            return serde_json::from_value(answer.result.unwrap_or_default()).map_err(|_| nonsense());
        }
        // Whatever stands behind the address may repeat the path.
        let description = answer.description.replace(self.token.expose(), "…");
        Err(match answer.error_code.unwrap_or_else(|| i64::from(status)) {
            401 | 404 => ApiError::Unauthorized,
            403 => ApiError::Blocked { description },
            409 => ApiError::Conflict,
            429 => {
                let after = answer.parameters.and_then(|it| it.retry_after).unwrap_or(1);
                ApiError::TooMany { after: Duration::from_secs(after.clamp(1, 3600)) }
            }
            500.. => ApiError::Fault { status },
            code => ApiError::Refused { code, description },
        })
    }

    /// Who the bot is.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn me(&self) -> Result<Account, ApiError> {
        self.call("getMe", json!({})).await
    }

    /// What has happened from `offset` on; waits up to [`POLL`] until something does.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn updates(&self, offset: i64) -> Result<Vec<Update>, ApiError> {
        let allowed = ["message", "callback_query"];
        let asked =
            json!({"offset": offset, "limit": UPDATES_MAX, "timeout": POLL.as_secs(), "allowed_updates": allowed});
        let body = asked.to_string().into();
        let found: Vec<Value> = self.send("getUpdates", "application/json", body, POLL + PATIENCE).await?;
        let part = |update: &Value, key| update.get(key).cloned();
        let read = |update: &Value| {
            Some(Update {
                id: update.get("update_id")?.as_i64()?,
                message: part(update, "message").and_then(|it| serde_json::from_value(it).ok()),
                pressed: part(update, "callback_query").and_then(|it| serde_json::from_value(it).ok()),
            })
        };
        Ok(found.iter().filter_map(read).collect())
    }

    /// Says `text` in `chat`, with `buttons` one below the other; the message.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn say(&self, chat: i64, text: &str, buttons: &[Button]) -> Result<i64, ApiError> {
        let mut asked = json!({"chat_id": chat, "text": cut(text, TEXT_CHARS_MAX)});
        if !buttons.is_empty() {
            asked["reply_markup"] = keyboard(buttons);
        }
        let said: Message = self.call("sendMessage", asked).await?;
        Ok(said.message_id)
    }

    /// Writes a message anew, without buttons.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn rewrite(&self, chat: i64, message: i64, text: &str) -> Result<(), ApiError> {
        let asked = json!({"chat_id": chat, "message_id": message, "text": cut(text, TEXT_CHARS_MAX)});
        self.call::<Value>("editMessageText", asked).await.map(drop)
    }

    /// Answers a pressed button: its clock stops turning, and `text` is shown.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn answer(&self, pressed: &str, text: &str) -> Result<(), ApiError> {
        let asked = json!({"callback_query_id": pressed, "text": cut(text, 200)});
        self.call::<Value>("answerCallbackQuery", asked).await.map(drop)
    }

    /// Puts a JPEG into a message of text, which becomes its caption.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn put_picture(&self, chat: i64, message: i64, text: &str, jpeg: &Bytes) -> Result<(), ApiError> {
        let caption = cut(text, CAPTION_CHARS_MAX);
        let media = json!({"type": "photo", "media": "attach://picture", "caption": caption}).to_string();
        let (chat, message) = (chat.to_string(), message.to_string());
        let fields = [("chat_id", &*chat), ("message_id", &*message), ("media", &*media)];
        let (kind, body) = multipart(&fields, "picture", jpeg);
        self.send::<Value>("editMessageMedia", &kind, body, PATIENCE).await.map(drop)
    }
}

fn keyboard(buttons: &[Button]) -> Value {
    let rows: Vec<Value> = buttons.iter().map(|(text, data)| json!([{"text": text, "callback_data": data}])).collect();
    json!({ "inline_keyboard": rows })
}

/// The first `chars` of `text`, with a sign that there was more.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars - 1).chain(['…']).collect(),
    }
}

/// `multipart/form-data` (RFC 7578) with one JPEG. The boundary is none of the content: it is made of its digest.
fn multipart(fields: &[(&str, &str)], file: &str, jpeg: &Bytes) -> (String, Bytes) {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new_with_prefix(jpeg);
    fields.iter().for_each(|(_, value)| digest.update(value));
    let boundary = crate::store::hex(&digest.finalize()[..20]);
    let mut body = Vec::with_capacity(jpeg.len() + 1024);
    for (name, value) in fields {
        let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{file}\"; filename=\"{file}.jpg\"\r\n\
         Content-Type: image/jpeg\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(jpeg);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_from_other_texts() {
        let rest = "AAE-_xyz0123456789ABCDEFGHIJKLMNOP";
        assert!(BotApi::new(API_DEFAULT, format!("123456:{rest}").into()).is_ok());
        for bad in [
            "",
            ":",
            "123456:",
            "123456:short",
            &format!("12x:{rest}"),
            &format!("1:{rest}/../x"),
            &format!("1:{rest} "),
        ] {
            assert_eq!(BotApi::new(API_DEFAULT, bad.into()).unwrap_err(), ApiError::BadToken, "{bad}");
        }
        let bot = BotApi::new(API_DEFAULT, format!("123456:{rest}").into()).unwrap();
        assert!(!format!("{bot:?}").contains(rest));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("дверь", 5), "дверь");
        assert_eq!(cut("дверь", 4), "две…");
    }
}
