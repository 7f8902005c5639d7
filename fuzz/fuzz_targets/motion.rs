//! Fuzzes [`godvision_fuzz::motion`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::motion(data);
});

#[cfg(not(fuzzing))]
fn main() {}
