//! Fuzzes [`godvision_fuzz::fragmenter`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::fragmenter(data);
});

#[cfg(not(fuzzing))]
fn main() {}
