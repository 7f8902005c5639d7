//! Fuzzes [`godvision_fuzz::site_document`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::site_document(data);
});

#[cfg(not(fuzzing))]
fn main() {}
