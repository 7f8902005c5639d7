//! Every way a camera can fail becomes its own error, with a stable code, the right retry class and no secret in it.
#![cfg(feature = "client")]

mod scripted;

use std::time::Duration;

use godvision_core::{Name, SystemClock};
use godvision_rtsp::error::Retry;
use godvision_rtsp::session::{Session, SessionOptions, Transport};
use godvision_rtsp::{CameraUrl, Error};
use scripted::{Answer, H264_SDP, Request, camera, ok, sdp, status};

const TRANSPORT_TCP: &str = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";

fn options(url: &str) -> SessionOptions {
    let url: CameraUrl = url.parse().unwrap();
    SessionOptions { connect_timeout: Duration::from_secs(5), ..SessionOptions::new(Name::new("yard").unwrap(), url) }
}

async fn connect(options: SessionOptions) -> Result<Session, Error> {
    Session::connect(options, SystemClock::shared()).await
}

/// The error of connecting to a camera that answers by `script`, asked with a password.
async fn error_of(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Error {
    let camera = camera(script).await;
    let url = format!("rtsp://admin:hunter2@127.0.0.1:{}/h264", camera.port);
    let error = connect(options(&url)).await.expect_err("an error");
    let words = format!("{} {error:?}", error.in_words());
    assert!(!words.contains("hunter2") && !words.contains('\n'), "{words}");
    assert!(words.contains("yard"), "{words}");
    error
}

fn describe_with(body: &'static str) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |request| if request.method == "DESCRIBE" { sdp(body) } else { status(500) }
}

/// Answers all of the handshake but `method`, which gets `answer`.
fn fails_at(method: &'static str, answer: fn() -> Answer) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |request| match request.method.as_str() {
        it if it == method => answer(),
        "DESCRIBE" => sdp(H264_SDP),
        "SETUP" => ok(TRANSPORT_TCP),
        _ => ok("Session: 1\r\n"),
    }
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = connect(options(&format!("rtsp://127.0.0.1:{free}/"))).await.err().unwrap();
    assert!(matches!(&error, Error::Refused { address, .. } if *address == format!("127.0.0.1:{free}")), "{error:?}");
    assert_eq!((error.code(), error.retry(), error.is_temporary()), ("refused", Retry::BackOff, true));
}

#[tokio::test]
async fn no_way_there_is_unreachable() {
    // The broadcast address has no route for TCP on any host.
    let error = connect(options("rtsp://255.255.255.255/")).await.err().unwrap();
    assert_eq!(error.code(), "unreachable", "{error:?}");
    assert!(error.is_temporary());
}

#[tokio::test]
async fn a_wrong_password_is_auth_failed() {
    const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"abc\"\r\n";
    let error = error_of(|_| Answer::Reply(401, CHALLENGE.to_owned(), String::new())).await;
    assert!(matches!(error, Error::AuthFailed { status: 401, .. }), "{error:?}");
    assert_eq!((error.code(), error.retry()), ("auth_failed", Retry::Rarely));
    let error = error_of(|_| status(403)).await;
    assert!(matches!(error, Error::AuthFailed { status: 403, .. }), "{error:?}");
}

#[tokio::test]
async fn no_password_where_one_is_asked_is_auth_missing() {
    let camera =
        camera(|_| Answer::Reply(401, "WWW-Authenticate: Basic realm=\"cam\"\r\n".to_owned(), String::new())).await;
    let error = connect(options(&camera.url("/"))).await.err().unwrap();
    assert_eq!((error.code(), error.retry()), ("auth_missing", Retry::Rarely));
    assert_eq!(camera.methods(), ["DESCRIBE"], "asked once");
}

#[tokio::test]
async fn basic_and_digest_passwords_are_sent_as_asked() {
    for (challenge, expected) in [
        ("Basic realm=\"cam\"", "Basic YWRtaW46aHVudGVyMg=="),
        ("Digest realm=\"cam\", nonce=\"abc\"", "Digest username=\"admin\""),
    ] {
        let camera = camera(move |request| match request.header("Authorization") {
            None => Answer::Reply(401, format!("WWW-Authenticate: {challenge}\r\n"), String::new()),
            Some(_) => status(404),
        })
        .await;
        let url = format!("rtsp://admin:hunter2@127.0.0.1:{}/h264", camera.port);
        assert_eq!(connect(options(&url)).await.err().unwrap().code(), "not_found");
        let requests = camera.requests.lock().unwrap();
        assert!(requests[1].contains(&format!("Authorization: {expected}")), "{}", requests[1]);
        assert!(!requests[0].contains("hunter2") && !requests[0].contains("admin"), "the address carries no login");
    }
}

#[tokio::test]
async fn a_wrong_path_is_not_found() {
    let error = error_of(|_| status(404)).await;
    assert_eq!((error.code(), error.retry(), error.is_temporary()), ("not_found", Retry::Slowly, false));
}

