//! The edge of the server: sockets, timers, tasks. It moves bytes and takes no decision.
//!
//! One task a connection. The task reads requests, takes frames from the mount's queue only while its own outgoing
//! buffer has room, and never waits for a write: a client that does not read fills its queue and loses frames there.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use godvision_core::time::{Clock, MonoTime, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::RestreamError;
use super::conversation::{Conversation, Found, Rules, Step, Transport};
use super::digest::User;
use super::mount::{Frame, Mount, MountHandle, Mounts, Subscription};
use super::rtcp;
use super::rtp::RtpStream;

/// Most mounts of one server.
pub const MOUNTS_MAX: usize = 1024;
/// Most readers of one mount, unless [`ServerOptions::readers_max`] says otherwise.
pub const READERS_MAX: usize = 256;
/// Most connections at once, unless [`ServerOptions::connections_max`] says otherwise.
pub const CONNECTIONS_MAX: usize = 512;
/// Frames that wait for one reader, unless [`ServerOptions::queue_frames_max`] says otherwise: 2.5 s at 25 a second.
pub const QUEUE_FRAMES_MAX: usize = 64;
/// A connection takes no further frame while this many bytes wait for its socket.
pub const OUTGOING_BYTES_MAX: usize = 256 << 10;
/// How often a reader gets a sender report.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// After so many UDP packets the sender rests for [`UDP_REST`], so that a key frame does not overrun the reader's
/// socket buffer (212,992 bytes by default on Linux). 16 packets a millisecond are 180 Mbit/s.
const UDP_BURST_PACKETS: usize = 16;
const UDP_REST: Duration = Duration::from_millis(1);
/// How long a server waits for its tasks to end.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);
/// Timers are looked at so often.
const TICK: Duration = Duration::from_millis(250);
/// Tries to find an even port with its odd neighbour free.
const PORT_PAIR_TRIES: usize = 32;

/// How a server listens and whom it serves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who may read. Empty: everybody, without a password.
    pub users: Vec<User>,
    /// Shown to people who are asked for a password. No quotes, backslashes or control characters.
    pub realm: String,
    /// Most connections at once; further ones are closed on arrival.
    pub connections_max: usize,
    /// Most readers of one mount; further ones get 453.
    pub readers_max: usize,
    /// Frames that wait for one reader before it skips to a key frame.
    pub queue_frames_max: usize,
    /// A client that is silent for this long is disconnected.
    pub session_timeout: Duration,
    /// Where timeouts and sender reports read the time.
    pub clock: Arc<dyn Clock>,
}

impl ServerOptions {
    /// Everybody may read; limits as the constants of this module say; 60 s session timeout; the system's clock.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            users: Vec::new(),
            realm: "godvision".to_owned(),
            connections_max: CONNECTIONS_MAX,
            readers_max: READERS_MAX,
            queue_frames_max: QUEUE_FRAMES_MAX,
            session_timeout: Duration::from_secs(60),
            clock: SystemClock::shared(),
        }
    }
}

#[derive(Debug)]
struct Shared {
    rules: Rules,
    mounts: Mounts,
    clock: Arc<dyn Clock>,
    readers_max: usize,
    queue_frames_max: usize,
}

