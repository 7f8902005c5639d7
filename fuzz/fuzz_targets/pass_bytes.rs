//! Fuzzes [`godvision_fuzz::pass_bytes`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::pass_bytes(data);
});

#[cfg(not(fuzzing))]
fn main() {}
