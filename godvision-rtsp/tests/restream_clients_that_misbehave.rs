//! The server against raw sockets: slow readers, silent ones, floods, nonsense.
#![cfg(feature = "restream")]

mod coded;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godvision_core::signal::media::{Codec, FrameKind, Packet};
use godvision_core::time::ManualClock;
use godvision_rtsp::restream::{MountHandle, RtspServer, ServerOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(10);

struct Client {
    socket: TcpStream,
    url: String,
    sequence: u32,
    session: Option<String>,
}

impl Client {
    async fn new(server: &RtspServer, path: &str) -> Self {
        let socket = TcpStream::connect(server.local_addr()).await.unwrap();
        Self { socket, url: server.url(path), sequence: 0, session: None }
    }

    /// Sends a request and returns the head of its answer, and its body.
    async fn ask(&mut self, method: &str, suffix: &str, headers: &str) -> (u16, String) {
        self.sequence += 1;
        let session = self.session.as_ref().map(|id| format!("Session: {id}\r\n")).unwrap_or_default();
        let text =
            format!("{method} {}{suffix} RTSP/1.0\r\nCSeq: {}\r\n{session}{headers}\r\n", self.url, self.sequence);
        self.socket.write_all(text.as_bytes()).await.unwrap();
        let (status, head) = self.answer().await;
        assert!(head.contains(&format!("CSeq: {}", self.sequence)), "{head}");
        if let Some(id) = head.lines().find_map(|line| line.strip_prefix("Session: ")) {
            self.session = Some(id.split(';').next().unwrap().to_owned());
        }
        (status, head)
    }

    async fn answer(&mut self) -> (u16, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.socket.read_u8()).await.expect("an answer in time").expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap();
        if let Some(length) = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")) {
            let mut body = vec![0; length.parse().unwrap()];
            self.socket.read_exact(&mut body).await.unwrap();
        }
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
    }

    async fn play_interleaved(&mut self) {
        let setup = self.ask("SETUP", "/track0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n").await;
        assert_eq!(setup.0, 200, "{}", setup.1);
        assert_eq!(self.ask("PLAY", "", "").await.0, 200);
    }

    /// The next RTP packet inside the connection.
    async fn rtp(&mut self) -> Vec<u8> {
        loop {
            let mut head = [0; 4];
            timeout(PATIENCE, self.socket.read_exact(&mut head)).await.expect("a packet in time").unwrap();
            assert_eq!(head[0], b'$');
            let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
            self.socket.read_exact(&mut packet).await.unwrap();
            if head[1] == 0 {
                return packet;
            }
        }
    }

    async fn is_closed(&mut self) -> bool {
        let mut sink = [0; 4096];
        let closed = async {
            loop {
                match self.socket.read(&mut sink).await {
                    Ok(0) | Err(_) => return true,
                    Ok(_) => {}
                }
            }
        };
        timeout(PATIENCE, closed).await.unwrap_or(false)
    }
}

/// Frames of `bytes` each, whose second and following bytes tell their number.
fn big_frame(template: &Packet, number: u64, group: u64, bytes: usize) -> Packet {
    let is_key = number.is_multiple_of(group);
    let mut unit = vec![if is_key { 0x65 } else { 0x41 }];
    unit.extend((number as u32).to_be_bytes());
    unit.resize(bytes, 0xaa);
    let mut data = (unit.len() as u32).to_be_bytes().to_vec();
    data.extend(unit);
    let mut packet = template.clone();
    packet.sequence = number;
    packet.pts_ticks = number as i64 * 3600;
    packet.at.mono = template.at.mono + Duration::from_millis(number * 40);
    packet.kind = if is_key { FrameKind::Key } else { FrameKind::Delta };
    packet.data = Bytes::from(data);
    packet
}

fn template() -> Packet {
    coded::packets(Codec::H264, &coded::h264(96, 64, 1, 1)).remove(0)
}

async fn server(change: impl FnOnce(&mut ServerOptions)) -> (RtspServer, MountHandle) {
    let mut options = ServerOptions::new(LOOPBACK);
    change(&mut options);
    let server = RtspServer::bind(options).await.unwrap();
    let mount = server.mount("/yard").unwrap();
    mount.publish(&big_frame(&template(), 0, 1, 100)).unwrap();
    (server, mount)
}

/// Numbers of the frames in order of arrival, by their first packets; stops at `last`.
async fn numbers(client: &mut Client, last: u32) -> Vec<u32> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let packet = client.rtp().await;
        // The first fragment of a FU-A: indicator, flags with the start bit, then the frame's number.
        if packet[12] & 0x1f == 28 && packet[13] & 0x80 != 0 {
            seen.push(u32::from_be_bytes(packet[14..18].try_into().unwrap()));
        }
    }
    seen
}

