//! [`Session`]: one RTSP session with a camera, from connecting to its end; yields [`Packet`]s.
//!
//! The protocol is done by the `retina` crate, hidden here: nothing of it is in a public signature. This module adds
//! what it lacks: typed errors (sorted from its status codes, its texts and the operating system's error numbers), a
//! limit on the time to connect, one capture stamp a frame ([`Timeline`]), formats from parameter sets by our own
//! parsers. Only the first supported video stream is set up; audio and metadata are left alone.
//!
//! Quirks that are forgiven: a session id that changes between answers, sender reports from an unknown source,
//! `RTP-Info` with a wrong time.
//!
//! Source: RFC 2326 (RTSP), RFC 3550 (RTP), RFC 6184, RFC 7798 and RFC 2435 (payloads).
//!
//! **Never:** decoding, reconnecting, watching for stalls (that is [`crate::supervisor`]); a password in an error.

use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use godvision_core::signal::media::{Codec, FrameKind, Packet, VideoFormat};
use godvision_core::{Clock, MonoTime, Name, WallTime};
use retina::client as rtsp;
use retina::codec::{CodecItem, FrameFormat, ParametersRef};

use crate::error::Error;
use crate::nal::{self, ParameterSets, h264, h265};
use crate::timeline::{SenderClock, Timeline};
use crate::url::CameraUrl;

/// Longest detail that is taken over from a camera's answer into an error, in characters.
const DETAIL_CHARS_MAX: usize = 200;

/// How packets travel from the camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Inside the RTSP connection: nothing is lost, everything is delayed when the network is slow.
    #[default]
    Tcp,
    /// In datagrams: lost ones stay lost, and firewalls like to drop them.
    Udp,
}

impl Transport {
    /// `TCP` or `UDP`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// What a session needs to begin.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The camera's name: the packets' source, and who errors are about.
    pub camera: Name,
    /// Where it is.
    pub url: CameraUrl,
    /// How packets travel.
    pub transport: Transport,
    /// Longest time for connecting, describing, setting up and playing together.
    pub connect_timeout: Duration,
    /// [`Packet::session`] of its packets.
    pub number: u32,
    /// [`Packet::sequence`] of its first packet.
    pub first_sequence: u64,
    /// No packet is stamped at or before this moment: the last stamp of the session before.
    pub after: MonoTime,
}

impl SessionOptions {
    /// The first session with a camera: over TCP, 5 s to connect.
    pub fn new(camera: Name, url: CameraUrl) -> Self {
        Self {
            camera,
            url,
            transport: Transport::Tcp,
            connect_timeout: Duration::from_secs(5),
            number: 0,
            first_sequence: 0,
            after: MonoTime::ZERO,
        }
    }
}

/// A session that plays.
pub struct Session {
    camera: Name,
    url: CameraUrl,
    number: u32,
    next_sequence: u64,
    stream: usize,
    codec: Codec,
    frames: rtsp::Demuxed,
    clock: Arc<dyn Clock>,
    timeline: Timeline,
    format: Option<Arc<VideoFormat>>,
    others: Vec<String>,
    unreadable: u64,
    lost_unsaid: u32,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {} with {} ({})", self.number, self.camera, self.codec)
    }
}

impl Session {
    /// Connects, asks for the first supported video stream and starts it.
    ///
    /// # Errors
    /// See [`Error`]; never a password in it. A panic of the protocol library, met on some camera's bytes, is
    /// [`Error::Protocol`].
    pub async fn connect(options: SessionOptions, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let camera = options.camera.clone();
        let connecting = AssertUnwindSafe(Box::pin(Self::open(options, clock)));
        connecting.catch_unwind().await.unwrap_or_else(|_| Err(broken(camera)))
    }

