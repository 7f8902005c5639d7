//! Fuzzes [`godvision_fuzz::qr_pixels`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::qr_pixels(data);
});

#[cfg(not(fuzzing))]
fn main() {}
