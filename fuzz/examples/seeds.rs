//! Writes the seeds of `corpus/`: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.
//!
//! Seeds are named `seed-*`; whatever else is in the corpus was found by fuzzing and is left alone. Video comes from the
//! test streams of `godvision-rtsp` (see their `SOURCES.md`), cut to a few frames.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use godvision_access::RuleSet;
use godvision_access::io::spent_log::SpentLog;
use godvision_access::pass::rolling::RollingSecret;
use godvision_access::pass::{Doors, NameRef, PREFIX, PassClaims, PassId, PassKey, Uses};
use godvision_access::reader::lines::key_records;
use godvision_access::reader::osdp::frame::Packet;
use godvision_access::reader::wedge::key_code;
use godvision_access::reader::wiegand;
use godvision_access::spent::{Spendable, Spending};
use godvision_core::signal::media::Codec;
use godvision_core::{Name, Secret, WallTime};
use godvision_rtsp::nal::{ParameterSets, annex_b_units, from_annex_b, h264, h265};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let streams = Streams { folder: root.join("../godvision-rtsp/tests/data") };
    let seeds = Seeds { folder: root.join("corpus") };
    video(&seeds, &streams);
    fragments(&seeds);
    texts(&seeds);
    requests(&seeds);
    archive(&seeds);
    planes(&seeds);
    codes(&seeds);
    plates(&seeds);
    faces(&seeds);
    relays(&seeds);
    readers(&seeds);
    premises(&seeds);
}

struct Seeds {
    folder: PathBuf,
}

impl Seeds {
    fn write(&self, target: &str, name: &str, data: impl AsRef<[u8]>) {
        let folder = self.folder.join(target);
        fs::create_dir_all(&folder).expect("a folder to write in");
        fs::write(folder.join(format!("seed-{name}")), data).expect("room for a seed");
    }
}

struct Streams {
    folder: PathBuf,
}

impl Streams {
    /// The units up to the slice number `slices`.
    fn start(&self, name: &str, slices: usize) -> Vec<u8> {
        let whole = fs::read(self.folder.join(name)).expect("a test stream");
        let is_slice = |unit: &[u8]| match name.ends_with("h264") {
            true => matches!(unit[0] & 0x1f, 1..=5),
            false => unit[0] >> 1 < 32,
        };
        let mut left = slices;
        let mut start = Vec::new();
        for unit in annex_b_units(&whole) {
            start.extend_from_slice(&[0, 0, 0, 1]);
            start.extend_from_slice(unit);
            left -= usize::from(is_slice(unit));
            if left == 0 {
                break;
            }
        }
        start
    }
}

fn video(seeds: &Seeds, streams: &Streams) {
    for (number, name) in
        [(0u8, "bframes.h264"), (0, "interlaced.h264"), (0, "ten_bit.h264"), (1, "bframes.h265"), (1, "plain.h265")]
    {
        let stream = streams.start(name, 5);
        for (option, label) in [(0u8, "all"), (4, "key"), (8, "colour"), (16, "lost")] {
            if option != 0 && name != "bframes.h264" && name != "bframes.h265" {
                continue;
            }
            seeds.write(
                "decode",
                &format!("{}-{label}", name.replace('.', "-")),
                [&[number | option][..], &stream].concat(),
            );
        }
        let label = name.replace('.', "-");
        let sets = streams.start(name, 1);
        seeds.write("nal", &format!("{label}-stream"), &sets);
        seeds.write("nal", &format!("{label}-framed"), from_annex_b(&sets));
        let codec = if number == 0 { Codec::H264 } else { Codec::H265 };
        let sets = ParameterSets::from_units(codec, annex_b_units(&sets)).expect("parameter sets");
        let format = if number == 0 { h264::format(&sets) } else { h265::format(&sets) };
        seeds.write("nal", &format!("{label}-record"), format.expect("good sets").config);
        seeds.write("nal", &format!("{label}-sps"), sets.sps.first().cloned().unwrap_or(Bytes::new()));
    }
    let image = grey_image();
    seeds.write("nal", "image", &image);
    seeds.write("decode", "mjpeg", [&[2][..], &image].concat());
    seeds.write("decode", "mjpeg-colour", [&[2 | 8][..], &image].concat());
}

