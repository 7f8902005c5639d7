//! Fuzzes [`godvision_fuzz::spent_log`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::spent_log(data);
});

#[cfg(not(fuzzing))]
fn main() {}
