//! The small HTTP/1.1 client that the drivers share: one connection a command, a reply of bounded size, a deadline.
//!
//! Targets and authorizations travel as [`Secret`]: some devices want their password in the query.
//!
//! **Never:** TLS, redirects (a relay has no business elsewhere), cookies, a connection kept, an error that repeats a
//! target or a body.

use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use godvision_core::Secret;
use godvision_core::driver::relay::RelayError;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::endpoint::{Endpoint, Turn};

/// Most bytes of a reply that are read.
pub const REPLY_BYTES_MAX: usize = 16 << 10;
/// Why a command that was accepted is in doubt. A status that lags behind looks just so, and to call it refused would leave
/// the contact on.
pub const NOT_SHOWN: &str = "it accepted the command, and its status does not show it";

/// A request.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// Path and query.
    pub target: Secret,
    /// The `Authorization` header.
    pub authorization: Option<Secret>,
    /// A JSON body.
    pub body: Option<String>,
}

impl HttpRequest {
    /// A GET of `target`.
    pub fn get(target: impl Into<Secret>) -> Self {
        Self { method: "GET", target: target.into(), authorization: None, body: None }
    }

    /// A POST of a JSON `body` to `target`.
    pub fn post(target: impl Into<Secret>, body: String) -> Self {
        Self { method: "POST", target: target.into(), authorization: None, body: Some(body) }
    }

    /// With an `Authorization` header.
    #[must_use]
    pub fn authorized(mut self, authorization: Option<Secret>) -> Self {
        self.authorization = authorization;
        self
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The `WWW-Authenticate` header.
    pub challenge: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl HttpReply {
    /// The body of a reply with status 200.
    ///
    /// # Errors
    /// [`RelayError::AuthFailed`] for 401, [`RelayError::Rejected`] for a redirect and any other 4xx,
    /// [`RelayError::BadReply`] for everything else: after a 5xx the command may have been carried out.
    pub fn accepted(self, endpoint: &Endpoint) -> Result<Bytes, RelayError> {
        match self.status {
            200 => Ok(self.body),
            401 => Err(endpoint.auth_failed()),
            status @ 300..=499 => Err(endpoint.rejected(format_args!("HTTP status {status}"))),
            status => Err(endpoint.bad_reply(format_args!("HTTP status {status}"))),
        }
    }
}

/// The value of an `Authorization` header with user name and password in the clear (RFC 7617).
pub fn basic(user: &str, password: &Secret) -> Secret {
    let pair = Secret::new(format!("{user}:{}", password.expose()));
    Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())))
}

/// Sends `request` on a connection of its own and reads the reply.
///
/// # Errors
/// [`RelayError::Unreachable`] if nothing was sent; [`RelayError::Timeout`], [`RelayError::BadReply`].
pub async fn exchange(turn: &Turn<'_>, request: &HttpRequest) -> Result<HttpReply, RelayError> {
    let stream = turn.connect().await?;
    // From here on the command may have reached the device: only a timeout or a bad reply may be reported.
    turn.within(async { HttpLink::new(turn.endpoint(), stream).await?.send(request).await }).await
}

type Connection = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// A connection that carries one exchange after another.
pub struct HttpLink<'a> {
    endpoint: &'a Endpoint,
    sender: http1::SendRequest<Full<Bytes>>,
    /// It does the reading and writing. `None` once it has ended.
    connection: Option<Pin<Box<Connection>>>,
}

impl<'a> HttpLink<'a> {
    /// Over `stream`; nothing is sent yet.
    ///
    /// # Errors
    /// [`RelayError::BadReply`].
    pub async fn new(endpoint: &'a Endpoint, stream: TcpStream) -> Result<Self, RelayError> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| endpoint.bad_reply(error))?;
        Ok(Self { endpoint, sender, connection: Some(Box::pin(connection)) })
    }

    /// One exchange.
    ///
    /// # Errors
    /// [`RelayError::BadReply`]; [`RelayError::Rejected`] if the request cannot be written at all.
    pub async fn send(&mut self, request: &HttpRequest) -> Result<HttpReply, RelayError> {
        let Self { endpoint, sender, connection } = self;
        let exchange = exchange_on(endpoint, sender, request);
        let Some(running) = connection else { return exchange.await };
        tokio::pin!(exchange);
        let ended = tokio::select! {
            biased;
            reply = &mut exchange => return reply,
            ended = running => ended,
        };
        *connection = None;
        match ended {
            // The connection may close after its last reply, before the exchange was looked at.
            Ok(()) => exchange.await,
            Err(error) => Err(endpoint.bad_reply(error)),
        }
    }
}

async fn exchange_on(
    endpoint: &Endpoint,
    sender: &mut http1::SendRequest<Full<Bytes>>,
    request: &HttpRequest,
) -> Result<HttpReply, RelayError> {
    let mut head = hyper::Request::builder()
        .method(request.method)
        .uri(request.target.expose())
        .header(HOST, endpoint.address())
        .header(CONNECTION, "keep-alive");
    if let Some(authorization) = &request.authorization {
        head = head.header(AUTHORIZATION, authorization.expose());
    }
    if request.body.is_some() {
        head = head.header(CONTENT_TYPE, "application/json");
    }
    let body = Full::new(Bytes::from(request.body.clone().unwrap_or_default()));
    let request = head.body(body).map_err(|_| endpoint.rejected("the address cannot stand in a request"))?;
    sender.ready().await.map_err(|error| endpoint.bad_reply(error))?;
    let response = sender.send_request(request).await.map_err(|error| endpoint.bad_reply(error))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, REPLY_BYTES_MAX).collect().await.map_err(|error| endpoint.bad_reply(error))?;
    let challenge = head.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(HttpReply { status: head.status.as_u16(), challenge, body: body.to_bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_the_example_of_rfc_7617() {
        assert_eq!(basic("Aladdin", &"open sesame".into()).expose(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn a_status_says_whether_the_command_may_have_been_carried_out() {
        let endpoint = Endpoint::new("relay:80", super::super::endpoint::TIMEOUT);
        let reply = |status| HttpReply { status, challenge: None, body: Bytes::new() }.accepted(&endpoint);
        assert!(reply(200).is_ok());
        assert!(matches!(reply(401), Err(RelayError::AuthFailed { .. })));
        for status in [301, 302, 400, 403, 404] {
            assert!(matches!(reply(status), Err(RelayError::Rejected { .. })), "{status}");
        }
        for status in [100, 204, 500, 503] {
            assert!(matches!(reply(status), Err(RelayError::BadReply { .. })), "{status}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let request = HttpRequest::get("/cm?password=hunter2").authorized(Some(basic("a", &"hunter2".into())));
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
