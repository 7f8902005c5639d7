//! Fuzzes [`godvision_fuzz::reader_lines`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    godvision_fuzz::reader_lines(data);
});

#[cfg(not(fuzzing))]
fn main() {}
