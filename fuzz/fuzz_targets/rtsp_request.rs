//! Fuzzes [`godvision_fuzz::rtsp_request`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::rtsp_request(data);
});

#[cfg(not(fuzzing))]
fn main() {}
