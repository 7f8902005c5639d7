//! A camera that says exactly what a test tells it to: a tiny RTSP responder on loopback.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the camera does with a request.
pub(crate) enum Answer {
    /// A status line's code and text, further header lines (each ending in CRLF) and a body.
    Reply(u16, String, String),
    /// These bytes as they are.
    Raw(Vec<u8>),
    /// A reply, then these bytes, then the connection closes.
    ReplyThenClose(u16, String, Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// The connection closes.
    Close,
}

pub(crate) fn ok(headers: &str) -> Answer {
    Answer::Reply(200, headers.to_owned(), String::new())
}

pub(crate) fn status(code: u16) -> Answer {
    Answer::Reply(code, String::new(), String::new())
}

pub(crate) fn sdp(body: &str) -> Answer {
    Answer::Reply(200, "Content-Type: application/sdp\r\n".to_owned(), body.replace('\n', "\r\n"))
}

pub(crate) const H264_SDP: &str = "v=0
o=- 0 0 IN IP4 127.0.0.1
s=-
t=0 0
m=audio 0 RTP/AVP 0
a=control:track0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z2QAKKy0A8ARPy4C1AQEBQAAAwABAAADADIPGDKg,aO88sA==
a=control:track1
";

/// One request: its method and whole text.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) text: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value)
    }
}

/// The camera's port, and every request it got so far.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|text| text.split(' ').next().unwrap_or_default().to_owned()).collect()
    }
}

/// Starts a camera that answers by `script`.
pub(crate) async fn camera(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&requests);
    let script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Arc::clone(&script), Arc::clone(&seen)));
        }
    });
    Scripted { port, requests }
}

async fn converse(
    mut stream: TcpStream,
    script: Arc<impl Fn(&Request) -> Answer + Send + Sync + 'static>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let text = String::from_utf8_lossy(&buffer[..end + 2]).into_owned();
        buffer.drain(..end + 4);
        let request = Request { method: text.split(' ').next().unwrap_or_default().to_owned(), text };
        seen.lock().unwrap().push(request.text.clone());
        let cseq = request.header("CSeq").unwrap_or("0").to_owned();
        let head = |code: u16, headers: &str, length: usize| {
            format!("RTSP/1.0 {code} Said\r\nCSeq: {cseq}\r\n{headers}Content-Length: {length}\r\n\r\n")
        };
        match script(&request) {
            Answer::Reply(code, headers, body) => {
                let text = head(code, &headers, body.len()) + &body;
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Answer::Raw(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Answer::ReplyThenClose(code, headers, bytes) => {
                let _ = stream.write_all(head(code, &headers, 0).as_bytes()).await;
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Answer::Silence => std::future::pending::<()>().await,
            Answer::Close => return,
        }
    }
}
