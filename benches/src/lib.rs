//! Benchmarks of godvision and its peers.
