//! Seeing for cameras: motion detection and QR codes on luma planes, without allocation in the hot path.