#[tokio::test]
async fn a_slow_reader_skips_to_a_key_frame_and_delays_nobody() {
    let (server, mount) = server(|options| options.queue_frames_max = 8).await;
    let template = template();
    let mut slow = Client::new(&server, "/yard").await;
    let mut quick = Client::new(&server, "/yard").await;
    slow.play_interleaved().await;
    quick.play_interleaved().await;
    let quick = tokio::spawn(async move { numbers(&mut quick, 399).await });
    for number in 10..400 {
        mount.publish(&big_frame(&template, number, 10, 60_000)).unwrap();
        // Room for the quick one's task; the slow one does not read at all.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(quick.await.unwrap(), (10..400).collect::<Vec<u32>>(), "the quick reader lost nothing");
    let skipped = mount.counters().skipped;
    assert!(skipped > 100, "{skipped} of 390 skipped for the slow one");
    // Now it reads: a run of frames, a gap, and then a key frame.
    let feeder = tokio::spawn({
        let (mount, template) = (mount.clone(), template.clone());
        async move {
            for number in 400..=600 {
                mount.publish(&big_frame(&template, number, 10, 60_000)).unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let seen = numbers(&mut slow, 600).await;
    feeder.await.unwrap();
    assert_eq!(seen[0], 10);
    let gaps: Vec<_> = seen.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(!gaps.is_empty());
    assert!(gaps.iter().all(|pair| pair[1] % 10 == 0), "after a gap comes a key frame: {gaps:?}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_reader_joins_inside_a_group_and_starts_at_its_key_frame() {
    let (server, mount) = server(|_| {}).await;
    let template = template();
    for number in 0..17 {
        mount.publish(&big_frame(&template, number, 10, 2000)).unwrap();
    }
    let mut client = Client::new(&server, "/yard").await;
    client.play_interleaved().await;
    mount.publish(&big_frame(&template, 17, 10, 2000)).unwrap();
    assert_eq!(numbers(&mut client, 17).await, (10..18).collect::<Vec<u32>>());
    server.shutdown().await;
}

#[tokio::test]
async fn a_group_too_long_to_keep_makes_readers_wait_for_a_key_frame() {
    let (server, mount) = server(|_| {}).await;
    let template = template();
    let long = godvision_rtsp::restream::GROUP_FRAMES_MAX as u64 + 5;
    for number in 0..long {
        mount.publish(&big_frame(&template, number, 10_000, 1500)).unwrap();
    }
    let mut client = Client::new(&server, "/yard").await;
    client.play_interleaved().await;
    for number in long..long + 3 {
        mount.publish(&big_frame(&template, number, 10_000, 1500)).unwrap();
    }
    mount.publish(&big_frame(&template, 20_000, 10_000, 1500)).unwrap();
    assert_eq!(numbers(&mut client, 20_000).await, [20_000]);
    assert_eq!(mount.counters().skipped, 3);
    server.shutdown().await;
}

#[tokio::test]
async fn limits_are_kept() {
    let (server, _mount) = server(|options| (options.connections_max, options.readers_max) = (4, 1)).await;
    let mut first = Client::new(&server, "/yard").await;
    first.play_interleaved().await;
    let mut second = Client::new(&server, "/yard").await;
    assert_eq!(second.ask("DESCRIBE", "", "").await.0, 453, "one reader is allowed");
    let mut long = Client::new(&server, "/yard").await;
    let header = format!("X-Long: {}", "x".repeat(godvision_rtsp::restream::REQUEST_BYTES_MAX));
    long.socket.write_all(format!("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n{header}").as_bytes()).await.unwrap();
    assert_eq!(long.answer().await.0, 413);
    assert!(long.is_closed().await);
    let mut many = Client::new(&server, "/yard").await;
    let headers: String = (0..=godvision_rtsp::restream::HEADERS_MAX).map(|n| format!("X-{n}: 1\r\n")).collect();
    many.socket.write_all(format!("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n{headers}\r\n").as_bytes()).await.unwrap();
    assert_eq!(many.answer().await.0, 400);
    assert!(many.is_closed().await);
    drop((long, many));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (_third, _fourth) = (Client::new(&server, "/yard").await, Client::new(&server, "/yard").await);
    let mut fifth = Client::new(&server, "/yard").await;
    assert!(fifth.is_closed().await, "four connections are allowed");
    server.shutdown().await;
}

#[tokio::test]
async fn nonsense_is_answered_and_closed() {
    let (server, _mount) = server(|_| {}).await;
    for nonsense in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"\0\0\0\0", b"OPTIONS\r\n\r\n"]
    {
        let mut client = Client::new(&server, "/yard").await;
        client.socket.write_all(nonsense).await.unwrap();
        assert_eq!(client.answer().await.0, 400, "{nonsense:?}");
        assert!(client.is_closed().await);
    }
    let mut client = Client::new(&server, "/yard").await;
    assert_eq!(client.ask("PLAY", "", "").await.0, 455);
    assert_eq!(client.ask("RECORD", "", "").await.0, 405);
    assert_eq!(client.ask("DESCRIBE", "-no", "").await.0, 404);
    assert_eq!(client.ask("SETUP", "", "").await.0, 461);
    assert_eq!(client.ask("SETUP", "", "Transport: RTP/AVP;multicast\r\n").await.0, 461);
    assert_eq!(client.ask("SETUP", "", "Transport: RTP/AVP;unicast;client_port=80-81\r\n").await.0, 461);
    assert_eq!(client.ask("OPTIONS", "", "Require: www.onvif.org/ver20/backchannel\r\n").await.0, 551);
    client.session = Some("0".repeat(32));
    assert_eq!(client.ask("TEARDOWN", "", "").await.0, 454);
    assert_eq!(client.ask("GET_PARAMETER", "", "").await.0, 200);
    server.shutdown().await;
}

#[tokio::test]
async fn a_silent_udp_reader_is_let_go_and_a_living_one_is_not() {
    let clock = ManualClock::at(coded::start());
    let (server, mount) = server(|options| options.clock = Arc::new(clock.clone())).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let sockets = [UdpSocket::bind(LOOPBACK).await.unwrap(), UdpSocket::bind(LOOPBACK).await.unwrap()];
        let [rtp, rtcp] = [&sockets[0], &sockets[1]].map(|socket| socket.local_addr().unwrap().port());
        let mut client = Client::new(&server, "/yard").await;
        // Asked to send to somebody else: the peer's address is used nevertheless.
        let line = format!("Transport: RTP/AVP;unicast;destination=192.0.2.7;client_port={rtp}-{rtcp}\r\n");
        let (status, head) = client.ask("SETUP", "/track0", &line).await;
        assert_eq!(status, 200, "{head}");
        assert!(!head.contains("192.0.2.7"), "{head}");
        let ports = head.split("server_port=").nth(1).unwrap().lines().next().unwrap();
        let server_rtcp: u16 = ports.split('-').nth(1).unwrap().parse().unwrap();
        assert_eq!(client.ask("PLAY", "", "").await.0, 200);
        let mut packet = [0; 2000];
        let (length, from) = timeout(PATIENCE, sockets[0].recv_from(&mut packet)).await.unwrap().unwrap();
        assert!(length > 12 && from.ip() == LOOPBACK.ip(), "media comes to the peer");
        clients.push((client, sockets, server_rtcp));
    }
    let stranger = UdpSocket::bind(LOOPBACK).await.unwrap();
    for _ in 0..3 {
        clock.advance(Duration::from_secs(25));
        let (_, sockets, rtcp) = &clients[0];
        sockets[1].send_to(&[0x80, 201, 0, 1, 0, 0, 0, 1], ("127.0.0.1", *rtcp)).await.unwrap();
        // Nobody but the reader itself keeps a session alive.
        stranger.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 1], ("127.0.0.1", clients[1].2)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(clients[1].0.is_closed().await, "silent for 75 s");
    while mount.counters().readers != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(clients[0].0.ask("GET_PARAMETER", "", "").await.0, 200, "the other one goes on");
    assert_eq!(clients[0].0.ask("TEARDOWN", "", "").await.0, 200);
    server.shutdown().await;
}

#[tokio::test]
async fn a_shut_down_server_says_bye_and_frees_its_port() {
    let (server, _mount) = server(|_| {}).await;
    let address = server.local_addr();
    let mut client = Client::new(&server, "/yard").await;
    client.play_interleaved().await;
    client.rtp().await;
    timeout(Duration::from_secs(2), server.shutdown()).await.unwrap();
    assert!(client.is_closed().await);
    drop(client);
    let again = RtspServer::bind(ServerOptions::new(address)).await.unwrap();
    let taken = RtspServer::bind(ServerOptions::new(address)).await.unwrap_err();
    assert!(taken.is_temporary() && taken.to_string().contains("choose a free port"), "{taken}");
    assert!(again.mount("/a").is_ok() && again.mount("/a").is_err());
    for bad in ["", "/", "a", "/a b", "/a/", "/a?b", "/track0", "/x/track0"] {
        assert!(again.mount(bad).is_err(), "{bad}");
    }
}