    async fn open(options: SessionOptions, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let about = About { camera: &options.camera, url: &options.url, transport: options.transport };
        let deadline = tokio::time::Instant::now() + options.connect_timeout;
        let stage = |stage| Error::Timeout { camera: options.camera.clone(), stage, after: options.connect_timeout };

        let url = url::Url::parse(options.url.request_url().expose())
            .map_err(|_| about.protocol("the address cannot be sent to a camera".to_owned()))?;
        let creds = options.url.login().map(|login| rtsp::Credentials {
            username: login.username.expose().to_owned(),
            password: login.password.expose().to_owned(),
        });
        let describing = rtsp::Session::describe(
            url,
            rtsp::SessionOptions::default()
                .creds(creds)
                .user_agent(concat!("godvision/", env!("CARGO_PKG_VERSION")).to_owned())
                .session_id(rtsp::SessionIdPolicy::UseFirst),
        );
        let mut session = tokio::time::timeout_at(deadline, Box::pin(describing))
            .await
            .map_err(|_| stage("the description"))?
            .map_err(|error| about.classify("DESCRIBE", &error))?;

        let (stream, codec, rate_hz) = choose(&about, session.streams())?;
        let others = session.streams().iter().enumerate().filter(|(index, _)| *index != stream);
        let others = others.map(|(_, it)| format!("{}/{}", printable(it.media()), printable(it.encoding_name())));
        let others = others.collect();
        let transport = match options.transport {
            Transport::Tcp => rtsp::Transport::Tcp(rtsp::TcpTransportOptions::default()),
            Transport::Udp => rtsp::Transport::Udp(rtsp::UdpTransportOptions::default()),
        };
        let setup = rtsp::SetupOptions::default().transport(transport).frame_format(MP4_FRAMES);
        tokio::time::timeout_at(deadline, Box::pin(session.setup(stream, setup)))
            .await
            .map_err(|_| stage("the setup"))?
            .map_err(|error| about.classify("SETUP", &error))?;
        let play = rtsp::PlayOptions::default()
            .initial_timestamp(rtsp::InitialTimestampPolicy::Ignore)
            .unknown_rtcp_ssrc(rtsp::UnknownRtcpSsrcPolicy::DropPackets);
        let playing = tokio::time::timeout_at(deadline, Box::pin(session.play(play)))
            .await
            .map_err(|_| stage("the request to play"))?
            .map_err(|error| about.classify("PLAY", &error))?;
        let frames = playing.demuxed().map_err(|error| about.classify("DESCRIBE", &error))?;
        Ok(Self {
            timeline: Timeline::new(rate_hz, options.after),
            camera: options.camera,
            url: options.url,
            number: options.number,
            next_sequence: options.first_sequence,
            stream,
            codec,
            frames,
            clock,
            format: None,
            others,
            unreadable: 0,
            lost_unsaid: 0,
        })
    }

    /// How the video is coded.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The other streams the camera offers, as `media/encoding`: audio, metadata. They are not set up.
    pub fn other_streams(&self) -> &[String] {
        &self.others
    }

    /// Whether the camera's clock is believed.
    pub fn sender_clock(&self) -> SenderClock {
        self.timeline.sender_clock()
    }

    /// Frames that were left out: before any parameter sets, or images without a readable header.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Waits for the next frame. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The session is over after an error; the end of the stream is [`Error::Ended`]. A panic of the protocol library, met
    /// on some camera's bytes, is [`Error::Protocol`].
    pub async fn next(&mut self) -> Result<Packet, Error> {
        loop {
            // What panicked is not asked again: the session is over.
            let Ok(item) = AssertUnwindSafe(self.frames.next()).catch_unwind().await else {
                return Err(broken(self.camera.clone()));
            };
            match item {
                Some(Ok(CodecItem::VideoFrame(frame))) => {
                    if let Some(packet) = self.packet(frame)? {
                        return Ok(packet);
                    }
                }
                Some(Ok(CodecItem::Rtcp(report))) => self.take_report(&report),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let about = About { camera: &self.camera, url: &self.url, transport: Transport::Tcp };
                    return Err(about.classify("PLAY", &error));
                }
                None => return Err(Error::Ended { camera: self.camera.clone() }),
            }
        }
    }

    fn packet(&mut self, frame: retina::codec::VideoFrame) -> Result<Option<Packet>, Error> {
        let received = self.clock.now();
        let rtp = frame.timestamp().timestamp();
        let lost_before = u32::from(frame.loss()).saturating_add(std::mem::take(&mut self.lost_unsaid));
        let has_new_format = frame.has_new_parameters() || self.format.is_none();
        let data = Bytes::from(frame.into_data());
        if self.codec == Codec::Mjpeg {
            // Every image stands alone: a damaged one is left out, and the next may be whole.
            if self.update_format(&data).is_err() {
                self.timeline.place(rtp, received);
                self.unreadable += 1;
                self.lost_unsaid = lost_before.max(1);
                return Ok(None);
            }
        } else if has_new_format {
            self.update_format(&data)?;
        }
        let Some(format) = &self.format else {
            // Placed all the same, so that the timeline starts with the first frame that came.
            self.timeline.place(rtp, received);
            self.unreadable += 1;
            self.lost_unsaid = lost_before;
            return Ok(None);
        };
        let placed = self.timeline.place(rtp, received);
        let kind = match self.codec {
            Codec::Mjpeg => FrameKind::Key,
            codec => nal::frame_kind(codec, &data),
        };
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Ok(Some(Packet {
            source: self.camera.clone(),
            format: Arc::clone(format),
            sequence,
            session: self.number,
            pts_ticks: placed.pts_ticks,
            at: placed.at,
            kind,
            lost_before,
            data,
        }))
    }

    /// Makes a new format if the parameter sets (or the image's size) differ from the current one's.
    fn update_format(&mut self, data: &[u8]) -> Result<(), Error> {
        let format = if self.codec == Codec::Mjpeg {
            let (width, height) = nal::jpeg::size(data)?;
            if self.format.as_ref().is_some_and(|format| (format.width, format.height) == (width, height)) {
                return Ok(());
            }
            VideoFormat { codec: Codec::Mjpeg, width, height, codec_name: "mp4v.6C".to_owned(), config: Bytes::new() }
        } else {
            let stream = self.frames.streams().get(self.stream);
            let Some(ParametersRef::Video(parameters)) = stream.and_then(|stream| stream.parameters()) else {
                return Ok(());
            };
            let record = Bytes::copy_from_slice(parameters.extra_data());
            let sets = ParameterSets::from_config(self.codec, &record)?;
            match self.codec {
                Codec::H265 => h265::format(&sets)?,
                _ => h264::format(&sets)?,
            }
        };
        if self.format.as_deref() != Some(&format) {
            self.format = Some(Arc::new(format));
        }
        Ok(())
    }

    fn take_report(&mut self, report: &retina::rtcp::ReceivedCompoundPacket) {
        let Some(rtp) = report.rtp_timestamp().filter(|_| report.stream_id() == self.stream) else { return };
        let Some(sender) = report.pkts().find_map(|packet| packet.as_sender_report().ok().flatten()) else { return };
        self.timeline.report(rtp.timestamp(), calendar(sender.ntp_timestamp().0), self.clock.now());
    }
}

