//! Fuzzes [`godvision_fuzz::stored_key`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::stored_key(data);
});

#[cfg(not(fuzzing))]
fn main() {}