/// 8x8 baseline JPEG with one component: its tables, and a block that is all grey. Made by hand after ITU-T T.81.
fn grey_image() -> Vec<u8> {
    let mut image = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    image.extend([1; 64]);
    image.extend([0xff, 0xc0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    for class in [0x00, 0x10] {
        // One code of one bit, for the value 0: no difference in DC, end of block in AC.
        image.extend([0xff, 0xc4, 0, 20, class, 1]);
        image.extend([0; 15]);
        image.push(0);
    }
    image.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0b0011_1111, 0xff, 0xd9]);
    image
}

fn fragments(seeds: &Seeds) {
    /// Flags, step of presentation time, payload.
    fn packets(list: &[(u8, u16, &[u8])]) -> Vec<u8> {
        let mut data = Vec::new();
        for (flags, step, payload) in list {
            data.push(*flags);
            data.extend(step.to_be_bytes());
            data.extend((payload.len() as u16).to_be_bytes());
            data.extend_from_slice(payload);
        }
        data
    }
    let slice: &[u8] = &[0, 0, 0, 3, 0x65, 1, 2];
    seeds.write(
        "fragmenter",
        "steady",
        packets(&[(1, 3600, slice), (0, 3600, slice), (0, 3600, slice), (1, 3600, slice)]),
    );
    seeds.write(
        "fragmenter",
        "reordered",
        packets(&[
            (1, 0, slice),
            (0, 14400, slice),
            (16, 7200, slice),
            (16, 3600, slice),
            (0, 7200, slice),
            (0, 9000, slice),
        ]),
    );
    seeds.write(
        "fragmenter",
        "sessions",
        packets(&[(0, 3600, slice), (1, 3600, slice), (2, 3600, slice), (3 | 32, 9, slice), (0, 3600, &[])]),
    );
    seeds.write(
        "fragmenter",
        "formats",
        packets(&[
            (1, 3600, slice),
            (4, 3600, slice),
            (5, 3600, slice),
            (5, 3600, slice),
            (5, 3600, slice),
            (0, 3600, slice),
        ]),
    );
    let mut far = vec![1, 0, 1, 0, 0, 8];
    far.extend((i64::MAX - 5).to_be_bytes());
    far.extend([0, 2, 9, 9]);
    far.extend(packets(&[(16, 3600, slice), (0, 65535, slice)]));
    seeds.write("fragmenter", "far-apart", far);
}

