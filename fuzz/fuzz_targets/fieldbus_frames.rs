//! Fuzzes [`godvision_fuzz::fieldbus_frames`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::fieldbus_frames(data);
});

#[cfg(not(fuzzing))]
fn main() {}
