//! Cameras that stall, die, return, ask for passwords and swallow datagrams, and what is said about them.
#![cfg(all(feature = "client", feature = "restream"))]

mod coded;
mod scripted;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use godvision_core::signal::media::{Codec, FrameKind, Packet, StreamState, StreamStatus};
use godvision_core::{Name, Secret};
use godvision_rtsp::restream::{FilePlayer, MountHandle, RtspServer, ServerOptions, User};
use godvision_rtsp::session::Transport;
use godvision_rtsp::supervisor::TransportChoice;
use godvision_rtsp::timeline::SenderClock;
use godvision_rtsp::{Camera, CameraEvent, CameraOptions};
use scripted::{H264_SDP, ok, sdp};

const GROUP: u32 = 5;

async fn serve(listen: SocketAddr, users: Vec<User>) -> RtspServer {
    let mut options = ServerOptions::new(listen);
    options.users = users;
    RtspServer::bind(options).await.unwrap()
}

/// Plays a clip; the stream can be described when this returns.
async fn play(mount: MountHandle) -> tokio::task::JoinHandle<()> {
    let clip = coded::h264(128, 96, 20, GROUP);
    let player = FilePlayer::from_annex_b(coded::name(), Codec::H264, &clip, 50.0).unwrap();
    let playing = mount.clone();
    let task = tokio::spawn(async move { player.play(&playing).await });
    while mount.counters().frames == 0 {
        tokio::task::yield_now().await;
    }
    task
}

fn options(url: &str) -> CameraOptions {
    let mut options = CameraOptions::new(Name::new("yard").unwrap(), url.parse().unwrap());
    options.supervision.backoff_first = Duration::from_millis(100);
    options.supervision.stall_timeout = Duration::from_millis(400);
    options.supervision.first_frame_timeout = Duration::from_millis(800);
    options
}

#[expect(clippy::disallowed_methods, reason = "the test measures real servers")]
fn now() -> Instant {
    Instant::now()
}

/// The next event, or a failure after 10 s.
async fn event(camera: &mut Camera) -> CameraEvent {
    tokio::time::timeout(Duration::from_secs(10), camera.next()).await.expect("something happens")
}

async fn status(camera: &mut Camera) -> StreamStatus {
    loop {
        if let CameraEvent::Status(status) = event(camera).await {
            return status;
        }
    }
}

async fn packets(camera: &mut Camera, count: usize) -> Vec<Packet> {
    let mut packets = Vec::new();
    while packets.len() < count {
        match event(camera).await {
            CameraEvent::Packet(packet) => packets.push(packet),
            CameraEvent::Status(status) => panic!("{status:?}"),
            _ => {}
        }
    }
    packets
}

#[tokio::test]
async fn frames_come_key_first_on_one_timeline_over_tcp_and_udp() {
    let server = serve(([127, 0, 0, 1], 0).into(), vec![]).await;
    let mount = server.mount("/yard").unwrap();
    let player = play(mount).await;
    for (choice, transport) in [(TransportChoice::Auto, Transport::Tcp), (TransportChoice::Udp, Transport::Udp)] {
        let mut options = options(&server.url("/yard"));
        options.supervision.transport = choice;
        let mut camera = Camera::connect(options);
        assert_eq!(status(&mut camera).await.state, StreamState::Connecting);
        let online = status(&mut camera).await;
        assert_eq!((online.state, online.code), (StreamState::Online, None));
        assert_eq!(online.detail, "H.264 128x96");
        assert_eq!(online.format.as_ref().map(|format| (format.width, format.height)), Some((128, 96)));
        let packets = packets(&mut camera, 30).await;
        assert_eq!(packets[0].kind, FrameKind::Key);
        for pair in packets.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1);
            assert!(pair[1].at.mono > pair[0].at.mono && pair[1].pts_ticks > pair[0].pts_ticks);
        }
        let report = camera.report();
        assert_eq!((report.transport, report.sender_clock), (transport, SenderClock::Trusted));
        assert_eq!((report.counters.lost_packets, report.counters.sessions), (0, 1));
    }
    player.abort();
}

#[tokio::test]
async fn a_camera_that_dies_and_returns_is_found_again() {
    let server = serve(([127, 0, 0, 1], 0).into(), vec![]).await;
    let address = server.local_addr();
    let player = play(server.mount("/yard").unwrap()).await;
    let mut camera = Camera::connect(options(&server.url("/yard")));
    assert_eq!(status(&mut camera).await.state, StreamState::Connecting);
    assert_eq!(status(&mut camera).await.state, StreamState::Online);
    let last = packets(&mut camera, 10).await.pop().unwrap();
    player.abort();
    server.shutdown().await;
    let lost = status(&mut camera).await;
    assert_eq!(lost.state, StreamState::BackingOff);
    assert!(matches!(lost.code, Some("ended" | "disconnected")), "{lost:?}");
    let refused = status(&mut camera).await;
    assert_eq!((refused.state, refused.code), (StreamState::BackingOff, Some("refused")));

    let server = serve(address, vec![]).await;
    let player = play(server.mount("/yard").unwrap()).await;
    // Between the server's return and its first frame it may answer that it has nothing yet.
    while status(&mut camera).await.state != StreamState::Online {}
    let first = packets(&mut camera, 1).await.remove(0);
    assert_eq!(first.kind, FrameKind::Key, "decoding starts anew");
    assert_eq!(first.session, last.session + 1);
    assert!(first.sequence > last.sequence && first.at.mono > last.at.mono);
    assert_eq!(camera.report().counters.sessions, 2);
    player.abort();
}