fn texts(seeds: &Seeds) {
    let site = r#"version = 1
site = "home"

[[subsystem]]
name = "yard"
enabled = false

[[component]]
name = "yard/camera"
unit = "camera"
host = "attic"
params = { url = "rtsp://192.0.2.7/main", password = { secret = "yard-camera" }, stall = 2.5, retries = 3, on = true, zones = ["a", "b"] }

[[component]]
name = "yard/motion"
unit = "motion"
enabled = false

[[link]]
from = "yard/camera#pictures"
to = "yard/motion#pictures"
"#;
    seeds.write("site_document", "home", site);
    seeds.write("site_document", "numbers", "version = 1\nsite = \"s\"\n[[component]]\nname = \"a\"\nunit = \"u\"\nparams = { a = 0x10, b = -inf, c = nan, d = 1e300, e = 9223372036854775807, f = -0.0 }\n");
    seeds.write("site_document", "odd-keys", "version = 1\nsite = \"s\"\n[[component]]\nname = \"a\"\nunit = \"u\"\nparams = { \"a b\" = 1, \"\" = \"\", \"c.d\" = true, \"\u{444}\" = [] }\n");
    seeds.write("site_document", "wrong", "version = 2\nsite = 7\nother = 1\n[[component]]\nname = \"..\"\n[[link]]\nfrom = \"a\"\n[[component]]\nname = \"a/b\"\nunit = \"u\"\n[[component]]\nname = \"a\"\nunit = \"u\"\n");
    seeds.write("site_document", "no-toml", "version = 1\nsite = \"\u{fc}\n");
    let rules = r#"version = 1
zone = "Europe/Berlin"

[groups]
staff = ["ada", "bob"]
[door_groups]
yard = ["yard/door", "yard/gate"]
[schedules]
office = ["Mon-Fri 08:00-18:00", "Sat 10:00-14:00"]
night = { zone = "UTC", weekly = ["daily 22:00-06:00"] }

[[rule]]
name = "staff"
permit = ["group:staff"]
doors = ["group:yard", "store"]
by = ["qr", "card"]
during = "office"
until = 2030-01-01

[[rule]]
name = "no-bob-at-night"
forbid = ["bob"]
doors = ["any"]
during = "night"

[[rule]]
name = "everybody"
permit = ["anyone"]
doors = ["store"]
by = ["plate", "manual"]
from = 2020-02-29T12:00:00Z
"#;
    seeds.write("rules", "staff", rules);
    let two = r#"version = 1
zone = "America/Havana"
groups = { staff = ["ada"] }
[holidays]
public = ["12-25", 2026-11-23, "2026-12-31/2027-01-01"]
eves = ["12-24"]
[schedules]
shop = { weekly = ["Mon-Sat 09:00-20:00", "daily 22:00-06:00"], zone = "UTC", holidays = ["public none", "eves 09:00-13:00,14:00-01:00"] }
[[rule]]
name = "two-together"
permit = ["group:staff", "eve"]
doors = ["any"]
by = ["card", "face+pin", "plate+manual"]
during = "shop"
priority = -3
[[rule]]
name = "no-plates"
forbid = ["anyone"]
doors = ["door"]
by = ["plate"]
from = "-000001-01-01T00:00:00.000001Z"
"#;
    seeds.write("rules", "two-together", two);
    for (name, text) in [("staff", rules), ("two-together", two), ("empty", "version = 1")] {
        seeds.write("rules_snapshot", name, RuleSet::parse(text).expect("good rules").to_bytes());
    }
    seeds.write("rules_snapshot", "counts", [0xff; 12]);
    seeds.write("rules", "empty", "version = 1\n");
    seeds.write(
        "rules",
        "unknown-group",
        "version = 1\n[[rule]]\nname = \"a\"\npermit = [\"group:x\"]\ndoors = [\"any\"]\n",
    );
    seeds.write("rules", "one", "version = 1\n[[rule]]\nname = \"a\"\npermit = [\"ada\"]\ndoors = [\"d\"]\n");
    let claims = PassClaims {
        id: PassId([0, 0, 0, 0, 0, 1]),
        person: Some("ada".parse().expect("a name")),
        doors: Doors::One("yard/door".parse().expect("a name")),
        not_before: WallTime::from_unix_seconds(1_577_836_800),
        not_after: WallTime::from_unix_seconds(4_102_444_800),
        uses: Uses::Any,
    };
    let site: Name = "demo".parse().expect("a name");
    let pass = PassKey::insecure_demo().sign(&site, &claims).expect("good claims");
    seeds.write("qr_text", "pass", pass.expose());
    let other = PassKey::from_seed(7, &[9; 32]).sign(&site, &claims).expect("good claims");
    seeds.write("qr_text", "other-key", other.expose());
    seeds.write("qr_text", "cut", &pass.expose()[..100]);
    let now = WallTime::from_unix_seconds(1_795_255_200);
    let ada = "ada".parse().expect("a name");
    let (code, _) = RollingSecret::from_bytes([7; 32]).code(&site, &ada, now).expect("after 1970");
    seeds.write("qr_text", "rolling", code.expose());
    passes(seeds, &pass);
    seeds.write("qr_text", "url", "https://example.org/menu");
    let mut bytes = vec![3, 0, 0, 0, 0, 0, 9];
    for second in [1_700_000_000i64, 1_800_000_000] {
        bytes.extend((second << 24).to_be_bytes());
    }
    bytes.extend(b"\x00adaadaadaadayard/door");
    seeds.write("qr_text", "claims", bytes);
}