/// Frames as fMP4 wants them: 4-byte lengths, parameter sets kept out of band.
const MP4_FRAMES: FrameFormat = FrameFormat::MP4;

/// An NTP timestamp (seconds since 1900 and 2^-32 of one) as a moment of the calendar.
fn broken(camera: Name) -> Error {
    Error::Protocol { camera, detail: "its bytes broke the protocol library".to_owned() }
}

fn calendar(ntp: u64) -> WallTime {
    const SECONDS_1900_TO_1970: i64 = 2_208_988_800;
    let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
    let seconds = i64::try_from(seconds).unwrap_or(0) - SECONDS_1900_TO_1970;
    let micros = i64::try_from((fraction * 1_000_000) >> 32).unwrap_or(0);
    WallTime::from_unix_seconds(seconds).plus_micros(micros)
}

/// The first stream whose coding is supported.
fn choose(about: &About<'_>, streams: &[rtsp::Stream]) -> Result<(usize, Codec, NonZeroU32), Error> {
    let mut unsupported = None;
    for (index, stream) in streams.iter().enumerate() {
        if !matches!(stream.media(), "video" | "image") {
            continue;
        }
        let codec = match stream.encoding_name() {
            "h264" => Codec::H264,
            "h265" => Codec::H265,
            "jpeg" => Codec::Mjpeg,
            other => {
                unsupported.get_or_insert_with(|| printable(other).to_uppercase());
                continue;
            }
        };
        let rate = NonZeroU32::new(stream.clock_rate_hz());
        return match rate {
            Some(rate_hz) => Ok((index, codec, rate_hz)),
            None => Err(about.protocol("its video has a clock rate of 0".to_owned())),
        };
    }
    let camera = about.camera.clone();
    Err(match unsupported {
        Some(codec) => Error::UnsupportedCodec { camera, codec },
        None => Error::NoVideo { camera },
    })
}

/// Whom an error is about.
struct About<'a> {
    camera: &'a Name,
    url: &'a CameraUrl,
    transport: Transport,
}

