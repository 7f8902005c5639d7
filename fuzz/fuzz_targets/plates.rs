//! Fuzzes [`godvision_fuzz::plates`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::plates(data);
});

#[cfg(not(fuzzing))]
fn main() {}
