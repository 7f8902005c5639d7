//! What the server says to one client: a value without IO.
//!
//! Bytes and the time go in, [`Step`]s come out. A session lives as long as its TCP connection and holds one stream.
//! Two steps need the edge (opening UDP sockets, joining the mount); the edge does its part and asks for the answer.
//!
//! Source: RFC 2326; quirks of clients are named where they are met.
//! **Never:** RECORD, ANNOUNCE, PAUSE, multicast, RTSP 2.0, a session that outlives its connection, a media address
//! other than the address the request came from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use godvision_core::signal::media::VideoFormat;
use godvision_core::time::MonoTime;

use super::digest::{self, Asked, User, Verdict};
use super::request::{Parsed, Request, Response, Status, parse};
use super::sdp;

/// Wrong passwords on one connection before it is closed.
pub const AUTH_FAILURES_MAX: u32 = 5;
/// How long a nonce may be answered on a connection that has no session yet.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// Longest CSeq that is repeated.
const SEQUENCE_BYTES_MAX: usize = 16;
const PUBLIC: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// What a path leads to.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Nothing,
    /// The mount is there, but nothing was published on it yet.
    NotYet,
    /// As many readers as are allowed.
    Full,
    Ready(Arc<VideoFormat>),
}

/// Where paths are looked up.
pub(crate) trait Directory {
    fn find(&self, path: &str) -> Found;
}

/// What stays the same for all connections of a server.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) realm: String,
    /// Nobody listed: everybody may read.
    pub(crate) users: Vec<User>,
    pub(crate) session_timeout: Duration,
}

/// How frames reach the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Inside the RTSP connection, on these channels.
    Interleaved { rtp: u8, rtcp: u8 },
    /// To these ports of the peer's address.
    Udp { client: [u16; 2] },
}

/// What the edge has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Reply(Vec<u8>),
    ReplyAndClose(Vec<u8>),
    /// Open a pair of UDP sockets towards these ports of the peer, then call [`Conversation::udp_opened`].
    OpenUdp {
        client: [u16; 2],
    },
    /// Join the mount, then call [`Conversation::joined`].
    Join,
    /// Send this and stop sending frames.
    Leave(Vec<u8>),
    /// A receiver report or anything else inside the connection: a sign of life.
    Nothing,
}

#[derive(Debug)]
struct Session {
    id: String,
    mount: String,
    url: String,
    transport: Transport,
    playing: bool,
}

impl Session {
    fn is_named_by(&self, request: &Request<'_>) -> bool {
        request.header("Session").and_then(|value| value.split(';').next()).is_some_and(|id| id.trim() == self.id)
    }
}

/// One client's side of the protocol.
#[derive(Debug)]
pub(crate) struct Conversation {
    local: SocketAddr,
    nonce: String,
    nonce_since: MonoTime,
    session_id: String,
    session: Option<Session>,
    auth_failures: u32,
    last_sign: MonoTime,
    /// CSeq of the request whose step the edge is doing.
    waiting: Option<String>,
}

impl Conversation {
    /// A client that connected to `local`; the nonce and the session's name come from 32 random bytes.
    pub(crate) fn new(local: SocketAddr, random: [u8; 32], now: MonoTime) -> Self {
        let (nonce, id) = random.split_at(16);
        Self {
            local,
            nonce: digest::hex(nonce),
            nonce_since: now,
            session_id: digest::hex(id),
            session: None,
            auth_failures: 0,
            last_sign: now,
            waiting: None,
        }
    }

    /// The mount and transport of the session, once there is one.
    pub(crate) fn session(&self) -> Option<(&str, Transport)> {
        self.session.as_ref().map(|session| (session.mount.as_str(), session.transport))
    }

    /// The client is alive: it sent a receiver report, or took bytes.
    pub(crate) fn heard(&mut self, now: MonoTime) {
        self.last_sign = now;
    }

