//! The pages, the API and the live views over HTTP.
//!
//! One table ([`route::routes`]) holds every route with its method, path, handler and the role it needs; the router is made
//! from that table and from nothing else, so no route can exist without a role. Pages are rendered here with what the
//! running system says ([`System`]) and keep themselves fresh by asking for themselves again.
//!
//! **Never:** decisions about doors, clips or cameras (their crates take them); TLS (put a proxy in front, or wait for it);
//! anything fetched from another site.

pub mod api;
mod assets;
mod error;
mod guard;
pub mod live;
mod pages;
pub mod range;
pub mod route;
mod session;
pub mod system;
pub mod throttle;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::{TryStreamExt as _, stream};
use godvision_core::journal::{Entry, Journal, Level};
use godvision_core::{Clock, Name};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt;

pub use self::error::WebError;
use self::live::LiveHub;
pub use self::system::System;
use self::throttle::Throttle;
use crate::store::Store;

/// Connections served at once; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 1024;
/// Largest body of a request.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// A request whose answer has not begun after this long is given up.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Changes under way at once, with those whose sender has hung up; more wait.
pub const CHANGES_MAX: u32 = 256;
/// A connection whose next request's head is not complete after this long is closed.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stop waits for answers under way.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What every request shares. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

struct Inner {
    system: Arc<dyn System>,
    store: Store,
    live: LiveHub,
    clock: Arc<dyn Clock>,
    throttle: Mutex<Throttle>,
    /// Of wrong links: their own, so that they keep nobody from signing in.
    links: Mutex<Throttle>,
    /// A place for each change under way.
    changes: Arc<Semaphore>,
    keypad_views: Arc<Semaphore>,
    options: WebOptions,
}

/// How the web layer is served.
#[derive(Clone, Debug, Default)]
pub struct WebOptions {
    /// Whether browsers reach it over TLS, by a proxy in front: cookies are then `Secure` and bound to the host.
    pub is_behind_tls: bool,
}

impl AppState {
    /// What requests share.
    pub fn new(
        system: Arc<dyn System>,
        store: Store,
        live: LiveHub,
        clock: Arc<dyn Clock>,
        options: WebOptions,
    ) -> Self {
        let changes = Arc::new(Semaphore::new(CHANGES_MAX as usize));
        let keypad_views = Arc::new(Semaphore::new(api::keypads::VIEWS_MAX));
        let (throttle, links) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { system, store, live, clock, throttle, links, changes, keypad_views, options }) }
    }

    fn system(&self) -> &dyn System {
        &*self.inner.system
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn live(&self) -> &LiveHub {
        &self.inner.live
    }

    fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    fn options(&self) -> &WebOptions {
        &self.inner.options
    }

    fn keypad_views(&self) -> &Arc<Semaphore> {
        &self.inner.keypad_views
    }

    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.inner.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link_throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.inner.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Journals something people did through the web layer, under the service `web`.
    async fn note(
        &self,
        level: Level,
        code: &str,
        text: String,
        fields: &[(&'static str, &str)],
    ) -> Result<(), WebError> {
        self.store().journal().append(self.entry(level, code, text, fields)?).await?;
        Ok(())
    }

    /// The line about something people did through the web layer, for what journals it with the change itself.
    fn entry(
        &self,
        level: Level,
        code: &str,
        text: String,
        fields: &[(&'static str, &str)],
    ) -> Result<Entry, WebError> {
        let service = Name::new("web").map_err(|error| WebError::bad_request("bad_name", error.to_string()))?;
        let entry = Entry::new(self.clock().now(), service, level, code, text);
        Ok(fields.iter().fold(entry, |entry, (name, value)| entry.with(name, value)))
    }
}

/// The whole web layer as a value, without a socket.
pub fn router(state: AppState) -> Router {
    let mut router = Router::new();
    for route in route::routes() {
        let guard = middleware::from_fn_with_state((state.clone(), route.access), guard::guard);
        router = router.route(route.path, route.handler.route_layer(guard));
    }
    router
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(state.clone(), in_time))
        .layer(middleware::from_fn(safe_headers))
        .with_state(state)
}

/// Serves the web layer on `listener` until `stop` is ready; then ends live views, finishes answers under way for at most
/// [`STOP_TIMEOUT`], and returns.
pub async fn serve(listener: TcpListener, state: AppState, stop: impl Future<Output = ()>) {
    let app = router(state.clone());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stopping, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                // Small answers and live fragments must not wait for each other's acknowledgement.
                let _ = stream.set_nodelay(true);
                let connection = connection(app.clone(), stream, peer, stopping.subscribe());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors, most likely: give others time to close.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    state.live().stop();
    stopping.send_replace(true);
    let all = async {
        while connections.join_next().await.is_some() {}
        // Changes whose sender has hung up have no connection.
        drop(state.inner.changes.acquire_many(CHANGES_MAX).await);
    };
    if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
        tracing::warn!("some answers were cut off by the stop");
    }
}

type Accepted = (tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

async fn connection(app: Router, stream: tokio::net::TcpStream, peer: SocketAddr, mut stopping: watch::Receiver<bool>) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        app.clone().oneshot(request.map(Body::new))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let stopped = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

/// Where a request comes from; unspecified when the router runs without a socket.
fn peer(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip())
}

/// Whether a request only asks: then nobody minds if it is cut off.
fn only_asks(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Answers within [`ANSWER_TIMEOUT`]. What changes something is done to its end all the same, and also when its sender hangs
/// up: half a change, a line in the journal that the doors never heard of, would be worse than one that nobody waited for.
async fn in_time(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let answer = async move {
        if only_asks(&request) {
            return next.run(request).await;
        }
        let Ok(place) = Arc::clone(&state.inner.changes).acquire_owned().await else { return stopping() };
        // Its end depends on no sender: the body has come by the deadline or fails.
        let request = request.map(|body| until(body, deadline));
        let change = tokio::spawn(async move {
            let answer = next.run(request).await;
            drop(place);
            answer
        });
        change.await.unwrap_or_else(|error| WebError::inside("a change failed", &error).into_response())
    };
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(response) => response,
        Err(_) => {
            let message = "the answer took too long: the system is overloaded, or a device it asked does not answer";
            WebError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message).into_response()
        }
    }
}

fn stopping() -> Response {
    WebError::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is stopping").into_response()
}

/// `body` as far as it has come by `deadline`; then it fails.
fn until(body: Body, deadline: Instant) -> Body {
    Body::from_stream(stream::try_unfold(body.into_data_stream(), move |mut rest| async move {
        match tokio::time::timeout_at(deadline, rest.try_next()).await {
            Ok(Ok(part)) => Ok(part.map(|part| (part, rest))),
            Ok(Err(error)) => Err(error),
            Err(late) => Err(axum::Error::new(late)),
        }
    }))
}

/// Nothing inline, nothing from elsewhere, in no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

async fn safe_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_end_fails_at_the_deadline() {
        let parts = stream::iter([Ok::<_, std::io::Error>("{\"on\":")]).chain(stream::pending());
        let deadline = Instant::now() + Duration::from_millis(20);
        let read = axum::body::to_bytes(until(Body::from_stream(parts), deadline), BODY_BYTES_MAX).await;
        assert!(read.is_err(), "what came is not taken for all of it");
        let whole = until(Body::from("{\"on\": true}"), Instant::now() + ANSWER_TIMEOUT);
        assert_eq!(axum::body::to_bytes(whole, BODY_BYTES_MAX).await.unwrap(), "{\"on\": true}");
    }
}
