//! The RTSP server of `godvision-rtsp` on a loopback socket: any bytes from a client, and it still serves the next one.

use std::cell::RefCell;
use std::time::Duration;

use godvision_core::signal::media::Codec;
use godvision_core::{Name, Secret, Stamp};
use godvision_rtsp::restream::{FilePlayer, MountHandle, RtspServer, ServerOptions, User};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::{Input, Reached};

/// A client that has said everything is answered and let go within this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of answers that are kept: a mount holds one small frame, so nothing longer is honest.
const ANSWER_BYTES_MAX: usize = 1 << 20;

struct Servers {
    runtime: Runtime,
    open: RtspServer,
    closed: RtspServer,
    _mounts: [MountHandle; 2],
}

thread_local! {
    static SERVERS: RefCell<Option<Servers>> = const { RefCell::new(None) };
}

/// The first byte chooses the server (odd: with a password); the rest is sent to it in pieces, each as long as its
/// first byte says (0: all the rest).
pub fn rtsp_request(data: &[u8]) -> Reached {
    SERVERS.with_borrow_mut(|servers| {
        let Servers { runtime, open, closed, .. } = servers.get_or_insert_with(start);
        let mut input = Input::new(data);
        let server = if input.byte() & 1 == 0 { open } else { closed };
        let answer = runtime.block_on(talk(server, input));
        let answers = check(&answer);
        let health = runtime.block_on(talk(server, Input::new(b"\0OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n")));
        assert!(health.starts_with(b"RTSP/1.0 200"), "{}", health.escape_ascii());
        Reached::when(answers > 0)
    })
}

async fn talk(server: &RtspServer, mut input: Input<'_>) -> Vec<u8> {
    let mut answer = Vec::new();
    let conversation = async {
        let mut client = TcpStream::connect(server.local_addr()).await.expect("a listening server");
        while !input.is_empty() {
            let piece = match input.byte() {
                0 => input.rest(),
                count => input.bytes(count.into()),
            };
            // A server that hangs up on nonsense is right to; what it said before still counts.
            if client.write_all(piece).await.is_err() {
                break;
            }
        }
        let _ = client.shutdown().await;
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..count]);
            assert!(answer.len() <= ANSWER_BYTES_MAX);
        }
    };
    timeout(PATIENCE, conversation).await.expect("the server lets a client go that has hung up");
    answer
}

/// Counts the answers: each an RTSP message with a sequence of its own, or an interleaved frame.
fn check(mut answer: &[u8]) -> usize {
    let mut count = 0;
    while !answer.is_empty() {
        if let [b'$', channel, high, low, rest @ ..] = answer {
            assert!(*channel < 4 || count > 0, "media before any answer");
            let size = usize::from(u16::from_be_bytes([*high, *low]));
            answer = rest.get(size..).unwrap_or(&[]);
            continue;
        }
        count += 1;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole answer") + 4;
        let (head, rest) = answer.split_at(end);
        let head = std::str::from_utf8(head).expect("text");
        let code: u16 = head.strip_prefix("RTSP/1.0 ").and_then(|rest| rest.get(..3)).unwrap().parse().unwrap();
        assert!((200..600).contains(&code), "{head}");
        assert!(!head.contains("secret"), "a password is never repeated");
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then_some(value.trim())
            })
        };
        assert!(code != 401 || header("www-authenticate").is_some_and(|value| value.starts_with("Digest ")));
        let size: usize = header("content-length").map_or(0, |value| value.parse().unwrap());
        answer = rest.get(size..).expect("a whole body");
    }
    count
}

fn start() -> Servers {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let (open, closed, mounts) = runtime.block_on(async {
        let open = RtspServer::bind(ServerOptions::new(listen)).await.expect("a free port");
        let mut options = ServerOptions::new(listen);
        options.users = vec![User::new("viewer", Secret::from("secret"))];
        let closed = RtspServer::bind(options).await.expect("a free port");
        let mounts = [&open, &closed].map(|server| {
            let mount = server.mount("/yard").expect("a free path");
            mount.publish(&player().packet(0, Stamp::default())).expect("a good frame");
            mount
        });
        (open, closed, mounts)
    });
    Servers { runtime, open, closed, _mounts: mounts }
}

/// One key frame of nothing: nobody decodes it here.
fn player() -> FilePlayer {
    let start = [0, 0, 0, 1];
    let file = [&start[..], crate::decode::H264_SPS, &start, crate::decode::H264_PPS, &start, &[0x65, 0x88, 0x84, 1]];
    FilePlayer::from_annex_b(Name::new("yard").expect("a name"), Codec::H264, &file.concat(), 25.0).expect("a stream")
}