    /// Whether the client was silent for the whole session timeout.
    pub(crate) fn is_expired(&self, rules: &Rules, now: MonoTime) -> bool {
        now.since(self.last_sign) >= rules.session_timeout
    }

    /// Takes the first message off `input` and answers it; `None` until a whole one is there. The number is how many
    /// bytes of `input` are done with.
    pub(crate) fn receive(
        &mut self,
        input: &[u8],
        rules: &Rules,
        directory: &dyn Directory,
        now: MonoTime,
    ) -> Option<(usize, Step)> {
        match parse(input) {
            Parsed::Incomplete => None,
            Parsed::Other(length) => {
                self.last_sign = now;
                Some((length, Step::Nothing))
            }
            Parsed::Request(request, length) => {
                self.last_sign = now;
                Some((length, self.answer(&request, rules, directory, now)))
            }
            Parsed::Bad(status) => Some((input.len(), Step::ReplyAndClose(Response::new(status, None).end()))),
        }
    }

    fn answer(&mut self, request: &Request<'_>, rules: &Rules, directory: &dyn Directory, now: MonoTime) -> Step {
        let Some(sequence) = request.header("CSeq").filter(|text| text.len() <= SEQUENCE_BYTES_MAX) else {
            return Step::ReplyAndClose(Response::new(Status::BadRequest, None).end());
        };
        let simply = |status| Step::Reply(Response::new(status, Some(sequence)).end());
        if request.version != "1.0" {
            return simply(Status::VersionNotSupported);
        }
        if let Some(required) = request.header("Require") {
            let response = Response::new(Status::OptionNotSupported, Some(sequence)).header("Unsupported", required);
            return Step::Reply(response.end());
        }
        if request.method == "OPTIONS" {
            return Step::Reply(Response::new(Status::Ok, Some(sequence)).header("Public", PUBLIC).end());
        }
        let path = mount_path(request.url);
        if let Some(step) = self.authorise(request, path, sequence, rules, now) {
            return step;
        }
        match request.method {
            "DESCRIBE" => self.describe(request.url, sequence, directory),
            "SETUP" => self.setup(request, sequence, rules, directory),
            "PLAY" => self.play(request, sequence),
            "TEARDOWN" => match self.session.take_if(|session| session.is_named_by(request)) {
                Some(_) => Step::Leave(Response::new(Status::Ok, Some(sequence)).end()),
                None => simply(Status::SessionNotFound),
            },
            // A keep-alive, with or without a session; no parameter is known.
            "GET_PARAMETER" | "SET_PARAMETER" => {
                let response = Response::new(Status::Ok, Some(sequence));
                Step::Reply(match &self.session {
                    Some(session) => response.header("Session", &session.id).end(),
                    None => response.end(),
                })
            }
            _ => Step::Reply(Response::new(Status::MethodNotAllowed, Some(sequence)).header("Allow", PUBLIC).end()),
        }
    }

    /// `None` if the request may go on.
    fn authorise(
        &mut self,
        request: &Request<'_>,
        path: &str,
        sequence: &str,
        rules: &Rules,
        now: MonoTime,
    ) -> Option<Step> {
        if rules.users.is_empty() {
            return None;
        }
        // Once a session stands on this very connection, its nonce stays good: keep-alives are not made to fail.
        let nonce_is_old = self.session.is_none() && now.since(self.nonce_since) > NONCE_LIFETIME;
        let asked = Asked { method: request.method, path, realm: &rules.realm, nonce: &self.nonce, nonce_is_old };
        let given = request.header("Authorization");
        let stale = match given.map(|value| digest::verify(value, asked, &rules.users)) {
            Some(Verdict::Accepted(user)) if user.may_read(path) => return None,
            Some(Verdict::Accepted(_)) => {
                return Some(Step::Reply(Response::new(Status::Forbidden, Some(sequence)).end()));
            }
            Some(Verdict::Stale) => true,
            Some(Verdict::Refused) => {
                self.auth_failures += 1;
                false
            }
            None => false,
        };
        if nonce_is_old {
            // Derived, not drawn: a conversation has no randomness of its own, and the old nonce is not reused.
            self.nonce =
                digest::hex(&<sha2::Sha256 as sha2::Digest>::digest(format!("{}:{}", self.nonce, self.session_id)));
            self.nonce_since = now;
        }
        let mut response = Response::new(Status::Unauthorized, Some(sequence));
        for challenge in digest::challenges(&rules.realm, &self.nonce, stale) {
            response = response.header("WWW-Authenticate", &challenge);
        }
        let bytes = response.end();
        Some(if self.auth_failures >= AUTH_FAILURES_MAX { Step::ReplyAndClose(bytes) } else { Step::Reply(bytes) })
    }