#[tokio::test]
async fn other_answers_are_told_with_their_status() {
    let error = error_of(fails_at("PLAY", || status(453))).await;
    assert!(matches!(&error, Error::Rejected { method, status: 453, .. } if method == "PLAY"), "{error:?}");
    assert!(error.to_string().contains("too many viewers"));
    assert!(error_of(fails_at("DESCRIBE", || status(503))).await.is_temporary());
}

#[tokio::test]
async fn a_refused_transport_is_told_apart() {
    let error = error_of(fails_at("SETUP", || status(461))).await;
    assert!(matches!(error, Error::TransportRefused { transport: "TCP", .. }), "{error:?}");
    let camera = camera(fails_at("SETUP", || status(461))).await;
    let udp = SessionOptions { transport: Transport::Udp, ..options(&camera.url("/")) };
    let error = connect(udp).await.err().unwrap();
    assert!(matches!(error, Error::TransportRefused { transport: "UDP", .. }), "{error:?}");
}

#[tokio::test]
async fn streams_without_usable_video_are_told_apart() {
    let audio = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=audio 0 RTP/AVP 0\na=control:t0\n";
    assert_eq!(error_of(describe_with(audio)).await.code(), "no_video");
    let old =
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=video 0 RTP/AVP 96\na=rtpmap:96 MP4V-ES/90000\na=control:t0\n";
    let error = error_of(describe_with(old)).await;
    assert!(matches!(&error, Error::UnsupportedCodec { codec, .. } if codec == "MP4V-ES"), "{error:?}");
    assert_eq!(error.retry(), Retry::Slowly);
}

#[tokio::test]
async fn silence_is_a_timeout_that_names_the_stage() {
    for (method, stage) in [("DESCRIBE", "the description"), ("SETUP", "the setup"), ("PLAY", "the request to play")] {
        let camera = camera(fails_at(method, || Answer::Silence)).await;
        let hasty = SessionOptions { connect_timeout: Duration::from_millis(300), ..options(&camera.url("/")) };
        let error = connect(hasty).await.err().unwrap();
        assert!(matches!(&error, Error::Timeout { stage: it, .. } if *it == stage), "{error:?}");
        assert!(error.is_temporary());
    }
}

#[tokio::test]
async fn a_closed_connection_is_disconnected() {
    let error = error_of(fails_at("SETUP", || Answer::Close)).await;
    assert!(matches!(&error, Error::Disconnected { detail, .. } if detail.contains("SETUP")), "{error:?}");
    assert!(error.is_temporary());
}

#[tokio::test]
async fn garbage_is_a_protocol_error() {
    let error = error_of(|_| Answer::Raw(b"HTTP/1.1 200 OK\r\n\r\n<html>".to_vec())).await;
    assert!(matches!(error.code(), "protocol" | "disconnected"), "{error:?}");
    let error = error_of(describe_with("this is no description")).await;
    assert_eq!(error.code(), "protocol", "{error:?}");
    let bad_sets = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=!!!,???\na=control:t0\n";
    let _ = connect(options(&camera(describe_with(bad_sets)).await.url("/"))).await.expect_err("an error, not a panic");
}

#[tokio::test]
async fn the_end_of_a_stream_is_an_error_of_its_own() {
    let camera = camera(fails_at("PLAY", || Answer::ReplyThenClose(200, "Session: 1\r\n".to_owned(), vec![]))).await;
    let mut session = connect(options(&camera.url("/"))).await.unwrap();
    let error = session.next().await.err().unwrap();
    assert!(matches!(error, Error::Ended { .. }), "{error:?}");
    assert_eq!((error.code(), error.is_temporary()), ("ended", true));
    assert_eq!(session.other_streams(), ["audio/pcmu"], "audio is described and left alone");
    assert_eq!(camera.methods().iter().filter(|method| *method == "SETUP").count(), 1);
}

#[tokio::test]
async fn garbage_while_playing_ends_the_session_and_nothing_else() {
    // An interleaved packet on the right channel with a broken RTP header, then noise.
    let noise: Vec<u8> =
        [b"$\0\0\x04\xff\xff\xff\xff".to_vec(), (0..200u8).map(|n| n.wrapping_mul(73)).collect()].concat();
    let camera = camera(move |request| match request.method.as_str() {
        "DESCRIBE" => sdp(H264_SDP),
        "SETUP" => ok(TRANSPORT_TCP),
        _ => Answer::ReplyThenClose(200, "Session: 1\r\n".to_owned(), noise.clone()),
    })
    .await;
    let mut session = connect(options(&camera.url("/"))).await.unwrap();
    let error = session.next().await.err().unwrap();
    assert!(matches!(error.code(), "protocol" | "disconnected"), "{error:?}");
}
