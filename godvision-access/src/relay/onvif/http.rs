//! The edge of the ONVIF driver: one document out and one back, over HTTP/1.1.
//!
//! **Never:** a decision about what the answer means, redirections.

use bytes::Bytes;
use godvision_core::Secret;
use godvision_core::driver::relay::RelayError;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::xml::XML_BYTES_MAX;
use crate::relay::endpoint::Endpoint;

/// What came back.
pub(super) struct Answer {
    pub(super) is_unauthorized: bool,
    /// What is asked for in `WWW-Authenticate`.
    pub(super) challenges: Vec<String>,
    pub(super) body: Bytes,
}

pub(super) async fn post(
    endpoint: &Endpoint,
    stream: TcpStream,
    path: &str,
    action: &str,
    document: &Secret,
    authorization: Option<Secret>,
) -> Result<Answer, RelayError> {
    let broken = |error: hyper::Error| endpoint.bad_reply(error);
    let mut request = Request::post(path)
        .header(HOST, endpoint.address())
        .header(CONTENT_TYPE, format!("application/soap+xml; charset=utf-8; action=\"{action}\""))
        .header(CONNECTION, "close");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization.expose());
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(document.expose().as_bytes())));
    let request = request.map_err(|_| endpoint.rejected("the address cannot stand in a request"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        sender.ready().await.map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, XML_BYTES_MAX).collect().await.map_err(|error| endpoint.bad_reply(error))?;
        let challenges = head.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges = challenges.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
        match head.status {
            // A refusal has a document of its own, with 400 or 500.
            StatusCode::OK | StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR | StatusCode::UNAUTHORIZED => {
                let is_unauthorized = head.status == StatusCode::UNAUTHORIZED;
                Ok(Answer { is_unauthorized, challenges, body: body.to_bytes() })
            }
            StatusCode::NOT_FOUND => Err(endpoint.rejected("there is no such ONVIF service")),
            other => Err(endpoint.bad_reply(format_args!("HTTP status {}", other.as_u16()))),
        }
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        result = &mut exchange => result,
        ended = &mut connection => match ended {
            // The connection may close after its last reply, before the exchange was looked at.
            Ok(()) => exchange.await,
            Err(error) => Err(broken(error)),
        },
    }
}
