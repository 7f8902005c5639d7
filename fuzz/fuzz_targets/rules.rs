//! Fuzzes [`godvision_fuzz::rules`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::rules(data);
});

#[cfg(not(fuzzing))]
fn main() {}
