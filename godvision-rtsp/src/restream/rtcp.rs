//! Sender reports (RFC 3550 section 6.4.1): which wall-clock moment an RTP timestamp names.
//!
//! A report pairs the capture clock with the media timeline: it names the newest frame that was sent, with its capture
//! time, so a reader that maps timestamps through it gets each frame's capture time back, whatever path the frame took
//! to this server. (The RFC would have both moved on to the moment of sending. A reader that joins gets a group of
//! pictures that is seconds old, and a report ahead of it looks to strict clients like time running backwards.)
//!
//! **Never:** receiver statistics. A reader's receiver report counts only as a sign of life.

use godvision_core::time::{Stamp, WallTime};

use super::rtp::RtpStream;

const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_TO_UNIX_SECONDS: i64 = 2_208_988_800;
const CNAME: &[u8; 9] = b"godvision";

/// The moment of a frame on the media timeline and on the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) ticks: i64,
    pub(crate) at: Stamp,
}

/// NTP's 64 bits for `wall`: seconds since 1900 (era wraps in 2036) and a binary fraction.
pub(crate) fn ntp(wall: WallTime) -> u64 {
    let micros = wall.as_unix_micros();
    let seconds = micros.div_euclid(1_000_000).wrapping_add(NTP_TO_UNIX_SECONDS) as u32;
    let fraction = ((micros.rem_euclid(1_000_000) as u64) << 32) / 1_000_000;
    (u64::from(seconds) << 32) | fraction
}

/// A compound packet: sender report and the source's name.
pub(crate) fn sender_report(stream: &RtpStream, anchor: Anchor) -> Vec<u8> {
    let (packets, octets) = stream.sent();
    let mut out = Vec::with_capacity(52);
    out.extend([0x80, SENDER_REPORT, 0, 6]);
    out.extend(stream.ssrc().to_be_bytes());
    out.extend(ntp(anchor.at.wall).to_be_bytes());
    out.extend(stream.timestamp(anchor.ticks).to_be_bytes());
    out.extend(packets.to_be_bytes());
    out.extend(octets.to_be_bytes());
    // One chunk: SSRC, CNAME item (type 1), at least one zero byte, padded to a word.
    out.extend([0x81, SOURCE_DESCRIPTION, 0, 4]);
    out.extend(stream.ssrc().to_be_bytes());
    out.extend([1, CNAME.len() as u8]);
    out.extend(CNAME);
    out.push(0);
    out
}

/// Says that the stream ends.
pub(crate) fn bye(stream: &RtpStream) -> Vec<u8> {
    let mut out = vec![0x81, BYE, 0, 1];
    out.extend(stream.ssrc().to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::time::MonoTime;

    #[test]
    fn ntp_starts_in_1900_and_counts_binary_fractions() {
        assert_eq!(ntp(WallTime::from_unix_seconds(0)), 2_208_988_800 << 32);
        assert_eq!(ntp(WallTime::from_unix_millis(500)), (2_208_988_800 << 32) | 0x8000_0000);
        assert_eq!(ntp(WallTime::from_unix_millis(-500)), (2_208_988_799 << 32) | 0x8000_0000);
    }

    #[test]
    fn a_report_names_a_frame_and_its_capture_time() {
        let stream = RtpStream::new([0, 0, 0, 1, 0, 0, 0, 10, 0, 0]);
        let at = Stamp::new(MonoTime::from_millis(1000), WallTime::from_unix_seconds(100));
        let report = sender_report(&stream, Anchor { ticks: 90_000, at });
        assert_eq!(report.len() % 4, 0);
        assert_eq!(report[8..16], ntp(WallTime::from_unix_seconds(100)).to_be_bytes());
        assert_eq!(report[16..20], (90_000u32 + 10).to_be_bytes());
        let words = usize::from(u16::from_be_bytes([report[30], report[31]]));
        assert_eq!(28 + 4 * (words + 1), report.len(), "the second packet's length closes the compound");
    }
}
