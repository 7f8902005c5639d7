//! The server against `retina`, an independent client: every frame bit-exact, over TCP and UDP, with its capture time.
#![cfg(feature = "restream")]

mod coded;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use futures::StreamExt as _;
use godvision_core::Secret;
use godvision_core::signal::media::{Codec, FrameKind, Packet};
use godvision_rtsp::nal;
use godvision_rtsp::restream::{MountHandle, RtspServer, ServerOptions, User};
use retina::client::{
    Credentials, Demuxed, PlayOptions, Session, SessionOptions, SetupOptions, TcpTransportOptions, Transport,
    UdpTransportOptions,
};
use retina::codec::{CodecItem, FrameFormat, ParametersRef};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn tcp() -> Transport {
    Transport::Tcp(TcpTransportOptions::default())
}

fn udp() -> Transport {
    Transport::Udp(UdpTransportOptions::default())
}

async fn connect(url: &str, transport: Transport, login: Option<(&str, &str)>) -> Result<Demuxed, retina::Error> {
    let credentials =
        login.map(|(username, password)| Credentials { username: username.to_owned(), password: password.to_owned() });
    let options = SessionOptions::default().creds(credentials);
    let mut session = Session::describe(url::Url::parse(url).unwrap(), options).await?;
    let setup = SetupOptions::default().transport(transport).frame_format(FrameFormat::MP4);
    session.setup(0, setup).await?;
    session
        .play(PlayOptions::default().enforce_timestamps_with_max_jump_secs(NonZeroU32::new(10).unwrap()))
        .await?
        .demuxed()
}

/// A frame as the client saw it, and the sender reports so far: (NTP, RTP).
struct Seen {
    units: Vec<Vec<u8>>,
    timestamp: i64,
    loss: u16,
}

async fn frames(demuxed: &mut Demuxed, count: usize) -> (Vec<Seen>, Vec<(u64, u32)>) {
    let (mut seen, mut reports) = (Vec::new(), Vec::new());
    while seen.len() < count {
        let item = tokio::time::timeout(Duration::from_secs(20), demuxed.next()).await.expect("a frame in time");
        match item.expect("the stream goes on").unwrap() {
            CodecItem::VideoFrame(frame) => seen.push(Seen {
                units: nal::units(frame.data()).map(|unit| unit.unwrap().to_vec()).collect(),
                timestamp: frame.timestamp().timestamp(),
                loss: frame.loss(),
            }),
            CodecItem::Rtcp(packet) => {
                for packet in packet.pkts() {
                    if let Ok(Some(retina::rtcp::TypedPacketRef::SenderReport(report))) = packet.as_typed() {
                        reports.push((report.ntp_timestamp().0, report.rtp_timestamp()));
                    }
                }
            }
            _ => {}
        }
    }
    (seen, reports)
}

/// The frame's own units: parameter sets travel with every key frame, delimiters do not matter.
fn pictures(codec: Codec, units: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    units
        .into_iter()
        .filter(|unit| match codec {
            Codec::H264 => !matches!(unit[0] & 0x1f, 7..=9),
            _ => !matches!((unit[0] >> 1) & 0x3f, 32..=35),
        })
        .collect()
}

/// Publishes `packets` round and round, one every 5 ms of real time, with timestamps that go on 40 ms apart.
async fn publish(mount: MountHandle, packets: Vec<Packet>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    for number in 0u64.. {
        ticks.tick().await;
        mount.publish(&at_round(&packets, number)).unwrap();
    }
}

