//! Fuzzes [`godvision_fuzz::decode`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::decode(data);
});

#[cfg(not(fuzzing))]
fn main() {}