impl About<'_> {
    /// Sorts an error of the client by its status, its text and the operating system's number in it. Every branch is
    /// held by a test against a real server in `tests/errors_are_typed.rs`.
    fn classify(&self, method: &str, error: &retina::Error) -> Error {
        let camera = self.camera.clone();
        let text = error.to_string();
        if let Some(status) = error.status_code().filter(|status| !(200..300).contains(status)) {
            return self.by_status(method, status);
        }
        let os_error = os_error(&text);
        if text.starts_with("Unable to connect to RTSP server") {
            let address = self.url.address();
            return match os_error.as_ref().map(std::io::Error::kind) {
                Some(std::io::ErrorKind::ConnectionRefused) => Error::Refused { camera, address },
                _ => {
                    let detail = text.split_once(": ").map_or("no answer", |(_, detail)| detail);
                    Error::Unreachable { camera, address, detail: self.presentable(detail) }
                }
            };
        }
        let is_broken = ["Error reading from RTSP peer", "Error writing to RTSP peer", "Error receiving UDP packet"];
        if let Some(detail) = is_broken.iter().find_map(|begin| text.strip_prefix(begin)) {
            // End of file while an answer is awaited: the camera closed the connection without a word.
            if detail.contains("EOF while expecting") {
                return Error::Disconnected {
                    camera,
                    detail: format!("it closed the connection instead of answering {method}"),
                };
            }
            return Error::Disconnected { camera, detail: self.presentable(detail.trim_start_matches(": ")) };
        }
        if text.contains("Incomplete RTSP message at EOF") {
            return Error::Disconnected { camera, detail: "it closed the connection inside a message".to_owned() };
        }
        self.protocol(self.presentable(&text))
    }

    fn by_status(&self, method: &str, status: u16) -> Error {
        let camera = self.camera.clone();
        match status {
            401 if self.url.login().is_none() => Error::AuthMissing { camera },
            401 | 403 => Error::AuthFailed { camera, status },
            404 | 410 => Error::NotFound { camera },
            461 => Error::TransportRefused { camera, transport: self.transport.name() },
            _ => Error::Rejected { camera, method: method.to_owned(), status, detail: meaning(status) },
        }
    }

    fn protocol(&self, detail: String) -> Error {
        Error::Protocol { camera: self.camera.clone(), detail }
    }

    /// One line of printable text without the address's secret parts.
    fn presentable(&self, text: &str) -> String {
        let first = text.lines().next().unwrap_or_default();
        let target = self.url.request_target().expose();
        let shown = if target.len() > 1 { first.replace(target, "<path>") } else { first.to_owned() };
        printable(&shown)
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect()
}

/// The error behind `... (os error 111)`.
fn os_error(text: &str) -> Option<std::io::Error> {
    let (_, rest) = text.rsplit_once("(os error ")?;
    let (number, _) = rest.split_once(')')?;
    Some(std::io::Error::from_raw_os_error(number.parse().ok()?))
}

/// RFC 2326 section 7.1.1, for the codes that cameras send.
fn meaning(status: u16) -> &'static str {
    match status {
        301 | 302 | 305 => "it redirects elsewhere, which is not followed",
        400 => "it does not understand the request",
        405 => "the method is not allowed",
        406 => "it cannot describe the stream",
        408 => "it waited too long for the request",
        415 => "the media type is not supported",
        453 => "not enough bandwidth: too many viewers",
        454 => "it forgot the session",
        455 => "the method is not valid now",
        500 => "an internal error",
        501 => "the method is not implemented",
        503 => "it is busy or starting",
        505 => "another RTSP version",
        551 => "an option is not supported",
        _ => "an unusual status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_time_becomes_calendar_time() {
        assert_eq!(calendar(2_208_988_800 << 32), WallTime::from_unix_seconds(0));
        assert_eq!(
            calendar((2_208_988_800 + 1_700_000_000) << 32 | 1 << 31),
            WallTime::from_unix_micros(1_700_000_000_500_000)
        );
        assert_eq!(calendar(0).as_unix_seconds(), -2_208_988_800);
    }

    #[test]
    fn the_operating_systems_number_is_found_in_a_text() {
        let text = "Unable to connect to RTSP server: Connection refused (os error 111)";
        assert!(os_error(text).is_some());
        assert!(os_error("no number").is_none());
        assert!(os_error("(os error x)").is_none());
    }

    #[test]
    fn a_text_from_outside_is_made_one_printable_line() {
        let url: CameraUrl = "rtsp://h/user=a_password=secret_x".parse().unwrap();
        let camera = Name::new("yard").unwrap();
        let about = About { camera: &camera, url: &url, transport: Transport::Tcp };
        let shown = about.presentable("bad rtsp://h/user=a_password=secret_x\u{7}\nsecond");
        assert_eq!(shown, "bad rtsp://h<path>");
        assert_eq!(about.presentable(&"x".repeat(999)).len(), DETAIL_CHARS_MAX);
    }
}
