//! Fuzzes [`godvision_fuzz::qr_text`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::qr_text(data);
});

#[cfg(not(fuzzing))]
fn main() {}
