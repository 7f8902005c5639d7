//! One request over HTTP/1.1, by TLS unless the address is of this machine: what the Bot API needs and no more.
//!
//! A request has its own connection: a message a second does not earn a pool, and a connection that has died unseen is no
//! case of its own. The token stands in the path, so nothing here tells a path to anybody.
//!
//! **Never:** redirects, proxies, a certificate that the system does not trust, a token on a wire in clear.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use godvision_core::Secret;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::api::ApiError;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read.
pub(super) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where the Bot API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Base {
    /// Reads `https://host[:port]`, or `http://` with an address of this machine.
    pub(super) fn read(text: &str) -> Result<Self, ApiError> {
        let bad = |detail| ApiError::BadBase { detail };
        let (scheme, rest) = text.trim().trim_end_matches('/').split_once("://").ok_or(bad("write https://host"))?;
        let is_tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(bad("write https://host")),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| bad("the port is no number"))?)
            }
            _ => (rest, if is_tls { 443 } else { 80 }),
        };
        let is_host = |host: &str| {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte))
        };
        if !is_host(host) {
            return Err(bad("a host is a name or an address, without a path or a user"));
        }
        let is_here = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !is_tls && !is_here {
            return Err(bad("the token would travel in clear: only a Bot API server on this machine may be http://"));
        }
        Ok(Self { is_tls, host: host.to_owned(), port })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Sends `body` to `path` and reads the whole answer within `patience`.
    pub(super) async fn post(
        &self,
        path: &Secret,
        kind: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<(u16, Bytes), ApiError> {
        let whole = async {
            let stream = tokio::time::timeout(
                CONNECT_TIMEOUT,
                TcpStream::connect((self.host.trim_matches(['[', ']']), self.port)),
            )
            .await
            .map_err(|_| self.unreachable("no connection within 10 s"))?
            .map_err(|error| self.unreachable(error))?;
            let _ = stream.set_nodelay(true);
            if self.is_tls {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| self.unreachable(error))?;
                let stream = TlsConnector::from(tls()?).connect(name, stream).await;
                self.exchange(stream.map_err(|error| self.unreachable(error))?, path, kind, body).await
            } else {
                self.exchange(stream, path, kind, body).await
            }
        };
        let timeout = |_| self.unreachable(format!("no answer within {} s", patience.as_secs()));
        tokio::time::timeout(patience, whole).await.map_err(timeout)?
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        path: &Secret,
        kind: &str,
        body: Bytes,
    ) -> Result<(u16, Bytes), ApiError> {
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| self.unreachable(error))?;
        // Ends with this call, answered or not.
        let mut driving = tokio::task::JoinSet::new();
        driving.spawn(connection);
        let request = Request::post(path.expose())
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_LENGTH, body.len())
            .header(header::CONNECTION, "close")
            .body(Body::from(body))
            // The error would name the path.
            .map_err(|_| self.unreachable("the token makes no path"))?;
        let answer = sender.send_request(request).await.map_err(|error| self.unreachable(error))?;
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
        Ok((status, body.map_err(|error| self.unreachable(error))?))
    }

    fn unreachable(&self, detail: impl std::fmt::Display) -> ApiError {
        ApiError::Unreachable { host: self.host.clone(), detail: detail.to_string() }
    }
}

/// The system's certificates, read once.
fn tls() -> Result<Arc<ClientConfig>, ApiError> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    let made = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
        (!roots.is_empty()).then(|| Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    });
    let detail = "the system has no trusted certificates: install ca-certificates";
    made.clone().ok_or_else(|| ApiError::Unreachable { host: "any".to_owned(), detail: detail.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_tls_or_of_this_machine() {
        let read = |text: &str| Base::read(text).map(|base| (base.is_tls, base.host, base.port));
        assert_eq!(read("https://api.telegram.org"), Ok((true, "api.telegram.org".into(), 443)));
        assert_eq!(read("http://127.0.0.1:8081/"), Ok((false, "127.0.0.1".into(), 8081)));
        assert_eq!(read("http://[::1]:8081"), Ok((false, "[::1]".into(), 8081)));
        for bad in [
            "",
            "api.telegram.org",
            "ftp://x",
            "https://",
            "https://x:y",
            "http://192.0.2.1",
            "http://api.telegram.org",
            "https://user@x",
            "https://x/path",
            "http://localhost.evil.example",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
