//! Fuzzes [`godvision_fuzz::premises`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::premises(data);
});

#[cfg(not(fuzzing))]
fn main() {}
