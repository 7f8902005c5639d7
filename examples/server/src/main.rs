//! The reference server of godvision.
fn main() {}
