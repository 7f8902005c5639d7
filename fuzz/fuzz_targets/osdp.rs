//! Fuzzes [`godvision_fuzz::osdp`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::osdp(data);
});

#[cfg(not(fuzzing))]
fn main() {}
