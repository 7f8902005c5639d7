//! Fuzzes [`godvision_fuzz::faces`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::faces(data);
});

#[cfg(not(fuzzing))]
fn main() {}