/// An RTSP server. Dropping it closes all connections; [`RtspServer::shutdown`] also waits for that.
#[derive(Debug)]
pub struct RtspServer {
    local: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl RtspServer {
    /// Starts to listen. Needs a tokio runtime with IO and time.
    ///
    /// # Errors
    /// [`RestreamError::Bind`] if the address cannot be listened on, [`RestreamError::Realm`] for a realm that cannot
    /// be quoted.
    pub async fn bind(options: ServerOptions) -> Result<Self, RestreamError> {
        let ServerOptions {
            listen,
            users,
            realm,
            connections_max,
            readers_max,
            queue_frames_max,
            session_timeout,
            clock,
        } = options;
        if realm.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
            return Err(RestreamError::Realm);
        }
        let failed = |source| RestreamError::Bind { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            rules: Rules { realm, users, session_timeout },
            mounts: Mounts::default(),
            clock,
            readers_max: readers_max.max(1),
            queue_frames_max: queue_frames_max.max(1),
        });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), connections_max.max(1), stopped));
        Ok(Self { local, shared, stop, accepting })
    }

    /// Where the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// `rtsp://` and the address, then `path`.
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://{}{path}", self.local)
    }

    /// Opens a path for publishing. Readers get 503 until the first frame is published.
    ///
    /// # Errors
    /// [`RestreamError::Path`] unless the path starts with `/` and is made of letters, digits, `-`, `_`, `.`, `/`;
    /// [`RestreamError::PathTaken`]; [`RestreamError::ManyMounts`].
    pub fn mount(&self, path: &str) -> Result<MountHandle, RestreamError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if path.len() < 2
            || !path.starts_with('/')
            || !path.chars().all(plain)
            || super::conversation::mount_path(path) != path
        {
            return Err(RestreamError::Path { path: path.to_owned() });
        }
        let mount = Arc::new(Mount::new(path.to_owned(), self.shared.readers_max, self.shared.queue_frames_max));
        match self.shared.mounts.insert(Arc::clone(&mount), MOUNTS_MAX) {
            Ok(()) => Ok(MountHandle(mount)),
            Err(true) => Err(RestreamError::PathTaken { path: path.to_owned() }),
            Err(false) => Err(RestreamError::ManyMounts),
        }
    }

    /// Closes a path and disconnects its readers; says whether it was there.
    pub fn unmount(&self, path: &str) -> bool {
        self.shared.mounts.remove(path)
    }

    /// Closes everything and waits until it is closed, at most two seconds.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if timeout(SHUTDOWN_PATIENCE, &mut self.accepting).await.is_err() {
            self.accepting.abort();
        }
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    connections_max: usize,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let mut tasks = JoinSet::new();
    let for_connections = stopped.clone();
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopped) => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        tracing::warn!(%peer, connections_max, "rtsp: connection closed, too many are open");
                        continue;
                    };
                    let (shared, stopped) = (Arc::clone(&shared), for_connections.clone());
                    tasks.spawn(async move {
                        if let Err(error) = Connection::run(stream, peer, shared, stopped).await {
                            tracing::debug!(%peer, %error, "rtsp: connection lost");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: give the others time to end.
                    tracing::warn!(%error, "rtsp: cannot accept connections");
                    sleep(TICK).await;
                }
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Ends when the server is shut down or was dropped.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// The two sockets of a UDP reader, connected to its ports: nobody else is sent to or heard.
#[derive(Debug)]
struct UdpPair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl UdpPair {
    async fn open(local: IpAddr, peer: IpAddr, client: [u16; 2]) -> io::Result<(Self, [u16; 2])> {
        for _ in 0..PORT_PAIR_TRIES {
            let rtp = UdpSocket::bind((local, 0)).await?;
            let port = rtp.local_addr()?.port();
            // RFC 3550: RTP on an even port, RTCP on the next one.
            if port % 2 == 1 || port == u16::MAX - 1 {
                continue;
            }
            let Ok(rtcp) = UdpSocket::bind((local, port + 1)).await else { continue };
            let [client_rtp, client_rtcp] = client;
            rtp.connect((peer, client_rtp)).await?;
            rtcp.connect((peer, client_rtcp)).await?;
            return Ok((Self { rtp, rtcp }, [port, port + 1]));
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no pair of free UDP ports"))
    }
}

/// A reader that plays.
struct Playing {
    mount: Arc<Mount>,
    group: VecDeque<Arc<Frame>>,
    subscription: Subscription,
    stream: RtpStream,
    anchor: Option<rtcp::Anchor>,
    report_at: MonoTime,
}

struct Connection {
    peer: SocketAddr,
    local: SocketAddr,
    shared: Arc<Shared>,
    conversation: Conversation,
    outgoing: BytesMut,
    udp: Option<UdpPair>,
    playing: Option<Playing>,
    closing: bool,
    /// When the socket last took bytes, or had none to take.
    flowed: MonoTime,
}

/// What woke the task.
enum Woken {
    Read(usize),
    Written,
    Frame(Option<Arc<Frame>>),
    Report,
    Tick,
    Stop,
}

impl Connection {
    async fn run(
        mut socket: TcpStream,
        peer: SocketAddr,
        shared: Arc<Shared>,
        mut stopped: watch::Receiver<bool>,
    ) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let local = socket.local_addr()?;
        let now = shared.clock.mono();
        let conversation = Conversation::new(local, random()?, now);
        let mut it = Self {
            peer,
            local,
            shared,
            conversation,
            outgoing: BytesMut::new(),
            udp: None,
            playing: None,
            closing: false,
            flowed: now,
        };
        let (mut reading, mut writing) = socket.split();
        let mut incoming = BytesMut::with_capacity(4096);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if it.closing && it.outgoing.is_empty() {
                return writing.shutdown().await;
            }
            let has_room = it.outgoing.len() < OUTGOING_BYTES_MAX && !it.closing;
            let woken = tokio::select! {
                biased;
                () = told_to_stop(&mut stopped) => Woken::Stop,
                written = writing.write_buf(&mut it.outgoing), if !it.outgoing.is_empty() => {
                    written?;
                    Woken::Written
                }
                read = reading.read_buf(&mut incoming), if !it.closing => Woken::Read(read?),
                _ = ticks.tick() => Woken::Tick,
                () = heard_report(it.udp.as_ref()) => Woken::Report,
                frame = next_frame(it.playing.as_mut()), if has_room => Woken::Frame(frame),
            };
            let now = it.shared.clock.mono();
            match woken {
                Woken::Stop => {
                    it.say_bye().await;
                    // One try: a client that does not read is not waited for.
                    if !it.outgoing.is_empty() {
                        let _ = timeout(TICK, writing.write_all_buf(&mut it.outgoing)).await;
                    }
                    return Ok(());
                }
                Woken::Written => it.flowed = now,
                Woken::Read(0) => return Ok(()),
                Woken::Read(_) => it.read(&mut incoming, now).await,
                Woken::Report => it.conversation.heard(now),
                Woken::Tick => it.tick(now).await,
                Woken::Frame(Some(frame)) => it.send(&frame, now).await,
                Woken::Frame(None) => {
                    it.say_bye().await;
                    it.playing = None;
                    it.closing = true;
                }
            }
        }
    }

    async fn read(&mut self, incoming: &mut BytesMut, now: MonoTime) {
        while !self.closing {
            let (rules, mounts) = (&self.shared.rules, &self.shared.mounts);
            let Some((used, step)) = self.conversation.receive(incoming, rules, mounts, now) else { return };
            incoming.advance(used.min(incoming.len()));
            match step {
                Step::Nothing => {}
                Step::Reply(bytes) => self.outgoing.extend_from_slice(&bytes),
                Step::ReplyAndClose(bytes) => {
                    self.outgoing.extend_from_slice(&bytes);
                    self.closing = true;
                }
                Step::Leave(bytes) => {
                    self.playing = None;
                    self.udp = None;
                    self.outgoing.extend_from_slice(&bytes);
                }
                Step::OpenUdp { client } => {
                    let opened = UdpPair::open(self.local.ip(), self.peer.ip(), client).await;
                    let ports = match opened {
                        Ok((pair, ports)) => {
                            self.udp = Some(pair);
                            Some(ports)
                        }
                        Err(error) => {
                            tracing::warn!(peer = %self.peer, %error, "rtsp: no UDP ports for a reader");
                            None
                        }
                    };
                    let bytes = self.conversation.udp_opened(ports, &self.shared.rules);
                    self.outgoing.extend_from_slice(&bytes);
                }
                Step::Join => self.join(now),
            }
        }
    }

    fn join(&mut self, now: MonoTime) {
        let mount = self.conversation.session().and_then(|(path, _)| self.shared.mounts.get(path));
        let joined = mount.ok_or(Found::Nothing).and_then(|mount| mount.join().map(|joined| (mount, joined)));
        let bytes = match (joined, random()) {
            (Ok((mount, mut subscription)), Ok(identity)) => {
                let stream = RtpStream::new(identity);
                let group = VecDeque::from(std::mem::take(&mut subscription.group));
                let first = group.front().map(|frame| stream.timestamp(frame.anchor.ticks));
                let bytes = self.conversation.joined(Ok((stream.next_sequence(), first)));
                self.playing = Some(Playing { mount, group, subscription, stream, anchor: None, report_at: now });
                bytes
            }
            (Err(found), _) => self.conversation.joined(Err(&found)),
            (Ok(_), Err(_)) => self.conversation.joined(Err(&Found::NotYet)),
        };
        self.outgoing.extend_from_slice(&bytes);
    }

    async fn send(&mut self, frame: &Frame, now: MonoTime) {
        let (Some(playing), Some((_, transport))) = (&mut self.playing, self.conversation.session()) else { return };
        playing.mount.count_sent();
        let first = playing.anchor.replace(frame.anchor).is_none();
        if first {
            // Before the first frame, so that the reader knows its capture time from the start.
            self.report(now).await;
        }
        let Some(playing) = &mut self.playing else { return };
        match (transport, &self.udp) {
            (Transport::Interleaved { rtp, .. }, _) => {
                let outgoing = &mut self.outgoing;
                playing.stream.write(&frame.payload, frame.anchor.ticks, |parts| interleave(outgoing, rtp, parts));
            }
            (Transport::Udp { .. }, Some(pair)) => {
                let mut packets = Vec::new();
                playing.stream.write(&frame.payload, frame.anchor.ticks, |parts| packets.push(parts.concat()));
                for (index, packet) in packets.iter().enumerate() {
                    if index % UDP_BURST_PACKETS == UDP_BURST_PACKETS - 1 {
                        sleep(UDP_REST).await;
                    }
                    // A port that is closed by now answers with an error on a later send: the session ends by itself.
                    let _ = pair.rtp.send(packet).await;
                }
            }
            (Transport::Udp { .. }, None) => {}
        }
    }

    async fn report(&mut self, now: MonoTime) {
        let Some(playing) = &mut self.playing else { return };
        let Some(anchor) = playing.anchor else { return };
        playing.report_at = now + REPORT_INTERVAL;
        let report = rtcp::sender_report(&playing.stream, anchor);
        self.send_control(&report).await;
    }

    async fn say_bye(&mut self) {
        if let Some(playing) = &self.playing {
            let bye = rtcp::bye(&playing.stream);
            self.send_control(&bye).await;
        }
    }

    async fn send_control(&mut self, packet: &[u8]) {
        match (self.conversation.session(), &self.udp) {
            (Some((_, Transport::Interleaved { rtcp, .. })), _) => interleave(&mut self.outgoing, rtcp, &[packet]),
            (Some((_, Transport::Udp { .. })), Some(pair)) => {
                let _ = pair.rtcp.send(packet).await;
            }
            _ => {}
        }
    }

    async fn tick(&mut self, now: MonoTime) {
        if self.playing.as_ref().is_some_and(|playing| now >= playing.report_at) {
            self.report(now).await;
        }
        if self.outgoing.is_empty() {
            self.flowed = now;
        }
        let interleaved = matches!(self.conversation.session(), Some((_, Transport::Interleaved { .. })));
        if interleaved && self.playing.is_some() && self.outgoing.is_empty() {
            // Inside the connection, taking the frames is sign of life enough: some clients send nothing else.
            self.conversation.heard(now);
        }
        let stuck = now.since(self.flowed) >= self.shared.rules.session_timeout;
        if stuck || self.conversation.is_expired(&self.shared.rules, now) {
            tracing::debug!(peer = %self.peer, stuck, "rtsp: client is silent, closing");
            self.say_bye().await;
            self.playing = None;
            self.closing = true;
            if stuck {
                self.outgoing.clear();
            }
        }
    }
}

/// The next frame of a reader: what it joined with, then what is published. Without a reader, never.
async fn next_frame(playing: Option<&mut Playing>) -> Option<Arc<Frame>> {
    match playing {
        Some(playing) => match playing.group.pop_front() {
            Some(frame) => Some(frame),
            None => playing.subscription.live.recv().await,
        },
        None => std::future::pending().await,
    }
}

/// Ends when the reader sent something to one of its UDP ports. Without UDP, never.
async fn heard_report(udp: Option<&UdpPair>) {
    let Some(pair) = udp else { return std::future::pending().await };
    let (mut one, mut other) = ([0; 64], [0; 64]);
    loop {
        let heard = tokio::select! {
            heard = pair.rtcp.recv(&mut one) => heard,
            heard = pair.rtp.recv(&mut other) => heard,
        };
        match heard {
            Ok(_) => return,
            // A port of the reader is closed: its silence will end the session.
            Err(_) => sleep(TICK).await,
        }
    }
}

/// RFC 2326 section 10.12: `$`, channel, length, then the packet.
fn interleave(outgoing: &mut BytesMut, channel: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let Ok(length) = u16::try_from(length) else { return };
    outgoing.reserve(4 + usize::from(length));
    outgoing.extend_from_slice(&[b'$', channel]);
    outgoing.extend_from_slice(&length.to_be_bytes());
    parts.iter().for_each(|part| outgoing.extend_from_slice(part));
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