    fn describe(&self, url: &str, sequence: &str, directory: &dyn Directory) -> Step {
        let path = mount_path(url);
        let format = match directory.find(path) {
            Found::Ready(format) => format,
            other => return Step::Reply(Response::new(status(&other), Some(sequence)).end()),
        };
        let id = u64::from_str_radix(self.session_id.get(..8).unwrap_or("1"), 16).unwrap_or(1);
        let text = sdp::describe(&format, path.trim_start_matches('/'), id, self.local.ip());
        // The base that clients resolve the track against: the address they used, without query, with a slash.
        let base = format!("{}/", base_url(url, self.local));
        let response = Response::new(Status::Ok, Some(sequence))
            .header("Content-Base", &base)
            .header("Content-Type", "application/sdp");
        Step::Reply(response.body(&text))
    }

    fn setup(&mut self, request: &Request<'_>, sequence: &str, rules: &Rules, directory: &dyn Directory) -> Step {
        let refuse = |status| Step::Reply(Response::new(status, Some(sequence)).end());
        if self.session.as_ref().is_some_and(|session| session.playing) {
            return refuse(Status::NotValidInThisState);
        }
        let mount = mount_path(request.url);
        let found = directory.find(mount);
        if !matches!(found, Found::Ready(_)) {
            return refuse(status(&found));
        }
        let Some(transport) = request.header("Transport").and_then(choose_transport) else {
            return refuse(Status::UnsupportedTransport);
        };
        self.session = Some(Session {
            id: self.session_id.clone(),
            mount: mount.to_owned(),
            url: base_url(request.url, self.local),
            transport,
            playing: false,
        });
        match transport {
            Transport::Interleaved { rtp, rtcp } => {
                let line = format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}");
                Step::Reply(self.set_up(sequence, &line, rules))
            }
            Transport::Udp { client } => {
                self.waiting = Some(sequence.to_owned());
                Step::OpenUdp { client }
            }
        }
    }

    fn set_up(&self, sequence: &str, transport: &str, rules: &Rules) -> Vec<u8> {
        let session = format!("{};timeout={}", self.session_id, rules.session_timeout.as_secs().max(1));
        Response::new(Status::Ok, Some(sequence)).header("Transport", transport).header("Session", &session).end()
    }

    /// The answer to SETUP once the sockets are open on `ports`, or could not be opened.
    pub(crate) fn udp_opened(&mut self, ports: Option<[u16; 2]>, rules: &Rules) -> Vec<u8> {
        let sequence = self.waiting.take().unwrap_or_default();
        match (ports, self.session()) {
            (Some([rtp, rtcp]), Some((_, Transport::Udp { client: [to_rtp, to_rtcp] }))) => {
                let line = format!("RTP/AVP;unicast;client_port={to_rtp}-{to_rtcp};server_port={rtp}-{rtcp}");
                self.set_up(&sequence, &line, rules)
            }
            _ => {
                self.session = None;
                Response::new(Status::UnsupportedTransport, Some(&sequence)).end()
            }
        }
    }

    fn play(&mut self, request: &Request<'_>, sequence: &str) -> Step {
        let refuse = |status| Step::Reply(Response::new(status, Some(sequence)).end());
        match &self.session {
            Some(session) if session.is_named_by(request) => {
                if session.playing {
                    // Some clients repeat PLAY as a keep-alive.
                    let response = Response::new(Status::Ok, Some(sequence)).header("Session", &session.id);
                    return Step::Reply(response.end());
                }
                self.waiting = Some(sequence.to_owned());
                Step::Join
            }
            Some(_) => refuse(Status::SessionNotFound),
            None => refuse(Status::NotValidInThisState),
        }
    }

    /// The answer to PLAY. `first` is the sequence number of the first RTP packet, and its timestamp if it is known.
    pub(crate) fn joined(&mut self, first: Result<(u16, Option<u32>), &Found>) -> Vec<u8> {
        let sequence = self.waiting.take().unwrap_or_default();
        match (first, &mut self.session) {
            (Ok((number, timestamp)), Some(session)) => {
                session.playing = true;
                let mut info = format!("url={}/{};seq={number}", session.url, sdp::TRACK);
                if let Some(timestamp) = timestamp {
                    info += &format!(";rtptime={timestamp}");
                }
                Response::new(Status::Ok, Some(&sequence))
                    .header("Session", &session.id)
                    .header("Range", "npt=now-")
                    .header("RTP-Info", &info)
                    .end()
            }
            (Err(found), _) => Response::new(status(found), Some(&sequence)).end(),
            (Ok(_), None) => Response::new(Status::SessionNotFound, Some(&sequence)).end(),
        }
    }
}

