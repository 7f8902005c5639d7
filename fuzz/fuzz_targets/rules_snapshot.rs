//! Fuzzes [`godvision_fuzz::rules_snapshot`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::rules_snapshot(data);
});

#[cfg(not(fuzzing))]
fn main() {}
