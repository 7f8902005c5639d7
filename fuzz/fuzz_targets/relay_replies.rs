//! Fuzzes [`godvision_fuzz::relay_replies`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::relay_replies(data);
});

#[cfg(not(fuzzing))]
fn main() {}