/// The path of a mount in a URL or path: without scheme, host, query, trailing slash and track.
pub(crate) fn mount_path(url: &str) -> &str {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or(""),
        None => url,
    };
    let path = path.split(['?', '#']).next().unwrap_or("").trim_end_matches('/');
    match path.strip_suffix(sdp::TRACK) {
        Some(rest) if rest.ends_with('/') => rest.trim_end_matches('/'),
        _ => path,
    }
}

/// The URL of a mount as the client wrote it, without user information: the answer is logged and stored by clients.
fn base_url(url: &str, local: SocketAddr) -> String {
    let path = mount_path(url);
    let host = url.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    match host.map(|host| host.rsplit('@').next().unwrap_or(host)) {
        Some(host) if !host.is_empty() => format!("rtsp://{host}{path}"),
        _ => format!("rtsp://{local}{path}"),
    }
}

fn status(found: &Found) -> Status {
    match found {
        Found::Nothing => Status::NotFound,
        Found::NotYet => Status::ServiceUnavailable,
        Found::Full => Status::NotEnoughBandwidth,
        Found::Ready(_) => Status::Ok,
    }
}

/// The first transport of the client's list that we speak. `destination=` and `source=` are not looked at: media goes
/// to the address the request came from and nowhere else.
fn choose_transport(list: &str) -> Option<Transport> {
    list.split(',').find_map(|line| {
        let mut parts = line.trim().split(';');
        let protocol = parts.next()?.trim().to_ascii_uppercase();
        let parameters: Vec<(&str, &str)> =
            parts.map(|part| part.trim().split_once('=').unwrap_or((part, ""))).collect();
        if parameters.iter().any(|(name, _)| name.eq_ignore_ascii_case("multicast")) {
            return None;
        }
        let pair = |name: &str| {
            let (_, value) = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            let (first, second) = value.split_once('-').unwrap_or((value, ""));
            let first: u16 = first.parse().ok()?;
            let second = if second.is_empty() { first.checked_add(1)? } else { second.parse().ok()? };
            Some([first, second])
        };
        match protocol.as_str() {
            "RTP/AVP/TCP" => {
                let [rtp, rtcp] = pair("interleaved").unwrap_or([0, 1]);
                let (rtp, rtcp) = (u8::try_from(rtp).ok()?, u8::try_from(rtcp).ok()?);
                (rtp != rtcp).then_some(Transport::Interleaved { rtp, rtcp })
            }
            "RTP/AVP" | "RTP/AVP/UDP" => {
                let client = pair("client_port")?;
                // Ports below 1024 belong to services that a reader has no reason to aim us at.
                client.iter().all(|port| *port >= 1024).then_some(Transport::Udp { client })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use godvision_core::Secret;
    use godvision_core::signal::media::Codec;

    struct OneMount;

    impl Directory for OneMount {
        fn find(&self, path: &str) -> Found {
            let config = Bytes::from_static(&[1, 66, 0xc0, 30, 0xff, 0xe1, 0, 2, 0x67, 66, 1, 0, 2, 0x68, 1]);
            let format = VideoFormat { codec: Codec::H264, width: 2, height: 2, codec_name: String::new(), config };
            match path {
                "/yard" => Found::Ready(Arc::new(format)),
                "/soon" => Found::NotYet,
                "/full" => Found::Full,
                _ => Found::Nothing,
            }
        }
    }

    fn rules(users: Vec<User>) -> Rules {
        Rules { realm: "gv".to_owned(), users, session_timeout: Duration::from_secs(60) }
    }

    fn conversation() -> Conversation {
        Conversation::new("127.0.0.1:554".parse().unwrap(), [7; 32], MonoTime::ZERO)
    }

    fn ask(it: &mut Conversation, rules: &Rules, now: MonoTime, text: &str) -> (u16, String, Step) {
        let (used, step) = it.receive(text.as_bytes(), rules, &OneMount, now).expect("a whole request");
        assert_eq!(used, text.len());
        let bytes = match &step {
            Step::Reply(bytes) | Step::ReplyAndClose(bytes) | Step::Leave(bytes) => bytes.clone(),
            _ => b"RTSP/1.0 100 -".to_vec(),
        };
        let text = String::from_utf8(bytes).unwrap();
        (text[9..12].parse().unwrap(), text, step)
    }

    fn digest(nonce: &str, password: &str) -> String {
        use sha2::{Digest as _, Sha256};
        let hash = |text: String| digest::hex(&Sha256::digest(text));
        let (a1, a2) = (hash(format!("ada:gv:{password}")), hash("DESCRIBE:rtsp://h/yard".to_owned()));
        let response = hash(format!("{a1}:{nonce}:00000001:c:auth:{a2}"));
        format!(
            "DESCRIBE rtsp://h/yard RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Digest username=\"ada\", realm=\"gv\", \
             nonce=\"{nonce}\", uri=\"rtsp://h/yard\", algorithm=SHA-256, qop=auth, nc=00000001, cnonce=\"c\", \
             response=\"{response}\"\r\n\r\n"
        )
    }

    #[test]
    fn a_nonce_is_asked_for_anew_when_it_is_old_and_guesses_end_the_connection() {
        let rules = rules(vec![User::new("ada", Secret::from("secret"))]);
        let mut it = conversation();
        let nonce = it.nonce.clone();
        let (status, text, _) =
            ask(&mut it, &rules, MonoTime::ZERO, "DESCRIBE rtsp://h/yard RTSP/1.0\r\nCSeq: 9\r\n\r\n");
        assert_eq!(status, 401);
        let (sha, md5) = (text.find("algorithm=SHA-256").unwrap(), text.find("algorithm=MD5").unwrap());
        assert!(sha < md5 && text.contains("CSeq: 9\r\n"), "the strongest comes first, MD5 last: {text}");
        assert_eq!(ask(&mut it, &rules, MonoTime::ZERO, &digest(&nonce, "secret")).0, 200);
        let late = MonoTime::ZERO + NONCE_LIFETIME + Duration::from_secs(1);
        let (status, text, _) = ask(&mut it, &rules, late, &digest(&nonce, "secret"));
        assert!(status == 401 && text.contains("stale=true"), "{text}");
        assert_ne!(it.nonce, nonce);
        let fresh = it.nonce.clone();
        assert_eq!(ask(&mut it, &rules, late, &digest(&fresh, "secret")).0, 200);
        for guess in 1..=AUTH_FAILURES_MAX {
            let (status, _, step) = ask(&mut it, &rules, late, &digest(&fresh, "guess"));
            assert_eq!(status, 401);
            assert_eq!(matches!(step, Step::ReplyAndClose(_)), guess == AUTH_FAILURES_MAX, "guess {guess}");
        }
    }

    #[test]
    fn a_session_goes_its_way_and_only_its_way() {
        let rules = rules(Vec::new());
        let mut it = conversation();
        let now = MonoTime::ZERO;
        let line = |method: &str, path: &str, more: &str| {
            format!("{method} rtsp://u:p@h:8554{path} RTSP/1.0\r\nCSeq: 1\r\n{more}\r\n")
        };
        for (path, status) in [("/yard", 200), ("/soon", 503), ("/full", 453), ("/none", 404)] {
            assert_eq!(ask(&mut it, &rules, now, &line("DESCRIBE", path, "")).0, status, "{path}");
        }
        let text = ask(&mut it, &rules, now, &line("DESCRIBE", "/yard/?x=1", "")).1;
        assert!(text.contains("Content-Base: rtsp://h:8554/yard/\r\n"), "no user information comes back: {text}");
        assert!(text.contains("profile-level-id=42c01e;sprop-parameter-sets=Z0I=,aAE="), "{text}");
        let udp = "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n";
        let (_, _, step) = ask(&mut it, &rules, now, &line("SETUP", "/yard/track0", udp));
        assert_eq!(step, Step::OpenUdp { client: [5000, 5001] });
        let refused = String::from_utf8(it.udp_opened(None, &rules)).unwrap();
        assert!(refused.starts_with("RTSP/1.0 461"), "{refused}");
        assert!(it.session().is_none());
        // A list: multicast is passed over.
        let list = "Transport: RTP/AVP;multicast,RTP/AVP/TCP;unicast;interleaved=4-5\r\n";
        let (_, text, _) = ask(&mut it, &rules, now, &line("SETUP", "/yard/track0", list));
        assert!(text.contains("interleaved=4-5") && text.contains(";timeout=60\r\n"), "{text}");
        assert_eq!(ask(&mut it, &rules, now, &line("PLAY", "/yard", "Session: wrong\r\n")).0, 454);
        let session = format!("Session: {};x\r\n", it.session_id);
        assert_eq!(ask(&mut it, &rules, now, &line("PLAY", "/yard", &session)).2, Step::Join);
        let playing = String::from_utf8(it.joined(Ok((77, Some(99))))).unwrap();
        assert!(playing.contains("RTP-Info: url=rtsp://h:8554/yard/track0;seq=77;rtptime=99\r\n"), "{playing}");
        assert_eq!(ask(&mut it, &rules, now, &line("SETUP", "/yard", list)).0, 455);
        assert_eq!(ask(&mut it, &rules, now, &line("PLAY", "/yard", &session)).0, 200, "PLAY again is a keep-alive");
        assert!(!it.is_expired(&rules, now + Duration::from_secs(59)));
        assert!(it.is_expired(&rules, now + Duration::from_secs(60)));
        let (status, _, step) = ask(&mut it, &rules, now, &line("TEARDOWN", "/yard", &session));
        assert!(status == 200 && matches!(step, Step::Leave(_)));
        assert!(it.session().is_none());
    }

    #[test]
    fn the_mount_is_found_in_what_clients_write() {
        for url in [
            "rtsp://h/a/b",
            "rtsp://h:1/a/b/",
            "rtsp://u:p@h/a/b/track0",
            "/a/b?x=y",
            "rtsp://h/a/b/track0?x",
            "/a/b//",
        ] {
            assert_eq!(mount_path(url), "/a/b", "{url}");
        }
        for url in ["", "*", "rtsp://h", "rtsp://h/", "/"] {
            assert!(matches!(mount_path(url), "" | "*"), "{url}");
        }
        assert_eq!(mount_path("/mytrack0"), "/mytrack0");
    }
}
