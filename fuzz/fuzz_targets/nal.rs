//! Fuzzes [`godvision_fuzz::nal`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::nal(data);
});

#[cfg(not(fuzzing))]
fn main() {}
