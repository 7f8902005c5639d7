//! What the camera of a test sees: short films in H.264, drawn by the test, and the camera that plays them in a loop.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_core::signal::media::{Codec, Packet};
use godvision_core::{Clock, MonoTime, Name, Secret, SystemClock};
use godvision_rtsp::restream::{FilePlayer, RtspServer, ServerOptions, User};
use rusty_h264::{Encoder, EncoderConfig, YuvFrame};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Frames of one size that are shown again and again.
#[derive(Clone)]
pub(crate) struct Film(Arc<FilePlayer>, f64);

impl Film {
    /// Codes `frames`, of which the first is a key frame.
    pub(crate) fn new(frames: &[YuvFrame], frames_per_second: u32) -> Self {
        let first = frames.first().expect("a film has frames");
        let mut config = EncoderConfig::new(first.width, first.height);
        config.qp = 22;
        config.gop_size = frames.len() as u32;
        config.framerate = frames_per_second as f32;
        (config.scenecut, config.bframes) = (0, 0);
        let mut encoder = Encoder::new(config).expect("a size that can be coded");
        let mut stream = Vec::new();
        for frame in frames {
            stream.extend(encoder.encode(frame));
        }
        stream.extend(encoder.flush());
        let name = Name::new("film").expect("a name");
        let rate = f64::from(frames_per_second);
        let player = FilePlayer::from_annex_b(name, Codec::H264, &stream, rate).expect("what we coded can be played");
        assert_eq!(player.frames(), frames.len());
        Self(Arc::new(player), rate)
    }
}

/// A grey picture. Both sides are even.
pub(crate) fn grey(width: usize, height: usize, luma: Vec<u8>) -> YuvFrame {
    assert_eq!(luma.len(), width * height);
    let chroma = vec![128; width * height / 4];
    YuvFrame { width, height, y: luma, u: chroma.clone(), v: chroma }
}

/// A picture of 8-bit RGB in colour, BT.601 of limited range. Both sides are even.
pub(crate) fn coloured(width: usize, height: usize, rgb: &[u8]) -> YuvFrame {
    let at = |x: usize, y: usize| {
        let from = (y * width + x) * 3;
        [f32::from(rgb[from]), f32::from(rgb[from + 1]), f32::from(rgb[from + 2])]
    };
    let mix = |[r, g, b]: [f32; 3], [by_r, by_g, by_b]: [f32; 3], least: f32| {
        (least + (by_r * r + by_g * g + by_b * b) / 255.0 + 0.5) as u8
    };
    let all = |width: usize, height: usize, value: &dyn Fn(usize, usize) -> u8| -> Vec<u8> {
        (0..width * height).map(|index| value(index % width, index / width)).collect()
    };
    let y = all(width, height, &|x, y| mix(at(x, y), [65.481, 128.553, 24.966], 16.0));
    let (across, down) = (width / 2, height / 2);
    let u = all(across, down, &|x, y| mix(at(x * 2, y * 2), [-37.797, -74.203, 112.0], 128.0));
    let v = all(across, down, &|x, y| mix(at(x * 2, y * 2), [112.0, -93.786, -18.214], 128.0));
    YuvFrame { width, height, y, u, v }
}

/// A wall on which nothing moves.
pub(crate) fn wall(width: usize, height: usize) -> Vec<u8> {
    (0..width * height).map(|index| (90 + (index % width / 24 * 7 + index / width / 24 * 13) % 60) as u8).collect()
}

/// A camera of our own RTSP server, with digest login, that plays one film or another in real time.
pub(crate) struct Camera {
    url: Secret,
    film: watch::Sender<Film>,
    left: Arc<Mutex<Vec<Published>>>,
    playing: JoinHandle<()>,
    _server: RtspServer,
}

/// A frame that has left the camera.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// Its place in its film.
    pub(crate) frame: u64,
    /// When it was captured, which is when it left.
    pub(crate) at: MonoTime,
}

impl Camera {
    pub(crate) async fn start(film: &Film) -> Self {
        let mut options = ServerOptions::new("127.0.0.1:0".parse().expect("an address"));
        options.users.push(User::new("viewer", "camera-password".into()));
        let server = RtspServer::bind(options).await.expect("a free port");
        let mount = server.mount("/yard").expect("a path");
        let url = format!("rtsp://viewer:camera-password@{}/yard", server.local_addr());
        let (film, mut films) = watch::channel(film.clone());
        let left = Arc::new(Mutex::new(Vec::new()));
        let leaving = Arc::clone(&left);
        let playing = tokio::spawn(async move {
            let clock = SystemClock;
            let (start, mut number) = (clock.now(), 0);
            loop {
                let Film(player, rate) = films.borrow_and_update().clone();
                let mut frame = 0;
                while !films.has_changed().unwrap_or(true) {
                    let due = start.mono + Duration::from_secs_f64(number as f64 / rate);
                    tokio::time::sleep(due.since(clock.mono())).await;
                    if films.has_changed().unwrap_or(true) {
                        break;
                    }
                    let (shown, time) = (player.packet(frame, start), player.packet(number, start));
                    let packet = Packet { data: shown.data, kind: shown.kind, format: shown.format, ..time };
                    leaving.lock().expect("nobody panics with it").push(Published { frame, at: clock.mono() });
                    // A mount without viewers takes frames too.
                    let _ = mount.publish(&packet);
                    number += 1;
                    frame += 1;
                }
                if films.has_changed().is_err() {
                    return;
                }
            }
        });
        Self { url: url.into(), film, left, playing, _server: server }
    }

    pub(crate) fn url(&self) -> &Secret {
        &self.url
    }

    /// Shows another film of the same size and rate from its first frame on.
    pub(crate) fn show(&self, film: &Film) {
        self.film.send_replace(film.clone());
    }

    /// Until so many more frames have left.
    pub(crate) async fn films(&self, frames: usize) {
        let count = || self.left.lock().expect("nobody panics with it").len();
        let enough = count() + frames;
        while count() < enough {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The frames that have left since the film shown at `since` began, oldest first.
    pub(crate) fn left(&self, since: MonoTime) -> Vec<Published> {
        let left = self.left.lock().expect("nobody panics with it");
        left.iter().filter(|frame| frame.at >= since).skip_while(|frame| frame.frame > 0).copied().collect()
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.playing.abort();
    }
}