#[tokio::test]
async fn a_stall_is_noticed_in_time_and_said_once() {
    let server = serve(([127, 0, 0, 1], 0).into(), vec![]).await;
    let player = play(server.mount("/yard").unwrap()).await;
    let mut camera = Camera::connect(options(&server.url("/yard")));
    status(&mut camera).await;
    status(&mut camera).await;
    packets(&mut camera, 10).await;
    player.abort();
    let stopped = now();
    let stalled = status(&mut camera).await;
    let noticed = stopped.elapsed();
    assert_eq!((stalled.state, stalled.code), (StreamState::Stalled, Some("stalled")));
    assert!(noticed > Duration::from_millis(300) && noticed < Duration::from_millis(900), "{noticed:?}");
    assert_eq!(camera.report().counters.stalls, 1);
}

#[tokio::test]
async fn a_wrong_password_is_said_once_and_not_tried_again() {
    let user = User::new("admin", Secret::from("right"));
    let server = serve(([127, 0, 0, 1], 0).into(), vec![user]).await;
    let player = play(server.mount("/yard").unwrap()).await;
    let port = server.local_addr().port();
    let mut camera = Camera::connect(options(&format!("rtsp://admin:wrong@127.0.0.1:{port}/yard")));
    assert_eq!(status(&mut camera).await.state, StreamState::Connecting);
    let refused = status(&mut camera).await;
    assert_eq!((refused.state, refused.code), (StreamState::NeedsAttention, Some("auth_failed")));
    assert!(refused.detail.contains("password") && !refused.detail.contains("wrong"), "{}", refused.detail);
    let more = tokio::time::timeout(Duration::from_millis(1500), camera.next()).await;
    assert!(more.is_err(), "{more:?}");
    assert_eq!(camera.report().counters.failed_tries, 1);

    let mut camera = Camera::connect(options(&format!("rtsp://admin:right@127.0.0.1:{port}/yard")));
    assert_eq!(status(&mut camera).await.state, StreamState::Connecting);
    assert_eq!(status(&mut camera).await.state, StreamState::Online);
    player.abort();
}

#[tokio::test]
async fn udp_that_delivers_nothing_is_exchanged_for_tcp() {
    let silent = scripted::camera(|request| match request.method.as_str() {
        "DESCRIBE" => sdp(H264_SDP),
        "SETUP" if request.text.contains("RTP/AVP/UDP") => {
            ok("Session: 1\r\nTransport: RTP/AVP/UDP;unicast;client_port=1-2;server_port=9-10\r\n")
        }
        "SETUP" => ok("Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
        _ => ok("Session: 1\r\n"),
    })
    .await;
    let mut options = options(&silent.url("/"));
    options.supervision.transport = TransportChoice::Udp;
    let mut camera = Camera::connect(options);
    assert_eq!(status(&mut camera).await.state, StreamState::Connecting);
    let lost = status(&mut camera).await;
    // On loopback a closed port answers, so the loss may be seen before the watchdog barks.
    assert!(matches!(lost.code, Some("udp_silent" | "disconnected")), "{lost:?}");
    let setups =
        || silent.requests.lock().unwrap().iter().filter(|text| text.starts_with("SETUP")).cloned().collect::<Vec<_>>();
    if lost.code == Some("udp_silent") {
        while setups().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(setups()[1].contains("RTP/AVP/TCP"), "{}", setups()[1]);
        assert_eq!(camera.report().counters.transport_changes, 1);
    }
}

#[tokio::test]
async fn a_reader_that_falls_behind_loses_whole_groups_and_nothing_waits_for_it() {
    let server = serve(([127, 0, 0, 1], 0).into(), vec![]).await;
    let mount = server.mount("/yard").unwrap();
    let clip = coded::h264(64, 64, 20, GROUP);
    let player = FilePlayer::from_annex_b(coded::name(), Codec::H264, &clip, 50.0).unwrap();
    let publish = {
        let mount = mount.clone();
        tokio::spawn(async move {
            for number in 0.. {
                mount.publish(&player.packet(number, coded::start())).unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    let mut camera = Camera::connect(options(&server.url("/yard")));
    let mut waited = Duration::ZERO;
    while camera.report().counters.dropped_reader_behind == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        waited += Duration::from_millis(10);
        assert!(waited < Duration::from_secs(20), "{:?}", camera.report());
    }
    let mut last: Option<Packet> = None;
    let mut gaps = 0;
    for _ in 0..400 {
        let CameraEvent::Packet(packet) = event(&mut camera).await else { continue };
        if let Some(last) = &last
            && packet.sequence != last.sequence + 1
        {
            gaps += 1;
            assert_eq!(packet.kind, FrameKind::Key, "after a gap decoding starts anew");
        }
        last = Some(packet);
    }
    assert!(gaps >= 1);
    assert_eq!(camera.report().counters.sessions, 1, "the connection did not suffer");
    publish.abort();
}
