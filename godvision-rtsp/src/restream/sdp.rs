//! The session description (RFC 4566) of a mount: one video stream, with its parameter sets.
//!
//! **Never:** audio, several streams under one path.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use godvision_core::signal::media::{Codec, TICKS_PER_SECOND, VideoFormat};

use crate::nal::ParameterSets;

use super::rtp::{DYNAMIC_PAYLOAD_TYPE, JPEG_PAYLOAD_TYPE};

/// What the one stream of a mount is called below the mount's path.
pub(crate) const TRACK: &str = "track0";

/// The description of `format`, served from `local`.
pub(crate) fn describe(format: &VideoFormat, title: &str, session: u64, local: IpAddr) -> String {
    let family = if local.is_ipv4() { "IP4" } else { "IP6" };
    let any = if local.is_ipv4() { "0.0.0.0" } else { "::" };
    let mut text = format!(
        "v=0\r\no=- {session} 1 IN {family} {local}\r\ns={title}\r\nc=IN {family} {any}\r\nt=0 0\r\na=control:*\r\na=range:npt=now-\r\n"
    );
    let payload = payload_type(format.codec);
    text += &format!("m=video 0 RTP/AVP {payload}\r\n");
    let sets: Vec<(u8, String)> = parameter_sets(format)
        .iter()
        .filter_map(|set| set.first().map(|first| (*first, STANDARD.encode(set))))
        .collect();
    match format.codec {
        Codec::H264 => {
            text += &format!("a=rtpmap:{payload} H264/{TICKS_PER_SECOND}\r\na=fmtp:{payload} packetization-mode=1");
            if let Some(profile) = format.config.get(1..4) {
                text += ";profile-level-id=";
                profile.iter().for_each(|byte| text += &format!("{byte:02x}"));
            }
            if !sets.is_empty() {
                let encoded: Vec<&str> = sets.iter().map(|(_, set)| set.as_str()).collect();
                text += &format!(";sprop-parameter-sets={}", encoded.join(","));
            }
            text += "\r\n";
        }
        Codec::H265 => {
            text += &format!("a=rtpmap:{payload} H265/{TICKS_PER_SECOND}\r\n");
            let mut parts = Vec::new();
            for (unit_type, name) in [(32, "sprop-vps"), (33, "sprop-sps"), (34, "sprop-pps")] {
                let of_type: Vec<&str> =
                    sets.iter().filter(|(first, _)| (first >> 1) & 0x3f == unit_type).map(|(_, set)| &**set).collect();
                if !of_type.is_empty() {
                    parts.push(format!("{name}={}", of_type.join(",")));
                }
            }
            if !parts.is_empty() {
                text += &format!("a=fmtp:{payload} {}\r\n", parts.join(";"));
            }
        }
        _ => text += &format!("a=rtpmap:{payload} JPEG/{TICKS_PER_SECOND}\r\n"),
    }
    text + "a=control:" + TRACK + "\r\n"
}

fn payload_type(codec: Codec) -> u8 {
    if codec == Codec::Mjpeg { JPEG_PAYLOAD_TYPE } else { DYNAMIC_PAYLOAD_TYPE }
}

/// The NAL units of the decoder configuration record, in decoding order; none if it cannot be read.
pub(crate) fn parameter_sets(format: &VideoFormat) -> Vec<Bytes> {
    ParameterSets::from_config(format.codec, &format.config)
        .map(|sets| sets.iter().cloned().collect())
        .unwrap_or_default()
}