fn at_round(packets: &[Packet], number: u64) -> Packet {
    let mut packet = packets[(number % packets.len() as u64) as usize].clone();
    packet.sequence = number;
    packet.pts_ticks = number as i64 * 3600;
    packet.at.mono = coded::start().mono + Duration::from_millis(number * 40);
    packet.at.wall = coded::start().wall.plus_micros(number as i64 * 40_000);
    packet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_and_udp_readers_get_every_frame_bit_exact() {
    let server = RtspServer::bind(ServerOptions::new(LOOPBACK)).await.unwrap();
    let streams = [
        ("/h264", Codec::H264, coded::h264(320, 192, 40, 10)),
        ("/h265/sub-stream", Codec::H265, coded::data("plain.h265")),
    ];
    for (path, codec, file) in streams {
        let packets = coded::packets(codec, &file);
        let expected: Vec<_> = packets
            .iter()
            .map(|packet| pictures(codec, nal::units(&packet.data).map(|unit| unit.unwrap().to_vec())))
            .collect();
        assert!(packets.iter().any(|packet| packet.data.len() > 1500), "{path}: some frames need fragments");
        let mount = server.mount(path).unwrap();
        let publisher = tokio::spawn(publish(mount.clone(), packets.clone()));
        while mount.counters().frames < 7 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for transport in [tcp(), udp()] {
            let mut demuxed = connect(&server.url(path), transport, None).await.unwrap();
            let parameters = match demuxed.streams()[0].parameters() {
                Some(ParametersRef::Video(parameters)) => parameters.pixel_dimensions(),
                other => panic!("{path}: {other:?}"),
            };
            assert_eq!(parameters, (u32::from(packets[0].format.width), u32::from(packets[0].format.height)));
            let (seen, reports) = frames(&mut demuxed, 60).await;
            let received: Vec<_> = seen.iter().map(|frame| pictures(codec, frame.units.clone())).collect();
            let first = expected.iter().position(|frame| *frame == received[0]).expect("a published frame");
            assert_eq!(packets[first].kind, FrameKind::Key, "{path}: the reader starts at a key frame");
            for (offset, frame) in received.iter().enumerate() {
                assert_eq!(seen[offset].loss, 0, "{path} frame {offset}");
                assert!(*frame == expected[(first + offset) % expected.len()], "{path} frame {offset} differs");
                assert_eq!(seen[offset].timestamp - seen[0].timestamp, offset as i64 * 3600, "{path}: 40 ms apart");
            }
            // The report's wall clock, moved to the frame's timestamp, is the frame's capture time.
            let (ntp, rtp) = *reports.first().expect("a sender report comes before the first frame");
            let wall = (ntp >> 32) as f64 - 2_208_988_800.0 + (ntp & 0xffff_ffff) as f64 / (1u64 << 32) as f64;
            let frame = wall + f64::from((seen[0].timestamp as u32).wrapping_sub(rtp) as i32) / 90_000.0;
            let since = frame - coded::start().wall.as_unix_micros() as f64 / 1e6;
            let number = since / 0.04;
            assert!((number - number.round()).abs() < 0.01, "{path}: frame {number} of the timeline");
            assert_eq!(number.round() as usize % expected.len(), first, "{path}: the capture time names the frame");
        }
        publisher.abort();
        assert_eq!(mount.counters().skipped, 0, "{path}");
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jpeg_images_come_back_with_the_same_pixels() {
    let server = RtspServer::bind(ServerOptions::new(LOOPBACK)).await.unwrap();
    let mount = server.mount("/mjpeg").unwrap();
    let luma = |x: u16, y: u16| 30 + ((x * 37 + y * 91) % 190) as u8;
    let image = coded::jpeg(60, 34, luma, [90, 170]);
    assert!(image.len() > 4000, "several RTP packets");
    let packets = coded::jpeg_packets(&[image], 960, 544);
    let publisher = tokio::spawn(publish(mount.clone(), packets.clone()));
    for transport in [tcp(), udp()] {
        while mount.counters().frames == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut demuxed = connect(&server.url("/mjpeg"), transport, None).await.unwrap();
        let frame = loop {
            let item = tokio::time::timeout(Duration::from_secs(10), demuxed.next()).await.unwrap().unwrap().unwrap();
            if let CodecItem::VideoFrame(frame) = item {
                break frame.into_data();
            }
        };
        #[cfg(feature = "mjpeg")]
        {
            use godvision_rtsp::decode::{self, DecodeOptions};
            let received = coded::jpeg_packets(&[frame], 960, 544);
            let mut pictures = Vec::new();
            let mut decoder = decode::open(&received[0].format, DecodeOptions::default()).unwrap();
            decoder.decode(&received[0], &mut pictures).unwrap();
            for (x, y) in [(0, 0), (959, 543), (500, 300), (8, 8), (77, 412)] {
                assert_eq!(pictures[0].luma.row(y)[x], luma(x as u16 / 8, y as u16 / 8));
            }
        }
        #[cfg(not(feature = "mjpeg"))]
        assert!(!frame.is_empty());
    }
    publisher.abort();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_asked_for_and_checked() {
    let mut options = ServerOptions::new(LOOPBACK);
    let mut guest = User::new("guest", Secret::from("1234"));
    guest.mounts = vec!["/other".to_owned()];
    options.users = vec![User::new("ada", Secret::from("pass \"word\"")), guest];
    let server = RtspServer::bind(options).await.unwrap();
    let mount = server.mount("/yard").unwrap();
    let publisher = tokio::spawn(publish(mount.clone(), coded::packets(Codec::H264, &coded::h264(96, 64, 8, 4))));
    while mount.counters().frames == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let url = server.url("/yard");
    for transport in [tcp(), udp()] {
        let mut demuxed = connect(&url, transport.clone(), Some(("ada", "pass \"word\""))).await.unwrap();
        assert_eq!(frames(&mut demuxed, 5).await.0.len(), 5);
        for (login, status) in [
            (None, "401"),
            (Some(("ada", "wrong")), "401"),
            (Some(("eve", "1234")), "401"),
            (Some(("guest", "1234")), "403"),
        ] {
            let error = connect(&url, transport.clone(), login).await.err().expect("refused").to_string();
            assert!(error.contains(status), "{login:?}: {error}");
        }
    }
    publisher.abort();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_mount_lets_its_readers_go_and_comes_back() {
    let server = RtspServer::bind(ServerOptions::new(LOOPBACK)).await.unwrap();
    let mount = server.mount("/yard").unwrap();
    let url = server.url("/yard");
    let early = connect(&url, tcp(), None).await.err().expect("nothing published yet").to_string();
    assert!(early.contains("503"), "{early}");
    let publisher = tokio::spawn(publish(mount.clone(), coded::packets(Codec::H264, &coded::h264(96, 64, 8, 4))));
    while mount.counters().frames == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut demuxed = connect(&url, tcp(), None).await.unwrap();
    frames(&mut demuxed, 3).await;
    assert_eq!(mount.counters().readers, 1);
    mount.set_enabled(false);
    let ended = async { while let Some(Ok(_)) = demuxed.next().await {} };
    tokio::time::timeout(Duration::from_secs(1), ended).await.expect("let go within a second");
    assert!(connect(&url, tcp(), None).await.err().expect("closed").to_string().contains("404"));
    while mount.counters().disabled == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    mount.set_enabled(true);
    let before = mount.counters().frames;
    while mount.counters().frames == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut demuxed = connect(&url, tcp(), None).await.unwrap();
    frames(&mut demuxed, 3).await;
    assert!(server.unmount("/yard") && !server.unmount("/yard"));
    publisher.abort();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_session_of_the_camera_keeps_the_readers_timeline_moving() {
    let server = RtspServer::bind(ServerOptions::new(LOOPBACK)).await.unwrap();
    let mount = server.mount("/yard").unwrap();
    let packets = coded::packets(Codec::H264, &coded::h264(96, 64, 8, 4));
    mount.publish(&packets[0]).unwrap();
    let mut demuxed = connect(&server.url("/yard"), tcp(), None).await.unwrap();
    // The camera was away for 2 s and starts its own timeline at an unrelated number.
    let mut next = packets[4].clone();
    next.session = 2;
    next.pts_ticks = -77;
    next.at.mono = packets[0].at.mono + Duration::from_secs(2);
    mount.publish(&next).unwrap();
    let seen = frames(&mut demuxed, 2).await.0;
    assert_eq!(seen[1].timestamp - seen[0].timestamp, 180_000);
    server.shutdown().await;
}