/// What a pass is below its text, and what is kept about passes and keys.
fn passes(seeds: &Seeds, pass: &Secret) {
    let digit = |character: char| "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:".find(character).expect("base 45");
    let digits: Vec<usize> = pass.expose()[PREFIX.len()..].chars().map(digit).collect();
    let bytes: Vec<u8> = digits
        .chunks(3)
        .flat_map(|it| {
            let value = it.iter().rev().fold(0, |value, digit| value * 45 + digit);
            (value as u16).to_be_bytes()[3 - it.len()..].to_vec()
        })
        .collect();
    seeds.write("pass_bytes", "pass", &bytes);
    seeds.write("pass_bytes", "cut", &bytes[..bytes.len() - 1]);

    let folder = std::env::temp_dir().join(format!("godvision-seeds-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder to write in");
    let file = folder.join("spent.log");
    let mut log = SpentLog::open(&file).expect("a new file");
    let at = WallTime::from_unix_seconds(1_795_255_200);
    let until = at.plus_micros(60_000_000);
    let [person, door] = ["ada", "yard/door"].map(|name| name.parse().expect("a name"));
    let step = Spendable::Step { person: NameRef::person(&person), door: NameRef::door(&door), step: 59_841_840 };
    for what in [Spendable::Pass { key: 1, id: PassId([1; 6]) }, step, Spendable::Pass { key: 1, id: PassId([1; 6]) }] {
        log.spend(Spending { what, until, at }, 9).expect("room for a line");
    }
    drop(log);
    let whole = fs::read(&file).expect("just written");
    seeds.write("spent_log", "three", &whole);
    seeds.write("spent_log", "torn", &whole[..whole.len() - 20]);
    seeds.write("spent_log", "zeros", [whole.as_slice(), &[0; 100]].concat());
    seeds.write("spent_log", "line-missing", [&whole[..54], &whole[116..]].concat());
    fs::remove_dir_all(&folder).expect("our own folder");

    let digits = "0123456789abcdef".repeat(4);
    for kind in ["card", "pin2", "plate", "duress-pin2", "duress-card", "pin"] {
        seeds.write("stored_key", kind, format!("{kind}:{digits}"));
    }
}

fn requests(seeds: &Seeds) {
    let session = "OPTIONS rtsp://127.0.0.1/yard RTSP/1.0\r\nCSeq: 1\r\n\r\n\
        DESCRIBE rtsp://127.0.0.1/yard RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\n\r\n\
        SETUP rtsp://127.0.0.1/yard/track1 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n\
        PLAY rtsp://127.0.0.1/yard RTSP/1.0\r\nCSeq: 4\r\nSession: 0\r\nRange: npt=0-\r\n\r\n\
        TEARDOWN rtsp://127.0.0.1/yard RTSP/1.0\r\nCSeq: 5\r\n\r\n";
    seeds.write("rtsp_request", "session", [b"\0\0", session.as_bytes()].concat());
    let udp = "SETUP rtsp://127.0.0.1/yard/track1 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP;unicast;client_port=40000-40001\r\n\r\n";
    seeds.write("rtsp_request", "udp", [b"\0\0", udp.as_bytes()].concat());
    let digest = "DESCRIBE rtsp://127.0.0.1/yard RTSP/1.0\r\nCSeq: 2\r\nAuthorization: Digest username=\"viewer\", realm=\"godvision\", nonce=\"00\", uri=\"rtsp://127.0.0.1/yard\", response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5\r\n\r\n";
    seeds.write("rtsp_request", "digest", [b"\x01\0", digest.as_bytes()].concat());
    seeds.write(
        "rtsp_request",
        "pieces",
        [b"\0\x07OPTIONS\x0a * RTSP/1.\0", &b"0\r\nCSeq: 1\r\n\r\n$\x00\x00\x04abcdGET / HTTP/1.1\r\n\r\n"[..]]
            .concat(),
    );
    seeds.write(
        "rtsp_request",
        "unknown",
        b"\0\0ANNOUNCE rtsp://127.0.0.1/yard RTSP/1.0\r\nCSeq: 9\r\nContent-Length: 4\r\n\r\nv=0\n",
    );
}

fn archive(seeds: &Seeds) {
    let mut replies = vec![0];
    for reply in [
        "220 Welcome",
        "331 Password, please",
        "230 In",
        "200 Type I",
        "211-Features:\r\n SIZE\r\n HASH\r\n211 End",
        "213 40",
        "200 NOOP",
        "350 Restarting at 2",
        "229 x",
        "150 Here it comes",
    ] {
        replies.push(reply.len() as u8);
        replies.extend_from_slice(reply.as_bytes());
    }
    replies.push(38);
    replies.extend([7; 38]);
    for reply in ["226 Done", "200 NOOP", "250 Removed"] {
        replies.push(reply.len() as u8);
        replies.extend_from_slice(reply.as_bytes());
    }
    seeds.write("ftp_replies", "session", &replies);
    seeds.write("ftp_replies", "refused", b"\0\x0b220 Welcome\x08331 User\x1e530-No such\r\n user here\r\n530 x\r\n");
    seeds.write("ftp_replies", "nonsense", b"\0\x08HTTP/1.1\x032xx\x01\n\xff");
    seeds.write("ftp_replies", "manifest", [b"\x01", godvision_fuzz::manifest_seed().as_bytes()].concat());
    seeds.write("ftp_replies", "address", b"\x02ftps://cam%40home:p%3Aw%2Flongpassword@nas.local:2121/clips/yard/");
    seeds.write("ftp_replies", "address-v6", b"\x02ftp://me:x@[::1]:21/%2Fabsolute");
    seeds.write("ftp_replies", "clip", b"\x0320261121T093000250Z-yard_camera");
}

fn planes(seeds: &Seeds) {
    /// Size, padding, then frames of flags and pattern.
    fn film(size: [u8; 3], frames: &[(u8, &[u8])]) -> Vec<u8> {
        let mut data = size.to_vec();
        for (flags, pattern) in frames {
            data.push(*flags);
            data.extend((pattern.len() as u16).to_be_bytes());
            data.extend_from_slice(pattern);
        }
        data
    }
    let (grey, light, stripes) = (&[90u8][..], &[200u8][..], &[0u8, 255, 128, 7, 31][..]);
    let walk = [
        (0, grey),
        (0, grey),
        (0x21, light),
        (0x21, stripes),
        (0x21, light),
        (1, grey),
        (1, grey),
        (1, &[][..]),
        (3, grey),
    ];
    seeds.write("motion", "walk", film([80, 60, 7], &walk));
    seeds.write("motion", "walk-reduced", film([0x80 | 100, 0x80 | 50, 13], &walk));
    seeds.write("motion", "light", film([33, 17, 0], &[(0, grey), (0, grey), (0, light), (0, light), (0x40, stripes)]));
    seeds.write("motion", "smallest", film([0, 0, 1], &[(0, stripes), (2, grey), (0x22, light)]));
}

fn codes(seeds: &Seeds) {
    /// Size with a quiet zone of four, padding, flags, noise, shear, then the modules as bits.
    fn code(text: &[u8], [padding, flags, noise, shear]: [u8; 4], quiet: usize) -> Vec<u8> {
        let code = qrcode::QrCode::new(text).expect("a text that fits");
        let (modules, colours) = (code.width(), code.to_colors());
        let side = modules + 2 * quiet;
        let mut data = vec![side as u8, side as u8, padding, flags, noise, shear];
        data.resize(6 + (side * side).div_ceil(8), 0);
        for (i, _) in colours.iter().enumerate().filter(|(_, colour)| **colour == qrcode::Color::Dark) {
            let cell = (i / modules + quiet) * side + i % modules + quiet;
            data[6 + cell / 8] |= 1 << (cell % 8);
        }
        data
    }
    seeds.write("qr_pixels", "plain", code(b"GV1:OPEN", [0, 3, 0, 0], 4));
    seeds.write("qr_pixels", "inverted-padded", code(b"GV1:OPEN", [13, 8 | 5, 9, 0], 4));
    seeds.write("qr_pixels", "sheared", code(b"HTTPS://EXAMPLE.ORG/A/LONGER/TEXT/FOR/MORE/MODULES", [3, 4, 60, 40], 4));
    seeds.write("qr_pixels", "no-quiet-zone", code(b"1234567890", [0, 7, 0, 0], 0));
    seeds.write("qr_pixels", "version-7", code(&[b'x'; 150], [1, 2, 20, 10], 4));
    seeds.write("qr_pixels", "noise", [&[200, 200, 0, 0, 255, 0][..], &[0x5A; 600]].concat());
    seeds.write("qr_pixels", "huge", [255, 255, 255, 1, 2, 3]);
    seeds.write("qr_pixels", "one-pixel", [1, 1, 1, 0]);
}

fn plates(seeds: &Seeds) {
    seeds.write("plates", "cyrillic", ["\0".as_bytes(), "а123вс 77".as_bytes()].concat());
    seeds.write("plates", "german", b"\0B-AB 1234");
    seeds.write("plates", "alike", b"\0O12E8C77");
    seeds.write("plates", "no-plate", b"\0no plate!");
    seeds.write("plates", "stripes", [&[4, 60, 60, 3][..], &[0, 255, 128, 7, 31]].concat());
    seeds.write("plates", "no-size", [4, 0, 60, 3, 9]);
    seeds.write("plates", "votes", [&[9][..], &b"\x05\x10\xf0A123BC".repeat(5), b"\x05\x10\x80A128BC"].concat());
}

fn faces(seeds: &Seeds) {
    let yunet = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../godvision-vision/weights/yunet.gvw"));
    let yunet = yunet.expect("the weights are in the repository");
    seeds.write("faces", "weights-cut", [&[0][..], &yunet[..600]].concat());
    seeds.write("faces", "weights-many", [&[0][..], b"GVW1\xff\xff\xff\xff"].concat());
    seeds.write("faces", "vault", [&[1][..], &godvision_fuzz::vault_seed()].concat());
    seeds.write("faces", "vault-changed", [&[1][..], &[0; 40], &[1; 4]].concat());
    seeds.write("faces", "stripes", [&[2, 60, 90, 3][..], &[0, 255, 128, 7, 31]].concat());
    seeds.write("faces", "no-size", [2, 0, 60, 3, 9]);
    let points = [30, 40, 70, 40, 50, 60, 35, 80, 65, 80];
    seeds.write("faces", "chip", [&[3, 100, 120, 0][..], &points, &[0; 20], &[9, 200, 90, 40]].concat());
    seeds.write("faces", "chip-wild", [&[3, 100, 120, 1][..], &[0xFF; 60]].concat());
    let face = [10.0_f32, 10.0, 50.0, 60.0].map(f32::to_le_bytes).concat();
    let pictures = [&[10, 2][..], &face, &face, &[10, 1], &face, &[200, 1], &[0xFF; 16]].concat();
    seeds.write("faces", "tracks", [&[4][..], &pictures].concat());
    let rows: Vec<u8> = (0..640_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    seeds.write("faces", "search", [&[5, 0, 16][..], &rows].concat());
}

/// Replies of relay devices, as their documents and clients show them, each behind its device and channel.
fn relays(seeds: &Seeds) {
    let replies: [(&str, [u8; 2], &str); 23] = [
        ("address", [0, 0], "tasmota://admin:p%40ss%2Fword%20of%20mine@192.168.1.20/?channels=2&inputs=1"),
        ("address-laurent", [0, 0], "laurent://:a,comma@[fd00::1]:2424/?pulse=device"),
        ("address-template", [0, 0], "template://h/?on=/1&off=/0&status=/s&pulse=/p%3Ffor=%7Bms%7D"),
        ("shelly1", [1, 0], r#"{"ison":true,"has_timer":true,"timer_remaining":3,"source":"http"}"#),
        ("shelly1-inputs", [2, 1], r#"{"relays":[{"ison":false}],"inputs":[{"input":0},{"input":1,"event":"S"}]}"#),
        ("tasmota-power", [3, 1], r#"{"POWER2":"ON"}"#),
        ("tasmota-warning", [3, 0], r#"{"WARNING":"Need user=<username>&password=<password>"}"#),
        ("tasmota-switch", [4, 0], r#"{"StatusSNS":{"Time":"2026-11-21T09:00:00","Switch1":"OFF"}}"#),
        (
            "sonoff-v1",
            [5, 0],
            r#"{"seq":21,"error":0,"data":"{\"switch\":\"off\",\"pulse\":\"on\",\"pulseWidth\":500}"}"#,
        ),
        ("sonoff-v2", [5, 0], r#"{"seq":12,"error":0,"data":{"switch":"on","pulse":"off","pulseWidth":500}}"#),
        ("dingtian", [6, 1], "&0&4&0&1&0&0&"),
        ("dingtian-refused", [6, 1], "&2&"),
        ("kmtronic", [7, 0], "<response>\r\n<relay0>0</relay0>\r\n<relay1>1</relay1>\r\n</response>\r\n"),
        ("template-text", [8, 0], " Closed\r\n"),
        ("template-json", [8, 1], r#"{"state":["open","closed"]}"#),
        ("sr201", [9, 0], "10000000"),
        ("laurent", [10, 1], "#RDR,01,1\r\n"),
        ("laurent-denied", [10, 1], "#Access denied. Password is needed.\r\n"),
        ("rpc", [11, 0], r#"{"id":1,"src":"shellypro2-a8032ab12345","dst":"godvision","result":{"was_on":false}}"#),
        ("rpc-error", [11, 0], r#"{"id":1,"error":{"code":-109,"message":"No"}}"#),
        ("pulse-time", [11, 0], r#"{"PulseTime1":{"Set":30,"Remaining":0}}"#),
        ("dingtian-answer", [11, 1], "&0&1&1&1&30&"),
        ("challenge", [11, 0], r#"Digest qop="auth", realm="shellypro2", nonce="65600001", algorithm=SHA-256"#),
    ];
    for (name, device, reply) in replies {
        seeds.write("relay_replies", name, [&device[..], reply.as_bytes()].concat());
    }
}

fn readers(seeds: &Seeds) {
    let bits: String =
        wiegand::encode(0x7B_B26E, 26).expect("a format").iter().map(|bit| if bit { '1' } else { '0' }).collect();
    let lines = format!(
        "key 3 2\nkey 3 5\nkey 3 #\r\nbits 1 1000 {bits}\nbits 1 90000\najar 0 1\nexit 0\nlid 7 1\nalive\nkey 8 1\n"
    );
    seeds.write("reader_lines", "bridge", [&[0], lines.as_bytes()].concat());
    seeds.write("reader_lines", "bridge-raw", b"\x10bits 0 5 1010101010101010101010101010101010\nbits 0 99999\n");
    seeds.write("reader_lines", "hex-lines", b"\x0104a1b2c3\n\x0204A1B2C4\r\n\x03no card\n");
    seeds.write("reader_lines", "facility-lines", b"\x21123,45678\n256,1\n");
    let typed: Vec<u8> = "0012345678\n".chars().filter_map(key_code).flat_map(key_records).collect();
    seeds.write("reader_lines", "keys", [&[0x12], typed.as_slice()].concat());
    for (count, data) in [(26, 0x7B_B26E_u128), (34, 0x0001_0002), (37, 0x7_FFFF_FFFF)] {
        let bits =
            wiegand::encode(data, count).expect("a format").iter().fold(0_u128, |all, bit| all << 1 | u128::from(bit));
        let count = u8::try_from(count).expect("small");
        seeds.write("reader_lines", &format!("wiegand-{count}"), [&[3, count][..], &bits.to_be_bytes()].concat());
    }
    // Pulses of 50 µs, 2 ms apart: a card, a pause, a key of the keypad, and a wire that is held down.
    let pulse = |is_one: bool| {
        let wire = u8::from(is_one);
        [wire | 0b1000, 19, wire | 0b0010, 50]
    };
    let mut edges = vec![0x83];
    edges.extend(wiegand::encode(0x7B_B26E, 26).expect("a format").iter().flat_map(pulse));
    edges.extend([0b1100, 60, 0b0010, 50]);
    edges.extend([true, false, true].into_iter().flat_map(pulse));
    edges.extend([0b1100, 60, 0b1110, 60]);
    edges.extend([true, false].into_iter().flat_map(pulse));
    seeds.write("reader_lines", "edges", edges);
    let packet = |code, data: &[u8]| Packet {
        address: 0,
        is_reply: true,
        sequence: 1,
        security: None,
        code,
        data: data.to_vec(),
    };
    let line: Vec<u8> = [packet(0x45, &[1; 12]), packet(0x50, &[0, 1, 32, 0, 4, 0xA1, 0xB2, 0xC3])]
        .iter()
        .flat_map(|packet| packet.to_bytes(|_| [0; 4]))
        .collect();
    seeds.write("osdp", "packets", line);
    let replies: &[&[u8]] = &[
        &[0x50, 8, 0, 1, 32, 0, 4, 0xA1, 0xB2, 0xC3],
        &[0x53, 7, 0, 5, b'2', b'5', b'8', b'0', 0x0D],
        &[0x51, 11, 1, 0, 8, b'0', b'4', b'A', b'1', b'B', b'2', b'C', b'3'],
        &[0x48, 2, 1, 0, 0x49, 2, 1, 1, 0x49, 2, 0, 0, 0x4B, 1, 2, 0x41, 1, 3, 0x79, 0, 0x41, 1, 6],
    ];
    seeds.write("osdp", "replies", replies.concat());
}

fn premises(seeds: &Seeds) {
    let kept = "#at ada lab 1795420800000000\nlockdown gate on\nfailed reader outer/keypad 6 1795420830000000 1795420800000000\n\
                at bob . 1795420800000000\nemergency on\nforgot bob\nemergency off\n";
    seeds.write("premises", "kept", kept);
    // Both locks locked, ada waits for a second person, bob comes, the lock opens and locks, time passes.
    let acts =
        [[3, 0, 0], [3, 1, 0], [3, 2, 0], [0, 0, 0], [0, 3, 0], [3, 0, 1], [3, 0, 0], [7, 0, 31], [0, 2, 0], [5, 2, 0]];
    seeds.write("premises", "mantrap", [&[0][..], &acts.concat()].concat());
}
