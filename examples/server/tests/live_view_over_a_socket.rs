//! The live view's protocol over a real WebSocket, as a client sees it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::any;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use godvision_core::signal::media::{Codec, Fragment, FrameKind, InitSegment, VideoFormat};
use godvision_core::{Name, Stamp, SystemClock};
use godvision_server::web::live::{self, CLIENT_MESSAGE_BYTES_MAX, LiveHub, LiveLimits};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

struct Site {
    hub: LiveHub,
    camera: Name,
    init: Arc<InitSegment>,
    url: String,
    signed_out: watch::Sender<bool>,
}

async fn site(limits: LiveLimits) -> Site {
    let hub = LiveHub::new(limits, SystemClock::shared());
    let camera = Name::new("yard/camera").unwrap();
    let (signed_out, session) = watch::channel(false);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/live", listener.local_addr().unwrap());
    let (served, name) = (hub.clone(), camera.clone());
    let route = any(move |upgrade: WebSocketUpgrade| async move {
        live::limited(upgrade).on_upgrade(async move |socket| {
            let mut session = session;
            let until = async move { drop(session.wait_for(|over| *over).await) };
            live::serve_viewer(socket, &served, &name, until).await;
        })
    });
    tokio::spawn(axum::serve(listener, Router::new().route("/live", route)).into_future());
    let format = Arc::new(VideoFormat {
        codec: Codec::H264,
        width: 1280,
        height: 720,
        codec_name: "avc1.640028".into(),
        config: Bytes::new(),
    });
    let mime = "video/mp4; codecs=\"avc1.640028\"".to_owned();
    let init = Arc::new(InitSegment { format, mime, data: Bytes::from_static(b"ftypmoov") });
    Site { hub, camera, init, url, signed_out }
}

impl Site {
    fn publish(&self, sequence: u64, data: &[u8]) {
        self.hub.publish(Fragment {
            source: self.camera.clone(),
            init: self.init.clone(),
            sequence,
            session: 0,
            decode_ticks: sequence * 3600,
            duration_ticks: 3600,
            at: Stamp::default(),
            kind: if sequence.is_multiple_of(50) { FrameKind::Key } else { FrameKind::Delta },
            lost_before: 0,
            head: Bytes::from_static(b"moof"),
            data: Bytes::copy_from_slice(data),
        });
    }

    async fn view(&self) -> Socket {
        connect_async(&self.url).await.unwrap().0
    }

    async fn viewers(&self, count: usize) {
        let mut demand = self.hub.demand(&self.camera).unwrap();
        within(demand.wait_for(|viewers| *viewers == count)).await.unwrap();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("an answer within 10 s")
}

async fn next(socket: &mut Socket) -> Message {
    within(socket.next()).await.expect("the socket is open").unwrap()
}

async fn next_text(socket: &mut Socket) -> serde_json::Value {
    serde_json::from_str(next(socket).await.to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn a_viewer_gets_format_clock_and_fragments_and_is_counted() {
    let site = site(LiveLimits::default()).await;
    site.publish(0, b"mdat one");
    let mut socket = site.view().await;
    let init = next_text(&mut socket).await;
    assert_eq!((&init["type"], &init["width"]), (&"init".into(), &1280.into()));
    assert_eq!(next(&mut socket).await, Message::binary(&b"ftypmoov"[..]));
    let clock = next_text(&mut socket).await;
    assert_eq!((&clock["type"], &clock["key"], &clock["media_s"]), (&"clock".into(), &true.into(), &0.0.into()));
    assert_eq!(next(&mut socket).await, Message::binary(&b"moofmdat one"[..]));
    site.viewers(1).await;
    site.publish(1, b"mdat two");
    assert_eq!(next(&mut socket).await, Message::binary(&b"moofmdat two"[..]));
    socket.close(None).await.unwrap();
    site.viewers(0).await;
}

#[tokio::test]
async fn who_is_one_too_many_is_told_so() {
    let site = site(LiveLimits { viewers_max: 1, ..LiveLimits::default() }).await;
    let _first = site.view().await;
    site.viewers(1).await;
    let mut second = site.view().await;
    assert_eq!(next_text(&mut second).await["code"], "too_many_viewers");
    let Message::Close(Some(frame)) = next(&mut second).await else { panic!("it is closed") };
    assert_eq!(frame.code, CloseCode::Again);
}

#[tokio::test]
async fn the_view_ends_with_the_session_and_with_the_server() {
    let site = site(LiveLimits::default()).await;
    let mut one = site.view().await;
    site.viewers(1).await;
    site.signed_out.send_replace(true);
    let Message::Close(Some(frame)) = next(&mut one).await else { panic!("it is closed") };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Policy, "signed_out"));
    site.viewers(0).await;
    site.signed_out.send_replace(false);
    let mut two = site.view().await;
    site.viewers(1).await;
    site.hub.stop();
    let Message::Close(Some(frame)) = next(&mut two).await else { panic!("it is closed") };
    assert_eq!(frame.code, CloseCode::Away);
}

#[tokio::test]
async fn long_messages_of_a_viewer_end_its_view_and_nothing_else() {
    let site = site(LiveLimits::default()).await;
    let (mut good, mut bad) = (site.view().await, site.view().await);
    site.viewers(2).await;
    bad.send(Message::text("x".repeat(CLIENT_MESSAGE_BYTES_MAX + 1))).await.unwrap();
    site.viewers(1).await;
    site.publish(0, b"mdat");
    assert_eq!(next_text(&mut good).await["type"], "init");
}

#[tokio::test]
async fn who_does_not_read_costs_others_nothing() {
    let site = site(LiveLimits::default()).await;
    let (mut good, bad) = (site.view().await, site.view().await);
    site.viewers(2).await;
    // 60 MB: far more than the sockets between us hold.
    let large = vec![7; 200_000];
    for sequence in 0..300 {
        site.publish(sequence, &large);
        loop {
            if matches!(next(&mut good).await, Message::Binary(bytes) if bytes.len() > 100_000) {
                break;
            }
        }
    }
    assert_eq!(site.hub.counters()[0].1.fragments, 300);
    drop(bad);
    site.viewers(1).await;
}
