//! A real session's bytes, damaged in a thousand ways and played back: each ends in a typed error or in frames, never in
//! a panic or a hang, and every frame that comes through can be split, fragmented and stamped in order.
#![cfg(all(feature = "client", feature = "restream"))]

mod coded;
mod scripted;

use std::time::Duration;

use godvision_core::signal::media::Codec;
use godvision_core::{Name, SystemClock};
use godvision_rtsp::restream::{FilePlayer, RtspServer, ServerOptions};
use godvision_rtsp::session::{Session, SessionOptions};
use godvision_rtsp::{Fragmenter, nal};
use scripted::{Answer, ok};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PLAYED_BYTES: usize = 40_000;
const SEEDS: u64 = 1000;

/// Reads one response; what follows it stays in `buffer`.
async fn response(stream: &mut TcpStream, buffer: &mut Vec<u8>, request: &str) -> (String, Vec<u8>) {
    stream.write_all(request.as_bytes()).await.unwrap();
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end + 4]).into_owned();
            let length =
                head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return (head, body);
            }
        }
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the server closed");
    }
}

/// The description of a stream and what a camera sends after PLAY, as it stands on the wire.
async fn recorded(codec: Codec, clip: &[u8]) -> (String, Vec<u8>) {
    let server = RtspServer::bind(ServerOptions::new(([127, 0, 0, 1], 0).into())).await.unwrap();
    let mount = server.mount("/c").unwrap();
    let player = FilePlayer::from_annex_b(coded::name(), codec, clip, 100.0).unwrap();
    let playing = tokio::spawn({
        let mount = mount.clone();
        async move { player.play(&mount).await }
    });
    while mount.counters().frames == 0 {
        tokio::task::yield_now().await;
    }
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let mut buffer = Vec::new();
    let url = server.url("/c");
    let (_, sdp) = response(
        &mut stream,
        &mut buffer,
        &format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"),
    )
    .await;
    let sdp = String::from_utf8(sdp).unwrap();
    let control = sdp.lines().filter_map(|line| line.strip_prefix("a=control:")).next_back().unwrap().to_owned();
    let track = if control.starts_with("rtsp://") { control } else { format!("{url}/{control}") };
    let (setup, _) = response(
        &mut stream,
        &mut buffer,
        &format!("SETUP {track} RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"),
    )
    .await;
    let session =
        setup.lines().find_map(|line| line.strip_prefix("Session: ")).unwrap().split(';').next().unwrap().to_owned();
    response(&mut stream, &mut buffer, &format!("PLAY {url} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n")).await;
    while buffer.len() < PLAYED_BYTES {
        stream.read_buf(&mut buffer).await.unwrap();
    }
    playing.abort();
    (sdp, buffer)
}

fn damaged(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % below
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..next(12) {
        match next(4) {
            0 => {
                let at = next(bytes.len());
                bytes[at] = next(256) as u8;
            }
            1 => {
                let at = next(bytes.len());
                bytes[at] ^= 1 << next(8);
            }
            2 => {
                let at = next(bytes.len() - 100);
                bytes.drain(at..at + next(100));
            }
            _ => {
                // The payload right after an interleaved header: RTP and NAL headers live there.
                let at = bytes.iter().skip(next(bytes.len())).position(|byte| *byte == b'$').unwrap_or(0);
                let at = (at + next(24)).min(bytes.len() - 1);
                bytes[at] = next(256) as u8;
            }
        }
    }
    bytes.truncate(1 + next(bytes.len()));
    bytes
}

async fn play_back(codec: Codec, clip: &[u8]) {
    let (sdp, bytes) = recorded(codec, clip).await;
    let (mut frames, mut errors) = (0, std::collections::BTreeMap::<&str, u32>::new());
    for seed in 0..SEEDS {
        let (sdp, bytes) = (sdp.clone(), damaged(&bytes, seed));
        let camera = scripted::camera(move |request| match request.method.as_str() {
            "DESCRIBE" => Answer::Reply(200, "Content-Type: application/sdp\r\n".to_owned(), sdp.clone()),
            "SETUP" => ok("Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
            _ => Answer::ReplyThenClose(200, "Session: 1\r\n".to_owned(), bytes.clone()),
        })
        .await;
        let options = SessionOptions::new(Name::new("yard").unwrap(), camera.url("/c").parse().unwrap());
        let mut session = Session::connect(options, SystemClock::shared()).await.unwrap();
        let mut fragmenter = Fragmenter::new();
        let mut last = None;
        let error = loop {
            match tokio::time::timeout(Duration::from_secs(10), session.next()).await.expect("an answer in time") {
                Ok(packet) => {
                    frames += 1;
                    assert!(last.is_none_or(|last| packet.sequence == last + 1));
                    last = Some(packet.sequence);
                    assert!(nal::units(&packet.data).all(|unit| unit.is_ok()), "seed {seed}");
                    fragmenter.push(&packet);
                }
                Err(error) => break error,
            }
        };
        assert!(!error.in_words().contains('\n'));
        *errors.entry(error.code()).or_default() += 1;
    }
    assert!(frames > SEEDS, "{frames} frames came through");
    assert!(
        errors.len() >= 2
            && errors.keys().all(|code| matches!(*code, "ended" | "protocol" | "disconnected" | "bad_bitstream")),
        "{errors:?}"
    );
}

/// Gaps that add up to more than the protocol library can count, which panics where overflow is checked.
#[tokio::test]
async fn losses_without_end_are_survived() {
    let (sdp, mut bytes) = recorded(Codec::H265, &coded::data("plain.h265")).await;
    let (mut at, mut packets) = (0, 0_u16);
    while at + 16 <= bytes.len() && bytes[at] == b'$' {
        if bytes[at + 1] == 0 {
            bytes[at + 6..at + 8].copy_from_slice(&packets.wrapping_mul(30_000).to_be_bytes());
            // All of one picture, whose end never comes.
            bytes[at + 5] &= 0x7f;
            bytes.copy_within(8..12, at + 8);
            packets += 1;
        }
        at += 4 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
    }
    assert!(packets > 4, "{packets} packets");
    let camera = scripted::camera(move |request| match request.method.as_str() {
        "DESCRIBE" => Answer::Reply(200, "Content-Type: application/sdp\r\n".to_owned(), sdp.clone()),
        "SETUP" => ok("Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
        _ => Answer::ReplyThenClose(200, "Session: 1\r\n".to_owned(), bytes.clone()),
    })
    .await;
    let options = SessionOptions::new(Name::new("yard").unwrap(), camera.url("/c").parse().unwrap());
    let mut session = Session::connect(options, SystemClock::shared()).await.unwrap();
    let error = loop {
        match session.next().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error.code(), "protocol" | "ended" | "bad_bitstream"), "{error:?}");
}

#[tokio::test]
async fn damaged_h264_is_survived() {
    play_back(Codec::H264, &coded::h264(320, 240, 40, 5)).await;
}

#[tokio::test]
async fn damaged_h265_is_survived() {
    play_back(Codec::H265, &coded::data("plain.h265")).await;
}
